"""``catclf evaluate``: how good a model is on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catclf.cli import options
from catclf.cli.open_data import open_labelled
from catclf.cli.shell import json_line, put, warn
from catclf.errors import SettingsError
from catclf.terminal.stream import stdout_styling
from catclf.text import aligned, balance, blocks, counted, printable

if TYPE_CHECKING:
    from catclf.evaluation.evaluate import Evaluation, Pair
    from catclf.terminal.stream import Styling


def evaluate(
    *,
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DATA]", help=options.SOURCE_HELP, show_default="the bundled test set"
        ),
    ] = None,
    model: Annotated[
        list[Path] | None,
        options.models_option("A second one is compared with the first on the same images."),
    ] = None,
    reading: options.Labelled,
    threshold: options.Threshold = None,
    mistakes: Annotated[
        int,
        options.option(
            low=0, metavar="N", help="Most confident mistakes to list.", group=options.OUTPUT
        ),
    ] = 5,
    format: options.JsonOrText = "text",
) -> None:
    """Evaluate a model on labelled images that it was not trained on.

    The column "baseline" is the best result of a prediction that ignores the image: always the
    majority class. Warnings, as of another class balance than in training, go to stderr.

    With two models the difference is tested on the same images: accuracy by McNemar's exact test,
    ROC AUC by DeLong's.

    Example: catclf evaluate test_catvnoncat.h5 -m model.npz --format json
    """
    from catclf.evaluation import evaluate
    from catclf.model.file import load, naming

    models = model or [Path(options.usual_model())]
    if len(models) > 2:
        raise SettingsError(f"{len(models)} models: evaluate takes one, or two to compare them")
    results = []
    for path in models:
        trained = load(path)
        labelled = open_labelled(reading, trained, data)
        with naming(path):
            results.append(evaluate.Evaluation.of(trained, labelled, threshold))
    for warning in dict.fromkeys(line for result in results for line in result.warnings()):
        warn(warning)
    pair = evaluate.Pair(*results) if len(results) > 1 else None
    names = [printable(path) for path in models]
    if format == "json":
        each = [evaluate.to_dict(result, mistakes) for result in results]
        both = {"models": [{"model": n} | e for n, e in zip(names, each, strict=True)]}
        put(json_line(both | {"difference": pair.to_dict()} if pair else each[0]))
        return
    style = stdout_styling()
    for name, result in zip(names, results, strict=True):
        if pair:
            put(style.bold(name) + "\n")
        put(format_text(result, mistakes, style) + ("\n" if pair else ""))
    if pair:
        put(_pair_text(pair, names, style))


def _pair_text(pair: Pair, names: list[str], style: Styling) -> str:
    """The differences of two models for people."""
    found = pair.to_dict()
    right = (
        f"{found['only_second_right']} images only the second has right, "
        f"{found['only_first_right']} only the first"
    )
    points = f"{100 * found['accuracy']:+z.2f} points"
    rows = [("accuracy", points, f"p {found['accuracy_p']:.2g}: {right}")]
    if found["roc_auc"] is not None:
        note = "cannot be told: no image is ranked otherwise"
        if found["roc_auc_interval"]:
            low, high = found["roc_auc_interval"]
            note = f"p {found['roc_auc_p']:.2g}, 95 % interval {low:+.4f} to {high:+.4f}"
        rows.append(("ROC AUC", f"{found['roc_auc']:+z.4f}", note))
    head = f"{names[1]} less {names[0]}, on the same {counted(found['images'], 'image')}"
    return blocks([style.bold(head)], aligned(rows, "<><"))


def format_text(result: Evaluation, mistakes: int, style: Styling) -> str:
    """All results for people, in 80 columns but for long names."""
    from catclf.evaluation.evaluate import measures

    counts = result.counts
    negative, positive = map(printable, result.classes)
    of = balance(counts.positives, counts.total, result.classes[1])
    head = f"{printable(result.source)}: {of}, {counts.negatives} {negative}"
    groups, copies = int(result.independent.max()) + 1, []
    if groups < counts.total:
        copies = [f"intervals count {groups} images: the others are copies"]
    measured = []
    for each in measures(result):
        baseline = "" if each.baseline is None else each.show(each.baseline)
        measured.append((each.name, style.bold(each.show(each.value)), baseline, each.note))
    heads = ("", f"predicted {negative}", f"predicted {positive}")
    confusion = [
        (f"actual {negative}", f"{counts.tn}", f"{counts.fp}"),
        (f"actual {positive}", f"{counts.fn}", f"{counts.tp}"),
    ]
    wrong = [
        (f"{100 * w.probability:.2f} %", printable(w.label), printable(w.predicted), w.display_name)
        for w in result.predictions(False, mistakes)
    ]
    listed = style.table((f"P({positive})", "actual", "predicted", "image"), wrong, "><<<")
    return blocks(
        [style.bold(head), *copies],
        style.table(("", "model", "baseline", ""), measured, "<>><"),
        style.table(heads, confusion, "<>>"),
        [style.bold("most confident mistakes"), *listed] if wrong else [],
    )
