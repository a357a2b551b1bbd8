/* Loops over the bins of short-time spectra and over blocks of samples, in float32.

   These loops may add in any order and contract; NaN and infinity keep their meaning. Spectra are
   rows of interleaved complex numbers, [frames, 2 bins]. */
#include "core.h"
#include "vector.h"

#define FAST _Pragma("clang fp reassociate(on) contract(fast)")
/* Two vectors in flight, for loops that wait for divisions. */
#define TWO_AT_ONCE _Pragma("clang loop interleave_count(2)")
#define POWER_FLOOR 1e-8f /* of |X|^2, so magnitudes end at 1e-4 */
#define FRAME_FLOOR 1e-10f

INLINE float root(float x) { return __builtin_elementwise_sqrt(x); }

/* ln of a normal positive number: exponent plus a polynomial, exactly 0 at 1. The minimax fit is
   that of (ln(1 + f) - f + f^2 / 2) / f^3 on [1/sqrt 2, sqrt 2] (error below 1e-7). */
INLINE float log_of(float x) {
    FAST int32_t bits = __builtin_bit_cast(int32_t, x), exponent = (bits - 0x3F3504F3) >> 23;
    float f =
        __builtin_bit_cast(float, (int32_t)((uint32_t)bits - ((uint32_t)exponent << 23))) - 1.0f;
    float t = 7.0376836292e-2f;
    t = t * f - 1.1514610310e-1f;
    t = t * f + 1.1676998740e-1f;
    t = t * f - 1.2420140846e-1f;
    t = t * f + 1.4249322787e-1f;
    t = t * f - 1.6668057665e-1f;
    t = t * f + 2.0000714765e-1f;
    t = t * f - 2.4999993993e-1f;
    t = t * f + 3.3333331174e-1f;
    float z = f * f;
    return (float)exponent * 0.6931471805599453f + (f - 0.5f * z + z * f * t);
}

/* Index into a signal that is mirrored about its first and last samples. */
static int64_t reflected(int64_t i, int64_t length) {
    if (length == 1) return 0;
    int64_t period = 2 * (length - 1);
    i = (i < 0 ? -i : i) % period;
    return i < length ? i : period - i;
}

/* Where frame f of a batch lies: every row of `length` has `per_row` centred frames, and the window
   stands `offset` into a frame of `size`. Its samples inside ... end - 1 are in the signal. */
typedef struct {
    int64_t row, start, inside, end;
} Frame;
INLINE Frame frame_at(int64_t f, int64_t per_row, int64_t length, int64_t hop, int64_t offset,
                      int64_t size, int64_t width) {
    int64_t start = f % per_row * hop - size / 2 + offset, inside = MIN(MAX(0, -start), width);
    return (Frame){f / per_row * length, start, inside, MAX(inside, MIN(width, length - start))};
}

/* Windowed frames first, first + 1, ... of mirrored signals, with zeros around the window. */
RT_API void rt_write_frames(const float *signals, const float *window, float *out, int64_t length,
                            int64_t width, int64_t first, int64_t per_row, int64_t hop,
                            int64_t offset, int64_t count, int64_t size) {
    for (int64_t f = 0; f < count; f++) {
        Frame at = frame_at(first + f, per_row, length, hop, offset, size, width);
        const float *signal = signals + at.row;
        float *row = out + f * size, *part = row + offset;
        for (int64_t i = 0; i < offset; i++) row[i] = 0.0f;
        for (int64_t i = offset + width; i < size; i++) row[i] = 0.0f;
        for (int64_t i = 0; i < at.inside; i++)
            part[i] = signal[reflected(at.start + i, length)] * window[i];
        for (int64_t i = at.inside; i < at.end; i++) part[i] = signal[at.start + i] * window[i];
        for (int64_t i = at.end; i < width; i++)
            part[i] = signal[reflected(at.start + i, length)] * window[i];
    }
}

/* Adjoint of write_frames: adds to the signals. */
RT_API void rt_overlap_add(const float *frames, const float *window, float *signals, int64_t length,
                           int64_t width, int64_t first, int64_t per_row, int64_t hop,
                           int64_t offset, int64_t count, int64_t size) {
    FAST for (int64_t f = 0; f < count; f++) {
        Frame at = frame_at(first + f, per_row, length, hop, offset, size, width);
        const float *part = frames + f * size + offset;
        float *signal = signals + at.row;
        for (int64_t i = 0; i < at.inside; i++)
            signal[reflected(at.start + i, length)] += part[i] * window[i];
        for (int64_t i = at.inside; i < at.end; i++) signal[at.start + i] += part[i] * window[i];
        for (int64_t i = at.end; i < width; i++)
            signal[reflected(at.start + i, length)] += part[i] * window[i];
    }
}

/* max(|X|^2, floor); NaN stays NaN. */
INLINE float floored(float re, float im) {
    FAST float p = re * re + im * im;
    return p < POWER_FLOOR ? POWER_FLOOR : p;
}

RT_API void rt_power(const float *spectrum, float *out, int64_t count, int64_t bins) {
    for (int64_t k = 0; k < count * bins; k++)
        out[k] = floored(spectrum[2 * k], spectrum[2 * k + 1]);
}

/* Adds (M - M')^2 and M'^2 to two sums, with the target's power M'^2. */
RT_API void rt_convergence_sums(const float *spectrum, const float *target, double *sums,
                                int64_t count, int64_t bins) {
    FAST for (int64_t f = 0; f < count; f++, spectrum += 2 * bins, target += bins) {
        float difference = 0.0f, energy = 0.0f;
        for (int64_t k = 0; k < bins; k++) {
            float x = root(floored(spectrum[2 * k], spectrum[2 * k + 1])) - root(target[k]);
            difference += x * x;
            energy += target[k];
        }
        sums[0] += (double)difference, sums[1] += (double)energy;
    }
}

/* One frame of rt_compare. With p = max(|X|^2, floor) of the estimate and q of the target:

       |ln M - ln M'| = |ln(p / q)| / 2        |M - M'| = |sqrt p - sqrt q|
       d/dX = (c_log / p + c_linear / M) sign(p - q) X + c_convergence (M - M') / M X,  0 at the
   floor */
INLINE void compare_frame(float *x, const float *target, int64_t bins, const float *c, double *sums,
                          int powers, int gradient) {
    FAST float logs = 0.0f, differences = 0.0f;
    TWO_AT_ONCE
    for (int64_t k = 0; k < bins; k++) {
        float re = x[2 * k], im = x[2 * k + 1], power = re * re + im * im;
        float p = power < POWER_FLOOR ? POWER_FLOOR : power;
        float q = powers ? target[k] : floored(target[2 * k], target[2 * k + 1]);
        float m = root(p), inverse = 1.0f / m, d = m - root(q);
        logs += __builtin_elementwise_abs(log_of(p / q));
        differences += __builtin_elementwise_abs(d);
        if (gradient) {
            float sign = p > q ? 1.0f : p < q ? -1.0f : 0.0f;
            float g = 0.5f * inverse * (sign * (c[0] * inverse + c[1]) + c[2] * d);
            g = power >= POWER_FLOOR ? g : 0.0f;
            x[2 * k] = g * re, x[2 * k + 1] = g * im;
        }
    }
    if (gradient) x[0] *= 2.0f, x[2 * bins - 2] *= 2.0f, x[1] = x[2 * bins - 1] = 0.0f;
    sums[0] += 0.5 * (double)logs, sums[1] += (double)differences;
}

/* Adds |ln M - ln M'| and |M - M'| to `sums` [R, 2] of the frames' rows. The target is a spectrum
   too, or the result of rt_power (`powers`). With `gradient` each bin of the spectrum turns into
   its derivative with the weights c_log, c_linear, c_convergence, halved between the edges so that
   an unscaled inverse real FFT (which counts those bins twice) is the adjoint of the forward FFT.
 */
RT_API void rt_compare(float *spectrum, const float *target, double *sums, double c_log,
                       double c_linear, double c_convergence, int64_t first, int64_t per_row,
                       int64_t count, int64_t bins, int32_t powers, int32_t gradient) {
    const float c[3] = {(float)c_log, (float)c_linear, (float)c_convergence};
    for (int64_t f = 0; f < count; f++) {
        float *x = spectrum + 2 * bins * f;
        const float *y = target + (powers ? 1 : 2) * bins * f;
        double *to = sums + (first + f) / per_row * 2;
        if (powers && gradient) compare_frame(x, y, bins, c, to, 1, 1);
        else if (powers) compare_frame(x, y, bins, c, to, 1, 0);
        else if (gradient) compare_frame(x, y, bins, c, to, 0, 1);
        else compare_frame(x, y, bins, c, to, 0, 0);
    }
}

/* Powers of every bin, and per frame the sum and the frequency moment of the magnitudes. */
RT_API void rt_frame_powers(const float *spectrum, const float *frequency, float *power,
                            float *magnitudes, double scale, int64_t count, int64_t bins) {
    FAST for (int64_t f = 0; f < count; f++, spectrum += 2 * bins, power += bins) {
        float total = 0.0f, moment = 0.0f;
        for (int64_t k = 0; k < bins; k++) {
            float re = spectrum[2 * k], im = spectrum[2 * k + 1];
            float p = (re * re + im * im) * (float)scale, m = root(p + FRAME_FLOOR);
            power[k] = p;
            total += m;
            moment += m * frequency[k];
        }
        magnitudes[2 * f] = total, magnitudes[2 * f + 1] = moment;
    }
}

/* The spectrum whose unscaled inverse transform is the gradient of the windowed frames. */
RT_API void rt_frame_gradient(const float *spectrum, const float *frequency, const float *grad,
                              const float *grad_magnitudes, float *out, double scale, int64_t count,
                              int64_t bins) {
    FAST for (int64_t f = 0; f < count; f++, spectrum += 2 * bins, grad += bins, out += 2 * bins) {
        float by_total = 0.5f * grad_magnitudes[2 * f],
              by_moment = 0.5f * grad_magnitudes[2 * f + 1];
        TWO_AT_ONCE
        for (int64_t k = 0; k < bins; k++) {
            float re = spectrum[2 * k], im = spectrum[2 * k + 1];
            float m = root((re * re + im * im) * (float)scale + FRAME_FLOOR);
            float g = (grad[k] + (by_total + by_moment * frequency[k]) / m) * (float)scale;
            out[2 * k] = g * re, out[2 * k + 1] = g * im;
        }
        out[0] *= 2.0f, out[2 * bins - 2] *= 2.0f; /* the inverse counts all other bins twice */
        out[1] = out[2 * bins - 1] = 0.0f;
    }
}

static float energy_of(const float *x, int64_t count) {
    FAST float total = 0.0f;
    for (int64_t i = 0; i < count; i++) total += x[i] * x[i];
    return total;
}

/* Index of the first sample of the largest absolute value. */
static int64_t peak_of(const float *x, int64_t length) {
    float peak = -1.0f;
    int64_t at = 0;
    for (int64_t start = 0; start < length; start += 256) {
        int64_t count = MIN(256, length - start), i = 0;
        float lanes[16] = {0}, highest = 0.0f;
        for (; i + 16 <= count; i += 16)
            for (int j = 0; j < 16; j++)
                lanes[j] = MAX(__builtin_elementwise_abs(x[start + i + j]), lanes[j]);
        for (; i < count; i++) highest = MAX(__builtin_elementwise_abs(x[start + i]), highest);
        for (int j = 0; j < 16; j++) highest = MAX(lanes[j], highest);
        if (highest > peak) peak = highest, at = start;
    }
    while (at < length - 1 && __builtin_elementwise_abs(x[at]) != peak) at++;
    return at;
}

/* Mean squares of the blocks of every size, grouped by size, [B, K]; mean square and peak of the
   clip [B, 2]; index of the peak [B]. */
RT_API void rt_block_levels(const float *x, const int64_t *sizes, float *blocks, float *whole,
                            int64_t *peaks, int64_t batch, int64_t length, int64_t kinds) {
    for (int64_t b = 0; b < batch; b++, x += length) {
        for (int64_t s = 0; s < kinds; s++)
            for (int64_t k = 0; k < length / sizes[s]; k++)
                *blocks++ = energy_of(x + k * sizes[s], sizes[s]) / (float)sizes[s];
        double energy = 0.0;
        for (int64_t start = 0; start < length; start += 4096)
            energy += (double)energy_of(x + start, MIN(4096, length - start));
        peaks[b] = peak_of(x, length);
        whole[2 * b] = (float)(energy / (double)length);
        whole[2 * b + 1] = __builtin_elementwise_abs(x[peaks[b]]);
    }
}

RT_API void rt_block_levels_adjoint(const float *x, const int64_t *sizes, const float *grad_blocks,
                                    const float *grad_whole, const int64_t *peaks, float *out,
                                    int64_t batch, int64_t length, int64_t kinds) {
    for (int64_t b = 0; b < batch; b++, x += length, out += length) {
        float by_mean = grad_whole[2 * b] * (float)(2.0 / (double)length);
        for (int64_t i = 0; i < length; i++) out[i] = by_mean;
        for (int64_t s = 0; s < kinds; s++)
            for (int64_t k = 0; k < length / sizes[s]; k++) {
                float slope = *grad_blocks++ * (float)(2.0 / (double)sizes[s]);
                for (int64_t i = k * sizes[s]; i < (k + 1) * sizes[s]; i++) out[i] += slope;
            }
        for (int64_t i = 0; i < length; i++) out[i] *= x[i];
        float top = x[peaks[b]];
        out[peaks[b]] += grad_whole[2 * b + 1] * (float)((top > 0) - (top < 0));
    }
}
