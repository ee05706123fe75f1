"""The page of a model: what it says without a script, that it loads nothing, and in Chromium how it is used.

pytest -m browser tests/test_page.py        # needs chromium, and playwright of the extra [browser]
"""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64decode
from html import unescape
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.cli import main
from dlc.elaborate import elaborate
from dlc.pipeline import differentiate
from dlc.source import Source
from dlc.syntax.parser import read_source
from dlc.view.page import page
from opened import Opened

SPECS = Path(__file__).parent.parent / "specs"
BENCHMARKS = SPECS.parent / "benchmarks"
LABELS = "all => all.map(g => g.getAttribute('aria-label'))"
HOSTILE = [
    form.replace("{}", f"hurt({i})")
    for i in range(25)
    for form in (
        "</script><script>{}</script>",
        "<img src=x onerror={}>",
        '"><svg onload={}>',
        "'-{}-'",
        "`${{}}`",
        "--><script>{}</script><!--",
        "]]><script>{}</script>",
        "javascript:{}\u2028\u202e&lt;script&gt;{}",
    )
]


def made(source: Source, folder: Path | None) -> str:
    written, derived = elaborate(source, folder=folder), elaborate(source, folder=folder)
    differentiate(derived)
    return page(written, lambda: derived)


def page_of(name: str, folder: Path = BENCHMARKS) -> str:
    return made(read_source(folder / f"{name}.dl"), folder)


def data_of(text: str) -> dict[str, Any]:
    told = b64decode(text.partition('id="data">')[2].partition("</script>")[0])
    found: dict[str, Any] = json.loads(zlib.decompress(told))
    return found


def answers(text: str) -> dict[str, str]:
    """What the page says of a model as a whole, by what a reader asks."""
    told = text.partition("<dl>")[2].partition("</dl>")[0]
    return {unescape(a): unescape(b) for a, b in re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", told)}


def test_a_stranger_finds_five_answers_in_the_text() -> None:
    digits = answers(page_of("digits", SPECS))
    assert digits == {
        "goes in": "x float[batch, 64]",
        "target": "y int[batch]",
        "comes out": "metric accuracy; output probability float[batch, 10]",
        "learned": "9,610 numbers in 4 parameters",
        "most of it": "dense(128): 8,320",
        "loss": "categorical of dense(10), y",
        "flows back": "dense(128): ∂loss/∂W, ∂loss/∂b, from ∂ l2(0.0001), ∂ relu",
    }
    gpt = answers(page_of("gpt"))
    assert gpt["goes in"] == "tokens int[batch, 128]" and gpt["most of it"] == "block[0..3] × 4: 793,088"
    assert gpt["flows back"].startswith("token: ∂loss/∂table")
    assert gpt["learned"] == "842,496 numbers in 52 parameters"


@pytest.mark.parametrize("name", ["digits", "xor", "gan", "force", "gpt", "resnet20", "lstm", "deep_residual"])
def test_the_text_of_every_page_answers(name: str) -> None:
    """What goes in, what is learned, where the loss is, which layer holds most, what flows back into the first layer:
    written out of what the page says without its script, and held to the model."""
    folder = SPECS if (SPECS / f"{name}.dl").exists() else BENCHMARKS
    module = elaborate(read_source(folder / f"{name}.dl"), folder=folder)
    told = answers(page_of(name, folder))
    for leaf in module.inputs:
        assert f"{leaf.attrs['name']} {leaf.type}" in told["goes in"]
    sizes = {path: prod(v.type.shape) for path, v in module.variables.items() if v.kind == "parameter"}  # type: ignore[arg-type]
    assert told["learned"] == f"{sum(sizes.values()):,} numbers in {len(sizes):,} parameters"  # type: ignore[arg-type]
    losses = [turn.loss for turn in module.turns] or ["loss"]
    assert told["loss"] and all(loss in told["loss"] for loss in losses if len(losses) > 1)
    most = int(told["most of it"].rpartition(": ")[2].replace(",", ""))
    largest = max(sizes.values())  # type: ignore[type-var]
    assert largest <= most <= sum(sizes.values())  # type: ignore[operator, arg-type]
    back = told["flows back"]
    assert re.search(r"∂\w+/∂\w+", back) and "∂ " in back.partition(", from ")[2]


def test_a_page_is_one_file_that_loads_nothing(tmp_path: Path) -> None:
    target = tmp_path / "digits.html"
    assert main(["graph", str(SPECS / "digits.dl"), "-o", str(target)]) == 0
    text = target.read_text("utf-8")
    assert len(text.encode()) < 120_000
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none';") and "unsafe" not in policy[1] and "http" not in policy[1]
    assert not re.search(
        r"<(link|img|iframe|object|embed)|\ssrc=|\son\w+=|@import|url\(", text.partition("<script>")[0]
    )
    assert text == made(read_source(SPECS / "digits.dl"), SPECS)


def test_a_page_has_each_layer_its_line_and_its_formula() -> None:
    data = data_of(page_of("digits", SPECS))
    assert set(data["views"]) == {"forward", "backward", "update", "step"}
    forward = {item["id"]: item for item in data["views"]["forward"]["groups"]}
    assert forward["dense"]["text"] == ["dense(128)", "8,320 parameters"] and forward["dense"]["at"] == [6]
    assert "x W + b" in forward["dense"]["formula"] and forward["relu"]["formula"] == ["maximum(x, 0)"]
    assert forward["dense[1]"]["formula"] == ["logits = x W + b"]
    assert (forward["dense"]["work"], forward["dense[1]"]["work"]) == ("8,192 batch", "1,280 batch")
    assert forward["relu"]["makes"] == "128 batch"
    assert data["lines"][5].strip().startswith("logits = x |> dense(hidden)")
    backward = {item["id"]: item for item in data["views"]["backward"]["groups"]}
    assert any(text.startswith("∂loss/∂b = ") for text in backward["backward:dense"]["formula"])
    for view in data["views"].values():
        count = len(view["groups"]) + len(view["leaves"])
        assert all(-1 <= item["up"] < len(view["groups"]) for item in [*view["groups"], *view["leaves"]])
        assert all(0 <= end < count for a, b, *_ in view["arrows"] for end in (a, b))
    [blocks] = [item for item in data_of(page_of("gpt"))["views"]["forward"]["groups"] if item["id"] == "block[0]"]
    dense = 128 * 128 * (3 + 1 + 4 + 4) * 128  # numbers of weights of a block, at 128 places
    assert int(blocks["work"].split()[0].replace(",", "")) > 4 * dense
    assert len(data_of(page_of("deep_residual"))["views"]["forward"]["leaves"]) < 20
    assert len(page_of("gpt").encode()) < 160_000  # deflated; the script that lays it out is half of it
    plain = "model m { input x: float[batch, 2]\n output y = 2 * x }"
    assert set(data_of(made(Source("m.dl", plain), None))["views"]) == {"forward"}


def hostile(folder: Path) -> Path:
    path = folder / "<img src=x onerror=hurt(0)>&amp;.dl"
    comments = "\n".join(f"    # {text}" for text in HOSTILE)
    (folder / "d.csv").write_text("x\n1\n")
    path.write_text(
        f"model m {{\n{comments}\n    input x: float[batch, 2]\n    h = x |> dense(2)\n    loss = mean(h^2)\n"
        "    output y = h\n}\ntrain m {\n    minimize loss using sgd(0.1)\n"
        '    data: "</script><script>hurt(1)</script>"\n}\n',
        "utf-8",
    )
    return path


def test_nothing_in_a_page_is_taken_for_markup(tmp_path: Path) -> None:
    text = made(read_source(hostile(tmp_path)), tmp_path)
    assert data_of(text)["lines"] == hostile(tmp_path).read_text("utf-8").split("\n")
    outside = re.sub(r"<script>.*?</script>|<style>.*?</style>", "", text, flags=re.S)
    assert "hurt(" not in outside.replace("&lt;img src=x onerror=hurt(0)&gt;&amp;amp;.dl", "")


def test_a_page_opens_with_the_view_that_was_asked_for(tmp_path: Path) -> None:
    words = ["graph", str(SPECS / "digits.dl"), "-o", str(tmp_path / "a.html")]
    assert main([*words, "--view", "step", "--depth", "1"]) == 0
    data = data_of((tmp_path / "a.html").read_text("utf-8"))
    assert (data["view"], data["depth"]) == ("step", 1)
    assert main([*words[:-1], str(tmp_path / "b.html"), "--only", "dense"]) == 2
    plain = tmp_path / "m.dl"
    plain.write_text("model m { input x: float[batch, 2]\n output y = 2 * x }")
    assert main(["graph", str(plain), "-o", str(tmp_path / "b.html"), "--view", "step"]) == 2
    assert not (tmp_path / "b.html").exists()


def test_losses_that_take_turns_are_losses() -> None:
    leaves = data_of(page_of("gan", SPECS))["views"]["forward"]["leaves"]
    assert {tuple(leaf["text"]) for leaf in leaves if leaf["look"] == "loss"} == {
        ("loss critic_loss",),
        ("loss generator_loss",),
    }


def test_a_notebook_shows_the_page() -> None:
    program = dlc.compile(SPECS / "digits.dl", hidden=32)
    program.model_proto()  # what was lowered is drawn as it was written
    shown = program._repr_html_()
    frame = unescape(shown.partition('srcdoc="')[2].partition('"')[0])
    assert 'sandbox="allow-scripts"' in shown and answers(frame)["most of it"] == "dense(32): 2,080"


def test_a_notebook_reads_no_weights_again(tmp_path: Path) -> None:
    spec = tmp_path / "m.dl"
    spec.write_text(
        "model m {\n input x: float[batch, 2]\n body = dense(2)\n h = body(x)\n loss = mean(h^2)\n output y = h\n}\n"
        'train m {\n minimize loss using sgd(0.1)\n load: "w.npz" on body.*\n}\n'
    )
    np.savez(tmp_path / "w.npz", **{"body.W": np.ones((2, 2)), "body.b": np.ones(2)})
    program = dlc.compile(spec)
    (tmp_path / "w.npz").unlink()
    assert "srcdoc=" in program._repr_html_()


# --- in a browser


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    vae = folder / "vae.dl"
    vae.write_text(
        "model vae {\n  input x: float[batch, 12]\n  h = x |> dense(8) |> relu\n  m = h |> dense(2)\n"
        "  s = exp(h |> dense(2))\n  z = draw(normal(m, s))\n  back = dense(12)(z)\n"
        "  loss fit = mean((back - x)^2)\n  loss kl = mean(m^2 + s^2 - 1 - 2 * log(s)) / 2\n"
        "  output mean_ = m\n  output again = back\n}\ntrain vae { minimize loss using adam(1e-3) }\n"
    )
    found = {}
    for name, source in {
        **{n: BENCHMARKS / f"{n}.dl" for n in ("gpt", "resnet20", "lstm", "deep_residual")},
        "gan": SPECS / "gan.dl",
        "digits": SPECS / "digits.dl",
        "vae": vae,
    }.items():
        found[name] = folder / f"{name}.html"
        assert main(["graph", str(source), "-o", str(found[name])]) == 0
    return found


@pytest.mark.browser
@pytest.mark.parametrize("name", ["digits", "gpt", "resnet20", "lstm", "deep_residual", "vae", "gan"])
def test_each_model_opens_whole_and_legible(chromium: Any, files: dict[str, Path], name: str) -> None:
    opened = Opened(chromium, files[name])
    paint = opened.tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    assert paint < (2000 if name == "deep_residual" else 1000)
    views = opened.tab.eval_on_selector_all(".views button", "all => all.map(b => b.dataset.view)")
    assert views == ["forward", "backward", "update", "step", "predict"]
    for view in views:
        opened.tab.click(f'.views button[data-view="{view}"]')
        frame = opened.tab.evaluate("(({width, height}) => [width, height])(view.getBoundingClientRect())")
        whole = opened.tab.evaluate("(b => [b.width * at.k, b.height * at.k])(extent())")
        assert whole[0] <= frame[0] and whole[1] <= frame[1]
        if view == "forward":
            assert 13 * opened.tab.evaluate("at.k") >= 9
    opened.done()


@pytest.mark.browser
def test_a_click_opens_a_layer_and_another_closes_it(chromium: Any, files: dict[str, Path]) -> None:
    opened = Opened(chromium, files["gpt"])
    before = opened.shown()
    assert "block[0..3] × 4, transformer(4), 793,088 parameters" in before
    opened.click("block[0..3] × 4, transformer(4), 793,088 parameters")
    inside = opened.shown()
    assert "gelu" in inside and "down, dense(128), 65,664 parameters each" in inside
    opened.click("down, dense(128), 65,664 parameters each")
    assert "W, [512, 128]" in opened.shown()
    assert "formula" in opened.tab.inner_text("#about") and "x W + b" in opened.tab.inner_text("#about")
    opened.tab.locator("#scene .group text", has_text="transformer").click()
    assert sorted(opened.shown()) == sorted(before)
    opened.tab.keyboard.press("Enter")
    assert "gelu" in opened.shown()
    opened.done()


@pytest.mark.browser
def test_a_prediction_dims_what_it_does_not_run(chromium: Any, files: dict[str, Path]) -> None:
    opened = Opened(chromium, files["digits"])
    opened.tab.click('.views button[data-view="predict"]')
    dim = opened.tab.eval_on_selector_all("#scene .node.dim", LABELS)
    assert sorted(dim) == ["accuracy", "categorical", "dropout(0.2)", "loss", "metric accuracy", "y, int[batch]"]
    opened.done()


@pytest.mark.browser
def test_what_repeats_is_unrolled(chromium: Any, files: dict[str, Path]) -> None:
    opened = Opened(chromium, files["gpt"])
    opened.tab.click("#unroll")
    blocks = [label for label in opened.shown() if label.startswith("block")]
    assert blocks == [f"block[{i}], transformer(4), 198,272 parameters" for i in range(4)]
    opened.tab.click("#unroll")
    assert "block[0..3] × 4, transformer(4), 793,088 parameters" in opened.shown()
    opened.tab.click('.views button[data-view="update"]')
    assert not opened.tab.is_visible("#unroll")
    opened.done()


@pytest.mark.browser
def test_a_box_and_its_line_light_each_other_up(chromium: Any, files: dict[str, Path]) -> None:
    opened = Opened(chromium, files["digits"])
    opened.click("accuracy")
    assert opened.tab.eval_on_selector_all("#text .on", "all => all.map(s => s.dataset.n)") == ["11"]
    opened.tab.click('#text [data-n="8"]')
    lit = opened.tab.eval_on_selector_all("#scene .node.hit", LABELS)
    assert set(lit) == {"categorical", "loss"}
    opened.tab.keyboard.press("Escape")
    assert opened.tab.locator("#scene .hit").count() == 0
    opened.done()


@pytest.mark.browser
def test_search_keys_theme_zoom_and_links(chromium: Any, files: dict[str, Path]) -> None:
    opened = Opened(chromium, files["gpt"])
    opened.tab.keyboard.press("/")
    opened.tab.keyboard.type("gelu")
    assert int(opened.tab.inner_text("#found").split()[0]) >= 1
    assert opened.tab.locator("#scene .node.hit").count() == 1  # the block that it lies in
    opened.tab.keyboard.press("Enter")
    assert "gelu" in opened.shown()
    opened.tab.keyboard.press("Escape")
    opened.tab.evaluate("show('forward')")
    opened.click("tokens, int[batch, 128]")
    opened.tab.keyboard.press("ArrowDown")
    assert opened.tab.inner_text("#about h2").startswith("token")
    opened.tab.keyboard.press("ArrowUp")
    assert opened.tab.inner_text("#about h2") == "tokens"
    size = opened.tab.evaluate("at.k")
    opened.tab.mouse.move(400, 400)
    opened.tab.mouse.wheel(0, -400)
    opened.tab.wait_for_function(f"at.k > {size} * 1.2")
    dark = opened.tab.get_attribute("#theme", "aria-pressed")
    opened.tab.click("#theme")
    assert opened.tab.get_attribute("#theme", "aria-pressed") != dark
    opened.done()
    linked = Opened(chromium, files["gpt"], where="#backward/backward%3Ablock%5B0%5D.attend")
    assert linked.tab.get_attribute('.views [data-view="backward"]', "aria-pressed") == "true"
    assert linked.tab.inner_text("#about h2").startswith("∂ attend")
    linked.done()


@pytest.mark.browser
def test_nothing_hostile_runs_in_a_browser(chromium: Any, tmp_path: Path) -> None:
    path = tmp_path / "hostile.html"
    path.write_text(made(read_source(hostile(tmp_path)), tmp_path), "utf-8")
    opened = Opened(chromium, path)
    opened.tab.evaluate("() => { window.hurt = i => console.log('hurt ' + i) }")
    for view in ("forward", "backward", "update"):
        opened.tab.click(f'.views [data-view="{view}"]')
    opened.tab.evaluate("now.level(9); draw(); now.items.forEach(item => pick(item.i))")
    assert opened.tab.locator("#text span").count() > len(HOSTILE)
    assert opened.tab.evaluate("document.querySelectorAll('img').length") == 0
    opened.done()


FRAMES = (SPECS.parent / "tests" / "frames.js").read_text("utf-8")
MISPLACED = (SPECS.parent / "tests" / "misplaced.js").read_text("utf-8")
TOUCHING = (SPECS.parent / "tests" / "touching.js").read_text("utf-8")


def smooth(opened: Opened) -> None:
    """60 frames a second: the median of 120, and nine of ten."""
    gaps = sorted(b - a for a, b in pairwise(opened.tab.evaluate(FRAMES)))
    assert gaps[len(gaps) // 2] < 17.5 and gaps[9 * len(gaps) // 10] < 34


@pytest.mark.browser
@pytest.mark.parametrize("name", ["digits", "gpt", "resnet20", "lstm", "deep_residual", "vae", "gan"])
def test_everything_opened_has_a_place_of_its_own(chromium: Any, files: dict[str, Path], name: str) -> None:
    opened = Opened(chromium, files[name])
    for view in opened.tab.evaluate("Object.keys(views)"):
        opened.tab.evaluate(f"unrolled = {'true' if '/' in view else 'false'}; show('{view.partition('/')[0]}')")
        for level in (0, 1, 99):
            took = opened.tab.evaluate(
                f"(t => (now.level({level}), draw(), fit(), performance.now() - t))(performance.now())"
            )
            assert opened.tab.evaluate(MISPLACED) == [], (view, level)
            assert took < 8_000, (view, level)  # a second or less on an idle machine
    opened.done()


@pytest.mark.browser
@pytest.mark.parametrize("name", ["digits", "gpt", "lstm", "vae", "gan"])
def test_shapes_and_arrows_stand_clear_of_boxes_and_each_other(
    chromium: Any, files: dict[str, Path], name: str
) -> None:
    """Shapes wherever there is room: a step of many open layers has none for some. Arrows of the model itself: those
    out of groups, and those into updates, may cut a box."""
    opened = Opened(chromium, files[name])
    for view, levels in {"forward": (0, 1), "backward": (0, 1), "step": (0,)}.items():
        opened.tab.evaluate(f"show('{view}')")
        for level in levels:
            opened.tab.evaluate(f"now.level({level}); draw(); fit()")
            assert opened.tab.locator("#scene .shape").count() > 2
            found = opened.tab.evaluate(TOUCHING)
            assert [one for one in found if view == "forward" or "through" not in one] == [], (view, level)
    opened.done()


@pytest.mark.browser
@pytest.mark.parametrize("size", [None, 0.8])
def test_a_large_model_moves_smoothly_when_all_is_open(
    chromium: Any, files: dict[str, Path], size: float | None
) -> None:
    """Panning a residual network of 20 layers with everything open, seen whole and near."""
    opened = Opened(chromium, files["resnet20"])
    opened.tab.evaluate("now.level(99); draw(); fit()")
    assert opened.tab.evaluate("placed.boxes.size") > 400
    if size is not None:
        opened.tab.evaluate(f"zoom({size} / at.k, 500, 500)")
    smooth(opened)
    opened.done()


@pytest.mark.browser
def test_a_thousand_layers_are_unrolled_and_move_smoothly(chromium: Any, files: dict[str, Path]) -> None:
    opened = Opened(chromium, files["deep_residual"])
    opened.tab.click("#unroll")
    assert opened.tab.evaluate("placed.boxes.size") == 3_007
    assert "block[0], dense(64), 4,160 parameters" in opened.shown()  # it begins with what goes in, legible
    assert 13 * opened.tab.evaluate("at.k") >= 9
    smooth(opened)
    opened.tab.evaluate("now.level(99); draw()")
    assert opened.tab.evaluate("placed.boxes.size") == 8_009
    smooth(opened)
    opened.tab.click("#fit")
    assert opened.tab.evaluate("extent().height * at.k <= view.clientHeight && afar")
    smooth(opened)
    opened.tab.keyboard.press("/")
    opened.tab.keyboard.type("block[777]")
    opened.tab.keyboard.press("Enter")
    assert opened.tab.is_visible('#scene .group[aria-label^="block[777]"]')
    assert opened.tab.locator("#scene .node").count() < 100  # what is far off is not there
    opened.tab.click("#fit")
    middle = opened.tab.evaluate(
        "[at.x + at.k * (extent().x + extent().width / 2), view.getBoundingClientRect().top + view.clientHeight / 2]"
    )
    opened.tab.mouse.click(*middle)  # a click from afar leads there
    assert opened.tab.evaluate("!afar") and "layer" not in opened.tab.inner_text("#about h2")
    opened.done()


@pytest.mark.browser
def test_what_is_far_off_the_screen_is_not_drawn(chromium: Any, files: dict[str, Path]) -> None:
    opened = Opened(chromium, files["resnet20"])
    opened.tab.evaluate("now.level(99); draw(); fit(); zoom(0.8 / at.k, 500, 500)")
    assert 0 < opened.tab.locator("#scene .node").count() < 200
    last = opened.tab.evaluate("[...placed.boxes.keys()].filter(i => now.items[i].look === 'loss')[0]")
    assert opened.tab.locator(f'#scene [data-i="{last}"]').count() == 0
    opened.tab.evaluate(f"pick({last}, true)")
    assert opened.tab.locator(f'#scene [data-i="{last}"]').count() == 1  # what has the focus is there
    opened.done()
