"""Numbers and tensors that have changed places in calls of the library: a way out, unless a reason stands here."""

from __future__ import annotations

from itertools import product

import dlc
import pytest
from dlc import Error
from dlc.elaborate.library import standard_folder
from dlc.syntax import tree as syntax
from dlc.syntax.parser import parse, read_source

FUNCTIONS = {
    declaration.name: declaration
    for path in sorted(standard_folder().glob("*.dl"))
    for declaration in parse(read_source(path)).declarations
    if isinstance(declaration, syntax.Fn)
}
# Element by element, or a mean or sum of that: operands broadcast, and a number is one of them.
BROADCASTS = [
    "moving_mean",
    "pinball",
    "precision",
    "recall",
    "f1",
    "matthews",
    "rmse",
    "mape",
    "weighted_mean",
    "relu",
    "leaky_relu",
    "elu",
    "gelu",
    "silu",
    "softplus",
    "log_sigmoid",
    "poisson_log",
    "log_beta",
    "log_choose",
    "normal_cdf",
    "normal_quantile",
    "normal_between",
    "erf_inv",
    "log_bessel0",
    "round_through",
    "sign_through",
    "log_gamma",
    "stirling_rest",
    "zeros",
    "ones",
    "square",
    "reciprocal",
    "rsqrt",
    "power",
    "exp2",
    "log2",
    "log10",
    "remainder",
    "trunc",
    "logaddexp",
    "xlogy",
    "log1pmx",
    "sinc",
    "is_inf",
    "clamp",
    "abs_power",
    "signed_power",
    "squared",
    "absolute",
    "huber",
    "dot",
    "lerp",
]
MATRICES = [
    "softmax",
    "log_softmax",
    "trace",
    "diagonal",
    "diag",
    "swap",
    "cholesky",
    "log_determinant",
    "log_abs_determinant",
    "determinant",
    "inverse",
    "pivots",
    "maxout",
    "fan_in",
    "fan_out",
    "glorot_uniform",
    "glorot_normal",
    "he_uniform",
    "he_normal",
    "global_avg_pool",
    "global_max_pool",
]
# What else compiles, n for a number and x for a matrix. The norm, root and variance of one number are defined.
RIGHT = {
    "logistic_loss": ["xx", "nx"],
    "triplet": ["nxx", "xnn", "xnx", "xxn", "xxx", "nxxn", "xnnn", "xnxn", "xxnn", "xxxn"],
    "global_norm": ["xn"],
    "each_norm": ["xn"],
    "each_value": ["xn"],
    "cosine_embedding": ["xxx", "xxxn"],
    "contrastive": ["xxx", "xxxn"],
    "info_nce": ["xx", "xxn"],
    "activity": ["xn"],
    "anchored": ["xnn", "xxn"],
    "identity": ["x", "xn"],
    "sparse": ["x"],
    "spectral_radius": ["x", "xn"],
    "gamma_like": ["x"],
    "to_rank": ["xx"],
    "whole_like": ["xn", "xx"],
    "factor_like": ["xn", "xx"],
    "each_row": ["x", "n"],
    "von_mises_like": ["x"],
    "poisson_like": ["x"],
    "to_int": ["x"],
    "r2": ["nn", "nx", "xn", "xx", "nnn", "nxn", "xnn", "xxn"],
    "rotary": ["x", "xn"],
    "sinusoidal_positions": ["x", "xn"],
    "reverse_gradient": ["x", "xn"],
    "clip_gradient": ["x", "xn"],
    "constant": ["xn"],
    "l1": ["xn"],
    "l2": ["xn"],
    "orthogonal": ["x", "xn"],
    "polar_step": ["xnnn"],
    "norm": ["x", "xn", "n", "nn"],
    "root": ["x", "xn", "n", "nn"],
    "normalize": ["x", "xn"],
    "var": ["x", "n"],
    "std": ["x", "n"],
    "binary_cross_entropy": ["xx", "nx"],
    "hinge": ["xx", "nx"],
    "outer": ["xx"],
    "triangular_solve": ["xx"],
    "cholesky_solve": ["xx"],
    "linear_solve": ["xx"],
    "eliminate": ["xx"],
    "gauss_jordan": ["xx"],
    "irfft": ["xx"],
    **{name: ["x"] for name in MATRICES},
}
TEXT = {"n": "2.5", "x": "x"}


def problem(call: str) -> str | None:
    """None for a call that compiles; else its message."""
    text = f"model m {{\n input x: float[4, 4]\n o = {call}\n output f = o\n}}\n"
    try:
        dlc.compile(text)
    except Error as refused:
        first = refused.diagnostics[0]
        assert first.code.startswith(("E02", "E03", "E04", "E06")), (call, first.code, first.message)
        assert first.help, (call, first.code, first.message)
        return first.message
    return None


def plain(function: syntax.Fn, kinds: str) -> bool:
    """Whether numbers stand only where one is declared or a default, tensors only elsewhere; or one number is all."""
    number = any(type.dims is None for type in function.returns or ())
    single = [
        number or p.default is not None or (p.type is not None and p.type.dims is None) for p in function.configuration
    ]
    return kinds == "n" or all((kind == "n") == one for kind, one in zip(kinds, single, strict=False))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_places(name: str) -> None:
    parameters = FUNCTIONS[name].configuration
    least = sum(parameter.default is None for parameter in parameters)
    for count in range(least, min(len(parameters), 4) + 1):
        for kinds in map("".join, product("nx", repeat=count)):
            refused = problem(f"{name}({', '.join(TEXT[kind] for kind in kinds)})")
            if name in BROADCASTS or name in RIGHT:
                assert (refused is None) == (name in BROADCASTS or kinds in RIGHT[name]), (name, kinds, refused)
            else:
                assert refused or plain(FUNCTIONS[name], kinds), f"{name} of {kinds} compiles: is there a reason?"


SINGLE = sorted(
    (name, parameter.name)
    for name, function in FUNCTIONS.items()
    for parameter in function.configuration
    if parameter.default is not None and name not in BROADCASTS and name in RIGHT
)


@pytest.mark.parametrize(("name", "argument"), SINGLE)
def test_a_tensor_for_one_number(name: str, argument: str) -> None:
    """By its name, where other arguments are right."""
    given = [TEXT[kind] for kind in RIGHT[name][0]]
    assert problem(f"{name}({', '.join(given)}, {argument} = x)") is not None


NUMBERS = sorted(
    (name, parameter.name)
    for name, function in FUNCTIONS.items()
    for parameter in function.configuration
    if function.returns is not None and function.returns[0].dims is None
)


@pytest.mark.parametrize(("name", "argument"), [*NUMBERS, ("constant", "value")])
def test_a_tensor_for_the_number_of_a_schedule(name: str, argument: str) -> None:
    """At the argument, with the arguments in their order."""
    parameters = FUNCTIONS[name].configuration
    given = {p.name: "2.5" if p.name != "w" else "x" for p in parameters if p.default is None} | {argument: "x"}
    call = f"{name}({', '.join(f'{key} = {value}' for key, value in given.items())})"
    with pytest.raises(Error) as refused:
        dlc.compile(f"model m {{ input x: float[4, 4]\n o = x * {call}\n output f = o }}")
    assert len(NUMBERS) > 20 and refused.value.code == "E0322"
    assert f"are, in this order, `{name}({parameters[0].name}, " in f"{refused.value.help}, ".replace(")`", ", ")
    assert refused.value.diagnostics[0].labels[0].span.text in (f"{argument} = x", "x")


@pytest.mark.parametrize(
    "call", ["cross_entropy(z, y, smoothing = 0.1)", "huber(x, t, delta = 0.5)", "triplet(x, z, z, margin = 0.5)"]
)
def test_shapes_that_do_not_meet_are_no_confusion(call: str) -> None:
    """Numbers in their places: the order of the arguments is not at fault."""
    with pytest.raises(Error) as refused:
        dlc.compile(
            "model m { input x: float[batch, 4]; input z: float[batch, 3]; input t: float[5]; input y: int[7]\n"
            f" output f = {call} }}"
        )
    assert refused.value.code in ("E0310", "E0343") and "order" not in str(refused.value.help)


@pytest.mark.parametrize(
    "line",
    [
        "penalty: l1(1e-3 * 0.9^step) on *",
        "penalty: l2(cosine(1e-3, over = steps)) on *",
        "clip: global_norm(1 / step)",
        "clip: each_norm(cosine(1, over = steps // 2))",
        "clip: each_value(0.5 + 1 / step)",
    ],
)
def test_numbers_that_change_with_the_update(line: str) -> None:
    """What depends on `step` is one number, though it is not known before the file runs."""
    dlc.compile(
        "model m {\n input x: float[batch, 4]\n target y: float[batch]\n param w: float[4]\n"
        " loss l = squared(x @ w, y)\n output o = x @ w\n}\n"
        f"train {{\n minimize l using sgd(cyclic(0.1 / step, 0.3, steps / 4))\n steps: 100\n {line}\n}}\n"
    )


def test_a_number_for_what_is_filled() -> None:
    """`init orthogonal(2)` shows the form that compiles."""
    text = "model m {{ input x: float[4]; param w: float[4, 4] init {}; o = x @ w; output f = o }}"
    with pytest.raises(Error) as refused:
        dlc.compile(text.format("orthogonal(2)"))
    assert "`orthogonal(gain = 2)` waits for `w`" in (refused.value.diagnostics[0].help or "")
    dlc.compile(text.format("orthogonal(gain = 2)"))


def test_truth_values_known_now() -> None:
    """`xor` of two of them decides an `if` of the compiler."""
    assert problem("x @ transpose(x) if xor(true, false) else x.nothing") is None
    assert problem("sum(xor(x > 0, true))") is None
