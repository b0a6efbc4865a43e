"""``catclf explain``: why one image got its prediction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from catclf.cli.completion import complete_class
from catclf.cli.json_text import json_line
from catclf.cli.open_data import open_labelled
from catclf.cli.options import DATA, OUTPUT, JsonOrText, ModelPath, SplitOption, ends_in, option
from catclf.cli.output_paths import require_output
from catclf.cli.stdout import put
from catclf.errors import DataError, ImageError, SettingsError
from catclf.images.preprocess import Limits
from catclf.storage.files import replacing
from catclf.storage.location import locate
from catclf.terminal.style import stdout_styling
from catclf.text import aligned, counted, printable, reason

if TYPE_CHECKING:
    from catclf.explain import Explanation, Row
    from catclf.maths import Pixels
    from catclf.model import Model
    from catclf.terminal.style import Styling

BAR = 12  # characters for each side of a bar


def explain(
    ctx: typer.Context,
    image: Annotated[
        Path,
        typer.Argument(metavar="IMAGE", help="An image, or with --index a data set."),
    ],
    model: ModelPath = Path("model.npz"),
    index: Annotated[
        int | None,
        option(low=0, metavar="N", help="The image's number in a data set.", group=DATA),
    ] = None,
    split: SplitOption = None,
    label: Annotated[
        str | None,
        option(
            help="The true class, for the loss.",
            metavar="CLASS",
            complete=complete_class,
            shown="that in the data set, else the predicted class",
        ),
    ] = None,
    image_file: Annotated[
        Path | None,
        option(
            "--image",
            help="Write the image and the map of its evidence here, as PNG.",
            metavar="FILE",
            check=ends_in(".png"),
            group=OUTPUT,
        ),
    ] = None,
    format: JsonOrText = "text",
) -> None:
    """Explain the prediction for one image: z as a sum of parts, and the graph of its loss.

    Example: catclf explain cat.jpg --label cat --image evidence.png
    """
    from catclf import explain as explaining
    from catclf.images import png
    from catclf.model.file import load, naming

    trained = load(model)
    if image_file is not None:
        require_output(image_file, [image, model])
    shown, pixels, actual = _image(ctx, trained, image, index)
    with naming(model):
        result = explaining.explain(trained, pixels)
    label = label or actual or result.prediction
    if label not in trained.classes:
        names = " or ".join(printable(name) for name in trained.classes)
        raise SettingsError(f"--label {printable(label)} is no class of the model: use {names}")
    rows = result.loss_rows(trained.classes.index(label))
    if image_file is not None:
        with replacing(image_file) as file:
            file.write(png.encode(explaining.side_by_side(result)))
    if format == "json":
        put(json_line(_to_dict(shown, result, label, rows)))
    else:
        put(_format_text(shown, result, label, rows, image_file, stdout_styling()))


def _image(
    ctx: typer.Context, model: Model, path: Path, index: int | None
) -> tuple[str, Pixels, str | None]:
    """The name of the image, its pixels, and its label, or None where it has none."""
    from catclf.images import decode

    if index is None:
        if split := ctx.params.get("split"):
            raise SettingsError(f"--split {split} is of a data set: say which image with --index")
        try:
            return (
                printable(path),
                decode.read(locate(path).copied(Limits.file_bytes), model.preprocess),
                None,
            )
        except OSError as error:
            raise DataError(f"{printable(path)}: cannot be read: {reason(error)}") from error
        except ImageError as error:
            why = "is a data set: say which of its images, as --index 0"
            raise DataError(f"{printable(path)}: {why if _is_data_set(path) else error}") from error
    data = open_labelled(ctx, model, path, encodes=False)
    if index >= data.m:
        raise SettingsError(
            f"--index {index}: {printable(path)} has {counted(data.m, 'image')}, 0 to {data.m - 1}"
        )
    name = printable(data.names[index]) if data.names else f"image {index}"
    pixels = data.images[index : index + 1][0]
    shown = name if name.startswith(f"{printable(path)}:") else f"{printable(data.source)} {name}"
    return shown, pixels, model.classes[int(data.Y[0, index])]


def _is_data_set(path: Path) -> bool:
    from catclf.datasets.dataset import ENDINGS

    return path.is_dir() or (path.is_file() and path.name.lower().endswith(ENDINGS))


def _to_dict(shown: str, result: Explanation, label: str, rows: list[Row]) -> dict[str, Any]:
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
        "graph": [
            {"node": row.node, "is": row.formula, "value": row.value, "grad": row.grad}
            for row in rows
        ],
    }


def _format_text(
    shown: str,
    result: Explanation,
    label: str,
    rows: list[Row],
    image_file: Path | None,
    style: Styling,
) -> str:
    positive = printable(result.model.classes[1])
    head = (
        f"{shown}: {printable(result.prediction)}, P({positive}) {100 * result.probability:.2f} %, "
        f"z = {result.z:+z.6f}"
    )
    lines = [
        style.bold(head),
        *_similarity_lines(result),
        "",
        *_part_lines(result, style),
        "",
        *_region_lines(result, style),
    ]
    title = f"the graph of the loss if the label is {printable(label)}"
    lines += ["", style.bold(title), "", *_graph_lines(rows, style)]
    if image_file is not None:
        from catclf.images.png import full_colour

        full = full_colour(result.per_pixel)
        lines += [
            "",
            f"{printable(image_file)}: the image, and its evidence: orange for {positive}, blue "
            "against,",
            f"full colour from ±{full:.2g} a pixel",
        ]
    return "\n".join(lines) + "\n"


def _similarity_lines(result: Explanation) -> list[str]:
    """How like the image is to those of training, where the model knows."""
    known = result.model.similarity
    if known is None or result.similarity is None:
        return []
    side, what = ("below", "unlike") if result.similarity < known.limit else ("above", "like")
    return [
        f"similarity {result.similarity:.3f}, {side} {known.limit:.3f}: {what} the training images"
    ]


def _part_lines(result: Explanation, style: Styling) -> list[str]:
    """The parts of z, and z itself, with bars to one scale."""
    parts = {"bias": result.model.b, **result.parts, "z": result.z}
    largest = max(map(abs, parts.values()))
    kinds = "channel" if result.of_pixels else "kind of features"
    rows = [
        (f"  {name}", _signed(value, "+z.6f", style), style.bar(value, largest, BAR))
        for name, value in parts.items()
    ]
    title = f"z is the bias and the evidence w x of each {kinds}"
    return [style.bold(title), *aligned(rows, "<><")]


def _region_lines(result: Explanation, style: Styling) -> list[str]:
    """The 3x3 regions where they lie in the image."""
    largest = float(abs(result.regions).max())
    what = "evidence by region" if result.of_pixels else "score drop when a region is covered"
    title = f"{what}: + speaks for {printable(result.model.classes[1])}, - against"
    rows = []
    for values in result.regions.tolist():
        row = [" "]
        for value in values:
            row += [_signed(value, "+z.4f", style), style.bar(value, largest, BAR // 3 + 1)]
        rows.append(row)
    return [style.bold(title), *aligned(rows, "<><><><")]


def _graph_lines(rows: list[Row], style: Styling) -> list[str]:
    head = tuple(map(style.dim, ("node", "is", "value", "dL / d node")))
    cells = [(row.node, row.formula, f"{row.value:z.6g}", f"{row.grad:z.6g}") for row in rows]
    return aligned([head, *cells], "<<>>")


def _signed(value: float, spec: str, style: Styling) -> str:
    """A number in the colour of its sign, or in none if it is shown as zero."""
    text = format(value, spec)
    return style.signed(float(text), text)
