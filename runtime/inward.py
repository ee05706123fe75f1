"""What is computed around a recurrence for all of its turns and can be computed turn by turn, while it is in a cache;
outside of the turns the values of all turns go to memory and come back (docs/native.md).

    x @ W + b          of a sequence x, of which each turn adds its rows to h @ U
    aᵀ @ g, sums of g  over all rows of all turns, of what each turn gives, g: derivatives of weights
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from . import graphs
from .programs import Typed

NARROW = 4  # times as many columns as the product has, at least, where its rows come from
MOST_TOTALS, LARGEST = 16, 1 << 17  # totals of a recurrence, and their numbers together: those that a cache holds


@dataclass
class Totals:
    """Sums over all rows of all turns, as native/scan.h has them. `each`: the numbers of a and of b, a factor. `kept`:
    how many results, the last ones of the body, only they read. `nodes`: by the name of each sum the place of the node
    that gives it outside; `added`: what takes the place of those that add it to something."""

    each: list[tuple[int | None, int | None, float]] = field(default_factory=list)
    kept: int = 0
    nodes: dict[str, int] = field(default_factory=dict)
    added: dict[int, NodeProto] = field(default_factory=dict)


class Around:
    """What makes and what reads the values of a graph. `known`: types and shapes in which a name is a size, too."""

    def __init__(self, graph: GraphProto, known: Mapping[str, Typed]) -> None:
        self.known, self.nodes = known, list(graph.node)
        self.place, self.users = graphs.makers(self.nodes), graphs.users(graphs.reading(self.nodes))
        self.results = {value.name for value in graph.output}
        self.axes = {
            held.name: [int(axis) for axis in numpy_helper.to_array(held)]
            for held in graph.initializer
            if held.data_type == TensorProto.INT64 and len(held.dims) == 1
        }
        self.maker = {name: node for node in graph.node for name in node.output if name}
        self.readers = Counter(name for node in graph.node for name in graphs.reads(node))
        self.readers.update(value.name for value in graph.output)

    def inward(self, scan: NodeProto) -> NodeProto:
        """The scan with products of its sequences in its turns: another node, which computes the same."""
        made = NodeProto()
        made.CopyFrom(scan)
        body = next(each.g for each in made.attribute if each.name == "body")
        sequences = next(each.i for each in made.attribute if each.name == "num_scan_inputs")
        taken = graphs.names(body) | set(graphs.free_names(body))
        for at in range(len(made.input) - sequences, len(made.input)):
            found = self._product(made.input[at])
            if found is None:
                continue
            rows, product = found
            made.input[at] = rows
            name = body.input[at].name
            turn = graphs.fresh(f"{name}/rows", taken)
            step = NodeProto()
            step.CopyFrom(product)
            step.input[0], step.output[0], step.name = turn, name, graphs.fresh(f"{name}/product", taken)
            body.input[at].Clear()
            body.input[at].name = turn
            body.input[at].type.tensor_type.elem_type = self.known[rows][0]
            body.node.insert(0, step)
            taken.update(step.input)
        return made

    def _product(self, sequence: str) -> tuple[str, NodeProto] | None:
        """x and the product, where a sequence is x @ W + b of all rows of all turns, x [turns, rows, columns], and
        nothing else reads it."""
        product = self._reshaped(sequence, 1)
        gemm = self.maker.get(product) if product else None
        if gemm is None or not graphs.is_op(gemm, "Gemm", "MatMul") or self.readers[product] != 1:
            return None
        if any(each.name == "transA" and each.i for each in gemm.attribute):
            return None
        rows = self._reshaped(gemm.input[0], None)
        names = [name for name in (*gemm.input, rows) if name]
        if not rows or any(name not in self.known or self.known[name][0] != TensorProto.FLOAT for name in names):
            return None
        x, flat, y, wide = (self.known[name][1] for name in (rows, gemm.input[0], sequence, product))
        if (len(x), len(flat), len(y), len(wide)) != (3, 2, 3, 2) or not all(isinstance(n, int) for n in (x[2], y[2])):
            return None
        # Reshapes keep the number of elements: with the same turns and columns there are as many rows in each turn.
        if x[0] != y[0] or x[2] != flat[1] or y[2] != wide[1] or NARROW * int(x[2]) > int(y[2]):
            return None
        if len(gemm.input) > 2 and len(self.known[gemm.input[2]][1]) > 1:
            return None  # a row for each row
        return rows, gemm

    def _reshaped(self, name: str, readers: int | None) -> str:
        """What a value is as a reshape; "" where it is none, or has other readers than so many."""
        node = self.maker.get(name)
        if node is None or not graphs.is_op(node, "Reshape"):
            return ""
        return node.input[0] if readers is None or self.readers[name] == readers else ""

    # --- sums over all turns

    def gathered(self, scan: NodeProto, place: int, outer: set[str]) -> tuple[NodeProto, Totals] | None:
        """A scan at a place of the graph without the results that only sums read, and the sums; None where there are
        none. `outer`: names that are taken."""
        parts = {each.name: each for each in scan.attribute}
        sequences = parts["num_scan_inputs"].i
        states = len(scan.input) - sequences
        ways_in, ways_out = (
            list(parts[f"scan_{name}_directions"].ints) if f"scan_{name}_directions" in parts else [0] * count
            for name, count in (("input", sequences), ("output", len(scan.output) - states))
        )
        slots = {key: number for number, key in enumerate(zip(scan.input[states:], ways_in, strict=True))}
        found, room, kept = Totals(), LARGEST, list[int]()
        for number, (result, way) in enumerate(zip(scan.output[states:], ways_out, strict=True)):
            sums = self._sums(result, place)
            size = sum(self._columns(a) * self._columns(b) for _, a, b, _ in sums)
            if not sums or size > room or len(found.each) + len(sums) > MOST_TOTALS:
                continue
            room -= size
            for at, a, b, factor in sums:
                operands = [
                    ~len(kept) if x == result else slots.setdefault((x, way), len(slots)) if x else None for x in (a, b)
                ]
                found.each.append((operands[0], operands[1], factor))
                name = self.nodes[at].output[0]
                if len(self.nodes[at].input) > 2:
                    name = graphs.fresh(f"{name}/sum", outer)
                    found.added[at] = _added(self.nodes[at], name)
                found.nodes[name] = at
            kept.append(number)
        if not kept:
            return None
        made = NodeProto()
        made.CopyFrom(scan)
        body = next(each.g for each in made.attribute if each.name == "body")
        taken = graphs.names(body) | set(graphs.free_names(body))
        for name, _ in list(slots)[sequences:]:
            made.input.append(name)
            body.input.add(name=graphs.fresh("turn", taken)).type.tensor_type.elem_type = TensorProto.FLOAT
        left = [*range(states), *(states + k for k in range(len(ways_out)) if k not in kept)]
        outputs, names = list(body.output), list(made.output)
        del body.output[:], made.output[:]
        body.output.extend(outputs[k] for k in (*left, *(states + k for k in kept)))
        made.output.extend(names[k] for k in left)
        for each in [
            each for each in made.attribute if each.name.endswith("_directions") or each.name == "num_scan_inputs"
        ]:
            made.attribute.remove(each)
        ways = {"scan_input_directions": [way for _, way in slots]}
        ways["scan_output_directions"] = [way for k, way in enumerate(ways_out) if k not in kept]
        made.attribute.append(helper.make_attribute("num_scan_inputs", len(slots)))
        made.attribute.extend(helper.make_attribute(name, way) for name, way in ways.items() if way)
        found.kept = len(kept)
        found.each = [
            (*(-1 if x is None else x if x >= 0 else len(slots) + ~x for x in operands), factor)  # type: ignore[misc]
            for *operands, factor in found.each
        ]
        return made, found

    def _columns(self, name: str | None) -> int:
        size = self.known[name][1][2] if name else 1
        return size if isinstance(size, int) else LARGEST + 1

    def _sums(self, result: str, place: int) -> list[tuple[int, str | None, str, float]]:
        """What reads a result, if all of that are sums over all rows: the place of the node, a, b, a factor."""
        kind, shape = self.known.get(result, (0, ()))
        if kind != TensorProto.FLOAT or len(shape) != 3 or result in self.results:
            return []
        found: list[tuple[int, str | None, str, float]] = []
        for at in self.users.get(result, []):
            node = self.nodes[at]
            if self._is_sum(node, [0, 1]):
                found.append((at, None, result, 1.0))
                continue
            flat = node.output[0]
            if (
                not graphs.is_op(node, "Reshape")
                or flat in self.results
                or self.known.get(flat, (0, ()))[1][1:] != shape[2:]
            ):
                return []
            for reader in self.users.get(flat, []):
                if self._is_sum(self.nodes[reader], [0]):
                    found.append((reader, None, result, 1.0))
                    continue
                factors = self._factors(self.nodes[reader], flat, result, place)
                if factors is None:
                    return []
                found.append((reader, *factors))
        return found

    def _is_sum(self, node: NodeProto, axes: list[int]) -> bool:
        """Whether it is a sum over those axes, of all but the last one, which drops them."""
        if (
            not graphs.is_op(node, "ReduceSum")
            or len(node.input) != 2
            or any(a.name == "keepdims" and a.i for a in node.attribute)
        ):
            return False
        kept = any(a.name == "keepdims" for a in node.attribute)  # 1 where it is not said
        own = self.axes.get(node.input[1])
        return kept and own is not None and sorted(axis % (len(axes) + 1) for axis in own) == axes

    def _factors(self, node: NodeProto, flat: str, result: str, place: int) -> tuple[str, str, float] | None:
        """a, b and a factor, where a node is the product aᵀ @ b of all rows of all turns."""
        attributes = {each.name: each for each in node.attribute}
        if not graphs.is_op(node, "Gemm") or node.input[0] == node.input[1]:
            return None
        if len(node.input) > 2:  # what it is added to must be as large, and taken as it is
            shapes = [self.known.get(name, (0, ("",)))[1] for name in (node.input[2], node.output[0])]
            if shapes[0] != shapes[1] or ("beta" in attributes and attributes["beta"].f != 1):
                return None
        if not ("transA" in attributes and attributes["transA"].i) or (
            "transB" in attributes and attributes["transB"].i
        ):
            return None
        other = node.input[0] if node.input[1] == flat else node.input[1]
        x = self._reshaped(other, None)
        kind, shape = self.known.get(x, (0, ()))
        if kind != TensorProto.FLOAT or len(shape) != 3 or shape[:2] != self.known[result][1][:2]:
            return None
        if self.known.get(other, (0, ()))[1][1:] != shape[2:] or self.place.get(x, -1) >= place:
            return None  # other rows, or made of what the recurrence gives
        factor = attributes["alpha"].f if "alpha" in attributes else 1.0
        return (x, result, factor) if node.input[1] == flat else (result, x, factor)


def _added(gemm: NodeProto, product: str) -> NodeProto:
    """A product and what is added to it as their sum."""
    made = NodeProto()
    made.CopyFrom(gemm)
    del made.input[:], made.attribute[:]
    made.op_type = "Add"
    made.input.extend((gemm.input[2], product))
    return made
