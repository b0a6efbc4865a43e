"""``catclf predict``: score pictures, one record an input, in input order."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catclf.cli.options import OUTPUT, ModelPath
from catclf.cli.streams import put, warn
from catclf.errors import ExitCode, PictureError

if TYPE_CHECKING:
    from catclf.cli.records import Record
    from catclf.model import Model


class Format(StrEnum):
    """How records are written."""

    TABLE = "table"
    TSV = "tsv"
    CSV = "csv"
    JSONL = "jsonl"


def predict(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Pictures, and folders of pictures."),
    ],
    model: ModelPath = Path("model.npz"),
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Probability above which the answer is the positive class.",
            show_default="the model's, usually 0.5",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    format: Annotated[
        Format | None,
        typer.Option(
            help="How to print.",
            show_default="table on a terminal, else tsv",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
) -> None:
    """Score pictures: path, answer, and probability of the positive class.

    A picture that cannot be read is named on stderr; the others are scored, and the exit code is 3.

    Example: catclf predict image.png photos/ | awk -F'\\t' '$2 == "cat" {print $1}'
    """
    from catclf.cli.records import writer
    from catclf.display import is_terminal, use_colour
    from catclf.modelfile import load

    trained = load(model)
    if format is None:
        format = Format.TABLE if is_terminal(sys.stdout) else Format.TSV
    head, line = writer(format, trained.classes, colour=use_colour(sys.stdout))
    put(head)
    failed = False
    for record in _records(_pictures(paths), trained, threshold):
        if record.error is not None:
            failed = True
            warn(f"{record.shown}: {record.error}")
        put(line(record))
    if failed:
        raise typer.Exit(ExitCode.PARTIAL)


def _pictures(paths: Iterable[str]) -> Iterator[tuple[str, PictureError | None]]:
    """Each path to score, folders opened, with the reason where there is nothing to score."""
    from catclf.images import list_folder

    for path in paths:
        if not Path(path).is_dir():
            yield path, None
            continue
        try:
            found = list(list_folder(Path(path)))
        except OSError as error:
            yield path, PictureError("forbidden", f"cannot be listed: {error.strerror}")
            continue
        if not found:
            yield path, PictureError("no-pictures", "the folder holds no pictures")
        yield from ((str(picture), None) for picture in found)


def _records(
    pictures: Iterable[tuple[str, PictureError | None]], model: Model, threshold: float | None
) -> Iterator[Record]:
    from catclf import images
    from catclf.cli.records import Record
    from catclf.maths import sigmoid

    limit = model.threshold if threshold is None else threshold
    for path, failure in pictures:
        if failure is None:
            try:
                Z = model.scores(images.read(path, model.preprocess)[None])
            except PictureError as error:
                failure = error
        if failure is not None:
            yield Record(path, error=str(failure), kind=failure.kind)
            continue
        probability = float(sigmoid(Z)[0, 0])
        label = model.classes[int(probability > limit)]
        yield Record(path, label, probability, float(Z[0, 0]))
