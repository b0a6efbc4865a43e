"""``catclf data suspects``: labels that are probably wrong."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catclf.cli.json_text import json_line
from catclf.cli.open_data import reading_with_progress, settled, warn_of_idle_fit
from catclf.cli.options import (
    OUTPUT,
    Classes,
    Columns,
    Features,
    FitOption,
    Keys,
    LabelFrom,
    MaxPixels,
    Outside,
    Positive,
    Quiet,
    RemoteRows,
    Size,
    SkipBad,
    SourcePath,
    Truncated,
    Workers,
    ends_in,
    option,
    setting,
)
from catclf.cli.output_paths import require_output
from catclf.cli.stdout import put, warn
from catclf.settings import AUTO, Settings
from catclf.text import aligned, counted, printable

if TYPE_CHECKING:
    from catclf.evaluation.suspects import Suspect

FIELDS = ("index", "name", "label", "other", "probability", "sure")


def suspects(
    ctx: typer.Context,
    source: SourcePath,
    features: Features = AUTO,
    size: Size = None,
    fit: FitOption = None,
    positive: Positive = None,
    skip_bad: SkipBad = False,
    seed: Annotated[int, setting("seed")] = Settings.seed,
    cache: Annotated[Path | None, setting("cache", hidden=False)] = Settings.cache,
    workers: Workers = None,
    format: Annotated[
        str,
        option(
            help="How to print: text, csv or jsonl.",
            choices=("text", "csv", "jsonl"),
            group=OUTPUT,
        ),
    ] = "text",
    output: Annotated[
        Path | None,
        option(
            "--output",
            "-o",
            help="Page of the images to write.",
            metavar="FILE",
            check=ends_in(".html", ".htm"),
            group=OUTPUT,
        ),
    ] = None,
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
    """List labels that are probably wrong, the most doubted first, to be looked at.

    Each image is judged by models that were trained without it. An image is suspect where they are
    as sure of the other class as they are of images of that class on average; those that they have
    wrong, but less surely, come after these. Where a source has parts its training part is used.

    Example: catclf data suspects photos --features network -o suspects.html
    """
    from catclf.datasets import open_dataset
    from catclf.evaluation.suspects import Suspect
    from catclf.evaluation.suspects import suspects as find
    from catclf.terminal.progress import phases
    from catclf.training import prepare_job

    if output is not None:
        require_output(output, [source])
    warn_of_idle_fit(fit, [source])
    settings = settled(ctx, source, Settings(features=features, l2=AUTO, seed=seed, cache=cache))
    from catclf.training.choice import encoder_for_training

    encoder = encoder_for_training(settings, workers)
    with reading_with_progress(
        ctx, quiet, features=settings.features, workers=workers, encoder=encoder
    ) as reading:
        data = open_dataset(source, "train", reading)
    for note in data.notes:
        warn(note)
    data.require_both_classes()
    job = prepare_job(data, settings, workers=workers, phase=phases(quiet))
    for note in job.notes + job.resolved.notes:
        warn(note)
    found, looked_at = list[Suspect](), 0
    if job.resolved.scored is not None:
        rows, Z = job.resolved.scored
        found, looked_at = find(Z, data.Y[:, rows], data.classes, data.names, rows), len(rows)
    if format == "text":
        put(_text(found, looked_at, printable(data.source)))
    else:
        put(_csv(found) if format == "csv" else "".join(json_line(s.to_dict()) for s in found))
    if output is not None:
        from catclf.report import suspects_page
        from catclf.storage.files import replacing_path

        with replacing_path(output) as file:
            file.write_text(suspects_page(data, found, looked_at), encoding="utf-8")


def _text(found: list[Suspect], looked_at: int, source: str) -> str:
    sure = sum(each.sure for each in found)
    head = f"{source}: {counted(sure, 'suspect label')} among {counted(looked_at, 'image')}"
    lines = [head if looked_at else f"{source}: too few images to judge labels by models of others"]
    for title, group in (("suspect", True), ("less sure", False)):
        rows = [
            (f"{100 * s.probability:.2f} %", s.label, s.other, s.display_name)
            for s in found
            if s.sure == group
        ]
        if rows:
            heads = ("P(other)", "label", "other", "image")
            lines += ["", title, *aligned([heads, *rows], "><<<")]
    return "\n".join(lines) + "\n"


def _csv(found: list[Suspect]) -> str:
    """A line for each, quoted as RFC 4180."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for each in found:
        facts = each.to_dict()
        writer.writerow([facts[name] for name in FIELDS])
    return text.getvalue()
