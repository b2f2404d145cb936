// SPDX-License-Identifier: Apache-2.0
// What the programs that damage a file at random share: numbers, exact buffers, the loop.
#ifndef DAMAGE_H
#define DAMAGE_H

#define _POSIX_C_SOURCE 200809L
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state;

static uint64_t draw(uint64_t n) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % n;
}

// Memory of exactly so many bytes, so that the sanitizers see one more that is touched.
static void *buffer(size_t align, size_t n_bytes) {
    void *bytes;
    return posix_memalign(&bytes, align, n_bytes > 0 ? n_bytes : 1) == 0 ? bytes : (exit(2), NULL);
}

// PROGRAM FILE COUNT SEED: gives COUNT copies of a file to `use`, which damages its copy and says
// whether what came of it was accepted. Returns the exit status.
static int damage_copies(int argc, char **argv, const char *what, size_t align,
                         int (*use)(uint8_t *copy, size_t n_bytes)) {
    FILE *file = argc == 4 ? fopen(argv[1], "rb") : NULL;
    if (file == NULL) {
        return 2;
    }
    state = strtoull(argv[3], NULL, 0) * 2 + 1;
    fseek(file, 0, SEEK_END);
    size_t n_bytes = (size_t)ftell(file);
    rewind(file);
    uint8_t *whole = buffer(align, n_bytes);
    if (fread(whole, 1, n_bytes, file) != n_bytes) {
        return 2;
    }
    fclose(file);
    unsigned long n_used = 0;
    unsigned long count = strtoul(argv[2], NULL, 0);
    for (unsigned long i = 0; i < count; i++) {
        uint8_t *copy = buffer(align, n_bytes);
        memcpy(copy, whole, n_bytes);
        n_used += (unsigned long)use(copy, n_bytes);
        free(copy);
    }
    free(whole);
    printf("%lu %s damaged, %lu of them used\n", count, what, n_used);
    return 0;
}

#endif
