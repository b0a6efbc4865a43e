"""What the commands that judge a model share: options, its data, and how they print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from catclf.cli.options import DATA
from catclf.cli.reading import reading_with_progress
from catclf.cli.streams import warn
from catclf.errors import DataError
from catclf.text import printable

if TYPE_CHECKING:
    from catclf.datasets import Dataset, Part
    from catclf.model import Model

PartOption = Annotated[
    Literal["train", "test"] | None,
    typer.Option(
        help="The part taken of a source that has parts.",
        show_default="test where there are both",
        rich_help_panel=DATA,
    ),
]
PositiveName = Annotated[
    str | None,
    typer.Option(
        help="What the positive class is called in this data.",
        show_default="as in the model",
        rich_help_panel=DATA,
    ),
]


def open_labelled(
    model: Model,
    path: Path | None,
    part: Part | None,
    positive: str | None = None,
    *,
    skip_bad: bool = False,
    quiet: bool = False,
) -> Dataset:
    """A source as the model sees it, its notes on stderr; without a path the bundled data."""
    from catclf.datasets import bundled, open_for

    if path is None:
        path = bundled()[part != "train"]
    elif part is not None:
        _require_part(path, part)
    with reading_with_progress(None, None, skip_bad, quiet, positive=positive) as reading:
        data = open_for(model.classes, model.preprocess, path, part or "test", reading)
    for note in data.notes:
        warn(note)
    return data


def _require_part(path: Path, part: Part) -> None:
    """Refuse to take a part for the other one, and say so where there are none."""
    from catclf.datasets import parts_of

    held = parts_of(path) if path.exists() else {part}
    if not held:
        warn(f"{printable(path)}: is not divided into parts: --part {part} changes nothing")
    elif part not in held:
        raise DataError(
            f"{printable(path)}: has no {part} part, but a {held.pop()} part: leave --part out"
        )
