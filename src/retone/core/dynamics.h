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

/* The compressor, then the expander. */
typedef struct {
    Curve curve[2];
    Smoother smoother[2];
    v8 slope[2],
        slope_log2[2]; /* dB of gain per smoothed dB, negative; log2 of amplitude, signed */
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
    UNROLLED for (int j = 0; j < LANES; j++) {
        const double *row = params + COLUMNS * rows->row[j];
        set_curve(&s.curve[0], j, row[THRESHOLD_DB], row[KNEE_DB], 0);
        set_curve(&s.curve[1], j, row[EXPANDER_THRESHOLD_DB], row[KNEE_DB], 1);
        set_smoother(&s.smoother[0], j, row[K_ATTACK], row[K_RELEASE]);
        set_smoother(&s.smoother[1], j, row[K_RELEASE], row[K_ATTACK]);
        s.slope[0][j] = -row[SLOPE], s.slope[1][j] = -row[EXPANDER_SLOPE];
        s.makeup[j] = row[MAKEUP_DB] * LOG2_GAIN;
        s.k_level[j] = row[K_LEVEL], s.keep_level[j] = 1.0 - row[K_LEVEL];
    }
    for (int i = 0; i < 2; i++) s.slope_log2[i] = s.slope[i] * s.smoother[i].sign * LOG2_GAIN;
    return s;
}

/* `states` of row r stand at r * stride. */
INLINE State load_state(const double *states, int64_t stride, const Rows *rows, const Settings *s) {
    State m;
    UNROLLED for (int j = 0; j < LANES; j++) {
        const double *from = states + rows->row[j] * stride;
        m.p[j] = from[0];
        for (int i = 0; i < 2; i++) m.z[i][j] = from[1 + i] * s->smoother[i].sign[j];
    }
    return m;
}

INLINE void save_state(const State *m, double *states, int64_t stride, const Rows *rows,
                       const Settings *s, int lanes) {
    for (int j = 0; j < (lanes ? rows->count : 1); j++) {
        double *to = states + rows->row[j] * stride;
        to[0] = m->p[j];
        for (int i = 0; i < 2; i++) to[1 + i] = m->z[i][j] * s->smoother[i].sign[j];
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
    double now = (*p)[0], keep = s->keep_level[0], powers[LANES];
    if (keep == 0.0) {
        (*p)[0] = peak[LANES - 1];
        return peak;
    }
    store(powers, power);
    for (int n = 0; n < LANES; n++) powers[n] = now = fma_(keep, now, powers[n]);
    (*p)[0] = now;
    return load(powers);
}

/* Gain in log2 of amplitude from the smoothed dB. */
INLINE v8 gain_log2(const Settings *s, const v8 *z, int stages) {
    v8 gain = s->makeup;
    for (int i = 0; i < stages; i++) gain = fma_(s->slope_log2[i], z[i], gain);
    return gain;
}

/* Where a block's audio is: eight rows are copied to lanes, float64 with TILE between channels; one
   row is read and written in place. */
typedef struct {
    void *at;
    int64_t stride, channels;
    int single;
} Audio;

INLINE Audio audio_of(const void *x, double *tile, int64_t start, int64_t length, int64_t channels,
                      int single, int lanes) {
    if (lanes) return (Audio){tile, TILE, channels, 0};
    return (Audio){(void *)sample_at(x, start, single), length, channels, single};
}
INLINE v8 load_audio(const Audio *x, int64_t c, int64_t n) {
    return get8(x->at, c * x->stride + n, x->single);
}
INLINE void store_audio(const Audio *x, int64_t c, int64_t n, v8 value) {
    put8(x->at, c * x->stride + n, value, x->single);
}

/* Largest squared sample over the channels. */
INLINE v8 peak_of(const Audio *x, int64_t n) {
    v8 v = load_audio(x, 0, n), peak = v * v;
    for (int64_t c = 1; c < x->channels; c++) {
        v = load_audio(x, c, n);
        peak = maximum(v * v, peak);
    }
    return peak;
}

INLINE int64_t blocks_in(int64_t length) { return (length + BLOCK - 1) / BLOCK; }

#endif
