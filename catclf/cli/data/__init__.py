"""``catclf data``: make, look at, check and divide data sets."""

from __future__ import annotations

import typer

from catclf.cli.data.info import info
from catclf.cli.data.pack import pack
from catclf.cli.data.split import split
from catclf.cli.data.verify import verify
from catclf.cli.options import paragraphs

data = typer.Typer(help="Make, look at, check and divide data sets.", no_args_is_help=True)
for command in (pack, info, verify, split):
    data.command(help=paragraphs(command))(command)
