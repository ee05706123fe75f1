"""Random graphs of what a region can hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.random import Generator
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

Array = np.ndarray[Any, Any]
OPERATORS = [
    "Gemm", "Gemm", "MatMul", "Softmax", "ReduceSum", "ReduceSumSquare", "Shape", "Reshape", "Squeeze", "Unsqueeze",
    "Expand", "Concat", "Transpose", "Slice", "ArgMax", "GatherElements", "Tanh", "Add", "Range",
]  # fmt: skip
SIZES = (1, 1, 2, 3, 5, 8, 16, 17, 33)


def element(kind: Any) -> int:
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(kind)))


class Draft:
    """A graph that grows, with the values that ONNX's own definitions give."""

    def __init__(self, rng: Generator) -> None:
        self.rng, self.nodes = rng, []
        self.feeds: dict[str, Array] = {}
        self.held: dict[str, Array] = {}
        self.values: dict[str, Array] = {}
        self.made: list[str] = []
        self.outputs: list[str] = []
        for _ in range(3):
            self.fresh(self.shape(int(rng.integers(1, 4))))

    def shape(self, rank: int) -> tuple[int, ...]:
        sizes = (0, *SIZES) if self.rng.random() < 0.1 else SIZES
        return tuple(int(each) for each in self.rng.choice(sizes, rank))

    def fresh(self, shape: tuple[int, ...]) -> str:
        if self.rng.random() < 0.06:
            return self.put(self.rng.random(shape) < 0.5, True)
        value = self.rng.normal(size=shape).astype("float64" if self.rng.random() < 0.15 else "float32")
        return self.put(value, fed=self.rng.random() < 0.7)

    def put(self, value: Array, fed: bool = False) -> str:
        name = f"x{len(self.values)}"
        (self.feeds if fed else self.held)[name] = value
        self.values[name] = value
        return name

    def matrix(self, rows: int | None = None) -> str:
        """Of float32, with that many rows."""
        fit = [
            name for name, v in self.values.items()
            if v.ndim == 2 and v.dtype == np.float32 and rows in (None, v.shape[0])
        ]  # fmt: skip
        if fit and self.rng.random() < 0.8:
            return str(self.rng.choice(fit))
        shape = self.shape(2)
        size = (shape[0] if rows is None else rows, shape[1])
        return self.put(self.rng.normal(size=size).astype(np.float32), True)

    def any(self, floats: bool = True, rank: int = 0, kind: str = "") -> str:
        fit = [
            name for name, v in self.values.items()
            if (v.dtype.kind == "f" or not floats) and v.ndim >= rank and kind in ("", v.dtype)
        ]  # fmt: skip
        if fit:
            return str(self.rng.choice(fit[-8:]))
        return self.put(self.rng.normal(size=self.shape(max(rank, 1))).astype(kind or "float32"), True)

    def add(self, op: str, operands: list[str], **attributes: Any) -> None:
        name = f"v{len(self.values)}"
        node = helper.make_node(op, operands, [name], name=name, **attributes)
        given = {each: self.values[each] for each in operands}
        graph = helper.make_graph(
            [node], "g", [helper.make_tensor_value_info(n, element(v.dtype), v.shape) for n, v in given.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        with np.errstate(all="ignore"):
            [value] = ReferenceEvaluator(model, verbose=0).run(None, given)
        value = np.asarray(value)
        if op == "ReduceSum":  # where terms cancel, the digits of what is left are those of their rounding
            sizes = {each: np.abs(v) if v.dtype.kind == "f" else v for each, v in given.items()}
            [size] = ReferenceEvaluator(model, verbose=0).run(None, sizes)
            if np.any(np.abs(value) < 1e-2 * size):
                return
        if value.size > 40_000 or (value.dtype.kind == "f" and np.abs(value).max(initial=0) > 1e6):
            return
        self.nodes.append(node)
        self.values[name] = value
        self.made.append(name)

    def grow(self) -> None:
        rng = self.rng
        op = str(rng.choice(OPERATORS))
        if op == "Gemm":
            a = self.matrix()
            ta, tb = (int(each) for each in rng.integers(0, 2, 2))
            m, k = self.values[a].shape[::-1] if ta else self.values[a].shape
            n = self.shape(1)[0]
            b = self.put(rng.normal(size=(n, k) if tb else (k, n)).astype(np.float32), True)
            c = [(), (n,), (1, n), (m, 1), (m, n)][int(rng.integers(0, 5))]
            operands = [a, b, *([self.put(np.asarray(rng.normal(size=c), np.float32))] if rng.random() < 0.6 else [])]
            self.add(op, operands, transA=ta, transB=tb, alpha=0.3, beta=1.5)
        elif op == "MatMul" and rng.random() < 0.4:  # as many products as the leading dimensions say
            *lead, m, k = self.shape(int(rng.integers(3, 5)))
            shapes = (*lead, m, k), (*lead, k, *self.shape(1))
            self.add(op, [self.put(rng.normal(size=each).astype(np.float32), True) for each in shapes])
        elif op == "MatMul":
            b = self.matrix()
            lead = () if rng.random() < 0.4 else self.shape(1)
            self.add(op, [self.put(rng.normal(size=(*lead, self.values[b].shape[0])).astype(np.float32), True), b])
        elif op in ("Softmax", "ArgMax"):
            x = self.any(rank=1, kind="float32")
            if self.values[x].size:
                how = {"keepdims": int(rng.integers(0, 2))} if op == "ArgMax" else {}
                self.add("LogSoftmax" if op == "Softmax" and rng.random() < 0.5 else op, [x], axis=-1, **how)
        elif op.startswith("ReduceSum"):
            x = self.any()
            rank = self.values[x].ndim
            first = int(rng.integers(0, rank + 1))
            axes = np.arange(first, int(rng.integers(first, rank + 1)))
            given = [x, self.put(axes)] if axes.size else [x]
            self.add(op, given, keepdims=int(rng.integers(0, 2)))
        elif op == "Shape":
            self.add(op, [self.any(False)], start=int(rng.integers(0, 2)))
        elif op == "Reshape":
            x = self.any(False)
            shape = list(self.values[x].shape) or [1]
            flat = [[math.prod(shape)], [1, *shape], [*shape[:-2], math.prod(shape[-2:])]]
            if math.prod(shape):
                flat.append([-1, shape[-1]])
            if self.values[x].size and self.values[x].ndim:
                flat.append([0, *shape[1:]])  # as it was
            chosen = flat[int(rng.integers(0, len(flat)))]
            self.add(op, [x, self.put(np.array(chosen), rng.random() < 0.3)], allowzero=int(0 in shape))
        elif op in ("Squeeze", "Unsqueeze"):
            x = self.any(False)
            shape = self.values[x].shape
            ones = [k for k, size in enumerate(shape) if size == 1]
            if op == "Unsqueeze" and len(shape) < 4:
                self.add(op, [x, self.put(np.array([int(rng.integers(0, len(shape) + 1))]))])
            elif op == "Squeeze" and ones:
                self.add(op, [x, self.put(np.array([ones[0]]))] if rng.random() < 0.5 else [x])
        elif op == "Expand":
            x = self.any(False)
            shape = [int(rng.choice([1, 3])) if size == 1 else size for size in self.values[x].shape]
            pick = rng.random()
            if pick < 0.3:
                shape = [2, *shape]
            elif pick < 0.5:
                shape = shape[1:]
            self.add(op, [x, self.put(np.array(shape, np.int64), rng.random() < 0.3)])
        elif op == "Concat":
            x = self.any(False, 1)
            axis = int(rng.integers(0, self.values[x].ndim))
            self.add(op, [x, x, x][: int(rng.integers(1, 4))], axis=axis)
        elif op == "Transpose":
            x = self.any(False, 1)
            self.add(op, [x], perm=[int(each) for each in rng.permutation(self.values[x].ndim)])
        elif op == "Slice":
            x = self.any(False, 1)
            axis = int(rng.integers(0, self.values[x].ndim))
            size = self.values[x].shape[axis]
            ends = sorted(int(each) for each in rng.integers(0, size + 1, 2))
            if rng.random() < 0.3 and ends[1] < size:
                ends = [each - size for each in ends]
            self.add(op, [x, *(self.put(np.array([each])) for each in (*ends, axis, 1))])
        elif op == "GatherElements":
            x = self.any(False, 1)
            *lead, n = self.values[x].shape
            if 0 < n <= 64:  # ONNX's own definition of it takes no more
                which = rng.integers(-n, n, (*lead, int(rng.integers(1, 3))))
                self.add(op, [x, self.put(which, True)], axis=len(lead))
        elif op == "Range":
            start, limit, step = int(rng.integers(-5, 5)), int(rng.integers(-5, 30)), int(rng.choice([-2, 1, 3]))
            self.add(op, [self.put(np.array(each), rng.random() < 0.5) for each in (start, limit, step)])
        elif op == "Tanh":
            self.add(op, [self.any(kind="float32")])
        else:
            x = self.any()
            v = self.values[x]
            size = tuple(1 if rng.random() < 0.3 else each for each in v.shape)
            self.add(op, [x, self.put(rng.normal(size=size).astype(v.dtype), True)])

    def model(self) -> ModelProto:
        made = {name: self.values[name] for name in self.outputs}
        graph = helper.make_graph(
            self.nodes, "g",
            [helper.make_tensor_value_info(n, element(v.dtype), v.shape) for n, v in self.feeds.items()],
            [helper.make_tensor_value_info(n, element(v.dtype), v.shape) for n, v in made.items()],
            [numpy_helper.from_array(value, name) for name, value in self.held.items()],
        )  # fmt: skip
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def draft(seed: int) -> Draft:
    """With two nodes at least, all of which its outputs need."""
    rng = np.random.default_rng(seed)
    made = Draft(rng)
    while len(made.nodes) < 2 or rng.random() < 0.93:
        made.grow()
    read = {name for node in made.nodes for name in node.input}
    made.outputs = [name for name in made.made if name not in read or rng.random() < 0.2]
    needed = read.union(made.outputs)
    made.feeds = {name: value for name, value in made.feeds.items() if name in needed}
    made.held = {name: value for name, value in made.held.items() if name in needed}
    if not made.feeds:
        name = next(iter(made.held))
        made.feeds[name] = made.held.pop(name)
    return made
