/* The operator Product of the domain dlc.native: alpha a b + beta c of two large matrices of float32 (large.h), each of
 * them turned first or not. Inputs: a, b and perhaps c [rows, columns], which is broadcast as ONNX's Gemm does it. Output:
 * [rows, columns]. Attribute `program`: VERSION, whether a is turned, whether b is, the bits of alpha, of beta, and how many
 * threads are to have work. It is divided by rows and columns, so the bits do not depend on threads. */

#include <stdlib.h>
#include <string.h>

#include "chain.h"
#include "kernel.h"
#include "operator.h"
#include "region_parts.h"

#if defined(_WIN32)
#include <malloc.h>
#define ALIGNED(BYTES) _aligned_malloc(BYTES, LINE)
#define ALIGNED_FREE _aligned_free
#else
#define ALIGNED(BYTES) aligned_alloc(LINE, BYTES)
#define ALIGNED_FREE free
#endif

enum { PARTS = 6, MOST_THREADS = 4096, NARROWEST = 2 /* panels of a block */, EVEN = 4 };
static const char *const NAME = "Product";

typedef struct {
    Table table;
    int turned[2];
    float alpha, beta;
    size_t threads, inputs; /* of which there are two or three */
} Kernel;

static void *idle[ROOMS]; /* rooms of earlier calls, for the next ones */
static long kernels;

static void destroy(void *of) {
    free(of);
    if (ADDED(&kernels, -1) == 0)
        for (int i = 0; i < ROOMS; i++) ALIGNED_FREE(EXCHANGE(&idle[i], NULL));
}

/* What is wrong with a node; NULL: nothing. */
static const char *unfit(const Text *text) {
    const int64_t *words = text->words;
    if (text->length != PARTS) return "a program of another length";
    if (words[0] != VERSION) return "a version that this library does not know";
    for (int i = 1; i < PARTS; i++)
        if (words[i] < 0 || words[i] > (i < 3 ? 1 : i < 5 ? (int64_t)UINT32_MAX : MOST_THREADS) || (i == 5 && !words[i]))
            return "a number of its program is out of range";
    if (text->inputs != 2 && text->inputs != 3) return "other inputs than two or three";
    return NULL;
}

static Status create(const Op *op, Table table, const void *info, void **made) {
    (void)op;
    Text text;
    Status status = program_of(table, info, NAME, PARTS, &text);
    const char *wrong = status ? NULL : unfit(&text);
    if (wrong) status = failed(table, INVALID_GRAPH, NAME, wrong);
    if (!status) status = declared(table, info, 0, F32, NAME);
    Kernel *kernel = status ? NULL : malloc(sizeof *kernel);
    if (!status && !kernel) status = failed(table, FAIL, NAME, "no memory");
    if (status) {
        free(text.words);
        return status;
    }
    const int64_t *words = text.words;
    *kernel = (Kernel){.table = table, .turned = {(int)words[1], (int)words[2]}, .inputs = text.inputs};
    kernel->threads = (size_t)words[5];
    const uint32_t alpha = (uint32_t)words[3], beta = (uint32_t)words[4];
    free(text.words);
    memcpy(&kernel->alpha, &alpha, sizeof alpha);
    memcpy(&kernel->beta, &beta, sizeof beta);
    ADDED(&kernels, 1);
    *made = kernel;
    return NULL;
}

/* A result in blocks of rows and columns. */
typedef struct {
    Product product;
    size_t down, across, rows, columns; /* blocks, and how much a block has of each */
    volatile int failed;
} Job;

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* As few blocks as give all threads as much, since each lays its factors out for itself. */
static void divide(Job *job, size_t threads) {
    const Product *p = &job->product;
    const Lanes *lanes = lanes_here();
    const size_t most = lanes->large_rows, side = lanes->large_side, panel = lanes->large_panel;
    job->down = (p->m + most - 1) / most;
    job->rows = ((p->m + job->down - 1) / job->down + side - 1) / side * side;
    job->down = (p->m + job->rows - 1) / job->rows;
    job->across = 1;
    while (job->down * job->across < EVEN * threads && job->down * job->across % threads &&
           p->n / (job->across + 1) >= NARROWEST * panel)
        job->across++;
    job->columns = ((p->n + job->across - 1) / job->across + panel - 1) / panel * panel;
    job->across = (p->n + job->columns - 1) / job->columns;
}

static void work(void *of, size_t number) {
    Job *job = of;
    const Product *p = &job->product;
    const size_t row = number / job->across * job->rows, column = number % job->across * job->columns;
    void *room = NULL;
    for (int i = 0; i < ROOMS && !room; i++) room = EXCHANGE(&idle[i], NULL);
    if (!room) room = ALIGNED(lanes_here()->large_room * sizeof(float));
    if (!room) job->failed = 1;
    else lanes_here()->large(p, row, least(job->rows, p->m - row), column, least(job->columns, p->n - column), room);
    for (int i = 0; room && i < ROOMS; i++) room = EXCHANGE(&idle[i], room); /* what was there goes on to the next */
    ALIGNED_FREE(room);
}

static Status compute(void *of, void *context) {
    const Kernel *kernel = of;
    Table table = kernel->table;
    Job job = {.failed = 0};
    Product *p = &job.product;
    Tensor x[3];
    Status status = NULL;
    for (size_t i = 0; i < kernel->inputs && !status; i++) {
        status = input_typed(table, context, i, NAME, F32, &x[i]);
        if (!status && (x[i].rank > 2 || (i < 2 && x[i].rank != 2)))
            status = failed(table, INVALID_ARGUMENT, NAME, "an input that is no matrix");
    }
    if (status) return status;
    const int ta = kernel->turned[0], tb = kernel->turned[1];
    const size_t a_wide = (size_t)x[0].size[1], b_wide = (size_t)x[1].size[1];
    *p = (Product){.m = (size_t)x[0].size[ta], .n = (size_t)x[1].size[!tb], .k = (size_t)x[0].size[!ta]};
    if ((size_t)x[1].size[tb] != p->k) return failed(table, INVALID_ARGUMENT, NAME, "factors that do not fit");
    p->a = x[0].data, p->a_row = ta ? 1 : a_wide, p->a_column = ta ? a_wide : 1;
    p->b = x[1].data, p->b_row = tb ? 1 : b_wide, p->b_column = tb ? b_wide : 1;
    p->alpha = kernel->alpha, p->beta = kernel->beta, p->to_row = p->n;
    if (kernel->inputs == 3) {
        const size_t rows = x[2].rank == 2 ? (size_t)x[2].size[0] : 1;
        const size_t columns = x[2].rank ? (size_t)x[2].size[x[2].rank - 1] : 1;
        if ((rows != 1 && rows != p->m) || (columns != 1 && columns != p->n))
            return failed(table, INVALID_ARGUMENT, NAME, "what is added does not fit");
        p->c = x[2].data, p->c_row = rows == 1 ? 0 : columns, p->c_column = columns == 1 ? 0 : 1;
    }
    const int64_t size[2] = {(int64_t)p->m, (int64_t)p->n};
    void *value = NULL, *data = NULL;
    status = CALL(table, CONTEXT_GET_OUTPUT, ContextOutput)(context, 0, size, 2, &value);
    if (!status && !value) status = failed(table, INVALID_ARGUMENT, NAME, "an output is missing");
    if (!status) status = CALL(table, GET_TENSOR_MUTABLE_DATA, GetData)(value, &data);
    if (status || !p->m || !p->n) return status;
    p->to = data;
    divide(&job, kernel->threads);
    const size_t count = job.down * job.across;
    if (count > 1) status = CALL(table, CONTEXT_PARALLEL_FOR, ParallelFor)(context, work, count, 0, &job);
    else work(&job, 0);
    return !status && job.failed ? failed(table, FAIL, NAME, "no memory") : status;
}

static const char *name(const Op *op) { return (void)op, NAME; }

const Op large_product = OPERATOR(name, create, compute, destroy, .in_place = NULL);
