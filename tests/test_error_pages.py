"""The examples of the pages of the errors: what is wrong gives that code and no other, what is right compiles."""

from __future__ import annotations

import re
from pathlib import Path

import dlc
import pytest
from dlc.syntax.parser import make_source, parse
from error_examples import PAGES, blocks, examples, spec, statements

CODES = sorted(path.stem for path in PAGES.glob("*.md"))
# Said of a spec, but found while it trains, or of a file beside it: the wrong lines are refused in tests of those.
RUNNING = ("E0602", "E0611", "E0612", "E0619", "E0627", "E0630", "E0670")
OF_FILES = ("E0511", "E0526")
# What the lines of a page are among: lines above them and, after `---`, below.
SEQUENCE = "input x: float[batch, time, 4]"
PICTURE = "input x: float[batch, 3, 16, 16]"
PARTS = "a, b, v, w = x[:, :3], x, stack([1.0, 2.0, 3.0]), x[:, 0]"
CLASSES = "target y: int[batch]\nlogits = x |> dense(3)"
LOSS = "target y: int[batch]\nhead = dense(3)\nbody = dense(4)\nloss = cross_entropy(x |> body |> relu |> head, y)"
FIT = "target y: float[batch]\nparam w: float[4] init ones\nz = x @ w\np = z\nloss start = mean((z - y)^2)"
NORMAL = "m, s = x[:, 0], exp(x[:, 1])"
ROWS = "h = 2 * x\nparam W: float[4, 4]"
GIVEN = {
    "E0203": "target y: float[batch]\np = x[:, 0]",
    "E0212": "model encoder { input x: float[batch, 4]; output o = x }\nlayer encode()(x) = 2 * x",
    "E0218": "---\nz = double(x)",
    "E0219": "---\nz = power(x, 3)",
    "E0220": "input x: float[batch, 64]",
    "E0221": "---\nz = x |> head",
    "E0222": "---\nloss = mean(x^2)",
    "E0224": NORMAL,
    "E0225": FIT + "\ntheta, g = x, x",
    "E0226": "minimize loss using plain(0.1)",
    "E0229": "---\nz = x |> scaled",
    "E0231": "---\nz = side(x)",
    "E0235": "---\nz = noisy()(x)",
    "E0235 right": "---\nz = noisy()(x, x)",
    "E0236": CLASSES + "\nz = logits",
    "E0240": "mask = x > 0",
    "E0244": "target y: float[batch]\nparam w: float[3]\nm, s = stack([1, 2, 3]), stack([1, 2, 3])\nloss t = mean(w^2)",
    "E0246": FIT + "\nh = x * w",
    "E0247": "minimize loss using descend(0.1)",
    "E0254": 'target kind: int[batch] from "species" vocabulary\nlogits = x |> dense(3)',
    "E0301": "w = x",
    "E0302": CLASSES,
    "E0310": PARTS + "\ntarget y: float[batch]\nsigma = exp(w)",
    "E0312": "param W: float[5, 3]\nparam V: float[4, 3]",
    "E0313": "input x: float[batch, n]\ninput W: float[heads, n]\ninput v: float[n]",
    "E0315": "input x: float[batch, c]\ninput g: float[c]",
    "E0319": "width = 8",
    "E0320": "n = 3",
    "E0323": "---\nz = f(x[:, none])",
    "E0325": "---\nz, u = x |> two()",
    "E0326": "minimize loss using descend(0.1)",
    "E0332": FIT,
    "E0338": "a, b = x, x",
    "E0340": CLASSES + "\nz = logits",
    "E0342": "input x: float[batch, 3]\ninput y: float[batch, 4]",
    "E0343": "input y: int[batch]\ninput probability: float[4, batch]",
    "E0364": PICTURE,
    "E0365": PICTURE,
    "E0368": PICTURE,
    "E0370": "input x: float[batch, time]",
    "E0371": "input x: float[batch, time]",
    "E0372": "input x: float[batch, time, n]",
    "E0373": SEQUENCE + "\nparam w: float[4] init ones\nloss start = mean(w^2)",
    "E0374": "input x: float[batch]\ninput y: float[batch, time]\nmask = y > 0",
    "E0375": SEQUENCE + "\ninput z: float[batch, rows, columns]",
    "E0376": SEQUENCE,
    "E0377": "input x: float[batch, time]",
    "E0381": "input x: float[b, t, 4]\nz = x[:, 0]",
    "E0380": "input x: float[batch, 32]\nparam W: float[32, 4]",
    "E0384": "input x: float[batch, time, 4, 4]",
    "E0385": "input x: float[batch, 3]",
    "E0387": "input k: float[batch, batch]\ninput s: float[batch, 8, 8]",
    "E0388": SEQUENCE,
    "E0393": FIT + "\n---\nloss = mean(z * w)",
    "E0402": "target y: float[batch]\nparam W: float[4] init ones",
    "E0403": "z = x^2",
    "E0404": CLASSES + "\nloss = cross_entropy(logits, y)",
    "E0410": "param W: float[4, 4]\nh = x @ W",
    "E0411": ROWS + "\n---\noutput z = J",
    "E0412": ROWS,
    "E0413": "---\noutput z = J",
    "E0414": "---\nz = sum(grad(sum(shifted(x, stack([1.0, 2.0, 3.0, 4.0]))), x))",
    "E0415": "---\noutput z = v",
    "E0501": FIT + "\nloss = mean(z)",
    "E0502": "target y: float[batch, 2]",
    "E0503": FIT,
    "E0504": FIT,
    "E0510": FIT,
    "E0514": "critic, generator = dense(1), dense(4)\nfake = generator(x)\n"
    "loss critic_loss = mean(critic(x) - critic(fake))\nloss generator_loss = -mean(critic(fake))",
    "E0516": "target y: int[batch]\nloss = cross_entropy(x |> layer_norm() |> dense(4) |> dense(3) |> dense(3), y)",
    "E0521": "minimize loss using descend(0.1)",
    "E0522": "minimize loss using descend(0.1)",
    "E0527": FIT + "\nloss = mean(z)",
    "E0528": FIT + "\nloss = mean(z)",
    "E0546": "param W: float[4] init ones",
    "E0545": FIT + "\nweights: abs(y)",
    "E0523": "minimize loss using held(sgd(0.1))\nclip: global_norm(1.0)",
    "E0525": FIT + "\nmetric f1 = 2 * mean(y * p) / (mean(y) + mean(p))\nvalidate: 0.2",
    "E0532": "target size: int[batch]\ntarget kind: int[batch]\n"
    "loss = mean((sum(x |> dense(1), axis = 1) - size + kind)^2)",
    "E0620": "param w: float[4]\nz = sum(x * w, axis = -1)",
    "E0627": "input x: float[batch, 2]\ntarget y: float[batch]\nparam w: float[2]\nloss = mean((x @ w - y)^2)",
    "E0640": "input a: float[batch]\ninput b: float[batch]\n" + FIT,
    "E0641": FIT,
    "W0204": "input x: float[j, 4]\ninput row: int[j]\ntarget y: float[j]\nparam theta: float[8]\nsigma = 1.0",
    "W0205": "mask, s, z, d = x > 0, abs(x), x, x\n---\noutput both = z + d",
}


def found(text: str | Path) -> list[str]:
    """The codes of its errors and warnings."""
    try:
        program = dlc.compile(text, model="m" if "model encoder" in str(text) else None)
        program.model_proto()
        return [each.code for each in program.warnings]
    except dlc.Error as problem:
        return [each.code for each in problem.diagnostics]


def given(code: str, lines: list[str], right: bool = False) -> str:
    above, _, below = GIVEN.get(f"{code} right" if right else code, GIVEN.get(code, "")).partition("---\n")
    return spec([*above.splitlines(), *lines, *below.splitlines()])


def is_right(codes: list[str], code: str) -> bool:
    return code not in codes and not any(each.startswith("E") for each in codes)


@pytest.mark.parametrize("code", [code for code in CODES if code < "E02"])
def test_syntax(code: str) -> None:
    if code in ("E0131", "E0148", "E0149"):  # bytes that are no text; what Python states: tests/test_spec.py
        return
    wrong, right = blocks(code)
    with pytest.raises(dlc.Error) as caught:
        parse(make_source(wrong, "m.dl"))
    assert {each.code for each in caught.value.diagnostics} == {code}
    text = spec([text for text, _ in statements(right)])
    assert is_right(found(text), code), text


EXAMPLES = [
    (code, number) for code in CODES if code > "E02" and code not in OF_FILES for number, _ in enumerate(examples(code))
]


@pytest.mark.parametrize(("code", "number"), EXAMPLES)
def test_lines(code: str, number: int, tmp_path: Path) -> None:
    right, lines = list(examples(code))[number]
    text: str | Path = given(code, lines, right)
    if code == "E0202":
        text = "\n".join(lines) + "\n"
    if code in ("E0204", "E0207"):
        for name in ("m/blocks.dl", "m/shared/blocks.dl", "shared/blocks.dl"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("fn twice(x) = 2 * x\n")
        (tmp_path / "m" / "m.dl").write_text(str(text))
        text = tmp_path / "m" / "m.dl"
    codes = found(text)
    if right:
        assert is_right(codes, code), (codes, text)
    else:
        assert set(codes) == {code} or code in RUNNING, (codes, text)


# What the data hold is not in the spec: all of these are right, for other data.
ONE_SIDED = ("E0620",)


def test_pages_say_what_is_wrong_and_what_is_right() -> None:
    """Of what a spec can show."""
    shown = [code for code in CODES if ("E02" < code < "E07" or code > "W") and blocks(code)]
    assert len(shown) > 150 and len(EXAMPLES) > 300
    for code in shown:
        sides = {right for right, _ in examples(code)}
        assert sides == {True, False} or code in ONE_SIDED, code


def test_messages_use_the_words_of_the_field() -> None:
    root = PAGES.parent.parent
    sources = [path for folder in ("compiler", "runtime", "grammar") for path in (root / folder).rglob("*")]
    for path in [*PAGES.glob("*.md"), *sources]:
        if path.suffix in (".py", ".md", ".txt"):
            quoted = r'(?i)^[^#]*"[^"]*' if path.suffix == ".py" else "(?i)"
            text = path.read_text("utf-8")
            assert not re.search(quoted + r"\b(whole numbers?|truth values?)\b", text, re.M), path
