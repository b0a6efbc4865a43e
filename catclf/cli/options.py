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
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print nothing but errors.", rich_help_panel=OUTPUT),
]
