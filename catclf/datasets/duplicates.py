"""Images that are the same, or nearly: hashes, and pairs found without comparing all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from catclf.maths import Floats, Pixels

Hashes = NDArray[np.uint64]
Pair = tuple[int, int]

DISTANCE = 4  # bits of 64 in which the hashes of near-duplicates may differ
LEVELS = 8.0  # mean difference of their 16x16 grey thumbnails, of 255
_BANDS = ((0, 13), (13, 13), (26, 13), (39, 13), (52, 12))  # first bit and width
_LARGEST_GROUP = 2000


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
    """Pairs (i < j) whose hashes differ in at most DISTANCE bits and thumbnails by under LEVELS.

    If at most 4 bits of 64 differ, one of five bands of bits is equal, so only images that share
    a band are compared: a few for each image, not all.
    """
    found: list[Pair] = []
    masks = [np.uint64(((1 << width) - 1) << (64 - first - width)) for first, width in _BANDS]
    for band, mask in enumerate(masks):
        for i, j in _sharing(hashes & mask, hashes):
            differing = hashes[i] ^ hashes[j]
            close = np.bitwise_count(differing) <= DISTANCE
            for earlier in masks[:band]:  # pairs that share an earlier band are found already
                close &= (differing & earlier) != 0
            i, j = i[close], j[close]
            difference = np.abs(small[i].astype(np.int16) - small[j]).mean(axis=(1, 2))
            alike = difference < LEVELS
            low, high = np.minimum(i, j)[alike], np.maximum(i, j)[alike]
            found.extend(zip(low.tolist(), high.tolist(), strict=True))
    return sorted(found)


def groups(count: int, pairs: Iterable[Pair]) -> NDArray[np.int64]:
    """The group of each of ``count`` items, named by its first member, where pairs belong together.

    Disjoint sets with path halving (Tarjan and van Leeuwen, J. ACM 31, 1984).
    """
    parent = np.arange(count)

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = int(parent[item])
        return item

    for i, j in pairs:
        a, b = root(i), root(j)
        parent[max(a, b)] = min(a, b)
    return np.array([root(item) for item in range(count)], dtype=np.int64)


def _sharing(keys: Hashes, hashes: Hashes) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Arrays of pairs with equal keys: in sorted order each with the next, the one after, …

    A key shared by very many (plain skies, white borders) is narrowed by the whole hash, so that
    the work stays near linear; of such crowds only those of nearest hashes are compared.
    """
    order = np.lexsort((hashes, keys))
    ordered = keys[order]
    for step in range(1, min(len(order), _LARGEST_GROUP)):
        same = np.flatnonzero(ordered[step:] == ordered[:-step])
        if not len(same):
            return
        yield order[same], order[same + step]


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
