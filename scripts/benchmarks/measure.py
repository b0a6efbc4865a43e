"""Whole processes measured in turn: wall time and peak memory, median of several."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds of wall time and MB of peak resident memory."""

    seconds: float
    megabytes: float


def compare(commands: Mapping[str, Sequence[str | Path]], repeats: int) -> dict[str, Cost]:
    """Run each command ``repeats`` times, in turn, after one run to warm the caches; medians."""
    runs: dict[str, list[Cost]] = {name: [] for name in commands}
    for repeat in range(repeats + 1):
        for name, command in commands.items():
            cost = run(command)
            if repeat:
                runs[name].append(cost)
    return {
        name: Cost(median(c.seconds for c in costs), median(c.megabytes for c in costs))
        for name, costs in runs.items()
    }


def run(command: Sequence[str | Path]) -> Cost:
    """One process from start to end; its failure is ours."""
    began = perf_counter()
    process = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"bench: exit {process.returncode} from {' '.join(map(str, command))}")
    return Cost(seconds, usage.ru_maxrss / 1024)


def one_step_model(path: Path) -> Path:
    """A model file of the bundled data, made at once."""
    run([BIN / "catclf", "train", "--iterations", "1", "-o", path])
    return path


def speeds(costs: Mapping[str, Cost], count: int) -> list[list[str]]:
    """A row for each command that went through ``count`` images; ratios are to the first."""
    first = next(iter(costs.values())).seconds
    return [
        [name, f"{count / c.seconds:.0f}", f"{c.seconds / first:.2f}", f"{c.megabytes:.0f} MB"]
        for name, c in costs.items()
    ]


def machine() -> str:
    """One line on what the figures were measured with."""
    from importlib.metadata import version

    from threadpoolctl import threadpool_info

    packages = ("numpy", "scipy", "numba", "pillow", "h5py", "scikit-learn", "liblinear-official")
    import numpy as np

    np.zeros((2, 2)) @ np.zeros((2, 2))
    threads = max((pool["num_threads"] for pool in threadpool_info()), default=1)
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"{versions}, {threads} BLAS threads"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are figures."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, rule, *rows])
