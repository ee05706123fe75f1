/* What the steps of a region do that are no chains and no products: sums, softmax, and what moves elements. */

#include <math.h>
#include <string.h>

#include "region_parts.h"

enum { SHORT = 32 }; /* rows whose exponentials are taken together */

static int64_t elements_of(const Tensor *x) { return count(x->rank, x->size); }

/* Sizes that a tensor of int64 holds. */
static int sizes_of(const Tensor *x, int64_t *size) {
    if (x->rank != 1 || x->size[0] > MOST_AXES) return -1;
    memcpy(size, x->data, (size_t)x->size[0] * sizeof *size);
    return (int)x->size[0];
}

void gather_strided(size_t width, size_t rank, const int64_t *size, const int64_t *stride, const char *from, char *to) {
    int64_t index[MOST_AXES] = {0}, all = count(rank, size);
    if (all <= 0) return;
    const int64_t run = rank ? size[rank - 1] : 1, step = rank ? stride[rank - 1] : 1;
    for (int64_t done = 0; done < all; done += run) {
        if (step == 1) memcpy(to, from, (size_t)run * width);
        else if (width == 4)
            for (int64_t i = 0; i < run; i++) ((uint32_t *)to)[i] = ((const uint32_t *)from)[i * step];
        else if (width == 8)
            for (int64_t i = 0; i < run; i++) ((uint64_t *)to)[i] = ((const uint64_t *)from)[i * step];
        else
            for (int64_t i = 0; i < run; i++) to[i] = from[i * step];
        to += (size_t)run * width;
        for (size_t k = rank > 1 ? rank - 1 : 0; k-- > 0;) {
            from += stride[k] * (int64_t)width;
            if (++index[k] < size[k]) break;
            from -= stride[k] * size[k] * (int64_t)width;
            index[k] = 0;
        }
    }
}

static void strides_of(const Tensor *x, int64_t *stride) {
    int64_t step = 1;
    for (size_t k = x->rank; k-- > 0;) stride[k] = step, step *= x->size[k];
}

/* Sums: of a few hundred numbers in their own precision, of these sums in float64. */
#define SUMS(NAME, T)                                                                                 \
    static double NAME##_run(const T *x, size_t n, int squared) {                                     \
        double total = 0;                                                                             \
        for (size_t from = 0; from < n; from += 512) {                                                \
            const size_t most = n - from < 512 ? n - from : 512;                                      \
            T part[16] = {0};                                                                         \
            size_t i = 0;                                                                             \
            for (; i + 16 <= most; i += 16)                                                           \
                for (int k = 0; k < 16; k++) {                                                        \
                    const T y = x[from + i + (size_t)k];                                              \
                    part[k] += squared ? y * y : y;                                                   \
                }                                                                                     \
            for (int k = 0; i < most; i++, k++) {                                                     \
                const T y = x[from + i];                                                              \
                part[k] += squared ? y * y : y;                                                       \
            }                                                                                         \
            double sum = 0;                                                                           \
            for (int k = 0; k < 16; k++) sum += part[k];                                              \
            total += sum;                                                                             \
        }                                                                                             \
        return total;                                                                                 \
    }                                                                                                 \
    static void NAME(const T *x, T *to, size_t a, size_t b, size_t c, int squared) {                  \
        double sum[128];                                                                              \
        if (c == 1) {                                                                                 \
            for (size_t i = 0; i < a; i++) to[i] = (T)NAME##_run(x + i * b, b, squared);              \
            return;                                                                                   \
        }                                                                                             \
        for (size_t i = 0; i < a; i++, x += b * c, to += c)                                           \
            for (size_t from = 0; from < c; from += 128) {                                            \
                const size_t most = c - from < 128 ? c - from : 128;                                  \
                for (size_t k = 0; k < most; k++) sum[k] = 0;                                         \
                for (size_t j = 0; j < b; j++)                                                        \
                    for (size_t k = 0; k < most; k++) {                                               \
                        const T y = x[j * c + from + k];                                              \
                        sum[k] += squared ? y * y : y;                                                \
                    }                                                                                 \
                for (size_t k = 0; k < most; k++) to[from + k] = (T)sum[k];                           \
            }                                                                                         \
    }
SUMS(sum_f32, float)
SUMS(sum_f64, double)

const char *run_sum(Run *run, const Step *s) {
    const Tensor *x = &run->room->value[s->in[0]];
    const int64_t first = s->attr[0], axes = s->attr[1], stay = s->attr[3];
    if (first < 0 || axes < 0 || first + axes > (int64_t)x->rank) return NO_FIT;
    int64_t size[MOST_AXES];
    size_t rank = 0, part[3] = {1, 1, 1};
    for (size_t k = 0; k < x->rank; k++) {
        int which = (int64_t)k < first ? 0 : (int64_t)k < first + axes ? 1 : 2;
        part[which] *= (size_t)x->size[k];
        if (which != 1 || stay) size[rank++] = which == 1 ? 1 : x->size[k];
    }
    void *to = make(run, s->out, rank, size);
    if (!to) return NO_MEMORY;
    if (run->region->type[s->out] == F32) sum_f32(x->data, to, part[0], part[1], part[2], s->attr[2] != 0);
    else sum_f64(x->data, to, part[0], part[1], part[2], s->attr[2] != 0);
    return NULL;
}

const char *run_softmax(Run *run, const Step *s) {
    const Tensor *x = &run->room->value[s->in[0]];
    if (!x->rank) return NO_FIT;
    const size_t n = (size_t)x->size[x->rank - 1], rows = n ? (size_t)elements_of(x) / n : 0;
    const Lanes *lanes = lanes_here();
    const float *from = x->data;
    float *to = make(run, s->out, x->rank, x->size);
    if (!to) return NO_MEMORY;
    if (n >= SHORT) {
        (s->attr[0] ? lanes->log_softmax : lanes->softmax)(rows, n, to, from);
        return NULL;
    }
    Block *block = block_take(run->room->pool, rows * (n + 1) * sizeof(float));
    if (!block) return NO_MEMORY;
    float *e = block_data(block), *sum = e + rows * n;
    for (size_t i = 0; i < rows; i++) {
        const float *row = from + i * n;
        float top = row[0];
        for (size_t k = 1; k < n; k++) top = row[k] > top ? row[k] : top;
        for (size_t k = 0; k < n; k++) to[i * n + k] = row[k] - top;
    }
    lanes->op[EXP][F32](rows * n, e, to, to, to);
    for (size_t i = 0; i < rows; i++) sum[i] = (float)sum_f32_run(e + i * n, n, 0);
    if (s->attr[0]) lanes->op[LOG][F32](rows, sum, sum, sum, sum);
    for (size_t i = 0; i < rows; i++)
        if (s->attr[0])
            for (size_t k = 0; k < n; k++) to[i * n + k] -= sum[i];
        else
            for (size_t k = 0; k < n; k++) to[i * n + k] = e[i * n + k] / sum[i];
    block_give(run->room->pool, block);
    return NULL;
}

const char *run_triangle(Run *run, const Step *s) {
    const Tensor *x = &run->room->value[s->in[0]];
    if (x->rank < 2) return NO_FIT;
    const size_t width = sizes[run->region->type[s->out]];
    const int64_t rows = x->size[x->rank - 2], n = x->size[x->rank - 1], all = n ? elements_of(x) / n : 0;
    const char *from = x->data;
    Block **block = run->room->block + s->in[0];
    int ends = 0; /* whether nothing reads x any more: then the result lies in its place */
    for (int k = 0; k < s->ends; k++) ends |= s->end[k] == s->in[0];
    char *to = NULL;
    if (ends && *block && run->region->output[s->out] < 0) {
        run->room->value[s->out] = *x;
        run->room->block[s->out] = *block, *block = NULL;
        to = x->data;
    } else {
        to = make(run, s->out, x->rank, x->size);
    }
    if (!to) return NO_MEMORY;
    for (int64_t i = 0; i < all; i++, from += (size_t)n * width, to += (size_t)n * width) {
        const int64_t edge = i % rows + s->attr[1] + !s->attr[0]; /* of what is kept, its end or its beginning */
        const size_t at = (size_t)(edge < 0 ? 0 : edge > n ? n : edge) * width, end = (size_t)n * width;
        if (s->attr[0]) memset(to, 0, at);
        else memset(to + at, 0, end - at);
        if (to == from) continue;
        if (s->attr[0]) memcpy(to + at, from + at, end - at);
        else memcpy(to, from, at);
    }
    return NULL;
}

const char *run_argmax(Run *run, const Step *s) {
    const Tensor *x = &run->room->value[s->in[0]];
    if (!x->rank || !x->size[x->rank - 1]) return NO_FIT;
    int64_t size[MOST_AXES];
    memcpy(size, x->size, sizeof size);
    size[x->rank - 1] = 1;
    const size_t n = (size_t)x->size[x->rank - 1], rows = (size_t)elements_of(x) / n;
    const float *row = x->data;
    int64_t *to = make(run, s->out, x->rank - !s->attr[0], size);
    if (!to) return NO_MEMORY;
    for (size_t i = 0; i < rows; i++, row += n) {
        size_t best = 0;
        for (size_t k = 1; k < n; k++)
            if (row[k] > row[best]) best = k;
        to[i] = (int64_t)best;
    }
    return NULL;
}

const char *run_gather(Run *run, const Step *s) {
    const Tensor *x = &run->room->value[s->in[0]], *which = &run->room->value[s->in[1]];
    if (!x->rank || which->rank != x->rank) return NO_FIT;
    for (size_t k = 0; k + 1 < x->rank; k++)
        if (x->size[k] < which->size[k]) return NO_FIT;
    const int64_t n = x->size[x->rank - 1], m = which->size[x->rank - 1], all = elements_of(which);
    const size_t width = sizes[run->region->type[s->out]];
    const int64_t *at = which->data;
    char *to = make(run, s->out, which->rank, which->size);
    if (!to) return NO_MEMORY;
    for (int64_t i = 0; i < all; i++) {
        int64_t index = at[i] < 0 ? at[i] + n : at[i], row = i / m, own = 0, step = 1;
        if (index < 0 || index >= n) return "an index out of range";
        for (size_t k = x->rank - 1; k-- > 0;) {
            own += row % which->size[k] * step;
            row /= which->size[k];
            step *= x->size[k];
        }
        memcpy(to + (size_t)i * width, (const char *)x->data + (size_t)(own * n + index) * width, width);
    }
    return NULL;
}

/* A value in the memory of another, in another shape; copied where it is an output. */
static const char *view(Run *run, const Step *s, size_t rank, const int64_t *size) {
    const Tensor *x = &run->room->value[s->in[0]];
    Tensor *made = &run->room->value[s->out];
    const int64_t all = elements_of(x);
    if (count(rank, size) != all) return NO_FIT;
    if (run->region->output[s->out] >= 0) {
        void *to = make(run, s->out, rank, size);
        if (!to) return NO_MEMORY;
        if (to != x->data) memcpy(to, x->data, (size_t)all * sizes[run->region->type[s->out]]);
        return NULL;
    }
    made->data = x->data;
    made->rank = rank;
    if (rank) memcpy(made->size, size, rank * sizeof *size);
    return NULL;
}

const char *run_shaped(Run *run, const Step *s) {
    const Tensor *x = &run->room->value[s->in[0]];
    int64_t size[MOST_AXES];
    uint8_t chosen[MOST_AXES] = {0};
    int rank = 0;
    if (s->op == RESHAPE) {
        int64_t known = 1, open = -1;
        if ((rank = sizes_of(&run->room->value[s->in[1]], size)) < 0) return NO_FIT;
        for (int k = 0; k < rank; k++) {
            if (size[k] == 0 && !s->attr[0]) {
                if (k >= (int)x->rank) return NO_FIT;
                size[k] = x->size[k];
            }
            if (size[k] == -1 && open < 0) open = k;
            else if (size[k] < 0 || (size[k] && known > ((int64_t)1 << 40) / size[k])) return NO_FIT;
            else known *= size[k];
        }
        if (open >= 0) size[open] = known ? elements_of(x) / known : 0;
        return view(run, s, (size_t)rank, size);
    }
    int most = (int)x->rank + (s->op == UNSQUEEZE ? s->attrs : 0);
    if (most > MOST_AXES) return NO_FIT;
    for (int i = 0; i < s->attrs; i++) {
        int64_t axis = s->attr[i] < 0 ? s->attr[i] + most : s->attr[i];
        if (axis < 0 || axis >= most || chosen[axis]) return NO_FIT;
        chosen[axis] = 1;
    }
    if (s->op == UNSQUEEZE) {
        for (int k = 0, own = 0; k < most; k++) size[k] = chosen[k] ? 1 : x->size[own++];
        return view(run, s, (size_t)most, size);
    }
    for (int k = 0; k < most; k++) {
        if (!s->attrs) chosen[k] = x->size[k] == 1;
        if (chosen[k] && x->size[k] != 1) return NO_FIT;
        if (!chosen[k]) size[rank++] = x->size[k];
    }
    return view(run, s, (size_t)rank, size);
}

const char *run_strided(Run *run, const Step *s) {
    const Tensor *x = &run->room->value[s->in[0]];
    const size_t width = sizes[run->region->type[s->out]];
    int64_t size[MOST_AXES], stride[MOST_AXES] = {0}, own[MOST_AXES];
    size_t rank = x->rank;
    const char *from = x->data;
    strides_of(x, own);
    if (s->op == TRANSPOSE) {
        uint8_t seen[MOST_AXES] = {0};
        if (s->attrs != (int)rank) return NO_FIT;
        for (size_t k = 0; k < rank; k++) {
            int64_t axis = s->attr[k];
            if (axis < 0 || axis >= (int64_t)rank || seen[axis]) return NO_FIT;
            seen[axis] = 1;
            size[k] = x->size[axis], stride[k] = own[axis];
        }
    } else if (s->op == SLICE) {
        int64_t axis = s->attr[0] < 0 ? s->attr[0] + (int64_t)rank : s->attr[0];
        if (axis < 0 || axis >= (int64_t)rank) return NO_FIT;
        const int64_t n = x->size[axis];
        int64_t edge[2];
        for (int i = 0; i < 2; i++) {
            int64_t at = s->attr[1 + i];
            if (at < 0) at = at < -n ? 0 : at + n;
            edge[i] = at > n ? n : at;
        }
        memcpy(size, x->size, sizeof size);
        memcpy(stride, own, sizeof stride);
        size[axis] = edge[1] > edge[0] ? edge[1] - edge[0] : 0;
        from += (size_t)(edge[0] * own[axis]) * width;
    } else {
        int asked = sizes_of(&run->room->value[s->in[1]], size);
        if (asked < 0) return NO_FIT;
        if (asked < (int)rank) {
            memmove(size + (rank - (size_t)asked), size, (size_t)asked * sizeof *size);
            for (size_t k = 0; k < rank - (size_t)asked; k++) size[k] = 1;
        } else {
            rank = (size_t)asked;
        }
        for (size_t k = 0; k < x->rank; k++) {
            int64_t *all = &size[rank - x->rank + k];
            if (*all == 1) *all = x->size[k];
            if (x->size[k] != 1 && x->size[k] != *all) return NO_FIT;
            stride[rank - x->rank + k] = x->size[k] == 1 ? 0 : own[k];
        }
    }
    char *to = make(run, s->out, rank, size);
    if (!to) return NO_MEMORY;
    gather_strided(width, rank, size, stride, from, to);
    return NULL;
}

const char *run_concat(Run *run, const Step *s) {
    const Tensor *value = run->room->value, *first = &value[s->in[0]];
    const size_t rank = first->rank, width = sizes[run->region->type[s->out]];
    const int64_t axis = s->attr[0] < 0 ? s->attr[0] + (int64_t)rank : s->attr[0];
    if (axis < 0 || axis >= (int64_t)rank) return NO_FIT;
    int64_t size[MOST_AXES];
    memcpy(size, first->size, sizeof size);
    for (int i = 1; i < s->ins; i++) {
        const Tensor *x = &value[s->in[i]];
        if (x->rank != rank) return NO_FIT;
        for (size_t k = 0; k < rank; k++)
            if ((int64_t)k != axis && x->size[k] != size[k]) return NO_FIT;
        size[axis] += x->size[axis];
    }
    char *to = make(run, s->out, rank, size);
    if (!to) return NO_MEMORY;
    const int64_t rows = count((size_t)axis, size), inner = count(rank - (size_t)axis - 1, size + axis + 1);
    const size_t whole = (size_t)(size[axis] * inner) * width;
    for (int i = 0; i < s->ins; i++) {
        const Tensor *x = &value[s->in[i]];
        const size_t run_of = (size_t)(x->size[axis] * inner) * width;
        for (int64_t row = 0; row < rows; row++)
            memcpy(to + (size_t)row * whole, (const char *)x->data + (size_t)row * run_of, run_of);
        to += run_of;
    }
    return NULL;
}

const char *run_range(Run *run, const Step *s) {
    int64_t of[3];
    for (int i = 0; i < 3; i++) {
        const Tensor *x = &run->room->value[s->in[i]];
        if (elements_of(x) != 1) return NO_FIT;
        memcpy(&of[i], x->data, sizeof of[i]);
    }
    if (!of[2] || of[0] < -INT32_MAX || of[0] > INT32_MAX || of[1] < -INT32_MAX || of[1] > INT32_MAX || of[2] > INT32_MAX ||
        of[2] < -INT32_MAX)
        return "a range that is too long";
    int64_t way = of[1] - of[0], size = of[2] > 0 ? (way + of[2] - 1) / of[2] : (-way - of[2] - 1) / -of[2];
    if (size < 0) size = 0;
    int64_t *to = make(run, s->out, 1, &size);
    if (!to) return NO_MEMORY;
    for (int64_t i = 0; i < size; i++) to[i] = of[0] + i * of[2];
    return NULL;
}

const char *run_shape(Run *run, const Step *s) {
    const Tensor *x = &run->room->value[s->in[0]];
    const int64_t rank = (int64_t)x->rank;
    int64_t begin = s->attr[0] < 0 ? s->attr[0] + rank : s->attr[0], end = s->attr[1] < 0 ? s->attr[1] + rank : s->attr[1];
    begin = begin < 0 ? 0 : begin > rank ? rank : begin;
    end = end < begin ? begin : end > rank ? rank : end;
    const int64_t size = end - begin;
    int64_t *to = make(run, s->out, 1, &size);
    if (!to) return NO_MEMORY;
    memcpy(to, x->size + begin, (size_t)size * sizeof *to);
    return NULL;
}

const char *run_constant(Run *run, const Step *s) {
    const Tensor *held = s->constant;
    if (run->region->output[s->out] < 0) {
        run->room->value[s->out] = *held;
        return NULL;
    }
    void *to = make(run, s->out, held->rank, held->size);
    if (!to) return NO_MEMORY;
    memcpy(to, held->data, (size_t)elements_of(held) * sizes[run->region->type[s->out]]);
    return NULL;
}

/* Whether whole numbers are between two; of those without sign it is asked as of int64. */
#define BETWEEN(NAME, T)                                                                              \
    static int NAME(const T *x, size_t n, int64_t low, int64_t high) {                                \
        int wrong = 0;                                                                                \
        for (size_t i = 0; i < n; i++) wrong |= (int64_t)x[i] < low || (int64_t)x[i] > high;          \
        return !wrong;                                                                                \
    }
BETWEEN(between_i32, int32_t)
BETWEEN(between_i64, int64_t)
BETWEEN(between_u32, uint32_t)

const char *run_guard(Run *run, const Step *s) {
    const Tensor *value = run->room->value, *x = &value[s->in[0]];
    const size_t width = sizes[run->region->type[s->out]];
    int good = elements_of(x) == 1;
    if (!good) return NO_FIT;
    for (int i = 1; i < s->ins; i++) {
        const Tensor *data = &value[s->in[i]];
        const int64_t low = s->attr[2 * i - 2], high = s->attr[2 * i - 1];
        const size_t n = (size_t)elements_of(data);
        const int type = run->region->type[s->in[i]];
        switch (type) {
        case F32:
        case F64: good &= !not_finite(type, n, data->data); break;
        case I32: good &= between_i32(data->data, n, low, high); break;
        case I64: good &= between_i64(data->data, n, low, high); break;
        case U32: good &= between_u32(data->data, n, low, high); break;
        default: good = 0; /* which reading it has refused */
        }
    }
    char *to = make(run, s->out, x->rank, x->size);
    if (!to) return NO_MEMORY;
    if (good) memcpy(to, x->data, width);
    else if (width == 4) *(float *)to = NAN;
    else *(double *)to = NAN;
    return NULL;
}
