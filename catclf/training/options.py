"""What a caller may leave open: features, penalty, threshold, solver and learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from catclf.errors import SettingsError
from catclf.storage.location import is_remote
from catclf.text import printable

if TYPE_CHECKING:
    from catclf.training.settings import Settings

AUTO: Literal["auto"] = "auto"
FEATURES = ("pixels", "hog", "patches", "stacked", "network")
PIXEL_RATE = 0.005  # the course's
# Rows of other features have length 1 on average, so that the cost curves by at most 1/4 along w
# and along b, and descent converges for rates below 4; with weighted classes below 2 at worst.
FEATURE_RATE = 1.9

Choice = float | Literal["auto"] | None  # a number, by cross-validation, or the default


@dataclass(frozen=True)
class TrainOptions:
    """What to train with; None stands for the default, "auto" for cross-validation.

    ``features`` is one of FEATURES. ``flip`` gives an image and its mirror image the same row
    (default: for hog, patches and stacked). ``l2`` is the penalty λ >= 0 (default: 0 for pixels,
    else "auto"). ``threshold`` is the probability above which an image is positive (default: 0.5;
    "auto": where balanced accuracy is best). ``solver`` is "gd", "newton" or "lbfgs".
    ``learning_rate`` is α of descent. ``cache`` is a file that keeps the rows of features.
    Raises SettingsError.
    """

    features: str = "pixels"
    flip: bool | None = None
    l2: Choice = None
    threshold: Choice = None
    solver: str | None = None
    learning_rate: float | None = None
    cache: Path | None = None

    def __post_init__(self) -> None:
        if self.features not in FEATURES:
            raise SettingsError(
                f"features {self.features!r} are unknown: use one of {', '.join(FEATURES)}"
            )
        if self.cache is not None and not self.encodes:
            raise SettingsError(
                "`cache` keeps features: give other `features` than pixels, or `flip`"
            )
        if self.cache is not None and is_remote(self.cache):
            raise SettingsError(
                f"{printable(self.cache)}: `cache` keeps features on disk alone: name a file there"
            )
        threshold = self.fixed_threshold
        if threshold is not None and not 0.0 <= threshold <= 1.0:
            raise SettingsError(f"`threshold={threshold:g}` is not between 0 and 1")
        if self.fixed_l2 == 0 and threshold is None:
            raise SettingsError(
                "`threshold=auto` needs a penalty, for models without one are sure of everything: "
                "give `l2=auto`, or a number above 0"
            )

    @property
    def plain(self) -> bool:
        """Whether the features are the pixels."""
        return self.features == "pixels"

    @property
    def mirrors(self) -> bool:
        """Whether an image and its mirror image get the same row."""
        return self.features in ("hog", "patches", "stacked") if self.flip is None else self.flip

    @property
    def encodes(self) -> bool:
        """Whether images are turned into rows of features before training."""
        return not self.plain or self.mirrors

    @property
    def fixed_l2(self) -> float | None:
        """The penalty as a number; None when cross-validation chooses it."""
        l2 = (0.0 if self.plain else AUTO) if self.l2 is None else self.l2
        return _number("l2", l2)

    @property
    def fixed_threshold(self) -> float | None:
        """The threshold as a number; None when cross-validation chooses it."""
        return _number("threshold", 0.5 if self.threshold is None else self.threshold)

    @property
    def rate(self) -> float:
        """The learning rate: the one given, or the default of the features."""
        default = PIXEL_RATE if self.plain else FEATURE_RATE
        return default if self.learning_rate is None else self.learning_rate

    def first_settings(self, settings: Settings) -> Settings:
        """Settings as far as they are known before the data are read, so that errors come soon."""
        l2 = self.fixed_l2
        return replace(
            settings,
            learning_rate=self.rate,
            l2=1.0 if l2 is None else l2,
            solver=self.solver or "gd",
        )


def _number(name: str, value: float | str) -> float | None:
    if value == AUTO:
        return None
    if isinstance(value, str) or not math.isfinite(value):
        raise SettingsError(f"{name} {value!r} is neither a finite number nor auto")
    return float(value)
