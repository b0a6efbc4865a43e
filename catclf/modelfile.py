"""The signed model file: a zip of five arrays in NumPy's own format, readable with ``numpy.load``.

``w`` (n, 1), ``b`` (), ``costs``, ``cost_steps``, and ``meta``, a JSON text. Nothing in it is ever
executed or evaluated, and every name, type, shape and size is checked against what the format
demands before it is believed: ``catclf.archive`` is stricter than Python's own reader of zip files.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import stat
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf import archive
from catclf.errors import ModelError
from catclf.files import printable, reason, replacing
from catclf.images import FITS, Preprocess
from catclf.maths import PIXEL_MAX
from catclf.metrics import Counts
from catclf.model import Model, Training

FORMAT = "catclf-model"
VERSION = 1
FILE_LIMIT = 64 * 1024 * 1024  # bytes; a model of 1024x1024 pictures has 25 MB of weights
SIZE_LIMIT = 1024  # pixels
META_LIMIT = 1024 * 1024  # characters
COSTS_LIMIT = 1_000_000
MEMBERS = ("w", "b", "costs", "cost_steps", "meta")
_HEADER_LIMIT = 65536  # bytes of an array's header, at most
# As NumPy has written it since its first version 1.0 files; nothing else is understood.
_HEADER = re.compile(
    rb"\{'descr': '([^']{1,20})', 'fortran_order': False, 'shape': \(([0-9, ]{0,60})\), \}[ \n]*"
)
_PICKLED = re.compile(rb"'\|?O\d*'")


def save(model: Model, path: str | Path) -> None:
    """Write the model file: wholly or not at all, the same bytes for the same model.

    Raises OutputError.
    """
    arrays: dict[str, NDArray[Any]] = {
        "w": model.w.astype("<f8"),
        "b": np.array(model.b, dtype="<f8"),
        "costs": np.array(model.costs, dtype="<f8"),
        "cost_steps": np.array(model.cost_steps, dtype="<i8"),
        "meta": np.array(json.dumps(_meta(model), sort_keys=True, ensure_ascii=True)),
    }
    import zipfile

    with replacing(Path(path)) as file, zipfile.ZipFile(file, "w") as made:
        for name in MEMBERS:
            content = io.BytesIO()
            np.lib.format.write_array(content, arrays[name], (1, 0), allow_pickle=False)
            # A fixed date, so that equal models are equal files.
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            info.external_attr = 0o644 << 16
            made.writestr(info, content.getvalue())


def load(path: str | Path) -> Model:
    """Read a model file. Raises ModelError for any file that is not a sound model."""
    shown = printable(path)
    try:
        return _parse(_content(Path(path)))
    except ModelError as error:
        raise ModelError(f"{shown}: {error}") from error
    except OSError as error:
        hint = ": train one first, or give --model" if isinstance(error, FileNotFoundError) else ""
        raise ModelError(f"{shown}: {reason(error)}{hint}") from error
    except archive.ArchiveError as error:
        if "checksum" in str(error):
            raise ModelError(f"{shown}: {error}") from error
        what = "is not a sound model" if error.sound else "is not a catclf model, or is truncated"
        raise ModelError(
            f"{shown}: {what}: it {error}" if error.sound else f"{shown}: {what}"
        ) from error
    except Exception as error:  # whatever hostile bytes may still bring about
        raise ModelError(f"{shown}: is damaged and cannot be read as a model") from error


def _content(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise ModelError("is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > FILE_LIMIT:
            raise ModelError(f"is larger than any model: {status.st_size} bytes")
        return file.read(status.st_size)


def _parse(content: bytes) -> Model:
    entries = archive.members(content)
    names = [entry.name for entry in entries]
    if "meta.npy" not in names:
        raise ModelError("is not a catclf model: it has no member meta")
    if len(set(names)) < len(names) or sum(entry.size for entry in entries) > FILE_LIMIT:
        raise ModelError("is not a sound model: members are repeated or too large")
    archive.check(content, entries)
    found = {entry.name: entry for entry in entries}
    meta = _read_meta(_member(content, found, "meta", 4 * META_LIMIT))
    if sorted(names) != sorted(f"{name}.npy" for name in MEMBERS):
        raise ModelError(f"is not a sound model: it must hold exactly {', '.join(MEMBERS)}")
    preprocess = _preprocess(meta)
    w = _array(_member(content, found, "w", 8 * preprocess.n), "w", "<f8", (preprocess.n, 1))
    b = _array(_member(content, found, "b", 8), "b", "<f8", ())
    costs = _array(_member(content, found, "costs", 8 * COSTS_LIMIT), "costs", "<f8", None)
    steps = _member(content, found, "cost_steps", 8 * COSTS_LIMIT)
    cost_steps = _array(steps, "cost_steps", "<i8", costs.shape)
    for name, array in (("w", w), ("b", b), ("costs", costs)):
        if not np.isfinite(array).all():
            raise ModelError(f"has values in {name} that are not finite numbers")
    if (cost_steps < 0).any() or (cost_steps[1:] <= cost_steps[:-1]).any():
        raise ModelError("has cost_steps that do not go up")
    return Model(
        w=w,
        b=float(b),
        preprocess=preprocess,
        classes=_classes(meta),
        threshold=_number(meta, "threshold", 0.0, 1.0),
        costs=tuple(costs.tolist()),
        cost_steps=tuple(cost_steps.tolist()),
        training=_training(meta),
    )


def _member(content: bytes, found: dict[str, archive.Member], name: str, limit: int) -> bytes:
    """A member's bytes, if it declares no more of them than its array can need."""
    member = found[f"{name}.npy"]
    if member.size > limit + _HEADER_LIMIT:
        raise ModelError(f"has {name} of {member.size} bytes, which is too large")
    return archive.read(content, member)


def _array(content: bytes, name: str, dtype: str, shape: tuple[int, ...] | None) -> NDArray[Any]:
    """An array, if its header declares what the format demands and it holds exactly that.

    ``shape`` None means any one-dimensional shape of up to COSTS_LIMIT.
    """
    found, declared, data = _header(content, name)
    fits = len(declared) == 1 and declared[0] <= COSTS_LIMIT if shape is None else declared == shape
    if not fits or found != dtype:
        raise ModelError(f"has {name} of {found} {declared}, not {dtype} {shape or ''}".rstrip())
    count = declared[0] if shape is None else int(np.prod(declared, dtype=np.int64))
    if len(data) != 8 * count:
        raise ModelError(f"has {name} with {len(data)} bytes of data, which is not its shape")
    return np.frombuffer(data, dtype=dtype).reshape(declared).copy()


def _header(content: bytes, name: str) -> tuple[str, tuple[int, ...], bytes]:
    """An array's type and shape as declared, and its data. Nothing is evaluated."""
    if content[:8] != b"\x93NUMPY\1\0":
        raise ModelError(f"has {name} in an unknown array format")
    end = 10 + int.from_bytes(content[8:10], "little")
    if _PICKLED.search(content[10:end][:200]):
        raise ModelError(f"has pickled objects in {name}: they are never loaded")
    header = _HEADER.fullmatch(content[10:end])
    if header is None or len(content) < end:
        raise ModelError(f"has {name} of an unknown type or layout")
    shape = tuple(int(part) for part in header[2].split(b",") if part.strip())
    return printable(header[1].decode("latin-1")), shape, content[end:]


def _read_meta(content: bytes) -> dict[str, Any]:
    """The JSON text as a dict, of a format and version that this program reads."""
    dtype, shape, data = _header(content, "meta")
    text = re.fullmatch(r"<U([0-9]{1,7})", dtype)
    if text is None or shape != () or int(text[1]) > META_LIMIT or len(data) != 4 * int(text[1]):
        raise ModelError(f"has meta of {dtype} {shape} in {len(data)} bytes")
    meta = json.loads(
        data.decode("utf-32-le").rstrip("\0"), parse_constant=_no_number, parse_float=_finite
    )
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


def _meta(model: Model) -> dict[str, Any]:
    """Everything but the arrays, as JSON values. No time and no path: equal runs, equal bytes."""
    training = asdict(model.training)
    return {
        "format": FORMAT,
        "version": VERSION,
        "picture": asdict(model.preprocess) | {"scale": PIXEL_MAX},
        "features": "pixels",
        "classes": list(model.classes),
        "positive": model.classes[1],
        "threshold": model.threshold,
        "training": training,
    }


def _preprocess(meta: dict[str, Any]) -> Preprocess:
    picture = _object(meta, "picture")
    size = _number(picture, "size", 1, SIZE_LIMIT)
    fit, resampling = picture.get("fit"), picture.get("resampling")
    background = picture.get("background")
    sound = (
        size == int(size)
        and fit in FITS
        and resampling in ("bicubic", "bilinear", "lanczos", "box", "hamming", "nearest")
        and picture.get("scale") == PIXEL_MAX
        and meta.get("features") == "pixels"
        and isinstance(background, list)
        and len(background) == 3
        and all(type(c) is int and 0 <= c <= 255 for c in background)
    )
    if not sound:
        raise ModelError("has picture settings that this catclf does not know")
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
    found = _object(meta, "training")
    try:
        counts = {
            part: None if found[part] is None else Counts(**_integers(found[part]))
            for part in ("train", "test")
        }
        training = Training(**(found | counts))
    except (TypeError, KeyError) as error:
        raise ModelError("has training facts that this catclf does not know") from error
    for name, default in asdict(Training()).items():
        value = getattr(training, name)
        if name != "test" and name != "train" and type(value) is not type(default):
            raise ModelError(f"has training.{name} of a wrong type")
    if training.train is None:
        raise ModelError("has no training counts")
    return training


def _integers(counts: Any) -> dict[str, int]:
    if not isinstance(counts, dict) or not all(type(v) is int and v >= 0 for v in counts.values()):
        raise ModelError("has counts that are not whole numbers")
    return counts


def _object(meta: dict[str, Any], name: str) -> dict[str, Any]:
    value = meta.get(name)
    if not isinstance(value, dict):
        raise ModelError(f"has no {name} in its meta")
    return value


def _number(meta: dict[str, Any], name: str, least: float, most: float) -> float:
    value = meta.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ModelError(f"has no {name} between {least:g} and {most:g}")
    return float(value)
