"""What starting costs: no command loads a library that it does not use."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import catclf

HEAVY = {
    "dask",
    "distributed",
    "fsspec",
    "numpy",
    "h5py",
    "PIL",
    "rich",
    "threadpoolctl",
    "scipy",
    "numba",
    "pydantic",
    "sklearn",
    "onnx",
    "pyarrow",
}


def loaded(*args: str, cwd: Path) -> set[str]:
    """The heavy libraries that a command has loaded when it ends."""
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: print('|', *sys.modules, file=sys.stderr))\n"
        f"sys.argv = ['catclf', *{list(args)!r}]\n"
        "from catclf.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=180
    )
    return HEAVY & set(done.stderr.rpartition("|")[2].split())


@pytest.mark.parametrize(
    "args",
    [
        ("--version",),
        ("--help",),
        ("train", "--help"),
        ("nonsense",),
        ("help",),
        ("help", "train"),
        ("help", "nonsense"),
    ],
)
def test_help_and_mistakes_load_no_numpy(args: tuple[str, ...], tmp_path: Path) -> None:
    assert loaded(*args, cwd=tmp_path) <= {"rich"}


def test_a_page_in_a_pipe_loads_nothing(tmp_path: Path) -> None:
    assert loaded("help", "pipelines", cwd=tmp_path) == set()


def test_predict_loads_numpy_and_pillow_alone(tmp_path: Path) -> None:
    catclf.save(catclf.Model(np.zeros((12288, 1)), 0.0), tmp_path / "model.npz")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert loaded("predict", "a.png", cwd=tmp_path) == {"numpy", "PIL"}


def test_only_parquet_loads_pyarrow(tmp_path: Path) -> None:
    catclf.save(catclf.Model(np.zeros((12288, 1)), 0.0), tmp_path / "model.npz")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("cat/0.png", "dog/0.png"):
            archive.write(tmp_path / "a.png", name)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    train = ("train", "--iterations", "1", "--data")
    assert "pyarrow" not in loaded(*train, "a.zip", cwd=tmp_path)
    assert "pyarrow" not in loaded("predict", "a.zip", cwd=tmp_path)
    assert "pyarrow" in loaded("predict", "a.parquet", cwd=tmp_path)


def test_training_from_hdf5_into_a_pipe_loads_no_pillow_and_no_rich(
    tmp_path: Path, small_hdf5: Path
) -> None:
    found = loaded("train", "--data", "small.h5", "--size", "8", cwd=tmp_path)
    assert found == {"numpy", "h5py", "threadpoolctl"}


def test_shards_load_no_engine_and_no_stores(tmp_path: Path, small_hdf5: Path) -> None:
    engines = {"dask", "distributed", "fsspec"}
    assert not engines & loaded("data", "pack", "small.h5", "-o", "packed/", cwd=tmp_path)
    assert not engines & loaded("train", "--data", "packed", "--iterations", "2", cwd=tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert not engines & loaded("predict", "a.png", "--output-dir", "out", cwd=tmp_path)
    assert (tmp_path / "out" / "a.png.tsv").read_text().startswith("a.png\t")


@pytest.mark.parametrize("features", ["pixels", "hog"])
def test_other_features_load_nothing_of_the_network(
    features: str, tmp_path: Path, small_hdf5: Path
) -> None:
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "from catclf.cli import main\n"
        "main()\n"
    )
    options = ["--data", "small.h5", "--features", features, "--iterations", "5", "--l2", "1"]
    if features == "hog":
        x = np.zeros((20, 16, 16, 3), np.uint8)
        np.savez(tmp_path / "data.npz", x=x, y=np.arange(20) % 2)
        options[1] = "data.npz"
    done = subprocess.run(
        [sys.executable, "-c", code, "train", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "catclf.features" in done.stderr or features == "pixels"
    for name in ("catclf.features.network", "catclf.datasets.parquet", "pickletools"):
        assert name not in done.stderr.split()


def test_importing_the_package_loads_nothing() -> None:
    code = "import sys, catclf; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert not HEAVY & set(done.stdout.split())


def test_every_public_name_is_there() -> None:
    for name in catclf.__all__:
        assert getattr(catclf, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = catclf.nonsense


def test_the_program_settles_threads_and_garbage_before_it_loads_numpy(tmp_path: Path) -> None:
    code = (
        "import atexit, gc, os, sys\n"
        "atexit.register(lambda: print(gc.get_threshold()[0] > 700, gc.get_freeze_count() > 0,\n"
        "                              os.environ['OPENBLAS_NUM_THREADS']))\n"
        "sys.argv = ['catclf', 'predict', 'none.png', '-m', 'none.npz']\n"
        "from catclf.cli import main\n"
        "main()\n"
    )
    usual = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    for env, threads in ((usual, "1"), ({**usual, "OPENBLAS_NUM_THREADS": "3"}, "3")):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=env
        )
        assert done.stdout == f"True True {threads}\n"


def test_more_threads_than_blas_began_with_can_be_had() -> None:
    code = (
        "import numpy\n"
        "from threadpoolctl import threadpool_info\n"
        "from catclf.maths.threads import blas_threads\n"
        "with blas_threads(2):\n"
        "    print([p['num_threads'] for p in threadpool_info() if p['user_api'] == 'blas'])\n"
    )
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.stdout == "[2]\n"
