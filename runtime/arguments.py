"""Numbers that a caller gives: how many epochs, steps, rows, threads, and which seed."""

from __future__ import annotations

import numpy as np

from .failures import Error
from .metadata import COUNTS, Within, describe


def positive(name: str, value: object) -> int:
    return whole(name, value, COUNTS)


def whole(name: str, value: object, within: Within) -> int:
    """A number that a caller gives. Raises `Error` E0625 where it is not whole or out of its bounds."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not within.low <= value <= within.high:
        found = describe(value) if isinstance(value, int) else repr(value)
        raise Error("E0625", f"`{name}` takes an integer {within}, not {found}")
    return int(value)
