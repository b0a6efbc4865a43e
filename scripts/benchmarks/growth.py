"""How time and memory grow with the number of pictures, read from HDF5."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from scripts.benchmarks.measure import BIN, run, table
from scripts.benchmarks.pictures import write_hdf5

FEW = 2  # steps; the difference to more of them leaves out everything but steps


def growth(scratch: Path, repeats: int, quick: bool) -> str:
    """The time of a step and the peak memory of ``catclf train --method stream``."""
    rows = []
    for m in (1_000, 5_000, 20_000) if quick else (1_000, 10_000, 30_000, 100_000):
        data = write_hdf5(scratch / "growth.h5", m)
        extra = max(10, 200_000 // m)
        steps, peaks = [], []
        for _ in range(min(repeats, 3)):
            ours: list[str | Path] = [
                BIN / "catclf",
                "train",
                "--data",
                data,
                "-o",
                scratch / "growth.npz",
            ]
            ours += ["--method", "stream", "--iterations"]
            few, more = (run([*ours, str(count)]) for count in (FEW, FEW + extra))
            steps.append((more.seconds - few.seconds) / extra)
            peaks.append(more.megabytes)
        data.unlink()
        rows.append(
            [
                f"{m}",
                f"{m * 12288 / 1e6:.0f} MB",
                f"{1000 * median(steps):.1f} ms",
                f"{1e6 * median(steps) / m:.2f} µs",
                f"{median(peaks):.0f} MB",
            ]
        )
    header = ["pictures", "pixels", "a step", "a picture and step"]
    return table([*header, "peak memory"], rows)
