"""Each command with each kind of thing that it does not take: what was found, what is expected, and a way out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from dlc.cli import main

SPECS = Path(__file__).parent.parent / "specs"
COMMANDS = {  # words around the file, kinds that it takes
    "check FILE": "spec compiled",
    "compile FILE": "spec",
    "train FILE": "spec compiled",
    "train --resume FILE": "run",
    "evaluate FILE --data data.csv": "compiled run",
    "predict FILE --data data.csv": "compiled run",
    "export FILE --inference -o out.onnx": "compiled run",
    "decompile FILE": "compiled",
    "summary FILE": "spec compiled run",
    "graph FILE -o out.svg": "spec compiled run",
    "grad FILE --wrt x": "spec",
    "fmt FILE": "spec",
}
THINGS = {
    "spec": "xor.dl", "compiled": "xor.onnx", "run": "run", "csv": "data.csv", "npz": "data.npz", "folder": "folder",
    "no spec": "nowhere.dl", "no file": "nowhere.onnx", "nothing": "nowhere", "no folder": "no/where.dl",
    "json": "run/settings.json", "text": "text",
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinds")
    shutil.copy(SPECS / "xor.dl", folder)
    shutil.copy(SPECS / "data" / "xor.csv", folder / "data.csv")
    shutil.copy(SPECS / "data" / "digits.npz", folder / "data.npz")
    (folder / "folder").mkdir()
    (folder / "text").write_text("hello\n")
    assert main(["compile", str(folder / "xor.dl"), "-o", str(folder / "xor.onnx")]) == 0
    words = ["train", str(SPECS / "xor.dl"), "--steps", "2", "--runs", str(folder / "runs"), "--quiet"]
    assert main(words) == 0
    [run] = (folder / "runs").iterdir()
    run.rename(folder / "run")
    (folder / "runs").rmdir()
    return folder


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("thing", THINGS)
def test_another_kind(run, place: Path, monkeypatch: pytest.MonkeyPatch, command: str, thing: str) -> None:
    if thing in COMMANDS[command].split():
        return
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    status, out, err = run(*(THINGS[thing] if word == "FILE" else word for word in command.split()))
    assert (status, out) == (2, "")
    assert err.startswith("error[E") and "Traceback" not in err and "internal error" not in err
    assert THINGS[thing] in err
    assert "= help: " in err
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "help"),
    [
        ("decompile xor.dl", "it is what decompile writes; to compile it: dlc compile xor.dl"),
        ("decompile run", "dlc decompile run/xor.onnx"),
        ("check run", "dlc check run/xor.onnx"),
        ("train run", "to go on with it: dlc train --resume run"),
        ("grad xor.onnx --wrt x", "`dlc decompile xor.onnx` recovers the spec"),
        ("compile data.csv", "dlc train FILE.dl --data data.csv"),
        ("evaluate data.npz", "dlc evaluate FILE.onnx --data data.npz"),
        ("train --resume xor.dl", "dlc train xor.dl"),
        ("check xro.dl", "did you mean `xor.dl`?"),
        ("check .", "in it: xor.dl, xor.onnx"),
    ],
)
def test_the_command_that_was_meant(run, place: Path, monkeypatch: pytest.MonkeyPatch, words: str, help: str) -> None:
    monkeypatch.chdir(place)
    if words.startswith("evaluate"):
        words += " --data data.csv"
    status, _, err = run(*words.split())
    assert status == 2 and f"= help: {help}" in err
