"""The names of the columns of a table, and which one is meant: the one that is written so, else the one that differs
in nothing but blanks at its ends and how its accents are encoded."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..failures import Error


def plain(name: str) -> str:
    """A name without blanks at its ends, its accents in one form (NFC)."""
    return unicodedata.normalize("NFC", name).strip()


class Header:
    """Names of columns in their order. `place` finds one."""

    def __init__(self, names: Iterable[str], where: str) -> None:
        self.names, self.where = list(names), where
        self._exact = {name: i for i, name in enumerate(self.names)}
        self._alike: dict[str, list[int]] = {}
        for i, name in enumerate(self.names):
            self._alike.setdefault(plain(name), []).append(i)

    def place(self, name: str) -> int | None:
        """Which column is called so; None where none is. Raises `Error` E0623 where several could be meant."""
        if name in self._exact:
            return self._exact[name]
        alike = self._alike.get(plain(name), [])
        if len(alike) > 1:
            raise Error(
                "E0623",
                f"`{name}` could be any of {len(alike)} columns",
                where=self.where,
                notes=["the data have " + ", ".join(f'"{self.names[i]}"' for i in alike)],
                help="write it exactly as one of them is written, or rename or drop the others",
            )
        return alike[0] if alike else None

    def __contains__(self, name: str) -> bool:
        return self.place(name) is not None


def opened(text: Iterator[str]) -> tuple[list[str], Any]:
    """The names in the first row of a CSV file that is not empty, as they are written, and the reader of the rows below
    it, which leaves out blanks behind a comma."""
    above: list[str] = []
    head = True

    def lines() -> Iterator[str]:
        for line in text:
            above.append(line)
            yield line
            if not head:
                break
        yield from text

    rows = csv.reader(lines(), skipinitialspace=True)
    names = next((row for row in rows if len(row) > 1 or any(cell.strip() for cell in row)), [])
    head = False
    written = next((row for row in csv.reader(above) if row and len(row) == len(names)), names)
    # A quotation mark behind a blank opens no quotation there: such a name is the one without the blank.
    return [b if b.strip() == a.strip() else a for a, b in zip(names, written, strict=True)], rows


def check_names(names: Sequence[str], where: str) -> None:
    """E0623 for a column that is there twice."""
    seen: set[str] = set()
    for name in names:
        if name and name in seen:
            raise Error("E0623", f"two columns are called `{name}`", where=where, help="rename or drop one")
        seen.add(name)
