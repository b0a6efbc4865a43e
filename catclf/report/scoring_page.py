"""One self-contained HTML page that scores images in the browser: no network, no other file.

The page holds the weights and the scripts of the folder ``scoring``; what they compute is what
``Model.scores`` does, after the resizing of Pillow in the same whole numbers.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import asdict
from hashlib import sha256
from importlib.resources import files
from string import Template
from sys import float_info
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from catclf.errors import SettingsError
from catclf.images.decode import resized
from catclf.images.preprocess import Preprocess
from catclf.model import Model
from catclf.report.sections import shown
from catclf.report.style import CSS
from catclf.version import __version__

if TYPE_CHECKING:
    from catclf.features.patches import PatchFeatures

SCRIPTS = ("resize.js", "score.js", "page.js")
PRODUCTS_MAX = 500_000_000  # of an image's patches with filters: about a second in a browser
_FITS = {
    "squash": "made {size}×{size} pixels large whatever its shape",
    "crop": "cut to the largest square in its middle, which is made {size}×{size} pixels large",
    "pad": "made to fit into {size}×{size} pixels, in the middle of the background",
}


def scoring_page(model: Model, name: str) -> str:
    """The page for a model file called ``name``.

    Raises SettingsError for features that a page does not compute: others than pixels and
    patches, patches of more than ``PRODUCTS_MAX`` products an image, and other resampling than
    bicubic.
    """
    _require_possible(model)
    negative, positive = map(shown, model.classes)
    style, script = CSS + _asset("page.css"), "".join(map(_asset, SCRIPTS))
    # Nothing is loaded or sent, and nothing runs but this very script.
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    return Template(_asset("page.html")).substitute(
        policy=policy,
        title=f"{positive} or {negative}",
        name=f"{shown(name)}, a model of catclf",
        positive=positive,
        evidence=_evidence(model),
        computed=_computed(model),
        made=f"Made by catclf {__version__} from {shown(name)}, model {model.fingerprint}.",
        model=_as_json(_facts(model)),
        style=style,
        script=script,
    )


def _require_possible(model: Model) -> None:
    """Raise SettingsError for a model that the scripts do not compute."""
    from catclf.features.patches import PatchFeatures

    if model.preprocess.resampling != "bicubic":
        raise SettingsError(
            f"a page resizes by bicubic resampling alone, and this model by "
            f"{model.preprocess.resampling}: write an .onnx file"
        )
    if model.features is None:
        return
    if not isinstance(model.features, PatchFeatures):
        raise SettingsError(
            "a page is for models of pixels or patches, and this model has features "
            f"{model.features.kind}: write an .onnx file, which holds them"
        )
    products = _products(model.features, model.preprocess.size)
    if products > PRODUCTS_MAX:
        raise SettingsError(
            f"a page is for patches of up to {PRODUCTS_MAX:,} products an image, and this model "
            f"needs {products:,}: write an .onnx file"
        )


def _products(features: PatchFeatures, size: int) -> int:
    """The multiplications of an image's patches with all filters."""
    recipe = features.recipe
    patches = sum(
        ((size // reduction - recipe.patch) // stride + 1) ** 2
        for reduction, stride in recipe.scales
    )
    return patches * recipe.numbers * recipe.atoms


def _facts(model: Model) -> dict[str, Any]:
    """What the scripts read of the model; arrays in base64, weights in float64."""
    preprocess = model.preprocess
    facts = {
        "kind": "pixels",
        "size": preprocess.size,
        "fit": preprocess.fit,
        "background": preprocess.background,
        "columnsFirst": columns_first(),
        "classes": model.classes,
        # JSON has no infinity, which thresholds 0 and 1 are.
        "boundary": min(max(model.boundary, -float_info.max), float_info.max),
        "b": model.b,
        "w": _base64(model.w.astype("<f8")),
    }
    if model.features is not None:
        from catclf.features.patches import PatchFeatures

        assert isinstance(model.features, PatchFeatures)
        arrays = {name: _base64(array) for name, array in model.features.arrays().items()}
        facts |= {"kind": "patches", "recipe": asdict(model.features.recipe), **arrays}
    return facts


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


def _evidence(model: Model) -> str:
    """The meaning of the maps, as ``catclf explain`` computes them."""
    if model.features is None:
        return (
            "The evidence of a pixel is weight times value, added up over its three channels; all "
            "evidence and the bias add up to z."
        )
    return (
        "The evidence of a square is how much lower z is when it is covered with the image's mean "
        "colour."
    )


def _computed(model: Model) -> str:
    """How an image becomes a probability, in words."""
    preprocess = model.preprocess
    background = ", ".join(map(str, preprocess.background))
    fit = _FITS[preprocess.fit].format(size=preprocess.size)
    inputs = (
        "with x the values of the pixels divided by 255"
        if model.features is None
        else "with x the strengths of learned patches in regions of the image"
    )
    positive = shown(model.classes[1])
    return (
        "An image is turned upright as its EXIF data say, put on the background (red, green, blue "
        f"{background}) where it is transparent, and {fit}: bicubic resampling as Pillow does it, "
        f"in the same whole numbers. Then z&nbsp;=&nbsp;wᵀx&nbsp;+&nbsp;b, {inputs}, and "
        f"P({positive}) = 1&nbsp;/&nbsp;(1&nbsp;+&nbsp;e<sup>&minus;z</sup>). "
        f"The answer is {positive} where {_rule(model)}."
    )


def _rule(model: Model) -> str:
    """When the answer is the positive class."""
    if model.z_threshold is not None:
        return f"z is above {model.z_threshold:.6g}"
    return f"P is above {model.threshold:g}"


def _asset(name: str) -> str:
    return (files("catclf") / "report" / "scoring" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """The source of a Content Security Policy that allows this text alone (W3C CSP 3)."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode('ascii')}'"


def _as_json(facts: dict[str, Any]) -> str:
    """JSON that no text within can end the element of."""
    return json.dumps(facts, ensure_ascii=True).replace("<", "\\u003c")


def _base64(array: NDArray[Any]) -> str:
    little = array.astype(array.dtype.newbyteorder("<"))
    return b64encode(np.ascontiguousarray(little).tobytes()).decode("ascii")
