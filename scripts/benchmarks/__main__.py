"""``scripts/bench``."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from scripts.benchmarks.course import course
from scripts.benchmarks.measure import machine
from scripts.benchmarks.starting import starting


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="runs of each row (default 9)")
    parser.add_argument("--quick", action="store_true", help="three runs of each row")
    options = parser.parse_args()
    repeats = 3 if options.quick else options.repeats
    print(f"Medians of {repeats} runs on {machine()}.\n")
    datasets = os.environ.get("CATCLF_DATASETS")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if datasets:
            print(course(Path(datasets), scratch, repeats) + "\n")
        else:
            print("The course's rows are left out: set CATCLF_DATASETS.\n")
        print(starting(scratch, 2 * repeats))


main()
