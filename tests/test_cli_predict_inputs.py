"""Where ``catclf predict`` finds its images: lists, folders, odd names, late arrivals."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import wording
from conftest import GREEN, RED, Run, command, paint
from PIL import Image


@pytest.fixture
def photos(model: Path, tmp_path: Path) -> Path:
    """Images on three floors."""
    for name in ("photos/a.png", "photos/sub/b.png", "photos/sub/deep/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        paint(tmp_path / name, GREEN, (8, 8))
    return tmp_path / "photos"


def paths_in(stdout: str) -> list[str]:
    return [line.split("\t")[0] for line in stdout.splitlines()]


def test_lists_files_and_folders_mix_in_order(run: Run, photos: Path, tmp_path: Path) -> None:
    paint(tmp_path / "@odd.png", RED)
    (tmp_path / "list.txt").write_text("photos/sub\n\n@odd.png\nmissing.png")
    result = run("predict", "@@odd.png", "@list.txt", "-", "./@odd.png", input="photos\n")
    assert paths_in(result.stdout) == [
        "@odd.png",
        "photos/sub/b.png",
        "@odd.png",
        "missing.png",
        "photos/a.png",
        "./@odd.png",
    ]
    assert (result.code, result.stderr) == (3, f"catclf: missing.png: {wording.NO_IMAGE}\n")


@pytest.mark.parametrize("name", ["two\nlines.png", "a b.png", "-", "-q.png", "caf\udce9.png", " "])
def test_names_that_end_with_nul_may_be_anything(
    run: Run, model: Path, tmp_path: Path, name: str
) -> None:
    Image.new("RGB", (8, 8), GREEN).save(tmp_path / "x.png")
    (tmp_path / "x.png").rename(tmp_path / name)
    for option in ("-0", "--null"):
        result = run("predict", option, "-", "--format", "jsonl", input=os.fsencode(name) + b"\0")
        assert (result.code, result.stderr) == (0, "")
        assert json.loads(result.stdout)["label"] == "cat"


def test_a_list_without_names_is_no_work_and_no_failure(run: Run, model: Path) -> None:
    for text in ("", "\n\n"):
        result = run("predict", "-", input=text)
        assert (result.code, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("argument", ["@none.txt", "@photos", "@"])
def test_a_list_that_is_not_there_is_an_error(run: Run, photos: Path, argument: str) -> None:
    result = run("predict", argument)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    with_others = run("predict", "photos", argument)
    assert with_others.code == 3
    assert paths_in(with_others.stdout) == ["photos/a.png", argument]


def test_a_list_separated_by_nul_without_the_option_says_so(run: Run, photos: Path) -> None:
    for noise in (b"photos/a.png\0photos/a.png\0", b"\0\1" * 5000 + b"\n\0\n"):
        result = run("predict", "-", input=noise)
        assert (result.code, result.stdout) == (3, "-\t\t\n")
        assert result.stderr.endswith("holds NUL bytes: is no list of names, or --null reads it\n")
        assert result.stderr.count("\n") == 1


def test_the_first_record_arrives_while_the_list_is_still_open(photos: Path) -> None:
    with subprocess.Popen(
        [command(), "predict", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=photos,
        env={**os.environ, "CATCLF_MODEL": "../model.npz"},
        bufsize=0,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(3):
            process.stdin.write(b"a.png\n")
            assert process.stdout.readline().startswith(b"a.png\tcat\t")
        process.stdin.write(b"a.p")
        process.stdin.write(b"ng")
        process.stdin.close()
        assert process.stdout.readline().startswith(b"a.png\tcat\t")
        assert process.stdout.read() == b""
    assert process.returncode == 0


def test_a_thousand_inputs_with_broken_ones_have_one_record_each_in_order(
    run: Run, model: Path, tmp_path: Path
) -> None:
    paint(tmp_path / "g.png", GREEN, (8, 8))
    paint(tmp_path / "r.png", RED, (8, 8))
    (tmp_path / "bad.png").write_text("bad")
    (tmp_path / "empty.png").touch()
    os.mkfifo(tmp_path / "pipe.png")
    names = ["g.png", "r.png", "g.png", "r.png", "g.png", "r.png", "r.png"] * 140
    for place, bad in enumerate(["bad.png", "none.png", "empty.png", "pipe.png", "."] * 4):
        names.insert(47 * place, bad)
    result = run("predict", "-", "--format", "jsonl", input="\n".join(names))
    found = [json.loads(line) for line in result.stdout.splitlines()]
    # The folder . is its own three sound and two unsound images.
    expected: list[str] = []
    for name in names:
        inside = ["./bad.png", "./empty.png", "./g.png", "./pipe.png", "./r.png"]
        expected += inside if name == "." else [name]
    assert [record["path"] for record in found] == expected
    labels = {"g.png": "cat", "r.png": "non-cat"}
    assert all(record.get("label") == labels.get(Path(record["path"]).name) for record in found)
    assert result.code == 3
    *failures, left_out = result.stderr.splitlines()
    assert len(failures) == sum("error" in record for record in found) == 28
    assert left_out == "catclf: left out 4 files: 4 .npz"  # the model, four times


def test_limits_can_be_moved(run: Run, model: Path, tmp_path: Path) -> None:
    paint(tmp_path / "g.png", GREEN, (20, 10))
    assert run("predict", "g.png", "--max-pixels", "200").code == 0
    refused = run("predict", "g.png", "--max-pixels", "199")
    assert (refused.code, refused.stderr) == (
        3,
        "catclf: g.png: has 20x10 pixels, more than the limit of 199: --max-pixels 200 reads it\n",
    )
    size = (tmp_path / "g.png").stat().st_size
    assert run("predict", "g.png", "--max-bytes", str(size)).code == 0
    assert "bytes" in run("predict", "g.png", "--max-bytes", str(size - 1)).stderr


def test_what_a_pattern_finds_is_data(run: Run, photos: Path, tmp_path: Path) -> None:
    content = (photos / "a.png").read_bytes()
    for name in ("@a.png", "-", "-r", "--model"):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "a.png").write_text("a list of names\n")
    found = paths_in(run("predict", "[@-]*", input="zzz\n").stdout)
    assert found == ["./-", "./--model", "./-r", "./@a.png"]
