"""The intermediate form: a directed graph of primitive operations.

    graph = node*                            every node belongs to one graph
    node  = op inputs attrs : type           op is an entry of `ops.OPS`; inputs are nodes, in order
    attr  = None | bool | int | float | str | Size | array | tuple of attrs
    leaf  = constant(value) | input(name) | variable(path) | seed() | size(dim)

Equal nodes are one node: `add` returns the one that exists (so common subexpressions never arise), and
`replace` keeps it so. The operands, in order, are on the node, and the graph holds the readers of each node;
`view` gives it as a networkx DiGraph, which keeps one edge for `x * x` (imported there: it takes 0.1 s, a check
0.4). A node remembers the scope (the path of the layer instance) and the source span that made it first, and
the `checkpoint` block it stands in, by a number (0 for none; compiler/autodiff/rematerialisation.py). Its place (which
layer, call or turn of a `for` made it) is for pictures alone: nothing that is compiled depends on it.
"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..diagnostics import InternalError
from ..source import Span
from .place import Place
from .types import Dim, Shape, TensorType

if TYPE_CHECKING:
    import networkx as nx

    from .op import Op

Array = np.ndarray[Any, np.dtype[Any]]

WORTH_KEEPING = 1_000  # nodes in an order

OPERATORS: dict[str, Callable[..., Node]] = {}  # what `+`, `*` and so on make of nodes: `ops` says


class Node:
    """One value. Arithmetic on nodes and numbers makes more nodes: `x * 2 + y`, `-x`, `a @ b`."""

    __slots__ = ("attrs", "block", "derived", "graph", "id", "inputs", "key", "op", "place", "scope", "span", "type")

    def __init__(
        self,
        graph: Graph,
        id: int,
        op: Op,
        inputs: tuple[Node, ...],
        attrs: Mapping[str, Any],
        type: TensorType,
        key: tuple[Any, ...],
        scope: str,
        span: Span | None,
        block: int,
        derived: bool,
        place: Place,
    ) -> None:
        self.graph, self.id, self.op, self.inputs, self.attrs = graph, id, op, inputs, attrs
        self.type, self.key, self.scope, self.span, self.block = type, key, scope, span, block
        self.derived, self.place = derived, place

    @property
    def shape(self) -> Shape:
        return self.type.shape

    @property
    def dtype(self) -> str:
        return self.type.dtype

    @property
    def rank(self) -> int:
        return len(self.type.shape)

    def __repr__(self) -> str:
        return f"<{self.id} {self.op.name}: {self.type}>"

    def __add__(self, other: Node | float) -> Node:
        return _operator("add", self, other)

    def __radd__(self, other: float) -> Node:
        return _operator("add", other, self)

    def __sub__(self, other: Node | float) -> Node:
        return _operator("sub", self, other)

    def __rsub__(self, other: float) -> Node:
        return _operator("sub", other, self)

    def __mul__(self, other: Node | float) -> Node:
        return _operator("mul", self, other)

    def __rmul__(self, other: float) -> Node:
        return _operator("mul", other, self)

    def __truediv__(self, other: Node | float) -> Node:
        return _operator("div", self, other)

    def __rtruediv__(self, other: float) -> Node:
        return _operator("div", other, self)

    def __neg__(self) -> Node:
        return _operator("neg", self)

    def __matmul__(self, other: Node) -> Node:
        return _operator("matmul", self, other)


def _operator(name: str, *operands: Node | float) -> Node:
    return OPERATORS[name](*operands)


def attr_key(value: Any) -> Any:
    """A hashable stand-in for an attribute; arrays by their bytes, so that -0.0 and 0.0 differ."""
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, tuple):
        return tuple(attr_key(item) for item in value)
    if isinstance(value, float):
        return ("float", value.hex())
    if isinstance(value, bool):
        return ("bool", value)
    return value


class Roots(UserDict[str, Node]):
    """Nodes by name, in the order of naming. It also knows the names of each, so that `replace` need not look."""

    def __init__(self) -> None:
        self._names: dict[Node, dict[str, None]] = {}
        super().__init__()

    def __setitem__(self, name: str, node: Node) -> None:
        if name in self.data:
            self._forget(name)
        self.data[name] = node
        self._names.setdefault(node, {})[name] = None

    def __delitem__(self, name: str) -> None:
        self._forget(name)
        del self.data[name]

    def _forget(self, name: str) -> None:
        names = self._names[self.data[name]]
        del names[name]
        if not names:
            del self._names[self.data[name]]

    def names(self, node: Node) -> list[str]:
        return list(self._names.get(node, ()))


class _At:
    """What `Graph.at` enters: a class, as one made by `contextmanager` takes three times as long."""

    __slots__ = ("before", "graph", "inside")

    def __init__(
        self,
        graph: Graph,
        scope: str | None,
        span: Span | None,
        block: int | None,
        derived: bool | None,
        place: Place | None,
    ) -> None:
        self.graph, self.inside = graph, (scope, span, block, derived, place)

    def __enter__(self) -> None:
        graph, (scope, span, block, derived, place) = self.graph, self.inside
        self.before = graph.scope, graph.span, graph.block, graph.derived, graph.place
        if scope is not None:
            graph.scope = scope
        if span is not None:
            graph.span = span
        if block is not None:
            graph.block = block
        if derived is not None:
            graph.derived = derived
        if place is not None:
            graph.place = place

    def __exit__(self, *raised: object) -> None:
        graph = self.graph
        graph.scope, graph.span, graph.block, graph.derived, graph.place = self.before


class Graph:
    """Nodes and the edges between them. Deterministic: the order of nodes is the order of making."""

    def __init__(self) -> None:
        self._users: dict[Node, dict[Node, None]] = {}  # every node, in the order of making, with what reads it
        self.scope = ""
        self.span: Span | None = None
        self.block = 0
        self.derived = False
        self.place = Place(None, "model", "")
        self.inputs: dict[str, Node] = {}  # every input ever made: a pruned one may still tell a size
        self.outputs = Roots()  # named roots; `replace` and `prune` know them
        self.marks = Roots()  # names that pictures show: `replace` knows them, and they keep no node
        self._known: dict[tuple[Any, ...], Node] = {}
        self._order: tuple[tuple[Node, ...], list[Node]] = (), []  # the last one asked for, and of which roots
        self._next = 0

    # --- making

    def at(
        self, scope: str | None = None, span: Span | None = None, block: int | None = None, derived: bool | None = None
    ) -> _At:
        """Nodes made inside carry this scope, span and number of a `checkpoint` block; `derived`: they are part of a
        derivative or an update, whose order of multiplication no text of a model says."""
        return _At(self, scope, span, block, derived, None)

    def like(self, node: Node, block: int | None = None, derived: bool | None = None) -> _At:
        """The same, where that node's scope, span and place are."""
        return _At(self, node.scope, node.span, block, derived, node.place)

    def add(self, op: Op, inputs: Sequence[Node] = (), attrs: Mapping[str, Any] | None = None) -> Node:
        """The node `op(*inputs, **attrs)`: the one that exists, or a new one. TypeProblem if ill-typed."""
        attrs = {**op.defaults, **(attrs or {})}
        key = self._key(op, inputs, attrs)
        node = self._known.get(key)
        if node is None:
            type = op.infer(*[node.type for node in inputs], **attrs)
            node = Node(
                self,
                self._next,
                op,
                tuple(inputs),
                attrs,
                type,
                key,
                self.scope,
                self.span,
                self.block,
                self.derived,
                self.place,
            )
            self._next += 1
            self._known[key] = node
            self._users[node] = {}
            for source in inputs:
                self._users[source][node] = None
        return node

    def known(self, op: Op, inputs: Sequence[Node], attrs: Mapping[str, Any]) -> Node | None:
        """The node that `add` would return if it exists; none is made."""
        return self._known.get(self._key(op, inputs, attrs))

    @staticmethod
    def _key(op: Op, inputs: Sequence[Node], attrs: Mapping[str, Any]) -> tuple[Any, ...]:
        ids = [node.id for node in inputs]
        if op.commutative:
            ids.sort()
        return (op.name, *ids, *((name, attr_key(attrs[name])) for name in sorted(attrs)))

    def __len__(self) -> int:
        return len(self._users)

    def __contains__(self, node: Node) -> bool:
        return node in self._users

    @property
    def next_id(self) -> int:
        """The id of the next node: none that exists has one so great."""
        return self._next

    @property
    def nodes(self) -> list[Node]:
        """All nodes, in the order of making (not a topological order once something was replaced)."""
        return list(self._users)

    def users(self, node: Node) -> list[Node]:
        """The nodes that read a node, each once."""
        return list(self._users[node])

    def once(self, node: Node) -> bool:
        """Whether one node alone reads it, and no output does."""
        return len(self._users[node]) == 1 and not self.outputs.names(node)

    # --- changing

    def replace(self, old: Node, new: Node) -> list[Node]:
        """Every use of `old` becomes a use of `new`; returns the nodes whose inputs changed.

        A user that thereby equals another node is merged into it, and so on down the graph.
        """
        self._order = (), []
        changed: list[Node] = []
        gone: dict[Node, Node] = {}  # what took the place of a node meanwhile
        work = [(old, new)]
        while work:
            old, new = work.pop()
            while new in gone:
                new = gone[new]
            if old is new or old not in self:
                continue
            if old.type.dtype != new.type.dtype or old.type.shape != new.type.shape:
                raise InternalError(f"a rewrite changes a type: {old} -> {new}")
            gone[old] = new
            if self._known.get(old.key) is old:  # a user may become what old was: it is not to merge into old
                del self._known[old.key]
            for name in self.outputs.names(old):
                self.outputs[name] = new
            for name in self.marks.names(old):
                self.marks[name] = new
            for user in self.users(old):
                if self._known.get(user.key) is user:
                    del self._known[user.key]
                user.inputs = tuple(new if node is old else node for node in user.inputs)
                user.key = self._key(user.op, user.inputs, user.attrs)
                self._users[new][user] = None
                twin = self._known.setdefault(user.key, user)
                if twin is not user:
                    work.append((user, twin))
                else:
                    changed.append(user)
            self._users[old].clear()
            self._remove(old)
        return changed

    def _remove(self, node: Node) -> None:
        if self._known.get(node.key) is node:
            del self._known[node.key]
        del self._users[node]
        for name in self.marks.names(node):
            del self.marks[name]
        for source in node.inputs:
            if source in self:
                self._users[source].pop(node, None)

    def discard(self, node: Node) -> None:
        """Removes a node that no output and no node reads, and then what only it needed; else nothing."""
        stack = [node]
        while stack:
            node = stack.pop()
            if node in self and not self._users[node] and not self.outputs.names(node):
                self._remove(node)
                stack += node.inputs

    def prune(self) -> int:
        """Removes what no output needs; returns how many nodes went."""
        before = len(self._users)
        for node in [node for node, users in self._users.items() if not users]:
            self.discard(node)
        return before - len(self._users)

    # --- reading

    def order(self, roots: Iterable[Node]) -> list[Node]:
        """The roots and all they need, inputs first, in one deterministic order. Linear, not recursive.

        The last long order is kept until a node gets other inputs: passes that change nothing ask for it again.
        """
        asked = tuple(roots)
        if asked == self._order[0]:
            return list(self._order[1])
        done: dict[Node, None] = {}
        stack = list(asked[::-1])
        limit = 100 + 4 * len(self) + len(stack)
        while stack:
            node = stack[-1]
            if node not in done:
                waiting = [source for source in node.inputs if source not in done]
                if waiting:
                    stack += waiting[::-1]
                    if len(stack) > limit:  # a node waits here once for each of its readers, on a cycle for ever
                        import networkx as nx

                        whole = _digraph(self._users)
                        if not nx.is_directed_acyclic_graph(whole):
                            raise InternalError(f"the graph has a cycle through {node}")
                        limit = 2 * len(stack) + whole.number_of_edges()
                    continue
                done[node] = None
            stack.pop()
        found = list(done)
        if len(found) >= WORTH_KEEPING:
            self._order = asked, found
        return list(found)

    def view(self, roots: Iterable[Node]) -> nx.DiGraph[Node]:
        """The roots and all they need as a networkx graph, inputs first."""
        return _digraph(self.order(roots))

    def text(self, roots: Iterable[Node] | None = None) -> str:
        """The graph as text, one node a line: what golden files and `--emit graph` show."""
        roots = list(self.outputs.values()) if roots is None else list(roots)
        number: dict[Node, int] = {}
        lines = []
        for node in self.order(roots):
            number[node] = len(number)
            shown = [f"%{number[source]}" for source in node.inputs]
            shown += [f"{name}={show_attr(value)}" for name, value in sorted(node.attrs.items())]
            lines.append(f"%{number[node]} = {node.op.name}({', '.join(shown)}) : {node.type}")
            if node.op.name == "scan":
                lines += ["    " + line for line in node.attrs["body"].text().splitlines()]
        lines += [f"{name} <- %{number[node]}" for name, node in self.outputs.items() if node in number]
        return "\n".join(lines) + "\n"


def _digraph(nodes: Iterable[Node]) -> nx.DiGraph[Node]:
    """These nodes, which hold all their inputs, as a networkx graph with an edge from each input."""
    import networkx as nx

    made: nx.DiGraph[Node] = nx.DiGraph()
    made.add_nodes_from(nodes)
    made.add_edges_from([(source, node) for node in made for source in node.inputs])
    return made


def show_attr(value: Any) -> str:
    """An attribute as short text."""
    if isinstance(value, np.ndarray):
        flat = value.reshape(-1)
        body = ", ".join(f"{x:.6g}" if value.dtype.kind == "f" else str(x) for x in flat[:6])
        body += ", ..." if flat.size > 6 else ""
        return body if value.ndim == 0 else f"[{body}]"
    if isinstance(value, tuple):
        return "[" + ", ".join(show_attr(item) for item in value) + "]"
    if isinstance(value, Dim):
        return str(value)
    return repr(value) if isinstance(value, str) else str(value)
