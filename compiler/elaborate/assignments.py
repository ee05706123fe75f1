"""The names that the statements of a body give something, as its text says, whether or not they run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..source import Span
from ..syntax import tree as syntax


def targets(body: Sequence[syntax.Statement]) -> Iterator[tuple[str, Span | None]]:
    """Each name and where it stands, None for the variable of a loop, which the lines below do not know."""
    for statement in body:
        if isinstance(statement, syntax.Assign):
            for target in statement.targets:
                name = target.value if isinstance(target, syntax.Index) else target
                if isinstance(name, syntax.Name):
                    yield name.name, name.span
        elif isinstance(statement, syntax.Input | syntax.Target | syntax.Param | syntax.State | syntax.Typed):
            yield statement.name, statement.name_span
        elif isinstance(statement, syntax.Local):
            yield statement.declaration.name, statement.declaration.name_span
        elif isinstance(statement, syntax.If):
            yield from targets(statement.yes)
            yield from targets(statement.no)
        elif isinstance(statement, syntax.For | syntax.Scan):
            yield statement.name, None
            yield from targets(statement.body)
        elif isinstance(statement, syntax.Checkpoint):
            yield from targets(statement.body)


def assigned(body: Sequence[syntax.Statement]) -> Iterator[str]:
    return (name for name, _ in targets(body))


def made_names(body: Sequence[syntax.Statement]) -> list[str]:
    """The params and states a body may make, for `f.W` and `f(x, W = ...)`."""
    names: dict[str, None] = {}
    for statement in body:
        if isinstance(statement, syntax.Param | syntax.State):
            names[statement.name] = None
        elif isinstance(statement, syntax.If):
            names.update(dict.fromkeys(made_names(statement.yes) + made_names(statement.no)))
        elif isinstance(statement, syntax.For | syntax.Checkpoint):
            names.update(dict.fromkeys(made_names(statement.body)))
        elif isinstance(statement, syntax.Scan):  # its states are its own
            names.update((s.name, None) for s in statement.body if isinstance(s, syntax.Param))
    return list(names)
