"""Scans that end when the rest of their iterations would change nothing, as ONNX `Loop`, with the same results."""

from __future__ import annotations

from typing import Any

import dlc
import numpy as np
import onnxruntime
import pytest
from dlc.ir import interpret
from onnx import GraphProto

HEAD = "model m {\n    input x: float[batch]\n    input limit: float[2]\n"


class Made:
    """The outputs of a spec by the interpreter, which makes all iterations, and by ONNX Runtime."""

    def __init__(self, body: str, precision: str = "float64") -> None:
        program = dlc.compile(HEAD + body + "\n}\n", precision=precision)
        self.model, self.dtype = program.model_proto(), precision
        self.roots = {name.removeprefix("output/"): node for name, node in program.module.roots("output/").items()}

    def kinds(self) -> list[str]:
        return [node.op_type for node in nodes(self.model.graph) if node.op_type in ("Loop", "Scan")]

    def agree(self, feeds: dict[str, Any]) -> dict[str, Any]:
        expected = dict(zip(self.roots, interpret.evaluate(list(self.roots.values()), feeds), strict=True))
        session = onnxruntime.InferenceSession(self.model.SerializeToString(), providers=["CPUExecutionProvider"])
        given = {v.name: np.asarray(feeds[v.name], self.dtype) for v in session.get_inputs()}
        found = dict(zip(self.roots, session.run(list(self.roots), given), strict=True))
        for name, value in found.items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-12 if self.dtype == "float64" else 1e-5)
        return expected


def nodes(graph: GraphProto) -> Any:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes(attribute.g)


SEARCH = """
    scan i over 0..30 {
        state a: float = 1
        state turns: float = 0
        state found: bool = false
        turns <- turns if found else turns + 1
        found <- found or sum((x * a)^2) <= limit[0]
        a <- a if found else a / 2
    }
    output a = a
    output turns = turns
    output found = where(found, 1.0, 0.0)
"""
STEPS = """
    scan i over 0..12 {
        state v: float[batch] = x
        state last: int = 0
        state done: bool = limit[1] < 0
        if not done {
            v <- sqrt(v^2 + 1)
            last <- i
            done <- sum(v) > limit[0] or max(v) > 8
        }
    }
    output v = v
    output last = 1.0 * last
"""


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("body", [SEARCH, STEPS], ids=["search", "steps"])
def test_the_result_is_that_of_all_iterations(body: str, precision: str) -> None:
    made = Made(body, precision)
    assert made.kinds() == ["Loop"]
    for limit in (1e-30, 1e-3, 0.5, 6.0, 40.0, 1e9):
        for other in (1.0, -1.0):  # with -1 the second is done before it begins
            made.agree({"x": np.array([0.5, -1.5, 2.0]), "limit": np.array([limit, other])})


@pytest.mark.parametrize(
    "body",
    [
        SEARCH.replace("found <- found or", "found <-"),  # true and false again
        SEARCH.replace("turns if found else turns + 1", "turns + 1"),  # counts on
        SEARCH.replace("a if found else a / 2", "a / 2 if found else a"),  # moves when it is found
        SEARCH.replace("        a <-", "        all[i] = a\n        a <-").replace(
            "output a = a", "output a = sum(all)"
        ),
        STEPS.replace("0..12", "reverse(0..12)"),  # counts back
        STEPS.replace("if not done {", "if done {").replace("limit[1] < 0", "limit[1] > 0"),
    ],
    ids=["not for good", "a counter", "the other side", "collected", "reversed", "while"],
)
def test_where_something_may_still_change_all_iterations_are_made(body: str) -> None:
    made = Made(body)
    assert made.kinds() == ["Scan"]
    for limit in (1e-3, 6.0, 40.0):
        made.agree({"x": np.array([0.5, -1.5, 2.0]), "limit": np.array([limit, 1.0])})


def test_derivatives_go_through_all_iterations() -> None:
    made = Made(STEPS + "    output slope = grad(sum(v), x)\n    output other = grad(grad(sum(v^2), x)[0], x)\n")
    assert "Scan" in made.kinds()
    for limit in (4.0, 6.0, 40.0):
        made.agree({"x": np.array([0.5, 1.5, 2.0]), "limit": np.array([limit, 1.0])})


def test_one_within_another() -> None:
    body = """
    scan i over 0..6 {
        state total: float = 0
        scan j over 0..20 {
            state a: float = 1
            state found: bool = false
            found <- found or a * sum(x^2) < limit[0] + total
            a <- a if found else a / 2
        }
        total <- total + a
    }
    output total = total
    """
    made = Made(body)
    assert sorted(made.kinds()) == ["Loop", "Scan"]
    for limit in (1e-3, 1.0, 50.0):
        made.agree({"x": np.array([0.5, -1.5, 2.0]), "limit": np.array([limit, 1.0])})


def test_a_search_that_ends_early_costs_what_it_needs() -> None:
    """A thousand iterations of which two are needed take far less time than a thousand."""
    body = """
    scan i over 0..1000 {
        state v: float[batch] = x
        state done: bool = false
        if not done {
            v <- tanh(cumsum(v)) + 1
            done <- sum(v) > limit[0]
        }
    }
    output v = v
    """
    import time

    made = Made(body)
    session = onnxruntime.InferenceSession(made.model.SerializeToString(), providers=["CPUExecutionProvider"])
    x, seconds = np.linspace(0, 1, 2000), []
    for limit in (-1.0, np.inf):
        feeds = {"x": x, "limit": np.array([limit, 1.0])}
        session.run(None, feeds)
        runs = []
        for _ in range(3):
            started = time.perf_counter()
            session.run(None, feeds)
            runs.append(time.perf_counter() - started)
        seconds.append(min(runs))
    assert seconds[0] < seconds[1] / 20
