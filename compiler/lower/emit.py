"""Writes nodes of our graph as ONNX nodes: the emitter that every lowering rule writes with.

Names are deterministic. A node is named `SCOPE/OP_NUMBER` and so is its only output, except that the value of
a root carries the root's name. Numbers, constants, sizes and shapes are shared within a file: a graph that
reads another one's values (`algorithm` reads the main graph's) is made with `beside=` that other emitter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto

from ..diagnostics import InternalError, error
from ..ir.graph import Array, Node
from ..ir.types import Dim, Size, TensorType, evaluate, names_of, walk
from ..source import Span
from . import kernels
from .attributes import repeatable, set_attribute
from .elements import BY_NUMBER, ELEMENT, NUMPY, element, tensor, value_info
from .scalars import is_leaf, rounded_once
from .scan import write_scan

# The element type of an operator's result, where it is not that of the operand which chooses the kernel.
_INT_RESULT = {"Shape", "Size", "ArgMax", "ArgMin", "NonZero", "TopK"}
_BOOL_RESULT = {"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "IsNaN", "IsInf"}

# Operators whose result's shape is the value of an operand.
_SHAPED_BY_VALUE = {"Expand", "Reshape", "ConstantOfShape", "Range", "Slice", "Pad", "Tile", "Resize"}

_MANY = 64
LONG = 1 << 16  # so many numbers are added up in double precision


class Emitter:
    """Fills `graph`, a GraphProto. `data` are the leaves that sizes may be read from, best first.

    With `spread`, arrays that hold one number many times are written as an Expand of it.
    """

    rounds = True  # whether single numbers made of integers are computed in doubles and rounded once

    def __init__(
        self,
        graph: GraphProto,
        precision: str,
        *,
        data: Iterable[Node] = (),
        reserved: Iterable[str] = (),
        beside: Emitter | None = None,
        spread: bool = False,
    ) -> None:
        self.graph, self.precision, self.spread = graph, precision, spread
        self.batch: Mapping[str, int] = {}  # free dimensions whose greatest size is known here
        self.fixed: Mapping[str, int] = {}  # those that no data have, with their size here: rows that are drawn
        self.data = list(data)
        self.titles: dict[Node, str] = {}  # names of values for who looks into the file, where they need no copy
        self.used: dict[str, None] = {}  # names of the data this graph reads, in order of first use
        self.reserved: set[str] = beside.reserved if beside else set(reserved)
        self.count: _Counter = beside.count if beside else _Counter()
        self.names: dict[Node, str] = dict(beside.names) if beside else {}
        self.dtypes: dict[str, str] = dict(beside.dtypes) if beside else {}
        self._shared: dict[Any, str] = dict(beside._shared) if beside else {}
        self._pinned: set[str] = set(beside._pinned) if beside else set()
        self._places: dict[tuple[str, Span | None], bytes] = beside._places if beside else {}
        # What a node is -> the name of its value: rules of two operations may write the same node.
        self._written: dict[Any, str] = dict(beside._written) if beside else {}
        self.parts: dict[str, list[str]] = dict(beside.parts) if beside else {}  # of a scan: the names of its results
        self._last: Any = None  # the key of the node written last
        self._several: dict[str, NodeProto] = beside._several if beside else {}  # nodes that have more outputs
        self._node: Node | None = None
        self._place = b""

    def forget(self, values: set[str]) -> None:
        """These values of the graph beside are not there for this one: it makes its own."""
        self.parts = {key: names for key, names in self.parts.items() if values.isdisjoint(names)}
        for known in (self.names, self._shared, self._written):
            for key in [key for key, name in known.items() if name in values]:
                del known[key]
        scans = {key for key, names in self.parts.items()}
        self.names = {node: name for node, name in self.names.items() if node.op.name != "scan" or name in scans}

    # --- whole nodes of our graph

    def leaf(self, node: Node, name: str) -> None:
        """The node is an input or an initializer of this name."""
        self.names[node] = name
        self.dtypes[name] = element(node.dtype, self.precision)
        self._pinned.add(name)

    def write(self, nodes: Iterable[Node], wanted: Mapping[Node, str]) -> None:
        """Writes nodes in their order, inputs first. `wanted` names some results; leaves keep theirs."""
        names, nodes = self.names, list(nodes)
        double, unread = set[Node](), set[Node]()
        if self.rounds and self.precision != "float64":
            double, unread = rounded_once(nodes, wanted, names)
        exactly: dict[Node, str] = {}
        for node in nodes:
            if node in names:
                continue
            self.at(node)
            before = len(self.graph.node)
            if node in double:
                self._exactly(node, exactly)
            if node in unread:
                continue
            name = self.cast(exactly[node], node.dtype) if node in exactly else self._lowered(node, names)
            if node in wanted:
                if self._rename(name, wanted[node], before):
                    name = wanted[node]
            else:
                if node in self.titles and self._alone(name, before):
                    self._rename(name, self.titles[node], before)
                    name = self.titles[node]
                if len(self.graph.node) > before and self.graph.node[-1].op_type in _SHAPED_BY_VALUE:
                    self._declare(name, node.type)
            names[node] = name

    def _lowered(self, node: Node, names: Mapping[Node, str]) -> str:
        try:
            return node.op.lower(self, node, *[names[source] for source in node.inputs])
        except KeyError as problem:
            raise InternalError(f"{node} cannot be lowered: {problem}") from problem

    def _exactly(self, node: Node, names: dict[Node, str]) -> None:
        """Writes a node in double precision; `names` has what is there in it."""
        precision, self.precision = self.precision, "float64"
        for source in node.inputs:
            if source not in names:  # a number, a cast of an integer, or what is squared for a length
                made = source.dtype == "float" and is_leaf(source)
                names[source] = (
                    self._lowered(source, self.names) if made else self.cast(self.names[source], source.dtype)
                )
        names[node] = self._lowered(node, names)
        self.precision = precision

    def at(self, node: Node) -> None:
        """What is written next belongs to this node."""
        self._node, self._place = node, self._metadata(node)

    def alias(self, name: str, node: Node, kind: str | None = None) -> None:
        """A second name for a value that exists, perhaps as another element type: an Identity or a Cast."""
        self.at(node)
        found = self.names[node]
        if kind is None or self.dtypes[found] == kind:
            made = self.node("Identity", [found])
        else:
            made = self.node("Cast", [found], to=ELEMENT[kind][0])
        self._rename(made, name, len(self.graph.node) - 1)

    def _rename(self, name: str, wanted: str, before: int) -> bool:
        """Gives the value just made its wanted name; a value that others may read is copied under it.

        Returns whether the value itself has the name now: what comes after reads it, not the copy.
        """
        copied = not self._alone(name, before)
        if copied:
            name = self.node("Identity", [name])
        self.graph.node[-1].output[0] = wanted
        if name in self._several:
            self._several[wanted] = self._several.pop(name)
        if self._last is not None:
            self._written[self._last] = wanted
        self.dtypes[wanted] = self.dtypes[name]
        self._pinned.add(wanted)
        return not copied

    def _alone(self, name: str, before: int) -> bool:
        """Whether a value is that of the node just made, which nothing else has named."""
        return len(self.graph.node) > before and self.graph.node[-1].output[0] == name and name not in self._pinned

    def _declare(self, name: str, type: TensorType) -> None:
        """Says the shape of a value where it depends on another value.

        ONNX Runtime cannot infer it, and then it neither reuses the memory of what follows nor loads a deep
        graph fast: 6.5 s against 0.6 for the step of a residual perceptron of 1,000 layers.
        """
        if any(isinstance(size, Dim) for size in type.shape):
            self.graph.value_info.append(value_info(name, type, self.precision))

    def _metadata(self, node: Node) -> bytes:
        """The serialized metadata_props of a node: one merge is faster than four assignments."""
        key = (node.scope, node.span)
        known = self._places.get(key)
        if known is None:
            proto = NodeProto()
            proto.metadata_props.add(key="dlc.scope", value=node.scope)
            if node.span is not None:
                proto.metadata_props.add(key="dlc.source", value=node.span.stored)
            known = self._places[key] = proto.SerializeToString(deterministic=True)
        return known

    # --- what lowering rules write with

    def node(self, op_type: str, inputs: Sequence[str], *, output: int = 0, **attributes: Any) -> str:
        """Writes one ONNX node and returns the name of its output of that number; those before it go unread. An
        input left out is ""."""
        key = repeatable(op_type, inputs, attributes)
        if key is not None and output:
            key = (*key, ("output", output))
        if key in self._written:
            return self._written[key]
        dtype = self._result_dtype(op_type, inputs, attributes)
        name = self.fresh(op_type)
        self.several(op_type, name, inputs, [*[f"{name}/{number}" for number in range(output)], name], **attributes)
        self.dtypes[name] = dtype
        if op_type == "LayerNormalization":
            self._several[name] = self.graph.node[-1]
        if key is not None:
            self._written[key] = name
            self._last = key
        else:
            self._last = None
        return name

    def several(
        self, op_type: str, name: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
    ) -> NodeProto:
        """Writes one ONNX node of that name with these outputs."""
        proto: NodeProto = self.graph.node.add()
        if self._place:
            proto.MergeFromString(self._place)
        proto.op_type = op_type
        proto.name = name
        proto.input.extend(inputs)
        proto.output.extend(outputs)
        for key, value in attributes.items():
            set_attribute(proto.attribute.add(), key, value)
        return proto

    def scan(self, node: Node, names: Sequence[str]) -> str:
        """Writes a scan; returns a name under which `parts` has those of its results."""
        self._last = None
        results = write_scan(self, node, names)
        key = str(self.graph.node[-1].name)
        self.parts[key] = results
        return key

    def inside(self, graph: GraphProto) -> Inner:
        """The emitter of a scan's body."""
        return Inner(graph, self)

    def further(self, name: str, number: int) -> str:
        """The name of output `number` of the LayerNormalization whose first output is `name`: float32."""
        outputs = self._several[name].output
        outputs.extend([""] * (number + 1 - len(outputs)))
        if not outputs[number]:
            outputs[number] = self.fresh(f"{self._several[name].op_type}_{number}")
            self.dtypes[outputs[number]] = "float32"
        return str(outputs[number])

    def constant(self, value: Any, dtype: str) -> str:
        """The name of an initializer, shared by type, shape and bytes."""
        kind = element(dtype, self.precision)
        if dtype == "int" and isinstance(value, int | tuple):  # the common case, without making an array
            quick: Any = ("int", value)
            if quick in self._shared:
                return self._shared[quick]
        else:
            quick = None
        if self.spread and np.size(value) > _MANY and np.ptp(np.asarray(value, np.float64)) == 0:
            array: Array = np.asarray(value)
            return self.node("Expand", [self.constant(array.reshape(-1)[0], dtype), self._numbers(array.shape)])
        proto = tensor("", value, kind)
        key = (kind, tuple(proto.dims), proto.raw_data)
        name = self._shared.get(key)
        if name is None:
            name = f"constant/{self.count.next_constant()}"
            while name in self.reserved:
                name = f"constant/{self.count.next_constant()}"
            proto.name = name
            self.graph.initializer.append(proto)
            self._share(key, name, kind)
        if quick is not None:
            self._shared[quick] = name
        return name

    def size(self, size: Size) -> str:
        """The name of an int64 scalar that holds a size."""
        if not isinstance(size, Dim):
            return self.constant(int(size), "int")
        key = ("scalar", size)
        if key not in self._shared:
            vector = self._vector(size)
            self._share(key, self.node("Reshape", [vector, self._numbers(())]), "int64")
        return self._shared[key]

    def shape(self, shape: Sequence[Size]) -> str:
        """The name of an int64 vector that holds a shape, or other sizes."""
        if not any(isinstance(size, Dim) for size in shape):
            return self._numbers(tuple(int(size) for size in shape))  # type: ignore[arg-type]
        key = ("shape", tuple(shape))
        if key not in self._shared:
            parts: list[str] = []
            run: list[int] = []
            for size in shape:
                if not isinstance(size, Dim):
                    run.append(int(size))
                    continue
                if run:
                    parts.append(self._numbers(tuple(run)))
                    run = []
                parts.append(self._vector(size))
            if run:
                parts.append(self._numbers(tuple(run)))
            name = parts[0] if len(parts) == 1 else self.node("Concat", parts, axis=0)
            self._share(key, name, "int64")
        return self._shared[key]

    def cast(self, name: str, dtype: str) -> str:
        """The value in another element type; itself when it has it already."""
        wanted = element(dtype, self.precision)
        if self.dtypes[name] == wanted:
            return name
        return self.node("Cast", [name], to=ELEMENT[wanted][0])

    # --- sums

    def long(self, size: Size) -> bool:
        """Whether so many numbers are too many to be added up in float32, where the kernels add one after another: the
        mean of 10^6 numbers is then off by 1e-3 of it, of 10^7 by 1e-2. A size that may be anything counts as long."""
        if self.precision != "float32":
            return False
        return any(name not in self.batch for name in names_of(size)) or evaluate(size, self.batch) >= LONG

    def doubled(self, op_type: str, inputs: Sequence[str], **attributes: Any) -> str:
        """One ONNX node of floats, in double precision, and its result in the file's."""
        wide = [self.cast(name, "float64") if self.dtypes[name] == self.precision else name for name in inputs]
        return self.cast(self.node(op_type, wide, **attributes), "float")

    # --- sizes

    def _numbers(self, values: tuple[int, ...]) -> str:
        key = ("vector", values)
        if key not in self._shared:
            self._shared[key] = self.constant(np.array(values, np.int64), "int")
        return self._shared[key]

    def _vector(self, size: Size) -> str:
        """An int64 vector of one entry."""
        return walk(
            size,
            self._named,
            lambda number: self._numbers((number,)),
            lambda a, b: self._arithmetic("Add", a, b),
            lambda a, b: self._arithmetic("Mul", a, b),
            lambda a, b: self._arithmetic("Div", a, b),
        )

    def _arithmetic(self, op_type: str, a: str, b: str) -> str:
        key = (op_type, a, b)
        if key not in self._shared:
            self._share(key, self.node(op_type, [a, b]), "int64")
        return self._shared[key]

    def _named(self, dim: str) -> str:
        """A free dimension name, read off the first data leaf whose shape tells it."""
        key = ("dim", dim)
        if dim in self.fixed:
            return self._numbers((self.fixed[dim],))
        if key not in self._shared:
            leaf, axis, factor, offset = self._where(dim)
            name = self.names[leaf]
            self.used[name] = None
            vector = self.node("Shape", [name], start=axis, end=axis + 1)
            if offset:
                vector = self.node("Sub", [vector, self._numbers((offset,))])
            if factor != 1:
                vector = self.node("Div", [vector, self._numbers((factor,))])
            self._share(key, vector, "int64")
        return self._shared[key]

    def _where(self, dim: str) -> tuple[Node, int, int, int]:
        """Leaf and axis with size = factor * dim + offset; plainly the name where there is such an axis."""
        indirect = None
        for leaf in self.data:
            for axis, size in enumerate(leaf.shape):
                line = _line(size, dim)
                if line == (1, 0):
                    return leaf, axis, 1, 0
                if line and indirect is None:
                    indirect = leaf, axis, *line
        if indirect is None:
            raise error(
                "E0350",
                f"the size `{dim}` cannot be read off any input when the file runs",
                self._node.span if self._node else None,
                f"`{dim}` is needed here",
                help=f"give it a number, or name it in the shape of an input: `input x: float[{dim}, ...]`",
            )
        return indirect

    # --- small parts

    def _share(self, key: Any, name: str, dtype: str) -> None:
        self._shared[key] = name
        self._pinned.add(name)
        self.dtypes[name] = dtype

    def fresh(self, op_type: str) -> str:
        scope = self._node.scope if self._node is not None else ""
        prefix = f"{scope}/{op_type}_" if scope else f"{op_type}_"
        name = f"{prefix}{self.count.next_node()}"
        while name in self.reserved:
            name = f"{prefix}{self.count.next_node()}"
        return name

    def _result_dtype(self, op_type: str, inputs: Sequence[str], attributes: Mapping[str, Any]) -> str:
        """The element type of the result. An error when ONNX Runtime has no kernel for the operands'."""
        if op_type == "ConstantOfShape":
            value = attributes.get("value")
            return "float32" if value is None else NUMPY[np.asarray(value).dtype]
        operand = self.dtypes[inputs[kernels.operand(op_type)]]
        # Every file must run without a GPU.
        missing = kernels.lacking(op_type, tuple(self.dtypes[name] if name else None for name in inputs), "cpu")
        if missing is not None:
            span = self._node.span if self._node else None
            what = self._node.op.name if self._node else op_type
            raise error(
                "E0810",
                f"ONNX Runtime has no kernel for `{what}` in {missing} (operator {op_type})",
                span,
                f"`{what}` in {missing}",
                notes=[f"kernels as of ONNX Runtime {kernels.version()}"],
                help="compile in another precision, or build the operation from others",
            )
        if op_type == "Cast":
            return BY_NUMBER[attributes["to"]]
        if op_type in _INT_RESULT:  # of TopK the indices
            return "int64"
        return "bool" if op_type in _BOOL_RESULT else operand


class _Counter:
    """The numbers in names; one for a file."""

    def __init__(self) -> None:
        self.nodes = self.constants = -1

    def next_node(self) -> int:
        self.nodes += 1
        return self.nodes

    def next_constant(self) -> int:
        self.constants += 1
        return self.constants


def _line(size: Size, dim: str) -> tuple[int, int] | None:
    """(a, b) when size = a * dim + b, a > 0 and nothing else; None otherwise."""
    if not isinstance(size, Dim) or size.names() != [dim]:
        return None
    terms: dict[Any, int] = dict(size.terms)
    offset = terms.pop((), 0)
    factor = terms.pop((dim,), 0)
    return (factor, offset) if factor > 0 and not terms else None


class Inner(Emitter):
    """Writes the body of a scan: what is the same in every iteration is written outside, once."""

    rounds = False

    def __init__(self, graph: GraphProto, outside: Emitter) -> None:
        super().__init__(graph, outside.precision)
        self.outside, self.batch = outside, outside.batch
        self.reserved, self.count, self.dtypes = outside.reserved, outside.count, outside.dtypes
        self._places = outside._places

    def constant(self, value: Any, dtype: str) -> str:
        return self.outside.constant(value, dtype)

    def size(self, size: Size) -> str:
        return self.outside.size(size)

    def shape(self, shape: Sequence[Size]) -> str:
        return self.outside.shape(shape)

    def made(self) -> set[str]:
        """The names of what the nodes here give."""
        return {name for node in self.graph.node for name in node.output}
