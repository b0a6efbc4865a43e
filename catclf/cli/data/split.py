"""``catclf data split``: divide a data set into a training and a test part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from catclf.cli.open_data import (
    reading_with_progress,
    warn_of_idle_fit,
    warn_of_left_out,
    warn_of_notes,
)
from catclf.cli.options import (
    OUTPUT,
    Options,
    Quiet,
    SourcePath,
    option,
    reading_options,
)
from catclf.cli.output_paths import require_own
from catclf.cli.stdout import put, warn
from catclf.errors import DataError
from catclf.text import counted, printable


def split(
    *,
    source: SourcePath,
    output: Annotated[
        Path, option("--output", "-o", help="HDF5 file to write.", metavar="FILE", group=OUTPUT)
    ],
    test: Annotated[
        float,
        option(low=0.0, high=1.0, metavar="N", help="Fraction of images for the test part."),
    ] = 0.2,
    seed: Annotated[int, option(low=0, metavar="N", help="Which of the possible divisions.")] = 0,
    reading: Annotated[Options, reading_options("size", "fit", "skip_bad")],
    quiet: Quiet = False,
) -> None:
    """Divide a data set at random into a training and a test part of one HDF5 file.

    Both parts get the same class balance as far as possible; duplicates and near-duplicates stay
    together, so that no test image was seen in training.

    Example: catclf data split photos/ -o photos.h5 --test 0.2
    """
    from catclf.datasets import open_source
    from catclf.datasets.checks import duplicate_groups, measure
    from catclf.datasets.hdf5 import require_output, write
    from catclf.splits import stratified_split

    require_output(output, [source])
    require_own(output)
    warn_of_idle_fit(reading["fit"], [source])
    with reading_with_progress(reading, quiet) as how:
        found = open_source(source, how)
        whole = found.split("train")
        warn_of_notes([whole])
        if {"train", "test"} <= found.splits:
            raise DataError(f"{whole.shown}: has a training and a test split already")
        measured = measure(whole.name, whole)
        warn_of_left_out(whole)
        grouped = duplicate_groups(measured, test)
        train, held = stratified_split(measured.labels, grouped.groups, test, seed)
        rows = {"train": measured.rows[train], "test": measured.rows[held]}
        written = write(
            output,
            {"train": whole.select(rows["train"]), "test": whole.select(rows["test"])},
        )
    if not quiet:
        for note in grouped.notes:
            warn(note)
        for part, labels in written.items():
            put(f"{printable(output)}: {part} {counted(len(labels), 'image')}\n")
