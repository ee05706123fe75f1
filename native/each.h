/* What is done with each matrix of a batch by itself, as a region: one matrix after the other goes through all of it, so
 * that what lies between stays in a cache; several in parallel. Matrices are read and written where they lie, as the heads
 * of an attention lie in one product.
 *
 * A view says where the matrices of a tensor are. It gives the tensor's axes sizes, as a Reshape does, and each axis a
 * part: an axis of the batch, the row or the column of the matrix, or one place of it that is taken. The program is an
 * attribute of the node, a list of integers:
 *     EACH_VERSION, inputs of the node, outputs of it, axes of the batch,
 *     views of operands, views of results,
 *     for each view: the input (or output) of the node, axes, and for each axis: size, part, place,
 *     a program as region.h has it, of operands and results as the views have them.
 * Sizes of operands: 0 the tensor's own, -1 what is left (once). Of results: of rows and columns, and of an axis of which
 * places are taken; then each place is one view's. */

#ifndef DLC_EACH_H
#define DLC_EACH_H

#include "region.h"
#include "scan.h"

enum { EACH_VERSION = 1, MOST_VIEWS = 64, MOST_BATCH = 8 };
enum { ROW = -1, COLUMN = -2, PLACE = -3 }; /* parts; from 0 on: an axis of the batch */

typedef struct Each Each;

const char *each_read(Each **each, const int64_t *text, size_t length, size_t inputs, size_t outputs);
void each_free(Each *each);
int each_type(const Each *each, int input);
int each_output_type(const Each *each, int output);

/* As region_run: `give` makes an output. */
const char *each_run(Each *each, const Tensor *inputs, Give give, Spread spread, void *context, int *at);

#endif
