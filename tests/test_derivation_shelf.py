"""Derivations of functions of whole rows, of penalties and CTC, and of every spec of the repository."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest
from dlc.elaborate import elaborate
from dlc.ir import interpret
from dlc.pipeline import source_of
from dlc.recursion import deep_recursion
from dlc.runtime.failures import Error
from dlc.syntax.parser import make_source
from dlc.view.derivation import Derivation, derivation
from dlc.view.notation import symbols
from test_derivation import HEAD, ROOT, ROW, TRAIN, Balanced, Wide, derived, lines

# --- functions of whole rows, and penalties: of z, with y for what comes back to them

ROWS = [
    ("sum(softmax(z) * y)", "softmax(z) ⊙ (y − Σ_axis 1 (softmax(z) ⊙ y))"),
    ("sum(log_softmax(z) * y)", "y − (Σ_axis 1 y) ⊙ softmax(z)"),
    ("sum(glu(z) * h)", "concat(h ⊙ σ(z[:, 3:6]), h ⊙ z[:, 0:3] ⊙ σ(z[:, 3:6]) ⊙ (1 − σ(z[:, 3:6])))"),
    ("sum(swiglu(z) * h)", None),
    (  # Kullback and Leibler
        "mean(sum(exp(y) * (y - log_softmax(z)), axis = -1))",
        "((Σ_axis 1 exp(y)) ⊙ softmax(z) − exp(y)) / batch",
    ),
    ("l1(z, 0.1)", "sign(z) / 10"),
    ("l2(z, 0.1)", "z / 5"),
    ("elastic_net(z, 0.1, 0.2)", "0.08 z + sign(z) / 50"),
    ("anchored(z, y, 3)", "6 (z − y)"),
    ("mean(relu(1 - y * z))", None),
    ("sum(z * y / norm(z))", None),
    ("sum(softmax(z)^2)", None),
    ("sum(y * hard_tanh(z))", "y ⊙ [z < 1] ⊙ [z > −1]"),
    ("sum(hard_sigmoid(z))", "([z < 3] ⊙ [z > −3]) / 6"),
    ("mean(huber(z, y, delta = 2))", None),
]


@pytest.mark.parametrize(("expression", "form"), ROWS, ids=[expression for expression, _ in ROWS])
def test_a_function_of_rows(expression: str, form: str | None) -> None:
    """Its form, and that the form is true: NumPy against differences."""
    given = "input z: float[batch, 6]\n    input y: float[batch, 6]\n    input h: float[batch, 3]\n    param p: float"
    text = f"model m {{\n    {given}\n    loss = p^2\n    metric e = {expression}\n}}\n"
    shown = derived(text, "z", "e").formula
    if form is not None:
        assert shown.text == form
    rng = np.random.default_rng(3)
    feeds = {"z": rng.normal(size=(4, 6)) * 2, "y": rng.normal(size=(4, 6)), "h": rng.normal(size=(4, 3))}
    value = elaborate(make_source(text + TRAIN)).graph.outputs["metric/e"]
    named = {"e": interpret.evaluate([value], feeds)[0], "batch": 4}
    found = np.broadcast_to(Wide({**feeds, **named}, 6).formula(shown), (4, 6))
    for place in np.ndindex(4, 6):
        step = np.zeros((4, 6))
        step[place] = 1e-6
        up, down = (float(interpret.evaluate([value], {**feeds, "z": feeds["z"] + s})[0]) for s in (step, -step))
        assert found[place] == pytest.approx((up - down) / 2e-6, rel=1e-5, abs=1e-8)


def test_what_products_share_stands_in_front() -> None:
    assert derived(HEAD.format(body=f"{ROW}\n    loss = focal(z, y)"), "z").formula.text.startswith(
        "u ⊙ (onehot(y) − softmax(z))\n"
    )
    three = "input s: float[batch, 3]\n    input o: float[batch, 3]\n    z = x @ W"
    found = derived(HEAD.format(body=f"{three}\n    loss = triplet(z, s, o)"), "z").formula.text
    assert found.startswith("2 (h ⊙ (o − s))\n")


def test_a_guarded_quotient_shows_no_guard() -> None:
    """A likelihood whose rows are weighted counts as 0 where all weights are 0, which textbooks leave unsaid."""
    text = """model m {
        input x: float[batch, 4]
        input w: float[batch]
        target y: int[batch]
        z = x |> dense(3)
        y ~ weighted(categorical(logits = z), w)
    }"""
    found = derived(text, "dense.b")
    assert lines(text, "dense.b")[3] == "dz = h ⊙ (onehot(y) − softmax(z))"
    assert "and(" not in found.text and "= 0]" not in found.text and "eq′" not in found.text
    assert "h = −w / (Σ w)" in found.text


def defined(found: Derivation) -> None:
    """Each name of a derivation means one thing, and the formula explains all that the spec does not."""
    means: dict[str, set[str]] = {}
    rows = [*found.given, *((step.left, step.right) for step in found.steps)]
    for left, right in rows:
        for symbol, expression in [(left, right.expression), *right.where]:
            if not symbol.adjoint:
                means.setdefault(f"{symbol.name}{symbol.index}", set()).add(repr(expression))
    assert {name: said for name, said in means.items() if len(said) > 1} == {}
    own = {symbol.name for symbol, _ in found.formula.where}
    given = {symbol.name for symbol, _ in found.given}
    letters = {s.name for s in symbols([found.formula.expression, *(e for _, e in found.formula.where)])}
    assert not {name for name in letters - own - given if re.fullmatch(r"[huvw]\d*", name) and name in means}


CTC = """model m {
    input x: float[batch, time, 4]
    target y: int[batch, most]
    param W: float[4, 5]
    z = x @ W
    loss = ctc(z, y)
}
"""


def test_ctc_is_forward_and_backward() -> None:
    """Graves et al. 2006: the forward variables are one recurrence, their adjoints, which run backwards, the other."""
    found = derived(CTC, "W")
    assert found.formula.text.startswith("xᵀ (w − (Σ_axis 2 w) ⊙ softmax(z))\n")
    assert "for each t, from the last to the first:" in found.text
    assert "scan(" not in found.text and "result(" not in found.text
    defined(found)


# --- every spec of the repository

FOLDERS = ("specs", "specs/tables", "benchmarks", "tests/faults")
EVERY = [path for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.dl"))]
NOISE = ("result(", "scan(", "broadcast_to(", "stop_gradient(", "cast(", "and′", "local(")


def _targets(path: Path) -> list[tuple[str, str]]:
    """The first and last parameter, of the loss that depends on it."""
    source, folder = source_of(path)
    module = elaborate(source, folder=folder, weights=False)
    losses = ["loss"] if "loss" in module.graph.outputs else sorted(n for n in module.names if n.endswith("_loss"))
    paths = [path for path, variable in module.variables.items() if variable.kind == "parameter"]
    first = () if path.name == "deep_residual.dl" else paths[:1]  # of 1,000 layers, each of which is a line
    return [(of, by) for by in dict.fromkeys((*first, *paths[-1:])) for of in losses[:1]]


@pytest.mark.parametrize("part", range(4))
def test_every_spec_is_derived(part: int) -> None:
    """In text, LaTeX and HTML, in time that grows with the model, with nothing unfolded in it."""
    for path in EVERY[part::4]:
        try:
            targets = _targets(path)
        except Error:
            continue  # refused on purpose
        for of, by in targets:
            start = time.process_time()
            source, folder = source_of(path)
            try:
                with deep_recursion():
                    found = derivation(elaborate(source, folder=folder, weights=False), of, by)
                    shown, latex, page = found.text, found.latex, found.html
            except Error as problem:
                assert problem.code in ("E0401", "E0402", "E0405"), (path.name, problem)
                continue
            assert not [noise for noise in NOISE if noise in shown], (path.name, by)
            assert latex.count("{") - latex.count(r"\{") == latex.count("}") - latex.count(r"\}"), path.name
            tags = Balanced()
            tags.feed(page)
            assert tags.open == []
            assert time.process_time() - start < 5, path.name
            defined(found)
