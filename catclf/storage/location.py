"""Files and folders on disk or in a store, read and written whole; the one door to fsspec.

A path with a scheme, such as ``s3://bucket/name``, is in a store or on the web. As a ``Path`` it
has lost a slash, which ``url_of`` puts back. Whoever reads a file takes ``locate(path).local()``,
which is the file itself or a copy of it on disk; whoever writes one takes ``replacing``. Failures
of stores are OSError, as those of disks; SettingsError tells of a library that is missing.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cached_property, lru_cache
from itertools import chain, product, zip_longest
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO
from weakref import finalize

from catclf.errors import CatclfError, OutputError, SettingsError
from catclf.storage.local import PACKED_ENDINGS, kind_of_file, open_regular
from catclf.text import (
    first_line,
    has_scheme,
    pip_install,
    printable,
    reason,
    to_install,
    url_of,
    without_query,
)

AnyPath = str | os.PathLike[str]
Progress = Callable[[int, int], object]
Phases = Callable[[str], AbstractContextManager[Progress]]
MB = 1_000_000
_RATIO, UNPACKED_MIN = 20, 1 << 30  # what a compressed archive may become
WEB = "http://", "https://"
# Stores without folders: where a bucket is not there, making its folders would make the bucket.
_BUCKETS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"}
# What stores and web servers call the hash of a file, or its time where there is none.
_VERSIONS = (
    *("ETag", "etag", "md5Hash", "md5", "content_md5", "Content-MD5", "generation", "mtime"),
    *("LastModified", "last_modified", "Last-Modified", "created"),
)


def is_remote(path: AnyPath) -> bool:
    """Whether a path has a scheme, and is not by chance the name of something on disk."""
    return has_scheme(path) and not os.path.lexists(path)


def locate(path: AnyPath) -> Location:
    """The location of a file or folder, which need not exist."""
    return Location(path)


class Location:
    """A file or folder on disk, or in a store, which is reached through fsspec.

    Methods raise OSError, and SettingsError in stores.
    """

    def __init__(self, path: AnyPath) -> None:
        self.is_remote = is_remote(path)
        self.path = url_of(path) if self.is_remote else os.fspath(path)

    @property
    def shown(self) -> str:
        """The path in messages, on one line; a URL has no query and no password."""
        return printable(self.path)

    @property
    def name(self) -> str:
        """The last name of the path as it is given: a link is not followed."""
        return Path(without_query(self.absolute)).name

    @property
    def suffix(self) -> str:
        """The ending of the name in small letters, without the query of a URL."""
        return Path(self.name).suffix.lower()

    @property
    def absolute(self) -> str:
        """The name that it has in every working folder; patterns in it stay."""
        return self.path if self.is_remote else os.path.abspath(self.path)  # noqa: PTH100

    def is_file(self) -> bool:
        return bool(self._ask(Path.is_file, "isfile"))

    def exists(self) -> bool:
        """Whether there is a file or a folder."""
        return bool(self._ask(Path.exists, "exists"))

    def size(self) -> int:
        """The bytes of a file."""
        return int(self._ask(lambda path: path.stat().st_size, "size") or 0)

    def remove(self) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError):
            self._ask(Path.unlink, "rm_file")

    def _ask(self, on_disk: Callable[[Path], Any], in_store: str) -> Any:
        if not self.is_remote:
            return on_disk(Path(self.path))
        with self.place() as (fs, name):
            return getattr(fs, in_store)(name)

    def state(self) -> tuple[int, ...]:
        """Numbers that change with the content of a file: its size and time, or its version."""
        if self.is_remote:
            return (int(self._copied()[1][:15], 16),)
        status = os.stat(self.path)  # noqa: PTH116
        return status.st_size, status.st_mtime_ns

    def version(self) -> str:
        """A text that changes with the content of the file.

        In a store it is the SHA-256 of the size and of the hash there, or of the time without one.
        """
        if not self.is_remote:
            return repr(self.state())
        from hashlib import sha256  # few runs need it

        facts = self._ask(Path.stat, "info")
        mark = next((facts[key] for key in _VERSIONS if facts.get(key)), "")
        mark = mark.timestamp() if hasattr(mark, "timestamp") else mark  # in any zone
        return sha256(f"{facts['size']} {mark}".encode()).hexdigest()

    @contextmanager
    def stream(self) -> Iterator[BinaryIO]:
        """The open file; of one in a store the parts that are read are fetched."""
        if not self.is_remote:
            with open_regular(self.path) as file:
                yield file
            return
        with self.place() as (fs, name), fs.open(name, "rb") as file:
            yield file

    def read(self, limit: int | None = None) -> bytes:
        """The contents of a regular file of up to ``limit`` bytes; a larger one is not fetched."""
        if limit is not None:
            self._require_size(limit)
        with self.stream() as file:
            if limit is None:
                return file.read()
            content = bytearray()  # a web server need not say how much it sends
            while len(content) <= limit and (block := file.read(min(MB, limit + 1 - len(content)))):
                content += block
        _require_within(len(content), limit, self.shown)
        return bytes(content)

    def _require_size(self, limit: int) -> None:
        if not self.is_remote:
            _require_within(self.size(), limit, self.shown)
            return
        facts = self._ask(Path.stat, "info")
        if facts["type"] != "file":
            raise OSError(errno.EINVAL, "is not a regular file", self.shown)
        _require_within(facts["size"] or 0, limit, self.shown)

    def names(self) -> list[str]:
        """The names of what is right below a folder, folders too; none where there is none."""
        with suppress(FileNotFoundError, NotADirectoryError):
            if not self.is_remote:
                return sorted(os.listdir(self.path))  # noqa: PTH208
            with self.place() as (fs, name):
                listed = fs.ls(name, detail=False)
                fs.invalidate_cache(name)  # others may write there before it is looked at again
            # An empty object whose name ends in / is how some programs make a folder.
            return sorted(Path(each).name for each in listed if each != f"{name.rstrip('/')}/")
        return []

    def files_below(self, recursive: bool) -> list[str] | None:
        """The URLs of the files below a folder, by name; None for what is no folder.

        The web has no folders.
        """
        if self.path.startswith(WEB):
            return None
        with self.place() as (fs, name):
            if not fs.isdir(name):
                return None
            found = fs.find(name, maxdepth=None if recursive else 1)
            return sorted(map(fs.unstrip_protocol, found))

    def local(self, limit: int | None = None) -> str:
        """The name of the file on disk, or that of a copy which lasts as long as this process.

        A copy is made of what is remote, if it has up to ``limit`` bytes, and of a tar archive that
        is compressed as a whole.
        """
        if self.is_remote and limit is not None:
            self._require_size(limit)
        return self._copied()[0] if self.is_remote or is_packed(self.path) else self.path

    def renew(self) -> None:
        """Forget the copy of a file that has changed since."""
        if self.path in _copies and _copies[self.path][1] != self.version():
            with _lock:
                _copies.pop(self.path, None)

    def _copied(self) -> tuple[str, str]:
        """A copy, and the version of what it is a copy of."""
        with _lock:
            if self.path not in _copies:
                version, copy = self.version(), self.path
                if self.is_remote:
                    with _shown(f"copying {self.shown}, MB") as show:
                        copy = Copy.of(self.path, lambda done, all: show(done // MB, all // MB))
                _copies[self.path] = unpacked(copy) if is_packed(copy) else copy, version
            return _copies[self.path]

    def require_library(self) -> None:
        """Raise SettingsError where a library that the scheme needs is missing."""
        with suppress(OSError), self.place() if self.is_remote else nullcontext():
            pass

    def require_place(self) -> None:
        """Raise OSError unless a file can be sent there, before the work that makes it.

        Once for each folder an empty file is sent, and removed if it may be.
        """
        if self.path.startswith(WEB):
            why = "the web is for reading: name a store, such as s3://"
            raise OSError(errno.EROFS, why, self.path)
        with self.place() as (fs, name):
            if ("/" not in name and _is_bucket(fs)) or fs.isdir(name):
                why = "is a bucket or a folder: give the name of a file in it"
                raise OSError(errno.EISDIR, why, self.path)
            folder = fs.unstrip_protocol(fs._parent(name))
        _try_folder(folder)

    def send(self, copy: Path) -> None:
        """Put a whole file from disk there; on a machine's disk under another name first."""
        with self.place() as (fs, name):
            if not _is_bucket(fs):
                fs.makedirs(fs._parent(name), exist_ok=True)
            first = str(Path(name).with_name(free_name())) if _is_disk(fs) else name
            try:
                fs.put_file(str(copy), first)
                if first != name:
                    fs.mv(first, name)
            except BaseException:
                if first != name:
                    discard(first)
                raise

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        try:
            from fsspec.core import url_to_fs  # noqa: TID251
        except ImportError as error:
            raise SettingsError(
                f"{self.shown}: paths with a scheme need fsspec: {to_install('cluster')}"
            ) from error
        if "::" in self.path:  # a chain of file systems to fsspec, which would be another place
            raise SettingsError(f"{self.shown}: names with :: are not read or written by their URL")
        try:
            fs, name = url_to_fs(self.path)
        except (ImportError, ValueError) as error:
            raise SettingsError(
                f"{self.shown}: fsspec cannot open that: {_first_line(error)} "
                f"({pip_install('s3fs')}, or gcsfs or aiohttp, as the scheme needs)"
            ) from error
        return fs, name

    @contextmanager
    def place(self) -> Iterator[tuple[Any, str]]:
        """The file system and the name there, with what it raises as OSError."""
        try:
            yield self._opened
        except CatclfError:
            raise
        except NotImplementedError as error:
            raise OSError(errno.ENOTSUP, "this cannot be done there", self.shown) from error
        except Exception as error:  # each store has its own
            raise self._as_os_error(error) from error

    def _as_os_error(self, error: BaseException) -> OSError:
        cause = error.__cause__
        is_there = isinstance(cause, OSError) or getattr(cause, "status", 404) not in (404, 410)
        if isinstance(error, FileNotFoundError) and not is_there:
            return FileNotFoundError(errno.ENOENT, "there is no such file", self.shown)
        if cause is not None and isinstance(error, FileNotFoundError):
            error = cause  # a web server that refuses, or cannot be reached
        code = errno.EACCES if isinstance(error, PermissionError) else errno.EIO
        if isinstance(error, OSError):
            code = error.errno or code
        return OSError(code, _first_line(error), self.shown)


def _first_line(error: BaseException) -> str:
    """What a library says, in one line, without passwords and queries of the URLs in it."""
    text = getattr(error, "strerror", None) or first_line(error)
    return _URL.sub(lambda url: without_query(url[0]), text.splitlines()[0])


_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s'\"<>]+")


def _is_disk(fs: Any) -> bool:
    return "file" in _protocols(fs)


def _is_bucket(fs: Any) -> bool:
    return bool(_BUCKETS & _protocols(fs))


def _protocols(fs: Any) -> set[str]:
    return {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)


@lru_cache(maxsize=256)
def _try_folder(url: str) -> None:
    """Raise OSError unless a file can be put in a folder of a store."""
    with Location(url).place() as (fs, name):
        if _is_disk(fs):
            folder = Path(name)
            while not folder.exists():  # it can be made in one that can be written
                folder = folder.parent
            name = str(folder)
        elif not _is_bucket(fs):
            fs.makedirs(name, exist_ok=True)
        path = f"{name}/{free_name()}"
        fs.pipe_file(path, b"")
        with suppress(Exception):  # who may write need not be allowed to remove
            fs.rm_file(path)


def _require_within(size: int, limit: int, shown: str) -> None:
    if size > limit:
        why = f"is too large: {size} bytes, more than the limit of {limit}"
        raise OSError(errno.EFBIG, why, shown)


def same(path: AnyPath, other: AnyPath) -> bool:
    """Whether two names, also URLs, lead to one file or folder, which need not exist yet."""
    one, two = _on_disk(path), _on_disk(other)
    try:
        return one.samefile(two)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(two)


def _on_disk(path: AnyPath) -> Path:
    """The path on disk that a URL is another name of; else a URL as its store writes it."""
    with suppress(OSError):  # a store that cannot be reached
        if is_remote(path):
            with locate(path).place() as (fs, name):
                return Path(name if _is_disk(fs) else fs.unstrip_protocol(name))
    return Path(path)


# Copies of remote files


class Copy(str):
    """The name of a copy on disk, which is removed with the last that holds it."""

    @classmethod
    def of(cls, path: AnyPath, on_progress: Progress = lambda done, total: None) -> Copy:
        """A copy with the ending of its original; ``on_progress(bytes, of bytes)``."""
        original = Location(path)
        with cls.filled(original.name) as copy, original.place() as (fs, name):
            from fsspec.callbacks import Callback  # noqa: TID251

            hooks = {"bytes": lambda size, value, **_: on_progress(value, size or 0)}
            fs.get_file(name, str(copy), callback=Callback(hooks=hooks))
        return copy

    @classmethod
    @contextmanager
    def filled(cls, name: str) -> Iterator[Copy]:
        """A new file with the ending of a name, for a block that fills it."""
        folder = _folder if _folder is not None and _folder.is_dir() else None
        copy = cls(temporary(name, folder))
        finalize(copy, discard, str(copy))
        try:
            yield copy
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                place = printable(Path(copy).parent)
                why = f"no room for a copy in {place}: set TMPDIR to a larger folder"
                raise OSError(error.errno, why, name) from error
            raise


_copies: dict[str, tuple[str, str]] = {}
_lock = Lock()
_folder: Path | None = None
_shown: Phases = lambda what: nullcontext(lambda done, total: None)  # noqa: E731


def is_packed(path: str) -> bool:
    """Whether a name is that of a tar archive which is compressed as a whole."""
    return path.lower().endswith(PACKED_ENDINGS)


def unpacked(path: str) -> Copy:
    """The tar archive in a file that is compressed as a whole. Raises OSError.

    Images are hardly compressed: what becomes ``_RATIO`` times as large is none of their archives.
    """
    import bz2
    import gzip
    import lzma

    done, size = 0, os.stat(path).st_size  # noqa: PTH116
    limit = max(_RATIO * size, UNPACKED_MIN)
    with (
        open_regular(path) as file,
        Copy.filled("unpacked.tar") as copy,
        Path(copy).open("wb") as to,
    ):
        opener: Any = {b"BZ": bz2.open, b"\xfd7": lzma.open}.get(file.read(2), gzip.open)
        file.seek(0)
        try:
            with _shown(f"unpacking {printable(path)}, MB") as show, opener(file) as source:
                while block := source.read(MB):
                    done += to.write(block)
                    _require_within(done, limit, path)
                    show(file.tell() // MB, size // MB)
        except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, ValueError) as error:
            kind = kind_of_file(Path(path))
            why = kind if kind and "packed" not in kind else f": {error}"
            why = f"it is damaged, or not compressed as its name says{why}"
            raise OSError(errno.EINVAL, why, path) from error
    return copy


def put_in(folder: Path) -> None:
    """Have copies put in a folder, as long as it is there."""
    global _folder
    _folder = folder


@contextmanager
def showing(phases: Phases) -> Iterator[None]:
    """Have the copying of files shown, in megabytes, as phases of the work of a block."""
    global _shown
    before, _shown = _shown, phases
    try:
        yield
    finally:
        _shown = before


def temporary(name: str, folder: Path | None = None) -> str:
    """The name of a new file in the folder for temporary files, with the ending of ``name``."""
    import tempfile  # takes 5 ms, and few runs need it

    ending = os.fsdecode(os.fsencode(f"-{name}")[-100:])  # a system limits the bytes of names
    descriptor, path = tempfile.mkstemp(ending, "catclf-", folder)
    os.close(descriptor)
    return path


def discard(path: AnyPath) -> None:
    """Remove a file on disk, if it can be."""
    with suppress(OSError):
        Path(path).unlink()


# Patterns: ``shards/{000..099}.tar`` and ``shards/*.tar``

PATTERNS_LIMIT = 1_000_000  # names that a range in braces may stand for
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MAGIC = re.compile(r"[*?\[]")


def is_pattern(name: str) -> bool:
    """Whether a name that no file has stands for others."""
    if not (_RANGE.search(name) or _has_magic(name)) or os.path.lexists(name):
        return False
    with suppress(OSError, SettingsError):  # listing the pattern will say what is wrong
        return not locate(name).is_file()
    return True


def _has_magic(name: str) -> bool:
    """Whether there are signs for others; in an address of the web they are letters."""
    return bool(_MAGIC.search(name)) and not url_of(name).startswith(WEB)


def expanded(arguments: Sequence[str], *, unmatched: bool = True) -> list[str]:
    """The arguments with patterns as the names that they stand for, in order.

    ``{000..123}`` is every number of that range, with its zeros; ``*``, ``?`` and ``[…]`` are
    matched with files, on disk or in a store. An argument that is a file stays as it is, and so
    does one that matches nothing, unless these are not wanted. Raises SettingsError for a range of
    more than ``PATTERNS_LIMIT`` numbers, and OSError with the name of a pattern whose store cannot
    be listed. What a pattern finds on disk is data: ``./-`` and ``./@x`` are no stdin and no list.
    """
    names: list[str] = []
    for argument in arguments:
        if not is_pattern(argument):
            names.append(argument)
            continue
        for name in _without_ranges(argument):
            names += _matching(name) or ([name] if unmatched or not _has_magic(name) else [])
    return names


def _matching(name: str) -> list[str]:
    if not _has_magic(name):
        return []
    if is_remote(name):
        with locate(name).place() as (fs, place):
            return sorted(map(fs.unstrip_protocol, fs.glob(place)))
    from glob import glob

    found = glob(name, recursive=True)  # noqa: PTH207
    return sorted(f"./{each}" if each.startswith(("-", "@")) else each for each in found)


def _without_ranges(argument: str) -> list[str]:
    """The names that stand for an argument whose ranges in braces are written out."""
    texts, ranges = _RANGE.split(argument)[::3], _RANGE.findall(argument)
    total = prod(max(0, int(high) - int(low) + 1) for low, high in ranges)
    if total > PATTERNS_LIMIT:
        raise SettingsError(f"{printable(argument)}: stands for {total} names: give fewer")
    numbers = [
        [f"{number:0{len(low)}}" for number in range(int(low), int(high) + 1)]
        for low, high in ranges
    ]
    return [
        "".join(chain(*zip_longest(texts, chosen, fillvalue=""))) for chosen in product(*numbers)
    ]


# Files that are written whole or not at all

_DISK_ERRORS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EACCES, errno.EPERM),
    *(errno.EROFS, errno.ENAMETOOLONG, errno.ENOENT),
}


def require_writable(path: Path, taken: Iterable[Path] = ()) -> None:
    """Raise OutputError unless a file can be put at ``path``, without touching it.

    For use before the work that fills the file. ``taken`` are files that must not be replaced.
    Raises SettingsError where a library that a store needs is missing.
    """
    try:
        if is_remote(path):
            locate(path).require_place()
        else:
            _made_beside(path, Path(os.path.realpath(path))).unlink()
    except OSError as error:
        raise OutputError(f"{printable(path)}: cannot be written: {_why(error)}") from error
    if any(same(path, other) for other in taken):
        raise OutputError(
            f"{printable(path)}: is another file of this run: give another output name"
        )


def _made_beside(path: Path, target: Path) -> Path:
    """An empty file in the folder of ``target``, the file on disk that ``path`` leads to.

    Nobody else may read it where that is there already. Raises OSError, and OutputError where no
    file can be called so.
    """
    if why := _unfit(path, target):
        raise OutputError(f"{printable(path)}: {why}")
    new = target.with_name(free_name())
    mode = 0o600 if target.exists() else 0o666
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    return new


def _unfit(path: Path, target: Path) -> str:
    """The reason why no file on disk is to be called so; "" where there is none. Raises OSError."""
    if not path.name:
        return "is not a file name: give a path such as model.npz"
    if str(path) == "-":
        return "is not a place for a file: leave the option out for stdout"
    with suppress(FileNotFoundError):
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return "is a folder: give the name of a file in it"
        if not stat.S_ISREG(mode):
            return "is not a regular file, and saving would replace it"
    folder = target.parent
    return "" if folder.is_dir() else f"the folder {printable(folder)} does not exist: create it"


def write_whole(path: Path, content: bytes) -> None:
    """Put a file with this content in the place of ``path``, as with ``replacing_path``."""
    with replacing(path) as file:
        file.write(content)


@contextmanager
def replacing(path: Path, *, kept: bool = True) -> Iterator[BinaryIO]:
    """An open file that takes the place of ``path``, as with ``replacing_path``."""
    with replacing_path(path, kept=kept) as temporary, temporary.open("r+b") as file:
        yield file
        file.flush()


@contextmanager
def replacing_path(path: Path, *, kept: bool = True) -> Iterator[Path]:
    """The name of an empty file that takes the place of ``path`` when the block ends well.

    That happens wholly or not at all: it lies beside it, is flushed to the disk and renamed over
    it, and the folder is flushed; it is removed when the block fails. A symbolic link is kept and
    its target replaced; who may read what is replaced may read the new file. Raises OutputError.

    The file of a store lies in the folder for temporary files, and is sent. Where that fails it is
    ``kept``, in the current folder if it can be written, and the error names it.
    """
    with _sent(path, kept) if is_remote(path) else _renamed(path) as temporary:
        yield temporary


@contextmanager
def _renamed(path: Path) -> Iterator[Path]:
    shown, target = f"{printable(path)}: cannot be written", Path(os.path.realpath(path))
    try:
        new = _made_beside(path, target)
    except OSError as error:
        raise OutputError(f"{shown}: {reason(error)}") from error
    with _discarding(new, shown):
        yield new
        if target.exists():
            new.chmod(stat.S_IMODE(target.stat().st_mode))
        _sync(new)
        new.replace(target)
        with suppress(OSError):  # not every system can open folders
            _sync(target.parent)


@contextmanager
def _sent(path: Path, kept: bool) -> Iterator[Path]:
    stored = locate(path)
    try:
        new = Path(temporary(stored.name))
    except OSError as error:
        raise OutputError(f"{stored.shown}: no temporary file: {reason(error)}") from error
    place = f"{stored.shown}: cannot be made in {new.parent} (TMPDIR names another folder)"
    with _discarding(new, place):
        yield new
    where = ""
    try:
        stored.send(new)
    except BaseException as error:
        where = f"; the file is kept as {printable(_moved_here(new))}" if kept else ""
        if isinstance(error, OSError):
            raise OutputError(f"{stored.shown}: cannot be written: {_why(error)}{where}") from error
        error.add_note(f"{stored.shown} was not sent{where}")  # of a run that is interrupted
        raise
    finally:
        if not where:
            discard(new)


@contextmanager
def _discarding(new: Path, what: str) -> Iterator[None]:
    """A block that fills a file, which is removed when that fails; OutputError for the disk's."""
    try:
        yield
    except BaseException as error:
        discard(new)
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise OutputError(f"{what}: {reason(error)}; nothing was replaced") from error
        raise


def _moved_here(new: Path) -> Path:
    """A file under its name in the current folder, or where it is if that cannot be written."""
    import shutil

    here = Path(new.name)
    try:
        return Path(shutil.move(new, here)).absolute()
    except OSError:
        discard(here)
        return new


def _why(error: OSError) -> str:
    """The reason why a file cannot be put somewhere."""
    if isinstance(error, FileNotFoundError):
        return "there is no such bucket or folder"
    return reason(error)


def free_name() -> str:
    """A short name of a file, free in its folder with near certainty."""
    return f".catclf-{os.urandom(8).hex()}.tmp"


def _sync(path: Path) -> None:
    """Make what was written, or the rename in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
