"""Writes the pictures as HDF5 in the course's schema, block by block, in flat memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

import h5py  # type: ignore[import-untyped, unused-ignore]
import numpy as np
from numpy.typing import NDArray

from .brush import SIZE
from .camera import Pixels
from .picture import draw

BLOCK = 64  # pictures a chunk, and a piece of work
CLASSES = (b"non-cat", b"cat")
Block = tuple[Pixels, NDArray[np.int64], NDArray[np.bytes_]]


def draw_block(seed: int, split: str, start: int, stop: int) -> Block:
    """Return pictures start to stop of a split: pixels, labels and kinds."""
    drawn = [draw(seed, split, index) for index in range(start, stop)]
    pixels = np.stack([picture for picture, _, _ in drawn])
    labels = np.array([label for _, label, _ in drawn], dtype=np.int64)
    kinds = np.array([kind.encode() for _, _, kind in drawn], dtype="S32")
    return pixels, labels, kinds


def blocks(seed: int, split: str, count: int, workers: int) -> Iterator[Block]:
    """Yield a split's blocks in order; the same for any number of workers."""
    spans = [(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]
    if workers <= 1 or len(spans) == 1:
        for start, stop in spans:
            yield draw_block(seed, split, start, stop)
        return
    with ProcessPoolExecutor(workers) as pool:
        # A short queue: drawn blocks that wait to be written stay few, however many are asked.
        waiting: deque[Future[Block]] = deque()
        for start, stop in spans:
            waiting.append(pool.submit(draw_block, seed, split, start, stop))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def write(path: Path, seed: int, split: str, count: int, workers: int = 1, level: int = 9) -> None:
    """Write count pictures of a split; an interrupted run leaves no half-written file."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no such folder: {path.parent}")
    part = path.with_name(path.name + ".part")
    try:
        with h5py.File(part, "w") as file:
            _fill(file, seed, split, count, workers, level)
        part.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            part.unlink()
        raise


def _fill(file: h5py.File, seed: int, split: str, count: int, workers: int, level: int) -> None:
    """Fill an open file with a split."""
    # Without times of creation the same seed gives the same bytes.
    plain = {"compression": "gzip", "compression_opts": level, "track_times": False}
    side = min(BLOCK, count)
    shape = (SIZE, SIZE, 3)
    x = file.create_dataset(f"{split}_set_x", (count, *shape), "u1", chunks=(side, *shape), **plain)
    y = file.create_dataset(f"{split}_set_y", (count,), "i8", track_times=False)
    kind = file.create_dataset(f"{split}_set_kind", (count,), "S32", chunks=(side,), **plain)
    names = np.array(CLASSES, dtype="S7")
    file.create_dataset("list_classes", data=names, track_times=False)
    done = 0
    for pixels, labels, kinds in blocks(seed, split, count, workers):
        upto = done + len(labels)
        x[done:upto], y[done:upto], kind[done:upto] = pixels, labels, kinds
        done = upto


def read_kinds(path: Path, split: str) -> list[str]:
    """Return the kinds stored in a file, one a picture."""
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    with h5py.File(path, "r") as file:
        return [kind.decode() for kind in file[f"{split}_set_kind"][:]]
