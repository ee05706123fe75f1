"""What a spec does not say and the compiler did, in lines for people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any


def records(entries: Iterable[Any]) -> list[dict[str, str]]:
    """The entries of a module or of a file as JSON has them."""
    return [asdict(entry) for entry in entries]


def lines(supplied: Iterable[dict[str, str]]) -> list[str]:
    """`supplied: output probability, metric accuracy (y ~ categorical)`, and the settings of the train block."""
    shown: dict[str, list[str]] = {}
    settings = []
    for one in supplied:
        if one["kind"] == "setting":
            settings.append(f"{one['name']}: {one['by']}")
        else:
            shown.setdefault(one["by"], []).append(f"{one['kind']} {one['name']}")
    found = [f"supplied: {', '.join(names)} ({by})" for by, names in shown.items()]
    return found + ([f"supplied: {', '.join(settings)} (train)"] if settings else [])
