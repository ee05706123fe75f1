"""The chains that make the next state of a step become one node, `Updates` of the native library, which comes last of
all and writes each value over the one before: state is in memory once (docs/native.md).

Everything else is computed before, since the node takes as inputs all that the rest of the graph comes to. So a step
that fails, or whose loss is not finite, has written nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from . import graphs
from .chains import OPERATOR, known_types
from .programs import DOMAIN, FLOATS, ROWS, SUM, Typed

UPDATES, VERSION = "Updates", 1
IN_PLACE = "updates in place"
HEAD, WORDS = 5, 5  # of the text of a chain (native/chain.h)
NOT_FINITE = 4  # the first verdict of those that name an output: twice its place more, and 1 for NaN
# Of state of these types the node could not say whether it is finite.
UNSEEN = frozenset((TensorProto.UNDEFINED, TensorProto.FLOAT16, TensorProto.BFLOAT16))


@dataclass(frozen=True)
class Wanted:
    """What may be updated in place. `targets`: tensor of state -> the output that is its next value; `loss`: the figure
    that must be finite for anything to be written; `rows`: of outputs that are several tensors of state beside each
    other the spans of these, [beginning, end, ...] in elements; `figures`: outputs that are no state."""

    targets: Mapping[str, str]
    loss: str | None
    figures: Sequence[str]
    rows: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @cached_property
    def before(self) -> dict[str, str]:
        """Output -> the tensor of state whose next value it is, in the order of `targets`."""
        return {output: tensor for tensor, output in self.targets.items()}

    @cached_property
    def order(self) -> dict[str, int]:
        """Output -> its place in `targets`."""
        return {output: place for place, output in enumerate(self.before)}


@dataclass(frozen=True)
class InPlace:
    """The input and the output that a graph has got, and the tensors of state that it updates in place, in the order
    in which the verdict counts them."""

    look: str
    verdict: str
    tensors: tuple[str, ...]


def joined(model: ModelProto, wanted: Wanted) -> InPlace | None:
    """Joins those chains that can be; None where there are none. Changes the model. Linear in nodes."""
    graph = model.graph
    known = known_types(graph)
    chosen = _chosen(graph, wanted, known)
    if not chosen:
        return None
    places = {i for i, _ in chosen}
    made = {name for i, node in enumerate(graph.node) if i not in places for name in node.output}
    own = {name for _, node in chosen for name in node.output}
    beside = [value.name for value in graph.output if value.name in made and value.name not in own]
    state = [name for name in beside if name not in wanted.figures]
    if any(known.get(name, (TensorProto.UNDEFINED,))[0] in UNSEEN for name in state):
        return None
    checked = [name for name in state if known[name][0] in FLOATS]
    guards = [] if wanted.loss is None else [wanted.loss]
    if not all(name in made and known.get(name, (TensorProto.UNDEFINED,))[0] in FLOATS for name in guards):
        return None
    taken = graphs.names(graph)
    look, verdict = graphs.fresh("look", taken), graphs.fresh("verdict", taken)
    node = _node(graph, [node for _, node in chosen], wanted, [look, *guards, *checked], len(guards), beside, verdict)
    node.name = graphs.fresh("updates", taken)
    kept = [each for i, each in enumerate(graph.node) if i not in places]
    del graph.node[:]
    graph.node.extend([*kept, node])
    graph.input.append(helper.make_tensor_value_info(look, TensorProto.INT64, []))
    graph.output.append(helper.make_tensor_value_info(verdict, TensorProto.INT64, []))
    return InPlace(look, verdict, tuple(wanted.before[name] for name in node.output[:-1]))


def _chosen(graph: GraphProto, wanted: Wanted, known: Mapping[str, Typed]) -> list[tuple[int, NodeProto]]:
    """Chains that make nothing but next state of fixed sizes, that nothing else reads; no two of them read what the
    other one writes."""
    before = wanted.before
    given = {value.name for value in graph.input}
    readers = Counter(name for node in graph.node for name in set(graphs.reads(node)))

    def fits(node: NodeProto) -> bool:
        if node.domain != DOMAIN or node.op_type != OPERATOR or _sums(node):
            return False
        for name in node.output:
            tensor = before.get(name)
            if (
                tensor is None
                or tensor not in given
                or readers[name]
                or known.get(name) is None
                or known[name] != known.get(tensor)
            ):
                return False
            if not all(isinstance(size, int) for size in known[name][1]):
                return False
        return True

    fitting = [(i, node) for i, node in enumerate(graph.node) if fits(node)]
    writer = {before[name]: i for i, node in fitting for name in node.output}
    chosen = []
    for i, node in fitting:
        if any(writer.get(name, i) != i for name in node.input):  # it reads what another writes: it stays before
            for name in node.output:
                del writer[before[name]]
        else:
            chosen.append((i, node))
    return sorted(chosen, key=lambda each: min(wanted.order[name] for name in each[1].output))


def _text(node: NodeProto) -> list[int]:
    return list(next(each.ints for each in node.attribute if each.name == "program"))


def _sums(node: NodeProto) -> bool:
    text = _text(node)
    begin = HEAD + text[1]
    return not {SUM, *ROWS.values()}.isdisjoint(text[begin : begin + WORDS * text[2] : WORDS])


def _node(
    graph: GraphProto,
    chains: Sequence[NodeProto],
    wanted: Wanted,
    first: Sequence[str],
    guards: int,
    beside: Sequence[str],
    verdict: str,
) -> NodeProto:
    """The node in place of chains. `first`: its inputs that have a place; `beside`: what else the graph comes to."""
    inputs = {name: i for i, name in enumerate(first)}
    for name in beside:
        inputs.setdefault(name, len(inputs))
    outputs = []
    program = [VERSION, guards, len(first) - 1 - guards, len(chains)]
    for name in first[1 + guards :]:
        spans = wanted.rows.get(name, ())
        program += [len(spans) // 2, *spans]
    for chain in chains:
        text = _text(chain)
        ends = dict(zip(chain.output, text[-len(chain.output) :], strict=True))
        own = sorted(ends, key=wanted.order.__getitem__)  # the verdict names the first one that is not finite
        program += [len(text), *text[: -len(own)], *(ends[name] for name in own)]
        for name in (*chain.input, *(wanted.before[output] for output in own)):
            program.append(inputs.setdefault(name, len(inputs)))
        outputs += own
    node = helper.make_node(UPDATES, list(inputs), [*outputs, verdict], domain=DOMAIN, program=program)
    node.metadata_props.extend(chains[0].metadata_props)
    return node
