"""The log of a training run, and the summary, with every solver, early ends and resumed runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import CLASSES, Run, make_images, write_hdf5

import catclf
from catclf.cli.train import step_log


def steps_of(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def line(step: int, seconds: float = 1.0) -> str:
    return json.dumps({"step": step, "cost": 0.5, "seconds": seconds}) + "\n"


def log(path: Path, every: int, steps: range) -> None:
    """Log steps as a run does."""
    with step_log(path, every) as record:
        for step in steps:
            record(step, 1.0 / (step + 1))


@pytest.mark.parametrize(
    ("every", "last", "expected"),
    [(10, 25, [0, 10, 20, 25]), (10, 20, [0, 10, 20]), (1, 3, [0, 1, 2, 3]), (7, 5, [0, 5])],
)
def test_every_so_many_steps_and_the_last_are_logged(
    tmp_path: Path, every: int, last: int, expected: list[int]
) -> None:
    path = tmp_path / "log"
    path.write_text("an old log\n")
    log(path, every, range(last + 1))
    assert steps_of(path) == expected


@pytest.mark.parametrize("stopped", [20, 25, 37])
@pytest.mark.parametrize("checkpoint", [15, 20])
def test_a_resumed_log_has_the_steps_of_one_that_was_never_stopped(
    tmp_path: Path, stopped: int, checkpoint: int
) -> None:
    parts = tmp_path / "parts"
    log(parts, 10, range(stopped + 1))
    log(parts, 10, range(checkpoint, 56))
    assert steps_of(parts) == [0, 10, 20, 30, 40, 50, 55]
    seconds = [json.loads(text)["seconds"] for text in parts.read_text().splitlines()]
    assert seconds == sorted(seconds)


@pytest.mark.parametrize(
    "rest",
    ["", line(30), line(40), '{"step": 20, "cost', line(20).rstrip(), "x\n", "[]\n", "{}\n"],
)
def test_lines_that_a_resumed_run_writes_anew_are_dropped(tmp_path: Path, rest: str) -> None:
    path = tmp_path / "log"
    path.write_text(line(0) + line(10, 7.5) + rest)
    log(path, 10, range(25, 31))
    assert steps_of(path) == [0, 10, 30]
    assert json.loads(path.read_text().splitlines()[-1])["seconds"] >= 7.5


def test_a_resumed_run_of_the_command_goes_on_in_its_log(
    run: Run, tmp_path: Path, small_hdf5: Path
) -> None:
    args = ["train", "small.h5", "--print-every=20", "--log=log", "--checkpoint-every=50"]
    # A run that ends just after its checkpoint of step 100 leaves the log of the first half.
    stop = (
        "import sys\nfrom catclf.training import checkpoint\n"
        "save = checkpoint.Checkpoints.save\n"
        "def once(self, state):\n    save(self, state)\n"
        "    if state.step == 100:\n        raise KeyboardInterrupt\n"
        "checkpoint.Checkpoints.save = once\n"
        "from catclf.cli import main\nmain()\n"
    )
    program = [sys.executable, "-c", stop, *args, "-q"]
    subprocess.run(program, cwd=tmp_path, capture_output=True, timeout=180)
    first = (tmp_path / "log").read_text().splitlines(True)[:5]
    assert steps_of(tmp_path / "log")[:5] == [0, 20, 40, 60, 80]
    result = run(*args, "--iterations", "150", "--resume")
    assert result.code == 0, result.stderr
    assert steps_of(tmp_path / "log") == [0, 20, 40, 60, 80, 100, 120, 140, 150]
    assert (tmp_path / "log").read_text().startswith("".join(first))
    assert result.stderr.startswith("step 100  cost ")


BATCHES = "--batch-size 8 --lr 0.05 --schedule cosine"
HELD_OUT = "--validation 0.2 --patience 1 --iterations 230"
ENDS = [
    # Options, the most steps, and how the reason for the end begins.
    ("--solver gd --lr 0.05 --class-weight balanced --iterations 230", 230, ""),
    (f"{BATCHES} --iterations 3", 3, ""),
    (f"{BATCHES} {HELD_OUT}", 230, "early: "),
    ("--solver lbfgs --l2 1 --class-weight balanced --iterations 230", 230, "within 1e-6 of the "),
    (f"--solver lbfgs --l2 1 {HELD_OUT}", 230, "early: "),
    ("--solver lbfgs --l2 1 --iterations 3", 3, "at the limit of 3 steps, short of the optimum"),
]


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images whose labels are partly wrong, so that held-out costs rise after some steps."""
    x, y = make_images(60)
    y = np.where(np.arange(60) % 4 == 0, 1 - y, y)
    return write_hdf5(tmp_path_factory.mktemp("noisy") / "noisy.h5", x=x, y=y, list_classes=CLASSES)


@pytest.mark.parametrize(("options", "limit", "why"), ENDS)
def test_what_is_printed_logged_kept_and_summed_up_is_one_run(
    run: Run, tmp_path: Path, noisy: Path, options: str, limit: int, why: str
) -> None:
    asked = [*options.split(), "--print-every", "50", "--log", "log", "--plot", "p.svg"]
    result = run("train", "--data", noisy, *asked)
    assert result.code == 0, result.stderr
    model = catclf.load(tmp_path / "model.npz")
    steps, kept = model.training.steps, list(zip(model.cost_steps, model.costs, strict=True))
    logged = [json.loads(text) for text in (tmp_path / "log").read_text().splitlines()]
    assert [(text["step"], text["cost"]) for text in logged] == kept
    shown = [line for line in result.stderr.splitlines() if not line.startswith("catclf: ")]
    assert shown == [f"step {step}  cost {cost:.6f}" for step, cost in kept]
    assert model.cost_steps[-1] == steps
    summary = rf"\nmodel +model.npz: {steps} steps? in .*, cost {model.costs[-1]:.6f}"
    assert re.search(summary, result.stdout)
    ended = re.search(r"\nended +(.*)\n", result.stdout)
    assert (ended[1] if ended else "").startswith(why)
    assert (steps < limit) == why.startswith(("early", "within"))
    held_out = model.training.validation
    if held_out:
        assert min(held_out["costs"]) == held_out["best_cost"] <= held_out["costs"][-1]
        assert held_out["cost_steps"][-1] == steps
    plot = (tmp_path / "p.svg").read_text()
    if "lbfgs" in options:
        assert model.cost_steps == tuple(range(steps + 1))
        assert "iterations of L-BFGS" in plot
    assert ("steps of gradient descent" in plot) == ("lbfgs" not in options)
