"""Parts of pages that load nothing: their scripts and styles, what lets these alone run, and data as text."""

from __future__ import annotations

import json
import math
import zlib
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from importlib.resources import files
from typing import Any

# The head of every page, as far as its styles: to be formatted with its `policy` and its `title`.
HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
"""


def asset(name: str) -> str:
    """A file of `assets/`, as it stands between tags, without indentation and the lines that are comments: nothing in
    ours ends a script."""
    lines = (files(__package__) / "assets" / name).read_text("utf-8").splitlines(keepends=True)
    text = "".join(line.lstrip(" ") for line in lines if not line.lstrip().startswith("//"))
    assert "</" not in text.replace("</g>", "")
    return text


def digest(text: str) -> str:
    """What a content security policy calls a script or a style."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def policy(styles: Iterable[str], scripts: Iterable[str], *more: str) -> str:
    """The content security policy of a page that has these styles and runs these scripts, and loads nothing."""
    allowed = {"style-src": styles, "script-src": scripts}
    said = [f"{what} {' '.join(map(digest, texts))}" for what, texts in allowed.items()]
    return "; ".join(["default-src 'none'", *said, *more])


def embedded(data: Any) -> str:
    """JSON within a page: no text in it ends the element or begins a comment. What is no finite number is null."""
    try:
        text = _json(data)
    except ValueError:
        text = _json(_finite(data))
    for c in "<>&\u2028\u2029":
        text = text.replace(c, f"\\u{ord(c):04x}")
    return text


def packed(data: Any) -> str:
    """JSON within a page, deflated (RFC 1950), in the letters of base64: a tenth of the size, and no markup."""
    return b64encode(zlib.compress(_json(data).encode(), 9)).decode()


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    return [_finite(value) for value in data] if isinstance(data, list | tuple) else data
