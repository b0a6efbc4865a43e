"""The members of archives as a tree of folders in memory.

No member is unpacked, and no path is made of its name: the parts of a name are names of folders in
this tree, and the place in the archive is what decoding reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from catclf.datasets.names import key
from catclf.datasets.tree import Folder
from catclf.errors import DataError, ImageError
from catclf.images.archive import entries
from catclf.images.formats import ENDINGS, HEIF_ENDINGS, NOT_SNIFFED, heif_is_there, sniffed
from catclf.images.member import Entry, Member, Unreadable
from catclf.images.preprocess import Limits
from catclf.images.walk import SYSTEM_NAMES, Failed, Walk, is_hidden
from catclf.text import printable

DEPTH = 64  # folders in folders that are told apart
_AGAIN = "\0"  # between the name of a file and the archive where it is met again
SNIFFED_BYTES = 1 << 24  # a larger file without a known ending is no image


class ArchiveFolder:
    """A folder of members, which may be of several archives."""

    def __init__(self, name: str, shown: str, separator: str = "/") -> None:
        self.name, self.shown, self.root = name, shown, Path()
        self._separator = separator
        self._folders: dict[str, ArchiveFolder] = {}
        self._files: dict[str, Member | None] = {}  # None for links and devices
        self._system: set[str] = set()
        self.repeated = 0  # files in it whose name is met again in the same archive

    def inner(self, name: str) -> str:
        return f"{self.shown}{self._separator}{printable(name)}"

    def folders(self) -> Sequence[Folder]:
        return [self._folders[name] for name in sorted(self._folders)]

    def system_folders(self) -> list[str]:
        return sorted(self._system)

    def loose_files(self) -> Iterator[str]:
        return (name.partition(_AGAIN)[0] for name in self._files)

    def mark(self, walk: Walk) -> None:
        """Nothing: no link is followed here."""

    def images(self, walk: Walk, base: Folder) -> Iterator[str | Failed]:
        waiting = [self]
        while waiting:
            place = waiting.pop()
            for called in sorted(place._files):
                name, member = called.partition(_AGAIN)[0], place._files[called]
                if member is not None and _is_image(name, member):
                    yield member
                else:
                    walk.left_out.add(name)
            waiting += (place._folders[name] for name in sorted(place._folders, reverse=True))

    def open(self, name: str) -> BinaryIO:
        member = self._files[name]
        if member is None:
            raise ImageError("not-a-file", "is not a regular file")
        return member.open(Limits())

    def find(self, name: str) -> tuple[str, str] | None:
        path = name.strip().replace("\\", "/")
        if path.startswith("/") or ".." in path.split("/"):
            return None
        *folders, last = _divided(path, "")
        place, spelled = self, []
        for folder in folders:
            inside = _like(folder, place._folders)
            if inside is None:
                return None
            spelled.append(inside)
            place = place._folders[inside]
        file = last if last in place._files else place._other_spelling(last)
        member = place._files[file] if file else None
        return None if file is None or member is None else (member, "/".join([*spelled, file]))

    def _other_spelling(self, name: str) -> str | None:
        """The one file that differs from ``name`` in spelling alone, or lacks its ending there."""
        alike = self._by_key.get(key(name)) or self._by_stem.get(key(name), [])
        return alike[0] if len(alike) == 1 else None

    @cached_property
    def _by_key(self) -> dict[str, list[str]]:
        return _grouped((key(name), name) for name in self._files)

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        return _grouped((key(name.rpartition(".")[0]), name) for name in self._files)

    def missing(self, name: str) -> str:
        failure = ImageError("missing", "there is no such file in the archive")
        return Unreadable.because(self.shown, name, failure)

    def count_repeated(self) -> int:
        """The files in it and its folders whose name is met again in the same archive."""
        total, waiting = 0, [self]
        while waiting:
            place = waiting.pop()
            total += place.repeated
            waiting += place._folders.values()
        return total

    def add(self, archive: str, entry: Entry) -> None:
        """Put a member where its name says, unless it is hidden.

        The last of a name in an archive counts; those of other archives are other files.
        """
        *folders, last = _divided(entry.name, archive)
        place = self
        for name in [*folders, last] if entry.is_folder else folders:
            if is_hidden(name):
                if name.casefold() in SYSTEM_NAMES and not name.startswith("."):
                    place._system.add(name)
                return
            place = place._inside(name)
        if entry.is_folder or is_hidden(last):
            return
        is_file = entry.place is not None or entry.failure is not None
        place._put(last, archive, member_of(archive, entry) if is_file else None)

    def _put(self, name: str, archive: str, member: Member | None) -> None:
        there = self._files.get(name)
        if there is not None and there.archive != archive:
            name = f"{name}{_AGAIN}{archive}"
        self.repeated += name in self._files
        self._files[name] = member

    def _inside(self, name: str) -> ArchiveFolder:
        if name not in self._folders:
            self._folders[name] = ArchiveFolder(name, self.inner(name))
        return self._folders[name]


def entries_of(archive: str, damage: list[str], skip_bad: bool) -> Iterator[Entry]:
    """All that an archive lists. Raises DataError where it is damaged.

    With ``skip_bad`` what is listed before the damage is all there is, and ``damage`` says so.
    """
    listed = 0
    try:
        for entry in entries(archive):
            listed += 1
            yield entry
    except ImageError as error:
        why = f"{printable(archive)}: {error}"
        if not skip_bad:
            usable = ": `skip_bad` takes what is before that"
            raise DataError(f"{why}{usable if listed else ''}") from error
        damage.append(f"{why}: {'what is before that is used' if listed else 'is left out'}")


def _like(name: str, names: Iterable[str]) -> str | None:
    """The name itself, else the one that differs from it in spelling alone; None if not one."""
    if name in names:
        return name
    alike = [each for each in names if key(each) == key(name)]
    return alike[0] if len(alike) == 1 else None


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for group, name in pairs:
        groups.setdefault(group, []).append(name)
    return groups


def _divided(name: str, archive: str) -> list[str]:
    """The parts of a member's name; those that would lead out of a folder say nothing."""
    if "/" not in name and archive.lower().endswith(".zip"):
        name = name.replace("\\", "/")  # made on Windows
    parts = [part for part in name.split("/") if part not in ("", ".", "..")] or [name]
    return [*parts[:DEPTH], "/".join(parts[DEPTH:])] if len(parts) > DEPTH else parts


def member_of(archive: str, entry: Entry) -> Member:
    """A file of an archive, also one that cannot be read; not a link."""
    if entry.failure is not None:
        return Unreadable.because(archive, entry.name, entry.failure)
    assert entry.place is not None
    return Member.of(archive, entry.name, entry.place)


def _is_image(name: str, member: Member) -> bool:
    """By its ending, else by its first bytes, as files of folders."""
    ending = Path(name).suffix.lower()
    if ending in ENDINGS:
        return True
    if ending in HEIF_ENDINGS:
        return heif_is_there()
    if ending in NOT_SNIFFED or isinstance(member, Unreadable):
        return False
    try:
        with member.open(Limits(file_bytes=SNIFFED_BYTES)) as file:
            return sniffed(file)
    except (OSError, ImageError):
        return False
