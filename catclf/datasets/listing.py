"""What a source holds: rows with an image, a label, a split, a name and a group.

A reader finds what is at a path once, as a ``Source``. A split of it is a ``Listing``: labels at
once, images in blocks. Training, packing, checking and evaluating all go through it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from catclf.datasets.dataset import SPLITS, BlockEncoder, Dataset, Labels, ReadOptions, Split
from catclf.datasets.digests import NEAR_LIMIT, Digester, Digests
from catclf.datasets.names import CAT, from_texts, key, match, negated, numbered, split_named
from catclf.errors import DataError, ImageError
from catclf.images.archive import Member, Unreadable
from catclf.images.preprocess import Preprocess
from catclf.machine import require_memory
from catclf.maths import Pixels
from catclf.samples import IndexedImages, Rows, extremes
from catclf.storage.location import Copy, is_remote, locate
from catclf.text import counted, has_scheme, printable, reason

BLOCK = 64  # images
LISTED = 10  # unreadable images named in an error
SAMPLED = 25  # images whose dimensions are looked at
SMALL = 64  # height and width of images that are brought to no other size


class Items(Sequence[str]):
    """Images as they are decoded: paths below the folder ``root``, or members of archives.

    With ``remote`` those whose names are URLs are copied when they are taken.
    """

    def __init__(self, names: Sequence[str], root: str = "", *, remote: bool = False) -> None:
        self.names, self.root, self.remote = names, root, remote

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, row: Any) -> Any:
        name = self.names[row]
        if isinstance(name, Member):
            return name
        if self.remote and has_scheme(name) and is_remote(name):
            try:
                return Copy.of(name)  # removed when it was decoded
            except OSError as error:
                failure = ImageError("unreadable", f"cannot be fetched: {reason(error)}")
                return Unreadable.because(self.root, name, failure)
        return os.path.join(self.root, name)

    def take(self, rows: Labels) -> Self:
        """Only these rows."""
        names = [self.names[row] for row in rows.tolist()]
        return type(self)(names, self.root, remote=self.remote)

    def some(self) -> Iterator[str]:
        """A few of the images, spread over all."""
        places = np.linspace(0, len(self) - 1, min(len(self), SAMPLED)).astype(int)
        return (self[place] for place in places.tolist())

    def state(self, row: int) -> tuple[int, ...]:
        """Numbers that change with an image's file. Raises OSError."""
        item = self[row]
        if isinstance(item, Member):
            return (*item.place, *locate(item.archive).state())
        status = os.stat(item)
        return status.st_size, status.st_mtime_ns

    def containers(self) -> list[str]:
        """The archives that images are in, each once."""
        return list(dict.fromkeys(each.archive for each in self.names if isinstance(each, Member)))

    def absolute(self) -> Self:
        """The same images under paths that hold in any folder."""
        places = {each: locate(each).absolute for each in self.containers()}
        names = [
            each.called(f"{places[each.archive]}:{each.name}", places[each.archive])
            if isinstance(each, Member)
            else each
            for each in self.names
        ]
        root = os.path.abspath(self.root) if self.root else ""
        return type(self)(names, root, remote=self.remote)


@dataclass
class Listing:
    """Labelled images of one split.

    ``labels`` (m,) index ``classes``, which are empty where the source does not name them and the
    labels are 0 and 1. ``items`` are images to be decoded, or ``pixels`` (m, size, size, 3) are
    stored; ``called`` are the names of images, if not those of the items; ``lines`` their lines in
    a table; ``groups`` (m,) are equal for images that stay together, and negative for none.
    ``shown`` names the source in messages, ``name`` in a model. ``notes`` say what the reader
    decided; ``damage`` are those notes that say what could not be listed. ``skipped`` are the rows
    that could not be read and why, once they were read.
    """

    shown: str
    name: str
    classes: tuple[str, ...]
    labels: Labels
    preprocess: Preprocess
    options: ReadOptions = field(default_factory=ReadOptions)
    items: Items | None = None
    pixels: Any = None
    called: Sequence[str] | None = None
    lines: Sequence[int] | None = None
    groups: Labels | None = None
    notes: tuple[str, ...] = ()
    damage: tuple[str, ...] = ()
    skipped: list[tuple[int, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.labels)

    def blocks(self) -> Iterator[tuple[Labels, Pixels]]:
        """Row numbers (k,) and images (k, size, size, 3), in order, of all that can be read."""
        if self.items is not None:
            yield from self._decoded()
            return
        for start in range(0, len(self), BLOCK):
            stop = min(start + BLOCK, len(self))
            yield np.arange(start, stop), self.pixels[start:stop]

    def names(self) -> Sequence[str] | None:
        """What each row is called; None where it has no name."""
        if self.called is not None or self.items is None:
            return self.called
        return self.items.names

    def path(self, row: int) -> str:
        """The image of a row, as it is decoded: a path, or a member of an archive."""
        assert self.items is not None
        item: str = self.items[row]
        return item

    def select(self, rows: Labels) -> Listing:
        """Only these rows, in their order."""
        return replace(
            self,
            labels=self.labels[rows],
            items=None if self.items is None else self.items.take(rows),
            pixels=None if self.pixels is None else IndexedImages(self.pixels, rows),
            called=None if self.called is None else _taken(self.called, rows),
            lines=None if self.lines is None else _taken(self.lines, rows),
            groups=None if self.groups is None else self.groups[rows],
            skipped=[],
        )

    def with_options(self, **changes: Any) -> Listing:
        """The same, read otherwise."""
        return replace(self, options=replace(self.options, **changes), skipped=[])

    def label_of(self, row: int) -> str:
        """The name of a row, and its line in a table."""
        where = f"line {self.lines[row]}: " if self.lines else ""
        return where + printable((self.names() or ())[row])

    def left_out(self) -> str:
        """Which images were skipped and why, the first ten by name; empty if none were."""
        if not self.skipped:
            return ""
        return f"left out {counted(len(self.skipped), 'unreadable image')}: {self._reasons()}"

    def _decoded(self) -> Iterator[tuple[Labels, Pixels]]:
        from catclf.images.pool import decode_all

        options, rows, images = self.options, list[int](), list[Pixels]()
        items = self.items or ()
        decoded = decode_all(items, self.preprocess, options.limits, options.workers)
        self.skipped.clear()
        for row, (_, result) in enumerate(decoded):
            if isinstance(result, Exception):
                self.skipped.append((row, str(result)))
                if len(self.skipped) >= LISTED:
                    self._require_readable(row + 1)
            else:
                rows.append(row)
                images.append(result)
            if len(rows) == BLOCK:
                yield np.array(rows), np.stack(images)
                rows, images = [], []
            if options.on_progress:
                options.on_progress(row + 1, len(self))
        if rows:
            yield np.array(rows), np.stack(images)
        self._require_readable(len(self) if len(self) > 1 else 0)
        if options.every_class:
            self._require_every_class()

    def _reasons(self) -> str:
        """The first skipped rows by reason, each said once."""
        of: dict[str, list[str]] = {}
        for row, why in self.skipped[:LISTED]:
            of.setdefault(why, []).append(self.label_of(row))
        said = [f"{', '.join(n[:3])}{', …' if len(n) > 3 else ''} ({why})" for why, n in of.items()]
        return "; ".join(said) + (", …" if len(self.skipped) > LISTED else "")

    def _require_readable(self, seen: int) -> None:
        """Raise DataError for skipped rows, unless they may be; ``seen`` rows were tried."""
        count = len(self.skipped)
        if not count or self.options.skip_bad:
            return
        least = "at least " if count >= LISTED else ""
        cure = "" if count == seen else ": mend them, or leave them out with `skip_bad`"
        raise DataError(
            f"{self.shown}: {least}{counted(count, 'image')} cannot be read: "
            f"{self._reasons()}{cure}"
        )

    def _require_every_class(self) -> None:
        why = dict(self.skipped)
        for index, name in enumerate(self.classes):
            rows = np.flatnonzero(self.labels == index).tolist()
            if rows and why.keys() >= set(rows):
                raise DataError(
                    f"{self.shown}: no image of class {printable(name)} can be read: "
                    f"{self.label_of(rows[0])}: {why[rows[0]]}"
                )


@dataclass
class Source:
    """The splits of what is at a path, found once; each is listed when it is asked for.

    ``parts`` has None alone for what is not divided. ``lenient``: a source with one split gives it
    whatever is asked for. ``notes`` and ``damage`` are those of all splits.
    """

    shown: str
    options: ReadOptions
    parts: Mapping[Split | None, Callable[[ReadOptions], Listing]]
    lenient: bool = False
    notes: tuple[str, ...] = ()
    damage: tuple[str, ...] = ()

    @property
    def splits(self) -> set[Split]:
        """The splits that can be asked for; validation is the test split if there is no other."""
        held = {split for split in SPLITS if split in self.parts}
        if "validation" in held and "test" not in held:
            held = (held - {"validation"}) | {"test"}
        return held

    def noted(self, note: str) -> Source:
        """The same, with one more note on all splits."""
        return replace(self, notes=(note, *self.notes))

    def split(self, wanted: Split = "train", options: ReadOptions | None = None) -> Listing:
        """The rows of one split, or all where there are none. Raises DataError."""
        notes = tuple[str, ...]()
        name: Split | None = wanted if wanted in self.parts or None not in self.parts else None
        if name not in self.parts:
            if name == "test" and "validation" in self.parts:
                name = "validation"
                notes = ("its validation split is taken as its test split: there is no other",)
            elif self.lenient and len(self.parts) == 1:
                (name,) = self.parts
            else:
                held = " and ".join(each for each in SPLITS if each in self.parts)
                raise DataError(f"{self.shown}: has no {wanted} split, but {held}")
        listing = self.parts[name](options or self.options)
        return replace(
            listing,
            notes=(*self.notes, *listing.notes, *notes),
            damage=(*self.damage, *listing.damage),
        )


class Row(NamedTuple):
    """An image of a reader, and as text what the source says of it.

    ``split`` and ``group`` are empty where nothing is said; ``line`` is its line in a table.
    """

    file: str
    text: str
    split: str = ""
    group: str = ""
    line: int = 0


@dataclass
class Samples:
    """What a reader lists: rows, whose labels are texts.

    ``classes`` are known where the source lists them. ``damage`` are notes on what could not be
    listed.
    """

    shown: str
    name: str
    classes: tuple[str, ...] = ()
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)

    def source(
        self, options: ReadOptions, items: Items, folders: Sequence[str] | None = None
    ) -> Source:
        """The splits of the rows; the first ``folders`` of names are splits if no others are said.

        Raises DataError.
        """
        said = [row.split for row in self.rows]
        if folders is not None and not any(said):
            outer = [name.partition("/")[0] if "/" in name else "" for name in folders]
            said = outer if len(set(outer)) > 1 and all(map(split_named, set(outer))) else said
        kinds = self._kinds(said)

        def part(wanted: Split | None, options: ReadOptions) -> Listing:
            notes, numbers = [*self.notes], np.arange(len(self.rows))
            if kinds is not None and len(set(kinds)) > 1:
                numbers = np.flatnonzero(np.array(kinds) == wanted)
                notes.append(f"its splits are honoured: {counted(len(numbers), 'row')} of {wanted}")
            rows = _taken(self.rows, numbers)
            every = {row.text for row in self.rows}
            named = from_texts([row.text for row in rows], self.shown, every, self.classes)
            return listing_of_items(
                self.shown,
                self.name,
                named.classes,
                named.labels,
                items.take(numbers),
                options,
                lines=[row.line for row in rows] if any(row.line for row in rows) else None,
                groups=numbered([row.group for row in rows]),
                notes=(*notes, *named.notes, *self.damage),
            )

        held: Any = set(kinds or ()) - {"other"}
        parts: dict[Any, Any] = {kind: partial(part, kind) for kind in held or (None,)}
        return Source(self.shown, options, parts, lenient=True, damage=(*self.damage,))

    def _kinds(self, said: Sequence[str]) -> list[str] | None:
        """The split of each row, if the source tells it of every row. Raises DataError."""
        known = {text: split_named(text) for text in set(said)}
        others = [printable(text) for text in sorted(known) if known[text] is None]
        if known and not others:
            return [str(known[text]) for text in said]
        listed = ", ".join(f"'{text}'" for text in others[:5])
        if "test" in known.values():
            raise DataError(
                f"{self.shown}: its column of splits holds {listed} beside train and test: write "
                "train, validation or test in each row"
            )
        if any(others):
            self.notes.append(f"the splits of its rows are not all known ({listed}): all are used")
        return None


def listing_of_items(
    shown: str,
    name: str,
    classes: tuple[str, ...],
    labels: Labels,
    items: Items,
    options: ReadOptions,
    **rest: Any,
) -> Listing:
    """Images that are decoded, with the size that they are brought to: that wanted, or the default.

    A default above SMALL is for images with more pixels than that: for those whose shorter side
    has, in the median of some.
    """
    size = options.size or options.default_size
    if not options.size and size > SMALL:
        from catclf.images.decode import dimensions

        sides = []
        for path in items.some():
            with suppress(ImageError, OSError):  # decoding says what is wrong with a file
                sides.append(min(dimensions(path)))
        size = size if sides and np.median(sides) > SMALL else SMALL
    preprocess = Preprocess(size, options.fit or "squash")
    return Listing(
        shown, name, classes or options.classes, labels, preprocess, options, items, **rest
    )


def _taken(values: Sequence[Any], rows: Labels) -> list[Any]:
    return [values[row] for row in rows.tolist()]


class DecodedImages(Rows):
    """Images of files whose pixels are not kept: decoded in the calling thread when sliced.

    Photographs of 224 pixels take 150 kB each, so that a few thousand would fill the memory.
    ``encoder`` is what made ``rows`` float32 (m, n) of them as they were read first, or None.
    ``digests`` were made then, too.
    """

    def __init__(
        self,
        listing: Listing,
        numbers: Labels,
        encoder: BlockEncoder | None,
        rows: NDArray[np.float32] | None,
        digests: Digests,
    ) -> None:
        self._listing, self._numbers = listing, numbers
        self.encoder, self.rows, self.digests = encoder, rows, digests
        size = listing.preprocess.size
        self.shape = (len(numbers), size, size, 3)

    def read_into(self, start: int, out: Pixels) -> None:
        """Raises DataError for a file that can no longer be read."""
        from catclf.images.pool import decode_one

        listing = self._listing
        for image, number in zip(out, self._numbers[start : start + len(out)], strict=True):
            item, limits = listing.path(int(number)), listing.options.limits
            found = decode_one(item, listing.preprocess, limits)[1]
            if isinstance(found, Exception):
                name = listing.label_of(int(number))
                raise DataError(f"{name}: can no longer be read: {found}") from found
            image[...] = found


def encode_files(listing: Listing, encoder: BlockEncoder | None) -> tuple[Labels, Any]:
    """The rows of the files that can be read, and their images with their features."""
    digester = Digester(near=len(listing) <= NEAR_LIMIT)
    numbers: list[Labels] = [np.empty(0, np.int64)]

    def blocks() -> Iterator[Pixels]:
        for rows, block in listing.blocks():
            numbers.append(rows)
            digester.add(block)
            yield block

    rows = None
    if encoder is None:
        for _ in blocks():
            pass
    else:
        rows = np.concatenate(list(encoder.encode_blocks(blocks())))
    read = np.concatenate(numbers)
    return read, DecodedImages(listing, read, encoder, rows, digester.result())


def to_dataset(listing: Listing) -> Dataset:
    """Two classes from however many, and all images: in memory, or as the source keeps them."""
    positive, note = choose_positive(listing, listing.options.positive)
    index = listing.classes.index(positive) if listing.classes else 1
    rows, images = _gather(listing)
    names = listing.names()
    kept = names if names is None or len(rows) == len(names) else [names[row] for row in rows]
    notes = [*listing.notes, *([note] if note else [])]
    if listing.skipped:
        notes.append(listing.left_out())
    if listing.items is not None and isinstance(images, np.ndarray):
        low, high = extremes(images, np.arange(len(images)))
        if len(plain := np.flatnonzero(low == high)):
            what = f"{counted(len(plain), 'image')} of {len(images)} show one tone alone"
            notes.append(f"{what}, the first {printable((kept or [])[plain[0]])}")
    return Dataset(
        images=images,
        Y=(listing.labels[rows] == index).astype(np.float64).reshape(1, -1),
        classes=two_classes(listing.classes, positive),
        source=listing.name,
        preprocess=listing.preprocess,
        names=None if kept is None else tuple(kept),
        notes=tuple(f"{listing.shown}: {text}" for text in notes),
        groups=None if listing.groups is None else listing.groups[rows],
    )


def _gather(listing: Listing) -> tuple[Labels, Any]:
    """All rows that can be read and their images; decoded blocks go straight to their place."""
    m, size = len(listing), listing.preprocess.size
    if listing.items is None:
        return np.arange(m), listing.pixels
    if listing.options.encoder is not None:
        return encode_files(listing, listing.options.encoder(size))
    require_memory(m * size * size * 3, f"{listing.shown}: {counted(m, 'image')} of {size}x{size}")
    images = np.empty((m, size, size, 3), dtype=np.uint8)
    rows = np.empty(m, dtype=np.int64)
    count = 0
    for numbers, block in listing.blocks():
        rows[count : count + len(numbers)] = numbers
        images[count : count + len(numbers)] = block
        count += len(numbers)
    return rows[:count], images[:count]


def choose_positive(listing: Listing, wanted: str | None) -> tuple[str, str]:
    """The name of the positive class, and a note where the choice should be known.

    ``wanted``, else cat where there is one (in any case, or as cats), else, of two, the one that
    the other negates (dog and non-dog) or the second. Raises DataError when it is not among them
    or must be given.
    """
    classes = listing.classes
    if not classes:
        name = wanted or CAT
        return name, (
            f"labels have no names: label 1 is taken as {printable(name)} "
            "(`classes=dog,cat` names 0 and 1)"
        )
    meant, many = match(wanted or CAT, classes), len(classes) > 2
    shown = ", ".join(printable(name) for name in classes[:20])
    if meant is None and wanted is not None:
        raise DataError(
            f"{listing.shown}: no class is named {printable(wanted)}: choose from {shown}"
        )
    if meant is None and many:
        raise DataError(f"{listing.shown}: say which class to find with `positive`: {shown}")
    keys = [negated(name) for name in classes]
    positive = meant or next((name for name in classes if key(name) in keys), classes[1])
    if many:
        return positive, _of_many(positive, classes)
    if meant is None:
        return positive, f"{printable(positive)} is the positive class (`positive` chooses another)"
    other = wanted not in (None, meant)
    return positive, f"{printable(positive)} is the class that is meant" if other else ""


def _of_many(positive: str, classes: tuple[str, ...]) -> str:
    others = [printable(name) for name in classes if name != positive]
    listed = ", ".join(others[:LISTED]) + (", …" if len(others) > LISTED else "")
    return f"{printable(positive)} is positive, the other {len(others)} classes are not: {listed}"


def two_classes(classes: tuple[str, ...], positive: str) -> tuple[str, str]:
    """The names of labels 0 and 1."""
    others = [name for name in classes if name != positive]
    return (others[0] if len(others) == 1 else f"non-{positive}"), positive
