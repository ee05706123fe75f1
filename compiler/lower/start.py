"""Start values: what every variable holds before the first step, computed in float64 and rounded once.

Large tensors are made when they are asked for, a part at a time: NumPy's passes over a part stay in a processor's
cache, where those over a whole tensor of 10^8 numbers each take as much memory again, and most of the time to get it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from dlc.runtime.random import words

from ..diagnostics import InternalError
from ..ir import interpret
from ..ir.graph import Array, Node
from ..ir.module import Module
from ..ir.op import NUMPY

LARGE, PART = 1 << 20, 1 << 15  # elements
# Bytes of a value that a file need not hold until it is written, if all such ones have so many bytes together, and so
# many for each node of the graph that makes them: the graph then stays in memory in their place.
LONG, TOGETHER, EACH = 1 << 16, 1 << 24, 1 << 12
# What counters hold before anyone set them; docs/file-format.md says who does.
COUNTERS = {"step": 0, "steps": 1000, "observations": 1}


class Starts(Mapping[str, Array]):
    """The start values of a module by path: what is loaded, or a variable's initial root for this seed, or what the
    format documents for a counter, or zeros."""

    def __init__(self, module: Module, seed: int) -> None:
        self.module, self.feeds = module, {"seed": np.uint64(seed)}
        roots = {path: module.graph.outputs.get(f"initial/{path}") for path in module.variables}
        self.roots = {path: root for path, root in roots.items() if root is not None}
        small = {path: root for path, root in self.roots.items() if _elements(root) <= LARGE}
        self.made = dict(zip(small, interpret.evaluate(list(small.values()), self.feeds), strict=True))
        sizes = {path: _elements(v.node) * NUMPY[v.type.dtype].itemsize for path, v in module.variables.items()}
        long = {path for path, size in sizes.items() if size >= LONG}
        enough = max(TOGETHER, EACH * len(module.graph))
        self.late = long if sum(sizes[path] for path in long) >= enough else set()  # what is made later
        self.left: dict[tuple[int, str], Callable[[], bytes]] = {}  # by pass and the name of the initializer

    def __getitem__(self, path: str) -> Array:
        dtype = NUMPY[self.module.variables[path].type.dtype]
        return np.frombuffer(self.raw(path, dtype), dtype).reshape(self.shape(path))

    def __iter__(self) -> Iterator[str]:
        return iter(self.module.variables)

    def __len__(self) -> int:
        return len(self.module.variables)

    def shape(self, path: str) -> tuple[int, ...]:
        type = self.module.variables[path].type
        shape = tuple(size for size in type.shape if isinstance(size, int))
        if len(shape) != type.rank:
            raise InternalError(f"the size of variable {path} is not known: {type}")
        return shape

    def raw(self, path: str, dtype: np.dtype[Any], turn: int = 0) -> bytes:
        """The bytes of one value in an element type. `turn`: the pass that holds it, which has a key of its own."""
        if turn and path == "key":
            root = self.module.graph.outputs[f"{self.module.turn(turn)}initial/key"]
            return rounded(interpret.evaluate([root], self.feeds)[0], dtype).tobytes()
        if path in self.module.loaded:
            return rounded(self.module.loaded[path](), dtype).tobytes()
        if path in self.made:
            return rounded(self.made[path], dtype).tobytes()
        if path in self.roots:
            return in_parts(self.roots[path], self.feeds, dtype)
        shape = self.shape(path)
        number = COUNTERS.get(path, 0) if self.module.variables[path].kind == "counter" else 0
        if number:
            return np.full(shape, number, dtype).tobytes()
        return bytes(math.prod(shape) * dtype.itemsize)  # memory that nobody has touched: it takes no time


def rounded(value: Any, dtype: np.dtype[Any]) -> Array:
    """The value in an element type; what lies beyond its range becomes infinite as IEEE 754 says."""
    with np.errstate(over="ignore"):
        return np.asarray(value).astype(dtype, copy=False)


def in_parts(root: Node, feeds: Mapping[str, Any], dtype: np.dtype[Any]) -> bytes:
    """The bytes of a value in an element type: in parts if all that is large in it acts element by element."""
    parts = _Parts(root, feeds)
    if not parts.whole:
        return rounded(interpret.evaluate([root], feeds)[0], dtype).tobytes()
    out, size = io.BytesIO(), _elements(root)
    with np.errstate(all="ignore"):
        for begin in range(0, size, PART):
            out.write(rounded(parts.part(begin, min(begin + PART, size)), dtype).tobytes())
    return out.getvalue()


class _Parts:
    """The plan of a large value: which elements of which node a run of its elements needs, in the order of memory.

    `whole` is False where something large in it does not act element by element.
    """

    def __init__(self, root: Node, feeds: Mapping[str, Any]) -> None:
        self.feeds = feeds
        self.known: dict[Node, Array] = {}  # what holds one number
        self.steps: list[tuple[Node, int]] = []  # a node, and where in it the first element of the root lies
        self.size = _elements(root)
        self.whole = self._plan(root)

    def _plan(self, root: Node) -> bool:
        """Puts all that is large into `steps`, inputs first; False where that cannot be."""
        done: set[tuple[Node, int]] = set()
        pending = [((root, 0), False)]
        while pending:
            step, seen = pending.pop()
            if seen:
                self.steps.append(step)
                continue
            if step in done:
                continue
            done.add(step)
            sources = self._sources(*step)
            if sources is None:
                return False
            pending.append((step, True))
            pending += [(source, False) for source in sources]
        numbers = [n for node, _ in self.steps for n in node.inputs if _elements(n) == 1 and n not in self.known]
        numbers = list(dict.fromkeys(numbers))
        self.known.update(zip(numbers, interpret.evaluate(numbers, self.feeds), strict=True))
        return True

    def _sources(self, node: Node, offset: int) -> list[tuple[Node, int]] | None:
        """The large inputs of a node, each with the place of the root's first element; None where it has other ones."""
        name, wide = node.op.name, [source for source in node.inputs if _elements(source) != 1]
        if name in ("constant", "random_words") or (name == "broadcast_to" and not wide):
            return []
        if name == "slice" and node.rank == 1 and node.attrs["steps"] == (1,):
            return [(node.inputs[0], offset + int(node.attrs["starts"][0]))]
        if name == "reshape":
            return [(node.inputs[0], offset)]
        if node.op.elementwise:
            return [(source, offset) for source in wide] if all(s.shape == node.shape for s in wide) else None
        return None

    def part(self, begin: int, end: int) -> Array:
        """Elements `begin` to `end` of the root, in a row."""
        values: dict[tuple[Node, int], Array] = {}
        made: Array = np.zeros(0)
        for node, offset in self.steps:
            first, last, name = begin + offset, end + offset, node.op.name
            if name == "constant":
                made = node.attrs["value"].reshape(-1)[first:last]
            elif name == "random_words":
                made = words(
                    np.uint64(node.attrs["start"]) + np.arange(first, last, dtype=np.uint64), self.known[node.inputs[0]]
                )
            elif name == "broadcast_to":
                made = np.broadcast_to(self.known[node.inputs[0]].reshape(-1), last - first)
            elif name == "slice":
                made = values[node.inputs[0], offset + int(node.attrs["starts"][0])]
            elif name == "reshape":
                made = values[node.inputs[0], offset]
            else:
                given = [values[n, offset] if (n, offset) in values else self.known[n].reshape(-1) for n in node.inputs]
                made = np.asarray(node.op.reference(*given, **node.attrs), NUMPY[node.dtype])
            values[node, offset] = made
        return made


def _elements(node: Node) -> int:
    """How many numbers a start value has: nothing in its graph has a free size."""
    return math.prod(size for size in node.shape if isinstance(size, int))
