"""Files that are whole or not there: checks before a long run, and writing beside then renaming.

A file in a store is made on disk and sent when it is whole.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from catclf.errors import OutputError
from catclf.storage.location import discard, free_name, is_remote, locate, temporary
from catclf.storage.location import same as same
from catclf.text import printable, reason

_DISK_ERRORS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EACCES, errno.EPERM),
    *(errno.EROFS, errno.ENAMETOOLONG, errno.ENOENT),
}


def require_writable(path: Path, taken: Iterable[Path] = ()) -> None:
    """Raise OutputError unless a file can be put at ``path``, without touching it.

    For use before the work that fills the file. ``taken`` are files that must not be replaced.
    Raises SettingsError where a library that a store needs is missing.
    """
    shown = printable(path)
    try:
        if is_remote(path):
            locate(path).require_place()
        elif why := _unfit(path):
            raise OutputError(f"{shown}: {why}")
        else:
            probe = _beside(path)
            os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            probe.unlink()
    except OSError as error:
        raise OutputError(f"{shown}: cannot be written: {_why(error)}") from error
    if any(same(path, other) for other in taken):
        raise OutputError(f"{shown}: is another file of this run: give another output name")


def _unfit(path: Path) -> str:
    """The reason why no file on disk is to be called so; "" where there is none. Raises OSError."""
    if not path.name:
        return "is not a file name: give a path such as model.npz"
    with suppress(FileNotFoundError):
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return "is a folder: give the name of a file in it"
        if not stat.S_ISREG(mode):
            return "is not a regular file, and saving would replace it"
    parts = Path(os.path.abspath(path)).parts[1:3]  # noqa: PTH100  a link stays as it is named
    # Devices and processes are there; /dev/shm, alone of these, holds files.
    if str(path) == "-" or (parts[:1] in (("dev",), ("proc",)) and parts != ("dev", "shm")):
        return "is not a place for a file: leave the option out for stdout"
    folder = Path(os.path.realpath(path)).parent
    return "" if folder.is_dir() else f"the folder {printable(folder)} does not exist: create it"


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
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise OutputError(f"{printable(path)}: is not a regular file, and saving would replace it")
    new = _beside(path)
    try:
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
        first = 0o666 if mode is None else 0o600  # what others may not read they never may
        os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, first))
    except OSError as error:
        raise OutputError(f"{printable(path)}: cannot be written: {reason(error)}") from error
    with _discarding(new, f"{printable(path)}: cannot be written"):
        yield new
        if mode is not None:
            new.chmod(mode)
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


def _beside(path: Path) -> Path:
    """A free name in the folder of the file that will be replaced."""
    return Path(os.path.realpath(path)).parent / free_name()


def _sync(path: Path) -> None:
    """Make what was written, or the rename in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
