"""Where the classes are in a tree of folders: parts, wrappers, and folders that are no classes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from catclf.datasets.dataset import PARTS, Part
from catclf.datasets.names import CAT, key, match, negated
from catclf.datasets.tree import Folder, has_images
from catclf.errors import DataError
from catclf.images.formats import ENDINGS
from catclf.text import printable

Kind = Literal["train", "validation", "test", "other"]
DEPTH = 5  # folders in folders that are seen through

_WORDS: dict[Kind, str] = {
    "train": "train|training|trn|trainval",
    "validation": "val|valid|validation|validate|eval|evaluation|dev",
    "test": "test|testing|tst|holdout",
    "other": "pred|prediction|predictions|unlabeled|unlabelled|unsup|extra",
}
# No name of a thing is made of others, and digits are taken whole, so that a name can be read in
# one way only: else the time doubles with each of them.
_THING = "set|data|images?|imgs?|pictures?|photos?|pics|split|part|folder|samples?|seg"
_PARTS = {
    kind: re.compile(
        rf"(?:(?:{_THING}|my|the)[\s._-]*+)*(?:{words})(?:[\s._-]*+(?:{_THING}|\d++))*"
    )
    for kind, words in _WORDS.items()
}
# Folders that data sets keep beside each other, and that are no classes.
_IMAGES = frozenset(
    ["images", "image", "img", "imgs", "jpegimages", "pictures", "photos", "pics", "data", "raw"]
)
_ABOUT = frozenset(
    [
        "annotations",
        "annotation",
        "labels",
        "label",
        "masks",
        "mask",
        "trimaps",
        "xmls",
        "xml",
        "bbox",
        "bboxes",
        "boxes",
        "segmentations",
        "segmentation",
        "groundtruth",
        "ground_truth",
        "gt",
        "meta",
        "metadata",
        "imagesets",
        "lists",
        "splits",
        "thumbnails",
        "thumbs",
    ]
)


def part_kind(name: str) -> Kind | None:
    """The part that a folder's name means (train, seg_train, test1, valid, …); None for others."""
    for kind, pattern in _PARTS.items():
        if pattern.fullmatch(key(name)):
            return kind
    return None


def parts_among(kinds: Iterable[str | None]) -> set[Part]:
    """The parts among some kinds; validation images are the test part if there is no other."""
    named = set(kinds)
    held = {part for part in PARTS if part in named}
    if "validation" in held and "test" not in held:
        held = (held - {"validation"}) | {"test"}
    return held


@dataclass
class Layout:
    """Class folders by part, ``whole`` where there are no parts, and what is to be known of it."""

    folder: Folder
    parts: dict[Kind, list[tuple[str, Folder]]] = field(default_factory=dict)
    whole: list[tuple[str, Folder]] = field(default_factory=list)
    places: dict[Kind, Folder] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def find_layout(root: Folder) -> Layout:
    """Where parts and classes are below ``root``. Raises DataError where there are no classes."""
    folder = seen_through(root)
    layout = Layout(folder)
    inside = folder.folders()
    divided = _parts_of_classes(inside)
    for kind, path in divided:
        if kind in layout.parts:
            first = printable(layout.places[kind].name)
            layout.notes.append(f"{printable(path.name)} is passed over: {first} is taken")
            continue
        place = seen_through(path)
        layout.parts[kind] = _classes(place)
        layout.places[kind] = place
    if layout.parts:
        taken = [path for _, path in divided]
        over = [printable(path.name) for path in inside if path not in taken]
        if over:
            layout.notes.append(f"passed over beside the parts: {', '.join(over[:10])}")
        return layout
    if _hold_parts(inside):
        return _turned(layout, inside)
    _require_classes(root, folder, inside)
    layout.whole = _classes(folder)
    if folder != root:
        layout.notes.append(f"its classes are those of {folder.shown}")
    return layout


def seen_through(folder: Folder) -> Folder:
    """The folder that holds something, where wrappers hold one folder and nothing else."""
    place = folder
    for _ in range(DEPTH):
        inside = place.folders()
        if len(inside) != 1 or not inside[0].folders() or has_images(place):
            return place
        if part_kind(inside[0].name) and part_kind(place.name) is None:
            return place  # a single part is one
        place = inside[0]
    return folder


def _classes(folder: Folder) -> list[tuple[str, Folder]]:
    return [(path.name, path) for path in folder.folders()]


def _parts_of_classes(inside: Sequence[Folder]) -> list[tuple[Kind, Folder]]:
    """The folders that are parts: named so, and holding class folders."""
    kinds = []
    for path in sorted(inside, key=lambda path: len(path.name)):
        kind = part_kind(path.name)
        if kind is not None and path.folders() and seen_through(path).folders():
            kinds.append((kind, path))
    return kinds if any(kind != "other" for kind, _ in kinds) else []


def _hold_parts(inside: Sequence[Folder]) -> bool:
    """Whether each of several folders holds parts: cat/train, cat/test, dog/train, …"""
    if len(inside) < 2:
        return False
    for path in inside:
        kinds = {part_kind(each.name) for each in path.folders()}
        if "train" not in kinds or None in kinds or has_images(path):
            return False
    return True


def _turned(layout: Layout, inside: Sequence[Folder]) -> Layout:
    """The parts of a tree whose class folders hold them."""
    for path in inside:
        for each in path.folders():
            kind = part_kind(each.name)
            assert kind is not None
            layout.parts.setdefault(kind, []).append((path.name, each))
            layout.places.setdefault(kind, layout.folder)
    return layout


def _require_classes(root: Folder, folder: Folder, inside: Sequence[Folder]) -> None:
    """Raise DataError where folders are parts, belongings of a data set, or copies of one."""
    names = [path.name for path in inside]
    shown = root.shown
    listed = " and ".join(printable(name) for name in names[:6])
    if len(names) < 2:
        return
    about = {key(name) for name in names}
    if all(part_kind(name) for name in names):
        first = inside[0].inner(CAT)
        raise DataError(
            f"{shown}: {listed} are parts of a data set, not classes: each needs class folders, "
            f"such as {first}{named_after_classes(inside)}"
        )
    if about <= _IMAGES | _ABOUT or (
        about & _ABOUT and all(part_kind(n) or key(n) in _IMAGES | _ABOUT for n in names)
    ):
        raise DataError(
            f"{shown}: {listed} are no classes: put the images into one folder for each class, or "
            f"list them in a table with the columns path and label{named_after_classes(inside)}"
        )
    if copies := _repeated(inside):
        raise DataError(
            f"{shown}: {listed} hold the same folders ({copies}), so these are the classes: give "
            f"`data={inside[0].shown}`"
        )


def _repeated(inside: Sequence[Folder]) -> str:
    """The folders that all of several hold, where they hold nothing else; "" if they do not.

    Outer names that are cat, or a class and its negation, are classes; numbers inside are not.
    """
    names = [path.name for path in inside]
    keys = {key(name) for name in names}
    if match(CAT, names) or any(negated(name) in keys for name in names):
        return ""
    seen: Counter[str] = Counter()
    spelled: dict[str, str] = {}
    for path in inside:
        inner = path.folders()
        if not inner or has_images(path):
            return ""
        for each in inner:
            seen[key(each.name)] += 1
            spelled.setdefault(key(each.name), each.name)
    if len(spelled) < 2 or any(count < 2 for count in seen.values()):
        return ""
    if all(re.fullmatch(r"[\d\W_]*", name) for name in spelled):
        return ""
    return ", ".join(printable(name) for name in list(spelled.values())[:6])


def named_after_classes(folders: Sequence[Folder]) -> str:
    """A hint at labels in file names, where files of these folders have two or more."""
    from catclf.datasets.folders import label_in_name

    for path in folders:
        names = (name for name in path.loose_files() if Path(name).suffix.lower() in ENDINGS)
        labels = {label_in_name(name) for name in names} - {""}
        if 2 <= len(labels) <= 200:
            some = ", ".join(printable(name) for name in sorted(labels)[:3])
            return f"; its files are named after classes ({some}): `label_from=name` reads them"
    return ""
