"""``catclf export``: a model as other programs take it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from catclf.cli.options import OUTPUT, Quiet
from catclf.cli.output_paths import require_output
from catclf.cli.stdout import put
from catclf.errors import SettingsError
from catclf.storage.files import replacing
from catclf.text import counted, printable

Format = Literal["onnx", "weights-csv"]
ENDINGS: dict[str, Format] = {".onnx": "onnx", ".csv": "weights-csv"}


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Model file made by train.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write.", rich_help_panel=OUTPUT)
    ] = Path("model.onnx"),
    format: Annotated[
        Format | None,
        typer.Option(
            help="onnx: a graph from images to label and probability, for any ONNX runtime; needs "
            "the extra onnx. weights-csv: a table of the weights of pixels.",
            show_default="by the ending of --output",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write a model as an ONNX graph or as a table of its weights.

    The graph takes images of the model's size as uint8, and holds everything after that, whatever
    the features. What is to be done to an image first stands in it.

    Example: catclf export model.npz -o model.onnx
    """
    from catclf import export as writers
    from catclf.model.file import load

    kind = format or ENDINGS.get(output.suffix.lower())
    if kind is None:
        endings = " or ".join(ENDINGS)
        raise SettingsError(
            f"--output {printable(output)}: cannot tell the format: end it in {endings}, or give "
            "--format"
        )
    require_output(output, [model])
    trained = load(model)
    content = (
        writers.to_onnx(trained) if kind == "onnx" else writers.to_csv(trained).encode("ascii")
    )
    with replacing(output) as file:
        file.write(content)
    if not quiet:
        size = trained.preprocess.size
        takes = f"images uint8 (N, {size}, {size}, 3)" if kind == "onnx" else "pixels / 255"
        put(f"{printable(output)}: {kind}, {counted(len(content), 'byte', ',')}, for {takes}\n")
