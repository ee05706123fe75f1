/* A product of two large matrices of float32 [Goto & van de Geijn 2008]: a block of rows of the first factor is laid out
 * in the second-level cache, and beside it panels of columns of the second, one after another. While one is multiplied
 * the next is laid out, a few rows after each tile, and lines of memory are asked for evenly: many at once would keep the
 * tile from the cache. A file includes this after product.h, of which it has the vectors, `pack` and `part_of`.
 *
 * Each number of the result is one sum over k in order, in blocks of LARGE_DEPTH, wherever it lies in a block. */

enum {
    LARGE_DEPTH = 512, LARGE_ROWS = 256, /* of the first factor in a block: half a second-level cache */
    SIDE = ROWS > WIDTH ? ROWS : WIDTH,  /* rows that are laid out beside each other */
    WIDEST = 3, PANEL = WIDEST * WIDTH,  /* vectors and columns of a panel */
    STRETCH = 16,                        /* numbers of each column that are laid out at a time */
    AHEAD = 2,                           /* tiles between asking for them and that */
    PACE = 8, EACH_TIME = 3,             /* lines asked for after so many products */
    SOON = LARGE_DEPTH / PACE * EACH_TIME
};

typedef struct {
    const float *a, *b; /* laid out: of each k SIDE rows, and all columns of the panel */
    size_t depth, rows, columns, c_row, c_column, to_row;
    const float *c;     /* what is added, or NULL; with `more` the result so far is */
    float *to;
    float alpha, beta;
    int more;
    const char *soon[SOON + EACH_TIME]; /* lines of memory to be asked for */
    size_t count;
} LargeTile;

#define LARGE_STEP(NV)                                                                                      \
    {                                                                                                       \
        V x[NV];                                                                                            \
        UNROLL for (int j = 0; j < NV; j++) x[j] = LOAD(b + j * WIDTH);                                     \
        UNROLL for (int i = 0; i < ROWS; i++) {                                                             \
            const V y = SET(a[i]);                                                                          \
            UNROLL for (int j = 0; j < NV; j++) sum[i][j] = FMA(y, x[j], sum[i][j]);                        \
        }                                                                                                   \
        a += SIDE, b += NV * WIDTH;                                                                         \
    }
#define LARGE_TILE(NAME, NV)                                                                                \
    static void NAME(const LargeTile *t) {                                                                  \
        V sum[ROWS][NV];                                                                                    \
        const float *a = t->a, *b = t->b;                                                                   \
        UNROLL for (int i = 0; i < ROWS; i++) UNROLL for (int j = 0; j < NV; j++) sum[i][j] = SET(0);       \
        size_t k = 0, next = 0;                                                                             \
        for (; k + PACE <= t->depth; k += PACE) {                                                           \
            if (next < t->count) {                                                                          \
                PREFETCH(t->soon[next]), PREFETCH(t->soon[next + 1]), PREFETCH(t->soon[next + 2]);          \
                next += EACH_TIME;                                                                          \
            }                                                                                               \
            for (int i = 0; i < PACE; i++) LARGE_STEP(NV)                                                   \
        }                                                                                                   \
        for (; k < t->depth; k++) LARGE_STEP(NV)                                                            \
        const V alpha = SET(t->alpha), beta = SET(t->beta);                                                 \
        const int more = t->more;                                                                           \
        if (t->rows == ROWS && t->columns == NV * WIDTH && (!t->c || t->c_column)) {                        \
            UNROLL for (int i = 0; i < ROWS; i++) UNROLL for (int j = 0; j < NV; j++) {                     \
                float *at = t->to + i * t->to_row + j * WIDTH;                                              \
                V r = MULTIPLY(alpha, sum[i][j]);                                                           \
                if (more) r = PLUS(r, LOAD(at));                                                            \
                else if (t->c) r = PLUS(r, MULTIPLY(beta, LOAD(t->c + i * t->c_row + j * WIDTH)));          \
                STORE(at, r);                                                                               \
            }                                                                                               \
            return;                                                                                         \
        }                                                                                                   \
        UNROLL for (int i = 0; i < ROWS; i++) UNROLL for (int j = 0; j < NV; j++) {                         \
            const size_t part = (size_t)i < t->rows ? part_of(t->columns, j * WIDTH) : 0;                   \
            if (!part) continue;                                                                            \
            float *at = t->to + i * t->to_row + j * WIDTH;                                                  \
            const float *c = t->c ? t->c + i * t->c_row + j * WIDTH * t->c_column : NULL;                   \
            V r = MULTIPLY(alpha, sum[i][j]);                                                               \
            if (more) r = PLUS(r, LOAD_PART(at, part));                                                     \
            else if (c) r = PLUS(r, MULTIPLY(beta, t->c_column ? LOAD_PART(c, part) : SET(*c)));            \
            STORE_PART(at, r, part);                                                                        \
        }                                                                                                   \
    }
LARGE_TILE(large_narrow, 1)
LARGE_TILE(large_middle, 2)
LARGE_TILE(large_wide, WIDEST)

/* The lines of n numbers, for the tile to ask for, if it has time. */
static inline void ask(LargeTile *t, size_t most, const float *x, size_t n) {
    const char *end = (const char *)(x + n);
    for (const char *line = (const char *)x - ((uintptr_t)x & (LINE - 1)); line < end && t->count < most; line += LINE)
        t->soon[t->count++] = line;
}

/* A panel of the second factor, from a row and a column on. */
typedef struct {
    const Product *p;
    size_t from, depth, column, columns, vectors;
    float *room;
} Panel;

static Panel panel(const Product *p, size_t from, size_t column, size_t end, float *room) {
    const size_t left = end - column, vectors = (left + WIDTH - 1) / WIDTH;
    Panel q = {p, from, p->k - from, column, left, vectors, room};
    if (q.depth > LARGE_DEPTH) q.depth = LARGE_DEPTH;
    if (q.vectors > WIDEST) q.vectors = WIDEST, q.columns = PANEL;
    return q;
}

static inline size_t stretches(const Panel *q) { return (q->depth + STRETCH - 1) / STRETCH; }

static void lay(const Panel *q, size_t stretch) {
    const size_t k = stretch * STRETCH, n = q->depth - k < STRETCH ? q->depth - k : STRETCH, wide = q->vectors * WIDTH;
    pack(q->p, q->column, q->columns, q->from + k, n, wide, q->room + k * wide);
}

static void ask_ahead(const Panel *q, size_t stretch, LargeTile *t, size_t most) {
    const size_t k = stretch * STRETCH, n = q->depth - k < STRETCH ? q->depth - k : STRETCH;
    const float *b = q->p->b + (q->from + k) * q->p->b_row + q->column * q->p->b_column;
    if (q->p->b_column == 1)
        for (size_t i = 0; i < n; i++) ask(t, most, b + i * q->p->b_row, q->columns);
    else
        for (size_t i = 0; i < q->columns; i++) ask(t, most, b + i * q->p->b_column, n);
}

/* Rows and columns of a result, up to LARGE_ROWS rows. `room`: LARGE_ROOM numbers, from the beginning of a line on. */
static void large(const Product *p, size_t row, size_t rows, size_t column, size_t columns, float *room) {
    static void (*const tiles[])(const LargeTile *) = {large_narrow, large_middle, large_wide};
    const Product first = {.b = p->a, .b_row = p->a_column, .b_column = p->a_row}; /* for `pack`, its rows as columns */
    float *a = room, *spare = room + LARGE_DEPTH * (LARGE_ROWS + SIDE), *other = spare + LARGE_DEPTH * PANEL;
    const size_t count = (rows + ROWS - 1) / ROWS, end = column + columns;
    Panel now = panel(p, 0, column, end, spare);
    for (size_t i = 0; i < stretches(&now); i++) lay(&now, i);
    LargeTile t = {.alpha = p->alpha, .beta = p->beta, .c_row = p->c_row, .c_column = p->c_column, .to_row = p->to_row};
    for (;;) {
        t.depth = now.depth, t.b = now.room, t.columns = now.columns, t.more = now.from > 0;
        if (now.column == column)
            for (size_t i = 0; i < rows; i += SIDE)
                pack(&first, row + i, rows - i < SIDE ? rows - i : SIDE, now.from, t.depth, SIDE, a + i * t.depth);
        Panel next = now;
        size_t all = 0, done = 0;
        if (now.column + now.columns < end) next = panel(p, now.from, now.column + now.columns, end, other);
        else next = panel(p, now.from + t.depth, column, end, other);
        const int last = now.column + now.columns == end && now.from + t.depth == p->k;
        if (!last) all = stretches(&next);
        const size_t most = t.depth / PACE * EACH_TIME;
        for (size_t i = 0; i < count; i++) {
            const size_t at = i * ROWS, c_at = (row + at) * p->c_row + now.column * p->c_column;
            t.rows = rows - at < ROWS ? rows - at : ROWS;
            t.a = a + at / SIDE * SIDE * t.depth + at % SIDE;
            t.to = p->to + (row + at) * p->to_row + now.column;
            t.c = p->c && !t.more ? p->c + c_at : NULL;
            t.count = 0;
            for (size_t k = 0; k < t.rows; k++) ask(&t, most, t.to + k * p->to_row, t.columns);
            for (size_t k = 0; t.c && p->c_row && k < t.rows; k++)
                ask(&t, most, t.c + k * p->c_row, p->c_column ? t.columns : 1);
            for (size_t k = all * (i + AHEAD) / count; k < all && k < all * (i + AHEAD + 1) / count; k++)
                ask_ahead(&next, k, &t, most);
            while (t.count % EACH_TIME) t.soon[t.count] = t.soon[t.count - 1], t.count++;
            for (; done < all * (i + 1) / count; done++) lay(&next, done);
            tiles[now.vectors - 1](&t);
        }
        if (last) return;
        other = now.room, now = next;
    }
}
enum { LARGE_ROOM = LARGE_DEPTH * (LARGE_ROWS + SIDE + 2 * PANEL) };
