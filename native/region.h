/* A region: operations of a step one after another, in one node, without what ONNX Runtime spends on each.
 *
 * The program is an attribute of the node, a list of integers:
 *     REGION_VERSION, inputs, chains, steps, outputs,
 *     the element type of each input,
 *     for each chain: how many integers follow, and a program as chain.h has it,
 *     for each step: operation, operands, results, attributes (how many of each), the operands, the attributes,
 *     for each output: the value that it is.
 * Values are numbered: inputs first, then the results of each step. Operands are values before the step. */

#ifndef DLC_REGION_H
#define DLC_REGION_H

#include "chain.h"

enum { REGION_VERSION = 1, MOST_STEPS = 1 << 20, MOST_CHAINS = 1 << 12, LONGEST_REGION = 1 << 24 };

/* By number, which is never used for anything else; attributes in parentheses. */
enum RegionOperation {
    CONSTANT = 0,     /* (type, rank, sizes, the bits of each element) */
    CHAIN = 1,        /* (which one) */
    PRODUCT = 2,      /* a, b and perhaps c, or batches of a and b (flags: 1 a transposed, 2 b transposed, 4 what lies above
                         the diagonal is 0, 8 rows or columns of a begin or end with zeros; bits of alpha, of beta, as float32) */
    SOFTMAX = 3,      /* along the last axis (1: its logarithm) */
    REDUCE = 4,          /* (first axis, how many, 1: of squares, 1: axes stay, of size 1) */
    SHAPE = 5,        /* (first axis, end) */
    RESHAPE = 6,      /* x, sizes (1: 0 is a size) */
    SQUEEZE = 7,      /* (axes; none: all of size 1) */
    UNSQUEEZE = 8,    /* (axes) */
    EXPAND = 9,       /* x, sizes */
    CONCAT = 10,      /* (axis) */
    TRANSPOSE = 11,   /* (where each axis of the result comes from) */
    SLICE = 12,       /* (axis, start, end, as ONNX has them) */
    ARGMAX = 13,      /* along the last axis (1: it stays, of size 1) */
    RANGE = 14,       /* start, limit, step, of int64 */
    GATHER = 15,      /* x, indices: of each row along the last axis the elements that an index names */
    GUARD = 16,       /* a number, and data (the least and the greatest number of each): the number, NaN where data are others */
    TRIANGLE = 17,    /* what lies above a diagonal is 0, or below it (1: below; which diagonal) */
    REGION_OPERATIONS
};

typedef struct Region Region;

/* Reads a program; as program_read. NULL in `region`: there is no memory. */
const char *region_read(Region **region, const int64_t *text, size_t length, size_t inputs, size_t outputs);
void region_free(Region *region);

/* Gives the memory of an output, NULL: there is none. */
typedef void *(*Give)(void *context, size_t output, size_t rank, const int64_t *size);

/* Second factors of products that are inputs of several runs, laid out once for all of them. */
typedef struct {
    const float **packed;  /* of each step, NULL: none */
    float *memory;
    size_t room;
    float *totals;         /* of scans */
    size_t totals_room;
} Packs;

/* Runs it. Of the inputs the types are right; `packs` may be NULL. NULL, or what is wrong; `at`: the step where it is,
 * -1: nowhere. */
const char *region_run(Region *region, const Tensor *inputs, const Packs *packs, Give give, void *context, int *at);
/* The same; rows of output i lie rows[i] elements apart where that is not 0, which only the result of a PRODUCT can. */
const char *region_run_apart(Region *region, const Tensor *inputs, const Packs *packs, const size_t *rows, Give give,
                             void *context, int *at);
/* Packs factors that are inputs from number `first` on. NULL, or what is wrong. */
const char *region_pack(const Region *region, const Tensor *inputs, int first, Packs *packs);
void packs_free(Packs *packs);
int region_type(const Region *region, int value);
int region_output_type(const Region *region, int output);
int region_output(const Region *region, int output); /* the value that it is */
int region_copied(const Region *region, int output); /* the value that it is a copy of; -1: it is computed */

#endif
