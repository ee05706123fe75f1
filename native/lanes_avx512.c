/* The lanes for processors with AVX512: chosen at run time, so one library serves all. */

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
/* Before the functions, since they are what it applies to; system headers first, which it must not touch. */
#include <immintrin.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("fma,avx512f,avx512dq,avx512bw,avx512vl"))), apply_to = function)
#else
#pragma GCC target("fma,avx512f,avx512dq,avx512bw,avx512vl,prefer-vector-width=512")
#endif

#define FUSED
#define STREAM(to, from) _mm512_stream_si512((__m512i *)(to), _mm512_loadu_si512(from))
#define V __m512
#define WIDTH 16
#define VECTORS 2
#define ROWS 8
#define LOAD _mm512_loadu_ps
#define STORE _mm512_storeu_ps
#define SET _mm512_set1_ps
#define FMA _mm512_fmadd_ps
#define MULTIPLY _mm512_mul_ps
#define PLUS _mm512_add_ps
#define LANES lanes_avx512
#define NAMED "avx512"
#include "lanes.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int nothing_here; /* a file of C may not be empty */
#endif
