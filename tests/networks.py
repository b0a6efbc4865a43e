"""A network with random weights, for tests without the pretrained ones."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from catclf.features.efficientnet import Weights, convolutions, quantize


@lru_cache(maxsize=1)
def random_tensors() -> dict[str, NDArray[np.float32]]:
    """Tensors as training might leave them: variances are positive, weights shrink with inputs."""
    rng, found = np.random.default_rng(5), {}
    for layer in convolutions():
        inputs = 1 if layer.depthwise else layer.inputs
        shape = layer.outputs, inputs, layer.kernel, layer.kernel
        kernels = rng.normal(size=shape) * 1.3 / np.sqrt(np.prod(shape[1:]))
        found[f"{layer.weight}.weight"] = kernels.astype("<f4")
        for name in ("weight", "bias", "running_mean", "running_var"):
            values = rng.normal(size=layer.outputs)
            if name == "running_var":
                values = np.abs(values) + 0.2
            found[f"{layer.norm}.{name}"] = values.astype("<f4")
    return found


@lru_cache(maxsize=1)
def random_weights() -> Weights:
    return quantize(random_tensors())
