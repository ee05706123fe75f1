"""`input z: ... ~ distribution`: drawn in training and evaluation, fed or drawn when the file predicts."""

from __future__ import annotations

from pathlib import Path

import dlc
import numpy as np
import onnxruntime
import pytest

HEAD = "    input x: float[batch, 4]\n    input z: float[batch, 8] ~ normal(0, 1)\n"
TAIL = "\n}\ntrain { minimize loss using adam(1e-2); batch: 16; epochs: 2 }\n"
BODIES = {  # what the predicting graph reads of z: its values, its size alone, or a scan over a state of its size
    "decoder": "    f = z |> dense(4)\n    loss = squared(f, x)\n    output s = f",
    "beside data": "    f = concat([x, z], axis = 1) |> dense(4)\n    loss = squared(f, x)\n    output s = f",
    "its size": "    f = z |> dense(4)\n    loss = squared(f, x)\n"
    "    output s = f + zeros_like(f)\n    output n = ones_like(z)",
    "a scan": "    h = reshape(z, [batch, 4, 2]) |> lstm(3)\n    f = h[:, -1] |> dense(4)\n    loss = squared(f, x)\n"
    "    output s = f",
    "unread": "    f = x |> dense(4)\n    loss = squared(f, x) + 0 * mean(z)\n    output s = f",
}
DATA = {"x": np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)}


def program(body: str, head: str = HEAD) -> dlc.Program:
    return dlc.compile("model m {\n" + head + BODIES.get(body, body) + TAIL)


@pytest.mark.parametrize("body", BODIES)
def test_training_and_evaluation_ask_no_data_of_it(body: str) -> None:
    trainer = dlc.Trainer(program(body), device="cpu")
    history = trainer.fit(DATA, validation=0.2)
    assert np.isfinite(history.epochs[-1]["validation"]["loss"])
    assert [field.name for field in trainer.inputs] == ["x"]
    trainer.step(DATA)
    assert np.isfinite(trainer.evaluate(DATA)["loss"])


@pytest.mark.parametrize("body", BODIES)
def test_a_stock_session_is_fed_it(body: str, tmp_path: Path) -> None:
    trainer = dlc.Trainer(program(body), device="cpu")
    trainer.fit(DATA)
    session = onnxruntime.InferenceSession(trainer.save(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    given = {"x": DATA["x"], "z": np.random.default_rng(1).normal(size=(50, 8)).astype(np.float32)}
    names = [value.name for value in session.get_inputs()]
    assert ("z" in names) == (body != "unread")
    [stock] = session.run(["s"], {name: given[name] for name in names})
    np.testing.assert_allclose(trainer.predict(given)["s"], stock, rtol=1e-6, atol=1e-7)


def test_a_prediction_draws_what_the_data_lack_and_anew() -> None:
    made = program("    loss = squared(z |> dense(4), x)\n    output s = z\n    output both = x + z[:, :4]")
    trainer = dlc.Trainer(made, device="cpu", seed=2)
    first, second = (trainer.predict({"x": np.zeros((2000, 4))})["s"] for _ in range(2))
    assert first.shape == (2000, 8) and not np.any(first == second)
    assert abs(first.mean()) < 0.03 and abs(first.std() - 1) < 0.03
    assert len(np.unique(first)) > 0.99 * first.size
    assert np.array_equal(dlc.Trainer(made, device="cpu", seed=2).predict({"x": np.zeros((2000, 4))})["s"], first)
    same = [trainer.predict({"x": np.zeros((9, 4))}, seed=7) for _ in range(2)]
    assert np.array_equal(same[0]["s"], same[1]["s"]) and np.array_equal(same[0]["both"], same[0]["s"][:, :4])


def test_rows_say_how_many_where_no_data_do() -> None:
    trainer = dlc.Trainer(program("decoder"), device="cpu")
    assert trainer.predict({}, rows=6)["s"].shape == (6, 4)
    assert trainer.predict({"z": np.zeros((3, 8))})["s"].shape == (3, 4)
    with pytest.raises(dlc.Error) as caught:
        trainer.predict({})
    assert caught.value.code == "E0636"


def test_a_draw_for_an_input_is_not_that_of_an_output() -> None:
    made = program("    loss = squared(z |> dense(4), x)\n    output s = z\n    output n = normal_like(z)")
    got = dlc.Trainer(made, device="cpu").predict({}, rows=40)
    assert not np.any(got["s"] == got["n"])


def test_a_distribution_may_depend_on_other_inputs(tmp_path: Path) -> None:
    head = HEAD.replace("normal(0, 1)", "normal(mean(x, axis = 1)[:, none] * 100, 0.001)")
    made = program("    loss = squared(z |> dense(4), x)\n    output s = z\n    output t = x", head)
    x = np.arange(20.0).reshape(5, 4)
    got = dlc.Trainer(made, device="cpu").predict({"x": x})["s"]
    np.testing.assert_allclose(got, x.mean(1)[:, None] * 100 + np.zeros(8), atol=0.02)
    np.savez(tmp_path / "d.npz", x=x)
    (tmp_path / "d.csv").write_text("x0,x1,x2,x3\n" + "\n".join(",".join(map(str, row)) for row in x))
    for name in ("d.npz", "d.csv"):
        assert dlc.Trainer(made, device="cpu").predict(tmp_path / name)["s"].shape == (5, 8)


GAN = """layer generator(hidden)(z) {
    return z |> dense(hidden) |> relu |> dense(4) |> sigmoid
}
layer discriminator(hidden)(x) {
    return x |> dense(hidden) |> leaky_relu(slope = 0.2) |> dropout(0.3) |> dense(1)
}
model gan(latent = 8, hidden = 16) {
    input x: float[batch, 4]
    input z: float[batch, latent] ~ normal(0, 1)
    g = generator(hidden)
    d = discriminator(hidden)
    fake = g(z)
    loss disc = binary_cross_entropy(d(x), 0.9) + binary_cross_entropy(d(stop_gradient(fake)), 0)
    loss gen  = binary_cross_entropy(d(fake), 1) - binary_cross_entropy(d(stop_gradient(fake)), 1)
    output sample = fake
    metric real_said_real = mean(d(x) > 0)
}
train gan(lr = 5e-4) {
    minimize loss over g.* using adam(lr, beta1 = 0.5)
    minimize loss over d.* using adam(lr, beta1 = 0.5)
    batch: 16
    epochs: 2
}
"""


def test_two_players_train_on_data_of_one() -> None:
    trainer = dlc.Trainer(dlc.compile(GAN), device="cpu")
    before = {name: trainer.parameters[name] for name in trainer.parameters if name.endswith("W")}
    figures = trainer.fit(DATA, validation=0.2).epochs[-1]
    assert np.isfinite(list(figures["train"].values())).all() and "real_said_real" in figures["validation"]
    assert all(not np.array_equal(trainer.parameters[name], before[name]) for name in before)
    assert trainer.predict({}, rows=3)["sample"].shape == (3, 4)
