/* The operators Chain, Region, Scan and Each of the domain dlc.native, as ONNX Runtime sees them: created from a node, called
 * with tensors. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chain.h"
#include "each.h"
#include "kernel.h"
#include "region.h"
#include "scan.h"
#include "operator.h"

#if defined(_WIN32)
#define PUBLIC __declspec(dllexport)
#else
#define PUBLIC __attribute__((visibility("default")))
#endif

enum {
    FEW_SUMS = 2048, /* on the stack */
    OVER = 8         /* inputs and outputs that may lie in each other's place */
};

typedef struct {
    Table table;
    Program program;
} Kernel;

static Status failure(Table table, int code, const char *what) { return failed(table, code, "Chain", what); }

/* ONNX Runtime gives memory for what is declared. */
Status declared(Table table, const void *info, size_t index, int expected, const char *operator) {
    void *type = NULL;
    const void *tensor = NULL;
    int element = 0;
    Status status = CALL(table, INFO_GET_OUTPUT_TYPE, InfoOutputType)(info, index, &type);
    if (status) return status;
    status = CALL(table, CAST_TYPE_INFO, CastTypeInfo)(type, &tensor);
    if (!status && tensor) status = CALL(table, GET_TENSOR_ELEMENT_TYPE, GetElementType)(tensor, &element);
    CALL(table, RELEASE_TYPE_INFO, Release)(type);
    if (!status && element != elements[expected])
        status = failed(table, INVALID_GRAPH, operator, "an output of another type than the program makes");
    return status;
}

Status program_of(Table table, const void *info, const char *operator, size_t most, Text *program) {
    *program = (Text){NULL, 0, 0, 0};
    Status status = CALL(table, INFO_GET_INPUT_COUNT, InfoCount)(info, &program->inputs);
    if (!status) status = CALL(table, INFO_GET_OUTPUT_COUNT, InfoCount)(info, &program->outputs);
    if (!status) status = CALL(table, GET_ATTRIBUTE_ARRAY_INT64, GetIntegers)(info, "program", NULL, &program->length);
    if (status) return status;
    if (program->length > most) return failed(table, INVALID_GRAPH, operator, "a program that is too long");
    program->words = malloc((program->length + 1) * sizeof *program->words);
    if (!program->words) return failed(table, FAIL, operator, "no memory");
    return CALL(table, GET_ATTRIBUTE_ARRAY_INT64, GetIntegers)(info, "program", program->words, &program->length);
}

static Status create(const Op *op, Table table, const void *info, void **made) {
    (void)op;
    Kernel *kernel = malloc(sizeof *kernel);
    if (!kernel) return failure(table, FAIL, "no memory");
    kernel->table = table;
    Text text;
    Status status = program_of(table, info, "Chain", 16 + 6 * MOST_VALUES + MOST_OUTPUTS, &text);
    Program *program = &kernel->program;
    const char *wrong = status ? NULL : program_read(program, text.words, text.length, text.inputs, text.outputs);
    free(text.words);
    if (wrong) status = failure(table, INVALID_GRAPH, wrong);
    for (int i = 0; !status && i < program->outputs; i++)
        status = declared(table, info, (size_t)i, program->type[program->value[i]], "Chain");
    if (status) free(kernel);
    else *made = kernel;
    return status;
}

Status input_of(Table table, const void *context, size_t index, const char *operator, int *element, Tensor *tensor) {
    const void *value = NULL;
    void *info = NULL;
    Status status = CALL(table, CONTEXT_GET_INPUT, ContextInput)(context, index, &value);
    if (status) return status;
    if (!value) return failed(table, INVALID_ARGUMENT, operator, "an input is missing");
    status = CALL(table, GET_TENSOR_TYPE_AND_SHAPE, GetInfo)(value, &info);
    if (status) return status;
    tensor->row = 0;
    status = CALL(table, GET_TENSOR_ELEMENT_TYPE, GetElementType)(info, element);
    if (!status) status = CALL(table, GET_DIMENSIONS_COUNT, GetRank)(info, &tensor->rank);
    if (!status && tensor->rank > MOST_AXES) status = failed(table, INVALID_ARGUMENT, operator, "an input of too many axes");
    if (!status) status = CALL(table, GET_DIMENSIONS, GetDimensions)(info, tensor->size, tensor->rank);
    CALL(table, RELEASE_TENSOR_TYPE_AND_SHAPE_INFO, Release)(info);
    /* The data of a tensor are asked for as something that may change; nothing here changes an input. */
    if (!status) status = CALL(table, GET_TENSOR_MUTABLE_DATA, GetData)((void *)value, &tensor->data);
    return status;
}

Status input_typed(Table table, const void *context, size_t index, const char *operator, int expected, Tensor *tensor) {
    int element = 0;
    Status status = input_of(table, context, index, operator, &element, tensor);
    if (!status && element != elements[expected])
        status = failed(table, INVALID_ARGUMENT, operator, "an input of another type than the program says");
    return status;
}

static Status compute(void *of, void *context) {
    const Kernel *kernel = of;
    const Program *program = &kernel->program;
    Table table = kernel->table;
    Tensor inputs[MOST_INPUTS];
    void *results[MOST_OUTPUTS];
    size_t rank = 0;
    int64_t size[MOST_AXES];
    Status status = NULL;
    for (int i = 0; i < program->inputs; i++)
        if ((status = input_typed(table, context, (size_t)i, "Chain", program->type[i], &inputs[i]))) return status;
    const char *wrong = walk_shape(inputs, program->inputs, &rank, size);
    if (wrong) return failure(table, INVALID_ARGUMENT, wrong);
    if (program->sums && (size_t)program->after >= rank) return failure(table, INVALID_ARGUMENT, "no axis to keep");
    for (int i = 0; i < program->outputs; i++) {
        void *value = NULL;
        int sum = program->code[program->value[i] - program->inputs].sum >= 0;
        int64_t narrow[MOST_AXES];
        const int64_t *shape = sum ? size + rank - 1 - program->after : program->narrow[i] ? narrow : size;
        memcpy(narrow, size, rank * sizeof *size);
        if (rank) narrow[rank - 1] = 1;
        status = CALL(table, CONTEXT_GET_OUTPUT, ContextOutput)(context, (size_t)i, shape, sum ? 1 : rank, &value);
        if (!status && !value) status = failure(table, INVALID_ARGUMENT, "an output is missing");
        if (!status) status = CALL(table, GET_TENSOR_MUTABLE_DATA, GetData)(value, &results[i]);
        if (status) return status;
    }
    Walk walk;
    if ((wrong = walk_begin(&walk, program, inputs, results, rank, size))) return failure(table, INVALID_ARGUMENT, wrong);
    size_t shares = walk_shares(&walk), sums = (size_t)program->sums;
    double few[FEW_SUMS];
    if (sums && walk.total) {
        /* No sum has more places than the tensors have elements, which are in memory. */
        size_t count = shares * sums * walk.kept;
        walk.sums = count <= FEW_SUMS ? memset(few, 0, sizeof few) : calloc(count, sizeof *walk.sums);
        if (!walk.sums) return failure(table, FAIL, "no memory");
    }
    if (shares > 1) status = CALL(table, CONTEXT_PARALLEL_FOR, ParallelFor)(context, walk_share, shares, 0, &walk);
    else if (shares) walk_share(&walk, 0);
    if (!status) walk_sums(&walk);
    if (!status && walk.failed) status = failure(table, FAIL, "no memory");
    if (walk.sums != few) free(walk.sums);
    return status;
}

/* --- regions, scans of them, and regions of each matrix */

/* An operator whose node has a program of any length, which `read` makes something of that the others take. */
typedef struct {
    Op op;
    const char *name;
    const char *(*read)(void **made, const int64_t *text, size_t length, size_t inputs, size_t outputs);
    void (*destroy)(void *made);
    int (*type)(const void *made, int input);
    int (*output_type)(const void *made, int output);
    const char *(*run)(void *made, const Tensor *inputs, Give give, Spread spread, void *context, int *at);
} Long;

typedef struct {
    Table table;
    const Long *does;
    size_t inputs;
    void *made;
} LongKernel;

static const char *long_name(const Op *op) { return ((const Long *)op)->name; }

static void long_destroy(void *of) {
    LongKernel *kernel = of;
    kernel->does->destroy(kernel->made);
    free(kernel);
}

static Status long_create(const Op *op, Table table, const void *info, void **made) {
    const Long *does = (const Long *)op;
    LongKernel *kernel = calloc(1, sizeof *kernel);
    if (!kernel) return failed(table, FAIL, does->name, "no memory");
    kernel->table = table, kernel->does = does;
    Text text;
    Status status = program_of(table, info, does->name, LONGEST_REGION, &text);
    kernel->inputs = text.inputs;
    const char *wrong = status ? NULL : does->read(&kernel->made, text.words, text.length, text.inputs, text.outputs);
    free(text.words);
    if (wrong) status = failed(table, INVALID_GRAPH, does->name, wrong);
    for (size_t i = 0; !status && i < text.outputs; i++)
        status = declared(table, info, i, does->output_type(kernel->made, (int)i), does->name);
    if (status) long_destroy(kernel);
    else *made = kernel;
    return status;
}

typedef struct {
    Table table;
    void *context;
    Status status;
} Giving;

static void *give(void *of, size_t output, size_t rank, const int64_t *size) {
    Giving *giving = of;
    void *value = NULL, *data = NULL;
    Status status = CALL(giving->table, CONTEXT_GET_OUTPUT, ContextOutput)(giving->context, output, size, rank, &value);
    if (!status && value) status = CALL(giving->table, GET_TENSOR_MUTABLE_DATA, GetData)(value, &data);
    if (status) giving->status = status;
    static char nothing; /* of a tensor without elements */
    for (size_t k = 0; k < rank && value && !data; k++)
        if (!size[k]) data = &nothing;
    return status ? NULL : data;
}

static int spread(void *of, void (*work)(void *, size_t), size_t count, void *what) {
    Giving *giving = of;
    giving->status = CALL(giving->table, CONTEXT_PARALLEL_FOR, ParallelFor)(giving->context, work, count, 0, what);
    return giving->status != NULL;
}

static Status long_compute(void *of, void *context) {
    const LongKernel *kernel = of;
    const Long *does = kernel->does;
    Table table = kernel->table;
    Status status = NULL;
    Tensor few[64], *inputs = kernel->inputs <= 64 ? few : malloc(kernel->inputs * sizeof *inputs);
    if (!inputs) return failed(table, FAIL, does->name, "no memory");
    for (size_t i = 0; i < kernel->inputs && !status; i++)
        status = input_typed(table, context, i, does->name, does->type(kernel->made, (int)i), &inputs[i]);
    if (!status) {
        Giving giving = {table, context, NULL};
        int at;
        const char *wrong = does->run(kernel->made, inputs, give, spread, &giving, &at);
        if (giving.status) {
            status = giving.status;
        } else if (wrong) {
            char text[128];
            snprintf(text, sizeof text, "step %d of the region: %s", at, wrong);
            status = failed(table, INVALID_ARGUMENT, does->name, text);
        }
    }
    if (inputs != few) free(inputs);
    return status;
}

/* In one run on the thread that calls it: without packed factors. */
static const char *region_alone(Region *region, const Tensor *inputs, Give give, Spread spread, void *context, int *at) {
    return (void)spread, region_run(region, inputs, NULL, give, context, at);
}

/* The operator OF of a type, by the functions of that type. */
#define LONG(OF, NAME, TYPE, RUN)                                                                             \
    static const char *OF##_read_any(void **made, const int64_t *text, size_t length, size_t inputs, size_t outputs) { \
        TYPE *own = NULL;                                                                                     \
        const char *wrong = OF##_read(&own, text, length, inputs, outputs);                                   \
        return *made = own, wrong;                                                                            \
    }                                                                                                         \
    static void OF##_free_any(void *made) { OF##_free(made); }                                                \
    static int OF##_type_any(const void *made, int input) { return OF##_type(made, input); }                  \
    static int OF##_output_type_any(const void *made, int output) { return OF##_output_type(made, output); }  \
    static const char *OF##_run_any(void *made, const Tensor *inputs, Give give, Spread spread, void *context, int *at) { \
        return RUN(made, inputs, give, spread, context, at);                                                  \
    }                                                                                                         \
    static const Long OF = {OPERATOR(long_name, long_create, long_compute, long_destroy, .in_place = NULL), NAME, \
                            OF##_read_any, OF##_free_any, OF##_type_any, OF##_output_type_any, OF##_run_any};
LONG(region, "Region", Region, region_alone)
LONG(scan, "Scan", Scan, scan_run)
LONG(each, "Each", Each, each_run)

static const char *name(const Op *op) { return (void)op, "Chain"; }

/* Any result may lie where any operand does that nothing reads later, if ONNX Runtime finds them alike: of the first
 * few, in pairs. */
static size_t in_place(int **inputs, int **outputs) {
    static int from[OVER * OVER], to[OVER * OVER];
    for (int i = 0; i < OVER * OVER; i++) from[i] = i / OVER, to[i] = i % OVER;
    *inputs = from, *outputs = to;
    return OVER * OVER;
}
static void in_place_end(int *inputs, int *outputs) { (void)inputs, (void)outputs; }

static const Op chain = OPERATOR(name, create, compute, free, .in_place = in_place, .in_place_end = in_place_end);

/* Called by ONNX Runtime when a session's options take this library. */
PUBLIC Status RegisterCustomOps(void *options, const Base *base) {
    Table table = base->get(API);
    if (!table) return NULL; /* one older than 1.18: no operator, and no session that has a Chain loads */
    const Op *const all[] = {&chain, &conv_weights, &conv_squares, &region.op, &scan.op, &each.op, &updates, &large_product};
    static void *domain; /* made once and never released: sessions may outlive any call */
    Status status = NULL;
    if (!domain) {
        void *fresh = NULL;
        status = CALL(table, CREATE_CUSTOM_OP_DOMAIN, CreateDomain)("dlc.native", &fresh);
        for (size_t i = 0; !status && i < sizeof all / sizeof *all; i++)
            status = CALL(table, CUSTOM_OP_DOMAIN_ADD, DomainAdd)(fresh, all[i]);
        if (status) return status;
        domain = fresh;
    }
    return CALL(table, ADD_CUSTOM_OP_DOMAIN, AddDomain)(options, domain);
}

/* The form of the programs that the operators take: runtime/native.py has the same number. */
PUBLIC int dlc_native_form(void) { return 6; }

/* The kind of processor that the lanes were chosen for: what `dlc doctor` shows. */
PUBLIC const char *dlc_native_lanes(void) { return lanes_here()->name; }
