/* The operator Updates: chains that make the next state of a model, all at once and last of all, so that each result may
 * lie where the value before it does. It writes all of them or none.
 *
 * Its program, a list of integers:
 *     VERSION, guards, checked, programs,
 *     for each of the checked: how many spans of it count, 0 for all of it, and the beginning and end of each in elements,
 *     for each program: its length and its text, as chain.h has it, without sums;
 *         for each of its inputs the input of the node that it is;
 *         for each of its outputs the input of the node that holds the value before, of the same type and shape.
 * Inputs of the node: `look`, an int64; the guards; the checked; any others. Its outputs: those of the programs, and the
 * verdict, an int64: 1, all are written; 2, a guard holds a number that is not finite; and where `look` is not 0: 3, a
 * checked input does; 4 + 2 k, the next value of output k would be infinite somewhere, 5 + 2 k, it would have NaN. With
 * any but 1 each output is the value before. So who sets the verdict to 0 before a call knows what became of it. */

#include <stdlib.h>
#include <string.h>

#include "chain.h"
#include "kernel.h"
#include "operator.h"

enum { HEAD = 4, MOST_PROGRAMS = 1 << 16, LONGEST = 1 << 24 };
static const char *const NAME = "Updates";

typedef struct {
    Program program;
    const int64_t *input, *before; /* of each input and output of the program: which input of the node */
    size_t first;                  /* the output of the node that is its first */
} Part;

typedef struct {
    Table table;
    size_t inputs, outputs, guards, checked, count, values; /* values: inputs of all programs */
    int64_t *text;
    const int64_t *spans;
    Part *parts;
} Kernel;

static void destroy(void *of) {
    Kernel *kernel = of;
    if (kernel) free(kernel->text), free(kernel->parts);
    free(kernel);
}

/* Reads what `text` says: NULL, or what is wrong with it. */
static const char *updates_read(Kernel *kernel, size_t length) {
    const int64_t *at = kernel->text, *end = at + length;
    if (length < HEAD) return "no beginning";
    if (at[0] != VERSION) return "a version that this library does not know";
    if (at[1] < 0 || at[2] < 0 || at[1] > (int64_t)kernel->inputs || at[2] > (int64_t)kernel->inputs ||
        (size_t)(1 + at[1] + at[2]) > kernel->inputs || at[3] < 1 || at[3] > MOST_PROGRAMS || (size_t)at[3] > length)
        return "too many or too few inputs or programs";
    kernel->guards = (size_t)at[1], kernel->checked = (size_t)at[2], kernel->count = (size_t)at[3];
    kernel->parts = calloc(kernel->count, sizeof *kernel->parts);
    if (!kernel->parts) return "no memory";
    kernel->spans = at += HEAD;
    for (size_t i = 0; i < kernel->checked; i++) {
        if (at == end || at[0] < 0 || at[0] > (end - at - 1) / 2) return "spans that are not there";
        const int64_t count = *at++;
        for (int64_t k = 0; k < 2 * count; k++)
            if (at[k] < (k ? at[k - 1] : 0)) return "spans that are in no order";
        at += 2 * count;
    }
    size_t outputs = 0;
    for (size_t k = 0; k < kernel->count; k++) {
        Part *part = &kernel->parts[k];
        if (at == end || at[0] < HEAD || at[0] > end - at - 1) return "a program of another length than it says";
        const size_t own = (size_t)*at++;
        const char *wrong = program_read(&part->program, at, own, (size_t)at[1], (size_t)at[3]);
        if (wrong) return wrong;
        if (part->program.sums || part->program.rows) return "a sum";
        at += own;
        const size_t links = (size_t)(part->program.inputs + part->program.outputs);
        if ((size_t)(end - at) < links) return "a program without its inputs";
        for (size_t i = 0; i < links; i++)
            if (at[i] < 0 || (size_t)at[i] >= kernel->inputs) return "an input that the node does not have";
        part->input = at, part->before = at + part->program.inputs, part->first = outputs;
        at += links, outputs += (size_t)part->program.outputs, kernel->values += (size_t)part->program.inputs;
    }
    if (at != end) return "another length than it says";
    return outputs + 1 == kernel->outputs ? NULL : "other outputs than the node has";
}

static Status create(const Op *op, Table table, const void *info, void **made) {
    (void)op;
    Kernel *kernel = calloc(1, sizeof *kernel);
    if (!kernel) return failed(table, FAIL, NAME, "no memory");
    Text text;
    Status status = program_of(table, info, NAME, LONGEST, &text);
    kernel->table = table, kernel->text = text.words, kernel->inputs = text.inputs, kernel->outputs = text.outputs;
    const char *wrong = status ? NULL : updates_read(kernel, text.length);
    if (wrong) status = failed(table, INVALID_GRAPH, NAME, wrong);
    for (size_t k = 0; !status && k < kernel->count; k++) {
        const Program *program = &kernel->parts[k].program;
        for (int i = 0; !status && i < program->outputs; i++)
            status = declared(table, info, kernel->parts[k].first + (size_t)i, program->type[program->value[i]], NAME);
    }
    if (!status) status = declared(table, info, kernel->outputs - 1, I64, NAME);
    if (status) destroy(kernel);
    else *made = kernel;
    return status;
}

/* The walks of all programs, whose shares are counted through. */
typedef struct {
    Walk *walks;
    size_t *ends; /* of each walk: how many shares there are up to its own last one */
    size_t count;
} Job;

static void work(void *of, size_t number) {
    Job *job = of;
    size_t low = 0, high = job->count - 1;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (job->ends[middle] > number) high = middle;
        else low = middle + 1;
    }
    walk_share(&job->walks[low], number - (low ? job->ends[low - 1] : 0));
}

static Status walk_all(Table table, void *context, Job *job) {
    size_t shares = 0;
    for (size_t k = 0; k < job->count; k++) job->ends[k] = shares += walk_shares(&job->walks[k]);
    if (shares > 1) return CALL(table, CONTEXT_PARALLEL_FOR, ParallelFor)(context, work, shares, 0, job);
    if (shares) work(job, 0);
    return NULL;
}

/* Whether an input holds a number that is not finite, in its spans: `count` of them, 0 for all of it. */
static Status unsound(const Kernel *kernel, const void *context, size_t index, const int64_t *span, int64_t count, int *found) {
    Tensor tensor;
    int element = 0;
    Status status = input_of(kernel->table, context, index, NAME, &element, &tensor);
    if (status) return status;
    int64_t total = 1;
    for (size_t k = 0; k < tensor.rank; k++) total *= tensor.size[k];
    if (count && span[2 * count - 1] > total) return failed(kernel->table, INVALID_ARGUMENT, NAME, "a span beyond the end");
    const int64_t whole[2] = {0, total};
    if (!count) span = whole, count = 1;
    for (int type = F32; type <= F64; type++)
        for (int64_t k = 0; elements[type] == element && k < count; k++)
            *found |= not_finite(type, (size_t)(span[2 * k + 1] - span[2 * k]), (const char *)tensor.data + (size_t)span[2 * k] * sizes[type]);
    return NULL;
}

/* What a call needs memory for. */
typedef struct {
    Tensor *inputs;   /* of all programs, one after another */
    void **results;   /* each output, */
    const void **before; /* the value before it, */
    size_t *bytes;    /* and its size */
    Walk *walks;
    size_t *ends;
    int64_t (*size)[MOST_AXES]; /* of each program's results */
    size_t *rank;
} Room;

static Status gather(const Kernel *kernel, void *context, Room *room) {
    Table table = kernel->table;
    Status status = NULL;
    Tensor *inputs = room->inputs;
    for (size_t k = 0; k < kernel->count; k++) {
        const Part *part = &kernel->parts[k];
        const Program *program = &part->program;
        size_t *rank = &room->rank[k];
        int64_t *size = room->size[k];
        for (int i = 0; i < program->inputs; i++)
            if ((status = input_typed(table, context, (size_t)part->input[i], NAME, program->type[i], &inputs[i]))) return status;
        const char *wrong = walk_shape(inputs, program->inputs, rank, size);
        if (wrong) return failed(table, INVALID_ARGUMENT, NAME, wrong);
        for (int i = 0; i < program->outputs; i++) {
            const size_t output = part->first + (size_t)i;
            const int type = program->type[program->value[i]];
            Tensor before;
            if ((status = input_typed(table, context, (size_t)part->before[i], NAME, type, &before))) return status;
            size_t total = 1;
            int same = before.rank == *rank;
            for (size_t axis = 0; same && axis < *rank; axis++) {
                same = before.size[axis] == size[axis];
                total *= (size_t)size[axis];
            }
            if (!same) return failed(table, INVALID_ARGUMENT, NAME, "a value of another shape than the one before");
            void *value = NULL;
            status = CALL(table, CONTEXT_GET_OUTPUT, ContextOutput)(context, output, size, *rank, &value);
            if (!status && !value) status = failed(table, INVALID_ARGUMENT, NAME, "an output is missing");
            if (!status) status = CALL(table, GET_TENSOR_MUTABLE_DATA, GetData)(value, &room->results[output]);
            if (status) return status;
            room->before[output] = before.data, room->bytes[output] = total * sizes[type];
        }
        inputs += program->inputs;
    }
    return NULL;
}

static void begin(const Kernel *kernel, const Room *room) {
    const Tensor *inputs = room->inputs;
    for (size_t k = 0; k < kernel->count; k++) {
        const Part *part = &kernel->parts[k];
        (void)walk_begin(&room->walks[k], &part->program, inputs, room->results + part->first, room->rank[k], room->size[k]);
        inputs += part->program.inputs;
    }
}

/* Whether a result would not be finite, as the verdict has it; 0 if all are. */
static Status look(const Kernel *kernel, void *context, const Room *room, int64_t *verdict) {
    Job job = {room->walks, room->ends, kernel->count};
    size_t most = 0;
    static uint8_t none[1];
    begin(kernel, room);
    for (size_t k = 0; k < kernel->count; k++) { /* the shares of a look are known when it is laid out */
        walk_look(&room->walks[k], none);
        most += walk_shares(&room->walks[k]) * (size_t)kernel->parts[k].program.outputs;
    }
    uint8_t *found = calloc(most + 1, 1), *at = found;
    if (!found) return failed(kernel->table, FAIL, NAME, "no memory");
    for (size_t k = 0; k < kernel->count; k++) {
        room->walks[k].found = at;
        at += walk_shares(&room->walks[k]) * (size_t)kernel->parts[k].program.outputs;
    }
    Status status = walk_all(kernel->table, context, &job);
    at = found;
    for (size_t k = 0; k < kernel->count && !status && !*verdict; k++) {
        const size_t outputs = (size_t)kernel->parts[k].program.outputs, shares = walk_shares(&room->walks[k]);
        for (size_t i = 0; i < outputs && !*verdict; i++) {
            int all = 0;
            for (size_t share = 0; share < shares; share++) all |= at[share * outputs + i];
            if (all) *verdict = (int64_t)(4 + 2 * (kernel->parts[k].first + i)) + (all > 1);
        }
        at += shares * outputs;
    }
    free(found);
    return status;
}

static Status decide(const Kernel *kernel, void *context, const Room *room, int64_t *verdict) {
    Tensor given;
    int found = 0;
    Status status = input_typed(kernel->table, context, 0, NAME, I64, &given);
    if (!status && given.rank) status = failed(kernel->table, INVALID_ARGUMENT, NAME, "a `look` that is no single number");
    for (size_t i = 0; i < kernel->guards && !status; i++) status = unsound(kernel, context, 1 + i, NULL, 0, &found);
    if (found) *verdict = 2;
    if (status || found || !*(const int64_t *)given.data) return status;
    const int64_t *span = kernel->spans;
    for (size_t i = 0; i < kernel->checked && !status; i++, span += 1 + 2 * span[0])
        status = unsound(kernel, context, 1 + kernel->guards + i, span + 1, span[0], &found);
    if (found) *verdict = 3;
    return status || found ? status : look(kernel, context, room, verdict);
}

static Status compute(void *of, void *context) {
    const Kernel *kernel = of;
    Table table = kernel->table;
    const size_t outputs = kernel->outputs - 1, count = kernel->count;
    void *value = NULL, *says = NULL;
    Status status = CALL(table, CONTEXT_GET_OUTPUT, ContextOutput)(context, outputs, NULL, 0, &value);
    if (!status && !value) status = failed(table, INVALID_ARGUMENT, NAME, "an output is missing");
    if (!status) status = CALL(table, GET_TENSOR_MUTABLE_DATA, GetData)(value, &says);
    if (status) return status;
    Room room = {
        malloc((kernel->values + 1) * sizeof(Tensor)), malloc(outputs * sizeof(void *)), malloc(outputs * sizeof(void *)),
        malloc(outputs * sizeof(size_t)), malloc(count * sizeof(Walk)), malloc(count * sizeof(size_t)),
        malloc(count * sizeof(int64_t[MOST_AXES])), malloc(count * sizeof(size_t)),
    };
    int64_t verdict = 0;
    if (!room.inputs || !room.results || !room.before || !room.bytes || !room.walks || !room.ends || !room.size || !room.rank)
        status = failed(table, FAIL, NAME, "no memory");
    if (!status) status = gather(kernel, context, &room);
    if (!status) status = decide(kernel, context, &room, &verdict);
    if (!status && verdict) {
        for (size_t i = 0; i < outputs; i++)
            if (room.results[i] != room.before[i] && room.bytes[i]) memcpy(room.results[i], room.before[i], room.bytes[i]);
    } else if (!status) {
        Job job = {room.walks, room.ends, count};
        begin(kernel, &room);
        status = walk_all(table, context, &job);
        verdict = 1;
    }
    if (!status) *(int64_t *)says = verdict;
    free(room.inputs), free(room.results), free(room.before), free(room.bytes);
    free(room.walks), free(room.ends), free(room.size), free(room.rank);
    return status;
}

static const char *name(const Op *op) { return (void)op, NAME; }

const Op updates = OPERATOR(name, create, compute, destroy, .in_place = NULL);
