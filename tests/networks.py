"""A network with random weights, for tests without the pretrained ones."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from torch_files import random_checkpoint

from catclf.features.network.architecture import convolutions
from catclf.features.network.quantize import Weights, quantize


@lru_cache(maxsize=1)
def random_tensors() -> dict[str, NDArray[np.float32]]:
    """A checkpoint's tensors with the names and shapes of the network's."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in convolutions():
        shapes[f"{layer.weight}.weight"] = layer.checkpoint_shape
        for name in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{layer.norm}.{name}"] = (layer.outputs,)
    return random_checkpoint(shapes, seed=5)


@lru_cache(maxsize=1)
def random_weights() -> Weights:
    return quantize(random_tensors())
