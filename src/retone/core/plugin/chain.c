/* Equaliser, dynamics and gain on the core's loops. See chain.h. */
#include "chain.h"

#include <math.h>
#include <string.h>

#include "../core.h"
#include "../vector.h"

#define CHANNELS 2
#define SEGMENT 256  /* most samples rendered at a time */
#define STEP 64      /* samples over which moving values advance by one step */
#define RAMP_S 0.02  /* time in which values reach their targets */
#define BLOCK 64     /* samples between the compressor's checkpoints */
#define STATES 3     /* of the compressor */
#define LIMIT 1e15   /* louder samples are faults */
#define SCRATCH 5120 /* at least what rt_sections_scratch and rt_compress_scratch say */

/* What the loops need of a set of values. */
typedef struct {
    double equalizer[EQUALIZER_BANDS][5], split[CROSSOVERS][5],
        dynamics[DYNAMICS_BANDS][DYNAMICS_VALUES];
    double gain;
} Design;

typedef struct {
    double equalizer[CHANNELS * EQUALIZER_BANDS * 2], split[CROSSOVERS * CHANNELS * 2];
    double dynamics[DYNAMICS_BANDS * STATES];
} State;

struct Chain {
    const Plugin *plugin;
    double rate;
    int32_t channels, fresh; /* fresh: no audio yet, so values need not move */
    double target[MAX_PARAMETERS], value[MAX_PARAMETERS], from[MAX_PARAMETERS];
    int64_t steps, steps_done, in_step; /* of the ramp; steps 0: values stand still */
    Design now, next;
    State state, old;
    double x[CHANNELS * SEGMENT], y[CHANNELS * SEGMENT], z[CHANNELS * SEGMENT];
    double equalized[CHANNELS * SEGMENT], copies[CROSSOVERS * CHANNELS * SEGMENT];
    double low[CROSSOVERS * CHANNELS * SEGMENT];
    double bands[DYNAMICS_BANDS * CHANNELS * SEGMENT], shaped[DYNAMICS_BANDS * CHANNELS * SEGMENT];
    double checkpoints[DYNAMICS_BANDS * (SEGMENT / BLOCK + 1) * STATES];
    _Alignas(64) double scratch[SCRATCH];
};

_Static_assert(SCRATCH >= 120 * EQUALIZER_BANDS + 8 * 512 + 16, "sections");
_Static_assert(SCRATCH >= 2 * CHANNELS * 8 * BLOCK, "compressor");

int64_t retone_chain_bytes(void) { return (int64_t)sizeof(Chain) + 64; }

int32_t retone_chain_parameters(int32_t kind) {
    return kind >= 0 && kind < PLUGIN_COUNT ? PLUGINS[kind].count : 0;
}

static void design(const Chain *c, const double *value, Design *d) {
    const Layout *at = &c->plugin->layout;
    int64_t kinds[EQUALIZER_BANDS], low_pass[CROSSOVERS];
    double hz[EQUALIZER_BANDS], gain_db[EQUALIZER_BANDS], q[EQUALIZER_BANDS], split[CROSSOVERS];
    double top_hz = TOP_OF_BAND * c->rate, dynamics[DYNAMICS_BANDS][DYNAMICS_VALUES];
    for (int i = 0; i < EQUALIZER_BANDS; i++) {
        kinds[i] = i == 0 ? LOW_SHELF : i == EQUALIZER_BANDS - 1 ? HIGH_SHELF : PEAK;
        hz[i] = value[at->equalizer[i][0]], gain_db[i] = value[at->equalizer[i][1]];
        q[i] = value[at->equalizer[i][2]];
    }
    rt_design_forward(kinds, hz, gain_db, q, d->equalizer[0], 1, EQUALIZER_BANDS, c->rate, top_hz);
    for (int i = 0; i < CROSSOVERS; i++) {
        low_pass[i] = FIRST_LOW_PASS;
        split[i] = at->bands > 1 ? value[at->crossovers[i]] : 0.0;
    }
    rt_design_forward(low_pass, split, gain_db, q, d->split[0], 1, CROSSOVERS, c->rate, top_hz);
    for (int i = 0; i < at->bands; i++)
        for (int j = 0; j < DYNAMICS_VALUES; j++) {
            int16_t of = at->dynamics[i][j];
            dynamics[i][j] = of < 0 ? BANDS_KNEE_DB : value[of];
        }
    rt_design_dynamics(dynamics[0], d->dynamics[0], at->bands, c->rate);
    d->gain = pow(10.0, value[at->gain] / 20.0);
}

/* `bands` rows of the compressor, [bands, channels, n]. */
static void compress(Chain *c, const Design *d, State *s, const double *x, double *y, int64_t bands,
                     int64_t n) {
    int64_t blocks = (n + BLOCK - 1) / BLOCK + 1;
    rt_compress_forward(x, y, 0, c->checkpoints, d->dynamics[0], s->dynamics, c->scratch,
                        c->channels, n, 1, 0, 0, bands);
    for (int64_t i = 0; i < bands; i++)
        for (int64_t j = 0; j < STATES; j++)
            s->dynamics[STATES * i + j] = c->checkpoints[(blocks * (i + 1) - 1) * STATES + j];
}

/* The bands by subtraction, and the sum of the input and what their dynamics change. */
static void multiband(Chain *c, const Design *d, State *s, const double *x, double *y, int64_t n) {
    int64_t width = c->channels * n;
    for (int64_t i = 0; i < CROSSOVERS; i++)
        memcpy(c->copies + i * width, x, sizeof(double) * (size_t)width);
    rt_sections_forward(c->copies, d->split[0], s->split, c->low, s->split, 0, c->scratch, n, 1,
                        c->channels, 0, 0, CROSSOVERS * c->channels);
    for (int64_t i = 0; i < width; i++) {
        c->bands[i] = c->low[i];
        for (int64_t k = 1; k < CROSSOVERS; k++)
            c->bands[k * width + i] = c->low[k * width + i] - c->low[(k - 1) * width + i];
        c->bands[CROSSOVERS * width + i] = x[i] - c->low[(CROSSOVERS - 1) * width + i];
    }
    compress(c, d, s, c->bands, c->shaped, CROSSOVERS + 1, n);
    for (int64_t i = 0; i < width; i++) {
        double sum = x[i];
        for (int64_t k = 0; k <= CROSSOVERS; k++)
            sum += c->shaped[k * width + i] - c->bands[k * width + i];
        y[i] = sum;
    }
}

/* n samples of x [channels, n] into y. A fault in the signal makes silence and a fresh state. */
static void render(Chain *c, const Design *d, State *s, const double *x, double *y, int64_t n) {
    double worst = 0.0;
    rt_sections_forward(x, d->equalizer[0], s->equalizer, c->equalized, s->equalizer, 0, c->scratch,
                        n, EQUALIZER_BANDS, c->channels, 0, 0, c->channels);
    if (c->plugin->layout.bands > 1) multiband(c, d, s, c->equalized, y, n);
    else compress(c, d, s, c->equalized, y, 1, n);
    for (int64_t i = 0; i < c->channels * n; i++) {
        y[i] *= d->gain;
        worst = fabs(y[i]) <= worst ? worst : fabs(y[i]); /* keeps NaN */
        if (!(worst <= LIMIT)) break;
    }
    if (worst <= LIMIT) return;
    memset(s, 0, sizeof *s);
    memset(y, 0, sizeof(double) * (size_t)(c->channels * n));
}

/* -- moving values --------------------------------------------------------------------------- */

static void start_step(Chain *c) {
    double share = (double)(c->steps_done + 1) / (double)c->steps;
    for (int32_t i = 0; i < c->plugin->count; i++) {
        double a = c->from[i], b = c->target[i];
        if (a == b) continue;
        if (c->steps_done + 1 == c->steps) c->value[i] = b;
        else if (c->plugin->parameters[i].log) c->value[i] = a * pow(b / a, share);
        else c->value[i] = a + share * (b - a);
    }
    design(c, c->value, &c->next);
    c->old = c->state;
}

/* Up to the end of a step: what the values before it make, crossfaded with what those after it
   make. */
static void render_step(Chain *c, int64_t n) {
    if (c->in_step == 0) start_step(c);
    render(c, &c->now, &c->old, c->x, c->y, n);
    render(c, &c->next, &c->state, c->x, c->z, n);
    for (int64_t k = 0; k < c->channels; k++)
        for (int64_t i = 0; i < n; i++) {
            double share = (double)(c->in_step + i + 1) / STEP;
            c->y[k * n + i] += share * (c->z[k * n + i] - c->y[k * n + i]);
        }
    c->in_step += n;
    if (c->in_step < STEP) return;
    c->now = c->next;
    c->in_step = 0;
    if (++c->steps_done == c->steps) c->steps = 0;
}

void retone_chain_reset(Chain *c) {
    memcpy(c->value, c->target, sizeof c->value);
    memset(&c->state, 0, sizeof c->state);
    c->steps = c->steps_done = c->in_step = 0;
    c->fresh = 1;
}

Chain *retone_chain_make(void *memory, int32_t kind, double sample_rate, int32_t channels) {
    Chain *c = (Chain *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
    memset(c, 0, sizeof *c);
    c->plugin = &PLUGINS[kind];
    c->rate = sample_rate, c->channels = channels;
    for (int32_t i = 0; i < c->plugin->count; i++) c->target[i] = c->plugin->parameters[i].start;
    retone_chain_reset(c);
    return c;
}

void retone_chain_set(Chain *c, int32_t parameter, double value) {
    const Parameter *p = &c->plugin->parameters[parameter];
    if (!(value == value)) value = p->start;
    value = value < p->low ? p->low : value > p->high ? p->high : value;
    if (value == c->target[parameter]) return;
    c->target[parameter] = value;
    if (c->fresh) {
        c->value[parameter] = value;
        return;
    }
    /* a running step ends first, then everything moves on from where it is */
    memcpy(c->from, c->value, sizeof c->from);
    c->steps = (int64_t)ceil(RAMP_S * c->rate / STEP);
    c->steps_done = c->in_step > 0 ? -1 : 0;
}

double retone_chain_get(const Chain *c, int32_t parameter) { return c->target[parameter]; }

void retone_chain_process(Chain *c, const float *const *in, float *const *out, int64_t frames) {
    uint64_t mode = flush_denormals();
    if (c->fresh && frames > 0) {
        design(c, c->value, &c->now);
        c->fresh = 0;
    }
    for (int64_t at = 0, n; at < frames; at += n) {
        n = MIN(frames - at, c->steps ? STEP - c->in_step : SEGMENT);
        for (int64_t k = 0; k < c->channels; k++)
            for (int64_t i = 0; i < n; i++) c->x[k * n + i] = in[k][at + i];
        if (c->steps) render_step(c, n);
        else render(c, &c->now, &c->state, c->x, c->y, n);
        for (int64_t k = 0; k < c->channels; k++)
            for (int64_t i = 0; i < n; i++) out[k][at + i] = (float)c->y[k * n + i];
    }
    restore_denormals(mode);
}
