"""``catclf train``: read data, train with the cost in sight, evaluate, save."""

# Without "from __future__ import annotations": Typer would take 2 ms to compile them from strings.
import json
import shlex
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from catclf.cli import loaded, options
from catclf.cli.open_data import open_for_training, reading_to_train
from catclf.cli.shell import Pause, pausing, put, require_outputs, warn
from catclf.cli.usage import recorded, to_toml
from catclf.errors import OutputError, SettingsError
from catclf.settings import Settings
from catclf.text import counted, printable, reason

if TYPE_CHECKING:
    from catclf.cli.open_data import Opened
    from catclf.cluster import Address
    from catclf.maths.metrics import Counts
    from catclf.training.checkpoint import Checkpoints
    from catclf.training.pipeline import Trained
    from catclf.training.run import Cluster
    from catclf.training.solvers import OnStep

GAP = 0.1  # of accuracy between images that were learned from and others, which is much
MODEL = Path("model.npz")
SOURCES: options.Options = {
    "data": options.Data,
    "test": options.of_data(
        Path, help="Data to test the model on.", metavar="DATA", shown="the test part"
    ),
    "validation": options.of_data(
        str, help="Fraction to hold out, or data, to select the weights by.", metavar="DATA"
    ),
}
SETTINGS = options.settings_options(
    *("features", "flip", "cache", "learning_rate", "iterations", "l2", "class_weight"),
    *("threshold", "solver", "batch_size", "schedule", "method", "patience", "seed"),
    "print_every",
)
MACHINES: options.Options = {
    "stream": options.of_training(
        *(bool, "--stream"),
        help="Read the pixels of HDF5 files anew in each step, so that memory does not grow with "
        "them; without it those above 256 MB are read so.",
        hidden=True,
    ),
    "workers": options.Workers,
    **options.CLUSTER,
}
OUTPUTS: options.Options = {
    "output": options.optional_file(
        "--output", "-o", help="Model to write.", endings=[".npz"], shown=MODEL
    ),
    "log": options.optional_file(help="Write the cost as JSON lines here.", check=options.on_disk),
    "plot": options.optional_file(help="Draw the cost as SVG here.", endings=[".svg"]),
    "checkpoint_every": options.of_output(
        int,
        help="Steps between checkpoints, which are kept beside --output.",
        low=0,
        shown="never",
        hidden=True,
    ),
    "resume": options.of_output(
        bool, "--resume", help="Go on from the checkpoint of a stopped run."
    ),
    "quiet": options.Quiet,
    "config": options.optional_file(help="Read options from this TOML file."),
    "print_config": options.of_output(
        bool, "--print-config", help="Print all options as such a file, and end.", hidden=True
    ),
}


def train(
    ctx: typer.Context,
    *,
    sources: Annotated[options.Options, SOURCES],
    reading: options.Reading,
    settings: Annotated[options.Options, SETTINGS],
    machines: Annotated[options.Options, MACHINES],
    outputs: Annotated[options.Options, OUTPUTS],
) -> None:
    """Train a model on labelled images and save it.

    More options: catclf help settings

    Example: catclf train --data photos --features network
    """
    if outputs["print_config"]:
        put(to_toml(ctx))
        return
    output, data, quiet = outputs["output"] or MODEL, sources["data"], outputs["quiet"]
    held_out, judged_by = fraction_or_path(sources["validation"], settings["patience"])
    wanted = Settings(validation=held_out, **options.given(settings))
    address = _cluster_address(machines, wanted, sources["data"])
    from catclf.datasets import bundled

    images, test = (data, sources["test"]) if data else bundled()
    test = sources["test"] or test
    taken = [path for path in (images, test, judged_by) if path is not None]
    checkpoints = _checkpoints_beside(output, outputs["checkpoint_every"], outputs["resume"])
    kept = checkpoints.path if checkpoints else None
    written = [output, kept, wanted.cache, outputs["log"], outputs["plot"]]
    require_outputs(written, [*taken, *([outputs["config"]] if outputs["config"] else [])])
    _warn_of_checkpoint(checkpoints)
    workers, stream = machines["workers"], machines["stream"]
    with reading_to_train(reading, wanted, taken, quiet, workers, stream=stream) as (wanted, how):
        opened = open_for_training(images, test, judged_by, how, held_out=held_out)
    trained, stop = _solved(ctx, opened, wanted, checkpoints, address)
    if checkpoints is not None and not trained.fit.interrupted:
        checkpoints.remove()
    if outputs["plot"] is not None:
        from catclf.report.charts import save_cost_curve

        save_cost_curve(outputs["plot"], trained.model)
    _show_summary(trained, output, quiet, data)
    if not quiet and not trained.fit.interrupted:
        warn(what_next(trained, wanted, output, data))
    stop.exit_if_requested()


def _solved(
    ctx: typer.Context,
    opened: "Opened",
    settings: Settings,
    checkpoints: "Checkpoints | None",
    address: "Address | None",
) -> "tuple[Trained, Pause]":
    """Select what the settings leave open, train with the cost in sight, and save.

    From the first step on a signal ends training with the weights of then. The solver says which
    steps are printed and which go to the log. The model remembers the file of options.
    """
    from catclf.model.file import save
    from catclf.terminal.progress import phases, training_display
    from catclf.training import prepare_job

    quiet, workers, log = (ctx.params[name] for name in ("quiet", "workers", "log"))
    listed = ctx.params["print_every"] is not None
    with ExitStack() as stack:
        cluster = _workers_at(address, workers, stack) if address else None
        how: dict[str, Any] = {"cluster": cluster, "phase": phases(quiet)}
        job = prepare_job(
            opened.trained, settings, validation=opened.validation, workers=workers, **how
        )
        total, every = job.resolved.settings.expected_steps
        loaded()
        # A second signal raises KeyboardInterrupt.
        stop = stack.enter_context(pausing(signal.default_int_handler))
        shows = [stack.enter_context(training_display(total, every, quiet, listed))]
        if log is not None:
            shows.append(stack.enter_context(step_log(log, every)))

        def on_step(step: int, cost: float) -> None:
            for show in shows:
                show(step, cost)

        trained = job.run(
            test=opened.tested,
            on_step=on_step,
            should_stop=stop.requested,
            checkpoints=checkpoints,
            out_of_fold=True,
            **how,
        )
        if trained.fit.interrupted and trained.fit.steps == 0:
            warn("interrupted before the first step: nothing was saved")
            stop.exit_if_requested()
        trained = _remembering(trained, recorded(ctx))
        save(trained.model, ctx.params["output"] or MODEL)
    return trained, stop


def _remembering(trained: "Trained", config: dict[str, Any]) -> "Trained":
    """The model with the options of a file beside the settings."""
    if not config:
        return trained
    model, training = trained.model, trained.model.training
    training = replace(training, settings=training.settings | {"config": config})
    return replace(trained, model=replace(model, training=training))


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


def _checkpoints_beside(output: Path, every: int | None, resume: bool) -> "Checkpoints | None":
    """The checkpoint of an output file, if the run keeps one or goes on from one."""
    if not (every or resume):
        return None
    from catclf.training.checkpoint import Checkpoints, beside

    return Checkpoints(beside(output), every or 0, resume)


def _warn_of_checkpoint(checkpoints: "Checkpoints | None") -> None:
    """Say on stderr that there is nothing to resume, or that a checkpoint is in the way."""
    if checkpoints is not None and checkpoints.resume != checkpoints.exists():
        begins_anew = "there is no checkpoint: training begins anew"
        replaced = "the checkpoint of another run will be replaced"
        shown = printable(checkpoints.path)
        warn(f"{shown}: {begins_anew if checkpoints.resume else replaced}")


def _cluster_address(
    machines: options.Options, settings: Settings, data: Path | None
) -> "Address | None":
    """The address of --cluster, checked with the other options before anything is read."""
    address = options.address_of(machines)
    if address is None:
        return None
    from catclf.datasets import is_packed

    selects = settings.fixed_l2 is None or settings.fixed_threshold is None
    divides = settings.method == "gram" or settings.batch_size or settings.validation
    if selects or divides or settings.cache is not None:
        raise SettingsError(
            "--cluster makes full passes over all images: give --l2 and --threshold a number, and "
            "leave out --method gram, --batch-size, --cache and a fraction as --validation"
        )
    if data is None or not is_packed(data):
        source = printable(data) if data else "SOURCE"
        raise SettingsError(
            "--cluster trains on packed folders, which workers can open: make one with "
            f"catclf data pack {source} -o packed/"
        )
    return address


def _workers_at(address: "Address", workers: int | None, stack: ExitStack) -> "Cluster":
    """The workers at an address, until the stack is closed."""
    from catclf.cluster.engine import RESUME, connected
    from catclf.cluster.executor import Cluster

    engine = stack.enter_context(connected(address, RESUME))
    return Cluster(engine, address.threads(workers))


def _show_summary(trained: "Trained", output: Path, quiet: bool, data: Path | None) -> None:
    """Print accuracies, steps, cost and why training ended; warn of a cost that rose."""
    if not quiet:
        rows = _summary(trained, output, shown_argument(data) if data else "SOURCE")
        put("".join(f"{name:<15} {text}\n" for name, text in rows))
    for note in trained.notes:
        warn(note)
    training, fit, costs = trained.model.training, trained.fit, trained.model.costs
    if costs[-1] > costs[0] and fit.settings.solver == "gd":
        rate = fit.safe_rate or training.settings["learning_rate"] / 10
        warn(
            f"the cost rose from {costs[0]:.3g} to {costs[-1]:.3g}: try --learning-rate {rate:.2g}"
        )
    if training.interrupted:
        planned, _ = fit.settings.expected_steps
        warn(f"interrupted after {training.steps} of {planned} steps; the model was saved")


def _summary(trained: "Trained", output: Path, source: str) -> Iterator[tuple[str, str]]:
    """Names and values: accuracies, the model, why training ended, and suspect labels."""
    from catclf.maths.metrics import Counts
    from catclf.terminal.progress import clock

    model, training = trained.model, trained.model.training
    validation = training.validation
    yield "train accuracy", f"{_share(training.train)}  on the images it learned from"
    if training.test is None and not validation:
        yield "held out", "none: only training images were seen (try --validation 0.2)"
    for name, counts in (
        ("validation", Counts(**validation["counts"]) if validation else None),
        ("out of fold", trained.out_of_fold),
        ("test accuracy", training.test),
    ):
        if counts is not None:
            majority = printable(model.classes[counts.positives > counts.negatives])
            yield name, f"{_share(counts)}  (always {majority}: {100 * counts.majority:.2f} %)"
    best = f", best at step {validation['best_step']}" if validation else ""
    took = f"{counted(training.steps, 'step')} in {clock(trained.seconds)}"
    yield "model", f"{printable(output)}: {took}, cost {model.costs[-1]:.6f}{best}"
    if training.ending:
        yield "ended", training.ending
    if count := training.suspects.get("count"):
        kind = model.features.kind if model.features else "pixels"
        command = f"catclf data suspects {source} --features {kind}"
        yield "labels", f"{counted(count, 'suspect')}: {command}"


def _share(counts: "Counts") -> str:
    return f"{100 * counts.accuracy:6.2f} %  {counts.correct} of {counts.total}"


def what_next(trained: "Trained", settings: Settings, output: Path, data: Path | None) -> str:
    """What to do after this result, in a line: other features, other data, or predictions."""
    from catclf.maths.metrics import Counts, wilson

    training = trained.model.training
    train, held = training.train, training.test or trained.out_of_fold
    if held is None and training.validation:
        held = Counts(**training.validation["counts"])
    again = "catclf train" + (f" --data {shown_argument(data)}" if data else "")
    if held is None or not held.total or not train.total:
        unknown = "no image was held out, so it is not known how good the model is on others"
        return f"{unknown}: {again} --validation 0.2"
    near = wilson(held.correct, held.total)[0] <= held.majority
    apart = train.accuracy - held.accuracy > GAP
    weak = held.accuracy < (1 + held.majority) / 2
    if settings.plain and (near or apart or weak):
        return f"pixels see little of a photograph: {again} --features auto"
    if near:
        verify = f"catclf data verify {shown_argument(data) if data else 'DATA'}"
        return f"the model is no better than a guess: see the data with {verify}"
    model = "" if output == MODEL else f" -m {shown_argument(output)}"
    return f"next: catclf predict FOLDER{model}"


def shown_argument(path: Path) -> str:
    """A path as one argument of a command line that can be typed."""
    return shlex.quote(printable(path))


@contextmanager
def step_log(path: Path, every: int) -> "Iterator[OnStep]":
    """A callback that writes a JSON line for every ``every``-th step and for the last one.

    The first line opens the file: a run that never begins leaves an old one alone. A run that
    begins at step 0 empties it. A resumed run goes on in it: the lines before its first step stay,
    and ``seconds`` count on from theirs. Raises OutputError.
    """
    from catclf.terminal.progress import every_so_many

    file: BinaryIO | None = None
    began = 0.0

    def write(step: int, cost: float) -> None:
        nonlocal file, began
        try:
            if file is None or step == 0:  # again, where the learning rate was too large
                file, seconds = _open(path, step, every)
                began = perf_counter() - seconds
            line = {"step": step, "cost": cost, "seconds": round(perf_counter() - began, 6)}
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
        except OSError as error:
            raise OutputError(f"{printable(path)}: cannot be written: {reason(error)}") from error

    try:
        with every_so_many(every, write) as record:
            yield record
    finally:
        if file is not None:
            file.close()


def _open(path: Path, step: int, every: int) -> tuple[BinaryIO, float]:
    """The log, open after its lines of steps before ``step``, and the seconds of the last of them.

    All is dropped from the first line on that a run without a stop would not have there: another
    program's, a later step's, or that of a last step between those of ``every``.
    """
    if step == 0 or not path.exists():
        return path.open("wb"), 0.0
    seconds = 0.0

    def stays(line: bytes) -> bool:
        nonlocal seconds
        try:
            fields = json.loads(line)
            kept = line.endswith(b"\n") and fields["step"] < step and not fields["step"] % every
            seconds = float(fields["seconds"]) if kept else seconds
        except (ValueError, LookupError, TypeError, RecursionError):
            return False
        return kept

    file = path.open("r+b")
    end = sum(map(len, takewhile(stays, file)))
    file.truncate(end)
    file.seek(end)
    return file, seconds
