"""What would spoil a result before training: duplicates, leaks, odd class balance, odd images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from math import sqrt

import numpy as np

from catclf.datasets.dataset import Dataset, Labels
from catclf.datasets.digests import (
    EMPTY_STD,
    Digester,
    Digests,
    Grouping,
    contradictions,
    count_shared,
    grouping,
    near_groups,
)
from catclf.datasets.listing import Listing, choose_positive
from catclf.datasets.names import CAT
from catclf.errors import ImageError
from catclf.images.archive import Member
from catclf.maths import Floats, Pixels
from catclf.maths.metrics import fractions_differ
from catclf.text import counted, printable

SCRAMBLED_CORRELATION = 0.6  # of neighbouring pixels; images have 0.9, scrambled ones under 0.4


@dataclass(frozen=True)
class Finding:
    """One problem: a stable word for scripts, and a line for people."""

    kind: str
    message: str


@dataclass(frozen=True)
class Part:
    """One part of a source and what was measured of its images, row by row of those readable."""

    label: str
    source: Listing
    rows: Labels
    digests: Digests
    correlation: float

    @property
    def std(self) -> Floats:
        """The deviation of each image's grey levels, (m,)."""
        return np.asarray(self.digests.small.std(axis=(1, 2)))

    @property
    def is_scrambled(self) -> bool:
        """Whether neighbouring pixels have little to do with each other."""
        return self.correlation < SCRAMBLED_CORRELATION

    @property
    def labels(self) -> Labels:
        """Class numbers of the readable rows."""
        return self.source.labels[self.rows]

    def image(self, index: int) -> str:
        """The name of a measured image, or its number where it has none."""
        row = int(self.rows[index])
        names = self.source.names()
        return self.called(printable(names[row]) if names else f"image {row}")

    def called(self, name: str) -> str:
        """A name of an image with that of its part, unless it begins with that of its archive."""
        items = self.source.items
        whole = items is not None and isinstance(next(iter(items.names), ""), Member)
        return name if whole else f"{self.label} {name}"

    def class_name(self, index: int) -> str:
        """The class of a measured image."""
        return printable(self.classes[int(self.labels[index])])

    def fraction(self, name: str) -> float:
        """The fraction of images of a class."""
        return float(np.mean(self.labels == self.classes.index(name)))

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; where the source has none, those that training gives to 0 and 1."""
        return self.source.classes or (f"non-{CAT}", CAT)


def measure(label: str, source: Listing) -> Part:
    """Read all images of a part once, in blocks, and keep a few hundred bytes of each."""
    rows, sums, digester = [np.zeros(0, np.int64)], np.zeros(6), Digester(near=True)
    for block_rows, images in source.blocks():
        rows.append(block_rows)
        digester.add(images)
        sums += _neighbour_sums(images)
    return Part(label, source, np.concatenate(rows), digester.result(), _correlation(sums))


def doubts(trained: Dataset, tested: Dataset | None, judging: Dataset | None) -> Iterator[str]:
    """What equal images say against the numbers of training, each as a line.

    ``tested`` and ``judging`` are the images that the model is tested and its step selected on.
    """
    exact = trained.digests().exact
    if twice := contradictions(exact, trained.Y[0]):
        yield (
            f"{printable(trained.source)}: {twice} of {trained.m} images are there with both "
            "labels, which no model can learn: catclf data verify lists them"
        )
    for data in (tested, judging):
        if data is not None and (shared := count_shared(data.digests().exact, exact)):
            verb = "is" if shared == 1 else "are"
            yield (
                f"{printable(data.source)}: {shared} of its {counted(data.m, 'image')} {verb} also "
                "trained on: right predictions there prove nothing (catclf data verify lists "
                "such images)"
            )


def findings(parts: Sequence[Part], smallest: int) -> Iterator[Finding]:
    """All problems within and across parts; ``smallest`` is the side wanted of image files."""
    for part in parts:
        for damage in part.source.damage:
            yield Finding("damaged", f"{part.label}: {damage}")
        for row, why in part.source.skipped:
            where = part.called(part.source.label_of(row))
            yield Finding("unreadable", f"{where}: {why}")
        yield from _too_small(part, smallest)
        for index in np.flatnonzero(part.std < EMPTY_STD).tolist():
            yield Finding("empty", f"constant or nearly empty image: {part.image(index)}")
        if part.is_scrambled:
            yield Finding(
                "scrambled",
                f"scrambled pixels: neighbours in {part.label} correlate {part.correlation:.2f}, "
                "in images about 0.9: was X made with reshape(-1, m) instead of reshape(m, -1).T?",
            )
    yield from _repeated(parts)
    yield from _balance(parts)


def duplicate_groups(part: Part, fraction: float) -> Grouping:
    """Which images of a part must stay together where ``fraction`` of it is held out."""
    telling = np.full(len(part.rows), not part.is_scrambled)
    folds = max(2, round(1 / max(min(fraction, 1 - fraction), 1e-3)))
    given = None if part.source.groups is None else part.source.groups[part.rows]
    return grouping(part.digests, part.labels, folds, given, telling)


def _repeated(parts: Sequence[Part]) -> Iterator[Finding]:
    """Equal images, then near-duplicates.

    Of equal images the first is compared with others; nearly empty ones, and those of a part whose
    pixels are scrambled, which all look alike, are only equal or not.
    """
    where = [(part, index) for part in parts for index in range(len(part.rows))]
    if not where:
        return
    columns = zip(*(part.digests for part in parts), strict=True)
    exact, hashes, small = (np.concatenate(each) for each in columns)
    first, inverse = np.unique(exact, return_index=True, return_inverse=True)[1:]
    telling = np.concatenate([(p.std >= EMPTY_STD) & (not p.is_scrambled) for p in parts])
    alone = np.sort(first[telling[first]])
    near = alone[near_groups(hashes[alone], small[alone])]
    for what, of, numbers in (
        ("same", first[inverse], np.arange(len(where))),
        ("similar", near, alone),
    ):
        members = defaultdict(list)
        for original, number in zip(of.tolist(), numbers.tolist(), strict=True):
            members[original].append(where[number])
        for group in sorted(members):
            if len(members[group]) > 1:
                yield _repeat(what, members[group])


def _repeat(what: str, members: list[tuple[Part, int]]) -> Finding:
    """Across parts it is a leak, with different labels a contradiction, else a repetition."""
    names = [part.image(index) for part, index in members]
    shown = " = ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    classes = sorted({part.class_name(index) for part, index in members})
    if len(classes) > 1:
        return Finding(
            f"{what}-image-other-label", f"{what} image, labels {', '.join(classes)}: {shown}"
        )
    across = len({id(part) for part, _ in members}) > 1
    kind = f"{what}-image-across-parts" if across else f"{what}-image"
    return Finding(kind, f"{what} image: {shown}")


def _balance(parts: Sequence[Part]) -> Iterator[Finding]:
    """Class balances of parts that differ by more than chance makes likely (two proportions).

    Of two classes the positive one is looked at.
    """
    for a, b in combinations([part for part in parts if len(part.rows)], 2):
        if set(a.classes) != set(b.classes):
            continue
        names = [choose_positive(a.source, None)[0]] if len(a.classes) == 2 else a.classes
        fractions = [(a.fraction(name), b.fraction(name), name) for name in names]
        p, q, name = max(fractions, key=lambda each: abs(each[0] - each[1]))
        if fractions_differ(p, len(a.rows), q, len(b.rows)):
            yield Finding(
                "class-shares",
                f"the class balance differs: {printable(name)} is {100 * p:.1f} % of {a.label} and "
                f"{100 * q:.1f} % of {b.label}",
            )


def _too_small(part: Part, smallest: int) -> Iterator[Finding]:
    """Files of less than half the size wanted: enlarging adds no detail."""
    from catclf.images.decode import dimensions

    source = part.source
    if source.items is None:
        return
    for index, row in enumerate(part.rows.tolist()):
        width, height = smallest, smallest
        with suppress(ImageError):  # a remote row is gone from this machine
            width, height = dimensions(source.path(row))
        if 2 * min(width, height) < smallest:
            yield Finding("small", f"small image: {part.image(index)} has {width}x{height} pixels")


def _neighbour_sums(images: Pixels) -> Floats:
    """Σ1, Σx, Σy, Σx², Σy², Σxy over the green values of neighbours right and below."""
    sums = np.zeros(6)
    green = images[..., 1].astype(np.float64)
    pairs = ((green[:, :, :-1], green[:, :, 1:]), (green[:, :-1], green[:, 1:]))
    for x, y in pairs:
        xx, yy, xy = np.vdot(x, x), np.vdot(y, y), np.vdot(x, y)
        sums += np.array([x.size, x.sum(), y.sum(), xx, yy, xy])
    return sums


def _correlation(sums: Floats) -> float:
    """Pearson's r; 1 for images whose pixels are all equal, which are reported as empty."""
    count, x, y, xx, yy, xy = sums.tolist()
    variance = (xx - x * x / count) * (yy - y * y / count) if count else 0.0
    return (xy - x * y / count) / sqrt(variance) if variance > 0 else 1.0
