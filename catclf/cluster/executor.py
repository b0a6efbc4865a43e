"""The objective over a packed folder that workers read: the sums are theirs, the tree is here.

A worker keeps open what it has opened, and knows no other worker.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import astuple, dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from catclf.cluster.engine import Engine, scratch
from catclf.datasets.dataset import MANIFEST, Split
from catclf.datasets.packed import PackedRows, load
from catclf.errors import ClusterError, DataError, SettingsError
from catclf.features import Features
from catclf.features.base import Phase
from catclf.features.rows import (
    STATISTICS,
    Encoded,
    Sourced,
    Standardizer,
    cached,
    encoded,
    sum_of_rows,
)
from catclf.machine import cores
from catclf.maths import Floats
from catclf.maths.metrics import Counts
from catclf.maths.threads import TreeSum, aligned_runs, balanced, blas_threads, part_length
from catclf.model.model import score_rows
from catclf.samples import Images, IndexedImages, Indices, Labelled, Rows, scale_of, take
from catclf.storage.location import is_remote, locate
from catclf.text import printable
from catclf.training.objective import BLOCK, FUSED_BLOCK, Point, StreamObjective, Sums

TASKS = 1  # a worker and step: each costs some milliseconds
LOOK = 10.0  # seconds between looks for more workers
GROWN = 1.5  # times as many workers as before get partitions of their own
KEPT = 16  # objectives that a worker keeps: one for each of its partitions

Value = TypeVar("Value")
Piece = tuple[int, Any]  # the level of an aligned run of 2^level parts, and its canonical sum


@dataclass(frozen=True)
class Source:
    """The images of a run, as every task of it knows them.

    ``manifest`` is the SHA-256 of the folder's manifest; ``left_out`` names shards that are passed
    over; ``threads`` is how many a worker computes with (0: one for each core of its machine);
    ``key`` that of the rows of features, if images are made into such.
    """

    folder: str
    manifest: str
    split: Split
    m: int
    positive: int
    left_out: tuple[str, ...] = ()
    threads: int = 0
    key: str = ""


class Summed(NamedTuple):
    """How losses are summed: in parts of ``length`` images, with class weights."""

    length: int
    fused: bool
    weights: tuple[float, float]  # of errors on images of class 0 and of class 1


@dataclass(frozen=True)
class Partition:
    """The images ``start`` … ``stop`` - 1 of a source: what a worker keeps for the tasks of a run.

    It holds how rows are made of them and not the rows, so that it can be made again anywhere. The
    methods from ``sums`` on give the pieces of a task. They raise DataError, and OutputError where
    rows cannot be written.
    """

    source: Source
    start: int
    stop: int
    features: Features | None = field(default=None, compare=False)
    standard: Standardizer | None = field(default=None, compare=False)

    def images(self) -> Images:
        """The pixels, or the rows, which are made if this worker does not have them."""
        pixels = IndexedImages(_opened(self.source), np.arange(self.start, self.stop))
        if self.features is None:
            return pixels
        key = hashlib.sha256(f"{self.source.key} {self.start} {self.stop}".encode()).hexdigest()
        shape = len(pixels), self.features.n
        blocks = encoded(self.features, pixels, self.source.threads or cores())
        rows = cached(scratch() / f"catclf-rows-{key[:24]}", key, shape, blocks)
        rows.standard = self.standard
        return rows

    @property
    def Y(self) -> Floats:
        """Labels 0.0 or 1.0, shape (1, k)."""
        labels = _opened(self.source).labels(self.start, self.stop)
        return np.asarray((labels == self.source.positive).astype(np.float64)[None])

    def sums(self, summed: Summed, point: Point, what: str = "products") -> list[Piece]:
        """Sums of losses and gradients."""
        objective = _objective(self, summed)
        return self._pieces(summed.length, lambda rows: objective.sums(point, what, rows))

    def totals(self, summed: Summed) -> list[Piece]:
        """Sums of images, (n, 1)."""
        objective = _objective(self, summed)
        return self._pieces(summed.length, lambda rows: objective.total(rows))

    def moments(self, mean: Floats | None = None) -> list[Piece]:
        """Sums of rows, (n,), or of their squared distances from the mean."""
        length, images = part_length(self.source.m, STATISTICS), self.images()
        return self._pieces(length, lambda rows: sum_of_rows(images, rows, length, mean))

    def counts(self, w: Floats, b: float, boundary: float) -> list[Piece]:
        """The confusion counts of weights, divided by the scale of the images."""
        Z = score_rows(self.images(), w, b)
        return [(0, astuple(Counts.of(boundary < Z, self.Y > 0.5)))]

    def chosen(self, numbers: Indices) -> list[Piece]:
        """Those of the partition's rows that have these numbers in the source."""
        own = numbers[(numbers >= self.start) & (numbers < self.stop)] - self.start
        return [(0, take(self.images(), own))]

    def _pieces(self, length: int, of_rows: Callable[[slice], Any]) -> list[Piece]:
        """What ``of_rows`` makes of each subtree, by its rows, counted from the first one."""
        first, last, parts = (-(-row // length) for row in (self.start, self.stop, self.source.m))
        pieces: list[Piece] = []
        with blas_threads(1):
            for run in aligned_runs(first, last, parts):
                begin, end = run.start * length, min(run.stop * length, self.stop)
                rows = slice(begin - self.start, end - self.start)
                pieces.append((run.level, of_rows(rows)))
        return pieces


@lru_cache(maxsize=KEPT)
def _objective(partition: Partition, summed: Summed) -> StreamObjective:
    """The objective over a partition, kept with the files that it reads.

    The key of its rows says how they are standardized, too.
    """
    Y, (negative, positive) = partition.Y, summed.weights
    return StreamObjective(
        Encoded(partition.images(), Y, "", ""),
        team=partition.source.threads or cores(),
        v=None if negative == positive == 1.0 else np.where(Y > 0.5, positive, negative),
        fused=summed.fused,
        part=summed.length,
    )


@lru_cache(maxsize=4)
def _opened(source: Source) -> PackedRows:
    path = Path(source.folder)
    manifest = load(path)
    if manifest_digest(path) != source.manifest:
        raise DataError(f"{printable(path)}: a worker sees another manifest there than this run")
    return PackedRows(path, manifest, source.split, source.left_out)


def manifest_digest(folder: Path) -> str:
    """The SHA-256 of a folder's manifest, by which workers know that they see the same one."""
    return hashlib.sha256(locate(folder / MANIFEST).read()).hexdigest()


@lru_cache(maxsize=1)
def probe() -> str:
    """The hash of a product: processors of other kinds round it otherwise."""
    rng = np.random.default_rng(0)
    P = rng.standard_normal((128, 4096), np.float32)
    w, dZ = rng.standard_normal((4096, 1), np.float32), rng.standard_normal((128, 1), np.float32)
    with blas_threads(1):
        runs = P.reshape(128, -1, 512).transpose(1, 0, 2)
        product = (runs @ w.reshape(-1, 512, 1)).tobytes()
        return hashlib.sha256(product + (P.T @ dZ).tobytes()).hexdigest()[:12]


def hold(partition: Partition, features: Features | None = None) -> Partition:
    """The task that makes the rows of a partition, which the worker then keeps."""
    partition = replace(partition, features=features)
    partition.images()
    return partition


def answer(
    method: str, arguments: tuple[Any, ...], partition: Partition
) -> tuple[str, list[Piece]]:
    """The task that gives the pieces of a method, with the probe of the worker that did it."""
    return probe(), getattr(partition, method)(*arguments)


class Cluster:
    """What training needs of several machines: rows of features, an objective, and counts.

    ``threads`` is how many a worker computes with (0: one for each core of its machine).
    """

    def __init__(self, engine: Engine, threads: int = 0) -> None:
        self._engine, self._threads = engine, threads
        self._kept: dict[Source, Partitions] = {}

    def keep(
        self, data: Sourced, features: Features, key: str, phase: Phase
    ) -> tuple[Partitions, Standardizer]:
        """The rows of all images, which workers make and keep.

        Raises SettingsError, DataError, OutputError and ClusterError.
        """
        kept = Partitions(self._engine, replace(self._source(data), key=key), features)
        with phase("encoding images") as on_progress:
            kept.make()
            on_progress(len(kept), len(kept))
        sums = partial(kept.total, "moments")
        standard = Standardizer.of_sums(sums, kept.shape, features.damping)
        kept.standardize(standard)
        return kept, standard

    def distributed(self, objective: StreamObjective, data: Labelled) -> DistributedObjective:
        """The same objective with its sums made by workers. Raises SettingsError."""
        return DistributedObjective(self.partitions(data), data, objective)

    def counts(self, data: Labelled, w: Floats, b: float, boundary: float) -> Counts:
        """The confusion counts of weights w (n, 1) of features on the images of a data set."""
        pieces = self.partitions(data).pieces("counts", w / scale_of(data.images), b, boundary)
        return Counts(*np.sum([counts for _, counts in pieces], axis=0).tolist())

    def partitions(self, data: Labelled) -> Partitions:
        """A data set as workers keep it. Raises SettingsError unless it is a packed folder."""
        if isinstance(data.images, Partitions):
            return data.images
        source = self._source(data)
        return self._kept.setdefault(source, Partitions(self._engine, source))

    def _source(self, data: Labelled) -> Source:
        images: Any = data.images
        if not isinstance(images, PackedRows):
            raise SettingsError(
                "`cluster` reads packed folders, which workers can open: make one with "
                "catclf data pack, and -o packed/"
            )
        folder = images.folder if is_remote(images.folder) else images.folder.resolve()
        return Source(
            str(folder),
            manifest_digest(folder),
            images.split,
            len(images),
            images.label_of(getattr(data, "classes", ("", ""))[1]),
            images.left_out,
            self._threads,
        )


class Partitions(Rows):
    """The consecutive images, or rows of features, that each worker keeps for all steps of a run.

    There are as many as there have been workers: one that dies is made again by another worker,
    and when there are half as many workers more, all are made anew. Here is only their shape.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, engine: Engine, source: Source, features: Features | None = None) -> None:
        self._engine, self._source, self._features = engine, source, features
        self.shape: tuple[int, int] = source.m, features.n if features else 0
        self._standard: Standardizer | None = None
        self._probe, self._futures, self._shown = "", list[Any](), list[str]()
        self._workers, self._looked = 0, 0.0

    def make(self) -> None:
        """Have workers keep the partitions, if they do not, or if there are more of them now."""
        if self._futures and monotonic() - self._looked < LOOK:
            return
        workers, self._looked = max(1, self._engine.workers), monotonic()
        if self._futures and workers < GROWN * self._workers:
            return
        self._workers, m = workers, self._source.m
        length = max(part_length(m, block) for block in (BLOCK, FUSED_BLOCK))
        partitions = [
            Partition(self._source, start * length, min(stop * length, m))
            for start, stop in balanced(-(-m // length), TASKS * workers)
        ]
        self._shown = [
            f"{self._source.folder}, images {each.start} to {each.stop - 1}" for each in partitions
        ]
        sent: list[Any] = []
        if self._features is not None:  # by one task, from which Dask hands it on
            args = [(self._features,)]
            sent = self._engine.keep(_itself, args, ["the features"], everywhere=True)
        tasks = [(partition,) for partition in partitions]
        self._futures = self._engine.keep(hold, tasks, self._shown, sent * len(tasks))
        if self._standard is not None:
            self.standardize(self._standard)

    def standardize(self, standard: Standardizer) -> None:
        """Have the rows brought to one scale from now on."""
        self._standard = standard
        tasks = [(standard,)] * len(self._futures)
        self._futures = self._engine.keep(_standardized, tasks, self._shown, self._futures)

    def sample(self, numbers: Indices) -> NDArray[np.float32]:
        """The rows with these numbers, which go up."""
        return np.concatenate([rows for _, rows in self.pieces("chosen", numbers)])

    def pieces(self, method: str, *arguments: Any) -> list[Piece]:
        """What a method of all partitions gives, in order. Raises ClusterError."""
        self.make()
        tasks = [(method, arguments)] * len(self._futures)
        answers = self._engine.run(answer, tasks, self._shown, self._futures)
        for found, _ in answers:
            self._probe = self._probe or found
            if found != self._probe:
                raise ClusterError(
                    "workers have processors that round differently, and would not give the same "
                    "bits: use those of one kind"
                )
        return [piece for _, pieces in answers for piece in pieces]

    def total(self, method: str, *arguments: Any) -> Floats:
        """The canonical sum of arrays."""
        return self.summed(method, *arguments, add=lambda a, b: np.add(a, b, out=a))

    def summed(self, method: str, *arguments: Any, add: Callable[[Value, Value], Value]) -> Value:
        """The canonical sum of the pieces of a method."""
        tree: TreeSum[Value] = TreeSum(add)
        for level, value in self.pieces(method, *arguments):
            tree.take(value, level)
        return tree.total()


def _itself(value: Value) -> Value:
    """A value, which Dask then hands from worker to worker, and computes again if it is lost."""
    return value


def _standardized(standard: Standardizer, partition: Partition) -> Partition:
    return replace(partition, standard=standard)


class DistributedObjective(StreamObjective):
    """As StreamObjective over all images, to the bit, with all sums made by workers."""

    is_local = False

    def __init__(self, kept: Partitions, data: Labelled, objective: StreamObjective) -> None:
        super().__init__(data, objective.l2, 1, objective.v, fused=objective.fused)
        self.partitions, v = kept, self.v
        negative, positive = (1.0 if v is None else float(v[y == self.Y][0]) for y in (0.0, 1.0))
        length = part_length(self.m, self._block)
        self.how = Summed(length, objective.fused, (negative, positive))

    @property
    def solves_small(self) -> bool:
        return False

    def sums(self, point: Point, what: str = "products", rows: slice | None = None) -> Sums:
        return self.partitions.summed("sums", self.how, point, what, add=Sums.plus)

    def total(self, rows: slice | None = None) -> Floats:
        return self.partitions.total("totals", self.how)
