"""``catclf predict``: score images, one record an input, in input order."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from contextlib import ExitStack, chdir, closing, suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Annotated

import typer

from catclf.cli import loaded, options, records
from catclf.cli.shell import ExitCode, Pause, as_options, pausing, results, warn
from catclf.errors import CatclfError, ImageError, InputError, ModelError, SettingsError
from catclf.images.preprocess import Limits
from catclf.storage.location import is_remote, locate
from catclf.terminal.stream import is_file, is_terminal, use_colour
from catclf.text import counted, printable, url_of

if TYPE_CHECKING:
    from catclf.cluster import Address
    from catclf.images.inputs import Input
    from catclf.images.pool import Decoder
    from catclf.model import Model
    from catclf.model.predict import Prediction

ANY = "unsure"  # in the place of a class: images of both that are near the threshold
# What reads the files that are taken for images, by their endings.
ADVICE = {
    **dict.fromkeys((".h5", ".hdf5", ".npz", ".csv", ".tsv"), "catclf evaluate takes data sets"),
    **dict.fromkeys((".txt", ".lst", ".list"), "@FILE reads a list of names"),
}
UNSURE = (0.2, 0.8)  # probabilities between which an image is unsure, where the threshold is 0.5


def between(name: str, text: str | None) -> tuple[float, float] | None:
    """The value of an option LOW,HIGH: two probabilities. Raises SettingsError."""
    if text is None:
        return None
    with suppress(ValueError):
        low, high = map(float, text.split(","))
        if 0.0 < low < high < 1.0:
            return low, high
    raise SettingsError(
        f"--{name} {printable(text)}: give two probabilities, the lower first: 0.2,0.8"
    )


_input = partial(options.optional, group="Input")
_output = partial(options.optional, group=options.OUTPUT)
_limit = partial(options.optional, group="Limits")
# The options that are fields of ``Scoring``.
SCORING: options.Options = {
    "null": _input(bool, "--null", "-0", help="Names in lists end with NUL."),
    "recursive": _input(bool, "--recursive", "-r", help="Descend into folders in folders."),
    "threshold": options.Threshold,
    "format": _output(
        str,
        help="How to print: table, tsv, csv, jsonl or parquet.",
        choices=records.FORMATS,
        shown="what --output ends in, table on a terminal, else tsv",
    ),
    "only": _output(
        str,
        help="Print the paths of this class's images, or of unsure ones, and nothing else.",
        metavar="CLASS",
        complete=options.complete_class,
    ),
    "between": _output(
        str,
        help="Print unsure images alone: those between these probabilities, which are meant "
        "around the threshold 0.5 and move with it.",
        metavar="LOW,HIGH",
        check=partial(between, "between"),
    ),
    "fail_if_unlike": _output(
        float,
        help="Exit 3 if more of the images are unlike the training images (network).",
        metavar="FRACTION",
        **{"low": 0.0, "high": 1.0},
    ),
    "print0": _output(bool, "--print0", help="With --only: end paths with NUL."),
    "quiet": _output(
        *(bool, "--quiet", "-q"),
        help="Print nothing; exit 0 if every image is of the positive class, else 1.",
    ),
    "max_pixels": _limit(int, help=options.MAX_PIXELS_HELP, low=1, shown="100 million"),
    "max_bytes": _limit(int, help="Refuse larger files unread.", low=1, shown="256 MB"),
    "truncated": _limit(bool, "--truncated", help=options.TRUNCATED_HELP),
}
# The options that say where records are written.
OUTPUTS: options.Options = {
    "output": _output(
        *(Path, "--output", "-o"),
        help="Write to this file, when all is done.",
        metavar="FILE",
        check=options.ends_in(*records.ENDINGS, ".txt"),
    ),
    "output_dir": _output(
        Path, help="Write one file for each argument in this folder, and make none that is there."
    ),
    "part": _output(
        str,
        help="With --output-dir: the K-th of N jobs, every N-th argument from the K-th on.",
        metavar="K/N",
        shown="all",
    ),
    **options.CLUSTER,
}


def predict(
    *,
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
        list[Path] | None, options.models_option("Several give each image a probability of each.")
    ] = None,
    how: Annotated[options.Options, SCORING],
    to: Annotated[options.Options, OUTPUTS],
) -> None:
    """Score images: path, predicted class, and probability of the positive class.

    One record an input, in order, as soon as it is known. An image that cannot be read is named
    on stderr; the others are scored, and the exit code is 3.

    tsv: three fields; backslash, tab, newline and return in a path are written \\\\, \\t, \\n, \\r;
    the last two fields are empty where an image failed. csv: quoted as RFC 4180. jsonl: a path
    that is not UTF-8 has its bytes in path_base64. parquet: columns as the keys of jsonl.

    Example: find . -name '*.jpg' -print0 | catclf predict -0 - --only cat --print0
    """
    how["format"] = records.format_of(to["output"], how["format"])
    models, folder = tuple(model or [Path(options.usual_model())]), to["output_dir"]
    scoring = Scoring(models, **how, in_folder=folder is not None)
    _require_consistent(scoring, to)
    address = options.address_of(to)
    with pausing() as pause:
        given = records.named(paths)
        shards: list[records.Shard] = [(given, to["output"])]
        if folder is not None:
            shards = records.pending(given, folder, scoring.ending, to["part"], scoring.quiet)
        run = ScoringRun(scoring, shards, pause)
        if address is None:
            run.start()
        else:
            run_by_workers(run, address)
    _conclude(run)


def _require_consistent(scoring: Scoring, to: options.Options) -> None:
    """Raise SettingsError for options that make no sense together."""
    bare, in_folder, format = scoring.only is not None, scoring.in_folder, scoring.format
    on_terminal = to["output"] is None and not in_folder and is_terminal(sys.stdout)
    of_one = bare or scoring.quiet or scoring.between or scoring.threshold is not None
    one_number = of_one or format not in ("csv", "jsonl", "parquet")
    for mistake, why in (
        (scoring.print0 and not bare, "--print0 ends the paths of --only: give both"),
        (bare and format, "--only prints bare paths: leave out --format"),
        (on_terminal and format == "parquet", "--format parquet is binary: give --output"),
        (to["part"] and not in_folder, "--part is of the outputs in --output-dir: give both"),
        (to["output"] and in_folder, "--output and --output-dir exclude each other: give one"),
        (to["cluster"] and not in_folder, "--cluster writes many outputs: give --output-dir"),
        (
            len(scoring.models) > 1 and one_number,
            "several models give several probabilities: write --format csv, jsonl or parquet, "
            "without --only, --between, --threshold and --quiet",
        ),
    ):
        if mistake:
            raise SettingsError(why)


def _conclude(run: ScoringRun) -> None:
    """Say on stderr what the records do not, and exit as the outcome demands."""
    scoring, tally, models = run.scoring, run.tally, run.models
    if tally.left_out:
        warn(str(tally.left_out))
    if scoring.in_folder and tally.incomplete:
        warn(
            f"{counted(tally.incomplete, 'argument')} could not be read, or not to the end: the "
            f"same command scores what {records.FAILED} is beside again"
        )
    if len(models) == 1 and not scoring.quiet:
        if tally.done > 1 and is_terminal(sys.stderr):
            warn(tally.line(models[0].classes, scoring.between or UNSURE))
        if models[0].similarity and (news := tally.news(models[0].training)):
            warn(news)
    allowed = scoring.fail_if_unlike
    too_many = allowed is not None and tally.unlike > (tally.done - tally.failed) * allowed
    if tally.failed or too_many:
        raise typer.Exit(ExitCode.PARTIAL)
    if scoring.quiet and tally.negative:
        raise typer.Exit(ExitCode.NO)


@dataclass(frozen=True)
class Scoring:
    """What is done with each list of inputs, and how it is written."""

    models: tuple[Path, ...]
    null: bool = False
    recursive: bool = False
    threshold: float | None = None
    format: str | None = None
    only: str | None = None
    between: tuple[float, float] | None = None
    fail_if_unlike: float | None = None
    print0: bool = False
    quiet: bool = False
    max_pixels: int | None = None
    max_bytes: int | None = None
    truncated: bool = False
    in_folder: bool = False  # whether each argument has an output of its own
    on_worker: bool = False  # of a cluster, which makes lost outputs again
    decoders: int | None = None  # processes that decode; None for one a core

    @property
    def ending(self) -> str:
        """Of the names of outputs in a folder."""
        return ".txt" if self.only is not None else f".{self.format or 'tsv'}"

    @property
    def limits(self) -> Limits:
        return Limits(
            self.max_pixels or Limits.pixels, self.max_bytes or Limits.file_bytes, self.truncated
        )

    def load(self) -> list[Model]:
        """The models. Raises ModelError and SettingsError."""
        from catclf.model.file import load

        models = self.sound([load(path) for path in self.models])
        loaded()
        return models

    def sound(self, models: list[Model]) -> list[Model]:
        """These models. Raises SettingsError unless they take images alike and fit the options."""
        for path, model in zip(self.models, models, strict=True):
            if model.preprocess != models[0].preprocess:
                raise SettingsError(
                    f"{printable(path)} takes images of another size or fit than "
                    f"{printable(self.models[0])}: score them in two runs"
                )
        if self.fail_if_unlike is not None and (len(models) > 1 or not models[0].similarity):
            raise SettingsError(
                "--fail-if-unlike is for one model of network, which knows its training images"
            )
        return models

    def predictions(
        self,
        inputs: Iterable[Input],
        models: Sequence[Model],
        pause: Pause,
        started: Sequence[Decoder] = (),
    ) -> Generator[list[Prediction], None, None]:
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
                        prediction.error = _explained(prediction)
                yield batch

    def form(self, models: Sequence[Model], output: Path | None) -> records.Form:
        """How records are written. Raises SettingsError."""
        if self.quiet and output is None:
            return records.Form(b"", lambda record: b"")
        if self.only is not None:
            return records.paths_form(self.label(models[0]), b"\0" if self.print0 else b"\n")
        stream = sys.stdout if output is None else None
        stems = [path.stem for path in self.models]
        names = stems if len(set(stems)) == len(stems) else map(str, self.models)
        return records.form_of(
            self.format or ("table" if is_terminal(stream) else "tsv"),
            dict(zip(names, models, strict=True)),
            colour=use_colour(stream),
            encoding=getattr(stream, "encoding", None) or "utf-8",
        )

    def label(self, model: Model) -> str | None:
        """The class whose images alone are wanted; None for those of both.

        Raises SettingsError where the model has no such class.
        """
        from catclf.datasets.names import match

        label = None if self.only is None else match(self.only, model.classes)
        if label is None and self.only not in (ANY, None):
            names = " or ".join(map(printable, model.classes))
            raise SettingsError(f"--only {printable(self.only)}: the model's classes are {names}")
        return label

    def wants_unsure(self, model: Model) -> bool:
        """Whether records of unsure images alone are written."""
        of_both = self.only is not None and self.label(model) is None
        return of_both or self.between is not None

    def unsure(self, model: Model) -> Callable[[Prediction], bool]:
        """A function that says of a record whether it is unsure.

        The probabilities ``between`` are meant around the threshold 0.5; another one shifts them
        in log odds, so that an image is as unsure as it is near the decision.
        """
        from catclf.maths import logit  # loads NumPy, while other processes get ready

        boundary = model.boundary if self.threshold is None else logit(self.threshold)
        low, high = (boundary + logit(each) for each in self.between or UNSURE)
        return lambda record: low < record.z < high


def _explained(failed: Prediction) -> str:
    """The error as the command line says it, and for data sets and lists what reads them."""
    text, advice = as_options(str(failed.error)), ADVICE.get(Path(failed.path).suffix.lower())
    if advice is None or failed.kind != "not-a-picture":
        return text
    return f"{text.partition(': it is ')[0]}: {advice}"


class ScoringRun:
    """Shards being scored, one after the other: their inputs, their outputs, and a tally of both.

    A file appears when its shard is done. ``say`` names failures. In a folder an output whose
    argument could not be read, or not to its end, gets its mark. Without ``models`` they are
    loaded.
    """

    def __init__(
        self,
        scoring: Scoring,
        shards: list[records.Shard],
        pause: Pause,
        say: Callable[[str], object] = warn,
        models: Sequence[Model] = (),
    ) -> None:
        self.scoring, self.models, self.tally = scoring, models, records.Tally()
        self.shards, self.pause, self._say = deque(shards), pause, say
        self._ends = deque[int]()  # numbers of inputs up to the ends of shards
        self._stack = ExitStack()  # of the output that is open

    def start(self) -> None:
        """Score all inputs. Raises ModelError and SettingsError before anything is written."""
        from catclf.images.pool import getting_ready
        from catclf.terminal.progress import counting

        if not self.shards:
            return
        scoring, output, inputs = self.scoring, self.shards[0][1], self._inputs()
        # Results that arrive on the terminal show progress better, and would be mixed with it.
        seen = output is None and not is_file(sys.stdout)
        silent = scoring.quiet or scoring.on_worker or seen
        total = len(inputs) if isinstance(inputs, Sized) else None
        with getting_ready(inputs, scoring.decoders) as started, self._stack:
            self.models = models = self.models or scoring.load()
            self._form, self._unsure = scoring.form(models, output), scoring.unsure(models[0])
            self._only_unsure = scoring.wants_unsure(models[0])
            self._open()
            predictions = scoring.predictions(inputs, models, self.pause, started)
            with counting("scoring images", silent, results=True) as count, closing(predictions):
                for batch in predictions:
                    self._put(batch)
                    count(self.tally.done, total)
            while self.shards:  # those after the last one with inputs have none
                self._finish()

    def _inputs(self) -> Iterable[Input]:
        """The inputs of all shards; in a folder ``_ends`` gets the number up to each one's last."""
        from catclf.images.inputs import read_inputs

        scoring, shards = self.scoring, list(self.shards)
        of = partial(
            read_inputs,
            null=scoring.null,
            recursive=scoring.recursive,
            left_out=self.tally.left_out,
            limit=scoring.limits.file_bytes,
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
                self._ends.append(total)

        return of_all() if scoring.in_folder else of(shards[0][0])

    def _put(self, batch: list[Prediction]) -> None:
        """Write the records of a batch, each to the output of its shard."""
        lines: list[bytes] = []
        for record in batch:
            while self._ends and self._ends[0] == self.tally.done:
                self._ends.popleft()
                self._write(b"".join(lines))
                lines = []
                self._finish()
            lines.append(self._line(record))
        self._write(b"".join(lines))

    def _line(self, record: Prediction) -> bytes:
        """A record's bytes; it is counted, and its failure is named."""
        unsure = record.error is None and self._unsure(record)
        self.tally.count(record, unsure)
        if record.error is not None:
            said = f"{printable(record.path, 200)}: {record.error}"
            self._say(said)
            if record.path in self._arguments:
                self._unread.append(said)
        return b"" if self._only_unsure and not unsure else self._form.line(record)

    def _open(self) -> None:
        """Open the output of the next shard."""
        paths, output = self.shards[0]
        self._unread: list[str] = []  # failures of its arguments
        self._arguments = {url_of(each) for each in paths}
        files = [Path(path.removeprefix("@")) for path in paths if path not in ("-", "@", "")]
        taken, kept = [self.scoring.models[0], *files], not self.scoring.on_worker
        self._write = self._stack.enter_context(results(output, taken, kept=kept))
        self._write(self._form.head)

    def _finish(self) -> None:
        """Finish the output of a shard, and open the next one's."""
        self._write(self._form.tail())
        with self.pause:
            pass  # the last moment at which a signal leaves the old output
        _, output = self.shards.popleft()
        in_folder = output is not None and self.scoring.in_folder
        mark = output.with_name(output.name + records.FAILED) if output and in_folder else None
        if mark and self._unread:
            self.tally.incomplete += 1
            with results(mark, (), kept=False) as write:  # before the output is there
                write("".join(f"{line}\n" for line in self._unread).encode())
        self._stack.close()
        if mark and not self._unread:
            with suppress(OSError):  # who may write need not be allowed to remove
                locate(mark).remove()
        if self.shards:
            self._open()


# Scored by workers, as without a cluster


def run_by_workers(run: ScoringRun, address: Address) -> None:
    """Score each shard by a worker, which writes its output.

    A shard that fails is no reason not to score the others. Raises the last of such failures.
    """
    if not run.shards:
        return
    from catclf.cluster.engine import AGAIN, connected
    from catclf.model.file import load_signed
    from catclf.terminal.progress import counting

    signed, scoring = [load_signed(path) for path in run.scoring.models], run.scoring
    run.models = scoring.sound([model for model, _ in signed])
    digests = tuple(digest for _, digest in signed)
    told = replace(scoring, on_worker=True, decoders=address.threads(None) or None)
    tasks = [(told, shard, _meant_from(run), digests) for shard in run.shards]
    failures: list[CatclfError] = []
    with ExitStack() as stack:
        with run.pause:  # a signal may end the run while workers are waited for
            engine = stack.enter_context(connected(address, AGAIN))
        count = stack.enter_context(counting("scoring images", scoring.quiet, results=True))
        ends = engine.each(score, tasks, [printable(paths[0]) for paths, _ in run.shards])
        while True:
            with run.pause:
                _, end = next(ends, (0, None))
            if end is None:
                break
            if isinstance(end, CatclfError):
                failures.append(end)
                continue
            tally, lines = end
            for line in lines:
                warn(line)
            run.tally.add(tally)
            count(run.tally.done, None)
    for failure in failures[:-1]:
        warn(str(failure))
    if failures:
        raise failures[-1]


def _meant_from(run: ScoringRun) -> str:
    """The folder that paths are meant from; none where all of them hold in any folder."""
    paths: list[str | Path] = [*run.scoring.models]
    for arguments, output in run.shards:
        paths += [*arguments, *filter(None, [output])]
    anywhere = all(is_remote(path) or Path(path).is_absolute() for path in paths)
    return "" if anywhere else str(Path.cwd())


_folder = Lock()  # a process has one folder, and so its tasks have their turns


def score(
    scoring: Scoring, shard: records.Shard, folder: str, digests: tuple[str, ...]
) -> tuple[records.Tally, list[str]]:
    """The task of a worker: what it counted, and lines for stderr.

    Raises as ``ScoringRun.start`` does, ModelError for another model, and InputError where the
    worker does not see the ``folder`` that relative paths are meant from.
    """
    lines: list[str] = []
    with ExitStack() as stack:
        if folder:
            stack.enter_context(_folder)
            try:
                stack.enter_context(chdir(folder))
            except OSError as error:
                raise InputError(f"{printable(folder)}: a worker sees no such folder") from error
        models = _models(scoring.models, folder, digests)
        run = ScoringRun(scoring, [shard], Pause(), lines.append, models)
        run.start()
    return run.tally, lines


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
