"""docs/precision.md: how far float32 is from the functions, as the tables there say."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "precision.md").read_text(encoding="utf-8")
ROWS = [
    (name, float(low), float(high), float(bound))
    for name, low, high, bound in re.findall(r"^\| `(\w+)\(x\)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|", PAGE, re.M)
]
COUNT = 200_000


def predicted(text: str, x: np.ndarray, precision: str = "float32") -> np.ndarray:
    ort = pytest.importorskip("onnxruntime")
    program = dlc.compile(f"model m {{\n input x: float[n]\n output y = {text}\n}}", precision=precision)
    session = ort.InferenceSession(program.model_proto().SerializeToString())
    return np.asarray(session.run(["y"], {"x": x})[0])


def exact(name: str) -> Callable[[np.ndarray], Any]:
    """By SciPy and NumPy in float64, which are right to 1e-15."""
    special = pytest.importorskip("scipy.special")
    found = {"sigmoid": special.expit, "softplus": lambda v: np.logaddexp(0, v)}
    return found.get(name) or getattr(np, name, None) or getattr(special, name)


def between(low: float, high: float) -> np.ndarray:
    """Evenly over the numbers, and evenly over their orders of magnitude, of both signs."""
    rng = np.random.default_rng(3)
    sizes = np.exp(rng.uniform(np.log(1e-30), np.log(max(abs(low), abs(high))), COUNT))
    drawn = np.concatenate([rng.uniform(low, high, COUNT), sizes, -sizes, [low, high]])
    return drawn[(drawn >= low) & (drawn <= high)].astype(np.float32)


@pytest.mark.parametrize(("name", "low", "high", "bound"), ROWS, ids=[row[0] for row in ROWS])
def test_a_function_is_as_exact_as_the_table_says(name: str, low: float, high: float, bound: float) -> None:
    x = between(low, high)
    expected = exact(name)(x.astype(np.float64))
    normal = (np.abs(expected) >= np.finfo(np.float32).tiny) & (np.abs(expected) < np.finfo(np.float32).max)
    found = predicted(f"{name}(x)", x).astype(np.float64)
    unit = np.spacing(np.abs(expected[normal]).astype(np.float32)).astype(np.float64)
    error = np.abs(found - expected)[normal] / unit
    worst = int(error.argmax())
    assert error[worst] <= bound, (x[normal][worst], found[normal][worst], expected[normal][worst])


def test_no_function_is_forgotten() -> None:
    from dlc.ir.op import OPS, pointwise

    ours = {op.name for op in OPS.values() if op.jvp is pointwise and op.samples is not None}
    ours -= {"neg", "abs", "relu", "cast", "cut", "point", "gate", "all_rows"}  # exact, or no function of the language
    several = {"add", "sub", "mul", "div", "pow", "mod", "maximum", "minimum", "hypot", "arctan2"}
    assert ours - several == {row[0] for row in ROWS}


def test_the_sigmoid_rises_everywhere() -> None:
    x = np.sort(between(-87, 20))
    for precision in ("float32", "float64"):
        found = predicted("sigmoid(x)", x.astype(precision), precision)
        assert (np.diff(found) >= -np.spacing(found[1:].astype(np.float32)) * 2).all() and (found > 0).all()
    exact64 = exact("sigmoid")(x.astype(np.float64))
    np.testing.assert_allclose(found, exact64, rtol=1e-14)


def test_gates_multiply_and_probabilities_do_not() -> None:
    """In the iterations of a scan what multiplies is the kernel, what is handed out is exact."""
    lstm = dlc.compile((ROOT / "benchmarks" / "lstm.dl").read_text(encoding="utf-8"))
    inside = {
        node.op_type
        for graph in (lstm.model_proto().graph, lstm.model_proto().training_info[0].algorithm)
        for scan in graph.node
        for part in scan.attribute
        for node in part.g.node
    }
    assert "Sigmoid" in inside and "Reciprocal" not in inside
    ort = pytest.importorskip("onnxruntime")
    program = dlc.compile("""model m {
        input x: float[batch, time]
        scan t over time {
            state h: float[batch] = 0
            p = sigmoid(x[:, t])
            h <- p * h + (1 - p)
            y[:, t] = p
        }
        output y = y
        output h = h
    }""")
    session = ort.InferenceSession(program.model_proto().SerializeToString())
    y, _ = session.run(["y", "h"], {"x": np.array([[-20.0, -30.0]], np.float32)})
    np.testing.assert_allclose(y, [[2.0611537e-09, 9.357623e-14]], rtol=1e-6)


@pytest.mark.parametrize("beta", [0.9, 0.999, 0.99999, 0.9999999])
@pytest.mark.parametrize("rule", ["adam", "adamw"])
def test_the_first_update_of_adam_has_the_length_of_its_rate(rule: str, beta: float) -> None:
    program = dlc.compile(f"""model m {{
        input x: float[batch, 2]
        param w: float[2] init zeros
        loss = sum(mean(x, axis = 0) * w)
    }}
    train {{ minimize loss using {rule}(0.001, beta2 = {beta}); batch: all }}""")
    trainer = dlc.Trainer(program)
    trainer.step({"x": np.array([[1.0, -2.0]])})
    np.testing.assert_allclose(trainer.parameters["w"], [-0.001, 0.001], rtol=2e-6)


MANY = 10_000_000
SUMS = {
    "sum(x)": np.sum,
    "mean(x)": np.mean,
    "mean(x^2)": lambda x: np.mean(x * x),
    "norm(x)": lambda x: np.sqrt((x * x).sum()),
    "var(x)": np.var,
    "std(3 * x + 1)": lambda x: 3 * np.std(x),
    "logsumexp(x)": lambda x: np.log(np.exp(x).sum()),
    "sum(x, axis = 0) * 2": lambda x: 2 * np.sum(x),
}


@pytest.mark.parametrize("kind", ["equal", "drawn"])
def test_sums_of_ten_million(kind: str) -> None:
    ort = pytest.importorskip("onnxruntime")
    lines = "\n".join(f"output r{i} = {text}" for i, text in enumerate(SUMS))
    program = dlc.compile(f"model m {{\n input x: float[n]\n{lines}\n}}")
    session = ort.InferenceSession(program.model_proto().SerializeToString())
    drawn = np.random.default_rng(5).normal(0.5, 1, MANY).astype(np.float32)
    x = np.full(MANY, 0.1, np.float32) if kind == "equal" else drawn
    for text, found in zip(SUMS, session.run(None, {"x": x}), strict=True):
        np.testing.assert_allclose(found, SUMS[text](x.astype(np.float64)), rtol=1e-5, atol=1e-7, err_msg=text)


@pytest.mark.parametrize("layer", ["dense(1)", "dense(4)"])
def test_gradients_of_biases_over_a_million_rows(layer: str) -> None:
    """One update of sgd(1.0) with all rows takes the mean of the rows' gradients off."""
    rows = 1_000_000
    program = dlc.compile(f"""model m {{
        input x: float[batch, 2]
        h = x |> {layer}
        loss = mean(h)
    }}
    train {{ minimize loss using sgd(1.0); batch: all; steps: 1 }}""")
    trainer = dlc.Trainer(program)
    before = {name: np.array(value, np.float64) for name, value in trainer.parameters.items()}
    trainer.step({"x": np.full((rows, 2), 0.1, np.float32)})
    width = before["dense.b"].size
    np.testing.assert_allclose(trainer.parameters["dense.b"] - before["dense.b"], -1 / width, rtol=1e-5)
    bound = 1e-5 if width == 1 else 1e-4  # of products ONNX Runtime sums blocks
    moved = trainer.parameters["dense.W"] - before["dense.W"]
    np.testing.assert_allclose(moved, -float(np.float32(0.1)) / width, rtol=bound, atol=2e-7)


SIZES = [1e-30, 1e-20, 1e-3, 1e18, 1e20, 1e30, 1e37]


@pytest.mark.parametrize("size", SIZES)
def test_the_length_of_a_whole_tensor_holds_wherever_the_tensor_does(size: float) -> None:
    x = np.array([3, -4, 12], np.float32) * np.float32(size)
    for text in ("norm(x)", "sqrt(sum(x^2))", "sqrt(2 * sum(x^2) + x[0] * x[0])"):
        program = dlc.compile(f"model m {{\n input x: float[3]\n output y = {text}\n}}")
        ort = pytest.importorskip("onnxruntime")
        session = ort.InferenceSession(program.model_proto().SerializeToString())
        exactly = np.sqrt(2 * 169 + 9) if text.startswith("sqrt(2") else 13.0
        assert session.run(["y"], {"x": x})[0] == pytest.approx(exactly * float(np.float32(size)), rel=2e-7)


@pytest.mark.parametrize("size", SIZES[2:])
@pytest.mark.parametrize("clip", ["global_norm", "each_norm"])
def test_a_clipped_gradient_has_the_length_of_the_limit_however_long_it_was(clip: str, size: float) -> None:
    pytest.importorskip("onnxruntime")
    program = dlc.compile(f"""
        model m {{
            input g: float[batch, 7]
            param w: float[2, 3] init zeros
            param b: float init zeros
            slopes = mean(g, axis = 0)
            loss = sum(w * reshape(slopes[0:6], [2, 3])) + b * slopes[6]
        }}
        train {{ minimize loss using sgd(1.0); clip: {clip}(1.0); batch: 1; epochs: 1 }}
    """)
    trainer = dlc.Trainer(program, device="cpu", steps=1, observations=1)
    g = np.random.default_rng(5).normal(size=(1, 7)).astype(np.float32) * np.float32(size)
    trainer.step({"g": g})
    slopes = g[0].astype(np.float64)
    parts = [slopes] if clip == "global_norm" else [slopes[:6], slopes[6:]]
    expected = np.concatenate([-part / max(1.0, np.linalg.norm(part)) for part in parts])
    found = np.append(trainer.parameters["w"].ravel(), trainer.parameters["b"])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
