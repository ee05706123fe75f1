"""The graph run by NumPy in float64: the oracle of every test, and where the start values in a file come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from .body import ScanView
from .graph import Array, Node
from .op import NUMPY
from .types import Dim, evaluate as number_of, show_shape

LEAVES = ("input", "variable", "seed")


def evaluate(roots: Sequence[Node], feeds: Mapping[Any, Any] | None = None) -> list[Array]:
    """The values of the roots, in order. A value is dropped once nothing more needs it.

    `feeds` gives the leaves, each by its node or by its name (an input's name, a variable's path, "seed"). Free
    dimensions take their sizes from the shapes of what is fed, whether the roots read it or not. ValueError when a
    leaf or a size is missing or a shape does not fit. NaN and infinities go through as IEEE 754 says.
    """
    feeds = feeds or {}
    if not roots:
        return []
    graph = roots[0].graph
    order = graph.order(roots)
    values = {node: _fed(node, feeds) for node in order if node.op.name in LEAVES}
    unread = [leaf for leaf in graph.inputs.values() if leaf not in values and _key(leaf, feeds) is not None]
    sizes = _sizes([*values.items(), *((leaf, _fed(leaf, feeds)) for leaf in unread)])
    with np.errstate(all="ignore"):
        return _run(order, roots, values, sizes)


def each(roots: Sequence[Node], feeds: Mapping[Any, Any]) -> Iterator[tuple[Node, Array]]:
    """Every value that the roots need, inputs first, dropped once nothing more needs it. Left out is what depends on a
    leaf or size that is not fed, or on a derivative that is not taken yet. ValueError where a shape does not fit."""
    order = roots[0].graph.order(roots) if roots else []
    values = {node: _fed(node, feeds) for node in order if node.op.name in LEAVES and _key(node, feeds) is not None}
    unread = (
        [leaf for leaf in roots[0].graph.inputs.values() if leaf not in values and _key(leaf, feeds)] if roots else []
    )
    sizes = _sizes([*values.items(), *((leaf, _fed(leaf, feeds)) for leaf in unread)])
    uses = Counter(source for node in order for source in dict.fromkeys(node.inputs))
    with np.errstate(all="ignore"):
        for node in order:
            if node not in values and node.op.name not in LEAVES and all(source in values for source in node.inputs):
                with suppress(KeyError, ValueError):  # a derivative that was not taken; a size that nothing tells
                    values[node] = _made(node, [values[source] for source in node.inputs], sizes)
            if node in values:
                yield node, values[node]
            for source in dict.fromkeys(node.inputs):
                uses[source] -= 1
                if not uses[source]:
                    values.pop(source, None)


def _made(node: Node, given: Sequence[Array], sizes: Mapping[str, int]) -> Any:
    if node.op.name == "scan":
        return _scan(ScanView(node), given, sizes)
    attrs = {name: _resolved(value, sizes) for name, value in node.attrs.items()}
    return np.asarray(node.op.reference(*given, **attrs), NUMPY[node.dtype])


def _run(order: Sequence[Node], roots: Sequence[Node], values: dict[Node, Any], sizes: Mapping[str, int]) -> list[Any]:
    """The values of the roots; `values` has those of the leaves."""
    uses: dict[Node, int] = {}
    for read in (tuple(roots), *(node.inputs for node in order)):
        for source in read:
            uses[source] = uses.get(source, 0) + 1
    for node in order:
        if node not in values:
            values[node] = _made(node, [values[source] for source in node.inputs], sizes)
        for source in node.inputs:
            uses[source] -= 1
            if not uses[source]:
                del values[source]
    return [values[root] for root in roots]


def _scan(scan: ScanView, given: Sequence[Array], sizes: Mapping[str, int]) -> list[Array]:
    """The results of a scan, by a plain loop."""
    body = scan.body
    order, leaves, iteration = body.graph.order(body.roots), body.locals(), body.iteration()
    held = list(given[: len(scan.states)])
    emitted: list[list[Array]] = [[] for _ in scan.emitted]
    for t in range(_resolved(scan.length, sizes))[:: -1 if scan.reverse else 1]:
        iteration_gives = [
            *held,
            *(given[x.number].take(t, x.axis) for x in scan.scanned),
            *(given[x.number] for x in scan.captured),
        ]
        values: dict[Node, Any] = {leaf: iteration_gives[number] for number, leaf in leaves.items()}
        if iteration is not None:
            values[iteration] = np.asarray(t, np.int64)
        made = _run(order, body.roots, values, sizes)
        held = made[: len(held)]
        for rows, row in zip(emitted, made[len(held) :], strict=True):
            rows.append(row)
    whole: list[Array] = []
    for rows, emit in zip(emitted, scan.emitted, strict=True):
        if rows:
            whole.append(np.stack(rows[:: -1 if scan.reverse else 1], emit.axis))
        else:
            shape = [number_of(size, sizes) for size in emit.root.shape]
            whole.append(np.zeros((*shape[: emit.axis], 0, *shape[emit.axis :]), NUMPY[emit.root.dtype]))
    return [*held, *whole]


def _key(leaf: Node, feeds: Mapping[Any, Any]) -> Any:
    """What a leaf is fed under; None if it is not."""
    name = leaf.attrs.get("name") or leaf.attrs.get("path") or leaf.op.name
    return leaf if leaf in feeds else name if name in feeds else None


def _fed(leaf: Node, feeds: Mapping[Any, Any]) -> Array:
    key = _key(leaf, feeds)
    if key is None:
        raise ValueError(f"no value was given for {leaf.attrs.get('name') or leaf.attrs.get('path') or leaf.op.name}")
    return np.asarray(feeds[key]).astype(NUMPY[leaf.dtype])


def _sizes(fed: Sequence[tuple[Node, Array]]) -> dict[str, int]:
    """The sizes of the free dimensions; ValueError where a shape does not fit its leaf's."""
    sizes: dict[str, int] = {}
    for leaf, value in fed:
        if value.ndim != leaf.rank:
            raise ValueError(f"{leaf} was given a value of shape {show_shape(value.shape)}")
        for size, found in zip(leaf.shape, value.shape, strict=True):
            name = str(size)
            if size == Dim.name(name) and sizes.setdefault(name, found) != found:
                raise ValueError(f"dimension {name} is {sizes[name]} and {found}")
    for leaf, value in fed:
        if tuple(_resolved(leaf.shape, sizes)) != value.shape:
            raise ValueError(f"{leaf} was given a value of shape {show_shape(value.shape)}")
    return sizes


def _resolved(value: Any, sizes: Mapping[str, int]) -> Any:
    """An attribute with numbers for its sizes."""
    if isinstance(value, Dim):
        missing = [name for name in value.names() if name not in sizes]
        if missing:
            raise ValueError(f"no value was given whose shape tells the size {missing[0]}")
        return number_of(value, sizes)
    if isinstance(value, tuple):
        return tuple(_resolved(item, sizes) for item in value)
    return value
