"""Options that several commands share, and how results are put on stdout."""

from __future__ import annotations

import sys
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


def warn(message: str) -> None:
    """One line on stderr, in plain text: rich would wrap it and read file names as markup."""
    typer.echo(f"catclf: {message}", err=True)


def stdout_is_there() -> bool:
    """Whether results can be written at all; a shell may start us with stdout closed."""
    return sys.stdout is not None and not sys.stdout.closed
