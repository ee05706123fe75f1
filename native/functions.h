/* exp, log, tanh, erf and the sigmoid of one number, without branches: the loops over them in lanes.h are vectorized.
 *
 * Each is within 2 units in the last place. MULTIPLY_ADD rounds once where the processor has an instruction for it, so
 * the last bit may differ from one kind of processor to another; nothing else is contracted. The polynomials were
 * fitted for this file, to the least largest relative error of the result over their interval. */

#ifndef DLC_FUNCTIONS_H
#define DLC_FUNCTIONS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(FUSED)
#define MULTIPLY_ADD(a, b, c) __builtin_fmaf(a, b, c)
#define MULTIPLY_ADD_64(a, b, c) __builtin_fma(a, b, c)
#else
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#define MULTIPLY_ADD_64(a, b, c) ((a) * (b) + (c))
#endif

static inline float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double double_of(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint64_t double_bits(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* exp(x) = 2^n exp(r), r = x - n log 2, |r| <= log(2) / 2. Adding and taking away 1.5 2^23 rounds to whole numbers, and
 * leaves n in the low bits of `shifted`. The result is 1 + exp_rest. */
static inline float exp_rest(float x, uint32_t *shifted) {
    float sum = MULTIPLY_ADD(x, 1.44269504f, 12582912.0f), n = sum - 12582912.0f;
    float r = MULTIPLY_ADD(n, -0.693359375f, x); /* exact: n has few bits */
    r = MULTIPLY_ADD(n, 2.12194440e-4f, r);
    float p = 1.99179703e-4f;
    p = MULTIPLY_ADD(p, r, 1.39461900e-3f);
    p = MULTIPLY_ADD(p, r, 8.33326485e-3f);
    p = MULTIPLY_ADD(p, r, 4.16662693e-2f);
    p = MULTIPLY_ADD(p, r, 1.66666672e-1f);
    p = MULTIPLY_ADD(p, r, 0.5f);
    *shifted = bits_of(sum);
    return MULTIPLY_ADD(r * r, p, r);
}

/* 2^n is multiplied in two halves: the ends (0, denormals, infinity) come by themselves. */
static inline float exp_scaled(float p, uint32_t shifted) {
    uint32_t m = shifted - 0x4B400000u + 512u, half = m >> 1; /* m = n + 512 */
    return p * float_of((half - 129u) << 23) * float_of((m - half - 129u) << 23);
}

static inline float exp32(float x) {
    x = 130.0f < x ? 130.0f : x; /* NaN stays */
    x = -150.0f > x ? -150.0f : x;
    uint32_t shifted;
    float p = exp_rest(x, &shifted);
    return exp_scaled(1.0f + p, shifted);
}

/* Of -80 <= x <= 80 only. */
static inline float exp_near(float x) {
    uint32_t shifted;
    float p = exp_rest(x, &shifted);
    return (1.0f + p) * float_of((shifted << 23) + 0x3F800000u);
}

/* The same in double, by the Taylor series up to r^13. */
static inline double exp64(double x) {
    x = x > 720.0 ? 720.0 : x;
    x = x < -760.0 ? -760.0 : x;
    double shifted = MULTIPLY_ADD_64(x, 1.4426950408889634, 6755399441055744.0), n = shifted - 6755399441055744.0;
    double r = MULTIPLY_ADD_64(n, -0.693145751953125, x);
    r = MULTIPLY_ADD_64(n, -1.4286068203094173e-6, r);
    double p = 1.0 / 6227020800.0;
    p = MULTIPLY_ADD_64(p, r, 1.0 / 479001600.0);
    p = MULTIPLY_ADD_64(p, r, 1.0 / 39916800.0);
    p = MULTIPLY_ADD_64(p, r, 1.0 / 3628800.0);
    p = MULTIPLY_ADD_64(p, r, 1.0 / 362880.0);
    p = MULTIPLY_ADD_64(p, r, 1.0 / 40320.0);
    p = MULTIPLY_ADD_64(p, r, 1.0 / 5040.0);
    p = MULTIPLY_ADD_64(p, r, 1.0 / 720.0);
    p = MULTIPLY_ADD_64(p, r, 1.0 / 120.0);
    p = MULTIPLY_ADD_64(p, r, 1.0 / 24.0);
    p = MULTIPLY_ADD_64(p, r, 1.0 / 6.0);
    p = MULTIPLY_ADD_64(p, r, 0.5);
    p = 1.0 + MULTIPLY_ADD_64(r * r, p, r);
    uint64_t m = double_bits(shifted) - 0x4338000000000000u + 2048u, half = m >> 1; /* m = n + 2048 */
    return p * double_of((half - 1u) << 52) * double_of((m - half - 1u) << 52);
}

/* log(x) = e log 2 + log(1 + f), x = 2^e (1 + f), 1 + f between sqrt(1/2) and sqrt(2); log(1 + f) = f - f f / 2 +
 * f f f p(f). */
static inline float log32(float x) {
    int32_t small = x < 1.17549435e-38f;
    float y = small ? x * 8388608.0f : x;
    uint32_t shifted = bits_of(y) - 0x3F3504F3u; /* sqrt(1/2) */
    float n = (float)((int32_t)shifted >> 23);
    n = small ? n - 23.0f : n;
    float f = float_of((shifted & 0x7FFFFFu) + 0x3F3504F3u) - 1.0f;
    float p = 6.74660131e-2f;
    p = MULTIPLY_ADD(p, f, -1.16756409e-1f);
    p = MULTIPLY_ADD(p, f, 1.18881747e-1f);
    p = MULTIPLY_ADD(p, f, -1.24055915e-1f);
    p = MULTIPLY_ADD(p, f, 1.42195508e-1f);
    p = MULTIPLY_ADD(p, f, -1.66679963e-1f);
    p = MULTIPLY_ADD(p, f, 2.00021192e-1f);
    p = MULTIPLY_ADD(p, f, -2.50000089e-1f);
    p = MULTIPLY_ADD(p, f, 3.33333135e-1f);
    float square = f * f;
    float result = MULTIPLY_ADD(n, -2.12194440e-4f, f * square * p);
    result = MULTIPLY_ADD(-0.5f, square, result);
    result = MULTIPLY_ADD(n, 0.693359375f, f + result);
    result = x > 3.40282347e+38f ? x : result;
    result = x == 0.0f ? -INFINITY : result;
    return x >= 0.0f ? result : NAN;
}

/* The same in double: log(1 + f) by the series in z = s s, s = f / (2 + f), up to z^12. */
static inline double log64(double x) {
    int64_t small = x < 2.2250738585072014e-308;
    double y = small ? x * 4503599627370496.0 : x;
    uint64_t shifted = double_bits(y) - 0x3FE6A09E667F3BCDu; /* sqrt(1/2) */
    /* The exponent, signed, without a signed shift or a cast, which older processors cannot do on 64 bits: its bits
     * under those of 2^52, and that taken away. */
    double n = double_of(((shifted + 0x8000000000000000u) >> 52) | 0x4330000000000000u) - (4503599627370496.0 + 2048.0);
    n = small ? n - 52.0 : n;
    double f = double_of((shifted & 0xFFFFFFFFFFFFFu) + 0x3FE6A09E667F3BCDu) - 1.0;
    double s = f / (2.0 + f), z = s * s;
    double p = 2.0 / 25.0;
    p = MULTIPLY_ADD_64(p, z, 2.0 / 23.0);
    p = MULTIPLY_ADD_64(p, z, 2.0 / 21.0);
    p = MULTIPLY_ADD_64(p, z, 2.0 / 19.0);
    p = MULTIPLY_ADD_64(p, z, 2.0 / 17.0);
    p = MULTIPLY_ADD_64(p, z, 2.0 / 15.0);
    p = MULTIPLY_ADD_64(p, z, 2.0 / 13.0);
    p = MULTIPLY_ADD_64(p, z, 2.0 / 11.0);
    p = MULTIPLY_ADD_64(p, z, 2.0 / 9.0);
    p = MULTIPLY_ADD_64(p, z, 2.0 / 7.0);
    p = MULTIPLY_ADD_64(p, z, 2.0 / 5.0);
    p = MULTIPLY_ADD_64(p, z, 2.0 / 3.0);
    double half = 0.5 * f * f;
    double result = f - (half - (s * (half + z * p) + n * 1.4286068203094173e-6)) + n * 0.693145751953125;
    result = x > 1.7976931348623157e+308 ? x : result;
    result = x == 0.0 ? -INFINITY : result;
    return x >= 0.0 ? result : NAN;
}

/* x + x s p(s), s = x x, near 0; elsewhere 1 - 2 / (exp(2 |x|) + 1), with the sign of x. */
static inline float tanh32(float x) {
    float size = fabsf(x), s = x * x;
    float p = 1.74414332e-3f;
    p = MULTIPLY_ADD(p, s, -7.66922906e-3f);
    p = MULTIPLY_ADD(p, s, 2.14594379e-2f);
    p = MULTIPLY_ADD(p, s, -5.38948029e-2f);
    p = MULTIPLY_ADD(p, s, 1.33327201e-1f);
    p = MULTIPLY_ADD(p, s, -3.33333164e-1f);
    float near = MULTIPLY_ADD(x * s, p, x);
    float t = 20.0f < size + size ? 20.0f : size + size; /* from 10 on it is 1; NaN stays */
    float far = 1.0f - 2.0f / (exp_near(t) + 1.0f);
    far = float_of(bits_of(far) | (bits_of(x) & 0x80000000u));
    return size < 0.75f ? near : far; /* NaN: far */
}

/* x + x p(x x) near 0; elsewhere 1 - exp(-g(|x|)), g(t) = -log(1 - erf(t)), with the sign of x. From 4 on it is 1. */
static inline float erf32(float x) {
    float size = fabsf(x), s = x * x;
    float p = 7.8891142e-5f;
    p = MULTIPLY_ADD(p, s, -8.02083989e-4f);
    p = MULTIPLY_ADD(p, s, 5.18953521e-3f);
    p = MULTIPLY_ADD(p, s, -2.68544443e-2f);
    p = MULTIPLY_ADD(p, s, 1.12836003e-1f);
    p = MULTIPLY_ADD(p, s, -3.7612626e-1f);
    p = MULTIPLY_ADD(p, s, 1.28379166e-1f);
    float near = MULTIPLY_ADD(x, p, x);
    float t = 4.0f < size ? 4.0f : size; /* NaN stays */
    float g = 2.16977296e-5f;
    g = MULTIPLY_ADD(g, t, -4.41474025e-4f);
    g = MULTIPLY_ADD(g, t, 4.20529163e-3f);
    g = MULTIPLY_ADD(g, t, -2.52103582e-2f);
    g = MULTIPLY_ADD(g, t, 1.0842213e-1f);
    g = MULTIPLY_ADD(g, t, 6.33216381e-1f);
    g = MULTIPLY_ADD(g, t, 1.12958038f);
    g = MULTIPLY_ADD(g, t, -1.88470673e-4f);
    float far = 1.0f - exp_near(-g);
    far = float_of(bits_of(far) | (bits_of(x) & 0x80000000u));
    return size < 1.0f ? near : far;
}

/* x + x s P(s) / Q(s), s = x x, near 0; elsewhere as in float32. The quotients are those of Moshier's Cephes. */
static inline double tanh64(double x) {
    double size = fabs(x), s = x * x;
    double p = MULTIPLY_ADD_64(-9.64399179425052238628e-1, s, -9.92877231001918586564e1);
    p = MULTIPLY_ADD_64(p, s, -1.61468768441708447952e3);
    double q = s + 1.12811678491632931402e2;
    q = MULTIPLY_ADD_64(q, s, 2.23548839060100448583e3);
    q = MULTIPLY_ADD_64(q, s, 4.84406305325125486048e3);
    double near = MULTIPLY_ADD_64(x * s, p / q, x);
    double t = 40.0 < size + size ? 40.0 : size + size; /* from 20 on it is 1; NaN stays */
    double far = 1.0 - 2.0 / (exp64(t) + 1.0);
    far = double_of(double_bits(far) | (double_bits(x) & 0x8000000000000000u));
    return size < 0.625 ? near : size == size ? far : x;
}

/* x + x (T - U)(x x) / U(x x) near 0; elsewhere 1 - exp(-x x) P(|x|) / Q(|x|), with the sign of x. From 6 on it is 1.
 * The quotients are those of Moshier's Cephes. */
static inline double erf64(double x) {
    double size = fabs(x), s = x * x;
    double p = -s - 23.95674042487979357721; /* T - U */
    p = MULTIPLY_ADD_64(p, s, -431.3319300597684108733);
    p = MULTIPLY_ADD_64(p, s, -2362.31848376295808761);
    p = MULTIPLY_ADD_64(p, s, -15625.67492026104266987);
    p = MULTIPLY_ADD_64(p, s, 6324.9070401759041682);
    double q = s + 3.35617141647503099647e1;
    q = MULTIPLY_ADD_64(q, s, 5.21357949780152679795e2);
    q = MULTIPLY_ADD_64(q, s, 4.59432382970980127987e3);
    q = MULTIPLY_ADD_64(q, s, 2.26290000613890934246e4);
    q = MULTIPLY_ADD_64(q, s, 4.92673942608635921086e4);
    double near = MULTIPLY_ADD_64(x, p / q, x), t = 6.0 < size ? 6.0 : size;
    p = MULTIPLY_ADD_64(2.46196981473530512524e-10, t, 5.64189564831068821977e-1);
    p = MULTIPLY_ADD_64(p, t, 7.46321056442269912687);
    p = MULTIPLY_ADD_64(p, t, 4.86371970985681366614e1);
    p = MULTIPLY_ADD_64(p, t, 1.96520832956077098242e2);
    p = MULTIPLY_ADD_64(p, t, 5.26445194995477358631e2);
    p = MULTIPLY_ADD_64(p, t, 9.34528527171957607540e2);
    p = MULTIPLY_ADD_64(p, t, 1.02755188689515710272e3);
    p = MULTIPLY_ADD_64(p, t, 5.57535335369399327526e2);
    q = t + 1.32281951154744992508e1;
    q = MULTIPLY_ADD_64(q, t, 8.67072140885989742329e1);
    q = MULTIPLY_ADD_64(q, t, 3.54937778887819891062e2);
    q = MULTIPLY_ADD_64(q, t, 9.75708501743205489753e2);
    q = MULTIPLY_ADD_64(q, t, 1.82390916687909736289e3);
    q = MULTIPLY_ADD_64(q, t, 2.24633760818710981792e3);
    q = MULTIPLY_ADD_64(q, t, 1.65666309194161350182e3);
    q = MULTIPLY_ADD_64(q, t, 5.57535340817727675546e2);
    double far = 1.0 - exp64(-t * t) * (p / q);
    far = double_of(double_bits(far) | (double_bits(x) & 0x8000000000000000u));
    return size < 1.0 ? near : size == size ? far : x;
}

/* 1 / (1 + exp(-x)), for x < 0 as exp(x) / (1 + exp(x)), which underflows where it should. What rounding took from
 * both parts of the quotient is put back; 1.457 - d / 2 is 1 / d to a few per cent, and all that the small one needs. */
static inline float sigmoid32(float x) {
    uint32_t shifted;
    float size = fabsf(x), p = exp_rest(-150.0f > -size ? -150.0f : -size, &shifted), sum = 1.0f + p;
    float e = exp_scaled(sum, shifted), d = 1.0f + e, q = (x < 0.0f ? e : 1.0f) / d;
#if defined(FUSED)
    return MULTIPLY_ADD(q * ((d - 1.0f) - e), MULTIPLY_ADD(-0.5f, d, 1.457f), q);
#else
    float rest = exp_scaled(p - (sum - 1.0f), shifted), lost = (e - (d - 1.0f)) + rest;
    return q + ((x < 0.0f ? rest : 0.0f) - q * lost) * (1.457f - 0.5f * d);
#endif
}

static inline double sigmoid64(double x) {
    double e = exp64(-fabs(x));
    return (x < 0.0 ? e : 1.0) / (1.0 + e);
}

#endif
