"""Products of large matrices in the native library: against NumPy, of any size; what is refused, which nodes it is."""

from __future__ import annotations

from typing import Any

import dlc
import numpy as np
import onnxruntime
import pytest
from dlc.runtime import graphs, large, native, programs
from native_cases import Array, mangled, runs_or_says
from onnx import ModelProto, TensorProto, helper
from test_native import run, same

wide = pytest.mark.skipif(native.vector() < large.LANES, reason="the runtime takes them with wider vectors only")
there = pytest.mark.skipif(not native.works(), reason="the native library was not built")
F = TensorProto.FLOAT


def bits(value: float) -> int:
    return int(np.float32(value).view(np.uint32))


def model(program: list[int], inputs: int = 2, kind: int = F) -> ModelProto:
    names = ["a", "b", "c", "d"][:inputs]
    graph = helper.make_graph(
        [helper.make_node(large.OPERATOR, names, ["y"], domain=programs.DOMAIN, program=program)],
        "g",
        [helper.make_tensor_value_info(name, F, None) for name in names],
        [helper.make_tensor_value_info("y", kind, None)],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(programs.DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def program(ta: int = 0, tb: int = 0, alpha: float = 1.0, beta: float = 1.0, threads: int = 1) -> list[int]:
    return [large.VERSION, ta, tb, bits(alpha), bits(beta), threads]


Case = tuple[dict[str, Array], int, int, float, float]


def case(rng: np.random.Generator, rows: int, depth: int, columns: int, added: int | None = None) -> Case:
    """Factors, turned or not, and one of the shapes of what is added, if anything is."""
    ta, tb = (int(turned) for turned in rng.integers(0, 2, 2))
    shapes: dict[str, tuple[int, ...]] = {
        "a": (depth, rows) if ta else (rows, depth),
        "b": (columns, depth) if tb else (depth, columns),
    }
    forms = [None, (rows, columns), (columns,), (1, columns), (rows, 1), (1,), (), (1, 1)]
    if (form := forms[int(rng.integers(0, len(forms))) if added is None else added]) is not None:
        shapes["c"] = form
    feeds = {name: np.asarray(rng.normal(size=shape), np.float32) for name, shape in shapes.items()}
    alpha, beta = (float(np.float32(value)) for value in rng.choice([1.0, -0.5, 2.75], 2))
    return feeds, ta, tb, alpha, beta


def oracle(of: Case) -> tuple[Array, Array]:
    """Its definition in double, and the same of absolute values: what rounding is measured by."""
    feeds, ta, tb, alpha, beta = of
    a, b = (feeds[name].astype(np.float64) for name in "ab")
    a, b = a.T if ta else a, b.T if tb else b
    c = beta * feeds["c"].astype(np.float64) if "c" in feeds else np.zeros(())
    with np.errstate(all="ignore"):
        return alpha * (a @ b) + c, np.abs(alpha) * (np.abs(a) @ np.abs(b)) + np.abs(c)


def of(case: Case, threads: int = 1) -> Array:
    feeds, *said = case
    return run(model(program(*said, threads), len(feeds)), feeds, threads)[0]


def close(found: Array, case: Case) -> bool:
    right, size = oracle(case)
    return found.shape == right.shape and bool(np.all(np.abs(found - right) <= 2e-6 * size))


@there
@pytest.mark.parametrize("block", range(6))
def test_random_products_are_numpys(block: int) -> None:
    """In blocks of rows, columns and depth, whole and in part; the same bits for any number of threads."""
    for seed in range(block * 15, block * 15 + 15):
        rng = np.random.default_rng(seed)
        sizes = [int(rng.choice([1, 2, 7, 8, 15, 16, 17, 31, 33, 47, 48, 49, 100, 255, 257, 300])) for _ in range(2)]
        depth = int(rng.choice([1, 3, 15, 16, 17, 40, 100, 511, 512, 513, 530, 1030]))
        drawn = case(rng, sizes[0], depth, sizes[1])
        first = of(drawn)
        assert close(first, drawn), seed
        for threads in (2, 3, 7):
            assert same(of(drawn, threads), first), seed


@there
@pytest.mark.parametrize("added", range(8))
def test_products_with_whatever_is_added(added: int) -> None:
    drawn = case(np.random.default_rng(added), 70, 40, 100, added)
    assert close(of(drawn), drawn) and same(of(drawn, 2), of(drawn))


@there
@pytest.mark.parametrize("sizes", [(0, 5, 7), (5, 0, 7), (5, 7, 0), (0, 0, 0), (300, 0, 100)])
def test_of_nothing(sizes: tuple[int, int, int]) -> None:
    """A sum of nothing is 0, and what is added is all."""
    for seed in range(8):
        drawn = case(np.random.default_rng(seed), *sizes, seed)
        np.testing.assert_array_equal(of(drawn), oracle(drawn)[0].astype(np.float32))


@there
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_large_products_with_infinities(value: float) -> None:
    """They spread as in the definition, and no further: not from rows and columns that are laid out beside others."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        drawn = case(rng, int(rng.integers(1, 60)), int(rng.integers(1, 60)), int(rng.integers(1, 120)))
        for name, array in drawn[0].items():
            if rng.integers(0, 2) or name == "a":
                array.reshape(-1)[rng.integers(0, array.size)] = value
        right, _ = oracle(drawn)
        found = of(drawn)
        seen = ~np.isfinite(right)
        np.testing.assert_array_equal(found[seen], right[seen].astype(np.float32))
        assert np.isfinite(found[~seen]).all()


# --- what it refuses


@there
@pytest.mark.parametrize(
    "wrong",
    [
        [],
        program()[:-1],
        [*program(), 0],
        [2, *program()[1:]],
        program(2),
        program(0, -1),
        [1, 0, 0, 2**32, 0, 1],
        [1, 0, 0, 0, -1, 1],
        program(threads=0),
        program(threads=large.MOST_THREADS + 1),
        [2**63 - 1] * 6,
    ],
    ids=str,
)
def test_wrong_programs_of_products_are_refused(wrong: list[int]) -> None:
    feeds = {"a": np.ones((2, 3), np.float32), "b": np.ones((3, 4), np.float32)}
    with pytest.raises(Exception, match=r"Product|program"):
        run(model(wrong), feeds)


@there
def test_random_programs_of_products_are_refused_or_run() -> None:
    feeds = {"a": np.ones((4, 4), np.float32), "b": np.ones((4, 4), np.float32)}
    rng, ran = np.random.default_rng(0), 0
    for _ in range(150):
        wrong = mangled(rng, program(), [-(2**63), -1, 0, 1, 2, 3, 4096, 2**31, 2**32, 2**63 - 1], 3)
        ran += runs_or_says(lambda wrong=wrong: run(model(wrong), feeds), "Product", "program")  # type: ignore[misc]
    assert 10 < ran < 140


@there
def test_products_declared_as_another_type_are_refused() -> None:
    feeds = {"a": np.ones((2, 3), np.float32), "b": np.ones((3, 4), np.float32)}
    with pytest.raises(Exception, match="an output of another type"):
        run(model(program(), kind=TensorProto.DOUBLE), feeds)


@there
@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 3), (4, 3)], "do not fit"),
        ([(2, 3, 1), (3, 4)], "no matrix"),
        ([(3,), (3, 4)], "no matrix"),
        ([(2, 3), (3, 4), (1, 2, 4)], "no matrix"),
        ([(2, 3), (3, 4), (3, 4)], "does not fit"),
        ([(2, 3), (3, 4), (2,)], "does not fit"),
        ([(2, 3), (3, 4), (0, 4)], "does not fit"),
    ],
    ids=str,
)
def test_tensors_that_are_no_products_are_refused(shapes: list[tuple[int, ...]], message: str) -> None:
    feeds = {name: np.ones(shape, np.float32) for name, shape in zip("abcd", shapes, strict=False)}
    with pytest.raises(Exception, match=message):
        run(model(program(), len(shapes)), feeds)


@there
@pytest.mark.parametrize("inputs", [1, 4])
def test_other_inputs_than_two_or_three_are_refused_before_a_call(inputs: int) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    native.register(options)
    with pytest.raises(Exception, match="two or three"):
        onnxruntime.InferenceSession(model(program(), inputs).SerializeToString(), options)


# --- in a graph


def product(
    a: list[Any], b: list[Any], op: str = "Gemm", inputs: int = 2, kind: int = F, rows: int = 0, **said: Any
) -> ModelProto:
    """A model of one product after the rewrite."""
    names = ["a", "b", "c"][:inputs]
    domain = "com.microsoft" if op == "FusedMatMul" else ""
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], domain=domain, **said)],
        "g",
        [helper.make_tensor_value_info(n, kind, s) for n, s in zip(names, (a, b, [1]), strict=False)],
        [helper.make_tensor_value_info("y", kind, None)],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    made = helper.make_model(graph, opset_imports=[*opsets, helper.make_opsetid(programs.DOMAIN, 1)], ir_version=10)
    shapes = graphs.inferred(made)
    large.multiplied(made, shapes, graphs.known(made, shapes), 2, rows)
    return made


def operator(*sizes: list[Any], **said: Any) -> str:
    return str(product(*sizes, **said).graph.node[0].op_type)


def test_which_products_it_is() -> None:
    wide, square = [256, 1024], [1024, 1024]
    assert operator(wide, square) == operator(wide, square, op="MatMul") == operator([128, 1024], square) == "Product"
    assert operator([256, 512], [256, 512], transA=1) == "Product"
    assert operator([256, 512], [256, 512], op="FusedMatMul", transA=1, alpha=0.5) == "Product"
    assert operator(wide, square, inputs=3, beta=0.5) == operator(["n", 1024], square, rows=128) == "Product"
    assert operator(["n", 512], ["n", 512], transA=1, rows=256) == "Product"
    for sizes, said in [
        ((wide, square), {"transB": 1}),
        ((wide, square), {"inputs": 3, "beta": 0.0}),
        ((wide, square), {"kind": TensorProto.DOUBLE}),
        ((["n", 1024], square), {}),
        ((["n", 1024], square), {"rows": 64}),
        (([2, 256, 1024], square), {"op": "MatMul"}),
        (([64, 1024], square), {}),
        ((wide, [1024, 1000]), {}),
        (([256, 512], [256, 240]), {"transA": 1}),
        (([64, 2048], [64, 2048]), {"transA": 1}),
        (([256, 256], [256, 256]), {"transA": 1}),
        (([256, 512], [256, 512]), {"op": "FusedMatMul", "transA": 1, "transBatchA": 0}),
    ]:
        assert operator(*sizes, **said) == said.get("op", "Gemm"), (sizes, said)


@there
@pytest.mark.parametrize("said", [{}, {"alpha": -0.75, "beta": 0.5, "inputs": 3}, {"transA": 1, "op": "FusedMatMul"}])
def test_it_is_the_product_that_it_replaces(said: dict[str, Any]) -> None:
    rng = np.random.default_rng(3)
    a, b = ((256, 512), (256, 600)) if said.get("transA") else ((256, 1024), (1024, 1030))
    feeds = {"a": rng.normal(size=a), "b": rng.normal(size=b), "c": rng.normal(size=1)}
    feeds = {name: feeds[name].astype("f4") for name in "abc"[: said.get("inputs", 2)]}
    made = product(list(a), list(b), **said)
    assert made.graph.node[0].op_type == large.OPERATOR
    wanted: Case = feeds, said.get("transA", 0), 0, said.get("alpha", 1.0), said.get("beta", 1.0)
    assert close(run(made, feeds, 2)[0], wanted)


TEXT = """
model m {
    input  x: float[batch, 1024]
    target y: int[batch]
    z = x |> dense(1024) |> tanh |> dense(256)
    y ~ categorical(logits = z)
    output p = softmax(z)
}
train m {
    minimize loss using sgd(0.1)
    batch: 128
}
"""


def trained(rows: int = 128, text: str = TEXT, **how: Any) -> tuple[dict[str, Array], int]:
    rng = np.random.default_rng(2)
    batch = {"x": rng.normal(size=(rows, 1024)).astype("float32"), "y": rng.integers(0, 256, rows)}
    trainer = dlc.Trainer(dlc.compile(text), device="cpu", seed=3, **how)
    for _ in range(3):
        trainer.step(batch)
    return {name: trainer.parameters[name] for name in trainer.parameters}, trainer.rewrites.get(large.LARGE, 0)


@wide
@pytest.mark.parametrize("rows", [128, 37])
def test_steps_with_large_products_and_without_agree(rows: int) -> None:
    """The first layer's product and both derivatives by weights; a batch of other rows than the file says goes too."""
    with_, count = trained(rows, threads=1)
    without, none = trained(rows, native=False)
    assert (count, none) == (3, 0)
    for name, value in trained(rows, threads=2)[0].items():
        assert same(value, with_[name])
        np.testing.assert_allclose(with_[name], without[name], rtol=1e-4, atol=1e-6)


@wide
def test_a_file_of_few_rows_keeps_its_products() -> None:
    assert trained(64, TEXT.replace("batch: 128", "batch: 64"))[1] == 0
    assert trained(32, TEXT.replace("    batch: 128\n", ""))[1] == 0
