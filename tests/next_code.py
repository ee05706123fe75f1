"""The next free code of a hundred, for a new diagnostic: `python tests/next_code.py E03`.

A code is never reused: one is taken if the source raises it, if docs/errors has its page or ever had (as git knows).
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RAISED = re.compile(r'"([EW]0[1-9]\d\d)"|^([EW]0[1-9]\d\d)', re.M)  # in Python; at the beginning of a line of a table
PAGES = ROOT / "docs" / "errors"


def raised() -> set[str]:
    """The codes that the source may raise."""
    return {
        code
        for folder in ("compiler", "runtime", "grammar")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".txt")
        for found in RAISED.findall(path.read_text("utf-8"))
        for code in found
        if code
    }


def documented() -> set[str]:
    """The codes that have a page."""
    return {path.stem for path in PAGES.glob("*.md")}


def retired() -> set[str]:
    """The codes whose page was taken away; none where there is no history (a copy without git, a shallow clone)."""
    command = ["git", "log", "--pretty=", "--name-only", "--no-renames", "--diff-filter=D", "--", str(PAGES)]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return set()
    return {Path(line).stem for line in done.stdout.splitlines()}


def next_code(hundred: str, taken: set[str]) -> str | None:
    """The lowest code of a hundred (`E03`) that is not taken; None where all 99 are."""
    return next((code for number in range(1, 100) if (code := f"{hundred}{number:02}") not in taken), None)


if __name__ == "__main__":
    taken = raised() | documented() | retired()
    hundreds = sorted({code[:3] for code in taken})
    if len(sys.argv) != 2 or sys.argv[1] not in hundreds:
        sys.exit(f"usage: python tests/next_code.py HUNDRED, one of {' '.join(hundreds)}; `dlc explain` lists them")
    found = next_code(sys.argv[1], taken)
    print(found if found is not None else sys.exit(f"all codes of {sys.argv[1]} are taken"))
