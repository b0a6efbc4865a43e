"""Scoring a folder of JPEGs: beside a plain loop, and beside decoding alone, which is the floor."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from scripts.benchmarks.images import write_jpegs
from scripts.benchmarks.measure import BIN, compare, run, table


def archive(images: Path, name: Path, format: str) -> Path:
    """The folder as an archive, by Python's own writer."""
    return Path(shutil.make_archive(str(name), format, images))


def folder(scratch: Path, repeats: int, quick: bool) -> str:
    """Whole processes over images of 200x200; memory with one and with many times as many."""
    count, times = (400, 5) if quick else (2_000, 10)
    images, model = write_jpegs(scratch / "jpegs", count), scratch / "folder.npz"
    run([BIN / "catclf", "train", "--iterations", "1", "-o", model])
    archives = [archive(images, scratch / "jpegs", format) for format in ("tar", "zip")]
    peer: list[str | Path] = [sys.executable, "-m", "scripts.benchmarks.peers"]
    ours: list[str | Path] = [BIN / "catclf", "predict", "-m", model]
    costs = compare(
        {
            "catclf predict": [*ours, images],
            "the same in a tar": [*ours, archives[0]],
            "the same in a zip": [*ours, archives[1]],
            "plain Pillow loop": [*peer, "pillow", images, model],
            "floor: decode only, same workers": [*peer, "decode", images],
        },
        repeats,
    )
    many = run([*ours, *[images] * times])
    base = costs["catclf predict"].seconds
    rows = [
        [name, f"{count / c.seconds:.0f}", f"{c.seconds / base:.2f}", f"{c.megabytes:.0f} MB"]
        for name, c in costs.items()
    ]
    speed = f"{times * count / many.seconds:.0f}"
    rows.append([f"catclf predict, {times * count}", speed, "", f"{many.megabytes:.0f} MB"])
    return table([f"{count} JPEGs of 200x200", "images/s", "time ratio", "peak memory"], rows)
