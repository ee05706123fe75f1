"""Constructs of random specs: arithmetic, reductions, shapes, indices, products, functions, control."""

from __future__ import annotations

import re
from collections.abc import Callable

from library_cases import CASES, any_rank
from op_rows import ROWS
from random_draft import Draft, Unfit, Value, construct, joined

# What stands with the cases of the library and the rows of operations: of each element, by row, and of two.
SAID = {text: bound for case in CASES.values() if case.shapes is any_rank for text, bound in case.said.items()}
BY_ROW = {text: bound for case in CASES.values() if case.shapes is not any_rank for text, bound in case.said.items()}
SAID_OF_TWO = {}
for row in ROWS.values():
    for line, most in row.said.items():
        (SAID_OF_TWO if re.search(r"\bb\b", line) else SAID)[line] = most
# Of each element: the text, and the bound of its result from that of `a`.
ELEMENTWISE: dict[str, Callable[[float], float]] = {
    "tanh(a)": lambda b: 1,
    "sigmoid(a)": lambda b: 1,
    "sin(a)": lambda b: 1,
    "cos(a)": lambda b: 1,
    "erf(a)": lambda b: 1,
    "exp(tanh(a))": lambda b: 2.8,
    "expm1(tanh(a))": lambda b: 1.8,
    "log(0.3 + a^2)": lambda b: 1.3 + b,
    "log1p(abs(a))": lambda b: b,
    "sqrt(0.2 + a^2)": lambda b: 0.5 + b,
    "abs(a)": lambda b: b,
    "-a": lambda b: b,
    "a^2": lambda b: b * b,
    "a^3 / (1 + a^2)": lambda b: b,
    "relu(a)": lambda b: b,
    "silu(a)": lambda b: b,
    "leaky_relu(a, slope = 0.2)": lambda b: b,
    "elu(a)": lambda b: b + 1,
    "gelu(a)": lambda b: b,
    "softplus(a)": lambda b: b + 0.7,
    "log_sigmoid(a)": lambda b: b + 0.7,
    "clamp(a, -0.8, 1.1)": lambda b: 1.1,
    "maximum(a, 0.3)": lambda b: b + 0.3,
    "minimum(0.5, a)": lambda b: b + 0.5,
    "where(a > 0.2, a, 0.5 * a)": lambda b: b,
    "where(a > 0, log(a), 0) * where(a > 0.01, 1, 0)": lambda b: 5 + b,
    "where(a > 0, sqrt(a), -a)": lambda b: b + 1,
    "a * stop_gradient(a)": lambda b: b * b,
    "sign(a) * a^2": lambda b: b * b,
    "a % 1.7": lambda b: 1.7,
    "a + 0.1 * floor(3 * a)": lambda b: 2 * b,
    "a - 0.1 * round(2 * a)": lambda b: 2 * b,
    "a // 0.7 + a": lambda b: 3 * b + 1,
    "1 / (1.5 + abs(a))": lambda b: 1,
    "2^tanh(a)": lambda b: 2,
    "where(is_finite(1 / a), a, 0.0)": lambda b: b,
    "a if training else 0.9 * a": lambda b: b,
    **SAID,
    "a + 0.1 * ceil(2 * a)": lambda b: 2 * b,
    "where(is_nan(log(a)), 0.5 * a, sin(a))": lambda b: b + 1,
    "a + 0.1 * to_int(3 * a)": lambda b: 2 * b,
    "where(is_inf(1 / floor(a)), a, 0.3)": lambda b: b + 0.3,
    "where(xor(a > 0, a > 1), a, -a)": lambda b: b,
    "power(0.2 + abs(a), 1.5)": lambda b: (b + 0.2) ** 1.5,
    "sinc(a) - 0.3 * xlogy(1.3 + sin(a), 1.4 + cos(a))": lambda b: 1.7,
    "remainder(a, 1.3)": lambda b: 1.3,
    "log_gamma(1.6 + tanh(a)) + 0.5 * log1pmx(0.4 * sin(a))": lambda b: 1.2,
    "root(0.2 + abs_power(a, 2.5), order = 3) + 0.2 * signed_power(1.3 + sin(a), 1.5)": lambda b: 2 + b,
    "0.3 * round_through(2 * a)": lambda b: b + 1,
    "sign_through(a) * a": lambda b: b,
    "reverse_gradient(a, 0.5)": lambda b: b,
    "clip_gradient(a, 0.7)": lambda b: b,
    "a + 0.2 * ones_like(a) + rank(a) * zeros_like(a)": lambda b: b + 0.2,
}
# Of two that broadcast.
PAIRWISE: dict[str, Callable[[float, float], float]] = {
    "a + b": lambda a, b: a + b,
    "a - b": lambda a, b: a + b,
    "a * b": lambda a, b: a * b,
    "a / (0.6 + abs(b))": lambda a, b: 1.7 * a,
    "maximum(a, b)": max,
    "minimum(a, b)": max,
    "where(a < b, a, b * b)": lambda a, b: a + b * b,
    "where(a > b and b > 0, a - b, b)": lambda a, b: a + b,
    "where(a >= b or a < 0, b, a)": max,
    "where(not (a <= b), a * b, 1)": lambda a, b: a * b + 1,
    "(0.2 + abs(a))^tanh(b)": lambda a, b: 5 + a,
    "sqrt(a^2 + b^2 + 0.1)": lambda a, b: a + b + 1,
    "log(exp(tanh(a)) + exp(tanh(b)))": lambda a, b: 2,
    "a % (0.8 + abs(b))": lambda a, b: 0.8 + b,
    **SAID_OF_TWO,
    "logaddexp(a, b)": lambda a, b: max(a, b) + 0.7,
    "where(xor(a > 0, b > 0.1), a, b)": max,
}


@construct
def elementwise(d: Draft, text: str = "") -> None:
    text = text or d.random.choice([*ELEMENTWISE])
    a = d.value()
    d.let(_put(text, a=a), a.shape, ELEMENTWISE[text](a.bound), (a,))


@construct
def by_row(d: Draft, text: str = "") -> None:
    text = text or d.random.choice([*BY_ROW])
    a = d.value(lambda v: v.rank > 0 and isinstance(v.shape[-1], int))
    d.let(_put(text, a=a), a.shape, BY_ROW[text](a.bound), (a,))


@construct
def pairwise(d: Draft, text: str = "") -> None:
    text = text or d.random.choice([*PAIRWISE])
    a = d.value()
    b = d.value(lambda v: joined(a.shape, v.shape) is not None)
    shape = joined(a.shape, b.shape)
    assert shape is not None
    d.let(_put(text, a=a, b=b), shape, PAIRWISE[text](a.bound, b.bound), (a, b))


def _put(text: str, **values: Value) -> str:
    """Names of values for the letters of a line."""
    return re.sub(r"\b([ab])\b", lambda found: values[found.group(1)].name, text)


@construct
def reduction(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 0)
    axis = d.axis(a)
    keep = d.random.random() < 0.5
    size = a.shape[axis]
    count = size if isinstance(size, int) else 4
    name = d.random.choice(["sum", "mean", "max", "min", "logsumexp", "prod"])
    bound = {"sum": a.bound * count, "logsumexp": a.bound + 1.5, "prod": 2.0**count}.get(name, a.bound)
    shape = tuple(1 if i == axis else s for i, s in enumerate(a.shape) if keep or i != axis)
    inner = f"1.5 * tanh({a})" if name == "prod" else a.name
    text = f"{name}({inner}, axis = {d.said(a, axis)}{', keepdims = true' if keep else ''})"
    d.let(text, shape, bound, (a,), rows=size != "batch")


@construct
def whole_reduction(d: Draft) -> None:
    a = d.value()
    name = d.random.choice(["mean", "max", "norm"])
    bound = a.bound * 8 if name == "norm" else a.bound
    inner = f"0.3 + {a}^2" if name == "norm" else a.name
    d.let(f"{name}({inner})", (), bound * (bound if name == "norm" else 1), (a,), rows="batch" not in a.shape)


@construct
def normalised(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 0)
    axis = d.axis(a)
    text, bound = d.random.choice([("softmax", 1.0), ("log_softmax", 2 * a.bound + 2), ("normalize", 1.0)])
    inner = f"0.5 + {a}^2" if text == "normalize" else a.name
    d.let(f"{text}({inner}, axis = {d.said(a, axis)})", a.shape, bound, (a,), rows=a.shape[axis] != "batch")


@construct
def centred(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 0)
    axis = d.axis(a)
    m, s = d.fresh("m"), d.fresh("s")
    d.lines.append(f"{m}, {s} = moments({a}, axis = {d.said(a, axis)}, keepdims = true)")
    d.let(f"({a} - {m}) / sqrt({s} + 0.2)", a.shape, 2.5 * a.bound, (a,), rows=a.shape[axis] != "batch")


@construct
def index_of_extreme(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 0 and isinstance(v.shape[-1], int))
    name = d.random.choice(["argmax", "argmin"])
    d.let(f"{name}({a}, axis = -1)", a.shape[:-1], a.shape[-1], (a,), dtype="int")


@construct
def truth(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 0)
    axis = d.axis(a)
    name = d.random.choice(["any", "all"])
    shape = tuple(1 if i == axis else s for i, s in enumerate(a.shape))
    text = f"where({name}({a} > 0.1, axis = {d.said(a, axis)}, keepdims = true), {a}, -{a})"
    assert joined(a.shape, shape) == a.shape
    d.let(text, a.shape, a.bound, (a,), rows=a.shape[axis] != "batch")


@construct
def permuted(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 1)
    perm = [*range(a.rank)]
    d.random.shuffle(perm)
    d.let(f"transpose({a}, [{', '.join(map(str, perm))}])", [a.shape[i] for i in perm], a.bound, (a,))


@construct
def reshaped(d: Draft) -> None:
    """Two neighbours made one, or one split into two."""
    a = d.value(lambda v: v.rank > 0)
    at = d.axis(a, lambda size: isinstance(size, int))
    size = a.shape[at]
    if at + 1 < a.rank and isinstance(a.shape[at + 1], int) and d.random.random() < 0.5:
        shape = (*a.shape[:at], size * a.shape[at + 1], *a.shape[at + 2 :])
    else:
        factor = d.random.choice([f for f in range(1, size + 1) if size % f == 0])
        shape = (*a.shape[:at], factor, size // factor, *a.shape[at + 1 :])
    if len(shape) > 5:
        raise Unfit
    d.let(f"reshape({a}, [{', '.join(map(str, shape))}])", shape, a.bound, (a,), named=False)


@construct
def cut(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 0)
    at = d.axis(a, lambda size: isinstance(size, int) and size > 1)
    size = a.shape[at]
    low = d.random.randrange(size)
    high = d.random.randint(low + 1, size)
    step = d.random.choice([1, 1, 2])
    marks = [":"] * at + [f"{low}:{high}" + (f":{step}" if step > 1 else "")]
    length = -(-(high - low) // step)
    if d.random.random() < 0.2:
        marks, length = [":"] * at + ["::-1"], size
    tail = [", none"] if d.random.random() < 0.2 and at == a.rank - 1 and a.rank < 5 else []
    shape = (*a.shape[:at], length, *a.shape[at + 1 :], *([1] if tail else []))
    d.let(f"{a}[{', '.join(marks)}{''.join(tail)}]", shape, a.bound, (a,))


@construct
def one_place(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 0)
    at = d.axis(a, lambda size: isinstance(size, int))
    place = d.random.randrange(-a.shape[at], a.shape[at])
    d.let(f"{a}[{', '.join([':'] * at + [str(place)])}]", a.shape[:at] + a.shape[at + 1 :], a.bound, (a,))


@construct
def put_together(d: Draft) -> None:
    a = d.value(lambda v: 0 < v.rank < 5)
    b = d.value(lambda v: v.shape == a.shape)
    at = d.axis(a, lambda size: isinstance(size, int) and size < 6)
    if d.random.random() < 0.5:
        shape = (*a.shape[:at], 2 * a.shape[at], *a.shape[at + 1 :])
        d.let(f"concat([{a}, {b}], axis = {at})", shape, max(a.bound, b.bound), (a, b))
    else:
        shape = (*a.shape[:at], 2, *a.shape[at:])
        d.let(f"stack([{a}, {b}], axis = {at})", shape, max(a.bound, b.bound), (a, b))


@construct
def taken_apart(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 0)
    at = d.axis(a, lambda size: isinstance(size, int) and size % 2 == 0)
    one, two = d.fresh("p"), d.fresh("p")
    d.lines.append(f"{one}, {two} = split({a}, 2, axis = {d.said(a, at)})")
    shape = (*a.shape[:at], a.shape[at] // 2, *a.shape[at + 1 :])
    d.let(f"{one} * {two}", shape, a.bound**2, (a,))


@construct
def flipped(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 0)
    axis = d.axis(a)
    d.let(f"flip({a}, {d.said(a, axis)}) - 0.5 * {a}", a.shape, 2 * a.bound, (a,), rows=a.shape[axis] != "batch")


@construct
def widened(d: Draft) -> None:
    a = d.value(lambda v: v.rank < 4)
    shape = (d.random.choice([2, 3]), *a.shape)
    d.let(f"broadcast_to({a}, [{', '.join(map(str, shape))}])", shape, a.bound, (a,), named=False)


@construct
def picked(d: Draft) -> None:
    """One of each row, by an index within it."""
    k = d.value(dtype="int")
    a = d.value(lambda v: v.shape[:-1] == k.shape and v.rank > 0 and v.shape[-1] == k.bound)
    d.let(f"pick({a}, {k})", k.shape, a.bound, (a, k))


@construct
def looked_up(d: Draft) -> None:
    k = d.value(lambda v: v.rank < 3, dtype="int")
    width = d.random.randint(1, 3)
    if d.random.random() < 0.5:
        d.let(f"{k} |> embedding({int(k.bound)}, {width}) |> tanh", (*k.shape, width), 1.0, (k,))
    else:
        table = d.value(lambda v: v.rank > 0 and v.shape[0] == k.bound)
        d.let(f"{table}[{k}]", (*k.shape, *table.shape[1:]), table.bound, (k, table))


@construct
def hot(d: Draft) -> None:
    k = d.value(dtype="int")
    wide = (*k.shape, int(k.bound))
    a = d.value(lambda v: v.rank > 0 and v.shape[-1] == k.bound and joined(v.shape, wide) is not None)
    shape = joined(a.shape, wide)
    assert shape is not None
    d.let(f"one_hot({k}, {int(k.bound)}) * {a} + 0.5", shape, a.bound + 0.5, (a, k))


@construct
def counted(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 0)
    size = a.shape[-1]
    d.let(f"{a} * cos(0.3 * arange({size}))", a.shape, a.bound, (a,))


@construct
def dense(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 0 and isinstance(v.shape[-1], int))
    out = d.random.randint(1, 4)
    bias = d.random.choice(["", ", bias = false"])
    d.let(f"{a} |> dense({out}{bias}) |> tanh", (*a.shape[:-1], out), 1.0, (a,))


@construct
def weighted(d: Draft) -> None:
    """A parameter of the model itself, in a product with its transpose."""
    a = d.value(lambda v: v.rank > 0 and isinstance(v.shape[-1], int))
    name, n, out = d.fresh("W"), a.shape[-1], d.random.randint(1, 3)
    prior = d.random.choice(["init normal(0, 0.5)", "init glorot_normal", "~ normal(0, 1)", "init orthogonal"])
    d.lines.append(f"param {name}: float[{n}, {out}] {prior}")
    back = d.random.random() < 0.4
    text = f"{a} @ {name} @ transpose({name})" if back else f"{a} @ {name}"
    d.let(f"tanh({text})", (*a.shape[:-1], n if back else out), 1.0, (a,))


@construct
def product(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 1)
    b = d.value(lambda v: v.rank > 1 and v.shape[-2] == a.shape[-1] and joined(a.shape[:-2], v.shape[:-2]) is not None)
    lead = joined(a.shape[:-2], b.shape[:-2])
    assert lead is not None
    inner = a.shape[-1]
    bound = a.bound * b.bound * (inner if isinstance(inner, int) else 4)
    mixing = "batch" in (*a.shape[-2:], *b.shape[-2:])
    d.let(f"{a} @ {b}", (*lead, a.shape[-2], b.shape[-1]), bound, (a, b), rows=not mixing)


@construct
def gram(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 1)
    inner = a.shape[-1]
    order = [*range(a.rank - 2), a.rank - 1, a.rank - 2]
    bound = a.bound**2 * (inner if isinstance(inner, int) else 4)
    d.let(f"{a} @ transpose({a}, {order})", (*a.shape[:-1], a.shape[-2]), bound, (a,), rows="batch" not in a.shape[-2:])


@construct
def norm_layer(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 1 and v.shape[0] == "batch" and all(isinstance(s, int) for s in v.shape[1:]))
    if d.random.random() < 0.3 and a.shape[1] > 0:
        d.let(f"0.5 * ({a} |> group_norm({a.shape[1]}, eps = 0.2))", a.shape, 1.5, (a,))
    else:  # a batch in training, running figures elsewhere
        d.let(f"0.5 * ({a} |> batch_norm(eps = 0.2))", a.shape, 2 * a.bound, (a,))


@construct
def noise(d: Draft) -> None:
    a = d.value()
    d.let(
        d.random.choice([f"{a} |> dropout(0.3)", f"{a} + 0.3 * uniform_like({a})", f"{a} + 0.1 * normal_like({a})"]),
        a.shape,
        1.6 * a.bound + 0.6,
        (a,),
    )


@construct
def own_function(d: Draft) -> None:
    a = d.value()
    form = d.random.choice(["a * exp(-a^2)", "softplus(a) - 0.5 * a", "where(a > p, a - p, p * a)", "sin(p * a) + a"])
    name = d.fresh("f")
    d.above[name] = f"fn {name}(a, p = {d.number(0.3, 1.5)}) = {form}"
    d.let(f"{a} |> {name}", a.shape, 2.5 * a.bound + 1, (a,))


@construct
def own_layer(d: Draft) -> None:
    """A layer with a scale, applied twice."""
    a = d.value(lambda v: v.rank > 0 and isinstance(v.shape[-1], int))
    name, made = d.fresh("bend"), d.fresh("inner")
    d.above[name] = f"""layer {name}(rate = {d.number(0.2, 0.9)})(x: float[..., n]) -> float[..., n] {{
    param scale: float[n] init ones
    return tanh(rate * scale * x)
}}"""
    d.lines.append(f"{made} = {name}()")
    d.let(f"{a} |> {made} |> {made}", a.shape, 1.0, (a,))


@construct
def unrolled(d: Draft) -> None:
    a = d.value()
    name, at = d.fresh("r"), d.fresh("i")
    turn = f"{name} = tanh({name} + 0.2 * {at} * {a})"
    d.lines += [f"{name} = {a}", f"for {at} in 0..{d.random.randint(1, 3)} {{ {turn} }}"]
    d.let(f"{name} - {a}", a.shape, 2 * a.bound + 1, (a,))


@construct
def collected(d: Draft) -> None:
    a = d.value(lambda v: 0 < v.rank < 5 and isinstance(v.shape[-1], int) and v.shape[-1] < 4)
    name = d.fresh("c")
    d.lines.append(f"for i in 0..2 {{ {name}[i] = {a} * (i + 0.5) }}")
    d.let(f"concat({name}, axis = -1)", (*a.shape[:-1], 2 * a.shape[-1]), 1.5 * a.bound, (a,))


@construct
def chosen(d: Draft) -> None:
    """A run-time if: both sides are computed."""
    a = d.value()
    c = d.value(lambda v: v.rank == 0)
    name = d.fresh("u")
    d.lines.append(f"if {c} > 0.1 {{ {name} = 2 * {a} }} else {{ {name} = {a}^2 }}")
    d.let(name, a.shape, a.bound**2 + 2 * a.bound, (a, c))


@construct
def slope(d: Draft) -> None:
    """A derivative in the middle of the text, of which the rest is made."""
    a = d.value(lambda v: v.rank > 0)
    text = d.random.choice(["tanh({a})^2", "{a}^3 / (2 + {a}^2)", "log(1 + {a}^2)", "softplus({a}) * {a}"])
    d.let(f"grad(sum({text.format(a=a)}), {a})", a.shape, 3 * a.bound + 1, (a,))


@construct
def density(d: Draft) -> None:
    a = d.value()
    b = d.value(lambda v: joined(a.shape, v.shape) == a.shape)
    text = d.random.choice(
        [
            "normal({b}, 0.7)",
            "laplace({b}, 0.8)",
            "normal(0.3, 0.5 + {b}^2)",
            "bernoulli({b})",
            "half_normal(0.6 + {b}^2)",
            "half_cauchy(0.6 + {b}^2)",
        ]
    )
    if text.startswith("half"):
        d.let(f"log_density({text.format(b=b)}, abs({a}))", a.shape, 4 * (a.bound + 1) ** 2 + b.bound**2, (a, b))
        return
    bound = 4 * (a.bound + b.bound) ** 2 + 2
    d.let(f"log_density({text.format(b=b)}, {a})", a.shape, bound, (a, b))
