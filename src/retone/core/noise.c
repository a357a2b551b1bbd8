/* The noise of short-time spectra, and the gains against it: retone/effects/noise_reduction.py. */
#include <math.h>

#include "core.h"
#include "vector.h"

/* powers [frames, bins] become gains. `noise`, `speech` and `before` [bins] are carried on;
   `least` [frames] is the least gain and `settled` [frames] the share of certainty of each frame.
   c: shares of the old noise, speech and signal-to-noise ratio that are kept; factor and bias of
   the probability of speech, where it is sure; least ratio; how much louder the noise is taken to
   be; the floor of its power. */
RT_API void rt_noise_gains(double *power, double *noise, double *speech, double *before,
                           const double *least, const double *settled, const double *c,
                           int64_t frames, int64_t bins) {
    double keep_noise = c[0], keep_speech = c[1], keep_ratio = c[2], steep = c[3], bias = c[4];
    double sure = c[5], least_ratio = c[6], louder = c[7], floor = c[8];
    for (int64_t f = 0; f < frames; f++, power += bins)
        for (int64_t k = 0; k < bins; k++) {
            double now = power[k], old = noise[k];
            double heard = 1.0 / (1.0 + exp(bias - steep * now / (old + floor)));
            speech[k] += (1.0 - keep_speech) * (heard - speech[k]);
            heard = speech[k] > sure && heard > sure ? sure : heard;
            heard *= settled[f];
            noise[k] = old + (1.0 - keep_noise) * (1.0 - heard) * (now - old);
            double inverse = 1.0 / (louder * noise[k] + floor);
            double fresh = now * inverse - 1.0;
            fresh = fresh < 0.0 ? 0.0 : fresh;
            double ratio = keep_ratio * before[k] * inverse + (1.0 - keep_ratio) * fresh;
            ratio = ratio < least_ratio ? least_ratio : ratio;
            double share = ratio / (1.0 + ratio);
            before[k] = share * share * now;
            power[k] = share + (1.0 - share) * least[f];
        }
}
