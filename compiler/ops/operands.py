"""What operands have in common: dtypes that meet, shapes that broadcast; and the samples to test with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..ir.graph import Array, Node
from ..ir.op import NONE, NUMPY, OPS, Sample, Sampler, constant, define, lift, no_gradient, per_element, pointwise
from ..ir.types import Size, TensorType, TypeProblem, broadcast

ORDER = ("bool", "int", "float")
NUMBERS = ("float", "int")


def wrong_dtype(name: str, number: int, type: TensorType) -> TypeProblem:
    return TypeProblem("E0302", f"`{name}` does not take values of type `{type.dtype}`", {number: f"this is `{type}`"})


def meet(name: str, *inputs: Any) -> list[Node]:
    """Numbers lifted and dtypes made equal: bool meets int as int, int meets float as float."""
    graph = next(value.graph for value in inputs if isinstance(value, Node))
    nodes = [lift(graph, value, inputs) for value in inputs]
    for number, node in enumerate(nodes):
        if node.dtype not in ORDER:
            raise wrong_dtype(name, number, node.type)
    dtype = ORDER[max(ORDER.index(node.dtype) for node in nodes)]
    return [cast(node, dtype=dtype) for node in nodes]


def cast(x: Node, *, dtype: str) -> Node:
    """x as another dtype; x itself if it has it. A bool or int constant is converted at once."""
    if x.dtype == dtype:
        return x
    if x.op is OPS["constant"] and x.dtype in ("bool", "int"):
        return constant(x.graph, x.attrs["value"].astype(NUMPY[dtype]), dtype)
    return OPS["cast"](x, dtype=dtype)


def is_constant(x: Node) -> bool:
    return x.op is OPS["constant"]


def same(name: str, allowed: Sequence[str]) -> Callable[..., TensorType]:
    """The type rule of elementwise operations: one dtype, shapes that broadcast."""

    def infer(*types: TensorType, **attrs: Any) -> TensorType:
        for number, type in enumerate(types):
            if type.dtype not in allowed or type.dtype != types[0].dtype:
                raise wrong_dtype(name, number, type)
        return TensorType(types[0].dtype, broadcast(*[type.shape for type in types]))

    return infer


def elementwise(
    name: str,
    reference: Any,
    grad: Any,
    lower: Any,
    samples: Sampler,
    allowed: Sequence[str] = NUMBERS,
    commutative: bool = False,
    cost: Callable[[Node], Size] = per_element,
    **facts: Any,
) -> Callable[..., Node]:
    """Defines an operation on two operands that meet in one dtype; grad is NONE where it is constant between jumps."""
    flat = grad is NONE
    op = define(
        name,
        infer=same(name, allowed),
        grad=no_gradient(2) if flat else grad,
        jvp=NONE if flat else pointwise,
        lower=lower,
        reference=reference,
        samples=samples,
        commutative=commutative,
        cost=cost,
        elementwise=True,
        **facts,
    )

    def build(*inputs: Any) -> Node:
        return op(*meet(name, *inputs))

    build.__name__ = name
    return build


# --- samples


MOST = 96  # elements of a sample: every one of them is moved for its derivative


def shapes(rng: np.random.Generator, count: int) -> list[tuple[int, ...]]:
    """Shapes that broadcast together: rank 0 to 5, with sizes of 1 and one in ten 0."""
    rank = draw_rank(rng, 0, 5)
    full = _small([int(size) for size in rng.choice([1, 2, 3, 4, 0], size=rank, p=[0.2, 0.28, 0.24, 0.18, 0.1])])
    result = []
    for _ in range(count):
        own = [1 if rng.random() < 0.2 else size for size in full]
        result.append(tuple(own[int(rng.integers(0, rank + 1)) if rng.random() < 0.3 else 0 :]))
    return result


def sizes(
    rng: np.random.Generator, low: int = 0, high: int = 5, most: int = 4, *, empty: float = 0.0
) -> tuple[int, ...]:
    """A shape of rank low to high with sizes 1 to `most`; with the chance `empty` one of them is 0."""
    rank = draw_rank(rng, low, high)
    result = _small([int(size) for size in rng.integers(1, most + 1, rank)])
    if rank and rng.random() < empty:
        result[int(rng.integers(0, rank))] = 0
    return tuple(result)


def draw_rank(rng: np.random.Generator, low: int, high: int) -> int:
    """Any, and the highest more often: 25 samples are to have it."""
    return high if rng.random() < 0.1 else int(rng.integers(low, high + 1))


def _small(shape: list[int]) -> list[int]:
    """The largest sizes halved until no more than MOST elements are left."""
    while math.prod(shape) > MOST:
        at = shape.index(max(shape))
        shape[at] = (shape[at] + 1) // 2
    return shape


def away(values: Array, points: Iterable[float]) -> Array:
    """Values moved off kinks, by 1e-2."""
    for point in points:
        near = np.abs(values - point) < 1e-2
        values = np.where(near, point + np.where(values < point, -1e-2, 1e-2), values)
    return values


def floats(low: float, high: float, count: int = 1, kinks: Iterable[float] = ()) -> Sampler:
    kinks = tuple(kinks)
    return lambda rng: Sample(tuple(away(rng.uniform(low, high, shape), kinks) for shape in shapes(rng, count)), {})


def sometimes_ints(samples: Sampler) -> Sampler:
    """Now and then the same operation on integers, none of them 0."""

    def draw(rng: np.random.Generator) -> Sample:
        sample = samples(rng)
        if rng.random() < 0.75:
            return sample
        return Sample(tuple(rng.integers(1, 9, x.shape) * rng.choice([-1, 1], x.shape) for x in sample.inputs), {})

    return draw
