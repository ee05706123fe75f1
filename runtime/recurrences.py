"""A Scan whose turns the native library can run becomes one node `Scan` of it: what a turn does is a region
(regions.py), and where no row of the batch reads another, parts of the rows go through all turns in parallel
(docs/native.md). Linear in nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from . import graphs
from .chains import known_types
from .inward import Around, Totals
from .programs import DOMAIN
from .regions import EveryChain, held, known_in
from .steps import (
    ARGMAX,
    CHAIN,
    CONCAT,
    CONSTANT,
    GATHER,
    INT64,
    KINDS,
    PRODUCT,
    SLICE,
    SOFTMAX,
    SUM,
    TRANSPOSE,
    UNSQUEEZE,
    Step,
    Steps,
    float_bits,
)

OPERATOR, VERSION = "Scan", 2
RECURRENCES = "Scan as one node"
LARGEST = 1 << 18  # elements of a second factor: one that a second-level cache holds


def recurrent(model: ModelProto) -> int:
    """Replaces what it can; how many. Changes the model."""
    graph = model.graph
    if not any(_is_scan(node) for node in graph.node):
        return 0
    constants, taken = held(graph), graphs.names(graph)
    inferred = graphs.inferred(_with_constants(model, constants))
    shapes = {node.output[0]: node for node in inferred.graph.node if node.output}
    known = dict(graphs.known(model, inferred))
    around = Around(graph, known_types(inferred.graph))
    count, gone = 0, set[int]()  # places of nodes whose results a recurrence gives
    for i, node in enumerate(graph.node):
        if _is_scan(node):
            inner = around.inward(node)
            gathered = around.gathered(inner, i, taken)
            made = None
            if gathered is not None:
                made = _Scan(gathered[0], shapes[node.output[0]], known, constants, inferred.graph).node(
                    taken, gathered[1]
                )
            if made is not None and gathered is not None:
                places, added = gathered[1].nodes, gathered[1].added
                gone.update(set(places.values()) - added.keys())
                for name, place in places.items():
                    known[name] = known[graph.node[place].output[0]]
                for place, plus in added.items():
                    graph.node[place].CopyFrom(plus)
            else:
                made = _Scan(inner, shapes[node.output[0]], known, constants, inferred.graph).node(taken)
            if made is not None:
                graph.node[i].CopyFrom(made)
                declared = {value.name for value in (*graph.output, *graph.value_info)}
                graph.value_info.extend(
                    helper.make_tensor_value_info(name, known[name][0], list(known[name][1]))
                    for name in made.output
                    if name not in declared
                )
                count += 1
    if count:
        kept = graphs.needed(
            [node for i, node in enumerate(graph.node) if i not in gone], [value.name for value in graph.output]
        )
        del graph.node[:]
        graph.node.extend(kept)
    return count


def _with_constants(model: ModelProto, constants: Mapping[str, TensorProto]) -> ModelProto:
    """The model with integers that a body reads within it, where inference of shapes looks for them."""
    made = ModelProto()
    made.CopyFrom(model)
    for node in made.graph.node:
        for body in graphs.subgraphs(node) if _is_scan(node) else ():
            names = {name for name in graphs.free_names(body) if name in constants}
            body.initializer.extend(constants[name] for name in sorted(names) if constants[name].data_type == INT64)
    return made


def _is_scan(node: NodeProto) -> bool:
    return graphs.is_op(node, "Scan")


class _Scan:
    def __init__(
        self,
        node: NodeProto,
        shapes: NodeProto,
        known: graphs.Known,
        constants: Mapping[str, TensorProto],
        outer: GraphProto,
    ) -> None:
        self.old, self.outer, self.known = node, outer, known
        self.attributes = {each.name: each for each in node.attribute}
        self.body, self.constants = GraphProto(), constants
        self.body.CopyFrom(self.attributes["body"].g)
        self.shapes = next(each.g for each in shapes.attribute if each.name == "body")

    def node(self, taken: set[str], totals: Totals | None = None) -> NodeProto | None:
        """The node in its place, with these sums as its last results; None where a turn has more than the library
        knows, or sums are of rows that read each other."""
        node, body, totals = self.old, self.body, totals or Totals()
        _own_outputs(body)
        names = [value.name for value in body.input]
        outputs = [value.name for value in body.output]
        sequences = self.attributes["num_scan_inputs"].i
        states = len(names) - sequences
        results = len(outputs) - states - totals.kept
        if states < 1 or results < 0 or not all((*node.input, *node.output)) or len(node.input) != len(names):
            return None
        if any(any(each.ints) for name, each in self.attributes.items() if name.endswith("_axes")):
            return None
        if any(any(True for _ in graphs.subgraphs(each)) for each in body.node):
            return None
        if any(name not in self.known or self.known[name][0] not in KINDS for name in (*node.input, *node.output)):
            return None
        EveryChain(body, self.shapes, known_types(self.outer), _numbers(self.constants, body)).run()
        known = {**self.known, **known_in(body), **known_in(self.shapes)}
        for name, value in zip(names, node.input, strict=True):  # bodies need not say it
            kind, shape = self.known[value]
            known.setdefault(name, (kind, shape if names.index(name) < states else shape[1:]))
        steps = Steps(known, {**self.constants, **held(body)})
        parts = [(each, steps.of(each)) for each in body.node]
        if any(step is None for _, step in parts):
            return None
        whole = [(each, step) for each, step in parts if step is not None]
        if not _within_cache(whole, known):
            return None
        program, inputs, before = steps.program(whole, names, outputs)
        rows = _by_rows(whole, names, outputs, steps)
        back = {name: list(each.ints) for name, each in self.attributes.items() if name.endswith("_directions")}
        if totals.each and not rows:
            return None
        words = [VERSION, states, sequences, int(rows), totals.kept, len(totals.each)]
        words += back.get("scan_input_directions") or [0] * sequences
        words += back.get("scan_output_directions") or [0] * results
        words += [word for a, b, factor in totals.each for word in (a, b, float_bits(factor))]
        made = helper.make_node(
            OPERATOR,
            [*node.input, *inputs[len(names) :]],
            [*node.output, *totals.nodes],
            name=graphs.fresh(f"{node.name or node.output[0]}/turns", taken),
            domain=DOMAIN,
            program=[*words, *program],
        )
        made.metadata_props.extend(node.metadata_props)
        made.doc_string = "\n".join([*([""] * before), *(each.name for each, _ in whole)])
        return made


def _own_outputs(body: GraphProto) -> None:
    """Every output is made by a node of its own: none is an input, and none is named twice."""
    given = {value.name for value in (*body.input, *body.initializer)}
    for value in body.output:
        if value.name in given:
            name = graphs.fresh(f"{value.name}/next", graphs.names(body))
            body.node.add(op_type="Identity", name=name, input=[value.name], output=[name])
            value.name = name
        given.add(value.name)


def _numbers(constants: Mapping[str, TensorProto], body: GraphProto) -> dict[str, TensorProto]:
    """Those of rank 0, which go into a chain's program."""
    own = {value.name for value in body.input}
    return {name: each for name, each in constants.items() if not each.dims and name not in own}


def _within_cache(parts: Sequence[tuple[NodeProto, Step]], known: graphs.Known) -> bool:
    """Whether the second factors of all products together stay in a cache from one turn to the next."""
    total = 0
    for _, step in parts:
        if step.operation == PRODUCT:
            shape = known[step.operands[1]][1]
            if not all(isinstance(size, int) for size in shape):
                return False
            total += (shape[0] or 0) * (shape[1] or 0)
    return total <= LARGEST


def _by_rows(
    parts: Sequence[tuple[NodeProto, Step]], names: Sequence[str], outputs: Sequence[str], steps: Steps
) -> bool:
    """Whether every row of the states, of a slice and of what a turn makes depends on no other row: the first dimension
    is that of the batch, of everything that depends on the batch."""
    rows = set(names)
    if any(not steps.rank(name) for name in names):
        return False
    for node, step in parts:
        reads = [name in rows for name in step.operands]
        ranks = [steps.rank(name) for name in step.operands]
        if not any(reads):
            continue  # the same in every row
        rank = steps.rank(node.output[0])
        # What depends on the batch has the rank of the result, and what does not is broadcast to every row.
        each = [
            own == rank if row else own < rank or steps.known[name][1][0] == 1
            for name, own, row in zip(step.operands, ranks, reads, strict=True)
        ]
        attributes = step.attributes
        operation = step.operation
        if operation == CHAIN:
            fits = all(each)
        elif operation == PRODUCT:
            fits = reads[0] and not reads[1] and ranks[0] == 2 and not attributes[0] & 1
            fits = fits and all(each[2:])
        elif operation in (SOFTMAX, ARGMAX):
            fits = ranks[0] > 1
        elif operation == SUM:
            fits = attributes[0] > 0 or not attributes[1]
        elif operation == TRANSPOSE:
            fits = bool(attributes) and attributes[0] == 0
        elif operation == SLICE:
            fits = attributes[0] % ranks[0] > 0
        elif operation == CONCAT:
            fits = all(reads) and attributes[0] % ranks[0] > 0
        elif operation == UNSQUEEZE:
            fits = all(axis > 0 for axis in attributes)
        elif operation == GATHER:
            fits = all(reads) and ranks[0] > 1
        else:
            fits = operation == CONSTANT
        if not fits:
            return False
        rows.update(node.output)
    return all(name in rows for name in outputs)
