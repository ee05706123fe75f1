"""What is computed for all turns of a recurrence around it and can be computed turn by turn: `x @ W + b` of a sequence
x, of which each turn adds its rows to `h @ U`. Within the turn, what is multiplied and what is made are in a cache;
outside of it the products of all turns go to memory and come back (docs/native.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from onnx import GraphProto, NodeProto, TensorProto

from . import graphs
from .programs import Typed

NARROW = 4  # times as many columns as the product has, at least, where its rows come from


class Around:
    """What makes and what reads the values of a graph. `known`: types and shapes in which a name is a size, too."""

    def __init__(self, graph: GraphProto, known: Mapping[str, Typed]) -> None:
        self.known = known
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
        if (
            gemm is None
            or gemm.op_type not in ("Gemm", "MatMul")
            or gemm.domain not in ("", "ai.onnx")
            or self.readers[product] != 1
        ):
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
        if node is None or node.op_type != "Reshape" or node.domain not in ("", "ai.onnx"):
            return ""
        return node.input[0] if readers is None or self.readers[name] == readers else ""
