"""Deep tones as 8 bits, by what the file itself says of them; nothing is guessed from pixels.

The formats give the meaning: TIFF 6.0 (tags BitsPerSample, SampleFormat, SMinSampleValue,
SMaxSampleValue and PhotometricInterpretation), Netpbm (PFM: 1.0 is white). Floats of a TIFF that
does not say what is white are refused, and integers that fill a corner of their range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from catclf.errors import ImageError

if TYPE_CHECKING:
    from PIL import Image  # noqa: TID251

SUBFILE, BITS, PHOTOMETRIC = 254, 258, 262  # tags of TIFF
SAMPLE_FORMAT, SMALLEST, LARGEST = 339, 340, 341
CONVERT = "convert it to 8 or 16 bits"
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_ROWS = 64  # converted at a time: in float64 a large image would take 8 times as much


def is_deep(image: Image.Image) -> bool:
    """Whether an image has more than 8 bits of grey, or 8 that are signed."""
    signed = image.format == "TIFF" and _tag(image, SAMPLE_FORMAT, _UNSIGNED) == _SIGNED
    return image.mode.startswith("I") or image.mode == "F" or (image.mode == "L" and signed)


def eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 8 bits, or of 8 bits and opacity where one value of a PNG is transparent.

    Raises ImageError where the file does not tell what is black and white.
    """
    import numpy as np
    from PIL import Image  # noqa: TID251

    values: Any = np.asarray(image)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ImageError("damaged", "has pixels that are not finite numbers")
    values, black, white = _range(image, values)
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


def with_eight_bit_transparency(image: Image.Image) -> None:
    """Make the transparent colour of a PNG of 16 bits a channel one of 8, as its pixels are."""
    clear = image.info.get("transparency")
    deep = any("16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    if deep and image.format == "PNG" and image.mode == "RGB" and isinstance(clear, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in clear)


def _range(image: Image.Image, values: Any) -> tuple[Any, float, float]:
    """The values, and those that are black and white."""
    if image.format == "TIFF":
        return _range_of_tiff(image, values)
    if image.mode != "F":  # 16 bits, to which Pillow brings a PGM of any maximum
        return values, 0.0, 65535.0
    if values.min(initial=0.0) < 0.0 or values.max(initial=0.0) > 1.0:
        raise _no_white(values)
    return values, 0.0, 1.0  # PFM: Netpbm takes 1.0 as white


def _range_of_tiff(image: Image.Image, values: Any) -> tuple[Any, float, float]:
    import numpy as np

    bits, format = _tag(image, BITS, 1), _tag(image, SAMPLE_FORMAT, _UNSIGNED)
    if format == _UNSIGNED and bits == 32:
        values = values.astype(np.int32).view(np.uint32)
    if image.mode == "L":
        values = values.astype(np.uint8).view(np.int8)
    if format == _FLOAT:
        black, white = _tag(image, SMALLEST, np.nan), _tag(image, LARGEST, np.nan)
        if not black < white:
            raise _no_white(values)
    else:
        black, white = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1.0)
        if format != _SIGNED:
            black, white = 0.0, 2.0**bits - 1.0
        if format == _SIGNED or bits == 32:
            _require_filled(values, white - black, f"{'un' * (format != _SIGNED)}signed {bits}-bit")
    if _tag(image, PHOTOMETRIC, 1) == 0:
        black, white = white, black
    return values, float(black), float(white)


def _no_white(values: Any) -> ImageError:
    low, high = float(values.min()), float(values.max())
    return ImageError(
        "unsupported",
        f"has float tones from {low:g} to {high:g} and does not say which value is white: "
        f"{CONVERT}, as with (x * 255).round().astype('uint8') where 1 is white",
    )


def _require_filled(values: Any, range: float, kind: str) -> None:
    """Raise ImageError for integers so near each other that all become one tone."""
    low, high = int(values.min()), int(values.max())
    if high - low < range / 256:
        raise ImageError(
            "unsupported",
            f"has {kind} tones from {low} to {high}, one tone of all that it could have: "
            f"{CONVERT}, as with x.astype('uint8') where 255 is white",
        )


def _tag(image: Any, number: int, default: Any) -> Any:
    value = image.tag_v2.get(number)
    if isinstance(value, tuple):
        value = value[0] if value else None
    return default if value is None else value


def is_thumbnail(image: Image.Image) -> bool:
    """Whether a TIFF says that its first image is another one made small, as cameras' raw data."""
    subfile = _tag(image, SUBFILE, 0)
    return isinstance(subfile, int) and bool(subfile & 1)
