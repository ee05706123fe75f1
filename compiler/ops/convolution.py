"""Convolution and its two adjoints: three linear forms of one trilinear sum, closed under differentiation.

    T(x, w, g) = Σ g[b, o, p] w[o, c, j] x[b, c, p * stride - before + j * dilation]

`conv` is its derivative by g, `conv_input` that by x (a transposed convolution), `conv_weight` that by w, so the
derivative of each of the three by any of its operands is one of the three again. As in deep learning, and not in
signal processing, the kernel is not flipped. Shapes: x [batch, channels, ...], w [out, channels / groups, ...kernel],
g [batch, out, ...windows], for one to three sliding dimensions; output channel group i sees input channel group i.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir.apart import Apart, Slices
from ..ir.graph import Array, Node
from ..ir.op import Op, Sample, define, linear
from ..ir.types import Dim, Shape, Size, TensorType, TypeProblem, product
from .window import (
    Ints,
    extent,
    geometry,
    left_over,
    offsets,
    padded,
    reshaped,
    spaced,
    spatial_rank,
    spread_back,
    taken,
    window_count,
    windows,
)

# --- types


def _kernel(w: TensorType) -> Ints:
    sizes = [size for size in w.shape[2:] if isinstance(size, int)]
    if len(sizes) < w.rank - 2 or 0 in sizes:
        raise TypeProblem("E0363", "the sizes of a kernel are numbers above 0", {1: f"this is `{w}`"})
    return tuple(sizes)


def _infer(x: TensorType, w: TensorType, strides: Ints, pads: Ints, dilations: Ints, groups: int) -> TensorType:
    n = spatial_rank("conv", x)
    if w.dtype != "float" or w.rank != x.rank:
        raise TypeProblem(
            "E0360",
            f"a kernel over {n} dimension{'s' * (n > 1)} has {n + 2}: [out, channels / groups, ...kernel]",
            {0: f"this is `{x}`", 1: f"this is `{w}`"},
        )
    kernel = _kernel(w)
    out, per_group = w.shape[:2]
    if x.shape[1] != per_group * groups:
        each = f"{groups} groups of {per_group}" if groups > 1 else str(per_group)
        raise TypeProblem(
            "E0361",
            f"the kernel takes {each} channels, and there are {x.shape[1]}",
            {0: f"this is `{x}`", 1: f"this is `{w}`"},
        )
    if isinstance(out, int) and out % groups:
        raise TypeProblem("E0361", f"{out} output channels do not divide into {groups} groups", {1: f"this is `{w}`"})
    count = window_count("conv", x.shape[2:], kernel, strides, pads, dilations)
    return TensorType("float", (x.shape[0], out, *count))


def _input_infer(g: TensorType, w: TensorType, shape: Shape, **how: Any) -> TensorType:
    _same(g, _infer(TensorType("float", shape), w, **how), 0)
    return TensorType("float", shape)


def _weight_infer(x: TensorType, g: TensorType, shape: Shape, **how: Any) -> TensorType:
    _same(g, _infer(x, TensorType("float", shape), **how), 1)
    return TensorType("float", shape)


def _same(g: TensorType, expected: TensorType, number: int) -> None:
    if g != expected:
        raise TypeProblem(
            "E0364", f"a convolution of these shapes has the result `{expected}`", {number: f"this is `{g}`"}
        )


# --- NumPy


def _grouped(x: Array, groups: int, axis: int) -> list[Array]:
    return np.split(x, groups, axis=axis)


def _conv(x: Array, w: Array, strides: Ints, pads: Ints, dilations: Ints, groups: int) -> Any:
    n = x.ndim - 2
    seen = windows(x, w.shape[2:], strides, pads, dilations)
    inner: Any = [1, *range(2 + n, 2 + 2 * n)], [1, *range(2, 2 + n)]
    parts: list[Array] = [
        np.tensordot(v, k, inner) for v, k in zip(_grouped(seen, groups, 1), _grouped(w, groups, 0), strict=True)
    ]
    return np.moveaxis(np.concatenate(parts, -1), -1, 1)


def _conv_input(g: Array, w: Array, shape: Ints, strides: Ints, pads: Ints, dilations: Ints, groups: int) -> Any:
    parts = [
        np.moveaxis(np.tensordot(v, k, ([1], [0])), g.ndim - 1, 1)  # [batch, channels, ...windows, ...kernel]
        for v, k in zip(_grouped(g, groups, 1), _grouped(w, groups, 0), strict=True)
    ]
    return spread_back(np.concatenate(parts, 1), shape, strides, pads, dilations)


def _conv_weight(x: Array, g: Array, shape: Ints, strides: Ints, pads: Ints, dilations: Ints, groups: int) -> Any:
    n = x.ndim - 2
    seen = windows(x, shape[2:], strides, pads, dilations)
    outer = [0, *range(2, 2 + n)]
    parts = [
        np.tensordot(k, v, (outer, outer))
        for v, k in zip(_grouped(seen, groups, 1), _grouped(g, groups, 1), strict=True)
    ]
    return np.concatenate(parts, 0)


# --- derivatives


def _grad(g: Node, y: Node, x: Node, w: Node, **how: Any) -> list[Node]:
    return [conv_input(g, w, shape=x.shape, **how), conv_weight(x, g, shape=w.shape, **how)]


def _input_grad(u: Node, y: Node, g: Node, w: Node, shape: Shape, **how: Any) -> list[Node]:
    return [conv(u, w, **how), conv_weight(u, g, shape=w.shape, **how)]


def _weight_grad(v: Node, y: Node, x: Node, g: Node, shape: Shape, **how: Any) -> list[Node]:
    return [conv_input(g, v, shape=x.shape, **how), conv(x, v, **how)]


# --- ONNX


def _left_over(x: Shape, w: Shape, windows: Shape, strides: Ints, pads: Ints, dilations: Ints) -> list[Size]:
    n = len(strides)
    kernel = w[2:]
    return [
        left_over(x[2 + i], windows[i], int(kernel[i]), strides[i], pads[i], pads[n + i], dilations[i])  # type: ignore[arg-type]
        for i in range(n)
    ]


def _lower(out: Any, node: Node, x: str, w: str) -> str:
    how = node.attrs
    if out.precision == "float64":
        source, kernel = node.inputs
        return by_products(out, x, source.shape, w, kernel.shape, node.shape[2:], **how)
    return _kernel_node(out, x, w, _kernel(node.inputs[1].type), **how)


def _kernel_node(
    out: Any, x: str, w: str, kernel: Ints, strides: Ints, pads: Ints, dilations: Ints, groups: int
) -> str:
    return str(
        out.node(
            "Conv",
            [x, w],
            auto_pad="NOTSET",
            kernel_shape=kernel,
            strides=strides,
            pads=pads,
            dilations=dilations,
            group=groups,
        )
    )


def _columns(
    out: Any,
    x: str,
    x_shape: Shape,
    kernel: Ints,
    count: Shape,
    strides: Ints,
    pads: tuple[Size, ...],
    dilations: Ints,
    groups: int,
) -> str:
    """[batch, groups, channels / groups * |kernel|, |windows|]: what each window sees, one column a window."""
    whole = padded(out, x, pads)
    batch, per_group = x_shape[0], x_shape[1] // groups
    each = (batch, groups, per_group, 1, product(count))
    parts = [reshaped(out, taken(out, whole, at, count, strides, dilations), each) for at in offsets(kernel)]
    joined = out.node("Concat", parts, axis=3) if len(parts) > 1 else parts[0]
    return reshaped(out, joined, (batch, groups, per_group * len(parts), product(count)))


def by_products(
    out: Any,
    x: str,
    x_shape: Shape,
    w: str,
    w_shape: Shape,
    count: Shape,
    strides: Ints,
    pads: tuple[Size, ...],
    dilations: Ints,
    groups: int,
) -> str:
    """The convolution as one batched product with the columns: where there is no kernel, as in float64."""
    kernel = tuple(int(size) for size in w_shape[2:])  # type: ignore[arg-type]
    columns = _columns(out, x, x_shape, kernel, count, strides, pads, dilations, groups)
    rows = reshaped(out, w, (groups, w_shape[0] // groups, w_shape[1] * product(kernel)))
    return reshaped(out, out.node("MatMul", [rows, columns]), (x_shape[0], w_shape[0], *count))


def _turned(out: Any, w: str, w_shape: Shape, groups: int) -> tuple[str, Shape]:
    """The kernel of the adjoint: in and out exchanged within each group, every sliding dimension reversed."""
    kernel = w_shape[2:]
    n = len(kernel)
    o, c = w_shape[0] // groups, w_shape[1]
    if groups > 1:
        w = out.node("Transpose", [reshaped(out, w, (groups, o, c, *kernel))], perm=[0, 2, 1, *range(3, 3 + n)])
        w = reshaped(out, w, (groups * c, o, *kernel))
    else:
        w = out.node("Transpose", [w], perm=[1, 0, *range(2, 2 + n)])
    axes = [2 + i for i, size in enumerate(kernel) if size != 1]
    if axes:
        last, before_all = [-1] * len(axes), [-(2**63) + 1] * len(axes)
        w = out.node("Slice", [w, *[out.shape(v) for v in (last, before_all, axes, last)]])
    return w, (groups * c, o, *kernel)


def _input_lower(out: Any, node: Node, g: str, w: str) -> str:
    how = {name: value for name, value in node.attrs.items() if name != "shape"}
    return lower_adjoint(out, g, node.inputs[0].shape, w, node.inputs[1].shape, node.shape, **how)


def lower_adjoint(
    out: Any,
    g: str,
    g_shape: Shape,
    w: str,
    w_shape: Shape,
    shape: Shape,
    strides: Ints,
    pads: Ints,
    dilations: Ints,
    groups: int,
) -> str:
    """A convolution of the adjoint with the turned kernel at a stride of 1 where that is no dearer, or ConvTranspose.

    What they cost grows with the columns they write: [out * |kernel|, |x|] of Conv, [channels * |kernel|, |g|] of
    ConvTranspose, which adds them up on one thread. ConvTranspose has equal pads on both sides (CUDA has no kernel
    for others); the rest is sliced off.
    """
    n, kernel = len(strides), tuple(int(size) for size in w_shape[2:])  # type: ignore[arg-type]
    sizes, count = shape[2:], g_shape[2:]
    reach = [extent(k, d) - 1 for k, d in zip(kernel, dilations, strict=True)]
    before = [r - pad for r, pad in zip(reach, pads, strict=False)]
    after = [size - 1 + pad - (c - 1) * s for size, pad, c, s in zip(sizes, pads, count, strides, strict=False)]
    simple = all(isinstance(pad, int) and pad >= 0 for pad in (*before, *after)) and set(strides) == {1}
    if simple and not any(isinstance(size, Dim) for size in (*shape[1:], *g_shape[1:])):
        direct, turned_back = product((g_shape[1], *sizes)), product((shape[1], *count))
        simple = direct <= 2 * turned_back  # type: ignore[operator]
    if simple or out.precision == "float64":
        turned, turned_shape = _turned(out, w, w_shape, groups)
        x, x_shape = spaced(out, g, g_shape, strides)
        adjoint: dict[str, Any] = {
            "strides": (1,) * n,
            "pads": (*before, *after),
            "dilations": dilations,
            "groups": groups,
        }
        if out.precision == "float64":
            return by_products(out, x, x_shape, turned, turned_shape, sizes, **adjoint)
        return _kernel_node(out, x, turned, kernel, **adjoint)
    rest = _left_over(shape, w_shape, count, strides, pads, dilations)
    equal = [min(pads[i], pads[n + i]) for i in range(n)]
    longer = [r if isinstance(r, int) else s - 1 for r, s in zip(rest, strides, strict=True)]
    y = out.node(
        "ConvTranspose",
        [g, w],
        auto_pad="NOTSET",
        kernel_shape=kernel,
        strides=strides,
        dilations=dilations,
        group=groups,
        pads=[*equal, *equal],
        output_padding=longer,
    )
    starts = [pads[i] - equal[i] for i in range(n)]
    made = [
        (c - 1) * s + r + 1 + more - 2 * e
        for c, s, r, more, e in zip(count, strides, reach, longer, equal, strict=True)
    ]
    cut = [i for i in range(n) if starts[i] or made[i] != sizes[i]]
    if cut:
        rows = ([starts[i] for i in cut], [starts[i] + sizes[i] for i in cut], [2 + i for i in cut])
        y = out.node("Slice", [y, *[out.shape(row) for row in rows]])
    return str(y)


def _weight_lower(out: Any, node: Node, x: str, g: str) -> str:
    """One convolution with channels last, in which the adjoint is the kernel; products of columns elsewhere.

    The image [1, batch, h, w * channels] meets the kernel g [out, batch, ...windows], dilated by the stride, and by
    stride * channels in its last dimension: the batch takes the place of the channels, and each place of the kernel
    that slides is a run of `channels` numbers. So the columns that the product needs are never in memory at once.
    """
    how = {name: value for name, value in node.attrs.items() if name != "shape"}
    strides, pads, dilations, groups = (how[name] for name in ("strides", "pads", "dilations", "groups"))
    (source, adjoint), n = node.inputs, len(how["strides"])
    kernel = _kernel(node.type)
    batch, sizes, count = source.shape[0], source.shape[2:], adjoint.shape[2:]
    per_group = node.shape[1]
    if out.precision == "float64" or product(kernel) == 1 or isinstance(per_group, Dim) or _empty(source, adjoint):
        columns = _columns(out, x, source.shape, kernel, count, **how)
        columns = out.node("Transpose", [columns], perm=[0, 1, 3, 2])
        rows = reshaped(out, g, (batch, groups, node.shape[0] // groups, product(count)))
        total = out.node("ReduceSum", [out.node("MatMul", [rows, columns]), out.shape([0])], keepdims=0)
        return reshaped(out, total, node.shape)

    wide = [*[1] * (n - 1), per_group]  # what a step to the next place is in the channels-last image
    if groups > 1:
        x = reshaped(out, x, (batch, groups, per_group, *sizes))
        x = out.node("Transpose", [x], perm=[1, 0, *range(3, 3 + n), 2])
    elif per_group != 1:
        x = out.node("Transpose", [x], perm=[0, *range(2, 2 + n), 1])
    image = reshaped(out, x, (1, groups * batch, *sizes[:-1], sizes[-1] * per_group))
    turned = out.node("Transpose", [g], perm=[1, 0, *range(2, 2 + n)])
    rest = _left_over(source.shape, node.shape, count, strides, pads, dilations)
    after = [max(pads[n + i] - r, 0) if isinstance(r, int) else pads[n + i] for i, r in enumerate(rest)]
    attributes: dict[str, Any] = {"kernel_shape": count} if all(isinstance(c, int) for c in count) else {}
    y = out.node(
        "Conv",
        [image, turned],
        auto_pad="NOTSET",
        group=groups,
        strides=[1] * n,
        dilations=[s * w for s, w in zip(strides, wide, strict=True)],
        pads=[*[p * w for p, w in zip(pads, wide, strict=False)], *[p * w for p, w in zip(after, wide, strict=True)]],
        **attributes,
    )
    made = [size + pads[i] + after[i] - (count[i] - 1) * strides[i] for i, size in enumerate(sizes)]
    y = reshaped(out, y, (node.shape[0], *made, per_group))
    cut = [i for i in range(n) if made[i] != kernel[i]]
    if cut:
        places = (
            [0] * len(cut),
            [extent(kernel[i], dilations[i]) for i in cut],
            [1 + i for i in cut],
            [dilations[i] for i in cut],
        )
        y = out.node("Slice", [y, *[out.shape(values) for values in places]])
    return str(out.node("Transpose", [y], perm=[0, n + 1, *range(1, n + 1)]))


def _empty(*nodes: Node) -> bool:
    return any(product(node.shape) == 0 for node in nodes)


# --- the operations


def _drawn(rng: np.random.Generator) -> tuple[Array, Array, Array, dict[str, Any]]:
    """x, w and g of one convolution, and how it goes."""
    place = geometry(rng, largest=3)
    groups = int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))
    per_group, out = (1 if groups > 2 else int(rng.integers(1, 3)) for _ in range(2))
    batch = 0 if rng.random() < 0.1 else int(rng.integers(1, 3))
    how = {name: place[name] for name in ("strides", "pads", "dilations")} | {"groups": groups}
    x = rng.uniform(-2, 2, (batch, per_group * groups, *place["sizes"]))
    w = rng.uniform(-2, 2, (out * groups, per_group, *place["kernel"]))
    y = _conv(x, w, **how)
    return x, w, rng.uniform(-2, 2, y.shape), how


def _samples(rng: np.random.Generator) -> Sample:
    x, w, _, how = _drawn(rng)
    return Sample((x, w), how)


def _input_samples(rng: np.random.Generator) -> Sample:
    x, w, g, how = _drawn(rng)
    return Sample((g, w), {"shape": x.shape, **how})


def _weight_samples(rng: np.random.Generator) -> Sample:
    x, w, g, how = _drawn(rng)
    return Sample((x, g), {"shape": w.shape, **how})


def _cost(windows: int, weights: int) -> Callable[[Node], Size]:
    """One product for each window and each weight: `windows` and `weights` are their places among inputs and result."""

    def cost(node: Node) -> Size:
        nodes = (*node.inputs, node)
        count, w = nodes[windows].shape, nodes[weights].shape
        return product((count[0], *count[2:], *w))

    return cost


def _apart(stays: dict[tuple[int, int], int], channels: dict[tuple[int, int], int], windows: int) -> Apart:
    """`stays`: for (operand, dimension) the dimension of the result that it becomes; `channels`: as well, where all
    channels are one group. Windows go over the dimensions from 2 on of the operand `windows`; all else is summed over.
    """

    def apart(node: Node, number: int, axis: int) -> int | Slices:
        known = stays if node.attrs["groups"] > 1 else {**stays, **channels}
        return known.get((number, axis), Slices.ACROSS if axis > 1 and number == windows else Slices.ONE)

    return apart


conv = define(
    "conv",
    infer=_infer,
    grad=_grad,
    jvp=linear,
    cost=_cost(2, 1),
    lower=_lower,
    reference=_conv,
    samples=_samples,
    finite=True,
    apart=_apart({(0, 0): 0, (1, 0): 1}, {}, 0),
)

conv_input: Op = define(
    "conv_input",
    infer=_input_infer,
    grad=_input_grad,
    jvp=linear,
    cost=_cost(0, 1),
    lower=_input_lower,
    reference=_conv_input,
    samples=_input_samples,
    finite=True,
    apart=_apart({(0, 0): 0}, {(1, 1): 1}, 0),
)

conv_weight: Op = define(
    "conv_weight",
    infer=_weight_infer,
    grad=_weight_grad,
    jvp=linear,
    cost=_cost(1, 2),
    lower=_weight_lower,
    reference=_conv_weight,
    samples=_weight_samples,
    finite=True,
    apart=_apart({(1, 1): 0}, {(0, 1): 1}, 0),
)
