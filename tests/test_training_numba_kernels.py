"""The compiled products: the formula, the same bits for any workers, and life without Numba."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Run
from lazily import Labels, labelled
from numpy.typing import NDArray

from catclf.training import Settings, solve
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


@pytest.mark.parametrize(("k", "n"), SHAPES[:4])
def test_compiled_code_is_what_python_makes_of_it(
    k: int, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    P, rng = block(k, n, np.uint8), np.random.default_rng(2)
    w, Y = rng.standard_normal(n).astype(np.float32) / 1000, (rng.random(k) > 0.5).astype(float)
    v, Z, dw = rng.random(k), np.empty((3, k)), np.empty((2, n), np.float32)
    kernels.pass_over(P, w, 0.1, Y, v, Z[0], dw[0])
    kernels.scores(P, w, 0.1, Z[1])
    python = kernels.pass_over.py_func
    for name in ("_score", "_four_scores", "_add_eight", "_sigmoid"):
        monkeypatch.setattr(kernels, name, getattr(kernels, name).py_func)
    python(P, w, 0.1, Y, v, Z[2], dw[1])
    for other in Z[1:]:  # rows by four, as some of these are, are added in another order
        np.testing.assert_allclose(Z[0], other, rtol=0, atol=1e-5 * np.abs(Z).max())
    np.testing.assert_allclose(dw[0], dw[1], rtol=0, atol=1e-5 * np.abs(dw).max())


@pytest.mark.parametrize(
    "options",
    [{}, {"batch_size": 400}, {"solver": "lbfgs", "l2": 1.0}, {"validation": 0.2}],
    ids=str,
)
def test_training_ends_where_numpys_products_end(options: dict[str, Any]) -> None:
    data = labelled(1500, size=4)
    fits = {
        method: solve(data, Settings(iterations=30, method=method, **options))
        for method in ("stream", "fused")
    }
    assert fits["fused"].settings.method == "fused"
    size = np.linalg.norm(fits["stream"].w)
    assert np.linalg.norm(fits["fused"].w - fits["stream"].w) <= 1e-4 * size
    again = solve(data, Settings(iterations=30, method="fused", **options), workers=3)
    assert again.w.tobytes() == fits["fused"].w.tobytes()


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
    assert choose(209, 12288, 2000) == "gram"
    assert choose(100_000, 12288, 100, batch=64) == "stream"
    assert choose(100_000, 12288, 100_000, batch=64) == "fused"
