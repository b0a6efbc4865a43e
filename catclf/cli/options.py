"""Options that several commands share."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

DATA, FEATURES, TRAINING, OUTPUT = "Data", "Features", "Training", "Output"

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


ModelPath = Annotated[
    Path,
    typer.Option(
        "--model",
        "-m",
        envvar="CATCLF_MODEL",
        help="Model file made by train.",
        show_default=True,
    ),
]
SOURCE_HELP = "HDF5 file, class folders, CSV or TSV table, or .npz."
SourcePath = Annotated[Path, typer.Argument(metavar="SOURCE", help=SOURCE_HELP)]
Data = Annotated[
    Path | None,
    typer.Option(help=SOURCE_HELP, show_default="the bundled data set", rich_help_panel=DATA),
]
Features = Literal["pixels", "hog", "patches", "stacked", "network"]
JsonOrText = Annotated[
    Literal["text", "json"], typer.Option("--format", help="How to print.", rich_help_panel=OUTPUT)
]
Size = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1024,
        help="Height and width of the images.",
        show_default="that of stored images; else 64, or if they have more 128 for stacked and "
        "224 for network",
        rich_help_panel=DATA,
    ),
]
FitOption = Annotated[
    Literal["squash", "crop", "pad"] | None,
    typer.Option(
        "--fit",
        help="How image files become square; crop keeps the middle.",
        show_default="squash",
        rich_help_panel=DATA,
    ),
]
SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad", help="Leave unreadable images out.", rich_help_panel=DATA),
]
Positive = Annotated[
    str | None,
    typer.Option(
        help="The class to find; all others count as negative.",
        show_default="cat",
        rich_help_panel=DATA,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print nothing but errors.", rich_help_panel=OUTPUT),
]


def paragraphs(command: Callable[..., None]) -> str:
    """A docstring with its paragraphs as lines: help breaks them where the terminal ends."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def finite(value: float | None) -> float | None:
    """Refuse nan and inf, which pass between any two bounds."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


Threshold = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        callback=finite,
        help="Probability above which the answer is the positive class.",
        show_default="the model's, usually 0.5",
        rich_help_panel=OUTPUT,
    ),
]
