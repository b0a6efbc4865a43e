"""Files that are sent to object stores when they are whole, and whether they can be."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from catclf.storage.copies import discard
from catclf.storage.remote import WEB, AnyPath, is_disk, place, protocols
from catclf.text import url_of

# Stores without folders: where a bucket is not there, making its folders would make the bucket.
_BUCKETS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"}


def send(copy: Path, path: AnyPath) -> None:
    """Put a whole file from disk in a remote place. Raises OSError, and SettingsError."""
    with place(path) as (fs, name):
        _make_folder(fs, fs._parent(name))
        if not is_disk(fs):
            fs.put_file(str(copy), name)
            return
        # As a file of another name first, for this file system is that of a machine.
        temporary = str(Path(name).with_name(free_name()))
        try:
            fs.put_file(str(copy), temporary)
            fs.mv(temporary, name)
        except BaseException:
            discard(temporary)
            raise


def require_place(path: AnyPath) -> None:
    """Raise OSError, or SettingsError, unless a file can be sent to a remote place.

    For use before the work that makes the file: once for each folder an empty file is sent there,
    and removed if it may be.
    """
    url = url_of(path)
    if url.startswith(WEB):
        raise OSError(errno.EROFS, "the web is for reading: name a store, such as s3://", url)
    with place(path) as (fs, name):
        bare = "/" not in name and not _has_folders(fs)
        if bare or fs.isdir(name):
            what = "is a bucket or a folder: give the name of a file in it"
            raise OSError(errno.EISDIR, what, url)
        folder = fs.unstrip_protocol(fs._parent(name))
    _try_folder(folder)


@lru_cache(maxsize=256)
def _try_folder(url: str) -> None:
    with place(url) as (fs, name):
        if is_disk(fs):
            _try_disk(Path(name))
            return
        _make_folder(fs, name)
        probe = f"{name}/{free_name()}"
        fs.pipe_file(probe, b"")
        with suppress(Exception):  # who may write need not be allowed to remove
            fs.rm_file(probe)


def _try_disk(folder: Path) -> None:
    """Raise OSError unless a folder can be written, or made in one that can."""
    while not folder.exists():
        folder = folder.parent
    probe = folder / free_name()
    probe.touch()
    probe.unlink()


def _make_folder(fs: Any, name: str) -> None:
    if _has_folders(fs):
        fs.makedirs(name, exist_ok=True)


def _has_folders(fs: Any) -> bool:
    return not _BUCKETS & protocols(fs)


def free_name() -> str:
    """A short name of a file, free in its folder with near certainty."""
    return f".catclf-{os.urandom(8).hex()}.tmp"
