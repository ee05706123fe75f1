"""The graph run by NumPy in float64: what the lowered file must agree with, and where start values come from."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .graph import Array, Node
from .ops.registry import NUMPY
from .tensor_type import Dim
from .tensor_type import evaluate as size_of


def evaluate(roots: Sequence[Node], feeds: Mapping[Any, Any] | None = None) -> list[Array]:
    """The values of the roots. `feeds` gives the leaves by node or by name (input name, variable path, "seed").

    Free dimensions take their sizes from the shapes of what is fed. ValueError if a leaf is missing or its shape
    does not fit. NaN and infinity propagate as IEEE 754 says.
    """
    feeds = feeds or {}
    if not roots:
        return []
    order = roots[0].graph.order(roots)
    values: dict[Node, Array] = {}
    sizes: dict[str, int] = {}
    for node in order:
        if node.op.name in ("input", "variable", "seed"):
            values[node] = _fed(node, feeds)
            _bind(node, values[node], sizes)
    for name, given in feeds.items():  # dimensions may stand only in data that nothing here reads
        if isinstance(name, Node):
            _bind(name, np.asarray(given), sizes)
    uses: dict[Node, int] = {}
    for node in order:
        for source in node.inputs:
            uses[source] = uses.get(source, 0) + 1
    for root in roots:
        uses[root] = uses.get(root, 0) + 1
    with np.errstate(all="ignore"):
        for node in order:
            if node not in values:
                attrs = {name: _resolved(value, sizes) for name, value in node.attrs.items()}
                result = node.op.reference(*[values[source] for source in node.inputs], **attrs)
                values[node] = np.asarray(result, NUMPY[node.dtype])
            for source in node.inputs:
                uses[source] -= 1
                if not uses[source]:
                    del values[source]
    return [values[root] for root in roots]


def _fed(node: Node, feeds: Mapping[Any, Any]) -> Array:
    name = node.attrs.get("name") or node.attrs.get("path") or node.op.name
    for key in (node, name):
        if key in feeds:
            return np.asarray(feeds[key]).astype(NUMPY[node.dtype])
    raise ValueError(f"no value was given for `{name}`")


def _bind(node: Node, value: Array, sizes: dict[str, int]) -> None:
    if value.ndim != node.rank:
        raise ValueError(f"{node} was given a value of shape {value.shape}")
    for size, found in zip(node.shape, value.shape, strict=True):
        if isinstance(size, Dim) and len(size.terms) == 1 and size == Dim.name(size.names()[0]):
            known = sizes.setdefault(size.names()[0], found)
            if known != found:
                raise ValueError(f"dimension `{size}` is {known} and {found}")
    for size, found in zip(node.shape, value.shape, strict=True):
        try:
            expected = size_of(size, sizes)
        except KeyError:
            continue
        if expected != found:
            raise ValueError(f"{node} was given a value of shape {value.shape}")


def _resolved(value: Any, sizes: Mapping[str, int]) -> Any:
    if isinstance(value, Dim):
        return size_of(value, sizes)
    if isinstance(value, tuple):
        return tuple(_resolved(item, sizes) for item in value)
    return value
