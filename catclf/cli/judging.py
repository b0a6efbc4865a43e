"""What the commands that judge a model share: options, its data, and how they print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from catclf.cli.options import DATA
from catclf.cli.reading import reading_with_progress
from catclf.cli.streams import warn

if TYPE_CHECKING:
    from catclf.datasets import Dataset
    from catclf.model import Model
    from catclf.styling import Styling

PartOption = Annotated[
    Literal["train", "test"],
    typer.Option(help="The part taken where a source has both.", rich_help_panel=DATA),
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
    part: Literal["train", "test"],
    positive: str | None = None,
    *,
    skip_bad: bool = False,
    quiet: bool = False,
) -> Dataset:
    """A source as the model sees it, its notes on stderr; without a path the bundled data."""
    from catclf.datasets import bundled
    from catclf.opening import open_for

    if path is None:
        path = bundled()[part == "test"]
    with reading_with_progress(None, None, skip_bad, quiet, positive=positive) as reading:
        data = open_for(model, path, part, reading)
    for note in data.notes:
        warn(note)
    return data


def stdout_styling() -> Styling:
    """Colour on a terminal that has it; other signs than ASCII where they can be written."""
    from catclf.display import use_colour
    from catclf.styling import Styling

    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
    return Styling(use_colour(sys.stdout), ascii_only=not encoding.startswith("utf"))
