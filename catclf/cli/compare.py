"""``catclf compare``: which settings to train with, by cross-validation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from catclf.cli.json_text import json_line
from catclf.cli.open_data import reading_with_progress, warn_of_idle_fit
from catclf.cli.options import (
    DATA,
    TRAINING,
    JsonOrText,
    Quiet,
    Reading,
    option,
    setting,
)
from catclf.cli.stdout import options_of, put, warn
from catclf.errors import SettingsError
from catclf.settings import AUTO, Settings
from catclf.terminal.style import stdout_styling
from catclf.text import aligned, counted, printable

if TYPE_CHECKING:
    from catclf.datasets import Dataset, ReadOptions
    from catclf.evaluation.compare import (
        Candidate,
        Comparison,
        LearningCurve,
        Plan,
        Prepare,
        Progress,
        Result,
    )
    from catclf.terminal.style import Styling


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
    reading: Reading,
    distinct: Annotated[
        bool,
        option(
            "--distinct/--no-distinct",
            help="Leave out images that repeat others: they would be in both sides of a fold.",
            group=DATA,
        ),
    ] = True,
    features: Annotated[
        list[str] | None,
        option(
            help="Input features: pixels, hog, patches, network, or several: hog,patches.",
            metavar="KIND,KIND",
            shown="pixels",
            group=TRAINING,
        ),
    ] = None,
    learning_rate: Annotated[
        list[str] | None,
        option(
            "--learning-rate",
            "--lr",
            help="Learning rates α of gradient descent, as 0.01,0.001; none: to the optimum.",
            metavar="N,N",
            shown="0.01,0.005,0.001 for pixels without --l2 auto",
            group=TRAINING,
        ),
    ] = None,
    l2: Annotated[
        list[str] | None,
        option(
            "--l2",
            help="Penalties λ, each with each rate; auto selects one on the training folds.",
            metavar="N,N",
            shown="0; other features auto",
            group=TRAINING,
        ),
    ] = None,
    class_weight: Annotated[
        list[str] | None,
        option(
            help="none, balanced, or both: none,balanced.",
            metavar="WORD,WORD",
            shown="none",
            group=TRAINING,
        ),
    ] = None,
    sizes: Annotated[
        list[str] | None,
        option(
            help="Learning curve: numbers of training images, as 50,100,200, for one candidate.",
            metavar="N,N",
        ),
    ] = None,
    iterations: Annotated[
        int, setting("iterations", help="Steps of each run.")
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
) -> None:
    """Compare features, learning rates, penalties and class weights on the same stratified folds.

    Where a source has parts only its training part is used. The JSON feeds catclf report --compare.

    With --sizes one candidate is trained on ever more images instead: whether more would help.

    Example: catclf compare train.h5 --lr 0.01,0.005,0.001 --l2 0,1 --repeats 3
    """
    from catclf.evaluation import compare as core
    from catclf.evaluation.public import plan_of, prepare_of
    from catclf.terminal.progress import phases

    kinds, rates, penalties, weights, wanted = (
        ",".join(each or []) for each in (features, learning_rate, l2, class_weight, sizes)
    )
    plan = plan_of(
        (kinds or "pixels").split(","),
        _numbers("--learning-rate", rates),
        _numbers("--l2", penalties, auto=True),
        (weights or "none").split(","),
        (iterations, folds, repeats, seed),
    )
    warn_of_idle_fit(reading["fit"], data or [])
    largest = max((c.features for c in plan.candidates), key=_default_size)
    with reading_with_progress(reading, quiet, features=largest) as how:
        pooled, dropped = _pooled(data, how, distinct)
    if dropped and not quiet:
        which = "which repeats another" if dropped == 1 else "which repeat others"
        warn(f"left out {dropped} of {pooled.m + dropped} images, {which}")
    groups, measure = pooled.grouping(folds), by.replace("-", "_")
    for note in groups.notes:
        warn(note)
    found = groups.groups, prepare_of(pooled, plan, phases(quiet))
    if wanted:
        numbers = _whole("--sizes", wanted)
        curve = core.learning_curve(pooled, plan, numbers, pooled.source, found[1], found[0])
        content, text = curve.to_dict(measure), format_curve(curve, measure, stdout_styling())
    else:
        comparison = _compared(pooled, plan, dropped, found, quiet)
        content = core.to_dict(comparison, measure)
        text = format_text(comparison, measure, stdout_styling())
    if format == "json":
        put(json_line(content))
    elif not quiet:
        put(text)


def _compared(
    data: Dataset, plan: Plan, dropped: int, found: tuple[Any, Prepare], quiet: bool
) -> Comparison:
    """The comparison, its curves in sight while they are made."""
    from catclf.evaluation import compare as core
    from catclf.terminal.progress import live_text

    groups, prepare = found
    with live_text(quiet) as show:
        comparison = core.compare(
            data,
            plan,
            data.source,
            data.classes,
            dropped,
            lambda progress: show(_live(progress)),
            prepare,
            groups,
        )
    comparison.require_sound()
    return comparison


def _default_size(kind: str) -> int:
    from catclf.features import class_of

    return int(class_of(kind).default_size)


def _numbers(name: str, text: str, auto: bool = False) -> list[Any]:
    """Numbers separated by commas; with ``auto`` this word stays as it is."""
    try:
        given = text.split(",") if text else []
        return [each if auto and each == AUTO else float(each) for each in given]
    except ValueError:
        typed = printable(text)
        raise SettingsError(f"{name} {typed}: give numbers with commas, as 0.01,0.001") from None


def _whole(name: str, text: str) -> list[int]:
    numbers = _numbers(name, text)
    if not all(number.is_integer() for number in numbers):
        raise SettingsError(f"{name} {printable(text)}: give whole numbers with commas, as 50,100")
    return [int(number) for number in numbers]


def _pooled(paths: list[Path] | None, reading: ReadOptions, distinct: bool) -> tuple[Dataset, int]:
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
    alone = core.distinct(pooled) if distinct else pooled
    return alone, pooled.m - alone.m


def _live(progress: Progress) -> str:
    rows = [("", "training cost", "held-out log loss")]
    means = zip(progress.trained.tolist(), progress.held_out.tolist(), strict=True)
    for candidate, (trained, out) in zip(progress.candidates, means, strict=True):
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
        f"{plan.folds} folds{repeats}, seed {plan.seed}"
        f"{', ' + counted(plan.iterations, 'step') if plan.descends else ''}; "
        f"mean {sign} std over held-out folds"
    )
    lines = [style.bold(head), *wrap(how, 80), "", *_table(comparison, measure, style)]
    return "\n".join([*lines, "", *_advice(comparison, measure, style)]) + "\n"


def _table(comparison: Comparison, measure: str, style: Styling) -> list[str]:
    """A row for each candidate, the best one in bold; columns that tell candidates apart."""
    from catclf.evaluation.compare import COLUMNS

    candidates = comparison.plan.candidates
    told: list[tuple[str, Callable[[Candidate], str]]] = [
        ("features", lambda c: c.features),
        ("weights", lambda c: c.class_weight),
        ("rate", lambda c: "optimum" if c.learning_rate is None else f"{c.learning_rate:g}"),
        ("λ", lambda c: c.penalty),
    ]
    shown = [
        (name, cell)
        for name, cell in told
        if name in ("rate", "λ") or len({cell(c) for c in candidates}) > 1
    ]
    names = (*(name for name, _ in shown), "balanced acc.", "accuracy", "ROC AUC", "log loss")
    rows = [tuple(map(style.dim, names))]
    best = comparison.best(measure)
    for result in comparison.results:
        cells = [cell(result.candidate) for _, cell in shown]
        if result.diverged is None:
            cells += [_cell(result, name, style) for name in COLUMNS]
        rows.append(tuple(map(style.bold, cells)) if result is best else tuple(cells))
    lines = aligned(rows, "<" * (len(shown) - 1) + ">" + ">" * len(COLUMNS))
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
    options = options_of(best.candidate.settings())
    lines = [style.bold(f"take {options}") + f": the best {NAMES[measure]}"]
    alike = comparison.as_good(measure)
    if alike:
        others = ", ".join(str(result.candidate) for result in alike)
        lines += wrap(f"as good, as far as these folds can tell: {others}", 80)
    lines.append("no test set was used: keep yours for the one model that you train with this")
    return lines


def format_curve(curve: LearningCurve, measure: str, style: Styling) -> str:
    """A row for each size, with a 95 % interval of its mean, and what the last step brought."""
    from catclf.evaluation.compare import COLUMNS, NAMES, interval_of_differences

    plan, percent = curve.plan, measure in ("accuracy", "balanced_accuracy")
    (candidate,) = plan.candidates
    head = f"{printable(curve.source)}: {candidate or 'pixels'}, {plan.folds} folds"
    rows = [("images", *(NAMES[name] for name in COLUMNS), f"95 % of {NAMES[measure]}")]
    for i, size in enumerate(curve.sizes):
        means = [float(curve.scores[name][i].mean()) for name in COLUMNS]
        ends = interval_of_differences(curve.scores[measure][i], plan.folds)
        low, high = (min(max(end, 0.0), 1.0 if measure != "log_loss" else end) for end in ends)
        interval = (
            f"{100 * low:.1f} to {100 * high:.1f} %" if percent else f"{low:.3f} to {high:.3f}"
        )
        cells = [
            f"{100 * mean:.1f} %" if "accuracy" in name else f"{mean:.3f}"
            for name, mean in zip(COLUMNS, means, strict=True)
        ]
        rows.append((str(size), *cells, interval))
    gain, (low, high) = curve.gain(measure)
    before, last = curve.sizes[-2:]
    line = f"from {before} to {last} images: "
    if low <= 0 <= high:
        line += f"it cannot be told whether {NAMES[measure]} changes"
    elif percent:
        line += f"{100 * gain:+.1f} points ({100 * low:.1f} to {100 * high:.1f})"
    else:
        line += f"{gain:+.4f} {NAMES[measure]} ({low:.4f} to {high:.4f})"
    return "\n".join([style.bold(head), "", *aligned(rows, ">" * 6), "", line]) + "\n"
