"""The tasks that workers do. A worker keeps open what it has opened, and knows no other worker."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from catclf.datasets.dataset import MANIFEST, Part
from catclf.datasets.manifest import load
from catclf.datasets.packed import PackedRows
from catclf.errors import DataError
from catclf.machine import cores
from catclf.maths import Floats, Pixels
from catclf.metrics import Counts
from catclf.model.model import score_rows
from catclf.objective import ClassWeights, Point, StreamProblem
from catclf.objective.numpy_pass import Sums
from catclf.objective.reduction import aligned_runs
from catclf.parallel import blas_threads
from catclf.text import printable
from catclf.version import __version__

KEPT = 64  # problems that a worker keeps: some runs of parts for each of its tasks

Value = TypeVar("Value")


@dataclass(frozen=True)
class Data:
    """The images of a run, as every task of it knows them.

    ``manifest`` is the SHA-256 of the folder's manifest, ``length`` the number of images in a part,
    ``threads`` how many a worker computes with (0: one for each core of its machine).
    """

    folder: str
    manifest: str
    part: Part
    m: int
    positive: int
    length: int
    fused: bool = False
    weights: ClassWeights = (1.0, 1.0)
    threads: int = 0

    @property
    def parts(self) -> int:
        """The number of parts."""
        return -(-self.m // self.length)


class Piece(NamedTuple, Generic[Value]):
    """The canonical sum of an aligned run of 2^level parts."""

    level: int
    value: Value


class Answer(NamedTuple, Generic[Value]):
    """The result of a task, with the probe of the worker that did it."""

    probe: str
    pieces: list[Piece[Value]]


class Window:
    """Consecutive images of a packed folder and their labels Y (1, k), as data of their own."""

    def __init__(self, whole: PackedRows, rows: slice, positive: int) -> None:
        self._whole, self._start = whole, rows.start
        self.shape: tuple[int, ...] = (rows.stop - rows.start, *whole.shape[1:])
        self.dtype = whole.dtype
        self.Y = (whole.labels(rows.start, rows.stop) == positive).astype(np.float64)[None]

    @property
    def images(self) -> Window:
        """The images, which are read when they are sliced."""
        return self

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Pixels:
        start, stop, _ = rows.indices(len(self))
        return self._whole[self._start + start : self._start + stop]

    def read_into(self, start: int, images: Pixels) -> None:
        """Fill an array with the images from ``start`` on."""
        self._whole.read_into(self._start + start, images)


def manifest_digest(folder: Path) -> str:
    """The SHA-256 of a folder's manifest, by which workers know that they see the same one."""
    return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()


def sums(
    data: Data, start: int, stop: int, point: Point, forward_only: bool = False
) -> Answer[Sums]:
    """Sums of losses and gradients over the parts ``start`` … ``stop`` - 1. Raises DataError."""
    with blas_threads(1):
        pieces = [
            Piece(
                run.level,
                _problem(data, run.start, run.stop).sums(point, forward_only=forward_only),
            )
            for run in aligned_runs(start, stop, data.parts)
        ]
    return Answer(probe(), pieces)


def totals(data: Data, start: int, stop: int) -> Answer[Floats]:
    """Sums of the images of parts, (n, 1). Raises DataError."""
    with blas_threads(1):
        pieces = [
            Piece(run.level, _problem(data, run.start, run.stop).total())
            for run in aligned_runs(start, stop, data.parts)
        ]
    return Answer(probe(), pieces)


def counts(
    data: Data, start: int, stop: int, w: Floats, b: float, boundary: float
) -> Answer[tuple[int, ...]]:
    """The confusion counts of a model's weights, divided by 255, on the images of parts."""
    rows = slice(start * data.length, min(stop * data.length, data.m))
    window = Window(_opened(data.folder, data.manifest, data.part), rows, data.positive)
    found = Counts.of(score_rows(window, w, b) > boundary, window.Y > 0.5)
    return Answer(probe(), [Piece(0, astuple(found))])


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


_problems: OrderedDict[tuple[Data, int, int], StreamProblem] = OrderedDict()
_lock = Lock()


def _problem(data: Data, start: int, stop: int) -> StreamProblem:
    """The problem of the parts ``start`` … ``stop`` - 1, kept with the files that it reads."""
    with _lock:
        key = data, start, stop
        if key not in _problems:
            rows = slice(start * data.length, min(stop * data.length, data.m))
            window = Window(_opened(data.folder, data.manifest, data.part), rows, data.positive)
            _problems[key] = StreamProblem(
                window,
                workers=data.threads or cores(),
                weights=data.weights,
                fused=data.fused,
                part=data.length,
            )
            while len(_problems) > KEPT:
                _problems.popitem(last=False)
        _problems.move_to_end(key)
        return _problems[key]


@lru_cache(maxsize=4)
def _opened(folder: str, digest: str, part: Part) -> PackedRows:
    path = Path(folder)
    manifest = load(path)
    if manifest_digest(path) != digest:
        raise DataError(f"{printable(path)}: a worker sees another manifest there than this run")
    images: Any = PackedRows(path, manifest, part)
    return images  # type: ignore[no-any-return]
