"""Folders and archives as one plain tree of names, in which images, classes and tables are sought.

A folder on disk is listed when it is first looked at; the members of archives are put in as they
are met. Every file that is not hidden is an image, or counted in a ``LeftOut``. Nothing here loads
NumPy or Pillow.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

from catclf.errors import DataError, ImageError
from catclf.images.archive import Entry, Failed, Member, entries
from catclf.images.formats import ENDINGS, HEIF_ENDINGS, RAW_ENDINGS, is_image
from catclf.images.preprocess import Limits
from catclf.storage.local import RAW, open_regular
from catclf.storage.location import is_packed, unpacked
from catclf.text import counted, printable, reason, to_install

# Folders and files that systems and programs make by themselves, casefolded.
SYSTEM_NAMES = frozenset(
    {"@eadir", "@tmp", "@recycle", "@recently-snapshot", "@sharebin", "#recycle", "#snapshot"}
    | {"__macosx", "__pycache__", "lost+found", "$recycle.bin", "recycler", "recycled"}
    | {"system volume information", "found.000", "thumbs.db", "ehthumbs.db", "desktop.ini"}
    | {"network trash folder", "temporary items", "trash-1000", "icon\r", "aquota.user"}
)
DEPTH = 64  # folders in folders of an archive that are told apart
SNIFFED = Limits(file_bytes=1 << 24)  # a larger member without a known ending is no image
ON_DISK = ""  # what a file on disk is in the tree: its path follows from its place
_KINDS_LISTED = 6  # kinds of files that are counted by their ending
_AGAIN = "\0"  # between the name of a file and the archive where it is met again

Item = str | Entry  # ON_DISK, a Member, or what cannot be read as a file, such as a link


def is_hidden(name: str) -> bool:
    """Whether a name is hidden, or one that systems make by themselves."""
    return name.startswith(".") or name.casefold() in SYSTEM_NAMES


def ending_of(name: str) -> str:
    """The ending of a name, in small letters."""
    return os.path.splitext(name)[1].lower()  # a Path costs 3 µs


class LeftOut:
    """The files and folders of a source that are not used, counted by their ending."""

    def __init__(self) -> None:
        self.endings: Counter[str] = Counter()
        self.links = 0

    def add(self, name: str, kind: str = "") -> None:
        """Count one file by its ending, or by its ``kind``, such as "links"."""
        self.endings[kind or ending_of(name)] += 1

    def update(self, others: LeftOut) -> None:
        """Count those of another source, too."""
        self.endings.update(others.endings)
        self.links += others.links

    def __bool__(self) -> bool:
        return bool(self.endings or self.links)

    def __str__(self) -> str:
        """One line: how many files of which kinds; empty if there are none."""
        parts = []
        total = self.endings.total()
        if total:
            listed = self.endings.most_common(_KINDS_LISTED)
            kinds = [_counted(count, ending) for ending, count in listed]
            if others := total - sum(count for _, count in listed):
                kinds.append(f"{others} others")
            kinds += [RAW] if RAW_ENDINGS & self.endings.keys() else []
            parts.append(f"left out {counted(total, 'file')}: {', '.join(kinds)}")
            if HEIF_ENDINGS & self.endings.keys():
                parts.append(f"HEIC is read after {to_install('heif')}")
        if self.links:
            parts.append(f"left out {counted(self.links, 'link')} to folders that are read already")
        return "; ".join(parts)


def _counted(count: int, ending: str) -> str:
    if ending and not ending.startswith("."):
        return counted(count, ending.removesuffix("s"))
    return f"{count} {printable(ending)}" if ending else f"{count} without an ending"


class Listed:
    """What is right in a folder: folders and files by name, and names of a system's folders.

    Hidden names are in none of them.
    """

    def __init__(self) -> None:
        self.folders: dict[str, Folder] = {}
        self.files: dict[str, Item] = {}
        self.system: set[str] = set()


class Folder:
    """One folder, on disk if it has a ``path``; ``shown`` names it in messages.

    ``repeated`` counts files whose name is met again in the same archive.
    """

    def __init__(self, name: str, shown: str, path: str | None = None, sep: str = "/") -> None:
        self.name, self.shown, self.path, self._sep = name, shown, path, sep
        self.repeated = 0
        self._listed = None if path is not None else Listed()

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Folder:
        """A folder on disk."""
        name = os.fspath(path)
        return cls(os.path.basename(os.path.abspath(name)), printable(name), name)

    @property
    def listed(self) -> Listed:
        """What is in it. Raises DataError."""
        if self._listed is None:
            self._listed = self._scanned()
        return self._listed

    @property
    def folders(self) -> dict[str, Folder]:
        """Its folders by name, without those that are hidden or a system's."""
        return self.listed.folders

    @property
    def files(self) -> dict[str, Item]:
        """What lies right in it and is no folder or hidden."""
        return self.listed.files

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

    def open(self, name: str, item: Item = ON_DISK, limits: Limits | None = None) -> BinaryIO:
        """A file in it, on disk or the ``item`` that ``files`` has. Raises OSError, ImageError."""
        if isinstance(item, Member):
            return item.open(limits or Limits())
        if isinstance(item, Entry):
            raise ImageError("not-a-file", "is not a regular file")
        return open_regular(self.place(name))

    def _scanned(self) -> Listed:
        """What is in a folder on disk now. Raises DataError."""
        found = Listed()
        try:
            with os.scandir(self.path) as scanned:
                for entry in scanned:
                    name, is_folder = entry.name, _is_folder(entry)
                    if is_hidden(name):
                        found.system |= {name} if is_folder and not name.startswith(".") else set()
                    elif is_folder:
                        found.folders[name] = Folder(name, self.inner(name), self.place(name))
                    else:
                        found.files[name] = ON_DISK
        except OSError as error:
            raise DataError(f"{self.shown}: cannot be listed: {reason(error)}") from error
        return found

    def add(self, archive: str, entry: Entry) -> None:
        """Put a member of an archive where its name says, unless it is hidden.

        The last of a name in an archive counts; those of other archives are other files.
        """
        *folders, last = _divided(entry.name, archive)
        place = self
        for name in [*folders, last] if entry.is_folder else folders:
            if is_hidden(name):
                if not name.startswith("."):
                    place.listed.system.add(name)
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
        place.files[last] = entry.member(archive) or entry

    def images(
        self,
        left_out: LeftOut,
        seen: set[tuple[int, int]],
        prefix: str = "",
        *,
        recursive: bool = True,
        name_heif: bool = False,
    ) -> Iterator[str | Failed]:
        """The images in it and its folders, by name: members, or paths below it after ``prefix``.

        Other files are counted in ``left_out``, and links to folders that were ``seen``. A folder
        that cannot be listed is one failure. What was not looked at before is not kept.
        """
        waiting = [(prefix, self)]
        while waiting:
            prefix, place = waiting.pop()
            try:
                listed = place._listed or place._scanned()
            except DataError as error:
                why = str(error).removeprefix(f"{place.shown}: ")
                yield str(place.path), ImageError("forbidden", why)
                continue
            for key in sorted(listed.files):
                name, item = key.partition(_AGAIN)[0], listed.files[key]
                opener = partial(place.open, name, item, SNIFFED)
                if isinstance(item, Entry):
                    left_out.add(name, item.kind)
                elif is_image(name, opener, name_heif=name_heif):
                    yield item or prefix + name
                else:
                    left_out.add(name)
            inside = sorted(listed.folders) if recursive else []
            new = [name for name in inside if listed.folders[name].mark(seen)]
            left_out.links += len(inside) - len(new)
            waiting += [(f"{prefix}{name}/", listed.folders[name]) for name in reversed(new)]

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


def _divided(name: str, archive: str) -> list[str]:
    """The parts of a member's name; those that would lead out of a folder say nothing."""
    if "/" not in name and archive.lower().endswith(".zip"):
        name = name.replace("\\", "/")  # made on Windows
    parts = visible_parts(name) or [name]
    return [*parts[:DEPTH], "/".join(parts[DEPTH:])] if len(parts) > DEPTH else parts


def visible_parts(name: str) -> list[str]:
    """The parts of a member's name that say something."""
    return [part for part in name.split("/") if part not in ("", ".", "..")]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def images_below(path: str, left_out: LeftOut, recursive: bool) -> Iterator[str | Failed]:
    """The images of a folder on disk by name, then those of its folders; each is read once."""
    folder, seen = Folder.of(path), set[tuple[int, int]]()
    folder.mark(seen)  # so that no link leads into it
    prefix = os.path.join(path, "")
    return folder.images(left_out, seen, prefix, recursive=recursive, name_heif=True)


def members(archive: str, left_out: LeftOut) -> Iterator[Member | Failed]:
    """The images of an archive in its order; other files are counted in ``left_out``.

    An archive that cannot be read, or not further, is a failure under its own name. The temporary
    copy of one that is compressed as a whole lasts as long as its members.
    """
    try:
        place = _unpacked(archive)
        for entry in entries(place):
            if entry.is_folder or any(map(is_hidden, visible_parts(entry.name))):
                continue
            member = entry.member(place)
            if member is None:
                left_out.add(entry.name, entry.kind)
            elif is_image(entry.name, partial(member.open, SNIFFED), name_heif=True):
                yield member if place == archive else member.called(f"{archive}:{entry.name}")
            else:
                left_out.add(entry.name)
    except ImageError as error:
        yield archive, error


def _unpacked(archive: str) -> str:
    try:
        return unpacked(archive) if is_packed(archive) else archive
    except OSError as error:
        raise ImageError("unreadable", f"cannot be read: {reason(error)}") from error
