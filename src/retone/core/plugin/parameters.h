/* The plug-ins and their parameters. The values are in parameters.c, which scripts/make_plugins.py
   writes from retone's parameter tables. */
#ifndef RETONE_PLUGIN_PARAMETERS_H
#define RETONE_PLUGIN_PARAMETERS_H

#include <stdint.h>

#define PLUGIN_COUNT 2
#define MAX_PARAMETERS 80
#define EQUALIZER_BANDS 6
#define DYNAMICS_BANDS 6
#define CROSSOVERS (DYNAMICS_BANDS - 1)
#define DYNAMICS_VALUES 9 /* those of rt_design_dynamics; a knee of -1 is BANDS_KNEE_DB */

typedef struct {
    const char *name;   /* as in settings files */
    const char *title;  /* for users, within its group */
    const char *module; /* its group: "Equalizer/Low shelf" */
    const char *unit;   /* dB, Hz, ms, :1 or empty */
    double low, high, start;
    uint32_t id; /* stays the same however the table grows */
    int32_t log; /* whether its scale is logarithmic */
} Parameter;

/* Where the processing finds its values: numbers of parameters. */
typedef struct {
    int16_t equalizer[EQUALIZER_BANDS][3]; /* frequency, gain, Q */
    int16_t bands;                         /* of dynamics: 1, or DYNAMICS_BANDS */
    int16_t crossovers[CROSSOVERS];
    int16_t dynamics[DYNAMICS_BANDS][DYNAMICS_VALUES];
    int16_t gain;
} Layout;

typedef struct {
    const char *name, *title, *about;
    const char *clap_id, *uri, *mono_uri;
    const Parameter *parameters;
    int32_t count;
    Layout layout;
} Plugin;

extern const Plugin PLUGINS[PLUGIN_COUNT];
extern const char RETONE_VERSION[];
extern const double TOP_OF_BAND;   /* frequencies are held below this share of the rate */
extern const double BANDS_KNEE_DB; /* of bands without a knee of their own */

#endif
