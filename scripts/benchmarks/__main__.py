"""``scripts/bench``."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from scripts.benchmarks.cluster import cluster
from scripts.benchmarks.course import course
from scripts.benchmarks.folder import archives, folder
from scripts.benchmarks.growth import growth
from scripts.benchmarks.measure import machine
from scripts.benchmarks.optimum import optimum
from scripts.benchmarks.rows import rows
from scripts.benchmarks.starting import starting
from scripts.benchmarks.step import step
from scripts.lib.readme import put_between_marks

Table = Callable[[Path, int, bool], str]
TABLES: dict[str, Table] = {
    "course": course,
    "step": step,
    "optimum": optimum,
    "growth": growth,
    "rows": rows,
    "starting": starting,
    "folder": folder,
    "archives": archives,
    "cluster": cluster,
}
PAGE = Path(__file__).parents[2] / "catclf" / "docs" / "benchmarks.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--repeats", type=int, default=7, help="runs of each row (default 7)")
    parser.add_argument("--quick", action="store_true", help="3 runs, less data: under 2 minutes")
    parser.add_argument("--only", choices=TABLES, action="append", help="this table; repeatable")
    parser.add_argument(
        "--docs", action="store_true", help="put the tables into catclf/docs/benchmarks.md"
    )
    parser.add_argument("--bare", choices=TABLES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    repeats = 3 if options.quick else options.repeats
    if options.bare:
        with tempfile.TemporaryDirectory() as scratch:
            print(TABLES[options.bare](Path(scratch), repeats, options.quick))
        return
    less = " and on less data" if options.quick else ""
    parts = [
        f"Medians of {repeats} runs{less} on {machine()}. Ratios are to the first row of a table. "
        "Images are made up (smooth noise), but for those of the course."
    ]
    print(parts[0], flush=True)
    for name in options.only or TABLES:
        parts.append(_apart(name, options.repeats, options.quick))
        print("\n" + parts[-1], flush=True)
    if options.docs:
        put_between_marks(PAGE, "bench", "\n\n".join(parts))


def _apart(name: str, repeats: int, quick: bool) -> str:
    """A table made by a process of its own.

    A process begins with the peak memory of the one that starts it, so that one which has held
    large arrays cannot measure small ones.
    """
    command = [sys.executable, "-m", "scripts.benchmarks", "--bare", name]
    command += ["--repeats", str(repeats), *(["--quick"] if quick else [])]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


main()
