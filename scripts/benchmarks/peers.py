"""What a user would take instead, each as a process of its own: peers.py NAME ARGUMENTS

course-sklearn TRAIN TEST           scikit-learn with its defaults on the course's data
course-liblinear TRAIN TEST         LIBLINEAR likewise
sklearn DATA L2 TOLERANCE           the regularised optimum; prints its objective and seconds
liblinear DATA L2 TOLERANCE         likewise
catclf DATA L2 TOLERANCE            likewise
pillow FOLDER MODEL                 images scored one by one, as one would write it
decode FOLDER                       images decoded by as many processes, and nothing else
"""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np


def course_sklearn(train: str, test: str) -> None:
    from sklearn.linear_model import LogisticRegression

    (X, y), (X_test, y_test) = load(train, "train"), load(test, "test")
    model = LogisticRegression(max_iter=2000).fit(X, y)
    print(model.score(X, y), model.score(X_test, y_test))


def course_liblinear(train: str, test: str) -> None:
    from liblinear.liblinearutil import parameter, predict, problem
    from liblinear.liblinearutil import train as fit

    (X, y), (X_test, y_test) = load(train, "train"), load(test, "test")
    model = fit(problem(2.0 * y - 1, X), parameter("-s 0 -c 1 -B 1 -q"))
    print(predict(2.0 * y_test - 1, X_test, model, "-q")[1][0])


def sklearn(data: str, l2: str, tolerance: str) -> None:
    from sklearn.linear_model import LogisticRegression

    X, y = load(data, "train")
    began = perf_counter()
    model = LogisticRegression(C=1 / float(l2), tol=float(tolerance), max_iter=10_000).fit(X, y)
    report(perf_counter() - began, data, model.coef_[0], float(model.intercept_[0]), float(l2))


def liblinear(data: str, l2: str, tolerance: str) -> None:
    from liblinear.liblinearutil import parameter, problem
    from liblinear.liblinearutil import train as fit

    X, y = load(data, "train")
    began = perf_counter()
    options = f"-s 0 -c {1 / float(l2)} -B 1 -R -e {tolerance} -q"  # -R: no penalty for the bias
    model = fit(problem(2.0 * y - 1, X), parameter(options))
    seconds = perf_counter() - began
    sign = 1.0 if model.get_labels()[0] == 1 else -1.0
    w = sign * np.array([model.w[i] for i in range(X.shape[1] + 1)])
    report(seconds, data, w[:-1], float(w[-1]), float(l2))


def catclf(data: str, l2: str, tolerance: str) -> None:
    from catclf import Settings, open_dataset, train

    opened = open_dataset(data)
    began = perf_counter()
    fit = train(opened, Settings(solver="lbfgs", l2=float(l2)))
    report(perf_counter() - began, data, fit.w[:, 0], fit.b, float(l2))


def pillow(folder: str, model: str) -> None:
    from PIL import Image

    with np.load(model) as file:
        w, b = file["w"], float(file["b"])
    for path in sorted(Path(folder).iterdir()):
        image = Image.open(path).convert("RGB").resize((64, 64), Image.Resampling.BICUBIC)
        x = np.asarray(image).reshape(-1, 1) / 255
        z = float((w.T @ x)[0, 0]) + b
        print(f"{path}\t{1 / (1 + np.exp(-z)):.6f}")


def decode(folder: str) -> None:
    paths = [str(path) for path in sorted(Path(folder).iterdir())]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for _ in pool.map(_decode, paths, chunksize=50):
            pass


def _decode(path: str) -> None:
    from catclf.images.decode import read
    from catclf.images.preprocess import Preprocess

    read(path, Preprocess())


def load(path: str, part: str) -> tuple[Any, Any]:
    """X float64 (m, n) and labels."""
    import h5py

    with h5py.File(path) as file:
        x, y = file[f"{part}_set_x"][:], file[f"{part}_set_y"][:]
    return x.reshape(len(x), -1) / 255, y


def report(seconds: float, data: str, w: Any, b: float, l2: float) -> None:
    """Print the objective at (w, b), computed block by block, beside the time of the fit."""
    import h5py

    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
    loss = 0.0
    with h5py.File(data) as file:
        x, y = file["train_set_x"], file["train_set_y"][:]
        for start in range(0, len(y), 500):
            rows = slice(start, start + 500)
            z = x[rows].reshape(-1, len(w)) / 255 @ w + b
            loss += float((np.logaddexp(0, z) - y[rows] * z).sum())
    objective = loss / len(y) + l2 / (2 * len(y)) * float(w @ w)
    print(json.dumps({"seconds": seconds, "objective": objective, "megabytes": peak}))


if __name__ == "__main__":
    globals()[sys.argv[1].replace("-", "_")](*sys.argv[2:])
