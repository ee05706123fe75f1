"""The estimators among scikit-learn's own tools: pipelines, searches, processes, weights, names of columns, files."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("onnxruntime")

import dlc
import onnxruntime
from dlc.cli.app import main
from dlc.runtime import Error
from dlc.sklearn import DLClassifier, DLRegressor, DLTransformer
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

pytestmark = pytest.mark.oracle
X, NUMBERS = load_iris(return_X_y=True)
Y = np.array(["setosa", "versicolor", "virginica"])[NUMBERS]
NAMES = ["a", "b", "c", "d"]


def classifier(**given: Any) -> DLClassifier:
    return DLClassifier(**{"epochs": 10, "random_state": 0, **given})


def frame() -> Any:
    pandas = pytest.importorskip("pandas")
    made = pandas.DataFrame(X, columns=NAMES)
    made["kind"] = [name[:2] for name in Y]
    return made


# --- among other tools


def test_columns_of_several_kinds() -> None:
    columns = [("numbers", StandardScaler(), NAMES), ("words", OneHotEncoder(), ["kind"])]
    model = Pipeline([("columns", ColumnTransformer(columns)), ("net", classifier())]).fit(frame(), Y)
    assert model.score(frame(), Y) > 0.97 and set(model.predict(frame())) == set(Y)
    model.set_params(net__hyperparameters__hidden=3)
    assert clone(model).get_params()["net__hyperparameters__hidden"] == 3


def test_processes_find_what_one_finds() -> None:
    grid = {"hyperparameters__hidden": [1, 8], "epochs": [2, 10]}
    found = [GridSearchCV(classifier(), grid, cv=3, n_jobs=jobs).fit(X, Y) for jobs in (1, 2)]
    assert found[0].best_params_ == found[1].best_params_ and found[0].best_params_["epochs"] == 10
    np.testing.assert_array_equal(found[0].cv_results_["mean_test_score"], found[1].cv_results_["mean_test_score"])
    alone, shared = (cross_val_score(classifier(), X, Y, cv=3, n_jobs=jobs) for jobs in (1, 2))
    np.testing.assert_array_equal(alone, shared)


@pytest.mark.parametrize(
    "tool",
    [
        lambda: BaggingClassifier(classifier(), n_estimators=2, random_state=0),
        lambda: VotingClassifier([("a", classifier()), ("b", classifier(random_state=1))], voting="soft"),
        lambda: StackingClassifier([("a", classifier())], cv=2),
        lambda: CalibratedClassifierCV(classifier(), cv=2),
    ],
    ids=["bagging", "voting", "stacking", "calibration"],
)
def test_tools_that_hold_estimators(tool: Any) -> None:
    assert tool().fit(X, Y).score(X, Y) > 0.8


def test_targets_of_other_scales_and_what_matters() -> None:
    made = TransformedTargetRegressor(DLRegressor(epochs=20, random_state=0), transformer=StandardScaler())
    assert made.fit(X[:, :3], X[:, 3]).score(X[:, :3], X[:, 3]) > 0.85
    found = permutation_importance(classifier().fit(X, Y), X, Y, n_repeats=2, random_state=0).importances_mean
    assert found.argmax() in (2, 3)  # the petals


def test_several_targets() -> None:
    made = DLRegressor(epochs=20, random_state=0).fit(X[:, :2], X[:, 2:])
    assert made.predict(X[:5, :2]).shape == (5, 2) and made.score(X[:, :2], X[:, 2:]) > 0.5


# --- weights


EXACT: dict[str, Any] = {"batch": "all", "epochs": 30, "random_state": 0}


@pytest.mark.parametrize(("made", "y"), [(DLClassifier, Y), (DLRegressor, X[:, :2]), (DLRegressor, X[:, 1])])
def test_a_weight_is_so_many_rows(made: Any, y: np.ndarray) -> None:
    """In batches of all rows, a row of weight 2 is two rows, and one of weight 0 is none."""
    weights = np.arange(len(X)) % 3
    one = made(**EXACT).fit(X, y, sample_weight=weights)
    same = made(**EXACT).fit(np.repeat(X, weights, axis=0), np.repeat(y, weights, axis=0))
    other = made(**EXACT).fit(X, y)
    ways = [each.predict_proba(X) if made is DLClassifier else each.predict(X) for each in (one, same, other)]
    np.testing.assert_allclose(ways[0], ways[1], rtol=1e-9, atol=1e-11)
    assert abs(ways[0] - ways[2]).max() > 1e-3


def test_weights_go_through_tools() -> None:
    weights = np.where(NUMBERS == 2, 0.0, 1.0)
    made = make_pipeline(StandardScaler(), classifier()).fit(X, Y, dlclassifier__sample_weight=weights)
    assert "virginica" not in made.predict(X)
    scores = cross_val_score(classifier(), X, Y, cv=3, params={"sample_weight": weights})
    assert scores.max() < 0.7  # a third of the rows is never foreseen


def test_what_else_a_spec_takes_is_given_by_name() -> None:
    spec = """
model m(features = 1, classes = 2) {
    input x: float[batch, features]
    target y: int[batch]
    target trust: float[batch] in 0..inf
    z = x |> dense(classes)
    y ~ weighted(categorical(logits = z), trust)
    output p = softmax(z)
}
train { minimize loss using adam(0.05); batch: all; epochs: 50; seed: 1 }
"""
    made = DLClassifier(spec).fit(X, Y, trust=np.where(NUMBERS == 2, 0.0, 1.0))
    assert set(made.predict(X)) == {"setosa", "versicolor"}
    with pytest.raises(TypeError, match="beside X and y the spec takes trust"):
        DLClassifier(spec).fit(X, Y, sample_weight=np.ones(150))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        DLClassifier(spec).fit(X, Y, trust=np.ones(3))
    with pytest.raises(Error) as caught:
        classifier().fit(X, Y, sample_weight=np.full(150, -1.0))
    assert caught.value.code == "E0620"


# --- names of columns


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_transformed_rows_as_a_table(kind: str) -> None:
    library = pytest.importorskip(kind)
    made = DLTransformer(hyperparameters={"code": 2}, epochs=3, random_state=0).set_output(transform=kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = make_pipeline(StandardScaler(), made).set_output(transform=kind).fit_transform(frame()[NAMES])
    assert isinstance(found, library.DataFrame) and list(found.columns) == ["dltransformer0", "dltransformer1"]
    assert list(made.feature_names_in_) == NAMES and made.get_feature_names_out().tolist() == list(found.columns)


# --- files


@pytest.mark.parametrize(
    "y",
    [Y, NUMBERS, NUMBERS == 1, NUMBERS.astype(np.int8) - 1, NUMBERS * 2.0, Y.astype(object)],
    ids=["words", "numbers", "booleans", "bytes", "floats", "objects"],
)
def test_a_classifier_comes_back_from_its_file(tmp_path: Path, y: np.ndarray) -> None:
    made = classifier(hyperparameters={"hidden": np.int64(8)}).fit(X, y)
    again = DLClassifier.load(made.save(tmp_path / "m.onnx"))
    np.testing.assert_array_equal(made.predict_proba(X), again.predict_proba(X))
    assert again.predict(X).dtype == made.predict(X).dtype and (again.predict(X) == made.predict(X)).all()
    assert again.get_params() == made.get_params() and again.history_ == made.history_
    assert again.n_iter_ == made.n_iter_ and again.score(X, y) == made.score(X, y)
    again.save(tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()
    clone(again).fit(X, y)


def test_other_estimators_come_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = DLRegressor(epochs=3, random_state=0).fit(frame()[NAMES[:3]], X[:, 3])
    again = DLRegressor.load(one.save(tmp_path / "r.onnx"))
    np.testing.assert_array_equal(one.predict(frame()[NAMES[:3]]), again.predict(frame()[NAMES[:3]]))
    assert again.predict(frame()[NAMES[:3]]).ndim == 1 and list(again.feature_names_in_) == NAMES[:3]
    with pytest.raises(ValueError, match="should match"):
        again.predict(frame()[["c", "b", "a"]])
    two = DLTransformer(epochs=3, random_state=0).fit(X)
    back = DLTransformer.load(two.save(tmp_path / "t.onnx"))
    np.testing.assert_array_equal(two.transform(X), back.transform(X))
    assert back.get_feature_names_out().tolist() == two.get_feature_names_out().tolist()
    for file in ("r.onnx", "t.onnx"):
        with pytest.raises(ValueError, match="is not of a classifier"):
            DLClassifier.load(tmp_path / file)
        assert main(["check", str(tmp_path / file)]) == 0  # a compiled file as any
    dlc.compile(Path(__file__).parent.parent / "specs" / "xor.dl").save(tmp_path / "xor.onnx")
    with pytest.raises(ValueError, match="was not written by `save`"):
        DLRegressor.load(tmp_path / "xor.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "r.onnx")
    np.testing.assert_allclose(session.run(None, {"x": X[:, :3]})[0][:, 0], one.predict(frame()[NAMES[:3]]))
    capsys.readouterr()
