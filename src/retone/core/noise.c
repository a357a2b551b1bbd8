/* Noise reduction: the formulas are those of retone/effects/noise_reduction.py.

   `c` holds, in this order, the shares that are kept of the noise, of the mean probability of
   speech and of the signal-to-noise ratio; factor and bias of the probability of speech, and where
   it is sure; the least ratio; the floor of the noise's power; how fast the start is forgotten; the
   factor on the noise, and the least gain in nepers. */
#include <math.h>

#include "core.h"
#include "fft.h"
#include "vector.h"

#define OVERLAP 4
#define TINY 1e-200 /* smaller numbers would soon be denormal */

/* powers [bins] of a frame become its gains; `noise`, `speech` and `before` [bins] are carried on */
static void frame_gains(double *power, double *noise, double *speech, double *before,
                        const double *c, double least, double known, int64_t bins) {
    double keep_noise = c[0], keep_speech = c[1], keep_ratio = c[2], steep = c[3], bias = c[4];
    double sure = c[5], least_ratio = c[6], floor = c[7], louder = c[9];
    for (int64_t k = 0; k < bins; k++) {
        double now = power[k], old = noise[k];
        double probability = 1.0 / (1.0 + exp(bias - steep * now / (old + floor)));
        speech[k] += (1.0 - keep_speech) * (probability - speech[k]);
        probability = known * (speech[k] > sure ? MIN(probability, sure) : probability);
        double level = old + (1.0 - keep_noise) * (1.0 - probability) * (now - old);
        noise[k] = level = level < TINY ? 0.0 : level;
        double inverse = 1.0 / (louder * level + floor);
        double fresh = now * inverse - 1.0;
        fresh = fresh < 0.0 ? 0.0 : fresh;
        double ratio = keep_ratio * before[k] * inverse + (1.0 - keep_ratio) * fresh;
        ratio = ratio < least_ratio ? least_ratio : ratio;
        double share = ratio / (1.0 + ratio);
        before[k] = share * share * now;
        power[k] = share + (1.0 - share) * least;
    }
}

/* frame_gains of frames [frames, bins] with known [frames] and no least gain */
RT_API void rt_noise_gains(double *power, double *noise, double *speech, double *before,
                           const double *known, const double *c, int64_t frames, int64_t bins) {
    for (int64_t f = 0; f < frames; f++)
        frame_gains(power + f * bins, noise, speech, before, c, 0.0, known[f], bins);
}

RT_API int64_t rt_noise_scratch(int64_t channels, int64_t size) {
    return (channels + 1) / 2 * 2 * size + 2 * size + size / 2 + 1;
}

/* What a frame of `past` [C, size] holds too much is added to `removed` [C, size]. Two channels
   share a transform as real and imaginary part; a gain is the same for both. */
static void frame(const double *past, double *removed, double *noise, double *speech,
                  double *before, double *known, const double *c, const double *window,
                  const double *table, double *scratch, int64_t channels, int64_t size) {
    int64_t pairs = (channels + 1) / 2, half = size / 2;
    double *work = scratch + 2 * pairs * size, *power = work + 2 * size;
    for (int64_t k = 0; k <= half; k++) power[k] = 0.0;
    for (int64_t p = 0; p < pairs; p++) {
        double *re = scratch + 2 * p * size, *im = re + size;
        const double *left = past + 2 * p * size, *right = left + size;
        int two = 2 * p + 1 < channels;
        for (int64_t i = 0; i < size; i++) {
            re[i] = left[i] * window[i], im[i] = two ? right[i] * window[i] : 0.0;
        }
        fft(re, im, work, table, size);
        for (int64_t k = 0; k <= half; k++) {
            int64_t l = (size - k) % size;
            double both = re[k] * re[k] + im[k] * im[k] + re[l] * re[l] + im[l] * im[l];
            power[k] += 0.5 * both / (double)channels;
        }
    }
    double least = exp(-*known * *known * c[10]);
    frame_gains(power, noise, speech, before, c, least, *known, half + 1);
    *known = 1.0 - (1.0 - *known) * c[8];
    double scale = 2.0 / OVERLAP / (double)size;
    for (int64_t p = 0; p < pairs; p++) {
        double *re = scratch + 2 * p * size, *im = re + size;
        double *left = removed + 2 * p * size, *right = left + size;
        for (int64_t k = 0; k < size; k++) {
            double less = 1.0 - power[k <= half ? k : size - k];
            re[k] *= less, im[k] *= less;
        }
        fft(im, re, work, table, size);
        int two = 2 * p + 1 < channels;
        for (int64_t i = 0; i < size; i++) {
            left[i] += re[i] * window[i] * scale;
            if (two) right[i] += im[i] * window[i] * scale;
        }
    }
}

static void move_on(double *row, int64_t size, int64_t by) {
    for (int64_t i = 0; i < size - by; i++) row[i] = row[i + by];
    for (int64_t i = size - by; i < size; i++) row[i] = 0.0;
}

/* x [C, T] in place, late by a frame of `size` samples, a power of two. Zeros at the start: past and
   removed [C, size]; noise, speech and before [size / 2 + 1]; at [2], how many samples came since
   the last frame, and how much is known. window [size], table [size] of rt_fft_table. */
RT_API void rt_noise_forward(double *x, double *past, double *removed, double *noise,
                             double *speech, double *before, double *at, const double *c,
                             const double *window, const double *table, double *scratch,
                             int64_t channels, int64_t length, int64_t size) {
    int64_t hop = size / OVERLAP, late = (int64_t)at[0];
    for (int64_t done = 0; done < length;) {
        int64_t n = MIN(hop - late, length - done);
        for (int64_t ch = 0; ch < channels; ch++) {
            double *io = x + ch * length + done, *row = past + ch * size;
            double *less = removed + ch * size;
            for (int64_t i = 0; i < n; i++) scratch[i] = io[i], io[i] = row[i] - less[i];
            move_on(row, size, n), move_on(less, size, n);
            for (int64_t i = 0; i < n; i++) row[size - n + i] = scratch[i];
        }
        done += n, late += n;
        if (late < hop) continue;
        late = 0;
        frame(past, removed, noise, speech, before, at + 1, c, window, table, scratch, channels,
              size);
    }
    at[0] = (double)late;
}
