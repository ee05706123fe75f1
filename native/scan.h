/* A recurrence: a region for each turn, without what ONNX Runtime spends on a Scan and its nodes. Where the rows of all
 * states are computed each by itself, parts of the rows go through all turns in parallel.
 *
 * Inputs of the region: states, then a slice of each sequence, then what is the same in all turns. Its outputs: the next
 * states, then a slice of each result, then what only totals read. A total is a sum over all rows of all turns: of a
 * matrix, or of the products of the numbers of one with those of another (its transpose times the other). Of the node it
 * is an output after the results. The program is an attribute of the node, a list of integers:
 *     SCAN_VERSION, states, sequences, 1: rows are computed each by itself, outputs that only totals read, totals,
 *     for each sequence, for each result that is a sequence: 1: from the last turn to the first,
 *     for each total: a, -1: a sum of b alone; b; the bits of a factor, as float32. Slices of sequences are numbered, then
 *     what only totals read,
 *     a program as region.h has it. */

#ifndef DLC_SCAN_H
#define DLC_SCAN_H

#include "region.h"

enum { SCAN_VERSION = 2, MOST_SEQUENCES = 64, MOST_TOTALS = 16 };

typedef struct Scan Scan;

const char *scan_read(Scan **scan, const int64_t *text, size_t length, size_t inputs, size_t outputs);
void scan_free(Scan *scan);
int scan_type(const Scan *scan, int input);
int scan_output_type(const Scan *scan, int output);

/* Does work with the numbers from 0 to count - 1, in any order, in any number of threads; not 0: it failed. */
typedef int (*Spread)(void *context, void (*work)(void *, size_t), size_t count, void *of);

/* As region_run: `give` makes an output. */
const char *scan_run(Scan *scan, const Tensor *inputs, Give give, Spread spread, void *context, int *at);

#endif
