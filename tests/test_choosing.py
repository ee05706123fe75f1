"""`keep:` and `order:`: which rows an epoch takes, and in which order, as the compiled file works it out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlc
import numpy as np
import onnxruntime
import pytest
from dlc.cli import main
from dlc.runtime import Callback, random
from onnx import helper, numpy_helper
from test_checkpoint import Interrupt, same

SPECS = Path(__file__).parents[1] / "specs"
SPEC = """model m {
    input  x: float[batch, 3]
    input  hard: float[batch]
    input  rank: int[batch]
    target y: float[batch]
    p = (x |> dense(4) |> tanh |> dense(1))[:, 0]
    loss = squared(p, y)
    metric bias = mean(p - y)
    output p = p
}
train {
    minimize loss using adam(cosine(0.05, over = steps))
    batch: 8
    seed: 5
    LINES
}
"""


def trainer(lines: str, text: str = SPEC) -> dlc.Trainer:
    return dlc.Trainer(dlc.compile(text.replace("LINES", lines), precision="float64"), device="cpu")


def rows(count: int = 50) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(count, 3))
    hard = rng.uniform(0, 1, count).round(2)
    return {"x": x, "hard": hard, "rank": rng.integers(0, 4, count), "y": np.sin(x).sum(1)}


def by_hand(one: dlc.Trainer, data: dict[str, np.ndarray], epochs: int, keep: Any = None, order: Any = None) -> None:
    """The same epochs in a loop of steps; `keep` and `order` give the values of all rows in an epoch, from 1."""
    count = len(data["x"])
    chosen = []
    for epoch in range(epochs):
        places = random.permutation(count, seed=5, purpose=random.ORDER, turn=epoch)
        if keep is not None:
            places = places[keep(epoch + 1)[places]]
        if order is not None:
            places = places[np.argsort(order(epoch + 1)[places], kind="stable")]
        chosen.append(places)
    one.state["steps"] = np.array(sum(-(-len(places) // 8) for places in chosen))
    for places in chosen:
        for first in range(0, len(places), 8):
            one.step({name: array[places[first : first + 8]] for name, array in data.items()})


HARD = rows()["hard"]
CASES = [
    ("keep: hard < 0.2 * epoch", lambda e: 0.2 * e > HARD, None),
    ("keep: hard < 0.3", lambda e: HARD < 0.3, None),
    ("order: rank", None, lambda e: rows()["rank"]),
    ("order: -hard", None, lambda e: -HARD),
    ("keep: epoch > 2 or hard < 0.5; order: where(epoch % 2 == 0, hard, x[:, 0])",
     lambda e: (HARD < 0.5) | (e > 2), lambda e: HARD if e % 2 == 0 else rows()["x"][:, 0]),
    ("order: abs(y)", None, lambda e: np.abs(rows()["y"])),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "keep", "order"), CASES, ids=[lines for lines, _, _ in CASES])
def test_a_fit_is_the_loop_over_the_rows_that_are_chosen(lines: str, keep: Any, order: Any) -> None:
    fitted, stepped, data = trainer(lines + "; epochs: 4"), trainer(lines + "; epochs: 4"), rows()
    history = fitted.fit(data)
    by_hand(stepped, data, 4, keep, order)
    same(fitted, stepped)
    assert history.steps == int(fitted.state["steps"])


@pytest.mark.parametrize("at", [1, 2, 5, 6, 9, 11])
def test_resumed_from_the_middle(tmp_path: Path, at: int) -> None:
    lines = "keep: hard < 0.25 * epoch; order: rank; epochs: 4; validate: 0.2"
    whole = trainer(lines)
    expected = whole.fit(rows())
    with pytest.raises(KeyboardInterrupt):
        trainer(lines).fit(rows(), run=tmp_path, callbacks=[Interrupt(at)])
    (folder,) = tmp_path.iterdir()
    again = dlc.Trainer.resume(folder, device="cpu")
    assert again.progress.step == at
    found = again.fit(rows())
    same(whole, again)
    assert [r["train"] for r in found.epochs] == [r["train"] for r in expected.epochs]
    assert [r["validation"] for r in found.epochs] == [r["validation"] for r in expected.epochs]


def test_the_figures_of_an_epoch_are_of_its_rows() -> None:
    one, data = trainer("keep: hard < 0.2 * epoch; epochs: 1"), rows()
    kept = {name: array[data["hard"] < 0.2] for name, array in data.items()}
    expected = one.evaluate(kept)
    found = one.fit(data, batch="all").epochs[0]["train"]
    assert found == pytest.approx(expected, rel=1e-12)


def test_each_train_block_chooses_for_itself() -> None:
    text = SPEC.replace("LINES", "keep: hard < 0.5; epochs: 2") + "train { minimize loss using sgd(0.01); epochs: 1 }"
    text += "\ntrain { minimize loss using sgd(0.01); order: hard; epochs: 1; keep: rank == 0 }"
    one, data = dlc.Trainer(dlc.compile(text), device="cpu"), rows()
    steps = []

    class Count(Callback):
        def on_epoch(self, record: Any) -> None:
            steps.append(record["step"])

    one.fit(data, callbacks=[Count()])
    per = [int((data["hard"] < 0.5).sum()), int((data["hard"] < 0.5).sum()), 50, int((data["rank"] == 0).sum())]
    assert steps == list(np.cumsum([-(-n // 8) for n in per]))


def test_the_optimizer_may_be_kept_beside_rows() -> None:
    text = (
        SPEC.replace("LINES", "epochs: 1")
        + "train { keep: optimizer; keep: hard < 0.5; minimize loss using adam(0.01); epochs: 1 }"
    )
    one, data = dlc.Trainer(dlc.compile(text), device="cpu"), rows()
    assert one.fit(data).steps == 7 + -(-int((data["hard"] < 0.5).sum()) // 8)
    assert one.file.stages[1].settings["keep"] == "optimizer"


def test_all_rows_in_one_batch_are_those_that_are_kept() -> None:
    one, other, data = trainer("keep: hard < 0.3; epochs: 1"), trainer("keep: hard < 0.3; epochs: 1"), rows()
    kept = {name: array[data["hard"] < 0.3] for name, array in data.items()}
    assert one.fit(data, batch="all").steps == 1
    other.fit(kept, batch="all")
    same(one, other)


def test_an_epoch_without_rows_is_refused() -> None:
    with pytest.raises(dlc.Error) as caught:
        trainer("keep: hard > epoch; epochs: 1").fit(rows())
    assert caught.value.code == "E0680"


def test_an_order_by_no_number_is_refused() -> None:
    with pytest.raises(dlc.Error) as caught:
        trainer("order: log(x[:, 0]); epochs: 1").fit(rows())
    assert caught.value.code == "E0681"


def test_what_a_step_need_not_read_is_no_part_of_its_data() -> None:
    one = trainer("keep: hard < 0.5; steps: 10")
    assert [field.name for field in one.inputs] == ["x", "y"]
    one.step({name: rows()[name][:8] for name in ("x", "y")})


def test_stock_onnx_runtime_makes_the_same_run() -> None:
    """As docs/file-format.md says it: rows are chosen by outputs of the algorithm, classes are counted into state."""
    text = SPEC.replace("loss = squared(p, y)", "target c: bool[batch]\n    c ~ bernoulli(logits = p - y)")
    lines = "keep: hard < 0.3 * epoch; order: rank; class_weights: balanced; epochs: 3"
    ours, data = trainer(lines, text), {**rows(), "c": rows()["x"][:, 1] > 0.6}
    ours.fit(data)
    model = dlc.compile(text.replace("LINES", lines), precision="float64").model_proto()
    [info] = model.training_info
    assert {p.key: p.value for p in model.metadata_props}["dlc.format"] == "2"
    bound = {entry.key: entry.value for entry in info.update_binding}
    held = {t.name: t for t in (*model.graph.initializer, *info.algorithm.initializer)}
    said = [n for n in held if n in ("steps", "rows/epoch") or n.startswith("observations")]
    outputs = {value.name: value for value in info.algorithm.output}

    def session(wanted: list[str]) -> Any:
        graph = helper.make_graph(
            [*model.graph.node, *info.algorithm.node],
            "part",
            [
                *model.graph.input,
                *info.algorithm.input,
                *(helper.make_tensor_value_info(n, held[n].data_type, held[n].dims) for n in (*bound, *said)),
            ],
            [outputs[name] for name in wanted],
            [t for n, t in held.items() if n not in bound and n not in said],
        )
        made = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
        return onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])

    state = {name: numpy_helper.to_array(held[name]) for name in (*bound, *said)}
    start = helper.make_model(info.initialization, opset_imports=model.opset_import, ir_version=model.ir_version)
    start = onnxruntime.InferenceSession(start.SerializeToString())
    made = dict(zip([o.name for o in start.get_outputs()], start.run(None, {}), strict=True))
    state.update({b.key: made[b.value] for b in info.initialization_binding if b.key in state})
    state["observations/c"] = np.bincount(data["c"], minlength=2)
    choose, step = session(["rows/keep", "rows/order"]), session(list(bound.values()))

    def run(which: Any, rows: Any, **more: Any) -> Any:
        fed = {**{name: array[rows] for name, array in data.items()}, **state, **more}
        return which.run(None, {i.name: fed[i.name] for i in which.get_inputs()})

    orders = []
    for epoch in range(3):
        keep, order = run(choose, slice(None), **{"rows/epoch": np.array(epoch + 1)})
        places = random.permutation(50, seed=5, purpose=random.ORDER, turn=epoch)
        places = places[keep[places]]
        orders.append(places[np.argsort(order[places], kind="stable")])
    state["steps"] = np.array(sum(-(-len(order) // 8) for order in orders))
    for order in orders:
        for first in range(0, len(order), 8):
            state.update(zip(bound, run(step, order[first : first + 8]), strict=True))
    for name in ours.parameters:
        np.testing.assert_allclose(state[name], ours.parameters[name], rtol=1e-10)


def test_the_curriculum_of_the_specs(tmp_path: Path) -> None:
    """It grows, learns, and goes on from the middle of a run bit for bit."""
    program = dlc.compile(SPECS / "curriculum.dl")
    whole = dlc.Trainer(program, device="cpu")
    history = whole.fit()
    steps = np.diff([0, *(record["step"] for record in history.epochs)])
    assert (np.diff(steps) >= 0).all() and steps[0] < steps[-1] / 2
    assert history.epochs[-1]["validation"]["accuracy"] > 0.93
    with pytest.raises(KeyboardInterrupt):
        dlc.Trainer(program, device="cpu").fit(run=tmp_path, callbacks=[Interrupt(40)])
    (folder,) = tmp_path.iterdir()
    assert main(["train", "--resume", str(folder), "--quiet"]) == 0
    same(whole, dlc.Trainer.resume(folder, device="cpu"))
