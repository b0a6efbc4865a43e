"""An ONNX graph that grows node by node, written as formulas: the only module that imports onnx."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from catclf.errors import SettingsError
from catclf.text import to_install

OPSET, IR_VERSION = 17, 8  # of 2022: runtimes since then read the file
Shape = Sequence[int | str]


def _operator(kind: str) -> Callable[[Value, Value | ArrayLike], Value]:
    return lambda value, other: value.op(kind, other)


class Value:
    """The result of a node: an array whose first axis is the number of images, of a dtype.

    Each operator and method adds a node to the graph. A float beside a value takes its dtype.
    """

    __array_ufunc__ = None  # an operator of a NumPy array and a value is the value's

    def __init__(self, graph: Graph, name: str, dtype: Any) -> None:
        self.graph, self.name, self.dtype = graph, name, np.dtype(dtype)

    def op(self, kind: str, *others: Value | ArrayLike, **options: Any) -> Value:
        """The operator ``kind`` of ONNX with this value before ``others``: see ``Graph.add``."""
        return self.graph.add(kind, self, *others, **options)

    __add__ = _operator("Add")
    __sub__ = _operator("Sub")
    __mul__ = _operator("Mul")
    __truediv__ = _operator("Div")
    __matmul__ = _operator("MatMul")

    def __rmatmul__(self, other: ArrayLike) -> Value:
        return self.graph.add("MatMul", other, self)

    def __neg__(self) -> Value:
        return self.op("Neg")

    def sqrt(self) -> Value:
        return self.op("Sqrt")

    def cast(self, dtype: Any) -> Value:
        """The same numbers with another NumPy type."""
        return self.op("Cast", dtype=dtype, to=self.graph.type_of(dtype))

    def reshape(self, *shape: int) -> Value:
        """For all images: 0 keeps an axis, -1 takes what is left."""
        return self.op("Reshape", shape)

    def transpose(self, *axes: int) -> Value:
        """The axes in another order."""
        return self.op("Transpose", perm=axes)

    def slice(self, axis: int, start: int, stop: int) -> Value:
        """x[start:stop] of an axis."""
        return self.op("Slice", [start], [stop], [axis])

    def reverse(self, axis: int) -> Value:
        """x[::-1] of an axis."""
        before_first = np.iinfo(np.int64).min + 1
        return self.op("Slice", [-1], [before_first], [axis], [-1])

    def sum(self, axis: int) -> Value:
        """Sums over an axis, which stays with length 1."""
        return self.op("ReduceSum", [axis], keepdims=1)

    def join(self, *others: Value, axis: int) -> Value:
        """This value and others, one after the other along an axis."""
        return self.op("Concat", *others, axis=axis)

    def unit_rows(self, length: float, shortest: ArrayLike) -> Value:
        """Rows (N, n) float32 brought to one length."""
        lengths = (self * self).sum(1).sqrt().op("Max", shortest)
        return self * self.graph.add("Div", np.float32(length), lengths)


class Graph:
    """Nodes and constants. Raises SettingsError where onnx is not installed."""

    def __init__(self) -> None:
        try:
            import onnx  # noqa: TID251
        except ImportError as error:
            raise SettingsError(f"a graph needs onnx ({error}): {to_install('onnx')}") from error
        self._onnx: Any = onnx
        self._nodes: list[Any] = []
        self._inputs: list[Any] = []
        self._constants: list[Any] = []

    def input(self, name: str, dtype: Any, shape: Shape) -> Value:
        """What the graph is given."""
        self._inputs.append(self._declared(name, dtype, shape))
        return Value(self, name, dtype)

    def constant(self, values: ArrayLike) -> Value:
        """An array; whole numbers of Python are int64, texts are strings."""
        array, name = np.asarray(values), f"c{len(self._constants)}"
        if array.dtype.kind == "U":
            array = array.astype(object)
        made = self._onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        self._constants.append(made)
        return Value(self, name, array.dtype)

    def add(
        self,
        op: str,
        *inputs: Value | ArrayLike,
        name: str = "",
        dtype: Any = None,
        **attributes: Any,
    ) -> Value:
        """A node of the operator ``op``, and its result.

        Inputs that are no values become constants. The result has the dtype of the first value
        among the inputs, unless ``dtype`` says otherwise.
        """
        like = next(each.dtype for each in inputs if isinstance(each, Value))
        values = [
            each
            if isinstance(each, Value)
            else self.constant(np.asarray(each, like) if type(each) is float else each)
            for each in inputs
        ]
        name = name or f"v{len(self._nodes)}"
        names = [value.name for value in values]
        self._nodes.append(self._onnx.helper.make_node(op, names, [name], **attributes))
        return Value(self, name, like if dtype is None else dtype)

    def type_of(self, dtype: Any) -> int:
        """The number of a NumPy type in ONNX."""
        return int(self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def to_bytes(
        self, outputs: Mapping[str, tuple[Any, Shape]], facts: Mapping[str, str], about: str
    ) -> bytes:
        """The file, checked; outputs by name, with type (object for texts) and shape."""
        helper = self._onnx.helper
        declared = [self._declared(name, *value) for name, value in outputs.items()]
        graph = helper.make_graph(
            self._nodes, "catclf", self._inputs, declared, initializer=self._constants
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

    def _declared(self, name: str, dtype: Any, shape: Shape) -> Any:
        return self._onnx.helper.make_tensor_value_info(name, self.type_of(dtype), list(shape))
