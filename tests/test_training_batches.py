"""Mini-batches: each image once an epoch, by seed and number of the update alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import FUSED
from lazily import Labels, labelled, on_disk

from catclf.maths.logistic import cost_and_gradient
from catclf.training import Settings, batches, solve
from catclf.training.batches import Batches


def numbered(m: int) -> Labels:
    """Images of one pixel whose values are their number, with a label that depends on it."""
    numbers = np.arange(m)
    pixels = np.stack([numbers % 256, numbers // 256, numbers * 0], axis=-1).astype(np.uint8)
    return Labels(pixels.reshape(m, 1, 1, 3), (numbers % 3 == 0).astype(np.float64).reshape(1, m))


def numbers_of(found: tuple[np.ndarray, np.ndarray]) -> list[int]:
    pixels, rows = found
    numbers = pixels[:, 0, 0, 0].astype(int) + 256 * pixels[:, 0, 0, 1].astype(int)
    assert np.array_equal(rows, numbers)  # labels stay with images
    return list(numbers.tolist())


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "WINDOW", 50)
    monkeypatch.setattr(batches, "CHUNK", 8)


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("place", ["memory", "disk", "chunks"])
@pytest.mark.parametrize("size", [1, 7, 64, 333, 1000])
def test_each_epoch_has_each_image_once(place: str, size: int) -> None:
    data = numbered(333)
    if place != "memory":
        data = on_disk(data, chunk_rows=10 if place == "chunks" else 0)
    found = Batches(data, size, seed=4)
    assert found.updates_per_epoch == math.ceil(333 / size)
    orders = []
    for epoch in range(2):
        updates = range(epoch * found.updates_per_epoch, (epoch + 1) * found.updates_per_epoch)
        lots = [numbers_of(found.batch(update)) for update in updates]
        assert {len(lot) for lot in lots[:-1]} <= {size}
        order = [number for lot in lots for number in lot]
        assert sorted(order) == list(range(333))
        orders.append(order)
    if size < 333:
        assert orders[0] != orders[1]


@pytest.mark.usefixtures("small_windows")
def test_images_on_disk_are_read_in_blocks_once_an_epoch() -> None:
    lazy = on_disk(numbered(333), chunk_rows=10)
    found = Batches(lazy, 25, seed=0)
    for update in range(found.updates_per_epoch):
        found.batch(update)
    slices = sorted(lazy.images.slices)
    assert all(start % 10 == 0 and (stop % 10 == 0 or stop == 333) for start, stop in slices)
    assert sum(stop - start for start, stop in slices) == 333
    first = [numbers_of(Batches(lazy, 25, seed=0).batch(0))][0]
    assert len({number // 10 for number in first}) > 2  # of several blocks


@pytest.mark.parametrize("method", ["stream", FUSED])
def test_an_update_follows_the_gradient_of_its_batch(method: str) -> None:
    data = labelled(50)
    settings = Settings(0.1, 6, l2=2.0, batch_size=20, seed=3, method=method)
    fit = solve(data, settings)
    w, b, order = np.zeros((192, 1)), 0.0, Batches(data, 20, seed=3)
    for update in range(6):
        pixels, rows = order.batch(update)
        X = pixels.reshape(len(pixels), -1).T / 255
        _, dw, db = cost_and_gradient(X, data.Y[:, rows], w, b)
        w, b = w - 0.1 * (dw + 2.0 / 50 * w), b - 0.1 * db  # the penalty is that of all images
    np.testing.assert_allclose(fit.w, w, rtol=1e-5, atol=1e-7)
    assert fit.b == pytest.approx(b, rel=1e-5)
    X = data.images.reshape(50, -1).T / 255
    assert fit.costs[-1] == pytest.approx(cost_and_gradient(X, data.Y, w, b, 2.0)[0], rel=1e-6)


def test_the_cost_shown_is_the_mean_since_the_last_one_kept() -> None:
    data = labelled(50)
    seen: dict[int, float] = {}
    settings = Settings(iterations=9, batch_size=20, print_every=4)
    fit = solve(data, settings, on_step=seen.__setitem__)
    each: dict[int, float] = {}
    solve(data, Settings(iterations=9, batch_size=20, print_every=1), on_step=each.__setitem__)
    assert seen[0] == pytest.approx(math.log(2), rel=1e-15)
    assert seen[4] == pytest.approx(np.mean([each[k] for k in (1, 2, 3, 4)]), rel=1e-12)
    assert seen[6] == pytest.approx(np.mean([each[k] for k in (5, 6)]), rel=1e-12)
    assert fit.cost_steps == (0, 4, 8, 9)
    assert fit.costs == tuple(seen[k] for k in fit.cost_steps)


def test_a_batch_of_all_images_is_full_batch_descent() -> None:
    data = labelled(50)
    whole = solve(data, Settings(iterations=20, method="stream"))
    for size in (50, 80):
        fit = solve(data, Settings(iterations=20, batch_size=size))
        assert fit.w.tobytes() == whole.w.tobytes()
