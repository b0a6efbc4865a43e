"""The images in tar and zip archives and in Parquet files, listed by name and never unpacked.

Names of members are only shown: no path is made of them, and links are not followed. Nothing here
loads NumPy or Pillow.

Tar headers of usual files are read here, in a fifth of the time that tarfile takes. It reads all
others, and what it says of an archive is said here, too, but that numbers which are not used
(times, owners) are not looked at. Layout: POSIX.1-1988 (ustar) and POSIX.1-2001 (pax), as in the
manual page tar(5).
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from posixpath import splitext
from typing import TYPE_CHECKING, BinaryIO
from zlib import adler32

from catclf.errors import ImageError
from catclf.images.formats import ENDINGS, HEIF_ENDINGS, NOT_SNIFFED, heif_is_there, sniffed
from catclf.images.member import TAR, ZIP_KINDS, Content, Entry, Member, Unreadable, entry_at
from catclf.images.preprocess import Limits
from catclf.images.walk import Failed, LeftOut, is_hidden
from catclf.storage.local import PACKED_ENDINGS, UNPACK, kind_of_file
from catclf.storage.location import is_packed, locate, unpacked
from catclf.storage.parquet import ParquetFile
from catclf.text import counted, printable, reason, without_query

if TYPE_CHECKING:
    from tarfile import TarFile, TarInfo
    from zipfile import ZipInfo

ARCHIVE_ENDINGS = (".tar", ".zip")
SNIFFED_BYTES = 1 << 24  # a larger file without a known ending is no image
_END = struct.Struct("<4sHH")  # of a zip: mark, then the numbers of this part and of the first one
_UTF8_FLAG, _UTF8_FIELD = 0x800, 0x7075
_BLOCK = 512  # bytes of a header of a tar
_AHEAD = 3 * _BLOCK  # a header alone, or one of pax, its records and the header behind them
_GAP = 1 << 20  # bytes of zeros that may lie between two archives in one file
_RECORD = re.compile(rb"([1-9]\d{0,2}) ([^=\n\0]+)=")
_UNUSED = frozenset(b"mtime atime ctime uid gid uname gname LIBARCHIVE.creationtime".split())
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
            parts = [part for part in name.split("/") if part not in ("", ".", "..")]
            if entry.is_folder or any(map(is_hidden, parts)):
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
        is_zip = without_query(archive).lower().endswith(".zip")
        yield from _of_zip(place) if is_zip else tar_entries(place)


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


def tar_entries(archive: str) -> Iterator[Entry]:
    """What a tar archive lists. Raises ImageError where it cannot be read further; OSError."""
    import tarfile  # takes 6 ms

    at: int | None = 0
    try:
        with Path(archive).open("rb") as file:
            while at is not None:
                file.seek(at)
                with tarfile.open(fileobj=file, mode="r:", errorlevel=0) as opened:
                    yield from _entries(opened, file.fileno())
                    at = _next_archive(file, opened.offset)
    except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
        why = f"is damaged, or not a tar archive: {error}{kind_of_file(Path(archive))}"
        raise ImageError("damaged", why) from error
    except RecursionError as error:
        why = "is damaged: it has header after header and no file"
        raise ImageError("damaged", why) from error


def _entries(opened: TarFile, descriptor: int) -> Iterator[Entry]:
    while (info := opened.next()) is not None:
        opened.members = []  # type: ignore[attr-defined]  # would hold all of them
        yield _tar_entry(info)
        while not opened.pax_headers:  # else they change what headers say
            blocks = os.pread(descriptor, _AHEAD, opened.offset)
            usual = _usual_file(blocks) or _usual_file_of_pax(blocks)
            if usual is None:
                break
            name, size, length = usual
            start = opened.offset + length
            opened.offset = start + -(-size // _BLOCK) * _BLOCK
            yield entry_at(name, (start, size, size, 0, TAR))


def _tar_entry(info: TarInfo) -> Entry:
    if info.isdir():
        return Entry(info.name, is_folder=True)
    if info.issparse():
        return Entry(info.name, kind="sparse files")
    if not info.isreg():
        return Entry(info.name, kind="links" if info.issym() or info.islnk() else "devices")
    return entry_at(info.name, (info.offset_data, info.size, info.size, 0, TAR))


def _next_archive(file: BinaryIO, end: int) -> int | None:
    """Where an archive begins that was put behind the end of another one, as by ``cat``.

    Raises ReadError where neither zeros nor nothing are at the end: a header that is cut or changed
    would pass for it.
    """
    import tarfile

    file.seek(end)
    for number in range(_GAP // _BLOCK):
        block = file.read(_BLOCK)
        if not block:
            break
        if block.strip(b"\0"):
            if not number:
                raise tarfile.ReadError(f"no header at byte {end}")
            with suppress(tarfile.TarError, ValueError):
                tarfile.TarInfo.frombuf(block, tarfile.ENCODING, "surrogateescape")
                return end + number * _BLOCK
            break
    return None


def _usual_file(blocks: bytes) -> tuple[str, int, int] | None:
    """The name and size of a file, and how long its header is; None where tarfile has to look."""
    size = _checked_size(blocks, b"0\0")
    if size is None:
        return None
    name = blocks[:100].partition(b"\0")[0]
    if blocks[345]:
        name = blocks[345:500].partition(b"\0")[0] + b"/" + name
    if not name or name.endswith(b"/"):
        return None
    return os.fsdecode(name), size, _BLOCK


def _usual_file_of_pax(blocks: bytes) -> tuple[str, int, int] | None:
    """The same where pax's records, one block at most, come first and say no more than a name."""
    length = _checked_size(blocks, b"x")
    if length is None or not 0 < length <= _BLOCK:
        return None
    records = _records(blocks[_BLOCK : 2 * _BLOCK])
    usual = _usual_file(blocks[2 * _BLOCK :])
    if records is None or usual is None or not records.keys() <= _UNUSED | {b"path"}:
        return None
    name, size, _ = usual
    if b"path" in records:
        try:
            name = records[b"path"].decode()
        except UnicodeDecodeError:
            return None
        if not name or name.endswith("/"):
            return None
    return name, size, 3 * _BLOCK


def _checked_size(blocks: bytes, kinds: bytes) -> int | None:
    """The size in a whole header of one of these kinds whose sum is right."""
    if len(blocks) < _BLOCK or blocks[156] not in kinds:
        return None
    size, expected = _octal(blocks[124:136]), _octal(blocks[148:156])
    if size is None or expected != _sum(blocks):
        return None
    return size


def _sum(header: bytes) -> int:
    """The sum of a header's bytes, with spaces for the sum itself.

    The low half of Adler-32 is 1 and the sum of the bytes, exactly for up to 256 of them.
    """
    parts = header[:148], header[156:412], header[412:_BLOCK]
    return 8 * 32 + sum((adler32(part) & 0xFFFF) - 1 for part in parts)


def _octal(field: bytes) -> int | None:
    digits = field.lstrip(b" ").rstrip(b" \0")
    try:
        return int(digits, 8) if digits.isdigit() else None
    except ValueError:  # 8 and 9
        return None


def _records(block: bytes) -> dict[bytes, bytes] | None:
    """Pax's records ``length key=value\\n`` of a block; None where one is not as it should be."""
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(block) and block[at]:
        found = _RECORD.match(block, at)
        if found is None:
            return None
        end = at + int(found[1])
        if not found.end() < end <= len(block) or block[end - 1] != ord("\n"):
            return None
        records[found[2]] = block[found.end() : end - 1]
        at = end
    return records


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
    """The name of each row: the path of its image, or its number in the file."""
    paths = file.paths(column) if file.columns[column] == "image" else [None] * sum(file.groups)
    return [path or str(row) for row, path in enumerate(paths)]


def member(path: str, name: str, content: bytes | int | None) -> Member:
    """The image of a row, of which ``content`` is what ``ParquetFile.images`` gives."""
    if content is None:
        why = ImageError("missing", "has no bytes in its file, at most a path, which is not read")
        return Unreadable.because(path, name, why)
    if isinstance(content, int):
        why = ImageError("too-large", f"has {counted(content, 'byte')}, more than the limit")
        return Unreadable.because(path, name, why)
    return Content.holding(path, name, content)
