/* Cookbook peak and shelf filters from frequency, gain and Q, and the adjoint of the design. The
   formulas are those of retone.dsp.biquad. */
#include <math.h>

#include "core.h"
#include "vector.h"

#define PI 3.141592653589793
#define NEPER_PER_STEP 0.05756462732485115 /* ln 10 / 40 */
#define LN9 2.1972245773362196

typedef struct {
    double cos, sin, amplitude, side, alpha; /* alpha: of a peak; of a shelf, its root */
    double up, down;                         /* amplitude + 1 and - 1 */
} Angle;

/* A NaN stays one. */
static Angle angle_of(int64_t kind, double hz, double gain_db, double q, double rate,
                      double top_hz) {
    double w = 2 * PI / rate * (hz > top_hz ? top_hz : hz);
    Angle a = {
        .cos = cos(w), .sin = sin(w), .amplitude = pow(10.0, gain_db / 40), .side = (double)kind};
    a.alpha = kind ? a.sin / q * sqrt(a.amplitude) : a.sin / (2 * q);
    a.up = a.amplitude + 1, a.down = a.amplitude - 1;
    return a;
}

/* A first-order low-pass; low-pass, high-pass and all-pass with the poles of Butterworth's. */
static void design_pass(int64_t kind, double cos, double sin, double *out) {
    double side = kind == LOW_PASS ? -1 : 1, alpha = sin / sqrt(2.0), a0 = 1 + alpha;
    double b0 = (1 + side * cos) / 2, b1 = -side * (1 + side * cos), b2 = b0;
    double a1 = -2 * cos, a2 = 1 - alpha;
    if (kind == ALL_PASS) b0 = a2, b1 = a1, b2 = a0;
    if (kind == FIRST_LOW_PASS) {
        b0 = b1 = sin / (1 + cos), b2 = a2 = 0;
        a0 = 1 + b0, a1 = b0 - 1;
    }
    out[0] = b0 / a0, out[1] = b1 / a0, out[2] = b2 / a0, out[3] = a1 / a0, out[4] = a2 / a0;
}

/* hz, gain_db, q [B, S]; out [B, S, 5] */
RT_API void rt_design_forward(const int64_t *kinds, const double *hz, const double *gain_db,
                              const double *q, double *out, int64_t rows, int64_t sections,
                              double rate, double top_hz) {
    for (int64_t i = 0; i < rows * sections; i++) {
        Angle t = angle_of(kinds[i % sections], hz[i], gain_db[i], q[i], rate, top_hz);
        if (kinds[i % sections] > LOW_SHELF) {
            design_pass(kinds[i % sections], t.cos, t.sin, out + 5 * i);
            continue;
        }
        double a = t.amplitude, c = t.side * t.cos, b0, b1, b2, a0, a1, a2;
        if (t.side == 0) {
            b0 = 1 + t.alpha * a, b1 = -2 * t.cos, b2 = 1 - t.alpha * a;
            a0 = 1 + t.alpha / a, a1 = -2 * t.cos, a2 = 1 - t.alpha / a;
        } else {
            b0 = a * (t.up - t.down * c + t.alpha);
            b1 = t.side * 2 * a * (t.down - t.up * c);
            b2 = a * (t.up - t.down * c - t.alpha);
            a0 = t.up + t.down * c + t.alpha;
            a1 = t.side * -2 * (t.down + t.up * c);
            a2 = t.up + t.down * c - t.alpha;
        }
        double found[5] = {b0 / a0, b1 / a0, b2 / a0, a1 / a0, a2 / a0};
        for (int j = 0; j < 5; j++) out[5 * i + j] = found[j];
    }
}

RT_API void rt_design_backward(const int64_t *kinds, const double *hz, const double *gain_db,
                               const double *q, const double *designed, const double *grad,
                               double *g_hz, double *g_db, double *g_q, int64_t rows,
                               int64_t sections, double rate, double top_hz) {
    for (int64_t i = 0; i < rows * sections; i++) {
        Angle t = angle_of(kinds[i % sections], hz[i], gain_db[i], q[i], rate, top_hz);
        const double *g = grad + 5 * i;
        double a = t.amplitude, c = t.side * t.cos, total = 0.0, g_a, g_cos, g_sin, g_quality;
        for (int j = 0; j < 5; j++) total += g[j] * designed[5 * i + j];
        double a0 = t.side == 0 ? 1 + t.alpha / a : t.up + t.down * c + t.alpha;
        /* gradients on the coefficients before division by a0 */
        double n0 = g[0] / a0, n1 = g[1] / a0, n2 = g[2] / a0;
        double d0 = -total / a0, d1 = g[3] / a0, d2 = g[4] / a0;
        if (t.side == 0) {
            double by_product = n0 - n2, by_ratio = d0 - d2,
                   g_alpha = by_product * a + by_ratio / a;
            g_a = by_product * t.alpha - by_ratio * t.alpha / (a * a);
            g_cos = -2 * (n1 + d1);
            g_sin = g_alpha / (2 * q[i]);
            g_quality = -g_alpha * t.alpha / q[i];
        } else {
            double plus = n0 * a, minus = n2 * a; /* on up - down c + root, up - down c - root */
            double middle = 2 * t.side * a * n1, other = -2 * t.side * d1; /* on down - + up c */
            double g_root = plus - minus + d0 - d2;
            double g_up = plus + minus - c * middle + d0 + d2 + c * other;
            double g_down = -c * (plus + minus) + middle + c * (d0 + d2) + other;
            double g_c =
                -t.down * (plus + minus) - t.up * middle + t.down * (d0 + d2) + t.up * other;
            g_a = n0 * (t.up - t.down * c + t.alpha) + n2 * (t.up - t.down * c - t.alpha);
            g_a +=
                2 * t.side * n1 * (t.down - t.up * c) + g_up + g_down + g_root * t.alpha / (2 * a);
            g_cos = t.side * g_c;
            g_sin = g_root * sqrt(a) / q[i];
            g_quality = -g_root * t.alpha / q[i];
        }
        g_hz[i] = hz[i] > top_hz ? 0.0 : (t.cos * g_sin - t.sin * g_cos) * (2 * PI / rate);
        g_db[i] = g_a * a * NEPER_PER_STEP;
        g_q[i] = g_quality;
    }
}

/* The coefficient k of y += k (x - y) with a 10-90 % rise time; a time of 0 does not smooth. */
static double smoothing(double time_ms, double rate) {
    return time_ms <= 0 ? 1.0 : -expm1(-LN9 * 1000 / (rate * time_ms));
}

/* values [B, 9] in physical units: threshold_db, ratio, attack_ms, release_ms, knee_db, makeup_db,
   rms_ms, expander_threshold_db, expander_ratio; params [B, 9]: as in dynamics.h */
RT_API void rt_design_dynamics(const double *values, double *params, int64_t rows, double rate) {
    for (; rows > 0; rows--, values += 9, params += 9) {
        for (int i = 0; i < 9; i++) params[i] = values[i];
        params[1] = 1 - 1 / values[1], params[8] = values[8] - 1;
        params[2] = smoothing(values[2], rate), params[3] = smoothing(values[3], rate);
        params[6] = smoothing(values[6], rate);
    }
}
