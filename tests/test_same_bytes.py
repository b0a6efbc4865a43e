"""Equal runs: the same data, settings and seed give the same model file, whatever makes it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from conftest import CLASSES, FUSED, Run, command, make_images, wait_until, write_hdf5

KILLS = int(os.environ.get("CATCLF_KILLS", "3"))  # more for a longer look
M, FEW = 1100, 40  # blocks of a pass and shards have other edges
TRAININGS = {
    "gram": ["--method", "gram", "--l2", "1"],
    "stream": ["--method", "stream", "--class-weight", "balanced"],
    "fused": ["--method", "fused"],
    "batches": ["--stream", "--batch-size", "200"],  # the order from memory is another one
    "validation": ["--method", "stream", "--validation", "0.2", "--patience", "1000"],
    "lbfgs": ["--solver", "lbfgs", "--l2", "1"],
    "lbfgs stream": ["--solver", "lbfgs", "--l2", "1", "--method", "stream"],
    "hog": ["--features", "hog", "--l2", "1"],
    "patches": ["--features", "patches", "--l2", "1"],
}
FEATURES = ("hog", "patches")
BY_THREADS = ("gram", "stream")  # of BLAS, which are settled as a process begins
trainings = pytest.mark.parametrize(
    "training", [FUSED if name == "fused" else name for name in TRAININGS]
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of data sets by one name, which a model file holds: in one file, and as shards."""
    folder = tmp_path_factory.mktemp("equal")
    for part, m in (("many", M), ("few", FEW)):
        (folder / part).mkdir()
        x, y = make_images(m, 20 if part == "few" else 16)
        source = str(write_hdf5(folder / part / "data.h5", x=x, y=y, list_classes=CLASSES))
        shards = ["-o", f"{folder}/{part}-packed/data.h5/", "--shard-images", str(m // 3)]
        (folder / f"{part}-packed").mkdir()
        subprocess.run([command(), "data", "pack", source, *shards, "-q"], check=True)
    return folder


def source_of(data: Path, training: str, packed: bool = False) -> Path:
    return data / (("few" if training in FEATURES else "many") + "-packed" * packed) / "data.h5"


def arguments(training: str, source: Path, *more: str) -> list[str]:
    limit = [] if "--iterations" in more else ["--iterations", "30"]
    args = ["train", "--data", str(source), "-q", "-o", "model.npz", *limit]
    return [*args, *TRAININGS[training], *more]


def trained(run: Run, folder: Path, args: list[str], threads: int | None = None) -> bytes:
    """The model file. A number of BLAS threads takes a process of its own."""
    done = run(*args, env={"OPENBLAS_NUM_THREADS": str(threads)} if threads else None)
    assert (done.code, done.stdout) == (0, ""), done.stderr
    return (folder / "model.npz").read_bytes()


@trainings
def test_no_way_of_work_changes_a_byte(run: Run, data: Path, tmp_path: Path, training: str) -> None:
    source, packed = (source_of(data, training, way) for way in (False, True))
    alone = 1 if training in BY_THREADS else None
    expected = trained(run, tmp_path, arguments(training, source, "--workers", "1"), threads=alone)
    if training in FEATURES:
        ways = [(packed, ["--workers", "3", "--cache", "rows"])]
    elif training == "fused":  # which each process compiles
        ways = [(packed, ["--stream", "--workers", "3"])]
    else:
        disk = [] if training == "batches" else ["--stream"]
        ways = [(source, [*disk, "--workers", "3"]), (packed, ["--workers", "2"])]
    for place, more in ways:
        assert trained(run, tmp_path, arguments(training, place, *more)) == expected, more
    if training in BY_THREADS:
        assert trained(run, tmp_path, arguments(training, source), threads=2) == expected


@pytest.mark.skipif(find_spec("distributed") is None, reason="no Dask")
def test_a_cluster_changes_no_byte(run: Run, data: Path, tmp_path: Path) -> None:
    args = arguments("stream", source_of(data, "stream", packed=True))
    expected = trained(run, tmp_path, args)
    assert trained(run, tmp_path, [*args, "--cluster", "local:2"]) == expected


@pytest.mark.parametrize("training", ["gram", "batches", "lbfgs stream"])
def test_kills_change_no_byte(run: Run, data: Path, tmp_path: Path, training: str) -> None:
    limit = {"gram": "300", "batches": "200"}.get(training, "60")
    args = arguments(training, source_of(data, training), "--iterations", limit)
    expected = trained(run, tmp_path, args)
    randomly, kills = random.Random(1), 0
    checkpoint = tmp_path / "model.npz.checkpoint"
    while True:
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        again = [*args, "--checkpoint-every", "5", "--resume"]
        process = subprocess.Popen(
            [command(), *again], cwd=tmp_path, stderr=subprocess.PIPE, text=True
        )

        def written(process: subprocess.Popen[str] = process, before: int = before) -> bool:
            newer = checkpoint.exists() and checkpoint.stat().st_mtime_ns > before
            return newer or process.poll() is not None

        if kills < KILLS:
            wait_until(written)
            time.sleep(randomly.random() / 20)
            process.kill()
        _, said = process.communicate(timeout=180)
        kills += process.returncode == -signal.SIGKILL
        assert "damaged" not in said
        if process.returncode == 0:
            break
    assert (tmp_path / "model.npz").read_bytes() == expected
    assert not checkpoint.exists()


def test_another_seed_gives_another_file(run: Run, data: Path, tmp_path: Path) -> None:
    source = source_of(data, "batches")
    found = {
        trained(run, tmp_path, arguments("batches", source, "--seed", seed)) for seed in ("0", "1")
    }
    assert len(found) == 2
    with np.load(tmp_path / "model.npz") as file:
        assert file["w"].shape == (768, 1)
