"""The settings of training, each once: its default, help, group and bounds.

The options of ``catclf train``, its TOML file, the keywords of ``catclf.train`` and the parameters
of the scikit-learn estimator are made from them. Nothing here loads NumPy.
"""

# ruff: noqa: RUF009  # `setting` makes fields

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from catclf.errors import SettingsError
from catclf.text import has_scheme, printable

AUTO = "auto"
FEATURES = ("pixels", "hog", "patches", "network")
METHODS = ("auto", "gram", "stream", "fused")
SOLVERS = ("gd", "lbfgs")
SCHEDULES = ("constant", "linear", "cosine")
CLASS_WEIGHTS = ("none", "balanced")
PIXEL_RATE = 0.005  # the course's
# Rows of other features have length 1 on average, so that the cost curves by at most 1/4 along w
# and along b, and descent converges for rates below 4; with weighted classes below 2 at worst.
FEATURE_RATE = 1.9
DATA, TRAINING, OUTPUT = "Data", "Training", "Output"  # groups of options

BOUNDS = {
    "low": (operator.ge, "of at least"),
    "above": (operator.gt, "above"),
    "high": (operator.le, "of at most"),
    "under": (operator.lt, "below"),
}

Open = Any  # a number; None for the default; for some settings "auto", by cross-validation


def setting(default: Any, help: str, group: str = TRAINING, **facts: Any) -> Any:
    """A field of ``Settings``. Facts, each left out where it does not apply:

    a bound of BOUNDS; ``choices``: the words allowed; ``auto``: whether "auto" is allowed;
    ``shown``: the default in words; ``kept``: whether a model file remembers it ("changed": if it
    is not the default); ``alias``: another name of its option; ``hidden``: whether ``catclf help
    settings`` alone shows it; ``metavar``: its value in the help.
    """
    return field(default=default, metadata={"help": help, "group": group, "kept": True} | facts)


@dataclass(frozen=True)
class Settings:
    """How to train. The defaults are the course's.

    ``features``, ``l2``, ``threshold``, ``learning_rate`` and ``solver`` may be open, None or
    "auto": they are selected when the data are known. Raises SettingsError for settings that make
    no sense.
    """

    learning_rate: Open = setting(
        None, "Learning rate α.", above=0.0, shown="0.005, features 1.9", alias="lr"
    )
    iterations: int = setting(2000, "Number of steps; of lbfgs the most.", low=0)
    l2: Open = setting(None, "Penalty λ, or auto.", low=0.0, auto=True, shown="0, features auto")
    print_every: int = setting(100, "Steps between printed costs.", OUTPUT, low=1)
    seed: int = setting(0, "Seed of random choices.", low=0)
    method: str = setting(
        "auto",
        "How sums are computed: auto, gram (few images), stream, or fused (needs Numba). The "
        "result is the same, the time is not.",
        choices=METHODS,
        hidden=True,
    )
    solver: str | None = setting(
        None,
        "gd (gradient descent), or lbfgs, to the optimum.",
        choices=SOLVERS,
        shown="by features",
    )
    batch_size: int = setting(0, "Images in each step.", low=0, shown="all")
    validation: float = setting(0.0, "Fraction of each class to hold out.", low=0.0, under=1.0)
    patience: int = setting(
        10,
        "Training ends after this many printed costs without a lower one on the validation images.",
        low=1,
        hidden=True,
    )
    class_weight: str = setting(
        "none",
        "none, or balanced: both classes weigh the same.",
        choices=CLASS_WEIGHTS,
        kept="changed",
    )
    schedule: str = setting(
        "constant",
        "How the learning rate falls to 0: constant (it does not), linear or cosine.",
        choices=SCHEDULES,
        kept="changed",
        hidden=True,
    )
    features: str = setting(
        "pixels",
        "pixels, hog, patches, network (photographs), or auto.",
        choices=FEATURES,
        metavar="KIND",
        auto=True,
        kept=False,
    )
    flip: bool | None = setting(
        None, "Train on mirror images, too.", shown="for hog and patches", kept=False, hidden=True
    )
    cache: Path | None = setting(
        None,
        "Keep features in this file for the next run.",
        shown="in memory",
        kept=False,
        metavar="FILE",
        hidden=True,
    )
    threshold: Open = setting(
        None,
        "Probability of positive images, or auto.",
        low=0.0,
        high=1.0,
        auto=True,
        shown="0.5",
        kept=False,
    )

    def __post_init__(self) -> None:
        for each in fields(self):
            require_sound(each.name, getattr(self, each.name), each.metadata)
        if fault := self._fault():
            raise SettingsError(fault)

    def _fault(self) -> str | None:
        """What makes no sense of settings that are sound by themselves."""
        by_itself = self.solver not in (None, "gd")
        if by_itself and self.schedule != "constant":
            return f"`schedule` is for `solver=gd`: {self.solver} finds its steps itself"
        if by_itself and self.batch_size:
            return f"`batch_size` is for `solver=gd`: {self.solver} needs full batches"
        if self.batch_size and self.method == "gram":
            return "`batch_size` works on the pixels: use `method=stream` or auto"
        if self.cache is not None and not self.encodes:
            return "`cache` keeps features: give other `features` than pixels, or `flip`"
        if self.cache is not None and has_scheme(self.cache):
            return f"{printable(self.cache)}: `cache` is a file on disk alone: name one there"
        if self.fixed_l2 == 0 and self.fixed_threshold is None:
            return "`threshold=auto` needs a penalty: give `l2=auto`, or a number above 0"
        return None

    @classmethod
    def of(cls, settings: Settings | None, given: Mapping[str, Any]) -> Settings:
        """Settings with some of them given by name. Raises SettingsError for an unknown name."""
        known = [each.name for each in fields(cls)]
        for name in given:
            if name not in known:
                from difflib import get_close_matches

                close = get_close_matches(name, known, n=1)
                meant = f": did you mean {close[0]}?" if close else ""
                raise SettingsError(f"there is no setting {name}{meant}")
        return replace(settings or cls(), **given)

    @property
    def plain(self) -> bool:
        """Whether the features are the pixels."""
        return self.features == "pixels"

    @property
    def mirrors(self) -> bool:
        """Whether an image and its mirror image get the same row."""
        return self.features in ("hog", "patches") if self.flip is None else self.flip

    @property
    def encodes(self) -> bool:
        """Whether images are turned into rows of features before training."""
        return not self.plain or self.mirrors

    @property
    def fixed_l2(self) -> float | None:
        """The penalty as a number; None when cross-validation chooses it."""
        l2 = (0.0 if self.plain else AUTO) if self.l2 is None else self.l2
        return None if l2 == AUTO else float(l2)

    @property
    def fixed_threshold(self) -> float | None:
        """The threshold as a number; None when cross-validation chooses it."""
        threshold = 0.5 if self.threshold is None else self.threshold
        return None if threshold == AUTO else float(threshold)

    def started(self) -> Settings:
        """The settings with numbers for what is open; a penalty not yet selected is 1."""
        rate = PIXEL_RATE if self.plain else FEATURE_RATE
        return replace(
            self,
            learning_rate=rate if self.learning_rate is None else self.learning_rate,
            l2=1.0 if self.fixed_l2 is None else self.fixed_l2,
            solver=self.solver or "gd",
        )

    @property
    def expected_steps(self) -> tuple[int, int]:
        """The number of updates there may be, and of those between two costs that are kept."""
        return self.iterations, 1 if self.solver == "lbfgs" else self.print_every

    def to_dict(self) -> dict[str, Any]:
        """The settings as a model file remembers them."""
        values = asdict(self)
        for each in fields(self):
            kept = each.metadata["kept"]
            if not kept or (kept == "changed" and values[each.name] == each.default):
                del values[each.name]
        return values

    def rate(self, step: int) -> float:
        """The learning rate α of the update that follows ``step`` updates.

        linear: α (1 - t/T), cosine: α (1 + cos(π t/T)) / 2 with T the iterations (Loshchilov and
        Hutter, "SGDR", ICLR 2017, with one period).
        """
        α = float(self.learning_rate)
        if self.schedule == "constant":
            return α
        done = step / self.iterations
        return α * (1 - done if self.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2)


def require_sound(name: str, value: Any, facts: Mapping[str, Any]) -> None:
    """Raise SettingsError for a value outside the bounds and choices that ``facts`` name."""
    if value is None or (facts.get("auto") and value == AUTO):
        return
    choices = facts.get("choices", ())
    if choices and value not in choices:
        raise SettingsError(f"`{name}={_shown(value)}` is unknown: use {_either(choices)}")
    bounds = {key: facts[key] for key in BOUNDS if key in facts}
    number = isinstance(value, int | float) and math.isfinite(value)
    if bounds and not (number and all(BOUNDS[key][0](value, bounds[key]) for key in bounds)):
        allowed = " and ".join(f"{BOUNDS[key][1]} {bound:g}" for key, bound in bounds.items())
        auto = ", or auto" if facts.get("auto") else ""
        raise SettingsError(f"`{name}={_shown(value)}` is not a number {allowed}{auto}")


def _either(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]])


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else printable(str(value))
