"""``catclf inspect``: the contents of a model file."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from catclf.cli.json_text import json_line
from catclf.cli.options import OUTPUT, JsonOrText, ModelArgument, ends_in, option
from catclf.cli.stdout import put
from catclf.storage.files import replacing, require_writable
from catclf.storage.location import locate
from catclf.text import aligned, counted, printable, setting_rows, url_of

if TYPE_CHECKING:
    from catclf.maths.metrics import Counts
    from catclf.model import Model


def inspect(
    model: ModelArgument,
    image_file: Annotated[
        Path | None,
        option(
            "--image",
            help="Write the weights as PNG here: all channels together, then red, green and "
            "blue; orange speaks for the positive class, blue against it. Of patches, the "
            "filters of the first layer.",
            metavar="FILE",
            check=ends_in(".png"),
            group=OUTPUT,
        ),
    ] = None,
    format: JsonOrText = "text",
) -> None:
    """Show all that a model file holds: settings, training data, accuracy, cost curve, weights.

    Equal training gives an equal fingerprint on one kind of processor; others round differently.

    Example: catclf inspect model.npz --image weights.png
    """
    from catclf.model.file import load

    if image_file is not None:
        require_writable(image_file, [model])
    trained = load(model)
    if image_file is not None:
        from catclf.explain.pictures import model_image
        from catclf.images.png import encode

        with replacing(image_file) as file:
            file.write(encode(model_image(trained)))
    put(_json_text(model, trained) if format == "json" else _format_text(model, trained))


def _json_text(path: Path, model: Model) -> str:
    """One line of strict JSON: ``costs`` are pairs of a step and the cost after it."""
    training = asdict(model.training) | {"settings": _settings(model)}
    for part, counts in (("train", model.training.train), ("test", model.training.test)):
        if counts is not None and counts.total:
            training[part] |= {"accuracy": counts.accuracy}
    fields: dict[str, object] = {
        "path": url_of(path),
        "fingerprint": model.fingerprint,
        "classes": list(model.classes),
        "positive": model.classes[1],
        "threshold": model.threshold,
        "preprocess": asdict(model.preprocess),
        "features": model.features.settings if model.features else {"kind": "pixels"},
        "n": model.n,
        "bias": model.b,
        "weights": _weights(model),
        "training": training,
        "costs": list(zip(model.cost_steps, model.costs, strict=True)),
    }
    return json_line(fields)


def _settings(model: Model) -> dict[str, Any]:
    """The settings of training; older models do not name the rule by which they were summed."""
    from catclf.maths.reduction import OLDER_RULE, SUMMED

    settings = model.training.settings
    if settings.get("method") not in SUMMED or "summation" in settings:
        return settings
    return settings | {"summation": OLDER_RULE}


def _weights(model: Model) -> dict[str, float]:
    largest = float(abs(model.w).max())
    # Scaled, so that the sum of squares of very large weights stays finite.
    scaled = model.w / largest if largest else model.w
    return {
        "norm": min(largest * float((scaled * scaled).sum() ** 0.5), sys.float_info.max),
        "least": float(model.w.min()),
        "greatest": float(model.w.max()),
    }


def _format_text(path: Path, model: Model) -> str:
    """Names and values, one pair a line, and the cost curve."""
    from catclf.terminal.chart import curve

    lines = aligned(_rows(path, model), "<<")
    if model.costs:
        encoding = getattr(sys.stdout, "encoding", None) or "ascii"
        ascii_only = "utf" not in encoding.lower()
        lines += curve(list(model.costs), 64, 8, ascii_only=ascii_only)
    return "\n".join(lines) + "\n"


def _rows(path: Path, model: Model) -> list[tuple[str, str]]:
    """The model, its features and its training as names and values."""
    image, weights = model.preprocess, _weights(model)
    background = " ".join(map(str, image.background))
    return [
        ("model", f"{printable(path)}: {counted(locate(path).size(), 'byte', ',')}"),
        ("fingerprint", model.fingerprint),
        ("classes", f"{printable(model.classes[0])}, {printable(model.classes[1])} (positive)"),
        ("threshold", f"{model.threshold!r}"),
        (
            "image",
            f"{image.size}x{image.size} RGB / 255, {image.fit}, {image.resampling}, "
            f"background {background}",
        ),
        (
            "weights",
            f"{model.n:,} from {weights['least']:z.4g} to {weights['greatest']:z.4g}, "
            f"norm {weights['norm']:.4g}",
        ),
        *_feature_rows(model),
        ("bias", f"{model.b!r}"),
        *_training_rows(model),
    ]


def _training_rows(model: Model) -> list[tuple[str, str]]:
    training = model.training
    images = (
        f"{counted(training.images, 'image', ',')}, "
        f"{training.positives:,} of them {printable(model.classes[1])}"
    )
    rows = [
        ("trained on", f"{printable(training.source) or 'unknown'}: {images}"),
        ("data", f"SHA-256 {printable(training.fingerprint) or 'unknown'}"),
        ("steps", f"{training.steps:,}{', interrupted' if training.interrupted else ''}"),
        *([("ended", training.ending)] if training.ending else []),
        *_indented(setting_rows(_settings(model))),
        ("train accuracy", _accuracy(training.train)),
        ("test accuracy", _accuracy(training.test)),
        ("made by", f"catclf {printable(training.catclf)}"),
    ]
    if model.costs:
        first, last = (f"{model.costs[i]:z.6f} at step {model.cost_steps[i]}" for i in (0, -1))
        rows.append(("cost", f"{first}, {last}"))
    return rows


def _feature_rows(model: Model) -> list[tuple[str, str]]:
    """The kind of features and their settings, unless they are pixels."""
    if model.features is None:
        return []
    settings = model.features.settings
    rest = {name: value for name, value in settings.items() if name != "kind"}
    return [("features", model.features.kind), *_indented(setting_rows(rest))]


def _indented(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(f"  {name}", value) for name, value in rows]


def _accuracy(counts: Counts | None) -> str:
    if counts is None or not counts.total:
        return "unknown"
    return f"{100 * counts.accuracy:.2f} %  {counts.correct} of {counts.total}"
