"""Archives made of contents, for the tests that read them."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

Writer = Callable[[Path, Mapping[str, bytes]], Path]


def image_bytes(seed: int, format: str = "PNG") -> bytes:
    """An image of noise."""
    rng = np.random.default_rng(seed)
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(file, format)
    return file.getvalue()


def add(archive: tarfile.TarFile, name: str, content: bytes = b"", **facts: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for fact, value in facts.items():
        setattr(info, fact, value)
    archive.addfile(info, io.BytesIO(content))


def tar(path: Path, files: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            facts = {"type": tarfile.DIRTYPE} if name.endswith("/") else {}
            add(archive, name, content, **facts)
    return path


def stored(path: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def samples(labels: Sequence[object], ending: str = "cls", first: int = 0) -> dict[str, bytes]:
    """The files of samples, each with an image and a file with its label."""
    files = {}
    for number, label in enumerate(labels, first):
        files[f"{number:06d}.png"] = image_bytes(number)
        files[f"{number:06d}.{ending}"] = label if isinstance(label, bytes) else str(label).encode()
    return files


deflated = partial(stored, method=zipfile.ZIP_DEFLATED)
WRITERS: dict[str, tuple[Writer, str]] = {
    "tar": (tar, "a.tar"),
    "stored": (stored, "a.zip"),
    "deflated": (deflated, "b.ZIP"),
}
