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
from conftest import Run, command, fill
from hypothesis import given
from hypothesis import strategies as st

from catclf.cli.records import job_of, pending
from catclf.errors import SettingsError

SHARDS, EACH = 40, 12
KILLS = int(os.environ.get("CATCLF_KILLS", "4"))


@pytest.fixture
def shards(run: Run, model: Path, tmp_path: Path) -> list[str]:
    """Forty archives of twelve images, and a model to score them with."""
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
    jobs = (pending(names, folder, ".tsv", f"{k}/{n}") for k in range(1, n + 1))
    assert sorted(name for job in jobs for (name,), _ in job) == sorted(names)


@pytest.mark.parametrize("part", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2", "1/2/3", ""])
def test_parts_that_are_none_are_refused(part: str) -> None:
    with pytest.raises(SettingsError, match="give K/N with 1 <= K <= N"):
        job_of(part)


def test_each_shard_has_its_output_and_keeps_it(
    run: Run, tmp_path: Path, shards: list[str]
) -> None:
    out = tmp_path / "out"
    run("predict", "s-{000..039}.tar", "--output-dir", "out", "--part", "1/2").done()
    assert sorted(path.name for path in out.iterdir()) == [f"{name}.tsv" for name in shards[::2]]
    (out / "s-000.tar.tsv").write_text("kept\n")
    result = run("predict", "s-*.tar", "--output-dir", "out")
    kept = "20 outputs of 40 are there and stay: remove those that are to be made again"
    assert (result.code, result.stdout, result.stderr) == (0, "", f"catclf: out: {kept}\n")
    assert len(list(out.iterdir())) == SHARDS
    assert (out / "s-000.tar.tsv").read_text() == "kept\n"
    direct = run("predict", shards[7]).done()
    assert (out / f"{shards[7]}.tsv").read_text() == direct
    assert direct.count("\n") == EACH


@pytest.mark.parametrize("broken", ["cut short", "no tar"])
def test_a_shard_that_is_not_whole_is_scored_again(
    run: Run, tmp_path: Path, shards: list[str], broken: str
) -> None:
    whole = (tmp_path / shards[1]).read_bytes()
    content = whole[: len(whole) // 2] if broken == "cut short" else b"no tar"
    (tmp_path / shards[1]).write_bytes(content)
    out, mark = tmp_path / "out", f"{shards[1]}.tsv.failed"
    for _ in range(2):  # as long as it is so
        result = run("predict", *shards[:3], "none.tar", "--output-dir", "out")
        assert result.code == 3
        assert f"catclf: {shards[1]}: is damaged" in result.stderr
        assert "catclf: 2 arguments could not be read, or not to the end" in result.stderr
        assert (out / mark).read_text().startswith(f"{shards[1]}: is damaged")
        assert (out / "none.tar.tsv.failed").exists()
        lines = [(out / f"{name}.tsv").read_text().count("\n") for name in shards[:3]]
        assert (lines[0], lines[2], len(list(out.iterdir()))) == (EACH, EACH, 6)
    (tmp_path / shards[1]).write_bytes(whole)
    assert run("predict", *shards[:3], "--output-dir", "out").code == 0
    assert not (out / mark).exists()
    assert (out / f"{shards[1]}.tsv").read_text() == run("predict", shards[1]).done()
    assert run("predict", *shards[:3], "--output-dir", "out").stderr.startswith("catclf: out: 3 ")


def test_lists_without_names_have_outputs_without_records(
    run: Run, tmp_path: Path, shards: list[str]
) -> None:
    fill(tmp_path, {"full": f"{shards[0]}\n", "a": "", "b": "", "c": ""})
    run("predict", "@a", "@full", "@b", "@c", "--output-dir", "out").done()
    lines = {path.name: path.read_text().count("\n") for path in (tmp_path / "out").iterdir()}
    assert lines == {"a.tsv": 0, "full.tsv": EACH, "b.tsv": 0, "c.tsv": 0}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("a/x.tar b/x.tar --output-dir o", "would both be written to o/x.tar.tsv"),
        ("none*.tar --output-dir o", "none*.tar: there is no file of such a name"),
        ("{a..b}*.tar --output-dir o", "{a..b}*.tar: there is no file of such a name"),
        ("- --output-dir o", "has no name for an output in --output-dir"),
        ("x.tar --part 1/2", "--part is of the outputs in --output-dir"),
        ("x.tar --output-dir o -o y", "exclude each other"),
        ("x.tar --output-dir s-000.tar", "s-000.tar: is no folder"),
    ],
)
def test_what_cannot_be_is_one_line(
    run: Run, model: Path, tmp_path: Path, args: str, message: str
) -> None:
    (tmp_path / "s-000.tar").touch()
    run("predict", *args.split()).refused(message)
    assert not (tmp_path / "o").exists()


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
