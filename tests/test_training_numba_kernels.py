"""The compiled products: the formula, the same bits for any workers, and life without Numba."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Run
from lazily import Labels
from numpy.typing import NDArray

from catclf.training import objective as passes
from catclf.training.objective import Point, StreamObjective, choose

kernels = pytest.importorskip("catclf.training.numba_kernels", reason="no Numba")


def block(k: int, n: int, dtype: type[Any]) -> NDArray[Any]:
    rng = np.random.default_rng([k, n])
    if dtype is np.uint8:
        return rng.integers(0, 256, (k, n), dtype=np.uint8)
    return rng.standard_normal((k, n), dtype=np.float32)


# Rows in eights with several rests, columns below, at and above a run.
SHAPES = [(1, 3), (3, 12), (4, 2047), (7, 2048), (8, 2049), (13, 5000), (256, 12288)]


@pytest.mark.parametrize(("k", "n"), SHAPES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 3.0)])
def test_the_sums_are_those_of_float64(
    k: int, n: int, dtype: type[Any], weights: tuple[float, float]
) -> None:
    P, rng = block(k, n, dtype), np.random.default_rng(1)
    w = (rng.standard_normal((n, 1)) / (100 * n**0.5)).astype(np.float32)
    Y = (rng.random((1, k)) > 0.5).astype(np.float64)
    products = passes.Fused(n)
    v = np.where(Y.T > 0.5, weights[1], weights[0])
    given = None if weights == (1.0, 1.0) else v.T
    sums = products.sums(P, w, 0.3, Y, given)
    exact = P.astype(np.float64)
    Z = exact @ w + 0.3
    dZ = v * (1 / (1 + np.exp(-Z)) - Y.T)
    assert sums.loss == pytest.approx(float((v * (np.logaddexp(0, Z) - Y.T * Z)).sum()), rel=1e-5)
    assert products.sums(P, w, 0.3, Y, given, gradient=False).loss == pytest.approx(
        sums.loss, rel=1e-6
    )
    assert sums.db == pytest.approx(float(dZ.sum()), rel=1e-5, abs=1e-5)
    # Each sum is off by no more than some roundings of the sum of its terms' sizes.
    close = 1e-5 * (np.abs(exact.T) @ np.abs(dZ))
    assert (np.abs(sums.dw - exact.T @ dZ) <= close).all()


def test_the_layout_of_rows_changes_no_bit() -> None:
    values = np.random.default_rng(0).standard_normal((300, 500), dtype=np.float32)
    Y = (np.random.default_rng(1).random((1, 300)) > 0.5).astype(np.float64)
    point = Point(np.ones((500, 1)) / 100, 0.1)
    frozen = values.copy()
    frozen.flags.writeable = False
    others = frozen, np.asfortranarray(values), np.repeat(values, 2, axis=1)[:, ::2]
    found = {
        StreamObjective(Labels(rows, Y), fused=True).evaluate(point)[1].coordinates.tobytes()
        for rows in (values, *others)
    }
    assert len(found) == 1


def test_a_broken_numba_is_as_none(tmp_path: Path, small_hdf5: Path, run: Run) -> None:
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub" / "numba.py").write_text("raise OSError('no libllvm')\n")
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "stub")}
    args = ("train", "--data", small_hdf5, "--method")
    run(*args, "fused", env=env).refused("needs Numba (no libllvm): ", "--method stream")


def test_it_is_chosen_where_it_saves_more_than_compiling_takes() -> None:
    assert [choose(20_000, 12288, steps) for steps in (30, 50)] == ["stream", "fused"]
    assert choose(100_000, 12288, 100, batch=64) == "stream"
    assert choose(100_000, 12288, 100_000, batch=64) == "fused"
