"""The wheel and the source distribution: metadata, contents and size, and that both work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
from email import message_from_string
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

import pytest
from conftest import ROOT

import catclf

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VERSION = catclf.__version__
INFO = f"catclf-{VERSION}.dist-info"
SIZE_MAX = 4 * 2**20  # bytes of each, compressed; most of them are the drawings


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Wheel and source distribution, built without the network."""
    pytest.importorskip("hatchling")
    from hatchling.builders.sdist import SdistBuilder
    from hatchling.builders.wheel import WheelBuilder

    folder = str(tmp_path_factory.mktemp("dist"))
    [wheel] = WheelBuilder(str(ROOT)).build(directory=folder, versions=["standard"])
    [sdist] = SdistBuilder(str(ROOT)).build(directory=folder, versions=["standard"])
    return Path(wheel), Path(sdist)


def require_metadata(found: Message) -> None:
    """What the project file says, as an index shows it."""
    facts = (found["Name"], found["Version"], found["License-Expression"], found["License-File"])
    assert facts == ("catclf", VERSION, "MIT", "LICENSE")
    assert found["Summary"] == PROJECT["description"]
    assert found["Requires-Python"] == PROJECT["requires-python"]
    assert found["Description-Content-Type"] == "text/markdown"
    assert str(found.get_payload()).strip() == (ROOT / "README.md").read_text().strip()
    extras, needs = PROJECT["optional-dependencies"], found.get_all("Requires-Dist", [])
    assert sorted(found.get_all("Provides-Extra", [])) == sorted(extras)
    plain = [need for need in needs if "extra ==" not in need]
    names, expected = (
        {re.split("[<>=]", need)[0] for need in listed}
        for listed in (plain, PROJECT["dependencies"])
    )
    assert names == expected
    for extra, wanted in (("onnx", "onnx>="), ("sklearn", "scikit-learn>="), ("fast", "numba>=")):
        assert re.search(rf"{wanted}[\d.]+; extra == '{extra}'", " ".join(needs)), extra


def sources() -> set[str]:
    """The files of the package in the checkout."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "catclf").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_the_package_and_the_drawings_alone(built: tuple[Path, Path]) -> None:
    wheel, _ = built
    assert wheel.name == f"catclf-{VERSION}-py3-none-any.whl"
    assert wheel.stat().st_size < SIZE_MAX
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert archive.testzip() is None
        require_metadata(message_from_string(archive.read(f"{INFO}/METADATA").decode()))
        starts = archive.read(f"{INFO}/entry_points.txt").decode().split()
        assert starts == ["[console_scripts]", "catclf", "=", "catclf.cli:main"]
        for name in ("train.h5", "test.h5"):
            assert archive.read(f"catclf/data/{name}") == (ROOT / "data" / name).read_bytes()
    inside = {name for name in names if not name.startswith(INFO)}
    assert inside == sources() | {"catclf/data/train.h5", "catclf/data/test.h5"}
    assert "catclf/py.typed" in inside


def test_the_source_distribution_has_what_builds_and_tests_it(
    built: tuple[Path, Path], tmp_path: Path
) -> None:
    from hatchling.builders.wheel import WheelBuilder

    wheel, sdist = built
    assert sdist.name == f"catclf-{VERSION}.tar.gz"
    assert sdist.stat().st_size < SIZE_MAX
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        archive.extractall(tmp_path, filter="data")
    assert sources() <= names
    tests = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").glob("*.py")}
    assert {name for name in names if name.startswith("tests/models/")}
    assert tests | {"pyproject.toml", "README.md", "LICENSE", "scripts/test"} <= names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    root = tmp_path / f"catclf-{VERSION}"
    require_metadata(message_from_string((root / "PKG-INFO").read_text()))
    [again] = WheelBuilder(str(root)).build(directory=str(tmp_path), versions=["standard"])
    with ZipFile(wheel) as one, ZipFile(again) as other:
        assert {i.filename: i.CRC for i in one.infolist() if "RECORD" not in i.filename} == {
            i.filename: i.CRC for i in other.infolist() if "RECORD" not in i.filename
        }


def test_the_wheel_works_where_the_checkout_is_not(
    built: tuple[Path, Path], tmp_path: Path
) -> None:
    with ZipFile(built[0]) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import sys, catclf\n"
        "assert catclf.__file__.startswith(sys.argv.pop(1)), catclf.__file__\n"
        "from catclf.cli import main\n"
        "main()\n"
    )
    for args in (
        ["train", "--iterations", "5", "-q"],
        ["predict", str(ROOT / "data" / "examples" / "cat.png")],
        ["help", "export"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "site"), *args],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert (done.returncode, done.stderr) == (0, ""), args
    assert done.stdout.startswith("# Export\n")


def test_the_hook_of_pre_commit_runs_a_command() -> None:
    hook = (ROOT / ".pre-commit-hooks.yaml").read_text()
    assert re.findall(r"^ +entry: catclf (.*)$", hook, re.MULTILINE) == ["data verify"]
