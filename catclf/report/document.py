"""One self-contained HTML page about a model: no network, no scripts, the same bytes each time.

Every text that comes from a file passes through ``shown``.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from catclf.datasets import Dataset
from catclf.evaluation.compare import NAMES, Comparison, Result
from catclf.evaluation.evaluate import (
    Evaluation,
    Prediction,
    Suspect,
    measures,
    remembered,
    suspects,
)
from catclf.explain import explain
from catclf.explain.explanation import CHANNELS
from catclf.explain.pictures import filters_image
from catclf.images import png
from catclf.images.png import colours, full_colour
from catclf.maths import Floats, Pixels
from catclf.maths.metrics import Counts, wilson
from catclf.model import Model
from catclf.report import charts
from catclf.text import counted, printable, setting_rows
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
_NAMES = {"l2": "penalty λ", "seed": "random seed", "data_seed": "random seed of the data"}
_VALUES = {"gd": "gradient descent", "lbfgs": "L-BFGS"}
_OF_DESCENT = {"learning_rate", "iterations", "batch_size"}
_INTERNAL = {"print_every", "method", "summation", "cache", "threshold"}  # the last is shown anyway


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
    result = evaluated[0] if evaluated else None
    negative, positive = map(shown, model.classes)
    title, training, size = f"{positive} or {negative}", model.training, model.preprocess.size
    trained = ""
    if training.images:
        images, steps = counted(training.images, "image"), counted(training.steps, "step")
        trained = f", trained on {images} in {steps}"
    warnings = result.warnings() if result else []
    body = [
        _results(result) if result else "",
        _data(model, result),
        _training(model),
        _training_suspects(model),
        _weights(model),
        _gallery(model, evaluated[1], evaluated[0], gallery) if evaluated and gallery else "",
        _suspects(evaluated[1], evaluated[0], gallery) if evaluated and gallery else "",
        _comparison(*compared) if compared else "",
    ]
    doubts = "".join(f'<p class="warn">{shown(line)}</p>' for line in warnings)
    lead = f"Logistic regression on images of {size}×{size} pixels{trained}."
    foot = (
        f"Made by catclf {__version__} from {shown(name)}, which catclf {shown(training.catclf)} "
        "trained.</p><p>z = wᵀx + b, P = σ(z); evidence is w·x."
    )
    kicker = f"Report on {shown(name)}"
    head = _tiles(model, result) + doubts
    return _document((f"{title}: catclf report", kicker, f"{title}?", lead), head, body, foot)


def suspects_page(data: Dataset, found: Sequence[Suspect], looked_at: int) -> str:
    """A page of the images of a data set whose labels are doubted, the most doubted first.

    ``looked_at`` is how many images were.
    """
    parts = []
    for title, sure in (("Suspect labels", True), ("Less sure", False)):
        figures = "".join(_doubted(data, each) for each in found if each.sure == sure)
        if figures:
            parts.append(_section(title, f'<div class="gallery">{figures}</div>'))
    source = shown(data.source)
    lead = (
        f"{sum(each.sure for each in found)} labels of {counted(looked_at, 'image')} are probably "
        "wrong, by models that were trained without these images. Look before you change them."
    )
    foot = f"Made by catclf {__version__} from {source}."
    titles = f"{source}: suspect labels", f"Labels of {source}", "Suspect labels", lead
    return _document(titles, "", parts, foot)


def _suspects(data: Dataset, result: Evaluation, count: int) -> str:
    """The labels of images that the model was not trained on which it doubts most."""
    if result.seen:
        return ""
    found = suspects(result.Z, result.Y, result.classes, result.names)
    sure = [each for each in found if each.sure]
    if not sure:
        return ""
    return _section(
        "Suspect labels",
        f"<p>{counted(len(sure), 'label')} that the model contradicts as surely as it is right on "
        "average: wrong labels, or images that it does not understand. Look before you change "
        "them.</p>",
        f'<div class="maps">{"".join(_doubted(data, each) for each in sure[:count])}</div>',
    )


def _training_suspects(model: Model) -> str:
    """Labels of training images that are probably wrong, as far as the model names them."""
    found = remembered(model.training.suspects)
    if not found:
        return ""
    rows = (
        f"<tr><td>{escape(each.display_name)}</td><td>{shown(each.label)}</td>"
        f'<td>{shown(each.other)}</td><td class="num">{100 * each.probability:.2f}&nbsp;%</td></tr>'
        for each in found
    )
    return _section(
        "Suspect labels of training images",
        f"<p>{len(found)} labels of training images are probably wrong, by models that were "
        "trained without these images.</p>",
        _table(("image", "label", "other class"), ["P(other)"], rows, "suspect labels"),
    )


def _doubted(data: Dataset, each: Suspect) -> str:
    pixels = data.images[each.index : each.index + 1][0]
    name, label, other = escape(each.display_name), shown(each.label), shown(each.other)
    caption = f"<b>{name}</b><br>labelled {label} · P({other}) {100 * each.probability:.2f}&nbsp;%"
    return _figure(pixels, f"{each.display_name}: {each.label}", caption)


def _document(titles: tuple[str, str, str, str], head: str, body: list[str], foot: str) -> str:
    """A page: its title, what is above the heading, the heading and the lead; head, body, foot."""
    title, kicker, heading, lead = titles
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{title}</title><style>{charts.css()}</style></head><body>"
        f'<header><p class="kicker">{kicker}</p><h1>{heading}</h1>'
        f'<p class="lead">{lead}</p>{head}</header>'
        f"<main>{''.join(body)}</main><footer><p>{foot}</p></footer></body></html>\n"
    )


def _tiles(model: Model, result: Evaluation | None) -> str:
    """The few numbers to see first."""
    cells: list[tuple[str, str, str]] = []
    if result is None:
        known = {"training": model.training.train, "test": model.training.test}
        cells += [
            (f"{name} accuracy", f"{100 * counts.accuracy:.1f} %", _interval(counts))
            for name, counts in known.items()
            if counts is not None and counts.total
        ]
        if model.costs:
            start = "ln 2 = 0.6931 at the start"
            cells.append(("final cost", f"{model.costs[-1]:.4f}", start))
    else:
        by_key = {measure.key: measure for measure in measures(result)}
        accuracy = by_key["accuracy"].show(result.counts.accuracy)
        cells.append(("accuracy", accuracy, _interval(result.counts)))
        for key in ("balanced_accuracy", "roc_auc", "log_loss"):
            measure = by_key[key]
            note = f"majority baseline: {measure.show(measure.baseline)}"
            cells.append((measure.name, measure.show(measure.value), note))
    tiles = "".join(
        f'<div><dt>{escape(name)}</dt><dd class="big">{_kept(value)}</dd>'
        f'<dd class="small">{_kept(note)}</dd></div>'
        for name, value, note in cells
    )
    return f'<dl class="tiles">{tiles}</dl>' if tiles else ""


def _interval(counts: Counts) -> str:
    low, high = wilson(counts.correct, counts.total)
    interval = f"95 % interval {100 * low:.1f} to {100 * high:.1f} %"
    return f"{counts.correct} of {counts.total}; {interval}"


def _data(model: Model, result: Evaluation | None) -> str:
    """The class balance of the images that the model was trained and evaluated on."""
    training, preprocess, bars = model.training, model.preprocess, []
    if training.images:
        name = f"trained on {shown(training.source)}"
        bars.append(_balance(name, training.positives, training.images, model.classes))
    if result is not None:
        name = f"evaluated on {shown(result.source)}"
        bars.append(_balance(name, result.counts.positives, result.counts.total, model.classes))
    inputs = "each divided by 255"
    if model.features is not None:
        inputs = f"turned into {model.n} by <code>{model.features.kind}</code>"
    return _section(
        "Data",
        f"<p>An image is {preprocess.size}×{preprocess.size} pixels of red, green and blue: "
        f"{preprocess.n} numbers, {inputs}. Files are fitted by "
        f"<code>{shown(preprocess.fit)}</code>.</p>",
        f'<div class="pair">{"".join(bars)}</div>' if bars else "",
    )


def _training(model: Model) -> str:
    """Settings beside the cost curve."""
    training, chart = model.training, ""
    facts = settings_in_words(training.settings) | {
        "steps done": f"{training.steps}{' (interrupted)' if training.interrupted else ''}",
        "ended": training.ending,
        "bias b": f"{model.b:+z.6f}",
        "threshold": f"{model.threshold:.4g}",
        "data fingerprint": training.fingerprint and f"{training.fingerprint[:16]}…",
    }
    if model.costs:
        solver = str(training.settings.get("solver", "gd"))
        chart = _chart(
            charts.cost_curve(model.costs, model.cost_steps, solver),
            "Mean loss over the training images, with the penalty if there is one.",
        )
    items = "".join(
        f"<dt>{shown(key)}</dt><dd>{shown(fact)}</dd>" for key, fact in facts.items() if fact
    )
    listed = f'<div><h3>Settings</h3><dl class="facts">{items}</dl></div>'
    return _section("Training", f'<div class="pair">{chart}{listed}</div>')


def settings_in_words(settings: Mapping[str, Any]) -> dict[str, str]:
    """The settings that this training used, with numbers of four digits."""
    unused = set(_INTERNAL)
    if settings.get("solver", "gd") != "gd":
        unused |= _OF_DESCENT
    if not settings.get("validation"):
        unused |= {"validation", "patience"}
    used = {name: _word(name, value) for name, value in settings.items() if name not in unused}
    return dict(setting_rows({_NAMES.get(key, key.replace("_", " ")): used[key] for key in used}))


def _word(name: str, value: Any) -> Any:
    """A value as a word where a number stands for one, else with four digits."""
    if isinstance(value, Mapping) and name == "chosen":
        return {key: _word(key, each) for key, each in value.items()}
    if name == "validation":
        return f"{100 * value:.4g} % of each class"
    if name == "batch_size":
        return value or "all images"
    if isinstance(value, float):
        return "none" if name == "l2" and not value else f"{value:.4g}"
    return _VALUES.get(value, value) if isinstance(value, str) else value


def _results(result: Evaluation) -> str:
    """All measures, the confusion matrix, and the two curves."""
    rows = []
    for measure in measures(result):
        baseline = "" if measure.baseline is None else measure.show(measure.baseline)
        notes = filter(None, (measure.note, MEANING.get(measure.key)))
        about = "".join(f'<span class="note">{_kept(note)}</span>' for note in notes)
        rows.append(
            f'<tr><th scope="row">{escape(measure.name.strip())}{about}</th>'
            f'<td class="num">{measure.show(measure.value)}</td>'
            f'<td class="num">{baseline}</td></tr>'
        )
    hint = "Majority baseline: the best result of a prediction that ignores the image."
    caption = "Numbers on top: images in each tenth. Bars: 95 % intervals."
    curves = _chart(charts.calibration_chart(result), caption)
    if result.counts.positives and result.counts.negatives:
        caption = "Each point is a threshold; the dot is the one in use."
        curves = _chart(charts.roc_curve(result), caption) + curves
    return _section(
        "Results",
        f"<p>On {shown(result.source)}, at threshold {result.threshold:.4g}.</p>",
        f'<div class="pair"><div>{_table(["measure"], ["model", "baseline"], rows)}'
        f'<p class="hint">{hint}</p></div>{_confusion(result)}</div>',
        f'<div class="pair">{curves}</div>',
    )


def _confusion(result: Evaluation) -> str:
    """The confusion matrix, shaded by the fraction of its row."""
    counts, (negative, positive) = result.counts, map(shown, result.classes)
    body = []
    for name, total, cells in (
        (negative, counts.negatives, (("right", counts.tn), ("wrong", counts.fp))),
        (positive, counts.positives, (("wrong", counts.fn), ("right", counts.tp))),
    ):
        shaded = []
        for css, count in cells:
            percent = 100 * count / total if total else 0.0
            shaded.append(
                f'<td class="{css}" style="--shade:{0.42 * percent:.0f}%"><b>{count}</b>'
                f'<span class="note">{percent:.1f} % of {name}</span></td>'
            )
        body.append(f'<tr><th scope="row">actual {name}</th>{"".join(shaded)}</tr>')
    return (
        '<figure><table class="confusion"><thead><tr><td></td>'
        f'<th scope="col">predicted {negative}</th><th scope="col">predicted {positive}</th></tr>'
        f"</thead><tbody>{''.join(body)}</tbody></table><figcaption>Confusion matrix: "
        f"{counts.correct} of {counted(counts.total, 'image')} predicted correctly.</figcaption>"
        "</figure>"
    )


def _weights(model: Model) -> str:
    """The weights of pixels as maps, or the filters that features have learned, if any."""
    if model.features is not None:
        learned = model.features.arrays().get("filters")
        if learned is None:
            return ""
        caption = "<b>filters that patches of the image are compared with</b>"
        sheet = _figure(filters_image(learned), "the learned filters", caption)
        return _section("Filters", f'<div class="maps">{sheet}</div>')
    size, positive = model.preprocess.size, shown(model.classes[1])
    weights = model.w.reshape(size, size, 3)
    full = full_colour(weights)
    alt = f"the weights as one image of {size} by {size} pixels"
    caption = (
        "<b>all three channels</b><br>grey is zero; redder means that red speaks for " + positive
    )
    figures = [_figure(as_image(weights, full), alt, caption)]
    for c, name in enumerate(CHANNELS):
        channel = weights[:, :, c]
        low, high = channel.min(), channel.max()
        alt = f"the weights of {name}, from {low:.4f} to {high:.4f}"
        caption = f"<b>{name}</b><br>{low:+.4f} to {high:+.4f}"
        figures.append(_figure(colours(channel, full, alpha=True), alt, caption, css="map"))
    return _section(
        "Weights",
        "<p>One weight for each number of an image. The evidence of a pixel's value is the weight "
        f"times the value. {_key(model)}</p>",
        f'<div class="maps">{"".join(figures)}</div>',
    )


def as_image(weights: Floats, full: float) -> Pixels:
    """Weights (size, size, 3) as colours: grey at zero, black and white at ±``full``."""
    scaled = weights / full if full > 0 else np.zeros_like(weights)
    return np.rint(127.5 + 127.5 * np.clip(scaled, -1.0, 1.0)).astype(np.uint8)


def _gallery(model: Model, data: Dataset, result: Evaluation, count: int) -> str:
    """The most confident wrong and correct predictions."""
    parts = []
    for title, correct in (("Wrong", False), ("Correct", True)):
        if predictions := result.predictions(correct, count):
            figures = "".join(_predicted(model, data, each) for each in predictions)
            parts.append(f'<h3>{title}</h3><div class="gallery">{figures}</div>')
    evidence = "the score drop when a square is covered with the image's mean colour"
    if model.features is None:
        evidence = "weight times value, added up over the channels"
    return _section(
        "Most confident predictions",
        f"<p>Each image beside its evidence, {evidence}. {_key(model)} Each map has its own "
        "scale.</p>",
        *parts,
    )


def _predicted(model: Model, data: Dataset, each: Prediction) -> str:
    """The image, its evidence, the actual and the predicted class."""
    pixels = data.images[each.index : each.index + 1][0]
    values = explain(model, pixels).per_pixel
    evidence = colours(values, full_colour(values), alpha=True)
    return (
        f'<figure><div class="duo">{_image(pixels, f"{each.display_name}: {each.label}")}'
        f"{_image(evidence, f'evidence of {each.display_name}', 'map')}"
        f"</div><figcaption><b>{escape(each.display_name)}</b><br>"
        f"actual {shown(each.label)}, predicted {shown(each.predicted)} · "
        f"P({shown(model.classes[1])}) {100 * each.probability:.2f}&nbsp;%</figcaption></figure>"
    )


def _comparison(comparison: Comparison, measure: str) -> str:
    """The table and the curves of a comparison."""
    best, plan, chart = comparison.best(measure), comparison.plan, ""
    repeats = f", {plan.repeats} times" if plan.repeats > 1 else ""
    steps = f"{counted(plan.iterations, 'step')} each; " if plan.descends else ""
    if best and plan.descends:
        caption = "Held-out folds as thick lines, training folds as thin dotted ones."
        curves = _chart(charts.comparison_chart(comparison), caption)
        chart = f'<div class="pair">{curves}</div>'
    rows = (_candidate(result, result is best) for result in comparison.results)
    return _section(
        "Comparison of settings",
        f"<p>{plan.folds}-fold cross-validation{repeats} on "
        f"{counted(comparison.images, 'image')} of {shown(comparison.source)}, {steps}"
        f"no test set was used. {_best_settings(comparison, measure)}</p>",
        _table(["settings"], [*NAMES.values()], rows, "compared settings"),
        '<p class="hint">Mean ± standard deviation over held-out folds.</p>',
        chart,
    )


def _best_settings(comparison: Comparison, measure: str) -> str:
    best = comparison.best(measure)
    if best is None:
        return "Every candidate diverged."
    taken = ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in best.candidate.settings().items()
    )
    text = f"Best {NAMES[measure]}: {escape(str(best.candidate))}, <code>{shown(taken)}</code>."
    alike = ", ".join(escape(str(result.candidate)) for result in comparison.as_good(measure))
    return text + (f" As good, as far as these folds can tell: {alike}." if alike else "")


def _candidate(result: Result, best: bool) -> str:
    cells = f'<td colspan="{len(NAMES)}">diverged at step {result.diverged}</td>'
    if result.diverged is None:
        cells = "".join(f'<td class="num">{_mean(result, column)}</td>' for column in NAMES)
    kind = ' class="best"' if best else ""
    name = escape(str(result.candidate))
    return f'<tr{kind}><th scope="row" class="name">{name}</th>{cells}</tr>'


def _mean(result: Result, name: str) -> str:
    mean, std = result.mean(name), result.std(name)
    if name in ("accuracy", "balanced_accuracy"):
        return f"{100 * mean:z.1f} ± {100 * std:.1f} %"
    return f"{mean:z.3f} ± {std:.3f}"


def _chart(chart: charts.Chart, caption: str) -> str:
    """A chart under its title, with a caption."""
    return (
        f"<figure><h3>{escape(chart.title)}</h3>{chart.text()}"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _balance(name: str, positives: int, total: int, classes: tuple[str, str]) -> str:
    """The class balance as a bar of two parts with their names and numbers."""
    percent, (negative, positive) = 100 * positives / total, map(shown, classes)
    return (
        f'<figure><h3>{name}</h3><div class="balance" role="img" aria-label="{percent:.1f} % '
        f'{positive}, {100 - percent:.1f} % {negative}"><span style="width:{percent:.2f}%"></span>'
        f'<span style="flex:1"></span></div><figcaption>{positives} {positive} ({percent:.1f} %), '
        f"{total - positives} {negative} ({100 - percent:.1f} %)</figcaption></figure>"
    )


def _kept(text: str) -> str:
    """Escaped, with each number on the same line as its percent sign."""
    return escape(text).replace(" %", "&nbsp;%")


def _key(model: Model) -> str:
    return (
        f'<span class="key for"></span>Orange speaks for {shown(model.classes[1])}, '
        '<span class="key against"></span>blue against it.'
    )


def _figure(pixels: Pixels, alt: str, caption: str, css: str = "") -> str:
    return f"<figure>{_image(pixels, alt, css)}<figcaption>{caption}</figcaption></figure>"


def _table(
    names: Sequence[str], numbers: Sequence[str], rows: Iterable[str], scrolled: str = ""
) -> str:
    """A table of rows under heads of names and of numbers; ``scrolled`` names it to a reader."""
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    heads += "".join(f'<th scope="col" class="num">{escape(name)}</th>' for name in numbers)
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
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


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{title}</h2>{''.join(parts)}</section>"
