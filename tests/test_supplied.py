"""What a model does not say and its likelihoods do: outputs, metrics, and how long a block trains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from dlc import Error
from dlc.cli import main
from dlc.elaborate.distributions import terms
from dlc.elaborate.library import standard_folder
from dlc.syntax import tree as syntax
from dlc.syntax.parser import parse, read_source

ROWS = 37
# Of each distribution: what it is given of z: float[batch, 4], what is observed, and the output and metric that a spec
# in the long form would state.
NUMBER = ("output mean = d.mean", "metric rmse = sqrt(mean((d.mean - y)^2))")
OFF = ("output mean = d.mean", "metric mae = mean(abs(d.mean - y))")
VECTOR = ("output mean = d.mean", "metric rmse = sqrt(mean(sum((d.mean - y)^2, axis = -1) / size(y, -1)))")
LONG: dict[str, tuple[str, str, tuple[str, str]]] = {
    "normal": ("normal(z[:, 0], exp(z[:, 1]))", "t", NUMBER),
    "laplace": ("laplace(z[:, 0], exp(z[:, 1]))", "t", OFF),
    "half_normal": ("half_normal(exp(z[:, 0]))", "abs(t)", NUMBER),
    "half_cauchy": (
        "half_cauchy(exp(z[:, 0]))",
        "abs(t)",
        ("output median = exp(z[:, 0])", "metric mae = mean(abs(exp(z[:, 0]) - y))"),
    ),
    "uniform": ("uniform(z[:, 0] - 20, z[:, 1] + 20)", "t", NUMBER),
    "bernoulli": (
        "bernoulli(z[:, 0])",
        "1 * (t > 0)",
        ("output probability = sigmoid(z[:, 0])", "metric accuracy = mean((z[:, 0] > 0) == (y > 0))"),
    ),
    "categorical": ("categorical(z)", "k", ("output probability = softmax(z)", "metric accuracy = accuracy(z, y)")),
    "poisson": ("poisson(exp(z[:, 0]))", "k", NUMBER),
    "binomial": ("binomial(5, z[:, 0])", "k", NUMBER),
    "negative_binomial": ("negative_binomial(exp(z[:, 0]), exp(z[:, 1]))", "k", NUMBER),
    "multinomial": ("multinomial(1, z)", "one_hot(k, 4)", NUMBER),
    "student_t": ("student_t(5, z[:, 0], exp(z[:, 1]))", "t", OFF),
    "cauchy": ("cauchy(z[:, 0])", "t", ("output median = z[:, 0]", "metric mae = mean(abs(z[:, 0] - y))")),
    "exponential": ("exponential(exp(z[:, 0]))", "abs(t)", NUMBER),
    "gamma": ("gamma(exp(z[:, 0]), exp(z[:, 1]))", "abs(t)", NUMBER),
    "beta": ("beta(exp(z[:, 0]), exp(z[:, 1]))", "sigmoid(t)", NUMBER),
    "log_normal": ("log_normal(z[:, 0])", "exp(t)", NUMBER),
    "truncated_normal": ("truncated_normal(z[:, 0], 9)", "t", NUMBER),
    "von_mises": (
        "von_mises(z[:, 0], 2)",
        "t",
        ("output mean = z[:, 0]", "metric mae = mean(abs(arctan2(sin(z[:, 0] - y), cos(z[:, 0] - y))))"),
    ),
    "multivariate_normal": ("multivariate_normal(z, std = 2)", "s", VECTOR),
    "dirichlet": ("dirichlet(exp(z))", "softmax(s)", VECTOR),
    "mixture": ("mixture(z, normal(z, 2))", "t", NUMBER),
    "mixture of vectors": (
        "mixture(z[:, :2], multivariate_normal(reshape(z, [batch, 2, 2])), vector = true)",
        "s[:, :2]",
        VECTOR,
    ),
}
SPEC = """model m {
    input  x: float[batch, 3]
    target t: float[batch]
    target k: int[batch] in 0..4
    target s: float[batch, 4]
    z = x |> dense(4)
    y = LEFT
    d = RIGHT
    y ~ d
    LINES
}
train { minimize loss using adam(1e-2); batch: 8; epochs: 2 }
"""


def data(rows: int = ROWS) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "x": rng.normal(size=(rows, 3)),
        "t": rng.normal(size=rows),
        "k": rng.integers(0, 4, rows),
        "s": rng.normal(size=(rows, 4)),
        "w": rng.random(rows) < 0.5,
    }


def program(lines: str, left: str, right: str, precision: str = "float64") -> Any:
    text = SPEC.replace("LEFT", left).replace("RIGHT", right).replace("LINES", lines)
    return dlc.compile(text, precision=precision)


def figures(made: Any) -> tuple[dict[str, float], dict[str, float], dict[str, np.ndarray]]:
    """Of an evaluation and of the last epoch, and what is predicted."""
    rows = data()
    trainer = dlc.Trainer(made, device="cpu")
    history = trainer.fit(rows)
    return trainer.evaluate(rows), history.epochs[-1]["train"], trainer.predict({"x": rows["x"]})


@pytest.mark.parametrize("name", LONG)
def test_a_likelihood_supplies_what_the_long_form_states(name: str) -> None:
    right, left, stated = LONG[name]
    short, long = program("", left, right), program("\n".join(stated), left, right)
    (evaluated, epoch, predicted), expected = figures(short), figures(long)
    assert evaluated == pytest.approx(expected[0], rel=1e-9) and len(evaluated) == 2
    assert epoch == pytest.approx(expected[1], rel=1e-9)
    assert predicted.keys() == expected[2].keys() and len(predicted) == 1
    for what, value in predicted.items():
        np.testing.assert_allclose(value, expected[2][what], rtol=1e-9)
    assert not long.module.supplied
    assert [(one.kind, one.by) for one in short.module.supplied] == [
        (kind, f"y ~ {name.split()[0]}") for kind in ("output", "metric")
    ]


def test_every_distribution_declares_what_it_shows() -> None:
    declared = [
        d
        for path in standard_folder().glob("*.dl")
        for d in parse(read_source(path)).declarations
        if isinstance(d, syntax.Distribution)
    ]
    assert {d.name for d in declared} == {name.split()[0] for name in LONG}
    assert all(len(terms(d, kind)) == 1 for d in declared for kind in ("output", "metric"))


def outputs(text: str) -> tuple[list[str], list[str]]:
    module = dlc.compile(text).module
    return module.outputs, module.metrics


TWO = """model m {
    input  x: float[batch, 3]
    target rating: float[batch]
    target seen: int[batch]
    z = x |> dense(2)
    rating ~ normal(z[:, 0], 1)
    seen ~ bernoulli(z[:, 1])
    LINES
}
train { minimize loss using adam(1e-2) }
"""


@pytest.mark.parametrize(
    ("lines", "shown", "metrics"),
    [
        ("", ["rating_mean", "seen_probability"], ["rating_rmse", "seen_accuracy"]),
        ("output z = z", ["z"], []),
        ("metric far = mean(abs(z[:, 0] - rating))", ["rating_mean", "seen_probability"], ["far"]),
        ("output z = z\nmetric far = mean(abs(z[:, 0] - rating))", ["z"], ["far"]),
        ("if false { metric far = mean(z) }", ["rating_mean", "seen_probability"], []),
        ("z ~ normal(0, 1)", ["rating_mean", "seen_probability"], ["rating_rmse", "seen_accuracy"]),
        ("x ~ normal(0, 1)", ["rating_mean", "seen_probability", "x_mean"], ["rating_rmse", "seen_accuracy", "x_rmse"]),
        (
            "rating > 1 ~ bernoulli(z[:, 0])",
            ["rating_mean", "seen_probability", "rating_probability"],
            ["rating_rmse", "seen_accuracy", "rating_accuracy"],
        ),
        (
            "rating + 1 ~ normal(z[:, 0], 1)",
            ["rating_mean", "seen_probability", "rating_mean_2"],
            ["rating_rmse", "seen_accuracy", "rating_rmse_2"],
        ),
        ("loss seen_accuracy = 0 * mean(z)", ["rating_mean", "seen_probability"], ["rating_rmse", "seen_accuracy_2"]),
    ],
)
def test_names(lines: str, shown: list[str], metrics: list[str]) -> None:
    assert outputs(TWO.replace("LINES", lines)) == (shown, metrics)


@pytest.mark.parametrize(
    ("text", "shown", "metrics"),
    [
        (
            "input mean: float[batch, 3]; target y: float[batch]; y ~ normal((mean |> dense(1))[:, 0], 1)",
            "y_mean",
            "rmse",
        ),
        (
            "input x: float[batch, 3]; target rmse: float[batch]; rmse ~ normal((x |> dense(1))[:, 0], 1)",
            "mean",
            "rmse_rmse",
        ),
        (
            "input x: float[batch, 3]; target y: float[batch]; param mean: float[3]; y ~ normal(x @ mean, 1)",
            "y_mean",
            "rmse",
        ),
        (
            "input x: float[batch, 3]; target y: float[batch]; w = dense(1); W = w(x); y ~ normal(W[:, 0], 1)",
            "mean",
            "rmse",
        ),
    ],
)
def test_names_that_are_taken(text: str, shown: str, metrics: str) -> None:
    found = outputs(f"model m {{ {text} }}\ntrain {{ minimize loss using adam(1e-2) }}")
    assert found == ([shown], [metrics])


def test_names_are_free_whatever_the_pass() -> None:
    """A likelihood of one pass alone, draws, and statements that differ with the pass."""
    text = """model m {
        input x: float[batch, 3]
        target y: int[batch]
        z = x |> dropout(0.5) |> dense(3)
        if predicting { q = 2 * z } else { q = z }
        y ~ categorical(q)
    }
    train { minimize loss using adam(1e-2) }"""
    made = dlc.compile(text)
    assert (made.module.outputs, made.module.metrics) == (["probability"], ["accuracy"])
    trainer = dlc.Trainer(made)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    z = 2 * (x @ trainer.parameters["dense.W"] + trainer.parameters["dense.b"])
    expected = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    np.testing.assert_allclose(trainer.predict({"x": x})["probability"], expected, rtol=1e-5)


WEIGHTED = """model m {
    input  x: float[batch, 3]
    target t: float[batch]
    target k: int[batch]
    target s: float[batch, 4]
    target w: bool[batch]
    z = x |> dense(4)
    LEFT ~ RIGHT
}
train { minimize loss using adam(1e-2); batch: 8; epochs: 1; validate: 0.2; stop: patience(2, on = validation.NAME) }
"""


@pytest.mark.parametrize(
    ("left", "right", "name", "of"),
    [
        ("k", "weighted(categorical(z), w)", "accuracy", lambda z, r: (z.argmax(1) == r["k"], r["w"])),
        (
            "k",
            "weighted(categorical(z), w + t^2)",
            "accuracy",
            lambda z, r: (z.argmax(1) == r["k"], r["w"] + r["t"] ** 2),
        ),
        ("t", "weighted(normal(z[:, 0], 1), t^2)", "rmse", lambda z, r: ((z[:, 0] - r["t"]) ** 2, r["t"] ** 2)),
        ("t", "weighted(laplace(z[:, 0], 1), w)", "mae", lambda z, r: (abs(z[:, 0] - r["t"]), r["w"])),
        ("s", "weighted(normal(z, 1), w[:, none])", "rmse", lambda z, r: ((z - r["s"]) ** 2, r["w"][:, None] + 0 * z)),
        ("s", "weighted(joint(normal(z, 1)), w)", "rmse", lambda z, r: ((z - r["s"]) ** 2, r["w"][:, None] + 0 * z)),
        ("s", "joint(weighted(normal(z, 1), w))", "rmse", lambda z, r: ((z - r["s"]) ** 2, r["w"][:, None] + 0 * z)),
        ("s", "weighted(multivariate_normal(z), w)", "rmse", lambda z, r: (((z - r["s"]) ** 2).mean(1), r["w"])),
        ("s > 0", "weighted(bernoulli(z), s^2)", "accuracy", lambda z, r: ((z > 0) == (r["s"] > 0), r["s"] ** 2)),
    ],
)
def test_a_metric_counts_what_the_likelihood_counts(left: str, right: str, name: str, of: Any) -> None:
    """And `patience` knows its direction."""
    made = dlc.compile(
        WEIGHTED.replace("LEFT", left).replace("RIGHT", right).replace("NAME", name), precision="float64"
    )
    trainer, rows = dlc.Trainer(made, device="cpu"), data()
    z = rows["x"] @ trainer.parameters["dense.W"] + trainer.parameters["dense.b"]
    values, weights = of(z, rows)
    expected = (values * weights).sum() / weights.sum()
    expected = np.sqrt(expected) if name == "rmse" else expected
    assert trainer.evaluate(rows)[name] == pytest.approx(expected, rel=1e-9)
    assert made.settings["train"]["stop"]["mode"] == ("max" if name == "accuracy" else "min")


def test_what_cannot_be_accumulated_is_left_out() -> None:
    """Which row of the batch belongs to which: a loss may ask, a metric over batches has no such value."""
    text = """model m {
        input a: float[batch, 3]
        input b: float[batch, 3]
        z = (a |> dense(2)) @ transpose(b |> dense(2))
        arange(batch) ~ categorical(z)
    }
    train { minimize loss using adam(1e-2); validate: 0.5; epochs: 1; batch: 4 STOP }"""
    made = dlc.compile(text.replace("STOP", ""))
    assert (made.module.outputs, made.module.metrics) == (["probability"], [])
    rows = {name: np.random.default_rng(1).normal(size=(16, 3)) for name in "ab"}
    assert dlc.Trainer(made).fit(rows).epochs[-1]["validation"].keys() == {"loss"}
    with pytest.raises(Error) as caught:
        dlc.compile(text.replace("STOP", '; stop: patience(2, on = validation.accuracy, mode = "max")'))
    assert caught.value.code == "E0504"


def test_an_output_that_needs_a_target_is_left_out() -> None:
    text = """model m {
        input x: float[batch, time]
        target y: int[batch, time]
        before = concat([0 * y[:, :1], y[:, :-1]], axis = 1)
        y ~ categorical(concat([before[..., none], x[..., none]], axis = -1) |> dense(3))
        LINES
    }
    train { minimize loss using adam(1e-2) }"""
    assert outputs(text.replace("LINES", "")) == ([], ["accuracy"])
    with pytest.raises(Error) as caught:
        dlc.compile(text.replace("LINES", "output late = mean(1.0 * before)"))
    assert caught.value.code == "E0340"


def test_a_mixture_whose_parts_have_no_mean_is_a_likelihood_all_the_same() -> None:
    poles = "distribution poles(center)(y) { log_density = -(y - center)^4 }\n"
    text = SPEC.replace("LEFT", "t").replace("RIGHT", "mixture(z, poles(z))").replace("LINES", "")
    assert outputs(poles + text) == ([], [])


OWN = """distribution poles(center)(y) {
    log_density = -(y - center)^4
    off = y - center
    output center = center
    output doubled = 2 * center
    metric off = weighted_mean(off^2, weights)
}
model m { input x: float[batch, 3]; target y: float[batch]; y ~ poles((x |> dense(1))[:, 0]) }
train { minimize loss using adam(1e-2) }
"""


def test_a_distribution_of_the_spec_declares_its_own() -> None:
    assert outputs(OWN) == (["center", "doubled"], ["off"])


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        ("output center = center", "output center = y", "E0201"),  # an output has no value to read
        ("weighted_mean(off^2, weights)", "off^2", "E0332"),
        ("output doubled", "output center", "E0203"),
        ("weighted_mean(off^2, weights)", "later", "E0201"),
    ],
)
def test_what_it_declares_wrongly(before: str, after: str, code: str) -> None:
    text = OWN.replace(before, after)
    assert text != OWN
    with pytest.raises(Error) as caught:
        dlc.compile(text)
    assert caught.value.code == code, caught.value


TRAIN = """model m { input x: float[batch, 4]; target y: int[batch]; y ~ categorical(x |> dense(3)) }
train { minimize loss using adam(1e-2); LINES }
"""


@pytest.mark.parametrize(
    ("lines", "epochs", "validate", "patience", "supplied"),
    [
        ("", 10, None, None, ""),  # without data it is no whole recipe
        ('data: "d.npz"', 100, 0.2, 5, "batch epochs validate stop"),
        ('data: "d.npz"; batch: 8', 100, 0.2, 5, "epochs validate stop"),
        ('data: "d.npz"; epochs: 3', 3, None, None, ""),
        ('data: "d.npz"; steps: 30', None, None, None, ""),
        ('data: "d.npz"; validate: 0.5', 100, 0.5, 5, "batch epochs stop"),
        ('data: "d.npz"; validate: "e.npz"', 100, "e.npz", 5, "batch epochs stop"),
        ('data: "d.npz"; validate: none', 10, None, None, "batch epochs"),
        ('data: "d.npz"; stop: none', 10, 0.2, None, "batch epochs validate"),
        ('data: "d.npz"; stop: patience(2, on = validation.accuracy)', 100, 0.2, 2, "batch epochs validate"),
        ('data: "d.npz"; stop: patience(2, on = train.loss); validate: none', 100, None, 2, "batch epochs"),
    ],
)
def test_how_long_a_block_trains(lines: str, epochs: Any, validate: Any, patience: Any, supplied: str) -> None:
    made = dlc.compile(TRAIN.replace("LINES", lines))
    settings = made.settings["train"]
    assert (settings["epochs"], settings["validate"]) == (epochs, validate)
    assert (settings["stop"] or {}).get("patience") == patience
    assert [one.name for one in made.module.supplied if one.kind == "setting"] == supplied.split()


def test_what_is_set_from_outside_is_not_supplied() -> None:
    text = TRAIN.replace("LINES", 'data: "d.npz"')
    assert dlc.compile(text, set={"epochs": 3}).settings["train"]["validate"] is None
    assert dlc.compile(text, set={"batch": 8}).settings["train"]["epochs"] == 100
    assert dlc.compile(text, set={"data": None}).settings["train"]["epochs"] == 10


def test_whoever_says_how_long_has_no_use_for_what_is_supplied() -> None:
    made = dlc.compile(TRAIN.replace("LINES", 'data: "d.npz"; batch: 4'))
    rng = np.random.default_rng(0)
    rows = {"x": rng.normal(size=(20, 4)), "y": rng.integers(0, 3, 20)}
    trainer = dlc.Trainer(made, device="cpu")
    history = trainer.fit(rows, steps=30)
    assert (history.steps, history.epochs[-1]["validation"]) == (30, None)
    both = [
        dlc.Trainer(one, device="cpu") for one in (made, dlc.compile(TRAIN.replace("LINES", "batch: 4; epochs: 3")))
    ]
    both[0].fit(rows, epochs=3)
    both[1].fit(rows)
    for name in both[0].parameters:
        np.testing.assert_array_equal(both[0].parameters[name], both[1].parameters[name])
    history = dlc.Trainer(made, device="cpu").fit(rows)
    assert history.epochs[-1]["validation"] is not None and history.best is not None


def test_blocks_and_losses_that_take_turns() -> None:
    two = TRAIN.replace("LINES", 'data: "d.npz"; epochs: 3') + "train { minimize loss using adam(1e-3) }\n"
    module = dlc.compile(two).module
    assert [block.settings["epochs"] for block in module.blocks] == [3, 100]
    assert [one.name for one in module.supplied if one.kind == "setting"] == [
        f"{name} of block 2" for name in ("batch", "epochs", "validate", "stop")
    ]
    turns = """model m {
        input x: float[batch, 4]
        a, b = dense(1), dense(1)
        loss one = mean(a(x)^2)
        loss two = mean(b(x)^2)
        output y = a(x)
    }
    train { minimize one over a.* using adam(1e-2); minimize two over b.* using adam(1e-2); data: "d.npz" }"""
    assert dlc.compile(turns).settings["train"]["epochs"] == 10


def test_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`check`, `summary` and `train` say what was supplied, of a spec, a file and a run; JSON has it, too."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", x=rng.normal(size=(60, 4)), y=rng.integers(0, 3, 60))
    spec = tmp_path / "m.dl"
    spec.write_text(TRAIN.replace("LINES", 'data: "d.npz"'))
    said = [
        "supplied: output probability, metric accuracy (y ~ categorical)",
        "supplied: batch: 32, epochs: 100, validate: 0.2, stop: patience(5, on = validation.loss) (train)",
    ]

    def run(*words: object) -> str:
        assert main([*map(str, words)]) == 0
        return capsys.readouterr().out

    assert run("check", spec).splitlines()[1:] == said
    assert run("summary", spec).splitlines()[-2:] == said
    assert run("train", spec, "--runs", tmp_path / "runs").splitlines()[:2] == said
    assert "supplied" not in run("train", spec, "--runs", tmp_path / "runs", "--quiet")
    run("compile", spec, "-o", tmp_path / "m.onnx")
    assert run("check", tmp_path / "m.onnx").splitlines()[1:] == said
    [folder, *_] = (tmp_path / "runs").iterdir()
    assert run("summary", folder).splitlines()[-2:] == said
    for command in ("check", "summary"):
        found = json.loads(run(command, spec, "--json"))["supplied"]
        assert {"kind": "metric", "name": "accuracy", "by": "y ~ categorical"} in found and len(found) == 6
    long = tmp_path / "long.dl"
    long.write_text(spec.read_text().replace("dense(3))", "dense(3)); output z = x").replace("data", "epochs: 2; data"))
    assert "supplied" not in run("check", long)
