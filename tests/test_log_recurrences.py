"""Recurrences in logarithms, where a logsumexp sees nothing but −∞: connectionist temporal classification, a hidden
Markov chain, a running sum that is masked. Values and derivatives against every path counted, and against PyTorch."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import dlc
import numpy as np
import pytest
from library_sweep import Compiled
from op_cases import slope

TIME, CLASSES, LABELS = 4, 3, [[1, 2], [2, 2]]

# Graves, Fernández, Gomez and Schmidhuber 2006, equations 5 to 8: blanks (class 0) between the labels.
CTC = """model ctc {
    input z: float[batch, time, k]
    input y: int[batch, n]
    input skip: bool[batch, n]                          # whether a label may follow the one before without a blank
    e = log_softmax(z)
    scan t over time {
        state a: float[batch, n] = broadcast_to(where(arange(n) == 0, 0.0, -inf), [batch, n])
        one = pad(a[:, :-1], [1, 0], axis = 1, value = -inf)
        two = where(skip, pad(a[:, :-2], [2, 0], axis = 1, value = -inf), -inf)
        a <- logsumexp(stack([a, one, two], axis = -1), axis = -1) + take_along(e[:, t], y)
    }
    lost = -logsumexp(a[:, -2:], axis = 1)
    output value = lost
    output slope = grad(sum(lost), z)
    output bend  = hvp(sum(lost), z, z)
}"""


def between_blanks() -> tuple[np.ndarray, np.ndarray]:
    spread = np.zeros((len(LABELS), 2 * len(LABELS[0]) + 1), int)
    spread[:, 1::2] = LABELS
    skip = np.zeros(spread.shape, bool)
    skip[:, 3::2] = spread[:, 3::2] != spread[:, 1:-2:2]
    return spread, skip


def collapsed(path: tuple[int, ...]) -> list[int]:
    return [label for label, _ in itertools.groupby(path) if label]


def ctc_by_paths(z: np.ndarray) -> np.ndarray:
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    return np.array(
        [
            -np.log(
                sum(
                    np.prod(p[row, range(TIME), path])
                    for path in itertools.product(range(CLASSES), repeat=TIME)
                    if collapsed(path) == label
                )
            )
            for row, label in enumerate(LABELS)
        ]
    )


def numeric(function: Callable[[np.ndarray], np.ndarray], at: np.ndarray) -> np.ndarray:
    """The gradient of the sum by differences."""
    found = np.empty(at.shape)
    for index in np.ndindex(at.shape):
        unit = np.zeros(at.shape)
        unit[index] = 1
        found[index] = slope(lambda h, unit=unit: function(at + h * unit).sum())  # type: ignore[misc]
    return found


@pytest.mark.parametrize(("precision", "tolerance"), [("float64", 1e-7), ("float32", 1e-5)])
def test_connectionist_temporal_classification(precision: str, tolerance: float) -> None:
    spec = Compiled(CTC, precision)
    z = np.random.default_rng(0).normal(size=(len(LABELS), TIME, CLASSES))
    y, skip = between_blanks()
    feeds = {"z": z, "y": y, "skip": skip}
    wanted = {"value": ctc_by_paths(z), "slope": numeric(ctc_by_paths, z)}
    for found in (spec(feeds), spec.stock(feeds, False), spec.stock(feeds, True)):
        for name, right in wanted.items():
            np.testing.assert_allclose(found[name], right, rtol=tolerance, atol=tolerance, err_msg=name)
    h = 1e-4
    along = (spec({**feeds, "z": z * (1 + h)})["slope"] - spec({**feeds, "z": z * (1 - h)})["slope"]) / (2 * h)
    np.testing.assert_allclose(spec.stock(feeds)["bend"], along, rtol=1e-5, atol=1e-5)


def test_connectionist_temporal_classification_against_pytorch() -> None:
    torch = pytest.importorskip("torch")
    time, classes, labels = 12, 5, np.array([[1, 1, 4], [3, 2, 3], [2, 4, 4]])
    z = np.random.default_rng(1).normal(size=(3, time, classes)) * 3
    spread = np.zeros((3, 7), int)
    spread[:, 1::2] = labels
    skip = np.zeros(spread.shape, bool)
    skip[:, 3::2] = labels[:, 1:] != labels[:, :-1]
    found = Compiled(CTC).stock({"z": z, "y": spread, "skip": skip})
    leaf = torch.tensor(z, requires_grad=True)
    lost = torch.nn.functional.ctc_loss(
        torch.log_softmax(leaf, -1).transpose(0, 1), torch.tensor(labels), [time] * 3, [3] * 3, reduction="none"
    )
    lost.sum().backward()
    np.testing.assert_allclose(found["value"], lost.detach().numpy(), rtol=1e-10)
    np.testing.assert_allclose(found["slope"], leaf.grad.numpy(), rtol=1e-8, atol=1e-12)


CHAIN = """model chain(n = 4) {
    input  e: float[batch, time, n]                     # log emission
    param T: float[n, n] init zeros
    scan t over time {
        state a: float[batch, n] = broadcast_to(where(arange(n) == 0, 0.0, -inf), [batch, n])
        one = pad(a[:, :-1], [1, 0], axis = 1, value = -inf)
        a <- logsumexp(stack([a + T[0], one + T[1]], axis = -1), axis = -1) + e[:, t]
    }
    loss = -mean(logsumexp(a, axis = 1))
    output likelihood = logsumexp(a, axis = 1)
}
train { minimize loss using sgd(0.1); batch: all; epochs: 20 }"""


def chain(e: Any, T: Any) -> float:
    """The mean of log Σ over the paths from state 0, by products of matrices."""
    move = np.diag(np.exp(T[0])) + np.diag(np.exp(T[1, 1:]), 1)
    total = []
    for row in e:
        a = np.eye(len(T))[0]
        for emission in row:
            a = (a @ move) * np.exp(emission)
        total.append(np.log(a.sum()))
    return float(np.mean(total))


@pytest.mark.parametrize(("precision", "tolerance"), [("float64", 1e-8), ("float32", 1e-5)])
def test_a_hidden_markov_chain_trains(precision: str, tolerance: float) -> None:
    """20 epochs of gradient descent, against the same by differences of the closed form."""
    e = np.log(np.random.default_rng(0).dirichlet(np.ones(4), (6, 5)))
    trainer = dlc.Trainer(dlc.compile(CHAIN, precision=precision))
    trainer.fit({"e": e})
    T = np.zeros((4, 4))
    for _ in range(20):
        T = T + 0.1 * numeric(lambda T: np.asarray(chain(e, T)), T)
    np.testing.assert_allclose(trainer.parameters["T"], T, rtol=tolerance, atol=tolerance)


def test_a_masked_running_sum() -> None:
    """What is masked has derivative 0, also where nothing was there before, or at all."""
    spec = Compiled("""model m {
        input e: float[batch, time]
        input on: bool[batch, time]
        scan t over time {
            state a: float[batch] = -inf
            a <- logaddexp(a, where(on[:, t], e[:, t], -inf))
            state b: float[batch] = -inf
            b <- logsumexp(stack([b, where(on[:, t], e[:, t], -inf)], axis = 1), axis = 1)
        }
        output a = a
        output b = b
        output by_a = grad(sum(a), e)
        output by_b = grad(sum(b), e)
    }""")
    rng = np.random.default_rng(3)
    e, on = rng.normal(size=(6, 5)), rng.random((6, 5)) < 0.5
    on[0], on[1] = False, [False, False, True, True, False]
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(on, np.exp(e), 0)
        total, share = np.log(weight.sum(1)), np.where(on.any(1)[:, None], weight / weight.sum(1, keepdims=True), 0)
    for found in (spec({"e": e, "on": on}), spec.stock({"e": e, "on": on}, False), spec.stock({"e": e, "on": on})):
        for name in ("a", "b"):
            np.testing.assert_allclose(found[name], total, rtol=1e-12)
            np.testing.assert_allclose(found[f"by_{name}"], share, rtol=1e-12, atol=1e-15)
