"""The setting `columns`: which columns of a CSV file are an input or a target."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import dlc
import numpy as np
import pytest
from dlc.cli import main
from dlc.syntax.format import format_source
from dlc.syntax.parser import make_source

SPEC = """model m {
    input  x: float[batch, 2]
    target y: float[batch]
    param w: float[2] init ones
    p = x @ w
    loss = squared(p, y)
    output p = p
    metric seen = sum(x)
}
train {
    minimize loss using sgd(0.0)
    batch: all
    epochs: 1
    columns: COLUMNS
}
"""
FILES = {
    "named": "a,b,y\n1,2,3\n2,3,5\n3,4,7\n",
    "both": "x0,x1,a,b,y\n9,9,1,2,3\n9,9,2,3,5\n9,9,3,4,7\n",
    "xz": "x,z,y\n1,2,3\n2,3,5\n3,4,7\n",
    "label": "b,y,a,label\n2,0,1,3\n3,0,2,5\n4,0,3,7\n",
    "one": "a,y\n1,3\n2,5\n",
}


def seen(tmp_path: Path, file: str, columns: str) -> dict[str, float]:
    """The figures of an epoch at a rate of 0, by a spec that is compiled, written and read again."""
    data = tmp_path / "d.csv"
    data.write_text(FILES[file])
    dlc.compile(SPEC.replace("COLUMNS", columns)).save(tmp_path / "m.onnx")
    trainer = dlc.Trainer(str(tmp_path / "m.onnx"))
    trainer.fit(data)
    assert np.array_equal(trainer.predict(data)["p"], [3, 5, 7])
    return trainer.evaluate(data)


@pytest.mark.parametrize(
    ("file", "columns"),
    [
        ("named", '["a", "b"]'),
        ("both", '["a", "b"]'),
        ("xz", '["x", "z"]'),
        ("named", '{ x: ["a", "b"] }'),
        ("label", '{ x: ["a", "b"], y: ["label"] }'),
        ("label", '{\n        y: "label",\n        x: ["a", "b"],\n    }'),
    ],
)
def test_they_are_read_in_their_order(tmp_path: Path, file: str, columns: str) -> None:
    assert seen(tmp_path, file, columns) == {"loss": 0, "seen": 15}


@pytest.mark.parametrize(
    ("file", "columns", "code", "message"),
    [
        ("both", '["nosuch", "b"]', "E0627", "the data have no column `nosuch`, which `columns` gives for `x`"),
        ("named", '{ y: ["Y"] }', "E0627", "the data have no column `Y`, which `columns` gives for `y`"),
        ("one", '["a"]', "E0611", "`columns` gives 1 of the columns that make `x`, where 2 are expected"),
        ("named", '{ y: ["a", "b"] }', "E0611", "`columns` gives 2 of the columns that make `y`, where 1 are expected"),
    ],
)
def test_columns_that_do_not_fit_the_file(tmp_path: Path, file: str, columns: str, code: str, message: str) -> None:
    with pytest.raises(dlc.Error) as caught:
        seen(tmp_path, file, columns)
    assert (caught.value.code, caught.value.message) == (code, message)
    assert caught.value.where == f"{tmp_path / 'd.csv'}:1"


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ("[]", "E0507"),
        ("[1, 2]", "E0507"),
        ("{ x: 3 }", "E0507"),
        ("{ x: [] }", "E0507"),
        ('"a"', "E0507"),
        ('{ z: ["a"] }', "E0641"),
        ('{ x: ["a"], x: ["b"] }', "E0129"),
        ("{ }", "E0102"),
        ('{ x: ["a"]; y: "b" }', "E0102"),
    ],
)
def test_columns_that_the_model_refuses(columns: str, code: str) -> None:
    with pytest.raises(dlc.Error) as caught:
        dlc.compile(SPEC.replace("COLUMNS", columns))
    assert [record["code"] for record in caught.value.records()] == [code]


def test_columns_of_a_first_spec(tmp_path: Path) -> None:
    spec = """model a {
    input x: float[batch, 4]
    target y: float[batch]
    p = (x |> dense(16) |> relu |> dense(1))[:, 0]
    loss = squared(p, y)
    output prediction = p
}
train a { minimize loss using adam(1e-2); data: "a.csv"; columns: ["a", "b", "c", "d"]; epochs: 5; validate: 0.2 }
"""
    (tmp_path / "a.dl").write_text(spec)
    rows = np.random.default_rng(0).uniform(size=(40, 5))
    (tmp_path / "a.csv").write_text("y,d,c,b,a\n" + "".join(",".join(map(repr, row)) + "\n" for row in rows.tolist()))
    trainer = dlc.Trainer(dlc.compile(tmp_path / "a.dl"))
    assert trainer.fit().epochs[-1]["validation"]["loss"] < 1
    assert np.array_equal(
        trainer.predict(tmp_path / "a.csv")["prediction"], trainer.predict({"x": rows[:, :0:-1]})["prediction"]
    )


def test_several_inputs_and_other_shapes(tmp_path: Path) -> None:
    program = dlc.compile("""model m {
    input  x: float[batch, 2, 2]
    input  b: int[batch]
    target y: float[batch]
    param w: float init ones
    p = w * x[:, 1, 0] + b
    loss = squared(p, y)
    output p = p
}
train {
    minimize loss using sgd(0.0)
    epochs: 1
    columns: { b: "größe (cm)", x: ["p", "q", "r", "s"] }
}""")
    (tmp_path / "d.csv").write_text("größe (cm),s,r,q,p,y\n1,2,3,4,5,4\n", encoding="utf-8")
    trainer = dlc.Trainer(program)
    assert trainer.evaluate(tmp_path / "d.csv")["loss"] == 0
    with pytest.raises(dlc.Error) as caught:
        dlc.compile(
            "model m { input a: float[batch]; input b: float[batch]; param w: float; loss = mean(w * a * b) }\n"
            'train { minimize loss using sgd(0.1); columns: ["a", "b"] }'
        )
    assert caught.value.records()[0]["code"] == "E0640"


def test_settings_hold_a_mapping() -> None:
    for given in (["a", "b"], {"x": ["a", "b"]}, {"x": ("a", "b")}):
        assert dlc.compile(SPEC.replace("COLUMNS", "none"), columns=given).settings["train"]["columns"] == {
            "x": ["a", "b"]
        }
    assert dlc.compile(SPEC.replace("COLUMNS", "none")).settings["train"]["columns"] is None


def test_the_command_line_sets_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "m.dl").write_text(SPEC.replace("COLUMNS", "none"))
    (tmp_path / "d.csv").write_text(FILES["label"])
    for given, status in (('{ x: ["a", "b"], y: "label" }', 0), ('["a", "b"]', 0), ("{ x: [", 2), ("{ x: 1 } }", 2)):
        place = ["--data", str(tmp_path / "d.csv"), "--runs", str(tmp_path)]
        assert main(["train", str(tmp_path / "m.dl"), "--set", f"columns={given}", *place]) == status
        assert status or "seen 15" in capsys.readouterr().out
    assert "E0507" in capsys.readouterr().err


def test_a_mapping_is_laid_out_as_a_bracket() -> None:
    source = 'train{\nminimize loss using sgd(1)\ncolumns:{x:["a","b"],\n# why\ny:"label"\n}\n}\n'
    laid_out = format_source(make_source(source))
    assert (
        laid_out
        == """train {
    minimize loss using sgd(1)
    columns: { x: ["a", "b"],
        # why
        y: "label"
    }
}
"""
    )
    assert format_source(make_source(laid_out)) == laid_out


HEADERS = """model m {
    input  x: float[batch, 2] from FIRST, SECOND
    target y: float[batch] from "y"
    param w: float[2] init ones
    p = x @ (w * stack([1, 100]))
    loss = squared(p, y)
    output p = p
}
train { minimize loss using sgd(0.0); epochs: 1 }
"""
WRITTEN = [  # the header, what the spec asks for, and in which columns that is
    ('"age ",b,y', '"age "', 0),
    ('"age ",b,y', '"age"', 0),
    ("age,b,y", '" age "', 0),
    ('age,"age ",y', '"age"', 0),
    ('age,"age ",y', '"age "', 1),
    ("b, age,y", '" age"', 1),
    ('b, "age",y', '"age"', 1),
    ('b,"a,b ",y', '"a,b "', 1),
    ('b,"a\nb",y', '"a\nb"', 1),
    ("\ufeffage,b,y", '"age"', 0),
    ('\ufeff"age ",b,y', '"age "', 0),
    ("Age,age,y", '"Age"', 0),
    ("Age,age,y", '"age"', 1),
    ("b,'age',y", "\"'age'\"", 1),
    ("b,caf\u00e9,y", '"cafe\u0301"', 1),
    ("\n\nage ,b,y", '"age "', 0),
    ("b,\u00a0age\u3000,y", '"age"', 1),
]


@pytest.mark.parametrize("kind", ["csv", "table", "mapping", "parquet", "jsonl"])
@pytest.mark.parametrize(("header", "asked", "place"), WRITTEN)
def test_a_name_is_found_as_it_is_written_and_else_but_for_blanks(
    tmp_path: Path, header: str, asked: str, place: int, kind: str
) -> None:
    text = HEADERS.replace("FIRST", asked.replace("\n", "\\n")).replace("SECOND", '"y"')
    data = tmp_path / f"d.{kind}"
    (tmp_path / "d.csv").write_text(f"{header}\n1,2,3\n4,5,6\n", encoding="utf-8", newline="")
    if kind != "csv":
        pa = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        lines = header.lstrip("\ufeff\n").splitlines(True)
        names = list(next(row for row in csv.reader(lines, skipinitialspace=' "' in header) if row))
        columns = dict(zip(names, ([1.0, 4.0], [2.0, 5.0], [3.0, 6.0]), strict=True))
        if kind == "parquet":
            parquet.write_table(pa.table(columns), data)
        elif kind == "jsonl":
            rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
            data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    given = {"table": lambda: pa.table(columns), "mapping": lambda: columns}.get(kind, lambda: data)()
    trainer = dlc.Trainer(dlc.compile(text), device="cpu")
    trainer.fit(given)
    wanted = np.array([[1, 2], [4, 5]])[:, place] + 100 * np.array([3, 6])
    assert np.array_equal(trainer.predict(given)["p"], wanted)


@pytest.mark.parametrize(("header", "asked"), [('" age","age ",y', '"age"'), ('"x ", ",x\t,y', '"x"')])
def test_a_name_that_could_be_two_columns_is_refused(tmp_path: Path, header: str, asked: str) -> None:
    data = tmp_path / "d.csv"
    data.write_text(f"{header}\n1,2,3\n4,5,6\n".replace('", ",', '",'))
    text = HEADERS.replace("FIRST", asked).replace("SECOND", '"y"')
    with pytest.raises(dlc.Error) as caught:
        dlc.Trainer(dlc.compile(text), device="cpu").fit(data)
    assert caught.value.code == "E0623" and "could be any of 2 columns" in caught.value.message


def test_other_columns_of_almost_one_name_do_no_harm(tmp_path: Path) -> None:
    data = tmp_path / "d.csv"
    data.write_text('a,b,z," z",y\n1,2,0,0,3\n2,3,0,0,5\n')
    trainer = dlc.Trainer(dlc.compile(SPEC.replace("COLUMNS", '["a", "b"]')), device="cpu")
    trainer.fit(data)
    assert np.array_equal(trainer.predict(data)["p"], [3, 5])
