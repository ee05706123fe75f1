"""`weights:` and `class_weights:`: a loss's means over rows are weighted means; metrics are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from test_checkpoint import Interrupt, same

SPEC = """model m {
    input  x: float[batch, 3]
    input  w: float[batch]
    target y: int[batch]
    logits = x |> dense(4)
    LOSS
    output p = softmax(logits)
    metric accuracy = accuracy(logits, y)
}
train {
    minimize loss using sgd(0.5)
    batch: 8
    LINES
}
"""
RNG = np.random.default_rng(3)
LIKELY = "y ~ categorical(logits = logits)"


def trainer(lines: str, loss: str = LIKELY, **options: Any) -> dlc.Trainer:
    text = SPEC.replace("LINES", lines).replace("LOSS", loss)
    return dlc.Trainer(dlc.compile(text, precision="float64", **options), device="cpu")


def rows(count: int = 42) -> dict[str, np.ndarray]:
    x = RNG.normal(size=(count, 3))
    y = np.minimum(RNG.poisson(0.7, count), 3)
    return {"x": x, "w": RNG.uniform(0, 2, count) * (RNG.uniform(size=count) < 0.8), "y": y}


def losses(one: dlc.Trainer, data: dict[str, np.ndarray]) -> np.ndarray:
    z = data["x"] @ one.parameters["dense.W"] + one.parameters["dense.b"]
    return np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), data["y"]]


@pytest.mark.parametrize("loss", [
    LIKELY,
    "loss = cross_entropy(logits, y)",
    "loss = sum(logsumexp(logits, axis = -1) - pick(logits, y)) / batch",
    "y ~ weighted(categorical(logits = logits), w >= 0)",
])  # fmt: skip
def test_the_mean_over_rows_is_a_weighted_mean(loss: str) -> None:
    one, data = trainer("weights: w", loss), rows()
    for _ in range(3):
        W = one.parameters["dense.W"]
        z = data["x"] @ W + one.parameters["dense.b"]
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        p[np.arange(len(z)), data["y"]] -= 1
        gradient = data["x"].T @ (data["w"][:, None] * p) / data["w"].sum()
        expected = (data["w"] * losses(one, data)).sum() / data["w"].sum()
        assert one.evaluate(data, batch=5)["loss"] == pytest.approx(expected, rel=1e-12)
        assert one.step(data)["loss"] == pytest.approx(expected, rel=1e-12)
        np.testing.assert_allclose(one.parameters["dense.W"], W - 0.5 * gradient, rtol=1e-12, atol=1e-14)


def test_the_class_weights_of_torch() -> None:
    torch = pytest.importorskip("torch")
    one, data = trainer("class_weights: [1, 0.5, 3, 7.25]"), rows(40)
    W, b = (torch.tensor(np.array(one.parameters[f"dense.{n}"]), requires_grad=True) for n in "Wb")
    rule = torch.nn.CrossEntropyLoss(weight=torch.tensor([1, 0.5, 3, 7.25], dtype=torch.float64))
    optimizer = torch.optim.SGD([W, b], 0.5)
    for first in [*range(0, 40, 8)] * 10:
        batch = {name: array[first : first + 8] for name, array in data.items()}
        loss = rule(torch.tensor(batch["x"]) @ W + b, torch.tensor(batch["y"]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert one.step(batch)["loss"] == pytest.approx(loss.item(), rel=1e-9)
    np.testing.assert_allclose(one.parameters["dense.W"], W.detach().numpy(), rtol=1e-9, atol=1e-9)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    """The optimum of an unregularized regression, and the weights themselves."""
    linear_model, class_weight = (
        pytest.importorskip(f"sklearn.{name}") for name in ("linear_model", "utils.class_weight")
    )
    rng = np.random.default_rng(0)
    y = rng.choice(3, 400, p=[0.7, 0.2, 0.1])
    x = rng.normal(size=(400, 2)) + np.array([[0, 0], [1, 0.3], [0.2, -1]])[y]
    text = """
        model m {
            input x: float[batch, 2]
            target y: int[batch]
            logits = x |> dense(3)
            y ~ categorical(logits = logits)
            output p = softmax(logits)
        }
        train { minimize loss using lbfgs; class_weights: balanced; batch: all; steps: 60 }
    """
    one = dlc.Trainer(dlc.compile(text, precision="float64"), device="cpu")
    one.fit({"x": x, "y": y})
    theirs = linear_model.LogisticRegression(C=np.inf, class_weight="balanced", tol=1e-10, max_iter=1000).fit(x, y)
    np.testing.assert_allclose(one.predict({"x": x})["p"], theirs.predict_proba(x), atol=1e-6)
    weights = class_weight.compute_class_weight("balanced", classes=np.arange(3), y=y)
    np.testing.assert_array_equal(one.state["observations/y"], np.bincount(y))
    by_row = dlc.Trainer(dlc.compile(text.replace("balanced", str([float(w) for w in weights])), precision="float64"))
    by_row.fit({"x": x, "y": y})
    np.testing.assert_allclose(by_row.parameters["dense.W"], one.parameters["dense.W"], rtol=1e-9)


@pytest.mark.parametrize("target", ["int[batch]", "bool[batch]", "float[batch]", "float[batch, 1]"])
def test_two_classes_of_any_type(target: str) -> None:
    text = f"""
        model m {{
            input x: float[batch, 2]
            target y: {target}
            z = x |> dense(1)
            y ~ bernoulli(logits = z{"" if "1" in target else "[:, 0]"})
            output p = sigmoid(z)
        }}
        train {{ minimize loss using sgd(0.1); class_weights: balanced; batch: all; epochs: 1 }}
    """
    y = np.array([0, 0, 0, 1])
    one = dlc.Trainer(dlc.compile(text, precision="float64"), device="cpu")
    data = {"x": RNG.normal(size=(4, 2)), "y": y[:, None] if "1" in target else y}
    z = (data["x"] @ one.parameters["dense.W"] + one.parameters["dense.b"])[:, 0]
    found = one.fit(data).epochs[0]["train"]["loss"]
    each = np.log1p(np.exp(z)) - y * z
    assert found == pytest.approx((each[:3].mean() + each[3]) / 2, rel=1e-12)


def test_both_multiply_and_metrics_are_not_weighed() -> None:
    one, data = trainer("weights: w; class_weights: [1, 2, 3, 4]; epochs: 1"), rows()
    weight = data["w"] * (1 + data["y"])
    found = one.evaluate(data, batch=5)
    assert found["loss"] == pytest.approx((weight * losses(one, data)).sum() / weight.sum(), rel=1e-12)
    z = data["x"] @ one.parameters["dense.W"] + one.parameters["dense.b"]
    assert found["accuracy"] == pytest.approx((z.argmax(1) == data["y"]).mean(), rel=1e-12)


def test_an_epoch_is_the_weighted_mean_over_its_rows() -> None:
    """Of losses that each batch had before its own update, with an uneven last batch: not a mean of the batches'."""
    one, data = trainer("weights: w; epochs: 1", LIKELY), rows(21)
    held = trainer("weights: w")
    order = dlc.runtime.random.permutation(21, seed=0, purpose=dlc.runtime.random.ORDER)
    total = 0.0
    for first in range(0, 21, 8):
        batch = {name: array[order[first : first + 8]] for name, array in data.items()}
        total += held.step(batch)["loss"] * batch["w"].sum()
    assert one.fit(data).epochs[0]["train"]["loss"] == pytest.approx(total / data["w"].sum(), rel=1e-12)


def test_time_steps_count_as_their_row() -> None:
    text = """
        model m {
            input x: float[batch, time, 2]
            target y: float[batch, time]
            input w: float[batch]
            loss = mean((x |> dense(1))[..., 0] - y)^2 + mean(abs((x |> dense(1))[..., 0] - y))
            output z = x
        }
        train { minimize loss using sgd(0.1); weights: w }
    """
    one = dlc.Trainer(dlc.compile(text, precision="float64"), device="cpu")
    data = {"x": RNG.normal(size=(5, 6, 2)), "y": RNG.normal(size=(5, 6)), "w": RNG.uniform(1, 2, 5)}
    a, b = ((data["x"] @ one.parameters[f"{n}.W"] + one.parameters[f"{n}.b"])[..., 0] for n in ("dense", "dense[1]"))
    share = data["w"] / data["w"].sum()
    expected = (share @ (a - data["y"]).mean(1)) ** 2 + share @ np.abs(b - data["y"]).mean(1)
    assert one.evaluate(data, batch=2)["loss"] == pytest.approx(expected, rel=1e-12)
    assert one.step(data)["loss"] == pytest.approx(expected, rel=1e-12)


SEQUENCES = """model m {
    input  x: float[batch, time, 2]
    input  w: float[batch, time]
    target y: int[batch, time]
    z = x |> dense(3)
    LOSS
    output z = z
}
train { minimize loss using sgd(0.5); LINES }
"""


def sequences(lines: str, loss: str) -> tuple[dlc.Trainer, dict[str, np.ndarray], np.ndarray]:
    text = SEQUENCES.replace("LINES", lines).replace("LOSS", loss)
    one = dlc.Trainer(dlc.compile(text, precision="float64"), device="cpu")
    mask = np.arange(6) < np.array([6, 2, 4, 1, 3])[:, None]  # padding behind the end
    data = {"x": RNG.normal(size=(5, 6, 2)), "w": mask * RNG.uniform(0.5, 2, (5, 6)), "y": RNG.integers(0, 3, (5, 6))}
    z = data["x"] @ one.parameters["dense.W"] + one.parameters["dense.b"]
    return one, data, np.log(np.exp(z).sum(-1)) - np.take_along_axis(z, data["y"][..., None], -1)[..., 0]


@pytest.mark.parametrize("loss", ["y ~ categorical(logits = z)", "loss = cross_entropy(z, y)"])
@pytest.mark.parametrize("lines, weight", [
    ("weights: w", lambda w, y: w),
    ("weights: w[:, :, none]", lambda w, y: w),
    ("weights: where(w > 0, 1.0, 0.0)", lambda w, y: 1.0 * (w > 0)),
    ("class_weights: [1, 2.5, 0]", lambda w, y: np.array([1, 2.5, 0])[y]),
    ("weights: w; class_weights: [1, 2.5, 0]", lambda w, y: w * np.array([1, 2.5, 0])[y]),
    ("class_weights: [1, 2.5, 0] on y; weights: w[:, 0]", lambda w, y: w[:, :1] * np.array([1, 2.5, 0])[y]),
])  # fmt: skip
def test_a_weight_for_each_time_step(loss: str, lines: str, weight: Any) -> None:
    one, data, each = sequences(lines, loss)
    w = weight(data["w"], data["y"])
    expected = (w * each).sum() / w.sum()
    assert one.evaluate(data, batch=2)["loss"] == pytest.approx(expected, rel=1e-12)
    assert one.step(data)["loss"] == pytest.approx(expected, rel=1e-12)


def test_masked_time_steps_are_those_that_torch_ignores() -> None:
    torch = pytest.importorskip("torch")
    one, data, _ = sequences("weights: where(w > 0, 1.0, 0.0)", "y ~ categorical(logits = z)")
    W, b = (torch.tensor(np.array(one.parameters[f"dense.{n}"]), requires_grad=True) for n in "Wb")
    optimizer = torch.optim.SGD([W, b], 0.5)
    labels = torch.tensor(np.where(data["w"] > 0, data["y"], -100)).flatten()
    for _ in range(20):
        loss = torch.nn.CrossEntropyLoss()((torch.tensor(data["x"]) @ W + b).flatten(0, 1), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert one.step(data)["loss"] == pytest.approx(loss.item(), rel=1e-12)
    np.testing.assert_allclose(one.parameters["dense.W"], W.detach().numpy(), rtol=1e-11)


def test_balanced_classes_of_time_steps() -> None:
    one, data, each = sequences("class_weights: balanced; batch: all; epochs: 1", "loss = cross_entropy(z, y)")
    number = np.bincount(data["y"].ravel(), minlength=3)
    w = (number.sum() / (3 * number))[data["y"]]
    assert one.fit(data).epochs[0]["train"]["loss"] == pytest.approx((w * each).sum() / w.sum(), rel=1e-12)
    np.testing.assert_array_equal(one.state["observations/y"], number)


@pytest.mark.parametrize("loss, count", [
    ("loss = sum(z^2) / batch", "counts `batch`"),
    ("loss = mean(mean(z^2, axis = [1, 2]))", "counts `batch`"),
    ("loss = sum(max(z, axis = [1, 2])^2)", "adds up a value for each of `[batch]`"),
    ("loss = sum(mean(z[:, :, 0]^2, axis = 0))", "counts `batch`"),
])  # fmt: skip
def test_weights_of_time_steps_need_a_loss_of_time_steps(loss: str, count: str) -> None:
    with pytest.raises(dlc.Error) as caught:
        sequences("weights: w", loss)
    assert caught.value.code == "E0545" and count in str(caught.value) and "mean(w, axis = 1)" in str(caught.value)


def test_a_batch_of_weights_0_moves_nothing() -> None:
    one, data = trainer("weights: w"), rows(4)
    before = {name: one.parameters[name] for name in one.parameters}
    assert one.step(data | {"w": np.zeros(4)})["loss"] == 0
    assert all(np.array_equal(one.parameters[name], before[name]) for name in before)


def test_the_rows_that_are_held_out_are_not_counted() -> None:
    one, data = trainer("class_weights: balanced; validate: 0.25; epochs: 1"), rows(40)
    one.fit(data)
    order = dlc.runtime.random.permutation(40, seed=0, purpose=dlc.runtime.random.SPLIT)
    np.testing.assert_array_equal(one.state["observations/y"], np.bincount(data["y"][order[10:]], minlength=4))


def test_a_class_that_does_not_occur_weighs_1() -> None:
    one, data = trainer("class_weights: balanced; batch: all; epochs: 1"), rows(8)
    data["y"] = np.array([0, 0, 0, 0, 0, 0, 2, 2])
    before = losses(one, data)
    found = one.fit(data).epochs[0]["train"]["loss"]
    assert found == pytest.approx((before[:6].mean() + before[6:].mean()) / 2, rel=1e-12)
    assert one.evaluate(data | {"y": np.ones(8, int)})["loss"] == pytest.approx(
        losses(one, data | {"y": np.ones(8, int)}).mean(), rel=1e-12
    )


def test_resumed_from_the_middle(tmp_path: Path) -> None:
    data, lines = rows(), "weights: w; class_weights: balanced; epochs: 3; validate: 0.25"
    whole = trainer(lines)
    whole.fit(data, run=tmp_path / "whole")
    part = trainer(lines)
    with pytest.raises(KeyboardInterrupt):
        part.fit(data, run=tmp_path / "part", callbacks=[Interrupt(6)])
    (folder,) = (tmp_path / "part").iterdir()
    resumed = dlc.Trainer.resume(folder, device="cpu")
    assert resumed.progress.step == 6
    resumed.fit(data)
    same(whole, resumed)


def test_a_loop_of_ones_own_says_how_many_rows_have_each_class() -> None:
    one, data = trainer("class_weights: balanced"), rows(8)
    with pytest.raises(dlc.Error) as caught:
        one.step(data)
    assert caught.value.code == "E0633" and "observations/y" in str(caught.value)
    one.state["observations/y"] = np.bincount(data["y"], minlength=4)
    weight = 8 / np.maximum(np.bincount(data["y"], minlength=4), 1)[data["y"]]
    expected = (weight * losses(one, data)).sum() / weight.sum()
    assert one.step(data)["loss"] == pytest.approx(expected, rel=1e-12)


def test_class_weights_are_set_from_outside() -> None:
    given, set_ = (
        trainer("class_weights: [1, 2, 3, 4]"),
        trainer("class_weights: balanced", set={"class_weights": [1, 2, 3, 4]}),
    )
    data = rows()
    assert given.step(data)["loss"] == set_.step(data)["loss"]
    assert set_.file.settings["class_weights"] == [1, 2, 3, 4]


def test_weights_are_made_of_names_of_the_model_and_of_the_train_block() -> None:
    """A name of the model, a local name of the train block, and its argument."""
    text = SPEC.replace("LOSS", LIKELY + "\n    rare = y > 1").replace("train {", "train m(factor = 3.0) {")
    one = dlc.Trainer(
        dlc.compile(text.replace("LINES", "g = factor * 2; weights: where(rare, g, 1.0)"), precision="float64")
    )
    data = rows()
    weight = np.where(data["y"] > 1, 6.0, 1.0)
    expected = (weight * losses(one, data)).sum() / weight.sum()
    assert one.step(data)["loss"] == pytest.approx(expected, rel=1e-12)
