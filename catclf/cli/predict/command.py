"""``catclf predict``: score images, one record an input, in input order."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from catclf.cli import loaded
from catclf.cli.cluster import address_of, engine_at, threads_of
from catclf.cli.completion import complete_class, complete_model
from catclf.cli.options import (
    MAX_PIXELS_HELP,
    MODEL_HELP,
    OUTPUT,
    TRUNCATED_HELP,
    ClusterAddress,
    Insecure,
    Threshold,
    option,
)
from catclf.cli.predict import outputs
from catclf.cli.predict.outputs import FAILED, FORMATS, NOTHING, UNSURE, Form, Outputs, Shard, Tally
from catclf.cli.signals import ExitCode, Signals, Stopped
from catclf.cli.stdout import warn
from catclf.errors import CatclfError, ImageError, InputError, ModelError, SettingsError
from catclf.images.preprocess import Limits
from catclf.images.walk import LeftOut
from catclf.storage.location import is_remote
from catclf.terminal.stream import is_file, is_terminal, use_colour
from catclf.text import counted, printable

if TYPE_CHECKING:
    from catclf.cluster import Address
    from catclf.images.inputs import Input
    from catclf.images.pool import Decoder
    from catclf.model import Model, Training
    from catclf.model.predict import Prediction

INPUT, LIMITS = "Input", "Limits"
ANY = "unsure"  # in the place of a class: images of both that are near the threshold


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
    model: Annotated[
        list[Path] | None,
        option(
            "--model",
            "-m",
            help=f"{MODEL_HELP} Several give each image a probability of each.",
            metavar="FILE",
            shown="model.npz, or CATCLF_MODEL",
            complete=complete_model,
        ),
    ] = None,
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
            choices=FORMATS,
            shown="what --output ends in, table on a terminal, else tsv",
            group=OUTPUT,
        ),
    ] = None,
    only: Annotated[
        str | None,
        option(
            metavar="CLASS",
            help="Print the paths of this class's images, or of unsure ones, and nothing else.",
            complete=complete_class,
            group=OUTPUT,
        ),
    ] = None,
    between: Annotated[
        str | None,
        option(
            metavar="LOW,HIGH",
            help="Print unsure images alone: those between these probabilities, which are meant "
            "around the threshold 0.5 and move with it.",
            group=OUTPUT,
        ),
    ] = None,
    fail_if_unlike: Annotated[
        float | None,
        option(
            low=0.0,
            high=1.0,
            metavar="FRACTION",
            help="Exit 3 if more of the images are unlike the training images (network).",
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
        int,
        option(low=1, help=MAX_PIXELS_HELP, shown="100 million", group=LIMITS),
    ] = Limits.pixels,
    max_bytes: Annotated[
        int,
        option(low=1, help="Refuse larger files unread.", shown="256 MB", group=LIMITS),
    ] = Limits.file_bytes,
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
    job = Job(
        models=tuple(model or [Path(os.environ.get("CATCLF_MODEL") or "model.npz")]),
        limits=Limits(max_pixels, max_bytes, truncated),
        null=null,
        recursive=recursive,
        threshold=threshold,
        format=outputs.format_of(output, format),
        only=only,
        between=outputs.pair_of("between", between),
        print0=print0,
        quiet=quiet,
        in_folder=output_dir is not None,
    )
    _require_consistent(job, output, output_dir, part)
    address = address_of(cluster, insecure)
    if address is not None and output_dir is None:
        raise SettingsError("--cluster writes one output for each argument: give --output-dir")
    scored = Scored(must_know=fail_if_unlike is not None)
    try:
        with Signals() as signals:
            given = outputs.named(paths)
            shards: list[Shard] = [(given, output)]
            if output_dir is not None:
                shards = outputs.pending(given, output_dir, job.ending, part, quiet)
            if address is None:
                job.run(shards, scored, signals.pause)
            else:
                run_by_workers(job, shards, scored, signals, address)
    except Stopped as stopped:
        raise typer.Exit(stopped.code) from None
    _conclude(job, scored, fail_if_unlike)


def _require_consistent(
    job: Job, output: Path | None, output_dir: Path | None, part: str | None
) -> None:
    """Raise SettingsError for options that make no sense together."""
    if job.print0 and job.only is None:
        raise SettingsError("--print0 ends the paths of --only: give both")
    if job.only is not None and job.format is not None:
        raise SettingsError("--only prints bare paths: leave out --format")
    if (
        job.format == "parquet"
        and output is None
        and output_dir is None
        and is_terminal(sys.stdout)
    ):
        raise SettingsError("--format parquet is binary: give --output FILE, or --output-dir")
    if part is not None and output_dir is None:
        raise SettingsError("--part is a part of the outputs in --output-dir: give both")
    if output is not None and output_dir is not None:
        raise SettingsError("--output is one file and --output-dir a folder: give one of them")
    if len(job.models) > 1:
        one = job.only is not None or job.quiet or job.between or job.threshold is not None
        if one or job.format not in ("csv", "jsonl", "parquet"):
            raise SettingsError(
                "several models give several probabilities: write --format csv, jsonl or parquet, "
                "without --only, --between, --threshold and --quiet"
            )


def _conclude(job: Job, scored: Scored, fail_if_unlike: float | None) -> None:
    """Say on stderr what the records do not, and exit as the outcome demands."""
    tally = scored.tally
    if scored.left_out:
        warn(str(scored.left_out))
    if job.in_folder and tally.incomplete:
        warn(
            f"{counted(tally.incomplete, 'argument')} could not be read, or not to the end: the "
            f"same command scores what {FAILED} is beside again"
        )
    if tally.done > 1 and not job.quiet and scored.classes and is_terminal(sys.stderr):
        warn(tally.line(scored.classes, job.between or UNSURE))
    if scored.trained and not job.quiet and (news := outputs.news_of(tally, scored.trained)):
        warn(news)
    beyond = tally.unlike > (tally.done - tally.failed) * (fail_if_unlike or 0.0)
    if tally.failed or (beyond and fail_if_unlike is not None):
        raise typer.Exit(ExitCode.PARTIAL)
    if job.quiet and tally.negative:
        raise typer.Exit(ExitCode.NO)


class Scored:
    """What a run counted, beside its records; a worker sends it back."""

    def __init__(self, say: Callable[[str], object] = warn, must_know: bool = False) -> None:
        self.tally, self.left_out = Tally(), LeftOut()
        self.classes: tuple[str, str] | None = None
        self.trained: Training | None = None  # of one model that knows its training images
        self.say, self.must_know = say, must_know

    def note(self, models: Sequence[Model]) -> None:
        """Note what the last lines say of the models. Raises SettingsError."""
        if len(models) == 1:
            self.classes = models[0].classes
            self.trained = models[0].training if models[0].similarity else None
        if self.must_know and self.trained is None:
            raise SettingsError(
                "--fail-if-unlike is for one model of network, which knows its training images"
            )


class Elsewhere(NamedTuple):
    """What a worker is told of the program, to write the same records."""

    several: bool  # whether this is one of several lists of inputs
    encoding: str  # of stdout
    colour: bool  # on stdout
    workers: int | None  # processes that decode


@dataclass(frozen=True)
class Job:
    """What is done with each list of inputs, and how it is written."""

    models: tuple[Path, ...]
    limits: Limits = Limits()  # noqa: RUF009  frozen
    null: bool = False
    recursive: bool = False
    threshold: float | None = None
    format: str | None = None
    only: str | None = None
    between: tuple[float, float] | None = None
    print0: bool = False
    quiet: bool = False
    in_folder: bool = False  # whether each argument has an output of its own
    elsewhere: Elsewhere | None = None

    @property
    def ending(self) -> str:
        """Of the names of outputs in a folder."""
        return ".txt" if self.only is not None else f".{self.format or 'tsv'}"

    def run(
        self,
        shards: list[Shard],
        scored: Scored,
        pause: AbstractContextManager[None],
        models: Sequence[Model] = (),
    ) -> None:
        """Score the inputs of each shard, and write their records to its output.

        ``models`` are those of the job, if they have been read.
        """
        from catclf.images.pool import getting_ready

        if not shards:
            return
        ends = deque[int]()
        inputs = self._inputs(shards, scored.left_out, ends)
        output = shards[0][1]
        written = Outputs(
            deque(shards),
            self.models[0],
            scored.tally,
            pause,
            scored.say,
            kept=self.elsewhere is None,  # outputs of workers are made again
            marked=self.in_folder,
        )
        workers = self.elsewhere.workers if self.elsewhere else None
        with getting_ready(inputs, workers) as started, written:
            models = models or self.load()
            if self.elsewhere is None:
                loaded()
            form = self._form(models, output)
            self._note_unsure(written, models[0])
            written.begin(NOTHING if self.quiet and output is None else form)
            scored.note(models)
            batches = self._predictions(inputs, models, pause, started)
            with self._progress(output, inputs) as on_progress, closing(batches):
                for batch in batches:
                    written.write(batch, ends)
                    on_progress(scored.tally.done)
            written.finish()

    def load(self) -> list[Model]:
        """The models. Raises ModelError, and SettingsError unless they take images alike."""
        from catclf.model.file import load

        models = [load(path) for path in self.models]
        for path, model in zip(self.models, models, strict=True):
            if model.preprocess != models[0].preprocess:
                raise SettingsError(
                    f"{printable(path)} takes images of another size or fit than "
                    f"{printable(self.models[0])}: score them in two runs"
                )
        return models

    def _inputs(self, shards: list[Shard], left_out: LeftOut, ends: deque[int]) -> Iterable[Input]:
        """The inputs of all shards; of several, ``ends`` gets the number up to each one's last."""
        from catclf.images.inputs import read_inputs

        def of(paths: list[str]) -> Iterable[Input]:
            return read_inputs(
                paths,
                null=self.null,
                recursive=self.recursive,
                left_out=left_out,
                limit=self.limits.file_bytes,
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

    def _form(self, models: Sequence[Model], output: Path | None) -> Form:
        """How records are written. Raises SettingsError."""
        if self.only is not None:
            label = None if self.only == ANY else self.only
            if self.only not in models[0].classes and label is not None:
                label = _match(self.only, models[0].classes)
            return outputs.paths_form(label, b"\0" if self.print0 else b"\n")
        on_terminal = output is None and is_terminal(sys.stdout)
        format = self.format or ("table" if on_terminal else "tsv")
        encoding, colour = getattr(sys.stdout, "encoding", None) or "utf-8", False
        if format == "table":
            colour = use_colour(sys.stdout)
        if self.elsewhere is not None:
            encoding, colour = self.elsewhere.encoding, self.elsewhere.colour
        return outputs.form_of(
            format, list(zip(self._names(), models, strict=True)), colour=colour, encoding=encoding
        )

    def _names(self) -> list[str]:
        """A name for each model: the name of its file, or its path where these are equal."""
        stems = [path.stem for path in self.models]
        return stems if len(set(stems)) == len(stems) else [str(path) for path in self.models]

    def _note_unsure(self, written: Outputs, model: Model) -> None:
        """Have unsure images counted, and be all that is written if they were asked for."""
        written.unsure = outputs.unsure_of(model, self.threshold, self.between or UNSURE)
        any_class = self.only == ANY and ANY not in model.classes
        written.only_unsure = self.between is not None or any_class

    @contextmanager
    def _progress(
        self, output: Path | None, inputs: Iterable[Input]
    ) -> Iterator[Callable[[int], None]]:
        """A callback that shows the number of scored images on a terminal, for results in a file.

        Results that arrive on the terminal, by themselves or from the program that a pipe leads
        to, show it better, and would be mixed with it.
        """
        from catclf.terminal.progress import counting_results

        total = len(inputs) if isinstance(inputs, Sized) else None
        seen = output is None and not is_file(sys.stdout)
        quiet = self.quiet or self.elsewhere is not None or seen
        with counting_results("scoring images", quiet) as on_progress:
            yield lambda done: on_progress(done, total)

    def _predictions(
        self,
        inputs: Iterable[Input],
        models: Sequence[Model],
        pause: AbstractContextManager[None],
        started: list[Decoder],
    ) -> Generator[list[Prediction], None, None]:
        """The predictions of all inputs in order, in lists as they are ready."""
        from catclf.images.pool import decode_batches
        from catclf.model.file import naming
        from catclf.model.predict import predict_batches

        workers = self.elsewhere.workers if self.elsewhere else None
        decoded = decode_batches(
            inputs, models[0].preprocess, self.limits, workers, pause=pause, started=started
        )
        predictions = predict_batches(decoded, models[0], self.threshold, models[1:])
        with naming(self.models[0]), closing(predictions) as batches:
            for batch in batches:
                for prediction in batch:
                    if prediction.error is not None:
                        prediction.error = outputs.explained(prediction)
                yield batch


def _match(only: str, classes: tuple[str, str]) -> str:
    """The class that is meant. Raises SettingsError."""
    from catclf.datasets.names import match

    meant = match(only, classes)
    if meant is None:
        names = " or ".join(map(printable, classes))
        raise SettingsError(f"--only {printable(only)}: the model's classes are {names}")
    return meant


# Scored by workers, as without a cluster


def run_by_workers(
    job: Job, shards: list[Shard], scored: Scored, signals: Signals, address: Address
) -> None:
    """Score each shard by a worker, which writes its output.

    A shard that fails is no reason not to score the others. Raises the last of such failures.
    """
    if not shards:
        return
    from catclf.model.file import load_signed
    from catclf.terminal.progress import counting_results

    told = Elsewhere(
        several=len(shards) > 1,
        encoding=getattr(sys.stdout, "encoding", None) or "utf-8",
        colour=use_colour(sys.stdout),
        workers=threads_of(address, None) or None,
    )
    loaded_here = [load_signed(path) for path in job.models]
    scored.note([model for model, _ in loaded_here])
    where = _meant_from(job, shards), tuple(digest for _, digest in loaded_here)
    failed: CatclfError | None = None
    with ExitStack() as stack:
        with signals.pause:  # a signal may end the run while workers are waited for
            engine = stack.enter_context(engine_at(address))
        on_progress = stack.enter_context(counting_results("scoring images", job.quiet))
        tasks = [(replace(job, elsewhere=told), shard, *where) for shard in shards]
        ends = engine.each(score, tasks, [printable(paths[0]) for paths, _ in shards])
        while True:
            with signals.pause:
                _, end = next(ends, (0, None))
            if end is None:
                break
            if isinstance(end, CatclfError):
                if failed is not None:
                    warn(str(failed))
                failed = end
                continue
            tally, left_out, lines = end
            for line in lines:
                warn(line)
            scored.tally.add(tally)
            scored.left_out.update(left_out)
            on_progress(scored.tally.done, None)
    if failed is not None:
        raise failed


def score(
    job: Job, shard: Shard, folder: str, digests: tuple[str, ...]
) -> tuple[Tally, LeftOut, list[str]]:
    """The task of a worker. Raises as ``predict`` does, and ModelError for another model."""
    lines: list[str] = []
    scored = Scored(lines.append)
    with _working_in(folder):
        job.run([shard], scored, nullcontext(), _models(job, folder, digests))
    return scored.tally, scored.left_out, lines


@lru_cache(maxsize=1)
def _models(job: Job, folder: str, digests: tuple[str, ...]) -> list[Model]:
    """The models of a run, which a worker reads once; paths may be meant from the folder."""
    from catclf.model.file import load_signed

    models = []
    for path, digest in zip(job.models, digests, strict=True):
        model, found = load_signed(path)
        if found != digest:
            raise ModelError(f"{printable(path)}: a worker sees another model there")
        models.append(model)
    return models


def _meant_from(job: Job, shards: list[Shard]) -> str:
    """The folder that paths are meant from; none where all of them hold in any folder."""
    paths = list(map(str, job.models))
    for arguments, output in shards:
        paths += [*arguments, *([] if output is None else [str(output)])]
    anywhere = all(is_remote(path) or Path(path).is_absolute() for path in paths)
    return "" if anywhere else str(Path.cwd())


_folder = Lock()


@contextmanager
def _working_in(folder: str) -> Iterator[None]:
    """The folder that relative paths are meant from: a process has one, and so has its turn."""
    if not folder:
        yield
        return
    with _folder:
        before = Path.cwd()
        try:
            os.chdir(folder)
        except OSError as error:
            raise InputError(f"{printable(folder)}: a worker sees no such folder") from error
        try:
            yield
        finally:
            os.chdir(before)
