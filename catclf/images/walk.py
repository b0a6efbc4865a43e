"""Which files of a folder are images: one rule for training, packing and scoring.

Every file that is not hidden is listed, or counted in a ``LeftOut``. Nothing here loads NumPy or
Pillow.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator

from catclf.errors import ImageError
from catclf.images.formats import (
    ENDINGS,
    HEIF_ENDINGS,
    NOT_SNIFFED,
    RAW_ENDINGS,
    heif_is_there,
    looks_like_image,
)
from catclf.storage.local import RAW
from catclf.text import counted, printable, reason, to_install

Failed = tuple[str, ImageError]

# Folders and files that systems and programs make by themselves, casefolded.
SYSTEM_NAMES = frozenset(
    {"@eadir", "@tmp", "@recycle", "@recently-snapshot", "@sharebin", "#recycle", "#snapshot"}
    | {"__macosx", "__pycache__", "lost+found", "$recycle.bin", "recycler", "recycled"}
    | {"system volume information", "found.000", "thumbs.db", "ehthumbs.db", "desktop.ini"}
    | {"network trash folder", "temporary items", "trash-1000", "icon\r", "aquota.user"}
)
_LISTED = 6  # kinds of files that are counted by their ending


def is_hidden(name: str) -> bool:
    """Whether a name is hidden, or one that systems make by themselves."""
    return name.startswith(".") or name.casefold() in SYSTEM_NAMES


class LeftOut:
    """The files and folders of a source that are not used, counted by their ending."""

    def __init__(self) -> None:
        self.endings: Counter[str] = Counter()
        self.links = 0

    def add(self, name: str, kind: str = "") -> None:
        """Count one file by its ending, or by its ``kind``, such as "links"."""
        self.endings[kind or os.path.splitext(name)[1].lower()] += 1

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
            listed = self.endings.most_common(_LISTED)
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


class Walk:
    """The images below folders; each folder is read once, however many links lead to it."""

    def __init__(self, left_out: LeftOut | None = None, *, name_heif: bool = False) -> None:
        self.left_out = LeftOut() if left_out is None else left_out
        self._name_heif = name_heif
        self._seen: set[tuple[int, int]] = set()

    def images(self, folder: str, recursive: bool) -> Iterator[str | Failed]:
        """The images of a folder by name, then those of its folders.

        A folder that cannot be listed, and an entry that cannot be looked at, is one failure.
        """
        self._is_new(folder)  # so that no link leads into it
        waiting = [folder]
        while waiting:
            place = waiting.pop()
            files: list[str] = []
            folders: list[str] = []
            try:
                with os.scandir(place) as entries:
                    for entry in entries:
                        if not is_hidden(entry.name):
                            self._sort(entry, files, folders)
            except OSError as error:
                yield place, ImageError("forbidden", f"cannot be listed: {reason(error)}")
            yield from (os.path.join(place, name) for name in sorted(files))
            if recursive:
                waiting += (os.path.join(place, name) for name in sorted(folders, reverse=True))

    def _sort(self, entry: os.DirEntry[str], files: list[str], folders: list[str]) -> None:
        """Put an entry to the images, to the folders, or to what is left out."""
        if not _is_folder(entry):
            if self._is_image(entry):
                files.append(entry.name)
            else:
                self.left_out.add(entry.name)
        elif self._is_new(entry.path):
            folders.append(entry.name)
        else:
            self.left_out.links += 1

    def _is_new(self, folder: str) -> bool:
        try:
            status = os.stat(folder)
        except OSError:  # listing it will say what is wrong
            return True
        key = (status.st_dev, status.st_ino)
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    def _is_image(self, entry: os.DirEntry[str]) -> bool:
        """By its ending, else by its first bytes; one that cannot be looked at fails later."""
        ending = os.path.splitext(entry.name)[1].lower()  # a Path costs 3 µs
        if ending in ENDINGS:
            return True
        if ending in HEIF_ENDINGS:
            return self._name_heif or heif_is_there()
        if ending in NOT_SNIFFED:
            return False
        try:
            status = entry.stat()
        except FileNotFoundError:  # a link to nothing is a file that is not there
            return False
        except OSError:  # such as a link to itself
            return True
        return stat.S_ISREG(status.st_mode) and looks_like_image(entry.path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
