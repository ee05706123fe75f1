"""Updates of small tensors as one: the same numbers, bit for bit where IEEE 754 says what they are, in fewer nodes."""

from __future__ import annotations

import dlc
import numpy as np
import onnx
import pytest
from dlc.runtime import graphs, packing
from dlc.runtime.packing import APART, LARGEST, LONGEST, PACKED, Row, offsets
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from work import assert_linear

FLOAT = TensorProto.FLOAT

NET = """
model net {{
    input  x: float[batch, 7]
    target y: int[batch]
    z = x
    for i in 0..3 {{ z = tanh(z |> dense(9)) }}
    logits = z |> layer_norm |> dense(3)
    y ~ categorical(logits = logits)
    output p = softmax(logits)
}}
train net {{ minimize loss using {optimizer}{rest} }}
"""


def batches(count: int = 12, rows: int = 8):
    rng = np.random.default_rng(5)
    for _ in range(count):
        yield {"x": rng.normal(size=(rows, 7)).astype("float32"), "y": rng.integers(0, 3, rows)}


def trained(text: str, pack: bool, monkeypatch, precision: str = "float32", steps: int = 12):
    with monkeypatch.context() as patch:
        if not pack:
            patch.setattr(packing, "packed", lambda model, updates: [])
        trainer = dlc.Trainer(dlc.compile(text, precision=precision), device="cpu", seed=3)
        for batch in batches(steps):
            trainer.step(batch)
    return trainer


def state(trainer) -> dict[str, np.ndarray]:
    return trainer._values.snapshot()


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(
    ("optimizer", "rest"),
    [
        ("adam(0.01)", ""),
        ("adamw(0.01)", ""),
        ("rmsprop(0.01)", ""),
        ("adagrad(0.1)", ""),
        ("momentum(0.1)", ""),
        ("momentum(0.1, nesterov = true)", ""),
        ("adam(cosine(0.01, over = 10))", ""),
        ("lookahead(adam(0.01), k = 3)", ""),
        ("accumulate(adam(0.01), turns = 2)", ""),
        ("adam(0.01)", "; clip: global_norm(0.5); penalty: l2(1e-3) on *.W"),
        ("adam(0.01)", "; clip: each_value(0.01)"),
        ("sgd(0.1)", ""),
    ],
)
def test_every_tensor_of_state_is_the_same(optimizer, rest, precision, monkeypatch):
    text = NET.format(optimizer=optimizer, rest=rest)
    fast, plain = (trained(text, pack, monkeypatch, precision) for pack in (True, False))
    assert PACKED not in plain.rewrites
    for name, value in state(plain).items():
        np.testing.assert_array_equal(state(fast)[name], value, err_msg=name)
    packed = fast.rewrites.get(PACKED, 0)
    assert packed >= 10 * (1 + optimizer.startswith("adam")) or optimizer.startswith(("sgd", "momentum"))


def test_fewer_nodes_and_rows_in_one_piece_of_memory(monkeypatch):
    text = NET.format(optimizer="adam(0.01)", rest="")
    trainer = trained(text, True, monkeypatch)
    assert trainer.rewrites[PACKED] == 3 * 10
    rows = [row for row, _ in trainer.stepper._rows]
    assert {len(row.tensors) for row in rows} == {10} and all(row.input and row.output for row in rows)
    held = trainer._values
    for row in rows:
        first = held.now(row.tensors[0]).array
        for tensor, start in zip(row.tensors, offsets([held.slots[t].shape for t in row.tensors]), strict=False):
            at = held.now(tensor).array
            assert at.ctypes.data - first.ctypes.data == 4 * start and at.ctypes.data % 64 == 0
    before = len(
        graphs.concatenate(
            trainer.file.model,
            trainer.file.parts[0].algorithm,
            dict.fromkeys(["loss", *trainer.file.parts[0].updates.values()]),
            held.slots,
        ).graph.node
    )
    [session] = trainer.stepper._sessions
    assert len(session.sources) < before - 8 * 11  # of ten chains of Adam little more than one is left


def test_state_is_read_and_written_by_tensor(tmp_path, monkeypatch):
    text = NET.format(optimizer="adam(0.01)", rest="")
    trainer = trained(text, True, monkeypatch, steps=5)  # an odd number: the second buffers are the present ones
    path = tmp_path / "net.onnx"
    trainer.save(path)
    again = dlc.Trainer(dlc.load(path), device="cpu")
    for name, value in trainer.parameters.items():
        np.testing.assert_array_equal(again.parameters[name], value)
    saved = state(trainer)
    for batch in batches(3):
        trainer.step(batch)
    after = state(trainer)
    trainer._values.restore(saved)
    for batch in batches(3):
        trainer.step(batch)
    for name, value in state(trainer).items():
        np.testing.assert_array_equal(value, after[name])


# --- graphs by hand


def update(tensors: dict[str, list[int]], nodes, outputs: dict[str, str], extra=(), kind: int = FLOAT):
    """A step that takes `tensors` and gradients `g/NAME`, and has the outputs of `outputs` (tensor -> output)."""
    shapes = {name: list(shape) for name, shape in tensors.items()}
    graph = helper.make_graph(
        nodes,
        "step",
        [helper.make_tensor_value_info(of + name, kind, shape) for name, shape in shapes.items() for of in ("", "g/")],
        [helper.make_tensor_value_info(output, kind, shapes[name]) for name, output in outputs.items()]
        + [helper.make_tensor_value_info(name, kind, [1]) for name in extra],
        [numpy_helper.from_array(np.asarray(0.5, helper.tensor_dtype_to_np_dtype(kind)), "c")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def chain(name: str, order: str = "gc") -> list:
    """next = NAME - c g sqrt(|g|): four nodes"""
    operands = [f"g/{name}" if letter == "g" else "c" for letter in order]
    return [
        helper.make_node("Mul", operands, [f"cg/{name}"]),
        helper.make_node("Abs", [f"g/{name}"], [f"abs/{name}"]),
        helper.make_node("Sqrt", [f"abs/{name}"], [f"root/{name}"]),
        helper.make_node("Mul", [f"cg/{name}", f"root/{name}"], [f"step/{name}"]),
        helper.make_node("Sub", [name, f"step/{name}"], [f"next/{name}"]),
    ]


def packed(shapes: dict[str, list[int]], nodes=None, extra=(), **how):
    nodes = [node for name in shapes for node in chain(name)] if nodes is None else nodes
    outputs = {name: f"next/{name}" for name in shapes}
    model = update(shapes, nodes, outputs, extra, **how)
    rows = packing.packed(model, outputs)
    onnx.checker.check_model(model, full_check=True)
    return model, rows


def operators(model) -> list[str]:
    return sorted(node.op_type for node in model.graph.node)


def test_one_chain_for_tensors_of_any_shape():
    model, rows = packed({"a": [3], "b": [4, 5], "d": [2, 2, 2]})
    assert operators(model) == sorted(["Reshape", "Reshape", "Concat", "Mul", "Abs", "Sqrt", "Mul", "Sub"])
    assert [row.tensors for row in rows] == [("a", "b", "d")]
    assert offsets([(3,), (4, 5), (2, 2, 2)]) == [0, 16, 48, 64]


def test_tensors_of_other_types_have_other_kinds():
    """A power by integers beside one by fractions: they cannot be joined."""
    nodes = [helper.make_node("Cast", ["g/b"], ["whole"], to=TensorProto.INT64)]
    for name, exponent in (("a", "g/a"), ("b", "whole")):
        nodes += [
            helper.make_node("Pow", [name, exponent], [f"power/{name}"]),
            helper.make_node("Neg", [f"power/{name}"], [f"neg/{name}"]),
            helper.make_node("Abs", [f"neg/{name}"], [f"next/{name}"]),
        ]
    assert packed({"a": [4], "b": [4]}, nodes)[1] == []


def test_numbers_may_stand_on_either_side_of_a_product():
    _, rows = packed({"a": [3], "b": [4]}, [*chain("a", "gc"), *chain("b", "cg")])
    assert [row.tensors for row in rows] == [("a", "b")]


def test_what_something_else_reads_is_made_for_it_too():
    nodes = [*chain("a"), *chain("b"), helper.make_node("ReduceSum", ["step/a"], ["total"])]
    model, rows = packed({"a": [3], "b": [4]}, nodes, extra=["total"])
    assert len(rows) == 1 and operators(model).count("Sub") == 1 and operators(model).count("Sqrt") == 2


@pytest.mark.parametrize(
    ("shapes", "nodes"),
    [
        ({"a": [3]}, None),  # nothing to put it beside
        ({"a": [LARGEST + 1], "b": [LARGEST + 1]}, None),
        ({"a": [0], "b": [0]}, None),
        ({"a": [], "b": []}, None),
        ({"a": [3], "b": [3]}, [*chain("a"), *chain("b")[:-1], helper.make_node("Add", ["b", "step/b"], ["next/b"])]),
        ({"a": [3], "b": [4]}, [helper.make_node("Sub", [n, f"g/{n}"], [f"next/{n}"]) for n in "ab"]),  # saves no node
        ({"a": [3], "b": [3]}, [helper.make_node("Neg", [f"g/{n}"], [f"next/{n}"], domain="other") for n in "ab"]),
    ],
)
def test_what_does_not_pay_stays(shapes, nodes):
    outputs = {name: f"next/{name}" for name in shapes}
    made = [node for name in shapes for node in chain(name)] if nodes is None else nodes
    model = update(shapes, made, outputs)
    before = model.SerializeToString(deterministic=True)
    assert packing.packed(model, outputs) == []
    assert [node.output[0] for node in model.graph.node] == [node.output[0] for node in made]
    assert model.SerializeToString(deterministic=True) == before


def test_long_rows_are_cut():
    shapes = {f"t{i}": [LARGEST] for i in range(20)}
    _, rows = packed(shapes)
    assert [len(row.tensors) for row in rows] == [LONGEST // LARGEST] * 2 + [4]


def test_tensors_that_would_lie_in_two_orders_are_left():
    nodes = []
    for name, reads in (("a", "a"), ("b", "d"), ("d", "b")):
        nodes += [*chain(name)[:-1], helper.make_node("Sub", [reads, f"step/{name}"], [f"next/{name}"])]
    model, rows = packed({"a": [4], "b": [4], "d": [4]}, nodes)
    assert rows == [] and operators(model).count("Sub") == 3


def test_a_row_says_which_ends_the_graph_has():
    """The old values are not read: only the new ones are in one piece."""
    nodes = [node for name in "ab" for node in chain(name)[:-1]]
    nodes += [helper.make_node("Neg", [f"step/{name}"], [f"next/{name}"]) for name in "ab"]
    [row] = packed({"a": [4], "b": [4]}, nodes)[1]
    assert row == Row(("a", "b"), "", row.output) and row.output
    assert offsets([(4,), (4,)])[-1] == 2 * APART


def test_whole_numbers_are_not_divided_by_what_lies_between():
    text = """model m {
        input x: float[batch, 5]
        param w: float[5] init ones
        state a: int[5] = 7
        state b: int[3] = 9
        if training { a <- 1000 // a + 1; b <- 1000 // b + 1 }
        loss = mean((x @ w)^2) + mean(a) + mean(b)
    }
    train { minimize loss using sgd(0.1) }"""
    trainer = dlc.Trainer(dlc.compile(text), device="cpu")
    trainer.step({"x": np.ones((2, 5), "float32")})
    assert state(trainer)["a"].tolist() == [143] * 5 and state(trainer)["b"].tolist() == [112] * 3


def test_an_input_that_is_an_output_stays():
    nodes = [node for name in "ab" for node in chain(name)]
    outputs = {"a": "next/a", "b": "next/b", "d": "a"}  # d keeps what a was
    model = update({"a": [3], "b": [4], "d": [3]}, nodes, outputs)
    assert len(packing.packed(model, outputs)) == 1
    onnx.checker.check_model(model, full_check=True)


def test_names_of_the_graph_are_not_taken_twice():
    shapes = {"a": [4, 5], "row/flat": [4]}
    _, rows = packed(shapes)
    assert [row.tensors for row in rows] == [("a", "row/flat")]


def test_what_is_tried_in_vain_stays_linear():
    """Pairs whose tensors would lie in two orders, at every depth of a chain."""

    def make(count: int):
        shapes = {f"{letter}{i}": [4] for i in range(count) for letter in "ab"}
        nodes, last = [], {"a": "g/a0", "b": "g/b0"}
        for i in range(count):
            for one, other in ("ab", "ba"):
                nodes.append(helper.make_node("Tanh", [last[one]], [f"u{one}{i}"]))
                nodes.append(helper.make_node("Sub", [f"{other}{i}", f"u{one}{i}"], [f"next/{one}{i}"]))
            last = {letter: f"u{letter}{i}" for letter in "ab"}
        outputs = {name: f"next/{name}" for name in shapes}
        return update(shapes, nodes, outputs), outputs

    assert_linear(make, lambda made: packing.packed(*made), counted=(100, 1600), timed=(400, 3200), limit=2.5)


def test_packing_is_linear():
    def make(count: int):
        shapes = {f"t{i}": [64] for i in range(count)}
        outputs = {name: f"next/{name}" for name in shapes}
        return update(shapes, [node for name in shapes for node in chain(name)], outputs), outputs

    assert_linear(make, lambda made: packing.packed(*made), counted=(200, 3200), timed=(800, 6400), limit=2.5)


# --- the length of the whole gradient


def length(*names: str) -> list:
    """length = sqrt of the sum of the squares of g/NAME in double precision, each clipped by it"""
    nodes, last = [], ""
    for name in names:
        nodes.append(helper.make_node("Cast", [f"g/{name}"], [f"wide/{name}"], to=TensorProto.DOUBLE))
        nodes.append(helper.make_node("ReduceSumSquare", [f"wide/{name}"], [f"squares/{name}"], keepdims=0))
        if last:
            nodes.append(helper.make_node("Add", [last, f"squares/{name}"], [f"total/{name}"]))
        last = f"total/{name}" if last else f"squares/{name}"
    nodes += [helper.make_node("Sqrt", [last], ["root"]), helper.make_node("Cast", ["root"], ["length"], to=FLOAT)]
    return nodes


def clipped(name: str) -> list:
    return [
        helper.make_node("Div", [f"g/{name}", "length"], [f"short/{name}"]),
        helper.make_node("Tanh", [f"short/{name}"], [f"step/{name}"]),
        helper.make_node("Sub", [name, f"step/{name}"], [f"next/{name}"]),
    ]


def test_the_length_of_joined_gradients_is_taken_of_the_row():
    shapes = {"a": [3], "b": [4, 5], "d": [2, 2, 2]}
    nodes = [*length(*shapes), *(node for name in shapes for node in clipped(name))]
    model, _ = packed(shapes, nodes)
    assert operators(model).count("ReduceSumSquare") == 1 and "Add" not in operators(model)
    feeds = {name: np.random.default_rng(2).normal(size=shape).astype("f4") for name, shape in shapes.items()}
    feeds |= {f"g/{name}": 1e25 * feeds[name] for name in shapes}  # whose squares are no float32 numbers
    row = np.zeros(offsets(list(shapes.values()))[-1], "f4")
    for name, start in zip(shapes, offsets(list(shapes.values())), strict=False):
        row[start : start + feeds[name].size] = feeds[name].ravel()
    [given] = [value.name for value in model.graph.input if not value.name.startswith("g/")]
    [out] = ReferenceEvaluator(model).run(None, {given: row, **{f"g/{name}": feeds[f"g/{name}"] for name in shapes}})
    norm = np.sqrt(sum(np.sum(np.square(feeds[f"g/{name}"], dtype="f8")) for name in shapes))
    for name, start in zip(shapes, offsets(list(shapes.values())), strict=False):
        expected = feeds[name] - np.tanh(feeds[f"g/{name}"] / np.float32(norm))
        np.testing.assert_allclose(out[start : start + feeds[name].size].reshape(shapes[name]), expected, rtol=1e-6)


def test_the_squares_of_what_is_not_joined_are_added_to_those_of_the_row():
    shapes = {"a": [3], "b": [4], "large": [LARGEST + 1]}
    nodes = [*length(*shapes), *(node for name in shapes for node in clipped(name))]
    model, rows = packed(shapes, nodes)
    assert [row.tensors for row in rows] == [("a", "b")]
    assert operators(model).count("ReduceSumSquare") == 2 and operators(model).count("Add") == 1


def test_a_sum_over_part_of_the_row_or_over_one_tensor_twice_stays():
    shapes = {"a": [3], "b": [4]}
    changes = [node for name in shapes for node in clipped(name)]
    part, _ = packed(shapes, [*length("a"), *changes])
    assert [node.input[0] for node in part.graph.node if node.op_type == "Cast"] == ["g/a", "root"]
    twice = length("a", "b")
    twice.insert(-2, helper.make_node("Add", ["total/b", "squares/a"], ["total"]))
    twice[-2].input[0] = "total"
    model, _ = packed(shapes, [*twice, *changes])
    assert operators(model).count("ReduceSumSquare") == 2 and operators(model).count("Add") == 2


def test_what_else_reads_a_sum_reads_that_of_the_row():
    shapes = {"a": [3], "b": [4]}
    nodes = [*length(*shapes), helper.make_node("Cast", ["total/b"], ["sum"], to=FLOAT)]
    nodes.append(helper.make_node("Reshape", ["sum", "one"], ["squares"]))
    nodes.insert(0, helper.make_node("Constant", [], ["one"], value_ints=[1]))
    model, _ = packed(shapes, [*nodes, *(node for name in shapes for node in clipped(name))], extra=["squares"])
    assert operators(model).count("ReduceSumSquare") == 1


def test_joining_sums_is_linear():
    def make(count: int):
        shapes = {f"t{i}": [64] for i in range(count)}
        outputs = {name: f"next/{name}" for name in shapes}
        return update(
            shapes, [*length(*shapes), *(node for name in shapes for node in clipped(name))], outputs
        ), outputs

    assert_linear(make, lambda made: packing.packed(*made), counted=(200, 3200), timed=(800, 6400), limit=2.5)
