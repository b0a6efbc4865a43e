"""An image inside another file, read as bytes by the process that decodes it, or sent to it."""

from __future__ import annotations

import os
import struct
import zlib
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple, Self

from catclf.errors import ImageError
from catclf.storage.local import PACKED_ENDINGS, open_regular
from catclf.text import counted, has_scheme

if TYPE_CHECKING:
    from catclf.images.preprocess import Limits

Place = tuple[int, int, int, int, int]  # offset, bytes there, bytes, checksum, kind
_PLACE = struct.Struct("<QQQIB")
TAR, STORED, DEFLATED, BZIP2, LZMA = range(5)
ZIP_KINDS = {0: STORED, 8: DEFLATED, 12: BZIP2, 14: LZMA}  # methods of a zip's members
CONTENT = b"="  # the first byte of an image on its way to another process
_LOCAL = struct.Struct("<4s22xHH")  # of a zip: mark, then the lengths of name and extra field


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

    def within(self, archive: str) -> Self:
        """The same in an archive that is called otherwise."""
        member = self.called(f"{archive}:{self.name}")
        member.archive = archive
        return member

    def called(self, name: str) -> Self:
        """The same bytes, shown under another name."""
        member = type(self)(name)
        for kind in type(self).__mro__:
            for slot in getattr(kind, "__slots__", ()):
                setattr(member, slot, getattr(self, slot))
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


class Entry(NamedTuple):
    """A name in an archive: a folder, a file with its place, or one that cannot be read and why.

    Others have neither a place nor a failure, but a ``kind``: "links", "devices", "sparse files".
    """

    name: str
    place: Place | None = None
    failure: ImageError | None = None
    is_folder: bool = False
    kind: str = ""


def entry_at(name: str, place: Place) -> Entry:
    """The entry of a file, whose place has to be one that an archive can have."""
    if min(place) >= 0 and max(place) < 1 << 62:
        return Entry(name, place)
    return Entry(name, failure=ImageError("damaged", "has no place in its archive"))


class Unreadable(Member):
    """A member that its archive holds in a way that is not read."""

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


_LZMA_MEMORY = 1 << 28  # bytes that a member's dictionary may ask for
