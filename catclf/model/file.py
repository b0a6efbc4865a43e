"""The model file: a zip of arrays in NumPy's own format, readable with ``numpy.load``.

``w`` (n, 1), ``b`` (), ``costs``, ``cost_steps``, and ``meta``, a JSON text; also the arrays that
features learned, and where there are any ``digests`` of training images, ``centers`` and their
``center_mean`` (see ``similarity``), and the costs of held-out images. ``catclf.storage.npz`` reads
the file without trusting it; this module checks its meaning. ``save`` keeps to the limits of
``load``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
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
from catclf.model.model import Model, Training
from catclf.model.similarity import CENTERS, Similarity
from catclf.storage import npz
from catclf.storage.local import kind_of_file
from catclf.storage.location import locate
from catclf.storage.npz import ArrayFile, NotAnArchiveError, UnsoundError
from catclf.text import printable, reason

if TYPE_CHECKING:
    from catclf.features.base import Features

FORMAT, VERSION = "catclf-model", 4
FILE_LIMIT = 64 * 1024 * 1024  # bytes; a model of 1024x1024 images has 25 MB of weights
SIZE_LIMIT = 1024  # pixels
META_LIMIT = 1024 * 1024  # characters
COSTS_LIMIT = 1_000_000
COUNT_LIMIT = 2**53  # of images and steps: whole numbers that a float64 holds
LEARNED_LIMIT = 1e6  # of numbers in filters, which are some tens: sums of them stay finite
DIGESTS_LIMIT = 65_536  # of training images
ENDED = ("reason", "within", "raised", "rate", "safe_rate")
CURVE, VALIDATION = ("costs", "cost_steps"), ("validation_costs", "validation_steps")
MEMBERS = ("w", "b", *CURVE, "meta")
RESAMPLINGS = ("bicubic", "bilinear", "lanczos", "box", "hamming", "nearest")


def save(model: Model, path: str | Path) -> None:
    """Write the model file: wholly or not at all, the same bytes for the same model.

    ``load`` reads what is written here: curves of more than ``COSTS_LIMIT`` points are thinned.
    Raises OutputError, before anything is written, for a model that is too large for a file, and
    ModelError for one whose numbers or class names ``load`` refuses.
    """
    arrays = {
        "w": model.w.astype("<f8"),
        "b": np.array(model.b, dtype="<f8"),
        **thinned(CURVE, model.costs, model.cost_steps),
    }
    held = model.training.validation
    if held:
        arrays |= thinned(VALIDATION, held["costs"], held["cost_steps"])
    text = json.dumps(_meta(model), sort_keys=True, ensure_ascii=True)
    arrays["meta"] = np.array(text)
    learned = model.features.arrays() if model.features else {}
    arrays |= {name: array.astype(array.dtype.newbyteorder("<")) for name, array in learned.items()}
    if len(model.digests):
        arrays["digests"] = model.digests.astype("<u8")
    if model.similarity:
        arrays["centers"] = model.similarity.centers
        arrays["center_mean"] = model.similarity.mean.astype("<f4")
    size = sum(array.nbytes for array in arrays.values())
    if len(text) > META_LIMIT or size > FILE_LIMIT - npz.MEMBERS_LIMIT * 1024:
        raise OutputError(
            f"{printable(path)}: the model is too large for a file: {size} bytes, of which "
            f"{len(text)} characters say what it is made of"
        )
    with naming(path):
        _facts(_read_meta(text))
        _require_ascending(model.digests)
        if not (np.isfinite(model.w).all() and math.isfinite(model.b)):
            raise ModelError("has weights that are not finite numbers")
    npz.write(Path(path), arrays)


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
        kind = kind_of_file(Path(path))
        cut = not kind or "zip" in kind or "empty" in kind  # as a model that was cut short begins
        what = ", or is truncated" if cut else kind
        raise ModelError(f"{shown}: is not a catclf model{what}") from error
    except (ModelError, UnsoundError) as error:
        raise ModelError(f"{shown}: {error}") from error
    except OSError as error:
        hint = (
            ": train one first (catclf train), or name another"
            if isinstance(error, FileNotFoundError)
            else ""
        )
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
    facts = _facts(meta)
    preprocess, training = facts["preprocess"], facts["training"]
    kept = [*MEMBERS, *(VALIDATION if training.validation else ()), *_learned(meta)]
    kept += ["digests"] if "digests" in file else []
    file.require([*kept, *(("centers", "center_mean") if "similarity" in meta else ())])
    features = _features(meta, preprocess, file)
    n = features.n if features else preprocess.n
    if training.validation:
        curve = dict(zip(CURVE, _read_curve(file, VALIDATION), strict=True))
        facts["training"] = replace(training, validation=training.validation | curve)
    if "digests" in file:
        limit = min(DIGESTS_LIMIT, training.images)
        digests = file.array("digests", "<u8", (limit,), at_most=True)
        _require_ascending(digests)
        facts["digests"] = digests.astype(np.uint64)
    if "similarity" in meta:
        facts["similarity"] = _similarity(meta, n, file)
    costs, cost_steps = _read_curve(file, CURVE)
    return Model(
        w=file.array("w", "<f8", (n, 1)),
        b=float(file.array("b", "<f8", ())),
        costs=tuple(costs),
        cost_steps=tuple(cost_steps),
        features=features,
        **facts,
    )


def _learned(meta: dict[str, Any]) -> tuple[str, ...]:
    """The names of the arrays that the features have learned; pixels are a bare name."""
    if meta.get("features") == "pixels":
        return ()
    from catclf.features import KINDS, class_of

    match meta.get("features"):
        case {"kind": str(kind)} if kind in KINDS and class_of(kind).kept:
            return class_of(kind).members
    raise ModelError("has features that this catclf does not know")


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


def _similarity(meta: dict[str, Any], n: int, file: ArrayFile) -> Similarity:
    limit = _number(meta, "similarity", -1.0, 1.0)
    centers = file.array("centers", "|i1", (CENTERS, n), at_most=True)
    mean = file.array("center_mean", "<f4", (n,))
    sound = len(centers) and centers.shape[1] == n and centers.any(axis=1).all()
    if not sound or (np.abs(mean) > LEARNED_LIMIT).any():
        raise ModelError("has centers of training rows that make no sense")
    return Similarity(centers, mean, limit)


def _require_ascending(digests: NDArray[np.uint64]) -> None:
    if len(digests) > DIGESTS_LIMIT or (digests[1:] <= digests[:-1]).any():
        raise ModelError("has digests that are too many, or not ascending")


def thinned(
    names: tuple[str, str], costs: Sequence[float], steps: Sequence[int]
) -> dict[str, NDArray[Any]]:
    """The arrays of a curve, of up to ``COSTS_LIMIT`` points.

    Of more every k-th from the first on is kept, with the smallest k that suffices, and the last.
    """
    kept = np.arange(len(costs))
    if len(costs) > COSTS_LIMIT:
        stride = -(-(len(costs) - 1) // (COSTS_LIMIT - 1))
        kept = np.append(np.arange(0, len(costs) - 1, stride), len(costs) - 1)
    curve = np.array(costs, dtype="<f8")[kept], np.array(steps, dtype="<i8")[kept]
    return dict(zip(names, curve, strict=True))


def _read_curve(file: ArrayFile, names: tuple[str, str]) -> tuple[list[float], list[int]]:
    """Costs and the steps at which they were seen."""
    values = file.array(names[0], "<f8", (COSTS_LIMIT,), at_most=True)
    at = file.array(names[1], "<i8", values.shape)
    if (at < 0).any() or (at[1:] <= at[:-1]).any():
        raise ModelError(f"has {names[1]} that do not go up")
    return values.tolist(), at.tolist()


def _read_meta(text: str) -> dict[str, Any]:
    """The JSON text as a dict, of the format and version that this program reads."""
    meta = json.loads(text, parse_constant=_no_number, parse_float=_finite)
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise ModelError("is not a catclf model: its meta is another program's")
    version = meta.get("version")
    if type(version) is not int or version < 1:
        raise ModelError("is not a sound model: it has no version")
    if version != VERSION:
        shown = version if version < 10**6 else "of the far future"
        age, advice = ("newer", "upgrade") if version > VERSION else ("older", "train it again")
        raise ModelError(
            f"was made by {'an' if age == 'older' else 'a'} {age} catclf (format {shown}, this one "
            f"reads {VERSION}): {advice}"
        )
    return meta


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ModelError("has numbers in its meta that are too large")
    return value


def _no_number(constant: str) -> None:
    raise ModelError(f"has {constant} in its meta, which is not a number of JSON")


def _meta(model: Model) -> dict[str, Any]:
    """Everything but the arrays, as JSON values. No time and no path: equal runs, equal bytes."""
    training = asdict(model.training)
    training["validation"] = {k: v for k, v in training["validation"].items() if k not in CURVE}
    meta = {
        "format": FORMAT,
        "version": VERSION,
        "preprocess": asdict(model.preprocess) | {"scale": PIXEL_MAX},
        "features": model.features.settings if model.features else "pixels",
        "classes": list(model.classes),
        "positive": model.classes[1],
        "threshold": model.threshold,
        "training": training,
    }
    if model.z_threshold is not None:
        meta["z_threshold"] = model.z_threshold
    if model.similarity:
        meta["similarity"] = model.similarity.limit
    return meta


def _facts(meta: dict[str, Any]) -> dict[str, Any]:
    """The fields of a model that meta holds, checked."""
    z_threshold = meta.get("z_threshold")
    if "z_threshold" in meta and (type(z_threshold) is not float or math.isinf(z_threshold)):
        raise ModelError("has a z_threshold that is not a finite number")
    return {
        "preprocess": _preprocess(meta),
        "classes": _classes(meta),
        "threshold": _number(meta, "threshold", 0.0, 1.0),
        "z_threshold": z_threshold,
        "training": _training(meta),
    }


def _preprocess(meta: dict[str, Any]) -> Preprocess:
    image = _object(meta, "preprocess")
    size, background = _number(image, "size", 1, SIZE_LIMIT), image.get("background")
    sound = (
        size == int(size)
        and image.get("fit") in FITS
        and image.get("resampling") in RESAMPLINGS
        and image.get("scale") == PIXEL_MAX
        and isinstance(background, list)
        and len(background) == 3
        and all(type(c) is int and 0 <= c <= 255 for c in background)
    )
    if not sound:
        raise ModelError("has image settings that this catclf does not know")
    red, green, blue = background  # type: ignore[misc]  # checked above
    return Preprocess(int(size), image["fit"], image["resampling"], (red, green, blue))


def _classes(meta: dict[str, Any]) -> tuple[str, str]:
    match meta.get("classes"):
        case [str(negative), str(positive)] if negative != positive and negative and positive:
            if meta.get("positive") != positive:
                raise ModelError("names another positive class than its classes do")
            return negative, positive
    raise ModelError("has no two class names")


def _training(meta: dict[str, Any]) -> Training:
    """The provenance, with every field of the type that it is declared with."""
    stored = _object(meta, "training")
    try:
        counts = {
            part: None if stored[part] is None else Counts(**_integers(stored[part]))
            for part in ("train", "test")
        }
        training = Training(**(stored | counts))
    except (TypeError, KeyError) as error:
        raise ModelError("has training facts that this catclf does not know") from error
    for name, default in asdict(Training()).items():
        if name not in counts and type(getattr(training, name)) is not type(default):
            raise ModelError(f"has training.{name} of a wrong type")
    if training.train is None:
        raise ModelError("has no training counts")
    for name, value in training.ended.items():
        types: dict[str, type] = {"reason": str, "raised": int}
        if type(value) is not types.get(name, float) or name not in ENDED:
            raise ModelError(f"has training.ended.{printable(name)} of a wrong type")
    if not 0 <= training.steps <= COUNT_LIMIT or not 0 <= training.images <= COUNT_LIMIT:
        raise ModelError("has numbers of steps or images that are not possible")
    if not 0 <= training.positives <= training.images:
        raise ModelError(f"has {training.positives} positives in {training.images} training images")
    return training


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
