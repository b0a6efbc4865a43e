"""HDF5 data sets in the course's schema: read, or left on disk and read when they are sliced.

A file from a stranger must not make us read another file or allocate what it does not hold: only
data sets reached by hard links, stored in this file and filled to their declared size are read.
"""

from __future__ import annotations

import math
import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from catclf import machine
from catclf.datasets.arrays import (
    CLASS_NAMES,
    Key,
    is_plain,
    keys_of,
    recorded,
    require_numbers,
    stored_listing,
)
from catclf.datasets.dataset import Labels, ReadOptions
from catclf.datasets.digests import Digests
from catclf.datasets.labels import CLASSES_LIMIT, as_labels, check_classes, check_shape
from catclf.datasets.listing import Listing, Source
from catclf.errors import DataError
from catclf.maths import Pixels
from catclf.samples import Rows
from catclf.storage.local import kind_of_file
from catclf.storage.location import locate
from catclf.text import printable, reason

MOST_COMPRESSION = 1100  # deflate reaches 1032:1 at best
IN_MEMORY = 256 * 1024 * 1024  # bytes of pixels: more than this stays on disk where that is fast
FIT, RESAMPLING = "catclf_fit", "catclf_resampling"  # attributes of packed images
KEYS_LIMIT = 1000  # data sets in groups that are looked at


def read(path: Path, options: ReadOptions) -> Source:
    """The splits of a file. Raises DataError."""
    shown = printable(path)
    with _sound(shown), _opened(path) as file:
        keys = keys_of(_keys(file), shown, options.keys)
    parts = {split: partial(read_listing, path, pair) for split, pair in keys.items()}
    return Source(shown, options, parts, lenient=True)


def read_listing(path: Path, pair: Key, options: ReadOptions) -> Listing:
    """Labels and class names, and images, unless they stay on disk. Raises DataError."""
    shown = printable(path)
    file = _opened(path)
    try:
        with _sound(shown):
            listing = _listing(file, path, pair, options)
    except BaseException:
        file.close()
        raise
    if not isinstance(listing.pixels, DiskRows):
        file.close()
    return listing


def read_labels(stream: BinaryIO, path: Path, pair: Key) -> tuple[Listing, Digests | None]:
    """Labels, names and classes of an open shard, and digests; pixels are not loaded.

    ``path`` is its name. Raises DataError.
    """
    import h5py  # noqa: TID251

    with _sound(printable(path)), h5py.File(stream, "r") as file:
        return _listing(file, path, pair, None), read_digests(file, pair)


@contextmanager
def _sound(shown: str) -> Iterator[None]:
    """A block in which h5py may raise anything at all on damaged files, as DataError."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{shown}: is damaged and cannot be read as HDF5") from error


def _listing(file: Any, path: Path, pair: Key, options: ReadOptions | None) -> Listing:
    """The listing of an open file; without ``options`` images are not read."""
    shown, (x_key, y_key) = printable(path), pair
    label_set, images = _dataset(file, y_key, shown), _dataset(file, x_key, shown)
    where, x_where = f"{shown}: {y_key}", f"{shown}: {x_key}"
    check_shape(label_set.shape, label_set.dtype, where)
    classes = _read_classes(file, images, label_set, shown)
    matlab = options is not None and _is_matlab(path, images)
    known = classes or (options.classes if options else ())
    labels = as_labels(_fetch(label_set, where), known, where, matlab=matlab)
    m = len(labels.labels)
    facts: dict[str, Any] = {
        "called": _read_names(file, x_key, m, shown),
        "groups": _read_groups(file, x_key, m, shown),
    }
    made = _attribute(images, FIT), _attribute(images, RESAMPLING)
    if options is None:
        preprocess = recorded(*made, images.shape[1], ReadOptions(), shown)
        name = locate(path).name
        return Listing(shown, name, labels.classes, labels.labels, preprocess, **facts)
    return stored_listing(
        path,
        pair,
        labels,
        _images(images, options, x_where, matlab=matlab),
        options,
        matlab=matlab,
        made=made,
        unwritten=unwritten_rows(images),
        **facts,
    )


def _keys(file: Any) -> list[str]:
    """The names of the data sets of a file, and of those one group below, by hard links alone."""
    import h5py  # noqa: TID251

    keys: list[str] = []
    for key in file:
        keys.append(str(key))
        if not isinstance(file.get(key, getlink=True), h5py.HardLink):
            continue
        if file.get(key, getclass=True) is h5py.Group and len(keys) < KEYS_LIMIT:
            keys += [f"{key}/{inner}" for inner in file[key]]
    return keys


def _is_matlab(path: Path, images: Any) -> bool:
    """Whether a file is MATLAB's, whose arrays have their axes in reverse."""
    if "MATLAB_class" in images.attrs:
        return True
    with Path(locate(path).local()).open("rb") as file:
        return file.read(10) == b"MATLAB 7.3"


def _opened(path: Path) -> Any:
    import h5py  # noqa: TID251

    shown = printable(path)
    try:
        place = locate(path).local()
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
        return f"is not an HDF5 file{kind_of_file(Path(locate(path).local()))}"
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
            known = printable(os.fsdecode(name)) or f"filter {number}"
            raise DataError(
                f"{shown} is packed with {known}, a filter that is not installed here: repack it "
                f"where it was made: h5repack -f GZIP=4 OLD.h5 NEW.h5, or h5py's compression='gzip'"
            )


def _read_classes(file: Any, images: Any, labels: Any, shown: str) -> tuple[str, ...]:
    """The names of labels 0, 1, … as a data set or an attribute; none where there is neither."""
    import h5py  # noqa: TID251

    for key in CLASS_NAMES:
        if key in file:
            names = _dataset(file, key, shown)
            text = h5py.check_string_dtype(names.dtype) is not None
            if names.ndim != 1 or not text or len(names) > CLASSES_LIMIT:
                if key == CLASS_NAMES[0]:
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


def _read_groups(file: Any, x_key: str, m: int, shown: str) -> Labels | None:
    """Which images stay together, if that was packed with them."""
    key = x_key.removesuffix("_x") + "_groups"
    if not x_key.endswith("_set_x") or key not in file:
        return None
    groups = _dataset(file, key, shown)
    if groups.shape != (m,) or groups.dtype.kind != "i":
        return None
    return cast(Labels, _fetch(groups, f"{shown}: {key}").astype(np.int64))


def read_digests(file: Any, pair: Key) -> Digests | None:
    """The digests that were packed with images; None where there are none."""
    stem, shown, lists = pair[0].removesuffix("_x"), printable(file.filename), []
    for name, shape in (("digests", (16,)), ("hashes", ()), ("small", (16, 16))):
        key = f"{stem}_{name}"
        if key not in file:
            return None
        values = _dataset(file, key, shown)
        if values.shape[1:] != shape:
            return None
        lists.append(_fetch(values, f"{shown}: {key}"))
    exact, hashes, small = lists
    return Digests(np.ascontiguousarray(exact).view("S16").reshape(-1), hashes, small)


def _images(images: Any, options: ReadOptions, shown: str, *, matlab: bool) -> Any:
    """The images as an array, or as rows that stay on disk.

    They stay there when they are many, or the options say so. Compressed ones would be unpacked
    again in every pass, so they do only if memory cannot hold them.
    """
    if images.dtype.kind in "OSV":
        return _fetch(images, shown)
    if not is_plain(images.shape, images.dtype) or matlab:
        require_numbers(images.dtype, shown)
        machine.require_memory(2 * images.nbytes, shown)
        return _fetch(images, shown)
    limit = IN_MEMORY if images.compression is None else 0.5 * machine.memory()
    if images.nbytes <= limit and not options.stream:
        return _fetch(images, shown)
    return DiskRows(images, shown)


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


class DiskRows(Rows):
    """Rows of an HDF5 data set uint8 (m, size, size, 3), with what is used of an array.

    Uncompressed rows are read straight from their place in the file into memory, which several
    threads may do at once; compressed ones through the HDF5 library, one thread at a time. Raises
    DataError when the file is cut short or damaged while it is in use.
    """

    def __init__(self, dataset: Any, shown: str) -> None:
        self._dataset, self.shown = dataset, shown
        self._lock = threading.Lock()
        self.shape: tuple[int, ...] = tuple(dataset.shape)
        self.chunk_rows: int = dataset.chunks[0] if dataset.chunks else self.shape[0]
        self._row_bytes = int(np.prod(self.shape[1:]))
        self._offsets = self._find_offsets()
        self._descriptor = os.open(os.fsencode(dataset.file.filename), os.O_RDONLY | os.O_CLOEXEC)
        if self._offsets is not None and not self._places_are_right():
            self._offsets = None

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def read_into(self, start: int, images: Pixels) -> None:
        """Fill an array of images with those from ``start`` on."""
        stop = start + len(images)
        if self._offsets is None:
            self._read_packed(images, start)
            return
        row = start
        while row < stop:
            chunk, inside = divmod(row, self.chunk_rows)
            count = min(stop - row, self.chunk_rows - inside)
            view = images[row - start : row - start + count].data.cast("B")
            self._read_at(view, self._offsets[chunk] + inside * self._row_bytes)
            row += count

    def _read_at(self, view: memoryview, offset: int) -> None:
        while view:
            try:
                count = os.preadv(self._descriptor, [view], offset)
            except OSError as error:
                raise DataError(f"{self.shown} cannot be read: {error.strerror}") from error
            if count == 0:
                raise DataError(f"{self.shown}: the file was cut short while it was read")
            view, offset = view[count:], offset + count

    def _read_packed(self, pixels: Pixels, start: int) -> None:
        try:
            with self._lock:
                if len(pixels):
                    self._dataset.read_direct(pixels, np.s_[start : start + len(pixels)])
        except (OSError, ValueError, RuntimeError) as error:
            cause = str(error).splitlines()[0]
            raise DataError(f"{self.shown} is damaged and cannot be read ({cause})") from error

    def _find_offsets(self) -> list[int] | None:
        """The place of each chunk in the file, if rows lie there as they are in memory."""
        dataset = self._dataset
        if dataset.chunks is None:
            offset = dataset.id.get_offset()
            return None if offset is None else [offset]
        filters = dataset.id.get_create_plist().get_nfilters()
        if filters or dataset.chunks[1:] != self.shape[1:]:
            return None
        offsets = [0] * -(-self.shape[0] // self.chunk_rows)
        if dataset.id.get_num_chunks() != len(offsets):
            return None  # chunks that were never written have no place

        def note(info: Any) -> None:
            offsets[info.chunk_offset[0] // self.chunk_rows] = info.byte_offset

        dataset.id.chunk_iter(note)  # asking for them one by one takes quadratic time
        return offsets

    def _places_are_right(self) -> bool:
        """Whether first and last row, read from their places, are what the HDF5 library reads."""
        last = len(self) - 1
        try:
            return all(
                np.array_equal(self[row : row + 1][0], self._dataset[row]) for row in (0, last)
            )
        except (DataError, OSError):
            return False
