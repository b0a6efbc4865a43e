"""Copies of remote files on disk: those that last as long as they are held, or as this process.

They lie in the folder for temporary files, or in that of a worker, which is removed with it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from threading import Lock
from typing import NamedTuple
from weakref import finalize

from catclf.storage import remote
from catclf.storage.remote import AnyPath, Progress, is_remote, version_of
from catclf.text import printable, url_of

MB = 1_000_000
Phases = Callable[[str], AbstractContextManager[Progress]]
_folder: Path | None = None


def put_in(folder: Path) -> None:
    """Have copies put in a folder, as long as it is there."""
    global _folder
    _folder = folder


class Copy(str):
    """The name of a local copy of a remote file, which is removed with the last that holds it."""

    __slots__ = ("_copy",)

    _copy: _Removed

    @classmethod
    def of(cls, path: AnyPath, on_progress: Progress | None = None) -> Copy:
        """A copy with the ending of its original. Raises OSError."""
        folder = _folder if _folder is not None and _folder.is_dir() else None
        name = temporary(path, folder)
        copy = cls(name)
        copy._copy = _Removed(name)
        try:
            remote.fetch(path, Path(name), on_progress)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                place = printable(Path(name).parent)
                why = f"no room for a copy in {place}: set TMPDIR to a larger folder"
                raise OSError(error.errno, why, str(path)) from error
            raise
        return copy


class _Removed:
    """A file that ends with this object, or with the process."""

    def __init__(self, name: str) -> None:
        finalize(self, discard, name)


def temporary(path: AnyPath, folder: Path | None = None) -> str:
    """The name of a new file for what belongs at ``path``, with its ending. Raises OSError."""
    import tempfile  # takes 5 ms, and few runs need it

    descriptor, name = tempfile.mkstemp(f"-{Path(path).name}"[-100:], "catclf-", folder)
    os.close(descriptor)
    return name


def discard(path: AnyPath) -> None:
    """Remove a file on disk, if it can be."""
    with suppress(OSError):
        Path(path).unlink()


class _Copied(NamedTuple):
    copy: Copy
    version: str


_copies: dict[str, _Copied] = {}
_lock = Lock()
_shown: Phases = lambda what: nullcontext(lambda done, total: None)  # noqa: E731


@contextmanager
def showing(phases: Phases) -> Iterator[None]:
    """Have the copying of files shown, in megabytes, as phases of the work of a block."""
    global _shown
    before, _shown = _shown, phases
    try:
        yield
    finally:
        _shown = before


def on_disk(path: AnyPath) -> str:
    """The name of a file, or of the copy of a remote one.

    Raises OSError, and SettingsError where a library is missing.
    """
    return _copied(path).copy if is_remote(path) else os.fspath(path)


def renew(path: AnyPath) -> None:
    """Forget the copy of a remote file that has changed since. Raises as ``on_disk``."""
    url = url_of(path)
    if url in _copies and _copies[url].version != version_of(url):
        with _lock:
            _copies.pop(url, None)


def state_of(path: AnyPath) -> tuple[int, ...]:
    """Numbers that change with the content of a file: its size and time, or a remote version.

    Raises as ``on_disk``.
    """
    if is_remote(path):
        copied = _copied(path)
        return os.stat(copied.copy).st_size, int(copied.version[:15], 16)  # noqa: PTH116
    status = os.stat(path)  # noqa: PTH116
    return status.st_size, status.st_mtime_ns


def _copied(path: AnyPath) -> _Copied:
    url = url_of(path)
    with _lock:
        if url not in _copies:
            version = version_of(url)
            with _shown(f"copying {printable(url)}, MB") as on_progress:
                copy = Copy.of(url, lambda done, size: on_progress(done // MB, size // MB))
            _copies[url] = _Copied(copy, version)
        return _copies[url]
