"""The course's data from start to end: catclf beside the notebook's loop."""

from __future__ import annotations

import sys
from pathlib import Path

from scripts.benchmarks.measure import BIN, compare, table


def course(datasets: Path, scratch: Path, repeats: int) -> str:
    """Whole processes of 2000 steps on 209 pictures, the judgement of 50 included."""
    folder = datasets / "catvnoncat"
    train, test = folder / "train_catvnoncat.h5", folder / "test_catvnoncat.h5"
    notebook = Path(__file__).with_name("notebook.py")
    ours: list[str | Path] = [
        BIN / "catclf",
        "train",
        "--data",
        train,
        "--test",
        test,
        "-o",
        scratch / "m.npz",
    ]
    costs = compare(
        {
            "catclf train": ours,
            "NumPy float64 script": [sys.executable, notebook, train, test],
        },
        repeats,
    )
    base = costs["catclf train"]
    rows = [
        [
            name,
            f"{cost.seconds:.2f} s",
            f"{cost.seconds / base.seconds:.1f}",
            f"{cost.megabytes:.0f} MB",
        ]
        for name, cost in costs.items()
    ]
    return table(["course data, 2000 steps", "time", "ratio", "peak memory"], rows)
