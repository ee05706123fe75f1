"""Train blocks that run one after another, each from where the last ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.cli import main
from dlc.runtime import Callback, CompiledFile
from dlc.runtime.checkpoint import Checkpoint
from test_checkpoint import Interrupt, same

MODEL = """
model m(hidden = 4) {
    input x: float[batch, 3]
    target y: float[batch]
    body = dense(hidden)
    bn   = batch_norm()
    head = dense(1)
    p    = (x |> body |> bn |> tanh |> dropout(0.1) |> head)[:, 0]
    loss fit = mean((p - y)^2)
    output q = p
    metric rmse = sqrt(mean((p - y)^2))
}
"""
TWO = """
train m "head only" (lr = 0.05) { freeze body.*; epochs: 2; batch: 10; seed: 1; minimize loss using RATE }
train m                         { minimize fit using momentum(0.01); epochs: 3; clip: global_norm(1.0) }
""".replace("RATE", "adam(cosine(lr, over = steps))")
SLOPE = (
    "model m { input x: float[batch]; param theta: float init zeros; loss = -theta * mean(x); output t = theta + x }"
)
RNG = np.random.default_rng(0)
DATA = {"x": RNG.normal(size=(35, 3)), "y": RNG.normal(size=35)}


def trainer(blocks: str = TWO, text: str = MODEL, **options: Any) -> dlc.Trainer:
    return dlc.Trainer(dlc.compile(text + blocks, precision="float64", **options), device="cpu")


def alone(block: str, **options: Any) -> dlc.Trainer:
    return trainer(block, **options)


class Noting(Callback):
    def __init__(self) -> None:
        self.starts: list[Any] = []
        self.ends = 0

    def on_start(self, start: Any) -> None:
        self.starts.append(start)

    def on_end(self, history: Any) -> None:
        self.ends += 1


# --- what runs


def test_each_goes_on_from_where_the_last_ended() -> None:
    """The same as a run of the first block, whose parameters and states of layers a run of the second is given."""
    lines = TWO.strip().splitlines()
    one = alone(lines[0])
    one.fit(DATA)
    whole, noted = trainer(), Noting()
    history = whole.fit(DATA, callbacks=[noted])
    assert [start.title for start in noted.starts] == ["m, head only, block 1 of 2", "m, block 2 of 2"]
    assert (noted.ends, history.steps, len(history.epochs), whole.progress.block) == (1, 20, 5, 1)
    assert [record["epoch"] for record in history.epochs] == [1, 2, 3, 4, 5]
    only = trainer()
    for name in ("body.W", "body.b", "head.W", "head.b", "bn.scale", "bn.shift", "bn.seen_mean", "bn.seen_var"):
        only.state[name] = one.state[name]
    only.progress.epoch, only.progress.step = one.progress.epoch, one.progress.step  # the order of rows goes on, too
    only.fit(DATA, only=2)
    for name in whole.parameters:
        np.testing.assert_array_equal(whole.parameters[name], only.parameters[name], err_msg=name)


def test_the_first_block_is_what_it_is_alone() -> None:
    one, whole = alone(TWO.strip().splitlines()[0]), trainer()
    one.fit(DATA)
    history = whole.fit(DATA, only="head only")
    assert history.steps == 8 and whole.progress.block == 0
    for name in one.parameters:
        np.testing.assert_array_equal(one.parameters[name], whole.parameters[name], err_msg=name)


def test_optimizers_and_schedules_start_anew() -> None:
    """sgd on a loss of slope -1 moves by the rate: that of each block's own schedule, and of its own `steps`."""
    blocks = """
        train { minimize loss using sgd(step / steps); batch: all; steps: 4 }
        train { minimize loss using sgd(10 * step / steps); steps: 5 }
    """
    made, seen = trainer(blocks, SLOPE), [0.0]

    class Watching(Callback):
        def on_step(self, step: int, figures: Any) -> None:
            seen.append(float(made.parameters["theta"]))

    made.fit({"x": np.ones(6)}, callbacks=[Watching()])
    np.testing.assert_allclose(np.diff(seen), [0.25, 0.5, 0.75, 1, 2, 4, 6, 8, 10], rtol=1e-12)


@pytest.mark.parametrize("keep", [False, True])
def test_keep_optimizer_goes_on_with_its_state(keep: bool) -> None:
    blocks = f"""
        train {{ minimize loss using adam(0.1); batch: all; steps: 4 }}
        train {{ minimize loss using adam(0.1); steps: 5; {"keep: optimizer" if keep else ""} }}
    """
    made = trainer(blocks, SLOPE)
    made.fit({"x": np.linspace(0, 1, 6)})
    theta, m, v, t = 0.0, 0.0, 0.0, 0
    for step in range(9):
        if step == 4 and not keep:
            m, v, t = 0.0, 0.0, 0
        t += 1
        g = -0.5
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        theta -= 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    assert float(made.parameters["theta"]) == pytest.approx(theta, rel=1e-12)
    assert int(made.state["step@1"]) == (9 if keep else 5)


def test_lookahead_begins_at_the_parameters_of_its_block() -> None:
    blocks = """
        train { minimize loss using sgd(1.0); batch: all; steps: 3 }
        train { minimize loss using lookahead(sgd(1.0), k = 2, alpha = 0.5); steps: 2 }
    """
    made = trainer(blocks, SLOPE)
    made.fit({"x": np.ones(6)})
    assert float(made.parameters["theta"]) == pytest.approx(3 + 0.5 * 2, rel=1e-12)


def test_the_best_epoch_of_a_block_is_what_the_next_begins_with() -> None:
    blocks = TWO.replace("epochs: 2;", "epochs: 6; validate: 0.3; stop: patience(1);")
    noted: dict[int, Any] = {}
    made = trainer(blocks)

    class Watching(Callback):
        def on_start(self, start: Any) -> None:
            noted["begins"] = {name: value.copy() for name, value in made.parameters.items()}

        def on_epoch(self, record: Any) -> None:
            noted[record["epoch"]] = {name: value.copy() for name, value in made.parameters.items()}

    history = made.fit(DATA, callbacks=[Watching()])
    first = alone(blocks.strip().splitlines()[0])
    best = first.fit(DATA).best
    for name, value in noted["begins"].items():
        np.testing.assert_array_equal(value, noted[best][name], err_msg=name)
        np.testing.assert_array_equal(value, first.parameters[name], err_msg=name)
    assert history.best is None and all(record["validation"] for record in history.epochs)  # validate goes on


def test_a_block_of_losses_that_take_turns_among_others() -> None:
    text = """
        model m {
            input x: float[batch]
            param a: float init zeros
            param b: float init zeros
            loss one = -a * mean(x)
            loss two = -(a + b) * mean(x)
            output t = a + b + x
        }
        train { minimize one over a using sgd(1.0); minimize two over b using sgd(1.0) every 2; batch: all; steps: 5 }
        train { minimize two using sgd(0.5); steps: 3 }
        train { minimize two over a using sgd(1.0); minimize one over a using sgd(0.25) every 2 from 1; steps: 4 }
    """
    made = trainer("", text)
    history = made.fit({"x": np.ones(4)})
    shown = [list(record["train"]) for record in history.epochs[3:6]]
    assert shown == [["one", "two"], ["one"], ["loss", "one", "two"]]
    assert float(made.parameters["a"]) == pytest.approx(5 + 1.5 + 4 + 0.5, rel=1e-12)
    assert float(made.parameters["b"]) == pytest.approx(2 + 1.5, rel=1e-12)
    assert len(made.file.parts) == 5


# --- runs


@pytest.mark.parametrize("at", [1, 5, 6, 7, 9, 12, 14])
def test_resumed_in_any_block_bit_for_bit(tmp_path: Path, at: int) -> None:
    whole, part = trainer(), trainer()
    found = whole.fit(DATA, validation=0.2)
    with pytest.raises(KeyboardInterrupt):
        part.fit(DATA, validation=0.2, run=tmp_path, callbacks=[Interrupt(at)])
    (folder,) = tmp_path.iterdir()
    again = dlc.Trainer.resume(folder, device="cpu")
    more = again.fit(DATA)
    same(whole, again)
    assert [{**r, "seconds": 0} for r in found.epochs] == [{**r, "seconds": 0} for r in more.epochs]
    assert CompiledFile.load(next(folder.glob("*.onnx"))).updates == 15
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 4, 5]
    assert dlc.Trainer.resume(folder, device="cpu").finished


def test_resumed_between_two_blocks(tmp_path: Path) -> None:
    """Ended by the machine right after the checkpoint with which the second block begins."""
    np.savez(tmp_path / "d.npz", **DATA)

    class Fault(Exception):
        pass

    class Breaking(Callback):
        def on_start(self, start: Any) -> None:
            if "block 2" in start.title:
                raise Fault

    whole, part = trainer(), trainer()
    whole.fit(tmp_path / "d.npz", validation=0.2)
    with pytest.raises(Fault):
        part.fit(tmp_path / "d.npz", validation=0.2, run=tmp_path / "runs", callbacks=[Breaking()])
    (folder,) = (tmp_path / "runs").iterdir()
    told = Checkpoint.load(folder / "checkpoints" / "last.safetensors")
    assert (told.progress.block, told.plan.block, told.progress.finished) == (1, 0, False)
    again = dlc.Trainer.resume(folder, device="cpu")
    again.fit()  # data and validation are those that the first block was given
    same(whole, again)


@pytest.mark.parametrize("where", ["progress", "plan"])
def test_a_checkpoint_of_a_block_that_is_not_there_is_refused(tmp_path: Path, where: str) -> None:
    made = trainer()
    run = made.fit(DATA, run=tmp_path).run
    assert run is not None
    found = Checkpoint.load(run / "checkpoints" / "last.safetensors")
    getattr(found, where).block = 2
    found.save(run / "checkpoints" / "last.safetensors")
    with pytest.raises(dlc.Error) as caught:
        dlc.Trainer.resume(run, device="cpu")
    assert "E0742" in str(caught.value)


def test_only_one_block_of_a_run_stays_alone(tmp_path: Path) -> None:
    part, whole = trainer(), trainer()
    whole.fit(DATA, only=1)
    with pytest.raises(KeyboardInterrupt):
        part.fit(DATA, run=tmp_path, callbacks=[Interrupt(3)], only=1)
    again = dlc.Trainer.resume(next(tmp_path.iterdir()), device="cpu")
    assert again.fit(DATA).steps == 8
    same(whole, again)


def test_a_trained_file_trains_from_its_first_block(tmp_path: Path) -> None:
    made = trainer()
    made.fit(DATA)
    made.save(tmp_path / "m.onnx")
    again = dlc.Trainer(tmp_path / "m.onnx", "cpu")
    noted = Noting()
    again.fit(DATA, callbacks=[noted])
    assert [start.title for start in noted.starts] == ["m, head only, block 1 of 2", "m, block 2 of 2"]
    assert int(again.state["step"]) == 8 and int(again.state["step@1"]) == 12  # their own counts start anew
    fresh = trainer()
    for name in [n for n in made.state if "/" not in n and "@" not in n and n not in ("step", "steps", "key")]:
        fresh.state[name] = made.state[name]
    fresh.progress.step = fresh.progress.begun = 20
    fresh.fit(DATA)
    for name in fresh.parameters:
        np.testing.assert_array_equal(fresh.parameters[name], again.parameters[name], err_msg=name)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "d.npz", **DATA)
    spec = tmp_path / "m.dl"
    spec.write_text(MODEL + TWO)
    data = ["--data", str(tmp_path / "d.npz"), "--runs", str(tmp_path / "runs")]
    assert main(["train", str(spec), *data]) == 0
    out = capsys.readouterr().out
    assert "m, head only, block 1 of 2: 35 rows" in out and "m, block 2 of 2: 35 rows" in out
    assert out.count("epoch ") == 6 and "20 updates in" in out
    for only, updates in (("2", 12), ("head only", 8), ("1", 8)):
        assert main(["train", str(spec), *data, "--only", only, "--json"]) == 0
        assert json.loads(capsys.readouterr().out.splitlines()[-1])["steps"] == updates
    assert main(["train", str(spec), *data, "--only", "heads only"]) == 2
    err = capsys.readouterr().err
    assert "E0638" in err and "head only" in err and "1 (head only), 2" in err
    assert main(["train", "--resume", str(next((tmp_path / "runs").iterdir())), "--only", "1"]) == 2
    for command in ("check", "summary", "fmt"):
        assert main([command, str(spec)]) == 0, capsys.readouterr().err
    assert main(["train", str(spec), *data, "--set", "lr=0.5", "--set", "epochs=1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["steps"] == 8


# --- the spec and the file


def test_settings_of_each_block() -> None:
    file = trainer(TWO.replace("seed: 1;", 'seed: 1; data: "d.npz"; validate: 0.1; stop: patience(2);')).file
    one, two = file.stages
    assert (one.title, two.title) == ("head only", None)
    assert one.settings["freeze"] == ["body.*"] and "freeze" not in two.settings
    for name in ("batch", "data", "validate", "seed", "columns"):
        assert one.settings[name] == two.settings[name]
    assert (one.settings["epochs"], two.settings["epochs"]) == (2, 3)
    assert one.settings["stop"] is not None and two.settings["stop"] is None
    assert file.settings == one.settings and one.settings["lr"] == 0.05 and "lr" not in two.settings


def test_a_file_whose_blocks_are_not_its_passes_is_refused(tmp_path: Path) -> None:
    model = dlc.compile(MODEL + TWO).model_proto()
    for text in ('[{"title": null, "passes": 1, "train": {}}]', "[]", '[{"title": 3}]', "{}"):
        for entry in model.metadata_props:
            if entry.key == "dlc.blocks":
                entry.value = text
        if text != "[]":
            with pytest.raises(dlc.Error) as caught:
                CompiledFile(model)
            assert "E0714" in str(caught.value)


@pytest.mark.parametrize(
    ("blocks", "code"),
    [
        ('train m "a" { minimize loss using sgd }\ntrain m "a" { minimize loss using sgd }', "E0501"),
        ('train m "2" { minimize loss using sgd }\ntrain m { minimize loss using sgd }', "E0501"),
        ('train m " " { minimize loss using sgd }', "E0501"),
        ('train { minimize loss using sgd }\ntrain { load: "w.npz"; minimize loss using sgd }', "E0527"),
        ("train { minimize loss using sgd }\ntrain { seed: 3; minimize loss using sgd }", "E0527"),
        ("train { keep: optimizer; minimize loss using sgd }", "E0527"),
        ("train { minimize loss using sgd }\ntrain { keep: body; minimize loss using sgd }", "E0540"),
        ("train { minimize loss using sgd }\ntrain { epochs: 3 }", "E0509"),
        ("train { minimize loss using sgd }\ntrain { freeze *; minimize loss using sgd }", "E0515"),
        (
            "optimizer o()(theta, g) { state s = 2 * theta; s <- s + g; theta <- theta - s }\n"
            "train { minimize loss using sgd }\ntrain { minimize loss using o }",
            "E0528",
        ),
        ("train { minimize loss using sgd }\ntrain n { minimize loss using sgd }", "E0209"),
    ],
)
def test_each_way_to_get_it_wrong(blocks: str, code: str) -> None:
    with pytest.raises(dlc.Error) as caught:
        dlc.compile(MODEL + blocks)
    assert code in str(caught.value)
