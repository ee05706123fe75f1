"""What is done with each matrix of a batch by itself becomes one node `Each` of the native library: products, and what
stands between them (docs/native.md). A matrix goes through all of it while it is in a cache; matrices are read and
written where they lie, so slices, transposes and joins around them go.

A node belongs if its result is a batch of matrices, each of which depends on the matrices of its own place only. Nodes
get levels as in chains.py: neighbours of one level and one batch are of one group, and no way out of it leads back in.
Linear in nodes, but for one sort.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from onnx import GraphProto, ModelProto, NodeProto, helper

from . import graphs
from .chains import Chains, in_order, known_types, levels
from .programs import DOMAIN, FLOAT, INT64, ROWS, Sizes
from .regions import EveryChain, held
from .steps import KINDS, PRODUCT, TRIANGLE, Step, Steps
from .views import View, Views, joined, plain

OPERATOR, VERSION = "Each", 1
EACH = "operations on each matrix of a batch in one node"
MOST_VIEWS, MOST_BATCH = 64, 8  # as native/each.h has them
LARGEST = 1 << 16  # elements of a matrix: a second-level cache holds several
FEWEST = 8  # matrices: fewer give not every thread its share
LOWER, ZEROS = 4, 8  # flags of a product, as native/region.h has them
MICROSOFT = "com.microsoft"
PRODUCTS = ("MatMul", "FusedMatMul")


def batched(model: ModelProto, inferred: ModelProto) -> int:
    """Replaces what it can; how many operations. Changes the model. `inferred`: the model, or what it was made from,
    with the shapes of its values."""
    if not any(node.op_type in PRODUCTS for node in model.graph.node):
        return 0
    return _Each(model.graph, inferred.graph).run()


class _Each(Chains):
    def __init__(self, graph: GraphProto, inferred: GraphProto) -> None:
        super().__init__(graph, inferred, {}, {})
        self.maker, self.reading = graphs.makers(self.nodes), graphs.reading(self.nodes)
        self.users = graphs.users(self.reading)
        self.views = Views(self.nodes, self.known, self.lists, self.maker, self.users, self.results)

    def run(self) -> int:
        self.parts = [self._part(node) for node in self.nodes]
        self.batch = [self._batch(i) for i in range(len(self.nodes))]
        groups = [group for group in self._groups() if self._is_worth(group)]
        placed = [self._places(group) for group in groups]
        nodes, count = dict(enumerate(self.nodes)), 0
        for group, results in zip(groups, placed, strict=True):
            made = self._node(group, results)
            if made is None:
                continue
            count += len(group)
            for i in {*group, *(self.maker[name] for name in made.output)}:  # and what turned and joined the results
                del nodes[i]
            nodes[group[-1]] = made
        if count:
            ordered = graphs.needed(in_order(nodes), [value.name for value in self.graph.output])
            del self.graph.node[:]
            self.graph.node.extend(ordered)
        return count

    # --- what belongs

    def _batch(self, i: int) -> Sizes | None:
        """The sizes before the last two of a node's result, if the node acts on each matrix by itself."""
        node = self.nodes[i]
        names = [*node.input, *node.output]
        if len(node.output) != 1 or any(name not in self.known or self.known[name][0] not in KINDS for name in names):
            return None
        kind, shape = self.known[node.output[0]]
        if not 2 < len(shape) <= MOST_BATCH + 2 or not _is_matrix(shape):
            return None
        attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        whole = [self._is_of(name, shape[:-2]) for name in node.input]
        if node.domain not in ("", "ai.onnx", MICROSOFT):
            return None
        if node.op_type in PRODUCTS:
            fits = kind == FLOAT and all(whole) and all(name in ("transA", "transB", "alpha") or not value
                                                        for name, value in attributes.items())  # fmt: skip
        elif node.op_type == "Softmax":
            fits = kind == FLOAT and whole[0] and attributes.get("axis", -1) in (-1, len(shape) - 1)
        elif node.op_type == "Trilu":
            fits = whole == [True]
        elif node.op_type in ROWS:
            fits = whole[0] and bool(attributes.get("keepdims", 1)) and self._axis(node) is not None
            fits = fits and (node.op_type == "ReduceSum" or self.parts[i] is not None)
        else:
            fits = self.parts[i] is not None and any(whole)
            fits = fits and all(own or self._is_one(name) for own, name in zip(whole, node.input, strict=True))
        return shape[:-2] if fits else None

    def _is_of(self, name: str, batch: Sizes) -> bool:
        """Whether a value is a batch of matrices, or one for all along some of its axes."""
        shape = self.known[name][1]
        if len(shape) != len(batch) + 2 or not _is_matrix(shape):
            return False
        return all(own in (1, size) for own, size in zip(shape, batch, strict=False))

    def _is_one(self, name: str) -> bool:
        """Whether a value is a matrix, vector or number for all."""
        shape = self.known[name][1]
        return len(shape) < 3 and _is_matrix((1, 1, *shape)[-2:])

    def _axis(self, node: NodeProto) -> int | None:
        """The one axis of a sum, of the matrix, counted from the end."""
        axes = self.lists.get(node.input[1]) if len(node.input) == 2 else None
        rank = len(self.known[node.input[0]][1])
        if axes is None or len(axes) != 1 or int(axes[0]) % rank < rank - 2:
            return None
        return int(axes[0]) % rank - rank

    def _groups(self) -> list[list[int]]:
        """Of one level and one batch: neighbours, and those that read the same."""

        def out(i: int, j: int) -> bool:
            return self.batch[i] is None or self.batch[i] != self.batch[j]

        level = levels(self.reading, self.maker, out)
        together = graphs.Groups(len(self.nodes))
        first: dict[tuple[str, int, Sizes], int] = {}
        for i, batch in enumerate(self.batch):
            if batch is None:
                continue
            for name in self._operands(i):
                j = self.maker.get(name, -1)
                if j < 0 or self.batch[j] != batch or level[j] != level[i]:
                    j = first.setdefault((name, level[i], batch), i) if self._is_of(name, batch) else i
                together.join(i, j)
        return together.of(i for i, batch in enumerate(self.batch) if batch is not None)

    def _is_worth(self, group: list[int]) -> bool:
        sizes = self.batch[group[0]] or ()
        few = all(isinstance(size, int) for size in sizes) and math.prod(map(int, sizes)) < FEWEST
        return len(group) > 1 and not few and any(self.nodes[i].op_type in PRODUCTS for i in group)

    # --- the node

    def _operands(self, i: int) -> Sequence[str]:
        node = self.nodes[i]
        return list(node.input)[:1] if node.op_type in ROWS else list(node.input)

    def _plain(self, name: str, batch: int) -> View:
        return plain(name, self.known[name][1], batch)

    def _places(self, group: list[int]) -> dict[str, View]:
        """The results of a group that something else reads, and where they are written."""
        inside, batch = set(group), len(self.batch[group[0]] or ())
        found: dict[str, View] = {}
        for i in group:
            [name] = self.nodes[i].output
            if name in self.results or any(k not in inside for k in self.users.get(name, ())):
                view = self._plain(name, batch)
                product = self.nodes[i].op_type in PRODUCTS
                found[name] = self.views.written(view) if product else view
        together: dict[str, list[View]] = {}
        for view in found.values():
            together.setdefault(view.tensor, []).append(view)
        found = {n: v if joined(together[v.tensor]) else self._plain(n, batch) for n, v in found.items()}
        self.views.made.update(view.tensor for view in found.values())
        return found

    def _node(self, group: list[int], results: dict[str, View]) -> NodeProto | None:
        """The node in place of a group; None where the library cannot hold it."""
        batch = len(self.batch[group[0]] or ())
        made = {name for i in group for name in self.nodes[i].output}
        read = dict.fromkeys(name for i in group for name in self._operands(i) if name not in made)
        names = [name for name in read if name not in self.numbers]
        if not results or not names or len(names) > MOST_VIEWS or len(results) > MOST_VIEWS:
            return None
        region = self._region(group, names, list(results))
        if region is None:
            return None
        others = {name for i in group if self.nodes[i].op_type not in PRODUCTS for name in self._operands(i)}
        views = [self._plain(name, batch) for name in names]
        views = [view if view.tensor in others else self.views.read(view) for view in views]
        inputs = list(dict.fromkeys(view.tensor for view in views))
        outputs = list(dict.fromkeys(view.tensor for view in results.values()))
        words = [VERSION, len(inputs), len(outputs), batch, len(names), len(results)]
        for view in views:
            words += [inputs.index(view.tensor), len(view.axes)]
            for axis in view.axes:
                own = axis.size if isinstance(axis.size, int) else -1
                words += [own if view.shaped else 0, axis.part, axis.place]
        for view in results.values():
            words += [outputs.index(view.tensor), len(view.axes)]
            for axis in view.axes:
                words += [0 if axis.part >= 0 else int(axis.size), axis.part, axis.place]
        first = self.nodes[group[0]]
        name = graphs.fresh(f"{first.name or first.output[0]}/each", self.taken)
        program, steps = region
        node = helper.make_node(OPERATOR, inputs, outputs, name=name, domain=DOMAIN, program=[*words, *program])
        node.metadata_props.extend(first.metadata_props)
        node.doc_string = "\n".join(steps)
        for name in outputs:
            if name not in self.declared:
                kind, shape = self.known[name]
                self.graph.value_info.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return node

    def _region(self, group: list[int], names: list[str], outputs: list[str]) -> tuple[list[int], list[str]] | None:
        """The program of one matrix, and the name of the node that each step was."""
        body = GraphProto()
        for i in group:
            node = body.node.add()
            node.CopyFrom(self.nodes[i])
            if node.op_type in ROWS:
                axis = self._axis(node) or -1
                node.input[1] = f"axis {axis}"
                if all(each.name != node.input[1] for each in body.initializer):
                    body.initializer.append(helper.make_tensor(node.input[1], INT64, [1], [axis]))
            elif node.op_type == "Softmax":
                del node.attribute[:]
            elif node.op_type in PRODUCTS:
                kept = [each for each in node.attribute if each.name in ("transA", "transB", "alpha")]
                del node.attribute[:]
                node.attribute.extend(kept)
        made = [name for i in group for name in self.nodes[i].output]
        for values, of in ((body.input, names), (body.output, outputs), (body.value_info, made)):
            for name in of:
                kind, shape = self.known[name]
                values.append(helper.make_tensor_value_info(name, kind, list(shape[-2:])))
        numbers = {name: self.numbers[name] for i in group for name in self.nodes[i].input if name in self.numbers}
        EveryChain(body, body, {name: self.known[name] for name in numbers}, numbers).run()
        steps = Steps(known_types(body), {**numbers, **held(body)})
        found = [(node, step) for node in body.node if (step := steps.of(node)) is not None]
        if len(found) < len(body.node):
            return None
        square = {name for name in made if len({*self.known[name][1][-2:]}) == 1}
        parts = _triangles(found, set(outputs), square)
        program, inputs, before = steps.program(parts, names, outputs)
        return (program, [*[""] * before, *(node.name for node, _ in parts)]) if inputs == names else None


def _is_matrix(shape: Sizes) -> bool:
    """Whether the last two sizes are known, and not too large."""
    sizes = [size for size in shape[-2:] if isinstance(size, int) and size > 0]
    return len(sizes) == 2 and math.prod(sizes) <= LARGEST


def _triangles(
    parts: list[tuple[NodeProto, Step]], outputs: set[str], square: set[str]
) -> list[tuple[NodeProto, Step]]:
    """Products of which only what lies below the diagonal is needed compute no more; and none computes with the zeros
    that one of them leaves. `square`: the values whose matrices are: of others the library makes no triangle."""
    users: dict[str, int] = {}
    for _, step in parts:
        for name in step.operands:
            users[name] = users.get(name, 0) + 1
    products: dict[str, int] = {}
    made: list[tuple[NodeProto, Step]] = []
    for node, step in parts:
        if step.operation == PRODUCT:
            step = Step(PRODUCT, step.operands, [step.attributes[0] | ZEROS, *step.attributes[1:]])
            products[node.output[0]] = len(made)
        elif step.operation == TRIANGLE and tuple(step.attributes) == (0, 0) and step.operands[0] in products:
            name, at = step.operands[0], products[step.operands[0]]
            if users[name] == 1 and name not in outputs and name in square:
                product, before = made[at]
                flags = [before.attributes[0] | LOWER, *before.attributes[1:]]
                whole = NodeProto()
                whole.CopyFrom(product)
                whole.output[0] = node.output[0]
                made[at] = whole, Step(PRODUCT, before.operands, flags)
                continue
        made.append((node, step))
    return made
