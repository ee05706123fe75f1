"""Specs mutated at random, each by a number, and what any text must come to: a module, a file or a diagnostic, in 5
seconds of processor time and 1 GB of memory."""

from __future__ import annotations

import random
import re
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import dlc
from dlc.pipeline import check
from dlc.program import Program
from dlc.syntax.parser import make_source

HERE = Path(__file__).parent
ROOT = HERE.parent
SPECS = ROOT / "specs"
FILES = sorted(
    [
        *SPECS.glob("*.dl"),
        *(SPECS / "std").rglob("*.dl"),
        *(HERE / "specs_design").rglob("*.dl"),
        *(ROOT / "benchmarks").glob("*.dl"),
    ]
)
# A library file alone holds no model: this one brings what is defined to life.
MODEL = """model m {
    input x: float[batch, 4]; target y: int[batch]
    z = x |> dense(3); y ~ categorical(logits = z); output p = z
}
"""
TRAIN = "train { minimize loss using adam(1e-2); penalty: l2(1e-4) on *.W; clip: global_norm(1.0) }\n"
TEXTS = [t if re.search(r"^model", t, re.M) else t + MODEL + TRAIN for t in (p.read_text("utf-8") for p in FILES)]
TOKEN = re.compile(r"#[^\n]*|\"[^\"\n]*\"|\w+|\n|[ \t]+|\|>|<-|->|//|\.\.\.|\.\.|[<>=!]=|.")
WORDS = [
    *sorted({token for text in TEXTS for token in TOKEN.findall(text) if not token.startswith("#")}),
    "1000000000",
    "-1",
    "0",
    "1e400",
    "99999999999999999999",
    "none",
    "nan",
    "inf",
    "[]",
    "[batch]",
    "()",
    "{",
    "}",
    "\x00",
]
NUMBERS = ["0", "1", "2", "7", "3.5", "200", "5000", "10000000", "batch", "none", "1e9", "9" * 5_000]
LONG = [
    "a" * 16_000,
    "(" * 5_000,
    "x" + " + x" * 5_000,
    "[" * 300,
    "[1]" * 2_000,
    "-" * 10_000,
    "\n" * 20_000,
    " " * 20_000,
    "x." * 5_000,
    "not " * 5_000,
    '"' + "b" * 20_000 + '"',
    "x[0]" * 2_000,
    "f(" * 2_000,
    "1" * 4_000 + ".",
]
SECONDS, BYTES = 5.0, 2**30
MAX_ELEMENTS = 10**6  # of parameters and states of a spec that is compiled: their start values are computed


def _kind(token: str) -> str:
    if token.isidentifier():
        return "name"
    return "sign" if token in ("+", "-", "*", "/", "//", "%", "@", "^", "==", "<", ">", "<=", ">=", "|>") else ""


KINDS = [
    "kin",
    "kin",
    "kin",
    "number",
    "number",
    "replace",
    "drop",
    "double",
    "insert",
    "swap",
    "move",
    "splice",
    "many",
]
KINS: dict[str, list[str]] = {}
for _word in WORDS:
    if _kind(_word):
        KINS.setdefault(_kind(_word), []).append(_word)


def mutated(number: int) -> str:
    """A spec with a few tokens or characters taken away, doubled, replaced, swapped or put in; the same for the same
    number."""
    r = random.Random(number)
    text = r.choice(TEXTS)
    for _ in range(r.randint(1, 3)):
        pieces = TOKEN.findall(text) if r.random() < 0.75 else list(text)
        if not pieces:
            break
        text = _changed(r, pieces)
    return text


def _changed(r: random.Random, pieces: list[str]) -> str:
    i, j = r.randrange(len(pieces)), r.randrange(len(pieces))
    kind = r.choice(KINDS)
    if kind == "replace":
        pieces[i] = r.choice(WORDS)
    elif kind == "kin":  # a name for a name, a sign for a sign: what still parses goes deepest
        while pieces[i].isspace() and i + 1 < len(pieces):
            i += 1
        pieces[i] = r.choice(KINS.get(_kind(pieces[i]), WORDS))
    elif kind == "number":
        numbers = [k for k, piece in enumerate(pieces) if piece.isdigit()]
        if numbers:
            pieces[numbers[i % len(numbers)]] = r.choice(NUMBERS)
    elif kind == "drop":
        del pieces[i]
    elif kind == "double":
        pieces.insert(i, pieces[i])
    elif kind == "insert":
        pieces.insert(i, r.choice(WORDS if r.random() < 0.9 else LONG))
    elif kind == "swap":
        pieces[i], pieces[j] = pieces[j], pieces[i]
    elif kind == "splice":  # a part of another spec
        other = TOKEN.findall(r.choice(TEXTS))
        k = r.randrange(len(other))
        pieces[i:i] = other[k : k + r.randint(1, 60)]
    elif kind == "many":  # the same again and again: what is not linear shows
        i, j = sorted((i, j))
        part = pieces[i : min(j, i + r.randint(1, 40))]
        pieces[i:i] = part * min(r.choice([10, 100, 1_000]), 4_000 // max(1, len(part)))
    else:
        i, j = sorted((i, j))
        pieces = [*pieces[:i], *pieces[i : i + 12], *pieces[i:]] if j - i > 12 else [*pieces[:i], *pieces[j:]]
    return "".join(pieces)


class TooLong(BaseException):
    """The processor time is used up. No Exception, so that nothing on the way takes it for one."""


@contextmanager
def bounded(seconds: float = SECONDS, memory: int = BYTES) -> Iterator[None]:
    """Raises TooLong after so many seconds of processor time (neighbours do not count), and lets the process have so
    many bytes more than it has."""

    def over(number: int, frame: FrameType | None) -> None:
        raise TooLong(f"more than {seconds} s")

    before = signal.signal(signal.SIGPROF, over)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + memory, limits[1]))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def survives(text: str) -> None:
    """Checks a text, and compiles what checks; every failure is a diagnostic that renders."""
    try:
        with bounded():
            source = make_source(text, "fuzz.dl")
            module, warnings = check(source)
        elements = 0
        for variable in module.variables.values():
            count = 1
            for size in variable.type.shape:
                count *= int(size)  # free sizes are refused by then
            elements += count
        if elements <= MAX_ELEMENTS:
            with bounded():
                Program(module, "float32", 0, warnings, None).model_proto()
    except dlc.Error as problem:
        with bounded():
            assert problem.render()
        assert re.fullmatch(r"[EW]0\d\d\d", problem.code)
