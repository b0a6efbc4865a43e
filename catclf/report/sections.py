"""The report's sections as HTML. Every text that comes from a file passes through ``shown``."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from catclf.datasets import Dataset
from catclf.evaluation.compare import COLUMNS, NAMES, Candidate, Comparison, Result
from catclf.evaluation.evaluate import Evaluation, measures
from catclf.metrics import Counts, wilson
from catclf.model import Model
from catclf.report import charts, pictures
from catclf.report.svg import Chart
from catclf.text import counted, printable


def shown(text: str) -> str:
    """Any text as one line that is safe in HTML."""
    return escape(printable(text))


def tiles(model: Model, found: Evaluation | None) -> str:
    """The few numbers to see first."""
    if found is None:
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
    known = {measure.key: measure for measure in measures(found)}
    cells = [
        _tile("accuracy", known["accuracy"].show(found.counts.accuracy), _interval(found.counts))
    ]
    for key in ("balanced_accuracy", "roc_auc", "log_loss"):
        measure = known[key]
        cells.append(
            _tile(
                measure.name,
                measure.show(measure.value),
                f"answering blindly: {measure.show(measure.blind)}",
            )
        )
    return f'<dl class="tiles">{"".join(cells)}</dl>'


def data_section(model: Model, found: Evaluation | None) -> str:
    """How many images of which class the model was trained and judged on."""
    training = model.training
    bars = []
    if training.images:
        name = f"trained on {shown(training.source)}"
        bars.append(_share(name, training.positives, training.images, model.classes))
    if found is not None:
        name = f"judged on {shown(found.source)}"
        bars.append(_share(name, found.counts.positives, found.counts.total, model.classes))
    size = model.preprocess.size
    return _section(
        "Data",
        f"<p>An image is {size}×{size} pixels of red, green and blue: {model.preprocess.n} "
        f"numbers, {_made(model)}. Files are fitted by <code>"
        f"{shown(model.preprocess.fit)}</code>.</p>"
        f'<div class="pair">{"".join(bars)}</div>',
    )


def training_section(model: Model) -> str:
    """Settings beside the cost curve."""
    training = model.training
    facts = {name.replace("_", " "): str(value) for name, value in training.settings.items()}
    facts["steps done"] = f"{training.steps}{' (interrupted)' if training.interrupted else ''}"
    facts["bias b"] = f"{model.b:+.6f}"
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


def results_section(found: Evaluation) -> str:
    """All measures, the confusion matrix, and the two curves."""
    rows = []
    for measure in measures(found):
        blind = "" if measure.blind is None else measure.show(measure.blind)
        note = f'<span class="note">{_kept(measure.note)}</span>' if measure.note else ""
        rows.append(
            f'<tr><th scope="row">{escape(measure.name)}{note}</th>'
            f'<td class="num">{measure.show(measure.value)}</td><td class="num">{blind}</td></tr>'
        )
    table = (
        '<table><thead><tr><th scope="col">measure</th><th scope="col" class="num">model</th>'
        f'<th scope="col" class="num">blind</th></tr></thead><tbody>{"".join(rows)}</tbody></table>'
        '<p class="hint">Blind: the best that an answer which ignores the image could get.</p>'
    )
    curves = []
    if found.counts.positives and found.counts.negatives:
        curves.append(
            figure(charts.roc_curve(found), "Each point is a threshold; the dot is the one in use.")
        )
    caption = "Numbers on top: images in each tenth. Bars: 95 % intervals."
    curves.append(figure(charts.calibration_chart(found), caption))
    return _section(
        "Results",
        f"<p>On {shown(found.source)}, at threshold {found.threshold:g}.</p>"
        f'<div class="pair"><div>{table}</div>{confusion(found)}</div>'
        f'<div class="pair">{"".join(curves)}</div>',
    )


def confusion(found: Evaluation) -> str:
    """The confusion matrix, shaded by the share of its row."""
    counts, (negative, positive) = found.counts, map(shown, found.classes)
    rows = (
        (negative, counts.negatives, (("right", counts.tn), ("wrong", counts.fp))),
        (positive, counts.positives, (("wrong", counts.fn), ("right", counts.tp))),
    )
    body = []
    for name, total, cells in rows:
        shaded = []
        for css, count in cells:
            share = 100 * count / total if total else 0.0
            shaded.append(
                f'<td class="{css}" style="--share:{0.42 * share:.0f}%"><b>{count}</b>'
                f'<span class="note">{share:.1f} % of {name}</span></td>'
            )
        body.append(f'<tr><th scope="row">is {name}</th>{"".join(shaded)}</tr>')
    return (
        '<figure><table class="confusion"><thead><tr><td></td>'
        f'<th scope="col">said {negative}</th><th scope="col">said {positive}</th></tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table><figcaption>Confusion matrix: {counts.correct} of "
        f"{counted(counts.total, 'image')} answered rightly.</figcaption></figure>"
    )


def _made(model: Model) -> str:
    """What becomes of the pixels."""
    if model.features is None:
        return "each divided by 255"
    return f"turned into {model.n} by <code>{model.features.kind}</code>"


def _evidence(model: Model) -> str:
    """What the maps show."""
    if model.features is None:
        return "weight times value, added up over the channels"
    return "how much z falls when a square is covered with the image's mean colour"


def weights_section(model: Model) -> str:
    """What the model looks for."""
    if model.features is not None:
        return _section(
            "Weights",
            f"<p>{model.n} weights, one for each number that <code>{model.features.kind}</code> "
            f"make of an image.</p>{pictures.atoms(model)}",
        )
    return _section(
        "Weights",
        "<p>One weight for each number of an image. Times the pixel's value it is the evidence "
        f"that this value gives. {_key(model)}</p>{pictures.weight_maps(model)}",
    )


def gallery_section(model: Model, data: Dataset, found: Evaluation, count: int) -> str:
    """The most confident wrong and right answers."""
    parts = []
    for title, right in (("Wrong", False), ("Right", True)):
        answers = found.answers(right, count)
        if answers:
            parts.append(f"<h3>{title}</h3>{pictures.gallery(model, data, answers)}")
    return _section(
        "Most confident answers",
        f"<p>Each image beside its evidence, {_evidence(model)}. "
        f"{_key(model)} Each map has its own scale.</p>{''.join(parts)}",
    )


def compare_section(found: Comparison, measure: str) -> str:
    """The table and the curves of a comparison."""
    best = found.best(measure)
    rows = "".join(_candidate(result, result is best) for result in found.results)
    heads = "".join(f'<th scope="col" class="num">{escape(NAMES[name])}</th>' for name in COLUMNS)
    plan = found.plan
    repeats = f", {plan.repeats} times" if plan.repeats > 1 else ""
    said = "Every candidate diverged."
    if best is not None:
        taken = escape(train_options(best.candidate, found.plan.features))
        said = f"Best {NAMES[measure]}: <code>{taken}</code>."
        alike = ", ".join(escape(str(result.candidate)) for result in found.as_good(measure))
        if alike:
            said += f" Within the spread of these folds as good: {alike}."
    chart = ""
    if best is not None:
        caption = "Held-out folds as thick lines, training folds as thin dotted ones."
        chart = figure(charts.comparison_chart(found), caption)
    return _section(
        "Comparison of settings",
        f"<p>{plan.folds}-fold cross-validation{repeats} on "
        f"{counted(found.images, 'image')} of {shown(found.source)}, "
        f"{counted(plan.iterations, 'step')} each; no test set was used. {said}</p>"
        '<div class="scroll" tabindex="0" role="region" aria-label="compared settings">'
        f'<table><thead><tr><th scope="col">settings</th>{heads}</tr></thead>'
        f'<tbody>{rows}</tbody></table></div><p class="hint">Mean ± standard deviation over '
        f'held-out folds.</p><div class="pair">{chart}</div>',
    )


def figure(chart: Chart, caption: str) -> str:
    """A chart under its title, with a caption."""
    return (
        f"<figure><h3>{escape(chart.title)}</h3>{chart.text()}"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def warning(lines: Sequence[str]) -> str:
    """What the reader should know before believing the numbers."""
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
    mean, spread = result.mean(name), result.spread(name)
    if name in ("accuracy", "balanced_accuracy"):
        return f"{100 * mean:.1f} ± {100 * spread:.1f} %"
    return f"{mean:.3f} ± {spread:.3f}"


def _share(name: str, positives: int, total: int, classes: tuple[str, str]) -> str:
    """A bar of two parts with their names and numbers."""
    share = 100 * positives / total
    negative, positive = map(shown, classes)
    return (
        f'<figure><h3>{name}</h3><div class="share" role="img" aria-label="{share:.1f} % '
        f'{positive}, {100 - share:.1f} % {negative}"><span style="width:{share:.2f}%"></span>'
        f'<span style="flex:1"></span></div><figcaption>{positives} {positive} ({share:.1f} %), '
        f"{total - positives} {negative} ({100 - share:.1f} %)</figcaption></figure>"
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


def train_options(candidate: Candidate, features: str = "pixels") -> str:
    """A candidate as options of ``catclf train``."""
    penalty = f" --l2 {candidate.l2:g}" if candidate.l2 else ""
    rate = f"--learning-rate {candidate.learning_rate:g}"
    if features == "pixels":
        return f"{rate}{penalty}"
    return f"--features {features} --solver gd {rate}{penalty or ' --l2 0'}"
