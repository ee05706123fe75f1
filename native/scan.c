/* Turns of a recurrence. */

#include <stdlib.h>
#include <string.h>

#include "region_parts.h"
#include "scan.h"

/* PART: rows that go through all turns together; TOGETHER: rows of several turns that totals take at once; GROUPS: the
 * most groups of parts, each of which has totals of its own. */
enum { HEAD = 6, TOTAL = 3, PART = 32, TOGETHER = 128, GROUPS = 16, MOST_OPERANDS = 2 * MOST_SEQUENCES };

struct Scan {
    int states, sequences, results, inputs, by_rows, kept, totals;
    struct {
        int a, b;
        float alpha;
    } total[MOST_TOTALS];
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
    size_t groups;
    struct { /* of a group: its totals, then the rows of some turns */
        float *memory;
        size_t size, sum[MOST_TOTALS], rows[MOST_OPERANDS], columns[MOST_OPERANDS], line; /* line: one row, of the widest */
        uint8_t used[MOST_OPERANDS];
    } in;
    const char *volatile wrong;
    volatile int at;
} Turns;

/* One turn of a part of the rows. */
typedef struct {
    Turns *all;
    int64_t turn, from, rows;
    float *memory; /* of the group */
    size_t kept;   /* turns whose rows are there */
} Turn;

static const char *totals_read(Scan *s, const int64_t *text);

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
        text[4] < 0 || text[4] > MOST_SEQUENCES || text[5] < 0 || text[5] > MOST_TOTALS ||
        (size_t)(text[1] + text[2]) > inputs || (size_t)(text[1] + text[5]) > outputs ||
        outputs - (size_t)(text[1] + text[5]) > MOST_SEQUENCES)
        return "too many or too few states, sequences or totals";
    if (text[5] ? !text[3] : text[4]) return "totals of rows that read each other, or none of what is kept";
    Scan *s = calloc(1, sizeof *s);
    if (!s) return "no memory";
    s->states = (int)text[1], s->sequences = (int)text[2], s->by_rows = (int)text[3];
    s->kept = (int)text[4], s->totals = (int)text[5];
    s->results = (int)outputs - s->states - s->totals, s->inputs = (int)inputs;
    const size_t flags = (size_t)(s->sequences + s->results), head = HEAD + flags + TOTAL * (size_t)s->totals;
    const char *wrong = length < head ? "another length than it says" : NULL;
    for (size_t i = 0; i < flags && !wrong; i++) {
        const int64_t back = text[HEAD + i];
        if (back < 0 || back > 1) wrong = "flags that there are not";
        else if (i < (size_t)s->sequences) s->in_back[i] = (uint8_t)back;
        else s->out_back[i - (size_t)s->sequences] = (uint8_t)back;
    }
    if (!wrong)
        wrong = region_read(&s->region, text + head, length - head, inputs, (size_t)(s->states + s->results + s->kept));
    if (!wrong) wrong = totals_read(s, text + HEAD + flags);
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

int scan_output_type(const Scan *s, int output) {
    return output < s->states + s->results ? region_output_type(s->region, output) : F32;
}
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

/* --- totals */

static const char *totals_read(Scan *s, const int64_t *text) {
    for (int t = 0; t < s->totals; t++, text += TOTAL) {
        const int64_t most = s->sequences + s->kept;
        if (text[0] < -1 || text[0] >= most || text[1] < 0 || text[1] >= most || text[2] < INT32_MIN || text[2] > INT32_MAX)
            return "a total of what there is not";
        s->total[t].a = (int)text[0], s->total[t].b = (int)text[1];
        const int32_t bits = (int32_t)text[2];
        memcpy(&s->total[t].alpha, &bits, sizeof bits);
        for (int k = 0; k < 2; k++) {
            const int of = (int)text[k];
            if (of < 0) continue;
            const int type = of < s->sequences ? region_type(s->region, s->states + of)
                                               : region_output_type(s->region, s->states + s->results + of - s->sequences);
            if (type != F32) return "a total of another type";
        }
    }
    return NULL;
}

static size_t total_size(const Turns *all, int t) {
    const int a = all->scan->total[t].a;
    return (a < 0 ? 1 : all->in.columns[a]) * all->in.columns[all->scan->total[t].b];
}

/* Where the rows of this turn are put, of an operand of totals. */
static float *rows_of(const Turn *turn, int operand) {
    return turn->memory + turn->all->in.rows[operand] + turn->kept * (size_t)turn->rows * turn->all->in.columns[operand];
}

/* The sizes of all, and memory for the groups. */
static const char *totals_begin(Turns *all, Packs *packs) {
    const Scan *s = all->scan;
    const int64_t most = (int64_t)1 << 28;
    int64_t size = 0;
    for (int i = 0; i < s->sequences + s->kept; i++) all->in.used[i] = i >= s->sequences;
    for (int t = 0; t < s->totals; t++) {
        all->in.used[s->total[t].b] = 1;
        if (s->total[t].a >= 0) all->in.used[s->total[t].a] = 1;
    }
    for (int i = 0; i < s->sequences + s->kept; i++) {
        const Tensor *x = i < s->sequences ? &all->inputs[s->states + i] : &all->output[s->states + s->results + i - s->sequences];
        if (!all->in.used[i]) continue;
        if (x->rank != 3 || x->size[2] > most / TOGETHER) return "a total of what is no matrix";
        all->in.columns[i] = (size_t)x->size[2], all->in.rows[i] = (size_t)size;
        if (all->in.columns[i] > all->in.line) all->in.line = all->in.columns[i];
        size += (TOGETHER * x->size[2] + 15) / 16 * 16;
    }
    for (int t = 0; t < s->totals; t++) {
        const int a = s->total[t].a, b = s->total[t].b;
        if (a >= 0 && all->in.columns[b] && all->in.columns[a] > (size_t)most / all->in.columns[b]) return "totals that are too large";
        all->in.sum[t] = (size_t)size;
        size += ((int64_t)total_size(all, t) + 15) / 16 * 16;
    }
    all->in.size = (size_t)size + (all->in.line + 15) / 16 * 16;
    const size_t room = all->in.size * (all->groups ? all->groups : 1) + 16;
    if (room > packs->totals_room) {
        free(packs->totals);
        packs->totals_room = 0;
        if (!(packs->totals = malloc(room * sizeof(float)))) return "no memory";
        packs->totals_room = room;
    }
    all->in.memory = packs->totals + (64 - (uintptr_t)packs->totals % 64) / sizeof(float) % 16;
    return NULL;
}

/* Adds the rows of some turns to the totals of the group. */
static void totals_add(Turn *turn) {
    Turns *all = turn->all;
    const Scan *s = all->scan;
    const Lanes *lanes = lanes_here();
    const size_t rows = turn->kept * (size_t)turn->rows;
    float *line = turn->memory + all->in.size - (all->in.line + 15) / 16 * 16;
    for (int t = 0; t < s->totals; t++) {
        const int a = s->total[t].a, b = s->total[t].b;
        const size_t n = all->in.columns[b];
        const float *of = turn->memory + all->in.rows[b];
        float *to = turn->memory + all->in.sum[t];
        if (a < 0) {
            memset(line, 0, n * sizeof *line);
            for (size_t i = 0; i < rows; i++) lanes->op[ADD][F32](n, line, line, of + i * n, line);
            lanes->op[ADD][F32](n, to, to, line, to);
            continue;
        }
        const size_t m = all->in.columns[a];
        const Product product = {.m = m, .n = n, .k = rows, .a = turn->memory + all->in.rows[a], .b = of, .c = to, .a_row = 1,
                                 .a_column = m, .b_row = n, .b_column = 1, .c_row = n, .c_column = 1, .to_row = n,
                                 .alpha = 1, .beta = 1, .to = to};
        lanes->product(&product);
    }
    turn->kept = 0;
}

/* After a turn: its rows, and when there are enough of them what they add. */
static void totals_take(Turn *turn, const Tensor *inputs) {
    const Turns *all = turn->all;
    const Scan *s = all->scan;
    for (int q = 0; q < s->sequences; q++)
        if (all->in.used[q])
            memcpy(rows_of(turn, q), inputs[s->states + q].data, (size_t)turn->rows * all->in.columns[q] * sizeof(float));
    turn->kept++;
    if ((turn->kept + 1) * (size_t)turn->rows > TOGETHER || turn->turn + 1 == all->turns) totals_add(turn);
}

/* Of all groups, in their order. */
static const char *totals_end(Turns *all) {
    const Scan *s = all->scan;
    const Lanes *lanes = lanes_here();
    for (int t = 0; t < s->totals; t++) {
        const int a = s->total[t].a, b = s->total[t].b;
        int64_t size[2] = {a < 0 ? 0 : (int64_t)all->in.columns[a], (int64_t)all->in.columns[b]};
        float *to = all->give(all->context, (size_t)(s->states + s->results + t), a < 0 ? 1 : 2, a < 0 ? size + 1 : size);
        if (!to) return "no memory";
        const size_t n = total_size(all, t);
        memset(to, 0, n * sizeof *to);
        for (size_t g = 0; g < all->groups; g++)
            lanes->op[ADD][F32](n, to, to, all->in.memory + g * all->in.size + all->in.sum[t], to);
        lanes->right[MUL][F32](n, to, to, &s->total[t].alpha, NULL);
    }
    return NULL;
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
    const int kept = (int)output - s->states - s->results;
    if (kept >= 0) return rows_of(turn, s->sequences + kept);
    if (result) return place_of(all, (int)output - s->states, turn->turn, turn->from);
    if (turn->turn < all->turns - 1) return state_after(all, (int)output, turn->turn, turn->from);
    return (char *)whole->data + (all->rows ? all->width[output] / (size_t)all->rows * (size_t)turn->from : 0);
}

/* All turns of a part of the rows. */
static void run_part(Turns *all, size_t number, float *memory) {
    Scan *s = all->scan;
    Turn turn = {all, 0, (int64_t)number * all->part, all->part, memory, 0};
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
        else if (s->totals) totals_take(&turn, inputs);
    }
    free(inputs);
}

/* Parts one after another: which of them depends on their number alone, and so do the totals of the group. */
static void run_group(void *of, size_t number) {
    Turns *all = of;
    const size_t parts = (size_t)((all->rows + all->part - 1) / all->part);
    float *memory = all->scan->totals ? all->in.memory + number * all->in.size : NULL;
    for (int t = 0; t < all->scan->totals; t++) memset(memory + all->in.sum[t], 0, total_size(all, t) * sizeof *memory);
    for (size_t part = number * parts / all->groups; part < (number + 1) * parts / all->groups && !all->wrong; part++)
        run_part(all, part, memory);
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
    for (int i = 0; i < s->states + s->results + s->kept; i++) {
        free(all->output[i].data);
        all->output[i].data = NULL;
    }
    free(inputs);
    return wrong ? wrong : sizing.wrong;
}

static const char *run_all(Turns *all, Packs *packs, Spread spread, int *at) {
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
    all->groups = (size_t)((all->rows + all->part - 1) / all->part);
    if (s->totals && all->groups > GROUPS) all->groups = GROUPS;
    if (s->totals) all->wrong = totals_begin(all, packs);
    if (all->wrong) {
    } else if (all->groups > 1) {
        if (spread(all->context, run_group, all->groups, all)) all->wrong = "the parts were not run";
    } else if (all->groups) {
        run_group(all, 0);
    }
    free(memory);
    *at = all->at;
    return all->wrong || !s->totals ? all->wrong : totals_end(all);
}

const char *scan_run(Scan *s, const Tensor *inputs, Give give, Spread spread, void *context, int *at) {
    *at = -1;
    const int outputs = s->states + s->results + s->kept;
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
        if (!wrong) wrong = run_all(&all, packs, spread, at);
    }
    free(all.output), free(all.width), free(all.place);
    packs_free(EXCHANGE(&s->packs, packs));
    return wrong;
}
