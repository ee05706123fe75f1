"""Runs that began with kernels of our own and go on without them, and the other way; and one spec of each kind both
ways."""

from __future__ import annotations

from pathlib import Path

import dlc
import numpy as np
import pytest
from dlc.cli import main
from dlc.runtime import Trainer, native
from native_cases import Array
from test_checkpoint import Interrupt

pytestmark = pytest.mark.skipif(not native.works(), reason="the native library was not built")

SPEC = """
model m {
    input  x: float[batch, 6]
    target y: float[batch]
    mean = x |> dense(16) |> gelu |> dropout(0.1) |> dense(1)
    y ~ normal(mean[:, 0], 1)
}
train m {
    minimize loss using adam(0.01)
    batch: 8
    epochs: 4
}
"""


def data() -> dict[str, Array]:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(40, 6)).astype("float32")
    return {"x": x, "y": x.sum(1)}


def whole(way: bool) -> Trainer:
    trainer = Trainer(dlc.compile(SPEC), device="cpu", seed=2, native=way)
    trainer.fit(data())
    return trainer


def broken(way: bool, folder: Path) -> Path:
    """The folder of a run that ended after seven of its twenty steps."""
    with pytest.raises(KeyboardInterrupt):
        Trainer(dlc.compile(SPEC), device="cpu", seed=2, native=way).fit(data(), run=folder, callbacks=[Interrupt(7)])
    [made] = folder.iterdir()
    return made


def same(a: Trainer, b: Trainer) -> bool:
    return all(array.tobytes() == b.state[name].tobytes() for name, array in a.state.items())


@pytest.mark.parametrize("way", [True, False])
def test_a_run_goes_on_the_way_it_began(tmp_path: Path, way: bool) -> None:
    """Bit for bit, whatever is the default here."""
    again = Trainer.resume(broken(way, tmp_path), device="cpu")
    assert again.native == way
    again.fit(data())
    assert same(again, whole(way)) and not same(again, whole(not way))


@pytest.mark.parametrize("way", [True, False])
def test_a_run_goes_on_the_other_way_where_it_is_told_to(tmp_path: Path, way: bool) -> None:
    """From the same state, so that it ends within the last digits of the one that it left."""
    again = Trainer.resume(broken(way, tmp_path), device="cpu", native=not way)
    assert again.native != way
    again.fit(data())
    for name, array in whole(way).parameters.items():
        np.testing.assert_allclose(again.parameters[name], array, rtol=1e-3, atol=1e-5)


def test_the_command_says_where_a_run_goes_on_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", **data())  # type: ignore[arg-type]
    Path("m.dl").write_text(SPEC)

    def command(allowed: str, *arguments: str) -> str:
        monkeypatch.setenv("DLC_NATIVE", allowed)
        assert main(["train", *arguments, "--device", "cpu"]) == 0
        return "".join(capfd.readouterr())

    command("1", "m.dl", "--data", "data.npz", "--epochs", "2")
    [run] = Path("runs").iterdir()
    said = "kernels of our own"
    assert said in command("0", "--resume", str(run), "--epochs", "3")
    assert said not in command("1", "--resume", str(run), "--epochs", "4")


KINDS = {
    "dense": "input x: float[batch, 12]\n h = x |> dense(16) |> relu |> layer_norm |> dense(8) |> gelu",
    "convolution": "input x: float[batch, 3, 8, 8]\n z = x |> conv(8, kernel = 3, bias = false)\n"
    " h = z |> batch_norm |> relu |> global_avg_pool",
    "pooling": "input x: float[batch, 1, 8, 8]\n z = x |> conv(4, kernel = 3, pad = 1)\n"
    " h = z |> max_pool(2) |> global_avg_pool",
    "recurrence": "input x: float[batch, 5, 6]\n s = x |> lstm(8)\n h = s[:, 4]",
    "attention": "input x: float[batch, 6, 8]\n s = x |> attention(2, bias = false)\n h = mean(s, 1)",
    "draws": "input x: float[batch, 12]\n h = x |> dense(16) |> tanh |> dropout(0.5)",
}
SHAPES = {"convolution": (3, 8, 8), "pooling": (1, 8, 8), "recurrence": (5, 6), "attention": (6, 8)}


@pytest.mark.parametrize("optimizer", ["sgd(0.05)", "adam(0.01)"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_each_kind_of_layer_both_ways(kind: str, optimizer: str) -> None:
    text = f"""
model m {{
    {KINDS[kind]}
    target y: int[batch]
    y ~ categorical(logits = h |> dense(3))
}}
train m {{ minimize loss using {optimizer} }}
"""
    rng = np.random.default_rng(3)
    batches = [
        {"x": rng.normal(size=(10, *SHAPES.get(kind, (12,)))).astype("float32"), "y": rng.integers(0, 3, 10)}
        for _ in range(3)
    ]
    ways = []
    for way, threads in ((True, 1), (True, 2), (False, 1)):
        trainer = Trainer(dlc.compile(text), device="cpu", seed=4, native=way, threads=threads)
        losses = [trainer.step(batch)["loss"] for batch in batches]
        ways.append((losses, {name: np.array(trainer.parameters[name]) for name in trainer.parameters}))
    (first, with_), (again, two), (other, without) = ways
    assert first == again
    np.testing.assert_allclose(first, other, rtol=2e-5)
    for name, value in without.items():
        assert with_[name].tobytes() == two[name].tobytes()
        np.testing.assert_allclose(with_[name], value, rtol=1e-3, atol=1e-4 if "adam" in optimizer else 1e-5)
