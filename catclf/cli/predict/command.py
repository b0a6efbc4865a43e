"""``catclf predict``: score images, one record an input, in input order."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any

import typer

from catclf.cli import loaded
from catclf.cli.options import (
    MAX_PIXELS_HELP,
    MODEL_HELP,
    OUTPUT,
    TRUNCATED_HELP,
    ClusterAddress,
    Insecure,
    Threshold,
    address_of,
    complete_class,
    complete_model,
    ends_in,
    option,
    usual_model,
)
from catclf.cli.predict import outputs
from catclf.cli.predict.outputs import (
    ENDINGS,
    FAILED,
    FORMATS,
    NOTHING,
    UNSURE,
    Form,
    Outputs,
    Shard,
    Tally,
)
from catclf.cli.shell import ExitCode, Signals, warn
from catclf.errors import CatclfError, ImageError, InputError, ModelError, SettingsError
from catclf.images.preprocess import Limits
from catclf.images.tree import LeftOut
from catclf.storage.location import is_remote
from catclf.terminal.stream import is_file, is_terminal, use_colour
from catclf.text import counted, printable

if TYPE_CHECKING:
    from catclf.cluster import Address
    from catclf.images.inputs import Input
    from catclf.images.pool import Decoder
    from catclf.model import Model

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
        bool, option("--null", "-0", help="Names in lists end with NUL.", group=INPUT)
    ] = False,
    recursive: Annotated[
        bool, option("--recursive", "-r", help="Descend into folders in folders.", group=INPUT)
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
        bool, option("--print0", help="With --only: end paths with NUL.", group=OUTPUT)
    ] = False,
    output: Annotated[
        Path | None,
        option(
            "--output",
            "-o",
            help="Write to this file, when all is done.",
            check=ends_in(*ENDINGS, ".txt"),
            group=OUTPUT,
        ),
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
            help="With --output-dir: the K-th of N jobs, every N-th argument from the K-th on.",
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
        int, option(low=1, help=MAX_PIXELS_HELP, shown="100 million", group=LIMITS)
    ] = Limits.pixels,
    max_bytes: Annotated[
        int, option(low=1, help="Refuse larger files unread.", shown="256 MB", group=LIMITS)
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
    scoring = Scoring(
        models=tuple(model or [Path(usual_model())]),
        limits=Limits(max_pixels, max_bytes, truncated),
        null=null,
        recursive=recursive,
        threshold=threshold,
        format=outputs.format_of(output, format),
        only=only,
        between=outputs.pair_of("between", between),
        print0=print0,
        quiet=quiet,
        unlike_max=fail_if_unlike,
        in_folder=output_dir is not None,
        encoding=getattr(sys.stdout, "encoding", None) or "utf-8",
        colour=use_colour(sys.stdout),
    )
    _require_consistent(scoring, output, part, cluster)
    address, tally = address_of(cluster, insecure), Tally()
    with Signals() as signals:
        given = outputs.named(paths)
        shards: list[Shard] = [(given, output)]
        if output_dir is not None:
            shards = outputs.pending(given, output_dir, scoring.ending, part, quiet)
        if address is None:
            models = scoring.run(shards, tally, signals.pause)
        else:
            models = run_by_workers(scoring, shards, tally, signals, address)
    _conclude(scoring, tally, models)


def _require_consistent(
    scoring: Scoring, output: Path | None, part: str | None, cluster: str | None
) -> None:
    """Raise SettingsError for options that make no sense together."""
    bare, in_folder = scoring.only is not None, scoring.in_folder
    several, probabilities = len(scoring.models) > 1, ("csv", "jsonl", "parquet")
    of_one = bare or scoring.quiet or bool(scoring.between) or scoring.threshold is not None
    to_terminal = output is None and not in_folder and is_terminal(sys.stdout)
    mistakes = {
        "--print0 ends the paths of --only: give both": scoring.print0 and not bare,
        "--only prints bare paths: leave out --format": bare and scoring.format is not None,
        "--format parquet is binary: give --output": to_terminal and scoring.format == "parquet",
        "--part is of the outputs in --output-dir: give both": part and not in_folder,
        "--output and --output-dir exclude each other: give one of them": output and in_folder,
        "--cluster writes one output for each argument: give --output-dir": cluster
        and not in_folder,
        "several models give several probabilities: write --format csv, jsonl or parquet, without "
        "--only, --between, --threshold and --quiet": several
        and (of_one or scoring.format not in probabilities),
    }
    for mistake, made in mistakes.items():
        if made:
            raise SettingsError(mistake)


def _conclude(scoring: Scoring, tally: Tally, models: Sequence[Model]) -> None:
    """Say on stderr what the records do not, and exit as the outcome demands."""
    if tally.left_out:
        warn(str(tally.left_out))
    if scoring.in_folder and tally.incomplete:
        warn(
            f"{counted(tally.incomplete, 'argument')} could not be read, or not to the end: the "
            f"same command scores what {FAILED} is beside again"
        )
    if len(models) == 1 and not scoring.quiet:
        if tally.done > 1 and is_terminal(sys.stderr):
            warn(tally.line(models[0].classes, scoring.between or UNSURE))
        if models[0].similarity and (news := tally.news(models[0].training)):
            warn(news)
    allowed = scoring.unlike_max
    too_many = allowed is not None and tally.unlike > (tally.done - tally.failed) * allowed
    if tally.failed or too_many:
        raise typer.Exit(ExitCode.PARTIAL)
    if scoring.quiet and tally.negative:
        raise typer.Exit(ExitCode.NO)


@dataclass(frozen=True)
class Scoring:
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
    unlike_max: float | None = None  # the fraction of images that may be unlike those of training
    in_folder: bool = False  # whether each argument has an output of its own
    encoding: str = "utf-8"  # of stdout
    colour: bool = False
    on_worker: bool = False  # of a cluster, which makes lost outputs again
    decoders: int | None = None  # processes that decode; None for one a core

    @property
    def ending(self) -> str:
        """Of the names of outputs in a folder."""
        return ".txt" if self.only is not None else f".{self.format or 'tsv'}"

    def run(
        self,
        shards: list[Shard],
        tally: Tally,
        pause: AbstractContextManager[None],
        say: Callable[[str], object] = warn,
        models: Sequence[Model] = (),
    ) -> Sequence[Model]:
        """Score the inputs of each shard, write their records to its output, and count them.

        Returns the models, which are loaded unless they are given. Raises ModelError and
        SettingsError before anything is written.
        """
        from catclf.images.pool import getting_ready
        from catclf.terminal.progress import counting_results

        if not shards:
            return models
        ends, output = deque[int](), shards[0][1]
        inputs = self._inputs(shards, tally.left_out, ends)
        total = len(inputs) if isinstance(inputs, Sized) else None
        # Results that arrive on the terminal show progress better, and would be mixed with it.
        seen = output is None and not is_file(sys.stdout)
        written = Outputs(
            deque(shards), self.models[0], tally, pause, say, not self.on_worker, self.in_folder
        )
        with getting_ready(inputs, self.decoders) as started, written:
            models = models or self.load()
            if not self.on_worker:
                loaded()
            form = self._form(models, output)
            any_class = self.only == ANY and ANY not in models[0].classes
            written.begin(
                NOTHING if self.quiet and output is None else form,
                outputs.unsure_of(models[0], self.threshold, self.between or UNSURE),
                self.between is not None or any_class,
            )
            with (
                counting_results("scoring images", self.quiet or self.on_worker or seen) as count,
                closing(self._predictions(inputs, models, pause, started)) as batches,
            ):
                for batch in batches:
                    written.write(batch, ends)
                    count(tally.done, total)
            written.finish()
        return models

    def load(self) -> list[Model]:
        """The models. Raises ModelError and SettingsError."""
        from catclf.model.file import load

        return self.sound([load(path) for path in self.models])

    def sound(self, models: list[Model]) -> list[Model]:
        """These models. Raises SettingsError unless they take images alike and fit the options."""
        for path, model in zip(self.models, models, strict=True):
            if model.preprocess != models[0].preprocess:
                raise SettingsError(
                    f"{printable(path)} takes images of another size or fit than "
                    f"{printable(self.models[0])}: score them in two runs"
                )
        if self.unlike_max is not None and (len(models) > 1 or not models[0].similarity):
            raise SettingsError(
                "--fail-if-unlike is for one model of network, which knows its training images"
            )
        return models

    def _inputs(self, shards: list[Shard], left_out: LeftOut, ends: deque[int]) -> Iterable[Input]:
        """The inputs of all shards; in a folder ``ends`` gets the number up to each one's last."""
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

        return of_all() if self.in_folder or len(shards) > 1 else of(shards[0][0])

    def _form(self, models: Sequence[Model], output: Path | None) -> Form:
        """How records are written. Raises SettingsError."""
        if self.only is not None:
            label = None if self.only == ANY else self.only
            if self.only not in models[0].classes and label is not None:
                label = _match(self.only, models[0].classes)
            return outputs.paths_form(label, b"\0" if self.print0 else b"\n")
        on_terminal = output is None and is_terminal(sys.stdout)
        format = self.format or ("table" if on_terminal else "tsv")
        stems = [path.stem for path in self.models]
        names = stems if len(set(stems)) == len(stems) else map(str, self.models)
        by_name = dict(zip(names, models, strict=True))
        return outputs.form_of(format, by_name, colour=self.colour, encoding=self.encoding)

    def _predictions(
        self,
        inputs: Iterable[Input],
        models: Sequence[Model],
        pause: AbstractContextManager[None],
        started: list[Decoder],
    ) -> Any:
        """The predictions of all inputs in order, in lists as they are ready."""
        from catclf.images.pool import decode_batches
        from catclf.model.file import naming
        from catclf.model.predict import predict_batches

        decoded = decode_batches(
            inputs, models[0].preprocess, self.limits, self.decoders, pause=pause, started=started
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
    scoring: Scoring, shards: list[Shard], tally: Tally, signals: Signals, address: Address
) -> list[Model]:
    """Score each shard by a worker, which writes its output; returns the models.

    A shard that fails is no reason not to score the others. Raises the last of such failures.
    """
    if not shards:
        return []
    from catclf.cluster.engine import AGAIN, connected
    from catclf.model.file import load_signed
    from catclf.terminal.progress import counting_results

    signed = [load_signed(path) for path in scoring.models]
    models, digests = scoring.sound([model for model, _ in signed]), tuple(d for _, d in signed)
    told = replace(scoring, on_worker=True, decoders=address.threads(None) or None)
    folder = _meant_from(scoring, shards)
    failed: CatclfError | None = None
    with ExitStack() as stack:
        with signals.pause:  # a signal may end the run while workers are waited for
            engine = stack.enter_context(connected(address, AGAIN))
        on_progress = stack.enter_context(counting_results("scoring images", scoring.quiet))
        tasks = [(told, shard, folder, digests) for shard in shards]
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
            counts, lines = end
            for line in lines:
                warn(line)
            tally.add(counts)
            on_progress(tally.done, None)
    if failed is not None:
        raise failed
    return models


def score(
    scoring: Scoring, shard: Shard, folder: str, digests: tuple[str, ...]
) -> tuple[Tally, list[str]]:
    """The task of a worker: what it counted, and lines for stderr.

    Raises as ``Scoring.run`` does, and ModelError for another model.
    """
    tally, lines = Tally(), list[str]()
    with _working_in(folder):
        models = _models(scoring.models, folder, digests)
        scoring.run([shard], tally, nullcontext(), lines.append, models)
    return tally, lines


@lru_cache(maxsize=1)
def _models(paths: tuple[Path, ...], folder: str, digests: tuple[str, ...]) -> list[Model]:
    """The models of a run, which a worker reads once; paths may be meant from the folder."""
    from catclf.model.file import load_signed

    models = []
    for path, digest in zip(paths, digests, strict=True):
        model, found = load_signed(path)
        if found != digest:
            raise ModelError(f"{printable(path)}: a worker sees another model there")
        models.append(model)
    return models


def _meant_from(scoring: Scoring, shards: list[Shard]) -> str:
    """The folder that paths are meant from; none where all of them hold in any folder."""
    paths: list[str | Path] = [*scoring.models]
    for arguments, output in shards:
        paths += [*arguments, *filter(None, [output])]
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
