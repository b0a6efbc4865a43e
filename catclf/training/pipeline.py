"""From labelled images to a model: features, what is selected by itself, solving, evaluation."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from catclf.datasets import Dataset, ReadOptions, open_dataset, open_parts, open_source
from catclf.datasets.listing import SMALL
from catclf.errors import DataError, SettingsError
from catclf.features import class_of
from catclf.features.base import Phase, silent
from catclf.machine import cores, require_workers
from catclf.maths import Floats, logit, sigmoid
from catclf.maths.metrics import Counts, doubted
from catclf.maths.threads import RULE, SUMMED, Team, blas_threads
from catclf.model import Model, Training
from catclf.model.model import SAMPLE, Similarity, score_rows
from catclf.samples import (
    Indices,
    Labelled,
    Subset,
    possible_folds,
    scale_of,
    split,
    stratified_folds,
    stratified_sample,
)
from catclf.settings import AUTO, Settings
from catclf.training.crossval import (
    FOLDS,
    IMAGES_LIMIT,
    SMALLEST,
    Selection,
    best_threshold,
    descend_out_of_fold,
    objective_of,
    select,
    thresholds_of_others,
)
from catclf.training.objective import (
    GRAM_ROWS_LIMIT,
    Weights,
    all_rows,
    class_weights,
    gram,
    weights_of,
)
from catclf.training.run import Cluster, Fit, Validation, solve
from catclf.training.solvers import TRIAL, OnStep, ShouldStop

if TYPE_CHECKING:
    from catclf.datasets.dataset import EncoderOf
    from catclf.features.rows import Encoder
    from catclf.training.checkpoint import Checkpoints

SUSPECTS = 50  # labels that a model names
OUT_OF_FOLD_LIMIT = 4000  # images, whose K takes 128 MB

Notes = tuple[str, ...]  # lines to be shown


# What is trained on


def choose_features(source: Path, options: ReadOptions) -> tuple[str, str]:
    """The kind of features that suits the images of a source, and why. Raises DataError."""
    large = class_of("network").default_size
    found = open_source(source, replace(options, default_size=large))
    return features_for(found.split("train").preprocess.size)


def features_for(side: int) -> tuple[str, str]:
    """The kind of features that suits images with ``side`` pixels a side, and why.

    The network for photographs where its weights are installed, else patches.
    """
    from catclf.features.efficientnet import checkpoint_path

    if side <= SMALL:
        return "patches", f"the images have {side} pixels a side; network is for larger ones"
    try:
        checkpoint_path()
    except SettingsError as error:
        return "patches", f"network is better for photographs, but {error}"
    return "network", f"the images have more than {SMALL} pixels a side"


def encoder_for_training(settings: Settings, workers: int | None) -> EncoderOf | None:
    """What makes features of photographs as they come; None for features of other kinds.

    With ``cache`` they are only decoded, to know whether it holds their features. Raises
    SettingsError where the network's weights are not installed, before anything is read.
    """
    made = class_of(settings.features)
    if not made.streams:
        return None
    from catclf.features.rows import StreamEncoder

    made.of_size(made.default_size, settings.mirrors)  # the weights are there, or it is said now

    def encoder(size: int) -> StreamEncoder | None:
        if settings.cache is not None:
            return None
        return StreamEncoder(made.of_size(size, settings.mirrors), workers)

    return encoder


def _opened(
    source: Any, settings: Settings, workers: int | None
) -> tuple[Dataset, Dataset | None, Settings]:
    """What Python holds or a path names, as ``catclf train`` opens it.

    The training split, the test split if there is one, and settings with features that suit them.
    """
    options, named = ReadOptions(workers=workers), isinstance(source, str | os.PathLike)
    kind = settings.features
    if kind == AUTO:
        if isinstance(source, Dataset):
            kind, _ = features_for(source.size)
        else:
            kind, _ = choose_features(Path(source), options) if named else ("patches", "")
    settings = replace(settings, features=kind)
    if isinstance(source, Dataset):
        return source, None, settings
    encoder = encoder_for_training(settings, workers) if named else None
    options = replace(options, default_size=class_of(kind).default_size, encoder=encoder)
    if not named:
        return open_dataset(source, options=options), None, settings
    return *open_parts(open_source(source, options), None), settings


# What is selected by cross-validation


class Resolved(NamedTuple):
    """What was selected: settings and threshold, and what the model remembers of it.

    ``z_threshold`` is the score above which an image is positive, where it is no probability that
    was given; ``out_of_fold`` are the counts of the models of cross-validation. ``shift`` is what
    weights of classes add to every score, the log of their ratio: taken from b, it leaves the
    probabilities of the data. ``K`` is the Gram matrix of the data, where it was made. ``scored``
    are the rows (k,) that were cross-validated and the scores out of fold (1, k) by which their
    labels are judged.
    """

    settings: Settings
    threshold: float
    z_threshold: float | None
    recorded: dict[str, Any]
    out_of_fold: Counts | None = None
    shift: float = 0.0
    K: Floats | None = None
    notes: Notes = ()
    scored: tuple[Indices, Floats] | None = None

    @property
    def boundary(self) -> float:
        """The score z above which an image is positive."""
        return logit(self.threshold) if self.z_threshold is None else self.z_threshold


def score_shift(Y: Floats, v: Weights) -> float:
    """The log of the ratio of the weights of classes, for labels and weights (1, m)."""
    if v is None:
        return 0.0
    return math.log(float(v[Y > 0.5][0])) - math.log(float(v[Y < 0.5][0]))


def resolve(
    settings: Settings,
    data: Labelled,
    *,
    groups: Indices | None = None,
    weights: Weights = None,
    workers: int | None = None,
    phase: Phase | None = None,
) -> Resolved:
    """Select what ``settings`` leave open, by cross-validation on the training images alone.

    ``data`` are the images, or rows of features, that are trained on; those of one of ``groups``
    (m,) stay in one fold, and ``weights`` (1, m) multiply their losses. Raises SettingsError and
    DataError.
    """
    l2, threshold = settings.fixed_l2, settings.fixed_threshold
    recorded: dict[str, Any] = {"flip": True} if settings.plain and settings.mirrors else {}
    shift = score_shift(data.Y, class_weights(data.Y, settings.class_weight))
    z_threshold = -shift if settings.threshold is None and shift else None
    counts, K, scored, notes = None, None, None, Notes()
    if l2 is None or threshold is None:
        rows = _sampled(settings, data)
        some = data if len(rows) == len(data.images) else Subset(data, rows)
        alike = None if groups is None else groups[rows]
        v = weights_of(some.Y, settings.class_weight, None if weights is None else weights[:, rows])
        if settings.plain or len(rows) <= GRAM_ROWS_LIMIT:
            K = gram(all_rows(some.images), Team(workers or cores()))
        given: dict[str, Any] = {"l2": l2, "K": K, "groups": alike, "workers": workers}
        try:
            with (phase or silent)("choosing the penalty") as show:
                found = select(some, v, settings.seed, on_progress=show, **given)
        except DataError as error:
            if possible_folds(some.Y, 2, alike) > 1:
                raise
            if l2 is None:  # one that fits the scale of the features
                l2 = max(objective_of(some, None, K, workers).spread(), SMALLEST)
            notes += (f"λ = {l2:.4g} and the threshold are not selected: {error}",)
        else:
            l2, Y, Z = found.l2, some.Y, found.Z - shift
            scored, notes = (rows, found.sharp - shift), found.notes
            cuts: Floats | float = logit(threshold or 0.5) if z_threshold is None else z_threshold
            if threshold is None:
                z_threshold = best_threshold(Z, Y)
                cuts = thresholds_of_others(Z, Y, found.fold_of)
            counts = Counts.of(cuts < Z, Y > 0.5)
            recorded["chosen"] = _chosen(settings, found, counts)
        K = K if some is data else None
    if z_threshold is not None:
        threshold = float(sigmoid(np.array(z_threshold)))
    final = replace(settings.started(), l2=l2, solver=settings.solver or _solver(settings, l2))
    cut = 0.5 if threshold is None else threshold
    return Resolved(final, cut, z_threshold, recorded, counts, shift, K, notes, scored)


def _sampled(settings: Settings, data: Labelled) -> Indices:
    """What is cross-validated: all rows of features, or a sample of the images of pixels."""
    if settings.plain:
        return stratified_sample(data.Y, IMAGES_LIMIT, settings.seed)
    return np.arange(len(data.images))


def _chosen(settings: Settings, found: Selection, counts: Counts) -> dict[str, Any]:
    """What a model remembers of cross-validation."""
    fixed = {"l2": settings.fixed_l2, "threshold": settings.fixed_threshold}
    return {
        "names": [name for name, value in fixed.items() if value is None],
        "folds": int(found.fold_of.max()) + 1,
        "images": counts.total,
        "log_loss": found.losses[found.tried.index(found.l2)],
        "counts": asdict(counts),
    }


def _solver(settings: Settings, l2: float) -> str:
    """L-BFGS where penalty or threshold were selected for the optimum, else descent."""
    selected = settings.fixed_l2 is None or settings.fixed_threshold is None
    suits = (selected or not settings.plain) and l2 > 0
    steps = settings.batch_size or settings.schedule != "constant"
    return "lbfgs" if suits and not steps else "gd"


# Training


@dataclass(frozen=True)
class Trained:
    """A model, how it was trained, and how long solving took in seconds.

    ``out_of_fold`` counts the predictions of cross-validation, where there was one.
    """

    model: Model
    fit: Fit
    out_of_fold: Counts | None
    seconds: float
    notes: Notes = ()


def train(
    data: Any,
    settings: Settings | None = None,
    *,
    test: Dataset | None = None,
    validation: Dataset | None = None,
    workers: int | None = None,
    on_step: OnStep | None = None,
    **given: Any,
) -> Model:
    """Train a model on labelled images, from zero weights.

    ``data`` is a data set, or what ``open_dataset`` takes, such as the path of one: its test split
    is then evaluated, too, if it has one. ``settings`` are those of ``catclf.Settings``, and
    keywords go before them: ``features="hog"``, ``l2="auto"``. The cost on ``validation``, or on
    the fraction ``validation`` of ``settings``, selects the step whose weights are kept; nothing
    else sees those images. ``test`` is only evaluated. ``on_step(k, cost)`` is called with the cost
    after k updates. ``workers`` threads compute (default: one a core); the result does not depend
    on them.

    Raises SettingsError, DataError, DivergedError, and OutputError for the cache.
    """
    require_workers(workers)
    data, found, chosen = _opened(data, Settings.of(settings, given), workers)
    job = prepare_job(data, chosen, validation=validation, workers=workers)
    return job.run(test=test or found, on_step=on_step).model


@dataclass(frozen=True)
class Job:
    """A training run with everything resolved, ready to be solved.

    ``trained`` and ``held_out`` are what the solver sees: images, or rows of features. ``rows`` are
    the places in ``data`` of what is trained on, ``weights`` (1, m) those of its losses.
    """

    data: Dataset
    trained: Labelled
    held_out: Labelled | None
    encoder: Encoder | None
    resolved: Resolved
    workers: int | None
    settings: Settings
    groups: Indices | None
    notes: Notes
    rows: Indices
    weights: Weights

    def run(
        self,
        *,
        test: Dataset | None = None,
        on_step: OnStep | None = None,
        should_stop: ShouldStop | None = None,
        checkpoints: Checkpoints | None = None,
        cluster: Cluster | None = None,
        out_of_fold: bool = False,
        phase: Phase | None = None,
    ) -> Trained:
        """Solve, and evaluate on the training images and on ``test``. Raises as ``solve``.

        With ``out_of_fold``, where no image was held out by now, each fold is predicted by a model
        of the others, so that a figure is known of images that were not learned from.
        """
        began, resolved = perf_counter(), self.resolved
        fit = solve(
            self.trained,
            resolved.settings,
            on_step,
            should_stop,
            validation=self.held_out,
            weights=self.weights,
            K=resolved.K,
            adapts_rate=self.settings.plain and self.settings.learning_rate is None,
            workers=self.workers,
            checkpoints=checkpoints,
            cluster=cluster,
        )
        seconds, seen = perf_counter() - began, (self.trained, self.rows, self.encoder)
        model = build_model(fit, self.data, test, *seen, resolved, cluster)
        counts, notes = resolved.out_of_fold, self.notes + resolved.notes
        rate, asked = fit.settings.learning_rate, resolved.settings.learning_rate
        if rate != asked:
            notes += (
                f"with the usual learning rate of {asked:g} the cost is no lower after "
                f"{TRIAL} steps: training began again with {rate:.2g}",
            )
        if out_of_fold and not (test or self.held_out or counts or cluster or fit.interrupted):
            counts, more = self._out_of_fold(fit, model.boundary, should_stop, phase or silent)
            notes += more
        return Trained(model, fit, counts, seconds, notes)

    def _out_of_fold(
        self, fit: Fit, boundary: float, should_stop: ShouldStop | None, phase: Phase
    ) -> tuple[Counts | None, Notes]:
        """The counts of images by models of the other folds, or why there are none."""
        data, settings = self.trained, fit.settings
        m, limit = len(data.images), OUT_OF_FOLD_LIMIT if settings.plain else GRAM_ROWS_LIMIT
        descends = settings.solver == "gd"
        if (descends and settings.batch_size) or m > limit:
            return None, ()
        groups, notes = (self.groups, ()) if self.groups is not None else _grouped(self.data)
        folds = possible_folds(data.Y, FOLDS, groups)
        if folds < 2:
            return None, notes
        K = gram(all_rows(data.images), Team(self.workers or cores())) if fit.K is None else fit.K
        v, seed = weights_of(data.Y, settings.class_weight, self.weights), settings.seed
        Z: Floats | None
        with phase("predicting out of fold" if descends else "choosing the penalty") as show:
            if descends:
                fold_of = stratified_folds(data.Y, folds, seed, groups=groups)[0]
                Z = descend_out_of_fold(
                    K, data.Y, fold_of, settings, fit.steps, v, should_stop, show
                )
            else:
                Z = select(
                    *(data, v, seed),
                    l2=settings.l2,
                    K=K,
                    groups=groups,
                    workers=self.workers,
                    on_progress=show,
                ).Z
        if Z is None:
            return None, notes
        return Counts.of(boundary < Z - self.resolved.shift, data.Y > 0.5), notes


def prepare_job(
    data: Dataset,
    settings: Settings,
    *,
    validation: Dataset | None = None,
    workers: int | None = None,
    phase: Phase | None = None,
    groups: Indices | None = None,
    weights: Weights = None,
    cluster: Cluster | None = None,
) -> Job:
    """Hold validation images out, then learn features and select settings on the others alone.

    ``phase`` shows the progress of each part of the work; images of one of ``groups`` (m,; default:
    equal and similar ones, and those of one ``group`` of the data) are on one side of every
    division; ``weights`` (1, m) multiply the losses of the images; ``cluster`` makes and keeps the
    rows of features. Raises SettingsError, DataError, OutputError for a cache, and what ``cluster``
    raises.
    """
    images: Dataset | Subset = data
    others: Dataset | Subset | None = validation
    divides = validation is None and settings.validation
    rows, notes = np.arange(data.m), Notes()
    selects = settings.fixed_l2 is None or settings.fixed_threshold is None
    if groups is None and (divides or selects):
        groups, notes = _grouped(data)
    if divides:
        images, others = split(data, settings.validation, settings.seed, groups)
        rows = images.rows
        groups = None if groups is None else groups[rows]
        weights = None if weights is None else weights[:, rows]
    trained: Labelled = images
    held_out: Labelled | None = others
    encoder = None
    if settings.encodes:
        from catclf.features.rows import prepare

        encoder, trained = prepare(
            images,
            settings.features,
            flip=settings.mirrors,
            seed=settings.seed,
            workers=workers,
            cache=settings.cache,
            keeper=cluster,
            phase=phase,
        )
        held_out = others and encoder.encode(others, phase)
    resolved = resolve(
        settings, trained, groups=groups, weights=weights, workers=workers, phase=phase
    )
    made = encoder, resolved, workers, settings, groups, notes, rows, weights
    return Job(data, trained, held_out, *made)


def _grouped(data: Dataset) -> tuple[Indices, Notes]:
    """The group of each image, and lines on that."""
    found = data.grouping(FOLDS)
    return found.groups, found.notes


# The model


def build_model(
    fit: Fit,
    data: Dataset,
    test: Dataset | None = None,
    trained: Labelled | None = None,
    rows: Indices | None = None,
    encoder: Encoder | None = None,
    resolved: Resolved | None = None,
    cluster: Cluster | None = None,
) -> Model:
    """The model of a fit on ``data``, with its accuracy there and on ``test``.

    ``trained`` (default: ``data``) is what the solver was given, of these ``rows`` of the data
    (default: all); ``encoder`` made features of the images, where it did not see pixels.
    ``cluster`` counts on the training images.
    """
    resolved = resolved or Resolved(fit.settings, 0.5, None, {})
    w, b = encoder.standard.fold(fit.w, fit.b) if encoder else (fit.w, fit.b)
    held, shift, boundary = fit.validation, resolved.shift, resolved.boundary
    seen = held.trained if held else trained or data
    if cluster is None:
        counts = _counts(fit, seen, boundary + shift)
    else:
        counts = cluster.counts(seen, fit.w, fit.b - shift, boundary)
    model = Model(
        w=w,
        b=b - shift,
        preprocess=data.preprocess,
        classes=data.classes,
        threshold=resolved.threshold,
        z_threshold=resolved.z_threshold,
        costs=fit.costs,
        cost_steps=fit.cost_steps,
        features=encoder.features if encoder and encoder.features.kept else None,
        digests=data.kept_digests(rows),
        similarity=_similarity(encoder, seen, fit.settings.seed),
    )
    training = Training(
        source=data.source,
        fingerprint=data.fingerprint,
        images=len(seen.images),
        positives=int(seen.Y.sum()),
        steps=fit.steps,
        interrupted=fit.interrupted,
        ended=fit.ended,
        settings=_remembered(fit.settings, resolved, data),
        train=counts,
        test=model.counts(test.images, test.Y) if test else None,
        validation=_validated(fit, held, boundary + shift) if held else {},
        suspects=_suspects(data, np.arange(data.m) if rows is None else rows, resolved),
    )
    return replace(model, training=training)


def _similarity(encoder: Encoder | None, seen: Labelled, seed: int) -> Similarity | None:
    """How like an image is to those of training, where the features know."""
    if encoder is None or not encoder.features.knows_images:
        return None
    sample = encoder.sample(seen.images, SAMPLE, seed)
    with blas_threads(1):
        return Similarity.learn(sample, encoder.standard.mean, seed)


def _remembered(settings: Settings, resolved: Resolved, data: Dataset) -> dict[str, Any]:
    """The settings that a model remembers, with the rule by which parts of the data were summed.

    Those solved on the Gram matrix need none: they have no parts. Shards that were left out of the
    data because they were damaged are named.
    """
    rule: dict[str, Any] = {"summation": RULE} if settings.method in SUMMED else {}
    if left_out := getattr(data.images, "left_out", ()):
        rule["left_out"] = list(left_out)
    return settings.to_dict() | rule | resolved.recorded


def _suspects(data: Dataset, rows: Indices, resolved: Resolved) -> dict[str, Any]:
    """What a model remembers of labels that are probably wrong."""
    if resolved.scored is None:
        return {}
    places, Z = rows[resolved.scored[0]], resolved.scored[1]
    order, probabilities, sure = doubted(Z, data.Y[:, places])
    first = []
    for i, p in zip(order[sure][:SUSPECTS].tolist(), probabilities.tolist(), strict=False):
        row = int(places[i])
        label = int(data.Y[0, row] > 0.5)
        name = data.names[row] if data.names else None
        first.append([row, name, data.classes[label], data.classes[1 - label], p])
    return {"looked_at": len(places), "count": int(sure.sum()), "first": first}


def _counts(fit: Fit, data: Labelled, boundary: float) -> Counts:
    """The confusion counts on images, or rows, like those that were trained on."""
    Z: Floats = score_rows(data.images, fit.w / scale_of(data.images), fit.b)
    return Counts.of(np.greater(Z, boundary), data.Y > 0.5)


def _validated(fit: Fit, held: Validation, boundary: float) -> dict[str, Any]:
    """What a model remembers of the images that its step was selected by."""
    return {
        "source": getattr(held.held_out, "source", ""),
        "best_step": held.best_step,
        "best_cost": held.best_cost,
        "costs": list(held.costs),
        "cost_steps": list(held.cost_steps),
        "counts": asdict(_counts(fit, held.held_out, boundary)),
    }
