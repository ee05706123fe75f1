/* Memory that runs out: the library is built with these in the place of malloc and its like. */

#include <stddef.h>

#undef malloc
#undef calloc
#undef aligned_alloc
void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *aligned_alloc(size_t line, size_t size);

static long left = -1; /* how many more there are; -1: any number */

__attribute__((visibility("default"))) void dlc_memory(long times) { __atomic_store_n(&left, times, __ATOMIC_SEQ_CST); }
__attribute__((visibility("default"))) long dlc_memory_left(void) { return __atomic_load_n(&left, __ATOMIC_SEQ_CST); }

static int there(void) {
    long now = __atomic_load_n(&left, __ATOMIC_SEQ_CST);
    while (now > 0 && !__atomic_compare_exchange_n(&left, &now, now - 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {}
    return now != 0;
}

void *failing_malloc(size_t size) { return there() ? malloc(size) : NULL; }
void *failing_calloc(size_t count, size_t size) { return there() ? calloc(count, size) : NULL; }
void *failing_aligned_alloc(size_t line, size_t size) { return there() ? aligned_alloc(line, size) : NULL; }
