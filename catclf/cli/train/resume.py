"""Options of ``catclf train`` beside data and settings: held-out images, a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from catclf.cli.stdout import warn
from catclf.errors import DataError, SettingsError
from catclf.text import printable

if TYPE_CHECKING:
    from catclf.datasets import Dataset, Reading
    from catclf.training import Settings
    from catclf.training.checkpoint import Checkpoints


def part_or_path(text: str | None, patience: int | None) -> tuple[float, Path | None]:
    """The fraction of the images to hold out, or the path of others, from the text of an option."""
    if text is None:
        if patience is not None:
            raise SettingsError("--patience waits for --validation: give both, as --validation 0.2")
        return 0.0, None
    try:
        part = float(text)
    except ValueError:
        return 0.0, Path(text)
    if not 0 < part < 1:
        raise SettingsError(f"--validation {text} is not between 0 and 1: try 0.2")
    return part, None


def number_or_auto(name: str, text: str | None) -> float | Literal["auto"] | None:
    """The value of an option that takes a number or "auto"."""
    if text is None or text == "auto":
        return text  # type: ignore[return-value]  # narrowed by the comparison
    try:
        return float(text)
    except ValueError:
        raise SettingsError(f"--{name} {text!r} is neither a number nor auto") from None


def open_validation(
    path: Path | None, trained: Dataset, others: Sequence[Path | None], reading: Reading
) -> Dataset | None:
    """The images to select the step by, which must be neither trained on nor the test set."""
    from catclf.datasets import open_like

    if path is None:
        return None
    if any(other is not None and _same(path, other) for other in others):
        raise DataError(
            f"{printable(path)}: validation images must be others than those of --data and "
            "--test: give a part, as --validation 0.2"
        )
    return open_like(trained, path, "train", reading)


def checkpoints_beside(
    output: Path, every: int, resume: bool, settings: Settings
) -> Checkpoints | None:
    """The checkpoint of an output file, if the run keeps one or goes on from one."""
    if not (every or resume):
        return None
    settings.require_resumable()
    from catclf.training.checkpoint import Checkpoints, beside

    return Checkpoints(beside(output), every, resume)


def warn_of_checkpoint(checkpoints: Checkpoints | None) -> None:
    """Say on stderr that there is nothing to resume, or that a checkpoint is in the way."""
    if checkpoints is None:
        return
    path, resume, there = checkpoints.path, checkpoints.resume, checkpoints.exists()
    if resume and not there:
        warn(f"{printable(path)}: there is no checkpoint: training begins anew")
    if not resume and there:
        warn(f"{printable(path)}: the checkpoint of another run will be replaced")


def _same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False
