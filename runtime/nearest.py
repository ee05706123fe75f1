"""What "did you mean" offers: the known names nearest to one that is unknown. Names come from files that anyone may
have written, so the work is bounded: next to nothing for each known name that cannot be near."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

LONGEST = 64  # characters; nobody means another name by a longer one


def distance(a: str, b: str, most: int) -> int:
    """Edits (insert, delete, replace, swap of neighbours) from a to b (Damerau 1964, restricted); where they are more
    than `most`, some number above it."""
    previous: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, previous, row = previous, row, [i] + [0] * len(b)
        for j, y in enumerate(b, 1):
            row[j] = min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                row[j] = min(row[j], before[j - 2] + 1)
        if min(row) > most and min(previous) > most:
            return most + 1
    return row[-1]


@lru_cache(maxsize=4096)
def _letters(name: str) -> int:
    """The set of a name's letters, folded into 64 bits."""
    found = 0
    for c in name:
        found |= 1 << (ord(c) & 63)
    return found


def nearest(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """The known names nearest to `name`, nearest first: what "did you mean" may offer."""
    if len(name) > LONGEST:
        return []
    most, letters, lower = max(1, len(name) // 3), _letters(name), name.lower()
    scored: list[tuple[float, str]] = []
    for candidate in dict.fromkeys(known):
        if len(candidate) > LONGEST or abs(len(candidate) - len(name)) > most:
            continue
        if candidate.lower() == lower:
            scored.append((0.5, candidate))
        elif (letters ^ _letters(candidate)).bit_count() <= 2 * most:  # an edit changes two letters of the set at most
            edits = distance(name, candidate, most)
            if edits <= most and edits < max(len(name), len(candidate)):  # one letter is not another
                scored.append((edits, candidate))
    return [candidate for _, candidate in sorted(scored)][:limit]


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A help line that offers the nearest known names, or None."""
    near = nearest(name, known)
    if not near:
        return None
    return "did you mean " + " or ".join(f"`{candidate}`" for candidate in near) + "?"
