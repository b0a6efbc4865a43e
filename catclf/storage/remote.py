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
from weakref import finalize

from catclf.errors import CatclfError, OutputError, SettingsError
from catclf.storage import files
from catclf.text import has_scheme, printable, reason, url_of

AnyPath = str | os.PathLike[str]


def is_remote(path: AnyPath) -> bool:
    """Whether a path has a scheme, and is not by chance the name of something on disk."""
    return has_scheme(path) and not os.path.lexists(path)


def is_pattern(path: AnyPath) -> bool:
    """Whether a path is remote and has ``*``, ``?`` or ``[`` in it, but for those of the web."""
    text = os.fspath(path)
    web = text.startswith(("http:/", "https:/"))  # a question mark begins a query there
    return not web and is_remote(text) and any(sign in text for sign in "*?[")


def is_file(path: AnyPath) -> bool:
    """Whether there is a file. Raises SettingsError where a library is missing, and OSError."""
    if not is_remote(path):
        return Path(path).is_file()
    with _place(path) as (fs, name):
        return bool(fs.isfile(name))


def size_of(path: AnyPath) -> int:
    """The bytes of a file, on disk or remote. Raises OSError."""
    if not is_remote(path):
        return Path(path).stat().st_size
    with _place(path) as (fs, name):
        return int(fs.size(name) or 0)


def read(path: AnyPath) -> bytes:
    """The contents of a file, on disk or remote. Raises OSError."""
    if not is_remote(path):
        return Path(path).read_bytes()
    with _place(path) as (fs, name):
        return bytes(fs.cat_file(name))


@contextmanager
def stream(path: AnyPath) -> Iterator[BinaryIO]:
    """A remote file, of which the parts that are read are fetched. Raises OSError."""
    with _place(path) as (fs, name), fs.open(name, "rb") as file:
        yield file


def absolute(path: AnyPath) -> str:
    """The name that a file or folder has in every working folder: an absolute path, or a URL."""
    return url_of(path) if is_remote(path) else os.path.abspath(path)  # noqa: PTH100  patterns stay


def same(one: AnyPath, other: AnyPath) -> bool:
    """Whether two names lead to one file or folder, on disk or remote, be it there or not."""
    return files.same(_here(one), _here(other))


def _here(path: AnyPath) -> Path:
    """A path on disk where a URL is only another name of one, and a URL as its store writes it."""
    if not is_remote(path):
        return Path(path)
    with _place(path) as (fs, name):
        return Path(name if "file" in fs.protocol else fs.unstrip_protocol(name))


def names_in(path: AnyPath) -> list[str]:
    """The names of what is right below a folder, folders too; none where there is none."""
    try:
        if not is_remote(path):
            return sorted(each.name for each in Path(path).iterdir())
        with _place(path) as (fs, name):
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
    if url.startswith(("http://", "https://")):
        return None
    with _place(url) as (fs, name):
        if not fs.isdir(name):
            return None
        return sorted(map(fs.unstrip_protocol, fs.find(name, maxdepth=None if recursive else 1)))


def matching(pattern: str) -> list[str]:
    """The URLs that a pattern with ``*``, ``?`` or ``[…]`` stands for, by name."""
    with _place(pattern) as (fs, name):
        return sorted(map(fs.unstrip_protocol, fs.glob(name)))


class Copy(str):
    """The name of a local copy of a remote file, which is removed with the last that holds it."""

    __slots__ = ("_copy",)

    _copy: _Removed

    @classmethod
    def of(cls, path: AnyPath) -> Copy:
        """A copy with the ending of its original. Raises OSError."""
        import tempfile

        descriptor, name = tempfile.mkstemp(f"-{Path(path).name}"[-100:], "catclf-")
        os.close(descriptor)
        copy = cls(name)
        copy._copy = _Removed(name)
        fetch(path, Path(name))
        return copy


class _Removed:
    """A file that ends with this object, or with the process."""

    def __init__(self, name: str) -> None:
        finalize(self, _remove, name)


def _remove(name: str) -> None:
    with suppress(OSError):
        Path(name).unlink()


def fetch(path: AnyPath, copy: Path) -> None:
    """Copy a remote file to a place on disk. Raises OSError."""
    with _place(path) as (fs, name):
        fs.get_file(name, str(copy))


def remove(path: AnyPath) -> None:
    """Remove a file, on disk or remote. Raises OSError."""
    if not is_remote(path):
        Path(path).unlink()
        return
    with _place(path) as (fs, name):
        fs.rm_file(name)


@contextmanager
def replacing(path: AnyPath) -> Iterator[Callable[[bytes], object]]:
    """A function that writes to a file, which appears when the block ends well.

    As with ``replacing_path``. Raises OutputError.
    """
    with replacing_path(path) as copy, copy.open("wb") as file:
        yield file.write


@contextmanager
def replacing_path(path: AnyPath) -> Iterator[Path]:
    """The name of an empty file on this machine that takes the place of ``path``, wholly or not.

    That happens when the block ends well. On disk the file lies beside ``path``. A remote file is
    collected among the temporary ones, and sent at once: stores put whole files in their place.
    Raises OutputError.
    """
    if not is_remote(path):
        with files.replacing_path(Path(path)) as beside:
            yield beside
        return
    import tempfile  # takes 5 ms, and few runs need it

    with tempfile.NamedTemporaryFile(prefix="catclf-") as file:
        yield Path(file.name)
        try:
            with _place(path) as (fs, name):
                _put(fs, file.name, name)
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            why = "there is no such bucket or folder" if missing else reason(error)
            raise OutputError(f"{printable(path)}: cannot be written: {why}") from error


def _put(fs: Any, copy: str, name: str) -> None:
    """As a file of another name first, where the file system is that of a machine."""
    fs.makedirs(fs._parent(name), exist_ok=True)
    if "file" not in fs.protocol:
        fs.put_file(copy, name)
        return
    beside = str(Path(name).with_name(f".catclf-{os.urandom(8).hex()}.tmp"))
    try:
        fs.put_file(copy, beside)
        fs.mv(beside, name)
    except BaseException:
        _remove(beside)
        raise


@contextmanager
def _place(path: AnyPath) -> Iterator[tuple[Any, str]]:
    """The file system of a path and the name there, with what it raises as OSError."""
    try:
        from fsspec.core import url_to_fs  # noqa: TID251
    except ImportError as error:
        raise SettingsError(
            f"{printable(path)}: paths with a scheme need fsspec: "
            "python -m pip install 'catclf[cluster]'"
        ) from error
    url = url_of(path)
    try:
        fs, name = url_to_fs(url)
    except (ImportError, ValueError) as error:
        what = (str(error) or type(error).__name__).splitlines()[0]
        raise SettingsError(
            f"{printable(url)}: fsspec cannot read that: {what} (python -m pip install s3fs, gcsfs "
            "or aiohttp, as the scheme needs)"
        ) from error
    try:
        yield fs, name
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "there is no such file", url) from error
    except (OSError, CatclfError):
        raise
    except Exception as error:  # each store has its own
        what = (str(error) or type(error).__name__).splitlines()[0]
        raise OSError(errno.EIO, what, url) from error
