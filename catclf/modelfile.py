"""The signed model file: a zip of five arrays in NumPy's own format, readable with ``numpy.load``.

``w`` (n, 1), ``b`` (), ``costs``, ``cost_steps``, and ``meta``, a JSON text. Nothing in it is ever
executed, and every size is checked against what the format demands before it is believed.
"""

from __future__ import annotations

import io
import json
import os
import stat
import warnings
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    with replacing(Path(path)) as file, zipfile.ZipFile(file, "w") as archive:
        for name in MEMBERS:
            content = io.BytesIO()
            np.lib.format.write_array(content, arrays[name], (1, 0), allow_pickle=False)
            # A fixed date, so that equal models are equal files.
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, content.getvalue())


def load(path: str | Path) -> Model:
    """Read a model file. Raises ModelError for any file that is not a sound model."""
    shown = printable(path)
    try:
        content = _content(Path(path))
        with warnings.catch_warnings(), zipfile.ZipFile(io.BytesIO(content)) as archive:
            warnings.simplefilter("error")  # the header parser warns of what we never write
            return _parse(archive)
    except ModelError as error:
        raise ModelError(f"{shown}: {error}") from error
    except OSError as error:
        hint = ": train one first, or give --model" if isinstance(error, FileNotFoundError) else ""
        raise ModelError(f"{shown}: {reason(error)}{hint}") from error
    except zipfile.BadZipFile as error:
        what = "is not a catclf model, or is truncated"
        if "CRC" in str(error):
            what = "is damaged: its checksum is wrong"
        raise ModelError(f"{shown}: {what}") from error
    except Exception as error:  # zipfile and the header parser raise anything on hostile bytes
        raise ModelError(f"{shown}: is damaged and cannot be read as a model") from error


def _content(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)  # fdopen would leave a folder's open
        raise ModelError("is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > FILE_LIMIT:
            raise ModelError(f"is larger than any model: {status.st_size} bytes")
        return file.read(status.st_size)


def _parse(archive: zipfile.ZipFile) -> Model:
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if "meta.npy" not in names:
        raise ModelError("is not a catclf model: it has no member meta")
    if len(set(names)) < len(names) or sum(entry.file_size for entry in entries) > FILE_LIMIT:
        raise ModelError("is not a sound model: members are repeated or too large")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ModelError("is not a sound model: its members are compressed")  # ours never are
    meta = _read_meta(archive)
    if sorted(names) != sorted(f"{name}.npy" for name in MEMBERS):
        raise ModelError(f"is not a sound model: it must hold exactly {', '.join(MEMBERS)}")
    preprocess = _preprocess(meta)
    w = _array(archive, "w", "<f8", (preprocess.n, 1))
    b = _array(archive, "b", "<f8", ())
    costs = _array(archive, "costs", "<f8", None)
    cost_steps = _array(archive, "cost_steps", "<i8", costs.shape)
    for name, array in (("w", w), ("b", b), ("costs", costs)):
        if not np.isfinite(array).all():
            raise ModelError(f"has values in {name} that are not finite numbers")
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


def _array(
    archive: zipfile.ZipFile, name: str, dtype: str, shape: tuple[int, ...] | None
) -> NDArray[Any]:
    """One member, if its header declares what the format demands and it holds exactly that.

    ``shape`` None means any one-dimensional shape of up to COSTS_LIMIT.
    """
    content = archive.read(f"{name}.npy")  # bounded by the sizes checked; verifies the checksum
    stream = io.BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ModelError(f"has {name} in an unknown array format")
    found, fortran, declared = np.lib.format.read_array_header_1_0(stream)
    if declared.hasobject:
        raise ModelError(f"has pickled objects in {name}: they are never loaded")
    if dtype == "text":
        fits = found == () and declared.kind == "U" and declared.itemsize <= 4 * META_LIMIT
    elif shape is None:
        fits = len(found) == 1 and found[0] <= COSTS_LIMIT and declared.str == dtype
    else:
        fits = found == shape and declared.str == dtype
    if not fits or fortran:
        wanted = "" if dtype == "text" or shape is None else f", not {dtype} {shape}"
        raise ModelError(f"has {name} of {declared.str} {found}{wanted}")
    data = content[stream.tell() :]
    count = int(np.prod(found, dtype=np.int64))
    if len(data) != count * declared.itemsize:
        raise ModelError(f"has {name} with {len(data)} bytes of data, which is not its shape")
    return np.frombuffer(data, dtype=declared).reshape(found).copy()


def _read_meta(archive: zipfile.ZipFile) -> dict[str, Any]:
    """The JSON text as a dict, of a format and version that this program reads."""
    meta = json.loads(str(_array(archive, "meta", "text", ())), parse_constant=_not_json)
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise ModelError("is not a catclf model: its meta is another program's")
    version = meta.get("version")
    if type(version) is not int or version < 1:
        raise ModelError("is not a sound model: it has no version")
    if version > VERSION:
        raise ModelError(
            f"was made by a newer catclf (format {str(version)[:20]}, this one reads {VERSION}): "
            "upgrade"
        )
    return meta


def _not_json(constant: str) -> None:
    raise ModelError(f"has {constant} in its meta, which is not JSON")


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
            if meta.get("positive") == positive:
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
