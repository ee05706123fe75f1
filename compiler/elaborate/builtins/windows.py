"""Functions that the compiler knows by name and that slide a window over a value: convolution and pooling.

Values are [batch, channels, ...], with one to three dimensions to slide over. `kernel`, `stride` and `dilation` are
a number or a list with one for each of these; `pad` is that, or a list of pairs (before and after), or the text
`same` or `valid`.
"""

from __future__ import annotations

from typing import Any

from ... import ops
from ...diagnostics import error
from ...ir.graph import Node
from ...ir.types import Dim, Size, TypeProblem
from ...ops.window import extent, spatial_rank
from ...source import Span
from ..context import Context, located
from ..scope import Frame
from ..values import Argument, Tensor, Value, kind
from .arguments import builtin, integer, tensor, truth

Ints = tuple[int, ...]
LARGEST = 2**20  # of a kernel, stride, padding or dilation: what is done for each place must come to an end


def _sliding(c: Context, x: Argument, name: str) -> tuple[Tensor, int]:
    """The value as floats, and over how many dimensions the window slides."""
    value = tensor(c, x, "float")
    try:
        return value, spatial_rank(name, value.node.type)
    except TypeProblem as problem:
        raise located(problem, [x.span], x.span, [value.node]) from None


def _each(argument: Argument | None, default: int, n: int, what: str) -> Ints:
    """One integer above 0 for each dimension."""
    if argument is None or argument.value is None:
        return (default,) * n
    given = list(argument.value) if isinstance(argument.value, list | tuple) else [argument.value] * n
    for item in given:
        if isinstance(item, bool) or not isinstance(item, int) or item < 1:
            raise error(
                "E0366", f"{what} is an integer above 0, or a list of them", argument.span, f"this is {kind(item)}"
            )
        _bounded(item, what, argument.span)
    _count(given, n, what, argument.span)
    return tuple(int(item) for item in given)


def _bounded(item: int, what: str, span: Span) -> None:
    if item > LARGEST:
        raise error(
            "E0772",
            f"{what} is too large for a window",
            span,
            f"{item:,}, and the most is {LARGEST:,}",
            help="a mean or maximum over a whole dimension is `mean(x, axis = 2)`, `max(x, axis = 2)`",
        )


def _count(given: list[Any], n: int, what: str, span: Span) -> None:
    if len(given) != n:
        raise error(
            "E0366",
            f"{what} has one entry for each dimension the window slides over",
            span,
            f"{len(given)} given, for {n} dimension{'s' * (n > 1)}",
        )


def _pads(argument: Argument | None, n: int, sizes: tuple[Size, ...], reach: Ints, strides: Ints) -> Ints:
    """All befores, then all afters. `reach` is the extent of the window."""
    if argument is None or argument.value is None or argument.value == "valid":
        return (0,) * (2 * n)
    value, span = argument.value, argument.span
    if value == "same":
        wide = [_same(size, r, s, span) for size, r, s in zip(sizes, reach, strides, strict=True)]
        return (*[w // 2 for w in wide], *[w - w // 2 for w in wide])
    given = list(value) if isinstance(value, list | tuple) else [value] * n
    pairs = [list(item) if isinstance(item, list | tuple) else [item, item] for item in given]
    for pair in pairs:
        for item in pair:
            if isinstance(item, bool) or not isinstance(item, int) or item < 0 or len(pair) != 2:
                raise error(
                    "E0366",
                    'a padding is an integer, a list of them, a list of pairs, `"same"` or `"valid"`',
                    span,
                    f"this is {kind(item)}" if len(pair) == 2 else f"{len(pair)} numbers for one dimension",
                    help="`pad = [[0, 1], [0, 1]]` pads each of two dimensions by 0 before and 1 after",
                )
            _bounded(item, "`pad`", span)
    _count(pairs, n, "`pad`", span)
    return (*[int(pair[0]) for pair in pairs], *[int(pair[1]) for pair in pairs])


def _same(size: Size, reach: int, stride: int, span: Span) -> int:
    """The padding with which size / stride windows, rounded up, cover the value; the odd one stands after."""
    if stride == 1:
        return reach - 1
    if isinstance(size, Dim):
        raise error(
            "E0367",
            f'`"same"` with a stride of {stride} needs a size that is known',
            span,
            f"the dimension is `{size}`",
            help="give the padding as a number, or fix the size in the input",
        )
    return max((-(-size // stride) - 1) * stride + reach - size, 0)


def _kernel(c: Context, w: Argument, n: int) -> tuple[Tensor, Ints]:
    """The weights, and the sizes of the kernel: zeros where the operation will refuse it."""
    weights = tensor(c, w, "float")
    sizes = weights.node.shape[2:]
    fits = weights.node.rank == n + 2 and all(isinstance(size, int) and size > 0 for size in sizes)
    return weights, tuple(int(size) for size in sizes) if fits else (1,) * n  # type: ignore[arg-type]


def _result(node: Node, batch: Any, channels: Any) -> Tensor:
    return Tensor(node, (batch, channels, *[None] * (node.rank - 2)))


@builtin
def window(c: Context, frame: Frame, span: Span, x: Argument, kernel: Argument) -> Value:
    """The sizes of a kernel over x as a list."""
    _, n = _sliding(c, x, "window")
    return list(_each(kernel, 1, n, "`kernel`"))


@builtin
def convolve(
    c: Context,
    frame: Frame,
    span: Span,
    x: Argument,
    W: Argument,
    stride: Argument | None = None,
    pad: Argument | None = None,
    dilation: Argument | None = None,
    groups: Argument | None = None,
) -> Value:
    value, n = _sliding(c, x, "conv")
    weights, kernel = _kernel(c, W, n)
    strides, dilations = _each(stride, 1, n, "`stride`"), _each(dilation, 1, n, "`dilation`")
    reach = tuple(extent(k, d) for k, d in zip(kernel, dilations, strict=True))
    pads = _pads(pad, n, value.node.shape[2:], reach, strides)
    node = c.make(
        ops.conv,
        [value.node, weights.node],
        [x.span, W.span],
        span,
        strides=strides,
        pads=pads,
        dilations=dilations,
        groups=_groups(groups),
    )
    return _result(node, value.names[0], weights.names[0])


def _groups(argument: Argument | None) -> int:
    groups = integer(argument, 1, "`groups`")
    if groups < 1 and argument is not None:
        raise error("E0366", "`groups` is an integer above 0", argument.span, f"this is {groups}")
    return groups


@builtin
def convolve_transpose(
    c: Context,
    frame: Frame,
    span: Span,
    x: Argument,
    W: Argument,
    stride: Argument | None = None,
    pad: Argument | None = None,
    output_pad: Argument | None = None,
    dilation: Argument | None = None,
    groups: Argument | None = None,
) -> Value:
    value, n = _sliding(c, x, "conv_transpose")
    weights, kernel = _kernel(c, W, n)
    strides, dilations = _each(stride, 1, n, "`stride`"), _each(dilation, 1, n, "`dilation`")
    reach = tuple(extent(k, d) for k, d in zip(kernel, dilations, strict=True))
    extra = _pads(output_pad, n, value.node.shape[2:], (1,) * n, (1,) * n)[n:]
    if pad is not None and pad.value == "same":  # size * stride comes out
        wide = [max(r - s, 0) for r, s in zip(reach, strides, strict=True)]
        pads = (*[w // 2 for w in wide], *[w - w // 2 for w in wide])
        extra = tuple(more + max(s - r, 0) for more, r, s in zip(extra, reach, strides, strict=True))
    else:
        pads = _pads(pad, n, value.node.shape[2:], reach, strides)
    for more, s in zip(extra, strides, strict=True):
        if more >= s:
            place = (output_pad or pad or x).span
            raise error(
                "E0364",
                "`output_pad` is smaller than the stride",
                place,
                f"{more}, and the stride is {s}",
                help="it chooses among the sizes that a convolution of this stride takes to the same size",
            )
    if weights.node.rank != n + 2 or value.node.shape[1] != weights.node.shape[0]:
        raise error(
            "E0361",
            "the kernel of a transposed convolution is [channels, out / groups, ...kernel]",
            W.span,
            f"this is `{weights.node.type}`",
            more=[(x.span, f"this is `{value.node.type}`")],
        )
    sizes = [
        (size - 1) * s + r + more - pads[i] - pads[n + i]
        for i, (size, s, r, more) in enumerate(zip(value.node.shape[2:], strides, reach, extra, strict=True))
    ]
    for size in sizes:
        if isinstance(size, int) and size < 1:
            raise error(
                "E0362",
                "nothing is left of a transposed convolution with this padding",
                (pad or x).span,
                f"a dimension would be {size}",
                more=[(x.span, f"this is `{value.node.type}`")],
            )
    count = _groups(groups)
    shape = (value.node.shape[0], weights.node.shape[1] * count, *sizes)
    node = c.make(
        ops.conv_input,
        [value.node, weights.node],
        [x.span, W.span],
        span,
        shape=shape,
        strides=strides,
        pads=pads,
        dilations=dilations,
        groups=count,
    )
    return _result(node, value.names[0], None)


# --- pooling


def _windows(kernel: Argument, stride: Argument | None, n: int) -> tuple[Ints, Ints]:
    """The sizes of the windows, and their strides: beside each other if nothing else is said."""
    sizes = _each(kernel, 1, n, "`kernel`")
    return sizes, _each(stride, 1, n, "`stride`") if stride is not None and stride.value is not None else sizes


@builtin
def max_pool(
    c: Context,
    frame: Frame,
    span: Span,
    x: Argument,
    kernel: Argument,
    stride: Argument | None = None,
    pad: Argument | None = None,
    dilation: Argument | None = None,
) -> Value:
    value, n = _sliding(c, x, "max_pool")
    sizes, strides = _windows(kernel, stride, n)
    dilations = _each(dilation, 1, n, "`dilation`")
    reach = tuple(extent(k, d) for k, d in zip(sizes, dilations, strict=True))
    pads = _pads(pad, n, value.node.shape[2:], reach, strides)
    node = c.make(
        ops.max_pool, [value.node], [x.span], span, kernel=sizes, strides=strides, pads=pads, dilations=dilations
    )
    return _result(node, value.names[0], value.names[1])


@builtin
def avg_pool(
    c: Context,
    frame: Frame,
    span: Span,
    x: Argument,
    kernel: Argument,
    stride: Argument | None = None,
    pad: Argument | None = None,
    count_pad: Argument | None = None,
) -> Value:
    value, n = _sliding(c, x, "avg_pool")
    sizes, strides = _windows(kernel, stride, n)
    pads = _pads(pad, n, value.node.shape[2:], sizes, strides)
    how = {"kernel": sizes, "strides": strides, "pads": pads}
    node = c.make(ops.avg_pool, [value.node], [x.span], span, **how)
    counted = count_pad is None or truth(count_pad, "count_pad")
    if any(pads) and not counted:
        with c.at(frame, span):
            one = ops.broadcast_to(ops.constant(c.graph, 1.0, "float"), shape=(1, 1, *value.node.shape[2:]))
            node = node / ops.avg_pool(one, **how)
    return _result(node, value.names[0], value.names[1])
