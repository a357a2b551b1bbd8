/* Run the plug-ins as their audio thread would, where every allocation is counted and every system
   call ends the process: `audio_thread LIBRARY`. Prints a line per plug-in; exits with 0 if all ran,
   3 if something was allocated, 4 if a system call was made, 5 if the machine cannot tell. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Descriptor {
    const char *uri;
    void *(*instantiate)(const struct Descriptor *, double, const char *, const void *const *);
    void (*connect_port)(void *, uint32_t, void *);
    void (*activate)(void *);
    void (*run)(void *, uint32_t);
    void (*deactivate)(void *);
    void (*cleanup)(void *);
} Descriptor;

static int counting, calls;
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void __libc_free(void *);
#define COUNTED __attribute__((visibility("default")))
COUNTED void *malloc(size_t n) { return calls += counting, __libc_malloc(n); }
COUNTED void *calloc(size_t n, size_t m) { return calls += counting, __libc_calloc(n, m); }
COUNTED void *realloc(void *p, size_t n) { return calls += counting, __libc_realloc(p, n); }
COUNTED void free(void *p) {
    calls += counting;
    __libc_free(p);
}
/* A library that locks would call these. */
COUNTED int pthread_mutex_lock(pthread_mutex_t *m) { return calls += counting, (void)m, 0; }
COUNTED int pthread_mutex_unlock(pthread_mutex_t *m) { return calls += counting, (void)m, 0; }

#define MOST 8192
#define PORTS 80
static float in[2][MOST], out[2][MOST], values[PORTS];

/* Blocks of many sizes while every parameter moves. */
static void audio(const Descriptor *d, void *plugin) {
    static const uint32_t SIZES[] = {1, 64, 7, 512, 63, 8192, 1024, 300};
    for (int round = 0; round < 64; round++) {
        for (int i = 0; i < PORTS; i++) values[i] += (float)((round * 7 + i) % 5 - 2);
        d->run(plugin, SIZES[round % 8]);
    }
}

int main(int count, char **words) {
    void *library = count > 1 ? dlopen(words[1], RTLD_NOW) : 0;
    if (!library) return 1;
    const Descriptor *(*all)(uint32_t) =
        (const Descriptor *(*)(uint32_t))dlsym(library, "lv2_descriptor");
    const Descriptor *d;
    char *probe = strdup("counted?"); /* is the interposition in place? */
    counting = 1;
    probe = realloc(probe, 100);
    counting = 0;
    if (!calls) return 5;
    for (uint32_t k = 0; (d = all(k)); k++) {
        void *plugin = d->instantiate(d, 48000.0, "", 0);
        uint32_t channels = k % 2 ? 1 : 2;
        for (uint32_t c = 0; c < channels; c++) {
            d->connect_port(plugin, c, in[c]);
            d->connect_port(plugin, channels + c, out[c]);
            for (int n = 0; n < MOST; n++) in[c][n] = (float)((n * 7919 + 31 * c) % 2003) / 4000.f;
        }
        for (uint32_t i = 0; i < PORTS; i++) d->connect_port(plugin, 2 * channels + i, &values[i]);
        d->activate(plugin);
        calls = 0, counting = 1;
        audio(d, plugin);
        counting = 0;
        if (calls) return printf("%s: %d calls\n", d->uri, calls), 3;
        fflush(stdout);
        pid_t child = fork();
        if (!child) {
            if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT)) syscall(SYS_exit, 5);
            audio(d, plugin);
            syscall(SYS_exit, 0); /* exit_group is forbidden */
        }
        int status = 0;
        waitpid(child, &status, 0);
        if (WIFSIGNALED(status)) return printf("%s: a system call\n", d->uri), 4;
        if (WEXITSTATUS(status)) return WEXITSTATUS(status);
        printf("%s: no allocation, no lock, no system call\n", d->uri);
        d->cleanup(plugin);
    }
    return 0;
}
