"""``catclf predict``: score images, one record an input, in input order."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from contextlib import closing, contextmanager, suppress
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catclf.cli.options import OUTPUT, ModelPath, Threshold
from catclf.cli.signals import ExitCode, Signals, Stopped
from catclf.cli.stdout import Write, as_options, results, warn
from catclf.errors import OutputError, SettingsError
from catclf.terminal.stream import is_file, is_terminal, use_colour
from catclf.text import printable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from catclf.cli.predict.inputs import Input
    from catclf.cli.predict.records import Line
    from catclf.images.preprocess import Limits
    from catclf.images.worker_handle import Decoder
    from catclf.model import Model
    from catclf.model.predict import Prediction

INPUT, LIMITS = "Input", "Limits"


class Format(StrEnum):
    """How records are written."""

    TABLE = "table"
    TSV = "tsv"
    CSV = "csv"
    JSONL = "jsonl"


def predict(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Images, folders of images, - for a list on stdin, @FILE for a list in a "
            "file; an image whose name begins with @ is @@NAME or ./@NAME.",
        ),
    ],
    model: ModelPath = Path("model.npz"),
    null: Annotated[
        bool,
        typer.Option("--null", "-0", help="Names in lists end with NUL.", rich_help_panel=INPUT),
    ] = False,
    recursive: Annotated[
        bool,
        typer.Option(
            "--recursive", "-r", help="Descend into folders in folders.", rich_help_panel=INPUT
        ),
    ] = False,
    threshold: Threshold = None,
    format: Annotated[
        Format | None,
        typer.Option(
            help="How to print.",
            show_default="table on a terminal, else tsv",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS",
            help="Print the paths of this class's images and nothing else.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    print0: Annotated[
        bool,
        typer.Option("--print0", help="With --only: end paths with NUL.", rich_help_panel=OUTPUT),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Write to this file, when all is done.", rich_help_panel=OUTPUT
        ),
    ] = None,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            help="Print nothing; exit 0 if every image is of the positive class, else 1.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    max_pixels: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Refuse larger images before decoding them.",
            show_default="100 million",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    max_bytes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Refuse larger files unread.",
            show_default="256 MB",
            rich_help_panel=LIMITS,
        ),
    ] = None,
) -> None:
    """Score images: path, predicted class, and probability of the positive class.

    One record an input, in order, as soon as it is known. An image that cannot be read is named
    on stderr; the others are scored, and the exit code is 3.

    tsv: three fields; backslash, tab, newline and return in a path are written \\\\, \\t, \\n, \\r;
    the last two fields are empty where an image failed. csv: quoted as RFC 4180. jsonl: a path
    that is not UTF-8 has its bytes in path_base64.

    Example: find . -name '*.jpg' -print0 | catclf predict -0 - --only cat --print0
    """
    if print0 and only is None:
        raise SettingsError("--print0 ends the paths of --only: give both")
    if only is not None and format is not None:
        raise SettingsError("--only prints bare paths: leave out --format")
    tally = Tally(output)
    try:
        with Signals() as signals:
            from catclf.cli.predict.inputs import read_inputs
            from catclf.images.pool import getting_ready

            inputs = read_inputs(paths, null=null, recursive=recursive)
            limits = _limits(max_pixels, max_bytes)
            with (
                getting_ready(inputs) as started,
                results(output, [model, *_files(paths)]) as write,
            ):
                from catclf.model.file import load, naming

                trained = load(model)
                head, line = _writer(trained, format, only, print0)
                if quiet and output is None:
                    head, line = b"", _nothing
                write(head)
                scored = _scored(inputs, trained, threshold, limits, signals.pause, started)
                with (
                    _progress(output, quiet, inputs) as on_progress,
                    closing(scored) as batches,
                    naming(model),
                ):
                    for batch in batches:
                        tally.show(batch, write, line)
                        on_progress(tally.done)
                with signals.pause:
                    pass  # the last moment at which a signal leaves the old output
    except Stopped as stopped:
        raise typer.Exit(stopped.code) from None
    if tally.failed:
        raise typer.Exit(ExitCode.PARTIAL)
    if quiet and tally.negative:
        raise typer.Exit(ExitCode.NO)


class Tally:
    """The records written so far, counted for the exit code."""

    def __init__(self, output: Path | None) -> None:
        self._output = output
        self._replaced: os.stat_result | None = None
        if output is not None:
            with suppress(OSError):  # there is none yet, the common case
                self._replaced = output.stat()
        self.done = self.failed = self.negative = 0

    def show(self, batch: list[Prediction], write: Write, line: Line) -> None:
        """Write a batch's lines, and name its failures on stderr."""
        for record in batch:
            self._require_kept(record)
            if record.error is not None:
                self.failed += 1
                warn(f"{printable(record.path)}: {record.error}")
            elif not record.positive:
                self.negative += 1
        write(b"".join(map(line, batch)))
        self.done += len(batch)

    def _require_kept(self, record: Prediction) -> None:
        """Raise OutputError if the output is this image, found only in a folder or a list."""
        if self._output is None or self._replaced is None:
            return
        with suppress(OSError, ValueError):  # gone since, or a name that no file can have
            if os.path.samestat(Path(record.path).stat(), self._replaced):
                raise OutputError(
                    f"{printable(self._output)}: is an image to be scored, and saving would "
                    "replace it: give another output name"
                )


def _writer(
    model: Model, format: Format | None, only: str | None, print0: bool
) -> tuple[bytes, Line]:
    """The header, and the function that makes a record's line."""
    from catclf.cli.predict.records import path_line, writer

    if only is not None:
        if only not in model.classes:
            names = " or ".join(map(printable, model.classes))
            raise SettingsError(f"--only {printable(only)}: the model's classes are {names}")
        return b"", partial(path_line, label=only, end=b"\0" if print0 else b"\n")
    colour = False
    if format in (None, Format.TABLE):
        format = format or (Format.TABLE if is_terminal(sys.stdout) else Format.TSV)
        colour = use_colour(sys.stdout)
    assert format is not None
    fingerprint = model.fingerprint if format == Format.JSONL else ""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return writer(format, model.classes, fingerprint=fingerprint, colour=colour, encoding=encoding)


@contextmanager
def _progress(
    output: Path | None, quiet: bool, inputs: Iterable[Input]
) -> Iterator[Callable[[int], None]]:
    """A callback that shows the number of scored images on a terminal, for results in a file.

    Results that arrive on the terminal, by themselves or from the program that a pipe leads to,
    show it better, and would be mixed with it.
    """
    from catclf.terminal.progress import counting_results

    total = len(inputs) if isinstance(inputs, Sized) else None
    seen = output is None and not is_file(sys.stdout)
    with counting_results("scoring images", quiet or seen) as on_progress:
        yield lambda done: on_progress(done, total)


def _nothing(record: Prediction) -> bytes:
    return b""


def _files(paths: list[str]) -> Iterator[Path]:
    """The files named by the arguments, which no output may replace."""
    return (Path(path.removeprefix("@")) for path in paths if path not in ("-", "@", ""))


def _limits(max_pixels: int | None, max_bytes: int | None) -> Limits:
    from catclf.images.preprocess import Limits

    default = Limits()
    return Limits(max_pixels or default.pixels, max_bytes or default.file_bytes)


def _scored(
    inputs: Iterable[Input],
    model: Model,
    threshold: float | None,
    limits: Limits,
    pause: AbstractContextManager[None],
    started: list[Decoder],
) -> Generator[list[Prediction], None, None]:
    """The predictions of all inputs in order, in lists as they are ready."""
    from catclf.images.pool import decode_batches
    from catclf.model.predict import predict_batches

    decoded = decode_batches(inputs, model.preprocess, limits, pause=pause, started=started)
    with closing(predict_batches(decoded, model, threshold)) as batches:
        for batch in batches:
            for prediction in batch:
                if prediction.error is not None:
                    prediction.error = as_options(prediction.error)
            yield batch
