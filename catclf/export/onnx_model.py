"""A model as one ONNX graph: from images uint8 (N, size, size, 3) to label and probability."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np

from catclf.features.base import PixelFeatures
from catclf.features.onnx_graph import Graph
from catclf.images.preprocess import Preprocess
from catclf.model import Model
from catclf.version import __version__

FITS = {
    "squash": "resized to {size}x{size} whatever its shape",
    "crop": "cut to the largest square in its middle and resized to {size}x{size}",
    "pad": "resized to fit into {size}x{size} and centred on the background",
}


def to_onnx(model: Model) -> bytes:
    """The file. Input ``images``; outputs ``label`` (N,), ``probability`` (N,) and ``z`` (N,).

    z is summed in float64 from features in float32, as the model does. What the caller must do
    to an image first stands in the file's ``preprocessing_text``; other facts are classes,
    threshold, preprocessing and fingerprint. Raises SettingsError where onnx is not installed.
    """
    graph, size = Graph(), model.preprocess.size
    images = graph.input("images", np.uint8, ("N", size, size, 3))
    rows = (model.features or PixelFeatures(size)).to_onnx(images).cast(np.float64)
    z = (rows @ model.w + model.b).op("Reshape", [-1], name="z")
    z.op("Sigmoid", name="probability")
    positive = z.op("Greater", model.boundary).cast(np.int64)
    graph.add("Gather", list(model.classes), positive, name="label")
    outputs = {"label": object, "probability": np.float64, "z": np.float64}
    return graph.to_bytes(
        {name: (dtype, ("N",)) for name, dtype in outputs.items()},
        facts_of(model),
        f"{model.classes[1]} or {model.classes[0]}: {preprocessing_text(model.preprocess)}",
    )


def facts_of(model: Model) -> dict[str, str]:
    """What the file says of the model beside the graph, as text or JSON."""
    settings = model.features.settings if model.features else {"kind": PixelFeatures.kind}
    return {
        "catclf": __version__,
        "classes": json.dumps(list(model.classes)),
        "positive": model.classes[1],
        "threshold": repr(float(model.threshold)),
        "z_threshold": repr(float(model.boundary)),
        "preprocessing": json.dumps(asdict(model.preprocess)),
        "preprocessing_text": preprocessing_text(model.preprocess),
        "features": json.dumps(settings),
        "fingerprint": model.fingerprint,
    }


def preprocessing_text(preprocess: Preprocess) -> str:
    """What the caller must do to an image before the graph, in words."""
    fit = FITS[preprocess.fit].format(size=preprocess.size)
    background = ", ".join(map(str, preprocess.background))
    return (
        "decode the image, turn it as its EXIF orientation says, put transparent pixels on the "
        f"background ({background}), convert it to RGB; it is {fit}, with {preprocess.resampling} "
        "resampling as Pillow does it; give pixels as uint8 from 0 to 255."
    )
