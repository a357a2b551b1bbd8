/* The adjoint of the fused compressor. It stores no whole-length intermediates: the forward pass
   saves its states before every block, and the adjoint walks the blocks backwards, recomputes each
   into tiles and reverses it. */
#include "dynamics.h"

#define NEPER_PER_DB 0.1151292546497023
#define LEVEL_PER_LOG 4.3429448190325175 /* ln of a power to dB */

typedef struct {
    const void *gy, *x, *gain_grad; /* gain_grad may be null */
    void *gx;
    const double *block_states;
    int64_t channels, length;
    double *audio; /* [2 channels, TILE]: x, then gy, which becomes gx */
} Backward;

typedef struct {
    v8 threshold[2], slope[2], up[2], down[2], knee, makeup, level;
} Gradients;

/* Sum over the channels of gy * x: the gradient on the linear gain. */
INLINE v8 product_of(const double *gy, const double *x, int64_t channels) {
    v8 total = load(gy) * load(x);
    for (int64_t c = 1; c < channels; c++)
        total = fma_(load(gy + c * TILE), load(x + c * TILE), total);
    return total;
}

/* gy becomes gx = gy * gain, plus 2 x * power for the channel that set the level, the first of
   equals. */
INLINE void input_gradient(double *gy, const double *x, int64_t channels, v8 gain, v8 power,
                           v8 peak) {
    v8 none = splat(0.0);
    power += power;
    for (int64_t c = 0; c < channels; c++, gy += TILE, x += TILE) {
        v8 v = load(x), own = power;
        if (channels > 1)
            own = above(peak, v * v, none, power), power = above(peak, v * v, power, none);
        store(gy, fma_(own, v, load(gy) * gain));
    }
}

INLINE v8 power_gradient(v8 power, v8 g_level_db) {
    v8 floor = splat(FLOOR), none = splat(0.0);
    return above(power, floor, g_level_db * LEVEL_PER_LOG / maximum(power, floor), none);
}

/* Blocks `last` ... `first` of eight rows, or of one, where they are whole. `carry` holds the
   gradients on the states after them, then before them. */
INLINE void backward(const Backward *call, const Rows *rows, const Settings *given, Gradients *sums,
                     State *carry, int64_t first, int64_t last, int stages, int single,
                     int averaged, int lanes) {
    Settings s = *given;
    Backward local = *call, *b = &local;
    Gradients g = *sums;
    State after = *carry;
    Tile steps[2], slopes[2], gains, ps, g_gains, curve_grads;
    int64_t item = b->channels * b->length, stride = STATES * (blocks_in(b->length) + 1);
    int64_t width = lanes ? LANES : 1; /* from a sample to the next */
    double *gy = b->audio + b->channels * TILE;
    v8 none = splat(0.0);
    for (int n = 0; n < TILE; n += LANES) store(curve_grads.at + n, none);
    for (int64_t block = last; block >= first; block--) {
        int64_t at = block * BLOCK, count = MIN(BLOCK, b->length - at), numbers = width * count;
        for (int64_t c = 0; c < b->channels; c++) {
            int64_t from = c * b->length + at;
            read_rows(b->x, rows, item, from, count, -BLOCK, b->audio + c * TILE, lanes, single);
            read_rows(b->gy, rows, item, from, count, -BLOCK, gy + c * TILE, lanes, single);
        }
        if (b->gain_grad)
            read_rows(b->gain_grad, rows, b->length, at, count, -BLOCK, curve_grads.at, lanes,
                      single);
        State m = load_state(b->block_states + STATES * block, stride, rows, &s);
        for (int j = 0; lanes && j < rows->count; j++)
            prefetch(b->block_states, rows->row[j] * stride + STATES * (block - 4), 0);
        store(ps.at, m.p);
        /* short loops let the processor overlap several samples */
        for (int64_t n = 0; n < numbers; n += LANES) {
            v8 p = peak_of(b->audio + n, b->channels);
            if (averaged) p = mean_squares(&s, p, &m.p, lanes), store(ps.at + n + width, p);
            v8 octaves = octaves_of(p, single);
            for (int i = 0; i < stages; i++) {
                Knee k = knee(&s.stage[i].curve, octaves);
                store(slopes[i].at + n, k.slope), store(steps[i].at + n, k.value);
            }
        }
        for (int64_t n = 0; n < numbers; n += LANES) {
            v8 smoothed[2];
            for (int i = 0; i < stages; i++) {
                const Smoother *t = &s.stage[i].smoother;
                v8 v = load(steps[i].at + n), z = m.z[i];
                smoothed[i] = smooth8(t, v, &m.z[i], lanes);
                store(steps[i].at + n, fma_(-t->sign, states_before(smoothed[i], z, lanes), v));
            }
            v8 gain = exp2_for(gain_log2(&s, smoothed, stages), single);
            v8 product = product_of(gy + n, b->audio + n, b->channels);
            v8 g_gain = fma_(product * gain, splat(NEPER_PER_DB), load(curve_grads.at + n));
            store(gains.at + n, gain), store(g_gains.at + n, g_gain);
            g.makeup += g_gain;
            for (int i = 0; i < stages; i++) g.slope[i] = fma_(g_gain, smoothed[i], g.slope[i]);
        }
        for (int64_t n = numbers - LANES; n >= 0; n -= LANES) {
            v8 g_gain = load(g_gains.at + n), g_level_db = none;
            for (int i = 0; i < stages; i++) {
                const Stage *t = &s.stage[i];
                v8 step = load(steps[i].at + n), slope = load(slopes[i].at + n);
                v8 d = carry_back(t->slope, g_gain, kept(&t->smoother, step), &after.z[i], lanes);
                v8 by_curve = smoother_gradient(&t->smoother, d, step, &g.up[i], &g.down[i]);
                g.knee = fma_(by_curve, knee_by_width(slope), g.knee);
                v8 by_d = by_curve * slope;
                g.threshold[i] += by_d;
                g_level_db += i ? -by_d : by_d;
            }
            v8 peak = peak_of(b->audio + n, b->channels), g_power;
            if (averaged) {
                g_power = power_gradient(load(ps.at + n + width), g_level_db);
                g_power = carry_back(splat(1.0), g_power, s.keep_level, &after.p, lanes);
                g.level = fma_(g_power, peak - load(ps.at + n), g.level);
                g_power = s.k_level * g_power;
            } else {
                g_power = power_gradient(peak, g_level_db) + after.p, after.p = none;
            }
            input_gradient(gy + n, b->audio + n, b->channels, load(gains.at + n), g_power, peak);
        }
        for (int64_t c = 0; c < b->channels; c++)
            write_rows(gy + c * TILE, b->gx, rows, item, c * b->length + at, count, -BLOCK, lanes,
                       single);
    }
    *sums = g, *carry = after;
}

/* How blocks are walked: one row; eight with a level of peaks, or of means. */
enum { ROW, PEAKS, MEANS };
#define FORM(how, stages, single)                                                                  \
    static void backward_##how##stages##single(const Backward *b, const Rows *rows,                \
                                               const Settings *s, Gradients *g, State *carry,      \
                                               int64_t first, int64_t last) {                      \
        backward(b, rows, s, g, carry, first, last, stages, single, how != PEAKS, how != ROW);     \
    }
#define FORMS(how) FORM(how, 1, 0) FORM(how, 1, 1) FORM(how, 2, 0) FORM(how, 2, 1)
FORMS(ROW)
FORMS(PEAKS)
FORMS(MEANS)
#define LOOPS(how)                                                                                 \
    {{backward_##how##10, backward_##how##11}, {backward_##how##20, backward_##how##21}}
static void (*const BACKWARD[3][2][2])(const Backward *, const Rows *, const Settings *,
                                       Gradients *, State *, int64_t,
                                       int64_t) = {LOOPS(ROW), LOOPS(PEAKS), LOOPS(MEANS)};

static void write_sums(double *to, const Settings *s, const Gradients *g, const State *carry,
                       int lane, int whole) {
    /* one row: the sum of the lanes, eight rows: a lane */
#define TOTAL(v) (whole ? sum_lanes(v) : (v)[lane])
    to[THRESHOLD_DB] = -TOTAL(g->threshold[0]);
    to[SLOPE] = -TOTAL(g->slope[0]) * s->stage[0].smoother.sign[lane];
    to[K_ATTACK] = TOTAL(g->up[0]) + TOTAL(g->down[1]);
    to[K_RELEASE] = TOTAL(g->down[0]) + TOTAL(g->up[1]);
    to[KNEE_DB] = 0.5 * TOTAL(g->knee);
    to[MAKEUP_DB] = TOTAL(g->makeup);
    to[K_LEVEL] = TOTAL(g->level);
    to[EXPANDER_THRESHOLD_DB] = TOTAL(g->threshold[1]);
    to[EXPANDER_SLOPE] = -TOTAL(g->slope[1]) * s->stage[1].smoother.sign[lane];
    to[COLUMNS] = carry->p[lane];
    for (int i = 0; i < 2; i++) to[COLUMNS + 1 + i] = carry->z[i][lane];
}

/* As rt_compress_forward; end_grad [B, 3]; sums [B, 12]: gradients on the parameters and on the
   initial states. */
RT_API void rt_compress_backward(const void *gy, const void *x, const void *gain_grad, void *gx,
                                 const double *block_states, const double *params,
                                 const double *end_grad, double *sums, double *scratch,
                                 int64_t channels, int64_t length, int32_t expander,
                                 int32_t averaged, int32_t single, int64_t row, int64_t stop) {
    Backward b = {gy, x, gain_grad, gx, block_states, channels, length, scratch};
    int64_t blocks = blocks_in(length), whole = length / BLOCK;
    while (row < stop) {
        int many = stop - row >= MIN_LANE_ROWS, how = averaged ? MEANS : PEAKS;
        Rows rows = rows_from(row, many ? stop : row + 1);
        Settings s = settings_of(params, &rows);
        Gradients g = {0};
        State carry;
        for (int j = 0; j < LANES; j++) {
            const double *end = end_grad + STATES * rows.row[j];
            carry.p[j] = end[0], carry.z[0][j] = end[1], carry.z[1][j] = end[2];
        }
        int64_t first = many ? 0 : whole;
        BACKWARD[how][!!expander][!!single](&b, &rows, &s, &g, &carry, first, blocks - 1);
        if (!many) { /* the last block's sums stand in every lane */
            v8 *sum = (v8 *)&g;
            for (size_t i = 0; i < sizeof g / sizeof *sum; i++) sum[i] = (v8){sum[i][0]};
            BACKWARD[ROW][!!expander][!!single](&b, &rows, &s, &g, &carry, 0, whole - 1);
        }
        for (int j = 0; j < rows.count; j++)
            write_sums(sums + (COLUMNS + STATES) * (row + j), &s, &g, &carry, j, !many);
        row += rows.count;
    }
}
