"""``catclf evaluate`` as a shell sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import wording
from conftest import Run, fill


@pytest.fixture
def trained(run: Run, small_hdf5: Path) -> Path:
    """model.npz of the small data set, in the folder where commands run."""
    assert run("train", "--data", "small.h5", "--iterations", "50", "-q").code == 0
    return small_hdf5


def test_json_is_one_strict_line_with_everything(run: Run, trained: Path) -> None:
    text = run("evaluate", "small.h5", "--format", "json").done()
    assert text.count("\n") == 1
    facts = json.loads(text)
    assert facts["images"] == 10  # the test part
    assert sum(facts["confusion"].values()) == 10
    assert len(facts["mistakes"]) == min(5, facts["confusion"]["fp"] + facts["confusion"]["fn"])


def test_mistakes_name_files(run: Run, trained: Path, tmp_path: Path) -> None:
    fill(tmp_path / "photos", {"cat/x.png": (0, 0, 0), "non-cat/x.png": (255, 255, 255)})
    facts = json.loads(run("evaluate", "photos", "--format", "json").stdout)
    assert [m["name"] for m in facts["mistakes"]] == ["non-cat/x.png", "cat/x.png"]
    assert "non-cat/x.png" in run("evaluate", "photos").stdout
    assert wording.MISTAKES not in run("evaluate", "photos", "--mistakes", "0").stdout


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
