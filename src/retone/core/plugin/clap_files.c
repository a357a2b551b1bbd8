/* See clap_files.h. The folder is that of retone.exports.clap.preset_folder. */
#include "clap_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#include <windows.h>
#endif

static FILE *open_file(const char *path) {
#if defined(_WIN32)
    wchar_t wide[PATH_SIZE];
    if (!MultiByteToWideChar(CP_UTF8, 0, path, -1, wide, PATH_SIZE)) return 0;
    return _wfopen(wide, L"rb");
#else
    return fopen(path, "rb");
#endif
}

bool clap_read_file(const char *path, char text[PRESET_SIZE]) {
    FILE *file = path ? open_file(path) : 0;
    if (!file) return false;
    size_t size = fread(text, 1, PRESET_SIZE, file);
    fclose(file);
    if (size == PRESET_SIZE) return false;
    text[size] = 0;
    return true;
}

static bool folder(char path[PATH_SIZE]) {
#if defined(_WIN32)
    const char *base = getenv("LOCALAPPDATA"), *rest = "\\retone\\plugin-presets";
#elif defined(__APPLE__)
    const char *base = getenv("HOME"), *rest = "/Library/Audio/Presets/retone";
#else
    const char *base = getenv("XDG_DATA_HOME"), *rest = "/retone/plugin-presets";
    if (!base || !*base) base = getenv("HOME"), rest = "/.local/share/retone/plugin-presets";
#endif
    return base && *base && snprintf(path, PATH_SIZE, "%s%s", base, rest) < PATH_SIZE;
}

static bool CALL init(const ClapProvider *provider) {
    const ClapIndexer *host = provider->data;
    ClapFileType type = {"retone preset", "Settings for a retone plug-in", "retone-preset"};
    char path[PATH_SIZE];
    ClapLocation place = {IS_USER_CONTENT, "retone", LOCATION_FILE, path};
    return host->declare_filetype(host, &type) &&
           (!folder(path) || host->declare_location(host, &place));
}

static void CALL destroy(const ClapProvider *provider) { free((void *)provider); }

static bool CALL get_metadata(const ClapProvider *provider, uint32_t kind, const char *location,
                              const ClapReceiver *to) {
    (void)provider;
    char text[PRESET_SIZE], name[NAME_SIZE];
    const Plugin *plugin = 0;
    if (kind == LOCATION_FILE && clap_read_file(location, text)) plugin = preset_plugin(text);
    if (!plugin) {
        to->on_error(to, 0, "This is no preset of a retone plug-in.");
        return false;
    }
    const char *start = location;
    for (const char *at = location; *at; at++)
        if (*at == '/' || *at == '\\') start = at + 1;
    snprintf(name, sizeof name, "%s", start);
    char *dot = strrchr(name, '.');
    if (dot) *dot = 0;
    ClapUniversalId id = {"clap", plugin->clap_id};
    if (to->begin_preset(to, name, 0)) to->add_plugin_id(to, &id);
    return true;
}

static const void *CALL get_extension(const ClapProvider *provider, const char *id) {
    (void)provider, (void)id;
    return 0;
}

static const ClapProviderDescriptor PROVIDER = {ABI_VERSION, "io.github.retone.presets",
                                                "retone presets", "retone"};

static uint32_t CALL count(const ClapPresetFactory *f) {
    (void)f;
    return 1;
}

static const ClapProviderDescriptor *CALL descriptor(const ClapPresetFactory *f, uint32_t index) {
    (void)f;
    return index ? 0 : &PROVIDER;
}

static const ClapProvider *CALL create(const ClapPresetFactory *f, const ClapIndexer *host,
                                       const char *id) {
    (void)f;
    if (!host || strcmp(id, PROVIDER.id)) return 0;
    ClapProvider *made = calloc(1, sizeof *made);
    if (!made) return 0;
    *made = (ClapProvider){&PROVIDER, (void *)host, init, destroy, get_metadata, get_extension};
    return made;
}

static const ClapPresetFactory FACTORY = {count, descriptor, create};
const ClapPresetFactory *clap_preset_factory(void) { return &FACTORY; }
