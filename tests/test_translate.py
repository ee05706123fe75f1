"""A decoder that is fed what it wrote and stops: it learns, predicts, resumes; beam search against all texts."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import onnx
import onnxruntime
import pytest
from library_sweep import Compiled
from scipy import special
from test_checkpoint import Interrupt, same
from test_early_end import nodes

SPEC = Path(__file__).parent.parent / "specs" / "translate.dl"


@pytest.fixture(scope="module")
def trained() -> Any:
    trainer = dlc.Trainer(dlc.compile(SPEC), device="cpu")
    trainer.fit()
    return trainer


def words(count: int, seed: int = 11, longest: int = 6) -> tuple[Any, Any]:
    """Sources that the training had not, and what they are backwards, with the end behind it."""
    rng = np.random.default_rng(seed)
    source, y = np.zeros((count, longest), np.int64), np.zeros((count, longest + 1), np.int64)
    for row, length in enumerate(rng.integers(2, longest + 1, count)):
        source[row, :length] = rng.integers(2, 8, length)
        y[row, :length], y[row, length] = source[row, :length][::-1], 1
    return source, y


def test_it_writes_words_backwards(trained: Any) -> None:
    source, y = words(200)
    found = trained.predict({"source": source})
    for name in ("translation", "likeliest"):
        right = (found[name] == y).all(1)
        assert right.mean() > 0.9, name
    alone = np.concatenate([trained.predict({"source": row[None]})["translation"] for row in source[:20]])
    np.testing.assert_array_equal(alone, found["translation"][:20])  # whoever else is in the batch


def test_it_stops(trained: Any, tmp_path: Path) -> None:
    """Where every row has ended no more words are made: the Loop of the file tells how many."""
    trained.save(tmp_path / "translate.onnx")
    model = onnx.load(tmp_path / "translate.onnx")
    del model.training_info[:]
    measured = {name for node in model.graph.node if node.op_type == "Shape" for name in node.input}
    collected = [name for node in model.graph.node if node.op_type == "Loop" for name in node.output]
    [kept] = [name for name in collected if name in measured]
    model.graph.output.append(onnx.ValueInfoProto(name=kept))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for length in (2, 4, 6):
        source = np.zeros((3, 6), np.int64)
        source[:, :length] = np.random.default_rng(length).integers(2, 8, (3, length))
        [made] = session.run([kept], {"source": source})
        assert made.shape[0] == length + 1


def test_resumed_from_the_middle_bit_for_bit(tmp_path: Path) -> None:
    program = dlc.compile(SPEC, set={"hidden": 5, "width": 4, "epochs": 3})
    data = dict(np.load(SPEC.parent / "data" / "backwards.npz"))
    data = {name: value[:200] for name, value in data.items()}
    whole, part = (dlc.Trainer(program, device="cpu") for _ in range(2))
    whole.fit(data)
    with pytest.raises(KeyboardInterrupt):
        part.fit(data, run=tmp_path, callbacks=[Interrupt(5)])
    again = dlc.Trainer.resume(next(tmp_path.iterdir()), device="cpu")
    again.fit(data)
    same(whole, again)


CHAIN = """
layer chain(words: int)(word: int[batch, k], h: float[batch, k, n]) -> float[batch, k, words], float[batch, k, n] {
    param table: float[words, n]
    param out: float[n, words]
    h = tanh(0.7 * h + table[word])
    return 3 * (h @ out), h
}
model m {
    input start: float[batch, 3]
    f = chain(WORDS)
    text, score = beam_search(f, start, width = WIDTH, longest = LONGEST, first = 0, last = 1)
    output text = text
    output score = score
}
"""
WORDS, LONGEST = 3, 4


def logits_of(values: dict[str, Any], word: int, h: Any) -> tuple[Any, Any]:
    h = np.tanh(0.7 * h + values["f.table"][word])
    return special.log_softmax(3 * h @ values["f.out"]), h


def scored(values: dict[str, Any], text: tuple[int, ...], h: Any) -> float:
    total, word = 0.0, 0
    for then in text:
        log_p, h = logits_of(values, word, h)
        total, word = total + log_p[then], then
    return total


def every_text() -> list[tuple[int, ...]]:
    """All that end with 1, and those of the full length without."""
    found = []
    for length in range(1, LONGEST + 1):
        for text in product(range(WORDS), repeat=length):
            if 1 not in text[:-1] and (text[-1] == 1 or length == LONGEST):
                found.append(text)
    return found


def searched(values: dict[str, Any], h: Any, width: int) -> list[tuple[float, tuple[int, ...]]]:
    """A beam search on lists."""
    beam: list[tuple[float, tuple[int, ...], Any]] = [(0.0, (), h)]
    for _ in range(LONGEST):
        new = []
        for score, text, state in beam:
            if text[-1:] == (1,):
                new.append((score, text, state))
                continue
            log_p, moved = logits_of(values, text[-1] if text else 0, state)
            new += [(score + log_p[word], (*text, word), moved) for word in range(WORDS)]
        beam = sorted(new, key=lambda entry: -entry[0])[:width]
    return [(score, text) for score, text, _ in beam]


@pytest.mark.parametrize("width", [1, 2, 3, 60])
def test_beam_search(width: int) -> None:
    """With few texts kept it is a beam search on lists, with all of them an exhaustive one."""
    text = CHAIN.replace("WORDS", str(WORDS)).replace("WIDTH", str(width)).replace("LONGEST", str(LONGEST))
    spec = Compiled(text)
    assert {node.op_type for node in nodes(spec.model.graph)} & {"Loop", "Scan"} == {"Loop"}
    for seed in range(5):
        rng = np.random.default_rng(seed)
        values = {"f.table": rng.normal(0, 1.5, (WORDS, 3)), "f.out": rng.normal(0, 1.5, (3, WORDS))}
        start = rng.normal(size=(4, 3))
        found = spec.stock({**values, "start": start})
        for row in range(4):
            if width == 60:
                texts = sorted(((scored(values, t, start[row]), t) for t in every_text()), reverse=True)
            else:
                texts = searched(values, start[row], width)
            for place, (score, best) in enumerate(texts[:width]):
                assert found["score"][row, place] == pytest.approx(score, rel=1e-12, abs=1e-12)
                assert tuple(found["text"][row, place]) == best + (0,) * (LONGEST - len(best))
            assert np.isneginf(found["score"][row, len(texts) :]).all()
