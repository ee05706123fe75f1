"""Start values: what every variable holds before the first step, computed in float64 and rounded once.

Large tensors are made when they are asked for, a part at a time: NumPy's passes over a part stay in a processor's
cache, where those over a whole tensor of 10^8 numbers each take as much memory again, and most of the time to get it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from dlc.runtime.left import LONG, TOGETHER
from dlc.runtime.random import words

from ..diagnostics import InternalError
from ..ir import interpret
from ..ir.graph import Array, Graph, Node
from ..ir.module import Module
from ..ir.op import NUMPY
from ..ir.rebuild import rebuild

# Elements: of what is made in parts if it can be, of what is made by itself in any case, of a part.
LARGE, HUGE, PART = 1 << 10, 1 << 20, 1 << 15
# Bytes for each node of the graph that makes the values which a file leaves out (runtime/left.py): the graph stays in
# memory in their place.
EACH = 1 << 11
# What counters hold before anyone set them; docs/file-format.md says who does.
COUNTERS = {"step": 0, "steps": 1000, "observations": 1}


Step = tuple[Node, int]  # a node, and where in it the first element of a root lies


class Starts(Mapping[str, Array]):
    """The start values of a module by path: what is loaded, or a variable's initial root for this seed, or what the
    format documents for a counter, or zeros. Of the module's graph it keeps what makes them."""

    def __init__(self, module: Module, seed: int) -> None:
        self.feeds = {"seed": np.uint64(seed)}
        self.types = {path: variable.type for path, variable in module.variables.items()}
        self.counters = {path for path, variable in module.variables.items() if variable.kind == "counter"}
        self.loaded = module.loaded
        named = {path: f"initial/{path}" for path in module.variables}
        named |= {f"{turn} key": f"{module.turn(turn)}initial/key" for turn in range(1, len(module.turns))}
        outputs = module.graph.outputs
        self.roots = {name: outputs[root] for name, root in named.items() if root in outputs}
        sizes = {path: _elements(v.node) * NUMPY[v.type.dtype].itemsize for path, v in module.variables.items()}
        long = {path for path, size in sizes.items() if size >= LONG}
        needed = module.graph.order(self.roots.values())
        enough = max(TOGETHER, EACH * len(needed))
        self.late = long if sum(sizes[path] for path in long) >= enough else set()  # what is made later
        self.left: dict[tuple[int, str], Callable[[], bytes]] = {}  # by pass and the name of the initializer
        if self.late:
            graph = Graph()
            self.roots = dict(zip(self.roots, rebuild(graph, list(self.roots.values()), {}), strict=True))
            for node in graph.nodes:  # which nobody asks where it came from
                node.place, node.span, node.scope = graph.place, None, ""
        plans = {name: plan(root) for name, root in self.roots.items()}
        alone = {name: steps for name, steps in plans.items() if _alone(self.roots[name], steps)}
        small = {name: root for name, root in self.roots.items() if name not in alone}
        self.made = dict(zip(small, interpret.evaluate(list(small.values()), self.feeds), strict=True))
        numbers = list(dict.fromkeys(number for steps in alone.values() for number in _numbers(steps or ())))
        self.known = dict(zip(numbers, interpret.evaluate(numbers, self.feeds), strict=True))  # what holds one number

    def __getitem__(self, path: str) -> Array:
        dtype = NUMPY[self.types[path].dtype]
        return np.frombuffer(self.raw(path, dtype), dtype).reshape(self.shape(path))

    def __iter__(self) -> Iterator[str]:
        return iter(self.types)

    def __len__(self) -> int:
        return len(self.types)

    def shape(self, path: str) -> tuple[int, ...]:
        type = self.types[path]
        shape = tuple(size for size in type.shape if isinstance(size, int))
        if len(shape) != type.rank:
            raise InternalError(f"the size of variable {path} is not known: {type}")
        return shape

    def raw(self, path: str, dtype: np.dtype[Any], turn: int = 0) -> bytes:
        """The bytes of one value in an element type. `turn`: the pass that holds it, which has a key of its own."""
        if turn and path == "key":
            return rounded(self.made[f"{turn} key"], dtype).tobytes()
        if path in self.loaded:
            return rounded(self.loaded[path](), dtype).tobytes()
        if path in self.made:
            return rounded(self.made[path], dtype).tobytes()
        if path in self.roots:
            return in_parts(self.roots[path], self.feeds, dtype, self.known)
        shape = self.shape(path)
        number = COUNTERS.get(path, 0) if path in self.counters else 0
        if number:
            return np.full(shape, number, dtype).tobytes()
        return bytes(math.prod(shape) * dtype.itemsize)  # memory that nobody has touched: it takes no time


def rounded(value: Any, dtype: np.dtype[Any]) -> Array:
    """The value in an element type; what lies beyond its range becomes infinite as IEEE 754 says."""
    with np.errstate(over="ignore"):
        return np.asarray(value).astype(dtype, copy=False)


def in_parts(root: Node, feeds: Mapping[str, Any], dtype: np.dtype[Any], known: Mapping[Node, Array]) -> bytes:
    """The bytes of a value in an element type: in parts if all that is large in it acts element by element. `known`
    has those of its values that hold one number."""
    steps = plan(root)
    if steps is None:
        return rounded(interpret.evaluate([root], feeds)[0], dtype).tobytes()
    out, size = io.BytesIO(), _elements(root)
    with np.errstate(all="ignore"):
        for begin in range(0, size, PART):
            out.write(rounded(_part(steps, begin, min(begin + PART, size), known), dtype).tobytes())
    return out.getvalue()


def plan(root: Node) -> list[Step] | None:
    """How the elements of a large value are made in the order of memory: all that is large in it, inputs first. None
    where something large does not act element by element."""
    steps: list[Step] = []
    done: set[Step] = set()
    pending = [((root, 0), False)]
    while pending:
        step, seen = pending.pop()
        if seen:
            steps.append(step)
            continue
        if step in done:
            continue
        done.add(step)
        sources = _sources(*step)
        if sources is None:
            return None
        pending.append((step, True))
        pending += [(source, False) for source in sources]
    return steps


def _alone(root: Node, steps: list[Step] | None) -> bool:
    """Whether a value is made by itself: in parts, if anything in it is large. What cannot be made in parts shares what
    it is drawn from with others."""
    return _elements(root) > HUGE if steps is None else any(_elements(node) > LARGE for node, _ in steps)


def _numbers(steps: Iterable[Step]) -> list[Node]:
    """What holds one number and is read."""
    return [source for node, _ in steps for source in node.inputs if _elements(source) == 1]


def _sources(node: Node, offset: int) -> list[Step] | None:
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


def _part(steps: Iterable[Step], begin: int, end: int, known: Mapping[Node, Array]) -> Array:
    """Elements `begin` to `end` of a root, in a row."""
    values: dict[Step, Array] = {}
    made: Array = np.zeros(0)
    for node, offset in steps:
        first, last, name = begin + offset, end + offset, node.op.name
        if name == "constant":
            made = node.attrs["value"].reshape(-1)[first:last]
        elif name == "random_words":
            made = words(
                np.uint64(node.attrs["start"]) + np.arange(first, last, dtype=np.uint64), known[node.inputs[0]]
            )
        elif name == "broadcast_to":
            made = np.broadcast_to(known[node.inputs[0]].reshape(-1), last - first)
        elif name == "slice":
            made = values[node.inputs[0], offset + int(node.attrs["starts"][0])]
        elif name == "reshape":
            made = values[node.inputs[0], offset]
        else:
            given = [values[n, offset] if (n, offset) in values else known[n].reshape(-1) for n in node.inputs]
            made = np.asarray(node.op.reference(*given, **node.attrs), NUMPY[node.dtype])
        values[node, offset] = made
    return made


def _elements(node: Node) -> int:
    """How many numbers a start value has: nothing in its graph has a free size."""
    return math.prod(size for size in node.shape if isinstance(size, int))
