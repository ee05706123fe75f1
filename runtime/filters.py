"""The derivative of a convolution by its filters in one node: `ConvWeights` of the native library (native/filters.h).

A file writes it with standard operators, as a convolution of the images, channels last and joined to their columns,
with the adjoint as its kernel (docs/performance.md, Convolution):

    x -> Transpose -> Reshape [1, batch, h, w * c] -> Conv <- Transpose <- g
                                                      Conv -> Reshape [out, i, j, c] (-> Slice) -> Transpose

What fits this in every attribute and size is that derivative, whoever wrote it; all else stays as it is. The same
products are summed in another order. Linear in nodes.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from . import graphs, programs

OPERATOR = "ConvWeights"
FILTERS = "derivatives by filters in one node"
FEWEST = 4  # out channels of a group: fewer leave most of a vector empty

Ints = tuple[int, ...]


class Found(NamedTuple):
    """One of them: image, adjoint and geometry; `last` makes the result, of that shape."""

    x: str
    g: str
    last: NodeProto
    shape: Ints
    kernel: Ints
    strides: Ints
    dilations: Ints
    pads: Ints
    group: int


def weighted(model: ModelProto, known: graphs.Known) -> int:
    """Puts one node in the place of each, in place. Returns how many."""
    graph = model.graph
    if all(node.op_type != "Conv" for node in graph.node):
        return 0
    seeker = _Seeker(model, known)
    found = {id(each.last): each for node in graph.node if (each := seeker.found(node)) is not None}
    if not found:
        return 0
    declared = {value.name for value in (*graph.value_info, *graph.output)}
    for each in found.values():
        name = each.last.output[0]
        if name not in declared:  # ONNX Runtime knows no type of what an operator of ours makes
            graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, each.shape))
    nodes = [_node(found[id(node)]) if id(node) in found else node for node in graph.node]
    kept = graphs.needed(nodes, [value.name for value in graph.output])
    del graph.node[:]
    graph.node.extend(kept)
    return len(found)


def _node(found: Found) -> NodeProto:
    last = found.last
    node = helper.make_node(
        OPERATOR,
        [found.x, found.g],
        list(last.output),
        name=last.name,
        domain=programs.DOMAIN,
        kernel=found.kernel,
        strides=found.strides,
        dilations=found.dilations,
        pads=found.pads,
        group=[found.group],
    )
    node.metadata_props.extend(last.metadata_props)
    return node


class _Seeker:
    def __init__(self, model: ModelProto, known: graphs.Known) -> None:
        graph = model.graph
        self.known = known
        self.maker = {name: node for node in graph.node for name in node.output if name}
        self.readers: dict[str, list[NodeProto]] = {}
        self.reads = Counter(value.name for value in graph.output)
        for node in graph.node:
            for name in graphs.reads(node):
                self.readers.setdefault(name, []).append(node)
                self.reads[name] += 1
        given = {value.name for value in graph.input}  # their initializers are defaults only
        self.held = {tensor.name: tensor for tensor in graph.initializer if tensor.name not in given}

    def found(self, conv: NodeProto) -> Found | None:
        if not graphs.is_op(conv, "Conv") or len(conv.input) != 2:
            return None
        said = _Said(conv)
        turned = self._made(conv.input[1], "Transpose")
        if turned is None or _Said(turned).ints("perm") != (1, 0, 2, 3) or said.text("auto_pad") not in ("", "NOTSET"):
            return None
        kind, g = self.known.get(turned.input[0], (0, ()))
        group = said.number("group", 1)
        source = self._image(conv.input[0], group)
        if kind != TensorProto.FLOAT or len(g) != 4 or source is None or said.ints("strides", (1, 1)) != (1, 1):
            return None
        x, per_group, sizes = source
        out, windows = g[1], g[2:]
        wide, pads = said.ints("dilations", (1, 1)), said.ints("pads", (0, 0, 0, 0))
        if any(part % per_group for part in (wide[1], pads[1], pads[3])) or min(pads) < 0:
            return None
        if out is None or out % group or out // group < FEWEST or None in windows or 0 in (*windows, *sizes):
            return None
        strides = wide[0], wide[1] // per_group
        before, after = (pads[0], pads[1] // per_group), (pads[2], pads[3] // per_group)
        places = [
            size + b + a - (int(count or 0) - 1) * stride
            for size, b, a, count, stride in zip(sizes, before, after, windows, strides, strict=True)
        ]
        if min(places) < 1:
            return None
        return self._result(conv, x, turned.input[0], (out, *places, per_group), strides, before, group)

    def _result(
        self, conv: NodeProto, x: str, g: str, shape: Ints, strides: Ints, before: Ints, group: int
    ) -> Found | None:
        """What becomes of the convolution: its places apart from its channels, some of them, and the channels first."""
        reshape = self._only(conv.output[0], "Reshape")
        if reshape is None or self._constant(reshape.input[1]) != shape:
            return None
        node = self._only(reshape.output[0], "Slice", "Transpose")
        kernel, dilations = [*shape[1:3]], [1, 1]
        if node is not None and node.op_type == "Slice":
            parts = [self._constant(name) for name in node.input[1:]]
            if len(parts) != 4 or any(part is None for part in parts):
                return None
            for start, end, axis, step in zip(*(part or () for part in parts), strict=True):
                if start != 0 or step < 1 or end < 1 or axis not in (1, 2):
                    return None
                kernel[axis - 1], dilations[axis - 1] = -(-min(end, shape[axis]) // step), step
            node = self._only(node.output[0], "Transpose")
        if node is None or node.op_type != "Transpose" or _Said(node).ints("perm") != (0, 3, 1, 2):
            return None
        whole = (shape[0], shape[3], *kernel)
        return Found(x, g, node, whole, tuple(kernel), strides, tuple(dilations), before, group)

    def _image(self, name: str, group: int) -> tuple[str, int, Ints] | None:
        """The images that `[1, group * batch, h, w * c]` holds, channels last: their name, c, and h and w."""
        reshape = self._made(name, "Reshape")
        if reshape is None:
            return None
        x = reshape.input[0]
        swapped = self._made(x, "Transpose")
        if group > 1:
            apart = None if swapped is None else self._made(swapped.input[0], "Reshape")
            if swapped is None or apart is None or _Said(swapped).ints("perm") != (1, 0, 3, 4, 2):
                return None
            x = apart.input[0]
        elif swapped is not None and _Said(swapped).ints("perm") == (0, 2, 3, 1):
            x = swapped.input[0]
        _, shape = self.known.get(x, (0, ()))
        if len(shape) != 4 or None in shape[1:] or not shape[1] or shape[1] % group:
            return None
        channels, *sizes = (int(size or 0) for size in shape[1:])
        per_group = channels // group
        if group > 1:
            if not self._ends(swapped.input[0] if swapped else "", (group, per_group, *sizes), 1):
                return None
        elif x == reshape.input[0] and per_group != 1:
            return None
        wide = (sizes[0], sizes[1] * per_group)
        return (x, per_group, tuple(sizes)) if self._ends(name, wide, 2, first=1) else None

    def _ends(self, name: str, sizes: Ints, free: int, first: int | None = None) -> bool:
        """Whether a Reshape gives these sizes after `free` others, of which the last is free and the first is `first`:
        what is free is then what is left of the elements."""
        target = self.maker[name].input[1]
        fixed = () if first is None else (first,)
        whole = self._constant(target)
        if whole is not None:
            return len(whole) == free + len(sizes) and whole[free:] == sizes and whole[: len(fixed)] == fixed
        joined = self._made(target, "Concat")
        if joined is None:
            return False
        known: list[int | None] = []
        for part in joined.input:
            constant = self._constant(part)
            count = self.known.get(part, (0, ()))[1]
            if constant is None and count != (1,):
                return False
            known.extend((None,) if constant is None else constant)
        return len(known) == free + len(sizes) and tuple(known[free:]) == sizes and tuple(known[: len(fixed)]) == fixed

    def _made(self, name: str, op: str) -> NodeProto | None:
        node = self.maker.get(name)
        return node if node is not None and graphs.is_op(node, op) else None

    def _only(self, name: str, *ops: str) -> NodeProto | None:
        """The one node that reads a value."""
        if self.reads[name] != 1 or name not in self.readers:
            return None
        [node] = self.readers[name]
        return node if any(graphs.is_op(node, op) for op in ops) and node.input[0] == name else None

    def _constant(self, name: str) -> Ints | None:
        """The integers of a constant vector."""
        held = self.held.get(name)
        if held is None or len(held.dims) != 1 or held.data_type != TensorProto.INT64:
            return None
        return tuple(int(value) for value in np.asarray(numpy_helper.to_array(held)))


class _Said:
    """The attributes of a node."""

    def __init__(self, node: NodeProto) -> None:
        self.attributes = {attribute.name: attribute for attribute in node.attribute}

    def ints(self, name: str, default: Ints = ()) -> Ints:
        return tuple(self.attributes[name].ints) if name in self.attributes else default

    def number(self, name: str, default: int) -> int:
        return self.attributes[name].i if name in self.attributes else default

    def text(self, name: str) -> str:
        return self.attributes[name].s.decode() if name in self.attributes else ""
