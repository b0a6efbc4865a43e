"""``catclf inspect``: the contents of a model file."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from catclf.cli.options import JsonOrText, ModelArgument, file_option
from catclf.cli.shell import json_line, put
from catclf.storage.location import locate, replacing, require_writable
from catclf.terminal.stream import stdout_styling
from catclf.text import aligned, blocks, counted, printable, setting_rows, url_of

if TYPE_CHECKING:
    from catclf.maths.metrics import Counts
    from catclf.model import Model


def inspect(
    model: ModelArgument,
    image_file: Annotated[
        Path | None,
        file_option(
            "--image",
            help="Write the weights as PNG here: all channels together, then red, green and "
            "blue; orange speaks for the positive class, blue against it. Of patches, the "
            "filters of the first layer.",
            endings=[".png"],
        ),
    ] = None,
    format: JsonOrText = "text",
) -> None:
    """Show all that a model file holds: settings, training data, accuracy, cost curve, weights.

    Equal training gives an equal fingerprint on one kind of processor; others round differently.

    Example: catclf inspect model.npz --image weights.png
    """
    from catclf.model.file import load
    from catclf.terminal.progress import curve

    if image_file is not None:
        require_writable(image_file, [model])
    trained = load(model)
    if image_file is not None:
        from catclf.explain import model_image
        from catclf.images.png import encode

        with replacing(image_file) as file:
            file.write(encode(model_image(trained)))
    if format == "json":
        put(json_line(_to_dict(model, trained)))
        return
    lines = aligned(list(_rows(model, trained)), "<<")
    if trained.costs:
        lines += curve(list(trained.costs), 64, 8, ascii_only=stdout_styling().ascii_only)
    put(blocks(lines))


def _to_dict(path: Path, model: Model) -> dict[str, Any]:
    """``costs`` are pairs of a step and the cost after it."""
    training = asdict(model.training)
    for name, counts in (("train", model.training.train), ("test", model.training.test)):
        if counts is not None and counts.total:
            training[name] |= {"accuracy": counts.accuracy}
    return {
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


def _weights(model: Model) -> dict[str, float]:
    norm = math.hypot(*model.w.ravel().tolist())  # finite as long as the norm is
    return {
        "norm": min(norm, sys.float_info.max),
        "least": float(model.w.min()),
        "greatest": float(model.w.max()),
    }


def _rows(path: Path, model: Model) -> Iterator[tuple[str, str]]:
    """The model, its features and its training as names and values."""
    image, weights, training = model.preprocess, _weights(model), model.training
    negative, positive = map(printable, model.classes)
    yield "model", f"{printable(path)}: {counted(locate(path).size(), 'byte', ',')}"
    yield "fingerprint", model.fingerprint
    yield "classes", f"{negative}, {positive} (positive)"
    yield "threshold", f"{model.threshold!r}"
    background = " ".join(map(str, image.background))
    side = f"{image.size}x{image.size} RGB / 255"
    yield "image", f"{side}, {image.fit}, {image.resampling}, background {background}"
    span = f"from {weights['least']:z.4g} to {weights['greatest']:z.4g}"
    yield "weights", f"{model.n:,} {span}, norm {weights['norm']:.4g}"
    if model.features:
        settings = dict(model.features.settings)
        yield "features", settings.pop("kind")
        yield from _indented(settings)
    yield "bias", f"{model.b!r}"
    images = counted(training.images, "image", ",")
    source = printable(training.source) or "unknown"
    yield "trained on", f"{source}: {images}, {training.positives:,} of them {positive}"
    yield "data", f"SHA-256 {printable(training.fingerprint) or 'unknown'}"
    yield "steps", f"{training.steps:,}{', interrupted' if training.interrupted else ''}"
    if training.ending:
        yield "ended", training.ending
    yield from _indented(training.settings)
    yield "train accuracy", _accuracy(training.train)
    yield "test accuracy", _accuracy(training.test)
    yield "made by", f"catclf {printable(training.catclf)}"
    if model.costs:
        ends = (f"{model.costs[i]:z.6f} at step {model.cost_steps[i]}" for i in (0, -1))
        yield "cost", ", ".join(ends)


def _indented(settings: dict[str, Any]) -> list[tuple[str, str]]:
    return [(f"  {name}", value) for name, value in setting_rows(settings)]


def _accuracy(counts: Counts | None) -> str:
    if counts is None or not counts.total:
        return "unknown"
    return f"{100 * counts.accuracy:.2f} %  {counts.correct} of {counts.total}"
