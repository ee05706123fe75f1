"""Convolutions of 3 x 3 in squares of 2 x 2 results: `ConvSquares` of the native library (native/squares.h).

It is Winograd's form, of 16 products where there were 36, on images as they lie in memory. A derivative by the image
is a convolution with the filters turned, which a file writes as a Slice of a Transpose; the operator turns them itself.
A node that differs in anything stays as it is. Linear in nodes.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from . import blocks, graphs, programs

OPERATOR = "ConvSquares"
SQUARES = "Conv in squares"
FEWEST, MOST = 16, 256  # channels: fewer leave lanes empty, with more the filters outweigh the images
BACK = -(2**31)  # an end of a slice from the last to the first, or before


def squared(model: ModelProto, shapes: ModelProto, known: graphs.Known) -> int:
    """Puts the operator in the place of the convolutions that it does, in place. Returns how many. `shapes`: the model
    with those of its values."""
    graph = model.graph
    inferred = {value.name: value for value in shapes.graph.value_info}
    held = {tensor.name: tensor for tensor in graph.initializer}
    maker = {name: node for node in graph.node for name in node.output if name}
    declared = {value.name for value in (*graph.value_info, *graph.output)}
    count = 0
    for node in graph.node:
        if not blocks.is_convolution(node) or not _fits(node, known) or node.input[1] in held:
            continue
        if node.output[0] not in declared and node.output[0] not in inferred:
            continue
        said = {attribute.name: attribute for attribute in node.attribute}
        turned = _turned(node.input[1], maker, held)
        pads = list(said["pads"].ints) if "pads" in said else [0, 0, 0, 0]
        del node.attribute[:]
        node.attribute.append(helper.make_attribute("pads", pads))
        node.attribute.append(helper.make_attribute("turned", [int(turned is not None)]))
        node.op_type, node.domain = OPERATOR, programs.DOMAIN
        if turned is not None:
            node.input[1] = turned
        if node.output[0] not in declared:  # ONNX Runtime knows no type of what an operator of ours makes
            graph.value_info.append(inferred[node.output[0]])
        count += 1
    if count:
        kept = graphs.needed(graph.node, [value.name for value in graph.output])
        del graph.node[:]
        graph.node.extend(kept)
    return count


def _fits(node: NodeProto, known: graphs.Known) -> bool:
    """Whether a convolution is one of 3 x 3 at a stride of 1, in float32, with channels that fill the lanes."""
    if len(node.input) != 2:
        return False
    (kind, image), (_, shape) = (known.get(name, (0, ())) for name in node.input)
    if kind != TensorProto.FLOAT or len(image) != 4 or len(shape) != 4 or shape[2:] != (3, 3):
        return False
    said = {attribute.name: attribute for attribute in node.attribute}
    ones = all(set(said[name].ints) <= {1} for name in ("strides", "dilations") if name in said)
    plain = "auto_pad" not in said or said["auto_pad"].s in (b"", b"NOTSET")
    within = "pads" not in said or min(said["pads"].ints) >= 0
    alone = "group" not in said or said["group"].i == 1
    return ones and plain and within and alone and all(FEWEST <= (size or 0) <= MOST for size in shape[:2])


def _turned(name: str, maker: dict[str, NodeProto], held: dict[str, TensorProto]) -> str | None:
    """The filters that are here with their channels swapped, and read backwards."""
    cut = maker.get(name)
    if cut is None or not graphs.is_op(cut, "Slice") or len(cut.input) != 5:
        return None
    swapped = maker.get(cut.input[0])
    if swapped is None or not graphs.is_op(swapped, "Transpose"):
        return None
    if not all(part in held for part in cut.input[1:]):
        return None
    starts, ends, axes, steps = (np.asarray(numpy_helper.to_array(held[part])).tolist() for part in cut.input[1:])
    perm = next((list(a.ints) for a in swapped.attribute if a.name == "perm"), [])
    whole = starts == [-1, -1] and max(ends) <= BACK and sorted(axes) in ([2, 3], [-2, -1]) and steps == [-1, -1]
    return swapped.input[0] if whole and perm == [1, 0, 2, 3] else None
