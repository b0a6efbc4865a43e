"""The summary at the end of ``catclf train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from catclf.cli.stdout import put, warn
from catclf.text import counted, printable

if TYPE_CHECKING:
    from catclf.maths.metrics import Counts
    from catclf.training import Fit
    from catclf.training.pipeline import Trained


def show_summary(trained: Trained, output: Path, quiet: bool) -> None:
    """Print accuracies, steps, cost and why training ended; warn of a cost that rose."""
    from catclf.maths.metrics import Counts
    from catclf.terminal.chart import clock

    model, counts = trained.model, trained.out_of_fold
    training, final = model.training, model.costs[-1]
    held_out = training.validation
    if not quiet:
        put(_accuracy("train accuracy", training.train, model.classes))
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
        if trained.fit.reason:
            put(f"{'ended':<15} {_why(trained.fit)}\n")
    if final > model.costs[0] and trained.fit.settings.solver == "gd":
        rate = training.settings["learning_rate"]
        warn(
            f"the cost rose from {model.costs[0]:.3g} to {final:.3g}: "
            f"try --learning-rate {rate / 10:g}"
        )
    if training.interrupted:
        planned, _ = trained.fit.settings.expected_steps
        warn(f"interrupted after {training.steps} of {planned} steps; the model was saved")


def _why(fit: Fit) -> str:
    """The reason why a solver ended by itself."""
    from catclf.training.state import CONVERGED, LIMIT, LINE_SEARCH, PATIENCE

    steps = counted(fit.steps, "step")
    return {
        CONVERGED: "at the optimum: another step changes nothing",
        PATIENCE: f"early: {fit.settings.patience} costs on validation images without a lower one",
        LIMIT: f"at the limit of {steps}, short of the optimum: try more --iterations",
        LINE_SEARCH: "where rounding hides whether another step lowers the cost",
    }[fit.reason]


def _accuracy(label: str, counts: Counts, classes: tuple[str, str]) -> str:
    majority = classes[1] if counts.positives > counts.negatives else classes[0]
    return (
        f"{label:<15} {100 * counts.accuracy:6.2f} %  {counts.correct} of {counts.total}"
        f"  (always {printable(majority)}: {100 * counts.majority:.2f} %)\n"
    )
