/* The fused compressor: level detector, curve, smoothing and gain in one pass, and its adjoint.

   Two stages share one text: the compressor, and the downward expander, whose smoother rises with
   the release time and falls with the attack time. One row at a time runs with its vectors along
   time, eight rows with one row per lane. Both apply the same operations to a sample, so the forward
   results are bit-identical. Only the recursions are sequential; everything else works on vectors.

   The adjoint stores no whole-length intermediates: the forward pass stores its states before every
   block, and the adjoint walks the blocks backwards, recomputes each into tiles and reverses it. */
#include "core.h"
#include "curve.h"

#define BLOCK 64 /* samples per tile and per checkpoint: a tile of eight rows stays in the L1 cache */
#define TILE (LANES * BLOCK)
#define MIN_LANE_ROWS 4 /* with this many rows or more, eight lanes (some idle) beat one at a time */
#define STATES 3        /* mean square; smoothed dB beyond each stage's threshold */
#define FLOOR 1e-12     /* lowest mean square: the level is clamped at -120 dB */
#define LOG2_GAIN 0.16609640474436813 /* gain in dB to log2 of amplitude */
#define NEPER_PER_DB 0.1151292546497023
#define LEVEL_PER_LOG 4.3429448190325175 /* ln of a power to dB */

/* columns of the parameter table */
enum {
    THRESHOLD_DB, SLOPE, K_ATTACK, K_RELEASE, KNEE_DB, MAKEUP_DB, K_LEVEL, EXPANDER_THRESHOLD_DB,
    EXPANDER_SLOPE, COLUMNS
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
typedef struct { _Alignas(64) double at[TILE + 128]; } Tile;

static void set_stage(Stage *s, int lane, const double *row, int expander) {
    double k_up = row[expander ? K_RELEASE : K_ATTACK], k_down = row[expander ? K_ATTACK : K_RELEASE];
    double sign = sign_of(k_up, k_down), half = 0.5 * row[KNEE_DB];
    s->curve.scale[lane] = expander ? -LEVEL_DB : LEVEL_DB;
    s->curve.low[lane] = half + (expander ? row[EXPANDER_THRESHOLD_DB] : -row[THRESHOLD_DB]);
    s->curve.width[lane] = row[KNEE_DB];
    s->curve.half_curve[lane] = row[KNEE_DB] > 0.0 ? 0.5 / row[KNEE_DB] : 0.0;
    s->k_up[lane] = k_up, s->k_down[lane] = k_down;
    s->keep_up[lane] = 1.0 - k_up, s->keep_down[lane] = 1.0 - k_down;
    s->sign[lane] = sign, s->slope[lane] = -row[expander ? EXPANDER_SLOPE : SLOPE];
    s->k_up_signed[lane] = k_up * sign, s->k_down_signed[lane] = k_down * sign;
    s->slope_log2[lane] = s->slope[lane] * sign * LOG2_GAIN;
}

static Settings settings_of(const double *params, const Rows *rows) {
    Settings s;
    for (int j = 0; j < LANES; j++) {
        const double *row = params + COLUMNS * rows->row[j];
        for (int i = 0; i < 2; i++) set_stage(&s.stage[i], j, row, i);
        s.makeup[j] = row[MAKEUP_DB] * LOG2_GAIN;
        s.k_level[j] = row[K_LEVEL], s.keep_level[j] = 1.0 - row[K_LEVEL];
    }
    return s;
}

/* -- steps that one row and eight rows share; `single` is the type of the arrays ------------- */

INLINE v8 octaves_of(v8 power, int single) { return log2_for(maximum(power, splat(FLOOR)), single); }

/* A peak detector has no memory, not even of NaN. */
#define MEAN_SQUARE(T)                                                                            \
    OVERLOADED T mean_square(T p, T peak, T k, T keep) {                                          \
        T power = k * peak;                                                                       \
        return above(keep, (T)0.0, fma_(keep, p, power), power);                                  \
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

/* Sum over the channels of gy * x: the gradient on the linear gain. */
INLINE v8 product_of(const void *gy, const void *x, int64_t at, int64_t stride, int64_t channels,
                     int single) {
    v8 total = get8(gy, at, single) * get8(x, at, single);
    for (int64_t c = 1; c < channels; c++)
        total = fma_(get8(gy, at + c * stride, single), get8(x, at + c * stride, single), total);
    return total;
}

/* gx = gy * gain, plus 2 x * power for the channel that set the level, the first of equals. */
INLINE void input_gradient(const void *gy, const void *x, void *gx, int64_t at, int64_t stride,
                           int64_t channels, v8 gain, v8 power, v8 peak, int single) {
    v8 none = splat(0.0);
    power += power;
    for (int64_t c = 0; c < channels; c++) {
        int64_t i = at + c * stride;
        v8 v = get8(x, i, single), own = power;
        if (channels > 1) own = above(peak, v * v, none, power), power = above(peak, v * v, power, none);
        put8(gx, i, fma_(own, v, get8(gy, i, single) * gain), single);
    }
}

typedef struct {
    v8 threshold[2], slope[2], up[2], down[2], knee, makeup, level;
} Gradients;

/* Adjoint of a stage's smoother and curve, but for the recursion: from the gradient d on its
   smoothed value, its step (new dB minus old smoothed dB) and the knee's slope. Returns the gradient
   on the level in dB. */
INLINE v8 stage_adjoint(const Stage *s, Gradients *g, int i, v8 d, v8 step, v8 slope) {
    v8 none = splat(0.0), by_k = d * step;
    g->up[i] += above(step, none, by_k, none);
    g->down[i] += above(step, none, none, by_k);
    v8 by_curve = above(step, none, s->k_up, s->k_down) * d;
    g->knee = fma_(by_curve, knee_by_width(slope), g->knee);
    v8 by_d = by_curve * slope;
    g->threshold[i] += by_d;
    return i ? -by_d : by_d;
}

INLINE v8 power_gradient(v8 power, v8 g_level_db) {
    v8 floor = splat(FLOOR), none = splat(0.0);
    return above(power, floor, g_level_db * LEVEL_PER_LOG / maximum(power, floor), none);
}

/* -- forward -------------------------------------------------------------------------------- */

/* What a call processes; y and curve may be null. */
typedef struct {
    const void *x;
    void *y, *curve;
    double *block_states; /* [B, blocks + 1, 3] */
    int64_t channels, length;
    double *audio; /* [channels, TILE] */
} Forward;

static int64_t blocks_in(int64_t length) { return (length + BLOCK - 1) / BLOCK; }

INLINE void save_states(double *to, v8 p, const v8 *z, const Settings *s, int lane) {
    to[0] = p[lane];
    for (int i = 0; i < 2; i++) to[1 + i] = z[i][lane] * s->stage[i].sign[lane];
}

INLINE void save_lane_states(const Forward *f, const Rows *rows, int64_t block, v8 p, const v8 *z,
                             const Settings *s) {
    int64_t stride = STATES * (blocks_in(f->length) + 1);
    for (int j = 0; j < rows->count; j++)
        save_states(f->block_states + rows->row[j] * stride + STATES * block, p, z, s, j);
}

INLINE void forward_lanes(const Forward *call, const Rows *rows, const Settings *given,
                          const double *state, int stages, int single) {
    Settings s = *given; /* copies that no store can reach stay in registers */
    Forward local = *call, *f = &local;
    Tile over[2], decibels;
    int64_t item = f->channels * f->length;
    v8 p, z[2];
    for (int j = 0; j < LANES; j++) {
        p[j] = state[STATES * rows->row[j]];
        for (int i = 0; i < 2; i++)
            z[i][j] = state[STATES * rows->row[j] + 1 + i] * s.stage[i].sign[j];
    }
    for (int64_t at = 0; at < f->length; at += BLOCK) {
        int64_t count = MIN(BLOCK, f->length - at);
        save_lane_states(f, rows, at / BLOCK, p, z, &s);
        for (int64_t c = 0; c < f->channels; c++) {
            int64_t first = c * f->length + at;
            rows_to_lanes(f->x, rows, item, first, count, f->audio + c * TILE, single);
            prefetch_rows(f->x, rows, item, first + BLOCK, BLOCK, single);
        }
        /* short loops let the processor overlap several samples */
        for (int64_t n = 0; n < LANES * count; n += LANES) {
            p = mean_square(p, peak_of(f->audio, n, TILE, f->channels, 0), s.k_level, s.keep_level);
            v8 octaves = octaves_of(p, single);
            for (int i = 0; i < stages; i++)
                store(over[i].at + n, knee(&s.stage[i].curve, octaves).value);
        }
        for (int64_t c = 0; f->y && c < f->channels; c++)
            prefetch_rows(f->y, rows, item, c * f->length + at + BLOCK, BLOCK, single);
        for (int64_t n = 0; n < LANES * count; n += LANES) {
            for (int i = 0; i < stages; i++) {
                const Stage *t = &s.stage[i];
                v8 v = load(over[i].at + n);
                z[i] = smooth(z[i], t->k_up_signed * v, t->k_down_signed * v, t->keep_up, t->keep_down);
            }
            v8 gain = gain_log2(&s, z, stages);
            if (f->curve) store(decibels.at + n, gain * (1.0 / LOG2_GAIN));
            apply(f->audio, f->audio, n, TILE, f->channels, exp2_for(gain, single), 0);
        }
        if (f->curve) lanes_to_rows(decibels.at, f->curve, rows, f->length, at, count, single);
        for (int64_t c = 0; f->y && c < f->channels; c++)
            lanes_to_rows(f->audio + c * TILE, f->y, rows, item, c * f->length + at, count, single);
    }
    save_lane_states(f, rows, blocks_in(f->length), p, z, &s);
}

/* Up to eight samples of a row's recursions; the results go to `out` from at + first. */
INLINE void smooth_samples(const Settings *s, const v8 *over, double *z, Tile *out, int64_t at,
                           int64_t count, int stages, int first) {
    double up[2][LANES], down[2][LANES];
    for (int i = 0; i < stages; i++) {
        store(up[i], s->stage[i].k_up_signed * over[i]);
        store(down[i], s->stage[i].k_down_signed * over[i]);
    }
#define SAMPLES(count)                                                                            \
    for (int64_t n = 0; n < count; n++)                                                           \
        for (int i = 0; i < stages; i++) {                                                        \
            const Stage *t = &s->stage[i];                                                        \
            z[i] = smooth(z[i], up[i][n], down[i][n], t->keep_up[0], t->keep_down[0]);            \
            out[i].at[at + first + n] = z[i];                                                     \
        }
    if (count >= LANES) SAMPLES(LANES)
    else SAMPLES(count)
}

/* Mean square of a block of a row. */
INLINE double row_power(const Settings *s, double p, double *power, int64_t count) {
    double k = s->k_level[0], keep = s->keep_level[0];
    if (keep == 0.0) return power[count - 1];
    for (int64_t n = 0; n < count; n++) p = power[n] = mean_square(p, power[n], k, keep);
    return p;
}

/* One block of one row, `stride` between its channels. */
INLINE double forward_row_block(const Settings *s, const void *x, void *y, int64_t stride,
                                int64_t channels, int64_t count, double p, double *z,
                                double *decibels, int stages, int single, int stored) {
    Tile power, zs[2];
    for (int64_t n = 0; n < count; n += LANES)
        store(power.at + n, peak_of(x, n, stride, channels, stored));
    p = row_power(s, p, power.at, count);
    /* the gains run one step behind, to fill the latency of the recursion */
    for (int64_t n = 0; n < count + LANES; n += LANES) {
        if (n < count) {
            v8 octaves = octaves_of(load(power.at + n), single), over[2];
            for (int i = 0; i < stages; i++) over[i] = knee(&s->stage[i].curve, octaves).value;
            smooth_samples(s, over, z, zs, n, count - n, stages, 0);
        }
        if (n > 0) {
            v8 before[2];
            for (int i = 0; i < stages; i++) before[i] = load(zs[i].at + n - LANES);
            v8 gain = gain_log2(s, before, stages);
            if (decibels) store(decibels + n - LANES, gain * (1.0 / LOG2_GAIN));
            if (y) apply(x, y, n - LANES, stride, channels, exp2_for(gain, single), stored);
        }
    }
    return p;
}

INLINE void forward_row(const Forward *f, int64_t row, const Settings *given, const double *state,
                        int stages, int single) {
    Settings s = *given;
    Tile decibels;
    int64_t start = row * f->channels * f->length;
    double *saved = f->block_states + row * STATES * (blocks_in(f->length) + 1);
    double p = state[STATES * row], z[2];
    for (int i = 0; i < 2; i++) z[i] = state[STATES * row + 1 + i] * s.stage[i].sign[0];
    for (int64_t at = 0; at <= f->length; at += BLOCK) {
        int64_t count = MIN(BLOCK, f->length - at);
        saved[0] = p, saved[1] = z[0] * s.stage[0].sign[0], saved[2] = z[1] * s.stage[1].sign[0];
        saved += STATES;
        if (count == 0) return;
        double *curve = f->curve ? decibels.at : 0;
        if (count == BLOCK) {
            p = forward_row_block(&s, sample_at(f->x, start + at, single),
                                  f->y ? (void *)sample_at(f->y, start + at, single) : 0, f->length,
                                  f->channels, BLOCK, p, z, curve, stages, single, single);
        } else { /* vectors would run past the end: a padded copy */
            for (int64_t c = 0; c < f->channels; c++)
                for (int64_t n = 0; n < BLOCK; n++)
                    f->audio[c * BLOCK + n] =
                        n < count ? get(f->x, start + c * f->length + at + n, single) : 0.0;
            p = forward_row_block(&s, f->audio, f->audio, BLOCK, f->channels, count, p, z, curve,
                                  stages, single, 0);
            for (int64_t c = 0; f->y && c < f->channels; c++)
                for (int64_t n = 0; n < count; n++)
                    put(f->y, start + c * f->length + at + n, f->audio[c * BLOCK + n], single);
        }
        for (int64_t n = 0; f->curve && n < count; n++)
            put(f->curve, row * f->length + at + n, decibels.at[n], single);
    }
    saved[0] = p, saved[1] = z[0] * s.stage[0].sign[0], saved[2] = z[1] * s.stage[1].sign[0];
}

#define FORWARD(name, stages, single)                                                             \
    static void lanes_##name(const Forward *f, const Rows *r, const Settings *s, const double *state) { \
        forward_lanes(f, r, s, state, stages, single);                                            \
    }                                                                                             \
    static void row_##name(const Forward *f, const Rows *r, const Settings *s, const double *state) { \
        forward_row(f, r->row[0], s, state, stages, single);                                      \
    }
FORWARD(one_double, 1, 0)
FORWARD(one_single, 1, 1)
FORWARD(two_double, 2, 0)
FORWARD(two_single, 2, 1)
typedef void (*ForwardLoop)(const Forward *, const Rows *, const Settings *, const double *);
static const ForwardLoop FORWARD_LOOPS[2][2][2] = { /* many rows, expander, single */
    {{row_one_double, row_one_single}, {row_two_double, row_two_single}},
    {{lanes_one_double, lanes_one_single}, {lanes_two_double, lanes_two_single}}};

int64_t rt_compress_scratch(int64_t channels) { return 2 * channels * TILE; }

void rt_compress_forward(const void *x, void *y, void *curve, double *block_states,
                         const double *params, const double *state, double *scratch,
                         int64_t channels, int64_t length, int32_t expander, int32_t single,
                         int64_t row, int64_t stop) {
    Forward f = {x, y, curve, block_states, channels, length, scratch};
    while (row < stop) {
        int many = stop - row >= MIN_LANE_ROWS;
        Rows rows = rows_from(row, many ? stop : row + 1);
        Settings s = settings_of(params, &rows);
        FORWARD_LOOPS[many][!!expander][!!single](&f, &rows, &s, state);
        row += rows.count;
    }
}

/* -- adjoint -------------------------------------------------------------------------------- */

typedef struct {
    const void *gy, *x, *gain_grad; /* gain_grad may be null */
    void *gx;
    const double *block_states, *end_grad;
    double *sums; /* [B, 12]: gradients on the parameters and on the initial states */
    int64_t channels, length;
    double *audio; /* [2 channels, TILE]: x, then gy, which becomes gx */
} Backward;

INLINE void write_sums(const Backward *b, int64_t row, const Settings *s, const Gradients *g,
                       v8 carry_p, const v8 *carry, int lane, int whole) {
    /* one row: the sum of the lanes, eight rows: a lane */
#define TOTAL(v) (whole ? sum_lanes(v) : (v)[lane])
    double *to = b->sums + (COLUMNS + STATES) * row;
    to[THRESHOLD_DB] = -TOTAL(g->threshold[0]);
    to[SLOPE] = -TOTAL(g->slope[0]) * s->stage[0].sign[lane];
    to[K_ATTACK] = TOTAL(g->up[0]) + TOTAL(g->down[1]);
    to[K_RELEASE] = TOTAL(g->down[0]) + TOTAL(g->up[1]);
    to[KNEE_DB] = 0.5 * TOTAL(g->knee);
    to[MAKEUP_DB] = TOTAL(g->makeup);
    to[K_LEVEL] = TOTAL(g->level);
    to[EXPANDER_THRESHOLD_DB] = TOTAL(g->threshold[1]);
    to[EXPANDER_SLOPE] = -TOTAL(g->slope[1]) * s->stage[1].sign[lane];
    to[COLUMNS] = carry_p[lane];
    for (int i = 0; i < 2; i++) to[COLUMNS + 1 + i] = carry[i][lane];
}

INLINE void backward_lanes(const Backward *call, const Rows *rows, const Settings *given, int stages,
                           int single, int averaged) {
    Settings s = *given;
    Backward local = *call, *b = &local;
    Tile steps[2], slopes[2], gains, ps, g_gains, curve_grads;
    int64_t item = b->channels * b->length, blocks = blocks_in(b->length);
    int64_t stride = STATES * (blocks + 1);
    double *gy = b->audio + b->channels * TILE;
    Gradients g = {0};
    v8 none = splat(0.0), carry_p = none, carry[2] = {none, none};
    for (int j = 0; j < LANES; j++) {
        const double *end = b->end_grad + STATES * rows->row[j];
        carry_p[j] = end[0], carry[0][j] = end[1], carry[1][j] = end[2];
    }
    for (int n = 0; n < TILE; n += LANES) store(curve_grads.at + n, none);
    for (int64_t block = blocks - 1; block >= 0; block--) {
        int64_t at = block * BLOCK, count = MIN(BLOCK, b->length - at);
        for (int64_t c = 0; c < b->channels; c++) {
            int64_t first = c * b->length + at;
            rows_to_lanes(b->x, rows, item, first, count, b->audio + c * TILE, single);
            rows_to_lanes(b->gy, rows, item, first, count, gy + c * TILE, single);
            if (block > 0) prefetch_rows(b->x, rows, item, first - BLOCK, BLOCK, single);
        }
        if (b->gain_grad)
            rows_to_lanes(b->gain_grad, rows, b->length, at, count, curve_grads.at, single);
        v8 p, z[2];
        for (int j = 0; j < LANES; j++) {
            const double *from = b->block_states + rows->row[j] * stride + STATES * block;
            p[j] = from[0];
            for (int i = 0; i < 2; i++) z[i][j] = from[1 + i] * s.stage[i].sign[j];
            if (block > 3) prefetch(from - 4 * STATES, 0, 0);
        }
        store(ps.at, p);
        /* short loops let the processor overlap several samples */
        for (int64_t n = 0; n < LANES * count; n += LANES) {
            v8 peak = peak_of(b->audio, n, TILE, b->channels, 0);
            p = averaged ? mean_square(p, peak, s.k_level, s.keep_level) : peak;
            if (averaged) store(ps.at + n + LANES, p);
            v8 octaves = octaves_of(p, single);
            for (int i = 0; i < stages; i++) {
                Knee k = knee(&s.stage[i].curve, octaves);
                store(slopes[i].at + n, k.slope), store(steps[i].at + n, k.value);
            }
        }
        for (int64_t c = 0; block > 0 && c < b->channels; c++)
            prefetch_rows(b->gx, rows, item, c * b->length + at - BLOCK, BLOCK, single);
        for (int64_t n = 0; n < LANES * count; n += LANES) {
            for (int i = 0; i < stages; i++) {
                const Stage *t = &s.stage[i];
                v8 v = load(steps[i].at + n);
                store(steps[i].at + n, fma_(-t->sign, z[i], v));
                z[i] = smooth(z[i], t->k_up_signed * v, t->k_down_signed * v, t->keep_up, t->keep_down);
            }
            v8 gain = exp2_for(gain_log2(&s, z, stages), single);
            v8 product = product_of(gy, b->audio, n, TILE, b->channels, 0);
            v8 g_gain = fma_(product * gain, splat(NEPER_PER_DB), load(curve_grads.at + n));
            store(gains.at + n, gain), store(g_gains.at + n, g_gain);
            g.makeup += g_gain;
            for (int i = 0; i < stages; i++) g.slope[i] = fma_(g_gain, z[i], g.slope[i]);
        }
        for (int64_t c = 0; block > 0 && c < b->channels; c++)
            prefetch_rows(b->gy, rows, item, c * b->length + at - BLOCK, BLOCK, single);
        for (int64_t n = LANES * (count - 1); n >= 0; n -= LANES) {
            v8 g_gain = load(g_gains.at + n), g_level_db = none;
            for (int i = 0; i < stages; i++) {
                const Stage *t = &s.stage[i];
                v8 d = fma_(t->slope, g_gain, carry[i]), step = load(steps[i].at + n);
                carry[i] = above(step, none, t->keep_up, t->keep_down) * d;
                g_level_db += stage_adjoint(t, &g, i, d, step, load(slopes[i].at + n));
            }
            v8 peak = peak_of(b->audio, n, TILE, b->channels, 0);
            v8 power = averaged ? load(ps.at + n + LANES) : peak;
            v8 g_power = power_gradient(power, g_level_db) + carry_p;
            carry_p = none;
            if (averaged) {
                g.level = fma_(g_power, peak - load(ps.at + n), g.level);
                carry_p = s.keep_level * g_power;
                g_power = s.k_level * g_power;
            }
            input_gradient(gy, b->audio, gy, n, TILE, b->channels, load(gains.at + n), g_power, peak, 0);
        }
        for (int64_t c = 0; c < b->channels; c++)
            lanes_to_rows(gy + c * TILE, b->gx, rows, item, c * b->length + at, count, single);
    }
    for (int j = 0; j < rows->count; j++)
        write_sums(b, rows->row[j], &s, &g, carry_p, carry, j, 0);
}

/* One block of one row; vectors run along time, except in the recursions. From `count` on x and gy are
   0: those samples must not contribute to any sum. */
INLINE void backward_row_block(const Settings *s, const void *gy, const void *x, void *gx,
                               int64_t stride, int64_t channels, int64_t count, const double *state,
                               const double *curve_grads, Gradients *g, double *carry_p,
                               double *carry, int stages, int single, int stored) {
    Tile power, ps, steps[2], slopes[2], zs[2], keeps[2], ds[2], gains, g_gains, g_powers;
    double z[2];
    v8 none = splat(0.0);
    ps.at[0] = state[0];
    for (int i = 0; i < stages; i++) zs[i].at[0] = z[i] = state[1 + i] * s->stage[i].sign[0];
    for (int64_t n = 0; n < count; n += LANES)
        store(power.at + n, peak_of(x, n, stride, channels, stored));
    for (int64_t n = 0; n < count; n++)
        ps.at[n + 1] = mean_square(ps.at[n], power.at[n], s->k_level[0], s->keep_level[0]);
    for (int64_t n = count; n < BLOCK; n++) {
        ps.at[n + 1] = 0.0;
        for (int i = 0; i < stages; i++) zs[i].at[n + 1] = ds[i].at[n] = 0.0;
    }
    for (int64_t n = 0; n < count; n += LANES) {
        v8 octaves = octaves_of(load(ps.at + n + 1), single), over[2];
        for (int i = 0; i < stages; i++) {
            Knee k = knee(&s->stage[i].curve, octaves);
            over[i] = k.value;
            store(steps[i].at + n, k.value), store(slopes[i].at + n, k.slope);
        }
        smooth_samples(s, over, z, zs, n, count - n, stages, 1);
    }
    for (int64_t n = 0; n < count; n += LANES) {
        v8 after[2];
        for (int i = 0; i < stages; i++) {
            const Stage *t = &s->stage[i];
            v8 step = fma_(-t->sign, load(zs[i].at + n), load(steps[i].at + n));
            after[i] = load(zs[i].at + n + 1);
            store(steps[i].at + n, step);
            store(keeps[i].at + n, above(step, none, t->keep_up, t->keep_down));
        }
        v8 gain = exp2_for(gain_log2(s, after, stages), single);
        v8 product = product_of(gy, x, n, stride, channels, stored);
        v8 g_gain = fma_(product * gain, splat(NEPER_PER_DB), load(curve_grads + n));
        store(gains.at + n, gain), store(g_gains.at + n, g_gain);
        g->makeup += g_gain;
        for (int i = 0; i < stages; i++) g->slope[i] = fma_(g_gain, after[i], g->slope[i]);
    }
    for (int64_t n = count - 1; n >= 0; n--)
        for (int i = 0; i < stages; i++) {
            double d = fma_(s->stage[i].slope[0], g_gains.at[n], carry[i]);
            ds[i].at[n] = d;
            carry[i] = keeps[i].at[n] * d;
        }
    for (int64_t n = 0; n < count; n += LANES) {
        v8 g_level_db = none;
        for (int i = 0; i < stages; i++)
            g_level_db += stage_adjoint(&s->stage[i], g, i, load(ds[i].at + n),
                                        load(steps[i].at + n), load(slopes[i].at + n));
        store(g_powers.at + n, power_gradient(load(ps.at + n + 1), g_level_db));
    }
    for (int64_t n = count - 1; n >= 0; n--) {
        double d = g_powers.at[n] + *carry_p;
        g_powers.at[n] = d;
        *carry_p = s->keep_level[0] * d;
    }
    for (int64_t n = 0; n < count; n += LANES) {
        v8 d = load(g_powers.at + n), peak = load(power.at + n);
        g->level = fma_(d, peak - load(ps.at + n), g->level);
        input_gradient(gy, x, gx, n, stride, channels, load(gains.at + n), s->k_level * d, peak, stored);
    }
}

INLINE void backward_row(const Backward *b, int64_t row, const Settings *given, int stages,
                         int single) {
    Settings s = *given;
    int64_t start = row * b->channels * b->length, blocks = blocks_in(b->length);
    const double *states = b->block_states + row * STATES * (blocks + 1);
    const double *end = b->end_grad + STATES * row;
    double carry_p = end[0], carry[2] = {end[1], end[2]}, *gy = b->audio + b->channels * BLOCK;
    Tile curve_grads;
    Gradients g = {0};
    for (int n = 0; n < BLOCK; n++) curve_grads.at[n] = 0.0;
    for (int64_t block = blocks - 1; block >= 0; block--) {
        int64_t at = block * BLOCK, count = MIN(BLOCK, b->length - at);
        for (int64_t n = 0; b->gain_grad && n < BLOCK; n++)
            curve_grads.at[n] = n < count ? get(b->gain_grad, row * b->length + at + n, single) : 0.0;
        if (count == BLOCK) {
            backward_row_block(&s, sample_at(b->gy, start + at, single),
                               sample_at(b->x, start + at, single),
                               (void *)sample_at(b->gx, start + at, single), b->length, b->channels,
                               BLOCK, states + STATES * block, curve_grads.at, &g, &carry_p, carry,
                               stages, single, single);
            continue;
        }
        for (int64_t c = 0; c < b->channels; c++) /* vectors would run past the end: padded copies */
            for (int64_t n = 0; n < BLOCK; n++) {
                int64_t i = start + c * b->length + at + n;
                b->audio[c * BLOCK + n] = n < count ? get(b->x, i, single) : 0.0;
                gy[c * BLOCK + n] = n < count ? get(b->gy, i, single) : 0.0;
            }
        backward_row_block(&s, gy, b->audio, gy, BLOCK, b->channels, count, states + STATES * block,
                           curve_grads.at, &g, &carry_p, carry, stages, single, 0);
        for (int64_t c = 0; c < b->channels; c++)
            for (int64_t n = 0; n < count; n++)
                put(b->gx, start + c * b->length + at + n, gy[c * BLOCK + n], single);
    }
    v8 carries[2] = {splat(carry[0]), splat(carry[1])};
    write_sums(b, row, &s, &g, splat(carry_p), carries, 0, 1);
}

#define BACKWARD(name, stages, single)                                                            \
    static void back_row_##name(const Backward *b, const Rows *r, const Settings *s) {            \
        backward_row(b, r->row[0], s, stages, single);                                            \
    }                                                                                             \
    static void back_peak_##name(const Backward *b, const Rows *r, const Settings *s) {           \
        backward_lanes(b, r, s, stages, single, 0);                                               \
    }                                                                                             \
    static void back_mean_##name(const Backward *b, const Rows *r, const Settings *s) {           \
        backward_lanes(b, r, s, stages, single, 1);                                               \
    }
BACKWARD(one_double, 1, 0)
BACKWARD(one_single, 1, 1)
BACKWARD(two_double, 2, 0)
BACKWARD(two_single, 2, 1)
typedef void (*BackwardLoop)(const Backward *, const Rows *, const Settings *);
static const BackwardLoop BACKWARD_LOOPS[3][2][2] = { /* row, lanes of peaks, of means; as above */
    {{back_row_one_double, back_row_one_single}, {back_row_two_double, back_row_two_single}},
    {{back_peak_one_double, back_peak_one_single}, {back_peak_two_double, back_peak_two_single}},
    {{back_mean_one_double, back_mean_one_single}, {back_mean_two_double, back_mean_two_single}}};

void rt_compress_backward(const void *gy, const void *x, const void *gain_grad, void *gx,
                          const double *block_states, const double *params, const double *end_grad,
                          double *sums, double *scratch, int64_t channels, int64_t length,
                          int32_t expander, int32_t averaged, int32_t single, int64_t row,
                          int64_t stop) {
    Backward b = {gy, x, gain_grad, gx, block_states, end_grad, sums, channels, length, scratch};
    while (row < stop) {
        int many = stop - row >= MIN_LANE_ROWS;
        Rows rows = rows_from(row, many ? stop : row + 1);
        Settings s = settings_of(params, &rows);
        BACKWARD_LOOPS[many ? 1 + !!averaged : 0][!!expander][!!single](&b, &rows, &s);
        row += rows.count;
    }
}
