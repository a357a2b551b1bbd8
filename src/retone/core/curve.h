/* The compressor's static curve and its smoother: the only place in C where they are written.

   knee(d) with d = level - threshold_db (for an expander threshold_db - level) and the width W is
   the quadratic of Giannoulis, Massberg and Reiss, "Digital Dynamic Range Compressor Design" (JAES
   60, 2012): 0 below -W/2, (d + W/2)^2 / (2 W) within, d above; W = 0 is hard. */
#ifndef RETONE_CURVE_H
#define RETONE_CURVE_H

#include "vector.h"

#define LEVEL_DB 3.010299956639812 /* log2 of a power to dB */

typedef struct {
    v8 scale, low;        /* d + W/2 = scale * log2(power) + low */
    v8 width, half_curve; /* W; 1 / (2 W), or 0 */
} Curve;

typedef struct {
    v8 value, slope; /* dB beyond the threshold, and its derivative by d */
} Knee;

/* The curve of one lane; `below` for an expander, which acts below its threshold. */
INLINE void set_curve(Curve *c, int lane, double threshold_db, double knee_db, int below) {
    c->scale[lane] = below ? -LEVEL_DB : LEVEL_DB;
    c->low[lane] = 0.5 * knee_db + (below ? threshold_db : -threshold_db);
    c->width[lane] = knee_db;
    c->half_curve[lane] = knee_db > 0.0 ? 0.5 / knee_db : 0.0;
}

/* Without branches or a division by the width: with a = max(d + W/2, 0) and t = min(a, W),
   t^2 / (2 W) + (a - t). Its slope is t / W within the knee; with a hard knee it is 1 at the
   threshold itself. */
INLINE Knee knee(const Curve *c, v8 octaves) {
    v8 none = splat(0.0), d = fma_(c->scale, octaves, c->low);
    v8 a = maximum(d, none), t = minimum(a, c->width), part = t * c->half_curve;
    return (Knee){fma_(part, t, a - t), above(none, d - c->width, part + part, splat(1.0))};
}

/* Twice the derivative of the knee by its width. */
INLINE v8 knee_by_width(v8 slope) { return slope * (1.0 - slope); }

/* One step of y += k (x - y), k = k_up if x > y else k_down. Written out, the two candidates are
   (1 - k) y + k x; if k_up >= k_down the result is the larger of the two, so the recursion needs no
   branch. Otherwise the caller negates the signal (see sign_of). `up` and `down` are k x, `keep_*`
   1 - k. */
#define SMOOTH(T)                                                                                  \
    OVERLOADED T smooth(T y, T up, T down, T keep_up, T keep_down) {                               \
        return maximum(fma_(keep_up, y, up), fma_(keep_down, y, down));                            \
    }
SMOOTH(double)
SMOOTH(v8)

INLINE double sign_of(double k_up, double k_down) { return k_up >= k_down ? 1.0 : -1.0; }

#endif
