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
INLINE v8 product_of(const Audio *gy, const Audio *x, int64_t n) {
    v8 total = load_audio(gy, 0, n) * load_audio(x, 0, n);
    for (int64_t c = 1; c < x->channels; c++)
        total = fma_(load_audio(gy, c, n), load_audio(x, c, n), total);
    return total;
}

/* gx = gy * gain, plus 2 x * power for the channel that set the level, the first of equals. */
INLINE void input_gradient(const Audio *gy, const Audio *x, const Audio *gx, int64_t n, v8 gain,
                           v8 power, v8 peak) {
    v8 none = splat(0.0);
    power += power;
    for (int64_t c = 0; c < x->channels; c++) {
        v8 v = load_audio(x, c, n), own = power;
        if (x->channels > 1)
            own = above(peak, v * v, none, power), power = above(peak, v * v, power, none);
        store_audio(gx, c, n, fma_(own, v, load_audio(gy, c, n) * gain));
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
    int64_t width = lanes ? LANES : 1;            /* from a sample to the next */
    double *tile = b->audio + b->channels * TILE; /* of gy, then gx */
    v8 none = splat(0.0), one = splat(1.0);
    for (int n = 0; n < TILE; n += LANES) store(curve_grads.at + n, none);
    for (int64_t block = last; block >= first; block--) {
        int64_t at = block * BLOCK, count = MIN(BLOCK, b->length - at), numbers = width * count;
        int64_t start = item * rows->row[0] + at;
        Audio x = audio_of(b->x, b->audio, start, b->length, b->channels, single, lanes);
        Audio gy = audio_of(b->gy, tile, start, b->length, b->channels, single, lanes);
        Audio gx = audio_of(b->gx, tile, start, b->length, b->channels, single, lanes);
        for (int64_t c = 0; lanes && c < b->channels; c++) {
            int64_t from = c * b->length + at;
            read_rows(b->x, rows, item, from, count, -BLOCK, b->audio + c * TILE, 1, single);
            read_rows(b->gy, rows, item, from, count, -BLOCK, tile + c * TILE, 1, single);
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
            v8 p = peak_of(&x, n);
            if (averaged) p = mean_squares(&s, p, &m.p, lanes), store(ps.at + n + width, p);
            v8 octaves = octaves_of(p, single);
            for (int i = 0; i < stages; i++) {
                Knee k = knee(&s.curve[i], octaves);
                store(slopes[i].at + n, k.slope), store(steps[i].at + n, k.value);
            }
        }
        for (int64_t n = 0; n < numbers; n += LANES) {
            v8 beyond[2], z[2] = {m.z[0], m.z[1]}, smoothed[2];
            for (int i = 0; i < stages; i++) beyond[i] = load(steps[i].at + n);
            smooth8(s.smoother, stages, beyond, m.z, smoothed, lanes);
            for (int i = 0; i < stages; i++) {
                v8 before = states_before(smoothed[i], z[i], lanes);
                store(steps[i].at + n, fma_(-s.smoother[i].sign, before, beyond[i]));
            }
            v8 gain = exp2_for(gain_log2(&s, smoothed, stages), single);
            v8 product = product_of(&gy, &x, n);
            v8 g_gain = fma_(product * gain, splat(NEPER_PER_DB), load(curve_grads.at + n));
            store(gains.at + n, gain), store(g_gains.at + n, g_gain);
            g.makeup += g_gain;
            for (int i = 0; i < stages; i++) g.slope[i] = fma_(g_gain, smoothed[i], g.slope[i]);
        }
        for (int64_t n = numbers - LANES; n >= 0; n -= LANES) {
            v8 step[2], keep[2], d[2], g_level_db = none, g_power;
            for (int i = 0; i < stages; i++)
                step[i] = load(steps[i].at + n), keep[i] = kept(&s.smoother[i], step[i]);
            carry_back(stages, s.slope, load(g_gains.at + n), keep, after.z, d, lanes);
            for (int i = 0; i < stages; i++) {
                v8 slope = load(slopes[i].at + n);
                v8 by_curve =
                    smoother_gradient(&s.smoother[i], d[i], step[i], &g.up[i], &g.down[i]);
                g.knee = fma_(by_curve, knee_by_width(slope), g.knee);
                v8 by_d = by_curve * slope;
                g.threshold[i] += by_d;
                g_level_db += i ? -by_d : by_d;
            }
            v8 peak = peak_of(&x, n);
            if (averaged) {
                g_power = power_gradient(load(ps.at + n + width), g_level_db);
                carry_back(1, &one, g_power, &s.keep_level, &after.p, &g_power, lanes);
                g.level = fma_(g_power, peak - load(ps.at + n), g.level);
                g_power = s.k_level * g_power;
            } else {
                g_power = power_gradient(peak, g_level_db) + after.p, after.p = none;
            }
            input_gradient(&gy, &x, &gx, n, load(gains.at + n), g_power, peak);
        }
        for (int64_t c = 0; lanes && c < b->channels; c++)
            write_rows(tile + c * TILE, b->gx, rows, item, c * b->length + at, count, -BLOCK, 1,
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
    to[SLOPE] = -TOTAL(g->slope[0]) * s->smoother[0].sign[lane];
    to[K_ATTACK] = TOTAL(g->up[0]) + TOTAL(g->down[1]);
    to[K_RELEASE] = TOTAL(g->down[0]) + TOTAL(g->up[1]);
    to[KNEE_DB] = 0.5 * TOTAL(g->knee);
    to[MAKEUP_DB] = TOTAL(g->makeup);
    to[K_LEVEL] = TOTAL(g->level);
    to[EXPANDER_THRESHOLD_DB] = TOTAL(g->threshold[1]);
    to[EXPANDER_SLOPE] = -TOTAL(g->slope[1]) * s->smoother[1].sign[lane];
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
            for (uint64_t i = 0; i < sizeof g / sizeof *sum; i++) sum[i] = (v8){sum[i][0]};
            BACKWARD[ROW][!!expander][!!single](&b, &rows, &s, &g, &carry, 0, whole - 1);
        }
        for (int j = 0; j < rows.count; j++)
            write_sums(sums + (COLUMNS + STATES) * (row + j), &s, &g, &carry, j, !many);
        row += rows.count;
    }
}
