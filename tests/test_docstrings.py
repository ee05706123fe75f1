"""The examples in the docstrings of what `dlc` offers run as they stand, from a folder that holds the specs."""

from __future__ import annotations

import doctest
import inspect
import shutil
from pathlib import Path

import dlc
import pytest

SPECS = Path(__file__).parent.parent / "specs"
SHOWN = ("Trainer", "check", "compile", "fit", "load")  # what a program begins with: each has an example


@pytest.mark.parametrize("name", [name for name in dlc.__all__ if inspect.getdoc(getattr(dlc, name))])
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(SPECS, tmp_path / "specs")
    monkeypatch.chdir(tmp_path)
    found = doctest.DocTestFinder(recurse=True).find(getattr(dlc, name), name, module=False, globs={"dlc": dlc})
    examples = [one for one in found if one.examples]
    assert examples or name not in SHOWN
    said: list[str] = []
    for one in examples:
        doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(one, out=said.append)
    assert not said, "".join(said)
