"""From labelled images to a model: features, what is selected by itself, solving, evaluation."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from catclf.datasets import Dataset
from catclf.machine import cores, require_workers
from catclf.maths import Floats
from catclf.maths.metrics import Counts, doubted
from catclf.maths.reduction import RULE, SUMMED
from catclf.maths.threads import Team, blas_threads
from catclf.model import Model, Training
from catclf.model.model import SAMPLE, Similarity, score_rows
from catclf.samples import Indices, Labelled, Subset, scale_of
from catclf.settings import AUTO, Settings
from catclf.splits import possible_folds, split, stratified_folds
from catclf.training.automatic import Phase, Resolved, Sample, cross_validate, resolve
from catclf.training.crossval import FOLDS, descend_out_of_fold
from catclf.training.kernels import Weights
from catclf.training.objective import GRAM_ROWS_LIMIT, all_rows, gram, weights_of
from catclf.training.run import Cluster, Fit, Validation, solve
from catclf.training.solvers import TRIAL, OnStep, ShouldStop

if TYPE_CHECKING:
    from catclf.features.rows import Encoded, Encoder
    from catclf.training.checkpoint import Checkpoints

SUSPECTS = 50  # labels that a model names
OUT_OF_FOLD_LIMIT = 4000  # images, whose K takes 128 MB


@dataclass(frozen=True)
class Trained:
    """A model, how it was trained, and how long solving took in seconds.

    ``out_of_fold`` counts the predictions of cross-validation, where there was one; ``notes`` are
    lines to be shown.
    """

    model: Model
    fit: Fit
    out_of_fold: Counts | None
    seconds: float
    notes: tuple[str, ...] = ()


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
    chosen = Settings.of(settings, given)
    if not isinstance(data, Dataset):
        from catclf.training.choice import open_source_for_training

        data, found, chosen = open_source_for_training(data, chosen, workers)
        test = test or found
    elif chosen.features == AUTO:
        from catclf.training.choice import features_for

        chosen = replace(chosen, features=features_for(data.size)[0])
    job = prepare_job(data, chosen, validation=validation, workers=workers)
    return job.run(test=test, on_step=on_step).model


@dataclass(frozen=True)
class Job:
    """A training run with everything resolved, ready to be solved.

    ``trained`` and ``held_out`` are what the solver sees: images, or rows of features.
    """

    data: Dataset
    trained: Labelled
    held_out: Labelled | None
    encoder: Encoder | None
    resolved: Resolved
    workers: int | None
    settings: Settings
    groups: Indices | None = None
    notes: tuple[str, ...] = ()
    rows: Indices | None = None  # of ``data`` that are trained on
    weights: Weights = None  # of their losses, (1, m)

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
        began = perf_counter()
        fit = solve(
            self.trained,
            self.resolved.settings,
            on_step,
            should_stop,
            validation=self.held_out,
            weights=self.weights,
            K=self.resolved.K,
            adapts_rate=self.settings.plain and self.settings.learning_rate is None,
            workers=self.workers,
            checkpoints=checkpoints,
            cluster=cluster,
        )
        seconds = perf_counter() - began
        model = build_model(
            fit,
            self.data,
            test,
            trained=self.trained,
            encoder=self.encoder,
            resolved=self.resolved,
            cluster=cluster,
            rows=self.rows,
        )
        counts, notes = self.resolved.out_of_fold, self.notes + self.resolved.notes
        if fit.rate != (asked := self.resolved.settings.learning_rate):
            notes += (
                f"with the usual learning rate of {asked:g} the cost is no lower after "
                f"{TRIAL} steps: training began again with {fit.rate:.2g}",
            )
        if out_of_fold and not (test or self.held_out or counts or cluster or fit.interrupted):
            counts, more = self._out_of_fold(fit, model.boundary, should_stop, phase)
            notes += more
        return Trained(model, fit, counts, seconds, notes)

    def _out_of_fold(
        self, fit: Fit, boundary: float, should_stop: ShouldStop | None, phase: Phase | None
    ) -> tuple[Counts | None, tuple[str, ...]]:
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
        v = weights_of(data.Y, settings.class_weight, self.weights)
        if not descends:
            sample = Sample(data, np.arange(m), K, v)
            Z = cross_validate(settings, sample, settings.l2, groups, self.workers, phase).Z
        else:
            fold_of = stratified_folds(data.Y, folds, settings.seed, groups=groups)[0]
            rate = replace(settings, learning_rate=fit.rate).rate
            silent: Any = nullcontext(lambda step, of: None)
            with phase("predicting out of fold") if phase else silent as on_progress:
                found = descend_out_of_fold(
                    K, data.Y, fold_of, rate, fit.steps, settings.l2, v, should_stop, on_progress
                )
            if found is None:
                return None, notes
            Z = found
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
    notes = tuple[str, ...]()
    if groups is None and (
        divides or settings.fixed_l2 is None or settings.fixed_threshold is None
    ):
        groups, notes = _grouped(data)
    if divides:
        images, others = split(data, settings.validation, settings.seed, groups)
        groups = None if groups is None else groups[images.rows]
        weights = None if weights is None else weights[:, images.rows]
    trained: Labelled = images
    held_out: Labelled | None = others
    encoder = None
    if settings.encodes:
        encoder, trained = _encode(images, settings, workers, phase, cluster)
        held_out = others and encoder.encode(others, phase)
    resolved = resolve(
        settings, trained, groups=groups, weights=weights, workers=workers, phase=phase
    )
    rows = np.arange(data.m) if isinstance(images, Dataset) else images.rows
    made = encoder, resolved, workers, settings, groups, notes, rows, weights
    return Job(data, trained, held_out, *made)


def _grouped(data: Dataset) -> tuple[Indices, tuple[str, ...]]:
    """The group of each image, and lines on that."""
    found = data.grouping(FOLDS)
    return found.groups, found.notes


def _encode(
    images: Dataset | Subset,
    settings: Settings,
    workers: int | None,
    phase: Phase | None,
    cluster: Cluster | None,
) -> tuple[Encoder, Encoded]:
    from catclf.features.rows import prepare

    return prepare(
        images,
        settings.features,
        flip=settings.mirrors,
        seed=settings.seed,
        workers=workers,
        cache=settings.cache,
        keeper=cluster,
        phase=phase,
    )


def build_model(
    fit: Fit,
    data: Dataset,
    test: Dataset | None = None,
    *,
    trained: Labelled | None = None,
    encoder: Encoder | None = None,
    resolved: Resolved | None = None,
    cluster: Cluster | None = None,
    rows: Indices | None = None,
) -> Model:
    """The model of a fit on ``data``, with its accuracy there and on ``test``.

    ``trained`` (default: ``data``) is what the solver saw; ``encoder`` made rows of the images,
    where it did not see pixels. ``cluster`` counts on the training images. ``rows`` are the places
    in ``data`` (default: all) of what ``resolved`` was selected on.
    """
    w, b = encoder.standard.fold(fit.w, fit.b) if encoder else (fit.w, fit.b)
    held = fit.validation
    seen = held.trained if held else trained or data
    seen_rows = np.arange(data.m) if rows is None else rows
    threshold, z_threshold = (resolved.threshold, resolved.z_threshold) if resolved else (0.5, None)
    shift = resolved.shift if resolved else 0.0
    bare = Model(
        w=w,
        b=b - shift,
        preprocess=data.preprocess,
        classes=data.classes,
        threshold=threshold,
        z_threshold=z_threshold,
        costs=fit.costs,
        cost_steps=fit.cost_steps,
        features=encoder.features if encoder and encoder.features.kept else None,
        digests=data.kept_digests(rows),
    )
    training = Training(
        source=data.source,
        fingerprint=data.fingerprint,
        images=len(seen.images),
        positives=int(seen.Y.sum()),
        steps=fit.steps,
        interrupted=fit.interrupted,
        ended=fit.ended,
        settings=_recorded(fit.settings, resolved, data),
        train=cluster.counts(seen, fit.w, fit.b - shift, bare.boundary)
        if cluster
        else _counts(fit, seen, bare.boundary + shift),
        test=bare.counts(test.images, test.Y) if test else None,
        validation=_validated(fit, held, bare.boundary + shift) if held else {},
        suspects=_suspects(data, seen_rows, resolved),
    )
    similarity = _similarity(encoder, seen, fit.settings.seed)
    return replace(bare, training=training, similarity=similarity)


def _similarity(encoder: Encoder | None, seen: Labelled, seed: int) -> Similarity | None:
    """How like an image is to those of training, where the features know."""
    if encoder is None or not encoder.features.knows_images:
        return None
    sample = encoder.sample(seen.images, SAMPLE, seed)
    with blas_threads(1):
        return Similarity.learn(sample, encoder.standard.mean, seed)


def _recorded(settings: Settings, resolved: Resolved | None, data: Dataset) -> dict[str, Any]:
    """The settings that a model remembers, with the rule by which parts of the data were summed.

    Those solved on the Gram matrix need none: they have no parts. Shards that were left out of the
    data because they were damaged are named.
    """
    rule: dict[str, Any] = {"summation": RULE} if settings.method in SUMMED else {}
    if left_out := getattr(data.images, "left_out", ()):
        rule["left_out"] = list(left_out)
    return settings.to_dict() | rule | (resolved.recorded if resolved else {})


def _suspects(data: Dataset, rows: Indices, resolved: Resolved | None) -> dict[str, Any]:
    """What a model remembers of labels that are probably wrong."""
    if resolved is None or resolved.scored is None:
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
