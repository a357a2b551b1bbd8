/* Vectors of eight float64 numbers: loads and stores, rows to lanes, log2 and exp2.

   Clang's vector extensions map them to the registers of any processor. Rounding is defined: fma()
   is fused wherever the instruction level has the instruction, and nothing else is contracted, so
   two loops that apply the same operations to a number give the same bits. Most functions are
   overloaded: double, or v8. */
#ifndef RETONE_VECTOR_H
#define RETONE_VECTOR_H

#include <stdint.h>

#define LANES 8
#define LINE_SAMPLES 16 /* float32 samples in a cache line */

typedef double v8 __attribute__((ext_vector_type(8)));
typedef float f8 __attribute__((ext_vector_type(8)));
typedef __typeof__((v8){0} > (v8){0}) m8; /* a mask: 0 or -1 per lane; or the bits of a v8 */
typedef uint64_t u8 __attribute__((ext_vector_type(8)));
typedef v8 v8_unaligned __attribute__((aligned(8)));
typedef f8 f8_unaligned __attribute__((aligned(4)));

#define INLINE static inline __attribute__((always_inline))
#define OVERLOADED INLINE __attribute__((overloadable))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

INLINE v8 splat(double value) { return (v8)value; }
INLINE v8 load(const double *at) { return *(const v8_unaligned *)at; }
INLINE void store(double *at, v8 value) { *(v8_unaligned *)at = value; }

/* Audio is float32 (`single`) or float64. Where `single` is a constant, the test costs nothing. */
INLINE const void *sample_at(const void *x, int64_t i, int single) {
    return single ? (const void *)((const float *)x + i) : (const void *)((const double *)x + i);
}
INLINE double get(const void *x, int64_t i, int single) {
    return single ? ((const float *)x)[i] : ((const double *)x)[i];
}
INLINE void put(void *x, int64_t i, double value, int single) {
    if (single) ((float *)x)[i] = (float)value;
    else ((double *)x)[i] = value;
}
INLINE v8 get8(const void *x, int64_t i, int single) {
    if (single) return __builtin_convertvector(*(const f8_unaligned *)((const float *)x + i), v8);
    return load((const double *)x + i);
}
INLINE void put8(void *x, int64_t i, v8 value, int single) {
    if (single) *(f8_unaligned *)((float *)x + i) = __builtin_convertvector(value, f8);
    else store((double *)x + i, value);
}
/* Into the second-level cache; any address is safe. */
INLINE void prefetch(const void *x, int64_t i, int single) {
    __builtin_prefetch(sample_at(x, i, single), 0, 2);
}

#define ARITHMETIC(T)                                                                              \
    OVERLOADED T maximum(T a, T b) { return a > b ? a : b; }                                       \
    OVERLOADED T minimum(T a, T b) { return a < b ? a : b; }                                       \
    OVERLOADED T above(T a, T b, T then, T otherwise) { return a > b ? then : otherwise; }
ARITHMETIC(double)
ARITHMETIC(v8)

#if defined(__FMA__) || defined(__aarch64__)
OVERLOADED double fma_(double a, double b, double c) { return __builtin_elementwise_fma(a, b, c); }
OVERLOADED v8 fma_(v8 a, v8 b, v8 c) { return __builtin_elementwise_fma(a, b, c); }
#else /* a call of libm for every number would be far too slow */
OVERLOADED double fma_(double a, double b, double c) { return a * b + c; }
OVERLOADED v8 fma_(v8 a, v8 b, v8 c) { return a * b + c; }
#endif

/* Sum of the lanes, first to last. */
INLINE double sum_lanes(v8 v) {
    double total = v[0];
    for (int i = 1; i < LANES; i++) total += v[i];
    return total;
}

/* -- rows to lanes -------------------------------------------------------------------------- */

#define SWAP(rows, gap, low, high)                                                                 \
    for (int i = 0; i < LANES; i++)                                                                \
        if (!(i & gap)) {                                                                          \
            a = rows[i], b = rows[i + gap];                                                        \
            rows[i] = __builtin_shufflevector(a, b, low);                                          \
            rows[i + gap] = __builtin_shufflevector(a, b, high);                                   \
        }
#define LIST(...) __VA_ARGS__

OVERLOADED void transpose(v8 *r) {
    v8 a, b;
    SWAP(r, 1, LIST(0, 8, 2, 10, 4, 12, 6, 14), LIST(1, 9, 3, 11, 5, 13, 7, 15))
    SWAP(r, 2, LIST(0, 1, 8, 9, 4, 5, 12, 13), LIST(2, 3, 10, 11, 6, 7, 14, 15))
    SWAP(r, 4, LIST(0, 1, 2, 3, 8, 9, 10, 11), LIST(4, 5, 6, 7, 12, 13, 14, 15))
}

OVERLOADED void transpose(f8 *r) { /* interleaves neighbours: one instruction on x86 */
    f8 a, b;
    SWAP(r, 1, LIST(0, 8, 1, 9, 4, 12, 5, 13), LIST(2, 10, 3, 11, 6, 14, 7, 15))
    SWAP(r, 2, LIST(0, 1, 8, 9, 4, 5, 12, 13), LIST(2, 3, 10, 11, 6, 7, 14, 15))
    SWAP(r, 4, LIST(0, 1, 2, 3, 8, 9, 10, 11), LIST(4, 5, 6, 7, 12, 13, 14, 15))
    f8 swap = r[1]; /* row i holds the column whose number is i with bits 0 and 1 swapped */
    r[1] = r[2], r[2] = swap;
    swap = r[5], r[5] = r[6], r[6] = swap;
}

/* The rows that share the lanes of a vector: lanes without a row repeat the last one. */
typedef struct {
    int64_t row[LANES];
    int64_t count; /* of distinct rows */
} Rows;

INLINE Rows rows_from(int64_t first, int64_t stop) {
    Rows rows;
    rows.count = MIN(LANES, stop - first);
    for (int j = 0; j < LANES; j++) rows.row[j] = first + MIN(j, rows.count - 1);
    return rows;
}

/* to[8 n + j] = x[row_j * stride + at + n], n < count. */
INLINE void rows_to_lanes(const void *x, const Rows *rows, int64_t stride, int64_t at,
                          int64_t count, double *to, int single) {
    int64_t whole = count - count % LANES;
    for (int64_t i = 0; i < whole; i += LANES) {
        if (single) {
            f8 r[LANES];
            for (int j = 0; j < LANES; j++)
                r[j] = *(const f8_unaligned *)((const float *)x + rows->row[j] * stride + at + i);
            transpose(r);
            for (int n = 0; n < LANES; n++)
                store(to + LANES * (i + n), __builtin_convertvector(r[n], v8));
        } else {
            v8 r[LANES];
            for (int j = 0; j < LANES; j++)
                r[j] = load((const double *)x + rows->row[j] * stride + at + i);
            transpose(r);
            for (int n = 0; n < LANES; n++) store(to + LANES * (i + n), r[n]);
        }
    }
    for (int j = 0; j < LANES; j++)
        for (int64_t i = whole; i < count; i++)
            to[LANES * i + j] = get(x, rows->row[j] * stride + at + i, single);
}

/* The inverse of rows_to_lanes. Lanes that repeat a row are not written. */
INLINE void lanes_to_rows(const double *from, void *y, const Rows *rows, int64_t stride, int64_t at,
                          int64_t count, int single) {
    int64_t whole = count - count % LANES;
    for (int64_t i = 0; i < whole; i += LANES) {
        if (single) {
            f8 r[LANES];
            for (int n = 0; n < LANES; n++)
                r[n] = __builtin_convertvector(load(from + LANES * (i + n)), f8);
            transpose(r);
            for (int j = 0; j < LANES; j++) /* a repeated row writes its own numbers again */
                *(f8_unaligned *)((float *)y + rows->row[j] * stride + at + i) = r[j];
        } else {
            v8 r[LANES];
            for (int n = 0; n < LANES; n++) r[n] = load(from + LANES * (i + n));
            transpose(r);
            for (int j = 0; j < LANES; j++)
                store((double *)y + rows->row[j] * stride + at + i, r[j]);
        }
    }
    for (int j = 0; j < rows->count; j++)
        for (int64_t i = whole; i < count; i++)
            put(y, rows->row[j] * stride + at + i, from[LANES * i + j], single);
}

/* Prefetch `count` samples from `at`: many short, separate streams defeat the hardware. */
INLINE void prefetch_rows(const void *x, const Rows *rows, int64_t stride, int64_t at,
                          int64_t count, int single) {
    for (int j = 0; j < rows->count; j++)
        for (int64_t i = 0; i < count; i += LINE_SAMPLES)
            prefetch(x, rows->row[j] * stride + at + i, single);
}

/* Samples of eight rows to lanes, or of the first row as they are. The samples that are `ahead` of
   them, if not 0, are needed next. */
INLINE void read_rows(const void *x, const Rows *rows, int64_t stride, int64_t at, int64_t count,
                      int64_t ahead, double *to, int lanes, int single) {
    if (lanes) {
        rows_to_lanes(x, rows, stride, at, count, to, single);
        if (ahead) prefetch_rows(x, rows, stride, at + ahead, count, single);
    } else {
        at += rows->row[0] * stride;
        for (int64_t i = 0; i < count; i++) to[i] = get(x, at + i, single);
    }
}

INLINE void write_rows(const double *from, void *y, const Rows *rows, int64_t stride, int64_t at,
                       int64_t count, int64_t ahead, int lanes, int single) {
    if (lanes) {
        lanes_to_rows(from, y, rows, stride, at, count, single);
        if (ahead) prefetch_rows(y, rows, stride, at + ahead, count, single);
    } else {
        at += rows->row[0] * stride;
        for (int64_t i = 0; i < count; i++) put(y, at + i, from[i], single);
    }
}

/* -- log2 and exp2 -------------------------------------------------------------------------- */

/* 1.5 * 2^52: adding it rounds to an integer, in the low bits. */
#define ROUNDER 6755399441055744.0
#define ROUNDER_BITS 0x4338000000000000
#define SQRT_HALF_BITS 0x3FE6A09E667F3BCD
#define ONE_BITS ((int64_t)1023 << 52)

INLINE m8 bits_of(v8 x) { return __builtin_bit_cast(m8, x); }
INLINE v8 of_bits(m8 x) { return __builtin_bit_cast(v8, x); }
INLINE m8 shift_right(m8 x, int by) {
    return __builtin_bit_cast(m8, __builtin_bit_cast(u8, x) >> (u8)(uint64_t)by);
}

/* Lowest power first. Estrin's scheme: the latency grows with the log of the degree. */
INLINE v8 polynomial(v8 x, const double *coefficients, int count) {
    v8 terms[16];
    for (int i = 0; i < count; i++) terms[i] = splat(coefficients[i]);
    for (v8 power = x; count > 1; power *= power) {
        for (int i = 0; i + 1 < count; i += 2) terms[i / 2] = fma_(terms[i + 1], power, terms[i]);
        if (count % 2) terms[count / 2] = terms[count - 1];
        count = (count + 1) / 2;
    }
    return terms[0];
}

/* Horner's scheme: the fewest operations, for loops with other samples to overlap. */
INLINE v8 horner(v8 x, const double *coefficients, int count) {
    v8 total = splat(coefficients[count - 1]);
    for (int i = count - 2; i >= 0; i--) total = fma_(total, x, splat(coefficients[i]));
    return total;
}

/* log2(1 + f) / f on sqrt(1/2) <= 1 + f < sqrt(2): interpolation at Chebyshev points, relative
   error 7.8e-14. */
static const double LOG2_SERIES[16] = {
    1.4426950408890524,  -0.7213475204462124,  0.4808983468711015,  -0.36067375951188296,
    0.28853902330508163, -0.2404492623018822,  0.20609838960888552, -0.18033187497677122,
    0.1603232695730357,  -0.1444142050221101,  0.13089265588126772, -0.11803157989277945,
    0.11108048187908302, -0.11895057618328995, 0.11427131919552941, -0.05607988304133264};
/* (2^r - 1) / r on -1/2 <= r <= 1/2, same method; 2^r then has a relative error of 3.7e-14. */
static const double EXP2_SERIES[9] = {
    0.6931471805599453,    0.2402265069581299,     0.055504108664760424,
    0.009618129159402558,  0.0013333558179043112,  0.00015403455852453838,
    1.525268684626772e-05, 1.3255224878668817e-06, 1.0203121063391729e-07};
/* For float32 samples. log2(1 + f) / f on 0 <= f <= 1, absolute error of the logarithm 4.1e-9: */
static const double LOG2_SHORT[10] = {
    1.4426950331796224,  -0.7213459716834143,  0.48084608051053457, -0.35997573044609954,
    0.2836810825850899,  -0.220294729642094,   0.1521123376265062,  -0.08132993166699029,
    0.02819390716590242, -0.004582081710072375};
/* and (2^r - 1) / r on -1/2 <= r <= 1/2, relative error of the power 5.5e-9. */
static const double EXP2_SHORT[6] = {0.6931471880262288,    0.24022650760568126,
                                     0.05550357114218079,   0.009618082557277852,
                                     0.0013390863364671234, 0.0001545316294512069};

/* log2 of positive normal numbers, as accurate as samples need: relative error below 1e-13 (near 1:
   1e-15 absolute), for float32 below 6e-9, at two thirds of the work. */
INLINE v8 log2_for(v8 x, int single) {
    m8 bits = bits_of(x);
    if (single) {
        v8 fraction = of_bits((bits & (((int64_t)1 << 52) - 1)) | ONE_BITS);
        v8 tagged = of_bits(shift_right(bits, 52) | (int64_t)ROUNDER_BITS);
        v8 f = fraction - 1.0;
        return fma_(f, horner(f, LOG2_SHORT, 10), tagged - (ROUNDER + 1023.0));
    }
    m8 shifted = bits + (ONE_BITS - SQRT_HALF_BITS); /* positive: a logical shift is enough */
    v8 fraction = of_bits(bits - ((shifted & -((int64_t)1 << 52)) - ONE_BITS));
    v8 tagged = of_bits(shift_right(shifted, 52) + (ROUNDER_BITS - 1023));
    v8 f = fraction - 1.0;
    return fma_(f, polynomial(f, LOG2_SERIES, 16), tagged - ROUNDER);
}

/* exp2 of numbers clamped to +-1000, as accurate as samples need; exp2(0) is 1. */
INLINE v8 exp2_for(v8 x, int single) {
    x = minimum(maximum(x, splat(-1000.0)), splat(1000.0));
    v8 tagged = x + ROUNDER;
    v8 rest = x - (tagged - ROUNDER);
    v8 series = single ? horner(rest, EXP2_SHORT, 6) : polynomial(rest, EXP2_SERIES, 9);
    v8 mantissa = fma_(rest, series, splat(1.0));
    return of_bits(bits_of(mantissa) + (bits_of(tagged) << (m8)52));
}

/* -- denormals ------------------------------------------------------------------------------ */

/* Make this thread treat denormals as zero; returns the previous mode. A decaying filter tail stays
   in denormals, at a hundred times the cost per sample. Does nothing on other processors. */
INLINE uint64_t flush_denormals(void) {
#if defined(__x86_64__)
    uint32_t mode = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(mode | 0x8040); /* FTZ and DAZ */
    return mode;
#elif defined(__aarch64__)
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" ::"r"(mode | (1 << 24))); /* FZ */
    return mode;
#else
    return 0;
#endif
}

INLINE void restore_denormals(uint64_t mode) {
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr((uint32_t)mode);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" ::"r"(mode));
#else
    (void)mode;
#endif
}

#endif
