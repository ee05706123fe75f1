"""Values and derivatives of the operations against PyTorch in float64, where it has the function."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from dlc import ops
from dlc.autodiff.reverse import gradients
from dlc.ir import interpret
from dlc.ir.op import OPS
from op_cases import Case, sampled, samples
from op_rows import ROWS

torch = pytest.importorskip("torch")
functional = torch.nn.functional
pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore:.*degrees of freedom")]


def reduction(function):
    def reduce(x, axes, keepdims):
        return function(x, axes, keepdims) if axes else x

    return reduce


def product(x, axes, keepdims):
    for axis in sorted(axes, reverse=True):
        x = torch.prod(x, axis, keepdim=keepdims)
    return x


def unslice(x, shape, starts, stops, steps):
    result = torch.zeros(shape, dtype=x.dtype)
    if x.numel():
        index = [torch.arange(a, b, k) for a, b, k in zip(starts, stops, steps, strict=True)]
        return result.index_put(torch.meshgrid(*index, indexing="ij"), x) if index else x
    return result + x.sum()


def cut(x, starts, stops, steps):
    for axis, (a, b, k) in enumerate(zip(starts, stops, steps, strict=True)):
        x = x.index_select(axis, torch.tensor(list(range(a, b, k)), dtype=torch.int64))
    return x


def rows(x, index, axis):
    axis %= x.ndim
    flat = x.index_select(axis, index.reshape(-1) % x.shape[axis])
    return flat.reshape((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))


def add_rows(g, index, shape, axis):
    axis %= len(shape)
    flat = g.reshape(*shape[:axis], index.numel(), *shape[axis + 1 :])
    return torch.zeros(shape, dtype=g.dtype).index_add(axis, index.reshape(-1) % shape[axis], flat)


def cumsum(x, axis, exclusive, reverse):
    x = x.flip(axis) if reverse else x
    total = torch.cumsum(x, axis) - (x if exclusive else 0)
    return total.flip(axis) if reverse else total


def transposed(x, flag):
    return x.transpose(-1, -2) if flag else x


def around(x, pads, value):
    """Padding as we write it, all befores and then all afters."""
    n = len(pads) // 2
    return functional.pad(x, [pad for i in reversed(range(n)) for pad in (pads[i], pads[n + i])], value=value)


def convolved(x, w, strides, pads, dilations, groups):
    n = x.ndim - 2
    run = (functional.conv1d, functional.conv2d, functional.conv3d)[n - 1]
    return run(around(x, pads, 0), w, None, strides, 0, dilations, groups)


def pooled(x, kernel, strides, pads, dilations):
    run = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[x.ndim - 3]
    return run(around(x, pads, -np.inf), kernel, strides, 0, dilations)


def averaged(x, kernel, strides, pads):
    run = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[x.ndim - 3]
    return run(around(x, pads, 0), kernel, strides)


def adjoint_of_average(g, shape, **how):
    lone = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(averaged(lone, **how), lone, g, create_graph=True)[0]


def adjoint_of_conv(shape, at, other, g, **how):
    """The derivative of Σ g conv(x, w) by x (at 0) or w (at 1), as a value that can be derived again."""
    lone = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    y = convolved(*((lone, other) if at == 0 else (other, lone)), **how)
    return torch.autograd.grad(y, lone, g, create_graph=True)[0]


def greatest(x, k, axis, largest):
    """topk promises no order of equal elements; a stable sort keeps theirs."""
    return torch.sort(x, dim=axis, descending=largest, stable=True).indices.narrow(axis, 0, k)


def one_hot(index, depth, wrap):
    """Theirs refuses what lies outside, which ours makes 0."""
    index = index % depth if wrap else index
    return functional.one_hot(index.clamp(-1, depth) + 1, depth + 2)[..., 1:-1].double()


TYPES = {"float": torch.float64, "int": torch.int64, "bool": torch.bool}
TORCH = {
    "max_pool": pooled,
    "avg_pool": averaged,
    "avg_unpool": adjoint_of_average,
    "conv": convolved,
    "conv_input": lambda g, w, shape, **how: adjoint_of_conv(shape, 0, w, g, **how),
    "conv_weight": lambda x, g, shape, **how: adjoint_of_conv(shape, 1, x, g, **how),
    "neg": torch.neg,
    "abs": torch.abs,
    "sign": torch.sign,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "log": torch.log,
    "log1p": torch.log1p,
    "sqrt": torch.sqrt,
    "sin": torch.sin,
    "cos": torch.cos,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gate": torch.sigmoid,
    "softplus": functional.softplus,
    "relu": torch.relu,
    "erf": torch.erf,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round": torch.round,
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "mod": torch.remainder,
    "floordiv": torch.floor_divide,
    "pow": torch.pow,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "where": torch.where,
    "eq": torch.eq,
    "ne": torch.ne,
    "lt": torch.lt,
    "le": torch.le,
    "gt": torch.gt,
    "ge": torch.ge,
    "not": torch.logical_not,
    "and": torch.logical_and,
    "or": torch.logical_or,
    "reduce_sum": reduction(torch.sum),
    "reduce_prod": product,
    "reduce_max": reduction(torch.amax),
    "reduce_min": reduction(torch.amin),
    "logsumexp": reduction(torch.logsumexp),
    "reduce_sum_square": lambda x, axes, keepdims: reduction(torch.sum)(x * x, axes, keepdims),
    "softmax": lambda x, axis, guarded: torch.softmax(x, axis),
    "reshape": torch.reshape,
    "transpose": lambda x, perm: x.permute(perm),
    "broadcast_to": lambda x, shape: x.broadcast_to(shape),
    "concat": lambda *xs, axis: torch.cat(xs, axis),
    "slice": cut,
    "unslice": unslice,
    "gather": rows,
    "scatter_add": add_rows,
    "log_softmax": lambda x, axis: torch.log_softmax(x, axis),
    "is_nan": torch.isnan,
    "cumsum": cumsum,
    "take_along": lambda x, index, axis, distinct: torch.gather(x, axis, index % x.shape[axis]),
    "put_along": lambda g, index, size, axis, distinct: torch.zeros(
        (*g.shape[:axis], size, *g.shape[axis + 1 :]), dtype=g.dtype
    ).scatter_add(axis, index % size, g),
    "pick": lambda x, index: x.gather(-1, (index % x.shape[-1])[..., None])[..., 0],
    "matmul": lambda a, b, ta, tb: transposed(a, ta) @ transposed(b, tb),
    "cast": lambda x, dtype: x.to(TYPES[dtype]),
    "stop_gradient": torch.detach,
    "cut": torch.clone,
    "all_rows": torch.clone,
    "point": torch.clone,
    "one_hot": one_hot,
    "arange": lambda size: torch.arange(int(size)),
    "argmax": lambda x, axis: torch.argmax(x, axis),
    "argmin": lambda x, axis: torch.argmin(x, axis),
    "top": greatest,
    "standardize": lambda x, eps: functional.layer_norm(x, x.shape[-1:], eps=eps),
    "inverse_deviation": lambda x, eps: torch.rsqrt(torch.var(x, -1, correction=0, keepdim=True) + eps),
    "trilu": lambda x, upper, offset: (torch.triu if upper else torch.tril)(x, offset),
    "gemm": lambda a, b, c, alpha, beta, ta, tb: alpha * (transposed(a, ta) @ transposed(b, tb)) + beta * c,
}


OWN = "PyTorch has other generators: these are the words of ours, which test_random.py and test_draws.py hold"
TIES = "PyTorch gives the derivative of equal greatest values to the first; here they share it, as in test_ops.py"
LACKING = {
    **dict.fromkeys(("fold", "random_words", "random_uniform", "random_normal", "random_whole", "random_below"), OWN),
    "max_unpool": TIES,
    "max_select": TIES,
    "tie": "PyTorch runs in the order of the program, so that nothing says that a value waits for others",
}
for of_row, form in ((name, row.torch) for name, row in ROWS.items()):
    if isinstance(form, str):
        LACKING[of_row] = form
    else:
        TORCH[of_row] = partial(form, torch)


def test_every_operation_is_compared_or_has_a_reason():
    assert sorted([*TORCH, *LACKING]) == sorted(op.name for op in sampled())


@pytest.mark.parametrize("name", TORCH)
def test_values_and_derivatives_are_those_of_torch(name):
    op, rng, compared = OPS[name], np.random.default_rng(11), 0
    for sample in samples(op, 60, turn=7):
        if compared == 25:
            break
        if name in ("reduce_max", "reduce_min", "logsumexp") and not sample.inputs[0].size:
            continue  # torch refuses the extreme of nothing
        case = Case(op, sample)
        tensors = [torch.tensor(value.copy(), requires_grad=value.dtype.kind == "f") for value in sample.inputs]
        theirs = TORCH[name](*tensors, **{**op.defaults, **sample.attrs})
        [ours] = interpret.evaluate([case.node], case.feeds)
        assert np.allclose(ours, theirs.detach().numpy(), rtol=1e-12, atol=1e-12)
        compared += 1
        leaves = [leaf for leaf in case.leaves if leaf.dtype == "float"]
        if not theirs.requires_grad or not leaves or name in ("sign", "floor", "ceil", "round", "floordiv"):
            continue
        weights = rng.uniform(-1, 1, case.node.shape)
        (theirs * torch.tensor(weights)).sum().backward()
        target = ops.reduce_sum(case.node * ops.constant(case.graph, weights, "float"), axes=range(case.node.rank))
        found = interpret.evaluate(gradients(target, leaves), case.feeds)
        for leaf, value in zip(leaves, found, strict=True):
            expected = tensors[int(leaf.attrs["name"])].grad
            expected = np.zeros(leaf.shape) if expected is None else expected.numpy()
            assert np.allclose(value, expected, rtol=1e-10, atol=1e-10)
    assert compared == 25
