"""Every block of the guides runs, one after another, in a copy of `specs/`: as a reader types them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import dlc
import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
# The command of the interpreter that runs the tests, wherever its scripts are.
COMMAND = f'#!/bin/sh\nexec "{sys.executable}" -c "import sys; from dlc.cli import main; sys.exit(main())" "$@"\n'


def blocks(page: str) -> list[tuple[str, str]]:
    """The code blocks of a page, with their languages."""
    return re.findall(r"^```(\w+)\n(.*?)^```", (DOCS / f"{page}.md").read_text("utf-8"), re.S | re.M)


def typed(kind: str, text: str, folder: Path) -> str:
    """What a block says when it is typed in a folder: a spec is saved under the name in its first line."""
    if kind == "dl":
        named = re.match(r"# ([\w-]+\.dl)\n", text)
        assert named, text
        (folder / named[1]).write_text(text, "utf-8")
        return str(dlc.compile(folder / named[1]).name)
    command = [sys.executable, "-c", text] if kind == "py" else ["bash", "-euc", text]
    environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "COLUMNS": "200"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    assert done.returncode == 0, (text, done.stderr[-2000:])
    return done.stdout + done.stderr


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "specs", tmp_path / "specs", ignore=shutil.ignore_patterns("std", "__pycache__"))
    (tmp_path / "specs" / "bin").mkdir()
    (tmp_path / "specs" / "bin" / "dlc").write_text(COMMAND, "utf-8")
    (tmp_path / "specs" / "bin" / "dlc").chmod(0o755)
    return tmp_path / "specs"


def test_the_tutorial_from_an_empty_folder_to_a_trained_network(specs: Path) -> None:
    said = []
    for kind, text in blocks("tutorial"):
        if text.strip() == "cd specs":
            continue
        said.append(typed(kind, text, specs))
    assert {kind for kind, _ in blocks("tutorial")} == {"sh", "dl", "py"}
    whole = "\n".join(said)
    assert "xᵀ (softmax(z) − onehot(y)) / batch" in whole
    assert (
        (specs / "digits.onnx").exists() and (specs / "fourth.html").exists() and (specs / "predictions.csv").exists()
    )
    assert float(re.findall(r"^accuracy +([\d.]+)", whole, re.M)[-1]) > 0.94  # of `dlc evaluate`


@pytest.mark.parametrize("page", ["for-pytorch", "for-keras"])
def test_every_spec_of_a_guide_compiles(page: str) -> None:
    found = [text for kind, text in blocks(page) if kind == "dl"]
    assert len(found) >= 3
    for text in found:
        dlc.compile(text).model_proto()


@pytest.mark.oracle
@pytest.mark.parametrize(("page", "library"), [("for-pytorch", "torch"), ("for-keras", "keras")])
def test_the_other_library_runs_what_stands_beside(page: str, library: str, specs: Path) -> None:
    if find_spec(library) is None:
        pytest.skip(f"needs {library}")
    found = [text for kind, text in blocks(page) if kind == "py" and library in text]
    typed("py", "\n".join(found), specs)


@pytest.mark.parametrize("page", ["for-pytorch", "for-keras"])
def test_every_form_in_a_table_is_known(page: str) -> None:
    """What stands right in a table is a name of the library, of the compiler, or a word of the language."""
    from dlc.editor.words import keywords
    from dlc.elaborate.builtins import BUILTINS
    from dlc.elaborate.library import standard_index

    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \|$", (DOCS / f"{page}.md").read_text("utf-8"), re.M)
    names = [name for row in rows for name in re.findall(r"`(?:[^`]*\|> )?(\w+)\(", row.replace("\\|", "|"))]
    known = {*BUILTINS, *standard_index(), *keywords(), "patience", "dlc", "weights"}
    assert len(names) > 10 and set(names) - known == set()


def test_an_operation_is_added_as_the_guide_says(specs: Path) -> None:
    said = [typed(kind, text, specs) for kind, text in blocks("add-an-operation") if kind in ("py", "sh")]
    assert said and "True" in said[0]
