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

SUBFILE, BITS, PHOTOMETRIC, SAMPLE_FORMAT, SMALLEST, LARGEST = (
    254,
    258,
    262,
    339,
    340,
    341,
)  # tags of TIFF
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_ROWS = 64  # converted at a time: in float64 a large image would take 8 times as much


def is_deep(image: Image.Image) -> bool:
    """Whether an image has more than 8 bits of grey, or 8 that are signed."""
    return image.mode.startswith("I") or image.mode == "F" or _is_signed_byte(image)


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
    if image.mode == "F":  # PFM: Netpbm takes 1.0 as white
        _require_unit(values)
        return values, 0.0, 1.0
    return values, 0.0, 65535.0  # 16 bits, to which Pillow brings a PGM of any maximum


def _range_of_tiff(image: Image.Image, values: Any) -> tuple[Any, float, float]:
    import numpy as np

    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    bits, format = _first(tags.get(BITS), 1), _first(tags.get(SAMPLE_FORMAT), _UNSIGNED)
    low, high = _first(tags.get(SMALLEST), None), _first(tags.get(LARGEST), None)
    if format == _UNSIGNED and bits == 32:
        values = values.astype(np.int32).view(np.uint32)
    if image.mode == "L":
        values = values.astype(np.uint8).view(np.int8)
    if format == _FLOAT and low is not None and high is not None and low < high:
        black, white = float(low), float(high)
    elif format == _FLOAT:
        raise _no_white(values)
    elif format == _SIGNED:
        black, white = -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1.0
        _require_filled(values, white - black, f"signed {bits}-bit")
    else:
        black, white = 0.0, 2.0**bits - 1.0
        if bits == 32:
            _require_filled(values, white, "32-bit")
    if _first(tags.get(PHOTOMETRIC), 1) == 0:
        black, white = white, black
    return values, black, white


def _require_unit(values: Any) -> None:
    """Raise ImageError for floats beyond 0 to 1, of which the file does not say what is white."""
    if values.min(initial=0.0) < 0.0 or values.max(initial=0.0) > 1.0:
        raise _no_white(values)


def _no_white(values: Any) -> ImageError:
    low, high = float(values.min()), float(values.max())
    return ImageError(
        "unsupported",
        f"has float tones from {low:g} to {high:g} and does not say which value is white: convert "
        "it to 8 or 16 bits, as with (x * 255).round().astype('uint8') where 1 is white",
    )


def _require_filled(values: Any, range: float, kind: str) -> None:
    """Raise ImageError for integers so near each other that all become one tone."""
    low, high = int(values.min()), int(values.max())
    if high - low < range / 256:
        raise ImageError(
            "unsupported",
            f"has {kind} tones from {low} to {high}, one tone of all that it could have: convert "
            "it to 8 or 16 bits, as with x.astype('uint8') where 255 is white",
        )


def _is_signed_byte(image: Image.Image) -> bool:
    if image.format != "TIFF" or image.mode != "L":
        return False
    return bool(_first(image.tag_v2.get(SAMPLE_FORMAT), 1) == _SIGNED)  # type: ignore[attr-defined]


def _first(value: Any, default: Any) -> Any:
    if isinstance(value, tuple):
        value = value[0] if value else None
    return default if value is None else value


def is_thumbnail(image: Any) -> bool:
    """Whether a TIFF says that its first image is another one made small, as cameras' raw data."""
    subfile = _first(image.tag_v2.get(SUBFILE), 0)
    return isinstance(subfile, int) and bool(subfile & 1)


def tiff_kind(content: bytes) -> str:
    """What a TIFF says of its samples, in brackets, for a message; "" where it cannot be read."""
    from io import BytesIO

    from PIL import TiffImagePlugin  # noqa: TID251

    try:
        file = BytesIO(content)
        head = file.read(16 if content[2:4] in (b"+\0", b"\0+") else 8)
        tags = TiffImagePlugin.ImageFileDirectory_v2(head)
        file.seek(tags.next)
        tags.load(file)
        bits = " ".join(str(each) for each in tags.get(BITS, (1,)))
        format = _first(tags.get(SAMPLE_FORMAT), _UNSIGNED)
        name = {_UNSIGNED: "unsigned", _SIGNED: "signed", _FLOAT: "float"}.get(format, "other")
        photometric = _first(tags.get(PHOTOMETRIC), "unknown")
    except Exception:  # a damaged directory raises anything at all
        return ""
    return f" ({name} samples of {bits} bits, PhotometricInterpretation {photometric})"
