"""Training on rows of features from a cache: the penalty selected and the optimum found."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catclf.features.rows import Encoded, Standardizer, cached
from catclf.training import Settings
from catclf.training.pipeline import resolve
from catclf.training.run import solve
from scripts.benchmarks.measure import run, table

KEY, BLOCK = "made up", 500
SIGNAL = 0.02  # of a number's deviation: what the classes differ by in each


def rows(scratch: Path, repeats: int, quick: bool) -> str:
    """Time and peak memory of processes that train on made-up rows, labels and all."""
    sizes = ((2_000, 1_280), (4_000, 12_800)) if quick else ((2_000, 1_280), (20_000, 12_800))
    lines = []
    for m, n in sizes:
        path = scratch / "rows"
        cached(path, KEY, (m, n), _made_up(m, n))
        command: list[str | Path] = [sys.executable, "-m", "scripts.benchmarks.rows", path]
        costs = [run([*command, str(m), str(n)]) for _ in range(1 if quick else 3)]
        path.unlink()
        seconds, peak = min(c.seconds for c in costs), max(c.megabytes for c in costs)
        lines.append(
            [f"{m} rows of {n}", f"{m * n * 4 / 1e6:.0f} MB", f"{seconds:.1f} s", f"{peak:.0f} MB"]
        )
    return table(["rows of features in a cache", "size", "λ and training", "peak memory"], lines)


def _labels(m: int) -> NDArray[np.float64]:
    return (np.arange(m) % 2).astype(np.float64)[None]


def _made_up(m: int, n: int) -> Iterator[NDArray[np.float32]]:
    """Normal numbers, moved a little in one direction or the other by the label."""
    rng = np.random.default_rng(0)
    direction = rng.standard_normal(n, dtype=np.float32) * np.float32(SIGNAL)
    signs = (2 * _labels(m)[0] - 1).astype(np.float32)
    for start in range(0, m, BLOCK):
        block = rng.standard_normal((min(BLOCK, m - start), n), dtype=np.float32)
        block += signs[start : start + BLOCK, None] * direction
        yield block


def train(path: Path, m: int, n: int) -> None:
    """As ``catclf train --features KIND --cache FILE`` goes on once all images are encoded."""
    kept = cached(path, KEY, (m, n), ())
    kept.standard = Standardizer.of(kept)
    data = Encoded(kept, _labels(m), "rows", KEY)
    fit = solve(data, resolve(Settings(features="patches"), data).settings)
    assert fit.reason == "converged", fit.reason


if __name__ == "__main__":
    train(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
