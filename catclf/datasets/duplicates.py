"""Images that are the same, or nearly: hashes, and the pairs of them, without comparing all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from catclf.maths import Floats, Pixels

Hashes = NDArray[np.uint64]
Pair = tuple[int, int]
Indices = NDArray[np.int64]

DISTANCE = 4  # bits of 64 in which the hashes of near-duplicates may differ
LEVELS = 8.0  # mean difference of their 16x16 grey thumbnails, of 255
_BANDS = ((0, 13), (13, 13), (26, 13), (39, 13), (52, 12))  # first bit and width
_LARGEST_GROUP = 2000
_COMPARED = 8192  # pairs of thumbnails compared at a time


def grey(images: Pixels, size: int) -> Floats:
    """Grey images float64 (k, size, size): means over areas of uint8 images (k, s, s, 3).

    Images smaller than ``size`` are enlarged by repeating pixels.
    """
    s = images.shape[1]
    if s < size:
        nearest = np.arange(size) * s // size
        return np.asarray(images[:, nearest][:, :, nearest].mean(axis=3))
    A = _areas(size, s)
    counts = A.sum(axis=1, dtype=np.float64)
    rgb = images[..., 0].astype(np.float32)
    rgb += images[..., 1]
    rgb += images[..., 2]
    sums = A @ rgb @ A.T  # integers below 2^24: exact in float32
    return np.asarray(sums / (3.0 * counts[:, None] * counts))


def perceptual_hashes(images: Pixels) -> Hashes:
    """64 bits for each image, nearly the same when it is re-encoded, resized or brightened.

    The 8x8 lowest frequencies of the discrete cosine transform of the 32x32 grey image, each
    compared with their median without the mean (pHash: Zauner, "Implementation and Benchmarking of
    Perceptual Image Hash Functions", 2010, section 3.2.1).
    """
    C = _cosines(8, 32)
    low = (C @ grey(images, 32) @ C.T).reshape(len(images), 64)
    bits = low > np.median(low[:, 1:], axis=1, keepdims=True)
    bits[:, 0] = False  # the mean is brightness, not content
    return np.packbits(bits, axis=1).view(">u8").astype(np.uint64).reshape(-1)


def thumbnails(images: Pixels) -> Pixels:
    """Grey 16x16 images uint8 (k, 16, 16), by which candidates are compared."""
    return np.rint(grey(images, 16)).astype(np.uint8)


def digests(images: Pixels) -> list[bytes]:
    """16 bytes for each image, equal for equal pixels."""
    rows = np.ascontiguousarray(images).reshape(len(images), -1)
    return [hashlib.blake2b(row.data, digest_size=16).digest() for row in rows]


def near_pairs(hashes: Hashes, small: Pixels) -> list[Pair]:
    """Pairs (i < j) that join near-duplicates into groups: fewer than there are images.

    Two images are near if their hashes differ in at most DISTANCE bits and their thumbnails by
    under LEVELS. Of the pairs in a group only those that join its members are given: a crowd of
    k frames has k - 1, not k²/2. If at most 4 bits of 64 differ, one of five bands of bits is
    equal, so only images that share a band are compared, and only while they are in two groups.
    """
    joined = _Groups(len(hashes))
    means = small.mean(axis=(1, 2)) if len(small) else np.zeros(0)
    pairs: list[Pair] = []
    masks = [np.uint64(((1 << width) - 1) << (64 - first - width)) for first, width in _BANDS]
    for mask in masks:
        for i, j in _sharing(hashes & mask, hashes, joined):
            close = np.bitwise_count(hashes[i] ^ hashes[j]) <= DISTANCE
            close &= np.abs(means[i] - means[j]) < LEVELS  # no more than the mean difference
            i, j = i[close], j[close]
            for start in range(0, len(i), _COMPARED):
                some = slice(start, start + _COMPARED)
                alike = _alike(small, i[some], j[some])
                pairs += joined.join(i[some][alike], j[some][alike])
    return sorted((min(pair), max(pair)) for pair in pairs)


def _alike(small: Pixels, i: Indices, j: Indices) -> NDArray[np.bool_]:
    difference = np.abs(small[i].astype(np.int16) - small[j])
    return np.asarray(difference.mean(axis=(1, 2)) < LEVELS)


class _Groups:
    """Disjoint sets: ``roots`` is the first member of each item's group, always up to date."""

    def __init__(self, count: int) -> None:
        self.roots: Indices = np.arange(count)

    def join(self, i: Indices, j: Indices) -> list[Pair]:
        """Join pairs; those that joined two groups.

        Only groups with pairs between them are looked at one by one, with path halving (Tarjan and
        van Leeuwen, J. ACM 31, 1984).
        """
        apart = self.roots[i] != self.roots[j]
        parent: dict[int, int] = {}

        def root(item: int) -> int:
            while (above := parent.get(item, item)) != item:
                parent[item] = parent.get(above, above)
                item = parent[item]
            return item

        joining = []
        for a, b in zip(i[apart].tolist(), j[apart].tolist(), strict=True):
            first, second = root(int(self.roots[a])), root(int(self.roots[b]))
            if first != second:
                parent[max(first, second)] = min(first, second)
                joining.append((a, b))
        if parent:
            new = np.arange(len(self.roots))
            for item in parent:
                new[item] = root(item)
            self.roots = new[self.roots]
        return joining


def groups(count: int, pairs: Iterable[Pair]) -> Indices:
    """The group of each of ``count`` items, named by its first member, where pairs join them."""
    joined = _Groups(count)
    both = np.array(list(pairs), dtype=np.int64).reshape(-1, 2)
    joined.join(both[:, 0], both[:, 1])
    return joined.roots


def _sharing(keys: Hashes, hashes: Hashes, joined: _Groups) -> Iterator[tuple[Indices, Indices]]:
    """Arrays of pairs with equal keys in two groups: each with the next, the one after, …

    A key shared by very many (plain skies, white borders) is narrowed by the whole hash, so that
    the work stays near linear; of such crowds only those of nearest hashes are compared.
    """
    order = np.lexsort((hashes, keys))
    ordered, roots = keys[order], joined.roots[order]
    for step in range(1, min(len(order), _LARGEST_GROUP)):
        same = ordered[step:] == ordered[:-step]
        if not same.any():
            return
        pairs = np.flatnonzero(same & (roots[step:] != roots[:-step]))
        if len(pairs):
            before = joined.roots
            yield order[pairs], order[pairs + step]
            if joined.roots is not before:
                roots = joined.roots[order]
        elif _settled(ordered, roots):
            return


def _settled(ordered: Hashes, roots: Indices) -> bool:
    """Whether all items of each key are in one group: then no further pair can join any."""
    neighbours = ordered[1:] == ordered[:-1]
    return bool((roots[1:][neighbours] == roots[:-1][neighbours]).all())


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
