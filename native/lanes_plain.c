/* The lanes with what every processor of the kind has: SSE2, NEON. */

#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>
#define V __m128
#define WIDTH 4
#define LOAD _mm_loadu_ps
#define STORE _mm_storeu_ps
#define SET _mm_set1_ps
#define FMA(A, B, C) _mm_add_ps(C, _mm_mul_ps(A, B))
#define MULTIPLY _mm_mul_ps
#define PLUS _mm_add_ps
#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
#include <arm_neon.h>
#define V float32x4_t
#define WIDTH 4
#define LOAD vld1q_f32
#define STORE vst1q_f32
#define SET vdupq_n_f32
#define FMA(A, B, C) vfmaq_f32(C, A, B)
#define MULTIPLY vmulq_f32
#define PLUS vaddq_f32
#else
#define V float
#define WIDTH 1
#define LOAD(FROM) (*(FROM))
#define STORE(TO, X) (*(TO) = (X))
#define SET(X) ((float)(X))
#define FMA(A, B, C) ((C) + (A) * (B))
#define MULTIPLY(A, B) ((A) * (B))
#define PLUS(A, B) ((A) + (B))
#endif
#define VECTORS 2
#define ROWS 4
#define LANES lanes_plain
#define NAMED "plain"
#include "lanes.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <stdlib.h>
#include <string.h>

static const Lanes *const kinds[] = {&lanes_plain, &lanes_avx2, &lanes_avx512};

/* Which of them this processor has, or the environment asks for, if that is less. */
static int choice(void) {
    __builtin_cpu_init();
    int widest = 0;
    if (__builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2")) widest = 1;
    if (widest && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        widest = 2;
    const char *asked = getenv("DLC_NATIVE_LANES");
    for (int i = 0; asked && i < widest; i++)
        if (!strcmp(asked, kinds[i]->name)) return i;
    return widest;
}

/* Chosen once: whatever becomes of the environment, a process has one kind. */
const Lanes *lanes_here(void) {
    static int chosen = -1;
    int kind = __atomic_load_n(&chosen, __ATOMIC_RELAXED);
    if (kind < 0) { /* of several threads that come here first, all see what the first one stores */
        int own = choice();
        if (__atomic_compare_exchange_n(&chosen, &kind, own, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) kind = own;
    }
    return kinds[kind];
}
#else
const Lanes *lanes_here(void) { return &lanes_plain; }
#endif
