/* The operators ConvWeights and ConvSquares of the domain dlc.native, as ONNX Runtime sees them.
 *
 * ConvWeights: the derivative of a convolution by its filters (filters.h). Inputs: x [batch, groups * channels, height, width] and the adjoint g [batch, groups * out,
 * windows down, windows across], both float32 or both float64. Output: [groups * out, channels, kernel...].
 * Attributes, all integers: kernel [2], strides [2], dilations [2], pads [2] (before the image), group [1].
 *
 * ConvSquares: a convolution with filters of 3 x 3 (squares.h), in float32. Inputs: x [batch, channels, height, width], w
 * [out, channels, 3, 3], or [channels, out, 3, 3] where `turned` [1] is 1. Output: [batch, out, height + top + bottom - 2,
 * width + left + right - 2]. Attribute besides: pads [4], in the order of ONNX. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filters.h"
#include "kernel.h"
#include "operator.h"
#include "squares.h"

typedef struct {
    Table table;
    int64_t kernel[2], strides[2], dilations[2], pads[2], group[1];
} Kernel;

typedef struct {
    Table table;
    int64_t pads[4], turned[1];
} SquaresKernel;

static const char weights[] = "ConvWeights", squares[] = "ConvSquares";

/* An attribute of so many integers, none of them less than `least`. */
static Status integers(Table table, const char *of, const void *info, const char *name, int64_t *values, size_t count, int64_t least) {
    size_t length = 0;
    Status status = CALL(table, GET_ATTRIBUTE_ARRAY_INT64, GetIntegers)(info, name, NULL, &length);
    if (status) return status;
    if (length != count) return failed(table, INVALID_GRAPH, of, "an attribute of another length");
    status = CALL(table, GET_ATTRIBUTE_ARRAY_INT64, GetIntegers)(info, name, values, &length);
    for (size_t i = 0; !status && i < count; i++)
        if (values[i] < least || values[i] > INT32_MAX) status = failed(table, INVALID_GRAPH, of, "an attribute out of range");
    return status;
}

static Status create(const Op *op, Table table, const void *info, void **made) {
    (void)op;
    Kernel *kernel = malloc(sizeof *kernel);
    if (!kernel) return failed(table, FAIL, weights, "no memory");
    kernel->table = table;
    Status status = integers(table, weights, info, "kernel", kernel->kernel, 2, 1);
    if (!status) status = integers(table, weights, info, "strides", kernel->strides, 2, 1);
    if (!status) status = integers(table, weights, info, "dilations", kernel->dilations, 2, 1);
    if (!status) status = integers(table, weights, info, "pads", kernel->pads, 2, 0);
    if (!status) status = integers(table, weights, info, "group", kernel->group, 1, 1);
    if (status) free(kernel);
    else *made = kernel;
    return status;
}

/* The memory, the type and the four sizes of an input. */
static Status look(Table table, const char *of, const void *context, size_t index, int *type, size_t *size, void **data) {
    Tensor x;
    Status status = input_of(table, context, index, of, type, &x);
    if (!status && x.rank != 4) status = failed(table, INVALID_ARGUMENT, of, "an input that is no batch of images");
    for (int i = 0; !status && i < 4; i++) size[i] = (size_t)x.size[i];
    if (!status) *data = x.data;
    return status;
}

/* The derivative by filters of 3 x 3 in squares. Whether it is done: not where a filter is not finite, which its
 * definition must say. */
static Status in_squares(Table table, void *context, const Call *call, int *done) {
    Squares how = {.x = (const float *)call->x, .g = (const float *)call->g, .y = (float *)call->w, .batch = call->batch};
    how.channels = call->channels, how.out = call->out;
    for (int i = 0; i < 2; i++) {
        how.size[i] = call->size[i], how.results[i] = call->windows[i], how.pad[i] = call->pad[i];
        if (call->kernel[i] != 3 || call->stride[i] != 1 || call->dilation[i] != 1) return NULL;
    }
    if (call->groups != 1 || !squares_weights_fit(&how)) return NULL;
    const char *wrong = squares_weights_begin(&how);
    if (wrong) return failed(table, FAIL, weights, wrong);
    Status status = CALL(table, CONTEXT_PARALLEL_FOR, ParallelFor)(context, how.sum, how.shares, 0, &how);
    if (!status) status = CALL(table, CONTEXT_PARALLEL_FOR, ParallelFor)(context, how.finish, how.out_blocks, 0, &how);
    *done = 1;
    for (size_t i = 0; i < how.shares; i++)
        if (!status && how.failed[i]) status = failed(table, FAIL, weights, "no memory");
    for (size_t i = 0; i < how.out_blocks; i++) *done &= !how.failed[how.shares + i];
    squares_end(&how);
    return status;
}

static Status compute(void *of, void *context) {
    const Kernel *kernel = of;
    Table table = kernel->table;
    size_t given = 0, asked = 0, x[4], g[4];
    int type = 0, other = 0;
    void *image = NULL, *adjoint = NULL, *value = NULL, *result = NULL;
    Status status = CALL(table, CONTEXT_GET_INPUT_COUNT, ContextCount)(context, &given);
    if (!status) status = CALL(table, CONTEXT_GET_OUTPUT_COUNT, ContextCount)(context, &asked);
    if (!status && (given != 2 || asked != 1)) status = failed(table, INVALID_ARGUMENT, weights, "other inputs or outputs");
    if (!status) status = look(table, weights, context, 0, &type, x, &image);
    if (!status) status = look(table, weights, context, 1, &other, g, &adjoint);
    if (status) return status;
    if (type != other || (type != FLOAT32 && type != FLOAT64))
        return failed(table, INVALID_ARGUMENT, weights, "inputs of types that it does not have");
    size_t groups = (size_t)kernel->group[0];
    if (x[0] != g[0] || x[1] % groups || g[1] % groups)
        return failed(table, INVALID_ARGUMENT, weights, "inputs whose sizes do not agree");
    Call call = {.x = image, .g = adjoint, .batch = x[0], .groups = groups, .channels = x[1] / groups, .out = g[1] / groups};
    int64_t size[4] = {(int64_t)g[1], (int64_t)call.channels, kernel->kernel[0], kernel->kernel[1]};
    for (int i = 0; i < 2; i++) {
        call.size[i] = x[2 + i], call.windows[i] = g[2 + i], call.kernel[i] = (size_t)kernel->kernel[i];
        call.stride[i] = (size_t)kernel->strides[i], call.dilation[i] = (size_t)kernel->dilations[i];
        call.pad[i] = (size_t)kernel->pads[i];
    }
    int nothing = !x[0] || !x[1] || !g[1] || !g[2] || !g[3], done = 0;
    const char *wrong = filters_wrong(&call);
    if (wrong) return failed(table, INVALID_ARGUMENT, weights, wrong);
    status = CALL(table, CONTEXT_GET_OUTPUT, ContextOutput)(context, 0, size, 4, &value);
    if (!status && !value) status = failed(table, INVALID_ARGUMENT, weights, "the output is missing");
    if (!status) status = CALL(table, GET_TENSOR_MUTABLE_DATA, GetData)(value, &result);
    if (nothing) {
        size_t count = (size_t)size[0] * (size_t)size[1] * (size_t)size[2] * (size_t)size[3];
        if (!status && count) memset(result, 0, count * (type == FLOAT32 ? 4 : 8));
        return status;
    }
    call.w = result;
    if (!status && type == FLOAT32) status = in_squares(table, context, &call, &done);
    if (status || done) return status;
    wrong = filters_begin(&call, type == FLOAT64);
    if (wrong) return failed(table, INVALID_ARGUMENT, weights, wrong);
    status = CALL(table, CONTEXT_PARALLEL_FOR, ParallelFor)(context, filters_share, filters_shares(&call), 0, &call);
    for (size_t i = 0; !status && i < filters_shares(&call); i++)
        if (call.failed[i]) status = failed(table, FAIL, weights, "no memory");
    if (!status) status = CALL(table, CONTEXT_PARALLEL_FOR, ParallelFor)(context, filters_block, filters_blocks(&call), 0, &call);
    filters_end(&call);
    return status;
}

/* What ONNX Runtime asks about the operator. It is told "any number of any type", as only that goes without a function
 * that infers shapes; a call looks at what it is given. */
static Status squares_create(const Op *op, Table table, const void *info, void **made) {
    (void)op;
    SquaresKernel *kernel = malloc(sizeof *kernel);
    if (!kernel) return failed(table, FAIL, squares, "no memory");
    kernel->table = table;
    Status status = integers(table, squares, info, "pads", kernel->pads, 4, 0);
    if (!status) status = integers(table, squares, info, "turned", kernel->turned, 1, 0);
    if (!status && kernel->turned[0] > 1) status = failed(table, INVALID_GRAPH, squares, "an attribute out of range");
    if (status) free(kernel);
    else *made = kernel;
    return status;
}

static void squares_prepare(void *of, size_t block) {
    const Squares *call = of;
    call->prepare(call, block);
}

static Status squares_compute(void *of, void *context) {
    const SquaresKernel *kernel = of;
    Table table = kernel->table;
    size_t given = 0, asked = 0, x[4], w[4];
    int type = 0, other = 0, turned = (int)kernel->turned[0];
    void *image = NULL, *filters = NULL, *value = NULL, *result = NULL;
    Status status = CALL(table, CONTEXT_GET_INPUT_COUNT, ContextCount)(context, &given);
    if (!status) status = CALL(table, CONTEXT_GET_OUTPUT_COUNT, ContextCount)(context, &asked);
    if (!status && (given != 2 || asked != 1)) status = failed(table, INVALID_ARGUMENT, squares, "other inputs or outputs");
    if (!status) status = look(table, squares, context, 0, &type, x, &image);
    if (!status) status = look(table, squares, context, 1, &other, w, &filters);
    if (status) return status;
    if (type != FLOAT32 || other != FLOAT32) return failed(table, INVALID_ARGUMENT, squares, "inputs of types that it does not have");
    if (w[2] != 3 || w[3] != 3 || w[turned ? 0 : 1] != x[1])
        return failed(table, INVALID_ARGUMENT, squares, "inputs whose sizes do not agree");
    Squares call = {.x = image, .w = filters, .batch = x[0], .channels = x[1], .out = w[turned ? 1 : 0], .turned = turned};
    int64_t size[4] = {(int64_t)x[0], (int64_t)call.out, 0, 0};
    for (int i = 0; i < 2; i++) {
        size_t wide = x[2 + i] + (size_t)kernel->pads[i] + (size_t)kernel->pads[2 + i];
        if (wide < 3) return failed(table, INVALID_ARGUMENT, squares, "an image that is smaller than the filters");
        call.size[i] = x[2 + i], call.pad[i] = (size_t)kernel->pads[i];
        size[2 + i] = (int64_t)(call.results[i] = wide - 2);
    }
    status = CALL(table, CONTEXT_GET_OUTPUT, ContextOutput)(context, 0, size, 4, &value);
    if (!status && !value) status = failed(table, INVALID_ARGUMENT, squares, "the output is missing");
    if (!status) status = CALL(table, GET_TENSOR_MUTABLE_DATA, GetData)(value, &result);
    if (status || !call.batch || !call.out) return status;
    call.y = result;
    if (!call.channels) {
        memset(result, 0, call.batch * call.out * call.results[0] * call.results[1] * sizeof *call.y);
        return NULL;
    }
    const char *wrong = squares_begin(&call);
    if (wrong) return failed(table, FAIL, squares, wrong);
    status = CALL(table, CONTEXT_PARALLEL_FOR, ParallelFor)(context, squares_prepare, call.out_blocks, 0, &call);
    if (!status) status = CALL(table, CONTEXT_PARALLEL_FOR, ParallelFor)(context, call.share, call.shares, 0, &call);
    for (size_t i = 0; !status && i < call.shares; i++)
        if (call.failed[i]) status = failed(table, FAIL, squares, "no memory");
    squares_end(&call);
    return status;
}

static const char *squares_name(const Op *op) { return (void)op, squares; }
static const char *name(const Op *op) { return (void)op, weights; }
const Op conv_weights = OPERATOR(name, create, compute, free, .in_place = NULL);
const Op conv_squares = OPERATOR(squares_name, squares_create, squares_compute, free, .in_place = NULL);

/* How many float32 the derivative by filters takes at a time; 1: ONNX Runtime's convolution is faster. */
#if defined(_WIN32)
__declspec(dllexport)
#else
__attribute__((visibility("default")))
#endif
int dlc_native_filters(void) { return (int)filters_here()[0]->lanes; }
