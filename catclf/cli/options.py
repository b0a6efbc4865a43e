"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DATA, TRAINING, OUTPUT = "Data", "Training", "Output"

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
    str | None,
    typer.Option(
        "--fit",
        help="How picture files become square: squash, crop the middle, or pad.",
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
