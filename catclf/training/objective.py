"""The objective over its data, in two forms that give the same iterates.

    J(w, b) = (1/m) Σ v [log(1 + e^z) - y z] + (λ/2m)‖w‖²,   z = wᵀx + b

with x the pixels / 255, or a row of features, and v the weight of the image, usually 1.

An objective knows the coordinates in which it is cheap to work; a solver sees only points in those
coordinates, costs and gradients. Descent commutes with the linear map from coordinates to w, so
the form that is chosen changes the time and not the result.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from catclf import machine
from catclf.errors import SettingsError
from catclf.maths import PIXEL_MAX, Floats, Pixels, losses_and_errors, sigmoid
from catclf.maths.threads import Team, blas_threads, part_length
from catclf.samples import Images, Indices, Labelled, cut, in_memory, measured, read_rows, scale_of
from catclf.settings import Settings
from catclf.text import to_install

GRAM_LIMIT = 8192  # images: beyond this K alone takes more than 512 MB
GRAM_ROWS_LIMIT = 1500  # rows of features, whose K is summed in float64
SMALL = 2000  # images or features: the larger side of a linear system that is solved
READ = 512  # images read at a time
SLAB = 512  # rows of K that are a worker's unit of work
WEIGHED = 16  # images summed into w at a time: new memory for more takes longer than the sums
WAKE = 2e9  # products from which on K is worth a second BLAS thread: some 400 images
LBFGS_EVALUATIONS = 100  # expected; the cost model needs a guess

# Measured with n = 12288 on one core of 2 MB second-level cache, milliseconds for 20 000 images:
# blocks of 16: 68, 32: 54, 64: 51 to 54, 128: 46 to 51, 256: 51. 128 images are 6 MB in float32.
BLOCK = 128  # images converted to floating point at a time
FUSED_BLOCK = 256  # images that compiled code takes at a time: 3 MB of pixels
# One float32 sum of 12288 products is off by 5e-7 in z, sums of 512 added in float64 by 1.5e-7, in
# the same time; sums of 128 by 0.9e-7, in 1.3 times the time.
RUN = 512  # products that are summed in float32 before the sum goes on in float64

Vector = NDArray[np.float64]
Real = NDArray[np.floating[Any]]
Values = NDArray[Any]  # pixels uint8, or features float32
Weights = Floats | None  # of the losses of images, (1, m); None: all are 1


# One pass over a block of images, by NumPy or by compiled code


@dataclass
class Sums:
    """Sums over some images: losses, errors dZ, and X dZᵀ with X still in pixels, (n, 1).

    ``bend`` is the sum of the second derivatives of the losses by z, where it was asked for. Of k
    models side by side ``loss`` and ``db`` are (k,), and ``dw`` is (n, k).
    """

    loss: Any = 0.0
    db: Any = 0.0
    dw: Any = 0.0
    bend: float = 0.0

    def plus(self, others: Sums) -> Sums:
        """These sums, with others added in place."""
        self.loss += others.loss
        self.db += others.db
        self.dw += others.dw
        self.bend += others.bend
        return self


def weighted_losses(Z: Floats, Y: Floats, v: Weights) -> tuple[Floats, Floats]:
    """The losses of images and their errors dZ, (1, m), times the weights of the images."""
    losses, dZ = losses_and_errors(Z, Y)
    if v is not None:
        losses *= v
        dZ *= v
    return losses, dZ


def bends(Z: Floats, v: Weights) -> Floats:
    """The second derivatives v a (1 - a) of the losses by z, of Z's shape."""
    A = sigmoid(Z)
    A *= 1.0 - A
    return A if v is None else v * A


class Converted:
    """A block is converted in a buffer, and multiplied by BLAS while in the cache.

    float32 moves half the bytes and makes two times the products of float64 in a second; over 2000
    steps on the course's data the printed costs are the same digits. float64 is for certificates.
    """

    def __init__(self, k: int, n: int, dtype: type[Any] = np.float32) -> None:
        self._buffer, self._product = np.empty((k, n), dtype), np.empty((n, 1), dtype)

    def sums(
        self, rows: Values, w: Real, b: float, Y: Floats, v: Weights, gradient: bool = True
    ) -> Sums:
        """The sums over rows (k, n), for w (n, 1), Y (1, k) and weights v; or of losses alone.

        Their array is used again for the next block.
        """
        P = self._buffer[: len(rows)]
        np.copyto(P, rows)
        Z = _times(P, w) + b
        losses, dZ = weighted_losses(Z, Y, v)
        if not gradient:
            return Sums(float(losses.sum()))
        bend = float(bends(Z, v).sum()) if P.dtype == np.float64 else 0.0
        np.matmul(P.T, dZ.T.astype(P.dtype), out=self._product)  # (n, k) @ (k, 1)
        return Sums(float(losses.sum()), float(dZ.sum()), self._product, bend)


class Fused:
    """Blocks stay as they are, bytes or float32; compiled code sums products in float32."""

    def __init__(self, n: int) -> None:
        self._product: NDArray[np.float32] = np.empty((n, 1), np.float32)

    def sums(
        self, rows: Values, w: Real, b: float, Y: Floats, v: Weights, gradient: bool = True
    ) -> Sums:
        """As ``Converted.sums``."""
        from catclf.training import numba_kernels

        rows = np.ascontiguousarray(rows)  # another layout would be summed in another order
        Z, each = np.empty((1, len(rows))), np.ones_like(Y) if v is None else v
        if not gradient:
            numba_kernels.scores(rows, w[:, 0], b, Z[0])
            return Sums(float(weighted_losses(Z, Y, v)[0].sum()))
        numba_kernels.pass_over(rows, w[:, 0], b, Y[0], each[0], Z[0], self._product[:, 0])
        losses, dZ = weighted_losses(Z, Y, v)
        return Sums(float(losses.sum()), float(dZ.sum()), self._product)


def missing_numba() -> str:
    """Why Numba cannot be used, or nothing; it is imported to know."""
    try:
        import catclf.training.numba_kernels  # noqa: F401
    except Exception as error:  # it has libraries of its own, and NumPy releases that it refuses
        return str(error) or type(error).__name__
    return ""


def require_numba() -> None:
    """Raise SettingsError where Numba cannot be used."""
    if why := missing_numba():
        raise SettingsError(
            f"`method=fused` needs Numba ({why}): {to_install('fast')}, or use `method=stream`"
        )


def _times(P: Real, w: Real) -> Floats:
    """(P w)ᵀ, shape (1, k), for P (k, n) and w (n, 1), with sums of ``RUN`` products in float64."""
    k, n = P.shape
    whole = n - n % RUN
    runs = P[:, :whole].reshape(k, -1, RUN).transpose(1, 0, 2)  # (q, k, RUN): a view
    Z: Floats = np.matmul(runs, w[:whole].reshape(-1, RUN, 1)).sum(axis=0, dtype=np.float64)
    if whole < n:
        Z += P[:, whole:] @ w[whole:]
    return Z.T


# The two forms


@dataclass
class Point:
    """A place in an objective's own coordinates: ``coordinates`` (k, 1) and the bias ``b``.

    Gradients are points too, so that a step of descent is a weighted sum of two points.
    """

    coordinates: Floats
    b: float

    def moved(self, direction: Point, by: float) -> Point:
        """This point plus ``by`` times ``direction``, as a new point."""
        return Point(self.coordinates + by * direction.coordinates, self.b + by * direction.b)


class Exact(NamedTuple):
    """The cost at a point in float64, ‖∇w J‖² and the first two derivatives of J by b."""

    cost: float
    square: float
    db: float
    bend: float


def class_weights(Y: Floats, kind: str) -> Weights:
    """The weight of each image, for labels Y (1, m): "none", or "balanced" as m / (2 m_class).

    Their mean is 1; balanced ones give both classes the same sum. None stands for all 1.
    """
    m, positives = Y.shape[1], float(Y.sum())
    if kind != "balanced" or not 0 < positives < m:
        return None
    return np.asarray(np.where(Y > 0.5, m / (2.0 * positives), m / (2.0 * (m - positives))))


def weights_of(Y: Floats, kind: str, weights: Weights) -> Weights:
    """The weight of each image by its class and by itself, (1, m)."""
    v = class_weights(Y, kind)
    return weights if v is None else v if weights is None else v * weights


def weights_like(Y: Floats, v: Weights, others: Floats) -> Weights:
    """The mean weight of each class of labels Y (1, m), for other labels (1, k)."""
    if v is None:
        return None
    positive = Y > 0.5
    means = [float(v[some].mean()) if some.any() else 1.0 for some in (~positive, positive)]
    return np.where(others > 0.5, means[1], means[0])


class _Problem:
    """What both forms keep: images, labels, penalty, threads, and weights v of the losses (1, m).

    ``is_exact`` says whether all products are float64, ``is_local`` whether the images are here.
    """

    is_exact, is_local, method = True, True, "gram"

    def __init__(self, data: Labelled, l2: float, team: Team | int, v: Weights) -> None:
        (self.m, self.n), self.l2, self.v = measured(data), l2, v
        self.images, self.Y, self.scale = data.images, data.Y, scale_of(data.images)
        self.team = Team(team) if isinstance(team, int) else team

    def squares(self) -> Floats:
        """‖x‖² of each image, (m,)."""
        raise NotImplementedError

    def safe_rate(self) -> float:
        """1 / L, at which every step of descent lowers the cost; 0 where the images are elsewhere.

        L = (1/4m) Σ v (‖x‖² + 1) + λ/m bounds the largest eigenvalue of the Hessian by its trace.
        """
        if not self.is_local:
            return 0.0
        total = float(((self.squares() + 1.0) * (1.0 if self.v is None else self.v)).sum())
        return 1.0 / (total / (4.0 * self.m) + self.l2 / self.m)

    def separates(self, w: Floats, b: float) -> bool:
        """Whether z has the sign of the label for every image."""
        for rows in cut(slice(self.m), BLOCK):
            z = read_rows(self.images, rows) @ (w / self.scale) + b
            if ((z[:, 0] > 0) != (self.Y[0, rows] > 0.5)).any():
                return False
        return True


class StreamObjective(_Problem):
    """The objective of w itself: each evaluation passes once over the images.

    The pixels stay uint8, in memory or on disk (features are float32, and nothing divides them).
    Blocks of them are used for Z and for dw while they are in the cache:

        P (k, n) a block of Xᵀ,  Z = P w / 255 + b,  dw += Pᵀ dZᵀ / 255

    The products of a block are float32, made by NumPy or, with ``fused``, by compiled code. Sums
    over blocks, w itself and all functions of Z are float64; over 2000 steps on the
    course's data the printed costs have the digits of float64.

    Workers take ranges of parts of up to 512 images. How the images are cut depends on their number
    alone, and the sums of parts are added in the canonical tree (see ``maths.threads``), so that
    the result is the same, bit for bit, for any number of workers of ``team``, for images in memory
    and on disk, and for other objectives that each hold an aligned run of the parts. Those on disk
    are read by the thread that uses them, block by block so that they are still in its cache.
    ``part`` is the number of images in a part where these are a run of a larger data set's.
    """

    is_exact = False

    def __init__(
        self,
        data: Labelled,
        l2: float = 0.0,
        team: Team | int = 1,
        v: Weights = None,
        *,
        fused: bool = False,
        part: int = 0,
    ) -> None:
        super().__init__(data, l2, team, v)
        self.method, self.fused = "fused" if fused else "stream", fused
        self._block, self._part = FUSED_BLOCK if fused else BLOCK, part
        self._local, self._K = threading.local(), np.empty((0, 0))

    @property
    def solves_small(self) -> bool:
        """Whether ``newton_target`` may be asked for."""
        return self.is_local and min(self.m, self.n) <= SMALL

    def start(self) -> Point:
        """The point w = 0, b = 0, whose cost is ln 2 whatever the images."""
        return Point(np.zeros((self.n, 1)), 0.0)

    def evaluate(self, point: Point, *, exact: bool = False) -> tuple[float, Point]:
        """The cost at the point, and the gradient in the same coordinates; in float64 if exact."""
        return self._means(point, self.sums(point, "exact" if exact else "products"), self.m)

    def evaluate_some(self, point: Point, images: Values, rows: Indices) -> tuple[float, Point]:
        """Cost and gradient with the mean over these images in the place of the mean over all.

        The penalty is the whole objective's, so that both are right on average over the images.
        """
        v = None if self.v is None else self.v[:, rows]
        sums = self._sums(images, self.Y[:, rows], v, point, "products")
        return self._means(point, sums, len(images))

    def exact(self, point: Point) -> Exact:
        """What certificates are made of, in float64."""
        sums = self.sums(point, "exact")
        cost, gradient = self._means(point, sums, self.m)
        square = float(np.square(gradient.coordinates).sum())
        return Exact(cost, square, gradient.b, sums.bend / self.m)

    def loss(self, point: Point) -> float:
        """The mean loss at a point: the cost without its penalty."""
        return float(self.sums(point, "losses").loss / self.m)

    def sums(self, point: Point, what: str = "products", rows: slice | None = None) -> Sums:
        """The canonical sums of losses and gradients over the images, which are no means yet.

        ``what``: "products" in float32, "exact" ones in float64, or "losses" alone; ``rows`` are
        those of an aligned run of parts (default: all).
        """
        return self._sums(self.images, self.Y, self.v, point, what, rows)

    def total(self, rows: slice | None = None) -> Floats:
        """The canonical sum of the images, (n, 1), of pixels and not yet of features."""

        def of_block(_: slice, values: Values) -> Sums:
            # Exact for pixels, whose sum is below 2^24.
            ones = np.ones((1, len(values)), np.float32)
            return Sums(dw=(ones @ values.astype(np.float32)).T)

        return np.asarray(self.reduced(of_block, self.images, rows).dw)

    def mean(self) -> Floats:
        """The mean μ of the features x of the images, (n, 1)."""
        return self.total() / (self.scale * self.m)

    def squares(self) -> Floats:
        found = np.empty(self.m)
        for rows in cut(slice(self.m), BLOCK):
            P = read_rows(self.images, rows).astype(np.float64)
            found[rows] = np.einsum("ij,ij->i", P, P)
        return found / self.scale**2

    def spread(self) -> float:
        """The mean squared distance of the features from their mean."""
        return float(self.squares().mean() - np.square(self.mean()).sum())

    def vectors(self, *, exact: bool = False) -> Centred:
        """The objective for L-BFGS, in float64 if ``exact``."""
        return Centred(partial(self.evaluate, exact=exact), self.mean())

    def newton_target(self, point: Point) -> Point:
        """Where a full step of Newton's method leads from a point, in float64."""
        z = np.empty((self.m, 1))
        for rows, P in self._doubles():
            z[rows] = P @ point.coordinates + point.b
        if self.m > self.n:
            return self._primal_target(z)
        if not self._K.size:
            self._K = gram(all_rows(self.images), self.team)
        a, b = dual_target(self._K, z, self.Y.T, self.v, self.l2)
        w = np.zeros((self.n, 1))
        for rows, P in self._doubles():
            w += P.T @ a[rows]
        return Point(w, b)

    def _primal_target(self, z: Floats) -> Point:
        """The weighted least squares of a step from scores z, (n + 1) equations.

        Bishop, "Pattern Recognition and Machine Learning", 2006, section 4.3.3.
        """
        d = bends(z.T, self.v).T
        _, dZ = weighted_losses(z.T, self.Y, self.v)
        right = d * z - dZ.T
        H, g = np.zeros((self.n + 1, self.n + 1)), np.zeros((self.n + 1, 1))
        for rows, P in self._doubles():
            P1 = np.hstack([P, np.ones((len(P), 1))])
            H += P1.T @ (d[rows] * P1)
            g += P1.T @ right[rows]
        H[np.diag_indices(self.n)] += self.l2
        solved = np.asarray(np.linalg.solve(H, g), np.float64)
        return Point(solved[:-1], float(solved[-1, 0]))

    def _doubles(self) -> Iterator[tuple[slice, Floats]]:
        """Blocks of the features in float64."""
        for rows in cut(slice(self.m), READ):
            yield rows, read_rows(self.images, rows).astype(np.float64) / self.scale

    def weights(self, point: Point) -> Floats:
        """w (n, 1) of a point."""
        return point.coordinates

    def _means(self, point: Point, sums: Sums, count: int) -> tuple[float, Point]:
        """Cost and gradient of sums over ``count`` images, with the penalty."""
        w, dw = point.coordinates, sums.dw
        dw /= self.scale * count
        loss = sums.loss / count
        if self.l2:
            loss += self.l2 / (2 * self.m) * float(np.vdot(w, w))
            dw += self.l2 / self.m * w
        return loss, Point(dw, sums.db / count)

    def _sums(
        self,
        images: Images,
        Y: Floats,
        v: Weights,
        point: Point,
        what: str,
        rows: slice | None = None,
    ) -> Sums:
        exact, gradient = what == "exact", what != "losses"
        with np.errstate(over="ignore"):  # a w beyond float32 shows as an infinite cost
            # Not every pixel is divided, but w.
            w: Real = (point.coordinates / self.scale).astype(np.float64 if exact else np.float32)

        def of_block(block: slice, values: Values) -> Sums:
            each = None if v is None else v[:, block]
            kernel = self._kernel(exact)
            return kernel.sums(values, w, point.b, Y[:, block], each, gradient)

        return self.reduced(of_block, images, rows)

    def reduced(
        self,
        of_block: Callable[[slice, Values], Sums],
        images: Images,
        rows: slice | None = None,
        width: int = 1,
    ) -> Sums:
        """The canonical sum over parts of ``of_block(numbers, values)`` of blocks of images.

        ``values`` (k, n) are read when they are needed; ``width`` is that of ``dw`` (n, width).
        """
        held, first, last = in_memory(images), 0, len(images)
        length = self._part or part_length(last, self._block)
        if rows is not None:
            first, last = rows.start, rows.stop

        def of_part(number: int) -> Sums:
            start, sums = first + number * length, Sums(dw=np.zeros((self.n, width)))
            raw = None if held else self._mine("raw", self._new_block)
            with np.errstate(over="ignore", invalid="ignore"):  # divergence shows in the cost
                for block in cut(slice(start, min(start + length, last)), self._block):
                    sums.plus(of_block(block, read_rows(images, block, raw)))
            return sums

        return self.team.reduced(of_part, -(-(last - first) // length), Sums.plus)

    def _new_block(self) -> Values:
        return np.empty((min(self._block, self.m), self.n), self.images.dtype)

    def _kernel(self, exact: bool) -> Converted | Fused:
        """This thread's own."""
        name, k = "exact" if exact else self.method, min(self._block, self.m)
        make: Callable[[], Converted | Fused] = partial(Fused, self.n)
        if name != "fused":
            make = partial(Converted, k, self.n, np.float64 if exact else np.float32)
        kernel: Converted | Fused = self._mine(name, make)
        return kernel

    def _mine(self, name: str, make: Callable[[], Any]) -> Any:
        """What each thread makes once for itself."""
        if not hasattr(self._local, name):
            setattr(self._local, name, make())
        return getattr(self._local, name)


class GramObjective(_Problem):
    """The objective in the span of the images, on the sample Gram matrix K = XᵀX (m, m).

    From w = 0 every iterate of descent is a combination w = X a of the images, with
    Z = aᵀK + b and ‖w‖² = aᵀK a, and the coordinates of dw are da = dZᵀ/m + (λ/m) a. So n
    disappears from the loop. K is computed from the raw pixels, where it is a matrix of integers
    below 2^53 and exact, and scaled afterwards; of rows of features it is summed in float64. (The
    representer theorem: Schölkopf, Herbrich and Smola, COLT 2001.)

    Images on disk are read once for K and once for w. The product K a is cut into slabs of rows,
    by m alone, so that it is the same for any number of workers.
    """

    def __init__(
        self,
        data: Labelled,
        l2: float = 0.0,
        team: Team | int = 1,
        v: Weights = None,
        K: Floats | None = None,
    ) -> None:
        super().__init__(data, l2, team, v)
        self.K = gram(all_rows(data.images), self.team) if K is None else K

    @property
    def solves_small(self) -> bool:
        return self.m <= SMALL

    def start(self) -> Point:
        return Point(np.zeros((self.m, 1)), 0.0)

    def evaluate(self, point: Point) -> tuple[float, Point]:
        a, m = point.coordinates, self.m
        Ka = self.product(a)
        losses, dZ = weighted_losses(Ka.T + point.b, self.Y, self.v)
        loss = _sum(losses) / m
        da = dZ.T / m
        if self.l2:
            loss += self.l2 / (2 * m) * float(np.vdot(a, Ka))
            da += self.l2 / m * a
        return loss, Point(da, _sum(dZ) / m)

    def exact(self, point: Point) -> Exact:
        cost, gradient = self.evaluate(point)
        da, Z = gradient.coordinates, self.product(point.coordinates).T + point.b
        square = max(float(np.vdot(da, self.product(da))), 0.0)
        return Exact(cost, square, gradient.b, _sum(bends(Z, self.v)) / self.m)

    def squares(self) -> Floats:
        return np.diagonal(self.K)

    def spread(self) -> float:
        return float(self.squares().mean() - self.K.mean())

    def vectors(self, *, exact: bool = False) -> Span:
        return Span(self)

    def newton_target(self, point: Point) -> Point:
        z = self.product(point.coordinates) + point.b
        return Point(*dual_target(self.K, z, self.Y.T, self.v, self.l2))

    def weights(self, point: Point) -> Floats:
        w = np.zeros((self.n, 1))
        for rows in cut(slice(self.m), WEIGHED):
            pixels = read_rows(self.images, rows)
            w += pixels.T.astype(np.float64) @ point.coordinates[rows]
        w /= self.scale
        return w

    def product(self, a: Floats) -> Floats:
        """K a: (m, m) @ (m, k) = (m, k)."""
        if self.m <= SLAB:
            return np.asarray(self.K.dot(a))  # as @ does, in 4 µs instead of 4.5
        slabs = cut(slice(self.m), SLAB)
        if self.m <= 2 * SLAB or self.team.workers == 1:
            return np.concatenate([self.K[rows] @ a for rows in slabs])
        return np.concatenate(
            list(self.team.in_order(lambda rows: np.asarray(self.K[rows] @ a), slabs))
        )


Objective = StreamObjective | GramObjective


class Centred:
    """An objective of w as a function of one vector, with the images' mean μ taken from x.

    z = wᵀ(x - μ) + c with c = b + wᵀμ is the same model with the same penalty, for the bias is
    free; but its gradient's parts for w and c are no longer nearly parallel, for pixels are never
    negative, and fewer iterations are needed.
    """

    def __init__(self, evaluate: Callable[[Point], tuple[float, Point]], mu: Floats) -> None:
        self._evaluate, self._mu = evaluate, mu

    def vector(self, point: Point) -> Vector:
        c = point.b + float(np.vdot(self._mu, point.coordinates))
        return np.append(point.coordinates[:, 0], c)

    def point(self, x: Vector) -> Point:
        w = x[:-1].reshape(-1, 1).copy()
        return Point(w, float(x[-1]) - float(np.vdot(self._mu, w)))

    def __call__(self, x: Vector) -> tuple[float, Vector]:
        cost, gradient = self._evaluate(self.point(x))
        dw = gradient.coordinates - gradient.b * self._mu
        return cost, np.append(dw[:, 0], gradient.b)

    def dot(self, x: Vector, y: Vector) -> float:
        return float(x @ y)


class Span:
    """An objective on K as a function of one vector (a, K a, b) of 2 m + 1 numbers.

    Inner products are those of w: wᵀw' = aᵀ(K a'), so that L-BFGS takes the steps that it would
    take on w, and one product with K is an evaluation: sums of such vectors are such vectors. The
    images are centred, K := HKH with H = I - 11ᵀ/m, as in ``Centred``.
    """

    def __init__(self, objective: GramObjective) -> None:
        self._objective = objective
        mean = objective.K.mean(axis=0, keepdims=True)
        self._mean, self._offset = mean.T, float(mean.mean())

    def product(self, a: Floats) -> Floats:
        """H K H a, shape (m, k), for a (m, k)."""
        centred = a - a.mean(axis=0)
        Ka = self._objective.product(centred)
        return np.asarray(Ka - Ka.mean(axis=0))

    def vector(self, point: Point) -> Vector:
        a = point.coordinates
        c = point.b + float(np.vdot(self._mean, a))  # b + wᵀμ
        return np.concatenate([a[:, 0], self.product(a)[:, 0], [c]])

    def point(self, x: Vector) -> Point:
        a = x[: self._objective.m].reshape(-1, 1)
        a = a - a.mean()
        return Point(a, float(x[-1]) - float(np.vdot(self._mean, a)))

    def __call__(self, x: Vector) -> tuple[float, Vector]:
        m, l2 = self._objective.m, self._objective.l2
        square = float(x[:m] @ x[m:-1])
        if not 0.0 <= square < math.inf:  # rounding has taken K a from a: no such w
            return math.inf, x
        Z = (x[m:-1] + x[-1]).reshape(1, -1)
        losses, dZ = weighted_losses(Z, self._objective.Y, self._objective.v)
        d = dZ.T / m
        g = np.concatenate([d[:, 0], self.product(d)[:, 0], [_sum(d)]])
        g[:-1] += l2 / m * x[:-1]
        return _sum(losses) / m + l2 / (2 * m) * square, g

    def dot(self, x: Vector, y: Vector) -> float:
        m = self._objective.m
        return float(x[:m] @ y[m:-1]) + float(x[-1] * y[-1])


def dual_target(K: Floats, z: Floats, y: Floats, v: Weights, l2: float) -> tuple[Floats, float]:
    """The point a (m, 1) and b to which a full step of Newton's method leads from scores z (m, 1).

    With the diagonal D = v σ(z) (1 - σ(z)) it solves (K + λ/D) a + b = z + v (y - σ(z)) / D and
    Σ a = 0, through the symmetric matrix I + S K S, S = √(D/λ), whose eigenvalues are at least 1.
    (Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, section 3.4, with a
    bias.)
    """
    d = np.maximum(bends(z.T, v).T, 1e-12)
    errors = sigmoid(z) - y if v is None else v.T * (sigmoid(z) - y)
    s = np.sqrt(d / l2)
    A = K * s
    A *= s.T
    A.flat[:: len(y) + 1] += 1.0
    right = np.hstack([z - errors / d, np.ones_like(y)])
    solved = s * np.linalg.solve(A, s * right)  # (m, 2)
    b = float(solved[:, 0].sum() / solved[:, 1].sum())
    return solved[:, :1] - b * solved[:, 1:], b


def gram(rows: NDArray[Any], team: Team) -> Floats:
    """K = XᵀX (m, m) of rows uint8, divided by 255, or of features float32 (m, n), in float64."""
    m, n = rows.shape
    if rows.dtype == np.uint8:
        with blas_threads(team.workers if m * m * n > WAKE else 1):  # exact, whatever their number
            K = integer_gram(rows)
        K /= PIXEL_MAX**2
        return K
    K = np.zeros((m, m))

    def add(slab: slice) -> None:
        for columns in cut(slice(n), SLAB):
            block = rows[slab, columns].astype(np.float64)
            for others in cut(slice(m), SLAB):
                K[slab, others] += block @ rows[others, columns].T.astype(np.float64)

    with blas_threads(1):
        for _ in team.in_order(add, cut(slice(m), SLAB)):
            pass
    return K


def integer_gram(rows: Pixels) -> Floats:
    """The exact matrix of inner products of uint8 rows (m, n), as float64 (m, m).

    Pixels are centred, p = x - 128, so that 1024 products of at most 2^14 sum to at most 2^24 and
    stay exact in float32, which multiplies twice as fast; these parts are added in float64, and
    x·y = p·q + 128 Σp + 128 Σq + 128² n undoes the centring.
    """
    m, n = rows.shape
    width = 1024
    K = np.zeros((m, m))
    sums = np.zeros((m, 1))
    for columns in cut(slice(n), width):
        part = rows[:, columns].astype(np.float32)
        part -= 128.0
        K += part @ part.T
        sums += part.sum(axis=1, dtype=np.float64, keepdims=True)
    sums *= 128.0
    K += sums
    K += sums.T
    K += 128.0**2 * n
    return K


def all_rows(images: Images) -> NDArray[Any]:
    """Rows (m, n) of their type: a view of images in memory, else read block by block."""
    m, n = len(images), int(np.prod(images.shape[1:]))
    if isinstance(images, np.ndarray):
        return images.reshape(m, n)
    rows = np.empty((m, n), images.dtype)
    for block in cut(slice(m), READ):
        rows[block] = read_rows(images, block)
    return rows


def choose(
    m: int, n: int, evaluations: int, batch: int = 0, gram: bool = True, rows: bool = False
) -> str:
    """ "gram", "stream" or "fused", whichever is expected to take the least time.

    Nanoseconds on one core of 2.6 GHz or so, measured with n = 12288 (both forms use all workers
    alike, so that their number does not matter):

        gram    0.014 m² n  for K            + 0.25 m² an evaluation (0.1 where K fits the cache)
        stream                                 0.2 m n an evaluation
        fused       1.4e9 to compile         + 0.075 m n an evaluation

    "fused" is the stream with compiled products, where Numba is installed; ``batch`` is what a step
    looks at in the place of m, ``gram`` says whether K may be made, and ``rows`` that it is summed
    in float64. Without Numba and with n = 12288, K is worth its while for 2000 evaluations up to
    m = 7300 images, for 100 up to 1350, for 5 never but for a handful. K must also fit: m <=
    GRAM_LIMIT, and K with the pixels in half of the memory that is available.
    """
    K = (0.028 if rows else 0.014) * n * m * m + evaluations * 0.25 * m * m
    looked_at = evaluations * (batch or m) * n
    times = {"gram": K, "stream": 0.2 * looked_at, "fused": 1.4e9 + 0.075 * looked_at}
    fits = 8 * m * m + 5 * m * n < 0.5 * machine.available_memory()
    if batch or not (gram and fits and m <= (GRAM_ROWS_LIMIT if rows else GRAM_LIMIT)):
        del times["gram"]
    if min(times, key=times.__getitem__) == "fused" and missing_numba():
        del times["fused"]
    return min(times, key=times.__getitem__)


def build(
    data: Labelled,
    settings: Settings,
    team: Team | int = 1,
    v: Weights = None,
    K: Floats | None = None,
) -> Objective:
    """The form of the objective that ``method`` names; "auto" is what ``choose`` says.

    ``K`` is the Gram matrix of the images, if it is there already. L-BFGS takes K only where there
    are at least as many features as images: of fewer, it would move in directions that are none of
    w. Raises SettingsError where compiled code is asked for and Numba is not there.
    """
    (m, n), method, steps = measured(data), settings.method, settings.iterations
    quasi = settings.solver == "lbfgs"
    if method == "fused":
        require_numba()
    if method == "auto":
        rows = data.images.dtype != np.uint8  # at most GRAM_ROWS_LIMIT, which are read for K
        held = rows or in_memory(data.images)  # K needs all of the pixels, and memory for itself
        may, evaluations = n >= m or not quasi, min(LBFGS_EVALUATIONS, steps) if quasi else steps
        known = K is not None and may
        batch = settings.batch_size
        method = "gram" if known else choose(m, n, evaluations, batch, held and may, rows)
    if method == "gram":
        return GramObjective(data, settings.l2, team, v, K)
    return StreamObjective(data, settings.l2, team, v, fused=method == "fused")


def _sum(values: Floats) -> float:
    """The sum of all entries: with few images, the method's own overhead would be felt."""
    return float(np.add.reduce(values, axis=None))
