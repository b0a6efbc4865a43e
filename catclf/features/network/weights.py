"""The network's weights as a model file keeps them: int8 with a scale for each output channel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catclf.errors import ModelError
from catclf.features.network.architecture import Convolution, convolutions, counts

LARGEST = 127  # of an int8 weight; -128 is not used
SCALE_LIMIT, BIAS_LIMIT = 1e2, 1e4  # the pretrained ones stay below 0.1 and 40


@dataclass(frozen=True)
class Weights:
    """All convolutions' weights one after the other, w = values * scale of the output channel.

    ``values`` int8 (weights,), in C order of ``Convolution.shape``; ``scales`` and ``biases``
    float32 (channels,). Raises ModelError for numbers that quantization does not make: with these
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
            and 0 < self.scales.min() <= self.scales.max() <= SCALE_LIMIT
            and np.isfinite(self.biases).all()
            and np.abs(self.biases).max() <= BIAS_LIMIT
        )
        if not sound:
            raise ModelError("has network weights that are out of bounds")

    def stored(
        self,
    ) -> Iterator[tuple[Convolution, NDArray[np.int8], NDArray[np.float32], NDArray[np.float32]]]:
        """Each convolution with its values (``shape``), scales and biases (outputs,)."""
        at, channel = 0, 0
        for layer in convolutions():
            size, channels = math.prod(layer.shape), slice(channel, channel + layer.outputs)
            values = self.values[at : at + size].reshape(layer.shape)
            yield layer, values, self.scales[channels], self.biases[channels]
            at, channel = at + size, channel + layer.outputs

    def layers(self) -> list[tuple[Convolution, NDArray[np.float32], NDArray[np.float32]]]:
        """Each convolution with its weights float32 (``shape``) and biases (outputs,)."""
        return [(layer, v.astype(np.float32) * scales, b) for layer, v, scales, b in self.stored()]
