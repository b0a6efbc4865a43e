"""The choice of the form in which an objective is computed, by a model of its cost."""

from __future__ import annotations

import numpy as np

from catclf import machine
from catclf.errors import SettingsError
from catclf.objective.base import EQUAL, ClassWeights
from catclf.objective.gram import FactorProblem, GramProblem, Solve
from catclf.objective.numba_pass import missing, require
from catclf.objective.streamed import StreamProblem
from catclf.samples import Labelled, in_memory, measured

GRAM_LIMIT = 8192  # images: beyond this K alone takes more than 512 MB
METHODS = ("auto", "gram", "stream", "fused")


def choose(
    m: int, n: int, evaluations: int, *, factor: bool = False, batch: int = 0, gram: bool = True
) -> str:
    """ "gram", "stream" or "fused", whichever is expected to take the least time.

    Nanoseconds on one core of 2.6 GHz or so, measured with n = 12288 (both forms use all workers
    alike, so that their number does not matter):

        gram    0.014 m² n  for K            + 0.25 m² an evaluation (0.1 where K fits the cache)
                0.013 m³    for its factor   + twice that an evaluation, when ``factor``
        stream                                 0.2 m n an evaluation
        fused       1.4e9 to compile         + 0.075 m n an evaluation

    "fused" is the stream with compiled products, where Numba is installed; ``batch`` is what a step
    looks at in the place of m, and ``gram`` says whether K may be made. Without Numba and with
    n = 12288, K is worth its while for 2000 evaluations up to m = 7300 images, for 100 up to
    1250, for 5 never but for a handful. K must also fit: m <= GRAM_LIMIT, and K with the pixels in
    half of the memory that is available.
    """
    K = (0.014 * n + (0.013 * m if factor else 0)) * m * m
    K += evaluations * (0.5 if factor else 0.25) * m * m
    looked_at = evaluations * (batch or m) * n
    times = {"gram": K, "stream": 0.2 * looked_at, "fused": 1.4e9 + 0.075 * looked_at}
    fits = m <= GRAM_LIMIT and 8 * m * m + 5 * m * n < 0.5 * machine.available_memory()
    if batch or not (gram and fits):
        del times["gram"]
    if min(times, key=times.__getitem__) == "fused" and missing():
        del times["fused"]
    return min(times, key=times.__getitem__)


def build(
    data: Labelled,
    l2: float,
    evaluations: int,
    method: str = "auto",
    workers: int = 1,
    weights: ClassWeights = EQUAL,
    *,
    batch: int = 0,
) -> StreamProblem | GramProblem:
    """The form of the problem that ``method`` names; "auto" is what ``choose`` says.

    With ``batch`` an evaluation looks at so many images, and not at all of them.
    """
    method = _resolved(data, evaluations, method, batch=batch)
    if method == "gram":
        return GramProblem(data, l2, workers, weights)
    return StreamProblem(data, l2, workers, weights=weights, fused=method == "fused")


def build_euclidean(
    data: Labelled,
    l2: float,
    evaluations: int,
    method: str = "auto",
    workers: int = 1,
    weights: ClassWeights = EQUAL,
    solve: Solve = np.linalg.solve,
) -> StreamProblem | FactorProblem:
    """As ``build``, in coordinates with the lengths and angles of w; ``solve`` see there."""
    method = _resolved(data, evaluations, method, factor=True)
    if method == "gram":
        return FactorProblem(data, l2, workers, weights, solve)
    return StreamProblem(data, l2, workers, weights=weights, fused=method == "fused")


def _resolved(
    data: Labelled, evaluations: int, method: str, *, factor: bool = False, batch: int = 0
) -> str:
    if method not in METHODS:
        raise SettingsError(f"method {method!r} is unknown: use one of {', '.join(METHODS)}")
    if method == "fused":
        require()
    if method != "auto":
        return method
    held = in_memory(data.images)  # K needs all of the pixels, and memory for itself
    return choose(*measured(data), evaluations, factor=factor, batch=batch, gram=held)
