"""``catclf data``: make, look at, check and divide data sets."""

from __future__ import annotations

import csv
import io
import textwrap
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from catclf.cli import options
from catclf.cli.open_data import reading_to_train, splits_of, warn_of_left_out, warn_of_notes
from catclf.cli.shell import ExitCode, as_options, json_line, put, require_output, require_own, warn
from catclf.cli.usage import Group, add_command, put_help
from catclf.errors import DataError, SettingsError
from catclf.settings import AUTO, Settings
from catclf.storage.location import is_remote, write_whole
from catclf.text import aligned, blocks, counted, printable, url_of

if TYPE_CHECKING:
    from catclf.datasets import Listing, Split
    from catclf.evaluation.evaluate import Suspect
    from catclf.maths import Pixels

SHEET = 96  # images on a contact sheet: 12 by 8
SizeFitSkip = Annotated[options.Options, options.reading_options("size", "fit", "skip_bad")]

data = typer.Typer(cls=Group, invoke_without_command=True)


@data.callback()
def group(ctx: typer.Context) -> None:
    """Make, look at, check and divide data sets."""
    if ctx.invoked_subcommand is None:
        put_help(ctx)


# Pack

PACKING: options.Options = {
    "compress": options.of_output(
        str,
        help="none, gzip or lzf: smaller, but slower to read in each pass.",
        choices=("none", "gzip", "lzf"),
    ),
    "workers": options.Workers,
    "shard_images": options.optional(
        int, help="Images of a shard, where --output is a folder.", low=1, shown="65536"
    ),
    **options.CLUSTER,
    "quiet": options.Quiet,
}


def pack(
    *,
    source: options.SourcePath,
    output: Annotated[
        str,
        options.option(
            *("--output", "-o"),
            help="HDF5 file to write, or a folder for shards of 65,536 images: a name ending in /, "
            "or a URL such as s3://bucket/packed.",
            metavar="PATH",
            group=options.OUTPUT,
            check=options.ends_in(".h5", ".hdf5"),
        ),
    ],
    reading: SizeFitSkip,
    packing: Annotated[options.Options, PACKING],
) -> None:
    """Write a data set as one HDF5 file or as shards, in the memory of a few images.

    A file appears under its name when it is complete, and trains to the same model as its source.
    Packing to a folder that was stopped goes on with the first shard that is not there.

    Example: catclf data pack photos/ -o photos.h5
    """
    from catclf.datasets import hdf5, packed
    from catclf.datasets.dataset import HDF5_ENDINGS

    path, workers, quiet = Path(output), packing["workers"], packing["quiet"]
    address = options.address_of(packing)
    compress = packing["compress"] or "none"
    to_store = is_remote(path) and path.suffix.lower() not in HDF5_ENDINGS
    to_folder = output.endswith("/") or path.is_dir() or to_store
    if not to_folder:
        if address is not None:
            raise SettingsError("--cluster writes shards: give a folder, a name ending in /")
        hdf5.require_output(path, [source])
        require_own(path)
    with splits_of(reading, source, quiet, workers=workers) as splits, ExitStack() as stack:
        if not to_folder:
            made = _write_file(path, splits, compress)
        else:
            packed.require_folder(path, [source])
            packers = None
            if address is not None:
                from catclf.cluster.engine import AGAIN, connected
                from catclf.cluster.packing import Packers

                engine = stack.enter_context(connected(address, AGAIN))
                packers = Packers(engine, source, address.threads(workers)).done
            shards = packed.write_folder(
                path, splits, compress, shard_images=packing["shard_images"], workers=packers
            )
            made = {
                split: f"{counted(len(each.labels), 'image')} in {counted(each.shards, 'shard')}"
                + (f", {each.kept} of them kept" if each.kept else "")
                for split, each in shards.items()
            }
    for split, what in made.items():
        warn_of_left_out(splits[split])
        if not quiet:
            put(f"{printable(path)}: {split} {what}\n")


def _write_file(path: Path, splits: dict[Split, Listing], compress: str) -> dict[Split, str]:
    """Write all splits to one file, and say how many images each has and how fast all were."""
    from catclf.datasets.hdf5 import write

    began = perf_counter()
    written = write(path, splits, compress)
    speed = sum(map(len, written.values())) / max(perf_counter() - began, 1e-9)
    return {
        split: f"{counted(len(labels), 'image')}, {speed:,.0f} a second"
        for split, labels in written.items()
    }


# Info


def info(
    *,
    source: options.SourcePath,
    image_file: Annotated[
        Path | None,
        options.file_option("--image", help="Write a contact sheet as PNG here.", endings=[".png"]),
    ] = None,
    reading: SizeFitSkip,
    format: options.JsonOrText = "text",
) -> None:
    """Show shapes, classes, class balance and settings of a data set.

    Example: catclf data info train.h5 --image sheet.png
    """
    from catclf.datasets import bytes_of

    if image_file is not None:
        require_output(image_file, [source])
    with splits_of(reading, source) as splits:
        if image_file is not None:
            write_whole(image_file, _sheet(splits))
    facts = {split: _facts(listing) for split, listing in splits.items()}
    if format == "json":
        put(json_line({"source": url_of(source), "parts": facts}))
        return
    size = bytes_of(source)
    lines = [printable(source) + (f", {size / 1e6:.1f} MB" if size is not None else "")]
    for split, fact in facts.items():
        shape = " x ".join(map(str, fact["shape"]))
        images = fact["images"]
        lines.append(f"{split}: {counted(images, 'image')}, uint8 {shape}, fit {fact['fit']}")
        lines += [
            f"  {printable(name):<20} {count:>8}  {100 * count / max(images, 1):5.1f} %"
            for name, count in fact["classes"].items()
        ]
    put(blocks(lines))


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


def _sheet(splits: dict[Split, Listing]) -> bytes:
    """Images of all splits as a PNG, evenly chosen, each class's in a frame of its own colour."""
    import numpy as np

    from catclf.images.png import contact_sheet

    images: list[Pixels] = []
    labels: list[int] = []
    for source in splits.values():
        m = len(source.labels)
        rows = np.linspace(0, m - 1, min(m, SHEET // len(splits))).round().astype(np.int64)
        chosen = source.select(rows).with_options(every_class=False)
        for found, block in chosen.blocks():
            images += list(block)
            labels += chosen.labels[found].tolist()
        warn_of_left_out(chosen)
    if len({image.shape for image in images}) != 1:
        shown = next(iter(splits.values())).shown
        raise DataError(
            f"{shown}: has no image, or images of several sizes: a sheet needs one size"
        )
    return contact_sheet(np.stack(images), labels)


# Verify


def verify(
    *,
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="Data sets.")],
    reading: Annotated[options.Options, options.reading_options("size")],
    format: options.JsonOrText = "text",
) -> None:
    """Look for duplicates, leaks between parts, odd class balance and bad images.

    Exits with 1 when it finds any. Several sources are taken as parts of one data set.

    Example: catclf data verify train.h5 test.h5
    """
    from catclf.datasets.checks import findings, measure
    from catclf.datasets.digests import DISTANCE, LEVELS

    measured, names = [], [source.name or str(source) for source in sources]
    for source, name in zip(sources, names, strict=True):
        with splits_of(reading, source, skip_bad=True, every_class=False) as splits:
            for split, listing in splits.items():
                label = printable(name if names.count(name) == 1 else source)
                measured.append(measure(f"{label} {split}" if len(splits) > 1 else label, listing))
    problems = list(findings(measured, reading["size"] or 64))
    counts = {each.label: len(each.rows) for each in measured}
    if format == "json":
        checked = [{"split": label, "images": count} for label, count in counts.items()]
        found = [{"kind": problem.kind, "message": problem.message} for problem in problems]
        put(json_line({"checked": checked, "problems": found}))
    else:
        each = ", ".join(f"{label} {count}" for label, count in counts.items())
        looked_for = (
            f"looked for: equal images; near-duplicates (hashes within {DISTANCE} of 64 bits and "
            f"thumbnails within {LEVELS:g} grey levels); labels of duplicates; class balance; "
            "empty, unreadable, small and scrambled images"
        )
        lines = [as_options(problem.message) for problem in problems]
        lines.append(f"checked {counted(sum(counts.values()), 'image')}: {each}")
        lines += textwrap.wrap(looked_for, 79, subsequent_indent="  ")
        put(blocks([*lines, f"problems: {len(problems) or 'none'}"]))
    if problems:
        raise typer.Exit(ExitCode.NO)


# Split


def split(
    *,
    source: options.SourcePath,
    output: Annotated[Path, options.file_option("--output", "-o", help="HDF5 file to write.")],
    test: Annotated[
        float, options.option(low=0.0, high=1.0, help="Fraction of images for the test part.")
    ] = 0.2,
    seed: Annotated[int, options.option(low=0, help="Which of the possible divisions.")] = 0,
    reading: SizeFitSkip,
    quiet: options.Quiet = False,
) -> None:
    """Divide a data set at random into a training and a test part of one HDF5 file.

    Both parts get the same class balance as far as possible; duplicates and near-duplicates stay
    together, so that no test image was seen in training.

    Example: catclf data split photos/ -o photos.h5 --test 0.2
    """
    from catclf.datasets.checks import duplicate_groups, measure
    from catclf.datasets.hdf5 import require_output as require_hdf5
    from catclf.datasets.hdf5 import write
    from catclf.samples import stratified_split

    require_hdf5(output, [source])
    require_own(output)
    with splits_of(reading, source, quiet) as splits:
        if len(splits) > 1:
            raise DataError(f"{printable(source)}: has a training and a test split already")
        [whole] = splits.values()
        measured = measure(whole.name, whole)
        warn_of_left_out(whole)
        grouped = duplicate_groups(measured, test)
        divided = stratified_split(measured.labels, grouped.groups, test, seed)
        train, held = (measured.rows[part] for part in divided)
        written = write(output, {"train": whole.select(train), "test": whole.select(held)})
    if not quiet:
        for note in grouped.notes:
            warn(note)
        for name, labels in written.items():
            put(f"{printable(output)}: {name} {counted(len(labels), 'image')}\n")


# Suspects

LISTING: options.Options = {
    "workers": options.Workers,
    "format": options.of_output(
        str, help="How to print: text, csv or jsonl.", choices=("text", "csv", "jsonl")
    ),
    "output": options.optional_file(
        "--output", "-o", help="Page of the images to write.", endings=[".html", ".htm"]
    ),
    "quiet": options.Quiet,
}


def suspects(
    *,
    source: options.SourcePath,
    settings: Annotated[options.Options, options.settings_options("features", "seed", "cache")],
    reading: options.Reading,
    listing: Annotated[options.Options, LISTING],
) -> None:
    """List labels that are probably wrong, the most doubted first, to be looked at.

    Each image is judged by models that were trained without it. An image is suspect where they are
    as sure of the other class as they are of images of that class on average; those that they have
    wrong, but less surely, come after these. Where a source has parts its training part is used.

    Example: catclf data suspects photos --features network -o suspects.html
    """
    from catclf.datasets import open_dataset
    from catclf.evaluation.evaluate import suspects as find
    from catclf.terminal.progress import phases
    from catclf.training import prepare_job

    workers, output, quiet = (listing[name] for name in ("workers", "output", "quiet"))
    if output is not None:
        require_output(output, [source])
    asked: options.Options = {"features": AUTO, "l2": AUTO}
    wanted = Settings(**asked | options.given(settings))
    with reading_to_train(reading, wanted, [source], quiet, workers) as (wanted, how):
        opened = open_dataset(source, "train", how)
    warn_of_notes(opened)
    opened.require_both_classes()
    job = prepare_job(opened, wanted, workers=workers, phase=phases(quiet))
    for note in job.notes + job.resolved.notes:
        warn(note)
    found, looked_at = list["Suspect"](), 0
    if job.resolved.scored is not None:
        rows, Z = job.resolved.scored
        found = find(Z, opened.Y[:, rows], opened.classes, opened.names, rows)
        looked_at = len(rows)
    put(_listed(found, looked_at, printable(opened.source), listing["format"]))
    if output is not None:
        from catclf.report import suspects_page

        write_whole(output, suspects_page(opened, found, looked_at).encode("utf-8"))


def _listed(found: list[Suspect], looked_at: int, source: str, format: str) -> str:
    """Suspects as tables, as JSON lines, or as lines quoted as RFC 4180 says."""
    if format == "jsonl":
        return "".join(json_line(asdict(each)) for each in found)
    if format == "csv":
        text = io.StringIO()
        names = ("index", "name", "label", "other", "probability", "sure")
        rows = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
        rows.writeheader()
        rows.writerows(asdict(each) for each in found)
        return text.getvalue()
    sure = sum(each.sure for each in found)
    head = f"{source}: {counted(sure, 'suspect label')} among {counted(looked_at, 'image')}"
    if not looked_at:
        head = f"{source}: too few images to judge labels by models of others"
    tables = []
    for title, is_sure in (("suspect", True), ("less sure", False)):
        cells = [
            (f"{100 * s.probability:.2f} %", s.label, s.other, s.display_name)
            for s in found
            if s.sure == is_sure
        ]
        heads = ("P(other)", "label", "other", "image")
        tables.append([title, *aligned([heads, *cells], "><<<")] if cells else [])
    return blocks([head], *tables)


for command in (pack, info, verify, split, suspects):
    add_command(data, command)
