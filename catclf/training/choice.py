"""What is to be trained on, as the command opens it, and which features suit it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catclf.datasets import Dataset, ReadOptions, open_dataset, open_parts, open_source
from catclf.datasets.listing import SMALL
from catclf.errors import SettingsError
from catclf.features import class_of
from catclf.settings import AUTO, Settings

if TYPE_CHECKING:
    from catclf.datasets.dataset import EncoderOf
    from catclf.features.base import Features
    from catclf.features.rows import StreamEncoder


def choose_features(source: Path, options: ReadOptions) -> tuple[str, str]:
    """The kind of features that suits the images of a source, and why. Raises DataError."""
    large = class_of("network").default_size
    found = open_source(source, replace(options, default_size=large))
    return features_for(found.split("train").preprocess.size)


def features_for(side: int) -> tuple[str, str]:
    """The kind of features that suits images with ``side`` pixels a side, and why.

    The network for photographs where its weights are installed, else patches.
    """
    from catclf.features.efficientnet import checkpoint_path

    if side <= SMALL:
        return "patches", f"the images have {side} pixels a side; network is for larger ones"
    try:
        checkpoint_path()
    except SettingsError as error:
        return "patches", f"network is better for photographs, but {error}"
    return "network", f"the images have more than {SMALL} pixels a side"


def open_source_for_training(
    source: Any, settings: Settings, workers: int | None
) -> tuple[Dataset, Dataset | None, Settings]:
    """What Python holds or a path names, as ``catclf train`` opens it.

    The training split, the test split if there is one, and settings with features that suit them.
    Raises DataError.
    """
    options = ReadOptions(workers=workers)
    named = isinstance(source, str | os.PathLike)
    if settings.features == AUTO:
        kind, _ = choose_features(Path(source), options) if named else ("patches", "")
        settings = replace(settings, features=kind)
    size = class_of(settings.features).default_size
    encoder = encoder_for_training(settings, workers) if named else None
    options = replace(options, default_size=size, encoder=encoder)
    if not named:
        return open_dataset(source, options=options), None, settings
    trained, tested = open_parts(open_source(source, options), None)
    return trained, tested, settings


def encoder_for_training(settings: Settings, workers: int | None) -> EncoderOf | None:
    """What makes features of photographs as they come; None for features of other kinds.

    With ``cache`` they are only decoded, to know whether it holds their features. Raises
    SettingsError where the network's weights are not installed, before anything is read.
    """
    made = class_of(settings.features)
    if not made.streams:
        return None
    made.of_size(made.default_size, settings.mirrors)  # the weights are there, or it is said now

    def encoder(size: int) -> StreamEncoder | None:
        if settings.cache is not None:
            return None
        return _encoder(made.of_size(size, settings.mirrors), workers)

    return encoder


def _encoder(features: Features, workers: int | None) -> StreamEncoder:
    from catclf.features.rows import StreamEncoder

    return StreamEncoder(features, workers)
