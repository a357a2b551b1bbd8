#ifndef RETONE_FFT_H
#define RETONE_FFT_H

#include <stdint.h>

#include "vector.h"

/* A pass with a constant stride: the first ones are so short inside that they are unrolled. */
INLINE void short_pass(const double *restrict from_re, const double *restrict from_im,
                       double *restrict to_re, double *restrict to_im, const double *table,
                       int64_t size, int64_t half, int64_t stride) {
    for (int64_t p = 0; p < half; p++) {
        double c = table[p * stride], s = table[size / 2 + p * stride];
        for (int64_t q = 0; q < stride; q++) {
            int64_t a = stride * p + q, b = a + stride * half, y = 2 * stride * p + q;
            double dr = from_re[a] - from_re[b], di = from_im[a] - from_im[b];
            to_re[y] = from_re[a] + from_re[b], to_im[y] = from_im[a] + from_im[b];
            to_re[y + stride] = dr * c - di * s, to_im[y + stride] = dr * s + di * c;
        }
    }
}

/* Stockham's transform of `size` complex numbers, a power of two, in place; `work` has 2 size, and
   `table` is that of rt_fft_table. Exchanged parts give the inverse, times the size. */
static void fft(double *re, double *im, double *work, const double *table, int64_t size) {
    double *from_re = re, *from_im = im, *to_re = work, *to_im = work + size;
    for (int64_t half = size / 2, stride = 1; half > 0; half /= 2, stride *= 2) {
        if (stride == 1) short_pass(from_re, from_im, to_re, to_im, table, size, half, 1);
        else if (stride == 2) short_pass(from_re, from_im, to_re, to_im, table, size, half, 2);
        else if (stride == 4) short_pass(from_re, from_im, to_re, to_im, table, size, half, 4);
        else for (int64_t p = 0; p < half; p++) {
            double c = table[p * stride], s = table[size / 2 + p * stride];
            const double *ar = from_re + stride * p, *ai = from_im + stride * p;
            const double *br = ar + stride * half, *bi = ai + stride * half;
            double *yr = to_re + 2 * stride * p, *yi = to_im + 2 * stride * p;
            for (int64_t q = 0; q < stride; q++) {
                double dr = ar[q] - br[q], di = ai[q] - bi[q];
                yr[q] = ar[q] + br[q], yi[q] = ai[q] + bi[q];
                yr[stride + q] = dr * c - di * s, yi[stride + q] = dr * s + di * c;
            }
        }
        double *was_re = from_re, *was_im = from_im;
        from_re = to_re, from_im = to_im, to_re = was_re, to_im = was_im;
    }
    for (int64_t i = 0; from_re != re && i < size; i++) re[i] = from_re[i], im[i] = from_im[i];
}

#endif
