"""``catclf evaluate``: how good a model is on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
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
)
from catclf.cli.stdout import put, warn
from catclf.terminal.style import stdout_styling
from catclf.text import counted, printable

if TYPE_CHECKING:
    from catclf.evaluation.evaluate import Answer, Evaluation
    from catclf.terminal.style import Styling


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
    """Judge a model on labelled images that it has not seen.

    The column "blind" is what the best answer that ignores the image would get. Warnings, such as
    class shares unlike those in training, go to stderr.

    Example: catclf evaluate test_catvnoncat.h5 -m model.npz --format json
    """
    from catclf.evaluation import evaluate
    from catclf.model.file import load, naming

    trained = load(model)
    labelled = open_labelled(trained, data, part, positive, skip_bad=skip_bad)
    with naming(model):
        found = evaluate.evaluate(trained, labelled, threshold)
    for warning in found.warnings():
        warn(warning)
    if format == "json":
        put(json_line(evaluate.facts(found, mistakes)))
    else:
        put(format_text(found, mistakes, stdout_styling()))


def format_text(found: Evaluation, mistakes: int, style: Styling) -> str:
    """Everything for people, in 80 columns but for long names."""
    from catclf.evaluation.evaluate import measures

    counts = found.counts
    negative, positive = (printable(name) for name in found.classes)
    head = (
        f"{printable(found.source)}: {counted(counts.total, 'image')}, "
        f"{counts.positives} {positive} ({100 * found.share:.1f} %), {counts.negatives} {negative}"
    )
    lines = [style.bold(head), "", style.dim(f"{'':<19}{'model':>9}  {'blind':>9}")]
    for m in measures(found):
        blind = "" if m.blind is None else m.show(m.blind)
        value = style.bold(f"{m.show(m.value):>9}")
        lines.append(f"{m.name:<19}{value}  {blind:>9}   {m.note}".rstrip())
    lines += ["", *_confusion_lines(found, style)]
    wrong = found.answers(False, mistakes)
    if wrong:
        lines += ["", *_answer_lines("most confident mistakes", wrong, positive, style)]
    return "\n".join(lines) + "\n"


def _confusion_lines(found: Evaluation, style: Styling) -> list[str]:
    counts = found.counts
    negative, positive = (printable(name) for name in found.classes)
    width = max(8, len(f"said {negative}"), len(f"said {positive}"))
    side = max(len(f"is {negative}"), len(f"is {positive}"), 16)
    rows = [
        (f"is {negative}", f"{counts.tn}", f"{counts.fp}"),
        (f"is {positive}", f"{counts.fn}", f"{counts.tp}"),
    ]
    head = f"{'':<{side}}  {'said ' + negative:>{width}}  {'said ' + positive:>{width}}"
    body = [f"{name:<{side}}  {a:>{width}}  {b:>{width}}" for name, a, b in rows]
    return [style.dim(head), *body]


def _answer_lines(
    title: str, answers: Sequence[Answer], positive: str, style: Styling
) -> list[str]:
    labels = [printable(answer.label) for answer in answers]
    said = [printable(answer.answer) for answer in answers]
    a, b = max(5, *map(len, labels)), max(5, *map(len, said))
    head = f"{f'P({positive})':>9}  {'is':<{a}}  {'said':<{b}}  image"
    lines = [style.bold(title), style.dim(head)]
    for answer, label, answered in zip(answers, labels, said, strict=True):
        share = f"{100 * answer.probability:.2f} %"
        lines.append(f"{share:>9}  {label:<{a}}  {answered:<{b}}  {answer.shown}")
    return lines
