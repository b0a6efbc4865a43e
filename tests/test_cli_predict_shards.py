"""``catclf predict --output-dir``: one output for each shard, whatever stops a run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import pytest
from conftest import Run, command
from hypothesis import given
from hypothesis import strategies as st

from catclf.cli.records import job_of, pending
from catclf.errors import SettingsError

SHARDS, EACH = 40, 12
KILLS = int(os.environ.get("CATCLF_KILLS", "4"))


@pytest.fixture
def shards(run: Run, tmp_path: Path) -> list[str]:
    """Forty archives of twelve images, and a model to score them with."""
    assert run("train", "--iterations", "20", "-q").code == 0
    example = Path(__file__).parents[1] / "data" / "examples" / "fox.png"
    names = [f"s-{number:03d}.tar" for number in range(SHARDS)]
    for name in names:
        with tarfile.open(tmp_path / name, "w") as archive:
            for image in range(EACH):
                archive.add(example, f"{image}.png")
    return names


@given(st.integers(1, 30), st.integers(0, 60))
def test_the_parts_are_all_once(tmp_path_factory: pytest.TempPathFactory, n: int, m: int) -> None:
    folder = tmp_path_factory.getbasetemp() / "empty"
    names = [f"{number}.tar" for number in range(m)]
    taken = [
        name for k in range(1, n + 1) for (name,), _ in pending(names, folder, ".tsv", f"{k}/{n}")
    ]
    assert sorted(taken) == sorted(names)


@pytest.mark.parametrize("part", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2", "1/2/3", ""])
def test_parts_that_are_none_are_refused(part: str) -> None:
    with pytest.raises(SettingsError, match="give K/N with 1 <= K <= N"):
        job_of(part)


def test_each_shard_has_its_output_and_keeps_it(
    run: Run, tmp_path: Path, shards: list[str]
) -> None:
    assert run("predict", "s-{000..039}.tar", "--output-dir", "out", "--part", "1/2").code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"{name}.tsv" for name in shards[::2]
    ]
    (tmp_path / "out" / "s-000.tar.tsv").write_text("kept\n")
    result = run("predict", "s-*.tar", "--output-dir", "out")
    kept = (
        "catclf: out: 20 outputs of 40 are there and stay: remove those that are to be made again\n"
    )
    assert (result.code, result.stdout, result.stderr) == (0, "", kept)
    assert len(list((tmp_path / "out").iterdir())) == SHARDS
    assert (tmp_path / "out" / "s-000.tar.tsv").read_text() == "kept\n"
    direct = run("predict", shards[7]).stdout
    assert (tmp_path / "out" / f"{shards[7]}.tsv").read_text() == direct
    assert direct.count("\n") == EACH


def test_a_shard_that_is_not_whole_is_scored_again(
    run: Run, tmp_path: Path, shards: list[str]
) -> None:
    whole = (tmp_path / shards[1]).read_bytes()
    (tmp_path / shards[1]).write_bytes(whole[: len(whole) // 2])
    out, mark = tmp_path / "out", f"{shards[1]}.tsv.failed"
    for _ in range(2):  # as long as it is so
        result = run("predict", *shards[:3], "none.tar", "--output-dir", "out")
        assert result.code == 3
        assert f"catclf: {shards[1]}: is damaged" in result.stderr
        assert "catclf: 2 arguments could not be read, or not to the end" in result.stderr
        assert (out / mark).read_text().startswith(f"{shards[1]}: is damaged")
        assert (out / "none.tar.tsv.failed").exists()
        assert len(list(out.iterdir())) == 6
    (tmp_path / shards[1]).write_bytes(whole)
    again = run("predict", *shards[:3], "--output-dir", "out")
    assert again.code == 0
    assert not (out / mark).exists()
    assert (out / f"{shards[1]}.tsv").read_text() == run("predict", shards[1]).stdout
    assert run("predict", *shards[:3], "--output-dir", "out").stderr.startswith("catclf: out: 3 ")


def test_a_pattern_without_files_makes_no_output(run: Run, tmp_path: Path) -> None:
    for pattern in ("none*.tar", "{a..b}*.tar"):
        result = run("predict", pattern, "--output-dir", "out")
        assert result.code == 2
        assert result.stderr == f"catclf: {pattern}: there is no file of such a name\n"
    assert not (tmp_path / "out").exists()


def test_a_bad_shard_is_a_record_and_the_others_are_scored(
    run: Run, tmp_path: Path, shards: list[str]
) -> None:
    (tmp_path / shards[1]).write_bytes(b"no tar")
    result = run("predict", *shards[:3], "--output-dir", "out", "--format", "csv")
    assert result.code == 3
    assert result.stderr.startswith("catclf: s-001.tar: is damaged, or not a tar archive")
    lines = [(tmp_path / "out" / f"{name}.csv").read_text().count("\n") for name in shards[:3]]
    assert lines == [EACH + 1, 2, EACH + 1]  # with their heads


def test_lists_without_names_have_outputs_without_records(
    run: Run, tmp_path: Path, shards: list[str]
) -> None:
    (tmp_path / "full").write_text(f"{shards[0]}\n")
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("")
    assert run("predict", "@a", "@full", "@b", "@c", "--output-dir", "out").code == 0
    lines = {path.name: path.read_text().count("\n") for path in (tmp_path / "out").iterdir()}
    assert lines == {"a.tsv": 0, "full.tsv": EACH, "b.tsv": 0, "c.tsv": 0}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["a/x.tar", "b/x.tar", "--output-dir", "o"], "would both be written to o/x.tar.tsv"),
        (["-", "--output-dir", "o"], "has no name for an output in --output-dir"),
        (["x.tar", "--part", "1/2"], "--part is of the outputs in --output-dir"),
        (["x.tar", "--output-dir", "o", "-o", "y"], "give one of them"),
        (["x.tar", "--output-dir", "s-000.tar"], "s-000.tar: is no folder"),
    ],
)
def test_what_cannot_be_is_one_line(
    run: Run, shards: list[str], args: list[str], message: str
) -> None:
    result = run("predict", *args)
    assert result.code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_killed_at_any_moment_and_run_again_every_image_has_one_record(
    tmp_path: Path, shards: list[str]
) -> None:
    randomly, kills = random.Random(2), 0
    args = [command(), "predict", "s-*.tar", "--output-dir", "out"]
    while kills < KILLS:
        process = subprocess.Popen(args, cwd=tmp_path, start_new_session=True)
        time.sleep(0.2 + randomly.random() * 0.4)
        os.killpg(process.pid, signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        if len(list((tmp_path / "out").glob("s-*.tsv"))) == SHARDS:
            break
    subprocess.run(args, cwd=tmp_path, check=True)
    records = [
        line.split("\t")[0]
        for path in (tmp_path / "out").glob("s-*.tsv")
        for line in path.read_text().splitlines()
    ]
    assert sorted(records) == sorted(f"{name}:{i}.png" for name in shards for i in range(EACH))


def test_an_output_has_the_name_that_was_given_and_not_that_of_a_blob(
    run: Run, tmp_path: Path, shards: list[str]
) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / shards[0]).rename(tmp_path / "blobs" / "0a1b")
    for name in ("a.tar", "b.tar"):
        (tmp_path / name).symlink_to("blobs/0a1b")
    assert run("predict", "a.tar", "b.tar", "./@", "--output-dir", "out").code == 3
    found = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert found == ["@.tsv", "@.tsv.failed", "a.tar.tsv", "b.tar.tsv"]
