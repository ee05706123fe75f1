"""The native library under AddressSanitizer and UndefinedBehaviorSanitizer, on all that its tests give it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dlc.runtime import native
from native_cases import FILES, NARROWER

ROOT = Path(__file__).parent.parent
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g", "-O1")
FLAGS = ("-std=c11", "-fPIC", "-shared", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")
# All but what trains whole models, or looks at graphs alone: what is given to the kernels.
CHOSEN = (
    "random or program or operation or tensors or nothing or large or pieces or attributes or sums or later or squares"
    " or products or threads or rows or finite or declared or functions or erf or weights or batches or spoil"
    " or attention or joined or batch or verdict or buffers or figure or axes"
)
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None or sys.platform != "linux", reason="needs GCC on Linux")


def built(folder: Path, *flags: str, wrong: str = "", file: str = "walk.c") -> Path:
    """The library, with sanitizers if nothing else is said; `wrong` is a line of a file of it to be left out."""
    source, out = folder / "native", folder / "chains.so"
    shutil.copytree(ROOT / "native", source)
    if wrong:
        text = (source / file).read_text("utf-8")
        assert wrong in text
        (source / file).write_text(text.replace(wrong, ""), "utf-8")
    files = sorted(map(str, source.glob("*.c")))
    subprocess.run(["gcc", *FLAGS, *(flags or SANITIZERS), *files, "-o", str(out), "-lm"], check=True, cwd=folder)
    return out


def under(library: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The tests in a process into which the sanitizers are loaded first."""
    names = ("libasan.so", "libubsan.so")
    asks = [subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True) for name in names]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "sanitized", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "tests"),
            "LD_PRELOAD": " ".join(ask.stdout.strip() for ask in asks),
            # Python and ONNX Runtime keep what they have until the end.
            "ASAN_OPTIONS": f"detect_leaks=0:log_path={library.parent / 'report'}",
            "DLC_SANITIZED": str(library),
            **variables,
        },
    )


def report(folder: Path) -> str:
    """What the sanitizers said."""
    return "".join(path.read_text("utf-8", "replace") for path in sorted(folder.glob("report.*")))


@pytest.mark.long
def test_the_library_under_sanitizers(tmp_path: Path) -> None:
    done = under(built(tmp_path), *FILES, "-k", CHOSEN)
    assert done.returncode == 0 and "[100%]" in done.stdout, (done.stdout + done.stderr + report(tmp_path))[-4000:]
    assert report(tmp_path) == ""


@pytest.mark.long
def test_narrower_lanes_under_sanitizers(tmp_path: Path) -> None:
    library = built(tmp_path)
    for lanes in NARROWER:
        done = under(library, "-p", "narrowed", *FILES, "-k", CHOSEN, DLC_NATIVE_LANES=lanes)
        assert done.returncode == 0 and "[100%]" in done.stdout, (done.stdout + done.stderr + report(tmp_path))[-4000:]
        assert report(tmp_path) == ""


@pytest.mark.long
def test_the_library_under_sanitizers_where_memory_runs_out(tmp_path: Path) -> None:
    replaced = [f"-D{name}=failing_{name}" for name in ("malloc", "calloc", "aligned_alloc")]
    library = built(tmp_path, *SANITIZERS, *replaced, str(ROOT / "tests" / "native_failing.c"))
    done = under(library, "-m", "long", "tests/test_native_memory.py", DLC_FAILING="1")
    assert done.returncode == 0 and "[100%]" in done.stdout, (done.stdout + done.stderr + report(tmp_path))[-4000:]
    assert "skipped" not in done.stdout and report(tmp_path) == ""


# What these tests cannot reach: where memory runs out, which the test above does.
# Of a line that ends a block of them, the one before it is named.
UNREACHED = {"no memory", "call->failed[number] = 1;", "walk->failed = 1;", "pool_free(pool);", "room_free(room);"}
ENDS = ("return;", "return NULL;")


def named(lines: list[str], at: int) -> bool:
    """Whether a line, counted from 1, is one of those."""
    line = lines[at - 1].strip()
    return (
        line in UNREACHED or any(f'"{said}"' in line for said in UNREACHED) or (line in ENDS and named(lines, at - 1))
    )


@pytest.mark.long
def test_these_tests_run_every_line_and_function(tmp_path: Path) -> None:
    """What they leave out, the sanitizers have not seen."""
    library = built(tmp_path, "--coverage", "-O1")
    for lanes in (*NARROWER, native.lanes() or "plain"):
        done = under(library, *FILES, "-k", CHOSEN, DLC_NATIVE_LANES=lanes)
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    run, functions = dict[tuple[str, int], int](), dict[tuple[str, str, str], int]()
    for data in sorted(tmp_path.glob("*.gcda")):
        asked = ["gcov", "--json-format", "--stdout", str(data)]
        said = subprocess.run(asked, capture_output=True, text=True, check=True, cwd=tmp_path)
        for file in (file for line in said.stdout.splitlines() for file in json.loads(line)["files"]):
            if Path(file["file"]).parent == tmp_path / "native":
                for line in file["lines"]:
                    at = Path(file["file"]).name, line["line_number"]
                    run[at] = run.get(at, 0) + line["count"]
                for one in file["functions"]:  # of a header, by the file that includes it
                    name = data.stem, Path(file["file"]).name, one["name"]
                    functions[name] = functions.get(name, 0) + one["execution_count"]
    assert len(run) > 1500 and len(functions) > 600
    texts = {name: (ROOT / "native" / name).read_text("utf-8").splitlines() for name, _ in run}
    left = [at for at, count in sorted(run.items()) if not count and not named(texts[at[0]], at[1])]
    assert [f"{name}:{at}: {texts[name][at - 1].strip()}" for name, at in left] == []
    assert [name for name, count in sorted(functions.items()) if not count] == []


@pytest.mark.long
def test_the_sanitizers_would_see_it(tmp_path: Path) -> None:
    """Where the last share of the work does not end with the tensor."""
    library = built(tmp_path, wrong="if (end > walk->total) end = walk->total;")
    done = under(library, "tests/test_native.py", "-k", "random_chains")
    assert done.returncode != 0 and "AddressSanitizer" in report(tmp_path)


@pytest.mark.long
def test_the_sanitizers_would_see_rows_after_an_image(tmp_path: Path) -> None:
    """Where windows reach beyond the last row, and it is taken for one of the image."""
    library = built(tmp_path, wrong=" || (size_t)y >= height", file="filters.c")
    done = under(library, "tests/test_native_filters.py", "-k", "random_geometries")
    assert done.returncode != 0 and "AddressSanitizer" in report(tmp_path)
