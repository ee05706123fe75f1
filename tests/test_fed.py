"""The same rows, given as other libraries hold them, train the same: whole tables, pieces that are tables, rows and
batches with a value for each column; for a spec that takes arrays, and for one that names columns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.runtime import Error, Stream

pa = pytest.importorskip("pyarrow")
ARRAYS = """
model plain {
    input x: float[batch, 3]
    target y: int[batch]
    z = x |> dense(2)
    y ~ categorical(logits = z)
    output p = softmax(z)
}
train { minimize loss using sgd(0.1); epochs: 2; batch: 16; seed: 1 }
"""
COLUMNS = """
model named {
    input  size: float[batch, 2] from "x0", "x1" missing = median standardised
    input  town: int[batch] from "town" vocabulary
    target y:    int[batch] from "class" vocabulary
    z = concat([size, town |> embedding(4, 3)], axis = 1) |> dense(2)
    y ~ categorical(logits = z)
    output p = softmax(z)
}
train { minimize loss using sgd(0.1); epochs: 2; batch: 16; seed: 1 }
"""
RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)
PLAIN: dict[str, Any] = {"x0": X[:, 0], "x1": X[:, 1], "x2": X[:, 2], "y": Y}
NAMED: dict[str, Any] = {
    "x0": [None if i % 9 == 4 else float(x) for i, x in enumerate(X[:, 0])],
    "x1": [float(x) for x in X[:, 1]],
    "town": [("Ulm", "Bonn", "Köln")[i % 3] for i in range(100)],
    "class": ["high" if y else "low" for y in Y],
    "note": [f"row {i}" for i in range(100)],  # that nothing takes
}


def rows(columns: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def batches(columns: dict[str, Any]) -> list[dict[str, Any]]:
    return [{name: cells[at : at + 30] for name, cells in columns.items()} for at in range(0, 100, 30)]


def library(name: str) -> Any:
    return pytest.importorskip(name)


def hugging_face(columns: dict[str, Any], format: str | None = None) -> Any:
    return library("datasets").Dataset.from_dict(columns).with_format(format)


WAYS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "mapping": dict,
    "rows": rows,
    "generator of rows": lambda columns: (row for row in rows(columns)),
    "batches": batches,
    "pyarrow table": lambda columns: pa.table(columns),
    "pyarrow batches": lambda columns: pa.table(columns).to_batches(max_chunksize=30),
    "pyarrow reader": lambda columns: pa.table(columns).to_reader(),
    "pandas": lambda columns: library("pandas").DataFrame(columns),
    "pandas in chunks": lambda columns: (
        part for _, part in library("pandas").DataFrame(columns).groupby(np.arange(100) // 30)
    ),
    "polars": lambda columns: library("polars").DataFrame(columns),
    "polars in slices": lambda columns: library("polars").DataFrame(columns).iter_slices(30),
    "datasets": hugging_face,
    "datasets as numpy": lambda columns: hugging_face(columns, "numpy"),
    "datasets as pandas": lambda columns: hugging_face(columns, "pandas"),
    "datasets as polars": lambda columns: hugging_face(columns, "polars"),
    "datasets as arrow": lambda columns: hugging_face(columns, "arrow"),
    "datasets, iterable": lambda columns: hugging_face(columns).to_iterable_dataset(),
    "datasets in batches": lambda columns: hugging_face(columns, "numpy").iter(30),
}
OPTIONAL = ("pandas", "polars", "datasets", "torch")


def parameters(spec: str, data: object) -> dict[str, np.ndarray]:
    return dict(dlc.fit(spec, data, device="cpu").parameters)


@pytest.fixture(scope="module")
def expected() -> dict[str, dict[str, np.ndarray]]:
    return {ARRAYS: parameters(ARRAYS, {"x": X, "y": Y}), COLUMNS: parameters(COLUMNS, pa.table(NAMED))}


def same(expected: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> None:
    assert list(expected) == list(found)
    for name, array in expected.items():
        np.testing.assert_array_equal(array, found[name])


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=[pytest.mark.oracle] * way.startswith(OPTIONAL)) for way in WAYS]
)
@pytest.mark.parametrize(("spec", "columns"), [(ARRAYS, PLAIN), (COLUMNS, NAMED)], ids=["arrays", "columns"])
def test_whoever_holds_the_rows(spec: str, columns: dict[str, Any], way: str, expected: Any) -> None:
    same(expected[spec], parameters(spec, WAYS[way](columns)))


@pytest.mark.oracle
@pytest.mark.parametrize("format", [None, "numpy", "torch"])
def test_lists_of_hugging_face(format: str | None, expected: Any) -> None:
    """Rows whose cells are lists; also through a stream, and a loader with processes of its own."""
    made = hugging_face({"x": X.tolist(), "y": Y.tolist()}, format)
    same(expected[ARRAYS], parameters(ARRAYS, made))
    same(expected[ARRAYS], parameters(ARRAYS, made.to_iterable_dataset()))
    same(expected[ARRAYS], parameters(ARRAYS, Stream(made, shuffle=1000)))
    if format == "torch":
        loader = library("torch").utils.data.DataLoader
        same(expected[ARRAYS], parameters(ARRAYS, loader(made, batch_size=30, num_workers=2)))
    trainer = dlc.fit(ARRAYS, made, validation=made, device="cpu")
    assert trainer.predict(made.remove_columns("y"))["p"].shape == (100, 2)
    assert trainer.history is not None and trainer.history.epochs[-1]["validation"] == trainer.evaluate(made)


@pytest.mark.oracle
def test_pictures_of_hugging_face() -> None:
    """A column of images, packed and as arrays, of several sizes."""
    datasets = library("datasets")
    pixels = [RNG.integers(0, 256, (8 + i % 2, 8, 3), np.uint8) for i in range(20)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    made = datasets.Dataset.from_dict({"image": pixels, "label": [i % 2 for i in range(20)]}, features)
    spec = """
model seen {
    input  x: float[batch, 3, 8, 8] from "image" image
    target label: int[batch]
    z = reshape(x, [batch, 192]) |> dense(2)
    label ~ categorical(logits = z)
    output p = softmax(z)
}
train { minimize loss using sgd(0.1); epochs: 2; batch: 8; seed: 1 }
"""
    wanted = parameters(spec, {"image": pixels, "label": np.arange(20) % 2})
    same(wanted, parameters(spec, made))
    same(wanted, parameters(spec, [{"image": one, "label": i % 2} for i, one in enumerate(pixels)]))


def test_pieces_that_do_not_go_together() -> None:
    table = pa.table(PLAIN)
    for pieces, code in (
        ([table, {"x": X, "y": Y}], "E0603"),
        ([table, pa.table({**PLAIN, "x0": ["a"] * 100})], "E0626"),
        ([table.slice(0, 0)], "E0618"),
        ([{"x0": 1.0, "x1": 2.0, "y": 1}], "E0609"),  # no x2
        ([{**rows(PLAIN)[0], "x3": 1.0}], "E0611"),
        ([rows(PLAIN)[0], {"x0": 1.0, "x1": 2.0, "y": 1}], "E0609"),
        ({**PLAIN, "x1": X[:50, 1]}, "E0617"),
        (pa.Table.from_arrays([pa.array(Y)] * 4, ["x0", "x1", "x1", "y"]), "E0623"),
    ):
        with pytest.raises(Error) as caught:
            parameters(ARRAYS, pieces)
        assert caught.value.code == code, pieces


def test_a_table_read_in_chunks(tmp_path: Path, expected: Any) -> None:
    """`read_csv(chunksize=)` of pandas: what it infers of a column differs from chunk to chunk."""
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame(NAMED).to_csv(tmp_path / "t.csv", index=False)
    same(expected[COLUMNS], parameters(COLUMNS, pandas.read_csv(tmp_path / "t.csv", chunksize=7)))


def test_columns_that_hold_the_same() -> None:
    """Two columns of a table are told apart by their names, not by what they hold."""
    same_cells = {"x0": [1.0] * 8, "x1": [1.0] * 8, "x2": [1.0] * 8, "y": [0, 1] * 4}
    given = {"x": np.ones((8, 3), np.float32), "y": np.array([0, 1] * 4)}
    same(parameters(ARRAYS, given), parameters(ARRAYS, pa.table(same_cells)))
