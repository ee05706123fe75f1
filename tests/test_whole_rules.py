"""Rules of all parameters as one vector, which ask the objective elsewhere: against closed forms, SciPy and loops."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from scipy import optimize
from whole_cases import (
    HITS,
    LOGISTIC,
    RIDGE,
    ROWS,
    A,
    N,
    X,
    Y,
    best,
    logistic,
    logistic_curvature,
    ridge,
    trainer,
    weights,
)

SPECS = Path(__file__).parents[1] / "specs"


@pytest.mark.parametrize(
    ("name", "rule", "updates"),
    [
        ("ridge", "lbfgs()", 40),
        ("ridge", "newton_cg(damping = 0, iterations = 12)", 1),
        ("ridge", "newton_cg()", 6),
        ("ridge", "backtracking(newton_cg(damping = 0, iterations = 12))", 1),
        ("ridge", "gauss_newton(residual)", 6),
        ("ridge", "newton()", 1),
        ("ridge", "lbfgs(strong_wolfe = true)", 40),
        ("logistic", "lbfgs(strong_wolfe = true)", 40),
        ("logistic", "strong_wolfe(newton_cg(damping = 0, iterations = 12))", 12),
        ("ridge", "levenberg_marquardt(residual)", 8),
        ("logistic", "lbfgs()", 40),
        ("logistic", "lbfgs(memory = 4)", 60),
        ("logistic", "newton_cg(damping = 0, iterations = 12)", 15),
        ("logistic", "backtracking(newton_cg(damping = 0, iterations = 12))", 12),
    ],
)
def test_the_optimum_is_reached_to_1e_8(name: str, rule: str, updates: int) -> None:
    text, y = (RIDGE, Y) if name == "ridge" else (LOGISTIC, HITS)
    trained = trainer(text.replace("RULE", rule))
    for _ in range(updates):
        trained.step({"x": X, "y": y})
    np.testing.assert_allclose(weights(trained), best(name), rtol=0, atol=1e-8)


CASES = {"ridge": (RIDGE, Y, ridge), "logistic": (LOGISTIC, HITS, logistic)}


def asked_by_scipy(name: str, start: Any, method: str, **options: Any) -> int:
    """How many points SciPy asks the objective at until one is as good as the optimum, to 1e-12."""
    function, asked = CASES[name][2], []

    def recorded(w: Any) -> Any:
        asked.append(function(w)[0])
        return function(w)

    def curvature(w: Any) -> Any:
        return A.T @ A / ROWS + 2e-3 * np.diag([1.0] * N + [0]) if name == "ridge" else logistic_curvature(w)

    product = {"hessp": lambda w, p: curvature(w) @ p} if method == "Newton-CG" else {}
    optimize.minimize(recorded, start, jac=True, method=method, options=options, **product)
    return 1 + next(i for i, value in enumerate(asked) if value < function(best(name))[0] + 1e-12)


def moved(S: list[Any], changes: list[Any], g: Any) -> Any:
    """The direction of L-BFGS, by Nocedal and Wright's algorithm 7.4."""
    d, parts = g, []
    for s, y in zip(S, changes, strict=True):
        parts.append((s @ d) / (s @ y))
        d = d - parts[-1] * y
    d = d * ((S[0] @ changes[0]) / (changes[0] @ changes[0]) if S else 1 / max(np.linalg.norm(g), 1))
    for s, y, part in reversed([*zip(S, changes, parts, strict=True)]):
        d = d + s * (part - (y @ d) / (s @ y))
    return d


@pytest.mark.parametrize("name", CASES)
def test_lbfgs_asks_the_objective_about_as_often_as_scipy(name: str) -> None:
    """Each trial of the line search counts: how many there were says the part of the direction that was taken."""
    text, y, function = CASES[name]
    trained = trainer(text.replace("RULE", "lbfgs()"))
    start = theta = weights(trained)
    S, changes, before, ours = list[Any](), list[Any](), None, 1
    while function(theta)[0] >= function(best(name))[0] + 1e-12 and ours < 200:
        g = function(theta)[1]
        if before is not None:
            S, changes = [theta - before[0], *S[:9]], [g - before[1], *changes[:9]]
        before, d = (theta, g), moved(S, changes, g)
        trained.step({"x": X, "y": y})
        theta = weights(trained)
        halved = round(-np.log2(np.linalg.norm(theta - before[0]) / np.linalg.norm(d)))
        np.testing.assert_allclose(theta, before[0] - 0.5**halved * d, rtol=1e-6, atol=1e-12)
        ours += 1 + halved
    assert ours <= 1.2 * asked_by_scipy(name, start, "L-BFGS-B", maxcor=10, ftol=0, gtol=1e-12, maxiter=200)


@pytest.mark.parametrize("name", CASES)
def test_newton_cg_asks_the_objective_about_as_often_as_scipy(name: str) -> None:
    text, y, function = CASES[name]
    trained = trainer(text.replace("RULE", "newton_cg()"))
    start, ours = weights(trained), 1
    while function(weights(trained))[0] >= function(best(name))[0] + 1e-12 and ours < 100:
        trained.step({"x": X, "y": y})
        ours += 1
    assert ours <= 1.2 * asked_by_scipy(name, start, "Newton-CG", xtol=1e-14)


def test_gauss_newton_asks_for_the_residuals_no_more_often_than_scipy() -> None:
    """Ridge regression as least squares, for both: the penalty as rows of data (Hoerl and Kennard 1970)."""
    L = np.r_[A, np.sqrt(2e-3 * ROWS) * np.eye(N, N + 1)]
    b = np.r_[Y, np.zeros(N)]
    text = """model m {
        input x: float[batch, 9]; target y: float[batch]
        residual = (x |> dense(1, bias = false))[:, 0] - y
        loss = mean(residual^2) / 2
    }
    train { minimize loss using gauss_newton(residual); batch: all }"""
    trained = trainer(text)
    start, asked = np.array(trained.parameters["dense.W"])[:, 0], []

    def recorded(w: Any) -> Any:
        asked.append(np.abs(w - best("ridge")).max())
        return L @ w - b

    optimize.least_squares(recorded, start, jac=lambda w: L, xtol=1e-15, ftol=1e-15, gtol=1e-15)
    theirs, ours = 1 + next(i for i, error in enumerate(asked) if error < 1e-8), 1
    while np.abs(np.array(trained.parameters["dense.W"])[:, 0] - best("ridge")).max() >= 1e-8 and ours < 100:
        trained.step({"x": L, "y": b})
        ours += 1
    assert ours <= 1.2 * theirs


# --- what a rule sees


NET = """
    RULES
    model net {
        input x: float[batch, 8]; target y: float[batch]
        h = x |> dense(5) |> tanh |> dropout(0.3)
        m = (h |> dense(1))[:, 0]
        y ~ normal(m, 1)
        metric error = mean(abs(m - y))
    }
    train { TRAIN }
"""


def net(train: str, rules: str = "") -> str:
    return NET.replace("RULES", rules).replace("TRAIN", train)


def operators(text: str) -> Counter[str]:
    [training] = dlc.compile(text).model_proto().training_info
    return Counter(node.op_type for node in training.algorithm.node)


def test_the_objective_at_theta_is_that_of_the_step_with_its_draws_and_is_computed_once() -> None:
    rule = """
    optimizer looking(lr = 0.1)(theta: vector[n], g, loss) {
        state seen: float = 0
        state same: float = 0
        seen <- loss(theta)
        same <- sum(abs(grad(loss(theta), theta) - g))
        theta <- theta - lr * g
    }"""
    text = net("minimize loss using looking(); penalty: l2(0.1) on *.W", rule)
    trained = trainer(text)
    for _ in range(3):
        before = {path: np.array(trained.parameters[path]) for path in trained.parameters}
        loss = trained.step({"x": X, "y": Y})["loss"]
        squares = sum((value**2).sum() for path, value in before.items() if path.endswith("W"))
        assert float(trained.state["looking/seen"]) == pytest.approx(loss + 0.1 * squares, rel=1e-14)
        assert float(trained.state["looking/same"]) < 1e-13
    plain = operators(net("minimize loss using sgd(0.1); penalty: l2(0.1) on *.W"))
    looks = operators(text)
    assert looks["MatMul"] + looks["Gemm"] == plain["MatMul"] + plain["Gemm"]
    assert all(looks[name] == plain[name] for name in ("Tanh", "Where", "BitShift", "BitwiseXor"))


def test_the_vector_has_the_parameters_in_order_and_its_states_exist_once() -> None:
    rule = """
    optimizer numbered()(theta: vector[n], g: vector[n], t) {
        state count = 0
        state last: float[2, n] = 0
        last  <- stack([theta, g])
        count <- count + arange(n)
        theta <- count / t
    }"""
    trained = trainer(net("minimize loss using numbered()", rule))
    start = {path: np.array(trained.parameters[path]) for path in trained.parameters}
    trained.step({"x": X, "y": Y})
    assert list(start) == ["dense.W", "dense.b", "dense[1].W", "dense[1].b"]
    flat = np.concatenate([value.ravel() for value in start.values()])
    np.testing.assert_array_equal(np.array(trained.state["numbered/last"])[0], flat)
    assert [path for path in trained.state if "/" in path] == ["numbered/count", "numbered/last"]
    made = np.concatenate([np.array(trained.parameters[path]).ravel() for path in start])
    np.testing.assert_array_equal(made, np.arange(flat.size))


def test_a_rule_of_one_parameter_works_on_the_parts_of_the_vector() -> None:
    rule = "optimizer around(inner)(theta: vector[n], g, t) { theta <- inner(theta, g, t) }"
    for inner in ("adam(1e-2)", "lamb(1e-2, decay = 0.1)", "accumulate(adam(1e-2), turns = 2)", "adafactor(1e-2)"):
        one, two = (trainer(net(f"minimize loss using {made}", rule)) for made in (inner, f"around({inner})"))
        for _ in range(6):
            one.step({"x": X, "y": Y})
            two.step({"x": X, "y": Y})
        for path in one.parameters:
            np.testing.assert_array_equal(one.parameters[path], two.parameters[path])
        assert [f"around/{path}" for path in one.state if "/" in path] == [path for path in two.state if "/" in path]


def test_each_statement_has_a_vector_of_its_own() -> None:
    trained = trainer(
        net("minimize loss over *.W using lbfgs(memory = 2); minimize loss over *.b using lbfgs(memory = 3)")
    )
    shapes = {path: np.shape(trained.state[path]) for path in trained.state if "/" in path}
    assert shapes["lbfgs/S"] == (2, 45) and shapes["lbfgs[1]/S"] == (3, 6)


def test_one_parameter_asks_the_objective_where_the_others_stay() -> None:
    """A coordinate search: each parameter moves along its gradient if that alone lowers the objective."""
    rule = """
    optimizer careful(lr)(theta, g, loss) {
        state before: float = 0
        state after: float = 0
        before <- loss(theta)
        after  <- loss(theta - lr * g)
        theta <- theta - lr * g
    }"""
    trained = trainer(RIDGE.replace("model", rule + "\n    model", 1).replace("RULE", "careful(0.1)"))
    w = weights(trained)
    g = ridge(w)[1]
    trained.step({"x": X, "y": Y})
    at = {"dense.W": np.r_[w[:N] - 0.1 * g[:N], w[N]], "dense.b": np.r_[w[:N], w[N] - 0.1 * g[N]]}
    constant = np.log(2 * np.pi) / 2
    for path, there in at.items():
        assert float(trained.state[f"careful/before/{path}"]) == pytest.approx(ridge(w)[0] + constant, rel=1e-12)
        assert float(trained.state[f"careful/after/{path}"]) == pytest.approx(ridge(there)[0] + constant, rel=1e-12)


@pytest.mark.parametrize("clip", ["", "; clip: global_norm(0.3)", "; clip: each_norm(0.2)"])
def test_sam_against_a_loop(clip: str) -> None:
    trained = trainer(RIDGE.replace("RULE", f"sam(sgd(0.05), rho = 0.1){clip}"))
    w = weights(trained)
    for _ in range(20):
        g = ridge(w)[1]
        g = ridge(w + 0.1 * g / np.linalg.norm(g))[1]
        if "global" in clip:
            g = g * 0.3 / max(np.linalg.norm(g), 0.3)
        elif clip:
            g = np.r_[g[:N] * 0.2 / max(np.linalg.norm(g[:N]), 0.2), g[N] * 0.2 / max(abs(g[N]), 0.2)]
        w = w - 0.05 * g
        trained.step({"x": X, "y": Y})
        np.testing.assert_allclose(weights(trained), w, rtol=0, atol=1e-12)


def test_ema_against_a_loop() -> None:
    trained = trainer(RIDGE.replace("RULE", "ema(sgd(0.05), decay = 0.9)"))
    mean = point = weights(trained)
    for t in range(1, 31):
        point = point - 0.05 * ridge(point)[1]
        keep = min(0.9, (t - 1) / t)
        mean = keep * mean + (1 - keep) * point
        trained.step({"x": X, "y": Y})
        np.testing.assert_allclose(weights(trained), mean, rtol=0, atol=1e-12)


def test_backtracking_and_levenberg_marquardt_never_raise_the_objective() -> None:
    for rule in ("backtracking(sgd(30.0), trials = 20)", "levenberg_marquardt(residual, damping = 1e-6)"):
        trained = trainer(RIDGE.replace("RULE", rule))
        values = [ridge(weights(trained))[0]]
        for _ in range(15):
            trained.step({"x": X, "y": Y})
            values.append(ridge(weights(trained))[0])
        assert all(b <= a * (1 + 1e-12) for a, b in pairwise(values)) and values[-1] < values[0] / 2


def test_a_function_of_the_model_and_the_hessian_of_it() -> None:
    """Newton's method with the whole second derivative."""
    text = LOGISTIC
    trained = trainer(text.replace("RULE", "newton()"))
    w = weights(trained)
    for _ in range(5):
        w = w - np.linalg.solve(logistic_curvature(w), logistic(w)[1])
        trained.step({"x": X, "y": HITS})
        np.testing.assert_allclose(weights(trained), w, rtol=0, atol=1e-9)


def test_a_search_for_the_strong_conditions_of_wolfe_finds_them() -> None:
    """From moves that are far too short and far too long."""
    for rate in (1e-3, 0.1, 3.0, 100.0):
        trained = trainer(LOGISTIC.replace("RULE", f"strong_wolfe(sgd({rate}), trials = 40, c2 = 0.3)"))
        w = weights(trained)
        for _ in range(6):
            before, g = logistic(w)
            trained.step({"x": X, "y": HITS})
            move = weights(trained) - w
            w = w + move
            after, slope = logistic(w)
            assert after <= before + 1e-4 * (g @ move)
            assert abs(slope @ move) <= 0.3 * abs(g @ move) * (1 + 1e-9)


# --- natural gradient


NATURAL = """
    self = -mean(sum(stop_gradient(softmax(logits)) * log_softmax(logits), axis = -1))
    output probability"""


def softmax(z: Any) -> Any:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_natural_gradient_on_digits_equals_a_loop() -> None:
    """The Fisher matrix is Jᵀ (diag p - p pᵀ) J over the rows, for a net without dropout."""
    hidden, rows, damping, iterations = 6, 64, 0.1, 8
    text = (SPECS / "digits.dl").read_text("utf-8").replace("dropout(0.2)", "dropout(0.0)")
    text = text.replace("|> relu", "|> tanh").replace("output probability", NATURAL.strip())
    head = text.split("train digits")[0]
    rule = f"newton_cg(curvature = self, damping = {damping}, iterations = {iterations})"
    trained = trainer(f"{head}\ntrain {{ minimize loss using {rule} }}", hidden=hidden)
    with np.load(SPECS / "data" / "digits.npz") as file:
        x, y = file["x"][:rows].astype(float), file["y"][:rows]
    paths = ("dense.W", "dense.b", "dense[1].W", "dense[1].b")
    p = {path: np.array(trained.parameters[path]) for path in paths}
    for _ in range(4):
        h = np.tanh(x @ p["dense.W"] + p["dense.b"])
        q = softmax(h @ p["dense[1].W"] + p["dense[1].b"])

        def along(v: Any, p: Any = p, h: Any = h) -> Any:
            dh = (1 - h**2) * (x @ v["dense.W"] + v["dense.b"])
            return dh @ p["dense[1].W"] + h @ v["dense[1].W"] + v["dense[1].b"]

        def back(u: Any, p: Any = p, h: Any = h) -> Any:
            da = u @ p["dense[1].W"].T * (1 - h**2)
            return {"dense.W": x.T @ da, "dense.b": da.sum(0), "dense[1].W": h.T @ u, "dense[1].b": u.sum(0)}

        def flat(v: Any) -> Any:
            return np.concatenate([v[path].ravel() for path in paths])

        def shaped(v: Any, p: Any = p) -> Any:
            found, at = {}, 0
            for path in paths:
                found[path] = v[at : at + p[path].size].reshape(p[path].shape)
                at += p[path].size
            return found

        def fisher(v: Any, q: Any = q, along: Any = along, back: Any = back) -> Any:
            z = along(shaped(v))
            return flat(back((q * z - q * (q * z).sum(1, keepdims=True)) / rows)) + damping * v

        g = flat(back((q - np.eye(10)[y]) / rows))
        d, r, direction = np.zeros_like(g), g, -g
        for _ in range(iterations):
            bent = fisher(direction)
            a = r @ r / (direction @ bent)
            d, after = d + a * direction, r + a * bent
            direction = (after @ after) / (r @ r) * direction - after
            r = after
        p = {path: p[path] + shaped(d)[path] for path in paths}
        trained.step({"x": x, "y": y})
        for path in paths:
            np.testing.assert_allclose(trained.parameters[path], p[path], rtol=0, atol=1e-9)


# --- how large, and going on


@pytest.mark.parametrize("rule", ["sam(adam(1e-3))", "lbfgs(memory = 3, trials = 4)", "newton_cg(iterations = 4)"])
def test_the_step_is_linear_in_the_layers(rule: str) -> None:
    counts = []
    for depth in (4, 8, 16):
        layers = " |> dense(6) |> tanh" * depth
        text = f"""
        model m {{
            input x: float[batch, 6]; target y: float[batch]
            p = x{layers} |> dense(1)
            y ~ normal(p[:, 0], 1)
        }}
        train {{ minimize loss using {rule} }}"""
        counts.append(sum(operators(text).values()))
    assert counts[2] - counts[1] <= 2.1 * (counts[1] - counts[0])


@pytest.mark.parametrize("rule", ["lbfgs(memory = 3)", "sam(adam(1e-2))", "ema(adam(1e-2))"])
def test_a_run_that_goes_on_is_the_unbroken_one(rule: str, tmp_path: Path) -> None:
    program = dlc.compile(net(f"minimize loss using {rule}"))
    data = {"x": X, "y": Y}
    whole = dlc.Trainer(program, device="cpu", seed=3)
    for _ in range(8):
        whole.step(data)
    half = dlc.Trainer(program, device="cpu", seed=3)
    for _ in range(4):
        half.step(data)
    half.save(tmp_path / "half.onnx")
    rest = dlc.Trainer(tmp_path / "half.onnx", device="cpu")
    for _ in range(4):
        rest.step(data)
    for path in whole.state:
        np.testing.assert_array_equal(whole.state[path], rest.state[path])


def test_rules_that_wrap_each_other_clip_each_where_it_says_so() -> None:
    """SAM's gradient is clipped before it is gathered, and the mean of two of them once more."""
    trained = trainer(RIDGE.replace("RULE", "sam(accumulate(sgd(0.05), turns = 2), rho = 0.1); clip: each_value(0.3)"))
    w, total = weights(trained), np.zeros(N + 1)
    for t in range(1, 13):
        g = ridge(w)[1]
        total = total + np.clip(ridge(w + 0.1 * g / np.linalg.norm(g))[1], -0.3, 0.3) / 2
        if t % 2 == 0:
            w, total = w - 0.05 * np.clip(total, -0.3, 0.3), np.zeros(N + 1)
        trained.step({"x": X, "y": Y})
        np.testing.assert_allclose(weights(trained), w, rtol=0, atol=1e-12)
