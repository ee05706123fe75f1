"""What a newcomer reads who compares a column with a vector: types of values of the text, never of the library's."""

from __future__ import annotations

import re

import pytest
from dlc.diagnostics import CompileError
from dlc.pipeline import check
from dlc.syntax.parser import make_source

SPEC = """
model m {{
    input  x: float[batch, 4]
    {target}
    z = x |> dense({width})
    {line}
    output z = z
}}
train {{ minimize loss using sgd }}
"""
VECTOR, COLUMN = "target y: float[batch]", "target y: float[batch, 1]"
WRITTEN = {"float[batch]", "float[batch, 1]", "float[batch, 4]"}
LIKELIHOODS = """normal(z, 1); bernoulli(logits = z); poisson(exp(z)); laplace(z, 1); student_t(z, 1, 3); cauchy(z, 1)
gamma(exp(z), 1); beta(exp(z), 1); negative_binomial(exp(z), 1); log_normal(z, 1); exponential(exp(z))
geometric(logits = z); binomial(5, logits = z); normal(0, exp(z)); weibull(exp(z), 2)
gumbel(z, 1); logistic(z, 1)
half_normal(exp(z)); pareto(exp(z), 1); uniform(z, z + 1); inverse_gamma(exp(z), 1); von_mises(z, 1)"""
LOSSES = """huber(z, y); squared(z, y); absolute(z, y); hinge(z, y); binary_cross_entropy(z, y); log_cosh(z, y)
focal(z, y); quantile_loss(z, y, 0.5); smooth_absolute(z, y); poisson_loss(z, y); squared_hinge(z, y)
squared_log(exp(z), y)"""


def listed(text: str) -> list[str]:
    return [one.strip() for one in re.split("[;\n]", text)]


def refused(line: str, target: str, width: int) -> list[CompileError]:
    try:
        check(make_source(SPEC.format(line=line, target=target, width=width), "m.dl"))
    except CompileError as problem:
        return [problem]
    return []


@pytest.mark.parametrize(
    "said", [*(f"y ~ {one}" for one in listed(LIKELIHOODS)), *(f"loss = {x}" for x in listed(LOSSES))]
)
def test_rows_that_meet_are_those_of_the_text(said: str) -> None:
    """A column of predictions and a vector of targets make pairs of rows inside a likelihood or a loss."""
    for problem in refused(said, VECTOR, 1):
        for diagnostic in problem.diagnostics:
            if diagnostic.code != "E0504":
                continue
            labels = [label.text for label in diagnostic.labels]
            types = set(re.findall(r"`(\w+\[[^`]*\])`", " ".join(labels)))
            assert types <= WRITTEN, labels
            assert {"float[batch]", "float[batch, 1]"} <= types, labels
            places = [label.span.text for label in diagnostic.labels]
            assert VECTOR in places[1:], places


def test_most_of_them_make_pairs() -> None:
    """So that the test before is of what it says: of these the names are the library's, and the pairs arise."""
    codes = [
        diagnostic.code
        for said in [*(f"y ~ {one}" for one in listed(LIKELIHOODS)), *(f"loss = {x}" for x in listed(LOSSES))]
        for problem in refused(said, VECTOR, 1)
        for diagnostic in problem.diagnostics
    ]

    assert codes.count("E0504") >= 20


@pytest.mark.parametrize(
    ("said", "target", "width"),
    [
        ("y ~ bernoulli(logits = z[:, 0])", COLUMN, 1),
        ("loss = mean((y - z)^2)", VECTOR, 1),
        ("loss = mean(huber(z |> relu, y))", VECTOR, 1),
        ("fn gap(a, b) { return a - b }\n    loss = mean(gap(z, y)^2)", VECTOR, 1),
    ],
)
def test_expressions_of_ones_own_are_named(said: str, target: str, width: int) -> None:
    [problem] = refused(said, target, width)
    labels = [label.text for label in problem.diagnostics[0].labels]
    assert labels[0].startswith("each row of `float[batch") and "float[batch, batch]" not in " ".join(labels)
