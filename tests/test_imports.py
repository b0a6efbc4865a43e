"""What starting costs: no command loads a library that it does not use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from archive_files import stored
from conftest import GREEN, fill, write_both_parts

import catclf

ENGINES = {"dask", "distributed", "fsspec"}
HEAVY = ENGINES | {
    *("numpy", "h5py", "PIL", "rich", "threadpoolctl", "scipy", "numba", "pydantic", "sklearn"),
    *("onnx", "pyarrow"),
}
MAIN = "from catclf.cli import main; main()"


def python(code: str, *args: str, cwd: Path | None = None, **env: str) -> tuple[str, str]:
    """stdout and stderr of a new process."""
    usual = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=180,
        env={**usual, **env},
    )
    return done.stdout, done.stderr


def modules(*args: str, cwd: Path) -> set[str]:
    """All that a command has loaded when it ends."""
    code = "import sys, atexit; atexit.register(lambda: print('|', *sys.modules, file=sys.stderr))"
    return set(python(f"{code}; {MAIN}", *args, cwd=cwd)[1].rpartition("|")[2].split())


def loaded(*args: str, cwd: Path) -> set[str]:
    return HEAVY & modules(*args, cwd=cwd)


@pytest.mark.parametrize("args", ["--help", "train --help", "nonsense", "help", "help nonsense"])
def test_help_and_mistakes_load_no_numpy(args: str, tmp_path: Path) -> None:
    assert loaded(*args.split(), cwd=tmp_path) <= {"rich"}


@pytest.mark.parametrize("args", ["--version", "help pipelines"])
def test_a_page_in_a_pipe_loads_nothing(args: str, tmp_path: Path) -> None:
    assert loaded(*args.split(), cwd=tmp_path) == set()


def test_predict_loads_what_its_inputs_need(tmp_path: Path) -> None:
    catclf.save(catclf.Model(np.zeros((12288, 1)), 0.0), tmp_path / "model.npz")
    fill(tmp_path, {"a.png": GREEN, "a.parquet": b"PAR1"})
    stored(tmp_path / "a.zip", {"b.png": (tmp_path / "a.png").read_bytes()})
    assert loaded("predict", "a.png", "a.zip", cwd=tmp_path) <= {"numpy", "PIL"}
    assert "pyarrow" in loaded("predict", "a.parquet", cwd=tmp_path)
    assert not ENGINES & loaded("predict", "a.png", "--output-dir", "out", cwd=tmp_path)
    assert (tmp_path / "out" / "a.png.tsv").read_text().startswith("a.png\t")


def test_training_from_hdf5_into_a_pipe_loads_no_pillow_and_no_rich(
    tmp_path: Path, small_hdf5: Path
) -> None:
    found = modules("train", "--data", "small.h5", "--size", "8", cwd=tmp_path)
    assert found & HEAVY == {"numpy", "h5py", "threadpoolctl"}
    assert {"catclf.features.network", "catclf.datasets.shards", "pickletools"} & found == set()


def test_shards_load_no_engine_and_no_stores(tmp_path: Path) -> None:
    write_both_parts(tmp_path / "d.h5", 20, 10, size=16)
    assert not ENGINES & loaded("data", "pack", "d.h5", "-o", "packed/", cwd=tmp_path)
    found = modules("train", "--data", "packed", "--features", "hog", "--l2", "1", cwd=tmp_path)
    assert (tmp_path / "model.npz").exists()
    assert {*ENGINES, "catclf.features.network"} & found == set()


def test_importing_the_package_loads_nothing() -> None:
    assert not HEAVY & set(python("import sys, catclf; print(*sys.modules)")[0].split())


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
    )
    for env, threads in (({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3")):
        out, _ = python(code + MAIN, "predict", "none.png", "-m", "none.npz", cwd=tmp_path, **env)
        assert out == f"True True {threads}\n"


def test_more_threads_than_blas_began_with_can_be_had() -> None:
    code = (
        "import numpy\n"
        "from threadpoolctl import threadpool_info\n"
        "from catclf.maths.threads import blas_threads\n"
        "with blas_threads(2):\n"
        "    print([p['num_threads'] for p in threadpool_info() if p['user_api'] == 'blas'])\n"
    )
    assert python(code, OPENBLAS_NUM_THREADS="1") == ("[2]\n", "")
