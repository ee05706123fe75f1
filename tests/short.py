"""The short specs, and the Keras texts beside them in docs/short.md."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
SPECS = ROOT / "specs"
PAGE = (ROOT / "docs" / "short.md").read_text("utf-8")


def texts() -> dict[str, str]:
    """The Keras text of each spec."""
    return dict(re.findall(r"^## [^\n]*`(\w+)\.dl`\n+```py\n(.*?)```", PAGE, re.S | re.M))


def lines(text: str) -> int:
    """The lines of a text, without blank ones and comments."""
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in text.splitlines())
