"""``catclf evaluate``: how good a model is on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catclf.cli.json_text import json_line
from catclf.cli.open_data import open_labelled
from catclf.cli.options import (
    OUTPUT,
    SOURCE_HELP,
    JsonOrText,
    ModelPath,
    PartOption,
    PositiveName,
    SkipBad,
    Threshold,
    reads_sources,
)
from catclf.cli.stdout import put, warn
from catclf.terminal.style import stdout_styling
from catclf.text import aligned, counted, printable

if TYPE_CHECKING:
    from catclf.evaluation.evaluate import Evaluation, Measure
    from catclf.terminal.style import Styling


@reads_sources
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
    """Evaluate a model on labelled images that it was not trained on.

    The column "baseline" is the best result of a prediction that ignores the image: always the
    majority class. Warnings, as of another class balance than in training, go to stderr.

    Example: catclf evaluate test_catvnoncat.h5 -m model.npz --format json
    """
    from catclf.evaluation import evaluate
    from catclf.model.file import load, naming

    trained = load(model)
    labelled = open_labelled(trained, data, part, positive, skip_bad=skip_bad)
    with naming(model):
        result = evaluate.evaluate(trained, labelled, threshold)
    for warning in result.warnings():
        warn(warning)
    if format == "json":
        put(json_line(evaluate.to_dict(result, mistakes)))
    else:
        put(format_text(result, mistakes, stdout_styling()))


def format_text(result: Evaluation, mistakes: int, style: Styling) -> str:
    """All results for people, in 80 columns but for long names."""
    from catclf.evaluation.evaluate import measures

    counts = result.counts
    negative, positive = (printable(name) for name in result.classes)
    head = (
        f"{printable(result.source)}: {counted(counts.total, 'image')}, {counts.positives} "
        f"{positive} ({100 * result.positive_fraction:.1f} %), {counts.negatives} {negative}"
    )
    lines = [style.bold(head), "", *_measure_lines(measures(result), style)]
    lines += ["", *_confusion_lines(result, style)]
    if mistakes and counts.correct < counts.total:
        lines += ["", style.bold("most confident mistakes")]
        lines += _mistake_lines(result, mistakes, style)
    return "\n".join(lines) + "\n"


def _measure_lines(measures: list[Measure], style: Styling) -> list[str]:
    rows = [("", style.dim("model"), style.dim("baseline"), "")]
    for m in measures:
        baseline = "" if m.baseline is None else m.show(m.baseline)
        rows.append((m.name, style.bold(m.show(m.value)), baseline, m.note))
    return aligned(rows, "<>><")


def _confusion_lines(result: Evaluation, style: Styling) -> list[str]:
    counts = result.counts
    negative, positive = (printable(name) for name in result.classes)
    rows = [
        ("", style.dim(f"predicted {negative}"), style.dim(f"predicted {positive}")),
        (f"actual {negative}", f"{counts.tn}", f"{counts.fp}"),
        (f"actual {positive}", f"{counts.fn}", f"{counts.tp}"),
    ]
    return aligned(rows, "<>>")


def _mistake_lines(result: Evaluation, count: int, style: Styling) -> list[str]:
    head = (f"P({printable(result.classes[1])})", "actual", "predicted", "image")
    rows = [tuple(map(style.dim, head))]
    for wrong in result.predictions(False, count):
        names = printable(wrong.label), printable(wrong.predicted), wrong.shown
        rows.append((f"{100 * wrong.probability:.2f} %", *names))
    return aligned(rows, "><<<")
