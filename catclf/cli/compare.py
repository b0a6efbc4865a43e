"""``catclf compare``: which settings to train with, by cross-validation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from catclf.cli.json_text import json_line
from catclf.cli.open_data import reading_with_progress, warn_of_idle_fit
from catclf.cli.options import (
    DATA,
    TRAINING,
    Features,
    FitOption,
    JsonOrText,
    Positive,
    Quiet,
    Size,
    SkipBad,
)
from catclf.cli.stdout import put, warn
from catclf.terminal.style import stdout_styling
from catclf.text import counted, printable

if TYPE_CHECKING:
    from catclf.datasets import Dataset, Reading
    from catclf.evaluation.compare import Comparison, Plan, Result
    from catclf.evaluation.crossval import Progress
    from catclf.samples import Labelled
    from catclf.terminal.style import Styling


def compare(
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
        typer.Option(
            help="Leave out images that repeat others: they would be in both sides of a fold.",
            rich_help_panel=DATA,
        ),
    ] = True,
    features: Annotated[
        Features,
        typer.Option(
            help="What is weighed. Patches are learned from all images, without their labels.",
            rich_help_panel=TRAINING,
        ),
    ] = "pixels",
    learning_rate: Annotated[
        str | None,
        typer.Option(
            "--learning-rate",
            "--lr",
            help="Rates.",
            show_default="0.01,0.001,0.0001; 1.9 for other features",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    l2: Annotated[
        str | None,
        typer.Option(
            "--l2",
            help="Penalties λ, each with each rate.",
            show_default="0; 0.01,0.03,0.1,0.3 for other features",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    iterations: Annotated[
        int, typer.Option(help="Steps of each run.", rich_help_panel=TRAINING)
    ] = 2000,
    folds: Annotated[int, typer.Option(help="Parts, each held out once.")] = 5,
    repeats: Annotated[int, typer.Option(help="Divisions into folds.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the divisions.")] = 0,
    by: Annotated[
        Literal["balanced-accuracy", "accuracy", "roc-auc", "log-loss"],
        typer.Option(help="What decides."),
    ] = "balanced-accuracy",
    format: JsonOrText = "text",
    quiet: Quiet = False,
) -> None:
    """Compare learning rates and penalties on the same stratified folds.

    Where a source has parts only its training part is used. The JSON feeds catclf report --compare.

    Example: catclf compare train.h5 --lr 0.01,0.005,0.001 --l2 0,1 --repeats 3
    """
    from catclf.evaluation import compare, crossval
    from catclf.terminal.progress import live_text, phases

    usual = ("0.01,0.001,0.0001", "0") if features == "pixels" else ("1.9", "0.01,0.03,0.1,0.3")
    plan = replace(
        _plan(learning_rate or usual[0], l2 or usual[1], iterations, folds, repeats, seed),
        features=features,
    )
    warn_of_idle_fit(fit, data or [])
    with reading_with_progress(
        size, fit, skip_bad, quiet, positive=positive, features=features
    ) as reading:
        pooled, dropped = _pooled(data, reading, distinct)
    if dropped and not quiet:
        which = "which repeats another" if dropped == 1 else "which repeat others"
        warn(f"left out {dropped} of {pooled.m + dropped} images, {which}")
    rows: Labelled = pooled
    if features != "pixels":
        from catclf.features.prepare import prepare
        from catclf.training.options import TrainOptions

        flip = TrainOptions(features).mirrors
        rows = prepare(pooled, features, flip=flip, seed=seed, phase=phases(quiet))[1]
    with live_text(quiet) as show:
        found = crossval.compare(
            rows,
            plan,
            pooled.source,
            pooled.classes,
            dropped,
            lambda progress: show(_live(plan, progress)),
        )
    found.require_sound()
    measure = by.replace("-", "_")
    if format == "json":
        put(json_line(compare.facts(found, measure)))
    elif not quiet:
        put(format_text(found, measure, stdout_styling()))


def _plan(rates: str, l2: str, iterations: int, folds: int, repeats: int, seed: int) -> Plan:
    from catclf.evaluation.compare import Candidate, Plan

    candidates = tuple(
        Candidate(rate, penalty)
        for penalty in _numbers("--l2", l2)
        for rate in _numbers("--learning-rate", rates)
    )
    return Plan(candidates, iterations, folds, repeats, seed)


def _numbers(option: str, text: str) -> list[float]:
    """Numbers separated by commas."""
    from catclf.errors import SettingsError

    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise SettingsError(
            f"{option} {text!r}: give numbers with commas, as in 0.01,0.001"
        ) from None


def _pooled(paths: list[Path] | None, reading: Reading, distinct: bool) -> tuple[Dataset, int]:
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
    lines = [f"{'':<20}  training cost  held-out log loss"]
    for candidate, trained, out in zip(
        plan.candidates, progress.trained.tolist(), progress.held_out.tolist(), strict=True
    ):
        lines.append(f"{candidate!s:<20}  {trained:>13.6f}  {out:>17.6f}")
    return "\n".join([*lines, f"step {progress.step} of {progress.total}"])


def format_text(found: Comparison, measure: str, style: Styling) -> str:
    """The table and what to take, for people, in 80 columns but for long names."""
    from catclf.evaluation.compare import COLUMNS

    plan, positive = found.plan, printable(found.classes[1])
    head = (
        f"{printable(found.source)}: {counted(found.images, 'image')}, "
        f"{found.positives} {positive} ({100 * found.positives / found.images:.1f} %)"
    )
    repeats = f" x {plan.repeats} repeats" if plan.repeats > 1 else ""
    how = (
        f"{plan.folds} folds{repeats}, seed {plan.seed}, {counted(plan.iterations, 'step')}; "
        "mean and standard deviation on held-out folds"
    )
    names = ("balanced acc.", "accuracy", "ROC AUC", "log loss")
    headings = "".join(f"{name:>16}" for name in names)
    lines = [style.bold(head), *wrap(how, 80), "", style.dim(f"{'rate':<8}{'λ':>6}{headings}")]
    best = found.best(measure)
    for result in found.results:
        line = f"{result.candidate.learning_rate:<8g}{result.candidate.l2:>6g}"
        if result.diverged is None:
            line += "".join(f"{_cell(result, name, style):>16}" for name in COLUMNS)
        else:
            line += f"   diverged at step {result.diverged}"
        lines.append(style.bold(line) if result is best else line)
    return "\n".join([*lines, "", *_advice(found, measure, style)]) + "\n"


def _cell(result: Result, name: str, style: Styling) -> str:
    sign = "+-" if style.ascii_only else "±"
    mean, spread = result.mean(name), result.spread(name)
    if name in ("accuracy", "balanced_accuracy"):
        return f"{100 * mean:.1f} {sign} {100 * spread:.1f} %"
    return f"{mean:.3f} {sign} {spread:.3f}"


def _advice(found: Comparison, measure: str, style: Styling) -> list[str]:
    from catclf.evaluation.compare import NAMES
    from catclf.report.sections import train_options

    best = found.best(measure)
    assert best is not None
    lines = [
        style.bold(f"take {train_options(best.candidate, found.plan.features)}")
        + f": the best {NAMES[measure]}"
    ]
    alike = found.as_good(measure)
    if alike:
        others = ", ".join(str(result.candidate) for result in alike)
        lines += wrap(f"within the spread of these folds, as good: {others}", 80)
    lines.append("no test set was used: keep yours for the one model that you train with this")
    return lines
