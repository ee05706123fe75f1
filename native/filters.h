/* The derivative of a convolution with respect to its filters:
 *     w[o, c, i, j] = sum over images n and windows p, q of g[n, o, p, q] x[n, c, p sh + i dh - top, q sw + j dw - left]
 * where x is 0 outside the image. All tensors are dense, channels before places (NCHW).
 *
 * A vector holds as many out channels as there are lanes. The inner loop takes one such vector of g and multiplies it
 * by numbers of x, one for each place of the filter, into sums that stay in registers. So g is brought into blocks of
 * channels, and x is padded, a piece that stays in the second-level cache at a time. */

#ifndef DLC_FILTERS_H
#define DLC_FILTERS_H

#include <stddef.h>
#include <stdint.h>

/* The windows of some images that one call of the inner loop takes, for some rows of filters. */
typedef struct {
    const void *g, *x;
    void *sum;             /* [rows][...][lanes], added to */
    const size_t *row;     /* where the numbers of each row of filters begin in x */
    size_t images, windows_down, windows; /* of an image, of a row of them */
    size_t image_g, image_x;              /* elements from an image to the next */
    size_t down, across;                  /* elements of x from a window to the next */
    size_t apart;          /* elements of `sum` from a row of filters to the next */
} Run;

/* What there is for one kind of processor and one type. */
typedef struct {
    size_t lanes, width;   /* out channels of a vector, bytes of an element */
    size_t most_taps;      /* of a row of filters that `run` takes at a time */
    const size_t *most_rows; /* [taps]: of so many rows */
    void (*run)(const Run *, size_t rows, size_t taps);
    /* to[k][lane] = from[lane * plane + k], 0 for lanes from `channels` on */
    void (*pack)(void *to, const void *from, size_t channels, size_t plane, size_t count);
    void (*copy)(void *to, const void *from, size_t count);
    /* to[lane * taps + k] = the sum over `shares` of from[share * apart + k * lanes + lane] */
    void (*finish)(void *to, const void *from, size_t channels, size_t taps, size_t shares, size_t apart);
} Filters;

/* [0]: float32, as many lanes as there are; [1]: float32, half of them; [2]: float64. */
extern const Filters *const filters_plain[3], *const filters_avx2[3], *const filters_avx512[3];
const Filters *const *filters_here(void); /* for this processor */

/* One call. */
typedef struct {
    const Filters *how;
    const char *x, *g;
    char *w;
    size_t batch, groups, channels, out; /* channels and out channels of a group */
    size_t size[2], windows[2], kernel[2], stride[2], dilation[2], pad[2];
    size_t blocks, shares;               /* of the out channels of a group, and of the batch */
    size_t band, many, deep;             /* rows of windows, images, and channels of a piece */
    size_t rows, columns;                /* of x that a piece needs, padded */
    char *sums;                          /* [groups, blocks, shares, channels * kernel, lanes] */
    char *failed;                        /* [groups, blocks, shares]: whether there was no memory */
} Call;

/* What is wrong with the sizes of a call, or NULL: looked at before there is a result. */
const char *filters_wrong(const Call *call);
/* Prepares a call whose tensors and sizes are there. NULL, or what is wrong. `type`: 0 float32, 1 float64. */
const char *filters_begin(Call *call, int type);
void filters_end(Call *call);
/* The work: all of the first in any order, then all of the second. */
size_t filters_shares(const Call *call);
void filters_share(void *call, size_t number);
size_t filters_blocks(const Call *call);
void filters_block(void *call, size_t number);

#endif
