"""The places of files on disk: a remote one is copied there once, and keeps the name it has.

Copies lie in the folder for temporary files and end with this process.
"""

from __future__ import annotations

import os
from threading import Lock
from typing import NamedTuple

from catclf.storage.remote import AnyPath, Copy, is_remote, version_of
from catclf.text import url_of


class _Copied(NamedTuple):
    copy: Copy
    version: str


_copies: dict[str, _Copied] = {}
_lock = Lock()


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
            _copies[url] = _Copied(Copy.of(url), version)
        return _copies[url]
