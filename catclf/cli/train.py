"""``catclf train``: read data, train with the cost in sight, judge, save."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from catclf.cli.options import DATA, OUTPUT, TRAINING, FitOption, Quiet, Size, SkipBad
from catclf.cli.reading import reading_with_progress
from catclf.cli.resuming import checkpoints_beside, open_validation, part_or_path
from catclf.cli.streams import put, warn
from catclf.errors import ExitCode, OutputError
from catclf.files import printable, reason, require_writable

if TYPE_CHECKING:
    from catclf.metrics import Counts
    from catclf.model import Model

OnStep = Callable[[int, float], None]


def train(
    data: Annotated[
        Path | None,
        typer.Option(
            help="HDF5 file, class folders, CSV or TSV table, or .npz.",
            show_default="the bundled data set",
            rich_help_panel=DATA,
        ),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(
            help="The same, to judge the model with.",
            show_default="the test part of --data, if any",
            rich_help_panel=DATA,
        ),
    ] = None,
    size: Size = None,
    fit: FitOption = None,
    skip_bad: SkipBad = False,
    positive: Annotated[
        str | None,
        typer.Option(
            help="The class to find; all others count as negative.",
            show_default="cat",
            rich_help_panel=DATA,
        ),
    ] = None,
    learning_rate: Annotated[
        float,
        typer.Option("--learning-rate", "--lr", help="Step length α.", rich_help_panel=TRAINING),
    ] = 0.005,
    iterations: Annotated[
        int, typer.Option(help="Steps of gradient descent.", rich_help_panel=TRAINING)
    ] = 2000,
    l2: Annotated[
        float,
        typer.Option("--l2", help="Penalty λ: adds (λ/2m)‖w‖².", rich_help_panel=TRAINING),
    ] = 0.0,
    solver: Annotated[
        str,
        typer.Option(
            help="gd (gradient descent), or lbfgs: the optimum in tens of passes; needs SciPy.",
            rich_help_panel=TRAINING,
        ),
    ] = "gd",
    method: Annotated[
        str,
        typer.Option(
            help="auto, gram (for few pictures) or stream: same result, other time.",
            rich_help_panel=TRAINING,
        ),
    ] = "auto",
    batch_size: Annotated[
        int,
        typer.Option(
            help="Pictures that a step looks at; iterations are then updates. Shuffled by --seed: "
            "all in memory, in blocks and then among 2048 on disk.",
            show_default="all",
            rich_help_panel=TRAINING,
        ),
    ] = 0,
    validation: Annotated[
        str | None,
        typer.Option(
            metavar="PART|PATH",
            help="Part of each class to hold out, as 0.2, or other pictures: the weights with the "
            "lowest cost on them are kept.",
            show_default="none",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    patience: Annotated[
        int,
        typer.Option(
            help="Printed costs without a better one on --validation until training ends.",
            rich_help_panel=TRAINING,
        ),
    ] = 10,
    seed: Annotated[
        int,
        typer.Option(
            help="For random choices; full-batch training makes none.", rich_help_panel=TRAINING
        ),
    ] = 0,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            help="Threads that compute; the result is the same for any number.",
            show_default="one for each core",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    checkpoint_every: Annotated[
        int,
        typer.Option(
            min=0,
            help="Steps after which what is needed to go on is kept beside --output.",
            show_default="never",
            rich_help_panel=TRAINING,
        ),
    ] = 0,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on from the checkpoint, if there is one, as if never stopped.",
            rich_help_panel=TRAINING,
        ),
    ] = False,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Model file to write.", rich_help_panel=OUTPUT)
    ] = Path("model.npz"),
    print_every: Annotated[
        int, typer.Option(help="Steps between printed costs.", rich_help_panel=OUTPUT)
    ] = 100,
    log: Annotated[
        Path | None,
        typer.Option(
            help="Write step, cost and seconds as JSON lines here.", rich_help_panel=OUTPUT
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw the cost as SVG here.", rich_help_panel=OUTPUT),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Train a model on labelled pictures and save it.

    Without --data it trains on the bundled drawings. The cost goes to stderr, the result to stdout.

    Example: catclf train --data train_catvnoncat.h5 --test test_catvnoncat.h5 -o model.npz
    """
    from catclf.datasets import bundled, open_parts
    from catclf.display import training_display
    from catclf.model import Model
    from catclf.modelfile import save
    from catclf.solvers import Settings
    from catclf.solvers import train as fit_to

    held_out, judged_by = part_or_path(validation)
    settings = Settings(
        learning_rate,
        iterations,
        l2,
        print_every,
        seed,
        method,
        solver,
        batch_size,
        held_out,
        patience,
    )
    if data is None:
        data, bundled_test = bundled()
        test = test or bundled_test
    inputs = [path for path in (data, test, judged_by) if path is not None]
    require_writable(output, inputs)
    checkpoints = checkpoints_beside(output, checkpoint_every, resume, inputs, settings)
    if plot is not None:
        require_writable(plot, [*inputs, output, *([log] if log else [])])
    with ExitStack() as stack:
        record = stack.enter_context(_logging(log, [*inputs, output], print_every, iterations))
        with reading_with_progress(
            size, fit, skip_bad, quiet, positive=positive, workers=workers
        ) as reading:
            trained, tested = open_parts(data, test, reading)
            judge = open_validation(judged_by, trained, [data, test], reading)
        for note in (*trained.notes, *(tested.notes if tested else ())):
            warn(note)
        trained.require_both_classes()
        stop = stack.enter_context(stop_on_signals())
        began = perf_counter()
        with training_display(iterations, print_every, quiet) as display:
            fitted = fit_to(
                trained,
                settings,
                _both(display.update, record),
                stop.requested,
                validation=judge,
                workers=workers,
                checkpoints=checkpoints,
            )
        seconds = perf_counter() - began
        model = Model.from_fit(fitted, trained, tested)
        save(model, output)
    if checkpoints is not None and not fitted.interrupted:
        checkpoints.remove()
    if plot is not None:
        from catclf.report.charts import save_cost_curve

        save_cost_curve(plot, model.costs, model.cost_steps)
    _finish(model, output, seconds, quiet, stop)


class Stop:
    """Whether a signal has asked for the end, and which."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def requested(self) -> bool:
        return self.signal is not None


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Within the block SIGINT and SIGTERM only set a flag; a second SIGINT stops at once."""
    stop = Stop()

    def note(number: int, frame: FrameType | None) -> None:
        if stop.signal is not None:
            raise KeyboardInterrupt
        stop.signal = number

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _logging(
    log: Path | None, inputs: list[Path], every: int, total: int
) -> Iterator[OnStep | None]:
    """A callback that writes a JSON line for every ``every`` steps and for the last one."""
    if log is None:
        yield None
        return
    require_writable(log, inputs)
    try:
        with log.open("w", encoding="utf-8") as file:
            yield _recorder(file, every, total)
    except OSError as error:
        raise OutputError(f"{printable(log)}: cannot be written: {reason(error)}") from error


def _recorder(file: TextIO, every: int, total: int) -> OnStep:
    began: list[float] = []

    def record(step: int, cost: float) -> None:
        if not began:
            began.append(perf_counter())
        if step % every == 0 or step == total:
            seconds = round(perf_counter() - began[0], 6)
            file.write(json.dumps({"step": step, "cost": cost, "seconds": seconds}) + "\n")
            file.flush()

    return record


def _both(first: OnStep, second: OnStep | None) -> OnStep:
    if second is None:
        return first

    def both(step: int, cost: float) -> None:
        first(step, cost)
        second(step, cost)

    return both


def _finish(model: Model, output: Path, seconds: float, quiet: bool, stop: Stop) -> None:
    """Say what came out, and exit as the signal demands."""
    from catclf.display import clock
    from catclf.metrics import Counts

    training, final = model.training, model.costs[-1]
    held_out = training.validation
    if not quiet:
        put(_accuracy("train accuracy", training.train, model.classes))
        if held_out:
            put(_accuracy("validation", Counts(**held_out["counts"]), model.classes))
        if training.test is not None:
            put(_accuracy("test accuracy", training.test, model.classes))
        kept = f", best at step {held_out['best_step']}" if held_out else ""
        put(
            f"{'model':<15} {printable(output)}: {training.steps} steps in {clock(seconds)}, "
            f"cost {final:.6f}{kept}\n"
        )
    if final > model.costs[0]:
        rate = training.settings["learning_rate"]
        warn(
            f"the cost rose from {model.costs[0]:.3g} to {final:.3g}: "
            f"try --learning-rate {rate / 10:g}"
        )
    if training.interrupted:
        planned = training.settings["iterations"]
        warn(f"interrupted after {training.steps} of {planned} steps; the model was saved")
    if stop.signal is not None:
        code = ExitCode.TERMINATED if stop.signal == signal.SIGTERM else ExitCode.INTERRUPTED
        raise typer.Exit(code)


def _accuracy(label: str, counts: Counts, classes: tuple[str, str]) -> str:
    majority = classes[1] if counts.positives > counts.negatives else classes[0]
    return (
        f"{label:<15} {100 * counts.accuracy:6.2f} %  {counts.correct} of {counts.total}"
        f"  (always {printable(majority)}: {100 * counts.majority:.2f} %)\n"
    )
