"""HDF5 data sets: read, left on disk and read when they are sliced, and written block by block.

A file from a stranger must not make us read another file or allocate what it does not hold: only
data sets reached by hard links, stored in this file and filled to their declared size are read.
Values of variable length are read in a process of their own, for a damaged file with such values
can crash the HDF5 library, or keep it busy for ever.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from catclf import machine
from catclf.datasets import arrays
from catclf.datasets.arrays import CLASS_NAMES, About, Key, Shape, is_plain, texts_of
from catclf.datasets.dataset import HDF5_ENDINGS, Labels, ReadOptions, Split
from catclf.datasets.digests import Digester, Digests
from catclf.datasets.listing import BLOCK, Listing, Source
from catclf.datasets.names import check_classes
from catclf.errors import DataError, OutputError
from catclf.maths import Pixels
from catclf.samples import Rows, read_at
from catclf.storage.local import kind_of_file, open_regular
from catclf.storage.location import locate, replacing_path, require_writable
from catclf.text import first_line, printable, reason

MOST_COMPRESSION = 1100  # deflate reaches 1032:1 at best
IN_MEMORY = 256 * 1024 * 1024  # bytes of pixels: more than this stays on disk where that is fast
FIT, RESAMPLING = "catclf_fit", "catclf_resampling"  # attributes of packed images
KEYS_LIMIT = 1000  # data sets in groups that are looked at
SECONDS = 20.0  # for values of variable length, and one more for each BYTES_A_SECOND of the file
BYTES_A_SECOND = 20_000_000
_MEMORY = 2 << 30  # bytes of addresses for these, and four times the size of the file


def read(path: Path, options: ReadOptions) -> Source:
    """The splits of a file. Raises DataError."""
    return arrays.read(path, options, opened)


def read_labels(path: Path, stream: BinaryIO, pair: Key) -> Listing:
    """Labels, names and classes of an open shard, whose name is ``path``, without its pixels.

    Raises DataError.
    """
    with opened(path, stream) as store:
        return arrays.listing_of(store, pair, ReadOptions(), with_images=False)


def read_digests(path: Path, stream: BinaryIO, pair: Key) -> Digests:
    """The digests of an open shard, likewise."""
    sides = {"digests": (16,), "hashes": (), "small": (16, 16)}
    with opened(path, stream) as store:
        (m, *_), _ = store.header(pair[0])
        exact, hashes, small = (
            store.packed(pair[0], name, (m, *sides[name]), "u") for name in sides
        )
    if exact is None or hashes is None or small is None:
        raise DataError(f"{printable(path)}: has no digests of its images: pack them again")
    return Digests(np.ascontiguousarray(exact).view("S16").reshape(-1), hashes, small)


def open_rows(path: Path, key: str) -> DiskRows:
    """The images of a file, which stay on disk. Raises DataError."""
    file = _open(path)
    return DiskRows(_Store(path, file).dataset(key), f"{printable(path)}: {key}")


@contextmanager
def opened(path: Path, stream: BinaryIO | None = None) -> Iterator[_Store]:
    """An open file, of which whatever the library raises is a DataError."""
    import h5py  # noqa: TID251

    try:
        with _open(path) if stream is None else h5py.File(stream, "r") as file:
            yield _Store(path, file)
    except DataError:
        raise
    except Exception as error:  # anything at all, of a damaged file
        raise DataError(f"{printable(path)}: is damaged and cannot be read as HDF5") from error


def _open(path: Path) -> Any:
    import h5py  # noqa: TID251

    place = locate(path).local()
    try:
        with open_regular(place):  # whose failures are said in fewer words
            return h5py.File(os.fsencode(place), "r")
    except OSError as error:
        why = f"cannot be read as HDF5: {printable(reason(error))}"
        if truncated := re.search(r"eof = (\d+).*stored_eof = (\d+)", str(error)):
            had, needed = truncated.groups()
            why = f"is truncated: {had} of {needed} bytes are there: copy or download it again"
        if "signature not found" in str(error):
            why = f"is not an HDF5 file{kind_of_file(Path(place))}"
        raise DataError(f"{printable(path)}: {why}") from error


class _Store(arrays.Store):
    """The data sets of an open file that are stored in it."""

    def __init__(self, path: Path, file: Any) -> None:
        super().__init__(path)
        self._file = file

    def keys(self) -> list[str]:
        """The data sets of the file, and those one group below, by hard links alone."""
        import h5py  # noqa: TID251

        keys: list[str] = []
        for key in self._file:
            keys.append(str(key))
            if not isinstance(self._file.get(key, getlink=True), h5py.HardLink):
                continue
            if self._file.get(key, getclass=True) is h5py.Group and len(keys) < KEYS_LIMIT:
                keys += [f"{key}/{inner}" for inner in self._file[key]]
        return keys

    def __contains__(self, key: str) -> bool:
        return key in self._file

    def header(self, key: str) -> tuple[Shape, np.dtype[Any]]:
        dataset = self.dataset(key)
        return dataset.shape, dataset.dtype

    def array(self, key: str) -> NDArray[Any]:
        dataset = self.dataset(key)
        if dataset.dtype.kind == "O":
            values = np.empty(dataset.shape, dtype=object)
            values.reshape(-1)[:] = _read_apart(dataset)
            return values
        with _undamaged(f"{self.shown}: {key}"):
            fetched: NDArray[Any] = dataset[...]
        return fetched

    def images(self, key: str, options: ReadOptions) -> NDArray[Any] | Rows:
        """The images, which stay on disk when they are many, or the options say so.

        Compressed ones would be unpacked again in every pass, so they do only if memory cannot
        hold them.
        """
        dataset = self.dataset(key)
        if is_plain(dataset.shape, dataset.dtype) and "MATLAB_class" not in dataset.attrs:
            limit = IN_MEMORY if dataset.compression is None else 0.5 * machine.memory()
            if dataset.nbytes > limit or options.stream:
                return open_rows(self.path, key)
        elif dataset.dtype.kind not in "OSV":
            machine.require_memory(2 * dataset.nbytes, f"{self.shown}: {key}")
        return super().images(key, options)

    def about(self, pair: Key) -> About:
        images, labels = self.dataset(pair[0]), self.dataset(pair[1])
        places = self._file, labels, images
        named = [_attribute(place, key) for key in CLASS_NAMES for place in places]
        classes = [each for each in named if isinstance(each, list) and len(each) > 1]
        fields: dict[str, Any] = {}
        if (names := self.packed(pair[0], "names", images.shape[:1], "SO")) is not None:
            fields["called"] = tuple(texts_of(names))
        if (groups := self.packed(pair[0], "groups", images.shape[:1], "i")) is not None:
            fields["groups"] = groups.astype(np.int64)
        return About(
            _attribute(images, FIT),
            _attribute(images, RESAMPLING),
            "MATLAB_class" in images.attrs,
            check_classes(classes[0], f"{self.shown}: names of classes") if classes else (),
            fields,
        )

    def packed(self, key: str, name: str, shape: Shape, kinds: str) -> NDArray[Any] | None:
        """An array that was packed with images; None where there is none of that type."""
        beside = key.removesuffix("_x") + f"_{name}"
        if not key.endswith("_set_x") or beside not in self._file:
            return None
        found, dtype = self.header(beside)
        return self.array(beside) if found == shape and dtype.kind in kinds else None

    def dataset(self, key: str) -> Any:
        """The data set under a key, if all of it is stored in this file. Raises DataError."""
        import h5py  # noqa: TID251

        dataset, where = self._file, f"{self.shown}: {key}"
        for name in key.split("/"):
            is_group = isinstance(dataset, h5py.Group)
            if is_group and not isinstance(dataset.get(name, getlink=True), h5py.HardLink):
                raise DataError(f"{where} is a link to another place: links are not followed")
            dataset = dataset[name] if is_group else None
        if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
            raise DataError(f"{where} is not a data set")
        if dataset.external or dataset.is_virtual:
            raise DataError(f"{where} keeps its data in other files: they are not read")
        settings = dataset.id.get_create_plist()
        for index in range(settings.get_nfilters()):
            number, _, _, name = settings.get_filter(index)
            if not h5py.h5z.filter_avail(number):  # the file is whole, but packed
                known = printable(os.fsdecode(name)) or f"filter {number}"
                raise DataError(
                    f"{where} is packed with {known}, a filter that is not installed here: repack "
                    "it where it was made: h5repack -f GZIP=4 OLD.h5 NEW.h5, or h5py's "
                    "compression='gzip'"
                )
        kept = dataset.id.get_storage_size()
        if dataset.nbytes > kept * (MOST_COMPRESSION if dataset.chunks else 1):
            raise DataError(
                f"{where} declares {dataset.nbytes} bytes and stores {kept}: it is damaged, or was "
                "never filled"
            )
        return dataset


def _attribute(place: Any, name: str) -> str | list[str] | None:
    """A text or a list of texts that is an attribute; None where there is none, "" for no text."""
    if name not in place.attrs:
        return None
    attribute = place.attrs.get_id(name)
    if attribute.dtype.kind not in "SO":
        return ""
    values = _read_apart(place, name) if attribute.dtype.kind == "O" else place.attrs[name]
    texts = texts_of(np.asarray(values).reshape(-1))
    return texts[0] if attribute.shape == () else texts


@contextmanager
def _undamaged(shown: str) -> Iterator[None]:
    """A block that reads chunks; a damaged one is a DataError."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{shown} is damaged and cannot be read ({first_line(error)})") from error


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
            with _undamaged(self.shown), self._lock:
                if len(images):
                    self._dataset.read_direct(images, np.s_[start:stop])
            return
        row = start
        while row < stop:
            chunk, inside = divmod(row, self.chunk_rows)
            count = min(stop - row, self.chunk_rows - inside)
            view = images[row - start : row - start + count].data.cast("B")
            offset = self._offsets[chunk] + inside * self._row_bytes
            read_at(self._descriptor, view, offset, self.shown)
            row += count

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
        try:
            return all(
                np.array_equal(self[row : row + 1][0], self._dataset[row])
                for row in (0, len(self) - 1)
            )
        except (DataError, OSError):
            return False


def _read_apart(place: Any, attribute: str = "") -> list[Any]:
    """The values of a data set, or of its attribute: texts, bytes, and None in others' place.

    Raises DataError.
    """
    name = os.fsdecode(place.file.filename)
    shown = f"{printable(name)}: {printable((attribute or place.name).lstrip('/'))}"
    code = f"import sys; sys.path[:] = {sys.path!r}\n"
    code += "from catclf.datasets.hdf5 import main; main()"
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, *map(os.fsencode, (name, place.name, attribute))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS + Path(name).stat().st_size / BYTES_A_SECOND,
            check=True,
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        why = "is damaged and cannot be read as HDF5, or not in bearable time"
        raise DataError(f"{shown} {why}") from error
    values = json.loads(done.stdout.decode("utf-8", "surrogatepass"))
    return [each[0].encode("latin-1") if isinstance(each, list) else each for each in values]


def main() -> None:
    """Write the values of the place given as arguments to stdout, as JSON; bytes in a list."""
    import resource

    import h5py  # noqa: TID251

    name, key, attribute = sys.argv[1:]
    room = _MEMORY + 4 * Path(name).stat().st_size
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    values: list[str | list[str] | None] = []
    with h5py.File(os.fsencode(name), "r") as file:
        found = file[key].attrs[attribute] if attribute else file[key][...]
        for value in np.asarray(found, object).reshape(-1):
            if isinstance(value, str | bytes):
                values.append(os.fsdecode(value))
            elif getattr(value, "dtype", None) in (np.uint8, np.int8):
                values.append([value.tobytes().decode("latin-1")])
            else:
                values.append(None)  # numbers of several lengths, or references
    with os.fdopen(1, "wb", closefd=False) as out:
        out.write(json.dumps(values, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    os._exit(0)  # the library may crash as it closes a damaged file


# Writing


class NoImagesError(DataError):
    """There is no image that can be read."""


def require_output(output: Path, taken: Iterable[Path]) -> None:
    """Raise OutputError unless a data set can be put there, under a name by which it is read."""
    if output.suffix.lower() not in HDF5_ENDINGS:
        raise OutputError(
            f"{printable(output)}: would not be known as HDF5: give a name ending in .h5, "
            "or in / for a folder of shards"
        )
    require_writable(output, taken)


def write(
    output: Path, splits: Mapping[Split, Listing], compression: str = "none"
) -> dict[Split, Labels]:
    """Write the splits to one file, wholly or not at all; the labels that were written, by split.

    ``output`` is on disk or remote. Raises DataError and OutputError.
    """
    with replacing_path(output) as file:
        return fill(file, splits, compression)


def fill(
    path: Path,
    splits: Mapping[Split, Listing],
    compression: str = "none",
    digester: Digester | None = None,
) -> dict[Split, Labels]:
    """Write the splits to the empty file ``path``; as ``write``.

    Images lie in chunks of 64, so that reading them in order touches each byte once. Their names
    and how they were made are kept beside them, and their digests if a ``digester`` is given.
    Raises DataError and OSError.
    """
    import h5py  # noqa: TID251

    classes = classes_of(splits)
    try:
        with _Disk(path, "w+") as disk, h5py.File(disk, "w") as file:
            if classes:
                file.create_dataset("list_classes", data=_bytes(classes), track_times=False)
            return {
                split: _write_split(file, disk, split, listing, compression, digester)
                for split, listing in splits.items()
            }
    except RuntimeError as error:  # of the library
        raise OSError(errno.EIO, str(error)) from error


def classes_of(splits: Mapping[Split, Listing]) -> tuple[str, ...]:
    """The classes of all splits. Raises DataError where they are different."""
    first = next(iter(splits.values()))
    if any(listing.classes != first.classes for listing in splits.values()):
        raise DataError(f"{first.shown}: the splits have different classes")
    return first.classes


class _Disk(io.FileIO):
    """The file that the HDF5 library writes to, which remembers why something was not written.

    The library keeps data until it closes a file, and loses them on a full disk without an error
    that reaches its caller. So it is told that all went well, and a block ends with the error.
    """

    _error: OSError | None = None

    def check(self) -> None:
        """Raise OSError if something was not written."""
        if self._error is not None:
            raise self._error

    def __exit__(self, *_: object) -> None:
        self.close()
        self.check()  # also where the library has failed

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        size = len(view)
        try:
            while view:
                view = view[super().write(view) :]
        except OSError as error:
            self._error = self._error or error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self._error = self._error or error
        return size or 0


def _write_split(
    file: Any,
    disk: _Disk,
    split: Split,
    listing: Listing,
    compression: str,
    digester: Digester | None,
) -> Labels:
    size = listing.preprocess.size
    images = file.create_dataset(
        f"{split}_set_x",
        shape=(0, size, size, 3),
        maxshape=(None, size, size, 3),
        chunks=(BLOCK, size, size, 3),
        dtype=np.uint8,
        compression=None if compression == "none" else compression,
        track_times=False,
    )
    images.attrs[FIT] = np.bytes_(listing.preprocess.fit)
    images.attrs[RESAMPLING] = np.bytes_(listing.preprocess.resampling)
    rows: list[Labels] = []
    count = 0
    for block_rows, block in listing.blocks():
        images.resize(count + len(block), axis=0)
        images[count:] = block
        disk.check()
        count += len(block)
        rows.append(block_rows)
        if digester is not None:
            digester.add(block)
    if not rows:
        raise NoImagesError(f"{listing.shown}: has no images to write")
    kept = np.concatenate(rows)
    columns: dict[str, NDArray[Any]] = {"y": listing.labels[kept]}
    if (names := listing.names()) is not None:
        columns["names"] = _bytes([names[row] for row in kept.tolist()])
    if listing.groups is not None:
        columns["groups"] = listing.groups[kept]
    if digester is not None:
        exact, columns["hashes"], columns["small"] = digester.result()
        columns["digests"] = exact.view(np.uint8).reshape(-1, 16)
    for name, values in columns.items():
        file.create_dataset(f"{split}_set_{name}", data=values, track_times=False)
    return columns["y"]


def _bytes(names: Any) -> Any:
    """Names as fixed-length bytes, which hold any file name and are the same in every run."""
    return np.array([os.fsencode(name) for name in names])
