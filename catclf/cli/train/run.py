"""One run of training, from opened data to a saved model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from catclf.cli import loaded
from catclf.cli.signals import Stop, exit_if_stopped, stop_on_signals
from catclf.cli.stdout import warn
from catclf.cli.train.cluster import warn_of_solver
from catclf.cli.train.log import StepLog, both_of
from catclf.errors import CheckpointError

if TYPE_CHECKING:
    from catclf.cli.open_data import Opened
    from catclf.model import Model
    from catclf.training import Settings, TrainOptions
    from catclf.training.checkpoint import Checkpoints
    from catclf.training.pipeline import Trained
    from catclf.training.solve import Cluster


class Run(NamedTuple):
    """The data, options and settings of a run; ``config`` is what a file said of them."""

    opened: Opened
    options: TrainOptions
    settings: Settings
    checkpoints: Checkpoints | None
    workers: int | None
    quiet: bool
    config: Mapping[str, Any]
    cluster: Cluster | None = None

    def to_model(self, output: Path, log: StepLog | None) -> tuple[Trained, Stop]:
        """Select what the options leave open, train with the cost in sight, and save.

        From the first step on a signal ends training with the weights of then. The solver says
        which steps are printed and which go to ``log``.
        """
        from catclf.model.file import save
        from catclf.terminal.progress import phases, training_display
        from catclf.training import prepare_job

        job = prepare_job(
            self.opened.trained,
            self.options,
            self.settings,
            validation=self.opened.validation,
            workers=self.workers,
            phase=phases(self.quiet),
            keeps_state=self.checkpoints is not None,
            cluster=self.cluster,
        )
        if self.cluster is not None:
            warn_of_solver(self.options, job.resolved.settings.solver, self.opened.trained.m)
        loaded()
        with stop_on_signals() as stop:
            total, every = job.resolved.settings.expected_steps
            if log is not None:
                log.every = every
            with training_display(total, every, self.quiet) as display:
                trained = job.run(
                    test=self.opened.tested,
                    on_step=both_of(display.update, log.record if log else None),
                    should_stop=stop.requested,
                    checkpoints=self.checkpoints,
                    cluster=self.cluster,
                )
            if trained.fit.interrupted and trained.fit.steps == 0:
                warn("interrupted before the first step: nothing was saved")
                exit_if_stopped(stop)
            trained = replace(trained, model=self._remembered(trained.model))
            save(trained.model, output)
        if self.checkpoints is not None and not trained.fit.interrupted:
            _remove(self.checkpoints)
        return trained, stop

    def _remembered(self, model: Model) -> Model:
        """The model with the options of the file beside the settings."""
        if not self.config:
            return model
        training = model.training
        settings = training.settings | {"config": dict(self.config)}
        return model.with_training(replace(training, settings=settings))


def _remove(checkpoints: Checkpoints) -> None:
    """Remove the state of a run that ended well; if that fails, its model is saved all the same."""
    try:
        checkpoints.remove()
    except CheckpointError as error:
        warn(str(error))
