"""Recurrences in the native library: random ones against ONNX Runtime's Scan, in any number of threads, for any number
of rows; what is refused."""

from __future__ import annotations

from functools import partial
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.runtime import native, recurrences
from dlc.runtime.session import Options, Session
from native_cases import mangled, runs_or_says
from onnx import AttributeProto, ModelProto, TensorProto, helper
from test_native import run, same

there = pytest.mark.skipif(not native.works(), reason="the native library was not built")
F = TensorProto.FLOAT
Array = np.ndarray[Any, Any]


def value(name: str, *shape: object) -> Any:
    return helper.make_tensor_value_info(name, F, list(shape))


class Case:
    """A random recurrence on rows of a batch: states, slices, weights that are the same in all turns."""

    def __init__(self, seed: int, mixed: bool = False) -> None:
        """`mixed`: rows read each other."""
        rng = self.rng = np.random.default_rng(seed)
        self.width, self.time = int(rng.choice([1, 3, 8, 17, 40])), int(rng.choice([1, 2, 5, 9]))
        self.states, self.sequences = int(rng.integers(1, 3)), int(rng.integers(1, 3))
        self.weights: dict[str, Array] = {}
        self.nodes: list[Any] = []
        self.pool = [f"s{i}" for i in range(self.states)] + [f"q{i}" for i in range(self.sequences)]
        for _ in range(int(rng.integers(2, 12))):
            self.grow()
        if mixed:
            self.put("ReduceSum", self.any(), self.axis(0), keepdims=1)
            total = self.pool.pop()
            self.put("Add", self.any(), total)
        self.results = [str(each) for each in rng.choice(self.pool, int(rng.integers(1, 4)))]
        self.next = [str(each) for each in rng.choice(self.pool[-4:], self.states)]
        self.plain = seed % 2 == 0
        self.back = [[int(each) for each in rng.integers(0, 2, n)] for n in (self.sequences, len(self.results))]

    def any(self) -> str:
        return str(self.rng.choice(self.pool[-5:]))

    def axis(self, number: int) -> str:
        self.weights[f"axis{number}"] = np.array([number])
        return f"axis{number}"

    def weight(self, *shape: int) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = (self.rng.normal(size=shape) * 0.3).astype(np.float32)
        return name

    def put(self, op: str, *operands: str, **attributes: Any) -> None:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(operands), [name], name=name, **attributes))
        self.pool.append(name)

    def grow(self) -> None:
        rng, w = self.rng, self.width
        kind = int(rng.integers(0, 7))
        if kind == 0:
            tb, c = int(rng.integers(0, 2)), rng.random()
            more = [self.weight(w)] if c < 0.3 else [self.any()] if c < 0.6 else []
            self.put("Gemm", self.any(), self.weight(w, w), *more, transB=tb, alpha=0.5)
        elif kind == 1:
            self.put(str(rng.choice(["Tanh", "Sigmoid", "Softmax"])), self.any())
        elif kind == 2:
            self.put("Add", self.any(), self.weight(w))
        elif kind == 3:  # gates: columns of one product
            self.put("Gemm", self.any(), self.weight(w, 2 * w))
            whole = self.pool.pop()
            for i, bound in enumerate(((0, w), (w, 2 * w))):
                names = [f"{self.nodes[-1].name}_{i}_{k}" for k in range(2)]
                self.weights |= {name: np.array([edge]) for name, edge in zip(names, bound, strict=True)}
                self.put("Slice", whole, *names, self.axis(1), self.axis(1))
        elif kind == 4 and w > 1:
            self.put("Concat", self.any(), self.any(), axis=1)
            both = self.pool.pop()
            self.put("Gemm", both, self.weight(2 * w, w))
        elif kind == 5:
            self.put("ReduceSum", self.any(), self.axis(1), keepdims=1)
            total = self.pool.pop()
            self.put("Mul", self.any(), total)
        else:
            self.put(str(rng.choice(["Add", "Mul", "Sub"])), self.any(), self.any())

    def model(self, sums: bool = False, apart: bool = True) -> ModelProto:
        """`sums`: of the last result only sums over all rows of all turns are wanted; `apart`: and nothing else."""
        w, t = self.width, self.time
        nodes = list(self.nodes)
        outputs = []
        made = {node.output[0] for node in nodes}
        for i, name in enumerate([*self.next, *self.results]):
            if i < self.states and name in made and name not in outputs and self.plain:
                outputs.append(name)  # and a result may be a copy of the state
                continue
            nodes.append(helper.make_node("Identity", [name], [f"o{i}"], name=f"o{i}"))
            outputs.append(f"o{i}")
        names = [*(f"s{i}" for i in range(self.states)), *(f"q{i}" for i in range(self.sequences))]
        body = helper.make_graph(
            nodes, "body", [value(name, "batch", w) for name in names], [value(name, "batch", w) for name in outputs]
        )
        scan = helper.make_node(
            "Scan", [f"in_{name}" for name in names], [f"out_{name}" for name in outputs], name="scan", body=body,
            num_scan_inputs=self.sequences, scan_input_directions=self.back[0], scan_output_directions=self.back[1],
        )  # fmt: skip
        graph = helper.make_graph(
            [scan],
            "g",
            [value(f"in_{n}", *((t,) if n[0] == "q" else ()), "batch", w) for n in names]
            + [helper.make_tensor_value_info(n, F, v.shape) for n, v in self.weights.items() if v.dtype == np.float32],
            [value(f"out_{n}", *((t,) if i >= self.states else ()), "batch", w) for i, n in enumerate(outputs)],
            [helper.make_tensor(n, TensorProto.INT64, v.shape, v) for n, v in self.weights.items() if v.dtype == int],
        )
        if sums:
            self.summed(graph, outputs[-1], apart)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)

    def summed(self, graph: Any, name: str, apart: bool) -> None:
        """Adds sums of the last result, and of its products with a sequence of the scan and with another value."""
        w, result = self.width, graph.output.pop() if apart else graph.output[-1]
        graph.input.append(value("in_z", self.time, "batch", 3))
        for node, flat, columns in ((f"out_{name}", "flat", w), ("in_q0", "flat_q", w), ("in_z", "flat_z", 3)):
            graph.node.add(op_type="Reshape", input=[node, f"shape{columns}"], output=[flat], name=flat)
            graph.value_info.append(value(flat, "all", columns))
        graph.value_info.append(value(result.name, self.time, "batch", w))
        for names, output, alpha in (
            (("flat_q", "flat"), "qr", 1.0),
            (("flat_z", "flat"), "zr", 0.25),
            (("flat", "flat_z"), "rz", -2.0),
        ):
            graph.node.append(helper.make_node("Gemm", names, [output], name=output, transA=1, alpha=alpha))
        graph.node.append(helper.make_node("ReduceSum", ["flat", "first"], ["r"], name="r", keepdims=0))
        graph.node.append(helper.make_node("ReduceSum", [f"out_{name}", "both"], ["rr"], name="rr", keepdims=0))
        graph.output.extend([value("qr", w, w), value("zr", 3, w), value("rz", w, 3), value("r", w), value("rr", w)])
        for key, array in ({"first": [0], "both": [0, 1], "shape3": [-1, 3], f"shape{w}": [-1, w]}).items():
            graph.initializer.append(helper.make_tensor(key, TensorProto.INT64, [len(array)], array))

    def feeds(self, rows: int, sums: bool = False) -> dict[str, Array]:
        shapes = {f"in_s{i}": (rows, self.width) for i in range(self.states)}
        shapes |= {f"in_q{i}": (self.time, rows, self.width) for i in range(self.sequences)}
        if sums:
            shapes["in_z"] = (self.time, rows, 3)
        made = {name: self.rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        return made | {name: v for name, v in self.weights.items() if v.dtype == np.float32}


def taken(case: Case, sums: bool = False, apart: bool = True) -> ModelProto:
    made = ModelProto()
    made.CopyFrom(case.model(sums, apart))
    assert recurrences.recurrent(made) == 1
    made.opset_import.add(domain="dlc.native", version=1)
    return made


def by_rows(model: ModelProto) -> bool:
    [node] = [node for node in model.graph.node if node.op_type == "Scan"]
    return bool(node.attribute[0].ints[3])


@there
@pytest.mark.parametrize("block", range(8))
def test_random_recurrences_are_scans(block: int) -> None:
    """In any number of threads to the last bit, and a row is the same whatever rows are beside it."""
    for seed in range(block * 10, block * 10 + 10):
        case = Case(seed, mixed=seed % 5 == 4)
        made = taken(case)
        assert by_rows(made) == (seed % 5 != 4)
        for rows in (0, 1, 7, 40):
            feeds = case.feeds(rows)
            expected, found = run(case.model(), feeds), run(made, feeds)
            for a, b in zip(found, expected, strict=True):  # turns make more of a last bit
                top = max(1.0, float(np.abs(b).max(initial=0)))
                with np.errstate(invalid="ignore"):  # some overflow
                    np.testing.assert_allclose(a / top, b / top, rtol=0, atol=1e-3, err_msg=str(seed))
            for threads in (2, 3):
                assert all(same(a, b) for a, b in zip(found, run(made, feeds, threads), strict=True))
            if rows == 40 and by_rows(made):
                few = {n: v[:, 17:] if n[:4] == "in_q" else v[17:] if n[:4] == "in_s" else v for n, v in feeds.items()}
                for a, b, n in zip(found, run(made, few), made.graph.output, strict=True):
                    assert same(a[..., 17:, :], b), (seed, n.name)


def gathered(model: ModelProto) -> int:
    """How many sums the recurrence gives."""
    [node] = [node for node in model.graph.node if node.op_type == "Scan"]
    return int(node.attribute[0].ints[5])


@there
@pytest.mark.parametrize("block", range(4))
def test_sums_over_all_turns(block: int) -> None:
    """In any number of threads to the last bit; of more rows than groups have, too."""
    for seed in range(block * 10, block * 10 + 10):
        case = Case(seed, mixed=seed % 5 == 4)
        made = taken(case, sums=True)
        assert gathered(made) == (0 if seed % 5 == 4 else 5)
        assert gathered(taken(case, sums=True, apart=False)) == 0  # the result is wanted besides
        for rows in (0, 1, 7, 40, 40 if block else 700):
            feeds = {name: array * 0.5 for name, array in case.feeds(rows, sums=True).items()}
            expected, found = run(case.model(sums=True), feeds), run(made, feeds)
            for a, b in zip(found, expected, strict=True):
                top = max(1.0, float(np.abs(b).max(initial=0)))
                with np.errstate(invalid="ignore"):
                    np.testing.assert_allclose(a / top, b / top, rtol=0, atol=1e-3, err_msg=str((seed, rows)))
            for threads in (2, 3):
                assert all(same(a, b) for a, b in zip(found, run(made, feeds, threads), strict=True))


@there
def test_sums_of_what_the_recurrence_gives_stay_outside() -> None:
    """A product with what is made of another result of the same recurrence; one that is added to other than it is."""
    for seed in (0, 1, 2, 3):
        case = Case(seed)
        for change, inside in (("made", 0), ("added", 5), ("scaled", 0), ("broadcast", 0), ("none", 5)):
            model = case.model(sums=True)
            [gemm] = [node for node in model.graph.node if node.name == "zr"]
            [flat] = [node for node in model.graph.node if node.name == "flat_z"]
            if change == "made":  # of a result, in as many columns
                result = model.graph.output[0].name
                model.graph.node.insert(1, helper.make_node("ReduceMax", [result], ["top"], name="top", keepdims=0))
                model.graph.node.insert(2, helper.make_node("Add", ["in_z", "top"], ["z_top"], name="z_top"))
                model.graph.value_info.append(value("z_top", case.time, "batch", 3))
                flat.input[0] = "z_top"
            elif change != "none":
                model.graph.input.append(value("in_c", *((1,) if change == "broadcast" else (3, case.width))))
                gemm.input.append("in_c")
                if change == "scaled":
                    gemm.attribute.append(helper.make_attribute("beta", 0.5))
            made = ModelProto()
            made.CopyFrom(model)
            assert recurrences.recurrent(made) == 1
            assert gathered(made) == inside
            feeds = case.feeds(5, sums=True) | {"in_c": np.full((3, case.width), 10, np.float32)}
            if change == "added":
                made.opset_import.add(domain="dlc.native", version=1)
                for a, b in zip(run(made, feeds), run(model, feeds), strict=True):
                    top = max(1.0, float(np.abs(b).max(initial=0)))
                    np.testing.assert_allclose(a / top, b / top, rtol=0, atol=1e-3)


@there
def test_random_programs_are_refused_or_run() -> None:
    """Any list of integers: an error, or a result, and no reading or writing where nothing is."""
    rng = np.random.default_rng(0)
    loaded = refused = 0
    for seed in range(40):
        case = Case(seed)
        sums = seed % 2 == 1
        made, feeds = taken(case, sums), case.feeds(20, sums)
        [node] = [node for node in made.graph.node if node.op_type == "Scan"]
        words = list(node.attribute[0].ints)
        for _ in range(10):
            wrong = mangled(rng, words, [-(2**63), -1, 0, 1, 2, 3, 4, 5, 7, 11, 15, 16, 127, 2**31, 2**63 - 1], 3)
            del node.attribute[:]
            node.attribute.append(helper.make_attribute("program", wrong, attr_type=AttributeProto.INTS))
            good = runs_or_says(partial(run, made, feeds, 2), "Scan", "program", "type", "Type")
            loaded, refused = loaded + good, refused + (not good)
    assert loaded and refused


@there
def test_rows_that_do_not_fit_are_refused() -> None:
    case = Case(0)
    made, feeds = taken(case), case.feeds(5)
    with pytest.raises(Exception, match="rows"):
        run(made, feeds | {"in_s0": feeds["in_s0"][:3]})


@there
@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_weights_of_members_are_multiplied_member_by_member(shape: tuple[int, ...]) -> None:
    """A recurrence of several networks at once: batched products, with weights that are the same in all turns."""
    rng, turns, rows, width = np.random.default_rng(4), 6, 4, 5
    h, w = rng.normal(size=(*shape, rows, width)), rng.normal(size=(*shape, width, width)) * 0.4
    xs = rng.normal(size=(turns, *shape, rows, width))
    nodes = [helper.make_node("MatMul", ["h", "w"], ["p"]), helper.make_node("Add", ["p", "x"], ["q"])]
    nodes += [helper.make_node("Tanh", ["q"], ["next"]), helper.make_node("Identity", ["next"], ["y"])]
    one = h.shape
    body = helper.make_graph(nodes, "body", [value(n, *one) for n in "hx"], [value(n, *one) for n in ("next", "y")])
    scan = helper.make_node("Scan", ["h0", "xs"], ["last", "ys"], name="scan", body=body, num_scan_inputs=1)
    feeds = {name: array.astype(np.float32) for name, array in (("h0", h), ("xs", xs), ("w", w))}
    graph = helper.make_graph(
        [scan], "g", [value(n, *v.shape) for n, v in feeds.items()], [value("last", *one), value("ys", *xs.shape)]
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    assert recurrences.recurrent(made) == 1
    made.opset_import.add(domain="dlc.native", version=1)
    last, ys = run(made, feeds)
    for x, y in zip(xs, ys, strict=True):
        h = np.tanh(h @ w + x)
        np.testing.assert_allclose(y, h, rtol=1e-5, atol=1e-6)
    assert same(last, ys[-1])


@there
def test_a_recurrence_of_large_weights_is_left() -> None:
    spec = """
    model m {{
        input x: float[batch, 5, 8]
        target y: float[batch, 8]
        h = x |> lstm({width})
        loss = mean(((h[:, -1] |> dense(8)) - y)^2)
    }}
    train m {{ minimize loss using sgd(0.01) }}
    """
    large, small = (dlc.Trainer(dlc.compile(spec.format(width=w)), device="cpu").rewrites for w in (400, 12))
    assert recurrences.RECURRENCES not in large
    assert small[recurrences.RECURRENCES] == 2


@there
def test_a_session_takes_batches_of_other_sizes_in_turn() -> None:
    case = Case(3)
    session = Session(case.model(), Options(native=True, fused=True, threads=2))
    assert session.rewrites[recurrences.RECURRENCES] == 1
    for rows in (33, 2, 64, 1, 33):
        feeds = case.feeds(rows)
        for a, b in zip(session.run(session.outputs, feeds), run(case.model(), feeds), strict=True):
            top = max(1.0, float(np.abs(b).max(initial=0)))
            np.testing.assert_allclose(a / top, b / top, rtol=0, atol=1e-3)


RECURRENT = """
model m {{
    input x: float[batch, 5, {columns}]
    target y: float[batch, 3]
    f = {layer}(24{arguments})
    h = f(x)
    output p = h[:, {at}]
    loss = mean(((h[:, {at}] |> dense(3)) - y)^2){more}
}}
train m {{ minimize loss using {optimizer}(0.01)
    batch: 40 }}
"""


@there
@pytest.mark.parametrize("arguments", ["", ", backward = true"])
@pytest.mark.parametrize("layer", ["rnn", "lstm", "gru"])
def test_narrow_products_are_made_turn_by_turn(layer: str, arguments: str) -> None:
    """x @ W + b, where x has far fewer columns: the node Scan reads x and W itself, and trains as without it."""
    rng = np.random.default_rng(0)
    other = " + mean((x[:, 0] @ f.W + f.b)^2)"
    for columns, more, inside, optimizer in (
        (4, "", True, "adam"),
        (40, "", False, "sgd"),
        (4, other, True, "adam"),
        (4, "", True, "sgd"),
    ):
        spec = RECURRENT.format(
            layer=layer, arguments=arguments, columns=columns, more=more, at=-1, optimizer=optimizer
        )
        program = dlc.compile(spec)
        model = ModelProto()
        model.CopyFrom(program.model_proto())
        assert recurrences.recurrent(model) == 1
        [scan] = [node for node in model.graph.node if node.op_type == "Scan"]
        assert ("f.W" in scan.input) == inside
        data = {"x": rng.normal(size=(40, 5, columns)), "y": rng.normal(size=(40, 3))}
        with_it, without = (dlc.Trainer(program, device="cpu", seed=0, native=native) for native in (True, False))
        for _ in range(5):
            a, b = with_it.step(data)["loss"], without.step(data)["loss"]
            assert abs(a - b) < 1e-5 * abs(b)
        for name, array in without.parameters.items():
            np.testing.assert_allclose(with_it.parameters[name], array, rtol=0, atol=2e-4)


@there
def test_a_product_with_other_readers_stays_outside() -> None:
    """Nothing is computed twice: x @ W + b that something else reads, or whose rows are no rows of turns."""
    spec = """
    model m {
        input x: float[batch, 5, 4]
        param W: float[4, 24] init normal(0.1)
        a = x @ W
        scan t over time {
            state h: float[batch, 24] = 0
            h <- tanh(a[:, t] + h)
            y[:, t] = h
        }
        output y = y
        OUTPUT
    }
    """.replace("over time", "over 0..5")
    for more, inside in (("", True), ("output a = a", False)):
        model = ModelProto()
        model.CopyFrom(dlc.compile(spec.replace("OUTPUT", more)).model_proto())
        assert recurrences.recurrent(model) == 1
        [scan] = [node for node in model.graph.node if node.op_type == "Scan"]
        assert ("W" in scan.input) == inside
