"""Memory at fixed addresses for the tensors of a step, and whether what it holds is finite."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .session import onnxruntime

ALIGN = 64  # bytes: a cache line, and the widest vector load
PAGE = 1 << 21  # bytes: a huge page
NAN, INFINITE = "NaN", "infinite"


SMALL = 10_000  # elements whose product with themselves one thread takes, in a third of a sum's time


def is_finite(array: np.ndarray) -> bool:
    """Whether every number of a float tensor is finite; true of other types. A sum says so in one pass without
    memory of its own, of squares or of numbers; only where it is not finite does each element count."""
    if array.dtype.kind in "iub":
        return True
    if array.size <= SMALL and array.dtype.char in "fd" and math.isfinite(np.vdot(array, array)):
        return True
    with np.errstate(all="ignore"):
        if array.dtype.kind == "f" and array.itemsize >= 4 and math.isfinite(float(array.sum())):
            return True
        return bool(np.isfinite(array).all())


def in_words(array: np.ndarray) -> str:
    """What an array that is not finite is."""
    return NAN if bool(np.isnan(array).any()) else INFINITE


class Block:
    """One piece of memory that arrays are cut from. NumPy asks the kernel to back a large one with huge pages, which
    spares a step the luck of single pages (docs/performance.md, Sessions)."""

    def __init__(self, size: int, align: int = PAGE) -> None:
        raw = np.zeros(size + align, np.uint8)
        start = -raw.ctypes.data % align
        self._bytes, self._used = raw[start : start + size], 0

    def array(self, shape: Sequence[int], dtype: np.dtype[np.generic]) -> np.ndarray:
        """Zeros that begin on a cache line."""
        size = nbytes(shape, dtype)
        start = self._used
        self._used += -(-size // ALIGN) * ALIGN
        return self._bytes[start : start + size].view(dtype).reshape(tuple(shape))


def nbytes(shape: Sequence[int], dtype: np.dtype[np.generic]) -> int:
    return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize


class Buffer:
    """A tensor at a fixed address of the device. On the CPU `array` is its memory, cut from a block or given."""

    __slots__ = ("array", "device", "value")

    def __init__(
        self,
        shape: Sequence[int],
        dtype: np.dtype[np.generic],
        device: str,
        block: Block | None = None,
        array: np.ndarray | None = None,
    ) -> None:
        self.device = device
        self.array = (block or Block(nbytes(shape, dtype), ALIGN)).array(shape, dtype) if array is None else array
        ort = onnxruntime().OrtValue
        if device == "cpu":
            self.value = ort.ortvalue_from_numpy(self.array)
        else:
            self.value = ort.ortvalue_from_numpy(self.array, device, 0)

    def write(self, array: np.ndarray) -> None:
        """Copies `array`, of the buffer's shape and dtype, in."""
        if self.device == "cpu":
            self.array[...] = array
        else:
            self.value.update_inplace(np.ascontiguousarray(array, self.array.dtype).reshape(self.array.shape))

    def read(self) -> np.ndarray:
        """A copy on the host."""
        return self.array.copy() if self.device == "cpu" else np.asarray(self.value.numpy())
