"""One self-contained HTML page that scores images in the browser: no network, no other file.

The page holds the weights and the scripts of the folder ``scoring``. What they compute is what
``Model.scores`` does, after the resizing of Pillow in the same whole numbers. A worker computes, so
that the page stays responsive.
"""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from string import Template
from sys import float_info
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.errors import SettingsError
from catclf.export.onnx_model import FITS
from catclf.features import efficientnet
from catclf.images.decode import resized
from catclf.images.preprocess import Preprocess
from catclf.model import Model
from catclf.report import css, shown
from catclf.version import __version__

ENGINE = ("resize.js", "network.js", "worker.js")  # run in the worker
_INPUTS = {
    "pixels": "with x the values of the pixels divided by 255",
    "network": "with x the answers of a pretrained network, {network}, to the image",
}
_EVIDENCE = {
    "pixels": "The evidence of a pixel is weight times value, added up over its three channels; "
    "all evidence and the bias add up to z.",
    "network": "The evidence of a square is how much lower z is when it is covered with the "
    "image's mean colour.",
}
_LAYER = ("kernel", "stride", "inputs", "outputs", "depthwise", "relu6", "residual")


def scoring_page(model: Model, name: str) -> str:
    """The page for a model file called ``name``.

    Raises SettingsError for features and a resampling that the page does not compute.
    """
    kind = model.features.kind if model.features else "pixels"
    if kind not in _INPUTS:
        raise SettingsError(
            f"a page is for models of network and of pixels, and this model has features {kind}: "
            "train with `features` network, or write an .onnx file, which holds them"
        )
    if model.preprocess.resampling != "bicubic":
        raise SettingsError(
            f"a page resizes by bicubic resampling alone, and this model by "
            f"{model.preprocess.resampling}: write an .onnx file"
        )
    negative, positive = map(shown, model.classes)
    style, script = css() + _asset("page.css"), _asset("page.js")
    # Nothing is loaded or sent, and nothing runs but this script and the worker that it makes.
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; worker-src blob:; "
        f"style-src {_hash(style)}; img-src data:; base-uri 'none'; form-action 'none'"
    )
    return Template(_asset("page.html")).substitute(
        policy=policy,
        title=f"{positive} or {negative}",
        name=f"{shown(name)}, a model of catclf",
        negative=negative,
        positive=positive,
        evidence=_EVIDENCE[kind],
        computed=_computed(model, _INPUTS[kind].format(network=efficientnet.NAME)),
        made=f"Made by catclf {__version__} from {shown(name)}, model {model.fingerprint}.",
        settings=_as_json(_settings(model)),
        arrays=_as_json(_arrays(model)),
        style=style,
        engine="".join(map(_asset, ENGINE)),
        script=script,
    )


def _settings(model: Model) -> dict[str, Any]:
    """What the scripts read of the model beside arrays; ``network`` has a row a convolution."""
    preprocess = model.preprocess
    facts: dict[str, Any] = {
        "size": preprocess.size,
        "fit": preprocess.fit,
        "background": preprocess.background,
        "columnsFirst": columns_first(),
        "classes": model.classes,
        # JSON has no infinity, which thresholds 0 and 1 are.
        "boundary": min(max(model.boundary, -float_info.max), float_info.max),
        "b": model.b,
        "similarity": model.similarity.limit if model.similarity else None,
    }
    if model.features is not None:
        settings = model.features.settings
        facts["network"] = {
            "side": settings["side"],
            "flip": settings["flip"],
            "pixel": (efficientnet.CENTER, efficientnet.SCALE),
            "layers": [
                {name: getattr(layer, name) for name in _LAYER}
                for layer in efficientnet.convolutions()
            ],
        }
    return facts


def _arrays(model: Model) -> dict[str, tuple[str, str]]:
    """The arrays by name: dtype and bytes in base64, least byte first."""
    arrays = {
        "w": model.w.astype(np.float64),
        **(model.features.arrays() if model.features else {}),
    }
    if model.similarity:
        arrays |= {"centers": model.similarity.centers, "center_mean": model.similarity.mean}
    return {name: _base64(array) for name, array in arrays.items()}


def columns_first() -> bool:
    """Whether this Pillow resizes along columns first where they shrink far more than rows.

    Pixels are rounded between the two passes, so that their order shows.
    """
    n, width, height = 4, 8, 20
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    square = Preprocess(n)
    bands = [resized(image[top : top + n], square) for top in range(0, height, n)]
    return not np.array_equal(resized(image, square), resized(np.concatenate(bands), square))


def _computed(model: Model, inputs: str) -> str:
    """How an image becomes a probability, in words."""
    preprocess = model.preprocess
    background = ", ".join(map(str, preprocess.background))
    fit = FITS[preprocess.fit].format(size=preprocess.size)
    positive = shown(model.classes[1])
    rule = f"P is above {model.threshold:g}"
    if model.z_threshold is not None:
        rule = f"z is above {model.z_threshold:.6g}"
    return (
        "An image is turned upright as its EXIF data say, put on the background (red, green, blue "
        f"{background}) where it is transparent, and {fit}: bicubic resampling as Pillow does it, "
        f"in the same whole numbers. Then z&nbsp;=&nbsp;wᵀx&nbsp;+&nbsp;b, {inputs}, and "
        f"P({positive}) = 1&nbsp;/&nbsp;(1&nbsp;+&nbsp;e<sup>&minus;z</sup>). "
        f"The answer is {positive} where {rule}."
    )


def _asset(name: str) -> str:
    return (files("catclf") / "export" / "scoring" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """The source of a Content Security Policy that allows this text alone (W3C CSP 3)."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode('ascii')}'"


def _as_json(facts: dict[str, Any]) -> str:
    """JSON that no text within can end the element of."""
    return json.dumps(facts, ensure_ascii=True).replace("<", "\\u003c")


def _base64(array: NDArray[Any]) -> tuple[str, str]:
    little = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<")))
    return little.dtype.str[1:], b64encode(little.tobytes()).decode("ascii")
