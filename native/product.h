/* A product of two matrices of float32 on one thread, for the small ones of a region. A file includes this once for each
 * kind of processor, which says what a vector is: V of WIDTH numbers, LOAD, STORE, SET, FMA (a b + c), MULTIPLY, PLUS,
 * perhaps LOAD_PART and STORE_PART (of the first n numbers) and TURN (up to WIDTH rows of up to WIDTH numbers as columns);
 * and how many ROWS and VECTORS of a result its registers hold.
 *
 * Each number of the result is one sum over k in order, in blocks of DEPTH, whatever rows and columns lie around it. So
 * the rows of a product are the same numbers when it is computed in parts. */

#include "chain.h"

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define UNROLL _Pragma("GCC unroll 16")
#else
#define UNROLL
#endif

enum { DEPTH = 256, COLUMNS = VECTORS * WIDTH, FEWER = ROWS / 2, LONG = 8, SPANS = 128 };

#if defined(LOAD_PART)
#define MASKED 1
#else
#define MASKED 0 /* slower than to bring b together, but for the edge of a result */
static inline V load_part(const float *from, size_t n) {
    float line[WIDTH] = {0};
    for (size_t i = 0; i < n; i++) line[i] = from[i];
    return LOAD(line);
}
static inline void store_part(float *to, V x, size_t n) {
    float line[WIDTH];
    STORE(line, x);
    for (size_t i = 0; i < n; i++) to[i] = line[i];
}
#define LOAD_PART load_part
#define STORE_PART store_part
#endif

/* How many of the numbers that are left are in a vector that begins `at` numbers on. */
static inline size_t part_of(size_t left, size_t at) {
    return left <= at ? 0 : left - at < WIDTH ? left - at : WIDTH;
}

/* MR rows and NV vectors of columns of the result: registers, of which `to` gets the part that there is. With PART no
 * more columns of b are read. */
#define TILE(NAME, MR, NV, PART)                                                                      \
    static void NAME(const Product *p, size_t row, size_t column, size_t columns, size_t from,        \
                     size_t skip, size_t depth, const float *b, size_t step) {                        \
        V sum[MR][NV];                                                                                \
        size_t part[NV];                                                                              \
        UNROLL for (int j = 0; j < NV; j++) part[j] = part_of(columns, j * WIDTH);                    \
        const float *a = p->a + row * p->a_row + (from + skip) * p->a_column;                         \
        const size_t a_row = p->a_row, a_column = p->a_column;                                        \
        UNROLL for (int i = 0; i < MR; i++) UNROLL for (int j = 0; j < NV; j++) sum[i][j] = SET(0);   \
        if (!from && p->c && p->c_row) /* is there when it is added */                                \
            for (int i = 0; i < MR; i++)                                                              \
                for (size_t j = 0; j < NV * WIDTH; j += 16)                                           \
                    PREFETCH(p->c + (row + i) * p->c_row + (column + j) * p->c_column);               \
        b += skip * step;                                                                             \
        for (size_t k = skip; k < depth; k++, a += a_column, b += step) {                                \
            V x[NV];                                                                                  \
            UNROLL for (int j = 0; j < NV; j++)                                                       \
                x[j] = PART ? LOAD_PART(b + j * WIDTH, part[j]) : LOAD(b + j * WIDTH);                \
            UNROLL for (int i = 0; i < MR; i++) {                                                     \
                const V y = SET(a[i * a_row]);                                                        \
                UNROLL for (int j = 0; j < NV; j++) sum[i][j] = FMA(y, x[j], sum[i][j]);              \
            }                                                                                         \
        }                                                                                             \
        const float alpha = p->alpha, beta = p->beta;                                                 \
        const float *c = from || !p->c ? NULL : p->c + row * p->c_row + column * p->c_column;         \
        float *to = p->to + row * p->to_row + column;                                                 \
        if (columns == NV * WIDTH && (!c || p->c_column == 1)) {                                      \
            UNROLL for (int i = 0; i < MR; i++) UNROLL for (int j = 0; j < NV; j++) {                 \
                float *at = to + i * p->to_row + j * WIDTH;                                           \
                V r = MULTIPLY(SET(alpha), sum[i][j]);                                                \
                if (from) r = PLUS(r, LOAD(at));                                                      \
                else if (c) r = PLUS(r, MULTIPLY(SET(beta), LOAD(c + i * p->c_row + j * WIDTH)));     \
                STORE(at, r);                                                                         \
            }                                                                                         \
            return;                                                                                   \
        }                                                                                             \
        UNROLL for (int i = 0; i < MR; i++) UNROLL for (int j = 0; j < NV; j++) {                     \
            float *at = to + i * p->to_row + j * WIDTH;                                               \
            const float *more = c ? c + i * p->c_row + j * WIDTH * p->c_column : NULL;                \
            V r = MULTIPLY(SET(alpha), sum[i][j]);                                                    \
            if (!part[j]) continue;                                                                   \
            if (from) r = PLUS(r, LOAD_PART(at, part[j]));                                            \
            else if (c) r = PLUS(r, MULTIPLY(SET(beta), p->c_column ? LOAD_PART(more, part[j]) : SET(*more))); \
            STORE_PART(at, r, part[j]);                                                               \
        }                                                                                             \
    }
typedef void Tile(const Product *p, size_t row, size_t column, size_t columns, size_t from, size_t skip, size_t depth,
                  const float *b, size_t step);
#define TILES(OF, PART)                                                                               \
    TILE(OF##_rows_wide, ROWS, VECTORS, PART)                                                         \
    TILE(OF##_fewer_wide, FEWER, VECTORS, PART)                                                       \
    TILE(OF##_1_wide, 1, VECTORS, PART)                                                               \
    TILE(OF##_rows_narrow, ROWS, 1, PART)                                                             \
    TILE(OF##_fewer_narrow, FEWER, 1, PART)                                                           \
    TILE(OF##_1_narrow, 1, 1, PART)                                                                   \
    static Tile *const OF[2][3] = { /* wide or narrow; of how many rows */                            \
        {OF##_rows_wide, OF##_fewer_wide, OF##_1_wide}, {OF##_rows_narrow, OF##_fewer_narrow, OF##_1_narrow}};
TILES(whole, 0)
TILE(whole_1_long, 1, LONG, 0)
#if MASKED
TILES(parts, 1)
#else
#define parts whole /* columns that fill no vectors are brought together instead */
#endif

/* Columns of b from one on, as rows of `wide` numbers, with zeros where there are none. */
static void pack(const Product *p, size_t column, size_t columns, size_t from, size_t depth, size_t wide, float *room) {
    const float *b = p->b + from * p->b_row + column * p->b_column;
    if (p->b_column == 1) {
        for (size_t k = 0; k < depth; k++, b += p->b_row, room += wide)
            for (size_t j = 0; j < wide; j += WIDTH)
                STORE(room + j, j + WIDTH <= columns ? LOAD(b + j) : LOAD_PART(b + j, part_of(columns, j)));
        return;
    }
    const size_t b_row = p->b_row, b_column = p->b_column;
    size_t j = 0;
#if defined(TURN)
    if (b_row == 1) {
        for (; j < wide; j += WIDTH)
            for (size_t k = 0; k < depth; k += WIDTH)
                TURN(b + j * b_column + k, b_column, part_of(columns, j), part_of(depth, k), room + k * wide + j, wide);
        return;
    }
#endif
    if (columns < wide) memset(room, 0, depth * wide * sizeof *room);
    for (; j + 4 <= columns; j += 4) {
        const float *x = b + j * b_column, *y = x + b_column, *z = y + b_column, *w = z + b_column;
        float *to = room + j;
        for (size_t k = 0; k < depth; k++, to += wide) {
            to[0] = x[k * b_row], to[1] = y[k * b_row], to[2] = z[k * b_row], to[3] = w[k * b_row];
        }
    }
    for (; j < columns; j++)
        for (size_t k = 0; k < depth; k++) room[k * wide + j] = b[k * b_row + j * b_column];
}

/* Whether any of n numbers `apart` is infinite or NaN; or, of `count` rows, whether any is no zero. */
static int infinite(const float *x, size_t n, size_t apart) {
    uint32_t found = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = bits_of(x[i * apart]) & 0x7f800000u;
        found |= bits == 0x7f800000u;
    }
    return found != 0;
}
static int any(const float *x, size_t n) {
    uint32_t found = 0;
    for (size_t i = 0; i < n; i++) found |= bits_of(x[i]);
    return found != 0;
}

/* Between which columns the first factor has `count` rows that are not zero: 0 times a finite number adds nothing. */
static void span(const Product *p, size_t row, size_t count, uint16_t *first, uint16_t *end) {
    enum { STEP = 16 };
    const float *a = p->a + row * p->a_row;
    size_t low = 0, high = p->k;
    if (p->a_row == 1) {
        while (high && !any(a + (high - 1) * p->a_column, count)) high--;
        while (low < high && !any(a + low * p->a_column, count)) low++;
    } else {
        low = p->k, high = 0;
        for (size_t i = 0; i < count; i++, a += p->a_row) {
            size_t right = p->k, left = 0;
            while (right > high && !any(a + (right < STEP ? 0 : right - STEP), right < STEP ? right : STEP))
                right = right < STEP ? 0 : right - STEP;
            if (right > high) high = right;
            while (left + STEP <= low && !any(a + left, STEP)) left += STEP;
            if (left < low) low = left;
        }
        if (low > high) low = high;
    }
    *first = (uint16_t)low, *end = (uint16_t)high;
}

/* The spans of the tiles of rows; whether there are any to be used. */
static int spans(const Product *p, uint16_t *first, uint16_t *end) {
    size_t left = 0;
    if (!p->zeros || p->k > DEPTH || p->m / ROWS > SPANS || (p->a_row != 1 && p->a_column != 1)) return 0;
    for (size_t t = 0; t < p->m / ROWS; t++) {
        span(p, t * ROWS, ROWS, &first[t], &end[t]);
        left += p->k - (size_t)(end[t] - first[t]);
    }
    if (left * ROWS * 8 < p->m * p->k) return 0;
    const int along = p->b_column == 1;
    const size_t lines = along ? p->k : p->n, line = along ? p->n : p->k, apart = along ? p->b_row : p->b_column;
    for (size_t i = 0; i < lines; i++)
        if (infinite(p->b + i * apart, line, along ? 1 : p->b_row)) return 0;
    return 1;
}

static void product(const Product *p) {
    float room[DEPTH * COLUMNS + WIDTH];
    uint16_t first[SPANS], end[SPANS];
    const int parted = spans(p, first, end);
    for (size_t from = 0; from == 0 || from < p->k; from += DEPTH) {
        const size_t depth = p->k - from < DEPTH ? p->k - from : DEPTH;
        for (size_t column = 0; column < p->n;) {
            const size_t left = p->n - column, narrow = left <= WIDTH;
            const float *b = p->b + from * p->b_row + column * p->b_column;
            if (p->m == 1 && !p->packed && !p->lower && p->b_column == 1 && left >= LONG * WIDTH) {
                whole_1_long(p, 0, column, LONG * WIDTH, from, 0, depth, b, p->b_row); /* more sums than two at a time */
                column += LONG * WIDTH;
                continue;
            }
            const size_t most = narrow ? WIDTH : COLUMNS, columns = left < most ? left : most;
            const int many = p->m > 2 * ROWS, far = p->b_column != 1 || (many && p->b_row > COLUMNS);
            size_t step = p->b_row, part = 0;
            if (p->packed) {
                b = p->packed + column * p->k + from * most;
                step = most;
            } else if (far || (columns < most && (!MASKED || (many && WIDTH < 16)))) {
                /* Rows of b that lie far from each other would push each other out of the cache. */
                pack(p, column, columns, from, depth, most, room);
                b = room, step = most;
            } else {
                part = columns < most;
            }
            Tile *const *of = (part ? parts : whole)[narrow];
            size_t row = p->lower ? column / ROWS * ROWS : 0; /* what lies above the diagonal is not computed */
            for (; row + ROWS <= p->m; row += ROWS) {
                const size_t skip = parted ? first[row / ROWS] : 0, stop = parted ? end[row / ROWS] : depth;
                of[0](p, row, column, columns, from, skip, stop, b, step);
            }
            for (; row + FEWER <= p->m; row += FEWER) of[1](p, row, column, columns, from, 0, depth, b, step);
            for (; row < p->m; row++) of[2](p, row, column, columns, from, 0, depth, b, step);
            column += columns;
        }
    }
    for (size_t i = 0; p->lower && i < p->m && i + 1 < p->n; i++)
        memset(p->to + i * p->to_row + i + 1, 0, (p->n - i - 1) * sizeof *p->to);
}

/* Lays b out for `packed`: panels of columns, one after another. Room for k (n + COLUMNS) numbers. */
static void product_pack(const Product *p, float *room) {
    for (size_t column = 0; column < p->n;) {
        const size_t left = p->n - column, most = left <= WIDTH ? WIDTH : COLUMNS, columns = left < most ? left : most;
        pack(p, column, columns, 0, p->k, most, room + column * p->k);
        column += columns;
    }
}
