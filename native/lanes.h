/* What each operation does to n elements: plain loops, which the compiler vectorizes. A file includes this once for
 * each kind of processor, with LANES the name of its table, and says before what instructions the compiler may use.
 *
 * The result may lie where an operand lies, element on element: no element is read after its place was written, which
 * is what the pragma says. */

#include "chain.h"
#include "functions.h"
#include "product.h"
#include "large.h"

#if defined(__clang__)
#define EACH _Pragma("clang loop vectorize(assume_safety)") for (size_t i = 0; i < n; i++)
#elif defined(__GNUC__)
#define EACH _Pragma("GCC ivdep") for (size_t i = 0; i < n; i++)
#elif defined(_MSC_VER)
#define EACH __pragma(loop(ivdep)) for (size_t i = 0; i < n; i++)
#else
#define EACH for (size_t i = 0; i < n; i++)
#endif

/* A lane: R and A are the types of the result and of the operands, VALUE is made of x, y and z. */
#define LANE(NAME, R, A, VALUE)                                                                       \
    static void NAME(size_t n, void *to, const void *a, const void *b, const void *c) {               \
        R *r = to;                                                                                    \
        const A *px = a;                                                                              \
        (void)b, (void)c;                                                                             \
        EACH {                                                                                        \
            const A x = px[i];                                                                        \
            r[i] = (R)(VALUE);                                                                        \
        }                                                                                             \
    }
#define LANE2(NAME, R, A, VALUE)                                                                      \
    static void NAME(size_t n, void *to, const void *a, const void *b, const void *c) {               \
        R *r = to;                                                                                    \
        const A *px = a, *py = b;                                                                     \
        (void)c;                                                                                      \
        EACH {                                                                                        \
            const A x = px[i], y = py[i];                                                             \
            r[i] = (R)(VALUE);                                                                        \
        }                                                                                             \
    }
/* The same with one element for all, on the left or on the right. */
#define ONES(NAME, T, VALUE)                                                                          \
    LANE2(NAME, T, T, VALUE)                                                                          \
    static void NAME##_left(size_t n, void *to, const void *a, const void *b, const void *c) {        \
        T *r = to;                                                                                    \
        const T x = *(const T *)a, *py = b;                                                           \
        (void)c;                                                                                      \
        EACH {                                                                                        \
            const T y = py[i];                                                                        \
            r[i] = VALUE;                                                                             \
        }                                                                                             \
    }                                                                                                 \
    static void NAME##_right(size_t n, void *to, const void *a, const void *b, const void *c) {       \
        T *r = to;                                                                                    \
        const T *px = a, y = *(const T *)b;                                                           \
        (void)c;                                                                                      \
        EACH {                                                                                        \
            const T x = px[i];                                                                        \
            r[i] = VALUE;                                                                             \
        }                                                                                             \
    }
#define CHOICE(NAME, R)                                                                               \
    static void NAME(size_t n, void *to, const void *a, const void *b, const void *c) {               \
        R *r = to;                                                                                    \
        const uint8_t *which = a;                                                                     \
        const R *py = b, *pz = c;                                                                     \
        EACH {                                                                                        \
            const R y = py[i], z = pz[i];                                                             \
            r[i] = which[i] ? y : z;                                                                  \
        }                                                                                             \
    }

/* The larger one, as ONNX has it: NaN if either is. */
#define LARGER(x, y) ((x) > (y) || (x) != (x) ? (x) : (y))
#define SMALLER(x, y) ((x) < (y) || (x) != (x) ? (x) : (y))

#define ARITHMETIC(S, T)                        \
    ONES(add_##S, T, x + y)                     \
    ONES(sub_##S, T, x - y)                     \
    ONES(mul_##S, T, x * y)                     \
    ONES(div_##S, T, x / y)                     \
    LANE2(max_##S, T, T, LARGER(x, y))          \
    LANE2(min_##S, T, T, SMALLER(x, y))
#define COMPARISONS(S, T)                       \
    LANE2(equal_##S, uint8_t, T, x == y)        \
    LANE2(less_##S, uint8_t, T, x < y)          \
    LANE2(less_equal_##S, uint8_t, T, x <= y)   \
    LANE2(greater_##S, uint8_t, T, x > y)       \
    LANE2(greater_equal_##S, uint8_t, T, x >= y)
#define FLOATS(S, T, SUFFIX)                    \
    ARITHMETIC(S, T)                            \
    COMPARISONS(S, T)                           \
    LANE2(pow_##S, T, T, pow##SUFFIX(x, y))     \
    LANE(neg_##S, T, T, -x)                     \
    LANE(abs_##S, T, T, fabs##SUFFIX(x))        \
    LANE(sqrt_##S, T, T, sqrt##SUFFIX(x))       \
    LANE(reciprocal_##S, T, T, 1 / x)           \
    LANE(sign_##S, T, T, x > 0 ? 1 : x < 0 ? -1 : x == 0 ? 0 : x) \
    LANE(floor_##S, T, T, floor##SUFFIX(x))     \
    LANE(ceil_##S, T, T, ceil##SUFFIX(x))       \
    CHOICE(where_##S, T)
FLOATS(f32, float, f)
FLOATS(f64, double, )
LANE(exp_f32, float, float, exp32(x))
LANE(log_f32, float, float, log32(x))
LANE(tanh_f32, float, float, tanh32(x))
LANE(erf_f32, float, float, erf32(x))
LANE(sigmoid_f32, float, float, sigmoid32(x))
LANE(exp_f64, double, double, exp64(x))
LANE(log_f64, double, double, log64(x))
LANE(tanh_f64, double, double, tanh64(x))
LANE(erf_f64, double, double, erf64(x))
LANE(sigmoid_f64, double, double, sigmoid64(x))
LANE(cos_f32, float, float, cosf(x))
LANE(sin_f32, float, float, sinf(x))
LANE(cos_f64, double, double, cos(x))
LANE(sin_f64, double, double, sin(x))

/* The sum of n elements: many at a time, whose order is the same on every processor. */
#define TOTAL(NAME, T)                                                                                \
    static void NAME(size_t n, void *to, const void *a, const void *b, const void *c) {               \
        const T *x = a;                                                                               \
        T parts[64 / sizeof(T) * 2] = {0};                                                            \
        enum { PARTS = 64 / sizeof(T) * 2 };                                                          \
        size_t i = 0;                                                                                 \
        (void)b, (void)c;                                                                             \
        for (; i + PARTS <= n; i += PARTS)                                                            \
            for (size_t k = 0; k < PARTS; k++) parts[k] += x[i + k];                                  \
        for (size_t k = 0; i < n; i++, k++) parts[k] += x[i];                                         \
        for (size_t half = PARTS / 2; half; half /= 2)                                                \
            for (size_t k = 0; k < half; k++) parts[k] += parts[k + half];                            \
        *(T *)to = parts[0];                                                                          \
    }
TOTAL(sum_f32, float)
TOTAL(sum_f64, double)

/* Folds PARTS numbers into the first one, in halves. */
enum { PARTS = 32 };
#define FOLD(HALF, VALUE)                                   \
    for (size_t k = 0; k < HALF; k++) {                     \
        const float a = parts[k], b = parts[k + HALF];      \
        parts[k] = VALUE;                                   \
    }
#define FOLDED(VALUE) FOLD(16, VALUE) FOLD(8, VALUE) FOLD(4, VALUE) FOLD(2, VALUE) FOLD(1, VALUE)

/* Of n > 0 numbers the largest; where the first one is NaN, that. */
static float largest(size_t n, const float *x) {
    float parts[PARTS];
    size_t i = 0;
    for (size_t k = 0; k < PARTS; k++) parts[k] = x[0];
    for (; i + PARTS <= n; i += PARTS)
        for (size_t k = 0; k < PARTS; k++) parts[k] = x[i + k] > parts[k] ? x[i + k] : parts[k];
    for (size_t k = 0; i < n; i++, k++) parts[k] = x[i] > parts[k] ? x[i] : parts[k];
    FOLDED(b > a ? b : a)
    return parts[0];
}

/* NaN if any is. */
static float largest_of(size_t n, const float *x) {
    uint32_t other = 0;
    for (size_t i = 0; i < n; i++) other |= x[i] != x[i];
    return other ? NAN : largest(n, x);
}

/* A sum, of up to 512 numbers at a time in float32, of these in double: in the same order on every processor. */
static float total(size_t n, const float *x) {
    enum { LONG = 512 };
    double sum = 0;
    for (size_t from = 0; from < n; from += LONG) {
        const size_t end = n - from < LONG ? n : from + LONG;
        float parts[PARTS] = {0};
        size_t i = from;
        for (; i + PARTS <= end; i += PARTS)
            for (size_t k = 0; k < PARTS; k++) parts[k] += x[i + k];
        for (size_t k = 0; i < end; i++, k++) parts[k] += x[i];
        FOLDED(a + b)
        sum += (double)parts[0];
    }
    return (float)sum;
}

/* How many numbers of a row are left without those of -inf at its end, in steps. */
static size_t unmasked(size_t n, const float *x) {
    enum { STEP = 16 };
    while (n > STEP) {
        const size_t from = (n - 1) / STEP * STEP;
        uint32_t other = 0;
        for (size_t k = from; k < n; k++) other |= bits_of(x[k]) ^ 0xff800000u;
        if (other) break;
        n = from;
    }
    return n;
}

static double total_64(size_t n, const double *x) {
    double sum;
    sum_f64(n, &sum, x, NULL, NULL);
    return sum;
}
static double largest_64(size_t n, const double *x) {
    double top = x[0];
    for (size_t i = 1; i < n; i++) top = x[i] > top || x[i] != x[i] ? x[i] : top;
    return top;
}

/* What is the same in all places of a row: its sum, its largest number (NaN if one is). */
#define OF_ROW(NAME, T, VALUE)                                                                        \
    static void NAME(size_t n, void *to, const void *a, const void *b, const void *c) {               \
        const T *x = a;                                                                               \
        T *r = to;                                                                                    \
        const T value = VALUE;                                                                        \
        (void)b, (void)c;                                                                             \
        EACH r[i] = value;                                                                            \
    }
OF_ROW(row_sum_f32, float, total(n, x))
OF_ROW(row_sum_f64, double, total_64(n, x))
OF_ROW(row_max_f32, float, largest_of(n, x))
OF_ROW(row_max_f64, double, largest_64(n, x))

static void exponentials(size_t n, float *e, const float *x, float top) { EACH e[i] = exp32(x[i] - top); }
static void multiplied(size_t n, float *x, float by) { EACH x[i] *= by; }
static void less(size_t n, float *to, const float *x, float top, float rest) { EACH to[i] = (x[i] - top) - rest; }

/* exp(x - max x) / sum of each row of n > 0 numbers, a few rows at a time. What a mask of -inf leaves out at the end of a
 * row costs nothing. */
static void softmax(size_t rows, size_t n, float *to, const float *x) {
    enum { FEW = 16 };
    for (size_t row = 0; row < rows; row += FEW, x += FEW * n, to += FEW * n) {
        const size_t few = rows - row < FEW ? rows - row : FEW;
        float top[FEW], part[FEW];
        size_t most[FEW];
        for (size_t r = 0; r < few; r++) most[r] = unmasked(n, x + r * n), top[r] = largest(most[r], x + r * n);
        for (size_t r = 0; r < few; r++) exponentials(most[r], to + r * n, x + r * n, top[r]);
        for (size_t r = 0; r < few; r++) part[r] = 1.0f / total(most[r], to + r * n);
        for (size_t r = 0; r < few; r++) {
            const float zero = 0.0f * part[r];
            for (size_t i = most[r]; i < n; i++) to[r * n + i] = zero;
            multiplied(most[r], to + r * n, part[r]);
        }
    }
}

/* x - max x - log(sum of exp(x - max x)) of each row. */
static void log_softmax(size_t rows, size_t n, float *to, const float *x) {
    enum { LONG = 512 };
    for (size_t row = 0; row < rows; row++, x += n, to += n) {
        const float top = largest(n, x);
        float e[LONG];
        double sum = 0;
        for (size_t from = 0; from < n; from += LONG) {
            const size_t most = n - from < LONG ? n - from : LONG;
            exponentials(most, e, x + from, top);
            sum += (double)total(most, e);
        }
        less(n, to, x, top, log32((float)sum));
    }
}

/* Whole numbers wrap around, which C says of unsigned ones only. */
#define WHOLE(S, T, U)                                  \
    COMPARISONS(S, T)                                   \
    LANE2(add_##S, T, U, x + y)                         \
    LANE2(sub_##S, T, U, x - y)                         \
    LANE2(mul_##S, T, U, x * y)                         \
    LANE2(max_##S, T, T, x > y ? x : y)                 \
    LANE2(min_##S, T, T, x < y ? x : y)                 \
    CHOICE(where_##S, T)
WHOLE(i32, int32_t, uint32_t)
WHOLE(i64, int64_t, uint64_t)

#define UNSIGNED(S, T, BITS)                            \
    LANE2(add_##S, T, T, x + y)                         \
    LANE2(sub_##S, T, T, x - y)                         \
    ONES(mul_##S, T, x * y)                             \
    ONES(shift_##S, T, x >> (y & (BITS - 1)))           \
    COMPARISONS(S, T)                                   \
    CHOICE(where_##S, T)
UNSIGNED(u32, uint32_t, 32)
UNSIGNED(u64, uint64_t, 64)

/* Truths: 0 or 1. */
LANE2(and_u8, uint8_t, uint8_t, (x != 0) & (y != 0))
LANE2(or_u8, uint8_t, uint8_t, (x != 0) | (y != 0))
LANE2(xor_u8, uint8_t, uint8_t, (x != 0) ^ (y != 0))
LANE2(equal_u8, uint8_t, uint8_t, (x != 0) == (y != 0))
LANE(not_u8, uint8_t, uint8_t, x == 0)
CHOICE(where_u8, uint8_t)

/* Casts that are defined for every number: no float becomes a whole number here. */
LANE(f32_f64, double, float, x)
LANE(f64_f32, float, double, x)
LANE(u8_f32, float, uint8_t, x != 0)
LANE(u8_f64, double, uint8_t, x != 0)
LANE(u8_i32, int32_t, uint8_t, x != 0)
LANE(u8_i64, int64_t, uint8_t, x != 0)
LANE(f32_u8, uint8_t, float, x != 0)
LANE(f64_u8, uint8_t, double, x != 0)
LANE(i32_u8, uint8_t, int32_t, x != 0)
LANE(i64_u8, uint8_t, int64_t, x != 0)
LANE(i32_f32, float, int32_t, x)
LANE(i64_f32, float, int64_t, x)
LANE(i32_f64, double, int32_t, x)
LANE(i64_f64, double, int64_t, x)
LANE(i32_i64, int64_t, int32_t, x)
LANE(i64_u64, uint64_t, int64_t, x)
LANE(i64_u32, uint32_t, int64_t, x)
LANE(u64_i64, int64_t, uint64_t, x)
LANE(u64_u32, uint32_t, uint64_t, x)
LANE(u32_u64, uint64_t, uint32_t, x)
LANE(u32_i64, int64_t, uint32_t, x)
LANE(u32_f32, float, uint32_t, x)
LANE(u32_f64, double, uint32_t, x)
LANE(u8_u32, uint32_t, uint8_t, x != 0)
LANE(u8_u64, uint64_t, uint8_t, x != 0)

/* n copies of one element, by its width. */
static void fill_1(size_t n, void *to, const void *a, const void *b, const void *c) {
    (void)b, (void)c;
    memset(to, *(const unsigned char *)a, n);
}
#define FILL(NAME, T)                                                                                 \
    static void NAME(size_t n, void *to, const void *a, const void *b, const void *c) {               \
        T *r = to;                                                                                    \
        const T x = *(const T *)a;                                                                    \
        (void)b, (void)c;                                                                             \
        EACH r[i] = x;                                                                                \
    }
FILL(fill_4, uint32_t)
FILL(fill_8, uint64_t)

#if defined(STREAM)
/* Lines of the first-level cache to memory, and not into a cache: `to` begins on a line, like the memory of tensors. Of
 * 0 bytes: what was written is there for other threads. */
static void stream_lines(size_t bytes, void *to, const void *from) {
    char *out = to;
    const char *in = from;
    if (!bytes) {
        _mm_sfence();
        return;
    }
    size_t whole = ((uintptr_t)to & 63) == 0 ? bytes & ~(size_t)63 : 0;
    for (size_t i = 0; i < whole; i += 64) STREAM(out + i, in + i);
    memcpy(out + whole, in + whole, bytes - whole);
}
#else
#define stream_lines NULL
#endif

#define BOTH(NAME) {[F32] = NAME##_f32, [F64] = NAME##_f64}
#define BOTH_OF(NAME, SIDE) {[F32] = NAME##_f32_##SIDE, [F64] = NAME##_f64_##SIDE}
#define SIGNED(NAME) {[F32] = NAME##_f32, [F64] = NAME##_f64, [I32] = NAME##_i32, [I64] = NAME##_i64}
#define NUMBERS(NAME) {[F32] = NAME##_f32, [F64] = NAME##_f64, [I32] = NAME##_i32, [I64] = NAME##_i64, \
    [U32] = NAME##_u32, [U64] = NAME##_u64}
#define ALL(NAME) {[F32] = NAME##_f32, [F64] = NAME##_f64, [I32] = NAME##_i32, [I64] = NAME##_i64, [U8] = NAME##_u8, \
    [U32] = NAME##_u32, [U64] = NAME##_u64}
const Lanes LANES = {
    .name = NAMED,
    .stream = stream_lines,
    .product = product,
    .product_pack = product_pack,
    .large = large,
    .large_rows = LARGE_ROWS,
    .large_room = LARGE_ROOM,
    .large_side = SIDE,
    .large_panel = PANEL,
    .softmax = softmax,
    .log_softmax = log_softmax,
    .fill = {[F32] = fill_4, [F64] = fill_8, [I32] = fill_4, [I64] = fill_8, [U8] = fill_1, [U32] = fill_4, [U64] = fill_8},
    .op = {
        [WHERE] = ALL(where), [ADD] = NUMBERS(add), [SUB] = NUMBERS(sub), [MUL] = NUMBERS(mul), [DIV] = BOTH(div),
        [MAX] = SIGNED(max), [MIN] = SIGNED(min), [POW] = BOTH(pow), [NEG] = BOTH(neg), [ABS] = BOTH(abs),
        [SQRT] = BOTH(sqrt), [RECIPROCAL] = BOTH(reciprocal), [SIGN] = BOTH(sign), [FLOOR] = BOTH(floor),
        [CEIL] = BOTH(ceil), [EXP] = BOTH(exp), [LOG] = BOTH(log), [TANH] = BOTH(tanh),
        [ERF] = BOTH(erf), [SIGMOID] = BOTH(sigmoid), [EQUAL] = ALL(equal), [LESS] = NUMBERS(less),
        [LESS_EQUAL] = NUMBERS(less_equal), [GREATER] = NUMBERS(greater), [GREATER_EQUAL] = NUMBERS(greater_equal),
        [AND] = {[U8] = and_u8}, [OR] = {[U8] = or_u8}, [XOR] = {[U8] = xor_u8}, [NOT] = {[U8] = not_u8}, [SUM] = BOTH(sum),
        [SHIFT] = {[U32] = shift_u32, [U64] = shift_u64}, [COS] = BOTH(cos), [SIN] = BOTH(sin),
        [ROW_SUM] = BOTH(row_sum), [ROW_MAX] = BOTH(row_max),
    },
    .left = {
        [ADD] = BOTH_OF(add, left), [SUB] = BOTH_OF(sub, left), [SHIFT] = {[U32] = shift_u32_left, [U64] = shift_u64_left},
        [MUL] = {[F32] = mul_f32_left, [F64] = mul_f64_left, [U32] = mul_u32_left, [U64] = mul_u64_left}, [DIV] = BOTH_OF(div, left),
    },
    .right = {
        [ADD] = BOTH_OF(add, right), [SUB] = BOTH_OF(sub, right),
        [MUL] = {[F32] = mul_f32_right, [F64] = mul_f64_right, [U32] = mul_u32_right, [U64] = mul_u64_right},
        [DIV] = BOTH_OF(div, right), [SHIFT] = {[U32] = shift_u32_right, [U64] = shift_u64_right},
    },
    .cast = {
        [F32] = {[F64] = f32_f64, [U8] = f32_u8},
        [F64] = {[F32] = f64_f32, [U8] = f64_u8},
        [I32] = {[F32] = i32_f32, [F64] = i32_f64, [I64] = i32_i64, [U8] = i32_u8},
        [I64] = {[F32] = i64_f32, [F64] = i64_f64, [U8] = i64_u8, [U32] = i64_u32, [U64] = i64_u64},
        [U8] = {[F32] = u8_f32, [F64] = u8_f64, [I32] = u8_i32, [I64] = u8_i64, [U32] = u8_u32, [U64] = u8_u64},
        [U32] = {[F32] = u32_f32, [F64] = u32_f64, [I64] = u32_i64, [U64] = u32_u64},
        [U64] = {[I64] = u64_i64, [U32] = u64_u32},
    },
};
