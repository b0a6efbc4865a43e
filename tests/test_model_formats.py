"""Model files of the format, kept as they were written: later versions give the same scores.

The files in ``models`` are not written again before the format changes. ONNX Runtime agreed with
their scores. One with a network would be too large to keep.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import ROOT

import catclf

FOLDER = ROOT / "tests" / "models"
PIXELS = [5.177447058823528, 0.41968627450980023, -3.143141176470589, -0.42014901960784456]
HOG = [0.07468586941063471, -6.042533235248174, -0.06951305133476815, 1.9244768408499642]
PATCHES = [-2.8715224497318275, 4.928256111919879, -1.5044140934348142, 1.5030782285928765]
# By file: kind, scores, how near they must be, and the numbers of the positive images.
KEPT: dict[str, tuple[str, list[float], float, list[int]]] = {
    "format4-pixels.npz": ("pixels", PIXELS, 1e-9, [0, 1, 3]),  # threshold 0.25: z > -1.0986
    "format4-threshold.npz": ("pixels", PIXELS, 1e-9, [0]),  # z > 1.5, kept as a score
    "format4-hog.npz": ("hog", HOG, 1e-9, [0, 3]),
    "format4-patches.npz": ("patches", PATCHES, 1e-4, [1, 3]),
}


def whole_numbers(size: int) -> Any:
    """Four images uint8 by a formula in whole numbers, equal on any machine."""
    i, y, x, c = np.ogrid[1:5, :size, :size, :3]
    return ((i * (3 * x * x + 5 * y * x + 7 * c * y) + i * i * 37 * c + 11 * y) % 256).astype(
        np.uint8
    )


def test_all_files_are_read() -> None:
    assert sorted(KEPT) == sorted(path.name for path in FOLDER.iterdir())
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 64 * 1024


@pytest.mark.parametrize("name", KEPT)
def test_a_file_of_each_format_gives_the_scores_that_it_gave(name: str) -> None:
    kind, scores, tolerance, positive = KEPT[name]
    model = catclf.load(FOLDER / name)
    assert (model.features.kind if model.features else "pixels") == kind
    assert model.classes == ("no cät", "cat")
    assert (model.preprocess.fit, model.preprocess.background) == ("crop", (9, 99, 200))
    assert (model.costs, model.cost_steps) == ((0.6931, 0.5, 0.25), (0, 100, 150))
    assert (model.training.source, model.training.images, model.training.train.tp) == ("made", 7, 3)
    images = whole_numbers(model.preprocess.size)
    Z = model.scores(images)[0]
    np.testing.assert_allclose(Z, scores, rtol=0, atol=tolerance)
    assert np.flatnonzero(model.boundary < Z).tolist() == positive
