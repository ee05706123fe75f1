"""Text to syntax tree: what parses, how it binds, where each node stands, and how deep it may go."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from dlc.diagnostics import CompileError
from dlc.source import Source, Span
from dlc.syntax import tree as s
from dlc.syntax.errors import read_advice
from dlc.syntax.parser import make_source, parse, parse_expression, parse_pattern, read_source
from hypothesis import given, settings, strategies as st

HERE = Path(__file__).parent
SPECS = sorted((HERE / "specs_design").rglob("*.dl")) + sorted((HERE.parent / "specs").rglob("*.dl"))


def show(node: Any) -> str:
    """A tree in brackets, for the precedence table."""
    match node:
        case s.Binary():
            return f"({show(node.left)} {node.op} {show(node.right)})"
        case s.Unary():
            return f"({node.op} {show(node.operand)})"
        case s.Pipe():
            return f"({show(node.left)} |> {show(node.right)})"
        case s.Range():
            return f"({show(node.start)} .. {show(node.stop)})"
        case s.Choice():
            return f"({show(node.yes)} if {show(node.condition)} else {show(node.no)})"
        case s.Call():
            parts = [f"{a.name}={show(a.value)}" if a.name else show(a.value) for a in node.arguments]
            return f"{show(node.function)}({', '.join(parts)})"
        case s.Index():
            return f"{show(node.value)}[{', '.join(show(place) for place in node.places)}]"
        case s.Slice():
            bounds = [show(bound) if bound else "" for bound in (node.start, node.stop, node.step)]
            return f"{bounds[0]}:{bounds[1]}:{bounds[2]}"
        case s.Attribute():
            return f"{show(node.value)}.{node.name}"
        case s.Tuple():
            return "<" + ", ".join(show(item) for item in node.items) + ">"
        case s.List():
            return "[" + ", ".join(show(item) for item in node.items) + "]"
        case s.Not():
            return f"(not {show(node.operand)})"
        case s.And():
            return "(" + " and ".join(show(item) for item in node.items) + ")"
        case s.Or():
            return "(" + " or ".join(show(item) for item in node.items) + ")"
        case s.Path():
            return ".".join(
                part.name
                + "".join(f"[{', '.join('*' if p is None else show(p) for p in places)}]" for places in part.places)
                for part in node.segments
            )
        case _:
            return str(node.span.text)


def nodes(node: Any) -> list[Any]:
    """Every node of a tree, without recursion."""
    found, waiting = [], [node]
    while waiting:
        item = waiting.pop()
        if isinstance(item, tuple):
            waiting += item
        elif dataclasses.is_dataclass(item) and not isinstance(item, Span):
            found.append(item)
            waiting += [getattr(item, f.name) for f in dataclasses.fields(item)]
    return found


def body(text: str) -> tuple[s.Statement, ...]:
    model = parse(make_source("model m() {\n" + text + "\n}")).declarations[0]
    assert isinstance(model, s.Model)
    return model.body


def codes(text: str) -> list[str]:
    with pytest.raises(CompileError) as caught:
        parse(make_source(text))
    return [diagnostic.code for diagnostic in caught.value.diagnostics]


@pytest.mark.parametrize("path", SPECS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_specs_parse_and_spans_lie_inside_their_parents(path: Path) -> None:
    tree = parse(read_source(path))
    assert tree.declarations
    for node in nodes(tree):
        assert node.span.start < node.span.end
        for field in dataclasses.fields(node):
            value = getattr(node, field.name)
            for child in value if isinstance(value, tuple) else (value,):
                if dataclasses.is_dataclass(child) and not isinstance(child, Span):
                    assert node.span.start <= child.span.start <= child.span.end <= node.span.end


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a + b * c", "(a + (b * c))"),
        ("a - b - c", "((a - b) - c)"),
        ("a / b @ c // d % e", "((((a / b) @ c) // d) % e)"),
        ("-a^b", "(- (a ^ b))"),
        ("a^-b^c", "(a ^ (- (b ^ c)))"),
        ("a^b^c", "(a ^ (b ^ c))"),
        ("-a * b", "((- a) * b)"),
        ("- -a", "(- (- a))"),
        ("not a == b and c or d", "(((not (a == b)) and c) or d)"),
        ("not not a", "(not (not a))"),
        ("a < b + 1", "(a < (b + 1))"),
        ("x <-1", "(x < (- 1))"),
        ("a if b else c if d else e", "(a if b else (c if d else e))"),
        ("a or b if c or d else e", "((a or b) if (c or d) else e)"),
        ("x + y |> f(2) |> g", "(((x + y) |> f(2)) |> g)"),
        ("x + (y |> f)", "(x + (y |> f))"),
        ("a |> f if c else b |> g", "((a |> f) if c else (b |> g))"),
        ("0..n - 1", "(0 .. (n - 1))"),
        ("-1..2", "((- 1) .. 2)"),
        ("1. .. .5", "(1. .. .5)"),
        ("f(a)(b).c[d].e", "f(a)(b).c[d].e"),
        ("f(a, k = b + c,)", "f(a, k=(b + c))"),
        ("x[:, t, none, 1:, ::2, a:b:c, ..., ]", "x[::, t, none, 1::, ::2, a:b:c, ...]"),
        ("(a,)", "<a>"),
        ("(a, b)", "<a, b>"),
        ("[]", "[]"),
        ("[a, (b), ]", "[a, (b)]"),
        ("-x[0]^2", "(- (x[0] ^ 2))"),
        ("validation.loss", "validation.loss"),
        ("inner(x, W = inner.W / (v @ M @ s))", "inner(x, W=(inner.W / ((v @ M) @ s)))"),
    ],
)
def test_precedence(text: str, tree: str) -> None:
    assert show(parse_expression(text)) == tree


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("*.W", "*.W"),
        ("a.*, b and not c.conv*x, *", "(a.* or (b and (not c.conv*x)) or *)"),
        ("block[*].conv1.W", "block[*].conv1.W"),
        ("block[3, *][i + 1].W", "block[3, *][(i + 1)].W"),
    ],
)
def test_patterns(text: str, tree: str) -> None:
    assert show(parse_pattern(text)) == tree


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("1_000", 1000),
        ("1.", 1.0),
        (".5", 0.5),
        ("5e-3", 0.005),
        ("1E+2", 100.0),
        ("007", 7),
        ("9223372036854775807", 2**63 - 1),
        ("0" * 400, 0),
    ],
)
def test_numbers(text: str, value: float) -> None:
    number = parse_expression(text)
    assert isinstance(number, s.Number)
    assert number.value == value and type(number.value) is type(value)


@pytest.mark.parametrize("text", ["1e999", "9" * 400, str(2**63), "9" * 400 + ".0"])
def test_numbers_too_large(text: str) -> None:
    assert codes(f"fn f() = {text}") == ["E0109"]


def test_texts_and_constants() -> None:
    items = parse_expression(r'["a\n\t\"\\b", true, false, none, ...]')
    assert isinstance(items, s.List)
    text, yes, no, none, dots = items.items
    assert isinstance(text, s.Text) and text.value == 'a\n\t"\\b'
    assert [c.value for c in (yes, no, none) if isinstance(c, s.Constant)] == [True, False, None]
    assert isinstance(dots, s.Ellipsis)


def test_a_group_is_its_inner_node_with_the_brackets_in_its_span() -> None:
    product = parse_expression("(a + b) * (c)")
    assert isinstance(product, s.Binary)
    assert (product.left.span.text, product.right.span.text) == ("(a + b)", "(c)")
    assert isinstance(product.left, s.Binary) and isinstance(product.right, s.Name)
    assert product.op_span.text == "*"


def test_statements() -> None:
    statements = body(
        """
        input x: float[batch, 3] ~ normal(0, 1); target y: int[batch]
        param W: float[n, 2] ~ normal(0, 1) init zeros
        state h = 0
        state u: float[m] init normal(0, 1)
        a, b[i] = f(x), 3
        M: float[k] = x
        h <- h + 1
        y ~ normal(x, 1)
        loss = 1
        loss kl = 2
        metric acc = 3
        output out = 4
        for i in 0..3 { z = i }
        scan t over time { z = t }
        checkpoint { z = 1; w = z }
        if a { b = 1 } else if c { b = 2 } else { b = 3 }
        return a, b
        """
    )
    assert [type(statement).__name__ for statement in statements] == [
        "Input", "Target", "Param", "State", "State", "Assign", "Typed", "Update", "Tilde",
        "Term", "Term", "Term", "Term", "For", "Scan", "Checkpoint", "If", "Return",
    ]  # fmt: skip
    drawn, param, state, assign, loss, branch = (statements[i] for i in (0, 2, 4, 5, 9, 16))
    assert isinstance(drawn, s.Input) and isinstance(drawn.drawn_from, s.Call)
    assert isinstance(param, s.Param) and param.prior is not None and param.init is not None
    assert isinstance(state, s.State) and state.drawn and state.name_span.text == "u"
    assert isinstance(assign, s.Assign) and (len(assign.targets), len(assign.values)) == (2, 2)
    assert isinstance(loss, s.Term) and (loss.kind, loss.name) == ("loss", None)
    assert isinstance(branch, s.If) and isinstance(branch.no[0], s.If) and len(branch.no) == 1


def test_train_lines() -> None:
    train = parse(
        make_source(
            "train m(lr = 1) { rate = lr; minimize loss over *.W, *.b using adam(lr) every 2\n"
            "sample posterior over head.* using nuts()\nfreeze body.*; penalty: l2(1) on *.W; seed: 3 }"
        )
    ).declarations[0]
    assert isinstance(train, s.Train) and train.name == "m"
    local, minimize, sample, freeze, penalty, seed = train.body
    assert isinstance(local, s.Assign) and isinstance(freeze, s.Freeze)
    assert isinstance(minimize, s.Minimize) and isinstance(minimize.over, s.Or) and minimize.every
    assert isinstance(sample, s.Sample) and sample.over
    assert isinstance(penalty, s.Setting) and penalty.on and penalty.name == "penalty"
    assert isinstance(seed, s.Setting) and seed.on is None


def test_declarations() -> None:
    text = (
        '# of the file\n\nimport "a.dl"\nimport std.vision as v\n'
        "# Squares.\n#  And more.\nfn f(x: float[...], k = 2) -> float[...], int = x^k\n"
        "derivative f(g, y, x, k) { return g }\nlayer g()(x)->float[n] { return x }\nmodel m {}\ntrain {}"
    )
    file, module, fn, derivative, layer, model, train = parse(make_source(text)).declarations
    assert isinstance(file, s.Import) and (file.path, file.module, file.alias) == ("a.dl", None, None)
    assert isinstance(module, s.Import) and (module.module, module.alias) == (("std", "vision"), "v")
    assert isinstance(fn, s.Fn) and fn.doc == "Squares.\nAnd more." and fn.returns and len(fn.returns) == 2
    assert fn.returns[1].dims is None
    assert isinstance(derivative, s.Derivative) and [p.name for p in derivative.configuration] == ["g", "y", "x", "k"]
    value = fn.body[0]
    assert len(fn.body) == 1 and isinstance(value, s.Return) and value.span.text == "x^k"
    assert isinstance(layer, s.Layer) and layer.doc == "" and layer.flow[0].name == "x"
    assert isinstance(model, s.Model) and model.configuration == () and model.body == ()
    assert isinstance(train, s.Train) and train.name is None and train.name_span.text == "train"


@pytest.mark.parametrize(
    "text",
    [
        "a = 1\n    + 2",
        "a = 1 # why\n\n    # more\n    + 2",
        "a = (1\n\n+ 2)",
        "a = f(1,\n2\n)",
        "a =\n1 + 2",
        "a = x\n|> f\n|> g",
        "a = b\nif c { d = 1 }\nelse { d = 2 }",
        "param W: float[n]\n~ normal(0, 1)\ninit zeros",
        "over = 1\ninit = 2\non = 3\nusing = over",
        "over, on = f(x)",
        ";; a = 1 ;; b = 2 ;",
        "if c\n{\na = 1\n}",
        "loss = output_size + step",
    ],
)
def test_newlines(text: str) -> None:
    assert body(text)


def test_statements_end_with_their_line() -> None:
    assert len(body("a = 1\nb = 2; c = 3\n\n# x\nd = 4")) == 4
    assert len(body("a = 1;\nover = 2")) == 2


def test_names_are_compared_as_unicode_does() -> None:
    micro, mu = "\u00b5", "\u03bc"  # they look alike, and normalise to one
    first, second = body(f"{micro} = 1\nx = {mu}")
    assert isinstance(first, s.Assign) and isinstance(second, s.Assign)
    assert isinstance(first.targets[0], s.Name) and isinstance(second.values[0], s.Name)
    assert first.targets[0].name == second.values[0].name


LONG = 100_000


@pytest.mark.parametrize(
    "text",
    [
        " + ".join("a" * LONG),
        " |> ".join("a" * LONG),
        "f" + "(a)" * LONG,
        "f" + "[a]" * LONG,
        "f" + ".a" * LONG,
        "[" + "a," * LONG + "]",
    ],
    ids=["sum", "pipe", "call", "index", "attribute", "list"],
)
def test_long_chains(text: str) -> None:
    assert parse_expression(text).span.text == text


@pytest.mark.parametrize(
    "text",
    [
        "(" * LONG + "a" + ")" * LONG,
        "[" * LONG,
        "f(" * LONG,
        "-" * 1000 + "a",
        "not " * 1000 + "a",
        "^".join("a" * 1000),
        "a if b else " * 1000 + "c",
        "f(-" * 60 + "a" + ")" * 60,
    ],
    ids=["brackets", "lists", "calls", "signs", "not", "powers", "choices", "mixed"],
)
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(CompileError) as caught:
        parse_expression(text)
    assert caught.value.code == "E0110"


def test_deep_blocks_are_refused() -> None:
    assert codes("fn f(x) {" + "if x {" * 1000 + "}" * 1001) == ["E0110"]
    assert codes("fn f(x) {" + "if x { y = 1 } else " * 1000 + "{ y = 2 } }") == ["E0110"]


def test_a_hundred_levels_are_fine() -> None:
    assert parse_expression("(" * 100 + "a" + ")" * 100)
    assert parse_expression("-" * 100 + "a")
    assert parse(make_source("fn f(x) {" + "if x { y = 1 } else " * 98 + "{ y = 2 } }"))


def test_depth_is_that_of_the_tree_at_hand() -> None:
    # Nodes that died must leave no depth behind for those that get their address.
    text = "x = " + "(" * 50 + "-" * 40 + "a" + ")" * 50 + "\n"
    assert len(body(text * 200)) == 200


@pytest.mark.parametrize("advice", read_advice(), ids=lambda advice: advice.code)
def test_each_known_mistake_is_recognised(advice: Any) -> None:
    for text in advice.texts:
        assert codes(text)[0] == advice.code, text


def test_independent_errors_are_reported_in_one_run() -> None:
    assert codes("fn f(x) = x **2\nfn g(x) = 2x\nfn h(x) = [x\nfn k(x) = 1 +") == ["E0113", "E0108", "E0104", "E0103"]


def test_reading_files(tmp_path: Path) -> None:
    path = tmp_path / "a.dl"
    path.write_bytes(b"\xef\xbb\xbffn f(x) = x\r\nfn g(x) = x\r")
    source = read_source(path)
    assert source.text == "fn f(x) = x\nfn g(x) = x\n" and len(parse(source).declarations) == 2
    path.write_bytes(b"# good\nfn f(x) = x # \xfcber")
    for place, code in ((path, "E0131"), (tmp_path / "b.dl", "E0701"), (tmp_path, "E0702"), ("a\0b", "E0702")):
        with pytest.raises(CompileError) as caught:
            read_source(place)
        assert caught.value.code == code
    with pytest.raises(CompileError) as caught:
        read_source(path)
    assert caught.value.diagnostics[0].where == f"{path}:2:15"
    compiled = tmp_path / "c.onnx"
    compiled.write_bytes(path.read_bytes())
    with pytest.raises(CompileError, match="is a compiled file; a spec is needed here"):
        read_source(compiled)


def test_threads_parse_at_once() -> None:
    wrong: list[str] = []

    def work(name: str) -> None:
        for _ in range(20):
            if show(parse_expression(f"{name} + {name}^2")) != f"({name} + ({name} ^ 2))":
                wrong.append(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_first_parse_is_fast() -> None:
    program = (
        "import time; from dlc.syntax.parser import read_source, parse\n"
        "begin = time.process_time(); parse(read_source('gpt2.dl')); print(begin, time.process_time())"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=HERE / "specs_design", capture_output=True, text=True, check=True
    )
    imported, parsed = map(float, run.stdout.split())
    assert parsed - imported < 4 * imported  # about 1.5: 0.12 s, the grammar built anew, after 0.08 s of imports


TEXTS = [path.read_text("utf-8") for path in SPECS]
PIECES = sorted(
    {piece for text in TEXTS for piece in re.findall(r"\w+|\s+|[^\w\s]+", text)} | {"**", "'", '"', "\0", "é"}
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_broken_specs_give_diagnostics_only(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(TEXTS))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        gone = data.draw(st.integers(0, 30))
        text = text[:at] + data.draw(st.sampled_from(["", *PIECES])) + text[at + gone :]
    try:
        parse(Source("x.dl", text))
    except CompileError as problem:
        for diagnostic in problem.diagnostics:
            assert diagnostic.code.startswith("E01") and diagnostic.labels
        assert problem.render()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_any_text_gives_a_tree_or_diagnostics(text: str) -> None:
    for read in (lambda: parse(Source("x.dl", text)), lambda: parse_expression(text), lambda: parse_pattern(text)):
        try:
            read()
        except CompileError as problem:
            assert problem.render()
