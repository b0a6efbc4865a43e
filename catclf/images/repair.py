"""Files whose pixels are whole although a reader stumbles: what is beside the pixels is mended.

PNG: ancillary chunks are left out that are too large or have a wrong checksum. JPEG: the end
marker is put back if the last block of pixels is there.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

PNG = b"\x89PNG\r\n\x1a\n"
_KEPT = (b"tRNS", b"eXIf")  # ancillary chunks that change what is seen
_END = b"\xff\xd9"
_BASELINE = (0xC0, 0xC1)
_HAS_NO_LENGTH = (0x01, *range(0xD0, 0xDA))


def cleaned_png(content: bytes) -> bytes | None:
    """A PNG without the ancillary chunks that no pixel needs; None if it is not one.

    Critical chunks keep their checksums, so that damage of pixels stays damage.
    """
    if not content.startswith(PNG):
        return None
    pieces = [PNG]
    position = len(PNG)
    for name, start, length in _chunks(content):
        position = start + length + 4
        data = content[start : start + length]
        if not name[0] & 0x20:
            pieces.append(content[start - 8 : position])
        elif name in _KEPT:
            checksum = struct.pack(">I", zlib.crc32(name + data))
            pieces += (content[start - 8 : start], data, checksum)
    pieces.append(content[position:])
    return b"".join(pieces)


def damaged_chunk(content: bytes) -> str:
    """The name of the first critical chunk of a PNG whose checksum is wrong; "" if none is."""
    for name, start, length in _chunks(content):
        stated = content[start + length : start + length + 4]
        right = struct.pack(">I", zlib.crc32(content[start - 4 : start + length]))
        if not name[0] & 0x20 and stated != right:
            return name.decode("ascii")
    return ""


def ended_jpeg(content: bytes) -> tuple[bytes, bytes] | None:
    """A JPEG with its end marker put back, and the same with other bytes before the marker.

    Both decode to equal pixels only if every block was there: else the bytes would become blocks.
    None for JPEGs of several scans, which may lack whole ones, and for those that have an end.
    """
    if not content.startswith(b"\xff\xd8") or content.endswith(_END) or not _one_scan(content):
        return None
    whole = content.removesuffix(b"\xff")
    # Eight bits of each pattern can hide in the padding of the last byte: many bytes cannot.
    return whole + _END, whole + b"\x35\xca\x53\xac" * 64 + _END


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start of the data and length of each whole chunk of a PNG."""
    position = len(PNG)
    while position + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, position)
        start = position + 8
        if not name.isalpha() or start + length + 4 > len(content):
            return
        yield name, start, length
        position = start + length + 4


def _one_scan(content: bytes) -> bool:
    """Whether a JPEG is baseline with all its components in its first scan."""
    position, components = 2, 0
    while position + 4 <= len(content):
        if content[position] != 0xFF:
            return False
        marker = content[position + 1]
        if marker == 0xFF or marker in _HAS_NO_LENGTH:
            position += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(content[position + 2 : position + 4], "big")
        body = content[position + 4 : position + 2 + length]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if marker not in _BASELINE or len(body) < 6:
                return False
            components = body[5]
        elif marker == 0xDA:
            return bool(body) and body[0] == components
        position += 2 + length
    return False
