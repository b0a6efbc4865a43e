"""``catclf report``: one HTML page about a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catclf.cli.open_data import open_labelled
from catclf.cli.options import (
    DATA,
    OUTPUT,
    ModelPath,
    PartOption,
    PositiveName,
    Quiet,
    SkipBad,
    Threshold,
    reads_sources,
)
from catclf.cli.output_paths import require_output
from catclf.cli.stdout import put, warn
from catclf.errors import SettingsError
from catclf.storage.files import replacing
from catclf.storage.location import locate
from catclf.text import printable, reason

if TYPE_CHECKING:
    from catclf.evaluation.compare import Comparison


@reads_sources
def report(
    model: ModelPath = Path("model.npz"),
    data: Annotated[
        Path | None,
        typer.Option(
            help="Labelled images to evaluate the model on.",
            show_default="none: no results",
            rich_help_panel=DATA,
        ),
    ] = None,
    part: PartOption = None,
    positive: PositiveName = None,
    skip_bad: SkipBad = False,
    threshold: Threshold = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            help="Output of catclf compare --format json.",
            show_default="none",
            rich_help_panel=DATA,
        ),
    ] = None,
    gallery: Annotated[
        int,
        typer.Option(
            min=0,
            max=500,
            help="Most confident correct and wrong predictions to show.",
            rich_help_panel=OUTPUT,
        ),
    ] = 6,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Page to write.", rich_help_panel=OUTPUT)
    ] = Path("report.html"),
    quiet: Quiet = False,
) -> None:
    """Write a page about a model: results, curves, weights, and predictions with their evidence.

    One file that needs no network and no scripts, for screens, phones and paper.

    Example: catclf report --data test_catvnoncat.h5 -o report.html
    """
    from catclf.evaluation import evaluate
    from catclf.model.file import load
    from catclf.report import page

    if data is None:
        _require_data(part=part, positive=positive, threshold=threshold, skip_bad=skip_bad)
    trained = load(model)
    require_output(output, [path for path in (model, data, compare) if path is not None])
    compared = None if compare is None else _comparison(compare)
    evaluated = None
    if data is not None:
        labelled = open_labelled(trained, data, part, positive, skip_bad=skip_bad, quiet=quiet)
        evaluated = evaluate.evaluate(trained, labelled, threshold), labelled
        for warning in evaluated[0].warnings():
            warn(warning)
    content = page(trained, model.name, evaluated, compared, gallery).encode("utf-8")
    with replacing(output) as file:
        file.write(content)
    if not quiet:
        put(f"{printable(output)}: {len(content) / 1000:.0f} kB\n")


def _require_data(**options: object) -> None:
    """Raise SettingsError for options that only say how to read or evaluate the data."""
    given = [f"`{name}`" for name, value in options.items() if value not in (None, False)]
    if given:
        verb = "is" if len(given) == 1 else "are"
        raise SettingsError(
            f"{', '.join(given)} {verb} of no use without labelled images: give `data`"
        )


def _comparison(path: Path) -> tuple[Comparison, str]:
    from catclf.errors import DataError
    from catclf.evaluation import compare

    try:
        content = locate(path).read()
    except OSError as error:
        raise DataError(f"{printable(path)}: {reason(error)}") from error
    try:
        return compare.from_json(content)
    except DataError as error:
        raise DataError(f"{printable(path)}: {error}") from error
