"""Old names of ``catclf.storage.location``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from catclf.storage.location import AnyPath as AnyPath
from catclf.storage.location import Stored, locate
from catclf.storage.location import is_remote as is_remote


def is_file(path: AnyPath) -> bool:
    return locate(path).is_file()


def exists(path: AnyPath) -> bool:
    return locate(path).exists()


def size_of(path: AnyPath) -> int:
    return locate(path).size()


def read(path: AnyPath) -> bytes:
    return locate(path).read()


@contextmanager
def stream(path: AnyPath) -> Iterator[BinaryIO]:
    with Stored(path).stream() as file:
        yield file


def absolute(path: AnyPath) -> str:
    return locate(path).absolute


def disk_path(path: AnyPath) -> Path:
    return locate(path).target


def names_in(path: AnyPath) -> list[str]:
    return locate(path).names()


def remove(path: AnyPath) -> None:
    locate(path).remove()
