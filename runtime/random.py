"""The project's counter generator on the host: the order of rows and the validation split come from it.

The generator of the compiled files in NumPy uint64, as docs/file-format.md says it. A library's streams may change
between versions; this one never does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import native

K0 = 0x548C9DECBCE65297  # the key that seeds are folded into
STRIDE = 0x9E3779B97F4A7C15  # between the counters of draws: odd, 2⁶⁴ over the golden ratio
FACTOR = 0xD6E8FEB86659FD93  # odd, with irregular bits
# How far the upper bits of the second square come down. By 32 places bits 0 to 7 and 32 to 39 of the sum would depend
# on the same low bits of a square, which has few residues; by 25 every low bit meets upper ones.
DOWN = 25
LAST = (1 << 64) - 1
# A file folds (key, step); no step comes to these numbers, so their streams are never a spec's.
ORDER, SPLIT, BATCH, CALL = 1 << 62, (1 << 62) + 1, (1 << 62) + 2, (1 << 62) + 3

Words = np.ndarray[Any, np.dtype[np.uint64]]


def mixed(x: Words, factor: int) -> Words:
    """64 random bits for each number, of the shape of x; modulo 2⁶⁴. In one piece of memory beside x and the bits:
    with one for each operation the time goes into asking for them."""
    with np.errstate(over="ignore"):
        y = np.multiply(x, x, out=np.empty_like(x))
        np.right_shift(y, np.uint64(32), out=y)
        np.add(y, x, out=y)
        np.multiply(y, y, out=y)
        bits: Words = np.right_shift(y, np.uint64(DOWN), out=np.empty_like(y))
        np.add(bits, y, out=bits)
        return np.multiply(bits, np.uint64(factor), out=bits)


def words(counter: Words, key: int | Words) -> Words:
    """64 random bits for each counter: those of a draw of the key, of the shape of `counter`."""
    with np.errstate(over="ignore"):
        return mixed(np.asarray(counter * np.uint64(STRIDE) + np.asarray(key, np.uint64)), FACTOR)


def fold(key: int, data: int) -> int:
    """A key made from a key and a number: what `fold` is in a compiled file, and `mixed` of one number."""
    x = (key + data * FACTOR) & LAST
    y = ((x * x & LAST) >> 32) + x & LAST
    z = y * y & LAST
    return (z + (z >> DOWN)) * STRIDE & LAST


def batch_key(key: int, row: int) -> int:
    """The key of a batch that begins with this row, where one key is given for all: the first keeps it."""
    return fold(fold(key, BATCH), row) if row else key


def call_key(key: int, call: int) -> int:
    """The key of a prediction, call number 0, 1, ... of a trainer: the first keeps that of the file."""
    return fold(fold(key, CALL), call) if call else key


def permutation(rows: int, *, seed: int, purpose: int, turn: int = 0, own: tuple[int, ...] = ()) -> np.ndarray:
    """The rows 0..rows-1 in the order of their words, shape [rows] int64; `turn` is the epoch, and `own` numbers tell
    orders of one epoch apart."""
    key = fold(fold(fold(K0, seed), purpose), turn)
    for number in own:
        key = fold(key, number)
    order = native.order(rows, key)
    return ranked(words(np.arange(rows, dtype=np.uint64), key)) if order is None else order


def balanced(labels: np.ndarray, *, seed: int, turn: int = 0) -> np.ndarray:
    """As many rows as there are labels, drawn with replacement: for each a class, each with the same chance, and a row
    of that class. Shape [rows] int64; `turn` is the epoch."""
    rows = np.arange(len(labels), dtype=np.uint64)
    key = fold(fold(fold(K0, seed), ORDER), turn)
    _, members, counts = np.unique(labels, return_inverse=True, return_counts=True)
    chosen = (words(rows, fold(key, 1)) % np.uint64(len(counts))).astype(np.int64)
    place = (words(rows, fold(key, 2)) % counts[chosen].astype(np.uint64)).astype(np.int64)
    starts = np.cumsum(counts) - counts
    sorted_ = np.argsort(members.reshape(-1), kind="stable")
    return np.take(sorted_, starts[chosen] + place)


def weighted(weights: np.ndarray, *, seed: int, turn: int = 0) -> np.ndarray:
    """As many rows as there are weights, drawn with replacement, each with a chance in proportion to its weight: these
    are numbers of which none is negative and whose sum is finite and above 0. Shape [rows] int64; `turn` is
    the epoch."""
    key = fold(fold(fold(fold(K0, seed), ORDER), turn), 1)
    ends = np.cumsum(weights, dtype=np.float64)
    share = (words(np.arange(len(weights), dtype=np.uint64), key) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    place: np.ndarray = np.searchsorted(ends, share * ends[-1], side="right")
    return place


def ranked(drawn: Words) -> np.ndarray:
    """The places of words in the order of these, equal ones as they stand: what a stable argsort gives, in a quarter of
    its time. Sorted by 16 bits at a time, which NumPy does in linear time, from the lowest of the upper ones on; where
    two are the same in those, all 64 decide."""
    digits = 2 if len(drawn) < 1 << 15 else 3 if len(drawn) < 1 << 22 else 4  # that are hardly ever the same
    order = _by_digits(drawn, digits)
    if digits < 4:
        upper = drawn[order] >> np.uint64(64 - 16 * digits)
        if bool((upper[1:] == upper[:-1]).any()):
            return _by_digits(drawn, 4)
    return order


def _by_digits(drawn: Words, digits: int) -> np.ndarray:
    """A stable argsort by the upper digits of 16 bits."""
    order: np.ndarray | None = None
    for shift in range(64 - 16 * digits, 64, 16):
        digit = (drawn >> np.uint64(shift)).astype(np.uint16)
        found = np.argsort(digit if order is None else digit[order], kind="stable")
        order = found if order is None else order[found]
    assert order is not None
    return order
