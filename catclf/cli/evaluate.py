"""``catclf evaluate``: how good a model is on labelled pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from catclf.cli.jsons import json_line
from catclf.cli.judging import PartOption, PositiveName, open_labelled
from catclf.cli.options import OUTPUT, SOURCE_HELP, JsonOrText, ModelPath, SkipBad, Threshold
from catclf.cli.streams import put, warn
from catclf.terminal.style import stdout_styling


def evaluate(
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DATA]",
            help=SOURCE_HELP,
            show_default="the bundled test set",
        ),
    ] = None,
    model: ModelPath = Path("model.npz"),
    part: PartOption = None,
    positive: PositiveName = None,
    skip_bad: SkipBad = False,
    threshold: Threshold = None,
    mistakes: Annotated[
        int,
        typer.Option(min=0, help="Most confident mistakes to list.", rich_help_panel=OUTPUT),
    ] = 5,
    format: JsonOrText = "text",
) -> None:
    """Judge a model on labelled pictures that it has not seen.

    The column "blind" is what the best answer that ignores the picture would get. Warnings, such as
    class shares unlike those in training, go to stderr.

    Example: catclf evaluate test_catvnoncat.h5 -m model.npz --format json
    """
    from catclf.evaluation import evaluate
    from catclf.model.file import load

    trained = load(model)
    labelled = open_labelled(trained, data, part, positive, skip_bad=skip_bad)
    found = evaluate.evaluate(trained, labelled, threshold)
    for warning in found.warnings():
        warn(warning)
    if format == "json":
        put(json_line(evaluate.facts(found, mistakes)))
    else:
        put(evaluate.text(found, mistakes, stdout_styling()))
