"""Parquet files as inputs and outputs of predict."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archive_files import image_bytes
from conftest import Run, fill
from parquet_files import write
from typer.testing import CliRunner

import catclf
from catclf.cli.app import app
from catclf.images.preprocess import Preprocess
from catclf.storage.parquet import ParquetRows
from catclf.text import to_install

SIZE, M = 8, 20


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of noise, and images as files and in two Parquet files."""
    w = np.random.default_rng(0).normal(size=(SIZE * SIZE * 3, 1))
    catclf.save(catclf.Model(w, 0.0, Preprocess(SIZE), ("dog", "cat")), tmp_path / "model.npz")
    contents = [image_bytes(seed) for seed in range(M)]
    fill(tmp_path / "in", {f"{number:02d}.png": each for number, each in enumerate(contents)})
    for part in range(2):
        write(tmp_path / f"s-{part}.parquet", contents[part * 10 :][:10], None, paths=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def predict(*args: str) -> Any:
    return CliRunner().invoke(app, ["predict", *args])


def test_rows_are_scored_as_files_and_each_input_has_its_output(run: Run, photos: Path) -> None:
    files = [line.split("\t")[1:] for line in run("predict", "in").done().splitlines()]
    lines = [line.split("\t") for line in run("predict", "s-*.parquet").done().splitlines()]
    assert [line[1:] for line in lines] == files
    assert [line[0] for line in lines] == [f"s-{i // 10}.parquet:{i % 10}" for i in range(M)]
    args = ("s-{0..1}.parquet", "--output-dir", "out", "--format", "parquet")
    assert predict(*args).exit_code == 0
    tables = [pq.read_table(f"out/s-{part}.parquet.parquet") for part in range(2)]
    assert [table.num_rows for table in tables] == [10, 10]
    scored = pa.concat_tables(tables)["probability"].to_pylist()
    assert scored == [float(probability) for _, probability in files]


def test_records_are_typed_columns_with_the_numbers_of_jsonl(photos: Path) -> None:
    fill(photos, {"in/03.png": b"no image", "empty": ""})
    for name in ("jsonl", "parquet"):
        assert predict("in", "--format", name, "-o", f"out.{name}").exit_code == 3
    table = pq.read_table("out.parquet")
    assert {field.name: str(field.type) for field in table.schema} == {
        **dict.fromkeys(("path", "label", "model", "error", "message"), "string"),
        **dict.fromkeys(("probability", "z"), "double"),
        **dict.fromkeys(("path_base64", "label_base64"), "string"),
    }
    rows = [{k: v for k, v in row.items() if v is not None} for row in table.to_pylist()]
    assert rows == [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    facts = json.loads(table.schema.metadata[b"catclf"])
    assert (facts["classes"], facts["model"]) == (["dog", "cat"], rows[0]["model"])
    assert predict("@empty", "-o", "out.parquet").exit_code == 0
    assert pq.read_table("out.parquet").num_rows == 0


def test_binary_records_go_to_no_terminal(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catclf.cli.predict.is_terminal", lambda stream: True)
    result = predict("in", "--format", "parquet")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--format parquet is binary: give --output" in result.stderr


@pytest.mark.parametrize("content", [b"", b"PAR1 no Parquet PAR1"])
def test_a_bad_file_is_a_record_and_the_others_are_scored(photos: Path, content: bytes) -> None:
    Path("s-0.parquet").write_bytes(content)
    result = predict("s-0.parquet", "s-1.parquet")
    assert (result.exit_code, result.stdout.count("\n")) == (3, 11)
    assert result.stderr.startswith("catclf: s-0.parquet: is damaged, or not a Parquet file: ")
    assert "there is no such file" in predict("none.parquet").stderr
    os.mkfifo("pipe.parquet")
    assert "is not a regular file" in predict("pipe.parquet").stderr


def test_images_above_the_limit_and_without_bytes_fail_alone(photos: Path) -> None:
    write(photos / "s-0.parquet", [image_bytes(1), None, bytes(5000)], None)
    result = predict("s-0.parquet", "--max-bytes", "4000", "--format", "csv")
    assert result.exit_code == 3
    first, second, third = result.stdout.splitlines()[1:]
    assert first.startswith("s-0.parquet:0.png,")
    none = "has no bytes in its file, at most a path, which is not read"
    assert second == f's-0.parquet:1.png,,,"{none}"'
    assert third == 's-0.parquet:2.png,,,"has 5000 bytes, more than the limit"'


def test_a_damaged_row_group_costs_its_own_images(photos: Path) -> None:
    contents = [image_bytes(seed) for seed in range(6)]
    path = write(photos / "s-0.parquet", contents, None, group=2, compression="zstd")
    facts = pq.ParquetFile(path).metadata.row_group(1).column(0)
    content = bytearray(path.read_bytes())
    start = facts.dictionary_page_offset or facts.data_page_offset
    content[start : start + facts.total_compressed_size] = bytes(facts.total_compressed_size)
    path.write_bytes(content)
    result = predict("s-0.parquet")
    assert result.exit_code == 3
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert [line[0] for line in lines] == [f"s-0.parquet:{row}.png" for row in range(6)]
    assert [bool(line[1]) for line in lines] == [True, True, False, False, True, True]


def test_rows_are_written_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ParquetRows, "GROUP", 4)
    rows = ParquetRows({"a": "text", "b": "number"}, {})
    for _ in range(2):  # one file after the other
        content = b"".join(rows.add((f"{i}", i / 3 if i % 2 else None)) for i in range(10))
        content += rows.end()
        file = pq.ParquetFile(pa.BufferReader(content))
        assert [file.metadata.row_group(i).num_rows for i in range(3)] == [4, 4, 2]
        values = file.read().to_pydict()
        assert values["a"] == [str(i) for i in range(10)]
        assert values["b"] == [i / 3 if i % 2 else None for i in range(10)]


def test_without_the_extra_it_is_one_line(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    needed = f"Parquet needs pyarrow: {to_install('parquet')}\n"
    result = predict("in", "--format", "parquet", "-o", "out.parquet")
    assert (result.exit_code, result.stderr) == (2, f"catclf: {needed}")
    assert not Path("out.parquet").exists()
    result = predict("s-0.parquet")
    assert (result.exit_code, result.stderr) == (3, f"catclf: s-0.parquet: {needed}")
