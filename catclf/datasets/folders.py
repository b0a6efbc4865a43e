"""Class folders, on disk or in archives: ``cat/*.jpg`` and ``dog/*.png``, below splits or not.

With ``label_from="name"`` the class is the beginning of a file's name: ``cat.0.jpg``. A table
``metadata.csv`` with labels in the folder, as Hugging Face's imagefolder has it, goes before its
class folders. Splits and classes are found in a tree of names, without a look at any image.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from catclf.datasets import shards
from catclf.datasets.dataset import ENDINGS as SOURCE_ENDINGS
from catclf.datasets.dataset import SHARD_ENDINGS, SPLITS, ReadOptions, Split
from catclf.datasets.listing import Items, Listing, Source, listing_of_items
from catclf.datasets.names import (
    CAT,
    Kind,
    key,
    label_in_name,
    match,
    negated,
    require_distinct,
    split_named,
    words,
)
from catclf.datasets.table import Table, listed, read_table
from catclf.errors import DataError
from catclf.images.archive import Member
from catclf.images.formats import ENDINGS
from catclf.images.tree import Folder, LeftOut, ending_of
from catclf.storage.location import is_packed, locate
from catclf.text import counted, printable, url_of

DEPTH = 5  # folders in folders that are seen through
ARROW = "`dataset.to_parquet('data.parquet')` writes what is read"
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
# Folders that data sets keep beside each other, and that are no classes.
_BELONGINGS = frozenset(
    words(
        "images image img imgs jpegimages pictures photos pics data raw annotations annotation "
        "labels label masks mask trimaps xmls xml bbox bboxes boxes segmentations segmentation "
        "groundtruth ground_truth gt meta metadata imagesets lists splits thumbnails thumbs"
    )
)
_Part = Callable[[ReadOptions], Listing]


def read_archives(path: Path, files: Sequence[Path], options: ReadOptions) -> Source:
    """The images in the zip and tar archives of a source. Raises DataError."""
    names, damage = [url_of(file) for file in files], list[str]()
    tars = not any(name.lower().endswith(".zip") for name in names)
    if tars and options.label_from != "name":
        last = shards.dot_of_samples(names[0])
        if last is not None or options.keys is not None:
            return shards.read_samples(path, names, options, bool(last))
    root = Folder(locate(path).name.partition(".")[0], printable(path), sep=":")
    count = 0
    for name in names:
        for entry in shards.entries_of(name, damage, options.skip_bad):
            root.add(name, entry)
            count += 1
    if damage and not count:
        raise DataError(damage[0])
    notes = list(damage)
    if any(map(is_packed, names)):
        notes.append("is unpacked to a temporary file in each run: unpack it once to save the time")
    if root.repeated:
        notes.insert(0, f"holds {counted(root.repeated, 'file')} twice: the last of a name is used")
    source = read(root, locate(path).name, options)
    return replace(source, notes=tuple(notes), damage=tuple(damage))


def read(root: Folder, name: str, options: ReadOptions) -> Source:
    """The splits of a tree; ``name`` is the source's in a model. Raises DataError."""
    parts: Mapping[Any, _Part]
    if options.label_from == "name":
        found: dict[Any, Folder] = dict(split_folders(root))
        found = {split: each for split, each in found.items() if named_after_classes([each])}
        found = found or {None: seen_through(root)}
        parts = {kind: partial(_by_name, each, name) for kind, each in found.items()}
    elif tables := _of_tables(root, name, options):
        parts = tables
    else:
        layout = find_layout(root)
        kinds = [kind for kind in layout.classes if kind != "other"]
        parts = {kind: partial(_by_folder, root, layout, kind, name) for kind in kinds}

    return Source(root.shown, options, parts)


def shards_in(root: Folder) -> list[str]:
    """Archives or Parquet files in a folder as data sets are downloaded, of one kind.

    Tars go before Parquet files, which may be about them. A folder of images is no such folder,
    but where Parquet files have one folder of images beside them, such as those of a README.
    """
    found: dict[str, list[str]] = {}
    waiting, with_images = [(root, 4)], 0
    while waiting:
        place, depth = waiting.pop()
        with_images += place.has_images
        for name in place.files:
            ending = next((each for each in SHARD_ENDINGS if name.lower().endswith(each)), "")
            if name.lower() not in METADATA:
                found.setdefault(ending, []).append(place.place(name))
        waiting += [(each, depth - 1) for each in place.inside if depth]
    kinds = [kind for kind in (".tar", ".tar.gz", ".tgz", ".parquet", ".zip") if kind in found]
    if with_images and (kinds[:1] != [".parquet"] or with_images > 1 or root.has_images):
        return []
    return sorted(found[kinds[0]]) if kinds else []


# Where the classes are


@dataclass
class Layout:
    """Class folders by split, or of all under None, and what is to be known of it.

    ``places`` are the folders that hold the class folders of a split.
    """

    classes: dict[Kind | None, list[tuple[str, Folder]]] = field(default_factory=dict)
    places: dict[Kind | None, Folder] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def find_layout(root: Folder) -> Layout:
    """Where splits and classes are below ``root``. Raises DataError where there are no classes."""
    folder, layout = seen_through(root), Layout()
    inside = folder.inside
    divided = _splits_of_classes(folder)
    passed = [each for each in inside if each not in [path for _, path in divided]]
    for kind, path in divided:
        if kind in layout.classes:
            passed.append(path)
            continue
        place = layout.places[kind] = seen_through(path)
        layout.classes[kind] = [(each.name, each) for each in place.inside]
    if divided:
        if passed:
            names = ", ".join(printable(path.name) for path in passed[:10])
            layout.notes.append(f"passed over beside the splits: {names}")
    elif len(inside) > 1 and all(map(_holds_splits, inside)):  # cat/train, cat/test, dog/train, …
        for path in inside:
            for each in path.inside:
                layout.classes.setdefault(split_named(each.name), []).append((path.name, each))
                layout.places.setdefault(split_named(each.name), folder)
    else:
        _require_classes(root, folder)
        layout.classes[None], layout.places[None] = [(each.name, each) for each in inside], folder
        if folder is not root:
            layout.notes.append(f"its classes are those of {folder.shown}")
    return layout


def seen_through(folder: Folder) -> Folder:
    """The folder that holds something, where wrappers hold one folder and nothing else."""
    place = folder
    for _ in range(DEPTH):
        inside = place.inside
        if len(inside) != 1 or not inside[0].folders or place.has_images:
            return place
        if split_named(inside[0].name) and split_named(place.name) is None:
            return place  # a single split is one
        place = inside[0]
    return folder


def split_folders(root: Folder) -> dict[Split, Folder]:
    """The folders named after splits, in the folder that holds something."""
    found: dict[Split, Folder] = {}
    for kind, path in _named_after_splits(seen_through(root)):
        if kind in SPLITS:
            found.setdefault(kind, path)
    return found


def _splits_of_classes(folder: Folder) -> list[tuple[Kind, Folder]]:
    """The folders that are splits: named so, and holding class folders."""
    named = _named_after_splits(folder)
    kinds = [(kind, path) for kind, path in named if path.folders and seen_through(path).folders]
    return kinds if any(kind != "other" for kind, _ in kinds) else []


def _named_after_splits(folder: Folder) -> list[tuple[Kind, Folder]]:
    """The folders that are named after splits, the shortest names first."""
    inside = sorted(folder.inside, key=lambda path: len(path.name))
    return [(kind, path) for path in inside if (kind := split_named(path.name)) is not None]


def _holds_splits(folder: Folder) -> bool:
    kinds = {split_named(name) for name in folder.folders}
    return "train" in kinds and None not in kinds and not folder.has_images


def _require_classes(root: Folder, folder: Folder) -> None:
    """Raise DataError where folders are splits, belongings of a data set, or copies of one."""
    inside, what = folder.inside, ""
    names = [each.name for each in inside]
    if len(inside) < 2:
        return
    if all(split_named(name) or key(name) in _BELONGINGS for name in names):
        what = (
            "are no classes, but splits or parts of a data set: put the images into one folder for "
            f"each class, such as {inside[0].inner(CAT)}, or list them in a table with the columns "
            "path and label"
        )
    elif copies := _copied_classes(inside):
        what = (
            f"hold the same folders ({copies}), so these are the classes: "
            f"give `data={inside[0].shown}`"
        )
    if what:
        some = " and ".join(printable(name) for name in names[:6])
        hint = named_after_classes(inside) or _sources_in([folder, *inside])
        raise DataError(f"{root.shown}: {some} {what}{hint}")


def _copied_classes(inside: Sequence[Folder]) -> str:
    """The folders that all of several hold, where they hold nothing else; "" if they do not.

    Outer names that are cat, or a class and its negation, are classes; numbers inside are not.
    """
    names = [path.name for path in inside]
    held = [{key(name): name for name in path.folders} for path in inside]
    if any(each.keys() != held[0].keys() for each in held):
        return ""
    if match(CAT, names) or {negated(name) for name in names} & {key(name) for name in names}:
        return ""
    numbers = all(re.fullmatch(r"[\d\W_]*", name) for name in held[0])
    if len(held[0]) < 2 or numbers or any(path.has_images for path in inside):
        return ""
    return ", ".join(printable(name) for name in sorted(held[0].values())[:6])


# What they hold


def _by_folder(
    root: Folder, layout: Layout, kind: Kind | None, name: str, options: ReadOptions
) -> Listing:
    """The images of each class of a split, by name. Raises DataError without two classes."""
    classes, folder = layout.classes[kind], layout.places[kind]
    places = [folder, *(path for _, path in classes)]
    _require_names([label for label, _ in classes], folder)
    if len(classes) < 2:
        held = f"one class folder, {printable(classes[0][0])}" if classes else "no class folders"
        raise DataError(
            f"{folder.shown}: holds {held}: two are needed, such as {folder.inner('cat')} and "
            f"{folder.inner('non-cat')}{named_after_classes(places) or _sources_in(places)}"
        )
    left_out, seen = LeftOut(), set[tuple[int, int]]()
    for each in (root, *places):
        each.mark(seen)
    images = {}
    for label, path in classes:
        below = "" if folder.folders.get(label) is path else f"{path.name}/"
        images[label] = _images(path, left_out, seen, f"{label}/{below}")
    filled = [label for label in images if images[label]]
    empty = [label for label in images if not images[label]]
    if len(filled) < 2:
        others = f": {left_out}" if left_out else ""
        raise DataError(
            f"{folder.shown}: class folder {printable(empty[0])} holds no images "
            f"({' '.join(sorted(ENDINGS))}){others}"
        )
    notes = [*layout.notes]
    notes += [f"class folder {printable(label)} is empty and left out" for label in empty]
    notes += _beside(folder, left_out)
    pairs = [(label, item) for label in filled for item in images[label]]
    shown = root.shown if kind is None else folder.shown
    return _listing(folder, shown, name, filled, pairs, options, notes, left_out)


def _by_name(folder: Folder, name: str, options: ReadOptions) -> Listing:
    """Images that are labelled by the beginnings of their names."""
    left_out, seen = LeftOut(), set[tuple[int, int]]()
    folder.mark(seen)
    pairs = [
        (label_in_name(Path(item.name if isinstance(item, Member) else item).name), item)
        for item in _images(folder, left_out, seen)
    ]
    told = [(label, item) for label, item in pairs if label]
    classes = sorted({label for label, _ in told})
    _require_names(classes, folder)
    if len(classes) < 2:
        held = f"one class, {printable(classes[0])}" if classes else "no class"
        raise DataError(f"{folder.shown}: the names of its files tell {held}: two are needed")
    nameless = counted(len(pairs) - len(told), "image")
    notes = [f"left out {nameless} whose names tell no class"] if len(told) < len(pairs) else []
    return _listing(folder, folder.shown, name, classes, told, options, notes, left_out)


def _images(
    folder: Folder, left_out: LeftOut, seen: set[tuple[int, int]], prefix: str = ""
) -> list[str]:
    """The images of a folder and those in it. Raises DataError where one cannot be listed."""
    images = []
    for image in folder.images(left_out, seen, prefix):
        if isinstance(image, tuple):
            raise DataError(f"{printable(image[0])}: {image[1]}")
        images.append(image)
    return images


def _listing(
    folder: Folder,
    shown: str,
    name: str,
    classes: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    options: ReadOptions,
    notes: list[str],
    left_out: LeftOut,
) -> Listing:
    index = {label: number for number, label in enumerate(classes)}
    labels = np.array([index[label] for label, _ in pairs], dtype=np.int64)
    items = Items([item for _, item in pairs], folder.path or "")
    said = (*notes, str(left_out)) if left_out else (*notes,)
    return listing_of_items(shown, name, tuple(classes), labels, items, options, notes=said)


def _require_names(names: Sequence[str], folder: Folder) -> None:
    """Raise DataError for equal classes, and those that an archive names in unknown encodings."""
    require_distinct(names, folder.shown)
    for name in names if folder.path is None else ():
        if any("\udc80" <= letter <= "\udcff" for letter in name):
            raise DataError(
                f"{folder.shown}: the name of the class {printable(name)} is not in UTF-8, and the "
                "archive does not say in what: make it anew, or unpack it and give the folder"
            )


def _beside(folder: Folder, left_out: LeftOut) -> list[str]:
    """Notes on what is beside the class folders; files are counted with those in them."""
    loose = [name for name in folder.names if ending_of(name) in ENDINGS]
    for name in folder.names:
        if ending_of(name) not in ENDINGS:
            left_out.add(name)
    system = ", ".join(map(printable, sorted(folder.listed.system)))
    notes = [f"passed over system folders: {system}"] if system else []
    if loose:
        notes.append(f"left out {counted(len(loose), 'loose image')} beside the class folders")
    return notes


# Hints at what a folder without classes may be


def named_after_classes(folders: Sequence[Folder]) -> str:
    """A hint at labels in file names, where files of these folders have two or more."""
    for path in folders:
        names = (name for name in path.names if ending_of(name) in ENDINGS)
        labels = {label_in_name(name) for name in names} - {""}
        if 2 <= len(labels) <= 200:
            some = ", ".join(printable(name) for name in sorted(labels)[:3])
            return f"; its files are named after classes ({some}): `label_from=name` reads them"
    return ""


def _sources_in(folders: Sequence[Folder]) -> str:
    """A hint at files of folders that are sources of their own, such as zips in a zip."""
    for folder in folders:
        if "state.json" in folder.files or any(name.endswith(".arrow") for name in folder.names):
            return f"; {folder.shown} was written by save_to_disk as .arrow files: {ARROW}"
        found = [name for name in folder.names if name.lower().endswith(SOURCE_ENDINGS)]
        names = sorted(found, key=lambda name: ("train" not in name.lower(), name))
        if names:
            what = "unpack them" if folder.path is None else f"give `data={folder.inner(names[0])}`"
            return f"; {folder.shown} holds {', '.join(map(printable, names[:5]))}: {what}"
    return ""


# Tables beside the images


def _of_tables(root: Folder, name: str, options: ReadOptions) -> Mapping[Any, _Part] | None:
    """The images that tables beside them label: one of all splits, or one in each."""
    place = seen_through(root)
    whole = _table(place)
    folders: dict[Any, Folder] = {None: place} if whole else dict(split_folders(root))
    tables = {split: table for split, path in folders.items() if (table := _table(path))}
    labelled = {split: table for split, table in tables.items() if table.has_labels(options)}
    if None in labelled:
        return read_table(labelled[None], name, options).parts
    if tables and not labelled:
        _require_class_folders(place, next(iter(tables.values())))
    sources = {split: read_table(table, name, options) for split, table in labelled.items()}
    return {split: partial(source.split, split) for split, source in sources.items()} or None


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
        raise DataError(
            f"{table.shown}: has no column label; it has {listed(table.header())}: "
            "`columns=file_name,label` names others"
        )
