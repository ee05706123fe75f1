"""How a function of the standard library is sampled over shapes, and what its derivatives are held against.

A `Case` is a line of a spec with a reference in NumPy. Sample number i has shapes of the rank that i says, in types
with free dimensions: one compiled spec serves all samples of the same ranks.
"""

from __future__ import annotations

import re
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dlc
import numpy as np
import onnxruntime
from dlc.ir import interpret
from dlc.lower.model import start_values
from onnx import TensorProto, helper

SAMPLES = 25
STEP = 3e-4  # of central differences on five points, whose error is of order STEP^4
TYPES = dict.fromkeys("xyps", "float") | dict.fromkeys("kt", "int")
KINDS = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64, "tensor(bool)": np.bool_}
LEVELS = (onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL)

Dims = tuple[str, ...]  # of a type: a letter is a free dimension
Shapes = Callable[[int, int], Sequence[Dims]]  # (number of the sample, how many inputs) -> their dimensions


# --- shapes


def free(rank: int) -> Dims:
    """The last one is always e, the one before it d."""
    return tuple("abcde"[5 - rank :])


def broadcast(*shapes: Dims) -> Dims:
    rank = max(map(len, shapes))
    filled = [("1",) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(next((size for size in sizes if size != "1"), "1") for sizes in zip(*filled, strict=True))


def any_rank(number: int, count: int) -> list[Dims]:
    """Rank 0 to 5. Several inputs are of one shape in six samples, then lack leading dimensions, then are 1 in turn in
    the dimensions of the others, then all but one are numbers."""
    rank, turn = number % 6, number // 6 % 4
    full = free(rank)
    if count == 1 or turn == 0:
        return [full] * count
    if turn == 2:
        return [tuple("1" if place % count == at else size for place, size in enumerate(full)) for at in range(count)]
    return [full if at == number % count else full[(rank + 1) // 2 :] if turn == 1 else () for at in range(count)]


def ranks(low: int, high: int = 5, tail: Dims = ()) -> Shapes:
    """Of these ranks, the same for all inputs. The last dimensions are `tail`, in which # is 1, 2 or 3."""

    def shapes(number: int, count: int) -> list[Dims]:
        full = free(low + number % (high - low + 1))
        last = tuple(size.replace("#", str(1 + number // 5 % 3)) for size in tail)
        return [full[: len(full) - len(last)] + last] * count

    return shapes


rows, matrices = ranks(1), ranks(2)


def numbers(number: int, count: int) -> list[Dims]:
    """Single numbers."""
    return [()] * count


def labelled(number: int, count: int) -> list[Dims]:
    """Rows, and an integer for each."""
    [x] = rows(number, 1)
    return [x, x[:-1]]


# --- what references are made of


def mean(x: Any) -> Any:
    return np.sum(x) / np.float64(np.size(x))


def normed(x: Any, axis: int | tuple[int, ...], eps: float) -> Any:
    return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + eps)


def away(*kinks: float) -> Callable[..., Any]:
    return lambda x: np.abs(x[..., None] - np.array(kinks))


def ties(x: Any, axis: int = -1) -> Any:
    """How far the greatest stands above the next."""
    x = np.sort(x, axis)
    return np.take(x, -1, axis) - np.take(x, -2, axis) if x.shape[axis] > 1 else np.inf


def scalar(*shapes: Dims) -> Dims:
    return ()


def last_gone(x: Dims, *others: Dims) -> Dims:
    return x[:-1]


def picture(channels: str, *, low: int = 3, **least: int) -> dict[str, Any]:
    """Of pictures in one to three dimensions, which are free."""

    def shapes(number: int, count: int) -> list[Dims]:
        full = free(low + number % (6 - low))
        return [("a", channels, *full[2:])] * count

    return {"shapes": shapes, "least": {"c": 1, "d": 1, "e": 1, **least}, "most": 24}


SCALED: dict[str, Any] = {"parameters": ("scale", "shift"), "straight": "shift"}


# --- cases


@dataclass(frozen=True)
class Case:
    """`body` makes `out` of the inputs and of the parameters of `layer`, which is called f."""

    body: str
    reference: Callable[..., Any]
    inputs: str = "x"
    shapes: Shapes = any_rank
    result: Callable[..., Dims] = broadcast  # the dimensions of `out`, of those of the inputs
    edge: Callable[..., Any] | None = None  # distances to the kinks
    layer: str = ""
    parameters: tuple[str, ...] = ()
    least: Mapping[str, int] = field(default_factory=dict)  # the smallest size of a dimension: 0 unless said
    most: int = 12  # elements of an input
    high: int | None = None  # integers are below it; else below the last dimension of x, or 2
    rule: Callable[..., Any] | None = None  # the derivative that is declared: (weight, inputs) -> that of x
    held: Callable[..., dict[str, Any]] | None = None  # what the derivative by parameters takes as a constant
    flat: str = ""  # the error that derives it, where it has no derivative
    stepped: bool = False  # reads `step`
    given: str = ""  # an input that it is not derived by
    straight: str = ""  # a parameter on which the derivatives do not depend
    around: float = 1.0  # the mean of the parameters
    torch: Callable[..., Any] | str = ""  # PyTorch's form, of its module and the values; or why it has none
    points: Sequence[Any] | str = ()  # of it, as in special_points.py; or why it needs none
    # Lines of random specs on a value `a` of any shape (where `shapes` are others, its last dimension is a number); the
    # result has the shape of `a`. And the bound of its magnitude from that of `a`.
    said: Mapping[str, Callable[[float], float]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return self.inputs.split()

    @property
    def floats(self) -> list[str]:
        return [name for name in self.names if TYPES[name] == "float"]

    @property
    def by(self) -> dict[str, str]:
        """What is derived by: its name in an output -> in the spec."""
        return {f"raw_{name}": f"raw_{name}" for name in self.floats if name != self.given} | {
            re.sub(r"\W", "_", path): path for path in self.paths
        }

    @property
    def paths(self) -> list[str]:
        """Of the parameters: those of f, and those of another layer g that the body has."""
        return [name if name.startswith("g.") else f"f.{name}" for name in self.parameters]

    @property
    def example(self) -> str:
        return self.text(self.shapes(2, len(self.names)))

    def text(self, shapes: Sequence[Dims], orders: int | None = None) -> str:
        """`out` and its derivatives up to an order, the second unless there are none. The inputs are bent
        (v + v^3 / 10), so that straight pieces have second derivatives too."""
        orders = (0 if self.flat else 2) if orders is None else orders
        types = {name: f"{TYPES[name]}[{', '.join(dims)}]" for name, dims in zip(self.names, shapes, strict=True)}
        lines = [f"input {'raw_' if name in self.floats else ''}{name}: {types[name]}" for name in types]
        lines += [f"input weight: float[{', '.join(self.result(*shapes))}]"]
        lines += [f"{name} = raw_{name} + raw_{name}^3 / 10" for name in self.floats]
        lines += [f"f = {self.layer}"] if self.layer else []
        lines += [self.body, "output value = out"]
        if orders > 0:
            lines += ["total = sum(weight * out)"]
            lines += [f"d_{name} = grad(total, {at})" for name, at in self.by.items()]
            lines += [f"output first_{name} = d_{name}" for name in self.by]
        if orders > 1:
            turned = {name: at for name, at in self.by.items() if not self.held or name.startswith("raw_")}
            lines += [
                "turned = "
                + " + ".join(f"sum(d_{name} * cos(2 * stop_gradient({at}) + 1))" for name, at in turned.items())
            ]
            lines += [
                f"output second_{name} = grad(turned, {at})"
                for name, at in turned.items()
                if name != f"f_{self.straight}"
            ]
        return "model test {\n    " + "\n    ".join(lines) + "\n}\n"

    def sizes(self, shapes: Sequence[Dims], number: int, rng: np.random.Generator) -> dict[str, int]:
        """Of the free dimensions. In every fifth sample one is 0, in another fifth one is 1, where it may be."""
        letters = sorted({size for dims in shapes for size in dims if size.isalpha()})
        while True:
            found = {name: max(self.least.get(name, 1), 1) + int(rng.integers(0, 3)) for name in letters}
            for turn, size in ((3, 0), (1, 1)):
                may = [name for name in letters if self.least.get(name, 0) <= size]
                if may and number % 5 == turn:
                    found[str(rng.choice(may))] = size
            if all(np.prod(shape_of(dims, found)) <= self.most for dims in shapes):
                return found

    def sample(self, shapes: Sequence[Dims], number: int, rng: np.random.Generator) -> dict[str, Any]:
        """Inputs that float32 holds, away from kinks."""
        sizes = self.sizes(shapes, number, rng)
        at = {name: shape_of(dims, sizes) for name, dims in zip(self.names, shapes, strict=True)}
        while True:
            values: dict[str, Any] = {}
            for name, shape in at.items():
                if name in self.floats:
                    values[f"raw_{name}"] = held_by_float32(rng.normal(0, 1, shape))
                else:
                    values[name] = rng.integers(0, 2 if name == "t" else self.high or at["x"][-1], shape)
            if self.stepped:
                values["step"] = np.asarray(rng.integers(0, 12))
            distances = np.asarray(self.edge(**self.arguments(values)) if self.edge else np.inf, np.float64)
            if np.min(distances, initial=np.inf) > 5e-3:
                return values

    def arguments(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Those of `reference` and `edge`."""
        found = {name: values[f"raw_{name}"] + values[f"raw_{name}"] ** 3 / 10 for name in self.floats}
        if self.stepped:
            found["step"] = values["step"] + 1  # the file counts the updates that are done
        return {
            name.removeprefix("f.").removeprefix("g."): value
            for name, value in values.items()
            if name != "weight" and not name.startswith("raw_")
        } | found

    def at(self, values: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], Any]:
        """The reference as a function of the values, near these."""
        held = self.held(**self.arguments(values)) if self.held else {}

        def reference(moved: Mapping[str, Any]) -> Any:
            with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):  # the mean of nothing
                return np.asarray(self.reference(**self.arguments(moved), **held))

        return reference


def sampled(
    name: str, case: Case, precision: str, count: int = SAMPLES, orders: int | None = None
) -> Iterator[tuple[Compiled, dict[str, Any]]]:
    """Each sample of a case, of inputs, parameters and the weight of `out`, with the spec for its shapes."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    specs: dict[tuple[Dims, ...], Compiled] = {}
    for number in range(count):
        shapes = tuple(case.shapes(number, len(case.names)))
        if shapes not in specs:
            specs[shapes] = Compiled(case.text(shapes, orders), precision)
        spec, values = specs[shapes], case.sample(shapes, number, rng)
        own = {path: value.shape for path, value in spec.variables.items() if path.startswith(("f.", "g."))}
        values |= {path: held_by_float32(rng.normal(case.around, 0.3, shape)) for path, shape in own.items()}
        values["weight"] = held_by_float32(rng.normal(0, 1, case.at(values)(values).shape))
        yield spec, values


def shape_of(dims: Dims, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(sizes[size] if size in sizes else int(size) for size in dims)


def held_by_float32(value: Any) -> Any:
    return np.asarray(value).astype(np.float32).astype(np.float64)


# --- compiled specs


class Compiled:
    """The outputs of a spec: by the interpreter in float64, or by ONNX Runtime alone."""

    def __init__(self, text: str, precision: str = "float64") -> None:
        self.program = dlc.compile(text, precision=precision)
        self.model = self.program.model_proto()
        module = self.program.module
        self.graph = module.graph
        self.roots = {name.removeprefix("output/"): node for name, node in module.roots("output/").items()}
        self.variables = dict(start_values(module, 0))
        self._sessions: list[onnxruntime.InferenceSession] = []

    def __call__(self, values: Mapping[str, Any], beginning: str = "") -> dict[str, Any]:
        """`values` are inputs by name; one with a parameter's path stands for that parameter."""
        roots = {name: root for name, root in self.roots.items() if name.startswith(beginning)}
        found = interpret.evaluate(list(roots.values()), self.variables | dict(values))
        return dict(zip(roots, found, strict=True))

    @property
    def sessions(self) -> list[onnxruntime.InferenceSession]:
        """Stock ONNX Runtime on one thread, without its optimizations and with all. Start values can be fed."""
        if not self._sessions:
            file = type(self.model)()
            file.CopyFrom(self.model)
            for tensor in file.graph.initializer:
                if tensor.name in self.variables:
                    assert tensor.data_type in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64)
                    file.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
            for level in LEVELS:
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = 1
                options.log_severity_level = 3
                options.graph_optimization_level = level
                self._sessions.append(
                    onnxruntime.InferenceSession(file.SerializeToString(), options, providers=["CPUExecutionProvider"])
                )
        return self._sessions

    def stock(self, values: Mapping[str, Any], optimized: bool = True) -> dict[str, Any]:
        session = self.sessions[optimized]
        names = [output.name for output in session.get_outputs()]
        fed = [*session.get_inputs(), *(v for v in session.get_overridable_initializers() if v.name in values)]
        feeds = {v.name: np.asarray(values[v.name], KINDS[v.type]) for v in fed}
        return dict(zip(names, session.run(names, feeds), strict=True))


# --- what is compared


def close(found: Any, expected: Any, tolerance: float) -> bool:
    """|a − b| / max(1, |a|, |b|) within the tolerance, and the same infinities and NaN."""
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        return False
    with np.errstate(invalid="ignore"):
        error = np.abs(found - expected) / np.maximum(1, np.maximum(np.abs(found), np.abs(expected)))
    return bool(np.all((error <= tolerance) | (found == expected) | (np.isnan(found) & np.isnan(expected))))


def along(function: Callable[[dict[str, Any]], Any], values: Mapping[str, Any], steps: Mapping[str, Any]) -> Any:
    """The derivative at h = 0 of function(values + h steps)."""
    near, far = (
        np.asarray(function({**values, **{name: values[name] + by * STEP * step for name, step in steps.items()}}))
        - function({**values, **{name: values[name] - by * STEP * step for name, step in steps.items()}})
        for by in (1, 2)
    )
    return (8 * near - far) / (12 * STEP)


def central(function: Callable[[dict[str, Any]], Any], values: Mapping[str, Any], name: str) -> Any:
    """The derivative by every entry of values[name]: the shape of what `function` gives, then that of the value."""
    shape = np.shape(values[name])
    columns = []
    for place in np.ndindex(shape):
        step = np.zeros(shape)
        step[place] = 1
        columns.append(along(function, values, {name: step}))
    if not columns:
        return np.zeros((*np.shape(function(dict(values))), *shape))
    return np.moveaxis(np.array(columns), 0, -1).reshape((*np.shape(columns[0]), *shape))
