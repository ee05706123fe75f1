"""What messages on words of other libraries say to write has the value that it has there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.ir import interpret
from dlc.syntax import names
from library_sweep import Compiled
from word_forms import FORMS, INPUTS, SPEC, VALUES as GIVEN, spec, value
from word_values import UNLIKE, VALUES

DENSITIES = {
    "bernoulli": "where(x > 0.5, 1, 0)",
    "categorical": "y",
    "poisson": "floor(exp(x))",
    "negative_binomial": "floor(exp(x))",
    "binomial": "where(x > 0.5, 1, 0)",
    "multinomial": "one_hot(y, 3)",
    "beta": "sigmoid(x)",
    "dirichlet": "softmax(x)",
    "truncated_normal": "0.01 * tanh(x)",
    "mixture": "t",
    **dict.fromkeys(("exponential", "gamma", "log_normal"), "exp(x)"),
    **dict.fromkeys(("student_t", "cauchy", "von_mises", "multivariate_normal"), "x"),
    **dict.fromkeys(("normal", "laplace", "half_normal", "half_cauchy", "uniform"), "x"),
}
LOSSES = """
model m(n = 4) {{{given}
    input y: int[batch]
    input t: float[batch]{values}
    loss other = sum(theta^2)
    {form}
    output o = x
}}
train {{ minimize loss using sgd(0.1) }}
"""
COMPARED = sorted({(above, form) for above, form in FORMS if value(form) is not None and value(form) in VALUES})


def test_every_form_is_compared_or_has_a_reason() -> None:
    for _, form in FORMS:
        found = value(form)
        assert found is None or found in VALUES or any(part in found for part in UNLIKE), found
    assert {value(form) for _, form in COMPARED} == {*VALUES} and len(VALUES) > 250


def expression(form: str) -> str:
    """Of a distribution, the logarithm of its density."""
    name = form.partition("(")[0]
    if name in DENSITIES and form.endswith(")"):
        return f"log_density({form}, {DENSITIES[name]})"
    return f"stack({form})" if name in ("split", "rfft") else form  # a list and a pair


DATA = {
    "any": lambda rng, shape: rng.normal(0, 1, shape),
    "unit": lambda rng, shape: rng.uniform(0.1, 0.9, shape),
    "above": lambda rng, shape: rng.uniform(1.1, 2.9, shape),
    "below": lambda rng, shape: rng.uniform(-2.9, -0.1, shape),
}


def of_numpy(tensor: Any) -> np.ndarray:
    return np.asarray(tensor.detach().cpu() if hasattr(tensor, "detach") else tensor)


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, Any]]:
    """The values of all forms, and of what they are made of, for each kind of data."""
    lines, losses = [], {}
    for number, (above, form) in enumerate(COMPARED):
        if " ~ " in form:
            losses[number] = Compiled(LOSSES.format(given=INPUTS.format(init="zeros"), values=GIVEN, form=form)).graph
            continue
        lines += [*above.split(";"), f"output form_{number} = {expression(value(form) or '')}"]
        lines += [line for line in GIVEN.strip().splitlines() if above]  # what it has hidden
    for name in ("prediction", "hit", "a", "b", "q", "k", "v", "p", "logits", "s", "c", "theta", "K", "T", "V"):
        lines.append(f"output given_{name} = {name}")
    text = "model m(n = 4) {" + INPUTS.format(init="zeros") + "\n input y: int[batch]\n input t: float[batch]" + GIVEN
    compiled = Compiled(text + "\n" + "\n".join(lines) + "\n}\n")
    outcome = {}
    for kind, draw in DATA.items():
        rng = np.random.default_rng(7)
        values: dict[str, Any] = {"x": draw(rng, (6, 4)), "w": draw(rng, (6, 4, 3)), "h": draw(rng, (6, 4, 6, 6))}
        values |= {"y": np.array([0, 1, 1, 0, 1, 2 if kind == "any" else 0]), "t": draw(rng, 6)}
        shapes = {"theta": (4, 4), "K": (3, 4, 3, 3), "T": (4, 3, 4), "V": (4, 3)}
        values |= {name: rng.normal(0, 1, shape) for name, shape in shapes.items()}
        outcome[kind] = values | compiled(values)
        for number, graph in losses.items():
            loss = interpret.evaluate([graph.outputs["loss"]], values)[0]
            outcome[kind][f"form_{number}"] = loss - (values["theta"] ** 2).sum()
    return outcome


@pytest.fixture(scope="module")
def others() -> SimpleNamespace:
    torch = pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    import scipy
    import scipy.special
    import scipy.stats
    import sklearn.metrics
    import sklearn.preprocessing

    def of_onnx(operator: str, x: Any, **attributes: Any) -> Any:
        from onnx import TensorProto, helper
        from onnx.reference import ReferenceEvaluator

        node = helper.make_node(operator, ["x"], ["y"], **attributes)
        ends = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, None) for name in "xy"]
        graph = helper.make_graph([node], operator, ends[:1], ends[1:])
        return ReferenceEvaluator(helper.make_model(graph)).run(None, {"x": of_numpy(x)})[0]

    functional = torch.nn.functional
    return SimpleNamespace(torch=torch, F=functional, scipy=scipy, sklearn=sklearn, numpy=np, np=of_numpy, onnx=of_onnx)


@pytest.mark.oracle
@pytest.mark.parametrize("number", range(len(COMPARED)), ids=[form for _, form in COMPARED])
def test_a_form_has_the_value_of_the_other_library(number: int, found: Any, others: SimpleNamespace) -> None:
    row = VALUES[value(COMPARED[number][1]) or ""]
    kind, function = row if isinstance(row, tuple) else ("any", row)
    data = found[kind]
    given = {name.removeprefix("given_"): others.torch.as_tensor(v) for name, v in data.items() if "form_" not in name}
    given["bits"] = (given["x"] > 0.5).double()
    given["counts"] = others.torch.floor(others.torch.exp(given["x"]))
    expected = function(SimpleNamespace(**vars(others), **given))
    ours = np.asarray(data[f"form_{number}"], np.float64)
    for one in expected if isinstance(expected, tuple) else [expected]:
        wanted = np.asarray(of_numpy(one), np.float64)
        assert np.isfinite(wanted).all() and ours.shape == wanted.shape
        np.testing.assert_allclose(ours, wanted, rtol=2e-6, atol=2e-7)


# A schedule of PyTorch, and the updates that it is compared over.
SCHEDULES = {
    "CosineAnnealingLR": lambda of, by: of.CosineAnnealingLR(by, 20),
    "PolynomialLR": lambda of, by: of.PolynomialLR(by, 200, 2.0),
    "LinearLR": lambda of, by: of.LinearLR(by),
    "CosineAnnealingWarmRestarts": lambda of, by: of.CosineAnnealingWarmRestarts(by, 100),
    "CyclicLR": lambda of, by: of.CyclicLR(by, 1e-3, 1e-2, 200, cycle_momentum=False),
    "ConstantLR": lambda of, by: of.ConstantLR(by),
    "ExponentialLR": lambda of, by: of.ExponentialLR(by, 0.99),
    "StepLR": lambda of, by: of.StepLR(by, 100),
    "OneCycleLR": lambda of, by: of.OneCycleLR(by, 1e-3, 20, cycle_momentum=False),
    "MultiStepLR": lambda of, by: of.MultiStepLR(by, [30, 80]),
}


@pytest.mark.oracle
@pytest.mark.parametrize("word", SCHEDULES)
def test_a_schedule_has_the_rates_of_the_other_library(word: str) -> None:
    torch = pytest.importorskip("torch")
    said = names.table()[word]
    rate = said[said.index("using ") + 6 :].partition("(")[2].partition(")`")[0]
    compiled = Compiled("model m { input x: float; output rate = x * (" + rate + ") }")
    by = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-3)
    schedule = SCHEDULES[word](torch.optim.lr_scheduler, by)
    for done in range(20 if "steps" in rate else 450):
        ours = compiled({"x": np.array(1.0), "step": np.array(done), "steps": np.array(20)})["rate"]
        assert ours == pytest.approx(by.param_groups[0]["lr"], rel=1e-5), done
        by.step()
        schedule.step()


def test_the_spec_of_the_forms_compiles() -> None:
    dlc.compile(spec("", "made = x"))
    assert "minimize" in SPEC
