"""What ``catclf predict`` writes: every format gives back what went in."""

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
from conftest import GREEN, RED, Run, fill
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import catclf
from catclf.cli.records import form_of, paths_form
from catclf.features.hog import HogFeatures
from catclf.images.preprocess import Preprocess
from catclf.model.predict import Prediction

CLASSES = ("non-cat", "cat")
MODEL = catclf.Model(np.zeros((12, 1)), 0.0, preprocess=Preprocess(2))
# What a file may be called: any bytes but NUL, as text that keeps them.
file_names = st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name)
paths = file_names.map(os.fsdecode)
numbers = st.floats(allow_nan=False, allow_infinity=False)
records = st.one_of(
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
        found = [fields[name] for name in ("label", "probability", "z", "model")]
        assert found == [record.label, record.probability, record.z, MODEL.fingerprint]
    else:
        assert (fields["error"], fields["message"]) == (record.kind, record.error)


@given(records)
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


@pytest.fixture
def two(model: Path, tmp_path: Path) -> Path:
    """A green image, which is a cat, and a red one."""
    return fill(tmp_path, {"g.png": GREEN, "r.png": RED})


def test_the_paths_of_one_class_and_nothing_else(run: Run, two: Path) -> None:
    inputs = ("predict", "g.png", "none.png", "r.png", "g.png", "--only")
    cats = run(*inputs, "cat")
    assert (cats.code, cats.stdout) == (3, "g.png\ng.png\n")
    assert run(*inputs, "non-cat", "--print0").stdout == "r.png\0"


TWO_MODELS = "-m model.npz -m model.npz"


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ("--only dog", "the model's classes are non-cat or cat"),
        ("--print0", "--print0 ends the paths of --only"),
        ("--only cat --format csv", "--only prints bare paths"),
        ("-o a.csv --only cat", "--only prints bare paths"),
        ("--format xml", "xml"),
        ("--between 0.8,0.2", "give two probabilities, the lower first"),
        ("--between 0,1", "give two probabilities, the lower first"),
        ("--between 0.5", "give two probabilities, the lower first"),
        *((f"-o a.{end}", "end it in .tsv or") for end in ("json", "xlsx", "csv.gz", "png")),
        ("-o a.csv --format tsv", "its ending says csv, and --format tsv"),
        (TWO_MODELS, "several models"),
        (f"{TWO_MODELS} --format csv -q", "several models"),
        ("-m model.npz -m small.npz --format csv", "images of another size or fit"),
        *((f"@list -o {name}", name) for name in ("g.png", "model.npz", "list", ".", "/dev/null")),
        ("-o none/out", "does not exist"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    run: Run, two: Path, args: str, why: str
) -> None:
    (two / "list").write_text("g.png\n")
    catclf.save(MODEL, two / "small.npz")
    before = {path.name: path.read_bytes() for path in two.iterdir()}
    run("predict", "g.png", *args.split()).refused(why)
    assert {path.name: path.read_bytes() for path in two.iterdir()} == before


@pytest.mark.parametrize(
    ("inputs", "code"),
    [("g.png", 0), ("r.png", 1), ("g.png r.png", 1), ("r.png none.png", 3), ("none.png", 3)],
)
def test_quiet_says_it_by_exit_code(run: Run, two: Path, inputs: str, code: int) -> None:
    result = run("predict", "-q", *inputs.split())
    assert (result.code, result.stdout, bool(result.stderr)) == (code, "", code == 3)


def test_probability_and_z_have_all_their_digits(run: Run, two: Path) -> None:
    record = json.loads(run("predict", "g.png", "--format", "jsonl").done())
    p = record["probability"]
    assert p == 1 / (1 + math.exp(-record["z"]))
    assert float(run("predict", "g.png").done().split("\t")[2]) == p
    for threshold, label in ((p, "non-cat"), (math.nextafter(p, 0), "cat")):
        line = run("predict", "g.png", "--threshold", repr(threshold)).done()
        assert line.split("\t")[1] == label
    model = catclf.load(two / "model.npz")
    assert record["model"] == model.fingerprint
    others = catclf.Model(model.w, 1e-9), catclf.Model(model.w, 0.0, Preprocess(fit="crop"))
    assert len({model.fingerprint, *(each.fingerprint for each in others)}) == 3


@pytest.mark.parametrize(
    ("name", "format"), [("a.csv", "csv"), ("a.JSONL", "jsonl"), ("a.tsv", "tsv"), ("a.out", "tsv")]
)
def test_an_output_is_there_when_all_is_done_as_its_ending_says(
    run: Run, two: Path, name: str, format: str
) -> None:
    inputs = ("predict", "g.png", "none.png", "r.png")
    printed = run(*inputs, "--format", format)
    (two / name).write_text("old")
    filed = run(*inputs, "-o", name)
    assert (filed.code, filed.stdout, filed.stderr) == (3, "", printed.stderr)
    assert (two / name).read_text() == printed.stdout


def test_many_images_score_as_each_alone(run: Run, two: Path) -> None:
    """The batch, the worker and the order leave no trace in a score."""
    names = ["g.png", "r.png"] * 30
    together = run("predict", "-", input="\n".join(names)).done().splitlines()
    alone = {name: run("predict", name).done().strip() for name in ("g.png", "r.png")}
    assert together == [alone[name] for name in names]


@pytest.fixture
def shades(two: Path) -> list[str]:
    """Greys from black to white, and what is left of an image."""
    names = [f"{grey:03}.png" for grey in range(0, 256, 15)]
    fill(two, {name: (int(name[:3]),) * 3 for name in names} | {"bad.png": b"no image"})
    return [*names, "bad.png"]


def probabilities(run: Run, *args: str) -> dict[str, float]:
    rows = csv.DictReader(io.StringIO(run("predict", *args, "--format", "csv").stdout))
    return {row["path"]: float(row["probability"]) for row in rows if row["probability"]}


@pytest.mark.parametrize(
    ("threshold", "between"), [(0.5, (0.4, 0.45)), (0.9, (0.2, 0.8)), (0.02, (0.2, 0.8))]
)
def test_unsure_images_are_near_the_threshold(
    run: Run, shades: list[str], threshold: float, between: tuple[float, float]
) -> None:
    every = probabilities(run, *shades)
    low, high = (threshold / (1 - threshold) * p / (1 - p) for p in between)
    expected = [p for p in every if low < every[p] / (1 - every[p]) < high]
    options = ("--threshold", str(threshold), "--between", "{},{}".format(*between))
    result = run("predict", *shades, *options)
    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == expected
    assert (result.code, result.stderr) == (3, run("predict", "bad.png").stderr)
    cats = [p for p in expected if every[p] > threshold]
    for only, names in (("unsure", expected), ("cat", cats)):
        assert run("predict", *shades, *options, "--only", only).stdout.splitlines() == names


def test_unsure_is_a_class_of_its_own(run: Run, shades: list[str], two: Path) -> None:
    found = run("predict", *shades, "--only", "unsure").stdout
    assert found == run("predict", *shades, "--only", "unsure", "--between", "0.2,0.8").stdout
    model = catclf.load(two / "model.npz")
    catclf.save(catclf.Model(model.w, 0.0, classes=("sure", "unsure")), two / "model.npz")
    assert run("predict", "g.png", "r.png", "--only", "unsure").done() == "g.png\n"


@pytest.mark.parametrize("kind", ["pixels", "hog"])
def test_several_models_give_a_probability_each(
    run: Run, shades: list[str], two: Path, kind: str
) -> None:
    rng = np.random.default_rng(0)
    features = HogFeatures(64) if kind == "hog" else None
    for name in ("one", "two"):
        w = rng.normal(size=(12288 if features is None else features.n, 1)) / 100
        catclf.save(catclf.Model(w, 0.1, features=features), two / f"{name}.npz")
    models = ("-m", "one.npz", "-m", "two.npz", "--format")
    both = run("predict", *shades, *models, "jsonl")
    assert both.code == 3
    rows = [json.loads(line) for line in both.stdout.splitlines()]
    for name in ("one", "two"):
        alone = probabilities(run, *shades, "-m", f"{name}.npz")
        assert {row["path"]: row[f"probability_{name}"] for row in rows[:-1]} == alone
    assert set(rows[-1]) == {"path", "error", "message"}
    table = run("predict", "g.png", *models, "csv").done()
    assert table.splitlines()[0] == "path,probability_one,probability_two,error"


@pytest.mark.parametrize("option", [(), ("-0",)])
@pytest.mark.parametrize("kind", ["PNG", "tar"])
def test_an_image_in_the_place_of_a_list_is_one_line(
    run: Run, two: Path, option: tuple[str, ...], kind: str
) -> None:
    content = bytes(257) + b"ustar" + os.urandom(99_000)
    if kind == "PNG":
        stream = io.BytesIO()
        noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
        Image.fromarray(noise).save(stream, kind)
        content = stream.getvalue()
    result = run("predict", *option, "-", input=content)
    assert (result.code, result.stdout) == (3, "-\t\t\n")
    assert result.stderr.startswith("catclf: -: is no list of names: it is a")
    assert len(result.stderr) < 200


def test_a_long_name_is_cut_in_a_message_alone(run: Run, two: Path) -> None:
    name = "a" * 150 + "b" * 20_000 + "c" * 150
    result = run("predict", name)
    assert result.stdout == f"{name}\t\t\n"
    assert result.stderr.startswith("catclf: " + "a" * 100 + "…" + "c" * 100 + ": cannot be read")
