"""What features are worth: pixels, hog and patches on the course's images and on cats and dogs.

Everything is chosen by cross-validation on training images: inside each fold the dictionary is
learned, the standardisation measured and the penalty chosen without the images held out. The
course's test set is looked at once, at the end.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import process_time

import numpy as np
from numpy.typing import NDArray

import catclf
from catclf.datasets import Dataset, open_dataset
from catclf.evaluation import crossval
from catclf.maths import Floats
from catclf.metrics import curves, wilson
from catclf.model import Model
from catclf.training import Settings
from scripts.benchmarks.measure import BIN, run, table
from scripts.lib.readme import DOCS, put_between_marks

KINDS = ("pixels", "hog", "patches")
FOLDS = 5


def train(data: Dataset, kind: str, seed: int = 0) -> Model:
    """The model that ``catclf train --features KIND`` makes."""
    return catclf.train(data, Settings(seed=seed), features=kind)


@dataclass(frozen=True)
class Scored:
    """Scores (1, k) of images by models that did not see them, and their labels."""

    Z: Floats
    Y: Floats

    def accuracy(self) -> str:
        """With Wilson's interval."""
        right = int(((self.Z > 0) == (self.Y > 0.5)).sum())
        low, high = wilson(right, self.Y.shape[1])
        return f"{100 * right / self.Y.shape[1]:.1f} % ({100 * low:.0f} to {100 * high:.0f})"

    @property
    def auc(self) -> float:
        """The area under the ROC curve."""
        return curves.roc(self.Z, self.Y).auc


def out_of_fold(data: Dataset, kind: str, fold_of: NDArray[np.int64], seed: int) -> Scored:
    """Every image scored by the model of the other folds."""
    Z = np.empty(data.Y.shape)
    for fold in range(FOLDS):
        held = np.flatnonzero(fold_of == fold)
        rest = np.flatnonzero(fold_of != fold)
        model = train(crossval.rows_of(data, rest), kind, seed * FOLDS + fold)
        Z[:, held] = model.scores(data.images[held])
    return Scored(Z, data.Y)


def repeated(data: Dataset, kind: str, repeats: int) -> list[str]:
    """Accuracy with the interval of one round, and AUC: means of ``repeats`` rounds of folds."""
    folds = crossval.stratified_folds(data.Y, FOLDS, repeats, 0)
    rounds = []
    for seed, fold_of in enumerate(folds):
        rounds.append(out_of_fold(data, kind, fold_of, seed))
        print(f"{data.source} {kind} {seed}: {rounds[-1].accuracy()}", file=sys.stderr, flush=True)
    m = data.Y.shape[1]
    mean = float(np.mean([((r.Z > 0) == (r.Y > 0.5)).mean() for r in rounds]))
    low, high = wilson(round(mean * m), m)
    auc = float(np.mean([r.auc for r in rounds]))
    return [f"{100 * mean:.1f} % ({100 * low:.0f} to {100 * high:.0f})", f"{auc:.3f}"]


def milliseconds(model: Model, data: Dataset) -> float:
    """Of computing, for one image: median of several passes over 64 of them on one thread."""
    from catclf.features.encoding import encoded
    from catclf.parallel import blas_threads

    images, times = data.images[:64], []
    for _ in range(7):
        began = process_time()
        if model.features is None:
            model.scores(images)
        else:
            with blas_threads(1):
                for _block in encoded(model.features, images, 1):
                    pass
        times.append((process_time() - began) / 64)
    return 1000 * float(np.median(times))


def features(folder: Path, repeats: int) -> str:
    """The table; ``folder`` holds the course's files and the cats and dogs."""
    course, pets = folder / "catvnoncat", folder / "pets-sample"
    files = [course / "train_catvnoncat.h5", course / "test_catvnoncat.h5"]
    trained, tested = open_dataset(files[0]), open_dataset(files[1], "test")
    pooled = crossval.pool([trained, tested])
    distinct = crossval.rows_of(pooled, crossval.distinct(pooled))
    animals = open_dataset(pets)
    rows = []
    for kind in KINDS:
        model = train(trained, kind)
        test = Scored(model.scores(tested.images), tested.Y)
        with tempfile.TemporaryDirectory() as scratch:
            output = Path(scratch) / "model.npz"
            command: list[str | Path] = [
                BIN / "catclf",
                "train",
                "--features",
                kind,
                "-q",
                "-o",
                output,
            ]
            command += ["--data", files[0], "--test", files[1]]
            seconds = min(run(command).seconds for _ in range(3))
            size = output.stat().st_size
        cells = [kind, test.accuracy(), f"{test.auc:.3f}", *repeated(distinct, kind, repeats)]
        cells += [*repeated(animals, kind, 1), f"{seconds:.1f} s"]
        rows.append([*cells, f"{milliseconds(model, animals):.2f} ms", f"{size / 1000:.0f} kB"])
    head = ["features", "course test", "AUC", f"{distinct.m} distinct, {FOLDS} folds", "AUC"]
    head += [f"{animals.m} cats and dogs, {FOLDS} folds", "AUC", "training", "an image", "model"]
    return table(head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/features", description=__doc__)
    parser.add_argument("folder", type=Path, help="holds catvnoncat/ and pets-sample/")
    parser.add_argument("--repeats", type=int, default=5, help="of folds on the course's images")
    parser.add_argument(
        "--docs", action="store_true", help="put the table into catclf/docs/features.md, too"
    )
    options = parser.parse_args()
    found = features(options.folder, options.repeats)
    print(found)
    if options.docs:
        put_between_marks(DOCS / "features.md", "features", found)


if __name__ == "__main__":
    main()
