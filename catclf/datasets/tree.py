"""Folders and archives as one plain tree of names, in which classes, tables and files are sought.

A folder on disk is listed when it is first looked at, once; the members of archives are put in as
they are met. No member is unpacked, and no path is made of its name.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import cached_property
from posixpath import splitext
from typing import BinaryIO

from catclf.datasets.names import key, latin
from catclf.errors import DataError, ImageError
from catclf.images.archive import entries, is_image
from catclf.images.formats import (
    ENDINGS,
    HEIF_ENDINGS,
    NOT_SNIFFED,
    heif_is_there,
    looks_like_image,
)
from catclf.images.member import Entry, Member, Unreadable
from catclf.images.preprocess import Limits
from catclf.images.walk import LeftOut, is_hidden
from catclf.text import printable, reason

DEPTH = 64  # folders in folders of an archive that are told apart
_AGAIN = "\0"  # between the name of a file and the archive where it is met again
ON_DISK = ""  # what a file on disk is in the tree: its path follows from its place

Item = str  # ON_DISK, or a Member


class Folder:
    """One folder: names to folders, and names to files; ``path`` is where it is on disk.

    A file is an item, or the kind of what cannot be read as one, such as a link in an archive.
    ``shown`` names the folder in messages.
    """

    def __init__(self, name: str, shown: str, path: str | None = None, sep: str = "/") -> None:
        self.name, self.shown, self.path, self._sep = name, shown, path, sep
        self.repeated = 0  # files whose name is met again in the same archive

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Folder:
        """A folder on disk."""
        name = os.fspath(path)
        return cls(os.path.basename(os.path.abspath(name)), printable(name), name)

    @property
    def folders(self) -> dict[str, Folder]:
        """Its folders by name, without those that are hidden or a system's."""
        return self._held[0]

    @property
    def files(self) -> dict[str, Item | _Odd]:
        """What lies right in it and is no folder or hidden."""
        return self._held[1]

    @property
    def system(self) -> list[str]:
        """Folders in it that systems made, without those that are hidden."""
        return sorted(self._held[2])

    @property
    def inside(self) -> list[Folder]:
        """Its folders, by name."""
        return [self.folders[name] for name in sorted(self.folders)]

    @property
    def names(self) -> Iterator[str]:
        """The names of its files."""
        return (name.partition(_AGAIN)[0] for name in self.files)

    @property
    def has_images(self) -> bool:
        """Whether a file right in this folder has the ending of an image."""
        return any(ending_of(name) in ENDINGS for name in self.names)

    def inner(self, name: str) -> str:
        """The name in messages of a folder or file in this one, which need not be there."""
        return f"{self.shown}{self._sep}{printable(name)}"

    def place(self, name: str) -> str:
        """Where a file of this folder is on disk."""
        assert self.path is not None
        return os.path.join(self.path, name)

    def open(self, name: str) -> BinaryIO:
        """A file in it. Raises OSError and ImageError."""
        item = self.files[name]
        if isinstance(item, Member):
            return item.open(Limits())
        if isinstance(item, _Odd):
            raise ImageError("not-a-file", "is not a regular file")
        return open(self.place(name), "rb")

    def add(self, archive: str, entry: Entry) -> None:
        """Put a member of an archive where its name says, unless it is hidden.

        The last of a name in an archive counts; those of other archives are other files.
        """
        *folders, last = _divided(entry.name, archive)
        place = self
        for name in [*folders, last] if entry.is_folder else folders:
            if is_hidden(name):
                if not name.startswith("."):
                    place._held[2].add(name)
                return
            if name not in place.folders:
                place.folders[name] = Folder(name, place.inner(name))
            place = place.folders[name]
        if entry.is_folder or is_hidden(last):
            return
        there = place.files.get(last)
        if isinstance(there, Member) and there.archive != archive:
            last = f"{last}{_AGAIN}{archive}"
        self.repeated += last in place.files
        place.files[last] = member_of(archive, entry)

    @cached_property
    def _held(self) -> tuple[dict[str, Folder], dict[str, Item | _Odd], set[str]]:
        """Folders, files and a system's folders; those on disk are listed. Raises DataError."""
        folders, files, system = dict[str, Folder](), dict[str, Item | _Odd](), set[str]()
        try:
            for entry in os.scandir(self.path) if self.path is not None else ():
                name, is_folder = entry.name, _is_folder(entry)
                if is_hidden(name):
                    system |= {name} if is_folder and not name.startswith(".") else set()
                elif is_folder:
                    folders[name] = Folder(name, self.inner(name), self.place(name))
                else:
                    files[name] = ON_DISK
        except OSError as error:
            raise DataError(f"{self.shown}: cannot be listed: {reason(error)}") from error
        return folders, files, system

    def images(
        self, left_out: LeftOut, seen: set[tuple[int, int]], prefix: str = ""
    ) -> Iterator[str]:
        """The images in it and its folders, by name: members, or paths below it after ``prefix``.

        Other files are counted in ``left_out``, and links to folders that were ``seen``.
        """
        waiting = [(prefix, self)]
        while waiting:
            prefix, place = waiting.pop()
            for called in sorted(place.files):
                name, item = called.partition(_AGAIN)[0], place.files[called]
                if isinstance(item, _Odd):
                    left_out.add(name, item.kind)
                elif _is_image(name, place, item):
                    yield item or prefix + name
                else:
                    left_out.add(name)
            for each in reversed(place.inside):
                if each.mark(seen):
                    waiting.append((f"{prefix}{each.name}/", each))
                else:
                    left_out.links += 1

    def mark(self, seen: set[tuple[int, int]]) -> bool:
        """Note a folder that is read; whether it was not read under another name."""
        if self.path is None:
            return True
        try:
            status = os.stat(self.path)
        except OSError:  # listing it will say what is wrong
            return True
        known = (status.st_dev, status.st_ino) in seen
        seen.add((status.st_dev, status.st_ino))
        return not known

    @cached_property
    def _alike(self) -> dict[tuple[str, str], list[str]]:
        """Names by how they are compared: folders, files, and files without their endings."""
        found: dict[tuple[str, str], list[str]] = {}
        for name in sorted(self.folders):
            found.setdefault(("folder", key(name)), []).append(name)
        for name in sorted(self.files):
            found.setdefault(("file", key(name)), []).append(name)
            found.setdefault(("stem", key(name.rpartition(".")[0])), []).append(name)
        return found

    def find(self, name: str) -> tuple[Item, str] | None:
        """The one file that a path means, maybe in another spelling, and how it is spelled.

        Each name is compared as a key, with backslashes as separators, and the last one also
        without the ending of the file that is there.
        """
        for text in dict.fromkeys((name, name.strip().replace("\\", "/"), latin(name))):
            parts = [part for part in text.split("/") if part not in ("", ".")]
            if parts and ".." not in parts and (found := self._sought(parts)):
                item, spelled = found
                return item, (name if text == name and spelled == parts else "/".join(spelled))
        return None

    def _sought(self, parts: list[str]) -> tuple[Item, list[str]] | None:
        *folders, last = parts
        place, spelled = self, []
        for folder in folders:
            alike = (
                [folder]
                if folder in place.folders
                else place._alike.get(("folder", key(folder)), [])
            )
            if len(alike) != 1:
                return None
            spelled += alike
            place = place.folders[alike[0]]
        alike = (
            [last]
            if last in place.files
            else (
                place._alike.get(("file", key(last))) or place._alike.get(("stem", key(last)), [])
            )
        )
        item = place.files[alike[0]] if len(alike) == 1 else _Odd("")
        return None if isinstance(item, _Odd) else (item, [*spelled, *alike])


class _Odd:
    """What a tree holds that is no file to be read: links, devices, sparse members."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


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


def member_of(archive: str, entry: Entry) -> Member | _Odd:
    """A file of an archive, also one that cannot be read, or what is none."""
    if entry.failure is not None:
        return Unreadable.because(archive, entry.name, entry.failure)
    if entry.place is None:
        return _Odd(entry.kind)
    return Member.of(archive, entry.name, entry.place)


def ending_of(name: str) -> str:
    """The ending of a name, in small letters."""
    return splitext(name)[1].lower()  # a Path costs 3 µs


def _is_image(name: str, place: Folder, item: Item) -> bool:
    """By its ending, else by its first bytes: one rule for folders and archives."""
    ending = ending_of(name)
    if ending in HEIF_ENDINGS:
        return heif_is_there()
    if isinstance(item, Member):
        return is_image(name, item)
    if ending in ENDINGS or ending in NOT_SNIFFED:
        return ending in ENDINGS
    path = place.place(name)
    try:
        return stat.S_ISREG(os.stat(path).st_mode) and looks_like_image(path)
    except OSError:
        return False


def _divided(name: str, archive: str) -> list[str]:
    """The parts of a member's name; those that would lead out of a folder say nothing."""
    if "/" not in name and archive.lower().endswith(".zip"):
        name = name.replace("\\", "/")  # made on Windows
    parts = [part for part in name.split("/") if part not in ("", ".", "..")] or [name]
    return [*parts[:DEPTH], "/".join(parts[DEPTH:])] if len(parts) > DEPTH else parts


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
