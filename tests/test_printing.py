"""What is printed: names and messages of a file cannot steer the terminal."""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from dlc import cli
from dlc.cli import main, report
from dlc.diagnostics import error
from dlc.pipeline import check
from dlc.runtime.failures import Error, plain, shortened
from dlc.syntax.parser import make_source
from hand_built import compiled
from test_metadata import with_text

HOSTILE = "a\x1b[2J\x07\x9b31m\u202eb\u2066\u200f\u2028\r\x00\x7f[red]"
SHOWN = r"a\u001b[2J\u0007\u009b31m\u202eb\u2066\u200f\u2028\u000d\u0000\u007f[red]"


def test_plain() -> None:
    assert plain(HOSTILE) == SHOWN
    assert plain("tab\tand\nline, é, 漢字, ∂, 👩\u200d🔬") == "tab\tand\nline, é, 漢字, ∂, 👩\u200d🔬"
    assert plain("\ud800") == r"\ud800"
    assert json.loads(plain(json.dumps(HOSTILE, ensure_ascii=False))) == HOSTILE
    for code in [*range(0x20), *range(0x7F, 0xA0)]:
        assert plain(chr(code)).isprintable() or chr(code) in "\t\n"


def test_errors_are_rendered_plain() -> None:
    message = HOSTILE + "\nerror[E0001]: none of ours"
    text = Error("E0714", message, where=HOSTILE, notes=[HOSTILE], help=HOSTILE).render()
    assert text.count(SHOWN) == 4
    assert [line[:3] for line in text.split("\n")] == ["err", "  -", "   ", "   "]
    assert SHOWN in error("E0101", HOSTILE, help=HOSTILE).render()
    assert len(shortened("x" * 16_000)) < 200
    with pytest.raises(Error) as caught:
        check(make_source("model m { input x: float[batch, 4]\n output y = x + \u202e\x1b]0;title\x07 }"))
    assert plain(caught.value.render()) == caught.value.render()


def lines_of(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    main(argv)
    return "".join(capsys.readouterr())


@pytest.mark.parametrize("command", ["check", "summary", "summary --json", "check --json"])
def test_commands_print_names_plain(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = with_text("dlc.model", HOSTILE)
    for graph in (model.graph, model.training_info[0].algorithm):
        for node in graph.node:
            node.metadata_props.add(key="dlc.scope", value="layer[/x]\x1b[2J")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    said = lines_of([*command.split(), str(tmp_path / "m.onnx")], capsys)
    assert plain(said) == said
    assert r"\u001b[2J" in said
    assert "summary" not in command or "[/x]" in said


def test_messages_of_onnx_are_printed_plain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = compiled()
    model.graph.node[0].op_type = "\x1b[2JMatMul\u202e"
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    said = lines_of(["check", str(tmp_path / "m.onnx")], capsys)
    assert said.startswith("error[E07") and plain(said) == said and r"\u001b[2J" in said


def test_a_spec_is_given_back_character_for_character_but_not_to_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "# \x1b[2J\u202e\n"
    sources = json.dumps({"main": "m.dl", "files": {"m.dl": text}})
    (tmp_path / "m.onnx").write_bytes(with_text("dlc.sources", sources).SerializeToString())
    argv = ["-c", "import sys; from dlc.cli import main; sys.exit(main())", "decompile", tmp_path / "m.onnx"]
    done = subprocess.run([sys.executable, *argv], capture_output=True, check=True)
    assert done.stdout.decode() == text

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    report.data(text)
    assert sys.stdout.getvalue() == "# \\u001b[2J\\u202e\n"  # type: ignore[attr-defined]


def test_nothing_else_prints() -> None:
    for path in Path(next(iter(cli.__path__))).glob("*.py"):
        if path.name == "report.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("print", "sys.stdout.write", "sys.stderr.write"), f"{path.name}:{node.lineno}"
                if called.endswith("console.print"):
                    assert path.name == "progress.py" and ast.unparse(node.args[0]) == "plain(text)"
