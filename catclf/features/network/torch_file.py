"""Reading the tensors of a PyTorch checkpoint (``.pth``) without PyTorch and without unpickling it.

The older of PyTorch's two layouts, of its versions before 1.6: five pickles (a magic number, a
protocol, a description of the machine, the tree of tensors, the order of the storages), then each
storage as its count of numbers (int64) and its bytes. ``pickletools`` splits a pickle into opcodes;
``_Machine`` knows the few opcodes that a dict of tensors needs and refuses all others. It looks no
name up and calls nothing, so that no bytes can make it run, import or allocate anything but what
they hold.
"""

from __future__ import annotations

import io
import math
import pickletools
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_OPCODES_LIMIT = 100_000  # of all pickles together; EfficientNet-Lite0 has 11 000
_STORAGES: dict[str, np.dtype[Any]] = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch LongStorage": np.dtype("<i8"),
}
_REBUILD, _ORDERED = "torch._utils _rebuild_tensor_v2", "collections OrderedDict"
_MARK = object()  # what the opcode MARK leaves on the stack


class TorchFileError(Exception):
    """Why a checkpoint is refused, to be said after its name."""


@dataclass(frozen=True)
class _Global:
    """A name that the file mentions, such as ``torch FloatStorage``. It is never looked up."""

    name: str


@dataclass(frozen=True)
class _Storage:
    """The numbers that one or more tensors are made of."""

    key: str
    dtype: np.dtype[Any]
    count: int


@dataclass(frozen=True)
class _Tensor:
    """``shape`` numbers of a storage from ``offset`` on; ``axes`` are sorted by their strides.

    The numbers are in C order of the axes as they are sorted, the one of the longest stride first.
    """

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    axes: tuple[int, ...]


def read_tensors(content: bytes) -> dict[str, NDArray[Any]]:
    """The tensors of a checkpoint, by name, float32 or int64, as read-only views of its bytes.

    Raises TorchFileError for anything that is not a flat dict of tensors in C order.
    """
    file, machine = io.BytesIO(content), _Machine()
    if machine.load(file) != _MAGIC or machine.load(file) != _PROTOCOL:
        raise TorchFileError("is not a PyTorch checkpoint of the known layout")
    system = machine.load(file)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise TorchFileError("is a PyTorch checkpoint of another kind of machine")
    tree, keys = machine.load(file), machine.load(file)
    if not isinstance(tree, dict) or not isinstance(keys, list):
        raise TorchFileError("holds something other than a dict of tensors")
    tensors = {name: value for name, value in tree.items() if isinstance(value, _Tensor)}
    if len(tensors) < len(tree):
        raise TorchFileError("holds something other than a dict of tensors")
    wanted: dict[str, _Storage] = {}
    for tensor in tensors.values():
        if wanted.setdefault(tensor.storage.key, tensor.storage) != tensor.storage:
            raise TorchFileError("describes one storage in two ways")
    storages = _read_storages(content, file.tell(), keys, wanted)
    return {name: _view(tensor, storages) for name, tensor in tensors.items()}


def _read_storages(
    content: bytes, position: int, keys: list[Any], wanted: dict[str, _Storage]
) -> dict[str, NDArray[Any]]:
    """The numbers of each storage, in the order of ``keys``; they fill the rest of the file."""
    strings = all(isinstance(key, str) for key in keys)
    if not strings or len(keys) != len(wanted) or set(keys) != set(wanted):
        raise TorchFileError("lists other storages than its tensors use")
    storages = {}
    for key in keys:
        storage = wanted[key]
        start, size = position + 8, storage.count * storage.dtype.itemsize
        if start + size > len(content):
            raise TorchFileError("is truncated")
        if struct.unpack_from("<q", content, position) != (storage.count,):
            raise TorchFileError("has a storage of another size than its tensors say")
        storages[key] = np.frombuffer(content, storage.dtype, storage.count, start)
        position = start + size
    if position != len(content):
        raise TorchFileError("has bytes after its last storage")
    return storages


def _view(tensor: _Tensor, storages: dict[str, NDArray[Any]]) -> NDArray[Any]:
    numbers, size = storages[tensor.storage.key], math.prod(tensor.shape)
    if tensor.offset + size > len(numbers):
        raise TorchFileError("has a tensor that lies outside of its storage")
    stored = numbers[tensor.offset : tensor.offset + size].reshape(
        [tensor.shape[axis] for axis in tensor.axes]
    )
    return stored.transpose([tensor.axes.index(axis) for axis in range(len(tensor.axes))])


class _Machine:
    """A stack and a memo, on which the allowed opcodes work. Raises TorchFileError."""

    def __init__(self) -> None:
        self._left = _OPCODES_LIMIT
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def load(self, file: io.BytesIO) -> Any:
        """The value of the pickle at the file's position."""
        self._stack, self._memo = [], {}
        try:
            with warnings.catch_warnings(action="error"):  # of escapes in names, which are damage
                return self._loaded(file)
        except (IndexError, KeyError, TypeError, ValueError, Warning) as error:
            # A pickle that is cut short, or whose opcodes do not fit each other.
            raise TorchFileError("is damaged or is not a PyTorch checkpoint") from error

    def _loaded(self, file: io.BytesIO) -> Any:
        for opcode, argument, _ in pickletools.genops(file):
            self._left -= 1
            if self._left < 0:
                raise TorchFileError("has too many parts")
            if opcode.name == "STOP":
                return self._stack.pop()
            self._step(opcode.name, argument)
        raise TorchFileError("is truncated")

    def _step(self, name: str, argument: Any) -> None:
        if name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name]())
        elif name in _ARGUMENTS:
            self._stack.append(argument)
        elif name == "GLOBAL":
            self._stack.append(_Global(argument))
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            self._stack[-count:] = [tuple(self._stack[-count:])]
        elif name in _ACTIONS:
            _ACTIONS[name](self)
        elif name != "PROTO":
            raise TorchFileError(f"has a pickle with {name}, which tensors do not need")

    def _since_mark(self) -> list[Any]:
        """What lies above the last mark; it is taken from the stack together with the mark."""
        place = len(self._stack) - 1
        while self._stack[place] is not _MARK:  # an IndexError where there is none
            place -= 1
        found = self._stack[place + 1 :]
        del self._stack[place:]
        return found

    def _tuple(self) -> None:
        self._stack.append(tuple(self._since_mark()))

    def _set_items(self) -> None:
        items = self._since_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            self._set(key, value)

    def _set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set(key, value)

    def _set(self, key: Any, value: Any) -> None:
        # Other keys than strings are not even hashed, which can take for ever for nested tuples.
        target = self._stack[-1]
        if not isinstance(target, dict) or not isinstance(key, str) or key in target:
            raise TorchFileError("has a dict with repeated names or with other keys than strings")
        target[key] = value

    def _append_items(self) -> None:
        items, target = self._since_mark(), self._stack[-1]
        if not isinstance(target, list):
            raise TorchFileError("is damaged: it appends to what is no list")
        target.extend(items)

    def _build(self) -> None:
        """Attributes of the dict of tensors, such as versions of layers: they are dropped."""
        self._stack.pop()

    def _storage(self) -> None:
        match self._stack.pop():
            case ("storage", _Global() as kind, str(key), str(), int(count), None):
                dtype = _STORAGES.get(kind.name)
                if dtype is not None and type(count) is int and count >= 0:
                    self._stack.append(_Storage(key, dtype, count))
                    return
        raise TorchFileError("has a storage of an unknown kind")

    def _reduce(self) -> None:
        """The two calls that a dict of tensors is made by; neither of them is made."""
        arguments, function = self._stack.pop(), self._stack.pop()
        if function == _Global(_ORDERED) and arguments == ():
            self._stack.append({})
        elif function == _Global(_REBUILD):
            self._stack.append(_tensor(arguments))
        else:
            name = function.name if isinstance(function, _Global) else "an object"
            raise TorchFileError(f"wants to call {name!r:.60}, which is never done")


def _tensor(arguments: Any) -> _Tensor:
    """From the arguments of torch._utils._rebuild_tensor_v2."""
    match arguments:
        case (_Storage() as storage, int(offset), tuple(shape), tuple(strides), False, dict(hooks)):
            numbers = (*shape, *strides)
            whole = all(type(number) is int and number >= 1 for number in numbers)
            sound = whole and len(shape) == len(strides) <= 4
            if sound and type(offset) is int and offset >= 0 and not hooks:
                return _Tensor(storage, offset, shape, _sorted_axes(shape, strides))
    raise TorchFileError("has a tensor of an unknown kind")


def _sorted_axes(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """The axes, the one of the longest stride first; none is skipped and none overlaps another."""
    axes = tuple(sorted(range(len(shape)), key=lambda axis: strides[axis], reverse=True))
    for place, axis in enumerate(axes):
        below = math.prod(shape[other] for other in axes[place + 1 :])
        if shape[axis] > 1 and strides[axis] != below:
            raise TorchFileError("has a tensor of an unknown layout")
    return axes


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "MARK": lambda: _MARK,
}
_ARGUMENTS = ("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE")
_ACTIONS: dict[str, Callable[[_Machine], None]] = {
    "TUPLE": _Machine._tuple,
    "SETITEM": _Machine._set_item,
    "SETITEMS": _Machine._set_items,
    "APPENDS": _Machine._append_items,
    "BUILD": _Machine._build,
    "BINPERSID": _Machine._storage,
    "REDUCE": _Machine._reduce,
}
