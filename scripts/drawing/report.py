"""What there is to see: the census of kinds, and contact sheets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from .brush import SIZE
from .picture import draw
from .things import UNSEEN_THINGS
from .wardrobe import UNSEEN

ZOOM = 2
COLUMNS = 12
LABEL = 12
# An owl that perches counts as sitting, one that flies as stretching.
POSES = ("face", "sitting", "walking", "lying", "asleep", "stretching")


def census(train: Sequence[str], test: Sequence[str]) -> str:
    """Return two Markdown tables, each cell "train / test": by pose, and by coat or thing."""
    names = sorted({_split(kind)[0] for kind in [*train, *test]}, key=_order)
    rows = ["| kind | " + " | ".join(POSES) + " | all |", "|---|" + "---:|" * (len(POSES) + 1)]
    for name in names:
        cells = [_cell(name, pose, train, test) for pose in POSES]
        rows.append(f"| {name} | " + " | ".join(cells) + f" | {_cell(name, '', train, test)} |")
    rows += [f"| all |{' |' * len(POSES)} {len(train)} / {len(test)} |", ""]
    rows += ["| kind | coats or things; **bold**: only in the test set |", "|---|---|"]
    rows += [f"| {name} | {_wardrobe(name, train, test)} |" for name in names]
    return "\n".join(rows)


def _order(name: str) -> tuple[bool, bool, str]:
    """Sort cats first and plain objects last."""
    return name == "object", name != "cat", name


def _split(kind: str) -> tuple[str, str, str]:
    """Return species, pose and coat of a kind; an object has no pose, and itself as coat."""
    parts = kind.split("/")
    if len(parts) == 2:
        return parts[0], "", parts[1]
    pose = {"perched": "sitting", "flying": "stretching"}.get(parts[1], parts[1])
    return parts[0], pose, parts[2]


def _cell(name: str, pose: str, train: Sequence[str], test: Sequence[str]) -> str:
    """Return how many of a kind there are in a pose, or in any."""
    counts = []
    for kinds in (train, test):
        found = [_split(kind) for kind in kinds]
        counts.append(sum(n == name and pose in ("", p) for n, p, _ in found))
    return f"{counts[0]} / {counts[1]}" if any(counts) else ""


def _wardrobe(name: str, train: Sequence[str], test: Sequence[str]) -> str:
    """Return the coats of a kind, or the things, with their numbers."""
    ours, theirs = (
        Counter(coat for n, _, coat in map(_split, kinds) if n == name) for kinds in (train, test)
    )
    shown = []
    for coat in sorted(set(ours) | set(theirs)):
        new = (name in UNSEEN and coat in UNSEEN[name]) or coat in UNSEEN_THINGS
        shown.append(f"{f'**{coat}**' if new else coat} {ours[coat]} / {theirs[coat]}")
    return ", ".join(shown)


def sheet(path: Path, seed: int, split: str, count: int) -> None:
    """Write a labelled contact sheet of a split's first pictures."""
    side = SIZE * ZOOM
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    page = Image.new("RGB", (columns * (side + 2), rows * (side + LABEL + 2)), (250, 250, 248))
    pen = ImageDraw.Draw(page)
    for index in range(count):
        pixels, _, kind = draw(seed, split, index)
        x, y = index % columns * (side + 2), index // columns * (side + LABEL + 2)
        picture = Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST)
        page.paste(picture, (x, y))
        pen.text((x + 2, y + side), kind[:24], fill=(30, 30, 30))
    page.save(path)
