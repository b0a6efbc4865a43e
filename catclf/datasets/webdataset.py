"""Labelled samples in tar archives, by the conventions of WebDataset and img2dataset.

The files of a sample have one name up to the first dot: 000017.jpg with 000017.cls (an integer or
the name of a class), 000017.json (an object with a label) or 000017.txt.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from sys import intern
from typing import Any, cast

from catclf.datasets.dataset import ReadOptions
from catclf.datasets.labels import CLASSES_LIMIT, from_texts
from catclf.datasets.listing import Items, Source, listing_of_items
from catclf.datasets.table import find_label
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
_IN_JSON = "json:"

_Sample = dict[str, Entry]  # the files of one sample by their endings
_Dot = Callable[[str], tuple[str, str]]


@dataclass
class _Read:
    """The content of all archives."""

    files: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    without_image: int = 0
    repeated: list[str] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)


def dot_of_samples(archive: str) -> _Dot | None:
    """How keys of samples end in an archive of them; None for one of class folders.

    It is of samples where a file ends in .cls, or where no two folders hold images and one has a
    .json or .txt file of the same name. Keys end at the first dot, unless all names of labels have
    dots before theirs. An archive that cannot be read is none.
    """
    names = []
    try:
        for entry in islice(entries(archive), LOOKED_AT):
            if not entry.is_folder and _is_visible(entry.name):
                names.append(entry.name)
    except ImageError:  # reading it will say what is wrong
        pass
    labels = [name for name in names if _key(name, _last_dot)[1] in _LABELS]
    dotted = labels and not any(_key(name, _first_dot)[1] in _LABELS for name in labels)
    dot = _last_dot if dotted else _first_dot
    folders: set[str] = set()
    keys: dict[bool, set[str]] = {True: set(), False: set()}
    for name in names:
        key, ending = _key(name, dot)
        if ending == "cls":
            return dot
        if _is_image(ending):
            folders.add(key.rpartition("/")[0])
        if _is_image(ending) or ending in _LABELS:
            keys[_is_image(ending)].add(key)
    return dot if len(folders - {""}) < 2 and keys[True] & keys[False] else None


def read(
    path: Path, archives: Sequence[str], options: ReadOptions, dot: _Dot | None = None
) -> Source:
    """The labelled images in the order of the archives. Raises DataError."""
    shown, result, label = printable(path), _Read(), ""
    for archive in archives:
        listed = entries_of(archive, result.damage, options.skip_bad)
        samples = _samples(listed, dot or _first_dot, result)
        label = label or (_label_source(archive, samples, options) if samples else "")
        for key, sample in samples:
            _take(archive, key, sample, label, options, result)
    if not result.files:
        failures = [*result.damage, *result.unlabelled] if options.skip_bad else []
        others = f": {result.left_out}" if result.left_out else ""
        why = f"{shown}: holds no images with labels{others}"
        raise DataError(failures[0] if failures else why)
    if result.unlabelled:
        count = counted(len(result.unlabelled), "sample")
        result.damage.append(f"left out {count} without a label: {result.unlabelled[0]}")
    named = len(set(result.texts))
    if named > CLASSES_LIMIT:
        raise DataError(
            f"{shown}: its .{_ending(label)} files hold {named} different texts, no classes: "
            "`keys=jpg,label` says what is the label"
        )
    classes, labels = from_texts(result.texts, result.texts, shown)
    listing = partial(
        listing_of_items,
        shown,
        locate(path).name,
        classes,
        labels,
        Items(result.files),
        notes=(*_notes(result, label), *result.damage),
        damage=tuple(result.damage),
    )
    return Source(shown, options, {None: listing})


def _first_dot(base: str) -> tuple[str, str]:
    stem, _, ending = base.partition(".")
    return stem, ending


def _last_dot(base: str) -> tuple[str, str]:
    stem, _, ending = base.rpartition(".")
    return stem, ending


def _is_visible(name: str) -> bool:
    return not any(is_hidden(part) for part in name.split("/") if part not in ("", ".", ".."))


def _key(name: str, dot: _Dot) -> tuple[str, str]:
    """A member's name up to a dot of its last part, and the ending."""
    folder, slash, base = name.rpartition("/")
    stem, ending = dot(base)
    return f"{folder}{slash}{stem}", ending.lower()


def _is_image(ending: str) -> bool:
    last = f".{ending.rpartition('.')[2]}"
    return last in ENDINGS or (last in HEIF_ENDINGS and heif_is_there())


def _samples(listed: Iterator[Entry], dot: _Dot, result: _Read) -> list[tuple[str, _Sample]]:
    """The samples of one archive with their keys, in its order.

    A key that is met again with an ending that its sample has begins another sample.
    """
    samples: dict[str, list[_Sample]] = {}
    order: list[tuple[str, _Sample]] = []
    for entry in listed:
        if entry.is_folder or not _is_visible(entry.name):
            continue
        if entry.place is None and entry.failure is None:
            result.left_out.add(entry.name, entry.kind)
            continue
        key, ending = _key(entry.name, dot)
        of_key = samples.setdefault(key, [])
        place = next((sample for sample in of_key if ending not in sample), None)
        if place is None:
            place = {}
            result.repeated += [key] if of_key else []
            of_key.append(place)
            order.append((key, place))
        place[ending] = entry
    return order


def _label_source(
    archive: str, samples: Sequence[tuple[str, _Sample]], options: ReadOptions
) -> str:
    """The ending of the files that hold labels, or json:KEY. Raises DataError."""
    endings = {ending for _, sample in samples for ending in sample}
    wanted = options.keys[1].removeprefix(".") if options.keys else ""
    if wanted and wanted.lower() != "json":
        return wanted if wanted.lower() in endings else f"{_IN_JSON}{wanted}"
    allowed = (wanted.lower(),) if wanted else _LABELS
    label = next((ending for ending in allowed if ending in endings), "")
    if not label:
        held = ", ".join(f".{printable(ending)}" for ending in sorted(endings)[:10])
        raise DataError(
            f"{printable(archive)}: has no labels: its images need files of the same names ending "
            f"in .cls; it has {held}"
        )
    if label != "json":
        return label
    first = next(sample["json"] for _, sample in samples if "json" in sample)
    content = _object(archive, first)
    if (name := find_label(list(content))) is None:
        where = f"{printable(archive)}:{printable(first.name)}"
        raise DataError(
            f"{where}: has no label; it has {_listed(content)}: `keys=jpg,label` says which of "
            "them is"
        )
    return f"{_IN_JSON}{name}"


def _listed(content: dict[str, Any]) -> str:
    return ", ".join(printable(str(name)) for name in list(content)[:20]) or "nothing"


def _take(
    archive: str, key: str, sample: _Sample, label: str, options: ReadOptions, result: _Read
) -> None:
    """Add the image of a sample with its label."""
    wanted = options.keys[0].removeprefix(".").lower() if options.keys else ""
    image = _image_of(f"{printable(archive)}:{printable(key)}", sample, wanted)
    used: tuple[str, ...] = ()
    if image is None:
        result.without_image += 1
    else:
        try:
            text = _label(archive, sample, label)
        except DataError as error:
            if not options.skip_bad:
                raise DataError(f"{error}: mend it, or leave it out with `skip_bad`") from None
            result.unlabelled.append(str(error))
            return
        result.files.append(cast(Member, member_of(archive, image)))
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
            raise DataError(f"{where}: has no {printable(key)}; it has {_listed(content)}")
        return _text(content[key], where)
    return _text(_content(archive, entry).decode("utf-8-sig", "replace"), where)


def _ending(label: str) -> str:
    """The ending of the files that hold labels."""
    return "json" if label.startswith(_IN_JSON) else label.lower()


def _text(value: Any, where: str) -> str:
    """A label as text. Raises DataError for what is none."""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    text = str(value).strip() if isinstance(value, str | int) else ""
    if not text or len(text) > LABEL_LENGTH or "\n" in text:
        raise DataError(f"{where}: holds no label, which is a name or an integer")
    return text


def _notes(result: _Read, label: str) -> Iterator[str]:
    key = label.removeprefix(_IN_JSON)
    of = f"{printable(key)} in .json" if label.startswith(_IN_JSON) else f".{printable(label)}"
    yield f"holds labelled samples: the label is {of}"
    if result.repeated:
        keys = counted(len(result.repeated), "key")
        yield f"holds {keys} twice, the first {printable(result.repeated[0])}: all samples are read"
    if result.without_image:
        yield f"left out {counted(result.without_image, 'sample')} without an image"
    if result.left_out:
        yield str(result.left_out)


def _content(archive: str, entry: Entry) -> bytes:
    try:
        with cast(Member, member_of(archive, entry)).open(Limits(file_bytes=LABEL_BYTES)) as file:
            return file.read()
    except (ImageError, OSError) as error:
        raise DataError(f"{printable(f'{archive}:{entry.name}')}: {error}") from error


def _object(archive: str, entry: Entry) -> dict[str, Any]:
    try:
        content = json.loads(_content(archive, entry))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{printable(f'{archive}:{entry.name}')}: is no JSON: {error}") from error
    return content if isinstance(content, dict) else {}
