"""Images inside the page: the weights, and single predictions with the map of their evidence."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape

import numpy as np

from catclf.datasets import Dataset
from catclf.evaluation.evaluate import Prediction
from catclf.explain import explain
from catclf.explain.explanation import CHANNELS
from catclf.explain.pictures import filters_image
from catclf.images import png
from catclf.images.colormap import colours, full_colour
from catclf.maths import Floats, Pixels
from catclf.model import Model
from catclf.text import printable


def weight_maps(model: Model) -> str:
    """Four figures: the weights as one image, and each channel as a map."""
    size = model.preprocess.size
    weights = model.w.reshape(size, size, 3)
    full = full_colour(weights)
    positive = escape(printable(model.classes[1]))
    figures = [
        _figure(
            as_image(weights, full),
            f"the weights as one image of {size} by {size} pixels",
            "<b>all three channels</b><br>grey is zero; redder means that red speaks for "
            f"{positive}",
        )
    ]
    for c, name in enumerate(CHANNELS):
        channel = weights[:, :, c]
        figures.append(
            _figure(
                colours(channel, full, alpha=True),
                f"the weights of {name}, from {channel.min():.4f} to {channel.max():.4f}",
                f"<b>{name}</b><br>{channel.min():+.4f} to {channel.max():+.4f}",
                css="map",
            )
        )
    return f'<div class="maps">{"".join(figures)}</div>'


def filters(model: Model) -> str:
    """The learned filters as a figure, or no text for features that have none."""
    learned = model.features.arrays().get("filters") if model.features else None
    if learned is None:
        return ""
    caption = "<b>filters that patches of the image are compared with</b>"
    sheet = _figure(filters_image(learned), "the learned filters", caption)
    return f'<div class="maps">{sheet}</div>'


def as_image(weights: Floats, full: float) -> Pixels:
    """Weights (size, size, 3) as colours: grey at zero, black and white at ±``full``."""
    scaled = weights / full if full > 0 else np.zeros_like(weights)
    return np.rint(127.5 + 127.5 * np.clip(scaled, -1.0, 1.0)).astype(np.uint8)


def gallery(model: Model, data: Dataset, predictions: Sequence[Prediction]) -> str:
    """A figure for each prediction: the image, its evidence, the actual and the predicted class."""
    positive = printable(model.classes[1])
    figures = []
    for each in predictions:
        pixels = data.images[each.index : each.index + 1][0]
        values = explain(model, pixels).per_pixel
        evidence = colours(values, full_colour(values), alpha=True)
        name, label = escape(each.shown), escape(printable(each.label))
        predicted = escape(printable(each.predicted))
        figures.append(
            f'<figure><div class="duo">{_image(pixels, f"{each.shown}: {each.label}")}'
            f"{_image(evidence, f'evidence of {each.shown}', 'map')}"
            f"</div><figcaption><b>{name}</b><br>actual {label}, predicted {predicted} · "
            f"P({escape(positive)}) {100 * each.probability:.2f}&nbsp;%</figcaption></figure>"
        )
    return f'<div class="gallery">{"".join(figures)}</div>'


def _figure(pixels: Pixels, alt: str, caption: str, css: str = "") -> str:
    return f"<figure>{_image(pixels, alt, css)}<figcaption>{caption}</figcaption></figure>"


def _image(pixels: Pixels, alt: str, css: str = "") -> str:
    """An img whose pixels are in the page; ``alt`` is any text."""
    height, width = pixels.shape[:2]
    source = b64encode(png.encode(pixels)).decode("ascii")
    kind = f' class="{css}"' if css else ""
    return (
        f'<img{kind} width="{width}" height="{height}" alt="{escape(printable(alt))}" '
        f'src="data:image/png;base64,{source}">'
    )
