"""The objective over a packed folder that workers read: the sums are theirs, the tree is here."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from catclf.cluster import work
from catclf.cluster.engine import Engine
from catclf.cluster.rows import Learned
from catclf.datasets.packed import PackedRows
from catclf.errors import ClusterError, SettingsError
from catclf.features import learn
from catclf.features.base import Phase, silent
from catclf.features.rows import Encoded, Encoder, Sourced, Standardizer, key_of
from catclf.maths import Floats
from catclf.maths.metrics import Counts
from catclf.maths.reduction import TreeSum, balanced, part_length
from catclf.samples import Labelled, scale_of
from catclf.storage.location import is_remote
from catclf.training.kernels import BLOCK, FUSED_BLOCK, Sums
from catclf.training.objective import Point, StreamObjective

TASKS = 1  # a worker and step: each costs some milliseconds
LOOK = 10.0  # seconds between looks for more workers
GROWN = 1.5  # times as many workers as before get partitions of their own

Value = TypeVar("Value")


class Cluster:
    """What training needs of several machines: rows of features, an objective, and counts.

    ``threads`` is how many a worker computes with (0: one for each core of its machine).
    """

    def __init__(self, engine: Engine, threads: int = 0) -> None:
        self._engine, self._threads = engine, threads
        self._kept: dict[work.Source, Partitions] = {}

    def prepare(
        self,
        data: Sourced,
        kind: str,
        *,
        flip: bool = True,
        seed: int = 0,
        workers: int | None = None,
        phase: Phase | None = None,
    ) -> tuple[Encoder, Encoded]:
        """As ``rows.prepare``: learned here, from the same sample; the rows are the workers'.

        Raises what ``learn`` raises, SettingsError, DataError, OutputError and ClusterError.
        """
        phase = phase or silent
        source = self._source(data)
        features = learn(kind, data.images, seed, flip=flip, workers=workers, phase=phase)
        key = key_of(features, data.fingerprint)
        kept = Partitions(
            self._engine,
            work.Source(**{**source.__dict__, "key": key}),
            Learned.of(features, int(data.images.shape[1])),
        )
        with phase("encoding images") as on_progress:
            kept.make()
            on_progress(source.m, source.m)
        if not features.kept:
            standard = Standardizer.identity(features.n)
        else:
            mean = kept.total(work.moments) / source.m
            squares = kept.total(work.moments, mean)
            standard = Standardizer.of_sums(mean, squares, source.m, features.damping)
        kept.standardise(standard)
        rows: Any = KeptRows(kept, (source.m, features.n))
        return Encoder(features, standard, workers), Encoded(rows, data.Y, data.source, key)

    def distributed(self, objective: StreamObjective, data: Labelled) -> DistributedObjective:
        """The same objective with its sums made by workers. Raises SettingsError."""
        return DistributedObjective(self.partitions(data), data, objective)

    def counts(self, data: Labelled, w: Floats, b: float, boundary: float) -> Counts:
        """The confusion counts of weights w (n, 1) of features on the images of a data set."""
        scaled = w / scale_of(data.images)
        answers = self.partitions(data).pieces(work.counts, scaled, b, boundary)
        return Counts(*np.sum([piece.value for piece in answers], axis=0).tolist())

    def partitions(self, data: Labelled) -> Partitions:
        """A data set as workers keep it. Raises SettingsError unless it is a packed folder."""
        if isinstance(data.images, KeptRows):
            return data.images.kept
        source = self._source(data)
        if source not in self._kept:
            self._kept[source] = Partitions(self._engine, source)
        return self._kept[source]

    def _source(self, data: Labelled) -> work.Source:
        images: Any = data.images
        if not isinstance(images, PackedRows):
            raise SettingsError(
                "`cluster` reads packed folders, which workers can open: make one with "
                "catclf data pack, and -o packed/"
            )
        folder = images.folder if is_remote(images.folder) else images.folder.resolve()
        return work.Source(
            str(folder),
            work.manifest_digest(folder),
            images.split,
            len(images),
            images.label_of(getattr(data, "classes", ("", ""))[1]),
            images.left_out,
            self._threads,
        )


class Partitions:
    """The consecutive images that each worker keeps for all steps of a run.

    There are as many as there have been workers: one that dies is made again by another worker,
    and when there are half as many workers more, all are made anew.
    """

    def __init__(self, engine: Engine, source: work.Source, learned: Learned | None = None) -> None:
        self.source = source
        self._engine, self._learned = engine, learned
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
        self._workers, m = workers, self.source.m
        length = max(part_length(m, block) for block in (BLOCK, FUSED_BLOCK))
        ranges = [
            (start * length, min(stop * length, m))
            for start, stop in balanced(-(-m // length), TASKS * workers)
        ]
        self._shown = [f"{self.source.folder}, images {a} to {b - 1}" for a, b in ranges]
        tasks: list[tuple[Any, ...]] = [(self.source, a, b) for a, b in ranges]
        if self._learned is not None:
            (sent,) = self._engine.keep(
                _itself, [(self._learned,)], ["the features"], everywhere=True
            )
            tasks = [(*task, sent) for task in tasks]
        self._futures = self._engine.keep(work.hold, tasks, self._shown)
        if self._standard is not None:
            self.standardise(self._standard)

    def standardise(self, standard: Standardizer) -> None:
        """Have the rows brought to one scale from now on."""
        self._standard = standard
        tasks = [(future, standard) for future in self._futures]
        self._futures = self._engine.keep(work.standardised, tasks, self._shown)

    def pieces(
        self, function: Callable[..., work.Answer[Value]], *arguments: Any
    ) -> list[work.Piece[Value]]:
        """The sums of all parts, in order, from each partition. Raises ClusterError."""
        self.make()
        tasks = [(future, *arguments) for future in self._futures]
        answers = self._engine.run(function, tasks, self._shown)
        for answer in answers:
            self._probe = self._probe or answer.probe
            if answer.probe != self._probe:
                raise ClusterError(
                    f"workers differ ({self._probe}; {answer.probe}) and would not give the same "
                    "bits: use those of one kind, with one version of catclf"
                )
        return [piece for answer in answers for piece in answer.pieces]

    def total(self, function: Callable[..., work.Answer[Floats]], *arguments: Any) -> Floats:
        """The canonical sum of arrays."""
        tree: TreeSum[Floats] = TreeSum(lambda a, b: np.add(a, b, out=a))
        for piece in self.pieces(function, *arguments):
            tree.take(piece.value, piece.level)
        return tree.total()


class KeptRows:
    """Rows of features float32 (m, n) that workers keep; their shape is all that is here."""

    def __init__(self, kept: Partitions, shape: tuple[int, int]) -> None:
        self.kept, self.shape = kept, shape
        self.dtype: np.dtype[Any] = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def sample(self, numbers: NDArray[np.intp]) -> NDArray[np.float32]:
        """The rows with these numbers, which go up."""
        return np.concatenate([piece.value for piece in self.kept.pieces(work.chosen, numbers)])

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        raise SettingsError("`cluster` keeps the rows of features on its workers")


class DistributedObjective(StreamObjective):
    """As StreamObjective over all images, to the bit, with all sums made by workers."""

    is_local = False

    def __init__(self, kept: Partitions, data: Labelled, objective: StreamObjective) -> None:
        super().__init__(data, objective.l2, 1, objective.v, fused=objective.fused)
        self._partitions = kept
        each = (1.0, 1.0) if self.v is None else tuple(self.v[y == self.Y][0] for y in (0.0, 1.0))
        self._summed = work.Objective(part_length(self.m, self._block), objective.fused, each)

    @property
    def solves_small(self) -> bool:
        return False

    def sums(self, point: Point, what: str = "products", rows: slice | None = None) -> Sums:
        tree: TreeSum[Sums] = TreeSum(Sums.plus)
        for piece in self._partitions.pieces(work.sums, self._summed, point, what):
            tree.take(piece.value, piece.level)
        return tree.total()

    def total(self, rows: slice | None = None) -> Floats:
        return self._partitions.total(work.totals, self._summed)


def _itself(value: Value) -> Value:
    """A value, which Dask then hands from worker to worker, and computes again if it is lost."""
    return value
