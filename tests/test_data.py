"""Data: what is taken silently, what is refused and how, and the order in which rows come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import generator
import numpy as np
import pytest
from dlc.runtime import Callback, CompiledFile, Error, Trainer, native, random
from dlc.runtime.data import ArraySource, Columns, Field, check, fields, load, shares
from dlc.runtime.support import index
from hand_built import blobs, compiled, foreign
from hypothesis import given, settings, strategies as st

FILE = CompiledFile(compiled())
FIELDS = fields(FILE, ["x", "y"])
X, Y = FIELDS


def refused(data: Any, columns: Any = None, wanted: tuple[Field, ...] = FIELDS) -> Error:
    with pytest.raises(Error) as caught:
        check(*_found(data, wanted, columns))
    return caught.value


def _found(data: Any, wanted: tuple[Field, ...], columns: Any = None):
    found, where = load(data, wanted, columns)
    return found, wanted, where


def taken(data: Any, columns: Any = None, wanted: tuple[Field, ...] = FIELDS) -> Columns:
    return check(*_found(data, wanted, columns))


def arrays(**changes: Any) -> dict[str, Any]:
    return {**blobs(6), **changes}


# --- fields


def test_fields_come_from_the_signature() -> None:
    assert [str(field) for field in FIELDS] == ["float[batch, 4]", "int[batch]"]
    assert (X.rows, Y.rows, X.supports, Y.supports) == (0, 0, (), (index(3),))


def test_fields_of_a_foreign_file_come_from_its_graphs() -> None:
    found = fields(CompiledFile(foreign()), ["features", "wanted"])
    assert [(f.name, str(f), f.rows) for f in found] == [("features", "float[N, 2]", 0), ("wanted", "float[N, 1]", 0)]


# --- what is taken silently


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64", "bool", "float16", "float64", ">f4"])
def test_lossless_conversion_is_silent(dtype: str) -> None:
    x = np.array([[0, 1, 1, 0]] * 3).astype(dtype)
    found = taken({"x": x, "y": np.array([0, 1, 2], "uint8")})
    assert found.arrays["x"].dtype == np.float32 and found.arrays["y"].dtype == np.int64
    assert np.array_equal(found.arrays["x"], x.astype(np.float32))


def test_arrays_that_nobody_asks_for_are_left_out() -> None:
    assert list(taken(arrays(extra="anything")).arrays) == ["x", "y"]


def test_lists_and_strided_views_are_taken() -> None:
    x = np.arange(48, dtype=np.float32).reshape(4, 12)[:, ::3]
    found = taken({"x": x, "y": [0, 1, 2, 0]})
    assert found.arrays["x"].flags.c_contiguous and np.array_equal(found.arrays["x"], x)


def test_whole_numbers_that_float32_holds_are_taken() -> None:
    x = np.full((1, 4), 2**40)
    assert taken({"x": x, "y": [0]}).arrays["x"][0, 0] == 2.0**40


# --- what is refused

RAGGED = [[1.0, 2.0], [3.0]]
REFUSED: list[tuple[str, dict[str, Any], str, tuple[str, ...], str | None]] = [
    (
        "E0609",
        {"X": arrays()["x"], "y": [0]},
        "the data have no `x`",
        ("expected `x: float[batch, 4]`", "found X, y"),
        None,
    ),
    (
        "E0609",
        {"x": arrays()["x"], "yy": [0]},
        "the data have no `y`",
        ("expected `y: int[batch]`", "found x, yy"),
        "did you mean `yy`?",
    ),
    (
        "E0610",
        arrays(x=np.zeros((6, 2, 2))),
        "`x` has 3 dimensions where 2 are expected",
        ("found shape [6, 2, 2]", "expected `float[batch, 4]`"),
        None,
    ),
    (
        "E0611",
        arrays(x=np.zeros((6, 5))),
        "dimension 1 of `x` is 5 where 4 is expected",
        ("found shape [6, 5]", "expected `float[batch, 4]`"),
        None,
    ),
    ("E0613", arrays(y=np.zeros(6)), "`y` holds float64 where int is expected", ("expected `int[batch]`",), None),
    (
        "E0614",
        arrays(x=np.array([["a"] * 4] * 6)),
        "`x` does not hold numbers",
        ("found dtype <U1", "expected `float[batch, 4]`"),
        None,
    ),
    (
        "E0614",
        arrays(x=np.zeros((6, 4), complex)),
        "`x` does not hold numbers",
        ("found dtype complex128", "expected `float[batch, 4]`"),
        None,
    ),
    (
        "E0616",
        arrays(x=np.where(np.arange(24).reshape(6, 4) == 9, np.nan, 0)),
        "`x` holds NaN or infinity",
        ("found nan at [2, 1]",),
        None,
    ),
    (
        "E0616",
        arrays(x=np.full((6, 4), -np.inf, np.float32)),
        "`x` holds NaN or infinity",
        ("found -inf at [0, 0], and 23 more",),
        None,
    ),
    (
        "E0617",
        arrays(y=np.zeros(5, int)),
        "the arrays differ in their number of rows",
        ("`x` has 6", "`y` has 5"),
        None,
    ),
    ("E0618", {"x": np.zeros((0, 4)), "y": np.zeros(0, int)}, "the data have no rows", ("found 0 rows",), None),
    (
        "E0620",
        arrays(y=np.array([0, 1, 2, 3, 0, -1])),
        "`y` holds labels out of range",
        ("found 3 at [3], and 1 more", "expected integers from 0 to 2"),
        None,
    ),
    (
        "E0621",
        arrays(x=np.full((6, 4), 1e300)),
        "`x` holds numbers beyond the range of float32",
        ("found 1e+300 at [0, 0], and 23 more",),
        None,
    ),
    (
        "E0622",
        arrays(x=np.full((6, 4), 2**24 + 1)),
        "`x` holds integers that float32 cannot hold exactly",
        ("found 16777217 at [0, 0], and 23 more",),
        None,
    ),
    (
        "E0622",
        arrays(y=np.array([0, 1, 2, 0, 1, 2**63], np.uint64)),
        "`y` holds integers that int64 cannot hold exactly",
        ("found 9223372036854775808 at [5]",),
        None,
    ),
    ("E0626", arrays(x=RAGGED), "`x` is not a rectangular array", ("expected `float[batch, 4]`",), None),
]


@pytest.mark.parametrize(("code", "data", "message", "notes", "help"), REFUSED, ids=lambda value: str(value)[:5])
def test_wrong_data_are_refused(
    code: str, data: dict[str, Any], message: str, notes: tuple[str, ...], help: str | None
) -> None:
    found = refused(data)
    assert (found.code, found.message) == (code, message)
    assert found.notes[: len(notes)] == notes
    assert found.where == "the data given"
    if help is not None:
        assert found.help == help


def test_a_dimension_has_one_size() -> None:
    real = np.dtype("float32")
    wanted = (Field("a", real, ("batch", "time"), 0), Field("b", real, ("batch", "time", 2), 0))
    found = refused({"a": np.zeros((3, 5)), "b": np.zeros((3, 7, 2))}, wanted=wanted)
    assert (found.code, found.message) == ("E0612", "the dimension `time` has two sizes")
    assert found.notes == ("`a` says 5", "`b`, of shape [3, 7, 2], says 7")


def test_numbers_where_truth_is_wanted() -> None:
    wanted = (Field("m", np.dtype("bool"), ("batch",), 0),)
    assert taken({"m": [0, 1, 1]}, wanted=wanted).arrays["m"].tolist() == [False, True, True]
    assert refused({"m": [0, 2]}, wanted=wanted).code == "E0615"
    assert refused({"m": [0.0, 1.0]}, wanted=wanted).code == "E0613"


@pytest.mark.parametrize("data", [3, None, [1, 2], "weights.bin", "folder"])
def test_what_is_no_data(data: Any) -> None:
    assert refused(data).code == "E0603"


@given(st.binary(max_size=400))
@settings(max_examples=60, deadline=None)
def test_any_bytes_as_a_file_are_an_error(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for name in ("a.npz", "a.csv"):
            path = Path(folder, name)
            path.write_bytes(content)
            assert refused(path).code.startswith("E06")


# --- npz


def test_npz(tmp_path: Path) -> None:
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "d.npz", **blobs(9))
        found = taken(tmp_path / "d.npz")
        assert found.rows == 9 and np.array_equal(found.arrays["x"], blobs(9)["x"])


def test_npz_errors(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    found = refused(path)
    assert (found.code, found.notes) == ("E0602", ("No such file or directory",))
    np.savez(path, **arrays(x=np.array([object()] * 6)))
    found = refused(path)
    assert (found.code, found.message) == ("E0605", "`x` holds Python objects, which are never unpickled")
    np.savez(path, **arrays())
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    assert refused(path).code == "E0604"
    path.write_bytes(whole.replace(b"'shape': (6, 4)", b"'shape': (6, 9)"))
    assert refused(path).code == "E0604"
    np.savez(path, x=arrays()["x"], label=arrays()["y"])
    assert (found := refused(path)).code == "E0609" and found.where == str(path)


def test_an_archive_that_claims_more_than_memory_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, x=np.zeros((1000, 4), np.float32), y=np.zeros(1000, int))
    monkeypatch.setattr("os.sysconf", lambda name: 90)
    found = refused(path)
    assert (found.code, found.notes) == ("E0624", ("24256 bytes unpacked, 8100 bytes of memory",))


# --- CSV


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


GOOD = 'x0,x1,x2,x3,y\n1,2,3,4,0\n\n"5",6,"7.5",8,2\n'


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        (GOOD, None),
        ("\ufeff" + GOOD, None),
        ('y, x3, x2, x1, x0, note\n0, 4, 3, 2, 1, a\n2, 8, 7.5, 6, 5, "b, c"\n', None),
        ("a,b,c,d,label\n1,2,3,4,0\n5,6,7.5,8,2\n", {"x": ["a", "b", "c", "d"], "y": ["label"]}),
        (GOOD.replace("\n", "\r\n"), None),
    ],
)
def test_csv(tmp_path: Path, text: str, columns: Any) -> None:
    found = taken(write(tmp_path / "d.csv", text), columns)
    assert found.arrays["x"].tolist() == [[1, 2, 3, 4], [5, 6, 7.5, 8]]
    assert found.arrays["y"].tolist() == [0, 2]


def test_csv_images_and_truth(tmp_path: Path) -> None:
    real = np.dtype("float32")
    wanted = (Field("x", real, ("batch", 2, 2), 0), Field("m", np.dtype("bool"), ("batch",), 0))
    found = taken(write(tmp_path / "d.csv", "m,x0,x1,x2,x3\ntrue,1,2,3,4\n0,5,6,7,8\n"), wanted=wanted)
    assert found.arrays["x"].tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    assert found.arrays["m"].tolist() == [True, False]
    open_width = (Field("x", real, ("batch", "n"), 0),)
    assert taken(tmp_path / "d.csv", wanted=open_width).arrays["x"].shape == (2, 4)


CSV_ERRORS = [
    ("E0606", "", "this CSV file is empty", ""),
    ("E0606", "\n\n", "this CSV file is empty", ""),
    ("E0607", GOOD + "1,2,3,4\n", "this line has 4 cells where the header has 5", ":5"),
    ("E0608", GOOD + "1,2,,4,0\n", "the cell of `x2` is empty", ":5"),
    ("E0608", GOOD + "1,2,3,four,0\n", "`four` in `x3` is not a number", ":5"),
    ("E0608", GOOD.replace(",2\n", ",cat\n"), "`cat` in `y` is not a number", ":4"),
    ("E0609", "x0,x1,x2,y\n1,2,3,0\n", "the data have no `x3`", ":1"),
    ("E0609", "a,b\n1,2\n", "the data have no `x`", ""),
    ("E0613", GOOD.replace(",2\n", ",2.5\n"), "`y` holds float64 where int is expected", ""),
    ("E0616", GOOD + "1,2,nan,4,0\n", "`x` holds NaN or infinity", ":5"),
    ("E0618", "x0,x1,x2,x3,y\n", "the data have no rows", ""),
    ("E0620", GOOD.replace(",2\n", ",3\n"), "`y` holds labels out of range", ":4"),
    ("E0623", "x0,x0,x2,x3,y\n1,2,3,4,0\n", "two columns are called `x0`", ":1"),
]


@pytest.mark.parametrize(("code", "text", "message", "line"), CSV_ERRORS)
def test_csv_errors(tmp_path: Path, code: str, text: str, message: str, line: str) -> None:
    path = write(tmp_path / "d.csv", text)
    found = refused(path)
    assert (found.code, found.message, found.where) == (code, message, f"{path}{line}")


def test_csv_columns_that_are_not_there(tmp_path: Path) -> None:
    found = refused(write(tmp_path / "d.csv", GOOD), {"y": ["z"]})
    assert (found.code, found.message) == ("E0627", "the data have no column `z`, which `columns` gives for `y`")


def test_csv_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes(b"x0,y\n\xff\xfe,1\n")
    assert refused(path).code == "E0606"


# --- order


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
@settings(deadline=None)
def test_the_generator_is_that_of_the_file(counter: int, key: int) -> None:
    """docs/file-format.md, which compiled files compute."""
    assert int(random.words(np.array([counter], np.uint64), key)[0]) == generator.word(counter, key)
    assert random.fold(key, counter) == generator.fold(key, counter)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40), st.integers(0, 60))
def test_words_are_ranked_as_a_stable_sort_does(drawn: list[int], shift: int) -> None:
    """Also where several are the same, in all bits or in all but the last ones."""
    words = np.array([*drawn, *(word >> shift << shift for word in drawn)], np.uint64)
    assert random.ranked(words).tolist() == np.argsort(words, kind="stable").tolist()


@pytest.mark.parametrize("count", [1_000, 20_000, 40_000, 1 << 22])
def test_many_words_are_ranked_as_a_stable_sort_does(count: int) -> None:
    """Sorted by as many digits as their number asks for; where those do not tell two apart, by all."""
    words = np.random.default_rng(count).integers(0, 2**64, count, np.uint64)
    for same in (0, 20, 36, 52):  # of the lowest bits
        some = words if same == 0 else words[:50_000]
        some[1::7] = some[:-1:7] >> np.uint64(same) << np.uint64(same)
        np.testing.assert_array_equal(random.ranked(some), np.argsort(some, kind="stable"))


def test_an_order_is_the_same_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    found = random.permutation(3_000, seed=7, purpose=random.ORDER, turn=3)
    monkeypatch.setenv("DLC_NATIVE", "0")
    assert native.order(5, 1) is None
    assert np.array_equal(found, random.permutation(3_000, seed=7, purpose=random.ORDER, turn=3))


def test_an_order_is_fixed_for_ever() -> None:
    key = generator.fold(generator.fold(generator.fold(generator.K0, 7), 2**62), 3)
    draws = [generator.word(row, key) for row in range(10)]
    order = random.permutation(10, seed=7, purpose=random.ORDER, turn=3)
    assert order.tolist() == sorted(range(10), key=draws.__getitem__) == [6, 7, 3, 5, 9, 4, 2, 0, 1, 8]
    assert order.tolist() == random.permutation(10, seed=7, purpose=random.ORDER, turn=3).tolist()
    others = [
        random.permutation(10, seed=s, purpose=p, turn=t).tolist()
        for s, p, t in [(8, random.ORDER, 3), (7, random.SPLIT, 3), (7, random.ORDER, 4)]
    ]
    assert order.tolist() not in others


def test_every_place_is_equally_likely() -> None:
    """Chi-squared of where row 0 lands over 2,000 epochs of 8 rows: 7 degrees of freedom, 99.99 % below 29.9."""
    places = [int(np.argmin(random.permutation(8, seed=1, purpose=random.ORDER, turn=t))) for t in range(2000)]
    counts = np.bincount(places, minlength=8)
    assert ((counts - 250) ** 2 / 250).sum() < 29.9


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 3))
@settings(deadline=None, max_examples=40)
def test_batches_cover_an_epoch_and_resume_anywhere(rows: int, size: int, epoch: int) -> None:
    source = ArraySource(taken(blobs(rows)), size, seed=5)
    batches = list(source.batches(epoch))
    seen = np.concatenate([b.arrays["x"] for b in batches])
    assert sorted(map(tuple, seen)) == sorted(map(tuple, blobs(rows)["x"]))
    assert sum(b.rows for b in batches) == rows and all(b.rows == min(size, rows) for b in batches[:-1])
    cursor = 0
    for i, batch in enumerate(batches):
        again = list(source.batches(epoch, cursor))
        assert len(again) == len(batches) - i
        assert np.array_equal(again[0].arrays["x"], batch.arrays["x"])
        cursor += batch.rows


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = (Field("t", np.dtype("float32"), (2, "batch"), 1),)  # rows on an axis that is gathered in blocks
    found = taken({"t": np.arange(100).reshape(2, 50)}, wanted=wanted)
    [whole] = ArraySource(found, 4, seed=1)._blocks(2, 0)
    monkeypatch.setattr("dlc.runtime.data.source.BLOCK", 300)
    source = ArraySource(found, 4, seed=1)
    assert len(list(source._blocks(2, 0))) > 1
    parts = [batch.arrays["t"] for batch in source.batches(2)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole[2][0][2])


def test_rows_on_another_axis_and_arrays_without_rows() -> None:
    real = np.dtype("float32")
    wanted = (Field("t", real, (2, "batch"), 1), Field("c", real, (3,), None))
    found = taken({"t": np.arange(10).reshape(2, 5), "c": [1, 2, 3]}, wanted=wanted)
    batches = list(ArraySource(found, 2).batches(0))
    assert [b.arrays["t"].tolist() for b in batches] == [[[0, 1], [5, 6]], [[2, 3], [7, 8]], [[4], [9]]]
    assert all(b.arrays["c"].tolist() == [1, 2, 3] for b in batches)


def test_split() -> None:
    train, held, _ = shares(taken(blobs(50)), 7, 0.2)
    assert (train.rows, held.rows) == (40, 10)
    both = np.concatenate([train.arrays["x"], held.arrays["x"]])
    assert sorted(map(tuple, both)) == sorted(map(tuple, blobs(50)["x"]))
    assert not np.array_equal(held.arrays["x"], shares(taken(blobs(50)), 8, 0.2).validation.arrays["x"])


@pytest.mark.parametrize(("rows", "share"), [(1, 0.5), (4, 0.1), (4, 0.9)])
def test_a_split_leaves_something_on_both_sides(rows: int, share: float) -> None:
    with pytest.raises(Error) as caught:
        shares(taken(blobs(rows)), 0, share)
    assert caught.value.code == "E0619"


# --- paths


@pytest.mark.parametrize("given", [str, Path])
def test_a_path_that_is_given_counts_from_here_and_one_of_the_spec_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: Any
) -> None:
    for folder, rows in (("here", 30), ("spec", 50)):
        (tmp_path / folder).mkdir()
        for name in ("data", "held"):
            np.savez(tmp_path / folder / f"{name}.npz", **blobs(rows + (name == "held")))
    monkeypatch.chdir(tmp_path / "here")
    said = CompiledFile(compiled(data="data.npz", validate="held.npz", epochs=1))
    starts = []

    class Rows(Callback):
        def on_start(self, start: Any) -> None:
            starts.append((start.rows, start.validation_rows))

    trainer = Trainer(said, device="cpu", folder=tmp_path / "spec")
    trainer.fit(callbacks=[Rows()])
    trainer.fit(given("data.npz"), given("held.npz"), test=given("held.npz"), callbacks=[Rows()])
    trainer.fit(validation=given("held.npz"), callbacks=[Rows()])
    assert starts == [(50, 51), (30, 31), (50, 31)]
