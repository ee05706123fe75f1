"""A plugin of pytest: the native library is the one that the environment names, built with sanitizers."""

import os
from pathlib import Path

from dlc.runtime import native

native.library = lambda: Path(os.environ["DLC_SANITIZED"])  # type: ignore[assignment]
