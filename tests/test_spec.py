"""`dlc.spec`: what Python states is the tree that the parser makes of its text, and mistakes are shown in Python."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.diagnostics import CompileError
from dlc.spec import Spec, choose, dl, upto
from dlc.spec.blocks import Block
from dlc.syntax import tree as s
from dlc.syntax.parser import make_source, parse, read_source
from stated import stated
from test_format import shape
from test_guides import blocks as blocks_of, specs, typed
from test_unparse import FOLDERS

__all__ = ["specs"]  # the fixture: a copy of the folder
ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_every_spec_of_the_repository_is_stated_from_python(folder: Path) -> None:
    """Tree, statements of Python, tree: the same, and so is what is parsed of the text that it prints."""
    for path in sorted(folder.rglob("*.dl")):
        try:
            tree = parse(read_source(path))
        except CompileError:
            continue  # broken on purpose
        made = stated(tree)
        assert shape(made.tree) == shape(tree), path
        assert shape(parse(make_source(str(made)))) == shape(tree), path


@pytest.mark.parametrize("name", ["digits", "vae", "xor", "gan"])
def test_it_compiles_to_the_same_file(name: str) -> None:
    made = stated(parse(read_source(ROOT / "specs" / f"{name}.dl")))
    assert dlc.check(made) == dlc.check(str(made))
    bytes_of = [dlc.compile(each).model_proto().SerializeToString(deterministic=True) for each in (made, f"{made}\n")]
    assert bytes_of[0] == bytes_of[1]


# --- expressions


@pytest.mark.parametrize(
    ("stated", "text"),
    [
        (lambda x: -(x**2) + 1, "-x^2 + 1"),
        (lambda x: abs(x - 1) + 1, "abs(x - 1) + 1"),
        (lambda x: (-x) ** -2.5, "(-x)^-2.5"),
        (lambda x: 1 - (x - 2), "1 - (x - 2)"),
        (lambda x: 3 * x @ x // 2 % 5 / x, "3 * x @ x // 2 % 5 / x"),
        (lambda x: x + 1 >> dl.f >> dl.g(2), "x + 1 |> f |> g(2)"),
        (lambda x: (x > 0) & ~(x == 1) | (x != 2), "x > 0 and not x == 1 or x != 2"),
        (lambda x: x[:, 1:, None, ..., ::2], "x[:, 1:, none, ..., ::2]"),
        (lambda x: x.W.b(1, keep=True, axis=[0, -1]), "x.W.b(1, keep = true, axis = [0, -1])"),
        (lambda x: choose(dl.training, x, [x, (1,)]), "x if training else [x, (1,)]"),
        (lambda x: dl.f(range(2, 5), upto(0, x + 1)), "f(2..5, 0..x + 1)"),
        (lambda x: x * float("inf") - float("-inf"), "x * inf - -inf"),
        (lambda x: np.float32(0.5) * x + np.int64(3), "0.5 * x + 3"),
        (lambda x: dl.f('a "b"\n\\'), 'f("a \\"b\\"\\n\\\\")'),
        (lambda x: 2**x, "2^x"),
        (lambda x: 1e22 + x * 1e-9, "1e+22 + x * 1e-09"),
        (lambda x: dl["λ"] + dl.from_ + x, "λ + from_ + x"),
    ],
)
def test_an_expression(stated: Any, text: str) -> None:
    assert repr(stated(dl.x)) == text
    found = parse(make_source(f"fn f(x) = {text}")).declarations[0]
    assert isinstance(found, s.Fn) and isinstance(found.body[0], s.Return)
    assert shape(found.body[0].values[0]) == shape(stated(dl.x)._tree)


def lines(state: Any) -> list[str]:
    spec = Spec()
    with spec.model("m") as m:
        state(m)
    return [line.strip() for line in str(spec).splitlines()[1:-1]]


def test_statements() -> None:
    def state(m: Block) -> None:
        a, b = m.let(("a", "b"), dl.moments(m.x))
        m.let(("c", "d"), (a, b))
        m.skip[0, 1] = a
        m.let("h", a + b, dl.float["batch", "...rest"])
        with m.if_(m.n > 1):
            m.h = 1
        with m.elif_(m.n == 1):
            m.h = 2
            with m.for_("i", range(3)) as i:
                m.h = m.h * i
        with m.else_():
            m.h = 3
        with m.checkpoint():
            m.loss(m.h, name="part")
        with m.layer("inner", ["k"], ["x"]) as inner:
            inner.return_(inner.x * inner.k)
        m.name("let")[0] = m.x >> dl.inner(2)

    assert lines(state) == [
        "a, b = moments(x)", "c, d = a, b", "skip[0, 1] = a", "h: float[batch, ...rest] = a + b",
        "if n > 1 {", "h = 1", "} else if n == 1 {", "h = 2", "for i in 0..3 {", "h = h * i", "}",
        "} else {", "h = 3", "}",
        "checkpoint {", "loss part = h", "}", "layer inner(k)(x) = x * k", "let[0] = x |> inner(2)",
    ]  # fmt: skip


def test_settings() -> None:
    spec = Spec()
    with spec.train("net", title="all of it", lr=1e-3) as t:
        t.let("rate", t.lr / 2)
        t.minimize(dl.loss, using=dl.adam(t.rate), over="*.W and not head.*", every=2, start=3)
        t.freeze("body[*].W, x.*")
        t.columns = {"x": ["a", "b"], "y": ["label"]}
        t.clip = dl.global_norm(1)
        t.setting("penalty", dl.l2(1e-4), on="*.W")
        t.setting("penalty", dl.l1(1e-5), on="*.b")
    assert [line.strip() for line in str(spec).splitlines()] == [
        'train net "all of it"(lr = 0.001) {',
        "rate = lr / 2",
        "minimize loss over *.W and not head.* using adam(rate) every 2 from 3",
        "freeze body[*].W, x.*",
        'columns: { x: ["a", "b"], y: ["label"] }',
        "clip: global_norm(1)",
        "penalty: l2(0.0001) on *.W",
        "penalty: l1(1e-05) on *.b",
        "}",
    ]


# --- mistakes


def problem(state: Any) -> CompileError:
    spec = Spec()
    with pytest.raises(CompileError) as caught:
        with spec.model("net") as m:
            m.input("x", dl.float["batch", 4])
            state(m)
        dlc.check(spec)
    return caught.value


def underlined(found: CompileError) -> list[str]:
    """What of this file is underlined."""
    places = [label.span.shown for label in found.diagnostics[0].labels]
    assert all(place.source.text == Path(__file__).read_text("utf-8") for place in places)
    return [place.text for place in places]


def test_a_mistake_is_shown_at_the_line_of_python() -> None:
    def state(m: Block) -> None:
        m.param("W", dl.float[5, 3])
        for i in range(2):
            m.h = m.x * i
        m.z = 1 + dl.tanh(m.h) @ m.W  # ∂ stands before no column

    found = problem(state)
    line = next(i for i, text in enumerate(Path(__file__).read_text("utf-8").splitlines(), 1) if "# ∂ stands" in text)
    assert underlined(found) == ["dl.tanh(m.h)", "m.W"]
    said = found.render()
    assert re.search(rf"--> .*test_spec.py:{line}:19\n", said) and "m.z = 1 + dl.tanh(m.h) @ m.W" in said
    assert f"(declared on line {line - 3})" in said
    assert "line 6 of the spec that this states: z = 1 + tanh(h) @ W" in said
    assert found.records()[0]["where"] == str(found.diagnostics[0].labels[0].span.shown)


def test_a_mistake_of_a_family_shows_the_values_it_had() -> None:
    def width(n: int) -> Any:
        return dl.dense(n)

    found = problem(lambda m: m.let("z", m.x >> width(4) >> width(-1)))
    assert found.code == "E0319" or "dense(-1)" in found.render()


@pytest.mark.parametrize(
    ("state", "code", "place"),
    [
        (lambda m: setattr(m, "z", m.x * np.ones(3)), "E0148", "m.x * np.ones(3)"),
        (lambda m: setattr(m, "z", np.ones(3) @ m.x), "E0148", "np.ones(3) @ m.x"),
        (lambda m: m.loss(max), "E0148", "m.loss(max)"),
        (lambda m: m.let("2nd", 1), "E0148", 'm.let("2nd", 1)'),
        (lambda m: m.let("a b", 1), "E0148", 'm.let("a b", 1)'),
        (lambda m: m.let("if", 1), "E0111", 'm.let("if", 1)'),
        (lambda m: m.let("loss", 1), "E0111", 'm.let("loss", 1)'),
        (lambda m: m.input("y", "float[batch]"), "E0148", 'm.input("y", "float[batch]")'),
        (lambda m: m.state("s"), "E0148", 'm.state("s")'),
        (lambda m: m.else_(), "E0148", "m.else_()"),
        (lambda m: m.loss(dl.f("\r")), "E0148", r'dl.f("\r")'),
        (lambda m: m.loss(m.x if m.x > 0 else 0), "E0149", "m.x > 0"),
        (lambda m: m.loss(0 < m.x < 1), "E0149", "0 < m.x < 1"),
        (lambda m: m.loss([*m.x]), "E0149", "[*m.x]"),
        (lambda m: m.loss(3 in m.x), "E0149", "3 in m.x"),
        (lambda m: m.loss(2**63 * m.x), "E0109", "2**63 * m.x"),
    ],
)
def test_what_has_no_form_is_said_as_it_is_stated(state: Any, code: str, place: str) -> None:
    found = problem(state)
    assert found.code == code and len(underlined(found)) == 1
    assert underlined(found)[0] in place or place in underlined(found)[0]


def test_a_pattern_that_does_not_parse() -> None:
    def state(m: Block) -> None:
        Spec().train().freeze("*.[")

    assert underlined(problem(state)) == ['Spec().train().freeze("*.[")']


def test_without_the_text_of_the_program_the_spec_is_shown(tmp_path: Path) -> None:
    code = (
        "import dlc\nfrom dlc.spec import Spec, dl\ns = Spec()\nm = s.model('m')\nm.z = dl.nothing\n"
        "try: dlc.check(s)\nexcept dlc.Error as e: print(e)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "--> <spec>:2:9" in done.stdout and "z = nothing" in done.stdout


def test_what_trains_it_says_where(tmp_path: Path) -> None:
    """The file holds the text, and places in it: it is what `dlc decompile` recovers."""
    spec = Spec()
    with spec.model("m") as m:
        m.loss(dl.mean((m.input("x", dl.float["batch", 4]) @ m.param("w", dl.float[4])) ** 2))
    with spec.train() as t:
        t.minimize(dl.loss, using=dl.sgd(0.1))
    program = dlc.compile(spec)
    path = program.save(tmp_path / "m.onnx")
    assert dlc.load(path).sources.files["spec.dl"] == str(spec) + "\n"
    trainer = dlc.fit(spec, {"x": np.ones((8, 4), "float32")}, epochs=2)
    assert len(trainer.history.epochs) == 2
    assert program.derivative("w").formula.text == dlc.compile(str(spec)).derivative("w").formula.text
    assert "∂loss/∂v" in str(program.derivative("w"))
    for name, begins in (("m.html", "<!DOCTYPE"), ("m.mmd", "flowchart"), ("m.dot", "")):
        assert program.draw(tmp_path / name, view="forward").read_text("utf-8").startswith(begins)
    with pytest.raises(dlc.Error, match="E0792"):
        program.draw(tmp_path / "m.html", view="sideways")
    assert spec.save(tmp_path / "m.dl").read_text("utf-8") == str(spec) + "\n"
    with pytest.raises(dlc.Error, match="E0739"):
        spec.save(tmp_path / "none" / "m.dl")


def test_stating_is_linear() -> None:
    """In the number of statements, however long an expression is on its left."""

    def took(n: int) -> float:
        start = time.process_time()
        spec = Spec()
        with spec.model("m") as m:
            h = m.input("x", dl.float["batch", 4])
            for _ in range(n):
                h = h + 1
            m.output("o", h)
            for i in range(n):
                m.let(f"h{i}", m.x + i)
        assert spec.source.text.count("\n") == n + 4
        return time.process_time() - start

    took(100)
    assert took(8_000) < 16 * took(1_000)


# --- the page


def test_the_page_runs(specs: Path) -> None:
    """Every block, one after another in one Python, as a reader types them."""
    found = blocks_of("specs-from-python")
    said = typed("py", "\n".join(text for kind, text in found if kind == "py"), specs)
    [shown] = [text for kind, text in found if kind == "dl"]
    assert said.startswith(shown) and dlc.check(shown) == []
    assert dlc.check(specs / "generated.dl") == [] and (specs / "digits.svg").exists()
    assert "scan t over time {" in said and "h <- tanh(x[:, t] @ W + h @ U)" in said
