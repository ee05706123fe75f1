/* The lanes with what every processor of the kind has: SSE2, NEON. */

#define LANES lanes_plain
#define NAMED "plain"
#include "lanes.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
const Lanes *lanes_here(void) {
    __builtin_cpu_init();
    int fused = __builtin_cpu_supports("fma");
    if (fused && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        return &lanes_avx512;
    return fused && __builtin_cpu_supports("avx2") ? &lanes_avx2 : &lanes_plain;
}
#else
const Lanes *lanes_here(void) { return &lanes_plain; }
#endif
