/* Preset files, and how hosts that browse presets find them. */
#ifndef RETONE_PLUGIN_CLAP_FILES_H
#define RETONE_PLUGIN_CLAP_FILES_H

#include "clap_abi.h"
#include "preset.h"

/* Read a file of at most PRESET_SIZE - 1 bytes as text. */
bool clap_read_file(const char *path, char text[PRESET_SIZE]);
const ClapPresetFactory *clap_preset_factory(void);

#endif
