"""Each tests/errors/*.dl is a broken spec and, below the line `#### expected`, its message word for word.

`pytest tests/test_errors.py --accept` writes the messages of today into the files.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from dlc.diagnostics import CompileError
from dlc.elaborate.builtins import BUILTINS
from dlc.elaborate.library import standard_index
from dlc.source import Source
from dlc.syntax import foreign
from dlc.syntax.parser import make_source, parse
from dlc.ways_out import WAYS_OUT

HERE = Path(__file__).parent
MARK = "#### expected\n"
FILES = sorted((HERE / "errors").glob("*.dl"))
PAGES = HERE.parent / "docs" / "errors"


def message(source: Source) -> tuple[str, list[str]]:
    """What a person is told about a source, and the codes in it."""
    try:
        parse(source)
        if not source.name.startswith("E01"):
            from dlc.pipeline import check

            warnings = check(source)[1]
            return "\n\n".join(w.render() for w in warnings), [w.code for w in warnings]
    except CompileError as problem:
        return problem.render(), [diagnostic.code for diagnostic in problem.diagnostics]
    return "", []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_message(path: Path, accept: bool) -> None:
    text, _, expected = path.read_text("utf-8").partition(MARK)
    rendered, codes = message(make_source(text, path.name))
    assert path.stem[:5] in codes
    if accept:
        path.write_text(f"{text}{MARK}{rendered}\n", "utf-8")
    else:
        assert rendered + "\n" == expected


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_message_has_a_way_out(path: Path) -> None:
    _, _, expected = path.read_text("utf-8").partition(MARK)
    for each in re.split(r"\n\n(?=(?:error|warning)\[)", expected):
        assert "\n" in each and re.search(r"^ *= help: \S", each, re.MULTILINE), each


def test_each_raised_error_has_a_way_out() -> None:
    """Of its own or of its kind, and of no kind that is never raised without."""
    bare, raised = set(), {*re.findall(r"E01\d\d", (HERE.parent / "grammar" / "mistakes.txt").read_text("utf-8"))}
    for path in sorted((HERE.parent / "compiler").rglob("*.py")):
        text = path.read_text("utf-8")
        if path.name != "ways_out.py":
            raised |= {*re.findall(r'"([EW]\d{4})"', text)}
        for node in ast.walk(ast.parse(text)):
            code = node.args[0] if isinstance(node, ast.Call) and node.args else None
            if isinstance(code, ast.Constant) and re.fullmatch(r"[EW]\d{4}", str(code.value)):
                given = (
                    node.keywords + node.args[3:] if getattr(node.func, "id", "") == "TypeProblem" else node.keywords
                )
                if not any(getattr(each, "arg", "help") == "help" for each in given):
                    bare.add(code.value)
    assert bare - {"E0790"} <= {*WAYS_OUT}  # the command line says it in the message
    assert {*WAYS_OUT} <= raised


def test_each_code_has_one_page() -> None:
    for path in FILES:
        page = (PAGES / f"{path.stem[:5]}.md").read_text("utf-8")
        assert page.startswith(f"# {path.stem[:5]}: ")
        assert len(page.splitlines()) >= 5


def test_names_of_other_libraries_are_not_ours_and_ours_exist() -> None:
    assert not {*foreign.NAMES} & {*BUILTINS, *standard_index()}
    of_the_compiler = {parameter for builtin in BUILTINS.values() for parameter, _ in builtin.parameters}
    library = "".join(path.read_text("utf-8") for path in (HERE.parent / "specs" / "std").glob("*.dl"))
    assert all(
        re.search(rf"[(,] *{name}\b", library) or name in of_the_compiler
        for names in foreign.ARGUMENTS.values()
        for name in names.split()
    )
