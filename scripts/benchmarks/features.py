"""What features are worth: all kinds, on the course's images and on cats and dogs.

Everything is chosen by cross-validation on training images: inside each fold the dictionary is
learned, the standardisation measured and the penalty chosen without the images held out. The
course's test set is looked at once, at the end.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time

import numpy as np
from numpy.typing import NDArray

import catclf
from catclf.datasets import Dataset, ReadOptions, open_dataset
from catclf.evaluation import compare
from catclf.features import KINDS, class_of, learn
from catclf.maths import Floats
from catclf.maths import metrics as curves
from catclf.maths.metrics import wilson
from catclf.maths.threads import blas_threads
from catclf.model import Model
from catclf.samples import stratified_folds
from catclf.training import Settings
from scripts.benchmarks.measure import BIN, run, table
from scripts.benchmarks.network import Encodings, learning_curve
from scripts.lib.readme import DOCS, put_between_marks

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


def out_of_fold(
    data: Dataset,
    kind: str,
    fold_of: NDArray[np.int64],
    seed: int,
    encodings: Encodings | None = None,
) -> Scored:
    """Every image scored by the model of the other folds."""
    Z = np.empty(data.Y.shape)
    for fold in range(FOLDS):
        held = np.flatnonzero(fold_of == fold)
        rest = np.flatnonzero(fold_of != fold)
        if encodings is not None:
            Z[:, held] = encodings.scores(rest, held, seed * FOLDS + fold)
            continue
        model = train(compare.rows_of(data, rest), kind, seed * FOLDS + fold)
        Z[:, held] = model.scores(data.images[held])
    return Scored(Z, data.Y)


def repeated(
    data: Dataset, kind: str, repeats: int, encodings: Encodings | None = None
) -> list[str]:
    """Accuracy with the interval of one round, and AUC: means of ``repeats`` rounds of folds."""
    folds = stratified_folds(data.Y, FOLDS, 0, repeats, level=True)
    rounds = []
    for seed, fold_of in enumerate(folds):
        rounds.append(out_of_fold(data, kind, fold_of, seed, encodings))
        print(f"{data.source} {kind} {seed}: {rounds[-1].accuracy()}", file=sys.stderr, flush=True)
    m = data.Y.shape[1]
    mean = float(np.mean([((r.Z > 0) == (r.Y > 0.5)).mean() for r in rounds]))
    low, high = wilson(round(mean * m), m)
    auc = float(np.mean([r.auc for r in rounds]))
    return [f"{100 * mean:.1f} % ({100 * low:.0f} to {100 * high:.0f})", f"{auc:.3f}"]


def milliseconds(kind: str, model: Model, data: Dataset) -> float:
    """Of computing, for one image: median of several passes over 64 of them on one thread.

    Layers of patches are learned from ``data``, whose number and size decide how much there is to
    compute; else it is ``model`` that encodes or scores.
    """
    features = learn(kind, data.images) if class_of(kind).learned else model.features
    images, times = data.images[:64], []
    for _ in range(7):
        began = process_time()
        if features is None:
            model.scores(images)
        else:
            with blas_threads(1):
                features.transform(images)
        times.append((process_time() - began) / 64)
    return 1000 * float(np.median(times))


def of_folder(folder: Path, kind: str) -> Dataset:
    """Image files at the size that ``catclf train --features KIND`` brings them to."""
    return open_dataset(folder, options=ReadOptions(default_size=class_of(kind).default_size))


def features(
    folder: Path,
    repeats: int,
    kinds: Sequence[str] = KINDS,
    pets: Path | None = None,
    size: int | None = None,
) -> str:
    """The tables; ``folder`` holds the course's files, and cats and dogs unless ``pets`` does."""
    course, pets = folder / "catvnoncat", pets or folder / "pets-sample"
    files = [course / "train_catvnoncat.h5", course / "test_catvnoncat.h5"]
    trained, tested = open_dataset(files[0]), open_dataset(files[1], "test")
    pooled = compare.pool([trained, tested])
    distinct = compare.without_repeats(pooled)
    rows, curve = [], ""
    for kind in kinds:
        animals = of_folder(pets, kind)
        model = train(trained, kind)
        test = Scored(model.scores(tested.images), tested.Y)
        with tempfile.TemporaryDirectory() as scratch:
            output = Path(scratch) / "model.npz"
            command: list[str | Path] = [BIN / "catclf", "train", "-q", "--features", kind]
            command += ["-o", output, "--data", files[0], "--test", files[1]]
            seconds = min(run(command).seconds for _ in range(3))
            stored = output.stat().st_size
        known, encodings = None, None
        if kind == "network":
            side = size or class_of(kind).default_size
            animals = open_dataset(pets, options=ReadOptions(size=side))
            known, encodings = Encodings.of(distinct), Encodings.of(animals)
            curve = f"\n\n{learning_curve(encodings)}"
        cells = [kind, test.accuracy(), f"{test.auc:.3f}"]
        cells += repeated(distinct, kind, repeats, known)
        rounds = 1 if encodings is None else repeats  # what is encoded once is soon trained again
        cells += [*repeated(animals, kind, rounds, encodings), f"{seconds:.1f} s"]
        speed = milliseconds(kind, model, trained if kind == "network" else animals)
        rows.append([*cells, f"{speed:.2f} ms", f"{stored / 1000:.0f} kB"])
    head = ["features", "course test", "AUC", f"{distinct.m} of the course, {FOLDS} folds", "AUC"]
    head += [f"{animals.m} cats and dogs, {FOLDS} folds", "AUC", "training", "an image", "model"]
    return table(head, rows) + curve


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/features", description=__doc__)
    parser.add_argument("folder", type=Path, help="holds catvnoncat/ and pets-sample/")
    parser.add_argument("--repeats", type=int, default=5, help="of folds on the course's images")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--pets", type=Path, help="another folder of cats and dogs, of any size")
    parser.add_argument("--size", type=int, help="of the photographs for network")
    parser.add_argument(
        "--docs", action="store_true", help="put the table into catclf/docs/features.md, too"
    )
    options = parser.parse_args()
    result = features(options.folder, options.repeats, options.kinds, options.pets, options.size)
    print(result)
    if options.docs:
        put_between_marks(DOCS / "features.md", "features", result)


if __name__ == "__main__":
    main()
