"""What a checkpoint says of itself, in every wrong kind: refused with a code, or read and gone on with; and whatever a
fit was asked for, its checkpoint can be read."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dlc.runtime import Callback, CompiledFile, Error, Trainer, checksum
from dlc.runtime.checkpoint import Checkpoint
from hand_built import blobs, compiled
from safetensors import safe_open
from safetensors.numpy import save_file
from test_metadata import WRONG, places, replaced

STOP = {"patience": 6, "on": "validation.loss", "mode": "min"}
FILE = CompiledFile(compiled(validate=0.2, stop=STOP, epochs=8))


class Leave(Callback):
    """Ends a fit after one more update."""

    def on_step(self, step: int, figures: object) -> None:
        raise KeyboardInterrupt


class Pause(Callback):
    """Ends a fit within its third epoch."""

    def on_step(self, step: int, figures: object) -> None:
        if step == 12:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was left in an epoch, some epochs after the best."""
    folder = tmp_path_factory.mktemp("run")
    np.savez(folder / "d.npz", **blobs(90))
    with pytest.raises(KeyboardInterrupt):
        Trainer(FILE, device="cpu").fit(folder / "d.npz", run=folder / "runs", callbacks=[Pause()])
    return next((folder / "runs").iterdir())


def last(run: Path) -> Path:
    return run / "checkpoints" / "last.safetensors"


def told(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    with safe_open(str(path), framework="numpy") as found:
        return {name: found.get_tensor(name) for name in found.keys()}, dict(found.metadata())  # noqa: SIM118


def rewritten(path: Path, state: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """A checkpoint as somebody writes it who means it: the checksum is right."""
    metadata = {key: text for key, text in metadata.items() if key != "checksum"}
    save_file(state, path, {**metadata, "checksum": checksum.arrays(state, metadata)})


def goes_on(run: Path) -> str:
    """How a run goes on from its checkpoint: the code of what refuses it, or nothing."""
    try:
        trainer = Trainer.resume(run, device="cpu")
        trainer.fit(callbacks=[Leave()])
    except Error as problem:
        problem.render().encode()
        return problem.code
    except KeyboardInterrupt:
        pass
    return ""


@pytest.mark.parametrize("key", ["progress", "plan"])
def test_every_value_of_every_wrong_kind(run: Path, key: str) -> None:
    whole = last(run).read_bytes()
    state, metadata = told(last(run))
    right = json.loads(metadata[key])
    codes: dict[str, int] = {}
    for place in places(right):
        for wrong in WRONG:
            rewritten(last(run), state, {**metadata, key: json.dumps(replaced(right, place, wrong))})
            try:
                code = goes_on(run)
            except Exception as problem:
                raise AssertionError(f"{wrong!r} at {place}") from problem
            codes[code] = codes.get(code, 0) + 1
    last(run).write_bytes(whole)
    assert goes_on(run) == ""
    last(run).write_bytes(whole)
    assert codes["E0740"] > 200 and codes[""] > 10, codes
    # Data that are missing or other ones, a figure that is none, sums that are not the model's.
    assert codes.keys() <= {"", "E0740", "E0601", "E0603", "E0609", "E0630", "E0631", "E0742", "E0746"}


@pytest.mark.parametrize(
    ("key", "place", "value", "notes"),
    [
        ("progress", ("step",), "5", ('found the string "5" at `step`', "expected an integer")),
        ("progress", ("best",), 99, ("its history has no epoch 99, which it calls the best",)),
        (
            "progress",
            ("history", 0, "validation"),
            [],
            ("found a list of 0 at `history[0].validation`", "expected an obj"),
        ),
        ("plan", ("threads",), 10**6, ("found the number 1000000 at `threads`", "an integer from 1 to 1,024 or null")),
        ("plan", ("stop",), {"patience": 0}, ("found the number 0 at `stop.patience`", "expected an integer from 1")),
        ("plan", ("data",), "a\0b", ("at `data`", "expected a string without NUL")),
    ],
)
def test_messages_say_the_place_and_the_kind(
    run: Path, tmp_path: Path, key: str, place: tuple[Any, ...], value: Any, notes: tuple[str, ...]
) -> None:
    state, metadata = told(last(run))
    changed = json.dumps(replaced(json.loads(metadata[key]), place, value))
    rewritten(tmp_path / "c.safetensors", state, {**metadata, key: changed})
    with pytest.raises(Error) as caught:
        Checkpoint.load(tmp_path / "c.safetensors")
    assert caught.value.code == "E0740"
    for part, note in zip(notes, caught.value.notes[-len(notes) :], strict=True):
        assert part in note


def test_figures_that_were_never_added_up(run: Path) -> None:
    """Some rows of an epoch are done, but nothing of them is told: no figure could come of it."""
    whole = last(run).read_bytes()
    state, metadata = told(last(run))
    progress = {**json.loads(metadata["progress"]), "sums": []}
    assert progress["cursor"] > 0
    rewritten(last(run), state, {**metadata, "progress": json.dumps(progress)})
    assert goes_on(run) == "E0742"
    last(run).write_bytes(whole)


@pytest.mark.parametrize("text", ["", "²", "٣", "-1", "9" * 5_000, "1e3"])
def test_versions_that_are_no_number(run: Path, tmp_path: Path, text: str) -> None:
    """What says where training stood is read all the same, and is what counts."""
    state, metadata = told(last(run))
    rewritten(tmp_path / "c.safetensors", state, {**metadata, "dlc.checkpoint": text})
    assert Checkpoint.load(tmp_path / "c.safetensors").progress.step == 12


@pytest.mark.parametrize("key", ["progress", "plan"])
@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"step": ' + "9" * 5_000 + "}", "\x00", "null", "[]"])
def test_what_is_no_json(run: Path, tmp_path: Path, key: str, text: str) -> None:
    state, metadata = told(last(run))
    rewritten(tmp_path / "c.safetensors", state, {**metadata, key: text})
    with pytest.raises(Error) as caught:
        Checkpoint.load(tmp_path / "c.safetensors")
    assert caught.value.code == "E0740"


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "F6_E2M3", "BF16", "C64", "none"])
def test_tensors_of_other_types(run: Path, tmp_path: Path, dtype: str) -> None:
    _, metadata = told(last(run))
    metadata.pop("checksum")
    size = {"F4": 1, "F6_E2M3": 3, "BF16": 8, "C64": 32}.get(dtype, 4)
    shape = [2] if dtype == "F4" else [4]
    header = json.dumps({"__metadata__": metadata, "W": {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}})
    path = tmp_path / "c.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + b"\x01" * size)
    with pytest.raises(Error) as caught:
        Trainer.resume(path, FILE, device="cpu")
    assert caught.value.code in ("E0740", "E0742", "E0743")


@pytest.mark.parametrize(
    ("made", "asked"),
    [
        ({"seed": 2**64 - 1}, {}),
        ({"seed": -(2**63)}, {}),
        ({"seed": np.int64(3)}, {}),
        ({"threads": 3}, {}),
        ({}, {"batch": "all"}),
        ({}, {"batch": 2**31 - 1}),
        ({}, {"steps": 2**31 - 1}),
        ({}, {"epochs": 2**31 - 1}),
        ({}, {"validation": False}),
        ({}, {"validation": 1e-9 + 0.5}),
        ({}, {"validation": "d\udcff.npz"}),
    ],
)
def test_whatever_a_fit_was_asked_for_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: dict[str, Any], asked: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        np.savez("d\udcff.npz", **blobs(90))  # a name that is no UTF-8
    except OSError:
        pytest.skip("this file system has no such names")
    file = CompiledFile(compiled(validate=0.2, epochs=3))
    trainer = Trainer(file, device="cpu", **made)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit("d\udcff.npz", run="runs", callbacks=[Leave()], **asked)
    (folder,) = Path("runs").iterdir()
    again = Trainer.resume(folder, device="cpu")
    assert again.plan == trainer.plan and again.progress == trainer.progress
    assert os.fsencode(again.plan.data).endswith(b"/d\xff.npz")
    with pytest.raises(KeyboardInterrupt):
        again.fit(callbacks=[Leave()])


@pytest.mark.parametrize(
    ("made", "asked", "words"),
    [
        ({"seed": 2**64}, {}, "`seed` takes an integer from"),
        ({"seed": "7"}, {}, "`seed`"),
        ({"seed": 1.5}, {}, "`seed`"),
        ({"threads": 0}, {}, "`threads` takes an integer from 1 to 1,024, not"),
        ({"threads": -3}, {}, "`threads`"),
        ({"threads": 10**6}, {}, "`threads`"),
        ({}, {"steps": 2**70}, "`steps` takes an integer from 1 to 2,147,483,647, not the number"),
        ({}, {"epochs": 10**5_000}, "not a number of more than 40 digits"),
        ({}, {"batch": 2**31}, "`batch`"),
    ],
)
def test_numbers_that_no_fit_can_have(made: dict[str, Any], asked: dict[str, Any], words: str) -> None:
    with pytest.raises(Error) as caught:
        Trainer(FILE, device="cpu", **made).fit(blobs(90), **asked)
    assert caught.value.code == "E0625" and words in caught.value.message


@pytest.mark.parametrize("batch, words", [({"a": 1}, "rows of a"), ({}, "rows of no dimension")])
def test_a_batch_of_dimensions_that_the_model_does_not_have(run: Path, batch: dict[str, int], words: str) -> None:
    whole = last(run).read_bytes()
    state, metadata = told(last(run))
    rewritten(last(run), state, {**metadata, "plan": json.dumps({**json.loads(metadata["plan"]), "batch": batch})})
    with pytest.raises(Error) as caught:
        Trainer.resume(run, device="cpu")
    last(run).write_bytes(whole)
    assert caught.value.code == "E0740" and any(words in note for note in caught.value.notes)
