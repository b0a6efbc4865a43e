"""``catclf data pack``: any source to one HDF5 file."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Annotated, Literal

import typer

from catclf.cli.open_data import (
    open_all_parts,
    reading_with_progress,
    warn_of_idle_fit,
    warn_of_left_out,
    warn_of_notes,
)
from catclf.cli.options import (
    DATA,
    OUTPUT,
    FitOption,
    Quiet,
    Size,
    SkipBad,
    SourcePath,
    reads_sources,
)
from catclf.cli.output_paths import require_no_image
from catclf.cli.stdout import put
from catclf.text import counted, printable


@reads_sources
def pack(
    source: SourcePath,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="HDF5 file to write.", rich_help_panel=OUTPUT)
    ],
    size: Size = None,
    fit: FitOption = None,
    skip_bad: SkipBad = False,
    compress: Annotated[
        Literal["none", "gzip", "lzf"],
        typer.Option(
            help="Smaller, but slower to read in each pass.",
            rich_help_panel=OUTPUT,
        ),
    ] = "none",
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Images decoded at once.", show_default="cores", rich_help_panel=DATA
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write a data set as one HDF5 file, in the memory of a few images.

    The file appears under its name when it is complete, and trains to the same model as its source.

    Example: catclf data pack photos/ -o photos.h5
    """
    from catclf.datasets.hdf5_write import require_output, write

    require_output(output, [source])
    require_no_image(output, [source])
    warn_of_idle_fit(fit, [source])
    with reading_with_progress(size, fit, skip_bad, quiet, workers=workers) as reading:
        parts = open_all_parts(source, reading)
        warn_of_notes(parts.values())
        times = [perf_counter()]
        written = write(output, parts, compress, lambda _: times.append(perf_counter()))
    for (part, labels), (began, ended) in zip(written.items(), pairwise(times), strict=True):
        warn_of_left_out(parts[part])
        if not quiet:
            rate = len(labels) / max(ended - began, 1e-9)
            images = counted(len(labels), "image")
            put(f"{printable(output)}: {part} {images}, {rate:,.0f} a second\n")
