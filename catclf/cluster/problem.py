"""The objective over a packed folder that workers read: the sums are theirs, the tree is here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from catclf.cluster import work
from catclf.cluster.engine import Engine
from catclf.datasets.packed import PackedRows
from catclf.errors import ClusterError, SettingsError
from catclf.maths import Floats
from catclf.metrics import Counts
from catclf.objective import EQUAL, ClassWeights, Point, StreamProblem
from catclf.objective.numpy_pass import BLOCK, Sums
from catclf.objective.reduction import TreeSum, balanced, part_length
from catclf.samples import Labelled, scale_of

TASKS = 2  # a worker and step: a third of a run's time would be lost by one for each part

Value = TypeVar("Value")


class Cluster:
    """What training needs of several machines: a problem over a data set, and its counts.

    ``threads`` is how many a worker computes with (0: one for each core of its machine).
    """

    def __init__(self, engine: Engine, threads: int = 0) -> None:
        self._engine, self._threads = engine, threads
        self._probe = ""

    def distributed(self, problem: StreamProblem, data: Labelled) -> DistributedProblem:
        """The same objective with its sums made by workers. Raises SettingsError."""
        return DistributedProblem(self, data, problem)

    def counts(self, data: Labelled, w: Floats, b: float, boundary: float) -> Counts:
        """The confusion counts of weights w (n, 1) of features on the images of a data set."""
        scaled = w / scale_of(data.images)
        answers = self.pieces(work.counts, self.described(data), scaled, b, boundary)
        return Counts(*np.sum([piece.value for piece in answers], axis=0).tolist())

    def described(
        self,
        data: Labelled,
        *,
        block: int = BLOCK,
        fused: bool = False,
        weights: ClassWeights = EQUAL,
    ) -> work.Data:
        """A data set as tasks know it. Raises SettingsError unless it is a packed folder."""
        images: Any = data.images
        if not isinstance(images, PackedRows):
            raise SettingsError(
                "`cluster` reads packed folders, which workers can open: make one with "
                "catclf data pack, and -o packed/"
            )
        folder, m = images.folder.resolve(), len(images)
        return work.Data(
            str(folder),
            work.manifest_digest(folder),
            images.part,
            m,
            images.label_of(getattr(data, "classes", ("", ""))[1]),
            part_length(m, block),
            fused,
            weights,
            self._threads,
        )

    def pieces(
        self, function: Callable[..., work.Answer[Value]], data: work.Data, *arguments: Any
    ) -> list[work.Piece[Value]]:
        """The sums of all parts, in order, from some tasks for each worker. Raises ClusterError."""
        ranges = balanced(data.parts, TASKS * max(1, self._engine.workers))
        tasks = [(data, start, stop, *arguments) for start, stop in ranges]
        shown = [
            f"{data.folder}, images {start * data.length} to {min(stop * data.length, data.m) - 1}"
            for start, stop in ranges
        ]
        answers = self._engine.run(function, tasks, shown)
        for answer in answers:
            self._probe = self._probe or answer.probe
            if answer.probe != self._probe:
                raise ClusterError(
                    f"workers differ ({self._probe}; {answer.probe}) and would not give the same "
                    "bits: use those of one kind, with one version of catclf"
                )
        return [piece for answer in answers for piece in answer.pieces]


class DistributedProblem(StreamProblem):
    """As StreamProblem over all images, to the bit; what is over some images is computed here."""

    def __init__(self, cluster: Cluster, data: Labelled, problem: StreamProblem) -> None:
        super().__init__(data, problem.l2, 1, problem.class_weights, fused=problem.fused)
        self._cluster = cluster
        self._data = cluster.described(
            data, block=self._block, fused=problem.fused, weights=problem.class_weights
        )

    def sums(self, point: Point, *, forward_only: bool = False) -> Sums:
        tree: TreeSum[Sums] = TreeSum(Sums.plus)
        for piece in self._cluster.pieces(work.sums, self._data, point, forward_only):
            tree.take(piece.value, piece.level)
        return tree.total()

    def total(self) -> Floats:
        tree: TreeSum[Floats] = TreeSum(lambda a, b: np.add(a, b, out=a))
        for piece in self._cluster.pieces(work.totals, self._data):
            tree.take(piece.value, piece.level)
        return tree.total()
