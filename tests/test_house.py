"""The rules of the house, read from the source: rooms, floors, doors, sizes, and who may speak.

The tables at the top are meant to be edited with the code.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import ROOT

import catclf
from scripts.lib.size import sizes, total

PACKAGE = ROOT / "catclf"
# What scripts/size prints may not exceed these.
CATCLF_MAX, MODULES_MAX, TESTS_MAX, SCRIPTS_MAX = 22_000, 160, 22_000, 1_400
BODY_MAX = 40  # lines of a function below its docstring

# Each outside library is imported in these modules alone, and each line says so with a noqa. A name
# or pattern that no file has is allowed, so that a door can be moved.
DOORS = {
    "dask": "cluster/engine.py",
    "distributed": "cluster/engine.py",
    "fsspec": "storage/location.py",
    "h5py": "datasets/hdf5*.py",
    "llvmlite": "features/*kernels.py",
    "numba": "features/*kernels.py training/*kernels.py",
    "onnx": "features/onnx*.py",
    "PIL": "images/decode.py images/png.py images/tones.py",
    "pillow_heif": "images/decode.py",
    "pyarrow": "storage/parquet.py",
    "rich": "terminal/markdown.py terminal/progress.py",
    "sklearn": "sklearn.py",
    "threadpoolctl": "maths/threads.py",
    "typer": "cli/*",
}
WITHOUT_NOQA = {"typer"}  # ruff cannot lift a ban for one folder
# A package's face hands names on, but for these.
FACES_WITH_CODE = {
    "__init__.py": "public names are loaded when they are used",
    "cli/__init__.py": "what is set before anything is loaded",
    "cli/data/__init__.py": "a group of commands",
}
SPEAK_OF_OPTIONS = "cli/* training/settings.py"  # the help of each setting stands with it


class Import(NamedTuple):
    """An import statement: its line, its modules, and whether it waits until it is reached."""

    line: int
    modules: tuple[str, ...]
    lazy: bool


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def shown(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


@cache
def imports(path: Path) -> tuple[Import, ...]:
    """All of a module, also those within functions and for type checking."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text())
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        lazy = id(node) not in top
        if isinstance(node, ast.Import):
            yield Import(node.lineno, tuple(alias.name for alias in node.names), lazy)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{shown(path)}:{node.lineno}: a relative import"
            module = str(node.module)
            names = (f"{module}.{alias.name}" for alias in node.names)
            # A name that is a module is what is imported, and not the face of its package.
            modules = {name if is_module(name) else module for name in names}
            yield Import(node.lineno, tuple(modules), lazy)


def floors() -> dict[str, int]:
    """The floor of each room as the docstring of the package says, the ground highest."""
    block = (catclf.__doc__ or "").partition("to the side:\n\n")[2].partition("\n\n")[0]
    return {room: i for i, line in enumerate(block.splitlines()) for room in line.split()}


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def arrows() -> Iterator[tuple[str, str, str]]:
    """From which room, to which room, and where, for each import of another room."""
    for path in sources():
        room = shown(path).split("/")[0].removesuffix(".py")
        for found in imports(path):
            for module in found.modules:
                if module.split(".")[0] == "catclf" and room_of(module) != room:
                    yield room, room_of(module), f"{shown(path)}:{found.line}"


def test_the_docstring_names_every_room() -> None:
    rooms = {path.name.removesuffix(".py") for path in PACKAGE.glob("*.py")}
    rooms |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert set(floors()) == rooms - {"__init__", "__main__"}
    text = re.sub(r"\W+", " ", (catclf.__doc__ or "").partition("to the side:")[0])
    assert set(floors()) <= set(text.split())


def test_imports_point_to_lower_floors() -> None:
    level = floors()
    outside = {"__init__", "__main__"}  # the faces of the library and of the program
    upward = {
        f"{where}: {room} -> {target}"
        for room, target, where in arrows()
        if room not in outside and level.get(target, -1) <= level[room]
    }
    assert upward == set()
    assert {target for room, target, _ in arrows() if room == "__main__"} == {"cli"}
    assert "cli" not in {target for room, target, _ in arrows() if room != "__main__"}


def graph(lazy: bool) -> dict[str, set[str]]:
    """The modules of the package that each one imports, with those within functions or without."""
    names = {
        shown(path).removesuffix(".py").removesuffix("/__init__").replace("/", "."): path
        for path in sources()
    }
    return {
        name: {
            module.removeprefix("catclf.")
            for found in imports(path)
            if lazy or not found.lazy
            for module in found.modules
            if module.removeprefix("catclf.") in names
        }
        for name, path in names.items()
    }


def test_no_module_waits_for_itself_to_be_loaded() -> None:
    """Imports at the top of modules, between the modules of a room, too, have no circle."""
    loaded = graph(lazy=False)
    assert len(list(TopologicalSorter(loaded).static_order())) == len(loaded)


def test_modules_form_no_circle() -> None:
    """Two modules that import each other, also within functions, are one module or three."""
    edges = graph(lazy=True)
    reached: dict[str, set[str]] = {}
    for name in edges:
        found, waiting = set[str](), list(edges[name])
        while waiting:
            each = waiting.pop()
            if each not in found:
                found.add(each)
                waiting += edges[each]
        reached[name] = found
    circles = {
        frozenset(other for other in found if name in reached[other])
        for name, found in reached.items()
        if name in found
    }
    assert [sorted(circle) for circle in circles if len(circle) > 1] == []


def is_one_of(path: Path, patterns: str) -> bool:
    return any(fnmatch(shown(path), pattern) for pattern in patterns.split())


@pytest.mark.parametrize("library", DOORS)
def test_outside_libraries_stay_behind_their_doors(library: str) -> None:
    for path in sources():
        lines = path.read_text().splitlines()
        for found in imports(path):
            if any(module.split(".")[0] == library for module in found.modules):
                where = f"{shown(path)}:{found.line}"
                assert is_one_of(path, DOORS[library]), where
                assert library in WITHOUT_NOQA or "noqa" in lines[found.line - 1], where


def test_no_other_library_is_used() -> None:
    known = {*sys.stdlib_module_names, *DOORS, "catclf", "numpy"}
    used = {
        module.split(".")[0] for path in sources() for i in imports(path) for module in i.modules
    }
    assert used <= known


def test_the_whole_stays_within_its_budget() -> None:
    rows = sizes()
    package, tests, scripts = (total(rows, top) for top in ("catclf", "tests", "scripts"))
    assert package["code"] <= CATCLF_MAX
    assert package["modules"] <= MODULES_MAX
    assert tests["code"] <= TESTS_MAX
    assert scripts["code"] <= SCRIPTS_MAX


def test_no_function_is_longer_than_its_limit() -> None:
    long = set()
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[ast.get_docstring(node) is not None :]
                if body and (body[-1].end_lineno or 0) - body[0].lineno + 1 > BODY_MAX:
                    long.add(f"{shown(path)}: {node.name}")
    assert long == set()


def test_a_face_only_hands_names_on() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        if shown(path) in FACES_WITH_CODE:
            continue
        tree = ast.parse(path.read_text())
        rest = tree.body[ast.get_docstring(tree) is not None :]
        assert all(isinstance(node, ast.Import | ast.ImportFrom) for node in rest), shown(path)
    # Processes that decode images import it, and need neither NumPy nor the time.
    assert (PACKAGE / "images" / "__init__.py").read_text() == ""


def test_only_the_command_line_speaks_of_options_and_prints() -> None:
    # Two dashes before a letter, but for the custom properties of CSS: --ink:… and var(--ink).
    option = re.compile(r"(?<!var\()(?<!pip install )(?<![\w-])--[a-z][\w-]*(?![\w-]*:)")
    for path in sources():
        if is_one_of(path, SPEAK_OF_OPTIONS):
            continue
        text = path.read_text()
        assert option.findall(text) == [], shown(path)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                where = f"{shown(path)}:{node.lineno}"
                assert called not in ("print", "exit", "quit", "sys.exit"), where
                assert called not in ("sys.stdout.write", "sys.stdout.buffer.write"), where


def test_the_readme_uses_just_the_public_names() -> None:
    section = (ROOT / "README.md").read_text().partition("\n## Python\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    if not blocks:
        pytest.skip("README.md has no section on Python")
    assert set(re.findall(r"\bcatclf\.(\w+)", "".join(blocks))) == set(catclf.__all__)
