"""What moves from a later chain into an earlier one: where fewer bytes are then written and read, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from dlc.runtime import chains, graphs, native, programs, regions
from native_cases import Array
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator
from test_each import close
from test_native import node, run
from test_regions import joined, one

there = pytest.mark.skipif(not native.works(), reason="the native library was not built")
SIZE = (96, 64)  # more than a chain takes without counting


def chained(
    nodes: list[Any], outputs: list[str], held: dict[str, Array]
) -> tuple[ModelProto, ModelProto, dict[str, Array]]:
    rng = np.random.default_rng(1)
    names = sorted(
        {name for each in nodes for name in each.input} - {n for each in nodes for n in each.output} - set(held)
    )
    feeds = {name: (rng.normal(size=SIZE if name != "w" else (64, 64)) / 3).astype("f4") for name in names}
    model = one(nodes, feeds, outputs, held)
    made = ModelProto()
    made.CopyFrom(model)
    chains.chained(made, graphs.inferred(made))
    made.opset_import.add(domain=programs.DOMAIN, version=programs.VERSION)
    return model, made, feeds


def boundary(made: ModelProto) -> list[tuple[str, int, int]]:
    return [(each.op_type, len(each.input), len(each.output)) for each in made.graph.node]


GELU = [
    node("Erf", "u", "e"), node("Add", "e one", "c"), node("Mul", "u c", "f"), node("MatMul", "f w", "h"),
    node("Tanh", "h", "t"), node("MatMul", "t w", "g"),
    node("Mul", "u u", "q"), node("Neg", "q", "n"), node("Exp", "n", "x"), node("Mul", "u x", "y"),
    node("Add", "c y", "d"), node("Mul", "d g", "z"), node("Add", "z z2", "r"),
]  # fmt: skip
RELU = [
    node("Mul", "u v", "a"), node("Neg", "a", "b0"), node("Neg", "b0", "b"), node("Relu", "b", "f"),
    node("MatMul", "f w", "h"), node("MatMul", "h w", "g"),
    node("Cast", "f", "m", to=9), node("Where", "m g zero", "z"), node("Neg", "z", "n"), node("Abs", "n", "r"),
]  # fmt: skip
TANH = [
    node("Mul", "u u", "a"), node("Neg", "a", "b"), node("Tanh", "b", "f"),
    node("MatMul", "f w", "h"), node("MatMul", "h w", "g"),
    node("Mul", "f f", "q"), node("Sub", "one q", "d"), node("Mul", "d g", "r"),
]  # fmt: skip
HELD = {"one": np.asarray(1, "f4"), "zero": np.asarray(0, "f4")}


@there
@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        # u is not kept: the factor of the derivative is
        (GELU, [("Chain", 1, 2), ("MatMul", 2, 1), ("Tanh", 1, 1), ("MatMul", 2, 1), ("Mul", 2, 1), ("Add", 2, 1)]),
        # a byte of each, not four
        (RELU, [("Chain", 2, 2), ("MatMul", 2, 1), ("MatMul", 2, 1), ("Chain", 2, 1)]),
        # the result is kept for the product anyway: nothing is gained
        (TANH, [("Chain", 1, 1), ("MatMul", 2, 1), ("MatMul", 2, 1), ("Chain", 2, 1)]),
    ],
)
def test_what_is_kept_from_an_earlier_chain(nodes: list[Any], expected: list[tuple[str, int, int]]) -> None:
    held = {name: value for name, value in HELD.items() if any(name in each.input for each in nodes)}
    model, made, feeds = chained(nodes, ["r"], held)
    assert boundary(made) == expected
    for threads in (1, 2):
        for a, b in zip(run(made, feeds, threads), ReferenceEvaluator(model, verbose=0).run(None, feeds), strict=True):
            close(a, b)


MASK = [
    node("Relu", "u", "f"), node("Add", "v f", "h"), node("MatMul", "h w", "k"),
    node("Cast", "f", "m", to=9), node("Cast", "m", "n", to=1), node("MatMul", "k w", "g"), node("Mul", "n g", "r"),
]  # fmt: skip


@there
@pytest.mark.parametrize(("read", "kept"), [([], "m"), (["f"], "f")])
def test_a_region_keeps_which_numbers_are_positive(read: list[str], kept: str) -> None:
    """In a cache passes cost nothing, and memory counts: a byte of each, where nothing reads the numbers themselves."""
    model, made, feeds = chained(MASK, ["r", *read], {})
    made.CopyFrom(model)
    regions.EveryChain(made.graph, graphs.inferred(model).graph, {}, {}).run()
    first = next(each for each in made.graph.node if each.op_type == "Chain")
    assert set(first.output) == {"h", kept}
    together, counts = joined(model)
    assert counts
    for a, b in zip(run(together, feeds), ReferenceEvaluator(model, verbose=0).run(None, feeds), strict=True):
        close(a, b)


@there
@pytest.mark.parametrize("block", range(6))
def test_random_graphs_with_products_between_stay_what_they_are(block: int) -> None:
    """Any reading of earlier values later, over several products: no cycle, the same results."""
    for seed in range(block * 15, block * 15 + 15):
        rng = np.random.default_rng(seed)
        values, nodes = ["u", "v"], []
        for k in range(int(rng.integers(8, 30))):
            name = f"x{k}"
            pick = [str(each) for each in rng.choice(values, 2)]
            op = str(
                rng.choice(
                    ["Mul", "Add", "Sub", "Tanh", "Exp", "Relu", "MatMul", "Where"],
                    p=[0.2, 0.2, 0.1, 0.1, 0.05, 0.1, 0.2, 0.05],
                )
            )
            if op == "MatMul":
                nodes += [node("MatMul", f"{pick[0]} w", f"{name}/m"), node("Tanh", f"{name}/m", name)]
            elif op == "Where":
                nodes += [node("Less", "u v", f"{name}/b"), node("Where", f"{name}/b {pick[1]} {pick[0]}", name)]
            elif op in ("Tanh", "Exp", "Relu"):
                inner = [node("Tanh", pick[0], f"{name}/t")] if op == "Exp" else []
                nodes += [*inner, node(op, f"{name}/t" if op == "Exp" else pick[0], name)]
            else:
                nodes += [node("Tanh", pick[1], f"{name}/t"), node(op, f"{pick[0]} {name}/t", name)]
            values.append(name)
        outputs = list(dict.fromkeys([values[-1], *(str(each) for each in rng.choice(values[2:], 2))]))
        nodes.append(node("MatMul", f"{values[-1]} w", "end"))
        model, made, feeds = chained(nodes, [*outputs, "end"], {})
        for a, b in zip(run(made, feeds), ReferenceEvaluator(model, verbose=0).run(None, feeds), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * float(np.abs(b).max()), err_msg=str(seed))
