"""Class folders: ``photos/cat/*.jpg`` and ``photos/non-cat/*.png``, below part folders or not.

With ``label_from="name"`` the class is the beginning of a file's name: ``cat.0.jpg``. A table
``metadata.csv`` with labels in the folder goes before its class folders.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from catclf.datasets import metadata
from catclf.datasets.dataset import ENDINGS as SOURCE_ENDINGS
from catclf.datasets.dataset import SHARD_ENDINGS, Part, Reading
from catclf.datasets.image_files import size_of_files
from catclf.datasets.names import require_distinct
from catclf.datasets.parts import (
    Layout,
    find_layout,
    named_after_classes,
    part_kind,
    parts_among,
    seen_through,
)
from catclf.datasets.sources import FileSource
from catclf.datasets.tree import DiskFolder, Folder
from catclf.errors import DataError
from catclf.images.formats import ENDINGS
from catclf.images.member import Member
from catclf.images.preprocess import Preprocess
from catclf.images.walk import LeftOut, Walk
from catclf.text import counted, printable

Classes = Sequence[tuple[str, Folder]]


def read(root: Path, part: Part, reading: Reading) -> FileSource:
    """List the images of each class, by name. Raises DataError when there are not two classes."""
    return read_tree(DiskFolder(root), root.resolve().name, part, reading)


def read_tree(root: Folder, name: str, part: Part, reading: Reading) -> FileSource:
    """The same of folders on disk or in archives; ``name`` is the source's in a model."""
    if reading.label_from == "name":
        return _read_names(root, name, part, reading)
    if tables := metadata.find(root, reading):
        return metadata.read(root, tables, name, part, reading)
    layout = find_layout(root)
    classes, folder = _of_part(root, layout, part)
    notes = list(layout.notes)
    require_distinct((name for name, _ in classes), folder.shown)
    _require_two(classes, folder)
    walk = Walk()
    for each in (root, folder, *(path for _, path in classes)):
        each.mark(walk)
    listed = {name: _images(walk, folder, path) for name, path in classes}
    empty = [name for name, files in listed.items() if not files]
    if empty and len(listed) - len(empty) < 2:
        others = f": {walk.left_out}" if walk.left_out else ""
        raise DataError(
            f"{folder.shown}: class folder {printable(empty[0])} holds no images "
            f"({' '.join(sorted(ENDINGS))}){others}"
        )
    notes += [f"class folder {printable(name)} is empty and left out" for name in empty]
    notes += _beside(folder, walk.left_out) if folder == layout.folder or layout.parts else []
    names = tuple(name for name in listed if listed[name])
    files = [file for name in names for file in listed[name]]
    labels = np.repeat(np.arange(len(names)), [len(listed[name]) for name in names])
    if walk.left_out:
        notes.append(str(walk.left_out))
    return _source(name, folder, names, labels, files, reading, notes)


def parts(root: Path, reading: Reading | None = None) -> set[Part]:
    """The parts that hold class folders, or with labels in names those that hold named files."""
    return parts_of_tree(DiskFolder(root), reading)


def parts_of_tree(root: Folder, reading: Reading | None = None) -> set[Part]:
    """The same of folders on disk or in archives."""
    if reading is not None and reading.label_from == "name":
        return set(_named_parts(root))
    if tables := metadata.find(root, reading or Reading()):
        return metadata.parts(tables, reading)
    return parts_among(find_layout(root).parts)


def label_in_name(name: str) -> str:
    """The class that a file's name begins with: cat for cat.0.jpg; "" for a name without one."""
    label = stem = Path(name).stem
    for numbered in (stem, stem[:-1]):  # a letter may follow the number: cat_12b
        before = numbered.rstrip(_NUMBERING)
        if before[-1:].isalpha() and any(map(str.isdigit, numbered[len(before) :])):
            label = before
            break
    return label.strip(" ._-") if any(map(str.isalpha, label)) else ""


_NUMBERING = string.digits + string.whitespace + "._-()"


def _of_part(root: Folder, layout: Layout, part: Part) -> tuple[Classes, Folder]:
    if not layout.parts:
        return layout.whole, layout.folder
    kind = part
    if part == "test" and "test" not in layout.parts and "validation" in layout.parts:
        kind = "validation"
        name = printable(layout.places[kind].name)
        layout.notes.append(f"{name} is taken as its test part: there is no other")
    if kind not in layout.parts:
        other = printable(next(iter(layout.places.values())).name)
        raise DataError(f"{root.shown}: has no {part} folder beside {other}")
    return layout.parts[kind], layout.places[kind]


def _require_two(classes: Classes, folder: Folder) -> None:
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
        names = sorted(n for n in folder.loose_files() if n.lower().endswith(SOURCE_ENDINGS))
        if names:
            listed = f"; {folder.shown} holds {', '.join(map(printable, names[:5]))}: "
            if not isinstance(folder, DiskFolder):
                return f"{listed}unpack them"
            return f"{listed}give `data={_pattern(folder, names)}`"
    return ""


def _pattern(folder: Folder, names: Sequence[str]) -> str:
    """The first of these files of a folder, or the pattern of all if they are shards."""
    endings = {Path(name).suffix.lower() for name in names}
    shards = len(names) > 1 and len(endings) == 1 and endings <= set(SHARD_ENDINGS)
    return f"'{folder.inner('*')}{endings.pop()}'" if shards else folder.inner(names[0])


def _images(walk: Walk, folder: Folder, path: Folder) -> list[str]:
    """Image files of a class and of folders in it, relative to ``folder``, in a fixed order.

    Raises DataError for a folder that cannot be listed: leaving out what is in it would change
    the result unseen.
    """
    files = []
    for file in path.images(walk, folder):
        if not isinstance(file, str):
            raise DataError(f"{printable(file[0])}: {file[1]}")
        files.append(file)
    return files


def _beside(folder: Folder, left_out: LeftOut) -> list[str]:
    """A note on images beside the class folders; other files are counted with those in them."""
    images = 0
    for name in folder.loose_files():
        if Path(name).suffix.lower() in ENDINGS:
            images += 1
        else:
            left_out.add(name)
    system = folder.system_folders()
    notes = [f"passed over system folders: {', '.join(map(printable, system))}"] if system else []
    if images:
        notes.append(f"left out {counted(images, 'loose image')} beside the class folders")
    return notes


def _source(
    name: str,
    folder: Folder,
    names: tuple[str, ...],
    labels: np.ndarray,
    files: list[str],
    reading: Reading,
    notes: list[str],
) -> FileSource:
    preprocess = Preprocess(size_of_files(folder.root, files, reading), reading.fit or "squash")
    return FileSource(
        folder.shown,
        name,
        names,
        labels,
        preprocess,
        folder.root,
        files,
        reading,
        notes=tuple(notes),
    )


def _read_names(root: Folder, name: str, part: Part, reading: Reading) -> FileSource:
    """The images of a part, each labelled by the beginning of its name."""
    divided = _named_parts(root)
    if divided and part not in divided:
        other = printable(next(iter(divided.values())).name)
        raise DataError(f"{root.shown}: has no {part} folder beside {other}")
    folder = divided.get(part, seen_through(root))
    walk = Walk()
    files, texts, nameless = [], [], 0
    for file in _images(walk, folder, folder):
        label = label_in_name(Path(file.name if isinstance(file, Member) else file).name)
        if label:
            files.append(file)
            texts.append(label)
        else:
            nameless += 1
    classes = tuple(sorted(set(texts)))
    require_distinct(classes, folder.shown)
    if len(classes) < 2:
        held = f"one class, {printable(classes[0])}" if classes else "no class"
        raise DataError(f"{folder.shown}: the names of its files tell {held}: two are needed")
    notes = [f"left out {counted(nameless, 'image')} whose names tell no class"] if nameless else []
    notes += [str(walk.left_out)] if walk.left_out else []
    index = {text: number for number, text in enumerate(classes)}
    labels = np.array([index[text] for text in texts], dtype=np.int64)
    return _source(name, folder, classes, labels, files, reading, notes)


def _named_parts(root: Folder) -> dict[Part, Folder]:
    """The part folders whose files are named after classes."""
    found: dict[Part, Folder] = {}
    for path in sorted(seen_through(root).folders(), key=lambda path: len(path.name)):
        kind = part_kind(path.name)
        if kind is not None and kind != "other" and named_after_classes([path]):
            found.setdefault(kind, path)
    if "validation" in found and "test" not in found:
        found["test"] = found.pop("validation")
    return found
