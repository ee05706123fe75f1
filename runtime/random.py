"""The project's counter generator on the host: the order of rows and the validation split come from it.

`squares` (Widynski 2020, "Squares: a fast counter-based RNG", arXiv:2004.06278) in NumPy uint64, as
docs/file-format.md says. A library's streams may change between versions; this one never does.
"""
from __future__ import annotations

from typing import Any

import numpy as np

K0 = 0x548C9DECBCE65297
MASK, LOW = (1 << 64) - 1, (1 << 32) - 1
# Draws of a spec fold (key, step); these two words are no step, so their streams are never a spec's.
ORDER, SPLIT = 1 << 63, (1 << 63) + 1

Words = np.ndarray[Any, np.dtype[np.uint64]]


def squares64(counter: Words, key: int) -> Words:
    """64 random bits for each counter, shape [n] -> [n]."""
    half = np.uint64(32)
    y = x = counter * np.uint64(key & MASK)  # arrays wrap silently modulo 2**64
    z = y + np.uint64(key & MASK)
    for add in (y, z, y):
        x = x * x + add
        x = (x >> half) | (x << half)
    t = x = x * x + z
    x = (x >> half) | (x << half)
    last: Words = t ^ ((x * x + y) >> half)
    return last


def fold(key: int, data: int) -> int:
    """A key made from a key and a number: 2 squares64(data, key) + 1, in Python's integers (one number is
    faster so)."""
    y = x = data * key & MASK
    z = y + key & MASK
    for add in (y, z, y):
        x = x * x + add & MASK
        x = x >> 32 | (x & LOW) << 32
    t = x = x * x + z & MASK
    x = x >> 32 | (x & LOW) << 32
    return 2 * (t ^ (x * x + y & MASK) >> 32) + 1 & MASK


def permutation(rows: int, *, seed: int, purpose: int, turn: int = 0) -> np.ndarray:
    """The rows 0..rows-1 in the order of their draws, shape [rows] int64; `turn` is the epoch."""
    key = fold(fold(fold(K0, seed), purpose), turn)
    return np.argsort(squares64(np.arange(rows, dtype=np.uint64), key), kind="stable")
