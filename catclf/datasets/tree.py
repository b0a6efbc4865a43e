"""Folders with their files, on disk or in archives: all that the search for classes looks at."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from catclf.datasets.names import latin, other_spelling
from catclf.errors import DataError
from catclf.images.formats import ENDINGS
from catclf.images.walk import SYSTEM_NAMES, Failed, Walk, is_hidden
from catclf.text import printable, reason


class Folder(Protocol):
    """One folder: its own name, and how it is shown in messages.

    Folders are equal where they are the same one. ``root`` is what the names of images are below.
    """

    @property
    def name(self) -> str: ...
    @property
    def shown(self) -> str: ...
    @property
    def root(self) -> Path: ...

    def inner(self, name: str) -> str:
        """The name in messages of a folder or file in this one, which need not be there."""

    def folders(self) -> Sequence[Folder]:
        """The folders in it by name, without those that are hidden or a system's."""

    def system_folders(self) -> list[str]:
        """The names of folders in it that systems made, without those that are hidden."""

    def loose_files(self) -> Iterable[str]:
        """The names of what lies right in it and is no folder or hidden, in no order."""

    def mark(self, walk: Walk) -> None:
        """Note that it is read on its own, so that no link leads into it."""

    def images(self, walk: Walk, base: Folder) -> Iterator[str | Failed]:
        """The images in it and its folders, in a fixed order, as they are called below ``base``."""

    def open(self, name: str) -> BinaryIO:
        """A file in it. Raises OSError and ImageError."""

    def find(self, name: str) -> tuple[str, str] | None:
        """The one file that a path means, maybe in another spelling, and how it is spelled.

        Raises OSError and ValueError for what no file can be called.
        """

    def missing(self, name: str) -> str:
        """A path of a file that is not there, which fails when it is decoded."""


@dataclass(frozen=True)
class DiskFolder:
    """A folder of the file system."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def shown(self) -> str:
        return printable(self.path)

    @property
    def root(self) -> Path:
        return self.path

    def inner(self, name: str) -> str:
        return f"{self.shown}/{printable(name)}"

    def folders(self) -> list[DiskFolder]:
        """Raises DataError where the folder cannot be listed."""
        try:
            inside = [p for p in self.path.iterdir() if not is_hidden(p.name) and _is_folder(p)]
        except OSError as error:
            raise DataError(f"{self.shown}: cannot be listed: {reason(error)}") from error
        return [DiskFolder(path) for path in sorted(inside)]

    def system_folders(self) -> list[str]:
        with os.scandir(self.path) as entries:
            names = [e.name for e in entries if e.name.casefold() in SYSTEM_NAMES]
        visible = (name for name in names if not name.startswith("."))
        return sorted(name for name in visible if (self.path / name).is_dir())

    def loose_files(self) -> Iterator[str]:
        with os.scandir(self.path) as entries:
            for entry in entries:
                if not is_hidden(entry.name) and not _is_folder(Path(entry.path)):
                    yield entry.name

    def mark(self, walk: Walk) -> None:
        walk.mark(str(self.path))

    def images(self, walk: Walk, base: Folder) -> Iterator[str | Failed]:
        for file in walk.images(str(self.path), recursive=True):
            yield os.path.relpath(file, base.root) if isinstance(file, str) else file

    def open(self, name: str) -> BinaryIO:
        return (self.path / name).open("rb")

    def find(self, name: str) -> tuple[str, str] | None:
        if (self.path / name).is_file():
            return name, name
        if (self.path / name).exists():  # a folder or a pipe
            return None
        try:
            other = other_spelling(self.path, name) or other_spelling(self.path, latin(name))
        except (OSError, ValueError):
            return None
        return None if other is None else (other, other)

    def missing(self, name: str) -> str:
        return name


def has_images(folder: Folder) -> bool:
    """Whether a file right in this folder has the ending of an image."""
    return any(Path(name).suffix.lower() in ENDINGS for name in folder.loose_files())


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a link to itself
        return False
