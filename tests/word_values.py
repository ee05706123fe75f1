"""What the forms of tests/word_forms.py are worth in other libraries: of tensors `o.x`, `o.a`, ... and of `o.torch`, `o.F`
(torch.nn.functional), `o.np`, `o.scipy`, `o.sklearn`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Of = Callable[[Any], Any]


def unit(function: Of) -> tuple[str, Of]:
    """Compared with x between 0.1 and 0.9."""
    return "unit", function


def above(function: Of) -> tuple[str, Of]:
    """Compared with x above 1.1."""
    return "above", function


def density(name: str, of: str = "x", **given: Any) -> Of:
    """The logarithm of a density of torch.distributions."""
    return lambda o: getattr(o.torch.distributions, name)(
        **{key: value(o) if callable(value) else o.torch.as_tensor(float(value)) for key, value in given.items()}
    ).log_prob(getattr(o, of))


def squares(o: Any) -> Any:
    return (o.prediction - o.t) ** 2


# Of what is drawn or learned there is no one value: its parts are compared in test_library.py, and the layers with
# PyTorch's in test_library_oracle.py.
UNLIKE = {
    "_like(x": "a draw",
    "_like(logits)": "a draw",
    "dropout(": "a draw",
    "draw(": "a draw",
    "permutation(": "a draw",
    "dense(": "learned",
    "conv(": "learned",
    "conv_transpose(": "learned",
    "embedding(": "learned",
    "attention(": "learned",
    "_block(": "learned",
    "_positions": "learned, or a choice of the paper's",
    "rotary(": "a choice of the paper's",
    "gaussian_noise(": "a draw",
    "random_": "a draw",
    "jitter(": "a draw",
    "cutout(": "a draw",
    "cutmix(": "a draw",
    "mixup(": "a draw",
    "dropconnect(": "a draw",
    "stochastic_depth(": "a draw",
    "bilinear(": "learned",
    "squeeze_excitation(": "learned",
    "lstm(": "learned",
    "gru(": "learned",
    "rnn(": "learned",
    "bidirectional(": "learned",
    "stacked(": "learned",
    "memory(": "learned",
    "echo_state(": "a draw",
    "batch_norm()": "a layer by its name",
    "joint(": "what one observation is",
    "step_decay(": "a schedule, below",
}

# ruff: noqa: E501  one line for each meaning
# fmt: off
VALUES: dict[str, Of | tuple[str, Of]] = {
    # activations
    "relu(x)": lambda o: o.F.relu(o.x),
    "gelu(x)": lambda o: o.F.gelu(o.x),
    "elu(x)": lambda o: o.F.elu(o.x),
    "softplus(x)": lambda o: o.F.softplus(o.x),
    "sigmoid(x)": lambda o: o.scipy.special.expit(o.np(o.x)),
    "tanh(x)": lambda o: o.torch.tanh(o.x),
    "softmax(x)": lambda o: o.F.softmax(o.x, -1),
    "silu(x)": lambda o: o.F.silu(o.x),
    "leaky_relu(x, slope = 0.01)": lambda o: o.F.leaky_relu(o.x),
    "leaky_relu(x, slope = 11 / 48)": lambda o: o.F.rrelu(o.x, training=False),
    "0.5 * x * (1 + tanh(0.7978845608 * (x + 0.044715 * x^3)))": lambda o: o.F.gelu(o.x, approximate="tanh"),
    "hard_swish(x)": lambda o: o.F.hardswish(o.x),
    "hard_tanh(x)": lambda o: o.F.hardtanh(o.x),
    "hard_sigmoid(x)": lambda o: o.F.hardsigmoid(o.x),
    "clamp(x, 0, 6)": lambda o: o.F.relu6(o.x),
    "swiglu(x)": lambda o: o.F.silu(o.x[:, :2]) * o.x[:, 2:],
    "gelu(a) * b": lambda o: o.F.gelu(o.x[:, :2]) * o.x[:, 2:],
    "relu(a) * b": lambda o: o.F.relu(o.x[:, :2]) * o.x[:, 2:],
    "mish(x)": lambda o: o.F.mish(o.x),
    "softsign(x)": lambda o: o.F.softsign(o.x),
    "glu(x)": lambda o: o.F.glu(o.x),
    "selu(x)": lambda o: o.F.selu(o.x),
    "h |> prelu()": lambda o: o.F.prelu(o.h, o.torch.full((4,), 0.25, dtype=o.h.dtype)),
    "h |> prelu(shared = true)": lambda o: o.F.prelu(o.h, o.torch.full((1,), 0.25, dtype=o.h.dtype)),
    "1.5 * elu(x / 1.5)": lambda o: o.F.celu(o.x, 1.5),
    "softmax(-x)": lambda o: o.F.softmin(o.x, -1),
    "log_softmax(x)": lambda o: o.F.log_softmax(o.x, -1),
    "log_sigmoid(x)": lambda o: o.F.logsigmoid(o.x),
    "where(x > 0.5, x, 0)": lambda o: o.F.threshold(o.x, 0.5, 0.0),
    "where(abs(x) > 0.5, x, 0)": lambda o: o.F.hardshrink(o.x),
    "sign(x) * maximum(abs(x) - 0.5, 0)": lambda o: o.F.softshrink(o.x),
    "x - tanh(x)": lambda o: o.F.tanhshrink(o.x),
    "log(-expm1(-x))": unit(lambda o: o.torch.log(1 - o.torch.exp(-o.x))),
    "log(-expm1(x))": ("below", lambda o: o.torch.log(1 - o.torch.exp(o.x))),
    "log(p) - log(1 - p)": lambda o: o.torch.logit(o.p),
    "ctc(w, where(y > 0, y, 1)[:, none], blank = 0)": lambda o: o.F.ctc_loss(
        o.F.log_softmax(o.w, -1).transpose(0, 1), o.torch.where(o.y > 0, o.y, 1)[:, None],
        o.torch.full((len(o.w),), 4), o.torch.ones(len(o.w), dtype=o.torch.int64), reduction="none").mean(),
    # layers, as they start
    "x |> rms_norm()": lambda o: o.F.rms_norm(o.x, (4,), eps=1e-6),
    "x |> layer_norm()": lambda o: o.F.layer_norm(o.x, (4,)),
    "h |> batch_norm()": lambda o: o.F.batch_norm(o.h, o.torch.zeros(4).double(), o.torch.ones(4).double()),
    "h |> instance_norm()": lambda o: o.F.instance_norm(o.h),
    "h |> group_norm(groups = 2)": lambda o: o.F.group_norm(o.h, 2),
    "(x - m) / sqrt(v)": lambda o: o.sklearn.preprocessing.StandardScaler().fit_transform(o.np(o.x)),
    "normalize(x)": lambda o: o.F.normalize(o.x),
    "softmax(q @ swap(k) / sqrt(size(q, -1)), axis = -1) @ v": lambda o: o.F.scaled_dot_product_attention(o.q, o.k, o.v),
    "repeat(repeat(h, 2, axis = 2), 2, axis = 3)": lambda o: o.F.interpolate(o.h, scale_factor=2),
    "adaptive_avg_pool(h, out = 4)": lambda o: o.F.interpolate(o.h, 4, mode="area"),
    "adaptive_avg_pool(h, out = 1)": lambda o: o.F.adaptive_avg_pool2d(o.h, 1),
    "convolve(h, K)": lambda o: o.F.conv2d(o.h, o.K),
    'rearrange(h, "b (c r s) i j -> b c (i r) (j s)", r = 2, s = 2)': lambda o: o.F.pixel_shuffle(o.h, 2),
    'rearrange(h, "b c (i r) (j s) -> b (c r s) i j", r = 2, s = 2)': lambda o: o.F.pixel_unshuffle(o.h, 2),
    'rearrange(h, "b (r s c) i j -> b c (i r) (j s)", r = 2, s = 2)': lambda o: o.onnx("DepthToSpace", o.h, blocksize=2),
    'rearrange(h, "b c (i r) (j s) -> b (r s c) i j", r = 2, s = 2)': lambda o: o.onnx("SpaceToDepth", o.h, blocksize=2),
    'rearrange(h, "b (g c) i j -> b (c g) i j", g = 2)': lambda o: o.torch.nn.ChannelShuffle(2)(o.h),
    "max_pool(h, 2)": lambda o: o.F.max_pool2d(o.h, 2),
    "max_pool(h, 3, stride = 2, pad = 1)": lambda o: o.F.max_pool2d(o.h, 3, 2, 1),
    "avg_pool(h, 2)": lambda o: o.F.avg_pool2d(o.h, 2),
    "(4 * avg_pool(h^2, 2))^0.5": lambda o: o.F.lp_pool2d(o.h, 2.0, 2),
    "global_max_pool(h)": lambda o: o.F.adaptive_max_pool2d(o.h, 1)[:, :, 0, 0],
    "global_avg_pool(h)": lambda o: o.F.adaptive_avg_pool2d(o.h, 1)[:, :, 0, 0],
    "pad(h, 1, axis = [2, 3])": lambda o: o.torch.nn.ZeroPad2d(1)(o.h),
    'pad(h, 1, axis = [2, 3], mode = "reflect")': lambda o: o.torch.nn.ReflectionPad2d(1)(o.h),
    'pad(h, 1, axis = [2, 3], mode = "edge")': lambda o: o.torch.nn.ReplicationPad2d(1)(o.h),
    'pad(h, 1, axis = [2, 3], mode = "wrap")': lambda o: o.torch.nn.CircularPad2d(1)(o.h),
    "h[:, :, 1:-1, 1:-1]": lambda o: o.F.pad(o.h, (-1, -1, -1, -1)),
    "broadcast_to(x[:, none, :], [batch, 3, 4])": lambda o: o.x[:, None].expand(-1, 3, -1),
    # shapes and indices
    "size(x, 0)": lambda o: len(o.x),
    "size(x)": lambda o: o.torch.numel(o.x),
    "rank(x)": lambda o: o.numpy.ndim(o.x),
    "arange(n)": lambda o: o.torch.arange(4),
    'rearrange(h, "b c i j -> b (c i j)")': lambda o: o.torch.flatten(o.h, 1),
    "reshape(h, [batch, 144])": lambda o: o.torch.flatten(o.h, 1),
    "reshape(x, [batch, 2, 2])": lambda o: o.x.view(-1, 2, 2),
    "reshape(x, [-1])": lambda o: o.torch.ravel(o.x),
    "x[:, 0]": lambda o: o.torch.squeeze(o.x[:, :1], 1),
    "w[:, 0]": lambda o: o.torch.unbind(o.w, 1)[0],
    "x[:, 1:3]": lambda o: o.torch.narrow(o.x, 1, 1, 2),
    "x[:, none]": lambda o: o.torch.unsqueeze(o.x, 1),
    "transpose(w, [0, 2, 1])": lambda o: o.torch.permute(o.w, (0, 2, 1)),
    "swap(w)": lambda o: o.torch.swapaxes(o.w, 1, 2),
    "concat([a, b], axis = 0)": lambda o: o.torch.cat([o.a, o.b]),
    "concat([a, b], axis = 1)": lambda o: o.torch.hstack([o.a, o.b]),
    "concat([a, b], axis = -1)": lambda o: o.torch.cat([o.a, o.b], -1),
    "stack([a, b])": lambda o: o.torch.stack([o.a, o.b]),
    "stack([a, b], axis = -1)": lambda o: o.torch.dstack([o.a, o.b]),
    "stack([prediction, t], axis = -1)": lambda o: o.torch.column_stack([o.prediction, o.t]),
    "stack([1.0, 2.0])": lambda o: o.torch.tensor([1.0, 2.0]),
    "broadcast_to(x, [batch, 4])": lambda o: o.x.expand(-1, 4),
    "broadcast_to(0.5, [3, 4])": lambda o: o.torch.full((3, 4), 0.5),
    "broadcast_to(0.0, [3, 4])": lambda o: o.torch.zeros(3, 4),
    "0.5 * ones_like(x)": lambda o: o.torch.full_like(o.x, 0.5),
    "split(x, 2, axis = -1)": lambda o: o.torch.stack(o.torch.chunk(o.x, 2, -1)),
    "split(theta, 2, axis = 0)": lambda o: o.torch.stack(o.torch.vsplit(o.theta, 2)),
    "where(x > 0, 0, x)": lambda o: o.x.masked_fill(o.x > 0, 0),
    "where(x > 0, x, 0)": lambda o: o.torch.where(o.x > 0, o.x, 0),
    "where(x > 0, a, b)": lambda o: o.torch.where(o.x > 0, o.a, o.b),
    "0.0 + (1.0 - 0.0) * arange(5) / 4": lambda o: o.torch.linspace(0, 1, 5),
    "10.0^(3.0 * arange(4) / 3)": lambda o: o.numpy.geomspace(1, 1000, 4),
    "arange(3)[:, none]": lambda o: o.numpy.meshgrid(range(3), range(4), indexing="ij", sparse=True)[0],
    "arange(4)[none, :]": lambda o: o.numpy.meshgrid(range(3), range(4), indexing="ij", sparse=True)[1],
    "flip(x, 1)": lambda o: o.torch.fliplr(o.x),
    "flip(x, 0)": lambda o: o.torch.flipud(o.x),
    "flip(transpose(x), 0)": lambda o: o.torch.rot90(o.x),
    "scatter_add(x, y, 3)": lambda o: o.torch.zeros(3, 4).double().index_add(0, o.y, o.x),
    "sum(one_hot(y, 3), axis = 0)": lambda o: o.torch.bincount(o.y, minlength=3),
    "x[y]": lambda o: o.torch.index_select(o.x, 0, o.y),
    "pick(logits, y)": lambda o: o.logits.gather(1, o.y[:, None])[:, 0],
    "take_along(x, argsort(x))": lambda o: o.torch.take_along_dim(o.x, o.x.argsort(-1), -1),
    "theta[y, y]": lambda o: o.theta[o.y, o.y],
    "top_values(x, 2)": lambda o: o.torch.topk(o.x, 2).values,
    "top(x, 2)": lambda o: o.torch.topk(o.x, 2).indices,
    "one_hot(y, 3)": lambda o: o.F.one_hot(o.y, 3),
    "sum(x[..., none] > arange(3), axis = -1)": lambda o: o.torch.searchsorted(o.torch.arange(3.0).double(), o.x),
    "sum(x[..., none] >= arange(3), axis = -1)": lambda o: o.numpy.digitize(o.np(o.x), [0, 1, 2]),
    "sum(t[:, none] >= arange(3) and t[:, none] < arange(3) + 1, axis = 0)":
        lambda o: o.numpy.histogram(o.np(o.t), [0, 1, 2, 3])[0],
    # arithmetic
    "a + b": lambda o: o.torch.add(o.a, o.b),
    "a - b": lambda o: o.torch.subtract(o.a, o.b),
    "a * b": lambda o: o.torch.multiply(o.a, o.b),
    "a / b": lambda o: o.torch.true_divide(o.a, o.b),
    "a // b": lambda o: o.torch.floor_divide(o.a, o.b),
    "a % b": lambda o: o.numpy.mod(o.np(o.a), o.np(o.b)),
    "a - b * trunc(a / b)": lambda o: o.torch.fmod(o.a, o.b),
    "(a + b) / 2": lambda o: (o.a + o.b) / 2,
    "-a": lambda o: o.torch.neg(o.a),
    "x^2": lambda o: o.torch.square(o.x),
    "x^3": lambda o: o.torch.pow(o.x, 3),
    "exp(x)": lambda o: o.torch.exp(o.x),
    "log(x)": unit(lambda o: o.torch.log(o.x)),
    "sqrt(x)": unit(lambda o: o.torch.sqrt(o.x)),
    "abs(x)": lambda o: o.numpy.fabs(o.np(o.x)),
    "arctan2(a, b)": lambda o: o.torch.atan2(o.a, o.b),
    "arcsin(x)": unit(lambda o: o.torch.asin(o.x)),
    "arccos(x)": unit(lambda o: o.torch.acos(o.x)),
    "arctan(x)": lambda o: o.torch.atan(o.x),
    "arcsinh(x)": lambda o: o.torch.asinh(o.x),
    "arccosh(x)": above(lambda o: o.torch.acosh(o.x)),
    "arctanh(x)": unit(lambda o: o.torch.atanh(o.x)),
    "log_gamma(x)": unit(lambda o: o.torch.lgamma(o.x)),
    "grad(sum(log_gamma(x)), x)": unit(lambda o: o.torch.digamma(o.x)),
    "hvp(sum(log_gamma(x)), x, 1)": unit(lambda o: o.torch.polygamma(1, o.x)),
    "erf_inv(x)": unit(lambda o: o.torch.erfinv(o.x)),
    "normal_cdf(x)": lambda o: o.torch.special.ndtr(o.x),
    "normal_quantile(p)": lambda o: o.torch.special.ndtri(o.p),
    "log_beta(a, b)": unit(lambda o: o.scipy.special.betaln(o.np(o.a), o.np(o.b))),
    "exp(log_beta(a, b))": unit(lambda o: o.scipy.special.beta(o.np(o.a), o.np(o.b))),
    "log_choose(a, b)": unit(lambda o: o.numpy.log(o.scipy.special.binom(o.np(o.a), o.np(o.b)))),
    "exp(log_gamma(x))": unit(lambda o: o.scipy.special.gamma(o.np(o.x))),
    "exp(log_gamma(a + 1) - log_gamma(b + 1) - log_gamma(a - b + 1))":
        unit(lambda o: o.scipy.special.binom(o.np(o.a), o.np(o.b))),
    "exp(log_gamma(x + 1))": unit(lambda o: o.scipy.special.factorial(o.np(o.x))),
    "clamp(x, -1, 1)": lambda o: o.torch.clip(o.x, -1, 1),
    "x / maximum(norm(x), 1)": lambda o: o.F.normalize(o.x.ravel(), dim=0).view_as(o.x),
    "clamp(where(is_nan(x), 0, x), -3.4e38, 3.4e38)": lambda o: o.torch.nan_to_num(o.x),
    "is_nan(x)": lambda o: o.torch.isnan(o.x),
    "is_inf(x)": lambda o: o.torch.isinf(o.x),
    "is_finite(x)": lambda o: o.torch.isfinite(o.x),
    "abs(a - b) <= 1e-8 + 1e-5 * abs(b)": lambda o: o.torch.isclose(o.a, o.b),
    "all(abs(a - b) <= 1e-8 + 1e-5 * abs(b))": lambda o: o.torch.allclose(o.a, o.b),
    "a == b": lambda o: o.torch.eq(o.a, o.b),
    "a != b": lambda o: o.torch.ne(o.a, o.b),
    "a > b": lambda o: o.torch.gt(o.a, o.b),
    "a >= b": lambda o: o.torch.ge(o.a, o.b),
    "a < b": lambda o: o.torch.lt(o.a, o.b),
    "a <= b": lambda o: o.torch.le(o.a, o.b),
    "a > 0 and b > 0": lambda o: o.torch.logical_and(o.a > 0, o.b > 0),
    "a > 0 or b > 0": lambda o: o.torch.logical_or(o.a > 0, o.b > 0),
    "not (a > 0)": lambda o: o.torch.logical_not(o.a > 0),
    "xor(a > 0, b > 0)": lambda o: o.torch.logical_xor(o.a > 0, o.b > 0),
    "maximum(a, b)": lambda o: o.torch.fmax(o.a, o.b),
    "minimum(a, b)": lambda o: o.torch.fmin(o.a, o.b),
    "where(x > 0, 1, 0)": lambda o: o.numpy.heaviside(o.np(o.x), 0),
    "x * pi / 180": lambda o: o.torch.deg2rad(o.x),
    "x * 180 / pi": lambda o: o.torch.rad2deg(o.x),
    "logaddexp(log(0.3) + a, log(0.7) + b)": lambda o: o.torch.log(0.3 * o.torch.exp(o.a) + 0.7 * o.torch.exp(o.b)),
    # reductions
    "mean(x)": lambda o: o.torch.mean(o.x),
    "sum(x)": lambda o: o.torch.sum(o.x),
    "max(x)": lambda o: o.torch.max(o.x),
    "max(x, axis = -1)": lambda o: o.torch.amax(o.x, -1),
    "min(x, axis = -1)": lambda o: o.torch.amin(o.x, -1),
    "sum(where(is_nan(x), 0, x))": lambda o: o.torch.nansum(o.x),
    "sum(where(is_nan(x), 0, x)) / sum(not is_nan(x))": lambda o: o.torch.nanmean(o.x),
    "max(where(is_nan(x), -inf, x))": lambda o: o.numpy.nanmax(o.np(o.x)),
    "sum(x * exp(a)) / sum(exp(a))": lambda o: o.numpy.average(o.np(o.x), weights=o.np(o.torch.exp(o.a))),
    "mean(sort(x)[:, 1:3], axis = -1)": lambda o: o.numpy.median(o.np(o.x), -1),
    "sort(x)[:, 1]": lambda o: (o.torch.quantile(o.x, 1 / 3, dim=-1), o.torch.median(o.x, -1).values),
    "var(x)": lambda o: o.numpy.var(o.np(o.x)),
    "var(x, ddof = 1)": lambda o: o.torch.var(o.x),
    "std(x)": lambda o: o.numpy.std(o.np(o.x)),
    "std(x, ddof = 1)": lambda o: o.torch.std(o.x),
    "max(x) - min(x)": lambda o: o.numpy.ptp(o.np(o.x)),
    "x[:, 1:] - x[:, :-1]": lambda o: o.torch.diff(o.x),
    "swap(x - mean(x, axis = 0)) @ (x - mean(x, axis = 0)) / (size(x, 0) - 1)": lambda o: o.torch.cov(o.x.T),
    "swap(z) @ z / size(x, 0)": lambda o: o.torch.corrcoef(o.x.T),
    "logsumexp(x)": lambda o: o.torch.logsumexp(o.x, (0, 1)),
    "logsumexp(x, axis = -1)": lambda o: o.torch.logsumexp(o.x, -1),
    "sum(x != 0)": lambda o: o.torch.count_nonzero(o.x),
    "grad(sum(x^2), x)": lambda o: 2 * o.x,
    "stop_gradient(x)": lambda o: o.x.detach(),
    # products and equations
    "dot(a, b)": lambda o: o.torch.inner(o.a.ravel(), o.b.ravel()),
    "sum(a * b, axis = -1)": lambda o: o.torch.linalg.vecdot(o.a, o.b),
    "q @ swap(k)": lambda o: o.torch.bmm(o.q, o.k.mT),
    "theta @ V": lambda o: o.torch.mm(o.theta, o.V),
    'einsum("b t n, b u n -> t u", q, k)': lambda o: o.torch.tensordot(o.q, o.k, ([0, 2], [0, 2])),
    "x @ theta[0]": lambda o: o.torch.mv(o.x, o.theta[0]),
    'rearrange(outer(a, b), "n i j -> n (i j)")':
        lambda o: o.torch.stack([o.torch.kron(a, b) for a, b in zip(o.a, o.b, strict=True)]),
    "roll(k, -1) * roll(v, 1) - roll(k, 1) * roll(v, -1)": lambda o: o.torch.linalg.cross(o.k, o.v),
    "cholesky(s)": lambda o: o.torch.linalg.cholesky(o.s),
    "cholesky_solve(s, c)": lambda o: o.torch.linalg.solve(o.s, o.c),
    "linear_solve(s, c)": lambda o: o.torch.linalg.solve(o.s, o.c),
    "inverse(s)": lambda o: o.torch.linalg.inv(o.s),
    "cholesky_solve(swap(x) @ x, swap(x))": lambda o: o.torch.linalg.pinv(o.x),
    "cholesky_solve(swap(x) @ x, swap(x) @ t[:, none])": lambda o: o.torch.linalg.lstsq(o.x, o.t[:, None]).solution,
    "determinant(s)": lambda o: o.torch.linalg.det(o.s),
    "log_abs_determinant(s)": lambda o: o.torch.linalg.slogdet(o.s).logabsdet,
    "sign(determinant(s))": lambda o: o.torch.linalg.slogdet(o.s).sign,
    "log_determinant(s)": lambda o: o.torch.linalg.slogdet(o.s).logabsdet,
    "triangular_solve(s, c)": lambda o: o.torch.linalg.solve_triangular(o.s.tril(), o.c, upper=False),
    "triangular_solve(s, c, lower = false)": lambda o: o.torch.linalg.solve_triangular(o.s.triu(), o.c, upper=True),
    "rfft(x)": lambda o: o.torch.stack([o.torch.fft.rfft(o.x).real, o.torch.fft.rfft(o.x).imag]),
    "irfft(q, k)": lambda o: o.torch.fft.irfft(o.torch.complex(o.q, o.k)),
    # distributions, by the logarithm of their density
    "normal(mean = 0, std = 1)": density("Normal", loc=0, scale=1),
    "log_density(normal(0, 1), x)": density("Normal", loc=0, scale=1),
    "laplace(mean = 0, scale = 1)": density("Laplace", loc=0, scale=1),
    "half_normal(scale = 1)": unit(density("HalfNormal", scale=1)),
    "half_cauchy(scale = 1)": unit(density("HalfCauchy", scale=1)),
    "uniform(low = 0, high = 1)": unit(density("Uniform", low=0, high=1)),
    "bernoulli(logits = x)": density("Bernoulli", "bits", logits=lambda o: o.x),
    "categorical(logits = logits)": density("Categorical", "y", logits=lambda o: o.logits),
    "poisson(rate = exp(x))": density("Poisson", "counts", rate=lambda o: o.torch.exp(o.x)),
    "info_nce(normalize(a), normalize(b), temperature = 0.1)": lambda o: o.F.cross_entropy(
        o.F.normalize(o.a) @ o.F.normalize(o.b).mT / 0.1, o.torch.arange(len(o.a))),
    "kl_categorical(categorical(logits), categorical(2 * logits))": lambda o: o.torch.distributions.kl_divergence(
        *(o.torch.distributions.Categorical(logits=z) for z in (o.logits, 2 * o.logits))),
    "kl_normal(normal(0, 1), normal(1, 2))": lambda o: o.torch.distributions.kl_divergence(
        o.torch.distributions.Normal(0.0, 1.0), o.torch.distributions.Normal(1.0, 2.0)),
    "beta(2, 3)": lambda o: o.torch.distributions.Beta(2.0, 3.0).log_prob(o.torch.sigmoid(o.x)),
    "binomial(count = 5, logits = x)": lambda o: o.torch.distributions.Binomial(
        o.torch.full_like(o.x, 5), logits=o.x).log_prob(o.bits),
    "cauchy(median = 1, scale = 2)": density("Cauchy", loc=1, scale=2),
    "dirichlet(concentration = exp(x))":
        lambda o: o.torch.distributions.Dirichlet(o.torch.exp(o.x)).log_prob(o.torch.softmax(o.x, -1)),
    "exponential(rate = 2)": lambda o: o.torch.distributions.Exponential(2.0).log_prob(o.torch.exp(o.x)),
    "gamma(shape = 2, rate = 3)": lambda o: o.torch.distributions.Gamma(2.0, 3.0).log_prob(o.torch.exp(o.x)),
    "log_normal(location = 0, scale = 1)":
        lambda o: o.torch.distributions.LogNormal(0.0, 1.0).log_prob(o.torch.exp(o.x)),
    "mixture(logits, normal(k[:, 0], 1))": lambda o: o.torch.distributions.MixtureSameFamily(
        o.torch.distributions.Categorical(logits=o.logits), o.torch.distributions.Normal(o.k[:, 0], 1.0)).log_prob(o.t),
    "multinomial(count = 1, logits = logits)":
        lambda o: o.torch.distributions.Multinomial(1, logits=o.logits).log_prob(o.F.one_hot(o.y, 3).double()),
    "multivariate_normal(1 - x, factor = cholesky(s))": lambda o: o.torch.distributions.MultivariateNormal(
        1 - o.x, o.s).log_prob(o.x),
    "multivariate_normal(1 - x, std = 2)": lambda o: o.torch.distributions.MultivariateNormal(
        1 - o.x, 4 * o.torch.eye(4, dtype=o.x.dtype)).log_prob(o.x),
    "negative_binomial(mean = exp(x), shape = 2)": lambda o: o.torch.distributions.NegativeBinomial(
        2.0, logits=o.x - o.torch.log(o.torch.tensor(2.0))).log_prob(o.counts),
    "student_t(df = 4, mean = 1, scale = 2)": density("StudentT", df=4, loc=1, scale=2),
    "truncated_normal(0, 0.02, low = -2, high = 2)": lambda o: o.torch.as_tensor(
        o.scipy.stats.truncnorm.logpdf(o.np(0.01 * o.torch.tanh(o.x)), -100, 100, 0, 0.02)),
    "von_mises(mean = 1, concentration = 2)":
        lambda o: o.torch.as_tensor(o.scipy.stats.vonmises.logpdf(o.np(o.x), 2, loc=1)),
    "y ~ poisson(rate = exp(prediction))":
        lambda o: o.F.poisson_nll_loss(o.prediction, o.y) + o.torch.lgamma(o.y + 1.0).mean(),
    # losses and metrics
    "squared(prediction, t)": lambda o: o.F.mse_loss(o.prediction, o.t),
    "squared(prediction, t) / 2": lambda o: squares(o).mean() / 2,
    "absolute(prediction, t)": lambda o: o.F.l1_loss(o.prediction, o.t),
    "t ~ normal(prediction, 1)":
        lambda o: o.F.mse_loss(o.prediction, o.t) / 2 + o.torch.log(o.torch.tensor(2 * o.torch.pi).double()) / 2,
    "t ~ laplace(prediction, 1)":
        lambda o: o.F.l1_loss(o.prediction, o.t) + o.torch.log(o.torch.tensor(2.0).double()),
    "t ~ weighted(normal(prediction, 1), hit)": lambda o: (squares(o) * o.hit).sum() / o.hit.sum() / 2
        + o.torch.log(o.torch.tensor(2 * o.torch.pi).double()) / 2,
    "huber(prediction, t)": lambda o: o.F.huber_loss(o.prediction, o.t),
    "huber(prediction, t, delta = 0.5) / 0.5": lambda o: o.F.smooth_l1_loss(o.prediction, o.t, beta=0.5),
    "binary_cross_entropy(prediction, hit)": lambda o: (
        o.F.binary_cross_entropy_with_logits(o.prediction, o.hit.double()),
        o.F.binary_cross_entropy(o.torch.sigmoid(o.prediction), o.hit.double())),
    "y ~ bernoulli(prediction)":
        unit(lambda o: o.F.binary_cross_entropy_with_logits(o.prediction, o.y.double())),
    "y ~ categorical(logits)": lambda o: o.F.nll_loss(o.F.log_softmax(o.logits, -1), o.y),
    "cross_entropy(logits, y)": lambda o: o.F.cross_entropy(o.logits, o.y),
    "cross_entropy(logits, y, smoothing = 0.1)": lambda o: o.F.cross_entropy(o.logits, o.y, label_smoothing=0.1),
    "y ~ weighted(categorical(logits), y != 2)":
        lambda o: o.F.cross_entropy(o.logits, o.y, ignore_index=2),
    "y ~ weighted(categorical(logits), stack([1.0, 2.0, 1.0])[y])":
        lambda o: o.F.cross_entropy(o.logits, o.y, o.torch.tensor([1.0, 2.0, 1.0]).double()),
    "mean(sum(a * (log(a) - log(b)), axis = -1))":
        unit(lambda o: o.F.kl_div(o.torch.log(o.b), o.a, reduction="batchmean")),
    "sum(a * (log(a) - log(b)), axis = -1)":
        unit(lambda o: o.F.kl_div(o.torch.log(o.b), o.a, reduction="none").sum(-1)),
    "sum(normalize(a) * normalize(b), axis = -1)": lambda o: o.F.cosine_similarity(o.a, o.b),
    "rmse(prediction, t)":
        lambda o: o.sklearn.metrics.root_mean_squared_error(o.np(o.t), o.np(o.prediction)),
    "r2(prediction, t)":
        lambda o: o.sklearn.metrics.r2_score(o.np(o.t), o.np(o.prediction)),
    "matthews(hit, y)": unit(lambda o: o.sklearn.metrics.matthews_corrcoef(o.np(o.y), o.np(o.hit))),
    "auc(sigmoid(prediction), hit)":
        lambda o: o.sklearn.metrics.roc_auc_score(o.np(o.hit), o.np(o.prediction)),
    "average_precision(sigmoid(prediction), hit)":
        lambda o: o.sklearn.metrics.average_precision_score(o.np(o.hit), o.np(o.prediction)),
    "macro_precision(logits, y)": lambda o: o.sklearn.metrics.precision_score(
        o.np(o.y), o.np(o.logits.argmax(-1)), average="macro", zero_division=0),
    "macro_recall(logits, y)": lambda o: o.sklearn.metrics.recall_score(
        o.np(o.y), o.np(o.logits.argmax(-1)), average="macro", zero_division=0),
    "macro_f1(logits, y)": lambda o: o.sklearn.metrics.f1_score(
        o.np(o.y), o.np(o.logits.argmax(-1)), average="macro", zero_division=0),
    "precision(hit, y)": unit(lambda o: o.sklearn.metrics.precision_score(o.np(o.y), o.np(o.hit))),
    "recall(hit, y)": unit(lambda o: o.sklearn.metrics.recall_score(o.np(o.y), o.np(o.hit))),
    "f1(hit, y)": unit(lambda o: o.sklearn.metrics.f1_score(o.np(o.y), o.np(o.hit))),
    "mean((1 - hit) * (1 - y)) / mean(1 - y)":
        unit(lambda o: o.sklearn.metrics.recall_score(1 - o.np(o.y), 1 - o.np(o.hit))),
    "mean(hit * y) / (mean(hit) + mean(y) - mean(hit * y))":
        unit(lambda o: o.sklearn.metrics.jaccard_score(o.np(o.y), o.np(o.hit))),
    "mape(prediction, t)":
        lambda o: o.sklearn.metrics.mean_absolute_percentage_error(o.np(o.t), o.np(o.prediction)),
    "mean(argmax(logits, axis = -1) == 1 and y == 0)": lambda o: o.sklearn.metrics.confusion_matrix(
        o.np(o.y), o.np(o.logits.argmax(-1)), labels=[0, 1, 2], normalize="all")[0, 1],
    "mean((prediction > 0) == (hit > 0.5))":
        lambda o: o.sklearn.metrics.accuracy_score(o.np(o.hit), o.np(o.prediction) > 0),
    "accuracy(logits, y)": lambda o: o.sklearn.metrics.accuracy_score(o.np(o.y), o.np(o.logits.argmax(-1))),
    "top_k(logits, y, k = 2)":
        lambda o: o.sklearn.metrics.top_k_accuracy_score(o.np(o.y), o.np(o.logits), k=2, labels=[0, 1, 2]),
    "perplexity(logits, y)": lambda o: o.torch.exp(o.F.cross_entropy(o.logits, o.y)),
    "focal(logits, y)": lambda o: o.torch.mean(
        (1 - o.F.softmax(o.logits, -1).gather(1, o.y[:, None])) ** 2
        * -o.F.log_softmax(o.logits, -1).gather(1, o.y[:, None])),
    "mean(sigmoid(-z)^2 * softplus(-z))": lambda o: o.torch.mean(
        (o.hit - o.torch.sigmoid(o.prediction)) ** 2
        * o.F.binary_cross_entropy_with_logits(o.prediction, o.hit.double(), reduction="none")),
    "t ~ normal(prediction, sqrt(exp(a[:, 0])))":
        lambda o: o.F.gaussian_nll_loss(o.prediction, o.t, o.torch.exp(o.a[:, 0]), full=True),
    "exp(a[:, 0])": lambda o: o.torch.exp(o.a[:, 0]),
    "hinge(prediction, 2 * hit - 1)":
        lambda o: o.sklearn.metrics.hinge_loss(o.np(2 * o.hit - 1), o.np(o.prediction), labels=[-1, 1]),
    "mean(maximum(1 - (2 * hit - 1) * prediction, 0)^2)":
        lambda o: o.F.relu(1 - (2 * o.hit - 1) * o.prediction).square().mean(),
    "logistic_loss(prediction, 2 * hit - 1)": lambda o: o.F.soft_margin_loss(o.prediction, 2.0 * o.hit - 1),
    "mean(where(hit > 0, prediction, maximum(1 - prediction, 0)))":
        lambda o: o.F.hinge_embedding_loss(o.prediction, 2 * o.hit - 1),
    "mean(sum(maximum(1 - pick(logits, y)[:, none] + logits, 0), axis = -1) - 1) / 3":
        lambda o: o.F.multi_margin_loss(o.logits, o.y),
    "mean(maximum(norm(x - a, axis = -1) - norm(x - b, axis = -1) + 1, 0))":
        lambda o: o.F.triplet_margin_loss(o.x, o.a, o.b, eps=0),
    "triplet(x, a, b, margin = 1)": lambda o: o.F.triplet_margin_with_distance_loss(
        o.x, o.a, o.b, distance_function=lambda u, v: (u - v).square().sum(-1)),
    "mean(maximum(0.1 - (2 * hit - 1) * (prediction - t), 0))":
        lambda o: o.F.margin_ranking_loss(o.prediction, o.t, 2 * o.hit - 1, margin=0.1),
    "cosine_embedding(a, b, 2 * hit - 1, margin = 0.1)":
        lambda o: o.F.cosine_embedding_loss(o.a, o.b, 2 * o.hit - 1, margin=0.1),
    "contrastive(a, b, hit, margin = 1)": lambda o: o.torch.mean(o.torch.where(
        o.hit > 0, o.F.pairwise_distance(o.a, o.b, eps=0) ** 2,
        o.F.relu(1 - o.F.pairwise_distance(o.a, o.b, eps=0)) ** 2)) / 2,
    "1 - (2 * sum(a * b) + 1) / (sum(a) + sum(b) + 1)":
        lambda o: 1 - (2 * (o.a * o.b).sum() + 1) / (o.a.sum() + o.b.sum() + 1),
    "1 - sum(a * b) / (sum(a) + sum(b) - sum(a * b))":
        lambda o: 1 - (o.a * o.b).sum() / (o.a + o.b - o.a * o.b).sum(),
    "mean(z + softplus(-2 * z) - log(2.0))": lambda o: o.torch.log(o.torch.cosh(o.prediction - o.t)).mean(),
    "pinball(prediction, t, level = 0.9)":
        lambda o: o.sklearn.metrics.mean_pinball_loss(o.np(o.t), o.np(o.prediction), alpha=0.9),
}
