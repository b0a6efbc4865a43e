"""Model files taken apart, changed, and written again."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def npy(array: Any) -> bytes:
    """An array as NumPy's own file; objects are pickled."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


MISSING = object()


@dataclass
class Opened:
    """A model file's arrays and meta, to be changed."""

    arrays: dict[str, NDArray[Any]]
    meta: dict[str, Any]

    def put(self, place: str, value: Any) -> Opened:
        """Change one place in meta, such as ``preprocess.size``, or with MISSING take it out."""
        *way, name = place.split(".")
        inner = self.meta
        for key in way:
            inner = inner[key]
        inner[name] = value
        if value is MISSING:
            del inner[name]
        return self

    def write(self, path: Path) -> Path:
        arrays = self.arrays | {"meta": np.array(json.dumps(self.meta))}
        path.write_bytes(zipped({f"{name}.npy": npy(array) for name, array in arrays.items()}))
        return path


def opened(path: Path) -> Opened:
    with np.load(path) as file:
        arrays = {name: file[name] for name in file}
    meta = json.loads(str(arrays.pop("meta")))
    return Opened(arrays, meta)
