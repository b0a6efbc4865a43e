"""Files that are whole or not there: checks before a long run, and writing beside then renaming.

A file in a store is made on disk and sent when it is whole: see ``catclf.storage.sending``.
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
from catclf.storage import copies, remote, sending
from catclf.storage.copies import discard
from catclf.text import printable, reason


def require_writable(path: Path, taken: Iterable[Path] = ()) -> None:
    """Raise OutputError unless a file can be put at ``path``, without touching it.

    For use before the work that fills the file. ``taken`` are files that must not be replaced.
    Raises SettingsError where a library that a store needs is missing.
    """
    if remote.is_remote(path):
        try:
            sending.require_place(path)
        except OSError as error:
            raise OutputError(f"{printable(path)}: cannot be written: {_why(error)}") from error
        _require_free(path, taken)
    else:
        _require_place(path, taken)


def _require_place(path: Path, taken: Iterable[Path]) -> None:
    """The same on disk."""
    shown = printable(path)
    if not path.name:
        raise OutputError(f"{shown!r} is not a file name: give a path such as model.npz")
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        pass
    except OSError as error:
        raise OutputError(f"{shown}: cannot be written: {reason(error)}") from error
    else:
        if stat.S_ISDIR(mode):
            raise OutputError(f"{shown}: is a folder: give the name of a file in it")
        if not stat.S_ISREG(mode):
            raise OutputError(f"{shown}: is not a regular file, and saving would replace it")
    _require_free(path, taken)
    if _is_device(path):
        raise OutputError(f"{shown}: is not a place for a file: leave the option out for stdout")
    if str(path) == "-":
        raise OutputError("-: is not a file name: leave the option out for stdout")
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise OutputError(
            f"{shown}: the folder {printable(folder)} does not exist: create it first"
        )
    probe = _beside(path)
    try:
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"{shown}: the folder {printable(folder)} cannot be written: {reason(error)}"
        ) from error


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
    with _sent(path, kept) if remote.is_remote(path) else _renamed(path) as temporary:
        yield temporary


@contextmanager
def _renamed(path: Path) -> Iterator[Path]:
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise OutputError(f"{printable(path)}: is not a regular file, and saving would replace it")
    temporary = _beside(path)
    try:
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
        first = 0o666 if mode is None else 0o600  # what others may not read they never may
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, first))
    except OSError as error:
        raise OutputError(f"{printable(path)}: cannot be written: {reason(error)}") from error
    try:
        yield temporary
        if mode is not None:
            temporary.chmod(mode)
        _sync(temporary)
        temporary.replace(target)
        with suppress(OSError):  # not every system can open folders
            _sync(target.parent)
    except BaseException as error:
        discard(temporary)
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise OutputError(
                f"{printable(path)}: cannot be written: {reason(error)}; nothing was replaced"
            ) from error
        raise


@contextmanager
def _sent(path: Path, kept: bool) -> Iterator[Path]:
    shown = printable(path)
    try:
        temporary = Path(copies.temporary(path))
    except OSError as error:
        raise OutputError(f"{shown}: no temporary file can be made: {reason(error)}") from error
    try:
        yield temporary
    except BaseException as error:
        discard(temporary)
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise OutputError(
                f"{shown}: cannot be made in {temporary.parent}: {reason(error)} (TMPDIR names "
                "another folder); nothing was replaced"
            ) from error
        raise
    try:
        sending.send(temporary, path)
    except BaseException as error:
        where = ""
        if kept:
            where = f"; the file is kept as {printable(_moved_here(temporary))}"
        else:
            discard(temporary)
        if isinstance(error, OSError):
            raise OutputError(f"{shown}: cannot be written: {_why(error)}{where}") from error
        error.add_note(f"{shown} was not sent{where}")  # of a run that is interrupted
        raise
    discard(temporary)


def _moved_here(temporary: Path) -> Path:
    """A file under its name in the current folder, or where it is if that cannot be written."""
    import shutil

    with suppress(OSError):
        here = Path.cwd() / temporary.name
        try:
            shutil.move(temporary, here)
        except OSError:
            discard(here)
            raise
        return here
    return temporary


def _why(error: OSError) -> str:
    """The reason why a store does not take a file."""
    if isinstance(error, FileNotFoundError):
        return "there is no such bucket or folder"
    return reason(error)


_DISK_ERRORS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.EFBIG,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENAMETOOLONG,
    errno.ENOENT,
}


def _is_device(path: Path) -> bool:
    """Whether a path lies where devices and processes are: /dev/shm, alone there, holds files."""
    parts = Path(os.path.abspath(path)).parts  # noqa: PTH100  a link stays as it is named
    return parts[1:2] in (("dev",), ("proc",)) and parts[1:3] != ("dev", "shm")


def _require_free(path: Path, taken: Iterable[Path]) -> None:
    if any(same(path, other) for other in taken):
        raise OutputError(
            f"{printable(path)}: is another file of this run: give another output name"
        )


def same(path: Path, other: Path) -> bool:
    """Whether two names, also URLs, lead to one file or folder, which need not exist yet."""
    path, other = remote.disk_path(path), remote.disk_path(other)
    try:
        return path.samefile(other)
    except OSError:
        return os.path.realpath(path) == os.path.realpath(other)


def _beside(path: Path) -> Path:
    """A free name in the folder of the file that will be replaced."""
    return Path(os.path.realpath(path)).parent / sending.free_name()


def _sync(path: Path) -> None:
    """Make what was written, or the rename in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
