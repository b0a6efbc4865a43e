"""The report's sections as HTML. Every text that comes from a file passes through ``shown``."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from catclf.datasets import Dataset
from catclf.evaluation.compare import COLUMNS, NAMES, Comparison, Result
from catclf.evaluation.evaluate import Evaluation, measures
from catclf.maths.metrics import Counts, wilson
from catclf.model import Model
from catclf.report import charts, pictures
from catclf.report.svg import Chart
from catclf.text import counted, printable, setting_rows


def shown(text: str) -> str:
    """Any text as one line that is safe in HTML."""
    return escape(printable(text))


def tiles(model: Model, result: Evaluation | None) -> str:
    """The few numbers to see first."""
    if result is None:
        parts = [("training", model.training.train), ("test", model.training.test)]
        cells = [
            _tile(f"{name} accuracy", f"{100 * counts.accuracy:.1f} %", _interval(counts))
            for name, counts in parts
            if counts is not None and counts.total
        ]
        if model.costs:
            cells.append(
                _tile("final cost", f"{model.costs[-1]:.4f}", "ln 2 = 0.6931 at the start")
            )
        return f'<dl class="tiles">{"".join(cells)}</dl>' if cells else ""
    known = {measure.key: measure for measure in measures(result)}
    cells = [
        _tile("accuracy", known["accuracy"].show(result.counts.accuracy), _interval(result.counts))
    ]
    for key in ("balanced_accuracy", "roc_auc", "log_loss"):
        measure = known[key]
        cells.append(
            _tile(
                measure.name,
                measure.show(measure.value),
                f"majority baseline: {measure.show(measure.baseline)}",
            )
        )
    return f'<dl class="tiles">{"".join(cells)}</dl>'


def data_section(model: Model, result: Evaluation | None) -> str:
    """The class balance of the images that the model was trained and evaluated on."""
    training = model.training
    bars = []
    if training.images:
        name = f"trained on {shown(training.source)}"
        bars.append(_balance(name, training.positives, training.images, model.classes))
    if result is not None:
        name = f"evaluated on {shown(result.source)}"
        bars.append(_balance(name, result.counts.positives, result.counts.total, model.classes))
    size = model.preprocess.size
    return _section(
        "Data",
        f"<p>An image is {size}×{size} pixels of red, green and blue: {model.preprocess.n} "
        f"numbers, {_inputs(model)}. Files are fitted by <code>"
        f"{shown(model.preprocess.fit)}</code>.</p>"
        f'<div class="pair">{"".join(bars)}</div>',
    )


def training_section(model: Model) -> str:
    """Settings beside the cost curve."""
    training = model.training
    facts = {name.replace("_", " "): value for name, value in setting_rows(training.settings)}
    facts["steps done"] = f"{training.steps}{' (interrupted)' if training.interrupted else ''}"
    facts["bias b"] = f"{model.b:+z.6f}"
    facts["threshold"] = f"{model.threshold:g}"
    if training.fingerprint:
        facts["data fingerprint"] = f"{training.fingerprint[:16]}…"
    chart = ""
    if model.costs:
        caption = "Mean loss over the training images, with the penalty if there is one."
        chart = figure(
            charts.cost_curve(
                model.costs, model.cost_steps, str(model.training.settings.get("solver", "gd"))
            ),
            caption,
        )
    return _section("Training", f'<div class="pair">{chart}<div>{_facts(facts)}</div></div>')


def results_section(result: Evaluation) -> str:
    """All measures, the confusion matrix, and the two curves."""
    rows = []
    for measure in measures(result):
        baseline = "" if measure.baseline is None else measure.show(measure.baseline)
        note = f'<span class="note">{_kept(measure.note)}</span>' if measure.note else ""
        rows.append(
            f'<tr><th scope="row">{escape(measure.name)}{note}</th>'
            f'<td class="num">{measure.show(measure.value)}</td>'
            f'<td class="num">{baseline}</td></tr>'
        )
    table = (
        '<table><thead><tr><th scope="col">measure</th><th scope="col" class="num">model</th>'
        f'<th scope="col" class="num">baseline</th></tr></thead><tbody>{"".join(rows)}</tbody>'
        '</table><p class="hint">Majority baseline: the best result of a prediction that ignores '
        "the image.</p>"
    )
    curves = []
    if result.counts.positives and result.counts.negatives:
        curves.append(
            figure(
                charts.roc_curve(result), "Each point is a threshold; the dot is the one in use."
            )
        )
    caption = "Numbers on top: images in each tenth. Bars: 95 % intervals."
    curves.append(figure(charts.calibration_chart(result), caption))
    return _section(
        "Results",
        f"<p>On {shown(result.source)}, at threshold {result.threshold:g}.</p>"
        f'<div class="pair"><div>{table}</div>{confusion(result)}</div>'
        f'<div class="pair">{"".join(curves)}</div>',
    )


def confusion(result: Evaluation) -> str:
    """The confusion matrix, shaded by the fraction of its row."""
    counts, (negative, positive) = result.counts, map(shown, result.classes)
    rows = (
        (negative, counts.negatives, (("right", counts.tn), ("wrong", counts.fp))),
        (positive, counts.positives, (("wrong", counts.fn), ("right", counts.tp))),
    )
    body = []
    for name, total, cells in rows:
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


def _inputs(model: Model) -> str:
    """How pixels become the model's input features."""
    if model.features is None:
        return "each divided by 255"
    return f"turned into {model.n} by <code>{model.features.kind}</code>"


def _evidence(model: Model) -> str:
    """The meaning of the maps."""
    if model.features is None:
        return "weight times value, added up over the channels"
    return "the score drop when a square is covered with the image's mean colour"


def weights_section(model: Model) -> str:
    """The weights: as maps, or the filters of learned features."""
    if model.features is not None:
        return _section(
            "Weights",
            f"<p>{model.n} weights, one for each number that <code>{model.features.kind}</code> "
            f"makes of an image.</p>{pictures.filters(model)}",
        )
    return _section(
        "Weights",
        "<p>One weight for each number of an image. The evidence of a pixel's value is the weight "
        f"times the value. {_key(model)}</p>{pictures.weight_maps(model)}",
    )


def gallery_section(model: Model, data: Dataset, result: Evaluation, count: int) -> str:
    """The most confident wrong and correct predictions."""
    parts = []
    for title, correct in (("Wrong", False), ("Correct", True)):
        predictions = result.predictions(correct, count)
        if predictions:
            parts.append(f"<h3>{title}</h3>{pictures.gallery(model, data, predictions)}")
    return _section(
        "Most confident predictions",
        f"<p>Each image beside its evidence, {_evidence(model)}. "
        f"{_key(model)} Each map has its own scale.</p>{''.join(parts)}",
    )


def compare_section(comparison: Comparison, measure: str) -> str:
    """The table and the curves of a comparison."""
    best, plan = comparison.best(measure), comparison.plan
    repeats = f", {plan.repeats} times" if plan.repeats > 1 else ""
    chart = ""
    if best is not None:
        caption = "Held-out folds as thick lines, training folds as thin dotted ones."
        chart = figure(charts.comparison_chart(comparison), caption)
    return _section(
        "Comparison of settings",
        f"<p>{plan.folds}-fold cross-validation{repeats} on "
        f"{counted(comparison.images, 'image')} of {shown(comparison.source)}, "
        f"{counted(plan.iterations, 'step')} each; no test set was used. "
        f"{_best_settings(comparison, measure)}</p>"
        '<div class="scroll" tabindex="0" role="region" aria-label="compared settings">'
        f"{_candidates(comparison, best)}</div>"
        '<p class="hint">Mean ± standard deviation over held-out folds.</p>'
        f'<div class="pair">{chart}</div>',
    )


def _best_settings(comparison: Comparison, measure: str) -> str:
    best = comparison.best(measure)
    if best is None:
        return "Every candidate diverged."
    settings = comparison.settings(best.candidate).items()
    values = (f"{value:g}" if isinstance(value, float) else value for _, value in settings)
    taken = ", ".join(f"{name} {value}" for (name, _), value in zip(settings, values, strict=True))
    text = f"Best {NAMES[measure]}: <code>{shown(taken)}</code>."
    alike = ", ".join(escape(str(result.candidate)) for result in comparison.as_good(measure))
    return text + (f" Within two standard errors, as good: {alike}." if alike else "")


def _candidates(comparison: Comparison, best: Result | None) -> str:
    heads = "".join(f'<th scope="col" class="num">{escape(NAMES[name])}</th>' for name in COLUMNS)
    rows = "".join(_candidate(result, result is best) for result in comparison.results)
    return (
        f'<table><thead><tr><th scope="col">settings</th>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def figure(chart: Chart, caption: str) -> str:
    """A chart under its title, with a caption."""
    return (
        f"<figure><h3>{escape(chart.title)}</h3>{chart.text()}"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def warning(lines: Sequence[str]) -> str:
    """Reasons to trust the numbers less, each as a paragraph."""
    return "".join(f'<p class="warn">{shown(line)}</p>' for line in lines)


def _candidate(result: Result, best: bool) -> str:
    name = escape(str(result.candidate))
    if result.diverged is not None:
        cells = f'<td colspan="{len(COLUMNS)}">diverged at step {result.diverged}</td>'
    else:
        cells = "".join(f'<td class="num">{_mean(result, column)}</td>' for column in COLUMNS)
    kind = ' class="best"' if best else ""
    return f'<tr{kind}><th scope="row" class="name">{name}</th>{cells}</tr>'


def _mean(result: Result, name: str) -> str:
    mean, std = result.mean(name), result.std(name)
    if name in ("accuracy", "balanced_accuracy"):
        return f"{100 * mean:z.1f} ± {100 * std:.1f} %"
    return f"{mean:z.3f} ± {std:.3f}"


def _balance(name: str, positives: int, total: int, classes: tuple[str, str]) -> str:
    """The class balance as a bar of two parts with their names and numbers."""
    percent = 100 * positives / total
    negative, positive = map(shown, classes)
    return (
        f'<figure><h3>{name}</h3><div class="balance" role="img" aria-label="{percent:.1f} % '
        f'{positive}, {100 - percent:.1f} % {negative}"><span style="width:{percent:.2f}%"></span>'
        f'<span style="flex:1"></span></div><figcaption>{positives} {positive} ({percent:.1f} %), '
        f"{total - positives} {negative} ({100 - percent:.1f} %)</figcaption></figure>"
    )


def _interval(counts: Counts) -> str:
    low, high = wilson(counts.correct, counts.total)
    return (
        f"{counts.correct} of {counts.total}; 95 % interval {100 * low:.1f} to {100 * high:.1f} %"
    )


def _tile(name: str, value: str, note: str) -> str:
    return (
        f'<div><dt>{escape(name)}</dt><dd class="big">{_kept(value)}</dd>'
        f'<dd class="small">{_kept(note)}</dd></div>'
    )


def _kept(text: str) -> str:
    """Escaped, with each number on the same line as its percent sign."""
    return escape(text).replace(" %", "&nbsp;%")


def _facts(facts: dict[str, str]) -> str:
    items = "".join(
        f"<dt>{shown(name)}</dt><dd>{shown(value)}</dd>" for name, value in facts.items()
    )
    return f'<h3>Settings</h3><dl class="facts">{items}</dl>'


def _key(model: Model) -> str:
    positive = shown(model.classes[1])
    return (
        f'<span class="key for"></span>Orange speaks for {positive}, '
        '<span class="key against"></span>blue against it.'
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"
