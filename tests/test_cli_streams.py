"""Standard streams that end early, are missing, full or narrow: the status is the command's own, nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dlc.cli.app import COMMANDS

SPECS = Path(__file__).parent.parent / "specs"
DLC = f"{sys.executable} -c 'import sys; from dlc.cli import main; sys.exit(main())'"
XOR = SPECS / "xor.dl"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="streams of POSIX")


def shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, **environment},
        timeout=120,
    )


@pytest.mark.parametrize(
    "words",
    [
        *(f"{name} --help" for name in COMMANDS),
        "--help",
        "--version",
        "doctor",
        "explain",
        "explain E0312",
        "completion bash",
        f"check {XOR}",
        f"summary {XOR}",
        f"grad {XOR} --wrt x",
        f"compile {XOR} --emit nodes",
        f"train {XOR} --steps 3",
        "fmt - < /dev/null",
    ],
)
def test_whoever_reads_has_seen_enough(words: str, tmp_path: Path) -> None:
    """The reader is gone before anything is written, so that the first write meets a closed pipe."""
    done = shell(f"{{ sleep 0; {DLC} {words}; }} | (exec <&-; sleep 1)", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
@pytest.mark.parametrize(("words", "status"), [(f"summary {XOR}", 0), ("--help", 0), ("check nowhere.dl", 2)])
def test_a_stream_that_is_closed(words: str, status: int, closed: str, tmp_path: Path) -> None:
    done = shell(f"{DLC} {words} {closed}", tmp_path)
    assert done.returncode == status
    assert "Traceback" not in done.stderr and "internal error" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_stream_that_is_full(tmp_path: Path) -> None:
    done = shell(f"{DLC} check {XOR} > /dev/full", tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("error[E0796]")
    assert shell(f"{DLC} check nowhere.dl 2> /dev/full", tmp_path).returncode == 2


def test_standard_input_is_utf_8_in_every_locale(tmp_path: Path) -> None:
    (tmp_path / "m.dl").write_text("# π\nmodel m { input x: float[batch, 4]; output y = x }\n", "utf-8")
    done = shell(f"{DLC} fmt --check --json - < m.dl", tmp_path, PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
    assert '"files": 1' in done.stdout and "E01" not in done.stderr
    (tmp_path / "bad.dl").write_bytes(b"# \xff\n")
    done = shell(f"{DLC} fmt - < bad.dl", tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("error[E0131]")


def terminal(words: list[str], columns: int) -> str:
    """What a terminal of a width shows."""
    import pty

    parent, child = pty.openpty()
    code = "import sys; from dlc.cli import main; sys.exit(main())"
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "dumb"}
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=child, stderr=child, env=environment, close_fds=True
    ) as process:
        os.close(child)
        said = b""
        while True:
            try:
                piece = os.read(parent, 4096)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            said += piece
    os.close(parent)
    assert process.returncode in (0, 2)
    return said.decode("utf-8")


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_a_narrow_terminal_loses_nothing(columns: int, tmp_path: Path) -> None:
    spec = tmp_path / "m.dl"
    spec.write_text(
        "layer a_layer_with_quite_a_long_name(n)(x) { param weights_of_the_layer: float[4, n]\n"
        "return x @ weights_of_the_layer }\n"
        "model m { input x: float[batch, 4]; output y = x |> a_layer_with_quite_a_long_name(12345) }\n"
    )
    shown = terminal(["summary", str(spec)], columns)
    assert "…" not in shown
    squeezed = "".join(sorted(shown))
    for word in ("a_layer_with_quite_a_long_name", "weights_of_the_layer", "49,380"):
        assert all(squeezed.count(letter) >= word.count(letter) for letter in word)
    assert "…" not in terminal(["doctor"], columns)
    wide = subprocess.run(
        [sys.executable, "-c", "import sys; from dlc.cli import main; sys.exit(main())", "summary", str(spec)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "a_layer_with_quite_a_long_name  weights_of_the_layer  [4, 12345]  49,380" in wide
