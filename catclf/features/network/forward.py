"""The forward pass of the network over one image, in NumPy, in bands that stay in the cache.

An image passes through by itself, in products whose shapes depend on the network and on its side
alone, so that its features have the same bits in any batch and for any number of workers, as long
as BLAS has one thread. Channels come last: a pointwise convolution is one product of matrices, and
a depthwise one is a sum over windows in which neighbouring numbers are neighbours in memory.

A block widens its input six times before it narrows it again. The wide numbers are never held
whole: a band of rows is expanded, summed over windows and projected while it is in the cache, and
the few rows that the next band needs, too, are kept.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from catclf.errors import ShapeError
from catclf.features.network.architecture import CENTER, SCALE, Floats32, Weights, same_padding

BAND = 1 << 18  # numbers of a band of expanded rows: 1 MB
PIXELS = 196  # of a band at least, where there are as many: fewer make slow products
RUN = 1 << 12  # numbers at least, where there are as many, in the inner loop of a depthwise sum


class Network:
    """The map from an image to the means of the last convolution's 1280 channels."""

    def __init__(self, weights: Weights, side: int, kernels: ModuleType | None = None) -> None:
        """For images of side x side; ``kernels`` are compiled ones, with the same sums."""
        self.side, self.compiled = side, kernels is not None
        layers = weights.layers()
        inner, _, _ = same_padding(side, layers[0][0].kernel, layers[0][0].stride)
        self._blocks: list[_Block] = []
        for at in range(0, len(layers) - 1, 3):
            self._blocks.append(_Block(layers[at : at + 3], inner, kernels))
            inner = self._blocks[-1].side
        _, self._w, self._b = layers[-1]
        self._free: list[list[Floats32]] = []  # buffers that no thread uses now

    def __call__(self, image: NDArray[Any]) -> Floats32:
        """Features (1280,) of an image (side, side, 3) of numbers from 0 to 255.

        To be called with one BLAS thread. Raises ShapeError.
        """
        if image.shape != (self.side, self.side, 3):
            raise ShapeError(f"image {image.shape} does not fit ({self.side}, {self.side}, 3)")
        try:
            buffers = self._free.pop()
        except IndexError:
            sizes = zip(*(block.sizes for block in self._blocks), strict=True)
            buffers = [np.empty(max(each), np.float32) for each in sizes]
        lines, product, sums, result, other = buffers
        X = _windows(image, self._blocks[0].inner)
        for block in self._blocks:
            X = block(X, lines, product, sums, result)
            result, other = other, result
        Z = X @ self._w
        self._free.append(buffers)
        Z += self._b
        np.clip(Z, 0, 6, out=Z)
        return np.asarray(Z.mean(axis=0, dtype=np.float32))


class _Block:
    """An expansion (in the first block the stem), sums over windows, and a projection.

    Maps of inner x inner pixels get ``before`` zeros and others after them, and become maps of
    side x side. ``rows`` of results are made at a time, of ``lines`` of the expanded map. The
    weights of sums (kernel, kernel, group * channels) are repeated for ``group`` neighbouring
    results, and biases for a whole row of a map. Compiled sums need no repeated weights.
    """

    def __init__(self, layers: list[Any], inner: int, kernels: ModuleType | None) -> None:
        (_, self._expand, b), (layer, w, c), (last, self._project, d) = layers
        self._kernels, self._residual = kernels, last.residual
        self._kernel, self._stride, self._channels = layer.kernel, layer.stride, layer.outputs
        kernel, stride, channels = layer.kernel, layer.stride, layer.outputs
        side, before, after = same_padding(inner, kernel, stride)
        self.inner, self.side, self._before = inner, side, before
        self._width = before + inner + after
        self._group = 1
        if stride == 1 and kernels is None:
            fits = [count for count in range(1, side + 1) if side % count == 0]
            self._group = next((count for count in fits if count * channels >= RUN), side)
        lines = BAND // (self._width * channels)
        self._rows = min(side, max(-(-PIXELS // side), (lines - kernel) // stride + 1))
        self._lines = (self._rows - 1) * stride + kernel
        self._w = np.tile(w, (1, 1, self._group))
        self._b, self._c, self._d = np.tile(b, inner), np.tile(c, side), np.tile(d, side)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers in each buffer: lines, the product before them, sums of a band, two results."""
        lines = self._lines * self._width * self._channels
        result = self.side**2 * self._project.shape[1]
        return lines, lines, self._rows * self.side * self._channels, result, result

    def __call__(
        self, X: Floats32, lines: Floats32, product: Floats32, sums: Floats32, result: Floats32
    ) -> Floats32:
        """The result (pixels, outputs) for the input X (pixels, inputs), in a buffer."""
        side, stride, kernel, rows = self.side, self._stride, self._kernel, self._rows
        result = _shaped(result, side * side, self._project.shape[1])
        lines = _shaped(lines, self._lines, self._width, self._channels)
        lines[:, : self._before] = 0
        lines[:, self._before + self.inner :] = 0
        for top in range(0, side, rows):
            count = min(rows, side - top)
            kept = kernel - stride if top else 0
            lines[:kept] = lines[rows * stride :][:kept]
            needed = (count - 1) * stride + kernel
            self._fill(lines[kept:needed], X, top * stride + kept - self._before, product)
            inside = _shaped(sums, count, side * self._channels)
            self._sum(lines[:needed], inside)
            pixels = slice(top * side, (top + count) * side)
            Z = result[pixels]
            np.matmul(inside.reshape(len(Z), -1), self._project, out=Z)
            across = Z.reshape(count, -1)
            if self._residual and self._kernels:
                self._kernels.add(across, self._d, X[pixels].reshape(count, -1))
                continue
            across += self._d
            if self._residual:
                Z += X[pixels]
        return result

    def _fill(self, lines: Floats32, X: Floats32, first: int, product: Floats32) -> None:
        """Lines (rows, width, channels) := relu6(X w + b), zeros above and below the map."""
        inner = self.inner
        above, end = max(0, -first), max(0, min(len(lines), inner - first))
        lines[:above] = 0
        lines[end:] = 0
        if end <= above:
            return
        lines, start = lines[above:end], first + above
        Z = _shaped(product, len(lines) * inner, self._channels)
        np.matmul(X[start * inner : (start + len(lines)) * inner], self._expand, out=Z)
        target = lines[:, self._before : self._before + inner]
        rows = Z.reshape(len(lines), -1)
        flat = as_strided(target, rows.shape, (target.strides[0], target.itemsize))
        if self._kernels:
            self._kernels.activate(rows, self._b, flat)
            return
        rows += self._b
        np.clip(rows, 0, 6, out=flat)

    def _sum(self, lines: Floats32, out: Floats32) -> None:
        """Out (rows, side * channels) := relu6 of each channel's sums over windows and its bias."""
        if self._kernels:
            flat = lines.reshape(len(lines), -1)
            self._kernels.depthwise(flat, self._w, self._c, self._stride, self.side, out)
            return
        down, across, each = lines.strides
        groups, run = self.side // self._group, self._w.shape[2]
        windows = as_strided(
            lines,
            (self._kernel, self._kernel, len(out), groups, run),
            (down, across, down * self._stride, across * self._stride * self._group, each),
        )
        np.einsum("ijyxc,ijc->yxc", windows, self._w, out=out.reshape(len(out), groups, run))
        out += self._c
        np.clip(out, 0, 6, out=out)


def _shaped(buffer: Floats32, *shape: int) -> Floats32:
    """The beginning of a buffer as an array of a shape."""
    return buffer[: math.prod(shape)].reshape(shape)


def _windows(image: NDArray[Any], side: int) -> Floats32:
    """The stem's windows (side * side, 27) of an image: 3x3 pixels, stride 2."""
    length, half = len(image), side + 1
    before = same_padding(length, 3, 2)[1]
    pixels = np.zeros((2 * half, 2 * half, 3), np.float32)
    inner = pixels[before : before + length, before : before + length]
    np.subtract(image, np.float32(CENTER), out=inner)
    inner *= np.float32(1 / SCALE)
    # Even and odd rows and columns by themselves, so that windows are cut out as whole rows.
    planes = pixels.reshape(half, 2, half, 2, 3).transpose(1, 3, 4, 0, 2).copy()
    windows = np.empty((3, 3, 3, side, side), np.float32)
    for i in range(3):
        for j in range(3):
            windows[i, j] = planes[i % 2, j % 2, :, i // 2 : i // 2 + side, j // 2 : j // 2 + side]
    return windows.reshape(27, -1).T
