"""Zip archives read strictly: a plain list of members, each in its place, and nothing beside them.

Python's own reader forgives much, for archives have many makers; a file that is to be trusted has
one. Refused: several disks, comments, gaps and overlaps, encryption, members whose sizes follow
them, links, sizes of 4 GB and more, and compression, so that a file never holds more than it is.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

_END = struct.Struct("<4sHHHHIIH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_NAMES_ARE_UTF8 = 0x800  # the one flag that changes nothing here
_LINK, _KIND = 0xA000, 0xF000  # of the Unix mode in the upper half of the attributes
MOST_MEMBERS = 100


class ArchiveError(Exception):
    """Not a zip archive, or cut short; ``sound`` says that it is one, but not of the plain kind."""

    def __init__(self, message: str, *, sound: bool = False) -> None:
        super().__init__(message)
        self.sound = sound


class Member(NamedTuple):
    """One entry of the directory: where its bytes are and what they should be."""

    name: str
    crc: int
    size: int
    start: int  # of its own header
    unusual: str  # why it is not to be read, if so


def members(content: bytes) -> list[Member]:
    """The directory. Nothing is expanded. Raises ArchiveError."""
    if len(content) < _END.size:
        raise ArchiveError("too short")
    magic, disk, first, here, count, size, start, comment = _END.unpack_from(
        content, len(content) - _END.size
    )
    if magic != b"PK\5\6" or comment:
        raise ArchiveError("has no end record")
    if disk or first or here != count or start + size != len(content) - _END.size:
        raise ArchiveError("has an end record that does not fit")
    if count > MOST_MEMBERS:
        raise ArchiveError(f"has {count} members", sound=True)
    found, position = [], start
    for _ in range(count):
        member, position = _entry(content, position)
        found.append(member)
    if position != start + size:
        raise ArchiveError("has a directory of another length")
    return found


def check(content: bytes, found: list[Member]) -> None:
    """Raise ArchiveError unless all members are plain, and fill the file up to the directory."""
    for member in found:
        if member.unusual:
            raise ArchiveError(f"has members that are {member.unusual}", sound=True)
    position = 0
    for member in sorted(found, key=lambda member: member.start):
        if member.start != position:
            raise ArchiveError("has gaps or overlaps between its members", sound=True)
        position = _data(content, member) + member.size
    if position != _END.unpack_from(content, len(content) - _END.size)[6]:
        raise ArchiveError("has gaps or overlaps between its members", sound=True)


def read(content: bytes, member: Member) -> bytes:
    """A member's bytes, checked. Raises ArchiveError."""
    start = _data(content, member)
    data = content[start : start + member.size]
    if zlib.crc32(data) != member.crc:
        raise ArchiveError("is damaged: its checksum is wrong", sound=True)
    return data


def _entry(content: bytes, position: int) -> tuple[Member, int]:
    """A member as the directory declares it, and where the next one begins."""
    if position + _CENTRAL.size > len(content):
        raise ArchiveError("has a directory that is cut short")
    entry = _CENTRAL.unpack_from(content, position)
    magic, _, _, flags, method, _, _, crc, packed, size = entry[:10]
    name_length, extra, comment, disk, _, attributes, start = entry[10:]
    if magic != b"PK\1\2":
        raise ArchiveError("has a directory that cannot be read")
    after = position + _CENTRAL.size
    name = content[after : after + name_length].decode("utf-8", "replace")
    if flags & ~_NAMES_ARE_UTF8 or disk or comment:
        unusual = "encrypted, or otherwise unusual"
    elif method or packed != size:
        unusual = "compressed"
    else:
        unusual = "links" if attributes >> 16 & _KIND == _LINK else ""
    return Member(name, crc, size, start, unusual), after + name_length + extra


def _data(content: bytes, member: Member) -> int:
    """Where a member's bytes begin, if its own header is there and agrees with the directory."""
    start = member.start + _LOCAL.size
    if start > len(content):
        raise ArchiveError("has members outside of the file")
    header = _LOCAL.unpack_from(content, member.start)
    magic, _, flags, method = header[:4]
    name_length, extra = header[9:]
    name = content[start : start + name_length].decode("utf-8", "replace")
    unusual = flags & ~_NAMES_ARE_UTF8
    if magic != b"PK\3\4" or unusual or method or name != member.name:
        raise ArchiveError("has members that are not what its directory says", sound=True)
    start += int(name_length) + int(extra)
    if start + member.size > len(content):
        raise ArchiveError("has members outside of the file")
    return start
