"""From an image file to size x size x 3 pixels, one way for all: the only module that runs Pillow.

``serve`` is the process that decodes for ``catclf.images.pool``: it loads Pillow and no NumPy, so
that it is ready soon and small; an image that kills it, or that the system kills it for, takes no
one else along.

Pillow keeps limits and strictness in global variables, so that one thread at a time decodes, and
puts back what was there. Threads beside it lose little: the short steps of one image wait for each
other's lock anyway.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from catclf import machine
from catclf.errors import ImageError
from catclf.images.archive import CONTENT, Content, Member
from catclf.images.formats import heif_is_there, sniff
from catclf.images.preprocess import Limits, Preprocess
from catclf.storage.local import RAW, NotRegularError, NulNameError, open_regular
from catclf.text import counted, first_line, reason

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


def resized(pixels: Pixels, preprocess: Preprocess) -> Pixels:
    """Pixels uint8 (h, w, 3) at (size, size, 3), as those of an image file."""
    import numpy as np
    from PIL import Image  # noqa: TID251

    return np.asarray(_fitted(Image.fromarray(pixels), preprocess), dtype=np.uint8)


def dimensions(path: str | Path, limits: Limits | None = None) -> tuple[int, int]:
    """Width and height in pixels of an image file, from its header alone. Raises ImageError."""
    limits = limits or Limits()
    with _failures_explained(), _opened(path, limits) as file:
        return _identified(file, limits).size


def decoders() -> tuple[str, ...]:
    """The versions of what decodes images here: others may make other pixels of a file."""
    import PIL  # noqa: TID251

    if not heif_is_there():
        return (PIL.__version__,)
    import pillow_heif  # noqa: TID251

    return PIL.__version__, pillow_heif.__version__


def _image(path: str | Path, preprocess: Preprocess, limits: Limits) -> Image.Image:
    """The image as RGB of the size wanted. Raises ImageError."""
    with _failures_explained(), _opened(path, limits) as file:
        image = _identified(file, limits)
        _check_size(image, limits)
        with _silent_stderr() if image.format == "TIFF" else nullcontext():
            # A JPEG decoded at 1/2, 1/4 or 1/8, not below the size wanted, is decoded much faster.
            image.draft("RGB", (preprocess.size, preprocess.size))
            if image.format == "PNG":
                _make_transparency_8_bit(image)
            with _pillow(limits, truncated=limits.truncated):
                image.load()
                _check_size(image, limits)  # an icon may hold more than it declares
                return _fitted(_rgb(_upright(image), preprocess), preprocess)


def _opened(path: str | Path, limits: Limits) -> BinaryIO:
    """The file, if it is a regular one of bearable size. Raises ImageError and OSError."""
    if isinstance(path, Member):
        return path.open(limits)
    file = open_regular(path)
    size = os.fstat(file.fileno()).st_size
    if 0 < size <= limits.file_bytes:
        return file
    file.close()
    if not size:
        raise ImageError("empty", "is empty")
    raise ImageError(
        "too-large", f"has {counted(size, 'byte')}, more than the limit of {limits.file_bytes}"
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
    _silence_pillow()
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
        if format == "TIFF" and "unknown" in str(error):
            why = f"is a TIFF image of a kind that is not read here: {CONVERT} of grey or RGB"
            raise ImageError("unsupported", why) from error
        if format == "PNG" and start[12:16] == b"IHDR" and str(error):
            raise ImageError("damaged", f"cannot be decoded: {first_line(error)}") from error
        why = f"begins like a {format} image, but is none"
        raise ImageError("not-a-picture", why) from error
    thumbnail = format == "TIFF" and int(_tag(image, SUBFILE, 0)) & 1
    if thumbnail or (format == "TIFF" and start[8:10] == b"CR"):
        raise ImageError("unsupported", f"is {RAW}")
    return image


def _check_size(image: Image.Image, limits: Limits) -> None:
    width, height = image.size
    if width * height > limits.pixels:
        raise ImageError(
            "too-large",
            f"has {width}x{height} pixels, more than the limit of {limits.pixels}: "
            f"`max_pixels={width * height}` reads it",
        )


@contextmanager
def _failures_explained() -> Iterator[None]:
    """A block in which whatever Pillow and the system raise of a file becomes an ImageError."""
    try:
        yield
    except ImageError:
        raise
    except Exception as error:  # Pillow's readers raise anything at all on damaged files
        raise ImageError(*_explained(error)) from error


def _explained(error: Exception) -> tuple[str, str]:
    """The kind of an ImageError, and its text."""
    line = first_line(error)
    match error:
        case NulNameError():
            return "missing", str(error.strerror)
        case FileNotFoundError():
            return "missing", "there is no such file"
        case PermissionError():
            return "forbidden", "may not be read: check its permissions"
        case NotRegularError():
            return "not-a-file", str(error.strerror)
        case OSError() if error.errno is not None:
            return "unreadable", f"cannot be read: {reason(error)}"
        case OSError() if "truncated" in str(error):
            return "truncated", f"cannot be decoded: {line}: `truncated` reads what is there"
        case MemoryError():
            return "too-large", "not enough memory to decode this image"
    if type(error).__name__ == "DecompressionBombError":
        return "too-large", "holds an image of more pixels than `max_pixels` allows"
    return "damaged", f"cannot be decoded: {line}"


_EXIF_KEYS = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF orientation says; EXIF that cannot be read says nothing."""
    if image.format != "TIFF" and not _EXIF_KEYS & image.info.keys():
        return image
    from PIL import ImageOps  # noqa: TID251

    with suppress(Exception):  # the reader of EXIF raises anything at all
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _rgb(image: Image.Image, preprocess: Preprocess) -> Image.Image:
    """Any mode as RGB; transparency over the background, deep grey scaled to 8 bits."""
    from PIL import Image  # noqa: TID251

    if _is_deep(image):
        image = _eight_bits(image)
    if image.mode == "LAB":
        from PIL import ImageCms  # noqa: TID251

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert converted is not None  # None is returned only for inPlace
        return converted
    if image.has_transparency_data:
        image = image.convert("RGBA")
        base = Image.new("RGBA", image.size, (*preprocess.background, 255))
        image = Image.alpha_composite(base, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _fitted(image: Image.Image, preprocess: Preprocess) -> Image.Image:
    """The image at size x size.

    With ``pad`` it is scaled to fit inside, at least one pixel thin, and centred.
    """
    from PIL import Image, ImageOps  # noqa: TID251

    target = (preprocess.size, preprocess.size)
    method = Image.Resampling[preprocess.resampling.upper()]
    if image.size == target:
        return image
    if preprocess.fit == "crop":
        return ImageOps.fit(image, target, method)
    if preprocess.fit != "pad":
        return image.resize(target, method, reducing_gap=3.0)
    size, longest = preprocess.size, max(image.size)
    width, height = (max(1, round(side / longest * size)) for side in image.size)
    base = Image.new("RGB", target, preprocess.background)
    inner = image.resize((width, height), method, reducing_gap=3.0)
    base.paste(inner, (round((size - width) / 2), round((size - height) / 2)))
    return base


# Deep tones as 8 bits, by what the file itself says of them; nothing is guessed from pixels. The
# formats give the meaning: TIFF 6.0 (its tags), Netpbm (PFM: 1.0 is white). Floats of a TIFF that
# does not say what is white are refused, and integers that fill a corner of their range.

SUBFILE, BITS, PHOTOMETRIC = 254, 258, 262  # tags of TIFF
SAMPLE_FORMAT, SMALLEST, LARGEST = 339, 340, 341
CONVERT = "convert it to 8 or 16 bits"
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_ROWS = 64  # converted at a time: in float64 a large image would take 8 times as much


def _is_deep(image: Image.Image) -> bool:
    """Whether an image has more than 8 bits of grey, or 8 that are signed."""
    signed = image.format == "TIFF" and _tag(image, SAMPLE_FORMAT, _UNSIGNED) == _SIGNED
    return image.mode.startswith("I") or image.mode == "F" or (image.mode == "L" and signed)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 8 bits, or of 8 bits and opacity where one value of a PNG is transparent.

    Raises ImageError where the file does not tell what is black and white.
    """
    import numpy as np
    from PIL import Image  # noqa: TID251

    values: Any = np.asarray(image)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ImageError("damaged", "has pixels that are not finite numbers")
    black, white = 0.0, 1.0 if image.mode == "F" else 65535.0  # PFM; Pillow's PGM of any maximum
    if image.format == "TIFF":
        values, black, white = _tones_of_tiff(image, values)
    elif image.mode == "F" and (values.min(initial=0.0) < 0.0 or values.max(initial=0.0) > 1.0):
        raise _without_white(values)
    grey = np.empty(values.shape, dtype=np.uint8)
    for start in range(0, len(values), _ROWS):
        rows = values[start : start + _ROWS].astype(np.float64)
        scaled = (rows - black) * (255.0 / (white - black))
        grey[start : start + _ROWS] = np.clip(np.rint(scaled), 0, 255)
    converted = Image.fromarray(grey)
    clear = image.info.get("transparency")
    if image.format == "PNG" and isinstance(clear, int):
        converted.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return converted


def _tones_of_tiff(image: Image.Image, values: Any) -> tuple[Any, float, float]:
    """The values as their tags say, and those that are black and white. Raises ImageError."""
    import numpy as np

    bits, format = _tag(image, BITS, 1), _tag(image, SAMPLE_FORMAT, _UNSIGNED)
    if format == _UNSIGNED and bits == 32:
        values = values.astype(np.int32).view(np.uint32)
    if image.mode == "L":
        values = values.astype(np.uint8).view(np.int8)
    if format == _FLOAT:
        black, white = _tag(image, SMALLEST, np.nan), _tag(image, LARGEST, np.nan)
        if not black < white:
            raise _without_white(values)
    else:
        black = -(2.0 ** (bits - 1)) if format == _SIGNED else 0.0
        white = black + 2.0**bits - 1.0
        filled = int(values.max()) - int(values.min()) >= (white - black) / 256
        if (format == _SIGNED or bits == 32) and not filled:  # all would become one tone
            raise _without_white(values)
    if _tag(image, PHOTOMETRIC, 1) == 0:
        black, white = white, black
    return values, float(black), float(white)


def _without_white(values: Any) -> ImageError:
    low, high = float(values.min()), float(values.max())
    return ImageError(
        "unsupported",
        f"has {values.dtype} tones from {low:g} to {high:g} and does not say which value is white: "
        f"{CONVERT}, as with (x * 255).round().astype('uint8') where 1 is white",
    )


def _make_transparency_8_bit(image: Image.Image) -> None:
    """Make the transparent colour of a PNG of 16 bits a channel one of 8, as its pixels are."""
    clear = image.info.get("transparency")
    deep = any("16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    if deep and image.mode == "RGB" and isinstance(clear, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in clear)


def _tag(image: Any, number: int, default: Any) -> Any:
    """The first number of a tag of a TIFF."""
    value = image.tag_v2.get(number)
    if isinstance(value, tuple):
        value = value[0] if value else None
    return value if isinstance(value, int | float) else default


# Pillow's global variables, filters of warnings, its log, and descriptor 2


class _Decoding:
    """The pattern of a filter of warnings: all warnings of the thread that decodes."""

    thread = 0

    def match(self, text: str) -> bool:
        return self.thread == threading.get_ident()


_decoding, _lock = _Decoding(), threading.Lock()
_SILENCE: Any = "ignore", _decoding, Warning, None, 0


@contextmanager
def _pillow(limits: Limits, *, truncated: bool) -> Iterator[None]:
    """A block in which Pillow has these limits and warns of nothing; one thread at a time.

    With ``truncated``, files that are cut short give what there is of them. The limit of pixels
    also holds for the images in an icon, whose bitmaps are declared twice as high as they are:
    Pillow warns of more pixels, and refuses them twice over.
    """
    from PIL import Image, ImageFile  # noqa: TID251

    with _lock:
        filters: Any = warnings.filters
        filters.insert(0, _SILENCE)
        before = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
        ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = truncated, limits.pixels
        _decoding.thread = threading.get_ident()
        try:
            yield
        finally:
            if _SILENCE in filters:  # another thread may have emptied them
                filters.remove(_SILENCE)
            ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = before


def _silence_pillow() -> None:
    """Pillow logs what it thinks of a file; without a handler that would go to stderr."""
    from logging import NullHandler, getLogger

    logger = getLogger("PIL")
    if not logger.handlers:
        logger.addHandler(NullHandler())


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """A block without descriptor 2, to which libtiff writes past all of Python.

    The descriptor is that of all threads, and of a program that imports this: it is left alone but
    in the main thread of the command line.
    """
    kept = None
    if machine.is_command and threading.current_thread() is threading.main_thread():
        with suppress(OSError):  # closed: nothing can be written
            kept = os.dup(2)
    if kept is None:
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


# The process that decodes: names come in on stdin, pixels or reasons go out on stdout

NAME = struct.Struct("<I")  # bytes of what follows: the settings, then names
ANSWER = struct.Struct("<?I")  # whether it succeeded; bytes of pixels or of the JSON reason
READY = b"+"  # sent once, when names can be taken
_FILE, _MEMBER = b"/", b":"  # the first byte of a place, or CONTENT


def place_of(path: str) -> bytes:
    """An image as a worker gets it: the name of a file, a place in an archive, or its bytes."""
    if isinstance(path, Content):
        return path.frame
    if isinstance(path, Member):
        return _MEMBER + path.packed()
    return _FILE + os.fsencode(path)


def _path(place: bytes) -> str:
    if place.startswith(CONTENT):
        return Content.framed("", "", place)
    return Member.unpacked(place[1:]) if place.startswith(_MEMBER) else os.fsdecode(place[1:])


def settings(preprocess: Preprocess, limits: Limits) -> bytes:
    """How images are to be decoded, which a worker gets first."""
    return json.dumps([list(vars(preprocess).values()), list(vars(limits).values())]).encode()


def serve() -> None:
    """Answer each name in order until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    with suppress(OSError):  # where memory runs out, the system should end this process first
        Path("/proc/self/oom_score_adj").write_text("500")
    answers = os.dup(1)
    os.dup2(2, 1)  # so that nothing but answers can be written there
    with suppress(BrokenPipeError):
        _send(answers, READY)
        if (content := _next(sys.stdin.buffer)) is None:
            os._exit(0)
        (size, fit, resampling, background), limit = json.loads(content)
        preprocess = Preprocess(size, fit, resampling, tuple(background))
        limits = Limits(*limit)
        while (place := _next(sys.stdin.buffer)) is not None:
            try:
                good, content = True, _image(_path(place), preprocess, limits).tobytes()
            except ImageError as error:
                good, content = False, json.dumps([error.kind, str(error)]).encode()
            _send(answers, ANSWER.pack(good, len(content)) + content)
    os._exit(0)  # nothing is left to be written, and tidying up would take longer than an image


def _next(source: BinaryIO) -> bytes | None:
    """What comes next, until the other side has ended or closed the pipe."""
    head = source.read(NAME.size)
    return source.read(NAME.unpack(head)[0]) if head else None


def _send(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
