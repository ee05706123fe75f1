"""Texts as data: columns by words and by characters, lines of text files, texts in folders of their classes."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import onnxruntime
import pytest
from dlc.runtime import Error, Trainer
from dlc.runtime.data.shares import places as split_rows
from hypothesis import given, settings, strategies as st
from test_table_columns import SPECS, fitted, refused, stock
from test_tables import zst

TEXTS = ["abca", "b c", "", "ca"]


def known(trainer: Trainer, name: str = "a") -> list[str]:
    assert trainer.file.table is not None
    return trainer.file.table.words(name)


def split(texts: list[str]) -> np.ndarray:
    """Texts as any tool feeds them: a character in each cell, "" behind the end of a text."""
    longest = max(map(len, texts))
    return np.array([[*text, *[""] * (longest - len(text))] for text in texts], object)


def test_characters_of_texts(tmp_path: Path) -> None:
    lines = '    input a: int[batch, 3] from "text" characters'
    trainer = fitted(lines, {"text": TEXTS}, value="sum(a)")
    assert known(trainer) == ["", "  ", " ", "a", "b", "c"]
    new = ["cab", "x  a", "", "aaaa"]
    wanted = [[5, 3, 4], [1, 2, 2], [0, 0, 0], [3, 3, 3]]
    assert trainer.predict({"text": new})["o"].tolist() == wanted
    assert stock(trainer, tmp_path / "m.onnx", {"a": split(new)})["o"].tolist() == wanted
    trainer = fitted('    input a: int[batch, 3] from "text" characters(2)', {"text": TEXTS}, value="sum(a)")
    assert known(trainer) == ["", "  ", "a", "c"]


@pytest.mark.parametrize("encoding", ["words", "characters"])
def test_a_free_dimension_is_as_long_as_the_longest(encoding: str, tmp_path: Path) -> None:
    texts = ["a b a", "", "b"] if encoding == "words" else ["aba", "", "b"]
    trainer = fitted(f'    input a: int[batch, time] from "text" {encoding}', {"text": texts}, value="sum(a)")
    assert trainer.predict({"text": texts})["o"].tolist() == [[2, 3, 2], [0, 0, 0], [3, 0, 0]]
    feeds = np.array(texts, object) if encoding == "words" else split(texts)
    assert stock(trainer, tmp_path / "m.onnx", {"a": feeds})["o"].tolist() == [[2, 3, 2], [0, 0, 0], [3, 0, 0]]
    assert trainer.predict({"text": ["", ""]})["o"].tolist() == [[0], [0]]


def test_parts_of_many_texts_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are encoded many at a time, each time as long as the longest of them."""
    texts = ["a" * (1 + 7 * k % 5) for k in range(40)]
    trainer = fitted('    input a: int[batch, time] from "text" characters', {"text": texts}, value="sum(a)")
    whole = trainer.predict({"text": texts})["o"]
    monkeypatch.setattr("dlc.runtime.columns.SIZE", 1)
    np.testing.assert_array_equal(trainer.predict({"text": texts})["o"], whole)
    assert (whole > 0).sum(axis=1).tolist() == [len(text) for text in texts]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Z"]), max_size=6), min_size=1))
def test_any_character_has_its_place(texts: list[str]) -> None:
    """The places, read backwards, are the texts again."""
    trainer = fitted('    input a: int[batch, 6] from "text" characters', {"text": texts}, value="sum(a)")
    words = known(trainer)
    assert ["".join(words[place] for place in row) for row in trainer.predict({"text": texts})["o"]] == texts


def test_a_mask_counts_what_is_there() -> None:
    lines = '    input t: int[batch, time] from "text" characters\n    a = sum(where(t > 0, 1, 0), axis = 1)'
    made: Any = fitted(lines, {"text": TEXTS}, value="sum(a)").predict({"text": TEXTS})["o"]
    assert made.tolist() == [len(text) for text in TEXTS]


def test_what_texts_cannot_be() -> None:
    lines = '    input i: int[batch, 3] from "text" characters\n    a = embedding(4, 2)(i)'
    found = refused(lines, {"text": ["abc"]}, "E0693")
    assert found.message == "`i` has 3 characters where the spec has room for 2"


# --- from files


SPEC = """model m(symbols = 40) {
    input  t: int[batch, 8] from "text" characters
    target k: int[batch] from "KIND" vocabulary
    logits = mean(t |> embedding(symbols, 4), axis = 1) |> dense(2)
    k ~ categorical(logits = logits)
    output t_places = t
}
train { minimize loss using adam(1e-2); epochs: 2; batch: 2 }
"""


def places(data: object, kind: str) -> tuple[list[str], list[list[int]]]:
    """The words of the target, and the places of the characters."""
    trainer = Trainer(dlc.compile(SPEC.replace("KIND", kind)), device="cpu")
    trainer.fit(data)
    return known(trainer, "k"), trainer.predict(data)["t_places"].tolist()


def test_lines_of_text_files(tmp_path: Path) -> None:
    (tmp_path / "low.txt").write_text("ab\n\n  \nba \r\n")
    (tmp_path / "up.txt").write_bytes("\ufeffAB".encode())
    (tmp_path / "notes.md").write_text("not read")
    made = places(tmp_path, "file")
    wanted = {"text": ["ab", "ba", "AB"], "file": ["low", "low", "up"]}
    assert made == places(wanted, "file") and made[0] == ["low", "up"] and len(made[1]) == 3


@pytest.mark.parametrize("ending", ["txt", "txt.gz", "txt.zst", "TXT"])
def test_packed_text_files(ending: str, tmp_path: Path) -> None:
    data, path = b"ab\nba\n", tmp_path / f"low.{ending}"
    if ending.endswith("zst"):
        zst(data, path)
    else:
        path.write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    assert places(path, "file") == places({"text": ["ab", "ba"], "file": ["low", "low"]}, "file")


def test_texts_in_folders_of_their_classes(tmp_path: Path) -> None:
    for name, texts in (("good", ["ab\ncd", "x"]), ("bad", ["dc", " "])):
        (tmp_path / name).mkdir()
        for number, text in enumerate(texts):
            (tmp_path / name / f"{number}.txt").write_text(text)
    wanted = {"text": ["dc", "ab\ncd", "x"], "class": ["bad", "good", "good"]}
    assert places(tmp_path, "class") == places(wanted, "class")


def unread(data: Path, kind: str = "file") -> Error:
    with pytest.raises(Error) as caught:
        places(data, kind)
    return caught.value


def test_text_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes("größe".encode("latin1"))
    found = unread(path)
    assert (found.code, found.where) == ("E0650", str(path)) and "byte 2" in found.notes[0]
    path.write_text("\n \n")
    assert unread(path).code == "E0618"
    path.write_text("ab\n")
    assert unread(path, "class").code == "E0627"
    assert unread(tmp_path / "none.txt").code == "E0602"
    (tmp_path / "t.txt.gz").write_bytes(b"\x1f\x8bno")
    assert unread(tmp_path / "t.txt.gz").code == "E0604"
    path.write_text("ab\nba\n")
    plain = dlc.compile(SPEC.replace('from "text" characters', "").replace("KIND", "file"))
    with pytest.raises(Error) as caught:
        Trainer(plain, device="cpu").fit(path)
    assert caught.value.code == "E0609"


def test_languages_reach_what_scikit_learn_reaches(tmp_path: Path) -> None:
    """Against a logistic regression of the numbers of one, two and three characters in a row, on the same words."""
    pytest.importorskip("sklearn")
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    spec = SPECS / "tables" / "languages.dl"
    assert len(spec.read_text().splitlines()) <= 25
    rows = [
        (line, file.stem)
        for file in sorted((SPECS / "data" / "languages").glob("*.txt"))
        for line in file.read_text(encoding="utf-8").split()
    ]
    x, y = (np.array(column, object) for column in zip(*rows, strict=True))
    train, held = (np.sort(side) for side in split_rows(len(rows), 0, 0.25, 0.0, "")[:2])
    usual = make_pipeline(CountVectorizer(analyzer="char", ngram_range=(1, 3)), LogisticRegression(max_iter=1000))
    score = usual.fit(x[train], y[train]).score(x[held], y[held])
    trainer = Trainer(dlc.compile(spec), device="cpu")
    trainer.fit()
    trainer.save(tmp_path / "m.onnx")
    # ONNX Runtime alone, characters in cells
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    reached = np.mean(session.run(["file"], {"letters": split(x[held].tolist())})[0] == y[held])
    print(f"languages: {reached:.3f}, scikit-learn {score:.3f}")
    assert reached >= score - 0.01, (reached, score)
    assert reached >= 0.85
