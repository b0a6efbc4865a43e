"""Labelled images: every source becomes the same ``Dataset``."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catclf.datasets.dataset import (
    ENDINGS,
    HDF5_ENDINGS,
    MANIFEST,
    SHARD_ENDINGS,
    SPLITS,
    TABLE_ENDINGS,
    Dataset,
    ReadOptions,
    Split,
)
from catclf.datasets.listing import Listing, Source, to_dataset
from catclf.datasets.names import missing_shard, same_classes, split_of_shard
from catclf.errors import DataError, SettingsError
from catclf.images.preprocess import Preprocess
from catclf.storage.local import NO_NUL, kind_of_file
from catclf.storage.location import expanded, is_pattern, is_remote, locate
from catclf.text import counted, printable, reason, url_of, without_query

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def open_dataset(
    source: Any,
    split: Split = "train",
    options: ReadOptions | None = None,
    *,
    labels: ArrayLike | None = None,
) -> Dataset:
    """Read one split of a data set: HDF5, class or packed folders, an archive, a table, ``.npz``.

    ``source`` is its path, or a pattern of shards; ``split`` is the one taken where it has several.
    Or it is what Python holds: images (m, h, w, 3), paths of image files, or a table with a
    column of paths, such as a pandas ``DataFrame``; ``labels`` (m,) are then class names, or 0 and
    1, and may be left out where the table has a column of them. Raises DataError, and
    SettingsError for ``split``.

    >>> import numpy as np
    >>> images = np.zeros((4, 32, 32, 3), np.uint8)
    >>> data = open_dataset(images, labels=["cat", "dog", "dog", "cat"])
    >>> data.m, data.size, data.classes, data.Y
    (4, 32, ('dog', 'cat'), array([[1., 0., 0., 1.]]))
    """
    if split not in SPLITS:
        raise SettingsError(f"`split={split}` is unknown: use one of {', '.join(SPLITS)}")
    if labels is None and isinstance(source, str | os.PathLike):
        return to_dataset(open_source(source, options).split(split))
    from catclf.datasets import memory

    return to_dataset(memory.read(source, labels, options or ReadOptions()).split(split))


def open_source(path: str | os.PathLike[str], options: ReadOptions | None = None) -> Source:
    """What is at a path, found once: its labels are read, and its images not yet.

    ``path`` may be a pattern that stands for several archives: ``shards/{000..099}.tar``. Raises
    DataError.
    """
    path, options = Path(path), options or ReadOptions()
    files = files_of(path)
    if files != [path]:
        return _of_shards(path, files, options)
    if is_packed(path):
        from catclf.datasets import packed

        return packed.read(path, options)
    mode = _mode(path)
    if stat.S_ISDIR(mode):
        return _of_folder(path, options)
    if not stat.S_ISREG(mode):  # opening a pipe would wait for its writer
        raise DataError(f"{printable(path)}: is not a file: give a file or a folder")
    return _of_file(path, locate(path).name.lower(), options)


def _of_file(path: Path, name: str, options: ReadOptions) -> Source:
    """What is in a file, by its name in small letters."""
    shown = printable(path)
    if name.endswith(HDF5_ENDINGS):
        from catclf.datasets import hdf5

        return hdf5.read(path, options)
    if name.endswith(TABLE_ENDINGS):
        from catclf.datasets import table
        from catclf.images.tree import Folder

        return table.read(Folder.of(path.parent), path.name, shown, options)
    if name.endswith(".npz"):
        from catclf.datasets import arrays

        return arrays.read(path, options, arrays.npz)
    if is_shard(path):
        return _of_shards(path, [path], options)
    if name.endswith((".arrow", ".feather")):
        from catclf.datasets.folders import ARROW

        raise DataError(f"{shown}: Arrow files are not read: {ARROW}")
    kind = kind_of_file(Path(locate(path).local()))
    if kind and "empty" not in kind:
        raise DataError(f"{shown}: is no data set{kind}")
    raise DataError(
        f"{shown}: cannot tell what this is: give a folder of class folders, or a file ending in "
        f"{', '.join(ENDINGS)}"
    )


def _mode(path: Path) -> int:
    """The mode of a path on disk, or of the copy of a remote file.

    What would need many copies is read from disk alone. Raises DataError.
    """
    shown, place = printable(path), locate(path)
    try:
        if place.is_remote:
            is_table = without_query(path).lower().endswith(TABLE_ENDINGS)
            if is_table or (not place.is_file() and place.exists()):
                raise DataError(
                    f"{shown}: class folders and tables are read from disk alone: copy it here, or "
                    "make a tar of the images; shards have a pattern: '…/*.tar'"
                )
            place.renew()
        return Path(place.local() if place.is_remote else path).stat().st_mode
    except (OSError, ValueError) as error:
        raise DataError(f"{shown}: {_why(error)}") from error


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file or folder"
    return reason(error) if isinstance(error, OSError) else NO_NUL


def _of_folder(path: Path, options: ReadOptions) -> Source:
    """Class folders, or the shards that a folder holds as it was downloaded."""
    from catclf.datasets import folders
    from catclf.images.tree import Folder

    root = Folder.of(path)
    shards = folders.shards_in(root) if options.label_from != "name" else []
    if not shards:
        return folders.read(root, root.name, options)
    source = _of_shards(path, list(map(Path, shards)), options)
    some = ", ".join(printable(os.path.relpath(each, path)) for each in shards[:3])
    return source.noted(f"holds {counted(len(shards), 'archive')} of images, as {some}")


def _of_shards(path: Path, files: Sequence[Path], options: ReadOptions) -> Source:
    """Archives or Parquet files as one source; a file belongs to the split that it is named after.

    Raises DataError, also where one of a counted series is missing.
    """
    shown = printable(path)
    is_one = len(files) == 1 and (files == [path] or is_pattern(str(path)))
    if not is_one and not options.skip_bad and (gap := missing_shard(files)):
        raise DataError(
            f"{shown}: {printable(gap)} is missing among its files: fetch it, or go on without it "
            "with `skip_bad`"
        )
    named: dict[Any, list[Path]] = {}
    for file in files:
        named.setdefault(split_of_shard(file), []).append(file)
    if None in named or len(named) == 1:
        source, kind = _read_shards(path, files, options), next(iter(named))
        if len(named) > 1:
            odd, count = printable(named[None][0].name), counted(len(files), "file")
            return source.noted(f"{odd} is named after no split: all {count} are used")
        if kind in SPLITS and set(source.parts) == {None}:
            return replace(source, parts={kind: source.parts[None]}, lenient=True)
        return source

    def part(split: Split, options: ReadOptions) -> Listing:
        note = f"its {split} split is {counted(len(named[split]), 'file')} of {len(files)}"
        return _read_shards(path, named[split], options).noted(note).split(split, options)

    parts: dict[Any, Any] = {kind: partial(part, kind) for kind in named if kind != "other"}
    return Source(shown, options, parts)


def _read_shards(path: Path, files: Sequence[Path], options: ReadOptions) -> Source:
    """Files of one kind. Raises DataError where they are not."""
    from catclf.images.archive import is_archive
    from catclf.storage.parquet import is_parquet

    for file in files if len(files) > 1 else ():
        _mode(file)
    if all(is_archive(without_query(file)) for file in files):
        from catclf.datasets import folders

        return folders.read_archives(path, files, options)
    if all(is_parquet(without_query(file)) for file in files):
        from catclf.datasets import shards

        return shards.read_parquet(path, files, options)
    odd = next((file for file in files if not is_shard(file)), files[-1])
    raise DataError(
        f"{printable(path)}: stands for {len(files)} files, among them {printable(odd)}: only "
        f"archives or Parquet files are read together ({', '.join(SHARD_ENDINGS)})"
    )


def files_of(path: Path) -> list[Path]:
    """The files that a path stands for: those of a pattern, else itself. Raises DataError."""
    if not is_pattern(str(path)):
        return [path]
    url = url_of(path)
    try:
        names = expanded([url], unmatched=not is_remote(path))
    except OSError as error:
        raise DataError(
            f"{printable(error.filename)}: cannot be listed: {reason(error)}"
        ) from error
    if names in ([], [url]):
        raise DataError(f"{printable(path)}: there is no file of such a name")
    return [Path(name) for name in names]


def is_shard(file: Path) -> bool:
    """Whether a name is that of an archive or a Parquet file."""
    from catclf.images.archive import is_archive
    from catclf.storage.parquet import is_parquet

    name = without_query(file)
    return is_archive(name) or is_parquet(name)


def is_packed(folder: Path) -> bool:
    """Whether a folder, on disk or remote, holds the manifest of shards. Raises DataError.

    A remote path with the ending of a file, or with a query, is no folder: its store is not asked.
    """
    if (folder.suffix.lower() in ENDINGS or "?" in folder.name) and is_remote(folder):
        return False
    try:
        return locate(folder / MANIFEST).is_file()
    except (OSError, ValueError) as error:
        raise DataError(f"{printable(folder)}: cannot be read: {_why(error)}") from error


def open_parts(source: Source, test: Source | None = None) -> tuple[Dataset, Dataset | None]:
    """Training data and, where there is one, the test set: ``test``, or the source's own split.

    Raises DataError, also when the two do not belong together.
    """
    train = to_dataset(source.split("train"))
    if test is None and {"train", "test"} <= source.splits:
        test = source
    return train, None if test is None else open_like(train, test, "test")


def open_like(train: Dataset, source: Source, split: Split) -> Dataset:
    """One split of a source with the size, fit and positive class of ``train``.

    Raises DataError, also when its classes are others.
    """
    listing, data = _split_for(train.classes, train.preprocess, source, split)
    negative, positive = train.classes
    fits = same_classes(data.classes, train.classes)
    if listing.classes and negative == f"non-{positive}":  # which may be some of many
        fits = fits or same_classes(data.classes[1:], [positive])
    if not fits:
        raise DataError(
            f"{listing.shown}: the classes of the {split} split are "
            f"{printable(' and '.join(data.classes))}, those of {printable(train.source)} "
            f"{printable(' and '.join(train.classes))}: give both the same classes"
        )
    return replace(data, classes=train.classes)


def open_for(
    classes: tuple[str, str], preprocess: Preprocess, source: Source, split: Split
) -> Dataset:
    """One split of a source, with the classes and the preprocessing of a model.

    A note tells of negatives that have another name than in training. Raises DataError.
    """
    listing, data = _split_for(classes, preprocess, source, split)
    if listing.classes and not same_classes(data.classes[:1], classes[:1]):
        note = (
            f"{source.shown}: negatives are {printable(data.classes[0])} here and were "
            f"{printable(classes[0])} in training"
        )
        data = replace(data, notes=(*data.notes, note))
    return data


def _split_for(
    classes: tuple[str, str], preprocess: Preprocess, source: Source, split: Split
) -> tuple[Listing, Dataset]:
    """One split, listed and read as images of these classes.

    The positive class is ``positive`` of its options where that is given, because it is called
    something else there; their size and fit are not used. Raises DataError.
    """
    positive = source.options.positive or classes[1]
    changes: Any = {"positive": positive, "size": preprocess.size, "fit": preprocess.fit}
    listing = source.split(split, replace(source.options, **changes))
    if listing.items is not None:
        listing.preprocess = preprocess
    data = to_dataset(listing)
    if not data.m:
        raise DataError(f"{source.shown}: holds no images")
    return listing, data


def bytes_of(path: Path) -> int | None:
    """The bytes of a source's file or files; None for a folder."""
    files = [locate(file) for file in files_of(path)]
    return sum(file.size() for file in files) if all(file.is_file() for file in files) else None


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
