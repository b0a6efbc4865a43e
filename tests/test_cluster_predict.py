"""``catclf predict --output-dir --cluster``: the bytes of one machine, whoever dies."""

from __future__ import annotations

import os
import signal
import tarfile
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, contents
from typer.testing import CliRunner

import catclf
from catclf.cli import predict as cluster
from catclf.cli.app import app
from catclf.cli.predict import Scoring, ScoringRun
from catclf.cli.records import Shard, Tally, pending
from catclf.cli.shell import Pause
from catclf.cluster import Address
from catclf.cluster.engine import Engine
from catclf.errors import ClusterError, ModelError
from catclf.images.preprocess import Preprocess

pytest.importorskip("distributed")
pytestmark = pytest.mark.usefixtures("shared")

SHARDS, EACH = 6, 5
LOCAL = Address(processes=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archives of five images, one of them broken in each, and a model."""
    import numpy as np

    root = tmp_path_factory.mktemp("scored")
    w = np.random.default_rng(0).normal(size=(3072, 1))
    catclf.save(catclf.Model(w, 0.1, preprocess=Preprocess(32)), root / "model.npz")
    example = ROOT / "data" / "examples" / "fox.png"
    (root / "broken.png").write_bytes(example.read_bytes()[:200])
    (root / "notes.md").write_text("no image")
    for number in range(SHARDS):
        with tarfile.open(root / f"s-{number}.tar", "w") as archive:
            for image in range(EACH - 1):
                archive.add(example, f"{number}-{image}.png")
            archive.add(root / "broken.png", f"{number}-broken.png")
            archive.add(root / "notes.md", "notes.md")
    return root


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[str, bytes]:
    """The outputs without a cluster."""
    made = outputs_of(folder, "one", alone=True)[0]
    assert all(content.count(b"\n") == EACH for content in made.values())
    return made


def outputs_of(folder: Path, name: str, *, alone: bool = False) -> tuple[dict[str, bytes], Tally]:
    """The outputs of a run by workers, or in this process ``alone``."""
    job = Scoring((Path("model.npz"),), format="jsonl", quiet=True, in_folder=True)
    before = Path.cwd()
    os.chdir(folder)
    try:
        names = [f"s-{number}.tar" for number in range(SHARDS)]
        shards: list[Shard] = pending(names, Path(name), job.ending, None)
        run = ScoringRun(job, shards, Pause(), lambda line: None)
        if alone:
            run.start()
        else:
            cluster.run_by_workers(run, LOCAL)
    finally:
        os.chdir(before)
    return contents(folder / name), run.tally


def test_workers_write_the_bytes_of_one_machine_and_what_is_there_is_kept(
    folder: Path, expected: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "two").mkdir()
    (folder / "two" / "s-1.tar.jsonl").write_bytes(b"kept\n")
    made, tally = outputs_of(folder, "two")
    assert made == expected | {"s-1.tar.jsonl": b"kept\n"}
    assert (tally.done, tally.failed) == ((SHARDS - 1) * EACH, SHARDS - 1)
    assert str(tally.left_out) == f"left out {SHARDS - 1} files: {SHARDS - 1} .md"
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == SHARDS - 1
    assert all(line.startswith("catclf: s-") and "-broken.png: " in line for line in lines)


def killing(job: Scoring, shard: Shard, where: str, digests: tuple[str, ...]) -> Any:
    """As ``score``, but two shards kill their first worker: before and after they are done."""
    name, marks = shard[0][0], Path(where, "marks")
    dies = name in ("s-1.tar", "s-3.tar") and not (marks / name).exists()
    if dies:
        (marks / name).touch()
    if not dies or name == "s-3.tar":
        report = cluster.score(job, shard, where, digests)
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    return report


def test_shards_of_workers_that_are_killed_are_scored_again(
    folder: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "score", killing)
    (folder / "marks").mkdir()
    made, tally = outputs_of(folder, "killed")
    assert len(contents(folder / "marks")) == 2
    assert made == expected
    assert tally.done == SHARDS * EACH


def poisoned(job: Scoring, shard: Shard, where: str, digests: tuple[str, ...]) -> Any:
    if shard[0] == ["s-2.tar"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return cluster.score(job, shard, where, digests)


def test_a_shard_that_kills_every_worker_is_named_and_the_others_are_done(
    workers: Engine, folder: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "score", poisoned)
    with pytest.raises(ClusterError, match=r"^s-2\.tar: 3 workers died of the same task: "):
        outputs_of(folder, "poisoned")
    others = {name: each for name, each in expected.items() if name != "s-2.tar.jsonl"}
    assert contents(folder / "poisoned") == others


def test_another_model_is_refused_by_a_worker(folder: Path) -> None:
    job = Scoring((Path("model.npz"),))
    shard: Shard = ["s-0.tar"], folder / "out.tsv"
    with pytest.raises(ModelError, match="a worker sees another model there"):
        cluster.score(job, shard, str(folder), ("0" * 64,))


def test_the_command_is_that_of_one_machine(
    folder: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for name, where in (("command", ["--cluster", "local:2"]), ("alone", [])):
        args = ["predict", "s-*.tar", "--format", "jsonl", "--output-dir", name, *where]
        assert CliRunner().invoke(app, args).exit_code == 3
        assert contents(folder / name) == expected
    refused = CliRunner().invoke(app, ["predict", "s-1.tar", "--cluster", "local:2"])
    assert (refused.exit_code, "give --output-dir" in refused.stderr) == (2, True)
