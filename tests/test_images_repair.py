"""Files whose pixels are whole although what is beside them is not, and the causes of failures."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_images_tones import EXPECTED, SIZE, TONES, pixels, png

from catclf.errors import ImageError
from catclf.images.decode import read
from catclf.images.preprocess import Limits, Preprocess

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


def jpeg(progressive: bool = False) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(np.repeat(GREY[..., None], 3, 2)).resize((64, 64))
    image.save(stream, "JPEG", progressive=progressive)
    return stream.getvalue()


def test_a_jpeg_that_lacks_its_end_is_read_when_asked(tmp_path: Path) -> None:
    whole = pixels(tmp_path, jpeg())
    for cut in (1, 2):
        assert "`truncated` reads" in str(refused(tmp_path, jpeg()[:-cut]))
        found = read(tmp_path / "x", Preprocess(SIZE), Limits(truncated=True))
        np.testing.assert_array_equal(found[..., 0], whole)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_cut_image_is_refused_and_read_when_asked(tmp_path: Path, progressive: bool) -> None:
    content = jpeg(progressive)[: len(jpeg(progressive)) * 3 // 4]
    error = refused(tmp_path, content)
    assert (error.kind, "`truncated` reads what is there" in str(error)) == ("truncated", True)
    (tmp_path / "x").write_bytes(content)
    assert read(tmp_path / "x", Preprocess(SIZE), Limits(truncated=True)).shape == (SIZE, SIZE, 3)


def test_a_large_image_hears_of_the_limit(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(png(GREY.tobytes(), 8, 0))
    with pytest.raises(ImageError, match="`max_pixels=64` reads it"):
        read(tmp_path / "x", Preprocess(SIZE), Limits(pixels=63))
