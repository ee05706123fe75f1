"""The primitive operations, each one call of `define`. `OPS` has them by name; what is here makes nodes of them."""
# ruff: noqa: I001  (one name a line would hide the families)
from __future__ import annotations

from ..tensor_type import broadcast
from .choice import and_, cut, eq, ge, gt, le, lt, ne, not_, or_, stop_gradient, where
from .contraction import contract
from .convolution import conv, conv_input, conv_weight
from .derivative import PLACEHOLDERS, formal, gradient, jacobian, make_formal, tangent
from .elementwise import (
    abs_, add, ceil, cos, div, erf, exp, expm1, floor, floordiv, log, log1p, maximum, minimum, mod, mul, neg, pow_,
    relu, round_, sigmoid, sign, sin, softplus, sqrt, sub, tanh,
)
from .indexing import arange, gather, make_arange, one_hot, pick, scatter_add
from .leaf import input_, make_input, make_size, make_variable, seed, size, variable
from .linalg import gemm, matmul, vecmat
from .operands import cast
from .pooling import avg_pool, avg_unpool, max_pool, max_select, max_unpool
from .random import fold, random_normal, random_uniform, seed_key
from .reduction import (
    all_, any_, argmax, argmin, log_softmax, logsumexp, mean, reduce_max, reduce_min, reduce_prod, reduce_sum,
    reduce_sum_square, softmax, sum_to,
)
from .registry import NONE, OPS, Op, Sample, constant, lift
from .scan import local, make_local, make_scan, make_turn, result, scan_op, turn
from .shaping import (
    broadcast_to, concat, expand_dims, moveaxis, reshape, split, squeeze, stack, swap_last, transpose,
)
from .slicing import flip, narrow, slice_, unslice

__all__ = [
    "NONE", "OPS", "PLACEHOLDERS", "Op", "Sample", "abs_", "add", "all_", "and_", "any_", "arange", "argmax", "argmin",
    "avg_pool", "avg_unpool", "broadcast", "broadcast_to", "cast", "ceil", "concat", "constant", "contract", "conv",
    "conv_input", "conv_weight", "cos", "cut", "div", "eq", "erf", "exp", "expand_dims", "expm1", "flip", "floor",
    "floordiv", "fold", "formal", "gather", "ge", "gemm", "gradient", "gt", "input_", "jacobian", "le", "lift",
    "local", "log", "log1p", "log_softmax", "logsumexp", "lt", "make_arange", "make_formal", "make_input", "make_local",
    "make_scan", "make_size", "make_turn", "make_variable",
    "matmul", "max_pool", "max_select", "max_unpool", "maximum", "mean", "minimum", "mod", "moveaxis", "mul", "narrow",
    "ne", "neg", "not_", "one_hot", "or_", "pick", "pow_", "random_normal", "random_uniform", "reduce_max",
    "reduce_min", "reduce_prod", "reduce_sum", "reduce_sum_square", "relu", "reshape",
    "result", "round_", "scan_op", "scatter_add", "seed",
    "seed_key", "sigmoid", "sign", "sin", "size", "slice_", "softmax", "softplus", "split", "sqrt", "squeeze", "stack",
    "stop_gradient", "sub", "sum_to", "swap_last", "tangent", "tanh", "transpose", "turn",
    "unslice", "variable", "vecmat",
    "where",
]
