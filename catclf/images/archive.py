"""The members of tar and zip archives, which are listed by name and never unpacked.

Names of members are only shown: no path is made of them, and links are not followed. Nothing here
loads NumPy or Pillow.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from posixpath import splitext
from typing import TYPE_CHECKING, BinaryIO

from catclf.errors import ImageError
from catclf.images.formats import ENDINGS, HEIF_ENDINGS, NOT_SNIFFED, heif_is_there, sniffed
from catclf.images.member import BZIP2, DEFLATED, LZMA, STORED, Entry, Member, entry_at
from catclf.images.preprocess import Limits
from catclf.images.walk import Failed, LeftOut, is_hidden
from catclf.storage.local import PACKED_ENDINGS as PACKED_ENDINGS
from catclf.storage.local import UNPACK, kind_of_file
from catclf.storage.location import is_packed, locate, unpacked
from catclf.text import reason, without_query

if TYPE_CHECKING:
    from zipfile import ZipInfo

ARCHIVE_ENDINGS = (".tar", ".zip")
SNIFFED_BYTES = 1 << 24  # a larger file without a known ending is no image
_KINDS = {0: STORED, 8: DEFLATED, 12: BZIP2, 14: LZMA}  # methods of a zip's members
_END = struct.Struct("<4sHH")  # of a zip: mark, then the numbers of this part and of the first one
_UTF8_FLAG, _UTF8_FIELD = 0x800, 0x7075
_ACCENTED = frozenset(range(0x80, 0xA6))  # letters of Western Europe in code page 437


def is_archive(path: str) -> bool:
    """Whether a name is an archive's, also of a kind that is refused."""
    return without_query(path).lower().endswith((*ARCHIVE_ENDINGS, *PACKED_ENDINGS, ".tar.zst"))


def members(archive: str, left_out: LeftOut) -> Iterator[Member | Failed]:
    """The images of an archive in its order; other files are counted in ``left_out``.

    An archive that cannot be read, or not further, is a failure under its own name. The temporary
    copy of one that is compressed as a whole lasts as long as its members.
    """
    try:
        with _failures_explained():
            place = unpacked(archive) if is_packed(archive) else archive
        for entry in entries(place):
            name, shown = entry.name, f"{archive}:{entry.name}"
            if entry.is_folder or _is_hidden(name):
                continue
            member = Member.shown(shown, place, entry.place) if entry.place is not None else None
            if not (member or entry.failure) or not is_image(name, member):
                left_out.add(name, entry.kind)
            elif member is not None:
                yield member
            elif entry.failure is not None:
                yield shown, entry.failure
    except ImageError as error:
        yield archive, error


def is_image(name: str, member: Member | None) -> bool:
    """Whether a member is an image by its ending, else by its first bytes, as files of folders."""
    ending = splitext(name)[1].lower()  # a Path costs 5 µs
    if ending in ENDINGS:
        return True
    if ending in HEIF_ENDINGS:
        return member is None or heif_is_there()
    if ending in NOT_SNIFFED or member is None:
        return False
    try:
        with member.open(Limits(file_bytes=SNIFFED_BYTES)) as file:
            return sniffed(file)
    except (OSError, ImageError):
        return False


def entries(archive: str) -> Iterator[Entry]:
    """All that an archive lists, in its order, also what is hidden.

    Raises ImageError where it cannot be read, or not further.
    """
    with _failures_explained():
        if without_query(archive).lower().endswith(".tar.zst"):
            raise ImageError("unsupported", f"is packed with zstd: {UNPACK}")
        place = locate(archive).local()
        if not stat.S_ISREG(Path(place).stat().st_mode):
            raise ImageError("not-a-file", "is not a regular file")
        if without_query(archive).lower().endswith(".zip"):
            yield from _of_zip(place)
        else:
            from catclf.images.tar import tar_entries  # loads tarfile

            yield from tar_entries(place)


@contextmanager
def _failures_explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ImageError("unreadable", f"cannot be read: {reason(error)}") from error


def _of_zip(archive: str) -> Iterator[Entry]:
    import zipfile

    with Path(archive).open("rb") as file:
        part = _is_part(file)
        try:
            with zipfile.ZipFile(file) as opened:
                listed = opened.infolist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
            why = f"is damaged, or not a zip archive: {error}{kind_of_file(Path(archive))}"
            if not part:
                raise ImageError("damaged", why) from error
            listed = []
    if part or any(info.volume for info in listed):
        why = "is one part of several: join them, as with zip -s 0 s.zip -O whole.zip"
        raise ImageError("unsupported", why)
    yield from map(_zip_entry, listed)


def _is_part(file: BinaryIO) -> bool:
    """Whether the last record of a zip says that it is not the only part."""
    size = file.seek(0, 2)
    file.seek(max(0, size - (1 << 16) - 22))
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if not 0 <= at <= len(tail) - _END.size:
        return False
    _, part, first = _END.unpack_from(tail, at)
    return bool(0 < part < 0xFFFF or 0 < first < 0xFFFF)


def _zip_entry(info: ZipInfo) -> Entry:
    name = _zip_name(info)
    if info.is_dir():
        return Entry(name, is_folder=True)
    if stat.S_ISLNK(info.external_attr >> 16):
        return Entry(name, kind="links")
    if info.flag_bits & 1:
        return Entry(name, failure=ImageError("unsupported", f"is encrypted: {UNPACK}"))
    if info.compress_type not in _KINDS:
        method = {9: "Deflate64", 93: "zstd"}.get(info.compress_type, f"{info.compress_type}")
        why = f"is compressed by a method that is not read ({method}): {UNPACK}"
        return Entry(name, failure=ImageError("unsupported", why))
    kind = _KINDS[info.compress_type]
    return entry_at(name, (info.header_offset, info.compress_size, info.file_size, info.CRC, kind))


def _zip_name(info: ZipInfo) -> str:
    """The name of a member. Without a mark it should be in code page 437, and often is in UTF-8.

    Bytes that are neither UTF-8 nor accented letters of that page are kept as ``os.fsdecode`` does.
    """
    extra = info.extra
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == _UTF8_FIELD and length > 5:  # a version and a checksum come first
            return extra[9 : 4 + length].decode("utf-8", "surrogateescape")
        extra = extra[4 + length :]
    if info.flag_bits & _UTF8_FLAG or info.filename.isascii():
        return info.filename
    raw = info.filename.encode("cp437")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        if _ACCENTED.issuperset(byte for byte in raw if byte >= 0x80):
            return info.filename
        return raw.decode("utf-8", "surrogateescape")


def _is_hidden(name: str) -> bool:
    return any(is_hidden(part) for part in name.split("/") if part not in ("", ".", ".."))
