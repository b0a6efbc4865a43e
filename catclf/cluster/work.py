"""The tasks that workers do. A worker keeps open what it has opened, and knows no other worker."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from catclf.cluster import rows
from catclf.cluster.rows import Learned
from catclf.datasets.dataset import MANIFEST, Split
from catclf.datasets.packed import PackedRows, load
from catclf.errors import DataError
from catclf.features.base import Rows
from catclf.features.rows import (
    StandardizedRows,
    Standardizer,
    parts_of_rows,
    sum_of_rows,
)
from catclf.machine import cores
from catclf.maths import Floats, Pixels
from catclf.maths.metrics import Counts
from catclf.maths.reduction import Run, aligned_runs
from catclf.maths.threads import blas_threads
from catclf.model.model import score_rows
from catclf.samples import Images, Indices, take
from catclf.storage.location import locate
from catclf.text import printable
from catclf.training.kernels import Sums
from catclf.training.objective import Point, StreamObjective
from catclf.version import __version__

KEPT = 16  # problems that a worker keeps: one for each of its partitions

Value = TypeVar("Value")


@dataclass(frozen=True)
class Source:
    """The images of a run, as every task of it knows them.

    ``manifest`` is the SHA-256 of the folder's manifest; ``left_out`` names shards that are passed
    over; ``threads`` is how many a worker computes with (0: one for each core of its machine);
    ``key`` that of the rows of features, if images are made into such.
    """

    folder: str
    manifest: str
    part: Split
    m: int
    positive: int
    left_out: tuple[str, ...] = ()
    threads: int = 0
    key: str = ""


@dataclass(frozen=True, eq=False)
class Partition:
    """The images ``start`` … ``stop`` - 1 of a source: what a worker keeps for the tasks of a run.

    It holds how rows are made of them and not the rows, so that it can be made again anywhere.
    """

    source: Source
    start: int
    stop: int
    learned: Learned | None = None
    standard: Standardizer | None = None

    def runs(self, length: int) -> Iterator[Run]:
        """The subtrees that it consists of, where parts have ``length`` images."""
        return aligned_runs(
            self.start // length, -(-self.stop // length), -(-self.source.m // length)
        )

    def rows_of(self, run: Run, length: int) -> slice:
        """The images of a run, counted from the partition's first one."""
        return slice(
            run.start * length - self.start, min(run.stop * length, self.stop) - self.start
        )

    def images(self) -> Images:
        """The pixels, or the rows, which are made if this worker does not have them."""
        pixels = Window(_opened(self.source), self.start, self.stop)
        if self.learned is None:
            return pixels
        name = f"{self.source.key} {self.start} {self.stop}"
        made = rows.of_images(name, self.learned, pixels, self.source.threads or cores())
        return made if self.standard is None else StandardizedRows(made, self.standard)

    def labels(self) -> Floats:
        """Y (1, k)."""
        labels = _opened(self.source).labels(self.start, self.stop)
        return np.asarray((labels == self.source.positive).astype(np.float64)[None])


class Objective(NamedTuple):
    """How losses are summed: in parts of ``length`` images, with class weights."""

    length: int
    fused: bool
    weights: tuple[float, float]  # of errors on images of class 0 and of class 1


class Piece(NamedTuple, Generic[Value]):
    """The canonical sum of an aligned run of 2^level parts."""

    level: int
    value: Value


class Answer(NamedTuple, Generic[Value]):
    """The result of a task, with the probe of the worker that did it."""

    probe: str
    pieces: list[Piece[Value]]


class Window:
    """Consecutive images of a packed folder, read when they are sliced."""

    def __init__(self, whole: PackedRows, start: int, stop: int) -> None:
        self._whole, self._start = whole, start
        self.shape: tuple[int, ...] = (stop - start, *whole.shape[1:])
        self.dtype = whole.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Pixels:
        start, stop, _ = rows.indices(len(self))
        return self._whole[self._start + start : self._start + stop]

    def read_into(self, start: int, images: Pixels) -> None:
        """Fill an array with the images from ``start`` on."""
        self._whole.read_into(self._start + start, images)


class _Labelled(NamedTuple):
    images: Images
    Y: Floats


def manifest_digest(folder: Path) -> str:
    """The SHA-256 of a folder's manifest, by which workers know that they see the same one."""
    return hashlib.sha256(locate(folder / MANIFEST).read()).hexdigest()


def hold(source: Source, start: int, stop: int, learned: Learned | None = None) -> Partition:
    """A partition, with its rows made. Raises DataError, and OutputError on a full disk."""
    partition = Partition(source, start, stop, learned)
    partition.images()
    return partition


def standardised(partition: Partition, standard: Standardizer) -> Partition:
    """The same with its rows brought to one scale as they are read."""
    return replace(partition, standard=standard)


def sums(
    partition: Partition, objective: Objective, point: Point, what: str = "products"
) -> Answer[Sums]:
    """Sums of losses and gradients over a partition. Raises DataError."""
    problem = _problem(partition, objective)
    return _answer(
        partition,
        objective.length,
        lambda _, rows: problem.sums(point, what, rows),
    )


def totals(partition: Partition, objective: Objective) -> Answer[Floats]:
    """Sums of images, (n, 1). Raises DataError."""
    problem = _problem(partition, objective)
    return _answer(partition, objective.length, lambda _, rows: problem.total(rows))


def moments(partition: Partition, mean: Floats | None = None) -> Answer[Floats]:
    """Sums of rows, (n,), or of their squared distances from the mean. Raises DataError."""
    length, images = parts_of_rows(partition.source.m), partition.images()

    def of_run(run: Run, rows: slice) -> Floats:
        these: Any = _Tail(images, rows.start)
        return sum_of_rows(these, run, length, mean)

    return _answer(partition, length, of_run)


def counts(partition: Partition, w: Floats, b: float, boundary: float) -> Answer[tuple[int, ...]]:
    """The confusion counts of weights, divided by the scale of the images."""
    Z = score_rows(partition.images(), w, b)
    found = Counts.of(boundary < Z, partition.labels() > 0.5)
    return Answer(probe(), [Piece(0, astuple(found))])


def chosen(partition: Partition, numbers: Indices) -> Answer[Rows]:
    """Those of the partition's rows that have these numbers in the source."""
    own = numbers[(numbers >= partition.start) & (numbers < partition.stop)] - partition.start
    return Answer(probe(), [Piece(0, take(partition.images(), own))])


class _Tail:
    """Rows from some row on."""

    def __init__(self, whole: Images, start: int) -> None:
        self._whole, self._start = whole, start
        self.shape = len(whole) - start, *whole.shape[1:]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Any:
        return self._whole[self._start + rows.start : self._start + rows.stop]


def _answer(
    partition: Partition, length: int, of_run: Callable[[Run, slice], Value]
) -> Answer[Value]:
    with blas_threads(1):
        pieces = [
            Piece(run.level, of_run(run, partition.rows_of(run, length)))
            for run in partition.runs(length)
        ]
    return Answer(probe(), pieces)


@lru_cache(maxsize=1)
def probe() -> str:
    """The version, and the hash of a product: processors of other kinds round it otherwise."""
    rng = np.random.default_rng(0)
    P = rng.standard_normal((128, 4096), np.float32)
    w, dZ = rng.standard_normal((4096, 1), np.float32), rng.standard_normal((128, 1), np.float32)
    with blas_threads(1):
        runs = P.reshape(128, -1, 512).transpose(1, 0, 2)
        product = (runs @ w.reshape(-1, 512, 1)).tobytes()
        digest = hashlib.sha256(product + (P.T @ dZ).tobytes())
    return f"catclf {__version__}, products {digest.hexdigest()[:12]}"


_problems: OrderedDict[Any, StreamObjective] = OrderedDict()
_lock = Lock()


def _problem(partition: Partition, objective: Objective) -> StreamObjective:
    """The problem of a partition, kept with the files that it reads.

    The key of its rows says how they are standardised, too.
    """
    with _lock:
        key = partition.source, partition.start, partition.stop, objective
        if key not in _problems:
            Y, (negative, positive) = partition.labels(), objective.weights
            _problems[key] = StreamObjective(
                _Labelled(partition.images(), Y),
                team=partition.source.threads or cores(),
                v=None if negative == positive == 1.0 else np.where(Y > 0.5, positive, negative),
                fused=objective.fused,
                part=objective.length,
            )
            while len(_problems) > KEPT:
                _problems.popitem(last=False)
        _problems.move_to_end(key)
        return _problems[key]


def _opened(source: Source) -> PackedRows:
    return _opened_folder(source.folder, source.manifest, source.part, source.left_out)


@lru_cache(maxsize=4)
def _opened_folder(folder: str, digest: str, part: Split, left_out: tuple[str, ...]) -> PackedRows:
    path = Path(folder)
    manifest = load(path)
    if manifest_digest(path) != digest:
        raise DataError(f"{printable(path)}: a worker sees another manifest there than this run")
    images: Any = PackedRows(path, manifest, part, left_out)
    return images  # type: ignore[no-any-return]
