"""`dlc profile`: all that nodes took is in the tables once, by the layers and lines that the metadata say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import dlc
import pytest
from dlc.cli import main
from dlc.reports.flame import page
from dlc.reports.profile import Profile, Spent, _own, layers, made_up, profiled, trace, tree
from dlc.runtime.train import Trainer
from opened import Opened

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def digits() -> Profile:
    return profiled(Trainer(dlc.compile(ROOT / "specs" / "digits.dl"), device="cpu"), "step", calls=8)


def total(found: Profile) -> float:
    return sum(one.took for call in found.calls for one in call) / len(found.calls)


def test_each_table_has_all_of_the_time(digits: Profile) -> None:
    assert digits.rows == 64 and len(digits.calls) == 8 and digits.plain > 0
    for key in ("scope", "source", "op", "side"):
        rows = digits.by(lambda one, key=key: getattr(one, key))
        assert sum(t for _, t, *_ in rows) == pytest.approx(total(digits)) and digits.inside == pytest.approx(
            total(digits)
        )
        assert sum(share for *_, share, _, _ in rows) == pytest.approx(1)
        assert [t for _, t, *_ in rows] == sorted((t for _, t, *_ in rows), reverse=True)
    assert {name for name, *_ in digits.by(lambda one: one.side)} == {"forward", "backward", "update"}
    assert {"dense", "dense[1]"} <= {name for name, *_ in digits.by(lambda one: one.scope)}
    sources = {name.rpartition(":")[0].rpartition(":")[0] or name for name, *_ in digits.by(lambda one: one.source)}
    assert any(source.startswith("digits.dl") for source in sources)


def test_products_are_where_they_are_written(digits: Profile) -> None:
    """The forward products of the layers, which the file names: each in its layer, on the line of the spec."""
    products = {
        one.scope for one in digits.calls[0] if one.op in ("Gemm", "MatMul", "FusedMatMul") and one.side == "forward"
    }
    assert {"dense", "dense[1]"} <= products


@pytest.mark.parametrize("optimizer", ["adam(0.01)", "momentum(0.01)", "sgd(0.01)"])
def test_what_an_update_does_is_its_own_and_the_rest_a_derivative(optimizer: str) -> None:
    """Of a perceptron on cross entropy, whose gradients stand by themselves nowhere in the graph."""
    spec = f"""model m {{
        input x: float[batch, 20]
        target y: int[batch]
        y ~ categorical(logits = x |> dense(16) |> tanh |> dense(3))
    }}
    train m {{
        minimize loss using {optimizer}
        batch: 32
    }}"""
    found = profiled(Trainer(dlc.compile(spec), device="cpu", native=False), "step", calls=1).calls[0]
    sides = {side: [one.op for one in found if one.side == side] for side in ("forward", "backward", "update")}
    assert sides["forward"].count("Gemm") == 2 and "Tanh" in sides["forward"]
    assert "Softmax" in sides["backward"] and {"Softmax", "Tanh", "LogSoftmax"}.isdisjoint(sides["update"])
    if optimizer[:4] != "adam":  # a product adds to a parameter, or to its mean, at once
        assert {"Gemm"} <= set(sides["backward"]) and {"Gemm"} <= set(sides["update"])
    else:
        assert {"Gemm", "MatMul"}.isdisjoint(sides["update"]) and {"Mul", "Add", "Sub"} <= set(sides["update"])


def test_the_tree_holds_what_its_branches_hold(digits: Profile) -> None:
    def check(branch: dict[str, Any]) -> None:
        if branch["inside"]:
            assert sum(each["us"] for each in branch["inside"]) == pytest.approx(
                branch["us"], abs=0.02 * (1 + len(branch["inside"]))
            )
        for each in branch["inside"]:
            check(each)

    check(tree(digits))
    assert layers("block[0].attend.q") == ["block[0]", "attend", "q"] and layers("") == ["(model)"]


def test_bytes_are_those_of_the_values(digits: Profile) -> None:
    """The greatest product of a batch of 64: [64, 128] floats and [64, 128] for its derivative are alive at once."""
    assert digits.peak >= 2 * 64 * 128 * 4 and sum(digits.held.values()) == digits.peak
    forward = [one for one in digits.calls[0] if one.scope == "dense" and one.op == "Gemm" and one.side == "forward"]
    assert [one.made for one in forward] == [64 * 128 * 4]


def test_a_loop_is_not_counted_twice() -> None:
    def event(ts: int, dur: int, op: str) -> dict[str, Any]:
        return {"ts": ts, "dur": dur, "args": {"op_name": op}}

    assert _own([event(0, 100, "Scan"), event(10, 20, "Add"), event(40, 30, "Mul"), event(120, 5, "Add")]) == [
        50,
        20,
        30,
        5,
    ]
    nested = [event(0, 100, "Loop"), event(10, 50, "Scan"), event(20, 10, "Add"), event(70, 10, "Mul")]
    assert _own(nested) == [40, 40, 10, 10]


def test_a_scan_goes_to_its_layer() -> None:
    text = (
        "model m {\n input x: float[batch, 5, 3]\n target y: float[batch, 4]\n h = x |> lstm(4)\n"
        " loss = mean((h[:, -1] - y)^2)\n output o = h\n}\ntrain m { minimize loss using sgd(0.1)\n batch: 8 }\n"
    )
    found = profiled(Trainer(dlc.compile(text), device="cpu"), "step", calls=3)
    assert found.rows == 8 and any(name.startswith("lstm") for name, *_ in found.by(lambda one: one.scope))
    whole = [sum(one.took for one in call) for call in found.calls]
    assert all(a <= b * 1.05 + 50 for a, b in zip(whole, found.outer, strict=True))


def test_data_are_made_up_within_what_a_model_allows() -> None:
    text = (
        "model m {\n input x: float[batch, time, 3]\n input k: int[batch]\n target y: int[batch]\n"
        " h = mean(x, axis = 1) |> dense(4)\n y ~ categorical(logits = h + embedding(3, 4)(k))\n"
        " output o = h\n}\n"
        "train m { minimize loss using sgd(0.1)\n batch: 8 }\n"
    )
    trainer = Trainer(dlc.compile(text), device="cpu")
    columns = made_up(trainer.inputs, 8)
    assert columns.rows == 8 and columns.arrays["x"].shape[0] == 8 and set(columns.arrays["k"]) == {0, 1, 2}
    assert profiled(trainer, "predict", calls=2).what == "predict"


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = str(ROOT / "specs" / "xor.dl")
    assert main(["profile", spec, "--calls", "3", "-o", str(tmp_path / "a.html")]) == 0
    said = capsys.readouterr().out
    assert "one step on 4 rows takes" in said or "rows takes" in said
    assert re.search(r"dense\s+forward", said) and "xor.dl:6" in said
    assert main(["profile", spec, "--calls", "3", "--json", "-o", str(tmp_path / "a.json")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"layers", "lines", "operators", "sides", "peak_bytes"} <= told.keys()
    events = json.loads((tmp_path / "a.json").read_text())["traceEvents"]
    named = [event for event in events if event.get("cat") == "Node" and event["name"].startswith("dense: ")]
    assert named and all({"ts", "dur", "ph"} <= event.keys() and event["args"]["source"] for event in named)
    assert main(["profile", spec, "-o", str(tmp_path / "a.svg")]) == 2
    assert main(["profile", spec, "--calls", "0"]) == 2
    plain = tmp_path / "m.dl"
    plain.write_text("model m { input x: float[batch, 2]\n output y = 2 * x }")
    assert main(["profile", str(plain), "--what", "step"]) == 2
    assert main(["profile", str(plain)]) == 0


def test_nothing_in_a_flame_graph_is_markup() -> None:
    hurt = "</script><img src=x onerror=hurt(1)>"
    one = Spent(hurt, hurt, 0, 5.0, 5.0, 8, hurt, f"{hurt}:1:1", "forward")
    found = Profile(hurt, "step", 4, [[one]], [9.0], 9.0, 8, {hurt: 8}, [])
    text = page(found, {hurt: [hurt]})
    outside = re.sub(r"<script>.*?</script>|<style>.*?</style>", "", text, flags=re.S)
    assert "<img" not in outside and "hurt(1)" in text
    assert json.loads(trace(found))["traceEvents"] == []


@pytest.mark.browser
def test_a_flame_graph_in_a_browser(chromium: Any, digits: Profile, tmp_path: Path) -> None:
    path = tmp_path / "flame.html"
    text = (ROOT / "specs" / "digits.dl").read_text().split("\n")
    path.write_text(page(digits, {"digits.dl": text}), "utf-8")
    opened = Opened(chromium, path, ready="#flame [data-i]")
    before = opened.tab.locator("#flame [data-i]").count()
    assert before > 10
    opened.tab.locator("#flame g.backward").first.click()
    assert opened.tab.inner_text("#told").startswith("backward: ")
    assert opened.tab.locator("#flame g.forward").count() == 0
    opened.tab.click("#whole")
    opened.tab.fill("#find", "dense")
    assert opened.tab.locator("#flame g.hit").count() > 0
    opened.tab.select_option("#by", "bytes")
    opened.done()
