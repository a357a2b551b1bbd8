/* Cascades of second-order sections, forward and adjoint, one block at a time on vector lanes.

   One section in transposed direct form II:

       y[n] = b0 x[n] + s1        s1' = b1 x[n] - a1 y[n] + s2        s2' = b2 x[n] - a2 y[n]

   is computed with y[n] substituted into the other two, so the recursion does not wait for the
   output:

       y[n] = b0 x[n] + s1        s1' = c1 x[n] - a1 s1 + s2          s2' = c2 x[n] - a2 s1
       c1 = b1 - a1 b0            c2 = b2 - a2 b0

   The states are the same numbers; the loop-carried chain is 1.5 fused multiply-adds per sample
   instead of 2, and c1, c2, rounded once, keep the digits that b1 x - a1 y would cancel.

   Its adjoint, with gy the gradient of y and g1, g2 those of s1', s2', runs backward in time:

       gY = gy - a1 g1 - a2 g2    gx = b0 gY + b1 g1 + b2 g2          (g1, g2) <- (gY, g1)
       d b0 += gY x   d b1 += g1 x   d b2 += g2 x   d a1 -= g1 y   d a2 -= g2 y

   gx is a filter of three taps and the sums are correlations at three lags, which Winograd's
   minimal filtering (Arithmetic Complexity of Computations, SIAM 1980) computes for two samples
   with four products instead of six. With d_k the gY of sample n + k, e = d1 + d2 and f = d2 - d1:

       mean = e (b0 + b1 + b2) / 2    slope = f (b0 - b1 + b2) / 2
       gx[n] = b0 (d0 - d2) + mean + slope    gx[n+1] = mean - slope - b2 (d1 - d3)

       t = e (x[n] + x[n+1]) / 2      u = f (x[n] - x[n+1]) / 2
       d b0 += (d0 - d2) x[n] + t + u   d b1 += t - u   d b2 += t + u - (d1 - d3) x[n+1]

   and likewise, at two lags, for a1 and a2 with three products instead of four. Processors add in
   parallel with multiplications, so the extra additions are almost free.

   Two layouts apply the same operations to every sample, so their results are bit-identical:

   across: lane i is row i of eight; sections follow one another.
   skewed: lane i is section i of one row; it works two samples behind lane i - 1, whose output is
           ready by then. The sections occupy the last lanes; at both ends of a block a mask
           preserves the states of the lanes that have no sample. More than eight sections take
           several passes. */
#include "core.h"
#include "vector.h"

/* Samples between checkpoints: the signals of a block fit the L2 cache. */
#define CHECKPOINT 512
#define HOP (LANES * CHECKPOINT)
/* A pass of eight sections ends 14 samples late, rounded up to whole lanes. */
#define RAMP 16
#define RECORD (LANES * (CHECKPOINT + RAMP))
/* With this many rows or more, eight lanes across rows beat one row at a time. */
#define MIN_ROWS_FORWARD 5
#define MIN_ROWS_BACKWARD 4

/* What the loops need of one group of rows: eight in lanes, or one that is skewed. */
typedef struct {
    Rows rows;
    int skewed, single;
    int64_t sections, total;
    double *forward, *backward; /* coefficients, [sections, 5, 8] */
    double *state;              /* [sections, 2, 8] */
} Group;

typedef struct {
    v8 y, s1, s2;
} Step;
typedef struct {
    v8 b0, c1, c2, m1, m2;
} Section; /* m1 and m2 are -a1 and -a2 */

INLINE Section section_of(const double *table) {
    return (Section){load(table), load(table + 8), load(table + 16), load(table + 24),
                     load(table + 32)};
}

/* One sample of one section. */
INLINE Step step(const Section *c, v8 x, v8 s1, v8 s2) {
    return (Step){fma_(c->b0, x, s1), fma_(c->m1, s1, fma_(c->c1, x, s2)),
                  fma_(c->m2, s1, c->c2 * x)};
}

/* The coefficients of the adjoint, and the sums of products for their gradients. */
typedef struct {
    v8 b0, b2, plus, minus, m1, m2;
} Adjoint;
typedef struct {
    v8 u0, u1, u2, u3, v0, v1, v2;
} Sums;
typedef struct {
    v8 gx0, gx1, first, middle, step, last;
} Pair;

INLINE Adjoint adjoint_of(const double *table) {
    v8 b0 = load(table), b1 = load(table + 8), b2 = load(table + 16), ends = b0 + b2;
    return (Adjoint){
        b0, b2, 0.5 * (ends + b1), 0.5 * (ends - b1), load(table + 24), load(table + 32)};
}

INLINE v8 output_gradient(const Adjoint *c, v8 gy, v8 g1, v8 g2) {
    return fma_(c->m1, g1, fma_(c->m2, g2, gy));
}

/* gx of two samples from gY of four, and the differences that the sums need. */
INLINE Pair pair(const Adjoint *c, v8 d0, v8 d1, v8 d2, v8 d3) {
    Pair p = {.first = d0 - d2, .middle = d1 + d2, .step = d2 - d1, .last = d1 - d3};
    v8 mean = c->plus * p.middle, slope = c->minus * p.step;
    p.gx0 = fma_(c->b0, p.first, mean + slope);
    p.gx1 = mean - slope - c->b2 * p.last;
    return p;
}

INLINE void add_products(Sums *s, const Pair *p, v8 x0, v8 x1, v8 y0, v8 y1, v8 d2, v8 d3) {
    s->u0 = fma_(p->first, x0, s->u0), s->u1 = fma_(p->middle, x0 + x1, s->u1);
    s->u2 = fma_(p->step, x0 - x1, s->u2), s->u3 = fma_(p->last, x1, s->u3);
    s->v0 = fma_(p->step, y0, s->v0), s->v1 = fma_(d2, y0 + y1, s->v1);
    s->v2 = fma_(d3 - d2, y1, s->v2);
}

/* Add the gradients on b0 b1 b2 -a1 -a2 to a table. */
INLINE void add_sums(double *to, const Sums *s) {
    v8 u1 = 0.5 * s->u1, u2 = 0.5 * s->u2, both = u1 + u2;
    store(to, load(to) + (s->u0 + both));
    store(to + 8, load(to + 8) + (u1 - u2));
    store(to + 16, load(to + 16) + (both - s->u3));
    store(to + 24, load(to + 24) + (s->v1 - s->v0));
    store(to + 32, load(to + 32) + (s->v1 + s->v2));
}

/* Sections s and, if there are `two`, s + 1 on eight rows. */
INLINE void across_sections(const Group *g, double *signal, int64_t samples, int64_t hop, int64_t s,
                            int two) {
    Section c = section_of(g->forward + 40 * s), d = two ? section_of(g->forward + 40 * s + 40) : c;
    double *state = g->state + 16 * s, *at = signal + s * hop;
    v8 s1 = load(state), s2 = load(state + 8), t1 = s1, t2 = s2;
    if (two) t1 = load(state + 16), t2 = load(state + 24);
    for (int64_t n = 0; n < samples; n++, at += LANES) {
        Step a = step(&c, load(at), s1, s2), b = two ? step(&d, a.y, t1, t2) : a;
        if (hop || !two) store(at + hop, a.y);
        if (two) store(at + 2 * hop, b.y);
        s1 = a.s1, s2 = a.s2, t1 = b.s1, t2 = b.s2;
    }
    store(state, s1), store(state + 8, s2);
    if (two) store(state + 16, t1), store(state + 24, t2);
}

/* Cascade on eight rows: section s reads signal[s * hop :] and writes signal[(s + 1) * hop :];
   the signal is sample-major, and hop 0 works in place. */
INLINE void across_forward(const Group *g, double *signal, int64_t samples, int64_t hop) {
    int64_t s = 0;
    for (; s + 1 < g->sections; s += 2) /* two sections at once hide each other's latency */
        across_sections(g, signal, samples, hop, s, 1);
    if (s < g->sections) across_sections(g, signal, samples, hop, s, 0);
}

/* Adjoint of section s on eight rows, in place on the gradient of its output; `signal` is as
   across_forward left it with HOP, `flow` [sections, 2, 8] holds the gradients on the states. */
static void across_backward(const Group *g, double *gradient, const double *signal, int64_t samples,
                            double *flow, double *sums, int64_t s) {
    Adjoint c = adjoint_of(g->backward + 40 * s);
    v8 d2 = load(flow + 16 * s), d3 = load(flow + 16 * s + 8);
    Sums sum = {0};
    const double *xs = signal + s * HOP, *ys = xs + HOP;
    if (samples % 2) { /* the last sample: a pair without a second sample */
        int64_t i = LANES * (samples - 1);
        v8 x = load(xs + i), y = load(ys + i), zero = splat(0.0);
        v8 d0 = output_gradient(&c, load(gradient + i), d2, d3);
        Pair p = pair(&c, d0, d2, d3, zero);
        store(gradient + i, p.gx0);
        sum.u0 = p.first * x, sum.u1 = p.middle * x, sum.u2 = p.step * x;
        sum.v0 = p.step * y, sum.v1 = d3 * y;
        d3 = d2, d2 = d0;
    }
    for (int64_t n = samples - samples % 2 - 2; n >= 0; n -= 2) {
        int64_t i = LANES * n, j = i + LANES;
        v8 d1 = output_gradient(&c, load(gradient + j), d2, d3);
        v8 d0 = output_gradient(&c, load(gradient + i), d1, d2);
        Pair p = pair(&c, d0, d1, d2, d3);
        store(gradient + j, p.gx1), store(gradient + i, p.gx0);
        add_products(&sum, &p, load(xs + i), load(xs + j), load(ys + i), load(ys + j), d2, d3);
        d3 = d1, d2 = d0;
    }
    store(flow + 16 * s, d2), store(flow + 16 * s + 8, d3);
    add_sums(sums + 40 * s, &sum);
}

#define LANE ((v8){0, 1, 2, 3, 4, 5, 6, 7})

/* Lanes that have a sample at step t; `delay` is minus the lane's delay. */
INLINE m8 active(int64_t t, v8 delay, int64_t samples) {
    v8 place = (double)t + delay;
    return (place >= 0.0) & (place < (double)samples);
}
/* The first lane that holds a section in pass p, and minus the delay of each lane. */
INLINE int64_t first_lane(const Group *g, int64_t p) { return 8 - MIN(8, g->sections - 8 * p); }
INLINE v8 delays(int64_t first) {
    v8 after = LANE - (double)first;
    return after < 0.0 ? splat(-1e18) : -2.0 * after;
}
INLINE v8 rotate_up(v8 v) { return __builtin_shufflevector(v, v, 7, 0, 1, 2, 3, 4, 5, 6); }
INLINE v8 rotate_down(v8 v) { return __builtin_shufflevector(v, v, 1, 2, 3, 4, 5, 6, 7, 0); }

/* Pass p, up to eight sections on one row, in place: sample i is read at i, and its output written
   at i + 2 * (sections - 1). With `xs`, every lane's input and output at step t are recorded at
   8 * t. */
INLINE void skewed_pass(const Group *g, double *io, double *xs, double *ys, int64_t samples,
                        int64_t p, int record) {
    Section c = section_of(g->forward + 40 * p);
    double *state = g->state + 16 * p;
    v8 s1 = load(state), s2 = load(state + 8), older = splat(0.0), old = older;
    int64_t first = first_lane(g, p), ramp = 2 * (7 - first);
    v8 delay = delays(first);
    m8 entry = LANE == (double)first;
#define ONE_STEP(t, keep)                                                                          \
    v8 x = entry ? splat(io[t]) : older;                                                           \
    Step a = step(&c, x, s1, s2);                                                                  \
    keep;                                                                                          \
    if (record) store(xs + 8 * t, x), store(ys + 8 * t, a.y);                                      \
    older = old, old = rotate_up(a.y);                                                             \
    io[t] = old[0];
#define MASKED(from, to)                                                                           \
    for (int64_t t = from; t < to; t++) {                                                          \
        m8 here = active(t, delay, samples);                                                       \
        ONE_STEP(t, (s1 = here ? a.s1 : s1, s2 = here ? a.s2 : s2))                                \
    }
    MASKED(0, ramp)
    for (int64_t t = ramp; t < samples; t++) { ONE_STEP(t, (s1 = a.s1, s2 = a.s2)) }
    MASKED(MAX(samples, ramp), samples + ramp)
    store(state, s1), store(state + 8, s2);
}

/* All passes over one skewed row; its output is `lag` samples late. Pass p records to RECORD * p.
 */
static void skewed_forward(const Group *g, double *io, double *xs, double *ys, int64_t samples) {
    for (int64_t p = 0; 8 * p < g->sections; p++) {
        if (p > 0)
            for (int64_t i = 0; i < samples; i++) io[i] = io[i + 14];
        if (xs) skewed_pass(g, io, xs + RECORD * p, ys + RECORD * p, samples, p, 1);
        else skewed_pass(g, io, 0, 0, samples, p, 0);
    }
}

/* Adjoint of pass p: the gradient on output sample i is read at i + 2 * (sections - 1), that on
   input sample i written at i. xs is overwritten. */
static void skewed_backward(const Group *g, double *gradient, double *xs, const double *ys,
                            int64_t samples, double *flow, double *sums, int64_t p) {
    Adjoint c = adjoint_of(g->backward + 40 * p);
    v8 g1 = load(flow + 16 * p), g2 = load(flow + 16 * p + 8);
    int64_t first = first_lane(g, p), steps = samples + 2 * (7 - first);
    v8 delay = delays(first), zero = splat(0.0), after0 = zero, after1 = zero;
    m8 leave = LANE == 7.0;
    Sums sum = {0};
    for (int64_t t = steps - 1 + steps % 2; t > 0; t -= 2) { /* delays are even: pairs meet pairs */
        m8 here0 = active(t - 1, delay, samples), here1 = active(t, delay, samples);
        /* a lane without a sample has no gradient, whatever its memory holds */
        v8 gy0 = here0 ? (leave ? splat(gradient[t - 1]) : after0) : zero, gy1 = zero;
        if (t < steps) gy1 = here1 ? (leave ? splat(gradient[t]) : after1) : zero;
        v8 d1 = here1 ? output_gradient(&c, gy1, g1, g2) : g1, d2 = here1 ? g1 : g2;
        v8 d0 = output_gradient(&c, gy0, d1, d2);
        Pair q = pair(&c, d0, d1, d2, g2);
        double *at = xs + 8 * t;
        v8 x0 = here0 ? load(at - 8) : zero, y0 = here0 ? load(ys + 8 * t - 8) : zero;
        v8 x1 = zero, y1 = zero;
        if (t < steps) {
            x1 = here1 ? load(at) : zero, y1 = here1 ? load(ys + 8 * t) : zero;
            store(at, q.gx1);
            gradient[t] = at[first];
        }
        store(at - 8, q.gx0);
        gradient[t - 1] = at[first - 8];
        add_products(&sum, &q, x0, x1, y0, y1, d2, g2);
        g1 = here0 ? d0 : d1, g2 = here0 ? d1 : d2;
        after0 = rotate_down(q.gx0), after1 = rotate_down(q.gx1);
    }
    store(flow + 16 * p, g1), store(flow + 16 * p + 8, g2);
    add_sums(sums + 40 * p, &sum);
}

/* Where a table keeps section k of the group's row j: the index of its first number. */
INLINE int64_t place(const Group *g, int64_t k, int64_t j, int64_t numbers) {
    if (!g->skewed) return numbers * LANES * k + j;
    return numbers * LANES * (k / 8) + first_lane(g, k / 8) + k % 8;
}

INLINE int distinct(const Group *g) { return g->skewed ? 1 : LANES; }

static void fill_tables(const Group *g, const double *sos, int64_t rows_per_set) {
    for (int64_t i = 0; i < 40 * g->sections; i++) g->forward[i] = g->backward[i] = 0.0;
    for (int j = 0; j < distinct(g); j++)
        for (int64_t k = 0; k < g->sections; k++) {
            const double *c = sos + 5 * (g->rows.row[j] / rows_per_set * g->sections + k);
            double *forward = g->forward + place(g, k, j, 5),
                   *backward = g->backward + place(g, k, j, 5);
            forward[0] = backward[0] = c[0];
            forward[8] = fma_(-c[3], c[0], c[1]), backward[8] = c[1];
            forward[16] = fma_(-c[4], c[0], c[2]), backward[16] = c[2];
            forward[24] = backward[24] = -c[3];
            forward[32] = backward[32] = -c[4];
        }
}

/* States [R, blocks, S, 2] of one block to lanes. */
static void read_states(const Group *g, double *lanes, const double *rows, int64_t blocks,
                        int64_t block) {
    for (int64_t i = 0; g->skewed && i < 16 * g->sections; i++) lanes[i] = 0.0;
    for (int j = 0; j < distinct(g); j++)
        for (int64_t k = 0; k < g->sections; k++) {
            const double *at = rows + 2 * ((g->rows.row[j] * blocks + block) * g->sections + k);
            double *to = lanes + place(g, k, j, 2);
            to[0] = at[0], to[8] = at[1];
        }
}

static void write_states(const Group *g, const double *lanes, double *rows, int64_t blocks,
                         int64_t block) {
    for (int j = 0; j < distinct(g); j++)
        for (int64_t k = 0; k < g->sections; k++) {
            double *at = rows + 2 * ((g->rows.row[j] * blocks + block) * g->sections + k);
            const double *from = lanes + place(g, k, j, 2);
            at[0] = from[0], at[1] = from[8];
        }
}

static void read_block(const Group *g, const void *x, int64_t start, int64_t samples, int64_t ahead,
                       double *to) {
    if (g->skewed && g->single) read_rows(x, &g->rows, g->total, start, samples, 0, to, 0, 1);
    else if (g->skewed) read_rows(x, &g->rows, g->total, start, samples, 0, to, 0, 0);
    else if (g->single) read_rows(x, &g->rows, g->total, start, samples, ahead, to, 1, 1);
    else read_rows(x, &g->rows, g->total, start, samples, ahead, to, 1, 0);
}

static void write_block(const Group *g, void *y, int64_t start, int64_t samples, int64_t ahead,
                        const double *from) {
    if (g->skewed && g->single) write_rows(from, y, &g->rows, g->total, start, samples, 0, 0, 1);
    else if (g->skewed) write_rows(from, y, &g->rows, g->total, start, samples, 0, 0, 0);
    else if (g->single) write_rows(from, y, &g->rows, g->total, start, samples, ahead, 1, 1);
    else write_rows(from, y, &g->rows, g->total, start, samples, ahead, 1, 0);
}

static double *take(double **scratch, int64_t numbers) {
    double *here = *scratch;
    *scratch += numbers;
    return here;
}

/* x, y [R, T]; sos [K, S, 5]; states [R, S, 2]; checkpoints [R, ceil(T / 512), S, 2], or null */
RT_API int64_t rt_sections_scratch(int64_t sections, int32_t backward) {
    int64_t passes = (sections + 7) / 8;
    int64_t tables = (40 + 40 + 16) * sections, forward = HOP + RAMP;
    if (!backward) return tables + forward;
    return tables + (16 + 40) * sections + HOP * (sections + 1) + HOP + 2 * passes * RECORD +
           2 * RAMP;
}

static Group group_of(const double *sos, int64_t sections, int64_t rows_per_set, int64_t total,
                      int32_t single, int64_t row, int64_t stop, int skewed, double **scratch) {
    Group g = {rows_from(row, skewed ? row + 1 : stop),
               skewed,
               single,
               sections,
               total,
               take(scratch, 40 * sections),
               take(scratch, 40 * sections),
               take(scratch, 16 * sections)};
    fill_tables(&g, sos, rows_per_set);
    return g;
}

/* Samples by which the last pass of a skewed cascade ends late. */
static int64_t lag_of(const Group *g) { return g->skewed ? 2 * ((g->sections - 1) % 8) : 0; }

static void forward_group(const Group *g, const void *x, const double *state, void *y,
                          double *state_out, double *checkpoints, int64_t blocks, double *signal) {
    read_states(g, g->state, state, 1, 0);
    int64_t block = g->skewed && !checkpoints ? 4 * CHECKPOINT : CHECKPOINT;
    for (int64_t start = 0; start < g->total; start += block) {
        int64_t samples = MIN(block, g->total - start);
        if (checkpoints) write_states(g, g->state, checkpoints, blocks, start / block);
        read_block(g, x, start, samples, CHECKPOINT, signal);
        if (g->skewed) skewed_forward(g, signal, 0, 0, samples);
        else across_forward(g, signal, samples, 0);
        if (y) write_block(g, y, start, samples, CHECKPOINT, signal + lag_of(g));
    }
    write_states(g, g->state, state_out, 1, 0);
}

RT_API void rt_sections_forward(const void *x, const double *sos, const double *state, void *y,
                                double *state_out, double *checkpoints, double *scratch,
                                int64_t total, int64_t sections, int64_t rows_per_set,
                                int32_t single, int64_t row, int64_t stop) {
    uint64_t mode = flush_denormals();
    int64_t blocks = (total + CHECKPOINT - 1) / CHECKPOINT;
    while (row < stop) {
        double *left = scratch;
        int skewed = stop - row < MIN_ROWS_FORWARD;
        Group g = group_of(sos, sections, rows_per_set, total, single, row, stop, skewed, &left);
        forward_group(&g, x, state, y, state_out, checkpoints, blocks, left);
        row += g.rows.count;
    }
    restore_denormals(mode);
}

static void backward_group(const Group *g, const void *gy, const void *x, const double *checkpoints,
                           double *gs, void *gx, double *gc, double *scratch) {
    int64_t sections = g->sections, blocks = (g->total + CHECKPOINT - 1) / CHECKPOINT;
    int64_t records = g->skewed ? (sections + 7) / 8 * RECORD : 0;
    double *flow = take(&scratch, 16 * sections), *sums = take(&scratch, 40 * sections);
    double *xs = take(&scratch, records), *ys = take(&scratch, records);
    double *gradient = take(&scratch, HOP + RAMP), *signal = scratch;
    read_states(g, flow, gs, 1, 0);
    for (int64_t i = 0; i < 40 * sections; i++) sums[i] = 0.0;
    for (int64_t block = blocks - 1; block >= 0; block--) {
        int64_t start = block * CHECKPOINT, samples = MIN(CHECKPOINT, g->total - start);
        read_states(g, g->state, checkpoints, blocks, block);
        for (int j = 0; block > 0 && j < g->rows.count; j++)
            for (int64_t i = 0; i < 2 * sections; i += 7)
                prefetch(checkpoints, 2 * (g->rows.row[j] * blocks + block - 1) * sections + i, 0);
        read_block(g, x, start, samples, -CHECKPOINT, signal);
        read_block(g, gy, start, samples, -CHECKPOINT, gradient + lag_of(g));
        if (g->skewed) {
            skewed_forward(g, signal, xs, ys, samples);
            for (int64_t last = (sections + 7) / 8 - 1, p = last; p >= 0; p--) {
                if (p < last)
                    for (int64_t i = samples - 1; i >= 0; i--) gradient[i + 14] = gradient[i];
                skewed_backward(g, gradient, xs + RECORD * p, ys + RECORD * p, samples, flow, sums,
                                p);
            }
        } else {
            across_forward(g, signal, samples, HOP);
            for (int64_t s = sections - 1; s >= 0; s--)
                across_backward(g, gradient, signal, samples, flow, sums, s);
        }
        write_block(g, gx, start, samples, -CHECKPOINT, gradient);
    }
    write_states(g, flow, gs, 1, 0);
    for (int j = 0; j < distinct(g); j++)
        for (int64_t k = 0; k < sections; k++)
            for (int i = 0; i < 5; i++) {
                double sum = sums[place(g, k, j, 5) + 8 * i];
                gc[5 * (g->rows.row[j] * sections + k) + i] = i < 3 ? sum : -sum;
            }
}

RT_API void rt_sections_backward(const void *gy, const void *x, const double *sos,
                                 const double *checkpoints, double *gs, void *gx, double *gc,
                                 double *scratch, int64_t total, int64_t sections,
                                 int64_t rows_per_set, int32_t single, int64_t row, int64_t stop) {
    uint64_t mode = flush_denormals();
    while (row < stop) {
        double *left = scratch;
        int skewed = stop - row < MIN_ROWS_BACKWARD;
        Group g = group_of(sos, sections, rows_per_set, total, single, row, stop, skewed, &left);
        backward_group(&g, gy, x, checkpoints, gs, gx, gc, left);
        row += g.rows.count;
    }
    restore_denormals(mode);
}
