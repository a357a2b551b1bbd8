/* A plug-in's processing: equaliser, dynamics in one band or six, gain; without any host API.

   Memory belongs to the caller, and nothing here allocates, locks or calls the system. A value that
   changes while audio runs moves to its target within RAMP_S. Audio is the same whatever the sizes
   of the blocks. */
#ifndef RETONE_PLUGIN_CHAIN_H
#define RETONE_PLUGIN_CHAIN_H

#include <stdint.h>

#include "parameters.h"

#if defined(_WIN32)
#define RETONE_EXPORT __declspec(dllexport)
#else
#define RETONE_EXPORT __attribute__((visibility("default")))
#endif

typedef struct Chain Chain;

/* Bytes that a chain takes; any alignment. */
RETONE_EXPORT int64_t retone_chain_bytes(void);
/* Number of parameters of plug-in `kind`, an index of PLUGINS. */
RETONE_EXPORT int32_t retone_chain_parameters(int32_t kind);
/* A chain in `memory`, with every parameter at its default. Channels: 1 or 2. */
RETONE_EXPORT Chain *retone_chain_make(void *memory, int32_t kind, double sample_rate,
                                       int32_t channels);
/* Forget the signal; values jump to their targets. */
RETONE_EXPORT void retone_chain_reset(Chain *chain);
/* Set a parameter's target, limited to its range; NaN sets the default. */
RETONE_EXPORT void retone_chain_set(Chain *chain, int32_t parameter, double value);
RETONE_EXPORT double retone_chain_get(const Chain *chain, int32_t parameter);
/* Process `frames` samples per channel; input and output may be the same buffers. */
RETONE_EXPORT void retone_chain_process(Chain *chain, const float *const *in, float *const *out,
                                        int64_t frames);

#endif
