"""Opening data sources for a command: options checked, decoding shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from catclf.cli.photographs import encoder_of
from catclf.cli.stdout import warn
from catclf.errors import DataError
from catclf.text import printable

if TYPE_CHECKING:
    from catclf.datasets import Dataset, Part, Reading
    from catclf.datasets.dataset import EncoderOf
    from catclf.datasets.sources import Source
    from catclf.model import Model


@contextmanager
def reading_with_progress(
    size: int | None,
    fit: str | None,
    skip_bad: bool,
    quiet: bool,
    *,
    positive: str | None = None,
    workers: int | None = None,
    stream: bool = False,
    features: str = "pixels",
    encoder: EncoderOf | None = None,
) -> Iterator[Reading]:
    """How to read a source, with a progress bar on a terminal while images are decoded.

    ``features`` decide the default size of image files.
    """
    from catclf.datasets import Reading
    from catclf.features.base import DEFAULT_SIZES
    from catclf.terminal.progress import counting

    with counting("reading images", quiet) as on_progress:
        yield Reading(
            positive,
            size,
            fit,
            skip_bad,
            workers,
            on_progress,
            stream=stream,
            default_size=DEFAULT_SIZES.get(features, Reading.default_size),
            encoder=encoder,
        )


class Opened(NamedTuple):
    """What to train on, what to test the model on, and what to choose the step by."""

    trained: Dataset
    tested: Dataset | None
    validation: Dataset | None


def open_for_training(
    data: Path, test: Path | None, validation: Path | None, reading: Reading
) -> Opened:
    """What training needs of its sources; doubts go to stderr."""
    from catclf.cli.train.resume import open_validation
    from catclf.datasets import open_parts
    from catclf.samples import in_memory

    trained, tested = open_parts(data, test, reading)
    held_out = open_validation(validation, trained, [data, test], reading)
    for data_set in (trained, tested, held_out):
        for note in data_set.notes if data_set else ():
            warn(note)
    if tested is not None and tested.fingerprint == trained.fingerprint:
        warn(f"{tested.source}: is what the model is trained on: its accuracy there says little")
    if reading.stream and in_memory(trained.images):
        warn(
            f"{printable(data)}: --stream reads HDF5 files alone, and this is held in memory: "
            "make one of it with catclf data pack"
        )
    trained.require_both_classes()
    return Opened(trained, tested, held_out)


def warn_of_idle_fit(fit: str | None, paths: Sequence[Path | None]) -> None:
    """Say on stderr that stored images are not made square again, where there are no others.

    Without paths it is the bundled data that are read.
    """
    from catclf.datasets import stores_pixels

    given = [path for path in paths if path is not None]
    if fit is not None and all(map(stores_pixels, given)):
        shown = ", ".join(map(printable, given)) or "the bundled data"
        warn(f"{shown}: --fit {fit} changes no stored image: it only says how they were made")


def warn_of_left_out(source: Source) -> None:
    """Name on stderr the images that --skip-bad has left out, once they are read."""
    from catclf.datasets.sources import FileSource

    if isinstance(source, FileSource) and source.skipped:
        warn(f"{source.shown}: {source.left_out()}")


def open_all_parts(path: Path, reading: Reading) -> dict[Part, Source]:
    """The training and the test part of a source that has both, else what it has, as training."""
    from catclf.datasets import has_both_parts, open_source

    parts: tuple[Part, ...] = ("train",)
    if path.exists() and has_both_parts(path):
        parts = ("train", "test")
    return {part: open_source(path, part, reading) for part in parts}


def open_labelled(
    model: Model,
    path: Path | None,
    part: Part | None,
    positive: str | None = None,
    *,
    skip_bad: bool = False,
    quiet: bool = False,
    encodes: bool = True,
) -> Dataset:
    """A source as the model sees it, its notes on stderr; without a path the bundled data.

    Photographs that a network makes features of are not held; ``encodes`` makes them at once.
    """
    from catclf.datasets import bundled, open_for

    if path is None:
        path = bundled()[part != "train"]
    elif part is not None:
        _require_part(path, part)
    encoder = encoder_of(model, encodes)
    with reading_with_progress(
        None, None, skip_bad, quiet, positive=positive, encoder=encoder
    ) as reading:
        data = open_for(model.classes, model.preprocess, path, part or "test", reading)
    for note in data.notes:
        warn(note)
    return data


def _require_part(path: Path, part: Part) -> None:
    """Refuse to take a part for the other one, and say so where there are none."""
    from catclf.datasets import parts_of

    held = parts_of(path) if path.exists() else {part}
    if not held:
        warn(f"{printable(path)}: is not divided into parts: --part {part} changes nothing")
    elif part not in held:
        raise DataError(
            f"{printable(path)}: has no {part} part, but a {held.pop()} part: leave --part out"
        )
