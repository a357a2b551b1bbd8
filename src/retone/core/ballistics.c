/* Attack and release smoother on its own, and its adjoint: one row at a time, or eight in lanes, as
   in dynamics.h. */
#include "dynamics.h"

/* What a call processes; y and states may be null. */
typedef struct {
    const void *gy, *x;
    void *y; /* or gx */
    int64_t length;
    double *states; /* [blocks, 8]: before each block */
} Call;

typedef struct {
    v8 up, down, carry;
} Gradients;

static Smoother smoother_of(const double *up, const double *down, const Rows *rows) {
    Smoother s;
    UNROLLED for (int j = 0; j < LANES; j++)
        set_smoother(&s, j, up[rows->row[j]], down[rows->row[j]]);
    return s;
}

/* The whole of some rows, from and to the state z. */
INLINE void forward(const Call *c, const Rows *rows, const Smoother *given, v8 *state, int single,
                    int lanes) {
    Smoother s = *given;
    v8 z = *state;
    Tile tile;
    for (int64_t at = 0; at < c->length; at += BLOCK) {
        int64_t count = MIN(BLOCK, c->length - at), start = rows->row[0] * c->length + at;
        if (c->states) store(c->states + at / BLOCK * LANES, z);
        if (lanes) read_rows(c->x, rows, c->length, at, count, 0, tile.at, 1, single);
        for (int64_t n = 0; lanes && n < LANES * count; n += LANES) {
            v8 v = load(tile.at + n), after;
            smooth8(&s, 1, &v, &z, &after, 1);
            store(tile.at + n, after * s.sign);
        }
        if (lanes && c->y) write_rows(tile.at, c->y, rows, c->length, at, count, 0, 1, single);
        double now = z[0];
        for (int64_t n = start; !lanes && n < start + count; n++) { /* one row: only the recursion */
            double v = get(c->x, n, single);
            now =
                smooth(now, s.signed_up[0] * v, s.signed_down[0] * v, s.keep_up[0], s.keep_down[0]);
            if (c->y) put(c->y, n, now * s.sign[0], single);
        }
        if (!lanes) z = splat(now);
    }
    *state = z;
}

/* Blocks `last` ... `first`. */
INLINE void backward(const Call *c, const Rows *rows, const Smoother *given, Gradients *sums,
                     int64_t first, int64_t last, int single, int lanes) {
    Smoother s = *given;
    Gradients g = *sums;
    Tile steps, grads;
    v8 one = splat(1.0);
    for (int64_t block = last; block >= first; block--) {
        int64_t at = block * BLOCK, count = MIN(BLOCK, c->length - at);
        int64_t numbers = (lanes ? LANES : 1) * count;
        read_rows(c->x, rows, c->length, at, count, 0, steps.at, lanes, single);
        read_rows(c->gy, rows, c->length, at, count, 0, grads.at, lanes, single);
        v8 z = load(c->states + LANES * block);
        for (int64_t n = 0; n < numbers; n += LANES) {
            v8 x = load(steps.at + n), before = z, after;
            smooth8(&s, 1, &x, &z, &after, lanes);
            store(steps.at + n, fma_(-s.sign, states_before(after, before, lanes), x));
        }
        for (int64_t n = numbers - LANES; n >= 0; n -= LANES) {
            v8 step = load(steps.at + n), keep = kept(&s, step);
            v8 d;
            carry_back(1, &one, load(grads.at + n), &keep, &g.carry, &d, lanes);
            store(grads.at + n, smoother_gradient(&s, d, step, &g.up, &g.down));
        }
        write_rows(grads.at, c->y, rows, c->length, at, count, 0, lanes, single);
    }
    *sums = g;
}

#define FORM(single, lanes)                                                                        \
    static void forward_##single##lanes(const Call *c, const Rows *rows, const Smoother *s,        \
                                        v8 *z) {                                                   \
        forward(c, rows, s, z, single, lanes);                                                     \
    }                                                                                              \
    static void backward_##single##lanes(const Call *c, const Rows *rows, const Smoother *s,       \
                                         Gradients *g, int64_t first, int64_t last) {              \
        backward(c, rows, s, g, first, last, single, lanes);                                       \
    }
FORM(0, 0)
FORM(0, 1)
FORM(1, 0)
FORM(1, 1)

/* The whole of some rows; returns their last states. */
static v8 run(const Call *c, const Rows *rows, const Smoother *s, const double *start, int single,
              int many) {
    v8 z;
    for (int j = 0; j < LANES; j++) z[j] = start[rows->row[j]];
    z *= s->sign;
    if (many) (single ? forward_11 : forward_01)(c, rows, s, &z);
    else (single ? forward_10 : forward_00)(c, rows, s, &z);
    return z * s->sign;
}

/* x, y [R, T]; the rest [R] */
RT_API void rt_ballistics_forward(const void *x, const double *up, const double *down,
                                  const double *start, void *y, double *end, int64_t length,
                                  int32_t single, int64_t row, int64_t stop) {
    Call c = {0, x, y, length, 0};
    while (row < stop) {
        int many = stop - row >= MIN_LANE_ROWS;
        Rows rows = rows_from(row, many ? stop : row + 1);
        Smoother s = smoother_of(up, down, &rows);
        v8 last = run(&c, &rows, &s, start, single, many);
        for (int j = 0; j < rows.count; j++) end[row + j] = last[j];
        row += rows.count;
    }
}

RT_API int64_t rt_ballistics_scratch(int64_t length) { return LANES * blocks_in(length); }

/* sums [3, R]: gradients on up, down and start */
RT_API void rt_ballistics_backward(const void *gy, const void *x, const double *up,
                                   const double *down, const double *start, void *gx, double *sums,
                                   double *scratch, int64_t length, int64_t rows_in_all,
                                   int32_t single, int64_t row, int64_t stop) {
    Call first = {0, x, 0, length, scratch}, c = {gy, x, gx, length, scratch};
    int64_t blocks = blocks_in(length), whole = length / BLOCK;
    while (row < stop) {
        int many = stop - row >= MIN_LANE_ROWS;
        Rows rows = rows_from(row, many ? stop : row + 1);
        Smoother s = smoother_of(up, down, &rows);
        Gradients g = {0};
        run(&first, &rows, &s, start, single, many);
        (single ? backward_11 : backward_01)(&c, &rows, &s, &g, many ? 0 : whole, blocks - 1);
        if (!many) { /* the last block's sums stand in every lane */
            g.up = (v8){g.up[0]}, g.down = (v8){g.down[0]};
            (single ? backward_10 : backward_00)(&c, &rows, &s, &g, 0, whole - 1);
        }
        for (int j = 0; j < rows.count; j++) {
            sums[row + j] = many ? g.up[j] : sum_lanes(g.up);
            sums[rows_in_all + row + j] = many ? g.down[j] : sum_lanes(g.down);
            sums[2 * rows_in_all + row + j] = g.carry[j];
        }
        row += rows.count;
    }
}
