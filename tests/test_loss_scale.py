"""Loss scaling of float16, beside torch.amp.GradScaler: when the factor changes, what a step that overflows leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from dlc import ops
from dlc.autodiff.scaling import EVERY, GOOD, LEAST, SCALE, START, scale
from dlc.elaborate import elaborate
from dlc.runtime import Error, Trainer
from dlc.source import Source
from test_checkpoint import Interrupt

SPECS = Path(__file__).parent.parent / "specs"
# The gradient of W is x dy * s: it overflows for s x > 65504.
LINEAR = """
model m {
    input  x: float[batch, 2]
    target y: float[batch]
    z = (x |> dense(1))[:, 0]
    loss = mean((z - y)^2) / 2
}
train m { minimize loss using sgd(1e-3); batch: 4; seed: 1 }
"""
RNG = np.random.default_rng(2)


def batch(large: float = 1.0) -> dict[str, np.ndarray]:
    x = RNG.normal(size=(4, 2)).astype(np.float32)
    x[0] *= large
    return {"x": x, "y": RNG.normal(size=4).astype(np.float32)}


def trained(text: str | Path, precision: str = "float16", **options: Any) -> Trainer:
    return Trainer(dlc.compile(text, precision=precision), device="cpu", **options)


def state(one: Trainer) -> dict[str, np.ndarray]:
    return {name: np.array(value) for name, value in one.state.items()}


def test_the_factor_is_that_of_grad_scaler() -> None:
    """Over 2,100 steps, a few of which overflow: the factors, and so the steps that are left out, are the same ones."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    one = trained(LINEAR)
    net = torch.nn.Linear(2, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor(np.array(one.parameters["dense.W"]).T))
        net.bias.zero_()
    rule, scaler = torch.optim.SGD(net.parameters(), lr=1e-3), torch.amp.GradScaler("cpu")
    assert scaler.get_scale() == START and scaler.get_growth_interval() == EVERY
    ours, theirs, skipped = [], [], 0
    for number in range(2100):
        data = batch(300.0 if number in (3, 4, 40) else 1.0)
        rule.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            z = net(torch.tensor(data["x"]))[:, 0]
        loss = ((z.float() - torch.tensor(data["y"])) ** 2).mean() / 2
        scaler.scale(loss).backward()
        scaler.step(rule)
        scaler.update()
        before = np.array(one.parameters["dense.W"])
        one.step(data)
        skipped += bool((before == one.parameters["dense.W"]).all())
        ours.append(float(one.state[SCALE]))
        theirs.append(scaler.get_scale())
    assert ours == theirs
    assert skipped == sum(b < a for a, b in zip([START, *ours], ours)) >= 3  # noqa: B905 - one shorter
    assert max(ours[100:]) > min(ours)  # and it has grown again
    np.testing.assert_allclose(np.array(one.parameters["dense.W"]).T, net.weight.detach(), rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("rule", ["adam(1e-2)", "momentum(0.1)", "lookahead(adam(1e-2))", "accumulate(sgd(0.1), 2)"])
def test_a_step_that_overflows_changes_nothing_but_the_factor(rule: str) -> None:
    """Parameters, state of the optimizer and of layers, and the count of updates: what comes after goes on from it."""
    text = LINEAR.replace("sgd(1e-3)", rule).replace("(x |> dense(1))", "(x |> dense(3) |> batch_norm |> dense(1))")
    one = trained(text)
    one.state[SCALE] = np.float32(256)
    one.step(batch())
    before = state(one)
    overflowing = batch() | {"y": np.full(4, 3e4, np.float32)}
    one.step(overflowing)
    after = state(one)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {SCALE, GOOD}
    assert float(after[SCALE]) == 128 and int(after[GOOD]) == 0
    one.step(batch())
    assert not np.array_equal(state(one)["step"], after["step"])


def test_the_factor_changes_no_digit_of_what_does_not_overflow() -> None:
    """It is a power of two: with another one the parameters come out the same, bit for bit, as long as the gradients
    are within what float16 holds with all its digits."""
    a, b = trained(SPECS / "digits.dl"), trained(SPECS / "digits.dl")
    b.state[SCALE] = np.float32(2.0**12)
    with np.load(SPECS / "data" / "digits.npz") as held:
        data = {name: held[name][:64] for name in held.files}
    a.step(data), b.step(data)
    for name in a.parameters:
        np.testing.assert_allclose(a.parameters[name], b.parameters[name], rtol=1e-4, atol=2e-5)


def test_small_gradients_arrive() -> None:
    """Of a loss of 1e-6 they are below the least of float16, 6e-8; times 65,536 they are not."""
    text = LINEAR.replace("mean((z - y)^2) / 2", "1e-7 * mean((z - y)^2)").replace("sgd(1e-3)", "sgd(1e5)")
    one, whole = trained(text), trained(text, "float32")
    data = [batch() for _ in range(20)]
    for rows in data:
        one.step(rows), whole.step(rows)
    np.testing.assert_allclose(one.parameters["dense.W"], whole.parameters["dense.W"], rtol=2e-2, atol=2e-3)
    lost = trained(text)
    lost.state[SCALE] = np.float32(1.0)
    before = np.array(lost.parameters["dense.W"])
    lost.step(data[0])
    assert (
        np.abs(lost.parameters["dense.W"] - before).max()
        < 0.5 * np.abs(np.array(trained(text, "float32").parameters["dense.W"]) - whole.parameters["dense.W"]).max()
    )


def test_what_no_factor_helps_is_reported() -> None:
    """A gradient that is NaN whatever the factor is left out until the factor is too small to be the cause."""
    text = LINEAR.replace("mean((z - y)^2) / 2", "mean(sqrt(abs(z - z)))  + mean((z - y)^2)")
    one = trained(text)
    with pytest.raises(Error) as caught:
        for _ in range(60):
            one.step(batch())
    assert caught.value.code == "E0670" and float(one.state[SCALE]) <= LEAST


def test_a_value_beyond_float16_is_told_with_the_way_out() -> None:
    """What the model itself computes is not scaled: a product above 65,504 is infinite in float16."""
    one = trained(LINEAR)
    with pytest.raises(Error) as caught:
        one.step({"x": np.full((4, 2), 6e4, np.float32) * [[3.0, 1.0]], "y": np.zeros(4, np.float32)})
    assert caught.value.code == "E0670"
    assert "bfloat16" in caught.value.render()


@pytest.mark.parametrize("at", [3, 9, 14])
def test_a_run_resumes_bit_for_bit_across_an_overflow(at: int, tmp_path: Path) -> None:
    """The factor and its count are state: the unbroken run and the resumed one end with the same bits."""
    rows = [batch(300.0 if number in (2, 5) else 1.0) for number in range(10)]
    data = {name: np.concatenate([one[name] for one in rows]) for name in ("x", "y")}
    whole = trained(LINEAR)
    whole.fit(data, epochs=2)
    assert float(whole.state[SCALE]) < START
    first = trained(LINEAR)
    with pytest.raises(KeyboardInterrupt):
        first.fit(data, epochs=2, run=tmp_path, callbacks=[Interrupt(at)])
    [folder] = tmp_path.iterdir()
    again = Trainer.resume(folder, device="cpu")
    again.fit(data)
    for name, value in state(whole).items():
        assert np.array_equal(value, again.state[name]), name


@pytest.mark.parametrize(("of", "into"), [("float16", "float32"), ("float32", "bfloat16"), ("bfloat16", "float16")])
def test_weights_cross_between_precisions(of: str, into: str, tmp_path: Path) -> None:
    """Parameters are of float32 in each: a file of one is loaded by a spec of another."""
    one = trained(LINEAR, of)
    for _ in range(5):
        one.step(batch())
    one.save(tmp_path / "first.onnx")
    spec = tmp_path / "second.dl"
    spec.write_text(LINEAR.replace("batch: 4", 'load: "first.onnx" on *; batch: 4'), "utf-8")
    other = trained(spec, into)
    for name in one.parameters:
        assert np.array_equal(one.parameters[name], other.parameters[name])
    assert np.isfinite(other.step(batch())["loss"])


@pytest.mark.parametrize("spec", ["gan", "wgan", "pretrain", "finetune"])
def test_passes_and_blocks_have_one_factor(spec: str) -> None:
    one = trained(SPECS / f"{spec}.dl")
    one.fit(steps=4)
    held = [name for name in one.state if name.startswith("loss_scale")]
    assert held == [SCALE, GOOD] and float(one.state[SCALE]) > 0


def test_blocks_of_one_loss_scale_it_once() -> None:
    """Blocks that minimize one loss share its gradients: each is of the loss times one factor, not one a block."""
    blocks = "train m { minimize loss using sgd(1e-3); batch: 4; epochs: 1 }\n"
    module = elaborate(Source("blocks.dl", LINEAR + 2 * blocks))
    scale(module)
    factor = module.variables[SCALE].node
    found = [node for node in module.graph.order(module.graph.outputs.values()) if node.op is ops.gradient]
    assert len(found) == 2
    for node in found:
        objective, _ = node.inputs
        assert objective.op.name == "mul" and factor in objective.inputs
        [loss] = [of for of in objective.inputs if of is not factor]
        assert factor not in module.graph.order([loss])


def test_bfloat16_has_no_factor() -> None:
    assert not [name for name in trained(LINEAR, "bfloat16").state if name.startswith("loss_scale")]
