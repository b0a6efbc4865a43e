"""``catclf report``: one HTML page about a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from catclf.cli import options
from catclf.cli.open_data import open_labelled
from catclf.cli.shell import put, require_output, warn
from catclf.errors import DataError, SettingsError
from catclf.storage.location import locate, write_whole
from catclf.text import printable, reason

if TYPE_CHECKING:
    from catclf.evaluation.compare import Comparison


ABOUT = {
    "data": options.optional(
        Path,
        help="Labelled images to evaluate the model on.",
        metavar="DATA",
        shown="none: no results",
        group=options.DATA,
    ),
    "compare": options.optional(
        Path, help="Output of catclf compare --format json.", metavar="FILE", group=options.DATA
    ),
    "threshold": options.Threshold,
}


def report(
    *,
    model: options.ModelPath = Path("model.npz"),
    about: Annotated[options.Options, ABOUT],
    reading: options.Labelled,
    gallery: Annotated[
        int,
        options.option(
            help="Most confident correct and wrong predictions to show.",
            group=options.OUTPUT,
            **{"low": 0, "high": 500},
        ),
    ] = 6,
    output: Annotated[
        Path,
        options.file_option(
            *("--output", "-o"),
            help="Page to write.",
            shown="report.html",
            endings=[".html", ".htm"],
        ),
    ] = Path("report.html"),
    quiet: options.Quiet = False,
) -> None:
    """Write a page about a model: results, curves, weights, and predictions with their evidence.

    One file that needs no network and no scripts, for screens, phones and paper.

    Example: catclf report --data test_catvnoncat.h5 -o report.html
    """
    from catclf.evaluation import evaluate
    from catclf.model.file import load
    from catclf.report import page

    data, compare, threshold = about.values()
    idle = [f"`{name}`" for name, value in {**reading, "threshold": threshold}.items() if value]
    if data is None and idle:
        raise SettingsError(f"{', '.join(idle)}: of no use without labelled images: give `data`")
    trained = load(model)
    require_output(output, [path for path in (model, data, compare) if path is not None])
    compared = None if compare is None else _comparison(compare)
    evaluated = None
    if data is not None:
        labelled = open_labelled(reading, trained, data, quiet=quiet)
        evaluated = evaluate.Evaluation.of(trained, labelled, threshold), labelled
        for warning in evaluated[0].warnings():
            warn(warning)
    content = page(trained, model.name, evaluated, compared, gallery).encode("utf-8")
    write_whole(output, content)
    if not quiet:
        put(f"{printable(output)}: {len(content) / 1000:.0f} kB\n")


def _comparison(path: Path) -> tuple[Comparison, str]:
    from catclf.evaluation.compare import from_json

    try:
        return from_json(locate(path).read())
    except (OSError, DataError) as error:
        why = reason(error) if isinstance(error, OSError) else error
        raise DataError(f"{printable(path)}: {why}") from error
