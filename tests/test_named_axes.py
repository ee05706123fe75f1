"""`einsum`, `rearrange`, `reduce` and `repeat` against NumPy, PyTorch and their meaning written out index by index."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from dlc import ops
from dlc.autodiff.reverse import gradients
from dlc.diagnostics import CompileError
from dlc.ir import interpret
from dlc.ir.graph import Graph
from dlc.ir.types import Dim, TensorType
from dlc.ops.leaf import make_input
from hypothesis import given, settings, strategies as st
from op_cases import file_of, run
from spec_cases import Spec

SIZES = {letter: 2 + i % 3 for i, letter in enumerate("abcdefghijklmnopqrstuvwxyzABCDEFGH")}

# Patterns as NumPy takes them; dimensions of an operand are its letters', those of `...` are [4, 3], [3] or none.
EINSUM = """
i->i; i->; i; ij->ij; ij->ji; ij; ji; ij->i; ij->j; ij->; ii->i; ii->; ii; iij->ij; iij->j; iji->j; iji->ij; jii->ij;
iii->i; iii->; iijj->ij; iijj->ji; iijj->; ijij->ij; ijji->ij; ijk->kji; ijk->jki; ijkl->lkji; ijkl->ik; kji;
abcde->edcba;
i,i->i; i,i->; i,i; i,j->ij; i,j->ji; i,j->; i,j->i; i,j; ij,ij->ij; ij,ij->; ij,ij->i; ij,ij->j; ij,ji->ij; ij,ji->;
ij,jk->ik; ij,jk->ki; ij,jk; ij,kj->ik; ji,jk->ik; ji,kj->ik; ij,jk->; ij,jk->i; ij,jk->k; ij,jk->ijk; ij,jk->j;
ij,kl->ijkl; ij,kl->ikjl; ij,kl->; ij,j->i; ij,j->ij; ij,i->j; i,ij->j; j,ij->i; ij,j; i,jk->ijk; i,jk->kij;
bij,bjk->bik; bij,bkj->bik; bji,bjk->bik; bji,bkj->bik; bij,bjk->ikb; bij,bjk->ibk; ibj,bjk->bik; bij,bj->bi;
bij,bi->bj;
bij,bij->b; bij,bij->bij; bij,ij->b; bij,jk->bik; bij,kj->bik; jk,bij->bik; bij,jk->kib; btij,btjk->btik;
bhqd,bhkd->bhqk;
bqhd,bkhd->bhqk; bhqk,bhkd->bhqd; bhqk,bhkd->bqhd; bthd,hdo->bto; bto,hdo->bthd; ij,jk,kl->il; ij,jk,kl->li;
ij,jk,kl->;
ij,jk,ik->; i,i,i->i; i,i,i->; i,j,k->ijk; i,j,k->kji; i,ij,j->; bi,ij,bj->b; bn,anm,bm->ba; ij,kj,lj->ikl;
ab,bc,cd,de->ae;
ab,bc,cd,de,ef->af; ab,cd,ab,cd->; i,i,i,i,i->i; ij,ij,jk->ik; abc,bd,dc->a; ii,ij->j; ii,jj->ij; iij,jk->ik;
ij,jjk->ik;
...->...; ...i->...i; ...i->i...; i...->...i; ...ij->...ji; ...ij,...jk->...ik; ...ij,jk->...ik; ij,...jk->...ik;
...i,...i->...; i...,i...->...; ...i,i->...; ...,...->...; ...ii->...i; ...ii->...; b...i,b...j->b...ij;
...ij,...j; ...i;
i...j,j...k->...ik; ...,i->i...; ij...,jk...->ik...; ...ij,...kj,...k->...i; ...a,...b,...c->...abc;
,...i->...i;
""".replace("\n", " ").split(";")
EINSUM = [text.strip() for text in EINSUM if text.strip() and "|" not in text]
SPACED = [
    "i j, j k -> i k", "b h q d, b h k d -> b h q k", " b i , i j -> b j ", "i   j->j i", "...i, ...i -> ...",
    "b ... i, i o -> b ... o", "i j , k j->i k", "... i j, ... j k -> ... i k",
]  # fmt: skip


def operands(pattern: str, rng, *, ones: bool = False):
    """Random operands for a pattern; `...` is [2, 3], [3] or nothing, for later operands less."""
    result = []
    for number, term in enumerate(pattern.split("->")[0].replace(" ", "").split(",")):
        dots = [(4, 3), (3,), (4, 3), ()][number % 4]
        shape = []
        for piece in re.findall(r"\.\.\.|\w", term):
            shape += list(dots) if piece == "..." else [SIZES[piece]]
        if ones and number:
            shape = [1 if rng.random() < 0.3 else size for size in shape]
            for piece in re.findall(r"\w", term):  # a diagonal has one size
                if term.count(piece) > 1:
                    return operands(pattern, rng)
        result.append(rng.uniform(-2, 2, shape))
    return result


def in_graph(pattern: str, values, *, free: bool = False, dtype: str = "float"):
    """A spec's `einsum` of inputs with these shapes: the spec."""
    lines = []
    for number, value in enumerate(values):
        sizes = [f"n{size}" if free and size > 1 else str(size) for size in value.shape]
        lines.append(f"input x{number}: {dtype}[{', '.join(sizes)}]")
    names = ", ".join(f"x{i}" for i in range(len(values)))
    return Spec("model m {\n" + "\n".join(lines) + f'\noutput z = einsum("{pattern}", {names})\n}}')


def fed(values):
    return {f"x{i}": value for i, value in enumerate(values)}


@pytest.mark.parametrize("pattern", EINSUM + SPACED)
def test_einsum_is_numpys_and_derives_as_torchs(pattern):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(len(pattern))
    for free, ones in ((False, False), (True, False), (False, True)):
        values = operands(pattern, rng, ones=ones)
        expected = np.einsum(pattern, *values)
        spec = in_graph(pattern, values, free=free)
        node = spec.module.graph.outputs["output/z"]
        assert np.allclose(spec.get("z", fed(values)), expected, rtol=1e-12, atol=1e-12)
        if free:
            continue
        model = file_of({"z": node}, spec.module.inputs, "float64")
        assert np.allclose(run(model, fed(values), "float64", True)[0], expected, rtol=1e-12, atol=1e-12)
        # the derivative of Σ w · z, beside torch's
        weights = rng.uniform(-1, 1, expected.shape)
        target = ops.reduce_sum(node * ops.constant(node.graph, weights, "float"), axes=range(node.rank))
        leaves = {leaf.attrs["name"]: leaf for leaf in spec.module.inputs}
        found = interpret.evaluate(gradients(target, [leaves[f"x{i}"] for i in range(len(values))]), fed(values))
        tensors = [torch.tensor(value, requires_grad=True) for value in values]
        (torch.einsum(pattern, *tensors) * torch.tensor(weights)).sum().backward()
        for ours, theirs in zip(found, tensors, strict=True):
            assert np.allclose(ours, theirs.grad.numpy(), rtol=1e-10, atol=1e-10)


def test_there_are_a_hundred_patterns():
    assert len(set(EINSUM + SPACED)) >= 100


@pytest.mark.parametrize("pattern", ["ij,jk->ik", "ii->i", "ij,ij->", "i,j->ij", "bij,bjk->bik", "ij->j"])
def test_einsum_of_whole_numbers_stays_whole(pattern):
    rng = np.random.default_rng(1)
    values = [np.asarray(np.round(value * 3), np.int64) for value in operands(pattern, rng)]
    spec = in_graph(pattern, values, dtype="int")
    found = spec.get("z", fed(values))
    assert found.dtype == np.int64 and np.array_equal(found, np.einsum(pattern, *values))


LETTERS = st.sampled_from("abcde")


@st.composite
def sums(draw):
    """A pattern with explicit result, with sizes 0 to 3, size-one dimensions in place of others, and an ellipsis."""
    terms = draw(st.lists(st.text("abcde", max_size=4), min_size=1, max_size=4))
    present = sorted(set("".join(terms)))
    output = "".join(draw(st.permutations(present)))[: draw(st.integers(0, len(present)))]
    sizes = {letter: draw(st.integers(0, 3)) for letter in "abcde"}
    dots = draw(st.sampled_from([(), (2,), (2, 3)]))
    shapes, texts = [], []
    for term in terms:
        narrow = {x for x in set(term) if draw(st.integers(0, 4)) == 0}
        shape = [1 if x in narrow else sizes[x] for x in term]
        if draw(st.booleans()):
            at = draw(st.integers(0, len(term)))
            own = dots[draw(st.integers(0, len(dots))) :]
            shape[at:at], term = list(own), term[:at] + "..." + term[at:]
        shapes.append(tuple(shape))
        texts.append(term)
    if any("..." in term for term in texts):
        at = draw(st.integers(0, len(output)))
        output = output[:at] + "..." + output[at:]
    return ",".join(texts) + "->" + output, shapes


@settings(max_examples=300, deadline=None)
@given(sums(), st.integers(0, 2**31))
def test_einsum_of_any_pattern(case, seed):
    pattern, shapes = case
    rng = np.random.default_rng(seed)
    values = [rng.uniform(-2, 2, shape) for shape in shapes]
    expected = np.einsum(pattern, *values)
    found = in_graph(pattern, values).get("z", fed(values))
    assert found.shape == expected.shape
    assert np.allclose(found, expected, rtol=1e-11, atol=1e-11)


def test_products_take_their_transposes_inside():
    """No Transpose stands before a product whose flag can take it, and none at all where none is needed."""

    def count(pattern: str, *shapes) -> dict[str, int]:
        graph = Graph()
        axes = [tuple(term) for term in pattern.split("->")[0].split(",")]
        nodes = [make_input(graph, str(i), TensorType("float", shape)) for i, shape in enumerate(shapes)]
        sizes = {a: s for own, shape in zip(axes, shapes, strict=True) for a, s in zip(own, shape, strict=True)}
        root = ops.contract(nodes, axes, tuple(pattern.split("->")[1]), sizes)
        found: dict[str, int] = {}
        for node in graph.order([root]):
            found[node.op.name] = found.get(node.op.name, 0) + 1
        return found

    b, t, s = (Dim.name(name) for name in "bts")
    for pattern, shapes in [
        ("ij,jk->ik", [(2, 3), (3, 4)]), ("ij,kj->ik", [(2, 3), (4, 3)]), ("ji,jk->ik", [(3, 2), (3, 4)]),
        ("ji,kj->ik", [(3, 2), (4, 3)]), ("ij,jk->ki", [(2, 3), (3, 4)]), ("ji,kj->ki", [(3, 2), (4, 3)]),
        ("bhqd,bhkd->bhqk", [(b, 2, t, 3), (b, 2, s, 3)]), ("bhqk,bhkd->bhqd", [(b, 2, t, s), (b, 2, s, 3)]),
        ("btd,dk->btk", [(b, t, 3), (3, 4)]), ("btd,kd->btk", [(b, t, 3), (4, 3)]),
        ("bto,bth->oh", [(b, t, 3), (b, t, 4)]),
    ]:  # fmt: skip
        found = count(pattern, *shapes)
        assert found["matmul"] == 1 and "transpose" not in found and "mul" not in found, pattern
    assert set(count("btd,dk->btk", (b, t, 3), (3, 4))) == {"input", "matmul"}  # what `x @ W` is


def test_several_operands_are_contracted_in_a_cheap_order():
    graph = Graph()
    sizes = dict(zip("abcd", (100, 2, 100, 2), strict=True))
    axes = ["ab", "bc", "cd"]
    nodes = [make_input(graph, x, TensorType("float", tuple(sizes[a] for a in x))) for x in axes]
    root = ops.contract(nodes, axes, "ad", sizes)
    shapes = [node.shape for node in graph.order([root]) if node.op.name == "matmul"]
    assert shapes == [(2, 2), (100, 2)]  # (bc cd) first: 800 multiplications, not 40,000


def test_names_of_more_than_a_letter():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(3, 4)), rng.normal(size=(4, 5))
    for pattern in ("row inner, inner col -> col row", "i j,j k->k i", "ij,jk->ki"):
        assert np.allclose(in_graph(pattern, [x, y]).get("z", fed([x, y])), (x @ y).T)
    v = rng.normal(size=4)
    assert np.allclose(in_graph("time, time ->", [v, v]).get("z", fed([v, v])), v @ v)
    spec = Spec(
        'model m { input x: float[b, 3]\ninput y: float[3, k]\noutput z = x |> einsum("b i, i k -> b k", y)\n'
        'output w = einsum(x, y, "b i, i k -> b k") }'
    )
    x, y = rng.normal(size=(2, 3)), rng.normal(size=(3, 4))
    assert np.allclose(spec.get("z", {"x": x, "y": y}), x @ y)
    assert np.allclose(spec.get("w", {"x": x, "y": y}), x @ y)


# --- rearrange, reduce, repeat: every index by itself


def spelled_out(pattern: str, x: np.ndarray, sizes: dict[str, int], by=None) -> np.ndarray:
    """einops' meaning: an element of the result is that of x with the same values of the axes; `by` reduces several."""
    sides = []
    for side in pattern.split("->"):
        groups, inside = [], None
        for token in re.findall(r"\(|\)|\.\.\.|\w+", side):
            if token == "(":
                inside = []
            elif token == ")":
                groups.append(inside)
                inside = None
            elif inside is not None:
                inside.append(token)
            else:
                groups.append(token if token == "..." else [token])
        sides.append(groups)
    fixed = len([g for g in sides[0] if g != "..."])
    dots = [f".{i}" for i in range(x.ndim - fixed)]
    left = [g for group in sides[0] for g in ([[d] for d in dots] if group == "..." else [group])]
    right: list[list[str]] = []
    for group in sides[1]:
        right += [[d] for d in dots] if group == "..." else [[a for t in group for a in (dots if t == "..." else [t])]]
    sizes, free = dict(sizes), 0
    for side in (left, right):
        for group in side:
            for i, axis in enumerate(group):
                if axis.isdigit():
                    free += 1
                    group[i] = f"#{free}"
                    sizes[group[i]] = int(axis)
    for group, size in zip(left, x.shape, strict=True):
        known = int(np.prod([sizes[a] for a in group if a in sizes], dtype=int))
        for axis in group:
            sizes.setdefault(axis, size // max(known, 1))
    every = list(dict.fromkeys(a for side in (left, right) for group in side for a in group))
    shape = [int(np.prod([sizes[a] for a in group], dtype=int)) for group in right]
    cells: dict[tuple[int, ...], list[float]] = {}
    for values in itertools.product(*[range(sizes[a]) for a in every]):
        at = dict(zip(every, values, strict=True))

        def place(side, at=at):
            return tuple(
                sum(at[a] * int(np.prod([sizes[b] for b in group[i + 1 :]], dtype=int)) for i, a in enumerate(group))
                for group in side
            )

        cells.setdefault(place(right), []).append(x[place(left)])
    result = np.zeros(shape)
    for index, found in cells.items():
        result[index] = by(found) if by is not None else found[0]
    return result


REARRANGE = [
    ("b c -> c b", (2, 3), {}), ("b c -> (b c)", (2, 3), {}), ("b c -> (c b)", (2, 3), {}), ("b -> b", (3,), {}),
    ("b t (h d) -> b h t d", (2, 3, 8), {"h": 2}), ("b t (h d) -> b h t d", (2, 3, 8), {"d": 2}),
    ("b h t d -> b t (h d)", (2, 3, 4, 2), {}),
    ("b t (three h d) -> three b h t d", (2, 3, 12), {"three": 3, "h": 2}),
    ("b h w c -> b c h w", (2, 3, 4, 2), {}), ("b h w c -> (b h) w c", (2, 3, 4, 2), {}),
    ("b (h h2) (w w2) c -> b h w (h2 w2 c)", (2, 4, 6, 2), {"h2": 2, "w2": 3}),
    ("(b1 b2) h w c -> (b1 h) (b2 w) c", (4, 2, 3, 2), {"b1": 2}), ("b h w c -> h (b w) c", (2, 3, 4, 2), {}),
    ("b (c r) h w -> b c (h r) w", (2, 6, 2, 3), {"r": 3}), ("a b c d e -> e d c b a", (1, 2, 3, 2, 2), {}),
    ("b 1 d -> b d", (2, 1, 3), {}), ("b d -> b 1 d", (2, 3), {}), ("b d -> b d 1 1", (2, 3), {}),
    ("1 -> ", (1,), {}),
    ("-> 1 1", (), {}), ("() b -> b ()", (1, 3), {}), ("... -> ...", (2, 3), {}), ("b ... -> ... b", (2, 3, 4), {}),
    ("b ... d -> b (...) d", (2, 3, 2, 2), {}), ("... (h d) -> ... h d", (2, 3, 4), {"h": 2}),
    ("b ... -> b (...)", (2, 3, 2), {}),
    ("b ... -> (b ...)", (2, 3, 2), {}), ("... h w -> (...) w h", (2, 2, 3, 2), {}), ("b ... -> b ...", (2,), {}),
    ("(a b c) -> c b a", (12,), {"a": 2, "b": 3}), ("b(h d)->h b d", (2, 6), {"h": 3}),
    ("batch_1 x2 -> x2 batch_1", (2, 3), {}),
    ("b t -> t b", (0, 3), {}), ("(a b) -> a b", (0,), {"a": 2}),
]  # fmt: skip
REPEAT = [
    ("h w -> h w c", (2, 3), {"c": 2}), ("h w -> c h w", (2, 3), {"c": 2}), ("h w -> (r h) w", (2, 3), {"r": 2}),
    ("h w -> (h r) w", (2, 3), {"r": 2}), ("h w -> (h 2) (w 3)", (2, 3), {}), ("h w -> h (2 w) 2", (2, 3), {}),
    ("h w -> (2 h) w", (2, 3), {}), ("b ... -> n b ...", (2, 3), {"n": 3}), ("-> n", (), {"n": 4}),
    ("h -> h 1 2", (3,), {}),
    ("(a b) -> a n b", (6,), {"a": 2, "n": 2}), ("h w -> w h", (2, 3), {}), ("h -> h r", (2,), {"r": 0}),
    ("1 d -> n d", (1, 3), {"n": 2}),
]  # fmt: skip
REDUCE = [
    ("b h w c -> b c", (2, 3, 2, 4), {}), ("b (h 2) (w 2) c -> b h w c", (2, 4, 6, 2), {}), ("b c -> b", (2, 3), {}),
    ("b (h h2) (w w2) -> b h w", (2, 4, 6), {"h2": 2, "w2": 3}), ("b c ->", (2, 3), {}),
    ("b ... -> b", (2, 3, 4), {}),
    ("... c -> c", (2, 3, 4), {}), ("b t c -> b 1 c", (2, 3, 4), {}), ("b c h w -> b c 1 1", (2, 2, 2, 3), {}),
    ("b c -> c b", (2, 3), {}), ("(b b2) c -> b", (4, 3), {"b": 2}), ("b t (h d) -> h b", (2, 3, 4), {"h": 2}),
]  # fmt: skip


def moved(call: str, x: np.ndarray, free: bool) -> tuple[Spec, np.ndarray]:
    sizes = [f"n{i}" if free else str(size) for i, size in enumerate(x.shape)]
    spec = Spec(f"model m {{\ninput x: float[{', '.join(sizes)}]\noutput z = {call}\n}}")
    return spec, spec.get("z", {"x": x})


def call_of(name: str, pattern: str, sizes: dict[str, int], *more: str) -> str:
    given = [f"{name} = {size}" for name, size in sizes.items()]
    return f"{name}({', '.join(['x', chr(34) + pattern + chr(34), *more, *given])})"


@pytest.mark.parametrize(
    ("name", "pattern", "shape", "sizes"),
    [*[("rearrange", *row) for row in REARRANGE], *[("repeat", *row) for row in REPEAT]],
)
def test_rearrange_and_repeat_index_by_index(name, pattern, shape, sizes):
    x = np.random.default_rng(2).normal(size=shape)
    expected = spelled_out(pattern, x, sizes)
    spec, found = moved(call_of(name, pattern, sizes), x, False)
    assert found.shape == expected.shape and np.array_equal(found, expected)
    model = file_of({"z": spec.module.graph.outputs["output/z"]}, spec.module.inputs, "float64")
    assert np.array_equal(run(model, {"x": x}, "float64", True)[0], expected)
    # moving is linear: the derivative of Σ w z by x holds each weight where its element came from
    node = spec.module.graph.outputs["output/z"]
    weights = np.random.default_rng(3).normal(size=expected.shape)
    target = ops.reduce_sum(node * ops.constant(node.graph, weights, "float"), axes=range(node.rank))
    leaf = spec.module.inputs[0]
    [g] = interpret.evaluate(gradients(target, [leaf]), {"x": x})
    assert g.shape == x.shape and np.isclose((g * x).sum(), (weights * expected).sum())


@pytest.mark.parametrize(
    ("pattern", "shape", "sizes"),
    [
        row
        for row in REARRANGE
        if not any(ch in row[0] for ch in "1")
        and row[1]
        and row[1][0] == 2
        and "(h h2)" not in row[0]
        and "(c r)" not in row[0]
        and "(h d) ->" not in row[0]
        and "three" not in row[0]
        and "b(h d)" not in row[0]
    ],
)
def test_rearrange_of_free_dimensions(pattern, shape, sizes):
    x = np.random.default_rng(2).normal(size=shape)
    assert np.array_equal(moved(call_of("rearrange", pattern, sizes), x, True)[1], spelled_out(pattern, x, sizes))


@pytest.mark.parametrize(
    ("by", "function"),
    [
        ("sum", np.sum),
        ("mean", np.mean),
        ("max", np.max),
        ("min", np.min),
        ("prod", np.prod),
        ('"max"', np.max),
        ("logsumexp", lambda v: np.log(np.sum(np.exp(v)))),
    ],
)
@pytest.mark.parametrize(("pattern", "shape", "sizes"), REDUCE)
def test_reduce_index_by_index(pattern, shape, sizes, by, function):
    x = np.random.default_rng(2).normal(size=shape)
    _, found = moved(call_of("reduce", pattern, sizes, by), x, False)
    expected = spelled_out(pattern, x, sizes, function)
    assert found.shape == expected.shape and np.allclose(found, expected, rtol=1e-12)


@st.composite
def moves(draw):
    """A random split, order and merge of up to five axes."""
    axes = list("abcde")[: draw(st.integers(0, 5))]
    sizes = {axis: draw(st.integers(1, 3)) for axis in axes}

    def side(order):
        groups, rest = [], list(order)
        while rest or draw(st.integers(0, 5)) == 5:
            width = draw(st.integers(min(draw(st.integers(0, 1)), len(rest)), min(3, len(rest))))
            groups.append(rest[:width])
            rest = rest[width:]
        texts = [g[0] if len(g) == 1 and draw(st.booleans()) else f"({' '.join(g)})" for g in groups]
        return groups, " ".join("1" if text == "()" and draw(st.booleans()) else text for text in texts)

    before, left = side(axes)
    _, right = side(draw(st.permutations(axes)))
    shape = [int(np.prod([sizes[a] for a in group], dtype=int)) for group in before]
    given = {a: sizes[a] for group in before for a in group[1:]}
    return f"{left} -> {right}", tuple(shape), given


@settings(max_examples=200, deadline=None)
@given(moves())
def test_rearrange_of_any_pattern(case):
    pattern, shape, sizes = case
    x = np.arange(float(np.prod(shape, dtype=int))).reshape(shape)
    _, found = moved(call_of("rearrange", pattern, sizes), x, False)
    expected = spelled_out(pattern, x, sizes)
    assert found.shape == expected.shape and np.array_equal(found, expected)


def test_a_tensor_unpacks_along_its_first_dimension():
    spec = Spec(
        "model m(h = 2) {\ninput x: float[b, t, 12]\n"
        'q, k, v = rearrange(x, "b t (three h d) -> three b h t d", '
        "three = 3, h = h)\noutput q = q\noutput k = k\noutput v = v\n}"
    )
    x = np.random.default_rng(0).normal(size=(2, 3, 12))
    expected = spelled_out("b t (three h d) -> three b h t d", x, {"three": 3, "h": 2})
    for name, part in zip("qkv", expected, strict=True):
        assert np.array_equal(spec.get(name, {"x": x}), part)


def test_lists_stack_and_pipes_wait():
    x = np.random.default_rng(0).normal(size=(2, 3))
    _, found = moved('rearrange([x, 2 * x], "two b t -> b (two t)")', x, True)
    assert np.array_equal(found, np.concatenate([x, 2 * x], axis=1))
    _, found = moved('x |> rearrange("b t -> t b") |> reduce("t b -> b", max)', x, True)
    assert np.array_equal(found, x.max(axis=1))


BAD = [
    ('einsum("b n -> c n", x)', "E0381", "c"), ('einsum("b n -> b b", x)', "E0381", "b"),
    ('einsum("b n k", x)', "E0382", "b n k"),
    ('einsum("b n, n k -> b k", x)', "E0382", "k"),
    ('einsum("b n, k n -> b k", x, stack([x[:2, :2], x[:2, :2]])[0])', "E0382", "n"),
    ('einsum("b n -> n -> b", x)', "E0380", "->"), ('einsum("(b n) -> b", x)', "E0380", "("),
    ('einsum("b n ->", x, x)', "E0382", "n"),
    ('einsum("b... -> b", x)', "E0381", "..."), ('einsum("b n -> ...", x)', "E0381", "..."),
    ('einsum("......bn", x)', "E0323", "..."),
    ('einsum("b $ -> b", x)', "E0380", "$"), ('rearrange(x, "b n")', "E0380", "b n"),
    ('rearrange(x, "b n -> n -> b")', "E0380", "->"),
    ('rearrange(x, "b (n -> b n")', "E0380", "("), ('rearrange(x, "b n) -> b n")', "E0380", ")"),
    ('rearrange(x, "b ((n)) -> b n")', "E0380", "("),
    ('rearrange(x, "b, n -> b n")', "E0380", ","), ('rearrange(x, "b n -> b")', "E0381", "n"),
    ('rearrange(x, "b n -> b n c")', "E0381", "c"),
    ('rearrange(x, "b b -> b")', "E0381", "b"), ('rearrange(x, "b n k -> b n k")', "E0382", "b n k"),
    ('rearrange(x, "(b ...) -> b ...")', "E0380", "..."),
    ('rearrange(x, "b (h d) -> b h d")', "E0383", "(h d)"),
    ('rearrange(x, "b (h d) -> b h d", h = 2)', "E0383", "(h d)"),
    ('rearrange(x, "(b c) n -> b c n", c = 2)', "E0383", "(b c)"), ('rearrange(x, "b 3 -> b")', "E0381", "3"),
    ('rearrange(x, "b 1 -> b")', "E0382", "1"),
    ('rearrange(x, "b n -> n b", k = 3)', "E0215", "k = 3"), ('rearrange(x, "b n -> n b", n = 2)', "E0382", "n"),
    ('repeat(x, "b n -> b n k")', "E0383", "k"),
    ('repeat(x, "b n -> b")', "E0381", "n"), ('reduce(x, "b n -> b k", sum)', "E0381", "k"),
    ('reduce(x, "b n -> b", relu)', "E0215", None),
    ('reduce(x, "b n -> b", 3)', "E0213", "3"), ('rearrange(x, "b n -> n b", n = 1.5)', "E0308", "n = 1.5"),
    ("einsum(x)", "E0217", None),
]  # fmt: skip


@pytest.mark.parametrize(("call", "code", "underlined"), BAD)
def test_mistakes_in_patterns_are_underlined(call, code, underlined):
    with pytest.raises(CompileError) as caught:
        Spec(f"model m {{\ninput x: float[batch, 3]\noutput z = {call}\n}}")
    [diagnostic] = caught.value.diagnostics
    assert diagnostic.code == code
    if underlined is not None:
        assert diagnostic.labels[0].span.text == underlined
