/* The loops of squares.h for one kind of processor: included by filters_lanes.h with its T, V, L and NAME, in float32.
 * x is brought into blocks of channels, padded: [images, blocks, rows, columns, lanes]. */

enum { GROUP = REGISTERS >= 32 ? 24 : 12 };

/* sum[tile] = the sum over channels of v[block, tile, channel] u[channel], lanes of out channels. */
INLINE void multiply(const T *v, const T *u, T *m, size_t blocks, const size_t tiles) {
    V sum[GROUP];
    UNROLL for (size_t t = 0; t < tiles; t++) sum[t] = SPLAT(0);
    for (size_t b = 0; b < blocks; b++, v += GROUP * L)
        for (size_t c = 0; c < L; c++, u += L) {
            const V by = *(const V *)u;
            UNROLL for (size_t t = 0; t < tiles; t++) {
                const T here = v[t * L + c];
                sum[t] += by * SPLAT(here);
            }
        }
    UNROLL for (size_t t = 0; t < tiles; t++) *(V *)(m + t * L) = sum[t];
}

#define MULTIPLY(N) \
    static void multiply_##N(const T *v, const T *u, T *m, size_t blocks) { multiply(v, u, m, blocks, N); }
MULTIPLY(1) MULTIPLY(2) MULTIPLY(4) MULTIPLY(8)
#if REGISTERS >= 32
MULTIPLY(16) MULTIPLY(24)
#else
MULTIPLY(12)
#endif

static void multiply_all(const T *v, const T *u, T *m, size_t blocks, size_t tiles) {
    while (tiles) {
        size_t n = tiles >= 8 ? 8 : tiles >= 4 ? 4 : tiles >= 2 ? 2 : 1;
#if REGISTERS >= 32
        n = tiles >= 24 ? 24 : tiles >= 16 ? 16 : n;
        if (n == 24) multiply_24(v, u, m, blocks);
        if (n == 16) multiply_16(v, u, m, blocks);
#else
        n = tiles >= 12 ? 12 : n;
        if (n == 12) multiply_12(v, u, m, blocks);
#endif
        if (n == 8) multiply_8(v, u, m, blocks);
        if (n == 4) multiply_4(v, u, m, blocks);
        if (n == 2) multiply_2(v, u, m, blocks);
        if (n == 1) multiply_1(v, u, m, blocks);
        v += n * L, m += n * L, tiles -= n;
    }
}

/* A square of 4 x 4 vectors: B^T d B. */
static void square_in(const T *x, size_t pitch, T *v, size_t apart) {
    V d[4][4], s[4][4];
    UNROLL for (int i = 0; i < 4; i++)
        UNROLL for (int j = 0; j < 4; j++) d[i][j] = *(const V *)(x + (size_t)i * pitch + (size_t)j * L);
    UNROLL for (int j = 0; j < 4; j++) {
        s[0][j] = d[0][j] - d[2][j], s[1][j] = d[1][j] + d[2][j];
        s[2][j] = d[2][j] - d[1][j], s[3][j] = d[1][j] - d[3][j];
    }
    UNROLL for (int i = 0; i < 4; i++) {
        T *to = v + (size_t)i * 4 * apart;
        *(V *)to = s[i][0] - s[i][2], *(V *)(to + apart) = s[i][1] + s[i][2];
        *(V *)(to + 2 * apart) = s[i][2] - s[i][1], *(V *)(to + 3 * apart) = s[i][1] - s[i][3];
    }
}

/* A^T m A: the 2 x 2 results. */
static void square_out(const T *m, V *y) {
    V s[2][4];
    UNROLL for (size_t j = 0; j < 4; j++) {
        const V a = *(const V *)(m + j * GROUP * L), b = *(const V *)(m + (4 + j) * GROUP * L);
        const V c = *(const V *)(m + (8 + j) * GROUP * L), d = *(const V *)(m + (12 + j) * GROUP * L);
        s[0][j] = a + b + c, s[1][j] = b - c - d;
    }
    UNROLL for (int i = 0; i < 2; i++) {
        y[2 * i] = s[i][0] + s[i][1] + s[i][2];
        y[2 * i + 1] = s[i][1] - s[i][2] - s[i][3];
    }
}

/* Filters of a block of out channels: as they are, lanes last, and transformed: G g G^T. */
static void prepare(const Squares *call, size_t out_block) {
    const size_t channels = call->channels, held = call->out - out_block * L < L ? call->out - out_block * L : L;
    T *filters = call->filters + out_block * call->blocks * L * 9 * L;
    if (call->turned) {
        for (size_t c = 0; c < channels; c++) {
            V nine[9];
            NAME(pack)(nine, call->w + (c * call->out + out_block * L) * 9, held, 9, 9);
            for (size_t k = 0; k < 9; k++) *(V *)(filters + (c * 9 + k) * L) = nine[8 - k];
        }
    } else {
        NAME(pack)(filters, call->w + out_block * L * channels * 9, held, channels * 9, channels * 9);
    }
    const size_t apart = call->blocks * L * L;
    T *to = call->transformed + out_block * 16 * apart;
    for (size_t c = 0; c < channels; c++, to += L) {
        V g[3][3], s[4][3];
        for (size_t k = 0; k < 9; k++) g[k / 3][k % 3] = *(const V *)(filters + (c * 9 + k) * L);
        for (int j = 0; j < 3; j++) {
            s[0][j] = g[0][j], s[3][j] = g[2][j];
            s[1][j] = (g[0][j] + g[1][j] + g[2][j]) * SPLAT(0.5f), s[2][j] = (g[0][j] - g[1][j] + g[2][j]) * SPLAT(0.5f);
        }
        for (size_t i = 0; i < 4; i++) {
            T *row = to + i * 4 * apart;
            *(V *)row = s[i][0], *(V *)(row + 3 * apart) = s[i][2];
            *(V *)(row + apart) = (s[i][0] + s[i][1] + s[i][2]) * SPLAT(0.5f);
            *(V *)(row + 2 * apart) = (s[i][0] - s[i][1] + s[i][2]) * SPLAT(0.5f);
        }
    }
    for (size_t i = 0; i < 16; i++) /* channels that fill the last block */
        memset(call->transformed + (out_block * 16 + i) * apart + channels * L, 0, (call->blocks * L - channels) * L * sizeof(T));
}

/* The 2 x 2 results by their definition; `x`: the first block of the square. */
static void by_definition(const Squares *call, const T *x, size_t out_block, V *y) {
    const size_t pitch = call->columns * L, plane = call->rows * pitch;
    const T *filters = call->filters + out_block * call->blocks * L * 9 * L;
    for (size_t r = 0; r < 4; r++) {
        V sum = SPLAT(0);
        for (size_t c = 0; c < call->channels; c++)
            for (size_t k = 0; k < 9; k++) {
                const T here = x[c / L * plane + (r / 2 + k / 3) * pitch + (r % 2 + k % 3) * L + c % L];
                sum += *(const V *)(filters + (c * 9 + k) * L) * SPLAT(here);
            }
        y[r] = sum;
    }
}

static int finite(const V *y) {
    const V sum = (y[0] + y[1]) + (y[2] + y[3]), rest = sum - sum;
    int all = 1;
    for (size_t l = 0; l < L; l++) all &= ((const T *)&rest)[l] == 0;
    return all;
}

/* to[lane * plane + k] = from[k * lanes + lane] */
static void unpack(T *to, const T *from, size_t channels, size_t plane, size_t count) {
    size_t k = 0;
#if L > 1 && defined(SHUFFLES)
    for (; k + L <= count; k += L) {
        V a[L];
        TURN(*(const V *)(from + (k + l) * L))
        UNROLL for (size_t l = 0; l < L; l++)
            if (l < channels) *(V *)(to + l * plane + k) = a[l];
    }
#endif
    for (size_t l = 0; l < channels; l++)
        for (size_t i = k; i < count; i++) to[l * plane + i] = from[i * L + l];
}

/* Rows of a block of channels of an image from `top` on, in `to` with its padding. */
static void padded_block(const Squares *call, T *to, T *flat, size_t image, size_t block, int64_t top) {
    const size_t height = call->size[0], width = call->size[1], columns = call->columns;
    const size_t held = call->channels - block * L < L ? call->channels - block * L : L;
    int64_t first = top < 0 ? 0 : top, last = top + (int64_t)call->rows;
    if (last > (int64_t)height) last = (int64_t)height;
    if (first < last)
        NAME(pack)(flat, call->x + ((image * call->channels + block * L) * height + (size_t)first) * width, held,
                   height * width, (size_t)(last - first) * width);
    const size_t left = call->pad[1] < columns ? call->pad[1] : columns;
    const size_t inside = width < columns - left ? width : columns - left;
    for (size_t r = 0; r < call->rows; r++, to += columns * L) {
        int64_t y = top + (int64_t)r;
        if (y < first || y >= last) {
            memset(to, 0, columns * L * sizeof(T));
            continue;
        }
        for (size_t k = 0; k < left; k++) *(V *)(to + k * L) = SPLAT(0);
        const T *from = flat + (size_t)(y - first) * width * L;
        for (size_t k = 0; k < inside; k++) *(V *)(to + (left + k) * L) = *(const V *)(from + k * L);
        for (size_t k = left + inside; k < columns; k++) *(V *)(to + k * L) = SPLAT(0);
    }
}

/* Some squares of a piece, `begin` and on: x as in a piece, y [out blocks, images, 2 band, columns of results, lanes]. */
static void group_of(const Squares *call, const T *x, T *y, T *v, T *m, size_t begin, size_t tiles, size_t rows) {
    const size_t pitch = call->columns * L, plane = call->rows * pitch, apart = call->blocks * GROUP * L;
    const size_t wide = call->results[1], area = 2 * call->band * wide * L;
    const T *at[GROUP];
    size_t to[GROUP], place[GROUP][2];
    for (size_t t = 0; t < tiles; t++) {
        size_t tile = begin + t, image = tile / (rows * call->across), row = tile / call->across % rows;
        size_t column = tile % call->across;
        at[t] = x + image * call->blocks * plane + 2 * row * pitch + 2 * column * L;
        to[t] = image * area + (2 * row * wide + 2 * column) * L;
        place[t][0] = 2 * row, place[t][1] = 2 * column;
        for (size_t b = 0; b < call->blocks; b++) square_in(at[t] + b * plane, pitch, v + (b * GROUP + t) * L, apart);
    }
    for (size_t out_block = 0; out_block < call->out_blocks; out_block++) {
        const T *u = call->transformed + out_block * 16 * call->blocks * L * L;
        for (size_t i = 0; i < 16; i++)
            multiply_all(v + i * apart, u + i * call->blocks * L * L, m + i * GROUP * L, call->blocks, tiles);
        for (size_t t = 0; t < tiles; t++) {
            V result[4];
            square_out(m + t * L, result);
            if (!finite(result)) by_definition(call, at[t], out_block, result);
            T *here = y + out_block * call->many * area + to[t];
            int more = place[t][1] + 1 < wide; /* the last row is in the piece, if not in the image */
            *(V *)here = result[0];
            if (more) *(V *)(here + L) = result[1];
            *(V *)(here + wide * L) = result[2];
            if (more) *(V *)(here + (wide + 1) * L) = result[3];
        }
    }
}

static void share(void *context, size_t number) {
    const Squares *call = context;
    const size_t plane = call->rows * call->columns * L, area = 2 * call->band * call->results[1] * L;
    const size_t images_x = call->many * call->blocks * plane, images_y = call->out_blocks * call->many * area;
    const size_t flat_x = call->rows * call->size[1] * L, transformed = 16 * call->blocks * GROUP * L;
    T *room = malloc((images_x + images_y + flat_x + transformed + 16 * GROUP * L + 16) * sizeof(T));
    if (!room) {
        call->failed[number] = 1;
        return;
    }
    T *x = room + (64 - (uintptr_t)room % 64) % 64 / sizeof(T), *y = x + images_x, *v = y + images_y;
    T *m = v + transformed, *flat = m + 16 * GROUP * L;
    for (size_t piece = number * call->pieces / call->shares; piece < (number + 1) * call->pieces / call->shares; piece++) {
        const size_t first = piece / call->bands * call->many, top = piece % call->bands * call->band;
        const size_t images = call->many < call->batch - first ? call->many : call->batch - first;
        const size_t rows = call->band < call->down - top ? call->band : call->down - top;
        for (size_t n = 0; n < images; n++)
            for (size_t b = 0; b < call->blocks; b++)
                padded_block(call, x + (n * call->blocks + b) * plane, flat, first + n, b,
                             (int64_t)(2 * top) - (int64_t)call->pad[0]);
        const size_t tiles = images * rows * call->across;
        for (size_t begin = 0; begin < tiles; begin += GROUP)
            group_of(call, x, y, v, m, begin, tiles - begin < GROUP ? tiles - begin : GROUP, rows);
        const size_t high = 2 * rows < call->results[0] - 2 * top ? 2 * rows : call->results[0] - 2 * top;
        for (size_t b = 0; b < call->out_blocks; b++)
            for (size_t n = 0; n < images; n++)
                unpack(call->y + ((first + n) * call->out + b * L) * call->results[0] * call->results[1] +
                           2 * top * call->results[1],
                       y + (b * call->many + n) * area, call->out - b * L < L ? call->out - b * L : L,
                       call->results[0] * call->results[1], high * call->results[1]);
    }
    free(room);
}

/* --- the derivative by the filters, where vectors are wide enough */

#if L >= 8

enum { MANY = 32 }; /* squares of a group */

/* Adds to sums [channel, lanes of out channels] the products of v [squares, channels] and g [squares, lanes]. */
static void outer(const T *v, const T *g, T *sums, size_t tiles) {
    V sum[L];
    UNROLL for (size_t c = 0; c < L; c++) sum[c] = *(const V *)(sums + c * L);
    for (size_t t = 0; t < tiles; t++, v += L, g += L) {
        const V by = *(const V *)g;
        UNROLL for (size_t c = 0; c < L; c++) {
            const T here = v[c];
            sum[c] += by * SPLAT(here);
        }
    }
    UNROLL for (size_t c = 0; c < L; c++) *(V *)(sums + c * L) = sum[c];
}

/* 2 x 2 vectors as 4 x 4: G g G^T, but for factors of 1/2 that come at the end. */
static void adjoint_in(const T *g, size_t pitch, T *to, size_t apart) {
    V s[4][2];
    UNROLL for (size_t j = 0; j < 2; j++) {
        const V a = *(const V *)(g + j * L), b = *(const V *)(g + pitch + j * L);
        s[0][j] = a, s[1][j] = a + b, s[2][j] = a - b, s[3][j] = b;
    }
    UNROLL for (size_t i = 0; i < 4; i++) {
        T *row = to + i * 4 * apart;
        *(V *)row = s[i][0], *(V *)(row + apart) = s[i][0] + s[i][1];
        *(V *)(row + 2 * apart) = s[i][0] - s[i][1], *(V *)(row + 3 * apart) = s[i][1];
    }
}

/* Rows of a block of channels of the adjoint, of even sizes: zeros after its end. */
static void adjoint_block(const Squares *call, T *to, T *flat, size_t image, size_t block, size_t top) {
    const size_t height = call->results[0], width = call->results[1], columns = 2 * call->across;
    const size_t held = call->out - block * L < L ? call->out - block * L : L;
    const size_t rows = 2 * call->band < height - top ? 2 * call->band : height - top;
    T *packed = columns == width ? to : flat;
    NAME(pack)(packed, call->g + ((image * call->out + block * L) * height + top) * width, held, height * width, rows * width);
    for (size_t r = 0; r < rows && packed != to; r++) {
        memcpy(to + r * columns * L, flat + r * width * L, width * L * sizeof(T));
        *(V *)(to + (r * columns + width) * L) = SPLAT(0);
    }
    memset(to + rows * columns * L, 0, (2 * call->band - rows) * columns * L * sizeof(T));
}

static void sum(void *context, size_t number) {
    const Squares *call = context;
    const size_t pitch = call->columns * L, plane = call->rows * pitch, wide = 2 * call->across * L;
    const size_t area = 2 * call->band * wide, flat_size = call->rows * (call->size[1] + call->results[1]) * L;
    const size_t apart = call->blocks * MANY * L, apart_g = call->out_blocks * MANY * L;
    const size_t images_x = call->many * call->blocks * plane, images_g = call->many * call->out_blocks * area;
    T *room = malloc((images_x + images_g + flat_size + 16 * (apart + apart_g) + 16) * sizeof(T));
    if (!room) {
        call->failed[number] = 1;
        return;
    }
    T *x = room + (64 - (uintptr_t)room % 64) % 64 / sizeof(T), *g = x + images_x, *v = g + images_g;
    T *u = v + 16 * apart, *flat = u + 16 * apart_g;
    T *sums = call->sums + number * call->out_blocks * call->blocks * 16 * L * L;
    for (size_t piece = number * call->pieces / call->shares; piece < (number + 1) * call->pieces / call->shares; piece++) {
        const size_t first = piece / call->bands * call->many, top = piece % call->bands * call->band;
        const size_t images = call->many < call->batch - first ? call->many : call->batch - first;
        const size_t rows = call->band < call->down - top ? call->band : call->down - top;
        for (size_t n = 0; n < images; n++) {
            for (size_t b = 0; b < call->blocks; b++)
                padded_block(call, x + (n * call->blocks + b) * plane, flat, first + n, b,
                             (int64_t)(2 * top) - (int64_t)call->pad[0]);
            for (size_t b = 0; b < call->out_blocks; b++)
                adjoint_block(call, g + (n * call->out_blocks + b) * area, flat, first + n, b, 2 * top);
        }
        const size_t all = images * rows * call->across;
        for (size_t begin = 0; begin < all; begin += MANY) {
            const size_t tiles = all - begin < MANY ? all - begin : MANY;
            for (size_t t = 0; t < tiles; t++) {
                size_t tile = begin + t, image = tile / (rows * call->across), row = tile / call->across % rows;
                size_t column = tile % call->across;
                const T *at = x + image * call->blocks * plane + 2 * row * pitch + 2 * column * L;
                for (size_t b = 0; b < call->blocks; b++) square_in(at + b * plane, pitch, v + (b * MANY + t) * L, apart);
                const T *by = g + image * call->out_blocks * area + 2 * row * wide + 2 * column * L;
                for (size_t b = 0; b < call->out_blocks; b++) adjoint_in(by + b * area, wide, u + (b * MANY + t) * L, apart_g);
            }
            for (size_t o = 0; o < call->out_blocks; o++)
                for (size_t b = 0; b < call->blocks; b++)
                    for (size_t i = 0; i < 16; i++)
                        outer(v + i * apart + b * MANY * L, u + i * apart_g + o * MANY * L,
                              sums + ((o * call->blocks + b) * 16 + i) * L * L, tiles);
        }
    }
    free(room);
}

/* The filters of a block of out channels from the sums of all shares: A^T m A. */
static void finish(void *context, size_t out_block) {
    const Squares *call = context;
    const size_t each = call->out_blocks * call->blocks * 16 * L * L;
    const size_t held = call->out - out_block * L < L ? call->out - out_block * L : L;
    int all = 1;
    for (size_t c = 0; c < call->channels; c++) {
        const T *from = call->sums + ((out_block * call->blocks + c / L) * 16 * L + c % L) * L;
        V m[4][4], s[3][4], w[9];
        for (size_t i = 0; i < 16; i++) {
            V total = *(const V *)(from + i * L * L);
            for (size_t share = 1; share < call->shares; share++) total += *(const V *)(from + share * each + i * L * L);
            const T down = i / 4 % 3 ? 0.5f : 1, across = i % 4 % 3 ? 0.5f : 1;
            m[i / 4][i % 4] = total * SPLAT(down * across);
        }
        for (int j = 0; j < 4; j++) {
            s[0][j] = m[0][j] + m[1][j] + m[2][j], s[1][j] = m[1][j] - m[2][j];
            s[2][j] = m[1][j] + m[2][j] - m[3][j];
        }
        for (int i = 0; i < 3; i++) {
            w[3 * i] = s[i][0] + s[i][1] + s[i][2], w[3 * i + 1] = s[i][1] - s[i][2];
            w[3 * i + 2] = s[i][1] + s[i][2] - s[i][3];
        }
        for (size_t k = 0; k < 9; k++)
            for (size_t l = 0; l < held; l++) {
                T value = ((const T *)&w[k])[l];
                call->y[((out_block * L + l) * call->channels + c) * 9 + k] = value;
                all &= value - value == 0;
            }
    }
    call->failed[call->shares + out_block] = (char)!all;
}

#define DERIVATIVE .sum = sum, .finish = finish
#else
#define DERIVATIVE .sum = NULL, .finish = NULL
#endif

const SquaresKind SQUARES = {.lanes = L, .group = GROUP, .prepare = prepare, .share = share, DERIVATIVE};
