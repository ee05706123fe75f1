from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

CHECKED = pytest.StashKey[Counter[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--accept", action="store_true", help="take the messages of today as the expected ones")


@pytest.fixture
def accept(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--accept"))


@pytest.fixture
def checked(request: pytest.FixtureRequest) -> Callable[[Any], None]:
    """Counts one sample on which an operation was checked; the sum is in the summary."""
    counts = request.config.stash.setdefault(CHECKED, Counter())

    def count(op: Any) -> None:
        counts[op.name] += 1

    return count


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    counts = config.stash.get(CHECKED, Counter())
    if counts:
        line = f"{sum(counts.values()):,} checks of an operation on a sample: {len(counts)} operations"
        terminalreporter.write_line(f"{line}, at least {min(counts.values())} each")
