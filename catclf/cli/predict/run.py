"""Scoring what one call of ``catclf predict`` names, and writing its records."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from catclf.cli import loaded
from catclf.cli.predict.outputs import Outputs, Shard, Tally, nothing
from catclf.errors import ImageError, InputError, SettingsError
from catclf.terminal.stream import is_file, is_terminal, use_colour
from catclf.text import printable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from catclf.cli.predict.inputs import Input
    from catclf.cli.predict.records import Line
    from catclf.images.preprocess import Limits
    from catclf.images.walk import LeftOut
    from catclf.images.worker_handle import Decoder
    from catclf.model import Model
    from catclf.model.predict import Prediction


class Format(StrEnum):
    """How records are written."""

    TABLE = "table"
    TSV = "tsv"
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


@dataclass(frozen=True)
class Elsewhere:
    """What a process that is not the program's own is told of it, to write the same records."""

    several: bool  # whether this is one of several lists of inputs
    encoding: str  # of stdout
    colour: bool  # on stdout
    workers: int | None  # processes that decode


@dataclass
class Job:
    """What is done with each list of inputs, and how it is written."""

    model: Path
    null: bool
    recursive: bool
    threshold: float | None
    format: Format | None
    only: str | None
    print0: bool
    quiet: bool
    elsewhere: Elsewhere | None = None
    in_folder: bool = False  # whether each argument has an output of its own

    @property
    def ending(self) -> str:
        """Of the names of outputs in a folder."""
        return ".txt" if self.only is not None else f".{self.format or Format.TSV}"

    @property
    def workers(self) -> int | None:
        """Processes that decode; None for as many as there are cores."""
        return self.elsewhere.workers if self.elsewhere else None

    def run(
        self,
        shards: list[Shard],
        limits: Limits,
        pause: AbstractContextManager[None],
        tally: Tally,
        trained: Model | None = None,
    ) -> LeftOut:
        """Score the inputs of each shard, and write their records to its output.

        ``trained`` is the model, if it has been read. The result counts the files that were left
        out.
        """
        from catclf.images.pool import getting_ready
        from catclf.images.walk import LeftOut

        left_out, ends = LeftOut(), deque[int]()
        if not shards:
            return left_out
        inputs = self._inputs(shards, left_out, ends, limits.file_bytes)
        output = shards[0][1]
        with (
            getting_ready(inputs, self.workers) as started,
            # Outputs of workers are made again, and not kept where they are.
            Outputs(
                shards,
                self.model,
                tally,
                pause,
                kept=self.elsewhere is None,
                marked=self.in_folder,
            ) as outputs,
        ):
            from catclf.model.file import load, naming

            trained = trained or load(self.model)
            if self.elsewhere is None:
                loaded()
            head, line, tail = _writer(trained, self, output)
            if self.quiet and output is None:
                head, line, tail = b"", nothing, bytes
            outputs.begin(head, line, tail)
            scored = _scored(inputs, trained, self, limits, pause, started)
            with (
                _progress(output, self.quiet or self.elsewhere is not None, inputs) as on_progress,
                closing(scored) as batches,
                naming(self.model),
            ):
                for batch in batches:
                    outputs.write(batch, ends)
                    on_progress(tally.done)
            outputs.finish()
        return left_out

    def _inputs(
        self, shards: list[Shard], left_out: LeftOut, ends: deque[int], limit: int
    ) -> Iterable[Input]:
        """The inputs of all shards; of several, ``ends`` gets the number up to each one's last."""
        from catclf.cli.predict.inputs import read_inputs

        def of(paths: list[str]) -> Iterable[Input]:
            return read_inputs(
                paths, null=self.null, recursive=self.recursive, left_out=left_out, limit=limit
            )

        def of_all() -> Iterator[Input]:
            total = 0
            for paths, _ in shards:
                try:
                    for each in of(paths):
                        total += 1
                        yield each
                except InputError as error:
                    total += 1
                    yield paths[0], ImageError("unreadable", str(error))
                ends.append(total)

        several = len(shards) > 1 or (self.elsewhere is not None and self.elsewhere.several)
        return of_all() if several else of(shards[0][0])


def _writer(model: Model, job: Job, output: Path | None) -> tuple[bytes, Line, Callable[[], bytes]]:
    """The header, and the functions that make a record's line and the end."""
    from catclf.cli.predict.records import parquet_writer, path_line, writer

    format, only = job.format, job.only
    if only is not None:
        meant: str | None = only
        if only not in model.classes:
            from catclf.datasets.names import match

            meant = match(only, model.classes)
        if meant is None:
            names = " or ".join(map(printable, model.classes))
            raise SettingsError(f"--only {printable(only)}: the model's classes are {names}")
        return b"", partial(path_line, label=meant, end=b"\0" if job.print0 else b"\n"), bytes
    if format == Format.PARQUET:
        return b"", *parquet_writer(model.classes, model.fingerprint)
    colour = False
    if format in (None, Format.TABLE):
        format = format or (
            Format.TABLE if output is None and is_terminal(sys.stdout) else Format.TSV
        )
        colour = job.elsewhere.colour if job.elsewhere else use_colour(sys.stdout)
    assert format is not None
    fingerprint = model.fingerprint if format == Format.JSONL else ""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    if job.elsewhere is not None:
        encoding = job.elsewhere.encoding
    head, line = writer(
        format, model.classes, fingerprint=fingerprint, colour=colour, encoding=encoding
    )
    return head, line, bytes


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


def _scored(
    inputs: Iterable[Input],
    model: Model,
    job: Job,
    limits: Limits,
    pause: AbstractContextManager[None],
    started: list[Decoder],
) -> Generator[list[Prediction], None, None]:
    """The predictions of all inputs in order, in lists as they are ready."""
    from catclf.cli.predict.records import explained
    from catclf.images.pool import decode_batches
    from catclf.model.predict import predict_batches

    decoded = decode_batches(
        inputs, model.preprocess, limits, job.workers, pause=pause, started=started
    )
    with closing(predict_batches(decoded, model, job.threshold)) as batches:
        for batch in batches:
            for prediction in batch:
                if prediction.error is not None:
                    prediction.error = explained(prediction)
            yield batch
