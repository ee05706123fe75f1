/* Walking the tensors of one call in tiles: every instruction of the program on one tile, then the next tile. All that
 * a tile needs stays in the first-level cache, so memory is read and written once, whatever the program's length. */

#include <string.h>

#include "chain.h"

enum {
    CACHE = 24 * 1024, /* bytes for the registers of a tile, of a first-level cache of 32 kB */
    SHORTEST = 64, LONGEST = 1024, /* elements of a tile */
    SPLIT = 1 << 16, /* elements times instructions of a share: less does not pay for handing it to another thread */
    SHARES = 32      /* the most of one call */
};

const char *walk_shape(const Tensor *inputs, int count, size_t *rank, int64_t *size) {
    *rank = 0;
    for (int i = 0; i < count; i++)
        if (inputs[i].rank > *rank) *rank = inputs[i].rank;
    for (size_t k = 0; k < *rank; k++) size[k] = 1;
    for (int i = 0; i < count; i++) {
        size_t lead = *rank - inputs[i].rank;
        for (size_t k = 0; k < inputs[i].rank; k++) {
            int64_t own = inputs[i].size[k], *all = &size[lead + k];
            if (*all == 1) *all = own;
            else if (own != 1 && own != *all) return "shapes that cannot be broadcast to each other";
        }
    }
    return NULL;
}

/* Sizes and strides: axes of size 1 are left out, and neighbours joined where every input walks them as one. */
static void walk_axes(Walk *walk, size_t rank, const int64_t *size) {
    int count = walk->program->inputs;
    size_t step[MOST_INPUTS]; /* of the axis at hand, from the last one on */
    for (int i = 0; i < count; i++) step[i] = 1;
    walk->axes = 0;
    for (size_t k = rank; k-- > 0;) { /* axes are kept last first */
        if (size[k] == 1) continue;
        size_t stride[MOST_INPUTS];
        for (int i = 0; i < count; i++) {
            const Tensor *input = &walk->inputs[i];
            size_t lead = rank - input->rank, own = k < lead ? 1 : (size_t)input->size[k - lead];
            stride[i] = own == 1 ? 0 : step[i];
            step[i] *= own;
        }
        int joined = walk->axes > 0;
        for (int i = 0; joined && i < count; i++)
            joined = stride[i] == walk->stride[i][walk->axes - 1] * walk->size[walk->axes - 1];
        if (joined) {
            walk->size[walk->axes - 1] *= (size_t)size[k];
            continue;
        }
        for (int i = 0; i < count; i++) walk->stride[i][walk->axes] = stride[i];
        walk->size[walk->axes++] = (size_t)size[k];
    }
}

void walk_begin(Walk *walk, const Program *program, const Tensor *inputs, void *const *results, size_t rank,
                const int64_t *size) {
    walk->program = program, walk->inputs = inputs, walk->results = results;
    walk->total = 1;
    for (size_t k = 0; k < rank; k++) walk->total *= (size_t)size[k];
    walk_axes(walk, rank, size);
    int slots = program->slots;
    size_t widest = 1;
    for (int i = 0; i < program->inputs; i++) {
        int one = 1, direct = walk->axes <= 1;
        for (int k = 0; k < walk->axes; k++) one &= walk->stride[i][k] == 0;
        direct = direct && (walk->axes == 0 || walk->stride[i][0] == 1);
        size_t step = 1;
        if (!direct && !one) { /* of several axes: those of an input that is as large as the results */
            direct = 1;
            for (int k = 0; k < walk->axes; k++) {
                direct &= walk->stride[i][k] == step;
                step *= walk->size[k];
            }
        }
        walk->kind[i] = direct ? DIRECT : one ? ONE : GATHERED;
        walk->slot[i] = direct ? -1 : (int16_t)slots++;
    }
    for (int v = 0; v < program->inputs + program->count; v++)
        if (sizes[program->type[v]] > widest) widest = sizes[program->type[v]];
    size_t tile = slots ? CACHE / ((size_t)slots * widest) / SHORTEST * SHORTEST : LONGEST;
    walk->tile = tile < SHORTEST ? SHORTEST : tile > LONGEST ? LONGEST : tile;
    walk->room = walk->tile * widest;
    size_t least = SPLIT / (size_t)(program->count + program->inputs), shares = walk->total / least;
    shares = shares < 1 ? 1 : shares > SHARES ? SHARES : shares;
    size_t share = (walk->total + shares - 1) / shares;
    share = (share + walk->tile - 1) / walk->tile * walk->tile; /* whole tiles: the same for any number of threads */
    walk->share = share ? share : 1;
}

/* The elements of a broadcast input for the results from `at` on. */
static void gather(const Walk *walk, int input, size_t at, size_t n, char *to) {
    const int type = walk->program->type[input];
    size_t index[MOST_AXES], offset = 0, width = sizes[type];
    const size_t *stride = walk->stride[input];
    const char *data = walk->inputs[input].data;
    for (int k = 0; k < walk->axes; k++) { /* the last axis comes first */
        index[k] = at % walk->size[k];
        at /= walk->size[k];
        offset += index[k] * stride[k];
    }
    while (n) {
        size_t run = walk->size[0] - index[0];
        if (run > n) run = n;
        const char *from = data + offset * width;
        if (stride[0])
            memcpy(to, from, run * width);
        else
            walk->program->lanes->fill[type](run, to, from, NULL, NULL);
        to += run * width;
        n -= run;
        if (!n) break;
        offset -= index[0] * stride[0];
        index[0] = 0;
        for (int k = 1; k < walk->axes; k++) {
            offset += stride[k];
            if (++index[k] < walk->size[k]) break;
            offset -= index[k] * stride[k];
            index[k] = 0;
        }
    }
}

void walk_share(void *context, size_t number) {
    const Walk *walk = context;
    const Program *program = walk->program;
    size_t begin = number * walk->share, end = begin + walk->share;
    if (end > walk->total) end = walk->total;
    if (begin >= end) return;
    enum { LINE = 64, BYTES = SHORTEST * 8 * MOST_VALUES + LINE }; /* more than CACHE, too */
    union {
        double aligned;
        char bytes[BYTES];
    } memory;
    char *registers = memory.bytes + (LINE - (uintptr_t)memory.bytes % LINE) % LINE;
    char *at[MOST_VALUES]; /* where each value of the tile is */
    const int inputs = program->inputs;
    for (int i = 0; i < inputs; i++) {
        at[i] = walk->slot[i] < 0 ? NULL : registers + (size_t)walk->slot[i] * walk->room;
        if (walk->kind[i] == ONE) program->lanes->fill[program->type[i]](walk->tile, at[i], walk->inputs[i].data, NULL, NULL);
    }
    for (int i = 0; i < program->count; i++) {
        const Instruction *code = &program->code[i];
        int made = inputs + i, slot = program->slot[made];
        at[made] = slot < 0 ? NULL : registers + (size_t)slot * walk->room;
        if (!code->lane) program->lanes->fill[code->type](walk->tile, at[made], &code->bits, NULL, NULL);
    }
    for (size_t start = begin; start < end; start += walk->tile) {
        size_t n = end - start < walk->tile ? end - start : walk->tile;
        for (int i = 0; i < inputs; i++) {
            if (walk->kind[i] == DIRECT)
                at[i] = (char *)walk->inputs[i].data + start * sizes[program->type[i]];
            else if (walk->kind[i] == GATHERED)
                gather(walk, i, start, n, at[i]);
        }
        for (int i = 0; i < program->count; i++) {
            const Instruction *code = &program->code[i];
            int made = inputs + i, output = program->output[made];
            if (!code->lane) continue;
            if (output >= 0) at[made] = (char *)walk->results[output] + start * sizes[code->type];
            code->lane(n, at[made], at[code->a], at[code->b], at[code->c]);
        }
    }
}
