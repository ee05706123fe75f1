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

static Status create(const Op *op, Table table, const void *info, void **made) {
    (void)op;
    size_t inputs = 0, outputs = 0, length = 0;
    Status status = CALL(table, INFO_GET_INPUT_COUNT, InfoCount)(info, &inputs);
    if (!status) status = CALL(table, INFO_GET_OUTPUT_COUNT, InfoCount)(info, &outputs);
    if (!status) status = CALL(table, GET_ATTRIBUTE_ARRAY_INT64, GetIntegers)(info, "program", NULL, &length);
    if (status) return status;
    if (length > 16 + 6 * MOST_VALUES + MOST_OUTPUTS) return failure(table, INVALID_GRAPH, "a program that is too long");
    int64_t text[16 + 6 * MOST_VALUES + MOST_OUTPUTS];
    status = CALL(table, GET_ATTRIBUTE_ARRAY_INT64, GetIntegers)(info, "program", text, &length);
    if (status) return status;
    Kernel *kernel = malloc(sizeof *kernel);
    if (!kernel) return failure(table, FAIL, "no memory");
    kernel->table = table;
    const Program *program = &kernel->program;
    const char *wrong = program_read(&kernel->program, text, length, inputs, outputs);
    for (int i = 0; !wrong && !status && i < program->outputs; i++)
        status = declared(table, info, (size_t)i, program->type[program->value[i]], "Chain");
    if (wrong || status) {
        free(kernel);
        return status ? status : failure(table, INVALID_GRAPH, wrong);
    }
    *made = kernel;
    return NULL;
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
    size_t given = 0, asked = 0, rank = 0;
    int64_t size[MOST_AXES];
    Status status = CALL(table, CONTEXT_GET_INPUT_COUNT, ContextCount)(context, &given);
    if (!status) status = CALL(table, CONTEXT_GET_OUTPUT_COUNT, ContextCount)(context, &asked);
    if (status) return status;
    if (given != (size_t)program->inputs || asked != (size_t)program->outputs)
        return failure(table, INVALID_ARGUMENT, "other inputs or outputs than the program has");
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

/* --- regions, scans of them, and regions of each matrix: a kernel of any */

typedef struct {
    Table table;
    const char *name;
    Region *region; /* or */
    Scan *scan;     /* or */
    Each *each;
} Long;

static Status long_create(const char *name, Table table, const void *info, void **made) {
    size_t inputs = 0, outputs = 0, length = 0;
    Status status = CALL(table, INFO_GET_INPUT_COUNT, InfoCount)(info, &inputs);
    if (!status) status = CALL(table, INFO_GET_OUTPUT_COUNT, InfoCount)(info, &outputs);
    if (!status) status = CALL(table, GET_ATTRIBUTE_ARRAY_INT64, GetIntegers)(info, "program", NULL, &length);
    if (status) return status;
    if (length > LONGEST_REGION) return failed(table, INVALID_GRAPH, name, "a program that is too long");
    Long *kernel = calloc(1, sizeof *kernel);
    int64_t *text = malloc((length ? length : 1) * sizeof *text);
    const char *wrong = "no memory";
    if (kernel && text) {
        status = CALL(table, GET_ATTRIBUTE_ARRAY_INT64, GetIntegers)(info, "program", text, &length);
        kernel->table = table, kernel->name = name;
        if (status) wrong = NULL;
        else if (name[0] == 'S') wrong = scan_read(&kernel->scan, text, length, inputs, outputs);
        else if (name[0] == 'E') wrong = each_read(&kernel->each, text, length, inputs, outputs);
        else wrong = region_read(&kernel->region, text, length, inputs, outputs);
    }
    free(text);
    for (size_t i = 0; !wrong && !status && i < outputs; i++)
        status = declared(table, info, i,
                          kernel->each   ? each_output_type(kernel->each, (int)i)
                          : kernel->scan ? scan_output_type(kernel->scan, (int)i)
                                         : region_output_type(kernel->region, (int)i),
                          name);
    if (wrong || status) {
        if (kernel) region_free(kernel->region), scan_free(kernel->scan), each_free(kernel->each);
        free(kernel);
        return status ? status : failed(table, INVALID_GRAPH, name, wrong);
    }
    *made = kernel;
    return NULL;
}

static Status region_create(const Op *op, Table table, const void *info, void **made) {
    return (void)op, long_create("Region", table, info, made);
}

static Status scan_create(const Op *op, Table table, const void *info, void **made) {
    return (void)op, long_create("Scan", table, info, made);
}

static Status each_create(const Op *op, Table table, const void *info, void **made) {
    return (void)op, long_create("Each", table, info, made);
}

static void long_destroy(void *of) {
    Long *kernel = of;
    region_free(kernel->region);
    each_free(kernel->each);
    scan_free(kernel->scan);
    free(kernel);
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
    const Long *kernel = of;
    Table table = kernel->table;
    size_t given = 0;
    Status status = CALL(table, CONTEXT_GET_INPUT_COUNT, ContextCount)(context, &given);
    if (status) return status;
    const size_t expected = (size_t)(kernel->scan   ? scan_inputs(kernel->scan)
                                     : kernel->each ? each_inputs(kernel->each)
                                                    : region_inputs(kernel->region));
    if (given != expected) return failed(table, INVALID_ARGUMENT, kernel->name, "other inputs than the program has");
    Tensor few[64], *inputs = given <= 64 ? few : malloc(given * sizeof *inputs);
    if (!inputs) return failed(table, FAIL, kernel->name, "no memory");
    for (size_t i = 0; i < given && !status; i++) {
        const int type = kernel->scan   ? scan_type(kernel->scan, (int)i)
                         : kernel->each ? each_type(kernel->each, (int)i)
                                        : region_type(kernel->region, (int)i);
        status = input_typed(table, context, i, kernel->name, type, &inputs[i]);
    }
    if (!status) {
        Giving giving = {table, context, NULL};
        int at;
        const char *wrong = kernel->scan   ? scan_run(kernel->scan, inputs, give, spread, &giving, &at)
                            : kernel->each ? each_run(kernel->each, inputs, give, spread, &giving, &at)
                                           : region_run(kernel->region, inputs, NULL, give, &giving, &at);
        if (giving.status) {
            status = giving.status;
        } else if (wrong) {
            char text[128];
            snprintf(text, sizeof text, "step %d of the region: %s", at, wrong);
            status = failed(table, INVALID_ARGUMENT, kernel->name, text);
        }
    }
    if (inputs != few) free(inputs);
    return status;
}

static const char *name(const Op *op) { return (void)op, "Chain"; }
static const char *region_name(const Op *op) { return (void)op, "Region"; }
static const char *scan_name(const Op *op) { return (void)op, "Scan"; }
static const char *each_name(const Op *op) { return (void)op, "Each"; }

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
static const Op region = OPERATOR(region_name, region_create, long_compute, long_destroy, .in_place = NULL);
static const Op scan = OPERATOR(scan_name, scan_create, long_compute, long_destroy, .in_place = NULL);
static const Op each = OPERATOR(each_name, each_create, long_compute, long_destroy, .in_place = NULL);

/* Called by ONNX Runtime when a session's options take this library. */
PUBLIC Status RegisterCustomOps(void *options, const Base *base) {
    Table table = base->get(API);
    if (!table) return NULL; /* one older than 1.18: no operator, and no session that has a Chain loads */
    static void *domain; /* made once and never released: sessions may outlive any call */
    Status status = NULL;
    if (!domain) {
        void *fresh = NULL;
        status = CALL(table, CREATE_CUSTOM_OP_DOMAIN, CreateDomain)("dlc.native", &fresh);
        if (!status) status = CALL(table, CUSTOM_OP_DOMAIN_ADD, DomainAdd)(fresh, &chain);
        if (!status) status = CALL(table, CUSTOM_OP_DOMAIN_ADD, DomainAdd)(fresh, &conv_weights);
        if (!status) status = CALL(table, CUSTOM_OP_DOMAIN_ADD, DomainAdd)(fresh, &conv_squares);
        if (!status) status = CALL(table, CUSTOM_OP_DOMAIN_ADD, DomainAdd)(fresh, &region);
        if (!status) status = CALL(table, CUSTOM_OP_DOMAIN_ADD, DomainAdd)(fresh, &scan);
        if (!status) status = CALL(table, CUSTOM_OP_DOMAIN_ADD, DomainAdd)(fresh, &each);
        if (!status) status = CALL(table, CUSTOM_OP_DOMAIN_ADD, DomainAdd)(fresh, &updates);
        if (status) return status;
        domain = fresh;
    }
    return CALL(table, ADD_CUSTOM_OP_DOMAIN, AddDomain)(options, domain);
}

/* The form of the programs that the operators take: runtime/native.py has the same number. */
PUBLIC int dlc_native_form(void) { return 5; }

/* The kind of processor that the lanes were chosen for: what `dlc doctor` shows. */
PUBLIC const char *dlc_native_lanes(void) { return lanes_here()->name; }
