"""``catclf explain``: why one image got its answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from catclf.cli.json_text import json_line
from catclf.cli.open_data import open_labelled
from catclf.cli.options import DATA, OUTPUT, JsonOrText, ModelPath, PartOption
from catclf.cli.output_paths import require_output
from catclf.cli.stdout import put
from catclf.errors import DataError, ImageError, SettingsError
from catclf.storage.files import replacing
from catclf.terminal.style import stdout_styling
from catclf.text import counted, printable

if TYPE_CHECKING:
    from catclf.datasets import Part
    from catclf.explain import Explanation, Row
    from catclf.maths import Pixels
    from catclf.model import Model
    from catclf.terminal.style import Styling

BAR = 12  # characters for each side of a bar


def explain(
    image: Annotated[
        Path,
        typer.Argument(metavar="IMAGE", help="An image, or with --index a data set."),
    ],
    model: ModelPath = Path("model.npz"),
    index: Annotated[
        int | None,
        typer.Option(min=0, help="The image's number in a data set.", rich_help_panel=DATA),
    ] = None,
    part: PartOption = None,
    label: Annotated[
        str | None,
        typer.Option(
            help="The true class, for the loss.",
            show_default="that in the data set, else the answer given",
        ),
    ] = None,
    image_file: Annotated[
        Path | None,
        typer.Option(
            "--image",
            help="Write the image and the map of its evidence here, as PNG.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    format: JsonOrText = "text",
) -> None:
    """Show how one image's answer came about: z as a sum of parts, and the graph of its loss.

    Example: catclf explain cat.jpg --label cat --image evidence.png
    """
    from catclf import explain as explaining
    from catclf.images import png
    from catclf.model.file import load, naming

    trained = load(model)
    if image_file is not None:
        require_output(image_file, [image, model])
    shown, pixels, known = _image(trained, image, index, part)
    with naming(model):
        found = explaining.explain(trained, pixels)
    label = label or known or found.answer
    if label not in found.classes:
        names = " or ".join(printable(name) for name in found.classes)
        raise SettingsError(f"--label {printable(label)} is no class of the model: use {names}")
    rows = explaining.loss_graph(found, found.classes.index(label))
    if image_file is not None:
        with replacing(image_file) as file:
            file.write(png.encode(explaining.side_by_side(found)))
    if format == "json":
        put(json_line(_facts(shown, found, label, rows)))
    else:
        put(_text(shown, found, label, rows, image_file, stdout_styling()))


def _image(
    model: Model, path: Path, index: int | None, part: Part | None
) -> tuple[str, Pixels, str | None]:
    """What the image is called, its pixels, and its label where that is known."""
    from catclf.images import decode

    if index is None:
        if part is not None:
            raise SettingsError(f"--part {part} is of a data set: say which image with --index")
        try:
            return printable(path), decode.read(path, model.preprocess), None
        except ImageError as error:
            hint = ": of a data set say which image, as --index 0" if _is_data_set(path) else ""
            raise DataError(f"{printable(path)}: {error}{hint}") from error
    data = open_labelled(model, path, part)
    if index >= data.m:
        raise SettingsError(
            f"--index {index}: {printable(path)} has {counted(data.m, 'image')}, 0 to {data.m - 1}"
        )
    name = printable(data.names[index]) if data.names else f"image {index}"
    pixels = data.images[index : index + 1][0]
    return f"{printable(data.source)} {name}", pixels, model.classes[int(data.Y[0, index])]


def _is_data_set(path: Path) -> bool:
    from catclf.datasets.dataset import ENDINGS

    return path.is_dir() or (path.is_file() and path.suffix.lower() in ENDINGS)


def _facts(shown: str, found: Explanation, label: str, rows: list[Row]) -> dict[str, Any]:
    from catclf.explain.contributions import COLUMNS, ROWS

    return {
        "picture": shown,
        "answer": found.answer,
        "probability": found.probability,
        "z": found.z,
        "bias": found.bias,
        "channels": found.channels,
        "regions": {
            f"{ROWS[i]} {COLUMNS[j]}": value
            for i, row in enumerate(found.regions.tolist())
            for j, value in enumerate(row)
        },
        "label": label,
        "graph": [
            {"node": row.node, "is": row.made, "value": row.value, "grad": row.grad} for row in rows
        ],
    }


def _text(
    shown: str,
    found: Explanation,
    label: str,
    rows: list[Row],
    image_file: Path | None,
    style: Styling,
) -> str:
    positive = printable(found.classes[1])
    head = (
        f"{shown}: {printable(found.answer)}, P({positive}) {100 * found.probability:.2f} %, "
        f"z = {found.z:+z.6f}"
    )
    lines = [style.bold(head), "", *_part_lines(found, style), "", *_region_lines(found, style)]
    title = f"the graph of the loss if the label is {printable(label)}"
    lines += ["", style.bold(title), "", *_graph_lines(rows, style)]
    if image_file is not None:
        from catclf.images.colormap import full_colour

        full = full_colour(found.per_pixel)
        lines += [
            "",
            f"{printable(image_file)}: the image, and its evidence: orange for {positive}, blue "
            "against,",
            f"full colour from ±{full:.2g} a pixel",
        ]
    return "\n".join(lines) + "\n"


def _part_lines(found: Explanation, style: Styling) -> list[str]:
    """z as bias and three channels, with bars to one scale."""
    parts = {"bias": found.bias, **found.channels}
    most = max(map(abs, (*parts.values(), found.z)))
    lines = [style.bold(found.parts_title)]
    for name, value in (*parts.items(), ("z", found.z)):
        number = style.signed(value, f"{value:+z12.6f}")
        lines.append(f"  {name:<6}{number}  {style.bar(value, most, BAR)}".rstrip())
    return lines


def _region_lines(found: Explanation, style: Styling) -> list[str]:
    """The 3x3 regions where they lie in the image."""
    most = float(abs(found.regions).max())
    positive = printable(found.classes[1])
    lines = [style.bold(f"{found.regions_title}: + speaks for {positive}, - against")]
    for row in found.regions.tolist():
        numbers = [style.signed(v, f"{v:+z9.4f}") for v in row]
        bars = [style.bar(v, most, BAR // 3 + 1) for v in row]
        cells = [f"{number} {bar}" for number, bar in zip(numbers, bars, strict=True)]
        lines.append("  " + "   ".join(cells).rstrip())
    return lines


def _graph_lines(rows: list[Row], style: Styling) -> list[str]:
    width = max(len(row.node) for row in rows)
    made = max(len(row.made) for row in rows)
    head = f"{'node':<{width}}  {'is':<{made}}  {'value':>13}  {'dL / d node':>13}"
    return [
        style.dim(head),
        *(
            f"{row.node:<{width}}  {row.made:<{made}}  {row.value:>13.6g}  {row.grad:>13.6g}"
            for row in rows
        ),
    ]
