"""Small steps run as one node: `Region` of the native library, which does what its nodes do one after another, without
what ONNX Runtime spends on each (docs/native.md).

Each node gets a level: how many nodes that a region cannot hold lie at most between it and the end of the graph. All
nodes of a level that a region can hold are one: a way out of it and back in would pass another node, and the level
would differ. Linear in nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from . import graphs
from .chains import CHAINED, Chains, in_order, known_types, levels
from .early import hastened
from .failures import closest_node
from .guard import GUARDED, Guard, put, taken
from .programs import DOMAIN
from .steps import Known, Step, Steps

OPERATOR = "Region"
TOGETHER = "operations in regions"


class EveryChain(Chains):
    """Elementwise operations of any number and size: in a region a chain costs nothing of its own."""

    least = 1

    def _pays(self, region: list[int]) -> bool:
        return True

    def _summed(self, piece: list[int]) -> list[int]:
        return piece  # sums are steps of their own

    def _hastened(self, regions: list[list[int]], level: Sequence[int]) -> list[list[int]]:
        return hastened(regions, level, self, self._pays, cached=True)


def together(model: ModelProto, inferred: ModelProto, guard: Guard | None = None) -> dict[str, int]:
    """Puts chains and regions in place of the nodes of a small step. Changes the model; what was done how often.
    `inferred`: the model, or what it was made from, with the shapes of its values. `guard`: what of its data the step
    is to check, if it can."""
    counts = {}
    if count := EveryChain(model.graph, inferred.graph, {}, {}).run():
        counts[CHAINED] = count
    guarded = guard is not None and put(model, guard)
    if count := _Regions(model, _known(model, inferred)).run():
        counts[TOGETHER] = count
    if guarded and guard is not None and taken(model, guard):
        counts[GUARDED] = 1
    return counts


def _known(model: ModelProto, inferred: ModelProto) -> Known:
    """Types and shapes, in which a name is a size where all sizes of a value have one."""
    plain = {**graphs.known(model, model), **graphs.known(model, inferred)}
    return {**plain, **known_types(inferred.graph), **known_types(model.graph)}


def held(graph: GraphProto) -> dict[str, TensorProto]:
    """The constants of a graph: initializers, but for those of inputs, which are defaults only."""
    given = {value.name for value in graph.input}
    return {each.name: each for each in graph.initializer if each.name not in given}


def known_in(graph: GraphProto) -> dict[str, tuple[int, tuple[int | None, ...]]]:
    """The element type and the dimensions of the values of a body whose rank is known."""
    model = ModelProto()
    model.graph.CopyFrom(graph)
    return dict(graphs.known(model, model))


def places(graph: GraphProto, sources: Mapping[str, str]) -> dict[str, str]:
    """What a failure of a region names, its step, -> the line of the node that the step was."""
    return {
        f"{node.name}/step {k}": sources.get(closest_node(name, sources), "")
        for node in graph.node
        if node.domain == DOMAIN and node.doc_string
        for k, name in enumerate(node.doc_string.split("\n"))
    }


class _Regions:
    def __init__(self, model: ModelProto, known: Known) -> None:
        self.graph, self.steps = model.graph, Steps(known, held(model.graph))
        self.nodes = list(self.graph.node)
        self.results = {value.name for value in self.graph.output}

    def run(self) -> int:
        """How many nodes went into regions."""
        steps = [self.steps.of(node) for node in self.nodes]
        reading = graphs.reading(self.nodes)
        level = levels(reading, graphs.makers(self.nodes), lambda i, j: steps[i] is None or steps[j] is None)
        of: dict[int, list[int]] = {}
        for i, step in enumerate(steps):
            if step is not None:
                of.setdefault(level[i], []).append(i)
        regions = [region for region in of.values() if len(region) > 1]
        if not regions:
            return 0
        number_of = {i: number for number, region in enumerate(regions) for i in region}
        users = graphs.users(reading)
        readers = {name: {number_of.get(i, -1) for i in places} for name, places in users.items()}
        nodes = {i: node for i, node in enumerate(self.nodes) if i not in number_of}
        taken = graphs.names(self.graph)
        for number, region in enumerate(regions):
            outputs = [
                name
                for i in region
                for name in self.nodes[i].output
                if name in self.results or readers.get(name, set()) - {number}
            ]
            if outputs:  # else nothing needs it
                nodes[region[-1]] = self._region(region, steps, outputs, taken)
        ordered = in_order(nodes)
        del self.graph.node[:]
        self.graph.node.extend(ordered)
        return len(number_of)

    def _region(
        self, region: list[int], steps: Sequence[Step | None], outputs: list[str], taken: set[str]
    ) -> NodeProto:
        parts = [(self.nodes[i], step) for i in region if (step := steps[i]) is not None]
        program, inputs, before = self.steps.program(parts, (), outputs)
        first = self.nodes[region[0]]
        whole = helper.make_node(
            OPERATOR,
            inputs,
            outputs,
            name=graphs.fresh(f"{first.name or first.output[0]}/region", taken),
            domain=DOMAIN,
            program=program,
        )
        whole.metadata_props.extend(first.metadata_props)
        # Which node a failure is of, by the number of its step.
        whole.doc_string = "\n".join([*([""] * before), *(self.nodes[i].name for i in region)])
        declared = self.results | {value.name for value in self.graph.value_info}
        for name in outputs:
            if name not in declared:
                kind, shape = self.steps.known[name]
                self.graph.value_info.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return whole
