"""The wheel in empty environments, and every command there.

One has the oldest dependencies, one the newest, and one the newest Typer, beyond the bound that
keeps the start short. Two arguments may name the Pythons of the first two; the one that runs this
is the default.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

from scripts.lib.readme import program_commands

ROOT = Path(__file__).parents[2]
CAT, TRAIN, TEST = (ROOT / "data" / name for name in ("examples/cat.png", "train.h5", "test.h5"))
BEYOND = "typer beyond the bound"
# One run of each command, in an empty folder, in this order.
RUNS: dict[str, list[object]] = {
    "train": ["--features", "hog", "--quiet"],
    "predict": [CAT],
    "evaluate": [],
    "compare": ["--iterations", 20],
    "explain": [CAT],
    "check": [],
    "report": ["--data", TEST],
    "inspect": ["model.npz"],
    "export": ["model.npz"],
    "data pack": [TEST, "-o", "packed.h5"],
    "data info": [TRAIN],
    "data verify": [TEST],
    "data split": [TEST, "-o", "split.h5"],
    "help": ["python"],
}


def oldest() -> Iterator[str]:
    """The lowest versions that pyproject.toml allows, of the package and of the extra onnx."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for need in [*project["dependencies"], *project["optional-dependencies"]["onnx"]]:
        name, _, lowest = re.match(r"([\w-]+)(>=)([\d.]+)", need).groups()  # type: ignore[union-attr]
        # The last of its patches, for the first may have been withdrawn.
        yield f"{name}=={lowest}.*"


def install(python: str, folder: Path, wheel: Path, constraints: list[str]) -> Path:
    """The command in a new environment of a Python."""
    subprocess.run([python, "-m", "venv", "--clear", str(folder)], check=True)
    listed = folder / "constraints.txt"
    listed.write_text("\n".join(each for each in constraints if each != BEYOND) + "\n")
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    needs = ["--constraint", str(listed), f"{wheel}[onnx]"]
    subprocess.run([*pip, "install", "--quiet", *needs], check=True)
    if BEYOND in constraints:
        subprocess.run([*pip, "install", "--quiet", "--upgrade", "typer"], check=True)
    else:
        subprocess.run([*pip, "check"], check=True)
    shown = subprocess.run([*pip, "list", "--format=freeze"], check=True, capture_output=True)
    print(" ".join(shown.stdout.decode().split()), flush=True)
    return folder / "bin" / "catclf"


def require_all_commands(command: Path, folder: Path) -> int:
    """Run every command and show its help; the number of runs. Exits at the first that fails."""
    runs: list[tuple[int, list[str]]] = [(0, ["--version"]), (0, ["--help"]), (2, ["nonsense"])]
    for name, args in RUNS.items():
        runs += [(0, [*name.split(), *map(str, args)]), (0, [*name.split(), "--help"])]
        runs.append((2, [*name.split(), "--no-such-option"]))
    for expected, run in runs:
        done = subprocess.run([command, *run], cwd=folder, capture_output=True, text=True)
        if done.returncode != expected or "Traceback" in done.stderr:
            sys.exit(f"smoke: catclf {' '.join(run)}: exit {done.returncode}\n{done.stderr}")
    return len(runs)


def main() -> None:
    missing = set(program_commands()) ^ set(RUNS)
    if missing:
        sys.exit(f"smoke: one run is needed for each of {', '.join(sorted(missing))}")
    pythons = [*[*sys.argv[1:], sys.executable, sys.executable][:2], sys.executable]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        [wheel] = WheelBuilder(str(ROOT)).build(directory=name, versions=["standard"])
        kinds = {"oldest": list(oldest()), "newest": [], "newest Typer": [BEYOND]}
        for python, (kind, constraints) in zip(pythons, kinds.items(), strict=True):
            work = folder / kind
            command = install(python, folder / f"env-{kind.split()[-1]}", Path(wheel), constraints)
            work.mkdir()
            count = require_all_commands(command, work)
            print(f"{kind}: {count} runs as they should be", flush=True)


if __name__ == "__main__":
    main()
