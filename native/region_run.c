/* Running a region: each step in turn, on memory that is kept from one run to the next. */

#include <stdlib.h>
#include <string.h>

#include "region_parts.h"

#if defined(_WIN32)
#include <malloc.h>
#define ALIGNED_FREE _aligned_free
#else
#define ALIGNED_FREE free
#endif

enum { SPARE = 1 << 20 };

const char NO_MEMORY[] = "no memory", NO_FIT[] = "shapes that do not fit each other";

/* --- memory */

Block *block_take(Pool *pool, size_t bytes) {
    if (bytes > (size_t)1 << 44) return NULL;
    int power = 8, part = 0; /* four sizes for each power of two */
    while (((size_t)2 << power) < bytes) power++;
    while (((size_t)4 + (size_t)part) << (power - 2) < bytes) part++;
    int kind = 4 * power + part;
    Block *block = pool->idle[kind];
    if (block) {
        pool->idle[kind] = block->next;
    } else {
        size_t size = ((size_t)4 + (size_t)part) << (power - 2);
#if defined(_WIN32)
        block = _aligned_malloc(size + LINE, LINE);
#else
        block = aligned_alloc(LINE, size + LINE);
#endif
        if (!block) return NULL;
        *block = (Block){NULL, pool->all, size, kind};
        pool->all = block;
        pool->held += size;
    }
    pool->used += block->bytes;
    if (pool->used > pool->most) pool->most = pool->used;
    return block;
}

void *block_data(Block *block) { return (char *)block + LINE; }

void block_give(Pool *pool, Block *block) {
    pool->used -= block->bytes;
    block->next = pool->idle[block->kind];
    pool->idle[block->kind] = block;
}

static void pool_free(Pool *pool) {
    if (!pool) return;
    while (pool->all) {
        Block *block = pool->all;
        pool->all = block->all;
        ALIGNED_FREE(block);
    }
    free(pool);
}

static Pool *pools[ROOMS]; /* idle ones */
static long regions;

static Pool *pool_take(void) {
    Pool *pool = NULL;
    for (int i = 0; i < ROOMS && !pool; i++) pool = EXCHANGE(&pools[i], NULL);
    if (!pool) pool = calloc(1, sizeof *pool);
    if (pool) pool->most = pool->used;
    return pool;
}

/* Sixteen smaller runs later what an earlier, larger one took is no longer counted on. */
static void pool_give(Pool *pool) {
    pool->lately -= pool->lately / 16;
    if (pool->most > pool->lately) pool->lately = pool->most;
    if (pool->held > 2 * pool->lately + SPARE) {
        pool_free(pool);
        return;
    }
    for (int i = 0; pool && i < ROOMS; i++) pool = EXCHANGE(&pools[i], pool); /* what was there goes on to the next */
    pool_free(pool);
}

static void room_free(Room *room) {
    if (!room) return;
    free(room->value), free(room->block);
    free(room);
}

static Room *room_make(const Region *r) {
    Room *room = calloc(1, sizeof *room);
    if (!room) return NULL;
    room->value = calloc((size_t)r->values, sizeof *room->value);
    room->block = calloc((size_t)r->values, sizeof *room->block);
    if (room->value && room->block) return room;
    room_free(room);
    return NULL;
}

void region_begins(void) { ADDED(&regions, 1); }

void region_ends(Region *r) {
    for (int i = 0; i < ROOMS; i++) room_free(EXCHANGE(&r->idle[i], NULL));
    if (ADDED(&regions, -1) == 0)
        for (int i = 0; i < ROOMS; i++) pool_free(EXCHANGE(&pools[i], NULL));
}

/* One that no other thread has. */
static Room *room_take(Region *r) {
    Room *room = NULL;
    for (int i = 0; i < ROOMS && !room; i++) room = EXCHANGE(&r->idle[i], NULL);
    if (!room) room = room_make(r);
    if (room && !(room->pool = pool_take())) room_free(room), room = NULL;
    return room;
}

static void room_give(Region *r, Room *room) {
    pool_give(room->pool);
    for (int i = 0; room && i < ROOMS; i++) room = EXCHANGE(&r->idle[i], room);
    room_free(room);
}

/* --- values */

int64_t count(size_t rank, const int64_t *size) {
    int64_t all = 1;
    for (size_t k = 0; k < rank; k++) {
        if (size[k] < 0 || (size[k] && all > ((int64_t)1 << 40) / size[k])) return -1;
        all *= size[k];
    }
    return all;
}

void *make(Run *run, int value, size_t rank, const int64_t *size) {
    Tensor *made = &run->room->value[value];
    int64_t all = count(rank, size);
    if (all < 0 || rank > MOST_AXES) return NULL;
    made->rank = rank, made->row = 0;
    if (rank) memmove(made->size, size, rank * sizeof *size);
    int output = run->region->output[value];
    if (output >= 0) return made->data = run->give(run->context, (size_t)output, rank, size);
    Block *block = block_take(run->room->pool, (size_t)all * sizes[run->region->type[value]]);
    if (!block) return NULL;
    run->room->block[value] = block;
    return made->data = block_data(block);
}

/* --- what steps do: NULL, or what is wrong */

static const char *run_chain(Run *run, const Step *s) {
    const Program *program = s->chain;
    Tensor inputs[MOST_INPUTS];
    void *results[MOST_OUTPUTS];
    size_t rank;
    int64_t size[MOST_AXES];
    for (int i = 0; i < s->ins; i++) inputs[i] = run->room->value[s->in[i]];
    const char *wrong = walk_shape(inputs, s->ins, &rank, size);
    if (wrong) return wrong;
    int64_t narrow[MOST_AXES];
    if (program->rows) memcpy(narrow, size, sizeof size);
    if (program->rows && rank) narrow[rank - 1] = 1;
    for (int i = 0; i < s->outs; i++)
        if (!(results[i] = make(run, s->out + i, rank, program->narrow[i] ? narrow : size))) return NO_MEMORY;
    Walk walk;
    if ((wrong = walk_begin(&walk, program, inputs, results, rank, size))) return wrong;
    const size_t shares = walk_shares(&walk);
    for (size_t number = 0; number < shares; number++) walk_share(&walk, number);
    return walk.failed ? NO_MEMORY : NULL;
}

const char *step_product(const Step *s, const Tensor *value, Product *p, size_t *batch) {
    const Tensor *a = &value[s->in[0]], *b = &value[s->in[1]];
    const int ta = s->attr[0] & 1, tb = s->attr[0] >> 1 & 1, vector = a->rank == 1;
    const size_t lead = vector ? 0 : a->rank - 2;
    if (!a->rank || (vector && ta) || b->rank != lead + 2) return NO_FIT;
    *batch = 1;
    for (size_t k = 0; k < lead; k++) {
        if (a->size[k] != b->size[k]) return NO_FIT;
        *batch *= (size_t)a->size[k];
    }
    const int64_t *high = a->size + lead, *wide = b->size + lead;
    const int64_t rows = vector ? 1 : high[ta], depth = vector ? high[0] : high[!ta], columns = wide[!tb];
    if (wide[tb] != depth) return NO_FIT;
    *p = (Product){.m = (size_t)rows, .n = (size_t)columns, .k = (size_t)depth, .a = a->data, .b = b->data};
    const size_t a_apart = a->row ? a->row : (size_t)a->size[a->rank - 1], b_apart = b->row ? b->row : (size_t)wide[1];
    p->a_row = ta ? 1 : a_apart, p->a_column = ta ? a_apart : 1;
    p->b_row = tb ? 1 : b_apart, p->b_column = tb ? b_apart : 1;
    p->lower = s->attr[0] >> 2 & 1, p->zeros = s->attr[0] >> 3 & 1;
    const int32_t alpha = (int32_t)s->attr[1], beta = (int32_t)s->attr[2];
    memcpy(&p->alpha, &alpha, sizeof p->alpha);
    memcpy(&p->beta, &beta, sizeof p->beta);
    p->to_row = p->n;
    if (p->lower && p->m != p->n) return NO_FIT;
    if (s->ins < 3) return NULL;
    const Tensor *c = &value[s->in[2]];
    if (c->rank > 2 || lead) return NO_FIT;
    const int64_t c_rows = c->rank == 2 ? c->size[0] : 1, c_columns = c->rank ? c->size[c->rank - 1] : 1;
    if ((c_rows != 1 && c_rows != rows) || (c_columns != 1 && c_columns != columns)) return NO_FIT;
    p->c = c->data, p->c_row = c_rows == 1 ? 0 : (size_t)c_columns, p->c_column = c_columns == 1 ? 0 : 1;
    return NULL;
}

static const char *run_product(Run *run, const Step *s) {
    const Tensor *a = &run->room->value[s->in[0]];
    Product p;
    size_t batch;
    const char *wrong = step_product(s, run->room->value, &p, &batch);
    if (wrong) return wrong;
    int64_t size[MOST_AXES];
    memcpy(size, a->size, sizeof size);
    size[a->rank - 1] = (int64_t)p.n;
    if (a->rank > 1) size[a->rank - 2] = (int64_t)p.m;
    p.to = make(run, s->out, a->rank, size);
    if (!p.to) return NO_MEMORY;
    const int output = run->region->output[s->out];
    if (run->rows && output >= 0 && run->rows[output]) p.to_row = run->rows[output];
    if (run->packs) p.packed = run->packs->packed[s - run->region->step];
    for (size_t i = 0; i < batch; i++) {
        lanes_here()->product(&p);
        p.a += p.m * p.k, p.b += p.k * p.n, p.to += p.m * p.n;
    }
    return NULL;
}

static const char *(*const does[REGION_OPERATIONS])(Run *, const Step *) = {
    [CONSTANT] = run_constant, [CHAIN] = run_chain, [PRODUCT] = run_product, [SOFTMAX] = run_softmax, [REDUCE] = run_sum,
    [SHAPE] = run_shape, [RESHAPE] = run_shaped, [SQUEEZE] = run_shaped, [UNSQUEEZE] = run_shaped,
    [EXPAND] = run_strided, [CONCAT] = run_concat, [TRANSPOSE] = run_strided, [SLICE] = run_strided,
    [ARGMAX] = run_argmax, [RANGE] = run_range, [GATHER] = run_gather, [GUARD] = run_guard,
    [TRIANGLE] = run_triangle,
};

const char *region_run(Region *r, const Tensor *inputs, const Packs *packs, Give give, void *context, int *at) {
    return region_run_apart(r, inputs, packs, NULL, give, context, at);
}

const char *region_run_apart(Region *r, const Tensor *inputs, const Packs *packs, const size_t *rows, Give give, void *context,
                             int *at) {
    *at = -1;
    Room *room = room_take(r);
    if (!room) return NO_MEMORY;
    Run run = {r, room, packs, rows, give, context};
    memcpy(room->value, inputs, (size_t)r->inputs * sizeof *inputs);
    const char *wrong = NULL;
    for (int i = 0; i < r->steps && !wrong; i++) {
        const Step *s = &r->step[i];
        wrong = does[s->op](&run, s);
        if (wrong) *at = i;
        for (int k = 0; k < s->ends; k++) {
            Block **block = &room->block[s->end[k]];
            if (*block) block_give(room->pool, *block), *block = NULL;
        }
    }
    for (int v = 0; wrong && v < r->values; v++) /* what the steps that were not run would have freed */
        if (room->block[v]) block_give(room->pool, room->block[v]), room->block[v] = NULL;
    room_give(r, room);
    return wrong;
}

const char *region_pack(const Region *r, const Tensor *inputs, int first, Packs *packs) {
    if (!packs->packed && !(packs->packed = calloc((size_t)r->steps, sizeof *packs->packed))) return NO_MEMORY;
    for (int pass = 0, fits = 1; pass < 2; pass++, fits = 0) { /* how much memory; then what goes there */
        size_t used = 0;
        for (int i = 0; i < r->steps; i++) {
            const Step *s = &r->step[i];
            packs->packed[i] = NULL;
            if (s->op != PRODUCT || s->in[1] < first || s->in[1] >= r->inputs) continue;
            const Tensor *b = &inputs[s->in[1]];
            const int tb = s->attr[0] >> 1 & 1;
            if (b->rank != 2) continue; /* of a batch each is multiplied as it lies */
            Product p = {.n = (size_t)b->size[!tb], .k = (size_t)b->size[tb], .b = b->data};
            p.b_row = tb ? 1 : p.n, p.b_column = tb ? p.k : 1;
            if (!fits) {
                lanes_here()->product_pack(&p, packs->memory + used);
                packs->packed[i] = packs->memory + used;
            }
            used += (p.k * (p.n + 64) + 15) / 16 * 16;
        }
        if (pass == 0 && used > packs->room) {
            free(packs->memory);
            packs->room = 0;
            if (!(packs->memory = malloc(used * sizeof(float)))) return NO_MEMORY;
            packs->room = used;
        }
    }
    return NULL;
}

void packs_free(Packs *packs) {
    if (!packs) return;
    free(packs->packed), free(packs->memory), free(packs->totals);
    free(packs);
}
