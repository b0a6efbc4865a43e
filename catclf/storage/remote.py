"""Files in object stores and on the web: the one door to fsspec, which is loaded for them alone.

A path with a scheme, such as ``s3://bucket/name``, names one. As a ``Path`` it has lost a slash,
which ``url_of`` puts back. Failures of stores are OSError, as those of disks.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from catclf.errors import CatclfError, SettingsError
from catclf.text import has_scheme, printable, url_of, without_query

AnyPath = str | os.PathLike[str]
Progress = Callable[[int, int], object]
# What stores and web servers call the hash of a file, or its time where there is none.
_VERSIONS = (
    *("ETag", "etag", "md5Hash", "md5", "content_md5", "Content-MD5", "generation", "mtime"),
    *("LastModified", "last_modified", "Last-Modified", "created"),
)
WEB = "http://", "https://"


def is_remote(path: AnyPath) -> bool:
    """Whether a path has a scheme, and is not by chance the name of something on disk."""
    return has_scheme(path) and not os.path.lexists(path)


def display_name(path: AnyPath) -> str:
    """The name of a file or folder as it is given: a link keeps its own, a URL has no query."""
    return Path(without_query(path) if is_remote(path) else os.path.abspath(path)).name  # noqa: PTH100


def require_library(path: AnyPath) -> None:
    """Raise SettingsError where a library that the scheme of a path needs is missing."""
    if is_remote(path):
        with place(path):
            pass


def is_file(path: AnyPath) -> bool:
    """Whether there is a file. Raises SettingsError where a library is missing, and OSError."""
    if not is_remote(path):
        return Path(path).is_file()
    with place(path) as (fs, name):
        return bool(fs.isfile(name))


def exists(path: AnyPath) -> bool:
    """Whether there is a file or a folder. Raises OSError."""
    if not is_remote(path):
        return Path(path).exists()
    with place(path) as (fs, name):
        return bool(fs.exists(name))


def size_of(path: AnyPath) -> int:
    """The bytes of a file, on disk or remote. Raises OSError."""
    if not is_remote(path):
        return Path(path).stat().st_size
    with place(path) as (fs, name):
        return int(fs.size(name) or 0)


def version_of(path: AnyPath) -> str:
    """The SHA-256 of a remote file's size, and of its hash in the store, or its time.

    Raises OSError.
    """
    from hashlib import sha256  # few runs need it

    with place(path) as (fs, name):
        facts = fs.info(name)
        mark = next((facts[key] for key in _VERSIONS if facts.get(key)), "")
        mark = mark.timestamp() if hasattr(mark, "timestamp") else mark  # in any zone
        return sha256(f"{facts['size']} {mark}".encode()).hexdigest()


def read(path: AnyPath) -> bytes:
    """The contents of a file, on disk or remote. Raises OSError."""
    if not is_remote(path):
        return Path(path).read_bytes()
    with place(path) as (fs, name):
        return bytes(fs.cat_file(name))


def read_within(path: AnyPath, limit: int) -> bytes:
    """The contents of a regular file of up to ``limit`` bytes, on disk or remote.

    A larger one is not fetched. Raises OSError.
    """
    if not is_remote(path):
        with Path(path).open("rb") as file:
            return _within(file.read(limit + 1), limit, path)
    with place(path) as (fs, name):
        if _stated_size(fs, name, limit, path) is not None:
            return _within(bytes(fs.cat_file(name)), limit, path)
        with fs.open(name, "rb") as file:  # a web server need not say how much it sends
            return _within(b"".join(_blocks(file, limit + 1)), limit, path)


def require_within(path: AnyPath, limit: int) -> None:
    """Raise OSError unless a remote file is a regular one of up to ``limit`` bytes, if it says."""
    with place(path) as (fs, name):
        _stated_size(fs, name, limit, path)


def _stated_size(fs: Any, name: str, limit: int, path: AnyPath) -> int | None:
    facts = fs.info(name)
    if facts["type"] != "file":
        raise OSError(errno.EINVAL, "is not a regular file", url_of(path))
    size: int | None = facts["size"]
    if size is not None:
        _refuse_above(limit, size, path)
    return size


def _blocks(file: Any, limit: int) -> Iterator[bytes]:
    """The bytes of a stream, up to about ``limit``."""
    while limit > 0 and (block := file.read(limit)):
        limit -= len(block)
        yield block


def _within(content: bytes, limit: int, path: AnyPath) -> bytes:
    _refuse_above(limit, len(content), path)
    return content


def _refuse_above(limit: int, size: int, path: AnyPath) -> None:
    if size > limit:
        raise OSError(errno.EFBIG, f"is too large: it has more than {limit} bytes", url_of(path))


@contextmanager
def stream(path: AnyPath) -> Iterator[BinaryIO]:
    """A remote file, of which the parts that are read are fetched. Raises OSError."""
    with place(path) as (fs, name), fs.open(name, "rb") as file:
        yield file


def absolute(path: AnyPath) -> str:
    """The name that a file or folder has in every working folder: an absolute path, or a URL."""
    return url_of(path) if is_remote(path) else os.path.abspath(path)  # noqa: PTH100  patterns stay


def disk_path(path: AnyPath) -> Path:
    """The path on disk that a URL is another name of; else a URL as its store writes it."""
    if not is_remote(path):
        return Path(path)
    with place(path) as (fs, name):
        return Path(name if is_disk(fs) else fs.unstrip_protocol(name))


def names_in(path: AnyPath) -> list[str]:
    """The names of what is right below a folder, folders too; none where there is none."""
    try:
        if not is_remote(path):
            return sorted(each.name for each in Path(path).iterdir())
        with place(path) as (fs, name):
            listed = fs.ls(name, detail=False)
            fs.invalidate_cache(name)  # others may write there before it is looked at again
        # An empty object whose name ends in / is how some programs make a folder.
        return sorted(Path(each).name for each in listed if each != f"{name.rstrip('/')}/")
    except (FileNotFoundError, NotADirectoryError):
        return []


def files_below(path: AnyPath, recursive: bool) -> list[str] | None:
    """The URLs of the files below a remote folder, by name; None for what is no folder.

    The web has no folders.
    """
    url = url_of(path)
    if url.startswith(WEB):
        return None
    with place(url) as (fs, name):
        if not fs.isdir(name):
            return None
        return sorted(map(fs.unstrip_protocol, fs.find(name, maxdepth=None if recursive else 1)))


def matching(pattern: str) -> list[str]:
    """The URLs that a pattern with ``*``, ``?`` or ``[…]`` stands for, by name."""
    with place(pattern) as (fs, name):
        return sorted(map(fs.unstrip_protocol, fs.glob(name)))


def fetch(path: AnyPath, copy: Path, on_progress: Progress | None = None) -> None:
    """Copy a remote file to a place on disk; ``on_progress(bytes, of bytes)``. Raises OSError."""
    with place(path) as (fs, name):
        if on_progress is None:
            fs.get_file(name, str(copy))
            return
        from fsspec.callbacks import Callback  # noqa: TID251

        hooks = {"bytes": lambda size, value, **_: on_progress(value, size or 0)}
        fs.get_file(name, str(copy), callback=Callback(hooks=hooks))


def remove(path: AnyPath) -> None:
    """Remove a file, on disk or remote, if it is there. Raises OSError."""
    with suppress(FileNotFoundError):
        if not is_remote(path):
            Path(path).unlink()
            return
        with place(path) as (fs, name):
            fs.rm_file(name)


def is_disk(fs: Any) -> bool:
    return "file" in protocols(fs)


def protocols(fs: Any) -> set[str]:
    return {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)


@contextmanager
def place(path: AnyPath) -> Iterator[tuple[Any, str]]:
    """The file system of a path and the name there, with what it raises as OSError."""
    try:
        from fsspec.core import url_to_fs  # noqa: TID251
    except ImportError as error:
        raise SettingsError(
            f"{printable(path)}: paths with a scheme need fsspec: "
            "python -m pip install 'catclf[cluster]'"
        ) from error
    url = url_of(path)
    if "::" in url:  # a chain of file systems to fsspec, which would be another place
        raise SettingsError(f"{printable(url)}: names with :: are not read or written by their URL")
    try:
        fs, name = url_to_fs(url)
    except (ImportError, ValueError) as error:
        what = (str(error) or type(error).__name__).splitlines()[0]
        raise SettingsError(
            f"{printable(url)}: fsspec cannot open that: {what} (python -m pip install s3fs, gcsfs "
            "or aiohttp, as the scheme needs)"
        ) from error
    try:
        yield fs, name
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "there is no such file", url) from error
    except (OSError, CatclfError):
        raise
    except NotImplementedError as error:
        raise OSError(errno.ENOTSUP, "this cannot be done there", url) from error
    except Exception as error:  # each store has its own
        what = (str(error) or type(error).__name__).splitlines()[0]
        raise OSError(errno.EIO, what, url) from error
