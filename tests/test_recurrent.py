"""The recurrent layers: against PyTorch, with lengths and backwards against loops, and a tagger that learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.ir import interpret
from library_sweep import central, close
from library_windows import recurrent
from test_scan import Compiled

HERE = Path(__file__).parent
HIDDEN, WIDTH = 5, 3


def text(layer: str, arguments: str = "", lengths: str = "") -> str:
    flow = f"x{', lengths' if lengths else ''}"
    return f"""model m {{
        input x: float[batch, time, {WIDTH}]
        input u: float[batch, time, {HIDDEN}]
        {"input lengths: int[batch]" if lengths else ""}
        f = {layer}({HIDDEN}{arguments})
        y = f({flow})
        total = sum(y * u)
        output y = y
        output total = total
        output d_x = grad(total, x)
        output d_W = grad(total, f.W)
        output d_U = grad(total, f.U)
        output d_b = grad(total, f.b)
    }}"""


def case(layer: str, gates: int, seed: int = 0, batch: int = 4, time: int = 6) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    shapes = {
        "x": (batch, time, WIDTH),
        "u": (batch, time, HIDDEN),
        "f.W": (WIDTH, gates * HIDDEN),
        "f.U": (HIDDEN, gates * HIDDEN),
        "f.b": (gates * HIDDEN,),
    }
    return {name: rng.normal(0, 0.7, shape) for name, shape in shapes.items()} | {
        "lengths": rng.integers(1, time + 1, batch)
    }


GATES = {"rnn": 1, "lstm": 4, "gru": 3}


@pytest.mark.oracle
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("layer", GATES)
def test_against_torch(layer: str, backward: bool) -> None:
    torch = pytest.importorskip("torch")
    fed = case(layer, GATES[layer])
    spec = Compiled(text(layer, ", backward = true" if backward else ""))
    order = {"gru": [1, 0, 2]}.get(layer, range(GATES[layer]))  # torch's gates, of ours

    def theirs(w: Any) -> Any:
        parts = np.split(np.asarray(w), GATES[layer], -1)
        return torch.from_numpy(np.concatenate([parts[i] for i in order], -1).T.copy())

    made = getattr(torch.nn, layer.upper())(WIDTH, HIDDEN, batch_first=True).double()
    with torch.no_grad():
        made.weight_ih_l0.copy_(theirs(fed["f.W"]))
        made.weight_hh_l0.copy_(theirs(fed["f.U"]))
        made.bias_ih_l0.copy_(theirs(fed["f.b"]))
        made.bias_hh_l0.zero_()
    x = torch.from_numpy(fed["x"]).requires_grad_()
    y, _ = made(x.flip(1) if backward else x)
    y = y.flip(1) if backward else y
    (y * torch.from_numpy(fed["u"])).sum().backward()
    found = spec(fed)
    expected = {"y": y.detach().numpy(), "d_x": x.grad.numpy()}
    for name, grad in (("d_W", made.weight_ih_l0.grad), ("d_U", made.weight_hh_l0.grad), ("d_b", made.bias_ih_l0.grad)):
        parts = np.split(grad.numpy().T, GATES[layer], -1)
        expected[name] = np.concatenate([parts[list(order).index(i)] for i in range(GATES[layer])], -1)
    for name, value in expected.items():
        assert close(found[name], value, 1e-10), name


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("layer", GATES)
def test_the_last_of_a_sequence_is_the_last_state(layer: str, backward: bool) -> None:
    """Who reads one iteration of y, the last one, gets the state after it: no sequence of it is made, nor of adjoints
    that are 0, and nothing is transposed. Reading another one needs the sequence."""
    way = ", backward = true" if backward else ""
    whole = text(layer, way + ", last = true").replace("y = f(x)", "y, h = f(x)")
    if layer == "lstm":
        whole = whole.replace("y, h =", "y, h, c =")
    picked, other = (0, 1) if backward else (-1, 2)
    by_state = whole.replace("sum(y * u)", "sum(h * u[:, 0])").replace("output y = y", "output y = h")
    by_place = text(layer, way).replace("sum(y * u)", f"sum(y[:, {picked}] * u[:, 0])")
    by_place = by_place.replace("output y = y", f"output y = y[:, {picked}]")
    elsewhere = by_place.replace(f"y[:, {picked}]", f"y[:, {other}]")
    fed = case(layer, GATES[layer], seed=2)
    there, here, third = (Compiled(each) for each in (by_state, by_place, elsewhere))
    for name, value in there(fed).items():
        assert np.array_equal(here(fed)[name], value), name
    emitted = [[len(node.output) for node in spec.model.graph.node if node.op_type == "Scan"] for spec in (there, here)]
    moved = [[node.op_type for node in spec.model.graph.node].count("Transpose") for spec in (there, here, third)]
    assert emitted[0] == emitted[1] and moved[0] == moved[1]
    assert not any(node.op_type == "Pad" for node in here.model.graph.node)
    assert any(node.op_type == "Pad" for node in third.model.graph.node)  # the test can fail


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("layer", GATES)
def test_lengths(layer: str, backward: bool) -> None:
    """Each row as if it stood alone and ended at its length; the derivative beyond is 0."""
    fed = case(layer, GATES[layer], seed=1)
    spec = Compiled(text(layer, ", backward = true" if backward else "", "lengths"))
    found, turn = spec(fed), -1 if backward else 1
    for row, length in enumerate(fed["lengths"]):
        x = fed["x"][row, :length][::turn]
        expected = recurrent(layer, x, fed["f.W"], fed["f.U"], fed["f.b"])[::turn]
        assert close(found["y"][row, :length], expected, 1e-12)
        assert not found["y"][row, length:].any() and not found["d_x"][row, length:].any()
    for name in ("x", "f.U", "f.b"):
        slope = central(lambda values: spec(values)["total"], fed, name)
        assert close(found[f"d_{name.removeprefix('f.')}"], slope, 1e-6), name


def test_the_forget_gate_begins_open():
    program = dlc.compile("model m {\n input x: float[batch, time, 2]\n output y = x |> lstm(3, forget = 2)\n}")
    module = program.module
    roots = module.roots("initial/")
    start = dict(zip(roots, interpret.evaluate(list(roots.values()), {"seed": np.uint64(0)}), strict=True))
    assert start["initial/lstm.b"].tolist() == [0] * 3 + [2] * 3 + [0] * 6


def test_a_tagger_learns():
    """Two directions with lengths: which tag each word has, told by the words on both sides of it."""
    spec = (HERE / "specs_design" / "bigru_tagger.dl").read_text("utf-8")
    program = dlc.compile(
        spec.replace("cosine(2e-3, over = steps)", "2e-2"),  # no run is planned here
        set={"vocabulary": 6, "tags": 3, "width": 8, "hidden": 12},
        seed=0,
    )
    trainer = dlc.Trainer(program, device="cpu", seed=0)
    rng = np.random.default_rng(0)

    batches = []
    for time in (5, 8):  # one file serves every length
        words = rng.integers(0, 6, (16, time))
        around = np.roll(words, 1, 1) + words
        batches.append({"words": words, "lengths": rng.integers(2, time + 1, 16), "y": around % 3})
    losses = [trainer.step(batches[step % 2])["loss"] for step in range(100)]
    assert np.isfinite(losses).all() and np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


def test_a_number_is_the_default_of_a_tensor():
    """`lengths: int[batch] = time`: all iterations of every row."""
    spec = Compiled("""
    layer counted()(x: float[batch, time], lengths: int[batch] = time) -> float[batch] {
        scan t over time {
            state s: float[batch] = 0
            s <- where(t < lengths, s + x[:, t], s)
        }
        return s
    }
    model m {
        input x: float[batch, time]
        input few: int[batch]
        c = counted()
        output all = c(x)
        output some = c(x, few)
    }""")
    x = np.arange(6.0).reshape(2, 3)
    found = spec({"x": x, "few": np.array([1, 2])})
    assert found["all"].tolist() == [3, 12] and found["some"].tolist() == [0, 7]
