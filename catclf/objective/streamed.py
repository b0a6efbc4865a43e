"""Descent on w itself, in one pass over the pixels for each evaluation."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from catclf.maths import Floats
from catclf.maths.reduction import TreeSum, part_length
from catclf.objective.base import EQUAL, ClassWeights, Point
from catclf.objective.numba_pass import BLOCK as FUSED_BLOCK
from catclf.objective.numba_pass import Fused
from catclf.objective.numpy_pass import BLOCK, Converted, Products, Real, Sums, Values
from catclf.parallel import Team
from catclf.samples import Images, Labelled, cut, in_memory, measured, read_rows, scale_of

T = TypeVar("T")


class StreamProblem:
    """Descent on w itself: each evaluation passes once over the pixels.

    The pixels stay uint8, in memory or on disk (features are float32, and nothing divides them).
    Blocks of them are used for Z and for dw while they are in the cache:

        P (k, n) a block of Xᵀ,  Z = P w / 255 + b,  dw += Pᵀ dZᵀ / 255

    The products of a block are float32, made by NumPy or, with ``fused``, by compiled code. Sums
    over blocks, w itself and all functions of Z are float64; over 2000 steps on the
    course's data the printed costs have the digits of float64.

    Workers take parts of up to 512 images. How the images are cut depends on their number alone,
    and the sums of parts are added in the canonical tree (see ``reduction``), so that the result is
    the same, bit for bit, for any number of ``workers``, for images in memory and on disk, and for
    other problems that each hold an aligned run of the parts. Those on disk are read by the thread
    that uses them, block by block so that they are still in its cache; the system, which sees the
    file read from start to end, fetches what comes next meanwhile (asking it to, by
    ``posix_fadvise``, measured slower).
    ``part`` is the number of images in a part where these are a run of a larger data set's.
    """

    def __init__(
        self,
        data: Labelled,
        l2: float = 0.0,
        workers: int = 1,
        weights: ClassWeights = EQUAL,
        *,
        fused: bool = False,
        part: int = 0,
    ) -> None:
        self.m, self.n = measured(data)
        self.l2, self.class_weights = l2, weights
        self.fused, self._block = fused, FUSED_BLOCK if fused else BLOCK
        self._part_length = part
        self._scale = scale_of(data.images)
        self._images, self._Y = data.images, data.Y
        self._team = Team(workers)
        self._local = threading.local()

    def start(self) -> Point:
        return Point(np.zeros((self.n, 1)), 0.0)

    def evaluate(self, point: Point) -> tuple[float, Point]:
        return self._objective(point, self.sums(point), self.m)

    def evaluate_some(self, point: Point, images: Values, Y: Floats) -> tuple[float, Point]:
        """Cost and gradient with the mean over these images in the place of the mean over all.

        The penalty is the whole problem's, so that both are right on average over the images.
        """
        return self._objective(point, self._sums(images, Y, point), len(images))

    def loss(self, point: Point) -> float:
        """The mean loss at a point: the cost without its penalty."""
        return self.sums(point, forward_only=True).loss / self.m

    def sums(self, point: Point, *, forward_only: bool = False, rows: slice | None = None) -> Sums:
        """The canonical sums of losses and gradients over the images, which are no means yet.

        ``rows`` are those of an aligned run of parts (default: all).
        """
        return self._sums(self._images, self._Y, point, forward_only=forward_only, rows=rows)

    def total(self, rows: slice | None = None) -> Floats:
        """The canonical sum of the images, (n, 1), of pixels and not yet of features."""
        tree: TreeSum[Floats] = TreeSum(lambda a, b: np.add(a, b, out=a))
        self._fold(self._images, self._total, tree.take, rows)
        return tree.total()

    def centre(self) -> Floats:
        return self.total() / (self._scale * self.m)

    def weights(self, point: Point) -> Floats:
        return point.coordinates

    def _objective(self, point: Point, sums: Sums, count: int) -> tuple[float, Point]:
        w, dw = point.coordinates, sums.dw
        dw /= self._scale * count
        loss = sums.loss / count
        if self.l2:
            loss += self.l2 / (2 * self.m) * float(np.vdot(w, w))
            dw += self.l2 / self.m * w
        return loss, Point(dw, sums.db / count)

    def _sums(
        self,
        images: Images,
        Y: Floats,
        point: Point,
        *,
        forward_only: bool = False,
        rows: slice | None = None,
    ) -> Sums:
        with np.errstate(over="ignore"):  # a w beyond float32 shows as an infinite cost
            scaled: Real = (point.coordinates / self._scale).astype(np.float32)  # not every pixel
        tree: TreeSum[Sums] = TreeSum(Sums.plus)

        def on_part(part: slice, read: Callable[[slice], Values]) -> Sums:
            return self._part(part, read, Y, scaled, point.b, forward_only)

        self._fold(images, on_part, tree.take, rows)
        return tree.total()

    def _part(
        self,
        rows: slice,
        read: Callable[[slice], Values],
        Y: Floats,
        scaled: Real,
        b: float,
        forward_only: bool,
    ) -> Sums:
        sums, weights = Sums(0.0, 0.0, np.zeros((self.n, 1))), self.class_weights
        products = self._products()
        with np.errstate(over="ignore", invalid="ignore"):  # divergence shows in the cost
            for block in cut(rows, self._block):
                given = read(block), scaled, b, Y[:, block], weights
                if forward_only:
                    sums.loss += products.loss(*given)
                else:
                    sums.add(products.sums(*given))
        return sums

    def _total(self, rows: slice, read: Callable[[slice], Values]) -> Floats:
        """The sum of some images, (n, 1)."""
        total, products = np.zeros((self.n, 1)), Converted(BLOCK, self.n)
        for block in cut(rows, BLOCK):
            total += products.total(read(block))
        return total

    def _fold(
        self,
        images: Images,
        work: Callable[[slice, Callable[[slice], Values]], T],
        take: Callable[[T], None],
        rows: slice | None = None,
    ) -> None:
        """take(work(rows, read)) for each part of the images, in order; read(rows) gives them."""
        m, block = len(images), self._block
        here = in_memory(images)

        def on_part(rows: slice) -> T:
            raw = None if here else self._raw()
            return work(rows, lambda some: read_rows(images, some, raw))

        parts = list(cut(rows or slice(0, m), self._part_length or part_length(m, block)))
        if len(parts) > 1 and self._team.workers > 1:
            self._team.fold(on_part, parts, take)
            return
        for part in parts:
            take(on_part(part))

    def _products(self) -> Products:
        """This thread's own."""
        if not hasattr(self._local, "products"):
            k = min(self._block, self.m)
            self._local.products = Fused(self.n) if self.fused else Converted(k, self.n)
        products: Products = self._local.products
        return products

    def _raw(self) -> Values:
        """This thread's own room for a block of images that are read from disk."""
        if not hasattr(self._local, "raw"):
            shape = min(self._block, self.m), self.n
            self._local.raw = np.empty(shape, self._images.dtype)
        raw: Values = self._local.raw
        return raw
