"""Half precision: products of matrices and convolutions of numbers of 16 bits, and everything else of 32.

    x @ w  ->  r(r(x) @ r(w))        r: to the nearest number of 16 bits and back

Such a product is what a kernel for 16 bits gives that adds up in 32, as those of GPUs do (Micikevicius et al. 2018,
arXiv:1710.03740; Kalamkar et al. 2019, arXiv:1905.12322). Parameters, sums, exponentials, losses, normalizations and
updates keep 32 bits. So do products whose digits matter more than their time: of updates, and of the library's linear
algebra, Fourier transforms, losses and distributions.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..elaborate.library import standard_index
from ..ir.body import with_body
from ..ir.graph import Graph, Node
from ..ir.module import Module
from ..ops.halves import rounded

PRODUCTS = ("matmul", "conv", "conv_input", "conv_weight")
MOVES = ("reshape", "transpose", "broadcast_to")  # done with what is rounded already: one conversion for all readers
WHOLE = frozenset(  # files of the library whose products keep 32 bits
    [
        "curvature",
        "distributions",
        "fourier",
        "layerwise",
        "linalg",
        "losses",
        "metrics",
        "multivariate",
        "natural",
        "norms",
        "orthogonal",
        "penalties",
    ]
)


def halve(module: Module, kind: str) -> None:
    """Rewrites the graph in place; `kind`: "float16" or "bfloat16". Linear in its nodes."""
    graph = module.graph
    model = graph.order(
        [
            *module.roots(
                "loss", "metric/", "output/", "evaluate/part/", "evaluate/rows/", "evaluate/members/"
            ).values(),
            *module.gradients().values(),
        ]
    )
    _rewrite(graph, kind, model)


def _rewrite(graph: Graph, kind: str, order: Iterable[Node]) -> None:
    known: dict[Node, Node] = {}

    def low(x: Node) -> Node:
        """The value in 16 bits."""
        if x not in known:
            moved = x.op.name in MOVES and x.dtype == "float"
            with graph.like(x, derived=x.derived):
                known[x] = (
                    x
                    if x.op is rounded
                    else graph.add(x.op, [low(x.inputs[0])], x.attrs)
                    if moved
                    else rounded(x, kind=kind)
                )
        return known[x]

    exact: dict[object, bool] = {}
    for node in list(order):
        if node not in graph:
            continue
        if node.op.name in PRODUCTS and not _keeps(node, exact):
            with graph.like(node, derived=node.derived):
                first, *others = (low(x) for x in node.inputs)
                apart = rounded(first, kind=kind)  # so that a product of rounded values is not its own operand
                made = graph.add(node.op, [apart, *others], node.attrs)
                graph.replace(node, rounded(made, kind=kind))
                graph.replace(apart, first)
        elif node.op.name == "scan":
            body = node.attrs["body"].changed(lambda inner: _rewrite(inner, kind, inner.order(inner.outputs.values())))
            if body.key != node.attrs["body"].key:
                graph.replace(node, with_body(node, body))


def _keeps(node: Node, known: dict[object, bool]) -> bool:
    """Whether a product keeps 32 bits for where it was made: the innermost layer or function of the library."""
    place = node.place
    if place not in known:
        within = [one.name for one in place.chain() if one.kind in ("layer", "call") and one.name in standard_index()]
        known[place] = bool(within) and standard_index()[within[-1]].stem in WHOLE
    return known[place]
