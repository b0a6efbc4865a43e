"""What surrounds the products of features, as machine code: a door to Numba, which this imports.

Products and sums are rounded and ordered as NumPy's on x86-64 are (no fused multiply-add, no
other order), so that features have the same bits with and without it. Python's lock is not held.

The inner loops are written for eight channels at a time in LLVM's instructions. An image of 256x256
in the network takes 23.4 ms with them, of which 4.4 are sums over windows, and 29.7 ms, of which
9.4, with plain loops at their best (one row of weights in an expression, unsigned indices): LLVM's
own vectors for those read the sums again for each row of weights and the weights again for each
result. Without Numba it is 33 ms.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from llvmlite import ir  # noqa: TID251
from numba import njit, types  # noqa: TID251
from numba.extending import intrinsic  # noqa: TID251

_compiled = njit(nogil=True, error_model="numpy")
LANES = 8  # numbers in a vector; all lengths here are multiples of it, unless a function says more
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_ZEROS = _VECTOR([0.0] * LANES)
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
    sum_windows = _instructions(_windows(kernel, stride, tile))

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


def _windows(kernel: int, stride: int, tile: int) -> Callable[..., None]:
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
            value = _relu6(builder, builder.fadd(total, biases))
            _store(builder, value, out, result, step)

    return write


def _relu6(builder: Any, value: Any) -> Any:
    return _bounded(builder, "<", _bounded(builder, ">", value, _ZEROS), _VECTOR([6.0] * LANES))


def _bounded(builder: Any, sign: str, value: Any, bound: Any) -> Any:
    """The larger ones of values and bounds for ">", and the smaller ones for "<"."""
    return builder.select(builder.fcmp_ordered(sign, value, bound), value, bound)


def _load(builder: Any, source: Any, *steps: Any) -> Any:
    return builder.load(_place(builder, source, *steps), align=4)


def _store(builder: Any, value: Any, target: Any, *steps: Any) -> None:
    builder.store(value, _place(builder, target, *steps), align=4)


def _place(builder: Any, source: Any, *steps: Any) -> Any:
    for step in steps:
        source = builder.gep(source, [step])
    return builder.bitcast(source, _VECTOR.as_pointer())


@_instructions
def _activate(builder: Any, Z: Any, z: Any, b: Any, c: Any, out: Any, result: Any) -> None:
    """out[result] := relu6(Z[z] + b[c]), 8 numbers each."""
    total = builder.fadd(_load(builder, Z, z), _load(builder, b, c))
    _store(builder, _relu6(builder, total), out, result)


@_compiled
def activate(Z: Any, b: Any, out: Any) -> None:
    """out := min(max(Z + b, 0), 6) for Z and out (rows, numbers) and b (numbers,).

    All float32, a multiple of 8 numbers, one after the other in each row.
    """
    for y in range(len(Z)):
        z, o = Z[y], out[y]
        for x in range(0, len(b), LANES):
            _activate(z, x, b, x, o, x)


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

    Pixels (side, side * 3), factors (steps, steps) and out (rows, steps, patch² * 3 + 1); any
    lengths.
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


@_instructions
def _shrink(builder: Any, Z: Any, at: Any, threshold: Any, absolute: Any) -> None:
    """Z := Z - min(max(Z, -t), t) and its absolute values, 8 numbers each."""
    t = _VECTOR(ir.Undefined)
    for lane in range(LANES):
        t = builder.insert_element(t, threshold, ir.IntType(32)(lane))
    z = _load(builder, Z, at)
    clipped = _bounded(builder, "<", _bounded(builder, ">", z, builder.fneg(t)), t)
    z = builder.fsub(z, clipped)
    _store(builder, z, Z, at)
    _store(builder, _bounded(builder, ">", z, builder.fneg(z)), absolute, at)


@_compiled
def shrink(Z: Any, threshold: Any, absolute: Any) -> None:
    """Z := sign(Z) max(|Z| - t, 0), and absolute := |Z| of that, both (k,), t float32."""
    for at in range(0, len(Z), LANES):
        _shrink(Z, at, threshold, absolute)


@_instructions
def _powers(builder: Any, E: Any, O: Any, at: Any, *outs: Any) -> None:  # noqa: E741
    """max(±(E + O), 0)⁶ and max(±(E - O), 0)⁶, 8 numbers each."""
    even, odd = _load(builder, E, at), _load(builder, O, at)
    sides = builder.fadd(even, odd), builder.fsub(even, odd)
    signed = [_bounded(builder, sign, z, _ZEROS) for z in sides for sign in "><"]
    for value, out in zip(signed, outs, strict=True):
        cubes = builder.fmul(value, builder.fmul(value, value))
        _store(builder, builder.fmul(cubes, cubes), out, at)


@_compiled
def sixth_powers(E: Any, O: Any, a: Any, b: Any, c: Any, d: Any) -> None:  # noqa: E741
    """a, b := max(±(E + O), 0)⁶ and c, d := max(±(E - O), 0)⁶, all (k,)."""
    for at in range(0, len(E), LANES):
        _powers(E, O, at, a, b, c, d)
