/* The derivative of a convolution by its filters (filters.h): pieces of the batch that stay in the second-level cache,
 * shares of the work that depend on the shapes alone, so that the result is the same for any number of threads. */

#include <stdlib.h>
#include <string.h>

#include "chain.h"
#include "filters.h"

enum {
    BLOCK = 96 * 1024,  /* bytes of g in blocks of channels, of a piece */
    IMAGE = 128 * 1024, /* bytes of padded x, of a piece */
    SHARES = 8          /* into which the work is cut */
};
#define LARGEST ((size_t)1 << 24) /* of a stride, a dilation, a pad or a size of a filter */
#define MOST_ROOM ((size_t)1 << 32)

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static char *aligned(char *at) { return at + (LINE - (uintptr_t)at % LINE) % LINE; }

const char *filters_wrong(const Call *call) {
    for (int i = 0; i < 2; i++) {
        if (!call->stride[i] || !call->dilation[i] || !call->kernel[i]) return "a stride, a dilation or a size of 0";
        if (call->stride[i] > LARGEST || call->dilation[i] > LARGEST || call->kernel[i] > LARGEST ||
            call->pad[i] > LARGEST || call->windows[i] > LARGEST)
            return "a geometry that is too large";
    }
    const size_t filters = call->groups * call->out * call->channels;
    if (filters && call->kernel[0] * call->kernel[1] > MOST_ROOM / filters) return "a geometry that is too large";
    return NULL;
}

const char *filters_begin(Call *call, int type) {
    const Filters *const *table = filters_here();
    call->how = table[type ? 2 : call->out <= table[1]->lanes];
    const size_t lanes = call->how->lanes, width = call->how->width;
    call->blocks = (call->out + lanes - 1) / lanes;
    size_t units = call->groups * call->blocks;
    call->shares = units >= SHARES ? 1 : least((SHARES + units - 1) / units, call->batch);
    /* A piece: as many rows of windows as fit, then images, then channels. */
    size_t row = call->windows[1] * lanes * width;
    call->band = least(row < BLOCK ? BLOCK / row : 1, call->windows[0]);
    size_t reach[2];
    for (int i = 0; i < 2; i++) reach[i] = (call->kernel[i] - 1) * call->dilation[i] + 1;
    call->columns = (call->windows[1] - 1) * call->stride[1] + reach[1];
    size_t line = call->columns * width;
    while (call->band > 1 && ((call->band - 1) * call->stride[0] + reach[0]) * line > IMAGE) call->band = (call->band + 1) / 2;
    call->rows = (call->band - 1) * call->stride[0] + reach[0];
    if (call->rows > MOST_ROOM / line) return "a geometry that is too large";
    size_t plane = call->rows * line;
    call->deep = least(plane < IMAGE ? IMAGE / plane : 1, call->channels);
    call->many = 1;
    if (call->band == call->windows[0])
        call->many = least(BLOCK / least(call->band * row, BLOCK), IMAGE / least(call->deep * plane, IMAGE));
    size_t each = call->channels * call->kernel[0] * call->kernel[1] * lanes * width, tasks = units * call->shares;
    if (tasks && each > MOST_ROOM / tasks) return "a geometry that is too large";
    call->sums = calloc(tasks * (each + 1) + LINE, 1);
    if (!call->sums) return "no memory";
    call->failed = aligned(call->sums) + tasks * each;
    return NULL;
}

void filters_end(Call *call) { free(call->sums); }

size_t filters_shares(const Call *call) { return call->groups * call->blocks * call->shares; }
size_t filters_blocks(const Call *call) { return call->groups * call->blocks; }

/* Sums of one block of channels and one share of the batch. */
static char *sums_of(const Call *call, size_t number) {
    size_t each = call->channels * call->kernel[0] * call->kernel[1] * call->how->lanes * call->how->width;
    return aligned(call->sums) + number * each;
}

/* Rows of an image from `top` on, padded, which may lie before or after it. */
static void padded(const Call *call, char *to, const char *from, int64_t top) {
    const size_t width = call->how->width, line = call->columns * width, height = call->size[0], size = call->size[1];
    const size_t left = least(call->pad[1], call->columns), inside = least(size, call->columns - left);
    for (size_t r = 0; r < call->rows; r++, to += line) {
        int64_t y = top + (int64_t)r;
        if (y < 0 || (size_t)y >= height) {
            memset(to, 0, line);
            continue;
        }
        if (left) memset(to, 0, left * width);
        call->how->copy(to + left * width, from + (size_t)y * size * width, inside);
        if (call->columns - left > inside) memset(to + (left + inside) * width, 0, (call->columns - left - inside) * width);
    }
}

/* All that some channels of a piece add to the sums. Where filters are dilated across, each number of theirs is a row. */
static void piece(const Call *call, Run *run, char *sums, size_t channels, size_t plane) {
    const Filters *how = call->how;
    const size_t high = call->kernel[0], wide = call->kernel[1];
    const size_t parts = (wide + how->most_taps - 1) / how->most_taps;
    size_t rows[8], count;
    for (size_t part = 0, first = 0; part < parts; part++) {
        size_t taps = (wide - first + parts - part - 1) / (parts - part);
        const int apart = call->dilation[1] > 1;
        const size_t most = how->most_rows[apart ? 1 : taps];
        for (size_t k = 0; k < (apart ? taps : 1); k++) {
            for (size_t row = 0; row < channels * high; row += count) {
                count = least(most, channels * high - row);
                for (size_t i = 0; i < count; i++)
                    rows[i] = (row + i) / high * plane + (row + i) % high * call->dilation[0] * call->columns +
                              (first + k) * call->dilation[1];
                run->row = rows;
                run->sum = sums + (row * wide + first + k) * how->lanes * how->width;
                run->apart = wide * how->lanes;
                how->run(run, count, apart ? 1 : taps);
            }
        }
        first += taps;
    }
}

void filters_share(void *context, size_t number) {
    const Call *call = context;
    const Filters *how = call->how;
    const size_t lanes = how->lanes, width = how->width, share = number % call->shares;
    const size_t block = number / call->shares % call->blocks, group = number / call->shares / call->blocks;
    const size_t first = share * call->batch / call->shares, last = (share + 1) * call->batch / call->shares;
    const size_t places = call->windows[0] * call->windows[1], area = call->size[0] * call->size[1];
    const size_t plane = call->rows * call->columns, kernel = call->kernel[0] * call->kernel[1];
    const size_t held = least(lanes, call->out - block * lanes), all_out = call->groups * call->out;
    const size_t room_g = call->many * call->band * call->windows[1] * lanes * width;
    const size_t room_x = call->many * call->deep * plane * width;
    char here[BLOCK + IMAGE + 3 * LINE], *room = here;
    if (room_g + room_x > BLOCK + IMAGE) {
        room = malloc(room_g + room_x + 3 * LINE);
        if (!room) {
            call->failed[number] = 1;
            return;
        }
    }
    char *g = aligned(room), *x = aligned(g + room_g), *sums = sums_of(call, number);
    for (size_t image = first; image < last; image += call->many) {
        for (size_t top = 0; top < call->windows[0]; top += call->band) {
            Run run = {.g = g, .x = x, .windows = call->windows[1], .across = call->stride[1]};
            run.images = least(call->many, last - image);
            run.windows_down = least(call->band, call->windows[0] - top);
            run.image_g = run.windows_down * call->windows[1] * lanes;
            run.down = call->stride[0] * call->columns;
            for (size_t n = 0; n < run.images; n++) {
                size_t at = ((image + n) * all_out + group * call->out + block * lanes) * places + top * call->windows[1];
                how->pack(g + n * run.image_g * width, call->g + at * width, held, places, run.windows_down * call->windows[1]);
            }
            for (size_t channel = 0; channel < call->channels; channel += call->deep) {
                size_t channels = least(call->deep, call->channels - channel);
                run.image_x = channels * plane;
                for (size_t n = 0; n < run.images; n++)
                    for (size_t c = 0; c < channels; c++) {
                        size_t from = ((image + n) * call->groups + group) * call->channels + channel + c;
                        padded(call, x + (n * channels + c) * plane * width, call->x + from * area * width,
                               (int64_t)(top * call->stride[0]) - (int64_t)call->pad[0]);
                    }
                piece(call, &run, sums + channel * kernel * lanes * width, channels, plane);
            }
        }
    }
    if (room != here) free(room);
}

void filters_block(void *context, size_t number) {
    const Call *call = context;
    const Filters *how = call->how;
    const size_t taps = call->channels * call->kernel[0] * call->kernel[1];
    const size_t block = number % call->blocks, group = number / call->blocks;
    size_t held = least(how->lanes, call->out - block * how->lanes), row = group * call->out + block * how->lanes;
    how->finish(call->w + row * taps * how->width, sums_of(call, number * call->shares), held, taps, call->shares,
                taps * how->lanes);
}
