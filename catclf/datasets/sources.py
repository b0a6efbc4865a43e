"""What every reader gives: labels at once, images in blocks; how that becomes a ``Dataset``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from catclf.datasets.dataset import Dataset, Labels, Reading
from catclf.datasets.image_files import place_of
from catclf.datasets.names import CAT, key, match, negated
from catclf.errors import DataError
from catclf.images.member import Member, Unreadable
from catclf.images.pool import Failed, decode_all
from catclf.images.preprocess import Preprocess
from catclf.maths import Pixels
from catclf.samples import IndexedImages
from catclf.storage.copies import state_of
from catclf.storage.remote import absolute
from catclf.text import counted, printable

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = 64  # images
LISTED = 10  # unreadable images named in an error


class Source(Protocol):
    """Labelled images that are read block by block.

    ``labels`` (m,) index ``classes``, which is empty when the source does not name them and the
    labels are 0 and 1; ``shown`` names the source in messages, ``name`` in a model; ``notes``
    say what the reader decided.
    """

    shown: str
    name: str
    classes: tuple[str, ...]
    labels: Labels
    preprocess: Preprocess
    notes: tuple[str, ...]
    damage: tuple[str, ...]

    def blocks(self) -> Iterator[tuple[Labels, Pixels]]:
        """Row numbers (k,) and images (k, size, size, 3), in order, of all that can be read."""

    def names(self) -> Sequence[str] | None:
        """What each row was called where it came from."""


@dataclass
class ArraySource:
    """Images that are stored as pixels; ``pixels`` may read from disk when sliced.

    ``damage`` are those of ``notes`` that say what could not be read.
    """

    shown: str
    name: str
    classes: tuple[str, ...]
    labels: Labels
    preprocess: Preprocess
    pixels: Pixels
    stored_names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    damage: tuple[str, ...] = ()

    def blocks(self) -> Iterator[tuple[Labels, Pixels]]:
        for start in range(0, len(self.labels), BLOCK):
            stop = min(start + BLOCK, len(self.labels))
            yield np.arange(start, stop), self.pixels[start:stop]

    def names(self) -> Sequence[str] | None:
        return self.stored_names


@dataclass
class FileSource:
    """Image files, or members of archives.

    ``lines`` are their lines in a table, for messages; ``damage`` are those of ``notes`` that say
    what could not be listed; ``called`` are the names of the images, if not those of ``files``.
    """

    shown: str
    name: str
    classes: tuple[str, ...]
    labels: Labels
    preprocess: Preprocess
    root: Path
    files: Sequence[str]  # below root
    reading: Reading
    lines: Sequence[int] | None = None
    skipped: list[tuple[int, str]] = field(default_factory=list)  # rows and reasons
    notes: tuple[str, ...] = ()
    damage: tuple[str, ...] = ()
    called: Sequence[str] | None = None

    def blocks(self) -> Iterator[tuple[Labels, Pixels]]:
        decoded = decode_all(
            _Inputs(self), self.preprocess, self.reading.limits, workers=self.reading.workers
        )
        rows: list[int] = []
        images: list[Pixels] = []
        self.skipped.clear()
        for row, (_, result) in enumerate(decoded):
            if isinstance(result, Exception):
                self._skip(row, str(result))
            else:
                rows.append(row)
                images.append(result)
            if len(rows) == BLOCK:
                yield np.array(rows), np.stack(images)
                rows, images = [], []
            if self.reading.on_progress:
                self.reading.on_progress(row + 1, len(self.files))
        if rows:
            yield np.array(rows), np.stack(images)
        if self.skipped and not self.reading.skip_bad:
            self._refuse()
        if self.reading.every_class:
            self._require_every_class()

    def names(self) -> Sequence[str] | None:
        return self.files if self.called is None else self.called

    def path(self, row: int) -> str:
        """The image of a row, as it is decoded."""
        return place_of(self.root, self.files[row])

    def state(self, row: int) -> tuple[int, ...]:
        """Numbers that change with the image's file. Raises OSError."""
        path = self.path(row)
        if isinstance(path, Member):
            return (*path.place, *state_of(path.archive))
        status = os.stat(path)  # noqa: PTH116  a row is never remote: only what was typed may be
        return status.st_size, status.st_mtime_ns

    def containers(self) -> list[str]:
        """The archives that images are in, each once."""
        archives = (each.archive for each in self.files if isinstance(each, Member))
        return list(dict.fromkeys(archives))

    def of(self, rows: Labels) -> Self:
        """Only these rows."""
        lines, called = _taken(self.lines, rows), _taken(self.called, rows)
        files = [self.files[row] for row in rows.tolist()]
        return replace(
            self, labels=self.labels[rows], files=files, lines=lines, called=called, skipped=[]
        )

    def absolute(self) -> Self:
        """The same images under paths that hold in any folder, called what they are called here."""
        places = {each: absolute(each) for each in self.containers()}
        files = [
            each.within(places[each.archive]) if isinstance(each, Member) else each
            for each in self.files
        ]
        root = type(self.root)(absolute(self.root))
        return replace(self, root=root, files=files, called=self.names())

    @property
    def names_are_whole(self) -> bool:
        """Whether the name of an image begins with that of the file that it is in."""
        return bool(self.files) and isinstance(self.files[0], Member)

    def label_of(self, row: int) -> str:
        """The file, and its line where it came from a manifest."""
        where = f"line {self.lines[row]}: " if self.lines else ""
        return where + printable((self.files if self.called is None else self.called)[row])

    def left_out(self) -> str:
        """Which images were skipped and why, the first ten by name; empty if none were."""
        if not self.skipped:
            return ""
        listed = "; ".join(f"{self.label_of(row)} ({why})" for row, why in self.skipped[:LISTED])
        more = "; …" if len(self.skipped) > LISTED else ""
        return f"left out {counted(len(self.skipped), 'unreadable image')}: {listed}{more}"

    def _skip(self, row: int, reason: str) -> None:
        self.skipped.append((row, reason))
        if len(self.skipped) >= LISTED and not self.reading.skip_bad:
            self._refuse()

    def _refuse(self) -> None:
        listed = "; ".join(f"{self.label_of(row)} ({why})" for row, why in self.skipped[:LISTED])
        least = "at least " if len(self.skipped) >= LISTED else ""
        raise DataError(
            f"{self.shown}: {least}{counted(len(self.skipped), 'image')} cannot be read: "
            f"{listed}: mend them, or leave them out with `skip_bad`"
        )

    def _require_every_class(self) -> None:
        bad = np.zeros(len(self.labels), dtype=bool)
        bad[[row for row, _ in self.skipped]] = True
        for index, name in enumerate(self.classes):
            of_class = self.labels == index
            if of_class.any() and bad[of_class].all():
                raise DataError(f"{self.shown}: no image of class {printable(name)} can be read")


def _taken(values: Sequence[Any] | None, rows: Labels) -> list[Any] | None:
    return None if values is None else [values[row] for row in rows.tolist()]


class _Inputs(Sequence[str | Failed]):
    """The images of a source as they are decoded; as many as are known need no other process."""

    def __init__(self, source: FileSource) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source.files)

    def __getitem__(self, row: Any) -> Any:
        if row >= len(self):
            raise IndexError(row)
        path = self._source.path(row)
        return (str(path), path.failure) if isinstance(path, Unreadable) else path


def rows_of(source: Source, rows: Labels) -> Source:
    """Only these rows of a source, in their order, which must be ascending."""
    names = source.names()
    if isinstance(source, FileSource):
        return source.of(rows)
    assert isinstance(source, ArraySource)
    pixels: Any = IndexedImages(source.pixels, rows)  # has what is used of an array
    return replace(
        source,
        labels=source.labels[rows],
        pixels=pixels,
        stored_names=tuple(names[row] for row in rows.tolist()) if names else None,
    )


def to_dataset(source: Source, reading: Reading) -> Dataset:
    """Two classes from however many, and all images: in memory, or as the source keeps them."""
    positive, note = choose_positive(source, reading.positive)
    classes = two_classes(source.classes, positive)
    positive_index = source.classes.index(positive) if source.classes else 1
    rows, images = _gather(source, reading)
    names = source.names()
    kept = names if names is None or len(rows) == len(names) else [names[row] for row in rows]
    notes = [*source.notes, *([note] if note else [])]
    if isinstance(source, FileSource) and source.skipped:
        notes.append(source.left_out())
    if isinstance(source, FileSource) and isinstance(images, np.ndarray):
        notes += _one_tone(images, kept or [])
    return Dataset(
        images=images,
        Y=(source.labels[rows] == positive_index).astype(np.float64).reshape(1, -1),
        classes=classes,
        source=source.name,
        preprocess=source.preprocess,
        names=None if kept is None else tuple(kept),
        notes=tuple(f"{source.shown}: {text}" for text in notes),
    )


def _one_tone(images: Pixels, names: Sequence[str]) -> list[str]:
    """A note on images that show nothing."""
    from catclf.datasets.blank import one_tone

    rows = one_tone(images)
    if not len(rows):
        return []
    what = counted(len(rows), "image")
    return [f"{what} of {len(images)} show one tone alone, the first {printable(names[rows[0]])}"]


def choose_positive(source: Source, wanted: str | None) -> tuple[str, str]:
    """The name of the positive class, and a note where the choice should be known.

    ``wanted``, else cat where there is one (in any case, or as cats), else, of two, the one that
    the other negates (dog and non-dog) or the second. Raises DataError when it is not among them
    or must be given.
    """
    classes = source.classes
    if not classes:
        name = wanted or CAT
        return name, (
            f"labels have no names: label 1 is taken as {printable(name)} "
            "(`classes=dog,cat` names 0 and 1)"
        )
    shown = ", ".join(printable(name) for name in classes[:20])
    if wanted is not None:
        meant = match(wanted, classes)
        if meant is None:
            raise DataError(
                f"{source.shown}: no class is named {printable(wanted)}: choose from {shown}"
            )
        note = "" if meant == wanted else f"{printable(meant)} is the class that is meant"
        if len(classes) > 2:
            note = _of_many(meant, classes)
        return meant, note
    cat = match(CAT, classes)
    if cat is None and len(classes) > 2:
        raise DataError(f"{source.shown}: say which class to find with `positive`: {shown}")
    keys = [negated(name) for name in classes]
    positive = cat or next((name for name in classes[:2] if key(name) in keys), classes[1])
    if len(classes) > 2:
        return positive, _of_many(positive, classes)
    if cat is None:
        note = f"{printable(positive)} is the positive class (`positive` chooses another)"
        return positive, note
    return positive, ""


def _of_many(positive: str, classes: tuple[str, ...]) -> str:
    others = [printable(name) for name in classes if name != positive]
    listed = ", ".join(others[:LISTED]) + (", …" if len(others) > LISTED else "")
    return f"{printable(positive)} is positive, the other {len(others)} classes are not: {listed}"


def two_classes(classes: tuple[str, ...], positive: str) -> tuple[str, str]:
    """The names of labels 0 and 1."""
    others = [name for name in classes if name != positive]
    return (others[0] if len(others) == 1 else f"non-{positive}"), positive


def _gather(source: Source, reading: Reading) -> tuple[Labels, Pixels]:
    """All rows that can be read and their images; decoded blocks go straight to their place."""
    m = len(source.labels)
    if isinstance(source, ArraySource):
        return np.arange(m), source.pixels
    if isinstance(source, FileSource) and reading.encoder is not None:
        from catclf.datasets.decoded import encode_files

        return encode_files(source, reading.encoder(source.preprocess.size))
    from catclf.machine import require_memory

    size = source.preprocess.size
    require_memory(m * size * size * 3, f"{source.shown}: {counted(m, 'image')} of {size}x{size}")
    images = np.empty((m, size, size, 3), dtype=np.uint8)
    rows = np.empty(m, dtype=np.int64)
    count = 0
    for numbers, block in source.blocks():
        rows[count : count + len(numbers)] = numbers
        images[count : count + len(numbers)] = block
        count += len(numbers)
    return rows[:count], images[:count]
