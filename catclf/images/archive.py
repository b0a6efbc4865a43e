"""The members of tar and zip archives, which are listed by name and never unpacked.

Names of members are only shown: no path is made of them, and links are not followed. Nothing here
loads NumPy or Pillow.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from catclf.errors import ImageError
from catclf.images.formats import ENDINGS, HEIF_ENDINGS
from catclf.images.member import DEFLATED, STORED, TAR, Member, Place
from catclf.images.walk import Failed, LeftOut, is_hidden
from catclf.text import reason

if TYPE_CHECKING:
    from tarfile import TarFile, TarInfo
    from zipfile import ZipInfo

_ENDINGS = ENDINGS | HEIF_ENDINGS
ARCHIVE_ENDINGS = (".tar", ".zip")
PACKED_ENDINGS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")


class Entry(NamedTuple):
    """A name in an archive: a folder, a file with its place, or one that cannot be read and why.

    A link, a device and the like have neither a place nor a failure.
    """

    name: str
    place: Place | None = None
    failure: ImageError | None = None
    is_folder: bool = False


def is_archive(path: str) -> bool:
    """Whether a name is an archive's, also of a kind that is refused."""
    return path.lower().endswith((*ARCHIVE_ENDINGS, *PACKED_ENDINGS))


def members(archive: str, left_out: LeftOut) -> Iterator[Member | Failed]:
    """The images of an archive in its order; other files are counted in ``left_out``.

    An archive that cannot be read, or not further, is a failure under its own name.
    """
    try:
        for name, place, failure, is_folder in entries(archive):
            if is_folder or _is_hidden(name):
                continue
            if not _is_image(name) or (place is None and failure is None):
                left_out.add(name)
            elif place is not None:
                yield Member.of(archive, name, place)
            elif failure is not None:
                yield f"{archive}:{name}", failure
    except ImageError as error:
        yield archive, error


def entries(archive: str) -> Iterator[Entry]:
    """All that an archive lists, in its order, also what is hidden.

    Raises ImageError where it cannot be read, or not further.
    """
    try:
        _require_file(archive)
        yield from _of_zip(archive) if archive.lower().endswith(".zip") else _of_tar(archive)
    except OSError as error:
        raise ImageError("unreadable", f"cannot be read: {reason(error)}") from error


def _require_file(archive: str) -> None:
    if archive.lower().endswith(PACKED_ENDINGS):
        raise ImageError(
            "unsupported", "is compressed as a whole: unpack it to a .tar first, which is read"
        )
    if not stat.S_ISREG(Path(archive).stat().st_mode):
        raise ImageError("not-a-file", "is not a regular file")


def _of_tar(archive: str) -> Iterator[Entry]:
    import tarfile

    try:
        with tarfile.open(archive, "r:", errorlevel=0) as opened:
            while (info := opened.next()) is not None:
                opened.members = []  # type: ignore[attr-defined]  # would hold all of them
                yield _tar_entry(info)
            _require_end(opened)
    except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
        raise ImageError("damaged", f"is damaged, or not a tar archive: {error}") from error
    except RecursionError as error:
        why = "is damaged: it has header after header and no file"
        raise ImageError("damaged", why) from error


def _require_end(opened: TarFile) -> None:
    """Raise ReadError unless zeros or nothing follow the last member.

    A header that is cut or changed would pass for the end.
    """
    import tarfile

    assert opened.fileobj is not None
    opened.fileobj.seek(opened.offset)
    if opened.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise tarfile.ReadError(f"no header at byte {opened.offset}")


def _tar_entry(info: TarInfo) -> Entry:
    if info.isdir():
        return Entry(info.name, is_folder=True)
    if not info.isreg() or info.issparse():
        return Entry(info.name)
    return _entry(info.name, (info.offset_data, info.size, info.size, 0, TAR))


def _of_zip(archive: str) -> Iterator[Entry]:
    import zipfile

    try:
        with zipfile.ZipFile(archive) as opened:
            listed = opened.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
        raise ImageError("damaged", f"is damaged, or not a zip archive: {error}") from error
    yield from map(_zip_entry, listed)


def _zip_entry(info: ZipInfo) -> Entry:
    name = info.filename
    if info.is_dir():
        return Entry(name, is_folder=True)
    if stat.S_ISLNK(info.external_attr >> 16):
        return Entry(name)
    if info.flag_bits & 1:
        return Entry(name, failure=ImageError("unsupported", "is encrypted in its archive"))
    if info.compress_type not in (0, 8):
        why = "is compressed in a way that is not read: make the zip with stored or deflated files"
        return Entry(name, failure=ImageError("unsupported", why))
    kind = DEFLATED if info.compress_type else STORED
    return _entry(name, (info.header_offset, info.compress_size, info.file_size, info.CRC, kind))


def _entry(name: str, place: Place) -> Entry:
    if all(0 <= number < 1 << 62 for number in place):
        return Entry(name, place)
    return Entry(name, failure=ImageError("damaged", "has no place in its archive"))


def _is_hidden(name: str) -> bool:
    return any(is_hidden(part) for part in name.split("/") if part not in ("", ".", ".."))


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in _ENDINGS
