"""scikit-learn's estimators of specs: its own checks, searches and pipelines, and files that take the same rows."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("onnxruntime")

import onnxruntime
from dlc.runtime import CompiledFile, Error, Trainer
from dlc.sklearn import DLClassifier, DLRegressor, DLTransformer
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

pytestmark = pytest.mark.oracle
ALL = [DLClassifier, DLRegressor, DLTransformer]
LINEAR = """
model line(features = 1) {
    input x: float[batch, features]
    target y: float[batch, 1]
    p = x |> dense(1)
    loss = mean((y - p)^2)
    output p = p
}
train line(lr = 0.1) { minimize loss using sgd(lr); batch: all; steps: 300 }
"""


@pytest.mark.parametrize("estimator", ALL)
@pytest.mark.filterwarnings("ignore")
def test_the_checks_of_scikit_learn(estimator: Any) -> None:
    results = check_estimator(estimator(), on_fail=None)
    assert len(results) > 40
    assert [found["check_name"] for found in results if found["status"] not in ("passed", "skipped")] == []


def test_as_good_as_the_usual_models() -> None:
    X, y = load_iris(return_X_y=True)
    usual = cross_val_score(make_pipeline(StandardScaler(), LogisticRegression()), X, y).mean()
    assert cross_val_score(DLClassifier(random_state=0), X, y).mean() >= usual - 0.03
    X, y = load_diabetes(return_X_y=True)
    usual = cross_val_score(Ridge(0.01), X, y).mean()
    ours = DLRegressor(random_state=0, hyperparameters={"hidden": 8, "decay": 0.02, "lr": 3e-3}, epochs=30)
    assert cross_val_score(ours, X, y).mean() >= usual - 0.05


def test_a_spec_of_ones_own_and_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = X @ [1.0, -2.0, 0.5] + 3
    found = DLRegressor(LINEAR, hyperparameters={"lr": 0.2}).fit(X, y)
    np.testing.assert_allclose(found.predict(X), y, atol=1e-9)
    assert found.n_iter_ == 300 and found.n_features_in_ == 3


def test_a_transformer_finds_the_plane_of_the_principal_components() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 6)) + 0.01 * rng.normal(size=(200, 6))
    code = DLTransformer(hyperparameters={"code": 2}, epochs=300, random_state=0).fit_transform(X)
    wanted = PCA(2).fit_transform(StandardScaler().fit_transform(X))
    design = np.column_stack([code, np.ones(len(code))])
    rest = wanted - design @ np.linalg.lstsq(design, wanted)[0]
    assert rest.var() < 0.01 * wanted.var()


def test_a_search_varies_hyperparameters() -> None:
    X, y = load_iris(return_X_y=True)
    search = GridSearchCV(DLClassifier(random_state=0), {"hyperparameters__hidden": [1, 16]}, cv=2).fit(X, y)
    assert search.best_params_ == {"hyperparameters__hidden": 16} and search.best_score_ > 0.9
    assert clone(search.best_estimator_).hyperparameters == {"hidden": 16}


def test_what_is_kept_is_the_compiled_file(tmp_path: Path) -> None:
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    found = DLClassifier(random_state=0, epochs=10, precision="float32").fit(X, names)
    assert set(found.predict(X)) == set(names)
    session = onnxruntime.InferenceSession(found.save(tmp_path / "m.onnx"))
    [stock] = session.run(None, {"x": X.astype(np.float32)})
    np.testing.assert_allclose(stock, found.predict_proba(X), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found)).predict_proba(X), found.predict_proba(X))
    trainer = Trainer(CompiledFile.load(tmp_path / "m.onnx"), device="cpu")
    np.testing.assert_allclose(trainer.predict({"x": X})["probability"], found.predict_proba(X), rtol=1e-6)


def test_the_seed_is_that_of_scikit_learn() -> None:
    X, y = load_iris(return_X_y=True)
    one, same, other = (DLClassifier(random_state=seed, epochs=3).fit(X, y).predict_proba(X) for seed in (1, 1, 2))
    assert (one == same).all() and (one != other).any()


def test_a_spec_that_is_wrong_is_an_error_of_the_spec() -> None:
    X, y = load_iris(return_X_y=True)
    with pytest.raises(Error) as caught:
        DLClassifier(hyperparameters={"hiden": 3}).fit(X, y)
    assert caught.value.diagnostics[0].code.startswith("E")
