/* Walking the tensors of one call in tiles: every instruction of the program on one tile, then the next tile. All that
 * a tile needs stays in the first-level cache, so memory is read and written once, whatever the program's length. */

#include <stdlib.h>
#include <string.h>

#include "chain.h"

enum {
    CACHE = 24 * 1024, /* bytes for the registers of a tile, of a first-level cache of 32 kB */
    SHORTEST = 64, LONGEST = 1024, /* elements of a tile */
    RUN = 128,
    SPLIT = 1 << 16, /* elements times instructions of a share: less does not pay for handing it to another thread */
    SHARES = 32,     /* the most of one call */
    FAR = 1 << 21,   /* bytes of inputs that come from beyond the second-level cache */
    LARGE = 1 << 22, /* bytes of last outputs that no cache keeps until the next step */
    BYTES = SHORTEST * 8 * MOST_VALUES + LINE /* of the registers of a tile; more than CACHE, too */
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

/* Whether an output lies where an input does (1), that is read after it is made (2). */
static int overwritten(const Walk *walk) {
    const Program *program = walk->program;
    int found = 0;
    for (int i = 0; i < program->outputs; i++)
        for (int k = 0; k < program->inputs; k++) {
            if (walk->results[i] != walk->inputs[k].data) continue;
            found = 1;
            for (int at = program->value[i] - program->inputs + 1; at < program->count; at++) {
                const Instruction *code = &program->code[at];
                if (code->lane && (code->a == k || code->b == k || code->c == k)) return 2;
            }
        }
    return found;
}

/* Registers, tiles and shares, by the plan. */
static void lay(Walk *walk) {
    const Program *program = walk->program;
    size_t widest = 1, read = 0;
    int slots = program->plan[walk->plan].slots;
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
        if (direct) read += walk->total * sizes[program->type[i]];
        walk->kind[i] = direct ? DIRECT : one ? ONE : GATHERED;
        walk->slot[i] = direct ? -1 : (int16_t)slots++;
    }
    walk->ahead = read >= FAR;
    for (int v = 0; v < program->inputs + program->count; v++)
        if (sizes[program->type[v]] > widest) widest = sizes[program->type[v]];
    size_t tile = slots ? CACHE / ((size_t)slots * widest) / SHORTEST * SHORTEST : LONGEST;
    walk->tile = tile < SHORTEST ? SHORTEST : tile > LONGEST ? LONGEST : tile;
    /* A run of a broadcast input, if it is long enough, is a tile: the input is then one element for all of it. */
    if (program->rows) walk->tile = walk->tile > walk->row ? walk->tile / walk->row * walk->row : walk->row;
    else if (walk->axes > 1 && walk->size[0] >= RUN && walk->size[0] < walk->tile) walk->tile = walk->size[0];
    walk->room = walk->tile * widest;
    size_t least = SPLIT / (size_t)(program->count + program->inputs), shares = walk->total / least;
    shares = shares < 1 ? 1 : shares > SHARES ? SHARES : shares;
    size_t share = (walk->total + shares - 1) / shares;
    share = (share + walk->tile - 1) / walk->tile * walk->tile; /* whole tiles: the same for any number of threads */
    walk->share = share ? share : 1;
}

const char *walk_begin(Walk *walk, const Program *program, const Tensor *inputs, void *const *results, size_t rank,
                       const int64_t *size) {
    walk->program = program, walk->inputs = inputs, walk->results = results;
    walk->total = 1;
    for (size_t k = 0; k < rank; k++) walk->total *= (size_t)size[k];
    walk_axes(walk, rank, size);
    walk->row = rank ? (size_t)size[rank - 1] : 1, walk->failed = 0;
    if (program->rows && !walk->row) return "rows without elements";
    walk->kept = walk->inner = 1, walk->sums = NULL, walk->found = NULL;
    for (size_t k = 0; k < rank && program->sums; k++) {
        if (k + (size_t)program->after + 1 == rank) walk->kept = (size_t)size[k];
        if (k + (size_t)program->after >= rank) walk->inner *= (size_t)size[k];
    }
    size_t written = 0;
    for (int i = 0; i < program->outputs; i++)
        written += program->narrow[i] ? 0 : walk->total * sizes[program->type[program->value[i]]];
    const int over = overwritten(walk), past = program->last && program->lanes->stream && written >= LARGE;
    walk->plan = over > 1 ? LATE : over || !past ? DIRECTLY : STREAMED;
    lay(walk);
    return NULL;
}

void walk_look(Walk *walk, uint8_t *found) {
    walk->plan = LATE, walk->found = found;
    lay(walk);
}

size_t walk_shares(const Walk *walk) { return (walk->total + walk->share - 1) / walk->share; }

/* Adds what a tile has of each place that is kept. */
static void add_up(const Walk *walk, const Instruction *code, size_t share, size_t start, size_t n, const char *from) {
    double *sums = walk->sums + (share * (size_t)walk->program->sums + (size_t)code->sum) * walk->kept;
    for (size_t place = start / walk->inner, left = walk->inner - start % walk->inner; n; place++, left = walk->inner) {
        size_t run = left < n ? left : n;
        if (code->type == F32) {
            float sum;
            code->lane(run, &sum, from, from, from);
            sums[place % walk->kept] += (double)sum;
        } else {
            double sum;
            code->lane(run, &sum, from, from, from);
            sums[place % walk->kept] += sum;
        }
        from += run * sizes[code->type];
        n -= run;
    }
}

void walk_sums(const Walk *walk) {
    const Program *program = walk->program;
    size_t shares = walk->sums ? walk_shares(walk) : 0;
    for (int i = 0; i < program->outputs; i++) {
        const Instruction *code = &program->code[program->value[i] - program->inputs];
        if (code->sum < 0) continue;
        for (size_t k = 0; k < walk->kept; k++) {
            double sum = 0;
            for (size_t s = 0; s < shares; s++) sum += walk->sums[(s * (size_t)program->sums + (size_t)code->sum) * walk->kept + k];
            if (code->type == F32) ((float *)walk->results[i])[k] = (float)sum;
            else ((double *)walk->results[i])[k] = sum;
        }
    }
}

/* The elements of a broadcast input for the results from `at` on. Returns whether they are all one, which is then given
 * once only if nothing needs more. */
static int gather(const Walk *walk, int input, size_t at, size_t n, char *to) {
    const int type = walk->program->type[input];
    size_t index[MOST_AXES], offset = 0, width = sizes[type];
    const size_t *stride = walk->stride[input];
    const char *data = walk->inputs[input].data;
    for (int k = 0; k < walk->axes; k++) { /* the last axis comes first */
        index[k] = at % walk->size[k];
        at /= walk->size[k];
        offset += index[k] * stride[k];
    }
    if (!stride[0] && index[0] + n <= walk->size[0]) {
        walk->program->lanes->fill[type](walk->program->whole[input] ? n : 1, to, data + offset * width, NULL, NULL);
        return 1;
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
    return 0;
}

/* What the next tile reads: its lines are asked for a few at a time between the instructions of this one, so that
 * memory works while the processor does. */
typedef struct {
    const char *at, *end;
} Ahead;

static void prefetch(Ahead *ahead, int *count, size_t lines) {
    while (lines-- && *count) {
        Ahead *last = &ahead[*count - 1];
        PREFETCH(last->at);
        last->at += LINE;
        if (last->at >= last->end) --*count;
    }
}

/* Whether numbers are finite: those whose exponent is not all ones. */
#define FINITE(NAME, T, EXPONENT)                                                                     \
    static int NAME(const void *of, size_t n) {                                                       \
        const char *from = of;                                                                        \
        T wrong = 0;                                                                                  \
        for (size_t i = 0; i < n; i++) {                                                              \
            T bits;                                                                                   \
            memcpy(&bits, from + i * sizeof bits, sizeof bits);                                       \
            wrong |= (bits & EXPONENT) == EXPONENT;                                                   \
        }                                                                                             \
        return !wrong;                                                                                \
    }
FINITE(finite_f32, uint32_t, UINT32_C(0x7f800000))
FINITE(finite_f64, uint64_t, UINT64_C(0x7ff0000000000000))

/* 1 where a number is infinite, 2 where one is none, 3 where both are there; 0 of whole numbers. */
uint8_t not_finite(int type, size_t n, const void *of) {
    if (type == F32 ? finite_f32(of, n) : type != F64 || finite_f64(of, n)) return 0; /* in vectors, and nearly always */
    uint8_t found = 0;
    if (type == F32) {
        const uint32_t all = 0x7f800000;
        for (size_t i = 0; i < n; i++) {
            const uint32_t bits = ((const uint32_t *)of)[i] & 0x7fffffff;
            found |= (uint8_t)((bits == all) | (bits > all) << 1);
        }
    } else {
        const uint64_t all = 0x7ff0000000000000;
        for (size_t i = 0; i < n; i++) {
            const uint64_t bits = ((const uint64_t *)of)[i] & 0x7fffffffffffffff;
            found |= (uint8_t)((bits == all) | (bits > all) << 1);
        }
    }
    return found;
}

void walk_share(void *context, size_t number) {
    Walk *walk = context;
    const Program *program = walk->program;
    size_t begin = number * walk->share, end = begin + walk->share;
    if (end > walk->total) end = walk->total;
    if (begin >= end) return;
    union {
        double aligned;
        char bytes[BYTES];
    } memory;
    int slots = program->plan[walk->plan].slots;
    for (int i = 0; i < program->inputs; i++) slots += walk->slot[i] >= 0;
    const size_t needed = (size_t)slots * walk->room + LINE; /* of long rows more than there is */
    char *more = needed > BYTES ? malloc(needed) : NULL, *registers = more ? more : memory.bytes;
    if (needed > BYTES && !more) {
        walk->failed = 1;
        return;
    }
    registers += (LINE - (uintptr_t)registers % LINE) % LINE;
    char *at[MOST_VALUES];         /* where each value of the tile is */
    uint8_t one[MOST_VALUES] = {0}; /* whether it is one element for all, which stands first there */
    const int inputs = program->inputs, streamed = walk->plan == STREAMED, late = walk->plan == LATE;
    const int16_t *plan = program->plan[walk->plan].slot;
    for (int i = 0; i < inputs; i++) {
        at[i] = walk->slot[i] < 0 ? NULL : registers + (size_t)walk->slot[i] * walk->room;
        one[i] = walk->kind[i] == ONE;
        if (one[i]) program->lanes->fill[program->type[i]](walk->tile, at[i], walk->inputs[i].data, NULL, NULL);
    }
    for (int i = 0; i < program->count; i++) {
        const Instruction *code = &program->code[i];
        int made = inputs + i, slot = plan[made];
        at[made] = slot < 0 ? NULL : registers + (size_t)slot * walk->room;
        one[made] = !code->lane;
        if (one[made]) program->lanes->fill[code->type](walk->tile, at[made], &code->bits, NULL, NULL);
    }
    Ahead ahead[MOST_INPUTS];
    int aheads = 0;
    for (size_t start = begin; start < end; start += walk->tile) {
        size_t n = end - start < walk->tile ? end - start : walk->tile, lines = 0;
        aheads = 0;
        for (int i = 0; i < inputs; i++) {
            size_t width = sizes[program->type[i]];
            if (walk->kind[i] == DIRECT) {
                at[i] = (char *)walk->inputs[i].data + start * width;
                if (walk->ahead && end - start >= 2 * walk->tile) {
                    ahead[aheads++] = (Ahead){at[i] + n * width, at[i] + 2 * n * width};
                    lines += n * width / LINE + 1;
                }
            } else if (walk->kind[i] == GATHERED) {
                one[i] = (uint8_t)gather(walk, i, start, n, at[i]);
            }
        }
        size_t quota = lines / (size_t)program->count + 1;
        for (int i = 0; i < program->count; i++) {
            const Instruction *code = &program->code[i];
            int made = inputs + i, output = program->output[made];
            if (aheads) prefetch(ahead, &aheads, quota);
            if (!code->lane) continue;
            if (code->sum >= 0) {
                if (walk->sums) add_up(walk, code, number, start, n, at[code->a]);
                continue;
            }
            char *result = output < 0 ? NULL : (char *)walk->results[output] + start * sizes[code->type];
            if (result && walk->plan == DIRECTLY) at[made] = result;
            Lane lane = one[code->b] && code->right ? code->right : one[code->a] && code->left ? code->left : code->lane;
            if (!code->rows) lane(n, at[made], at[code->a], at[code->b], at[code->c]);
            else {
                const size_t width = sizes[code->type];
                for (size_t k = 0; k < n; k += walk->row)
                    lane(walk->row, (char *)at[made] + k * width, (char *)at[code->a] + k * width, NULL, NULL);
            }
            if (result && streamed) program->lanes->stream(n * sizes[code->type], result, at[made]);
        }
        for (int i = 0; (late || program->rows) && i < program->outputs; i++) {
            const int value = program->value[i], width = (int)sizes[program->type[value]];
            if (program->narrow[i])
                for (size_t k = 0; k < n; k += walk->row)
                    memcpy((char *)walk->results[i] + (start + k) / walk->row * (size_t)width, at[value] + k * (size_t)width, (size_t)width);
            else if (walk->found && program->code[value - inputs].sum < 0)
                walk->found[number * (size_t)program->outputs + (size_t)i] |= not_finite(program->type[value], n, at[value]);
            else if (late && program->code[value - inputs].sum < 0)
                memcpy((char *)walk->results[i] + start * (size_t)width, at[value], n * (size_t)width);
        }
    }
    if (streamed) program->lanes->stream(0, NULL, NULL);
    free(more);
}
