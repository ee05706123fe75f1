"""`load:`: start values from other files, and every way in which they do not fit."""

from __future__ import annotations

import json
import pickle
import re
import struct
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import onnx
import pytest
from dlc.runtime import CompiledFile
from safetensors.numpy import save_file
from test_checkpoint import Interrupt, same

MODEL = """
model m(hidden = 3) {
    input  x: float[batch, 4]
    target y: float[batch, 2]
    body = dense(hidden)
    norm = batch_norm()
    head = dense(2)
    p = head(relu(norm(body(x))))
    loss = mean((p - y)^2)
    output p = p
}
train m(file = "w.npz") { LINES; minimize loss using adam(0.1); batch: 5; epochs: 3; seed: 1 }
"""
RNG = np.random.default_rng(0)
DATA = {"x": RNG.normal(size=(15, 4)), "y": RNG.normal(size=(15, 2))}
BODY = {"body.W": RNG.normal(size=(4, 3)), "body.b": RNG.normal(size=3)}
NORM = {"norm." + n: RNG.normal(size=3) ** 2 for n in ("scale", "shift", "seen_mean", "seen_var")}
HEAD = {"head.W": RNG.normal(size=(3, 2)), "head.b": RNG.normal(size=2)}
ALL = {**BODY, **NORM, **HEAD}


def spec(folder: Path, lines: str, text: str = MODEL) -> Path:
    path = folder / "m.dl"
    path.write_text(text.replace("LINES", lines))
    return path


def trainer(folder: Path, lines: str, text: str = MODEL, **options: Any) -> dlc.Trainer:
    return dlc.Trainer(dlc.compile(spec(folder, lines, text), precision="float64"), device="cpu", **options)


def refused(folder: Path, lines: str, text: str = MODEL) -> str:
    with pytest.raises(dlc.Error) as caught:
        dlc.compile(spec(folder, lines, text)).model_proto()
    return str(caught.value)


def holds(found: dlc.Trainer, wanted: dict[str, Any]) -> None:
    for name, array in wanted.items():
        np.testing.assert_array_equal(found.state[name], array, err_msg=name)


def foreign(path: Path, arrays: dict[str, Any], external: bool = False) -> None:
    """An ONNX file of nobody here."""
    graph = onnx.helper.make_graph([], "g", [], [], [onnx.numpy_helper.from_array(a, n) for n, a in arrays.items()])
    model = onnx.helper.make_model(graph)
    onnx.save(model, path, save_as_external_data=external, size_threshold=0, location="w.bin" if external else None)


def write(path: Path, arrays: dict[str, Any]) -> None:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".onnx":
        foreign(path, arrays)
    elif path.suffix == ".safetensors":
        save_file({n: np.ascontiguousarray(a) for n, a in arrays.items()}, path)
    else:  # shards and their index
        names = sorted(arrays)
        shards = {f"w-{k}.safetensors": names[k::2] for k in range(2)}
        for file, held in shards.items():
            save_file({n: np.ascontiguousarray(arrays[n]) for n in held}, path.parent / file)
        found = {name: file for file, held in shards.items() for name in held}
        path.write_text(json.dumps({"metadata": {}, "weight_map": found}))


# --- what is loaded

FILES = ["w.npz", "w.onnx", "w.safetensors", "w.safetensors.index.json"]


@pytest.mark.parametrize("file", FILES)
def test_every_format(tmp_path: Path, file: str) -> None:
    write(tmp_path / file, ALL)
    found = trainer(tmp_path, f'load: "{file}"')
    holds(found, ALL)
    holds(trainer(tmp_path, f'load: "{file}" on body.*, norm.*', seed=5), {**BODY, **NORM})


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_rest_starts_as_without_it(tmp_path: Path, seed: int) -> None:
    write(tmp_path / "w.npz", ALL)
    found, plain = trainer(tmp_path, "load: file on body.*", seed=seed), trainer(tmp_path, "", seed=seed)
    holds(found, {n: a for n, a in plain.state.items() if n not in BODY} | BODY)


def test_of_one_of_our_files_and_checkpoints(tmp_path: Path) -> None:
    first = trainer(tmp_path, "")
    first.fit(DATA, run=tmp_path / "runs")
    first.save(tmp_path / "first.onnx")
    learned = {name: first.state[name] for name in ALL}
    holds(trainer(tmp_path, 'load: "first.onnx"'), learned)
    (run,) = (tmp_path / "runs").iterdir()
    holds(trainer(tmp_path, f'load: "runs/{run.name}/checkpoints/last.safetensors"'), learned)


def test_external_data_of_an_onnx_file(tmp_path: Path) -> None:
    foreign(tmp_path / "w.onnx", ALL, external=True)
    holds(trainer(tmp_path, 'load: "w.onnx"'), ALL)


def test_other_names_and_matrices_the_other_way(tmp_path: Path) -> None:
    given = {"net.enc.weight": BODY["body.W"].T, "net.enc.bias": BODY["body.b"], "net.top.weight": HEAD["head.W"].T,
             "net.top.bias": HEAD["head.b"], "net.steps": np.array(4)}  # fmt: skip
    write(tmp_path / "w.safetensors", given)
    lines = """
        load: weights("w.safetensors", of = "net.enc.weight", as = "body.W", transpose = true) on body.W
        load: weights("w.safetensors", of = "net.enc.bias", as = "body.b") on body.b
        load: weights("w.safetensors", "net.top.*ight", "head.W*", transpose = true) on head.W*
    """
    assert "not in the model: `head.Wwe`" in refused(tmp_path, lines)
    lines = lines.replace('"net.top.*ight", "head.W*"', '"net.top.weight", "head.W"').replace("head.W*", "head.W")
    holds(trainer(tmp_path, lines), {**BODY, "head.W": HEAD["head.W"]})
    write(tmp_path / "x.npz", {f"a.{n.replace('.', '/')}": a for n, a in BODY.items()})
    holds(trainer(tmp_path, 'load: weights("x.npz", of = "a.*/*", as = "*.*") on body.*'), BODY)
    write(tmp_path / "y.npz", {"W": BODY["body.W"], "b": BODY["body.b"]})
    holds(trainer(tmp_path, 'load: weights("y.npz", as = "body.*") on body.*'), BODY)


def test_a_square_matrix_is_turned_too(tmp_path: Path) -> None:
    square = RNG.normal(size=(4, 4))
    write(tmp_path / "w.npz", {"body.W": square})
    text = MODEL.replace("hidden = 3", "hidden = 4")
    holds(trainer(tmp_path, 'load: weights("w.npz", transpose = true) on body.W', text), {"body.W": square.T})


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "bfloat16"])
def test_types_are_rounded_once(tmp_path: Path, dtype: str) -> None:
    kind = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.BFLOAT16) if dtype == "bfloat16" else np.dtype(dtype)
    array = (4 * BODY["body.W"]).astype(kind)
    write(tmp_path / ("w.onnx" if dtype == "bfloat16" else "w.npz"), {"body.W": array})
    line = 'load: "w.onnx" on body.W' if dtype == "bfloat16" else "load: file on body.W"
    holds(trainer(tmp_path, line), {"body.W": array.astype(np.float64)})
    if dtype == "float64":
        program = dlc.compile(spec(tmp_path, line))
        np.testing.assert_array_equal(dlc.Trainer(program, "cpu").parameters["body.W"], array.astype(np.float32))


def test_bfloat16_of_safetensors(tmp_path: Path) -> None:
    kind = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.BFLOAT16)
    array = BODY["body.W"].astype(kind)
    safetensors(tmp_path / "w.safetensors", {"body.W": ("BF16", [4, 3], [0, 24])}, array.tobytes())
    holds(trainer(tmp_path, 'load: "w.safetensors" on body.W'), {"body.W": array.astype(np.float64)})


def test_what_starts_from_a_loaded_parameter_follows_it(tmp_path: Path) -> None:
    write(tmp_path / "w.npz", {"body.W": BODY["body.W"]})
    text = """
        model m {
            input x: float[batch, 4]
            body = dense(3)
            h = body(x)
            state slow: float[4, 3] = body.W
            state twice: float[4, 3] = 2 * slow
            if training { slow <- 0.9 * slow + 0.1 * body.W }
            loss = mean((h - x @ slow + 1)^2) + mean(twice)
            output h = h
        }
        train { load: "w.npz" on body.W; minimize loss using lookahead(sgd(0.1)) }
    """
    found = trainer(tmp_path, "", text)
    holds(found, {"body.W": BODY["body.W"], "slow": BODY["body.W"], "twice": 2 * BODY["body.W"]})
    (copy,) = [name for name in found.state if name.startswith("lookahead/") and name.endswith("/body.W")]
    holds(found, {copy: BODY["body.W"]})
    holds(trainer(tmp_path, "", text, seed=3), {"slow": BODY["body.W"], "twice": 2 * BODY["body.W"]})


def test_the_compiled_file_needs_the_other_no_more(tmp_path: Path) -> None:
    write(tmp_path / "w.npz", ALL)
    program = dlc.compile(spec(tmp_path, "load: file on body.*; freeze body.*"), precision="float64")
    assert program.settings["train"]["load"] == ["file on body.*"]
    program.save(tmp_path / "m.onnx")
    (tmp_path / "w.npz").unlink()
    again = dlc.Trainer(tmp_path / "m.onnx", "cpu", seed=9)
    holds(again, BODY)
    again.fit(DATA)
    holds(again, BODY)
    file = CompiledFile.load(tmp_path / "m.onnx")
    assert not {"body.W", "body.b"} & set(file.parts[0].initials)
    assert "head.W" in file.parts[0].initials


def test_it_is_set_from_outside(tmp_path: Path) -> None:
    write(tmp_path / "other.npz", ALL)
    program = dlc.compile(spec(tmp_path, "load: file"), precision="float64", set={"file": "other.npz"})
    holds(dlc.Trainer(program, "cpu"), ALL)


def test_the_same_bytes_again(tmp_path: Path) -> None:
    write(tmp_path / "w.npz", ALL)
    one, two = (dlc.compile(spec(tmp_path, "load: file on body.*")).model_proto() for _ in range(2))
    assert one.SerializeToString(deterministic=True) == two.SerializeToString(deterministic=True)


def test_a_loaded_run_resumes_bit_for_bit(tmp_path: Path) -> None:
    write(tmp_path / "w.npz", ALL)
    whole, part = (trainer(tmp_path, "load: file on body.*, norm.*; freeze body.b") for _ in range(2))
    whole.fit(DATA)
    with pytest.raises(KeyboardInterrupt):
        part.fit(DATA, run=tmp_path / "runs", callbacks=[Interrupt(4)])
    (tmp_path / "w.npz").unlink()
    again = dlc.Trainer.resume(next((tmp_path / "runs").iterdir()), device="cpu")
    again.fit(DATA)
    same(whole, again)


def test_finetune_trains_better_than_from_nothing() -> None:
    """The spec of the repository: what it starts from, and what that is good for."""
    path = Path(__file__).parent.parent / "specs" / "finetune.dl"
    found = dlc.Trainer(dlc.compile(path), device="cpu")
    started = found.parameters["body.W"].copy()
    first = found.fit(only="the last layer").final["validation"]
    np.testing.assert_array_equal(found.parameters["body.W"], started)
    score = found.fit(only="all of it").final["validation"]
    assert score["loss"] < first["loss"] and not np.array_equal(found.parameters["body.W"], started)
    text = re.sub(r"(?m)^ *(load:|freeze) .*$", "", path.read_text())
    plain = dlc.Trainer(dlc.compile(text), device="cpu", folder=path.parent).fit().final["validation"]
    assert score["loss"] < plain["loss"] and score["accuracy"] > 0.85


# --- what does not fit


def test_all_that_does_not_fit_is_one_message(tmp_path: Path) -> None:
    given = {"body.w": BODY["body.W"], "norm.scale": np.ones(4), "norm.shift": np.array(["a", "b", "c"]), **HEAD}
    given |= {"extra.W": np.ones((2, 2)), "norm.seen_mean": np.ones(3) > 0, "norm.seen_var": np.ones((3, 1))}
    np.savez(tmp_path / "w.npz", **given)
    text = refused(tmp_path, "load: file")
    for line in (
        "E0511",
        "missing: `body.W`, float[4, 3]; did you mean `body.w`?",
        "missing: `body.b`, float[3]",
        "type: `norm.shift` is float[3], in the file of a type that is not read",
        "type: `norm.seen_mean` is float[3], in the file bool",
        "shape: `norm.scale` is float[3], in the file [4]",
        "shape: `norm.seen_var` is float[3], in the file [3, 1]",
        "not in the model: `body.w`, [4, 3]",
        "not in the model: `extra.W`, [2, 2]",
    ):
        assert line in text, text
    assert "extra.W" not in refused(tmp_path, "load: file on body.*")


def test_a_matrix_stored_the_other_way_is_said(tmp_path: Path) -> None:
    write(tmp_path / "w.npz", {"body.W": BODY["body.W"].T})
    assert 'weights("w.npz", transpose = true)' in refused(tmp_path, "load: file on body.W")


def test_a_long_list_is_cut(tmp_path: Path) -> None:
    write(tmp_path / "w.npz", {**ALL, **{f"more.{k}": np.ones(1) for k in range(40)}})
    text = refused(tmp_path, "load: file")
    assert text.count("not in the model") == 6 and "and 34 more" in text


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("load: file; load: file on body.W", "E0516"),
        ('load: "../w.npz"', "E0207"),
        ('load: "/etc/passwd"', "E0207"),
        ('load: "none.npz"', "E0204"),
        ('load: "link.npz"', "E0207"),
        ('load: "loop.npz"', "E0770"),
        ('load: ""', "E0204"),
        ('load: "w.pt"', "E0637"),
        ("load: 3", "E0507"),
        ("load: weights()", "E0507"),
        ("load: weights(3)", "E0507"),
        ('load: weights("w.npz", of = 3)', "E0507"),
        ('load: weights("w.npz", "a", "b", true, 5)', "E0215"),
        ('load: weights("w.npz", path = "w.npz")', "E0215"),
        ('load: weights("w.npz", as = "body.W")', "E0526"),
        ('load: "w.npz" on nothing.*', "E0518"),
        ("load: { a: 3 }", "E0507"),
    ],
)
def test_each_way_to_get_it_wrong(tmp_path: Path, lines: str, code: str) -> None:
    folder = tmp_path / "specs"
    folder.mkdir()
    for place in (tmp_path, folder):
        write(place / "w.npz", ALL)
    (folder / "w.pt").write_bytes(pickle.dumps({"body.W": [1.0]}))
    (folder / "link.npz").symlink_to(tmp_path / "w.npz")
    (folder / "loop.npz").symlink_to(folder / "loop.npz")
    text = refused(folder, lines)
    assert code in text, text


# --- files that were written to mislead


def safetensors(path: Path, entries: dict[str, Any], data: bytes, length: int | None = None) -> None:
    told = {n: {"dtype": d, "shape": s, "data_offsets": o} for n, (d, s, o) in entries.items()}
    header = json.dumps(told).encode()
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + data)


HOSTILE = {
    "more than there is": ({"body.W": ("F64", [4, 3], [0, 96])}, b"\0" * 95),
    "another size": ({"body.W": ("F64", [4, 3], [0, 88])}, b"\0" * 96),
    "backwards": ({"body.W": ("F64", [4, 3], [96, 0])}, b"\0" * 96),
    "huge": ({"body.W": ("F64", [2**40, 2**40], [0, 96])}, b"\0" * 96),
    "negative": ({"body.W": ("F64", [-4, -3], [0, 96])}, b"\0" * 96),
    "no list": ({"body.W": ("F64", 12, [0, 96])}, b"\0" * 96),
    "three ends": ({"body.W": ("F64", [4, 3], [0, 96, 96])}, b"\0" * 96),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_safetensors_that_claim_what_is_not_so(tmp_path: Path, name: str) -> None:
    safetensors(tmp_path / "w.safetensors", *HOSTILE[name])
    assert "E0637" in refused(tmp_path, 'load: "w.safetensors" on body.W')


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 7, b"\xff" * 20, struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 1) + b"{"]
)
@pytest.mark.parametrize("file", FILES)
def test_what_is_no_such_file(tmp_path: Path, file: str, data: bytes) -> None:
    (tmp_path / file).write_bytes(data)
    text = refused(tmp_path, f'load: "{file}" on body.W')
    assert "E0637" in text or "E0511" in text, text


def test_an_index_stays_in_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    write(tmp_path / "w.safetensors", BODY)
    for place in ("../w.safetensors", str(tmp_path / "w.safetensors"), "", "..", "none.safetensors"):
        (folder / "w.safetensors.index.json").write_text(json.dumps({"weight_map": {"body.W": place}}))
        assert "E0637" in refused(folder, 'load: "w.safetensors.index.json" on body.W'), place
    (folder / "l.safetensors").symlink_to(tmp_path / "w.safetensors")
    (folder / "w.safetensors.index.json").write_text(json.dumps({"weight_map": {"body.W": "l.safetensors"}}))
    assert "E0637" in refused(folder, 'load: "w.safetensors.index.json" on body.W')


def test_python_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", **{"body.W": np.array([object()])}, allow_pickle=True)
    assert "Python objects" in refused(tmp_path, "load: file on body.W")


def test_an_array_that_claims_more_than_its_bytes(tmp_path: Path) -> None:
    import zipfile

    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999, 99), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("body.W.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"\0" * 96)
    assert "E0637" in refused(tmp_path, "load: file on body.W")


def test_a_damaged_file_of_ours(tmp_path: Path) -> None:
    trainer(tmp_path, "").save(tmp_path / "first.onnx")
    data = bytearray((tmp_path / "first.onnx").read_bytes())
    place = data.index(np.asarray(trainer(tmp_path, "").parameters["body.W"]).tobytes())
    data[place] ^= 1
    (tmp_path / "first.onnx").write_bytes(data)
    assert "E0755" in refused(tmp_path, 'load: "first.onnx" on body.W')


def test_it_reads_into_no_pipe(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "w.npz")
    text = refused(tmp_path, "load: file on body.W")
    assert "E0647" in text or "E0204" in text
