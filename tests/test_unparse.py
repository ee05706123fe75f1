"""A tree as text: what is parsed of it is the tree again, and `dlc fmt` leaves it as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from dlc.diagnostics import CompileError
from dlc.source import Span
from dlc.syntax import tree as s
from dlc.syntax.format import format_source
from dlc.syntax.parser import make_source, parse, read_source
from dlc.syntax.unparse import LEVELS, unparse
from hypothesis import given, settings, strategies as st
from test_format import shape

HERE = Path(__file__).parent
FOLDERS = (HERE / "specs_design", HERE.parent / "specs", HERE.parent / "benchmarks", HERE / "faults", HERE / "errors")


def again(text: str) -> str:
    tree = parse(make_source(text))
    written = unparse(tree)
    assert shape(parse(make_source(written))) == shape(tree)
    assert format_source(make_source(written)) == written
    return written


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_every_spec_of_the_repository(folder: Path) -> None:
    for path in sorted(folder.rglob("*.dl")):
        try:
            parse(read_source(path))
        except CompileError:
            assert folder.name in ("errors", "specs_design")  # broken on purpose
            continue
        again(read_source(path).text)


# --- trees at random, which specs as people write them would not have

_PLACE = Span(make_source(" "), 0, 0)
_NAMES = st.sampled_from(["x", "over", "init", "on", "y_1", "λ"]).map(lambda name: s.Name(_PLACE, name))
_LEAVES = st.one_of(
    _NAMES,
    st.integers(0, 2**63 - 1).map(lambda n: s.Number(_PLACE, n)),
    st.floats(0, allow_nan=False, allow_infinity=False).map(lambda n: s.Number(_PLACE, abs(n))),
    st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"]), max_size=5).map(
        lambda text: s.Text(_PLACE, text)
    ),
    st.sampled_from([True, False, None]).map(lambda value: s.Constant(_PLACE, value)),
    st.sampled_from([None, "rest"]).map(lambda name: s.Ellipsis(_PLACE, name)),
)


def _more(inner: st.SearchStrategy[s.Expr]) -> st.SearchStrategy[s.Expr]:
    some = st.lists(inner, max_size=3).map(tuple)
    argument = st.builds(lambda value: s.Argument(_PLACE, None, value), inner)
    maybe = st.none() | inner
    place = inner | st.builds(lambda a, b, c: s.Slice(_PLACE, a, b, c), maybe, maybe, maybe)
    return st.one_of(
        st.builds(lambda op, e: s.Unary(_PLACE, op, e), st.sampled_from(["-", "+", "not"]), inner),
        st.builds(lambda op, a, b: s.Binary(_PLACE, op, a, b, _PLACE), st.sampled_from(sorted(LEVELS)), inner, inner),
        st.builds(lambda a, b: s.Range(_PLACE, a, b), inner, inner),
        st.builds(lambda a, b, c: s.Choice(_PLACE, a, b, c), inner, inner, inner),
        st.builds(lambda a, b: s.Pipe(_PLACE, a, b), inner, inner),
        st.builds(lambda f, x: s.Call(_PLACE, f, tuple(x)), inner, st.lists(argument, max_size=3)),
        st.builds(lambda x, i: s.Index(_PLACE, x, tuple(i)), inner, st.lists(place, min_size=1, max_size=3)),
        st.builds(lambda x: s.Attribute(_PLACE, x, "part", _PLACE), inner),
        st.builds(lambda items: s.List(_PLACE, items), some),
        st.builds(lambda items: s.Tuple(_PLACE, items), some.filter(bool)),
    )


@settings(max_examples=300, deadline=None)
@given(st.recursive(_LEAVES, _more, max_leaves=12), st.recursive(_LEAVES, _more, max_leaves=6))
def test_any_expression(value: s.Expr, left: s.Expr) -> None:
    """In a statement of each kind, where the line before it must not go on."""
    body = (s.Assign(_PLACE, (s.Name(_PLACE, "a"),), (value,)), s.Tilde(_PLACE, left, value), s.Return(_PLACE, (left,)))
    tree = s.File(_PLACE, (s.Fn(_PLACE, "f", _PLACE, "", (), (*body, s.Return(_PLACE, (value, left))), None),))
    written = unparse(tree)
    assert shape(parse(make_source(written))) == shape(tree)
    assert format_source(make_source(written)) == written


def test_chains_of_any_length() -> None:
    text = "model m { input x: float[batch]; loss = " + " + ".join(["mean(x)"] * 20_000) + " }"
    written = unparse(parse(make_source(text)))
    assert unparse(parse(make_source(written))) == written and len(written) < len(text) + 100
    long = again("model m { input x: float[batch, 4]; h = x" + " |> dense(4, relu)" * 12 + " }")
    assert long.count("\n        |> dense(4, relu)") == 12
