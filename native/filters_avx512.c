/* The derivative by filters for processors with AVX512: chosen at run time, so one library serves all. */

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
/* Before the functions, since they are what it applies to; system headers first, which it must not touch. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("fma,avx512f,avx512dq,avx512bw,avx512vl"))), apply_to = function)
#else
#pragma GCC target("fma,avx512f,avx512dq,avx512bw,avx512vl,prefer-vector-width=512")
#pragma GCC optimize("fp-contract=fast")
#endif

#define KIND filters_avx512
#define SQUARES squares_avx512
#define WIDE 16
#define NARROW 8
#define DOUBLE 8
#define REGISTERS 32
#include "filters_kinds.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int nothing_here; /* a file of C may not be empty */
#endif
