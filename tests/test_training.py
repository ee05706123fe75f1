"""`specs/digits.dl` against a training loop in NumPy, and against PyTorch, for every optimizer of the library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from generator import K0, decisions, fold

SPECS = Path(__file__).parents[1] / "specs"
TEXT = (SPECS / "digits.dl").read_text("utf-8")
ADAM = "adam(cosine(lr, over = steps, warmup = 50))"
UPDATES, BATCH, SEED = 200, 64, 7
PATHS = ("dense.W", "dense.b", "dense[1].W", "dense[1].b")

# --- the loop

Arrays = dict[str, Any]
Rule = Callable[[Any, Any, int, float, Arrays], Any]  # theta, g, t, lr, its own state -> the new theta


def sgd(theta, g, t, lr, s):
    return theta - lr * g


def momentum(theta, g, t, lr, s):
    s["v"] = 0.9 * s["v"] + g
    return theta - lr * s["v"]


def nesterov(theta, g, t, lr, s):
    s["v"] = 0.9 * s["v"] + g
    return theta - lr * (g + 0.9 * s["v"])


def adam(theta, g, t, lr, s):
    s["m"] = 0.9 * s["m"] + 0.1 * g
    s["v"] = 0.999 * s["v"] + 0.001 * g * g
    return theta - lr * (s["m"] / (1 - 0.9**t)) / (np.sqrt(s["v"] / (1 - 0.999**t)) + 1e-8)


def adamw(theta, g, t, lr, s):
    return adam(theta, g, t, lr, s) - lr * 0.01 * theta


def rmsprop(theta, g, t, lr, s):
    s["v"] = 0.99 * s["v"] + 0.01 * g * g
    return theta - lr * g / (np.sqrt(s["v"]) + 1e-8)


def adagrad(theta, g, t, lr, s):
    s["v"] = s["v"] + g * g
    return theta - lr * g / (np.sqrt(s["v"]) + 1e-10)


# name: (in the language, peak learning rate, the rule, its states)
OPTIMIZERS: dict[str, tuple[str, float, Rule, str]] = {
    "sgd": ("sgd(RATE)", 0.5, sgd, ""),
    "momentum": ("momentum(RATE)", 0.1, momentum, "v"),
    "nesterov": ("momentum(RATE, nesterov = true)", 0.1, nesterov, "v"),
    "adam": ("adam(RATE)", 5e-3, adam, "mv"),
    "adamw": ("adamw(RATE)", 5e-3, adamw, "mv"),
    "rmsprop": ("rmsprop(RATE)", 2e-3, rmsprop, "v"),
    "adagrad": ("adagrad(RATE)", 5e-2, adagrad, "v"),
}


def rate(lr: float, step: int, steps: int) -> float:
    """`cosine(lr, over = steps, warmup = 50)`: whole at the update after the warm-up, 0 at the one after the last."""
    share = min(max((step - 51) / max(steps - 50, 1), 0), 1)
    return lr * min(step / 50, 1) * 0.5 * (1 + np.cos(np.pi * share))


def dropped(step: int, shape: tuple[int, int], share: float) -> Any:
    """What the only dropout of the spec multiplies by at this step."""
    key = fold(fold(K0, SEED), step)
    zero = np.array(decisions(key, 0, shape[0] * shape[1], share))
    return np.where(zero, 0, 1 / (1 - share)).reshape(shape)


def gradient(p: Arrays, x: Any, y: Any, keep: Any) -> tuple[float, Arrays]:
    """The reported loss, and the clipped gradient of loss plus penalty."""
    a = x @ p["dense.W"] + p["dense.b"]
    h = np.maximum(a, 0) * keep
    z = h @ p["dense[1].W"] + p["dense[1].b"]
    z = z - z.max(1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    loss = -log_p[np.arange(len(y)), y].mean()
    dz = (np.exp(log_p) - np.eye(10)[y]) / len(y)
    da = dz @ p["dense[1].W"].T * keep * (a > 0)
    g = {"dense.W": x.T @ da, "dense.b": da.sum(0), "dense[1].W": h.T @ dz, "dense[1].b": dz.sum(0)}
    for path in ("dense.W", "dense[1].W"):
        g[path] = g[path] + 2e-4 * p[path]
    norm = np.sqrt(sum((value**2).sum() for value in g.values()))
    return loss, {path: value / max(norm, 1) for path, value in g.items()}


def batches(data: Arrays) -> Iterator[Arrays]:
    rng = np.random.default_rng(0)
    for _ in range(UPDATES):
        rows = rng.choice(len(data["y"]), BATCH, replace=False)
        yield {"x": data["x"][rows], "y": data["y"][rows]}


def loop(name: str, start: Arrays, data: Arrays, share: float) -> Iterator[tuple[Arrays, Arrays, float]]:
    """For each update: the batch, parameters and optimizer state before it, and the loss."""
    _, lr, rule, slots = OPTIMIZERS[name]
    p = {path: start[path].astype(np.float64) for path in PATHS}
    own: dict[str, Arrays] = {path: {slot: np.zeros_like(p[path]) for slot in slots} for path in PATHS}
    for step, batch in enumerate(batches(data), 1):
        optimizer = OPTIMIZERS[name][0].split("(")[0]
        before = p | {f"{optimizer}/{slot}/{path}": own[path][slot] for path in PATHS for slot in slots}
        keep = dropped(step, (BATCH, 128), share) if share else 1.0
        loss, g = gradient(p, batch["x"].astype(np.float64), batch["y"], keep)
        yield batch, before, loss
        p = {path: rule(p[path], g[path], step, rate(lr, step, UPDATES), own[path]) for path in PATHS}
    yield {}, p, 0.0


@pytest.fixture(scope="module")
def data() -> Arrays:
    with np.load(SPECS / "data" / "digits.npz") as file:
        return {"x": file["x"], "y": file["y"]}


def trainer(name: str, precision: str, share: float) -> Any:
    schedule = f"cosine(lr, over = {UPDATES}, warmup = 50)"
    text = TEXT.replace(ADAM, OPTIMIZERS[name][0].replace("RATE", schedule))
    text = text.replace("dropout(0.2)", f"dropout({share})")
    assert ADAM not in text
    program = dlc.compile(text, precision=precision, lr=OPTIMIZERS[name][1])
    return dlc.Trainer(program, device="cpu", seed=SEED)


@pytest.mark.parametrize("share", [0.0, 0.2], ids=["no-dropout", "dropout"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_losses_of_200_updates_in_float64(name, share, data):
    trained = trainer(name, "float64", share)
    start = {path: np.array(trained.parameters[path]) for path in PATHS}
    losses = []
    for batch, before, loss in loop(name, start, data, share):
        if batch:
            found = trained.step(batch)["loss"]
            losses.append(loss)
            assert abs(found - loss) <= 1e-9 * max(1, abs(loss)), f"update {len(losses)}"
        else:
            for path in PATHS:
                np.testing.assert_allclose(trained.parameters[path], before[path], rtol=0, atol=1e-8)
    assert np.mean(losses[-20:]) < 0.5 * losses[0]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_update_in_float32_from_the_float64_state(name, data):
    share = 0.2
    trained = trainer(name, "float32", share)
    start = {path: np.array(trained.parameters[path]) for path in PATHS}
    updates = list(loop(name, start, data, share))
    for step, ((batch, before, loss), (_, after, _)) in enumerate(pairwise(updates), 1):
        for path, value in before.items():
            trained.state[path] = value.astype(np.float32)
        found = trained.step(batch)["loss"]
        assert abs(found - loss) <= 1e-5 * max(1, abs(loss)), f"update {step}"
        for path in PATHS:
            error = np.abs(trained.parameters[path] - after[path]).max()
            assert error <= 1e-5 * np.abs(after[path]).max(), f"{path}, update {step}"


@pytest.mark.oracle
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_losses_of_200_updates_against_torch(name, data):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    optimizers = {
        "sgd": torch.optim.SGD,
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "rmsprop": torch.optim.RMSprop,
        "adagrad": torch.optim.Adagrad,
        "momentum": lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9),
        "nesterov": lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9, nesterov=True),
    }
    trained = trainer(name, "float64", 0.0)
    p = {path: torch.tensor(np.array(trained.parameters[path]), requires_grad=True) for path in PATHS}
    lr = OPTIMIZERS[name][1]
    optimizer = optimizers[name](list(p.values()), lr=lr)
    for step, batch in enumerate(batches(data), 1):
        x, y = torch.tensor(batch["x"]).double(), torch.tensor(batch["y"])
        logits = torch.relu(x @ p["dense.W"] + p["dense.b"]) @ p["dense[1].W"] + p["dense[1].b"]
        loss = torch.nn.functional.cross_entropy(logits, y)
        optimizer.zero_grad()
        (loss + 1e-4 * ((p["dense.W"] ** 2).sum() + (p["dense[1].W"] ** 2).sum())).backward()
        norm = torch.sqrt(sum((value.grad**2).sum() for value in p.values()))
        for value in p.values():
            value.grad /= max(norm, 1)
        for group in optimizer.param_groups:
            group["lr"] = rate(lr, step, UPDATES)
        optimizer.step()
        found = trained.step(batch)["loss"]
        assert abs(found - loss.item()) <= 1e-9 * max(1, loss.item()), f"update {step}"


@pytest.mark.parametrize("precision", ["float32", "float64", "float16"])
@pytest.mark.parametrize(
    "train",
    [
        "minimize loss using adam(1e-2)",
        "minimize loss over *.W using muon(1e-2); minimize loss over *.b using adam(1e-2); clip: global_norm(1)",
    ],
)
def test_what_falls_out_of_a_derivative_stays_as_it_is(precision: str, train: str) -> None:
    """A Hamiltonian network (Greydanus, Dzamba and Yosinski 2019): its slope counts, and no slope depends on the last
    bias."""
    text = f"""
        model hamiltonian {{
            input  s: float[batch, 2]
            target ds: float[batch, 2]
            net = mlp(12, 2, 1, tanh)
            g = grad(sum(net(s)), s)
            ds ~ normal(stack([g[:, 1], -g[:, 0]], axis = 1), 0.5)
        }}
        train {{ {train}; batch: all }}
    """
    trainer = dlc.Trainer(dlc.compile(text, precision=precision), device="cpu")
    s = np.random.default_rng(0).normal(size=(64, 2))
    data = {"s": s, "ds": np.stack([s[:, 1], -s[:, 0]], axis=1)}
    trainer.parameters["net.last.b"] = [0.25]
    before = {path: np.array(value) for path, value in trainer.parameters.items()}
    first = trainer.step(data)["loss"]
    for _ in range(200):
        last = trainer.step(data)["loss"]
    moved = [path for path, value in trainer.parameters.items() if not np.array_equal(value, before[path])]
    assert moved == [path for path in before if path != "net.last.b"]
    assert last < first - 0.5
