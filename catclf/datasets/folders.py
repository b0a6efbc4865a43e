"""Class folders: ``photos/cat/*.jpg`` and ``photos/non-cat/*.png``, below part folders or not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from catclf.datasets.dataset import Part, Reading
from catclf.datasets.sources import FileSource
from catclf.errors import DataError
from catclf.images.formats import ENDINGS
from catclf.images.preprocess import Preprocess
from catclf.text import printable, reason

PARTS: dict[Part, tuple[str, ...]] = {
    "train": ("train", "training"),
    "test": ("test", "testing", "val", "valid", "validation"),
}


def read(root: Path, part: Part, reading: Reading) -> FileSource:
    """List the images of each class, by name. Raises DataError when there are not two classes."""
    divided = _parts(root)
    folder = root
    if divided:
        if part not in divided:
            other = printable(next(iter(divided.values())).name)
            raise DataError(f"{printable(root)}: has no {part} folder beside {other}")
        folder = divided[part]
    shown = printable(folder)
    classes = tuple(path.name for path in _folders(folder))
    if len(classes) < 2:
        found = f"one class folder, {printable(classes[0])}" if classes else "no class folders"
        raise DataError(
            f"{shown}: holds {found}: two are needed, such as {shown}/cat and {shown}/non-cat"
        )
    files: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found_files = list(_images(folder, name))
        if not found_files:
            raise DataError(
                f"{shown}: class folder {printable(name)} holds no images "
                f"({' '.join(sorted(ENDINGS))})"
            )
        files += found_files
        labels += [label] * len(found_files)
    preprocess = Preprocess(reading.size or reading.file_size, reading.fit or "squash")
    name = root.resolve().name
    return FileSource(shown, name, classes, np.array(labels), preprocess, folder, files, reading)


def parts(root: Path) -> set[Part]:
    """Whether there is a train and a test folder, each with class folders."""
    return set(_parts(root))


def _parts(root: Path) -> dict[Part, Path]:
    """The part folders, if the folders of ``root`` are parts rather than classes."""
    found: dict[Part, Path] = {}
    there = {path.name.lower(): path for path in _folders(root)}
    for part, names in PARTS.items():
        paths = (there[name] for name in names if name in there)
        path = next((path for path in paths if _folders(path)), None)
        if path is not None:
            found[part] = path
    return found


def _folders(folder: Path) -> list[Path]:
    try:
        paths = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        raise DataError(f"{printable(folder)}: cannot be listed: {reason(error)}") from error
    return [path for path in paths if not path.name.startswith(".")]


def _images(folder: Path, name: str) -> Iterator[str]:
    """Image files of a class and of folders in it, relative to ``folder``, in a fixed order.

    Links to folders are not followed, so that a loop of links ends. Raises DataError for a folder
    that cannot be listed: leaving out what is in it would change the result unseen.
    """

    def refuse(error: OSError) -> None:
        raise DataError(f"{printable(error.filename)}: cannot be listed: {reason(error)}")

    for place, inner, files in os.walk(folder / name, onerror=refuse):
        inner[:] = sorted(n for n in inner if not n.startswith("."))
        below = os.path.relpath(place, folder)
        for file in sorted(files):
            if not file.startswith(".") and Path(file).suffix.lower() in ENDINGS:
                yield str(Path(below) / file)
