"""The package: what the wheel holds, what an import costs, and what a training run leaves behind."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from next_code import PAGES, documented, next_code, raised

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
MOUNTS: dict[str, str] = PROJECT["tool"]["setuptools"]["package-dir"]  # package -> folder
KEPT = (".py", ".dl", ".lark", ".txt", ".npz", ".csv", ".md", ".typed", ".js", ".css")
SOURCES = [
    path
    for folder in ("compiler", "runtime", "grammar", "specs", "tests", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def folder_of(package: str) -> Path:
    """Where a package of the distribution lies in the repository."""
    mount = max((m for m in MOUNTS if package == m or package.startswith(m + ".")), key=len)
    return ROOT / MOUNTS[mount] / package[len(mount) + 1 :].replace(".", "/")


# --- the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of what git would commit, so that nothing left over from other builds gets in."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (copy / name).write_bytes((ROOT / name).read_bytes())
    for folder in ("compiler", "runtime", "native", "grammar", "specs", "docs/errors"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("_chains."):
                target = copy / path.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    build = "from setuptools import build_meta; import sys; print(build_meta.build_wheel(sys.argv[1]))"
    command = [sys.executable, "-c", build, str(out)]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    [path] = out.glob("*.whl")
    return path


def test_the_wheel_holds_everything(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    missing = []
    for mount, folder in MOUNTS.items():
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in KEPT and "__pycache__" not in path.parts:
                name = f"{mount.replace('.', '/')}/{path.relative_to(ROOT / folder).as_posix()}"
                if name not in held and path.name != "make.py":
                    missing.append(name)
    assert missing == []
    assert any(name.endswith("licenses/LICENSE") for name in held)
    assert {"dlc/py.typed", "dlc/runtime/py.typed", "dlc/specs/std/layers.dl", "dlc/errors/E0312.md"} <= held
    assert {name.split("/")[0] for name in held} == {"dlc", "-".join(wheel.name.split("-")[:2]) + ".dist-info"}


def test_the_wheel_holds_the_native_library_for_every_python(wheel: Path) -> None:
    """Where there is a compiler; its sources stay at home."""
    held = zipfile.ZipFile(wheel).namelist()
    built = [name for name in held if name.startswith("dlc/runtime/_chains.")]
    assert len(built) == (shutil.which("cc") is not None or shutil.which("gcc") is not None)
    assert not any(name.endswith((".c", ".h")) for name in held)
    if built:
        assert "-cp311-abi3-" in wheel.name


def test_without_a_compiler_the_wheel_is_built(wheel: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "native", copy / "native")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    for folder in ("compiler", "runtime", "grammar", "specs", "docs/errors"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "_chains.*"))
    build = "from setuptools import build_meta; import sys; print(build_meta.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CC": "/nowhere/cc", "CXX": "/nowhere/cc"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    [made] = tmp_path.glob("*.whl")
    assert not any("_chains" in name for name in zipfile.ZipFile(made).namelist())


def test_the_wheel_works(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = f"""
import sys
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in repr(f)]
sys.path[:] = [{str(tmp_path)!r}] + [p for p in sys.path if "__editable__" not in p]
import dlc
import dlc.runtime.file
assert dlc.__file__.startswith({str(tmp_path)!r}), dlc.__file__
program = dlc.compile("model m {{ input x: float[batch, 4]; output y = x |> dense(3) |> relu }}")
assert [slot.shape for slot in dlc.runtime.file.CompiledFile(program.model_proto()).slots] == [(4, 3), (3,)]
from dlc.cli.explain import pages
assert "E0312" in pages()
print("fine")
"""
    assert run(code) == "fine"


def test_the_project_file_knows_every_package() -> None:
    named = PROJECT["tool"]["setuptools"]["packages"]
    found = {
        ".".join([mount, *path.parent.relative_to(ROOT / folder).parts])
        for mount, folder in MOUNTS.items()
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert sorted(named) == sorted(found)
    for package in named:
        assert (folder_of(package) / "__init__.py").is_file()


def test_versions_agree() -> None:
    import dlc

    assert dlc.__version__ == PROJECT["project"]["version"]
    assert f"## {dlc.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_readme_is_true() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    for marker in ("run", "test"):
        assert len(re.findall(rf"<!-- {marker} -->\n```sh\n[^\n]+\n```\n<!-- /{marker} -->", text)) == 1
    extras = PROJECT["project"]["optional-dependencies"]
    for given in re.findall(r"pip install[^\n`]*\[([a-z,]+)\]", text):
        assert set(given.split(",")) <= set(extras)
    for link in re.findall(r'\]\(([^)#:]+)\)|src="([^"]+)"', text):
        assert (ROOT / (link[0] or link[1])).exists(), link
    spec = re.search(r"```dl\n(.*?)```", text, re.S)
    assert spec is not None
    import dlc

    assert dlc.check(spec.group(1)) == []


@pytest.mark.parametrize("page", ["language.md", "library.md", "file-format.md"])
def test_links_of_the_pages(page: str) -> None:
    text = (ROOT / "docs" / page).read_text("utf-8")
    assert [link for link in re.findall(r"\]\(([^)#:]+)\)", text) if not (ROOT / "docs" / link).exists()] == []


def test_ci_runs_the_readme_command() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert "pytest" not in script and "README.md" in script


# --- pages of the errors


def test_every_code_has_a_page() -> None:
    assert sorted(raised() - documented()) == []
    for code in documented():
        title, _, body = (PAGES / f"{code}.md").read_text("utf-8").partition("\n")
        assert re.fullmatch(rf"# {code}: \S.*\S", title), code
        assert len(body.strip().splitlines()) >= 2, code


def test_every_page_has_a_code() -> None:
    assert sorted(documented() - raised()) == []


def test_the_next_code_is_one_that_none_ever_had() -> None:
    assert next_code("E04", {"E0401", "E0403"}) == "E0402"
    assert next_code("E04", {f"E04{number:02}" for number in range(1, 100)}) is None
    script = [sys.executable, str(ROOT / "tests" / "next_code.py")]
    done = subprocess.run([*script, "E03"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"E03\d\d\n", done.stdout) and done.stdout.strip() not in raised() | documented()
    assert subprocess.run([*script, "E3"], capture_output=True, check=False).returncode == 1


def test_many_codes_are_kept_word_for_word() -> None:
    kept = {path.stem[:5] for path in (ROOT / "tests" / "errors").glob("*.dl")}
    assert len(kept) >= 60
    assert {code[:3] for code in kept} >= {"E01", "E02", "E03", "E04", "E05", "W02"}


# --- the house

CODE_FILES = [path for path in SOURCES if path.relative_to(ROOT).parts[0] in ("compiler", "runtime")]


def test_files_are_short() -> None:
    assert {str(p.relative_to(ROOT)): n for p in SOURCES if (n := len(p.read_text("utf-8").splitlines())) > 500} == {}


def test_what_the_house_forbids() -> None:
    forbidden = re.compile(
        r"\bpickle\.|\bimport pickle|(?<![.\w])(?:eval|exec)\(|raise NotImplementedError|\bTODO\b|\bFIXME\b"
    )
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in CODE_FILES
        for line in path.read_text("utf-8").splitlines()
        if forbidden.search(line)
    ]
    assert found == []


def test_only_the_command_line_prints() -> None:
    examples = re.compile(r"^ *(>>>|\.\.\.) .*$", re.M)  # of docstrings, which are what a user types
    found = [
        str(path.relative_to(ROOT))
        for path in CODE_FILES
        if "cli" not in path.parts and re.search(r"(?<![.\w])print\(", examples.sub("", path.read_text("utf-8")))
    ]
    assert found == []


def test_the_runtime_knows_nothing_of_the_compiler() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {line}"
        for path in (ROOT / "runtime").rglob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if re.match(r"\s*(?:from|import) (?:dlc(?!\.runtime)|\.\.\.)", line)
    ]
    assert found == []


# --- what an import costs, and what is left behind


def test_importing_is_light() -> None:
    heavy = ("onnxruntime", "onnx", "networkx", "lark", "numpy", "rich", "cyclopts")
    assert run(f"import sys, dlc; print([m for m in {heavy!r} if m in sys.modules])") == "[]"


def test_compiling_needs_no_onnxruntime() -> None:
    assert (
        run("""
import sys
sys.modules["onnxruntime"] = None
import dlc
program = dlc.compile("model m { input x: float[batch, 4]; output y = x |> dense(3) }")
print(len(program.model_proto().graph.output), sys.modules["onnxruntime"])
""")
        == "1 None"
    )


def test_the_source_folder_is_no_package() -> None:
    command = [sys.executable, "-c", "import compiler"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "the package is `dlc`" in done.stderr


def test_training_leaves_nothing_at_home(tmp_path: Path) -> None:
    home, runs = tmp_path / "home", tmp_path / "runs"
    home.mkdir()
    code = (
        "import sys; from dlc.cli import main;"
        f"sys.exit(main(['train', {str(ROOT / 'specs' / 'xor.dl')!r}, '--steps', '3', '--runs', {str(runs)!r}]))"
    )
    names = ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "TMPDIR")
    places = dict.fromkeys(names, str(home))
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**environment, **places},
    )
    assert done.returncode == 0, done.stderr
    assert list(home.rglob("*")) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "runs"]


def test_telemetry_is_off_when_onnxruntime_is_imported() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    code = (
        "import os; from dlc.runtime.session import onnxruntime; onnxruntime();"
        "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "1"
