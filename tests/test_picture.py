"""The picture of a graph: what it shows, how it nests, and that nothing in it is taken for markup."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from itertools import pairwise
from math import prod
from pathlib import Path
from xml.etree import ElementTree

import dlc
import networkx as nx
import numpy as np
import pytest
from dlc.cli import main
from dlc.diagnostics import CompileError
from dlc.elaborate import elaborate
from dlc.ir.module import Module
from dlc.pipeline import differentiate
from dlc.syntax.parser import make_source, read_source
from dlc.view.box import Box, Picture
from dlc.view.layout import LARGEST, QUICK, content, dot, mermaid, quote, svg
from dlc.view.looks import STYLES
from dlc.view.picture import draw
from dlc.view.tikz import text as latex

SPECS = Path(__file__).parent.parent / "specs"
BENCHMARKS = SPECS.parent / "benchmarks"


def module(name: str, folder: Path = SPECS, derived: bool = False) -> Module:
    made = elaborate(read_source(folder / f"{name}.dl"), folder=folder)
    if derived:
        differentiate(made)
    return made


def texts(picture: Picture) -> set[tuple[str, ...]]:
    return {box.text for box in picture}


def arrows(picture: Picture) -> set[tuple[str, str]]:
    """From which box to which, by their first lines."""
    return {(source.text[0], target.text[0]) for source, target in picture.edges()}


def test_a_model_as_a_person_draws_it() -> None:
    picture = draw(module("digits"))
    boxes = {(box.kind, *box.lines[:1], ".".join(box.scope)) for box in picture}
    assert {
        ("input", "x", ""),
        ("target", "y", ""),
        ("parameter", "W", "dense"),
        ("parameter", "b", "dense[1]"),
        ("operation", "· ÷ 0.8", "dropout"),
        ("operation", "draw < 0.2", "dropout"),
        ("loss", "loss", ""),
        ("result", "output probability", ""),
        ("serving", "@", "dense[1]"),
        ("operation", "@", "dense[1]"),
    } <= boxes
    assert not {"cast", "fold", "constant"} & {line for box in picture for line in box.lines}
    assert "[batch, 128]" in {label for *_, label in picture.edges(data="label")}
    source = make_source("model m { input x: float[batch, time]; output y = sum(x) / (size(x, 0) * size(x, 1)) }")
    assert "· ÷ (batch * time)" in {box.lines[-1] for box in draw(elaborate(source))}


def test_a_layer_and_a_function_are_one_box() -> None:
    picture = draw(module("digits"), depth=0)
    assert texts(picture) == {
        ("x", "float[batch, 64]"),
        ("y", "int[batch]"),
        ("dense(128)", "8,320 parameters"),
        ("relu",),
        ("dropout(0.2)",),
        ("dense(10)", "1,290 parameters"),
        ("categorical",),
        ("accuracy",),
        ("softmax",),
        ("loss",),
        ("metric accuracy",),
        ("output probability", "float[batch, 10]"),
    }
    assert {("x", "dense(128)"), ("dense(128)", "relu"), ("dropout(0.2)", "dense(10)"), ("categorical", "loss")} <= (
        arrows(picture)
    )
    around = [data for source, target, data in picture.edges(data=True) if source.text == ("relu",)]
    assert {(data["label"], data["serving"]) for data in around} == {("[batch, 128]", False), ("[batch, 128]", True)}
    opened = draw(module("digits"), depth=1)
    assert {("W", "[64, 128]"), ("@",)} <= texts(opened) and ("relu",) in texts(opened)
    assert max(draw(module("digits")).number_of_nodes(), 30) > opened.number_of_nodes() > picture.number_of_nodes()


def test_parameters_add_up_at_every_depth() -> None:
    for name in ("gpt", "resnet20", "deep_residual", "lstm"):
        made = module(name, BENCHMARKS)
        whole = sum(prod(v.node.shape) for v in made.variables.values() if v.kind == "parameter")
        for depth in (0, 1, 2, 7):
            picture = draw(made, depth=depth)
            turns = picture.graph["times"]
            counted = sum(
                box.count * box.times * prod(turns.get(box.path[: i + 1], 1) for i in range(len(box.path)))
                for box in picture
            )
            assert counted == whole, (name, depth)


def test_turns_that_are_equal_are_drawn_once() -> None:
    assert ("block[0..3] × 4", "transformer(4)", "793,088 parameters") in texts(
        draw(module("gpt", BENCHMARKS), depth=0)
    )
    resnet = texts(draw(module("resnet20", BENCHMARKS), depth=0))
    assert [first for first, *_ in sorted(resnet) if first.startswith("block")] == [
        "block[0, 0..2] × 3",
        "block[1, 1..2] × 2",
        "block[1,0]",
        "block[2, 1..2] × 2",
        "block[2,0]",
    ]
    assert len([text for text in resnet if text in (("relu",), ("global_avg_pool",))]) == 2
    deep = draw(module("deep_residual", BENCHMARKS), depth=0)
    assert {("block[0..999]", "dense(64)", "4,160 parameters each"), ("relu",), ("+",)} <= texts(deep)
    assert deep.number_of_nodes() == 10 and "× 1,000" in deep.graph["titles"].values()
    unlike = make_source(
        "model m { input x: float[batch, 8]\n h = x\n for i in 0..6 { h = h |> dense(8 if i < 4 else 9) |> tanh }\n"
        " output y = h }"
    )
    assert {
        ("dense[0..3]", "dense(8)", "72 parameters each"),
        ("dense(9)", "81 parameters"),
        ("dense(9)", "90 parameters"),
    } <= (texts(draw(elaborate(unlike), depth=0)))


def test_calls_of_one_pipe_are_apart() -> None:
    pipe = make_source("model m { input x: float[batch, 3]\n output y = x |> dense(4) |> tanh |> dense(5) |> tanh }")
    drawn = draw(elaborate(pipe), depth=0)
    assert [box.text[0] for box in drawn] == ["x", "dense(4)", "tanh", "dense(5)", "tanh", "output y"]
    assert [(a.text[0], b.text[0]) for a, b in drawn.edges()] == list(pairwise(box.text[0] for box in drawn))


@pytest.mark.parametrize("path", [*SPECS.glob("*.dl"), *BENCHMARKS.glob("[!d]*.dl")], ids=lambda path: path.stem)
def test_data_flow_one_way(path: Path) -> None:
    """What is folded into one box was one call or layer: two that are taken for one read each other's results."""
    made = module(path.stem, path.parent)
    for depth in (0, 1, None):
        flow = nx.DiGraph([(a, b) for a, b, data in draw(made, depth=depth).edges(data=True) if not data["next"]])
        assert nx.is_directed_acyclic_graph(flow)


def test_a_schedule_of_two_optimizers_is_drawn_once() -> None:
    update = draw(module("groups", derived=True), "update", depth=0)
    given = {pair for pair in arrows(update) if pair[1].startswith("adamw")}
    assert {("cosine(0.005)", "adamw(decay = 0.1)"), ("cosine(0.005)", "adamw(decay = 0)")} <= given
    assert not [pair for pair in given if pair[0].startswith("adamw")]


def test_an_iteration_of_a_scan_is_drawn_in_it() -> None:
    folded = draw(module("lstm", BENCHMARKS), depth=1)
    assert ("scan t over 28",) in texts(folded)
    picture = draw(module("lstm", BENCHMARKS))
    assert len([box for box in picture if box.lines[0] == "carried"]) == 2
    inside = [box for box in picture if any(place.name == "scan t over 28" for place in box.path)]
    assert {"tanh", "sigmoid", "@", "[:, t]", "carried"} <= {box.lines[0] for box in inside}
    again = [(source.lines[0], target.lines[0]) for source, target, data in picture.edges(data=True) if data["next"]]
    assert sorted(again) == [("+", "carried"), ("×", "carried")]
    nested = make_source(
        "model m { input x: float[batch, time, 3]\n scan t over time { state s: float[batch] = 0\n a = s\n"
        " scan i over 0..3 { state u: float[batch] = 1\n u <- u * x[:, t, i] }\n s <- a + u\n y[:, t] = s }\n"
        " output o = y\n output last = s }"
    )
    drawn = draw(elaborate(nested))
    assert {place.name for box in drawn for place in box.path} >= {"scan t over time", "scan i over 3"}
    assert not {"scan", "result", "local"} & {box.lines[0] for box in drawn}


def test_a_part_of_a_model() -> None:
    made = module("gpt", BENCHMARKS)
    part = texts(draw(made, depth=0, only="block[2].attend"))
    assert ("project", "dense(384)", "49,536 parameters") in part and ("softmax",) in part
    assert not any("token" in text[0] for text in part)
    assert len(draw(made, depth=0, only="block[*].attend")) > len(part)
    with pytest.raises(CompileError) as caught:
        draw(made, depth=0, only="block[7]")
    assert caught.value.code == "E0704" and "block[0]" in str(caught.value)


def test_each_parameter_has_its_gradient() -> None:
    for name, folder in (("digits", SPECS), ("xor", SPECS), ("gpt", BENCHMARKS), ("lstm", BENCHMARKS)):
        made = module(name, folder, derived=True)
        for view in ("backward", "update", "step"):
            gradients = [box for box in draw(made, view) if box.kind == "gradient"]
            learned = [path for path, variable in made.variables.items() if variable.kind == "parameter"]
            assert sorted(box.tip.removeprefix("gradient of ") for box in gradients) == sorted(learned)
    digits = module("digits", derived=True)
    backward = draw(digits, "backward", depth=0)
    assert ("∂ dense(128)", "∂loss/∂W, ∂loss/∂b") in texts(backward)
    assert {("∂ relu", "∂ dense(128)"), ("∂ dense(10)", "∂ dropout(0.2)"), ("∂ l2(0.0001)", "∂ dense(10)")} <= (
        arrows(backward)
    )
    assert ("loss", "∂ categorical") in arrows(backward)
    update = draw(digits, "update", depth=0)
    assert {
        ("∂ dense(10)", "global_norm(1)"),
        ("global_norm(1)", "adam"),
        ("cosine(0.01, warmup = 50)", "adam"),
        ("dense(10)", "adam"),
        ("adam", "dense(10)"),
    } == {pair for pair in arrows(update) if "128" not in "".join(pair)}
    assert ("adam", "keeps m, v") in texts(update) and ("dense(10)", "new W, new b") in texts(update)
    both = texts(backward) | texts(update)
    assert both <= texts(draw(digits, "step", depth=0))


def test_a_step_shows_the_new_parameters() -> None:
    program = dlc.compile(SPECS / "xor.dl")
    assert program.graphs
    shown = {(box.scope, box.lines[0]) for box in draw(program.module, "step")}
    assert {(("dense",), "W"), (("after the step", "dense"), "new W"), (("update",), "adam/m")} <= shown
    assert any(scope[:1] == ("backward",) for scope, _ in shown)
    with pytest.raises(CompileError) as caught:
        draw(elaborate(make_source("model m { input x: float[batch]; output y = x }")), "backward")
    assert caught.value.code == "E0509"


def test_every_view_and_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pygraphviz")
    for stage in ("forward", "predict", "step"):
        for kind in ("dot", "svg", "mmd", "pdf", "png"):
            target = tmp_path / f"{stage}.{kind}"
            assert main(["graph", str(SPECS / "digits.dl"), "--view", stage, "-o", str(target)]) == 0
    assert "arning" not in capsys.readouterr().err
    drawn = ElementTree.parse(tmp_path / "forward.svg").getroot()
    shown = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"digits", "dense(128)", "dropout(0.2)", "8,320 parameters", "loss", "output probability"} <= set(shown)
    assert (tmp_path / "forward.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "forward.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "forward.mmd").read_text().startswith("flowchart TB\n")
    for wrong in (["--depth", "-1"], ["--depth", "two"], ["--only", "nothing"], ["-o", "a.gif"]):
        assert main(["graph", str(SPECS / "digits.dl"), *wrong, *([] if "-o" in wrong else ["-o", "x.dot"])]) == 2
    assert not Path("x.dot").exists()


@pytest.mark.parametrize("name", ["gpt", "resnet20", "deep_residual", "lstm", "lenet5"])
def test_a_folded_model_is_legible_on_a_screen(name: str) -> None:
    """Of 1,400 x 1,000 pixels, whole: the smallest text is 9 pixels high or more."""
    pytest.importorskip("pygraphviz")
    root = ElementTree.fromstring(svg(draw(module(name, BENCHMARKS), depth=0)))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    smallest = min(float(text.attrib["font-size"]) for text in root.iter("{http://www.w3.org/2000/svg}text"))
    assert smallest * min(1400 / width, 1000 / height) >= 9


def test_a_compiled_file_and_a_run_are_drawn_as_their_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "own.dl").write_text("layer twice(n: int)(x) = x |> dense(n) |> tanh |> dense(n)\n")
    spec = tmp_path / "m.dl"
    spec.write_text(
        'import "parts/own.dl"\nmodel m(n = 4, act = relu) {\n input x: float[batch, n]\n'
        " target y: float[batch, n]\n p = act(twice(n)(x))\n loss = mean((p - y)^2)\n output p2 = p\n}\n"
        "train m(lr = 0.1) { minimize loss using sgd(lr) }\n"
    )
    np.savez(tmp_path / "d.npz", x=np.ones((8, 7)), y=np.ones((8, 7)))
    words = ["--set", "n=7", "--set", "act=tanh", "--set", "lr=0.5"]
    assert main(["compile", str(spec), *words, "-o", "m.onnx"]) == 0
    assert main(["train", str(spec), *words, "--data", "d.npz", "--steps", "1", "--runs", "runs", "--quiet"]) == 0
    [run] = (tmp_path / "runs").iterdir()
    for view in ("forward", "step", "predict"):
        assert main(["graph", str(spec), *words, "--view", view, "-o", "spec.dot"]) == 0
        spec_text = (tmp_path / "spec.dot").read_text()
        assert "tanh" in spec_text and "relu" not in spec_text and "112 parameters" in spec_text
        for file in ("m.onnx", str(run)):
            assert main(["graph", file, "--view", view, "-o", "file.dot"]) == 0
            assert (tmp_path / "file.dot").read_text() == spec_text, (view, file)
    assert main(["graph", "m.onnx", "--set", "n=3", "-o", "none.dot"]) == 2
    assert main(["export", "m.onnx", "--inference", "--no-metadata", "-o", "bare.onnx"]) == 0
    assert main(["graph", "bare.onnx", "-o", "none.dot"]) == 2
    assert not (tmp_path / "none.dot").exists()


def test_pictures_are_the_same_in_every_process(tmp_path: Path) -> None:
    made = []
    for seed in ("0", "99"):
        code = "import sys; from dlc.cli import main; sys.exit(main())"
        command = [sys.executable, "-c", code, "graph", str(SPECS / "digits.dl"), "-o", str(tmp_path / f"{seed}.dot")]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        made.append((tmp_path / f"{seed}.dot").read_text())
    assert made[0] == made[1]


def test_a_picture_escapes_what_it_shows() -> None:
    assert quote('a"b\\N\nc\x07') == '"a\\"b\\\\N\\nc\ufffd"'
    picture: nx.MultiDiGraph = nx.MultiDiGraph(title='<script>"&', times={})
    picture.add_edge(
        Box("operation", ('"]; click n0 "javascript:x"',)),
        Box("result", ("`<b>`",)),
        label="a|b",
        serving=False,
        next=False,
    )
    text = mermaid(picture)
    assert not set('"]<`;|') & set(text.partition('["')[2].partition('"]')[0]) - {";"} and "<b>" not in text
    assert "<script>" not in dot(picture)


def test_a_large_picture_is_drawn_in_seconds() -> None:
    """The step of a residual network of 20 layers and of one of 1,000; with every operation the latter is refused, and
    given as text."""
    pytest.importorskip("pygraphviz")
    before = time.process_time()
    assert QUICK not in dot(draw(module("digits")))
    for name in ("resnet20", "deep_residual"):
        made = module(name, BENCHMARKS, derived=True)
        assert svg(draw(made, "step", depth=0)).startswith("<svg")
    whole = draw(made, "step")
    assert time.process_time() - before < 30
    assert whole.number_of_nodes() > LARGEST and QUICK in dot(whole)
    with pytest.raises(CompileError) as caught:
        content(whole, Path("a.svg"))
    assert caught.value.code == "E0775"
    assert str(content(whole, Path("a.dot"))).startswith("digraph")


def test_black_on_white_has_no_colour(tmp_path: Path) -> None:
    picture = draw(module("digits", derived=True), "step", 1)
    for text in (dot(picture, "print"), mermaid(picture, "print"), svg(picture, "print")):
        values = {value.lower() for value in re.findall(r"#[0-9a-fA-F]{6}\b", text)}
        assert values and all(value[1:3] == value[3:5] == value[5:7] for value in values), values
    looks = {kind: tuple(sorted(look.items())) for kind, look in STYLES["print"].looks.items()}
    apart = ["input", "target", "layer", "call", "gradient", "backward", "update", "loss"]
    assert len({looks[kind] for kind in apart}) == len(apart)  # by shade, line and form
    assert STYLES["colour"].looks != STYLES["print"].looks
    assert main(["graph", str(SPECS / "digits.dl"), "--style", "print", "-o", str(tmp_path / "a.html")]) == 2


def braces(text: str) -> bool:
    """Whether the braces of LaTeX text are balanced, those that are escaped left out."""
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text.replace("\\\\", "")):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0


def test_tikz_has_each_box_and_arrow_and_no_command_of_a_name(tmp_path: Path) -> None:
    spec = tmp_path / "m.dl"
    hurt = r"\input{/etc/passwd} 100% $x_1^2$ #&~ ∂"
    spec.write_text(
        "model m {\n input x: float[batch, 2]\n target y: float[batch]\n"
        " z = (x |> dense(3) |> gelu |> dense(1))[:, 0]\n"
        " y ~ normal(z, 1)\n output z = z\n}\ntrain m { minimize loss using adam(1e-2) }\n"
    )
    for view, depth in (("forward", "0"), ("backward", "1"), ("step", "all")):
        target = tmp_path / f"{view}.tex"
        assert main(["graph", str(spec), "--view", view, "--depth", depth, "-o", str(target)]) == 0
        text = target.read_text("utf-8")
        derived = elaborate(read_source(spec), folder=tmp_path)
        differentiate(derived)
        source = elaborate(read_source(spec), folder=tmp_path) if view == "forward" else derived
        picture = draw(source, view, None if depth == "all" else int(depth))
        assert text.count(r"\node[box") == picture.number_of_nodes()
        assert len(re.findall(r"\\draw\[(?:->|<-)", text)) == picture.number_of_edges()
        assert braces(text) and text.isascii()
        used = set(re.findall(r"(?:fill|draw|text)=(c[0-9a-f]{6})", text))
        assert used <= set(re.findall(r"\\definecolor\{(c[0-9a-f]{6})\}\{HTML\}", text))
    shown = latex(hurt)
    assert shown.isascii() and braces(shown) and r"\textbackslash{}input\{" in shown and r"100\%" in shown
    assert not re.search(r"\\(?!textbackslash|textasciicircum|textasciitilde|ensuremath|partial|[{}$&#_%])", shown)


def test_gradients_of_several_losses_are_named_by_their_own() -> None:
    picture = draw(module("gan", derived=True), "backward", 0)
    lines = {line for box in picture for line in box.text if "/∂" in line}
    assert any("∂critic_loss/∂W" in line for line in lines) and any("∂generator_loss/∂W" in line for line in lines)
    assert not any("∂loss/∂" in line for line in lines)
    assert any("∂loss/∂W" in line for box in draw(module("digits", derived=True), "backward") for line in box.text)


def test_a_block_adds_up_what_flows_to_its_own_input() -> None:
    """So the last of several equal blocks has the derivative of the others, whatever reads what it gives."""
    gpt = draw(module("gpt", BENCHMARKS, derived=True), "backward", 0)
    assert [box.text[0] for box in gpt if "block" in box.text[0] and box.side == "backward"] == ["∂ block[0..3] × 4"]
    deep = dlc.compile((BENCHMARKS / "deep_residual.dl").read_text(), depth=6)
    picture = draw(deep.module, "backward", 0)
    blocks = [box.text[0] for box in picture if "block" in box.text[0] and box.side == "backward"]
    assert blocks == ["∂ block[1..5]", "∂ block[0]"]  # nothing flows on from the first
    assert set(picture.graph["times"].values()) == {5, 6}
    assert nx.is_directed_acyclic_graph(nx.DiGraph(picture))


def test_a_layer_that_is_an_argument_lies_in_the_layer_that_it_is_an_argument_of() -> None:
    text = (
        "model m {\n input x: float[batch, 4]\n target y: float[batch, 1]\n"
        " z = x |> spectral_norm(dense(8)) |> relu |> weight_norm(dense(1))\n"
        " loss = mean((z - y)^2)\n output z = z\n}\ntrain m { minimize loss using adam(1e-3) }\n"
    )
    for view, depth in (("forward", 0), ("backward", 0), ("backward", 2)):
        made = elaborate(make_source(text))
        if view == "backward":
            differentiate(made)
        picture = draw(made, view, depth)
        if depth == 0:
            assert nx.is_directed_acyclic_graph(nx.DiGraph(picture)), view  # neither reads what the other makes
            boxes = [box for box in picture if box.side == "forward"]
            assert {"spectral_norm(dense(8))", "weight_norm(dense(1))"} <= {box.text[0] for box in boxes}
            assert not any(box.text[0].startswith("dense") for box in boxes)
            assert ("x", "spectral_norm(dense(8))") in arrows(picture)
        else:
            assert any([place.name for place in box.path[:2]] == ["spectral_norm", "dense"] for box in picture)
    picture = draw(elaborate(make_source(text)), "forward", 0)
    learned = {box.text[0]: box.text[-1] for box in picture if box.kind == "layer"}
    assert learned["spectral_norm(dense(8))"] == "40 parameters"


@pytest.mark.parametrize("depth", [0, 1, 2, None])
@pytest.mark.parametrize("view", ["forward", "backward", "step"])
@pytest.mark.parametrize("line", ["x |> spectral_norm(dense(8))", "x |> weight_norm(dense(8))", "l(x, W = l.W * mask)"])
def test_what_a_layer_is_given_anew_flows_one_way(line: str, view: str, depth: int | None) -> None:
    """A wrapper makes a layer's W of the W that it learns: opened, with the layer folded, there is no circle."""
    made = elaborate(
        make_source(
            f"model m {{ input x: float[batch, 4]; input mask: float[4, 8]; l = dense(8)\n h = {line}\n"
            " loss = mean(h^2) + mean(mask); output y = h }\ntrain m { minimize loss using adam(0.1) }"
        )
    )
    if view != "forward":
        differentiate(made)
    picture = draw(made, view, depth)
    assert nx.is_directed_acyclic_graph(nx.DiGraph(picture.edges()))
    whole = sum(prod(v.node.shape) for v in made.variables.values() if v.kind == "parameter")
    assert sum(box.count for box in picture if box.side == "forward") == whole


@pytest.mark.parametrize("view", ["backward", "step"])
@pytest.mark.parametrize("name", ["digits", "gan", "vae"])
def test_a_layer_stands_for_the_points_whose_means_it_has(name: str, view: str) -> None:
    """`average:` trains other numbers than the layer predicts with: its box is the same, and `ema` keeps the means."""
    text = (SPECS / f"{name}.dl").read_text("utf-8")
    plain = elaborate(make_source(text), folder=SPECS)
    averaged = elaborate(make_source(text.replace(" minimize", " average: ema(0.9)\n minimize", 1)), folder=SPECS)
    for made in (plain, averaged):
        differentiate(made)
    before, after = (texts(draw(made, view, 0)) for made in (plain, averaged))
    assert after - before <= {("ema(0.9)", "keeps mean")} and before <= after
    assert (("ema(0.9)", "keeps mean") in after) == (view == "step")
    whole = draw(averaged, view)
    assert sum(box.count for box in whole) == sum(box.count for box in draw(plain, view))


def test_an_ensemble_is_drawn_by_its_layers() -> None:
    path = SPECS / "digits.dl"
    text = path.read_text("utf-8").replace("    seed:", "    ensemble: 3\n    seed:", 1)
    made = elaborate(make_source(text), folder=SPECS)
    differentiate(made)
    shown = texts(draw(made, "predict", 0))
    assert {("dense(128)", "24,960 parameters"), ("dense(10)", "3,870 parameters"), ("ensemble",)} <= shown
    assert {box.kind for box in draw(made, "predict", 0)} == {"input", "layer", "call", "result"}
