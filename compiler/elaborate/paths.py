"""Patterns over the paths of parameters: `encoder.*`, `*.W`, `block[*].conv1.W`, with `,` `and` `not`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ..diagnostics import did_you_mean, error
from ..syntax import tree as syntax
from . import expressions
from .context import Context
from .scope import Frame

Index = Callable[[syntax.Expr], int]


def matcher(pattern: syntax.Pattern, index: Index) -> Callable[[str], bool]:
    """Whether a path matches. `index` gives the number of an index expression."""
    if isinstance(pattern, syntax.Not):
        inner = matcher(pattern.operand, index)
        return lambda path: not inner(path)
    if isinstance(pattern, syntax.And):
        every = [matcher(item, index) for item in pattern.items]
        return lambda path: all(match(path) for match in every)
    if isinstance(pattern, syntax.Or):
        some = [matcher(item, index) for item in pattern.items]
        return lambda path: any(match(path) for match in some)
    assert isinstance(pattern, syntax.Path)
    expression = re.compile(r"\.".join(_segment(segment, index) for segment in pattern.segments))
    return lambda path: expression.fullmatch(path) is not None


def _segment(segment: syntax.Segment, index: Index) -> str:
    """`*` is any run of characters; `dense` is short for `dense[0]`."""
    text = re.escape(segment.name).replace(r"\*", ".*")
    for places in segment.places:
        inner = ",".join("[^\\]]*" if place is None else re.escape(str(index(place))) for place in places)
        first = all(place is None or index(place) == 0 for place in places)
        text += rf"(?:\[{inner}\])" + ("?" if first else "")
    return text if segment.places else text + r"(?:\[0\])?"


def select(pattern: syntax.Pattern | None, paths: Sequence[str], index: Index) -> list[str]:
    """The paths that match, in their own order; all without a pattern."""
    if pattern is None:
        return list(paths)
    match = matcher(pattern, index)
    return [path for path in paths if match(path)]


def index_of(c: Context, frame: Frame) -> Index:
    """The numbers of index expressions that a frame knows."""
    return lambda expr: expressions.static_int(c, frame, expr, "an index in a path")


def named(
    c: Context, frame: Frame, pattern: syntax.Pattern | None, known: list[str], what: str, kinds: str = "parameter"
) -> list[str]:
    """The paths of `known` that a pattern of the train block means. E0518 where it means none of them."""
    chosen = select(pattern, known, index_of(c, frame))
    if pattern is not None and not chosen:
        text = pattern.span.text
        raise error(
            "E0518",
            f"the pattern `{text}` names no {kinds}",
            pattern.span,
            f"after {what}",
            notes=[
                f"{' and '.join(f'{one}s' for one in kinds.split(' or '))} are "
                + ", ".join(known[:12])
                + (", ..." if len(known) > 12 else "")
            ],
            help=did_you_mean(text, known),
        )
    return chosen
