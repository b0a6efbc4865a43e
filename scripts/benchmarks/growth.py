"""How time and memory grow with the number of images, read from HDF5."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from scripts.benchmarks.images import write_hdf5
from scripts.benchmarks.measure import BIN, run, table

FEW = 2  # steps; the difference to more of them leaves out everything but steps
METHODS = {"stream": "catclf", "fused": "catclf[fast]"}


def growth(scratch: Path, repeats: int, quick: bool) -> str:
    """The time of a step and the peak memory of ``catclf train --stream``."""
    sizes = (2_000, 20_000) if quick else (1_000, 3_000, 10_000, 30_000, 100_000)
    rows = []
    for m in sizes:
        data = write_hdf5(scratch / "growth.h5", m)
        row = [f"{m}", f"{m * 12288 / 1e6:.0f} MB"]
        for method in METHODS:
            step, peak = _step(data, m, method, quick)
            row += [f"{1000 * step:.1f} ms", f"{1e6 * step / m:.2f} µs", f"{peak:.0f} MB"]
        rows.append(row)
        data.unlink()
    columns = ("a step", "an image", "peak memory")
    named = [f"{name}: {column}" for name in METHODS.values() for column in columns]
    return table(["pictures", "pixels", *named], rows)


def _step(data: Path, m: int, method: str, quick: bool) -> tuple[float, float]:
    """Seconds of a step and MB at the peak, of so many steps that their start counts little."""
    extra = max(20, (200_000 if quick else 1_200_000) // m)
    ours: list[str | Path] = [BIN / "catclf", "train", "--data", data, "--stream", "--method"]
    ours += [method, "-o", data.with_suffix(".npz"), "--iterations"]
    steps, peaks = [], []
    for _ in range(2 if quick else 3):
        few, more = (run([*ours, str(count)]) for count in (FEW, FEW + extra))
        steps.append((more.seconds - few.seconds) / extra)
        peaks.append(more.megabytes)
    return median(steps), median(peaks)
