"""The validator: it takes what is right, ours and foreign, and refuses each broken file with its own message."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from dlc.runtime import CompiledFile, Error, graphs
from hand_built import CLASSES, FEATURES, FLOAT, INT, compiled, constant, foreign, node, value
from onnx import ModelProto, TensorProto, helper, numpy_helper


@pytest.mark.parametrize("model", [compiled(), compiled("float64"), foreign(), foreign(2)])
def test_right_files_pass(model: ModelProto) -> None:
    assert CompiledFile.from_bytes(model.SerializeToString()).parts


def broken(change: Callable[[ModelProto], object], model: ModelProto) -> Error:
    change(model)
    with pytest.raises(Error) as caught:
        CompiledFile.from_bytes(model.SerializeToString(), "broken.onnx")
    return caught.value


def algorithm(model: ModelProto):
    return model.training_info[0].algorithm


def drop(items, name: str) -> None:
    items.remove(next(item for item in items if item.name == name))


def replace(items, new) -> None:
    drop(items, new.name)
    items.append(new)


def bind(bindings, key: str, to: str) -> None:
    next(entry for entry in bindings if entry.key == key).value = to


def rename(bindings, key: str, to: str) -> None:
    next(entry for entry in bindings if entry.key == key).key = to


def prop(model: ModelProto, key: str, text: str) -> None:
    next(entry for entry in model.metadata_props if entry.key == key).value = text


def forget(model: ModelProto, key: str) -> None:
    model.metadata_props.remove(next(entry for entry in model.metadata_props if entry.key == key))


def updates(model: ModelProto):
    return model.training_info[0].update_binding


def starts(model: ModelProto):
    return model.training_info[0].initialization_binding


def node_of(graph, output: str):
    return next(n for n in graph.node if output in n.output)


def wrong_evaluate(model: ModelProto) -> None:
    plan = {"parts": [{"part": "evaluate/part/9", "total": "evaluate/total/0", "reduce": "sum"}], "values": {}}
    prop(model, "dlc.evaluate", json.dumps(plan))


def cut_bytes(model: ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.raw_data = tensor.raw_data[:-4]


def first_last(model: ModelProto) -> None:
    moved = algorithm(model).node.pop(0)
    algorithm(model).node.append(moved)


def outside(location: str) -> Callable[[ModelProto], None]:
    def change(model: ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return change


def in_field(model: ModelProto, numbers: list[float]) -> None:
    """The first tensor with its numbers in `float_data`."""
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.float_data.extend(numbers)


X2 = value("x", FLOAT, ["batch", 2])
BROKEN: list[tuple[str, Callable[[ModelProto], object], str, tuple[str, ...]]] = [
    ("E0712", lambda m: prop(m, "dlc.format", "4"), "the file has dlc.format 4, this dlc reads up to 3", ()),
    ("E0713", lambda m: prop(m, "dlc.language", "7"), "the file has dlc.language 7, this dlc reads up to 1", ()),
    (
        "E0714",
        lambda m: prop(m, "dlc.format", "x"),
        "the metadata `dlc.format` cannot be read: `x` is not a version number",
        (),
    ),
    (
        "E0714",
        lambda m: prop(m, "dlc.signature", "{"),
        "the metadata `dlc.signature` cannot be read: it is not JSON",
        (),
    ),
    (
        "E0714",
        lambda m: prop(m, "dlc.signature", "[]"),
        "the metadata `dlc.signature` cannot be read: it is not a JSON object",
        (),
    ),
    ("E0714", lambda m: forget(m, "dlc.evaluate"), "the metadata `dlc.evaluate` is missing", ()),
    ("E0716", outside("../secret"), "the data of `W` lie outside the model's folder", ("location: '../secret'",)),
    (
        "E0718",
        lambda m: replace(m.graph.input, X2),
        "the main graph is not valid ONNX",
        (
            "[ShapeInferenceError] Inference error(s): "
            "(op_type:MatMul, node name: xW/MatMul): [ShapeInferenceError] "
            "Incompatible dimensions for matrix multiplication",
        ),
    ),
    (
        "E0719",
        lambda m: setattr(node_of(algorithm(m), "picked"), "op_type", "Mull"),
        "the step of training_info[0] (main graph and algorithm) is not valid ONNX",
        ("No Op registered for Mull with domain_version of 21",),
    ),
    (
        "E0719",
        first_last,
        "the step of training_info[0] (main graph and algorithm) is not valid ONNX",
        ("Nodes in a graph must be topologically sorted, however input 'logp' of node:",),
    ),
    (
        "E0720",
        lambda m: drop(m.training_info[0].initialization.initializer, "grid"),
        "the initialization of training_info[0] is not valid ONNX",
        ("Nodes in a graph must be topologically sorted, however input 'grid' of node:",),
    ),
    (
        "E0721",
        lambda m: node_of(algorithm(m), "picked").output.__setitem__(0, "xW"),
        "two values are called `xW` in main graph and algorithm of training_info[0]",
        ("names are unique over the two graphs of a step",),
    ),
    (
        "E0722",
        lambda m: m.graph.node[0].input.__setitem__(1, "momentum/v/W"),
        "the main graph reads `momentum/v/W`, a value of the algorithm",
        ("the node `xW/MatMul` reads it",),
    ),
    (
        "E0723",
        lambda m: m.training_info[0].initialization.input.append(value("z", FLOAT, [1])),
        "the initialization of training_info[0] has inputs",
        ("found the input `z`",),
    ),
    (
        "E0724",
        lambda m: rename(updates(m), "b", "bias"),
        "update_binding names `bias`, which is not an initializer",
        (),
    ),
    (
        "E0725",
        lambda m: bind(updates(m), "b", "gb"),
        "update_binding takes `gb` for `b`, which is not an output of the algorithm",
        (),
    ),
    ("E0726", lambda m: updates(m).append(updates(m)[0]), "`W` is bound twice in update_binding", ()),
    ("E0726", lambda m: starts(m).append(starts(m)[0]), "`W` is bound twice in initialization_binding", ()),
    (
        "E0727",
        lambda m: bind(updates(m), "b", "next/W"),
        "`b` and its next value `next/W` differ in type or shape",
        ("`b` is float32 [3]", "`next/W` is float32 [4, 3]"),
    ),
    (
        "E0727",
        lambda m: bind(updates(m), "step", "loss"),
        "`step` and its next value `loss` differ in type or shape",
        ("`step` is int64 []", "`loss` is float32 []"),
    ),
    (
        "E0728",
        lambda m: rename(starts(m), "W", "V"),
        "initialization_binding names `V`, which is not an initializer",
        (),
    ),
    (
        "E0729",
        lambda m: bind(starts(m), "W", "wave"),
        "initialization_binding takes `wave` for `W`, which is not an output of the initialization",
        (),
    ),
    (
        "E0730",
        lambda m: bind(starts(m), "W", "initial/key"),
        "`W` and its start value `initial/key` differ in type or shape",
        ("`W` is float32 [4, 3]",),
    ),
    ("E0731", lambda m: m.opset_import.pop(), "the file does not say which opset of ONNX it uses", ()),
    (
        "E0731",
        lambda m: setattr(m.opset_import[0], "version", 20),
        "the file has another opset or IR version than dlc writes",
        ("found opset 20, IR 10", "expected opset 21, IR 10"),
    ),
    (
        "E0732",
        lambda m: setattr(m.graph.node[0], "domain", "com.microsoft"),
        "the file uses operators of the domain `com.microsoft`",
        ("files of dlc hold standard operators only",),
    ),
    (
        "E0734",
        lambda m: algorithm(m).output.append(algorithm(m).output.pop(0)),
        "the first output of training_info[0] is not the loss",
        ("found `accuracy`", "expected the scalar `loss`"),
    ),
    (
        "E0736",
        lambda m: replace(algorithm(m).initializer, constant("steps", [1, 2], np.int64)),
        "the state `steps` has the wrong type",
        ("found int64 [2]", "expected int64 []"),
    ),
    ("E0737", wrong_evaluate, "`dlc.evaluate` does not fit the graph: the part `evaluate/part/9`", ()),
    (
        "E0738",
        cut_bytes,
        "the tensor `W` of the main graph is broken",
        ("found 44 bytes", "expected 48 bytes for float32 [4, 3]"),
    ),
]


NAMES = [f"{i}-{case[0]}" for i, case in enumerate(BROKEN)]


@pytest.mark.parametrize(("code", "change", "message", "notes"), BROKEN, ids=NAMES)
def test_broken_files_are_refused(code: str, change: Callable, message: str, notes: tuple[str, ...]) -> None:
    found = broken(change, compiled())
    assert (found.code, found.message) == (code, message)
    assert found.where == "broken.onnx"
    assert found.notes[: len(notes)] == notes


def test_every_fault_has_its_own_code() -> None:
    assert len({code for code, *_ in BROKEN}) >= 15
    assert len({message for _, _, message, _ in BROKEN}) >= len(BROKEN) - 1


@pytest.mark.parametrize("data", [b"", b"not a model", compiled().SerializeToString()[:-100], b"\x08\x0a"])
def test_what_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(Error) as caught:
        CompiledFile.from_bytes(data)
    assert caught.value.code == "E0711"


def test_a_file_that_is_not_there(tmp_path) -> None:
    with pytest.raises(Error) as caught:
        CompiledFile.load(tmp_path / "none.onnx")
    assert (caught.value.code, caught.value.notes) == ("E0710", ("No such file or directory",))


def test_a_foreign_file_may_use_other_domains_and_versions() -> None:
    model = foreign()
    model.opset_import.add(domain="com.microsoft", version=1)
    assert not CompiledFile.from_bytes(model.SerializeToString()).ours


def test_bodies_count_as_readers_of_the_main_graph() -> None:
    """A value that only a body of the main graph's If reads is still a read of the algorithm's value."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["momentum/v/b"], ["inside"])], "body", [], [value("inside", FLOAT, [CLASSES])]
    )
    model = compiled()
    model.graph.initializer.append(constant("yes", True, np.bool_))
    choice = helper.make_node("If", ["yes"], ["taken"], name="choice", then_branch=body, else_branch=body)
    model.graph.node.append(choice)
    with pytest.raises(Error) as caught:
        CompiledFile(model)
    assert caught.value.code == "E0722"


def test_mutated_bytes_never_break_out() -> None:
    """Random damage gives an Error or a file that is still right, never another exception."""
    rng = np.random.default_rng(7)
    good = bytearray(compiled().SerializeToString())
    refused = 0
    for _ in range(150):
        data = bytearray(good)
        for at in rng.integers(0, len(data), 3):
            data[at] = rng.integers(0, 256)
        try:
            CompiledFile.from_bytes(bytes(data))
        except Error as problem:
            refused += 1
            assert problem.code.startswith("E07")
    assert refused > 50


def test_shapes_left_open_agree() -> None:
    model = foreign()
    model.training_info[0].algorithm.output[0].CopyFrom(value("moved", FLOAT, ["a", 1]))
    assert CompiledFile(model).parts[0].updates["weights"] == "moved"


def test_a_step_is_checked_with_its_main_graph() -> None:
    model = compiled()
    algorithm(model).node.append(node("MatMul", "W W", "never"))
    with pytest.raises(Error) as caught:
        CompiledFile(model)
    assert caught.value.code == "E0719"
    assert FEATURES != CLASSES and INT == TensorProto.INT64


def test_counts_are_those_that_onnx_writes() -> None:
    """Every element type, in raw_data and in its own field."""
    for name, element in TensorProto.DataType.items():
        if name in ("UNDEFINED", "STRING"):
            continue
        dtype = graphs.dtype_of(element)
        for count in (0, 1, 3, 7, 8):
            for tensor in (
                helper.make_tensor("t", element, [count], [1] * count),
                numpy_helper.from_array(np.ones(count, dtype), "t"),
            ):
                assert graphs.held(tensor) == graphs.holds(tensor, dtype), (name, count)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (b"softmax.dl", b"soft\xffax.dl"),
        (b"probability", b"prob\xffbility"),
        (b"dlc.model", b"dlc.mod\xffl"),
        (b"picked", b"pick\xed\xa0\x80"),
        (b"constant/mu", b"constant/\xc0\xaf"),
    ],
)
def test_names_that_are_no_text_are_refused(good: bytes, bad: bytes) -> None:
    data = compiled().SerializeToString()
    assert good in data
    bad += b"x" * (len(good) - len(bad))
    with pytest.raises(Error) as caught:
        CompiledFile.from_bytes(data.replace(good, bad[: len(good)]))
    assert caught.value.code == "E0771"


@pytest.mark.parametrize(
    ("change", "notes"),
    [
        (
            lambda m: in_field(m, [0.0] * 13),
            ("found 13 values in float_data", "expected 12 values in float_data for float32 [4, 3]"),
        ),
        (lambda m: in_field(m, []), ("found no data",)),
        (
            lambda m: m.graph.initializer[0].float_data.append(1.0),
            ("found 48 bytes and 1 values in float_data", "expected 48 bytes for float32 [4, 3]"),
        ),
        (
            lambda m: m.graph.initializer[0].dims.extend([2**62] * 3),
            (f"its shape is {[4, 3, 2**62, 2**62, 2**62]}", "no tensor can have so many values or dimensions"),
        ),
    ],
)
def test_tensors_that_hold_another_number_of_values(change: Callable, notes: tuple[str, ...]) -> None:
    found = broken(change, compiled())
    assert (found.code, found.message) == ("E0738", "the tensor `W` of the main graph is broken")
    assert found.notes[: len(notes)] == notes
