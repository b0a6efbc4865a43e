"""From any image file to the right pixels, or to one ImageError."""

from __future__ import annotations

import io
import os
import random
import signal
import struct
import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import GREEN, Run, fill, in_python_without_powers, opened
from numpy.typing import NDArray
from PIL import Image, ImageFile

import catclf
from catclf.errors import ImageError
from catclf.images import formats
from catclf.images.decode import dimensions, read
from catclf.images.preprocess import FITS, Limits, Preprocess
from catclf.maths import Pixels

SMALL = Preprocess(8)
RED, BLUE, GREY = (255, 0, 0), (0, 0, 255), (128, 128, 128)


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """An error in place of waiting for ever."""

    def stop(*_: Any) -> None:
        raise TimeoutError("this hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(180)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> Pixels:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def read_bytes(folder: Path, content: bytes, preprocess: Preprocess = SMALL) -> Pixels:
    path = folder / "picture"
    path.write_bytes(content)
    return read(path, preprocess)


def all_of(colour: tuple[int, ...], size: int = 8) -> Pixels:
    return np.full((size, size, 3), colour, dtype=np.uint8)


def refused(path: Path, kind: str, limits: Limits | None = None) -> str:
    """ReadOptions raises a ImageError of this kind, in one line; no descriptor is left open."""
    descriptors = len(list(Path("/dev/fd").iterdir()))
    with pytest.raises(ImageError) as caught:
        read(path, SMALL, limits)
    assert (caught.value.kind, str(caught.value).isprintable()) == (kind, True)
    assert len(list(Path("/dev/fd").iterdir())) == descriptors
    return str(caught.value)


def outcome(path: Path, limits: Limits) -> Pixels | str:
    """The pixels, or the text of the refusal."""
    try:
        return read(path, SMALL, limits)
    except ImageError as error:
        return str(error)


# Colours


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(
    "size",
    [(64, 64), (8, 8), (100, 30), (30, 100), (1, 1), (1, 2), (3, 500), (1000, 1), (1, 1000)],
)
@pytest.mark.parametrize("colour", [(255, 255, 255), (1, 2, 254)])
def test_an_image_of_one_colour_keeps_exactly_that_colour(
    tmp_path: Path, colour: tuple[int, int, int], size: tuple[int, int], fit: str
) -> None:
    content = encoded(Image.new("RGB", size, colour), "PNG")
    pixels = read_bytes(tmp_path, content, Preprocess(16, fit, background=colour))
    np.testing.assert_array_equal(pixels, all_of(colour, 16), strict=True)


def palette(transparency: int | bytes | None = None) -> bytes:
    """Eight rows of red, blue, red … as colours 1 and 2 of a palette."""
    image = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) // 8 % 2 + 1)
    image.putpalette([0, 0, 0, *RED, *BLUE])
    options = {} if transparency is None else {"transparency": transparency}
    return encoded(image, "PNG", **options)


def stripes(even: tuple[int, ...], odd: tuple[int, ...]) -> Pixels:
    pixels = all_of(even)
    pixels[1::2] = odd
    return pixels


@pytest.mark.parametrize(
    ("transparency", "expected"),
    [
        (None, stripes(RED, BLUE)),
        (1, stripes((10, 20, 30), BLUE)),
        (b"\xff\xff\x00", stripes(RED, (10, 20, 30))),
        (b"\xff\x00", stripes((10, 20, 30), BLUE)),
    ],
)
def test_palettes_give_their_colours_and_transparent_ones_the_background(
    tmp_path: Path, transparency: int | bytes | None, expected: Pixels
) -> None:
    pixels = read_bytes(tmp_path, palette(transparency), Preprocess(8, background=(10, 20, 30)))
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize(
    ("mode", "colour", "kind", "expected"),
    [
        ("RGB", (12, 34, 56), "PNG", (12, 34, 56)),
        ("RGB", (12, 34, 56), "BMP", (12, 34, 56)),
        ("RGB", (12, 34, 56), "TIFF", (12, 34, 56)),
        ("RGB", (12, 34, 56), "PPM", (12, 34, 56)),
        ("RGB", (12, 34, 56), "TGA", (12, 34, 56)),
        ("RGB", (12, 34, 56), "ICO", (12, 34, 56)),
        ("L", 200, "PNG", (200, 200, 200)),
        ("L", 200, "GIF", (200, 200, 200)),
        ("L", 200, "JPEG", (200, 200, 200)),
        ("1", 1, "PNG", (255, 255, 255)),
        ("1", 0, "PNG", (0, 0, 0)),
        ("RGBA", (255, 0, 0, 255), "PNG", (255, 0, 0)),
        ("RGBA", (255, 0, 0, 0), "PNG", (255, 255, 255)),
        ("RGBA", (255, 0, 0, 128), "PNG", (255, 127, 127)),
        ("LA", (0, 51), "PNG", (204, 204, 204)),
        ("CMYK", (0, 255, 255, 0), "TIFF", (255, 0, 0)),
        ("CMYK", (0, 0, 0, 255), "TIFF", (0, 0, 0)),
        ("CMYK", (0, 255, 255, 0), "JPEG", (254, 0, 0)),
        ("LAB", (138, 128 + 81, 128 + 70), "TIFF", (255, 0, 0)),
        ("LAB", (255, 128, 128), "TIFF", (255, 255, 255)),
        ("I;16", 65535, "PNG", (255, 255, 255)),
        ("I;16", 257 * 51, "PNG", (51, 51, 51)),
        ("I;16", 200, "PNG", (1, 1, 1)),
        ("I;16", 65535, "TIFF", (255, 255, 255)),
        ("I;16B", 257 * 51, "TIFF", (51, 51, 51)),
    ],
)
def test_every_mode_gives_the_colour_that_a_viewer_shows(
    tmp_path: Path, mode: str, colour: Any, kind: str, expected: tuple[int, int, int]
) -> None:
    if mode.startswith("I;16"):
        values = np.full((8, 8), colour, dtype=">u2" if mode.endswith("B") else "<u2")
        image = Image.frombytes(mode, (8, 8), values.tobytes())
    else:
        image = Image.new(mode, (8, 8), colour)
    pixels = read_bytes(tmp_path, encoded(image, kind))
    # One step of rounding; five where a colour space is converted, whose white points vary.
    tolerance = 5 if mode == "LAB" else 1 if mode in ("RGBA", "CMYK", "LA") else 0
    np.testing.assert_allclose(pixels.astype(int), all_of(expected), rtol=0, atol=tolerance)


def test_half_transparent_red_over_a_background_is_their_mean(tmp_path: Path) -> None:
    content = encoded(Image.new("RGBA", (8, 8), (255, 0, 0, 128)), "PNG")
    pixels = read_bytes(tmp_path, content, Preprocess(8, background=(1, 100, 201)))
    share = 128 / 255
    expected = [255 * share + 1 * (1 - share), 100 * (1 - share), 201 * (1 - share)]
    np.testing.assert_allclose(pixels.astype(float), np.tile(expected, (8, 8, 1)), atol=1)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_single_transparent_colour_becomes_the_background(tmp_path: Path, mode: str) -> None:
    black: Any = (0, 0, 0) if mode == "RGB" else 0
    content = encoded(Image.new(mode, (8, 8), black), "PNG", transparency=black)
    np.testing.assert_array_equal(read_bytes(tmp_path, content), all_of((255, 255, 255)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_float_pixels_that_are_not_finite_are_damage(tmp_path: Path, value: float) -> None:
    path = tmp_path / "x.tif"
    Image.fromarray(np.full((8, 8), value, dtype=np.float32)).save(path)
    assert "not finite" in refused(path, "damaged")


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_several_is_the_image(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE, GREY)]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    np.testing.assert_array_equal(read_bytes(tmp_path, content), all_of(RED))


# Geometry


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_an_image_of_the_right_size_is_returned_untouched(
    tmp_path: Path, kind: str, fit: str
) -> None:
    original = noise(64, 64)
    content = encoded(Image.fromarray(original), kind)
    pixels = read_bytes(tmp_path, content, Preprocess(64, fit))
    np.testing.assert_array_equal(pixels, original, strict=True)


@pytest.mark.parametrize("ending", ["", ".jpg", ".txt"])
def test_the_content_and_not_the_name_decides_the_format(tmp_path: Path, ending: str) -> None:
    original = noise(8, 8)
    path = tmp_path / f"image{ending}"
    Image.fromarray(original).save(path, "PNG")
    np.testing.assert_array_equal(read(path, SMALL), original)
    np.testing.assert_array_equal(read(str(path), SMALL), original)


def three_bands() -> Image.Image:
    """24 wide, 8 high: red, blue and grey squares from left to right."""
    pixels = np.hstack([all_of(RED), all_of(BLUE), all_of(GREY)])
    return Image.fromarray(pixels)


@pytest.mark.parametrize("turned", [False, True])
def test_squash_crop_and_pad_place_a_long_image_as_they_say(tmp_path: Path, turned: bool) -> None:
    image = three_bands().transpose(Image.Transpose.TRANSPOSE) if turned else three_bands()
    content = encoded(image, "PNG")

    def fitted(fit: str, size: int) -> Pixels:
        preprocess = Preprocess(size, fit, "box", (255, 255, 0))
        pixels = read_bytes(tmp_path, content, preprocess)
        return pixels.swapaxes(0, 1) if turned else pixels

    squashed = fitted("squash", 6)
    assert (squashed[:, :2] == RED).all()
    assert (squashed[:, 2:4] == BLUE).all()
    assert (squashed[:, 4:] == GREY).all()
    np.testing.assert_array_equal(fitted("crop", 8), all_of(BLUE))
    padded = fitted("pad", 12)
    assert (padded[:4] == (255, 255, 0)).all()
    assert (padded[8:] == (255, 255, 0)).all()
    assert (padded[4:8, :4] == RED).all()
    assert (padded[4:8, 4:8] == BLUE).all()
    assert (padded[4:8, 8:] == GREY).all()


@pytest.mark.parametrize("resampling", ["nearest", "box", "bilinear", "hamming", "bicubic"])
def test_the_resampling_is_the_one_asked_for(tmp_path: Path, resampling: str) -> None:
    image = Image.fromarray(noise(20, 20))
    pixels = read_bytes(tmp_path, encoded(image, "PNG"), Preprocess(8, "squash", resampling))
    expected = image.resize((8, 8), Image.Resampling[resampling.upper()])
    np.testing.assert_array_equal(pixels, np.asarray(expected))


def stored(upright: NDArray[Any], orientation: int) -> NDArray[Any]:
    """How a camera held this way stores the image (EXIF 2.32, tag 0x0112)."""
    flipped = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: upright.swapaxes(0, 1)[::-1],
        7: upright.swapaxes(0, 1)[::-1, ::-1],
        8: upright.swapaxes(0, 1)[:, ::-1],
    }
    return np.ascontiguousarray(flipped.get(orientation, upright))


def orientation_tag(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", [*range(10), 65535])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_all_ways_to_hold_a_camera_give_the_same_pixels(
    tmp_path: Path, kind: str, orientation: int
) -> None:
    upright = noise(8, 8)
    options = {"lossless": True} if kind == "WEBP" else {}
    image = Image.fromarray(stored(upright, orientation))
    content = encoded(image, kind, exif=orientation_tag(orientation), **options)
    np.testing.assert_array_equal(read_bytes(tmp_path, content), upright)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_jpeg_is_shown_upright_before_it_is_cropped(
    tmp_path: Path, orientation: int
) -> None:
    upright = np.asarray(three_bands().resize((480, 160), Image.Resampling.NEAREST))
    image = Image.fromarray(stored(upright, orientation))
    exif = orientation_tag(orientation)
    content = encoded(image, "JPEG", quality=95, subsampling=0, exif=exif)
    pixels = read_bytes(tmp_path, content, Preprocess(12, "squash"))
    for columns, colour in ((slice(0, 3), RED), (slice(5, 7), BLUE), (slice(9, 12), GREY)):
        assert np.abs(pixels[:, columns].astype(int) - colour).max() < 8


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("exif", [b"garbage!", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"])
def test_a_sound_image_with_damaged_exif_is_read(tmp_path: Path, kind: str, exif: bytes) -> None:
    content = encoded(Image.new("RGB", (8, 8), GREY), kind, exif=exif)
    pixels = read_bytes(tmp_path, content)
    np.testing.assert_allclose(pixels.astype(int), all_of(GREY), atol=2)


@pytest.mark.parametrize("fit", ["squash", "crop"])
@pytest.mark.parametrize("size", [(1600, 1200), (300, 1000)])
def test_the_fast_way_through_a_jpeg_is_close_to_the_full_one(
    tmp_path: Path, size: tuple[int, int], fit: str
) -> None:
    soft = Image.fromarray(noise(24, 32)).resize(size, Image.Resampling.BICUBIC)
    content = encoded(soft, "JPEG", quality=90)
    pixels = read_bytes(tmp_path, content, Preprocess(64, fit))
    full = Image.open(io.BytesIO(content))
    side = min(size)
    left, top = (size[0] - side) / 2, (size[1] - side) / 2
    box = (left, top, left + side, top + side) if fit == "crop" else (0, 0, *size)
    expected = np.asarray(full.resize((64, 64), Image.Resampling.BICUBIC, box=box))
    difference = np.abs(pixels.astype(int) - expected)
    assert difference.mean() < 2
    assert difference.max() < 12


def test_reading_real_photographs_is_close_to_the_full_way(datasets: Path) -> None:
    files = sorted((datasets / "pets-sample").rglob("*.jpg"))[::400]
    assert len(files) >= 4
    for path in files:
        with Image.open(path) as image:
            full = image.convert("RGB").resize((64, 64), Image.Resampling.BICUBIC)
        difference = np.abs(read(path, Preprocess()).astype(int) - np.asarray(full))
        assert difference.mean() < 2, path


# Refusals


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
def test_what_is_not_a_regular_file_is_refused_without_waiting(
    tmp_path: Path, name: str, kind: str, why: str
) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    assert why in refused(tmp_path / name, kind)


@pytest.mark.parametrize(
    ("mode", "colour"),
    [("I", 51), ("I", 65535), ("I", -7), ("F", 0.2), ("F", 200.4), ("F", 65535.0), ("F", -1.0)],
)
def test_tones_that_do_not_say_what_is_white_are_refused_with_a_way_out(
    tmp_path: Path, mode: str, colour: float
) -> None:
    (tmp_path / "x.tif").write_bytes(encoded(Image.new(mode, (8, 8), colour), "TIFF"))
    assert "convert it to 8 or 16 bits" in refused(tmp_path / "x.tif", "unsupported")


def test_a_file_without_permission_is_forbidden(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(palette())
    path.chmod(0)
    code = "import sys\nfrom catclf.images.decode import read\n"
    code += "from catclf.images.preprocess import Preprocess\n"
    code += "try: read(sys.argv[1], Preprocess(8))\nexcept Exception as e: print(e.kind)"
    assert in_python_without_powers(code, path) == "forbidden\n"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "empty"),
        (b"These are words.\n" * 20, "not-a-picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not-a-picture"),
        (b"%PDF-1.4\n%%EOF", "not-a-picture"),
        (b"\x89PNG\r\n\x1a\n", "not-a-picture"),
        (b"\xff\xd8\xff", "not-a-picture"),
        (bytes(1000), "not-a-picture"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes, kind: str) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(content)
    refused(path, kind)


def test_a_postscript_image_is_refused_and_starts_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
def test_a_truncated_image_is_refused_and_not_half_read(
    tmp_path: Path, kind: str, share: float
) -> None:
    content = encoded(Image.fromarray(noise(40, 40)), kind)
    path = tmp_path / "x"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ImageError) as caught:
        read(path, SMALL)
    if kind in ("JPEG", "PNG"):
        assert caught.value.kind == "truncated"
    assert caught.value.kind in ("truncated", "damaged", "not-a-picture")
    assert str(caught.value).isprintable()


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds almost nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(100))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("size", "limit"),
    [((50_000, 50_000), None), ((10_001, 10_000), None), ((9, 8), 71), ((2**31 - 1, 1), None)],
)
def test_too_many_pixels_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], limit: int | None
) -> None:
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("decoded"))
    path = tmp_path / "x.png"
    path.write_bytes(png_header(*size))
    refused(path, "too-large", None if limit is None else Limits(pixels=limit))


def test_an_icon_that_declares_less_than_it_holds_is_refused_undecoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", lambda _: pytest.fail("decoded"))
    png = encoded(Image.new("RGB", (400, 400), RED), "PNG")
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(png), 22)
    path = tmp_path / "x.ico"
    path.write_bytes(struct.pack("<HHH", 0, 1, 1) + entry + png)
    refused(path, "too-large", Limits(pixels=16 * 16))


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
    whole = encoded(Image.fromarray(noise(200, 200)), "JPEG")
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    tiff.write_bytes(encoded(Image.fromarray(noise(40, 40)), "TIFF", compression="tiff_lzw"))

    def state() -> tuple[object, ...]:
        descriptor = os.fstat(2)
        mine: Any = warnings.filters
        return (
            (descriptor.st_dev, descriptor.st_ino, list(mine)[-3:]),
            (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS),
        )

    def decode(number: int) -> bool:
        read(tiff, SMALL)
        return isinstance(outcome(cut, Limits(truncated=number % 2 == 1)), str)

    before = state()
    with ThreadPoolExecutor(4) as threads:
        refusals = list(threads.map(decode, range(200)))
    assert refusals == [number % 2 == 0 for number in range(200)]
    assert state() == before
    with pytest.warns(UserWarning, match="mine"):
        warnings.warn("mine", UserWarning, stacklevel=1)


def test_dimensions_are_those_of_the_header_or_a_refusal(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png_header(30, 20))
    assert dimensions(path) == (30, 20)
    path.write_bytes(b"none")
    for each in (path, tmp_path / "none", tmp_path):
        with pytest.raises(ImageError):
            dimensions(each)


def test_a_file_larger_than_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    with path.open("wb") as file:
        file.truncate(10**12)  # a hole: no disk is used
    assert "1000000000000 bytes" in refused(path, "too-large")
    path.write_bytes(palette())
    size = path.stat().st_size
    refused(path, "too-large", Limits(file_bytes=size - 1))
    np.testing.assert_array_equal(
        read(path, SMALL, Limits(file_bytes=size)), stripes(RED, BLUE), strict=True
    )


def test_too_little_memory_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError

    path = tmp_path / "x.png"
    path.write_bytes(palette())
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    assert "memory" in refused(path, "too-large")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "ICO", "TGA"])
def test_a_damaged_image_gives_pixels_or_an_image_error_and_nothing_else(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    image = Image.fromarray(noise(20, 24))
    options: dict[str, Any] = {"exif": orientation_tag(6)} if kind != "TGA" else {}
    if kind == "TIFF":
        options["compression"] = "tiff_lzw"
    whole = encoded(image, kind, **options)
    rng = random.Random(kind)
    path = tmp_path / "x"
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            # Half of the damage goes to the header, where it does most.
            end = len(whole) if rng.random() < 0.5 else min(len(whole), 200)
            damaged[rng.randrange(end)] = rng.randrange(256)
        path.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = outcome(path, Limits(pixels=1_000_000))
        if isinstance(found, str):
            assert found.isprintable()
        else:
            assert found.shape == (8, 8, 3)
            assert found.dtype == np.uint8
    assert capsys.readouterr() == ("", "")


# HEIC through the optional library: decoded as other images are, else named


@pytest.fixture
def heic(tmp_path: Path) -> Path:
    pillow_heif = pytest.importorskip("pillow_heif")
    tones = np.linspace(20, 235, 32).astype(np.uint8)
    image = Image.fromarray(np.stack([np.tile(tones, (32, 1))] * 3, axis=2))
    path = tmp_path / "x.heic"
    pillow_heif.from_pillow(image).save(path, quality=-1)  # lossless but for the colour space
    return path


def test_a_heic_image_is_decoded(heic: Path) -> None:
    found = read(heic, Preprocess(32)).astype(int)
    tones = np.linspace(20, 235, 32).astype(np.uint8).astype(int)
    assert np.abs(found - tones[None, :, None]).max() <= 8


def test_its_limits_hold(heic: Path) -> None:
    with pytest.raises(ImageError, match=f"`max_pixels={32 * 32}` reads it"):
        read(heic, Preprocess(32), Limits(pixels=32 * 32 - 1))
    heic.write_bytes(heic.read_bytes()[:200])
    with pytest.raises(ImageError):
        read(heic, Preprocess(32))


def test_it_trains_and_is_scored_beside_others(heic: Path, run: Run, tmp_path: Path) -> None:
    fill(tmp_path / "d", {"cat/0.png": GREEN, "dog/0.png": GREEN})
    heic.rename(tmp_path / "d" / "cat" / "x.HEIC")
    assert opened(tmp_path / "d", size=8).m == 3
    catclf.save(catclf.Model(np.zeros((192, 1)), 0.0, Preprocess(8)), tmp_path / "model.npz")
    result = run("predict", "d/cat")
    assert (result.code, result.stderr) == (0, "")
    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == [
        "d/cat/0.png",
        "d/cat/x.HEIC",
    ]


def test_without_the_library_it_is_named(
    heic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    formats.heif_is_there.cache_clear()
    monkeypatch.setattr(formats, "find_spec", lambda _: None)
    try:
        with pytest.raises(ImageError, match=r"-m pip install .*pillow-heif"):
            read(heic, Preprocess(32))
        fill(tmp_path / "d", {"cat/0.png": GREEN, "dog/0.png": GREEN})
        heic.rename(tmp_path / "d" / "cat" / "x.heic")
        data = opened(tmp_path / "d", size=8)
        assert data.m == 2
        assert any("1 .heic" in note and "pillow-heif" in note for note in data.notes)
    finally:
        formats.heif_is_there.cache_clear()
