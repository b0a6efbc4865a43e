"""How image files are read for a network: larger, and made into features while they are decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from catclf.datasets.dataset import EncoderOf
    from catclf.features.base import Features
    from catclf.features.rows import StreamEncoder
    from catclf.model import Model


def encoder_of(model: Model, encodes: bool) -> EncoderOf | None:
    """The same for the photographs of a trained model; they are only decoded unless ``encodes``."""
    features = model.features
    if features is None or not features.streams:
        return None
    return lambda size: _encoder(features, None) if encodes else None


def _encoder(features: Features, workers: int | None) -> StreamEncoder:
    from catclf.features.rows import StreamEncoder

    return StreamEncoder(features, workers)
