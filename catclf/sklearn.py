"""A classifier of images that scikit-learn's tools take: the one door to scikit-learn.

    from catclf.sklearn import ImageClassifier

    classifier = ImageClassifier("hog").fit(images, labels)

Needs the extra ``sklearn``; nothing else in the package imports this module.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin  # noqa: TID251
from sklearn.exceptions import ConvergenceWarning  # noqa: TID251
from sklearn.utils.multiclass import check_classification_targets, type_of_target  # noqa: TID251
from sklearn.utils.validation import check_is_fitted, validate_data  # noqa: TID251

from catclf.datasets import ReadOptions, to_dataset
from catclf.datasets import memory as held
from catclf.datasets.digests import digests_of, grouping
from catclf.errors import (
    CatclfError,
    DataError,
    DivergedError,
    ModelError,
    SettingsError,
)
from catclf.features.rows import Encoded
from catclf.maths import Floats, sigmoid
from catclf.model import Model
from catclf.model.file import load as load_model
from catclf.model.file import save as save_model
from catclf.model.model import score_rows
from catclf.samples import Labelled, split
from catclf.settings import FEATURE_RATE, Settings
from catclf.text import printable
from catclf.training import Fit, prepare_job, solve
from catclf.training.pipeline import resolve
from catclf.training.solvers import StopReason

CONSTANT = 1e-12  # of the mean of a column: what varies less is constant
_OF_COMMANDS = ("print_every", "method", "cache")  # settings that are no parameters here
_SETTINGS = {each.name: each.default for each in fields(Settings) if each.name not in _OF_COMMANDS}
_DEFAULTS: dict[str, Any] = {
    **{"features": "pixels", **_SETTINGS, "class_weight": None},
    **{"size": None, "image_fit": "squash", "positive": None, "workers": None},
}
_ANY_PLACE, _BY_NAME = Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY
_SIGNATURE = Signature(
    [
        Parameter("self", _ANY_PLACE),
        *(
            Parameter(name, _ANY_PLACE if name == "features" else _BY_NAME, default=default)
            for name, default in _DEFAULTS.items()
        ),
    ]
)


class ImageClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # has no types
    """Logistic regression on images, with the methods and rules of scikit-learn's estimators.

    X: images uint8 (m, height, width, 3), or paths of image files, or rows of numbers (m, n) that
    other steps of a pipeline made, which are standardised. y: two labels of any kind; the positive
    one is ``positive``, or the second in their order. The parameters are those of ``catclf.train``;
    ``size`` and ``image_fit`` say how images are brought to one size, None stands for a default;
    ``class_weight`` is None, "balanced" or a weight for each label.

    After ``fit``: ``classes_`` (2,), ``coef_`` (1, n), ``intercept_`` (1,), ``n_iter_``, and for
    images ``model_``, a ``catclf.Model``.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> images = rng.integers(0, 128, (20, 16, 16, 3), dtype=np.uint8)
    >>> images[:10] += 100
    >>> classifier = ImageClassifier("hog").fit(images, ["day"] * 10 + ["night"] * 10)
    >>> classifier.predict(images[[0, 19]])
    array(['day', 'night'], dtype='<U5')
    """

    def __init__(self, *values: Any, **named: Any) -> None:
        given = dict(_SIGNATURE.bind(self, *values, **named).arguments)
        del given["self"]
        for name, value in (_DEFAULTS | given).items():
            setattr(self, name, value)

    __init__.__signature__ = _SIGNATURE  # type: ignore[attr-defined]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.string = True  # paths
        return tags

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> ImageClassifier:
        """Train from zero weights.

        ``sample_weight`` (m,) multiplies the losses of the images, those of ``class_weight``
        besides. Warns with ConvergenceWarning where ``iterations`` end before the optimum. Raises
        ValueError for X and y that are not sound, which also is what ``catclf.train`` raises.
        """
        X, rows = _as_given(X)
        if rows:
            X, y = validate_data(self, X, y, dtype=np.float64)
        else:
            y = validate_data(self, X="no_validation", y=y)
        check_classification_targets(y)
        self.classes_, numbers = np.unique(np.asarray(y), return_inverse=True)
        if len(self.classes_) != 2:
            count = f"{len(self.classes_)} class{'es' * (len(self.classes_) > 1)}"
            raise ValueError(
                "Only binary classification is supported. The type of the target is "
                f"{type_of_target(y)}: it has {count}"
            )
        if self.positive is not None and self.positive not in self.classes_.tolist():
            raise ValueError(f"positive={self.positive!r} is none of {self.classes_.tolist()}")
        self._sign = -1 if self.positive == self.classes_[0] and self.positive is not None else 1
        weights = self._weights(sample_weight, numbers)
        Y = (numbers if self._sign > 0 else 1 - numbers).astype(np.float64)[None]
        if weights is not None:
            X, Y, weights = _with_weight(X, Y, weights)
        with _value_errors():
            fit = self._fit_rows(X, Y, weights) if rows else self._fit_images(X, Y, weights)
        if fit.reason is StopReason.LIMIT:
            warnings.warn(
                f"{fit.settings.solver} ended after {fit.steps} iterations, short of the optimum: "
                "try more iterations, or a larger l2",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """The label of each image, (m,): the positive one above ``threshold``.

        Other classifiers of scikit-learn predict at probability 0.5; this one where its
        ``threshold`` is, and ``decision_function`` is 0 there.
        """
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
        labels = self.classes_[:: self._sign].tolist()
        if not all(type(label) in (bool, int, float, str) for label in labels):
            raise ModelError(f"labels {labels[0]!r} and {labels[1]!r}: a file holds text, numbers")
        training, parameters = self.model_.training, self.get_params()
        if isinstance(self.class_weight, Mapping):
            parameters["class_weight"] = None  # which no file of this kind holds
        facts = {"labels": labels, "parameters": parameters}
        settings = training.settings | {"sklearn": facts}
        save_model(replace(self.model_, training=replace(training, settings=settings)), path)

    @classmethod
    def load(cls, path: str | Path) -> ImageClassifier:
        """A fitted classifier from any model file. Raises ModelError."""
        model = load_model(path)
        try:
            facts = model.training.settings.get("sklearn", {})
            classifier = cls(**facts.get("parameters", {}))
            first, second = facts.get("labels", model.classes)
            classifier.classes_, classifier._sign = np.array([first, second]), 1
        except (AttributeError, TypeError, ValueError) as error:
            raise ModelError(f"{printable(path)}: has parameters of an unknown kind") from error
        return classifier._fitted(model.w, model.b, model.boundary, model.training.steps, model)

    def _weights(self, sample_weight: ArrayLike | None, numbers: NDArray[np.intp]) -> Floats | None:
        """The weight of each image (m,), by itself and by its class; None where all are 1."""
        of_class = self.class_weight if isinstance(self.class_weight, Mapping) else None
        if sample_weight is None and of_class is None:
            return None
        m = len(numbers)
        v = np.ones(m) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        if v.ndim == 0:
            v = np.full(m, float(v))
        if v.shape != (m,) or not (np.isfinite(v).all() and (v >= 0).all()):
            raise ValueError(f"sample_weight {v.shape}: ({m},) numbers of at least 0 are needed")
        if of_class is not None:
            v = v * np.array([float(of_class.get(k, 1.0)) for k in self.classes_.tolist()])[numbers]
        if not (v[numbers == 0].any() and v[numbers == 1].any()):
            raise ValueError("sample_weight: all weights of one class are zero")
        return v

    def _fit_images(self, X: Any, Y: Floats, weights: Floats | None) -> Fit:
        first, second = map(str, self.classes_[:: self._sign])
        options = ReadOptions(size=self.size, fit=self.image_fit, workers=self.workers)
        data = to_dataset(held.read(X, Y[0].astype(np.int64), options).split())
        data = replace(data, classes=(first, second))
        v, settings = _scaled(weights, self._settings())
        trained = prepare_job(data, settings, weights=v, workers=self.workers).run()
        model = trained.model
        self._fitted(model.w, model.b, model.boundary, model.training.steps, model)
        return trained.fit

    def _fit_rows(self, X: Floats, Y: Floats, weights: Floats | None) -> Fit:
        settings = self._settings()
        if self.features != "pixels" or self.flip:
            raise SettingsError("`features` and `flip` are for images, and X are rows of numbers")
        rate = FEATURE_RATE if self.learning_rate is None else self.learning_rate
        settings = replace(settings, l2=self.l2 or 0.0, learning_rate=rate)
        groups = grouping(digests_of(X), Y[0]).groups
        kept, out = np.arange(len(X)), None
        if settings.validation:
            labelled = Encoded(X, Y, "rows", "")
            some, others = split(labelled, settings.validation, settings.seed, groups)
            kept, out = some.rows, others.rows
        v = None if weights is None else weights[kept]
        mean, factor = _standard(X[kept], v)

        def standardized(rows: NDArray[np.intp]) -> Labelled:
            scaled = ((X[rows] - mean) * factor).astype(np.float32)
            return Encoded(scaled, Y[:, rows], "rows", "")

        data, held_out = standardized(kept), None if out is None else standardized(out)
        v, settings = _scaled(v, settings)
        chosen = resolve(settings, data, groups=groups[kept], weights=v, workers=self.workers)
        fit = solve(data, chosen.settings, validation=held_out, weights=v, workers=self.workers)
        w = fit.w * factor[:, None]
        b = fit.b - float(mean @ w[:, 0]) - chosen.shift
        self._fitted(w, b, chosen.boundary, fit.steps)
        return fit

    def _fitted(
        self, w: Floats, b: float, boundary: float, steps: int, model: Model | None = None
    ) -> ImageClassifier:
        """Keep weights of the positive label as those of the second class."""
        self.coef_, self.intercept_ = self._sign * w.T, np.array([self._sign * b])
        self.n_iter_, self._boundary = max(1, steps), self._sign * boundary
        if model is not None:
            self.model_ = model
        elif hasattr(self, "model_"):
            del self.model_  # of an earlier fit, on images
        return self

    def _settings(self) -> Settings:
        given = {name: getattr(self, name) for name in ("features", *_SETTINGS)}
        if not isinstance(self.class_weight, str):
            given["class_weight"] = "none"
        return Settings(**given)

    def _scores(self, X: Any) -> Floats:
        """Scores (1, m) of the second class."""
        check_is_fitted(self)
        X, _ = _as_given(X)
        if not hasattr(self, "model_"):
            X = validate_data(self, X, dtype=np.float64, reset=False)
            return score_rows(X, self.coef_.T, float(self.intercept_[0]))
        image = self.model_.preprocess
        options = ReadOptions(
            size=image.size, fit=image.fit, workers=self.workers, every_class=False
        )
        with _value_errors():
            listing = held.read(X, np.zeros(len(X), np.int64), options).split()
            parts = [self.model_.scores(block) for _, block in listing.blocks()]
        return np.asarray(self._sign * np.concatenate([np.empty((1, 0)), *parts], axis=1))


PictureClassifier = ImageClassifier  # its name in scripts of before


def _as_given(X: Any) -> tuple[Any, bool]:
    """X, of a table of one column of paths that column, and whether they are rows of numbers.

    Neither images nor paths are rows, and so is what scikit-learn refuses.
    """
    listed = isinstance(X, list | tuple) and bool(X)
    array = np.asarray(X[0] if listed else X)
    dimensions = array.ndim + listed
    if not listed and array.shape[1:] == (1,) and _are_paths(array[:, 0]):
        X, dimensions = array[:, 0], 1
    if dimensions == 1 and len(X):
        return X, not _are_paths(X)
    return X, dimensions not in (3, 4) or (dimensions == 3 and not listed)


def _are_paths(values: Any) -> bool:
    return isinstance(next(iter(values), None), str | os.PathLike)


def _with_weight(X: Any, Y: Floats, weights: Floats) -> tuple[Any, Floats, Floats]:
    """The images or rows that count, their labels (1, k) and their weights (k,)."""
    rows = np.flatnonzero(weights)
    if len(rows) < len(weights):
        listed = X if isinstance(X, np.ndarray) else list(X)
        X = listed[rows] if listed is X else [listed[row] for row in rows]
    return X, Y[:, rows], weights[rows]


def _standard(X: Floats, v: Floats | None) -> tuple[Floats, Floats]:
    """Mean and factor (n,) by which rows X (m, n) are standardised, with weights v (m,).

    In float64, in units of each column. A column that varies by no more than 1e-12 of its mean is
    constant, and counts for nothing. A row's squared length is about 1 on average.
    """
    v = np.full(len(X), 1.0 / len(X)) if v is None else v / v.sum()
    mean = v @ X
    apart = X - mean
    largest = np.abs(apart).max(axis=0)
    constant = largest <= CONSTANT * np.abs(mean)
    largest[constant] = 1.0
    std = largest * np.sqrt(v @ np.square(apart / largest))
    constant |= std <= CONSTANT * np.abs(mean)
    factor = np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, std))
    return mean, factor / np.sqrt(len(mean))


def _scaled(v: Floats | None, settings: Settings) -> tuple[Floats | None, Settings]:
    """Weights (1, m) of mean 1, and a penalty that is given as much larger: the optimum stays."""
    if v is None:
        return None, settings
    scale, l2 = len(v) / float(v.sum()), settings.fixed_l2
    return scale * v[None], settings if l2 is None else replace(settings, l2=scale * l2)


class DataValueError(DataError, ValueError):
    """Images or labels that are not sound."""


class SettingsValueError(SettingsError, ValueError):
    """Parameters that make no sense."""


class DivergedValueError(DivergedError, ValueError):
    """The cost grew without end."""


_VALUE_ERRORS: dict[type[CatclfError], type[CatclfError]] = {
    DataError: DataValueError,
    SettingsError: SettingsValueError,
    DivergedError: DivergedValueError,
}


@contextmanager
def _value_errors() -> Iterator[None]:
    """Errors of this package as ValueErrors, too, which scikit-learn's tools and users catch."""
    try:
        yield
    except CatclfError as error:
        if type(error) not in _VALUE_ERRORS:
            raise
        raise _VALUE_ERRORS[type(error)](str(error)) from error
