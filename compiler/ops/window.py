"""Windows that slide over the last dimensions of a value [batch, channels, ...]: what convolution and pooling share.

For n sliding dimensions `strides` and `dilations` have n entries, `pads` the n before each dimension and then the n
after, as in ONNX. Window i starts at i * stride - before, and its element j lies at start + j * dilation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product as every
from typing import Any

import numpy as np

from ..ir.graph import Array
from ..ir.types import Shape, Size, TensorType, TypeProblem

Ints = tuple[int, ...]


def spatial_rank(name: str, type: TensorType) -> int:
    """How many dimensions the window slides over. E0360 if not one to three, E0302 for other values than floats."""
    if type.dtype != "float":
        raise TypeProblem("E0302", f"`{name}` does not take values of type `{type.dtype}`", {0: f"this is `{type}`"})
    if type.rank not in (3, 4, 5):
        raise TypeProblem(
            "E0360",
            "a window slides over one to three dimensions after batch and channels",
            {0: f"this is `{type}`"},
            "a single row of numbers needs a channel: `x[:, none]`",
        )
    return type.rank - 2


def extent(kernel: int, dilation: int) -> int:
    """How far a window reaches."""
    return dilation * (kernel - 1) + 1


def window_count(name: str, sizes: Shape, kernel: Ints, strides: Ints, pads: Ints, dilations: Ints) -> Shape:
    """How many windows fit in each dimension: (size + before + after - extent) // stride + 1. E0362 if none does.

    Of a free size it is taken that one fits.
    """
    found: list[Size] = []
    n = len(kernel)
    for i, size in enumerate(sizes):
        room = size + pads[i] + pads[n + i] - extent(kernel[i], dilations[i])
        if isinstance(room, int) and room < 0:
            wide = f"{extent(kernel[i], dilations[i])}" + (f" (dilated by {dilations[i]})" if dilations[i] > 1 else "")
            raise TypeProblem(
                "E0362",
                f"the window of `{name}` is larger than what it slides over",
                {0: f"dimension {i + 2} is {size}, padded {size + pads[i] + pads[n + i]}; the window reaches {wide}"},
                "a smaller kernel or more padding",
            )
        found.append(room // strides[i] + 1)
    return tuple(found)


def left_over(size: Size, windows: Size, kernel: int, stride: int, before: int, after: int, dilation: int) -> Size:
    """How many elements of the padded dimension no window reaches: 0 to stride - 1."""
    return size + before + after - extent(kernel, dilation) - (windows - 1) * stride


def windows(x: Array, kernel: Ints, strides: Ints, pads: Ints, dilations: Ints, fill: float = 0.0) -> Any:
    """A view [batch, channels, ...windows, ...kernel] of x padded with `fill`."""
    n = len(kernel)
    padded = np.pad(x, [(0, 0), (0, 0), *zip(pads[:n], pads[n:], strict=True)], constant_values=fill)
    reach = tuple(extent(k, d) for k, d in zip(kernel, dilations, strict=True))
    view = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=tuple(range(2, 2 + n)))
    steps = [slice(None, None, step) for step in (*strides, *dilations)]
    return view[(slice(None), slice(None), *steps)]


def spread_back(parts: Array, shape: Ints, strides: Ints, pads: Ints, dilations: Ints) -> Any:
    """The adjoint of `windows`: each element of x receives the sum over the windows that hold it."""
    n = len(shape) - 2
    kernel = parts.shape[2 + n :]
    padded = [size + pads[i] + pads[n + i] for i, size in enumerate(shape[2:])]
    total = np.zeros((*shape[:2], *padded))
    for at in np.ndindex(*kernel):
        place = [
            slice(j * d, j * d + (count - 1) * s + 1, s)
            for j, d, s, count in zip(at, dilations, strides, parts.shape[2 : 2 + n], strict=True)
        ]
        total[(slice(None), slice(None), *place)] += parts[(..., *at)]
    inside = [slice(before, before + size) for before, size in zip(pads, shape[2:], strict=False)]
    return total[(slice(None), slice(None), *inside)]


def offsets(kernel: Sequence[int]) -> Iterator[Ints]:
    """The places of a window in the order of memory."""
    return every(*[range(size) for size in kernel])


# --- ONNX forms that several rules write


def reshaped(out: Any, x: str, shape: Shape) -> str:
    return str(out.node("Reshape", [x, out.shape(shape)], allowzero=1))


def padded(out: Any, x: str, pads: Sequence[Size], fill: float = 0.0) -> str:
    """x with `fill` around its sliding dimensions; a negative pad takes away."""
    n = len(pads) // 2
    if not any(pads):
        return x
    whole = out.shape([0, 0, *pads[:n], 0, 0, *pads[n:]])
    return str(out.node("Pad", [x, whole, out.constant(fill, "float")]))


def taken(out: Any, x: str, at: Ints, count: Shape, strides: Ints, dilations: Ints) -> str:
    """Of a padded x the elements that lie at one place of their windows: [batch, channels, ...windows]."""
    starts = [j * d for j, d in zip(at, dilations, strict=True)]
    ends = [start + (c - 1) * s + 1 for start, c, s in zip(starts, count, strides, strict=True)]
    axes = range(2, 2 + len(at))
    return str(out.node("Slice", [x, *[out.shape(v) for v in (starts, ends, axes, strides)]]))


def spaced(out: Any, x: str, shape: Shape, strides: Ints) -> tuple[str, Shape]:
    """x with stride - 1 zeros between the elements of its sliding dimensions, and its shape."""
    sizes = list(shape)
    n = len(strides)
    if all(stride == 1 for stride in strides):
        return x, shape
    lone: list[Size] = [*sizes[:2]]
    pads = [0, 0]
    for size, stride in zip(sizes[2:], strides, strict=True):
        lone += [size, 1]
        pads += [0, stride - 1]
    x = reshaped(out, x, tuple(lone))
    x = out.node("Pad", [x, out.shape([0] * len(pads) + pads), out.constant(0.0, "float")])
    x = reshaped(out, x, (*sizes[:2], *[size * stride for size, stride in zip(sizes[2:], strides, strict=True)]))
    result = (*sizes[:2], *[(size - 1) * stride + 1 for size, stride in zip(sizes[2:], strides, strict=True)])
    return taken(out, x, (0,) * n, result[2:], (1,) * n, (1,) * n), result


# --- samples


def geometry(rng: np.random.Generator, *, largest: int = 4, dilate: bool = True) -> dict[str, Any]:
    """A random window that fits: sizes, kernel, strides, pads, dilations for one to three dimensions."""
    n = int(rng.choice([1, 2, 3], p=[0.35, 0.5, 0.15]))
    top = largest if n < 3 else 2
    kernel = tuple(int(k) for k in rng.integers(1, 4 if n < 3 else 3, n))
    dilations = tuple(int(d) for d in rng.choice([1, 2], size=n, p=[0.7, 0.3])) if dilate and n < 3 else (1,) * n
    strides = tuple(int(s) for s in rng.choice([1, 2, 3], size=n, p=[0.5, 0.4, 0.1]))
    pads = tuple(int(p) for p in rng.integers(0, 3, 2 * n)) if rng.random() < 0.7 else (0,) * (2 * n)
    sizes = tuple(
        int(rng.integers(0, top)) + max(1, extent(k, d) - pads[i] - pads[n + i])
        for i, (k, d) in enumerate(zip(kernel, dilations, strict=True))
    )
    return {"sizes": sizes, "kernel": kernel, "strides": strides, "pads": pads, "dilations": dilations}
