"""`%%dlc` in IPython: a cell is a spec, and what is wrong with it is said as the command line says it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from dlc.runtime import History

pytestmark = pytest.mark.skipif(find_spec("IPython") is None, reason="the magic `%%dlc` needs IPython")
ROOT = Path(__file__).parent.parent
NET = """%%dlc net --set hidden=7
model net(hidden = 128) {
    input  x: float[batch, 64]
    target y: int[batch]
    logits = x |> dense(hidden) |> relu |> dense(10)
    y ~ categorical(logits = logits)
}
train { minimize loss using adam(1e-2) }
"""


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    from IPython.core.interactiveshell import InteractiveShell

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.chdir(tmp_path)
    from traitlets.config import Config

    made = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False, "hist_file": ":memory:"}))
    made.run_line_magic("load_ext", "dlc")
    yield made
    made.run_line_magic("reset", "-f")
    InteractiveShell.clear_instance()


def test_a_cell_is_a_program(shell: Any) -> None:
    done = shell.run_cell(NET)
    assert done.success and done.result is shell.user_ns["net"]
    assert done.result.settings["model"]["hidden"] == 7
    page = done.result._repr_html_()
    assert "<iframe" in page and 'sandbox="allow-scripts"' in page and "dense.W" in page
    assert shell.run_cell(NET.replace("%%dlc net --set hidden=7", "%%dlc")).result is shell.user_ns["program"]


def test_what_is_wrong_is_said_without_a_traceback(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    done = shell.run_cell(NET.replace("dense(10)", "dnse(10)"))
    said = capsys.readouterr()
    assert not done.success and "net" not in shell.user_ns
    shown = said.out + said.err
    assert (
        "error[E0201]: `dnse` is not defined" in shown and "--> cell.dl:4:" in shown and "did you mean `dense`" in shown
    )
    assert "Traceback" not in shown and "notebook.py" not in shown


@pytest.mark.parametrize(
    "line", ["%%dlc a b", "%%dlc 3", "%%dlc net --sett x=1", "%%dlc net --set hidden", "%%dlc 'net"]
)
def test_a_line_that_cannot_be_understood(shell: Any, capsys: pytest.CaptureFixture[str], line: str) -> None:
    assert not shell.run_cell(NET.replace("%%dlc net --set hidden=7", line)).success
    said = capsys.readouterr()
    assert "E0790" in said.out + said.err and "Traceback" not in said.out + said.err


def test_imports_and_warnings(shell: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Files are found in the folder that the notebook runs in."""
    (tmp_path / "blocks.dl").write_text("fn relu(x) = maximum(x, 0)\n", "utf-8")
    head, _, body = NET.partition("\n")
    assert shell.run_cell(f'{head}\nimport "blocks.dl"\n{body}').success
    own = NET.replace("model net", "fn relu(x) = maximum(x, 0)\nmodel net")
    assert shell.run_cell(own).success
    assert "warning[W0202]" in capsys.readouterr().err


def test_a_history_shows_curves_and_what_was_kept() -> None:
    records = [
        {"epoch": k, "step": 5 * k, "seconds": 0.1 * k, "train": {"loss": 1 / k, "<b>": 2.0}, "validation": {"loss": v}}
        for k, v in ((1, 0.9), (2, 0.4), (3, math.inf), (4, 0.6))
    ]
    history = History(records, best=2, steps=20, seconds=0.0214, stopped=True)
    page = history._repr_html_()
    picture = ElementTree.fromstring(page[: page.index("</svg>") + 6])
    words = " ".join("".join(picture.itertext()).split())
    assert "loss" in words and "<b>" in words and "<b>" not in page and "0.25" in words
    key, dashed = (one for one in picture.iter("path") if one.get("stroke-dasharray"))
    assert (key.get("d") or "").count("h") == 1 and words.count("train") == 3  # beside the titles of both lines
    assert (dashed.get("d") or "").count("M") == 2 and "inf" not in (dashed.get("d") or "")  # a gap at infinity
    assert '<tr style="font-weight: bold"><td>2</td>' in page and page.count("bold") == 3
    assert page.endswith("20 updates in 0.0214 s, stopped early")
    assert History(records[:1])._repr_html_().startswith("<table>") and History()._repr_html_().startswith("<table>")
    long = History([{**records[0], "epoch": k} for k in range(1, 61)])._repr_html_()
    assert "the last 40 of 60 epochs" in long and "<td>21</td>" in long and "<td>20</td>" not in long
