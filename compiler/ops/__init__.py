"""The primitive operations, each one call of `define`. `OPS` has them by name; what is here makes nodes of them.

What specs alone call (`arguments` of its `define`) need not be listed.
"""

# ruff: noqa: I001  (one name a line would hide the families)
# fmt: off
from __future__ import annotations

from ..ir.graph import OPERATORS
from ..ir.types import broadcast
from .choice import all_rows, and_, cut, eq, ge, gt, is_nan, le, lt, ne, not_, or_, point, stop_gradient, tie, where
from .contraction import contract
from .convolution import conv, conv_input, conv_weight
from .derivative import PLACEHOLDERS, custom, formal, gradient, jacobian, make_formal, tangent
from .elementwise import (
    abs_, add, ceil, cos, div, erf, exp, expm1, floor, floordiv, gate, log, log1p, maximum, minimum, mod, mul, neg,
    pow_, relu, round_, sigmoid, sign, sin, softplus, sqrt, sub, tanh,
)
from .indexing import arange, gather, make_arange, one_hot, pick, scatter_add
from .leaf import input_, make_input, make_size, make_variable, seed, size, variable
from .linalg import gemm, matmul
from .normalize import inverse_deviation, standardize, trilu
from .operands import cast
from .pooling import avg_pool, avg_unpool, max_pool, max_select, max_unpool
from .ordering import argsort, cumsum, sort, take_along, top, triangle
from .padding import MODES, cumprod, pad, repeat, roll, tile
from .random import (
    STRIDE, fold, random_below, random_normal, random_uniform, random_whole, random_words, seed_key, words_for,
)
from .reduction import (
    all_, any_, argmax, argmin, log_softmax, logsumexp, mean, reduce_max, reduce_min, reduce_prod, reduce_sum,
    reduce_sum_square, softmax, sum_to,
)
from ..ir.op import NONE, OPS, Op, Sample, constant, lift
from .scan import local, make_local, make_scan, make_iteration, result, scan_op, iteration
from .shaping import broadcast_to, concat, expand_dims, moveaxis, reshape, split, squeeze, stack, swap_last, transpose
from .slicing import flip, narrow, slice_, unslice
from .trigonometry import cosh, hypot

__all__ = [
    "MODES",
    "NONE",
    "OPS",
    "PLACEHOLDERS",
    "STRIDE",
    "Op",
    "Sample",
    "abs_",
    "add",
    "all_",
    "all_rows",
    "and_",
    "any_",
    "arange",
    "argmax",
    "argmin",
    "argsort",
    "avg_pool",
    "avg_unpool",
    "broadcast",
    "broadcast_to",
    "cast",
    "ceil",
    "concat",
    "constant",
    "contract",
    "conv",
    "conv_input",
    "conv_weight",
    "cos",
    "cosh",
    "cumprod",
    "cumsum",
    "custom",
    "cut",
    "div",
    "eq",
    "erf",
    "exp",
    "expand_dims",
    "expm1",
    "flip",
    "floor",
    "floordiv",
    "fold",
    "formal",
    "gate",
    "gather",
    "ge",
    "gemm",
    "gradient",
    "gt",
    "hypot",
    "input_",
    "inverse_deviation",
    "is_nan",
    "iteration",
    "jacobian",
    "le",
    "lift",
    "local",
    "log",
    "log1p",
    "log_softmax",
    "logsumexp",
    "lt",
    "make_arange",
    "make_formal",
    "make_input",
    "make_iteration",
    "make_local",
    "make_scan",
    "make_size",
    "make_variable",
    "matmul",
    "max_pool",
    "max_select",
    "max_unpool",
    "maximum",
    "mean",
    "minimum",
    "mod",
    "moveaxis",
    "mul",
    "narrow",
    "ne",
    "neg",
    "not_",
    "one_hot",
    "or_",
    "pad",
    "pick",
    "point",
    "pow_",
    "random_below",
    "random_normal",
    "random_uniform",
    "random_whole",
    "random_words",
    "reduce_max",
    "reduce_min",
    "reduce_prod",
    "reduce_sum",
    "reduce_sum_square",
    "relu",
    "repeat",
    "reshape",
    "result",
    "roll",
    "round_",
    "scan_op",
    "scatter_add",
    "seed",
    "seed_key",
    "sigmoid",
    "sign",
    "sin",
    "size",
    "slice_",
    "softmax",
    "softplus",
    "sort",
    "split",
    "sqrt",
    "squeeze",
    "stack",
    "standardize",
    "stop_gradient",
    "sub",
    "sum_to",
    "swap_last",
    "take_along",
    "tangent",
    "tanh",
    "tie",
    "tile",
    "top",
    "transpose",
    "triangle",
    "trilu",
    "unslice",
    "variable",
    "where",
    "words_for",
]

OPERATORS.update(add=add, sub=sub, mul=mul, div=div, neg=neg, matmul=matmul)
