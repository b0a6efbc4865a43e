"""Folded and quantised weights beside plain Python arithmetic, number by number."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from networks import random_tensors, random_weights

from catclf.errors import ModelError
from catclf.features.network.architecture import BIAS_LIMIT, SCALE_LIMIT, convolutions, counts
from catclf.features.network.pretrained import quantize


def test_the_architecture_has_the_published_numbers() -> None:
    """6.09 million parameters with the classifier, of which each normalisation keeps two."""
    weights, channels = counts()
    classifier = 1280 * 1000 + 1000
    assert weights + 2 * channels + classifier == 6_092_072
    blocks = [layer for layer in convolutions() if layer.ends_block]
    assert len(blocks) == 21
    assert [layer.outputs for layer in blocks if not layer.residual] == [
        *(16, 24, 48, 88, 120, 208, 352),
    ]


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 10, 20])
def test_each_weight_is_the_nearest_step_of_its_channel(number: int) -> None:
    """Exactly, in Python's own floats: gamma w / sqrt(variance + 0.001) / (largest / 127)."""
    tensors, layer = random_tensors(), convolutions()[number]
    got, w, b = random_weights().layers()[number]
    assert got == layer
    kernels = tensors[f"{layer.weight}.weight"].tolist()  # (outputs, inputs, kernel, kernel)
    norm = {
        name: tensors[f"{layer.norm}.{name}"].tolist()
        for name in ("weight", "bias", "running_mean", "running_var")
    }
    for channel in range(0, layer.outputs, 1 + layer.outputs // 8):
        factor = norm["weight"][channel] / math.sqrt(norm["running_var"][channel] + 1e-3)
        folded = {
            (i, j, c): kernels[channel][c][i][j] * factor
            for c in range(len(kernels[channel]))
            for i in range(layer.kernel)
            for j in range(layer.kernel)
        }
        scale = float(np.float32(max(map(abs, folded.values())) / 127))
        for (i, j, c), value in folded.items():
            place = (i, j, channel)
            if not layer.depthwise:
                place = ((i * layer.kernel + j) * layer.inputs + c, channel)  # type: ignore[assignment]
            expected = np.float32(round(value / scale)) * np.float32(scale)
            assert w[place] == expected
        bias = norm["bias"][channel] - norm["running_mean"][channel] * factor
        assert b[channel] == np.float32(bias)


def test_a_channel_of_zeros_stays_zero() -> None:
    tensors = dict(random_tensors())
    tensors["_conv_stem.weight"] = tensors["_conv_stem.weight"].copy()
    tensors["_conv_stem.weight"][3] = 0
    _, w, _ = quantize(tensors).layers()[0]
    assert not w[:, 3].any()
    assert w[:, 2].any()


def test_the_order_of_a_tensors_memory_does_not_matter() -> None:
    turned = {name: np.asfortranarray(tensor) for name, tensor in random_tensors().items()}
    again = quantize(turned)
    np.testing.assert_array_equal(again.values, random_weights().values)
    np.testing.assert_array_equal(again.scales, random_weights().scales)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("values", -128),
        ("scales", 0.0),
        ("scales", -1.0),
        ("scales", SCALE_LIMIT * 1.01),
        ("scales", np.nan),
        ("scales", np.inf),
        ("biases", -BIAS_LIMIT * 1.01),
        ("biases", np.nan),
    ],
)
def test_numbers_out_of_bounds_are_refused(name: str, value: float) -> None:
    array = getattr(random_weights(), name).copy()
    array[-1] = value
    with pytest.raises(ModelError, match="out of bounds"):
        replace(random_weights(), **{name: array})


@pytest.mark.parametrize("name", ["values", "scales", "biases"])
def test_arrays_of_other_lengths_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match="other shapes"):
        replace(random_weights(), **{name: getattr(random_weights(), name)[1:]})
