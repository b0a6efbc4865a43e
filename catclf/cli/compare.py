"""``catclf compare``: which settings to train with, by cross-validation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from catclf.cli.choosing import phases
from catclf.cli.jsons import json_line
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
from catclf.cli.reading import reading_with_progress, warn_of_idle_fit
from catclf.cli.streams import put, warn
from catclf.terminal.style import stdout_styling

if TYPE_CHECKING:
    from catclf.datasets import Dataset, Reading
    from catclf.evaluation.compare import Plan
    from catclf.evaluation.crossval import Progress
    from catclf.samples import Labelled


def compare(
    data: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[SOURCE]...",
            help="Pictures: HDF5 files, class folders, CSV or TSV tables, .npz, taken together.",
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
            help="Leave out pictures that repeat others: they would be in both sides of a fold.",
            rich_help_panel=DATA,
        ),
    ] = True,
    features: Annotated[
        Features,
        typer.Option(
            help="What is weighed. Patches are learned from all pictures, without their labels.",
            rich_help_panel=TRAINING,
        ),
    ] = "pixels",
    learning_rate: Annotated[
        str | None,
        typer.Option(
            "--learning-rate",
            "--lr",
            help="Rates.",
            show_default="0.01,0.001,0.0001; 1.9 for hog and patches",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    l2: Annotated[
        str | None,
        typer.Option(
            "--l2",
            help="Penalties λ, each with each rate.",
            show_default="0; 0.01,0.03,0.1,0.3 for hog and patches",
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
    from catclf.terminal.progress import live_text

    usual = ("0.01,0.001,0.0001", "0") if features == "pixels" else ("1.9", "0.01,0.03,0.1,0.3")
    plan = replace(
        _plan(learning_rate or usual[0], l2 or usual[1], iterations, folds, repeats, seed),
        features=features,
    )
    warn_of_idle_fit(fit, data or [])
    with reading_with_progress(size, fit, skip_bad, quiet, positive=positive) as reading:
        pooled, dropped = _pooled(data, reading, distinct)
    if dropped and not quiet:
        which = "which repeats another" if dropped == 1 else "which repeat others"
        warn(f"left out {dropped} of {pooled.m + dropped} pictures, {which}")
    rows: Labelled = pooled
    if features != "pixels":
        from catclf.features.prepare import prepare

        rows = prepare(pooled, features, seed=seed, phase=phases(quiet))[1]
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
        put(compare.text(found, measure, stdout_styling()))


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
    """All sources as one data set, and how many pictures were left out."""
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
