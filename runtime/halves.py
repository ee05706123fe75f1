"""Products of numbers of 16 bits where a device has kernels for them.

A file of half precision holds r(r(x) @ r(w)), each r a conversion to 16 bits and one back, which every runtime computes
in float32. A device that has the kernel is given the product of the 16 bits itself: the same numbers, but for the order
in which it adds up. Which kernels it has is asked of ONNX Runtime, by a model of that one node. On the CPU, which has
none that add up in float32, all stays as it is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto, helper

from . import devices, graphs

HALVES: dict[int, str] = {TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16"}
PRODUCTS = ("MatMul", "Gemm", "Conv", "ConvTranspose")
MOVES = ("Expand", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")  # of one operand, the first

Asked = Callable[[NodeProto, int], bool]  # whether the device has the kernel of a node for an element type


def joined(model: ModelProto, has: Asked) -> tuple[ModelProto, dict[str, int]]:
    """The model with such products in 16 bits, and how many there are of each type; the one given where there are none.
    Linear in nodes."""
    if not any(_to(node) in HALVES for node in model.graph.node):
        return model, {}
    found = _Joining(model, has)
    for node in model.graph.node:
        if node.op_type in PRODUCTS and graphs.is_op(node):
            found.product(node)
    if not found.counts:
        return model, {}
    result = ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    result.graph.node.extend(found.nodes())
    return result, dict(found.counts)


class _Joining:
    def __init__(self, model: ModelProto, has: Asked) -> None:
        self.graph, self.has = model.graph, has
        self.maker = {name: node for node in model.graph.node for name in node.output if name}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            for name in graphs.reads(node):
                self.readers.setdefault(name, []).append(node)
        self.shown = {value.name for value in model.graph.output}
        self.taken = graphs.names(model.graph)
        self.counts: Counter[str] = Counter()
        self.known: dict[tuple[str, int, str], bool] = {}  # what was asked
        self.moved: dict[str, str] = {}  # the 16 bits of values that moves make
        self.before: dict[int, list[NodeProto]] = {}  # by the id of a node: the moves that stand before it
        self.instead: dict[int, NodeProto | None] = {}

    def product(self, node: NodeProto) -> None:
        """Takes the conversions around a product off, where it is all between them."""
        after = self.readers.get(node.output[0], [])
        kinds = {self._kind(name) for name in node.input} | {_to(one) for one in after}
        kind = next(iter(kinds))
        if len(kinds) != 1 or kind not in HALVES or len(after) != 1 or node.output[0] in self.shown:
            return
        assert kind is not None
        form = (node.op_type, kind, str(node.attribute))
        if form not in self.known:
            self.known[form] = self.has(node, kind)
        if not self.known[form]:
            return
        made = NodeProto()
        made.CopyFrom(node)
        made.input[:] = [self._half(name, node) for name in node.input]
        made.output[:] = [after[0].output[0]]
        self.instead[id(node)], self.instead[id(after[0])] = made, None
        self.counts[f"products in {HALVES[kind]}"] += 1

    def _kind(self, name: str) -> int | None:
        """The 16 bits that a value of float32 was made of: by a Cast of what another Cast has made, moves aside."""
        node = self.maker.get(name)
        while node is not None and graphs.is_op(node, *MOVES):
            node = self.maker.get(node.input[0])
        return _to(self.maker.get(node.input[0])) if node is not None and _to(node) == TensorProto.FLOAT else None

    def _half(self, name: str, reader: NodeProto) -> str:
        """The name of a value in 16 bits; moves are made again before the reader."""
        node = self.maker[name]
        if node.op_type not in MOVES:
            return str(node.input[0])
        if name not in self.moved:
            made = NodeProto()
            made.CopyFrom(node)
            made.input[0] = self._half(node.input[0], reader)
            made.output[:] = [graphs.fresh(f"{name}/half", self.taken)]
            made.name = made.output[0]
            self.before.setdefault(id(reader), []).append(made)
            self.moved[name] = made.output[0]
        return self.moved[name]

    def nodes(self) -> list[NodeProto]:
        """All nodes that are needed, in an order."""
        found: list[NodeProto] = []
        for node in self.graph.node:
            found += self.before.get(id(node), [])
            instead = self.instead.get(id(node), node)
            if instead is not None:
                found.append(instead)
        return graphs.needed(found, [value.name for value in self.graph.output])


def _to(node: NodeProto | None) -> int | None:
    """What a Cast converts to; None of other nodes."""
    if node is None or not graphs.is_op(node, "Cast"):
        return None
    return next((one.i for one in node.attribute if one.name == "to"), None)


def asking(module: Any, device: str) -> Asked:
    """Asks ONNX Runtime, by a model of the node alone that may not leave the device."""

    def has(node: NodeProto, kind: int) -> bool:
        options = module.SessionOptions()
        options.log_severity_level = 4
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        try:
            providers: Sequence[str] | None = ["CUDAExecutionProvider"]
            if device != "cuda":
                providers = devices.use(module, options, device)
                providers = None if providers is None else [one for one in providers if one != "CPUExecutionProvider"]
            module.InferenceSession(alone(node, kind).SerializeToString(), options, providers=providers)
        except Exception:  # ONNX Runtime's exceptions have no common base; whatever is wrong, float32 is right
            return False
        return True

    return has


def alone(node: NodeProto, kind: int) -> ModelProto:
    """A model of one node, all of whose operands have that element type and any shape of a rank that fits."""
    rank = 4 if "Conv" in node.op_type else 2
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = [f"x{number}" for number in range(len(node.input))]
    copy.output[:] = ["y"]
    inputs = [helper.make_tensor_value_info(name, kind, [None] * rank) for name in copy.input]
    graph = helper.make_graph([copy], "probe", inputs, [helper.make_tensor_value_info("y", kind, None)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
