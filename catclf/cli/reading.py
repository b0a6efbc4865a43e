"""Opening data sources for a command: options checked, decoding shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from catclf.errors import SettingsError

if TYPE_CHECKING:
    from catclf.datasets import Reading


@contextmanager
def reading_with_progress(
    size: int | None,
    fit: str | None,
    skip_bad: bool,
    quiet: bool,
    *,
    positive: str | None = None,
) -> Iterator[Reading]:
    """How to read a source, with a progress bar on a terminal while pictures are decoded."""
    from catclf.datasets import Reading
    from catclf.display import counting
    from catclf.images import FITS

    if fit is not None and fit not in FITS:
        raise SettingsError(f"--fit {fit!r} is unknown: use one of {', '.join(FITS)}")
    with counting("reading pictures", quiet) as on_progress:
        yield Reading(positive, size, fit, skip_bad, on_progress=on_progress)
