"""The project's counter generator on the host: the order of rows and the validation split come from it.

`squares` (Widynski 2020, "Squares: a fast counter-based RNG", arXiv:2004.06278) in NumPy uint64, as
docs/file-format.md says. A library's streams may change between versions; this one never does.
"""
from __future__ import annotations

from typing import Any

import numpy as np

K0 = 0x548C9DECBCE65297
# A file folds (key, step); no step comes to these two numbers, so their streams are never a spec's.
ORDER, SPLIT = 1 << 62, (1 << 62) + 1

Words = np.ndarray[Any, np.dtype[np.uint64]]


def squares32(counter: Words, key: int) -> Words:
    """32 random bits for each counter, shape [n] -> [n]. Arrays wrap silently modulo 2⁶⁴."""
    half = np.uint64(32)
    y = x = counter * np.uint64(key)
    z = y + np.uint64(key)
    for add in (y, z, y):
        x = x * x + add
        x = (x >> half) | (x << half)
    bits: Words = (x * x + z) >> half
    return bits


def words(data: Words, key: int) -> Words:
    """64 random bits for each number below 2⁶³: the draws 2 data and 2 data + 1, shape [n] -> [n]."""
    twice = data << np.uint64(1)
    return squares32(twice, key) << np.uint64(32) | squares32(twice + np.uint64(1), key)


def fold(key: int, data: int) -> int:
    """A key made from a key and a number: what `fold` is in a compiled file."""
    return (2 * int(words(np.array([data % (1 << 64)], np.uint64), key)[0]) + 1) % (1 << 64)


def permutation(rows: int, *, seed: int, purpose: int, turn: int = 0) -> np.ndarray:
    """The rows 0..rows-1 in the order of their words, shape [rows] int64; `turn` is the epoch."""
    key = fold(fold(fold(K0, seed), purpose), turn)
    return np.argsort(words(np.arange(rows, dtype=np.uint64), key), kind="stable")
