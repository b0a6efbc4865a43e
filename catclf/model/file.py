"""The model file: a zip of arrays in NumPy's own format, readable with ``numpy.load``.

``w`` (n, 1), ``b`` (), ``costs``, ``cost_steps``, and ``meta``, a JSON text; with features other
than pixels also the arrays that they learned. ``catclf.storage.npz`` reads the file without
trusting it; this module checks its meaning. ``save`` keeps to the limits of ``load``: a curve of
more than ``COSTS_LIMIT`` points is thinned (see ``cost_curves``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from catclf.errors import ModelError, OutputError
from catclf.images.preprocess import FITS, Preprocess
from catclf.maths import PIXEL_MAX
from catclf.maths.metrics import Counts
from catclf.model import Model, Training
from catclf.model.cost_curves import CURVE, VALIDATION, read_curve, taken_validation, thinned
from catclf.storage import npz
from catclf.storage.location import locate
from catclf.storage.npz import ArrayFile, NotAnArchiveError, UnsoundError
from catclf.text import printable, reason

if TYPE_CHECKING:
    from catclf.features.base import Features

FORMAT = "catclf-model"
# A file has the lowest version that can hold its model; long validation curves need the newest.
VERSION = 3
VERSIONS = {"pixels": 1, "hog": 2, "patches": 3, "network": 3}
FILE_LIMIT = 64 * 1024 * 1024  # bytes; a model of 1024x1024 images has 25 MB of weights
SIZE_LIMIT = 1024  # pixels
META_LIMIT = 1024 * 1024  # characters
COUNT_LIMIT = 2**53  # of images and steps: whole numbers that a float64 holds
LEARNED_LIMIT = 1e6  # of numbers in filters, which are some tens: sums of them stay finite
DIGESTS_LIMIT = 65_536  # of training images
ENDED = ("reason", "within", "raised", "rate", "safe_rate")
MEMBERS = ("w", "b", *CURVE, "meta")
# By kind of features, the arrays of what they have learned, and their types.
LEARNED: dict[str, dict[str, str]] = {
    "pixels": {},
    "hog": {},
    "patches": {
        "filters": "<f4",
        "offsets": "<f4",
        "channels": "<f4",
        "channel_means": "<f4",
        "directions": "<f4",
        "direction_means": "<f4",
        "atoms": "<f4",
    },
    "network": {"weights": "|i1", "scales": "<f4", "biases": "<f4"},
}


def save(model: Model, path: str | Path) -> None:
    """Write the model file: wholly or not at all, the same bytes for the same model.

    ``load`` reads what is written here: cost curves are thinned to ``COSTS_LIMIT`` points. Raises
    OutputError, before anything is written, for a model that is too large for a file, and
    ModelError for one whose numbers or class names ``load`` refuses.
    """
    learned = model.features.arrays() if model.features else {}
    meta = _meta(model)
    arrays = {
        "w": model.w.astype("<f8"),
        "b": np.array(model.b, dtype="<f8"),
        **thinned(CURVE, model.costs, model.cost_steps),
    }
    if long_validation := taken_validation(meta["training"]):
        arrays |= long_validation
        meta["version"] = VERSION
    text = json.dumps(meta, sort_keys=True, ensure_ascii=True)
    arrays["meta"] = np.array(text)
    types = LEARNED[_kind_of(model)]
    arrays |= {name: array.astype(types[name]) for name, array in learned.items()}
    if len(model.digests):
        arrays["digests"] = model.digests.astype("<u8")
    size = sum(array.nbytes for array in arrays.values())
    if len(text) > META_LIMIT or size > FILE_LIMIT - npz.MEMBERS_LIMIT * 1024:
        raise OutputError(
            f"{printable(path)}: the model is too large for a file: {size} bytes, of which "
            f"{len(text)} characters say what it is made of"
        )
    with naming(path):
        _require_sound(model, _read_meta(text))
        _require_ascending(model.digests)
    npz.write(Path(path), arrays)


def _require_sound(model: Model, meta: dict[str, Any]) -> None:
    """Raise ModelError for what is refused when it is read."""
    _classes(meta)
    _preprocess(meta)
    _number(meta, "threshold", 0.0, 1.0)
    _z_threshold(meta)
    _training(meta)
    if not (np.isfinite(model.w).all() and math.isfinite(model.b)):
        raise ModelError("has weights that are not finite numbers")


def load(path: str | Path) -> Model:
    """Read a model file, from disk or from a store.

    Raises ModelError for any file that is not a sound model, and SettingsError where a library that
    its store needs is missing.
    """
    return _loaded(path)[0]


def load_signed(path: str | Path) -> tuple[Model, str]:
    """The same, and the SHA-256 of the file, by which machines know that they read the same one."""
    model, file = _loaded(path)
    return model, file.digest()


def _loaded(path: str | Path) -> tuple[Model, ArrayFile]:
    locate(path).require_library()
    shown = printable(path)
    try:
        file = ArrayFile(Path(path), FILE_LIMIT)
        return _parse(file), file
    except NotAnArchiveError as error:
        raise ModelError(f"{shown}: is not a catclf model, or is truncated") from error
    except (ModelError, UnsoundError) as error:
        raise ModelError(f"{shown}: {error}") from error
    except OSError as error:
        hint = ": train one first, or name another" if isinstance(error, FileNotFoundError) else ""
        raise ModelError(f"{shown}: {reason(error)}{hint}") from error
    except Exception as error:  # whatever hostile bytes may still bring about
        raise ModelError(f"{shown}: is damaged and cannot be read as a model") from error


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Put the file's name before a ModelError of the model that was read from it."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{printable(path)}: {error}") from error


def _parse(file: ArrayFile) -> Model:
    if "meta" not in file:
        raise ModelError("is not a catclf model: it has no member meta")
    meta = _read_meta(file.text("meta", META_LIMIT))
    apart = meta["version"] >= VERSION and any(name in file for name in VALIDATION)
    long_validation = VALIDATION if apart else ()
    kept = ("digests",) if "digests" in file else ()
    file.require((*MEMBERS, *long_validation, *kept, *LEARNED[_kind(meta)]))
    preprocess = _preprocess(meta)
    features = _features(meta, preprocess, file)
    n = features.n if features else preprocess.n
    costs, cost_steps = read_curve(file, CURVE)
    training = _training(meta)
    if long_validation:
        held_costs, held_steps = read_curve(file, VALIDATION)
        curve = {"costs": held_costs, "cost_steps": held_steps}
        training = replace(training, validation=training.validation | curve)
    limit = min(DIGESTS_LIMIT, training.images)
    digests = file.array("digests", "<u8", (limit,), at_most=True) if kept else np.zeros(0, "<u8")
    _require_ascending(digests)
    return Model(
        w=file.array("w", "<f8", (n, 1)),
        b=float(file.array("b", "<f8", ())),
        preprocess=preprocess,
        classes=_classes(meta),
        threshold=_number(meta, "threshold", 0.0, 1.0),
        z_threshold=_z_threshold(meta),
        costs=tuple(costs),
        cost_steps=tuple(cost_steps),
        training=training,
        features=features,
        digests=digests.astype(np.uint64),
    )


def _require_ascending(digests: NDArray[np.uint64]) -> None:
    if len(digests) > DIGESTS_LIMIT or (digests[1:] <= digests[:-1]).any():
        raise ModelError("has digests that are too many, or not ascending")


def _kind(meta: dict[str, Any]) -> str:
    """The kind of features; pixels, which version 1 has alone, are a bare name."""
    named = meta.get("features")
    if named == "pixels":
        return "pixels"
    kind = named.get("kind") if isinstance(named, dict) else None
    known = kind if isinstance(kind, str) and kind in LEARNED else "pixels"
    if known == "pixels" or meta["version"] < VERSIONS[known]:
        raise ModelError("has features that this catclf does not know")
    return known


def _features(meta: dict[str, Any], preprocess: Preprocess, file: ArrayFile) -> Features | None:
    """The features of the model; None for pixels."""
    if meta["features"] == "pixels":
        return None
    from catclf.features import restore

    features = restore(meta["features"], preprocess.size, file.array)
    for name, array in features.arrays().items():
        if (np.abs(array) > LEARNED_LIMIT).any():
            raise ModelError(f"has values in {name} that are too large")
    return features


def _read_meta(text: str) -> dict[str, Any]:
    """The JSON text as a dict, of a format and version that this program reads."""
    meta = json.loads(text, parse_constant=_no_number, parse_float=_finite)
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise ModelError("is not a catclf model: its meta is another program's")
    version = meta.get("version")
    if type(version) is not int or version < 1:
        raise ModelError("is not a sound model: it has no version")
    if version > VERSION:
        shown = version if version < 10**6 else "of the far future"
        raise ModelError(
            f"was made by a newer catclf (format {shown}, this one reads {VERSION}): upgrade"
        )
    return meta


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ModelError("has numbers in its meta that are too large")
    return value


def _no_number(constant: str) -> None:
    raise ModelError(f"has {constant} in its meta, which is not a number of JSON")


def _kind_of(model: Model) -> str:
    return model.features.kind if model.features else "pixels"


def _meta(model: Model) -> dict[str, Any]:
    """Everything but the arrays, as JSON values. No time and no path: equal runs, equal bytes."""
    training = asdict(model.training)
    training["pictures"] = training.pop("images")  # the file's own name, since version 1
    meta = {
        "format": FORMAT,
        "version": VERSIONS[_kind_of(model)],
        "picture": asdict(model.preprocess) | {"scale": PIXEL_MAX},
        "features": model.features.settings if model.features else "pixels",
        "classes": list(model.classes),
        "positive": model.classes[1],
        "threshold": model.threshold,
        "training": training,
    }
    if model.z_threshold is not None:  # a key that older versions do not look at
        meta["z_threshold"] = model.z_threshold
    return meta


def _z_threshold(meta: dict[str, Any]) -> float | None:
    """The threshold as a score, a finite number, where the file has one."""
    if "z_threshold" not in meta:
        return None
    value = meta["z_threshold"]
    if type(value) is not float or not math.isfinite(value):
        raise ModelError("has a z_threshold that is not a finite number")
    return value


def _preprocess(meta: dict[str, Any]) -> Preprocess:
    image = _object(meta, "picture")
    size = _number(image, "size", 1, SIZE_LIMIT)
    fit, resampling = image.get("fit"), image.get("resampling")
    background = image.get("background")
    sound = (
        size == int(size)
        and fit in FITS
        and resampling in ("bicubic", "bilinear", "lanczos", "box", "hamming", "nearest")
        and image.get("scale") == PIXEL_MAX
        and isinstance(background, list)
        and len(background) == 3
        and all(type(c) is int and 0 <= c <= 255 for c in background)
    )
    if not sound:
        raise ModelError("has image settings that this catclf does not know")
    red, green, blue = background  # type: ignore[misc]  # checked above
    return Preprocess(int(size), str(fit), str(resampling), (red, green, blue))


def _classes(meta: dict[str, Any]) -> tuple[str, str]:
    match meta.get("classes"):
        case [str(negative), str(positive)] if negative != positive and negative and positive:
            if meta.get("positive") != positive:
                raise ModelError("names another positive class than its classes do")
            return negative, positive
    raise ModelError("has no two class names")


def _training(meta: dict[str, Any]) -> Training:
    """The provenance, with every field of the type that it is declared with."""
    stored = _object(meta, "training").copy()
    try:
        stored["images"] = stored.pop("pictures")
        counts = {
            part: None if stored[part] is None else Counts(**_integers(stored[part]))
            for part in ("train", "test")
        }
        training = Training(**(stored | counts))
    except (TypeError, KeyError) as error:
        raise ModelError("has training facts that this catclf does not know") from error
    for name, default in asdict(Training()).items():
        value = getattr(training, name)
        if name != "test" and name != "train" and type(value) is not type(default):
            raise ModelError(f"has training.{name} of a wrong type")
    if training.train is None:
        raise ModelError("has no training counts")
    _require_possible(training)
    _require_ending(training.ended)
    return training


def _require_ending(ended: dict[str, Any]) -> None:
    """Raise ModelError for an end of training that ``Training.ending`` has no words for."""
    types: dict[str, type] = {"reason": str, "raised": int}
    for name, value in ended.items():
        if type(value) is not types.get(name, float) or name not in ENDED:
            raise ModelError(f"has training.ended.{printable(name)} of a wrong type")


def _require_possible(training: Training) -> None:
    """Raise ModelError for numbers of images or steps that no training has."""
    if not 0 <= training.steps <= COUNT_LIMIT or not 0 <= training.images <= COUNT_LIMIT:
        raise ModelError("has numbers of steps or images that are not possible")
    if not 0 <= training.positives <= training.images:
        raise ModelError(f"has {training.positives} positives in {training.images} training images")


def _integers(counts: Any) -> dict[str, int]:
    sound = isinstance(counts, dict) and all(
        type(value) is int and 0 <= value <= COUNT_LIMIT for value in counts.values()
    )
    if not sound:
        raise ModelError("has counts that are not whole numbers")
    return dict(counts)


def _object(meta: dict[str, Any], name: str) -> dict[str, Any]:
    value = meta.get(name)
    if not isinstance(value, dict):
        raise ModelError(f"has no {name} in its meta")
    return value


def _number(meta: dict[str, Any], name: str, low: float, high: float) -> float:
    value = meta.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ModelError(f"has no {name} between {low:g} and {high:g}")
    return float(value)
