"""``catclf evaluate`` as a shell sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import wording
from conftest import Run
from PIL import Image


@pytest.fixture
def trained(run: Run, small_hdf5: Path) -> Path:
    """model.npz of the small data set, in the folder where commands run."""
    assert run("train", "--data", "small.h5", "--iterations", "50", "-q").code == 0
    return small_hdf5


def test_json_is_one_strict_line_with_everything(run: Run, trained: Path) -> None:
    result = run("evaluate", "small.h5", "--format", "json")
    assert (result.code, result.stderr, result.stdout.count("\n")) == (0, "", 1)
    facts = json.loads(result.stdout)
    assert facts["images"] == 10  # the test part
    assert sum(facts["confusion"].values()) == 10
    assert len(facts["mistakes"]) == min(5, facts["confusion"]["fp"] + facts["confusion"]["fn"])
    assert (
        json.loads(run("evaluate", "small.h5", "--split", "train", "--format", "json").stdout)[
            "images"
        ]
        == 20
    )


def test_text_is_the_same_each_time_and_without_codes_in_a_pipe(run: Run, trained: Path) -> None:
    first, second = run("evaluate", "small.h5"), run("evaluate", "small.h5")
    assert first == second
    assert first.stdout.startswith("small.h5: 10 images, 5 cat (50.0 %), 5 non-cat\n")
    assert "\x1b" not in first.stdout


def test_mistakes_name_files(run: Run, trained: Path, tmp_path: Path) -> None:
    for name, grey in (("cat", 0), ("non-cat", 255)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), (grey, grey, grey)).save(tmp_path / "photos" / name / "x.png")
    facts = json.loads(run("evaluate", "photos", "--format", "json").stdout)
    assert [m["name"] for m in facts["mistakes"]] == ["non-cat/x.png", "cat/x.png"]
    assert "non-cat/x.png" in run("evaluate", "photos").stdout
    assert wording.MISTAKES not in run("evaluate", "photos", "--mistakes", "0").stdout


def test_without_data_the_bundled_test_set_is_evaluated(run: Run) -> None:
    assert run("train", "--iterations", "5", "-q").code == 0
    result = run("evaluate")
    assert result.code == 0
    assert result.stdout.startswith("test.h5: ")


def test_two_models_are_shown_one_after_the_other_with_their_difference(
    run: Run, trained: Path
) -> None:
    assert run("train", "--data", "small.h5", "--iterations", "5", "-q", "-o", "b.npz").code == 0
    both = ("evaluate", "small.h5", "-m", "model.npz", "-m", "b.npz")
    lines = run(*both).stdout.splitlines()
    assert (lines[0], lines.count("b.npz")) == ("model.npz", 1)
    assert "b.npz less model.npz, on the same 10 images" in lines
    facts = json.loads(run(*both, "--format", "json").stdout)
    assert [each["model"] for each in facts["models"]] == ["model.npz", "b.npz"]
    one = json.loads(run("evaluate", "small.h5", "-m", "b.npz", "--format", "json").stdout)
    assert facts["models"][1] == {"model": "b.npz"} | one
    assert facts["difference"]["images"] == 10
    three = run(*both, "-m", "model.npz")
    assert (three.code, three.stdout) == (2, "")


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("none.h5",), f"none.h5: {wording.NO_SOURCE}"),
        (("small.h5", "-m", "none.npz"), f"none.npz: {wording.NO_FILE}"),
        (("small.h5", "--positive", "dog"), "no class is named dog"),
        (("small.h5", "--threshold", "2"), "--threshold"),
        (("small.h5", "--mistakes", "-1"), "--mistakes"),
        ((".",), "no class folders"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    run: Run, trained: Path, args: tuple[str, ...], why: str
) -> None:
    result = run("evaluate", *args)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith("catclf: ")
    assert why in result.stderr
    assert result.stderr.count("\n") == 1


def test_images_of_another_size_are_refused(run: Run, trained: Path, tmp_path: Path) -> None:
    assert run("train", "--iterations", "1", "-q", "-o", "big.npz").code == 0
    result = run("evaluate", "small.h5", "-m", "big.npz")
    assert result.code == 2
    assert "8x8" in result.stderr
