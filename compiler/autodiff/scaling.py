"""Loss scaling: what is derived is the loss times a number, so that gradients do not fall below the least of float16.

    g = (1 / s) d(s loss)/d theta

`s` is state of the step, `loss_scale/factor`. Where a gradient is not finite, it was too large: nothing changes but s,
which is halved; after 2,000 steps without that it is doubled (Micikevicius et al. 2018, arXiv:1710.03740, section 3.2;
the numbers are those of torch.amp.GradScaler). A power of two, it changes no digit of what does not overflow. Once it
is below 2^-10 it is not to blame for what is not finite, which then comes through, to be reported.
"""

from __future__ import annotations

from .. import ops
from ..ir.graph import Graph, Node
from ..ir.module import Module, Variable
from ..ir.types import TensorType

SCALE, GOOD = (
    "loss_scale/factor",
    "loss_scale/good",
)  # state: the factor, and how many steps were finite since it changed
START, EVERY, GREATEST, LEAST = 2.0**16, 2000, 2.0**126, 2.0**-10
LARGEST = 3.4028234663852886e38


def scale(module: Module) -> None:
    """Scales what every pass of a step minimizes; before derivatives are taken."""
    graph = module.graph
    if not module.trains:
        return
    model = set(graph.order([node.inputs[0] for node in module.gradients().values()]))
    factor, good = _state(module, SCALE, "float", START), _state(module, GOOD, "int", 0)
    passes: dict[str, list[Node]] = {}  # found before any is scaled: those that minimize one loss share gradients
    for number in range(max(len(module.turns), 1)):
        prefix = f"{module.turn(number)}next/"
        moved = module.roots(prefix)
        passes[prefix] = [x for x in graph.order(moved.values()) if x.op is ops.gradient and x not in model]
    changed: dict[Node, Node] = {}
    for prefix, derived in passes.items():
        for node in derived:
            _scaled(graph, node, factor, changed)
        if derived:
            _guarded(module, prefix, [changed[node] for node in derived], factor, good)


def _state(module: Module, path: str, dtype: str, start: float) -> Node:
    graph = module.graph
    leaf = ops.make_variable(graph, path, TensorType(dtype, ()))
    module.variables[path] = Variable(path, "optimizer", leaf)
    graph.outputs[f"initial/{path}"] = ops.constant(graph, start, dtype)
    return leaf


def _scaled(graph: Graph, node: Node, factor: Node, changed: dict[Node, Node]) -> None:
    if node in changed:
        return
    objective, wrt = node.inputs
    with graph.like(node, derived=True):
        made = ops.gradient(objective * factor, wrt) * (1.0 / factor)
    graph.replace(node, made)
    changed[node] = made


def _guarded(module: Module, prefix: str, gradients: list[Node], factor: Node, good: Node) -> None:
    """Nothing moves but the factor where a gradient is not finite."""
    graph = module.graph
    with graph.like(gradients[0], derived=True):
        sums = [ops.reduce_sum(g, axes=tuple(range(g.rank)), keepdims=False) if g.rank else g for g in gradients]
        total = sums[0]
        for one in sums[1:]:
            total = total + one
        finite = ops.or_(ops.le(ops.abs_(total), LARGEST), ops.lt(factor, LEAST))
        for root in module.roots(prefix):
            before = module.variables[root.removeprefix(prefix)].node
            graph.outputs[root] = ops.where(finite, graph.outputs[root], before)
        count = good + 1
        due = ops.eq(count, EVERY)
        grown = ops.where(ops.and_(due, ops.lt(factor, GREATEST)), factor * 2.0, factor)
        graph.outputs[prefix + SCALE] = ops.where(finite, grown, factor * 0.5)
        graph.outputs[prefix + GOOD] = ops.where(ops.and_(finite, ops.not_(due)), count, ops.constant(graph, 0, "int"))
