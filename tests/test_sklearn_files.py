"""Files of estimators that say what is not so: whatever they say is held to the file, and one error says where."""

from __future__ import annotations

import copy
import json
import tracemalloc
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("onnxruntime")

from dlc.defaults import PRECISIONS
from dlc.runtime import CompiledFile, Error
from dlc.sklearn import KEY, DLClassifier, DLRegressor, DLTransformer, Params
from onnx import ModelProto, helper
from sklearn.datasets import load_iris

pytestmark = pytest.mark.oracle
X, NUMBERS = load_iris(return_X_y=True)
Y = np.array(["setosa", "versicolor", "virginica"])[NUMBERS]
KINDS = {DLClassifier: "classifier", DLRegressor: "regressor", DLTransformer: "transformer"}
HUGE = 10**13
ANY: list[Any] = [None, True, 7, -1, 0, 0.5, HUGE, 10**400, "word", [], [7], {}, {"a": 1}, [[[[]]]]]
REMOVED = object()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Path]:
    """A file of each estimator, with names of columns."""
    pandas = pytest.importorskip("pandas")
    table, folder = pandas.DataFrame(X, columns=list("abcd")), tmp_path_factory.mktemp("estimators")
    wanted = {DLClassifier: Y, DLRegressor: X[:, 0], DLTransformer: None}
    return {
        made: made(epochs=1, random_state=0, hyperparameters={"lr": 0.01}).fit(table, y).save(folder / f"{i}.onnx")
        for i, (made, y) in enumerate(wanted.items())
    }


def says(path: Path) -> Any:
    return json.loads(CompiledFile.load(path).metadata[KEY])


def altered(path: Path, to: Path, text: str) -> Path:
    """The file with another text of the key, and the checksum of that."""
    _with_text(path, text).save(to)
    return to


def _with_text(path: Path, text: str) -> CompiledFile:
    file, held = CompiledFile.load(path), ModelProto()
    held.CopyFrom(file.model)
    helper.set_model_props(held, {**file.metadata, KEY: text})
    return CompiledFile(held, check=False)


def loads(kind: Any, path: Path, measured: bool = True) -> Any:
    """The estimator; what it may not be is the one error, said before much memory is taken."""
    if measured:
        tracemalloc.start()
    try:
        return kind.load(path)
    except Error as problem:
        assert problem.code == "E0703" and isinstance(problem, ValueError), problem
        assert f"is not of a {KINDS[kind]}" in problem.message and problem.where == str(path) and problem.help
        notes = " ".join(problem.notes)
        assert "found " in notes and "expected " in notes and len(problem.render()) < 1500
        return None
    finally:
        if measured:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 2**25


def with_value(told: Any, place: tuple[str, ...], value: Any) -> Any:
    made = copy.deepcopy(told)
    at = made
    for name in place[:-1]:
        at = at[name]
    if value is REMOVED:
        del at[place[-1]]
    else:
        at[place[-1]] = value
    return made


@pytest.mark.parametrize("kind", KINDS, ids=KINDS.values())
def test_each_field_removed_or_of_another_kind(
    kind: Any, saved: dict[Any, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the text alone: the file is read once."""
    told = says(saved[kind])
    file = _with_text(saved[kind], "")
    monkeypatch.setattr(CompiledFile, "load", lambda path: file)
    monkeypatch.setattr("dlc.sklearn._without", lambda model: model)
    places = [(name,) for name in told] + [("params", name) for name in told["params"]]
    optional = [("classes",), ("dtype",), ("flat",)]
    refused = 0
    for place in places:
        for value in [REMOVED, *ANY]:
            made = with_value(told, place, value)
            if made == told and value is not True:
                continue
            file.metadata[KEY] = json.dumps(made)
            found = loads(kind, saved[kind], measured=False)
            refused += found is None
            if value is REMOVED:
                assert (found is None) == (place not in optional or told[place[0]] is not None), place
            if found is None:
                continue
            # what loads agrees with the file
            assert found.n_features_in_ == 4
            assert place[0] == "params" or value is REMOVED or value in (None, True, [])
    assert refused > 140


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("features",), HUGE),
        (("features",), -1),
        (("features",), 3),
        (("names",), ["a"]),
        (("names",), ["a", "b", "c", 7]),
        (("updates",), 6),
        (("history",), [{"epoch": HUGE}]),
        (("classes",), ["a"]),
        (("classes",), ["a", "b", "c", "d"]),
        (("classes",), ["a", "a", "b"]),
        (("classes",), ["b", "a", "c"]),
        (("classes",), ["a", "b", 7]),
        (("classes",), ["a", "b", "c" * 11]),
        *[
            (("dtype",), dtype)
            for dtype in (
                "<U900000000",
                "<U99999999",
                "<U1",
                "<i7",
                "<i8",
                "|b1",
                "|V8",
                "<M8[s]",
                "<c16",
                "<f16",
                "|O9",
                "<U٣",
            )
        ],
        (("params", "precision"), 7),
        (("params", "precision"), "float128"),
        (("params", "epochs"), HUGE),
        (("params", "batch"), "some"),
        (("params", "validation"), 2.0),
        (("params", "random_state"), 2**32),
        (("params", "hyperparameters"), {"hidden": {"a": 1}}),
    ],
)
def test_what_the_file_cannot_be(place: tuple[str, ...], value: Any, saved: dict[Any, Path], tmp_path: Path) -> None:
    made = with_value(says(saved[DLClassifier]), place, value)
    assert loads(DLClassifier, altered(saved[DLClassifier], tmp_path / "m.onnx", json.dumps(made))) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "[" * 100_000, '{"features": ' + "9" * 5000 + "}"])
def test_what_is_no_such_json(text: str, saved: dict[Any, Path], tmp_path: Path) -> None:
    assert loads(DLRegressor, altered(saved[DLRegressor], tmp_path / "m.onnx", text)) is None


@pytest.mark.parametrize(
    ("dtype", "classes", "taken"),
    [
        ("|i1", [-1, 0, 1], True),
        ("|i1", [0, 1, 128], False),
        ("<u8", [0, 1, 2**64 - 1], True),
        ("<i8", [0, 1, 2.0], False),
        ("<f2", [0.0, 1.0, 1e300], False),
        ("<f2", [1.0, 1.0001, 2.0], False),
        (">f8", [0.0, 1.0, 2.5], True),
        ("|O", ["a", "b", "c"], True),
        ("|O", ["a", "b", 3], False),
        ("|b1", [False, True, 1], False),
    ],
)
def test_classes_are_of_their_type(
    dtype: str, classes: list[Any], taken: bool, saved: dict[Any, Path], tmp_path: Path
) -> None:
    told = {**says(saved[DLClassifier]), "dtype": dtype, "classes": classes}
    found = loads(DLClassifier, altered(saved[DLClassifier], tmp_path / "m.onnx", json.dumps(told)))
    assert (found is not None) == taken
    if found is not None:
        assert found.classes_.dtype.str == dtype and found.classes_.tolist() == classes
        assert {*found.predict(X)} <= {*classes}


def test_the_file_of_another_estimator(saved: dict[Any, Path]) -> None:
    for kind in KINDS:
        for other, path in saved.items():
            assert (loads(kind, path) is None) == (kind is not other)


def test_lists_come_back_as_what_can_be_fitted(saved: dict[Any, Path], tmp_path: Path) -> None:
    told = with_value(says(saved[DLRegressor]), ("params", "hyperparameters"), {"lr": 0.1, "sizes": [1, [2, "a"]]})
    found = loads(DLRegressor, altered(saved[DLRegressor], tmp_path / "m.onnx", json.dumps(told)))
    assert found.hyperparameters == {"lr": 0.1, "sizes": (1, (2, "a"))}


def test_the_precisions_are_those_of_the_compiler() -> None:
    assert get_args(get_type_hints(Params)["precision"]) == PRECISIONS


def test_a_spec_of_other_classes_than_the_data_have() -> None:
    spec = """
model m(features = 1) {
    input x: float[batch, features]
    target y: int[batch]
    z = x |> dense(5)
    y ~ categorical(logits = z)
    output p = softmax(z)
}
train { minimize loss using adam(0.05); batch: all; epochs: 1; seed: 1 }
"""
    with pytest.raises(ValueError, match="has 5 columns, and the data have 3 classes"):
        DLClassifier(spec).fit(X, Y)
