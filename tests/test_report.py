"""`dlc report`: every figure of the page is the run's, what is hostile in a run stays text; in Chromium how it looks.

pytest -m browser tests/test_report.py        # needs chromium, and playwright of the extra [browser]
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dlc.cli import main
from dlc.cli.embedded import module_of
from dlc.reports.curves import by_layer, rates
from dlc.reports.drawn import image_of, png, ticks
from dlc.reports.inside import principal, spread, surface
from dlc.reports.predictions import Classes, Numbers, answers, judged
from dlc.reports.ran import ran
from dlc.runtime.metadata import Norms
from opened import Opened

ROOT = Path(__file__).parent.parent
HURT = "\"><img src=x onerror=hurt(1)><script>hurt(2)</script>'`"

REGRESSION = """
model curve(hidden = 16) {
    input  x: float[batch, 1]
    target y: float[batch]
    z = (x |> dense(hidden) |> tanh |> dense(1))[:, 0]
    y ~ normal(z, 0.1)
    output prediction = z
    metric rmse = sqrt(mean((z - y)^2))
}
train curve {
    minimize loss using adam(1e-2)
    batch: 32
    epochs: 20
    data: "curve.npz"
    validate: 0.25
    seed: 1
}
"""


def trained(folder: Path, spec: Path, *words: str) -> Path:
    """A run of a spec."""
    assert main(["train", str(spec), "--quiet", "--runs", str(folder / "runs"), *words]) == 0
    return max((folder / "runs").iterdir(), key=lambda path: path.stat().st_mtime)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("report")
    x = np.random.default_rng(0).uniform(-2, 2, (200, 1))
    np.savez(folder / "curve.npz", x=x, y=np.sin(2 * x[:, 0]))
    spec = folder / "curve.dl"
    spec.write_text(REGRESSION)
    return {
        "digits": trained(folder / "a", ROOT / "specs" / "digits.dl", "--epochs", "6"),
        "other": trained(
            folder / "b", ROOT / "specs" / "digits.dl", "--epochs", "3", "--set", "hidden=32", "--seed", "1"
        ),
        "curve": trained(folder / "c", spec),
        "xor": trained(folder / "d", ROOT / "specs" / "xor.dl"),
        "vae": trained(folder / "e", ROOT / "specs" / "vae.dl", "--epochs", "4"),
        "gan": trained(folder / "f", ROOT / "specs" / "gan.dl", "--epochs", "4"),
    }


def page_of(folder: Path, *found: Path) -> str:
    target = folder / "report.html"
    assert main(["report", *map(str, found), "-o", str(target)]) == 0
    return target.read_text("utf-8")


def charts_of(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(text.partition('id="data">')[2].partition("</script>")[0])["charts"]
    return found


def records(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", ["digits", "curve", "xor", "vae", "gan"])
def test_every_figure_is_the_runs(runs: dict[str, Path], name: str, tmp_path: Path) -> None:
    text, known = page_of(tmp_path, runs[name]), records(runs[name])
    titles = re.findall(r'<div class="chart"><h3>(.*?)</h3>', text)
    charts = dict(zip(titles, charts_of(text), strict=True))
    for figure in known[0]["train"]:
        chart = charts[figure]
        assert chart["points"] == [record["epoch"] for record in known]
        for series in chart["series"]:
            assert series["values"] == [record[series["label"]][figure] for record in known]
    first = "loss" if "loss" in charts else "critic_loss"
    sides = {series["label"] for series in charts[first]["series"]}
    assert sides == {"train", *(["validation"] if known[0]["validation"] else [])}
    best = ran(runs[name])
    if best.best is not None:
        assert charts[first]["marks"][0]["x"] == best.best
    final = best.final
    assert final is not None
    rows = re.findall(r"<td[^>]*>(.*?)</td>", text.partition("<tbody>")[2].partition("</tbody>")[0])
    for figure, value in final.train.items():
        assert f"{value:.6g}" in rows, figure


def test_predictions_give_the_metrics_again(runs: dict[str, Path], tmp_path: Path) -> None:
    digits = ran(runs["digits"])
    made = judged(digits)
    assert made is not None and digits.final is not None and digits.final.validation is not None
    [found] = made.found
    assert isinstance(found, Classes) and found.target == "y" and found.output == "probability"
    assert found.accuracy == pytest.approx(digits.final.validation["accuracy"], abs=1e-7)
    assert found.matrix().sum() == made.rows and np.trace(found.matrix()) == (found.true == found.predicted).sum()
    assert sum(count for *_, count in found.calibration()) == made.rows
    mean = sum(share * count for _, share, count in found.calibration()) / made.rows
    assert mean == pytest.approx(found.accuracy) and 0 <= found.calibration_error() < 0.2
    text = page_of(tmp_path, runs["digits"])
    assert f"accuracy {digits.final.validation['accuracy']:.6g}" in unescape(text)
    assert text.count('class="image"') > 24
    curve = ran(runs["curve"])
    made = judged(curve)
    assert made is not None and curve.final is not None and curve.final.validation is not None
    [numbers] = made.found
    assert isinstance(numbers, Numbers)
    assert numbers.figures()["rmse"] == pytest.approx(curve.final.validation["rmse"], rel=1e-5)
    assert np.array_equal(numbers.residuals, numbers.true - numbers.predicted)


def test_the_plane_of_two_inputs(runs: dict[str, Path], tmp_path: Path) -> None:
    run = ran(runs["xor"])
    made = judged(run)
    assert made is not None and run.trainer is not None
    [found] = made.found
    drawn = surface(run, made, found)
    assert drawn is not None and isinstance(found, Classes)
    height, width = drawn.values.shape
    for row, label in zip(made.inputs["x"], found.true, strict=True):
        at = (row - drawn.low) / (drawn.high - drawn.low)
        value = drawn.values[round((1 - at[1]) * (height - 1)), round(at[0] * (width - 1))]
        assert value == (run.trainer.predict({"x": row[None]})["probability"][0] > 0.5), label
    assert "What is predicted where" in page_of(tmp_path, runs["xor"])
    curve = ran(runs["curve"])
    made = judged(curve)
    assert made is not None and surface(curve, made, made.found[0]) is None  # of one input


def test_what_is_inside(runs: dict[str, Path], tmp_path: Path) -> None:
    run = ran(runs["digits"])
    made = judged(run)
    assert made is not None
    inner = spread(run, made)
    assert inner is not None and inner.share is not None and inner.what == "what the last layer reads"
    rng = np.random.default_rng(0)
    values = rng.normal(size=(50, 5)) @ rng.normal(size=(5, 5))
    found = principal("", values)
    assert found is not None and found.share is not None
    spreads = np.sort(np.linalg.eigvalsh(np.cov(values.T)))[::-1]
    np.testing.assert_allclose(found.share, spreads[:2] / spreads.sum(), rtol=1e-10)
    np.testing.assert_allclose(np.var(found.points, axis=0, ddof=1), spreads[:2], rtol=1e-10)
    spec = tmp_path / "two.dl"
    spec.write_text(
        "model two {\n input x: float[batch, 6]\n target y: int[batch]\n h = x |> dense(2) |> tanh\n"
        " logits = h |> dense(3)\n y ~ categorical(logits = logits)\n output p = softmax(logits)\n}\n"
        'train two { minimize loss using adam(1e-2)\n epochs: 2\n data: "d.npz" }\n'
    )
    np.savez(tmp_path / "d.npz", x=rng.normal(size=(60, 6)), y=rng.integers(0, 3, 60))
    narrow = ran(trained(tmp_path, spec))
    made = judged(narrow)
    assert made is not None
    inner = spread(narrow, made)
    assert inner is not None and inner.share is None and inner.points.shape == (60, 2)
    held = narrow.file.values()
    hand = np.tanh(made.inputs["x"] @ held["dense.W"] + held["dense.b"])
    np.testing.assert_allclose(inner.points, hand, atol=1e-5)


def test_what_a_model_makes_is_shown(runs: dict[str, Path], tmp_path: Path) -> None:
    """Digits made again beside themselves, digits and points that are drawn, and the code as a plane."""
    text = page_of(tmp_path, runs["vae"])
    run = ran(runs["vae"])
    assert run.trainer is not None and run.columns is not None
    made = judged(run)
    assert made is not None and set(made.outputs) == {"code", "rebuilt", "sample"}
    off = np.sqrt(np.mean((made.outputs["rebuilt"] - made.inputs["x"]) ** 2))
    assert f"Root mean square difference {off:.6g} over 1,797 rows" in text
    again = text.partition("rebuilt: x made again</h3>")[2].partition("<h3>")[0]
    assert again.count("<img") == 2 * again.count('class="sample"') > 0  # a digit, and what was made of it
    drawn = text.partition("sample: drawn</h3>")[2].partition("<h3>")[0]
    assert drawn.count("<img") == 24
    assert "<h3>code, along its two principal components</h3>" in text
    for figure, value in run.trainer.evaluate(run.columns, run.batch).items():
        assert f"{figure} {value:.6g}" in text
    folded = set(run.norms[-1].weights) - set(run.norms[-1].gradients)
    assert all(name in text.partition("Without a gradient of its own")[2].partition("</p>")[0] for name in folded)
    text = page_of(tmp_path, runs["gan"])
    points = text.partition("point: drawn</h3>")[2].partition("</div>")[0]
    assert points.count("<circle") == 600 + 600  # the data, and as many that are drawn
    for figure, value in records(runs["gan"])[-1]["train"].items():
        assert f"{value:.6g}" in text, figure


def test_which_output_answers_which_target() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 20)
    y = p.argmax(1)
    [found] = answers({"y": y}, {"logits": np.log(p), "p": p, "h": rng.normal(size=(20, 7))})
    assert isinstance(found, Classes) and found.output == "p" and found.accuracy == 1
    [found] = answers({"y": y}, {"logits": np.log(p)})
    assert isinstance(found, Classes) and found.confidence is None and found.accuracy == 1
    [one, two] = answers(
        {"e": rng.normal(size=20), "f": rng.normal(size=(20, 2))},
        {"f": rng.normal(size=(20, 2)), "energy": rng.normal(size=20)},
    )
    assert (one.output, two.output) == ("energy", "f") and isinstance(two, Numbers) and two.each == 2
    assert answers({"y": y}, {"h": rng.normal(size=(20, 2))}) == []  # it has no score for class 2
    assert answers({"y": y}, {"p": np.full((20, 3), np.nan)}) == []


def test_runs_side_by_side_say_what_differs(runs: dict[str, Path], tmp_path: Path) -> None:
    text = page_of(tmp_path, runs["digits"], runs["other"])
    differs = text.partition("What differs</h2>")[2].partition("</table>")[0]
    found = {row[0]: row[1:] for row in re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td></tr>", differs)}
    assert found["hidden"] == ("128", "32") and found["train.epochs"] == ("6", "3") and found["seed"] == ("7", "1")
    assert "train.batch" not in found
    loss = charts_of(text)[0]
    assert [series["label"].rpartition(" ")[2] for series in loss["series"]] == ["train", "validation"] * 2
    assert len({series["colour"] for series in loss["series"]}) == 2


def test_the_command_trains_it_again(runs: dict[str, Path], tmp_path: Path) -> None:
    text = page_of(tmp_path, runs["other"])
    command = unescape(text.partition("To train it again</h2><pre>")[2].partition("</pre>")[0])
    words = shlex.split(command)
    assert words[:2] == ["dlc", "train"] and "model.hidden=32" in words
    assert main([*words[1:], "--quiet", "--runs", str(tmp_path / "again")]) == 0
    [again] = (tmp_path / "again").iterdir()

    def told(run: Path) -> list[Any]:
        return [(r["epoch"], r["step"], r["train"], r["validation"]) for r in records(run)]

    assert told(again) == told(runs["other"])


def test_learning_rates_are_those_of_the_schedule(runs: dict[str, Path]) -> None:
    run = ran(runs["digits"])
    chart = rates(run, module_of(run.file, 10_000))
    assert chart is not None
    [curve] = chart.curves
    n = run.steps
    for step, value in curve.values.items():
        hand = 1e-2 * (step / 50 if step <= 50 else 0.5 * (1 + np.cos(np.pi * (step - 51) / (n - 50))))
        assert value == pytest.approx(hand, rel=1e-6, abs=1e-9), step


def test_layers_are_put_together_where_there_are_many() -> None:
    lines = [Norms(1, 5, {f"block[{i}].{part}.W": 3.0 for i in range(4) for part in "abcd"}, {})]
    assert by_layer(lines, "weights") == {f"block[{i}]": {5: 6.0} for i in range(4)}
    assert list(by_layer([Norms(1, 5, {"a.W": 1.0, "b": 2.0}, {})], "weights")) == ["a.W", "b"]


def test_images_and_axes() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert png(pixels)[:8] == b"\x89PNG\r\n\x1a\n"
    assert image_of(np.zeros(64), 0, 1) is not None and image_of(np.zeros(63), 0, 1) is None
    assert image_of(np.zeros((3, 8, 9)), 0, 1).shape == (8, 9, 3)  # type: ignore[union-attr]
    assert image_of(np.array([[0, 5.0]] * 4).repeat(2, 1), 0, 10)[0].tolist() == [0, 0, 128, 128]  # type: ignore[index]
    assert ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0]) and 3 <= len(ticks(-3.7, 912)) <= 7


def test_what_is_wrong_is_told(runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report"]) == 2
    assert main(["report", str(ROOT / "specs" / "digits.dl")]) == 2
    assert main(["report", str(runs["xor"]), "-o", str(tmp_path / "a.pdf")]) == 2
    assert capsys.readouterr().err.count("error[E0790]") == 3
    moved = tmp_path / "moved"
    shutil.copytree(runs["curve"], moved)
    data = next(runs["curve"].parents[2].glob("*.npz"))
    data.rename(data.with_suffix(".gone"))
    try:
        text = page_of(tmp_path, moved)
    finally:
        data.with_suffix(".gone").rename(data)
    assert "no predictions are shown" in text and "Curves" in text
    assert "Predicted against true" in page_of(tmp_path, moved)


def hostile(folder: Path, run: Path) -> Path:
    """A run whose names and texts are markup."""
    made = folder / HURT.replace("/", "")
    shutil.copytree(run, made)
    settings = json.loads((made / "settings.json").read_text())
    settings["train"][HURT] = HURT
    settings["environment"][HURT] = HURT
    (made / "settings.json").write_text(json.dumps(settings))
    lines = records(run)
    for line in lines:
        line["train"][HURT] = 1.0
    (made / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    norms = [json.loads(line) for line in (run / "norms.jsonl").read_text().splitlines()]
    for line in norms:
        line["weights"][HURT] = 1.0
    (made / "norms.jsonl").write_text("".join(json.dumps(line) + "\n" for line in norms))
    return made


class Elements(HTMLParser):
    """What a browser makes of a page: its elements, their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.sources: list[str] = []
        self.said = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes.update(name for name, _ in attrs)
        self.sources += [value or "" for name, value in attrs if name == "src" or (name == "href" and tag != "a")]

    def handle_data(self, data: str) -> None:
        self.said += data


def test_nothing_of_a_run_is_taken_for_markup(runs: dict[str, Path], tmp_path: Path) -> None:
    text = page_of(tmp_path, hostile(tmp_path, runs["xor"]))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None and policy[1].startswith("default-src 'none'; ")
    assert "unsafe" not in policy[1] and "http" not in policy[1]
    found = Elements(text)
    assert not found.names & {"link", "object", "embed", "base", "form"} and "hurt(" in found.said
    assert not any(name.startswith("on") for name in found.attributes)
    assert found.sources and all(value.startswith("data:image/png;base64,") for value in found.sources)


# --- in a browser


@pytest.mark.browser
@pytest.mark.parametrize("name", ["digits", "curve", "xor", "vae", "gan", "two runs", "hostile"])
def test_a_report_opens_and_is_drawn(chromium: Any, runs: dict[str, Path], name: str, tmp_path: Path) -> None:
    shown = {"two runs": [runs["digits"], runs["other"]], "hostile": [hostile(tmp_path, runs["curve"])]}
    text = page_of(tmp_path, *shown.get(name, [runs.get(name, tmp_path)]))
    opened = Opened(chromium, tmp_path / "report.html", ready=".uplot canvas")
    count = len(charts_of(text))
    assert opened.tab.locator(".uplot canvas").count() == count
    drawn = opened.tab.eval_on_selector_all(
        ".uplot canvas",
        "all => all.filter(c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(x => x)).length",
    )
    assert drawn == count
    images = opened.tab.eval_on_selector_all("img", "all => all.every(i => i.complete && i.naturalWidth > 0)")
    assert images
    frame = opened.tab.frame_locator("iframe").first
    opened.tab.locator("iframe").first.scroll_into_view_if_needed()
    frame.locator("#scene .node").first.wait_for()
    opened.done()
