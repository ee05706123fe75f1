/* The order of the rows of an epoch: that of the words which the generator of the files draws for them
 * (docs/file-format.md), equal ones as they stand. runtime/random.py says the same in NumPy. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#define PUBLIC __declspec(dllexport)
#else
#define PUBLIC __attribute__((visibility("default")))
#endif

enum { DIGITS = 3, BITS = 11, PLACES = 1 << BITS };

/* 64 random bits for a counter. */
static uint64_t word(uint64_t counter, uint64_t key) {
    const uint64_t x = counter * UINT64_C(0x9E3779B97F4A7C15) + key;
    const uint64_t y = (x * x >> 32) + x, z = y * y;
    return (z + (z >> 25)) * UINT64_C(0xD6E8FEB86659FD93);
}

/* Puts those whose upper 32 bits are the same, which stand in the order of their numbers, in that of their words. */
static void settle(uint64_t *entry, int64_t count, uint64_t key) {
    for (int64_t i = 1; i < count; i++)
        for (int64_t k = i; k > 0 && entry[k] >> 32 == entry[k - 1] >> 32; k--) {
            const uint64_t own = entry[k];
            if (word((uint32_t)own, key) >= word((uint32_t)entry[k - 1], key)) break;
            entry[k] = entry[k - 1], entry[k - 1] = own;
        }
}

/* Writes the rows 0 to count - 1 in the order of their words. 0; 1: there are too many, or there is no memory. An entry
 * is the upper half of a word and the number of its row, sorted by 11 bits of that half at a time. */
PUBLIC int dlc_native_order(int64_t *to, int64_t count, uint64_t key) {
    if (count < 0 || count > INT32_MAX) return 1;
    uint64_t *const memory = malloc((2 * (size_t)count + 1) * sizeof *memory);
    uint32_t(*const at)[PLACES] = calloc(DIGITS, sizeof *at);
    const int there = memory && at;
    if (there) {
        uint64_t *entry = memory, *other = memory + count;
        for (int64_t i = 0; i < count; i++) {
            const uint64_t upper = word((uint64_t)i, key) >> 32;
            entry[i] = upper << 32 | (uint64_t)i;
            for (int d = 0; d < DIGITS; d++) at[d][upper >> (BITS * d) & (PLACES - 1)]++;
        }
        for (int d = 0; d < DIGITS; d++) {
            uint32_t sum = 0;
            for (int k = 0; k < PLACES; k++) {
                const uint32_t own = at[d][k];
                at[d][k] = sum, sum += own;
            }
            for (int64_t i = 0; i < count; i++) other[at[d][entry[i] >> (32 + BITS * d) & (PLACES - 1)]++] = entry[i];
            uint64_t *sorted = other;
            other = entry, entry = sorted;
        }
        settle(entry, count, key);
        for (int64_t i = 0; i < count; i++) to[i] = (int64_t)(entry[i] & UINT32_MAX);
    }
    free(memory), free(at);
    return !there;
}
