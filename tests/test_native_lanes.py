"""The native library with the loops for narrower vectors than this processor has: its choice, and its own tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from dlc.runtime import native
from native_cases import FILES, LANES, NARROWER

pytestmark = pytest.mark.skipif(not native.works(), reason="the native library was not built")
ROOT = Path(__file__).parent.parent


def under(lanes: str, *words: str) -> str:
    """What a Python process says that asks for these lanes."""
    env = {**os.environ, "DLC_NATIVE_LANES": lanes, "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run([sys.executable, *words], env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def passed(lanes: str, *words: str) -> int:
    """How many tests passed with them."""
    said = under(lanes, "-m", "pytest", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib", *words)
    found = re.search(r"(\d+) passed", said)
    assert found, said
    return int(found[1])


@pytest.mark.parametrize("asked", [*LANES, "", "avx1024", "avx"])
def test_what_is_asked_for_is_chosen_or_the_widest(asked: str) -> None:
    """Of kinds that are not there, or have other names, the widest that the processor has."""
    said = under(asked, "-c", "import os; from dlc.runtime import native as n; print(n.lanes(), n.works(), n.vector())")
    chosen = asked if asked in NARROWER else LANES[len(NARROWER)]
    lanes, works, vector = said.split()
    assert lanes == chosen and works == "True"
    assert int(vector) in {"plain": (1, 4), "avx2": (8,), "avx512": (16,)}[chosen]


def test_it_is_chosen_once() -> None:
    text = """if True:
        import os
        from dlc.runtime import native
        first = native.lanes()
        os.environ["DLC_NATIVE_LANES"] = "avx512"
        native.lanes.cache_clear()
        print(first, native.lanes())"""
    assert under("plain", "-c", text).split() == ["plain", "plain"]


@pytest.mark.parametrize("lanes", NARROWER)
def test_narrower_lanes_are_numpys_too(lanes: str) -> None:
    words = ["-m", "not long", "-p", "narrowed", "-k", "not random_attributes and not specs", *FILES]
    assert passed(lanes, *words) > 120


@pytest.mark.long
@pytest.mark.parametrize("lanes", NARROWER)
def test_all_of_the_library_with_narrower_lanes(lanes: str) -> None:
    assert passed(lanes, "-m", "not long", *FILES, "tests/test_native_specs.py", "tests/test_native_resumed.py") > 250


@pytest.mark.long
@pytest.mark.parametrize("lanes", [*NARROWER, native.lanes()])
def test_functions_are_within_two_ulp_of_a_hundred_million_numbers(lanes: str) -> None:
    assert passed(lanes, "-m", "long", "tests/test_native.py", "-k", "hundred_million") == 5
