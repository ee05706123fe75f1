"""What is done with each matrix of a batch in one node: against the operators' definitions, in any number of threads;
which nodes go together, where matrices are read and written, what is refused."""

from __future__ import annotations

from functools import partial
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.runtime import each, graphs, native, programs, rewrite, session
from native_cases import Array, runs_or_says
from onnx import ModelProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator
from test_native import node, run, same
from test_regions import one, spoilt, text

there = pytest.mark.skipif(not native.works(), reason="the native library was not built")


def batched(model: ModelProto) -> tuple[ModelProto, int]:
    made = ModelProto()
    made.CopyFrom(model)
    count = each.batched(made, graphs.inferred(made))
    made.opset_import.add(domain=programs.DOMAIN, version=programs.VERSION)
    return made, count


def operators(model: ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def close(a: Array, b: Array, where: object = "") -> None:
    assert a.shape == b.shape and a.dtype == b.dtype, where
    top = float(np.abs(b).max(initial=0, where=np.isfinite(b)))
    np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5 * top, err_msg=str(where))


def attention(
    b: int, h: int, t: int, d: int, seed: int, causal: bool
) -> tuple[list[Any], dict[str, Array], dict[str, Array]]:
    """Heads within one product, as models have them: forwards, and backwards from an adjoint of it, `g y`."""
    rng = np.random.default_rng(seed)
    mask = np.where(np.tril(np.ones((t, t))) > 0 if causal else rng.random((t, t)) < 0.8, 0, -np.inf)
    feeds = {
        "x": rng.normal(size=(b * t, 3 * h * d)).astype("f4"),
        "mask": mask.astype("f4"),
        "g": rng.normal(size=(b * t, h * d)).astype("f4"),
    }
    held = {
        "split": np.array([-1, t, 3, h, d]), "one": np.array([-1, h, t, d]), "rows": np.array([-1, h * d]),
        "last": np.array([-1]),
        "heads": np.array([-1, t, h, d]), "lead": np.array([1, -1, h, t, d]), "whole": np.array([-1, 3 * h * d]),
        **{str(k): np.array([k]) for k in range(4)}, "scale": np.array(d**-0.5, "f4"),
    }  # fmt: skip
    nodes = [node("Reshape", "x split", "x5"), node("Transpose", "x5", "x3", perm=[2, 0, 3, 1, 4])]
    for k, name in enumerate("qkv"):
        nodes += [node("Slice", f"x3 {k} {k + 1} 0", f"{name}1"), node("Reshape", f"{name}1 one", name)]
    nodes += [
        node("Transpose", "k", "kt", perm=[0, 1, 3, 2]), node("MatMul", "q kt", "s"),
        node("Mul", "s scale", "c" if causal else "l"),
        *([node("Trilu", "c", "l", upper=0)] if causal else []),
        node("Add", "l mask", "m"), node("Softmax", "m", "p", axis=-1), node("MatMul", "p v", "o"),
        node("Transpose", "o", "ot", perm=[0, 2, 1, 3]), node("Reshape", "ot rows", "y"),
        node("Mul", "y g", "gy"), node("Reshape", "gy heads", "g4"), node("Transpose", "g4", "gt", perm=[0, 2, 1, 3]),
        node("Transpose", "v", "vt", perm=[0, 1, 3, 2]), node("MatMul", "gt vt", "dp"), node("Mul", "dp p", "pp"),
        node("ReduceSum", "pp last", "r", keepdims=1), node("Sub", "dp r", "e"), node("Mul", "p e", "ds0"),
        node("Mul", "ds0 scale", "ds"), node("MatMul", "ds k", "dq"),
        node("Transpose", "ds", "dst", perm=[0, 1, 3, 2]), node("MatMul", "dst q", "dk"),
        node("Transpose", "p", "pt", perm=[0, 1, 3, 2]), node("MatMul", "pt gt", "dv"),
        *(node("Reshape", f"d{name} lead", f"d{name}1") for name in "qkv"), node("Concat", "dq1 dk1 dv1", "d3", axis=0),
        node("Transpose", "d3", "d5", perm=[1, 3, 0, 2, 4]), node("Reshape", "d5 whole", "dx"),
    ]  # fmt: skip
    return nodes, feeds, held


def prepared(
    nodes: list[Any], feeds: dict[str, Array], outputs: list[str], held: dict[str, Array]
) -> tuple[ModelProto, ModelProto]:
    model = one(nodes, feeds, outputs, held)
    return model, rewritten(model)


def rewritten(model: ModelProto) -> ModelProto:
    """As a session prepares it: transposes first go into the products."""
    made = ModelProto()
    made.CopyFrom(model)
    shapes = graphs.inferred(made)
    rewrite._Products(made, graphs.known(made, shapes), {TensorProto.FLOAT}).run()
    each.batched(made, shapes)
    made.opset_import.add(domain=programs.DOMAIN, version=programs.VERSION)
    return made


@there
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "shape", [(2, 4, 128, 32), (3, 3, 5, 7), (8, 1, 40, 64), (1, 9, 33, 1), (5, 2, 150, 16), (20, 4, 64, 8)]
)
def test_attention_is_what_its_operators_are(shape: tuple[int, int, int, int], causal: bool) -> None:
    """Forwards and backwards: two nodes, which read and write the heads where they lie; the same bits in any number of
    threads."""
    nodes, feeds, held = attention(*shape, seed=sum(shape), causal=causal)
    model, made = prepared(nodes, feeds, ["y", "dx"], held)
    if 1 not in shape:
        assert operators(made) == ["Each", "Reshape", "Mul", "Each", "Reshape"], shape
    expected = ReferenceEvaluator(model, verbose=0).run(None, feeds)
    found = run(made, feeds)
    for a, b in zip(found, expected, strict=True):
        close(a, b, shape)
    for threads in (2, 3):
        assert all(same(a, b) for a, b in zip(found, run(made, feeds, threads), strict=True))


@there
@pytest.mark.parametrize("where", ["a row of the mask", "scores", "values", "keys", "adjoint"])
def test_what_is_not_finite_spreads_as_it_is_defined_to(where: str) -> None:
    """Zeros of a mask are not multiplied: but by what is infinite or NaN they are."""
    nodes, feeds, held = attention(4, 2, 48, 16, 3, True)
    x = feeds["x"].reshape(4, 48, 3, 2, 16)
    if where == "a row of the mask":
        feeds["mask"][7] = -np.inf
    elif where == "adjoint":
        feeds["g"][60, 20] = np.inf
    else:
        x[1, 30, {"scores": 0, "keys": 1, "values": 2}[where], 1, 5] = np.nan if where == "scores" else np.inf
    model, made = prepared(nodes, feeds, ["y", "dx"], held)
    with np.errstate(all="ignore"):
        expected = ReferenceEvaluator(model, verbose=0).run(None, feeds)
    for a, b in zip(run(made, feeds), expected, strict=True):
        np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))
        close(np.where(np.isfinite(a), a, 0).astype("f4"), np.where(np.isfinite(b), b, 0).astype("f4"))


@there
def test_a_free_batch_and_an_empty_one() -> None:
    nodes, feeds, held = attention(4, 2, 16, 8, 1, True)
    model = one(nodes, feeds, ["y", "dx"], held)
    known = graphs.inferred(model).graph
    model.graph.value_info.extend(known.value_info)
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            name = {4: "batch", 64: "batch * 16"}.get(size.dim_value)
            if name is not None:
                size.dim_param = name
    made = rewritten(model)
    assert operators(made) == ["Each", "Reshape", "Mul", "Each", "Reshape"]
    for b in (4, 0, 1, 9):
        rng = np.random.default_rng(b)
        fed = {n: v if n == "mask" else rng.normal(size=(b * 16, v.shape[1])).astype("f4") for n, v in feeds.items()}
        for x, y in zip(run(made, fed), ReferenceEvaluator(model, verbose=0).run(None, fed), strict=True):
            close(x, y, b)


@there
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("m, n", [(1, 40), (40, 1), (96, 128), (128, 96), (1, 1), (33, 33), (17, 16), (16, 17)])
def test_triangles_of_products_of_any_shape(m: int, n: int, turned: bool) -> None:
    """Only those of square matrices are parts of their products."""
    rng = np.random.default_rng(m + n)
    b, said = ("k", [node("Transpose", "k", "kt", perm=[0, 2, 1])]) if turned else ("kt", [])
    feeds = {"p": rng.normal(size=(8, m, 24)).astype("f4"), b: rng.normal(size=(8, 24, n)).astype("f4")}
    if turned:
        feeds["k"] = np.ascontiguousarray(feeds["k"].transpose(0, 2, 1))
    feeds["scale"], feeds["other"] = np.array(0.3, "f4"), rng.normal(size=(8, n, 5)).astype("f4")
    for upper in (0, 1):
        for diagonal in (None, 0, -2, 3):
            nodes = [
                *said, node("MatMul", "p kt", "s"),
                node("Trilu", "s" if diagonal is None else "s diagonal", "l", upper=upper),
                node("Mul", "l scale", "c"), node("MatMul", "c other", "y"), node("Neg", "l", "z"),
            ]  # fmt: skip
            held = {} if diagonal is None else {"diagonal": np.array(diagonal)}
            model, made = prepared(nodes, feeds, ["y", "z"], held)
            assert "Each" in operators(made)
            for x, y in zip(run(made, feeds), ReferenceEvaluator(model, verbose=0).run(None, feeds), strict=True):
                close(x, y, (m, n, upper, diagonal))


CAUSAL = """model m {
    input q: float[batch, T, 24]
    input k: float[batch, U, 24]
    param w: float[24, 24] init normal(0.2)
    s = (q @ w) @ transpose(k, [0, 2, 1])
    loss = mean(KEPT * KEPT)
}
train m { minimize loss using sgd(0.1) }
"""
TRIANGLES = {
    "tril": "tril(s)",
    "triu": "triu(s, k = 1)",
    "attention": "(softmax(where(arange(size(q, 1))[:, none] >= arange(size(k, 1))[none, :], s, -inf), axis = 2) @ k)",
}


@there
@pytest.mark.parametrize("kept", TRIANGLES)
@pytest.mark.parametrize("t, u", [(1, 40), (40, 33), (33, 40), (20, 20), ("T", 20), ("T", "T"), ("T", "U")])
def test_causal_specs_of_any_two_lengths_train(
    t: int | str, u: int | str, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same steps as without the native library."""
    monkeypatch.setattr(session, "LARGE_PRODUCT", 0)  # each is run as a large one
    text = CAUSAL.replace("KEPT", TRIANGLES[kept]).replace("T,", f"{t},").replace("U,", f"{u},")
    model = dlc.compile(text)
    rng = np.random.default_rng(4)
    for own in (1, 20) if t == "T" else (t,):
        other = {"T": own, "U": 7}.get(str(u), u)
        sizes = {"q": own, "k": other}
        feeds = {name: rng.normal(size=(9, int(size), 24)).astype("f4") for name, size in sizes.items()}
        trainers = [dlc.Trainer(model, "cpu", seed=1, native=ours) for ours in (True, False)]
        losses = [[float(trainer.step(feeds)["loss"]) for _ in range(3)] for trainer in trainers]
        assert (each.EACH in trainers[0].rewrites) == (isinstance(t, int) and kept != "triu")  # a diagonal of its own
        np.testing.assert_allclose(*losses, rtol=2e-5)


# --- random groups

UNARY = ["Exp", "Tanh", "Neg", "Abs", "Softmax", "ReduceSum", "ReduceMax", "Trilu"]


def drafted(seed: int) -> tuple[list[Any], dict[str, Array], list[str], dict[str, Array]]:
    """Products of batches, and anything between them that takes each matrix by itself, or one for all."""
    rng = np.random.default_rng(seed)
    batch = tuple(int(n) for n in rng.choice([1, 2, 3, 5, 8], int(rng.integers(1, 4))))
    batch = batch if np.prod(batch) >= 8 else (*batch[:-1], 8)
    sizes = [int(n) for n in rng.choice([1, 2, 3, 8, 16, 17, 33, 40, 64], 4)]
    feeds: dict[str, Array] = {}
    values: dict[str, tuple[int, int]] = {}
    nodes: list[Any] = []
    for k in range(3):
        m, n = (int(each) for each in rng.choice(sizes, 2))
        feeds[f"x{k}"] = rng.normal(size=(*batch, m, n)).astype("f4")
        values[f"x{k}"] = (m, n)
    for k in range(int(rng.integers(3, 9))):
        name, (m, n) = [*values.items()][int(rng.integers(0, len(values)))]
        made = f"v{k}"
        if k == 0 or rng.random() < 0.4:
            other = f"w{k}"
            columns = int(rng.choice(sizes))
            feeds[other] = rng.normal(size=(*batch, n, columns)).astype("f4")
            nodes.append(node("MatMul", f"{name} {other}", made))
            values[made] = (m, columns)
        elif rng.random() < 0.5:
            op = str(rng.choice(UNARY))
            if op.startswith("Reduce"):
                axis = int(rng.integers(1, 3)) if op == "ReduceSum" else 1
                nodes.append(node(op, f"{name} axis{axis}", made, keepdims=1))
                values[made] = (m, 1) if axis == 1 else (1, n)
            else:
                said = {"axis": -1} if op == "Softmax" else {"upper": int(rng.integers(0, 2))} if op == "Trilu" else {}
                nodes.append(node(op, name, made, **said))
                values[made] = (m, n)
        else:
            op, other = str(rng.choice(["Add", "Mul", "Sub"])), f"w{k}"
            shapes = [(m, n), (n,), (m, 1), (), (*batch, m, 1), (*(1 for _ in batch[1:]), 1, m, n), (*batch, m, n)]
            feeds[other] = np.asarray(rng.normal(size=shapes[int(rng.integers(0, len(shapes)))]), "f4")
            nodes.append(node(op, f"{name} {other}", made))
            values[made] = (m, n)
    outputs = [name for name in values if name.startswith("v") and rng.random() < 0.5] or [f"v{len(nodes) - 1}"]
    return nodes, feeds, outputs, {"axis1": np.array([-1]), "axis2": np.array([-2])}


@there
@pytest.mark.parametrize("block", range(8))
def test_random_groups_are_what_their_operators_are(block: int) -> None:
    nodes_in = 0
    for seed in range(block * 12, block * 12 + 12):
        model = one(*drafted(seed))
        feeds = drafted(seed)[1]
        feeds = {value.name: feeds[value.name] for value in model.graph.input}
        made, count = batched(model)
        nodes_in += count
        for a, b in zip(run(made, feeds), ReferenceEvaluator(model, verbose=0).run(None, feeds), strict=True):
            close(a, b, seed)
    assert nodes_in > 12


# --- what is refused

WRONG = (-(2**63), -3, -2, -1, 0, 1, 2, 3, 5, 6, 8, 15, 64, 2**31, 2**63 - 1)


@there
@pytest.mark.parametrize("block", range(6))
def test_random_programs_are_refused_or_run(block: int) -> None:
    """Any list of integers: an error, or a result, and no reading or writing where nothing is."""
    rng = np.random.default_rng(block)
    loaded = refused = 0
    nodes, feeds, held = attention(4, 2, 6, 5, block, block % 2 == 0)
    for outputs in (["y"], ["dx"]):
        _, whole = prepared(nodes, feeds, outputs, held)
        words = text(whole)
        for _ in range(120):
            wrong = list(words)
            near = len(words) if rng.random() < 0.5 else 90
            for at in rng.integers(0, near, int(rng.integers(1, 3))):
                wrong[at % len(words)] = int(rng.choice(WRONG))
            if rng.random() < 0.05:
                wrong = wrong[: int(rng.integers(0, len(wrong)))]
            good = runs_or_says(
                partial(run, spoilt(whole, wrong), feeds), "Each", "program", "type", "Reshape", "shape"
            )
            loaded, refused = loaded + good, refused + (not good)
    assert loaded and refused


@there
def test_places_beyond_their_axes_are_refused() -> None:
    """Also of a tensor without elements, if its matrices have some; without matrices nothing is read."""
    words = [
        1, 1, 1, 1, 1, 1, 0, 4, 0, 0, 0, 0, -3, 0, 0, -1, 0, 0, -2, 0,  # a batch, a place, rows and columns
        0, 3, 0, 0, 0, 4, -1, 0, 4, -2, 0, 1, 1, 0, 1, 1, 1, 11, 1, 1, 2, 0, 1, 0, 1,  # each turned
    ]  # fmt: skip

    def turned(shape: tuple[int, ...], place: int) -> Array:
        made = helper.make_node("Each", ["x"], ["y"], domain=programs.DOMAIN, program=[*words[:13], place, *words[14:]])
        values = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, None)] for name in "xy"]
        model = helper.make_model(helper.make_graph([made], "g", *values), ir_version=10)
        model.opset_import.add(domain=programs.DOMAIN, version=programs.VERSION)
        return run(model, {"x": np.arange(np.prod(shape), dtype="f4").reshape(shape)})[0]

    for shape, place in (((2, 0, 4, 4), 0), ((2, 0, 4, 4), 2**31 - 1), ((2, 1, 4, 4), 1), ((1, 0, 4, 4), 1)):
        with pytest.raises(Exception, match="Each"):
            turned(shape, place)
    for place in (0, 5, 2**31 - 1):
        assert turned((0, 0, 4, 4), place).shape == (0, 4, 4)
    x = np.arange(96, dtype="f4").reshape(2, 3, 4, 4)
    assert same(turned((2, 3, 4, 4), 2), x[:, 2].transpose(0, 2, 1))


@there
def test_results_that_are_joined_are_written_in_place() -> None:
    feeds = {name: np.random.default_rng(3).normal(size=(8, 4, 4)).astype("f4") for name in "ab"}
    nodes = [node("MatMul", "a b", "y"), node("Neg", "a", "n"), node("MatMul", "n b", "z"),
             node("Unsqueeze", "y zero", "y1"), node("Unsqueeze", "z zero", "z1"),
             node("Concat", "y1 z1", "c", axis=0)]  # fmt: skip
    model = one(nodes, feeds, ["c"], {"zero": np.array([0])})
    made, _ = batched(model)
    assert operators(made) == ["Each"]
    close(run(made, feeds)[0], ReferenceEvaluator(model, verbose=0).run(None, feeds)[0])
    words = text(made)
    for at in (k for k in range(6, 60) if words[k : k + 2] == [2, -3]):
        for wrong in ({at + 2: 1 - words[at + 2]}, {at: 3}, {at: 1}, {at + 2: 2}):
            with pytest.raises(Exception, match="Each"):
                run(spoilt(made, [wrong.get(k, word) for k, word in enumerate(words)]), feeds)


@there
@pytest.mark.parametrize(
    "feeds",
    [
        {"a": (8, 4, 5), "b": (8, 4, 4)},
        {"a": (8, 4, 4), "b": (9, 4, 4)},
        {"a": (8, 4, 4), "b": (4, 4)},
        {"a": (8, 4), "b": (8, 4, 4)},
        {"a": (8, 5, 4), "b": (8, 4, 4)},
    ],
)
def test_tensors_of_other_shapes_are_refused(feeds: dict[str, tuple[int, ...]]) -> None:
    nodes = [node("MatMul", "a b", "y"), node("Neg", "y", "z")]
    made, _ = batched(one(nodes, {name: np.ones((8, 4, 4), np.float32) for name in "ab"}, ["z"]))
    assert operators(made) == ["Each"]
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.ClearField("shape")
    with pytest.raises(Exception, match="Each"):
        run(made, {name: np.ones(shape, np.float32) for name, shape in feeds.items()})


# --- which nodes go together


def test_few_matrices_and_large_ones_stay_onnx_runtimes() -> None:
    nodes = [node("MatMul", "a b", "y"), node("Neg", "y", "z")]
    for shape in ((2, 4, 4), (16, 300, 300)):
        model = one(nodes, {name: np.ones(shape, np.float32) for name in "ab"}, ["z"])
        assert batched(model)[1] == 0


def test_what_leads_out_and_back_is_not_one() -> None:
    """A sum over the batch lies between."""
    nodes = [node("MatMul", "a b", "y"), node("ReduceSum", "y first", "s", keepdims=1), node("Mul", "y s", "z"),
             node("MatMul", "z b", "w")]  # fmt: skip
    feeds = {name: np.random.default_rng(1).normal(size=(8, 4, 4)).astype("f4") for name in "ab"}
    model = one(nodes, feeds, ["w"], {"first": np.array([0])})
    made, _ = batched(model)
    assert operators(made)[:2] == ["MatMul", "ReduceSum"]
    if native.works():
        close(run(made, feeds)[0], ReferenceEvaluator(model, verbose=0).run(None, feeds)[0])


def test_a_result_that_others_read_stays_where_it_is() -> None:
    """It is turned for one reader alone where there is only one."""
    nodes = [node("MatMul", "a b", "y"), node("Neg", "a", "n"), node("MatMul", "n y", "w"),
             node("Transpose", "y", "t", perm=[1, 0, 2]), node("Exp", "t", "e"), node("Abs", "w", "z")]  # fmt: skip
    feeds = {name: np.random.default_rng(1).normal(size=(8, 4, 4)).astype("f4") for name in "ab"}
    model = one(nodes, feeds, ["e", "z"])
    made, _ = batched(model)
    assert "Transpose" in operators(made) and "Each" in operators(made)
    if native.works():
        for x, y in zip(run(made, feeds), ReferenceEvaluator(model, verbose=0).run(None, feeds), strict=True):
            close(x, y)


@there
def test_a_failure_names_the_line_of_its_operation() -> None:
    """What a node in the group was is told by the step."""
    from dlc.runtime import regions

    nodes = [node("MatMul", "a b", "y"), node("Exp", "y", "z")]
    made, _ = batched(one(nodes, {name: np.ones((8, 4, 4), np.float32) for name in "ab"}, ["z"]))
    found = regions.places(made.graph, {"y": "m.dl:1:1", "z": "m.dl:2:1"})
    assert list(found.values()) == ["m.dl:1:1", "m.dl:2:1"]
