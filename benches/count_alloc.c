// SPDX-License-Identifier: Apache-2.0
// Preloaded into a process: counts every call of the allocator, and of mmap and brk, on any thread.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/types.h>

static atomic_ulong n_calls;

unsigned long alloc_calls(void) {
    return atomic_load(&n_calls);
}

// dlsym itself may call calloc before the real one is known: serve that from here.
static char early[65536];
static atomic_size_t early_used;

#define COUNTED(result, name, parameters, arguments)                                              \
    result name parameters {                                                                      \
        static result(*real) parameters;                                                          \
        atomic_fetch_add(&n_calls, 1);                                                            \
        if (real == NULL) {                                                                       \
            real = (result(*) parameters)dlsym(RTLD_NEXT, #name);                                 \
        }                                                                                         \
        return real arguments;                                                                    \
    }

COUNTED(void *, malloc, (size_t n), (n))
COUNTED(void *, realloc, (void *p, size_t n), (p, n))
COUNTED(int, posix_memalign, (void **p, size_t a, size_t n), (p, a, n))
COUNTED(void *, aligned_alloc, (size_t a, size_t n), (a, n))
COUNTED(void *, memalign, (size_t a, size_t n), (a, n))
COUNTED(void *, mmap, (void *a, size_t n, int p, int f, int d, off_t o), (a, n, p, f, d, o))
COUNTED(void *, mmap64, (void *a, size_t n, int p, int f, int d, off_t o), (a, n, p, f, d, o))
COUNTED(int, brk, (void *a), (a))
COUNTED(void *, sbrk, (ptrdiff_t n), (n))

void *calloc(size_t n, size_t size) {
    static void *(*real)(size_t, size_t);
    static atomic_int looking;
    atomic_fetch_add(&n_calls, 1);
    if (real == NULL) {
        if (atomic_exchange(&looking, 1) != 0) {
            size_t at = atomic_fetch_add(&early_used, (n * size + 15) & ~(size_t)15);
            return early + at;
        }
        real = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
    }
    return real(n, size);
}
