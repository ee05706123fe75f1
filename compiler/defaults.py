"""What a compilation may be asked for, and what it does where it is not."""

from __future__ import annotations

HALVES = ("float16", "bfloat16")
ELEMENTS = ("float32", "float64")  # what `float` of a file may be
# What a compilation may ask for; the first unless another is asked for. Of "float16" and "bfloat16" products alone are
# computed in 16 bits; "mixed" is another name of "float16".
PRECISIONS = (*ELEMENTS, *HALVES, "mixed")
MAX_NODES = 200_000  # operations that a spec may unroll to


def element_and_half(precision: str) -> tuple[str, str | None]:
    """What a file of a precision holds, and in what it multiplies matrices where that is another type."""
    if precision in (*HALVES, "mixed"):
        return "float32", "bfloat16" if precision == "bfloat16" else "float16"
    return precision, None
