"""Modules built by hand, lowered, and run by stock ONNX Runtime without dlc.runtime."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from dlc import ops
from dlc.autodiff.expand import expand
from dlc.defaults import ELEMENTS, HALVES, MAX_NODES, element_and_half
from dlc.diagnostics import CompileError, InternalError, Problems
from dlc.elaborate import elaborate
from dlc.ir import interpret
from dlc.ir.graph import Graph
from dlc.ir.module import Module, Variable
from dlc.ir.types import Dim, TensorType
from dlc.lower import export_inference, kernels, lower, serialize, sources
from dlc.ops.leaf import make_input, make_size, make_variable
from dlc.optimize.fuse import fuse
from dlc.runtime.support import index
from dlc.source import Source, Span
from onnx import helper, numpy_helper
from work import assert_linear

FEATURES, CLASSES = 4, 3
BATCH = Dim.name("batch")
TEXT = "model softmax() {\n    logits = x |> dense(3)\n}\n"
MOMENTS = ("momentum/v/dense.W", "momentum/v/dense.b")
PRECISIONS = ("float32", "float64")


def floats(*shape) -> TensorType:
    return TensorType("float", shape)


def softmax_regression(rate: float = 0.5, momentum: float = 0.9) -> Module:
    """Softmax regression with momentum; the gradient is written by hand."""
    graph = Graph()
    source = Source("softmax.dl", TEXT)
    module = Module("softmax", graph, rows=("batch",), trains=True, supports={"y": {index(CLASSES): index(CLASSES)}})
    module.sources = {"softmax.dl": TEXT, "std/dense.dl": "layer dense() {}\n"}
    module.settings = {"model": {"hidden": 3}, "train": {"batch": 16}}

    def hold(path: str, kind: str, type: TensorType):
        node = make_variable(graph, path, type)
        module.variables[path] = Variable(path, kind, node)
        return node

    x = make_input(graph, "x", floats(BATCH, FEATURES))
    y = make_input(graph, "y", TensorType("int", (BATCH,)))
    module.inputs, module.targets, module.outputs, module.metrics = [x], [y], ["probability"], ["accuracy"]
    with graph.at("dense", Span(source, 22, 44)):
        weight = hold("dense.W", "parameter", floats(FEATURES, CLASSES))
        bias = hold("dense.b", "parameter", floats(CLASSES))
        logits = x @ weight + bias
    probability = ops.softmax(logits, axis=-1)
    rows = ops.cast(make_size(graph, BATCH), dtype="float")
    row_loss = ops.logsumexp(logits, axes=(1,)) - ops.pick(logits, y)
    right = ops.cast(ops.eq(ops.argmax(logits, axis=-1), y), dtype="float")
    total = [ops.reduce_sum(row_loss, axes=(0,)), ops.reduce_sum(right, axes=(0,)), rows]

    step = hold("step", "counter", TensorType("int", ()))
    hold("steps", "counter", TensorType("int", ()))  # nothing reads it
    dz = (probability - ops.one_hot(y, depth=CLASSES)) / rows
    roots = graph.outputs
    roots["output/probability"] = probability
    roots.update({"loss": total[0] / rows, "metric/accuracy": total[1] / rows})
    for parameter, g in ((weight, ops.matmul(x, dz, ta=True)), (bias, ops.reduce_sum(dz, axes=(0,)))):
        path = parameter.attrs["path"]
        before = hold(f"momentum/v/{path}", "optimizer", parameter.type)
        after = momentum * before + g
        roots[f"next/momentum/v/{path}"] = after
        roots[f"next/{path}"] = parameter - rate * after
    roots["next/step"] = step + 1
    roots["initial/dense.W"] = 0.1 * ops.random_normal(ops.seed_key(graph), weight.shape)
    module.reduces = ["sum"] * 3
    totals = [hold(f"evaluate/total/{k}", "total", floats()) for k in range(3)]
    roots.update({f"evaluate/part/{k}": part for k, part in enumerate(total)})
    roots["evaluate/value/loss"] = totals[0] / totals[2]
    roots["evaluate/value/accuracy"] = totals[1] / totals[2]
    return module


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    data = model.SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def run(model: onnx.ModelProto, feeds: dict, names: list[str] | None = None) -> dict[str, np.ndarray]:
    made = session(model)
    wanted = names or [output.name for output in made.get_outputs()]
    known = {value.name for value in made.get_inputs()}
    values = made.run(wanted, {name: value for name, value in feeds.items() if name in known})
    return dict(zip(wanted, values, strict=True))


def step_model(model: onnx.ModelProto, turn: int = 0) -> onnx.ModelProto:
    """Main graph and algorithm concatenated, state promoted to inputs: what the format tells others to do."""
    algorithm = model.training_info[turn].algorithm
    main = model.graph
    state = {entry.key for entry in model.training_info[turn].update_binding} | {"key", "steps", "observations"}
    state |= {tensor.name for tensor in algorithm.initializer if tensor.name.startswith("evaluate/total/")}
    tensors = [*main.initializer, *algorithm.initializer]
    promoted = [
        helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        for tensor in tensors
        if tensor.name in state
    ]
    graph = helper.make_graph(
        [*main.node, *algorithm.node],
        "step",
        [*main.input, *algorithm.input, *promoted],
        [*main.output, *algorithm.output],
        [tensor for tensor in tensors if tensor.name not in state],
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def initial_state(model: onnx.ModelProto, seed: int) -> dict[str, np.ndarray]:
    info = model.training_info[0]
    state = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in [*model.graph.initializer, *info.algorithm.initializer]
        if not tensor.name.startswith("constant/")
    }
    graph = onnx.GraphProto()
    graph.CopyFrom(info.initialization)
    for tensor in graph.initializer:
        if tensor.name == "seed":
            tensor.CopyFrom(numpy_helper.from_array(np.uint64(seed), "seed"))
    made = run(helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version), {})
    return state | {entry.key: made[entry.value] for entry in info.initialization_binding}


def blobs(rows: int, precision: str = "float32", seed: int = 0) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    y = np.arange(rows) % CLASSES
    x = 2 * np.eye(CLASSES, FEATURES)[y] + draw.normal(size=(rows, FEATURES))
    return {"x": x.astype(precision), "y": y.astype(np.int64)}


def lowered(precision: str = "float32", fused: bool = True, **settings) -> onnx.ModelProto:
    module = softmax_regression(**settings)
    if fused:
        fuse(module.graph, precision)
    return lower(module, precision)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_main_graph_predicts(precision):
    model = lowered(precision)
    assert [value.name for value in model.graph.input] == ["x"]
    assert [value.name for value in model.graph.output] == ["probability"]
    state = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for rows in (1, 7, 0):
        x = blobs(rows, precision)["x"]
        z = x @ state["dense.W"] + state["dense.b"]
        expected = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
        found = run(model, {"x": x})["probability"]
        assert found.dtype == precision and found.shape == (rows, CLASSES)
        np.testing.assert_allclose(found, expected, atol=1e-6 if precision == "float32" else 1e-14)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("fused", [False, True])
def test_training_from_two_seeds_lowers_the_loss(precision, fused):
    model = lowered(precision, fused)
    info = model.training_info[0]
    step = session(step_model(model))
    outputs = [value.name for value in info.algorithm.output]
    data = blobs(30, precision)
    ends = []
    for seed in (0, 5):
        state = initial_state(model, seed)
        assert state["dense.W"].std() > 0.01
        losses = []
        for _ in range(50):
            fed = {value.name: (data | state)[value.name] for value in step.get_inputs()}
            made = dict(zip(outputs, step.run(outputs, fed), strict=True))
            losses.append(made["loss"])
            state |= {entry.key: made[entry.value] for entry in info.update_binding}
        assert losses[-1] < 0.6 * losses[0]
        assert state["step"] == 50
        ends.append(state["dense.W"])
    assert not np.array_equal(ends[0], ends[1])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_step_agrees_with_the_interpreter(precision):
    tolerance = 1e-5 if precision == "float32" else 1e-12
    module = softmax_regression()
    graph = module.graph
    data, state = blobs(11, precision), initial_state(lower(module, precision), 3)
    state["momentum/v/dense.W"] = np.ones((FEATURES, CLASSES), precision)
    state |= {f"evaluate/total/{k}": np.asarray(k + 1, precision) for k in range(3)}
    wanted = module.roots("loss", "metric/", "next/", "evaluate/part/", "evaluate/value/")
    expected = dict(zip(wanted, interpret.evaluate(list(wanted.values()), data | state), strict=True))
    for fused in (False, True):
        if fused:
            fuse(graph, precision)
        step = step_model(lower(module, precision))
        onnx.checker.check_model(step, full_check=True)
        found = run(step, data | state)
        for name, value in expected.items():
            value_found = found[name.removeprefix("metric/")]
            np.testing.assert_allclose(value_found, value, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_initializers_hold_what_initialization_computes(precision):
    for seed in (0, 9):
        model = lower(softmax_regression(), precision, seed)
        held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        computed = initial_state(model, seed)
        np.testing.assert_allclose(held["dense.W"], computed["dense.W"], atol=1e-6)
        assert held["dense.b"].tolist() == [0] * CLASSES
    held = [tensor.name for tensor in model.training_info[0].initialization.initializer]
    assert held.count("seed") == 1 and "dense.W" not in held


def test_initialization_stores_no_start_values():
    module = softmax_regression()
    big = make_variable(module.graph, "big", floats(300, 300))
    module.variables["big"] = Variable("big", "state", big)
    module.graph.outputs["initial/big"] = ops.constant(module.graph, np.ones((300, 300)), "float")
    info = lower(module).training_info[0]
    assert all(len(tensor.raw_data) < 200 for tensor in info.initialization.initializer)
    assert (initial_state(lower(module), 0)["big"] == 1).all()


def test_checker_accepts_the_main_graph():
    model = lowered()
    onnx.checker.check_model(model, full_check=True)
    onnx.checker.check_model(step_model(model), full_check=True)
    assert (model.ir_version, model.producer_name) == (10, "dlc")
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 21)]


def test_layout_of_training_info():
    info = lowered().training_info[0]
    assert [value.name for value in info.algorithm.input] == ["y"]
    assert [value.name for value in info.algorithm.output] == [
        "loss",
        "accuracy",
        "next/dense.W",
        "next/dense.b",
        "next/step",
        "next/momentum/v/dense.W",
        "next/momentum/v/dense.b",
        "evaluate/part/0",
        "evaluate/part/1",
        "evaluate/part/2",
        "evaluate/value/loss",
        "evaluate/value/accuracy",
    ]
    held = [tensor.name for tensor in info.algorithm.initializer if not tensor.name.startswith("constant/")]
    assert held == ["step", *MOMENTS, *(f"evaluate/total/{k}" for k in range(3))]
    assert [(entry.key, entry.value) for entry in info.update_binding] == [
        (name, f"next/{name}") for name in ("dense.W", "dense.b", "step", *MOMENTS)
    ]
    [binding] = info.initialization_binding
    assert (binding.key, binding.value) == ("dense.W", "initial/dense.W")
    assert not info.initialization.input


def test_names_are_unique_and_say_where_they_come_from():
    model = lowered(fused=False)
    algorithm = model.training_info[0].algorithm
    nodes = [*model.graph.node, *algorithm.node]
    names = [node.name for node in nodes]
    values = [name for node in nodes for name in node.output]
    values += [tensor.name for tensor in [*model.graph.initializer, *algorithm.initializer]]
    values += [value.name for value in [*model.graph.input, *algorithm.input]]
    assert len(set(names)) == len(names) and len(set(values)) == len(values)
    assert all(name[-1].isdigit() for name in names)
    [product] = [node for node in model.graph.node if node.op_type == "MatMul"]
    assert product.name.startswith("dense/")
    assert {entry.key: entry.value for entry in product.metadata_props} == {
        "dlc.scope": "dense",
        "dlc.source": "softmax.dl:2:5",
    }


def test_metadata():
    model = lowered()
    held = {entry.key: entry.value for entry in model.metadata_props}
    assert (held["dlc.format"], held["dlc.language"], held["dlc.model"]) == ("1", "1", "softmax")
    assert json.loads(held["dlc.settings"]) == {"model": {"hidden": 3}, "train": {"batch": 16}}
    signature = json.loads(held["dlc.signature"])
    assert signature["inputs"] == [{"name": "x", "dtype": "float", "shape": ["batch", FEATURES]}]
    assert signature["targets"] == [
        {
            "name": "y",
            "dtype": "int",
            "shape": ["batch"],
            "range": [0, CLASSES],
            "support": [{"low": 0, "high": CLASSES - 1, "whole": True}],
        }
    ]
    assert [entry["name"] for entry in signature["parameters"]] == ["dense.W", "dense.b"]
    assert [entry["name"] for entry in signature["states"]] == ["step", *MOMENTS]
    evaluation = json.loads(held["dlc.evaluate"])
    assert evaluation["parts"][1] == {"part": "evaluate/part/1", "total": "evaluate/total/1", "reduce": "sum"}
    assert evaluation["values"] == {"loss": "evaluate/value/loss", "accuracy": "evaluate/value/accuracy"}
    assert list(sources(model)) == ["softmax.dl", "std/dense.dl"] and sources(model)["softmax.dl"] == TEXT


def test_inference_export_drops_training():
    model = lowered()
    kept = export_inference(model)
    assert len(model.training_info) == 1 and not kept.training_info
    x = blobs(5)["x"]
    np.testing.assert_array_equal(run(kept, {"x": x})["probability"], run(model, {"x": x})["probability"])
    assert "dlc.evaluate" not in {entry.key for entry in kept.metadata_props}


def test_same_bytes_in_every_process():
    code = "import test_lower as t; import sys; sys.stdout.buffer.write(t.serialize(t.lowered()))"
    here = os.path.dirname(os.path.abspath(__file__))
    made = [
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": here},
        ).stdout
        for seed in ("1", "2")
    ]
    assert made[0] == made[1] == serialize(lowered())


def tiny() -> tuple[Module, Graph]:
    graph = Graph()
    module = Module("tiny", graph, rows=("batch",))
    module.inputs = [make_input(graph, "x", floats(BATCH, 3))]
    return module, graph


def test_an_output_may_be_a_leaf_or_shared():
    module, graph = tiny()
    [x] = module.inputs
    weight = make_variable(graph, "W", floats(3))
    module.variables["W"] = Variable("W", "parameter", weight)
    graph.outputs.update({"output/same": x, "output/a": x * weight, "output/b": x * weight})
    graph.outputs["output/held"] = weight
    graph.outputs["output/three"] = ops.lift(graph, 3.0)
    module.outputs = ["same", "a", "b", "held", "three"]
    model = lower(module)
    onnx.checker.check_model(model, full_check=True)
    assert not model.training_info
    data = np.ones((2, 3), np.float32)
    found = run(model, {"x": data})
    np.testing.assert_array_equal(found["same"], data)
    np.testing.assert_array_equal(found["a"], found["b"])
    assert found["held"].shape == (3,) and found["three"] == 3


def test_a_target_in_the_predicting_graph_is_our_fault():
    module, graph = tiny()
    y = make_input(graph, "y", floats(BATCH, 3))
    module.targets, module.outputs = [y], ["z"]
    graph.outputs["output/z"] = module.inputs[0] + y
    with pytest.raises(InternalError, match="target y"):
        lower(module)


def test_sizes_are_computed_from_the_inputs():
    module, graph = tiny()
    [x] = module.inputs
    pairs = make_input(graph, "pairs", floats(2 * Dim.name("n") + 1, 3))
    idle = make_input(graph, "idle", floats(BATCH))
    module.inputs += [pairs, idle]
    n = Dim.name("n")
    graph.outputs["output/flat"] = ops.reshape(x, shape=(BATCH * 3,))
    graph.outputs["output/n"] = make_size(graph, (n * BATCH + 5) // 2)
    graph.outputs["output/wide"] = ops.broadcast_to(ops.lift(graph, 1.0), shape=(n, BATCH * 2, 2))
    module.outputs = ["flat", "n", "wide"]
    model = lower(module)
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.input] == ["x", "pairs"]
    assert sum(node.op_type == "Shape" for node in model.graph.node) == 2
    flat = next(value for value in model.graph.output if value.name == "flat")
    assert flat.type.tensor_type.shape.dim[0].dim_param == "3 * batch"
    for rows in (1, 4):
        found = run(model, {"x": np.zeros((rows, 3), np.float32), "pairs": np.zeros((7, 3), np.float32)})
        assert found["flat"].shape == (3 * rows,) and found["wide"].shape == (3, 2 * rows, 2)
        assert found["n"] == (3 * rows + 5) // 2


def code_of(call) -> str:
    with pytest.raises(CompileError) as caught:
        call()
    return caught.value.code


def test_a_size_without_source_is_an_error():
    module, graph = tiny()
    graph.outputs["output/n"] = make_size(graph, Dim.name("nowhere"))
    module.outputs = ["n"]
    assert code_of(lambda: lower(module)) == "E0350"


def test_two_things_of_one_name_are_an_error():
    module, graph = tiny()
    graph.outputs["output/x"] = module.inputs[0] * 2
    module.outputs = ["x"]
    assert code_of(lambda: lower(module)) == "E0290"


def test_a_missing_kernel_is_named(monkeypatch):
    there = kernels.lacking  # lowering rules know what the CPU has, so here it has one kernel fewer
    monkeypatch.setattr(kernels, "lacking", lambda op, types, *of: "float64" if op == "Log" else there(op, types, *of))
    module, graph = tiny()
    with graph.at("net", Span(Source("erf.dl", "z = log(x)\n"), 4, 10)):
        graph.outputs["output/z"] = ops.log(module.inputs[0])
    module.outputs = ["z"]
    with pytest.raises(CompileError) as caught:
        lower(module, "float64")
    assert caught.value.code == "E0810"
    assert "`log` in float64" in caught.value.render() and "erf.dl:1:5" in caught.value.render()


@pytest.mark.parametrize("precision", (*HALVES, "mixed"))
def test_no_file_holds_everything_in_16_bits(precision):
    module, graph = tiny()  # what is compiled in half precision is held in float32: test_halves.py
    graph.outputs["output/z"] = ops.exp(module.inputs[0] * 0.5 + 1.0)
    module.outputs = ["z"]
    with pytest.raises(InternalError):
        lower(module, precision)
    held, half = element_and_half(precision)
    assert held in ELEMENTS and half in HALVES


def test_lowering_is_linear():
    def chain(count: int) -> Module:
        module, graph = tiny()
        z = module.inputs[0]
        for i in range(count):
            with graph.at(f"layer[{i}]"):
                z = z + ops.exp(z)
        graph.outputs["output/z"] = z
        module.outputs = ["z"]
        return module

    assert len(lower(chain(100)).graph.node) == 200
    assert_linear(chain, lower, counted=(200, 2_000), timed=(3_000, 30_000), limit=2)  # 10 if it were quadratic


SPECS = sorted((Path(__file__).parent.parent / "specs").glob("*.dl"))


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_every_spec_computes_what_the_interpreter_does(path):
    """One step in float64 with random data and state, fused: every output of both graphs."""
    module = elaborate(
        Source(path.name, path.read_text()),
        folder=path.parent,
        model=None,
        overrides={},
        max_nodes=MAX_NODES,
        problems=Problems(),
    )
    while expand(module.graph):
        pass
    draw = np.random.default_rng(0)
    fed = {}
    rows = module.settings["train"]["batch"]
    rows = rows if isinstance(rows, dict) else {}  # of dimensions that no data have: a step draws so many
    for leaf in [*module.inputs, *module.targets]:
        name = leaf.attrs["name"]
        shape = tuple(rows.get(str(size), 7) if isinstance(size, Dim) else size for size in leaf.shape)
        high = (module.whole_range(name) or (0, 2))[1]
        fed[name] = draw.normal(size=shape) if leaf.dtype == "float" else draw.integers(0, high, shape)
    first = lower(module, "float64", seed=3)
    fed |= {"steps": np.array(9), **initial_state(first, 3), "step": np.array(4), "rows/epoch": np.array(3)}
    for info in first.training_info:
        for tensor in info.algorithm.initializer:
            if "/" in tensor.name and not tensor.name.startswith("constant/"):
                fed[tensor.name] = draw.uniform(0.5, 1, tuple(tensor.dims))  # optimizer state, totals of evaluation
    wanted = module.roots("loss", "metric/", "next/", "turn/1/next/", "output/", "evaluate/", "rows/")
    expected = dict(zip(wanted, interpret.evaluate(list(wanted.values()), fed), strict=True))
    fuse(module.graph, "float64")
    model = lower(module, "float64", seed=3)
    onnx.checker.check_model(model, full_check=True)
    found = {}
    for turn, prefix in enumerate(map(module.turn, range(len(model.training_info)))):
        onnx.checker.check_model(step := step_model(model, turn), full_check=True)
        found.update({prefix * name.startswith("next/") + name: value for name, value in run(step, fed).items()})
    for root, value in expected.items():
        name = root.removeprefix("metric/").removeprefix("output/")
        np.testing.assert_allclose(found[name], value, rtol=1e-11, atol=1e-11, err_msg=name)
