"""Whether another commit compiles every spec of the repository to the same bytes, or refuses it in the same words.

    python tests/same_bytes.py COMMIT

Takes the package of that commit out of git, beside the one that lies here; both compile the specs that lie here. Ends
with 1, and names the specs, where any differs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MOUNTED = {"runtime": "runtime", "grammar": "grammar", "errors": "docs/errors"}  # in the package

COMPILE = """
import hashlib, json, sys, time
import dlc
from dlc.runtime.failures import Error
found, started = {}, time.perf_counter()
for path in json.load(sys.stdin):
    text, mark, _ = open(path, encoding="utf-8").read().partition("#### expected")  # the message below it
    for precision in ("float32", "float16"):
        try:
            made = dlc.compile(text if mark else path, precision=precision)
            data = made.model_proto().SerializeToString(deterministic=True)
            found[f"{path} in {precision}"] = hashlib.sha256(data).hexdigest()
        except Error as refused:
            found[f"{path} in {precision}"] = str(refused)
json.dump({"package": dlc.__file__, "found": found, "seconds": time.perf_counter() - started}, sys.stdout)
"""


def mounted(source: Path, folder: Path) -> Path:
    """A folder for PYTHONPATH whose `dlc` is that of a tree of sources."""
    package = folder / "dlc"
    package.mkdir(parents=True)
    for held in (source / "compiler").iterdir():
        (package / held.name).symlink_to(held)
    for name, held in MOUNTED.items():
        (package / name).symlink_to(source / held)
    (package / "specs").symlink_to(ROOT / "specs")  # the library is part of a file: both have the one that lies here
    return folder


def compiled(path: Path, specs: list[str]) -> dict[str, Any]:
    """What the package in that folder makes of each spec: the checksum of its file, or its message."""
    done = subprocess.run(
        [sys.executable, "-c", COMPILE],
        input=json.dumps(specs),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(path), "PYTHONHASHSEED": "0"},
    )
    made: dict[str, Any] = json.loads(done.stdout)
    assert Path(made["package"]).is_relative_to(path), made["package"]
    return made


def main(commit: str) -> int:
    listed = subprocess.run(["git", "ls-files", "*.dl"], cwd=ROOT, capture_output=True, text=True, check=True)
    specs = listed.stdout.split()
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True)
    with tempfile.TemporaryDirectory() as name:
        before = Path(name) / "before"
        with tarfile.open(fileobj=BytesIO(archive.stdout)) as tar:
            tar.extractall(before, filter="data")
        theirs = compiled(mounted(before, Path(name) / "theirs"), specs)
        ours = compiled(mounted(ROOT, Path(name) / "ours"), specs)
    changed = [spec for spec, made in ours["found"].items() if theirs["found"][spec] != made]
    files = sum(len(made) == 64 for made in ours["found"].values())
    print(
        f"{len(specs)} specs, {files} files, {len(ours['found']) - files} messages, {len(changed)} differ; "
        f"{theirs['seconds']:.1f} s then, {ours['seconds']:.1f} s now"
    )
    for spec in changed:
        print(spec)
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
