"""The facts that operations state of themselves, each held to the NumPy reference on samples: none false or forgotten.

An operation that is added to `ops` is checked here without a line more.
"""

from __future__ import annotations

import numpy as np
import pytest
from dlc.ir.apart import Slices
from dlc.ir.op import OPS, Op, Sample, pointwise
from op_cases import Case, sampled, samples

COUNT = 60
every_op = pytest.mark.parametrize("op", sampled(), ids=lambda op: op.name)
# Finite on all samples here, and not by a law: what is lacking.
NOT_ALWAYS_FINITE = {
    "standardize": "0 / 0 of equal elements where eps is 0",
    "inverse_deviation": "1 / 0 of equal elements where eps is 0",
}


def value(op: Op, inputs, attrs) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(op.reference(*inputs, **{**op.defaults, **attrs}))


def drawn(op: Op) -> list[Sample]:
    """Samples with something in them."""
    return [sample for sample in samples(op, COUNT) if all(x.size for x in sample.inputs)]


def acts_on_elements(op: Op) -> bool:
    """Whether elements put into another order give results in that order, on all samples."""
    rng, several = np.random.default_rng(0), 0
    for sample in drawn(op):
        shape = Case(op, sample).node.shape
        try:
            if np.broadcast_shapes(*(x.shape for x in sample.inputs)) != shape:
                return False
            wide = [np.broadcast_to(x, shape).reshape(-1) for x in sample.inputs]
            order = rng.permutation(wide[0].size)
            found = value(op, [x[order] for x in wide], sample.attrs)
        except (ValueError, IndexError, TypeError):
            return False
        if not np.array_equal(found, value(op, sample.inputs, sample.attrs).reshape(-1)[order], equal_nan=True):
            return False
        several += len(order) > 1
    return several > 0


@every_op
def test_elementwise(op):
    assert op.elementwise == acts_on_elements(op)
    assert op.elementwise or op.jvp is not pointwise


def stays_finite(op: Op) -> bool:
    """Whether finite operands give finite values: the samples, and numbers of their shapes up to 1000."""
    rng = np.random.default_rng(0)
    for sample in drawn(op):
        for least, most in ((None, None), (-1, 1), (-1000, 1000), (0, 0), (1000, 1000), (-1000, -1000)):
            inputs = [
                x if least is None or x.dtype.kind != "f" else rng.uniform(least, most, x.shape) for x in sample.inputs
            ]
            if (
                all(np.isfinite(x).all() for x in inputs if x.dtype.kind == "f")
                and not np.isfinite(value(op, inputs, sample.attrs)).all()
            ):
                return False
    return True


@every_op
def test_finite(op):
    if op.name in NOT_ALWAYS_FINITE or np.dtype(np.uint64) == value(op, *_first(op)).dtype:
        assert not op.finite
    else:
        assert op.finite == stays_finite(op)


def _first(op: Op):
    sample = drawn(op)[0]
    return sample.inputs, sample.attrs


def direction(op: Op, number: int) -> int | None:
    """1 if the result never falls as this operand grows, -1 if it never grows, 0 if it may do both, None if the
    samples do not move it."""
    rng, rises, falls = np.random.default_rng(0), False, False
    for sample in drawn(op):
        if number >= len(sample.inputs):
            continue
        x = sample.inputs[number]
        if (x.dtype.kind == "i" and not op.elementwise) or (x.dtype.kind == "f" and not np.isfinite(x).all()):
            continue  # an index; infinities
        if x.dtype.kind in "fi":
            other = rng.permutation(x.reshape(-1)).reshape(x.shape)  # from one draw of its own range to another
            grown = np.where(rng.random(x.shape) < 0.5, x, np.maximum(x, other))
        elif x.dtype.kind == "b":
            grown = x | (rng.random(x.shape) < 0.5)
        else:
            return 0
        inputs = [grown if i == number else other for i, other in enumerate(sample.inputs)]
        before, after = value(op, sample.inputs, sample.attrs), value(op, inputs, sample.attrs)
        known = ~((before != before) | (after != after))
        error = 1e-12 * np.maximum(np.abs(before), 1) if before.dtype.kind == "f" else 0
        if before.dtype.kind == "b":
            before, after = before.astype(np.int64), after.astype(np.int64)
        rises |= bool((after > before + error)[known].any())
        falls |= bool((after < before - error)[known].any())
    return None if not rises and not falls else 0 if rises and falls else 1 if rises else -1


@every_op
def test_monotone(op):
    """What is stated holds; of an operation on one operand's elements, what holds is stated."""
    count = len(drawn(op)[0].inputs)
    stated = op.monotone if len(op.monotone) == count else op.monotone * max(count, 1)
    assert not op.monotone or op.monotone != (0,) * len(op.monotone)
    for number, rises in enumerate(stated):
        assert rises == 0 or direction(op, number) == rises
    if op.elementwise and count == 1 and not op.monotone and value(op, *_first(op)).dtype.kind != "u":
        assert direction(op, 0) in (0, None) or op.name == "tan"  # between its poles


@every_op
def test_limit(op):
    """A limit: each element of the result is that of an operand, or 0, and the operation has a direction."""
    held = op.elementwise and op.monotone != () and not op.marker and op.name not in ("cast", "and", "or")
    for sample in drawn(op) if held else ():
        found = value(op, sample.inputs, sample.attrs)
        options = [np.broadcast_to(x, found.shape) for x in sample.inputs] + [np.zeros(found.shape)]
        held = held and bool(np.logical_or.reduce([found == option for option in options]).all())
    assert op.limit == held


def moves(op: Op) -> bool:
    """Whether a function of each float operand is that function of the result, on all samples of float results."""
    seen = False
    for sample in drawn(op):
        found = value(op, sample.inputs, sample.attrs)
        if found.dtype.kind == "f" and any(x.dtype.kind == "f" for x in sample.inputs):
            moved = [np.sin(13 * x + 1) if x.dtype.kind == "f" else x for x in sample.inputs]
            if not np.array_equal(value(op, moved, sample.attrs), np.sin(13 * found + 1), equal_nan=True):
                return False
            seen = True
    return seen


@every_op
def test_moves(op):
    assert op.moves == moves(op)


@every_op
def test_index(op):
    """An index: the last operand is one of integers on every sample, where other operations take floats there."""
    last = [sample.inputs[-1].dtype.kind for sample in drawn(op) if sample.inputs]
    assert op.index == (set(last) == {"i"} and not op.elementwise)


@every_op
def test_marker(op):
    """A marker has the value of its first operand on every sample."""
    same = all(
        np.array_equal(value(op, sample.inputs, sample.attrs), sample.inputs[0])
        for sample in drawn(op)
        if sample.inputs
    ) and bool(drawn(op)[0].inputs)
    assert op.marker == same


@every_op
def test_arguments(op):
    """What specs call acts on each element, and has a name for each operand."""
    assert not op.arguments or (op.elementwise and len(op.arguments) == len(drawn(op)[0].inputs))


def test_operations_without_samples_state_little():
    """Where no sample can hold a fact to account, only leaves say that what they hold is finite."""
    for op in OPS.values():
        if op.samples is None:
            assert not (op.elementwise or op.monotone or op.moves or op.index or op.limit)
            assert not (op.apart or op.marker or op.arguments)
            assert not op.finite or op.name in ("input", "variable", "seed", "size")


def moved(op: Op, sample: Sample, number: int, axis: int) -> list[np.ndarray]:
    """For each slice along a dimension of an operand the elements of the result that move with it."""
    rng, x = np.random.default_rng(0), sample.inputs[number]
    before, reached = value(op, sample.inputs, sample.attrs), []
    for i in range(x.shape[axis]):
        at = (*[slice(None)] * axis, i)
        mask = np.zeros(np.shape(before), bool)
        for _ in range(3):
            changed = np.array(x)
            others = rng.permutation(x.reshape(-1))[: x[at].size].reshape(x[at].shape)
            changed[at] = ~x[at] if x.dtype.kind == "b" else others
            if x.dtype.kind == "f":
                changed[at] += rng.uniform(-1, 1, x[at].shape)
            after = value(op, [changed if n == number else y for n, y in enumerate(sample.inputs)], sample.attrs)
            mask |= (after != before) & ~((after != after) & (before != before))
        reached.append(mask)
    return reached


def only_along(reached: list[np.ndarray], axis: int) -> bool:
    """Whether slice i of an operand moves nothing but slice i of the result along this dimension."""
    return reached[0].shape[axis] == len(reached) and not any(
        np.delete(mask, i, axis).any() for i, mask in enumerate(reached)
    )


@every_op
def test_apart(op):
    """Slices that are said to stay apart do; those that are said to meet or to go elsewhere do so on some sample."""
    kinds: dict[tuple[int, Slices | None], bool] = {}  # whether it was seen to be as stated
    for sample in drawn(op):
        node = Case(op, sample).node
        for number, x in enumerate(sample.inputs):
            for axis in range(x.ndim):
                stated = None if op.apart is None else op.apart(node, number, axis)
                reached = moved(op, sample, number, axis)
                if isinstance(stated, int):
                    assert only_along(reached, stated), (sample, number, axis, stated)
                    continue
                shared = sum(mask.astype(int) for mask in reached) > 1  # elements that move with several slices
                if stated is Slices.UNREAD:
                    assert not any(mask.any() for mask in reached)
                elif stated is Slices.PLACED:
                    assert not shared.any(), (sample, number, axis)
                seen = (
                    bool(shared.any())
                    if stated in (Slices.ONE, Slices.ACROSS)
                    else not any(only_along(reached, i) for i in range(node.rank))
                )
                kinds[number, stated] = kinds.get((number, stated), False) or seen or stated is Slices.UNREAD
    assert all(kinds.values()), kinds
