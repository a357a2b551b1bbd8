/* The fused compressor: level detector, curve, smoothing and gain in one pass. */
#include "dynamics.h"

/* What a call processes; y and curve may be null. */
typedef struct {
    const void *x;
    void *y, *curve;
    double *block_states; /* [B, blocks + 1, 3] */
    int64_t channels, length;
    double *audio; /* [channels, TILE] */
} Forward;

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
                z[i] = smooth(z[i], t->k_up_signed * v, t->k_down_signed * v, t->keep_up,
                              t->keep_down);
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

#define FORWARD(name, stages, single)                                                              \
    static void lanes_##name(const Forward *f, const Rows *r, const Settings *s,                   \
                             const double *state) {                                                \
        forward_lanes(f, r, s, state, stages, single);                                             \
    }                                                                                              \
    static void row_##name(const Forward *f, const Rows *r, const Settings *s,                     \
                           const double *state) {                                                  \
        forward_row(f, r->row[0], s, state, stages, single);                                       \
    }
FORWARD(one_double, 1, 0)
FORWARD(one_single, 1, 1)
FORWARD(two_double, 2, 0)
FORWARD(two_single, 2, 1)
typedef void (*ForwardLoop)(const Forward *, const Rows *, const Settings *, const double *);
static const ForwardLoop FORWARD_LOOPS[2][2][2] = {
    /* many rows, expander, single */
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

/* The linear gain is smoothed, of the stage that reduces more; state [1] is 1 - gain. */
void rt_compress_linear(const void *x, void *y, const double *params, double *state,
                        int64_t channels, int64_t length, int32_t expander, int32_t single,
                        int64_t row, int64_t stop) {
    for (; row < stop; row++) {
        Rows rows = rows_from(row, row + 1);
        Settings s = settings_of(params, &rows);
        const Stage *t = &s.stage[0];
        int64_t start = row * channels * length;
        double *p = state + STATES * row, *z = p + 1, makeup = exp2_for(s.makeup, 0)[0];
        for (int64_t at = 0; at < length; at += BLOCK) {
            int64_t count = MIN(BLOCK, length - at);
            Tile level;
            for (int64_t n = 0; n < BLOCK; n++) {
                double peak = 1.0;
                for (int64_t c = 0; n < count && c < channels; c++) {
                    double v = get(x, start + c * length + at + n, single);
                    peak = c ? maximum(v * v, peak) : v * v;
                }
                level.at[n] = peak;
            }
            *p = row_power(&s, *p, level.at, count);
            for (int64_t n = 0; n < BLOCK; n += LANES) {
                v8 octaves = octaves_of(load(level.at + n), 0);
                v8 gain_db = t->slope * knee(&t->curve, octaves).value;
                if (expander)
                    gain_db =
                        minimum(gain_db, s.stage[1].slope * knee(&s.stage[1].curve, octaves).value);
                store(level.at + n, 1.0 - exp2_for(gain_db * LOG2_GAIN, 0));
            }
            double after = *z * t->sign[0];
            for (int64_t n = 0; n < count; n++) {
                after = smooth(after, t->k_up_signed[0] * level.at[n],
                               t->k_down_signed[0] * level.at[n], t->keep_up[0], t->keep_down[0]);
                double gain = (1.0 - after * t->sign[0]) * makeup;
                for (int64_t c = 0; c < channels; c++) {
                    int64_t i = start + c * length + at + n;
                    put(y, i, get(x, i, single) * gain, single);
                }
            }
            *z = after * t->sign[0];
        }
    }
}
