"""The rule by which each operation hands its derivative on, in the words of a textbook."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.graph import Node

# By the name of the operation. None: it moves or repeats elements, or adds a constant, which needs no word.
RULES: dict[str, str | None] = {
    "matmul": "a product of matrices: times the other factor, transposed",
    "gemm": "a product of matrices: times the other factor, transposed",
    "conv": "a convolution: with the other factor, turned round",
    "conv_input": "a convolution: with the other factor, turned round",
    "conv_weight": "a convolution: with the other factor, turned round",
    "add": None,
    "sub": None,
    "mul": "a product: times the other factor",
    "div": "a quotient: (u / v)′ = (u′ − (u / v) v′) / v",
    "pow": "a power: (uⁿ)′ = n uⁿ⁻¹ u′",
    "reduce_sum": None,
    "reduce_sum_square": "a sum of squares: (Σ u²)′ = 2 u",
    "reduce_prod": "a product: times the other factors",
    "reduce_max": "a maximum hands on to what is largest",
    "reduce_min": "a minimum hands on to what is smallest",
    "logsumexp": "(log Σ exp u)′ = softmax(u)",
    "softmax": "softmax′: s ⊙ (g − Σ g ⊙ s)",
    "log_softmax": "log softmax′: g − softmax Σ g",
    "pick": "picking an element is a product with onehot",
    "gather": "reading rows: adds back to the rows that were read",
    "scatter_add": "adding to rows: reads them back",
    "take_along": "reading elements: adds back to those that were read",
    "top": "the largest elements: hands on to where they were",
    "cumsum": "a running sum hands on to all before",
    "where": "a choice hands on to the side that was chosen",
    "maximum": "a maximum hands on to the larger",
    "minimum": "a minimum hands on to the smaller",
    "max_pool": "a maximum hands on to what is largest in each window",
    "avg_pool": "a mean hands on in equal shares to its window",
    "standardize": "(u − mean) / deviation: less its mean and its part along the result",
    "inverse_deviation": "1 / deviation: −(u − mean) / (n deviation³)",
    "relu": "relu′(u) = [u > 0]",
    "sigmoid": "σ′ = σ (1 − σ)",
    "gate": "σ′ = σ (1 − σ)",
    "tanh": "tanh′ = 1 − tanh²",
    "exp": "(eᵘ)′ = eᵘ",
    "expm1": "(eᵘ − 1)′ = eᵘ",
    "log": "(log u)′ = 1 / u",
    "log1p": "(log(1 + u))′ = 1 / (1 + u)",
    "softplus": "(log(1 + eᵘ))′ = σ(u)",
    "sqrt": "(√u)′ = 1 / (2 √u)",
    "abs": "|u|′ = sign(u)",
    "sin": "sin′ = cos",
    "cos": "cos′ = −sin",
    "erf": "erf′(u) = 2 exp(−u²) / √π",
    "custom": "a derivative of its own",
    "scan": "a recurrence: its adjoints run the other way",
    "result": None,
    "neg": None,
    "cast": None,
    "reshape": None,
    "transpose": None,
    "broadcast_to": None,
    "concat": None,
    "slice": None,
    "unslice": None,
}


REPEATED = "what is repeated is summed up"
LINEAR = "a sum hands on to each term"


def reasons(nodes: Sequence[Node]) -> list[str]:
    """The rules of the operations by which the last of these nodes comes to the first, each once, in order; the name of
    one that has no rule here."""
    found: dict[str, None] = {}
    inside = set(nodes)
    for node in nodes[:-1]:
        name = node.op.name
        if node.op.elementwise and any(s in inside and _repeated(s, node) for s in node.inputs):
            found[REPEATED] = None
        if name in ("mul", "div") and _scales(node):
            continue
        silent = node.op.marker or node.dtype == "bool"  # a condition hands nothing on
        rule = RULES.get(name, None if silent else f"{name}′")
        if rule is not None:
            found[rule] = None
    return list(found) or [LINEAR]


def _repeated(source: Node, node: Node) -> bool:
    own, whole = ([size for size in n.shape if size != 1] for n in (source, node))
    return own != whole


def _scales(node: Node) -> bool:
    """Whether a product or quotient is one with a number or a size, which stays as it is."""
    return any(_number(source) for source in (node.inputs if node.op.name == "mul" else node.inputs[1:]))


def _number(node: Node) -> bool:
    while node.inputs:
        if node.rank:
            return False
        if not all(_number(source) for source in node.inputs[1:]):
            return False
        node = node.inputs[0]
    return node.op.name in ("constant", "size") and not node.rank
