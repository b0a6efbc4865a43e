"""Opening data sources for a command: options checked, decoding shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from catclf.cli.options import Options, given
from catclf.cli.shell import warn
from catclf.errors import DataError
from catclf.settings import AUTO, Settings
from catclf.text import printable

if TYPE_CHECKING:
    from catclf.datasets import Dataset, Listing, ReadOptions, Split
    from catclf.datasets.dataset import EncoderOf
    from catclf.model import Model


@contextmanager
def reading_with_progress(
    options: Options,
    sources: Sequence[Path | None],
    quiet: bool = False,
    *,
    features: str | Sequence[str] = "pixels",
    **more: Any,
) -> Iterator[ReadOptions]:
    """How to read sources, with a progress bar on a terminal while images are decoded.

    ``features`` decide the default size of image files; ``more`` are fields of ``ReadOptions``.
    Says on stderr that stored images are not made square again, where there are no others; without
    a path it is the bundled data that are read.
    """
    from catclf.datasets import stores_pixels
    from catclf.features import class_of
    from catclf.storage.location import showing
    from catclf.terminal.progress import counting, phases

    named, fit = [path for path in sources if path is not None], options.get("fit")
    if fit is not None and all(map(stores_pixels, named)):
        shown = ", ".join(map(printable, named)) or "the bundled data"
        warn(f"{shown}: --fit {fit} changes no stored image: it only says how they were made")
    kinds = [features] if isinstance(features, str) else features
    size = max(class_of(kind).default_size for kind in kinds)
    with showing(phases(quiet)), counting("reading images", quiet) as on_progress:
        yield replace(reading_of(options), on_progress=on_progress, default_size=size, **more)


def reading_of(options: Options) -> ReadOptions:
    """How the options of a command that reads sources say that they are to be read."""
    from catclf.datasets.dataset import SOURCE_PIXELS, ReadOptions
    from catclf.images.preprocess import Limits

    fields = given(options)
    fields.pop("split", None)
    pixels, truncated = fields.pop("max_pixels", SOURCE_PIXELS), fields.pop("truncated", False)
    return ReadOptions(**fields, limits=Limits(pixels, truncated=truncated))


@contextmanager
def reading_to_train(
    options: Options,
    settings: Settings,
    sources: Sequence[Path],
    quiet: bool,
    workers: int | None,
    **more: Any,
) -> Iterator[tuple[Settings, ReadOptions]]:
    """The settings, and how to read sources as their features need it, as above.

    Features that are open are chosen for the first of the sources, which is said on stderr.
    """
    from catclf.training.pipeline import choose_features, encoder_for_training

    if settings.features == AUTO:
        kind, why = choose_features(sources[0], reading_of(options))
        warn(f"`features={kind}`: {why}")
        settings = replace(settings, features=kind)
    more |= {"workers": workers, "encoder": encoder_for_training(settings, workers)}
    with reading_with_progress(
        options, sources, quiet, features=settings.features, **more
    ) as reading:
        yield settings, reading


def warn_of_notes(*opened: Dataset | None) -> None:
    """Say on stderr what the readers decided on their way, each thing once."""
    for note in dict.fromkeys(note for each in opened if each is not None for note in each.notes):
        warn(note)


class Opened(NamedTuple):
    """What to train on, what to test the model on, and what to choose the step by."""

    trained: Dataset
    tested: Dataset | None
    validation: Dataset | None


def open_for_training(
    data: Path,
    test: Path | None,
    validation: Path | None,
    reading: ReadOptions,
    *,
    held_out: float = 0.0,
) -> Opened:
    """What training needs of its sources; doubts go to stderr.

    A validation split of ``data`` is used where neither ``validation`` nor a fraction
    ``held_out`` is given. Raises DataError, also for a validation set that is one of the others.
    """
    from catclf.datasets import open_like, open_parts, open_source
    from catclf.datasets.checks import doubts

    source, judging = open_source(data, reading), None
    trained, tested = open_parts(source, None if test is None else open_source(test, reading))
    if validation is not None and validation in (data, test):
        raise DataError(
            f"{printable(validation)}: validation images must be others than those of --data and "
            "--test: give a part, as --validation 0.2"
        )
    if validation is not None:
        judging = open_like(trained, open_source(validation, reading), "train")
    elif not held_out and "validation" in source.splits:
        judging = open_like(trained, source, "validation")
        warn(
            f"{printable(data)}: the {judging.m} images of its validation split select the weights "
            "that are kept (`validation` names others)"
        )
    warn_of_notes(trained, tested, judging)
    for line in doubts(trained, tested, judging):
        warn(line)
    trained.require_both_classes()
    return Opened(trained, tested, judging)


def warn_of_left_out(listing: Listing) -> None:
    """Name on stderr the images that --skip-bad has left out, once they are read."""
    if listing.skipped:
        warn(f"{listing.shown}: {listing.left_out()}")


@contextmanager
def splits_of(
    options: Options, path: Path, quiet: bool = False, **more: Any
) -> Iterator[dict[Split, Listing]]:
    """The splits of a source with a training and a test split, else what it has, to be read.

    That is called by the one split that it has, or train. Notes go to stderr.
    """
    from catclf.datasets import open_source
    from catclf.datasets.dataset import SPLITS

    with reading_with_progress(options, [path], quiet, **more) as reading:
        source = open_source(path, reading)
        held = [split for split in SPLITS if split in source.splits]
        if not {"train", "test"} <= set(held):
            held = held[:1] if len(source.parts) == 1 and held else ["train"]
        splits = {split: source.split(split) for split in held}
        notes = (f"{each.shown}: {note}" for each in splits.values() for note in each.notes)
        for line in dict.fromkeys(notes):
            warn(line)
        yield splits


def open_labelled(
    options: Options, model: Model, path: Path | None, *, quiet: bool = False, encodes: bool = True
) -> Dataset:
    """A source as the model sees it, its notes on stderr; without a path the bundled data.

    Photographs that a network makes features of are not held; ``encodes`` makes them at once.
    Raises DataError for a split that a divided source does not have.
    """
    from catclf.datasets import bundled, open_for, open_source

    split: Split | None = options.get("split")
    encoder = _encoder_of(model, encodes)
    with reading_with_progress(options, [path], quiet, encoder=encoder) as reading:
        source = open_source(path or bundled()[split != "train"], reading)
        if path is not None and split is not None and split not in source.splits:
            if source.splits:
                held = " and ".join(sorted(source.splits))
                raise DataError(
                    f"{source.shown}: has no {split} split, but {held}: leave --split out"
                )
            warn(f"{source.shown}: is not divided into splits: --split {split} changes nothing")
        data = open_for(model.classes, model.preprocess, source, split or "test")
    warn_of_notes(data)
    return data


def _encoder_of(model: Model, encodes: bool) -> EncoderOf | None:
    """What makes features of photographs for a network; None to decode unless it ``encodes``."""
    features = model.features
    if features is None or not features.streams:
        return None
    from catclf.features.rows import StreamEncoder

    return lambda size: StreamEncoder(features, None) if encodes else None
