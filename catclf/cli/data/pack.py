"""``catclf data pack``: any source to one HDF5 file, or to a folder of shards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

from catclf.cli.cluster import address_of, engine_at, threads_of
from catclf.cli.open_data import (
    open_splits,
    reading_with_progress,
    warn_of_idle_fit,
    warn_of_left_out,
    warn_of_notes,
)
from catclf.cli.options import (
    OUTPUT,
    ClusterAddress,
    Insecure,
    Options,
    Quiet,
    SourcePath,
    Workers,
    option,
    reading_options,
)
from catclf.cli.output_paths import require_own
from catclf.cli.stdout import put
from catclf.errors import SettingsError
from catclf.storage.location import is_remote
from catclf.text import counted, printable

if TYPE_CHECKING:
    from catclf.cluster import Address
    from catclf.datasets.packed import Workers as Packing


def pack(
    *,
    source: SourcePath,
    output: Annotated[
        str,
        option(
            "--output",
            "-o",
            metavar="PATH",
            help="HDF5 file to write, or a folder for shards of 65,536 images: a name ending in /, "
            "or a URL such as s3://bucket/packed.",
            group=OUTPUT,
        ),
    ],
    reading: Annotated[Options, reading_options("size", "fit", "skip_bad")],
    compress: Annotated[
        str,
        option(
            help="none, gzip or lzf: smaller, but slower to read in each pass.",
            choices=("none", "gzip", "lzf"),
            group=OUTPUT,
        ),
    ] = "none",
    workers: Workers = None,
    shard_images: Annotated[
        int | None,
        option(
            low=1,
            metavar="N",
            help="Images of a shard, where --output is a folder.",
            shown="65536",
        ),
    ] = None,
    cluster: ClusterAddress = None,
    insecure: Insecure = False,
    quiet: Quiet = False,
) -> None:
    """Write a data set as one HDF5 file or as shards, in the memory of a few images.

    A file appears under its name when it is complete, and trains to the same model as its source.
    Packing to a folder that was stopped goes on with the first shard that is not there.

    Example: catclf data pack photos/ -o photos.h5
    """
    from catclf.datasets.dataset import HDF5_ENDINGS
    from catclf.datasets.hdf5 import require_output, write

    path, address = Path(output), address_of(cluster, insecure)
    in_store = is_remote(path) and path.suffix.lower() not in HDF5_ENDINGS
    if output.endswith("/") or path.is_dir() or in_store:
        _pack_folder(reading, quiet, path, source, compress, workers, shard_images, address)
        return
    if address is not None:
        raise SettingsError(
            "--cluster writes shards: give a folder as --output, a name ending in /"
        )
    require_output(path, [source])
    require_own(path)
    warn_of_idle_fit(reading["fit"], [source])
    with reading_with_progress(reading, quiet, workers=workers) as how:
        parts = open_splits(source, how)
        warn_of_notes(parts.values())
        times = [perf_counter()]
        written = write(path, parts, compress, lambda _: times.append(perf_counter()))
    for (part, labels), (began, ended) in zip(written.items(), pairwise(times), strict=True):
        warn_of_left_out(parts[part])
        if not quiet:
            rate = len(labels) / max(ended - began, 1e-9)
            images = counted(len(labels), "image")
            put(f"{printable(path)}: {part} {images}, {rate:,.0f} a second\n")


def _pack_folder(
    reading: Options,
    quiet: bool,
    folder: Path,
    source: Path,
    compress: str,
    workers: int | None,
    shard_images: int | None,
    address: Address | None,
) -> None:
    from catclf.datasets.dataset import ENDINGS
    from catclf.datasets.packed import require_folder, write_folder

    if is_remote(folder) and folder.suffix.lower() in ENDINGS:
        raise SettingsError(
            f"{printable(folder)}: is the name of a file of another kind: give the URL of a "
            "folder, or one that ends in .h5"
        )
    warn_of_idle_fit(reading["fit"], [source])
    with reading_with_progress(reading, quiet, workers=workers) as how:
        parts = open_splits(source, how)
        warn_of_notes(parts.values())
        require_folder(folder, [source])
        with _packers(address, source, workers) as packers:
            packed = write_folder(
                folder, parts, compress, shard_images=shard_images, workers=packers
            )
    for part, result in packed.items():
        warn_of_left_out(parts[part])
        if not quiet:
            images, shards = counted(len(result.labels), "image"), counted(result.shards, "shard")
            kept = f", {result.kept} of them kept" if result.kept else ""
            put(f"{printable(folder)}: {part} {images} in {shards}{kept}\n")


@contextmanager
def _packers(
    address: Address | None, source: Path, workers: int | None
) -> Iterator[Packing | None]:
    """The workers that write shards, for a block; without an address nothing is loaded."""
    if address is None:
        yield None
        return
    from catclf.cluster.packing import Packers

    with engine_at(address) as engine:
        yield Packers(engine, source, threads_of(address, workers)).done
