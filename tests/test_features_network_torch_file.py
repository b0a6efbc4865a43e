"""Checkpoints written opcode by opcode: read to the bit, and refused where they are hostile."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_files import OPCODES, checkpoint, storages_of, tree_of

from catclf.features.network.torch_file import TorchFileError, read_tensors

RNG = np.random.default_rng(0)
TENSORS = {
    "a.weight": RNG.normal(size=(4, 3, 2, 2)).astype("<f4"),
    "a.bias": RNG.normal(size=4).astype("<f4"),
    "count": np.array(7, "<i8"),
}


def refused(content: bytes, match: str | None = None) -> None:
    with pytest.raises(TorchFileError, match=match):
        read_tensors(content)


def test_tensors_are_read_to_the_bit() -> None:
    found = read_tensors(checkpoint(TENSORS))
    assert list(found) == list(TENSORS)
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype
        np.testing.assert_array_equal(found[name], tensor)
        assert not found[name].flags.writeable


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (3, 2, 0, 1), (1, 0, 3, 2)])
def test_tensors_whose_axes_were_exchanged_are_read(axes: tuple[int, ...]) -> None:
    tensor = TENSORS["a.weight"].transpose(axes)
    np.testing.assert_array_equal(read_tensors(checkpoint({"w": tensor}))["w"], tensor)


def test_every_shorter_file_is_refused() -> None:
    content = checkpoint({"w": np.arange(6, dtype="<f4").reshape(2, 3)})
    for length in range(len(content)):
        refused(content[:length])
    refused(content + b"\0", "after its last storage")


@pytest.mark.parametrize(
    "function",
    ["os system", "builtins eval", "torch._utils _rebuild_parameter", "collections Counter"],
)
def test_no_other_function_is_called(function: str) -> None:
    call = OPCODES.call(function, OPCODES.pack(OPCODES.text("echo hello")))
    refused(checkpoint({}, tree=call + b"."), "never done")
    refused(checkpoint({}, tree=tree_of({"x": call})), "never done")


class Evil:
    """Its pickle would end this process."""

    def __reduce__(self) -> tuple[Callable[[int], None], tuple[int]]:
        import os

        return os._exit, (3,)


@pytest.mark.parametrize("place", range(5))
def test_a_pickle_with_a_call_is_refused_wherever_it_is(place: int) -> None:
    parts = storages_of(TENSORS)
    for protocol in (0, 1, 2, 4, 5):
        pickles = list(parts.pickles)
        pickles[place] = pickle.dumps(Evil(), protocol)
        refused(b"".join(pickles) + parts.data)


def test_a_name_alone_is_no_tensor() -> None:
    refused(checkpoint({}, tree=tree_of({"x": OPCODES.name("os system")})), "other than")
    refused(checkpoint({}, tree=tree_of({"x": OPCODES.number(1)})), "other than")


@pytest.mark.parametrize(
    ("shape", "strides", "offset", "count"),
    [
        ((2, 3), (3, 1), 1, 6),  # beyond the end
        ((2, 3), (0, 1), 0, 6),  # rows that are one
        ((2, 3), (1, 1), 0, 6),  # rows that overlap
        ((2, 3), (4, 1), 0, 8),  # gaps
        ((2, 3), (-3, 1), 0, 6),
        ((-2, -3), (3, 1), 0, 6),
        ((2, 3), (3, 1), -1, 6),
        ((0, 2**31 - 1, 2**31 - 1), (1, 1, 1), 0, 6),
        ((2**31 - 1,) * 4, (1,) * 4, 0, 6),
        ((1, 1, 1, 1, 6), (6, 6, 6, 6, 1), 0, 6),  # more axes than a convolution has
        ((2, 3), (3,), 0, 6),
    ],
)
def test_tensors_that_do_not_fit_their_storage_are_refused(
    shape: tuple[int, ...], strides: tuple[int, ...], offset: int, count: int
) -> None:
    tensor = OPCODES.tensor("0", count, shape, strides, offset=offset)
    data = struct.pack("<q", count) + bytes(4 * count)
    content = checkpoint({}, tree=tree_of({"w": tensor}), keys=["0"], data=data)
    refused(content, "tensor")


@pytest.mark.parametrize("count", [2**31 - 1, 7, 5, 0, -1])
def test_a_storage_of_another_size_is_refused(count: int) -> None:
    tensor = OPCODES.tensor("0", count, (6,), (1,))
    data = struct.pack("<q", 6) + bytes(24)
    refused(checkpoint({}, tree=tree_of({"w": tensor}), keys=["0"], data=data))


def test_storages_that_no_tensor_has_are_refused() -> None:
    tree, data = tree_of({}), struct.pack("<q", 1) + bytes(4)
    refused(checkpoint({}, tree=tree, keys=["0"], data=data), "other storages")
    one = OPCODES.tensor("0", 1, (1,), (1,))
    refused(checkpoint({}, tree=tree_of({"w": one}), keys=[], data=b""), "other storages")
    refused(checkpoint({}, tree=tree_of({"w": one}), keys=["0", "0"], data=2 * data))
    two = OPCODES.tensor("0", 1, (1,), (1,), kind="LongStorage")
    twice = tree_of({"w": one, "v": two})
    refused(checkpoint({}, tree=twice, keys=["0"], data=data), "two ways")


def test_repeated_names_are_refused() -> None:
    one = OPCODES.tensor("0", 1, (1,), (1,))
    tree = tree_of({"w": one})
    doubled = tree.replace(b"u.", OPCODES.text("w") + one + b"u.")
    data = struct.pack("<q", 1) + bytes(4)
    refused(checkpoint({}, tree=doubled, keys=["0"], data=data), "repeated")


def test_keys_that_take_for_ever_to_hash_are_never_hashed() -> None:
    """A tuple of a tuple twice, forty times over: 2^40 of them for whoever hashes or compares."""
    nested = b")" + b"".join(b"q\x00h\x00\x86" for _ in range(40))
    refused(checkpoint({}, tree=b"\x80\x02}" + nested + b"Ns."), "other keys than strings")
    refused(checkpoint({}, keys_pickle=b"\x80\x02](" + nested + b"e."))
    refused(checkpoint({}, tree=b"\x80\x02" + nested + b"."))


@pytest.mark.parametrize("extra", [b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x96" + b"\x7f" * 8])
def test_strings_longer_than_the_file_are_not_made_room_for(extra: bytes) -> None:
    refused(b"\x80\x05" + extra + b".")


def test_a_name_with_an_escape_that_is_none_is_refused_without_a_warning() -> None:
    refused(checkpoint(TENSORS).replace(b"ccollections\n", b"ccol\\ections\n", 1))
    assert b"ccollections\n" in checkpoint(TENSORS)


def test_too_many_opcodes_are_refused() -> None:
    refused(b"\x80\x02" + b"N0" * 200_000 + b"N.")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_files_are_refused_or_read(data: st.DataObject) -> None:
    content = bytearray(checkpoint(TENSORS))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read_tensors(bytes(content))
    except TorchFileError:
        return
    assert sum(tensor.nbytes for tensor in found.values()) <= len(content)
