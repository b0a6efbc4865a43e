"""One run of training, from opened data to a saved model."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from catclf.cli.signals import Stop, exit_if_stopped, stop_on_signals
from catclf.cli.stdout import warn
from catclf.cli.train.features import prepare_rows
from catclf.cli.train.log import OnStep, both_of
from catclf.training.automatic import Settled, Wishes, settle

if TYPE_CHECKING:
    from catclf.cli.open_data import Opened
    from catclf.features.prepare import Encoded, Encoder
    from catclf.metrics import Counts
    from catclf.model import Model
    from catclf.training import Fit, Settings
    from catclf.training.checkpoint import Checkpoints


class Done(NamedTuple):
    """The model, how long descent took, its out-of-fold counts, and whether a signal came."""

    model: Model
    seconds: float
    judged: Counts | None
    stop: Stop


class Job(NamedTuple):
    """What to train on, and how."""

    opened: Opened
    wishes: Wishes
    settings: Settings
    checkpoints: Checkpoints | None
    workers: int | None
    quiet: bool

    def run(self, output: Path, record: OnStep | None) -> Done:
        """Choose what is to be chosen, train with the cost in sight, and save.

        From the first step on a signal ends training with what there is. ``record`` is told of
        each step.
        """
        from catclf.model import Model
        from catclf.model.file import save

        trained, seed = self.opened.trained, self.settings.seed
        encoder, rows = prepare_rows(self.wishes, trained, seed, self.workers, self.quiet)
        settled = self._settled(rows)
        with stop_on_signals() as stop:
            began = perf_counter()
            fitted = self._fitted(settled.settings, encoder, rows, record, stop)
            seconds = perf_counter() - began
            if fitted.interrupted and fitted.steps == 0:
                warn("interrupted before the first step: nothing was saved")
                exit_if_stopped(stop)
            model = Model.from_fit(
                fitted,
                trained,
                self.opened.tested,
                encoder=encoder,
                rows=rows,
                threshold=settled.threshold,
                chosen=settled.facts,
            )
            save(model, output)
        if self.checkpoints is not None and not fitted.interrupted:
            self.checkpoints.remove()
        return Done(model, seconds, settled.judged, stop)

    def _settled(self, rows: Encoded | None) -> Settled:
        return settle(
            self.wishes,
            self.settings,
            rows or self.opened.trained,
            self.workers,
            quiet=self.quiet,
            keeps_state=self.checkpoints is not None,
        )

    def _fitted(
        self,
        settings: Settings,
        encoder: Encoder | None,
        rows: Encoded | None,
        record: OnStep | None,
        stop: Stop,
    ) -> Fit:
        from catclf.terminal.progress import training_display
        from catclf.training import train

        judge = self.opened.judge
        with training_display(*settings.expected_steps, self.quiet) as display:
            return train(
                rows or self.opened.trained,
                settings,
                both_of(display.update, record),
                stop.requested,
                validation=encoder.encode(judge) if encoder and judge else judge,
                workers=self.workers,
                checkpoints=self.checkpoints,
            )
