"""``catclf compare``: which settings to train with, by cross-validation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

from catclf.cli.json_text import json_line
from catclf.cli.open_data import reading_with_progress, warn_of_idle_fit
from catclf.cli.options import (
    DATA,
    TRAINING,
    Classes,
    Columns,
    Features,
    FitOption,
    JsonOrText,
    Keys,
    LabelFrom,
    MaxPixels,
    Outside,
    Positive,
    Quiet,
    RemoteRows,
    Size,
    SkipBad,
    Truncated,
    option,
    setting,
)
from catclf.cli.stdout import options_of, put, warn
from catclf.settings import Settings
from catclf.terminal.style import stdout_styling
from catclf.text import aligned, counted, printable

if TYPE_CHECKING:
    from catclf.datasets import Dataset, ReadOptions
    from catclf.evaluation.compare import Comparison, Plan, Result
    from catclf.evaluation.crossval import Progress
    from catclf.terminal.style import Styling


def compare(
    ctx: typer.Context,
    data: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[SOURCE]...",
            help="Images: HDF5 files, class folders, CSV or TSV tables, .npz, taken together.",
            show_default="the bundled training set",
        ),
    ] = None,
    size: Size = None,
    fit: FitOption = None,
    skip_bad: SkipBad = False,
    positive: Positive = None,
    distinct: Annotated[
        bool,
        option(
            "--distinct/--no-distinct",
            help="Leave out images that repeat others: they would be in both sides of a fold.",
            group=DATA,
        ),
    ] = True,
    features: Features = Settings.features,
    learning_rate: Annotated[
        list[str] | None,
        option(
            "--learning-rate",
            "--lr",
            help="Learning rates α, as 0.01,0.001.",
            metavar="N,N",
            shown="0.01,0.005,0.001; other features 1.9",
            group=TRAINING,
        ),
    ] = None,
    l2: Annotated[
        list[str] | None,
        option(
            "--l2",
            help="Penalties λ, each with each rate.",
            metavar="N,N",
            shown="0; other features 0.01,0.03,0.1,0.3",
            group=TRAINING,
        ),
    ] = None,
    iterations: Annotated[
        int, setting("iterations", help="Steps of each run.", metavar="N")
    ] = Settings.iterations,
    folds: Annotated[int, option(help="Parts, each held out once.", metavar="N")] = 5,
    repeats: Annotated[int, option(help="Divisions into folds.", metavar="N")] = 1,
    seed: Annotated[int, option(help="Of the divisions.", metavar="N")] = 0,
    by: Annotated[
        str,
        option(
            help="The measure that decides: balanced-accuracy, accuracy, roc-auc or log-loss.",
            choices=("balanced-accuracy", "accuracy", "roc-auc", "log-loss"),
        ),
    ] = "balanced-accuracy",
    format: JsonOrText = "text",
    quiet: Quiet = False,
    label_from: LabelFrom = "folder",
    classes: Classes = None,
    columns: Columns = None,
    keys: Keys = None,
    max_pixels: MaxPixels = None,
    truncated: Truncated = False,
    outside: Outside = False,
    allow_remote_rows: RemoteRows = False,
) -> None:
    """Compare learning rates and penalties on the same stratified folds.

    Where a source has parts only its training part is used. The JSON feeds catclf report --compare.

    Example: catclf compare train.h5 --lr 0.01,0.005,0.001 --l2 0,1 --repeats 3
    """
    from catclf.evaluation import compare, crossval
    from catclf.evaluation.public import prepare_of
    from catclf.terminal.progress import live_text, phases

    plan = _plan(learning_rate, l2, iterations, folds, repeats, seed, features)
    warn_of_idle_fit(fit, data or [])
    with reading_with_progress(ctx, quiet, features=features) as reading:
        pooled, dropped = _pooled(data, reading, distinct)
    if dropped and not quiet:
        which = "which repeats another" if dropped == 1 else "which repeat others"
        warn(f"left out {dropped} of {pooled.m + dropped} images, {which}")
    with live_text(quiet) as show:
        comparison = crossval.compare(
            pooled,
            plan,
            pooled.source,
            pooled.classes,
            dropped,
            lambda progress: show(_live(plan, progress)),
            prepare_of(pooled, plan, phases(quiet)),
        )
    comparison.require_sound()
    measure = by.replace("-", "_")
    if format == "json":
        put(json_line(compare.to_dict(comparison, measure)))
    elif not quiet:
        put(format_text(comparison, measure, stdout_styling()))


def _plan(
    rates: list[str] | None,
    l2: list[str] | None,
    iterations: int,
    folds: int,
    repeats: int,
    seed: int,
    features: str,
) -> Plan:
    from catclf.evaluation.public import plan_of

    numbers = _numbers("--learning-rate", rates), _numbers("--l2", l2)
    return plan_of(*numbers, iterations, folds, repeats, seed, features)


def _numbers(option: str, texts: list[str] | None) -> list[float]:
    """Numbers separated by commas, of an option that may be repeated."""
    from catclf.errors import SettingsError

    try:
        return [float(part) for text in texts or () for part in text.split(",")]
    except ValueError:
        typed = printable(" ".join(texts or ()))
        raise SettingsError(f"{option} {typed}: give numbers with commas, as 0.01,0.001") from None


def _pooled(paths: list[Path] | None, reading: ReadOptions, distinct: bool) -> tuple[Dataset, int]:
    """All sources as one data set, and how many images were left out."""
    from catclf.datasets import bundled, open_dataset
    from catclf.evaluation import crossval

    first = open_dataset(paths[0] if paths else bundled()[0], "train", reading)
    same = replace(reading, positive=reading.positive or first.classes[1], size=first.size)
    parts = [first, *(open_dataset(path, "train", same) for path in (paths or [])[1:])]
    for part in parts:
        for note in part.notes:
            warn(note)
    pooled = crossval.pool(parts)
    if not distinct:
        return pooled, 0
    rows = crossval.distinct(pooled)
    return crossval.rows_of(pooled, rows), pooled.m - len(rows)


def _live(plan: Plan, progress: Progress) -> str:
    rows = [("", "training cost", "held-out log loss")]
    means = zip(progress.trained.tolist(), progress.held_out.tolist(), strict=True)
    for candidate, (trained, out) in zip(plan.candidates, means, strict=True):
        rows.append((f"{candidate!s:<20}", f"{trained:z.6f}", f"{out:z.6f}"))
    return "\n".join([*aligned(rows, "<>>"), f"step {progress.step} of {progress.total}"])


def format_text(comparison: Comparison, measure: str, style: Styling) -> str:
    """The table and the best candidate for people, in 80 columns but for long names."""
    plan, positive = comparison.plan, printable(comparison.classes[1])
    head = (
        f"{printable(comparison.source)}: {counted(comparison.images, 'image')}, "
        f"{comparison.positives} {positive} "
        f"({100 * comparison.positives / comparison.images:.1f} %)"
    )
    repeats = f" x {plan.repeats} repeats" if plan.repeats > 1 else ""
    sign = "+-" if style.ascii_only else "±"
    how = (
        f"{plan.folds} folds{repeats}, seed {plan.seed}, {counted(plan.iterations, 'step')}; "
        f"mean {sign} std over held-out folds"
    )
    lines = [style.bold(head), *wrap(how, 80), "", *_table(comparison, measure, style)]
    return "\n".join([*lines, "", *_advice(comparison, measure, style)]) + "\n"


def _table(comparison: Comparison, measure: str, style: Styling) -> list[str]:
    """A row for each candidate, the best one in bold."""
    from catclf.evaluation.compare import COLUMNS

    names = ("rate", "λ", "balanced acc.", "accuracy", "ROC AUC", "log loss")
    rows = [tuple(map(style.dim, names))]
    best = comparison.best(measure)
    for result in comparison.results:
        cells = [f"{result.candidate.learning_rate:g}", f"{result.candidate.l2:g}"]
        if result.diverged is None:
            cells += [_cell(result, name, style) for name in COLUMNS]
        rows.append(tuple(map(style.bold, cells)) if result is best else tuple(cells))
    lines = aligned(rows, "<>" + ">" * len(COLUMNS))
    for i, result in enumerate(comparison.results, 1):
        if result.diverged is not None:
            lines[i] += f"  diverged at step {result.diverged}"
    return lines


def _cell(result: Result, name: str, style: Styling) -> str:
    sign = "+-" if style.ascii_only else "±"
    mean, std = result.mean(name), result.std(name)
    if name in ("accuracy", "balanced_accuracy"):
        return f"{100 * mean:z.1f} {sign} {100 * std:.1f} %"
    return f"{mean:z.3f} {sign} {std:.3f}"


def _advice(comparison: Comparison, measure: str, style: Styling) -> list[str]:
    from catclf.evaluation.compare import NAMES

    best = comparison.best(measure)
    assert best is not None
    options = options_of(comparison.settings(best.candidate))
    lines = [style.bold(f"take {options}") + f": the best {NAMES[measure]}"]
    alike = comparison.as_good(measure)
    if alike:
        others = ", ".join(str(result.candidate) for result in alike)
        lines += wrap(f"within two standard errors, as good: {others}", 80)
    lines.append("no test set was used: keep yours for the one model that you train with this")
    return lines
