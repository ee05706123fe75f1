"""Words of PyTorch, Keras, JAX, optax, NumPy, SciPy and Stan that nothing here is called, and what is written here.

Each line is the words, a colon and what to write. Every form in it compiles in the spec of tests/test_words.py, and has the value of
that library in tests/test_word_values.py: there `x`, `a`, `b` are tensors, `prediction` and `t` a number for each row,
`logits` a row of numbers for each class, `y` classes, `hit` 0 and 1, `s` a square matrix, `h` `[batch, channels, ...]`,
`w` `[batch, time, n]`; `c` a matrix of as many rows as `s`.
"""

from __future__ import annotations

# ruff: noqa: E501  one line for each meaning

_WORDS = """
# activations
ReLU: write `relu(x)`
GELU: write `gelu(x)`
ELU: write `elu(x)`
Softplus: write `softplus(x)`
Sigmoid expit logistic: write `sigmoid(x)`
Tanh: write `tanh(x)`
Softmax: write `softmax(x)`
swish SiLU Swish: write `silu(x)`
LeakyReLU leakyrelu: write `leaky_relu(x, slope = 0.01)`
gelu_tanh gelu_new gelu_approximate fast_gelu: `gelu(x)` is exact; with tanh: `0.5 * x * (1 + tanh(0.7978845608 * (x + 0.044715 * x^3)))`
hardswish Hardswish hard_silu HardSwish: write `hard_swish(x)`
hardtanh Hardtanh HardTanh: write `hard_tanh(x)`
hardsigmoid Hardsigmoid HardSigmoid: write `hard_sigmoid(x)`
relu6 ReLU6: write `clamp(x, 0, 6)`
SwiGLU: write `swiglu(x)`, of the halves of x
geglu GEGLU: write `gelu(a) * b` of `a, b = split(x, 2, axis = -1)`
reglu: write `relu(a) * b` of `a, b = split(x, 2, axis = -1)`
Mish: write `mish(x)`
Softsign soft_sign: write `softsign(x)`
GLU: write `glu(x)`, of the halves of x
SELU: write `selu(x)`
PReLU: write `h |> prelu()`
celu CELU: write `1.5 * elu(x / 1.5)`, for alpha = 1.5
softmin Softmin: write `softmax(-x)`
LogSoftmax: write `log_softmax(x)`
logsigmoid LogSigmoid: write `log_sigmoid(x)`
rrelu RReLU: write `leaky_relu(x, slope = 11 / 48)`, the mean slope, and inside `if training` the drawn one: `where(x > 0, x, (1 / 8 + 5 / 24 * uniform_like(x)) * x)`
threshold Threshold: write `where(x > 0.5, x, 0)`, for a threshold of 0.5 and the value 0
hardshrink Hardshrink: write `where(abs(x) > 0.5, x, 0)`
softshrink Softshrink: write `sign(x) * maximum(abs(x) - 0.5, 0)`
tanhshrink Tanhshrink: write `x - tanh(x)`
gumbel_softmax GumbelSoftmax: write `softmax((logits - log(-log(uniform_like(logits)))) / 0.5)`, for a temperature of 0.5
log1mexp: write `log(-expm1(-x))`, of x > 0
log1m_exp: write `log(-expm1(x))`, of x < 0
logit: write `log(p) - log(1 - p)`
inv_logit: write `sigmoid(x)`
log_inv_logit: write `log_sigmoid(x)`
# layers
linear Linear Dense Lin fc fully_connected: write `x |> dense(8)`
Dropout: write `x |> dropout(0.2)`
Embedding Embed: write `y |> embedding(10, 4)`, of 10 words in 4 numbers each
LSTM: write `w |> lstm(8)`
GRU: write `w |> gru(8)`
RNN SimpleRNN: write `w |> rnn(8)`
conv1d conv2d conv3d Conv1d Conv2d Conv3d Conv1D Conv2D: write `h |> conv(8, kernel = 3)`, for any number of dimensions
rmsnorm RMSNorm RMSNormalization: write `x |> rms_norm()`
LayerNorm LayerNormalization layernorm: write `x |> layer_norm()`
BatchNorm BatchNormalization batchnorm BatchNorm1d BatchNorm2d BatchNorm3d SyncBatchNorm LazyBatchNorm1d LazyBatchNorm2d: write `h |> batch_norm()`, for any number of dimensions
InstanceNorm InstanceNorm1d InstanceNorm2d InstanceNorm3d InstanceNormalization instancenorm: write `h |> instance_norm()`
GroupNorm groupnorm GroupNormalization: write `h |> group_norm(groups = 2)`
standardize Normalization StandardScaler: write `(x - m) / sqrt(v)` of `m, v = moments(x, axis = batch)`, or scale the data first
UnitNormalization l2_normalize: write `normalize(x)`
WeightNorm WeightNormalization weightnorm: write `x |> weight_norm(dense(3))`; each length starts at 1, as in Flax, not at that of W, as in PyTorch
SpectralNormalization SpectralNorm spectralnorm: write `x |> spectral_norm(dense(3))`
Bilinear: write `bilinear(3)(x, x)`
Identity: leave it out, or write a function: `fn same(x) = x`
Activation: activations are functions: `relu(x)`
Lambda: a function is declared at the top of the file: `fn f(x) = 2 * x`
Sequential sequential ModuleList serial: layers follow each other by `|>`: `x |> dense(8) |> relu |> dense(3)`
Module Model Functional: something with parameters is declared with `layer`; what is trained with `model`
MultiheadAttention MultiHeadAttention multi_head_attention multihead_attention MultiHeadDotProductAttention SelfAttention self_attention: write `w |> attention(heads = 3)`, or `attention(heads = 3)(w, context = v)`
scaled_dot_product_attention dot_product_attention: write `softmax(q @ swap(k) / sqrt(size(q, -1)), axis = -1) @ v`; the layer `w |> attention(heads = 3)` has its own products and heads
TransformerEncoderLayer TransformerEncoder transformer_encoder transformer Transformer transformer_block: write `w |> encoder_block(heads = 3)`
TransformerDecoderLayer TransformerDecoder transformer_decoder: write `decoder_block(heads = 3)(w, v)`
PositionalEncoding PositionalEmbedding SinePositionEncoding positional_encoding position_embedding: write `w |> sinusoidal_positions`, `w |> learned_positions(longest = 10)`, or in attention `w |> attention(1, turn = rotary)` of an even width
RotaryEmbedding RoPE rope rotary_embedding: write `rotary(x)`, or `attention(heads = 1, turn = rotary)` of an even width
Upsample UpSampling1D UpSampling2D UpSampling3D upsample: write `repeat(repeat(h, 2, axis = 2), 2, axis = 3)`, the nearest pixels; `h |> conv_transpose(2, kernel = 2, stride = 2)` learns it
interpolate resize Resizing: write `repeat(repeat(h, 2, axis = 2), 2, axis = 3)` to enlarge to the nearest pixels, `adaptive_avg_pool(h, out = 4)` to reduce by areas
Unfold unfold Fold im2col: `convolve(h, K)` and `h |> conv(3, kernel = 3)` slide over windows themselves
PixelShuffle pixel_shuffle: write `rearrange(h, "b (c r s) i j -> b c (i r) (j s)", r = 2, s = 2)`
PixelUnshuffle pixel_unshuffle: write `rearrange(h, "b c (i r) (j s) -> b (c r s) i j", r = 2, s = 2)`
depth_to_space: write `rearrange(h, "b (r s c) i j -> b c (i r) (j s)", r = 2, s = 2)`
space_to_depth: write `rearrange(h, "b c (i r) (j s) -> b (r s c) i j", r = 2, s = 2)`
ChannelShuffle channel_shuffle: write `rearrange(h, "b (g c) i j -> b (c g) i j", g = 2)`
Dropout1d Dropout2d Dropout3d SpatialDropout1D SpatialDropout2D feature_dropout: write `h * (ones_like(h[:, :, :1, :1]) |> dropout(0.2))`, which drops whole channels
AlphaDropout FeatureAlphaDropout: write `x |> alpha_dropout(0.05)`
DropConnect: write `x |> dropconnect(dense(3), rate = 0.5)`
DropPath StochasticDepth drop_path: write `x + (dense(4)(x) |> stochastic_depth(0.1))`
SEBlock SqueezeExcitation squeeze_excite: write `h |> squeeze_excitation(ratio = 2)`
RandomFlip RandomHorizontalFlip RandomVerticalFlip horizontal_flip: write `h |> random_flip(0.5)`, with `axis = 2` upside down
RandomCrop RandomTranslation random_shift RandomResizedCrop: write `h |> random_crop(pad = 1)`, with `size = 2` of that size
RandomRotation RandomAffine: write `h |> random_rotation(10)`
ColorJitter RandomBrightness RandomContrast RandomSaturation color_jitter: write `h |> jitter(brightness = 0.2, contrast = 0.2)`
RandomErasing random_erase: write `h |> random_erasing(0.5)`
Cutout CoarseDropout: write `h |> cutout(2)`
CutMix Cutmix: write `cutmix()(h, one_hot(y, 3))`
MixUp Mixup: write `mixup()(x, one_hot(y, 3))`
SpecAugment TimeMasking FrequencyMasking time_mask: write `w |> random_mask(2)`, with `axis = 2` of channels
GaussianNoise: write `x |> gaussian_noise(0.1)`
GaussianDropout: write `x * (1 + 0.5 * normal_like(x))` inside `if training`, for a rate of 0.2: 0.5 is the root of 0.2 / 0.8
DepthwiseConv2D DepthwiseConv1D depthwise_conv: write `h |> conv(4, kernel = 3, groups = 4)`: as many groups as channels
SeparableConv2D SeparableConv1D separable_conv: write `h |> conv(4, kernel = 3, groups = 4, bias = false) |> conv(8, kernel = 1)`
Convolution Conv Conv3D LazyConv2d: write `h |> conv(8, kernel = 3)`, for any number of dimensions
ConvTranspose ConvTranspose1d ConvTranspose2d ConvTranspose3d Conv1DTranspose Conv2DTranspose Conv3DTranspose conv_transpose1d conv_transpose2d deconv Deconv: write `h |> conv_transpose(8, kernel = 3)`
MaxPool1d MaxPool2d MaxPool3d MaxPooling1D MaxPooling2D MaxPooling3D max_pool1d max_pool2d max_pool3d MaxPool maxpool: write `max_pool(h, 2)`
AvgPool1d AvgPool2d AvgPool3d AveragePooling1D AveragePooling2D AveragePooling3D avg_pool1d avg_pool2d avg_pool3d AvgPool avgpool average_pool: write `avg_pool(h, 2)`
AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d adaptive_avg_pool1d adaptive_avg_pool2d: write `adaptive_avg_pool(h, out = 1)`
AdaptiveMaxPool1d AdaptiveMaxPool2d GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPool2D: write `global_max_pool(h)`, of all positions
GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalAvgPool2D: write `global_avg_pool(h)`
LPPool1d LPPool2d: write `(4 * avg_pool(h^2, 2))^0.5`, for order 2 and windows of 4 numbers
ZeroPadding1D ZeroPadding2D ZeroPad2d ConstantPad1d ConstantPad2d: write `pad(h, 1, axis = [2, 3])`
ReflectionPad1d ReflectionPad2d: write `pad(h, 1, axis = [2, 3], mode = "reflect")`
ReplicationPad1d ReplicationPad2d: write `pad(h, 1, axis = [2, 3], mode = "edge")`
CircularPad1d CircularPad2d: write `pad(h, 1, axis = [2, 3], mode = "wrap")`
Cropping1D Cropping2D: an index crops: `h[:, :, 1:-1, 1:-1]`
RNNCell simple_rnn: write `w |> rnn(8)`, for all iterations
LSTMCell LSTMcell: write `w |> lstm(8)`, for all iterations, or a `scan` of your own
GRUCell: write `w |> gru(8)`, for all iterations
ConvLSTM2D: it is not in the library: write a `scan` of your own
Bidirectional: write `w |> bidirectional(lstm, 8)`
StackedRNNCells MultiRNNCell: write `w |> stacked(lstm, 8, layers = 2)`
EchoStateNetwork ESN: write `w |> echo_state(8)`
MemN2N memory_network: write `memory(hops = 3)(x, w)`
TimeDistributed: layers act on the last dimension of any tensor: `w |> dense(8)`
RepeatVector: write `broadcast_to(x[:, none, :], [batch, 3, 4])`
EmbeddingBag: write `mean(y[:, none] |> embedding(10, 4), axis = 1)`
Concatenate: write `concat([a, b], axis = -1)`
Add: write `a + b`
Subtract: write `a - b`
Multiply: write `a * b`
Average: write `(a + b) / 2`
Maximum: write `maximum(a, b)`
Minimum: write `minimum(a, b)`
Dot: write `sum(a * b, axis = -1)`, for each row
# shapes and indices
range: `for i in 0..n` and `scan i over 0..n` run over numbers, `arange(n)` is a tensor of them
len: `size(x, 0)` is a size
flatten Flatten: write `rearrange(h, "b c i j -> b (c i j)")`, or `reshape(h, [batch, 144])`
view Reshape: write `reshape(x, [batch, 2, 2])`
squeeze: an index removes a dimension: `x[:, 0]`
unsqueeze expand_dims newaxis atleast_1d atleast_2d: `none` in an index adds a dimension of 1: `x[:, none]`
permute Permute swapaxes swapdims moveaxis movedim: write `transpose(w, [0, 2, 1])`; `swap(w)` is the last two dimensions
cat: write `concat([a, b], axis = 0)`
concatenate: write `concat([a, b], axis = 0)`
ravel: write `reshape(x, [-1])`
expand expand_as broadcast_arrays broadcast: write `broadcast_to(x, [batch, 4])`; arithmetic broadcasts by itself
chunk hsplit array_split: write `split(x, 2, axis = -1)`
vsplit: write `split(theta, 2, axis = 0)`
unbind unstack: an index takes one, `w[:, 0]`; `p, q, r = rearrange(w, "b t n -> n b t")` all along a dimension
masked_fill masked_fill_: write `where(x > 0, 0, x)`, with your condition: 0 where it holds
masked_select boolean_mask nonzero flatnonzero extract compress: sizes are known before the file runs: `where(x > 0, x, 0)` keeps the shape
linspace: write `0.0 + (1.0 - 0.0) * arange(5) / 4`, from 0 to 1 in 5 points
logspace geomspace: write `10.0^(3.0 * arange(4) / 3)`, from 1 to 1000 in 4 points
meshgrid: an index makes a grid: `arange(3)[:, none]` and `arange(4)[none, :]` broadcast together
fliplr: write `flip(x, 1)`
flipud: write `flip(x, 0)`
rot90: write `flip(transpose(x), 0)`
select narrow: write `x[:, 0]` or `x[:, 1:3]`
index_add scatter segment_sum: write `scatter_add(x, y, 3)`
bincount: write `sum(one_hot(y, 3), axis = 0)`
scatter_: numbers are added, not put: `scatter_add(x, y, 3)`
take index_select: write `x[y]`; `pick(logits, y)` takes one from each row
take_along_axis: write `take_along(x, argsort(x))`
gather_nd: arrays index together: `theta[y, y]`
vstack row_stack: write `concat([a, b], axis = 0)` of matrices
hstack: write `concat([a, b], axis = 1)` of matrices
column_stack: write `stack([prediction, t], axis = -1)` of vectors
dstack: write `stack([a, b], axis = -1)` of matrices
stack_arrays: write `stack([a, b])`
topk: write `top_values(x, 2)`, or `top(x, 2)` for their positions
ndim: write `rank(x)`
shape: write `size(x, 0)`
numel: write `size(x)`
full: write `broadcast_to(0.5, [3, 4])`
empty: write `broadcast_to(0.0, [3, 4])`
full_like: write `0.5 * ones_like(x)`
zeros_init zeros_initializer Zeros: write `init zeros`
asarray array as_tensor tensor Tensor constant_tensor: numbers stand where they are used; `stack([1.0, 2.0])` is a tensor of them
to_categorical OneHot onehot: write `one_hot(y, 3)`
searchsorted bucketize: write `sum(x[..., none] > arange(3), axis = -1)`: how many edges lie below
digitize: write `sum(x[..., none] >= arange(3), axis = -1)`: how many edges are reached
histogram: write `sum(t[:, none] >= arange(3) and t[:, none] < arange(3) + 1, axis = 0)`, for edges at 0, 1, 2 and 3
unique set: how many there are is not known before the file runs: number them outside
lax vmap pmap jit scan_fn fori_loop while_loop cond: a model acts on whole tensors; recurrences are a `scan`, choices `where(x > 0, a, b)`
# arithmetic
add: write `a + b`
sub subtract: write `a - b`
mul multiply: write `a * b`
div divide true_divide truediv: write `a / b`
floor_divide floordiv: write `a // b`
mod: write `a % b`
fmod rem: write `a - b * trunc(a / b)`, which has the sign of a; `a % b` has that of b
pow: write `x^3`
ln: write `log(x)`
neg negative: write `-a`
atan2: write `arctan2(a, b)`
asin: write `arcsin(x)`
acos: write `arccos(x)`
atan: write `arctan(x)`
asinh: write `arcsinh(x)`
acosh: write `arccosh(x)`
atanh: write `arctanh(x)`
lgamma gammaln loggamma: write `log_gamma(x)`, of x > 0
digamma psi: write `grad(sum(log_gamma(x)), x)`, of x > 0
polygamma: write `hvp(sum(log_gamma(x)), x, 1)`, the trigamma function, of x > 0
gamma_fn gamma_function: write `exp(log_gamma(x))`, of x > 0; the distribution is `gamma(shape = 2, rate = 3)`
beta_function: write `exp(log_beta(a, b))`; the distribution is `beta(2, 3)`
lbeta betaln: write `log_beta(a, b)`
lchoose: write `log_choose(a, b)`
comb binom: write `exp(log_gamma(a + 1) - log_gamma(b + 1) - log_gamma(a - b + 1))`
factorial: write `exp(log_gamma(x + 1))`
erfinv: write `erf_inv(x)`
ndtri norm_ppf inv_Phi probit: write `normal_quantile(p)`
ndtr Phi: write `normal_cdf(x)`
clip clip_by_value: write `clamp(x, -1, 1)`
clip_by_norm: write `x / maximum(norm(x), 1)`
nan_to_num: write `clamp(where(is_nan(x), 0, x), -3.4e38, 3.4e38)`
isnan: write `is_nan(x)`
isinf: write `is_inf(x)`
isfinite: write `is_finite(x)`
isclose: write `abs(a - b) <= 1e-8 + 1e-5 * abs(b)`
allclose: write `all(abs(a - b) <= 1e-8 + 1e-5 * abs(b))`
equal eq: write `a == b`
not_equal ne: write `a != b`
greater gt: write `a > b`
greater_equal ge: write `a >= b`
less lt: write `a < b`
less_equal le: write `a <= b`
logical_and: write `a > 0 and b > 0`
logical_or: write `a > 0 or b > 0`
logical_not: write `not (a > 0)`
logical_xor: write `xor(a > 0, b > 0)`
fabs absolute_value: write `abs(x)`
fmax: write `maximum(a, b)`
fmin: write `minimum(a, b)`
heaviside step_function: write `where(x > 0, 1, 0)`
deg2rad radians: write `x * pi / 180`
rad2deg degrees: write `x * 180 / pi`
reduce_mean: write `mean(x)`
reduce_sum: write `sum(x)`
reduce_max: write `max(x)`
amax: write `max(x, axis = -1)`
amin: write `min(x, axis = -1)`
nansum: write `sum(where(is_nan(x), 0, x))`
nanmean: write `sum(where(is_nan(x), 0, x)) / sum(not is_nan(x))`
nanmax: write `max(where(is_nan(x), -inf, x))`
average: write `mean(x)`, or with weights `sum(x * exp(a)) / sum(exp(a))`
median: write `mean(sort(x)[:, 1:3], axis = -1)` of 4 numbers in each row; PyTorch takes the lower one, `sort(x)[:, 1]`
quantile percentile: the sorted values by their position: `sort(x)[:, 1]` is the quantile 1/3 of 4 numbers
variance var_mean: write `var(x)`, divided by the count; by the count less one, as in PyTorch and Stan: `var(x, ddof = 1)`
stddev standard_deviation sd: write `std(x)`, divided by the count; by the count less one, as in PyTorch and Stan: `std(x, ddof = 1)`
ptp: write `max(x) - min(x)`
diff: write `x[:, 1:] - x[:, :-1]`
cov: write `swap(x - mean(x, axis = 0)) @ (x - mean(x, axis = 0)) / (size(x, 0) - 1)`, of the columns
corrcoef: write `swap(z) @ z / size(x, 0)` of `z = (x - mean(x, axis = 0)) / std(x, axis = 0)`, of the columns
log_sum_exp reduce_logsumexp: write `logsumexp(x)`, or `logsumexp(x, axis = -1)`
log_mix: write `logaddexp(log(0.3) + a, log(0.7) + b)`
count_nonzero: write `sum(x != 0)`
square_root: write `sqrt(x)`
inner vdot dot_product: write `dot(a, b)`
matmul: write `q @ swap(k)`
mm: write `theta @ V`
bmm: write `q @ swap(k)`
tensordot: write `theta @ V`, or `einsum("b t n, b u n -> t u", q, k)` over several axes
mv matvec mv_mul: write `x @ theta[0]`, a matrix by a vector
kron: write `rearrange(outer(a, b), "n i j -> n (i j)")` of vectors
cross: write `roll(k, -1) * roll(v, 1) - roll(k, 1) * roll(v, -1)`, of 3 numbers each
inv matrix_inverse: write `inverse(s)`
pinv: write `cholesky_solve(swap(x) @ x, swap(x))`, for independent columns
det: write `determinant(s)`
slogdet: write `log_abs_determinant(s)` for the logarithm, `sign(determinant(s))` for the sign
logdet log_determinant_spd: write `log_determinant(s)`, of a symmetric positive definite s; `log_abs_determinant(s)` of any
solve mdivide_left: write `linear_solve(s, c)`: the x with s x = c
mdivide_left_spd: write `cholesky_solve(s, c)` of a symmetric positive definite s: the x with s x = c
lstsq: write `cholesky_solve(swap(x) @ x, swap(x) @ t[:, none])`, for independent columns
solve_triangular mdivide_left_tri_low: write `triangular_solve(s, c)`, of the lower triangle; `triangular_solve(s, c, lower = false)` of the upper
svd eig eigh eigvals qr lu expm: ONNX has no such operator; `cholesky(s)` is in the library
fft: write `rfft(x)`, of real values: the real parts and the imaginary parts
ifft: write `irfft(q, k)`, of the real parts q and the imaginary parts k, where the values are real
# initialisers
xavier xavier_uniform xavier_uniform_ GlorotUniform variance_scaling: write `init glorot_uniform`
xavier_normal xavier_normal_ GlorotNormal: write `init glorot_normal`
kaiming kaiming_normal kaiming_normal_ HeNormal: write `init he_normal`
kaiming_uniform kaiming_uniform_ HeUniform: write `init he_uniform`
orthogonal_ Orthogonal OrthogonalInitializer: write `init orthogonal`
trunc_normal_ trunc_normal TruncatedNormal: write `init truncated_normal(0, 0.02)`, within two standard deviations; `truncated_normal(0, 0.02, low = -2, high = 2)` within numbers
RandomNormal random_normal normal_: write `init normal(0, 0.02)`
RandomUniform uniform_ random_uniform: write `init uniform(-0.1, 0.1)`
constant_ Constant: write `init constant(value = 0.5)`
eye_ eye_init: write `init identity`
sparse_: write `init sparse(count = 2, std = 0.01)`: so many that are not 0 in each column
ones_ Ones: write `init ones`
zeros_: write `init zeros`
LecunNormal: write `init lecun_normal`
LecunUniform: write `init lecun_uniform`
# draws and distributions
randn randn_like: write `normal_like(x)`
rand rand_like random_uniform_like: write `uniform_like(x)`
randint randint_like: write `floor(6 * uniform_like(x))`, the integers 0 to 5
randperm: write `permutation(4)`; rows of the data are shuffled in training anyway
choice: write `draw(categorical(logits))`, one for each row
Normal Gaussian gaussian norm_rng std_normal: write `normal(mean = 0, std = 1)`
Laplace double_exponential: write `laplace(mean = 0, scale = 1)`
HalfNormal: write `half_normal(scale = 1)`
HalfCauchy: write `half_cauchy(scale = 1)`
Uniform: write `uniform(low = 0, high = 1)`
Bernoulli: write `bernoulli(logits = x)`
bernoulli_logit: write `bernoulli(logits = x)`
Categorical OneHotCategorical categorical_logit: write `categorical(logits = logits)`
Multinomial multinomial_logit: write `multinomial(count = 1, logits = logits)`, of rows of counts
Poisson poisson_log_glm: write `poisson(rate = exp(x))`
poisson_nll_loss PoissonNLLLoss: write `y ~ poisson(rate = exp(prediction))`, up to a constant
Exponential: write `exponential(rate = 2)`
StudentT: write `student_t(df = 4, mean = 1, scale = 2)`
lognormal LogNormal: write `log_normal(location = 0, scale = 1)`, of the mean and standard deviation of the logarithm
Cauchy: write `cauchy(median = 1, scale = 2)`
Binomial binomial_logit: write `binomial(count = 5, logits = x)`
NegativeBinomial neg_binomial_2 neg_binomial: write `negative_binomial(mean = exp(x), shape = 2)`
Dirichlet: write `dirichlet(concentration = exp(x))`, of rows
MultivariateNormal multi_normal multi_normal_cholesky MultivariateNormalDiag: write `multivariate_normal(1 - x, std = 2)`, or `multivariate_normal(1 - x, factor = cholesky(s))` of a covariance s
Gamma: write `gamma(shape = 2, rate = 3)`
Beta: write `beta(2, 3)`
VonMises: write `von_mises(mean = 1, concentration = 2)`
InverseGamma inv_gamma chi_square Chi2 Weibull weibull Pareto pareto Gumbel gumbel: it is not in the library: say its density in a `distribution` of your own
log_prob lpdf log_pdf logpdf: write `log_density(normal(0, 1), x)`
rsample sample_n: write `draw(normal(0, 1), shape = [batch, 8])`
Independent: write `joint(normal(0, 1))`
MixtureSameFamily MixtureDensity: write `mixture(logits, normal(k[:, 0], 1))`, of a number for each part
# losses and metrics
mse: write `squared(prediction, t)`, or say what is distributed: `t ~ normal(prediction, 1)`
mse_loss MSELoss mean_squared_error MeanSquaredError MSE squared_error: write `squared(prediction, t)`
l2_loss: write `squared(prediction, t) / 2`
mae: write `absolute(prediction, t)`, or say what is distributed: `t ~ laplace(prediction, 1)`
L1Loss mean_absolute_error l1_loss MeanAbsoluteError MAE: write `absolute(prediction, t)`
smooth_l1_loss SmoothL1Loss SmoothL1: write `huber(prediction, t, delta = 0.5) / 0.5`, for beta = 0.5
huber_loss HuberLoss Huber: write `huber(prediction, t)`
bce: write `binary_cross_entropy(prediction, hit)`, or say what is distributed: `y ~ bernoulli(prediction)`
binary_crossentropy BCEWithLogitsLoss sigmoid_binary_cross_entropy binary_cross_entropy_with_logits binary_cross_entropy_loss SigmoidBinaryCrossEntropy BinaryCrossentropy: write `binary_cross_entropy(prediction, hit)`, of logits
BCELoss bce_loss: of logits, before the sigmoid: `binary_cross_entropy(prediction, hit)`
nll: say what is distributed: `y ~ categorical(logits)`
nll_loss NLLLoss: of logits, before the softmax: `cross_entropy(logits, y)`
CrossEntropyLoss softmax_cross_entropy categorical_crossentropy sparse_categorical_crossentropy softmax_cross_entropy_with_integer_labels CategoricalCrossentropy SparseCategoricalCrossentropy: write `cross_entropy(logits, y)`, of logits and classes as integers
label_smoothing smooth_labels: write `cross_entropy(logits, y, smoothing = 0.1)`
kl_div KLDivLoss KLDivergence: write `mean(sum(a * (log(a) - log(b)), axis = -1))`, the mean over rows, of probabilities a and b
kl_divergence: write `kl_normal(normal(0, 1), normal(1, 2))` of normal distributions, `kl_categorical(categorical(logits), categorical(2 * logits))` of categorical ones, `sum(a * (log(a) - log(b)), axis = -1)` of probabilities
cosine_similarity CosineSimilarity: write `sum(normalize(a) * normalize(b), axis = -1)`
root_mean_squared_error RootMeanSquaredError RMSE: write `metric m = rmse(prediction, t)`
r2_score R2Score r_squared: write `metric m = r2(prediction, t)`
precision_score Precision: write `metric m = precision(hit, y)`, for `hit` and `y` of 0 and 1; of classes `metric n = macro_precision(logits, y)`
recall_score Recall sensitivity: write `metric m = recall(hit, y)`, for `hit` and `y` of 0 and 1; of classes `metric n = macro_recall(logits, y)`
f1_score F1Score: write `metric m = f1(hit, y)`, for `hit` and `y` of 0 and 1; of classes `metric n = macro_f1(logits, y)`
specificity: write `metric specificity = mean((1 - hit) * (1 - y)) / mean(1 - y)`, for `hit` and `y` of 0 and 1
roc_auc roc_auc_score AUC: write `metric m = auc(sigmoid(prediction), hit)`, of scores rounded to 1000 bins
average_precision_score AveragePrecision pr_auc: write `metric m = average_precision(sigmoid(prediction), hit)`, of scores rounded to 1000 bins
matthews_corrcoef MatthewsCorrCoef MCC: write `metric m = matthews(hit, y)`, for `hit` and `y` of 0 and 1
mean_absolute_percentage_error: write `metric m = mape(prediction, t)`, times 100 in Keras
confusion_matrix ConfusionMatrix: a metric is one number: `metric seen = mean(argmax(logits, axis = -1) == 1 and y == 0)` is the share of one entry; `predict` gives the rest
BinaryAccuracy binary_accuracy: write `metric right = mean((prediction > 0) == (hit > 0.5))`, of logits
accuracy_score CategoricalAccuracy SparseCategoricalAccuracy Accuracy categorical_accuracy: write `metric right = accuracy(logits, y)`
top_k_accuracy TopKCategoricalAccuracy: write `metric m = top_k(logits, y, k = 2)`
Perplexity: write `metric m = perplexity(logits, y)`
log_loss: write `cross_entropy(logits, y)` or `binary_cross_entropy(prediction, hit)`, of logits
focal_loss FocalLoss SparseCategoricalFocalCrossentropy: write `focal(logits, y)`
sigmoid_focal_loss BinaryFocalCrossentropy: write `mean(sigmoid(-z)^2 * softplus(-z))` of `z = (2 * hit - 1) * prediction`
ctc_loss CTCLoss CTC: write `ctc(w, where(y > 0, y, 1)[:, none], blank = 0)`, the mean over rows of -log p; `y` are `[batch, most]`
GaussianNLLLoss gaussian_nll_loss: write `t ~ normal(prediction, sqrt(exp(a[:, 0])))`, where `exp(a[:, 0])` is the variance, up to a constant
hinge_loss Hinge: write `hinge(prediction, 2 * hit - 1)`: labels are -1 or 1
squared_hinge SquaredHinge: write `mean(maximum(1 - (2 * hit - 1) * prediction, 0)^2)`: labels are -1 or 1
SoftMarginLoss soft_margin_loss: write `logistic_loss(prediction, 2 * hit - 1)`: labels are -1 or 1
hinge_embedding_loss HingeEmbeddingLoss: write `mean(where(hit > 0, prediction, maximum(1 - prediction, 0)))`
MultiMarginLoss multi_margin_loss: write `mean(sum(maximum(1 - pick(logits, y)[:, none] + logits, 0), axis = -1) - 1) / 3`, of 3 classes
TripletMarginLoss triplet_margin_loss: write `mean(maximum(norm(x - a, axis = -1) - norm(x - b, axis = -1) + 1, 0))`; `triplet(x, a, b, margin = 1)` is of squared distances
triplet_loss: write `triplet(x, a, b, margin = 1)`, of squared distances
MarginRankingLoss margin_ranking_loss: write `mean(maximum(0.1 - (2 * hit - 1) * (prediction - t), 0))`, for labels of -1 and 1 and a margin of 0.1
CosineEmbeddingLoss cosine_embedding_loss: write `cosine_embedding(a, b, 2 * hit - 1, margin = 0.1)`: labels are -1 or 1
contrastive_loss ContrastiveLoss: write `contrastive(a, b, hit, margin = 1)`: labels are 0 or 1
InfoNCE NTXentLoss nt_xent infonce: write `info_nce(normalize(a), normalize(b), temperature = 0.1)`: row i of a belongs to row i of b
dice dice_loss DiceLoss: write `1 - (2 * sum(a * b) + 1) / (sum(a) + sum(b) + 1)`
iou_loss: write `1 - sum(a * b) / (sum(a) + sum(b) - sum(a * b))`
MeanIoU: a metric is one number: `metric iou = mean(hit * y) / (mean(hit) + mean(y) - mean(hit * y))` is that of one class
LogCosh log_cosh logcosh: write `mean(z + softplus(-2 * z) - log(2.0))` of `z = prediction - t`
quantile_loss pinball_loss: write `pinball(prediction, t, level = 0.9)`
# optimizers and schedules
Adam: optimizers are written in lower case: `minimize loss using adam(1e-3)`
AdamW: optimizers are written in lower case: `minimize loss using adamw(1e-3, decay = 1e-2)`
SGD: optimizers are written in lower case: `minimize loss using sgd(0.1)`
RMSprop: optimizers are written in lower case: `minimize loss using rmsprop(1e-2)`
Adagrad: write `minimize loss using adagrad(1e-2)`
Adadelta: write `minimize loss using adadelta()`
Adamax: write `minimize loss using adamax(2e-3)`
Nadam NAdam: write `minimize loss using nadam(2e-3)`
RAdam: write `minimize loss using radam(1e-3)`
AMSGrad: write `minimize loss using amsgrad(1e-3)`
AdaBelief: write `minimize loss using adabelief(1e-3)`
Rprop: write `minimize loss using rprop(1e-2)`
LARS: write `minimize loss using lars(1e-1)`
LAMB: write `minimize loss using lamb(1e-3)`
Lion: write `minimize loss using lion(1e-4)`
Adafactor: write `minimize loss using adafactor(1e-2)`
Muon: write `minimize loss over *.W using muon(2e-2)`
signum signSGD: write `minimize loss using sign_sgd(1e-3, beta = 0.9)`
LBFGS: write `minimize loss using lbfgs()`
LevenbergMarquardt: write `minimize loss using levenberg_marquardt(prediction)`, of a value of the model
GaussNewton: write `minimize loss using gauss_newton(prediction)`, of a value of the model
NewtonCG: write `minimize loss using newton_cg()`
Shampoo: write `minimize loss using matrices(shampoo(1e-1), adam(1e-3))`
SAM: write `minimize loss using sam(adam(1e-3))`
KFAC kfac_jax: write `minimize loss over theta using kfac(x, g)` of `g = grad(squared(x @ theta, 1), x @ theta)`
ASGD SWA Ftrl soap prodigy sophia: it is not in the library: `minimize loss using adam(1e-3)`, or an `optimizer` of your own
Momentum nesterov: write `minimize loss using momentum(1e-2, nesterov = true)`
decoupled_weight_decay add_decayed_weights: write `minimize loss using adamw(1e-3, decay = 1e-2)`
weight_decay: write `minimize loss using adamw(1e-3, decay = 1e-2)`; for other optimizers `penalty: l2(5e-3) on *.W`, half of the weight decay
num_epochs max_epochs: write `epochs: 10` in the train block
learning_rate: the optimizer takes it: `minimize loss using adam(1e-3)`
CosineAnnealingLR cosine_decay cosine_decay_schedule CosineDecay: write `minimize loss using adam(cosine(1e-3, over = steps))`
OneCycleLR onecycle: write `minimize loss using adam(one_cycle(1e-3, over = steps - 1, rise = (0.3 * steps - 1) / (steps - 1)))`: with `over = steps` it ends one update later
linear_onecycle_schedule cosine_onecycle_schedule: write `minimize loss using adam(one_cycle(1e-3, over = steps))`, which falls by half a cosine
PolynomialDecay PolynomialLR polynomial_schedule linear_schedule: write `minimize loss using adam(polynomial(1e-3, over = 200, power = 2))`; `power = 1` is a straight line
LinearLR: write `minimize loss using adam(polynomial(1e-3 / 3, over = 5, last = 1e-3))`
warmup_cosine warmup_cosine_decay_schedule get_cosine_schedule_with_warmup: write `minimize loss using adam(cosine(1e-3, over = steps, warmup = 100))`
CosineAnnealingWarmRestarts sgdr_schedule CosineDecayRestarts: write `minimize loss using adam(restarts(1e-3, over = 100))`
ReduceLROnPlateau reduce_on_plateau: write `minimize loss using plateau(adam(1e-3), patience = 100)`, of the loss of training; of another `stop: patience(5, on = validation.loss)`
CyclicLR CyclicalLearningRate: write `minimize loss using sgd(cyclic(1e-3, 1e-2, half = 200))`
constant_schedule: write `minimize loss using adam(constant_rate(1e-3))`
ConstantLR: write `minimize loss using adam(1e-3 / 3 if step <= 5 else 1e-3)`
ExponentialDecay exponential_decay_lr exponential_decay_schedule: write `minimize loss using adam(exponential_decay(1e-3, over = 100, factor = 0.9))`
ExponentialLR: write `minimize loss using adam(exponential_decay(1e-3, over = 1, factor = 0.99))`, or over the updates of an epoch
InverseTimeDecay: write `minimize loss using adam(inverse_time(1e-3, over = 100, rate = 0.5))`
StepLR: write `minimize loss using adam(step_decay(1e-3, every = 100, factor = 0.1))`
MultiStepLR piecewise_constant piecewise_constant_schedule PiecewiseConstantDecay: write `minimize loss using adam(piecewise([1e-3, 1e-4, 1e-5], ends = [30, 80]))`
LambdaLR LearningRateScheduler inject_hyperparams: a rate is an expression of `step`: `minimize loss using adam(1e-3 / sqrt(step))`
clip_by_global_norm clip_grad_norm clip_grad_norm_ clip_grads: write `clip: global_norm(1.0)` in the train block
adaptive_grad_clip: it is not in the library: `clip: each_norm(1.0)` clips each parameter's gradient by itself
clip_grad_value_ clip_grad_value: write `clip: each_value(1.0)`
EarlyStopping early_stopping EarlyStop: write `stop: patience(5, on = validation.loss)`
ModelCheckpoint CSVLogger TensorBoard: the run folder has them: `dlc train SPEC`
MultiSteps apply_every gradient_accumulation: write `minimize loss using accumulate(adam(1e-3), turns = 4)`
Lookahead: write `minimize loss using lookahead(adam(1e-3))`
EMA ExponentialMovingAverage AveragedModel: write `minimize loss using ema(adam(1e-3), decay = 0.999)`
L1: write `penalty: l1(1e-4) on *.W`
L2 regularizers: write `penalty: l2(1e-4) on *.W`
l1_l2 L1L2: write `penalty: l1(1e-4) on *.W` and `penalty: l2(1e-4) on *.W`
# the language
detach no_grad: write `stop_gradient(x)`
value_and_grad: write `grad(sum(x^2), x)`
np numpy torch tf jnp jax math nn F: functions need no prefix: `exp(x)`
True False: write `true` and `false`
None null: write `none`
"""


def table() -> dict[str, str]:
    """Each word, and what to write instead."""
    found: dict[str, str] = {}
    for line in _WORDS.splitlines():
        if line and not line.startswith("#"):
            words, _, said = line.partition(": ")
            found.update(dict.fromkeys(words.split(), said))
    return found
