"""Zip and tar archives: class folders in them, by the rules of folders, or labelled samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from catclf.datasets import folders, webdataset
from catclf.datasets.dataset import ReadOptions
from catclf.datasets.listing import Source
from catclf.datasets.tree import Folder, entries_of
from catclf.errors import DataError
from catclf.storage.location import is_packed, locate
from catclf.text import counted, printable, url_of


def read(path: Path, files: Sequence[Path], options: ReadOptions) -> Source:
    """The images in the archives of a source. Raises DataError."""
    damage: list[str] = []
    names = [url_of(file) for file in files]
    tars = not any(name.lower().endswith(".zip") for name in names)
    may_hold = tars and options.label_from != "name"
    last = webdataset.dot_of_samples(names[0]) if may_hold else None
    if last is not None or (may_hold and options.keys is not None):
        return webdataset.read(path, names, options, bool(last))
    root = Folder(locate(path).name.partition(".")[0], printable(path), sep=":")
    listed = 0
    for name in names:
        for entry in entries_of(name, damage, options.skip_bad):
            root.add(name, entry)
            listed += 1
    if damage and not listed:
        raise DataError(damage[0])
    notes = list(damage)
    if any(map(is_packed, names)):
        notes.append("is unpacked to a temporary file in each run: unpack it once to save the time")
    if root.repeated:
        notes.insert(0, f"holds {counted(root.repeated, 'file')} twice: the last of a name is used")
    return folders.read(root, locate(path).name, options, tuple(notes), tuple(damage))
