"""Files of another kind than expected: each reader says which, and what to do."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from archive_files import image_bytes
from test_images_decode import tiff

import catclf
from catclf.datasets import open_dataset
from catclf.errors import DataError, ImageError, ModelError
from catclf.images.decode import read
from catclf.images.preprocess import Preprocess
from catclf.images.tree import LeftOut
from catclf.storage.local import kind_of

READERS = ["x.h5", "x.npz", "x.csv", "x.jsonl", "x.parquet", "x.zip", "x.tar", "x.jpg", "model"]
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n"


@pytest.mark.parametrize(
    ("start", "why"),
    [
        (LFS, "git lfs pull"),
        (b"../../.git/annex/objects/x.jpg", "git annex get"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html>", "a web page"),
        (b"<!-- x --><HTML>", "a web page"),
        (b"<Error><Code>AccessDenied", "the message of a server"),
        (b"\x1f\x8b\x08\0", "gunzip"),
        (b"\x04\x22M\x18d@", "unpack it first"),
        (b"Rar!\x1a\x07", "unpack it, and give the folder"),
        (b"7z\xbc\xaf\x27\x1c", "unpack it, and give the folder"),
        (b"%PDF-1.4", "a PDF document"),
        (b"\0\0\0\x20ftypisom\0\0\2\0", "a video"),
        (b"\0\0\0\x18ftypcrx ", "the raw data of a camera: convert it"),
        (b"IIRS\x08\0\0\0", "the raw data of a camera: convert it"),
        (b"\xff\x0a1234", "a JPEG XL image: convert it"),
        (b"\0" * 128 + b"DICM", "image: convert it"),
        (b"\x08\x08\x12\x06catclf", "an ONNX graph"),
        (b"\x80\x02\x8a\nl\xfc", "as .pt files are, which is never loaded"),
        (base64.b64encode(image_bytes(1, "JPEG")), "base64: decode it"),
        (b"data:image/png;base64,iVBORw0KGgo", "base64: decode it"),
        (b"", "it is empty"),
    ],
)
@pytest.mark.parametrize("name", READERS)
def test_every_reader_names_the_kind(tmp_path: Path, start: bytes, why: str, name: str) -> None:
    (tmp_path / name).write_bytes(start)
    reader: Any = {"x.jpg": read, "model": catclf.load}.get(name, open_dataset)
    with pytest.raises((DataError, ImageError, ModelError)) as caught:
        reader(tmp_path / name)
    assert why.removeprefix("it ") in str(caught.value) or (name, start) == ("model", b"")


@pytest.mark.parametrize(
    "start",
    [b"path,label\n", b"\x08\x0a", b"\0" * 600, b"cat <html>", b"{1}.png\0", b"]\0\0\0\0"],
)
def test_other_beginnings_are_not_named(start: bytes) -> None:
    assert kind_of(start) == ""


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_a_table_of_images_in_base64_names_it(tmp_path: Path, kind: str, ending: str) -> None:
    text = base64.b64encode(image_bytes(1, kind)).decode()
    path = tmp_path / f"x{ending}"
    if ending == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        table = pytest.importorskip("pyarrow").table({"image": [text], "label": ["cat"]})
        parquet.write_table(table, path)
    elif ending == ".csv":
        path.write_text(f"image,label\n{text},cat\n")
    else:
        path.write_text(json.dumps({"image": text, "label": "cat"}))
    with pytest.raises(
        DataError, match="holds no path, but an image written as text in base64: decode"
    ):
        open_dataset(path)


def test_raw_data_of_cameras_is_named_and_not_its_thumbnail(tmp_path: Path) -> None:
    content = tiff(bytes(64), 8, 1, 1, (254, 4, 1), order="<")
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ImageError, match="is the raw data of a camera: convert it"):
        read(tmp_path / "x", Preprocess(8))
    left_out = LeftOut()
    left_out.add("x.NEF")
    assert (
        str(left_out)
        == "left out 1 file: 1 .nef, the raw data of a camera: convert it to JPEG or PNG"
    )
