"""Files of data: what a CSV or .npz file can hold that is no data, each said with its line or name; and what a file may
ask of the machine."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import tempfile
import tracemalloc
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dlc.runtime import Error, memory
from dlc.runtime.data import Field, check, load, table
from dlc.runtime.support import Support, index
from hypothesis import HealthCheck, given, settings, strategies as st

REAL, WHOLE = np.dtype("float32"), np.dtype("int64")
X, Y = Field("x", REAL, ("batch", 2), 0), Field("y", WHOLE, ("batch",), 0, (index(3),))
M = Field("m", np.dtype("bool"), ("batch",), 0)
P = Field("p", REAL, ("batch",), 0, (Support(0, 1),))


def read(path: Path, *fields: Field) -> dict[str, Any]:
    wanted = fields or (X, Y)
    found, where = load(path, wanted)
    return dict(check(found, wanted, where).arrays)


def refused(path: Path, *fields: Field) -> Error:
    with pytest.raises(Error) as caught:
        read(path, *fields)
    return caught.value


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "d.csv"
    path.write_text(text, encoding="utf-8")
    return path


# --- CSV

HEAD = "x0,x1,y\n1,2,0\n"


@pytest.mark.parametrize(
    ("text", "fields", "code", "line", "note"),
    [
        (HEAD + "\n1,nan,0\n", (), "E0616", 4, "found nan in `x1`"),
        (HEAD + "inf,2,0\n1,nan,0\n", (), "E0616", 3, "found inf in `x0`, and 1 more"),
        (HEAD + '"1",2,3\n', (), "E0620", 3, "found 3 in `y`"),
        (HEAD + "1,2,-1\n", (), "E0620", 3, "found -1 in `y`"),
        ('note,m\n"two\nlines",1\nb,2\n', (M,), "E0615", 4, "found 2 in `m`"),
        ("p\n1\n0.5\n1.5\n", (P,), "E0620", 4, "found 1.5 in `p`"),
        (HEAD + "1,2,nan\n", (), "E0616", 3, "found nan in `y`"),
        ("m\ntrue\nnan\n", (M,), "E0616", 3, "found nan in `m`"),
        ("p\n1e300\n", (P,), "E0621", 2, "found 1e+300 in `p`"),
        ("p\n1\n16777217\n", (Field("p", REAL, ("batch",), 0),), None, 0, ""),
    ],
)
def test_what_is_wrong_with_a_number_is_said_with_its_line(
    tmp_path: Path, text: str, fields: tuple[Field, ...], code: str | None, line: int, note: str
) -> None:
    path = write(tmp_path, text)
    if code is None:
        read(path, *fields)
        return
    found = refused(path, *fields)
    assert (found.code, found.where, found.notes[0]) == (code, f"{path}:{line}", note)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("x0;x1;y\n1;2;0\n", 1, "semicolons"),
        ("x0;x1;y\n1,5;2,5;0\n", 1, "semicolons"),
        ("x0\tx1\ty\n1\t2\t0\n", 1, "tabs"),
        ("x0|x1|y\n1|2|0\n", 1, "bars"),
        ("x0 x1 y\n1 2 0\n", 1, "blanks"),
        ("sep=;\nx0;x1;y\n1;2;0\n", 1, "semicolons"),
        ("x0,x1,y\n1;2;0\n", 2, "semicolons"),
        ('\n\n"x0";"x1";"y"\n1;2;0\n', 1, "semicolons"),
        ("x0,x1,y\n1\t2\t0\n", 2, "tabs"),
    ],
)
def test_other_separators_are_named(tmp_path: Path, text: str, line: int, words: str) -> None:
    found = refused(write(tmp_path, text))
    assert found.code == "E0645" and words in found.message and found.where == f"{tmp_path / 'd.csv'}:{line}"


def test_semicolons_with_decimal_commas_are_both_named(tmp_path: Path) -> None:
    found = refused(write(tmp_path, "x0;x1;y\n1,5;2,5;0\n"))
    assert found.notes == ("found 'x0;x1;y'", "and decimal commas: '1,5;2,5;0'")


@pytest.mark.parametrize(
    ("text", "code", "help"),
    [
        (HEAD + '"1,5",2,0\n', "E0608", "a number is written with a point, not with a comma: `1.5`"),
        (
            HEAD + "1,5,2,5,0\n",
            "E0607",
            "a number is written with a point, not with a comma, which separates cells: `1.5`",
        ),
    ],
)
def test_a_decimal_comma_is_named(tmp_path: Path, text: str, code: str, help: str) -> None:
    found = refused(write(tmp_path, text))
    assert (found.code, found.help, found.where) == (code, help, f"{tmp_path / 'd.csv'}:3")


@pytest.mark.parametrize("cell", ["1_000", "1_0.5", "_1", "١٢", "1\u00a0000", "0x10", "1,0", "", " ", "1e", "--1", "½"])
def test_what_is_no_number(tmp_path: Path, cell: str) -> None:
    for at in range(3):
        row = ["1", "2", "0"]
        row[at] = f'"{cell}"'
        found = refused(write(tmp_path, HEAD + "3,4,1\n" + ",".join(row) + "\n"))
        assert (found.code, found.where) == ("E0608", f"{tmp_path / 'd.csv'}:4")


@pytest.mark.parametrize("row", [",,", " , , ", '"","",""', "1,2,"])
def test_a_row_without_values_is_not_dropped(tmp_path: Path, row: str) -> None:
    for text in (HEAD + row + "\n", HEAD + row, HEAD + row + "\n1,2,0\n"):
        found = refused(write(tmp_path, text))
        assert (found.code, found.where) == ("E0608", f"{tmp_path / 'd.csv'}:3")
    assert refused(write(tmp_path, 'p\n1\n""\n0\n'), P).where == f"{tmp_path / 'd.csv'}:3"


def test_empty_lines_are_no_rows(tmp_path: Path) -> None:
    assert read(write(tmp_path, "\n" + HEAD + "\n  \n\n1,2,1\n\n"))["y"].tolist() == [0, 1]
    assert read(write(tmp_path, "p\n1\n\n0\n"), P)["p"].tolist() == [1, 0]


def test_a_missing_column_leads_to_the_setting(tmp_path: Path) -> None:
    found = refused(write(tmp_path, "height,weight,y\n1,2,0\n"))
    assert (found.code, found.help) == ("E0609", "the setting `columns: { x: [...] }` says which columns they are")


def test_fractions_are_said_with_their_line(tmp_path: Path) -> None:
    found = refused(write(tmp_path, HEAD + "1,2,1.0\n1,2,0.5\n1,2,1.5\n"))
    assert (found.code, found.where) == ("E0613", str(tmp_path / "d.csv"))
    assert found.notes == ("expected `int[batch]`", f"found 0.5 in `y`, and 1 more, at {tmp_path / 'd.csv'}:4")


def test_a_header_of_nothing(tmp_path: Path) -> None:
    assert refused(write(tmp_path, ",,\n1,2,0\n")).code == "E0609"


CELLS = st.one_of(
    st.integers(-(10**6), 10**6).map(str),
    st.floats(-1e6, 1e6, width=32).map(repr),
    st.sampled_from([" 5 ", "+1", "1e3", "-.5", "5."]),
)


@given(st.lists(st.tuples(CELLS, CELLS, st.integers(0, 2), st.booleans()), min_size=1, max_size=30), st.integers(1, 5))
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
def test_rows_are_read_whatever_their_blocks(rows: list[tuple[str, str, int, bool]], block: int) -> None:
    before, table.ROWS = table.ROWS, block
    try:
        with tempfile.TemporaryDirectory() as folder:
            lines = ["m,y,note,x1,x0", *(f'{str(m).lower()},{y},"a, b",{b},{a}' for a, b, y, m in rows)]
            found = read(write(Path(folder), "\n".join(lines)), X, Y, M)
    finally:
        table.ROWS = before
    assert np.array_equal(found["x"], np.array([[float(a), float(b)] for a, b, _, _ in rows], np.float32))
    assert found["y"].tolist() == [y for _, _, y, _ in rows] and found["m"].tolist() == [m for *_, m in rows]


def test_fractions_late_in_a_column_of_whole_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlc.runtime.data.table.ROWS", 2)
    assert refused(write(tmp_path, "y\n1\n2\n0\n1.5\n"), Y).code == "E0613"


def test_a_file_takes_little_more_memory_than_its_numbers(tmp_path: Path) -> None:
    rows = 100_000
    path = write(tmp_path, "x0,x1,y\n" + "0.25,0.5,1\n" * rows)
    tracemalloc.start()
    read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 120 * rows  # 32 bytes of numbers a row, twice; as text a row would be 300


# --- npz


def test_one_name_twice(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    for second in ("x.npy", "x"):
        np.savez(path, x=np.zeros((2, 2)), y=np.zeros(2, int))
        with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
            warnings.simplefilter("ignore")
            archive.writestr(second, archive.read("y.npy"))
        found = refused(path)
        assert (found.code, found.message) == ("E0646", "two arrays in this .npz file are called `x`")


def claiming(path: Path, shape: str, dtype: str = "<f8") -> Path:
    """An .npz file whose `x` says that it has a shape."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(64))
        archive.writestr("y.npy", b"")
    return path


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        (f"({2**70},)", "[2^70]"),
        (f"({2**40}, {2**40})", "[2^40, 2^40]"),
        ("(-1, 4)", "[-1, 4]"),
        (f"({10**400},)", "[2^1329]"),
        (f"(0, {2**62})", None),
        (f"({2**60},)", "[2^60]"),
    ],
)
def test_shapes_that_no_array_has(tmp_path: Path, shape: str, shown: str | None) -> None:
    found = refused(claiming(tmp_path / "d.npz", shape), X)
    if shown is None:
        assert found.code in ("E0604", "E0611", "E0618")
        return
    assert (found.code, found.message) == ("E0648", "`x` claims a shape that no array has")
    assert found.notes[0].startswith(f"found {shown} of float64")


@pytest.mark.parametrize("shape", [f"({2**40},)", "(9, 9)", "(1.5,)", "3", "(None,)", "('a',)", "(True,)"])
def test_shapes_that_the_file_does_not_hold(tmp_path: Path, shape: str) -> None:
    assert refused(claiming(tmp_path / "d.npz", shape), X).code in ("E0604", "E0648", "E0610")


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=3), st.booleans())
@settings(deadline=None, max_examples=200)
def test_damage_is_named(changes: list[tuple[int, int]], compressed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "d.npz")
        (np.savez_compressed if compressed else np.savez)(path, x=np.ones((5, 2)), y=np.zeros(5, int))
        content = bytearray(path.read_bytes())
        for at, value in changes:
            content[at % len(content)] = value
        path.write_bytes(content)
        try:
            read(path)
        except Error as problem:
            assert problem.code in ("E0604", "E0609", "E0646", "E0648", "E0624", "E0605", "E0610", "E0611")


def test_what_numpy_loads_is_read_as_a_file_is(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, x=np.ones((2, 2)), y=np.array([object(), object()]))
    with np.load(path) as data:
        for fields, code in (((X,), None), ((X, Y), "E0605")):
            if code is None:
                assert check(data, fields, "here").rows == 2
                continue
            with pytest.raises(Error) as caught:
                check(data, fields, "here")
            assert caught.value.code == code
    np.savez(path, x=np.ones((500, 2)), y=np.zeros(500, int))
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)
    with np.load(path) as data, pytest.raises(Error) as caught:
        check(data, (X, Y), "here")
    assert caught.value.code == "E0604"


def test_arrays_of_other_libraries_that_refuse() -> None:
    class Strange:
        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            raise RuntimeError("call detach() first")

    with pytest.raises(Error) as caught:
        check({"x": Strange()}, (X,), "here")
    assert caught.value.code == "E0614" and caught.value.notes[0] == "call detach() first"


# --- the machine


def test_sizes_are_held_against_free_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, x=np.zeros((1000, 2)), y=np.zeros(1000, int))
    # x with its header of 128 bytes and once more as float32, y with its header.
    for most, code in ((32_256, None), (32_255, "E0624")):
        monkeypatch.setattr("dlc.runtime.memory.free", lambda most=most: most)
        if code is None:
            read(path)
        else:
            found = refused(path)
            assert found.code == code and found.notes == (f"32256 bytes unpacked, {most} bytes of memory",)
    csv = write(tmp_path, HEAD)
    monkeypatch.setattr("dlc.runtime.memory.free", lambda: 10)
    assert refused(csv).notes == ("14 bytes of text, 10 bytes of memory",)


def test_free_memory_is_the_least_of_what_the_system_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < memory.free() <= physical
    monkeypatch.setattr(memory, "_available", lambda path: 5000)
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert memory.free() == 5000
    for limit, used, left in (("max\n", "10\n", 5000), ("4000\n", "1000\n", 3000), ("4000\n", "9000\n", 0)):
        (tmp_path / "memory.max").write_text(limit)
        (tmp_path / "memory.current").write_text(used)
        assert memory.free() == left
    (tmp_path / "memory.max").unlink()
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory/memory.limit_in_bytes").write_text("700\n")
    (tmp_path / "memory/memory.usage_in_bytes").write_text("200\n")
    assert memory.free() == 500
    # Groups within groups: the least counts.
    own = tmp_path / "own"
    own.write_text("3:cpu,memory:/a/b\n0::/user/me\n")
    monkeypatch.setattr(memory, "OWN", own)
    for group, left in (("user/me", 90), ("user", 80), ("memory/a", 70), ("memory/a/b", 60)):
        folder, old = tmp_path / group, group.startswith("memory")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ("memory.limit_in_bytes" if old else "memory.max")).write_text("100\n")
        (folder / ("memory.usage_in_bytes" if old else "memory.current")).write_text(f"{100 - left}\n")
        assert memory.free() == left


def test_available_memory_is_read(tmp_path: Path) -> None:
    path = tmp_path / "meminfo"
    path.write_text("MemTotal:       100 kB\nMemAvailable:   40 kB\n")
    assert memory._available(path) == 40 * 1024
    path.write_text("MemTotal: 100 kB\n")
    assert memory._available(path) is None and memory._available(tmp_path / "none") is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
@pytest.mark.parametrize("suffix", ["csv", "npz"])
def test_what_has_no_end_is_no_file(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, device, sock = (tmp_path / f"{name}.{suffix}" for name in ("pipe", "device", "socket"))
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # names of sockets are short
        server.bind(sock.name)
        for path, kind in ((pipe, "a pipe"), (device, "a device"), (sock, "a socket")):
            found = refused(path)
            assert (found.code, found.message) == ("E0647", f"`{path}` is {kind}, not a file")
    loop = tmp_path / f"loop.{suffix}"
    loop.symlink_to(loop)
    assert refused(loop).code == "E0602" and refused(tmp_path / f"a\0b.{suffix}").code == "E0602"
    (tmp_path / f"folder.{suffix}").mkdir()
    assert refused(tmp_path / f"folder.{suffix}").code == "E0603"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_compiled_file_is_no_pipe_either(tmp_path: Path) -> None:
    pipe = tmp_path / "m.onnx"
    os.mkfifo(pipe)
    zero = tmp_path / "zero.onnx"
    zero.symlink_to("/dev/zero")
    for path in (pipe, zero):
        call = [sys.executable, "-c", "import sys; from dlc.cli import main; sys.exit(main())", "summary", path]
        done = subprocess.run(call, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2 and "E0647" in done.stderr
