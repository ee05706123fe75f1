"""Members of an ensemble that train at once: what they come to is what they come to one after another."""

from __future__ import annotations

import time
from itertools import product
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import onnxruntime
import pytest
from dlc.runtime import Callback, Error, Trainer, graphs
from dlc.runtime.abreast import ELEMENTWISE, REDUCTIONS, RULES, abreast
from dlc.runtime.checkpoint import Checkpoint
from dlc.runtime.legs import report
from node_cases import node_models
from onnx import ModelProto, TensorProto, numpy_helper, shape_inference
from test_checkpoint import Interrupt, records, same
from test_legs import DATA, LINES, MODEL, SECOND, resumed

MEMBERS = 3
# Without the bias that the normalization takes away again: its gradient is rounding, which Adam makes a step of.
NORMED = MODEL.replace("dense(hidden) |> batch_norm", "dense(hidden, bias = false) |> batch_norm")
ENSEMBLE = LINES + f"; ensemble: {MEMBERS}"
NODE_TESTS = sorted(ELEMENTWISE | REDUCTIONS | RULES.keys())


# --- graphs


def single(model: ModelProto, held: dict[str, np.ndarray]) -> ModelProto:
    """A node test with operands that say where and how much in the file."""
    made = ModelProto()
    made.CopyFrom(model)
    for opset in made.opset_import:
        opset.version = 21
    made.ir_version = 10
    for name, array in held.items():
        [value] = [value for value in made.graph.input if value.name == name]
        made.graph.input.remove(value)
        made.graph.initializer.append(graphs.tensor(name, array))
    return shape_inference.infer_shapes(made)


def session(model: ModelProto) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def turned(x: np.ndarray, turn: int) -> np.ndarray:
    """Other numbers of the same range, for another member."""
    return np.roll(x.reshape(-1), turn).reshape(x.shape)


@pytest.mark.parametrize("op", NODE_TESTS)
def test_a_node_of_all_members_is_that_of_each(op: str) -> None:
    """On the ONNX project's own tests of the operator, whichever of its operands differ among members."""
    tried = 0
    for case in node_models(op):
        model, (inputs, _) = case.model, case.data_sets[0]
        inputs = [numpy_helper.to_array(x) if isinstance(x, TensorProto) else x for x in inputs]
        if not all(isinstance(x, np.ndarray) and x.dtype.isbuiltin for x in inputs):
            continue
        named = dict(zip((value.name for value in model.graph.input), inputs, strict=True))
        held = {n: x for n, x in named.items() if x.dtype == np.int64 and x.ndim < 2 and n != next(iter(named))}
        held = {} if op in ELEMENTWISE or op.startswith("Gather") else held
        try:
            one = single(model, held)
            alone = session(one)
            alone.run(None, {name: x for name, x in named.items() if name not in held})
        except Exception:
            continue
        free = [name for name in named if name not in held]
        for chosen in product((False, True), repeat=len(free)):
            wide = [name for name, here in zip(free, chosen, strict=True) if here]
            made = abreast(one, wide, MEMBERS) if wide else None
            if made is None:
                continue
            tried += 1
            feeds = {
                n: np.stack([turned(named[n], k) for k in range(MEMBERS)]) if n in wide else named[n] for n in free
            }
            found = session(made).run(None, feeds)
            for k in range(MEMBERS):
                own = {n: turned(named[n], k) if n in wide else named[n] for n in free}
                for expected, many in zip(alone.run(None, own), found, strict=True):
                    mine = many[k] if many.ndim > expected.ndim else many
                    if expected.dtype.kind == "f":
                        np.testing.assert_allclose(mine, expected, rtol=2e-5, atol=1e-6, err_msg=case.name)
                    else:
                        np.testing.assert_array_equal(mine, expected, err_msg=case.name)
    assert tried, op


def test_a_graph_with_a_node_that_has_no_wide_form_has_none() -> None:
    text = MODEL.replace("dense(hidden) |>", "rnn_first |>").replace(
        "model m",
        "layer rnn_first()(x: float[batch, n]) -> float[batch, 4] { return (x[:, :, none] |> rnn(4))[:, -1] }\nmodel m",
    )
    one = Trainer(dlc.compile(f"{text}\ntrain m {{ {ENSEMBLE} }}"), device="cpu", together=True)
    history = one.fit(DATA, callbacks=[heard := Heard()])
    assert [r["member"] for r in heard.records] == [k for k in (1, 2, 3) for _ in range(4)]
    assert len(history.results) == 3 and "member 1 of 3" in heard.titles[0]


# --- members


def trainer(lines: str, more: str = "", **options: Any) -> Trainer:
    program = dlc.compile(NORMED + f"\ntrain m {{ {lines} }}{more}", precision="float64")
    return Trainer(program, device="cpu", **options)


class Heard(Callback):
    """What a listener is told."""

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.titles: list[str] = []

    def on_start(self, start: Any) -> None:
        self.titles.append(start.title)

    def on_epoch(self, record: Any) -> None:
        self.records.append(record)


def close(a: Trainer, b: Trainer) -> None:
    assert a.file.ensemble is not None
    for name in a.file.ensemble.state:
        np.testing.assert_allclose(a.state[name], b.state[name], rtol=1e-8, atol=1e-10, err_msg=name)


def alike(a: Any, b: Any) -> None:
    """Records or results, but for seconds and the count of updates."""
    assert len(a) == len(b)
    for one, two in zip(a, b, strict=True):
        left, right = ({n: v for n, v in r.items() if n not in ("seconds", "step")} for r in (one, two))
        for side in ("train", "validation"):
            mine, theirs = left.pop(side), right.pop(side)
            assert mine == theirs if theirs is None else mine == pytest.approx(theirs, rel=1e-8, abs=1e-11)
        assert left == right


VARIANTS = {
    "plain": ENSEMBLE,
    "validated": ENSEMBLE + "; validate: 0.2; test: 0.2",
    "stopped": ENSEMBLE.replace("epochs: 4", "epochs: 40") + "; validate: 0.3; stop: patience(2)",
    "the last": ENSEMBLE.replace("epochs: 4", "epochs: 40") + "; validate: 0.3; stop: patience(2); restore: last",
    "in steps": ENSEMBLE.replace("epochs: 4", "steps: 15"),
    "folds": ENSEMBLE + "; folds: 3; test: 0.2; stop: patience(2)",
    "all rows": ENSEMBLE.replace("batch: 8", "batch: all"),
    "means": ENSEMBLE + "; average: ema(0.9)",
    "frozen": ENSEMBLE + "; freeze dense[0].*",
    "penalties": ENSEMBLE + "; penalty: l2(0.01) on *.W; clip: global_norm(0.5)",
    "weights": ENSEMBLE + "; weights: where(y == 1, 3.0, 1.0)",
    "classes": ENSEMBLE + "; class_weights: balanced",
    "lamb": ENSEMBLE.replace("adam(", "lamb("),
    "whole": ENSEMBLE.replace("adam(cosine(0.05, over = steps))", "sam(adam(0.05))"),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_members_at_once_come_to_what_they_come_to_in_turn(name: str, tmp_path: Path) -> None:
    lines = VARIANTS[name]
    turn, once = trainer(lines, together=False), trainer(lines, together=True)
    apart, heard = Heard(), Heard()
    expected, found = turn.fit(DATA, callbacks=[apart]), once.fit(DATA, run=tmp_path, callbacks=[heard])
    assert "3 members at once" in heard.titles[0]
    close(once, turn)
    alike(found.results, expected.results)
    alike(found.epochs, expected.epochs)
    for member in (1, 2, 3):
        alike(*([r for r in one.records if r["member"] == member] for one in (heard, apart)))
    assert (found.best, found.stopped, found.steps) == (expected.best, expected.stopped, expected.steps)
    assert found.test == pytest.approx(expected.test) if expected.test else found.test is None
    np.testing.assert_allclose(once.predict(DATA)["p"], turn.predict(DATA)["p"], rtol=1e-7)
    assert report(found.results)["mean"]["train"] == pytest.approx(report(expected.results)["mean"]["train"])
    again = Trainer.resume(found.run, device="cpu")
    assert again.finished and again.fit(DATA).results == found.results


@pytest.mark.parametrize(
    ("name", "at"), [(n, at) for n in ("plain", "stopped", "the last", "in steps") for at in (1, 7, 12)]
)
def test_a_run_of_members_at_once_resumes_bit_for_bit(name: str, at: int, tmp_path: Path) -> None:
    whole = trainer(VARIANTS[name])
    whole.parameters["dense.W"] = np.full((3, 4), 0.5)
    expected = whole.fit(DATA)
    part = trainer(VARIANTS[name])
    part.parameters["dense.W"] = np.full((3, 4), 0.5)
    again, found = resumed(part, tmp_path, at)
    same(whole, again)
    assert found.results == expected.results and records(found) == records(expected)


@pytest.mark.parametrize("at", [3, 12, 20, 33])
def test_folds_of_members_at_once_resume_in_any(at: int, tmp_path: Path) -> None:
    whole = trainer(VARIANTS["folds"])
    expected = whole.fit(DATA)
    part = trainer(VARIANTS["folds"])
    with pytest.raises(KeyboardInterrupt):
        part.fit(DATA, run=tmp_path, callbacks=[After(at)])
    again = Trainer.resume(next(tmp_path.iterdir()), device="cpu")
    found = again.fit(DATA)
    same(whole, again)
    assert found.results == expected.results and found.test == expected.test


class After(Interrupt):
    """An interrupt after so many updates that it was told of, whatever their numbers are."""

    told = 0

    def on_step(self, step: int, figures: Any) -> None:
        self.told += 1
        super().on_step(self.told, figures)


def test_members_whose_time_is_over_go_on_later() -> None:
    whole = trainer(VARIANTS["stopped"])
    expected = whole.fit(DATA)
    one, turns = trainer(VARIANTS["stopped"]), 0
    one.fit(DATA, max_time=1e-9)
    assert not one.progress.finished and one.progress.lanes
    while not one.progress.finished and turns < 200:
        history, turns = one.fit(DATA, max_time=0.003), turns + 1
    history = one.fit(DATA) if not one.progress.finished else history
    same(whole, one)
    assert history.results == expected.results


def test_a_listener_sees_the_state_of_the_member_it_is_told_of() -> None:
    seen = []

    class Looks(Callback):
        def on_epoch(self, record: Any) -> None:
            seen.append((record["member"], np.array(one.parameters["dense[1].W"])))

    one = trainer(ENSEMBLE)
    one.fit(DATA, callbacks=[Looks()])
    for member, array in seen[-3:]:
        np.testing.assert_array_equal(one.state["members/dense[1].W"][member - 1], array)


def test_a_listener_to_every_update_hears_each_member_in_turn() -> None:
    class Looks(Callback):
        steps = 0

        def on_step(self, step: int, figures: Any) -> None:
            self.steps += 1

    looks = Looks()
    history = trainer(ENSEMBLE).fit(DATA, callbacks=[looks])
    assert looks.steps == history.steps
    other = trainer(ENSEMBLE)
    other.fit(DATA)
    assert other.progress.step == history.steps


def test_what_a_member_comes_to_that_is_not_finite_is_said_as_in_its_own_training(tmp_path: Path) -> None:
    lines = ENSEMBLE.replace("adam(cosine(0.05, over = steps))", "sgd(1e160)") + "; penalty: l2(1.0) on *.W"
    found = []
    for together in (False, True):
        one = trainer(lines, together=together)
        with pytest.raises(Error) as caught:
            one.fit(DATA, run=tmp_path / str(together))
        found.append((caught.value.code, caught.value.message, caught.value.where))
        folder = next((tmp_path / str(together)).iterdir())
        assert not Checkpoint.load(folder / "checkpoints" / "last.safetensors").progress.lanes
    assert found[0] == found[1] and found[0][0] == "E0670"


def test_a_checkpoint_of_members_that_do_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trainer(ENSEMBLE).fit(DATA, run=tmp_path, callbacks=[Interrupt(7)])
    path = next(tmp_path.iterdir()) / "checkpoints" / "last.safetensors"
    good = Checkpoint.load(path)
    assert len(good.progress.lanes) == 3 and good.each is not None
    bad = Checkpoint.load(path)
    bad.each = {name: array[:2] if array.ndim else array for name, array in good.each.items()}
    none = Checkpoint.load(path)
    none.each = None
    for broken in (bad, none):
        broken.save(path)
        with pytest.raises(Error) as caught:
            Trainer.resume(path.parent.parent, device="cpu")
        assert caught.value.code == "E0740"
    good.save(path)
    assert len(Trainer.resume(path.parent.parent, device="cpu").fit(DATA).results) == 3


@pytest.mark.parametrize("lines", [ENSEMBLE, ENSEMBLE + "; order: y"])
def test_what_does_not_fit_trains_in_turn(lines: str) -> None:
    """Several blocks, and rows of an order that is worked out."""
    more = SECOND if lines == ENSEMBLE else ""
    heard = Heard()
    found = trainer(lines, more, together=True).fit(DATA, callbacks=[heard])
    assert "member 1 of 3" in heard.titles[0] and len(found.results) == 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("", ""), "at once"),
        (("batch: 32", "batch: all"), "at once, with up to 347 rows of data"),
        (("hidden = 24", "hidden = 80"), "one after another: a parameter has 6,400 numbers"),
        (("batch: 32", "batch: 400"), "one after another: a product has 230,400 multiplications"),
        (("batch: 32", "batch: 32; keep: y > 0"), "one after another: rows are chosen for each epoch"),
        (
            ("tanh |> dense(hidden)", "reshape([batch, 1, hidden]) |> lstm(3) |> reshape([batch, 3]) |> dense(hidden)"),
            "one after another: the operator Scan has no form for all of them",
        ),
        (
            ("    test:     0.2\n    seed:     0", '}\ntrain ensemble "again" {\n    minimize loss using sgd(0.01)'),
            "one after another: there are several train blocks",
        ),
    ],
)
def test_check_says_how_members_will_train(change: tuple[str, str], says: str, tmp_path: Path, run: Any) -> None:
    """And a fit does as it was said."""
    spec = Path(__file__).parent.parent / "specs" / "ensemble.dl"
    path = tmp_path / "ensemble.dl"
    text = spec.read_text("utf-8").replace("ensemble: 15", "ensemble: 3").replace("epochs:   120", "epochs: 1")
    text = text.replace("batch:    32", "batch: 32")
    path.write_text(text.replace(*change, 1), "utf-8")
    _, said, _ = run("check", path)
    assert f"3 members, which train {says}" in said
    one = Trainer(dlc.compile(path), device="cpu")
    rows = np.linspace(-1, 1, 500 if "product" in says else 64, dtype=np.float32)
    one.fit({"x": rows[:, None], "y": rows})
    assert one.plan is not None and bool(one.plan.together) == says.startswith("at once")


def test_fifteen_small_networks_at_once_are_much_faster() -> None:
    """Processor time of a whole fit, each the least of three in turns. Seen: 0.45 of the time."""
    text = MODEL.replace("|> batch_norm ", "").replace("|> dropout(0.1) ", "").replace("hidden = 4", "hidden = 16")
    rng = np.random.default_rng(3)
    data = {"x": rng.normal(size=(640, 3)), "y": rng.integers(0, 2, 640)}
    program = dlc.compile(f"{text}\ntrain m {{ minimize loss using adam(0.01); ensemble: 15; epochs: 30; batch: 16 }}")
    spent: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(3):
        for together in (False, True):
            one = Trainer(program, device="cpu", together=together, threads=1)
            before = time.process_time()
            one.fit(data)
            spent[together].append(time.process_time() - before)
    assert min(spent[True]) < 0.6 * min(spent[False]), spent
