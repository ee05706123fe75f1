"""What names, imports, settings, the train block and draws mean, and where elaboration ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dlc.pipeline import check
from dlc.source import Source
from spec_cases import SGD, Spec, X, body, codes

# --- names, imports, settings


def test_a_name_hides_a_function_with_a_warning() -> None:
    assert body("exp = x + 1\noutput z = exp").warnings == ["W0201"]
    assert body("param mean: float\noutput z = x + mean").warnings == ["W0201"]
    waits = "distribution waits(rate)(y) { log_density = -rate * y; mean = 1 / rate; std = mean; output mean = mean }"
    assert Spec(waits + "\nmodel m { input x: float[b, 3]; output z = waits(x).mean }").warnings == []
    spec = Spec("fn relu(x) = x + 1\nmodel m { input x: float[b]; output z = relu(x) }")
    assert spec.warnings == ["W0202"]
    np.testing.assert_allclose(spec.get("z", {"x": X[0]}), X[0] + 1)
    spec = Spec("fn exp(x) = x + 1\nmodel m { input x: float[b]; output z = exp(x) }")
    assert spec.get("z", {"x": X[0]})[0] == X[0, 0] + 1


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.dl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder


def test_imports(tmp_path: Path) -> None:
    write(
        tmp_path,
        main='import "parts/a.dl"\nimport "parts/b.dl" as b\nimport std.activations as act\n'
        "model m { input x: float[n]; output z = a(x) + b.c(x) + act.relu(x) }",
        parts__a='import "b.dl"\nfn a(x) = 100 * c(x)',
        parts__b='import "a.dl"\nimport "../main.dl"\nfn c(x) = x + 1\nfn d(x) = a(x)',  # a circle
    )
    spec = Spec("main.dl", folder=tmp_path)
    np.testing.assert_allclose(spec.get("z", {"x": X[0]}), 101 * (X[0] + 1) + np.maximum(X[0], 0))
    assert list(spec.module.sources)[1:] == ["parts/a.dl", "parts/b.dl", "std/activations.dl"]


def test_imports_that_fail(tmp_path: Path) -> None:
    write(
        tmp_path,
        out="fn f(x) = x",
        inner__main='import "../out.dl"\nimport "none.dl"\nimport std.nothing\nimport other.thing\n'
        + f'import "{"x" * 400}.dl"\nmodel m {{ output z = 1 }}',
    )
    assert sorted(codes("main.dl", folder=tmp_path / "inner")) == ["E0204", "E0204", "E0205", "E0205", "E0207"]
    assert codes('import "a.dl"\nmodel m { output z = 1.0 }') == ["E0206"]


def test_a_users_file_is_not_taken_for_one_of_the_library(tmp_path: Path) -> None:
    write(
        tmp_path,
        main='import "std/layers.dl" as own\nmodel m { input x: float[b, 3]; output z = own.f(x) |> dense(2) }',
        std__layers="fn f(x) = 2 * x",
    )
    assert set(Spec("main.dl", folder=tmp_path).module.sources) >= {"./std/layers.dl", "std/layers.dl"}


SET = """
    model m(width = 4, rate = 0.5, deep = false, act = relu, widths = [3, 2], note = "a", free = none) {
        input x: float[batch, 3]
        for w in widths { x[0] = w }
        h = act(x |> dense(width))
        output z = h * rate
    }
"""


def test_set() -> None:
    text = SET.replace("for w in widths { x[0] = w }", "")
    spec = Spec(text, width=np.int64(7), rate=2, deep=True, act="tanh", widths=(5,), note="b", free=1.5)
    assert spec.module.variables["dense.W"].type.shape == (3, 7)
    assert spec.module.settings["model"] == {
        "width": 7,
        "rate": 2.0,
        "deep": True,
        "act": "the function `tanh`",
        "widths": [5],
        "note": "b",
        "free": 1.5,
    }
    for name, wrong in [
        ("width", 2.5),
        ("width", True),
        ("width", "a"),
        ("rate", "a"),
        ("rate", True),
        ("deep", 1),
        ("act", 3),
        ("act", "nothing"),
        ("widths", 3),
        ("note", 3),
        ("widths", [object()]),
    ]:
        assert codes(text, **{name: wrong}) == ["E0302"], (name, wrong)
    assert codes(text, widht=3) == ["E0210"]
    assert codes(text, width=2**70) == ["E0303"]


def test_set_reaches_model_and_train_block() -> None:
    text = (
        "model m(a = 1) { input x: float[b]; param w: float; loss = a * w * mean(x) }\n"
        "train m(a = 0.5) { minimize loss using sgd(a) }"
    )
    assert codes(text, a=2) == ["E0243"]
    spec = Spec(text, **{"model.a": 3, "train.a": 0.25, "epochs": 3})
    assert spec.module.settings["model"] == {"a": 3}
    assert {"a": 0.25, "epochs": 3}.items() <= spec.module.settings["train"].items()


@pytest.mark.parametrize(
    ("settings", "set", "expected"),
    [
        ("", {}, (None, 10)),
        ("epochs: 7", {}, (None, 7)),
        ("steps: 9", {}, (9, None)),
        ("steps: 9; epochs: 7", {}, (9, 7)),
        ("epochs: 7", {"steps": 9}, (9, None)),
        ("steps: 9", {"epochs": 7}, (9, 7)),
        ("steps: 9; epochs: 10", {}, (9, 10)),
    ],
)
def test_steps_and_epochs(settings: str, set: dict[str, Any], expected: tuple[Any, Any]) -> None:
    model = "model m { input x: float[b]; param w: float; loss = w * mean(x) }\n"
    spec = Spec(model + f"train {{ minimize loss using sgd(1); {settings} }}", **set)
    train = spec.module.settings["train"]
    assert (train["steps"], train["epochs"]) == expected


def test_which_model_is_trained() -> None:
    two = "model a { input x: float[b]; param w: float; loss = w * mean(x) }\nmodel b { output z = 1.0 }\n"
    assert codes(two) == ["E0208"]
    assert codes(two, model="c") == ["E0209"]
    assert codes(two + "train { minimize loss using sgd(1) }", model="a") == ["E0208"]
    assert codes(two + "train c { minimize loss using sgd(1) }", model="a") == ["E0209"]
    spec = Spec(two + "train a { minimize loss using sgd(1) }", model="b")
    assert not spec.module.trains
    assert Spec(two + "train a { minimize loss using sgd(1) }", model="a").module.trains


# --- the train block

GROUPS = """
    model m {
        input x: float[batch, 3]
        encoder = dense(3)
        h = encoder(x)
        for i in 0..3 { block[i] = dense(3, bias = false); h = block[i](h) }
        loss = mean(h |> dense(2))
    }
    train { minimize loss over PATTERN using sgd(1) }
"""


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("*", ["encoder.W", "encoder.b", "block[0].W", "block[1].W", "block[2].W", "dense.W", "dense.b"]),
        ("*.W", ["encoder.W", "block[0].W", "block[1].W", "block[2].W", "dense.W"]),
        ("not *.W", ["encoder.b", "dense.b"]),
        ("encoder.*, dense.b", ["encoder.W", "encoder.b", "dense.b"]),
        ("block[*].W", ["block[0].W", "block[1].W", "block[2].W"]),
        ("block[1].*", ["block[1].W"]),
        ("encoder[0].W", ["encoder.W"]),
        ("block.W", ["block[0].W"]),
        ("*.W and not block[*].*", ["encoder.W", "dense.W"]),
        ("dense[0].*", ["dense.W", "dense.b"]),
        ("e*", ["encoder.W", "encoder.b"]),
    ],
)
def test_pattern(pattern: str, paths: list[str]) -> None:
    spec = Spec(GROUPS.replace("PATTERN", pattern))
    moved = [name.removeprefix("next/") for name in spec.module.roots("next/") if name != "next/step"]
    assert sorted(moved) == sorted(paths)


def test_patterns_that_name_nothing_or_twice() -> None:
    assert codes(GROUPS.replace("PATTERN", "encodr.*")) == ["E0518"]
    assert codes(GROUPS.replace("PATTERN", "*.W using sgd(1); minimize loss over encoder.*")) == ["E0516"]


def test_wrappers_against_a_loop_by_hand() -> None:
    turns, k, peak, total = 3, 2, 0.5, 12
    spec = Spec(f"""
        model m {{ input x: float[batch, 3]; param w: float[3] init ones; loss = mean((x @ w)^2) }}
        train {{
            rule = adam(cosine({peak}, over = steps // {turns}, warmup = 2))
            minimize loss using lookahead(accumulate(rule, turns = {turns}), k = {k * turns}, alpha = 0.25)
        }}
    """)
    state = {**spec.start(), "steps": total}
    rng = np.random.default_rng(0)
    w, slow, m, v, summed = np.ones(3), np.ones(3), np.zeros(3), np.zeros(3), np.zeros(3)
    for step in range(1, total + 1):
        x = rng.normal(size=(5, 3))
        loss, state = spec.step(state, x=x)
        assert loss == pytest.approx(np.mean((x @ w) ** 2), rel=1e-10)
        summed = summed + 2 * x.T @ (x @ w) / 5 / turns
        if step % turns == 0:
            t = step // turns
            share = np.clip((t - 3) / max(total // turns - 2, 1), 0, 1)
            lr = peak * min(t / 2, 1) * 0.5 * (1 + np.cos(np.pi * share))
            m, v = 0.9 * m + 0.1 * summed, 0.999 * v + 0.001 * summed**2
            w = w - lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
            summed = np.zeros(3)
        if step % (k * turns) == 0:
            slow = slow + 0.25 * (w - slow)
            w = slow
        np.testing.assert_allclose(state["w"], w, rtol=1e-10)
    names = [path for path, one in spec.module.variables.items() if one.kind == "optimizer"]
    assert sorted(names) == [
        "lookahead/accumulate/adam/m/w",
        "lookahead/accumulate/adam/v/w",
        "lookahead/accumulate/total/w",
        "lookahead/slow/w",
    ]


def test_an_optimizer_that_applies_two() -> None:
    spec = Spec("""
        optimizer between(a, b)(theta, g) { theta <- (a(theta, g) + b(theta, g)) / 2 }
        model m { input x: float[batch]; param w: float init ones; loss = w^2 * mean(x) }
        train { minimize loss using between(momentum(1.0), momentum(0.5)) }
    """)
    _, after = spec.step(spec.start(), x=np.ones(2))
    assert after["w"] == 1 - (1.0 + 0.5) * 2 / 2
    assert [p for p, v in spec.module.variables.items() if v.kind == "optimizer"] == [
        "between/momentum/v/w",
        "between/momentum[1]/v/w",
    ]


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("(theta, g) { theta = theta - g }", "E0228"),
        ("(g) { x = g }", "E0247"),
        ("(theta, gradient) { theta <- theta }", "E0226"),
        ("(theta, g) { theta <- sum(g) * [1] }", "E0301"),
        ("(theta, g) { theta <- stack([theta, g]) }", "E0326"),
        ("(theta, g) { param w: float }", "E0229"),
        ("(theta: float[r, c], g) { theta <- theta - g }", "E0324"),
        ("(theta: vector[n, m], g) { theta <- theta - g }", "E0521"),
        ("(theta, g, t) { theta <- lbfgs()(theta, g, t) }", "E0521"),
        ("(theta, g, loss: float) { theta <- theta - g }", "E0522"),
        ("(theta, g, loss) { theta <- theta - loss(1.0) }", "E0522"),
        ("(theta, g, loss) { theta <- theta - loss(theta, g) }", "E0522"),
        ("(theta, g, loss) { theta <- theta - loss(theta, e = g) }", "E0522"),
        ("(theta, g, loss) { theta <- theta - loss }", "E0301"),
        ("(theta: vector[n], g) { theta <- theta - clipped(sum(g)) }", "E0316"),
        ("(theta, g, t) { inner = sgd(0.1); theta <- inner(theta, g, 0.5) }", "E0326"),
        ("(theta, g, t) { inner = sgd(0.1); theta <- inner(theta, relu) }", "E0326"),
        ("(theta, g, t) { inner = sgd(0.1); theta <- inner(theta) }", "E0217"),
    ],
)
def test_broken_rule(rule: str, code: str) -> None:
    assert codes(f"""
        optimizer rule{"()" if not rule.startswith("((") else ""}{rule}
        model m {{ input x: float[batch]; param w: float[2] init ones; loss = sum(w) * mean(x) }}
        train {{ minimize loss using rule }}
    """) == [code]


def test_a_clip_sees_the_gradient_as_one_vector_or_in_parts() -> None:
    for clip, expected in [
        ("fn c(g: vector[n], limit) = g * (limit / norm(g))", (-1 / np.sqrt(5), -2 / np.sqrt(5))),
        ("fn c(g, limit) = g * (limit / norm(g))", (-1, -1)),
    ]:
        spec = Spec(f"""
            {clip}
            model m {{ input x: float[batch]; param a: float init zeros; param b: float init zeros
                      loss = (a + 2 * b) * mean(x) }}
            train {{ minimize loss using sgd(1.0); clip: c(1.0) }}
        """)
        _, after = spec.step(spec.start(), x=np.ones(2))
        assert (after["a"], after["b"]) == pytest.approx(expected)


# --- draws


def test_draws_are_numbered_by_place_step_and_iteration() -> None:
    spec = Spec("""
        model m { input x: float[batch, 3]; param w: float init ones
                  for i in 0..2 { u[i] = uniform_like(x) }
                  loss a = w * mean(u[0]); loss b = 10 * w * mean(u[1]); output z = x }
        train { minimize loss using sgd(0.0) }
    """)
    state = spec.start(7)
    data = {"x": np.zeros((2, 3))}
    first, after = spec.step(state, **data)
    again, _ = spec.step(state, **data)
    second, _ = spec.step(after, **data)
    assert first == again != second
    other, _ = spec.step({**state, "key": spec.start(8)["key"]}, **data)
    assert other != first


def test_adding_a_draw_below_leaves_those_above() -> None:
    text = "model m { input x: float[batch]; param w: float init ones; loss = w * mean(x * normal_like(x)); %s }\n"
    text += SGD
    one, two = [Spec(text % more) for more in ("", "metric k = mean(uniform_like(x))")]
    feeds = {**one.start(3), "x": np.ones(5), "step": 4}
    assert one.get("loss", feeds) == two.get("loss", feeds)


def test_start_values_do_not_depend_on_the_step() -> None:
    spec = body("output z = x |> dense(4) |> dense(4)")
    one, two, again = spec.start(1), spec.start(2), spec.start(1)
    assert not np.array_equal(one["dense.W"], two["dense.W"]) and np.array_equal(one["dense.W"], again["dense.W"])
    assert not np.array_equal(one["dense.W"].ravel()[:9], one["dense[1].W"].ravel()[:9])


# --- bounds


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("for i in 0..1000000 { h = x }", "E0220"),
        ("for i in 0..10000 { for j in 0..10000 { h = 1 } }", "E0220"),
        ("for i in 0..15000 { h = undefined }", "E0201"),
        ("param w: float[1000000, 1000000]", "E0341"),
        ("param w: float init zeros\nh = broadcast_to(x[0, 0], [100000, 100000, 100000])", "E0341"),
        ("n = batch\nfor i in 0..64 { n = n * n + n // 3 }", "E0344"),
        ("n = 3\nfor i in 0..64 { n = n * n }", "E0303"),
        ("h = [x]\nfor i in 0..64 { h = [h, h] }\noutput z = exp(h)", "E0301"),
    ],
)
def test_what_grows_is_refused(text: str, code: str) -> None:
    assert codes(f"model m {{\ninput x: float[batch, 3]\n{text}\n}}")[0] == code


def test_definitions_without_end() -> None:
    assert codes("fn f(x) = f(x)\nmodel m { input x: float[b]; output z = f(x) }")[0] == "E0219"
    assert codes("fn f(n) = f(n - 1) + f(n - 1) if n > 0 else 0\nmodel m { output z = f(100) + 0.0 }")[0] == "E0220"


def test_lists_that_share_their_parts() -> None:
    spec = body("fn_ = [1, 2]\nfor i in 0..60 { fn_ = [fn_, fn_] }\noutput z = x if fn_ == fn_ else 2 * x")
    np.testing.assert_allclose(spec.get("z", {"x": X}), X)


# --- determinism

DIGEST = """
import hashlib, sys, dlc
for path in sys.argv[1:]:
    print(hashlib.sha256(dlc.compile(path).model_proto().SerializeToString(deterministic=True)).hexdigest())
"""


def test_the_same_bytes_in_every_process() -> None:
    specs = [
        str(p)
        for p in sorted((Path(__file__).parent.parent / "specs").glob("*.dl"))
        if p.stem in ("digits", "groups", "wrappers")
    ]
    seen = {
        subprocess.run(
            [sys.executable, "-c", DIGEST, *specs],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(seen) == 1 and len(seen.pop().split()) == 3


def test_several_mistakes_are_reported_in_one_run() -> None:
    assert codes("""
        model m { input x: float[batch, 3]; a = nothing; b = a + 1; c = x @ x; d = c + 1; output z = x + relu }
        train { minimize loss using nonsense(1); bach: 3 }
    """) == ["E0201", "E0312", "E0301"]


def test_warnings_come_with_the_module() -> None:
    source = Source("a.dl", "model m { input x: float[b]; exp = x; output z = exp }")
    assert [w.code for w in check(source)[1]] == ["W0201"]


def test_an_import_that_leads_back_to_itself(tmp_path: Path) -> None:
    write(tmp_path, main='import "loop.dl"\nmodel m { input x: float[batch, 4]\n output y = x }\n')
    (tmp_path / "loop.dl").symlink_to("other.dl")
    (tmp_path / "other.dl").symlink_to("loop.dl")
    assert codes("main.dl", folder=tmp_path) == ["E0770"]
