"""``catclf train`` as a shell sees it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import FUSED, Run, make_images, on_terminal, shell

import catclf
from catclf.training.pipeline import features_for

GOLDEN = """
0.693147 0.584508 0.466949 0.376007 0.331463 0.303273 0.279880 0.260042 0.242941 0.228004
0.214820 0.203078 0.192544 0.183033 0.174399 0.166521 0.159305 0.152667 0.146542 0.140872
0.135608
""".split()  # noqa: SIM905


def train_arguments(course: tuple[Path, Path]) -> list[str | Path]:
    return ["train", "--data", course[0], "--test", course[1]]


def test_the_course_data_give_the_golden_costs_and_accuracies(
    run: Run, course: tuple[Path, Path]
) -> None:
    result = run(*train_arguments(course))
    overlap, *steps, after = result.stderr.splitlines()
    assert after.endswith("--features auto")
    assert overlap.startswith("catclf: test_catvnoncat.h5: 1 of its 50 images is also trained on:")
    assert steps == [f"step {100 * i}  cost {cost}" for i, cost in enumerate(GOLDEN)]
    lines = result.stdout.splitlines()
    assert lines[0] == "train accuracy   99.04 %  207 of 209  on the images it learned from"
    assert lines[1] == "test accuracy    70.00 %  35 of 50  (always cat: 66.00 %)"
    assert re.fullmatch(r"model +model.npz: 2000 steps in .*, cost 0.135608", lines[2])


@pytest.mark.parametrize("method", ["stream", FUSED])
def test_other_methods_give_the_golden_costs(
    run: Run, course: tuple[Path, Path], method: str
) -> None:
    result = run("train", "--data", course[0], "--iterations", "400", "--method", method)
    steps = [f"step {100 * i}  cost {cost}" for i, cost in enumerate(GOLDEN[:5])]
    assert result.stderr.splitlines()[:5] == steps


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


def test_a_file_with_both_parts_is_its_own_test_set_and_the_model_remembers_it(
    run: Run, small_hdf5: Path, tmp_path: Path
) -> None:
    args = ("train", "--data", small_hdf5, "--size", "8", "--l2", "0.5", "--iterations", "250")
    assert re.search(r"of 20\b.*of 10\b", run(*args).stdout, re.DOTALL)
    model = catclf.load(tmp_path / "model.npz")
    assert model.cost_steps == (0, 100, 200, 250)
    assert model.costs[0] == pytest.approx(np.log(2), abs=1e-12)
    assert model.preprocess.size == 8
    training = model.training
    assert (training.source, training.images, training.positives) == ("small.h5", 20, 10)
    assert training.settings["l2"] == 0.5
    assert not training.interrupted
    assert run(*args, "--quiet").done() == ""


def test_on_a_terminal_the_cost_is_shown_live(tmp_path: Path, small_hdf5: Path) -> None:
    train = "catclf train --data small.h5 --size 8 --iterations 5000 > printed"
    shown = on_terminal(train, tmp_path, TERM="xterm-256color", NO_COLOR="")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    for part in ("step 5000 of 5000", "steps/s", "█"):
        assert part in text
    assert "step 100  cost" not in text
    printed = (tmp_path / "printed").read_text()
    assert ("train accuracy" in printed, "\x1b" in printed) == (True, False)


@pytest.mark.parametrize(
    ("reader", "codes"), [("| true", ("0\n", "141\n")), (">/dev/full", ("2\n",))]
)
def test_the_model_is_saved_where_results_cannot_be_written(
    tmp_path: Path, small_hdf5: Path, reader: str, codes: tuple[str, ...]
) -> None:
    train = "catclf train --data small.h5 --iterations 10"
    result = shell(f"{train} {reader}; echo ${{PIPESTATUS[0]}}", tmp_path)
    assert result.stdout in codes
    said = result.stderr.splitlines()[-1]
    assert ("standard output" in said) == (codes == ("2\n",))
    assert "Error" not in said
    assert catclf.load(tmp_path / "model.npz").training.steps == 10


def test_the_end_says_what_to_do_next(run: Run, tmp_path: Path) -> None:
    images, labels = make_images(300, size=8)
    train = ("train", "--data", "d.npz", "--size", "8", "--iterations", "300", "--lr", "0.05")
    np.savez(tmp_path / "d.npz", x=images, y=labels)

    def advice(*more: str) -> str:
        return run(*train, *more).stderr.splitlines()[-1].removeprefix("catclf: ")

    alone = run(*train)
    unseen = "held out        none: only training images were seen (try --validation 0.2)\n"
    assert f"{unseen}out of fold" in alone.stdout
    assert alone.stderr.splitlines()[-1] == "catclf: next: catclf predict FOLDER"
    assert advice("--batch-size", "50").endswith("catclf train --data d.npz --validation 0.2")
    named = ("--validation", "0.3", "-o", "my model.npz")
    assert advice(*named) == "next: catclf predict FOLDER -m 'my model.npz'"
    np.savez(tmp_path / "d.npz", x=images, y=np.random.default_rng(3).permutation(labels))
    photograph = "pixels see little of a photograph: catclf train --data d.npz --features auto"
    assert advice("--validation", "0.3") == photograph
    assert advice("--flip", "--validation", "0.3") == photograph
    assert "FOLDER" not in run(*train, "--quiet").stderr


def test_features_are_chosen_by_the_size_of_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    assert features_for(64)[0] == "patches"
    monkeypatch.setattr("catclf.features.efficientnet._MODULE", "catclf_not_there")
    kind, why = features_for(65)
    assert (kind, "-m pip install efficientnet-lite2" in why) == ("patches", True)
