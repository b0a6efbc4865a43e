"""Class folders, on disk or in archives: ``cat/*.jpg`` and ``dog/*.png``, below splits or not.

With ``label_from="name"`` the class is the beginning of a file's name: ``cat.0.jpg``. A table
``metadata.csv`` with labels in the folder, as Hugging Face's imagefolder has it, goes before its
class folders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from catclf.datasets.dataset import ENDINGS as SOURCE_ENDINGS
from catclf.datasets.dataset import SHARD_ENDINGS, ReadOptions, Split
from catclf.datasets.layout import (
    Layout,
    find_layout,
    label_in_name,
    named_after_classes,
    seen_through,
    split_folders,
)
from catclf.datasets.listing import Items, Listing, Source, listing_of_items
from catclf.datasets.names import Kind, require_distinct, split_named
from catclf.datasets.table import Table, read_table
from catclf.datasets.tree import Folder, ending_of
from catclf.errors import DataError
from catclf.images.formats import ENDINGS
from catclf.images.member import Member
from catclf.images.walk import LeftOut
from catclf.storage.npz import holds_model
from catclf.text import counted, printable

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
Notes = tuple[str, ...]


def read(
    root: Folder, name: str, options: ReadOptions, notes: Notes = (), damage: Notes = ()
) -> Source:
    """The splits of a tree; ``name`` is the source's in a model.

    ``notes`` and ``damage`` are handed on. Raises DataError.
    """
    parts: dict[Any, Callable[[ReadOptions], Listing]]
    if options.label_from == "name":
        parts = _named(root, name)
    elif source := _of_tables(root, name, options):
        parts = dict(source.parts)
    else:
        layout = find_layout(root)
        kinds = [kind for kind in layout.classes if kind != "other"]
        parts = {kind: partial(_listing, root, layout, kind, name) for kind in kinds}

    def told(part: Callable[[ReadOptions], Listing], options: ReadOptions) -> Listing:
        listing = part(options)
        return replace(listing, notes=(*notes, *listing.notes), damage=damage)

    return Source(root.shown, options, {kind: partial(told, part) for kind, part in parts.items()})


def shards_in(root: Folder) -> list[str]:
    """Archives or Parquet files in a folder without images, as data sets are downloaded.

    Those of one kind: tars go before Parquet files, which may be about them.
    """
    found: dict[str, list[str]] = {}
    waiting = [(root, 4)]
    while waiting:
        place, depth = waiting.pop()
        if place.has_images:
            return []
        for name in place.files:
            ending = next((each for each in SHARD_ENDINGS if name.lower().endswith(each)), "")
            found.setdefault(ending, []).append(place.place(name))
        waiting += [(each, depth - 1) for each in place.inside if depth]
    return next((sorted(found[e]) for e in (".tar", ".parquet", ".zip") if e in found), [])


def _listing(
    root: Folder, layout: Layout, kind: Kind | None, name: str, options: ReadOptions
) -> Listing:
    """The images of each class of a split, by name. Raises DataError without two classes."""
    classes, folder = layout.classes[kind], layout.places[kind]
    names = [name for name, _ in classes]
    require_distinct(names, folder.shown)
    _require_two(classes, folder)
    if root.path is None:
        _require_readable(names, root.shown)
    left_out, seen = LeftOut(), set[tuple[int, int]]()
    for each in (root, folder, *(path for _, path in classes)):
        each.mark(seen)
    listed = {
        name: _items(path, left_out, seen, _below(folder, name, path)) for name, path in classes
    }
    empty = [name for name, files in listed.items() if not files]
    if empty and len(listed) - len(empty) < 2:
        others = f": {left_out}" if left_out else ""
        raise DataError(
            f"{folder.shown}: class folder {printable(empty[0])} holds no images "
            f"({' '.join(sorted(ENDINGS))}){others}"
        )
    said = [*layout.notes]
    said += [f"class folder {printable(name)} is empty and left out" for name in empty]
    if folder is layout.folder or kind is not None:
        said += _beside(folder, left_out)
    held = tuple(name for name in listed if listed[name])
    labels = np.repeat(np.arange(len(held)), [len(listed[name]) for name in held])
    items = Items([item for name in held for item in listed[name]], folder.path or "")
    said += [str(left_out)] if left_out else []
    shown = root.shown if kind is None else folder.shown
    return listing_of_items(shown, name, held, labels, items, options, notes=(*said,))


def _below(folder: Folder, name: str, path: Folder) -> str:
    """The path of a class folder below the one whose classes they are."""
    return f"{name}/" if folder.folders.get(name) is path else f"{name}/{path.name}/"


def _items(path: Folder, left_out: LeftOut, seen: set[tuple[int, int]], prefix: str) -> list[str]:
    return [item or prefix + name for name, item in path.images(left_out, seen)]


def _require_readable(names: Sequence[str], shown: str) -> None:
    """Raise DataError for classes whose names an archive holds in an unknown encoding."""
    for name in names:
        if not name.isascii() and any("\udc80" <= letter <= "\udcff" for letter in name):
            raise DataError(
                f"{shown}: the name of the class {printable(name)} is not in UTF-8, and the "
                "archive does not say in what: make it anew, or unpack it and give the folder"
            )


def _require_two(classes: Sequence[tuple[str, Folder]], folder: Folder) -> None:
    if len(classes) >= 2:
        return
    held = f"one class folder, {printable(classes[0][0])}" if classes else "no class folders"
    places = [folder, *(path for _, path in classes)]
    hint = named_after_classes(places) or _sources_in(places)
    raise DataError(
        f"{folder.shown}: holds {held}: two are needed, such as {folder.inner('cat')} and "
        f"{folder.inner('non-cat')}{hint}"
    )


def _sources_in(folders: Sequence[Folder]) -> str:
    """A hint at files of folders that are sources of their own, such as zips in a zip."""
    for folder in folders:
        if "state.json" in folder.files or any(name.endswith(".arrow") for name in folder.names):
            return (
                f"; {folder.shown} was written by save_to_disk as .arrow files, which are not "
                "read: `dataset.to_parquet('data.parquet')` writes what is"
            )
        found = [
            name
            for name in folder.names
            if name.lower().endswith(SOURCE_ENDINGS)
            and ending_of(name) != ".txt"
            and not name.lower().startswith(("sample_submission", "samplesubmission"))
            and not (folder.path is not None and holds_model(Path(folder.path, name)))
        ]
        names = sorted(found, key=lambda name: ("train" not in name.lower(), name))
        if names:
            listed = f"; {folder.shown} holds {', '.join(map(printable, names[:5]))}: "
            return listed + (
                "unpack them" if folder.path is None else f"give `data={folder.inner(names[0])}`"
            )
    return ""


def _beside(folder: Folder, left_out: LeftOut) -> list[str]:
    """A note on images beside the class folders; other files are counted with those in them."""
    images = 0
    for name in folder.names:
        if ending_of(name) in ENDINGS:
            images += 1
        else:
            left_out.add(name)
    system = ", ".join(map(printable, folder.system))
    notes = [f"passed over system folders: {system}"] if system else []
    if images:
        notes.append(f"left out {counted(images, 'loose image')} beside the class folders")
    return notes


def _named(root: Folder, name: str) -> dict[Any, Callable[[ReadOptions], Listing]]:
    """Images that are labelled by the beginnings of their names, by split."""
    divided: dict[Split | None, Folder] = {
        split: path for split, path in split_folders(root).items() if named_after_classes([path])
    }
    places = divided or {None: seen_through(root)}
    return {kind: partial(_by_name, path, name) for kind, path in places.items()}


def _by_name(folder: Folder, name: str, options: ReadOptions) -> Listing:
    left_out, seen = LeftOut(), set[tuple[int, int]]()
    folder.mark(seen)
    files, texts, nameless = [], [], 0
    for item in _items(folder, left_out, seen, ""):
        label = label_in_name(Path(item.name if isinstance(item, Member) else item).name)
        if label:
            files.append(item)
            texts.append(label)
        else:
            nameless += 1
    classes = tuple(sorted(set(texts)))
    require_distinct(classes, folder.shown)
    if folder.path is None:
        _require_readable(classes, folder.shown)
    if len(classes) < 2:
        held = f"one class, {printable(classes[0])}" if classes else "no class"
        raise DataError(f"{folder.shown}: the names of its files tell {held}: two are needed")
    said = [f"left out {counted(nameless, 'image')} whose names tell no class"] if nameless else []
    said += [str(left_out)] if left_out else []
    index = {text: number for number, text in enumerate(classes)}
    labels = np.array([index[text] for text in texts], dtype=np.int64)
    items = Items(files, folder.path or "")
    return listing_of_items(folder.shown, name, classes, labels, items, options, notes=(*said,))


def _of_tables(root: Folder, name: str, options: ReadOptions) -> Source | None:
    """The images that tables beside them label: one of all splits, or one in each."""
    place = seen_through(root)
    if table := _table(place):
        if table.has_labels(options):
            return read_table(table, name, options)
        _require_class_folders(place, table)
        return None
    tables = {
        split: found for split, path in split_folders(root).items() if (found := _table(path))
    }
    labelled = {split: table for split, table in tables.items() if table.has_labels(options)}
    if tables and not labelled:
        _require_class_folders(place, next(iter(tables.values())))
    if not labelled:
        return None
    return Source(
        root.shown,
        options,
        {
            split: partial(_of_table, read_table(table, name, options), split)
            for split, table in labelled.items()
        },
    )


def _of_table(source: Source, split: Split, options: ReadOptions) -> Listing:
    return source.split(split, options)


def _table(folder: Folder) -> Table | None:
    there = [name for name in folder.names if name.lower() in METADATA]
    if not there:
        return None
    name = min(there, key=lambda name: METADATA.index(name.lower()))
    if [each.lower() for each in there].count(name.lower()) > 1:
        raise DataError(f"{folder.shown}: holds {printable(name)} twice: give one at a time")
    return Table(folder, name, folder.inner(name))


def _require_class_folders(place: Folder, table: Table) -> None:
    """Raise DataError for a table without labels where no class folders can be meant."""
    if not any(folder.folders or split_named(folder.name) is None for folder in place.inside):
        held = ", ".join(printable(name) for name in table.header()[:20]) or "nothing"
        raise DataError(
            f"{table.shown}: has no column label; it has {held}: `columns=file_name,label` names "
            "others"
        )
