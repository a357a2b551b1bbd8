/* What the plug-ins use of CLAP 1.2, declared from its published binary interface. */
#ifndef RETONE_PLUGIN_CLAP_ABI_H
#define RETONE_PLUGIN_CLAP_ABI_H

#include <stdbool.h>
#include <stdint.h>

#if defined(_WIN32)
#define CALL __cdecl
#else
#define CALL
#endif

#define NAME_SIZE 256
#define PATH_SIZE 1024
#define NO_ID UINT32_MAX

typedef struct {
    uint32_t major, minor, revision;
} Version;
#define ABI_VERSION {1, 2, 2}

typedef struct ClapHost {
    Version version;
    void *data;
    const char *name, *vendor, *url, *product_version;
    const void *(CALL *get_extension)(const struct ClapHost *, const char *id);
    void(CALL *request_restart)(const struct ClapHost *);
    void(CALL *request_process)(const struct ClapHost *);
    void(CALL *request_callback)(const struct ClapHost *);
} ClapHost;

typedef struct {
    Version version;
    const char *id, *name, *vendor, *url, *manual_url, *support_url, *product_version, *description;
    const char *const *features;
} ClapDescriptor;

/* -- audio and events ------------------------------------------------------------------------ */

typedef struct {
    float **data32;
    double **data64;
    uint32_t channel_count, latency;
    uint64_t constant_mask;
} ClapBuffer;

typedef struct {
    uint32_t size, time;
    uint16_t space_id, type;
    uint32_t flags;
} ClapEvent;
enum { CORE_EVENTS = 0, EVENT_PARAM_VALUE = 5 };

typedef struct {
    ClapEvent header;
    uint32_t param_id;
    void *cookie;
    int32_t note_id;
    int16_t port_index, channel, key;
    double value;
} ClapParamEvent;

typedef struct ClapEventsIn {
    void *ctx;
    uint32_t(CALL *size)(const struct ClapEventsIn *);
    const ClapEvent *(CALL *get)(const struct ClapEventsIn *, uint32_t index);
} ClapEventsIn;

typedef struct {
    int64_t steady_time;
    uint32_t frames_count;
    const void *transport;
    const ClapBuffer *audio_inputs;
    ClapBuffer *audio_outputs;
    uint32_t audio_inputs_count, audio_outputs_count;
    const ClapEventsIn *in_events;
    const void *out_events;
} ClapProcess;
enum { PROCESS_ERROR = 0, PROCESS_CONTINUE = 1 };

/* -- the plug-in ----------------------------------------------------------------------------- */

typedef struct ClapPlugin {
    const ClapDescriptor *desc;
    void *data;
    bool(CALL *init)(const struct ClapPlugin *);
    void(CALL *destroy)(const struct ClapPlugin *);
    bool(CALL *activate)(const struct ClapPlugin *, double rate, uint32_t least, uint32_t most);
    void(CALL *deactivate)(const struct ClapPlugin *);
    bool(CALL *start_processing)(const struct ClapPlugin *);
    void(CALL *stop_processing)(const struct ClapPlugin *);
    void(CALL *reset)(const struct ClapPlugin *);
    int32_t(CALL *process)(const struct ClapPlugin *, const ClapProcess *);
    const void *(CALL *get_extension)(const struct ClapPlugin *, const char *id);
    void(CALL *on_main_thread)(const struct ClapPlugin *);
} ClapPlugin;

typedef struct ClapFactory {
    uint32_t(CALL *count)(const struct ClapFactory *);
    const ClapDescriptor *(CALL *descriptor)(const struct ClapFactory *, uint32_t index);
    const ClapPlugin *(CALL *create)(const struct ClapFactory *, const ClapHost *, const char *id);
} ClapFactory;
#define PLUGIN_FACTORY "clap.plugin-factory"

typedef struct {
    Version version;
    bool(CALL *init)(const char *path);
    void(CALL *deinit)(void);
    const void *(CALL *get_factory)(const char *id);
} ClapEntry;

/* -- extensions ------------------------------------------------------------------------------ */

#define EXT_PARAMS "clap.params"
enum { PARAM_IS_AUTOMATABLE = 1 << 5, PARAM_RESCAN_VALUES = 1 << 0 };
typedef struct {
    uint32_t id, flags;
    void *cookie;
    char name[NAME_SIZE], module[PATH_SIZE];
    double min_value, max_value, default_value;
} ClapParamInfo;
typedef struct {
    uint32_t(CALL *count)(const ClapPlugin *);
    bool(CALL *get_info)(const ClapPlugin *, uint32_t index, ClapParamInfo *);
    bool(CALL *get_value)(const ClapPlugin *, uint32_t id, double *);
    bool(CALL *value_to_text)(const ClapPlugin *, uint32_t id, double, char *, uint32_t size);
    bool(CALL *text_to_value)(const ClapPlugin *, uint32_t id, const char *, double *);
    void(CALL *flush)(const ClapPlugin *, const ClapEventsIn *, const void *out);
} ClapParams;
typedef struct {
    void(CALL *rescan)(const ClapHost *, uint32_t flags);
    void(CALL *clear)(const ClapHost *, uint32_t id, uint32_t flags);
    void(CALL *request_flush)(const ClapHost *);
} ClapHostParams;

#define EXT_AUDIO_PORTS "clap.audio-ports"
enum { PORT_IS_MAIN = 1 << 0 };
typedef struct {
    uint32_t id;
    char name[NAME_SIZE];
    uint32_t flags, channel_count;
    const char *port_type;
    uint32_t in_place_pair;
} ClapPortInfo;
typedef struct {
    uint32_t(CALL *count)(const ClapPlugin *, bool is_input);
    bool(CALL *get)(const ClapPlugin *, uint32_t index, bool is_input, ClapPortInfo *);
} ClapAudioPorts;

#define EXT_PORTS_CONFIG "clap.audio-ports-config"
typedef struct {
    uint32_t id;
    char name[NAME_SIZE];
    uint32_t input_port_count, output_port_count;
    bool has_main_input;
    uint32_t main_input_channel_count;
    const char *main_input_port_type;
    bool has_main_output;
    uint32_t main_output_channel_count;
    const char *main_output_port_type;
} ClapPortsConfig;
typedef struct {
    uint32_t(CALL *count)(const ClapPlugin *);
    bool(CALL *get)(const ClapPlugin *, uint32_t index, ClapPortsConfig *);
    bool(CALL *select)(const ClapPlugin *, uint32_t id);
} ClapPortsConfigs;

#define EXT_LATENCY "clap.latency"
typedef struct {
    uint32_t(CALL *get)(const ClapPlugin *);
} ClapLatency;

#define EXT_STATE "clap.state"
typedef struct ClapOut {
    void *ctx;
    int64_t(CALL *write)(const struct ClapOut *, const void *, uint64_t size);
} ClapOut;
typedef struct ClapIn {
    void *ctx;
    int64_t(CALL *read)(const struct ClapIn *, void *, uint64_t size);
} ClapIn;
typedef struct {
    bool(CALL *save)(const ClapPlugin *, const ClapOut *);
    bool(CALL *load)(const ClapPlugin *, const ClapIn *);
} ClapState;

#define EXT_PRESET_LOAD "clap.preset-load/2"
#define EXT_PRESET_LOAD_DRAFT "clap.preset-load.draft/2"
typedef struct {
    bool(CALL *from_location)(const ClapPlugin *, uint32_t kind, const char *location,
                              const char *key);
} ClapPresetLoad;
typedef struct {
    void(CALL *on_error)(const ClapHost *, uint32_t kind, const char *location, const char *key,
                         int32_t os_error, const char *message);
    void(CALL *loaded)(const ClapHost *, uint32_t kind, const char *location, const char *key);
} ClapHostPresetLoad;

/* -- preset discovery ------------------------------------------------------------------------ */

#define PRESET_FACTORY "clap.preset-discovery-factory/2"
#define PRESET_FACTORY_DRAFT "clap.preset-discovery-factory/draft-2"
enum { LOCATION_FILE = 0, IS_USER_CONTENT = 1 << 1 };
typedef struct {
    const char *abi, *id;
} ClapUniversalId;
typedef struct ClapReceiver {
    void *data;
    void(CALL *on_error)(const struct ClapReceiver *, int32_t os_error, const char *message);
    bool(CALL *begin_preset)(const struct ClapReceiver *, const char *name, const char *key);
    void(CALL *add_plugin_id)(const struct ClapReceiver *, const ClapUniversalId *);
    /* further functions follow, which are not called here */
} ClapReceiver;
typedef struct {
    const char *name, *description, *extension;
} ClapFileType;
typedef struct {
    uint32_t flags;
    const char *name;
    uint32_t kind;
    const char *location;
} ClapLocation;
typedef struct {
    Version version;
    const char *id, *name, *vendor;
} ClapProviderDescriptor;
typedef struct ClapProvider {
    const ClapProviderDescriptor *desc;
    void *data;
    bool(CALL *init)(const struct ClapProvider *);
    void(CALL *destroy)(const struct ClapProvider *);
    bool(CALL *get_metadata)(const struct ClapProvider *, uint32_t kind, const char *location,
                             const ClapReceiver *);
    const void *(CALL *get_extension)(const struct ClapProvider *, const char *id);
} ClapProvider;
typedef struct ClapIndexer {
    Version version;
    const char *name, *vendor, *url, *product_version;
    void *data;
    bool(CALL *declare_filetype)(const struct ClapIndexer *, const ClapFileType *);
    bool(CALL *declare_location)(const struct ClapIndexer *, const ClapLocation *);
    /* further functions follow, which are not called here */
} ClapIndexer;
typedef struct ClapPresetFactory {
    uint32_t(CALL *count)(const struct ClapPresetFactory *);
    const ClapProviderDescriptor *(CALL *descriptor)(const struct ClapPresetFactory *,
                                                     uint32_t index);
    const ClapProvider *(CALL *create)(const struct ClapPresetFactory *, const ClapIndexer *,
                                       const char *id);
} ClapPresetFactory;

#endif
