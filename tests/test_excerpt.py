"""Carets stand under the place that is meant, in a terminal of any width."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from dlc.excerpt import CUT, excerpt
from hypothesis import given, settings, strategies as st
from rich.cells import cell_len

LINE = st.text(st.sampled_from("ab =+()\t€日本語é\u0301\x07"), min_size=1, max_size=400)


def under(shown: list[str]) -> str:
    """The text above the carets, by the columns of a terminal."""
    line, carets = shown[0], shown[1]
    first = carets.index("^")
    last = first + len(carets[first:]) - len(carets[first:].lstrip("^"))
    held, at = "", 0
    for c in line:
        if first <= at < last and cell_len(c):
            held += c
        at += cell_len(c)
    return held


@settings(deadline=None)
@given(line=LINE, place=st.data(), columns=st.none() | st.integers(1, 240))
def test_carets_are_under_the_place_and_nothing_wraps(line: str, place: st.DataObject, columns: int | None) -> None:
    start = place.draw(st.integers(0, len(line) - 1))
    end = place.draw(st.integers(start + 1, len(line)))
    shown, whole = excerpt(line, start, end, "this is too long for a line\nor two", "12", columns)
    drawn = "".join(c if c.isprintable() else " " for c in line[start:end])
    visible = "".join(c for c in drawn if cell_len(c))
    if visible:
        assert visible.startswith(under(shown)) and under(shown)
    width = max(map(cell_len, shown))
    if columns is not None:
        assert width <= max(columns, 26) + 2
    else:
        assert cell_len(shown[0]) <= CUT + 5
    assert whole == ("…" not in shown[0])
    assert "two" in shown[-1]


@pytest.mark.parametrize("columns", [40, 60, 100])
def test_a_terminal_gets_what_fits(columns: int, tmp_path: Path) -> None:
    pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
    import fcntl
    import struct
    import termios

    spec = tmp_path / "wide.dl"
    spec.write_text(
        "model m {\n    input x: float[batch, 4]\n    output z = "
        + " + ".join(["x * 1.5"] * 14)
        + " + x @ missing_name\n}\n",
        "utf-8",
    )
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"NO_COLOR": "1"}
    command = [sys.executable, "-c", "import sys; from dlc.cli import main; sys.exit(main())", "check", str(spec)]
    child = subprocess.Popen(command, stderr=side, env=env)
    os.close(side)
    said = b""
    with suppress(OSError):  # Linux says so when the other side is closed
        while part := os.read(main, 4096):
            said += part
    os.close(main)
    assert child.wait() == 2
    lines = said.decode().splitlines()
    code, carets = next((a, b) for a, b in pairwise(lines) if "^" in b)
    assert code[carets.index("^") : carets.rindex("^") + 1] == "missing_name" and len(code) <= columns
