/* A recurrence: a region for each turn, without what ONNX Runtime spends on a Scan and its nodes. Where the rows of all
 * states are computed each by itself, parts of the rows go through all turns in parallel.
 *
 * Inputs of the region: states, then a slice of each sequence, then what is the same in all turns. Its outputs: the next
 * states, then a slice of each result. The program is an attribute of the node, a list of integers:
 *     SCAN_VERSION, states, sequences, 1: rows are computed each by itself,
 *     for each sequence, for each result that is a sequence: 1: from the last turn to the first,
 *     a program as region.h has it. */

#ifndef DLC_SCAN_H
#define DLC_SCAN_H

#include "region.h"

enum { SCAN_VERSION = 1, MOST_SEQUENCES = 64 };

typedef struct Scan Scan;

const char *scan_read(Scan **scan, const int64_t *text, size_t length, size_t inputs, size_t outputs);
void scan_free(Scan *scan);
int scan_inputs(const Scan *scan);
int scan_type(const Scan *scan, int input);
const Region *scan_region(const Scan *scan);

/* Does work with the numbers from 0 to count - 1, in any order, in any number of threads; not 0: it failed. */
typedef int (*Spread)(void *context, void (*work)(void *, size_t), size_t count, void *of);

/* As region_run: `give` makes an output. */
const char *scan_run(Scan *scan, const Tensor *inputs, Give give, Spread spread, void *context, int *at);

#endif
