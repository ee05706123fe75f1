/* Reading a program: every number in it is checked before it is used, for a file may hold any. */

#include <string.h>

#include "chain.h"
#include "ort.h"

const int elements[TYPES] = {FLOAT32, FLOAT64, INT32, INT64, BOOL, UINT32, UINT64};
const size_t sizes[TYPES] = {4, 8, 4, 8, 1, 4, 8};

enum { HEAD = 5, WORDS = 5 };

/* How many operands each operation takes. */
static const uint8_t arity[OPERATIONS] = {
    [CONST] = 0, [CAST] = 1, [WHERE] = 3, [ADD] = 2, [SUB] = 2, [MUL] = 2, [DIV] = 2, [MAX] = 2, [MIN] = 2, [POW] = 2,
    [NEG] = 1, [ABS] = 1, [SQRT] = 1, [RECIPROCAL] = 1, [SIGN] = 1, [FLOOR] = 1, [CEIL] = 1, [EXP] = 1, [LOG] = 1,
    [TANH] = 1, [ERF] = 1, [SIGMOID] = 1, [EQUAL] = 2, [LESS] = 2, [LESS_EQUAL] = 2, [GREATER] = 2,
    [GREATER_EQUAL] = 2, [AND] = 2, [OR] = 2, [XOR] = 2, [NOT] = 1, [SUM] = 1, [ROW_SUM] = 1, [ROW_MAX] = 1,
    [SHIFT] = 2, [COS] = 1, [SIN] = 1,
};

static int type_of(int64_t element) {
    for (int t = 0; t < TYPES; t++)
        if (elements[t] == element) return t;
    return -1;
}

/* One instruction; `known`: how many values there are before it. */
static const char *instruction_read(Program *p, Instruction *to, const int64_t *word, int known, const Lanes *lanes) {
    if (word[0] < 0 || word[0] >= OPERATIONS) return "an operation that there is not";
    int op = (int)word[0], type = type_of(word[1]), operands = arity[op];
    if (type < 0) return "a type that there is not";
    memset(to, 0, sizeof *to);
    to->type = (uint16_t)type;
    to->sum = -1;
    if (op == CONST) {
        to->bits = word[2];
        return NULL;
    }
    uint16_t *operand[3] = {&to->a, &to->b, &to->c};
    for (int i = 0; i < 3; i++) {
        int64_t value = word[2 + i];
        if (i >= operands) value = word[2]; /* unused: something that exists */
        if (value < 0 || value >= known) return "an operand that is not there yet";
        if (value >= p->inputs && p->code[value - p->inputs].sum >= 0) return "an operand that is a sum";
        *operand[i] = (uint16_t)value;
    }
    int a = p->type[to->a], b = p->type[to->b], c = p->type[to->c];
    if (op == CAST) {
        to->lane = lanes->cast[a][type];
    } else if (op == WHERE) {
        if (a != U8 || b != type || c != type) return "operands of other types";
        to->lane = lanes->op[op][type];
    } else {
        if (a != type || b != type) return "operands of other types";
        to->lane = lanes->op[op][type];
        to->left = lanes->left[op][type], to->right = lanes->right[op][type];
        if (op >= EQUAL && op <= GREATER_EQUAL) to->type = U8;
        to->rows = op == ROW_SUM || op == ROW_MAX;
        p->rows |= to->rows;
        if (op == SUM) {
            if (word[3] < 0 || word[3] >= MOST_AXES || (p->sums && word[3] != p->after)) return "a sum over other axes";
            p->after = (int)word[3];
            to->sum = (int16_t)p->sums++;
        }
    }
    return to->lane ? NULL : "an operation that this type does not have";
}

/* Gives results registers, each of which is free again after its last reader: to outputs only where they are copied. */
static void allocate(Program *p, int plan) {
    int16_t *slot = p->plan[plan].slot;
    static const int none = -1;
    int last[MOST_VALUES]; /* the instruction that reads a value last */
    int16_t idle[MOST_VALUES];
    int idles = 0, values = p->inputs + p->count;
    for (int v = 0; v < values; v++) last[v] = none;
    for (int i = 0; i < p->count; i++) {
        const Instruction *at = &p->code[i];
        if (at->lane) last[at->a] = last[at->b] = last[at->c] = i;
    }
    for (int i = 0; i < p->outputs; i++)
        if (plan == LATE || p->narrow[i]) last[p->value[i]] = p->count;
    int slots = 0;
    for (int v = 0; v < values; v++) slot[v] = -1;
    for (int i = 0; i < p->count; i++) {
        const Instruction *at = &p->code[i];
        int made = p->inputs + i;
        if (!at->lane) { /* written once for all tiles: its register is never another's */
            slot[made] = (int16_t)slots++;
            continue;
        }
        /* An operand that is read for the last time leaves its register to the result, if their elements are as wide:
         * otherwise the result would be written over what is still to be read. */
        const uint16_t operand[3] = {at->a, at->b, at->c};
        int16_t later[3];
        int laters = 0;
        for (int k = 0; k < 3; k++) {
            int v = operand[k];
            if (v < p->inputs || last[v] != i || slot[v] < 0 || !p->code[v - p->inputs].lane) continue;
            last[v] = none; /* not twice */
            if (sizes[p->type[v]] == sizes[at->type])
                idle[idles++] = slot[v];
            else
                later[laters++] = slot[v];
        }
        if (at->sum >= 0) continue; /* it has memory of its own */
        if (plan != DIRECTLY || p->output[made] < 0) slot[made] = idles ? idle[--idles] : (int16_t)slots++;
        while (laters) idle[idles++] = later[--laters];
        if (slot[made] >= 0 && last[made] == none) idle[idles++] = slot[made]; /* nothing reads it */
    }
    p->plan[plan].slots = slots;
}

const char *program_read(Program *p, const int64_t *text, size_t length, size_t inputs, size_t outputs) {
    if (length < HEAD) return "no beginning";
    if (text[0] != VERSION) return "a version that this library does not know";
    if (text[1] < 1 || text[1] > MOST_INPUTS || text[2] < 1 || text[2] >= MOST_VALUES || text[3] < 1 ||
        text[3] > MOST_OUTPUTS || text[1] + text[2] > MOST_VALUES)
        return "too many or too few inputs, instructions or outputs";
    if ((size_t)text[1] != inputs || (size_t)text[3] != outputs) return "other inputs or outputs than the node has";
    if (text[4] < 0 || text[4] > 1) return "flags that there are not";
    p->last = (int)text[4];
    p->inputs = (int)text[1], p->count = (int)text[2], p->outputs = (int)text[3];
    if (length != (size_t)(HEAD + p->inputs + WORDS * p->count + p->outputs)) return "another length than it says";
    const int64_t *at = text + HEAD;
    for (int i = 0; i < p->inputs; i++, at++) {
        int type = type_of(*at);
        if (type < 0) return "an input of a type that there is not";
        p->type[i] = (uint8_t)type;
    }
    const Lanes *lanes = p->lanes = lanes_here();
    p->sums = p->after = p->rows = 0;
    for (int i = 0; i < p->count; i++, at += WORDS) {
        const char *wrong = instruction_read(p, &p->code[i], at, p->inputs + i, lanes);
        if (wrong) return wrong;
        p->type[p->inputs + i] = (uint8_t)p->code[i].type;
    }
    for (int v = 0; v < p->inputs + p->count; v++) p->output[v] = -1;
    uint8_t taken[MOST_VALUES] = {0};
    for (int i = 0; i < p->outputs; i++, at++) {
        const int64_t value = *at < 0 ? ~*at : *at;
        p->narrow[i] = *at < 0;
        if (value < p->inputs || value >= p->inputs + p->count || !p->code[value - p->inputs].lane || taken[value]++)
            return "an output that is no result, or twice";
        if (p->narrow[i] && (!p->rows || p->code[value - p->inputs].sum >= 0)) return "an output of rows that there are not";
        p->value[i] = (uint16_t)value;
        if (!p->narrow[i]) p->output[value] = (int16_t)i;
    }
    for (int i = 0; i < p->count; i++)
        if (p->code[i].sum >= 0 && p->output[p->inputs + i] < 0) return "a sum that is no output";
    memset(p->whole, 0, sizeof p->whole);
    for (int i = 0; i < p->count; i++) {
        /* Of two inputs or constants both may be one element for all, and only one of them is taken as that. */
        const Instruction *code = &p->code[i];
        int a_made = code->a >= p->inputs && p->code[code->a - p->inputs].lane;
        int b_made = code->b >= p->inputs && p->code[code->b - p->inputs].lane;
        p->whole[code->a] |= !code->left || !b_made, p->whole[code->b] |= !code->right || !a_made;
        p->whole[code->c] |= !code->right;
    }
    for (int plan = 0; plan < PLANS; plan++) allocate(p, plan);
    return NULL;
}
