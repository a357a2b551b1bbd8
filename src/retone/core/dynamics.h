/* The fused compressor: what its forward pass and its adjoint share.

   Two stages share one text: the compressor, and the downward expander, whose smoother rises with
   the release time and falls with the attack time. One row at a time runs with its vectors along
   time, eight rows with one row per lane. Both apply the same operations to a sample, so the
   forward results are bit-identical. Only the recursions are sequential; everything else works on
   vectors. */
#ifndef RETONE_DYNAMICS_H
#define RETONE_DYNAMICS_H

#include "core.h"
#include "curve.h"

/* Samples per tile and per checkpoint: a tile of eight rows stays in the L1 cache. */
#define BLOCK 64
#define TILE (LANES * BLOCK)
/* With this many rows or more, eight lanes (some idle) beat one at a time. */
#define MIN_LANE_ROWS 4
#define STATES 3                      /* mean square; smoothed dB beyond each stage's threshold */
#define FLOOR 1e-12                   /* lowest mean square: the level is clamped at -120 dB */
#define LOG2_GAIN 0.16609640474436813 /* gain in dB to log2 of amplitude */

/* columns of the parameter table */
enum {
    THRESHOLD_DB,
    SLOPE,
    K_ATTACK,
    K_RELEASE,
    KNEE_DB,
    MAKEUP_DB,
    K_LEVEL,
    EXPANDER_THRESHOLD_DB,
    EXPANDER_SLOPE,
    COLUMNS
};

typedef struct {
    Curve curve;
    v8 k_up, k_down, keep_up, keep_down;
    v8 sign;  /* -1 where the smoother runs on the negated signal */
    v8 slope; /* dB of gain per smoothed dB, negative */
    v8 k_up_signed, k_down_signed, slope_log2; /* with the sign; for a gain in log2 of amplitude */
} Stage;

typedef struct {
    Stage stage[2];
    v8 makeup, k_level, keep_level;
} Settings;

/* A row of tiles, neighbours a quarter of a page apart (modulo the page): processors assume that a
   load depends on an earlier store if the addresses agree modulo 4096 bytes. */
typedef struct {
    _Alignas(64) double at[TILE + 128];
} Tile;

INLINE void set_stage(Stage *s, int lane, const double *row, int expander) {
    double k_up = row[expander ? K_RELEASE : K_ATTACK],
           k_down = row[expander ? K_ATTACK : K_RELEASE];
    double sign = sign_of(k_up, k_down);
    double threshold_db = row[expander ? EXPANDER_THRESHOLD_DB : THRESHOLD_DB];
    set_curve(&s->curve, lane, threshold_db, row[KNEE_DB], expander);
    s->k_up[lane] = k_up, s->k_down[lane] = k_down;
    s->keep_up[lane] = 1.0 - k_up, s->keep_down[lane] = 1.0 - k_down;
    s->sign[lane] = sign, s->slope[lane] = -row[expander ? EXPANDER_SLOPE : SLOPE];
    s->k_up_signed[lane] = k_up * sign, s->k_down_signed[lane] = k_down * sign;
    s->slope_log2[lane] = s->slope[lane] * sign * LOG2_GAIN;
}

INLINE Settings settings_of(const double *params, const Rows *rows) {
    Settings s;
    for (int j = 0; j < LANES; j++) {
        const double *row = params + COLUMNS * rows->row[j];
        for (int i = 0; i < 2; i++) set_stage(&s.stage[i], j, row, i);
        s.makeup[j] = row[MAKEUP_DB] * LOG2_GAIN;
        s.k_level[j] = row[K_LEVEL], s.keep_level[j] = 1.0 - row[K_LEVEL];
    }
    return s;
}

/* From here on `single` is the type of the arrays that a step reads and writes. */

INLINE v8 octaves_of(v8 power, int single) {
    return log2_for(maximum(power, splat(FLOOR)), single);
}

/* A peak detector has no memory, not even of NaN. */
#define MEAN_SQUARE(T)                                                                             \
    OVERLOADED T mean_square(T p, T peak, T k, T keep) {                                           \
        T power = k * peak;                                                                        \
        return above(keep, (T)0.0, fma_(keep, p, power), power);                                   \
    }
MEAN_SQUARE(double)
MEAN_SQUARE(v8)

/* Gain in log2 of amplitude from the smoothed dB, which carry the stages' signs. */
INLINE v8 gain_log2(const Settings *s, const v8 *z, int stages) {
    v8 gain = s->makeup;
    for (int i = 0; i < stages; i++) gain = fma_(s->stage[i].slope_log2, z[i], gain);
    return gain;
}

/* Largest squared sample over the channels. */
INLINE v8 peak_of(const void *x, int64_t at, int64_t stride, int64_t channels, int single) {
    v8 v = get8(x, at, single), peak = v * v;
    for (int64_t c = 1; c < channels; c++) {
        v = get8(x, at + c * stride, single);
        peak = maximum(v * v, peak);
    }
    return peak;
}

INLINE void apply(const void *x, void *y, int64_t at, int64_t stride, int64_t channels, v8 gain,
                  int single) {
    for (int64_t c = 0; c < channels; c++)
        put8(y, at + c * stride, get8(x, at + c * stride, single) * gain, single);
}

INLINE int64_t blocks_in(int64_t length) { return (length + BLOCK - 1) / BLOCK; }

/* Up to eight samples of a row's recursions; the results go to `out` from at + first. */
INLINE void smooth_samples(const Settings *s, const v8 *over, double *z, Tile *out, int64_t at,
                           int64_t count, int stages, int first) {
    double up[2][LANES], down[2][LANES];
    for (int i = 0; i < stages; i++) {
        store(up[i], s->stage[i].k_up_signed * over[i]);
        store(down[i], s->stage[i].k_down_signed * over[i]);
    }
#define SAMPLES(count)                                                                             \
    for (int64_t n = 0; n < count; n++)                                                            \
        for (int i = 0; i < stages; i++) {                                                         \
            const Stage *t = &s->stage[i];                                                         \
            z[i] = smooth(z[i], up[i][n], down[i][n], t->keep_up[0], t->keep_down[0]);             \
            out[i].at[at + first + n] = z[i];                                                      \
        }
    if (count >= LANES) SAMPLES(LANES)
    else SAMPLES(count)
}

#endif
