"""`scan`: values against plain loops, derivatives of both orders against differences, ONNX Runtime against both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import dlc
import numpy as np
import onnxruntime
import pytest
from dlc.ir import interpret
from hypothesis import given, settings, strategies as st
from library_sweep import central, close
from scan_cases import CASES, Case, elman, sigmoid
from spec_cases import SGD, Spec, codes

LEVELS = {
    "off": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "on": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


class Compiled:
    """A spec through the whole compiler, in float64."""

    def __init__(self, text: str, **options: Any) -> None:
        program = dlc.compile(text, precision="float64", **options)
        self.model = program.model_proto()
        self.roots = {name.removeprefix("output/"): n for name, n in program.module.roots("output/").items()}

    def __call__(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        return dict(zip(self.roots, interpret.evaluate(list(self.roots.values()), feeds), strict=True))

    def stock(self, feeds: Mapping[str, Any], level: str) -> dict[str, Any]:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level, options.log_severity_level = LEVELS[level], 3
        session = onnxruntime.InferenceSession(
            self.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return dict(
            zip(
                self.roots,
                session.run(
                    list(self.roots),
                    {
                        value.name: np.asarray(feeds[value.name], np.int64 if "int" in value.type else np.float64)
                        for value in session.get_inputs()
                    },
                ),
                strict=True,
            )
        )


@pytest.mark.parametrize("name", CASES)
def test_values_and_both_derivatives(name: str) -> None:
    case = CASES[name]
    spec = Compiled(case.text)
    for seed, sizes in ((0, {}), (1, {"batch": 1, "time": 1, "rows": 1}), (2, {"time": 8, "n": 3, "columns": 2})):
        feeds = case.feeds(seed, **sizes)
        found = spec(feeds)
        for out, expected in zip(case.outs, case.loop(**feeds), strict=True):
            assert close(found[out], expected, 1e-12), out
        for x in case.inputs:
            slope = central(lambda fed: spec(fed)["total"], feeds, x)
            assert close(found[f"first_{x}"], slope, 1e-6), x
            bend = central(lambda fed: spec(fed)["bent"], feeds, x)
            assert close(found[f"second_{x}"], bend, 1e-6), x
        for level in LEVELS:
            stock = spec.stock(feeds, level)
            for out, value in found.items():
                assert close(stock[out], value, 1e-10), (level, out)


def test_no_iterations():
    """A sequence of length 0 leaves the states as they were, and has derivatives all the same."""
    case = CASES["elman"]
    spec, feeds = Compiled(case.text), case.feeds(time=0)
    found = spec(feeds)  # ONNX Runtime's Scan asks for one iteration at least
    assert found["y"].shape == (3, 0, 4) and not found["h"].any()
    assert close(found["first_U"], 0.3 * feeds["U"] ** 2, 1e-12)


# --- what is inside


def test_the_derivative_of_what_all_iterations_share_is_one_product():
    """No product of weights is left in a scan of the way back, nor that of the inputs in either scan."""
    text = CASES["elman"].text
    module = dlc.compile("\n".join(line for line in text.splitlines() if "second" not in line)).module
    from dlc.pipeline import optimize

    optimize(module, "float32")
    graph = module.graph
    scans = [node for node in graph.order([graph.outputs["output/first_U"]]) if node.op.name == "scan"]
    assert [scan.attrs["reverse"] for scan in scans] == [False, True]
    assert [sum(n.op.name in ("matmul", "gemm") for n in scan.attrs["body"].graph.nodes) for scan in scans] == [1, 1]
    assert all(scan.attrs["body"].inputs[-1].shape[0] != "n" for scan in scans)


def test_jacobians_and_directions_through_time():
    """Forward and reverse mode through the same scan, against differences of every element."""
    text = """model m {
        input x: float[3, 2]
        input v: float[3, 2]
        input U: float[2, 2]
        scan t over 0..3 {
            state h: float[2] = 0.1
            h <- tanh(x[t] + h @ U)
            y[t] = h
        }
        output y = y
        output tall = jacobian(y, x)
        output wide = jacobian(h, x)
        output moved = jvp(y, x, v)
        output rows = jacobian(sum(y^2, axis = 1), U)
    }"""
    spec, rng = Compiled(text), np.random.default_rng(3)
    feeds = {"x": rng.normal(size=(3, 2)), "v": rng.normal(size=(3, 2)), "U": rng.normal(size=(2, 2))}
    found = spec(feeds)
    for i, j in np.ndindex(3, 2):
        slope = central(lambda fed, i=i, j=j: spec(fed)["y"][i, j], feeds, "x")
        assert close(found["tall"][i, j], slope, 1e-6)
        if i == 2:
            assert close(found["wide"][j], slope, 1e-6)
        assert close(found["moved"][i, j], np.sum(slope * feeds["v"]), 1e-6)
    for i in range(3):
        slope = central(lambda fed, i=i: np.sum(spec(fed)["y"][i] ** 2), feeds, "U")
        assert close(found["rows"][i], slope, 1e-6)
    stock = spec.stock(feeds, "on")
    assert all(close(stock[name], value, 1e-10) for name, value in found.items())


def test_draws_differ_from_iteration_to_iteration_and_repeat_with_the_step():
    spec = Spec(
        """model m {
        input x: float[batch, time]
        target y: float[batch]
        param w: float[2] init zeros
        scan t over time {
            state s: float[2] = 0
            s <- s + uniform_like(w)
            drawn[:, t] = uniform_like(w)
        }
        loss = mean(drawn^2) + sum(s * w) + 0 * mean(y)
        metric a = drawn[0, 0]
        metric b = drawn[0, 1]
        metric c = drawn[1, 0]
        metric d = s[0]
    }
"""
        + SGD
    )
    state = spec.start()
    data = {"x": np.zeros((2, 6)), "y": np.zeros(2)}
    one, two = ({n: float(spec.get(f"metric/{n}", {**state, **data, "step": step})) for n in "abcd"} for step in (0, 1))
    again = {n: float(spec.get(f"metric/{n}", {**state, **data, "step": 0})) for n in "abcd"}
    assert one == again and len({*one.values(), *two.values()}) == 8


def test_states_of_layers_move_in_every_iteration():
    """A layer with states, applied in a scan, sees its own update of the iteration before."""
    spec = Spec(
        """
    layer seen(keep = 0.5)(x: float[batch, n]) -> float[batch, n] {
        state mean_: float[n] = 0
        state turns: int = 0
        if training { mean_ <- keep * mean_ + (1 - keep) * mean(x, axis = batch); turns <- turns + 1 }
        return x - mean_[n]
    }
    model m {
        input x: float[batch, time, 2]
        target y: float[batch]
        centre = seen()
        fixed = seen()
        scan t over time {
            state s: float[batch, 2] = 0
            s <- tanh(s + centre(x[:, t]))
        }
        z = mean(fixed(s))
        param w: float init zeros
        loss = mean(y) + w * z
        output z = z
    }
"""
        + SGD
    )
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 4, 2))
    state = spec.start()
    _, after = spec.step(state, x=x, y=np.zeros(3))
    mean, s = np.zeros(2), np.zeros((3, 2))
    for t in range(4):
        mean = 0.5 * mean + 0.5 * x[:, t].mean(0)
        s = np.tanh(s + x[:, t] - mean)
    assert np.allclose(after["centre.mean_"], mean) and after["centre.turns"] == 4 and after["fixed.turns"] == 1
    assert np.isclose(after["w"], state["w"] - (s - 0.5 * s.mean(0)).mean())
    predicted = spec.get("z", {"x": x, **after})
    s = np.zeros((3, 2))
    for t in range(4):
        s = np.tanh(s + x[:, t] - mean)
    assert np.isclose(predicted, (s - after["fixed.mean_"]).mean())


def test_layers_and_parameters_in_an_iteration_are_made_once():
    spec = Spec(
        """model m {
        input x: float[batch, time, 3]
        target y: int[batch]
        scan t over time {
            state h: float[batch, 4] = 0
            param u: float[4] init ones
            h <- x[:, t] |> dense(4) |> tanh |> dropout(0.5) |> relu
            h <- h * u
        }
        y ~ categorical(logits = h)
    }
"""
        + SGD
    )
    assert spec.paths == ["u", "dense.W", "dense.b"]


def test_a_step_trains_through_time():
    """An update of every parameter is the start value less the derivative by differences."""
    spec = Spec(
        """model m {
        input x: float[batch, time, 2]
        target y: int[batch]
        scan t over time {
            state h: float[batch, 3] = 0
            h <- tanh((concat([x[:, t], h], axis = 1)) |> dense(3))
        }
        y ~ categorical(logits = h)
    }
"""
        + SGD
    )
    rng = np.random.default_rng(1)
    state, data = spec.start(), {"x": rng.normal(size=(4, 6, 2)), "y": np.array([0, 1, 2, 0])}
    _, after = spec.step(state, **data)
    for path in spec.paths:
        slope = central(lambda values: spec.get("loss", {**values, **data}), state, path)
        assert close(state[path] - after[path], slope, 1e-7)


# --- random recurrences

TERMS = (
    "x[:, t] @ A",
    "h @ U",
    "b",
    "0.5 * g",
    "h * g",
    "tanh(g)",
    "x[:, t] @ A * h",
    "sin(h + g)",
    "g @ U",
    "where(g > 0, h, b)",
    "t * 0.1 * g",
    "mean(h, axis = 0)",
    "h[:, ::-1]",
)

SUMS = st.lists(st.sampled_from(TERMS), min_size=1, max_size=3)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(SUMS, SUMS, st.booleans(), st.sampled_from(("tanh", "sin", "sigmoid")), st.integers(0, 1000))
def test_random_recurrences(first: list[str], second: list[str], backwards: bool, bound: str, seed: int) -> None:
    """As it was read, simplified and lowered: the same values; and the derivative is that of the differences."""
    case = Case(
        {"x": "batch, time, n", "A": "n, k", "U": "k, k", "b": "k"},
        f"""scan t over {"reverse(time)" if backwards else "time"} {{
            state h: float[batch, k] = 0.1
            state g: float[batch, k] = 0.2
            h <- {bound}({" + ".join(first)}) + 0 * h
            g <- {bound}({" - ".join(second)}) + 0 * h
            y[:, t] = g * 2
        }}""",
        ("y", "h"),
        elman,
    )
    spec, feeds = Compiled(case.text), case.feeds(seed)
    found = spec(feeds)
    h, g, ys = np.full((3, 4), 0.1), np.full((3, 4), 0.2), {}
    act: Any = {"tanh": np.tanh, "sin": np.sin, "sigmoid": sigmoid}[bound]
    for t in range(5)[:: -1 if backwards else 1]:
        parts = [evaluated(term, {**feeds, "t": t, "h": h, "g": g}) for term in first]
        h = act(sum(parts) + np.zeros((3, 4)))
        parts = [evaluated(term, {**feeds, "t": t, "h": h, "g": g}) for term in second]
        g = act(parts[0] - sum(parts[1:]) + np.zeros((3, 4)))
        ys[t] = g * 2
    assert close(found["y"], np.stack([ys[t] for t in range(5)], 1), 1e-12) and close(found["h"], h, 1e-12)
    rng = np.random.default_rng(seed)
    for x in case.inputs:  # along one direction: 1e-6 of the whole derivative
        v = rng.normal(size=feeds[x].shape)
        for first_, scalar in ((f"first_{x}", "total"), (f"second_{x}", "bent")):
            ends = [spec({**feeds, x: feeds[x] + s * 1e-5 * v})[scalar] for s in (1, -1)]
            slope = np.sum(found[first_] * v)
            assert abs((ends[0] - ends[1]) / 2e-5 - slope) <= 1e-5 * max(1, abs(slope)) * 10, first_
    stock = spec.stock(feeds, "on")
    assert all(close(stock[name], found[name], 1e-9) for name in found)


def evaluated(term: str, names: Mapping[str, Any]) -> Any:
    """The terms above as Python reads them."""
    written: dict[str, Callable[[Any], Any]] = {
        "x[:, t] @ A": lambda n: n["x"][:, n["t"]] @ n["A"],
        "h @ U": lambda n: n["h"] @ n["U"],
        "b": lambda n: n["b"],
        "0.5 * g": lambda n: 0.5 * n["g"],
        "h * g": lambda n: n["h"] * n["g"],
        "tanh(g)": lambda n: np.tanh(n["g"]),
        "x[:, t] @ A * h": lambda n: n["x"][:, n["t"]] @ n["A"] * n["h"],
        "sin(h + g)": lambda n: np.sin(n["h"] + n["g"]),
        "g @ U": lambda n: n["g"] @ n["U"],
        "where(g > 0, h, b)": lambda n: np.where(n["g"] > 0, n["h"], n["b"]),
        "t * 0.1 * g": lambda n: n["t"] * 0.1 * n["g"],
        "mean(h, axis = 0)": lambda n: n["h"].mean(0),
        "h[:, ::-1]": lambda n: n["h"][:, ::-1],
    }
    return written[term](names)


@pytest.mark.parametrize("inside", [False, True], ids=["not applied in the turns", "applied in the turns too"])
def test_a_layer_in_a_start_value_moves_its_state_once(inside: bool) -> None:
    spec = Spec(
        """
        layer count()(x) {
            state n: float = 0
            if training { n <- n + 1 }
            return x + 0.1 * n
        }
        model m {
            input x: float[batch]
            param w: float init ones
            c = count()
            scan t over 0..3 {
                a = %s
                state h: float[batch] = w * x |> c
                h <- 0.5 * h + a
            }
            loss = mean(h)
        }
        train { minimize loss using sgd(0.1) }"""
        % ("c(x)" if inside else "x")
    )
    loss, after = spec.step({"x": np.ones(2), "w": np.float64(1), "c.n": np.float64(5), "step": 0})
    n, h = 6, 1.6
    for _ in range(3):
        n += inside
        h = 0.5 * h + 1 + 0.1 * n * inside
    assert after["c.n"] == n and loss == pytest.approx(h)


# --- what is refused


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("scan t over time { state h: float[batch] = 0; h <- x }", "E0331"),
        ("scan t over time { state h: int = 0; h <- 0.5 }", "E0302"),
        ("scan t over 5 { state h: int = 0; h <- h + 1 }", "E0371"),
        ("scan t over 0..0 { state h: int = 0; h <- h + 1 }", "E0371"),
        ("scan t over 1..time { state h: int = 0; h <- h + 1 }", "E0371"),
        ("scan t over [1, 2] { state h: int = 0; h <- h + 1 }", "E0371"),
        ("scan t over reverse(x) { state h: int = 0; h <- h + 1 }", "E0371"),
        ("scan t over 0..9 { y[:, t] = w[t] }", "E0238"),
        ("scan x over time { y[t] = 1 }", "E0370"),
        ("v = 1\nscan t over time { v = 2 }", "E0370"),
        ("v = 1\nscan t over time { for v in 0..2 { q = v } }", "E0370"),
        ("v = 1\nscan t over time { v[:, t] = x[:, t] }", "E0370"),
        ("scan t over time { y[:, t] = x[:, t]; y[:, t] = x[:, t] }", "E0203"),
        ("scan t over time { state h: float = 0; state h: float = 1 }", "E0203"),
        ("scan t over time { y[t, t] = x[:, t] }", "E0375"),
        ("scan t over time { y[0, t] = x[:, t] }", "E0375"),
        ("scan t over time { y[:, :, :, t] = x[:, t] }", "E0324"),
        ("scan t over time { scan s over time { y[:, t] = x[:, s] } }", "E0375"),
        ("scan t over time { q = y[:, t]; y[:, t] = x[:, t] }", "E0377"),
        ("scan t over time { y[:, t] = x[:, t]; q = y[:, t] }", "E0377"),
        ("scan t over time { scan s over 0..4 { y[s] = 0 * z[t - 1] }; if true { z[t] = sum(y) } }", "E0377"),
        ("scan t over time { y[:, t] = f(x[:, t]) }\n}\nfn f(x) {\nreturn x + y", "E0201"),
        ("scan t over time { q = x[:, t] }\nz = q", "E0201"),
        ("scan t over time { z = x[:, t]; input u: float }", "E0373"),
        ("scan t over time { x[:, t] ~ normal(0, 1) }", "E0373"),
        ("scan t over time { if mean(x[:, t]) > 0 { state h: float = 0 } }", "E0372"),
        ("scan t over time { state h: float init normal(0, 1) }", "E0372"),
    ],
)
def test_misuse(text: str, code: str) -> None:
    assert codes(f"model m {{\ninput x: float[batch, time]\ninput w: float[4]\n{text}\n}}") == [code]
