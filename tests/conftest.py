from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from native_cases import FILES

TALLIES = pytest.StashKey[dict[str, Counter[str]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--accept", action="store_true", help="take the messages of today as the expected ones")


@pytest.fixture
def accept(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--accept"))


@pytest.fixture(autouse=True)
def native_allowed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests of the native library use it, also where the environment switches it off for all others."""
    if request.path.name.startswith("test_native") or f"tests/{request.path.name}" in FILES:
        monkeypatch.setenv("DLC_NATIVE", "1")


@pytest.fixture
def checked(request: pytest.FixtureRequest) -> Callable[[Any], None]:
    """Counts one sample on which an operation was checked; the sum is in the summary."""
    counts = tally(request.config, "checked")

    def count(op: Any) -> None:
        counts[op.name] += 1

    return count


@pytest.fixture
def swept(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Counts one sample on which a function of the library was checked; the sum is in the summary."""
    counts = tally(request.config, "swept")

    def count(name: str) -> None:
        counts[name] += 1

    return count


@pytest.fixture
def node_tested(request: pytest.FixtureRequest) -> Callable[[str, int, Counter[str]], None]:
    """Counts the ONNX node tests of an operator that were rebuilt, and those left out by their reasons."""

    def count(op_type: str, rebuilt: int, left: Counter[str]) -> None:
        tally(request.config, "node tests")[op_type] += rebuilt
        tally(request.config, "left").update({f"{op_type}: {why}": number for why, number in left.items()})

    return count


def tally(config: pytest.Config, name: str) -> Counter[str]:
    """One of the counts of a run, by name."""
    return config.stash.setdefault(TALLIES, {}).setdefault(name, Counter())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Under pytest-xdist the tests run in other processes: what each counted comes at its end."""
    for name, counts in getattr(node, "workeroutput", {}).get("tallies", {}).items():
        tally(node.config, name).update(counts)


def pytest_sessionfinish(session: pytest.Session) -> None:
    sent = getattr(session.config, "workeroutput", None)
    if sent is not None:
        sent["tallies"] = {name: dict(counts) for name, counts in session.config.stash.get(TALLIES, {}).items()}


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    counts = tally(config, "checked")
    if counts:
        line = f"{sum(counts.values()):,} checks of an operation on a sample: {len(counts)} operations"
        terminalreporter.write_line(f"{line}, at least {min(counts.values())} each")
    counts = tally(config, "swept")
    if counts:
        line = f"{sum(counts.values()):,} samples of a function of the library: {len(counts)} functions"
        terminalreporter.write_line(f"{line}, at least {min(counts.values())} each")
    nodes, left = tally(config, "node tests"), tally(config, "left")
    if nodes:
        line = f"{sum(nodes.values())} node tests of ONNX rebuilt, of {len(nodes)} operators"
        terminalreporter.write_line(f"{line}; {sum(left.values())} left out:")
        reasons: dict[str, Counter[str]] = {}
        for entry, number in sorted(left.items()):
            op_type, _, why = entry.partition(": ")
            reasons.setdefault(why, Counter())[op_type] += number
        for why, ops in reasons.items():
            terminalreporter.write_line(f"  {sum(ops.values())} {why} ({', '.join(ops)})")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    """Runs a command line here: (status, stdout, stderr)."""

    def go(*argv: object) -> tuple[int, str, str]:
        from dlc.cli import main

        capsys.readouterr()
        status = main([str(word) for word in argv])
        out, err = capsys.readouterr()
        return status, out, err

    return go


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser, for tests that are marked `browser`."""
    api = pytest.importorskip("playwright.sync_api")
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed")
    flags = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        yield browser
        browser.close()
