"""What ``catclf train`` chooses by itself: features, penalty, threshold, solver, learning rate."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from catclf.training.automatic import Wishes

if TYPE_CHECKING:
    from catclf.datasets import Dataset
    from catclf.features.prepare import Encoded, Encoder


def prepare_rows(
    wishes: Wishes, data: Dataset, seed: int, workers: int | None, quiet: bool
) -> tuple[Encoder | None, Encoded | None]:
    """The data set as rows of features, with progress; nothing where pixels do."""
    if not wishes.encodes:
        return None, None
    from catclf.features.prepare import prepare

    return prepare(
        data,
        wishes.features,
        flip=wishes.mirrors,
        seed=seed,
        workers=workers,
        cache=wishes.cache,
        phase=phases(quiet),
    )


def phases(quiet: bool) -> Any:
    """Progress on stderr for each named phase."""
    from catclf.terminal.progress import counting

    def phase(what: str) -> AbstractContextManager[Any]:
        return counting(what, quiet)

    return phase
