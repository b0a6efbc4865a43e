"""One self-contained HTML page about a model: no network, no scripts, the same bytes each time.

Every text that comes from a file passes through ``shown``.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from catclf.datasets import Dataset
from catclf.evaluation.compare import NAMES, Comparison
from catclf.evaluation.evaluate import (
    Evaluation,
    Prediction,
    Suspect,
    measures,
    remembered,
    suspects,
)
from catclf.explain import explain, filters_image
from catclf.features.base import CHANNELS
from catclf.images import png
from catclf.images.png import colours, full_colour
from catclf.maths import Pixels
from catclf.model import Model
from catclf.report import charts
from catclf.text import balance, counted, printable
from catclf.version import __version__

# The page may load nothing and run nothing, whatever its texts hold.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
MEANING = {
    "accuracy": "the fraction of images that are predicted correctly",
    "balanced_accuracy": "the mean of the fractions that are right in each class",
    "precision": "of the images predicted positive, the fraction that is",
    "recall": "of the positive images, the fraction that is found",
    "f1": "the harmonic mean of precision and recall",
    "roc_auc": "how often a positive image scores higher than a negative one",
    "average_precision": "precision, averaged over all thresholds that find one more positive",
    "log_loss": "the mean of -log of the probability given to the actual class: lower is better",
    "brier": "the mean squared error of the probability: lower is better",
    "calibration_error": "how far probabilities are from the fractions observed, on average",
    "calibration_intercept": "above 0: probabilities are too low",
    "calibration_slope": "below 1: probabilities are too extreme",
}  # of measures, by key
FIRST = ("accuracy", "balanced_accuracy", "roc_auc", "log_loss")


def shown(text: str) -> str:
    """Any text as one line that is safe in HTML."""
    return escape(printable(text))


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
    heading, training = " or ".join(map(shown, model.classes[::-1])), model.training
    size, trained = f"{model.preprocess.size}×{model.preprocess.size}", ""
    if training.images:
        images, steps = counted(training.images, "image"), counted(training.steps, "step")
        trained = f", trained on {images} in {steps}"
    body = [_training(model), _training_suspects(model), _weights(model)]
    head = ""
    if evaluated:
        result = evaluated[0]
        doubts = "".join(f'<p class="warn">{shown(line)}</p>' for line in result.warnings())
        head, body = _tiles(result) + doubts, [_results(result), *body]
        if gallery:
            body += [_gallery(model, *evaluated, gallery), _suspects(*evaluated, gallery)]
    if compared:
        body.append(_comparison(*compared))
    titles = {
        "title": f"{heading}: catclf report",
        "kicker": f"Report on {shown(name)}",
        "heading": f"{heading}?",
        "lead": f"Logistic regression on images of {size} pixels{trained}.",
    }
    foot = (
        f"Made by catclf {__version__} from {shown(name)}, which catclf {shown(training.catclf)} "
        "trained.</p><p>z = wᵀx + b, P = σ(z); evidence is w·x."
    )
    return _document(titles, head, body, foot)


def suspects_page(data: Dataset, found: Sequence[Suspect], looked_at: int) -> str:
    """A page of the images of a data set whose labels are doubted, the most doubted first.

    ``looked_at`` is how many images were.
    """
    kinds = {"Suspect labels": True, "Less sure": False}
    parts = [
        _section(title, _gallery_of(_doubted(data, each) for each in found if each.sure == sure))
        for title, sure in kinds.items()
        if any(each.sure == sure for each in found)
    ]
    source = shown(data.source)
    titles = {
        "title": f"{source}: suspect labels",
        "kicker": f"Labels of {source}",
        "heading": "Suspect labels",
        "lead": f"{sum(each.sure for each in found)} labels of {counted(looked_at, 'image')} are "
        "probably wrong, by models that were trained without these images. Look before you change "
        "them.",
    }
    return _document(titles, "", parts, f"Made by catclf {__version__} from {source}.")


def _document(titles: Mapping[str, str], head: str, body: list[str], foot: str) -> str:
    """A page: its title, what is above the heading, the heading and the lead; head, body, foot."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{titles['title']}</title><style>{charts.css()}</style></head><body>"
        f'<header><p class="kicker">{titles["kicker"]}</p><h1>{titles["heading"]}</h1>'
        f'<p class="lead">{titles["lead"]}</p>{head}</header>'
        f"<main>{''.join(body)}</main><footer><p>{foot}</p></footer></body></html>\n"
    )


def _tiles(result: Evaluation) -> str:
    """The few numbers to see first."""
    tiles = ""
    for each in measures(result):
        if each.key in FIRST:
            baseline = f"majority baseline: {each.show(each.baseline)}"
            note = each.note if each.key == "accuracy" else baseline
            tiles += (
                f'<div><dt>{each.name}</dt><dd class="big">{_kept(each.show(each.value))}</dd>'
                f'<dd class="small">{_kept(note)}</dd></div>'
            )
    return f'<dl class="tiles">{tiles}</dl>'


def _results(result: Evaluation) -> str:
    """All measures, the confusion matrix, and the two curves."""
    rows = []
    for each in measures(result):
        notes = filter(None, (each.note, MEANING.get(each.key)))
        about = "".join(f'<span class="note">{_kept(note)}</span>' for note in notes)
        baseline = "" if each.baseline is None else each.show(each.baseline)
        rows.append((escape(each.name.strip()) + about, each.show(each.value), baseline))
    caption = "Numbers on top: images in each tenth. Bars: 95 % intervals."
    curves = _chart(charts.calibration_chart(result), caption)
    if result.counts.positives and result.counts.negatives:
        caption = "Each point is a threshold; the dot is the one in use."
        curves = _chart(charts.roc_curve(result), caption) + curves
    of = balance(result.counts.positives, result.counts.total, result.classes[1])
    used = f"On {shown(result.source)}: {escape(of)}, at threshold {result.threshold:.4g}."
    return _section(
        "Results",
        f"<p>{used}</p>",
        f'<div class="pair"><div>{_table(["measure", "model", "baseline"], rows)}'
        '<p class="hint">Majority baseline: the best result of a prediction that ignores the image.'
        f"</p></div>{_confusion(result)}</div>",
        f'<div class="pair">{curves}</div>',
    )


def _confusion(result: Evaluation) -> str:
    """The confusion matrix, shaded by the fraction of its row."""
    counts, (negative, positive) = result.counts, map(shown, result.classes)
    body = ""
    for name, total, cells in (
        (negative, counts.negatives, {"right": counts.tn, "wrong": counts.fp}),
        (positive, counts.positives, {"wrong": counts.fn, "right": counts.tp}),
    ):
        body += f'<tr><th scope="row">actual {name}</th>'
        for css, count in cells.items():
            percent = 100 * count / total if total else 0.0
            body += (
                f'<td class="{css}" style="--shade:{0.42 * percent:.0f}%"><b>{count}</b>'
                f'<span class="note">{percent:.1f} % of {name}</span></td>'
            )
        body += "</tr>"
    return (
        '<figure><table class="confusion"><thead><tr><td></td>'
        f'<th scope="col">predicted {negative}</th><th scope="col">predicted {positive}</th></tr>'
        f"</thead><tbody>{body}</tbody></table><figcaption>Confusion matrix: {counts.correct} of "
        f"{counted(counts.total, 'image')} predicted correctly.</figcaption></figure>"
    )


def _training(model: Model) -> str:
    """What the model is and how it was trained, beside the cost curve."""
    chart = ""
    if model.costs:
        solver = str(model.training.settings.get("solver", "gd"))
        curve = charts.cost_curve(model.costs, model.cost_steps, solver)
        caption = "Mean loss over the training images, with the penalty if there is one."
        chart = _chart(curve, caption)
    facts = "".join(
        f"<dt>{shown(name.strip())}</dt><dd>{shown(fact)}</dd>" for name, fact in model.facts()
    )
    return _section("Training", f'<div class="pair">{chart}<dl class="facts">{facts}</dl></div>')


def _training_suspects(model: Model) -> str:
    """Labels of training images that are probably wrong, as far as the model names them."""
    found = remembered(model.training.suspects)
    if not found:
        return ""
    rows = [
        (escape(each.display_name), shown(each.label), shown(each.other), _percent(each))
        for each in found
    ]
    return _section(
        "Suspect labels of training images",
        f"<p>{len(found)} labels of training images are probably wrong, by models that were "
        "trained without these images.</p>",
        _table(["image", "label", "other class", "P(other)"], rows, "suspect labels"),
    )


def _suspects(result: Evaluation, data: Dataset, count: int) -> str:
    """The labels of images that the model was not trained on which it doubts most."""
    found = suspects(result.Z, result.Y, result.classes, result.names)
    sure = [each for each in found if each.sure]
    if result.seen or not sure:
        return ""
    return _section(
        "Suspect labels",
        f"<p>{counted(len(sure), 'label')} that the model contradicts as surely as it is right on "
        "average: wrong labels, or images that it does not understand. Look before you change "
        "them.</p>",
        f'<div class="maps">{"".join(_doubted(data, each) for each in sure[:count])}</div>',
    )


def _doubted(data: Dataset, each: Suspect) -> str:
    label, other = shown(each.label), shown(each.other)
    caption = (
        f"<b>{escape(each.display_name)}</b><br>labelled {label} · P({other}) {_percent(each)}"
    )
    return _figure(_image(_pixels(data, each), f"{each.display_name}: {each.label}"), caption)


def _weights(model: Model) -> str:
    """The weights of pixels as maps, or the filters that features have learned, if any."""
    if model.features is not None:
        learned = model.features.arrays().get("filters")
        if learned is None:
            return ""
        sheet = _image(filters_image(learned), "the learned filters")
        figure = _figure(sheet, "<b>filters that patches of the image are compared with</b>")
        return _section("Filters", f'<div class="maps">{figure}</div>')
    size = model.preprocess.size
    weights = model.w.reshape(size, size, 3)
    full, figures = full_colour(weights), ""
    for name, values in zip(CHANNELS, weights.transpose(2, 0, 1), strict=True):
        low, high = float(values.min()), float(values.max())
        alt = f"the weights of {name}, from {low:.4f} to {high:.4f}"
        map_of = _image(colours(values, full, alpha=True), alt, "map")
        figures += _figure(map_of, f"<b>{name}</b><br>{low:+.4f} to {high:+.4f}")
    return _section(
        "Weights",
        "<p>One weight for each number of an image. The evidence of a pixel's value is the weight "
        f"times the value. {_key(model)}</p>",
        f'<div class="maps">{figures}</div>',
    )


def _gallery(model: Model, result: Evaluation, data: Dataset, count: int) -> str:
    """The most confident wrong and correct predictions."""
    parts = ""
    for title, correct in (("Wrong", False), ("Correct", True)):
        if predictions := result.predictions(correct, count):
            figures = _gallery_of(_predicted(model, data, each) for each in predictions)
            parts += f"<h3>{title}</h3>{figures}"
    evidence = "the score drop when a square is covered with the image's mean colour"
    if model.features is None:
        evidence = "weight times value, added up over the channels"
    return _section(
        "Most confident predictions",
        f"<p>Each image beside its evidence, {evidence}. {_key(model)} Each map has its own "
        f"scale.</p>{parts}",
    )


def _predicted(model: Model, data: Dataset, each: Prediction) -> str:
    """The image, its evidence, the actual and the predicted class."""
    pixels = _pixels(data, each)
    values = explain(model, pixels).per_pixel
    evidence = colours(values, full_colour(values), alpha=True)
    images = _image(pixels, f"{each.display_name}: {each.label}")
    images += _image(evidence, f"evidence of {each.display_name}", "map")
    return _figure(
        f'<div class="duo">{images}</div>',
        f"<b>{escape(each.display_name)}</b><br>actual {shown(each.label)}, predicted "
        f"{shown(each.predicted)} · P({shown(model.classes[1])}) {_percent(each)}",
    )


def _comparison(comparison: Comparison, measure: str) -> str:
    """The table and the curves of a comparison."""
    best, plan, chart = comparison.best(measure), comparison.plan, ""
    repeats = f", {plan.repeats} times" if plan.repeats > 1 else ""
    steps = f"{counted(plan.iterations, 'step')} each; " if plan.descends else ""
    taken = "Every candidate diverged."
    if best:
        taken = f"Best {NAMES[measure]}: {escape(str(best.candidate))}."
        if alike := ", ".join(str(each.candidate) for each in comparison.as_good(measure)):
            taken += f" As good, as far as these folds can tell: {escape(alike)}."
        if plan.descends:
            caption = "Held-out folds as thick lines, training folds as thin dotted ones."
            curves = _chart(charts.comparison_chart(comparison), caption)
            chart = f'<div class="pair">{curves}</div>'
    rows = []
    for each in comparison.results:
        cells = [escape(str(each.candidate)), *(each.shown(name) for name in NAMES)]
        if each.diverged is not None:
            cells = [f"{cells[0]}: diverged at step {each.diverged}", *("" for _ in NAMES)]
        rows.append([f"<b>{cell}</b>" for cell in cells] if each is best else cells)
    return _section(
        "Comparison of settings",
        f"<p>{plan.folds}-fold cross-validation{repeats} on "
        f"{counted(comparison.images, 'image')} of {shown(comparison.source)}, {steps}"
        f"no test set was used. {taken}</p>",
        _table(["settings", *NAMES.values()], rows, "compared settings"),
        '<p class="hint">Mean ± standard deviation over held-out folds.</p>',
        chart,
    )


# Parts of a page


def _kept(text: str) -> str:
    """Escaped, with each number on the same line as its percent sign."""
    return escape(text).replace(" %", "&nbsp;%")


def _percent(of: Prediction | Suspect) -> str:
    return f"{100 * of.probability:.2f}&nbsp;%"


def _pixels(data: Dataset, of: Prediction | Suspect) -> Pixels:
    pixels: Pixels = data.images[of.index : of.index + 1][0]
    return pixels


def _key(model: Model) -> str:
    return (
        f'<span class="key for"></span>Orange speaks for {shown(model.classes[1])}, '
        '<span class="key against"></span>blue against it.'
    )


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{title}</h2>{''.join(parts)}</section>"


def _figure(content: str, caption: str) -> str:
    return f"<figure>{content}<figcaption>{caption}</figcaption></figure>"


def _chart(chart: charts.Chart, caption: str) -> str:
    """A chart under its title, with a caption."""
    return _figure(f"<h3>{escape(chart.title)}</h3>{chart.text()}", escape(caption))


def _gallery_of(figures: Iterable[str]) -> str:
    return f'<div class="gallery">{"".join(figures)}</div>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], scrolled: str = "") -> str:
    """A table of rows of HTML under heads; the first cell of a row is its head.

    ``scrolled`` names a wide table to a screen reader.
    """
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in heads)
    body = ""
    for first, *cells in rows:
        rest = "".join(f"<td>{cell}</td>" for cell in cells)
        body += f'<tr><th scope="row">{first}</th>{rest}</tr>'
    table = f'<table class="rows"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    label = f'class="scroll" tabindex="0" role="region" aria-label="{scrolled}"'
    return f"<div {label}>{table}</div>" if scrolled else table


def _image(pixels: Pixels, alt: str, css: str = "") -> str:
    """An img whose pixels are in the page; ``alt`` is any text."""
    height, width = pixels.shape[:2]
    source = b64encode(png.encode(pixels)).decode("ascii")
    kind = f' class="{css}"' if css else ""
    return (
        f'<img{kind} width="{width}" height="{height}" alt="{shown(alt)}" '
        f'src="data:image/png;base64,{source}">'
    )
