"""Which kernels ONNX Runtime has, by operator of opset 21, provider and element types: the answers of kernels.txt."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources

from onnx import defs

from .elements import ELEMENT

OPSET = 21

Kernel = dict[str, frozenset[str]]  # type constraint -> the element types it takes


@cache
def _table() -> tuple[str, dict[tuple[str, str], list[Kernel]]]:
    """The version of ONNX Runtime, and its kernels by operator and provider."""
    version, kernels = "", dict[tuple[str, str], list[Kernel]]()
    for line in resources.files(__package__).joinpath("kernels.txt").read_text("utf-8").splitlines():
        first, *rest = line.split()
        if first == "version":
            version = rest[1]
        elif first != "#":
            takes = dict(part.split("=") for part in rest[1:])
            kernels.setdefault((first, rest[0]), []).append(
                {name: frozenset(ELEMENT if types == "all" else types.split(",")) for name, types in takes.items()}
            )
    return version, kernels


def version() -> str:
    """The version of ONNX Runtime whose kernels these are."""
    return _table()[0]


@cache
def _schema(op_type: str) -> tuple[list[tuple[str, str, bool]], list[tuple[str, str, bool]]] | None:
    """Inputs and outputs of an operator: name, type constraint, whether the last one repeats. None: unknown to ONNX."""
    try:
        schema = defs.get_schema(op_type, OPSET, "")
    except defs.SchemaError:
        return None
    return tuple(  # type: ignore[return-value]
        [(value.name, value.type_str, value.option == defs.OpSchema.FormalParameterOption.Variadic) for value in side]
        for side in (schema.inputs, schema.outputs)
    )


def _bound(formals: list[tuple[str, str, bool]], types: Sequence[str | None]) -> list[tuple[int, tuple[str, str], str]]:
    """Each operand that is there: its number, the names a kernel may constrain it by, and its element type."""
    bound = []
    for number, type in enumerate(types):
        name, constraint, _ = formals[min(number, len(formals) - 1)]
        if type is not None:
            bound.append((number, (constraint, name), type))
    return bound


@cache
def lacking(
    op_type: str, inputs: tuple[str | None, ...], provider: str, outputs: tuple[str | None, ...] = ()
) -> str | None:
    """None where a provider has a kernel of an operator for these element types; else the type that it lacks.

    None as an element type: that operand is left out, or its type is not known. The answer is "" where there is no
    kernel for any type.
    """
    schema = _schema(op_type)
    kernels = _table()[1].get((op_type, provider))
    if schema is None or not kernels:
        return ""
    bound = _bound(schema[0], inputs) + _bound(schema[1], outputs)
    misses = []
    for kernel in kernels:
        wrong = [type for _, names, type in bound if any(type not in kernel.get(name, (type,)) for name in names)]
        if not wrong:
            return None
        misses.append(wrong)
    return min(misses, key=len)[0]


@cache
def operand(op_type: str) -> int:
    """Which operand has the element type of the (first) result; the first where none shares it."""
    schema = _schema(op_type)
    if schema is None or not schema[1]:
        return 0
    result = schema[1][0][1]
    return next((number for number, (_, constraint, _) in enumerate(schema[0]) if constraint == result), 0)
