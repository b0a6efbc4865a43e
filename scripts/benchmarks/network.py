"""The features of a pretrained network on photographs: by folds, and by how few are labelled.

Nothing is learned from the images, so that each is encoded once; the standardisation is measured
and the penalty chosen inside each fold or draw, without the images held out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catclf.datasets import Dataset
from catclf.features.network import NetworkFeatures
from catclf.features.rows import Encoded, Standardizer, encode
from catclf.maths import Floats
from catclf.training import Settings
from catclf.training.pipeline import resolve
from catclf.training.run import solve
from scripts.benchmarks.measure import table

LABELLED = (20, 100, 500, 1600)  # images, as many of each class
DRAWS = 10


@dataclass(frozen=True)
class Encodings:
    """Rows float32 (m, n) of a data set's images, and its labels."""

    rows: NDArray[np.float32]
    Y: Floats

    @classmethod
    def of(cls, data: Dataset) -> Encodings:
        """Of the features that ``catclf train --features network`` uses."""
        return cls(encode(NetworkFeatures.of_size(data.size, False), data.images), data.Y)

    def scores(self, kept: NDArray[np.int64], held: NDArray[np.int64], seed: int) -> Floats:
        """Scores (1, k) of the images ``held`` by the model of those ``kept``."""
        standard = Standardizer.of(self.rows[kept])
        data = Encoded(standard.apply(self.rows[kept]), self.Y[:, kept], "", "")
        settings = resolve(Settings(features="network", seed=seed), data).settings
        fit = solve(data, settings)
        X = standard.apply(self.rows[held]).astype(np.float64)
        return np.asarray(X @ fit.w + fit.b).T


def learning_curve(encodings: Encodings) -> str:
    """Accuracy on all other images from so many labelled ones: mean and range of the draws."""
    labels, rows = encodings.Y[0] > 0.5, []
    for count in LABELLED:
        accuracies = []
        for seed in range(DRAWS):
            rng = np.random.default_rng(seed)
            of_class = (rng.permutation(np.flatnonzero(labels == label)) for label in (False, True))
            kept = np.sort(np.concatenate([members[: count // 2] for members in of_class]))
            held = np.setdiff1d(np.arange(len(labels)), kept)
            Z = encodings.scores(kept, held, seed)
            accuracies.append(float(((Z[0] > 0) == labels[held]).mean()))
        mean, low, high = (100 * f(accuracies) for f in (np.mean, min, max))
        rows.append([str(count), f"{mean:.1f} %", f"{low:.1f} to {high:.1f}"])
    return table(["labelled images", f"accuracy, mean of {DRAWS} draws", "range"], rows)
