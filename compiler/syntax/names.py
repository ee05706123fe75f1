"""Words of PyTorch, Keras, JAX, optax, NumPy, SciPy and Stan that nothing here is called, and what is written here.

Each line is the words, a colon and what to write. In it stand `x`, `a`, `b`, `prediction`, `t` for tensors,
`logits` a row of numbers for each class, `y` classes, `hit` 0 and 1, `s` a square matrix, `h` `[batch, channels, ...]`,
`w` `[batch, time, n]`; `c` a matrix of as many rows as `s`.
"""

from __future__ import annotations

# ruff: noqa: E501  one line for each meaning

_WORDS = """
# activations
gelu_tanh gelu_new gelu_approximate fast_gelu: `gelu(x)` is exact; with tanh: `0.5 * x * (1 + tanh(0.7978845608 * (x + 0.044715 * x^3)))`
hardswish Hardswish hard_silu HardSwish: write `hard_swish(x)`
hardtanh Hardtanh HardTanh: write `hard_tanh(x)`
hardsigmoid Hardsigmoid HardSigmoid: write `hard_sigmoid(x)`
ReLU6: write `clamp(x, 0, 6)`
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
LogSigmoid: write `log_sigmoid(x)`
rrelu RReLU: write `leaky_relu(x, slope = 0.01)`
threshold Threshold: write `where(x > 0.5, x, 0)`
hardshrink Hardshrink: write `where(abs(x) > 0.5, x, 0)`
softshrink Softshrink: write `sign(x) * maximum(abs(x) - 0.5, 0)`
tanhshrink Tanhshrink: write `x - tanh(x)`
gumbel_softmax GumbelSoftmax: write `softmax(logits - log(-log(uniform_like(logits))))`, divided by a temperature inside
log1mexp log1m_exp: write `log(-expm1(-x))`
inv_logit: write `sigmoid(x)`
log_inv_logit: write `log_sigmoid(x)`
# layers
rmsnorm RMSNorm RMSNormalization: write `x |> rms_norm()`
BatchNorm3d SyncBatchNorm LazyBatchNorm1d LazyBatchNorm2d: write `h |> batch_norm()`, for any number of dimensions
InstanceNorm InstanceNorm1d InstanceNorm2d InstanceNorm3d InstanceNormalization instancenorm: write `h |> instance_norm()`
GroupNormalization: write `h |> group_norm(groups = 2)`
UnitNormalization l2_normalize: write `normalize(x)`
WeightNorm WeightNormalization weightnorm: write `x |> weight_norm(dense(3))`
SpectralNormalization SpectralNorm spectralnorm: write `spectral_norm(dense(3))`
Bilinear: write `einsum("b i, i o j, b j -> b o", x, T, x)` of a `param T` of three dimensions
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
interpolate resize Resizing: write `repeat(h, 2, axis = 2)` to enlarge by nearest neighbours, `adaptive_avg_pool(h, out = 4)` to reduce
Unfold unfold Fold im2col: `convolve(h, K)` and `conv(3, kernel = 3)` slide over windows themselves
PixelShuffle pixel_shuffle depth_to_space: write `rearrange(h, "b (c r s) i j -> b c (i r) (j s)", r = 2, s = 1)`
PixelUnshuffle pixel_unshuffle space_to_depth: write `rearrange(h, "b c (i r) (j s) -> b (c r s) i j", r = 2, s = 2)`
ChannelShuffle channel_shuffle: write `rearrange(h, "b (g c) i j -> b (c g) i j", g = 2)`
Dropout1d Dropout2d Dropout3d SpatialDropout1D SpatialDropout2D AlphaDropout alpha_dropout feature_dropout: write `x |> dropout(0.2)`; whole channels: `h * (ones_like(h[:, :, :1, :1]) |> dropout(0.2))`
GaussianNoise: write `x + 0.1 * normal_like(x)` inside `if training`
GaussianDropout: write `x * (1 + 0.5 * normal_like(x))` inside `if training`
DepthwiseConv2D DepthwiseConv1D depthwise_conv: write `h |> conv(2, kernel = 3, groups = 2)`: as many groups as channels
SeparableConv2D SeparableConv1D separable_conv: write `h |> conv(2, kernel = 3, groups = 2) |> conv(8, kernel = 1)`
Convolution Conv Conv3D LazyConv2d: write `h |> conv(8, kernel = 3)`, for any number of dimensions
ConvTranspose ConvTranspose1d ConvTranspose3d Conv1DTranspose Conv3DTranspose conv_transpose1d conv_transpose2d deconv Deconv: write `h |> conv_transpose(8, kernel = 3)`
MaxPool1d MaxPool3d MaxPooling1D MaxPooling3D max_pool3d MaxPool maxpool: write `max_pool(h, 2)`
AvgPool1d AvgPool3d AveragePooling1D AveragePooling3D avg_pool3d AvgPool avgpool average_pool: write `avg_pool(h, 2)`
AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d adaptive_avg_pool1d adaptive_avg_pool2d: write `adaptive_avg_pool(h, out = 1)`
AdaptiveMaxPool1d AdaptiveMaxPool2d GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPool2D: write `global_max_pool(h)`
GlobalAveragePooling3D GlobalAvgPool2D: write `global_avg_pool(h)`
LPPool1d LPPool2d: write `avg_pool(h^2, 2)^0.5`, times the root of the window's size
ZeroPadding1D ZeroPadding2D ZeroPad2d ConstantPad1d ConstantPad2d ReflectionPad2d ReplicationPad2d Cropping2D: write `pad(x, 1)`, `pad(x, 1, mode = "reflect")`; an index crops: `h[:, :, 1:, 1:]`
RNNCell simple_rnn: write `w |> rnn(8)`
LSTMCell LSTMcell ConvLSTM2D: write `w |> lstm(8)`, or a `scan` of your own
GRUCell: write `w |> gru(8)`
Bidirectional bidirectional: write `concat([w |> lstm(8), w |> lstm(8, backward = true)], axis = -1)`
TimeDistributed: layers act on the last dimension of any tensor: `w |> dense(8)`
RepeatVector: write `broadcast_to(x[:, none, :], [batch, 3, 4])`
EmbeddingBag: write `mean(y[:, none] |> embedding(10, 4), axis = 1)`
Reshape Permute: functions do it: `reshape(x, [batch, 2, 2])`, `transpose(w, [0, 2, 1])`
Concatenate: write `concat([a, b], axis = -1)`
Add Subtract Multiply Average Dot Maximum Minimum: write it with signs: `a + b`, `a - b`, `a * b`, `(a + b) / 2`, `dot(a, b)`, `maximum(a, b)`
# shapes and indices
swapaxes swapdims moveaxis movedim: write `transpose(w, [0, 2, 1])`; `swap(w)` is the last two dimensions
ravel: write `reshape(x, [-1])`
expand expand_as broadcast_arrays broadcast: write `broadcast_to(x, [batch, 4])`; arithmetic broadcasts by itself
chunk hsplit vsplit array_split unbind unstack: write `split(x, 2, axis = -1)`
masked_fill masked_fill_: write `where(x > 0, x, 0)`, with your condition
masked_select boolean_mask nonzero flatnonzero extract compress: sizes are known before the file runs: `where(x > 0, x, 0)` keeps the shape
linspace: write `0.0 + (1.0 - 0.0) * arange(5) / 4`, from 0 to 1 in 5 points
logspace geomspace: write `10.0^(3.0 * arange(5) / 4)`, from 1 to 1000 in 5 points
meshgrid: an index makes a grid: `arange(3)[:, none]` and `arange(4)[none, :]` broadcast together
atleast_1d atleast_2d newaxis: `none` in an index adds a dimension of 1: `x[:, none]`
rot90 fliplr flipud: write `flip(x, 1)`
select narrow: write `x[:, 0]` or `x[:, 1:3]`
index_add scatter segment_sum scatter_ bincount: write `scatter_add(x, y, 3)`
take_along_axis gather_nd: write `take_along(x, argsort(x))`
dstack column_stack row_stack: write `stack([a, b], axis = -1)` or `concat([a, b], axis = -1)`
ndim: write `rank(x)`
shape numel: write `size(x, 0)`, `size(x)`
identity: write `eye(3)`
zeros_init zeros_initializer Zeros: write `init zeros`
asarray array as_tensor tensor Tensor constant_tensor: numbers stand where they are used; `stack([1.0, 2.0])` is a tensor of them
to_categorical OneHot onehot: write `one_hot(y, 3)`
searchsorted digitize bucketize histogram: write `sum(x[..., none] > arange(3), axis = -1)`: how many edges lie below
unique set: how many there are is not known before the file runs: number them outside
lax vmap pmap jit scan_fn fori_loop while_loop cond: a model acts on whole tensors; recurrences are a `scan`, choices `where(x > 0, a, b)`
# arithmetic
add: write `a + b`
sub subtract: write `a - b`
mul multiply: write `a * b`
div divide true_divide truediv: write `a / b`
floor_divide floordiv: write `a // b`
mod fmod rem: write `a % b`
neg negative: write `-a`
atan2: write `arctan2(a, b)`
asin: write `arcsin(x)`
acos: write `arccos(x)`
atan: write `arctan(x)`
asinh: write `arcsinh(x)`
acosh: write `arccosh(x)`
atanh: write `arctanh(x)`
lgamma gammaln loggamma: write `log_gamma(x)`
digamma psi polygamma: write `grad(sum(log_gamma(x)), x)`
gamma: write `exp(log_gamma(x))` for the function, of x > 0; as a distribution: `fn` of your own, `-mean(2 * log(3.0) - log_gamma(2.0) + log(x) - 3 * x)` is its negative log likelihood for shape 2 and rate 3
beta: write `exp(log_gamma(a) + log_gamma(b) - log_gamma(a + b))` for the function; the distribution is not in the library
lbeta betaln: write `log_gamma(a) + log_gamma(b) - log_gamma(a + b)`
lchoose comb binom: write `log_gamma(a + 1) - log_gamma(b + 1) - log_gamma(a - b + 1)` for its logarithm
factorial gamma_fn: write `exp(log_gamma(x + 1))`
erfinv erf_inv ndtri: it is not in the library; `erf(x)` and `erfc(x)` are
ndtr Phi normal_cdf: write `erfc(-x / sqrt(2.0)) / 2`
clip_by_norm: write `x / maximum(norm(x), 1)`
nan_to_num: write `where(is_nan(x), 0, x)`
isnan: write `is_nan(x)`
isinf: write `is_inf(x)`
isfinite: write `is_finite(x)`
isclose allclose equal greater less greater_equal less_equal not_equal eq ne gt lt ge le: write it with signs: `a == b`, `a > b`, `abs(a - b) < 1e-6`
logical_and logical_or logical_not logical_xor: write `a > 0 and b > 0`, `a > 0 or b > 0`, `not (a > 0)`, `xor(a > 0, b > 0)`
fabs absolute_value: write `abs(x)`
fmax fmin: write `maximum(a, b)`, `minimum(a, b)`
heaviside step_function: write `where(x > 0, 1, 0)`
lerp: write `a + 0.5 * (b - a)`
deg2rad radians: write `x * pi / 180`
rad2deg degrees: write `x * 180 / pi`
nansum nanmean nanmax: write `sum(where(is_nan(x), 0, x))`
average: write `mean(x)`, or with weights `sum(a * b) / sum(b)`
median quantile percentile: write `sort(x)[:, 2]`: the sorted values by their position
variance var_mean: write `var(x)`
stddev standard_deviation sd: write `std(x)`
ptp: write `max(x) - min(x)`
diff: write `x[:, 1:] - x[:, :-1]`
cov corrcoef: write `swap(x - mean(x, axis = 0)) @ (x - mean(x, axis = 0)) / size(x, 0)`
log_sum_exp reduce_logsumexp log_mix: write `logsumexp(x, axis = -1)`
count_nonzero: write `sum(x != 0)`
square_root: write `sqrt(x)`
inner vdot dot_product: write `dot(a, b)`
mv matvec mv_mul: write `x @ theta[0]`, a matrix by a vector
kron: write `rearrange(outer(a, b), "n i j -> n (i j)")` of vectors
cross: write its three components with `stack([...])`
inv inverse matrix_inverse pinv: write `cholesky_solve(s, c)` of a symmetric positive definite s: the x with s x = c
det determinant slogdet logdet log_determinant_spd: write `log_determinant(s)`, of a symmetric positive definite s
solve lstsq mdivide_left mdivide_left_spd: write `cholesky_solve(s, c)` of a symmetric positive definite s
solve_triangular mdivide_left_tri_low: write `triangular_solve(s, c)`
svd eig eigh eigvals qr lu expm: ONNX has no such operator; `cholesky(s)` is in the library
fft rfft ifft: it is not in the language; a product with a matrix of sines and cosines does it: `x @ cos(s)`
# initialisers
xavier_uniform xavier_uniform_ GlorotUniform variance_scaling: write `init glorot_uniform`
xavier_normal xavier_normal_ GlorotNormal: write `init glorot_normal`
kaiming_normal kaiming_normal_ HeNormal: write `init he_normal`
kaiming_uniform kaiming_uniform_ HeUniform: write `init he_uniform`
orthogonal_ Orthogonal OrthogonalInitializer: write `init orthogonal`
trunc_normal_ TruncatedNormal RandomNormal random_normal normal_: write `init normal(0, 0.02)`
RandomUniform uniform_ random_uniform: write `init uniform(-0.1, 0.1)`
constant_ Constant ones_ zeros_ Ones: write `init constant(value = 0.5)`, `init ones`, `init zeros`
LecunNormal: write `init lecun_normal`
LecunUniform: write `init lecun_uniform`
# draws and distributions
randn_like: write `normal_like(x)`
rand_like random_uniform_like: write `uniform_like(x)`
randint randint_like: write `floor(6 * uniform_like(x))`, the whole numbers 0 to 5
multinomial choice: write `draw(categorical(logits))`
Normal Gaussian gaussian norm_rng std_normal: write `normal(mean = 0, std = 1)`
Laplace double_exponential: write `laplace(mean = 0, scale = 1)`
HalfNormal: write `half_normal(scale = 1)`
HalfCauchy: write `half_cauchy(scale = 1)`
Uniform: write `uniform(low = 0, high = 1)`
Bernoulli: write `bernoulli(logits = x)`
bernoulli_logit: write `bernoulli(logits = x)`
Categorical OneHotCategorical Multinomial categorical_logit: write `categorical(logits = logits)`
Poisson poisson_log_glm: write `poisson(rate = exp(x))`
poisson_nll_loss PoissonNLLLoss: write `y ~ poisson(rate = exp(x[:, 0]))`
exponential Exponential: it is not in the library: `loss = -mean(log(2.0) - 2.0 * abs(t))` is its negative log likelihood at rate 2
student_t StudentT: it is not in the library: `loss = mean(2.5 * log1p((t - prediction)^2 / 4))` is its negative log likelihood with 4 degrees of freedom, up to a constant
lognormal LogNormal: write `log(abs(t)) ~ normal(0, 1)`: the logarithm is normal
cauchy Cauchy: it is not in the library: `loss = mean(log1p((t - prediction)^2))` is its negative log likelihood at scale 1, up to a constant; `half_cauchy(1)` is
binomial Binomial binomial_logit: it is not in the library: `loss = mean(5 * softplus(prediction) - hit * prediction)` is its negative log likelihood for 5 trials, up to a constant
negative_binomial NegativeBinomial neg_binomial_2: it is not in the library; `poisson(rate = exp(x))` counts events
dirichlet Dirichlet: it is not in the library; a `softmax(x)` of normal numbers is on the same simplex
multivariate_normal MultivariateNormal multi_normal: it is not in the library: whiten by `triangular_solve(cholesky(s), c)`, subtract `log_determinant(s) / 2`; independent ones: `joint(normal(0, 1))`
Gamma InverseGamma inv_gamma chi_square Chi2 Weibull weibull Pareto pareto Beta Gumbel gumbel von_mises VonMises: it is not in the library: say its density in a `distribution` of your own
log_prob lpdf log_pdf logpdf: write `log_density(normal(0, 1), x)`
rsample sample_n: write `draw(normal(0, 1), shape = [batch, 8])`
Independent: write `joint(normal(0, 1))`
MixtureSameFamily: write `logsumexp(log_softmax(logits) + log_density(normal(0, 1), logits), axis = -1)`
# losses and metrics
rmse root_mean_squared_error RootMeanSquaredError RMSE: write `metric rmse = sqrt(mean((prediction - t)^2))`
r2_score R2Score r_squared: write `metric r2 = 1 - mean((t - prediction)^2) / (mean(t^2) - mean(t)^2)`
precision Precision: write `metric precision = mean(hit * t) / mean(hit)`, for `hit` and `t` of 0 and 1
recall Recall sensitivity: write `metric recall = mean(hit * t) / mean(t)`, for `hit` and `t` of 0 and 1
specificity: write `metric specificity = mean((1 - hit) * (1 - t)) / mean(1 - t)`
mape mean_absolute_percentage_error: write `metric mape = mean(abs((t - prediction) / t))`
confusion_matrix ConfusionMatrix: a metric is one number: `metric seen = mean(argmax(logits, axis = -1) == 1 and y == 0)` is one entry; `predict` gives the rest
BinaryAccuracy binary_accuracy: write `metric right = mean((prediction > 0) == (t > 0.5))`
accuracy_score CategoricalAccuracy SparseCategoricalAccuracy Accuracy categorical_accuracy: write `metric right = accuracy(logits, y)`
top_k_accuracy TopKCategoricalAccuracy: write `metric right = mean(any(top(logits, 2) == y[:, none], axis = -1))`
perplexity Perplexity: write `metric perplexity = exp(cross_entropy(logits, y))`
log_loss: write `cross_entropy(logits, y)` or `binary_cross_entropy(x, sigmoid(a))`
focal_loss FocalLoss SparseCategoricalFocalCrossentropy: write `focal(logits, y)`
sigmoid_focal_loss BinaryFocalCrossentropy: write `loss = mean((1 - sigmoid(prediction))^2 * softplus(-prediction))` where y is 1; of classes: `focal(logits, y)`
ctc_loss CTCLoss CTC: it is not in the library: the recurrence is a `scan` with `logaddexp(a, b)`
GaussianNLLLoss gaussian_nll_loss: write `t ~ normal(prediction, exp(x[:, 0]))`
SmoothL1 Huber: write `huber(prediction, t)`
MeanSquaredError MSE: write `squared(prediction, t)`
MeanAbsoluteError MAE: write `absolute(prediction, t)`
hinge_loss hinge_embedding_loss HingeEmbeddingLoss SoftMarginLoss MultiMarginLoss Hinge: write `hinge(x, 2 * round(sigmoid(a)) - 1)`: labels are -1 or 1
squared_hinge SquaredHinge: write `mean(maximum(1 - t * prediction, 0)^2)`
TripletMarginLoss triplet_margin_loss triplet_loss: write `triplet(x, a, b, margin = 1)`
MarginRankingLoss CosineEmbeddingLoss contrastive_loss: write `mean(maximum(1 - (a - b), 0))`, or what your paper has
dice dice_loss DiceLoss iou_loss MeanIoU: write `1 - (2 * sum(a * b) + 1) / (sum(a) + sum(b) + 1)`
LogCosh log_cosh logcosh: write `mean(x + softplus(-2 * x) - log(2.0))`
quantile_loss pinball_loss: write `pinball(prediction, t, level = 0.9)`
binary_cross_entropy_loss SigmoidBinaryCrossEntropy BinaryCrossentropy: write `binary_cross_entropy(x, sigmoid(a))`
CategoricalCrossentropy SparseCategoricalCrossentropy: write `cross_entropy(logits, y)`
KLDivergence: write `kl_normal(normal(0, 1), normal(1, 2))`, or `sum(a * (log(a) - log(b)))`
# optimizers and schedules
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
ASGD Ftrl shampoo soap prodigy sophia LBFGS lbfgs: it is not in the library: `minimize loss using adam(1e-3)`, or an `optimizer` of your own
Momentum nesterov: write `minimize loss using momentum(1e-2, nesterov = true)`
weight_decay decoupled_weight_decay add_decayed_weights: write `minimize loss using adamw(1e-3, decay = 1e-2)`, or `penalty: l2(1e-4) on *.W`
num_epochs max_epochs: write `epochs: 10` in the train block
learning_rate: the optimizer takes it: `minimize loss using adam(1e-3)`
OneCycleLR onecycle linear_onecycle_schedule: write `minimize loss using adam(cosine(1e-3, over = steps, warmup = 100))`
LinearLR linear_schedule PolynomialDecay PolynomialLR polynomial_schedule: write `minimize loss using adam(polynomial(1e-3, over = steps))`
warmup_cosine warmup_cosine_decay_schedule CosineAnnealingWarmRestarts get_cosine_schedule_with_warmup: write `minimize loss using adam(cosine(1e-3, over = steps, warmup = 100))`
ReduceLROnPlateau reduce_on_plateau: a rate does not read the loss: `minimize loss using adam(cosine(1e-3, over = steps))`, `stop: patience(5, on = validation.loss)`
CyclicLR CyclicalLearningRate: write `minimize loss using sgd(cyclic(1e-3, 1e-2, half = 200))`
ConstantLR constant_schedule: write `minimize loss using adam(constant_rate(1e-3))`
ExponentialDecay exponential_decay_lr: write `minimize loss using adam(exponential_decay(1e-3, over = steps))`
LambdaLR LearningRateScheduler inject_hyperparams: a rate is an expression of `step`: `minimize loss using adam(1e-3 / sqrt(step))`
clip_grad_norm clip_grads adaptive_grad_clip: write `clip: global_norm(1.0)`
clip_grad_value_ clip_grad_value: write `clip: each_value(1.0)`
EarlyStopping early_stopping EarlyStop: write `stop: patience(5, on = validation.loss)`
ModelCheckpoint CSVLogger TensorBoard: the run folder has them: `dlc train SPEC`
MultiSteps apply_every gradient_accumulation: write `minimize loss using accumulate(adam(1e-3), turns = 4)`
Lookahead: write `minimize loss using lookahead(adam(1e-3))`
ema EMA ExponentialMovingAverage: write a `state` and `<-` in a layer, as `batch_norm()` does
L1 L2 l1_l2 L1L2 regularizers: write `penalty: l2(1e-4) on *.W`
no_grad: write `stop_gradient(x)`
value_and_grad: write `grad(sum(x^2), x)`
"""


def table() -> dict[str, str]:
    """Each word, and what to write instead."""
    found: dict[str, str] = {}
    for line in _WORDS.splitlines():
        if line and not line.startswith("#"):
            words, _, said = line.partition(": ")
            found.update(dict.fromkeys(words.split(), said))
    return found
