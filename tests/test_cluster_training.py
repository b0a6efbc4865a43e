"""Training by Dask's workers: the same bytes, whoever dies; failures in one line."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusters import free_address, holders, results, without_scheduler
from conftest import Run, dataset, make_images, write_packed
from networks import random_weights

import catclf
from catclf.cluster import Address, engine
from catclf.cluster.engine import AGAIN, Engine, connected
from catclf.cluster.executor import Cluster, Partition, Summed
from catclf.datasets import Dataset, ReadOptions, open_dataset
from catclf.errors import ClusterError, DataError, SettingsError
from catclf.features import efficientnet
from catclf.maths.threads import part_length
from catclf.training import Settings
from catclf.training.objective import StreamObjective
from catclf.training.pipeline import prepare_job

distributed = pytest.importorskip("distributed")

M = 9000  # 18 parts of 512, in shards of 1000: tasks and shards have other edges
FEW, SIZE = 300, 20  # 3 parts of 128 for the statistics of rows, and 2 of 256 for workers
GD = Settings(method="stream", iterations=12, class_weight="balanced")
LBFGS = Settings(method="stream", solver="lbfgs", l2=1.0, iterations=6)
FLIPPED, HOG = replace(LBFGS, flip=True), replace(LBFGS, features="hog")
OBJECTIVE = Summed(part_length(M, 128), False, (1.0, 1.0))
OnStep = Callable[[int, float], None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_packed(tmp_path_factory.mktemp("cluster"), M, 4, 1000)


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fewer images, that are large enough for features."""
    return write_packed(tmp_path_factory.mktemp("features"), FEW, SIZE, 110)


def model_bytes(
    data: Dataset,
    settings: Settings,
    path: Path,
    cluster: Cluster | None = None,
    on_step: OnStep | None = None,
    workers: int = 1,
) -> bytes:
    job = prepare_job(data, settings, workers=workers, cluster=cluster)
    catclf.save(job.run(cluster=cluster, on_step=on_step).model, path)
    return path.read_bytes()


@pytest.mark.parametrize("settings", [GD, LBFGS, FLIPPED, HOG], ids=["gd", "lbfgs", "flip", "hog"])
def test_workers_give_the_bytes_of_one_thread(
    workers: Engine, folder: Path, larger: Path, tmp_path: Path, settings: Settings
) -> None:
    of_rows = settings in (FLIPPED, HOG)
    data, path = open_dataset(larger if of_rows else folder), tmp_path / "model.npz"
    expected = model_bytes(data, settings, path)
    assert model_bytes(data, settings, path, workers=2) == expected
    for threads in (1, 2):
        assert model_bytes(data, settings, path, Cluster(workers, threads)) == expected
    if of_rows:
        cached = replace(settings, cache=tmp_path / "rows", method="auto")
        assert model_bytes(data, cached, path) == expected
        return
    stored = open_dataset(f"file://{folder}")
    assert model_bytes(stored, settings, path, Cluster(workers, 1)) == expected
    other = open_dataset(folder, options=ReadOptions(positive="non-cat"))
    there = model_bytes(other, settings, path, Cluster(workers))
    assert there == model_bytes(other, settings, path)


def test_a_network_on_workers_gives_the_bytes_of_one_machine(
    workers: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows, their standardization and the centres of what is like the training images."""
    monkeypatch.setattr(efficientnet, "pretrained", random_weights)
    data = open_dataset(write_packed(tmp_path, 30, 128, 20))
    settings, path = replace(LBFGS, features="network", flip=False), tmp_path / "model.npz"
    expected = model_bytes(data, settings, path)
    assert catclf.load(path).similarity is not None
    assert model_bytes(data, settings, path, Cluster(workers, 1)) == expected


@pytest.mark.parametrize(("settings", "parts"), [(GD, 3), (HOG, 2)], ids=["pixels", "hog"])
def test_a_worker_that_is_killed_within_a_step_changes_no_byte(
    workers: Engine, folder: Path, larger: Path, tmp_path: Path, settings: Settings, parts: int
) -> None:
    data, path = open_dataset(larger if settings is HOG else folder), tmp_path / "model.npz"
    expected = model_bytes(data, settings, path)
    killed, kept, before = threading.Event(), list[int](), results(workers)

    def stop_one(step: int, cost: float) -> None:
        if step == 2:  # its task of the next step begins and does not end
            kept.extend(holders(workers, parts, before))
            os.kill(kept[0], signal.SIGSTOP)
            threading.Timer(0.4, kill).start()

    def kill() -> None:
        os.kill(kept[0], signal.SIGKILL)
        killed.set()

    assert model_bytes(data, settings, path, Cluster(workers, 1), stop_one) == expected
    assert killed.is_set()


def test_a_task_that_kills_every_worker_is_named(workers: Engine) -> None:
    with pytest.raises(ClusterError, match=r"^the third shard: 3 workers died of the same task: "):
        workers.run(os._exit, [(1,)], ["the third shard"])


def test_a_damaged_shard_is_named_or_left_out_and_the_model_remembers_it(
    workers: Engine, folder: Path, tmp_path: Path
) -> None:
    broken, path = tmp_path / "broken", tmp_path / "model.npz"
    subprocess.run(["cp", "-r", folder, broken], check=True)
    shard = bytearray((broken / "train-00004.h5").read_bytes())
    shard[-5000] ^= 1
    (broken / "train-00004.h5").write_bytes(shard)
    with pytest.raises(DataError, match=r"train-00004\.h5: is not the shard that was packed"):
        model_bytes(open_dataset(broken), GD, path, Cluster(workers, 1))
    data, whole = open_dataset(broken, options=ReadOptions(skip_bad=True)), open_dataset(folder)
    assert "left out 1 damaged shard: " in data.notes[0]
    kept = np.r_[0:4000, 5000:M]
    assert np.array_equal(np.asarray(data.images), np.asarray(whole.images)[kept])
    assert np.array_equal(data.Y, whole.Y[:, kept])
    expected = model_bytes(data, GD, path)
    assert catclf.load(path).training.settings["left_out"] == ["train-00004.h5"]
    assert model_bytes(data, GD, path, Cluster(workers, 1)) == expected


def test_workers_that_differ_are_refused(workers: Engine, folder: Path) -> None:
    kept = Cluster(workers, 1).partitions(open_dataset(folder))
    kept._probe = "another"
    with pytest.raises(ClusterError, match="round differently"):
        kept.pieces("totals", OBJECTIVE)


def test_data_that_workers_cannot_open_are_refused(workers: Engine, tmp_path: Path) -> None:
    data = dataset(*make_images(20, 4))
    with pytest.raises(SettingsError, match="reads packed folders"):
        model_bytes(data, GD, tmp_path / "model.npz", Cluster(workers, 1))


def test_tasks_are_few_send_few_sums_and_compute_the_same_twice(
    workers: Engine, folder: Path
) -> None:
    data, cluster = open_dataset(folder), Cluster(workers, 1)
    kept = cluster.partitions(data)
    assert len(kept.pieces("totals", OBJECTIVE)) <= 8
    exact = data.X.sum(axis=1, dtype=np.float64)
    assert np.array_equal(kept.total("totals", OBJECTIVE)[:, 0], exact)
    partition = Partition(cluster._source(data), 3 * 512, 9 * 512)
    first, again = (partition.sums(OBJECTIVE, StreamObjective(data).start()) for _ in range(2))
    assert [level for level, _ in first] == [0, 2, 0]
    for (_, a), (_, b) in zip(first, again, strict=True):
        assert a.dw.tobytes() == b.dw.tobytes()


# Failures of the cluster


def test_each_task_ends_with_its_result_or_its_failure(workers: Engine) -> None:
    ends = dict(workers.each(divmod, [(7, 2), (1, 0), (9, 4)], ["a", "b", "c"]))
    assert (ends[0], ends[2]) == ((3, 1), (2, 1))
    assert isinstance(ends[1], ClusterError)
    assert "ZeroDivisionError" in str(ends[1])
    assert (list(workers.each(divmod, [], [])), workers.run(divmod, [], [])) == ([], [])


def test_a_worker_that_lacks_a_module_or_is_of_another_version_fails_the_task_and_lives(
    workers: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere: Any = types.ModuleType("nowhere")
    exec("def work(number): return number", vars(nowhere))
    monkeypatch.setitem(sys.modules, "nowhere", nowhere)
    before = workers.run(os.getpid, [()] * 8, ["a"] * 8)
    with pytest.raises(ClusterError, match=r"ModuleNotFoundError: .*nowhere.*: install there"):
        workers.run(nowhere.work, [(1,)], ["a"])
    with monkeypatch.context() as patch:
        patch.setattr(engine, "__version__", "99")
        with pytest.raises(ClusterError, match=r"has catclf \d.*, and not 99: install there"):
            workers.run(len, [("ab",)], ["ab"])
    assert set(workers.run(os.getpid, [()] * 8, ["a"] * 8)) == set(before)


def test_a_cluster_without_workers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "WAIT", 0.3)
    monkeypatch.setattr(engine, "POLL", 0.1)
    local = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "protocol": "tcp"}
    with distributed.LocalCluster(n_workers=0, processes=False, **local) as empty:
        address = Address(empty.scheduler_address)
        with pytest.raises(ClusterError, match="no worker for 0 seconds"), connected(address):
            pass
        client = distributed.Client(empty, set_as_default=False)
        with client, pytest.raises(ClusterError, match="no worker for 0 seconds"):
            Engine(client, address).run(len, [("ab",)], ["ab"])


@pytest.mark.parametrize(
    ("url", "why"), [("", "no scheduler answers there"), ("tls://x:1", "tls needs certificates")]
)
def test_a_scheduler_that_cannot_be_reached_is_one_line(
    url: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "CONNECT", 0.3)
    with (
        pytest.raises((ClusterError, SettingsError), match=why),
        connected(Address(url or free_address()[0])),
    ):
        pass


def test_a_run_goes_on_where_its_scheduler_died(run: Run, folder: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "model.npz.checkpoint"
    args = ["train", "--data", str(folder), "--method", "stream", "--print-every", "1"]
    many = [*args, "--iterations", "100000", "--checkpoint-every", "3"]
    address, last = without_scheduler(many, tmp_path, checkpoint.exists)
    assert re.fullmatch(rf"catclf: {address}: the scheduler is gone: .*--resume", last)
    step = int(np.load(checkpoint)["cost_steps"][-1]) + 2
    again = [*args, "--iterations", str(step), "-q"]
    assert run(*again, "--resume").code == 0
    resumed = (tmp_path / "model.npz").read_bytes()
    assert run(*again, "-o", "whole.npz").code == 0
    assert (tmp_path / "whole.npz").read_bytes() == resumed
    gone = Engine(None, Address(processes=2), AGAIN).gone()
    assert str(gone).endswith("start it again, and run this again: what is done stays")
