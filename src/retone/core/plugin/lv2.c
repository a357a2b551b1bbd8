/* The plug-ins as LV2: for each, one with two channels and one with one. Ports: audio in, audio
   out, then the parameters in their order. Only LV2's core is used, and it is declared here: the
   build needs no headers of LV2. */
#include <math.h>
#include <stdlib.h>

#include "chain.h"

typedef struct {
    const char *uri;
    void *data;
} Feature;

typedef struct Descriptor {
    const char *uri;
    void *(*instantiate)(const struct Descriptor *, double, const char *, const Feature *const *);
    void (*connect_port)(void *, uint32_t, void *);
    void (*activate)(void *);
    void (*run)(void *, uint32_t);
    void (*deactivate)(void *);
    void (*cleanup)(void *);
    const void *(*extension_data)(const char *);
} Descriptor;

typedef struct {
    Chain *chain;
    int32_t kind, channels;
    const float *in[2], *controls[MAX_PARAMETERS];
    float *out[2], last[MAX_PARAMETERS];
} Instance;

/* Number of a descriptor: 2 * kind, + 1 for one channel. */
static uint32_t number_of(const Descriptor *d);

static void *instantiate(const Descriptor *d, double rate, const char *path,
                         const Feature *const *features) {
    (void)path, (void)features;
    uint32_t number = number_of(d);
    Instance *self = calloc(1, sizeof *self + (size_t)retone_chain_bytes());
    if (!self) return 0;
    self->kind = (int32_t)(number / 2), self->channels = number % 2 ? 1 : 2;
    self->chain = retone_chain_make(self + 1, self->kind, rate, self->channels);
    for (int32_t i = 0; i < MAX_PARAMETERS; i++) self->last[i] = NAN;
    return self;
}

static void connect_port(void *instance, uint32_t port, void *data) {
    Instance *self = instance;
    uint32_t channels = (uint32_t)self->channels;
    if (port < channels) self->in[port] = data;
    else if (port < 2 * channels) self->out[port - channels] = data;
    else if (port - 2 * channels < (uint32_t)PLUGINS[self->kind].count)
        self->controls[port - 2 * channels] = data;
}

static void activate(void *instance) { retone_chain_reset(((Instance *)instance)->chain); }

/* A float as the double that was meant: 0.707, not 0.70699998, if six digits give this float. */
static double meant_by(float value) {
    static const double POWERS[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
    double size = fabs((double)value);
    int digits = 9;
    while (digits > 0 && size * POWERS[digits] >= 1e6) digits--;
    double rounded = rint((double)value * POWERS[digits]) / POWERS[digits];
    return (float)rounded == value ? rounded : value;
}

static void run(void *instance, uint32_t frames) {
    Instance *self = instance;
    for (int32_t i = 0; i < PLUGINS[self->kind].count; i++) {
        if (!self->controls[i] || *self->controls[i] == self->last[i]) continue;
        self->last[i] = *self->controls[i];
        retone_chain_set(self->chain, i, meant_by(self->last[i]));
    }
    for (int32_t c = 0; c < self->channels; c++)
        if (!self->in[c] || !self->out[c]) return;
    retone_chain_process(self->chain, self->in, self->out, frames);
}

static void cleanup(void *instance) { free(instance); }
static const void *extension_data(const char *uri) {
    (void)uri;
    return 0;
}

#define REST instantiate, connect_port, activate, run, 0, cleanup, extension_data
static Descriptor descriptors[2 * PLUGIN_COUNT] = {{0, REST}, {0, REST}, {0, REST}, {0, REST}};
_Static_assert(PLUGIN_COUNT == 2, "two descriptors for each");

static uint32_t number_of(const Descriptor *d) { return (uint32_t)(d - descriptors); }

RETONE_EXPORT const Descriptor *lv2_descriptor(uint32_t index);
const Descriptor *lv2_descriptor(uint32_t index) {
    if (index >= 2 * PLUGIN_COUNT) return 0;
    descriptors[index].uri = index % 2 ? PLUGINS[index / 2].mono_uri : PLUGINS[index / 2].uri;
    return &descriptors[index];
}
