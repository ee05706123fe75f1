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
#define FIRST(N) ((__mmask16)((1u << (N)) - 1))
#define LOAD_PART(FROM, N) _mm512_maskz_loadu_ps(FIRST(N), FROM)
#define STORE_PART(TO, X, N) _mm512_mask_storeu_ps(TO, FIRST(N), X)
/* `rows` of `columns` numbers, `apart`, as columns of 16, `step` apart: up to 16 of both, zeros where there are no rows. */
static void turn_16(const float *from, size_t apart, size_t rows, size_t columns, float *to, size_t step) {
    __m512 r[16], t[16];
    const __mmask16 there = FIRST(columns);
    if (rows == 16)
        for (size_t i = 0; i < 16; i++) r[i] = _mm512_maskz_loadu_ps(there, from + i * apart);
    else
        for (size_t i = 0; i < 16; i++) r[i] = i < rows ? _mm512_maskz_loadu_ps(there, from + i * apart) : _mm512_setzero_ps();
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
#define PAIR(LOW, A, B) _mm512_castpd_ps(_mm512_unpack##LOW##_pd(_mm512_castps_pd(A), _mm512_castps_pd(B)))
    for (int i = 0; i < 16; i += 4) { /* a quarter q of r[i + c]: number 4 q + c of the rows i to i + 3 */
        r[i] = PAIR(lo, t[i], t[i + 2]), r[i + 1] = PAIR(hi, t[i], t[i + 2]);
        r[i + 2] = PAIR(lo, t[i + 1], t[i + 3]), r[i + 3] = PAIR(hi, t[i + 1], t[i + 3]);
    }
#undef PAIR
    for (size_t c = 0; c < 4; c++) {
        const __m512 even = _mm512_shuffle_f32x4(r[c], r[c + 4], 0x88), odd = _mm512_shuffle_f32x4(r[c], r[c + 4], 0xdd);
        const __m512 even_ = _mm512_shuffle_f32x4(r[c + 8], r[c + 12], 0x88);
        const __m512 odd_ = _mm512_shuffle_f32x4(r[c + 8], r[c + 12], 0xdd);
        if (c < columns) _mm512_storeu_ps(to + c * step, _mm512_shuffle_f32x4(even, even_, 0x88));
        if (c + 4 < columns) _mm512_storeu_ps(to + (c + 4) * step, _mm512_shuffle_f32x4(odd, odd_, 0x88));
        if (c + 8 < columns) _mm512_storeu_ps(to + (c + 8) * step, _mm512_shuffle_f32x4(even, even_, 0xdd));
        if (c + 12 < columns) _mm512_storeu_ps(to + (c + 12) * step, _mm512_shuffle_f32x4(odd, odd_, 0xdd));
    }
}
#define TURN turn_16
#define LANES lanes_avx512
#define NAMED "avx512"
#include "lanes.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int nothing_here; /* a file of C may not be empty */
#endif
