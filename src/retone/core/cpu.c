/* The highest instruction level that this processor and its operating system support. */
#include "core.h"

#if defined(__x86_64__)
static void cpuid(uint32_t leaf, uint32_t sub, uint32_t *r) {
    __asm__ volatile("cpuid"
                     : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3])
                     : "a"(leaf), "c"(sub));
}
#endif

/* The N of x86-64-vN: 2, 3 or 4; 0 on other processors. */
RT_API int32_t rt_cpu_level(void) {
#if defined(__x86_64__)
    uint32_t one[4], seven[4], extended[4], low, high;
    cpuid(1, 0, one);
    uint32_t avx =
        1u << 28 | 1u << 27 | 1u << 12 | 1u << 29 | 1u << 22; /* AVX OSXSAVE FMA F16C MOVBE */
    if ((one[2] & avx) != avx) return 2;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    cpuid(7, 0, seven), cpuid(0x80000001, 0, extended);
    uint32_t avx2 = 1u << 3 | 1u << 5 | 1u << 8; /* BMI1 AVX2 BMI2 */
    if ((low & 6) != 6 || (seven[1] & avx2) != avx2 || !(extended[2] & 1u << 5)) return 2;
    uint32_t avx512 = 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31; /* F DQ CD BW VL */
    return (low & 0xE6) == 0xE6 && (seven[1] & avx512) == avx512 ? 4 : 3;
#else
    return 0;
#endif
}
