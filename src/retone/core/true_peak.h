/* The interpolated points of a signal, in the type of its samples: SAMPLE is float or double. */
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define NAMED(name) JOIN(name, SAMPLE)

/* Largest absolute interpolated point between x[i + 11] and x[i + 12], i < count. */
static void NAMED(points_between_)(const SAMPLE *x, const double *taps, int64_t phases, SAMPLE *out,
                                   int64_t count) {
    SAMPLE point[SEGMENT];
    for (int64_t i = 0; i < count; i++) out[i] = 0;
    for (int64_t p = 0; p < phases; p++) {
        SAMPLE t[2 * HALF_TAPS];
        for (int k = 0; k < 2 * HALF_TAPS; k++) t[k] = (SAMPLE)taps[2 * HALF_TAPS * p + k];
        for (int64_t i = 0; i < count; i++) {
            SAMPLE sum = 0;
            for (int k = 0; k < 2 * HALF_TAPS; k += 8)
                sum += ((t[k] * x[i + k] + t[k + 1] * x[i + k + 1]) +
                        (t[k + 2] * x[i + k + 2] + t[k + 3] * x[i + k + 3])) +
                       ((t[k + 4] * x[i + k + 4] + t[k + 5] * x[i + k + 5]) +
                        (t[k + 6] * x[i + k + 6] + t[k + 7] * x[i + k + 7]));
            point[i] = __builtin_elementwise_abs(sum);
        }
        for (int64_t i = 0; i < count; i++) out[i] = point[i] > out[i] ? point[i] : out[i];
    }
}

/* Largest absolute sample of the 23 + count that touch `count` points. */
static SAMPLE NAMED(nearest_)(const SAMPLE *x, int64_t count) {
    SAMPLE lanes[16] = {0}, near = 0;
    int64_t i = 0, all = count + 2 * HALF_TAPS - 1;
    for (; i + 16 <= all; i += 16)
        for (int j = 0; j < 16; j++) {
            SAMPLE value = __builtin_elementwise_abs(x[i + j]);
            lanes[j] = value > lanes[j] ? value : lanes[j];
        }
    for (; i < all; i++) near = MAX(near, __builtin_elementwise_abs(x[i]));
    for (int j = 0; j < 16; j++) near = lanes[j] > near ? lanes[j] : near;
    return near;
}

/* Maximum of `peak` and every interpolated point of x; skips points that cannot exceed it. */
static SAMPLE NAMED(largest_between_)(const SAMPLE *x, int64_t width, const double *taps,
                                      int64_t phases, SAMPLE bound, SAMPLE peak) {
    int64_t points = width - (2 * HALF_TAPS - 1);
    SAMPLE out[SEGMENT];
    for (int64_t first = 0; first < points; first += SEGMENT) {
        int64_t count = MIN(SEGMENT, points - first);
        if (NAMED(nearest_)(x + first, count) * bound <= peak) continue;
        NAMED(points_between_)(x + first, taps, phases, out, count);
        for (int64_t i = 0; i < count; i++) peak = out[i] > peak ? out[i] : peak;
    }
    return peak;
}

/* For a limiter: the largest point over the channels in each gap between samples (0 where it cannot
   pass the ceiling), and the largest sample. Gap i lies between x[:, i + 11] and x[:, i + 12]. */
static void NAMED(peaks_)(const SAMPLE *x, int64_t channels, int64_t width, const double *taps,
                          int64_t phases, SAMPLE bound, SAMPLE ceiling, SAMPLE *points,
                          SAMPLE *sample) {
    int64_t count = width - (2 * HALF_TAPS - 1);
    SAMPLE out[SEGMENT];
    for (int64_t i = 0; i < count; i++) points[i] = sample[i] = 0;
    for (int64_t c = 0; c < channels; c++) {
        const SAMPLE *row = x + c * width, *centre = row + HALF_TAPS - 1;
        for (int64_t i = 0; i < count; i++) {
            SAMPLE value = __builtin_elementwise_abs(centre[i]);
            sample[i] = value > sample[i] ? value : sample[i];
        }
        for (int64_t first = 0; first < count; first += SEGMENT) {
            int64_t size = MIN(SEGMENT, count - first);
            if (NAMED(nearest_)(row + first, size) * bound <= ceiling) continue;
            NAMED(points_between_)(row + first, taps, phases, out, size);
            for (int64_t i = 0; i < size; i++)
                points[first + i] = out[i] > points[first + i] ? out[i] : points[first + i];
        }
    }
}

#undef NAMED
#undef JOIN
#undef JOIN_
