"""The bar of a terminal, narrow and wide: what moves, how fast and how long still, and nothing cut off."""

from __future__ import annotations

import io
import re

import pytest
from dlc.cli.progress import NARROW, Bar
from dlc.runtime.callbacks import Start
from rich.console import Console

START = Start("digits", "cpu", 7, 1438, 359, 64, 0, 1380, 0, 60, None)


@pytest.mark.parametrize("columns", [32, 40, 60, NARROW - 1, NARROW, 120])
def test_what_the_bar_shows(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Console(file=io.StringIO(), force_terminal=True, width=columns, color_system=None)
    monkeypatch.setattr("rich._console", told)  # that of standard output
    bar = Bar()
    bar.progress.update(bar.task, total=START.steps)
    times = iter(range(1000))
    monkeypatch.setattr("dlc.cli.progress.time.monotonic", lambda: next(times))
    monkeypatch.setattr(bar.progress, "get_time", lambda: next(times) / 50)
    for step in range(0, 400, 10):
        bar.on_step(step, {"loss": 0.25, "accuracy": 0.9688})
    told.print(bar.progress.get_renderable())
    [line] = told.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(line) <= columns and "…" not in line and "━━" in line
    assert re.search(r" 390/1380 +\d+/s +(\d:)?\d\d:\d\d", line), line
    assert ("loss 0.25 accuracy 0.9688" in line) == (columns >= NARROW)
