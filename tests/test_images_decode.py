"""From any image file to the right pixels, or to one ImageError."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import GREEN, Run, fails, fill, in_python_without_powers, opened
from numpy.typing import NDArray
from PIL import Image, ImageFile

import catclf
from catclf.errors import ImageError
from catclf.images import formats
from catclf.images.decode import dimensions, read
from catclf.images.preprocess import FITS, Limits, Preprocess
from catclf.maths import Pixels

pytestmark = pytest.mark.usefixtures("no_hang")
SMALL = Preprocess(8)
RED, BLUE = (255, 0, 0), (0, 0, 255)
BLACK, GREY, WHITE = (0, 0, 0), (128, 128, 128), (255, 255, 255)
BACKGROUND = (10, 60, 210)


def noise(height: int, width: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image: Image.Image | NDArray[Any], kind: str, **options: Any) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def plain(mode: str, colour: Any, kind: str, **options: Any) -> bytes:
    """An image file of 8x8 and one colour."""
    if not mode.startswith("I;16"):
        return encoded(Image.new(mode, (8, 8), colour), kind, **options)
    values = np.full((8, 8), colour, dtype=">u2" if mode.endswith("B") else "<u2")
    return encoded(Image.frombytes(mode, (8, 8), values.tobytes()), kind)


def read_bytes(folder: Path, content: bytes, preprocess: Preprocess = SMALL) -> Pixels:
    (folder / "picture").write_bytes(content)
    return read(folder / "picture", preprocess)


def all_of(colour: tuple[int, ...], size: int = 8) -> Pixels:
    return np.full((size, size, 3), colour, dtype=np.uint8)


def refused(path: Path, kind: str, limits: Limits | None = None) -> str:
    """The text of an ImageError of this kind, in one line; no descriptor is left open."""
    descriptors = len(list(Path("/dev/fd").iterdir()))
    with pytest.raises(ImageError) as caught:
        read(path, SMALL, limits)
    assert (caught.value.kind, str(caught.value).isprintable()) == (kind, True)
    assert len(list(Path("/dev/fd").iterdir())) == descriptors
    return str(caught.value)


# Colours


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(
    "size", [(64, 64), (8, 8), (100, 30), (30, 100), (1, 1), (1, 2), (3, 500), (1000, 1), (1, 1000)]
)
def test_one_colour_stays_exactly_that_one(tmp_path: Path, size: tuple[int, int], fit: str) -> None:
    for colour in (WHITE, (1, 2, 254)):
        content = encoded(Image.new("RGB", size, colour), "PNG")
        pixels = read_bytes(tmp_path, content, Preprocess(16, fit, background=colour))
        np.testing.assert_array_equal(pixels, all_of(colour, 16), strict=True)


FRAMES = {"save_all": True, "append_images": [Image.new("RGB", (8, 8), c) for c in (BLUE, GREY)]}
DAMAGED_EXIF = (b"garbage!", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0")
SIMPLE = (12, 34, 56)


@pytest.mark.parametrize(
    ("mode", "colour", "kind", "options", "expected", "tolerance"),
    [
        *(("RGB", SIMPLE, kind, {}, SIMPLE, 0) for kind in ("PNG", "BMP", "TIFF", "PPM", "TGA")),
        ("RGB", SIMPLE, "ICO", {}, SIMPLE, 0),
        *(("L", 200, kind, {}, (200, 200, 200), 0) for kind in ("PNG", "GIF", "JPEG")),
        ("1", 1, "PNG", {}, WHITE, 0),
        ("1", 0, "PNG", {}, BLACK, 0),
        ("RGBA", (*RED, 255), "PNG", {}, RED, 0),
        ("RGBA", (*RED, 0), "PNG", {}, BACKGROUND, 0),
        ("RGBA", (*RED, 128), "PNG", {}, (133, 30, 105), 1),
        ("LA", (0, 51), "PNG", {}, (8, 48, 168), 1),
        ("RGB", BLACK, "PNG", {"transparency": BLACK}, BACKGROUND, 0),
        ("L", 0, "PNG", {"transparency": 0}, BACKGROUND, 0),
        ("CMYK", (0, 255, 255, 0), "TIFF", {}, RED, 1),
        ("CMYK", (0, 0, 0, 255), "TIFF", {}, BLACK, 1),
        ("CMYK", (0, 255, 255, 0), "JPEG", {}, (254, 0, 0), 1),
        ("LAB", (138, 128 + 81, 128 + 70), "TIFF", {}, RED, 5),  # white points vary
        ("LAB", (255, 128, 128), "TIFF", {}, WHITE, 5),
        ("I;16", 65535, "PNG", {}, WHITE, 0),
        ("I;16", 257 * 51, "PNG", {}, (51, 51, 51), 0),
        ("I;16", 200, "PNG", {}, (1, 1, 1), 0),
        ("I;16", 65535, "TIFF", {}, WHITE, 0),
        ("I;16B", 257 * 51, "TIFF", {}, (51, 51, 51), 0),
        # The first of several frames is the image.
        *(("RGB", RED, kind, FRAMES, RED, 0) for kind in ("GIF", "PNG", "TIFF")),
        ("RGB", RED, "WEBP", {**FRAMES, "lossless": True}, RED, 0),
        *(
            ("RGB", GREY, kind, {"exif": exif}, GREY, 2)
            for kind in ("PNG", "JPEG", "WEBP")
            for exif in DAMAGED_EXIF
        ),
    ],
)
def test_every_file_gives_the_colour_that_a_viewer_shows(
    tmp_path: Path,
    mode: str,
    colour: Any,
    kind: str,
    options: dict[str, Any],
    expected: tuple[int, int, int],
    tolerance: int,
) -> None:
    content = plain(mode, colour, kind, **options)
    pixels = read_bytes(tmp_path, content, Preprocess(8, background=BACKGROUND))
    np.testing.assert_allclose(pixels.astype(int), all_of(expected), rtol=0, atol=tolerance)


def palette(transparency: int | bytes | None = None) -> bytes:
    """Eight rows of red, blue, red … as colours 1 and 2 of a palette."""
    image = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) // 8 % 2 + 1)
    image.putpalette([0, 0, 0, *RED, *BLUE])
    options = {} if transparency is None else {"transparency": transparency}
    return encoded(image, "PNG", **options)


@pytest.mark.parametrize(
    ("transparency", "even", "odd"),
    [
        (None, RED, BLUE),
        (1, BACKGROUND, BLUE),
        (b"\xff\xff\x00", RED, BACKGROUND),
        (b"\xff\x00", BACKGROUND, BLUE),
    ],
)
def test_palettes_give_their_colours_and_transparent_ones_the_background(
    tmp_path: Path, transparency: int | bytes | None, even: Any, odd: Any
) -> None:
    pixels = read_bytes(tmp_path, palette(transparency), Preprocess(8, background=BACKGROUND))
    assert (pixels[::2] == even).all()
    assert (pixels[1::2] == odd).all()


# Deep tones as TIFF 6.0 and Netpbm say

SIZE = 8
TONES = np.tile(np.linspace(0.0, 1.0, SIZE), (SIZE, 1))  # black on the left, white on the right
EXPECTED = np.rint(255 * TONES)


def tiff(
    samples: bytes,
    bits: int,
    photometric: int,
    format: int,
    *more: tuple[int, int, int],
    order: str,
) -> bytes:
    """A TIFF of one strip of one channel of 8x8."""
    tags = [
        *((256, 3, SIZE), (257, 3, SIZE), (258, 3, bits), (259, 3, 1), (262, 3, photometric)),
        *((273, 4, 0), (277, 3, 1), (278, 3, SIZE), (279, 4, len(samples)), (339, 3, format)),
        *more,
    ]
    tags.sort()
    start = 8 + 2 + 12 * len(tags) + 4
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, len(tags))
    for tag, kind, value in tags:
        value = start if tag == 273 else value
        packed = struct.pack(f"{order}{'HxxI'[0 if kind == 3 else 3]}", value).ljust(4, b"\0")
        head += struct.pack(f"{order}HHI", tag, kind, 1) + packed
    return head + b"\0\0\0\0" + samples


def png(
    samples: bytes, bits: int, colour: int, *chunks: tuple[bytes, bytes], size: Any = (SIZE, SIZE)
) -> bytes:
    """A PNG of unfiltered rows, with chunks before its pixels."""
    row = -(-len(samples) // SIZE)
    raw = b"".join(b"\0" + samples[i : i + row] for i in range(0, len(samples), row))
    head = struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0)
    listed = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in listed
    )


def assert_tones(folder: Path, content: bytes, expected: Any, steps: int = 1) -> None:
    """The grey that is read is what it should be, to so many steps of rounding."""
    found = read_bytes(folder, content)[..., 0].astype(int)
    np.testing.assert_allclose(found, expected, rtol=0, atol=steps)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "i2", "i4", "f4"])
def test_tiff_samples_are_taken_as_their_tags_say_or_refused(
    tmp_path: Path, order: str, photometric: int, kind: str
) -> None:
    low, high = (0, 1) if kind == "f4" else (np.iinfo(kind).min, np.iinfo(kind).max)
    values = low + (TONES if photometric else 1 - TONES) * (high - low)
    values = values if kind == "f4" else np.rint(values)
    samples, format = values.astype(order + kind).tobytes(), "uif".index(kind[0]) + 1
    content = tiff(samples, 8 * int(kind[1]), photometric, format, order=order)
    try:
        assert_tones(tmp_path, content, EXPECTED)
    except ImageError:  # a kind that Pillow does not read
        assert "convert it to 8 or 16 bits" in refused(tmp_path / "picture", "unsupported")
        assert (order, kind) not in [("<", "u2"), ("<", "u1")]


def test_a_dark_series_keeps_its_tones(tmp_path: Path) -> None:
    """The brightest pixel of one image decides nothing."""
    dim = tiff(np.rint(6553.5 * TONES).astype("<u2").tobytes(), 16, 1, 1, order="<")
    assert_tones(tmp_path, dim, 0.1 * EXPECTED)


@pytest.mark.parametrize("white", [15, 100, 255, 1000, 4095, 65535])
def test_a_pgm_has_its_own_white(tmp_path: Path, white: int) -> None:
    values = np.rint(white * TONES)
    samples = values.astype(">u2" if white > 255 else "u1").tobytes()
    text = " ".join(str(int(value)) for value in values.ravel()).encode()
    for name, content in ((b"P5", samples), (b"P2", text)):
        header = b"%s %d %d %d\n" % (name, SIZE, SIZE, white)
        assert_tones(tmp_path, header + content, values * 255 / white)


def test_a_transparent_tone_of_16_bits_is_that_tone_alone(tmp_path: Path) -> None:
    values = np.rint(65535 * TONES).astype(">u2")
    clear = int(values[0, 2])
    expected = EXPECTED.copy()
    expected[:, 2] = 255  # the background
    for colour, channels in ((0, 1), (2, 3)):
        samples = np.repeat(values[..., None], channels, axis=2).tobytes()
        transparent = b"tRNS", struct.pack(">H", clear) * channels
        assert_tones(tmp_path, png(samples, 16, colour, transparent), expected)


# Files whose pixels are whole although what is beside them is not


def spoiled(content: bytes, name: bytes) -> bytes:
    """A PNG with a wrong checksum of the first chunk of this name."""
    data = bytearray(content)
    start = data.index(name)
    length = int.from_bytes(data[start - 4 : start], "big")
    data[start + 4 + length] ^= 255
    return bytes(data)


def grey(*chunks: tuple[bytes, bytes]) -> bytes:
    return png(EXPECTED.astype(np.uint8).tobytes(), 8, 0, *chunks)


CHUNKS = {
    "text": (b"tEXt", b"Comment\0hello"),
    "large text": (b"tEXt", b"Comment\0" + b"x" * 2_000_000),
    "profile": (b"iCCP", b"icc\0\0" + zlib.compress(bytes(200))),
    "size": (b"pHYs", struct.pack(">IIB", 1, 1, 0)),
    "gamma": (b"gAMA", struct.pack(">I", 45455)),
    "colours": (b"cHRM", bytes(32)),
    "XMP": (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>"),
    "large Unicode": (b"iTXt", b"c\0\1\0\0\0" + zlib.compress(bytes(2_000_000))),
    "large compressed": (b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 3_000_000)),
}


@pytest.mark.parametrize("name", CHUNKS)
def test_a_chunk_beside_the_pixels_may_be_damaged_or_large(tmp_path: Path, name: str) -> None:
    content = grey(CHUNKS[name])
    assert_tones(tmp_path, content, EXPECTED, steps=0)
    assert_tones(tmp_path, spoiled(content, CHUNKS[name][0]), EXPECTED, steps=0)


def test_damage_is_called_damage(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(spoiled(grey(), b"IHDR"))
    assert "bad header checksum in b'IHDR'" in refused(tmp_path / "x", "damaged")


@pytest.mark.parametrize("progressive", [False, True])
def test_a_cut_jpeg_is_refused_and_read_when_asked(tmp_path: Path, progressive: bool) -> None:
    image = Image.fromarray(EXPECTED.astype(np.uint8)).convert("RGB").resize((64, 64))
    content = encoded(image, "JPEG", progressive=progressive)
    whole, path = read_bytes(tmp_path, content), tmp_path / "x"
    for size in (len(content) - 1, len(content) - 2, len(content) * 3 // 4):
        path.write_bytes(content[:size])
        assert "`truncated` reads what is there" in refused(path, "truncated")
        found = read(path, SMALL, Limits(truncated=True))
        assert size < len(content) - 2 or np.array_equal(found, whole)


# Geometry


@pytest.mark.parametrize("ending", ["", ".jpg", ".txt"])
@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_images_of_the_right_size_are_untouched(tmp_path: Path, kind: str, ending: str) -> None:
    path = tmp_path / f"image{ending}"
    path.write_bytes(encoded(noise(64, 64), kind))
    assert dimensions(path) == (64, 64)
    for fit in FITS:
        for each in (path, str(path)):
            np.testing.assert_array_equal(read(each, Preprocess(64, fit)), noise(64, 64))


THREE_BANDS = np.hstack([all_of(RED), all_of(BLUE), all_of(GREY)])  # from left to right


@pytest.mark.parametrize("turned", [False, True])
def test_squash_crop_and_pad_place_a_long_image_as_they_say(tmp_path: Path, turned: bool) -> None:
    content = encoded(THREE_BANDS.swapaxes(0, 1) if turned else THREE_BANDS, "PNG")

    def fitted(fit: str, size: int) -> Pixels:
        pixels = read_bytes(tmp_path, content, Preprocess(size, fit, "box", BACKGROUND))
        return pixels.swapaxes(0, 1) if turned else pixels

    np.testing.assert_array_equal(fitted("crop", 8), all_of(BLUE))
    padded = fitted("pad", 12)
    assert (padded[[*range(4), *range(8, 12)]] == BACKGROUND).all()
    for bands in (fitted("squash", 6), padded[4:8]):
        for band, colour in zip(np.split(bands, 3, axis=1), (RED, BLUE, GREY), strict=True):
            assert (band == colour).all()


@pytest.mark.parametrize("resampling", ["nearest", "box", "bilinear", "hamming", "bicubic"])
def test_the_resampling_is_the_one_asked_for(tmp_path: Path, resampling: str) -> None:
    image = Image.fromarray(noise(20, 20))
    pixels = read_bytes(tmp_path, encoded(image, "PNG"), Preprocess(8, "squash", resampling))
    expected = image.resize((8, 8), Image.Resampling[resampling.upper()])
    np.testing.assert_array_equal(pixels, np.asarray(expected))


def stored(upright: NDArray[Any], orientation: int) -> NDArray[Any]:
    """How a camera held this way stores the image (EXIF 2.32, tag 0x0112)."""
    image = upright.swapaxes(0, 1) if 5 <= orientation <= 8 else upright
    rows = -1 if orientation in (3, 4, 6, 7) else 1
    columns = -1 if orientation in (2, 3, 7, 8) else 1
    return np.ascontiguousarray(image[::rows, ::columns])


def turned(upright: NDArray[Any], orientation: int, kind: str, **options: Any) -> bytes:
    """An image file that says how the camera was held."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(stored(upright, orientation), kind, exif=exif, **options)


@pytest.mark.parametrize("orientation", [*range(10), 65535])
@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})]
)
def test_all_ways_to_hold_a_camera_give_the_same_pixels(
    tmp_path: Path, kind: str, options: dict[str, Any], orientation: int
) -> None:
    content = turned(noise(8, 8), orientation, kind, **options)
    np.testing.assert_array_equal(read_bytes(tmp_path, content), noise(8, 8))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_jpeg_is_upright_before_it_is_cropped(tmp_path: Path, orientation: int) -> None:
    upright = THREE_BANDS.repeat(20, axis=0).repeat(20, axis=1)
    content = turned(upright, orientation, "JPEG", quality=95, subsampling=0)
    pixels = read_bytes(tmp_path, content, Preprocess(12, "squash")).astype(int)
    for columns, colour in ((slice(0, 3), RED), (slice(5, 7), BLUE), (slice(9, 12), GREY)):
        assert np.abs(pixels[:, columns] - colour).max() < 8


@pytest.mark.parametrize("fit", ["squash", "crop"])
@pytest.mark.parametrize("size", [(1600, 1200), (300, 1000)])
def test_the_fast_way_through_a_jpeg_is_close_to_the_full_one(
    tmp_path: Path, size: tuple[int, int], fit: str
) -> None:
    soft = Image.fromarray(noise(24, 32)).resize(size, Image.Resampling.BICUBIC)
    content = encoded(soft, "JPEG", quality=90)
    pixels = read_bytes(tmp_path, content, Preprocess(64, fit))
    side = min(size)
    left, top = (size[0] - side) / 2, (size[1] - side) / 2
    box = (left, top, left + side, top + side) if fit == "crop" else (0, 0, *size)
    full = Image.open(io.BytesIO(content)).resize((64, 64), Image.Resampling.BICUBIC, box=box)
    difference = np.abs(pixels.astype(int) - np.asarray(full))
    assert difference.mean() < 2
    assert difference.max() < 12


# Refusals


@pytest.mark.parametrize(
    "content",
    [
        b"These are words.\n" * 20,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.4\n%%EOF",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"\0" * 100,
        b"",
    ],
)
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    refused(tmp_path / "x.png", "not-a-picture" if content else "empty")
    with pytest.raises(ImageError):
        dimensions(tmp_path / "x.png")


@pytest.mark.parametrize(
    ("mode", "tone"),
    [("I", 51), ("I", 65535), ("I", -7), ("F", 0.2), ("F", 200.4), ("F", 65535.0), ("F", -1.0)],
)
def test_tones_of_unknown_white_are_refused(tmp_path: Path, mode: str, tone: float) -> None:
    path = tmp_path / "x"
    path.write_bytes(plain(mode, tone, "TIFF"))
    assert "convert it to 8 or 16 bits" in refused(path, "unsupported")
    for value in (np.nan, np.inf):
        path.write_bytes(plain("F", value, "TIFF"))
        assert "not finite" in refused(path, "damaged")


@pytest.mark.parametrize(
    ("name", "kind", "why"),
    [
        ("none.png", "missing", "no such file"),
        ("folder", "not-a-file", "is a folder"),
        *((name, "not-a-file", "") for name in ("pipe", "/dev/zero", "/dev/null")),
        ("file/x.png", "unreadable", "not a directory"),
        ("n" * 300, "unreadable", "name too long"),
    ],
)
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, name: str, kind: str, why: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    assert why in refused(tmp_path / name, kind)
    with pytest.raises(ImageError):
        dimensions(tmp_path / name)


def test_a_file_without_permission_is_forbidden(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(palette())
    path.chmod(0)
    code = "import sys\nfrom catclf.images.decode import read\n"
    code += "try: read(sys.argv[1])\nexcept Exception as e: print(e.kind)"
    assert in_python_without_powers(code, path) == "forbidden\n"


def test_postscript_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\n: > '{tmp_path}/started'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    path = tmp_path / "x.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    refused(path, "not-a-picture")
    with Image.open(path) as image:  # what it would be without our list of formats
        assert image.format == "EPS"
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_truncated_image_is_not_half_read(tmp_path: Path, kind: str, share: float) -> None:
    content = encoded(noise(40, 40), kind)
    with pytest.raises(ImageError) as caught:
        read_bytes(tmp_path, content[: int(len(content) * share)])
    said = ("truncated",) if kind in ("JPEG", "PNG") else ("truncated", "damaged", "not-a-picture")
    assert caught.value.kind in said
    assert str(caught.value).isprintable()


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds almost nothing."""
    return png(bytes(100), 8, 2, size=(width, height))


def icon(width: int, height: int) -> bytes:
    """An icon that declares 16x16 pixels, whatever it holds."""
    png = encoded(Image.new("RGB", (width, height), RED), "PNG")
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(png), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + png


@pytest.mark.parametrize(
    ("make", "width", "height", "limits"),
    [
        (png_header, 50_000, 50_000, None),
        (png_header, 10_001, 10_000, None),
        (png_header, 2**31 - 1, 1, None),
        (png_header, 9, 8, Limits(pixels=71)),
        (icon, 400, 400, Limits(pixels=16 * 16)),
    ],
)
def test_too_many_pixels_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any, width: int, height: int, limits: Any
) -> None:
    (tmp_path / "x").write_bytes(make(width, height))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("decoded"))
    refused(tmp_path / "x", "too-large", limits)


@pytest.mark.parametrize(
    "kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "AVIF"]
)
def test_the_limit_of_pixels_is_ours_and_not_that_of_pillow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / "x"
    path.write_bytes(encoded(Image.new("RGB", (30, 30), RED), kind))
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 100)
    np.testing.assert_allclose(read(path, SMALL, Limits(pixels=900)), all_of(RED), atol=3)
    assert "`max_pixels=900` reads it" in refused(path, "too-large", Limits(pixels=899))
    assert Image.MAX_IMAGE_PIXELS == 100


def test_threads_decode_each_in_its_own_way_and_leave_nothing_behind(tmp_path: Path) -> None:
    cut, tiff = tmp_path / "cut.jpg", tmp_path / "a.tif"
    whole = encoded(noise(200, 200), "JPEG")
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    tiff.write_bytes(encoded(noise(40, 40), "TIFF", compression="tiff_lzw"))

    def state() -> tuple[object, ...]:
        descriptor = os.fstat(2)
        mine: Any = warnings.filters
        return (
            (descriptor.st_dev, descriptor.st_ino, list(mine)[-3:]),
            (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS),
        )

    def refuses(number: int) -> bool:
        read(tiff, SMALL)
        try:
            read(cut, SMALL, Limits(truncated=number % 2 == 1))
        except ImageError:
            return True
        return False

    before = state()
    with ThreadPoolExecutor(4) as threads:
        refusals = list(threads.map(refuses, range(200)))
    assert refusals == [number % 2 == 0 for number in range(200)]
    assert state() == before
    with pytest.warns(UserWarning, match="mine"):
        warnings.warn("mine", UserWarning, stacklevel=1)


def test_a_file_larger_than_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    with path.open("wb") as file:
        file.truncate(10**12)  # a hole: no disk is used
    assert "1000000000000 bytes" in refused(path, "too-large")
    path.write_bytes(palette())
    size = path.stat().st_size
    refused(path, "too-large", Limits(file_bytes=size - 1))
    np.testing.assert_array_equal(read(path, SMALL, Limits(file_bytes=size)), read(path, SMALL))


def test_too_little_memory_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.png").write_bytes(palette())
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fails(MemoryError()))
    assert "memory" in refused(tmp_path / "x.png", "too-large")


# HEIC through the optional library: decoded as other images are, else named

HEIC_TONES = np.tile(np.linspace(20, 235, 32).astype(np.uint8)[None, :, None], (32, 1, 3))


@pytest.fixture
def heic(tmp_path: Path) -> Path:
    """A folder of a green cat and a green dog, and beside it an image of the optional library."""
    pillow_heif = pytest.importorskip("pillow_heif")
    fill(tmp_path / "d", {"cat/0.png": GREEN, "dog/0.png": GREEN})
    path = tmp_path / "d" / "cat" / "x.HEIC"
    # lossless but for the colour space
    pillow_heif.from_pillow(Image.fromarray(HEIC_TONES)).save(path, quality=-1)
    return path


def test_a_heic_image_is_decoded_and_trained_on(heic: Path, run: Run, tmp_path: Path) -> None:
    found = read(heic, Preprocess(32)).astype(int)
    assert np.abs(found - HEIC_TONES).max() <= 8
    with pytest.raises(ImageError, match=f"`max_pixels={32 * 32}` reads it"):
        read(heic, Preprocess(32), Limits(pixels=32 * 32 - 1))
    assert opened(tmp_path / "d", size=8).m == 3
    catclf.save(catclf.Model(np.zeros((192, 1)), 0.0, Preprocess(8)), tmp_path / "model.npz")
    names = [line.split("\t")[0] for line in run("predict", "d/cat").done().splitlines()]
    assert names == ["d/cat/0.png", "d/cat/x.HEIC"]
    heic.write_bytes(heic.read_bytes()[:200])
    with pytest.raises(ImageError):
        read(heic, Preprocess(32))


def test_the_library_is_named(heic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    formats.heif_is_there.cache_clear()
    monkeypatch.setattr(formats, "find_spec", lambda _: None)
    try:
        with pytest.raises(ImageError, match=r"-m pip install .*pillow-heif"):
            read(heic, Preprocess(32))
        data = opened(tmp_path / "d", size=8)
        assert data.m == 2
        assert any("1 .heic" in note and "pillow-heif" in note for note in data.notes)
    finally:
        formats.heif_is_there.cache_clear()
