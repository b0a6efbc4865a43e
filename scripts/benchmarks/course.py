"""The course's data from start to end, and the solver alone, beside what one would take instead."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

from scripts.benchmarks.measure import BIN, compare, run, table


def course(scratch: Path, repeats: int, quick: bool) -> str:
    """Whole processes on 209 images, the judgement of 50 included; then 2000 steps alone."""
    datasets = os.environ.get("CATCLF_DATASETS")
    if not datasets:
        return "The course's rows are left out: set CATCLF_DATASETS."
    files = [Path(datasets) / "catvnoncat" / f"{part}_catvnoncat.h5" for part in ("train", "test")]
    notebook: list[str | Path] = [sys.executable, Path(__file__).with_name("notebook.py"), *files]
    peer: list[str | Path] = [sys.executable, "-m", "scripts.benchmarks.peers"]
    ours: list[str | Path] = [BIN / "catclf", "train", "--data", files[0], "--test", files[1]]
    costs = compare(
        {
            "catclf train": [*ours, "-o", scratch / "course.npz"],
            "NumPy float64 script": notebook,
            "scikit-learn script, defaults": [*peer, "course-sklearn", *files],
            "LIBLINEAR script, defaults": [*peer, "course-liblinear", *files],
        },
        repeats,
    )
    base = costs["catclf train"].seconds
    rows = [
        [name, f"{cost.seconds:.2f} s", f"{cost.seconds / base:.1f}", f"{cost.megabytes:.0f} MB"]
        for name, cost in costs.items()
    ]
    whole = table(["course data, 2000 steps", "time", "ratio", "peak memory"], rows)
    return whole + "\n\n" + _alone(files[0], notebook, repeats)


def _alone(data: Path, notebook: list[str | Path], repeats: int) -> str:
    from catclf import Settings, open_dataset, train

    opened = open_dataset(data)
    seconds: dict[str, list[float]] = {"gram": [], "stream": [], "loop": []}
    for _ in range(repeats):
        for method in ("gram", "stream"):
            began = perf_counter()
            train(opened, Settings(method=method))
            seconds[method].append(perf_counter() - began)
        # What a script takes beyond its start, its files and its judgement is its loop.
        seconds["loop"].append(run([*notebook, "2000"]).seconds - run([*notebook, "0"]).seconds)
    base = median(seconds["gram"])
    rows = [
        [name, f"{1000 * median(seconds[key]):.0f} ms", f"{median(seconds[key]) / base:.1f}"]
        for key, name in (
            ("gram", "catclf, --method gram (the default here)"),
            ("stream", "catclf, --method stream"),
            ("loop", "NumPy float64 loop"),
        )
    ]
    return table(["the solver alone, 2000 steps", "time", "ratio"], rows)
