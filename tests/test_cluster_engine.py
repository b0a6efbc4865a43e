"""Training by Dask's workers: the same bytes, whoever dies; failures in one line."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from clusters import free_address, holders, results, without_scheduler
from conftest import Run, make_images, write_packed

import catclf
from catclf.cluster import Address, engine
from catclf.cluster.engine import Engine, connected
from catclf.cluster.executor import Cluster, Partition, Summed, probe
from catclf.datasets import Dataset, ReadOptions, open_dataset
from catclf.errors import ClusterError, DataError, SettingsError
from catclf.maths.threads import part_length
from catclf.training import Settings
from catclf.training.kernels import Sums
from catclf.training.objective import StreamObjective
from catclf.training.pipeline import prepare_job

distributed = pytest.importorskip("distributed")

M = 9000  # 18 parts of 512, in shards of 1000: tasks and shards have other edges


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_packed(tmp_path_factory.mktemp("cluster"), M, 4, 1000)


@pytest.fixture(scope="module")
def two() -> Iterator[Engine]:
    """Two worker processes, which are started anew when they die."""
    with connected(Address(processes=2)) as made:
        yield made


def model_bytes(
    data: Dataset,
    settings: Settings,
    path: Path,
    cluster: Cluster | None = None,
    on_step: Callable[[int, float], None] | None = None,
    workers: int = 1,
) -> bytes:
    job = prepare_job(data, settings, workers=workers)
    catclf.save(job.run(cluster=cluster, on_step=on_step).model, path)
    return path.read_bytes()


OBJECTIVE = Summed(part_length(M, 128), False, (1.0, 1.0))
GD = Settings(method="stream", iterations=12, class_weight="balanced")
LBFGS = Settings(method="stream", solver="lbfgs", l2=1.0, iterations=8)


@pytest.mark.parametrize("settings", [GD, LBFGS], ids=["gd", "lbfgs"])
def test_two_workers_give_the_bytes_of_one_thread(
    two: Engine, folder: Path, tmp_path: Path, settings: Settings
) -> None:
    data, path = open_dataset(folder), tmp_path / "model.npz"
    expected = model_bytes(data, settings, path)
    assert model_bytes(data, settings, path, workers=2) == expected
    assert model_bytes(data, settings, path, Cluster(two, 1)) == expected
    assert model_bytes(data, settings, path, Cluster(two, 2)) == expected
    stored = open_dataset(f"file://{folder}")
    assert model_bytes(stored, settings, path, Cluster(two, 1)) == expected
    other = open_dataset(folder, options=ReadOptions(positive="non-cat"))
    assert model_bytes(other, settings, path, Cluster(two)) == model_bytes(other, settings, path)


def test_a_worker_that_is_killed_within_a_step_changes_no_byte(
    two: Engine, folder: Path, tmp_path: Path
) -> None:
    data, path = open_dataset(folder), tmp_path / "model.npz"
    expected = model_bytes(data, GD, path)
    killed, kept, before = threading.Event(), list[int](), results(two)

    def stop_one(step: int, cost: float) -> None:
        if step == 5:  # its task of the next step begins and does not end
            kept.extend(holders(two, 2, before))
            os.kill(kept[0], signal.SIGSTOP)
            threading.Timer(0.4, kill).start()

    def kill() -> None:
        os.kill(kept[0], signal.SIGKILL)
        killed.set()

    assert model_bytes(data, GD, path, Cluster(two, 1), stop_one) == expected
    assert killed.is_set()


def test_a_task_that_kills_every_worker_is_named(two: Engine) -> None:
    with pytest.raises(ClusterError, match=r"^the third shard: 3 workers died of the same task: "):
        two.run(os._exit, [(1,)], ["the third shard"])
    two._client.wait_for_workers(2, timeout=180)


@pytest.fixture
def broken(folder: Path, tmp_path: Path) -> Path:
    """The folder with a bit of one shard turned."""
    subprocess.run(["cp", "-r", folder, tmp_path / "broken"], check=True)
    shard = tmp_path / "broken" / "train-00004.h5"
    data = bytearray(shard.read_bytes())
    data[-5000] ^= 1
    shard.write_bytes(data)
    return tmp_path / "broken"


def test_a_damaged_shard_can_be_left_out_and_the_model_remembers_it(
    two: Engine, broken: Path, folder: Path, tmp_path: Path
) -> None:
    data, path = open_dataset(broken, options=ReadOptions(skip_bad=True)), tmp_path / "model.npz"
    assert data.m == M - 1000
    assert "left out 1 damaged shard: " in data.notes[0]
    whole = open_dataset(folder)
    kept = np.r_[0:4000, 5000:M]
    assert np.array_equal(np.asarray(data.images), np.asarray(whole.images)[kept])
    assert np.array_equal(data.Y, whole.Y[:, kept])
    expected = model_bytes(data, GD, path)
    assert catclf.load(path).training.settings["left_out"] == ["train-00004.h5"]
    assert model_bytes(data, GD, path, Cluster(two, 1)) == expected


def test_failures_of_the_work_are_what_they_are_on_one_machine(
    two: Engine, broken: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"train-00004\.h5: is not the shard that was packed"):
        model_bytes(open_dataset(broken), GD, tmp_path / "model.npz", Cluster(two, 1))
    with pytest.raises(ClusterError, match="a worker failed: TypeError"):
        two.run(len, [(3,)], ["three"])


def test_workers_that_differ_are_refused(two: Engine, folder: Path) -> None:
    kept = Cluster(two, 1).partitions(open_dataset(folder))
    kept._probe = "another"
    with pytest.raises(ClusterError, match="round differently"):
        kept.pieces("totals", OBJECTIVE)


def test_data_that_workers_cannot_open_are_refused(two: Engine, tmp_path: Path) -> None:
    x, y = make_images(20, 4)
    data = Dataset(x, y.reshape(1, -1).astype(float), ("non-cat", "cat"), "here")
    with pytest.raises(SettingsError, match="reads packed folders"):
        model_bytes(data, GD, tmp_path / "model.npz", Cluster(two, 1))


def test_tasks_are_few_and_send_few_sums(two: Engine, folder: Path) -> None:
    kept = Cluster(two, 1).partitions(open_dataset(folder))
    assert len(kept.pieces("totals", OBJECTIVE)) <= 6
    exact = open_dataset(folder).X.sum(axis=1, dtype=np.float64)
    assert np.array_equal(kept.total("totals", OBJECTIVE)[:, 0], exact)


def test_tasks_compute_the_same_twice(folder: Path) -> None:
    """What a worker does is run here: a task that is lost and done again changes nothing."""
    data = open_dataset(folder)
    source = Cluster(None, 1)._source(data)  # type: ignore[arg-type]
    partition, point = Partition(source, 3 * 512, 9 * 512), StreamObjective(data).start()
    first, again = (partition.sums(OBJECTIVE, point) for _ in range(2))
    assert [level for level, _ in first] == [0, 2, 0]
    assert all(isinstance(sums, Sums) for _, sums in first)
    for (_, a), (_, b) in zip(first, again, strict=True):
        assert a.dw.tobytes() == b.dw.tobytes()
    assert probe() == probe()


def test_each_task_ends_with_its_result_or_its_failure(two: Engine) -> None:
    ends = dict(two.each(divmod, [(7, 2), (1, 0), (9, 4)], ["a", "b", "c"]))
    assert (ends[0], ends[2]) == ((3, 1), (2, 1))
    assert isinstance(ends[1], ClusterError)
    assert "ZeroDivisionError" in str(ends[1])
    assert (list(two.each(divmod, [], [])), two.run(divmod, [], [])) == ([], [])


def test_a_cluster_without_workers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "WAIT", 0.3)
    monkeypatch.setattr(engine, "POLL", 0.1)
    with distributed.LocalCluster(
        n_workers=0,
        dashboard_address="127.0.0.1:0",
        host="127.0.0.1",
        processes=False,
        protocol="tcp",
    ) as empty:
        address = Address(empty.scheduler_address)
        with pytest.raises(ClusterError, match="no worker for 0 seconds"), connected(address):
            pass
        client = distributed.Client(empty, set_as_default=False)
        with client, pytest.raises(ClusterError, match="no worker for 0 seconds"):
            Engine(client, address).run(len, [("ab",)], ["ab"])


def test_a_scheduler_that_is_not_there_is_one_line(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "CONNECT", 0.3)
    address = Address(free_address()[0])
    with pytest.raises(ClusterError, match="no scheduler answers there"), connected(address):
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


def test_a_worker_that_lacks_a_module_fails_the_task_and_lives(
    two: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = types.ModuleType("nowhere")
    exec("def work(number): return number", vars(nowhere))
    monkeypatch.setitem(sys.modules, "nowhere", nowhere)
    before = two.run(os.getpid, [()] * 8, ["a"] * 8)
    with pytest.raises(ClusterError, match=r"ModuleNotFoundError: .*nowhere.*: install there"):
        two.run(nowhere.work, [(1,)], ["a"])
    assert set(two.run(os.getpid, [()] * 8, ["a"] * 8)) == set(before)


def test_workers_of_another_version_are_refused(
    two: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "__version__", "99")
    with pytest.raises(ClusterError, match=r"has catclf \d.*, and not 99: install there"):
        two.run(len, [("ab",)], ["ab"])


def test_tls_needs_certificates() -> None:
    with (
        pytest.raises(SettingsError, match="tls needs certificates"),
        connected(Address("tls://x:1")),
    ):
        pass
