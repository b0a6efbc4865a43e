"""Made-up data for measuring: smooth noise in which one class is a little brighter on the left."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 1000


def write_hdf5(path: Path, m: int, seed: int = 0) -> Path:
    """m images of 64x64 with labels, uncompressed, in the course's schema."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(m) < 0.5).astype(np.int64)
    with h5py.File(path, "w") as file:
        x = file.create_dataset("train_set_x", (m, 64, 64, 3), np.uint8)
        file["train_set_y"] = labels
        for start in range(0, m, _AT_ONCE):
            x[start : start + _AT_ONCE] = some(rng, labels[start : start + _AT_ONCE])
    return path


def some(rng: np.random.Generator, labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Images of these labels."""
    coarse = rng.integers(0, 180, (len(labels), 8, 8, 3)).astype(np.int16)
    coarse[:, :, :4] += (8 * labels).astype(np.int16).reshape(-1, 1, 1, 1)
    fine = rng.integers(0, 60, (len(labels), 64, 64, 3), dtype=np.int16)
    return (coarse.repeat(8, axis=1).repeat(8, axis=2) + fine).astype(np.uint8)


def write_jpegs(folder: Path, count: int) -> Path:
    """A folder of JPEGs of 200x200."""
    from PIL import Image

    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        small = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        small.resize((200, 200), Image.Resampling.BICUBIC).save(
            folder / f"{number:05}.jpg", quality=90
        )
    return folder
