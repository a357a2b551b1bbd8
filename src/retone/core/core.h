/* The functions of the core. Python reads their signatures from this file
   (retone/core/__init__.py): keep one form, `RT_API type name(type name, ...);`.

   Arrays are contiguous. `const void *` is audio, float32 where `single` is not 0, else float64;
   `[R, T]` means row after row. The core allocates nothing: `scratch` holds as many float64 as the
   function named ..._scratch says, starts at a cache line, and belongs to one thread at a time.
   Functions with `row` and `stop` process rows row ... stop - 1 of a batch. Nothing is checked:
   retone.kernels does. */
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

/* cpu.c */
RT_API int32_t rt_cpu_level(void);

/* sections.c: x, y [R, T]; sos [K, S, 5]; states [R, S, 2]; checkpoints [R, ceil(T / 512), S, 2] */
RT_API int64_t rt_sections_scratch(int64_t sections, int32_t backward);
RT_API void rt_sections_forward(const void *x, const double *sos, const double *state, void *y,
                                double *state_out, double *checkpoints, double *scratch,
                                int64_t total, int64_t sections, int64_t rows_per_set,
                                int32_t single, int64_t row, int64_t stop);
RT_API void rt_sections_backward(const void *gy, const void *x, const double *sos,
                                 const double *checkpoints, double *gs, void *gx, double *gc,
                                 double *scratch, int64_t total, int64_t sections,
                                 int64_t rows_per_set, int32_t single, int64_t row, int64_t stop);

/* dynamics.c: x, y [B, C, T]; curve, gain_grad [B, T]; block_states [B, ceil(T / 64) + 1, 3] */
RT_API int64_t rt_compress_scratch(int64_t channels);
RT_API void rt_compress_forward(const void *x, void *y, void *curve, double *block_states,
                                const double *params, const double *state, double *scratch,
                                int64_t channels, int64_t length, int32_t expander, int32_t single,
                                int64_t row, int64_t stop);
RT_API void rt_compress_backward(const void *gy, const void *x, const void *gain_grad, void *gx,
                                 const double *block_states, const double *params,
                                 const double *end_grad, double *sums, double *scratch,
                                 int64_t channels, int64_t length, int32_t expander,
                                 int32_t averaged, int32_t single, int64_t row, int64_t stop);

/* as retone.effects.compressor with the linear gain smoothed: state [B, 3], changed */
RT_API void rt_compress_linear(const void *x, void *y, const double *params, double *state,
                               int64_t channels, int64_t length, int32_t expander, int32_t single,
                               int64_t row, int64_t stop);

/* ballistics.c: x, y [R, T]; the rest [R]; sums [3, R]: on up, down and start */
RT_API void rt_ballistics_forward(const void *x, const double *up, const double *down,
                                  const double *start, void *y, double *end, int64_t length,
                                  int32_t single, int64_t row, int64_t stop);
RT_API int64_t rt_ballistics_scratch(int64_t length);
RT_API void rt_ballistics_backward(const void *gy, const void *x, const double *up,
                                   const double *down, const double *start, void *gx, double *sums,
                                   double *scratch, int64_t length, int64_t rows_in_all,
                                   int32_t single, int64_t row, int64_t stop);

/* designs.c: hz, gain_db, q [B, S]; sections [B, S, 5] */
RT_API void rt_design_forward(const int64_t *kinds, const double *hz, const double *gain_db,
                              const double *q, double *out, int64_t rows, int64_t sections,
                              double rate, double top_hz);
RT_API void rt_design_backward(const int64_t *kinds, const double *hz, const double *gain_db,
                               const double *q, const double *designed, const double *grad,
                               double *g_hz, double *g_db, double *g_q, int64_t rows,
                               int64_t sections, double rate, double top_hz);

/* values [B, 9] in physical units: threshold_db, ratio, attack_ms, release_ms, knee_db, makeup_db,
   rms_ms, expander_threshold_db, expander_ratio; params [B, 9]: as for dynamics.c */
RT_API void rt_design_dynamics(const double *values, double *params, int64_t rows, double rate);

/* fir.c: table [size], spectra [ceil(taps / 128), 512], scratch [1024]; x [C, 128], C <= 2,
   changed; state [257 + 512 parts], zeros at the start. A curve: gains_db [points], three an octave
   from lowest_hz on; taps [reach], or [2 reach + 1] if linear; table [size], scratch [4 size] */
RT_API void rt_fft_table(double *table, int64_t size);
RT_API void rt_fir_spectra(const double *taps, double *spectra, const double *table,
                           double *scratch, int64_t count);
RT_API void rt_fir_block(double *x, const double *spectra, double *state, const double *table,
                         double *scratch, int64_t channels, int64_t parts);
RT_API int64_t rt_curve_size(int64_t reach);
RT_API void rt_curve_taps(const double *gains_db, double *taps, const double *table,
                          double *scratch, int64_t points, int64_t reach, double lowest_hz,
                          double rate, int32_t linear);

/* level.c */
RT_API double rt_true_peak(const void *x, const double *taps, int64_t width, int64_t phases,
                           double bound, double peak, int32_t single);
RT_API void rt_limiter_peaks(const void *x, const double *taps, void *points, void *sample,
                             int64_t channels, int64_t width, int64_t phases, double bound,
                             double ceiling, int32_t single);
RT_API void rt_limiter_gain(const void *points, const void *sample, int64_t *ints, double *floats,
                            int64_t *queue, int64_t *rings, int64_t *out, int64_t count,
                            int64_t size, int64_t length, int64_t hold, int64_t one, double ceiling,
                            double target, double release, int32_t single);
RT_API void rt_k_weighted(const void *x, const double *kw, double *state, double *sums,
                          const int64_t *edges, double *out, int64_t count, int64_t hops,
                          int32_t single);
RT_API void rt_flat_tops(const void *x, double *s, int64_t count, double sign, double step,
                         double corner_steps, double least_run, int32_t single);
RT_API int64_t rt_used_bits(const void *x, int64_t count, int64_t bits, int32_t single);
RT_API int64_t rt_quantise(const void *x, int32_t *out, int64_t channels, int64_t frames,
                           int64_t bits, int64_t seed, int64_t start, int32_t dither,
                           int32_t single);

/* spectra.c */
RT_API void rt_write_frames(const float *signals, const float *window, float *out, int64_t length,
                            int64_t width, int64_t first, int64_t per_row, int64_t hop,
                            int64_t offset, int64_t count, int64_t size);
RT_API void rt_overlap_add(const float *frames, const float *window, float *signals, int64_t length,
                           int64_t width, int64_t first, int64_t per_row, int64_t hop,
                           int64_t offset, int64_t count, int64_t size);
RT_API void rt_power(const float *spectrum, float *out, int64_t count, int64_t bins);
RT_API void rt_convergence_sums(const float *spectrum, const float *target, double *sums,
                                int64_t count, int64_t bins);
RT_API void rt_compare(float *spectrum, const float *target, double *sums, double c_log,
                       double c_linear, double c_convergence, int64_t first, int64_t per_row,
                       int64_t count, int64_t bins, int32_t powers, int32_t gradient);
RT_API void rt_frame_powers(const float *spectrum, const float *frequency, float *power,
                            float *magnitudes, double scale, int64_t count, int64_t bins);
RT_API void rt_frame_gradient(const float *spectrum, const float *frequency, const float *grad,
                              const float *grad_magnitudes, float *out, double scale, int64_t count,
                              int64_t bins);
RT_API void rt_block_levels(const float *x, const int64_t *sizes, float *blocks, float *whole,
                            int64_t *peaks, int64_t batch, int64_t length, int64_t kinds);
RT_API void rt_block_levels_adjoint(const float *x, const int64_t *sizes, const float *grad_blocks,
                                    const float *grad_whole, const int64_t *peaks, float *out,
                                    int64_t batch, int64_t length, int64_t kinds);

/* sox.c */
RT_API void rt_compand(const void *x, void *y, const double *curve, int64_t total, int64_t pieces,
                       int64_t delay, double up, double down, double initial, double lowest,
                       int32_t single);
RT_API void rt_wsola(const void *x, void *y, void *tail, int64_t size, int64_t length,
                     int64_t segment, int64_t search, int64_t overlap, double factor,
                     int32_t single);

#endif
