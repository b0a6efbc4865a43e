"""Digests of images: which are equal or nearly so, groups of them, and a data set's fingerprint.

Equal images have equal digests. Near-duplicates (re-encoded, resized, brightened) have perceptual
hashes that differ in few bits and grey thumbnails of nearly equal levels. Images are read once, in
blocks; 16 bytes of each are kept, and 264 more where near-duplicates are wanted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from catclf.maths import Floats, Pixels
from catclf.maths.threads import blas_threads
from catclf.samples import Images
from catclf.text import counted

Exact = NDArray[np.bytes_]  # S16 (m,)
Hashes = NDArray[np.uint64]
Indices = NDArray[np.int64]

DISTANCE = 4  # bits of 64 in which the hashes of near-duplicates may differ
LEVELS = 8.0  # mean difference of their 16x16 grey thumbnails, of 255
EMPTY_STD = 3.0  # grey levels: an image whose pixels differ less shows nothing
NEAR_LIMIT = 1_000_000  # images; of more only equal ones are looked for
KEPT = 65_536  # digests of training images that a model keeps, 8 bytes each
_BLOCK_BYTES = 1 << 22
_BANDS = ((0, 13), (13, 13), (26, 13), (39, 13), (52, 12))  # first bit and width
_LARGEST_GROUP = 2000
_COMPARED = 8192  # pairs of thumbnails compared at a time


class Digests(NamedTuple):
    """Measures of m images.

    ``exact`` S16 (m,) are the first 16 bytes of the SHA-256 of each image's pixels. ``hashes``
    uint64 (m,) and ``small`` uint8 (m, 16, 16) find near-duplicates; both are empty where those
    were not asked for.
    """

    exact: Exact
    hashes: Hashes
    small: Pixels

    @property
    def near(self) -> bool:
        """Whether near-duplicates can be found."""
        return len(self.hashes) == len(self.exact)

    def take(self, rows: Indices) -> Digests:
        """The digests of some of the images."""
        near = rows if self.near else rows[:0]
        return Digests(self.exact[rows], self.hashes[near], self.small[near])


class Digester:
    """Digests of images that pass one after the other, with those of ``near`` or without."""

    def __init__(self, near: bool = False) -> None:
        self._near = near
        self._exact: list[bytes] = []
        self._hashes = [np.zeros(0, np.uint64)]
        self._small = [np.zeros((0, 16, 16), np.uint8)]

    def __len__(self) -> int:
        return len(self._exact)

    def add(self, images: NDArray[Any]) -> None:
        """Measure the next images, uint8 (k, s, s, 3), or rows of numbers (k, n)."""
        rows = np.ascontiguousarray(images).reshape(len(images), -1)
        self._exact += [hashlib.sha256(row.data).digest()[:16] for row in rows]
        if self._near:
            with blas_threads(1):  # the products are small: waking threads takes ten times as long
                hashes, small = near_measures(images)
            self._hashes.append(hashes)
            self._small.append(small)

    def result(self) -> Digests:
        """The digests of all images that have passed."""
        exact = np.array(self._exact, dtype="S16")
        return Digests(exact, np.concatenate(self._hashes), np.concatenate(self._small))


def digests_of(images: Images, near: bool = False) -> Digests:
    """The digests of images uint8 (m, s, s, 3), in memory or on disk, or of rows (m, n).

    Images are read in blocks. Rows of numbers have no near-duplicates.
    """
    pixels = images.dtype == np.uint8 and len(images.shape) == 4
    digester = Digester(near and pixels and len(images) <= NEAR_LIMIT)
    each = max(1, int(np.prod(images.shape[1:])) * images.dtype.itemsize)
    count = max(1, _BLOCK_BYTES // each)
    for start in range(0, len(images), count):
        digester.add(images[start : start + count])
    return digester.result()


def fingerprint(exact: Exact, labels: NDArray[Any], size: int, classes: Sequence[str]) -> str:
    """SHA-256 of images (their digests), labels 0 and 1 (m,), size and class names."""
    digest = hashlib.sha256(repr((len(exact), size, tuple(classes))).encode())
    digest.update(exact.tobytes())
    digest.update(labels.astype(np.uint8).tobytes())
    return digest.hexdigest()


def kept_digests(exact: Exact) -> NDArray[np.uint64]:
    """What a model keeps of its training images: 8 bytes each, ascending, evenly spaced KEPT."""
    short = np.unique(_short(exact))
    if len(short) > KEPT:
        short = short[np.arange(KEPT) * len(short) // KEPT]
    return short


def count_kept(exact: Exact, kept: NDArray[np.uint64]) -> int:
    """How many images have a digest that a model keeps."""
    return int(np.isin(_short(exact), kept).sum())


def count_shared(exact: Exact, others: Exact) -> int:
    """How many images are among others, pixel by pixel."""
    return int(np.isin(exact, others).sum())


def contradictions(exact: Exact, labels: NDArray[Any]) -> int:
    """How many images are there with other labels (m,), too, pixel by pixel."""
    _, inverse = np.unique(exact, return_inverse=True)
    low, high = np.full(len(exact), np.inf), np.full(len(exact), -np.inf)
    np.minimum.at(low, inverse, labels)
    np.maximum.at(high, inverse, labels)
    return int((low < high)[inverse].sum())


def _short(exact: Exact) -> NDArray[np.uint64]:
    return np.ascontiguousarray(exact).view("<u8")[::2].astype(np.uint64)


def near_measures(images: Pixels) -> tuple[Hashes, Pixels]:
    """Perceptual hashes uint64 (k,) and grey thumbnails uint8 (k, 16, 16) of images.

    The hash is 64 bits, nearly the same when an image is re-encoded, resized or brightened: the
    8x8 lowest frequencies of the discrete cosine transform of the 32x32 grey image, each compared
    with their median without the mean (pHash: Zauner, "Implementation and Benchmarking of
    Perceptual Image Hash Functions", 2010, section 3.2.1).
    """
    rgb = images[..., 0].astype(np.float32)
    rgb += images[..., 1]
    rgb += images[..., 2]
    C = _cosines(8, 32)
    low = (C @ grey(rgb, 32) @ C.T).reshape(len(images), 64)
    bits = low > np.median(low[:, 1:], axis=1, keepdims=True)
    bits[:, 0] = False  # the mean is brightness, not content
    hashes = np.packbits(bits, axis=1).view(">u8").astype(np.uint64).reshape(-1)
    return hashes, np.rint(grey(rgb, 16)).astype(np.uint8)


def grey(rgb: NDArray[np.float32], size: int) -> Floats:
    """Grey images float64 (k, size, size): means over areas, of sums of channels (k, s, s).

    Images smaller than ``size`` are enlarged by repeating pixels.
    """
    s = rgb.shape[1]
    if s < size:
        nearest = np.arange(size) * s // size
        return np.asarray(rgb[:, nearest][:, :, nearest].astype(np.float64) / 3.0)
    A = _areas(size, s)
    counts = A.sum(axis=1, dtype=np.float64)
    sums = A @ rgb @ A.T  # integers below 2^24: exact in float32
    return np.asarray(sums / (3.0 * counts[:, None] * counts))


def near_groups(hashes: Hashes, small: Pixels) -> Indices:
    """The group of each image, named by its first member, where near-duplicates are joined.

    Two images are near if their hashes differ in at most DISTANCE bits and their thumbnails by
    under LEVELS. If at most 4 bits of 64 differ, one of five bands of bits is equal, so only images
    that share a band are compared, each with the next, the one after, …, while they are in two
    groups. A band shared by very many (plain skies, white borders) is narrowed by the whole hash,
    so that the work stays near linear; of such crowds only those of nearest hashes are compared.
    """
    groups = np.arange(len(hashes))
    means = small.mean(axis=(1, 2)) if len(small) else np.zeros(0)
    for first, width in _BANDS:
        keys = hashes & np.uint64(((1 << width) - 1) << (64 - first - width))
        order = np.lexsort((hashes, keys))
        keys = keys[order]
        next_to = keys[1:] == keys[:-1]
        for step in range(1, min(len(order), _LARGEST_GROUP)):
            same = np.flatnonzero(keys[step:] == keys[:-step])
            i, j = order[same], order[same + step]
            apart = groups[i] != groups[j]
            if not apart.any():
                of = groups[order]
                if not len(same) or (of[1:][next_to] == of[:-1][next_to]).all():
                    break  # all images of each band are in one group
            i, j = i[apart], j[apart]
            close = np.bitwise_count(hashes[i] ^ hashes[j]) <= DISTANCE
            close &= np.abs(means[i] - means[j]) < LEVELS  # no more than the mean difference
            i, j = i[close], j[close]
            for start in range(0, len(i), _COMPARED):
                a, b = i[start : start + _COMPARED], j[start : start + _COMPARED]
                levels = np.abs(small[a].astype(np.int16) - small[b]).mean(axis=(1, 2))
                groups = joined(groups, a[levels < LEVELS], b[levels < LEVELS])
    return groups


def joined(groups: Indices, i: Indices, j: Indices) -> Indices:
    """Groups (m,), named by their first members, where the items i and j (k,) are joined.

    Of groups that pairs join, each takes the lowest name beside it, until none is left.
    """
    while (apart := groups[i] != groups[j]).any():
        i, j = i[apart], j[apart]
        names = np.arange(len(groups))
        low, high = np.minimum(groups[i], groups[j]), np.maximum(groups[i], groups[j])
        np.minimum.at(names, high, low)
        while (names[names] != names).any():
            names = names[names]
        groups = names[groups]
    return groups


@dataclass(frozen=True)
class Grouping:
    """Which images must stay on one side of a division.

    ``groups`` int64 (m,) is the same number for images that stay together; ``notes`` are lines to
    tell of it, none where each image is a group of its own.
    """

    groups: Indices
    notes: tuple[str, ...] = ()


def grouping(
    digests: Digests,
    labels: NDArray[Any],
    folds: int = 5,
    given: Indices | None = None,
    telling: NDArray[np.bool_] | None = None,
) -> Grouping:
    """Groups of equal images, near-duplicates, and equal values of ``given``.

    ``labels`` (m,) are class numbers; a negative number in ``given`` (m,) groups nothing.
    Near-duplicates are joined over chains. A chain that holds more than 1/(2 folds) of a class is
    taken apart again, to equal images and ``given``; one whose members all resemble its middle is
    no chain, and stays up to 1/folds. Images that show nothing, and those not ``telling`` (m,), are
    only equal or not.
    """
    m = len(digests.exact)
    first, inverse = np.unique(digests.exact, return_index=True, return_inverse=True)[1:]
    strict, notes = first[inverse], list[str]()
    if given is not None:
        of_one = np.flatnonzero(given >= 0)
        begins, place = np.unique(given[of_one], return_index=True, return_inverse=True)[1:]
        strict = joined(strict, of_one, of_one[begins[place]])
    groups = strict
    if digests.near:
        shows = digests.small.std(axis=(1, 2)) >= EMPTY_STD
        alone = np.sort(first[shows[first] if telling is None else (shows & telling)[first]])
        groups, largest = _with_near(digests, alone, labels, folds, strict)
        if largest:
            notes.append(
                f"up to {largest} similar images are linked one to the next, too many to keep "
                "together: of these only equal ones stay together (a column `group` keeps more)"
            )
    elif m > NEAR_LIMIT:
        notes.append(f"of more than {NEAR_LIMIT:,} images only equal ones are kept together")
    sizes = np.bincount(groups)
    if (several := sizes[sizes > 1]).size:
        kinds = "equal or similar" if digests.near else "equal"
        kinds += ", or of one `group`" if given is not None else ""
        verb = "holds" if len(several) == 1 else "hold"
        notes.insert(
            0,
            f"{counted(len(several), 'group')} {verb} {several.sum()} of {m} images that are "
            f"{kinds}: each group stays together, on one side of a division",
        )
    return Grouping(groups, tuple(notes))


def group_weights(groups: Indices) -> Floats:
    """1 / the size of its group for each image, (m,): each group then counts as one image."""
    return np.asarray(1.0 / np.bincount(groups)[groups])


def _with_near(
    digests: Digests, alone: Indices, labels: NDArray[Any], folds: int, strict: Indices
) -> tuple[Indices, int]:
    """Groups where near-duplicates join ``strict`` ones, and the size of the largest taken apart.

    ``alone`` are the images that are compared: of equal ones the first.
    """
    near = near_groups(digests.hashes[alone], digests.small[alone])
    groups, largest = joined(strict, alone, alone[near]), 0
    too_large = set(_oversized(groups, labels, folds))
    for root in _oversized(groups, labels, 2 * folds):
        members = np.flatnonzero(groups == root)
        if len(np.unique(strict[members])) == 1:
            continue
        compared = digests.take(np.intersect1d(members, alone))
        if root in too_large or not _around_one(compared):
            largest = max(largest, len(members))
            groups[members] = strict[members]
    return groups, largest


def _oversized(groups: Indices, labels: NDArray[Any], parts: int) -> list[int]:
    """The groups that hold more than 1/parts of a class, and more than one image of it."""
    found: set[int] = set()
    for label in np.unique(labels):
        sizes = np.bincount(groups[labels == label])
        found |= set(np.flatnonzero(sizes > max(1.0, np.sum(labels == label) / parts)).tolist())
    return sorted(found)


def _around_one(digests: Digests) -> bool:
    """Whether all images are near-duplicates of their middle: of most bits, and mean levels."""
    bits = np.unpackbits(digests.hashes[:, None].view(np.uint8), axis=1)
    middle = 2 * bits.sum(axis=0) > len(bits)
    levels = np.abs(digests.small - digests.small.mean(axis=0)).mean(axis=(1, 2))
    return bool(((bits != middle).sum(axis=1) <= DISTANCE).all() and (levels < LEVELS).all())


@lru_cache
def _areas(size: int, s: int) -> NDArray[np.float32]:
    """1 where pixel j of ``s`` lies in area i of ``size``: (size, s)."""
    areas = np.arange(size)[:, None]
    j = np.arange(s)
    return ((areas * s // size <= j) & (j < (areas + 1) * s // size)).astype(np.float32)


@lru_cache
def _cosines(rows: int, size: int) -> Floats:
    """The first rows of the DCT-II matrix, without its scale."""
    k, i = np.arange(rows)[:, None], np.arange(size)[None]
    return np.asarray(np.cos(np.pi * k * (2 * i + 1) / (2 * size)))
