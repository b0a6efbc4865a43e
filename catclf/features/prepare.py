"""A data set as standardised rows of features, ready for training: learned, encoded, kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from catclf.features.base import Features, Phase, Rows, class_of, learn, silent
from catclf.features.cache import key_of, open_cache, write_cache
from catclf.features.encoding import encode, encoded
from catclf.features.standardize import StandardizedRows, Standardizer
from catclf.machine import require_memory
from catclf.maths import Floats
from catclf.samples import Images, Labelled, take
from catclf.text import counted


class Sourced(Labelled, Protocol):
    """A labelled data set of images that knows where it came from."""

    @property
    def source(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...


@dataclass(frozen=True)
class Encoded:
    """Labelled rows, as problems take them: ``images`` float32 (m, n), standardised."""

    images: Images
    Y: Floats
    source: str
    fingerprint: str


@dataclass(frozen=True)
class Encoder:
    """Features that have been learned, and how their rows are standardised."""

    features: Features
    standard: Standardizer
    workers: int | None = None

    def encode(self, data: Sourced, phase: Phase | None = None) -> Encoded:
        """Other images in the same way, in memory."""
        with (phase or silent)("encoding images") as on_progress:
            rows = encode(self.features, data.images, self.workers, on_progress)
        return Encoded(self.standard.apply(rows), data.Y, data.source, data.fingerprint)

    def fold(self, w: Floats, b: float) -> tuple[Floats, float]:
        """Weights and bias of standardised rows, as those of features."""
        return self.standard.fold(w, b)

    def sample(self, rows: Images, count: int, seed: int) -> Rows:
        """Up to ``count`` of the standardized rows (m, n), as features less their mean."""
        rng = np.random.default_rng((seed, 4))
        chosen = np.sort(rng.choice(len(rows), min(count, len(rows)), replace=False))
        sampled = getattr(rows, "sample", None)  # of rows that are elsewhere
        found = take(rows, chosen) if sampled is None else sampled(chosen)
        return np.asarray(found / self.standard.factor, np.float32)

    @property
    def of_model(self) -> Features | None:
        """The features a model must keep; None for pixels, which weights alone are enough for."""
        return self.features if self.features.kept else None


def prepare(
    data: Sourced,
    kind: str,
    *,
    flip: bool = True,
    seed: int = 0,
    workers: int | None = None,
    cache: Path | None = None,
    phase: Phase | None = None,
) -> tuple[Encoder, Encoded]:
    """Features learned from the images of a data set, and their rows, in memory or in ``cache``.

    Raises what ``learn`` raises, DataError, and OutputError for a cache that cannot be used.
    """
    phase = phase or silent
    features = learn(kind, data.images, seed, flip=flip, workers=workers, phase=phase)
    key = key_of(features, data.fingerprint)
    rows = _rows(features, data.images, key, workers, cache, phase)
    # Pixels stay as they are without flips.
    kept, n = features.kept, features.n
    standard = Standardizer.of(rows, features.damping) if kept else Standardizer.identity(n)
    ready: Images
    ready = (
        standard.apply(rows) if isinstance(rows, np.ndarray) else StandardizedRows(rows, standard)
    )
    return Encoder(features, standard, workers), Encoded(ready, data.Y, data.source, key)


def prepare_folds(
    data: Sourced,
    kind: str,
    held: NDArray[np.bool_],
    *,
    flip: bool = True,
    seed: int = 0,
    workers: int | None = None,
    phase: Phase | None = None,
) -> Iterator[Encoded]:
    """The rows of all images for each division: learned and standardised without those held out.

    ``held`` (k, m) tells which images each of k divisions holds out. Raises as ``prepare`` does.
    """
    phase, rows, made = phase or silent, np.empty((0, 0), np.float32), class_of(kind)
    for out in held:
        if made.learned or not len(rows):
            images = take(data.images, np.flatnonzero(~out))
            features = learn(kind, images, seed, flip=flip, workers=workers, phase=phase)
            rows = np.asarray(_rows(features, data.images, "", workers, None, phase))
        standard = Standardizer.of(rows[~out], made.damping)
        ready = standard.apply(rows if made.learned else rows.copy())
        yield Encoded(ready, data.Y, data.source, "")


def _rows(
    features: Features,
    images: Images,
    key: str,
    workers: int | None,
    cache: Path | None,
    phase: Phase,
) -> Images:
    """Rows as they were learned, not standardised."""
    m, n = len(images), features.n
    if cache is None:
        require_memory(
            4 * m * n, f"the features of {counted(m, 'image')}, unless a cache keeps them,"
        )
        with phase("encoding images") as on_progress:
            return encode(features, images, workers, on_progress)
    found = open_cache(cache, key, m, n)
    if found is None:
        with phase("encoding images") as on_progress:
            write_cache(cache, key, m, n, encoded(features, images, workers, on_progress))
        found = open_cache(cache, key, m, n)
        assert found is not None, "a cache is read as it was written"
    return found
