"""The command line: one thin file a command; options.py and report.py hold what they share."""
from __future__ import annotations

from .app import main

__all__ = ["main"]
