"""Specs mutated at random: whatever the text, the answer is a module, a file or a diagnostic, never a traceback."""
from __future__ import annotations

import re
from pathlib import Path

import dlc
import pytest
from dlc.parse import make_source
from dlc.pipeline import check
from dlc.program import Program
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent
SPECS = HERE.parent / "specs"
FILES = sorted([*SPECS.glob("*.dl"), *(SPECS / "std").rglob("*.dl"), *(HERE / "specs_design").rglob("*.dl")])
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
    "1000000000", "-1", "0", "1e400", "99999999999999999999", "none", "nan", "inf", "[]", "[batch]", "()", "{", "}",
    "\x00",
]


def _kind(token: str) -> str:
    if token.isidentifier():
        return "name"
    return "sign" if token in ("+", "-", "*", "/", "//", "%", "@", "^", "==", "<", ">", "<=", ">=", "|>") else ""


KINDS = ["kin", "kin", "kin", "number", "replace", "drop", "double", "insert", "swap", "move"]
KINS: dict[str, list[str]] = {}
for _word in WORDS:
    if _kind(_word):
        KINS.setdefault(_kind(_word), []).append(_word)
MAX_NODES = 4000
MAX_ELEMENTS = 10**6  # of parameters and states of a spec that is compiled: their start values are computed


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A spec with a few tokens or characters taken away, doubled, replaced, swapped or put in."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 3))):
        pieces = TOKEN.findall(text) if draw(st.integers(0, 3)) else list(text)
        if not pieces:
            break
        i, j = draw(st.integers(0, len(pieces) - 1)), draw(st.integers(0, len(pieces) - 1))
        kind = draw(st.sampled_from(KINDS))
        if kind == "replace":
            pieces[i] = draw(st.sampled_from(WORDS))
        elif kind == "kin":  # a name for a name, a sign for a sign: what still parses goes deepest
            while pieces[i].isspace() and i + 1 < len(pieces):
                i += 1
            pieces[i] = draw(st.sampled_from(KINS.get(_kind(pieces[i]), WORDS)))
        elif kind == "number":
            numbers = [k for k, piece in enumerate(pieces) if piece.isdigit()]
            if numbers:
                number = draw(st.sampled_from(["0", "1", "2", "7", "3.5", "10000000", "batch", "none"]))
                pieces[numbers[i % len(numbers)]] = number
        elif kind == "drop":
            del pieces[i]
        elif kind == "double":
            pieces.insert(i, pieces[i])
        elif kind == "insert":
            pieces.insert(i, draw(st.sampled_from(WORDS)))
        elif kind == "swap":
            pieces[i], pieces[j] = pieces[j], pieces[i]
        else:
            i, j = sorted((i, j))
            pieces = [*pieces[:i], *pieces[i : i + 12], *pieces[i:]] if j - i > 12 else [*pieces[:i], *pieces[j:]]
        text = "".join(pieces)
    return text


def survives(text: str) -> None:
    """Checks a text, and compiles what checks; every failure is a diagnostic that renders."""
    try:
        source = make_source(text, "fuzz.dl")
        module, warnings = check(source, model=None, max_nodes=MAX_NODES)
        elements = 0
        for variable in module.variables.values():
            count = 1
            for size in variable.type.shape:
                count *= int(size)  # free sizes are refused by then
            elements += count
        if elements <= MAX_ELEMENTS:
            Program(module, "float32", 0, warnings, None).model_proto()
    except dlc.Error as problem:
        assert problem.render()
        assert re.fullmatch(r"[EW]0\d\d\d", problem.code)


QUIET = list(HealthCheck)


@settings(max_examples=2_000, phases=(Phase.generate,), deadline=None, database=None, derandomize=True,
          suppress_health_check=QUIET)
@given(mutated())
def test_mutated(text: str) -> None:
    survives(text)


@pytest.mark.long
@settings(max_examples=20_000, phases=(Phase.generate,), deadline=None, database=None, suppress_health_check=QUIET)
@given(mutated())
def test_mutated_at_length(text: str) -> None:
    survives(text)


@pytest.mark.parametrize("text", TEXTS, ids=[path.stem for path in FILES])
def test_unmutated(text: str) -> None:
    survives(text)
