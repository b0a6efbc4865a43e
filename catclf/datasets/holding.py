"""Whether a file is one of the pictures that a source consists of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from catclf.datasets import Part, Reading, open_source, parts_of, stores_pixels
from catclf.datasets.sources import FileSource
from catclf.errors import DataError
from catclf.images.formats import ENDINGS


def holds(source: Path, file: Path) -> bool:
    """Whether a file that is there is a picture in class folders or of a table, by any name."""
    status = file.stat()
    linked = file.is_symlink() or status.st_nlink > 1
    other = source.is_dir() and file.suffix.lower() not in ENDINGS and not linked
    if stores_pixels(source) or other:  # folders have no pictures with other endings
        return False
    return any(os.path.samestat(each, status) for each in _statuses(source))


def _statuses(source: Path) -> Iterator[os.stat_result]:
    whole: set[Part] = {"train"}
    for part in parts_of(source) or whole:
        opened = None
        with suppress(DataError):  # reading it will say what is wrong, if it is read
            opened = open_source(source, part, Reading(skip_bad=True))
        if isinstance(opened, FileSource):
            for name in opened.files:
                with suppress(OSError, ValueError):  # it is not there
                    yield (opened.root / name).stat()
