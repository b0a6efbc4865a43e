"""What training chooses by itself: penalty, threshold, solver, learning rate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from catclf.cli.train.features import phases
from catclf.errors import SettingsError

if TYPE_CHECKING:
    from catclf.metrics import Counts
    from catclf.samples import Labelled
    from catclf.training import Settings
    from catclf.training.penalty import Choice

AUTO = "auto"
PIXEL_RATE = 0.005  # the course's
# Rows of other features have length 1 on average, so that the cost curves by at most 1/4 along w
# and along b, and descent converges for rates below 4; with weighted classes below 2 at worst.
FEATURE_RATE = 1.9
NEWTON_LIMIT = 4000  # pictures: a step then takes 1 s, and all of them 400 MB


@dataclass(frozen=True)
class Wishes:
    """The options as they were given; None and "auto" are still to be settled."""

    features: str = "pixels"
    flip: bool | None = None
    l2: str | None = None
    threshold: str | None = None
    solver: str | None = None
    learning_rate: float | None = None
    cache: Path | None = None

    def __post_init__(self) -> None:
        known = ("pixels", "hog", "patches")
        if self.features not in known:
            raise SettingsError(
                f"features {self.features!r} are unknown: use one of {', '.join(known)}"
            )
        if self.cache is not None and not self.encodes:
            raise SettingsError("--cache keeps features: give --features hog or patches, or --flip")
        if self.given_l2 == 0 and self.threshold == AUTO:
            raise SettingsError(
                "--threshold auto needs a penalty, for models without one are sure of everything: "
                "give --l2 auto, or a number above 0"
            )
        _ = self.given_threshold

    @property
    def plain(self) -> bool:
        """Whether features are the pixels."""
        return self.features == "pixels"

    @property
    def mirrors(self) -> bool:
        """Whether left and right are to be told apart: pixels do unless told, others do not."""
        return not self.plain if self.flip is None else self.flip

    @property
    def encodes(self) -> bool:
        """Whether pictures must be turned into rows before training."""
        return not self.plain or self.mirrors

    @property
    def given_l2(self) -> float | None:
        """The penalty as a number; None when it is to be chosen."""
        text = self.l2 if self.l2 is not None else ("0" if self.plain else AUTO)
        return None if text == AUTO else _number("--l2", text)

    @property
    def given_threshold(self) -> float | None:
        """The threshold as a number; None when it is to be chosen."""
        if self.threshold == AUTO:
            return None
        found = _number("--threshold", self.threshold or "0.5")
        if not 0.0 <= found <= 1.0:
            raise SettingsError(f"--threshold {self.threshold} is not between 0 and 1")
        return found

    @property
    def rate(self) -> float:
        """The learning rate, that of the features unless one is given."""
        usual = PIXEL_RATE if self.plain else FEATURE_RATE
        return usual if self.learning_rate is None else self.learning_rate

    def first_settings(self, settings: Settings) -> Settings:
        """Settings as far as they are known before the data are read, so that errors come soon."""
        l2 = self.given_l2
        return replace(
            settings,
            learning_rate=self.rate,
            l2=1.0 if l2 is None else l2,
            solver=self.solver or "gd",
        )


class Settled(NamedTuple):
    """What was chosen: settings, threshold, and how, for the model to remember."""

    settings: Settings
    threshold: float
    facts: dict[str, Any]
    judged: Counts | None = None  # out of fold


def settle(
    wishes: Wishes,
    settings: Settings,
    data: Labelled,
    workers: int | None,
    *,
    quiet: bool = False,
    keeps_state: bool = False,
) -> Settled:
    """Choose what is to be chosen by cross-validation on the training pictures alone.

    ``keeps_state`` says that checkpoints are wanted, which only descent has.
    """
    l2, threshold = wishes.given_l2, wishes.given_threshold
    facts: dict[str, Any] = {"flip": True} if wishes.plain and wishes.mirrors else {}
    judged = None
    if l2 is None or threshold is None:
        choice, Y = _cross_validated(settings, data, l2, workers, quiet)
        l2 = choice.l2
        if threshold is None:
            from catclf.training.penalty import best_threshold

            threshold = best_threshold(choice.Z, Y)
        judged = _counts(choice, Y, threshold)
        facts["chosen"] = _facts(wishes, choice, judged)
    solver = wishes.solver or _solver(wishes, settings, l2, len(data.pictures), keeps_state)
    return Settled(replace(settings, l2=l2, solver=solver), threshold, facts, judged)


def _cross_validated(
    settings: Settings, data: Labelled, l2: float | None, workers: int | None, quiet: bool
) -> tuple[Choice, Any]:
    """The choice, and the labels (1, k) of the pictures that it was made with."""
    import numpy as np

    from catclf.machine import cores
    from catclf.objective import class_weights
    from catclf.objective.gram import gram
    from catclf.parallel import Team
    from catclf.samples import take
    from catclf.training.penalty import choose, sample

    rows = sample(data.Y, settings.seed)
    Y = np.ascontiguousarray(data.Y[:, rows])
    K = gram(take(data.pictures, rows).reshape(len(rows), -1), Team(workers or cores()))
    with phases(quiet)("choosing the penalty") as told:
        weights = class_weights(Y, settings.class_weight)
        choice = choose(K, Y, weights, settings.seed, l2=l2, workers=workers, on_progress=told)
    return choice, Y


def _solver(wishes: Wishes, settings: Settings, l2: float, m: int, keeps_state: bool) -> str:
    """Newton's method where penalties were chosen for the optimum and K is small, else descent."""
    suits = (wishes.given_l2 is None or not wishes.plain) and l2 > 0 and m <= NEWTON_LIMIT
    descends = settings.batch_size or settings.method in ("stream", "fused") or keeps_state
    descends = descends or settings.schedule != "constant"
    return "newton" if suits and not descends else "gd"


def _counts(choice: Choice, Y: Any, threshold: float) -> Counts:
    from catclf.maths import sigmoid
    from catclf.metrics import Counts

    return Counts.of(sigmoid(choice.Z) > threshold, Y > 0.5)


def _facts(wishes: Wishes, choice: Choice, judged: Counts) -> dict[str, Any]:
    from dataclasses import asdict

    from catclf.training.penalty import FOLDS

    names = [name for name, given in _given(wishes).items() if given is None]
    return {
        "names": names,
        "folds": FOLDS,
        "pictures": judged.total,
        "log_loss": min(choice.losses),
        "counts": asdict(judged),
    }


def _given(wishes: Wishes) -> dict[str, float | None]:
    return {"l2": wishes.given_l2, "threshold": wishes.given_threshold}


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SettingsError(f"{option} {text!r} is neither a number nor auto") from None
