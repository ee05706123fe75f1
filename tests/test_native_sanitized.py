"""The native library under AddressSanitizer and UndefinedBehaviorSanitizer, on all that its tests give it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g", "-O1")
FLAGS = ("-std=c11", "-fPIC", "-shared", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None or sys.platform != "linux", reason="needs GCC on Linux")


def built(folder: Path, wrong: str = "", file: str = "walk.c") -> Path:
    """The library; `wrong` is a line of a file of it to be left out."""
    source, out = folder / "native", folder / "chains.so"
    shutil.copytree(ROOT / "native", source)
    if wrong:
        text = (source / file).read_text("utf-8")
        assert wrong in text
        (source / file).write_text(text.replace(wrong, ""), "utf-8")
    files = sorted(map(str, source.glob("*.c")))
    subprocess.run(["gcc", *FLAGS, *SANITIZERS, *files, "-o", str(out), "-lm"], check=True)
    return out


def under(library: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
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
        },
    )


def report(folder: Path) -> str:
    """What the sanitizers said."""
    return "".join(path.read_text("utf-8", "replace") for path in sorted(folder.glob("report.*")))


@pytest.mark.long
def test_the_library_under_sanitizers(tmp_path: Path) -> None:
    chosen = "random or program or operations or tensors or nothing or large or pieces or attributes"
    chosen += " or sums or later or squares or attention or joined or batch"
    files = [f"tests/test_native{of}.py" for of in ("", "_filters", "_sums", "_squares", "_rows")]
    chosen += " or products or threads or rows or finite or declared or verdict or buffers"
    done = under(
        built(tmp_path),
        *files,
        "tests/test_each.py",
        "tests/test_in_place.py",
        "tests/test_regions.py",
        "tests/test_recurrences.py",
        "-k",
        chosen,
    )
    assert done.returncode == 0 and "[100%]" in done.stdout, (done.stdout + done.stderr + report(tmp_path))[-4000:]
    assert report(tmp_path) == ""


@pytest.mark.long
def test_the_sanitizers_would_see_it(tmp_path: Path) -> None:
    """Where the last share of the work does not end with the tensor."""
    library = built(tmp_path, "if (end > walk->total) end = walk->total;")
    done = under(library, "tests/test_native.py", "-k", "random_chains")
    assert done.returncode != 0 and "AddressSanitizer" in report(tmp_path)


@pytest.mark.long
def test_the_sanitizers_would_see_rows_after_an_image(tmp_path: Path) -> None:
    """Where windows reach beyond the last row, and it is taken for one of the image."""
    library = built(tmp_path, " || (size_t)y >= height", "filters.c")
    done = under(library, "tests/test_native_filters.py", "-k", "random_geometries")
    assert done.returncode != 0 and "AddressSanitizer" in report(tmp_path)
