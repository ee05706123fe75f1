"""The formatter: the tree stays, comments stay, formatting twice changes nothing."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from dlc.diagnostics import CompileError
from dlc.source import Span
from dlc.syntax.format import format_source
from dlc.syntax.parser import make_source, parse, read_source
from hypothesis import given, settings, strategies as st

HERE = Path(__file__).parent
SPECS = sorted((HERE / "specs_design").rglob("*.dl")) + sorted((HERE.parent / "specs").rglob("*.dl"))
TEXTS = [path.read_text("utf-8") for path in SPECS]


def shape(node: Any) -> Any:
    """A tree without its places."""
    if isinstance(node, tuple):
        return tuple(shape(item) for item in node)
    if isinstance(node, Span):
        return None
    if dataclasses.is_dataclass(node):
        return (type(node).__name__, *(shape(getattr(node, field.name)) for field in dataclasses.fields(node)))
    return node


def comments(text: str) -> list[str]:
    return [comment.rstrip() for comment in re.findall(r'"(?:\\.|[^"\\\n])*"|(#[^\n]*)', text) if comment]


def check(text: str) -> str:
    source = make_source(text)
    formatted = format_source(source)
    assert shape(parse(make_source(formatted))) == shape(parse(source))
    assert comments(formatted) == comments(source.text)
    assert format_source(make_source(formatted)) == formatted
    return formatted


@pytest.mark.parametrize("path", SPECS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_specs(path: Path) -> None:
    source = read_source(path).text
    text = check(source)
    if "specs_design" not in path.parts:
        assert text == source, "`dlc fmt` lays it out otherwise"
    assert not re.search(r"[ \t]\n|\n\n\n|\t", text)


@pytest.mark.parametrize(
    ("text", "formatted"),
    [
        ("", ""),
        ("# only\n\n\n\n# comments", "# only\n\n# comments\n"),
        ("fn f( x,k=2 )=x ^ - k", "fn f(x, k = 2) = x^-k\n"),
        ("derivative  f( g,y,x )=g*y", "derivative f(g, y, x) = g * y\n"),
        ("fn f(x)=x[ : ,1 :, : -1]", "fn f(x) = x[:, 1:, :-1]\n"),
        ("fn f(x) = -x+- x - -x", "fn f(x) = -x + -x - -x\n"),
        ("fn f(x) = not(x) and g (x) [0]", "fn f(x) = not (x) and g(x)[0]\n"),
        ("fn f(x) = (x if(x)else[x,])", "fn f(x) = (x if (x) else [x,])\n"),
        ("fn f(x)\n=x\n|>g", "fn f(x)\n    = x\n    |> g\n"),
        ("fn f() = 1. .. .5", "fn f() = 1. .. .5\n"),
        ("fn f() = 1 .x", "fn f() = 1 .x\n"),
        ("model m\n{\nx=3\n}", "model m {\n    x = 3\n}\n"),
        ("model m { }", "model m { }\n"),
        ("model m {x=1;;y=2;}", "model m { x = 1; y = 2 }\n"),
        ("model m {\nx = 1;\ny = 2;\n}", "model m {\n    x = 1\n    y = 2\n}\n"),
        ("model m {\nx = 1;\n-y ~ f()\n}", "model m {\n    x = 1;\n    -y ~ f()\n}\n"),
        ("model m {\n\n\nx = 1\n\n\n\ny = 2\n\n}", "model m {\n    x = 1\n\n    y = 2\n}\n"),
        ("model m {if a {b=1}\nelse\n{b=2}}", "model m { if a { b = 1 } else { b = 2 } }\n"),
        ("model m {\nh<- h+1 # up\n}", "model m {\n    h <- h + 1  # up\n}\n"),
        ("fn f(x) = g(\nx,\nh(\nx\n))", "fn f(x) = g(\n    x,\n    h(\n        x\n    ))\n"),
        ("train(lr=1){a:2;freeze a* . * ,not b [ * ]}", "train(lr = 1) { a: 2; freeze a*.*, not b[*] }\n"),
        ("train m {\npenalty : l2(1)on*.W\n}", "train m {\n    penalty: l2(1) on *.W\n}\n"),
        ("model m {\na     = 1\nlong= 2\n}", "model m {\n    a = 1\n    long = 2\n}\n"),
        ("model m {\na    = 1\nlong = 2\n}", "model m {\n    a    = 1\n    long = 2\n}\n"),
        ("model m {\n  a      = 1\n  long   = 2\n}", "model m {\n    a    = 1\n    long = 2\n}\n"),
    ],
)
def test_layout(text: str, formatted: str) -> None:
    assert check(text) == formatted


def test_text_that_does_not_parse_is_refused() -> None:
    with pytest.raises(CompileError):
        format_source(make_source("model m {"))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_layout_of_a_spec(data: st.DataObject) -> None:
    """Blanks are stretched, dropped and broken in a spec; what still parses is formatted."""
    text = data.draw(st.sampled_from(TEXTS))
    for _ in range(data.draw(st.integers(0, 12))):
        at = data.draw(st.integers(0, len(text)))
        piece = data.draw(st.sampled_from([" ", "   ", "\n", "\n\n\n", "\t", "; ", "# note\n", "\n  # note\n"]))
        gone = 1 if text[at : at + 1] in (" ", ";") and data.draw(st.booleans()) else 0
        text = text[:at] + piece + text[at + gone :]
    try:
        parse(make_source(text))
    except CompileError:
        return
    check(text)
