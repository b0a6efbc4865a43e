"""``catclf explain``: why one image got its prediction."""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from catclf.cli import options
from catclf.cli.open_data import open_labelled
from catclf.cli.shell import json_line, put, require_output
from catclf.errors import DataError, ImageError, SettingsError
from catclf.images.preprocess import Limits
from catclf.storage.location import locate, write_whole
from catclf.terminal.stream import stdout_styling
from catclf.text import aligned, blocks, counted, printable, reason

if TYPE_CHECKING:
    from catclf.explain import Explanation
    from catclf.maths import Pixels
    from catclf.model import Model
    from catclf.terminal.stream import Styling

BAR = 12  # characters for each side of a bar


WHAT = {
    "index": options.optional(
        int, help="The image's number in a data set.", low=0, group=options.DATA
    ),
    "label": options.optional(
        str,
        help="The true class, for the loss.",
        metavar="CLASS",
        complete=options.complete_class,
        shown="that in the data set, else the predicted class",
    ),
    "image_file": options.optional(
        *(Path, "--image"),
        help="Write the image and the map of its evidence here, as PNG.",
        metavar="FILE",
        check=options.ends_in(".png"),
        group=options.OUTPUT,
    ),
}


def explain(
    *,
    image: Annotated[
        Path, typer.Argument(metavar="IMAGE", help="An image, or with --index a data set.")
    ],
    model: options.ModelPath = Path("model.npz"),
    what: Annotated[options.Options, WHAT],
    reading: Annotated[options.Options, options.reading_options(split=options.SplitOption)],
    format: options.JsonOrText = "text",
) -> None:
    """Explain the prediction for one image: z as a sum of parts, and the graph of its loss.

    Example: catclf explain cat.jpg --label cat --image evidence.png
    """
    from catclf import explain as explaining
    from catclf.images import png
    from catclf.model.file import load, naming

    (index, label, image_file), trained = what.values(), load(model)
    if image_file is not None:
        require_output(image_file, [image, model])
    if index is not None:
        shown, pixels, actual = _of_data_set(reading, trained, image, index)
    elif reading["split"]:
        raise SettingsError("--split is of a data set: say which image with --index")
    else:
        shown, pixels, actual = printable(image), _read(trained, image), None
    with naming(model):
        result = explaining.explain(trained, pixels)
    label = label or actual or result.prediction
    if label not in trained.classes:
        names = " or ".join(map(printable, trained.classes))
        raise SettingsError(f"--label {printable(label)} is no class of the model: use {names}")
    if image_file is not None:
        write_whole(image_file, png.encode(explaining.side_by_side(result)))
    if format == "json":
        put(json_line(_to_dict(shown, result, label)))
    else:
        about = f"{printable(image_file)}: the image, and its evidence" if image_file else ""
        put(_text(shown, result, label, about))


def _read(model: Model, path: Path) -> Pixels:
    """The pixels of an image file as the model takes them. Raises DataError."""
    from catclf.datasets.dataset import ENDINGS
    from catclf.images import decode

    try:
        return decode.read(locate(path).local(Limits.file_bytes), model.preprocess)
    except OSError as error:
        raise DataError(f"{printable(path)}: cannot be read: {reason(error)}") from error
    except ImageError as error:
        why = str(error)
        if path.is_dir() or (path.is_file() and path.name.lower().endswith(ENDINGS)):
            why = "is a data set: say which of its images, as --index 0"
        raise DataError(f"{printable(path)}: {why}") from error


def _of_data_set(
    reading: options.Options, model: Model, path: Path, index: int
) -> tuple[str, Pixels, str | None]:
    """The name of an image, its pixels and its label."""
    data, shown = open_labelled(reading, model, path, encodes=False), printable(path)
    if index >= data.m:
        images = f"{counted(data.m, 'image')}, 0 to {data.m - 1}"
        raise SettingsError(f"--index {index}: {shown} has {images}")
    name = printable(data.names[index]) if data.names else f"image {index}"
    if not name.startswith(f"{shown}:"):
        name = f"{printable(data.source)} {name}"
    return name, data.images[index : index + 1][0], model.classes[int(data.Y[0, index])]


def _to_dict(shown: str, result: Explanation, label: str) -> dict[str, Any]:
    rows = result.loss_rows(result.model.classes.index(label))
    return {
        "image": shown,
        "predicted": result.prediction,
        "probability": result.probability,
        "z": result.z,
        "bias": result.model.b,
        "parts": result.parts,
        "similarity": result.similarity,
        "regions": result.by_region,
        "label": label,
        "graph": [dict(zip(("node", "is", "value", "grad"), row, strict=True)) for row in rows],
    }


def _text(shown: str, result: Explanation, label: str, about: str) -> str:
    """The parts of z with bars to one scale, the 3x3 regions where they lie, and the graph."""
    from catclf.images.png import full_colour

    style, model, positive = stdout_styling(), result.model, printable(result.model.classes[1])
    percent, similarity = f"{100 * result.probability:.2f} %", []
    head = f"{shown}: {printable(result.prediction)}, P({positive}) {percent}, z = {result.z:+z.6f}"
    if model.similarity and (found := result.similarity) is not None:
        limit = model.similarity.limit
        side, what = ("below", "unlike") if found < limit else ("above", "like")
        similarity = [f"similarity {found:.3f}, {side} {limit:.3f}: {what} the training images"]
    kinds, map_of = "channel", "evidence by region"
    if not result.of_pixels:
        kinds, map_of = "kind of features", "score drop when a region is covered"
    parts = {"bias": model.b, **result.parts, "z": result.z}
    bars = _with_bars(parts.values(), "+z.6f", BAR, style)
    rows = [(f"  {name}", *cells) for name, cells in zip(parts, bars, strict=True)]
    regions = _with_bars(result.by_region.values(), "+z.4f", BAR // 3 + 1, style)
    nodes = [
        (row.node, row.formula, f"{row.value:z.6g}", f"{row.grad:z.6g}")
        for row in result.loss_rows(model.classes.index(label))
    ]
    full = f"full colour from ±{full_colour(result.per_pixel):.2g} a pixel"
    return blocks(
        [style.bold(head), *similarity],
        [style.bold(f"z is the bias and the evidence w x of each {kinds}"), *aligned(rows, "<><")],
        [
            style.bold(f"{map_of}: + speaks for {positive}, - against"),
            *aligned([(" ", *chain(*regions[i : i + 3])) for i in (0, 3, 6)], "<><><><"),
        ],
        [style.bold(f"the graph of the loss if the label is {printable(label)}")],
        style.table(("node", "is", "value", "dL / d node"), nodes, "<<>>"),
        [f"{about}: orange for {positive}, blue against,", full] if about else [],
    )


def _with_bars(
    values: Collection[float], spec: str, width: int, style: Styling
) -> list[tuple[str, str]]:
    """Numbers in the colours of their signs, or in none if shown as zero, and bars to one scale."""
    largest, texts = max(map(abs, values)), [format(value, spec) for value in values]
    return [
        (style.signed(float(text), text), style.bar(value, largest, width))
        for value, text in zip(values, texts, strict=True)
    ]
