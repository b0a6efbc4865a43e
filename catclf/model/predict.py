"""Image files to predictions: one for each path, in order, as soon as it is known."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from catclf.errors import ImageError, SettingsError
from catclf.images.inputs import read_inputs
from catclf.images.pool import decode_batches
from catclf.images.preprocess import Limits
from catclf.maths import sigmoid
from catclf.model.model import Model, judged_by
from catclf.samples import cut

if TYPE_CHECKING:
    from catclf.images.pool import Outcome

AnyPath = str | bytes | os.PathLike[str]
SLOW_AT_ONCE = 32  # images between records where one takes tens of milliseconds


@dataclass(slots=True)
class Prediction:
    """One input with its predicted label, probability and z, or with the error and its kind.

    ``probability`` is that of the positive class, ``positive`` whether that is predicted. Where an
    image cannot be read ``error`` is a line that says why, and ``label`` is empty. ``similarity``
    says how like the image is to those of training, and ``unlike`` whether it is like none of
    them; both are None for models that do not know.
    """

    path: str
    label: str = ""
    probability: float = float("nan")
    z: float = float("nan")
    positive: bool = False
    error: str | None = None
    kind: str = ""
    others: tuple[float, ...] = ()  # the probabilities of further models
    similarity: float | None = None
    unlike: bool | None = None


def predict(
    paths: AnyPath | Iterable[AnyPath],
    model: Model | str | os.PathLike[str],
    threshold: float | None = None,
    *,
    recursive: bool = False,
    limits: Limits | None = None,
    workers: int | None = None,
) -> Iterator[Prediction]:
    """Score images: a ``Prediction`` for each, in order, also for those that fail.

    ``paths`` are files, and folders, archives and Parquet files of images, as the command takes
    them; ``recursive`` also reads the folders in folders. One path alone may be a URL. Paths are
    read as they are needed, up to 512 ahead, so that they may come from an endless iterator.
    ``model`` is a model or the path or URL of its file; ``threshold`` (default: the model's) is the
    probability above which an image is positive. ``limits`` are what is refused before it is
    decoded, ``workers`` the processes that decode. Raises ModelError, SettingsError, and TypeError
    for what is no path.

    >>> import numpy as np
    >>> for image in predict(["none.png"], Model(np.zeros((12288, 1)), 0.0)):
    ...     print(image.path, image.label or image.error)
    none.png there is no such file
    """
    if threshold is not None and not 0.0 <= threshold <= 1.0:
        raise SettingsError(f"`threshold={threshold}` is not between 0 and 1")
    if not isinstance(model, Model):
        from catclf.model.file import load

        model = load(Path(model))
    alone = isinstance(paths, str | bytes | os.PathLike)
    given = paths if isinstance(paths, Iterable) and not alone else [paths]
    names: Iterable[str] = (os.fsdecode(path) for path in given)  # type: ignore[arg-type]
    if isinstance(given, list | tuple):
        names = list(names)  # few are decoded without any other process
    limits = limits or Limits()
    inputs = read_inputs(
        names, recursive=recursive, limit=limits.file_bytes, lists=False, remote=alone
    )
    decoded = decode_batches(inputs, model.preprocess, limits, workers)
    return (found for batch in predict_batches(decoded, model, threshold) for found in batch)


def predict_batches(
    decoded: Generator[list[Outcome], None, None],
    model: Model,
    threshold: float | None = None,
    others: Sequence[Model] = (),
) -> Generator[list[Prediction], None, None]:
    """Predictions of decoded images in lists as they are ready, one product for each list.

    ``others`` are further models, whose features are computed once where they are the same.
    """
    slow = model.features is not None and model.features.streams
    with closing(decoded) as batches:
        for batch in batches:
            # Where it takes long to score them, many images would wait for the last.
            for rows in cut(slice(0, len(batch)), SLOW_AT_ONCE if slow else max(1, len(batch))):
                yield _predictions(batch[rows], [model, *others], threshold)


def _predictions(
    batch: list[Outcome], models: Sequence[Model], threshold: float | None
) -> list[Prediction]:
    images = [result for _, result in batch if not isinstance(result, ImageError)]
    scored: Iterator[tuple[list[float], float, float | None]] = iter(())
    if images:
        judged = judged_by(models, np.stack(images))
        A = sigmoid(np.concatenate([Z for Z, _ in judged])).T.tolist()
        Z, known = judged[0]
        similar = [None] * len(A) if known is None else known.tolist()
        scored = zip(A, Z[0].tolist(), similar, strict=True)
    model, predictions = models[0], []
    for path, result in batch:
        if isinstance(result, ImageError):
            predictions.append(Prediction(path, error=str(result), kind=result.kind))
            continue
        (probability, *rest), z, similarity = next(scored)
        positive = z > model.boundary if threshold is None else probability > threshold
        label = model.classes[positive]
        found = Prediction(path, label, probability, z, positive, others=tuple(rest))
        if similarity is not None and model.similarity:
            found.similarity = round(similarity, 6)
            found.unlike = similarity < model.similarity.limit
        predictions.append(found)
    return predictions
