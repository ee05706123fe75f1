"""What a first user writes: forms that are understood, and messages that lead to the form that is."""

from __future__ import annotations

import re
from pathlib import Path

import dlc
import numpy as np
import pytest
from dlc.elaborate.builtins import BUILTINS, LATER
from dlc.syntax import foreign

MODEL = """
{above}
model m {{
    input  x: float[batch, 3]
    target y: float[batch]
    param w: float[3] init {init}
    loss = squared(x @ w, y)
    output f = x @ w
}}
train {{ minimize loss using sgd(0.1); {settings} }}
"""


def spec(above: str = "", init: str = "zeros", settings: str = "batch: all") -> str:
    return MODEL.format(above=above, init=init, settings=settings)


TRUNCATED = "fn truncated(w, std = 0.02) = std * clamp(normal_like(w), -2, 2)"
CONSTANT = "fn all(w, value = 1.0) = value * ones_like(w)"
NUMBER = "fn same(w, value = 1.0) = value"
ONLY = "fn half(w) = 0.5"
PLAIN = "fn drawn(w) = 0.1 * normal_like(w)"


@pytest.mark.parametrize(
    ("above", "wrong", "right"),
    [
        (TRUNCATED, "truncated(0.02)", "truncated(std = 0.02)"),
        (CONSTANT, "all(3.0)", "all(value = 3.0)"),
        (TRUNCATED, "2 * truncated(0.02)", "truncated(std = 0.02)"),
        (PLAIN, "drawn(0.5)", "drawn"),
        (NUMBER, "same(3.0)", "same(value = 3.0)"),
        (NUMBER, "2 * same(3)", "same(value = 3)"),
        (ONLY, "half(2)", "half"),
    ],
)
def test_an_initialiser_given_a_number_for_the_tensor(above: str, wrong: str, right: str) -> None:
    with pytest.raises(dlc.Error) as caught:
        dlc.compile(spec(above, wrong))
    assert caught.value.code == "E0257"
    assert f"`init {right}`" in str(caught.value)
    start = dlc.Trainer(dlc.compile(spec(above, right))).parameters["w"]
    assert start.shape == (3,) and (above in (CONSTANT, NUMBER, ONLY) or len(set(start.tolist())) == 3)


def test_an_initialiser_in_an_argument_of_a_layer() -> None:
    with pytest.raises(dlc.Error, match="E0257"):
        dlc.compile(
            TRUNCATED + "\nmodel m { input x: float[batch, 3]\n output f = x |> dense(2, weights = truncated(0.02)) }"
        )


@pytest.mark.parametrize("form", ["init", "="])
@pytest.mark.parametrize("above, wrong", [(TRUNCATED, "truncated(0.1)"), (CONSTANT, "all(3.0)"), (NUMBER, "same(3.0)")])
def test_a_state_that_starts_from_an_initialiser_given_a_number(above: str, wrong: str, form: str) -> None:
    text = f"""{above}
model m {{
    input x: float[batch, 3]
    state s: float[3] {form} {wrong}
    if training {{ s <- s + 1 }}
    param w: float[3]
    loss = mean((x @ (w + s))^2)
    output f = x
}}
train {{ minimize loss using sgd(0.1) }}"""
    with pytest.raises(dlc.Error, match="E0257"):
        dlc.compile(text)


@pytest.mark.parametrize(
    ("above", "init", "value"),
    [
        ("fn half(a, b = 2) = a / b", "half(3)", 1.5),
        ("fn half(a, b = 2) { c = a\n return c / b }", "half(3)", 1.5),
        (NUMBER, "same", 1),
        (NUMBER, "same(value = 4)", 4),
        ("fn pair() = 0.25", "pair()", 0.25),
        (NUMBER + "\nfn other(a, b = 1) = a + same(a, 3)", "other(2)", 5),
    ],
)
def test_numbers_of_functions_that_read_them(above: str, init: str, value: float) -> None:
    start = dlc.Trainer(dlc.compile(spec(above, init))).parameters["w"]
    np.testing.assert_array_equal(start, [value] * 3)


def test_numbers_that_a_function_makes_are_start_values() -> None:
    start = dlc.Trainer(dlc.compile(spec("fn half(a) = a / 2", "half(3)"))).parameters["w"]
    np.testing.assert_array_equal(start, [1.5] * 3)


@pytest.mark.parametrize(
    ("above", "settings", "instead"),
    [
        ("fn mine(theta, rate = 0.1) = rate * sum(theta^2)", "penalty: mine(0.5)", "penalty: mine(rate = 0.5)"),
        ("fn mine(g, limit = 1) = clamp(g, -limit, limit)", "clip: mine(0.5)", "clip: mine(limit = 0.5)"),
    ],
)
def test_a_setting_whose_function_waits(above: str, settings: str, instead: str) -> None:
    with pytest.raises(dlc.Error) as caught:
        dlc.compile(spec(above, settings=settings))
    assert caught.value.code == "E0519" and f"`{instead}`" in str(caught.value)
    dlc.compile(spec(above, settings=instead))


X = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("x[:, [0, 2]]", X[:, [0, 2]]),
        ("x[:, [-1, 0, 0]]", X[:, [-1, 0, 0]]),
        ("x[:, 1:][:, [2, 0]]", X[:, 1:][:, [2, 0]]),
        ("-(x > 4) + 1", 1 - (X > 4)),
        ("(x > 4) * x", (X > 4) * X),
        ("x[:, [1, 2], none]", X[:, [1, 2], None]),
        ("x |> twice", 2 * X),
        ("silu(x)", X / (1 + np.exp(-X))),
        ("where(tril(x) != 0, x, -1)", np.where(np.tril(X) != 0, X, -1)),
    ],
)
def test_forms_of_arrays(expression: str, value: np.ndarray) -> None:
    text = "layer twice()(x) = 2 * x\nmodel m { input x: float[batch, 4]\n output f = " + expression + " }"
    found = dlc.Trainer(dlc.compile(text)).predict({"x": X})["f"]
    np.testing.assert_allclose(found, value, rtol=1e-6)


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("x[:, [0, 4]]", "E0238"),
        ("x[:, [-5]]", "E0238"),
        ("x[:, [0.5]]", "E0240"),
        ("x[:, []]", "E0240"),
        ("x * ones([4])", "E0301"),
        ("where(tril(x), x, 0)", "E0305"),
    ],
)
def test_forms_that_are_refused_say_what_to_write(expression: str, code: str) -> None:
    with pytest.raises(dlc.Error) as caught:
        dlc.compile("model m { input x: float[batch, 4]\n output f = " + expression + " }")
    assert caught.value.code == code and (code == "E0238" or caught.value.help)


def test_a_net_applied_above_is_applied_again_while_training() -> None:
    text = """model m {{
    input x: float[batch, 4]
    target y: int[batch]
    net = mlp(8, 1, 3)
    {first}
    if training {{ z = net(2 * x) }} else {{ z = net(x) }}
    loss = cross_entropy(z, y)
    output p = z
}}
train {{ minimize loss using sgd(0.1) }}"""
    once = dlc.Trainer(dlc.compile(text.format(first="before = net(x)")))
    assert len(once.parameters) == 4
    with pytest.raises(dlc.Error) as caught:
        dlc.compile(text.format(first=""))
    assert caught.value.code == "E0222" and "`y = net(...)`" in str(caught.value)


SCHOOLS = """model schools {
    input  sigma: float[j]
    target y: float[j]
    param mu: float ~ normal(0, 5)
    param tau: float ~ half_normal(5)
    param theta: float[8] ~ normal(mu, tau)
    y ~ normal(theta, sigma)
    output t = theta
}
train schools { minimize loss using adam(1e-2); steps: 500; batch: all }
"""


def test_parameters_of_rows_lead_to_their_index() -> None:
    """Rubin's eight schools (1981), as Stan states them: the way out of the message trains as PyTorch does."""
    torch = pytest.importorskip("torch")
    with pytest.raises(dlc.Error) as caught:
        dlc.compile(SCHOOLS)
    assert caught.value.code == "E0310" and caught.value.help is not None
    said = re.findall(r"`(.*?)`", caught.value.help)
    row, indexed, name, ordered, batch = said
    assert (row, indexed, name, batch) == ("input row: int[j] in 0..8", "theta[row]", "theta", "batch: all")
    y = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
    data = {"sigma": np.array([15.0, 10, 16, 11, 9, 11, 10, 18]), "y": y, "row": np.arange(8)}
    found = []
    for text in (
        SCHOOLS.replace("normal(theta,", f"normal({ordered},"),
        SCHOOLS.replace("normal(theta,", f"normal({indexed},").replace("target", f"{row}\n    target"),
    ):
        trainer = dlc.Trainer(dlc.compile(text, precision="float64"))
        start = {path: torch.tensor(value, requires_grad=True) for path, value in trainer.parameters.items()}
        trainer.fit({name: data[name] for name in ("sigma", "y", "row") if name != "row" or "row" in text})
        found.append(trainer.parameters)
    law = torch.distributions
    optimizer = torch.optim.Adam(start.values(), lr=1e-2)
    for _ in range(500):
        optimizer.zero_grad()
        mu, tau, theta = start["mu"], start["tau"], start["theta"]
        prior = (
            law.Normal(0, 5).log_prob(mu) + law.HalfNormal(5).log_prob(tau) + law.Normal(mu, tau).log_prob(theta).sum()
        )
        seen = law.Normal(theta, torch.tensor(data["sigma"])).log_prob(torch.tensor(y))
        (-seen.mean() - prior / 8).backward()
        optimizer.step()
    for path, value in start.items():
        for one in found:
            np.testing.assert_allclose(one[path], value.detach().numpy(), rtol=1e-9)


@pytest.mark.parametrize(
    ("line", "form", "right"),
    [
        ("y ~ normal(mu + s * eta, 1)", "(mu + s * eta)[row]", "y ~ normal((mu + s * eta)[row], 1)"),
        ("y ~ normal(1, exp(eta))", "exp(eta)[row]", "y ~ normal(1, exp(eta)[row])"),
        ("loss = mean((y - eta)^2)", "eta[row]", "loss = mean((y - eta[row])^2)"),
        ("loss = mean(maximum(y, eta))", "eta[row]", "loss = mean(maximum(y, eta[row]))"),
        ("loss = mean(u + beta)", "beta[row]", "loss = mean(u + beta[row])"),
        ("loss = mean(x + y) + mu", "y[:, none]", "loss = mean(x + y[:, none]) + mu"),
        ("loss = mean(u * x) + mu", "x[..., none]", "loss = mean(u * x[..., none]) + mu"),
        ("loss = mean(x * (mu + y))", "(mu + y)[:, none]", "loss = mean(x * (mu + y)[:, none])"),
        (
            "loss = mu * mean(x * transpose(x))",
            "transpose(transpose(x))",
            "loss = mu * mean(x * transpose(transpose(x)))",
        ),
    ],
)
def test_shapes_that_do_not_meet_lead_to_the_form_that_does(line: str, form: str, right: str) -> None:
    text = """model m {
    input  x: float[batch, 3]
    input  u: float[batch, 3, 2]
    input  row: int[batch] in 0..8
    target y: float[batch]
    param mu: float
    param s: float
    param eta: float[8]
    param beta: float[8, 3, 2]
    LINE
    output p = x + mu + s + sum(eta) + sum(beta)
}
train { minimize loss using sgd(0.1) }"""
    with pytest.raises(dlc.Error) as caught:
        dlc.compile(text.replace("LINE", line))
    assert caught.value.code == "E0310" and caught.value.help is not None
    assert f"`{form}`" in caught.value.help
    dlc.compile(text.replace("LINE", right))


def test_a_parameter_for_each_row_says_how_many() -> None:
    with pytest.raises(dlc.Error) as caught:
        dlc.compile(SCHOOLS.replace("float[8]", "float[j]"))
    found = {problem.code: problem.help for problem in caught.value.diagnostics}
    said = re.findall(r"`(.*?)`", found["E0328"])
    assert said == ["param theta: float[8]", "theta[row]", "input row: int[j] in 0..8"]
    dlc.compile(SCHOOLS.replace("param theta: float[8]", said[2] + "; " + said[0]).replace("(theta", f"({said[1]}"))


@pytest.mark.parametrize("word", foreign.NAMES)
def test_a_word_of_another_library_leads_to_ours(word: str) -> None:
    with pytest.raises(dlc.Error) as caught:
        dlc.compile(f"model m {{ input x: float[batch, 2]\n output f = {word}(x) }}")
    assert caught.value.code == "E0201" and caught.value.help == foreign.NAMES[word]


@pytest.mark.parametrize("word", foreign.SETTINGS)
def test_a_setting_of_another_library_leads_to_ours(word: str) -> None:
    with pytest.raises(dlc.Error) as caught:
        dlc.compile(spec(settings=f"{word}: 3"))
    assert caught.value.code == "E0506" and caught.value.help == foreign.SETTINGS[word]


@pytest.mark.parametrize("word", foreign.TYPES)
def test_a_type_of_another_language_leads_to_ours(word: str) -> None:
    with pytest.raises(dlc.Error) as caught:
        dlc.compile(f"model m {{ input x: {word}[batch, 2]\n output f = x }}")
    assert caught.value.code == "E0309" and caught.value.help == foreign.TYPES[word]


@pytest.mark.parametrize("word", LATER)
def test_a_word_of_a_later_version_leads_to_what_does_it(word: str) -> None:
    text = """model m {{
    input x: float[batch, 4, 3]
    target y: float[batch]
    param w: float[2]
    param m: float[2]
    param s: float[2] init ones
    d, q, k, v = 3, x, 2 * x, 3 * x
    {line}
    output f = {output}
}}
train {{ {minimize} }}"""
    plain = {"line": "loss = mean(y^2) + sum(w)", "output": "x", "minimize": "minimize loss using sgd(0.1)"}
    with pytest.raises(dlc.Error) as caught:
        dlc.compile(text.format(**plain | {"output": f"{word}(x)"}))
    assert caught.value.code == "E0244" and caught.value.help is not None
    instead = re.findall(r"`(.*?)`", caught.value.help)[0]
    place = "minimize" if instead.startswith("minimize") else "line" if instead.startswith("loss") else "output"
    dlc.compile(text.format(**plain | {place: instead}))
    page = (Path(__file__).parent.parent / "docs" / "errors" / "E0244.md").read_text("utf-8")
    assert f"`{word}`" in page and instead in page


def test_what_the_package_offers() -> None:
    assert dir(dlc) == sorted(dlc.__all__) and {"compile", "Trainer", "Error"} <= set(dir(dlc))
    assert all(getattr(dlc, name) is not None for name in dir(dlc))


def test_a_notebook_shows_the_message_and_no_traceback() -> None:
    with pytest.raises(dlc.Error) as caught:
        dlc.compile("model m { input x: float[batch, 2]\n output f = x @ <b> }")
    shown = caught.value._render_traceback_()
    assert "\n".join(shown) == caught.value.render()
    assert "&lt;b&gt;" in caught.value._repr_html_() and "<b>" not in caught.value._repr_html_()


def test_a_notebook_shows_programs_and_histories() -> None:
    program = dlc.compile(spec(settings="batch: all; epochs: 2"))
    assert "<td>w</td><td>float[3]</td>" in program._repr_html_()
    history = dlc.Trainer(program).fit({"x": np.ones((4, 3), np.float32), "y": np.ones(4, np.float32)})
    assert history._repr_html_().count("<tr>") == 3 and "train loss" in history._repr_html_()


def test_a_notebook_shows_trainers() -> None:
    many = " ".join(f"param p{i}: float;" for i in range(30))
    text = spec(settings="batch: all").replace("param w", many + " param w")
    text = text.replace("loss =", "loss = " + " + ".join(f"p{i}^2" for i in range(30)) + " +")
    trainer = dlc.Trainer(dlc.compile(text), device="cpu", seed=5)
    trainer.step({"x": np.ones((4, 3)), "y": np.ones(4)})
    shown = trainer._repr_html_()
    assert "<b>m</b>, cpu, seed 5: 1 updates" in shown and "<td>p3</td><td>float32 []</td>" in shown
    assert shown.count("<tr>") == 21 and "and 11 more" in shown
    model = dlc.compile(spec()).model_proto()
    for held in model.metadata_props:
        held.value = "<i>m</i>" if held.key == "dlc.model" else held.value
    model.graph.name = "<i>m</i>"
    odd = dlc.Trainer(model)._repr_html_()
    assert "<i>" not in odd and "&lt;i&gt;" in odd and "<td>w</td><td>float32 [3]</td>" in odd


def primitives() -> str:
    """The table of docs/library.md."""
    text = (Path(__file__).parent.parent / "docs" / "library.md").read_text("utf-8")
    return text.partition("\n## Primitives\n")[2].partition("\n\n")[2].partition("\n\n")[0]


def test_the_page_of_the_library_lists_every_function_of_the_compiler() -> None:
    assert not set(BUILTINS) - set(re.findall(r"`(\w+)[`(]", primitives()))


def test_the_arguments_of_a_function_stand_where_the_page_of_the_library_has_them() -> None:
    """`arctan2(y = 1, x = 0)` is π/2."""
    compared = 0
    for name, said in re.findall(r"`(\w+)\(([^`]*)\)`", primitives()):
        ours = [] if BUILTINS[name].open else [parameter for parameter, _ in BUILTINS[name].parameters]
        theirs = [part.partition("=")[0].strip() for part in re.split(r",(?![^\[]*\])", said)]
        for at, word in enumerate(theirs):
            if word in ours:
                assert ours.index(word) == at, name
                compared += 1
    assert compared > 40
    text = "model m {\n input a: float[n]\n output z = arctan2(y = 1, x = 0) + arctan2(x = a, y = 0)\n}"
    found = dlc.Trainer(dlc.compile(text, precision="float64")).predict({"a": np.array([1.0, -1.0])})
    np.testing.assert_allclose(found["z"], np.array([0.5, 1.5]) * np.pi, rtol=1e-14)


def test_no_row_of_the_library_stands_outside_its_table() -> None:
    lines = (Path(__file__).parent.parent / "docs" / "library.md").read_text("utf-8").splitlines()
    for before, line, after in zip(lines, lines[1:], lines[2:], strict=False):
        if line.startswith("|") and not before.startswith("|"):
            assert set(after) <= set("|- :"), line


def test_a_hyperparameter_as_an_option_leads_to_set(capsys: pytest.CaptureFixture[str]) -> None:
    from dlc.cli import main

    assert main(["train", "specs/digits.dl", "--lr", "3"]) == 2
    assert "`--set lr=3`" in capsys.readouterr().err


def test_a_name_of_the_text_comes_before_that_of_another_library() -> None:
    text = "model m {\n    input x: float[batch, 2]\n    logits = x |> dense(3)\n    output p = softmax(logit)\n}\n"
    with pytest.raises(dlc.Error) as caught:
        dlc.compile(text)
    assert caught.value.help == f"did you mean `logits`? The `logit` of other libraries: {foreign.NAMES['logit']}"
