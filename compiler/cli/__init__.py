"""The command line: one thin file a command; options.py and report.py hold what they share."""

from __future__ import annotations

from collections.abc import Sequence

from dlc.runtime import interrupts

__all__ = ["main"]
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status (`app.main`). In a process of its own (without `argv`) signals are
    handled before anything large is imported, and no number of them shows a traceback."""
    if argv is not None:
        return _run(argv)
    interrupts.install()
    try:
        status = _run(None)
        interrupts.ended()
    except KeyboardInterrupt:  # while another was told; there is no third, `interrupts.stop` raises once
        status = INTERRUPTED
        interrupts.ended()
    return status


def _run(argv: Sequence[str] | None) -> int:
    try:
        from .app import main as run

        return run(argv)
    except KeyboardInterrupt:  # while it was imported, or while one was told
        return INTERRUPTED
