/* Convolution with long impulse responses in blocks of 128 samples without latency, and the filter
   of the curve equaliser.

   The impulse response is cut into parts of one block. Every part's spectrum is multiplied with
   that of the input block it meets, and the sum transformed back (uniformly partitioned
   overlap-save). Two channels share the transforms as real and imaginary part, since the response
   is real. */
#include <math.h>

#include "core.h"
#include "fft.h"
#include "vector.h"

#define PART 128 /* samples of a block and of a part */
#define SIZE (2 * PART)
#define BINS (2 * SIZE) /* numbers of a spectrum: real parts, imaginary parts */
#define NEPER_PER_DB 0.11512925464970229
#define FADE 0.25 /* share of the reach over which a curve's filter fades out */
#define PI 3.141592653589793

/* table [size], a power of two */
RT_API void rt_fft_table(double *table, int64_t size) {
    for (int64_t i = 0; i < size / 2; i++) {
        double angle = -2 * PI * (double)i / (double)size;
        table[i] = cos(angle), table[size / 2 + i] = sin(angle);
    }
}

/* spectra [ceil(count / 128), 512], table [256], scratch [512] */
RT_API void rt_fir_spectra(const double *taps, double *spectra, const double *table,
                           double *scratch, int64_t count) {
    for (int64_t at = 0; at < count; at += PART, spectra += BINS) {
        for (int64_t i = 0; i < BINS; i++)
            spectra[i] = i < MIN(PART, count - at) ? taps[at + i] / SIZE : 0.0;
        fft(spectra, spectra + SIZE, scratch, table, SIZE);
    }
}

/* x [C, 128], C <= 2, changed; state [257 + 512 parts], zeros at the start; scratch [1024] */
RT_API void rt_fir_block(double *x, const double *spectra, double *state, const double *table,
                         double *scratch, int64_t channels, int64_t parts) {
    double *past = state + 1, *inputs = past + SIZE, *re = scratch, *im = re + SIZE;
    double *work = im + SIZE;
    int64_t newest = (int64_t)state[0];
    newest = newest == 0 ? parts - 1 : newest - 1;
    state[0] = (double)newest;
    double *input = inputs + BINS * newest;
    for (int64_t c = 0; c < 2; c++)
        for (int64_t i = 0; i < PART; i++) {
            double now = c < channels ? x[PART * c + i] : 0.0;
            input[SIZE * c + i] = past[PART * c + i], input[SIZE * c + PART + i] = now;
            past[PART * c + i] = now;
        }
    fft(input, input + SIZE, work, table, SIZE);
    for (int64_t i = 0; i < BINS; i++) re[i] = 0.0;
    for (int64_t p = 0; p < parts; p++, spectra += BINS) {
        const double *a = inputs + BINS * ((newest + p) % parts);
        for (int64_t i = 0; i < SIZE; i++) {
            re[i] += a[i] * spectra[i] - a[SIZE + i] * spectra[SIZE + i];
            im[i] += a[i] * spectra[SIZE + i] + a[SIZE + i] * spectra[i];
        }
    }
    fft(im, re, work, table, SIZE); /* exchanged parts: the inverse */
    for (int64_t c = 0; c < channels; c++)
        for (int64_t i = 0; i < PART; i++) x[PART * c + i] = re[SIZE * c + PART + i];
}

/* The spline of retone.effects.curve_equalizer at a place between its points, in dB. */
static double spline(const double *gains, int64_t points, double place) {
    int64_t left = MIN((int64_t)place, points - 2);
    double u = place - (double)left, g[4];
    for (int64_t i = 0; i < 4; i++) g[i] = gains[MIN(MAX(left + i - 1, 0), points - 1)];
    return (u * ((2 - u) * u - 1) * g[0] + (u * u * (3 * u - 5) + 2) * g[1] +
            u * ((4 - 3 * u) * u + 1) * g[2] + u * u * (u - 1) * g[3]) /
           2;
}

/* Four times the reach as transform length keeps the cepstrum's aliasing below 0.01 dB. */
RT_API int64_t rt_curve_size(int64_t reach) {
    int64_t size = 1;
    while (size < 4 * reach) size *= 2;
    return size;
}

/* gains_db [points], three an octave from lowest_hz on; taps [reach], or [2 reach + 1] if linear;
   table [size], scratch [4 size] */
RT_API void rt_curve_taps(const double *gains_db, double *taps, const double *table,
                          double *scratch, int64_t points, int64_t reach, double lowest_hz,
                          double rate, int32_t linear) {
    int64_t size = rt_curve_size(reach), half = size / 2,
            fading = (int64_t)ceil(FADE * (double)reach);
    double *re = scratch, *im = re + size, *work = im + size;
    for (int64_t i = 0; i <= half; i++) {
        double place = 3 * log2(MAX((double)i * rate / (double)size, 1e-3) / lowest_hz);
        place = MIN(MAX(place, 0.0), (double)(points - 1));
        double neper = spline(gains_db, points, place) * NEPER_PER_DB;
        re[i] = re[(size - i) % size] = (linear ? expm1(neper) : neper) / (double)size;
        im[i] = im[(size - i) % size] = 0.0;
    }
    fft(re, im, work, table, size);
    if (!linear) { /* the cepstrum, folded onto positive times, gives the minimum phase */
        for (int64_t i = 0; i < size; i++)
            re[i] *= i % half == 0 ? 1 : i < half ? 2 : 0, im[i] = 0.0;
        fft(re, im, work, table, size);
        for (int64_t i = 0; i <= half; i++) {
            double gain = exp(re[i]) / (double)size, phase = im[i];
            re[i] = re[(size - i) % size] = gain * cos(phase) - 1 / (double)size;
            im[i] = gain * sin(phase), im[(size - i) % size] = -im[i];
        }
        fft(im, re, work, table, size);
    }
    for (int64_t i = 0; i < reach + linear; i++) {
        int64_t late = MAX(0, (linear ? i : i + 1) - (reach - fading));
        double angle = PI / 2 * (double)late / (double)(fading + 1);
        taps[linear * reach + i] = re[i] * cos(angle) * cos(angle);
    }
    for (int64_t i = 1; linear && i <= reach; i++) taps[reach - i] = taps[reach + i];
    taps[linear * reach] += 1.0;
}
