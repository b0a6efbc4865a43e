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
from conftest import CLASSES, Run, command, make_images, shell, wait_until, write_hdf5

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


class Process(subprocess.Popen[str]):
    """Training on small.h5, which goes on for ever unless ``args`` say otherwise."""

    def __init__(self, folder: Path, *args: str, from_disk: bool = False) -> None:
        program = [sys.executable, "-c", FROM_DISK] if from_disk else [command()]
        rest = ["train", "--data", "small.h5", "--iterations", "1000000000", *args]
        pipe = subprocess.PIPE
        super().__init__([*program, *rest], cwd=folder, stdout=pipe, stderr=pipe, text=True)

    def first_line(self) -> str:
        """The first line on stderr: training has begun."""
        assert self.stderr is not None
        return self.stderr.readline()

    def ends(self, number: int | None = None) -> str:
        """The only line on stderr that is not progress, after a signal."""
        if number is not None:
            self.send_signal(number)
        return one_line(self.communicate(timeout=180)[1])


def one_line(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if not line.startswith("step ")]
    assert len(lines) == 1, stderr
    assert lines[0].startswith("catclf: ")
    return lines[0]


def small(folder: Path) -> Path:
    x, y = make_images(900)
    return write_hdf5(folder / "small.h5", x=x, y=y, list_classes=CLASSES)


@pytest.mark.parametrize(
    ("path", "number", "code"),
    [
        ("gram", signal.SIGTERM, 143),
        ("batches", signal.SIGINT, 130),
        ("validation", signal.SIGHUP, 129),
    ],
)
def test_a_stopped_run_is_saved_and_can_go_on(
    tmp_path: Path, small_hdf5: Path, path: str, number: signal.Signals, code: int
) -> None:
    process = Process(tmp_path, *PATHS[path], "--checkpoint-every", "100")
    wait_until((tmp_path / "model.npz.checkpoint").exists)
    assert "interrupted after" in process.ends(number)
    assert process.returncode == code
    stopped = catclf.load(tmp_path / "model.npz").training
    assert stopped.interrupted
    assert stopped.steps == catclf.load(tmp_path / "model.npz").cost_steps[-1]
    process = Process(tmp_path, *PATHS[path], "--resume")
    process.first_line()
    process.ends(number)
    assert catclf.load(tmp_path / "model.npz").training.steps >= stopped.steps


@pytest.mark.parametrize(("path", "fault"), [("stream", "emptied"), ("batches", "truncated")])
def test_a_file_cut_short_while_it_is_read_is_one_line(
    tmp_path: Path, path: str, fault: str
) -> None:
    file = small(tmp_path)
    args = [*PATHS[path], "--checkpoint-every", "1", "--print-every", "100"]
    process = Process(tmp_path, *args, from_disk=True)
    wait_until((tmp_path / "model.npz.checkpoint").exists)
    os.truncate(file, 0 if fault == "emptied" else file.stat().st_size // 2)
    assert "cut short" in process.ends()
    assert process.returncode == 2
    assert not (tmp_path / "model.npz").exists()
    small(tmp_path)
    again = Process(tmp_path, *PATHS[path], "--resume", "--print-every", "100", from_disk=True)
    again.first_line()
    again.ends(signal.SIGINT)
    assert catclf.load(tmp_path / "model.npz").training.steps > 0


def test_a_file_that_is_deleted_while_it_is_read_is_read_on(tmp_path: Path) -> None:
    file = small(tmp_path)
    process = Process(tmp_path, "--method", "stream", from_disk=True)
    process.first_line()
    file.unlink()
    time.sleep(0.2)
    assert "interrupted after" in process.ends(signal.SIGINT)
    assert process.returncode == 130


def test_a_checkpoint_that_does_not_fit_ends_training_and_the_earlier_one_stays(
    tmp_path: Path, small_hdf5: Path
) -> None:
    # Each kept cost makes the file 16 bytes longer, until it is longer than files may be.
    train = "catclf train --data small.h5 --iterations 100000 --print-every 1 --quiet"
    result = shell(f"ulimit -f 8; {train} --checkpoint-every 20", tmp_path)
    result.refused("model.npz.checkpoint: cannot be written: file too large")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.npz.checkpoint", "small.h5"]
    process = Process(tmp_path, "--print-every", "1", "--resume")
    step = int(process.first_line().split()[1])
    process.kill()
    process.communicate(timeout=180)
    assert step > 0
    assert step % 20 == 0


def test_validation_says_what_was_kept(run: Run, tmp_path: Path, small_hdf5: Path) -> None:
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
    result = run("train", "--data", "small.h5", "--validation", "data.h5")
    assert (result.code, "of 60" in result.stdout) == (0, True)
    assert catclf.load(tmp_path / "model.npz").training.validation["source"] == "data.h5"


def test_checkpoints_of_other_runs_and_none_are_told(
    run: Run, tmp_path: Path, small_hdf5: Path
) -> None:
    train, checkpoint = ("train", "--data", "small.h5", "-q"), tmp_path / "model.npz.checkpoint"
    process = Process(tmp_path, "--checkpoint-every", "10")
    wait_until(checkpoint.exists)
    process.kill()
    process.communicate(timeout=180)
    run(*train, "--resume", "--lr", "0.1").refused("learning-rate 0.005, not 0.1")
    assert "will be replaced" in one_line(run(*train, "--checkpoint-every", "500").stderr)
    assert not checkpoint.exists()
    assert "begins anew" in one_line(run(*train, "--resume").stderr)


def test_lbfgs_on_the_courses_data(run: Run, course: tuple[Path, Path]) -> None:
    args = ("--data", course[0], "--test", course[1], "--solver", "lbfgs", "--l2", "10")
    # The optimum as scikit-learn's LogisticRegression(C=0.1, tol=1e-10, max_iter=20000) finds it.
    assert re.search(r"cost 0\.216957\n", run("train", *args).stdout)
