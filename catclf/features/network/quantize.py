"""A checkpoint's weights as int8 with a scale for each output channel.

The batch normalisation that follows a convolution is folded into it first: with γ, β, mean μ and
variance v of a channel and s = γ / sqrt(v + ε), the weights become w s and the bias β - μ s. Every
step is one correctly rounded operation of IEEE 754 arithmetic on each number by itself, so that
the bytes are the same on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.errors import ModelError
from catclf.features.network.architecture import Convolution, convolutions, counts

EPSILON = 1e-3  # of the batch normalisations
LARGEST = 127  # of an int8 weight; -128 is not used
SCALE_LIMIT, BIAS_LIMIT = 1e2, 1e4  # the pretrained ones stay below 0.1 and 30


@dataclass(frozen=True)
class Weights:
    """All convolutions' weights one after the other, w = values * scale of the output channel.

    ``values`` int8 (weights,), in C order of ``Convolution.shape``; ``scales`` and ``biases``
    float32 (channels,). Raises ModelError for numbers that quantisation does not make: with these
    bounds no sum in the network can overflow.
    """

    values: NDArray[np.int8]
    scales: NDArray[np.float32]
    biases: NDArray[np.float32]

    def __post_init__(self) -> None:
        whole, channels = counts()
        shapes = (self.values.shape, self.scales.shape, self.biases.shape)
        if shapes != ((whole,), (channels,), (channels,)):
            raise ModelError("has network weights of other shapes than the network's")
        sound = (
            self.values.min() >= -LARGEST
            and np.isfinite(self.scales).all()
            and self.scales.min() > 0
            and self.scales.max() <= SCALE_LIMIT
            and np.isfinite(self.biases).all()
            and np.abs(self.biases).max() <= BIAS_LIMIT
        )
        if not sound:
            raise ModelError("has network weights that are out of bounds")

    def layers(self) -> list[tuple[Convolution, NDArray[np.float32], NDArray[np.float32]]]:
        """Each convolution with its weights float32 (``shape``) and biases (outputs,)."""
        found, at, channel = [], 0, 0
        for layer in convolutions():
            size, channels = math.prod(layer.shape), slice(channel, channel + layer.outputs)
            w = self.values[at : at + size].reshape(layer.shape).astype(np.float32)
            w *= self.scales[channels]
            found.append((layer, w, self.biases[channels]))
            at, channel = at + size, channel + layer.outputs
        return found


def quantize(tensors: Mapping[str, NDArray[Any]]) -> Weights:
    """The weights of a checkpoint. Raises ModelError where tensors are missing or of other shapes.

    A channel's scale is its largest |w| / 127, at least 1e-12, as float32; its weights are
    w / scale, rounded to the nearest whole number, halves to even.
    """
    values, scales, biases = [], [], []
    for layer in convolutions():
        w, b = _fold(tensors, layer)
        scale = (np.maximum(np.abs(w).max(axis=0), LARGEST * 1e-12) / LARGEST).astype(np.float32)
        whole = np.rint(w / scale.astype(np.float64))
        values.append(np.clip(whole, -LARGEST, LARGEST).astype(np.int8).ravel())
        scales.append(scale)
        biases.append(b.astype(np.float32))
    return Weights(np.concatenate(values), np.concatenate(scales), np.concatenate(biases))


def _fold(
    tensors: Mapping[str, NDArray[Any]], layer: Convolution
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (numbers of a channel, outputs) and biases (outputs,) with the normalisation."""
    w = _tensor(tensors, f"{layer.weight}.weight", layer.checkpoint_shape)
    gamma, beta, mean, variance = (
        _tensor(tensors, f"{layer.norm}.{name}", (layer.outputs,))
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / np.sqrt(variance + EPSILON)
    # (outputs, inputs, kernel, kernel) to (kernel, kernel, inputs, outputs)
    kernels = w.transpose(2, 3, 1, 0).reshape(-1, layer.outputs)
    return kernels * scale, beta - mean * scale


def _tensor(
    tensors: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    tensor = tensors.get(name)
    if tensor is None or tensor.shape != shape or tensor.dtype.kind != "f":
        raise ModelError(f"has no tensor {name} of shape {shape}")
    return tensor.astype(np.float64)
