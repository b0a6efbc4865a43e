"""From an image file to size x size x 3 pixels, one way for all: the one door to Pillow."""

from __future__ import annotations

import os
import stat
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from catclf.errors import ImageError
from catclf.images.formats import heif_is_there, sniff
from catclf.images.member import Member
from catclf.images.preprocess import Limits, Preprocess
from catclf.images.repair import PNG, cleaned_png, damaged_chunk, ended_jpeg
from catclf.images.tones import (
    eight_bits,
    is_deep,
    tiff_kind,
    with_eight_bit_transparency,
)
from catclf.text import counted, reason

if TYPE_CHECKING:  # NumPy is loaded by the functions that need it: decoding a JPEG does not
    from PIL import Image  # noqa: TID251

    from catclf.maths import Pixels


def read(path: str | Path, preprocess: Preprocess, limits: Limits | None = None) -> Pixels:
    """One image file as uint8 (size, size, 3). Raises ImageError, whatever is in the file."""
    import numpy as np

    return np.asarray(_image(path, preprocess, limits or Limits()), dtype=np.uint8)


def read_bytes(path: str | Path, preprocess: Preprocess, limits: Limits) -> bytes:
    """The same pixels as bytes, row by row, without NumPy. Raises ImageError."""
    return _image(path, preprocess, limits).tobytes()


def resized(pixels: Pixels, preprocess: Preprocess) -> Pixels:
    """Pixels uint8 (h, w, 3) at (size, size, 3), as those of an image file."""
    import numpy as np
    from PIL import Image  # noqa: TID251

    return np.asarray(_fitted(Image.fromarray(pixels), preprocess), dtype=np.uint8)


def dimensions(path: str | Path) -> tuple[int, int]:
    """Width and height in pixels of an image file that can be read, from its header alone."""
    with _opened(path, Limits()) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _identified(file).size


def _image(path: str | Path, preprocess: Preprocess, limits: Limits) -> Image.Image:
    """The image as RGB of the size wanted. Raises ImageError."""
    try:
        with _opened(path, limits) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _decoded(file, preprocess, limits)
    except ImageError:
        raise
    except OSError as error:
        raise _from_os(error) from error
    except MemoryError as error:
        raise ImageError("too-large", "not enough memory to decode this image") from error
    except ValueError as error:
        if "\0" not in str(path):
            raise ImageError("damaged", f"cannot be decoded: {_first_line(error)}") from error
        message = "no file name holds a NUL byte: is the list separated by them? Then use `null`"
        raise ImageError("missing", message) from error
    except Exception as error:  # Pillow's readers raise anything at all on damaged files
        raise ImageError("damaged", f"cannot be decoded: {_first_line(error)}") from error


def _decoded(file: BinaryIO, preprocess: Preprocess, limits: Limits) -> Image.Image:
    """An open file as the image wanted. May raise whatever Pillow raises."""
    try:
        return _once(file, preprocess, limits)
    except _StumbledError as stumbled:
        cause = stumbled.cause
    except (OSError, ValueError, SyntaxError) as error:
        cause = error
    file.seek(0)
    content = file.read(limits.file_bytes)
    mended = _mended(content, preprocess, limits, cause)
    if mended is not None:
        return mended
    raise _explained(content, cause)


class _StumbledError(Exception):
    """A reader does not take a file that begins like one of its format."""

    def __init__(self, format: str, cause: Exception) -> None:
        super().__init__(str(cause))
        self.format, self.cause = format, cause


def _mended(
    content: bytes, preprocess: Preprocess, limits: Limits, cause: Exception
) -> Image.Image | None:
    """The image, if all its pixels are there and only what is beside them is damaged."""
    try:
        if cleaned := cleaned_png(content):
            return _once(BytesIO(cleaned), preprocess, limits)
        if "truncated" in str(cause) and (ended := ended_jpeg(content)):
            one, other = (_once(BytesIO(each), preprocess, limits) for each in ended)
            return one if one.tobytes() == other.tobytes() else None
    except (_StumbledError, OSError, ValueError, SyntaxError):
        pass
    return None


def _explained(content: bytes, cause: Exception) -> Exception:
    """The failure of a reader as what it means: damage, a kind not read, or no image at all."""
    if (chunk := damaged_chunk(content)) and content.startswith(PNG):
        return ImageError("damaged", f"is damaged: the checksum of its {chunk} is wrong")
    if content[:4] in _TIFF and isinstance(cause, SyntaxError) and "unknown" in str(cause):
        return ImageError(
            "unsupported",
            f"is a TIFF image of a kind that is not read here{tiff_kind(content)}: convert it to "
            "8 or 16 bits of grey or RGB",
        )
    if isinstance(cause, SyntaxError | IndexError | TypeError | struct.error):
        format = sniff(BytesIO(content))[0]
        return ImageError("not-a-picture", f"begins like a {format} image, but is none")
    return cause


_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _once(file: BinaryIO, preprocess: Preprocess, limits: Limits) -> Image.Image:
    image = _identified(file)
    _check_size(image, limits)
    with silent_stderr() if image.format == "TIFF" else nullcontext():
        return _loaded(image, preprocess, limits)


def _loaded(image: Image.Image, preprocess: Preprocess, limits: Limits) -> Image.Image:
    # A JPEG decoded at 1/2, 1/4 or 1/8, but not below the size wanted, is decoded much faster.
    image.draft("RGB", (preprocess.size, preprocess.size))
    if image.format == "PNG":
        with_eight_bit_transparency(image)
    with _reading_truncated() if limits.truncated else nullcontext():
        image.load()
    _check_size(image, limits)  # an icon may hold more than it declares
    return _fitted(_rgb(_upright(image), preprocess), preprocess)


@contextmanager
def _reading_truncated() -> Iterator[None]:
    """A block in which files that are cut short give what there is of them."""
    from PIL import ImageFile  # noqa: TID251

    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _check_size(image: Image.Image, limits: Limits) -> None:
    width, height = image.size
    if width * height > limits.pixels:
        raise ImageError(
            "too-large",
            f"has {width}x{height} pixels, more than the limit of {limits.pixels}: "
            f"`max_pixels={width * height}` reads it",
        )


def _identified(file: BinaryIO) -> Image.Image:
    """The image with its size known and nothing decoded.

    ``Image.open`` would first load the readers of five formats, and would apply a limit of pixels
    that no option of ours moves.
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
    accepted = accept(file.read(16)) if accept else True
    if isinstance(accepted, str):
        raise ImageError("unsupported", f"is a {format} image: this Pillow cannot read these")
    file.seek(0)
    try:
        if not accepted:
            raise SyntaxError
        image: Image.Image = factory(file, "")
    except (SyntaxError, IndexError, TypeError, struct.error) as error:  # as Image.open does
        raise _StumbledError(format, error) from None
    return image


def _opened(path: str | Path, limits: Limits) -> BinaryIO:
    """The file, if it is a regular one of bearable size; never waits for a pipe to be written."""
    if isinstance(path, Member):
        return path.open(limits)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and 0 < status.st_size <= limits.file_bytes:
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise ImageError("not-a-file", "is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("not-a-file", "is not a regular file")
    if status.st_size == 0:
        raise ImageError("empty", "is empty")
    raise ImageError(
        "too-large",
        f"has {counted(status.st_size, 'byte')}, more than the limit of {limits.file_bytes}",
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


@contextmanager
def silent_stderr() -> Iterator[None]:
    """A block without descriptor 2, to which libtiff writes past all of Python."""
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
