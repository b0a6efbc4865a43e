"""What surrounds the products of features, as machine code: the only module that imports Numba.

Products and sums are rounded and ordered as NumPy's on x86-64 are (no fused multiply-add, no
other order), so that features have the same bits with and without it. Python's lock is not held.

Sums over windows are written for eight channels at a time in LLVM's instructions: an image of
256x256 in the network takes 23.4 ms with them, 4.4 of these in the sums, and 29.7 ms, 9.4 in the
sums, with plain loops at their best (one row of weights in an expression, unsigned indices), for
which LLVM's own vectors read the sums again for each row of weights and the weights again for each
result. Without Numba it is 33 ms.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir  # noqa: TID251
from numba import njit, types  # noqa: TID251
from numba.extending import intrinsic  # noqa: TID251

_compiled = njit(nogil=True, error_model="numpy")
ZERO, SIX = np.float32(0), np.float32(6)
LANES = 8  # numbers in a vector; channels are a multiple of it
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_ZEROS, _SIXES = _VECTOR([0.0] * LANES), _VECTOR([6.0] * LANES)
_TILES = (7, 4, 1)  # neighbouring results that are made from one reading of weights


def depthwise(lines: Any, w: Any, b: Any, stride: int, side: int, out: Any) -> None:
    """out := relu6(sums over windows + b).

    Lines (rows, width * channels), w (kernel, kernel, channels), b at least (channels,) and out
    (rows, side * channels), all float32 in C order.
    """
    tile = next(count for count in _TILES if side % count == 0 or 1 < count < side)
    run = _depthwise(w.shape[0], stride, tile)
    run(lines.ravel(), w.ravel(), b, w.shape[2], lines.shape[1], side, len(out), out.reshape(-1))


@cache
def _depthwise(kernel: int, stride: int, tile: int) -> Callable[..., None]:
    """The sums for one shape of windows; a last tile that is short repeats results before it."""
    sum_windows = _windows(kernel, stride, tile)

    @_compiled
    def run(
        lines: Any, w: Any, b: Any, channels: int, width: int, side: int, rows: int, out: Any
    ) -> None:
        for y in range(rows):
            for start in range(0, side, tile):
                x = min(start, side - tile)
                first, result = (y * width + x * channels) * stride, (y * side + x) * channels
                for c in range(0, channels, LANES):
                    sum_windows(lines, first + c, width, w, b, c, channels, out, result + c)

    return run


def _windows(kernel: int, stride: int, tile: int) -> Any:
    """out[result + t channels] := relu6(Σ lines[first + ...] w[c + ...] + b[c]), 8 numbers each.

    For each of ``tile`` neighbours t. A sum begins with 0 and goes through its window row by row;
    it stays in a register.
    """
    columns = (tile - 1) * stride + kernel

    def write(builder: Any, *arguments: Any) -> None:
        lines, first, width, w, b, c, channels, out, result = arguments
        count = max(columns, kernel**2)
        steps = [builder.mul(channels, channels.type(step)) for step in range(count)]
        sums = [_ZEROS] * tile
        for i in range(kernel):
            row = builder.add(first, builder.mul(width, width.type(i)))
            pixels = [_load(builder, lines, row, step) for step in steps[:columns]]
            for j in range(kernel):
                weights = _load(builder, w, c, steps[i * kernel + j])
                for t in range(tile):
                    product = builder.fmul(pixels[t * stride + j], weights)
                    sums[t] = builder.fadd(sums[t], product)
        biases = _load(builder, b, c)
        for total, step in zip(sums, steps, strict=False):
            value = builder.fadd(total, biases)
            value = builder.select(builder.fcmp_ordered(">", value, _ZEROS), value, _ZEROS)
            value = builder.select(builder.fcmp_ordered("<", value, _SIXES), value, _SIXES)
            builder.store(value, _place(builder, out, result, step), align=4)

    return _instructions(write)


def _instructions(write: Callable[..., None]) -> Any:
    """A function for compiled code whose instructions ``write(builder, *arguments)`` makes.

    An array comes as the place of its first number.
    """

    @intrinsic
    def function(_: Any, *kinds: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            arguments = []
            for number, kind in enumerate(kinds):
                value = builder.extract_value(values[0], number)
                if isinstance(kind, types.Array):
                    value = context.make_array(kind)(context, builder, value).data
                arguments.append(value)
            write(builder, *arguments)
            return context.get_dummy_value()

        # Numba hands on what *kinds stands for as one tuple.
        return types.void(types.StarArgTuple(kinds)), generate  # type: ignore[no-untyped-call]

    return function


def _load(builder: Any, source: Any, *steps: Any) -> Any:
    return builder.load(_place(builder, source, *steps), align=4)


def _place(builder: Any, source: Any, *steps: Any) -> Any:
    for step in steps:
        source = builder.gep(source, [step])
    return builder.bitcast(source, _VECTOR.as_pointer())


@_compiled
def activate(Z: Any, b: Any, out: Any, first: int, step: int) -> None:
    """out := min(max(Z + b, 0), 6) for Z (rows, numbers) and b (numbers,).

    The numbers of a row y begin at ``first`` + y ``step`` in out (k,), so that all is contiguous.
    """
    for y in range(len(Z)):
        z, o = Z[y], out[first + y * step :]
        for x in range(len(b)):
            value = z[x] + b[x]
            value = value if value > ZERO else ZERO
            o[x] = value if value < SIX else SIX


@_compiled
def add(Z: Any, b: Any, X: Any) -> None:
    """Z := (Z + b) + X for Z and X (rows, numbers) and b (numbers,)."""
    for y in range(len(Z)):
        z, other = Z[y], X[y]
        for x in range(len(b)):
            z[x] = (z[x] + b[x]) + other[x]


@_compiled
def patches(pixels: Any, factors: Any, first: int, stride: int, patch: int, out: Any) -> None:
    """out[y, x, :-1] := the patch at (y, x) * factors[first + y, x], row by row.

    Pixels (side, side * 3), factors (steps, steps) and out (rows, steps, patch² * 3 + 1).
    """
    run = patch * 3
    for y in range(len(out)):
        for x in range(factors.shape[1]):
            factor, numbers = factors[first + y, x], out[y, x]
            for row in range(patch):
                source = pixels[(first + y) * stride + row, x * stride * 3 :]
                target = numbers[row * run :]
                for k in range(run):
                    target[k] = source[k] * factor


@_compiled
def shrink(Z: Any, threshold: Any, absolute: Any) -> None:
    """Z := sign(Z) max(|Z| - t, 0), and absolute := |Z| of that, both (k,), t float32."""
    for k in range(len(Z)):
        value = Z[k] - min(max(Z[k], -threshold), threshold)
        Z[k] = value
        absolute[k] = abs(value)


@_compiled
def sixth_powers(E: Any, O: Any, a: Any, b: Any, c: Any, d: Any) -> None:  # noqa: E741
    """a, b := max(±(E + O), 0)⁶ and c, d := max(±(E - O), 0)⁶, all (k,)."""
    for k in range(len(E)):
        one, other = E[k] + O[k], E[k] - O[k]
        a[k], b[k] = _sixth(one, one > ZERO), _sixth(one, one < ZERO)
        c[k], d[k] = _sixth(other, other > ZERO), _sixth(other, other < ZERO)


@_compiled
def _sixth(value: Any, counts: Any) -> Any:
    value = value if counts else ZERO
    cube = value * (value * value)
    return cube * cube
