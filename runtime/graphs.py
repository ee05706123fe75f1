"""Plain functions on ONNX graphs: what a node reads, the two graphs of a step as one, and the cut to what is asked."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from math import prod

import numpy as np
from onnx import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
    shape_inference,
)

Shape = tuple["int | str | None", ...]
# Element types narrower than a byte.
BITS = {"UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2, "FLOAT6E2M3": 6, "FLOAT6E3M2": 6}
Known = Mapping[str, tuple[int, tuple["int | None", ...]]]  # element type, and dimensions: None where one is free
Values = Mapping[tuple["int | None", str], np.ndarray]  # by the training_info (None: the main graph) and the name


def is_op(node: NodeProto, *op_types: str) -> bool:
    """Whether it is an operator of ONNX itself, one of these if any are named."""
    return node.domain in ("", "ai.onnx") and (not op_types or node.op_type in op_types)


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The bodies of If, Loop and Scan."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs


def nodes(graph: GraphProto | FunctionProto) -> Iterator[NodeProto]:
    """Every node, each followed by those of its bodies."""
    for node in graph.node:
        yield node
        for body in subgraphs(node):
            yield from nodes(body)


def reads(node: NodeProto) -> Iterator[str]:
    """Names that a node reads, those that its bodies take from outside included."""
    for name in node.input:
        if name:
            yield name
    for body in subgraphs(node):
        yield from free_names(body)


def makers(nodes: Iterable[NodeProto]) -> dict[str, int]:
    """The place of the node that makes each value."""
    return {name: i for i, node in enumerate(nodes) for name in node.output if name}


def reading(nodes: Iterable[NodeProto]) -> list[list[str]]:
    """What each node reads, each name once."""
    return [list(dict.fromkeys(reads(node))) for node in nodes]


def users(reading: Sequence[Sequence[str]]) -> dict[str, list[int]]:
    """The places of the nodes that read each value."""
    found: dict[str, list[int]] = {}
    for i, names in enumerate(reading):
        for name in names:
            found.setdefault(name, []).append(i)
    return found


def free_names(graph: GraphProto) -> Iterator[str]:
    """Names that a body reads and does not define."""
    own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    own.update(name for node in graph.node for name in node.output)
    for node in graph.node:
        yield from (name for name in reads(node) if name not in own)
    yield from (value.name for value in graph.output if value.name not in own)


def rename(node: NodeProto, names: Mapping[str, str]) -> None:
    """Other names for what a node reads, in its bodies too where they do not define them."""
    for at, name in enumerate(node.input):
        if name in names:
            node.input[at] = names[name]
    for body in subgraphs(node):
        if names.keys() & set(free_names(body)):
            for inner in body.node:
                rename(inner, names)
            for value in body.output:
                value.name = names.get(value.name, value.name)


def tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Every tensor that a graph holds: initializers, constants in attributes, those of bodies."""
    pending = [graph]
    while pending:
        at = pending.pop()
        yield from at.initializer
        for sparse in at.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for node in at.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors
            pending.extend(subgraphs(node))


TEXT, MESSAGE = 9, 11  # types of fields, as protobuf numbers them


def undecoded(model: ModelProto) -> tuple[str, bytes] | None:
    """The first text that is no UTF-8, and its field: protobuf takes any bytes, and gives what is no text as bytes."""
    pending = [model]
    while pending:
        for field, value in pending.pop().ListFields():
            if field.type == MESSAGE:
                pending.extend(value if field.is_repeated else (value,))
            elif field.type == TEXT:
                for text in value if field.is_repeated else (value,):
                    if not isinstance(text, str):
                        return field.name, text
    return None


DATA = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


def held(tensor: TensorProto) -> dict[str, int]:
    """The fields of a tensor that hold data, and how much: bytes of `raw_data`, values of the others."""
    counts = {name: len(getattr(tensor, name)) for name in DATA}
    return {name: count for name, count in counts.items() if count}


def holds(tensor: TensorProto, dtype: np.dtype[np.generic]) -> dict[str, int]:
    """What `held` says of a tensor that is whole: `raw_data` where it has that, else the field of its type."""
    count = math.prod(tensor.dims)
    if not count:
        return {}
    element = tensor.data_type
    bits = BITS.get(TensorProto.DataType.Name(element), dtype.itemsize * 8)
    if tensor.HasField("raw_data") and element != TensorProto.STRING:
        return {"raw_data": -(-count * bits // 8)}
    field = helper.tensor_dtype_to_field(element)
    if dtype.kind == "c":
        count *= 2
    return {field: -(-count * bits // 8) if bits in (2, 4) else count}  # two or four of these stand in one


def sparse_name(tensor: object) -> str:
    """The name of a sparse initializer is that of its values."""
    return str(tensor.values.name)  # type: ignore[attr-defined]


def inputs(graph: GraphProto) -> list[ValueInfoProto]:
    """The inputs that must be fed: one that is also an initializer has a default and is state or a constant."""
    held = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in held]


def dtype_of(element: int) -> np.dtype[np.generic]:
    """The NumPy dtype of an ONNX element type."""
    return np.dtype(helper.tensor_dtype_to_np_dtype(element))


def numbers(array: np.ndarray) -> memoryview:
    """The bytes of an array in the order of its elements, without a copy where they lie so."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def opsets(model: ModelProto) -> dict[str, int]:
    """The versions of the operator sets that a model imports and uses, the default one and those that a node names:
    some tools import all that they know."""
    parts = (graph for info in model.training_info for graph in (info.algorithm, info.initialization))
    used = {"", "ai.onnx", *(node.domain for part in (model.graph, *parts, *model.functions) for node in nodes(part))}
    return {entry.domain: entry.version for entry in model.opset_import if entry.domain in used}


def source(node: NodeProto) -> str:
    """The line of the spec that a node comes from, `dlc.source`; "" without one."""
    return sys.intern(next((entry.value for entry in node.metadata_props if entry.key == "dlc.source"), ""))


def element_of(dtype: np.dtype[np.generic]) -> int:
    """The ONNX element type of a NumPy dtype."""
    return int(helper.np_dtype_to_tensor_dtype(dtype))


def shape_of(value: ValueInfoProto) -> Shape | None:
    """The dimensions of a value: a size, a name, or None where nothing is said; None where the rank is unknown."""
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    return tuple(int(d.dim_value) if d.HasField("dim_value") else (d.dim_param or None) for d in kind.shape.dim)


def tensor(name: str, array: np.ndarray) -> TensorProto:
    """A tensor that holds an array as raw bytes."""
    return numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)


def raw_size(held: TensorProto) -> int | None:
    """How many bytes a tensor holds by its shape and type; None where it does not hold raw bytes of whole elements.
    Of what passed the validator: to ask for the bytes themselves copies them."""
    if not held.HasField("raw_data") or held.data_type >= TensorProto.UINT4:  # wider types: half bytes differ
        return None
    return int(prod(held.dims)) * dtype_of(held.data_type).itemsize


def serialized(model: ModelProto) -> bytes | None:
    """None of a message over 2 GB, which protobuf does not write."""
    try:
        data: bytes = model.SerializeToString()
    except Exception:  # protobuf has no class of its own for that
        return None
    return data


def inferred(model: ModelProto) -> ModelProto:
    """The model with the types and shapes that ONNX's inference finds, in bodies too."""
    try:
        return shape_inference.infer_shapes(model)
    except Exception:  # ONNX has no class of its own for a graph it cannot follow, or one over 2 GB
        return model


def shapes(model: ModelProto) -> ModelProto:
    """What `inferred` says of values, and of nodes those with bodies: a message that takes a fraction of the memory."""
    whole = inferred(model)
    if whole is model:
        return model
    made = ModelProto()
    for field in ("input", "output", "value_info"):
        getattr(made.graph, field).extend(getattr(whole.graph, field))
    for held in whole.graph.initializer:
        made.graph.initializer.add(name=held.name, data_type=held.data_type, dims=held.dims)
    made.graph.node.extend(node for node in whole.graph.node if any(subgraphs(node)))
    return made


def known(model: ModelProto, shapes: ModelProto | None = None) -> Known:
    """The element type and the dimensions of every value whose rank is known; `shapes`: what `inferred` gave."""
    graph = (inferred(model) if shapes is None else shapes).graph
    found: dict[str, tuple[int, tuple[int | None, ...]]] = {
        held.name: (held.data_type, tuple(held.dims)) for held in graph.initializer
    }
    for values in (graph.input, graph.value_info, graph.output):
        for value in values:
            kind = value.type.tensor_type
            if kind.HasField("shape"):
                sizes = (d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
                found[value.name] = kind.elem_type, tuple(sizes)
    return found


def names(graph: GraphProto) -> set[str]:
    """Every name of a value or node that is taken."""
    taken = {name for node in graph.node for name in (node.name, *node.input, *node.output)}
    return taken | {value.name for value in graph.input} | {held.name for held in graph.initializer}


def fresh(base: str, taken: set[str]) -> str:
    """`base`, numbered where it is taken; it is then."""
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}/{number}"
    taken.add(name)
    return name


def needed(nodes: Sequence[NodeProto], outputs: Iterable[str]) -> list[NodeProto]:
    """Those that the outputs need, in order."""
    wanted = set(outputs)
    kept = []
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.output):
            kept.append(node)
            wanted.update(reads(node))
    return kept[::-1]


def concatenate(
    model: ModelProto,
    algorithm: GraphProto | None,
    outputs: Iterable[str],
    promote: Collection[str],
    replace: Mapping[str, np.ndarray] | None = None,
) -> ModelProto:
    """A step as one model: the main graph and `algorithm`, cut to the nodes that `outputs` need.

    Initializers named in `promote` become inputs (an initializer that a session holds is folded away); those
    in `replace` get other values. An output may be any value; one that no graph gives has no type yet. Linear in nodes.
    """
    graphs = [model.graph] if algorithm is None else [model.graph, algorithm]
    asked = list(outputs)
    last = set(asked)
    kept = needed([node for graph in graphs for node in graph.node], asked)
    wanted = last.union(*(reads(node) for node in kept))

    made = ModelProto()
    made.CopyFrom(_shell(model))
    into = made.graph
    into.name = "step"
    into.node.extend(kept)
    declared: dict[str, ValueInfoProto] = {}
    for graph in graphs:
        declared.update((value.name, value) for value in graph.output)
        # Shapes that ONNX Runtime cannot infer: with them it loads deep graphs faster and reuses memory.
        into.value_info.extend(value for value in graph.value_info if value.name in wanted and value.name not in last)
        into.input.extend(value for value in inputs(graph) if value.name in wanted)
        for sparse in graph.sparse_initializer:
            if sparse_name(sparse) in wanted:
                into.sparse_initializer.append(sparse)
        for held in graph.initializer:
            if held.name not in wanted:
                continue
            if held.name in promote:
                into.input.append(helper.make_tensor_value_info(held.name, held.data_type, list(held.dims)))
            elif replace is not None and held.name in replace:
                into.initializer.append(tensor(held.name, replace[held.name]))
            else:
                into.initializer.add().CopyFrom(held)  # append serializes: three copies, and none over 2 GB
    into.output.extend(declared.get(name) or ValueInfoProto(name=name) for name in asked)
    return made


def whole(model: ModelProto, algorithm: GraphProto | None, large: int) -> ModelProto:
    """A step as one model with nothing cut away, for a checker. Initializers of more than `large` bytes become
    inputs: their values decide no shape, and a message over 2 GB cannot be checked."""
    made = ModelProto()
    made.CopyFrom(_shell(model))
    into = made.graph
    into.name = "step"
    for graph in [model.graph] if algorithm is None else [model.graph, algorithm]:
        into.node.extend(graph.node)
        into.input.extend(graph.input)
        into.value_info.extend(graph.value_info)
        into.sparse_initializer.extend(graph.sparse_initializer)
        named = {value.name for value in graph.input}
        for held in graph.initializer:
            if (raw_size(held) or 0) <= large and held.ByteSize() <= large:
                into.initializer.append(held)
            elif held.name not in named:
                into.input.append(helper.make_tensor_value_info(held.name, held.data_type, list(held.dims)))
        into.output.extend(graph.output)
    return made


def cut(model: ModelProto, values: Sequence[ValueInfoProto]) -> None:
    """Makes values in the middle of a graph inputs of it, in place: what makes them goes."""
    graph, names = model.graph, {value.name for value in values}
    outputs = [value.name for value in graph.output]
    kept = needed([node for node in graph.node if names.isdisjoint(node.output)], outputs)
    wanted = {name for node in kept for name in reads(node)} | set(outputs)
    nodes = [node.SerializeToString() for node in kept]
    del graph.node[:]
    for data in nodes:
        graph.node.add().ParseFromString(data)
    inputs = [value for value in (*graph.input, *values) if value.name in wanted]
    copies = [value.SerializeToString() for value in inputs]
    del graph.input[:]
    for data in copies:
        graph.input.add().ParseFromString(data)


def _shell(model: ModelProto) -> ModelProto:
    """A model without graphs: versions and functions only."""
    shell = ModelProto(ir_version=model.ir_version, producer_name=model.producer_name)
    shell.opset_import.extend(model.opset_import)
    shell.functions.extend(model.functions)
    return shell


def standalone(model: ModelProto, graph: GraphProto) -> ModelProto:
    """A graph of a model (its initialization) as a model of its own."""
    made = ModelProto()
    made.CopyFrom(_shell(model))
    made.graph.CopyFrom(graph)
    return made


class Groups:
    """Disjoint sets of places of nodes, which are joined (Galler and Fischer 1964)."""

    def __init__(self, count: int) -> None:
        self._root = list(range(count))

    def _find(self, i: int) -> int:
        root = self._root
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    def join(self, i: int, j: int) -> None:
        self._root[self._find(i)] = self._find(j)

    def of(self, places: Iterable[int]) -> list[list[int]]:
        """These places by their set, in their order."""
        found: dict[int, list[int]] = {}
        for i in places:
            found.setdefault(self._find(i), []).append(i)
        return list(found.values())
