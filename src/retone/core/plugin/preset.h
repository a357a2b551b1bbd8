/* Values as text, in states of CLAP plug-ins and in preset files:

       retone-match 1
       equalizer.low_shelf_gain_db = -3.5
       ...

   Names that are unknown are skipped; parameters that are missing get their default. */
#ifndef RETONE_PLUGIN_PRESET_H
#define RETONE_PLUGIN_PRESET_H

#include <stdbool.h>
#include <stddef.h>

#include "parameters.h"

#define PRESET_SIZE 16384 /* bytes that hold every text */

/* Write values; returns the text's length. */
size_t preset_write(const Plugin *plugin, const double *values, char *text);
/* Read values; false if the text is not this plug-in's. */
bool preset_read(const Plugin *plugin, const char *text, double *values);
/* The plug-in that a text is for, or null. */
const Plugin *preset_plugin(const char *text);
/* A number with a decimal point in any locale, and the character after it. */
bool preset_number(const char *text, double *value, const char **end);

#endif
