"""HDF5 data sets in the course's schema: the one door to h5py.

A file from a stranger must not make us read another file or allocate what it does not hold: only
data sets reached by hard links, stored in this file and filled to their declared size are read.
"""

from __future__ import annotations

import math
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from catclf import machine
from catclf.datasets import schema
from catclf.datasets.arrays import as_pixels, is_plain, require_numbers
from catclf.datasets.blank import blank_notes
from catclf.datasets.dataset import Part, Reading
from catclf.datasets.hdf5_rows import DiskRows
from catclf.datasets.labels import CLASSES_LIMIT, as_labels, check_classes, check_shape
from catclf.datasets.sources import ArraySource
from catclf.errors import DataError
from catclf.maths import Pixels
from catclf.storage.copies import on_disk
from catclf.storage.kinds import kind_of_file
from catclf.text import counted, printable, reason

MOST_COMPRESSION = 1100  # deflate reaches 1032:1 at best
IN_MEMORY = 256 * 1024 * 1024  # bytes of pixels: more than this stays on disk where that is fast
FIT, RESAMPLING = "catclf_fit", "catclf_resampling"  # attributes of packed images
KEYS_LIMIT = 1000  # data sets in groups that are looked at


def read(path: Path, part: Part, reading: Reading) -> ArraySource:
    """Read labels and class names of one part, and images, unless they stay on disk.

    Raises DataError.
    """
    shown = printable(path)
    file = _opened(path)
    try:
        source = _read(file, path, part, reading)
    except BaseException as error:
        file.close()
        if isinstance(error, DataError) or not isinstance(error, Exception):
            raise
        # h5py raises anything at all on damaged files
        raise DataError(f"{shown}: is damaged and cannot be read as HDF5") from error
    if isinstance(source.pixels, np.ndarray):
        file.close()
    return source


def read_labels(stream: BinaryIO, path: Path, part: Part) -> ArraySource:
    """The same of an open file that this program wrote, without images, which nothing fetches.

    ``path`` is its name. Raises DataError.
    """
    import h5py  # noqa: TID251

    shown = printable(path)
    try:
        with h5py.File(stream, "r") as file:
            x_key, y_key = schema.find_keys(_keys(file), part, shown, None)
            label_set, images = _dataset(file, y_key, shown), _dataset(file, x_key, shown)
            where = f"{shown}: {y_key}"
            check_shape(label_set.shape, label_set.dtype, where)
            classes = _read_classes(file, images, label_set, shown)
            named = as_labels(_fetch(label_set, where), classes, where, matlab=False)
            attributes = (_attribute(images, FIT), _attribute(images, RESAMPLING))
            preprocess = schema.recorded(*attributes, images.shape[1], Reading(), shown)
            names = _read_names(file, x_key, len(named.labels), shown)
            none = np.empty((0, *images.shape[1:]), np.uint8)
            return ArraySource(
                shown, path.name, named.classes, named.labels, preprocess, none, names
            )
    except DataError:
        raise
    except Exception as error:  # h5py raises anything at all on damaged files
        raise DataError(f"{shown}: is damaged and cannot be read as HDF5") from error


def _read(file: Any, path: Path, part: Part, reading: Reading) -> ArraySource:
    shown = printable(path)
    x_key, y_key = schema.find_keys(_keys(file), part, shown, reading.keys)
    label_set, images = _dataset(file, y_key, shown), _dataset(file, x_key, shown)
    matlab = _is_matlab(path, images)
    where, x_where = f"{shown}: {y_key}", f"{shown}: {x_key}"
    check_shape(label_set.shape, label_set.dtype, where)
    classes = _read_classes(file, images, label_set, shown)
    values = _fetch(label_set, where)
    named = as_labels(values, classes or reading.classes, where, matlab=matlab)
    m = len(named.labels)
    pixels, notes = _images(images, m, reading, x_where, matlab=matlab)
    schema.require_size(pixels.shape[1], reading.size, x_where)
    attributes = (_attribute(images, FIT), _attribute(images, RESAMPLING))
    preprocess = schema.recorded(*attributes, pixels.shape[1], reading, shown)
    notes = [f"{y_key} {note}" for note in named.notes] + [f"{x_key} {note}" for note in notes]
    notes += blank_notes(pixels, x_where, unwritten_rows(images))
    names = _read_names(file, x_key, m, shown)
    return ArraySource(
        shown, path.name, named.classes, named.labels, preprocess, pixels, names, tuple(notes)
    )


def parts(path: Path) -> set[Part]:
    """Which of a training and a test part one file has."""
    with _opened(path) as file, suppress(Exception):  # reading it will say what is damaged
        return schema.parts(_keys(file))
    return set()


def _keys(file: Any) -> list[str]:
    """The names of the data sets of a file, and of those one group below, by hard links alone."""
    import h5py  # noqa: TID251

    keys: list[str] = []
    for key in file:
        keys.append(str(key))
        if isinstance(file.get(key, getlink=True), h5py.HardLink):
            with suppress(Exception):  # reading it will say what is damaged
                if file.get(key, getclass=True) is h5py.Group and len(keys) < KEYS_LIMIT:
                    keys += [f"{key}/{inner}" for inner in file[key]]
    return keys


def _is_matlab(path: Path, images: Any) -> bool:
    """Whether a file is MATLAB's, whose arrays have their axes in reverse."""
    if "MATLAB_class" in images.attrs:
        return True
    with Path(on_disk(path)).open("rb") as file:
        return file.read(10) == b"MATLAB 7.3"


def _opened(path: Path) -> Any:
    import h5py  # noqa: TID251

    shown = printable(path)
    try:
        place = on_disk(path)
        if not stat.S_ISREG(os.stat(place).st_mode):  # noqa: PTH116
            raise DataError(f"{shown}: is not a file: give an HDF5 file")
        return h5py.File(os.fsencode(place), "r")
    except OSError as error:
        raise DataError(f"{shown}: {_why(error, path)}") from error


def _why(error: OSError, path: Path) -> str:
    """The cause of a failed open in words that say what to do."""
    text = str(error)
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "may not be read: check its permissions"
    if truncated := re.search(r"eof = (\d+).*stored_eof = (\d+)", text):
        had, needed = truncated.groups()
        return f"is truncated: {had} of {needed} bytes are there: copy or download it again"
    if "signature not found" in text:
        return f"is not an HDF5 file{kind_of_file(Path(on_disk(path)))}"
    if "unable to lock file" in text:
        return "is open for writing in another program: close it there first"
    return f"cannot be read as HDF5: {reason(error)}".splitlines()[0]


def _dataset(file: Any, key: str, shown: str) -> Any:
    """The data set under a key, if all of it is stored in this file."""
    import h5py  # noqa: TID251

    place = file
    for name in key.split("/"):
        if not isinstance(place, h5py.Group):
            raise DataError(f"{shown}: {key} is not a data set")
        if not isinstance(place.get(name, getlink=True), h5py.HardLink):
            raise DataError(f"{shown}: {key} is a link to another place: links are not followed")
        place = place[name]
    dataset = place
    if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
        raise DataError(f"{shown}: {key} is not a data set")
    if dataset.external or dataset.is_virtual:
        raise DataError(f"{shown}: {key} keeps its data in other files: they are not read")
    _require_filters(dataset, f"{shown}: {key}")
    kept = dataset.id.get_storage_size()
    if dataset.nbytes > kept * (MOST_COMPRESSION if dataset.chunks else 1):
        raise DataError(
            f"{shown}: {key} declares {dataset.nbytes} bytes and stores {kept}: it is damaged, or "
            "was never filled"
        )
    return dataset


def _chunk_count(dataset: Any) -> int:
    sides = zip(dataset.shape, dataset.chunks, strict=True)
    return math.prod(-(-side // chunk) for side, chunk in sides)


def unwritten_rows(images: Any) -> int:
    """The number of rows at least whose chunks were never written."""
    if images.chunks is None or images.ndim == 0:
        return 0
    missing = _chunk_count(images) - int(images.id.get_num_chunks())
    across = _chunk_count(images) // -(-images.shape[0] // images.chunks[0])
    rows: int = missing // across * images.chunks[0]
    return min(int(images.shape[0]), rows)


def _require_filters(dataset: Any, shown: str) -> None:
    """Raise DataError for a filter that is not installed: the file is whole, but packed."""
    import h5py  # noqa: TID251

    settings = dataset.id.get_create_plist()
    for index in range(settings.get_nfilters()):
        number, _, _, name = settings.get_filter(index)
        if not h5py.h5z.filter_avail(number):
            known = FILTERS.get(number) or printable(os.fsdecode(name)) or str(number)
            raise DataError(
                f"{shown} is packed with {known}, a filter that is not installed here: repack it "
                f"where it was made: h5repack -f GZIP=4 OLD.h5 NEW.h5, or h5py's compression='gzip'"
            )


# Filters by the numbers that the HDF Group registers.
FILTERS = {
    305: "LZO", 307: "bzip2", 32000: "LZF", 32001: "blosc", 32004: "lz4", 32008: "bitshuffle",
    32013: "zfp", 32015: "zstd", 32017: "SZ", 32018: "FCIDECOMP", 32019: "jpeg", 32026: "blosc2",
}  # fmt: skip


def _read_classes(file: Any, images: Any, labels: Any, shown: str) -> tuple[str, ...]:
    """The names of labels 0, 1, … as a data set or an attribute; none where there is neither."""
    import h5py  # noqa: TID251

    for key in schema.CLASS_NAMES:
        if key in file:
            names = _dataset(file, key, shown)
            text = h5py.check_string_dtype(names.dtype) is not None
            if names.ndim != 1 or not text or len(names) > CLASSES_LIMIT:
                if key == schema.CLASS_NAMES[0]:
                    raise DataError(f"{shown}: list_classes must be a list of names")
                continue
            where = f"{shown}: {key}"
            return check_classes(_texts(_fetch(names, where)), where)
        for place in (file, labels, images):
            texts = _attribute(place, key)
            if isinstance(texts, list) and 2 <= len(texts) <= CLASSES_LIMIT:
                return check_classes(texts, f"{shown}: {key}")
    return ()


def _attribute(place: Any, name: str) -> str | list[str] | None:
    """A text or a list of texts that is an attribute; None where there is none, "" for no text."""
    if name not in place.attrs:
        return None
    attribute = place.attrs.get_id(name)
    if attribute.dtype.kind not in "SO":
        return ""
    if attribute.dtype.kind == "O":
        from catclf.datasets.hdf5_apart import read_apart

        values = read_apart(place.file.filename, [(place.name, name)])[0]
        return values[0] if attribute.shape == () else values
    value = place.attrs[name]
    if isinstance(value, bytes):
        return os.fsdecode(value)
    return _texts(np.asarray(value).reshape(-1))


def _read_names(file: Any, x_key: str, m: int, shown: str) -> tuple[str, ...] | None:
    """The names of the images before they were packed, if they were kept."""
    import h5py  # noqa: TID251

    key = x_key.removesuffix("_x") + "_names"
    if not x_key.endswith("_set_x") or key not in file:
        return None
    names = _dataset(file, key, shown)
    if names.shape != (m,) or h5py.check_string_dtype(names.dtype) is None:
        return None
    return tuple(_texts(_fetch(names, f"{shown}: {key}")))


def _texts(raw: Any) -> list[str]:
    return [os.fsdecode(text) if isinstance(text, bytes | str) else "" for text in raw]


def _images(
    images: Any, m: int, reading: Reading, shown: str, *, matlab: bool
) -> tuple[Pixels, list[str]]:
    """The images as pixels (m, size, size, 3), and what was decided about them."""
    if images.dtype.kind == "O":
        from catclf.datasets.contents import decode_contents

        contents = _fetch(images, shown)
        if len(contents) != m:
            raise DataError(f"{shown} has {len(contents)} images, but {m} labels")
        return decode_contents(contents.reshape(-1).tolist(), reading, shown)
    if is_plain(images.shape, images.dtype) and not matlab:
        if images.shape[0] != m:
            raise DataError(
                f"{shown} has {counted(images.shape[0], 'image')}, but {counted(m, 'label')}"
            )
        return _pixels(images, shown, reading.stream), []
    require_numbers(images.dtype, shown)
    machine.require_memory(2 * images.nbytes, shown)
    taken = as_pixels(_fetch(images, shown), m, shown, matlab=matlab)
    return taken.pixels, taken.notes


def _pixels(images: Any, shown: str, stream: bool) -> Pixels:
    """The images in memory, or reading from disk when they are many or ``stream`` says so.

    Compressed images would be unpacked again in every pass, so they stay on disk only if memory
    cannot hold them.
    """
    limit = IN_MEMORY if images.compression is None else 0.5 * machine.memory()
    if images.nbytes <= limit and not stream:
        pixels: Pixels = np.ascontiguousarray(_fetch(images, shown))
        return pixels
    rows: Any = DiskRows(images, shown)  # has what is used of an array
    return rows  # type: ignore[no-any-return]


def _fetch(dataset: Any, shown: str) -> NDArray[Any]:
    """All values; those of variable length are read in another process.

    A damaged chunk becomes a DataError.
    """
    if dataset.dtype.kind == "O":
        from catclf.datasets.hdf5_apart import read_apart

        values = np.empty(dataset.shape, dtype=object)
        values.reshape(-1)[:] = read_apart(dataset.file.filename, [(dataset.name, None)])[0]
        return values
    try:
        fetched: NDArray[Any] = dataset[...]
    except (OSError, ValueError, RuntimeError) as error:
        cause = str(error).splitlines()[0]
        raise DataError(f"{shown} is damaged and cannot be read ({cause})") from error
    return fetched
