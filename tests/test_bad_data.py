"""Kinds of bad data, one after another: each is refused with a code, the place and a way out before anything is trained
or written, or `dlc data` warns of it. None is silently accepted; what looks odd and is right is taken as what it is."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dlc
import ml_dtypes
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from dlc.cli import main
from dlc.runtime.data.check import BatchCheck
from dlc.runtime.data.fields import Field
from dlc.runtime.describe import describe

CLASSES = """model m {
    input  x: float[batch, 3]
    target y: int[batch]
    logits = x |> dense(3)
    y ~ categorical(logits = logits)
    output p = softmax(logits)
}
train { minimize loss using adam(1e-2); validate: 0.25; batch: 8; epochs: 2 }
"""
NUMBERS = """model m {
    input  x: float[batch, 3]
    target y: float[batch]
    y ~ normal((x |> dense(1))[:, 0], 1)
}
train { minimize loss using adam(1e-2); batch: 8; epochs: 2 }
"""
COLUMNS = """model m {
    input  age: float[batch] from "age" standardised
    input  city: int[batch] from "city" vocabulary
    input  day: float[batch, 1] from "day" date("days") standardised
    target label: int[batch] from "kind" vocabulary
    logits = concat([age[:, none], day, city |> embedding(5, 2)], axis = 1) |> dense(2)
    label ~ categorical(logits = logits)
    output kind = argmax(logits, axis = -1)
}
train { minimize loss using adam(1e-2); batch: 8; epochs: 2 }
"""
TEXTS = """model m {
    input text: int[batch, 8] from "text" characters
    loss = mean((text |> embedding(64, 2))^2)
    output t = text
}
train { minimize loss using adam(1e-2); batch: 8; epochs: 2 }
"""
ROWS = 24
X = np.random.default_rng(0).normal(size=(ROWS, 3))
Y = np.arange(ROWS) % 3
SEVENTH = np.arange(3 * ROWS).reshape(ROWS, 3) == 7

HEAD, LINES = "x0,x1,x2,y", [f"{i / 10},{1 - i / 10},{i}.5,{i % 3}" for i in range(ROWS)]
TOP, CELLS = (
    "age,city,day,kind",
    [f"{20 + i},{'ABC'[i % 3]},2024-01-{i + 1:02d},{'no' if i % 2 else 'yes'}" for i in range(ROWS)],
)
COLUMN = {"x0": [0.1] * ROWS, "x1": [0.2] * ROWS, "x2": [0.3] * ROWS, "y": Y}


def npz(**arrays: Any) -> bytes:
    """An .npz file of the good arrays, but for these."""
    out = io.BytesIO()
    np.savez(out, **{name: array for name, array in {"x": X, "y": Y, **arrays}.items() if array is not None})
    return out.getvalue()


def csv(line: str | None = None, head: str = HEAD) -> str:
    """The good lines, the fifth of which (line 6 of the file) is this one."""
    lines = list(CELLS if head == TOP else LINES)
    if line is not None:
        lines[4] = line
    return "\n".join([head, *lines, ""])


def table(line: str) -> str:
    return csv(line, TOP)


def parquet(**columns: Any) -> bytes:
    out = io.BytesIO()
    pa.parquet.write_table(pa.table({**COLUMN, **columns}), out)
    return out.getvalue()


def zstandard(text: str) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as packed:
        packed.write(text.encode())
    return bytes(out.getvalue())


def cut(data: bytes) -> bytes:
    return data[: 6 * len(data) // 10]


# what: the file's name, what is in it, the code, words of the message (the place among them), the spec
FILES: dict[str, tuple[str, str | bytes, str, tuple[str, ...], str]] = {
    # arrays in an .npz file
    "a column too many": ("d.npz", npz(x=np.zeros((ROWS, 4))), "E0611", ("dimension 1 of `x` is 4",), CLASSES),
    "a dimension too many": ("d.npz", npz(x=X[..., None]), "E0610", ("[24, 3, 1]", "reshape"), CLASSES),
    "fractions as classes": ("d.npz", npz(y=Y + 0.5), "E0613", ("`y` holds float64",), CLASSES),
    "floats as classes": ("d.npz", npz(y=Y * 1.0), "E0613", ('y.astype("int64")',), CLASSES),
    "a missing array": ("d.npz", npz(y=None), "E0609", ("no `y`", "found x"), CLASSES),
    "pickled objects": ("d.npz", npz(x=np.full((ROWS, 3), None)), "E0605", ("never unpickled",), CLASSES),
    "complex numbers": ("d.npz", npz(x=X * 1j), "E0614", ("complex128", "x.real"), CLASSES),
    "words": ("d.npz", npz(x=X.astype(str)), "E0614", ("<U", "astype(float)"), CLASSES),
    "dates": ("d.npz", npz(x=X.astype("M8[D]")), "E0614", ("datetime64", "timedelta64"), CLASSES),
    "records": ("d.npz", npz(x=np.zeros(ROWS, [("a", "f4")])), "E0614", ("each of its parts",), CLASSES),
    "integers beyond float32": ("d.npz", npz(x=np.full((ROWS, 3), 2**24 + 1)), "E0622", ("at [0, 0]",), CLASSES),
    "classes beyond int64": ("d.npz", npz(y=np.full(ROWS, 2**63, np.uint64)), "E0622", ("at [0]",), CLASSES),
    "numbers beyond float32": ("d.npz", npz(x=X + 1e300), "E0621", ("at [0, 0]", "float64"), CLASSES),
    "NaN": ("d.npz", npz(x=np.where(SEVENTH, np.nan, X)), "E0616", ("found nan at [2, 1]",), CLASSES),
    "infinity": ("d.npz", npz(x=np.where(SEVENTH, -np.inf, X)), "E0616", ("found -inf at [2, 1]",), CLASSES),
    "NaN in the target": ("d.npz", npz(y=np.where(Y == 1, np.nan, Y)), "E0616", ("`y`", "at [1], and 7"), NUMBERS),
    "a class too large": ("d.npz", npz(y=np.arange(ROWS) % 4), "E0620", ("found 3 at [3]", "0 to 2"), CLASSES),
    "a negative class": ("d.npz", npz(y=Y - 1), "E0620", ("found -1 at [0]", "0 to 2"), CLASSES),
    "arrays of two lengths": ("d.npz", npz(y=Y[1:]), "E0617", ("`x` has 24", "`y` has 23"), CLASSES),
    "no rows": ("d.npz", npz(x=X[:0], y=Y[:0]), "E0618", ("found 0 rows",), CLASSES),
    "one row, to train and validate": ("d.npz", npz(x=X[:1], y=Y[:1]), "E0619", ("0.25 of 1 rows",), CLASSES),
    "a cut .npz file": ("d.npz", cut(npz()), "E0604", ("numpy.savez",), CLASSES),
    "an empty .npz file": ("d.npz", b"", "E0604", ("numpy.savez",), CLASSES),
    # CSV
    "an empty CSV file": ("d.csv", "", "E0606", ("empty",), CLASSES),
    "a header alone": ("d.csv", HEAD + "\n", "E0618", ("found 0 rows",), CLASSES),
    "no header": ("d.csv", "\n".join(LINES), "E0609", ("the first line names the columns",), CLASSES),
    "a missing column": ("d.csv", "x0,x1,y\n1,2,0\n", "E0609", ("`x2`", "d.csv:1"), CLASSES),
    "one column more than the input takes": ("d.csv", "x0,x1,x2,x3,y\n1,2,3,4,0\n", "E0611", ("`x3`", ":1"), CLASSES),
    "one header twice": ("d.csv", "x0,x1,x1,y\n1,2,3,0\n", "E0623", ("`x1`", "d.csv:1"), CLASSES),
    "a word in a column of numbers": ("d.csv", csv("1,abc,2,1"), "E0608", ("`abc` in `x1`", ":6"), CLASSES),
    "an empty cell": ("d.csv", csv("1,,2,1"), "E0608", ("`x1` is empty", ":6", "missing = median"), CLASSES),
    "a cell nan": ("d.csv", csv("1,nan,2,1"), "E0616", ("in `x1`", ":6"), CLASSES),
    "a cell inf": ("d.csv", csv("1,inf,2,1"), "E0616", ("in `x1`", ":6"), CLASSES),
    "a line too short": ("d.csv", csv("1,2,1"), "E0607", ("3 cells", ":6"), CLASSES),
    "a line too long": ("d.csv", csv("1,2,3,1,7"), "E0607", ("5 cells", ":6"), CLASSES),
    "semicolons": ("d.csv", csv().replace(",", ";"), "E0645", ("semicolons", ":1"), CLASSES),
    "tabs": ("d.csv", csv().replace(",", "\t"), "E0645", ("tabs", ":1"), CLASSES),
    "decimal commas": ("d.csv", csv('"1,5",2,3,1'), "E0608", ("`1.5`", ":6"), CLASSES),
    "thousands": ("d.csv", csv('"1,000",2,3,1'), "E0608", ("`1000`", ":6"), CLASSES),
    "a unit": ("d.csv", csv("50%,2,3,1"), "E0608", ("alone: `50`", ":6"), CLASSES),
    "a line end in a cell": ("d.csv", csv('"1\n2",2,3,1'), "E0608", ("`x0`", ":6"), CLASSES),
    "a word below a line end in a cell": (
        "d.csv",
        'n,x0,x1,x2,y\n"a\nb",1,2,3,0\nc,1,z,3,0\n',
        "E0608",
        ("`x1`", ":4"),
        CLASSES,
    ),
    "an open quotation mark": ("d.csv", csv('"1,2,3,1'), "E0607", ("quotation mark", ":6"), CLASSES),
    "a fraction as a class": ("d.csv", csv("1,2,3,1.5"), "E0613", ("1.5 in `y`", ":6"), CLASSES),
    "a class out of range": ("d.csv", csv("1,2,3,7"), "E0620", ("found 7 in `y`", ":6"), CLASSES),
    "a class of twenty digits": ("d.csv", csv(f"1,2,3,{10**20}"), "E0622", ("in `y`", ":6"), CLASSES),
    "UTF-16": ("d.csv", csv().encode("utf-16"), "E0606", ("UTF-8",), CLASSES),
    "Latin-1": ("d.csv", csv("é,2,3,1").encode("latin1"), "E0606", ("UTF-8",), CLASSES),
    "zero bytes": ("d.csv", csv("\0,2,3,1"), "E0608", ("in `x0`", ":6"), CLASSES),
    "a cut .gz file": ("d.csv.gz", cut(gzip.compress(csv().encode())), "E0604", ("pack it again",), CLASSES),
    "no .gz file": ("d.csv.gz", csv(), "E0604", ("pack it again",), CLASSES),
    "a cut .zst file": ("d.csv.zst", cut(zstandard(csv())), "E0604", ("pack it again",), CLASSES),
    # Parquet, JSON Lines, text, what is no file
    "a cut Parquet file": ("d.parquet", cut(parquet()), "E0604", ("write it again",), CLASSES),
    "a Parquet file with a gap": ("d.parquet", parquet(x0=[1.0] * 23 + [None]), "E0608", ("row 23", "`x0`"), CLASSES),
    "a Parquet file of words": ("d.parquet", parquet(x1=["a"] * ROWS), "E0608", ("row 0", "`x1`"), CLASSES),
    "a cut line of JSON": ("d.jsonl", '{"x": [1, 2, 3], "y": 0}\n{"x": [1,\n', "E0604", ("row 1",), CLASSES),
    "JSON of two kinds": ("d.jsonl", '{"x": [1, 2, 3], "y": 0}\n{"x": "a", "y": 0}\n', "E0604", ("row 1",), CLASSES),
    "JSON with a gap": ("d.jsonl", '{"x": [1, 2, 3], "y": 0}\n{"x": [1, 2, 3]}\n', "E0608", ("row 1",), CLASSES),
    "JSON lists of two lengths": (
        "d.jsonl",
        '{"x": [1, 2, 3], "y": 0}\n{"x": [1], "y": 0}\n',
        "E0626",
        ("1 to 3",),
        CLASSES,
    ),
    "JSON without objects": ("d.jsonl", "[1, 2, 3]\n", "E0604", ("one object",), CLASSES),
    "a format that is not known": ("d.xlsx", b"abc", "E0603", (".parquet",), CLASSES),
    "text in Latin-1": ("d.txt", "caf\xe9\n".encode("latin1"), "E0650", ("iconv",), TEXTS),
    "a cut text file": ("d.txt.gz", cut(gzip.compress(b"one\ntwo\n" * 99)), "E0604", ("pack it again",), TEXTS),
    "a text file of no lines": ("d.txt", "\n \n", "E0618", ("found 0 rows",), TEXTS),
    # columns that the file encodes
    "a date of another order": ("d.csv", table("20,A,31/01/2024,yes"), "E0697", (":6", "YYYY-MM-DD"), COLUMNS),
    "a day that is none": ("d.csv", table("20,A,2024-02-31,yes"), "E0697", (":6", "2024-02-31"), COLUMNS),
    "a gap without `missing`": ("d.csv", table(",A,2024-01-05,yes"), "E0608", (":6", "missing ="), COLUMNS),
    "a gap in the target": ("d.csv", table("20,A,2024-01-05,"), "E0608", (":6", "`kind`"), COLUMNS),
    "a word in a standardised column": ("d.csv", table("old,A,2024-01-05,yes"), "E0608", (":6", "`old`"), COLUMNS),
    "infinity in a standardised column": ("d.csv", table("inf,A,2024-01-05,yes"), "E0616", (":6", "`age`"), COLUMNS),
    "more words than there is room for": (
        "d.csv",
        "\n".join([TOP, *(f"2,c{i},2024-01-05,{'yes' if i % 2 else 'no'}" for i in range(ROWS))]),
        "E0693",
        ("24 words",),
        COLUMNS,
    ),
    "a class too many": ("d.csv", table("20,A,2024-01-05,maybe"), "E0693", ("`label` has 3 words",), COLUMNS),
    "a column under another name": (
        "d.csv",
        csv(None, TOP).replace("city", "town"),
        "E0627",
        (":1", "`city`"),
        COLUMNS,
    ),
}


@pytest.mark.parametrize("what", FILES)
def test_a_bad_file_is_refused(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, content, code, words, spec = FILES[what]
    monkeypatch.chdir(tmp_path)
    data = content.encode() if isinstance(content, str) else content
    Path(name).write_bytes(data)
    Path("m.dl").write_text(spec)
    assert main(["train", "m.dl", "--data", name]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error[{code}]: ") and name.split(".")[0] in told and "= help: " in told, told
    assert all(word in told for word in words), told
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["m.dl", name])  # no run, nothing half written
    assert Path(name).read_bytes() == data


def folder(place: Path, **arrays: Any) -> Path:
    place.mkdir()
    for name, array in {"x": X, "y": Y, **arrays}.items():
        np.save(place / f"{name}.npy", array)
    return place


def changed(place: Path, change: Callable[[bytes], bytes]) -> Path:
    (place / "x.npy").write_bytes(change((place / "x.npy").read_bytes()))
    return place


@pytest.mark.parametrize(("what", "code"), [
    ("cut", "E0604"), ("header", "E0604"), ("longer", "E0604"), ("empty", "E0604"), ("objects", "E0605"),
    ("nothing", "E0603"),
])  # fmt: skip
def test_a_bad_folder_is_refused(what: str, code: str, tmp_path: Path) -> None:
    """Arrays that stay on the disk: shorter or longer than their header says, pickled, or none."""
    place = tmp_path / "d"
    if what == "nothing":
        place.mkdir()
    elif what == "objects":
        folder(place, x=np.full((ROWS, 3), None))
    else:
        changes = {
            "cut": lambda data: data[:-40],
            "header": lambda data: data[:50],
            "longer": lambda data: data + b"abc",
        }
        changed(folder(place), changes.get(what, lambda data: b""))
    with pytest.raises(dlc.Error) as caught:
        dlc.Trainer(dlc.compile(CLASSES), device="cpu").fit(place)
    assert caught.value.code == code and str(place) in str(caught.value.where) and caught.value.help


def frame(**columns: Any) -> Any:
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame({**COLUMN, **columns})


def pieces(last: Callable[[dict[str, Any]], Any] | None = None) -> Iterator[Any]:
    """Three batches, the last of which is changed."""
    for number in range(3):
        batch = {"x": X[8 * number : 8 * number + 8], "y": Y[8 * number : 8 * number + 8]}
        yield batch if number < 2 or last is None else last(batch)


def failing(batch: dict[str, Any]) -> Any:
    raise OSError("disk gone")


def loader(fails: bool) -> Any:
    torch = pytest.importorskip("torch")

    class Images(torch.utils.data.Dataset):  # type: ignore[misc,name-defined]
        def __len__(self) -> int:
            return ROWS

        def __getitem__(self, at: int) -> Any:
            if fails and at == 20:
                raise OSError("20.png is gone")
            return torch.ones(3 if at < 20 else 4), torch.tensor(0)

    return torch.utils.data.DataLoader(Images(), batch_size=8)


def misaligned() -> Iterator[Any]:
    """As many rows of each in all, but not in each piece."""
    yield {"x": X[:8], "y": Y[:7]}
    yield {"x": X[8:15], "y": Y[7:15]}


# what: the data, the code, words of the message (the place among them)
GIVEN: dict[str, tuple[Callable[[], Any], str, tuple[str, ...]]] = {
    "objects": (lambda: {"x": X.astype(object), "y": Y}, "E0614", ("x.astype(float)",)),
    "rows of two lengths": (lambda: {"x": [[1, 2, 3], [1, 2]], "y": [0, 1]}, "E0626", ("pad",)),
    "masked elements": (lambda: {"x": np.ma.masked_less(X, 0), "y": Y}, "E0644", ("filled",)),
    "a single number": (lambda: {"x": 3.0, "y": Y}, "E0610", ("found shape []",)),
    "nothing": (lambda: {"x": None, "y": Y}, "E0614", ("dtype object",)),
    "integers of thirty digits": (lambda: {"x": X, "y": [10**30] * ROWS}, "E0614", ("dtype object",)),
    "times": (lambda: {"x": X.astype("m8[s]"), "y": Y}, "E0614", ("timedelta64",)),
    "no data": (lambda: 3, "E0603", ("an int",)),
    "a frame that lacks a column": (lambda: frame().drop(columns="x2"), "E0609", ("`x2`",)),
    "a frame with a gap": (lambda: frame(x0=[1.0] * 23 + [np.nan]), "E0608", ("row 23",)),
    "a frame with a word among numbers": (lambda: frame(x0=[1.0] * 23 + ["a"]), "E0614", ("x0", "'a'")),
    "a frame of numbers as text": (lambda: frame(x0=["1"] * ROWS), "E0608", ("astype(float)",)),
    "a frame of dates": (lambda: frame(x0=np.arange(ROWS).astype("M8[D]")), "E0608", ('date("days")',)),
    "a frame of complex numbers": (lambda: frame(x0=[1j] * ROWS), "E0614", ("x0",)),
    "a frame with one name twice": (lambda: frame().rename(columns={"x1": "x0"}), "E0623", ("`x0`",)),
    "a frame with a column more than the input": (lambda: frame(x3=[1.0] * ROWS), "E0611", ("`x3`",)),
    "an empty frame": (lambda: frame().iloc[:0], "E0618", ("found 0 rows",)),
    "a generator of no pieces": (lambda: iter(()), "E0618", ("read once",)),
    "pieces of changing shapes": (lambda: pieces(lambda b: {**b, "x": X[:8, :2]}), "E0626", ("piece 2", "[8, 2]")),
    "pieces of changing rank": (lambda: pieces(lambda b: {**b, "x": X[:8, :, None]}), "E0626", ("piece 2",)),
    "a piece that lacks an array": (lambda: pieces(lambda b: {"x": b["x"]}), "E0609", ("piece 2", "`y`")),
    "a piece of two lengths": (lambda: pieces(lambda b: {**b, "y": b["y"][1:]}), "E0617", ("piece 2", "`y` has 7")),
    "pieces that only add up": (misaligned, "E0617", ("piece 0", "`y` has 7")),
    "a piece of words": (lambda: pieces(lambda b: {**b, "y": ["a"] * 8}), "E0614", ("`y`",)),
    "a piece that is none": (lambda: pieces(lambda b: None), "E0603", ("piece 2",)),
    "a generator that fails": (lambda: pieces(failing), "E0652", ("piece 2", "disk gone")),
    "a loader that fails": (lambda: loader(True), "E0652", ("piece 2", "20.png is gone")),
    "a loader of two shapes": (lambda: loader(False), "E0652", ("piece 2", "equal size")),
}


@pytest.mark.parametrize("what", GIVEN)
def test_bad_data_in_memory_are_refused(what: str) -> None:
    make, code, words = GIVEN[what]
    trainer = dlc.Trainer(dlc.compile(CLASSES), device="cpu")
    before = {name: trainer.parameters[name] for name in trainer.parameters}
    data = make()
    with pytest.raises(dlc.Error) as caught:
        trainer.fit(data)
    told = str(caught.value)
    assert caught.value.code == code and caught.value.help and all(word in told for word in words), told
    assert caught.value.where or "data cannot be read from" in told
    assert all(np.array_equal(before[name], trainer.parameters[name]) for name in before)


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("again", [False, True])
def test_floats_of_16_bits_are_floats(kind: Any, again: bool) -> None:
    """Also those of bfloat16, which NumPy does not know as floats: what is no number is refused as such, and fractions
    are no labels. `again`: after a batch of the same form that is good."""
    trainer = dlc.Trainer(dlc.compile(CLASSES), device="cpu")
    good = {"x": X.astype(kind), "y": Y}
    for change, code in (({"x": np.nan}, "E0616"), ({"x": np.inf}, "E0616"), ({"y": 0.5}, "E0613")):
        if again:
            trainer.step(good)
        bad = {name: array.astype(kind) if name in change else array for name, array in good.items()}
        for name, value in change.items():
            bad[name].flat[4] = value
        for run in (trainer.step, trainer.fit, trainer.evaluate):
            with pytest.raises(dlc.Error) as caught:
                run(bad)
            assert caught.value.code == code, caught.value


@pytest.mark.parametrize("held", ["float16", "float32", "float64", "bfloat16"])
def test_a_field_of_any_float_is_checked(held: str) -> None:
    """A foreign file may take bfloat16: NaN and integers that it does not hold, in the first batch and in others."""
    field = Field("x", np.dtype(getattr(ml_dtypes, held, held)), ("batch",), 0)
    checked = BatchCheck((field,))
    good = np.array([1, 2], field.dtype)
    assert checked.alike(checked({"x": good}).arrays) is not None
    bad = np.array([1, np.nan], field.dtype)
    assert checked.alike({"x": bad}) is None
    for array, code in ((bad, "E0616"), (np.array([2**62 + 1, 0]), "E0622" if held != "float16" else "E0621")):
        with pytest.raises(dlc.Error) as caught:
            checked({"x": array})
        assert caught.value.code == code, caught.value


def test_columns_of_two_lengths_are_refused() -> None:
    """As arrays by the names of the columns, of which one input is made."""
    text = NUMBERS.replace("x: float[batch, 3]", 'x: float[batch, 3] from "a", "b", "c" standardised')
    with pytest.raises(dlc.Error) as caught:
        dlc.Trainer(dlc.compile(text), device="cpu").fit({"a": Y, "b": Y[1:], "c": Y, "y": Y})
    assert caught.value.code == "E0617" and "`b` has 23" in str(caught.value) and caught.value.help


def test_what_a_generator_raised_is_kept() -> None:
    with pytest.raises(dlc.Error) as caught:
        dlc.Trainer(dlc.compile(CLASSES), device="cpu").fit(pieces(failing))
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize(("held", "code"), [
    ({"x": X}, "E0609"), ({"x": X[:, :2], "y": Y}, "E0611"), ({"x": X[:0], "y": Y[:0]}, "E0618"),
    ({"x": X, "y": Y + 3}, "E0620"), ({"x": X * np.nan, "y": Y}, "E0616"),
])  # fmt: skip
def test_bad_data_for_validation_are_refused(held: dict[str, Any], code: str) -> None:
    with pytest.raises(dlc.Error) as caught:
        dlc.Trainer(dlc.compile(CLASSES), device="cpu").fit({"x": X, "y": Y}, validation=held)
    assert caught.value.code == code and caught.value.help


@pytest.mark.parametrize(("what", "data", "words"), [
    ("a constant column", {"x": X * [1, 0, 1]}, "`x` is the same in every training row at 1"),
    ("one class", {"y": Y * 0}, "`y` is 0 in every training row"),
    ("a leak of the target", {"x": X * [1, 1, 0] + np.outer(Y, [0, 0, 2])}, "`x` at 2 says what `y` is"),
    ("rows twice", {"x": np.repeat(X[:12], 2, axis=0), "y": np.repeat(Y[:12], 2)}, "repeat another"),
    ("a class that validation lacks", {"y": np.where(np.arange(ROWS) == 1, 2, Y % 2)}, "no row for "),
])  # fmt: skip
def test_what_is_likely_a_mistake_has_a_warning(what: str, data: dict[str, Any], words: str) -> None:
    found = describe(dlc.Trainer(dlc.compile(CLASSES), device="cpu"), {"x": X, "y": Y, **data})
    assert any(words in text for text in found.warnings), found.warnings


def loss(data: Any) -> float:
    found = dlc.Trainer(dlc.compile(CLASSES), device="cpu", seed=3).fit(data).epochs[-1]["train"]
    return float(found["loss"])


@pytest.mark.parametrize("what", [
    "Fortran order", "the other byte order", "a view that leaves rows out", "small integers",
    "an array nobody asks for", "a generator of rows", "an empty piece", "a BOM", "spaces and other line ends",
    "a quoted line end in a cell of none",
])  # fmt: skip
def test_what_looks_odd_and_is_right_is_taken(what: str, tmp_path: Path) -> None:
    x, y = np.round(X, 2).astype(np.float32), Y
    lines = [",".join([*(f"{n:.2f}" for n in row), str(k)]) for row, k in zip(x, y, strict=True)]
    texts = {
        "a BOM": "\ufeff" + "\n".join([HEAD, *lines]),
        "spaces and other line ends": "\r\n".join(["x0, x1 ,x2,y", *(line.replace(",", " , ") for line in lines)]),
        "a quoted line end in a cell of none": "\n".join([f"note,{HEAD}", *(f'"a\n""b""",{line}' for line in lines)]),
    }
    if what in texts:
        (tmp_path / "d.csv").write_text(texts[what], encoding="utf-8", newline="")
    data: dict[str, Callable[[], Any]] = {
        "Fortran order": lambda: {"x": np.asfortranarray(x), "y": y},
        "the other byte order": lambda: {"x": x.astype(">f4"), "y": y.astype(">i4")},
        "a view that leaves rows out": lambda: {"x": np.repeat(x, 2, axis=0)[::2], "y": np.repeat(y, 2)[::2]},
        "small integers": lambda: {"x": x.astype(np.float64), "y": y.astype(np.uint8)},
        "an array nobody asks for": lambda: {"x": x, "y": y, "z": [None]},
        "a generator of rows": lambda: ({"x": row, "y": k, "z": None} for row, k in zip(x, y, strict=True)),
        "an empty piece": lambda: iter([(x[:9], y[:9]), (x[:0], y[:0]), (x[9:], y[9:])]),
    }
    assert loss(data[what]() if what in data else tmp_path / "d.csv") == loss({"x": x, "y": y})


def test_one_row_fewer_than_a_batch_is_one_update_of_all() -> None:
    trainer = dlc.Trainer(dlc.compile(CLASSES, validate=None), device="cpu")
    found = trainer.fit({"x": X[:7], "y": Y[:7]}).epochs
    z = X[:7].astype(np.float32) @ (start := dlc.Trainer(dlc.compile(CLASSES), device="cpu")).parameters["dense.W"]
    expected = (np.log(np.exp(z).sum(1)) - z[np.arange(7), Y[:7]]).mean()
    assert [epoch["step"] for epoch in found] == [1, 2] and not start.parameters["dense.b"].any()
    assert found[0]["train"]["loss"] == pytest.approx(expected, rel=1e-5)


def test_booleans_are_the_classes_0_and_1() -> None:
    assert loss({"x": X, "y": Y > 1}) == loss({"x": X, "y": (Y > 1).astype(int)})


def test_a_word_that_training_has_not_seen_counts_as_unknown(tmp_path: Path) -> None:
    """In an input; in a target it is an error."""
    (tmp_path / "d.csv").write_text(csv(None, TOP))
    (tmp_path / "new.csv").write_text(table("20,Z,2024-01-05,yes"))
    (tmp_path / "other.csv").write_text(table("20,A,2024-01-05,maybe"))
    trainer = dlc.Trainer(dlc.compile(COLUMNS), device="cpu")
    trainer.fit(tmp_path / "d.csv")
    assert set(trainer.predict(tmp_path / "new.csv")["kind"]) <= {"yes", "no"}
    with pytest.raises(dlc.Error) as caught:
        trainer.evaluate(tmp_path / "other.csv")
    assert caught.value.code == "E0694" and "maybe" in str(caught.value) and caught.value.help


def test_there_are_more_than_forty_kinds() -> None:
    assert len({*FILES, *GIVEN}) > 90
