"""``catclf data``: make, look at, check and divide data sets."""

from __future__ import annotations

import typer

from catclf.cli.data.info import info
from catclf.cli.data.pack import pack
from catclf.cli.data.split import split
from catclf.cli.data.suspects import suspects
from catclf.cli.data.verify import verify
from catclf.cli.usage import Group, add_command, put_help

data = typer.Typer(cls=Group, invoke_without_command=True)
for command in (pack, info, verify, split, suspects):
    add_command(data, command)


@data.callback()
def group(ctx: typer.Context) -> None:
    """Make, look at, check and divide data sets."""
    if ctx.invoked_subcommand is None:
        put_help(ctx)
