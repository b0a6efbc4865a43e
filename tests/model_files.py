"""Model files taken apart, changed, and written again."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class Opened:
    """A model file's arrays and meta, to be changed."""

    arrays: dict[str, NDArray[Any]]
    meta: dict[str, Any]

    def write(self, path: Path) -> Path:
        arrays = self.arrays | {"meta": np.array(json.dumps(self.meta))}
        with zipfile.ZipFile(path, "w") as made:
            for name, array in arrays.items():
                content = io.BytesIO()
                np.lib.format.write_array(content, array, (1, 0), allow_pickle=False)
                made.writestr(f"{name}.npy", content.getvalue())
        return path


def opened(path: Path) -> Opened:
    with np.load(path) as file:
        arrays = {name: file[name] for name in file}
    meta = json.loads(str(arrays.pop("meta")))
    return Opened(arrays, meta)
