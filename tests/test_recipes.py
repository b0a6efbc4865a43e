"""The recipes in catclf/docs/pipelines.md: each is run as it stands there."""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import GREEN, RED, Colour, fill, paint, wait_until

from scripts.lib import readme

RECIPES = re.findall(r"```sh\n(.*?)```", (readme.DOCS / "pipelines.md").read_text(), re.DOTALL)


def recipe(word: str) -> str:
    """The one recipe that uses this command."""
    matching = [str(text) for text in RECIPES if word in text]
    assert len(matching) == 1, word
    for name in ("jq", "parallel"):
        if re.search(rf"\b{name} -", matching[0]) and not shutil.which(name):
            pytest.skip(f"needs {name}")
    return matching[0]


def environment() -> dict[str, str]:
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def sh(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", script],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=180,
    )


@pytest.fixture
def photos(model: Path, tmp_path: Path) -> Path:
    """Three cats, three others, and a broken image, on two floors and with odd names."""
    files: dict[str, str | Colour] = {"more/broken.jpg": "no image"}
    files |= dict.fromkeys(("a.jpg", "more/b c.jpg", "more/new\nline.jpg"), GREEN)
    files |= dict.fromkeys(("x.jpg", "y 'z'.jpg", "more/z.jpg"), RED)
    return fill(tmp_path / "photos", files)


def test_there_are_six_recipes_and_the_readme_shows_one() -> None:
    assert len(RECIPES) == 6
    shown = re.findall(r"```sh\n(.*?)```", readme.README.read_text(), re.DOTALL)
    assert recipe("xargs -0 -r") in shown


def test_cats_are_moved_and_the_rest_stays(photos: Path, tmp_path: Path) -> None:
    done = sh(recipe("xargs -0 -r"), tmp_path)
    assert done.stderr == "catclf: photos/more/broken.jpg: is not an image in a format read here\n"
    assert sorted(path.name for path in (tmp_path / "cats").iterdir()) == [
        "a.jpg",
        "b c.jpg",
        "new\nline.jpg",
    ]
    assert sum(path.is_file() for path in photos.rglob("*")) == 4


def test_shards_together_are_one_run(photos: Path, tmp_path: Path) -> None:
    script = recipe("parallel").replace("-N 500", "-N 2")  # several shards of seven images
    sh(script, tmp_path)
    listed = sh("find photos -type f -print0 | catclf predict -0 -", tmp_path)
    assert (tmp_path / "scores.tsv").read_text() == listed.stdout
    assert listed.stdout.count("\n") == 7


def test_jq_finds_the_surest_and_the_failed(photos: Path, tmp_path: Path) -> None:
    done = sh(recipe("jq "), tmp_path)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.split("\t")[1] for line in lines[:-1]] == [
        "photos/a.jpg",
        "photos/more/b c.jpg",
        "photos/more/new\\nline.jpg",
    ]
    assert all(float(line.split("\t")[0]) > 0.9 for line in lines[:-1])
    assert lines[-1] == "not-a-picture: photos/more/broken.jpg"


def test_the_nightly_run_reports_what_failed_and_keeps_what_was(
    photos: Path, tmp_path: Path
) -> None:
    script = recipe("case $? in")
    partial = sh(script, tmp_path)
    assert partial.returncode == 0
    assert "broken.jpg: is not an image" in partial.stdout
    scores = (tmp_path / "scores.csv").read_text()
    with (tmp_path / "scores.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 7
    (tmp_path / "model.npz").rename(tmp_path / "gone.npz")
    failed = sh(script, tmp_path)
    assert failed.returncode == 1
    assert "not renewed" in failed.stdout
    assert "model.npz" in failed.stdout
    assert (tmp_path / "scores.csv").read_text() == scores
    (tmp_path / "gone.npz").rename(tmp_path / "model.npz")
    (photos / "more" / "broken.jpg").unlink()
    well = sh(script, tmp_path)
    assert (well.returncode, well.stdout, well.stderr) == (0, "", "")


def test_a_watched_folder_gives_up_its_cats_as_they_arrive(model: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        ["/bin/sh", "-c", recipe("while sleep")],
        cwd=tmp_path,
        env=environment(),
        start_new_session=True,
        stderr=subprocess.PIPE,
    )
    try:
        for name, colour in (("first.png", GREEN), ("other.png", RED), ("a b.png", GREEN)):
            wait_until((tmp_path / "inbox").exists)
            paint(tmp_path / name, colour).rename(tmp_path / "inbox" / name)
            moved = tmp_path / "cats" / name
            if colour == GREEN:
                wait_until(moved.exists)
            assert moved.exists() == (colour == GREEN)
        assert [path.name for path in (tmp_path / "inbox").iterdir()] == ["other.png"]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        assert process.stderr is not None
        assert process.stderr.read() == b""
        process.stderr.close()
        process.wait()


def test_jobs_of_an_array_score_each_shard_once(photos: Path, tmp_path: Path) -> None:
    script = recipe("SLURM").replace("{000..119}", "{0..3}").replace("/10", "/3")
    (tmp_path / "shards").mkdir()
    for number in range(4):
        shutil.make_archive(str(tmp_path / "shards" / str(number)), "tar", photos, "more")
    for task in range(1, 4):
        done = sh(f"SLURM_ARRAY_TASK_ID={task}\n{script}", tmp_path)
        assert done.returncode == 3  # each holds the broken image
    for number in range(4):
        lines = (tmp_path / "scores" / f"{number}.tar.tsv").read_text().splitlines()
        assert len(lines) == 4
        assert all(line.startswith(f"shards/{number}.tar:more/") for line in lines)
