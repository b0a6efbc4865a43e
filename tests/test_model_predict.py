"""Predictions of image files from Python, and the model at a glance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice, repeat
from pathlib import Path
from shutil import make_archive

import numpy as np
import pytest
from conftest import GREEN, RED, ROOT, Run, paint

import catclf
from catclf.errors import ModelError, SettingsError


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
            scored = [line[name] for name in ("label", "probability", "z")]
            assert [each.label, each.probability, each.z] == scored
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


def test_folders_and_archives_are_their_images_and_data_sets_are_refused(
    model: Path, tmp_path: Path
) -> None:
    (tmp_path / "in" / "below").mkdir(parents=True)
    folder, archive = tmp_path / "in", tmp_path / "a.zip"
    names = [paint(folder / "a.png", GREEN), paint(folder / "below" / "b.png", RED)]
    make_archive(str(tmp_path / "a"), "zip", folder)
    assert [each.path for each in catclf.predict(folder, model)] == [str(names[0])]
    found = [each.path for each in catclf.predict([folder], model, recursive=True)]
    assert found == [str(name) for name in names]
    members = {each.path: each.label for each in catclf.predict(str(archive), model)}
    assert members == {f"{archive}:a.png": "cat", f"{archive}:below/b.png": "non-cat"}
    [listed] = catclf.predict("@list", model)
    assert (listed.path, listed.kind) == ("@list", "missing")
    [refused] = catclf.predict(ROOT / "data" / "test.h5", model)
    assert "HDF5" in str(refused.error)


def test_settings_that_make_no_sense_are_refused_before_an_image_is_read(model: Path) -> None:
    """No process decodes where there are none, and predictions would never come."""
    for threshold in (1.5, float("nan")):
        with pytest.raises(SettingsError, match="is not between 0 and 1"):
            catclf.predict(repeat("none.png"), model, threshold)
    for workers in (0, -1):
        with pytest.raises(SettingsError, match=f"`workers={workers}` is too small"):
            next(catclf.predict(repeat("none.png"), model, workers=workers))


@pytest.mark.parametrize("ending", ["png", "tar", "zip", "parquet"])
def test_a_name_that_no_file_can_have_is_a_failed_input(model: Path, ending: str) -> None:
    [found] = catclf.predict([f"a\0b.{ending}"], model)
    assert found.error is not None
