/* The plug-ins as CLAP: parameters with sample-accurate events, stereo or mono ports, state. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chain.h"
#include "clap_files.h"
#include "preset.h"

enum { STEREO = 0, MONO = 1, CONFIGS = 2 }; /* numbers of port configurations */

typedef struct {
    ClapPlugin clap;
    const ClapHost *host;
    const Plugin *plugin;
    int32_t kind, config;
    Chain *chain;                          /* null while not active */
    _Atomic double shared[MAX_PARAMETERS]; /* values as the main thread sees them */
    atomic_uint loads;                     /* states loaded so far */
    unsigned loaded;                       /* those that the audio thread has taken over */
} Instance;

static Instance *of(const ClapPlugin *p) { return p->data; }
static uint32_t channels_of(const Instance *self) { return self->config == MONO ? 1 : 2; }

static int32_t number_of(const Instance *self, uint32_t id, const void *cookie) {
    const Parameter *first = self->plugin->parameters, *given = cookie;
    if (given >= first && given < first + self->plugin->count && given->id == id)
        return (int32_t)(given - first);
    for (int32_t i = 0; i < self->plugin->count; i++)
        if (first[i].id == id) return i;
    return -1;
}

/* -- life ------------------------------------------------------------------------------------ */

static bool CALL init(const ClapPlugin *p) { return p != 0; }
static void CALL destroy(const ClapPlugin *p) { free(of(p)); }

static bool CALL activate(const ClapPlugin *p, double rate, uint32_t least, uint32_t most) {
    Instance *self = of(p);
    (void)least, (void)most;
    if (!(rate > 0.0)) return false;
    self->loaded = atomic_load(&self->loads);
    self->chain = retone_chain_make(self + 1, self->kind, rate, (int32_t)channels_of(self));
    for (int32_t i = 0; i < self->plugin->count; i++)
        retone_chain_set(self->chain, i, atomic_load(&self->shared[i]));
    return true;
}

static void CALL deactivate(const ClapPlugin *p) { of(p)->chain = 0; }
static bool CALL start_processing(const ClapPlugin *p) { return of(p)->chain != 0; }
static void CALL stop_processing(const ClapPlugin *p) { (void)p; }
static void CALL reset(const ClapPlugin *p) {
    if (of(p)->chain) retone_chain_reset(of(p)->chain);
}
static void CALL on_main_thread(const ClapPlugin *p) { (void)p; }

static void take_event(Instance *self, const ClapEvent *event) {
    if (event->space_id != CORE_EVENTS || event->type != EVENT_PARAM_VALUE) return;
    const ClapParamEvent *e = (const ClapParamEvent *)event;
    int32_t i = number_of(self, e->param_id, e->cookie);
    if (i < 0) return;
    const Parameter *q = &self->plugin->parameters[i];
    double value = e->value == e->value ? e->value : q->start;
    value = value < q->low ? q->low : value > q->high ? q->high : value;
    atomic_store(&self->shared[i], value);
    if (self->chain) retone_chain_set(self->chain, i, value);
}

static void take_loaded(Instance *self) {
    unsigned loads = atomic_load(&self->loads);
    if (loads == self->loaded) return;
    self->loaded = loads;
    for (int32_t i = 0; i < self->plugin->count; i++)
        retone_chain_set(self->chain, i, atomic_load(&self->shared[i]));
}

static int32_t CALL process(const ClapPlugin *p, const ClapProcess *block) {
    Instance *self = of(p);
    uint32_t channels = channels_of(self), next = 0, at = 0;
    uint32_t events = block->in_events ? block->in_events->size(block->in_events) : 0;
    if (!self->chain || !block->audio_inputs_count || !block->audio_outputs_count)
        return PROCESS_ERROR;
    const ClapBuffer *in = block->audio_inputs, *out = block->audio_outputs;
    if (!in->data32 || !out->data32 || in->channel_count < channels ||
        out->channel_count < channels)
        return PROCESS_ERROR;
    take_loaded(self);
    while (at < block->frames_count || next < events) {
        uint32_t stop = block->frames_count;
        for (; next < events; next++) {
            const ClapEvent *event = block->in_events->get(block->in_events, next);
            if (event->time > at && event->time < block->frames_count) {
                stop = event->time;
                break;
            }
            take_event(self, event);
        }
        const float *from[2];
        float *to[2];
        for (uint32_t c = 0; c < channels; c++)
            from[c] = in->data32[c] + at, to[c] = out->data32[c] + at;
        retone_chain_process(self->chain, from, to, stop - at);
        at = stop;
    }
    return PROCESS_CONTINUE;
}

/* -- parameters ------------------------------------------------------------------------------ */

static uint32_t CALL params_count(const ClapPlugin *p) { return (uint32_t)of(p)->plugin->count; }

static bool CALL params_info(const ClapPlugin *p, uint32_t index, ClapParamInfo *info) {
    if (index >= params_count(p)) return false;
    const Parameter *q = &of(p)->plugin->parameters[index];
    memset(info, 0, sizeof *info);
    info->id = q->id, info->flags = PARAM_IS_AUTOMATABLE, info->cookie = (void *)q;
    snprintf(info->name, NAME_SIZE, "%s", q->title);
    snprintf(info->module, PATH_SIZE, "%s", q->module);
    info->min_value = q->low, info->max_value = q->high, info->default_value = q->start;
    return true;
}

static bool CALL params_value(const ClapPlugin *p, uint32_t id, double *value) {
    int32_t i = number_of(of(p), id, 0);
    if (i >= 0) *value = atomic_load(&of(p)->shared[i]);
    return i >= 0;
}

static bool CALL params_to_text(const ClapPlugin *p, uint32_t id, double value, char *text,
                                uint32_t size) {
    int32_t i = number_of(of(p), id, 0);
    if (i < 0) return false;
    const char *unit = of(p)->plugin->parameters[i].unit, *space = *unit && *unit != ':' ? " " : "";
    int digits = !strcmp(unit, "Hz") ? 1 : *unit ? 2 : 3;
    snprintf(text, size, "%.*f%s%s", digits, value, space, unit);
    return true;
}

static bool CALL params_from_text(const ClapPlugin *p, uint32_t id, const char *text,
                                  double *value) {
    int32_t i = number_of(of(p), id, 0);
    const char *end;
    if (i < 0 || !preset_number(text, value, &end)) return false;
    while (*end == ' ') end++;
    if (*end == 'k' || *end == 'K') *value *= 1000.0;
    return true;
}

static void CALL params_flush(const ClapPlugin *p, const ClapEventsIn *in, const void *out) {
    (void)out;
    for (uint32_t i = 0, n = in ? in->size(in) : 0; i < n; i++) take_event(of(p), in->get(in, i));
}

static const ClapParams PARAMS = {params_count,   params_info,      params_value,
                                  params_to_text, params_from_text, params_flush};

/* -- ports ----------------------------------------------------------------------------------- */

static const char *port_type(uint32_t channels) { return channels == 1 ? "mono" : "stereo"; }

static uint32_t CALL ports_count(const ClapPlugin *p, bool is_input) {
    (void)p, (void)is_input;
    return 1;
}

static bool CALL ports_get(const ClapPlugin *p, uint32_t index, bool is_input, ClapPortInfo *info) {
    if (index) return false;
    memset(info, 0, sizeof *info);
    snprintf(info->name, NAME_SIZE, "%s", is_input ? "Input" : "Output");
    info->flags = PORT_IS_MAIN, info->channel_count = channels_of(of(p));
    info->port_type = port_type(info->channel_count), info->in_place_pair = 0;
    return true;
}

static uint32_t CALL configs_count(const ClapPlugin *p) {
    (void)p;
    return CONFIGS;
}

static bool CALL configs_get(const ClapPlugin *p, uint32_t index, ClapPortsConfig *config) {
    (void)p;
    if (index >= CONFIGS) return false;
    uint32_t channels = index == MONO ? 1 : 2;
    memset(config, 0, sizeof *config);
    config->id = index;
    snprintf(config->name, NAME_SIZE, "%s", index == MONO ? "Mono" : "Stereo");
    config->input_port_count = config->output_port_count = 1;
    config->has_main_input = config->has_main_output = true;
    config->main_input_channel_count = config->main_output_channel_count = channels;
    config->main_input_port_type = config->main_output_port_type = port_type(channels);
    return true;
}

static bool CALL configs_select(const ClapPlugin *p, uint32_t id) {
    if (id >= CONFIGS || of(p)->chain) return false;
    of(p)->config = (int32_t)id;
    return true;
}

static uint32_t CALL latency(const ClapPlugin *p) {
    (void)p;
    return 0;
}

static const ClapAudioPorts PORTS = {ports_count, ports_get};
static const ClapPortsConfigs CONFIG = {configs_count, configs_get, configs_select};
static const ClapLatency LATENCY = {latency};

/* -- state and presets ----------------------------------------------------------------------- */

static bool CALL state_save(const ClapPlugin *p, const ClapOut *stream) {
    char text[PRESET_SIZE];
    double values[MAX_PARAMETERS];
    for (int32_t i = 0; i < of(p)->plugin->count; i++) values[i] = atomic_load(&of(p)->shared[i]);
    size_t size = preset_write(of(p)->plugin, values, text);
    for (size_t at = 0; at < size;) {
        int64_t wrote = stream->write(stream, text + at, size - at);
        if (wrote <= 0) return false;
        at += (size_t)wrote;
    }
    return true;
}

/* From the main thread; the audio thread takes the values over before its next block. */
static bool load_text(Instance *self, const char *text) {
    double values[MAX_PARAMETERS];
    if (!preset_read(self->plugin, text, values)) return false;
    for (int32_t i = 0; i < self->plugin->count; i++) {
        const Parameter *q = &self->plugin->parameters[i];
        double held = values[i] < q->low ? q->low : values[i] > q->high ? q->high : values[i];
        atomic_store(&self->shared[i], held);
    }
    atomic_fetch_add(&self->loads, 1);
    const ClapHostParams *host =
        self->host->get_extension ? self->host->get_extension(self->host, EXT_PARAMS) : 0;
    if (host && host->rescan) host->rescan(self->host, PARAM_RESCAN_VALUES);
    return true;
}

static bool CALL state_load(const ClapPlugin *p, const ClapIn *stream) {
    char text[PRESET_SIZE];
    size_t size = 0;
    for (;;) {
        int64_t got = stream->read(stream, text + size, sizeof text - 1 - size);
        if (got < 0) return false;
        if (!got) break;
        size += (size_t)got;
        if (size == sizeof text - 1) return false;
    }
    text[size] = 0;
    return load_text(of(p), text);
}

static bool CALL preset_load(const ClapPlugin *p, uint32_t kind, const char *location,
                             const char *key) {
    Instance *self = of(p);
    char text[PRESET_SIZE];
    const ClapHostPresetLoad *host = 0;
    if (self->host->get_extension) {
        host = self->host->get_extension(self->host, EXT_PRESET_LOAD);
        if (!host) host = self->host->get_extension(self->host, EXT_PRESET_LOAD_DRAFT);
    }
    bool done = kind == LOCATION_FILE && clap_read_file(location, text) && load_text(self, text);
    if (host && done) host->loaded(self->host, kind, location, key);
    if (host && !done)
        host->on_error(self->host, kind, location, key, 0, "This is no preset of the plug-in.");
    return done;
}

static const ClapState STATE = {state_save, state_load};
static const ClapPresetLoad PRESET_LOAD = {preset_load};

static const void *CALL get_extension(const ClapPlugin *p, const char *id) {
    static const struct {
        const char *id;
        const void *extension;
    } ALL[] = {{EXT_PARAMS, &PARAMS},
               {EXT_AUDIO_PORTS, &PORTS},
               {EXT_PORTS_CONFIG, &CONFIG},
               {EXT_LATENCY, &LATENCY},
               {EXT_STATE, &STATE},
               {EXT_PRESET_LOAD, &PRESET_LOAD},
               {EXT_PRESET_LOAD_DRAFT, &PRESET_LOAD}};
    (void)p;
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++)
        if (!strcmp(id, ALL[i].id)) return ALL[i].extension;
    return 0;
}

/* -- factory --------------------------------------------------------------------------------- */

static const char *const MATCH_FEATURES[] = {"audio-effect", "equalizer", "compressor",
                                             "stereo",       "mono",      0};
static const char *const ENHANCE_FEATURES[] = {"audio-effect", "equalizer", "multi-effects",
                                               "stereo",       "mono",      0};
static ClapDescriptor descriptors[PLUGIN_COUNT];

static uint32_t CALL factory_count(const ClapFactory *f) {
    (void)f;
    return PLUGIN_COUNT;
}

static const ClapDescriptor *CALL factory_descriptor(const ClapFactory *f, uint32_t index) {
    (void)f;
    return index < PLUGIN_COUNT ? &descriptors[index] : 0;
}

static const ClapPlugin *CALL factory_create(const ClapFactory *f, const ClapHost *host,
                                             const char *id) {
    (void)f;
    int32_t kind = 0;
    while (kind < PLUGIN_COUNT && strcmp(id, PLUGINS[kind].clap_id)) kind++;
    if (kind == PLUGIN_COUNT || !host) return 0;
    Instance *self = calloc(1, sizeof *self + (size_t)retone_chain_bytes());
    if (!self) return 0;
    self->host = host, self->kind = kind, self->plugin = &PLUGINS[kind], self->config = STEREO;
    for (int32_t i = 0; i < self->plugin->count; i++)
        atomic_store(&self->shared[i], self->plugin->parameters[i].start);
    self->clap = (ClapPlugin){&descriptors[kind],
                              self,
                              init,
                              destroy,
                              activate,
                              deactivate,
                              start_processing,
                              stop_processing,
                              reset,
                              process,
                              get_extension,
                              on_main_thread};
    return &self->clap;
}

static const ClapFactory FACTORY = {factory_count, factory_descriptor, factory_create};

static bool CALL entry_init(const char *path) {
    (void)path;
    for (int32_t i = 0; i < PLUGIN_COUNT; i++)
        descriptors[i] =
            (ClapDescriptor){ABI_VERSION,
                             PLUGINS[i].clap_id,
                             PLUGINS[i].title,
                             "retone",
                             PLUGINS[i].uri,
                             "",
                             "",
                             RETONE_VERSION,
                             PLUGINS[i].about,
                             PLUGINS[i].layout.bands > 1 ? ENHANCE_FEATURES : MATCH_FEATURES};
    return true;
}

static void CALL entry_deinit(void) {}

static const void *CALL entry_factory(const char *id) {
    if (!strcmp(id, PLUGIN_FACTORY)) return &FACTORY;
    if (!strcmp(id, PRESET_FACTORY) || !strcmp(id, PRESET_FACTORY_DRAFT))
        return clap_preset_factory();
    return 0;
}

RETONE_EXPORT extern const ClapEntry clap_entry;
const ClapEntry clap_entry = {ABI_VERSION, entry_init, entry_deinit, entry_factory};
