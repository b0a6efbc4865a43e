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

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from catclf.errors import ShapeError
from catclf.features.network.architecture import (
    CENTER,
    SCALE,
    Convolution,
    same_padding,
)
from catclf.features.network.weights import Weights

Floats32 = NDArray[np.float32]
BAND = 1 << 18  # numbers of a band of expanded rows: 1 MB
PIXELS = 196  # of a band at least, where there are as many: fewer make slow products
RUN = 1 << 12  # numbers at least, where there are as many, in the inner loop of a depthwise sum


@dataclass(frozen=True)
class _Pointwise:
    """Z = X w + b. ``row`` are the biases of a whole row of a map (width * outputs,)."""

    w: Floats32
    row: Floats32
    residual: bool

    @classmethod
    def of(cls, layer: Convolution, w: Floats32, b: Floats32, width: int) -> _Pointwise:
        return cls(w, np.tile(b, width), layer.residual)


@dataclass(frozen=True)
class _Depthwise:
    """Sums over windows of maps of inner x inner, with ``before`` and ``after`` zeros around them.

    ``runs`` are the weights (kernel, kernel, group * channels), repeated for ``group`` neighbouring
    results, and ``row`` are the biases of a whole row of results (side * channels,). ``rows`` of
    results are made at a time. Compiled sums need no repeated weights: their group is 1.
    """

    kernel: int
    stride: int
    channels: int
    inner: int
    side: int
    before: int
    after: int
    group: int
    runs: Floats32
    row: Floats32
    rows: int

    @classmethod
    def of(
        cls, layer: Convolution, w: Floats32, b: Floats32, inner: int, compiled: bool
    ) -> _Depthwise:
        kernel, stride, channels = layer.kernel, layer.stride, layer.outputs
        side, before, after = same_padding(inner, kernel, stride)
        group = 1
        if stride == 1 and not compiled:
            fits = [count for count in range(1, side + 1) if side % count == 0]
            group = next((count for count in fits if count * channels >= RUN), side)
        lines = BAND // ((before + inner + after) * channels)
        rows = min(side, max(-(-PIXELS // side), (lines - kernel) // stride + 1))
        runs, row = np.tile(w, (1, 1, group)), np.tile(b, side)
        return cls(kernel, stride, channels, inner, side, before, after, group, runs, row, rows)

    @property
    def width(self) -> int:
        """Of the map with the zeros at its sides."""
        return self.before + self.inner + self.after

    @property
    def lines(self) -> int:
        """How many rows of the map ``rows`` of results are made of."""
        return (self.rows - 1) * self.stride + self.kernel


@dataclass(frozen=True)
class _Block:
    """An expansion (in the first block the stem), sums over windows, and a projection."""

    expand: _Pointwise
    depthwise: _Depthwise
    project: _Pointwise


class Network:
    """The map from an image to the means of the last convolution's 1280 channels."""

    def __init__(self, weights: Weights, side: int, kernels: ModuleType | None = None) -> None:
        """For images of side x side; ``kernels`` are compiled ones, with the same sums."""
        self.side, self._kernels = side, kernels
        layers = weights.layers()
        inner, _, _ = same_padding(side, layers[0][0].kernel, layers[0][0].stride)
        self._blocks = []
        for at in range(0, len(layers) - 1, 3):
            expand = _Pointwise.of(*layers[at], inner)
            depthwise = _Depthwise.of(*layers[at + 1], inner, kernels is not None)
            inner = depthwise.side
            project = _Pointwise.of(*layers[at + 2], inner)
            self._blocks.append(_Block(expand, depthwise, project))
        self._head = _Pointwise.of(*layers[-1], 1)
        self._free: list[_Space] = []  # buffers that no thread uses now

    def __call__(self, image: NDArray[Any]) -> Floats32:
        """Features (1280,) of an image (side, side, 3) of numbers from 0 to 255.

        To be called with one BLAS thread. Raises ShapeError.
        """
        if image.shape != (self.side, self.side, 3):
            raise ShapeError(f"image {image.shape} does not fit ({self.side}, {self.side}, 3)")
        space = self._take_space()
        X = _windows(image, self._blocks[0].depthwise.inner)
        for block in self._blocks:
            X = self._pass(X, block, space)
        Z = X @ self._head.w
        self._free.append(space)
        Z += self._head.row
        np.clip(Z, 0, 6, out=Z)
        return np.asarray(Z.mean(axis=0, dtype=np.float32))

    @property
    def compiled(self) -> bool:
        return self._kernels is not None

    def _take_space(self) -> _Space:
        """Buffers for one image: those of an earlier one, where there are any."""
        try:
            return self._free.pop()
        except IndexError:
            return _Space(self._blocks)

    def _pass(self, X: Floats32, block: _Block, space: _Space) -> Floats32:
        """A block's result (pixels, outputs) for the input X (pixels, inputs)."""
        depthwise, outputs = block.depthwise, block.project.w.shape[1]
        side, stride, kernel = depthwise.side, depthwise.stride, depthwise.kernel
        result = space.result(side * side, outputs)
        lines = space.lines(depthwise)
        for top in range(0, side, depthwise.rows):
            count = min(depthwise.rows, side - top)
            kept = 0
            if top:
                kept = kernel - stride
                lines[:kept] = lines[depthwise.rows * stride : depthwise.lines]
            needed = (count - 1) * stride + kernel
            first = top * stride + kept - depthwise.before
            self._fill(lines[kept:needed], X, first, block, space)
            inside = self._sums(lines[:needed], depthwise, space.inside(count, depthwise))
            Z = result[top * side : (top + count) * side]
            np.matmul(inside, block.project.w, out=Z)
            rows = Z.reshape(count, -1)
            inputs = X[top * side : (top + count) * side]
            if block.project.residual and self._kernels:
                self._kernels.add(rows, block.project.row, inputs.reshape(count, -1))
                continue
            rows += block.project.row
            if block.project.residual:
                Z += inputs
        return result

    def _fill(self, lines: Floats32, X: Floats32, first: int, block: _Block, space: _Space) -> None:
        """Lines (rows, width, channels) := relu6(X w + b), zeros above and below the map."""
        depthwise = block.depthwise
        inner, before = depthwise.inner, depthwise.before
        above, end = max(0, -first), min(len(lines), inner - first)
        lines[:above] = 0
        lines[max(0, end) :] = 0
        if end <= above:
            return
        lines, start = lines[above:end], first + above
        Z = space.band(len(lines) * inner, depthwise.channels)
        np.matmul(X[start * inner : (start + len(lines)) * inner], block.expand.w, out=Z)
        target = lines[:, before : before + inner]
        rows = Z.reshape(len(lines), -1)
        flat = as_strided(target, rows.shape, (target.strides[0], target.itemsize))
        if self._kernels:
            self._kernels.activate(rows, block.expand.row, flat)
            return
        rows += block.expand.row
        np.clip(rows, 0, 6, out=flat)

    def _sums(self, lines: Floats32, step: _Depthwise, out: Floats32) -> Floats32:
        """relu6 of each channel's own sums over windows, plus its bias: (pixels, channels)."""
        rows = out.reshape(-1, len(step.row))
        if self._kernels:
            flat = lines.reshape(len(lines), -1)
            self._kernels.depthwise(flat, step.runs, step.row, step.stride, step.side, rows)
            return out
        down, across, each = lines.strides
        count, groups, run = len(rows), step.side // step.group, step.runs.shape[2]
        windows = as_strided(
            lines,
            (step.kernel, step.kernel, count, groups, run),
            (down, across, down * step.stride, across * step.stride * step.group, each),
        )
        sums = out.reshape(count, groups, run)
        np.einsum("ijyxc,ijc->yxc", windows, step.runs, out=sums)
        rows += step.row
        np.clip(rows, 0, 6, out=rows)
        return out


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


class _Space:
    """One image's buffers, so that no memory has to be asked for between the layers."""

    def __init__(self, blocks: list[_Block]) -> None:
        steps = [block.depthwise for block in blocks]
        self._lines = np.empty(max(s.lines * s.width * s.channels for s in steps), np.float32)
        self._band = np.empty_like(self._lines)
        self._inside = np.empty(max(s.rows * s.side * s.channels for s in steps), np.float32)
        largest = max(b.depthwise.side**2 * b.project.w.shape[1] for b in blocks)
        self._results = [np.empty(largest, np.float32) for _ in range(2)]

    def lines(self, step: _Depthwise) -> Floats32:
        """(lines, width, channels), with zeros at the sides."""
        shape = step.lines, step.width, step.channels
        lines = self._lines[: shape[0] * shape[1] * shape[2]].reshape(shape)
        lines[:, : step.before] = 0
        lines[:, step.before + step.inner :] = 0
        return lines

    def band(self, pixels: int, channels: int) -> Floats32:
        return self._band[: pixels * channels].reshape(pixels, channels)

    def inside(self, rows: int, step: _Depthwise) -> Floats32:
        pixels = rows * step.side
        return self._inside[: pixels * step.channels].reshape(pixels, step.channels)

    def result(self, pixels: int, channels: int) -> Floats32:
        """Not the buffer of the last result, which is the next input."""
        self._results.reverse()
        return self._results[0][: pixels * channels].reshape(pixels, channels)
