"""``catclf check``: the gradient computed in every form, compared and timed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from catclf.cli.open_data import reading_with_progress
from catclf.cli.options import Data, JsonOrText, Reading, option
from catclf.cli.shell import ExitCode, json_line, put
from catclf.terminal.stream import stdout_styling
from catclf.text import aligned, blocks, counted, printable

if TYPE_CHECKING:
    from catclf.training.check import Example, GradientCheck


def check(
    *,
    data: Data = None,
    reading: Reading,
    examples: Annotated[int, option(low=1, help="Images, evenly chosen; the loop is slow.")] = 8,
    directions: Annotated[int, option(low=1, help="Random directions for finite differences.")] = 5,
    l2: Annotated[float, option("--l2", low=0.0, help="Penalty λ in the cost.")] = 1.0,
    seed: Annotated[int, option(low=0, help="For the point and the directions.")] = 0,
    format: JsonOrText = "text",
) -> None:
    """Prove the mathematics: the gradient in five forms, and the worked examples of the course.

    Exit code 0 only if all agree, else 1. Times are of this run, on one core.

    Example: catclf check --data train_catvnoncat.h5 --examples 64
    """
    from catclf.datasets import bundled, open_source, to_dataset
    from catclf.training import check as proof

    with reading_with_progress(reading, [data]) as how:
        listing = open_source(data or bundled()[0], how).split("train")
        batch = to_dataset(listing.select(proof.evenly(len(listing), examples)))
    worked = proof.examples()
    at = proof.place(batch.images[:], batch.Y, l2, seed)
    gradient = proof.check_gradient(at, directions, seed)
    agrees = gradient.agrees and all(example.agrees for example in worked)
    if format == "json":
        put(json_line({"agrees": agrees, **_to_dict(worked, gradient)}))
    else:
        put(_text(worked, gradient, batch.source, agrees))
    if not agrees:
        raise typer.Exit(ExitCode.NO)


def _to_dict(worked: list[Example], gradient: GradientCheck) -> dict[str, Any]:
    pairs = [
        {
            "forms": [pair.first, pair.second],
            "difference": None if pair.difference != pair.difference else pair.difference,
            "allowed": pair.allowed,
            "agrees": pair.agrees,
        }
        for pair in gradient.pairs
    ]
    examples = [
        {"name": e.name, "found": e.result, "expected": e.expected, "agrees": e.agrees}
        for e in worked
    ]
    names = ("images", "features", "l2", "speedup", "seconds")
    return {n: getattr(gradient, n) for n in names} | {"pairs": pairs, "examples": examples}


def _text(worked: list[Example], gradient: GradientCheck, source: str, agrees: bool) -> str:
    from catclf.maths import graph
    from catclf.training import check as proof

    style = stdout_styling()
    marks = {good: style.verdict(good, "ok" if good else "NO") for good in (True, False)}
    found = [
        (marks[each.agrees], each.name, "  ".join(f"{value:z.9g}" for value in each.result))
        for each in worked
    ]
    fastest = gradient.seconds["vectorized"]
    times = [
        (form, f"{1000 * seconds:.3f}", f"{seconds / fastest:,.1f} x")
        for form, seconds in gradient.seconds.items()
    ]
    pairs = [
        (marks[p.agrees], f"{p.first} = {p.second}", f"{p.difference:.1e}", f"{p.allowed:.0e}")
        for p in gradient.pairs
    ]
    images = f"{counted(gradient.images, 'image')} of {printable(source)}"
    point = f"{images}, {gradient.features} features, λ = {gradient.l2:g}"
    end = style.verdict(agrees, "all agree" if agrees else "they do not agree")
    return blocks(
        [style.bold("J = 3(a + bc): forward values, then derivatives back from J")],
        graph.table(proof.course_graph()),
        [style.bold("the course's examples"), *aligned(found, "<<<")],
        [style.bold(f"the gradient at a random point: {point}")],
        style.table(("form", "milliseconds", ""), times, "<>>"),
        style.table(("", "pair", "relative difference", "allowed"), pairs, "<<>>"),
        [f"{end}; vectorized against the loop in this run, times as fast: {gradient.speedup:.0f}"],
    )
