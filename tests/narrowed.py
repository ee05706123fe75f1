"""A plugin of pytest: of tests in blocks of random cases, the first block of each."""

from __future__ import annotations

import pytest

BLOCKS = 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept = [
        item
        for item in items
        if getattr(item, "callspec", None) is None or item.callspec.params.get("block", 0) < BLOCKS
    ]  # type: ignore[attr-defined]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept
