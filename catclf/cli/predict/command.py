"""``catclf predict``: score images, one record an input, in input order."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catclf.cli.cluster import address_of
from catclf.cli.completion import complete_class
from catclf.cli.options import (
    MAX_PIXELS_HELP,
    OUTPUT,
    TRUNCATED_HELP,
    ClusterAddress,
    Insecure,
    ModelPath,
    Threshold,
    option,
)
from catclf.cli.predict.outputs import FAILED, Shard, Tally
from catclf.cli.predict.run import Format, Job
from catclf.cli.signals import ExitCode, Signals, Stopped
from catclf.cli.stdout import warn
from catclf.errors import SettingsError
from catclf.terminal.stream import is_terminal
from catclf.text import counted

if TYPE_CHECKING:
    from catclf.images.preprocess import Limits

INPUT, LIMITS = "Input", "Limits"


def predict(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Images, folders of images, tar, zip and Parquet files of them, - for a list on "
            "stdin, @FILE for a list in a file; an image whose name begins with @ is @@NAME or "
            "./@NAME. Patterns in quotes, such as 'shards/{000..099}.tar', are matched, too.",
        ),
    ],
    model: ModelPath = Path("model.npz"),
    null: Annotated[
        bool,
        option("--null", "-0", help="Names in lists end with NUL.", group=INPUT),
    ] = False,
    recursive: Annotated[
        bool,
        option("--recursive", "-r", help="Descend into folders in folders.", group=INPUT),
    ] = False,
    threshold: Threshold = None,
    format: Annotated[
        str | None,
        option(
            help="How to print: table, tsv, csv, jsonl or parquet.",
            choices=tuple(Format),
            shown="table on a terminal, else tsv",
            group=OUTPUT,
        ),
    ] = None,
    only: Annotated[
        str | None,
        option(
            metavar="CLASS",
            help="Print the paths of this class's images and nothing else.",
            complete=complete_class,
            group=OUTPUT,
        ),
    ] = None,
    print0: Annotated[
        bool,
        option("--print0", help="With --only: end paths with NUL.", group=OUTPUT),
    ] = False,
    output: Annotated[
        Path | None,
        option("--output", "-o", help="Write to this file, when all is done.", group=OUTPUT),
    ] = None,
    output_dir: Annotated[
        Path | None,
        option(
            help="Write one file for each argument in this folder, and make none that is there.",
            group=OUTPUT,
        ),
    ] = None,
    part: Annotated[
        str | None,
        option(
            metavar="K/N",
            help="With --output-dir: every N-th argument from the K-th on, for N jobs.",
            shown="all",
            group=OUTPUT,
        ),
    ] = None,
    cluster: ClusterAddress = None,
    insecure: Insecure = False,
    quiet: Annotated[
        bool,
        option(
            "--quiet",
            "-q",
            help="Print nothing; exit 0 if every image is of the positive class, else 1.",
            group=OUTPUT,
        ),
    ] = False,
    max_pixels: Annotated[
        int | None,
        option(
            low=1,
            help=MAX_PIXELS_HELP,
            shown="100 million",
            group=LIMITS,
        ),
    ] = None,
    max_bytes: Annotated[
        int | None,
        option(
            low=1,
            help="Refuse larger files unread.",
            shown="256 MB",
            group=LIMITS,
        ),
    ] = None,
    truncated: Annotated[bool, option("--truncated", help=TRUNCATED_HELP, group=LIMITS)] = False,
) -> None:
    """Score images: path, predicted class, and probability of the positive class.

    One record an input, in order, as soon as it is known. An image that cannot be read is named
    on stderr; the others are scored, and the exit code is 3.

    tsv: three fields; backslash, tab, newline and return in a path are written \\\\, \\t, \\n, \\r;
    the last two fields are empty where an image failed. csv: quoted as RFC 4180. jsonl: a path
    that is not UTF-8 has its bytes in path_base64. parquet: columns as the keys of jsonl.

    Example: find . -name '*.jpg' -print0 | catclf predict -0 - --only cat --print0
    """
    _require_consistent(print0, only, format)
    if format == Format.PARQUET and output is None and output_dir is None:
        _require_no_terminal()
    if part is not None and output_dir is None:
        raise SettingsError("--part is a part of the outputs in --output-dir: give both")
    if output is not None and output_dir is not None:
        raise SettingsError("--output is one file and --output-dir a folder: give one of them")
    address = address_of(cluster, insecure)
    if address is not None and output_dir is None:
        raise SettingsError("--cluster writes one output for each argument: give --output-dir")
    from catclf.cli.predict.shards import named, pending

    in_folder = output_dir is not None
    kind = None if format is None else Format(format)
    job = Job(model, null, recursive, threshold, kind, only, print0, quiet, in_folder=in_folder)
    tally = Tally()
    try:
        with Signals() as signals:
            limits = _limits(max_pixels, max_bytes, truncated)
            given = named(paths)
            shards: list[Shard] = [(given, output)]
            if output_dir is not None:
                shards = pending(given, output_dir, job.ending, part, quiet)
            if address is None:
                left_out = job.run(shards, limits, signals.pause, tally)
            else:
                from catclf.cli.predict.cluster import run_by_workers

                left_out = run_by_workers(job, shards, limits, signals, tally, address)
    except Stopped as stopped:
        raise typer.Exit(stopped.code) from None
    if left_out:
        warn(str(left_out))
    if output_dir is not None and tally.incomplete:
        _warn_of_incomplete(tally.incomplete)
    if tally.failed:
        raise typer.Exit(ExitCode.PARTIAL)
    if quiet and tally.negative:
        raise typer.Exit(ExitCode.NO)


def _require_consistent(print0: bool, only: str | None, format: str | None) -> None:
    if print0 and only is None:
        raise SettingsError("--print0 ends the paths of --only: give both")
    if only is not None and format is not None:
        raise SettingsError("--only prints bare paths: leave out --format")


def _warn_of_incomplete(arguments: int) -> None:
    warn(
        f"{counted(arguments, 'argument')} could not be read, or not to the end: the same command "
        f"scores what {FAILED} is beside again"
    )


def _require_no_terminal() -> None:
    if is_terminal(sys.stdout):
        raise SettingsError("--format parquet is binary: give --output FILE, or --output-dir")


def _limits(max_pixels: int | None, max_bytes: int | None, truncated: bool) -> Limits:
    from catclf.images.preprocess import Limits

    default = Limits()
    return Limits(max_pixels or default.pixels, max_bytes or default.file_bytes, truncated)
