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

from conftest import ROOT

import catclf
from scripts.lib.size import sizes, total

PACKAGE = ROOT / "catclf"
# What scripts/size prints may not exceed these.
CATCLF_MAX, MODULES_MAX, TESTS_MAX, SCRIPTS_MAX = 18_100, 89, 16_900, 1_400
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
    "PIL": "images/decode.py images/png.py",
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
}
OWN = {*sys.stdlib_module_names, "catclf", "numpy"}
PRINTING = ("print", "exit", "quit", "sys.exit", "sys.stdout.write", "sys.stdout.buffer.write")
SPEAK_OF_OPTIONS = "cli/* training/settings.py"  # the help of each setting stands with it


class Import(NamedTuple):
    """An import statement: its line, its modules, and whether it waits until it is reached."""

    line: int
    modules: tuple[str, ...]
    lazy: bool


def shown(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


SOURCES = {shown(path): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(text) for name, text in SOURCES.items()}
NODES = [(name, node) for name, tree in TREES.items() for node in ast.walk(tree)]


def is_module(name: str) -> bool:
    path = name.partition(".")[2].replace(".", "/")
    return bool({f"{path}.py", f"{path}/__init__.py"} & SOURCES.keys())


@cache
def imports() -> dict[str, list[Import]]:
    """All of each module, also those within functions and for type checking."""
    found: dict[str, list[Import]] = {name: [] for name in SOURCES}
    for name, node in NODES:
        lazy = node not in TREES[name].body
        if isinstance(node, ast.Import):
            modules = tuple(alias.name for alias in node.names)
            found[name].append(Import(node.lineno, modules, lazy))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: a relative import"
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            # A name that is a module is what is imported, and not the face of its package.
            modules = tuple(each if is_module(each) else str(node.module) for each in names)
            found[name].append(Import(node.lineno, modules, lazy))
    return found


def floors() -> dict[str, int]:
    """The floor of each room as the docstring of the package says, the ground highest."""
    block = (catclf.__doc__ or "").partition("to the side:\n\n")[2].partition("\n\n")[0]
    return {room: i for i, line in enumerate(block.splitlines()) for room in line.split()}


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def arrows() -> Iterator[tuple[str, str, str]]:
    """From which room, to which room, and where, for each import of another room."""
    for name, statements in imports().items():
        room = name.split("/")[0].removesuffix(".py")
        for found in statements:
            for module in found.modules:
                if module.split(".")[0] == "catclf" and room_of(module) != room:
                    yield room, room_of(module), f"{name}:{found.line}"


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
        name: name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in SOURCES
    }
    return {
        names[name]: {
            module.removeprefix("catclf.")
            for found in statements
            if lazy or not found.lazy
            for module in found.modules
            if module.removeprefix("catclf.") in names.values()
        }
        for name, statements in imports().items()
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


def is_one_of(name: str, patterns: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns.split())


def test_outside_libraries_stay_behind_their_doors() -> None:
    for name, statements in imports().items():
        for found in statements:
            where = f"{name}:{found.line}"
            for library in {module.split(".")[0] for module in found.modules} - OWN:
                assert is_one_of(name, DOORS.get(library, "")), where
                line = SOURCES[name].splitlines()[found.line - 1]
                assert library in WITHOUT_NOQA or "noqa" in line, where


def test_the_whole_stays_within_its_budget() -> None:
    rows = sizes()
    package, tests, scripts = (total(rows, top) for top in ("catclf", "tests", "scripts"))
    assert package["code"] <= CATCLF_MAX
    assert package["modules"] <= MODULES_MAX
    assert tests["code"] <= TESTS_MAX
    assert scripts["code"] <= SCRIPTS_MAX


def test_no_function_is_longer_than_its_limit() -> None:
    long = set()
    for name, node in NODES:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[ast.get_docstring(node) is not None :]
            if body and (body[-1].end_lineno or 0) - body[0].lineno + 1 > BODY_MAX:
                long.add(f"{name}: {node.name}")
    assert long == set()


def test_a_face_only_hands_names_on() -> None:
    for name, tree in TREES.items():
        if name.endswith("__init__.py") and name not in FACES_WITH_CODE:
            rest = tree.body[ast.get_docstring(tree) is not None :]
            assert all(isinstance(node, ast.Import | ast.ImportFrom) for node in rest), name
    # Processes that decode images import it, and need neither NumPy nor the time.
    assert SOURCES["images/__init__.py"] == ""


def test_only_the_command_line_speaks_of_options_and_prints() -> None:
    # Two dashes before a letter, but for the custom properties of CSS: --ink:… and var(--ink).
    option = re.compile(r"(?<!var\()(?<!pip install )(?<![\w-])--[a-z][\w-]*(?![\w-]*:)")
    silent = {name for name in SOURCES if not is_one_of(name, SPEAK_OF_OPTIONS)}
    assert [(name, found) for name in silent if (found := option.findall(SOURCES[name]))] == []
    for name, node in NODES:
        if name in silent and isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in PRINTING, f"{name}:{node.lineno}"
