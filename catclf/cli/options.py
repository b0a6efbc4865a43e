"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

DATA, FEATURES, TRAINING, OUTPUT = "Data", "Features", "Training", "Output"

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
SourcePath = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE", help="HDF5 file, class folders, CSV or TSV table, or .npz archive."
    ),
]
JsonOrText = Annotated[
    Literal["text", "json"], typer.Option("--format", help="How to print.", rich_help_panel=OUTPUT)
]
Size = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1024,
        help="Height and width of the pictures.",
        show_default="that of stored pictures, else 64",
        rich_help_panel=DATA,
    ),
]
FitOption = Annotated[
    Literal["squash", "crop", "pad"] | None,
    typer.Option(
        "--fit",
        help="How picture files become square; crop keeps the middle.",
        show_default="squash",
        rich_help_panel=DATA,
    ),
]
SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad", help="Leave unreadable pictures out.", rich_help_panel=DATA),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print nothing but errors.", rich_help_panel=OUTPUT),
]
