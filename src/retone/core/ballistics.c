/* Attack and release smoother on its own, and its adjoint: one row at a time, or eight in lanes. */
#include "core.h"
#include "curve.h"

#define BLOCK 64
#define TILE (LANES * BLOCK)
#define MIN_LANE_ROWS 4

/* A v8 holds eight rows; for one row all lanes are equal and the first counts. */
typedef struct {
    v8 k_up, k_down, keep_up, keep_down, sign, y;
} Smoother;

static Smoother smoother_of(const double *up, const double *down, const double *start,
                            const Rows *rows) {
    Smoother s;
    for (int j = 0; j < LANES; j++) {
        double k_up = up[rows->row[j]], k_down = down[rows->row[j]];
        s.k_up[j] = k_up, s.k_down[j] = k_down;
        s.keep_up[j] = 1.0 - k_up, s.keep_down[j] = 1.0 - k_down;
        s.sign[j] = sign_of(k_up, k_down), s.y[j] = start[rows->row[j]];
    }
    return s;
}

/* The scalar form of a smoother: its first lane. */
#define FIELDS(T, lane)                                                                            \
    T k_up = s->k_up lane, k_down = s->k_down lane, keep_up = s->keep_up lane,                     \
      keep_down = s->keep_down lane, sign = s->sign lane;                                          \
    (void)k_up, (void)k_down;

/* Smooth one tile in place (unless `past`, which receives the value before each sample). */
INLINE v8 tile_lanes(const Smoother *s, double *tile, double *past, int64_t count, v8 y) {
    FIELDS(v8, )
    v8 z = y * sign;
    for (int64_t n = 0; n < LANES * count; n += LANES) {
        v8 v = load(tile + n) * sign;
        if (past) store(past + n, z * sign);
        z = smooth(z, k_up * v, k_down * v, keep_up, keep_down);
        if (!past) store(tile + n, z * sign);
    }
    return z * sign;
}

INLINE double tile_row(const Smoother *s, const void *x, void *y, double *past, int64_t at,
                       int64_t count, double start, int single) {
    FIELDS(double, [0])
    double z = start * sign;
    for (int64_t n = 0; n < count; n++) {
        double v = get(x, at + n, single) * sign;
        if (past) past[n] = z * sign;
        z = smooth(z, k_up * v, k_down * v, keep_up, keep_down);
        if (y) put(y, at + n, z * sign, single);
    }
    return z * sign;
}

INLINE void forward(const void *x, const double *up, const double *down, const double *start,
                    void *y, double *end, int64_t length, int single, int64_t row, int64_t stop) {
    while (row < stop) {
        int many = stop - row >= MIN_LANE_ROWS;
        Rows rows = rows_from(row, many ? stop : row + 1);
        Smoother s = smoother_of(up, down, start, &rows);
        if (many) {
            _Alignas(64) double tile[TILE];
            v8 state = s.y;
            for (int64_t at = 0; at < length; at += BLOCK) {
                int64_t count = MIN(BLOCK, length - at);
                rows_to_lanes(x, &rows, length, at, count, tile, single);
                state = tile_lanes(&s, tile, 0, count, state);
                lanes_to_rows(tile, y, &rows, length, at, count, single);
            }
            for (int j = 0; j < rows.count; j++) end[row + j] = state[j];
        } else {
            end[row] = tile_row(&s, x, y, 0, row * length, length, s.y[0], single);
        }
        row += rows.count;
    }
}

void rt_ballistics_forward(const void *x, const double *up, const double *down, const double *start,
                           void *y, double *end, int64_t length, int32_t single, int64_t row,
                           int64_t stop) {
    if (single) forward(x, up, down, start, y, end, length, 1, row, stop);
    else forward(x, up, down, start, y, end, length, 0, row, stop);
}

/* One sample of the adjoint: `step` is the input minus the state before it. */
#define ADJOINT(T)                                                                                 \
    typedef struct {                                                                               \
        T carry, by_up, by_down;                                                                   \
    } Adjoint_##T;                                                                                 \
    OVERLOADED T adjoint(Adjoint_##T *a, T gy, T step, T k_up, T k_down, T keep_up, T keep_down) { \
        T none = (T)0.0, d = gy + a->carry, by_k = d * step;                                       \
        a->by_up += above(step, none, by_k, none);                                                 \
        a->by_down += above(step, none, none, by_k);                                               \
        a->carry = above(step, none, keep_up, keep_down) * d;                                      \
        return above(step, none, k_up, k_down) * d;                                                \
    }
ADJOINT(double)
ADJOINT(v8)

/* `states`, [8, blocks], receives the states before each block, which the adjoint needs. */
INLINE void backward(const void *gy, const void *x, const double *up, const double *down,
                     const double *start, void *gx, double *sums, double *states, int64_t length,
                     int64_t rows_in_all, int single, int64_t row, int64_t stop) {
    int64_t blocks = (length + BLOCK - 1) / BLOCK;
    while (row < stop) {
        _Alignas(64) double tile[TILE], past[TILE], grads[TILE];
        int many = stop - row >= MIN_LANE_ROWS;
        Rows rows = rows_from(row, many ? stop : row + 1);
        Smoother given = smoother_of(up, down, start, &rows), *s = &given;
        Adjoint_double one = {0};
        Adjoint_v8 eight = {0};
        v8 state = s->y;
        for (int64_t block = 0; block < blocks; block++) {
            int64_t at = block * BLOCK, count = MIN(BLOCK, length - at);
            store(states + LANES * block, state);
            if (many) {
                rows_to_lanes(x, &rows, length, at, count, tile, single);
                state = tile_lanes(s, tile, 0, count, state);
            } else {
                state = splat(tile_row(s, x, 0, 0, row * length + at, count, state[0], single));
            }
        }
        for (int64_t block = blocks - 1; block >= 0; block--) {
            int64_t at = block * BLOCK, count = MIN(BLOCK, length - at);
            state = load(states + LANES * block);
            if (many) {
                FIELDS(v8, )
                (void)sign;
                rows_to_lanes(x, &rows, length, at, count, tile, single);
                rows_to_lanes(gy, &rows, length, at, count, grads, single);
                tile_lanes(s, tile, past, count, state);
                for (int64_t n = LANES * (count - 1); n >= 0; n -= LANES)
                    store(grads + n,
                          adjoint(&eight, load(grads + n), load(tile + n) - load(past + n), k_up,
                                  k_down, keep_up, keep_down));
                lanes_to_rows(grads, gx, &rows, length, at, count, single);
            } else {
                FIELDS(double, [0])
                (void)sign;
                at += row * length;
                tile_row(s, x, 0, past, at, count, state[0], single);
                for (int64_t n = count - 1; n >= 0; n--)
                    put(gx, at + n,
                        adjoint(&one, get(gy, at + n, single), get(x, at + n, single) - past[n],
                                k_up, k_down, keep_up, keep_down),
                        single);
            }
        }
        for (int64_t j = 0; j < rows.count; j++) {
            sums[row + j] = many ? eight.by_up[j] : one.by_up;
            sums[rows_in_all + row + j] = many ? eight.by_down[j] : one.by_down;
            sums[2 * rows_in_all + row + j] = many ? eight.carry[j] : one.carry;
        }
        row += rows.count;
    }
}

int64_t rt_ballistics_scratch(int64_t length) { return LANES * ((length + BLOCK - 1) / BLOCK); }

void rt_ballistics_backward(const void *gy, const void *x, const double *up, const double *down,
                            const double *start, void *gx, double *sums, double *scratch,
                            int64_t length, int64_t rows_in_all, int32_t single, int64_t row,
                            int64_t stop) {
    if (single)
        backward(gy, x, up, down, start, gx, sums, scratch, length, rows_in_all, 1, row, stop);
    else backward(gy, x, up, down, start, gx, sums, scratch, length, rows_in_all, 0, row, stop);
}
