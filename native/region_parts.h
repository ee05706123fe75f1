/* What reading a region leaves for running it. */

#ifndef DLC_REGION_PARTS_H
#define DLC_REGION_PARTS_H

#include "region.h"

#if defined(_MSC_VER)
#include <intrin.h>
#define EXCHANGE(PLACE, NEW) _InterlockedExchangePointer((void *volatile *)(PLACE), (NEW))
#define ADDED(PLACE, MORE) (_InterlockedExchangeAdd((PLACE), (MORE)) + (MORE))
#else
#define EXCHANGE(PLACE, NEW) __atomic_exchange_n((PLACE), (NEW), __ATOMIC_ACQ_REL)
#define ADDED(PLACE, MORE) __atomic_add_fetch((PLACE), (MORE), __ATOMIC_ACQ_REL)
#endif

typedef struct {
    uint8_t op;
    int ins, outs, attrs, ends;
    int32_t *in;           /* values */
    int32_t out;           /* the first result; the others follow */
    const int64_t *attr;
    const Program *chain;  /* of CHAIN */
    Tensor *constant;      /* of CONSTANT */
    int32_t *end;          /* the values whose memory is free after this step */
} Step;

typedef struct Room Room;
enum { ROOMS = 16, CLASSES = 4 * 48 };

struct Region {
    int inputs, chains, steps, outputs, values;
    int room;              /* values that there is memory for */
    int64_t *text;
    size_t length;
    int32_t *operands, *root, *output, *ends; /* of values: in whose memory it lies, which output it is (-1: none) */
    uint8_t *type;
    Step *step;
    Program *chain;
    Room *idle[ROOMS];     /* of earlier runs, for the next ones */
};

/* A piece of memory; its data follow on the next line of the cache. */
typedef struct Block Block;
struct Block {
    Block *next, *all; /* of those that are free and as large; of all */
    size_t bytes;
    int kind;
};

/* Memory that runs take their blocks from, one run at a time: that of a region serves the next one of a step, too. */
typedef struct {
    Block *idle[CLASSES], *all;
    size_t held, used, most, lately; /* bytes: of all blocks; in use; the most that this run, and runs lately, used at once */
} Pool;

/* What one run needs: where the values are, and memory for them. */
struct Room {
    Pool *pool;
    Tensor *value;
    Block **block; /* whose memory a value has, NULL: none of ours */
};

typedef struct {
    const Region *region;
    Room *room;
    const Packs *packs;
    const size_t *rows; /* as region_run_apart has them */
    Give give;
    void *context;
} Run;

void region_begins(void); /* there is one more, or one less, that keeps memory for its next run */
void region_ends(Region *region);

/* Memory: NULL where there is none. */
Block *block_take(Pool *pool, size_t bytes);
void *block_data(Block *block);
void block_give(Pool *pool, Block *block);
/* The result of a step, with memory; NULL: there is none. */
void *make(Run *run, int value, size_t rank, const int64_t *size);

/* How many elements; -1: more than there can be. */
int64_t count(size_t rank, const int64_t *size);

/* Elements of 1, 4 or 8 bytes from places `stride` apart, one after another. */
void gather_strided(size_t width, size_t rank, const int64_t *size, const int64_t *stride, const char *from, char *to);

extern const char NO_MEMORY[], NO_FIT[];

/* What the steps do that are no chains and no products (region_steps.c): NULL, or what is wrong. */
typedef const char *Does(Run *run, const Step *step);
Does run_sum, run_softmax, run_argmax, run_gather, run_shaped, run_strided, run_concat, run_range, run_shape, run_constant, run_guard,
    run_triangle;

/* The product of a step, its operands at hand. NULL, or what is wrong. Where its result goes is left open. */
const char *step_product(const Step *step, const Tensor *value, Product *product, size_t *batch);

#endif
