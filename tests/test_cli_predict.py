"""``catclf predict`` as a shell sees it: every format gives back what went in."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import wording
from conftest import GREEN, RED, Run, contents, fill, on_terminal
from hypothesis import given
from hypothesis import strategies as st

import catclf
from catclf.cli.records import form_of, paths_form
from catclf.features.hog import HogFeatures
from catclf.images.preprocess import Preprocess
from catclf.model.predict import Prediction


@pytest.fixture
def two(model: Path, tmp_path: Path) -> Path:
    """A model, a green image, which is a cat, a red one, and what is left of one."""
    return fill(tmp_path, {"g.png": GREEN, "r.png": RED, "bad.png": "no image"})


def rows_of(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def test_each_image_is_one_record_in_order_and_bad_ones_are_named(run: Run, two: Path) -> None:
    inputs = ("predict", "r.png", "g.png", "bad.png", "none.png", "g.png")
    printed, lines = run(*inputs), run(*inputs, "--format", "jsonl")
    assert (printed.code, lines.code, lines.stderr) == (3, 3, printed.stderr)
    assert printed.stderr.splitlines() == [
        "catclf: bad.png: is not an image in a format read here",
        f"catclf: none.png: {wording.NO_IMAGE}",
    ]
    rows, records = rows_of(printed.stdout), list(map(json.loads, lines.stdout.splitlines()))
    labels = ["non-cat", "cat", "", "", "cat"]
    assert [row[:2] for row in rows] == list(map(list, zip(inputs[1:], labels, strict=True)))
    assert records[3] == {"path": "none.png", "error": "missing", "message": wording.NO_IMAGE}
    for row, record, z in zip(rows, records, (-4, 4, None, None, 4), strict=True):
        if z is None:
            assert row[2] == ""
        else:
            assert (record["path"], record["label"]) == tuple(row[:2])
            assert record["z"] == pytest.approx(z, abs=1e-9)
            expected = 1 / (1 + math.exp(-record["z"]))
            assert record["probability"] == pytest.approx(expected, rel=1e-15)
            assert float(row[2]) == record["probability"]


def test_the_threshold_is_compared_with_all_digits(run: Run, two: Path) -> None:
    probability = float(run("predict", "g.png").done().split("\t")[2])
    for threshold, label in ((probability, "non-cat"), (math.nextafter(probability, 0), "cat")):
        found = run("predict", "g.png", "--threshold", repr(threshold)).done()
        assert found.split("\t")[1] == label


def test_the_model_is_found_by_option_variable_and_default(run: Run, two: Path) -> None:
    (two / "model.npz").rename(two / "other.npz")
    run("predict", "g.png").refused(f"model.npz: {wording.NO_FILE}")
    run("predict", "g.png", env={"CATCLF_MODEL": "other.npz"}).done()
    run("predict", "g.png", "-m", "other.npz", env={"CATCLF_MODEL": "none"}).done()
    (two / "model.npz").write_bytes(b"PK\x03\x04 nonsense")
    run("predict", "none.png").refused("model.npz: ")  # before any image


def test_names_that_are_not_utf8_are_scored_and_shown_escaped(run: Run, two: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    (two / "g.png").rename(two / name)
    for env in (None, {"LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}):
        result = run("predict", name, "caf\xe9.png", env=env)
        assert result.code == 3
        assert result.stdout.startswith("caf\\xe9.png\tcat\t")  # one byte, shown so by this test
        assert result.stdout.endswith("\ncaf\xe9.png\t\t\n")
        assert result.stderr.count("\n") == 1


# Formats

CLASSES = ("non-cat", "cat")
MODEL = catclf.Model(np.zeros((12, 1)), 0.0, preprocess=Preprocess(2))
# What a file may be called: any bytes but NUL, as text that keeps them.
file_names = st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name)
paths = file_names.map(os.fsdecode)
numbers = st.floats(allow_nan=False, allow_infinity=False)
predictions = st.one_of(
    st.builds(Prediction, paths, st.sampled_from(CLASSES), numbers, numbers),
    st.builds(Prediction, paths, error=st.text(min_size=1), kind=st.just("damaged")),
)


def written(record: Prediction, format: str) -> bytes:
    return form_of(format, {"m": MODEL}).line(record)


def unescaped(field: str) -> str:
    """What the help says of tsv, read backwards."""
    out, marks = "", iter(field)
    for mark in marks:
        out += {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}[next(marks)] if mark == "\\" else mark
    return out


@given(predictions)
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


@given(st.lists(predictions))
def test_csv_gives_back_every_field(items: list[Prediction]) -> None:
    content = b"".join(written(record, "csv") for record in items)
    text = content.decode("utf-8", "surrogateescape")
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    for row, record in zip(rows, items, strict=True):
        path, label, probability, error = row
        assert path == record.path
        if record.error is None:
            assert (label, probability, error) == (record.label, repr(record.probability), "")
        else:
            assert (label, probability, bool(error)) == ("", "", True)


def no_constants(name: str) -> float:
    raise AssertionError(f"{name} is not JSON")


@given(predictions)
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
    expected = {"error": record.kind, "message": record.error}
    if record.error is None:
        expected = {"label": record.label, "model": MODEL.fingerprint}
        assert (fields["probability"], fields["z"]) == (record.probability, record.z)
    assert fields | expected == fields


@given(predictions)
def test_a_table_line_is_one_printable_line(record: Prediction) -> None:
    for encoding in ("utf-8", "ascii", "latin-1"):
        form = form_of("table", {"m": MODEL}, encoding=encoding)
        text = form.line(record).decode(encoding)
        assert text[:-1].isprintable()
        assert text.endswith("\n")


@given(paths, st.sampled_from([b"\0", b"\n"]))
def test_a_bare_path_is_its_bytes(path: str, end: bytes) -> None:
    line = paths_form("cat", end).line
    assert line(Prediction(path, "cat")) == os.fsencode(path) + end
    assert line(Prediction(path, "non-cat")) == line(Prediction(path, error="bad")) == b""


# Outputs


def test_the_paths_of_one_class_and_nothing_else(run: Run, two: Path) -> None:
    inputs = ("predict", "g.png", "none.png", "r.png", "g.png", "--only")
    assert run(*inputs, "cat").stdout == "g.png\ng.png\n"
    assert run(*inputs, "non-cat", "--print0").stdout == "r.png\0"
    assert run(*inputs, "cat").code == 3


@pytest.mark.parametrize(
    ("inputs", "code"),
    [("g.png", 0), ("r.png", 1), ("g.png r.png", 1), ("r.png none.png", 3), ("none.png", 3)],
)
def test_quiet_says_it_by_exit_code(run: Run, two: Path, inputs: str, code: int) -> None:
    result = run("predict", "-q", *inputs.split())
    assert (result.code, result.stdout) == (code, "")
    assert bool(result.stderr) == (code == 3)


def test_the_record_names_the_model(run: Run, two: Path) -> None:
    w = catclf.load(two / "model.npz").w
    models = (
        catclf.Model(w, 0.0),
        catclf.Model(w, 1e-9),
        catclf.Model(w, 0.0, Preprocess(fit="crop")),
    )
    assert len({model.fingerprint for model in models}) == 3
    catclf.save(models[1], two / "model.npz")
    line = run("predict", "g.png", "--format", "jsonl").done()
    assert json.loads(line)["model"] == models[1].fingerprint


@pytest.mark.parametrize(
    ("name", "format"), [("a.csv", "csv"), ("a.JSONL", "jsonl"), ("a.tsv", "tsv"), ("a.out", "tsv")]
)
def test_an_output_is_written_as_its_ending_says(
    run: Run, two: Path, name: str, format: str
) -> None:
    printed = run("predict", "g.png", "none.png", "r.png", "--format", format)
    (two / name).write_text("old")
    filed = run("predict", "g.png", "none.png", "r.png", "-o", name)
    assert (filed.code, filed.stdout, filed.stderr) == (3, "", printed.stderr)
    assert (two / name).read_text() == printed.stdout


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ("--only dog", "--only dog: the model's classes are non-cat or cat"),
        ("--print0", "--print0 ends the paths of --only"),
        ("--only cat --format csv", "--only prints bare paths"),
        ("--format xml", "--format"),
        *((f"--between {text}", "give two probabilities") for text in ("0.8,0.2", "0,1", "a,b")),
        ("--between 0.5", "the lower first"),
        *((f"-o a.{end}", "end it in .tsv or") for end in ("json", "xlsx", "csv.gz", "png")),
        ("-o a.csv --format tsv", "its ending says csv, and --format tsv"),
        ("-o a.csv --only cat", "--only prints bare paths"),
        ("-m model.npz -m model.npz", "several models"),
        ("-m model.npz -m model.npz --format csv -q", "several models"),
        ("-m model.npz -m small.npz --format csv", "images of another size or fit"),
        *((f"@list -o {name}", f"{name}: ") for name in ("g.png", "model.npz", "list", ".")),
        *((f"@list -o {name}", f"{name}: ") for name in ("none/out", "/dev/null")),
    ],
)
def test_what_makes_no_sense_or_would_do_harm_is_refused(
    run: Run, two: Path, args: str, why: str
) -> None:
    (two / "list").write_text("g.png\n")
    catclf.save(MODEL, two / "small.npz")
    before = contents(two)
    run("predict", "g.png", *args.split()).refused(why)
    assert contents(two) == before


def test_many_images_score_as_each_alone(run: Run, two: Path) -> None:
    """The batch, the worker and the order leave no trace in a score."""
    names = ["g.png", "r.png"] * 30
    together = run("predict", "-", input="\n".join(names)).done()
    alone = {name: run("predict", name).done() for name in ("g.png", "r.png")}
    assert together == "".join(alone[name] for name in names)


# Unsure images, and several models


@pytest.fixture
def shades(two: Path) -> list[str]:
    """Greys from black to white, and what is left of an image."""
    names = {f"{grey:03}.png": (grey,) * 3 for grey in range(0, 256, 15)}
    fill(two, names)
    return [*names, "bad.png"]


def probabilities(run: Run, *args: str) -> dict[str, float]:
    rows = csv.DictReader(io.StringIO(run("predict", *args, "--format", "csv").stdout))
    return {row["path"]: float(row["probability"]) for row in rows if row["probability"]}


@pytest.mark.parametrize(("threshold", "low", "high"), [(0.9, 0.2, 0.8), (0.02, 0.4, 0.45)])
def test_unsure_images_are_near_the_threshold(
    run: Run, shades: list[str], threshold: float, low: float, high: float
) -> None:
    every = probabilities(run, *shades)
    odds = threshold / (1 - threshold)
    edges = [odds * p / (1 - p) for p in (low, high)]
    expected = [p for p in every if edges[0] < every[p] / (1 - every[p]) < edges[1]]
    options = ["--threshold", str(threshold), "--between", f"{low},{high}"]
    result = run("predict", *shades, *options)
    assert [row[0] for row in rows_of(result.stdout)] == expected
    assert result.code == 3
    cats = [p for p in expected if every[p] > threshold]
    assert run("predict", *shades, *options, "--only", "cat").stdout.splitlines() == cats
    if (low, high) == (0.2, 0.8):  # are so by default
        options = options[:2]
    assert run("predict", *shades, *options, "--only", "unsure").stdout.splitlines() == expected


def test_a_class_may_be_called_unsure(run: Run, two: Path) -> None:
    w = catclf.load(two / "model.npz").w
    catclf.save(catclf.Model(w, 0.0, classes=("sure", "unsure")), two / "model.npz")
    assert run("predict", "g.png", "r.png", "--only", "unsure").done() == "g.png\n"


def test_several_models_give_a_probability_each(run: Run, shades: list[str], two: Path) -> None:
    rng = np.random.default_rng(0)
    for name, features in (("one", None), ("two", HogFeatures(64))):
        w = rng.normal(size=(features.n if features else 12288, 1)) / 100
        catclf.save(catclf.Model(w, 0.1, features=features), two / f"{name}.npz")
    models = ("-m", "one.npz", "-m", "two.npz")
    both = run("predict", *shades, *models, "--format", "jsonl")
    assert both.code == 3
    *rows, failed = map(json.loads, both.stdout.splitlines())
    for name in ("one", "two"):
        alone = probabilities(run, *shades, "-m", f"{name}.npz")
        assert {row["path"]: row[f"probability_{name}"] for row in rows} == alone
    assert set(failed) == {"path", "error", "message"}
    table = run("predict", "g.png", *models, "--format", "csv").done()
    assert table.splitlines()[0] == "path,probability_one,probability_two,error"


def test_a_terminal_gets_a_table_and_a_line_on_what_became_of_all(two: Path) -> None:
    shown = on_terminal("catclf predict g.png none.png", two, code=3).splitlines()
    assert [line.split() for line in shown if not line.startswith("catclf: ")] == [
        ["label", "P(cat)", "path"],
        ["cat", "98.20", "%", "g.png"],
        ["-", "-", "none.png"],
    ]
    became = "2 images: 1 cat, 0 non-cat, 0 between 20 and 80 %, 1 failed"
    assert shown[-1] == f"catclf: {became}"
