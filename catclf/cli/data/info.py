"""``catclf data info``: what a data set holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from catclf.cli.json_text import json_line
from catclf.cli.open_data import (
    open_splits,
    reading_with_progress,
    warn_of_idle_fit,
    warn_of_left_out,
    warn_of_notes,
)
from catclf.cli.options import (
    OUTPUT,
    JsonOrText,
    Options,
    SourcePath,
    ends_in,
    option,
    reading_options,
)
from catclf.cli.output_paths import require_output
from catclf.cli.stdout import put
from catclf.errors import DataError
from catclf.storage.files import replacing
from catclf.text import counted, printable, url_of

if TYPE_CHECKING:
    from catclf.datasets import Listing, Split
    from catclf.maths import Pixels

SHEET = 96  # images on a contact sheet: 12 by 8


def info(
    *,
    source: SourcePath,
    image_file: Annotated[
        Path | None,
        option(
            "--image",
            help="Write a contact sheet as PNG here.",
            metavar="FILE",
            check=ends_in(".png"),
            group=OUTPUT,
        ),
    ] = None,
    reading: Annotated[Options, reading_options("size", "fit", "skip_bad")],
    format: JsonOrText = "text",
) -> None:
    """Show shapes, classes, class balance and settings of a data set.

    Example: catclf data info train.h5 --image sheet.png
    """
    from catclf.datasets import bytes_of

    if image_file is not None:
        require_output(image_file, [source])
    warn_of_idle_fit(reading["fit"], [source])
    with reading_with_progress(reading) as how:
        parts = open_splits(source, how)
        warn_of_notes(parts.values())
        if image_file is not None:
            _write_sheet(image_file, parts)
    facts = {part: _facts(data) for part, data in parts.items()}
    if format == "json":
        put(json_line({"source": url_of(source), "parts": facts}))
        return
    bytes_on_disk = bytes_of(source)
    size_note = f", {bytes_on_disk / 1e6:.1f} MB" if bytes_on_disk is not None else ""
    put(f"{printable(source)}{size_note}\n")
    for part, fact in facts.items():
        put(_text(part, fact))


def _facts(source: Listing) -> dict[str, Any]:
    import numpy as np

    names = source.classes or ("0", "1")
    counts = np.bincount(source.labels, minlength=len(names)).tolist()
    preprocess = source.preprocess
    return {
        "images": len(source.labels),
        "shape": [len(source.labels), preprocess.size, preprocess.size, 3],
        "classes": dict(zip(names, counts, strict=True)),
        "fit": preprocess.fit,
        "resampling": preprocess.resampling,
        "names": source.names() is not None,
    }


def _text(part: str, fact: dict[str, Any]) -> str:
    shape = " x ".join(str(axis) for axis in fact["shape"])
    lines = [f"{part}: {counted(fact['images'], 'image')}, uint8 {shape}, fit {fact['fit']}"]
    for name, count in fact["classes"].items():
        percent = 100 * count / max(fact["images"], 1)
        lines.append(f"  {printable(name):<20} {count:>8}  {percent:5.1f} %")
    return "\n".join(lines) + "\n"


def _require_one_size(parts: dict[Split, Listing]) -> None:
    sizes = {part: source.preprocess.size for part, source in parts.items()}
    if len(set(sizes.values())) > 1:
        shown = next(iter(parts.values())).shown
        each = ", ".join(f"{part} {size}x{size}" for part, size in sizes.items())
        raise DataError(
            f"{shown}: its splits have images of different sizes ({each}): "
            "a contact sheet needs one size"
        )


def _write_sheet(image_file: Path, parts: dict[Split, Listing]) -> None:
    """Images of all parts, evenly chosen, each class's in a frame of its own colour."""
    import numpy as np

    from catclf.images.png import contact_sheet

    _require_one_size(parts)
    images: list[Pixels] = []
    labels: list[int] = []
    for source in parts.values():
        m = len(source.labels)
        rows = np.linspace(0, m - 1, min(m, SHEET // len(parts))).round().astype(np.int64)
        chosen = source.select(rows).with_options(every_class=False)
        for shown, block in chosen.blocks():
            images += list(block)
            labels += chosen.labels[shown].tolist()
        warn_of_left_out(chosen)
    if not images:
        raise DataError(f"{next(iter(parts.values())).shown}: no image can be read for the sheet")
    with replacing(image_file) as file:
        file.write(contact_sheet(np.stack(images), labels))
