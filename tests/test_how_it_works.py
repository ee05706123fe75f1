"""docs/how-it-works.md: every output in it is what comes out today.

Files of the page (blocks whose first line is `# NAME.dl`) are written into an empty folder; the commands run there in
order, then the Python blocks, as one program. `pytest tests/test_how_it_works.py --accept` writes today's outputs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "how-it-works.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$\n", re.M | re.S)
MARK = "\x1e"
COMMAND = f"""dlc() {{ '{sys.executable}' -c 'import sys; from dlc.cli import main; sys.exit(main())' "$@"; }}\n"""


def run(program: list[str], folder: Path) -> list[str]:
    """What stands behind each mark of what it prints, errors among it."""
    done = subprocess.run(
        program,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )
    return done.stdout.split(MARK)[1:]


def test_the_page(tmp_path: Path, accept: bool) -> None:
    pytest.importorskip("onnxruntime")
    page = PAGE.read_text("utf-8")
    blocks = [(found[1], found[2]) for found in BLOCK.finditer(page)]
    for kind, text in blocks:
        if kind == "dl":
            name = re.match(r"# (\w+\.dl)\n", text)
            assert name, f"a spec of the page says its file in a first line `# NAME.dl`:\n{text}"
            (tmp_path / name[1]).write_text(text, "utf-8")
    consoles = [text for kind, text in blocks if kind == "console"]
    commands = [line[2:] for text in consoles for line in text.splitlines() if line[:2] == "$ "]
    script = COMMAND + "".join(f"printf '\\x1e'\n{command}\n" for command in commands)
    shown = run(["bash", "-c", script], tmp_path)
    programs = [text for kind, text in blocks if kind == "py"]
    (tmp_path / "page.py").write_text("".join(f"print({MARK!r}, end='')\n{text}" for text in programs), "utf-8")
    printed = run([sys.executable, "page.py"], tmp_path)
    assert len(shown) == len(commands) and len(printed) == len(programs), printed[-1:]
    results = iter(printed)

    def today(found: re.Match[str]) -> str:
        kind, text = found[1], found[2]
        if kind == "console":
            lines = [line for line in text.splitlines() if line[:2] == "$ "]
            text = "".join(f"{line}\n{_ended(shown.pop(0))}" for line in lines)
        elif kind == "text":
            text = _ended(next(results))
        return f"```{kind}\n{text}```\n"

    kinds = [kind for kind, _ in blocks if kind in ("py", "text")]
    assert kinds == ["py", "text"] * len(programs), "what a Python block prints stands in a text block below it"
    made = BLOCK.sub(today, page)
    if accept:
        PAGE.write_text(made, "utf-8")
    else:
        assert made == page


def _ended(text: str) -> str:
    return text.rstrip("\n") + "\n" if text.strip() else ""


def test_every_document_is_named() -> None:
    documents = {f"docs/{path.name}" for path in PAGE.parent.glob("*.md")}
    assert documents - set(re.findall(r"\]\((docs/[\w-]+\.md)\)", (ROOT / "README.md").read_text("utf-8"))) == set()
    named = re.findall(r"\]\((docs/[\w-]+\.md)\)", (ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    assert documents - set(named) == set()


def test_the_links_of_the_page() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", PAGE.read_text("utf-8"))
    assert links and [link for link in links if not (PAGE.parent / link).exists()] == []
