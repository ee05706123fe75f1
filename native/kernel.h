/* What kernels ask ONNX Runtime of the tensors of a call. */

#ifndef DLC_KERNEL_H
#define DLC_KERNEL_H

#include "chain.h"
#include "ort.h"

/* Whether an output of a node is declared as of the type (enum Type) that its program makes. */
Status declared(Table table, const void *info, size_t index, int expected, const char *operator);
/* The attribute `program` of a node, of at most so many integers, and how many inputs and outputs the node has, and with it
 * each of its calls. The caller frees `words`, which is NULL where there is none. */
typedef struct {
    int64_t *words;
    size_t length, inputs, outputs;
} Text;
Status program_of(Table table, const void *info, const char *operator, size_t most, Text *program);
/* The shape and the memory of an input, and its element type, ONNX's number. */
Status input_of(Table table, const void *context, size_t index, const char *operator, int *element, Tensor *tensor);
/* The same of one whose type (enum Type) must be the expected one. */
Status input_typed(Table table, const void *context, size_t index, const char *operator, int expected, Tensor *tensor);

extern const Op updates, large_product; /* updates.c, large.c */

#endif
