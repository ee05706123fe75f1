"""Specs mutated at random: whatever the text, the answer is a module, a file or a diagnostic, never a traceback, in 5
seconds of processor time and 1 GB."""

from __future__ import annotations

import sys

import pytest
from mutations import FILES, TEXTS, TooLong, bounded, mutated, survives

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="bounds time and memory as Linux does")
PART = 100  # specs of one test


def every(numbers: range) -> None:
    """All mutations of these numbers; what fails is told by its number."""
    wrong = []
    for number in numbers:
        try:
            survives(mutated(number))
        except (Exception, TooLong) as problem:
            wrong.append(f"mutated({number}): {type(problem).__name__}: {problem}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("part", range(15))
def test_mutated(part: int) -> None:
    every(range(PART * part, PART * (part + 1)))


@pytest.mark.long
@pytest.mark.parametrize("part", range(15, 215))
def test_mutated_at_length(part: int) -> None:
    every(range(PART * part, PART * (part + 1)))


@pytest.mark.parametrize("text", TEXTS, ids=[path.stem for path in FILES])
def test_unmutated(text: str) -> None:
    survives(text)


def test_the_bounds_hold() -> None:
    with pytest.raises(TooLong), bounded(seconds=0.05):
        while True:
            pass
    with pytest.raises(MemoryError), bounded(memory=2**26):
        bytearray(2**28)
