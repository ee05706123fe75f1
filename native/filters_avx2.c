/* The derivative by filters for processors with AVX2: chosen at run time, so one library serves all. */

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
/* Before the functions, since they are what it applies to; system headers first, which it must not touch. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#pragma GCC optimize("fp-contract=fast")
#endif

#define KIND filters_avx2
#define SQUARES squares_avx2
#define WIDE 8
#define NARROW 4
#define DOUBLE 4
#define REGISTERS 16
#include "filters_kinds.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int nothing_here; /* a file of C may not be empty */
#endif
