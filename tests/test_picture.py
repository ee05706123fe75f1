"""The picture of a graph: what it shows, how it nests, and that nothing in it is taken for markup."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import dlc
import pytest
from dlc.cli import main
from dlc.elaborate import elaborate
from dlc.syntax.parser import make_source, read_source

SPECS = Path(__file__).parent.parent / "specs"


def test_a_model_as_a_person_draws_it() -> None:
    from dlc.view.picture import draw

    picture = draw(elaborate(read_source(SPECS / "digits.dl"), folder=SPECS))
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


def test_a_step_shows_the_new_parameters() -> None:
    from dlc.view.picture import draw

    program = dlc.compile(SPECS / "xor.dl")
    assert program.graphs
    shown = {(box.scope, box.lines[0]) for box in draw(program.module, "step")}
    assert {(("dense",), "W"), ((), "new dense.W"), ((), "new dense[1].b"), (("adam",), "adam/m/dense.W")} <= shown
    assert any(scope[:1] == ("derivatives",) for scope, _ in shown)


def test_every_stage_and_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pygraphviz")
    for stage in ("graph", "predict", "step"):
        for kind in ("dot", "svg", "html"):
            target = tmp_path / f"{stage}.{kind}"
            assert main(["graph", str(SPECS / "digits.dl"), "--stage", stage, "-o", str(target)]) == 0
    assert "arning" not in capsys.readouterr().err
    from xml.etree import ElementTree

    drawn = ElementTree.parse(tmp_path / "graph.svg").getroot()
    texts = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"digits", "dense", "dropout", "W", "[64, 128]", "loss", "output probability"} <= set(texts)
    page = (tmp_path / "graph.html").read_text()
    assert "src=" not in page and "@import" not in page and 'href="http' not in page


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
    from dlc.view.page import page
    from dlc.view.picture import quote

    assert quote('a"b\\N\nc\x07') == '"a\\"b\\\\N\\nc\ufffd"'
    assert "<script>alert" not in page("<script>alert(1)</script>", "")


def test_deep_pictures_are_folded() -> None:
    import networkx as nx
    from dlc.view.picture import Box, fold

    inner = [Box("operation", ("+",), ("block", "dense")), Box("parameter", ("W",), ("block", "dense"))]
    outer = Box("result", ("y",))
    picture: nx.MultiDiGraph = nx.MultiDiGraph()
    picture.add_edge(inner[1], inner[0], label="")
    picture.add_edge(inner[0], outer, label="[3]")
    folded = fold(picture, 1)
    whole = ("folded", ("dense", "1 operations, 1 parameters"))
    assert [(box.kind, box.lines) for box in folded] == [whole, ("result", ("y",))]
    assert [label for *_, label in folded.edges(data="label")] == ["[3]"]


def test_a_large_picture_is_laid_out_in_seconds(tmp_path: Path) -> None:
    """The step of a residual network of 20 layers; beyond the largest it is refused, and given as text."""
    pytest.importorskip("pygraphviz")
    from dlc.diagnostics import CompileError
    from dlc.pipeline import differentiate, optimize
    from dlc.view.picture import LARGEST, QUICK, content, dot, draw

    benchmarks = Path(__file__).parent.parent / "benchmarks"
    before = time.process_time()
    assert QUICK not in dot(draw(elaborate(read_source(SPECS / "digits.dl"), folder=SPECS)))
    drawn = {}
    for name in ("resnet20", "deep_residual"):
        module = elaborate(read_source(benchmarks / f"{name}.dl"), folder=benchmarks)
        differentiate(module)
        optimize(module, "float32")
        drawn[name] = draw(module, "step")
        assert QUICK in dot(drawn[name])
    assert content(drawn["resnet20"], Path("a.svg")).startswith("<svg")
    assert time.process_time() - before < 30
    assert drawn["deep_residual"].number_of_nodes() > LARGEST
    with pytest.raises(CompileError) as caught:
        content(drawn["deep_residual"], Path("a.svg"))
    assert caught.value.code == "E0775"
    assert content(drawn["deep_residual"], Path("a.dot")).startswith("digraph")
