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
from typing import Any

from catclf.datasets.dataset import ReadOptions
from catclf.datasets.listing import Items, Row, Samples, Source
from catclf.datasets.names import CLASSES_LIMIT
from catclf.datasets.table import (
    GROUP_COLUMNS,
    SPLIT_COLUMNS,
    cell,
    find_label,
    listed,
    named_column,
    object_of,
)
from catclf.errors import DataError, ImageError
from catclf.images.archive import Entry, Member, entries
from catclf.images.formats import ENDINGS, HEIF_ENDINGS, heif_is_there
from catclf.images.preprocess import Limits
from catclf.images.tree import LeftOut, is_hidden, visible_parts
from catclf.storage.location import locate
from catclf.text import counted, printable

LOOKED_AT = 10_000  # members by which the convention of an archive is recognised
LABEL_BYTES = 1 << 20  # a larger file holds no label
LABEL_LENGTH = 200  # characters; a longer text is a caption
_LABELS = ("cls", "json", "txt")  # the first that is there labels the samples

_Sample = dict[str, Member]  # the files of one sample by their endings
_Label = tuple[str, str]  # the ending of files with labels, and the key of JSON that holds them


def entries_of(archive: str, damage: list[str], skip_bad: bool) -> Iterator[Entry]:
    """All that an archive lists. Raises DataError where it is damaged.

    With ``skip_bad`` what is listed before the damage is all there is, and ``damage`` says so.
    """
    count = 0
    try:
        for entry in entries(archive):
            count += 1
            yield entry
    except ImageError as error:
        why = f"{printable(archive)}: {error}"
        if not skip_bad:
            usable = ": `skip_bad` takes what is before that"
            raise DataError(f"{why}{usable if count else ''}") from error
        damage.append(f"{why}: {'what is before that is used' if count else 'is left out'}")


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
    table, found, keys = Samples(printable(path), locate(path).name), _Found(), list[str]()
    label: _Label = ("", "")
    for archive in archives:
        listing = entries_of(archive, table.damage, options.skip_bad)
        samples = _samples(archive, listing, last, found)
        if samples and not label[0]:
            label = _label_source([sample for _, sample in samples], options)
        for key, sample in samples:
            image = None
            try:
                if (image := _image_of(sample, options)) is None:
                    found.without_image += 1
                else:
                    table.rows.append(_row(image, sample, label))
                    keys.append(key)
            except DataError as error:
                if not options.skip_bad:
                    raise DataError(f"{error}: mend it, or leave it out with `skip_bad`") from None
                found.unlabelled.append(str(error))
                continue
            for ending, file in sample.items():
                if image is None or (file is not image and ending != label[0]):
                    found.left_out.add(file.name)
    found.note(table, label)
    return table.source(options, Items([row.file for row in table.rows]), keys)


@dataclass
class _Found:
    """What the archives hold beside labelled images."""

    unlabelled: list[str] = field(default_factory=list)
    without_image: int = 0
    repeated: list[str] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)

    def note(self, table: Samples, label: _Label) -> None:
        """Say it. Raises DataError where there is no image with a label, or no class."""
        ending, key = label
        if not table.rows:
            others = f": {self.left_out}" if self.left_out else ""
            why = f"{table.shown}: holds no images with labels{others}"
            raise DataError(next(iter([*table.damage, *self.unlabelled]), why))
        if (named := len({row.text for row in table.rows})) > CLASSES_LIMIT:
            raise DataError(
                f"{table.shown}: its .{ending} files hold {named} different texts, no classes: "
                "`keys=jpg,label` says what is the label"
            )
        of = f"{printable(key)} in .{ending}" if key else f".{printable(ending)}"
        table.notes.append(f"holds labelled samples: the label is {of}")
        if self.repeated:
            table.notes.append(
                f"holds {counted(len(self.repeated), 'key')} twice, the first "
                f"{printable(self.repeated[0])}: all samples are read"
            )
        if self.without_image:
            what = counted(self.without_image, "sample")
            table.notes.append(f"left out {what} without an image")
        if self.left_out:
            table.notes.append(str(self.left_out))
        if self.unlabelled:
            what = counted(len(self.unlabelled), "sample")
            table.damage.append(f"left out {what} without a label: {self.unlabelled[0]}")


def _is_visible(name: str) -> bool:
    return not any(map(is_hidden, visible_parts(name)))


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


def _samples(
    archive: str, listing: Iterator[Entry], last: bool, found: _Found
) -> list[tuple[str, _Sample]]:
    """The samples of one archive with their keys, in its order.

    A key that is met again with an ending that its sample has begins another sample.
    """
    samples: dict[str, list[_Sample]] = {}
    order: list[tuple[str, _Sample]] = []
    for entry in listing:
        if entry.is_folder or not _is_visible(entry.name):
            continue
        if (file := entry.member(archive)) is None:
            found.left_out.add(entry.name, entry.kind)
            continue
        key, ending = _key(entry.name, last)
        of_key = samples.setdefault(key, [])
        sample = next((each for each in of_key if ending not in each), None)
        if sample is None:
            sample = {}
            found.repeated += [key] if of_key else []
            of_key.append(sample)
            order.append((key, sample))
        sample[ending] = file
    return order


def _label_source(samples: Sequence[_Sample], options: ReadOptions) -> _Label:
    """Where labels are. Raises DataError."""
    endings = {ending for sample in samples for ending in sample}
    wanted = options.keys[1].removeprefix(".") if options.keys else ""
    if wanted and wanted.lower() != "json":
        return (wanted.lower(), "") if wanted.lower() in endings else ("json", wanted)
    known = [each for each in endings if _kind(each) in ((wanted.lower(),) if wanted else _LABELS)]
    if not known:
        archive = next(iter(samples[0].values())).archive
        held = ", ".join(f".{printable(ending)}" for ending in sorted(endings)[:10])
        raise DataError(
            f"{printable(archive)}: has no labels: its images need files of the same names ending "
            f"in .cls; it has {held}"
        )
    label = min(known, key=lambda each: ("." in each, _LABELS.index(_kind(each)), each))
    if _kind(label) != "json":
        return label, ""
    first = next(sample[label] for sample in samples if label in sample)
    content = _object(first)
    if (name := find_label(list(content))) is None:
        raise DataError(
            f"{printable(first)}: has no label; it has {listed(content)}: `keys=jpg,label` says "
            "which of them is"
        )
    return label, name


def _image_of(sample: _Sample, options: ReadOptions) -> Member | None:
    """The image of a sample: that of the ending wanted, else the one, or the one plainly named."""
    if options.keys:
        return sample.get(options.keys[0].removeprefix(".").lower())
    images = [ending for ending in sample if _is_image(ending)]
    plain = [ending for ending in images if "." not in ending]
    if len(images) > 1 and len(plain) != 1:
        some = " and ".join(printable(ending) for ending in images[:4])
        raise DataError(
            f"{printable(sample[images[0]])}: has several images, {some}: "
            f"`keys={images[0]},cls` says which is used"
        )
    return next((sample[each] for each in (plain if len(images) > 1 else images)), None)


def _row(image: Member, sample: _Sample, label: _Label) -> Row:
    """An image with its label, split and group. Raises DataError."""
    ending, key = label
    file, split, group = sample.get(ending), "", ""
    if file is None:
        raise DataError(f"{printable(image)}: has no .{ending} with its label")
    if key:
        content = _object(file)
        if key not in content:
            raise DataError(f"{printable(file)}: has no {printable(key)}; it has {listed(content)}")
        named = (named_column(names, list(content)) for names in (SPLIT_COLUMNS, GROUP_COLUMNS))
        split, group = (cell(content[name]) if name else "" for name in named)
        text = cell(content[key]).strip()
    else:
        text = os.fsdecode(_content(file).removeprefix(b"\xef\xbb\xbf")).strip()
    if not text or len(text) > LABEL_LENGTH or "\n" in text:
        raise DataError(f"{printable(file)}: holds no label, which is a name or an integer")
    return Row(image, intern(text), split, group)


def _content(file: Member) -> bytes:
    try:
        with file.open(Limits(file_bytes=LABEL_BYTES)) as content:
            return content.read()
    except (ImageError, OSError) as error:
        raise DataError(f"{printable(file)}: {error}") from error


def _object(file: Member) -> dict[str, Any]:
    return object_of(_content(file), printable(file))
