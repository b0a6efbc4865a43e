"""The images of tar and zip archives, which are listed by name and never unpacked.

Names of members are only shown: no path is made of them, and links are not followed. Nothing here
loads NumPy or Pillow.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from catclf.errors import ImageError
from catclf.images.formats import ENDINGS, HEIF_ENDINGS
from catclf.images.member import DEFLATED, STORED, TAR, Member, Place
from catclf.images.walk import Failed, LeftOut, is_hidden
from catclf.text import reason

if TYPE_CHECKING:
    from tarfile import TarInfo
    from zipfile import ZipInfo

_ENDINGS = ENDINGS | HEIF_ENDINGS
ARCHIVE_ENDINGS = (".tar", ".zip")
PACKED_ENDINGS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")


def is_archive(path: str) -> bool:
    """Whether a name is an archive's, also of a kind that is refused."""
    return path.lower().endswith((*ARCHIVE_ENDINGS, *PACKED_ENDINGS))


def members(archive: str, left_out: LeftOut) -> Iterator[Member | Failed]:
    """The images of an archive in its order; other files are counted in ``left_out``.

    An archive that cannot be read, or not further, is a failure under its own name.
    """
    try:
        _require_file(archive)
        if archive.lower().endswith(".zip"):
            yield from _of_zip(archive, left_out)
        else:
            yield from _of_tar(archive, left_out)
    except ImageError as error:
        yield archive, error
    except OSError as error:
        yield archive, ImageError("unreadable", f"cannot be read: {reason(error)}")


def _require_file(archive: str) -> None:
    if archive.lower().endswith(PACKED_ENDINGS):
        raise ImageError(
            "unsupported", "is compressed as a whole: unpack it to a .tar first, which is read"
        )
    if not stat.S_ISREG(Path(archive).stat().st_mode):
        raise ImageError("not-a-file", "is not a regular file")


def _of_tar(archive: str, left_out: LeftOut) -> Iterator[Member | Failed]:
    import tarfile

    try:
        with tarfile.open(archive, "r:", errorlevel=0) as opened:
            while (info := opened.next()) is not None:
                opened.members = []  # type: ignore[attr-defined]  # would hold all of them
                if member := _tar_member(archive, info, left_out):
                    yield member
    except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
        raise ImageError("damaged", f"is damaged, or not a tar archive: {error}") from error


def _tar_member(archive: str, info: TarInfo, left_out: LeftOut) -> Member | Failed | None:
    if info.isdir() or _is_hidden(info.name):
        return None
    if not info.isreg() or info.issparse() or not _is_image(info.name):
        left_out.add(info.name)
        return None
    return _member(archive, info.name, (info.offset_data, info.size, info.size, 0, TAR))


def _of_zip(archive: str, left_out: LeftOut) -> Iterator[Member | Failed]:
    import zipfile

    try:
        with zipfile.ZipFile(archive) as opened:
            listed = opened.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
        raise ImageError("damaged", f"is damaged, or not a zip archive: {error}") from error
    for info in listed:
        if member := _zip_member(archive, info, left_out):
            yield member


def _zip_member(archive: str, info: ZipInfo, left_out: LeftOut) -> Member | Failed | None:
    name = info.filename
    if info.is_dir() or _is_hidden(name):
        return None
    if not _is_image(name):
        left_out.add(name)
        return None
    if info.flag_bits & 1:
        return f"{archive}:{name}", ImageError("unsupported", "is encrypted in its archive")
    if info.compress_type not in (0, 8):
        why = "is compressed in a way that is not read: make the zip with stored or deflated files"
        return f"{archive}:{name}", ImageError("unsupported", why)
    kind = DEFLATED if info.compress_type else STORED
    place = info.header_offset, info.compress_size, info.file_size, info.CRC, kind
    return _member(archive, name, place)


def _member(archive: str, name: str, place: Place) -> Member | Failed:
    if all(0 <= number < 1 << 62 for number in place):
        return Member.of(archive, name, place)
    return f"{archive}:{name}", ImageError("damaged", "has no place in its archive")


def _is_hidden(name: str) -> bool:
    return any(is_hidden(part) for part in name.split("/") if part not in ("", ".", ".."))


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in _ENDINGS
