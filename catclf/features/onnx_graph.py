"""An ONNX graph that grows node by node: the one door to onnx.

Names of values stand for arrays whose first axis is the number of images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from catclf.errors import SettingsError
from catclf.text import to_install

OPSET, IR_VERSION = 17, 8  # of 2022: runtimes since then read the file


class Graph:
    """Nodes and constants; each method adds one node and returns the name of its result.

    Raises SettingsError where onnx is not installed.
    """

    def __init__(self) -> None:
        try:
            import onnx  # noqa: TID251
        except ImportError as error:
            raise SettingsError(f"a graph needs onnx ({error}): {to_install('onnx')}") from error
        self._onnx: Any = onnx
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def constant(self, values: ArrayLike) -> str:
        """An array; whole numbers of Python are int64, texts are strings."""
        array, name = np.asarray(values), f"c{len(self._constants)}"
        if array.dtype.kind == "U":
            array = array.astype(object)
        made = self._onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        self._constants[name] = made
        return name

    def add(self, op: str, *inputs: str | ArrayLike, name: str = "", **attributes: Any) -> str:
        """A node of the operator ``op``, and the name of its result; other inputs are constants."""
        names = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        name = name or f"v{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(op, names, [name], **attributes))
        return name

    def cast(self, x: str | ArrayLike, dtype: Any, to: str = "") -> str:
        """The same numbers with another NumPy type."""
        kind = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.add("Cast", x, name=to, to=kind)

    def reshape(self, x: str, *shape: int) -> str:
        """For all images: 0 keeps an axis, -1 takes what is left."""
        return self.add("Reshape", x, shape)

    def transpose(self, x: str, *axes: int) -> str:
        """The axes in another order."""
        return self.add("Transpose", x, perm=list(axes))

    def slice(self, x: str, axis: int, start: int, stop: int) -> str:
        """x[start:stop] of an axis."""
        return self.add("Slice", x, [start], [stop], [axis])

    def reverse(self, x: str, axis: int) -> str:
        """x[::-1] of an axis."""
        last = np.iinfo(np.int64).min + 1  # before the first
        return self.add("Slice", x, [-1], [last], [axis], [-1])

    def sum(self, x: str, *axes: int) -> str:
        """Sums over axes, which stay with length 1."""
        return self.add("ReduceSum", x, axes, keepdims=1)

    def unit_rows(self, rows: str, length: ArrayLike, shortest: ArrayLike) -> str:
        """Rows (N, n) float32 brought to one length."""
        lengths = self.add("Sqrt", self.sum(self.add("Mul", rows, rows), 1))
        lengths = self.add("Max", lengths, np.asarray(shortest, np.float32))
        factor = self.add("Div", np.asarray(length, np.float32), lengths)
        return self.add("Mul", rows, factor)

    def to_bytes(
        self,
        inputs: Mapping[str, tuple[Any, Sequence[int | str]]],
        outputs: Mapping[str, tuple[Any, Sequence[int | str]]],
        facts: Mapping[str, str],
        about: str,
    ) -> bytes:
        """The file, checked; inputs and outputs by name, with type (str for texts) and shape."""
        helper = self._onnx.helper
        graph = helper.make_graph(
            self._nodes,
            "catclf",
            [self._value(name, *value) for name, value in inputs.items()],
            [self._value(name, *value) for name, value in outputs.items()],
            list(self._constants.values()),
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="catclf",
            doc_string=about,
        )
        helper.set_model_props(model, dict(facts))
        self._onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))

    def _value(self, name: str, dtype: Any, shape: Sequence[int | str]) -> Any:
        helper, dtype = self._onnx.helper, np.dtype(object if dtype is str else dtype)
        kind = helper.np_dtype_to_tensor_dtype(dtype)
        return helper.make_tensor_value_info(name, kind, list(shape))
