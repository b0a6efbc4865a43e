"""Whether a file belongs to a source, so that no output takes its place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from catclf.datasets.dataset import Part, Reading, is_packed
from catclf.datasets.open import may_be_shard, open_source, parts_of, stores_pixels
from catclf.datasets.shards import files_of
from catclf.datasets.sources import FileSource
from catclf.errors import DataError
from catclf.images.formats import ENDINGS, HEIF_ENDINGS, looks_like_image
from catclf.storage.files import same
from catclf.storage.remote import disk_path, is_remote


def holds(source: Path, file: Path) -> bool:
    """Whether a file that is there is an image or a shard of a source, by any name."""
    if is_packed(source):
        from catclf.datasets import packed

        return packed.holds(source, file)
    files = files_of(source)
    if any(map(may_be_shard, files)) or is_remote(source):
        return any(same(each, file) for each in files)
    file = disk_path(file)
    if is_remote(file):
        return False
    status = file.stat()
    linked = file.is_symlink() or status.st_nlink > 1
    named = file.suffix.lower() in (*ENDINGS, *HEIF_ENDINGS)
    other = source.is_dir() and not named and not linked and not looks_like_image(str(file))
    if stores_pixels(source) or other:  # no image of a folder
        return False
    return any(os.path.samestat(each, status) for each in _statuses(source))


def _statuses(source: Path) -> Iterator[os.stat_result]:
    whole: set[Part] = {"train"}
    for part in parts_of(source) or whole:
        opened = None
        with suppress(DataError):  # reading it will say what is wrong, if it is read
            opened = open_source(source, part, Reading(skip_bad=True))
        if isinstance(opened, FileSource):
            for row in range(len(opened.files)):
                with suppress(OSError, ValueError):  # it is not there
                    yield Path(opened.path(row)).stat()
