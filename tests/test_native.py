"""Chains of elementwise operations in the native library: against NumPy, in any number of threads; what is refused."""

from __future__ import annotations

from functools import partial
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.runtime import chains, graphs, native, programs
from dlc.runtime.failures import Error
from native_cases import CLOSE, Array, draft, element, mangled, numbers, runs_or_says
from onnx import ModelProto, TensorProto, helper

there = pytest.mark.skipif(not native.works(), reason="the native library was not built")


def run(model: ModelProto, feeds: dict[str, Array], threads: int = 1) -> list[Array]:
    """As the model stands, denormals included."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_cpu_mem_arena = False  # each tensor has memory of its own, whose ends a sanitizer watches
    native.register(options)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, feeds)]


def fused(model: ModelProto) -> ModelProto:
    made = ModelProto()
    made.CopyFrom(model)
    chains.chained(made, graphs.inferred(made))
    return made


def chain(program: list[int], inputs: dict[str, int], outputs: dict[str, int]) -> ModelProto:
    """A model of one node with that program."""
    graph = helper.make_graph(
        [helper.make_node("Chain", list(inputs), list(outputs), domain=programs.DOMAIN, program=program)],
        "g",
        [helper.make_tensor_value_info(name, kind, None) for name, kind in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(programs.DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def same(a: Array, b: Array) -> bool:
    """To the last bit, whichever NaN it is."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.kind != "f":
        return bool(np.array_equal(a, b))
    whole = np.dtype(f"u{a.itemsize}")
    return bool(np.all((np.isnan(a) & np.isnan(b)) | (a.view(whole) == b.view(whole))))


class Whole(chains.Chains):
    """Nodes that stand alone too, whatever they cost: ONNX Runtime's own kernels differ in signs of zeros."""

    least = 1

    def _pays(self, region: list[int]) -> bool:
        return True


class Alone(Whole):
    """Every node as a chain of its own."""

    def _regions(self) -> list[list[int]]:
        return [[i] for i, part in enumerate(self.parts) if part is not None]


def chained(model: ModelProto, how: type[chains.Chains] = Whole) -> tuple[ModelProto, int]:
    made = ModelProto()
    made.CopyFrom(model)
    count = how(made.graph, graphs.inferred(made).graph, {}, {}).run()
    made.opset_import.add(domain=programs.DOMAIN, version=programs.VERSION)
    return made, count


# --- what a chain computes


@there
@pytest.mark.parametrize("block", range(20))
def test_random_chains_of_exact_operations_are_numpys(block: int) -> None:
    """Every operation that IEEE 754 or integers define: to the last bit, in any shape, type and order."""
    for seed in range(block * 10, block * 10 + 10):
        case = draft(seed, exact=True)
        names = case.outputs()
        made, count = chained(case.model(names, named=seed % 2 == 1))
        assert count == len(case.nodes) and all(node.op_type == "Chain" for node in made.graph.node)
        for name, value in zip(names, run(made, case.feeds), strict=True):
            assert same(value, case.values[name]), (seed, name, value, case.values[name])


@there
@pytest.mark.parametrize("block", range(10))
def test_a_chain_is_its_operations_one_by_one(block: int) -> None:
    """With exp, log and the others too: one program gives to the last bit what a program for each node does, with any
    number of threads."""
    for seed in range(1000 + block * 10, 1000 + block * 10 + 10):
        case = draft(seed, exact=False)
        names = case.outputs()
        model = case.model(names, named=False)
        expected = run(chained(model, Alone)[0], case.feeds)
        made, _ = chained(model)
        for threads in (1, 2, 3):
            for a, b in zip(run(made, case.feeds, threads), expected, strict=True):
                assert same(a, b), seed


def ulps(found: Array, right: Array) -> Array:
    """How far off, in units in the last place of the right value, which has more digits."""
    with np.errstate(all="ignore"):
        rounded = right.astype(found.dtype)
        off = np.abs(found.astype(right.dtype) - right) / np.spacing(np.abs(rounded)).astype(right.dtype)
    return np.where((found == rounded) | (np.isnan(found) & np.isnan(rounded)), 0, off)


def float32s(step: int) -> Array:
    """Every step-th float32 number by its bits, of both signs, infinities and NaN among them."""
    bits = np.arange(0, 1 << 32, step, dtype=np.uint64).astype(np.uint32)
    return np.concatenate([bits, np.array([0x7F800000, 0xFF800000, 0x7FC00000, 0x80000000, 1], np.uint32)]).view(
        np.float32
    )


def wide(op: str, x: Array) -> Array:
    """The function in double."""
    from scipy import special

    of = {"Exp": np.exp, "Log": np.log, "Tanh": np.tanh, "Erf": special.erf, "Sigmoid": special.expit}
    with np.errstate(all="ignore"):
        return np.asarray(of[op](x.astype(np.float64)))


def unary(op: str, kind: int = TensorProto.FLOAT) -> ModelProto:
    number = programs.SAME[op][0]
    return chain([1, 1, 1, 1, 0, kind, number, kind, 0, 0, 0, 1], {"x": kind}, {"y": kind})


@there
@pytest.mark.parametrize("op", list(CLOSE))
def test_functions_are_within_two_ulp_in_float32(op: str) -> None:
    x = float32s(4093)
    [y] = run(unary(op), {"x": x})
    assert ulps(y, wide(op, x)).max() <= 2


@there
@pytest.mark.long
@pytest.mark.parametrize("step", [1, 43], ids=["every", "hundred_million"])  # 43: 99.9 million of them
@pytest.mark.parametrize("op", list(CLOSE))
def test_functions_are_within_two_ulp_for_every_float32(op: str, step: int) -> None:
    model, chunk = unary(op), step << 24
    worst, count = 0.0, 0
    for start in range(0, 1 << 32, chunk):
        x = np.arange(start, min(start + chunk, 1 << 32), step, dtype=np.uint64).astype(np.uint32).view(np.float32)
        worst, count = max(worst, float(ulps(run(model, {"x": x}, 2)[0], wide(op, x)).max())), count + x.size
    assert worst <= 2 and count == -(-(1 << 32) // step)


@there
@pytest.mark.parametrize("op", ["Exp", "Log", "Sigmoid", "Tanh"])
def test_functions_in_float64(op: str) -> None:
    rng = np.random.default_rng(4)
    x = np.concatenate(
        [rng.normal(0, 3, 20_000), rng.uniform(-800, 800, 20_000), 10 ** rng.uniform(-320, 308, 20_000),
         [0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, 1.0]]
    )  # fmt: skip
    [y] = run(unary(op, TensorProto.DOUBLE), {"x": x})
    of = {"Exp": np.exp, "Log": np.log, "Sigmoid": lambda v: 1 / (1 + np.exp(-v)), "Tanh": np.tanh}[op]
    with np.errstate(all="ignore"):
        right = np.asarray(of(x.astype(np.longdouble)))
    assert float(ulps(y, right).max()) <= 2


@there
def test_erf_in_float64() -> None:
    """Beside mpmath, to 40 digits."""
    import mpmath

    rng = np.random.default_rng(4)
    x = np.concatenate(
        [rng.uniform(-1.1, 1.1, 400), rng.uniform(-7, 7, 600), 10 ** rng.uniform(-320, 300, 100),
         [0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, 1.0, -1.0, np.nextafter(1, 0), 6.0]]
    )  # fmt: skip
    [y] = run(unary("Erf", TensorProto.DOUBLE), {"x": x})
    with mpmath.workdps(40):
        exact = [mpmath.erf(mpmath.mpf(float(v))) for v in x]
        right = np.array([float(v) for v in exact])
        off = [abs(mpmath.mpf(float(a)) - b) for a, b in zip(y, exact, strict=True)]
        assert all(not e > 2 * float(np.spacing(abs(r))) for e, r in zip(off, right, strict=True))
    assert same(y[np.isnan(x) | (x == 0)], x[np.isnan(x) | (x == 0)])
    np.testing.assert_array_equal(y[np.isinf(x)], np.sign(x[np.isinf(x)]))


@there
def test_a_chain_broadcasts_to_a_size_of_nothing() -> None:
    kind = TensorProto.FLOAT
    model = chain([1, 2, 1, 1, 0, kind, kind, 3, kind, 0, 1, 0, 2], {"a": kind, "b": kind}, {"y": kind})
    [y] = run(model, {"a": np.zeros((0, 1), np.float32), "b": np.zeros((1, 7), np.float32)})
    assert y.shape == (0, 7)


@there
@pytest.mark.parametrize("size", [1_500_000, 1 << 21])
def test_large_results_go_past_the_caches(size: int) -> None:
    """To the last element, whether their number fills lines or not, and in any number of threads."""
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(2, size + 3)).astype(np.float32)
    program = [1, 2, 3, 2, 1, F, F, 3, F, 0, 1, 0, 5, F, 2, 0, 0, 4, F, 3, 1, 0, 3, 4]
    for threads in (1, 2):
        y, z = run(chain(program, {"a": F, "b": F}, {"y": F, "z": F}), {"a": a, "b": b}, threads)
        np.testing.assert_array_equal(y, (a + b) * a)
        np.testing.assert_array_equal(z, (a + b) * a - b)


# --- what a kernel refuses

F = TensorProto.FLOAT
GOOD = [1, 2, 2, 1, 0, F, F, 3, F, 0, 1, 0, 5, F, 2, 0, 0, 3]
WRONG: dict[str, list[int]] = {
    "nothing": [],
    "a beginning only": GOOD[:4],
    "cut off": GOOD[:-1],
    "too long": [*GOOD, 0],
    "longer than any": [1, *([0] * 5000)],
    "another version": [2, *GOOD[1:]],
    "no inputs": [1, 0, *GOOD[2:]],
    "other inputs": [1, 1, *GOOD[2:]],
    "very many instructions": [1, 2, 2**40, *GOOD[3:]],
    "negative instructions": [1, 2, -1, *GOOD[3:]],
    "other outputs": [*GOOD[:3], 2, *GOOD[4:]],
    "unknown flags": [*GOOD[:4], 2, *GOOD[5:]],
    "an unknown type": [*GOOD[:5], 77, *GOOD[6:]],
    "an unknown operation": [*GOOD[:7], 39, *GOOD[8:]],
    "a negative operation": [*GOOD[:7], -1, *GOOD[8:]],
    "an operation of another type": [*GOOD[:7], 27, *GOOD[8:]],
    "an operand of the future": [*GOOD[:9], 2, *GOOD[10:]],
    "an operand far away": [*GOOD[:9], 2**62, *GOOD[10:]],
    "a negative operand": [*GOOD[:9], -1, *GOOD[10:]],
    "an output that is an input": [*GOOD[:-1], 0],
    "an output that is not there": [*GOOD[:-1], 4],
    "types that do not agree": [*GOOD[:5], TensorProto.DOUBLE, *GOOD[6:]],
}


@there
def test_the_program_that_the_others_spoil_is_right() -> None:
    x = np.arange(6, dtype=np.float32)
    [y] = run(chain(GOOD, {"a": F, "b": F}, {"y": F}), {"a": x, "b": x})
    np.testing.assert_array_equal(y, 2 * x * x)


@there
@pytest.mark.parametrize("what", list(WRONG))
def test_a_wrong_program_is_refused_when_it_is_loaded(what: str) -> None:
    with pytest.raises(Exception, match=r"Chain|program"):
        run(chain(WRONG[what], {"a": F, "b": F}, {"y": F}), {})


@there
def test_an_output_that_is_declared_of_another_type_is_refused() -> None:
    """Its memory would be too short."""
    with pytest.raises(Exception, match="an output of another type"):
        run(chain(GOOD, {"a": F, "b": F}, {"y": TensorProto.BOOL}), {})


@there
def test_random_programs_are_refused_or_run() -> None:
    """Any list of integers: an error, or a result, and no reading where nothing is."""
    rng = np.random.default_rng(5)
    loaded = 0
    for _ in range(600):
        words = mangled(rng, GOOD, [-(2**63), -1, 0, 1, 2, 3, 4, 9, 11, 12, 22, 2**31, 2**63 - 1], 4)
        model = chain(words, {"a": F, "b": F}, {"y": F})
        x = np.ones((3, 50), np.float32)
        loaded += runs_or_says(partial(run, model, {"a": x, "b": x}), "Chain", "program", "type", "Type")
    assert 0 < loaded < 600


@there
def test_tensors_of_another_type_or_shape_are_refused() -> None:
    made = chain(GOOD, {"a": F, "b": TensorProto.DOUBLE}, {"y": F})
    with pytest.raises(Exception, match="another type"):
        run(made, {"a": np.zeros(3, np.float32), "b": np.zeros(3)})
    with pytest.raises(Exception, match="broadcast"):
        run(chain(GOOD, {"a": F, "b": F}, {"y": F}), {"a": np.zeros(3, np.float32), "b": np.zeros(4, np.float32)})


# --- in a step

SPEC = """
model m {
    input  x: float[batch, 20]
    target y: float[batch, 3]
    z = x |> dense(40) |> gelu |> dense(3)
    loss = mean((z - y)^2)
    output p = sigmoid(z)
}
train m { minimize loss using adam(0.01) }
"""


def trained(**how: Any) -> tuple[dict[str, Array], dict[str, int]]:
    rng = np.random.default_rng(2)
    batch = {"x": rng.normal(size=(8, 20)).astype("float32"), "y": rng.normal(size=(8, 3)).astype("float32")}
    trainer = dlc.Trainer(dlc.compile(SPEC), device="cpu", seed=3, **how)
    for _ in range(5):
        trainer.step(batch)
    return {name: trainer.parameters[name] for name in trainer.parameters}, trainer.rewrites


@there
def test_a_step_says_what_went_into_chains() -> None:
    with_, counts = trained()
    without, none = trained(native=False)
    assert counts[chains.CHAINED] > 20 and chains.CHAINED not in none
    for name, value in without.items():
        np.testing.assert_allclose(with_[name], value, rtol=1e-5, atol=1e-6)


@there
def test_runs_are_the_same_with_any_number_of_threads_and_again() -> None:
    first, _ = trained(threads=1)
    for threads in (1, 2):
        for name, value in trained(threads=threads)[0].items():
            assert same(value, first[name])


@there
def test_the_environment_switches_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLC_NATIVE", "0")
    assert chains.CHAINED not in trained()[1]
    assert chains.CHAINED in trained(native=True)[1]


def test_without_the_library_everything_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "works", lambda: False)
    monkeypatch.setattr(native, "library", lambda: None)
    assert chains.CHAINED not in trained()[1]
    with pytest.raises(Error) as caught:
        trained(native=True)
    assert caught.value.code == "E0760" and "C compiler" in caught.value.notes[0]


# --- which nodes go together


def operators(nodes: list[Any], inputs: dict[str, list[Any]], outputs: list[str]) -> list[str]:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, F, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, F, None) for name in outputs],
    )
    made = fused(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))
    return [node.op_type for node in made.graph.node]


def node(op: str, inputs: str, output: str, **attributes: object) -> Any:
    return helper.make_node(op, inputs.split(), [output], name=output, **attributes)


@pytest.mark.parametrize(
    ("nodes", "left"),
    [
        ([node("Exp", "x", "a"), node("Mul", "a x", "y")], ["Chain"]),
        ([node("Exp", "x", "y")], ["Exp"]),
        # a way out of the region and back in
        ([node("Exp", "x", "a"), node("MatMul", "a x", "b"), node("Mul", "a b", "y")], ["Exp", "MatMul", "Mul"]),
        (
            [node("Exp", "x", "a"), node("Neg", "a", "n"), node("MatMul", "n x", "b"), node("Mul", "a b", "c"),
             node("Neg", "c", "y")],
            ["Chain", "MatMul", "Chain"],
        ),
        # of other operators, or with attributes that mean something else
        ([node("Exp", "x", "a", domain="other"), node("Mul", "a x", "y")], ["Exp", "Mul"]),
        ([node("Cast", "x", "a", to=TensorProto.INT64), node("Cast", "a", "y", to=F)], ["Cast", "Cast"]),
        # what is needed late is computed late, where it is read
        (
            [node("Exp", "x", "a"), node("Mul", "x x", "s"), node("Neg", "a", "n"), node("MatMul", "n x", "b"),
             node("Mul", "s b", "c"), node("Neg", "c", "y")],
            ["Chain", "MatMul", "Chain"],
        ),
    ],
)  # fmt: skip
def test_what_goes_together(nodes: list[Any], left: list[str]) -> None:
    assert operators(nodes, {"x": ["n", "n"]}, ["y"]) == left


def test_sizes_of_other_names_do_not_meet() -> None:
    nodes = [node("Add", "a b", "c"), node("Neg", "c", "y")]
    assert operators(nodes, {"a": ["n"], "b": ["m"]}, ["y"]) == ["Add", "Neg"]
    assert operators(nodes, {"a": ["n"], "b": ["n"]}, ["y"]) == ["Chain"]
    assert operators(nodes, {"a": ["n"], "b": [1]}, ["y"]) == ["Chain"]


def test_numbers_of_each_type_are_drawn() -> None:
    rng = np.random.default_rng(0)
    for kind in ("float32", "float64", "int32", "int64", "bool"):
        assert numbers(rng, kind, (3,)).dtype == kind and element(kind)


@there
def test_a_library_of_other_sources_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for known in native.works, native.refusal:
        known.cache_clear()
    monkeypatch.setattr(native, "FORM", native.FORM + 1)
    try:
        assert not native.works() and not native.wanted(None)
        with pytest.raises(Error) as caught:
            native.wanted(True)
        assert caught.value.code == "E0760" and "install dlc again" in caught.value.notes[0]
    finally:
        for known in native.works, native.refusal:
            known.cache_clear()
