/* A convolution in squares (squares.h): pieces of the batch that stay in the second-level cache. Every square is computed
 * by itself, so results are the same for any number of threads. */

#include <stdlib.h>
#include <string.h>

#include "squares.h"

enum {
    PIECE = 80 * 1024,   /* bytes of x, and of y, of a piece */
    SHARES = 16,
    PRODUCTS = 128 * 128 /* filters of a derivative: with more, their sums are in no cache */
};

/* Blocks and pieces. */
static void geometry(Squares *call) {
    const SquaresKind *kind = squares_here();
    const size_t lanes = call->lanes = kind->lanes;
    call->group = kind->group, call->prepare = kind->prepare, call->share = kind->share;
    call->sum = kind->sum, call->finish = kind->finish;
    call->blocks = (call->channels + lanes - 1) / lanes, call->out_blocks = (call->out + lanes - 1) / lanes;
    call->down = (call->results[0] + 1) / 2, call->across = (call->results[1] + 1) / 2;
    call->columns = 2 * call->across + 2;
    size_t more = call->blocks > call->out_blocks ? call->blocks : call->out_blocks;
    size_t row = more * call->columns * lanes * sizeof(float); /* bytes of a row, of x or of y */
    size_t fit = PIECE / row;                                  /* rows of a piece */
    call->band = fit > 4 ? (fit - 2) / 2 : 1;
    if (call->band > call->down) call->band = call->down;
    call->rows = 2 * call->band + 2;
    call->many = call->band == call->down && fit > call->rows ? fit / call->rows : 1;
    if (call->many > call->batch) call->many = call->batch;
    call->bands = (call->down + call->band - 1) / call->band;
    call->pieces = (call->batch + call->many - 1) / call->many * call->bands;
    call->shares = call->pieces < SHARES ? call->pieces : SHARES;
}

const char *squares_begin(Squares *call) {
    geometry(call);
    const size_t lanes = call->lanes;
    size_t filters = call->out_blocks * call->blocks * lanes * 9 * lanes;
    size_t transformed = call->out_blocks * 16 * call->blocks * lanes * lanes;
    call->memory = malloc((filters + transformed + 16) * sizeof(float) + call->shares);
    if (!call->memory) return "no memory";
    call->transformed = (float *)((char *)call->memory + (64 - (uintptr_t)call->memory % 64) % 64);
    call->filters = call->transformed + transformed;
    call->failed = (char *)(call->filters + filters);
    memset(call->failed, 0, call->shares);
    return NULL;
}

int squares_weights_fit(const Squares *call) {
    return squares_here()->sum && call->channels >= 16 && call->out >= 16 && call->channels * call->out <= PRODUCTS;
}

const char *squares_weights_begin(Squares *call) {
    geometry(call);
    const size_t most = call->blocks * call->out_blocks < SHARES / 4 ? SHARES / 2 : SHARES / 4;
    call->shares = call->pieces < most ? call->pieces : most;
    size_t sums = call->shares * call->out_blocks * call->blocks * 16 * call->lanes * call->lanes;
    call->memory = calloc((sums + 16) * sizeof(float) + call->shares + call->out_blocks, 1);
    if (!call->memory) return "no memory";
    call->sums = (float *)((char *)call->memory + (64 - (uintptr_t)call->memory % 64) % 64);
    call->failed = (char *)(call->sums + sums);
    return NULL;
}

void squares_end(Squares *call) { free(call->memory); }
