/* Each matrix of a batch by itself. */

#include <stdlib.h>
#include <string.h>

#include "each.h"
#include "region_parts.h"

enum { HEAD = 6, AXIS = 3, UNITS = 64 }; /* UNITS: the most parts that threads take */

typedef struct {
    int tensor, axes, rank; /* rank: of the matrix: 2, 1 without rows, 0 */
    int row, column;        /* axes, -1: none */
    int apart;              /* whether its rows may lie apart: only products have to do with it */
    int64_t size[MOST_AXES], place[MOST_AXES];
    int part[MOST_AXES];
} View;

struct Each {
    int inputs, outputs, batch, operands, results;
    View operand[MOST_VIEWS], result[MOST_VIEWS];
    Region *region;
};

/* Where the matrices of a view are in one call. */
typedef struct {
    char *data;
    size_t step[MOST_BATCH];        /* bytes from one matrix to the next along each axis of the batch */
    int64_t rows, columns;
    size_t row, column;             /* elements from one row, or column, to the next */
} Place;

typedef struct {
    Each *each;
    Place operand[MOST_VIEWS], result[MOST_VIEWS];
    size_t rows[MOST_VIEWS];        /* of results: as region_run_apart has it */
    int64_t batch[MOST_BATCH];
    size_t matrices, units;
    const char *volatile wrong;
    volatile int at;
} Work;

/* --- reading */

static const char *view_read(View *view, const int64_t **at, const int64_t *end, int tensors, int batch, int result) {
    const int64_t *word = *at;
    if (end - word < 2 || word[0] < 0 || word[0] >= tensors || word[1] < 0 || word[1] > MOST_AXES || end - word < 2 + AXIS * word[1])
        return "a view of nothing, or of too many axes";
    *view = (View){.tensor = (int)word[0], .axes = (int)word[1], .row = -1, .column = -1};
    int seen[MOST_BATCH] = {0}, open = 0, places = 0;
    word += 2;
    for (int k = 0; k < view->axes; k++, word += AXIS) {
        if (word[0] < -1 || word[0] > INT32_MAX || word[1] < PLACE || word[1] >= batch || word[2] < 0 || word[2] > INT32_MAX)
            return "an axis of a view out of range";
        view->size[k] = word[0], view->part[k] = (int)word[1], view->place[k] = word[2];
        open += word[0] == -1;
        switch (view->part[k]) {
        case ROW: if (view->row >= 0) return "two rows"; view->row = k; break;
        case COLUMN: if (view->column >= 0) return "two columns"; view->column = k; break;
        case PLACE: if (word[0] > 0 && word[2] >= word[0]) return "a place that there is not"; places++; break;
        default: if (seen[view->part[k]]++) return "an axis of the batch twice";
        }
        if (result && view->part[k] < 0 && word[0] < 1) return "a result of no size";
    }
    if (open > 1 || (view->row >= 0 && view->column < 0)) return "a view without a size, or without columns";
    view->rank = (view->row >= 0) + (view->column >= 0);
    if (result) {
        if (view->rank < 2 || view->column != view->axes - 1 || places > 1) return "a result that is no matrix";
        for (int i = 0; i < batch; i++)
            if (!seen[i]) return "a result that has no matrix for each";
    }
    *at = word;
    return NULL;
}

/* Whether every place of an output is one view's: nothing of it is left unwritten, and nothing written twice. */
static const char *results_cover(const Each *each) {
    for (int output = 0; output < each->outputs; output++) {
        const View *first = NULL;
        int64_t views = 0, wanted = 1;
        for (int i = 0; i < each->results; i++) {
            const View *view = &each->result[i];
            if (view->tensor != output) continue;
            if (!first) first = view;
            if (view->axes != first->axes) return "views of other axes";
            for (int k = 0; k < view->axes; k++) {
                if (view->part[k] != first->part[k] || (view->part[k] < 0 && view->size[k] != first->size[k])) return "views of other axes";
                if (view->part[k] != PLACE) continue;
                wanted = view->size[k];
                for (int j = 0; j < i; j++)
                    if (each->result[j].tensor == output && each->result[j].place[k] == view->place[k]) return "a place twice";
            }
            if (region_output_type(each->region, i) != region_output_type(each->region, (int)(first - each->result)))
                return "results of other types in one output";
            views++;
        }
        if (views != wanted) return "an output that is not all written";
    }
    return NULL;
}

/* Which operands only products read, and whether what else makes a result writes its rows one after another. */
static const char *read_apart(Each *each) {
    const Region *region = each->region;
    for (int i = 0; i < each->operands; i++) each->operand[i].apart = each->operand[i].rank == 2;
    for (int s = 0; s < region->steps; s++) {
        const Step *step = &region->step[s];
        for (int k = 0; k < step->ins; k++)
            if (step->in[k] < each->operands && (step->op != PRODUCT || k > 1)) each->operand[step->in[k]].apart = 0;
        for (int k = 0; k < step->outs; k++) {
            const int output = region->output[step->out + k];
            if (output < 0) continue;
            View *view = &each->result[output];
            view->apart = step->op == PRODUCT;
            if (!view->apart && view->row != view->axes - 2) return "a result whose rows lie apart";
        }
    }
    return NULL;
}

const char *each_read(Each **made, const int64_t *text, size_t length, size_t inputs, size_t outputs) {
    *made = NULL;
    if (length < HEAD || text[0] != EACH_VERSION) return "a version that this library does not know";
    if (inputs > MOST_VIEWS || outputs > MOST_VIEWS || text[1] < 1 || (size_t)text[1] != inputs || text[2] < 1 ||
        (size_t)text[2] != outputs || text[3] < 1 || text[3] > MOST_BATCH || text[4] < 1 || text[4] > MOST_VIEWS ||
        text[5] < 1 || text[5] > MOST_VIEWS)
        return "too many or too few inputs, outputs, axes or views";
    Each *each = calloc(1, sizeof *each);
    if (!each) return "no memory";
    each->inputs = (int)inputs, each->outputs = (int)outputs, each->batch = (int)text[3];
    each->operands = (int)text[4], each->results = (int)text[5];
    const int64_t *at = text + HEAD, *end = text + length;
    const char *wrong = NULL;
    for (int i = 0; i < each->operands && !wrong; i++)
        wrong = view_read(&each->operand[i], &at, end, each->inputs, each->batch, 0);
    for (int i = 0; i < each->results && !wrong; i++)
        wrong = view_read(&each->result[i], &at, end, each->outputs, each->batch, 1);
    if (!wrong)
        wrong = region_read(&each->region, at, (size_t)(end - at), (size_t)each->operands, (size_t)each->results);
    for (int i = 0; i < each->inputs && !wrong; i++)
        if (each_type(each, i) < 0) wrong = "an input that nothing reads, or of two types";
    if (!wrong) wrong = results_cover(each);
    if (!wrong) wrong = read_apart(each);
    if (wrong) each_free(each);
    else *made = each;
    return wrong;
}

void each_free(Each *each) {
    if (!each) return;
    region_free(each->region);
    free(each);
}

int each_type(const Each *each, int input) {
    int type = -1;
    for (int i = 0; i < each->operands; i++) {
        if (each->operand[i].tensor != input) continue;
        if (type >= 0 && region_type(each->region, i) != type) return -1;
        type = region_type(each->region, i);
    }
    return type;
}

int each_output_type(const Each *each, int output) {
    for (int i = 0; i < each->results; i++)
        if (each->result[i].tensor == output) return region_output_type(each->region, i);
    return -1;
}

/* --- where matrices are */

/* Steps along the axes of sizes that are known, the last one first. */
static void steps_of(const View *view, const int64_t *size, size_t width, const int64_t *batch, Place *place) {
    size_t step = 1;
    *place = (Place){.rows = 1, .columns = 1, .column = 1};
    for (int k = view->axes; k-- > 0; step *= (size_t)size[k]) switch (view->part[k]) {
        case ROW: place->rows = size[k], place->row = step; break;
        case COLUMN: place->columns = size[k], place->column = step; break;
        case PLACE: place->data += (size_t)view->place[k] * step * width; break;
        default: place->step[view->part[k]] = size[k] == 1 && batch[view->part[k]] != 1 ? 0 : step * width;
        }
    if (!place->row) place->row = (size_t)place->columns;
}

/* Whether sizes are such that no step along an axis overflows, of a tensor without elements, too. */
static int bounded(int axes, const int64_t *size) {
    int64_t all = 1;
    for (int k = 0; k < axes; k++) {
        if (size[k] < 0 || (size[k] && all > ((int64_t)1 << 40) / size[k])) return 0;
        if (size[k]) all *= size[k];
    }
    return 1;
}

/* The sizes of a tensor's axes as a view has them. */
static const char *sizes_as(const View *view, const Tensor *x, int64_t *size) {
    int64_t all = count(x->rank, x->size), known = 1;
    int open = -1;
    for (int k = 0; k < view->axes; k++) {
        size[k] = view->size[k];
        if (!size[k]) {
            if (k >= (int)x->rank) return NO_FIT;
            size[k] = x->size[k];
        }
        if (size[k] < 0) open = k;
        else if (size[k] && known > ((int64_t)1 << 40) / size[k]) return NO_FIT;
        else known *= size[k];
    }
    if (open >= 0) {
        size[open] = known ? all / known : 0;
        known *= size[open];
    }
    return known == all && bounded(view->axes, size) ? NULL : NO_FIT;
}

/* Whether a view's places are in the tensor. */
static int is_there(const View *view, const int64_t *size) {
    for (int k = 0; k < view->axes; k++)
        if (view->part[k] == PLACE && view->place[k] >= size[k]) return 0;
    return 1;
}

static const char *find(Work *work, const Tensor *inputs, Give give, void *context) {
    const Each *each = work->each;
    int64_t size[MOST_VIEWS][MOST_AXES];
    for (int i = 0; i < each->batch; i++) work->batch[i] = -1;
    for (int i = 0; i < each->operands; i++) { /* of the batch an axis is of one size, or 1 */
        const View *view = &each->operand[i];
        const char *wrong = sizes_as(view, &inputs[view->tensor], size[i]);
        if (wrong) return wrong;
        for (int k = 0; k < view->axes; k++) {
            if (view->part[k] < 0) continue;
            int64_t *all = &work->batch[view->part[k]];
            if (*all < 0 || *all == 1) *all = size[i][k];
            else if (size[i][k] != 1 && size[i][k] != *all) return NO_FIT;
        }
    }
    work->matrices = 1;
    for (int i = 0; i < each->batch; i++) {
        if (work->batch[i] < 0) return NO_FIT;
        work->matrices *= (size_t)work->batch[i];
    }
    for (int i = 0; i < each->operands; i++) {
        const View *view = &each->operand[i];
        Place *place = &work->operand[i];
        steps_of(view, size[i], sizes[region_type(each->region, i)], work->batch, place);
        const int read = work->matrices && place->rows && place->columns; /* a tensor without elements may have no such place */
        if (read && !is_there(view, size[i])) return NO_FIT;
        place->data = (char *)inputs[view->tensor].data + (read ? (size_t)place->data : 0);
    }
    void *given[MOST_VIEWS] = {NULL};
    for (int i = 0; i < each->results; i++) {
        const View *view = &each->result[i];
        for (int k = 0; k < view->axes; k++) size[0][k] = view->part[k] < 0 ? view->size[k] : work->batch[view->part[k]];
        void **data = &given[view->tensor];
        if (!bounded(view->axes, size[0])) return NO_FIT;
        if (!*data && !(*data = give(context, (size_t)view->tensor, (size_t)view->axes, size[0]))) return NO_MEMORY;
        Place *place = &work->result[i];
        steps_of(view, size[0], sizes[region_output_type(each->region, i)], work->batch, place);
        place->data = (char *)*data + (size_t)place->data;
        work->rows[i] = view->apart ? place->row : 0;
    }
    return NULL;
}

/* --- running */

typedef struct {
    const Work *work;
    size_t index[MOST_BATCH];
} Item;

static char *matrix(const Item *item, const Place *place) {
    char *at = place->data;
    for (int i = 0; i < item->work->each->batch; i++) at += item->index[i] * place->step[i];
    return at;
}

static void *give_matrix(void *of, size_t output, size_t rank, const int64_t *size) {
    const Item *item = of;
    const Place *place = &item->work->result[output];
    return rank == 2 && size[0] == place->rows && size[1] == place->columns ? matrix(item, place) : NULL;
}

static const char *run_one(const Work *work, Item *item, size_t number, int *at) {
    const Each *each = work->each;
    Tensor inputs[MOST_VIEWS];
    char *copy[MOST_VIEWS] = {NULL};
    const char *wrong = NULL;
    for (int i = each->batch; i-- > 0; number /= (size_t)work->batch[i]) item->index[i] = number % (size_t)work->batch[i];
    for (int i = 0; i < each->operands && !wrong; i++) {
        const View *view = &each->operand[i];
        const Place *place = &work->operand[i];
        Tensor *x = &inputs[i];
        *x = (Tensor){.data = matrix(item, place), .rank = (size_t)view->rank};
        if (view->rank == 2) x->size[0] = place->rows;
        if (view->rank) x->size[view->rank - 1] = place->columns;
        if (place->column == 1 && (place->rows == 1 || place->row == (size_t)place->columns)) continue;
        if (view->apart && place->column == 1) {
            x->row = place->row;
            continue;
        }
        const size_t width = sizes[region_type(each->region, i)];
        copy[i] = malloc((size_t)(place->rows * place->columns) * width + 1);
        if (!copy[i]) wrong = NO_MEMORY;
        else {
            const int64_t size[] = {place->rows, place->columns}, step[] = {(int64_t)place->row, (int64_t)place->column};
            gather_strided(width, 2, size, step, x->data, copy[i]);
            x->data = copy[i];
        }
    }
    if (!wrong) wrong = region_run_apart(each->region, inputs, NULL, work->rows, give_matrix, item, at);
    for (int i = 0; i < each->operands; i++) free(copy[i]);
    return wrong;
}

static void run_unit(void *of, size_t unit) {
    Work *work = of;
    Item item = {.work = work};
    const size_t end = work->matrices * (unit + 1) / work->units;
    for (size_t number = work->matrices * unit / work->units; number < end && !work->wrong; number++) {
        int at = -1;
        const char *wrong = run_one(work, &item, number, &at);
        if (wrong) work->wrong = wrong, work->at = at;
    }
}

const char *each_run(Each *each, const Tensor *inputs, Give give, Spread spread, void *context, int *at) {
    *at = -1;
    Work *work = calloc(1, sizeof *work);
    if (!work) return NO_MEMORY;
    work->each = each, work->at = -1;
    const char *wrong = find(work, inputs, give, context);
    work->units = work->matrices < UNITS ? work->matrices : UNITS;
    if (!wrong && work->units > 1 && spread(context, run_unit, work->units, work)) wrong = "the matrices were not all computed";
    else if (!wrong && work->units == 1) run_unit(work, 0);
    if (!wrong) wrong = work->wrong, *at = work->at;
    free(work);
    return wrong;
}
