"""The example specs reach what they are about: closed forms, maximum likelihood by SciPy, accuracy, forces."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import onnxruntime
import pytest
from scipy import optimize, special
from test_checkpoint import Interrupt, records, same

SPECS = Path(__file__).parents[1] / "specs"


def trained(name: str, seed: int | None = None, **options: Any) -> tuple[Any, Any]:
    trainer = dlc.Trainer(dlc.compile(SPECS / name, **options), device="cpu", seed=seed)
    return trainer, trainer.fit()


def table(name: str) -> tuple[Any, Any]:
    rows = np.loadtxt(SPECS / "data" / name, delimiter=",", skiprows=1)
    return rows[:, :-1], rows[:, -1]


def test_digits_reaches_97_percent():
    program, accuracies = dlc.compile(SPECS / "digits.dl"), []
    for seed in range(5):
        trainer = dlc.Trainer(program, device="cpu", seed=seed)
        history = trainer.fit()
        best = next(entry for entry in history.epochs if entry["epoch"] == history.best)
        assert best["validation"]["loss"] == min(entry["validation"]["loss"] for entry in history.epochs)
        accuracies.append(best["validation"]["accuracy"])
        assert history.seconds < 20
    assert np.mean(accuracies) >= 0.970
    assert min(accuracies) >= 0.955


@pytest.mark.parametrize(
    ("name", "accuracy"), [("xor.dl", 1.0), ("logistic.dl", 0.82), ("groups.dl", 0.95), ("wrappers.dl", 0.95)]
)
def test_classifiers(name, accuracy):
    last = trained(name)[1].epochs[-1]
    assert (last["validation"] or last["train"])["accuracy"] >= accuracy


def test_softmax_regression_on_five_splits():
    """A fifth of the digits is 359 rows: one split of them says less than one part in a hundred."""
    accuracies = [trained("softmax.dl", seed=seed)[1].epochs[-1]["validation"]["accuracy"] for seed in range(5)]
    assert np.mean(accuracies) >= 0.95


def test_ridge_regression_against_the_closed_form():
    trainer, _ = trained("linear.dl")
    with np.load(SPECS / "data" / "linear.npz") as data:
        x, y = np.column_stack([data["x"], np.ones(len(data["y"]))]).astype(np.float64), data["y"]
    penalty = np.diag([(0.5 / 0.2) ** 2] * 8 + [0.0])
    expected = np.linalg.solve(x.T @ x + penalty, x.T @ y)
    np.testing.assert_allclose(trainer.parameters["W"], expected[:8], atol=1e-5)
    np.testing.assert_allclose(trainer.parameters["b"], expected[8], atol=1e-5)


def test_logistic_regression_against_maximum_likelihood():
    whole = {"validate": None, "batch": "all", "epochs": 400, "lr": 4}
    trainer, _ = trained("logistic.dl", precision="float64", set=whole)
    x, y = table("logistic.csv")
    expected = optimize.minimize(
        lambda w: -np.sum(special.log_expit((2 * y - 1) * (x @ w[:4] + w[4]))), np.zeros(5), tol=1e-12
    ).x
    np.testing.assert_allclose(trainer.parameters["W"], expected[:4], atol=1e-5)
    np.testing.assert_allclose(trainer.parameters["b"], expected[4], atol=1e-5)


def test_poisson_regression_against_maximum_likelihood():
    trainer, _ = trained("poisson.dl", precision="float64", set={"batch": "all", "epochs": 1000})
    x, y = table("poisson.csv")
    expected = optimize.minimize(
        lambda w: np.sum(np.exp(x @ w[:3] + w[3]) - y * (x @ w[:3] + w[3])), np.zeros(4), tol=1e-12
    ).x
    np.testing.assert_allclose(trainer.parameters["W"], expected[:3], atol=1e-5)
    np.testing.assert_allclose(trainer.parameters["b"], expected[3], atol=1e-5)


def test_stock_onnx_runtime_predicts_the_force(tmp_path):
    runs = [trained("force.dl", seed=seed, precision="float64") for seed in range(3)]
    assert np.mean([history.epochs[-1]["validation"]["force_error"] for _, history in runs]) < 0.1  # of a mean of 1.4
    trainer = runs[0][0]
    trainer.save(tmp_path / "force.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "force.onnx"), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).uniform(-1, 1, (20, 2))

    def energy(at: Any) -> Any:
        return session.run(["energy"], {"x": at})[0]

    step = 1e-5
    expected = np.stack([-(energy(x + step * e) - energy(x - step * e)) / (2 * step) for e in np.eye(2)], axis=1)
    np.testing.assert_allclose(session.run(["force"], {"x": x})[0], expected, atol=1e-7)


def test_a_contractive_autoencoder_moves_less():
    """The penalty on the Jacobian of the code is what it says, and halves it at nearly the same error."""
    sizes, errors = [], []
    for weight in (0.0, 0.1):
        trainer, history = trained("contractive.dl", set={"weight": weight})
        w, b = (np.asarray(trainer.parameters[f"encode.{name}"], np.float64) for name in "Wb")
        with np.load(SPECS / "data" / "digits.npz") as data:
            x = data["x"].astype(np.float64)
        h = special.expit(x @ w + b)
        jacobian = (h * (1 - h))[:, :, None] * w.T
        sizes.append((jacobian**2).sum(axis=(1, 2)).mean())
        errors.append(history.epochs[-1]["validation"]["error"])
        found = trainer.predict({"x": x.astype(np.float32)})
        np.testing.assert_allclose(found["code"], h, atol=1e-5)
        np.testing.assert_allclose(found["sensitivity"], np.sqrt((jacobian**2).sum(axis=1)), atol=1e-5)
    assert sizes[1] < sizes[0] / 2
    assert errors[1] < errors[0] * 1.2


def test_a_predictive_autoencoder_finds_sparse_codes_and_predicts_them():
    """Codes are where the paper's equation 5 has its minimum: most numbers are 0, and a digit is rebuilt from what the
    encoder predicts at once nearly as well as from what is found step by step."""
    whole, history = trained("predictive.dl")
    end = history.epochs[-1]["validation"]
    assert end["zeros"] > 0.75 and end["error"] < 0.07 and end["at_once"] < 0.08 and end["prediction"] < 0.3
    assert history.epochs[0]["validation"]["prediction"] > 2 * end["prediction"]

    held = {name: np.asarray(value, np.float64) for name, value in whole.parameters.items()}
    atoms = held["atom.D"] / np.linalg.norm(held["atom.D"], axis=1, keepdims=True)
    with np.load(SPECS / "data" / "digits.npz") as data:
        x = data["x"][:200].astype(np.float64)
    guess = held["encoder.gain"] * np.tanh(x @ held["encoder.dense.W"] + held["encoder.dense.b"])
    found = whole.predict({"x": x.astype(np.float32)})

    def objective(code: Any) -> Any:
        squares = ((x - code @ atoms) ** 2).sum(1) + 0.2 * ((code - guess) ** 2).sum(1)
        return squares / 2 + 0.25 * np.abs(code).sum(1)

    best, rate = guess, 1 / (np.linalg.norm(atoms, 2) ** 2 + 0.2)
    for _ in range(3000):
        moved = best - rate * ((best @ atoms - x) @ atoms.T + 0.2 * (best - guess))
        best = np.sign(moved) * np.maximum(np.abs(moved) - 0.25 * rate, 0)
    np.testing.assert_allclose(found["code"], guess, atol=1e-5)
    np.testing.assert_allclose(found["rebuilt"], found["sparse"] @ atoms, atol=1e-5)
    np.testing.assert_allclose(objective(found["sparse"]), objective(best), rtol=2e-3)
    assert np.mean((found["sparse"] == 0) == (best == 0)) > 0.95


def test_a_predictive_autoencoder_resumes_from_the_middle_bit_for_bit(tmp_path):
    program = dlc.compile(SPECS / "predictive.dl", rounds=5)
    whole, part = (dlc.Trainer(program, device="cpu") for _ in range(2))
    history = whole.fit(epochs=4)
    with pytest.raises(KeyboardInterrupt):
        part.fit(epochs=4, run=tmp_path, callbacks=[Interrupt(history.steps // 2 + 3)])
    again = dlc.Trainer.resume(next(tmp_path.iterdir()), device="cpu")
    more = again.fit()
    same(whole, again)
    assert records(more) == records(history)


@pytest.mark.oracle
def test_the_data_are_what_make_py_writes(tmp_path):
    pytest.importorskip("sklearn")
    made = tmp_path / "specs" / "data"
    made.mkdir(parents=True)
    # The spec trains what one of the files holds, and the text of the licence is another.
    for name in ("specs/pretrain.dl", "specs/data/make.py", "specs/data/digits.npz", "LICENSE"):
        (tmp_path / name).write_bytes((SPECS.parent / name).read_bytes())
    subprocess.run([sys.executable, made / "make.py"], check=True)
    for path in sorted(made.glob("*.csv")):
        assert path.read_bytes() == (SPECS / "data" / path.name).read_bytes()
    for path in sorted(made.glob("*.npz")):
        with np.load(path) as anew, np.load(SPECS / "data" / path.name) as held:
            assert list(anew) == list(held)
            for name in anew:
                assert anew[name].dtype == held[name].dtype
                np.testing.assert_allclose(anew[name], held[name], rtol=1e-6)
