"""From a picture file to size x size x 3 pixels, one way for all: the one door to Pillow."""

from __future__ import annotations

import io
import os
import stat
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from catclf.errors import PictureError
from catclf.files import reason
from catclf.maths import Pixels

if TYPE_CHECKING:
    from PIL import Image  # noqa: TID251

# EPS starts another program and PDF writes only; the rest of Pillow's readers are seldom met and
# seldom tested against hostile files, so only these formats are tried, whatever a file is called.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF", "JPEG2000", "TGA", "ICO")
ENDINGS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".j2k", ".tga", ".ico"}
)
# Frames of a contact sheet: orange and blue differ for every kind of colour vision.
FRAMES = ((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233))
FITS = ("squash", "crop", "pad")


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes pixels. The model file remembers it, and scoring uses nothing else.

    ``size`` pixels high and wide; ``fit``: "squash" ignores the aspect ratio, "crop" cuts the
    middle out, "pad" adds a border of ``background``, which also lies under transparent pixels.
    """

    size: int = 64
    fit: str = "squash"
    resampling: str = "bicubic"
    background: tuple[int, int, int] = (255, 255, 255)

    @property
    def n(self) -> int:
        """Features of one picture."""
        return self.size * self.size * 3


@dataclass(frozen=True)
class Limits:
    """What is refused before it is decoded."""

    pixels: int = 100_000_000  # 400 MB while decoding RGBA
    file_bytes: int = 256 * 1024 * 1024


def read(path: str | Path, preprocess: Preprocess, limits: Limits | None = None) -> Pixels:
    """One picture file as uint8 (size, size, 3). Raises PictureError, whatever is in the file."""
    limits = limits or Limits()
    try:
        with _opened(path, limits) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return decode(file, preprocess, limits)
    except PictureError:
        raise
    except OSError as error:
        raise _from_os(error) from error
    except MemoryError as error:
        raise PictureError("too-large", "not enough memory to decode this picture") from error
    except Exception as error:  # Pillow's readers raise anything at all on damaged files
        raise PictureError("damaged", f"cannot be decoded: {_first_line(error)}") from error


def decode(file: BinaryIO, preprocess: Preprocess, limits: Limits) -> Pixels:
    """An open picture as uint8 (size, size, 3). May raise whatever Pillow raises."""
    from PIL import Image, UnidentifiedImageError  # noqa: TID251

    try:
        picture: Image.Image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        raise PictureError("not-a-picture", "is not a picture in a format read here") from None
    except Image.DecompressionBombError:
        raise PictureError("too-large", "has too many pixels") from None
    width, height = picture.size
    if width * height > limits.pixels:
        raise PictureError(
            "too-large", f"has {width}x{height} pixels, more than the limit of {limits.pixels}"
        )
    # A JPEG decoded at 1/2, 1/4 or 1/8, but not below the size wanted, is decoded much faster.
    picture.draft("RGB", (preprocess.size, preprocess.size))
    upright = _upright(picture)
    return np.asarray(_fitted(_rgb(upright, preprocess), preprocess), dtype=np.uint8)


def contact_sheet(pictures: Pixels, labels: Sequence[int], columns: int = 12) -> bytes:
    """Pictures uint8 (k, size, size, 3) side by side as a PNG, a frame colour for each label."""
    from PIL import Image  # noqa: TID251

    size, frame = pictures.shape[1], 2
    cell = size + 2 * frame
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * cell, rows * cell), (255, 255, 255))
    for place, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        corner = (place % columns * cell, place // columns * cell)
        colour = FRAMES[label % len(FRAMES)]
        sheet.paste(colour, (*corner, corner[0] + cell, corner[1] + cell))
        sheet.paste(Image.fromarray(picture), (corner[0] + frame, corner[1] + frame))
    content = io.BytesIO()
    sheet.save(content, "PNG")
    return content.getvalue()


def dimensions(path: str | Path) -> tuple[int, int]:
    """Width and height in pixels of a picture file that can be read, from its header alone."""
    from PIL import Image  # noqa: TID251

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path, formats=FORMATS) as picture:
            return picture.size


def list_folder(folder: Path) -> Iterator[Path]:
    """The picture files directly in a folder, by name, without hidden files and other endings."""
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and path.suffix.lower() in ENDINGS and not path.is_dir():
            yield path


def _opened(path: str | Path, limits: Limits) -> BinaryIO:
    """The file, if it is a regular one of bearable size; never waits for a pipe to be written."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and 0 < status.st_size <= limits.file_bytes:
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise PictureError("not-a-file", "is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise PictureError("not-a-file", "is not a regular file")
    if status.st_size == 0:
        raise PictureError("empty", "is empty")
    raise PictureError(
        "too-large", f"has {status.st_size} bytes, more than the limit of {limits.file_bytes}"
    )


def _upright(picture: Image.Image) -> Image.Image:
    """Turned as its EXIF orientation says."""
    from PIL import ImageOps  # noqa: TID251

    picture.load()
    try:
        turned: Image.Image = ImageOps.exif_transpose(picture)
    except Exception:  # the pixels are sound: damaged EXIF data are no reason to refuse them
        return picture
    return turned


def _rgb(picture: Image.Image, preprocess: Preprocess) -> Image.Image:
    """Any mode as RGB; transparency over the background, deep grey scaled to 8 bits."""
    from PIL import Image  # noqa: TID251

    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _eight_bits(picture)
    if picture.mode == "LAB":
        return _from_lab(picture)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        base = Image.new("RGBA", picture.size, (*preprocess.background, 255))
        picture = Image.alpha_composite(base, picture)
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _eight_bits(picture: Image.Image) -> Image.Image:
    """16-bit, 32-bit or float grey as 8-bit grey.

    16-bit values are divided by 257. 32-bit and float values carry no scale of their own: values
    within 0 … 1 (float only), 0 … 255 and 0 … 65535 are taken as such, in this order.
    """
    from PIL import Image  # noqa: TID251

    values: Any = np.asarray(picture, dtype=np.float64)
    if not np.isfinite(values).all():
        raise PictureError("damaged", "has pixels that are not finite numbers")
    top = float(values.max(initial=0.0))
    if picture.mode.startswith("I;16"):
        scale = 257.0
    elif picture.mode == "F" and top <= 1.0:
        scale = 1.0 / 255.0
    else:
        scale = 1.0 if top <= 255.0 else 257.0
    grey = np.clip(np.rint(values / scale), 0, 255).astype(np.uint8)
    return Image.fromarray(grey)


def _from_lab(picture: Image.Image) -> Image.Image:
    from PIL import ImageCms  # noqa: TID251

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(picture, lab, srgb, outputMode="RGB")
    assert converted is not None  # None is returned only for inPlace
    return converted


def _fitted(picture: Image.Image, preprocess: Preprocess) -> Image.Image:
    """The picture at size x size."""
    from PIL import Image, ImageOps  # noqa: TID251

    target = (preprocess.size, preprocess.size)
    method = Image.Resampling[preprocess.resampling.upper()]
    if picture.size == target:
        return picture
    if preprocess.fit == "crop":
        return ImageOps.fit(picture, target, method)
    if preprocess.fit == "pad":
        width, height = picture.size
        scale = preprocess.size / max(width, height)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        padded = Image.new("RGB", target, preprocess.background)
        resized = picture.resize(inner, method)
        left, top = (round((preprocess.size - side) / 2) for side in inner)
        padded.paste(resized, (left, top))
        return padded
    return picture.resize(target, method, reducing_gap=3.0)


def _from_os(error: OSError) -> PictureError:
    if isinstance(error, FileNotFoundError):
        return PictureError("missing", "there is no such file")
    if isinstance(error, PermissionError):
        return PictureError("forbidden", "may not be read: check its permissions")
    if error.errno is not None:
        return PictureError("unreadable", f"cannot be read: {reason(error)}")
    kind = "truncated" if "truncated" in str(error) else "damaged"
    return PictureError(kind, f"cannot be decoded: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
