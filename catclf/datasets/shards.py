"""Images that come with their labels: samples in tar archives, and rows of Parquet files.

Samples follow the conventions of WebDataset and img2dataset: files of one name up to the first dot,
000017.jpg with 000017.cls (an integer or the name of a class), 000017.json (an object with a label)
or 000017.txt. Parquet files are those of Hugging Face: ``image`` is a struct of bytes and path, or
bytes alone; ``label`` an integer whose names are in the file, or a text. Labels are read at once,
images as they are decoded.
"""

from __future__ import annotations

import json
import os
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, islice, repeat
from pathlib import Path
from sys import intern
from typing import Any

import numpy as np

from catclf.datasets.dataset import Labels, ReadOptions
from catclf.datasets.listing import SAMPLED, Items, Row, Samples, Source
from catclf.datasets.names import CLASSES_LIMIT, check_classes
from catclf.datasets.table import (
    GROUP_COLUMNS,
    PATH_COLUMNS,
    SPLIT_COLUMNS,
    cell,
    find_label,
    listed,
    named_column,
    object_of,
)
from catclf.datasets.table import read as read_table
from catclf.errors import DataError, ImageError
from catclf.images.archive import (
    IMAGE_COLUMNS,
    Entry,
    Member,
    Unreadable,
    contents_of,
    entries,
    image_column,
    names_of,
    row_image,
)
from catclf.images.formats import ENDINGS, HEIF_ENDINGS, heif_is_there
from catclf.images.preprocess import Limits
from catclf.images.tree import Folder, LeftOut, is_hidden, visible_parts
from catclf.storage.location import locate
from catclf.storage.parquet import ParquetFile
from catclf.text import counted, printable, url_of

LOOKED_AT = 10_000  # members by which the convention of an archive is recognised
LABEL_BYTES = 1 << 20  # a larger file holds no label
LABEL_LENGTH = 200  # characters; a longer text is a caption
PATH_MAX = 4096  # characters of a path; a longer text is none
_LABELS = ("cls", "json", "txt")  # the first that is there labels the samples

_Sample = dict[str, Member]  # the files of one sample by their endings
_Label = tuple[str, str]  # the ending of files with labels, and the key of JSON that holds them
_Group = tuple[str, str, int, int]  # of rows of Parquet: file, column, number, and how many


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


def read_samples(
    path: Path, archives: Sequence[str], options: ReadOptions, last: bool = False
) -> Source:
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
        text = os.fsdecode(_bytes_of(file).removeprefix(b"\xef\xbb\xbf")).strip()
    if not text or len(text) > LABEL_LENGTH or "\n" in text:
        raise DataError(f"{printable(file)}: holds no label, which is a name or an integer")
    return Row(image, intern(text), split, group)


def _bytes_of(file: Member) -> bytes:
    try:
        with file.open(Limits(file_bytes=LABEL_BYTES)) as content:
            return content.read()
    except (ImageError, OSError) as error:
        raise DataError(f"{printable(file)}: {error}") from error


def _object(file: Member) -> dict[str, Any]:
    return object_of(_bytes_of(file), printable(file))


# Parquet files


class ParquetItems(Items):
    """Images in rows of Parquet files; ``rows`` (m,) are their numbers in all files together.

    Only one row group is open at a time, of which a few images are held. Rows that are read in
    order cost nothing more; going back, or to another row group, begins that anew.
    """

    def __init__(
        self, limit: int, groups: Sequence[_Group], names: Sequence[str], rows: Labels
    ) -> None:
        super().__init__(names)
        self._limit, self._groups, self.rows = limit, groups, rows
        # The first row of each group, and the number of all rows.
        self._firsts = [0, *accumulate(length for *_, length in groups)]
        self._lock = threading.Lock()
        self._group, self._next = -1, 0
        self._last: bytes | ImageError = b""
        self._contents: Iterator[bytes | ImageError] = iter(())

    def __reduce__(self) -> tuple[type[ParquetItems], tuple[Any, ...]]:
        return ParquetItems, (self._limit, self._groups, self.names, self.rows)

    def __getitem__(self, row: Any) -> Member:
        """The image of a row, also one that cannot be read."""
        return self._at(int(self.rows[row]), self.names[row])

    def take(self, rows: Labels) -> ParquetItems:
        names = [self.names[row] for row in rows.tolist()]
        return ParquetItems(self._limit, self._groups, names, self.rows[rows])

    def some(self) -> Iterator[str]:
        """The first images of some row groups that are spread over all."""
        for group in np.unique(np.linspace(0, len(self._groups) - 1, SAMPLED).astype(int)).tolist():
            if self._groups and self._firsts[group] < self._firsts[group + 1]:
                yield self._at(self._firsts[group], f"{self._groups[group][0]}:")

    def state(self, row: int) -> tuple[int, ...]:
        number = int(self.rows[row])
        return number, *locate(self._file_of(number)).state()

    def containers(self) -> list[str]:
        return list(dict.fromkeys(map(self._file_of, self.rows.tolist())))

    def absolute(self) -> ParquetItems:
        groups = [(locate(group[0]).absolute, *group[1:]) for group in self._groups]
        names = []
        for number, name in zip(self.rows.tolist(), self.names, strict=True):
            file = self._file_of(number)
            names.append(locate(file).absolute + name[len(file) :])
        return ParquetItems(self._limit, groups, names, self.rows)

    def _file_of(self, number: int) -> str:
        return self._groups[bisect_right(self._firsts, number) - 1][0]

    def _at(self, number: int, name: str) -> Member:
        group = bisect_right(self._firsts, number) - 1
        file = self._groups[group][0]
        with self._lock:
            if group != self._group or number < self._next - 1:
                self._group, self._next = group, self._firsts[group]
                self._contents = _contents_of_group(self._groups[group], self._limit)
            while self._next <= number:
                self._next += 1
                self._last = next(self._contents)
            return row_image(file, name[len(file) + 1 :], self._last)


def _contents_of_group(group: _Group, limit: int) -> Iterator[bytes | ImageError]:
    path, column, number, _ = group
    try:
        with ParquetFile(path) as file:
            yield from contents_of(file, column, number, limit)
    except ImageError as error:  # the file can no longer be opened
        yield from repeat(error)


def read_parquet(path: Path, files: Sequence[Path], options: ReadOptions) -> Source:
    """The labelled images in the order of the files. Raises DataError."""
    samples, groups = Samples(printable(path), locate(path).name), list[_Group]()
    numbers, unlabelled, first = list[int](), list[str](), True
    for file in files:
        try:
            with ParquetFile(url_of(file)) as opened:
                if len(files) == 1 and _names_files(opened):
                    return read_table(Folder.of(path.parent), path.name, samples.shown, options)
                image, label = options.columns or options.keys or (None, None)
                column, label = image_column(opened, image), _label_column(opened, label)
                classes = _class_names(opened, label)
                if not first and classes != samples.classes:
                    raise DataError(f"{printable(file)}: has other class names than those before")
                rows = _rows(opened, column, label, classes)
        except ImageError as error:
            if not options.skip_bad or len(files) == 1:
                raise DataError(f"{printable(file)}: {error}") from error
            samples.damage.append(f"{printable(file)}: {error}: is left out")
            continue
        start, first, samples.classes = sum(length for *_, length in groups), False, classes
        groups += [(opened.path, column, n, m) for n, m in enumerate(opened.groups)]
        unlabelled += [row.file for row in rows if not row.text]
        numbers += [number for number, row in enumerate(rows, start) if row.text]
        samples.rows += [row for row in rows if row.text]
    if unlabelled:
        _note_unlabelled(samples, unlabelled, options.skip_bad)
    names = [row.file for row in samples.rows]
    items = ParquetItems(options.limits.file_bytes, groups, names, np.array(numbers, np.int64))
    _require_bytes(samples.shown, items.take(np.arange(min(len(items), SAMPLED))))
    return samples.source(options, items)


def _rows(file: ParquetFile, image: str, label: str, classes: tuple[str, ...]) -> list[Row]:
    """The rows of a file; the text of one without a label is empty. Raises DataError."""
    names = [f"{file.path}:{name}" for name in names_of(file, image)]
    labels = [_label_text(file, value, classes) for value in file.values(label)]
    splits, groups = (_texts(file, columns) for columns in (SPLIT_COLUMNS, GROUP_COLUMNS))
    return list(map(Row, names, labels, splits, groups))


def _label_text(file: ParquetFile, value: Any, classes: tuple[str, ...]) -> str:
    """A label as text; empty where there is none: null, NaN, or -1 where labels have names."""
    if value is None or value != value or (classes and value == -1):
        return ""
    if not classes:
        return value.strip() if isinstance(value, str) else cell(value) or repr(value)
    if value in range(len(classes)):
        return classes[int(value)]
    raise DataError(
        f"{printable(file.path)}: has label {value}, but names of {len(classes)} labels alone"
    )


def _texts(file: ParquetFile, names: Sequence[str]) -> list[str]:
    """The values of the column that has one of these names, as text; empty where there is none."""
    held = [name for name, kind in file.columns.items() if kind in ("number", "text")]
    column = named_column(names, held)
    return [cell(value) for value in file.values(column)] if column else [""] * sum(file.groups)


def _note_unlabelled(samples: Samples, names: Sequence[str], skip_bad: bool) -> None:
    """Say which rows have no label. Raises DataError unless they may be left out."""
    total = len(names) + len(samples.rows)
    if not skip_bad or not samples.rows:
        raise DataError(
            f"{samples.shown}: {printable(names[0])} has no label, as {len(names)} of {total} "
            "images: leave them out with `skip_bad`"
        )
    samples.damage.append(f"left out {counted(len(names), 'image')} without a label")


def _names_files(file: ParquetFile) -> bool:
    """Whether a file is a table of paths, such as metadata.parquet, and holds no images."""
    for name in IMAGE_COLUMNS:
        if file.columns.get(name) == "text" and len(str(file.values(name)[:1])) > PATH_MAX:
            why = f"has images as text in its column {name}, as base64: store their bytes"
            raise ImageError("unsupported", why)
    texts = (name for name, kind in file.columns.items() if kind == "text")
    paths = any(name.lower() in PATH_COLUMNS for name in texts)
    return paths and not {"image", "bytes"} & set(file.columns.values())


def _require_bytes(shown: str, items: ParquetItems) -> None:
    """Raise DataError for a file that holds paths of its images and not the images."""
    for item in items:
        if not isinstance(item, Unreadable) or item.failure.kind != "missing":
            return
    raise DataError(
        f"{shown}: holds no images, only paths of their files: give the folder of the images, "
        "or write the file anew with the images in it (`embed_external_files=True`)"
    )


def _label_column(file: ParquetFile, wanted: str | None) -> str:
    held = [name for name, kind in file.columns.items() if kind in ("number", "text")]
    label = find_label(held) if wanted is None else wanted
    if label is None or label not in held:
        raise ImageError(
            "unsupported",
            f"has no labels in a column {printable(wanted or 'label')}; it has "
            f"{listed(file.columns)}: `columns=image,label` names others",
        )
    return label


def _class_names(file: ParquetFile, label: str) -> tuple[str, ...]:
    """The names of integer labels in the metadata of Hugging Face; none where it has none."""
    try:
        names = json.loads(file.notes)["info"]["features"][label]["names"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
    if not isinstance(names, list) or file.columns[label] != "number":
        return ()
    return check_classes([str(name) for name in names], f"{printable(file.path)}: names of labels")
