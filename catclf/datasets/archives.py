"""Zip and tar archives: class folders in them, by the rules of folders, or labelled samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from catclf.datasets import folders, webdataset
from catclf.datasets.dataset import ReadOptions
from catclf.datasets.listing import Source
from catclf.datasets.tree import Folder
from catclf.errors import DataError, ImageError
from catclf.images.archive import entries
from catclf.images.member import Entry
from catclf.storage.remote import display_name
from catclf.text import counted, printable, url_of


def read(path: Path, files: Sequence[Path], options: ReadOptions) -> Source:
    """The images in the archives of a source. Raises DataError."""
    damage: list[str] = []
    names = [url_of(file) for file in files]
    tars = not any(name.lower().endswith(".zip") for name in names)
    if tars and options.label_from != "name":
        if options.keys is not None or webdataset.holds_samples(names[0]):
            return webdataset.read(path, names, options)
    root = Folder(display_name(path).partition(".")[0], printable(path), sep=":")
    listed = 0
    for name in names:
        for entry in entries_of(name, damage, options.skip_bad):
            root.add(name, entry)
            listed += 1
    if damage and not listed:
        raise DataError(damage[0])
    notes = list(damage)
    if root.repeated:
        notes.insert(
            0, f"holds {counted(root.repeated, 'file')} twice: the last of a name is used"
        )
    return folders.read(root, display_name(path), options, tuple(notes), tuple(damage))


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
