"""Losses that take turns: each a pass of its own, in the order of the text, with the parameters of that moment, the
same batch, its own draws, its own `step`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import onnxruntime
import pytest
from dlc.cli import main
from dlc.runtime import CompiledFile, random
from every_file import state as held, step as whole_step
from test_checkpoint import Interrupt, same

GAN = """
model gan(hidden = 6) {
    input x: float[batch, 2]
    input z: float[batch, 3]
    G1 = dense(hidden)
    G2 = dense(2)
    C1 = dense(hidden)
    C2 = dense(1)
    fake = G2(tanh(G1(z)))
    real_score = C2(tanh(C1(x)))
    fake_score = C2(tanh(C1(fake)))
    loss critic_loss    = mean(softplus(-real_score)) + mean(softplus(fake_score))
    loss generator_loss = mean(softplus(-fake_score))
    output sample = fake
    metric spread = mean(fake^2)
}
train { LINES; batch: 8; epochs: 3; seed: 1 }
"""
LINES = "minimize critic_loss over C*.* using adam(0.02); minimize generator_loss over G*.* using momentum(0.05)"
RNG = np.random.default_rng(0)
DATA = {"x": RNG.normal(size=(30, 2)), "z": RNG.normal(size=(30, 3))}


def trainer(lines: str = LINES, text: str = GAN, seed: int | None = None, **options: Any) -> dlc.Trainer:
    return dlc.Trainer(dlc.compile(text.replace("LINES", lines), precision="float64", **options), "cpu", seed)


def batches(count: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(5)
    return [{"x": rng.normal(size=(8, 2)), "z": rng.normal(size=(8, 3))} for _ in range(count)]


# --- numbers


@pytest.mark.parametrize("every", ["", " every 5", " every 3 from 2"])
def test_two_passes_are_the_same_loop_in_torch(every: str) -> None:
    torch = pytest.importorskip("torch")
    ours = trainer(LINES.replace("momentum(0.05)", "momentum(0.05)" + every))
    theirs = {n: torch.tensor(np.array(v), requires_grad=True) for n, v in ours.parameters.items()}
    adam = torch.optim.Adam([v for n, v in theirs.items() if n[0] == "C"], 0.02)
    sgd = torch.optim.SGD([v for n, v in theirs.items() if n[0] == "G"], 0.05, momentum=0.9)
    softplus = torch.nn.functional.softplus

    def critic(x: Any) -> Any:
        return torch.tanh(x @ theirs["C1.W"] + theirs["C1.b"]) @ theirs["C2.W"] + theirs["C2.b"]

    def made(z: Any) -> Any:
        return torch.tanh(z @ theirs["G1.W"] + theirs["G1.b"]) @ theirs["G2.W"] + theirs["G2.b"]

    n, first = {"": (1, 1), " every 5": (5, 5), " every 3 from 2": (3, 2)}[every]
    for number, batch in enumerate(batches(50), 1):
        x, z = (torch.tensor(batch[name]) for name in ("x", "z"))
        figures = ours.step(batch)
        loss = softplus(-critic(x)).mean() + softplus(critic(made(z))).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        assert figures["critic_loss"] == pytest.approx(loss.item(), rel=1e-9, abs=1e-12)
        runs = number >= first and (number - first) % n == 0
        assert ("generator_loss" in figures) == runs
        if runs:
            loss = softplus(-critic(made(z))).mean()
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            assert figures["generator_loss"] == pytest.approx(loss.item(), rel=1e-9, abs=1e-12)
        for name, value in theirs.items():
            np.testing.assert_allclose(ours.parameters[name], value.detach().numpy(), rtol=1e-9, atol=1e-9)


TWO = """
model m {
    input x: float[batch, 2]
    param a: float[2] init ones
    param b: float[2] init ones
    loss first  = mean(sum((x - a - MORE * b)^2, axis = 1))
    loss second = mean(sum((x - b - a)^2, axis = 1))
    output p = x - a - b
}
train { LINES; steps: 12 }
"""


@pytest.mark.parametrize(
    ("every", "schedule"),
    [
        (("", ""), [(1, 1), (1, 1)]),
        (("", " every 3"), [(1, 1), (3, 3)]),
        (("", " every 3 from 1"), [(1, 1), (3, 1)]),
        (("", " every 1 from 7"), [(1, 1), (1, 7)]),
        (("", " from 7"), [(1, 1), (1, 7)]),
        ((" every 2 from 1", " every 2"), [(2, 1), (2, 2)]),
        ((" every 2", " every 3"), [(2, 2), (3, 3)]),  # in some iterations nothing runs
        (("", " every 2 * 2"), [(1, 1), (4, 4)]),
    ],
)
@pytest.mark.parametrize("rate", ["0.1", "0.1 / step", "0.1 * step / steps"])
def test_each_pass_counts_its_own_updates(every: Any, schedule: Any, rate: str) -> None:
    lines = f"minimize first over a using sgd({rate}){every[0]}; minimize second over b using sgd({rate}){every[1]}"
    made = trainer(lines, TWO.replace("MORE", "0.5"))
    rng, count = np.random.default_rng(5), 12
    for _ in range(count):
        made.step({"x": rng.normal(size=(8, 2))})
    planned = [max(0, (count - first) // n + 1) for n, first in schedule]
    rates = {
        "0.1": lambda k, t: 0.1,
        "0.1 / step": lambda k, t: 0.1 / t,
        "0.1 * step / steps": lambda k, t: 0.1 * t / planned[k],
    }[rate]
    a, b = np.ones(2), np.ones(2)
    rng, own = np.random.default_rng(5), [0, 0]
    for number in range(1, count + 1):
        x = rng.normal(size=(8, 2))
        for k, (n, first) in enumerate(schedule):
            if number >= first and (number - first) % n == 0:
                own[k] += 1
                g = -2 * np.mean(x - a - (0.5 if k == 0 else 1) * b, axis=0)
                a, b = (a - rates(k, own[k]) * g, b) if k == 0 else (a, b - rates(k, own[k]) * g)
    np.testing.assert_allclose(made.parameters["a"], a, rtol=1e-12)
    np.testing.assert_allclose(made.parameters["b"], b, rtol=1e-12)
    assert (int(made.state["step"]), int(made.state["step@1"])) == tuple(own)


def test_a_parameter_of_two_passes_has_two_optimizers() -> None:
    """Without `over` each pass trains what its loss depends on; the states of the optimizers are apart."""
    made = trainer(
        "minimize first using momentum(0.1); minimize second using momentum(0.1)", TWO.replace("MORE", "0.5")
    )
    rng = np.random.default_rng(5)
    values, moments = {"a": np.ones(2), "b": np.ones(2)}, {}
    for _ in range(12):
        x = rng.normal(size=(8, 2))
        made.step({"x": x})
        for k, share in enumerate((0.5, 1.0)):
            rest = -2 * np.mean(x - values["a"] - share * values["b"], axis=0)
            for name, g in (("a", rest), ("b", share * rest)):
                moments[k, name] = 0.9 * moments.get((k, name), 0) + g
            values = {name: value - 0.1 * moments[k, name] for name, value in values.items()}
    for name, value in values.items():
        np.testing.assert_allclose(made.parameters[name], value, rtol=1e-12)
    assert len([name for name in made.state if "/" in name]) == 4


def test_neighbours_of_one_loss_are_one_update() -> None:
    """What stands apart, or runs in other iterations, is a pass of its own."""
    text = TWO.replace("MORE", "0.5")
    one = trainer("minimize first over a using sgd(0.1); minimize first over b using sgd(0.2); "
                  "minimize second over a using sgd(0.3)", text)  # fmt: skip
    three = trainer("minimize first over a using sgd(0.1); minimize second over b using sgd(0.3); "
                    "minimize first over b using sgd(0.2)", text)  # fmt: skip
    assert [len(each.file.parts) for each in (one, three)] == [2, 3]
    x, a, b = RNG.normal(size=(8, 2)), np.ones(2), np.ones(2)
    one.step({"x": x})
    three.step({"x": x})
    g = -2 * np.mean(x - a - 0.5 * b, axis=0)
    a1, b1 = a - 0.1 * g, b - 0.1 * g
    a2 = a1 + 0.6 * np.mean(x - a1 - b1, axis=0)
    np.testing.assert_allclose(one.parameters["a"], a2, rtol=1e-12)
    np.testing.assert_allclose(one.parameters["b"], b1, rtol=1e-12)
    b1 = b + 0.6 * np.mean(x - a1 - b, axis=0)
    np.testing.assert_allclose(three.parameters["b"], b1 + 0.2 * np.mean(x - a1 - 0.5 * b1, axis=0), rtol=1e-12)


def test_penalties_and_clips_belong_to_the_pass_of_their_parameter() -> None:
    lines = "minimize first over a using sgd(0.1); minimize second over b using sgd(0.1); penalty: l2(0.5) on b"
    made, x = trainer(lines + "; clip: global_norm(0.3)", TWO.replace("MORE", "0.5")), RNG.normal(size=(8, 2))
    made.step({"x": x})

    def clipped(g: Any) -> Any:
        return g * min(1, 0.3 / np.sqrt(np.sum(g**2)))

    a = np.ones(2) - 0.1 * clipped(-2 * np.mean(x - 1.5, axis=0))
    np.testing.assert_allclose(made.parameters["a"], a, rtol=1e-12)
    b = 1 - 0.1 * clipped(-2 * np.mean(x - 1 - a, axis=0) + 1.0)
    np.testing.assert_allclose(made.parameters["b"], b, rtol=1e-12)


DRAWS = """
model m {
    input x: float[batch]
    param a: float[4] init zeros
    param b: float[4] init zeros
    u = uniform_like(a)
    loss first  = sum(a * u) + 0 * mean(x)
    loss second = sum(b * u) + 0 * mean(x)
    output p = x OUTPUT
}
train { minimize first over a using sgd(1.0); minimize second over b using sgd(1.0) every 2; seed: 3 }
"""


@pytest.mark.parametrize("output", ["", "+ 0 * sum(normal_like(x)) + 0 * step"])
def test_each_pass_draws_by_its_own_key_and_step(output: str) -> None:
    """By the generator as docs/file-format.md has it; also where the predicting graph holds a `step` and `key`."""
    made = trainer("", DRAWS.replace("OUTPUT", output))
    seeded = random.fold(random.K0, 3)
    keys = [seeded, random.fold(seeded, 2**62 + 9)]
    drawn = {"a": np.zeros(4), "b": np.zeros(4)}
    own = [0, 0]
    for number in range(1, 7):
        made.step({"x": np.ones(2)})
        for k, name in enumerate("ab"):
            if k == 0 or number % 2 == 0:
                own[k] += 1
                words = random.words(np.arange(4, dtype=np.uint64), random.fold(keys[k], own[k]))
                drawn[name] -= (words >> np.uint64(40)).astype(float) * 2.0**-24
        for name, value in drawn.items():
            np.testing.assert_allclose(made.parameters[name], value, rtol=1e-12)
    assert made.progress.step == 6


# --- states of layers


def test_states_move_in_the_passes_that_compute_them() -> None:
    text = """
        model m {
            input x: float[batch, 2]
            input z: float[batch, 2]
            state steps_seen: int = 0
            N = batch_norm(momentum = 0.5)
            C = batch_norm(momentum = 0.5)
            D = dense(1)
            fake = N(z)
            if training { steps_seen <- steps_seen + 1 }
            loss first  = mean(D(C(x))^2) + mean((D(C(fake)) - 1)^2)
            loss second = mean(D(fake)^2)
            output p = fake
        }
        train { minimize first over C.*, D.* using sgd(0.01); minimize second over N.* using sgd(0.01) }
    """
    made = trainer("", text)
    x, z = RNG.normal(size=(8, 2)) + 3, RNG.normal(size=(8, 2)) + 1
    made.step({"x": x, "z": z})
    np.testing.assert_allclose(made.state["N.seen_mean"], 0.75 * z.mean(0), rtol=1e-12)  # in both passes
    normed = (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5)
    np.testing.assert_allclose(made.state["C.seen_mean"], 0.25 * x.mean(0) + 0.5 * normed.mean(0), atol=1e-12)  # once
    assert int(made.state["steps_seen"]) == 1


# --- runs


@pytest.mark.parametrize("every", ["", " every 3", " every 5 from 2"])
@pytest.mark.parametrize("at", [1, 3, 4, 7, 8])
def test_resumed_from_the_middle_bit_for_bit(tmp_path: Path, every: str, at: int) -> None:
    text = GAN.replace("input z: float[batch, 3]", "input z: float[batch, 3] ~ normal(0, 1)")
    data = {"x": DATA["x"]}
    whole, part = trainer(LINES + every, text), trainer(LINES + every, text)
    found = whole.fit(data, validation=0.2)
    with pytest.raises(KeyboardInterrupt):
        part.fit(data, validation=0.2, run=tmp_path, callbacks=[Interrupt(at)])
    again = dlc.Trainer.resume(next(tmp_path.iterdir()), device="cpu")
    more = again.fit(data)
    same(whole, again)
    assert [{**r, "seconds": 0} for r in found.epochs] == [{**r, "seconds": 0} for r in more.epochs]


def test_a_saved_file_goes_on(tmp_path: Path) -> None:
    one, two = trainer(LINES + " every 3"), trainer(LINES + " every 3")
    given = batches(10)
    for batch in given:
        one.step(batch)
    for batch in given[:4]:
        two.step(batch)
    two.save(tmp_path / "m.onnx")
    again = dlc.Trainer(tmp_path / "m.onnx", "cpu")
    assert again.progress.step == 4
    for batch in given[4:]:
        again.step(batch)
    same(one, again)


def test_each_figure_is_the_mean_of_the_steps_that_gave_it() -> None:
    made, seen = trainer(LINES + " every 3"), []

    class Noting(dlc.runtime.Callback):
        def on_step(self, step: int, figures: Any) -> None:
            seen.append(dict(figures))

    [first, *_] = made.fit(DATA, callbacks=[Noting()]).epochs
    assert list(first["train"]) == ["critic_loss", "generator_loss", "spread"]
    assert [("generator_loss" in one) for one in seen[:4]] == [False, False, True, False]
    assert first["train"]["generator_loss"] == seen[2]["generator_loss"]
    rows = np.array([8, 8, 8, 6])
    wanted = np.average([one["critic_loss"] for one in seen[:4]], weights=rows)
    assert first["train"]["critic_loss"] == pytest.approx(wanted, rel=1e-12)
    rare = trainer(LINES + " every 9").fit(DATA).epochs
    assert ["generator_loss" in one["train"] for one in rare] == [False, False, True]


def test_what_blows_up_in_the_second_pass_is_taken_back_whole() -> None:
    text = """
        model m {
            input x: float[batch]
            param a: float init ones
            param b: float init ones
            loss first  = mean((x - a)^2)
            loss second = mean(log(b * x + 1)^2)
            output p = a * b * x
        }
        train { minimize first over a using adam(0.1); minimize second over b using adam(0.1) }
    """
    made = trainer("", text)
    for _ in range(3):
        made.step({"x": np.ones(2)})
    before = {name: value.copy() for name, value in made.state.items()}
    with pytest.raises(dlc.Error) as caught:
        made.step({"x": np.array([-1e9, 2.0])})
    assert "`second` is NaN at step 4" in str(caught.value)
    for name, value in made.state.items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    assert made.step({"x": np.full(2, 3.0)})["first"] > 0


# --- the file


def test_plain_onnxruntime_runs_the_passes_in_turn() -> None:
    """As docs/file-format.md tells an executor that knows nothing of dlc."""
    ours = trainer(LINES + " every 2")
    model = ours.file.model
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert told["dlc.format"] == "2"  # which builds that would run each pass in every iteration refuse
    due = json.loads(told["dlc.turns"])
    assert due == [{"loss": "critic_loss", "every": 1, "first": 1}, {"loss": "generator_loss", "every": 2, "first": 2}]
    main_names = {tensor.name for tensor in model.graph.initializer}
    shared = {n: v for n, v in held(model).items() if n in main_names}
    sessions, own, updates = [], [], []
    for k, info in enumerate(model.training_info):
        sessions.append(onnxruntime.InferenceSession(whole_step(model, k).SerializeToString()))
        own.append({t.name: held(model, k)[t.name] for t in info.algorithm.initializer})
        updates.append({entry.key: entry.value for entry in info.update_binding})
    for number, batch in enumerate(batches(6), 1):
        figures = ours.step(batch)
        for session, mine, moved, turn in zip(sessions, own, updates, due, strict=True):
            if number < turn["first"] or (number - turn["first"]) % turn["every"]:
                continue
            values = {**shared, **mine, **batch}
            names = [out.name for out in session.get_outputs()]
            feeds = {given.name: values[given.name] for given in session.get_inputs()}
            made = dict(zip(names, session.run(names, feeds), strict=True))
            assert float(made[turn["loss"]]) == pytest.approx(figures[turn["loss"]], rel=1e-12)
            for name, output in moved.items():
                (shared if name in shared else mine)[name] = made[output]
    for name in ours.parameters:
        np.testing.assert_allclose(shared[name], ours.parameters[name], rtol=1e-12)


def test_an_exported_file_keeps_what_predicts(tmp_path: Path) -> None:
    made = trainer()
    made.save(tmp_path / "m.onnx")
    assert main(["export", str(tmp_path / "m.onnx"), "--inference", "-o", str(tmp_path / "small.onnx")]) == 0
    small = CompiledFile.load(tmp_path / "small.onnx")
    assert {held.name for held in small.main.initializer if not held.name.startswith("constant/")} == {
        "G1.W", "G1.b", "G2.W", "G2.b",
    }  # fmt: skip
    assert set(small.parameters) == {"G1.W", "G1.b", "G2.W", "G2.b"}
    z = RNG.normal(size=(3, 3))
    found = dlc.Trainer(tmp_path / "small.onnx", "cpu").predict({"z": z})["sample"]
    np.testing.assert_array_equal(found, made.predict({"z": z})["sample"])


def test_a_pass_computes_only_what_its_loss_needs() -> None:
    """The pass of the generator does not look at real data, nor that of the critic at gradients of the generator."""
    made = dlc.compile(GAN.replace("LINES", LINES)).model_proto()
    one, two = (info.algorithm for info in made.training_info)
    assert "x" in [value.name for value in one.input] and "x" not in [value.name for value in two.input]
    assert not any(value.name.startswith("next/G") for value in one.output)
    assert two.output[0].name == "generator_loss" and not any("critic" in value.name for value in two.output)


@pytest.mark.parametrize("name", ["G1.W", "C1.W", "adam/m/C1.W", "step"])
def test_it_is_one_file_of_the_same_bytes(name: str) -> None:
    one, two = (dlc.compile(GAN.replace("LINES", LINES)).model_proto() for _ in range(2))
    assert one.SerializeToString(deterministic=True) == two.SerializeToString(deterministic=True)
    assert name in held(one)


@pytest.mark.parametrize("command", ["check", "summary", "graph", "fmt", "compile"])
def test_every_command_takes_it(tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.dl"
    path.write_text(GAN.replace("LINES", LINES.replace("; ", "\n    ") + " every 5   from 3"))
    extra = (
        ["-o", str(tmp_path / f"m.{'html' if command == 'graph' else 'onnx'}")]
        if command in ("graph", "compile")
        else []
    )
    assert main([command, str(path), *extra]) == 0, capsys.readouterr().err
    if command == "fmt":
        assert "every 5 from 3" in path.read_text()
    if command == "compile":
        assert main(["check", str(tmp_path / "m.onnx")]) == 0


def test_a_spec_says_what_it_is_stopped_by() -> None:
    made = trainer(LINES + "; validate: 0.3; stop: patience(1, on = validation.generator_loss)")
    assert made.fit(DATA).best is not None
    with pytest.raises(dlc.Error) as caught:
        trainer(LINES + "; validate: 0.3; stop: patience(1)")
    assert "E0508" in str(caught.value) and "validation.critic_loss" in str(caught.value)
    assert list(made.evaluate(DATA)) == ["critic_loss", "generator_loss", "spread"]


@pytest.mark.parametrize("name", ["gan", "wgan"])
def test_the_specs_of_the_repository_learn(name: str) -> None:
    path = Path(__file__).parent.parent / "specs" / f"{name}.dl"
    made = dlc.Trainer(dlc.compile(path), device="cpu", seed=1)
    before = made.evaluate(path.parent / "data" / "curve.npz")["distance"]
    history = made.fit(epochs=150)
    assert made.evaluate(path.parent / "data" / "curve.npz")["distance"] < before / 2
    assert list(history.final["train"])[:2] == ["critic_loss", "generator_loss"]
