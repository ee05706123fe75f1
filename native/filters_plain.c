/* The derivative by filters with what every processor of the kind has: SSE2, NEON. A compiler that has no vectors of its
 * own (MSVC) gets one element at a time, and the runtime leaves the derivative to ONNX Runtime then. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "chain.h"

#define KIND filters_plain
#define SQUARES squares_plain
#if defined(__GNUC__) || defined(__clang__)
#define WIDE 4
#define NARROW 4
#define DOUBLE 2
#else
#define WIDE 1
#define NARROW 1
#define DOUBLE 1
#endif
#if defined(__aarch64__)
#define REGISTERS 32
#else
#define REGISTERS 16
#endif
#include "filters_kinds.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define HERE(NAME) \
    (lanes_here() == &lanes_avx512 ? NAME##_avx512 : lanes_here() == &lanes_avx2 ? NAME##_avx2 : NAME##_plain)
#else
#define HERE(NAME) NAME##_plain
#endif
const Filters *const *filters_here(void) { return HERE(filters); }
const SquaresKind *squares_here(void) { return HERE(&squares); }
