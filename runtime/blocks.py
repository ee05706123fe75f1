"""Convolutions on images in blocks of channels: ONNX Runtime's own layout on a CPU (domain com.microsoft.nchwc).

ONNX Runtime takes its blocked kernel by itself only where the weights are constants, and in training they never are;
its other kernel writes every window to memory first (docs/performance.md, Convolution). Here the weights are brought
into blocks in the graph, each step anew: they are small against the images. An image `[batch, c, h, w]` in blocks of B
channels is `[batch, c / B, h, w, B]`, filters `[o, c, kh, kw]` are `[o / B, c / B, kh, kw, B of c, B of o]`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from . import graphs

DOMAIN = "com.microsoft.nchwc"
BLOCKED = "Conv on blocks of channels"
# Where the blocked kernel was faster; beyond, its filters outweigh the images, or are images themselves.
LARGEST_OUT, LARGEST_KERNEL = 256, 7


class Filters(NamedTuple):
    """Weights of a convolution, `[out, per_group, height, width]`, and whether its images go in blocks too: those of
    fewer channels than a block stay as they are."""

    out: int
    per_group: int
    height: int
    width: int
    images: bool


def is_convolution(node: NodeProto) -> bool:
    return graphs.is_op(node, "Conv")


def probe() -> ModelProto:
    """A model whose output `[1, B, 1, 1]` says how many channels a block has on this machine."""
    graph = helper.make_graph(
        [helper.make_node("ReorderInput", ["x"], ["y"], domain=DOMAIN)],
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 1, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def blocked(model: ModelProto, known: graphs.Known, block: int) -> int:
    """Brings the convolutions for which it pays onto blocks of `block` channels, in place. Returns how many."""
    graph = model.graph
    held = {tensor.name for tensor in graph.initializer}  # weights that ONNX Runtime brings into blocks by itself
    taken = graphs.names(graph)
    nodes: list[NodeProto] = []
    count = 0
    for node in graph.node:
        filters = _filters(node, known, block) if is_convolution(node) and node.input[1] not in held else None
        if filters is None:
            nodes.append(node)
        else:
            count += 1
            nodes.extend(_Written(graph, node, filters, taken).run(block))
    if count:
        del graph.node[:]
        graph.node.extend(nodes)
        model.opset_import.add(domain=DOMAIN, version=1)
    return count


def _filters(node: NodeProto, known: graphs.Known, block: int) -> Filters | None:
    """Those of a convolution that the kernel for blocks can do, and does faster."""
    (kind, image), (_, shape) = (known.get(name, (0, ())) for name in node.input[:2])
    if kind != TensorProto.FLOAT or len(image) != 4 or len(shape) != 4:
        return None
    out, per_group, height, width = (size or 0 for size in shape)  # 0: free
    groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    whole = per_group > 0 and per_group % block == 0
    each = groups > 1 and groups == out and per_group == 1
    fits = whole or 0 < per_group < block if groups == 1 else each
    fits = fits and image[1] == groups * per_group  # the kernel takes what fills a block for granted
    pays = 0 < out <= LARGEST_OUT and 1 < max(height, width) <= LARGEST_KERNEL and min(height, width) > 0
    return Filters(out, per_group, height, width, whole or each) if fits and pays and out % block == 0 else None


class _Written:
    """The nodes in place of one convolution: filters into blocks, images into blocks, the kernel, the result back."""

    def __init__(self, graph: GraphProto, node: NodeProto, filters: Filters, taken: set[str]) -> None:
        self.graph, self.node, self.filters, self.taken = graph, node, filters, taken
        self.nodes: list[NodeProto] = []

    def run(self, block: int) -> list[NodeProto]:
        out, per_group, height, width, images = self.filters
        image, weights = self.node.input[:2]
        if per_group % block == 0:
            weights = self._add("ReorderInput", weights)
        # Then the same for the out channels, as if all that a filter holds were the places of an image.
        weights = self._shaped(weights, out // block, block, 1, per_group * height * width)
        weights = self._shaped(self._add("ReorderInput", weights), out, per_group, height, width)
        if images:
            image = self._add("ReorderInput", image)
        convolution = NodeProto()
        convolution.CopyFrom(self.node)
        convolution.domain = DOMAIN
        convolution.input[0], convolution.input[1] = image, weights
        convolution.output[0] = self._name("blocks")
        self.nodes.append(convolution)
        back = self._add("ReorderOutput", convolution.output[0], channels=out, channels_last=0)
        self.nodes[-1].output[0] = self.node.output[0]
        self.taken.discard(back)
        return self.nodes

    def _name(self, what: str) -> str:
        """One that the graph does not have yet. It begins with the node's: what ONNX Runtime says of it is found."""
        return graphs.fresh(f"{self.node.name or self.node.output[0]}/{what}", self.taken)

    def _add(self, op: str, *inputs: str, domain: str = DOMAIN, **attributes: Any) -> str:
        name = self._name(op)
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, domain=domain, **attributes))
        return name

    def _shaped(self, x: str, *shape: int) -> str:
        name = self._name("shape")
        self.graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [len(shape)], shape))
        return self._add("Reshape", x, name, domain="")
