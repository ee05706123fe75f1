"""One small graph for each rule of the simplifier, by the name of the rule: what stands before it in `rewrites/`."""

from __future__ import annotations

from collections.abc import Callable

from dlc import ops
from dlc.ir.graph import Node
from dlc.ir.op import constant
from rewrite_leaves import (
    Leaves,
    M,
    N,
    both,
    column,
    flat,
    lse,
    normal,
    normalized,
    outer,
    outer_square,
    positive,
    projected,
    read_otherwise,
    root,
    row,
    running,
    sequence,
    softmax_by_hand,
    square,
    top,
    total,
    wide,
    wider,
)

# Rules that hold in derivatives and updates only: their cases are of one.
DERIVED = (
    "common_factor",
    "deeper_factor",
    "scalars_out",
    "sum_of_scaled",
    "small_factors_together",
    "sum_without_factors",
    "sum_of_outer_product",
    "factor_out_of_product",
    "factor_out_of_sum",
    "sum_of_centered",
    "scalars_together",
    "negate",
    "add_negative",
    "signs_and_scalars_out",
    "computed_already",
    "layer_normalization",
    "unmarked",
)


CASES: dict[str, Callable[[Leaves], list[Node]]] = {
    # constants
    "known": lambda l: [l.x + ops.exp(l.number(0.5)) * 2.0, ops.softmax(l.array(1.0, 2.0), axis=0)],
    "uniform": lambda l: [l.u * l.array(2.0, 2.0, 2.0, 2.0)],
    "decided": lambda l: [
        ops.where(constant(l.graph, True, "bool"), l.v, l.x),
        ops.where(constant(l.graph, False, "bool"), l.v, l.x),
    ],
    "one_truth": lambda l: [
        ops.and_(l.b, constant(l.graph, True, "bool")),
        ops.or_(l.b, constant(l.graph, True, "bool")),
    ],
    # sums
    "pointwise_of_broadcasts": lambda l: [
        ops.broadcast_to(l.v, shape=(N, M)) * l.x,
        ops.exp(ops.broadcast_to(l.s, shape=(N,))),
    ],
    "add_zero": lambda l: [l.x + 0.0],
    "twice": lambda l: [l.x + l.x],
    "add_negative": lambda l: [l.x + l.y * -2.0, -l.x + l.y, l.x + l.y * (-1.0 / l.s)],
    "numbers_in_sums": lambda l: [(l.x + 1.0) + 2.0, (1.0 - l.x) + 2.0, 3.0 - (l.x + -1.0), (l.x + 0.3) - 0.3],
    "subtract": lambda l: [l.x - 0.0, 0.0 - l.x, l.x - 2.0, l.x - (-l.y), -l.x - l.y],
    "common_factor": lambda l: [l.x * l.s - l.y * l.s, l.x / l.s + l.y / l.s, l.x * l.w - l.w * l.y],
    # signs
    "layer_normalization": lambda l: [
        normalized(l.u),
        normalized(ops.sin(l.z), l.w),
        normalized(l.x),
        normal(l.u)[0] / normal(ops.sin(l.u))[1],
    ],
    "deeper_factor": lambda l: [
        l.x * ops.sin(l.y) / 2.0 + (l.x * ops.cos(l.y)) * ops.exp(l.x) * 3.0,
        (l.y * ops.cos(l.x)) * ops.exp(l.y) - l.y * ops.sin(l.x),
        *read_otherwise((l.x * l.y) * ops.exp(l.w), lambda p: l.x * ops.tanh(l.y) + p),
    ],
    "negate": lambda l: [
        ops.neg(-l.x),
        -(l.x - l.y),
        -(l.x * 3.0),
        -(l.x * l.s),
        -(l.x / l.s),
        -(2.0 / l.s),
        -total(l.x - l.y, 0),
        -(l.w * (l.x - l.y)),
    ],
    "signs_out": lambda l: [(-l.x) * l.y, (-l.x) * (-l.y), (-l.x) / l.y, l.x / (-l.y), (-l.x) * l.s],
    "even": lambda l: [
        ops.abs_(-l.x),
        ops.cos(-l.x),
        ops.cos(ops.abs_(l.x)),
        ops.cosh(ops.abs_(l.x)),
        ops.relu(ops.relu(l.x)),
        ops.abs_(ops.exp(l.x)),
    ],
    "odd": lambda l: [ops.tanh(-l.x), ops.sin(-l.x)],
    "signs_out_of_matmul": lambda l: [(-l.z) @ ops.transpose(l.u, perm=(1, 0))],
    "signs_and_scalars_out": lambda l: [
        ops.transpose(-l.x, perm=(1, 0)),
        ops.expand_dims(l.x * l.s, 0),
        ops.expand_dims(l.x / l.s, 0),
    ],
    # products
    "multiply_by_number": lambda l: [
        l.x * 1.0,
        l.x * -1.0,
        l.x * 0.0,
        ops.one_hot(l.k, depth=4) * 0.0,
        (l.x * 3.0) * 0.5,
    ],
    "scalars_together": lambda l: [(l.x * l.s) * l.t, (l.x / l.s) * l.t, (l.y * l.s) / l.t, (l.y / l.s) / l.t],
    "scalars_out": lambda l: [(l.x * l.s) * l.y, (l.x / l.s) * l.y, (l.x * l.t) / l.y],
    "multiply_by_quotient": lambda l: [l.x * (1.0 / l.y), ops.abs_(l.x) * ops.abs_(l.x)],
    "divide": lambda l: [l.x / 1.0, l.x / 4.0, l.x / 3.0, (l.s * l.n) / l.n, l.x / (1.0 / l.y)],
    "power": lambda l: (
        [ops.pow_(l.x, float(c)) for c in (0, 1, 2, 3, -1)] + [ops.pow_(positive(l.x), 0.5), ops.pow_(1.0, l.x)]
    ),
    "root_of_square": lambda l: [ops.sqrt(l.x * l.x)],
    "square_of_root": lambda l: [
        ops.sqrt(ops.exp(l.x)) * ops.sqrt(ops.exp(l.x)),
        ops.sqrt(l.x) * ops.sqrt(l.x),
        root(ops.exp(l.x)) * root(ops.exp(l.x)),
        square(3.0 * root(ops.exp(l.y))),
        square(root(ops.exp(l.y)) / 7.0),
        square(ops.hypot(l.x, l.y)),
        square(1e-10 * ops.hypot(l.x, l.y)),
    ],
    "power_of_root": lambda l: [
        ops.pow_(ops.sqrt(ops.exp(l.x)), 4.0),
        ops.pow_(root(ops.exp(l.x)), 6.0),
        ops.pow_(ops.sqrt(ops.exp(l.x)), 3.0),
        ops.pow_(ops.hypot(l.x, l.y), 4.0),
    ],
    # choices
    "extreme": lambda l: [
        ops.maximum(l.x, 0.0),
        ops.maximum(l.x, l.x),
        ops.minimum(l.x, l.x),
        ops.minimum(l.x, 0.0),
        ops.maximum(l.y, -l.y),
    ],
    "choose": lambda l: [ops.where(l.b, l.x, l.x), ops.where(ops.not_(l.b), l.x, l.y), ops.where(l.b, -l.x, -l.y)],
    "not_not": lambda l: [ops.not_(ops.not_(l.b)), ops.not_(ops.eq(l.x, l.y)), ops.not_(ops.lt(l.x, l.y))],
    "same_truth": lambda l: [ops.and_(l.b, l.b), ops.or_(l.b, l.b), ops.and_(l.b, l.c)],
    "casts": lambda l: [
        ops.cast(ops.cast(l.b, dtype="int"), dtype="float"),
        ops.cast(ops.cast(l.x, dtype="int"), dtype="float"),
    ],
    # reductions
    "dropped_dimensions": lambda l: [total(l.x, -1, keepdims=True) + total(l.x, 1, keepdims=True)],
    "nothing_reduced": lambda l: [total(l.x), total(l.w, 1), lse(l.w)],
    "reduction_of_reduction": lambda l: [
        total(total(l.x, 0), 0),
        ops.reduce_max(ops.reduce_max(l.x, axes=(1,)), axes=(0,)),
    ],
    "reduction_of_broadcast": lambda l: [
        total(ops.broadcast_to(l.w, shape=(2, N, M)), 0, 1, 2),
        total(ops.broadcast_to(l.s, shape=(N,)), 0) / l.n,
        ops.reduce_max(ops.broadcast_to(l.x, shape=(2, N, M)), axes=(0, 1)),
    ],
    "sum_of_scaled": lambda l: [total(-l.x, 0), total(l.x * l.s, 1), total(l.x / l.w, 1), total(l.x * l.w, 0)],
    "reduction_of_moved": lambda l: [
        total(ops.expand_dims(l.x, 1), 0, 1, 2),
        total(ops.transpose(l.x, perm=(1, 0)), 1),
        total(ops.transpose(ops.broadcast_to(l.x, shape=(2, N, M)) * l.y, perm=(2, 0, 1)), 1),
    ],
    # what only moves
    "reshape_chain": lambda l: [ops.squeeze(ops.expand_dims(l.x, 1), 1), ops.expand_dims(ops.expand_dims(l.x, 1), 0)],
    "ones_in_front": lambda l: [l.x * ops.expand_dims(l.v, 0), ops.where(ops.expand_dims(l.b, 0), l.s, l.x)],
    "computed_already": lambda l: [
        l.x / l.s,
        ops.exp(l.x / l.s),
        ops.expand_dims(l.x, 1) / l.s,
        l.v / l.w,
        l.v / ops.reshape(l.w, shape=(1, N, 1)),
    ],
    "reshape_of_broadcast": lambda l: [
        ops.expand_dims(ops.broadcast_to(l.s, shape=(N, M)), 0),
        ops.expand_dims(ops.broadcast_to(l.w, shape=(N, M)), 1),
        ops.reshape(ops.broadcast_to(l.w, shape=(N, M)), shape=(N * M,)),
    ],
    "move_of_single": lambda l: [ops.transpose(ops.broadcast_to(l.s, shape=(N, M)), perm=(1, 0))],
    "pick_of_single": lambda l: [ops.pick(ops.broadcast_to(l.s, shape=(N, 4)), l.k)],
    "transpose_chain": lambda l: [
        ops.transpose(ops.transpose(l.x, perm=(1, 0)), perm=(1, 0)),
        ops.transpose(l.w, perm=(1, 0)),
    ],
    "broadcast_chain": lambda l: [
        ops.broadcast_to(ops.broadcast_to(l.v, shape=(N, M)), shape=(2, N, M)),
        ops.broadcast_to(ops.expand_dims(l.v, 0), shape=(N, M)),
    ],
    "transposes_in": lambda l: [
        ops.matmul(l.z, ops.transpose(l.u, perm=(1, 0))),
        ops.matmul(ops.transpose(l.u, perm=(1, 0)), l.u),
    ],
    "transpose_of_matmul": lambda l: [ops.transpose(ops.matmul(l.z, l.u, tb=True), perm=(1, 0))],
    "concat_of_one": lambda l: [ops.concat(l.x, axis=0)],
    "slice_of_all": lambda l: [
        l.graph.add(ops.OPS["slice"], (l.u,), {"starts": (0, 0), "stops": (3, 4), "steps": (1, 1)}),
        ops.unslice(l.u, shape=(3, 4), starts=(0, 0), stops=(3, 4), steps=(1, 1)),
    ],
    "slice_of_slice": lambda l: [ops.narrow(ops.narrow(l.u, 1, 1, 4), 1, 1, 2), ops.flip(ops.flip(l.u, 1), 1)],
    "slice_of_concat": lambda l: [
        ops.narrow(ops.concat(l.u, l.u * 2.0, axis=1), 1, 5, 7),
        ops.narrow(ops.concat(l.u, l.u * 2.0, axis=1), 1, 3, 7),
    ],
    "slice_of_transpose": lambda l: [
        ops.narrow(ops.transpose(sequence(l), perm=(1, 0, 2)), 0, 3, 4),
        ops.flip(ops.transpose(sequence(l) * 2.0, perm=(2, 0, 1)), 2),
        *read_otherwise(ops.transpose(sequence(l) * 3.0, perm=(1, 0, 2)), lambda x: ops.narrow(x, 0, 3, 4)),
    ],
    "last_iteration": lambda l: [
        ops.narrow(ops.result(running(l), 1), 1, 3, 4),
        ops.narrow(ops.result(running(l, reverse=True), 1), 1, 0, 1),
        ops.narrow(ops.result(running(l), 1), 1, 0, 1),  # the first one
        ops.narrow(ops.result(running(l), 2), 0, 3, 4),  # no state
    ],
    "pick_inside": lambda l: [
        ops.pick(l.z - lse(l.z, keepdims=True), l.k),
        ops.pick(-l.z, l.k),
        ops.pick(l.z * l.w, l.k),
        ops.pick(l.s - l.z, l.k),
        ops.pick(l.z * ops.tanh(l.z), l.k),
    ],
    "sum_of_one_hot": lambda l: [
        total(ops.one_hot(l.k, depth=4) * l.z, 1),
        total(ops.one_hot(l.k, depth=4) * l.z, 0, 1),
        total(ops.one_hot(l.k + 1, depth=4) * l.z, 1),
    ],
    "sum_of_hot": lambda l: [total(ops.one_hot(l.k, depth=4), 1), total(ops.one_hot(l.k + 1, depth=4), 1)],
    # stable forms
    "log_of_exp": lambda l: [ops.log(ops.exp(l.x)), ops.log(ops.sqrt(positive(l.x)))],
    "log_of_softmax": lambda l: [ops.log(ops.softmax(l.x, axis=-1)), ops.log(total(ops.exp(l.x), 0, 1))],
    "log_of_sigmoid": lambda l: [
        ops.log(ops.sigmoid(l.x)),
        ops.log(1.0 - ops.sigmoid(l.x)),
        ops.log(1.0 + ops.exp(l.x)),
    ],
    "log1p_of_exp": lambda l: [ops.log1p(ops.exp(l.x)), ops.log1p(-ops.sigmoid(l.x))],
    "log_inside": lambda l: [
        ops.log(ops.pick(ops.softmax(l.z, axis=1), l.k)),
        ops.log(ops.where(l.b, ops.sigmoid(l.x), 1.0 - ops.sigmoid(l.x))),
        ops.log(ops.where(l.b, ops.sigmoid(l.x), 0.5)),
    ],
    "log_of_product": lambda l: [
        ops.log(ops.exp(l.x) / positive(l.y)),
        ops.log(ops.sigmoid(l.x) * positive(l.y)),
        ops.log(ops.pow_(ops.sigmoid(l.x), l.y)),
        ops.log(positive(l.x) / positive(l.y)),
    ],
    "exp_of_log": lambda l: [ops.exp(ops.log(positive(l.x))), ops.exp(-ops.softplus(l.x)), ops.exp(ops.log(l.x))],
    "exp_of_log_softmax": lambda l: [ops.exp(l.x - lse(l.x, keepdims=True)), ops.exp(l.x - lse(l.y, keepdims=True))],
    "exp_over_sum": lambda l: [
        softmax_by_hand(l.x),
        ops.exp(l.y) / total(ops.exp(l.y), 0, 1),
        ops.exp(l.x) / total(ops.exp(l.y), 0),
    ],
    "logistic": lambda l: [
        1.0 / (1.0 + ops.exp(-l.x)),
        ops.exp(l.x) / (1.0 + ops.exp(l.x)),
        2.0 / (1.0 + ops.exp(l.x)),
    ],
    "softmax_of_shifted": lambda l: [
        ops.softmax(l.x - ops.reduce_max(l.x, axes=(1,), keepdims=True), axis=1),
        ops.softmax(l.x + l.s, axis=0),
        ops.softmax(l.x - l.w, axis=0),
    ],
    "shift_put_back": lambda l: [
        lse(l.x - top(l.x), keepdims=True) + top(l.x),
        ops.logsumexp(l.x - 3.0, axes=(0, 1)) + 3.0,
        lse(l.x - l.w, keepdims=True) + l.w,
    ],
    "shift_cancels": lambda l: [
        (l.x - top(l.x)) - lse(l.x - top(l.x), keepdims=True),
        ops.pick(l.z - top(l.z), l.k) - lse(l.z - top(l.z)),
        (l.x - l.w) - lse(l.x - l.w, keepdims=True),
    ],
    "two_terms": lambda l: [lse(ops.concat(ops.broadcast_to(l.number(0.0), shape=(N, 1)), l.w, axis=1))],
    "softplus_in_sum": lambda l: [
        ops.relu(l.x) - l.x * l.y + ops.softplus(-ops.abs_(l.x)),
        l.y + ops.softplus(-l.y),
        l.y * ops.softplus(-l.x) + (1.0 - l.y) * ops.softplus(l.x),
        (1.0 - l.x) * l.y + ops.softplus(-l.y) - l.s,
        l.x + ops.softplus(-l.y),
    ],
    "choice_of_softplus": lambda l: [
        ops.where(l.b, ops.softplus(-l.x), ops.softplus(l.x)),
        ops.where(l.b, ops.softplus(l.y), ops.softplus(-l.y)),
        ops.where(l.b, ops.softplus(l.x), ops.softplus(l.y)),
    ],
    "limit_of_choice": lambda l: [
        ops.where(ops.gt(l.x, 0.0), l.x, 2.0 * ops.expm1(ops.minimum(l.x, 0.0))),
        ops.where(ops.le(l.x, 1.0), ops.sqrt(ops.exp(ops.minimum(l.x, 1.0))), ops.sin(ops.maximum(l.x, 1.0))),
        ops.where(ops.lt(l.number(0.0), l.y), ops.cos(ops.relu(l.y)), 0.0),
        ops.where(ops.gt(l.x, 0.0), ops.cos(ops.minimum(l.x, 0.0)), 1.0),
        ops.where(ops.gt(l.x, l.w), 1.0, ops.cos(ops.minimum(l.x, l.w))),
    ],
    "sides_of_zero": lambda l: [
        ops.relu(l.x) + ops.expm1(ops.minimum(l.x, 0.0)),
        2.0 * ops.minimum(l.x, 0.0) + ops.relu(l.x),
        ops.relu(l.y) + ops.minimum(3.0 * ops.expm1(l.y / 3.0), 0.0),
        ops.relu(l.y) + -2.0 * ops.minimum(l.y, 0.0),
        ops.relu(l.x) + l.s * ops.minimum(l.x, 0.0),
    ],
    "zero_anyway": lambda l: [
        ops.where(ops.and_(ops.eq(l.x, 0.0), l.b), 0.0, -3.0 * l.x),
        ops.where(ops.eq(l.k, 0), 0.0, ops.cast(l.k, dtype="float") / l.n),
        ops.where(ops.eq(l.x, 0.0), 0.0, l.s * l.x),
        ops.where(ops.or_(ops.eq(l.x, 0.0), l.b), 0.0, l.x),
        ops.where(ops.eq(l.y, 0.0), 0.0, 2.0 * l.x),
    ],
    # at the end
    "stored": lambda l: [
        ops.concat(l.u, ops.broadcast_to(l.number(0.0), shape=(3, 1)), axis=1),
        ops.concat(l.x, ops.broadcast_to(l.number(0.0), shape=(N, 1)), axis=1),
    ],
    "kept_dimensions": lambda l: [
        l.x - total(l.x, 1, keepdims=True),
        total(l.y, 1) + ops.squeeze(total(l.y, 1, keepdims=True), 1),
    ],
    "product_of_rows": lambda l: [
        ops.matmul(wide(l.x, N, 1), l.y, tb=True),
        ops.matmul(wide(l.x, 1, N), wide(l.y, 1, N), tb=True),
        ops.matmul(wide(l.x, N, 1), ops.matmul(l.y, l.x, ta=True)),
    ],
    "pointwise_of_rows": lambda l: [
        ops.exp(wide(l.x, N, 1)) + l.v,
        wide(l.x, N, 1) * wide(l.w, N, 1) - ops.reshape(l.v, shape=(1, 1, M)),
        ops.maximum(-wide(l.x, N, 1) * l.s, l.t),
        ops.sin(ops.reshape(l.u, shape=(3, 2, 2))),
        wide(l.x, N, 1) * ops.sin(ops.transpose(wide(l.y, 1, N), perm=(1, 0, 2))),
    ],
    "pointwise_of_reshapes": lambda l: [
        ops.reshape(l.u, shape=(2, 6)) - ops.reshape(ops.exp(l.u), shape=(2, 6)),
        ops.where(ops.gt(ops.reshape(l.u, shape=(2, 6)), 0.0), 1.0, ops.reshape(ops.exp(l.u), shape=(2, 6))),
    ],
    "reduction_of_rows": lambda l: [
        total(wide(l.x, N, 1), 2),
        ops.reduce_max(wide(l.x, N, 1), axes=(0, 1), keepdims=False),
        lse(wide(l.y, 1, N), 2),
        total(wide(l.y, 1, N), 1),
    ],
    "row_by_row": lambda l: [
        ops.softmax(wide(l.x, N, 1), axis=-1),
        ops.argmax(wide(l.x, N, 1), axis=2),
        ops.softmax(wide(l.x, N, 1), axis=0),
        ops.cumsum(wide(l.x, N, 1), axis=2),
        ops.top(wide(l.u, 3, 1), 2, axis=2),
        ops.standardize(wide(l.u, 3, 1), eps=0.1),
        ops.inverse_deviation(wide(l.z, N, 1), eps=0.1),
    ],
    "factor_out_of_product": lambda l: [
        ops.matmul(ops.exp(l.x) * 0.5, l.y, tb=True),
        ops.matmul(l.x, ops.exp(l.y) / 3.0, ta=True),
        *read_otherwise(l.u * 2.0, lambda x: ops.matmul(x, x, tb=True)),
    ],
    "factor_out_of_sum": lambda l: [
        *both(ops.exp(l.x) * 0.5, lambda x: (total(x, 0), ops.matmul(x, l.y, tb=True))),
        *read_otherwise(l.u * 2.0, lambda x: total(x, 0)),
    ],
    "rows_in_another_order": lambda l: [
        ops.transpose(projected(l, 1.0), perm=(1, 0, 2)),
        *read_otherwise(projected(l, 2.0), lambda x: ops.transpose(x, perm=(1, 0, 2))),
        ops.transpose(projected(l, 3.0), perm=(0, 2, 1)),  # not of rows
    ],
    "sum_over_rows_in_another_order": lambda l: [
        ops.matmul(flat(sequence(l)), flat(ops.transpose(wider(l), perm=(1, 0, 2))), ta=True),
        ops.matmul(flat(ops.transpose(wider(l), perm=(1, 0, 2))), flat(sequence(l)), ta=True),
        ops.matmul(flat(ops.transpose(sequence(l), perm=(1, 0, 2))), flat(wider(l)), ta=True),  # it moves already
    ],
    "mask_of_triangle": lambda l: [
        ops.where(ops.ge(column(l), row(l)), ops.sin(outer_square(l)), float("-inf")),
        ops.where(ops.lt(row(l), column(l)), ops.sin(outer_square(l)), 0.0),
        ops.where(ops.gt(row(l), column(l)), 2.0, ops.sin(outer_square(l))),
        *(
            ops.where(compare(d, k), ops.sin(outer_square(l)), 0.0)
            for d in (row(l) - column(l), column(l) - row(l))
            for compare in (ops.ge, ops.gt, ops.le, ops.lt)
            for k in (-1, 0, 2)
        ),
        ops.triangle(ops.sin(outer_square(l)), 1, lower=True),
        ops.where(ops.ge(column(l), row(l) * 2), ops.sin(outer_square(l)), 0.0),
    ],
    "pick_of_rows": lambda l: [ops.pick(wide(l.z, N, 1), ops.reshape(l.k, shape=(N, 1)))],
    "small_factors_together": lambda l: [
        l.x * l.w / ops.exp(l.v),
        l.v * (l.y / ops.exp(l.v)),
        -(l.x / ops.exp(l.w)) / ops.exp(l.v),
        l.y * l.s * l.w,
    ],
    "sum_without_factors": lambda l: [
        total(l.x * l.w * (l.y / ops.exp(l.w)), 1),
        total(l.y * l.x, 1),
        total(l.x * l.v, 0),
        total(l.x * l.w, 0),
    ],
    "sum_of_outer_product": lambda l: [
        total(square(ops.transpose(outer(l), perm=(1, 2, 0))), 0, 1, 2),  # the squared norm of a Jacobian
        total(outer(l) * ops.reshape(ops.exp(l.z), shape=(N, 4, 1)), 0, 2),
        total(-(ops.exp(l.v) * (outer(l) * l.s)) / l.t, 1),
        total(outer(l) * ops.exp(outer(l)), 0, 2),  # of one that is as large
        total(ops.reshape(l.x, shape=(N, 1, M)) * ops.reshape(l.z, shape=(N, 4, 1)), 2),  # not much smaller
    ],
    "sum_of_centered": lambda l: [
        total(l.u - ops.mean(l.u, (0,), keepdims=True), 0) + total(l.u, 0),
        total(l.x - ops.mean(l.x, (1,), keepdims=True), 1),
        total(l.x - ops.mean(l.x, (0,), keepdims=True), 1),
    ],
    "unmarked": lambda l: [ops.cut(l.x) + ops.stop_gradient(l.y)],
}
