"""``catclf export``: a model as other programs take it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from catclf.cli.options import OUTPUT, ModelArgument, Quiet, file_option, option
from catclf.cli.shell import put, require_output
from catclf.errors import SettingsError
from catclf.storage.location import write_whole
from catclf.text import counted, printable

ENDINGS = {".onnx": "onnx", ".html": "html", ".htm": "html"}


def export(
    model: ModelArgument,
    output: Annotated[
        Path | None,
        file_option(
            "--output",
            "-o",
            help="File to write.",
            shown="the model's name, ending in .onnx or .html",
        ),
    ] = None,
    format: Annotated[
        str | None,
        option(
            help="onnx: a graph from images to label and probability, for any ONNX runtime; needs "
            "the extra onnx. html: a page that scores images in any browser, for models of "
            "network and of pixels.",
            choices=("onnx", "html"),
            shown="by the ending of --output",
            group=OUTPUT,
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write a model as an ONNX graph, or as a page to try it.

    The graph takes images of the model's size as uint8, and holds everything after that, whatever
    the features. What is to be done to an image first stands in it.

    The page is one file that needs no network: it scores images that are chosen, dropped on it,
    pasted or seen by the camera, shows the evidence for its answer, and saves labels that you give.

    Example: catclf export model.npz -o try.html
    """
    from catclf.model.file import load

    if output is None:
        output = Path(model.name).with_suffix(f".{format or 'onnx'}")
    said = ENDINGS.get(output.suffix.lower())
    kind = format or said
    if kind is None or (said or kind) != kind:
        raise SettingsError(f"{printable(output)}: end it in .onnx or .html, as it is written")
    require_output(output, [model])
    trained = load(model)
    if kind == "html":
        from catclf.export.page import scoring_page

        content, takes = scoring_page(trained, model.name).encode("utf-8"), "images in any browser"
    else:
        from catclf.export import to_onnx

        size = trained.preprocess.size
        content, takes = to_onnx(trained), f"images uint8 (N, {size}, {size}, 3)"
    write_whole(output, content)
    if not quiet:
        put(f"{printable(output)}: {kind}, {counted(len(content), 'byte', ',')}, for {takes}\n")
