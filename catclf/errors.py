"""What can go wrong, as named exceptions, and the exit codes of the command line."""

from __future__ import annotations


class CatclfError(Exception):
    """A failure that a user can mend; its text is one line: what, where, what to try."""


class DataError(CatclfError):
    """A data set that is missing, damaged or unfit for training."""


class ImageError(CatclfError):
    """One image that cannot be read. ``kind`` is a stable word that scripts may rely on."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str]]:
        return type(self), (self.kind, str(self))


class InputError(CatclfError):
    """Inputs of a command that cannot be used, such as a list that is not there."""


class ModelError(CatclfError):
    """A model file that is foreign, newer, damaged or does not fit."""


class CheckpointError(CatclfError):
    """A checkpoint that is damaged, or of another run than the one that wants to go on from it."""


class ClusterError(CatclfError):
    """A scheduler or workers that cannot be reached, are gone, or do not belong together."""


class OutputError(CatclfError):
    """A place that cannot be written."""


class SettingsError(CatclfError):
    """Settings that make no sense, alone or together."""


class DivergedError(CatclfError):
    """The cost stopped being finite or grew without end."""


class ShapeError(CatclfError, ValueError):
    """An array whose shape is not the one the formula needs; rank-1 arrays are always refused."""
