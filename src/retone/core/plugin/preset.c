/* See preset.h. */
#include "preset.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *after_spaces(const char *text) {
    while (*text == ' ' || *text == '\t') text++;
    return text;
}

/* strtod would follow the host's locale. Up to 18 digits; exact where 15 are enough. */
bool preset_number(const char *text, double *value, const char **end) {
    const char *at = after_spaces(text);
    bool negative = *at == '-';
    int64_t digits = 0;
    int count = 0, exponent = 0, given = 0;
    if (*at == '-' || *at == '+') at++;
    bool point = false;
    for (;; at++) {
        if (*at == '.' && !point) point = true;
        else if (*at >= '0' && *at <= '9') {
            if (digits < 100000000000000000) {
                digits = 10 * digits + (*at - '0');
                exponent -= point;
            } else exponent += !point;
            count++;
        } else break;
    }
    if (!count) return false;
    if (*at == 'e' || *at == 'E') {
        const char *power = at + 1;
        bool down = *power == '-';
        if (*power == '-' || *power == '+') power++;
        if (*power >= '0' && *power <= '9') {
            while (*power >= '0' && *power <= '9' && given < 1000)
                given = 10 * given + (*power++ - '0');
            exponent += down ? -given : given;
            at = power;
        }
    }
    double size = (double)digits;
    size = exponent < 0 ? size / pow(10.0, -exponent) : size * pow(10.0, exponent);
    *value = negative ? -size : size;
    if (end) *end = at;
    return true;
}

size_t preset_write(const Plugin *plugin, const double *values, char *text) {
    size_t at = (size_t)snprintf(text, PRESET_SIZE, "%s 1\n", plugin->name);
    for (int32_t i = 0; i < plugin->count && at < PRESET_SIZE - 128; i++) {
        at += (size_t)snprintf(text + at, PRESET_SIZE - at, "%s = ", plugin->parameters[i].name);
        size_t start = at;
        at += (size_t)snprintf(text + at, PRESET_SIZE - at, "%.12g", values[i]);
        for (size_t k = start; k < at; k++)
            if (!strchr("0123456789+-e", text[k])) text[k] = '.'; /* the locale's comma */
        at += (size_t)snprintf(text + at, PRESET_SIZE - at, "\n");
    }
    return at;
}

const Plugin *preset_plugin(const char *text) {
    for (int32_t i = 0; i < PLUGIN_COUNT; i++) {
        size_t size = strlen(PLUGINS[i].name);
        if (!strncmp(text, PLUGINS[i].name, size) && text[size] == ' ') return &PLUGINS[i];
    }
    return 0;
}

bool preset_read(const Plugin *plugin, const char *text, double *values) {
    if (preset_plugin(text) != plugin) return false;
    for (int32_t i = 0; i < plugin->count; i++) values[i] = plugin->parameters[i].start;
    for (const char *line = strchr(text, '\n'); line; line = strchr(line, '\n')) {
        line = after_spaces(line + 1);
        size_t size = strcspn(line, " \t=\r\n");
        const char *equals = after_spaces(line + size);
        if (*equals != '=') continue;
        for (int32_t i = 0; i < plugin->count; i++) {
            const char *name = plugin->parameters[i].name;
            if (strlen(name) == size && !strncmp(name, line, size))
                preset_number(equals + 1, &values[i], 0);
        }
    }
    return true;
}
