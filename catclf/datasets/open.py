"""Labelled images: every source becomes the same ``Dataset``."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from catclf.datasets.dataset import (
    ENDINGS,
    HDF5_ENDINGS,
    PARTS,
    SHARD_ENDINGS,
    TABLE_ENDINGS,
    Dataset,
    Part,
    Reading,
    is_packed,
)
from catclf.datasets.names import same_classes
from catclf.datasets.shards import files_of
from catclf.datasets.sources import FileSource, to_dataset
from catclf.errors import DataError, SettingsError
from catclf.images.archive import is_archive
from catclf.images.preprocess import Preprocess
from catclf.storage.copies import on_disk, renew
from catclf.storage.parquet import is_parquet
from catclf.storage.remote import exists, is_file, is_remote, size_of
from catclf.text import printable, reason

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from catclf.datasets.sources import Source


class _Reader(Protocol):
    """A module that reads several files as one source."""

    def read(
        self, path: Path, files: Sequence[Path], part: Part, reading: Reading
    ) -> FileSource: ...
    def parts(self, path: Path, files: Sequence[Path], reading: Reading) -> set[Part]: ...


def open_dataset(
    source: Any,
    part: Part = "train",
    reading: Reading | None = None,
    *,
    labels: ArrayLike | None = None,
) -> Dataset:
    """Read one part of a data set: HDF5, class or packed folders, an archive, a table, or ``.npz``.

    ``source`` is its path, or a pattern of shards; ``part`` is the part taken where it holds both.
    Or it is what Python holds: images uint8 (m, h, w, 3), paths of image files, or a table with a
    column of paths, such as a pandas ``DataFrame``; ``labels`` (m,) are then class names, or 0 and
    1, and may be left out where the table has a column of them. Raises DataError, and
    SettingsError for ``part``.

    >>> import numpy as np
    >>> images = np.zeros((4, 32, 32, 3), np.uint8)
    >>> data = open_dataset(images, labels=["cat", "dog", "dog", "cat"])
    >>> data.m, data.size, data.classes, data.Y
    (4, 32, ('dog', 'cat'), array([[1., 0., 0., 1.]]))
    """
    reading = reading or Reading()
    if part not in PARTS:
        raise SettingsError(f"`part={part}` is unknown: use one of {', '.join(PARTS)}")
    if labels is None and isinstance(source, str | os.PathLike):
        return to_dataset(open_source(source, part, reading), reading)
    from catclf.datasets import in_memory

    return to_dataset(in_memory.read(source, labels, reading, part), reading)


def open_parts(
    data: Path, test: Path | None, reading: Reading | None = None
) -> tuple[Dataset, Dataset | None]:
    """Training data and, where there is one, the test set: ``test``, or ``data``'s own test part.

    Raises DataError, also when the two parts do not belong together.
    """
    reading = reading or Reading()
    train = open_dataset(data, "train", reading)
    if test is None and has_both_parts(data, reading):
        test = data
    return train, None if test is None else open_like(train, test, "test", reading)


def open_like(train: Dataset, path: Path, part: Part, reading: Reading) -> Dataset:
    """One part of a source with the size, fit and positive class of ``train``.

    Raises DataError, also when its classes are others.
    """
    same = replace(
        reading,
        positive=reading.positive or train.classes[1],
        size=train.size,
        fit=train.preprocess.fit,
    )
    source = open_source(path, part, same)
    data = to_dataset(source, same)
    if not _fits(data.classes, train.classes, source.classes):
        raise DataError(
            f"{source.shown}: the classes of the {part} part are "
            f"{printable(' and '.join(data.classes))}, those of {printable(train.source)} "
            f"{printable(' and '.join(train.classes))}: give both parts the same classes"
        )
    return replace(data, classes=train.classes)


def _fits(classes: tuple[str, str], trained: tuple[str, str], held: tuple[str, ...]) -> bool:
    """Whether a part's classes are those of training: its negatives may be some of many."""
    if same_classes(classes, trained):
        return True
    rest = trained[0] == f"non-{trained[1]}"
    return bool(held) and rest and same_classes(classes[1:], trained[1:])


def open_source(path: str | os.PathLike[str], part: Part, reading: Reading) -> Source:
    """The reader for what is at ``path``, with its labels read and its images not yet.

    ``path`` may be a pattern that stands for several archives: ``shards/{000..099}.tar``.
    """
    path = Path(path)
    files = files_of(path)
    if len(files) > 1:
        return _reader_of_shards(path, files).read(path, files, part, reading)
    return _open_file(files[0], part, reading)


def _open_file(path: Path, part: Part, reading: Reading) -> Source:
    shown, ending = printable(path), path.suffix.lower()
    if is_remote(path) and is_packed(path):
        from catclf.datasets import packed

        return packed.read(path, part, reading)
    try:
        mode = _mode_of_remote(path) if is_remote(path) else path.stat().st_mode
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        why = "there is no such file or folder" if missing else reason(error)
        raise DataError(f"{shown}: {why}") from error
    if stat.S_ISDIR(mode):
        from catclf.datasets import folders

        if is_packed(path):
            from catclf.datasets import packed

            return packed.read(path, part, reading)
        return folders.read(path, part, reading)
    if not stat.S_ISREG(mode):  # opening a pipe would wait for its writer
        raise DataError(f"{shown}: is not a file: give a file or a folder")
    if may_be_shard(path):
        return _reader_of_shards(path, [path]).read(path, [path], part, reading)
    if ending in TABLE_ENDINGS:
        from catclf.datasets import table

        return table.read(path, part, reading)
    if ending == ".npz":
        from catclf.datasets import npz

        return npz.read(path, part, reading)
    if ending in HDF5_ENDINGS:
        from catclf.datasets import hdf5

        return hdf5.read(path, part, reading)
    raise DataError(
        f"{shown}: cannot tell what this is: give a folder of class folders, or a file ending in "
        f"{', '.join(ENDINGS)}"
    )


def _mode_of_remote(path: Path) -> int:
    """The mode of a remote file that a copy is read of. Raises OSError, and DataError for others.

    There they are what would need many copies.
    """
    shown = printable(path)
    if not is_file(path) and exists(path):
        raise DataError(
            f"{shown}: class folders are read from disk alone: copy the folder, or make a tar of it"
        )
    if path.suffix.lower() in TABLE_ENDINGS:
        raise DataError(f"{shown}: tables are read from disk alone: copy it and its images")
    renew(path)
    return os.stat(on_disk(path)).st_mode  # noqa: PTH116


def _reader_of_shards(path: Path, files: Sequence[Path]) -> _Reader:
    """The module that reads these files as one source. Raises DataError where there is none."""
    if all(is_archive(str(file)) for file in files):
        from catclf.datasets import archives

        return archives
    if all(is_parquet(str(file)) for file in files):
        from catclf.datasets import parquet

        return parquet
    odd = next((file for file in files if not may_be_shard(file)), files[-1])
    raise DataError(
        f"{printable(path)}: stands for {len(files)} files, among them {printable(odd)}: only "
        f"archives or Parquet files are read together ({', '.join(SHARD_ENDINGS)})"
    )


def may_be_shard(file: Path) -> bool:
    """Whether a name is that of an archive or a Parquet file."""
    return is_archive(str(file)) or is_parquet(str(file))


def parts_of(path: Path, reading: Reading | None = None) -> set[Part]:
    """Which parts a source holds under their names; none where it is not divided."""
    files = files_of(path)
    if len(files) > 1:
        return _reader_of_shards(path, files).parts(path, files, reading or Reading())
    path = files[0]
    if is_packed(path):
        from catclf.datasets import packed

        return packed.parts(path)
    if path.is_dir():
        from catclf.datasets import folders

        return folders.parts(path, reading)
    if may_be_shard(path) and is_file(path):
        return _reader_of_shards(path, files).parts(path, files, reading or Reading())
    if path.suffix.lower() in TABLE_ENDINGS and path.is_file():
        from catclf.datasets import table

        return table.parts(path, reading)
    if path.suffix.lower() in HDF5_ENDINGS:
        from catclf.datasets import hdf5

        return hdf5.parts(path)
    if path.suffix.lower() == ".npz":
        from catclf.datasets import npz

        return npz.parts(path)
    return set()


def is_there(path: Path) -> bool:
    """Whether a source is there: all files of a pattern. Raises DataError where none is."""
    try:
        return all(map(exists, files_of(path)))
    except OSError as error:
        raise DataError(f"{printable(path)}: cannot be read: {reason(error)}") from error


def bytes_of(path: Path) -> int | None:
    """The bytes of a source's file or files; None for a folder."""
    files = files_of(path)
    return sum(map(size_of, files)) if all(map(is_file, files)) else None


def has_both_parts(path: Path, reading: Reading | None = None) -> bool:
    """Whether a source holds a training and a test part."""
    return {"train", "test"} <= parts_of(path, reading)


def stores_pixels(path: Path) -> bool:
    """Whether images lie there as pixels of one size, and not as files that are decoded."""
    stored = path.suffix.lower() in (*HDF5_ENDINGS, ".npz") and not path.is_dir()
    return stored or is_packed(path)


def bundled() -> tuple[Path, Path]:
    """Train and test files of the data set that comes with the program."""
    package = Path(__file__).parents[1]
    for folder in (package / "data", package.parent / "data"):  # installed, then a checkout
        train, test = folder / "train.h5", folder / "test.h5"
        if train.is_file() and test.is_file():
            return train, test
    raise DataError("the bundled data set is missing from this installation: give `data`")


def open_for(
    classes: tuple[str, str],
    preprocess: Preprocess,
    path: Path,
    part: Part,
    reading: Reading | None = None,
) -> Dataset:
    """One part of a source, with the classes and the preprocessing of a model.

    The positive class is ``reading.positive`` where that is given, because it is called something
    else there, and the model's otherwise; size and fit of ``reading`` are not used. A note tells
    of negatives that have another name than in training. Raises DataError.
    """
    negative, positive = classes
    reading = reading or Reading()
    same = replace(
        reading,
        positive=reading.positive or positive,
        size=preprocess.size,
        fit=preprocess.fit,
    )
    source = open_source(path, part, same)
    if isinstance(source, FileSource):
        source.preprocess = preprocess
    data = to_dataset(source, same)
    if not data.m:
        raise DataError(f"{printable(path)}: holds no images")
    if source.classes and not same_classes(data.classes[:1], [negative]):
        note = (
            f"{printable(path)}: negatives are {printable(data.classes[0])} here and were "
            f"{printable(negative)} in training"
        )
        data = replace(data, notes=(*data.notes, note))
    return data
