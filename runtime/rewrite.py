"""What a graph becomes for the provider it is loaded on. A file holds standard operators only; ONNX Runtime has others
that do the work of several (domain com.microsoft). They are put in when a session is made, and counted.

Each rewrite is an equation and holds exactly: the same products and sums, in the same precision. A node whose pattern
differs in anything is left as it stands, whoever wrote the file. Linear in nodes.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from . import blocks, chains, each, filters, graphs, kernels, large, programs, recurrences, regions, squares
from .guard import Guard
from .native import vector

logger = logging.getLogger("dlc.runtime")

MICROSOFT = "com.microsoft"
# Element types for which a provider has the kernel FusedMatMul (ONNX Runtime 1.31).
FUSED_MATMUL: dict[str, set[int]] = {
    "cpu": {TensorProto.FLOAT, TensorProto.DOUBLE},
    "cuda": {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16},
}
LARGEST = float(np.finfo(np.float32).max)
WIDE = 8  # numbers of a vector with which convolutions in squares were measured
TRANSPOSES = "Transpose into FusedMatMul"
FACTORS = "Mul or Div by a number into FusedMatMul"
GEMMS = "Mul or Div by a number into Gemm"
# Those that need the native library.
NATIVE = {
    *(chains.CHAINED, each.EACH, filters.FILTERS, large.LARGE),
    *(recurrences.RECURRENCES, regions.TOGETHER, squares.SQUARES),
}


def rewritten(
    model: ModelProto,
    device: str,
    block: int = 0,
    native: bool = False,
    small: bool = False,
    guard: Guard | None = None,
    over: Collection[str] = (),
    threads: int = 1,
    rows: int = 0,
    keep: bool = True,
) -> tuple[ModelProto, dict[str, int]]:
    """The model for a provider ("cpu" or "cuda"), and how often each rewrite was made. The model that is given stays
    as it is, unless `keep` says that it need not; it is given back where nothing fits. `block`: of how many channels
    the provider's convolutions work, 0 where they do not. `native`: whether the session has the operators of the native
    library; `small`: whether its tensors are small, so that nodes are what costs; `guard`: what of its data such a step
    is to check, if it can; `over`: outputs that may be written over what they renew; `threads`: of the session; `rows`:
    of its batches, where they are known."""
    kinds: set[int] = FUSED_MATMUL.get(device, set())
    convolutions = block > 0 and any(blocks.is_convolution(node) for node in model.graph.node)
    products = bool(kinds) and _promising(model)
    slow = device == "cpu" and kernels.promising(model)
    native = native and device == "cpu"
    if not products and not convolutions and not slow and not native:
        return model, {}
    made = model
    if keep:
        made = ModelProto()
        made.CopyFrom(model)
    shapes = graphs.shapes(made)
    known = graphs.known(made, shapes)
    counts = _Products(made, known, kinds).run() if products else {}
    if native and vector() >= WIDE and (count := squares.squared(made, shapes, known)):
        counts[squares.SQUARES] = count
    if convolutions and (count := blocks.blocked(made, known, block)):
        counts[blocks.BLOCKED] = count
    if slow:
        counts |= kernels.faster(made, known)
    if native:
        counts |= _native(made, shapes, known, small, guard, over, threads, rows)
        if NATIVE & counts.keys():
            made.opset_import.add(domain=programs.DOMAIN, version=programs.VERSION)
    if not counts:
        return model, {}
    logger.debug("%s on %s: %s", made.graph.name, device, ", ".join(f"{n} × {what}" for what, n in counts.items()))
    return made, counts


def _native(
    model: ModelProto,
    shapes: ModelProto,
    known: graphs.Known,
    small: bool,
    guard: Guard | None,
    over: Collection[str],
    threads: int,
    rows: int,
) -> dict[str, int]:
    """What the native library does, in place."""
    counts = {}
    if vector() > 1 and (count := filters.weighted(model, known)):
        counts[filters.FILTERS] = count
    if count := recurrences.recurrent(model):
        counts[recurrences.RECURRENCES] = count
    if small:
        counts |= regions.together(model, shapes, guard)
    else:
        if count := each.batched(model, shapes):
            counts[each.EACH] = count
        if vector() >= large.LANES and (count := large.multiplied(model, shapes, known, threads, rows)):
            counts[large.LARGE] = count
        if count := chains.chained(model, shapes, over):
            counts[chains.CHAINED] = count
    return counts


def _promising(model: ModelProto) -> bool:
    """Whether any product has a neighbour that it could take in: what follows costs more than this look."""
    near = {
        name
        for node in model.graph.node
        if graphs.is_op(node, "MatMul", "Gemm")
        for name in (*node.input, node.output[0])
    }
    return any(
        (graphs.is_op(node, "Transpose", "Mul", "Div") and node.output[0] in near)
        or (graphs.is_op(node, "Mul", "Div") and not near.isdisjoint(node.input))
        for node in model.graph.node
    )


class _Products:
    """Products that take in what stands around them."""

    def __init__(self, model: ModelProto, known: graphs.Known, kinds: set[int]) -> None:
        self.model, self.known, self.kinds = model, known, kinds
        graph = model.graph
        self.by_name: dict[str, dict[tuple[int, int], NodeProto]] = {}  # name -> (id, place of the operand) -> reader
        self.nodes = list(graph.node)
        self.place = {id(node): k for k, node in enumerate(self.nodes)}
        for node in self.nodes:
            for place, name in enumerate(node.input):
                self.by_name.setdefault(name, {})[id(node), place] = node
        self.maker = {name: node for node in self.nodes for name in node.output if name}
        self.readers: Counter[str] = Counter(name for node in self.nodes for name in graphs.reads(node))
        self.readers.update(value.name for value in graph.output)
        inputs = {value.name for value in graph.input}  # their initializers are defaults only
        self.numbers = {
            held.name: float(numpy_helper.to_array(held))
            for held in graph.initializer
            if not held.dims and held.name not in inputs and held.data_type in kinds
        }
        self.counts: dict[str, int] = {}
        self.fused: set[int] = set()  # ids of the products that are ours

    def run(self) -> dict[str, int]:
        graph = self.model.graph
        for node in self.nodes:
            if graphs.is_op(node, "Trilu"):
                self._triangle(node)
        for node in self.nodes:
            if graphs.is_op(node, "MatMul") and self._fits(node):
                self._operands(node)
        for node in self.nodes:
            if graphs.is_op(node, "Mul", "Div"):
                self._result(node)
            elif graphs.is_op(node, "Gemm"):
                self._rows(node)
        if not self.counts:
            return {}
        kept = graphs.needed(self.nodes, [value.name for value in graph.output])
        del graph.node[:]
        graph.node.extend(kept)
        if all(opset.domain != MICROSOFT for opset in self.model.opset_import):
            self.model.opset_import.add(domain=MICROSOFT, version=1)
        return self.counts

    def _fits(self, product: NodeProto) -> bool:
        """Whether the kernel has the type, and the operands are matrices or batches of them."""
        sides = [self.known.get(name) for name in product.input]
        return all(side is not None and side[0] in self.kinds and len(side[1]) > 1 for side in sides)

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def _fused(self, node: NodeProto) -> NodeProto:
        """A MatMul as a FusedMatMul that does the same."""
        if node.op_type == "MatMul":
            self.fused.add(id(node))
            node.op_type, node.domain = "FusedMatMul", MICROSOFT
            node.attribute.extend(helper.make_attribute(name, 0) for name in ("transA", "transB"))
            node.attribute.append(helper.make_attribute("alpha", 1.0))
        return node

    def _read(self, node: NodeProto, place: int, source: str) -> None:
        """The node reads another value there. What then nothing reads any more reads nothing itself."""
        left = [(node, place, node.input[place])]
        node.input[place] = source
        self.by_name.setdefault(source, {})[id(node), place] = node
        self.readers[source] += 1
        while left:
            reader, at, name = left.pop()
            del self.by_name[name][id(reader), at]
            self.readers[name] -= 1
            made = self.maker.get(name)
            if made is not None and not any(self.readers[each] for each in made.output):
                left += [(made, k, each) for k, each in enumerate(made.input)]

    def _operands(self, node: NodeProto) -> None:
        """transpose(a) @ b and (c a) @ b, on either side: the product reads a itself."""
        for side, flag in enumerate(("transA", "transB")):
            while True:
                made = self.maker.get(node.input[side])
                if made is None:
                    break
                if graphs.is_op(made, "Transpose") and _swaps_last(made):
                    source = made.input[0]
                    attribute = _attribute(self._fused(node), flag)
                    attribute.i = 1 - attribute.i
                    self._count(TRANSPOSES)
                else:
                    scaled = self._scaled(made)
                    if scaled is None or not self._all_products(made.output[0]):
                        break
                    source, factor = scaled
                    _attribute(self._fused(node), "alpha").f *= factor
                    self._count(FACTORS)
                self._read(node, side, source)

    def _triangle(self, node: NodeProto) -> None:
        """A triangle of c x, which nothing but products reads, is c times the triangle of x: they take the factor."""
        made = self.maker.get(node.input[0])
        scaled = self._scaled(made) if made is not None else None
        if made is None or scaled is None or self.readers[node.input[0]] != 1 or len(node.input) > 1:
            return
        if not self._all_products(node.output[0]):
            return
        source, before, after = scaled[0], made.output[0], node.output[0]
        factor = list(made.input).index(source)
        made.input[factor], made.output[0] = before, after
        node.input[0], node.output[0] = source, before
        self.maker.update({before: node, after: made})
        del self.by_name[source][id(made), factor]
        self.by_name[source][id(node), 0] = node
        self.by_name[before] = {(id(made), factor): made}
        first, second = self.place[id(made)], self.place[id(node)]
        self.nodes[first], self.nodes[second] = node, made
        self.place.update({id(node): first, id(made): second})

    def _rows(self, node: NodeProto) -> None:
        """(c a) B + C, where a itself is read by others, too: c a need not be made for one Gemm."""
        scaled = self._scaled(made) if (made := self.maker.get(node.input[0])) is not None else None
        if scaled is None or self.readers[node.input[0]] != 1 or self.readers[scaled[0]] < 2:
            return
        source, factor = scaled
        self._read(node, 0, source)
        alpha = next((each for each in node.attribute if each.name == "alpha"), None)
        if alpha is None:
            node.attribute.append(helper.make_attribute("alpha", factor))
        else:
            alpha.f *= factor
        self._count(GEMMS)

    def _result(self, node: NodeProto) -> None:
        """c (a @ b): the product takes c as its alpha, and the name of the result, if anything reads that."""
        scaled = self._scaled(node)
        if scaled is None or self.readers[scaled[0]] != 1 or not self.readers[node.output[0]]:
            return
        source, factor = scaled
        product = self.maker.get(source)
        if product is None or not self._product(product):
            return
        _attribute(self._fused(product), "alpha").f *= factor
        product.output[0] = node.output[0]
        self.maker[node.output[0]] = product
        node.ClearField("output")  # nothing reads it any more
        self._count(FACTORS)

    def _scaled(self, node: NodeProto) -> tuple[str, float] | None:
        """x and c, where the node is c x or x / c for a number c that the file holds and float32 can hold: alpha is
        one, also of a product of doubles."""
        if not graphs.is_op(node, "Mul", "Div"):
            return None
        x, number = node.input
        if node.op_type == "Mul" and number not in self.numbers:
            x, number = number, x
        c = self.numbers.get(number)
        kind, _ = self.known.get(x, (None, ()))
        if c is None or x in self.numbers or kind not in self.kinds:
            return None
        factor = c if node.op_type == "Mul" else 1 / c if c else None
        if not factor or not abs(factor) <= LARGEST:  # with 0 a kernel reads nothing, and NaN is lost
            return None
        held = kind != TensorProto.DOUBLE or float(np.float32(factor)) == factor
        return (x, factor) if held else None

    def _all_products(self, name: str) -> bool:
        """Whether nothing but products reads a value, as it is or transposed: each takes the factor too, and it need
        not be made."""
        return self._read_by(
            name,
            lambda node: (
                self._product(node)
                or (
                    graphs.is_op(node, "Transpose")
                    and _swaps_last(node)
                    and self._read_by(node.output[0], self._product)
                )
            ),
        )

    def _product(self, node: NodeProto) -> bool:
        return id(node) in self.fused or (graphs.is_op(node, "MatMul") and self._fits(node))

    def _read_by(self, name: str, allowed: Callable[[NodeProto], bool]) -> bool:
        readers = self.by_name.get(name, {})
        return len(readers) == self.readers[name] and all(allowed(node) for node in readers.values())


def _attribute(node: NodeProto, name: str) -> AttributeProto:
    found: AttributeProto = next(attribute for attribute in node.attribute if attribute.name == name)
    return found


def _swaps_last(node: NodeProto) -> bool:
    """Whether a Transpose says that it swaps the last two dimensions and moves no other."""
    perm = next((list(a.ints) for a in node.attribute if a.name == "perm"), [])
    n = len(perm)
    return n > 1 and perm == [*range(n - 2), n - 1, n - 2]
