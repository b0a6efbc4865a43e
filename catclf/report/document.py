"""One self-contained HTML page about a model: no network, no scripts, the same bytes each time."""

from __future__ import annotations

from catclf.datasets import Dataset
from catclf.evaluation.compare import Comparison
from catclf.evaluation.evaluate import Evaluation
from catclf.model import Model
from catclf.report import sections
from catclf.report.sections import shown
from catclf.report.svg import css
from catclf.text import counted
from catclf.version import __version__

# The page may load nothing and run nothing, whatever its texts hold.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(
    model: Model,
    name: str,
    evaluated: tuple[Evaluation, Dataset] | None = None,
    compared: tuple[Comparison, str] | None = None,
    gallery: int = 6,
) -> str:
    """The page for a model file called ``name``.

    ``evaluated`` holds an evaluation and its data, for results and gallery, ``compared`` a
    comparison and the measure that decides; ``gallery`` is the number of images of each kind.
    """
    result = evaluated[0] if evaluated else None
    body = [sections.data_section(model, result), sections.training_section(model)]
    if result:
        body.insert(0, sections.results_section(result))
    body.append(sections.weights_section(model))
    if evaluated and gallery:
        body.append(sections.gallery_section(model, evaluated[1], evaluated[0], gallery))
    if compared:
        body.append(sections.compare_section(*compared))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{_title(model)}: catclf report</title><style>{css()}</style></head><body>"
        f"{_header(model, name, result)}<main>{''.join(body)}</main>{_footer(model, name)}"
        "</body></html>\n"
    )


def _title(model: Model) -> str:
    negative, positive = model.classes
    return f"{shown(positive)} or {shown(negative)}"


def _header(model: Model, name: str, result: Evaluation | None) -> str:
    training, size = model.training, model.preprocess.size
    trained = ""
    if training.images:
        images, steps = counted(training.images, "image"), counted(training.steps, "step")
        trained = f", trained on {images} in {steps}"
    warnings = sections.warning(result.warnings()) if result else ""
    return (
        f'<header><p class="kicker">Report on {shown(name)}</p><h1>{_title(model)}?</h1>'
        f'<p class="lead">Logistic regression on images of {size}×{size} pixels{trained}.</p>'
        f"{sections.tiles(model, result)}{warnings}</header>"
    )


def _footer(model: Model, name: str) -> str:
    return (
        f"<footer><p>Made by catclf {__version__} from {shown(name)}, which catclf "
        f"{shown(model.training.catclf)} trained.</p><p>z = wᵀx + b, P = σ(z); evidence is w·x. "
        "Intervals of fractions are Wilson's, of areas DeLong's.</p></footer>"
    )
