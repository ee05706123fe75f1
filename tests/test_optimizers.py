"""Every update rule of the library over 200 updates in float64, against PyTorch, optax or the paper in NumPy.

The loss is linear in the parameters, so that the gradient of each update is what the test feeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import dlc
import numpy as np
import onnxruntime
import pytest

UPDATES = 200
SHAPES = {"tall": (5, 3), "wide": (2, 4), "bias": (7,), "one": ()}
MATRICES = ("tall", "wide")
Arrays = dict[str, Any]


def spec(rule: str, paths: tuple[str, ...]) -> str:
    def sizes(path: str) -> str:
        return ", ".join(str(size) for size in SHAPES[path])

    lines = []
    for path in paths:
        lines.append(f"input g_{path}: float[{', '.join(['batch', *map(str, SHAPES[path])])}]")
        kind = f"float[{sizes(path)}]" if SHAPES[path] else "float"
        lines.append(f"param {path}: {kind} init normal(0, 1)")
        lines.append(f"loss = sum({path} * mean(g_{path}, axis = 0))")
    body = "\n    ".join(lines)
    return f"model m {{\n    {body}\n}}\ntrain {{ minimize loss using {rule}; steps: {UPDATES} }}\n"


def gradients(paths: tuple[str, ...]) -> Iterator[Arrays]:
    """With a drift, so that moments differ from 0, and now and then far larger."""
    rng = np.random.default_rng(3)
    for step in range(UPDATES):
        yield {
            path: (rng.normal(size=SHAPES[path]) + 0.3) * (20 if step % 37 == 5 else 1) * np.exp(-step / 80)
            for path in paths
        }


def follow(rule: str, expected: Callable[[Arrays], Iterator[Arrays]], paths: tuple[str, ...], atol: float) -> None:
    """`expected` gets the start values, then yields the parameters after each update."""
    trained = dlc.Trainer(dlc.compile(spec(rule, paths), precision="float64"), device="cpu", seed=2)
    start = {path: np.array(trained.parameters[path]) for path in paths}
    moved = dict.fromkeys(paths, 0.0)
    for number, (given, after) in enumerate(zip(gradients(paths), expected(start), strict=True), 1):
        trained.step({f"g_{path}": value[None] for path, value in given.items()})
        for path in paths:
            found = np.array(trained.parameters[path])
            np.testing.assert_allclose(found, after[path], rtol=0, atol=atol, err_msg=f"{path}, update {number}")
            moved[path] = max(moved[path], float(np.abs(found - start[path]).max()))
    assert min(moved.values()) > 1e-3


# --- PyTorch

TORCH: dict[str, tuple[str, str, dict[str, Any]]] = {
    "sgd": ("sgd(0.05)", "SGD", {"lr": 0.05}),
    "momentum": ("momentum(0.05)", "SGD", {"lr": 0.05, "momentum": 0.9}),
    "nesterov": ("momentum(0.05, beta = 0.8, nesterov = true)", "SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True}),
    "dampening": ("momentum(0.05, dampening = 0.7)", "SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.7}),
    "adam": ("adam(0.01)", "Adam", {"lr": 0.01}),
    "adamw": ("adamw(0.01, decay = 0.1)", "AdamW", {"lr": 0.01, "weight_decay": 0.1}),
    "amsgrad": ("amsgrad(0.01)", "Adam", {"lr": 0.01, "amsgrad": True}),
    "rmsprop": ("rmsprop(0.01)", "RMSprop", {"lr": 0.01}),
    "centered": ("rmsprop(0.01, centered = true)", "RMSprop", {"lr": 0.01, "centered": True}),
    "rmsprop with momentum": (
        "rmsprop(0.01, centered = true, beta = 0.8)",
        "RMSprop",
        {"lr": 0.01, "centered": True, "momentum": 0.8},
    ),
    "adagrad": ("adagrad(0.1)", "Adagrad", {"lr": 0.1}),
    "adadelta": ("adadelta()", "Adadelta", {}),
    "adadelta of a rate": ("adadelta(0.5, rho = 0.95)", "Adadelta", {"lr": 0.5, "rho": 0.95}),
    "adamax": ("adamax(0.01)", "Adamax", {"lr": 0.01}),
    "nadam": ("nadam(0.01)", "NAdam", {"lr": 0.01}),
    "radam": ("radam(0.01)", "RAdam", {"lr": 0.01}),
    "rprop": ("rprop(0.01)", "Rprop", {"lr": 0.01}),
    "adafactor": ("adafactor(0.05)", "Adafactor", {"lr": 0.05, "eps": (1e-7, 1e-3)}),
    "adafactor with decay": (
        "adafactor(0.05, decay = 0.1, limit = 1.5)",
        "Adafactor",
        {"lr": 0.05, "eps": (1e-7, 1e-3), "weight_decay": 0.1, "d": 1.5},
    ),
}


@pytest.mark.oracle
@pytest.mark.parametrize("name", TORCH)
def test_200_updates_against_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    rule, made, options = TORCH[name]
    paths = tuple(SHAPES)

    def expected(start: Arrays) -> Iterator[Arrays]:
        p = {path: torch.tensor(value, requires_grad=True) for path, value in start.items()}
        optimizer = getattr(torch.optim, made)(list(p.values()), foreach=False, **options)
        for given in gradients(paths):
            for path, value in p.items():
                value.grad = torch.tensor(np.array(given[path]))
            optimizer.step()
            yield {path: value.detach().numpy().copy() for path, value in p.items()}

    follow(rule, expected, paths, 1e-9)


# --- optax

OPTAX: dict[str, tuple[str, str, dict[str, Any]]] = {
    "lars": (
        "lars(0.5, decay = 0.01, trust = 0.1)",
        "lars",
        {"learning_rate": 0.5, "weight_decay": 0.01, "trust_coefficient": 0.1},
    ),
    "lars with nesterov": (
        "lars(0.5, trust = 0.01, nesterov = true)",
        "lars",
        {"learning_rate": 0.5, "trust_coefficient": 0.01, "nesterov": True},
    ),
    "lamb": ("lamb(0.01, decay = 0.1)", "lamb", {"learning_rate": 0.01, "weight_decay": 0.1}),
    "lion": ("lion(0.01, decay = 0.1)", "lion", {"learning_rate": 0.01, "weight_decay": 0.1}),
    "sign_sgd": ("sign_sgd(0.01)", "sign_sgd", {"learning_rate": 0.01}),
    "adabelief": ("adabelief(0.01)", "adabelief", {"learning_rate": 0.01}),
    "yogi": ("yogi(0.01, start = 0.0)", "yogi", {"learning_rate": 0.01}),
}


@pytest.mark.oracle
@pytest.mark.parametrize("name", OPTAX)
def test_200_updates_against_optax(name: str) -> None:
    optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
    rule, made, options = OPTAX[name]
    paths = tuple(SHAPES)

    def expected(start: Arrays) -> Iterator[Arrays]:
        with jax.enable_x64(True):
            p = {path: jax.numpy.asarray(value) for path, value in start.items()}
            optimizer = (
                optax.chain(optax.scale_by_yogi(initial_accumulator_value=0.0), optax.scale(-0.01))
                if made == "yogi"
                else getattr(optax, made)(**options)
            )
            state = optimizer.init(p)
            update = jax.jit(optimizer.update)
            for given in gradients(paths):
                change, state = update({path: jax.numpy.asarray(value) for path, value in given.items()}, state, p)
                p = optax.apply_updates(p, change)
                yield {path: np.array(value) for path, value in p.items()}

    follow(rule, expected, paths, 1e-9)


# --- the papers' equations

Rule = Callable[[Any, Any, int, Arrays], Any]  # theta, g, t, its own state -> the new theta


def norm(x: Any) -> float:
    return float(np.sqrt((x * x).sum()))


def heavy_ball(theta: Any, g: Any, t: int, s: Arrays) -> Any:
    """Sutskever et al. 2013, equations 1 and 2, with a rate that falls."""
    s["v"] = 0.8 * s.get("v", 0) - 0.1 * 0.1 ** ((t - 1) / 50) * g
    return theta + s["v"]


def nesterov(theta: Any, g: Any, t: int, s: Arrays) -> Any:
    """Equations 3 and 4: the gradient is that at theta + beta v, which is what the rule keeps as theta."""
    at = theta - 0.8 * s.get("v", 0)
    s["v"] = 0.8 * s.get("v", 0) - 0.1 * g
    return at + s["v"] + 0.8 * s["v"]


def yogi(theta: Any, g: Any, t: int, s: Arrays) -> Any:
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    v = s.get("v", 1e-6)
    s["v"] = v - 0.001 * np.sign(v - g**2) * g**2
    return theta - 0.01 * s["m"] / (1 - 0.9**t) / (np.sqrt(s["v"] / (1 - 0.999**t)) + 1e-3)


def signum(theta: Any, g: Any, t: int, s: Arrays) -> Any:
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    return theta - 0.01 * np.sign(s["m"])


def muon(theta: Any, g: Any, t: int, s: Arrays) -> Any:
    """The iteration acts on the singular values alone: here on those of a decomposition."""
    s["v"] = 0.95 * s.get("v", 0) + g
    u, values, v = np.linalg.svd(g + 0.95 * s["v"], full_matrices=False)
    values = values / (norm(values) + 1e-7)
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    rows, columns = theta.shape
    return theta - 0.02 * 0.1 * theta - 0.02 * np.sqrt(max(1, rows / columns)) * (u * values) @ v


def inverse_fourth_root(a: Any) -> Any:
    values, vectors = np.linalg.eigh(a)
    return (vectors * values**-0.25) @ vectors.T


def shampoo(theta: Any, g: Any, t: int, s: Arrays) -> Any:
    s["rows"] = s.get("rows", 1e-2 * np.eye(len(g))) + g @ g.T
    s["columns"] = s.get("columns", 1e-2 * np.eye(len(g.T))) + g.T @ g
    s["v"] = 0.5 * s.get("v", 0) + inverse_fourth_root(s["rows"]) @ g @ inverse_fourth_root(s["columns"])
    return theta - 0.1 * s["v"]


def split(theta: Any, g: Any, t: int, s: Arrays) -> Any:
    return signum(theta, g, t, s) if theta.ndim == 2 else theta - 0.1 * g


def clip_each(theta: Any, g: Any, t: int, s: Arrays) -> Any:
    return theta - 0.1 * g * min(1, 0.5 / norm(g))


PAPERS: dict[str, tuple[str, Rule, tuple[str, ...]]] = {
    "heavy_ball": ("heavy_ball(exponential_decay(0.1, over = 50), beta = 0.8)", heavy_ball, tuple(SHAPES)),
    "heavy_ball with nesterov": ("heavy_ball(0.1, beta = 0.8, nesterov = true)", nesterov, tuple(SHAPES)),
    "yogi": ("yogi(0.01)", yogi, tuple(SHAPES)),
    "signum": ("sign_sgd(0.01, beta = 0.9)", signum, tuple(SHAPES)),
    "muon": ("muon(decay = 0.1)", muon, MATRICES),
    "shampoo": ("shampoo(0.1, beta = 0.5, eps = 1e-2)", shampoo, MATRICES),
    "matrices": ("matrices(sign_sgd(0.01, beta = 0.9), sgd(0.1))", split, tuple(SHAPES)),
    "clip_each": ("clip_each(sgd(0.1), limit = 0.5)", clip_each, tuple(SHAPES)),
}


@pytest.mark.parametrize("name", PAPERS)
def test_200_updates_against_the_paper(name: str) -> None:
    text, rule, paths = PAPERS[name]

    def expected(start: Arrays) -> Iterator[Arrays]:
        p, own = dict(start), {path: {} for path in paths}
        for t, given in enumerate(gradients(paths), 1):
            p = {path: rule(p[path], given[path], t, own[path]) for path in paths}
            yield p

    follow(text, expected, paths, 1e-9)


def test_noise_has_the_variance_that_it_says_and_each_number_its_own() -> None:
    """Neelakantan et al. 2015: the change beyond sgd's is normal with variance scale / (1 + t)^decay."""
    text = """
        model m {
            input x: float[batch]
            param W: float[40, 50] init zeros
            param U: float[40, 50] init zeros
            loss = mean(x) * (sum(W) + sum(U))
        }
        train { minimize loss using noise(sgd(1.0), scale = 0.25, decay = 0.5) }
    """
    trained = dlc.Trainer(dlc.compile(text, precision="float64"), device="cpu", seed=0)
    before = {path: np.zeros((40, 50)) for path in "WU"}
    seen = []
    for t in range(1, 9):
        trained.step({"x": np.ones(2)})
        for path in "WU":
            after = np.array(trained.parameters[path])
            seen.append((before[path] - after - 1.0) / np.sqrt(0.25 / (1 + t) ** 0.5))
            before[path] = after
    for number, z in enumerate(seen):
        assert abs(z.mean()) < 5 / np.sqrt(z.size) and abs(z.std() - 1) < 5 / np.sqrt(2 * z.size)
        assert all(abs((z * other).mean()) < 5 / np.sqrt(z.size) for other in seen[:number])


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_inverse_root_of_a_matrix(precision: str) -> None:
    rng, epsilon = np.random.default_rng(1), np.finfo(precision).eps
    for order, size, least in ((1, 3, 1e-2), (2, 5, 1e-3), (3, 4, 1.0), (4, 6, 1e-3), (4, 1, 30.0)):
        text = f"model m {{ input a: float[{size}, {size}]; output r = inverse_root(a, {order}) }}"
        session = onnxruntime.InferenceSession(dlc.compile(text, precision=precision).model_proto().SerializeToString())
        for scale in (1e-6, 1.0, 1e6):
            q, _ = np.linalg.qr(rng.normal(size=(size, size)))
            values = scale * np.geomspace(least, 30, size)
            [found] = session.run(None, {"a": ((q * values) @ q.T).astype(precision)})
            expected = (q * values ** (-1 / order)) @ q.T
            assert np.abs(found - expected).max() <= 10 * epsilon * 30 / least * np.abs(expected).max()
