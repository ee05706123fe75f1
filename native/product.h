/* A product of two matrices of float32 on one thread, for the small ones of a region. A file includes this once for each
 * kind of processor, which says what a vector is: V of WIDTH numbers, LOAD, STORE, SET, FMA (a b + c), MULTIPLY, PLUS; and how many ROWS and
 * VECTORS of a result its registers hold.
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

enum { DEPTH = 256, COLUMNS = VECTORS * WIDTH, GROUP = 4, BLOCK = 64 };

/* MR rows and NV vectors of columns of the result: registers, of which `to` gets the part that there is. */
#define TILE(NAME, MR, NV)                                                                            \
    static void NAME(const Product *p, size_t row, size_t column, size_t columns, size_t from,        \
                     size_t depth, const float *a, size_t a_row, size_t a_column, const float *b, size_t step) { \
        V sum[MR][NV];                                                                                \
        UNROLL for (int i = 0; i < MR; i++) UNROLL for (int j = 0; j < NV; j++) sum[i][j] = SET(0);   \
        for (size_t k = 0; k < depth; k++, a += a_column, b += step) {                                \
            V x[NV];                                                                                  \
            UNROLL for (int j = 0; j < NV; j++) x[j] = LOAD(b + j * WIDTH);                           \
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
        for (int i = 0; i < MR; i++) {                                                                \
            float line[NV * WIDTH];                                                                   \
            UNROLL for (int j = 0; j < NV; j++) STORE(line + j * WIDTH, sum[i][j]);                   \
            float *at = to + i * p->to_row;                                                           \
            for (size_t j = 0; j < columns; j++) {                                                    \
                float r = alpha * line[j];                                                            \
                if (from) r += at[j];                                                                 \
                else if (c) r += beta * c[i * p->c_row + j * p->c_column];                            \
                at[j] = r;                                                                            \
            }                                                                                         \
        }                                                                                             \
    }
TILE(tile_rows_wide, ROWS, VECTORS)
TILE(tile_4_wide, 4, VECTORS)
TILE(tile_1_wide, 1, VECTORS)
TILE(tile_rows_narrow, ROWS, 1)
TILE(tile_4_narrow, 4, 1)
TILE(tile_1_narrow, 1, 1)

/* Columns of b from one on, as rows of `wide` numbers, with zeros where there are none. */
static void pack(const Product *p, size_t column, size_t columns, size_t from, size_t depth, size_t wide, float *room) {
    const float *b = p->b + from * p->b_row + column * p->b_column;
    if (p->b_column == 1) {
        for (size_t k = 0; k < depth; k++, b += p->b_row, room += wide) {
            if (columns == wide) {
                for (size_t j = 0; j < wide; j += WIDTH) STORE(room + j, LOAD(b + j));
                continue;
            }
            for (size_t j = 0; j < columns; j++) room[j] = b[j];
            for (size_t j = columns; j < wide; j++) room[j] = 0;
        }
        return;
    }
    if (columns < wide) memset(room, 0, depth * wide * sizeof *room);
    const size_t b_row = p->b_row, b_column = p->b_column;
    size_t j = 0;
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

/* Rows of a first factor that is transposed, ROWS at a time, one k after the other: as they lie they are far apart. */
static void pack_rows(const Product *p, size_t row, size_t rows, size_t from, size_t depth, float *room) {
    for (size_t i = 0; i + ROWS <= rows; i += ROWS, room += depth * ROWS) {
        const float *a = p->a + (row + i) * p->a_row + from * p->a_column;
        for (size_t k = 0; k < depth; k++, a += p->a_column)
            for (size_t r = 0; r < ROWS; r++) room[k * ROWS + r] = a[r];
    }
}

/* Rows of one panel of columns; `turned`: the rows as pack_rows has them, or NULL. */
static void panel_rows(const Product *p, size_t row, size_t end, size_t column, size_t from, size_t depth,
                       const float *turned, const float *b, size_t step) {
    const size_t left = p->n - column, columns = left < COLUMNS ? left : COLUMNS, narrow = left <= WIDTH;
    const float *a = p->a + row * p->a_row + from * p->a_column;
    const size_t a_row = turned ? 1 : p->a_row, a_column = turned ? ROWS : p->a_column;
    for (; row + ROWS <= end; row += ROWS, a += ROWS * p->a_row) {
        const float *at = turned ? turned : a;
        if (narrow) tile_rows_narrow(p, row, column, columns, from, depth, at, a_row, a_column, b, step);
        else tile_rows_wide(p, row, column, columns, from, depth, at, a_row, a_column, b, step);
        if (turned) turned += depth * ROWS;
    }
    for (; row + 4 <= end; row += 4, a += 4 * p->a_row)
        if (narrow) tile_4_narrow(p, row, column, columns, from, depth, a, p->a_row, p->a_column, b, step);
        else tile_4_wide(p, row, column, columns, from, depth, a, p->a_row, p->a_column, b, step);
    for (; row < end; row++, a += p->a_row)
        if (narrow) tile_1_narrow(p, row, column, columns, from, depth, a, p->a_row, p->a_column, b, step);
        else tile_1_wide(p, row, column, columns, from, depth, a, p->a_row, p->a_column, b, step);
}

/* A few panels of columns at a time, of which one block of rows after another: what is read again stays in a cache. */
static void product(const Product *p) {
    float panels[GROUP][DEPTH * COLUMNS], rows[BLOCK * DEPTH];
    const int far_apart = p->a_row == 1 && p->a_column * p->k > 1 << 15 && p->n > COLUMNS;
    for (size_t group = 0; group < p->n; group += GROUP * COLUMNS)
        for (size_t from = 0; from == 0 || from < p->k; from += DEPTH) {
            const size_t depth = p->k - from < DEPTH ? p->k - from : DEPTH;
            const float *panel[GROUP];
            size_t step[GROUP];
            int count = 0;
            for (size_t column = group; count < GROUP && column < p->n; column += COLUMNS, count++) {
                const size_t left = p->n - column, wide = left <= WIDTH ? WIDTH : COLUMNS;
                if (p->packed) {
                    panel[count] = p->packed + column * p->k + from * wide, step[count] = wide;
                } else if (p->b_column != 1 || left < wide || (p->m > 2 * ROWS && p->b_row > COLUMNS)) {
                    /* Rows of b that lie far from each other would push each other out of the cache. */
                    pack(p, column, left < wide ? left : wide, from, depth, wide, panels[count]);
                    panel[count] = panels[count], step[count] = wide;
                } else {
                    panel[count] = p->b + from * p->b_row + column, step[count] = p->b_row;
                }
            }
            for (size_t row = 0; row < p->m; row += BLOCK) {
                const size_t end = p->m - row < BLOCK ? p->m : row + BLOCK;
                if (far_apart) pack_rows(p, row, end - row, from, depth, rows);
                for (int i = 0; i < count; i++)
                    panel_rows(p, row, end, group + (size_t)i * COLUMNS, from, depth, far_apart ? rows : NULL, panel[i], step[i]);
            }
        }
}

/* Lays b out for `packed`: panels of columns, one after another. Room for k (n + COLUMNS) numbers. */
static void product_pack(const Product *p, float *room) {
    for (size_t column = 0; column < p->n;) {
        const size_t left = p->n - column, most = left <= WIDTH ? WIDTH : COLUMNS, columns = left < most ? left : most;
        pack(p, column, columns, 0, p->k, most, room + column * p->k);
        column += columns;
    }
}
