/* The adjoint of the fused compressor. It stores no whole-length intermediates: the forward pass
   saves its states before every block, and the adjoint walks the blocks backwards, recomputes each
   into tiles and reverses it. */
#include "dynamics.h"

#define NEPER_PER_DB 0.1151292546497023
#define LEVEL_PER_LOG 4.3429448190325175 /* ln of a power to dB */

/* -- steps that one row and eight rows share ------------------------------------------------- */

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
        if (channels > 1)
            own = above(peak, v * v, none, power), power = above(peak, v * v, power, none);
        put8(gx, i, fma_(own, v, get8(gy, i, single) * gain), single);
    }
}

typedef struct {
    v8 threshold[2], slope[2], up[2], down[2], knee, makeup, level;
} Gradients;

/* Adjoint of a stage's smoother and curve, but for the recursion: from the gradient d on its
   smoothed value, its step (new dB minus old smoothed dB) and the knee's slope. Returns the
   gradient on the level in dB. */
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

/* -- rows ------------------------------------------------------------------------------------ */

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

INLINE void backward_lanes(const Backward *call, const Rows *rows, const Settings *given,
                           int stages, int single, int averaged) {
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
                z[i] = smooth(z[i], t->k_up_signed * v, t->k_down_signed * v, t->keep_up,
                              t->keep_down);
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
            input_gradient(gy, b->audio, gy, n, TILE, b->channels, load(gains.at + n), g_power,
                           peak, 0);
        }
        for (int64_t c = 0; c < b->channels; c++)
            lanes_to_rows(gy + c * TILE, b->gx, rows, item, c * b->length + at, count, single);
    }
    for (int j = 0; j < rows->count; j++) write_sums(b, rows->row[j], &s, &g, carry_p, carry, j, 0);
}

/* One block of one row; vectors run along time, except in the recursions. From `count` on x and gy
   are 0: those samples must not contribute to any sum. */
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
        input_gradient(gy, x, gx, n, stride, channels, load(gains.at + n), s->k_level * d, peak,
                       stored);
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
            curve_grads.at[n] =
                n < count ? get(b->gain_grad, row * b->length + at + n, single) : 0.0;
        if (count == BLOCK) {
            backward_row_block(&s, sample_at(b->gy, start + at, single),
                               sample_at(b->x, start + at, single),
                               (void *)sample_at(b->gx, start + at, single), b->length, b->channels,
                               BLOCK, states + STATES * block, curve_grads.at, &g, &carry_p, carry,
                               stages, single, single);
            continue;
        }
        for (int64_t c = 0; c < b->channels;
             c++) /* vectors would run past the end: padded copies */
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

#define BACKWARD(name, stages, single)                                                             \
    static void back_row_##name(const Backward *b, const Rows *r, const Settings *s) {             \
        backward_row(b, r->row[0], s, stages, single);                                             \
    }                                                                                              \
    static void back_peak_##name(const Backward *b, const Rows *r, const Settings *s) {            \
        backward_lanes(b, r, s, stages, single, 0);                                                \
    }                                                                                              \
    static void back_mean_##name(const Backward *b, const Rows *r, const Settings *s) {            \
        backward_lanes(b, r, s, stages, single, 1);                                                \
    }
BACKWARD(one_double, 1, 0)
BACKWARD(one_single, 1, 1)
BACKWARD(two_double, 2, 0)
BACKWARD(two_single, 2, 1)
typedef void (*BackwardLoop)(const Backward *, const Rows *, const Settings *);
static const BackwardLoop BACKWARD_LOOPS[3][2][2] = {
    /* row, lanes of peaks, of means; as above */
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
