"""``catclf check``: the gradient computed in every form, compared and timed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from catclf.cli.json_text import json_line
from catclf.cli.open_data import reading_of, warn_of_idle_fit
from catclf.cli.options import (
    Classes,
    Columns,
    Data,
    FitOption,
    JsonOrText,
    Keys,
    LabelFrom,
    MaxPixels,
    Outside,
    Positive,
    RemoteRows,
    Size,
    SkipBad,
    Truncated,
    option,
)
from catclf.cli.signals import ExitCode
from catclf.cli.stdout import put
from catclf.terminal.style import stdout_styling
from catclf.text import aligned, counted, printable

if TYPE_CHECKING:
    from catclf.datasets import Dataset
    from catclf.terminal.style import Styling
    from catclf.training.check import Example, GradientCheck


def check(
    ctx: typer.Context,
    data: Data = None,
    size: Size = None,
    fit: FitOption = None,
    skip_bad: SkipBad = False,
    positive: Positive = None,
    examples: Annotated[
        int, option(low=1, metavar="N", help="Images, evenly chosen; the loop is slow.")
    ] = 8,
    directions: Annotated[
        int, option(low=1, metavar="N", help="Random directions for finite differences.")
    ] = 5,
    l2: Annotated[float, option("--l2", low=0.0, metavar="N", help="Penalty λ in the cost.")] = 1.0,
    seed: Annotated[int, option(low=0, metavar="N", help="For the point and the directions.")] = 0,
    format: JsonOrText = "text",
    label_from: LabelFrom = "folder",
    classes: Classes = None,
    columns: Columns = None,
    keys: Keys = None,
    max_pixels: MaxPixels = None,
    truncated: Truncated = False,
    outside: Outside = False,
    allow_remote_rows: RemoteRows = False,
) -> None:
    """Prove the mathematics: the gradient in five forms, and the worked examples of the course.

    Exit code 0 only if all agree, else 1. Times are of this run, on one core.

    Example: catclf check --data train_catvnoncat.h5 --examples 64
    """
    from catclf.training import check as proof

    warn_of_idle_fit(fit, [data])
    batch = _batch(ctx, data, examples)
    worked = proof.examples()
    at = proof.place(batch.images[:], batch.Y, l2, seed)
    gradient = proof.check_gradient(at, directions, seed)
    agrees = gradient.agrees and all(example.agrees for example in worked)
    if format == "json":
        put(json_line(_to_dict(worked, gradient, agrees)))
    else:
        put(_format_text(worked, gradient, batch.source, agrees, stdout_styling()))
    if not agrees:
        raise typer.Exit(ExitCode.NO)


def _batch(ctx: typer.Context, path: Path | None, examples: int) -> Dataset:
    """A few images, evenly chosen; only they are read."""
    from catclf.datasets import bundled, open_source, to_dataset
    from catclf.training.check import evenly

    listing = open_source(path or bundled()[0], reading_of(ctx)).split("train")
    return to_dataset(listing.select(evenly(len(listing), examples)))


def _to_dict(worked: list[Example], gradient: GradientCheck, agrees: bool) -> dict[str, Any]:
    return {
        "agrees": agrees,
        "images": gradient.images,
        "features": gradient.features,
        "l2": gradient.l2,
        "speedup": gradient.speedup,
        "seconds": gradient.seconds,
        "pairs": [
            {
                "forms": [pair.first, pair.second],
                "difference": None if pair.difference != pair.difference else pair.difference,
                "allowed": pair.allowed,
                "agrees": pair.agrees,
            }
            for pair in gradient.pairs
        ],
        "examples": [
            {
                "name": example.name,
                "found": example.result,
                "expected": example.expected,
                "agrees": example.agrees,
            }
            for example in worked
        ],
    }


def _format_text(
    worked: list[Example], gradient: GradientCheck, source: str, agrees: bool, style: Styling
) -> str:
    from catclf.maths import graph
    from catclf.training import check as proof

    lines = [style.bold("J = 3(a + bc): forward values, then derivatives back from J"), ""]
    lines += graph.table(proof.course_graph())
    lines += ["", style.bold("the course's examples"), *_example_lines(worked, style)]
    head = (
        f"the gradient at a random point: {counted(gradient.images, 'image')} of "
        f"{printable(source)}, {gradient.features} features, λ = {gradient.l2:g}"
    )
    lines += ["", style.bold(head), "", *_time_lines(gradient, style)]
    lines += ["", *_pair_lines(gradient, style)]
    end = "all agree" if agrees else "they do not agree"
    lines += [
        "",
        style.verdict(agrees, end) + "; vectorized against the loop in this run, times as fast: "
        f"{gradient.speedup:.0f}",
    ]
    return "\n".join(lines) + "\n"


def _example_lines(worked: list[Example], style: Styling) -> list[str]:
    rows = []
    for example in worked:
        values = "  ".join(f"{value:z.9g}" for value in example.result)
        rows.append((_mark(example.agrees, style), example.name, values))
    return aligned(rows, "<<<")


def _time_lines(gradient: GradientCheck, style: Styling) -> list[str]:
    rows = [tuple(map(style.dim, ("form", "milliseconds", "")))]
    fastest = gradient.seconds["vectorized"]
    for name, seconds in gradient.seconds.items():
        rows.append((name, f"{1000 * seconds:.3f}", f"{seconds / fastest:,.1f} x"))
    return aligned(rows, "<>>")


def _pair_lines(gradient: GradientCheck, style: Styling) -> list[str]:
    rows = [("", *map(style.dim, ("pair", "relative difference", "allowed")))]
    for pair in gradient.pairs:
        names = f"{pair.first} = {pair.second}"
        mark = _mark(pair.agrees, style)
        rows.append((mark, names, f"{pair.difference:.1e}", f"{pair.allowed:.0e}"))
    return aligned(rows, "<<>>")


def _mark(good: bool, style: Styling) -> str:
    return style.verdict(good, "ok" if good else "NO")
