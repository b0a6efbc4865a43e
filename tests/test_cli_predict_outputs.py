"""What ``catclf predict`` writes: every format gives back what went in."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import os
from pathlib import Path

import pytest
from conftest import GREEN, RED, Run, paint
from hypothesis import given
from hypothesis import strategies as st

import catclf
from catclf.cli.predict.records import path_line, writer
from catclf.images.preprocess import Preprocess
from catclf.model.predict import Prediction

CLASSES = ("non-cat", "cat")
# What a file may be called: any bytes but NUL, as text that keeps them.
file_names = st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name)
paths = file_names.map(os.fsdecode)
numbers = st.floats(allow_nan=False, allow_infinity=False)
records = st.one_of(
    st.builds(Prediction, paths, st.sampled_from(CLASSES), numbers, numbers),
    st.builds(Prediction, paths, error=st.text(min_size=1), kind=st.just("damaged")),
)


def written(record: Prediction, format: str) -> bytes:
    _, line = writer(format, CLASSES, fingerprint="f", colour=False, encoding="utf-8")
    return line(record)


def unescaped(field: str) -> str:
    """What the help says of tsv, read backwards."""
    out, marks = "", iter(field)
    for mark in marks:
        out += {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}[next(marks)] if mark == "\\" else mark
    return out


@given(records)
def test_a_tsv_line_gives_back_path_label_and_number(record: Prediction) -> None:
    line = written(record, "tsv")
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    path, label, probability = os.fsdecode(line[:-1]).split("\t")
    assert unescaped(path) == record.path
    if record.error is None:
        assert (label, float(probability)) == (record.label, record.probability)
    else:
        assert (label, probability) == ("", "")


@given(st.lists(records))
def test_csv_gives_back_every_field(items: list[Prediction]) -> None:
    content = b"".join(written(record, "csv") for record in items)
    text = content.decode("utf-8", "surrogateescape")
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert [row[0] for row in rows] == [record.path for record in items]
    for row, record in zip(rows, items, strict=True):
        assert len(row) == 4
        if record.error is None:
            assert row[1:] == [record.label, repr(record.probability), ""]
        else:
            assert row[1:3] == ["", ""]
            assert row[3]


def no_constants(name: str) -> float:
    raise AssertionError(f"{name} is not JSON")


@given(records)
def test_a_json_line_gives_back_every_field_in_strict_json(record: Prediction) -> None:
    line = written(record, "jsonl")
    assert line.isascii()
    assert line.count(b"\n") == 1
    fields = json.loads(line, parse_constant=no_constants)
    raw = os.fsencode(record.path)
    if "path_base64" in fields:
        assert base64.b64decode(fields["path_base64"], validate=True) == raw
        assert fields["path"] == raw.decode("utf-8", "replace")
    else:
        assert fields["path"].encode() == raw
    if record.error is None:
        assert (fields["label"], fields["probability"], fields["z"], fields["model"]) == (
            record.label,
            record.probability,
            record.z,
            "f",
        )
    else:
        assert (fields["error"], fields["message"]) == (record.kind, record.error)


@given(records)
def test_a_table_line_is_one_printable_line(record: Prediction) -> None:
    for encoding in ("utf-8", "ascii", "latin-1"):
        _, line = writer("table", CLASSES, fingerprint="", colour=False, encoding=encoding)
        text = line(record).decode(encoding)
        assert text[:-1].isprintable()
        assert text.endswith("\n")


@given(paths, st.sampled_from([b"\0", b"\n"]))
def test_a_bare_path_is_its_bytes(path: str, end: bytes) -> None:
    assert path_line(Prediction(path, "cat"), "cat", end) == os.fsencode(path) + end
    assert path_line(Prediction(path, "non-cat"), "cat", end) == b""
    assert path_line(Prediction(path, error="bad"), "cat", end) == b""


@pytest.fixture
def two(model: Path, tmp_path: Path) -> Path:
    """A green image, which is a cat, and a red one."""
    paint(tmp_path / "g.png", GREEN)
    paint(tmp_path / "r.png", RED)
    return tmp_path


def test_the_paths_of_one_class_and_nothing_else(run: Run, two: Path) -> None:
    inputs = ("predict", "g.png", "none.png", "r.png", "g.png", "--only")
    assert run(*inputs, "cat").stdout == "g.png\ng.png\n"
    assert run(*inputs, "non-cat", "--print0").stdout == "r.png\0"
    assert run(*inputs, "cat").code == 3


@pytest.mark.parametrize(
    "options",
    [("--only", "dog"), ("--print0",), ("--only", "cat", "--format", "csv"), ("--format", "xml")],
)
def test_options_that_make_no_sense_are_refused_in_one_line(
    run: Run, two: Path, options: tuple[str, ...]
) -> None:
    result = run("predict", "g.png", *options)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("inputs", "code"),
    [("g.png", 0), ("r.png", 1), ("g.png r.png", 1), ("r.png none.png", 3), ("none.png", 3)],
)
def test_quiet_says_it_by_exit_code(run: Run, two: Path, inputs: str, code: int) -> None:
    result = run("predict", "-q", *inputs.split())
    assert (result.code, result.stdout) == (code, "")
    assert bool(result.stderr) == (code == 3)


def test_probability_and_z_have_all_their_digits(run: Run, two: Path) -> None:
    line = run("predict", "g.png", "--format", "jsonl").stdout
    record = json.loads(line)
    assert record["probability"] == 1 / (1 + math.exp(-record["z"]))
    as_tsv = run("predict", "g.png").stdout.split("\t")[2]
    assert float(as_tsv) == record["probability"]
    at = repr(record["probability"])
    assert run("predict", "g.png", "--threshold", at).stdout.split("\t")[1] == "non-cat"
    below = repr(math.nextafter(record["probability"], 0))
    assert run("predict", "g.png", "--threshold", below).stdout.split("\t")[1] == "cat"


def test_the_record_names_the_model(run: Run, two: Path) -> None:
    model = catclf.load(two / "model.npz")
    other = catclf.Model(model.w, 1e-9)
    catclf.save(other, two / "other.npz")
    found = [
        json.loads(run("predict", "g.png", "-m", name, "--format", "jsonl").stdout)["model"]
        for name in ("model.npz", "other.npz")
    ]
    assert found == [model.fingerprint, other.fingerprint]
    assert model.fingerprint != other.fingerprint
    cropped = catclf.Model(model.w, 0.0, Preprocess(fit="crop"))
    assert cropped.fingerprint not in (model.fingerprint, other.fingerprint)


def test_an_output_file_is_there_when_all_is_done(run: Run, two: Path) -> None:
    printed = run("predict", "g.png", "none.png", "r.png", "--format", "csv")
    (two / "out.csv").write_text("old")
    filed = run("predict", "g.png", "none.png", "r.png", "--format", "csv", "-o", "out.csv")
    assert (filed.code, filed.stdout, filed.stderr) == (3, "", printed.stderr)
    assert (two / "out.csv").read_text() == printed.stdout


@pytest.mark.parametrize("output", ["g.png", "model.npz", "list", ".", "none/out", "/dev/null"])
def test_an_output_that_would_do_harm_is_refused(run: Run, two: Path, output: str) -> None:
    (two / "list").write_text("g.png\n")
    before = {name: (two / name).read_bytes() for name in ("g.png", "model.npz", "list")}
    result = run("predict", "g.png", "@list", "--output", output)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert all((two / name).read_bytes() == content for name, content in before.items())


def test_many_images_score_as_each_alone(run: Run, two: Path) -> None:
    """The batch, the worker and the order leave no trace in a score."""
    names = ["g.png", "r.png"] * 30
    together = run("predict", "-", input="\n".join(names)).stdout.splitlines()
    alone = {name: run("predict", name).stdout.strip() for name in ("g.png", "r.png")}
    assert together == [alone[name] for name in names]
