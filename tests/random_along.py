"""Constructs of random specs: along a dimension, by indices, triangles and matrices, patterns of axes, draws."""

from __future__ import annotations

from random_draft import Draft, Unfit, Value, construct, joined


def _whole(size: object) -> bool:
    return isinstance(size, int)


@construct
def running(d: Draft) -> None:
    """Sums and products up to each place."""
    a = d.value(lambda v: v.rank > 0)
    at = d.axis(a)
    size = a.shape[at]
    count = size if isinstance(size, int) else 4
    flags = d.random.choice(["", ", exclusive = true", ", reverse = true", ", exclusive = true, reverse = true"])
    name, inner, bound = "cumsum", a.name, a.bound * count
    if isinstance(size, int) and d.random.random() < 0.5:
        name, inner, bound = "cumprod", f"1.3 * tanh({a})", 1.3**count
    d.let(f"{name}({inner}, axis = {d.said(a, at)}{flags})", a.shape, bound, (a,), rows=size != "batch")


@construct
def in_order(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 0)
    at = d.axis(a)
    down = d.random.choice(["", ", descending = true"])
    d.let(f"sort({a}, axis = {d.said(a, at)}{down})", a.shape, a.bound, (a,), rows=a.shape[at] != "batch")


@construct
def places_in_order(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 0)
    at = d.axis(a, _whole)
    down = d.random.choice(["", ", descending = true"])
    d.let(f"argsort({a}, axis = {at}{down})", a.shape, a.shape[at], (a,), dtype="int")


@construct
def ordered_by_another(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 0)
    b = d.value(lambda v: v.shape == a.shape)
    at = d.axis(a)
    d.let(
        f"take_along({a}, argsort({b}, axis = {at}), axis = {at})",
        a.shape,
        a.bound,
        (a, b),
        rows=a.shape[at] != "batch",
    )


@construct
def greatest(d: Draft) -> None:
    """The k greatest along a dimension, or where they stand."""
    a = d.value(lambda v: v.rank > 0)
    at = d.axis(a, _whole)
    count = d.random.randint(1, a.shape[at])
    shape = (*a.shape[:at], count, *a.shape[at + 1 :])
    if d.random.random() < 0.6:
        d.let(f"top_values({a}, {count}, axis = {at})", shape, a.bound, (a,))
    else:
        d.let(f"top({a}, {count}, axis = {at})", shape, a.shape[at], (a,), dtype="int")


@construct
def rolled(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 0)
    at = d.axis(a)
    d.let(
        f"roll({a}, {d.random.randint(-2, 2)}, axis = {d.said(a, at)}) + 0.5 * {a}",
        a.shape,
        1.5 * a.bound,
        (a,),
        rows=a.shape[at] != "batch",
    )


@construct
def padded(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 0)
    at = d.axis(a, _whole)
    size = a.shape[at]
    mode = d.random.choice(["constant", "edge", "reflect", "symmetric", "wrap"])
    most = {"constant": 2, "edge": 2, "reflect": size - 1}.get(mode, size)
    before, after = d.random.randint(0, min(2, most)), d.random.randint(0, min(2, most))
    if size + before + after > 6:
        raise Unfit
    more = f", value = {d.number(-1, 1)}" if mode == "constant" else ""
    shape = (*a.shape[:at], size + before + after, *a.shape[at + 1 :])
    d.let(f'pad({a}, [{before}, {after}], axis = {at}, mode = "{mode}"{more})', shape, max(a.bound, 1), (a,))


@construct
def one_later(d: Draft) -> None:
    """A free dimension made longer at one end and shorter at the other."""
    a = d.value(lambda v: v.rank > 0 and v.named)
    at = d.axis(a, lambda size: isinstance(size, str))
    mode = d.random.choice(["constant", "edge"])
    kept = ", ".join([*[":"] * at, ":-1"])
    d.let(
        f'{a} - 0.5 * pad({a}, [1, 0], axis = {d.said(a, at)}, mode = "{mode}")[{kept}]',
        a.shape,
        1.5 * a.bound,
        (a,),
        rows=a.shape[at] != "batch",
        named=False,
    )


@construct
def laid_again(d: Draft) -> None:
    a = d.value(lambda v: 0 < v.rank < 5)
    at = d.axis(a, lambda size: isinstance(size, int) and size < 4)
    counts = ["2" if i == at else "1" for i in range(a.rank)]
    text = d.random.choice([f"tile({a}, [{', '.join(counts)}])", f"repeat({a}, 2, axis = {at})"])
    d.let(text, (*a.shape[:at], 2 * a.shape[at], *a.shape[at + 1 :]), a.bound, (a,))


@construct
def triangle(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 1)
    k = d.random.choice(["", "", ", k = 1", ", k = -1"])
    rows = "batch" not in a.shape[-2:]
    d.let(f"{d.random.choice(['tril', 'triu'])}({a}{k})", a.shape, a.bound, (a,), rows=rows)


@construct
def masked_attention(d: Draft) -> None:
    """Softmax over what stands before, by each of the usual ways to say it."""
    a = d.value(lambda v: v.rank > 1 and v.named and isinstance(v.shape[-1], int))
    scores, mask = d.fresh("s"), d.fresh("m")
    swap = [*range(a.rank - 2), a.rank - 1, a.rank - 2]
    d.lines.append(f"{scores} = {a} @ transpose({a}, {swap}) / sqrt({a.shape[-1]}.0)")
    n = d.said(a, a.rank - 2)
    size = n if n.isidentifier() else f"size({a}, {n})"
    d.lines.append(
        d.random.choice(
            [f"{mask} = tril(ones_like({scores})) == 1", f"{mask} = arange({size})[:, none] >= arange({size})"]
        )
    )
    kept = d.random.choice([f"where({mask}, {scores}, -inf)", f"where({mask}, {scores}, -1e9)"])
    d.let(f"softmax({kept}, axis = -1) @ {a}", a.shape, a.bound, (a,), rows="batch" not in a.shape[-2:], named=False)


# --- by indices


@construct
def gathered(d: Draft) -> None:
    """Along a dimension in the middle; with two indices at once."""
    k = d.value(lambda v: v.rank < 2, dtype="int")
    if d.random.random() < 0.4:
        table, depth = d.fresh("T"), int(k.bound)
        d.lines.append(f"param {table}: float[{depth}, {depth}, 2] init normal(0, 1)")
        text, tail = d.random.choice(
            [("{t}[{k}, {k}]", (2,)), ("{t}[{k}, :, 1]", (depth,)), ("{t}[0, {k}]", (2,)), ("{t}[:, {k}, 0]", None)]
        )
        shape = (depth, *k.shape) if tail is None else (*k.shape, *tail)
        d.let(f"tanh({text.format(t=table, k=k)})", shape, 1.0, (k,), rows=tail is not None, named=False)
        return
    a = d.value(lambda v: 0 < v.rank < 5 and k.bound in v.shape)
    at = d.axis(a, lambda size: size == k.bound)
    d.let(
        f"gather({a}, {k}, axis = {at})",
        (*a.shape[:at], *k.shape, *a.shape[at + 1 :]),
        a.bound,
        (a, k),
        rows=k.rank == 0 or at == 0,
        named=False,
    )


@construct
def scattered(d: Draft) -> None:
    k = d.value(lambda v: v.rank == 1, dtype="int")
    a = d.value(lambda v: v.rank > 0 and k.shape[0] in v.shape)
    at = d.axis(a, lambda size: size == k.shape[0])
    shape = (*a.shape[:at], int(k.bound), *a.shape[at + 1 :])
    d.let(f"scatter_add({a}, {k}, {shape[at]}, axis = {at})", shape, 4 * a.bound, (a, k), rows=False)


@construct
def whole_numbers(d: Draft) -> None:
    """Arithmetic of ints, and back among the floats."""
    k = d.value(dtype="int")
    text = d.random.choice(
        [
            "(2 * {k} + 1) % {n}",
            "maximum({k} - 1, 0)",
            "abs({k} - 1) % {n}",
            "{k} // 2",
            "{k}^2 % {n}",
            "where({k} > 0 and {k} < 3, {k}, 0)",
            "minimum({k}, 1)",
            "sign({k})",
        ]
    )
    number = max(int(k.bound), 2)
    made = d.let(text.format(k=k, n=number), k.shape, number, (k,), dtype="int")
    if d.random.random() < 0.6:
        a = d.value(lambda v: joined(v.shape, k.shape) is not None)
        shape = joined(a.shape, k.shape)
        assert shape is not None
        d.let(f"{a} * (0.3 + {made}) / {number}", shape, 1.3 * a.bound, (a, made))


@construct
def counts(d: Draft) -> None:
    """Reductions and running sums of ints and of booleans."""
    k = d.value(lambda v: v.rank > 0, dtype="int")
    at = d.axis(k)
    text, shape = d.random.choice(
        [
            ("sum({k}, axis = {i}) % {n}", 0),
            ("cumsum({k}, axis = {i}) % {n}", 1),
            ("max({k}, axis = {i})", 0),
            ("sum({k} == 1, axis = {i}) % {n}", 0),
            ("prod({k} + 1, axis = {i}) % {n}", 0),
            ("sort({k}, axis = {i})", 1),
        ]
    )
    left = k.shape if shape else (*k.shape[:at], *k.shape[at + 1 :])
    d.let(text.format(k=k, i=at, n=int(k.bound)), left, k.bound, (k,), rows=k.shape[at] != "batch", dtype="int")


# --- matrices


@construct
def matrix_work(d: Draft) -> None:
    """Of a matrix with its transpose, where no square one is at hand."""
    a = d.value(lambda v: v.rank > 1)
    if a.shape[-1] != a.shape[-2]:
        swap = [*range(a.rank - 2), a.rank - 1, a.rank - 2]
        a = d.let(
            f"{a} @ transpose({a}, {swap})",
            (*a.shape[:-1], a.shape[-2]),
            4 * a.bound**2,
            (a,),
            rows="batch" not in a.shape[-2:],
        )
    text, shape, bound = d.random.choice(
        [
            ("trace({a})", a.shape[:-2], 4 * a.bound),
            ("diagonal({a})", a.shape[:-1], a.bound),
            ("swap({a}) - {a}", a.shape, 2 * a.bound),
            ("{a} + 0.5 * eye(size({a}, -1))", a.shape, a.bound + 1),
        ]
    )
    d.let(text.format(a=a), shape, bound, (a,), rows="batch" not in a.shape[-2:])


@construct
def vectors(d: Draft) -> None:
    a = d.value(lambda v: 0 < v.rank < 5)
    b = d.value(lambda v: v.shape == a.shape)
    square = (*a.shape, a.shape[-1])
    text, shape, bound = d.random.choice(
        [
            ("outer({a}, {b})", square, a.bound * b.bound),
            ("diag({a}) * {b}[..., none]", square, a.bound * b.bound),
            ("dot({a}, {b}) / 8", (), a.bound * b.bound * 8),
        ]
    )
    apart = "batch" not in (a.shape if shape == () else a.shape[-1:])
    d.let(text.format(a=a, b=b), shape, bound, (a, b), rows=apart, named=False)


@construct
def frequencies(d: Draft) -> None:
    """The transform of a value, changed, and back."""
    a = d.value(lambda v: 0 < v.rank < 5 and isinstance(v.shape[-1], int))
    re, im = d.fresh("re"), d.fresh("im")
    d.lines.append(f"{re}, {im} = rfft({a})")
    d.let(f"irfft(0.5 * {re}, {im}, n = {a.shape[-1]})", a.shape, 2 * a.bound, (a,), named=False)


@construct
def solved(d: Draft) -> None:
    """A symmetric positive definite matrix made of a value, and what is done with it."""
    a = d.value(lambda v: v.rank > 1 and isinstance(v.shape[-2], int) and v.shape[-2] < 4)
    spd, n = d.fresh("A"), a.shape[-2]
    swap = [*range(a.rank - 2), a.rank - 1, a.rank - 2]
    d.lines.append(f"{spd} = tanh({a}) @ transpose(tanh({a}), {swap}) + 1.5 * eye({n})")
    text, shape = d.random.choice(
        [
            (f"cholesky({spd})", (*a.shape[:-1], n)),
            (f"log_determinant({spd})", a.shape[:-2]),
            (f"cholesky_solve({spd}, {a})", a.shape),
            (f"linear_solve(flip({spd}, -2), {a})", a.shape),
            (f"inverse(flip({spd}, -2))", (*a.shape[:-1], n)),
            (f"determinant({spd}) + log_abs_determinant({spd})", a.shape[:-2]),
            (f"triangular_solve(tril({spd}), {a})", a.shape),
            (f"triangular_solve(triu({spd}), {a}, lower = false)", a.shape),
        ]
    )
    d.let(text, shape, 3 * a.bound + 3, (a,), rows="batch" not in a.shape[-2:], named=False)


@construct
def spread(d: Draft) -> None:
    """How far values lie from each other, and how long they are."""
    a = d.value(lambda v: v.rank > 0)
    at = d.axis(a)
    shape = tuple(1 if i == at else s for i, s in enumerate(a.shape))
    said = d.random.choice(
        ["var({a}", "std({a}", "norm({a}", "norm({a}, order = 1", "norm(0.2 + {a}, order = 3", "norm({a}, order = inf"]
    ).format(a=a)
    d.let(
        f"{said}, axis = {d.said(a, at)}, keepdims = true)",
        shape,
        a.bound * max(a.bound, 4),
        (a,),
        rows=a.shape[at] != "batch",
    )


# --- patterns of axes


@construct
def patterned(d: Draft) -> None:
    a = d.value(lambda v: v.rank == 2 and isinstance(v.shape[1], int))
    n = a.shape[1]
    half = [f for f in range(1, n + 1) if n % f == 0]
    f = d.random.choice(half)
    text, shape, bound = d.random.choice(
        [
            (f'rearrange({{a}}, "b (h d) -> h b d", h = {f})', (f, a.shape[0], n // f), 1),
            (f'rearrange({{a}}, "b (d h) -> b h d 1", h = {f})', (a.shape[0], f, n // f, 1), 1),
            (f'reduce({{a}}, "b (h d) -> b h", max, h = {f})', (a.shape[0], f), 1),
            (f'reduce({{a}}, "b (h d) -> d b", mean, h = {f})', (n // f, a.shape[0]), 1),
            ('reduce({a}, "b d -> b 1", sum)', (a.shape[0], 1), n),
            ('repeat({a}, "b d -> b t d", t = 2)', (a.shape[0], 2, n), 1),
            ('repeat({a}, "b d -> b (d 2)")', (a.shape[0], 2 * n), 1),
        ]
    )
    d.let(text.format(a=a), shape, bound * a.bound, (a,), named=False)


@construct
def contracted(d: Draft) -> None:
    """Products of matrices, sums and diagonals by a pattern."""
    a = d.value(lambda v: v.rank > 1)
    b = d.value(lambda v: v.rank > 1 and v.shape[-1] == a.shape[-1] and v.shape[-2] == a.shape[-2])
    last, count = a.shape[-1], a.shape[-1] if isinstance(a.shape[-1], int) else 4
    lead = joined(a.shape[:-2], b.shape[:-2])
    if lead is None or len(lead) > 2:
        raise Unfit
    row = a.shape[-2]
    pattern, shape, terms = d.random.choice(
        [
            ("... i d, ... j d -> ... i j", (*lead, row, row), count),
            ("... i d, ... i d -> ... i", (*lead, row), count),
            ("... i d, ... i e -> ... d e", (*lead, last, last), 4),
            ("... i d, ... j d -> ... j", (*lead, row), 4 * count),
        ]
    )
    d.let(
        f'einsum("{pattern}", {a}, {b})',
        shape,
        a.bound * b.bound * terms,
        (a, b),
        rows="batch" not in (row, last),
        named=False,
    )


# --- draws


@construct
def drawn(d: Draft) -> None:
    a = d.value()
    text = d.random.choice(
        [
            "where(bernoulli_like({a}, 0.3), {a}, 0.5)",
            "where(bernoulli_like({a}, sigmoid({a})), {a}, -{a})",
            "0.3 * draw(normal({a}, 0.5)) + {a}",
            "0.2 * draw(laplace({a}, 0.4)) + {a}",
            "{a} * draw(uniform(0.5, 1.5))",
        ]
    )
    d.let(text.format(a=a), a.shape, 3 * a.bound + 3, (a,))


@construct
def mixed_up(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 0)
    at = d.axis(a)
    size = a.shape[at]
    if at == 0 and isinstance(size, int) and d.random.random() < 0.5:
        text = f"{a}[permutation({size})]"
    else:
        text = f"shuffle({a}, axis = {d.said(a, at)})"
    d.let(text, a.shape, a.bound, (a,), rows=size != "batch")


def classes_of(d: Draft, k: Value) -> Value:
    """Logits of a label for each of its values."""
    return d.value(lambda v: v.rank > 0 and v.shape[:-1] == k.shape and v.shape[-1] == k.bound)


@construct
def labelled(d: Draft) -> None:
    k = d.value(dtype="int")
    a = classes_of(d, k)
    text, shape = d.random.choice(
        [
            (f"log_density(categorical({a}), {k})", k.shape),
            (f"cross_entropy({a}, {k})", ()),
            (f"cross_entropy({a}, {k}, smoothing = 0.2)", ()),
            (f"accuracy({a}, {k})", ()),
            (f"draw(categorical({a}))", None),
        ]
    )
    if shape is None:
        d.let(text, k.shape, k.bound, (a, k), dtype="int")
    else:
        d.let(text, shape, 2 * a.bound + 3, (a, k), rows=shape == k.shape or "batch" not in k.shape)
