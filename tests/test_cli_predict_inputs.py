"""Where ``catclf predict`` finds its images: lists, folders, odd names, late arrivals, no loops."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wording
from conftest import GREEN, RED, Run, command, fill
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from catclf.images.inputs import NAME_LIMIT, Input, read_inputs, split_names


@pytest.fixture
def photos(model: Path, tmp_path: Path) -> Path:
    """Images on three floors."""
    names = ("photos/a.png", "photos/sub/b.png", "photos/sub/deep/c.png")
    return fill(tmp_path, dict.fromkeys(names, GREEN)) / "photos"


def paths_in(stdout: str) -> list[str]:
    return [line.split("\t")[0] for line in stdout.splitlines()]


def test_lists_files_and_folders_mix_in_order(run: Run, photos: Path, tmp_path: Path) -> None:
    names = "photos/sub\n\n@odd.png\nmissing.png"
    fill(tmp_path, {"@odd.png": RED, "list.txt": names})
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


def test_names_that_end_with_nul_may_be_anything(run: Run, photos: Path) -> None:
    names = ["two\nlines.png", "a b.png", "-", "-q.png", "caf\udce9.png", " "]
    fill(photos, dict.fromkeys(names, (photos / "a.png").read_bytes()))
    listed = b"".join(os.fsencode(name) + b"\0" for name in names)
    for option in ("-0", "--null"):
        words = ("predict", option, "-", "--format", "jsonl", "-m", "../model.npz")
        lines = run(*words, input=listed, cwd=photos).done().splitlines()
        assert [json.loads(line)["label"] for line in lines] == ["cat"] * 6


def test_a_list_without_names_is_no_work_and_no_failure(run: Run, model: Path) -> None:
    for text in ("", "\n\n"):
        assert run("predict", "-", input=text).done() == ""


@pytest.mark.parametrize("argument", ["@none.txt", "@photos", "@"])
def test_a_list_that_is_not_there_is_an_error(run: Run, photos: Path, argument: str) -> None:
    run("predict", argument).refused()
    with_others = run("predict", "photos", argument, "photos")
    assert with_others.code == 3
    assert paths_in(with_others.stdout) == ["photos/a.png", argument, "photos/a.png"]


def content_of(kind: str) -> bytes:
    """The beginning of a large file, or a small image."""
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    stream = io.BytesIO()
    if kind.isupper():
        Image.fromarray(noise).save(stream, kind)
    starts = {"zip": b"PK\3\4", "tar": bytes(257) + b"ustar", "names": b"photos/a.png\0" * 2}
    starts |= {"noise": b"\0\1" * 5000 + b"\n\0\n"}
    rest = noise.tobytes()[:99_000] if kind in ("zip", "tar") else b""
    return stream.getvalue() + starts.get(kind, b"") + rest


@pytest.mark.parametrize(
    ("kinds", "options", "why"),
    [
        ("PNG JPEG zip tar", (), "is no list of names: it is a"),
        ("PNG zip tar", ("-0",), "is no list of names: it is a"),
        ("names noise", (), "holds NUL bytes: is no list of names, or --null reads it\n"),
    ],
)
def test_what_is_no_list_of_names_is_one_line(
    run: Run, photos: Path, kinds: str, options: tuple[str, ...], why: str
) -> None:
    for kind in kinds.split():
        result = run("predict", *options, "-", input=content_of(kind))
        assert (result.code, result.stdout) == (3, "-\t\t\n")
        assert result.stderr.startswith("catclf: -: ")
        assert why in result.stderr
        assert result.stderr.count("\n") == 1
        assert len(result.stderr) < 200


def test_a_long_name_is_cut_in_a_message_alone(run: Run, model: Path) -> None:
    name = "a" * 150 + "b" * 20_000 + "c" * 150
    result = run("predict", name)
    assert result.stdout == f"{name}\t\t\n"
    assert result.stderr.startswith("catclf: " + "a" * 100 + "…" + "c" * 100 + ": cannot be read")


def test_the_first_record_arrives_while_the_list_is_still_open(photos: Path) -> None:
    words = [command(), "predict", "-m", "../model.npz", "-"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process: Any
    with subprocess.Popen(words, cwd=photos, bufsize=0, **pipes) as process:
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
    fill(tmp_path, {"g.png": GREEN, "r.png": RED, "bad.png": "bad", "empty.png": ""})
    os.mkfifo(tmp_path / "pipe.png")
    names = ["g.png", "r.png", "g.png", "r.png", "g.png", "r.png", "r.png"] * 140
    for place, bad in enumerate(["bad.png", "none.png", "empty.png", "pipe.png", "."] * 4):
        names.insert(47 * place, bad)
    result = run("predict", "-", "--format", "jsonl", input="\n".join(names))
    found = [json.loads(line) for line in result.stdout.splitlines()]
    # The folder . is its own three sound and two unsound images.
    inside = ["./bad.png", "./empty.png", "./g.png", "./pipe.png", "./r.png"]
    expected = [each for name in names for each in (inside if name == "." else [name])]
    assert [record["path"] for record in found] == expected
    labels = {"g.png": "cat", "r.png": "non-cat"}
    assert all(record.get("label") == labels.get(Path(record["path"]).name) for record in found)
    assert result.code == 3
    *failures, left_out = result.stderr.splitlines()
    assert len(failures) == sum("error" in record for record in found) == 28
    assert left_out == "catclf: left out 4 files: 4 .npz"  # the model, four times


def test_limits_can_be_moved(run: Run, photos: Path) -> None:
    many = "photos/a.png: has 90x70 pixels, more than the limit of 6299: --max-pixels 6300 reads it"
    size = (photos / "a.png").stat().st_size
    for option, limit, why in (("--max-pixels", 6300, many), ("--max-bytes", size, "bytes")):
        run("predict", "photos/a.png", option, limit).done()
        refused = run("predict", "photos/a.png", option, limit - 1)
        assert (refused.code, refused.stderr.count("\n")) == (3, 1)
        assert why in refused.stderr


def test_what_a_pattern_finds_is_data(run: Run, photos: Path, tmp_path: Path) -> None:
    names = ("@a.png", "-", "-r", "--model")
    content = (photos / "a.png").read_bytes()
    fill(tmp_path, dict.fromkeys(names, content) | {"a.png": "a list of names\n"})
    found = paths_in(run("predict", "[@-]*", input="zzz\n").stdout)
    assert found == ["./-", "./--model", "./-r", "./@a.png"]


# The names in a list

raw = st.binary(max_size=12)


@given(names=st.lists(raw), separator=st.sampled_from([b"\n", b"\0"]), data=st.data())
def test_names_come_back_whatever_their_bytes_and_however_they_arrive(
    names: list[bytes], separator: bytes, data: st.DataObject
) -> None:
    names = [name.replace(separator, b"") for name in names]
    content = separator.join(names) + data.draw(st.sampled_from([b"", separator]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)))))
    blocks = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    found = [os.fsencode(str(name)) for name in split_names(blocks, separator)]
    assert found == [name for name in names if name]


@pytest.mark.parametrize("block", [1000, 65536, 10**6])
def test_a_name_without_end_is_one_failure_and_is_not_held(block: int) -> None:
    endless = b"x" * (3 * NAME_LIMIT)
    content = b"a\n" + endless + b"\nb\n" + endless
    blocks = (content[i : i + block] for i in range(0, len(content), block))
    a, failed, b, again = split_names(blocks, b"\n")
    assert (a, b) == ("a", "b")
    for each in (failed, again):
        assert not isinstance(each, str)
        assert each[0].startswith("xxx")
        assert len(each[0]) < 200


def test_a_long_list_is_not_held() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    block = b"some/longer/name/of/a/image.jpg\n" * 2000
    count = sum(1 for _ in split_names((block for _ in range(250)), b"\n"))
    assert count == 500_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000  # kB


# What a name stands for

FILES = ("b.jpg", "a.PNG", "notes.txt", ".hidden.png", "photo.heic", ".cache/y.png")
BELOW = ("sub/c.webp", "sub/.git/x.png", "sub/deep/d.gif", "folder.png/e.bmp")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path, dict.fromkeys((*FILES, *BELOW), ""))
    Path("loop").symlink_to(".")
    Path("sub/up.png").symlink_to("..")
    Path("link.png").symlink_to("a.PNG")
    Path("empty").mkdir()
    return tmp_path


def names_of(inputs: Iterable[Input]) -> list[str]:
    return [item if isinstance(item, str) else f"{item[0]}: {item[1].kind}" for item in inputs]


def test_a_folder_is_its_images_by_name(tree: Path) -> None:
    own = ["a.PNG", "b.jpg", "link.png", "photo.heic"]
    assert names_of(read_inputs(["."])) == [f"./{name}" for name in own]
    assert names_of(read_inputs(["sub/"])) == ["sub/c.webp"]
    assert names_of(read_inputs(["loop"]))[0] == "loop/a.PNG"
    assert names_of(read_inputs(["empty"])) == ["empty: no-images"]
    # Without loops and what is hidden.
    deep = [*own, "folder.png/e.bmp", "sub/c.webp", "sub/deep/d.gif"]
    assert names_of(read_inputs([str(tree)], recursive=True)) == [str(tree / n) for n in deep]


@pytest.mark.parametrize(
    ("content", "null", "expected"),
    [
        (
            b"b.jpg\n\n@names\nsub\n-\ncaf\xe9.png",
            False,
            ["b.jpg", "@names", "sub/c.webp", "-", "caf\udce9.png"],
        ),
        (b"b.jpg\0two\nlines.png\0", True, ["b.jpg", "two\nlines.png"]),
        # Made on Windows.
        (b"b.jpg\r\nsub\r\n\r\nnone.png\r\n", False, ["b.jpg", "sub/c.webp", "none.png"]),
        (b"odd.png\r\n", False, ["odd.png\r"]),
        (b"b.jpg\r\0", True, ["b.jpg\r"]),
    ],
)
def test_lists_hold_names_of_files_and_folders_and_nothing_special(
    tree: Path, content: bytes, null: bool, expected: list[str]
) -> None:
    fill(tree, {"odd.png\r": "", "odd.png": "", "names": content})
    assert names_of(read_inputs(["@names", "x"], null=null)) == [*expected, "x"]


def test_a_list_may_come_from_a_pipe_that_opens_late(tree: Path) -> None:
    os.mkfifo("pipe")
    writer = threading.Thread(target=lambda: Path("pipe").write_text("b.jpg\n"))
    writer.start()
    assert names_of(read_inputs(["@pipe"])) == ["b.jpg"]
    writer.join()
