"""What `dlc data` says of data: ranges, gaps, words, classes, and likely mistakes in them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import dlc
import numpy as np
import pytest
from dlc.cli.app import main
from dlc.runtime import Trainer
from dlc.runtime.describe import Description, describe

SPECS = Path(__file__).parents[1] / "specs"
SPEC = """model m {
    input  x: float[batch, 3]
    target y: int[batch]
    logits = x |> dense(3)
    y ~ categorical(logits = logits)
    output p = softmax(logits)
}
train { minimize loss using adam(1e-2); validate: 0.25 }
"""


def data(rows: int = 80) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    return {"x": draw.normal(size=(rows, 3)).astype(np.float32), "y": np.arange(rows) % 3}


def told(given: object, **more: object) -> Description:
    return describe(Trainer(dlc.compile(SPEC), device="cpu"), given, **more)  # type: ignore[arg-type]


def test_numbers_and_classes() -> None:
    given = data()
    found = told(given)
    x, y = found.fields
    assert (found.rows, found.held, found.warnings) == (60, 20, ())
    assert x.type == "float[batch, 3]" and not x.target and y.target
    assert sum(y.classes.values()) == 60 and set(y.classes) == {0, 1, 2}
    assert x.low >= given["x"].min() and x.high <= given["x"].max() and np.shape(x.first) == (5, 3)


def test_what_is_likely_a_mistake() -> None:
    given = data()
    assert any("is 1 in every training row" in text for text in told({**given, "x": np.ones((80, 3))}).warnings)
    still = given["x"].copy()
    still[:, 1] = 4
    assert told({**given, "x": still}).warnings == ("`x` is the same in every training row at 1",)
    leak = given["x"].copy()
    leak[:, 2] = 5 - 2 * given["y"]
    [text] = told({**given, "x": leak}).warnings
    assert text.startswith("`x` at 2 says what `y` is (correlation 1.0000)")
    twice = {name: np.concatenate([array[:40], array[:40]]) for name, array in given.items()}
    found = told(twice).warnings
    assert found[0].endswith("training rows repeat another in every number")
    assert found[1].endswith("rows for validation are among those for training")
    assert not told({name: array[:40] for name, array in twice.items()}).warnings


def test_classes_that_one_side_lacks() -> None:
    given = data()
    held = {name: array[given["y"] < 2][:20] for name, array in data(60).items() for given in [data(60)]}
    held["x"] = held["x"] + 100
    assert told(given, validation=held).warnings == ("no row for validation has the class 2 of `y`",)
    train = {name: array[given["y"] < 2] for name, array in given.items()}
    held = {"x": given["x"] + 100, "y": given["y"]}
    assert told(train, validation=held).warnings == ("no row for training has the class 2 of `y`",)


def test_a_table_with_words_and_gaps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = SPECS / "tables" / "penguins.dl"
    assert main(["data", str(spec), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    fields = {one["name"]: one for one in found["fields"]}
    assert (found["rows"], found["held"]) == (258, 86)
    assert fields["body"]["missing"] == 8 and fields["sex"]["missing"] == 11
    assert fields["kind"]["words"] == ["Adelie", "Chinstrap", "Gentoo"]
    assert fields["body"]["first"][3] == [None] * 4 and fields["sex"]["first"][0] == "male"
    assert main(["data", str(spec)]) == 0
    text = capsys.readouterr().out
    assert "target kind: int[batch]  of species\n" in text and "  rows Adelie 120, Chinstrap 50, Gentoo 88\n" in text
    assert main(["data", str(spec), "--data", "nowhere.csv"]) == 2
    capsys.readouterr()
    (tmp_path / "bare.dl").write_text(re.sub(" *data: .*", "", spec.read_text("utf-8")))  # it names no data
    assert main(["data", str(tmp_path / "bare.dl")]) == 2
    assert "  --> bare.dl\n" in capsys.readouterr().err


def test_a_long_row_is_shown_by_its_first_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    """13 columns, of which 8 stand there: the line says that there are more. Of 4 all do."""
    assert main(["data", str(SPECS / "tables" / "wine.dl")]) == 0
    assert "first [14.23, 1.71, 2.43, 15.6, 127, 2.8, 3.06, 0.28, ...], [" in capsys.readouterr().out
    assert main(["data", str(SPECS / "tables" / "penguins.dl")]) == 0
    assert "first [39.1, 18.7, 181, 3750], [" in capsys.readouterr().out
