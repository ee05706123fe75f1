"""Whether a figure should grow or fall, where its graph says so: what `patience` waits for.

A loss falls, and what is a monotone function of it moves with it. Hits of a target (`prediction == y`) grow, the
distance of a prediction from a target falls. Nothing is taken from a name; what is not known is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence

import numpy as np

from ..ir.graph import Node
from ..ir.reachable import dependent

GROWS, FALLS, ALIKE = 1, -1, 0
# Functions of the library's losses.dl and metrics.dl that say how near their first argument is to their second, and
# one that moves as its first does, as its second is not negative.
COMPARISONS = {
    **dict.fromkeys(("squared", "absolute", "huber", "cross_entropy", "binary_cross_entropy", "hinge"), FALLS),
    **dict.fromkeys(("pinball", "logistic_loss", "focal", "rmse", "mape", "perplexity", "calibration_error"), FALLS),
    **dict.fromkeys(("top_k", "precision", "recall", "f1", "macro_precision", "macro_recall", "macro_f1"), GROWS),
    **dict.fromkeys(("matthews", "auc", "average_precision", "r2", "exact_auc", "exact_average_precision"), GROWS),
    "weighted_mean": ALIKE,
}


def direction(
    figure: Node,
    losses: Sequence[Node],
    compared: Mapping[Node, tuple[Node, Node, int]],
    targets: Sequence[Node],
    learned: Sequence[Node],
) -> str | None:
    """Which is better: "max" where more is, "min" where less is, None where the graph does not say.

    `losses`: the terms of the loss; `compared`: results of COMPARISONS with their two arguments and which is better;
    `targets` and `learned`: the leaves of the data to predict and of what is learned.
    """
    order = figure.graph.order([figure])
    moves = dependent(order, learned)
    told = dependent(order, targets)
    sign: dict[Node, int] = {}
    for loss in losses:
        sign[loss] = FALLS
        if loss.op.name == "neg":  # a log likelihood
            sign[loss.inputs[0]] = GROWS

    def apart(a: Node, b: Node) -> bool:
        """Whether one is a prediction and the other is told by a target."""
        return any(p in moves and q in told and q not in moves for p, q in ((a, b), (b, a)))

    for node in order:
        if node in sign or node not in moves:
            continue
        a, b, better = compared.get(node, (node, node, None))
        if better == ALIKE:
            moved = sign.get(a)
        else:
            moved = better if better and apart(a, b) else _sign(node, sign, moves, apart)
        if moved:
            sign[node] = moved
    found = sign.get(figure)
    return None if found is None else "max" if found == GROWS else "min"


def _sign(
    node: Node, sign: Mapping[Node, int], moves: Container[Node], apart: Callable[[Node, Node], bool]
) -> int | None:
    name, inputs = node.op.name, node.inputs
    given = [sign.get(source, None if source in moves else 0) for source in inputs]  # 0: what learning does not move
    if name in ("eq", "ne") and apart(*inputs):
        return GROWS if name == "eq" else FALLS
    if name == "abs" or (name == "pow" and _number(inputs[1]) in (2.0, 4.0)):
        [x] = inputs[:1]
        return FALLS if x.op.name == "sub" and apart(*x.inputs) else None
    if None in given:
        return None
    ones = [one for one in given if one is not None]
    if name == "cast":  # to bool it says whether a number is not 0
        return ones[0] if node.dtype != "bool" else None
    if node.op.monotone:  # a sum of hits grows with the hits
        each = node.op.monotone if len(node.op.monotone) == len(ones) else node.op.monotone * len(ones)
        if any(one and not rises for one, rises in zip(ones, each, strict=True)):
            return None
        return _common([one * rises for one, rises in zip(ones, each, strict=True)])
    if name in ("mul", "div"):
        factor = inputs[1] if ones[0] else inputs[0]
        if (name == "div" and ones[1]) or all(ones):
            return None
        scale, common = _positive(factor), _common(ones)
        return scale * common if scale and common else None
    return None


def _common(signs: Sequence[int]) -> int | None:
    moving = {sign for sign in signs if sign}
    return moving.pop() if len(moving) == 1 else None


def _number(node: Node) -> float | None:
    value = node.attrs["value"] if node.op.name == "constant" else None
    return float(value) if value is not None and np.ndim(value) == 0 else None


def _positive(node: Node) -> int | None:
    """1 or -1, the sign of a value that is known to have one: a number, or a count."""
    while node.op.name in ("cast", "broadcast_to", "reshape"):
        node = node.inputs[0]
    if node.op.name == "size":
        return 1
    value = _number(node)
    return None if not value or value != value else (1 if value > 0 else -1)


__all__ = ["COMPARISONS", "direction"]
