"""Scoring JPEGs: in a folder beside a plain loop and beside the floor, and in archives."""

from __future__ import annotations

import shutil
import sys
from multiprocessing import get_context
from pathlib import Path

from scripts.benchmarks.images import write_jpegs
from scripts.benchmarks.measure import BIN, compare, one_step_model, run, speeds, table


def folder(scratch: Path, repeats: int, quick: bool) -> str:
    """Whole processes over images of 200x200; memory with one and with many times as many."""
    count, times = (400, 5) if quick else (2_000, 10)
    images, model = write_jpegs(scratch / "jpegs", count), one_step_model(scratch / "folder.npz")
    peer: list[str | Path] = [sys.executable, "-m", "scripts.benchmarks.peers"]
    ours: list[str | Path] = [BIN / "catclf", "predict", "-m", model]
    costs = compare(
        {
            "catclf predict": [*ours, images],
            "plain Pillow loop": [*peer, "pillow", images, model],
            "floor: decode only, same workers": [*peer, "decode", images],
        },
        repeats,
    )
    many = run([*ours, *[images] * times])
    rows = speeds(costs, count)
    speed = f"{times * count / many.seconds:.0f}"
    rows.append([f"catclf predict, {times * count}", speed, "", f"{many.megabytes:.0f} MB"])
    return table([f"{count} JPEGs of 200x200", "images/s", "time ratio", "peak memory"], rows)


def write_archives(folder: Path, distinct: int, copies: int) -> None:
    """``jpegs``, a folder of images, and the same as ``jpegs.tar`` and ``jpegs.zip``."""
    images = write_jpegs(folder / "jpegs", distinct)
    for image in sorted(images.iterdir()):
        for copy in range(1, copies):
            shutil.copyfile(image, images / f"{image.stem}-{copy:03}.jpg")
    for kind in ("tar", "zip"):
        shutil.make_archive(str(images), kind, images)


def archives(scratch: Path, repeats: int, quick: bool) -> str:
    """Whole processes over the same images in a folder and in archives; at most three runs."""
    distinct, copies = (400, 5) if quick else (1_000, 100)
    count, repeats = distinct * copies, min(repeats, 3)
    # Apart: what runs after it would begin with the memory that a large archive takes to write.
    writer = get_context("spawn").Process(target=write_archives, args=(scratch, distinct, copies))
    writer.start()
    writer.join()
    model = one_step_model(scratch / "archives.npz")
    sources = {"a folder": "jpegs", "a tar": "jpegs.tar", "a zip": "jpegs.zip"}
    costs = compare(
        {
            name: [BIN / "catclf", "predict", "-m", model, scratch / source]
            for name, source in sources.items()
        },
        repeats,
    )
    heading = f"{count} JPEGs of 200x200, {repeats} runs"
    return table([heading, "images/s", "time ratio", "peak memory"], speeds(costs, count))
