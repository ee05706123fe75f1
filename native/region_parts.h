/* What reading a region leaves for running it. */

#ifndef DLC_REGION_PARTS_H
#define DLC_REGION_PARTS_H

#include "region.h"

#if defined(_MSC_VER)
#include <intrin.h>
#define EXCHANGE(PLACE, NEW) _InterlockedExchangePointer((void *volatile *)(PLACE), (NEW))
#else
#define EXCHANGE(PLACE, NEW) __atomic_exchange_n((PLACE), (NEW), __ATOMIC_ACQ_REL)
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
enum { ROOMS = 16 };

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

void rooms_free(Region *region);

/* The product of a step, its operands at hand. NULL, or what is wrong. Where its result goes is left open. */
const char *step_product(const Step *step, const Tensor *value, Product *product);

#endif
