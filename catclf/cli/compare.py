"""``catclf compare``: which settings to train with, by cross-validation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from catclf.cli import options
from catclf.cli.open_data import reading_with_progress
from catclf.cli.shell import json_line, options_of, put, warn
from catclf.errors import SettingsError
from catclf.settings import AUTO, Settings
from catclf.terminal.stream import stdout_styling
from catclf.text import aligned, balance, blocks, counted, printable

if TYPE_CHECKING:
    from catclf.datasets import Dataset, ReadOptions
    from catclf.evaluation.compare import (
        Candidate,
        Comparison,
        LearningCurve,
    )
    from catclf.terminal.stream import Styling


_several = partial(options.optional, list[str], group=options.TRAINING)
LISTS = {
    "features": _several(
        help="Input features: pixels, hog, patches, network, or several: hog,patches.",
        metavar="KIND,KIND",
        shown="pixels",
    ),
    "learning_rate": _several(
        *("--learning-rate", "--lr"),
        help="Learning rates α of gradient descent, as 0.01,0.001; none: to the optimum.",
        metavar="N,N",
        shown="0.01,0.005,0.001 for pixels without --l2 auto",
    ),
    "l2": _several(
        help="Penalties λ, each with each rate; auto selects one on the training folds.",
        metavar="N,N",
        shown="0; other features auto",
    ),
    "class_weight": _several(
        help="none, balanced, or both: none,balanced.", metavar="WORD,WORD", shown="none"
    ),
    "sizes": _several(
        help="Learning curve: numbers of training images, as 50,100,200, for one candidate.",
        metavar="N,N",
    ),
}


def compare(
    *,
    data: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[SOURCE]...",
            help="Images: HDF5 files, class folders, CSV or TSV tables, .npz, taken together.",
            show_default="the bundled training set",
        ),
    ] = None,
    reading: options.Reading,
    distinct: Annotated[
        bool,
        options.option(
            "--distinct/--no-distinct",
            help="Leave out images that repeat others: they would be in both sides of a fold.",
            group=options.DATA,
        ),
    ] = True,
    lists: Annotated[options.Options, LISTS],
    iterations: Annotated[
        int, options.setting("iterations", help="Steps of each run.")
    ] = Settings.iterations,
    folds: Annotated[int, options.option(help="Parts, each held out once.", metavar="N")] = 5,
    repeats: Annotated[int, options.option(help="Divisions into folds.", metavar="N")] = 1,
    seed: Annotated[int, options.option(help="Of the divisions.", metavar="N")] = 0,
    by: Annotated[
        str,
        options.option(
            help="The measure that decides: balanced-accuracy, accuracy, roc-auc or log-loss.",
            choices=("balanced-accuracy", "accuracy", "roc-auc", "log-loss"),
        ),
    ] = "balanced-accuracy",
    format: options.JsonOrText = "text",
    quiet: options.Quiet = False,
) -> None:
    """Compare features, learning rates, penalties and class weights on the same stratified folds.

    Where a source has parts only its training part is used. The JSON feeds catclf report --compare.

    With --sizes one candidate is trained on ever more images instead: whether more would help.

    Example: catclf compare train.h5 --lr 0.01,0.005,0.001 --l2 0,1 --repeats 3
    """
    from catclf.evaluation import compare as core
    from catclf.evaluation.compare import plan_of
    from catclf.terminal.progress import phases

    given = {name: ",".join(each or []) for name, each in lists.items()}
    plan = plan_of(
        kinds := (given["features"] or "pixels").split(","),
        _numbers("--learning-rate", given["learning_rate"], float),
        _numbers("--l2", given["l2"], lambda text: text if text == AUTO else float(text)),
        (given["class_weight"] or "none").split(","),
        (iterations, folds, repeats, seed),
    )
    with reading_with_progress(reading, data or [], quiet, features=kinds) as how:
        pooled, dropped = _pooled(data, how, distinct, quiet)
    measure = by.replace("-", "_")
    for note in pooled.grouping(folds).notes:
        warn(note)
    if given["sizes"]:
        sizes = _numbers("--sizes", given["sizes"], int)
        curve = core.learning_curve(pooled, plan, sizes, phases(quiet))
        content, text = curve.to_dict(measure), format_curve(curve, measure, stdout_styling())
    else:
        comparison = core.cross_validate(pooled, plan, dropped, phases(quiet))
        comparison.require_sound()
        content = core.to_dict(comparison, measure)
        text = format_text(comparison, measure, stdout_styling())
    if format == "json":
        put(json_line(content))
    elif not quiet:
        put(text)


def _numbers(name: str, text: str, kind: Callable[[str], Any]) -> list[Any]:
    """Numbers separated by commas."""
    try:
        return list(map(kind, text.split(","))) if text else []
    except ValueError:
        raise SettingsError(
            f"{name} {printable(text)}: give {'whole ' * (kind is int)}numbers with commas"
        ) from None


def _pooled(
    paths: list[Path] | None, reading: ReadOptions, distinct: bool, quiet: bool
) -> tuple[Dataset, int]:
    """All sources as one data set, and how many images were left out."""
    from catclf.datasets import bundled, open_dataset
    from catclf.evaluation import compare as core

    first = open_dataset(paths[0] if paths else bundled()[0], "train", reading)
    same = replace(reading, positive=reading.positive or first.classes[1], size=first.size)
    parts = [first, *(open_dataset(path, "train", same) for path in (paths or [])[1:])]
    for part in parts:
        for note in part.notes:
            warn(note)
    pooled = core.pool(parts)
    alone = core.without_repeats(pooled) if distinct else pooled
    dropped = pooled.m - alone.m
    if dropped and not quiet:
        which = "which repeats another" if dropped == 1 else "which repeat others"
        warn(f"left out {dropped} of {pooled.m} images, {which}")
    return alone, dropped


def format_text(comparison: Comparison, measure: str, style: Styling) -> str:
    """The table and the best candidate for people, in 80 columns but for long names."""
    plan, of = comparison.plan, (comparison.positives, comparison.images, comparison.classes[1])
    head = f"{printable(comparison.source)}: {balance(*of)}"
    repeats = f" x {plan.repeats} repeats" if plan.repeats > 1 else ""
    steps = f", {counted(plan.iterations, 'step')}" if plan.descends else ""
    how = f"{plan.folds} folds{repeats}, seed {plan.seed}{steps}; mean ± std over held-out folds"
    return blocks(
        [style.bold(head), *wrap(_ascii(how, style), 80)],
        _table(comparison, measure, style),
        _advice(comparison, measure, style),
    )


def _table(comparison: Comparison, measure: str, style: Styling) -> list[str]:
    """A row for each candidate, the best one in bold; columns that tell candidates apart."""
    from catclf.evaluation.compare import NAMES

    columns: dict[str, Callable[[Candidate], str]] = {
        "features": lambda each: each.features,
        "weights": lambda each: each.class_weight,
        "rate": lambda each: "optimum" if each.learning_rate is None else f"{each.learning_rate:g}",
        "λ": lambda each: each.penalty,
    }
    for name in ("features", "weights"):
        if len(set(map(columns[name], comparison.plan.candidates))) == 1:
            del columns[name]
    heads = (*columns, "balanced acc.", "accuracy", "ROC AUC", "log loss")
    rows, best = [], comparison.best(measure)
    for result in comparison.results:
        cells = [cell(result.candidate) for cell in columns.values()]
        if result.diverged is None:
            cells += [_ascii(result.shown(name), style) for name in NAMES]
        rows.append([style.bold(cell) for cell in cells] if result is best else cells)
    lines = style.table(heads, rows, "<" * (len(columns) - 1) + ">" + ">" * len(NAMES))
    for i, result in enumerate(comparison.results, 1):
        if result.diverged is not None:
            lines[i] += f"  diverged at step {result.diverged}"
    return lines


def _ascii(text: str, style: Styling) -> str:
    return text.replace("±", "+-") if style.ascii_only else text


def _advice(comparison: Comparison, measure: str, style: Styling) -> list[str]:
    from catclf.evaluation.compare import NAMES

    best = comparison.best(measure)
    assert best is not None
    taken = options_of(best.candidate.settings())
    lines = [style.bold(f"take {taken}") + f": the best {NAMES[measure]}"]
    if alike := ", ".join(str(result.candidate) for result in comparison.as_good(measure)):
        lines += wrap(f"as good, as far as these folds can tell: {alike}", 80)
    lines.append("no test set was used: keep yours for the one model that you train with this")
    return lines


def format_curve(curve: LearningCurve, measure: str, style: Styling) -> str:
    """A row for each size, with a 95 % interval of its mean, and what the last step brought."""
    from catclf.evaluation.compare import NAMES, PERCENT

    name, (candidate,) = NAMES[measure], curve.plan.candidates
    largest = math.inf if measure == "log_loss" else 1.0
    rows = [("images", *NAMES.values(), f"95 % of {name}")]
    for i, size in enumerate(curve.sizes):
        means = [_mean(each, float(curve.scores[each][i].mean())) for each in NAMES]
        ends = (
            min(max(end, 0.0), largest) for end in curve.interval(measure, curve.scores[measure][i])
        )
        low, high = (_mean(measure, end) for end in ends)
        rows.append((f"{size}", *means, f"{low.removesuffix(' %')} to {high}"))
    gain, (low_gain, high_gain) = curve.gain(measure)
    what = f"{gain:+.4f} {name} ({low_gain:.4f} to {high_gain:.4f})"
    if low_gain <= 0 <= high_gain:
        what = f"it cannot be told whether {name} changes"
    elif measure in PERCENT:
        what = f"{100 * gain:+.1f} points ({100 * low_gain:.1f} to {100 * high_gain:.1f})"
    head = f"{printable(curve.source)}: {candidate or 'pixels'}, {curve.plan.folds} folds"
    before, last = curve.sizes[-2:]
    return blocks(
        [style.bold(head)], aligned(rows, ">" * 6), [f"from {before} to {last} images: {what}"]
    )


def _mean(measure: str, value: float) -> str:
    from catclf.evaluation.compare import PERCENT

    return f"{100 * value:.1f} %" if measure in PERCENT else f"{value:.3f}"
