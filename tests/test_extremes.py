"""Each rule of the simplifier on huge, tiny, infinite and undefined numbers: NaN and infinities stay where they are,
and what was finite stays so. Only what overflows half way may come out better."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from dlc.ir.graph import Graph
from dlc.ir.interpret import evaluate
from dlc.ir.op import NUMPY
from dlc.optimize import simplify, stable
from rewrite_cases import CASES
from rewrite_leaves import Leaves, feeds
from test_rewrites import FINAL

WIDE = np.longdouble  # its range is that of 64 bits to the sixteenth power: nothing here overflows half way
KINDS = {
    "huge": [1e300, -1e300, 3e200, 1.0, -2.0],
    "tiny": [1e-300, -1e-300, 2e-200, 0.0, 1.0],
    "scaled": [1e200, 1e-200, -1e150, 1e-150],
    "infinite": [np.inf, -np.inf, 1.0, -2.0, 0.5],
    "undefined": [np.nan, 1.0, -2.0, 0.5],
}
# Their terms do not cancel: a result that is tiny is right to its last digits too.
PRODUCTS = (
    "sum_of_scaled",
    "scalars_together",
    "scalars_out",
    "small_factors_together",
    "factor_out_of_product",
    "factor_out_of_sum",
    "sum_without_factors",
    "sum_of_outer_product",
    "multiply_by_number",
    "multiply_by_quotient",
    "divide",
    "signs_out",
    "negate",
)
# What docs/simplification.md excepts: stable forms of infinite logits, and what stands beside the 1 of a one_hot.
STABLE = tuple(rule.__name__ for rules in stable.RULES.values() for rule in rules)
EXCEPT = dict.fromkeys(STABLE, ("infinite",)) | {"sum_of_one_hot": ("infinite", "undefined")}


def draws(name: str) -> Iterator[dict[str, np.ndarray]]:
    """One leaf, or all of them, of extreme numbers."""
    rng = np.random.default_rng(sum(map(ord, name)))
    for kind, values in KINDS.items():
        if kind in EXCEPT.get(name, ()):
            continue
        for chosen in ("x", "y", "w", "v", "u", "z", "s", "t", "st", "xs", "xw", "all"):
            for _ in range(4):
                given = feeds(rng)
                for leaf, value in given.items():
                    if value.dtype.kind == "f" and (leaf in chosen or chosen == "all"):
                        given[leaf] = rng.choice(values, value.shape)
                yield given


def widened(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: value.astype(WIDE) if value.dtype.kind == "f" else value for name, value in given.items()}


@pytest.mark.parametrize("name", CASES)
def test_what_a_rule_leaves_of_extreme_numbers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, plain = Graph(), Graph()
    for made in (graph, plain):
        for i, node in enumerate(CASES[name](Leaves(made))):  # as the text of a model
            made.outputs[f"r{i}"] = node
    simplify(graph, final=name in FINAL)
    for given in draws(name):
        with np.errstate(all="ignore"):
            before = evaluate(list(plain.outputs.values()), given)
            after = evaluate(list(graph.outputs.values()), given)
        with monkeypatch.context() as patch, np.errstate(all="ignore"):
            patch.setitem(NUMPY, "float", WIDE)
            exact = evaluate(list(plain.outputs.values()), widened(given))
        sound = all(np.isfinite(value).all() for value in given.values())
        for number, (a, e, b) in enumerate(zip(before, exact, after, strict=True)):
            if a.dtype.kind != "f":
                np.testing.assert_array_equal(b, a)
                continue
            top = max(abs(value[np.isfinite(value)]).max(initial=0) for value in given.values())
            slack = 0.0 if name in PRODUCTS else 1e-9 * top
            with np.errstate(over="ignore"):
                right = np.isclose(a, e.astype(np.float64), rtol=1e-9, atol=0, equal_nan=True)
            if sound:  # what overflows half way may come out finite
                right &= np.isfinite(a)
            kept = np.isclose(a, b, rtol=1e-9, atol=max(slack, 1e-307), equal_nan=True)
            bad = ~kept & right
            assert not bad.any(), (number, a[bad], b[bad], given)
