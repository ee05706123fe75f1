"""`f.inner[0].W`: what is inside a layer, by its path."""

from __future__ import annotations

from ..diagnostics import did_you_mean, error
from ..source import Span
from .context import Context
from .values import Inner, Tensor


def at_path(c: Context, path: str) -> Tensor | Inner | None:
    """The parameter or state of that path, or the layer, if it has been applied."""
    variable = c.module.variables.get(path)
    if variable is not None:
        return Tensor(c.moving.get(path, variable.node))
    return Inner(path) if holds(c, path) else None


def holds(c: Context, path: str) -> bool:
    return any(other.startswith((f"{path}.", f"{path}[")) for other in c.module.variables)


def part(c: Context, inner: Inner, name: str, span: Span) -> Tensor | Inner:
    """`f.inner.W`"""
    made = at_path(c, f"{inner.path}.{name}")
    if made is None:
        below = [
            path.removeprefix(f"{inner.path}.") for path in c.module.variables if path.startswith(f"{inner.path}.")
        ]
        raise error(
            "E0211",
            f"the layer `{inner.path}` has no part `{name}`",
            span,
            "not found",
            notes=["it has " + ", ".join(below)] if below else ["there are several: `[0]`, `[1]`, ..."],
            help=did_you_mean(name, below),
        )
    return made


def entry(c: Context, inner: Inner, place: str, span: Span) -> Tensor | Inner:
    """`f.inner[2]`; the first of a name is also the one without a number."""
    made = at_path(c, f"{inner.path}[{place}]")
    if made is None and place == "0" and any(path.startswith(f"{inner.path}.") for path in c.module.variables):
        return inner
    if made is None:
        raise error("E0238", f"there is no layer `{inner.path}[{place}]`", span, "not made")
    return made
