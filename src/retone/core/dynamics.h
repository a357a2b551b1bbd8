/* The fused compressor: what its forward pass, its adjoint and the smoother alone share.

   Two stages share one text: the compressor, and the downward expander, whose smoother rises with
   the release time and falls with the attack time. One row runs with its vectors along time, eight
   rows with one row per lane, from one body: `lanes` is a constant in each. Both apply the same
   operations to a sample, so the forward results are bit-identical. A single row's samples must
   fill vectors; the last few run as a row in lanes. */
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
    Smoother smoother;
    v8 slope, slope_log2; /* dB of gain per smoothed dB, negative; log2 of amplitude, signed */
} Stage;

typedef struct {
    Stage stage[2];
    v8 makeup, k_level, keep_level;
} Settings;

/* State of the rows: mean square, smoothed dB with the stages' signs. */
typedef struct {
    v8 p, z[2];
} State;

/* A row of tiles, neighbours a quarter of a page apart (modulo the page): processors assume that a
   load depends on an earlier store if the addresses agree modulo 4096 bytes. */
typedef struct {
    _Alignas(64) double at[TILE + 128];
} Tile;

INLINE Settings settings_of(const double *params, const Rows *rows) {
    Settings s;
    for (int j = 0; j < LANES; j++) {
        const double *row = params + COLUMNS * rows->row[j];
        Stage *over = &s.stage[0], *under = &s.stage[1];
        set_curve(&over->curve, j, row[THRESHOLD_DB], row[KNEE_DB], 0);
        set_curve(&under->curve, j, row[EXPANDER_THRESHOLD_DB], row[KNEE_DB], 1);
        set_smoother(&over->smoother, j, row[K_ATTACK], row[K_RELEASE]);
        set_smoother(&under->smoother, j, row[K_RELEASE], row[K_ATTACK]);
        over->slope[j] = -row[SLOPE], under->slope[j] = -row[EXPANDER_SLOPE];
        s.makeup[j] = row[MAKEUP_DB] * LOG2_GAIN;
        s.k_level[j] = row[K_LEVEL], s.keep_level[j] = 1.0 - row[K_LEVEL];
    }
    for (int i = 0; i < 2; i++)
        s.stage[i].slope_log2 = s.stage[i].slope * s.stage[i].smoother.sign * LOG2_GAIN;
    return s;
}

/* `states` of row r stand at r * stride. */
INLINE State load_state(const double *states, int64_t stride, const Rows *rows, const Settings *s) {
    State m;
    for (int j = 0; j < LANES; j++) {
        const double *from = states + rows->row[j] * stride;
        m.p[j] = from[0];
        for (int i = 0; i < 2; i++) m.z[i][j] = from[1 + i] * s->stage[i].smoother.sign[j];
    }
    return m;
}

INLINE void save_state(const State *m, double *states, int64_t stride, const Rows *rows,
                       const Settings *s) {
    for (int j = 0; j < rows->count; j++) {
        double *to = states + rows->row[j] * stride;
        to[0] = m->p[j];
        for (int i = 0; i < 2; i++) to[1 + i] = m->z[i][j] * s->stage[i].smoother.sign[j];
    }
}

/* From here on `single` is the type of the audio, which decides the accuracy. */

INLINE v8 octaves_of(v8 power, int single) {
    return log2_for(maximum(power, splat(FLOOR)), single);
}

/* Mean squares for a vector of peaks. A peak detector has no memory, not even of NaN. */
INLINE v8 mean_squares(const Settings *s, v8 peak, v8 *p, int lanes) {
    v8 power = s->k_level * peak, none = splat(0.0);
    if (lanes) return *p = above(s->keep_level, none, fma_(s->keep_level, *p, power), power);
    if (s->keep_level[0] > 0.0) {
        double now = (*p)[0];
        for (int n = 0; n < LANES; n++) power[n] = now = fma_(s->keep_level[0], now, power[n]);
    }
    (*p)[0] = power[LANES - 1];
    return power;
}

/* Gain in log2 of amplitude from the smoothed dB. */
INLINE v8 gain_log2(const Settings *s, const v8 *z, int stages) {
    v8 gain = s->makeup;
    for (int i = 0; i < stages; i++) gain = fma_(s->stage[i].slope_log2, z[i], gain);
    return gain;
}

/* Largest squared sample over the channels, TILE apart. */
INLINE v8 peak_of(const double *x, int64_t channels) {
    v8 v = load(x), peak = v * v;
    for (int64_t c = 1; c < channels; c++) {
        v = load(x + c * TILE);
        peak = maximum(v * v, peak);
    }
    return peak;
}

INLINE int64_t blocks_in(int64_t length) { return (length + BLOCK - 1) / BLOCK; }

#endif
