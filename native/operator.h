/* What every operator of the domain dlc.native answers when ONNX Runtime asks about it: any number of inputs and outputs,
 * each of any type, on the CPU. What they are is seen by what creates and what computes. */

#ifndef DLC_OPERATOR_H
#define DLC_OPERATOR_H

#include <stdio.h>

#include "ort.h"

static inline Status failed(Table table, int code, const char *operator, const char *what) {
    char text[256];
    snprintf(text, sizeof text, "dlc.native.%s: %s", operator, what);
    return CALL(table, CREATE_STATUS, CreateStatus)(code, text);
}

static inline const char *operator_provider(const Op *op) { return (void)op, "CPUExecutionProvider"; }
static inline int operator_type(const Op *op, size_t index) { return (void)op, (void)index, 0; }
static inline size_t operator_places(const Op *op) { return (void)op, (size_t)1; }
static inline int operator_variadic(const Op *op, size_t index) { return (void)op, (void)index, 2; }
static inline int operator_memory(const Op *op, size_t index) { return (void)op, (void)index, 0; }
static inline int operator_least(const Op *op) { return (void)op, 1; }
static inline int operator_alike(const Op *op) { return (void)op, 0; }
static inline int operator_version(const Op *op) { return (void)op, 1; }

/* What else an operator sets follows, at least `.in_place`. */
#define OPERATOR(NAME, CREATE, COMPUTE, DESTROY, ...)                                                        \
    {                                                                                                       \
        .version = API, .name = NAME, .provider = operator_provider, .input_type = operator_type,           \
        .input_count = operator_places, .output_type = operator_type, .output_count = operator_places,      \
        .destroy = DESTROY, .input_kind = operator_variadic, .output_kind = operator_variadic,              \
        .input_memory = operator_memory, .inputs_least = operator_least, .inputs_alike = operator_alike,    \
        .outputs_least = operator_least, .outputs_alike = operator_alike, .create_or_fail = CREATE,         \
        .compute_or_fail = COMPUTE, .first_version = operator_version, .last_version = operator_version,    \
        __VA_ARGS__                                                                                         \
    }

#endif
