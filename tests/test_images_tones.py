"""Files written byte by byte: deep tones as TIFF 6.0 and Netpbm say, damage around pixels."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from catclf.errors import ImageError
from catclf.images.decode import read
from catclf.images.preprocess import Limits, Preprocess

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
    """A TIFF of one strip of one channel."""
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


def pixels(tmp_path: Path, content: bytes) -> Any:
    (tmp_path / "x").write_bytes(content)
    return read(tmp_path / "x", Preprocess(SIZE))[..., 0].astype(int)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize(
    ("kind", "format", "low", "high"),
    [
        ("u1", 1, 0, 255),
        ("u2", 1, 0, 65535),
        ("u4", 1, 0, 2**32 - 1),
        ("i2", 2, -(2**15), 2**15 - 1),
        ("i4", 2, -(2**31), 2**31 - 1),
        ("f4", 3, 0, 1),
    ],
)
def test_tiff_samples_are_taken_as_their_tags_say_or_refused(
    tmp_path: Path, order: str, photometric: int, kind: str, format: int, low: int, high: int
) -> None:
    tones = TONES if photometric else 1 - TONES
    values = low + tones * (high - low)
    values = values if kind == "f4" else np.rint(values)
    samples = values.astype(order + kind).tobytes()
    content = tiff(samples, 8 * int(kind[1]), photometric, format, order=order)
    try:
        found = pixels(tmp_path, content)
    except ImageError as error:  # a kind that Pillow does not read
        refusal = error
    else:
        np.testing.assert_allclose(found, EXPECTED, rtol=0, atol=1)
        return
    assert refusal.kind == "unsupported"
    assert "convert it to 8 or 16 bits" in str(refusal)
    assert (order, kind) not in [("<", "u2"), ("<", "u1")]


def test_a_dark_series_keeps_its_tones(tmp_path: Path) -> None:
    """The brightest pixel of one image decides nothing."""
    dim = tiff(np.rint(6553.5 * TONES).astype("<u2").tobytes(), 16, 1, 1, order="<")
    np.testing.assert_allclose(pixels(tmp_path, dim), 0.1 * EXPECTED, rtol=0, atol=1)


@pytest.mark.parametrize("white", [15, 100, 255, 1000, 4095, 65535])
def test_a_pgm_has_its_own_white(tmp_path: Path, white: int) -> None:
    values = np.rint(white * TONES)
    samples = values.astype(">u2" if white > 255 else "u1").tobytes()
    found = pixels(tmp_path, b"P5 %d %d %d\n" % (SIZE, SIZE, white) + samples)
    np.testing.assert_allclose(found, values * 255 / white, rtol=0, atol=1)
    text = " ".join(str(int(value)) for value in values.ravel()).encode()
    plain = pixels(tmp_path, b"P2 %d %d %d\n" % (SIZE, SIZE, white) + text)
    np.testing.assert_allclose(plain, values * 255 / white, rtol=0, atol=1)


def png(samples: bytes, bits: int, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of unfiltered rows, with chunks before its pixels."""
    rows = len(samples) // SIZE
    raw = b"".join(b"\0" + samples[i : i + rows] for i in range(0, len(samples), rows))
    head = struct.pack(">IIBBBBB", SIZE, SIZE, bits, colour, 0, 0, 0)
    listed = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in listed
    )


def test_a_transparent_tone_of_16_bits_is_that_tone_alone(tmp_path: Path) -> None:
    values = np.rint(65535 * TONES).astype(">u2")
    clear = int(values[0, 2])
    expected = EXPECTED.copy()
    expected[:, 2] = 255  # the background
    content = png(values.tobytes(), 16, 0, (b"tRNS", struct.pack(">H", clear)))
    np.testing.assert_allclose(pixels(tmp_path, content), expected, rtol=0, atol=1)
    colours = np.repeat(values[..., None], 3, axis=2)
    content = png(colours.tobytes(), 16, 2, (b"tRNS", struct.pack(">HHH", *[clear] * 3)))
    np.testing.assert_allclose(pixels(tmp_path, content), expected, rtol=0, atol=1)


# Files whose pixels are whole although what is beside them is not

GREY = np.rint(255 * TONES).astype(np.uint8)
CHUNKS = {
    b"tEXt": b"Comment\0hello",
    b"iCCP": b"icc\0\0" + zlib.compress(bytes(200)),
    b"pHYs": struct.pack(">IIB", 1, 1, 0),
    b"gAMA": struct.pack(">I", 45455),
    b"cHRM": bytes(32),
    b"iTXt": b"XML:com.adobe.xmp\0\0\0\0\0<x/>",
    b"zTXt": b"Comment\0\0" + zlib.compress(b"x" * 3_000_000),
}


def refused(tmp_path: Path, content: bytes, **limits: bool) -> ImageError:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ImageError) as caught:
        read(tmp_path / "x", Preprocess(SIZE), Limits(**limits))
    return caught.value


def spoiled(content: bytes, name: bytes) -> bytes:
    """A PNG with a wrong checksum of the first chunk of this name."""
    data = bytearray(content)
    start = data.index(name)
    length = int.from_bytes(data[start - 4 : start], "big")
    data[start + 4 + length] ^= 255
    return bytes(data)


@pytest.mark.parametrize("name", CHUNKS)
def test_a_chunk_beside_the_pixels_may_be_damaged_or_large(tmp_path: Path, name: bytes) -> None:
    content = png(GREY.tobytes(), 8, 0, (name, CHUNKS[name]))
    np.testing.assert_array_equal(pixels(tmp_path, spoiled(content, name)), EXPECTED)
    np.testing.assert_array_equal(pixels(tmp_path, content), EXPECTED)


def test_two_megabytes_of_metadata_refuse_no_pixels(tmp_path: Path) -> None:
    content = png(GREY.tobytes(), 8, 0, (b"tEXt", b"Comment\0" + b"x" * 2_000_000))
    np.testing.assert_array_equal(pixels(tmp_path, content), EXPECTED)
    content = png(GREY.tobytes(), 8, 0, (b"iTXt", b"c\0\1\0\0\0" + zlib.compress(bytes(2_000_000))))
    np.testing.assert_array_equal(pixels(tmp_path, content), EXPECTED)


def test_damage_is_called_damage(tmp_path: Path) -> None:
    error = refused(tmp_path, spoiled(png(GREY.tobytes(), 8, 0), b"IHDR"))
    assert error.kind == "damaged"
    assert "bad header checksum in b'IHDR'" in str(error)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_cut_jpeg_is_refused_and_read_when_asked(tmp_path: Path, progressive: bool) -> None:
    stream = io.BytesIO()
    image = Image.fromarray(np.repeat(GREY[..., None], 3, 2)).resize((64, 64))
    image.save(stream, "JPEG", progressive=progressive)
    content = stream.getvalue()
    whole = pixels(tmp_path, content)
    for size in (len(content) - 1, len(content) - 2, len(content) * 3 // 4):
        error = refused(tmp_path, content[:size])
        assert (error.kind, "`truncated` reads what is there" in str(error)) == ("truncated", True)
        found = read(tmp_path / "x", Preprocess(SIZE), Limits(truncated=True))
        assert size < len(content) - 2 or np.array_equal(found[..., 0], whole)
