"""Where the classes are in a tree of names: splits, wrappers, and folders that are no classes."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from catclf.datasets.dataset import SPLITS, Split
from catclf.datasets.names import CAT, Kind, key, match, negated, split_named, words
from catclf.datasets.tree import Folder, ending_of
from catclf.errors import DataError
from catclf.images.archive import PACKED_ENDINGS
from catclf.images.formats import ENDINGS
from catclf.text import printable

DEPTH = 5  # folders in folders that are seen through

# The number of a shard: 000123, -00000-of-00004, and the hash that Hugging Face writes after it.
_NUMBER = re.compile(
    r"(?<!\d)(\d++)(?:[\s._-]*+of[\s._-]*+(\d++))?(?:-[0-9a-f]{8,}+)?$", re.IGNORECASE
)
_NUMBERING = string.digits + string.whitespace + "._-()"
# Folders that data sets keep beside each other, and that are no classes.
_IMAGES = frozenset(words("images image img imgs jpegimages pictures photos pics data raw"))
_ABOUT = frozenset(
    words(
        "annotations annotation labels label masks mask trimaps xmls xml bbox bboxes boxes "
        "segmentations segmentation groundtruth ground_truth gt meta metadata imagesets lists "
        "splits thumbnails thumbs"
    )
)


def split_of_shard(path: Path) -> Kind | None:
    """The split that a shard's name begins with, else that its folder is named after."""
    stem, number = _stem_of_shard(path)
    stem = (stem[: number.start()] if number else stem).rstrip(" ._-")
    return split_named(stem) if stem else split_named(path.parent.name)


def missing_shard(files: Sequence[Path]) -> str | None:
    """The name of a shard that is missing among others that count them, as 0-of-4."""
    series: dict[tuple[str, str], set[int]] = {}
    for path in files:
        stem, number = _stem_of_shard(path)
        if number and number[2] and len(number[2]) < 7:
            series.setdefault((stem[: number.start()], number[2]), set()).add(int(number[1]))
    held = Counter[str]()
    for (_, total), found in series.items():
        held[total] += len(found)
    for (stem, total), found in series.items():
        first = int(int(total) in found)  # some count from 1
        if max(found) < int(total) + first and held[total] < int(total):
            index = min({*range(first, int(total) + first)} - found)
            return f"{stem}{index:0{len(total)}}-of-{total}"
    return None


def _stem_of_shard(path: Path) -> tuple[str, re.Match[str] | None]:
    name = path.name
    for ending in (*PACKED_ENDINGS, path.suffix):
        if ending and name.lower().endswith(ending.lower()):
            name = name[: -len(ending)]
            break
    return name, _NUMBER.search(name)


def label_in_name(name: str) -> str:
    """The class that a file's name begins with: cat for cat.0.jpg; "" for a name without one."""
    label = stem = Path(name).stem
    for numbered in (stem, stem[:-1]):  # a letter may follow the number: cat_12b
        before = numbered.rstrip(_NUMBERING)
        if before[-1:].isalpha() and any(map(str.isdigit, numbered[len(before) :])):
            label = before
            break
    return label.strip(" ._-") if any(map(str.isalpha, label)) else ""


@dataclass
class Layout:
    """Class folders by split, or of all under None, and what is to be known of it."""

    folder: Folder
    classes: dict[Kind | None, list[tuple[str, Folder]]] = field(default_factory=dict)
    places: dict[Kind | None, Folder] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def find_layout(root: Folder) -> Layout:
    """Where splits and classes are below ``root``. Raises DataError where there are no classes."""
    folder = seen_through(root)
    layout = Layout(folder)
    divided = _splits_of_classes(folder.inside)
    for kind, path in divided:
        if kind in layout.classes:
            first = printable(layout.places[kind].name)
            layout.notes.append(f"{printable(path.name)} is passed over: {first} is taken")
            continue
        place = seen_through(path)
        layout.classes[kind], layout.places[kind] = _classes(place), place
    if divided:
        taken = [path for _, path in divided]
        over = [printable(path.name) for path in folder.inside if path not in taken]
        if over:
            layout.notes.append(f"passed over beside the splits: {', '.join(over[:10])}")
        return layout
    if _hold_splits(folder.inside):
        for path in folder.inside:
            for each in path.inside:
                layout.classes.setdefault(split_named(each.name), []).append((path.name, each))
                layout.places.setdefault(split_named(each.name), folder)
        return layout
    _require_classes(root, folder.inside)
    layout.classes[None], layout.places[None] = _classes(folder), folder
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


def named_after_classes(folders: Sequence[Folder]) -> str:
    """A hint at labels in file names, where files of these folders have two or more."""
    for path in folders:
        names = (name for name in path.names if ending_of(name) in ENDINGS)
        labels = {label_in_name(name) for name in names} - {""}
        if 2 <= len(labels) <= 200:
            some = ", ".join(printable(name) for name in sorted(labels)[:3])
            return f"; its files are named after classes ({some}): `label_from=name` reads them"
    return ""


def split_folders(root: Folder) -> dict[Split, Folder]:
    """The folders named after splits, in the folder that holds something."""
    found: dict[Split, Folder] = {}
    for path in sorted(seen_through(root).inside, key=lambda path: len(path.name)):
        kind = split_named(path.name)
        if kind in SPLITS:
            found.setdefault(kind, path)
    return found


def _classes(folder: Folder) -> list[tuple[str, Folder]]:
    return [(path.name, path) for path in folder.inside]


def _splits_of_classes(inside: Sequence[Folder]) -> list[tuple[Kind, Folder]]:
    """The folders that are splits: named so, and holding class folders."""
    kinds = []
    for path in sorted(inside, key=lambda path: len(path.name)):
        kind = split_named(path.name)
        if kind is not None and path.folders and seen_through(path).folders:
            kinds.append((kind, path))
    return kinds if any(kind != "other" for kind, _ in kinds) else []


def _hold_splits(inside: Sequence[Folder]) -> bool:
    """Whether each of several folders holds splits: cat/train, cat/test, dog/train, …"""
    if len(inside) < 2:
        return False
    for path in inside:
        kinds = {split_named(name) for name in path.folders}
        if "train" not in kinds or None in kinds or path.has_images:
            return False
    return True


def _require_classes(root: Folder, inside: Sequence[Folder]) -> None:
    """Raise DataError where folders are splits, belongings of a data set, or copies of one."""
    names = [path.name for path in inside]
    listed = " and ".join(printable(name) for name in names[:6])
    if len(names) < 2:
        return
    about = {key(name) for name in names}
    if all(split_named(name) for name in names):
        first = inside[0].inner(CAT)
        raise DataError(
            f"{root.shown}: {listed} are splits of a data set, not classes: each needs class "
            f"folders, such as {first}{named_after_classes(inside)}"
        )
    if about <= _IMAGES | _ABOUT or (
        about & _ABOUT and all(split_named(n) or key(n) in _IMAGES | _ABOUT for n in names)
    ):
        raise DataError(
            f"{root.shown}: {listed} are no classes: put the images into one folder for each "
            "class, or list them in a table with the columns path and label"
            f"{named_after_classes(inside)}"
        )
    if copies := _repeated(inside):
        raise DataError(
            f"{root.shown}: {listed} hold the same folders ({copies}), so these are the classes: "
            f"give `data={inside[0].shown}`"
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
        if not path.folders or path.has_images:
            return ""
        for name in path.folders:
            seen[key(name)] += 1
            spelled.setdefault(key(name), name)
    if len(spelled) < 2 or any(count < 2 for count in seen.values()):
        return ""
    if all(re.fullmatch(r"[\d\W_]*", name) for name in spelled):
        return ""
    return ", ".join(printable(name) for name in sorted(spelled.values())[:6])
