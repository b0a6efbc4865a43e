"""``catclf data verify``: find what would spoil a result."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catclf.cli.json_text import json_line
from catclf.cli.open_data import open_splits, reading_with_progress, warn_of_notes
from catclf.cli.options import (
    Classes,
    Columns,
    JsonOrText,
    Keys,
    LabelFrom,
    MaxPixels,
    Outside,
    RemoteRows,
    Size,
    Truncated,
)
from catclf.cli.signals import ExitCode
from catclf.cli.stdout import as_options, put
from catclf.text import counted, printable

if TYPE_CHECKING:
    from catclf.datasets.checks import Finding, Part


def verify(
    ctx: typer.Context,
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="Data sets.")],
    size: Size = None,
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
    """Look for duplicates, leaks between parts, odd class balance and bad images.

    Exits with 1 when it finds any. Several sources are taken as parts of one data set.

    Example: catclf data verify train.h5 test.h5
    """
    from catclf.datasets.checks import findings, measure

    measured = []
    names = [source.name or str(source) for source in sources]
    with reading_with_progress(ctx, skip_bad=True) as reading:
        for source, name in zip(sources, names, strict=True):
            parts = open_splits(source, replace(reading, every_class=False))
            warn_of_notes(parts.values())
            for part, data in parts.items():
                label = printable(name if names.count(name) == 1 else source)
                label += f" {part}" if len(parts) > 1 else ""
                measured.append(measure(label, data))
    problems = list(findings(measured, size or 64))
    put(_json(measured, problems) if format == "json" else _text(measured, problems))
    if problems:
        raise typer.Exit(ExitCode.NO)


def _json(parts: list[Part], problems: list[Finding]) -> str:
    content = {
        "checked": [{"split": each.label, "images": len(each.rows)} for each in parts],
        "problems": [{"kind": problem.kind, "message": problem.message} for problem in problems],
    }
    return json_line(content)


def _text(parts: list[Part], problems: list[Finding]) -> str:
    from catclf.datasets.digests import DISTANCE, LEVELS

    total = sum(len(part.rows) for part in parts)
    each = ", ".join(f"{part.label} {len(part.rows)}" for part in parts)
    looked_for = (
        f"looked for: equal images; near-duplicates (hashes within {DISTANCE} of 64 bits and "
        f"thumbnails within {LEVELS:g} grey levels); labels of duplicates; class balance; empty, "
        "unreadable, small and scrambled images"
    )
    lines = [
        *(as_options(problem.message) for problem in problems),
        f"checked {counted(total, 'image')}: {each}",
        textwrap.fill(looked_for, 79, subsequent_indent="  "),
        f"problems: {len(problems) or 'none'}",
    ]
    return "\n".join(lines) + "\n"
