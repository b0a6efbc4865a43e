"""The compiled products: the formula, the same bits for any workers, and life without Numba."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Run
from lazily import Labels, labelled, on_disk
from numpy.typing import NDArray

from catclf.datasets import open_dataset
from catclf.errors import SettingsError
from catclf.maths import cost_and_gradient
from catclf.training import Settings, solve
from catclf.training import kernels as passes
from catclf.training.objective import Point, StreamObjective, build, choose

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


@pytest.mark.parametrize("size", [8, 16])
def test_a_pass_is_the_formula(size: int) -> None:
    data, n = labelled(700, size), 3 * size * size
    point = Point(np.random.default_rng(3).standard_normal((n, 1)) / 50, -0.2)
    J, found = StreamObjective(data, 2.0, 2, fused=True).evaluate(point)
    X = data.images.reshape(700, n).T / 255.0
    expected, dw, db = cost_and_gradient(X, data.Y, point.coordinates, point.b, 2.0)
    assert pytest.approx(expected, rel=2e-6) == J
    assert found.b == pytest.approx(db, rel=2e-6, abs=2e-6)
    np.testing.assert_allclose(found.coordinates, dw, atol=2e-6 * np.abs(dw).max(), rtol=0)


@pytest.mark.parametrize(
    "m", [1, passes.FUSED_BLOCK + 1, 17 * passes.FUSED_BLOCK + 5, 33 * passes.FUSED_BLOCK]
)
def test_workers_and_place_change_no_bit(m: int) -> None:
    data = labelled(m, size=2)
    point = Point(np.random.default_rng(3).standard_normal((12, 1)) / 50, -0.2)
    found = set()
    for source in (data, on_disk(data)):
        for workers in (1, 2, 3):
            problem = StreamObjective(source, 2.0, workers, fused=True)
            J, gradient = problem.evaluate(point)
            found.add((J, gradient.b, gradient.coordinates.tobytes()))
    assert len(found) == 1


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


def test_divergence_is_named(run: Run, small_hdf5: Path, tmp_path: Path) -> None:
    args = ("train", "--data", small_hdf5, "--method", "fused", "--lr", "1e300", "-q")
    result = run(*args)
    assert result.code == 2
    assert "training diverged" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "model.npz").exists()


def test_rows_that_may_not_be_written_to_are_read(course: tuple[Path, Path]) -> None:
    data = open_dataset(course[0])
    frozen = np.asarray(data.images).copy()
    frozen.flags.writeable = False
    settings = Settings(iterations=3, method="fused")
    fits = [solve(source, settings) for source in (Labels(frozen, data.Y), data)]
    assert fits[0].w.tobytes() == fits[1].w.tobytes()


def test_the_layout_of_rows_changes_no_bit() -> None:
    values = np.random.default_rng(0).standard_normal((300, 500), dtype=np.float32)
    Y = (np.random.default_rng(1).random((1, 300)) > 0.5).astype(np.float64)
    point = Point(np.ones((500, 1)) / 100, 0.1)
    found = {
        StreamObjective(Labels(rows, Y), fused=True).evaluate(point)[1].coordinates.tobytes()
        for rows in (values, np.asfortranarray(values), np.repeat(values, 2, axis=1)[:, ::2])
    }
    assert len(found) == 1


def test_a_broken_numba_is_as_none(tmp_path: Path, small_hdf5: Path, run: Run) -> None:
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub" / "numba.py").write_text("raise OSError('no libllvm')\n")
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "stub")}
    code = "from catclf.training.objective import choose; print(choose(20_000, 12288, 2000))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert (done.stdout, done.stderr) == ("stream\n", "")
    result = run("train", "--data", small_hdf5, "--method", "fused", env=env)
    assert result.code == 2
    assert "needs Numba (no libllvm): " in result.stderr


def test_it_is_chosen_where_it_saves_more_than_compiling_takes() -> None:
    assert [choose(20_000, 12288, steps) for steps in (30, 50)] == ["stream", "fused"]
    assert choose(209, 12288, 2000) == "gram"
    assert choose(100_000, 12288, 100, batch=64) == "stream"
    assert choose(100_000, 12288, 100_000, batch=64) == "fused"


def test_without_numba_the_choice_is_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "catclf.training.numba_kernels", None)
    assert choose(20_000, 12288, 2000) == "stream"
    with pytest.raises(SettingsError, match="or use `method=stream`"):
        build(labelled(10), Settings(method="fused"))
