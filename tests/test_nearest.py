"""What "did you mean" offers, and that it costs next to nothing whatever the names are."""

from __future__ import annotations

import random
import time

import dlc
import pytest
from dlc.diagnostics import CompileError, Problems
from dlc.elaborate import meant
from dlc.runtime.nearest import did_you_mean, distance, nearest


def edits(a: str, b: str) -> int:
    """The definition, word for word (Damerau 1964, restricted)."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(len(a) + 1):
        for j in range(len(b) + 1):
            if not i or not j:
                table[i][j] = i + j
                continue
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (a[i - 1] != b[j - 1]))
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
    return table[-1][-1]


def test_the_bounds_leave_out_nothing_that_is_near() -> None:
    r = random.Random(0)
    words = ["".join(r.choice("abcé") for _ in range(r.randint(1, 9))) for _ in range(120)]
    for a in words:
        near = {b for b in words if edits(a, b) <= max(1, len(a) // 3) and edits(a, b) < max(len(a), len(b))}
        assert set(nearest(a, words, limit=len(words))) == near | {a}
        for b in words:
            assert min(distance(a, b, 3), 4) == min(edits(a, b), 4)


def test_offers() -> None:
    assert did_you_mean("Dense", ["dense", "dance"]) == "did you mean `dense`?"
    assert did_you_mean("sofmtax", ["softmax", "relu"]) == "did you mean `softmax`?"
    assert did_you_mean("y", ["x", "yy"]) == "did you mean `yy`?"
    assert did_you_mean("conv", []) is None


def test_long_names_cost_nothing() -> None:
    r = random.Random(1)
    long = ["".join(r.choice("ab") for _ in range(16_000)) for _ in range(20)]
    short = ["".join(r.choice("abcdefgh_") for _ in range(r.randint(2, 20))) for _ in range(400)]
    before = time.process_time()
    assert did_you_mean(long[0], [*long[1:], *short]) is None
    for _ in range(200):
        did_you_mean("".join(r.choice("ijklmn_") for _ in range(10)), [*long, *short])
    assert time.process_time() - before < 2


def test_names_are_sought_for_as_many_errors_as_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each seeks among all names of the text, so all of them would take the square of it."""
    sought: list[str] = []
    below = meant.defined_below
    monkeypatch.setattr(meant, "defined_below", lambda frame, name: sought.append(name.name) or below(frame, name))
    lines = "\n".join(f"    h{i} = name{i}q * 2" for i in range(200))
    with pytest.raises(CompileError) as caught:
        dlc.check(f"model m {{\n    input x: float[batch, 4]\n{lines}\n    output z = x\n}}")
    assert len(caught.value.diagnostics) == Problems.LIMIT
    assert sought == [f"name{i}q" for i in range(Problems.LIMIT)]
