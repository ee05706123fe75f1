"""What a compilation may be asked for, and what it does where it is not."""

from __future__ import annotations

HALVES = ("float16", "bfloat16")  # for CUDA; every other file must run without a GPU
PRECISIONS = ("float32", "float64", *HALVES)  # what `float` means in a file; the first unless another is asked for
MAX_NODES = 200_000  # operations that a spec may unroll to
