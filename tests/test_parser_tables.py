"""The parser's tables that lie beside the grammar are those of the grammar, and nothing but speed depends on them."""

from __future__ import annotations

import json

import lark
import pytest
from dlc.syntax import parser, tables
from parser_tables import written

HELD = json.loads((tables.resources.files("dlc.grammar") / tables.NAME).read_text("utf-8"))


def test_the_tables_are_of_the_grammar():
    """After a change of the grammar: `python tests/parser_tables.py`."""
    assert HELD["grammar"] == tables.of(tables.grammar())["grammar"]
    if HELD["lark"] != lark.__version__:
        pytest.skip(f"the tables are of lark {HELD['lark']}, and another release is installed")
    assert json.loads(written()) == HELD


def test_tables_of_another_grammar_or_release_are_not_used(monkeypatch):
    built = []
    build = tables.build
    monkeypatch.setattr(tables, "build", lambda *how: built.append(how) or build(*how))
    if HELD["lark"] == lark.__version__:
        parser.Parser()
        assert not built
    right = tables.of(tables.grammar())
    for key in right:
        with monkeypatch.context() as patch:
            patch.setattr(tables, "of", lambda text, key=key: {**right, key: "another"})
            made = parser.Parser()
        assert built.pop() and not built
        tree, problems, failure = made.attempt(source := parser.make_source("1 + 2 * x"), "expr", source.text)
        assert tree is not None and not problems and failure is None
