"""Labelled samples in tar archives, by the conventions of WebDataset and img2dataset.

The files of a sample have one name up to the first dot: 000017.jpg with 000017.cls (an integer or
the name of a class), 000017.json (an object with a label) or 000017.txt.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from typing import Any

from catclf.datasets.archive_tree import entries_of, member_of
from catclf.datasets.dataset import Labels, Part, Reading
from catclf.datasets.image_files import size_of_files
from catclf.datasets.labels import CLASSES_LIMIT, from_texts
from catclf.datasets.shards import of_part
from catclf.datasets.sources import FileSource
from catclf.datasets.table_format import find_label
from catclf.errors import DataError, ImageError
from catclf.images.archive import entries
from catclf.images.formats import ENDINGS, HEIF_ENDINGS, heif_is_there
from catclf.images.member import Entry
from catclf.images.preprocess import Limits, Preprocess
from catclf.images.walk import LeftOut, is_hidden
from catclf.text import counted, printable, url_of

LOOKED_AT = 10_000  # members by which the convention of an archive is recognised
LABEL_BYTES = 1 << 20  # a larger file holds no label
LABEL_LENGTH = 200  # characters; a longer text is a caption
_LABELS = ("cls", "json", "txt")  # the first that is there labels the samples
_IN_JSON = "json:"


_Sample = dict[str, Entry]  # the files of one sample by their endings


@dataclass
class _Read:
    """The content of all archives."""

    files: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    without_image: int = 0
    left_out: LeftOut = field(default_factory=LeftOut)


def holds_samples(archive: Path) -> bool:
    """Whether an archive is of labelled samples, and not of class folders.

    It is where a file ends in .cls, or where no two folders hold images and one has a .json or
    .txt file of the same name. An archive that cannot be read is none.
    """
    folders: set[str] = set()
    images: set[str] = set()
    others: set[str] = set()
    labelled = False
    try:
        for number, entry in enumerate(entries(url_of(archive))):
            key, ending = _key(entry.name)
            if entry.is_folder or not key:
                continue
            if ending == "cls":
                return True
            if _is_image(ending):
                if folder := key.rpartition("/")[0]:
                    folders.add(folder)
                images.add(key)
                labelled = labelled or key in others
            elif ending in _LABELS:
                others.add(key)
                labelled = labelled or key in images
            if number >= LOOKED_AT and (len(folders) > 1 or not labelled):
                break
    except ImageError:  # reading it will say what is wrong
        pass
    return len(folders) < 2 and labelled


def read(path: Path, files: Sequence[Path], part: Part, reading: Reading) -> FileSource:
    """The labelled images of one part, in the order of the archives. Raises DataError."""
    shown = printable(path)
    notes: list[str] = []
    if len(files) > 1:
        files = of_part(files, part, shown, notes)
    result, label = _Read(), ""
    for file in files:
        samples = _samples(url_of(file), reading.skip_bad, result)
        label = label or (_label_source(file, samples, reading) if samples else "")
        _take(url_of(file), samples, label, reading, result)
    _require_images(shown, result, reading.skip_bad)
    if result.unlabelled:
        count = counted(len(result.unlabelled), "sample")
        result.damage.append(f"left out {count} without a label: {result.unlabelled[0]}")
    classes, labels = _classes(shown, result.texts, label)
    notes += _notes(result, label)
    preprocess = Preprocess(size_of_files(Path(), result.files, reading), reading.fit or "squash")
    return FileSource(
        shown,
        path.name,
        classes or reading.classes,
        labels,
        preprocess,
        Path(),
        result.files,
        reading,
        notes=(*notes, *result.damage),
        damage=tuple(result.damage),
    )


def _key(name: str) -> tuple[str, str]:
    """A member's name up to the first dot of its last part, and the ending; "" if hidden."""
    folder, slash, base = name.rpartition("/")
    stem, _, ending = base.partition(".")
    parts = [part for part in folder.split("/") if part not in ("", ".", "..")]
    if not stem or any(map(is_hidden, parts)) or is_hidden(base):
        return "", ""
    return f"{folder}{slash}{stem}", ending.lower()


def _is_image(ending: str) -> bool:
    last = f".{ending.rpartition('.')[2]}"
    return last in ENDINGS or (last in HEIF_ENDINGS and heif_is_there())


def _samples(archive: str, skip_bad: bool, result: _Read) -> dict[str, _Sample]:
    """The samples of one archive by their keys, in its order."""
    samples: dict[str, _Sample] = {}
    for entry in entries_of(archive, result.damage, skip_bad):
        key, ending = _key(entry.name)
        if entry.is_folder or not key:
            continue
        if entry.place is None and entry.failure is None:
            result.left_out.add(entry.name)
            continue
        samples.setdefault(key, {})[ending] = entry
    return samples


def _label_source(file: Path, samples: dict[str, _Sample], reading: Reading) -> str:
    """The ending of the files that hold labels, or json:KEY. Raises DataError."""
    endings = {ending for sample in samples.values() for ending in sample}
    shown = printable(file)
    wanted = reading.keys[1].removeprefix(".") if reading.keys else ""
    if wanted and wanted.lower() != "json":
        return wanted if wanted.lower() in endings else f"{_IN_JSON}{wanted}"
    allowed = (wanted.lower(),) if wanted else _LABELS
    label = next((ending for ending in allowed if ending in endings), "")
    if not label:
        raise DataError(
            f"{shown}: has no labels: its images need files of the same names ending in .cls"
        )
    if label != "json":
        return label
    first = next(sample["json"] for sample in samples.values() if "json" in sample)
    content = _object(url_of(file), first)
    if (name := find_label(list(content))) is not None:
        return f"{_IN_JSON}{name}"
    held = ", ".join(printable(str(name)) for name in list(content)[:20]) or "nothing"
    raise DataError(
        f"{shown}:{printable(first.name)}: has no label; it has {held}: `keys=jpg,label` says "
        "which of them is"
    )


def _take(
    archive: str, samples: dict[str, _Sample], label: str, reading: Reading, result: _Read
) -> None:
    """Add the images of an archive with their labels."""
    wanted = reading.keys[0].removeprefix(".").lower() if reading.keys else ""
    for key, sample in samples.items():
        image = _image_of(f"{printable(archive)}:{printable(key)}", sample, wanted)
        if image is None:
            result.without_image += 1
            for entry in sample.values():
                result.left_out.add(entry.name)
            continue
        try:
            text = _label(archive, sample, label)
        except DataError as error:
            if not reading.skip_bad:
                raise DataError(f"{error}: mend it, or leave it out with `skip_bad`") from None
            result.unlabelled.append(str(error))
            continue
        result.files.append(member_of(archive, image))
        result.texts.append(intern(text))
        used = (image.name, sample[_ending(label)].name)
        for entry in sample.values():
            if entry.name not in used:
                result.left_out.add(entry.name)


def _image_of(shown: str, sample: _Sample, wanted: str) -> Entry | None:
    """The image of a sample: that of the ending wanted, else the one, or the one plainly named."""
    if wanted:
        return sample.get(wanted)
    images = [ending for ending in sample if _is_image(ending)]
    plain = [ending for ending in images if "." not in ending]
    if len(images) > 1 and len(plain) != 1:
        listed = " and ".join(printable(ending) for ending in images[:4])
        raise DataError(
            f"{shown}: has several images, {listed}: `keys={images[0]},cls` says which is used"
        )
    images = plain if len(images) > 1 else images
    return sample[images[0]] if images else None


def _label(archive: str, sample: _Sample, label: str) -> str:
    """The label of a sample as text. Raises DataError."""
    ending = _ending(label)
    entry = sample.get(ending)
    if entry is None:
        first = next(iter(sample.values()))
        raise DataError(f"{printable(f'{archive}:{first.name}')}: has no .{ending} with its label")
    where = printable(f"{archive}:{entry.name}")
    if ending == "json":
        key = label.removeprefix(_IN_JSON)
        content = _object(archive, entry)
        if key not in content:
            held = ", ".join(printable(str(name)) for name in list(content)[:20]) or "nothing"
            raise DataError(f"{where}: has no {printable(key)}; it has {held}")
        return _text(content[key], where)
    return _text(_content(archive, entry).decode("utf-8-sig", "replace"), where)


def _ending(label: str) -> str:
    """The ending of the files that hold labels."""
    return "json" if label.startswith(_IN_JSON) else label.lower()


def _text(value: Any, where: str) -> str:
    """A label that is a name or a whole number. Raises DataError."""
    if isinstance(value, bool):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip() if isinstance(value, str | int) else ""
    if not text or len(text) > LABEL_LENGTH or "\n" in text:
        raise DataError(f"{where}: holds no label, which is a name or an integer")
    return text


def _require_images(shown: str, result: _Read, skip_bad: bool) -> None:
    if result.files:
        return
    if skip_bad and (failures := [*result.damage, *result.unlabelled]):
        raise DataError(failures[0])
    others = f": {result.left_out}" if result.left_out else ""
    raise DataError(f"{shown}: holds no images with labels{others}")


def _classes(shown: str, texts: list[str], label: str) -> tuple[tuple[str, ...], Labels]:
    named = len(set(texts))
    if named > CLASSES_LIMIT:
        raise DataError(
            f"{shown}: its .{_ending(label)} files hold {named} different texts, no classes: "
            "`keys=jpg,label` says what is the label"
        )
    return from_texts(texts, texts, shown)


def _notes(result: _Read, label: str) -> Iterator[str]:
    key = label.removeprefix(_IN_JSON)
    of = f"{printable(key)} in .json" if label.startswith(_IN_JSON) else f".{printable(label)}"
    yield f"holds labelled samples: the label is {of}"
    if result.without_image:
        yield f"left out {counted(result.without_image, 'sample')} without an image"
    if result.left_out:
        yield str(result.left_out)


def _content(archive: str, entry: Entry) -> bytes:
    member = member_of(archive, entry)
    try:
        with member.open(Limits(file_bytes=LABEL_BYTES)) as file:
            return file.read()
    except (ImageError, OSError) as error:
        raise DataError(f"{printable(member)}: {error}") from error


def _object(archive: str, entry: Entry) -> dict[str, Any]:
    try:
        content = json.loads(_content(archive, entry))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{printable(f'{archive}:{entry.name}')}: is no JSON: {error}") from error
    return content if isinstance(content, dict) else {}
