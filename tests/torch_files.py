"""Checkpoints as PyTorch before 1.6 writes them, put together opcode by opcode."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
SYSTEM = {"protocol_version": PROTOCOL, "little_endian": True}


class OPCODES:
    """Pieces of a pickle of protocol 2."""

    @staticmethod
    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value) if -(2**31) <= value < 2**31 else _long(value)

    @staticmethod
    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    @staticmethod
    def name(value: str) -> bytes:
        return b"c" + value.replace(" ", "\n").encode() + b"\n"

    @staticmethod
    def pack(*parts: bytes) -> bytes:
        return b"(" + b"".join(parts) + b"t"

    @staticmethod
    def call(function: str, arguments: bytes) -> bytes:
        return OPCODES.name(function) + arguments + b"R"

    @staticmethod
    def tensor(
        key: str,
        count: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        *,
        offset: int = 0,
        kind: str = "FloatStorage",
    ) -> bytes:
        storage = OPCODES.pack(
            OPCODES.text("storage"),
            OPCODES.name(f"torch {kind}"),
            OPCODES.text(key),
            OPCODES.text("cpu"),
            OPCODES.number(count),
            b"N",
        )
        numbers = [OPCODES.pack(*map(OPCODES.number, part)) for part in (shape, strides)]
        hooks = OPCODES.call("collections OrderedDict", b")")
        parts = OPCODES.pack(storage + b"Q", OPCODES.number(offset), *numbers, b"\x89", hooks)
        return OPCODES.call("torch._utils _rebuild_tensor_v2", parts)


def _long(value: int) -> bytes:
    digits = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(digits)]) + digits


def dump(value: Any) -> bytes:
    """A pickle of numbers, strings, lists and dicts."""
    if isinstance(value, bool):
        piece = b"\x88" if value else b"\x89"
    elif isinstance(value, int):
        piece = OPCODES.number(value)
    elif isinstance(value, str):
        piece = OPCODES.text(value)
    elif isinstance(value, list):
        piece = b"](" + b"".join(dump(item)[2:-1] for item in value) + b"e"
    else:
        pairs = (dump(part)[2:-1] for item in value.items() for part in item)
        piece = b"}(" + b"".join(pairs) + b"u"
    return b"\x80\x02" + piece + b"."


def tree_of(entries: Mapping[str, bytes]) -> bytes:
    """The pickle of an ordered dict of names to pieces."""
    start = b"\x80\x02" + OPCODES.call("collections OrderedDict", b")")
    return start + b"(" + b"".join(OPCODES.text(name) + e for name, e in entries.items()) + b"u."


class Parts(NamedTuple):
    pickles: list[bytes]  # magic number, protocol, system, tree, keys
    data: bytes


def storages_of(tensors: Mapping[str, NDArray[Any]]) -> Parts:
    """The parts of a checkpoint; each tensor is stored in the order of its own memory."""
    entries, data = {}, b""
    for number, (name, tensor) in enumerate(tensors.items()):
        kind = {"f": "FloatStorage", "i": "LongStorage"}[tensor.dtype.kind]
        strides = tuple(step // tensor.itemsize for step in tensor.strides)
        entries[name] = OPCODES.tensor(str(number), tensor.size, tensor.shape, strides, kind=kind)
        order = sorted(range(tensor.ndim), key=lambda axis: -strides[axis])
        data += struct.pack("<q", tensor.size) + tensor.transpose(order).tobytes()
    keys = [str(number) for number in range(len(tensors))]
    pickles = [dump(MAGIC), dump(PROTOCOL), dump(SYSTEM), tree_of(entries), dump(keys)]
    return Parts(pickles, data)


def checkpoint(
    tensors: Mapping[str, NDArray[Any]],
    *,
    tree: bytes | None = None,
    keys: list[str] | None = None,
    keys_pickle: bytes | None = None,
    data: bytes | None = None,
) -> bytes:
    """A whole file; what is given takes the place of what the tensors would make."""
    pickles, stored = storages_of(tensors)
    if tree is not None:
        pickles[3] = tree
    if keys is not None:
        pickles[4] = dump(keys)
    if keys_pickle is not None:
        pickles[4] = keys_pickle
    return b"".join(pickles) + (stored if data is None else data)


def random_checkpoint(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, Any]:
    """Tensors as training might leave them: variances are positive, weights shrink with inputs."""
    rng, found = np.random.default_rng(seed), {}
    for name, shape in shapes.items():
        values = rng.normal(size=shape)
        if name.endswith("running_var"):
            values = np.abs(values) + 0.2
        elif len(shape) == 4:
            values *= 1.5 / np.sqrt(np.prod(shape[1:]))
        found[name] = values.astype("<f4")
    return found
