"""The images in tar and zip archives and in Parquet files, listed by name and never unpacked.

Names of members are only shown: no path is made of them, and links are not followed. Nothing here
loads NumPy or Pillow.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from posixpath import splitext
from typing import TYPE_CHECKING, BinaryIO

from catclf.errors import ImageError
from catclf.images.formats import ENDINGS, HEIF_ENDINGS, NOT_SNIFFED, heif_is_there, sniffed
from catclf.images.member import ZIP_KINDS, Content, Entry, Member, Unreadable, entry_at
from catclf.images.preprocess import Limits
from catclf.images.walk import Failed, LeftOut, is_hidden
from catclf.storage.local import PACKED_ENDINGS as PACKED_ENDINGS
from catclf.storage.local import UNPACK, kind_of_file
from catclf.storage.location import is_packed, locate, unpacked
from catclf.storage.parquet import ParquetFile
from catclf.text import counted, printable, reason, without_query

if TYPE_CHECKING:
    from zipfile import ZipInfo

ARCHIVE_ENDINGS = (".tar", ".zip")
SNIFFED_BYTES = 1 << 24  # a larger file without a known ending is no image
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
    if info.compress_type not in ZIP_KINDS:
        method = {9: "Deflate64", 93: "zstd"}.get(info.compress_type, f"{info.compress_type}")
        why = f"is compressed by a method that is not read ({method}): {UNPACK}"
        return Entry(name, failure=ImageError("unsupported", why))
    kind = ZIP_KINDS[info.compress_type]
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


# Images in Parquet files, as data sets of Hugging Face have them

IMAGE_COLUMNS = ("image", "img", "images", "picture", "photo", "jpg", "png", "bytes", "content")


def image_column(file: ParquetFile, wanted: str | None = None) -> str:
    """The column of images. Raises ImageError where there is none, or several."""
    held = [name for name, kind in file.columns.items() if kind in ("image", "bytes")]
    if wanted is not None and wanted in held:
        return wanted
    if wanted is None:
        named = [name for name in IMAGE_COLUMNS if name in held]
        structs = [name for name in held if file.columns[name] == "image"]
        for some in (structs, named, held):
            if len(some) == 1:
                return some[0]
    columns = ", ".join(printable(name) for name in list(file.columns)[:20]) or "nothing"
    if wanted is not None:
        why = f"has no images in a column {printable(wanted)}; it has {columns}"
    elif held:
        listed = " and ".join(map(printable, held[:5]))
        why = f"has several columns of images, {listed}: `columns=image,label` says which"
    else:
        why = f"has no column of images, as image: struct<bytes, path>; it has {columns}"
    raise ImageError("no-images", why)


def image_name(path: str | None, row: int) -> str:
    """The name of a row's image: its path, or its number in the file."""
    return path or str(row)


def parquet_images(path: str, limit: int) -> Iterator[Member | Failed]:
    """All images of a file; those of more than ``limit`` bytes fail.

    A file that cannot be read is a failure under its own name. In a row group that cannot be read,
    or not further, each image is one.
    """
    try:
        with ParquetFile(path) as file:
            column = image_column(file)
            names = names_of(file, column)
            first = 0
            for group, rows in enumerate(file.groups):
                yield from _of_group(file, column, group, names[first : first + rows], limit)
                first += rows
    except ImageError as error:
        yield path, error


def _of_group(
    file: ParquetFile, column: str, group: int, names: Sequence[str], limit: int
) -> Iterator[Member | Failed]:
    done = 0
    failure = ImageError("damaged", "is missing in its file, which is damaged")
    try:
        for name, content in zip(names, file.images(column, group, limit), strict=False):
            done += 1
            image = member(file.path, name, content)
            yield (str(image), image.failure) if isinstance(image, Unreadable) else image
    except ImageError as error:
        failure = error
    for name in names[done:]:
        yield f"{file.path}:{name}", failure


def names_of(file: ParquetFile, column: str) -> Sequence[str]:
    """The name of each row."""
    rows = range(sum(file.groups))
    if file.columns[column] != "image":
        return [image_name(None, row) for row in rows]
    return [image_name(path, row) for row, path in zip(rows, file.paths(column), strict=True)]


def member(path: str, name: str, content: bytes | int | None) -> Member:
    """The image of a row, of which ``content`` is what ``ParquetFile.images`` gives."""
    if content is None:
        why = ImageError("missing", "has no bytes in its file, at most a path, which is not read")
        return Unreadable.because(path, name, why)
    if isinstance(content, int):
        why = ImageError("too-large", f"has {counted(content, 'byte')}, more than the limit")
        return Unreadable.because(path, name, why)
    return Content.holding(path, name, content)
