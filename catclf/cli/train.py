"""``catclf train``: read data, train with the cost in sight, evaluate, save."""

# Without "from __future__ import annotations": Typer would take 2 ms to compile them from strings.
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from catclf.cli import loaded
from catclf.cli.cluster import address_of, engine_at, threads_of
from catclf.cli.config import recorded, to_toml
from catclf.cli.open_data import open_for_training, reading_with_progress, settled, warn_of_idle_fit
from catclf.cli.options import (
    DATA,
    OUTPUT,
    TRAINING,
    ClusterAddress,
    Data,
    Insecure,
    Options,
    Quiet,
    Reading,
    Workers,
    ends_in,
    on_disk,
    option,
    setting,
    settings_options,
)
from catclf.cli.output_paths import require_outputs
from catclf.cli.signals import Stop, exit_if_stopped, stop_on_signals
from catclf.cli.stdout import put, warn
from catclf.errors import CheckpointError, OutputError, SettingsError
from catclf.settings import Settings
from catclf.text import counted, printable, reason

if TYPE_CHECKING:
    from catclf.cli.open_data import Opened
    from catclf.cluster import Address
    from catclf.maths.metrics import Counts
    from catclf.model import Model
    from catclf.training.checkpoint import Checkpoints
    from catclf.training.pipeline import Trained
    from catclf.training.run import Cluster

OnStep = Callable[[int, float], None]
LEARNED = "on the images it learned from"
GAP = 0.1  # of accuracy between images that were learned from and others, which is much


def train(
    ctx: typer.Context,
    *,
    data: Data = None,
    test: Annotated[
        Path | None,
        option(
            help="The same, to evaluate the model.",
            metavar="DATA",
            shown="the test part",
            group=DATA,
        ),
    ] = None,
    validation: Annotated[
        str | None,
        option(
            help="Fraction to hold out, or data: select the weights.",
            metavar="DATA",
            group=DATA,
        ),
    ] = None,
    reading: Reading,
    settings: Annotated[
        Options,
        settings_options(
            *("features", "flip", "cache", "learning_rate", "iterations", "l2", "class_weight"),
            *("threshold", "solver", "batch_size", "schedule", "method", "patience", "seed"),
        ),
    ],
    stream: Annotated[
        bool,
        option(
            "--stream",
            help="Read the pixels of HDF5 files anew in each step, so that memory does not grow "
            "with them; without it those above 256 MB are read so.",
            group=TRAINING,
            hidden=True,
        ),
    ] = False,
    workers: Workers = None,
    cluster: ClusterAddress = None,
    insecure: Insecure = False,
    output: Annotated[
        Path,
        option(
            "--output",
            "-o",
            help="Model to write.",
            metavar="FILE",
            check=ends_in(".npz"),
            shown="model.npz",
            group=OUTPUT,
        ),
    ] = Path("model.npz"),
    print_every: Annotated[int | None, setting("print_every")] = None,
    log: Annotated[
        Path | None,
        option(
            help="Write the cost as JSON lines here.",
            metavar="FILE",
            check=on_disk,
            group=OUTPUT,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        option(
            help="Draw the cost as SVG here.",
            metavar="FILE",
            check=ends_in(".svg"),
            group=OUTPUT,
        ),
    ] = None,
    checkpoint_every: Annotated[
        int,
        option(
            help="Steps after which what is needed to go on is kept beside --output.",
            low=0,
            shown="never",
            group=OUTPUT,
            hidden=True,
        ),
    ] = 0,
    resume: Annotated[
        bool,
        option("--resume", help="Go on from the checkpoint of a stopped run.", group=OUTPUT),
    ] = False,
    quiet: Quiet = False,
    config: Annotated[
        Path | None,
        option(help="Read options from this TOML file.", metavar="FILE", group=OUTPUT),
    ] = None,
    print_config: Annotated[
        bool,
        option(
            "--print-config",
            help="Print all options as such a file, and end.",
            group=OUTPUT,
            hidden=True,
        ),
    ] = False,
) -> None:
    """Train a model on labelled images and save it.

    More options: catclf help settings

    Example: catclf train --data photos --features network
    """
    if print_config:
        put(to_toml(ctx))
        return
    held_out, judged_by = fraction_or_path(validation, settings["patience"])
    given = {name: value for name, value in settings.items() if value is not None}
    if print_every is not None:
        given["print_every"] = print_every
    wanted = Settings(validation=held_out, **given)
    address = _cluster_address(cluster, insecure, wanted, data)
    bundle = _bundled() if data is None else (data, None)
    images, test = bundle[0], test or bundle[1]
    sources = [path for path in (images, test, judged_by) if path is not None]
    checkpoints = _checkpoints_beside(output, checkpoint_every, resume)
    kept = checkpoints.path if checkpoints else None
    outputs = [output, kept, wanted.cache, log, plot]
    require_outputs(outputs, [*sources, *([config] if config else [])])
    _warn_of_checkpoint(checkpoints)
    with StepLog(log) if log else nullcontext() as step_log:
        warn_of_idle_fit(reading["fit"], sources)
        wanted = settled(reading, images, wanted)
        with reading_with_progress(
            reading,
            quiet,
            workers=workers,
            stream=stream,
            features=wanted.features,
            encoder=_encoder(wanted, workers),
        ) as how:
            opened = open_for_training(images, test, judged_by, how, held_out=held_out)
        with _cluster_at(address, workers) as machines:
            listed = print_every is not None
            run = Run(opened, wanted, checkpoints, workers, quiet, listed, recorded(ctx), machines)
            trained, stop = run.to_model(output, step_log)
    if plot is not None:
        _draw(plot, trained.model)
    show_summary(trained, output, quiet, data)
    if not quiet and not trained.fit.interrupted:
        warn(what_next(trained, wanted, output, data))
    exit_if_stopped(stop)


def _bundled() -> tuple[Path, Path]:
    from catclf.datasets import bundled

    return bundled()


def _encoder(settings: Settings, workers: int | None) -> Any:
    from catclf.training.choice import encoder_for_training

    return encoder_for_training(settings, workers)


def _draw(plot: Path, model: "Model") -> None:
    from catclf.report.charts import save_cost_curve

    save_cost_curve(plot, model)


def fraction_or_path(text: str | None, patience: int | None) -> tuple[float, Path | None]:
    """The fraction of the images to hold out, or the path of others, from the text of an option."""
    if text is None:
        if patience is not None:
            raise SettingsError("--patience waits for --validation: give both, as --validation 0.2")
        return 0.0, None
    try:
        fraction = float(text)
    except ValueError:
        return 0.0, Path(text)
    if not 0 < fraction < 1:
        raise SettingsError(f"--validation {text} is not between 0 and 1: try 0.2")
    return fraction, None


def _checkpoints_beside(output: Path, every: int, resume: bool) -> "Checkpoints | None":
    """The checkpoint of an output file, if the run keeps one or goes on from one."""
    if not (every or resume):
        return None
    from catclf.training.checkpoint import Checkpoints, beside

    return Checkpoints(beside(output), every, resume)


def _warn_of_checkpoint(checkpoints: "Checkpoints | None") -> None:
    """Say on stderr that there is nothing to resume, or that a checkpoint is in the way."""
    if checkpoints is None:
        return
    path, resume, there = checkpoints.path, checkpoints.resume, checkpoints.exists()
    if resume and not there:
        warn(f"{printable(path)}: there is no checkpoint: training begins anew")
    if not resume and there:
        warn(f"{printable(path)}: the checkpoint of another run will be replaced")


def _cluster_address(
    text: str | None, insecure: bool, settings: Settings, data: Path | None
) -> "Address | None":
    """The address of --cluster, checked with the other options before anything is read."""
    if text is None:
        return address_of(text, insecure)
    if settings.cache is not None:
        raise SettingsError("--cluster keeps features on its workers: leave out --cache")
    if settings.fixed_l2 is None or settings.fixed_threshold is None:
        raise SettingsError("--cluster does not cross-validate: give --l2 and --threshold a number")
    if settings.method == "gram" or settings.batch_size or settings.validation:
        raise SettingsError(
            "--cluster makes full passes over all images: use neither "
            "--method gram, --batch-size nor a fraction as --validation"
        )
    address = address_of(text, insecure)
    from catclf.datasets import is_packed

    if data is None or not is_packed(data):
        raise SettingsError(
            "--cluster trains on packed folders, which workers can open: make one with "
            f"catclf data pack {printable(data) if data else 'SOURCE'} -o packed/"
        )
    return address


@contextmanager
def _cluster_at(address: "Address | None", workers: int | None) -> "Iterator[Cluster | None]":
    """The workers at an address, for a block; without an address nothing is loaded."""
    if address is None:
        yield None
        return
    from catclf.cluster.problem import Cluster as Machines

    with engine_at(address, resumes=True) as engine:
        yield Machines(engine, threads_of(address, workers))


@dataclass(frozen=True)
class Run:
    """One run, from opened data to a saved model; ``config`` is what a file said of it."""

    opened: "Opened"
    settings: Settings
    checkpoints: "Checkpoints | None"
    workers: int | None
    quiet: bool
    listed: bool  # whether costs are listed on a terminal, too
    config: Mapping[str, Any]
    cluster: "Cluster | None" = None

    def to_model(self, output: Path, log: "StepLog | None") -> "tuple[Trained, Stop]":
        """Select what the settings leave open, train with the cost in sight, and save.

        From the first step on a signal ends training with the weights of then. The solver says
        which steps are printed and which go to ``log``.
        """
        from catclf.model.file import save
        from catclf.terminal.progress import phases, training_display
        from catclf.training import prepare_job

        job = prepare_job(
            self.opened.trained,
            self.settings,
            validation=self.opened.validation,
            workers=self.workers,
            phase=phases(self.quiet),
            cluster=self.cluster,
        )
        loaded()
        with stop_on_signals() as stop:
            total, every = job.resolved.settings.expected_steps
            if log is not None:
                log.every = every
            with training_display(total, every, self.quiet, self.listed) as display:
                trained = job.run(
                    test=self.opened.tested,
                    on_step=_both_of(display.update, log.record if log else None),
                    should_stop=stop.requested,
                    checkpoints=self.checkpoints,
                    cluster=self.cluster,
                    out_of_fold=True,
                    phase=phases(self.quiet),
                )
            if trained.fit.interrupted and trained.fit.steps == 0:
                warn("interrupted before the first step: nothing was saved")
                exit_if_stopped(stop)
            trained = replace(trained, model=self._remembered(trained.model))
            save(trained.model, output)
        if self.checkpoints is not None and not trained.fit.interrupted:
            _remove(self.checkpoints)
        return trained, stop

    def _remembered(self, model: "Model") -> "Model":
        """The model with the options of the file beside the settings."""
        if not self.config:
            return model
        training = model.training
        settings = training.settings | {"config": dict(self.config)}
        return model.with_training(replace(training, settings=settings))


def _remove(checkpoints: "Checkpoints") -> None:
    """Remove the state of a run that ended well; if that fails, its model is saved all the same."""
    try:
        checkpoints.remove()
    except CheckpointError as error:
        warn(str(error))


def show_summary(trained: "Trained", output: Path, quiet: bool, data: Path | None = None) -> None:
    """Print accuracies, steps, cost and why training ended; warn of a cost that rose."""
    from catclf.maths.metrics import Counts
    from catclf.terminal.chart import clock

    model, counts = trained.model, trained.out_of_fold
    training, final = model.training, model.costs[-1]
    held_out = training.validation
    if not quiet:
        put(_accuracy("train accuracy", training.train, model.classes, LEARNED))
        if held_out:
            put(_accuracy("validation", Counts(**held_out["counts"]), model.classes))
        if counts is not None:
            put(_accuracy("out of fold", counts, model.classes))
        if training.test is not None:
            put(_accuracy("test accuracy", training.test, model.classes))
        kept = f", best at step {held_out['best_step']}" if held_out else ""
        steps = counted(training.steps, "step")
        put(
            f"{'model':<15} {printable(output)}: {steps} in {clock(trained.seconds)}, "
            f"cost {final:.6f}{kept}\n"
        )
        if training.ending:
            put(f"{'ended':<15} {training.ending}\n")
        if count := training.suspects.get("count"):
            source = shown_argument(data) if data else "SOURCE"
            kind = model.features.kind if model.features else "pixels"
            put(
                f"{'labels':<15} {counted(count, 'suspect')}: "
                f"catclf data suspects {source} --features {kind}\n"
            )
    for note in trained.notes:
        warn(note)
    if final > model.costs[0] and trained.fit.settings.solver == "gd":
        rate = trained.fit.safe_rate or training.settings["learning_rate"] / 10
        warn(
            f"the cost rose from {model.costs[0]:.3g} to {final:.3g}: "
            f"try --learning-rate {rate:.2g}"
        )
    if training.interrupted:
        planned, _ = trained.fit.settings.expected_steps
        warn(f"interrupted after {training.steps} of {planned} steps; the model was saved")


def what_next(trained: "Trained", settings: Settings, output: Path, data: Path | None) -> str:
    """What to do after this result, in a line: other features, other data, or predictions."""
    from catclf.maths.metrics import Counts, wilson

    train, training = trained.model.training.train, trained.model.training
    held = training.test or trained.out_of_fold
    if held is None and training.validation:
        held = Counts(**training.validation["counts"])
    again = "catclf train" + (f" --data {shown_argument(data)}" if data else "")
    if held is None or not held.total or not train.total:
        return (
            "no image was held out, so it is not known how good the model is on others: "
            f"{again} --validation 0.2"
        )
    near = wilson(held.correct, held.total)[0] <= held.majority
    apart = train.accuracy - held.accuracy > GAP
    weak = held.accuracy < (1 + held.majority) / 2
    if settings.plain and (near or apart or weak):
        return f"pixels see little of a photograph: {again} --features auto"
    if near:
        checked = shown_argument(data) if data else "DATA"
        return (
            f"the model is no better than a guess: see the data with catclf data verify {checked}"
        )
    model = "" if output == Path("model.npz") else f" -m {shown_argument(output)}"
    return f"next: catclf predict FOLDER{model}"


def shown_argument(path: Path) -> str:
    """A path as one argument of a command line that can be typed."""
    import shlex

    return shlex.quote(printable(path))


def _accuracy(label: str, counts: "Counts", classes: tuple[str, str], about: str = "") -> str:
    majority = classes[1] if counts.positives > counts.negatives else classes[0]
    about = about or f"(always {printable(majority)}: {100 * counts.majority:.2f} %)"
    share = f"{100 * counts.accuracy:6.2f} %  {counts.correct} of {counts.total}"
    return f"{label:<15} {share}  {about}\n"


class StepLog:
    """A file with a JSON line for every ``every`` steps and for the last one; a context manager.

    The first step opens the file: a run that never begins leaves an old one alone. A run that
    begins at step 0 empties it. A resumed run goes on in it: the lines before its first step stay,
    and ``seconds`` count on from theirs.
    """

    def __init__(self, path: Path) -> None:
        self.every = 1
        self._path = path
        self._file: BinaryIO | None = None
        self._began = 0.0
        self._pending: dict[str, Any] | None = None  # the last step, while it has no line

    def __enter__(self) -> "StepLog":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._file is not None:
                if self._pending is not None:
                    self._write(self._pending)
                self._file.close()
        except OSError as failure:
            raise self._failed(failure) from failure

    def record(self, step: int, cost: float) -> None:
        """Take note of a step. Raises OutputError."""
        try:
            if self._file is None or step == 0:  # again, where the learning rate was too large
                self._file, seconds = _open(self._path, step, self.every)
                self._began = perf_counter() - seconds
            seconds = round(perf_counter() - self._began, 6)
            self._pending = {"step": step, "cost": cost, "seconds": seconds}
            if step % self.every == 0:
                self._write(self._pending)
        except OSError as error:
            raise self._failed(error) from error

    def _write(self, fields: dict[str, Any]) -> None:
        assert self._file is not None
        self._pending = None
        self._file.write(json.dumps(fields).encode() + b"\n")
        self._file.flush()

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(f"{printable(self._path)}: cannot be written: {reason(error)}")


def _open(path: Path, step: int, every: int) -> tuple[BinaryIO, float]:
    """The log, open after its lines of steps before ``step``, and the seconds of the last of them.

    All is dropped from the first line on that a run without a stop would not have there: another
    program's, a later step's, or that of a last step between those of ``every``.
    """
    if step == 0 or not path.exists():
        return path.open("wb"), 0.0
    file, end, seconds = path.open("r+b"), 0, 0.0
    for line in file:
        fields = _fields(line)
        if fields is None or fields[0] >= step or fields[0] % every:
            break
        end, seconds = end + len(line), fields[1]
    file.truncate(end)
    file.seek(end)
    return file, seconds


def _fields(line: bytes) -> tuple[int, float] | None:
    """Step and seconds of a whole line; None for what is not one."""
    try:
        fields = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    match fields:
        case {"step": int(step), "seconds": int() | float() as seconds}:
            return step, float(seconds)
    return None


def _both_of(first: OnStep, second: OnStep | None) -> OnStep:
    """One callback for two."""
    if second is None:
        return first

    def both(step: int, cost: float) -> None:
        first(step, cost)
        second(step, cost)

    return both
