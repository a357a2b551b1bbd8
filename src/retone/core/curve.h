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

/* The coefficients of one smoother a lane. */
typedef struct {
    v8 k_up, k_down, keep_up, keep_down;
    v8 sign;                   /* -1 where it runs on the negated signal */
    v8 signed_up, signed_down; /* k_up and k_down with the sign */
} Smoother;

INLINE void set_smoother(Smoother *s, int lane, double k_up, double k_down) {
    s->k_up[lane] = k_up, s->k_down[lane] = k_down;
    s->keep_up[lane] = 1.0 - k_up, s->keep_down[lane] = 1.0 - k_down;
    s->sign[lane] = k_up >= k_down ? 1.0 : -1.0;
    s->signed_up[lane] = k_up * s->sign[lane], s->signed_down[lane] = k_down * s->sign[lane];
}

/* Lanes with constant numbers stay in registers. */
#define UNROLLED _Pragma("clang loop unroll(full)")

/* The recursions. A vector is a sample of eight rows (`lanes`), or eight samples of one row, whose
   state is the first lane. Everything else is the same for both. */

/* Smooth a vector each with up to two smoothers, from and to the states z; `after` receives the
   values, with the sign, as have the states. */
INLINE void smooth8(const Smoother *s, int smoothers, const v8 *x, v8 *z, v8 *after, int lanes) {
    v8 up[2], down[2];
    double now[2];
    for (int i = 0; i < smoothers; i++) {
        up[i] = s[i].signed_up * x[i], down[i] = s[i].signed_down * x[i], now[i] = z[i][0];
        if (lanes) after[i] = z[i] = smooth(z[i], up[i], down[i], s[i].keep_up, s[i].keep_down);
    }
    if (lanes) return;
    UNROLLED for (int n = 0; n < LANES; n++) UNROLLED for (int i = 0; i < smoothers; i++) {
        now[i] = smooth(now[i], up[i][n], down[i][n], s[i].keep_up[0], s[i].keep_down[0]);
        after[i][n] = now[i];
    }
    for (int i = 0; i < smoothers; i++) z[i][0] = now[i];
}

/* The states before each sample of a vector, from those after and the one before it. */
INLINE v8 states_before(v8 after, v8 z, int lanes) {
    return lanes ? z : __builtin_shufflevector(z, after, 0, 8, 9, 10, 11, 12, 13, 14);
}

/* Backward in time, for up to two: d = scale g + carry, carry = keep d. */
INLINE void carry_back(int count, const v8 *scale, v8 g, const v8 *keep, v8 *carry, v8 *d,
                       int lanes) {
    double now[2];
    for (int i = 0; i < count; i++) {
        now[i] = carry[i][0];
        if (lanes) d[i] = fma_(scale[i], g, carry[i]), carry[i] = keep[i] * d[i];
    }
    if (lanes) return;
    UNROLLED for (int n = LANES - 1; n >= 0; n--) UNROLLED for (int i = 0; i < count; i++) {
        d[i][n] = fma_(scale[i][n], g[n], now[i]);
        now[i] = keep[i][n] * d[i][n];
    }
    for (int i = 0; i < count; i++) carry[i][0] = now[i];
}

/* The gradient on x of smooth8 from the d of its states; adds to those on k_up and k_down. `step`
   is x minus the state before it. */
INLINE v8 smoother_gradient(const Smoother *s, v8 d, v8 step, v8 *on_up, v8 *on_down) {
    v8 none = splat(0.0), by_k = d * step;
    *on_up += above(step, none, by_k, none);
    *on_down += above(step, none, none, by_k);
    return above(step, none, s->k_up, s->k_down) * d;
}
INLINE v8 kept(const Smoother *s, v8 step) {
    return above(step, splat(0.0), s->keep_up, s->keep_down);
}

#endif
