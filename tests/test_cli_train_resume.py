"""``catclf train`` with checkpoints, held-out images and other solvers, as a shell sees it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import CLASSES, Run, command, make_images, wait_until, write_hdf5

import catclf

PATHS = {
    "gram": ["--method", "gram"],
    "stream": ["--method", "stream"],
    "batches": ["--batch-size", "8", "--method", "stream"],  # "auto" compiles for two seconds
    "validation": ["--validation", "0.2", "--patience", "1000000000"],
}
FROM_DISK = (
    "import sys, catclf.datasets.hdf5 as hdf5\n"
    "hdf5.IN_MEMORY = 0\n"  # so that a small file is treated as one that memory cannot hold
    "from catclf.cli import main\n"
    "sys.argv[0] = 'catclf'\n"
    "main()\n"
)


def start(folder: Path, *args: str | Path, from_disk: bool = False) -> subprocess.Popen[str]:
    """Start training on small.h5; it goes on for ever unless ``args`` say otherwise."""
    program = [sys.executable, "-c", FROM_DISK] if from_disk else [command()]
    rest = ["train", "--data", "small.h5", "--iterations", "1000000000"]
    return subprocess.Popen(
        [*program, *rest, *map(str, args)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path, newer_than: int = 0) -> None:
    """Wait until a file is there and was written after a time."""
    wait_until(lambda: path.exists() and path.stat().st_mtime_ns > newer_than)


def one_line(stderr: str) -> str:
    """The only line on stderr that is not progress."""
    lines = [line for line in stderr.splitlines() if not line.startswith("step ")]
    assert len(lines) == 1, stderr
    assert lines[0].startswith("catclf: ")
    return lines[0]


@pytest.mark.parametrize(
    ("path", "number", "code"),
    [
        ("gram", signal.SIGTERM, 143),
        ("batches", signal.SIGINT, 130),
        ("validation", signal.SIGINT, 130),
    ],
)
def test_a_stopped_run_is_saved_and_can_go_on(
    tmp_path: Path, small_hdf5: Path, path: str, number: signal.Signals, code: int
) -> None:
    process = start(tmp_path, *PATHS[path], "--checkpoint-every", "100")
    wait_for(tmp_path / "model.npz.checkpoint")
    process.send_signal(number)
    _, stderr = process.communicate(timeout=180)
    assert process.returncode == code
    assert "interrupted after" in one_line(stderr)
    stopped = catclf.load(tmp_path / "model.npz").training
    assert stopped.interrupted
    process = start(tmp_path, *PATHS[path], "--resume")
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(number)
    process.communicate(timeout=180)
    assert catclf.load(tmp_path / "model.npz").training.steps >= stopped.steps


@pytest.mark.parametrize(("path", "fault"), [("stream", "emptied"), ("batches", "truncated")])
def test_a_file_cut_short_while_it_is_read_is_one_line(
    tmp_path: Path, path: str, fault: str
) -> None:
    x, y = make_images(900)
    file = write_hdf5(tmp_path / "small.h5", x=x, y=y, list_classes=CLASSES)
    args = [*PATHS[path], "--checkpoint-every", "1", "--print-every", "100"]
    process = start(tmp_path, *args, from_disk=True)
    wait_for(tmp_path / "model.npz.checkpoint")
    os.truncate(file, 0 if fault == "emptied" else file.stat().st_size // 2)
    _, stderr = process.communicate(timeout=180)
    assert process.returncode == 2
    assert "cut short" in one_line(stderr)
    assert not (tmp_path / "model.npz").exists()
    write_hdf5(tmp_path / "small.h5", x=x, y=y, list_classes=CLASSES)
    again = start(tmp_path, *PATHS[path], "--resume", "--print-every", "100", from_disk=True)
    assert again.stderr is not None
    again.stderr.readline()
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=180)
    assert catclf.load(tmp_path / "model.npz").training.steps > 0


def test_a_file_that_is_deleted_while_it_is_read_is_read_on(tmp_path: Path) -> None:
    x, y = make_images(900)
    file = write_hdf5(tmp_path / "small.h5", x=x, y=y, list_classes=CLASSES)
    process = start(tmp_path, "--method", "stream", from_disk=True)
    assert process.stderr is not None
    process.stderr.readline()
    file.unlink()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=180)
    assert process.returncode == 130
    assert "interrupted after" in one_line(stderr)


def test_a_checkpoint_that_does_not_fit_ends_training_and_the_earlier_one_stays(
    tmp_path: Path, small_hdf5: Path
) -> None:
    # Each kept cost makes the file 16 bytes longer, until it is longer than files may be.
    done = subprocess.run(
        f"ulimit -f 8; '{command()}' train --data small.h5 --iterations 100000 --print-every 1 "
        "--checkpoint-every 20 --quiet",
        shell=True,
        executable="/bin/bash",
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 2
    assert "model.npz.checkpoint: cannot be written: file too large" in one_line(done.stderr)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.npz.checkpoint", "small.h5"]
    process = start(tmp_path, "--print-every", "1", "--resume")
    assert process.stderr is not None
    step = int(process.stderr.readline().split()[1])
    process.kill()
    process.communicate(timeout=180)
    assert step > 0
    assert step % 20 == 0


def test_validation_says_what_was_kept(run: Run, tmp_path: Path) -> None:
    x, y = make_images(60)
    y = np.random.default_rng(8).permutation(y)
    write_hdf5(tmp_path / "data.h5", x=x, y=y, list_classes=CLASSES)
    result = run("train", "--data", "data.h5", "--validation", "0.3", "--lr", "0.05")
    assert result.code == 0
    training = catclf.load(tmp_path / "model.npz").training
    best = training.validation["best_step"]
    assert 0 < best == training.steps - 10 * 100
    assert re.search(rf"\nvalidation .* of 18 .*\nmodel .*, best at step {best}\n", result.stdout)
    assert training.images == 42
    assert "nobody" not in result.stdout


def test_a_file_may_validate(run: Run, tmp_path: Path, small_hdf5: Path) -> None:
    x, y = make_images(30, seed=3)
    write_hdf5(tmp_path / "other.h5", x=x, y=y, list_classes=CLASSES)
    result = run("train", "--data", small_hdf5, "--validation", "other.h5")
    assert result.code == 0
    assert "of 30" in result.stdout
    assert catclf.load(tmp_path / "model.npz").training.validation["source"] == "other.h5"


def test_resume_of_another_run_names_what_differs(
    run: Run, tmp_path: Path, small_hdf5: Path
) -> None:
    process = start(tmp_path, "--checkpoint-every", "10")
    wait_for(tmp_path / "model.npz.checkpoint")
    process.kill()
    process.communicate(timeout=180)
    result = run("train", "--data", "small.h5", "--resume", "--lr", "0.1")
    assert result.code == 2
    assert "learning-rate 0.005, not 0.1" in one_line(result.stderr)


def test_a_new_run_says_that_it_replaces_a_checkpoint(
    run: Run, tmp_path: Path, small_hdf5: Path
) -> None:
    (tmp_path / "model.npz.checkpoint").touch()
    result = run("train", "--data", "small.h5", "--checkpoint-every", "500", "--quiet")
    assert result.code == 0
    assert "will be replaced" in one_line(result.stderr)
    assert not (tmp_path / "model.npz.checkpoint").exists()
    result = run("train", "--data", "small.h5", "--resume", "--quiet")
    assert result.code == 0
    assert "begins anew" in one_line(result.stderr)


def test_lbfgs_on_the_courses_data(run: Run, course: tuple[Path, Path]) -> None:
    args = ("--data", course[0], "--test", course[1], "--solver", "lbfgs", "--l2", "10")
    result = run("train", *args)
    # The optimum as scikit-learn's LogisticRegression(C=0.1, tol=1e-10, max_iter=20000) finds it.
    assert re.search(r"cost 0\.216957\n", result.stdout)
