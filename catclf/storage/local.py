"""Regular files on disk: opened without waiting for anyone, and known by their first bytes."""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

START = 512  # bytes that are looked at
PACKED_ENDINGS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
UNPACK = "unpack it, and give the folder, or a .zip or .tar of it"
CONVERT = "convert it to JPEG or PNG"
BASE64 = "an image written as text in base64: decode it to a file, as base64 -d does"
RAW = f"the raw data of a camera: {CONVERT}"
# How JPEG, PNG, GIF, WebP, TIFF and BMP begin in base64, or what a page writes before.
_BASE64 = r"data:image/|/9j/|iVBORw0KGgo|R0lGOD|UklGR|SUkqA|TU0AK|Qk[0-3][\w+/]{5}AAAA"
# How files begin: texts in small letters, without blanks before them; then bytes.
_TEXTS = (
    (rb"version https://git-lfs", "a pointer of Git LFS: fetch the file with git lfs pull"),
    (rb"(\.\./)*(\.git)?/annex/objects/", "a pointer of git-annex: fetch it with git annex get"),
    (rb"<(!doctype html|html|head|body|!--|script)", "a web page: download the file itself"),
    (rb"<svg", f"an SVG drawing: {CONVERT}"),
    (rb"<(\?xml|error)", "XML, perhaps the message of a server: download it again"),
    (rb"\{\s*[\"}]|\[\s*\{", "JSON"),
    (rb"%!ps", f"a PostScript file: {CONVERT}"),
)
_BYTES = (
    (rb"\x1f\x8b", "packed with gzip: unpack it first with gunzip"),
    (rb"BZh", "packed with bzip2: unpack it first with bunzip2"),
    (rb"\xfd7zXZ", "packed with xz: unpack it first with unxz"),
    (rb"\x28\xb5\x2f\xfd", "packed with zstd: unpack it first with unzstd"),
    (rb"\x04\x22M\x18|LZIP|\x1f[\x9d\xa0]|\x5d\0\0[^\0]\0", "packed: unpack it first"),
    (rb"Rar!", f"a rar archive: {UNPACK}"),
    (rb"7z\xbc\xaf", f"a 7z archive: {UNPACK}"),
    (rb"MSCF|xar!|!<arch>", f"an archive of another kind: {UNPACK}"),
    (
        rb"PK(\x03\x04|\x05\x06|\x07\x08)",
        "a zip archive, as .npz, .xlsx and .pt are: name it so, or unpack it",
    ),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file, which is data where its name ends in .h5"),
    (rb"MATLAB 5.0", "of MATLAB before 7.3: save it with -v7.3"),
    (rb"CDF[\x01\x02\x05]", "a netCDF 3 file: convert it to netCDF 4"),
    (rb"PAR1", "a Parquet file: name it .parquet"),
    (rb"ARROW1|\xff{4}.\0{3}", "an Arrow file: save it as Parquet"),
    (rb"\xff\xd8\xff", "a JPEG image"),
    (rb"\x89PNG\r\n\x1a\n", "a PNG image"),
    (rb"FUJIFILMCCD-RAW|IIR[OS]|MMOR|IIU\0|FOVb|\0MRM|II\x1a\0{3}HEAPCCDR|\0{3}.ftypcrx", RAW),
    (rb"II\*\0.{4}CR\x02", RAW),
    (rb"\0{3}.ftyp|RIFF.{4}AVI |\x1aE\xdf\xa3", "a video: save images of it as JPEG or PNG"),
    (rb"%PDF-", "a PDF document: save its images as PNG or JPEG"),
    (rb"\xff\x0a|\0{3}\x0cJXL ", f"a JPEG XL image: {CONVERT}"),
    (rb"8BPS", f"a Photoshop image: {CONVERT}"),
    (rb"v/1\x01|#\?RAD|DDS |\xd7\xcd\xc6|qoif|gimp xcf", f"an image of another kind: {CONVERT}"),
    (
        rb".{128}DICM|SIMPLE  =|\x5c\x01\0\0.{340}n[i+]1",
        f"a medical or scientific image: {CONVERT}",
    ),
    (rb"\x80[\x02-\x05]", "a Python pickle, as .pt files are, which is never loaded"),
    (rb"\x93NUMPY", "a NumPy array: save images x and labels y with np.savez"),
)


NO_NUL = "no file name holds a NUL byte"


class NulNameError(FileNotFoundError):
    """A name that no file can have; ``strerror`` says why."""


class NotRegularError(OSError):
    """A folder, pipe or device where a file is needed; ``strerror`` says which."""


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """A regular file, opened for reading; a pipe is never waited for.

    Raises NotRegularError, NulNameError, and OSError as opening does.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:
        raise NulNameError(errno.ENOENT, NO_NUL, os.fspath(path)) from error
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
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")[:60]
    if is_base64(text.decode("latin-1")):
        return f": it is {BASE64}"
    kind = _named(_TEXTS, text.lower()) or _named(_BYTES, start)
    return f": it is {kind}" if kind else ""


def kind_of_bytes(start: bytes) -> str:
    """The kind of a binary file that begins with these bytes; "" for text and unknown ones."""
    return _named(_BYTES, start).partition(":")[0]


def _named(table: tuple[tuple[bytes, str], ...], start: bytes) -> str:
    return next((kind for mark, kind in table if re.match(mark, start, re.DOTALL)), "")


def is_base64(text: str) -> bool:
    """Whether a text begins as an image does that is written in base64."""
    return re.match(_BASE64, text) is not None


def kind_of_file(path: Path) -> str:
    """What a file is by its first bytes, as ``kind_of`` says it; "" if it cannot be read."""
    with suppress(OSError), open_regular(path) as file:
        return kind_of(file.read(START))
    return ""
