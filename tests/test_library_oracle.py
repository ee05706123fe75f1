"""The functions of the library and their gradients against PyTorch in float64, on the samples of test_library.py."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from library_cases import CASES
from library_sweep import SAMPLES, Case, close, sampled

torch = pytest.importorskip("torch")
functional = torch.nn.functional
pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore:.*degrees of freedom")]


def together(function: Any) -> Any:
    """PyTorch's losses ask for operands of one shape."""
    return lambda **values: function(*torch.broadcast_tensors(*values.values()))


def gram(x: Any) -> Any:
    return x.mT @ x + 3 * torch.eye(x.shape[-1], dtype=x.dtype)


def moments(x: Any, axis: int, keepdim: bool = False) -> Any:
    v, m = torch.var_mean(x, axis, correction=0, keepdim=keepdim)
    return m, v


def distribution(name: str, *arguments: Any, **named: Any) -> Any:
    return getattr(torch.distributions, name)(*arguments, **named, validate_args=False)


def clipped_behind(x: Any) -> Any:
    y = x.clone()
    y.register_hook(lambda g: g.clamp(-0.4, 0.4))
    return y


def straight(value: Any, through: Any) -> Any:
    """The idiom for a value with the derivative of another."""
    return through + (value - through).detach()


def by_rank(name: str) -> Any:
    return lambda x, *others, **how: getattr(functional, f"{name}{x.ndim - 2}d")(x, *others, **how)


def spectral(x: Any, W: Any, b: Any, u: Any) -> Any:
    v = functional.normalize(W @ u, dim=0).detach()
    s = functional.normalize(v @ W, dim=0).detach()
    return x @ (W / (v @ W @ s)) + b


def recurrent(layer: str) -> Any:
    """A module of PyTorch, whose weights are transposed; its GRU has the gates reset and update the other way round."""

    def run(x: Any, W: Any, U: Any, b: Any) -> Any:
        def theirs(w: Any) -> Any:
            if layer != "gru":
                return w.mT if w.ndim > 1 else w
            update, reset, candidate = w.chunk(3, -1)
            w = torch.cat([reset, update, candidate], -1)
            return w.mT if w.ndim > 1 else w

        made = getattr(torch.nn, layer.upper())(W.shape[0], U.shape[0], batch_first=True).double()
        weights = {
            "weight_ih_l0": theirs(W),
            "weight_hh_l0": theirs(U),
            "bias_ih_l0": theirs(b),
            "bias_hh_l0": torch.zeros_like(b),
        }
        return torch.func.functional_call(made, weights, (x,))[0]

    return run


def backward_with_lengths(layer: str) -> Any:
    """Each row by itself, from its own end."""

    def run(x: Any, k: Any, W: Any, U: Any, b: Any) -> Any:
        rows = []
        for row, last in zip(x, k.tolist(), strict=True):
            y = recurrent(layer)(row[: last + 1].flip(0)[None], W, U, b)[0].flip(0)
            rows.append(functional.pad(y, (0, 0, 0, len(row) - last - 1)))
        return torch.stack(rows) if rows else x.new_zeros((0, x.shape[1], U.shape[0]))

    return run


TORCH: dict[str, Any] = {
    "relu": lambda x: functional.relu(x),
    "leaky_relu": lambda x: functional.leaky_relu(x, 0.2),
    "leaky_relu of a slope": lambda x, y: torch.where(x > 0, x, y * x),
    "elu": lambda x: functional.elu(x, 1.5),
    "gelu": functional.gelu,
    "silu": lambda x: functional.silu(x),
    "softplus": lambda x: functional.softplus(x, threshold=50),
    "log_sigmoid": functional.logsigmoid,
    "softmax": lambda x: torch.softmax(x, -1),
    "softmax along 0": lambda x: torch.softmax(x, 0),
    "log_softmax": lambda x: torch.log_softmax(x, -1),
    "clamp": lambda x: torch.clamp(x, -0.5, 0.8),
    "clamp within tensors": lambda x, y, s: torch.clamp(*torch.broadcast_tensors(x, y, y + s**2 + 0.1)),
    "dot": together(lambda x, y: torch.dot(x.reshape(-1), y.reshape(-1))),
    "norm": torch.linalg.vector_norm,
    "norm of rows": lambda x: torch.linalg.vector_norm(x, dim=-1),
    "norm of order 3": lambda x: torch.linalg.vector_norm(x, 3, dim=0),
    "norm of order 1": lambda x: torch.linalg.vector_norm(x, 1),
    "norm of order inf": lambda x: torch.linalg.vector_norm(x, torch.inf, dim=-1),
    "norm of order -inf": lambda x: torch.linalg.vector_norm(x, -torch.inf, dim=-1),
    "norm of order 0": lambda x: torch.linalg.vector_norm(torch.relu(x), 0),
    "normalize": lambda x: functional.normalize(x, dim=-1),
    "moments": lambda x: (lambda m, v: m + 2 * v)(*moments(x, 0)),
    "moments of rows": lambda x: (lambda m, v: m * v * torch.ones_like(x))(*moments(x, -1, True)),
    "log_gamma": lambda x: torch.lgamma(torch.exp(x)),
    "var": lambda x: torch.var(x, 0, correction=1),
    "var of all": lambda x: torch.var(x, correction=0),
    "std": lambda x: torch.std(x, correction=0),
    "abs_power": lambda x: torch.abs(x) ** 2.5,
    "signed_power": lambda x: torch.sign(x) * torch.abs(x) ** 1.5,
    "root": lambda x: torch.sqrt(1 + x**2),
    "root of order 3": lambda x: torch.pow(1 + x**2, 1 / 3),
    "square": torch.square,
    "reciprocal": lambda x: torch.reciprocal(3 + x**2),
    "rsqrt": lambda x: torch.rsqrt(3 + x**2),
    "power": lambda x, y: torch.pow(3 + x**2, y),
    "exp2": torch.exp2,
    "log2": lambda x: torch.log2(3 + x**2),
    "log10": lambda x: torch.log10(3 + x**2),
    "remainder": lambda x: x * torch.remainder(x, 2),
    "remainder of two": lambda x, y: torch.remainder(x, 1 + y**2),
    "trunc": lambda x: x * torch.trunc(x),
    "logaddexp": lambda x, y: torch.logaddexp(x, y),
    "sinc": torch.sinc,
    "xlogy": lambda x, y: torch.xlogy(x, 3 + y**2),
    "sinc near 0": lambda x: torch.sinc(x / 100),
    "is_inf": lambda x: torch.isinf(x / torch.where(x > 0, 1.0, 0.0)).double(),
    "xor": lambda x, y: torch.logical_xor(x > 0, y > 0).double(),
    "round_through": lambda x: straight(torch.round(x), x),
    "sign_through": lambda x: straight(torch.sign(x), functional.hardtanh(x)),
    "reverse_gradient": lambda x: straight(x, -0.7 * x),
    "clip_gradient": clipped_behind,
    "outer": lambda x, y: torch.einsum("...i,...j->...ij", x, y),
    "trace": lambda x: torch.einsum("...ii->...", x),
    "diagonal": lambda x: torch.diagonal(x, dim1=-2, dim2=-1),
    "diag": torch.diag_embed,
    "swap": lambda x: x.mT,
    "cholesky": lambda x: torch.linalg.cholesky(gram(x)),
    "triangular_solve": lambda x, y: torch.linalg.solve_triangular(gram(x), y.mT, upper=True),
    "triangular_solve downwards": lambda x, y: torch.linalg.solve_triangular(gram(x), y.mT, upper=False),
    "cholesky_solve": lambda x, y: torch.cholesky_solve(y.mT, torch.linalg.cholesky(gram(x))),
    "rfft": lambda x: torch.fft.rfft(x).real + 2 * torch.fft.rfft(x).imag,
    "irfft": lambda x, y: torch.fft.irfft(torch.complex(x, y)),
    "irfft of an odd number": lambda x, y: torch.fft.irfft(torch.complex(x, y), 2 * x.shape[-1] - 1),
    "linear_solve": lambda x, y: torch.linalg.solve(gram(x).flip(-2), y.mT),
    "inverse": lambda x: torch.linalg.inv(gram(x).flip(-2)),
    "determinant": lambda x: torch.linalg.det(gram(x).flip(-2)),
    "log_abs_determinant": lambda x: torch.linalg.slogdet(gram(x).flip(-2)).logabsdet,
    "log_determinant": lambda x: torch.logdet(gram(x)),
    "squared": together(functional.mse_loss),
    "absolute": together(functional.l1_loss),
    "huber": together(lambda p, y: functional.huber_loss(p, y, delta=0.7)),
    "cross_entropy": lambda x, k: functional.cross_entropy(x.reshape(k.numel(), x.shape[-1]), k.reshape(-1)),
    "cross_entropy of smoothed labels": lambda x, k: functional.cross_entropy(
        x.reshape(k.numel(), x.shape[-1]), k.reshape(-1), label_smoothing=0.3
    ),
    "binary_cross_entropy": together(lambda x, y: functional.binary_cross_entropy_with_logits(x, torch.sigmoid(y))),
    "normal": lambda p, s, y: distribution("Normal", p, 0.5 + s**2).log_prob(y),
    "laplace": lambda p, s, y: distribution("Laplace", p, 0.5 + s**2).log_prob(y),
    "half_normal": lambda s, y: distribution("HalfNormal", 0.5 + s**2).log_prob(y**2),
    "half_cauchy": lambda s, y: distribution("HalfCauchy", 0.5 + s**2).log_prob(y**2),
    "uniform": lambda p, s, y: torch.exp(distribution("Uniform", p, p + 1 + s**2).log_prob(y)),
    "bernoulli": lambda x, t: distribution("Bernoulli", logits=x).log_prob(t.double()),
    "categorical": lambda x, k: distribution("Categorical", logits=x).log_prob(k),
    "poisson": lambda x, t: distribution("Poisson", torch.exp(x)).log_prob(t.double()),
    "poisson_log": lambda x, t: distribution("Poisson", torch.exp(x)).log_prob(t.double()),
    "kl_normal": lambda p, s, y: torch.distributions.kl_divergence(
        distribution("Normal", p, 0.5 + s**2), distribution("Normal", y, 0.7)
    ),
    "l1": lambda x, y: y * functional.l1_loss(x, torch.zeros_like(x), reduction="sum"),
    "l2": lambda x: 0.3 * functional.mse_loss(x, torch.zeros_like(x), reduction="sum"),
    "each_value": lambda x: torch.clamp(x, -0.7, 0.7),
    "zeros": lambda x: x + torch.zeros_like(x),
    "ones": lambda x: x * torch.ones_like(x),
    "constant": lambda x, y: torch.ones_like(x) * y * x,
    "dense": lambda x, W, b: functional.linear(x, W.mT, b),
    "embedding": lambda k, x, table: functional.embedding(k, table) * x,
    "mlp": lambda x, **f: functional.linear(
        torch.tanh(functional.linear(x, f["inner[0].W"].mT, f["inner[0].b"])), f["last.W"].mT, f["last.b"]
    ),
    "layer_norm": lambda x, scale, shift: functional.layer_norm(x, x.shape[-1:], scale, shift, 0.1),
    "group_norm": lambda x, scale, shift: functional.group_norm(x, 2, scale, shift, 0.1),
    "batch_norm in training": lambda x, scale, shift, **seen: torch.native_batch_norm(
        x, scale, shift, None, None, True, 0.0, 0.1
    )[0],  # batch_norm itself refuses one row
    "batch_norm": lambda x, scale, shift, seen_mean, seen_var: functional.batch_norm(
        x, seen_mean, seen_var, scale, shift
    ),
    "spectral_norm": spectral,
    "dropout": lambda x: functional.dropout(x, 0.4, training=False),
    "conv": lambda x, W, b: by_rank("conv")(x, W, b),
    "conv with strides": lambda x, W: by_rank("conv")(x, W, stride=2, padding=1),
    "conv with holes and groups": lambda x, W: by_rank("conv")(x, W, padding=1, dilation=2, groups=2),
    "conv_transpose": lambda x, W, b: by_rank("conv_transpose")(x, W, b, stride=2, padding=1, output_padding=1),
    "global_avg_pool": lambda x: torch.mean(x, tuple(range(2, x.ndim))),
    "global_max_pool": lambda x: torch.amax(x, tuple(range(2, x.ndim))),
    "adaptive_avg_pool": lambda x: by_rank("adaptive_avg_pool")(x, 2),
    **{name: recurrent(name) for name in ("rnn", "lstm", "gru")},
    **{f"{name} backward with lengths": backward_with_lengths(name) for name in ("rnn", "lstm", "gru")},
}
LACKING = {
    **dict.fromkeys(("log1pmx", "stirling_rest"), "PyTorch has none; by 30 digits in test_library.py"),
    **dict.fromkeys(
        ("constant_rate", "step_decay", "exponential_decay", "cosine", "cyclic"),
        "PyTorch's schedules are objects that set a number in an optimizer: no function of the peak",
    ),
    **dict.fromkeys(("global_norm", "each_norm"), "PyTorch's clip adds 1e-6 to the length and changes .grad in place"),
    **dict.fromkeys(("fan_in", "fan_out"), "PyTorch's are of W: [out, in], and not public"),
    **dict.fromkeys(
        ("tiled_conv", "tiled_conv over pictures"),
        "PyTorch has none; test_convolution.py puts it together from its convolutions",
    ),
    "accuracy": "PyTorch has no scores",
    "hinge": "PyTorch has the loss for distances and for classes, not this one",
    "polar_step": "PyTorch has no step of Newton and Schulz",
    "gate_bias": "PyTorch has no such start",
}
for of_case, form in ((name, case.torch) for name, case in CASES.items() if case.torch):
    if isinstance(form, str):
        LACKING[of_case] = form
    else:
        TORCH[of_case] = partial(form, torch)
NEVER_EMPTY = ("adaptive_avg_pool", "rfft", "irfft", "irfft of an odd number")  # which PyTorch then refuses


def test_every_case_is_compared_or_has_a_reason():
    assert sorted([*TORCH, *LACKING]) == sorted(CASES)


@pytest.mark.parametrize("name", TORCH)
def test_values_and_gradients_are_those_of_torch(name):
    case, compared = CASES[name], 0
    for spec, values in sampled(name, case, "float64", count=2 * SAMPLES, orders=0 if case.flat else 1):
        if name in NEVER_EMPTY and not all(np.size(value) for value in values.values()):
            continue
        found, (theirs, slopes) = spec(values), of_torch(name, case, values)
        assert close(found["value"], theirs, 1e-10)
        for output, slope in slopes.items():
            assert close(found[output], slope, 1e-10), output
        compared += 1
        if compared == SAMPLES:
            return
    pytest.fail(f"{compared} samples were compared")


def of_torch(name: str, case: Case, values: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The value, and the derivative of its sum with the weight by each that has one."""
    leaves = {path: torch.tensor(value, requires_grad=path in case.by.values()) for path, value in values.items()}
    y = TORCH[name](**case.arguments(leaves))
    if case.flat or not torch.isfinite(y).all():
        return y.detach().numpy(), {}
    if y.requires_grad:
        (leaves["weight"] * y).sum().backward()
    return y.detach().numpy(), {
        f"first_{output}": np.zeros(values[path].shape) if leaves[path].grad is None else leaves[path].grad.numpy()
        for output, path in case.by.items()
    }
