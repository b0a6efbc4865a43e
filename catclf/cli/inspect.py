"""``catclf inspect``: the contents of a model file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from catclf.cli.options import JsonOrText, ModelArgument, file_option
from catclf.cli.shell import json_line, put
from catclf.storage.location import locate, require_writable, write_whole
from catclf.terminal.stream import stdout_styling
from catclf.text import aligned, blocks, counted, printable, url_of

if TYPE_CHECKING:
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

        write_whole(image_file, encode(model_image(trained)))
    if format == "json":
        put(json_line(_to_dict(model, trained)))
        return
    size = counted(locate(model).size(), "byte", ",")
    lines = aligned([("model", f"{printable(model)}: {size}"), *trained.facts()], "<<")
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
        "weights": model.weight_range,
        "training": training,
        "costs": list(zip(model.cost_steps, model.costs, strict=True)),
    }
