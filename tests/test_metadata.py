"""Metadata of every wrong kind: the reader says what was found and expected, and nothing behind it is reached."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from dlc.runtime import metadata
from dlc.runtime.failures import Error
from dlc.runtime.file import CompiledFile
from hand_built import compiled
from onnx import ModelProto

KEYS = ("dlc.settings", "dlc.signature", "dlc.sources", "dlc.evaluate")
# JSON of every kind, and numbers and texts that are hard on whoever reads them.
WRONG: list[Any] = [
    None,
    True,
    0,
    -1,
    3.5,
    2**31,
    2**63,
    2**64,
    10**400,
    float("nan"),
    float("inf"),
    -float("inf"),
    1e300,
    "",
    "text",
    "\x00",
    "\ud800",
    "\x1b[2J",
    "‮",
    "\n",
    [],
    [1],
    ["a", 2],
    [[]],
    {},
    {"a": 1},
    {"": None},
]
FULL = {  # every setting that a runtime acts on
    "batch": 16,
    "epochs": 5,
    "steps": None,
    "data": "a.npz",
    "validate": 0.2,
    "seed": 3,
    "stop": {"patience": 3, "on": "validation.loss", "mode": "min"},
    "columns": {"x": ["a", "b", "c", "d"]},
}


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a value stands in JSON: of every object, list and leaf."""
    yield place
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*place, key))


def replaced(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """A copy of JSON with another value at a place."""
    if not place:
        return new
    made = copy.deepcopy(value)
    at = made
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = new
    return made


def full() -> ModelProto:
    model = compiled()
    for entry in model.metadata_props:
        if entry.key == "dlc.settings":
            entry.value = json.dumps({"model": {"hidden": 3}, "train": FULL})
    return model


def text_of(model: ModelProto, key: str) -> str:
    return next(entry.value for entry in model.metadata_props if entry.key == key)


def with_text(key: str, text: str) -> ModelProto:
    model = full()
    next(entry for entry in model.metadata_props if entry.key == key).value = text
    return model


def everything(file: CompiledFile) -> None:
    """All that a runtime reads of a file's metadata."""
    for name in ("settings", "hyperparameters", "signature", "sources", "evaluation", "updates", "slots", "parameters"):
        getattr(file, name)


@pytest.mark.parametrize("key", KEYS)
def test_every_value_of_every_wrong_kind(key: str) -> None:
    right = json.loads(text_of(full(), key))
    refused = 0
    for place in places(right):
        for wrong in WRONG:
            text = json.dumps(replaced(right, place, wrong))
            try:
                everything(CompiledFile(with_text(key, text)))
            except Error as problem:
                refused += 1
                assert problem.code in ("E0714", "E0734", "E0737"), problem
                problem.render().encode()
    assert refused > 20


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("dlc.settings", "{"),
        ("dlc.settings", "[" * 100_000),
        ("dlc.settings", '{"train": {"seed": ' + "9" * 5_000 + "}}"),
        ("dlc.signature", ""),
        ("dlc.sources", "\x00"),
        ("dlc.evaluate", '"\\ud800"'),
        ("dlc.format", "9" * 5_000),
        ("dlc.format", "²"),
        ("dlc.language", "-1"),
        ("dlc.language", "٣"),
    ],
)
def test_what_is_no_json_or_no_number(key: str, text: str) -> None:
    with pytest.raises(Error) as caught:
        CompiledFile(with_text(key, text))
    assert caught.value.code == "E0714"
    assert len(caught.value.render()) < 500


@pytest.mark.parametrize(
    ("train", "notes"),
    [
        ({"seed": "seven"}, ('found the string "seven" at `train.seed`', "expected an integer from")),
        ({"stop": ["patience", 3]}, ("found a list of 2 at `train.stop`", "expected an object")),
        ({"stop": {"patience": 0}}, ("found the number 0 at `train.stop.patience`", "expected an integer from 1 to")),
        ({"stop": {"mode": "most"}}, ('found the string "most" at `train.stop.mode`', 'expected "min" or "max"')),
        ({"batch": True}, ("found true at `train.batch`", '"all"')),
        ({"validate": 7.5}, ("found the number 7.5 at `train.validate`", "a number from 0.0 to 1.0, a string or null")),
        ({"data": "a\0b"}, ("at `train.data`", "expected a string without NUL")),
    ],
)
def test_messages_say_the_place_and_the_kind(train: dict[str, Any], notes: tuple[str, str]) -> None:
    with pytest.raises(Error) as caught:
        CompiledFile(with_text("dlc.settings", json.dumps({"model": {}, "train": train})))
    assert caught.value.message == "the metadata `dlc.settings` cannot be read: a value has the wrong type"
    for part, note in zip(notes, caught.value.notes, strict=True):
        assert part in note


def test_what_is_right_is_read() -> None:
    file = CompiledFile(full())
    assert file.settings == FULL
    assert file.hyperparameters == {"hidden": 3}
    read = metadata.read(text_of(full(), "dlc.settings"), metadata.Settings, "dlc.settings", None)
    assert read.train.stop == metadata.Stop(3)
    assert read.train.columns == {"x": ["a", "b", "c", "d"]}
    assert [entry.name for entry in file.signature.targets] == ["y"]
    assert file.signature.targets[0].range == (0, 3)
    assert file.signature.inputs[0].shape == ("batch", 4)
