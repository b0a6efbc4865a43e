"""How soon an answer is there: the whole process beside the bare imports it cannot do without."""

from __future__ import annotations

import sys
from pathlib import Path

from scripts.benchmarks.measure import BIN, compare, one_step_model, table


def starting(scratch: Path, repeats: int, quick: bool) -> str:
    """``catclf --help``, and ``catclf predict`` on one 200x200 JPEG."""
    import numpy as np
    from PIL import Image

    model, image = one_step_model(scratch / "start.npz"), scratch / "start.jpg"
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(image)
    floor = "python -c 'import numpy, PIL.Image, typer'"
    costs = compare(
        {
            floor: [sys.executable, "-c", "import numpy, PIL.Image, typer"],
            "catclf predict, one image": [BIN / "catclf", "predict", "-m", model, image],
            "catclf --help": [BIN / "catclf", "--help"],
        },
        2 * repeats,
    )
    rows = [
        [name, f"{1000 * cost.seconds:.0f} ms", f"{cost.seconds / costs[floor].seconds:.2f}"]
        for name, cost in costs.items()
    ]
    return table(["start to end", "time", "ratio"], rows)
