"""Suspect labels: the rule, the command, the line of training, the model and the report."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import Run, fill, make_images

import catclf
from catclf.evaluation.evaluate import remembered, suspects

WRONG = [3, 10, 17, 41, 52]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """60 images in folders, five of them in the wrong one."""
    images, labels = make_images(60, size=16)
    folders = ["cat" if label != (i in WRONG) else "dog" for i, label in enumerate(labels)]
    names = (f"{folder}/{number}.png" for number, folder in enumerate(folders))
    return fill(tmp_path / "photos", dict(zip(names, images, strict=True)))


def numbers(names: list[str]) -> set[int]:
    return {int(Path(name).stem) for name in names}


def test_a_label_is_suspect_where_the_other_class_is_as_likely_as_for_its_own_images() -> None:
    a = np.array([0.9] * 9 + [0.02, 0.45, 0.55] + [0.1] * 9 + [0.97, 0.6, 0.4])
    Y = np.repeat([1.0, 0.0], 12)
    t1, t0 = a[Y == 1].mean(), (1 - a[Y == 0]).mean()
    assert 0.6 < t1 < 0.97
    assert 0.55 < t0 < 0.98
    Z = np.log(a / (1 - a))[None]
    found = suspects(Z, Y[None], ("dog", "cat"), [f"{i}.png" for i in range(24)])
    assert [(s.index, s.label, s.other, s.sure) for s in found] == [
        (9, "cat", "dog", True),
        (21, "dog", "cat", True),
        (22, "dog", "cat", False),
        (10, "cat", "dog", False),
    ]
    assert [s.probability for s in found] == pytest.approx([0.98, 0.97, 0.6, 0.55])
    moved = suspects(Z, Y[None], ("dog", "cat"), rows=np.arange(24) + 100)
    assert (moved[0].index, moved[0].display_name) == (109, "image 109")
    assert suspects(Z[:, 3:], Y[None, 3:], ("dog", "cat")) == []  # nine of a class say little


def test_the_command_lists_the_images_in_the_wrong_folder(run: Run, photos: Path) -> None:
    command = ("data", "suspects", "photos", "--features", "hog")
    text = run(*command)
    assert text.code == 0
    assert re.match("photos: [45] suspect labels among 60 images\n", text.stdout)
    lines = [json.loads(line) for line in run(*command, "--format", "jsonl").stdout.splitlines()]
    assert numbers([line["name"] for line in lines if line["sure"]]) <= set(WRONG)
    assert numbers([line["name"] for line in lines]) >= set(WRONG)
    chances = [line["probability"] for line in lines if line["sure"]]
    assert chances == sorted(chances, reverse=True)
    assert all(line["label"] == Path(line["name"]).parts[0] for line in lines)
    table = list(csv.DictReader(io.StringIO(run(*command, "--format", "csv").stdout)))
    assert [row["name"] for row in table] == [line["name"] for line in lines]
    assert run(*command, "-q", "-o", "page.html").code == 0
    page = (photos.parent / "page.html").read_text(encoding="utf-8")
    assert "<script" not in page
    for number in WRONG:
        assert f"{number}.png</b>" in page


def test_training_says_how_many_and_model_and_report_name_them(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    done = run("train", "--data", "photos", "--features", "hog")
    facts = catclf.load(tmp_path / "model.npz").training.suspects
    line = f"{facts['count']} suspects: catclf data suspects photos --features hog"
    assert f"labels          {line}\n" in done.stdout
    assert (facts["count"], facts["looked_at"]) == (len(remembered(facts)), 60)
    assert 4 <= facts["count"] <= 5
    assert numbers([s.name or "" for s in remembered(facts)]) <= set(WRONG)
    assert run("report", "-o", "report.html").code == 0
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"{facts['count']} labels of training images are probably wrong" in report
    clean = run("train", "--data", "photos", "--iterations", "5")
    assert "suspect" not in clean.stdout


def test_rows_of_a_part_that_is_held_out_are_not_judged(run: Run, photos: Path) -> None:
    assert run("train", "--data", "photos", "--features", "hog", "--validation", "0.3").code == 0
    facts = catclf.load(photos.parent / "model.npz").training.suspects
    assert facts["looked_at"] == 42
    assert numbers([s.name or "" for s in remembered(facts)]) <= set(WRONG)


@pytest.mark.parametrize(
    "facts", [{}, {"first": 3}, {"first": [3, [1, 2], {}, [1, None, "a", "b", "c"]]}]
)
def test_what_a_hostile_file_says_of_suspects_is_left_out(facts: dict[str, object]) -> None:
    assert remembered(facts) == []


def test_too_few_images_are_said_to_be_too_few(run: Run, tmp_path: Path) -> None:
    images, labels = make_images(3, size=16)
    np.savez(tmp_path / "few.npz", images=images, labels=labels)
    done = run("data", "suspects", "few.npz", "--features", "hog")
    assert done.code == 0
    assert done.stdout.startswith("few.npz: ")
