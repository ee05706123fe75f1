"""Numbers in the place of tensors: calls of an `fn` on a number where what stands around them has a tensor to give
(`init truncated(0.02)`), and calls of the library that confuse its arguments (`norm(2.0, x)`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..diagnostics import CompileError, error
from ..ir.graph import Node
from ..ir.types import Dim, TensorType
from ..source import Span
from ..syntax import tree as syntax
from .context import Context
from .values import Argument, Declared, Tensor, Value, kind


def note(c: Context, callee: Declared, given: Sequence[Argument], value: Value, span: Span) -> None:
    """Remembers what an fn made of a number in its first place."""
    first = given[0] if given else None
    if (
        first is None
        or first.name is not None
        or isinstance(first.value, bool)
        or not isinstance(first.value, int | float)
    ):
        return
    if isinstance(value, Tensor):
        c.filled[value.node] = callee, tuple(given), span
    elif isinstance(value, int | float) and not _reads_first(callee):  # `fn all(w, value = 1.0) = value`
        c.ignored.append((callee, tuple(given), span))


def _reads_first(callee: Declared) -> bool:
    """Whether an fn computes with its first argument; one that does not has a place for a tensor there."""
    declaration = callee.declaration
    name = declaration.configuration[0].name
    return any(isinstance(part, syntax.Name) and part.name == name for part in syntax.walk([declaration.body]))


def waiting(callee: Declared, given: Sequence[Argument]) -> str | None:
    """The call that waits for its first argument, where a number was given in that place: `truncated(std = 0.02)` for
    `truncated(0.02)`. None if nothing is left to be given."""
    declaration = callee.declaration
    if not isinstance(declaration, syntax.Fn):
        return None
    named = {argument.name for argument in given}
    rest = [parameter.name for parameter in declaration.configuration[1:] if parameter.name not in named]
    texts = [argument.span.text for argument in given if argument.name is None]
    written = [f"{name} = {text}" for name, text in zip(rest, texts, strict=False)]
    return f"{declaration.name}({', '.join(written)})" if rest else None


def refused(type: syntax.Type, value: Value) -> bool:
    """Whether the library refuses a number where it declares floats of any shape, or the whole gradient. Labels and
    indices (`int[...]`) may be one number, and a type with dimensions of its own refuses one by its rank."""
    if isinstance(value, bool) or not isinstance(value, int | float | Dim):
        return False
    any_shape = type.dims is not None and all(isinstance(size, syntax.Ellipsis) for size in type.dims)
    return type.dtype == "vector" or (type.dtype == "float" and any_shape)


# Of two tensors that do not fit each other.
SHAPES = ("E0310", "E0311", "E0312", "E0313", "E0324", "E0343")


def hold_single(callee: Declared, bound: Mapping[str, Argument]) -> None:
    """E0322 for a tensor among the untyped arguments of a schedule (a library function of one number)."""
    declaration = callee.declaration
    if not callee.unit.standard or not isinstance(declaration, syntax.Fn) or not _returns_number(declaration):
        return
    for parameter in declaration.configuration:
        argument = bound.get(parameter.name)
        if parameter.type is None and argument and isinstance(argument.value, Tensor) and argument.value.node.rank:
            raise error(
                "E0322",
                f"`{parameter.name}` of `{declaration.name}` is a single number, not a tensor",
                argument.span,
                f"this is `{argument.value.node.type}`",
            )


def _returns_number(declaration: syntax.Fn) -> bool:
    return any(type.dims is None for type in declaration.returns or ())


def explained(
    problem: CompileError, callee: Declared, given: Sequence[Argument], bound: Mapping[str, Argument], span: Span
) -> CompileError:
    """An error in a call of the library whose numbers and tensors may be confused, with its arguments in their order as
    the way out. A help that is there stays, unless it is on a line of the library."""
    declaration = callee.declaration
    shapes = all(d.code in SHAPES for d in problem.diagnostics)
    if not isinstance(declaration, syntax.Fn) or not _confused(declaration, bound, shapes):
        return problem
    name = declaration.name
    parts = [p.name if p.default is None else f"{p.name} = {p.default.span.text}" for p in declaration.configuration]
    help = f"the arguments of `{name}` are, in this order, `{name}({', '.join(parts)})`"
    setting = declaration.configuration[1].type if len(parts) > 1 and len(given) == 1 else None
    if setting is not None and _fits(given[0].value, setting):
        help += f"; `{waiting(callee, given)}` waits for `{declaration.configuration[0].name}`"
    return CompileError(
        [replace(d, help=help) if not d.help or d.labels[0].span is span else d for d in problem.diagnostics]
    )


def _fits(value: Value, type: syntax.Type) -> bool:
    """Whether a value is a number of a type without dimensions."""
    kinds = {"float": (int, float), "int": (int,)}.get(type.dtype, ())
    return type.dims is None and isinstance(value, kinds) and not isinstance(value, bool)


def _confused(declaration: syntax.Fn, bound: Mapping[str, Argument], shapes: bool) -> bool:
    """Whether a number stands where a tensor may belong, a tensor where one number belongs, or a fraction anywhere; if
    shapes do not fit, a fraction in the place of a number is not to blame."""
    scalar = _returns_number(declaration)  # one number, so of numbers
    for parameter in declaration.configuration:
        if parameter.name not in bound:
            continue
        value, type = bound[parameter.name].value, parameter.type
        single = scalar or parameter.default is not None or (type is not None and type.dims is None)
        if isinstance(value, float) and not (shapes and single):
            return True
        if isinstance(value, Tensor) and value.node.rank and single:
            return True
        if isinstance(value, int) and not isinstance(value, bool) and not single:
            return True
    return False


def refuse(c: Context, node: Node | None, type: TensorType, span: Span) -> None:
    """E0257 for a start value that such a call made."""
    if node is None or node.rank:
        return

    def here(call: Span) -> bool:
        return call.source is span.source and span.start <= call.start and call.end <= span.end

    # A constant may be that of another call; a draw is never shared.
    made = [
        c.filled[known]
        for known in (c.graph.order([node]) if c.filled else ())
        if known in c.filled and (known.op.name != "constant" or here(c.filled[known][2]))
    ]
    made = made or [call for call in c.ignored if here(call[2])]
    if not made:
        return
    callee, given, _ = made[-1]
    instead = waiting(callee, given)
    if instead or type.rank:
        name, first = callee.declaration.name, callee.declaration.configuration[0].name
        raise error(
            "E0257",
            f"`{name}` makes one number from the number that it is given",
            span,
            f"`{first}` of `{name}` is {kind(given[0].value)} here, not the tensor to fill",
            notes=[f"its shape is `{type}`: all of it would start from one value"] if type.rank else [],
            help=f"leave `{first}` out: it is given the tensor: `init {instead or name}`",
        )
