/* What Python may call: the functions marked RT_API. Python reads their signatures from the C files
   (retone/core/build.py): keep one form, `RT_API type name(type name, ...) {`.

   Arrays are contiguous. `const void *` is audio, float32 where `single` is not 0, else float64;
   `[R, T]` means row after row. The core allocates nothing: `scratch` holds as many float64 as the
   function named ..._scratch says, starts at a cache line, and belongs to one thread at a time.
   Functions with `row` and `stop` process rows row ... stop - 1 of a batch. Nothing is checked:
   retone.kernels does. The studio's page has float64 only: there `single` is 0. */
#ifndef RETONE_CORE_H
#define RETONE_CORE_H

#include <stdint.h>

#if defined(RT_PRIVATE) /* inside a plug-in */
#define RT_API __attribute__((visibility("hidden")))
#elif defined(_WIN32)
#define RT_API __declspec(dllexport)
#else
#define RT_API __attribute__((visibility("default")))
#endif

/* Kinds of sections; without a gain those after the shelves. For peaks and shelves, the kind is the
   sign of the cosine and of the odd coefficients. */
enum { HIGH_SHELF = -1, PEAK, LOW_SHELF, FIRST_LOW_PASS, LOW_PASS, HIGH_PASS, ALL_PASS };

/* The functions that the plug-ins call. */
RT_API void rt_design_forward(const int64_t *kinds, const double *hz, const double *gain_db,
                              const double *q, double *out, int64_t rows, int64_t sections,
                              double rate, double top_hz);
RT_API void rt_design_dynamics(const double *values, double *params, int64_t rows, double rate);
RT_API void rt_sections_forward(const void *x, const double *sos, const double *state, void *y,
                                double *state_out, double *checkpoints, double *scratch,
                                int64_t total, int64_t sections, int64_t rows_per_set,
                                int32_t single, int64_t row, int64_t stop);
RT_API void rt_compress_forward(const void *x, void *y, void *curve, double *block_states,
                                const double *params, const double *state, double *scratch,
                                int64_t channels, int64_t length, int32_t expander, int32_t single,
                                int64_t row, int64_t stop);

#endif
