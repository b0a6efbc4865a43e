"""Files of another kind than expected: each reader says which, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from catclf.datasets import open_dataset
from catclf.errors import DataError, ImageError
from catclf.images.decode import read
from catclf.images.preprocess import Preprocess
from catclf.storage.local import kind_of

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n"


@pytest.mark.parametrize(
    ("start", "why"),
    [
        (LFS, "git lfs pull"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html>", "a web page"),
        (b"<HTML>", "a web page"),
        (b"\x1f\x8b\x08\0", "gunzip"),
        (b"%PDF-1.4", "a PDF document"),
        (b"Rar!\x1a\x07", "unpack it, and give the folder"),
        (b"\x08\x08\x12\x06catclf", "an ONNX graph"),
        (b"", "it is empty"),
    ],
)
@pytest.mark.parametrize("name", ["x.h5", "x.npz", "x.csv", "x.jpg"])
def test_every_reader_names_the_kind(tmp_path: Path, start: bytes, why: str, name: str) -> None:
    (tmp_path / name).write_bytes(start)

    def opened(path: Path) -> object:
        return read(path, Preprocess(8)) if name == "x.jpg" else open_dataset(path)

    with pytest.raises((DataError, ImageError)) as caught:
        opened(tmp_path / name)
    assert why.removeprefix("it ") in str(caught.value)


@pytest.mark.parametrize(
    "start", [b"path,label\n", b"\x08\x0a\x12"[:2], b"\0" * 600, b"cat <html>"]
)
def test_other_beginnings_are_not_named(start: bytes) -> None:
    assert kind_of(start) == ""
