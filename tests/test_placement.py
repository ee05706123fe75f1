"""Where nodes would run on a machine with a GPU, told from the table of kernels."""

from __future__ import annotations

import json

import dlc
import numpy as np
import onnxruntime
import pytest
from dlc.autodiff.reverse import gradients
from dlc.cli import main
from dlc.elaborate.library import standard_index
from dlc.lower import kernels
from dlc.lower.placement import departures
from dlc.ops import reduce_sum
from onnx import TensorProto, helper, parser
from op_cases import Case, file_of, run, sampled, samples
from shelf import FILES, SHELF, words


def leaving(model) -> list[str]:
    return [f"{d.graph} {d.op_type} {d.types} {d.why} {d.source}" for d in departures(model) if not d.shape_arithmetic]


# --- what is compiled stays on the GPU


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_spec_stays(path, precision):
    assert not leaving(dlc.compile(path, precision=precision).model_proto())


@pytest.mark.parametrize("name", SHELF)
def test_the_standard_library_stays(name):
    assert not leaving(dlc.compile(SHELF[name]).model_proto())


def test_the_shelf_holds_the_whole_library():
    assert sorted(set(standard_index()) - words([*SHELF.values()])) == []


@pytest.mark.parametrize("op", sampled(), ids=lambda op: op.name)
def test_every_operation_and_its_derivative_stay(op):
    for sample in samples(op, 12):
        case = Case(op, sample)
        roots = {"y": case.node}
        leaves = [leaf for leaf in case.leaves if leaf.dtype == "float"]
        if case.node.dtype == "float" and leaves:
            try:
                target = reduce_sum(case.node * case.node, axes=range(case.node.rank))
                roots |= {f"g{i}": g for i, g in enumerate(gradients(target, leaves)) if g is not None}
            except dlc.Error as problem:
                assert problem.code == "E0402"  # has none
        assert not leaving(file_of(roots, case.leaves, "float32"))


@pytest.mark.parametrize("axis", [[0, 1, 2], [0], [1], [2, 0]])
def test_a_product_of_whole_numbers_stays_and_is_exact(axis):
    """Over sizes that nobody knows; ONNX Runtime's ReduceProd makes doubles of integers."""
    text = f"model m {{\n input k: int[a, b, 3]\n output z = prod(k, axis = {axis})\n}}"
    program = dlc.compile(text)
    assert not leaving(program.model_proto())
    for a, b in ((1, 1), (2, 1), (3, 2), (5, 4), (1, 7), (33, 2), (0, 2)):
        k = np.random.default_rng(a * b).integers(-(2**62), 2**62, (a, b, 3)) | 1
        expected = np.prod(k, axis=tuple(axis))
        for optimized in (False, True):
            [z] = run(program.model_proto(), {"k": k}, "float32", optimized)
            np.testing.assert_array_equal(z, expected)


# --- the table


def test_the_table_tells_what_the_providers_have():
    assert kernels.version() == "1.31.1"
    assert kernels.lacking("Add", ("float32", "float32"), "cuda") is None
    assert kernels.lacking("Conv", ("float64", "float64", "float64"), "cpu") == "float64"
    assert kernels.lacking("Conv", ("float64", "float64", None), "cuda") is None
    assert kernels.lacking("ArgMax", ("int64",), "cuda") == "int64"
    assert kernels.lacking("Where", ("bool", "uint64", "uint64"), "cuda") == "uint64"
    assert kernels.lacking("OneHot", ("int64", "int64", "float32"), "cuda") is None
    assert kernels.lacking("OneHot", ("int64", "int64", "float64"), "cuda") == "float64"
    assert kernels.lacking("Tan", ("float32",), "cuda") == ""  # none for any type
    assert kernels.lacking("NoSuchOperator", ("float32",), "cpu") == ""
    assert kernels.lacking("Cast", ("float32",), "cuda", ("bool",)) is None
    assert [kernels.operand(op) for op in ("Add", "Where", "OneHot", "Cast")] == [0, 1, 2, 0]


# One of its kind each: what the table says of the CPU is what the ONNX Runtime that is installed does.
@pytest.mark.parametrize("op_type", ["Abs", "Erf", "Exp", "Floor", "Neg", "Not", "Relu", "Sign", "Softplus", "Tan"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_the_table_agrees_with_the_installed_cpu_provider(op_type, dtype):
    allowed = kernels._schema(op_type)
    assert allowed is not None
    number = {
        "float32": TensorProto.FLOAT,
        "float64": TensorProto.DOUBLE,
        "int64": TensorProto.INT64,
        "bool": TensorProto.BOOL,
    }[dtype]
    x, y = (helper.make_tensor_value_info(name, number, [2]) for name in "xy")
    graph = helper.make_graph([helper.make_node(op_type, ["x"], ["y"])], "one", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", kernels.OPSET)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        runs = True
    except Exception:  # ONNX Runtime's exceptions have no common base
        runs = False
    assert runs == (kernels.lacking(op_type, (dtype,), "cpu") is None)


# --- foreign files: what leaves, and what only computes shapes

FOREIGN = """<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 3] x, int64[n, 3] k, bool c) => (int64[n] best, float[m, q] flat, float[n, 3] chosen, float[n, 3] up) <
    int64[1] two = {2}, int64[1] minus = {-1}
> {
    best = ArgMax <axis = 1, keepdims = 0> (k)
    shape = Shape (x)
    longest = ReduceProd <keepdims = 1> (shape)
    wanted = Concat <axis = 0> (longest, minus)
    flat = Reshape (x, wanted)
    chosen = If (c) <
        then_branch = yes () => (float[n, 3] a) { a = Tan (x) },
        else_branch = no () => (float[n, 3] b) { b = Neg (x) }
    >
    last = ArgMax <axis = 1, select_last_index = 1> (x)
    moved = Cast <to = 1> (last)
    up = Add (x, moved)
}
"""


def test_what_leaves_a_foreign_file():
    model = parser.parse_model(FOREIGN)
    found = {(d.op_type, d.shape_arithmetic): d.why for d in departures(model)}
    assert found == {
        ("ArgMax", False): "no kernel that selects the last index",
        ("ReduceProd", True): "no kernel for int64",
        ("Tan", False): "no kernel",
    }
    assert [d.op_type for d in departures(model)] == ["ArgMax", "ReduceProd", "Tan", "ArgMax"]


@pytest.mark.parametrize(
    ("node", "stays"),
    [
        ("ConvTranspose <pads = [1, 1, 1, 1]> (x, w)", True),
        ("ConvTranspose <pads = [0, 1, 1, 1]> (x, w)", False),
        ('ConvTranspose <auto_pad = "SAME_UPPER"> (x, w)', False),
        ("Conv <pads = [0, 1, 1, 1]> (x, w)", True),
    ],
)
def test_attributes_that_cuda_refuses(node, stays):
    text = f"""<ir_version: 10, opset_import: ["" : 21]>
    g (float[1, 2, 5, 5] x, float[2, 2, 3, 3] w) => (float[a, b, c, d] y) {{ y = {node} }}"""
    assert (leaving(parser.parse_model(text)) == []) == stays


# --- the command line


def test_check_says_what_would_leave(tmp_path, capsys):
    text = """model m {
        input x: float[batch]; target y: float[batch]; param w: float init normal(0, 1)
        output p = tanh(w * x)
        y ~ normal(p, 1)
    }
    train { minimize loss using sgd(0.1) }"""
    (tmp_path / "m.dl").write_text(text)
    model = dlc.compile(tmp_path / "m.dl").model_proto()
    for graph, wanted in ((model.graph, "Tanh"), (model.training_info[0].initialization, "Log")):
        [node] = (node for node in graph.node if node.op_type == wanted)
        node.op_type = "Tan"  # which has no kernel
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    assert main(["check", str(path), "--device", "cuda"]) == 0
    said = capsys.readouterr().out
    count = len(model.graph.node) + sum(len(i.algorithm.node) + len(i.initialization.node) for i in model.training_info)
    assert f"2 of {count} nodes would leave CUDA" in said
    assert "m.dl:3" in said and "m.dl:2" in said and "Tan of float64, float64: no kernel" in said
    assert main(["check", str(path), "--device", "cuda", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["placement"]["leaving"]
    assert [entry["graph"] for entry in found] == ["main", "training_info[0].initialization"]
    assert main(["check", str(FILES[0]), "--device", "cuda"]) == 0
    assert "none of" in capsys.readouterr().out
