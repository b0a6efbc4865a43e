"""How image files are read for a network: larger, and made into features while they are decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from catclf.datasets.dataset import EncoderOf
    from catclf.features.base import Features
    from catclf.features.encoding import StreamEncoder
    from catclf.model import Model
    from catclf.settings import Settings


def encoder_for_training(settings: Settings, workers: int | None) -> EncoderOf | None:
    """What makes features of photographs as they come; None for features of other kinds.

    With --cache they are only decoded, to know whether it holds their features. Raises
    SettingsError where the network's weights are not installed, before anything is read.
    """
    from catclf.features import class_of

    made = class_of(settings.features)
    if not made.streams:
        return None
    made.of_size(made.default_size, settings.mirrors)  # the weights are there, or it is said now

    def encoder(size: int) -> StreamEncoder | None:
        if settings.cache is not None:
            return None
        return _encoder(made.of_size(size, settings.mirrors), workers)

    return encoder


def encoder_of(model: Model, encodes: bool) -> EncoderOf | None:
    """The same for the photographs of a trained model; they are only decoded unless ``encodes``."""
    features = model.features
    if features is None or not features.streams:
        return None
    return lambda size: _encoder(features, None) if encodes else None


def _encoder(features: Features, workers: int | None) -> StreamEncoder:
    from catclf.features.encoding import StreamEncoder

    return StreamEncoder(features, workers)
