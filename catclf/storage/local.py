"""Regular files on disk: opened without waiting for anyone, and known by their first bytes."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

START = 512  # bytes that are looked at
PACKED_ENDINGS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
UNPACK = "unpack it, and give the folder, or a .zip or .tar of it"
CONVERT = "convert it to JPEG or PNG"
RAW = f"the raw data of a camera: {CONVERT}"
_LFS = "a pointer of Git LFS: fetch the file itself with git lfs pull"
_PAGE = "a web page: download the file itself, not the page that shows it"
# Marks of text are compared without blanks before them, and in small letters.
_TEXTS = (
    (b"version https://git-lfs", _LFS),
    (b"<!doctype html", _PAGE),
    (b"<html", _PAGE),
    (b"<?xml", "XML, perhaps the message of a server: download it again"),
    (b"<svg", f"an SVG drawing: {CONVERT}"),
    (b"{", "JSON"),
)
_BYTES = (
    (b"\x1f\x8b", "packed with gzip: unpack it first with gunzip"),
    (b"BZh", "packed with bzip2: unpack it first with bunzip2"),
    (b"\xfd7zXZ", "packed with xz: unpack it first with unxz"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd: unpack it first with unzstd"),
    (b"Rar!", f"a rar archive: {UNPACK}"),
    (b"7z\xbc\xaf", f"a 7z archive: {UNPACK}"),
    (b"PK\x03\x04", "a zip archive, as .npz and .xlsx are: name it so, or unpack it"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file: name it .h5"),
    (b"MATLAB 5.0", "of MATLAB before 7.3: save it with -v7.3"),
    (b"CDF\x01", "a netCDF 3 file: convert it to netCDF 4"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"FUJIFILMCCD-RAW", RAW),
    (b"IIRO", RAW),
    (b"IIU\0", RAW),
    (b"FOVb", RAW),
    (b"\0MRM", RAW),
    (b"II\x1a\0\0\0HEAPCCDR", RAW),
    (b"\0\0\0\x18ftypcrx ", RAW),
    (b"%PDF-", "a PDF document: save its images as PNG or JPEG"),
    (b"\x80\x04", "a Python pickle, which is never loaded"),
    (b"\x93NUMPY", "a NumPy array: save images x and labels y with np.savez"),
)


class NotRegularError(OSError):
    """A folder, pipe or device where a file is needed; ``strerror`` says which."""


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """A regular file, opened for reading; a pipe is never waited for.

    Raises NotRegularError, and OSError as opening does.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    what = "is a folder" if stat.S_ISDIR(mode) else "is not a regular file"
    raise NotRegularError(errno.EINVAL, what, os.fspath(path))


def kind_of(start: bytes) -> str:
    """What a file is that begins with these bytes, after ": it is "; "" if that is unknown."""
    if not start:
        return ": it is empty: copy or download it again"
    if start[:1] == b"\x08" and b"\x12" in start[2:5] and start[1] < 32:  # its version and maker
        return ": it is an ONNX graph: give the .npz that it was made from"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")[:60].lower()
    for mark, kind in _TEXTS:
        if text.startswith(mark):
            return f": it is {kind}"
    return next((f": it is {kind}" for mark, kind in _BYTES if start.startswith(mark)), "")


def kind_of_bytes(start: bytes) -> str:
    """The kind of a binary file that begins with these bytes; "" for text and unknown ones."""
    return next((kind.partition(":")[0] for mark, kind in _BYTES if start.startswith(mark)), "")


def kind_of_file(path: Path) -> str:
    """What a file is by its first bytes, as ``kind_of`` says it; "" if it cannot be read."""
    with suppress(OSError), open_regular(path) as file:
        return kind_of(file.read(START))
    return ""
