"""Predictions of image files from Python, and the model at a glance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import islice, repeat
from pathlib import Path

import numpy as np
import pytest
from conftest import GREEN, RED, Run, paint

import catclf
from catclf.errors import ModelError, SettingsError
from catclf.metrics import Counts, wilson
from catclf.model import Training


def test_records_are_those_of_the_command(model: Path, run: Run, tmp_path: Path) -> None:
    paths = [paint(tmp_path / f"{i}.png", (i * 20, 255 - i * 20, 0)) for i in range(12)]
    (tmp_path / "bad.png").write_bytes(b"no image")
    paths.insert(5, tmp_path / "bad.png")
    result = run("predict", "-m", model, *paths, "--format", "jsonl")
    printed = [json.loads(line) for line in result.stdout.splitlines()]
    found = list(catclf.predict(paths, model))
    assert [each.path for each in found] == [line["path"] for line in printed]
    for each, line in zip(found, printed, strict=True):
        if each.error is None:
            assert (each.label, each.probability, each.z) == (
                line["label"],
                line["probability"],
                line["z"],
            )
        else:
            assert (each.kind, each.error, each.label) == (line["error"], line["message"], "")
    assert [each.error is None for each in found].count(False) == 1


def test_images_are_scored_as_they_are_asked_for(model: Path, tmp_path: Path) -> None:
    endless = repeat(paint(tmp_path / "green.png", GREEN))
    found = list(islice(catclf.predict(endless, catclf.load(model), workers=1), 20))
    assert [each.label for each in found] == ["cat"] * 20
    drawn = 0

    def counted() -> Iterator[str]:
        nonlocal drawn
        for path in repeat(str(tmp_path / "green.png"), 5000):
            drawn += 1
            yield path

    predictions = catclf.predict(counted(), model, workers=1)
    assert drawn == 0
    next(predictions)
    assert drawn < 5000


def test_one_path_is_enough_and_a_threshold_goes_before_the_models(
    model: Path, tmp_path: Path
) -> None:
    red = paint(tmp_path / "red.png", RED)
    [found] = catclf.predict(red, model)
    assert (found.path, found.label, found.positive) == (str(red), "non-cat", False)
    np.testing.assert_allclose(found.z, -4.0, atol=1e-9)
    np.testing.assert_allclose(found.probability, 1 / (1 + np.exp(4.0)))
    [other] = catclf.predict(str(red), model, threshold=0.01)
    assert (other.label, other.positive) == ("cat", True)
    [bytes_found] = catclf.predict(str(red).encode(), model)
    assert (bytes_found.path, bytes_found.z) == (str(red), found.z)
    with pytest.raises(ModelError, match=r"none\.npz"):
        catclf.predict(red, "none.npz")


def test_settings_that_make_no_sense_are_refused_before_an_image_is_read(model: Path) -> None:
    """No process decodes where there are none, and predictions would never come."""
    for threshold in (1.5, float("nan")):
        with pytest.raises(SettingsError, match="is not between 0 and 1"):
            catclf.predict(repeat("none.png"), model, threshold)
    for workers in (0, -1):
        with pytest.raises(SettingsError, match=f"`workers={workers}` is too small"):
            next(catclf.predict(repeat("none.png"), model, workers=workers))


class Cells(HTMLParser):
    """The rows of a table, and the tags that were seen."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.points = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")
        elif tag == "polyline":
            self.points = dict(attrs)["points"] or ""

    def handle_data(self, data: str) -> None:
        if self.rows:
            self.rows[-1][-1] += data


def test_a_notebook_shows_a_table() -> None:
    counts = Counts(tp=40, fp=5, tn=45, fn=10)
    training = Training("a <b> & c", "", 100, 50, 2000, train=Counts(50, 0, 50, 0), test=counts)
    model = catclf.Model(
        np.zeros((12288, 1)),
        0.0,
        classes=("<script>", "cat"),
        costs=(0.8, 0.2, 0.4),
        cost_steps=(0, 100, 400),
        training=training,
    )
    cells = Cells()
    cells.feed(model._repr_html_())
    rows = dict(cells.rows)
    assert cells.tags <= {"table", "caption", "tr", "th", "td", "br", "svg", "polyline"}
    assert rows["trained on"] == "100 images of a <b> & c, 2,000 steps"
    low, high = wilson(85, 100)
    assert rows["test accuracy"] == f"85.0 % (95 % interval {100 * low:.1f} to {100 * high:.1f} %)"
    assert rows["cost"] == "0.8000 to 0.4000"
    points = [tuple(map(float, pair.split(","))) for pair in cells.points.split()]
    assert points == [(0.0, 0.0), (60.0, 30.0), (240.0, 20.0)]  # right to 240, down from 0.8
    assert len(replace(model, costs=(), cost_steps=())._repr_html_()) < 1000
    long = replace(model, costs=(0.5,) * 100_000, cost_steps=tuple(range(100_000)))
    assert len(long._repr_html_()) < 10_000
