/* A convolution with filters of 3 x 3 at a stride of 1, by Winograd's F(2 x 2, 3 x 3) [Lavin & Gray 2016, section 4.1]:
 *     y[n, o, p, q] = sum over c, i, j of w[o, c, i, j] x[n, c, p + i - top, q + j - left]
 * in squares of 2 x 2 results, each from 4 x 4 numbers of x. Squares and filters are transformed by sums, multiplied
 * place by place and summed over the channels, and the result is transformed back: 16 products where there were 36.
 * `turned`: w is [c, o, 3, 3] and read backwards, as the derivative by x needs it.
 *
 * Its sums go astray by a few units in the last place of the largest product of a square, not of each result; a square
 * with infinities or NaN, or whose sums overflow, is computed by its definition. */

/* The derivative by such filters goes the same way, as F(3 x 3, 2 x 2): 2 x 2 numbers of the adjoint and 4 x 4 of x are
 * transformed and multiplied place by place; products are summed over all squares before they are transformed back. */

#ifndef DLC_SQUARES_H
#define DLC_SQUARES_H

#include <stddef.h>
#include <stdint.h>

typedef struct Squares Squares;
struct Squares {
    const float *x, *w;
    float *y;
    const float *g;               /* of a derivative by the filters: the adjoint, and y are the filters */
    size_t batch, channels, out;
    size_t size[2], results[2], pad[2];
    int turned;
    /* Worked out by squares_begin: */
    size_t lanes, group;          /* channels of a block, squares of a group */
    size_t blocks, out_blocks;    /* of channels */
    size_t down, across;          /* squares of an image */
    size_t band, many;            /* rows of squares, and images, of a piece */
    size_t rows, columns;         /* of a padded piece of x */
    size_t pieces, shares, bands;
    float *filters;               /* [out blocks, channels, 9, lanes] */
    float *transformed;           /* [out blocks, 16, channels, lanes] */
    float *sums;                  /* of a derivative: [shares, out blocks, blocks, 16, lanes of x, lanes] */
    char *failed;                 /* [shares], or of a derivative [out blocks] too: whether a filter is not finite */
    void *memory;
    void (*prepare)(const Squares *, size_t out_block);
    void (*share)(void *, size_t);
    void (*sum)(void *, size_t share), (*finish)(void *, size_t out_block);
};

/* How a kind of processor does it. */
typedef struct {
    size_t lanes, group;
    void (*prepare)(const Squares *, size_t out_block);
    void (*share)(void *, size_t);
    void (*sum)(void *, size_t share), (*finish)(void *, size_t out_block); /* NULL: there is no such derivative */
} SquaresKind;
extern const SquaresKind squares_plain, squares_avx2, squares_avx512;
const SquaresKind *squares_here(void);

/* Prepares a call whose tensors and sizes are there. NULL, or what is wrong. */
const char *squares_begin(Squares *call);
void squares_end(Squares *call);
/* The same for a derivative by the filters. */
int squares_weights_fit(const Squares *call);
const char *squares_weights_begin(Squares *call);

#endif
