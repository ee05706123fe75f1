"""What is written where the sources of a file go: their names are the file's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dlc.cli import main
from dlc.runtime import sources
from dlc.runtime.checkpoint import Run
from dlc.runtime.failures import Error
from dlc.runtime.file import CompiledFile
from dlc.syntax.parser import make_source
from test_metadata import with_text

BAD = [
    "../evil.dl",
    "/tmp/evil.dl",
    "a/../../evil.dl",
    "..\\evil.dl",
    "a\\..\\evil.dl",
    "C:evil.dl",
    ".bashrc",
    ".git/hooks/a.dl",
    ".evil.dl",
    "Makefile",
    "conftest.py",
    "evil.dl.py",
    "a.dl/",
    "a//b.dl",
    "",
    "/",
    ".",
    "..",
    "a\nb.dl",
    "a\x1b.dl",
    "-o.dl",
    "a/-rf.dl",
    "x" * 300 + ".dl",
    "/".join("x" * 40) + ".dl",
    "evil.DL",
    " .dl",
    "~/a.dl",
    "a|b.dl",
    "a*.dl",
]
GOOD = ["m.dl", "std/layers.dl", "./std/layers.dl", "parts/my blocks-2.dl", "a.b.dl", "modèle.dl", "1.dl"]


def holding(tmp_path: Path, files: dict[str, str], name: str = "m.onnx") -> Path:
    text = json.dumps({"main": next(iter(files)), "files": files})
    (tmp_path / name).write_bytes(with_text("dlc.sources", text).SerializeToString())
    return tmp_path / name


def everything(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text("latin-1") for p in sorted(folder.rglob("*")) if p.is_file()}


def code_of(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    capsys.readouterr()
    status = main([*map(str, argv)])
    said = capsys.readouterr().err
    assert status == (2 if said.startswith("error") else 0), said
    return said[6:11] if status else ""


def test_names() -> None:
    for name in BAD:
        assert sources.place(name) is None, name
        assert sources.place("/".join(sources.renamed(name))) is not None, name
    for name in GOOD:
        assert sources.place(name) is not None, name
    assert make_source("", "/home/me/.model").stored == "model.dl"
    assert make_source("", "dir/my model.dl").stored == "my model.dl"
    assert make_source("").stored == "spec.dl"


@pytest.mark.parametrize("name", BAD)
def test_decompile_writes_nothing_for_a_name_that_is_none(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = holding(tmp_path, {"m.dl": "x", name: "y"})
    before = everything(tmp_path.parent)
    assert code_of(capsys, "decompile", file, "-o", tmp_path / "out", "--force") == "E0798"
    assert everything(tmp_path.parent) == before and not (tmp_path / "out").exists()


def test_decompile_takes_a_folder_that_is_new_or_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {"m.dl": "x", "std/layers.dl": "y", "./std/layers.dl": "z"}
    file, out = holding(tmp_path, files), tmp_path / "deep" / "out"
    assert code_of(capsys, "decompile", file, "-o", out) == ""
    assert everything(out) == {"m.dl": "x", "library/std/layers.dl": "y", "std/layers.dl": "z"}
    (out / "m.dl").write_text("mine")
    assert code_of(capsys, "decompile", file, "-o", out) == "E0773"
    assert (out / "m.dl").read_text() == "mine"
    (out / "other.txt").write_text("mine too")
    assert code_of(capsys, "decompile", file, "-o", out, "--force") == ""
    assert everything(out)["m.dl"] == "x" and everything(out)["other.txt"] == "mine too"
    for taken in ({"m.dl": "x", "./m.dl": "y", "a.dl": ""}, {"m.dl": "x", "m.dl/b.dl": "y"}):
        if "./m.dl" not in taken:
            assert code_of(capsys, "decompile", holding(tmp_path, taken), "-o", tmp_path / "two") == "E0798"


@pytest.mark.parametrize("link", ["out", "out/m.dl", "out/std"])
def test_links_are_never_followed(link: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, elsewhere = holding(tmp_path, {"m.dl": "x", "std/layers.dl": "y"}), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "m.dl").write_text("mine")
    if link != "out":
        (tmp_path / "out").mkdir()
    (tmp_path / link).symlink_to(elsewhere / "m.dl" if link.endswith(".dl") else elsewhere)
    for force in ([], ["--force"]):
        said = code_of(capsys, "decompile", file, "-o", tmp_path / "out", *force)
        assert said == ("E0774" if force or link == "out" else "E0773")
        assert everything(elsewhere) == {"m.dl": "mine"}
    assert not (tmp_path / "out" / "std" / "layers.dl").exists()


@pytest.mark.parametrize("name", BAD)
def test_a_run_folder_holds_every_source_whatever_its_name(name: str, tmp_path: Path) -> None:
    file = CompiledFile.load(holding(tmp_path, {"m.dl": "x", name: "y"}))
    run = Run.create(tmp_path / "runs", file, {})
    found = everything(run.folder / "spec")
    assert sorted(found.values()) == ["x", "y"]
    assert all(sources.place(one) for one in found)
    assert {p.name for p in tmp_path.iterdir()} == {"m.onnx", "runs"}


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        sources.write(tmp_path / "file" / "out", {("m.dl",): "x"})
    with pytest.raises(Error, match="is a folder"):
        (tmp_path / "m.dl").mkdir()
        sources.write(tmp_path, {("m.dl",): "x"}, force=True)
