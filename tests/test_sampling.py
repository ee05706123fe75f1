"""Which rows an epoch takes: `drop_last:`, `sampler: balanced` and `sampler: weighted(...)`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.runtime import Error, Stream, Trainer, random
from dlc.runtime.request import Request
from hypothesis import given, settings, strategies as st
from scipy import stats
from test_checkpoint import goes_on

SPEC = """model m {
    input x: float[batch]
    target y: int[batch] in 0..3
    y ~ categorical(logits = x[:, none] |> dense(3))
}
train { minimize loss using sgd(0.1); batch: BATCH; epochs: 2; seed: 4; LINES }
"""


def compiled(lines: str, batch: int = 8) -> dlc.Program:
    return dlc.compile(SPEC.replace("LINES", lines).replace("BATCH", str(batch)))


def rows(count: int, classes: int = 3) -> dict[str, np.ndarray]:
    """Numbered rows, most of class 0."""
    x = np.arange(count)
    return {"x": x.astype(np.float32), "y": np.where(x % 10 < 8, 0, 1 + x % 2) if classes > 1 else 0 * x}


def order(program: dlc.Program, data: Any, epoch: int, cursor: int = 0) -> list[list[int]]:
    source = Request(Trainer(program, device="cpu"), data).source
    made = [[int(one) for one in batch.arrays["x"]] for batch in source.batches(epoch, cursor)]
    assert sum(map(len, made)) == source.length(epoch) - cursor
    return made


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.booleans())
def test_a_short_last_batch_is_dropped(count: int, batch: int, streams: bool) -> None:
    data: Any = rows(count)
    stream: Any = Stream([data], shuffle=1) if streams else data
    kept = order(compiled("drop_last: true", batch), stream, 1)
    every = order(compiled("", batch), stream, 1)
    assert kept == ([part for part in every if len(part) == batch] or every)


def test_updates_are_counted_without_it(tmp_path: Path) -> None:
    trainer = Trainer(compiled("drop_last: true"), device="cpu")
    history = trainer.fit(rows(30), run=tmp_path)
    assert history.steps == 6 and history.epochs[-1]["epoch"] == 2
    assert Trainer(compiled(""), device="cpu").fit(rows(30)).steps == 8
    trainer = Trainer(compiled("drop_last: false"), device="cpu")
    assert trainer.fit(rows(30)).steps == 8


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=60), st.integers(0, 9))
def test_balanced_rows_are_of_the_classes_that_occur(labels: list[int], turn: int) -> None:
    drawn = random.balanced(np.array(labels), seed=2, turn=turn)
    assert len(drawn) == len(labels) and set(drawn.tolist()) <= set(range(len(labels)))
    assert drawn.tolist() == random.balanced(np.array(labels), seed=2, turn=turn).tolist()


def test_each_class_and_each_row_of_it_has_its_chance() -> None:
    """Against the chances that they should have, by the sum of squares (Pearson 1900)."""
    labels = np.repeat([5, 0, 2], [3, 17, 80])
    drawn = np.concatenate([random.balanced(labels, seed=1, turn=turn) for turn in range(600)])
    counts, wanted = np.bincount(drawn, minlength=100), 60_000 / 3 / np.bincount(labels)[labels]
    assert ((counts - wanted) ** 2 / wanted).sum() < 160  # 99 degrees: one in 10,000
    assert len({tuple(random.balanced(labels, seed=1, turn=turn)) for turn in range(9)}) == 9


def test_a_balanced_sampler(tmp_path: Path) -> None:
    data, program = rows(300), compiled("sampler: balanced")
    for epoch in (0, 1):
        whole = order(program, data, epoch)
        assert order(program, data, epoch, 80) == whole[10:]
        counts = np.bincount(data["y"][np.concatenate(whole).astype(int)])
        assert counts.sum() == 300 and counts.min() > 70
    assert order(program, data, 0) != order(program, data, 1)
    trainer = Trainer(compiled("sampler: balanced(y); drop_last: true"), device="cpu")
    assert trainer.fit(data, validation=0.2).steps == 60

    goes_on(program, data, 50, tmp_path)


def test_a_stream_has_no_sampler() -> None:
    with pytest.raises(Error) as caught:
        Trainer(compiled("sampler: balanced"), device="cpu").fit(Stream([rows(30)]))
    assert caught.value.code == "E0653"


def test_rows_are_drawn_in_proportion_to_their_weights() -> None:
    """Against the chances that they should have and against PyTorch's sampler, by the sum of squares."""
    torch = pytest.importorskip("torch")
    weights = np.array([0.0, 1, 2, 0, 7, 0.5, 0.05, 30, 3, 0])
    drawn = np.concatenate([random.weighted(weights, seed=1, turn=turn) for turn in range(6000)])
    counts = np.bincount(drawn, minlength=10)
    there = weights > 0
    assert (counts > 0).tolist() == there.tolist()
    assert stats.chisquare(counts[there], weights[there] / weights.sum() * 60_000).pvalue > 0.001
    torch.manual_seed(0)
    theirs = np.bincount(list(torch.utils.data.WeightedRandomSampler(weights, 60_000)), minlength=10)
    assert stats.chi2_contingency([counts[there], theirs[there]]).pvalue > 0.001
    assert len({tuple(random.weighted(weights, seed=1, turn=turn)) for turn in range(9)}) == 9


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 1e-300, 1e-9, 0.1, 1, 3, 1e9, 1e300]), min_size=1, max_size=40), st.integers(0, 9)
)
def test_no_row_of_weight_0_is_drawn(weights: list[float], turn: int) -> None:
    if not any(weights):
        weights = [*weights, 1.0]
    drawn = random.weighted(np.array(weights), seed=3, turn=turn)
    assert len(drawn) == len(weights) and all(weights[row] > 0 for row in drawn)


def test_a_weighted_sampler(tmp_path: Path) -> None:
    data, program = rows(300), compiled("sampler: weighted(where(y == 0, 0, 1) * x * epoch)")
    for epoch in (0, 1):
        whole = order(program, data, epoch)
        assert order(program, data, epoch, 80) == whole[10:]
        drawn = np.concatenate(whole).astype(int)
        assert len(drawn) == 300 and (data["y"][drawn] > 0).all() and drawn.mean() > 170
    assert order(program, data, 0) != order(program, data, 1)

    assert goes_on(program, data, 50, tmp_path, validation=0.2).steps == 60


def test_a_later_block_draws_by_the_same_weights_or_its_own() -> None:
    blocks = """
train { minimize loss using sgd(0.1); batch: 8; epochs: 1; sampler: weighted(y) }
train { minimize loss using sgd(0.1); epochs: 1 }
train { minimize loss using sgd(0.1); epochs: 1; sampler: balanced }"""
    program = dlc.compile(SPEC.split("train {")[0] + blocks)
    names = [{value.name for value in part.algorithm.output} for part in program.model_proto().training_info]
    assert ["rows/weight" in one for one in names] == [True, True, False]
    trainer = Trainer(program, device="cpu")
    assert trainer.fit(rows(40)).steps == 15


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("x - 3", "a weight is -3.0"),
        ("log(x - 5)", "a weight is nan"),
        ("1 / x", "a weight is inf"),
        ("0 * x", "every weight is 0"),
        ("where(epoch < 2, x, 0)", "in epoch 2: every weight is 0"),
    ],
)
def test_weights_by_which_no_row_can_be_drawn(weights: str, words: str) -> None:
    with pytest.raises(Error) as caught:
        Trainer(compiled(f"sampler: weighted({weights})"), device="cpu").fit(rows(30))
    assert caught.value.code == "E0655" and words in caught.value.message


@pytest.mark.parametrize(
    ("sampler", "code"),
    [
        ("weighted", "E0507"),
        ("weighted()", "E0507"),
        ("weighted(x, y)", "E0507"),
        ("weighted(1)", "E0540"),
        ("weighted(x / mean(x))", "E0542"),
        ("weighted(x * uniform_like(x))", "E0541"),
        ("weighted(x); keep: x > 2", "E0531"),
        ("weighted(x); order: x", "E0531"),
    ],
)
def test_weights_that_are_not_of_rows(sampler: str, code: str) -> None:
    with pytest.raises(dlc.Error) as caught:
        compiled(f"sampler: {sampler}")
    assert caught.value.records()[0]["code"] == code
