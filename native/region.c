/* Reading a region: as of a chain, every number is checked before it is used. */

#include <stdlib.h>
#include <string.h>

#include "region_parts.h"

enum { HEAD = 5, STEP = 4 };

static int type_of(int64_t element) {
    for (int t = 0; t < TYPES; t++)
        if (elements[t] == element) return t;
    return -1;
}

/* Whether `count` integers are left. */
static int left(const int64_t *at, const int64_t *end, int64_t count) { return count >= 0 && count <= end - at; }

static int is_float(int type) { return type == F32 || type == F64; }

/* A constant: its memory is the region's. */
static const char *constant_read(Region *r, Step *step) {
    const int64_t *attr = step->attr;
    if (step->attrs < 2 || attr[1] < 0 || attr[1] > MOST_AXES || step->attrs < 2 + attr[1]) return "a constant without a shape";
    int type = type_of(attr[0]);
    if (type < 0) return "a type that there is not";
    Tensor *made = calloc(1, sizeof *made);
    if (!made) return "no memory";
    made->rank = (size_t)attr[1];
    int64_t count = 1, elements_left = step->attrs - 2 - attr[1];
    for (size_t k = 0; k < made->rank; k++) {
        made->size[k] = attr[2 + k];
        if (made->size[k] < 0 || made->size[k] > LONGEST_REGION) count = -1;
        if (count >= 0) count *= made->size[k];
        if (count > LONGEST_REGION) count = -1;
    }
    const int fits = count == elements_left;
    made->data = fits ? malloc(count ? (size_t)count * 8 : 8) : NULL;
    if (!made->data) {
        free(made);
        return fits ? "no memory" : "a constant of another size";
    }
    for (int64_t i = 0; i < count; i++)
        memcpy((char *)made->data + (size_t)i * sizes[type], &attr[2 + attr[1] + i], sizes[type]); /* little-endian */
    step->constant = made;
    r->type[step->out] = (uint8_t)type;
    return NULL;
}

/* The types of the results, and whether operands and attributes are such as the operation takes. */
static const char *step_read(Region *r, Step *s) {
    const int64_t *attr = s->attr;
    const uint8_t *type = r->type;
    int of[4] = {0};
    for (int i = 0; i < 4 && i < s->ins; i++) of[i] = type[s->in[i]];
    uint8_t *result = &r->type[s->out];
    static const struct { int8_t least, most, results, attrs; } fits[REGION_OPERATIONS] = {
        [CONSTANT] = {0, 0, 1, -1}, [PRODUCT] = {2, 3, 1, 3}, [SOFTMAX] = {1, 1, 1, 1}, [REDUCE] = {1, 1, 1, 4},
        [SHAPE] = {1, 1, 1, 2}, [RESHAPE] = {2, 2, 1, 1}, [SQUEEZE] = {1, 1, 1, -1}, [UNSQUEEZE] = {1, 1, 1, -1},
        [EXPAND] = {2, 2, 1, 0}, [CONCAT] = {1, 127, 1, 1}, [TRANSPOSE] = {1, 1, 1, -1}, [SLICE] = {1, 1, 1, 3},
        [ARGMAX] = {1, 1, 1, 1}, [RANGE] = {3, 3, 1, 0}, [GATHER] = {2, 2, 1, 0},
        [GUARD] = {2, 127, 1, -1}, [TRIANGLE] = {1, 1, 1, 2},
    };
    if (s->op == CHAIN) {
        if (s->attrs != 1 || attr[0] < 0 || attr[0] >= r->chains) return "a chain that there is not";
        const Program *chain = s->chain = &r->chain[attr[0]];
        if (s->ins != chain->inputs || s->outs != chain->outputs) return "other operands than the chain has";
        for (int i = 0; i < s->ins; i++)
            if (type[s->in[i]] != chain->type[i]) return "operands of other types";
        for (int i = 0; i < s->outs; i++) result[i] = chain->type[chain->value[i]];
        return NULL;
    }
    if (s->ins < fits[s->op].least || s->ins > fits[s->op].most || s->outs != fits[s->op].results ||
        (fits[s->op].attrs >= 0 && s->attrs != fits[s->op].attrs) || s->attrs > LONGEST_REGION)
        return "other operands than the operation has";
    if (s->op != CONSTANT && s->op != PRODUCT)
        for (int i = 0; i < s->attrs; i++)
            if (attr[i] < -INT32_MAX || attr[i] > INT32_MAX)
                if (s->op != SLICE && s->op != GUARD) return "an attribute out of range";
    if (s->op >= SQUEEZE && s->op <= TRANSPOSE && s->op != EXPAND && s->op != CONCAT && s->attrs > MOST_AXES)
        return "too many axes";
    *result = (uint8_t)of[0];
    switch (s->op) {
    case CONSTANT: return constant_read(r, s);
    case PRODUCT:
        if (attr[0] < 0 || attr[0] > 15 || (attr[0] & 4 && s->ins > 2)) return "flags that there are not";
        return of[0] == F32 && of[1] == F32 && (s->ins < 3 || of[2] == F32) ? NULL : "operands of other types";
    case SOFTMAX: return of[0] == F32 ? NULL : "operands of other types";
    case REDUCE: return is_float(of[0]) ? NULL : "operands of other types";
    case SHAPE: *result = I64; return NULL;
    case RESHAPE:
    case EXPAND: return of[1] == I64 ? NULL : "operands of other types";
    case CONCAT:
        for (int i = 0; i < s->ins; i++)
            if (type[s->in[i]] != of[0]) return "operands of other types";
        return NULL;
    case ARGMAX: *result = I64; return of[0] == F32 ? NULL : "operands of other types";
    case RANGE: return of[0] == I64 && of[1] == I64 && of[2] == I64 ? NULL : "operands of other types";
    case GUARD:
        if (s->attrs != 2 * (s->ins - 1)) return "other limits than there are data";
        for (int i = 1; i < s->ins; i++)
            if (type[s->in[i]] == U8 || type[s->in[i]] == U64) return "data of a type that is not checked";
        return is_float(of[0]) ? NULL : "operands of other types";
    case GATHER: return of[1] == I64 ? NULL : "operands of other types";
    default: return NULL;
    }
}

/* Which values lie in the memory of another, and after which step the memory of each is free again. */
static const char *lifetimes(Region *r) {
    int32_t *last = malloc((size_t)r->values * sizeof *last);
    if (!last) return "no memory";
    for (int v = 0; v < r->values; v++) last[v] = -1, r->root[v] = v;
    for (int i = 0; i < r->steps; i++) {
        Step *s = &r->step[i];
        for (int k = 0; k < s->ins; k++) last[r->root[s->in[k]]] = i;
        for (int k = 0; k < s->outs; k++) last[s->out + k] = i;
        if (s->op == RESHAPE || s->op == SQUEEZE || s->op == UNSQUEEZE) r->root[s->out] = r->root[s->in[0]];
    }
    for (int i = 0; i < r->steps; i++) r->step[i].ends = 0;
    for (int v = 0; v < r->values; v++)
        if (last[v] >= 0 && r->root[v] == v) r->step[last[v]].ends++;
    int at = 0;
    for (int i = 0; i < r->steps; i++) {
        r->step[i].end = &r->ends[at];
        at += r->step[i].ends;
        r->step[i].ends = 0;
    }
    for (int v = 0; v < r->values; v++)
        if (last[v] >= 0 && r->root[v] == v) r->step[last[v]].end[r->step[last[v]].ends++] = v;
    free(last);
    return NULL;
}

static const char *read_all(Region *r, const int64_t *text, size_t length) {
    const int64_t *at = text + HEAD, *end = text + length;
    if (!left(at, end, r->inputs)) return "another length than it says";
    for (int i = 0; i < r->inputs; i++, at++) {
        int type = type_of(*at);
        if (type < 0) return "an input of a type that there is not";
        r->type[i] = (uint8_t)type;
    }
    for (int i = 0; i < r->chains; i++) {
        if (!left(at, end, 1) || !left(at + 1, end, *at) || *at < 5) return "another length than it says";
        if (at[2] < 0 || at[2] > MOST_INPUTS || at[4] < 0 || at[4] > MOST_OUTPUTS) return "too many inputs or outputs";
        const char *wrong = program_read(&r->chain[i], at + 1, (size_t)*at, (size_t)at[2], (size_t)at[4]);
        if (wrong) return wrong;
        if (r->chain[i].sums) return "a chain with sums";
        at += 1 + *at;
    }
    for (int i = 0; i < r->steps; i++) {
        if (!left(at, end, STEP)) return "another length than it says";
        if (at[0] < 0 || at[0] >= REGION_OPERATIONS) return "an operation that there is not";
        if (at[1] < 0 || at[1] > 127 || at[2] < 1 || at[2] > MOST_OUTPUTS || at[3] < 0 || at[3] > LONGEST_REGION ||
            !left(at + STEP, end, at[1] + at[3]))
            return "another length than it says";
        Step *s = &r->step[i];
        s->op = (uint8_t)at[0], s->ins = (int)at[1], s->outs = (int)at[2], s->attrs = (int)at[3];
        at += STEP;
        s->in = &r->operands[at - text];
        s->out = r->values;
        for (int k = 0; k < s->ins; k++, at++) {
            if (*at < 0 || *at >= r->values) return "an operand that is not there yet";
            s->in[k] = (int32_t)*at;
        }
        s->attr = &r->text[at - text];
        at += s->attrs;
        if (r->values + s->outs > r->room) return "another length than it says";
        const char *wrong = step_read(r, s);
        if (wrong) return wrong;
        r->values += s->outs;
    }
    if (end - at != r->outputs) return "another length than it says";
    for (int v = 0; v < r->values; v++) r->output[v] = -1;
    for (int i = 0; i < r->outputs; i++, at++) {
        if (*at < r->inputs || *at >= r->values || r->output[*at] >= 0) return "an output that is no result, or twice";
        r->output[*at] = i;
    }
    return lifetimes(r);
}

/* How many results all steps have, as far as the text goes: it is not checked yet. */
static size_t results(const int64_t *text, size_t length) {
    const int64_t *at = text + HEAD, *end = text + length;
    size_t found = 0;
    if (!left(at, end, text[1])) return 0;
    at += text[1];
    for (int64_t i = 0; i < text[2]; i++) {
        if (!left(at, end, 1) || !left(at + 1, end, *at)) return 0;
        at += 1 + *at;
    }
    for (int64_t i = 0; i < text[3] && left(at, end, STEP); i++) {
        if (at[1] < 0 || at[1] > 127 || at[2] < 1 || at[2] > MOST_OUTPUTS || at[3] < 0 || at[3] > LONGEST_REGION) break;
        if (!left(at + STEP, end, at[1] + at[3])) break;
        found += (size_t)at[2];
        at += STEP + at[1] + at[3];
    }
    return found;
}

const char *region_read(Region **made, const int64_t *text, size_t length, size_t inputs, size_t outputs) {
    *made = NULL;
    if (length < HEAD || length > LONGEST_REGION) return "no beginning, or too long";
    if (text[0] != REGION_VERSION) return "a version that this library does not know";
    if (text[1] < 1 || text[2] < 0 || text[2] > MOST_CHAINS || text[3] < 1 || text[3] > MOST_STEPS || text[4] < 1)
        return "too many or too few inputs, chains, steps or outputs";
    if ((size_t)text[1] != inputs || (size_t)text[4] != outputs) return "other inputs or outputs than the node has";
    if (inputs > length || (size_t)text[2] > length || (size_t)text[3] * STEP > length) return "another length than it says";
    Region *r = calloc(1, sizeof *r);
    if (!r) return "no memory";
    region_begins();
    r->inputs = (int)text[1], r->chains = (int)text[2], r->steps = (int)text[3], r->outputs = (int)text[4];
    size_t room = inputs + results(text, length);
    r->room = (int)room;
    r->values = r->inputs;
    r->text = malloc(length * sizeof *r->text);
    r->operands = malloc(length * sizeof *r->operands);
    r->type = calloc(room + MOST_OUTPUTS, 1);
    r->root = malloc(room * sizeof *r->root), r->output = malloc(room * sizeof *r->output);
    r->ends = malloc(room * sizeof *r->ends);
    r->step = calloc((size_t)r->steps, sizeof *r->step);
    r->chain = malloc((r->chains ? (size_t)r->chains : 1) * sizeof *r->chain);
    const char *wrong = "no memory";
    if (r->text && r->operands && r->type && r->root && r->output && r->ends && r->step && r->chain) {
        memcpy(r->text, text, length * sizeof *text);
        r->length = length;
        wrong = read_all(r, text, length);
    }
    if (wrong) region_free(r);
    else *made = r;
    return wrong;
}

void region_free(Region *r) {
    if (!r) return;
    region_ends(r);
    for (int i = 0; r->step && i < r->steps; i++)
        if (r->step[i].constant) {
            free(r->step[i].constant->data);
            free(r->step[i].constant);
        }
    free(r->text), free(r->operands), free(r->type), free(r->root), free(r->output), free(r->ends), free(r->step);
    free(r->chain);
    free(r);
}

int region_output(const Region *r, int output) { return (int)r->text[r->length - (size_t)(r->outputs - output)]; }
int region_output_type(const Region *r, int output) { return r->type[region_output(r, output)]; }
int region_copied(const Region *r, int output) {
    for (int i = 0; i < r->steps; i++)
        if (r->step[i].out == region_output(r, output) && r->step[i].op == UNSQUEEZE && !r->step[i].attrs) return r->step[i].in[0];
    return -1;
}
int region_type(const Region *r, int value) { return r->type[value]; }
