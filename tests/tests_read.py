"""Stand-ins for the reader of a model file's arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.errors import ModelError
from catclf.features.base import Read


def no_arrays(name: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """The reader of a file without arrays."""
    raise ModelError(f"has no {name}")


def reader(arrays: dict[str, NDArray[np.float32]]) -> Read:
    """The reader of a file with these arrays, as strict as the real one."""

    def read(name: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
        array = arrays[name]
        if array.shape != shape or array.dtype.str != dtype:
            raise ModelError(f"has {name} of {array.dtype.str} {array.shape}")
        return array

    return read
