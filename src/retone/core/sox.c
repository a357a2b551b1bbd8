/* SoX's compand and tempo, for the generator of training pairs. */
#include <math.h>

#include "core.h"
#include "vector.h"

#define TO_DB 8.685889638065037

/* curve: rows (from_db, gain_db, linear, quadratic) of the gain over the level. */
RT_API void rt_compand(const void *x, void *y, const double *curve, int64_t total, int64_t pieces,
                       int64_t delay, double up, double down, double initial, double lowest,
                       int32_t single) {
    double level = initial, gain = 1.0;
    int64_t piece = 0;
    for (int64_t n = 0; n < total + delay; n++) {
        if (n < total) {
            double step = fabs(get(x, n, single)) - level;
            level += step * (step > 0.0 ? up : down);
            double db = MIN(TO_DB * log(MAX(level, lowest)), 0.0);
            while (piece + 1 < pieces && db >= curve[4 * (piece + 1)]) piece++;
            while (piece > 0 && db < curve[4 * piece]) piece--;
            const double *c = curve + 4 * piece;
            double d = MAX(db - c[0], 0.0);
            gain = exp((c[1] + d * (c[2] + d * c[3])) / TO_DB);
        }
        if (n >= delay) put(y, n - delay, get(x, n - delay, single) * gain, single);
    }
}

INLINE double misfit(const void *x, int64_t start, const void *tail, int64_t count, int single) {
    _Pragma("clang fp reassociate(on) contract(fast)") if (single) {
        const float *a = (const float *)x + start, *b = tail;
        float total = 0.0f;
        for (int64_t i = 0; i < count; i++) total += (a[i] - b[i]) * (a[i] - b[i]);
        return (double)total;
    }
    const double *a = (const double *)x + start, *b = tail;
    double total = 0.0;
    for (int64_t i = 0; i < count; i++) total += (a[i] - b[i]) * (a[i] - b[i]);
    return total;
}

/* WSOLA: segments of x, each taken where its first `overlap` samples fit best what came before.
   `tail` [overlap] is scratch memory of x's type. */
RT_API void rt_wsola(const void *x, void *y, void *tail, int64_t size, int64_t length,
                     int64_t segment, int64_t search, int64_t overlap, double factor,
                     int32_t single) {
    int64_t body = segment - overlap, place = search / 2, done = 0;
    double position = 0.0;
    while (done < length) {
        if (done > 0) {
            int64_t first = MIN((int64_t)(position + 0.5), size - segment - search);
            double best = INFINITY;
            place = first;
            for (int64_t start = first; start < first + search; start++) {
                double found = misfit(x, start, tail, overlap, single);
                if (found < best) best = found, place = start;
            }
        }
        int64_t count = MIN(body, length - done);
        for (int64_t i = 0; i < count; i++) {
            double value = get(x, place + i, single);
            if (done > 0 && i < overlap) {
                double part = ((double)i + 0.5) / (double)overlap;
                value = get(tail, i, single) * (1.0 - part) + value * part;
            }
            put(y, done + i, value, single);
        }
        for (int64_t i = 0; i < overlap; i++)
            put(tail, i, get(x, place + body + i, single), single);
        done += count;
        position += factor * (double)body;
    }
}
