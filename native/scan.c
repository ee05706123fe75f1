/* Turns of a recurrence. */

#include <stdlib.h>
#include <string.h>

#include "region_parts.h"
#include "scan.h"

enum { HEAD = 4, PART = 32 }; /* PART: rows that go through all turns together */

struct Scan {
    int states, sequences, results, inputs, by_rows;
    uint8_t in_back[MOST_SEQUENCES], out_back[MOST_SEQUENCES];
    int8_t before[MOST_SEQUENCES], after[MOST_SEQUENCES]; /* which result is each state before, after a turn; -1: none */
    Region *region;
    Packs *packs; /* of the last run, for the next one */
};

/* One run. */
typedef struct {
    Scan *scan;
    const Tensor *inputs;
    const Packs *packs;
    int64_t turns, rows, part;
    Give give;
    void *context;
    Tensor *output;     /* states, then results; `data` NULL until the first turn of the first part */
    size_t *width;      /* bytes of one turn of an output */
    char *state[2];     /* states of odd and of even turns, but for the last */
    size_t *place;      /* where each state is in them */
    const char *volatile wrong;
    volatile int at;
} Turns;

/* One turn of a part of the rows. */
typedef struct {
    Turns *all;
    int64_t turn, from, rows;
} Turn;

/* Which results are states as they are: a state then lies where the result of a turn does, and nothing is copied. */
static void find_copies(Scan *s) {
    for (int k = 0; k < s->states; k++) {
        s->before[k] = s->after[k] = -1;
        for (int r = s->results; r-- > 0;) {
            const int of = region_copied(s->region, s->states + r);
            if (of < 0) continue;
            if (of == k) s->before[k] = (int8_t)r;
            else if (of == region_output(s->region, k)) s->after[k] = (int8_t)r;
        }
    }
}

const char *scan_read(Scan **made, const int64_t *text, size_t length, size_t inputs, size_t outputs) {
    *made = NULL;
    if (length < HEAD || text[0] != SCAN_VERSION) return "a version that this library does not know";
    if (text[1] < 1 || text[1] > MOST_SEQUENCES || text[2] < 1 || text[2] > MOST_SEQUENCES || text[3] < 0 || text[3] > 1 ||
        (size_t)(text[1] + text[2]) > inputs || (size_t)text[1] > outputs || outputs - (size_t)text[1] > MOST_SEQUENCES)
        return "too many or too few states or sequences";
    Scan *s = calloc(1, sizeof *s);
    if (!s) return "no memory";
    s->states = (int)text[1], s->sequences = (int)text[2], s->by_rows = (int)text[3];
    s->results = (int)outputs - s->states, s->inputs = (int)inputs;
    const size_t flags = (size_t)(s->sequences + s->results);
    const char *wrong = length < HEAD + flags ? "another length than it says" : NULL;
    for (size_t i = 0; i < flags && !wrong; i++) {
        const int64_t back = text[HEAD + i];
        if (back < 0 || back > 1) wrong = "flags that there are not";
        else if (i < (size_t)s->sequences) s->in_back[i] = (uint8_t)back;
        else s->out_back[i - (size_t)s->sequences] = (uint8_t)back;
    }
    if (!wrong) wrong = region_read(&s->region, text + HEAD + flags, length - HEAD - flags, inputs, outputs);
    for (int i = 0; i < s->states && !wrong; i++)
        if (region_type(s->region, i) != region_output_type(s->region, i)) wrong = "a state of another type";
    if (wrong) {
        scan_free(s);
        return wrong;
    }
    find_copies(s);
    *made = s;
    return NULL;
}

void scan_free(Scan *s) {
    if (!s) return;
    region_free(s->region);
    packs_free(s->packs);
    free(s);
}

int scan_inputs(const Scan *s) { return s->inputs; }
const Region *scan_region(const Scan *s) { return s->region; }
int scan_type(const Scan *s, int input) { return region_type(s->region, input); }

/* Where a part of the rows of a result of a turn is. */
static char *place_of(const Turns *all, int result, int64_t turn, int64_t from) {
    const Scan *s = all->scan;
    const size_t width = all->width[s->states + result];
    const int64_t at = s->out_back[result] ? all->turns - 1 - turn : turn;
    return (char *)all->output[s->states + result].data + (size_t)at * width + (all->rows ? width / (size_t)all->rows * (size_t)from : 0);
}

/* Where a part of the rows of a state is after a turn that is not the last one. */
static char *state_after(const Turns *all, int state, int64_t turn, int64_t from) {
    const Scan *s = all->scan;
    if (s->before[state] >= 0) return place_of(all, s->before[state], turn + 1, from);
    if (s->after[state] >= 0) return place_of(all, s->after[state], turn, from);
    return all->state[turn & 1] + all->place[state] + (all->rows ? all->width[state] / (size_t)all->rows * (size_t)from : 0);
}

/* The memory of an output of one turn: that of the whole result, or of the next state. */
static void *give_turn(void *of, size_t output, size_t rank, const int64_t *size) {
    const Turn *turn = of;
    const Turns *all = turn->all;
    const Scan *s = all->scan;
    const int result = (int)output >= s->states;
    const Tensor *whole = &all->output[output];
    /* The sizes must be those of the first turn: other memory there is not. */
    if (rank + (size_t)result != whole->rank) return NULL;
    for (size_t k = 0; k < rank; k++)
        if (size[k] != (k == 0 && s->by_rows ? turn->rows : whole->size[k + (size_t)result])) return NULL;
    if (result) return place_of(all, (int)output - s->states, turn->turn, turn->from);
    if (turn->turn < all->turns - 1) return state_after(all, (int)output, turn->turn, turn->from);
    return (char *)whole->data + (all->rows ? all->width[output] / (size_t)all->rows * (size_t)turn->from : 0);
}

/* All turns of a part of the rows. */
static void run_part(void *of, size_t number) {
    Turns *all = of;
    Scan *s = all->scan;
    Turn turn = {all, 0, (int64_t)number * all->part, all->part};
    if (turn.from + turn.rows > all->rows) turn.rows = all->rows - turn.from;
    Tensor *inputs = malloc((size_t)s->inputs * sizeof *inputs);
    if (!inputs) {
        all->wrong = "no memory";
        return;
    }
    memcpy(inputs, all->inputs, (size_t)s->inputs * sizeof *inputs);
    for (; turn.turn < all->turns && !all->wrong; turn.turn++) {
        for (int i = 0; i < s->states + s->sequences; i++) {
            const int q = i - s->states;
            const Tensor *whole = &all->inputs[i];
            Tensor *x = &inputs[i];
            size_t width = sizes[region_type(s->region, i)];
            if (q >= 0) {
                x->rank = whole->rank - 1;
                memcpy(x->size, whole->size + 1, x->rank * sizeof *x->size);
            }
            for (size_t k = 0; k < x->rank; k++) width *= (size_t)(q >= 0 ? whole->size[k + 1] : whole->size[k]);
            if (s->by_rows) x->size[0] = turn.rows;
            x->data = whole->data;
            if (q >= 0) x->data = (char *)x->data + (size_t)(s->in_back[q] ? all->turns - 1 - turn.turn : turn.turn) * width;
            if (q < 0 && turn.turn) x->data = state_after(all, i, turn.turn - 1, turn.from);
            else if (s->by_rows && all->rows) x->data = (char *)x->data + width / (size_t)all->rows * (size_t)turn.from;
        }
        int at;
        const char *wrong = region_run(s->region, inputs, all->packs, give_turn, &turn, &at);
        if (wrong) all->wrong = wrong, all->at = at;
    }
    free(inputs);
}

/* What the first turn would give: only the sizes are wanted. */
typedef struct {
    Turns *all;
    const char *wrong;
} Sizing;

static void *give_size(void *of, size_t output, size_t rank, const int64_t *size) {
    Sizing *sizing = of;
    Turns *all = sizing->all;
    const Scan *s = all->scan;
    const int result = (int)output >= s->states;
    Tensor *whole = &all->output[output];
    if (rank + (size_t)result > MOST_AXES) return NULL;
    whole->rank = rank + (size_t)result;
    size_t width = sizes[region_output_type(s->region, (int)output)];
    if (result) whole->size[0] = all->turns;
    for (size_t k = 0; k < rank; k++) {
        whole->size[k + (size_t)result] = k == 0 && s->by_rows ? all->rows : size[k];
        width *= (size_t)whole->size[k + (size_t)result];
    }
    if (s->by_rows && (!rank || size[0] != (all->rows > 0))) sizing->wrong = "a result that has no row for each row";
    all->width[output] = width;
    /* Memory that is right for the one row, or for all. */
    size_t bytes = sizes[region_output_type(s->region, (int)output)];
    for (size_t k = 0; k < rank; k++) bytes *= (size_t)size[k];
    return all->output[output].data = calloc(bytes ? bytes : 1, 1);
}

/* Runs one row of the first turn, or all of it, to see the sizes of what it gives. */
static const char *sizes_of_outputs(Turns *all, int *at) {
    Scan *s = all->scan;
    Tensor *inputs = malloc((size_t)s->inputs * sizeof *inputs);
    if (!inputs) return "no memory";
    memcpy(inputs, all->inputs, (size_t)s->inputs * sizeof *inputs);
    for (int i = 0; i < s->states + s->sequences; i++) {
        Tensor *x = &inputs[i];
        if (i >= s->states) {
            x->rank--;
            memmove(x->size, x->size + 1, x->rank * sizeof *x->size);
        }
        if (s->by_rows) x->size[0] = all->rows > 0;
    }
    Sizing sizing = {all, NULL};
    const char *wrong = region_run(s->region, inputs, NULL, give_size, &sizing, at);
    for (int i = 0; i < s->states + s->results; i++) {
        free(all->output[i].data);
        all->output[i].data = NULL;
    }
    free(inputs);
    return wrong ? wrong : sizing.wrong;
}

static const char *run_all(Turns *all, Spread spread, int *at) {
    Scan *s = all->scan;
    const int outputs = s->states + s->results;
    const char *wrong = sizes_of_outputs(all, at);
    size_t room = 0;
    for (int i = 0; i < outputs && !wrong; i++) {
        Tensor *out = &all->output[i];
        if (i < s->states) {
            const Tensor *first = &all->inputs[i];
            if (out->rank != first->rank || memcmp(out->size, first->size, out->rank * sizeof *out->size))
                wrong = "a state of another shape";
            all->place[i] = room;
            room += (all->width[i] + 63) / 64 * 64;
        }
        if (!wrong && !(out->data = all->give(all->context, (size_t)i, out->rank, out->size))) wrong = "no memory";
    }
    if (wrong) return wrong;
    char *memory = malloc(2 * room + 128);
    if (!memory) return "no memory";
    all->state[0] = memory + (64 - (uintptr_t)memory % 64), all->state[1] = all->state[0] + room;
    const size_t parts = (size_t)((all->rows + all->part - 1) / all->part);
    if (parts > 1) {
        if (spread(all->context, run_part, parts, all)) all->wrong = "the parts were not run";
    } else if (parts) {
        run_part(all, 0);
    }
    free(memory);
    *at = all->at;
    return all->wrong;
}

const char *scan_run(Scan *s, const Tensor *inputs, Give give, Spread spread, void *context, int *at) {
    *at = -1;
    const int outputs = s->states + s->results;
    Turns all = {.scan = s, .inputs = inputs, .give = give, .context = context, .at = -1};
    for (int i = 0; i < s->sequences; i++) {
        const Tensor *x = &inputs[s->states + i];
        if (!x->rank || (i && x->size[0] != all.turns)) return "sequences of other lengths";
        all.turns = x->size[0];
    }
    if (all.turns < 1) return "a sequence of no turns";
    all.rows = all.part = 1;
    if (s->by_rows) {
        if (!inputs[0].rank) return "a state without rows";
        all.rows = inputs[0].size[0], all.part = PART;
        for (int i = 0; i < s->states + s->sequences; i++) {
            const Tensor *x = &inputs[i];
            const size_t axis = i < s->states ? 0 : 1;
            if (x->rank <= axis || x->size[axis] != all.rows) return "operands of other numbers of rows";
        }
    }
    Packs *packs = EXCHANGE(&s->packs, NULL);
    if (!packs) packs = calloc(1, sizeof *packs);
    all.output = calloc((size_t)outputs, sizeof *all.output);
    all.width = calloc((size_t)outputs, sizeof *all.width), all.place = calloc((size_t)outputs, sizeof *all.place);
    const char *wrong = "no memory";
    if (packs && all.output && all.width && all.place) {
        wrong = region_pack(s->region, inputs, s->states + s->sequences, packs);
        all.packs = packs;
        if (!wrong) wrong = run_all(&all, spread, at);
    }
    free(all.output), free(all.width), free(all.place);
    packs_free(EXCHANGE(&s->packs, packs));
    return wrong;
}
