"""Constructs of random specs: derivatives of one's own, blocks, nested iterations, states, library layers and
losses."""

from __future__ import annotations

from random_draft import Draft, construct


@construct
def held(d: Draft) -> None:
    a, b = d.value(), d.value(lambda v: v.rank == 0)
    d.let(
        d.random.choice(["stop_gradient({a}) * {b} + {a}", "{a} * stop_gradient({b}) + {b} * {b}"]).format(a=a, b=b),
        a.shape,
        a.bound * b.bound + a.bound + b.bound**2,
        (a, b),
    )


@construct
def own_derivative(d: Draft) -> None:
    """A function with a rule, which need not be its derivative."""
    a = d.value()
    name = d.fresh("f")
    body, rule = d.random.choice(
        [("round(3 * x) / 3", "g"), ("x * abs(x)", "2 * g * abs(x)"), ("tanh(x)", "g * (1 - y^2)"), ("x", "-0.5 * g")]
    )
    d.above[name] = f"fn {name}(x) = {body}\nderivative {name}(g, y, x) = {rule}"
    d.let(f"{a} |> {name}", a.shape, a.bound**2 + a.bound, (a,))


@construct
def computed_again(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 0 and isinstance(v.shape[-1], int))
    u, w, at = d.fresh("u"), d.fresh("w"), d.fresh("i")
    inside = d.random.choice(
        [
            f"{u} = tanh({a} |> dense(2)); {w} = sin({u} |> dense({a.shape[-1]}))",
            f"{u} = softmax(2 * {a}); {w} = {u} * tanh({a} + {u})",
            f"{u} = {a} |> dropout(0.2); {w} = sin({u}) * cos({u})",
        ]
    )
    if d.random.random() < 0.5:
        d.lines.append(f"checkpoint {{ {inside} }}")
    else:
        d.lines += [
            f"{w} = {a}",
            f"for {at} in 0..2 {{",
            f"    checkpoint {{ {w} = sin({w} |> dense({a.shape[-1]})) + 0.3 * {w} }}",
            "}",
        ]
    d.let(w, a.shape, a.bound + 2, (a,))


@construct
def chosen_now(d: Draft) -> None:
    """Numbers known when the file is compiled: one side of an `if` is kept, iterations have numbers of a list."""
    a = d.value()
    name, at = d.fresh("r"), d.fresh("i")
    d.lines += [
        f"if {d.random.randint(0, 1)} == 1 {{ {name} = 0.5 * {a} }} else {{ {name} = cos({a}) }}",
        f"for {at} in [1, 3] {{ {name} = sin({at} * {name}) + known_size(stack([{name}, {name}]), 0) / 4 }}",
    ]
    d.let(name, a.shape, 1.5, (a,))


@construct
def iterations_within_iterations(d: Draft) -> None:
    a = d.value(lambda v: v.rank == 3 and v.shape[:2] == ("batch", "time") and isinstance(v.shape[2], int) and v.named)
    t, i, h, g, y = (d.fresh(stem) for stem in "tihgy")
    n = a.shape[2]
    d.lines += [
        f"scan {t} over {d.random.choice(['time', 'reverse(time)'])} {{",
        f"    state {h}: float[batch, {n}] = 0",
        f"    scan {i} over 0..{d.random.randint(1, 3)} {{",
        f"        state {g}: float[batch, {n}] = {h}",
        f"        {g} <- sin({g} + {a}[:, {t}] + 0.1 * {i})",
        "    }",
        f"    {h} <- 0.5 * {h} + {g}",
        f"    {y}[:, {t}] = {h} * {a}[:, {t}]",
        "}",
    ]
    d.let(y, a.shape, 2 * a.bound, (a,))


@construct
def layers_in_iterations(d: Draft) -> None:
    """A layer and a draw in each iteration, and two tensors made of them."""
    a = d.value(lambda v: v.rank == 3 and v.shape[:2] == ("batch", "time") and isinstance(v.shape[2], int) and v.named)
    t, h, y, z = (d.fresh(stem) for stem in "thyz")
    n = a.shape[2]
    noise = d.random.choice(["0.1 * {h}", "0.1 * normal_like({h})", "0.5 * ({h} |> dropout(0.4))"]).format(h=h)
    start = d.random.choice(["0.1", f"sin({a}[:, 0] |> dense({n}))", f"0.3 * ({a}[:, 0] |> batch_norm(eps = 0.2))"])
    d.lines += [
        f"scan {t} over time {{",
        f"    state {h}: float[batch, {n}] = {start}",
        f"    {h} <- tanh(({h} |> dense({n}, bias = false)) + {a}[:, {t}] + {noise})",
        f"    {y}[:, {t}] = {h}",
        f"    {z}[:, {t}] = sin({h} * {a}[:, {t}])",
        "}",
    ]
    d.let(f"{y} - {z}", a.shape, 2.0, (a,), rows="batch_norm" not in start)


@construct
def recurrent_layer(d: Draft) -> None:
    a = d.value(lambda v: v.rank == 3 and v.shape[:2] == ("batch", "time") and isinstance(v.shape[2], int) and v.named)
    name, hidden = d.random.choice(["rnn", "lstm", "gru"]), d.random.randint(1, 3)
    back = d.random.choice(["", ", backward = true"])
    lengths = [v for v in d.values if v.dtype == "int" and v.shape == ("batch",)]
    flow = f", lengths = {d.random.choice(lengths)}" if lengths and d.random.random() < 0.4 else ""
    layer = d.fresh("cell")
    if d.random.random() < 0.3:
        y, h = d.fresh("y"), d.fresh("h")
        d.lines.append(f"{layer} = {name}({hidden}{back}, last = true)")
        cell = f", {d.fresh('c')}" if name == "lstm" else ""
        d.lines.append(f"{y}, {h}{cell} = {layer}({a}{flow}, start = broadcast_to(0.3, [batch, {hidden}]))")
        d.let(f"{y} - 0.5 * {h}[:, none]", (*a.shape[:2], hidden), 1.5, (a,))
        return
    d.lines.append(f"{layer} = {name}({hidden}{back})")
    d.let(f"{layer}({a}{flow})", (*a.shape[:2], hidden), 1.0, (a,))


@construct
def layers_of_recurrences(d: Draft) -> None:
    a = d.value(lambda v: v.rank == 3 and v.shape[:2] == ("batch", "time") and isinstance(v.shape[2], int) and v.named)
    text, width = d.random.choice(
        [
            ("bidirectional(gru, 2)", 4),
            ("stacked(rnn, 2, layers = 2)", 2),
            ("leaky_rnn(3, learned = true)", 3),
            ("leaky_rnn(2, backward = true)", 2),
            ("skip_rnn(2, skip = 2)", 2),
            ("echo_state(3)", 3),
        ]
    )
    d.let(f"{a} |> {text}", (*a.shape[:2], width), 1.0, (a,))


@construct
def recurrence_that_ends(d: Draft) -> None:
    """Each row for itself, or all at once."""
    a = d.value(lambda v: v.rank == 3 and v.shape[:2] == ("batch", "time") and isinstance(v.shape[2], int) and v.named)
    t, h, y = d.fresh("t"), d.fresh("h"), d.fresh("y")
    until = d.random.choice([f"{h}[:, 0] > 0.2", f"any({h} > 0.4)", f"{t} == 1", f"sum({h}, axis = 1) < 0"])
    d.lines += [
        f"scan {t} over {d.random.choice(['time', 'time', 'reverse(time)'])} until {until} {{",
        f"    state {h}: float[batch, {a.shape[2]}] = 0.1",
        f"    {h} <- tanh(0.7 * {h} + {a}[:, {t}])",
        f"    {y}[:, {t}] = {h}",
        "}",
    ]
    d.let(f"{y} + 0.5 * {h}[:, none]", a.shape, 1.5, (a,), rows="any" not in until)


@construct
def several_hops(d: Draft) -> None:
    a = d.value(lambda v: v.rank == 3 and v.shape[0] == "batch" and isinstance(v.shape[2], int) and v.named)
    q = d.value(lambda v: v.rank == 2 and v.shape[0] == "batch" and isinstance(v.shape[1], int) and v.named)
    # One may always be read: differences are of exp(x - logsumexp(x)), which 1e30 less than nothing is too much for.
    mask = d.random.choice(["", f", mask = {a}[:, :, 0] < 0.5 or arange(size({a}, 1)) == 0"])
    d.let(f"tanh(memory(hops = 2)({q}, {a}{mask}))", q.shape, 1.0, (a, q))


@construct
def spoken(d: Draft) -> None:
    a = d.value(lambda v: v.rank == 3 and v.shape[0] == "batch" and v.shape[2] in (2, 3, 4) and v.named)
    how = d.random.choice(["", ", drop = true"])
    text = f"ctc({a}, argmin({a}[:, :1, :-1], axis = -1), blank = {a.shape[2] - 1}{how})"
    name = d.fresh("cost")
    d.lines.append(f"{name} = {text}")
    d.let(f"{a} * tanh(where({name} < inf, {name}, 0))", a.shape, a.bound, (a,), rows=False)


@construct
def likeliest_texts(d: Draft) -> None:
    a = d.value(lambda v: v.rank == 2 and v.shape[0] == "batch" and isinstance(v.shape[1], int) and v.named)
    d.above["talking"] = (
        "layer talking()(word: int[batch, k], h: float[batch, k, n]) -> float[batch, k, 3], float[batch, k, n] {\n"
        "    return (h |> dense(3)) + word[:, :, none], tanh(h + 0.3)\n}"
    )
    text, score = d.fresh("text"), d.fresh("score")
    d.lines.append(f"{text}, {score} = beam_search(talking(), {a}, width = 2, longest = 3)")
    d.let(f"{a} * tanh(0.1 * {score}[:, :1])", a.shape, a.bound, (a,))


@construct
def library_layer(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 1 and isinstance(v.shape[-1], int))
    n, lead = a.shape[-1], a.shape[:-1]
    options = [
        (f"{a} |> mlp(3, 1, 2, activation = tanh) |> tanh", 2, 1.0),
        (f"tanh({a} |> spectral_norm(dense(2)))", 2, 1.0),
    ]
    if n % 2 == 0:
        options.append((f"maxout({a})", n // 2, a.bound))
    text, out, bound = d.random.choice(options)
    d.let(text, (*lead, out), bound, (a,))


@construct
def started(d: Draft) -> None:
    """A layer whose weights begin in each of the ways."""
    a = d.value(lambda v: v.rank > 0 and isinstance(v.shape[-1], int))
    weights = d.random.choice(
        [
            "zeros",
            "ones",
            "constant(0.4)",
            "glorot_uniform",
            "he_uniform",
            "he_normal",
            "lecun_normal",
            "lecun_uniform",
            "uniform(-0.5, 0.5)",
            "laplace(0, 0.3)",
            "identity(gain = 0.5)",
            "sparse(count = 1)",
            "spectral_radius(radius = 0.5)",
        ]
    )
    width = a.shape[-1] if "radius" in weights else 2
    d.let(f"{a} |> dense({width}, weights = {weights}) |> sin", (*a.shape[:-1], width), 1.0, (a,))


@construct
def wide_window(d: Draft) -> None:
    """Convolutions and pools with paddings, dilations, groups and strides."""
    a = d.value(
        lambda v: (
            v.rank in (3, 4)
            and v.shape[0] == "batch"
            and v.named
            and all(isinstance(size, int) for size in v.shape[1:])
        )
    )
    n, places = a.shape[1], a.shape[2:]
    same = [
        ("conv(2, kernel = 3, pad = 2, dilation = 2)", (2, *places)),
        ('conv(3, kernel = 3, pad = "same")', (3, *places)),
        (f"conv({2 * n}, kernel = 1, groups = {n}, bias = false)", (2 * n, *places)),
        (
            "conv(1, kernel = 2, pad = [[1, 0]], weights = he_normal)"
            if len(places) == 1
            else "conv(1, kernel = 2, pad = [[1, 0], [0, 1]])",
            (1, *places),
        ),
        ("max_pool(3, stride = 1, pad = 1)", (n, *places)),
        ("avg_pool(3, stride = 1, pad = 1)", (n, *places)),
        ("avg_pool(3, stride = 1, pad = 1, count_pad = false)", (n, *places)),
        ("conv(2, kernel = 3, stride = 2, pad = 1)", (2, *((s - 1) // 2 + 1 for s in places))),
        ("conv_transpose(2, kernel = 3, stride = 2, pad = 1, output_pad = 1)", (2, *(2 * s for s in places))),
        ("adaptive_avg_pool(2)", (n, *(2 for _ in places))),
    ]
    if len(set(places)) == 1 and places[0] % 2 == 0:
        same.append(("tiled_conv(2, kernel = 3, tile = 2, pad = 1)", (2, *places)))
    text, shape = d.random.choice(same)
    inside = "pool" in text
    d.let(f"{a} |> {text}" + ("" if inside else " |> tanh"), ("batch", *shape), a.bound if inside else 1.0, (a,))


@construct
def bare_window(d: Draft) -> None:
    """The primitive, with a kernel of one's own."""
    a = d.value(
        lambda v: (
            v.rank == 3 and v.shape[0] == "batch" and v.named and all(isinstance(size, int) for size in v.shape[1:])
        )
    )
    kernel, n = d.fresh("K"), a.shape[1]
    if d.random.random() < 0.5:
        d.lines.append(f"param {kernel}: float[2, {n}, 2] init he_uniform")
        d.let(f"tanh(convolve({a}, {kernel}, pad = [[1, 0]]))", ("batch", 2, a.shape[2]), 1.0, (a,))
    else:
        d.lines.append(f"param {kernel}: float[{n}, 2, 2] init uniform(-1, 1)")
        d.let(f"tanh(convolve_transpose({a}, {kernel}))", ("batch", 2, a.shape[2] + 1), 1.0, (a,))


@construct
def running_mean(d: Draft) -> None:
    """A state that moves in training and is read everywhere."""
    a = d.value(lambda v: v.rank == 2 and v.shape[0] == "batch" and isinstance(v.shape[1], int))
    name = d.fresh("seen")
    d.lines += [
        f"state {name}: float[{a.shape[1]}] = 0.1",
        f"if training {{ {name} <- 0.9 * {name} + 0.1 * mean({a}, axis = 0) }}",
    ]
    d.let(f"{a} - {name}", a.shape, 2 * a.bound + 1, (a,), rows=False)


@construct
def curvature(d: Draft) -> None:
    """Every second derivative, or every first one, of a few numbers."""
    a = d.value(lambda v: v.rank < 3 and all(isinstance(size, int) for size in v.shape))
    u = d.fresh("u")
    if d.random.random() < 0.5:
        d.let(
            f"hessian(sum(tanh({a})) * sum({a}^2) / 8, {a})",
            (*a.shape, *a.shape),
            a.bound**2 * 4 + 4,
            (a,),
            named=False,
        )
    else:
        d.lines.append(f"{u} = sin({a}) * sum({a})")
        d.let(f"jacobian({u}, {a})", (*a.shape, *a.shape), 8 * a.bound, (a,), named=False)


@construct
def score(d: Draft) -> None:
    a = d.value()
    b = d.value(lambda v: v.shape == a.shape)
    text, bound = d.random.choice(
        [
            ("squared({a}, {b})", 64),
            ("absolute({a}, {b})", 8),
            ("huber({a}, {b}, delta = 0.7)", 8),
            ("hinge({a}, sign({b}))", 5),
            ("binary_cross_entropy({a}, sigmoid({b}))", 9),
        ]
    )
    d.let(text.format(a=a, b=b), (), bound, (a, b), rows="batch" not in a.shape)


@construct
def divergence(d: Draft) -> None:
    a = d.value()
    b = d.value(lambda v: v.shape == a.shape)
    p, q = d.fresh("p"), d.fresh("q")
    d.lines += [f"{p} = normal({a}, 0.5 + {b}^2)", f"{q} = normal(0.2, 1.5)"]
    text, bound = d.random.choice(
        [
            (f"kl_normal({p}, {q}) + {p}.mean", 80.0),
            (f"log_density(uniform(-6, 6), {a}) * {b}", 12.0),
            (f"log_density(poisson(0.3 + {b}^2), abs({a}))", 60.0),
        ]
    )
    d.let(text, a.shape, bound, (a, b))
