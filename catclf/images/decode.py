"""From an image file to size x size x 3 pixels, one way for all: the only module that runs Pillow.

Pillow keeps limits and strictness in global variables, and Python the filters of warnings. Threads
of other programs use them, too, so that here their values hold in the thread that decodes alone.
"""

from __future__ import annotations

import math
import os
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from catclf import machine
from catclf.errors import ImageError
from catclf.images.formats import PNG, heif_is_there, sniff
from catclf.images.member import Member
from catclf.images.preprocess import Limits, Preprocess
from catclf.images.tones import (
    eight_bits,
    is_deep,
    is_thumbnail,
    tiff_kind,
    with_eight_bit_transparency,
)
from catclf.storage.local import RAW, NotRegularError, open_regular
from catclf.text import counted, reason

if TYPE_CHECKING:  # NumPy is loaded by the functions that need it: decoding a JPEG does not
    from PIL import Image  # noqa: TID251

    from catclf.maths import Pixels


def read(
    path: str | Path, preprocess: Preprocess | None = None, limits: Limits | None = None
) -> Pixels:
    """One image file as uint8 (size, size, 3). Raises ImageError, whatever is in the file.

    ``preprocess`` is how a model takes images (default: 64x64, squashed).
    """
    import numpy as np

    return np.asarray(_image(path, preprocess or Preprocess(), limits or Limits()), dtype=np.uint8)


def read_bytes(path: str | Path, preprocess: Preprocess, limits: Limits) -> bytes:
    """The same pixels as bytes, row by row, without NumPy. Raises ImageError."""
    return _image(path, preprocess, limits).tobytes()


def resized(pixels: Pixels, preprocess: Preprocess) -> Pixels:
    """Pixels uint8 (h, w, 3) at (size, size, 3), as those of an image file."""
    import numpy as np
    from PIL import Image  # noqa: TID251

    return np.asarray(_fitted(Image.fromarray(pixels), preprocess), dtype=np.uint8)


def dimensions(path: str | Path, limits: Limits | None = None) -> tuple[int, int]:
    """Width and height in pixels of an image file, from its header alone. Raises ImageError."""
    limits = limits or Limits()
    with _failures_explained(path), _opened(path, limits) as file:
        return _identified(file, limits).size


def _image(path: str | Path, preprocess: Preprocess, limits: Limits) -> Image.Image:
    """The image as RGB of the size wanted. Raises ImageError."""
    with _failures_explained(path), _opened(path, limits) as file:
        image = _identified(file, limits)
        _check_size(image, limits)
        with _silent_stderr() if image.format == "TIFF" else nullcontext():
            # A JPEG decoded at 1/2, 1/4 or 1/8, not below the size wanted, is decoded much faster.
            image.draft("RGB", (preprocess.size, preprocess.size))
            if image.format == "PNG":
                with_eight_bit_transparency(image)
            with _pillow(limits, truncated=limits.truncated):
                image.load()
                _check_size(image, limits)  # an icon may hold more than it declares
                return _fitted(_rgb(_upright(image), preprocess), preprocess)


def _check_size(image: Image.Image, limits: Limits) -> None:
    width, height = image.size
    if width * height > limits.pixels:
        raise ImageError(
            "too-large",
            f"has {width}x{height} pixels, more than the limit of {limits.pixels}: "
            f"`max_pixels={width * height}` reads it",
        )


def _identified(file: BinaryIO, limits: Limits) -> Image.Image:
    """The image with its size known and nothing decoded.

    ``Image.open`` would first load the readers of five formats. Chunks of a PNG before its pixels
    may have wrong checksums, or be too large, where no pixel needs them.
    """
    from PIL import Image  # noqa: TID251

    format, module = sniff(file)
    if format == "HEIF":
        import pillow_heif  # noqa: TID251

        pillow_heif.register_heif_opener(thumbnails=False)
    else:
        import_module(f"PIL.{module}")
    silence_pillow()
    factory, accept = Image.OPEN[format]
    file.seek(0)
    start = file.read(64)
    accepted = accept(start[:16]) if accept else True
    if isinstance(accepted, str):
        raise ImageError("unsupported", f"is a {format} image: this Pillow cannot read these")
    file.seek(0)
    try:
        if not accepted:
            raise SyntaxError
        with _pillow(limits, truncated=True):
            image: Image.Image = factory(file, "")
    except (SyntaxError, IndexError, TypeError, struct.error) as error:  # as Image.open does
        file.seek(0)
        raise _not_opened(format, start, file, error) from error
    if format == "TIFF" and (start[8:10] == b"CR" or is_thumbnail(image)):
        raise ImageError("unsupported", f"is {RAW}")
    return image


def _not_opened(format: str, start: bytes, file: BinaryIO, error: Exception) -> ImageError:
    """The reason why a reader does not take a file that begins like one of its format."""
    if format == "TIFF" and isinstance(error, SyntaxError) and "unknown" in str(error):
        return ImageError(
            "unsupported",
            f"is a TIFF image of a kind that is not read here{tiff_kind(file.read())}: convert it "
            "to 8 or 16 bits of grey or RGB",
        )
    if start.startswith(PNG) and start[12:16] == b"IHDR" and str(error):
        return ImageError("damaged", f"cannot be decoded: {_first_line(error)}")
    return ImageError("not-a-picture", f"begins like a {format} image, but is none")


@contextmanager
def _failures_explained(path: str | Path) -> Iterator[None]:
    """A block in which whatever Pillow raises of a file becomes an ImageError."""
    try:
        yield
    except ImageError:
        raise
    except OSError as error:
        raise _from_os(error) from error
    except MemoryError as error:
        raise ImageError("too-large", "not enough memory to decode this image") from error
    except Exception as error:  # Pillow's readers raise anything at all on damaged files
        if type(error).__name__ == "DecompressionBombError":
            why = "holds an image of more pixels than the limit: `max_pixels` raises it"
            raise ImageError("too-large", why) from error
        if isinstance(error, ValueError) and "\0" in str(path):
            why = "no file name holds a NUL byte: is the list separated by them? Then use `null`"
            raise ImageError("missing", why) from error
        raise ImageError("damaged", f"cannot be decoded: {_first_line(error)}") from error


def _from_os(error: OSError) -> ImageError:
    if isinstance(error, FileNotFoundError):
        return ImageError("missing", "there is no such file")
    if isinstance(error, PermissionError):
        return ImageError("forbidden", "may not be read: check its permissions")
    if error.errno is not None:
        return ImageError("unreadable", f"cannot be read: {reason(error)}")
    if "truncated" in str(error):
        message = f"cannot be decoded: {_first_line(error)}: `truncated` reads what is there"
        return ImageError("truncated", message)
    return ImageError("damaged", f"cannot be decoded: {_first_line(error)}")


def _opened(path: str | Path, limits: Limits) -> BinaryIO:
    """The file, if it is a regular one of bearable size. Raises ImageError and OSError."""
    if isinstance(path, Member):
        return path.open(limits)
    try:
        file = open_regular(path)
    except NotRegularError as error:
        raise ImageError("not-a-file", str(error.strerror)) from error
    size = os.fstat(file.fileno()).st_size
    if 0 < size <= limits.file_bytes:
        return file
    file.close()
    if not size:
        raise ImageError("empty", "is empty")
    raise ImageError(
        "too-large", f"has {counted(size, 'byte')}, more than the limit of {limits.file_bytes}"
    )


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF orientation says; EXIF that cannot be read says nothing."""
    if image.format != "TIFF" and not _EXIF_KEYS & image.info.keys():
        return image
    from PIL import ImageOps  # noqa: TID251

    with suppress(Exception):  # the reader of EXIF raises anything at all
        ImageOps.exif_transpose(image, in_place=True)
    return image


_EXIF_KEYS = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}


def _rgb(image: Image.Image, preprocess: Preprocess) -> Image.Image:
    """Any mode as RGB; transparency over the background, deep grey scaled to 8 bits."""
    from PIL import Image  # noqa: TID251

    if is_deep(image):
        image = eight_bits(image)
    if image.mode == "LAB":
        return _from_lab(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        base = Image.new("RGBA", image.size, (*preprocess.background, 255))
        image = Image.alpha_composite(base, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms  # noqa: TID251

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert converted is not None  # None is returned only for inPlace
    return converted


def _fitted(image: Image.Image, preprocess: Preprocess) -> Image.Image:
    """The image at size x size."""
    from PIL import Image  # noqa: TID251

    target = (preprocess.size, preprocess.size)
    method = Image.Resampling[preprocess.resampling.upper()]
    if image.size == target:
        return image
    if preprocess.fit == "crop":
        from PIL import ImageOps  # noqa: TID251

        return ImageOps.fit(image, target, method)
    if preprocess.fit == "pad":
        return _padded(image, preprocess, method)
    return image.resize(target, method, reducing_gap=3.0)


def _padded(image: Image.Image, preprocess: Preprocess, method: Image.Resampling) -> Image.Image:
    """Scaled to fit inside, at least one pixel thin, and centred on the background."""
    from PIL import Image  # noqa: TID251

    size, longest = preprocess.size, max(image.size)
    width, height = (max(1, round(side / longest * size)) for side in image.size)
    base = Image.new("RGB", (size, size), preprocess.background)
    inner = image.resize((width, height), method, reducing_gap=3.0)
    base.paste(inner, (round((size - width) / 2), round((size - height) / 2)))
    return base


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def decoders() -> tuple[str, ...]:
    """The versions of what decodes images here: others may make other pixels of a file."""
    import PIL  # noqa: TID251

    if not heif_is_there():
        return (PIL.__version__,)
    import pillow_heif  # noqa: TID251

    return PIL.__version__, pillow_heif.__version__


def silence_pillow() -> None:
    """Pillow logs what it thinks of a file; without a handler that would go to stderr."""
    from logging import NullHandler, getLogger

    logger = getLogger("PIL")
    if not logger.handlers:
        logger.addHandler(NullHandler())


class _Decoding(threading.local):
    """The limits of the image that a thread decodes; None in one that decodes none of ours."""

    limits: Limits | None = None
    truncated = False

    def match(self, text: str) -> bool:
        """As the pattern of a filter of warnings: every warning of a thread that decodes."""
        return self.limits is not None


_here = _Decoding()
_SILENCE: Any = "ignore", _here, Warning, None, 0  # a filter of warnings


class _LoadTruncated:
    """Pillow's ``LOAD_TRUNCATED_IMAGES`` while threads of ours decode."""

    def __init__(self, outside: Any) -> None:
        self.outside = outside

    def __bool__(self) -> bool:
        return bool(self.outside) if _here.limits is None else _here.truncated


class _MaxPixels:
    """Pillow's ``MAX_IMAGE_PIXELS``, of which it warns, and which it refuses twice over.

    It also holds for the images in an icon, whose bitmaps are declared twice as high as they are.
    """

    def __init__(self, outside: Any) -> None:
        self.outside = math.inf if outside is None else outside

    def __rmul__(self, factor: int) -> float:
        return factor * (self.outside if _here.limits is None else _here.limits.pixels)

    def __lt__(self, pixels: float) -> bool:
        return _here.limits is None and bool(self.outside < pixels)


_lock = threading.Lock()
_decoding = 0  # threads


@contextmanager
def _pillow(limits: Limits, *, truncated: bool) -> Iterator[None]:
    """A block in which Pillow has these limits, in this thread, and warns of nothing.

    With ``truncated``, files that are cut short give what there is of them.
    """
    from PIL import Image, ImageFile  # noqa: TID251

    global _decoding
    with _lock:
        _decoding += 1
        if _decoding == 1:
            pillow: Any = ImageFile, Image
            pillow[0].LOAD_TRUNCATED_IMAGES = _LoadTruncated(ImageFile.LOAD_TRUNCATED_IMAGES)
            pillow[1].MAX_IMAGE_PIXELS = _MaxPixels(Image.MAX_IMAGE_PIXELS)
    if _SILENCE not in warnings.filters:
        warnings.filters.insert(0, _SILENCE)  # type: ignore[attr-defined]
    _here.limits, _here.truncated = limits, truncated
    try:
        yield
    finally:
        _here.limits = None
        with _lock:
            _decoding -= 1
            if not _decoding:
                _restore(ImageFile, "LOAD_TRUNCATED_IMAGES")
                _restore(Image, "MAX_IMAGE_PIXELS")


def _restore(module: Any, name: str) -> None:
    value = getattr(module, name)
    if isinstance(value, _LoadTruncated | _MaxPixels):
        setattr(module, name, value.outside)


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """A block without descriptor 2, to which libtiff writes past all of Python.

    The descriptor is that of all threads, and of a program that imports this: it is left alone but
    in the main thread of the command line.
    """
    if not machine.is_command or threading.current_thread() is not threading.main_thread():
        yield
        return
    try:
        kept = os.dup(2)
    except OSError:  # closed: nothing can be written
        yield
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
