"""What numbers data may be: stated in the language, held in the file, checked before anything runs."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.elaborate.library import standard_folder
from dlc.runtime.data import fields
from dlc.runtime.file import CompiledFile
from dlc.syntax import tree as syntax
from dlc.syntax.parser import parse, read_source
from hypothesis import given, settings, strategies as st
from support_cases import X, compiled, refused, spec

INF = float("inf")

# Of each distribution and loss that takes some numbers only: how it is said of y, what is expected, numbers in it (its
# ends among them) and numbers just outside. `z` is a column of floats, `w` two.
STATED: dict[str, tuple[str, str, list[float], list[float]]] = {
    "uniform": ("y ~ uniform(low = -1, high = 3)", "numbers from -1, below 3", [-1, 0.5, 2.9999], [-1.0001, 3, 4]),
    "half_normal": ("y ~ half_normal(scale = exp(z))", "numbers from 0", [0, 0.5, 9], [-0.0001, -3]),
    "half_cauchy": ("y ~ half_cauchy(scale = exp(z))", "numbers from 0", [0, 0.5, 9], [-0.0001, -3]),
    "exponential": ("y ~ exponential(rate = exp(z))", "numbers from 0", [0, 0.5, 9], [-0.0001, -3]),
    "gamma": ("y ~ gamma(shape = 2, rate = exp(z))", "numbers from 0", [0.1, 0.5, 9], [-0.0001, -3]),
    "log_normal": ("y ~ log_normal(z, 1)", "numbers from 0", [0.1, 0.5, 9], [-0.0001, -3]),
    "beta": ("y ~ beta(exp(z), 2)", "numbers from 0 to 1", [0.1, 0.5, 0.9], [-0.0001, 1.0001]),
    "truncated_normal": (
        "y ~ truncated_normal(z, 1, low = -1, high = 3)",
        "numbers from -1 to 3",
        [-1, 0.5, 3],
        [-1.0001, 3.0001],
    ),
    "dirichlet": (
        "stack([y, 1 - y], axis = -1) ~ dirichlet(exp(w))",
        "numbers from 0 to 1",
        [0.1, 0.5, 0.9],
        [-0.0001, 1.0001],
    ),
    "binomial": ("y ~ binomial(count = 9, logits = z)", "integers from 0 to 9", [0, 1, 9], [-1, -0.001, 0.5, 10]),
    "negative_binomial": ("y ~ negative_binomial(exp(z), 2)", "integers from 0", [0, 1, 9], [-1, -0.001, 0.5]),
    "multinomial": (
        "stack([y, 9 - y], axis = -1) ~ multinomial(9, w)",
        "integers from 0 to 9",
        [0, 1, 9],
        [-1, -0.001, 0.5, 10],
    ),
    "bernoulli": ("y ~ bernoulli(logits = z)", "0 or 1", [0, 1], [-1, -0.001, 0.5, 1.001, 2]),
    "categorical": ("y ~ categorical(logits = w)", "0 or 1", [0, 1], [-1, 2]),
    "poisson": ("y ~ poisson(rate = exp(z))", "integers from 0", [0, 1, 9], [-1, -0.001, 0.5]),
    "cross_entropy": ("loss = cross_entropy(w, y)", "0 or 1", [0, 1], [-1, 2]),
    "binary_cross_entropy": ("loss = binary_cross_entropy(z, y)", "numbers from 0 to 1", [0, 0.25, 1], [-0.001, 1.001]),
    "focal": ("loss = focal(w, y)", "0 or 1", [0, 1], [-1, 2]),
    "logistic_loss": ("loss = logistic_loss(z, y)", "-1 or 1", [-1, 1], [-1.001, 0, 0.5, 1.001, 2]),
    "cosine_embedding": ("loss = cosine_embedding(w, 2 - w, y)", "-1 or 1", [-1, 1], [-1.001, 0, 0.5, 1.001, 2]),
    "ctc": ("loss = mean(ctc(w[:, none], y[:, none]))", "0 or 1", [0, 1], [-1, 2]),
    "contrastive": ("loss = contrastive(w, 2 - w, y)", "0 or 1", [0, 1], [-1, -0.001, 0.5, 1.001, 2]),
    "hinge": ("loss = hinge(z, y)", "-1 or 1", [-1, 1], [-1.001, 0, 0.5, 1.001, 2]),
}
# These take every number.
ANY = {
    "normal",
    "laplace",
    "student_t",
    "cauchy",
    "von_mises",
    "multivariate_normal",
    "mixture",
    "squared",
    "absolute",
    "huber",
    "pinball",
    "triplet",
    "info_nce",
    "activity",
}
SCORES = {"accuracy"}  # no loss: what is no class is no hit
LABELS = {"categorical", "cross_entropy", "ctc", "focal"}


# --- the library


def declared(kind: type, file: str = "*.dl") -> set[str]:
    return {
        d.name
        for path in standard_folder().glob(file)
        for d in parse(read_source(path)).declarations
        if isinstance(d, kind)
    }


def test_no_distribution_or_loss_is_forgotten() -> None:
    losses = declared(syntax.Fn, "losses.dl") - {"kl_normal", "kl_categorical"} | {"ctc"}
    assert {*STATED} | ANY | SCORES == declared(syntax.Distribution) | losses
    stated = {
        d.name
        for path in standard_folder().glob("*.dl")
        for d in parse(read_source(path)).declarations
        if isinstance(d, syntax.Distribution | syntax.Fn)
        and any(p.within for p in (d.flow if isinstance(d, syntax.Distribution) else d.configuration))
    }
    assert stated == {*STATED}


@pytest.mark.parametrize("name", STATED)
def test_what_is_stated_is_checked_wherever_data_come_from(name: str, tmp_path: Path) -> None:
    line, expected, inside, outside = STATED[name]
    trainer = compiled(line, "int[batch]" if name in LABELS else "float[batch]")
    cast = np.int64 if name in LABELS else np.float64
    good = np.resize(inside, 4).astype(cast)

    def sources(y: np.ndarray) -> list[Any]:
        np.savez(tmp_path / "d.npz", x=X, y=y)
        rows = "".join(f"{a[0]},{a[1]},{b}\n" for a, b in zip(X.tolist(), y.tolist(), strict=True))
        (tmp_path / "d.csv").write_text("x0,x1,y\n" + rows)
        return [{"x": X, "y": y}, tmp_path / "d.npz", tmp_path / "d.csv"]

    for source in sources(good):
        trainer.fit(source)
        assert np.isfinite(trainer.evaluate(source)["loss"])
    trainer.step({"x": X, "y": good})
    for value in outside:
        wrong = good.copy()
        wrong[2] = value
        for source in sources(wrong):
            for run in ("fit", "evaluate"):
                found = refused(trainer, source, run)
                csv = str(source).endswith(".csv")
                assert found.notes == (f"found {wrong[2]} {'in `y`' if csv else 'at [2]'}", f"expected {expected}")
                assert not csv or found.where == f"{source}:4"
        refused(trainer, {"x": X, "y": wrong}, "step")
        trainer.step({"x": X, "y": good})
        trainer.predict({"x": X})


@pytest.mark.parametrize("name", ["bernoulli", "poisson", "hinge"])
def test_whole_numbers_are_held_too(name: str) -> None:
    line, _, inside, outside = STATED[name]
    trainer = compiled(line, "int[batch]")
    trainer.fit({"x": X, "y": np.resize(inside, 4).astype(int)})
    for value in outside:
        if value == int(value):
            refused(trainer, {"x": X, "y": np.full(4, int(value))})


def test_a_density_asked_for_is_held_as_a_likelihood_is() -> None:
    trainer = compiled("loss = -mean(log_density(bernoulli(logits = z), y))")
    refused(trainer, {"x": X, "y": np.full(4, 2.0)})


def test_ends_that_are_learned_are_no_bounds() -> None:
    compiled("y ~ uniform(low = a - 1, high = a + 1)")._check({"x": X, "y": np.full(4, 9.0)})
    refused(compiled("y ~ uniform(low = 0, high = a + 1)"), {"x": X, "y": np.full(4, -0.5)})


# --- tracing


@pytest.mark.parametrize(
    ("of_y", "line", "shape", "good", "bad"),
    [
        ("int[batch]", "t = y; t ~ bernoulli(logits = z)", (4,), 1, 2),
        ("int[batch]", "1.0 * y ~ bernoulli(logits = z)", (4,), 1, 2),
        ("float[batch, 1]", "y[:, 0] ~ bernoulli(logits = z)", (4, 1), 1, 2),
        ("float[batch, 1]", "reshape(y, [batch]) ~ bernoulli(logits = z)", (4, 1), 1, 2),
        ("float[batch]", "y[:, none] ~ bernoulli(logits = w)", (4,), 1, 2),
        ("float[2, batch]", "transpose(y) ~ bernoulli(logits = w)", (2, 4), 1, 2),
        ("float[batch]", "stack([y, 1 - y], axis = 1) ~ bernoulli(logits = w)", (4,), 0, 2),
        ("float[batch]", "concat([y, y], axis = 0) ~ bernoulli(logits = concat([z, z], axis = 0))", (4,), 0, 2),
        ("float[batch]", 'rearrange(y, "b -> b 1") ~ bernoulli(logits = w)', (4,), 0, 2),
        (
            "float[batch, 2]",
            'rearrange(y, "b (k l) -> k b l", l = 1) ~ bernoulli(logits = transpose(w)[:, :, none])',
            (4, 2),
            0,
            2,
        ),
        ("float[batch, 2]", "y[::-1, ::-1] ~ bernoulli(logits = w)", (4, 2), 0, 2),
        ("float[batch]", "loss = hinge(z, 2 * y - 1)", (4,), 0, -1),
        ("float[batch]", "loss = hinge(z, 1 - 2 * y)", (4,), 0, -1),
        ("float[batch]", "loss = hinge(z, -y)", (4,), -1, 0),
        ("int[batch]", "loss = binary_cross_entropy(z, y / 255)", (4,), 255, 256),
        ("float[batch]", "loss = binary_cross_entropy(z, (y + 1) / 2)", (4,), -1, -2),
        ("int[batch]", "y - 1 ~ categorical(logits = w)", (4,), 2, 0),
        ("int[batch]", "loss = cross_entropy(w, y - 1)", (4,), 2, 0),
    ],
)
def test_it_is_traced_to_the_data(of_y: str, line: str, shape: tuple[int, ...], good: float, bad: float) -> None:
    trainer = compiled(line, of_y)
    dtype = int if of_y.startswith("int") else float
    trainer.fit({"x": X, "y": np.full(shape, good, dtype)})
    refused(trainer, {"x": X, "y": np.full(shape, bad, dtype)})


@pytest.mark.parametrize(
    "line",
    [
        "where(y > 1, 1, y) ~ bernoulli(logits = z)",
        "clamp(y, 0, 1) ~ bernoulli(logits = z)",
        "abs(y) ~ poisson(rate = exp(z))",
        "y * y ~ poisson(rate = exp(z))",
        "y ~ normal(z, 1)",
    ],
)
def test_what_is_computed_is_not_traced(line: str) -> None:
    compiled(line).fit({"x": X, "y": np.array([-2.0, 2, 3, 0])})


def test_parts_are_held_by_themselves() -> None:
    trainer = compiled(
        "y[:, 0] ~ bernoulli(logits = z)\n    y[:, 1:3] ~ poisson(rate = exp(w))\n    y[:, -1] ~ normal(z, 1)",
        "float[batch, 4]",
    )
    good = np.array([[0, 0, 7, -0.5]] * 4)
    trainer.fit({"x": X, "y": good})
    for column, value in ((0, 2), (1, -1), (2, 0.5)):
        wrong = good.copy()
        wrong[3, column] = value
        assert refused(trainer, {"x": X, "y": wrong}).notes[0] == f"found {float(value)} at [3, {column}]"


def test_parts_of_dimensions_that_are_free() -> None:
    text = """model m {
        input s: float[batch, time]
        param a: float init ones
        s[:, 1:] ~ bernoulli(logits = a * s[:, :-1])
        output p = a * s
    }
    train { minimize loss using sgd(0.0); epochs: 1 }"""
    trainer = dlc.Trainer(dlc.compile(text))
    good = np.array([[5.0, 0, 1, 1], [-3, 1, 1, 0]])
    trainer.fit({"s": good})
    trainer.predict({"s": good})
    for column in (1, 3):
        wrong = good.copy()
        wrong[1, column] = 2
        refused(trainer, {"s": wrong})
        refused(trainer, {"s": wrong}, "predict")


@given(
    st.lists(st.tuples(st.sampled_from(["+", "-", "*", "/", "from", "neg"]), st.integers(-3, 3)), max_size=5),
    st.sampled_from(["interval(-1, 2)", "[-1, 1]", 'interval(0, open = "low")', "interval(high = 3)", "-1..4"]),
    st.integers(-12, 12),
)
@settings(deadline=None, max_examples=120)
def test_arithmetic_is_undone(steps: list[tuple[str, int]], within: str, y: int) -> None:
    """What y must be so that the value computed from it is what it may be, in exact numbers."""
    lines, exact, whole = ["u = y"], Fraction(y), True
    for sign, n in steps:
        if sign in "*/" and not n:
            continue
        form = {"from": f"({n}) - u", "neg": "-u"}.get(sign, f"u {sign} ({n})")
        exact = {
            "+": exact + n,
            "-": exact - n,
            "*": exact * n,
            "/": exact / (n or 1),
            "from": n - exact,
            "neg": -exact,
        }[sign]
        whole = whole and not (sign in "*/" and abs(n) != 1)
        lines.append(f"u = {form}")
    text = "\n".join(
        [f"fn f(x, v in {within}) = x", "model m {", "input y: float[batch]", *lines, "output p = f(u, u)", "}"]
    )
    [support] = dlc.compile(text).module.supports["y"].values()
    inside = {
        "interval(-1, 2)": -1 <= exact <= 2,
        "[-1, 1]": abs(exact) == 1,
        "-1..4": -1 <= exact < 4,
        "interval(high = 3)": exact <= 3,
    }.get(within, exact > 0)
    if within == "-1..4":
        if not whole:  # integers are asked for only where y is as whole as they are
            return
        inside = -1 <= exact <= 3 and exact.denominator == 1
    assert support.good(np.array([y], np.int64)) == inside
    if support.values is None or all(isinstance(value, int) for value in support.values):
        assert support.good(np.array([y], np.float64)) == inside


BOUND = st.none() | st.integers(-6, 6)
SLICE = st.tuples(BOUND, BOUND, st.sampled_from([None, 1, 2, 3, -1, -2]))


@given(st.lists(st.tuples(SLICE, SLICE) | st.sampled_from(["transpose", "none", "row"]), min_size=1, max_size=4))
@settings(deadline=None, max_examples=120)
def test_parts_are_those_of_numpy(steps: list[Any]) -> None:
    """Slices of slices, turned and reshaped: the elements that are held are those that NumPy takes."""
    at = np.arange(30).reshape(5, 6)
    lines = ["u = y"]
    for step in steps:
        if step == "transpose":
            at, form = at.T, "transpose(u)"
        elif step == "none":
            at, form = at[None], "u[none]"
        elif step == "row":
            if not len(at):
                return
            at, form = at[-1:], "u[-1][none]"
        else:
            slices = step[: at.ndim]
            at = at[tuple(slice(*s) for s in slices)]
            form = "u[" + ", ".join(":".join("" if n is None else str(n) for n in s) for s in slices) + "]"
        lines.append(f"u = {form}")
    if not at.size or at.ndim < 2:
        return
    text = "\n".join(
        ["model m {", "input y: float[5, 6]", "param a: float", *lines, "loss = hinge(a, u)", "output p = a * y", "}"]
    )
    module = dlc.compile(text).module
    [support] = module.supports["y"].values()
    held = np.zeros(30, bool)
    held[at.reshape(-1)] = True
    assert np.array_equal(support.wrong(np.zeros((5, 6))), held.reshape(5, 6))


# --- indices

INDEXED = {
    "embedding": "e = embedding(5, 1); h = e(s)",
    "an index": "param t: float[5, 1]; h = t[s]",
    "gather": "param t: float[5, 1]; h = gather(t, s)",
    "one_hot": "param t: float[5, 1]; h = one_hot(s, 5) @ t",
    "two indices": "param t: float[3, 5]; h = t[s - s, s][:, :, none]",
    "a turn": "param t: float[5, 1]; scan i over time { r[:, i] = t[s[:, i]] }; h = r",
    "the turns of embedding": "e = embedding(5, 1); scan i over time { r[:, i] = e(s[:, i]) }; h = r",
    "counted from 1": "param t: float[5, 1]; h = pick(broadcast_to(t[:, 0], [batch, time, 5]), s)[:, :, none]",
}


@pytest.mark.parametrize("name", INDEXED)
def test_ids_count_from_0(name: str) -> None:
    trainer = dlc.Trainer(
        dlc.compile(
            f"model m {{\n input s: int[batch, time]\n {INDEXED[name]}\n output p = sum(h, axis = [1, 2])\n"
            " loss = mean(sum(h, axis = [1, 2])^2)\n}\ntrain { minimize loss using sgd(0.1); epochs: 1 }"
        )
    )
    trainer.fit({"s": np.array([[0, 4, 1]])})
    for value in (-1, -5, 5):
        for run in ("fit", "predict", "evaluate"):
            found = refused(trainer, {"s": np.array([[0, 1, value]])}, run)
            assert found.notes == (f"found {value} at [0, 2]", "expected integers from 0 to 4")
            assert found.message == "`s` holds labels out of range"


def test_indices_that_are_computed_may_count_from_the_end() -> None:
    for index, s, expected in (
        ("where(s < 3, s, -1)", [2, 3, 9], [2, 4, 4]),
        ("s - 1", [0, 1, 2], [4, 0, 1]),
        ("-s", [0, 1, 2], [0, 4, 3]),
    ):
        for form in (f"t[{index}]", f"gather(t, {index})", f"pick(broadcast_to(t, [batch, 5]), {index})"):
            trainer = dlc.Trainer(
                dlc.compile(f"model m {{\n input s: int[batch]\n param t: float[5]\n output p = {form}\n}}")
            )
            trainer.parameters["t"] = np.arange(5, dtype="float32")
            assert trainer.predict({"s": np.array(s)})["p"].tolist() == expected


def test_stating_much_takes_linear_time() -> None:
    """Many conditions of one input, and long ways to it."""

    def seconds(n: int) -> float:
        began = time.perf_counter()
        dlc.compile(
            """model m {
            input x: float[batch, N]
            target y: float[batch, N]
            param a: float
            l = 0.0 * a
            u = y[:, 0]
            for i in 0..N {
                u = u + 1
                l = l + hinge(a * x[:, i], y[:, i]) + hinge(a, u)
            }
            loss = l
        }""".replace("N", str(n))
        )
        return time.perf_counter() - began

    seconds(50)
    assert seconds(1600) < 16 * seconds(200) + 1


# --- the language


def test_a_spec_states_its_own() -> None:
    text = (
        spec("y ~ counts(rate = exp(z))", 'float[batch] in interval(high = 9, open = "high")')
        + """
    distribution counts(rate)(y in 1..inf) { log_density = y * log(rate) - rate }"""
    )
    trainer = dlc.Trainer(dlc.compile(text))
    trainer.fit({"x": X, "y": np.array([1.0, 2, 3, 8])})
    found = [refused(trainer, {"x": X, "y": np.full(4, value)}) for value in (0.0, 1.5, 9.0)]
    assert [(f.message, f.notes[1]) for f in found] == [
        ("`y` holds values that `counts` does not take", "expected integers from 1"),
        ("`y` holds values that `counts` does not take", "expected integers from 1"),
        ("`y` holds values outside the range that the spec gives it", "expected numbers below 9"),
    ]


@pytest.mark.parametrize(
    ("within", "expected"),
    [
        ("0..3", "integers from 0 to 2"),
        ("0..1", "0"),
        ("-1..inf", "integers from -1"),
        ("-inf..1", "integers up to 0"),
        ("[0, 0.5, 2]", "0, 0.5 or 2"),
        ("interval(0, 1)", "numbers from 0 to 1"),
        ("interval(0)", "numbers from 0"),
        ('interval(0, open = "low")', "numbers above 0"),
        ('interval(0, 1, open = "both")', "numbers above 0, below 1"),
        ("interval(high = 2)", "numbers up to 2"),
        ('interval(0, 2, "high")', "numbers from 0, below 2"),
        ("0..(2 + 2)", "integers from 0 to 3"),
    ],
)
def test_sets_of_numbers_in_words(within: str, expected: str) -> None:
    program = dlc.compile(f"model m {{ input x: float[batch] in {within}; output p = x }}")
    [support] = program.module.supports["x"].values()
    assert str(support) == expected
    [field] = fields(CompiledFile.of(program), ["x"])
    assert field.supports == (support,)


def test_numbers_known_now_are_held_too() -> None:
    text = "fn f(x, k in 1..4) = k * x\nmodel m(n in [2, 3] = 2) { input x: float[batch]; output p = f(x, n) }"
    assert dlc.compile(text).module.settings["model"] == {"n": 2}
    for change in ({"n": 4}, {"n": 1}):
        with pytest.raises(dlc.Error) as caught:
            dlc.compile(text, set=change)
        assert caught.value.records()[0]["code"] == "E0643"
