"""A classifier of images that scikit-learn's tools take: the one door to scikit-learn.

    from catclf.sklearn import PictureClassifier

    classifier = PictureClassifier("hog").fit(images, labels)

Needs the extra ``sklearn``; nothing else in the package imports this module.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin  # noqa: TID251
from sklearn.utils.multiclass import check_classification_targets, type_of_target  # noqa: TID251
from sklearn.utils.validation import check_is_fitted, validate_data  # noqa: TID251

from catclf.datasets import ReadOptions, to_dataset
from catclf.datasets import memory as held
from catclf.errors import DataError, ImageError, ModelError, SettingsError
from catclf.features.prepare import Encoded
from catclf.features.standardize import Standardizer
from catclf.images.pool import decode_all
from catclf.maths import Floats, logit, sigmoid
from catclf.model import Model
from catclf.model.file import load as load_model
from catclf.model.file import save as save_model
from catclf.model.model import score_rows
from catclf.samples import Images, Labelled
from catclf.settings import FEATURE_RATE, Open, Settings
from catclf.splits import split
from catclf.text import printable
from catclf.training import solve, train
from catclf.training.automatic import resolve

_AT_ONCE = 256  # image files that are decoded before they are scored
_LABELS: dict[str, Callable[[str], Any]] = {
    "b": lambda text: text == "True",
    "i": int,
    "u": int,
    "f": float,
    "U": str,
    "O": str,
}


class PictureClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # has no types
    """Logistic regression on images, with the methods and rules of scikit-learn's estimators.

    X: images uint8 (m, height, width, 3), or paths of image files, or rows of numbers (m, n) that
    other steps of a pipeline made, which are standardised. y: two labels of any kind; the second
    in their order is positive. The parameters are those of ``catclf.train`` and ``Settings``;
    ``size`` and ``image_fit`` say how images are brought to one size, None stands for a default.

    After ``fit``: ``classes_`` (2,), ``coef_`` (1, n), ``intercept_`` (1,), ``n_iter_``, and for
    images ``model_``, a ``catclf.Model``.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> images = rng.integers(0, 128, (20, 16, 16, 3), dtype=np.uint8)
    >>> images[:10] += 100
    >>> classifier = PictureClassifier("hog").fit(images, ["day"] * 10 + ["night"] * 10)
    >>> classifier.predict(images[[0, 19]])
    array(['day', 'night'], dtype='<U5')
    """

    def __init__(
        self,
        features: str = "pixels",
        *,
        flip: bool | None = None,
        l2: Open = None,
        threshold: Open = None,
        solver: str | None = None,
        learning_rate: float | None = None,
        schedule: str = "constant",
        iterations: int = 2000,
        batch_size: int = 0,
        class_weight: str | None = None,
        validation: float = 0.0,
        patience: int = 10,
        seed: int = 0,
        size: int | None = None,
        image_fit: str = "squash",
        workers: int | None = None,
    ) -> None:
        self.features = features
        self.flip = flip
        self.l2 = l2
        self.threshold = threshold
        self.solver = solver
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.iterations = iterations
        self.batch_size = batch_size
        self.class_weight = class_weight
        self.validation = validation
        self.patience = patience
        self.seed = seed
        self.size = size
        self.image_fit = image_fit
        self.workers = workers

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.string = True  # paths
        return tags

    def fit(self, X: Any, y: ArrayLike) -> PictureClassifier:
        """Train from zero weights. Raises ValueError for X and y that are not sound, and what
        ``catclf.train`` raises.
        """
        rows = _are_rows(X)
        if rows:
            X, y = validate_data(self, X, y, dtype=np.float64)
        else:
            y = validate_data(self, X="no_validation", y=y)
        check_classification_targets(y)
        self.classes_, numbers = np.unique(np.asarray(y), return_inverse=True)
        if len(self.classes_) == 1:
            raise ValueError(f"y has 1 class, {self.classes_[0]!r}: two are needed")
        if len(self.classes_) > 2:
            raise ValueError(
                "Only binary classification is supported. The type of the target is "
                f"{type_of_target(y)}: it has {len(self.classes_)} classes"
            )
        if rows:
            self._fit_rows(X, numbers)
        else:
            self._fit_images(X, numbers)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """The label of each image, (m,)."""
        positive = self.decision_function(X) > 0
        return np.asarray(self.classes_[positive.astype(np.intp)])

    def predict_proba(self, X: Any) -> Floats:
        """The probabilities of both classes, (m, 2), in the order of ``classes_``."""
        a = sigmoid(self._scores(X))[0]
        return np.stack([1.0 - a, a], axis=1)

    def decision_function(self, X: Any) -> Floats:
        """z less the score of the threshold, (m,): above 0 the second class is predicted."""
        return np.asarray(self._scores(X)[0] - self._boundary)

    def save(self, path: str | Path) -> None:
        """Write a model file, which the command line reads, too; no pickle.

        Raises ModelError for labels that a file cannot hold, and after training on rows.
        """
        check_is_fitted(self)
        if not hasattr(self, "model_"):
            raise ModelError("this classifier was trained on rows: a model file is for images")
        values = self.classes_.tolist()
        kind = self.classes_.dtype.kind
        if kind not in _LABELS or (kind == "O" and not all(type(v) is str for v in values)):
            raise ModelError(f"labels {values[0]!r} and {values[1]!r}: a file holds text, numbers")
        training = self.model_.training
        facts = {"labels": kind, "parameters": self.get_params()}
        settings = training.settings | {"sklearn": facts}
        save_model(self.model_.with_training(replace(training, settings=settings)), path)

    @classmethod
    def load(cls, path: str | Path) -> PictureClassifier:
        """A fitted classifier from any model file. Raises ModelError."""
        model = load_model(path)
        facts = model.training.settings.get("sklearn", {})
        try:
            classifier = cls(**facts.get("parameters", {}))
            to_label = _LABELS[facts.get("labels", "U")]
            classes = np.array([to_label(name) for name in model.classes])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{printable(path)}: has labels of an unknown kind") from error
        classifier.classes_ = classes
        return classifier._fitted(model.w, model.b, model.boundary, model.training.steps, model)

    def _fit_images(self, X: Any, numbers: NDArray[np.intp]) -> None:
        names = str(self.classes_[0]), str(self.classes_[1])
        reading = ReadOptions(size=self.size, fit=self.image_fit, workers=self.workers)
        data = to_dataset(held.read(X, numbers, reading).split())
        model = train(
            replace(data, classes=names),
            self._settings(),
            workers=self.workers,
        )
        self._fitted(model.w, model.b, model.boundary, model.training.steps, model)

    def _fit_rows(self, X: Floats, numbers: NDArray[np.intp]) -> None:
        if self.features != "pixels" or self.flip:
            raise SettingsError("`features` and `flip` are for images, and X are rows of numbers")
        standard = Standardizer.of(X)
        rows = ((X - standard.mean) * standard.factor).astype(np.float32)
        settings = replace(
            self._settings(),
            l2=0.0 if self.l2 is None else self.l2,
            learning_rate=FEATURE_RATE if self.learning_rate is None else self.learning_rate,
        )
        data: Labelled = Encoded(rows, numbers.astype(np.float64)[None], "rows", "")
        held_out: Labelled | None = None
        if settings.validation:
            data, held_out = split(data, settings.validation, settings.seed)
        chosen = resolve(settings, data, workers=self.workers)
        fit = solve(data, chosen.settings, validation=held_out, workers=self.workers)
        w, b = standard.fold(fit.w, fit.b - chosen.shift)
        z = chosen.z_threshold
        self._fitted(w, b, logit(chosen.threshold) if z is None else z, fit.steps)

    def _fitted(
        self, w: Floats, b: float, boundary: float, steps: int, model: Model | None = None
    ) -> PictureClassifier:
        self.coef_, self.intercept_ = w.T, np.array([b])
        self.n_iter_, self._boundary = max(1, steps), boundary
        if model is not None:
            self.model_ = model
        elif hasattr(self, "model_"):
            del self.model_  # of an earlier fit, on images
        return self

    def _settings(self) -> Settings:
        names = (each.name for each in fields(Settings) if hasattr(self, each.name))
        given = {name: getattr(self, name) for name in names}
        return Settings(**given | {"class_weight": self.class_weight or "none"})

    def _scores(self, X: Any) -> Floats:
        """Z (1, m)."""
        check_is_fitted(self)
        if not hasattr(self, "model_"):
            X = validate_data(self, X, dtype=np.float64, reset=False)
            return score_rows(X, self.coef_.T, float(self.intercept_[0]))
        parts = [self.model_.scores(block) for block in self._blocks(X)]
        return np.concatenate([np.empty((1, 0)), *parts], axis=1)

    def _blocks(self, X: Any) -> Iterator[Images]:
        """Images as the model takes them. Raises DataError."""
        if held.is_pixels(X):
            yield held.resized(held.as_images(X)[0], self.model_.preprocess)
            return
        paths = held.paths_of(X)
        for start in range(0, len(paths), _AT_ONCE):
            images = []
            block = paths[start : start + _AT_ONCE]
            for path, found in decode_all(block, self.model_.preprocess, workers=self.workers):
                if isinstance(found, ImageError):
                    raise DataError(f"{printable(path)}: {found}") from found
                images.append(found)
            yield np.stack(images)


def _are_rows(X: Any) -> bool:
    """Whether X is rows of numbers, or what is neither that nor images nor paths."""
    dimensions = X.ndim if hasattr(X, "ndim") else np.asarray(X).ndim
    if dimensions == 1 and len(X):
        return not isinstance(next(iter(X)), str | os.PathLike)
    return dimensions != 4
