/* The fused compressor: level detector, curve, smoothing and gain in one pass. */
#include "dynamics.h"

/* What a call processes; y, curve and block_states may be null. */
typedef struct {
    const void *x;
    void *y, *curve;
    double *block_states; /* [B, blocks + 1, 3] */
    int64_t channels, length;
    double *audio; /* [channels, TILE] */
    int expander, single;
} Forward;

/* How a gain is made: by the compressor alone, with the expander, or by the stage that reduces
   more, with the reduction of the linear gain smoothed. */
enum { ONE_STAGE, TWO_STAGES, LINEAR };

/* 1 minus the linear gain. */
INLINE v8 reduction(const Settings *s, v8 octaves, int expander) {
    v8 gain_db = s->slope[0] * knee(&s->curve[0], octaves).value;
    if (expander) gain_db = minimum(gain_db, s->slope[1] * knee(&s->curve[1], octaves).value);
    return 1.0 - exp2_for(gain_db * LOG2_GAIN, 0);
}

/* Samples `from` ... `to` - 1 of eight rows, or of one, where they fill vectors. */
INLINE void forward(const Forward *call, const Rows *rows, const Settings *given, State *state,
                    int64_t from, int64_t to, int kind, int single, int lanes) {
    Settings s = *given; /* local copies: no store aliases them, so they stay in registers */
    Forward local = *call, *f = &local;
    State m = *state;
    int linear = kind == LINEAR, stages = kind == TWO_STAGES ? 2 : 1;
    int64_t item = f->channels * f->length, stride = STATES * (blocks_in(f->length) + 1);
    int64_t late =
        lanes ? 0 : LANES; /* a row's gains run behind its recursion, whose latency they fill */
    v8 makeup = exp2_for(s.makeup, 0);
    Tile over[2], decibels;
    v8 after[2] = {s.makeup, s.makeup};
    for (int64_t at = from; at < to; at += BLOCK) {
        int64_t count = MIN(BLOCK, to - at), numbers = (lanes ? LANES : 1) * count;
        if (f->block_states && at % BLOCK == 0)
            save_state(&m, f->block_states + at / BLOCK * STATES, stride, rows, &s, lanes);
        int64_t start = item * rows->row[0] + at;
        Audio x = audio_of(f->x, f->audio, start, f->length, f->channels, single, lanes);
        Audio y = audio_of(f->y ? f->y : f->x, f->audio, start, f->length, f->channels, single, lanes);
        for (int64_t c = 0; lanes && c < f->channels; c++)
            read_rows(f->x, rows, item, c * f->length + at, count, BLOCK, f->audio + c * TILE, 1,
                      single);
        /* short loops let the processor overlap several samples */
        for (int64_t n = 0; n < numbers; n += LANES) {
            v8 power = mean_squares(&s, peak_of(&x, n), &m.p, lanes);
            v8 octaves = octaves_of(power, single && !linear);
            for (int i = 0; !linear && i < stages; i++)
                store(over[i].at + n, knee(&s.curve[i], octaves).value);
            if (linear) store(over[0].at + n, reduction(&s, octaves, f->expander));
        }
        for (int64_t n = 0; n < numbers + late; n += LANES) {
            v8 before[2] = {after[0], after[1]}, beyond[2], gain;
            for (int i = 0; n < numbers && i < stages; i++) beyond[i] = load(over[i].at + n);
            if (n < numbers) smooth8(s.smoother, stages, beyond, m.z, after, lanes);
            if (n < late) continue;
            const v8 *z = late ? before : after;
            if (linear) {
                gain = (1.0 - z[0] * s.smoother[0].sign) * makeup;
            } else {
                gain = gain_log2(&s, z, stages);
                if (f->curve) store(decibels.at + n - late, gain * (1.0 / LOG2_GAIN));
                gain = exp2_for(gain, single);
            }
            for (int64_t c = 0; f->y && c < f->channels; c++)
                store_audio(&y, c, n - late, load_audio(&x, c, n - late) * gain);
        }
        if (f->curve)
            write_rows(decibels.at, f->curve, rows, f->length, at, count, BLOCK, lanes, single);
        for (int64_t c = 0; lanes && f->y && c < f->channels; c++)
            write_rows(f->audio + c * TILE, f->y, rows, item, c * f->length + at, count, BLOCK, 1,
                       single);
    }
    if (lanes) *state = m;
    else *state = (State){splat(m.p[0]), {splat(m.z[0][0]), splat(m.z[1][0])}};
}

/* Each kind is compiled for one row and for eight, and those that training runs for both types of
   audio. */
#define FORM(kind, name, single, lanes)                                                            \
    static void forward_##kind##name##lanes(const Forward *f, const Rows *rows, const Settings *s, \
                                            State *m, int64_t from, int64_t to) {                  \
        forward(f, rows, s, m, from, to, kind, single, lanes);                                     \
    }
#define FORMS(kind, type) FORM(kind, type, type, 0) FORM(kind, type, type, 1)
#define LOOPS(kind, type) {forward_##kind##type##0, forward_##kind##type##1}
FORMS(ONE_STAGE, 0)
FORMS(TWO_STAGES, 0)
FORM(LINEAR, 0, f->single, 0)
FORM(LINEAR, 0, f->single, 1)
#if defined(__wasm__) /* the page's audio is float64 */
#define SINGLE_LOOPS(kind) LOOPS(kind, 0)
#else
#define SINGLE_LOOPS(kind) LOOPS(kind, 1)
FORMS(ONE_STAGE, 1)
FORMS(TWO_STAGES, 1)
#endif
static void (*const FORWARD[3][2][2])(const Forward *, const Rows *, const Settings *, State *,
                                      int64_t,
                                      int64_t) = {{LOOPS(ONE_STAGE, 0), SINGLE_LOOPS(ONE_STAGE)},
                                                  {LOOPS(TWO_STAGES, 0), SINGLE_LOOPS(TWO_STAGES)},
                                                  {LOOPS(LINEAR, 0), LOOPS(LINEAR, 0)}};

/* `end` [B, stride] receives the last states. */
static void compress(const Forward *f, const double *params, const double *state, double *end,
                     int64_t stride, int kind, int64_t row, int64_t stop) {
    while (row < stop) {
        int many = stop - row >= MIN_LANE_ROWS;
        Rows rows = rows_from(row, many ? stop : row + 1);
        Settings s = settings_of(params, &rows);
        State m = load_state(state, STATES, &rows, &s);
        int64_t alone = many ? 0 : f->length - f->length % LANES;
        if (alone > 0) FORWARD[kind][f->single][0](f, &rows, &s, &m, 0, alone);
        if (alone < f->length) FORWARD[kind][f->single][1](f, &rows, &s, &m, alone, f->length);
        save_state(&m, end, stride, &rows, &s, 1);
        row += rows.count;
    }
}

RT_API int64_t rt_compress_scratch(int64_t channels) { return 2 * channels * TILE; }

/* x, y [B, C, T]; curve [B, T]; block_states [B, ceil(T / 64) + 1, 3] */
RT_API void rt_compress_forward(const void *x, void *y, void *curve, double *block_states,
                                const double *params, const double *state, double *scratch,
                                int64_t channels, int64_t length, int32_t expander, int32_t single,
                                int64_t row, int64_t stop) {
    Forward f = {x, y, curve, block_states, channels, length, scratch, expander, !!single};
    int64_t last = STATES * blocks_in(length);
    compress(&f, params, state, block_states + last, last + STATES,
             expander ? TWO_STAGES : ONE_STAGE, row, stop);
}

/* As retone.effects.compressor with the linear gain smoothed: state [B, 3], changed, with
   1 - gain. */
RT_API void rt_compress_linear(const void *x, void *y, const double *params, double *state,
                               double *scratch, int64_t channels, int64_t length, int32_t expander,
                               int32_t single, int64_t row, int64_t stop) {
    Forward f = {x, y, 0, 0, channels, length, scratch, expander, !!single};
    compress(&f, params, state, state, STATES, LINEAR, row, stop);
}
