"""One full-batch step of descent, in turn: ours in memory and from disk, and NumPy's products."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.benchmarks.images import write_hdf5
from scripts.benchmarks.measure import table

Run = Callable[[], Any]
STEPS = 5  # one after the other, as in training, for each turn of a row


def step(scratch: Path, repeats: int, quick: bool) -> str:
    """A table for each number of images."""
    sizes = (2_000, 5_000) if quick else (5_000, 20_000)
    return "\n\n".join(_one(scratch, m, repeats) for m in sizes)


def _one(scratch: Path, m: int, repeats: int) -> str:
    import h5py

    path = write_hdf5(scratch / f"step{m}.h5", m)
    with h5py.File(path) as file:
        runs = _runs(file["train_set_x"], file["train_set_y"][:])
        times = _in_turn({name: run for name, (run, _) in runs.items()}, repeats)
    path.unlink()
    base = next(iter(times.values()))
    rows = [
        [name, f"{1000 * times[name]:.1f} ms", f"{times[name] / base:.2f}", f"{held:.0f} MB"]
        for name, (_, held) in runs.items()
    ]
    return table([f"one step, {m} images", "time", "ratio", "X held"], rows)


def _runs(stored: Any, labels: NDArray[Any]) -> dict[str, tuple[Run, float]]:
    """For each row one step, and the MB of X that it holds."""
    from catclf.datasets.hdf5 import DiskRows
    from catclf.machine import cores

    pixels, m = stored[:], len(labels)
    Y = labels.astype(np.float64).reshape(1, m)
    most, megabytes = cores(), pixels.nbytes / 1e6
    disk = DiskRows(stored, "made-up images")
    double = (pixels.reshape(m, -1) / 255.0).T
    single = double.astype(np.float32, order="A")
    return {
        f"catclf, {most} workers": (_ours(pixels, Y, most), megabytes),
        "catclf, 1 worker": (_ours(pixels, Y, 1), megabytes),
        f"catclf from disk, {most} workers": (_ours(disk, Y, most), 0.0),
        "catclf from disk, 1 worker": (_ours(disk, Y, 1), 0.0),
        f"catclf[fast], {most} workers": (_ours(pixels, Y, most, fused=True), megabytes),
        "catclf[fast], 1 worker": (_ours(pixels, Y, 1, fused=True), megabytes),
        f"catclf[fast] from disk, {most} workers": (_ours(disk, Y, most, fused=True), 0.0),
        "NumPy float64, two products": (_products(double, Y), double.nbytes / 1e6),
        "NumPy float32, two products": (_products(single, Y), single.nbytes / 1e6),
        "floor: read the pixels once": (_read(pixels), megabytes),
    }


def _in_turn(runs: dict[str, Run], repeats: int) -> dict[str, float]:
    """The median seconds of each."""
    from catclf.machine import cores
    from catclf.maths.threads import blas_threads

    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            sleep(0.2)  # BLAS threads of the row before spin for a while
            with blas_threads(1 if name.startswith("catclf") else cores()):
                run()
                for _ in range(STEPS):
                    began = perf_counter()
                    run()
                    seconds[name].append(perf_counter() - began)
    return {name: median(found) for name, found in seconds.items()}


class _Data:
    def __init__(self, images: Any, Y: NDArray[np.float64]) -> None:
        self.images, self.Y = images, Y


def _ours(images: Any, Y: NDArray[np.float64], workers: int, *, fused: bool = False) -> Run:
    from catclf.training.objective import Point, StreamObjective

    problem = StreamObjective(_Data(images, Y), 0.0, workers, fused=fused)
    w = 1e-3 * np.random.default_rng(0).standard_normal((problem.n, 1))
    return lambda: problem.evaluate(Point(w, 0.1))


def _products(X: NDArray[Any], Y: NDArray[np.float64]) -> Run:
    m = X.shape[1]
    w = 1e-3 * np.random.default_rng(0).standard_normal((len(X), 1)).astype(X.dtype)
    labels = Y.astype(X.dtype)

    def run() -> Any:
        A = 1 / (1 + np.exp(-(w.T @ X + X.dtype.type(0.1))))
        return X @ (A - labels).T / m

    return run


def _read(pixels: NDArray[np.uint8]) -> Run:
    words = pixels.reshape(-1).view(np.uint64)
    return lambda: np.bitwise_or.reduce(words)
