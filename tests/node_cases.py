"""The ONNX project's own node tests, rebuilt from our primitives: which primitive stands for which operator."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, reduce
from pathlib import Path
from typing import Any

import numpy as np
from dlc import ops
from dlc.ir.graph import Graph, Node
from dlc.ir.op import OPS
from dlc.ir.types import Dim, TensorType
from dlc.ops.leaf import make_input, make_size
from onnx import defs, helper

COMPILER = Path(__file__).parent.parent / "compiler"
HELD = {"float32": "float", "float64": "float", "int64": "int", "int32": "int", "bool": "bool"}
REFUSED = {
    "float16": "the CPU provider does not run a file in float16",
    "object": "no file of ours holds texts",
    "uint32": "of uint32 there are the draws alone, which test_random.py checks to the last bit",
    "uint64": "of uint64 there are the draws alone, which test_random.py checks to the last bit",
}
NAMES_ONLY = ("placement.py", "kernels.py", "foreign.py", "names.py")  # files that name operators and write none


class Left(Exception):
    """Why a node test is left out."""


@dataclass
class Case:
    """One node test: the operands as leaves of a graph of ours, made when they are asked for."""

    name: str
    inputs: list[Any]
    expected: Any
    attributes: dict[str, Any]
    graph: Graph = field(default_factory=Graph)
    leaves: dict[int, Node] = field(default_factory=dict)

    def __getitem__(self, number: int) -> Node:
        """An operand as a leaf."""
        return self.leaf(number, np.shape(self.inputs[number]))

    def free(self, number: int) -> Node:
        """An operand all of whose sizes are free."""
        return self.leaf(number, tuple(Dim.name(f"d{i}") for i in range(np.ndim(self.inputs[number]))))

    def leaf(self, number: int, shape: tuple[Any, ...]) -> Node:
        if number not in self.leaves:
            value = self.inputs[number]
            dtype = getattr(getattr(value, "dtype", None), "name", "a list")
            if dtype not in HELD:
                raise Left(REFUSED.get(dtype, f"no file of ours holds {dtype}"))
            self.leaves[number] = make_input(self.graph, str(number), TensorType(HELD[dtype], shape))
        return self.leaves[number]

    @property
    def all(self) -> list[Node]:
        return [self[number] for number in range(len(self.inputs))]

    @property
    def feeds(self) -> dict[str, Any]:
        held = {str(number): self.inputs[number] for number in self.leaves}
        return {name: value.astype(np.int64) if value.dtype == np.int32 else value for name, value in held.items()}

    def value(self, number: int, default: Any = None) -> Any:
        """An operand that is an attribute of ours: shapes, axes, bounds. Python's numbers."""
        given = number < len(self.inputs) and self.inputs[number] is not None
        return self.inputs[number].tolist() if given else default

    def get(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)


def named(name: str) -> Callable[[Case], Node]:
    """The operator is the operation of that name on the same operands."""
    return lambda c: OPS[name](*c.all)


def built(build: Callable[..., Node]) -> Callable[[Case], Node]:
    return lambda c: build(*c.all)


def folded(build: Callable[..., Node]) -> Callable[[Case], Node]:
    """Of several operands: two at a time."""

    def make(c: Case) -> Node:
        if len(c.inputs) < 2:
            raise Left("we write it of two operands")
        return reduce(build, c.all)

    return make


def floats_only(make: Callable[[Case], Node], why: str) -> Callable[[Case], Node]:
    def checked(c: Case) -> Node:
        if any(np.asarray(value).dtype.kind != "f" for value in c.inputs):
            raise Left(why)
        return make(c)

    return checked


def power(c: Case) -> Node:
    if {value.dtype.kind for value in c.inputs} == {"f", "i"} and c.inputs[0].dtype.kind == "i":
        raise Left("our power of an integer by a fraction is a fraction")
    return ops.pow_(c[0], c[1])


def remainder(c: Case) -> Node:
    if c.get("fmod"):
        raise Left("fmod = 1 (sign of the dividend) is written inside our remainder, which has the divisor's")
    return ops.mod(c[0], c[1])


def extreme_index(build: Callable[..., Node]) -> Callable[[Case], Node]:
    def make(c: Case) -> Node:
        if c.get("select_last_index"):
            raise Left("select_last_index is never written")
        axis = c.get("axis", 0)
        found = build(c[0], axis=axis)
        return ops.expand_dims(found, axis % c[0].rank) if c.get("keepdims", 1) else found

    return make


def reduction(build: Callable[..., Node]) -> Callable[[Case], Node]:
    def make(c: Case) -> Node:
        if c.inputs[0].dtype == np.bool_:
            raise Left("of booleans it is never written")
        axes = c.value(1, c.get("axes"))
        if not axes and not c.get("noop_with_empty_axes"):
            axes = range(c[0].rank)
        return build(c[0], axes=axes or (), keepdims=bool(c.get("keepdims", 1)))

    return make


def along(build: Callable[..., Node]) -> Callable[[Case], Node]:
    return lambda c: build(c[0], axis=c.get("axis", -1))


def gather_elements(c: Case) -> Node:
    return ops.take_along(c[0], c[1], axis=c.get("axis", 0))


def scatter_elements(c: Case) -> Node:
    """Added to what is there; or onto zeros, no place twice."""
    how, axis = c.get("reduction", b"none"), c.get("axis", 0)
    if how not in (b"add", b"none"):
        raise Left("we write it to add")
    if how == b"none" and c.inputs[0].any():
        raise Left("without adding we write it onto zeros")
    put = OPS["put_along"](c[2], c[1], size=c.inputs[0].shape[axis], axis=axis, distinct=how == b"none")
    return c[0] + put


def greatest(c: Case) -> Node:
    """The values of TopK: what its indices take."""
    axis = c.get("axis", -1) % c[0].rank
    index = ops.top(c[0], int(c.inputs[1][0]), axis=axis, largest=bool(c.get("largest", 1)))
    return ops.take_along(c[0], index, axis=axis, distinct=True)


def running(c: Case) -> Node:
    return ops.cumsum(c[0], axis=int(c.inputs[1]), exclusive=bool(c.get("exclusive")), reverse=bool(c.get("reverse")))


def gemm(c: Case) -> Node:
    third = c[2] if len(c.inputs) > 2 else ops.constant(c.graph, 0.0, "float")
    beta = float(c.get("beta", 1.0)) if len(c.inputs) > 2 else 0.0
    flags = {"ta": bool(c.get("transA", 0)), "tb": bool(c.get("transB", 0))}
    return OPS["gemm"](c[0], c[1], third, alpha=float(c.get("alpha", 1.0)), beta=beta, **flags)


def matmul(c: Case) -> Node:
    """Of vectors as rows and columns."""
    a, b = c[0], c[1]
    left, right = a.rank == 1, b.rank == 1
    y = ops.matmul(ops.expand_dims(a, 0) if left else a, ops.expand_dims(b, 1) if right else b)
    y = ops.squeeze(y, -1) if right else y
    return ops.squeeze(y, y.rank - (1 if right else 2)) if left else y


def transposed(c: Case) -> Node:
    perm = c.get("perm", list(reversed(range(c[0].rank))))
    if perm == sorted(perm):
        raise Left("one that changes nothing is never written")
    return ops.transpose(c[0], perm=perm)


def cut(c: Case) -> Node:
    shape = c.inputs[0].shape
    starts, stops = c.value(1), c.value(2)
    axes = c.value(3, range(len(starts)))
    steps = c.value(4, [1] * len(starts))
    bounds = [(0, size, 1) for size in shape]
    for start, stop, axis, step in zip(starts, stops, axes, steps, strict=True):
        bounds[axis] = slice(start, stop, step).indices(shape[axis])
    first, last, by = zip(*bounds, strict=True)
    return ops.slice_(c[0], starts=first, stops=last, steps=by)


def shape_of(c: Case) -> Node:
    x = c.free(0)
    sizes = x.shape[c.get("start", 0) : c.get("end", x.rank)]
    if not sizes:
        raise Left("the shape of nothing is a constant of ours")
    return ops.stack([make_size(c.graph, size) for size in sizes])


def scattered(c: Case) -> Node:
    if c.get("reduction") != b"add" or c.inputs[1].shape[-1] != 1:
        raise Left("we write it to add whole rows")
    index = ops.constant(c.graph, c.inputs[1][..., 0], "int")
    return c[0] + ops.scatter_add(c[2], index, shape=c[0].shape, axis=0)


def counted(c: Case) -> Node:
    start, limit, delta = (c.value(i) for i in range(3))
    x = ops.make_arange(c.graph, len(c.expected)) * delta + start
    return x if np.asarray(limit).dtype.kind == "f" else ops.cast(x, dtype="int")


def sliding(c: Case, rank: int) -> dict[str, Any]:
    """The attributes of a convolution or of pooling as ours."""
    if c.get("auto_pad", b"NOTSET") != b"NOTSET" or c.get("output_shape"):
        raise Left("paddings are written as numbers (auto_pad and output_shape never)")
    return {
        "strides": tuple(c.get("strides", [1] * rank)),
        "pads": tuple(c.get("pads", [0] * 2 * rank)),
        "dilations": tuple(c.get("dilations", [1] * rank)),
    }


def convolution(c: Case) -> Node:
    return OPS["conv"](c[0], c[1], groups=c.get("group", 1), **sliding(c, c[0].rank - 2))


def transposed_convolution(c: Case) -> Node:
    how = sliding(c, c[0].rank - 2)
    if set(how["strides"]) == {1}:
        raise Left("of stride 1 it is written as a Conv")
    return OPS["conv_input"](c[0], c[1], shape=np.shape(c.expected), groups=c.get("group", 1), **how)


def pooling(name: str) -> Callable[[Case], Node]:
    def make(c: Case) -> Node:
        rank = len(c.get("kernel_shape"))
        how = sliding(c, rank)
        if c.get("ceil_mode"):
            raise Left("ceil_mode is never written")
        if name == "avg_pool":
            if set(how.pop("dilations")) != {1}:
                raise Left("a mean is not dilated")
            if any(how["pads"]) and not c.get("count_include_pad"):
                raise Left("our mean counts the padding")
        return OPS[name](c[0], kernel=tuple(c.get("kernel_shape")), **how)

    return make


def layer_normalization(c: Case) -> Node:
    if c.get("axis", -1) not in (-1, np.ndim(c.inputs[0]) - 1):
        raise Left("a layer normalization over several dimensions is never written")
    return ops.standardize(c[0], eps=float(c.get("epsilon", 1e-5))) * c[1] + c[2]


TABLE: dict[str, Callable[[Case], Node]] = {
    "Abs": named("abs"),
    "Neg": named("neg"),
    "Sign": named("sign"),
    "Exp": named("exp"),
    "Log": named("log"),
    "Sqrt": named("sqrt"),
    "Sin": named("sin"),
    "Cos": named("cos"),
    "Tanh": named("tanh"),
    "Relu": named("relu"),
    "Sigmoid": named("gate"),
    "Erf": named("erf"),
    "Floor": named("floor"),
    "Ceil": named("ceil"),
    "Round": named("round"),
    "Not": named("not"),
    "And": named("and"),
    "Or": named("or"),
    "Add": built(ops.add),
    "Sub": built(ops.sub),
    "Mul": built(ops.mul),
    "Equal": built(ops.eq),
    "Div": floats_only(built(ops.div), "of integers it is written where nothing is left over"),
    "Less": built(ops.lt),
    "LessOrEqual": built(ops.le),
    "Greater": built(ops.gt),
    "GreaterOrEqual": built(ops.ge),
    "Where": built(ops.where),
    "Max": folded(ops.maximum),
    "Min": folded(ops.minimum),
    "Pow": power,
    "Mod": remainder,
    "ArgMax": extreme_index(ops.argmax),
    "ArgMin": extreme_index(ops.argmin),
    "ReduceSum": reduction(ops.reduce_sum),
    "ReduceProd": reduction(ops.reduce_prod),
    "ReduceMax": reduction(ops.reduce_max),
    "ReduceMin": reduction(ops.reduce_min),
    "ReduceSumSquare": reduction(ops.reduce_sum_square),
    "Softmax": along(ops.softmax),
    "LogSoftmax": along(ops.log_softmax),
    "Reshape": lambda c: ops.reshape(c[0], shape=np.shape(c.expected)),
    "Expand": lambda c: ops.broadcast_to(c[0], shape=np.shape(c.expected)),
    "Transpose": transposed,
    "Concat": lambda c: ops.concat(*c.all, axis=c.get("axis")),
    "Gather": lambda c: ops.gather(c[0], c[1], axis=c.get("axis", 0)),
    "GatherElements": gather_elements,
    "ScatterElements": scatter_elements,
    "TopK": greatest,
    "CumSum": running,
    "IsNaN": named("is_nan"),
    "Gemm": gemm,
    "MatMul": matmul,
    "Slice": cut,
    "Shape": shape_of,
    "ScatterND": scattered,
    "Identity": lambda c: c[0],
    "Conv": convolution,
    "ConvTranspose": transposed_convolution,
    "LayerNormalization": layer_normalization,
    "MaxPool": pooling("max_pool"),
    "AveragePool": pooling("avg_pool"),
}

# Operators that the compiler's text names and that no node test can stand for, with the reason.
NEVER = {
    "Cast": "between float and integers; the node tests cast between kinds of floats",
    "Clip": "written inside logsumexp alone, between the greatest finite numbers",
    "ConstantOfShape": "a table of the emitter knows its type; nothing writes it",
    "DynamicQuantizeLinear": "the server knows it, of files that a quantizer wrote; nothing writes it",
    "If": "a profile knows it, of files that others wrote; nothing writes it",
    "IsInf": "a table of the emitter knows its type; nothing writes it",
    "Loop": "written for iterations that may end early alone; test_early_end.py has them",
    "NonZero": "a table of the emitter knows its type; nothing writes it",
    "Pad": "written inside the adjoint of a slice alone, with zeros; the node tests pad with other numbers",
    "Range": "from 0 by 1 alone, up to a free size; the node tests have none of it",
    "Reciprocal": "written inside the logistic function alone; 1 / x is a Div",
    "Resize": "a table of the emitter knows it; nothing writes it",
    "Scan": "the node tests are running sums over a few turns, which we unroll; test_scan.py has recurrences",
    "Size": "a table of the emitter knows its type; nothing writes it",
    "Squeeze": "written after GatherElements and ReduceMax alone; `squeeze` is a Reshape",
    "StringSplit": "written for columns of words alone; test_table_columns.py has them",
    "Sum": "written inside a tie alone, of single elements",
    "Tile": "a table of the emitter knows it; nothing writes it",
    "Trilu": "written for floats alone; the node tests have integers",
    "Unsqueeze": "written before GatherElements alone; `expand_dims` is a Reshape",
}


def written() -> set[str]:
    """Operators of ONNX whose names stand as texts in the compiler: all that it can write."""
    known = {schema.name for schema in defs.get_all_schemas_with_history() if schema.domain == ""}
    found: set[str] = set()
    for path in sorted(COMPILER.rglob("*.py")):
        if path.name not in NAMES_ONLY:
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in known:
                    found.add(node.value)
    return found


@cache
def _modules() -> dict[str, str]:
    package = importlib.import_module("onnx.backend.test.case.node")
    return {module.name.replace("_", ""): module.name for module in pkgutil.iter_modules(package.__path__)}


def node_models(op_type: str) -> Iterator[Any]:
    """The node tests of an operator that are one node of it; those that expand a function are left."""
    module = _modules()[op_type.lower()]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        importlib.import_module(f"onnx.backend.test.case.node.{module}")
    for case in importlib.import_module("onnx.backend.test.case.node")._NodeTestCases:
        graph = case.model.graph
        if len(graph.node) == 1 and graph.node[0].op_type == op_type and not case.name.endswith("_expanded"):
            yield case


def node_tests(op_type: str) -> Iterator[Case]:
    """The same, rebuilt from our primitives."""
    for case in node_models(op_type):
        graph = case.model.graph
        attributes = {a.name: helper.get_attribute_value(a) for a in graph.node[0].attribute}
        for inputs, outputs in case.data_sets:
            given: Sequence[Any] = [value if name else None for name, value in _aligned(graph.node[0].input, inputs)]
            yield Case(case.name, list(given), outputs[0], attributes)


def _aligned(names: Sequence[str], values: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Operands with their names; those left out have none and no value."""
    left = iter(values)
    for name in names:
        yield name, next(left) if name else None
