/* Meters, the limiter's gain, and rounding to integers. */
#include <math.h>

#include "core.h"
#include "vector.h"

#define HALF_TAPS 12 /* samples of the interpolator on each side */
#define SEGMENT 128

#define SAMPLE float
#include "true_peak.h"
#undef SAMPLE
#define SAMPLE double
#include "true_peak.h"
#undef SAMPLE

RT_API double rt_true_peak(const void *x, const double *taps, int64_t width, int64_t phases,
                           double bound, double peak, int32_t single) {
    if (single) return largest_between_float(x, width, taps, phases, (float)bound, (float)peak);
    return largest_between_double(x, width, taps, phases, bound, peak);
}

RT_API void rt_limiter_peaks(const void *x, const double *taps, void *points, void *sample,
                             int64_t channels, int64_t width, int64_t phases, double bound,
                             double ceiling, int32_t single) {
    if (single)
        peaks_float(x, channels, width, taps, phases, (float)bound, (float)ceiling, points, sample);
    else peaks_double(x, channels, width, taps, phases, bound, ceiling, points, sample);
}

/* Gain reduction of every sample as a sum of integer steps, `one` of which are a gain of 1: moving
   averages of integers are exact.

   Kept between blocks: ints (time, queue head, queue tail, three ring places, three box sums),
   floats (last gap's peak, reduction under release), the queue [size, 2] (time, need), the rings
   [3, length]. */
RT_API void rt_limiter_gain(const void *points, const void *sample, int64_t *ints, double *floats,
                            int64_t *queue, int64_t *rings, int64_t *out, int64_t count,
                            int64_t size, int64_t length, int64_t hold, int64_t one, double ceiling,
                            double target, double release, int32_t single) {
    int64_t *sums = ints + 6;
    int rest = !sums[0] && !sums[1] && !sums[2] && floats[1] == 0.0;
    for (int64_t i = 0; i < count; i++) {
        double point = get(points, i, single), peak = get(sample, i, single);
        peak = MAX(peak, MAX(floats[0], point));
        floats[0] = point;
        int64_t need = peak > ceiling ? (int64_t)ceil((1.0 - target / peak) * (double)one) : 0;
        int64_t now = ints[0], head = ints[1], tail = ints[2];
        if (rest && need == 0) { /* all sums stay 0; nothing in the queue needs reduction */
            ints[0] = now + 1, ints[1] = tail;
            out[i] = 0;
            continue;
        }
        /* largest need of the last `hold` samples: a queue of falling candidates */
        while (tail > head && queue[(tail - 1) % size * 2 + 1] <= need) tail--;
        queue[tail % size * 2] = now, queue[tail % size * 2 + 1] = need;
        tail++;
        while (queue[head % size * 2] <= now - hold) head++;
        ints[0] = now + 1, ints[1] = head, ints[2] = tail;
        double largest = (double)queue[head % size * 2 + 1], level = floats[1];
        /* instant attack, slow release; the last millionth is dropped: the gain returns to 1 */
        level = largest >= level ? largest : level + release * (largest - level);
        if (largest == 0.0 && level < 1e-6 * (double)one) level = 0.0;
        floats[1] = level;
        /* three moving averages: a smooth curve that reaches its target when the peak arrives */
        int64_t value = (int64_t)ceil(level);
        for (int b = 0; b < 3; b++) {
            int64_t at = ints[3 + b];
            sums[b] += value - rings[b * length + at];
            rings[b * length + at] = value;
            ints[3 + b] = at + 1 < length ? at + 1 : 0;
            value = sums[b];
        }
        out[i] = value;
        rest = need == 0 && level == 0.0 && !sums[0] && !sums[1] && !sums[2];
    }
}

/* K-weighted energy per hop of one channel. kw: two sections b0 b1 b2 a1 a2. state: four filter
   memories and the energy of the hop under way. sums: of x and of x squared. edges: where the hops
   of this block end. */
RT_API void rt_k_weighted(const void *x, const double *kw, double *state, double *sums,
                          const int64_t *edges, double *out, int64_t count, int64_t hops,
                          int32_t single) {
    /* y is substituted in the state updates (y = b0 v + s1), which shortens the dependency chain */
    double b0 = kw[0], a1 = kw[3], a2 = kw[4], e1 = kw[1] - a1 * b0, e2 = kw[2] - a2 * b0;
    double c1 = kw[8], c2 = kw[9], d1 = -2.0 - c1, d2 = 1.0 - c2;
    double s1 = state[0], s2 = state[1], s3 = state[2], s4 = state[3], energy = state[4];
    double total = sums[0], square = sums[1];
    int64_t n = 0;
    for (int64_t hop = 0; hop <= hops; hop++) {
        int64_t stop = hop < hops ? edges[hop] : count;
        for (; n < stop; n++) {
            double v = get(x, n, single);
            total += v;
            square += v * v;
            double y = b0 * v + s1;
            double t1 = (e1 * v + s2) - a1 * s1, t3;
            s2 = e2 * v - a2 * s1, s1 = t1;
            double z = y + s3;
            t3 = (d1 * y + s4) - c1 * s3;
            s4 = d2 * y - c2 * s3, s3 = t3;
            energy += z * z;
        }
        if (hop < hops) {
            out[hop] = energy;
            energy = 0.0;
            /* decaying states go to zero before they become denormal */
            if (fabs(s1) + fabs(s2) + fabs(s3) + fabs(s4) < 1e-100) s1 = s2 = s3 = s4 = 0.0;
        }
    }
    state[0] = s1, state[1] = s2, state[2] = s3, state[3] = s4, state[4] = energy;
    sums[0] = total, sums[1] = square;
}

/* Whether the next eight samples lie below a bound: those of a waveform mostly do. */
INLINE int all_below(const void *x, int64_t at, double sign, double bound, int single) {
    m8 here = (sign * get8(x, at, single)) < bound;
    return __builtin_reduce_and(here) != 0;
}

/* Count samples in flat tops at the largest value so far, of one polarity of one channel. s:
   largest value, length of the run under way, whether its start was a corner, the sample before,
   samples counted in finished runs. */
RT_API void rt_flat_tops(const void *x, double *s, int64_t count, double sign, double step,
                         double corner_steps, double least_run, int32_t single) {
    double top = s[0], run = s[1], corner = s[2], before = s[3], counted = s[4];
    for (int64_t n = 0; n < count; n++) {
        while (run == 0.0 && n + LANES < count && all_below(x, n, sign, top - 0.5 * step, single))
            n += LANES, before = sign * get(x, n - 1, single);
        double v = sign * get(x, n, single);
        if (v > top + 0.5 * step) {
            top = v, run = 1.0, counted = 0.0; /* earlier tops did not clip */
            corner = v - before > corner_steps * step;
        } else if (v >= top - 0.5 * step) {
            if (run == 0.0) corner = v - before > corner_steps * step;
            run += 1.0;
        } else if (run > 0.0) {
            if (run >= least_run && (corner > 0.0 || top - v > corner_steps * step)) counted += run;
            run = 0.0;
        }
        before = v;
    }
    s[0] = top, s[1] = run, s[2] = corner, s[3] = before, s[4] = counted;
}

typedef int32_t i8 __attribute__((ext_vector_type(8)));
typedef i8 i8_unaligned __attribute__((aligned(4)));

/* `count` samples, and zeros. */
INLINE v8 some8(const void *x, int64_t at, int64_t count, int single) {
    v8 found = splat(0.0);
    if (count >= LANES) return get8(x, at, single);
    for (int j = 0; j < count; j++) found[j] = get(x, at + j, single);
    return found;
}

/* Bitwise or of all magnitudes as `bits`-bit integers; -1 if one is between two steps. */
RT_API int64_t rt_used_bits(const void *x, int64_t count, int64_t bits, int32_t single) {
    m8 seen = 0;
    double scale = ldexp(1.0, (int)bits - 1);
    for (int64_t n = 0; n < count; n += LANES) {
        v8 value = some8(x, n, count - n, single) * scale;
        v8 whole = __builtin_elementwise_rint(value), size = __builtin_elementwise_abs(whole);
        if (!__builtin_reduce_and((whole == value) & (size < 9e18))) return -1;
        seen |= __builtin_convertvector(size, m8);
    }
    return __builtin_reduce_or(seen);
}

#define GOLDEN 0x9E3779B97F4A7C15u

/* Numbers in [1, 2) from counters times GOLDEN (the SplitMix64 finaliser). */
INLINE v8 uniform(u8 z) {
    z = (z ^ (z >> (u8)30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> (u8)27)) * 0x94D049BB133111EBu;
    z ^= z >> (u8)31;
    return of_bits(__builtin_bit_cast(m8, z >> (u8)12) | ONE_BITS);
}

typedef struct {
    double scale, low, high;
    uint64_t seed;
    u8 steps; /* of the counters from lane to lane */
    int bits, dither;
    m8 clipped;
} Quantiser;

/* Eight samples, left-justified; `place` is the number of the first. */
INLINE i8 rounded(Quantiser *q, v8 value, uint64_t place) {
    value *= q->scale;
    v8 whole = __builtin_elementwise_rint(value);
    if (q->dither) {
        uint64_t first = (q->seed + 2 * place + 1) * GOLDEN;
        v8 noise = uniform(first + q->steps) - uniform(first + GOLDEN + q->steps);
        whole = whole != value ? __builtin_elementwise_rint(value + noise) : whole;
    }
    q->clipped -=
        ((whole > q->high) & (value > q->high + 0.5)) | ((whole < q->low) & (value < q->low - 0.5));
    whole = minimum(maximum(whole == whole ? whole : 0.0, splat(q->low)), splat(q->high));
    return __builtin_convertvector(whole, i8) << (i8)(32 - q->bits);
}

INLINE void quantise(Quantiser *q, const void *x, int32_t *out, int64_t channels, int64_t frames,
                     int64_t start, int single) {
    for (int64_t n = 0; n < frames; n += LANES) {
        int64_t count = MIN(LANES, frames - n);
        uint64_t place = (uint64_t)(start + n) * (uint64_t)channels;
        i8 before = 0;
        for (int64_t c = 0; c < channels; c++, place++) {
            i8 found = rounded(q, some8(x, c * frames + n, count, single), place);
            int32_t *to = out + n * channels + c;
            if (count == LANES && channels == 1) {
                *(i8_unaligned *)to = found;
            } else if (count == LANES && channels == 2 && c == 1) { /* interleaved */
                i8_unaligned *pairs = (i8_unaligned *)(to - 1);
                pairs[0] = __builtin_shufflevector(before, found, 0, 8, 1, 9, 2, 10, 3, 11);
                pairs[1] = __builtin_shufflevector(before, found, 4, 12, 5, 13, 6, 14, 7, 15);
            } else if (count < LANES || channels > 2) {
                for (int j = 0; j < count; j++) to[j * channels] = found[j];
            }
            before = found;
        }
    }
}

/* Round [channels, frames] to `bits` bits, left-justified in int32 [frames, channels]; returns how
   many samples were beyond full scale. `start`: frames before this block. */
RT_API int64_t rt_quantise(const void *x, int32_t *out, int64_t channels, int64_t frames,
                           int64_t bits, int64_t seed, int64_t start, int32_t dither,
                           int32_t single) {
    double scale = ldexp(1.0, (int)bits - 1);
    Quantiser q = {.scale = scale, .low = -scale, .high = scale - 1.0, .bits = (int)bits};
    q.dither = dither, q.seed = (uint64_t)seed << 40;
    q.steps = (u8){0, 1, 2, 3, 4, 5, 6, 7} * (2 * (uint64_t)channels * GOLDEN);
    if (channels == 1) quantise(&q, x, out, 1, frames, start, single);
    else if (channels == 2) quantise(&q, x, out, 2, frames, start, single);
    else quantise(&q, x, out, channels, frames, start, single);
    return __builtin_reduce_add(q.clipped);
}
