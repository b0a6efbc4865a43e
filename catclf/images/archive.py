"""The members of tar and zip archives, which are listed by name and never unpacked.

Names of members are only shown: no path is made of them, and links are not followed. Nothing here
loads NumPy or Pillow.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from posixpath import splitext
from typing import TYPE_CHECKING

from catclf.errors import ImageError
from catclf.images.formats import ENDINGS, HEIF_ENDINGS
from catclf.images.member import DEFLATED, STORED, Entry, Member, entry_at
from catclf.images.walk import Failed, LeftOut, is_hidden
from catclf.storage.location import locate
from catclf.text import reason

if TYPE_CHECKING:
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
        _require_unpacked(archive)
        place = locate(archive).local()
        if not stat.S_ISREG(Path(place).stat().st_mode):
            raise ImageError("not-a-file", "is not a regular file")
        if archive.lower().endswith(".zip"):
            yield from _of_zip(place)
        else:
            from catclf.images.tar import tar_entries  # loads tarfile

            yield from tar_entries(place)
    except OSError as error:
        raise ImageError("unreadable", f"cannot be read: {reason(error)}") from error


def _require_unpacked(archive: str) -> None:
    if archive.lower().endswith(PACKED_ENDINGS):
        raise ImageError(
            "unsupported", "is compressed as a whole: unpack it to a .tar first, which is read"
        )


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
    return entry_at(name, (info.header_offset, info.compress_size, info.file_size, info.CRC, kind))


def _is_hidden(name: str) -> bool:
    return any(is_hidden(part) for part in name.split("/") if part not in ("", ".", ".."))


def _is_image(name: str) -> bool:
    return splitext(name)[1].lower() in _ENDINGS  # a Path costs 5 µs
