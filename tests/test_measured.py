"""The page of a run says on its boxes what their values are: the numbers of NumPy, and all of the time by layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.cli import main
from dlc.elaborate import elaborate
from dlc.ir.interpret import each, evaluate
from dlc.pipeline import differentiate
from dlc.reports.measured import ROWS, fed, measured, statistics, times, values
from dlc.reports.profile import profiled
from dlc.runtime.train import Trainer
from dlc.syntax.parser import make_source
from dlc.view.page import page
from opened import Opened
from test_page import data_of

SPEC = """
model m {
    input x: float[batch, 3]
    target y: int[batch]
    logits = x |> dense(8) |> relu |> dense(2)
    y ~ categorical(logits = logits)
    output p = softmax(logits)
}
train m { minimize loss using adam(1e-2)
    batch: 16 }
"""


def data(rows: int = 60) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=(rows, 3)).astype("float32"), "y": rng.integers(0, 2, rows)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured")
    (folder / "m.dl").write_text(SPEC)
    np.savez(folder / "d.npz", **data())
    words = ["--data", str(folder / "d.npz"), "--epochs", "3", "--quiet", "--runs", str(folder / "runs")]
    assert main(["train", str(folder / "m.dl"), *words]) == 0
    [run] = (folder / "runs").iterdir()
    return run


def test_boxes_say_what_numpy_says(trained: Path, tmp_path: Path) -> None:
    target = tmp_path / "m.html"
    assert main(["graph", str(trained), "--values", "-o", str(target)]) == 0
    found = data_of(target.read_text("utf-8"))
    held = dlc.load(next(trained.glob("*.onnx"))).values()
    x, y = (array[:ROWS] for array in data().values())
    z = x.astype(float) @ held["dense.W"] + held["dense.b"]
    h = np.maximum(z, 0)
    groups = {item["id"]: item for item in found["views"]["forward"]["groups"]}
    for name, value in (("dense", z), ("relu", h)):
        stats = groups[name]["stats"]
        hand = {"mean": value.mean(), "spread": value.std(), "length": np.linalg.norm(value)}
        assert {key: stats[key] for key in hand} == pytest.approx(hand, rel=2e-3), name
        assert stats["zeros"] == pytest.approx((value == 0).mean(), abs=1e-3)
        assert stats["dead"] == pytest.approx((value == 0).all(0).mean(), abs=1e-3)
    logits = h @ held["dense[1].W"] + held["dense[1].b"]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    off = (p - np.eye(2)[y]) / ROWS
    leaves = found["views"]["backward"]["leaves"]
    gradients = [leaf for leaf in leaves if leaf["look"] == "gradient" and leaf["text"][0] == "∂loss/∂W"]
    lengths = sorted(leaf["stats"]["length"] for leaf in gradients)
    back = (off @ held["dense[1].W"].T) * (z > 0)
    hand = sorted([np.linalg.norm(h.T @ off), np.linalg.norm(x.T.astype(float) @ back)])
    assert lengths == pytest.approx(hand, rel=2e-3)
    assert all(groups[name]["time"] > 0 for name in ("dense", "dense[1]"))
    assert found["measured"].endswith("d.npz")


def test_all_of_the_time_is_that_of_layers(trained: Path) -> None:
    trainer = Trainer(next(trained.glob("*.onnx")), device="cpu")
    found = profiled(trainer, "step", data(), 3)
    layers = times(found)
    whole = sum(one.took for call in found.calls for one in call if one.scope) / 3
    assert sum(t for side in layers.values() for name, t in side.items() if "." not in name) == pytest.approx(whole)


def test_what_cannot_be_known_is_left_out() -> None:
    text = "model m {\n input x: float[batch, 2]\n s = sum(x^2)\n g = grad(s, x)\n output y = 3 * g\n}\n"
    module = elaborate(make_source(text))
    assert {node.op.name for node, _ in each(list(module.graph.outputs.values()), {"x": np.ones((4, 2))})} >= {"input"}
    assert not any(node.op.name == "gradient" for node in values(module, {"x": np.ones((4, 2))}))
    differentiate(module)
    found = values(module, {"x": np.ones((4, 2))})
    assert found[module.graph.outputs["output/y"]]["mean"] == 6
    assert [node.op.name for node, _ in each(list(module.graph.outputs.values()), {})] != []
    every = dict(each(list(module.graph.outputs.values()), {"x": np.ones((4, 2))}))
    [whole] = evaluate([module.graph.outputs["output/y"]], {"x": np.ones((4, 2))})
    np.testing.assert_array_equal(every[module.graph.outputs["output/y"]], whole)


def test_columns_of_a_table_are_measured_as_the_model_sees_them(tmp_path: Path) -> None:
    """Words and what is standardised: of a run on its own rows, and of a file on a table."""
    tables = Path(__file__).parent.parent / "specs" / "tables"
    words = ["train", str(tables / "penguins.dl"), "--epochs", "2", "--quiet", "--runs", str(tmp_path / "runs")]
    assert main(words) == 0
    [run] = (tmp_path / "runs").iterdir()
    target = tmp_path / "a.html"
    assert main(["graph", str(run), "--values", "-o", str(target)]) == 0
    table = str(tables.parent / "data" / "penguins.csv")
    assert main(["graph", str(next(run.glob("*.onnx"))), "--data", table, "-o", str(tmp_path / "b.html")]) == 0
    for path in (target, tmp_path / "b.html"):
        groups = data_of(path.read_text("utf-8"))["views"]["forward"]["groups"]
        assert any("stats" in item for item in groups)


def test_statistics_of_little() -> None:
    assert statistics(np.float64(2.0), False) == {"mean": 2, "spread": 0, "length": 2, "zeros": 0}
    assert "mean" not in statistics(np.array([np.inf, 1.0]), True)
    assert statistics(np.array([[0.0, 1.0], [0.0, 0.0]]), True)["dead"] == 0.5


def test_what_values_are_asked_of(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, target = str(next(trained.glob("*.onnx"))), str(tmp_path / "a.html")
    spec = str(trained / "spec" / "m.dl")
    given = ["--data", str(trained.parent.parent / "d.npz")]
    assert main(["graph", file, *given, "-o", target]) == 0
    assert main(["graph", file, "--values", "-o", target]) == 2
    assert main(["graph", spec, *given, "-o", target]) == 2
    assert main(["graph", file, *given, "-o", str(tmp_path / "a.svg")]) == 2
    assert capsys.readouterr().err.count("error[E0790]") == 3


@pytest.mark.browser
def test_colours_follow_the_values(chromium: Any, trained: Path, tmp_path: Path) -> None:
    trainer = Trainer(next(trained.glob("*.onnx")), device="cpu")
    written, derived = elaborate(make_source(SPEC)), elaborate(make_source(SPEC))
    differentiate(derived)
    assert fed(trainer, data())["x"].shape == (ROWS, 3)
    path = tmp_path / "m.html"
    path.write_text(
        page(
            written,
            lambda: derived,
            measured=measured(trainer, [written, derived], trainer.columns(data(), trainer.inputs)),
            on="d.npz",
        ),
        "utf-8",
    )
    opened = Opened(chromium, path)
    opened.tab.select_option("#scale", "spread")
    filled = opened.tab.eval_on_selector_all("#scene .node > rect", "all => all.filter(r => r.style.fill).length")
    assert filled >= 5 and any(
        "spread" in label for label in opened.tab.locator("#scene .node text").all_text_contents()
    )
    opened.tab.select_option("#scale", "time")
    assert any("µs" in label for label in opened.tab.locator("#scene .node text").all_text_contents())
    opened.tab.select_option("#scale", "")
    assert not opened.tab.eval_on_selector_all("#scene .node > rect", "all => all.filter(r => r.style.fill).length")
    opened.tab.evaluate("now.level(9); draw(); zoom(4, 300, 300)")
    assert opened.tab.is_visible("#map")
    before = opened.tab.evaluate("[at.x, at.y]")
    opened.tab.locator("#map").click(position={"x": 4, "y": 4})
    assert opened.tab.evaluate("[at.x, at.y]") != before
    opened.tab.click("#fit")
    assert not opened.tab.is_visible("#map")
    opened.done()
