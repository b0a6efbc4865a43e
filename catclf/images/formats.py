"""What is an image: the endings of names, and the first bytes of files. One rule for all."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from posixpath import splitext
from typing import BinaryIO

from catclf.errors import ImageError
from catclf.storage.local import CONVERT, RAW, START, kind_of
from catclf.text import to_install

ENDINGS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".j2k", ".tga", ".ico"}
)


HEIF_ENDINGS = frozenset({".heic", ".heif", ".hif"})
# The raw data of cameras, which may begin like an image that is a thumbnail.
RAW_ENDINGS = frozenset(
    {".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".orf", ".rw2"}
    | {".pef", ".srw", ".raf", ".3fr", ".erf", ".kdc", ".mrw", ".raw", ".x3f", ".iiq", ".mos"}
)
# Files that begin like an image and are none; the others are downloads that are not complete.
NOT_SNIFFED = RAW_ENDINGS | frozenset(
    {".part", ".partial", ".crdownload", ".download", ".tmp", ".temp", ".filepart", ".bak"}
    | {".orig"}
)

# What a file begins with, and Pillow's module that reads it. EPS
# starts another program; the rest of Pillow's readers are seldom met and seldom tested against
# hostile files. Loading only the reader that is needed saves a third of the start-up time.
PNG = b"\x89PNG\r\n\x1a\n"
_READERS = (
    (b"\xff\xd8\xff", "JPEG", "JpegImagePlugin"),
    (PNG, "PNG", "PngImagePlugin"),
    (b"GIF8", "GIF", "GifImagePlugin"),
    (b"BM", "BMP", "BmpImagePlugin"),
    (b"II*\0", "TIFF", "TiffImagePlugin"),
    (b"MM\0*", "TIFF", "TiffImagePlugin"),
    (b"II+\0", "TIFF", "TiffImagePlugin"),
    (b"MM\0+", "TIFF", "TiffImagePlugin"),
    (b"\0\0\1\0", "ICO", "IcoImagePlugin"),
    (b"\xff\x4f\xff\x51", "JPEG2000", "Jpeg2KImagePlugin"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000", "Jpeg2KImagePlugin"),
    *((b"P" + kind, "PPM", "PpmImagePlugin") for kind in (b"1", b"2", b"3", b"4", b"5", b"6")),
    *((b"P" + kind, "PPM", "PpmImagePlugin") for kind in (b"F", b"f", b"y")),
)
_HEIC = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"}


def sniff(file: BinaryIO) -> tuple[str, str]:
    """The format and Pillow's module for it, by the file's first bytes."""
    start = file.read(START)
    for magic, format, module in _READERS:
        if start.startswith(magic):
            return format, module
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WEBP", "WebPImagePlugin"
    if start[4:8] == b"ftyp":
        brands = {start[i : i + 4] for i in range(8, min(64, len(start), start[3]), 4)}
        if brands & {b"avif", b"avis"}:
            return "AVIF", "AvifImagePlugin"
        if brands & (_HEIC | {b"mif1", b"msf1"}):
            if heif_is_there():
                return "HEIF", "HEIF"
            raise ImageError(
                "unsupported",
                f"is a HEIC image: {to_install('heif')}, or convert it to JPEG",
            )
    if file.seek(0, os.SEEK_END) > 44:  # TGA has no beginning of its own, but an end
        file.seek(-18, os.SEEK_END)
        if file.read(16) == b"TRUEVISION-XFILE":
            return "TGA", "TgaImagePlugin"
    kind = kind_of(start)
    what = "unsupported" if f"image: {CONVERT}" in kind or RAW in kind else "not-a-picture"
    raise ImageError(what, f"is not an image in a format read here{kind}")


def is_image(name: str, opener: Callable[[], BinaryIO], *, name_heif: bool = False) -> bool:
    """Whether a file is an image, by the ending of its name, else by its first bytes.

    HEIC is one if its library is installed, or if ``name_heif``: then decoding says what is
    missing. A link to itself is one, too: it fails when it is decoded, and not in silence.
    """
    ending = splitext(name)[1].lower()  # a Path costs 3 µs
    if ending in ENDINGS:
        return True
    if ending in HEIF_ENDINGS:
        return name_heif or heif_is_there()
    if ending in NOT_SNIFFED:
        return False
    try:
        with opener() as file:
            return sniffed(file)
    except ImageError:
        return False
    except OSError as error:
        return error.errno == errno.ELOOP


def sniffed(file: BinaryIO) -> bool:
    """Whether an open file begins like an image that is read here.

    Formats with a short mark are looked at more closely: many texts begin with BM or P5.
    """
    start = file.read(64)
    file.seek(0)
    try:
        format, _ = sniff(file)
    except ImageError:
        return False
    if format == "BMP":
        return start[14:18] in _BMP_HEADERS
    if format == "PPM":
        return start[1:2].isdigit() and start[2:3].isspace() and start[3:4] in _AFTER_PPM
    return format != "ICO"


_BMP_HEADERS = {size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124)}
_AFTER_PPM = {bytes([byte]) for byte in b"#0123456789"}


@cache
def heif_is_there() -> bool:
    """Whether the optional library that decodes HEIC is installed."""
    return find_spec("pillow_heif") is not None
