"""Zip and tar archives: class folders in them, by the rules of folders, or labelled samples."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from catclf.datasets import folders, webdataset
from catclf.datasets.archive_tree import ArchiveFolder, entries_of
from catclf.datasets.dataset import Part, Reading
from catclf.datasets.shards import of_part, parts_named, signature
from catclf.datasets.sources import FileSource
from catclf.errors import DataError
from catclf.text import counted, printable, url_of


def read(path: Path, files: Sequence[Path], part: Part, reading: Reading) -> FileSource:
    """The images of one part in the archives of a source. Raises DataError."""
    if _hold_samples(files, reading):
        return webdataset.read(path, files, part, reading)
    notes: list[str] = []
    if parts_named(files) and len(files) > 1:
        files = of_part(files, part, printable(path), notes)
    root, damage = _tree(path, files, reading.skip_bad)
    source = folders.read_tree(root, path.name, part, reading)
    if repeated := root.count_repeated():
        notes.append(f"holds {counted(repeated, 'file')} twice: the last of a name is used")
    source.notes, source.damage = (*notes, *damage, *source.notes), tuple(damage)
    return source


def parts(path: Path, files: Sequence[Path], reading: Reading) -> set[Part]:
    """The parts named by folders in archives, else by the names of several archives."""
    if _hold_samples(files, reading) or (len(files) > 1 and parts_named(files)):
        return parts_named(files)
    return folders.parts_of_tree(_tree(path, files, reading.skip_bad)[0], reading)


def _hold_samples(files: Sequence[Path], reading: Reading) -> bool:
    tars = all(file.name.lower().endswith(".tar") for file in files)
    if not tars or reading.label_from == "name":
        return False
    first = signature(files)[0]
    return reading.keys is not None or _holds_samples(url_of(files[0]), first)


@lru_cache(maxsize=8)
def _holds_samples(archive: str, _: object) -> bool:
    return webdataset.holds_samples(Path(archive))


def _tree(path: Path, files: Sequence[Path], skip_bad: bool) -> tuple[ArchiveFolder, list[str]]:
    """The members of archives as a tree, and their damage; kept for the next part."""
    return _listed(url_of(path), tuple(map(url_of, files)), signature(files), skip_bad)


@lru_cache(maxsize=2)
def _listed(
    path: str, files: tuple[str, ...], _: object, skip_bad: bool
) -> tuple[ArchiveFolder, list[str]]:
    damage: list[str] = []
    root = ArchiveFolder(Path(path).name.partition(".")[0], printable(path), ":")
    listed = 0
    for file in files:
        for entry in entries_of(file, damage, skip_bad):
            root.add(file, entry)
            listed += 1
    if damage and not listed:
        raise DataError(damage[0])
    return root, damage
