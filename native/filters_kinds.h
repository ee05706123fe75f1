/* The inner loops of filters.h for one kind of processor: KIND is its name, WIDE and NARROW how many float32 are in a
 * vector, SQUARES the name of what squares.h has, DOUBLE how many float64, REGISTERS how many vectors it keeps. */

#include "filters.h"
#include "squares.h"

#if defined(__clang__)
#pragma STDC FP_CONTRACT ON
#define UNROLL _Pragma("clang loop unroll(full)")
#define INLINE static inline __attribute__((always_inline))
#define SHUFFLES
#elif defined(__GNUC__)
#define UNROLL _Pragma("GCC unroll 32")
#define INLINE static inline __attribute__((always_inline))
#if __GNUC__ >= 12
#define SHUFFLES
#endif
#else
#define UNROLL
#define INLINE static __forceinline
#endif

enum { MOST = REGISTERS >= 32 ? 25 : 12, ROWS = 8 };

#define T float
#define L WIDE
#define NAME(x) wide_##x
#include "filters_lanes.h"
#undef SQUARES

#define T float
#define L NARROW
#define NAME(x) narrow_##x
#include "filters_lanes.h"

#define T double
#define L DOUBLE
#define NAME(x) double_##x
#include "filters_lanes.h"

const Filters *const KIND[3] = {&wide_table, &narrow_table, &double_table};
