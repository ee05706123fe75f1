/* The inner loops of filters.h. A file includes this for each kind of processor and type, with T the type, L the lanes
 * of a vector, REGISTERS how many vectors the processor keeps, and NAME(x) the names that are made. Here a product and
 * a sum may be one operation, which is why these are files of their own. */

#define V NAME(Vector)
#if L > 1
typedef T V __attribute__((vector_size(L * sizeof(T)), aligned(sizeof(T)), may_alias));
#else
typedef T V;
#endif

#if L == 1
#define SPLAT(x) (x)
#elif L == 2
#define SPLAT(x) ((V){x, x})
#elif L == 4
#define SPLAT(x) ((V){x, x, x, x})
#elif L == 8
#define SPLAT(x) ((V){x, x, x, x, x, x, x, x})
#else
#define SPLAT(x) ((V){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x})
#endif

/* Every count of rows and taps is a function of its own, in which both are known. */
INLINE void NAME(run_of)(const Run *run, const size_t rows, const size_t taps) {
    const size_t windows = run->windows, across = run->across;
    V sum[MOST];
    UNROLL for (size_t k = 0; k < rows * taps; k++)
        sum[k] = ((const V *)run->sum)[k / taps * (run->apart / L) + k % taps];
    for (size_t image = 0; image < run->images; image++) {
        const V *g = (const V *)((const T *)run->g + image * run->image_g);
        const T *x = (const T *)run->x + image * run->image_x;
        for (size_t p = 0; p < run->windows_down; p++, x += run->down) {
            const T *row[ROWS];
            UNROLL for (size_t r = 0; r < rows; r++) row[r] = x + run->row[r];
            for (size_t q = 0, at = 0; q < windows; q++, at += across) {
                const V by = *g++;
                UNROLL for (size_t r = 0; r < rows; r++)
                    UNROLL for (size_t k = 0; k < taps; k++) {
                        const T here = row[r][at + k];
                        sum[r * taps + k] += by * SPLAT(here);
                    }
            }
        }
    }
    UNROLL for (size_t k = 0; k < rows * taps; k++)
        ((V *)run->sum)[k / taps * (run->apart / L) + k % taps] = sum[k];
}

#define RUN(ROWS_, TAPS_) static void NAME(run_##ROWS_##_##TAPS_)(const Run *run) { NAME(run_of)(run, ROWS_, TAPS_); }
RUN(1, 1) RUN(2, 1) RUN(4, 1) RUN(8, 1)
RUN(1, 2) RUN(2, 2) RUN(4, 2)
RUN(1, 3) RUN(2, 3) RUN(4, 3)
RUN(1, 4) RUN(2, 4)
RUN(1, 5) RUN(2, 5)
#if REGISTERS >= 32
RUN(8, 2) RUN(8, 3) RUN(6, 4) RUN(4, 4) RUN(5, 5) RUN(4, 5)
static const size_t NAME(most_rows)[6] = {0, 8, 8, 8, 6, 5};
#else
RUN(6, 2) RUN(3, 4)
static const size_t NAME(most_rows)[6] = {0, 8, 6, 4, 3, 2};
#endif

/* As many rows as `most_rows` says, or fewer. */
static void NAME(run)(const Run *run, size_t rows, size_t taps) {
    static void (*const table[6][9])(const Run *) = {
        [1] = {[1] = NAME(run_1_1), [2] = NAME(run_2_1), [4] = NAME(run_4_1), [8] = NAME(run_8_1)},
        [2] = {[1] = NAME(run_1_2), [2] = NAME(run_2_2), [4] = NAME(run_4_2)
#if REGISTERS >= 32
            , [8] = NAME(run_8_2)
#else
            , [6] = NAME(run_6_2)
#endif
        },
        [3] = {[1] = NAME(run_1_3), [2] = NAME(run_2_3), [4] = NAME(run_4_3)
#if REGISTERS >= 32
            , [8] = NAME(run_8_3)
#endif
        },
        [4] = {[1] = NAME(run_1_4), [2] = NAME(run_2_4)
#if REGISTERS >= 32
            , [4] = NAME(run_4_4), [6] = NAME(run_6_4)
#else
            , [3] = NAME(run_3_4)
#endif
        },
        [5] = {[1] = NAME(run_1_5), [2] = NAME(run_2_5)
#if REGISTERS >= 32
            , [4] = NAME(run_4_5), [5] = NAME(run_5_5)
#endif
        },
    };
    Run part = *run;
    while (rows) {
        size_t now = rows;
        while (now > 8 || !table[taps][now]) now--;
        table[taps][now](&part);
        part.row += now;
        part.sum = (T *)part.sum + now * part.apart;
        rows -= now;
    }
}

#if L > 1 && defined(SHUFFLES)
#if L == 2
#define LOW(a, b) __builtin_shufflevector(a, b, 0, 2)
#define HIGH(a, b) __builtin_shufflevector(a, b, 1, 3)
#define PASSES 1
#elif L == 4
#define LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#define PASSES 2
#elif L == 8
#define LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#define PASSES 3
#else
#define LOW(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define HIGH(a, b) __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#define PASSES 4
#endif
#endif

/* A square of vectors, a[l] = FROM: interleaved until it is turned. */
#define TURN(FROM)                                                     \
    V b[L];                                                            \
    UNROLL for (size_t l = 0; l < L; l++) a[l] = FROM;                 \
    UNROLL for (int pass = 0; pass < PASSES; pass++) {                 \
        UNROLL for (size_t l = 0; l < L / 2; l++) {                    \
            b[2 * l] = LOW(a[l], a[l + L / 2]);                        \
            b[2 * l + 1] = HIGH(a[l], a[l + L / 2]);                   \
        }                                                              \
        UNROLL for (size_t l = 0; l < L; l++) a[l] = b[l];             \
    }

static void NAME(pack)(void *to, const void *from, size_t channels, size_t plane, size_t count) {
    T *out = to;
    const T *in = from;
    size_t k = 0;
#if L > 1 && defined(SHUFFLES)
    for (; k + L <= count; k += L) {
        V a[L];
        TURN(l < channels ? *(const V *)(in + l * plane + k) : SPLAT(0))
        UNROLL for (size_t l = 0; l < L; l++) *(V *)(out + (k + l) * L) = a[l];
    }
#endif
    for (size_t l = 0; l < L; l++)
        for (size_t i = k; i < count; i++) out[i * L + l] = l < channels ? in[l * plane + i] : 0;
}

static void NAME(copy)(void *to, const void *from, size_t count) {
    T *out = to;
    const T *in = from;
    size_t i = 0;
    for (; i + L <= count; i += L) *(V *)(out + i) = *(const V *)(in + i);
    for (; i + 4 <= count; i += 4) memcpy(out + i, in + i, 4 * sizeof(T));
    for (; i < count; i++) out[i] = in[i];
}

static void NAME(finish)(void *to, const void *from, size_t channels, size_t taps, size_t shares, size_t apart) {
    T *out = to;
    for (size_t k = 0; k < taps; k++) {
        const T *in = (const T *)from + k * L;
        V sum = *(const V *)in;
        for (size_t s = 1; s < shares; s++) sum += *(const V *)(in + s * apart);
        const T *one = (const T *)&sum;
        for (size_t l = 0; l < channels; l++) out[l * taps + k] = one[l];
    }
}

static const Filters NAME(table) = {
    .lanes = L, .width = sizeof(T), .most_taps = 5, .most_rows = NAME(most_rows), .run = NAME(run),
    .pack = NAME(pack), .copy = NAME(copy), .finish = NAME(finish),
};

#if defined(SQUARES)
#include "squares_lanes.h"
#endif

#undef V
#undef TURN
#undef SPLAT
#undef RUN
#undef LOW
#undef HIGH
#undef PASSES
#undef T
#undef L
#undef NAME
