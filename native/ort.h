/* The few parts of ONNX Runtime's C API that the library uses, declared by hand.
 *
 * ONNX Runtime hands a library one table of functions. A function's place in it never changes once a version of the
 * API has shipped, and a newer ONNX Runtime gives an older version's caller the same table: so places are enough, and
 * no header of it is needed. `API` is the version that is asked for, 18 (ONNX Runtime 1.18 and later have it): the
 * first in which results may lie where operands do. */

#ifndef DLC_ORT_H
#define DLC_ORT_H

#include <stddef.h>
#include <stdint.h>

#define API 18

/* A place in the table of functions. */
enum {
    CREATE_STATUS = 0,
    CREATE_CUSTOM_OP_DOMAIN = 26,
    CUSTOM_OP_DOMAIN_ADD = 27,
    ADD_CUSTOM_OP_DOMAIN = 28,
    GET_TENSOR_MUTABLE_DATA = 51,
    CAST_TYPE_INFO = 55,
    GET_TENSOR_ELEMENT_TYPE = 60,
    GET_DIMENSIONS_COUNT = 61,
    GET_DIMENSIONS = 62,
    GET_TENSOR_TYPE_AND_SHAPE = 65,
    CONTEXT_GET_INPUT_COUNT = 88,
    CONTEXT_GET_OUTPUT_COUNT = 89,
    CONTEXT_GET_INPUT = 90,
    CONTEXT_GET_OUTPUT = 91,
    RELEASE_STATUS = 93,
    RELEASE_TYPE_INFO = 98,
    RELEASE_TENSOR_TYPE_AND_SHAPE_INFO = 99,
    GET_ATTRIBUTE_ARRAY_INT64 = 163,
    INFO_GET_INPUT_COUNT = 230,
    INFO_GET_OUTPUT_COUNT = 231,
    INFO_GET_OUTPUT_TYPE = 235,
    CONTEXT_PARALLEL_FOR = 274
};

typedef void (*Function)(void);
typedef const Function *Table;  /* an OrtApi */
typedef void *Status;           /* an OrtStatus, NULL: all is well */

typedef struct {
    Table (*get)(uint32_t version);
    const char *(*version)(void);
} Base;                         /* an OrtApiBase */

#define CALL(TABLE, NAME, TYPE) ((TYPE)(TABLE)[NAME])

/* Element types, and codes of failures. */
enum { FLOAT32 = 1, INT32 = 6, INT64 = 7, BOOL = 9, FLOAT64 = 11, UINT32 = 12, UINT64 = 13 };
enum { FAIL = 1, INVALID_ARGUMENT = 2, INVALID_GRAPH = 10 };

typedef Status (*CreateStatus)(int code, const char *message);
typedef Status (*CreateDomain)(const char *name, void **domain);
typedef Status (*DomainAdd)(void *domain, const void *op);
typedef Status (*AddDomain)(void *options, void *domain);
typedef Status (*GetData)(void *value, void **data);
typedef Status (*GetElementType)(const void *info, int *type);
typedef Status (*GetRank)(const void *info, size_t *rank);
typedef Status (*GetDimensions)(const void *info, int64_t *sizes, size_t rank);
typedef Status (*GetInfo)(const void *value, void **info);
typedef Status (*ContextCount)(const void *context, size_t *count);
typedef Status (*ContextInput)(const void *context, size_t index, const void **value);
typedef Status (*ContextOutput)(void *context, size_t index, const int64_t *sizes, size_t rank, void **value);
typedef void (*Release)(void *object);
typedef Status (*GetIntegers)(const void *info, const char *name, int64_t *values, size_t *count);
typedef Status (*InfoOutputType)(const void *info, size_t index, void **type);
typedef Status (*CastTypeInfo)(const void *type, const void **tensor);
typedef Status (*InfoCount)(const void *info, size_t *count);
typedef Status (*ParallelFor)(const void *context, void (*work)(void *, size_t), size_t count, size_t batches, void *);

/* An OrtCustomOp of version 18: what an operator is called, takes and does. */
typedef struct Op {
    uint32_t version;
    void *(*create)(const struct Op *, Table, const void *);
    const char *(*name)(const struct Op *);
    const char *(*provider)(const struct Op *);
    int (*input_type)(const struct Op *, size_t);
    size_t (*input_count)(const struct Op *);
    int (*output_type)(const struct Op *, size_t);
    size_t (*output_count)(const struct Op *);
    void (*compute)(void *, void *);
    void (*destroy)(void *);
    int (*input_kind)(const struct Op *, size_t);   /* 2: any number of them */
    int (*output_kind)(const struct Op *, size_t);
    int (*input_memory)(const struct Op *, size_t); /* 0: the provider's own */
    int (*inputs_least)(const struct Op *);
    int (*inputs_alike)(const struct Op *);
    int (*outputs_least)(const struct Op *);
    int (*outputs_alike)(const struct Op *);
    Status (*create_or_fail)(const struct Op *, Table, const void *, void **);
    Status (*compute_or_fail)(void *, void *);
    Status (*infer)(const struct Op *, void *);
    int (*first_version)(const struct Op *);
    int (*last_version)(const struct Op *);
    /* from version 18 on */
    size_t (*in_place)(int **inputs, int **outputs); /* pairs: the output may lie where the input does */
    void (*in_place_end)(int *inputs, int *outputs);
    size_t (*aliases)(int **inputs, int **outputs);
    void (*aliases_end)(int *inputs, int *outputs);
} Op;

extern const Op conv_weights, conv_squares; /* filters_kernel.c; Chain is in kernel.c */

#endif
