"""Labelled samples in tar archives, by the conventions of WebDataset and img2dataset.

The files of a sample have one name up to the first dot: 000017.jpg with 000017.cls (an integer or
the name of a class), 000017.json (an object with a label) or 000017.txt.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from sys import intern
from typing import Any, cast

from catclf.datasets.dataset import ReadOptions
from catclf.datasets.labels import CLASSES_LIMIT
from catclf.datasets.listing import Items, Samples, Source
from catclf.datasets.table import (
    GROUP_COLUMNS,
    SPLIT_COLUMNS,
    cell,
    find_label,
    json_of,
    named_column,
)
from catclf.datasets.tree import entries_of, member_of
from catclf.errors import DataError, ImageError
from catclf.images.archive import entries
from catclf.images.formats import ENDINGS, HEIF_ENDINGS, heif_is_there
from catclf.images.member import Entry, Member
from catclf.images.preprocess import Limits
from catclf.images.walk import LeftOut, is_hidden
from catclf.storage.location import locate
from catclf.text import counted, printable

LOOKED_AT = 10_000  # members by which the convention of an archive is recognised
LABEL_BYTES = 1 << 20  # a larger file holds no label
LABEL_LENGTH = 200  # characters; a longer text is a caption
_LABELS = ("cls", "json", "txt")  # the first that is there labels the samples

_Sample = dict[str, Entry]  # the files of one sample by their endings
_Label = tuple[str, str]  # the ending of files with labels, and the key of JSON that holds them


def dot_of_samples(archive: str) -> bool | None:
    """Whether keys of samples end at the last dot; None for an archive of class folders.

    It is of samples where a file ends in .cls, or where no two folders hold images and one has a
    .json or .txt file of the same name. Keys end at the first dot, unless images and labels share
    names up to their last dot and no label does up to its first. An archive that cannot be read
    is none.
    """
    names = []
    try:
        for entry in islice(entries(archive), LOOKED_AT):
            if not entry.is_folder and _is_visible(entry.name):
                names.append(entry.name)
    except ImageError:  # reading it will say what is wrong
        pass
    images, labels = _keys(names, last=True)
    plain = any(_key(name, last=False)[1] in _LABELS for name in names)
    last = bool(images & labels) and not plain
    images, labels = _keys(names, last)
    folders = {key.rpartition("/")[0] for key in images} - {""}
    samples = any(name.lower().endswith(".cls") for name in names) or (
        len(folders) < 2 and images & labels
    )
    return last if samples else None


def read(path: Path, archives: Sequence[str], options: ReadOptions, last: bool = False) -> Source:
    """The labelled images in the order of the archives; see ``dot_of_samples``.

    Raises DataError.
    """
    rows, found, keys = Samples(printable(path), locate(path).name), _Found(), list[str]()
    label: _Label = ("", "")
    for archive in archives:
        samples = _samples(entries_of(archive, rows.damage, options.skip_bad), last, found)
        if samples and not label[0]:
            label = _label_source(archive, samples, options)
        for key, sample in samples:
            image, used = _image_of(f"{printable(archive)}:{printable(key)}", sample, options), ""
            try:
                if image is not None:
                    rows.add(
                        cast(Member, member_of(archive, image)), *_facts(archive, sample, label)
                    )
                    keys.append(key)
                    used = image.name
            except DataError as error:
                if not options.skip_bad:
                    raise DataError(f"{error}: mend it, or leave it out with `skip_bad`") from None
                found.unlabelled.append(str(error))
                continue
            found.without_image += image is None
            for ending, entry in sample.items():
                if not used or (entry.name != used and ending != label[0]):
                    found.left_out.add(entry.name)
    found.note(rows, label)
    rows.divide_by_folders(keys)
    return rows.source(options, Items(rows.files))


@dataclass
class _Found:
    """What the archives hold beside labelled images."""

    unlabelled: list[str] = field(default_factory=list)
    without_image: int = 0
    repeated: list[str] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)

    def note(self, rows: Samples, label: _Label) -> None:
        """Say it. Raises DataError where there is no image with a label, or no class."""
        ending, key = label
        if not len(rows):
            others = f": {self.left_out}" if self.left_out else ""
            why = f"{rows.shown}: holds no images with labels{others}"
            raise DataError(next(iter([*rows.damage, *self.unlabelled]), why))
        if (named := len(set(rows.texts))) > CLASSES_LIMIT:
            raise DataError(
                f"{rows.shown}: its .{ending} files hold {named} different texts, no classes: "
                "`keys=jpg,label` says what is the label"
            )
        of = f"{printable(key)} in .{ending}" if key else f".{printable(ending)}"
        rows.notes.append(f"holds labelled samples: the label is {of}")
        if self.repeated:
            rows.notes.append(
                f"holds {counted(len(self.repeated), 'key')} twice, the first "
                f"{printable(self.repeated[0])}: all samples are read"
            )
        if self.without_image:
            what = counted(self.without_image, "sample")
            rows.notes.append(f"left out {what} without an image")
        if self.left_out:
            rows.notes.append(str(self.left_out))
        if self.unlabelled:
            what = counted(len(self.unlabelled), "sample")
            rows.damage.append(f"left out {what} without a label: {self.unlabelled[0]}")


def _is_visible(name: str) -> bool:
    return not any(is_hidden(part) for part in name.split("/") if part not in ("", ".", ".."))


def _key(name: str, last: bool) -> tuple[str, str]:
    """A member's name up to the first or last dot of its last part, and the ending."""
    folder, slash, base = name.removeprefix("./").rpartition("/")
    stem, _, ending = base.rpartition(".") if last else base.partition(".")
    return f"{folder}{slash}{stem}", ending.lower()


def _keys(names: Sequence[str], last: bool) -> tuple[set[str], set[str]]:
    """The keys of images, and those of files that may hold labels."""
    keys = [_key(name, last) for name in names]
    images = {key for key, ending in keys if _is_image(ending)}
    return images, {key for key, ending in keys if _kind(ending) in _LABELS}


def _kind(ending: str) -> str:
    """The last part of an ending: jpg of input.jpg."""
    return ending.rpartition(".")[2]


def _is_image(ending: str) -> bool:
    last = f".{_kind(ending)}"
    return last in ENDINGS or (last in HEIF_ENDINGS and heif_is_there())


def _samples(listed: Iterator[Entry], last: bool, found: _Found) -> list[tuple[str, _Sample]]:
    """The samples of one archive with their keys, in its order.

    A key that is met again with an ending that its sample has begins another sample.
    """
    samples: dict[str, list[_Sample]] = {}
    order: list[tuple[str, _Sample]] = []
    for entry in listed:
        if entry.is_folder or not _is_visible(entry.name):
            continue
        if entry.place is None and entry.failure is None:
            found.left_out.add(entry.name, entry.kind)
            continue
        key, ending = _key(entry.name, last)
        of_key = samples.setdefault(key, [])
        place = next((sample for sample in of_key if ending not in sample), None)
        if place is None:
            place = {}
            found.repeated += [key] if of_key else []
            of_key.append(place)
            order.append((key, place))
        place[ending] = entry
    return order


def _label_source(
    archive: str, samples: Sequence[tuple[str, _Sample]], options: ReadOptions
) -> _Label:
    """Where labels are. Raises DataError."""
    endings = {ending for _, sample in samples for ending in sample}
    wanted = options.keys[1].removeprefix(".") if options.keys else ""
    if wanted and wanted.lower() != "json":
        return (wanted.lower(), "") if wanted.lower() in endings else ("json", wanted)
    known = [each for each in endings if _kind(each) in ((wanted.lower(),) if wanted else _LABELS)]
    if not known:
        held = ", ".join(f".{printable(ending)}" for ending in sorted(endings)[:10])
        raise DataError(
            f"{printable(archive)}: has no labels: its images need files of the same names ending "
            f"in .cls; it has {held}"
        )
    label = min(known, key=lambda each: ("." in each, _LABELS.index(_kind(each)), each))
    if _kind(label) != "json":
        return label, ""
    first = next(sample[label] for _, sample in samples if label in sample)
    content = _object(archive, first)
    if (name := find_label(list(content))) is None:
        raise DataError(
            f"{printable(archive)}:{printable(first.name)}: has no label; it has "
            f"{_listed(content)}: `keys=jpg,label` says which of them is"
        )
    return label, name


def _listed(content: dict[str, Any]) -> str:
    return ", ".join(printable(str(name)) for name in list(content)[:20]) or "nothing"


def _image_of(shown: str, sample: _Sample, options: ReadOptions) -> Entry | None:
    """The image of a sample: that of the ending wanted, else the one, or the one plainly named."""
    if options.keys:
        return sample.get(options.keys[0].removeprefix(".").lower())
    images = [ending for ending in sample if _is_image(ending)]
    plain = [ending for ending in images if "." not in ending]
    if len(images) > 1 and len(plain) != 1:
        listed = " and ".join(printable(ending) for ending in images[:4])
        raise DataError(
            f"{shown}: has several images, {listed}: `keys={images[0]},cls` says which is used"
        )
    return next((sample[each] for each in (plain if len(images) > 1 else images)), None)


def _facts(archive: str, sample: _Sample, label: _Label) -> tuple[str, str, str]:
    """The label of a sample, its split and its group, as texts. Raises DataError."""
    ending, key = label
    entry = sample.get(ending)
    if entry is None:
        first = next(iter(sample.values()))
        raise DataError(f"{printable(f'{archive}:{first.name}')}: has no .{ending} with its label")
    where, split, group = printable(f"{archive}:{entry.name}"), "", ""
    if key:
        content = _object(archive, entry)
        if key not in content:
            raise DataError(f"{where}: has no {printable(key)}; it has {_listed(content)}")
        named = (named_column(names, list(content)) for names in (SPLIT_COLUMNS, GROUP_COLUMNS))
        split, group = (cell(content[name]) if name else "" for name in named)
        text = cell(content[key]).strip()
    else:
        text = os.fsdecode(_content(archive, entry).removeprefix(b"\xef\xbb\xbf")).strip()
    if not text or len(text) > LABEL_LENGTH or "\n" in text:
        raise DataError(f"{where}: holds no label, which is a name or an integer")
    return intern(text), split, group


def _content(archive: str, entry: Entry) -> bytes:
    try:
        with cast(Member, member_of(archive, entry)).open(Limits(file_bytes=LABEL_BYTES)) as file:
            return file.read()
    except (ImageError, OSError) as error:
        raise DataError(f"{printable(f'{archive}:{entry.name}')}: {error}") from error


def _object(archive: str, entry: Entry) -> dict[str, Any]:
    content = json_of(_content(archive, entry), printable(f"{archive}:{entry.name}"))
    return content if isinstance(content, dict) else {}
