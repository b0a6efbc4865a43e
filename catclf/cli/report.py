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
from catclf.storage.files import replacing
from catclf.text import printable, reason

if TYPE_CHECKING:
    from catclf.evaluation.compare import Comparison


@reads_sources
def report(
    model: ModelPath = Path("model.npz"),
    data: Annotated[
        Path | None,
        typer.Option(
            help="Labelled images to judge the model on.",
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
            help="What catclf compare --format json printed.",
            show_default="none",
            rich_help_panel=DATA,
        ),
    ] = None,
    gallery: Annotated[
        int,
        typer.Option(
            min=0, max=500, help="Most confident rights and wrongs to show.", rich_help_panel=OUTPUT
        ),
    ] = 6,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Page to write.", rich_help_panel=OUTPUT)
    ] = Path("report.html"),
    quiet: Quiet = False,
) -> None:
    """Write a page about a model: results, curves, weights, and answers with their evidence.

    One file that needs no network and no scripts, for screens, phones and paper.

    Example: catclf report --data test_catvnoncat.h5 -o report.html
    """
    from catclf.evaluation import evaluate
    from catclf.model.file import load
    from catclf.report import page

    trained = load(model)
    require_output(output, [path for path in (model, data, compare) if path is not None])
    compared = None if compare is None else _comparison(compare)
    judged = None
    if data is not None:
        labelled = open_labelled(trained, data, part, positive, skip_bad=skip_bad, quiet=quiet)
        judged = evaluate.evaluate(trained, labelled, threshold), labelled
        for warning in judged[0].warnings():
            warn(warning)
    text = page(trained, model.name, judged, compared, gallery)
    with replacing(output) as file:
        file.write(text.encode("utf-8"))
    if not quiet:
        put(f"{printable(output)}: {len(text.encode('utf-8')) / 1000:.0f} kB\n")


def _comparison(path: Path) -> tuple[Comparison, str]:
    from catclf.errors import DataError
    from catclf.evaluation import compare

    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{printable(path)}: {reason(error)}") from error
    try:
        return compare.from_json(content)
    except DataError as error:
        raise DataError(f"{printable(path)}: {error}") from error
