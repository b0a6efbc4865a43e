"""Images inside other files: members of tar and zip archives, and rows of Parquet files.

Nothing is unpacked: a ``Member`` tells where its bytes are, and the process that decodes it reads
them. Names of members are only shown: no path is made of them, and links are not followed. Nothing
here loads NumPy or Pillow.

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
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Self

from catclf.errors import ImageError
from catclf.images.preprocess import Limits
from catclf.storage.local import PACKED_ENDINGS, UNPACK, kind_of_file, open_regular
from catclf.text import counted, has_scheme, printable, reason, without_query

if TYPE_CHECKING:
    from tarfile import TarFile, TarInfo
    from zipfile import ZipInfo

    from catclf.storage.parquet import ParquetFile

ARCHIVE_ENDINGS = (".tar", ".zip")
Failed = tuple[str, ImageError]  # an input that failed before there was an image to decode

# An image in another file

Place = tuple[int, int, int, int, int]  # offset, bytes there, bytes, checksum, kind
_PLACE = struct.Struct("<QQQIB")
TAR, STORED, DEFLATED, BZIP2, LZMA = range(5)
ZIP_KINDS = {0: STORED, 8: DEFLATED, 12: BZIP2, 14: LZMA}  # methods of a zip's members
CONTENT = b"="  # the first byte of an image on its way to another process
_LOCAL = struct.Struct("<4s22xHH")  # of a zip: mark, then the lengths of name and extra field
_LZMA_MEMORY = 1 << 28  # bytes that a member's dictionary may ask for


class Member(str):
    """An image in an archive: shown as ``archive.tar:member.jpg``, and where its bytes are."""

    __slots__ = ("_place", "archive")

    archive: str
    _place: bytes  # packed: a million members then take 220 MB, and not 330

    @classmethod
    def of(cls, archive: str, name: str, place: Place) -> Self:
        """The member ``name`` at an offset of the archive."""
        return cls.shown(f"{archive}:{name}", archive, place)

    @classmethod
    def shown(cls, name: str, archive: str, place: Place) -> Self:
        """The bytes at an offset of a file, shown under any name."""
        member = cls(name)
        member.archive, member._place = archive, _PLACE.pack(*place)
        return member

    @property
    def place(self) -> Place:
        """Where its bytes are."""
        return _PLACE.unpack(self._place)

    @property
    def name(self) -> str:
        """Its name in the archive."""
        return self[len(self.archive) + 1 :]

    def called(self, name: str, archive: str | None = None) -> Self:
        """The same bytes, shown under another name, or in an archive that is called otherwise."""
        member = type(self)(name)
        for kind in type(self).__mro__:
            for slot in getattr(kind, "__slots__", ()):
                setattr(member, slot, getattr(self, slot))
        member.archive = archive or self.archive
        return member

    def packed(self) -> bytes:
        """What another process needs to read it. Raises OSError for a remote one that is gone."""
        return self._place + os.fsencode(_on_disk(self.archive))

    @classmethod
    def unpacked(cls, content: bytes) -> Member:
        """The member that ``packed`` describes, without its own name."""
        return cls.of(os.fsdecode(content[_PLACE.size :]), "", _PLACE.unpack_from(content))

    def open(self, limits: Limits) -> BytesIO:
        """Its bytes. Raises ImageError; OSError where the archive cannot be read."""
        offset, stored, size, checksum, kind = self.place
        _require_size(size, stored, limits)
        with open_regular(_on_disk(self.archive)) as file:
            file.seek(offset)
            if kind != TAR:  # its own header lies before it
                header = file.read(_LOCAL.size)
                if len(header) < _LOCAL.size or header[:4] != b"PK\3\4":
                    why = "is damaged in its archive: its header is missing"
                    raise ImageError("damaged", why)
                _, name, extra = _LOCAL.unpack(header)
                file.seek(name + extra, 1)
            content = file.read(stored)
        if kind not in (TAR, STORED):
            content = _decompressed(content, size, kind)
        if len(content) != size or (kind != TAR and zlib.crc32(content) != checksum):
            raise ImageError("damaged", "is damaged in its archive: bytes are missing or changed")
        return BytesIO(content)


class Unreadable(Member):
    """An image that its archive or table names, and that cannot be read."""

    __slots__ = ("failure",)

    failure: ImageError

    @classmethod
    def because(cls, archive: str, name: str, failure: ImageError) -> Self:
        """The member ``name`` with the reason."""
        member = cls.of(archive, name, (0, 0, 0, 0, TAR))
        member.failure = failure
        return member

    def open(self, limits: Limits) -> BytesIO:
        raise self.failure


class Content(Member):
    """An image whose bytes are here, for they lie in no place of their own in its file."""

    __slots__ = ("frame",)

    frame: bytes  # the mark of a content, and its bytes

    @classmethod
    def holding(cls, archive: str, name: str, content: bytes) -> Content:
        """The image ``name`` of a file."""
        return cls.framed(archive, name, CONTENT + content)

    @classmethod
    def framed(cls, archive: str, name: str, frame: bytes) -> Content:
        """The same of bytes that begin with the mark."""
        image = cls.of(archive, name, (0, 0, len(frame) - 1, 0, TAR))
        image.frame = frame
        return image

    def open(self, limits: Limits) -> BytesIO:
        _require_size(len(self.frame) - 1, 0, limits)
        return BytesIO(memoryview(self.frame)[1:])


def _on_disk(archive: str) -> str:
    """The file, or the copy of a remote one: those who decode have its name already."""
    if not has_scheme(archive) and not archive.lower().endswith(PACKED_ENDINGS):
        return archive
    from catclf.storage.location import locate

    return locate(archive).local()


def _require_size(size: int, stored: int, limits: Limits) -> None:
    """Raise ImageError for an image without bytes, or with too many, also in its archive."""
    if not size:
        raise ImageError("empty", "is empty")
    if max(size, stored) > limits.file_bytes:
        raise ImageError("too-large", f"has {counted(size, 'byte')}, more than {limits.file_bytes}")


def _decompressed(content: bytes, size: int, kind: int) -> bytes:
    """The bytes of a zip's member; no more than one beyond their size is made of them."""
    try:
        if kind == DEFLATED:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, size + 1)
        if kind == BZIP2:
            import bz2

            return bz2.BZ2Decompressor().decompress(content, size + 1)
        import lzma

        # A version and the length of the properties come first; the size need not be known.
        length = int.from_bytes(content[2:4], "little")
        alone = content[4 : 4 + length] + b"\xff" * 8 + content[4 + length :]
        decompressor = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_LZMA_MEMORY)
        return decompressor.decompress(alone, size + 1)
    except ImportError as error:
        why = "is compressed by a method that this Python was built without"
        raise ImageError("unsupported", why) from error
    except Exception as error:  # each method has its own
        raise ImageError("damaged", "is damaged in its archive") from error


# What an archive lists


class Entry(NamedTuple):
    """A name in an archive: a folder, a file with its place, or one that cannot be read and why.

    Others have neither a place nor a failure, but a ``kind``: "links", "devices", "sparse files".
    """

    name: str
    place: Place | None = None
    failure: ImageError | None = None
    is_folder: bool = False
    kind: str = ""

    @classmethod
    def at(cls, name: str, place: Place) -> Entry:
        """The entry of a file, whose place has to be one that an archive can have."""
        if min(place) >= 0 and max(place) < 1 << 62:
            return cls(name, place)
        return cls(name, failure=ImageError("damaged", "has no place in its archive"))

    def member(self, archive: str) -> Member | None:
        """The file, also one that cannot be read; None for what is none."""
        if self.place is not None:
            return Member.of(archive, self.name, self.place)
        failure = self.failure
        return None if failure is None else Unreadable.because(archive, self.name, failure)


def is_archive(path: str) -> bool:
    """Whether a name is an archive's, also of a kind that is refused."""
    return without_query(path).lower().endswith((*ARCHIVE_ENDINGS, *PACKED_ENDINGS, ".tar.zst"))


def entries(archive: str) -> Iterator[Entry]:
    """All that an archive lists, in its order, also what is hidden.

    Raises ImageError where it cannot be read, or not further.
    """
    from catclf.storage.location import locate

    try:
        if without_query(archive).lower().endswith(".tar.zst"):
            raise ImageError("unsupported", f"is packed with zstd: {UNPACK}")
        place = locate(archive).local()
        if not stat.S_ISREG(Path(place).stat().st_mode):
            raise ImageError("not-a-file", "is not a regular file")
        is_zip = without_query(archive).lower().endswith(".zip")
        yield from zip_entries(place) if is_zip else tar_entries(place)
    except OSError as error:
        raise ImageError("unreadable", f"cannot be read: {reason(error)}") from error
    except ValueError as error:  # of a name that holds a NUL byte
        raise ImageError("missing", f"cannot be read: {error}") from error


# Zip archives

_END = struct.Struct("<4sHH")  # of a zip: mark, then the numbers of this part and of the first one
_UTF8_FLAG, _UTF8_FIELD = 0x800, 0x7075
_ACCENTED = frozenset(range(0x80, 0xA6))  # letters of Western Europe in code page 437


def zip_entries(archive: str) -> Iterator[Entry]:
    """What a zip archive lists. Raises ImageError where it cannot be read; OSError."""
    import zipfile

    with Path(archive).open("rb") as file:
        try:
            if _is_part(file):
                why = "is one part of several: join them, as with zip -s 0 s.zip -O whole.zip"
                raise ImageError("unsupported", why)
            with zipfile.ZipFile(file) as opened:
                listed = opened.infolist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
            why = f"is damaged, or not a zip archive: {error}{kind_of_file(Path(archive))}"
            raise ImageError("damaged", why) from error
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
        why = f"is compressed by method {info.compress_type}, which is not read: {UNPACK}"
        return Entry(name, failure=ImageError("unsupported", why))
    kind = ZIP_KINDS[info.compress_type]
    return Entry.at(name, (info.header_offset, info.compress_size, info.file_size, info.CRC, kind))


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


# Tar archives

_BLOCK = 512  # bytes of a header
_AHEAD = 3 * _BLOCK  # a header alone, or one of pax, its records and the header behind them
_GAP = 1 << 20  # bytes of zeros that may lie between two archives in one file
_OCTAL = re.compile(rb" *([0-7]+)[ \0]*")
_RECORD = re.compile(rb"([1-9]\d{0,2}) ([^=\n\0]+)=")
_UNUSED = frozenset(b"mtime atime ctime uid gid uname gname LIBARCHIVE.creationtime".split())


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
            yield Entry.at(name, (start, size, size, 0, TAR))


def _tar_entry(info: TarInfo) -> Entry:
    if info.isdir():
        return Entry(info.name, is_folder=True)
    if info.issparse():
        return Entry(info.name, kind="sparse files")
    if not info.isreg():
        return Entry(info.name, kind="links" if info.issym() or info.islnk() else "devices")
    return Entry.at(info.name, (info.offset_data, info.size, info.size, 0, TAR))


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
    return 8 * 32 + sum((zlib.adler32(part) & 0xFFFF) - 1 for part in parts)


def _octal(field: bytes) -> int | None:
    found = _OCTAL.fullmatch(field)
    return int(found[1], 8) if found else None


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
    structs = [name for name in held if file.columns[name] == "image"]
    named = [name for name in IMAGE_COLUMNS if name in held]
    meant = [name for name in held if name == wanted]
    for some in (structs, named, held) if wanted is None else (meant,):
        if len(some) == 1:
            return some[0]
    if held and wanted is None:
        listed = " and ".join(map(printable, held[:5]))
        why = f"has several columns of images, {listed}: `columns=image,label` says which"
    else:
        columns = ", ".join(printable(name) for name in list(file.columns)[:20]) or "nothing"
        why = f"has no images in a column {printable(wanted or 'image')}; it has {columns}"
    raise ImageError("no-images", why)


def parquet_images(path: str, limit: int) -> Iterator[Member | Failed]:
    """All images of a file; those of more than ``limit`` bytes fail.

    A file that cannot be read is a failure under its own name.
    """
    from catclf.storage.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            column = image_column(file)
            names = names_of(file, column)
            first = 0
            for group, rows in enumerate(file.groups):
                contents = contents_of(file, column, group, limit)
                for name, content in zip(names[first : first + rows], contents, strict=False):
                    yield row_image(path, name, content)
                first += rows
    except ImageError as error:
        yield path, error


def names_of(file: ParquetFile, column: str) -> Sequence[str]:
    """The name of each row: the path of its image, or its number in the file."""
    paths = file.paths(column) if file.columns[column] == "image" else [None] * sum(file.groups)
    return [path or str(row) for row, path in enumerate(paths)]


def contents_of(
    file: ParquetFile, column: str, group: int, limit: int
) -> Iterator[bytes | ImageError]:
    """The images of a row group, or why one has no bytes, and then that reason without end.

    In a row group that cannot be read, or not further, the rest of the images fail alike.
    """
    failure = ImageError("damaged", "is missing in its file, which is damaged")
    try:
        for content in file.images(column, group, limit):
            if content is None:
                why = "has no bytes in its file, at most a path, which is not read"
                yield ImageError("missing", why)
            elif isinstance(content, int):
                why = f"has {counted(content, 'byte')}, more than the limit"
                yield ImageError("too-large", why)
            else:
                yield content
    except ImageError as error:
        failure = error
    while True:
        yield failure


def row_image(path: str, name: str, content: bytes | ImageError) -> Member:
    """The image of a row, also one that cannot be read."""
    if isinstance(content, ImageError):
        return Unreadable.because(path, name, content)
    return Content.holding(path, name, content)
