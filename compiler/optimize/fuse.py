"""Fewer, larger nodes: the last pass before lowering. Each rule is an equation on the graph.

On small layers a step costs by the node (about 0.7 µs each in ONNX Runtime on a CPU), so products take the
work of their neighbours: a Gemm is `alpha * a' @ b' + beta * c`. A value that something else reads too is
never absorbed, so nothing is computed twice. `gemm` has a reference like every operation, and the
interpreter gives the same results before and after.

`alpha` and `beta` are float32 in an ONNX file: in a float64 file a factor that float32 cannot hold stays a
value of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np

from .. import ops
from ..ir.graph import Graph, Node
from ..ir.op import constant
from ..ir.types import evaluate, names_of, product
from ..ops.match import mild, number, once
from .finiteness import finite, reads_data


def fuse(graph: Graph, precision: str = "float32") -> None:
    """Rewrites the graph in place for a file of this precision. Linear in its nodes."""
    fusing = _Fusing(graph, precision)
    passes: tuple[dict[str, Callable[[Node], Node | None]], ...] = (
        {"mul": fusing.scaled_sum},
        {
            "reduce_sum": fusing.sum,
            "reshape": fusing.square_of_one,
            "maximum": fusing.rectified,
            "sub": fusing.likelihood,
        },
        {"where": fusing.masked, "add": fusing.multiply_add, "sub": fusing.multiply_add, "mul": fusing.second_moment},
        {"mul": fusing.scaled_product, "div": fusing.scaled_product},  # of what no sum took
        {"div": fusing.root_of_quotient, "mul": fusing.into_numerator},  # after products took the scalars they can hold
        {"mul": fusing.scalars, "div": fusing.scalars},
        {"mul": fusing.small_quotient},
        {"mul": fusing.factor_of_power},
    )
    for rules in passes:
        for node in graph.order(graph.outputs.values()):
            rule = rules.get(node.op.name)
            if rule is None or node not in graph:
                continue
            with graph.like(node, derived=node.derived):
                new = rule(node)
            if new is not None:
                graph.replace(node, new)
        graph.prune()  # what a rule left behind would count as a reader in the next pass


@dataclass(frozen=True)
class _Scaled:
    """factor * times[0] * ... / over[0] / ... * node; `times` and `over` are nodes of rank 0, `passed` how many
    operations the node was reached through."""

    factor: float
    times: tuple[Node, ...]
    over: tuple[Node, ...]
    node: Node
    passed: int

    @property
    def plain(self) -> bool:
        return not self.times and not self.over


class _Fusing:
    def __init__(self, graph: Graph, precision: str) -> None:
        self.graph, self.precision = graph, precision
        self.breaks: dict[Node, bool] = {}  # what is known of values, for `masked`
        self.data: dict[Node, bool] = {}

    # --- rules: the new node, or None. Each is given the operations that `fuse` names it for.

    def scaled_sum(self, node: Node) -> Node | None:
        """c sum(x) = sum(c x) where c x is there anyway, for products: a bias is then updated as weights are"""
        for total, factor in (node.inputs, node.inputs[::-1]):
            if factor.rank or total.op.name != "reduce_sum" or not once(total) or not node.derived:
                continue
            [x] = total.inputs
            for reader in self.graph.users(x):
                if reader.op.name == "mul" and set(reader.inputs) == {x, factor}:
                    return ops.reduce_sum(reader, **total.attrs)
        return None

    def sum(self, node: Node) -> Node | None:
        return self.sum_of_squares(node) or self.column_sum(node)

    def sum_of_squares(self, node: Node) -> Node | None:
        """sum(x * x) over everything in one operation: less than half the time; over some axes it takes three times"""
        if not node.attrs["axes"] or len(node.attrs["axes"]) < node.inputs[0].rank or not once(node.inputs[0]):
            return None
        [square] = node.inputs
        if square.dtype != "float" or square.op.name != "mul" or square.inputs[0] is not square.inputs[1]:
            return None
        return ops.reduce_sum_square(square.inputs[0], **node.attrs)

    def square_of_one(self, node: Node) -> Node | None:
        """the one element of x * x = r * r with r that of x: a root of it is then seen to be a length"""
        [square] = node.inputs
        if node.rank or square.op.name != "mul" or square.inputs[0] is not square.inputs[1] or not once(square):
            return None
        one = ops.reshape(square.inputs[0], shape=())
        return one * one

    def column_sum(self, node: Node) -> Node | None:
        """sum over rows = ones @ x: half the time of ReduceSum, and the product can then absorb an update"""
        if node.attrs["axes"] != (0,) or node.dtype != "float":
            return None
        [x] = node.inputs
        if x.rank != 2 or x.shape[0] == 1:
            return None
        one = constant(self.graph, 1.0, "float")
        total = ops.matmul(ops.broadcast_to(one, shape=(1, x.shape[0])), x, ta=False, tb=False)
        return total if total.shape == node.shape else ops.reshape(total, shape=node.shape)

    def likelihood(self, node: Node) -> Node | None:
        """logsumexp(z) - z[y] = -log_softmax(z)[y]: one kernel for seven"""
        total, picked = node.inputs
        sign = -1.0
        if total.op.name == "pick":
            total, picked, sign = picked, total, 1.0
        if total.op.name != "logsumexp" or picked.op.name != "pick" or not once(total) or not once(picked):
            return None
        [z] = total.inputs
        if picked.inputs[0] is not z or total.attrs["keepdims"] or total.attrs["axes"] != (z.rank - 1,):
            return None
        found = ops.pick(ops.log_softmax(z, axis=z.rank - 1), picked.inputs[1])
        return found if sign > 0 else -found

    def second_moment(self, node: Node) -> Node | None:
        """c (g g) = s s and k g = (k / sqrt(c)) s with s = sqrt(c) g, where g is a product, which scales for nothing

        One pass less over the gradient in Adam's moments.
        """
        c, square = node.inputs if node.inputs[0].rank == 0 else node.inputs[::-1]
        factor = number(c)
        if square.op.name != "mul" or square.inputs[0] is not square.inputs[1] or not once(square):
            return None
        g = square.inputs[0]
        if factor is None or factor <= 0.0 or self.precision == "float64" or self.graph.outputs.names(g):
            return None
        root = math.sqrt(factor)
        others = [user for user in self.graph.users(g) if user is not square]
        if any(user.op.name != "mul" or number(_beside(user, g)) is None for user in others):
            return None
        s = self._times(g, root)
        if s is None:
            return None
        for user in others:
            with self.graph.like(user, derived=user.derived):
                self.graph.replace(user, s * ((number(_beside(user, g)) or 0.0) / root))
        return s * s

    def _times(self, g: Node, factor: float) -> Node | None:
        """factor * g made by the product that makes g; None if g is no product."""
        if g.op.name == "matmul" and g.rank == 2:
            a, b = g.inputs
            each = number(a.inputs[0]) if a.op.name == "broadcast_to" else None
            if each is not None:
                weights = ops.broadcast_to(constant(self.graph, each * factor, "float"), shape=a.shape)
                return ops.matmul(weights, b, **g.attrs)
            return ops.gemm(a, b, constant(self.graph, 0.0, "float"), alpha=factor, beta=0.0, **g.attrs)
        if g.op.name == "reshape" and once(g.inputs[0]):
            inner = self._times(g.inputs[0], factor)
            return None if inner is None else ops.reshape(inner, shape=g.shape)
        found = self._peel(g, factor, first=True)
        return self._times(found.node, found.factor) if found.passed and found.plain and once(found.node) else None

    def into_numerator(self, node: Node) -> Node | None:
        """((x s) / d) t = (x s t) / d for scalars s and t, which then meet: a pass less over x"""
        quotient, t = node.inputs if node.inputs[1].rank == 0 else node.inputs[::-1]
        if t.rank or quotient.op.name != "div" or not quotient.inputs[1].rank or not once(quotient):
            return None
        numerator, d = quotient.inputs
        if numerator.op.name not in ("mul", "div") or not once(numerator) or not node.derived:
            return None
        if not any(source.rank == 0 for source in numerator.inputs) or numerator.shape != node.shape:
            return None
        return numerator * t / d

    def rectified(self, node: Node) -> Node | None:
        """maximum(x, 0) = relu(x), which is a cheaper kernel; both keep NaN"""
        if node.dtype != "float":
            return None
        x, zero = node.inputs if number(node.inputs[1]) == 0.0 else node.inputs[::-1]
        return ops.relu(x) if number(zero) == 0.0 and x.rank else None

    def masked(self, node: Node) -> Node | None:
        """where(c, g, 0) = g float(c) for finite g: choosing costs 4 ns an element where no pattern foretells the
        choice, ten times as much as casting and multiplying

        c is the mask of a relu, which hands NaN on anyway, or a draw: other conditions may guard against NaN in the
        data (`where(x == x, x, 0)`).
        """
        condition, g, zero = (self.relu_mask(node) or node).inputs
        if not self.guards_nothing(condition):
            return self.relu_mask(node)
        if (
            node.dtype == "float"
            and number(zero) == 0.0
            and _elements(node) >= _CHOICE
            and condition.shape == g.shape
            and finite(g, self.breaks)
        ):
            return g * ops.cast(condition, dtype="float")
        return self.relu_mask(node)

    def guards_nothing(self, condition: Node) -> bool:
        if condition.op.name in ("and", "or", "not"):
            return all(map(self.guards_nothing, condition.inputs))
        if condition.op.name == "cast":
            return condition.inputs[0].op.name == "relu"
        return not reads_data(condition, self.data)

    def relu_mask(self, node: Node) -> Node | None:
        """where(x > 0, a, b) = where(bool(relu(x)), a, b): a cast is cheaper, and x need not be kept"""
        if node.inputs[0].op.name not in ("gt", "lt"):
            return None
        left, right = node.inputs[0].inputs
        x, zero = (left, right) if node.inputs[0].op.name == "gt" else (right, left)
        y = x if x.op.name == "relu" else next((u for u in self.graph.users(x) if u.op.name == "relu"), None)
        if y is None or number(zero) != 0.0:
            return None
        return ops.where(ops.cast(y, dtype="bool"), *node.inputs[1:])

    def multiply_add(self, node: Node) -> Node | None:
        """f (a @ b) + h c = gemm(a, b, c, alpha = f, beta = h)"""
        if node.dtype != "float":
            return None
        left, right = node.inputs
        if left is right:
            return None
        sign = -1.0 if node.op.name == "sub" else 1.0
        for term, other, f, h in ((right, left, sign, 1.0), (left, right, 1.0, sign)):
            made = self._absorb(node, self._peel(term, f), self._peel(other, h), other, h)
            if made is not None:
                return made
        return None

    def scaled_product(self, node: Node) -> Node | None:
        """f (a @ b) = gemm(a, b, alpha = f); f (alpha a @ b + beta c) with f in both: the product scales for nothing"""
        found = self._peel(node, 1.0, first=True)
        inner = found.node
        if not found.passed or not found.plain or not once(inner):
            return None
        if inner.op.name == "matmul" and inner.rank == 2 and self._holds(found.factor):
            nothing = constant(self.graph, 0.0, "float")
            return ops.gemm(*inner.inputs, nothing, alpha=found.factor, beta=0.0, **inner.attrs)
        if inner.op.name != "gemm":
            return None
        scaled = {name: found.factor * inner.attrs[name] for name in ("alpha", "beta")}
        held = all(self._holds(value) or not inner.attrs[name] for name, value in scaled.items())
        return ops.gemm(*inner.inputs, **{**inner.attrs, **scaled}) if held else None

    def factor_of_power(self, node: Node) -> Node | None:
        """c exp(-x) = exp(log(c) - x), and c (y exp(-x)), for a number c > 0: no pass for the sign"""
        y, c = node.inputs if node.inputs[1].rank == 0 else node.inputs[::-1]
        factor = number(c)
        if factor is None or not factor > 0 or not y.rank or not once(y):
            return None
        if y.op.name == "exp":
            return self._power(y, factor)
        if y.op.name != "mul":
            return None
        for power, other in (y.inputs, y.inputs[::-1]):
            made = self._power(power, factor) if power.op.name == "exp" and once(power) else None
            if made is not None:
                return other * made
        return None

    def _power(self, power: Node, factor: float) -> Node | None:
        [negative] = power.inputs
        if negative.op.name != "neg" or not once(negative):
            return None
        return ops.exp(constant(self.graph, math.log(factor), "float") - negative.inputs[0])

    def scalars(self, node: Node) -> Node | None:
        """s * (x / t) = x * (s / t): one pass over x, and the scalar is shared by all that use it"""
        if node.dtype != "float":
            return None
        found = self._peel(node, 1.0, first=True)
        if found.passed < 2:
            return None
        if found.plain and abs(found.factor) == 1.0:
            return found.node if found.factor > 0 else -found.node
        return found.node * self._scalar(found, found.factor)

    def small_quotient(self, node: Node) -> Node | None:
        """x * (1 / s) = x / s where x is small: dividing costs no more than the node that it spares"""
        x, inverse = node.inputs if node.inputs[1].rank == 0 else node.inputs[::-1]
        if inverse.op.name != "div" or inverse.rank or not x.rank or not once(inverse):
            return None
        one, s = inverse.inputs
        return x / s if number(one) == 1.0 and _elements(x) <= _NODE else None

    def root_of_quotient(self, node: Node) -> Node | None:
        """x / (sqrt(v / c) + e) = x * sqrt(c) / (sqrt(v) + e * sqrt(c)) for scalars c and e: no pass for v / c

        The denominator of Adam; where c < 0 both sides are NaN.
        """
        if node.inputs[1].op.name != "add" or not once(node.inputs[1]):
            return None
        x, total = node.inputs
        root, e = total.inputs if total.inputs[1].rank == 0 else total.inputs[::-1]
        if root.op.name != "sqrt" or e.rank != 0 or not once(root):
            return None
        [quotient] = root.inputs
        if quotient.op.name != "div" or not once(quotient):
            return None
        v, c = quotient.inputs
        if c.rank != 0 or v.rank == 0 or not node.derived:
            return None
        scale = ops.sqrt(c)
        return x * scale / (ops.sqrt(v) + e * scale)

    def _absorb(self, node: Node, term: _Scaled, bias: _Scaled, other: Node, h: float) -> Node | None:
        matmul = term.node
        row = matmul.op.name == "reshape" and node.rank == 1  # [1, n] seen as [n]
        if row:
            [matmul] = matmul.inputs
            if matmul.rank != 2 or matmul.shape != (1, *node.shape) or not once(matmul):
                return None
        if matmul.op.name != "matmul" or matmul.rank != 2 or not once(term.node):
            return None
        if matmul.shape != ((1, *node.shape) if row else node.shape):
            return None
        a, b = matmul.inputs
        if term.factor == 0.0:
            return None
        if not term.plain or not self._holds(term.factor):
            pair = self._scale(a, b, matmul, self._scalar(term, abs(term.factor)))
            if pair is None:
                return None
            (a, b), term = pair, _Scaled(math.copysign(1.0, term.factor), (), (), matmul, 0)
        if not bias.plain or not self._holds(bias.factor):  # only the sign is taken from it
            bias = _Scaled(h, (), (), other, 0)
        c = ops.gemm(a, b, bias.node, alpha=term.factor, beta=bias.factor, **matmul.attrs)
        return ops.reshape(c, shape=node.shape) if row else c

    def _peel(self, node: Node, factor: float, first: bool = False) -> _Scaled:
        """The node without the scalars that multiply it, while nothing else reads what is passed over
        (`first`: but the node itself)."""
        times: list[Node] = []
        over: list[Node] = []
        passed = 0
        derived, wild = node.derived, False
        while first or once(node):
            first = False
            if node.op.name == "neg":
                factor, node = -factor, node.inputs[0]
            elif node.op.name in ("mul", "div"):
                x, y = node.inputs
                if node.op.name == "mul" and x.rank == 0:
                    x, y = y, x
                if y.rank != 0 or x.rank == 0:
                    break
                value = number(y)
                together = times or over or factor not in (1.0, -1.0)
                if together and not derived and (wild or not mild(y)):
                    break
                wild = wild or not mild(y)
                if together and value:
                    both = factor * value if node.op.name == "mul" else factor / value
                    if not 1e-30 < abs(both) < 1e30:
                        break  # both numbers together may be too great or too small for the file
                if value is None:
                    (times if node.op.name == "mul" else over).append(y)
                elif node.op.name == "mul":
                    factor *= value
                elif value != 0.0:
                    factor /= value
                else:
                    break
                node = x
            else:
                break
            passed += 1
        return _Scaled(factor, tuple(times), tuple(over), node, passed)

    def _scalar(self, scaled: _Scaled, number: float) -> Node:
        """The scalars and a number in one."""
        if not scaled.times:
            result = constant(self.graph, number, "float")
        else:
            result = reduce(ops.mul, scaled.times)
            result = result if number == 1.0 else result * number
        return reduce(ops.div, scaled.over, result)

    def _holds(self, factor: float) -> bool:
        """Whether a product may take a factor as its own: not 0, with which a kernel reads nothing, and NaN is lost."""
        return factor != 0.0 and (self.precision != "float64" or float(np.float32(factor)) == factor)

    def _scale(self, a: Node, b: Node, whole: Node, scalar: Node) -> tuple[Node, Node] | None:
        """The operands, the smaller one scaled; None where scaling the product is less work."""
        small, large = _elements(a), _elements(b)
        if min(small, large) > 2 * _elements(whole) + _NODE:
            return None
        return (a * scalar, b) if small < large else (a, b * scalar)


def _beside(node: Node, one: Node) -> Node:
    """The other operand."""
    return node.inputs[1] if node.inputs[0] is one else node.inputs[0]


_NODE = 4096  # a node costs about as much as a pass over so many numbers,
_CHOICE = 256  # and as choosing so many that no pattern foretells


def _elements(node: Node) -> int:
    """How many numbers a value holds, were every free dimension (the batch) 32."""
    size = product(node.shape)
    return evaluate(size, dict.fromkeys(names_of(size), 32))
