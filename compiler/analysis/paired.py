"""Whether a model pairs its parameters with the rows of a batch by their places, and training shuffles them."""

from __future__ import annotations

from ..diagnostics import Problems, error
from ..ir.graph import Node
from ..ir.module import Module
from ..ir.reachable import dependent
from .batch_mixing import Rows, times


def warn(module: Module, problems: Problems) -> None:
    """W0204 where a loss reads a parameter by `arange(batch)` and the train block shuffles or splits the rows. Linear.

    What is found: a value of a parameter and of the place of a row in its batch, of no data, that meets data.
    """
    settings, rows = module.settings.get("train", {}), module.rows
    shuffled = settings.get("batch") != "all"
    if not module.trains or not rows or not (shuffled or isinstance(settings.get("validate"), float)):
        return
    found = _met(module, rows)
    if found is None:
        return
    node, leaf, name = found
    why = "training shuffles the rows" if shuffled else "`validate:` takes a share of the rows away"
    problems.warn(
        error(
            "W0204",
            f"`{name}` is paired with the rows of a batch by position, and {why}",
            node.span,
            "counts the rows of the batch, not those of the data",
            more=[(leaf.span, "what it learns belongs to no particular row")],
            help=(
                "`batch: all` trains on all rows in the order of the data"
                if shuffled
                else "give the validation set as a file"
            )
            + f"; or let the data say which row is which: `input row: int[{rows[0]}]` and `{name}[row]`",
        )
    )


def _met(module: Module, rows: Rows) -> tuple[Node, Node, str] | None:
    """The first such value of the loss, and its parameter."""
    learned = {v.node: v.path for v in module.variables.values() if v.kind == "parameter"}
    owner: dict[Node, Node] = {}  # what is computed from parameters: the first of them
    places: set[Node] = set()  # what differs by the place in the batch, and has no data
    first: dict[Node, Node] = {}  # of values of a parameter and of places: the first one of which they are made
    asked = [f"metric/{turn.loss}" for turn in module.turns]
    order = module.graph.order(list(module.roots("loss", *asked).values()))
    data = dependent(order, [node for node in order if node.op.name == "input"])
    for node in order:
        if node in data:
            met = next((source for source in node.inputs if source in first), None)
            if met is not None:
                return first[met], owner[met], learned[owner[met]]
            continue
        parameter = node if node in learned else next((owner[x] for x in node.inputs if x in owner), None)
        if parameter is not None:
            owner[node] = parameter
        placed = [source in places for source in node.inputs]
        counts = sum(times(size, rows) for size in node.shape)
        same = node.op.name in ("eq", "ne") and all(placed) and counts > 1  # an identity matrix: the same for any order
        cut = node.op.name == "slice" and not any(times(size, rows) for size in node.inputs[0].shape)  # theta[:batch]
        if counts and not same and (node.op.name == "arange" or cut or any(placed)):
            places.add(node)
            if parameter is not None:
                first[node] = next((first[x] for x in node.inputs if x in first), node)
    return None
