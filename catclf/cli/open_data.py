"""Opening data sources for a command: options checked, decoding shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from catclf.cli.options import pair
from catclf.cli.photographs import encoder_of
from catclf.cli.stdout import warn
from catclf.errors import DataError
from catclf.text import printable

if TYPE_CHECKING:
    from catclf.datasets import Dataset, Part, Reading
    from catclf.datasets.sources import Source
    from catclf.model import Model


@contextmanager
def reading_with_progress(
    ctx: typer.Context, quiet: bool = False, *, features: str = "pixels", **more: Any
) -> Iterator[Reading]:
    """How to read a source, with a progress bar on a terminal while images are decoded.

    ``features`` decide the default size of image files; ``more`` are fields of ``Reading``.
    """
    from catclf.features import class_of
    from catclf.storage.location import showing
    from catclf.terminal.progress import counting, phases

    size = class_of(features).default_size
    with showing(phases(quiet)), counting("reading images", quiet) as on_progress:
        yield replace(reading_of(ctx), on_progress=on_progress, default_size=size, **more)


def reading_of(ctx: typer.Context) -> Reading:
    """How the options of a command that reads sources say that they are to be read."""
    from catclf.datasets.dataset import SOURCE_PIXELS, Reading
    from catclf.images.preprocess import Limits

    given = ctx.params.get
    return Reading(
        positive=given("positive"),
        size=given("size"),
        fit=given("fit"),
        skip_bad=given("skip_bad", False),
        label_from=given("label_from", "folder"),
        classes=pair("classes", given("classes")) or (),
        columns=pair("columns", given("columns")),
        keys=pair("keys", given("keys")),
        limits=Limits(given("max_pixels") or SOURCE_PIXELS, truncated=given("truncated", False)),
    )


def warn_of_notes(sources: Iterable[Source]) -> None:
    """The notes of sources on stderr, each once."""
    for line in dict.fromkeys(f"{each.shown}: {note}" for each in sources for note in each.notes):
        warn(line)


class Opened(NamedTuple):
    """What to train on, what to test the model on, and what to choose the step by."""

    trained: Dataset
    tested: Dataset | None
    validation: Dataset | None


def open_for_training(
    data: Path,
    test: Path | None,
    validation: Path | None,
    reading: Reading,
    *,
    held_out: float = 0.0,
) -> Opened:
    """What training needs of its sources; doubts go to stderr.

    A validation part of ``data`` is used where neither ``validation`` nor a fraction
    ``held_out`` is given.
    """
    from catclf.datasets import open_like, open_parts, parts_of
    from catclf.datasets.checks import doubts
    from catclf.samples import in_memory

    trained, tested = open_parts(data, test, reading)
    judging = _open_validation(validation, trained, [data, test], reading)
    if judging is None and not held_out and "validation" in parts_of(data, reading):
        judging = open_like(trained, data, "validation", reading)
        warn(
            f"{printable(data)}: the {judging.m} images of its validation part select the weights "
            "that are kept (`validation` names others)"
        )
    opened = [each for each in (trained, tested, judging) if each is not None]
    for note in dict.fromkeys(note for each in opened for note in each.notes):
        warn(note)
    for line in doubts(trained, tested, judging):
        warn(line)
    if reading.stream and in_memory(trained.images):
        warn(
            f"{printable(data)}: --stream reads HDF5 files alone, and this is held in memory: "
            "make one of it with catclf data pack"
        )
    trained.require_both_classes()
    return Opened(trained, tested, judging)


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
    """The parts of a source with a training and a test part, else what it has, as training."""
    from catclf.datasets import is_there, open_source, parts_of

    order: tuple[Part, ...] = ("train", "validation", "test")
    held = parts_of(path, reading) if is_there(path) else set()
    parts = order[:1]
    if {"train", "test"} <= held:
        parts = tuple(part for part in order if part in held)
    return {part: open_source(path, part, reading) for part in parts}


def open_labelled(
    ctx: typer.Context,
    model: Model,
    path: Path | None,
    *,
    quiet: bool = False,
    encodes: bool = True,
) -> Dataset:
    """A source as the model sees it, its notes on stderr; without a path the bundled data.

    Photographs that a network makes features of are not held; ``encodes`` makes them at once.
    """
    from catclf.datasets import bundled, open_for

    part: Part | None = ctx.params.get("part")
    if path is None:
        path = bundled()[part != "train"]
    elif part is not None:
        _require_part(ctx, path, part)
    with reading_with_progress(ctx, quiet, encoder=encoder_of(model, encodes)) as reading:
        data = open_for(model.classes, model.preprocess, path, part or "test", reading)
    for note in data.notes:
        warn(note)
    return data


def _require_part(ctx: typer.Context, path: Path, part: Part) -> None:
    """Refuse to take a part for the other one, and say so where there are none."""
    from catclf.datasets import is_there, parts_of

    held = parts_of(path, reading_of(ctx)) if is_there(path) else {part}
    if not held:
        warn(f"{printable(path)}: is not divided into parts: --part {part} changes nothing")
    elif part not in held:
        raise DataError(
            f"{printable(path)}: has no {part} part, but a {held.pop()} part: leave --part out"
        )


def _open_validation(
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


def _same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False
