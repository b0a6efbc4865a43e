"""The model file: a zip of arrays in NumPy's own format, readable with ``numpy.load``.

``w`` (n, 1), ``b`` (), ``costs``, ``cost_steps``, and ``meta``, a JSON text; also the arrays that
features learned, and where there are any ``digests`` of training images, ``centers`` and their
``center_mean`` (see ``Similarity``), and the costs of held-out images. ``catclf.storage.npz`` reads
the file without trusting it; this module checks its meaning. ``save`` keeps to the limits of
``load``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.errors import ModelError, OutputError, SettingsError
from catclf.images.preprocess import FITS, Preprocess
from catclf.maths import PIXEL_MAX
from catclf.maths.metrics import Counts
from catclf.model.model import CENTERS, Model, Similarity, Training
from catclf.storage import npz
from catclf.storage.local import kind_of_file
from catclf.storage.location import locate
from catclf.storage.npz import ArrayFile, NotAnArchiveError, UnsoundError
from catclf.text import printable, reason

FORMAT, VERSION = "catclf-model", 4
FILE_LIMIT = 64 * 1024 * 1024  # bytes; a model of 1024x1024 images has 25 MB of weights
META_LIMIT = 1024 * 1024  # characters
COSTS_LIMIT = 1_000_000
COUNT_LIMIT = 2**53  # of images and steps: whole numbers that a float64 holds
LEARNED_LIMIT = 1e6  # of numbers in filters, which are some tens: sums of them stay finite
DIGESTS_LIMIT = 65_536  # of training images
CURVE, VALIDATION = ("costs", "cost_steps"), ("validation_costs", "validation_steps")
RESAMPLINGS = ("bicubic", "bilinear", "lanczos", "box", "hamming", "nearest")
ENDED = {"reason": str, "within": float, "raised": int, "rate": float, "safe_rate": float}

Test = Callable[[Any], bool]


def _is(kind: type) -> Test:
    return lambda value: type(value) is kind


def _number(low: float, high: float, *kinds: type) -> Test:
    return lambda value: type(value) in (kinds or (int, float)) and low <= value <= high


def _one_of(*values: Any) -> Test:
    return lambda value: type(value) is type(values[0]) and value in values


def _list_of(length: int, test: Test) -> Test:
    return lambda value: type(value) is list and len(value) == length and all(map(test, value))


_COUNT = _number(0, COUNT_LIMIT, int)
_COUNTS = dict.fromkeys(asdict(Counts()), _COUNT)
# What meta holds, by name: a test of the value, or the names in an object.
_META: dict[str, Any] = {
    "format": _one_of(FORMAT),
    "version": _one_of(VERSION),
    "preprocess": {
        "size": _number(1, 1024, int),
        "fit": _one_of(*FITS),
        "resampling": _one_of(*RESAMPLINGS),
        "background": _list_of(3, _number(0, 255, int)),
        "scale": _one_of(PIXEL_MAX),
    },
    "features": lambda value: value == "pixels" or type(value) is dict,
    "classes": lambda value: _list_of(2, _is(str))(value) and all(value) and len(set(value)) == 2,
    "positive": _is(str),
    "threshold": _number(0.0, 1.0),
    # Each fact of the type that it is declared with, and …
    "training": {name: _is(type(value)) for name, value in asdict(Training()).items()}
    | {
        **dict.fromkeys(("images", "positives", "steps"), _COUNT),
        "ended": lambda value: (
            type(value) is dict
            and all(type(fact) is ENDED.get(name) for name, fact in value.items())
        ),
        "train": _COUNTS,
        "test": lambda value: value is None or not _wrong(value, _COUNTS),
    },
}
_SOMETIMES = {"z_threshold": _is(float), "similarity": _number(-1.0, 1.0)}


def save(model: Model, path: str | Path) -> None:
    """Write the model file: wholly or not at all, the same bytes for the same model.

    ``load`` reads what is written here: curves of more than ``COSTS_LIMIT`` points are thinned.
    Raises OutputError, before anything is written, for a model that is too large for a file, and
    ModelError for one whose numbers or class names ``load`` refuses.
    """
    text = json.dumps(_meta(model), sort_keys=True)
    held = model.training.validation
    arrays: dict[str, NDArray[Any]] = {
        "w": model.w.astype("<f8"),
        "b": np.array(model.b, dtype="<f8"),
        **thinned(CURVE, model.costs, model.cost_steps),
        **(thinned(VALIDATION, held["costs"], held["cost_steps"]) if held else {}),
        "meta": np.array(text),
        **(model.features.arrays() if model.features else {}),
    }
    if len(model.digests):
        arrays["digests"] = model.digests
    if model.similarity:
        arrays |= {"centers": model.similarity.centers, "center_mean": model.similarity.mean}
    size = sum(array.nbytes for array in arrays.values())
    if len(text) > META_LIMIT or size > FILE_LIMIT - npz.MEMBERS_LIMIT * 1024:
        raise OutputError(
            f"{printable(path)}: the model is too large for a file: {size} bytes, of which "
            f"{len(text)} characters say what it is made of"
        )
    with naming(path):
        _read_meta(text)
        _require_ascending("digests", model.digests)
        if not (np.isfinite(model.w).all() and math.isfinite(model.b)):
            raise ModelError("has weights that are not finite numbers")
    little = {
        name: array.astype(array.dtype.newbyteorder("<"), copy=False)
        for name, array in arrays.items()
    }
    npz.write(Path(path), little)


def load(path: str | Path) -> Model:
    """Read a model file, from disk or from a store.

    Raises ModelError for any file that is not a sound model, and SettingsError where a library that
    its store needs is missing.
    """
    return load_signed(path)[0]


def load_signed(path: str | Path) -> tuple[Model, str]:
    """The same, and the SHA-256 of the file, by which machines know that they read the same one."""
    locate(path).require_library()
    try:
        file = ArrayFile(Path(path), FILE_LIMIT)
        return _parse(file), file.digest()
    except NotAnArchiveError:
        kind = kind_of_file(Path(path))
        cut = not kind or " zip" in kind or "empty" in kind  # as a model that was cut short begins
        why = f"is not a catclf model{', or is truncated' if cut else kind}"
    except (ModelError, SettingsError, UnsoundError) as error:
        why = str(error)
    except FileNotFoundError as error:
        why = f"{reason(error)}: train one first (catclf train), or name another"
    except OSError as error:
        why = reason(error)
    except Exception:  # whatever hostile bytes may still bring about
        why = "is damaged and cannot be read as a model"
    raise ModelError(f"{printable(path)}: {why}")


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
    facts, image = meta["training"], meta["preprocess"]
    kind = None
    if meta["features"] != "pixels":
        from catclf.features import class_of, restore

        kind = class_of(meta["features"].get("kind"))
        if not kind.kept:
            raise ModelError(f"has features of kind {kind.kind}, which no model keeps")
    file.require(
        ["w", "b", *CURVE, "meta", *(kind.members if kind else ())]
        + [name for name in VALIDATION if facts["validation"]]
        + [name for name in ("digests",) if name in file]
        + [name for name in ("centers", "center_mean") if "similarity" in meta]
    )
    features = restore(meta["features"], image["size"], _bounded(file)) if kind else None
    if facts["validation"]:
        facts["validation"] |= dict(zip(CURVE, _read_curve(file, VALIDATION), strict=True))
    del image["scale"]
    preprocess = Preprocess(**image | {"background": tuple(image["background"])})
    n = features.n if features else preprocess.n
    costs, steps = _read_curve(file, CURVE)
    counts = {name: facts[name] and Counts(**facts[name]) for name in ("train", "test")}
    return Model(
        w=file.array("w", "<f8", (n, 1)),
        b=float(file.array("b", "<f8", ())),
        preprocess=preprocess,
        classes=(meta["classes"][0], meta["classes"][1]),
        threshold=float(meta["threshold"]),
        z_threshold=meta.get("z_threshold"),
        costs=tuple(costs),
        cost_steps=tuple(steps),
        training=Training(**facts | counts),
        features=features,
        digests=_digests(file, facts["images"]),
        similarity=_similarity(file, meta["similarity"], n) if "similarity" in meta else None,
    )


def _bounded(file: ArrayFile) -> Callable[[str, str, tuple[int, ...]], NDArray[Any]]:
    """Reads arrays of numbers from which sums stay finite: see ``ArrayFile.array``."""

    def read(name: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
        array = file.array(name, dtype, shape)
        if (np.abs(array) > LEARNED_LIMIT).any():
            raise ModelError(f"has values in {name} that are too large")
        return array

    return read


def _similarity(file: ArrayFile, limit: float, n: int) -> Similarity:
    centers = file.array("centers", "|i1", (CENTERS, n), at_most=True)
    if not len(centers) or centers.shape[1] != n or not centers.any(axis=1).all():
        raise ModelError("has centers of training rows that make no sense")
    return Similarity(centers, _bounded(file)("center_mean", "<f4", (n,)), float(limit))


def _digests(file: ArrayFile, images: int) -> NDArray[np.uint64]:
    if "digests" not in file:
        return np.zeros(0, np.uint64)
    digests = file.array("digests", "<u8", (min(DIGESTS_LIMIT, images),), at_most=True)
    _require_ascending("digests", digests)
    return digests


def _require_ascending(name: str, numbers: NDArray[Any]) -> None:
    if (numbers[1:] <= numbers[:-1]).any() or (numbers < 0).any():
        raise ModelError(f"has {name} that do not go up")


def thinned(
    names: tuple[str, str], costs: Sequence[float], steps: Sequence[int]
) -> dict[str, NDArray[Any]]:
    """The arrays of a curve: of more than ``COSTS_LIMIT`` points so many, first and last kept."""
    count = len(costs)
    kept = np.linspace(0, count - 1, min(count, COSTS_LIMIT)).astype(np.intp)
    curve = np.array(costs, dtype="<f8")[kept], np.array(steps, dtype="<i8")[kept]
    return dict(zip(names, curve, strict=True))


def _read_curve(file: ArrayFile, names: tuple[str, str]) -> tuple[list[float], list[int]]:
    """Costs and the steps at which they were seen."""
    values = file.array(names[0], "<f8", (COSTS_LIMIT,), at_most=True)
    at = file.array(names[1], "<i8", values.shape)
    _require_ascending(names[1], at)
    return values.tolist(), at.tolist()


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
        "z_threshold": model.z_threshold,
        "similarity": model.similarity.limit if model.similarity else None,
    }
    return {name: value for name, value in meta.items() if value is not None}


def _read_meta(text: str) -> dict[str, Any]:
    """The JSON text as a dict of what ``_META`` has. Raises ModelError, and what JSON raises."""
    meta = json.loads(text)
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise ModelError("is not a catclf model: its meta is another program's")
    version = meta.get("version")
    if type(version) is int and version >= 1 and version != VERSION:
        age, advice = (
            ("a newer", "upgrade") if version > VERSION else ("an older", "train it again")
        )
        raise ModelError(f"was made by {age} catclf: {advice}")
    if isinstance(facts := meta.get("training"), dict):  # those of earlier versions are fewer
        meta["training"] = {"ended": {}, "suspects": {}} | facts
    shape = _META | {name: test for name, test in _SOMETIMES.items() if name in meta}
    # What a later version adds to this format is left alone.
    wrong = _wrong({name: value for name, value in meta.items() if name in shape}, shape)
    try:
        json.dumps(meta, allow_nan=False)
    except ValueError:
        wrong = "meta, which has numbers that are not finite,"
    if not wrong and meta["positive"] != meta["classes"][1]:
        wrong = "meta.positive"
    if not wrong and meta["training"]["positives"] > meta["training"]["images"]:
        wrong = "meta.training.positives"
    if wrong:
        raise ModelError(f"is not a sound model: its {wrong} makes no sense")
    return meta


def _wrong(value: Any, shape: Any, place: str = "meta") -> str:
    """The first place in a JSON value that is not of a shape; empty where there is none."""
    if not isinstance(shape, dict):
        return "" if shape(value) else place
    if not isinstance(value, dict) or value.keys() != shape.keys():
        return place
    inner = (_wrong(value[name], each, f"{place}.{name}") for name, each in shape.items())
    return next(filter(None, inner), "")
