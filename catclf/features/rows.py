"""Rows of features of a whole data set: made once, kept in a file, standardized for training."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from catclf import samples
from catclf.errors import DataError, OutputError
from catclf.features.base import Features, Phase, Rows, class_of, learn, silent
from catclf.machine import cores, require_memory
from catclf.maths import Floats
from catclf.maths.threads import Team, blas_threads, part_length, tree_sum
from catclf.samples import Images, Labelled, cut, take
from catclf.storage.local import open_regular
from catclf.storage.location import replacing
from catclf.text import counted, printable, reason

if TYPE_CHECKING:
    from catclf.maths import Pixels

HEAD = 4096  # bytes of a cache before its rows
FORMAT, VERSION = "catclf-features", 1
SPREAD = 0.01  # added to deviations: numbers that hardly vary are not blown up
STATISTICS = 128  # rows summed at a time

Item = TypeVar("Item")
# The sum (n,) of all rows, or with a mean (n,) of their squared distances from it.
SumOf = Callable[[Floats | None], Floats]


class Sourced(Labelled, Protocol):
    """A labelled data set of images that knows where it came from."""

    @property
    def source(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...


class Keeper(Protocol):
    """What makes and keeps rows elsewhere, as ``catclf.cluster`` does."""

    def keep(
        self, data: Sourced, features: Features, key: str, phase: Phase
    ) -> tuple[Images, Standardizer]:
        """The rows of features of all images, standardized when they are used."""


@dataclass(frozen=True)
class Encoded:
    """Labelled rows, as problems take them: ``images`` float32 (m, n), standardized."""

    images: Images
    Y: Floats
    source: str
    fingerprint: str


@dataclass(frozen=True)
class Encoder:
    """Features that have been learned, and how their rows are standardized."""

    features: Features
    standard: Standardizer
    workers: int | None = None

    def encode(self, data: Sourced, phase: Phase | None = None) -> Encoded:
        """Other images in the same way, in memory."""
        rows = encode(self.features, data.images, self.workers, phase or silent)
        return Encoded(self.standard.apply(rows), data.Y, data.source, data.fingerprint)

    def sample(self, rows: Images, count: int, seed: int) -> Rows:
        """Up to ``count`` of the standardized rows (m, n), as features less their mean."""
        rng = np.random.default_rng((seed, 4))
        chosen = np.sort(rng.choice(len(rows), min(count, len(rows)), replace=False))
        sampled = getattr(rows, "sample", None)  # of rows that are elsewhere
        found = take(rows, chosen) if sampled is None else sampled(chosen)
        return np.asarray(found / self.standard.factor, np.float32)


def prepare(
    data: Sourced,
    kind: str,
    *,
    flip: bool = True,
    seed: int = 0,
    workers: int | None = None,
    cache: Path | None = None,
    keeper: Keeper | None = None,
    phase: Phase | None = None,
) -> tuple[Encoder, Encoded]:
    """Features learned from a data set, and its rows: in memory, in ``cache``, or at ``keeper``.

    Raises what ``learn`` and ``keeper`` raise, DataError, and OutputError for a cache that cannot
    be used.
    """
    images, phase = data.images, phase or silent
    features = learn(kind, images, seed, flip=flip, workers=workers, phase=phase)
    key, ready = key_of(features, data.fingerprint), images
    if keeper is not None:
        ready, standard = keeper.keep(data, features, key, phase)
    elif cache is None:
        rows = encode(features, images, workers, phase)
        standard = Standardizer.of(rows, features.damping)
        ready = standard.apply(rows)
    else:
        blocks = encoded(features, images, workers, phase)
        kept = cached(cache, key, (len(images), features.n), blocks)
        standard = kept.standard = Standardizer.of(kept, features.damping)
        ready = kept
    return Encoder(features, standard, workers), Encoded(ready, data.Y, data.source, key)


def prepare_folds(
    data: Sourced,
    kind: str,
    held: NDArray[np.bool_],
    *,
    flip: bool = True,
    seed: int = 0,
    workers: int | None = None,
    phase: Phase | None = None,
) -> Iterator[Encoded]:
    """The rows of all images for each division: learned and standardized without those held out.

    ``held`` (k, m) tells which images each of k divisions holds out. Raises as ``prepare`` does.
    """
    phase, learned = phase or silent, class_of(kind).learned
    rows = np.empty((0, 0), np.float32)
    for out in held:
        if learned or not len(rows):
            images = take(data.images, np.flatnonzero(~out))
            features = learn(kind, images, seed, flip=flip, workers=workers, phase=phase)
            rows = encode(features, data.images, workers, phase)
        standard = Standardizer.of(rows[~out], features.damping)
        yield Encoded(standard.apply(rows if learned else rows.copy()), data.Y, data.source, "")


def encode(
    features: Features, images: Images, workers: int | None = None, phase: Phase = silent
) -> Rows:
    """Rows (m, n) of all images, in memory. Raises DataError where that is too small."""
    m, start = len(images), 0
    what = f"the features of {counted(m, 'image')}, unless a cache keeps them,"
    require_memory(4 * m * features.n, what)
    rows = np.empty((m, features.n), dtype=np.float32)
    for block in encoded(features, images, workers, phase):
        rows[start : start + len(block)] = block
        start += len(block)
    return rows


def encoded(
    features: Features, images: Images, workers: int | None = None, phase: Phase = silent
) -> Iterator[Rows]:
    """Blocks of rows in order, a few of them ahead; the same for any number of workers."""
    m, done, made = len(images), 0, None
    encoder = getattr(images, "encoder", None)
    if isinstance(encoder, StreamEncoder) and key_of(encoder.features, "") == key_of(features, ""):
        made = images.rows  # type: ignore[attr-defined]  # has rows where it has an encoder

    def of_block(rows: slice) -> Rows:
        return features.transform(np.asarray(images[rows])) if made is None else made[rows]

    blocks = list(cut(slice(0, m), features.block))
    few = len(blocks) == 1 or made is not None
    with phase("encoding images") as on_progress:
        for block in _in_order(of_block, blocks, 1 if few else workers):
            done += len(block)
            on_progress(done, m)
            yield block


@dataclass(frozen=True)
class StreamEncoder:
    """Makes rows of images as they come, so that they need not be held: see ``datasets``."""

    features: Features
    workers: int | None = None

    def encode_blocks(self, blocks: Iterable[Pixels]) -> Iterator[Rows]:
        """Rows of blocks of images, which are drawn in the calling thread, a few ahead."""
        length = self.features.block
        small = (block[rows] for block in blocks for rows in cut(slice(0, len(block)), length))
        return _in_order(self.features.transform, small, self.workers)


def _in_order(
    function: Callable[[Item], Rows], items: Iterable[Item], workers: int | None
) -> Iterator[Rows]:
    """Work in several threads; with one worker in this one, so that none has to be started."""
    count = workers or cores()
    with blas_threads(1):
        yield from map(function, items) if count == 1 else Team(count).in_order(function, items, 2)


@dataclass(frozen=True)
class Standardizer:
    """An affine map of rows: (x - mean) * factor, with mean and factor float32 (n,).

    factor = c / (deviation + damping * mean deviation + 0.01), with c such that a row's squared
    length is about 1 on average, and the same learning rates and penalties suit every kind of
    features. With damping, numbers that vary little keep less weight than the others: worth 0.5
    points for patches on cats and dogs, and nothing for other kinds.
    """

    mean: Rows
    factor: Rows

    @classmethod
    def of(cls, rows: Images, damping: float | None = 0.0) -> Standardizer:
        """For rows (m, n). Raises DataError unless they are finite."""
        m, n = rows.shape
        sum_of = partial(sum_of_rows, rows, slice(0, m), part_length(m, STATISTICS))
        return cls.of_sums(sum_of, (m, n), damping)

    @classmethod
    def of_sums(cls, sum_of: SumOf, shape: tuple[int, int], damping: float | None) -> Standardizer:
        """For rows of a shape (m, n), by their sums in float64; None of damping changes nothing.

        Raises DataError unless they are finite.
        """
        m, n = shape
        if damping is None:
            return cls(np.zeros(n, np.float32), np.ones(n, np.float32))
        mean = sum_of(None) / m
        squares = sum_of(mean)
        if not np.isfinite(squares).all():
            raise DataError("the features of these images are not finite numbers")
        deviation = np.sqrt(squares / m)
        damped = deviation + damping * deviation.mean() + SPREAD
        factor = (1.0 + damping) / (damped * np.sqrt(n))
        return cls(mean.astype(np.float32), factor.astype(np.float32))

    def apply(self, rows: Rows) -> Rows:
        """The rows, changed in place."""
        rows -= self.mean
        rows *= self.factor
        return rows

    def fold(self, w: Floats, b: float) -> tuple[Floats, float]:
        """Weights (n, 1) and bias of standardized rows, as those of the rows themselves.

        wᵀ((x - μ) * f) + b = (w * f)ᵀx + (b - (w * f)ᵀμ)
        """
        folded = w * self.factor.astype(np.float64)[:, None]
        return folded, b - float(folded[:, 0] @ self.mean.astype(np.float64))


def sum_of_rows(images: Images, rows: slice, length: int, mean: Floats | None = None) -> Floats:
    """The canonical sum (n,) of rows that begin with a part, in parts of ``length``.

    With a mean (n,) the sum of the squared distances from it.
    """

    def of_part(part: slice) -> Floats:
        total = np.zeros(images.shape[1])
        for some in cut(part, STATISTICS):
            x = images[some]
            squares = None if mean is None else np.square(x - mean)
            total += x.sum(axis=0, dtype=np.float64) if squares is None else squares.sum(axis=0)
        return total

    return tree_sum(map(of_part, cut(rows, length)), lambda a, b: np.add(a, b, out=a))


class FileRows(samples.Rows):
    """Rows float32 (m, n) of a cache file, read when they are sliced, by any number of threads.

    With ``standard`` they are standardized each time they are read. They are read and not mapped,
    so that pages of the file do not count as the program's memory.
    """

    dtype = np.dtype(np.float32)
    standard: Standardizer | None = None

    def __init__(self, file: BinaryIO, shape: tuple[int, int], shown: str) -> None:
        self._file, self.shape, self._shown = file, shape, shown

    def __del__(self) -> None:
        self._file.close()

    def read_into(self, start: int, out: NDArray[Any]) -> None:
        """As ``Rows.read_into``. Raises DataError when the file was cut, or cannot be read."""
        view = out.reshape(-1).view(np.uint8).data
        samples.read_at(self._file.fileno(), view, HEAD + 4 * start * self.shape[1], self._shown)
        if self.standard is not None:
            self.standard.apply(out)


def key_of(features: Features, fingerprint: str) -> str:
    """A hash that is equal when the rows are: of the data's fingerprint and of the features."""
    from hashlib import sha256  # takes 4 ms to load, and predict does without

    digest = sha256(json.dumps([fingerprint, features.settings], sort_keys=True).encode())
    for name, array in sorted(features.arrays().items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def cached(path: Path, key: str, shape: tuple[int, int], blocks: Iterable[Rows]) -> FileRows:
    """Rows float32 (m, n) kept in a file, which is written from ``blocks`` if it has another key.

    The file is a line of JSON that signs it, spaces to 4096 bytes, then the rows as this machine
    holds them. The key is a hash of the images and of the features with all that they learned.
    Raises OutputError when the file is not a cache: it must not be replaced; and what drawing the
    blocks raises.
    """
    signed = {"format": FORMAT, "version": VERSION, "key": key, "m": shape[0], "n": shape[1]}
    kept = _open(path, signed, shape)
    if kept is None:
        with replacing(path) as file:
            file.write(json.dumps(signed, sort_keys=True).encode().ljust(HEAD - 1) + b"\n")
            for block in blocks:
                file.write(np.ascontiguousarray(block, np.float32).data)
        kept = _open(path, signed, shape)
        assert kept is not None, "a cache is read as it was written"
    return kept


def _open(path: Path, signed: dict[str, Any], shape: tuple[int, int]) -> FileRows | None:
    """The rows in a file; None where there is no file, or one of other rows."""
    shown = printable(path)
    try:
        file = open_regular(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"{shown}: cannot be read: {reason(error)}") from error
    rows = FileRows(file, shape, shown)  # closes it
    try:
        found = json.loads(file.read(HEAD))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise OutputError(f"{shown}: is not a file of features: give another name for `cache`")
    whole = os.fstat(file.fileno()).st_size == HEAD + 4 * shape[0] * shape[1]
    return rows if found == signed and whole else None
