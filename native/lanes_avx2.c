/* The lanes for processors with AVX2: chosen at run time, so one library serves all. */

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
/* Before the functions, since they are what it applies to; system headers first, which it must not touch. */
#include <immintrin.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#define FUSED
#define HALF(to, from) _mm256_stream_si256((__m256i *)(to), _mm256_loadu_si256((const __m256i *)(from)))
#define STREAM(to, from) (HALF(to, from), HALF((to) + 32, (from) + 32))
#define V __m256
#define WIDTH 8
#define VECTORS 2
#define ROWS 4
#define LOAD _mm256_loadu_ps
#define STORE _mm256_storeu_ps
#define SET _mm256_set1_ps
#define FMA _mm256_fmadd_ps
#define MULTIPLY _mm256_mul_ps
#define PLUS _mm256_add_ps
static inline __m256i first(size_t n) { /* a mask of the first n lanes */
    static const int32_t lanes[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(lanes + 8 - n));
}
#define LOAD_PART(FROM, N) _mm256_maskload_ps(FROM, first(N))
#define STORE_PART(TO, X, N) _mm256_maskstore_ps(TO, first(N), X)
#define LANES lanes_avx2
#define NAMED "avx2"
#include "lanes.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int nothing_here; /* a file of C may not be empty */
#endif
