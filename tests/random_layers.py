"""Constructs of random specs: windows, recurrences, named axes, directional derivatives."""

from __future__ import annotations

from random_draft import Draft, Unfit, construct


def _image(d: Draft, least: int = 1):
    """A batch of channels over one or two sliding dimensions, each a number."""
    return d.value(
        lambda v: (
            v.rank in (3, 4)
            and v.shape[0] == "batch"
            and v.named
            and all(isinstance(size, int) for size in v.shape[1:])
            and min(v.shape[2:]) >= least
        )
    )


@construct
def convolution(d: Draft) -> None:
    a = _image(d)
    channels, stride = d.random.randint(1, 3), d.random.choice([1, 1, 2])
    places = [(size + 2 - 2) // stride + 1 for size in a.shape[2:]]
    name = d.random.choice(["conv", "conv", "conv_transpose"])
    if name == "conv_transpose":
        text, places = "conv_transpose({c}, kernel = 2)", [size + 1 for size in a.shape[2:]]
    else:
        text = "conv({c}, kernel = 2, pad = 1, stride = {s})"
    d.let(f"{a} |> {text.format(c=channels, s=stride)} |> tanh", ("batch", channels, *places), 1.0, (a,))


@construct
def pool(d: Draft) -> None:
    a = _image(d, least=2)
    name = d.random.choice(["max_pool", "avg_pool"])
    places = [size - 1 for size in a.shape[2:]]
    d.let(f"{a} |> {name}(2, stride = 1)", (*a.shape[:2], *places), a.bound, (a,))


@construct
def pool_of_all(d: Draft) -> None:
    a = _image(d)
    name = d.random.choice(["global_avg_pool", "global_max_pool"])
    d.let(f"{name}({a})", a.shape[:2], a.bound, (a,))


@construct
def recurrence(d: Draft) -> None:
    a = d.value(lambda v: v.rank == 3 and v.shape[:2] == ("batch", "time") and isinstance(v.shape[2], int) and v.named)
    t, h, y = d.fresh("t"), d.fresh("h"), d.fresh("y")
    where = d.random.choice(["time", "time", "reverse(time)"])
    turn = d.random.choice(
        [
            f"tanh({d.number(0.3, 0.9)} * {h} + {a}[:, {t}])",
            f"0.5 * {h} + sigmoid({a}[:, {t}]) * tanh({h} - {a}[:, {t}])",
            f"where({t} < 2, tanh({h} * {a}[:, {t}] + 0.3), 0.5 * {h})",
        ]
    )
    d.lines += [
        f"scan {t} over {where} {{",
        f"    state {h}: float[batch, {a.shape[2]}] = 0.2",
        f"    {h} <- {turn}",
        f"    {y}[:, {t}] = {h}",
        "}",
    ]
    last = d.random.random() < 0.4
    d.let(h if last else f"{y} - 0.5 * {a}", (a.shape[0], a.shape[2]) if last else a.shape, 2 * a.bound + 2, (a,))


@construct
def recurrence_of_iterations(d: Draft) -> None:
    """A fixed number of turns on a value of any shape."""
    a = d.value(lambda v: v.rank < 3 and all(isinstance(size, int) for size in v.shape))
    t, h = d.fresh("t"), d.fresh("h")
    type = f"float[{', '.join(map(str, a.shape))}]" if a.rank else "float"
    d.lines += [
        f"scan {t} over 0..{d.random.choice([2, 12])} {{",
        f"    state {h}: {type} = {a}",
        f"    {h} <- sin({h} + 0.1 * {t}) + 0.5 * {a}",
        "}",
    ]
    d.let(h, a.shape, a.bound + 1, (a,))


@construct
def named_product(d: Draft) -> None:
    a = d.value(lambda v: 1 < v.rank < 4)
    letters = "ijkl"[: a.rank]
    out = letters[:-1] if d.random.random() < 0.5 else letters[::-1]
    pattern = f"{' '.join(letters)}, {' '.join(letters)} -> {' '.join(out)}"
    size = a.shape[-1] if isinstance(a.shape[-1], int) else 4
    shape = a.shape[:-1] if len(out) < a.rank else a.shape[::-1]
    d.let(f'einsum("{pattern}", {a}, {a})', shape, a.bound**2 * size, (a,), named=False)


@construct
def rearranged(d: Draft) -> None:
    a = d.value(lambda v: v.rank == 3)
    if d.random.random() < 0.5 and all(isinstance(size, int) for size in a.shape[1:]):
        shape = (a.shape[0], a.shape[2] * a.shape[1])
        d.let(f'rearrange({a}, "i j k -> i (k j)")', shape, a.bound, (a,), named=False)
    else:
        d.let(f'rearrange({a}, "i j k -> k i j")', (a.shape[2], *a.shape[:2]), a.bound, (a,), named=False)


@construct
def along_a_direction(d: Draft) -> None:
    a = d.value()
    b = d.value(lambda v: v.shape == a.shape)
    text, bound = d.random.choice(
        [
            ("jvp(tanh({a}) * {a}, {a}, {b})", 2 * a.bound + 1),
            ("hvp(sum({a}^3 / (2 + {a}^2)), {a}, {b})", 2.0),
            ("vjp(sin({a}) * {a}, {a}, {b})", 2 * a.bound + 1),
            ("jvp(where({a} > 0, {a}^2, sin({a})), {a}, {b})", 2 * a.bound),
        ]
    )
    d.let(text.format(a=a, b=b), a.shape, bound * (b.bound + 0.1), (a, b))


@construct
def all_slopes(d: Draft) -> None:
    """A Jacobian of each row."""
    a = d.value(lambda v: v.rank == 2 and v.shape[0] == "batch" and isinstance(v.shape[1], int) and v.named)
    if not a.rows:
        raise Unfit
    u = d.fresh("u")
    d.lines.append(f"{u} = tanh({a}) * sum({a}, axis = -1, keepdims = true)")
    d.let(f"jacobian({u}, {a}, per = batch)", (*a.shape, a.shape[1]), 8 * a.bound, (a,), named=False)
