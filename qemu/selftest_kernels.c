// SPDX-License-Identifier: Apache-2.0
// Every kernel variant against its _c twin, bit for bit, through kllm_kernel_run.
#include "console.h"
#include "kernels.h"
#include "layout.h"
#include "selftest.h"

enum { NAME_BYTES = 64, BUFFER_BYTES = 1 << 16, CANARY = 0xa5 };

static _Alignas(64) uint8_t input_a[BUFFER_BYTES];
static _Alignas(64) uint8_t input_b[BUFFER_BYTES];
static _Alignas(64) uint8_t input_c[BUFFER_BYTES];
static _Alignas(64) uint8_t expected[BUFFER_BYTES];
static _Alignas(64) uint8_t result[BUFFER_BYTES];
static uint32_t seed = 0x9e3779b9u;

static uint32_t next_u32(void) {
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed;
}

// What fills an input: how its bytes must look to be valid for the kernel.
enum fill {
    FILL_NONE,
    FILL_F32,
    FILL_POSITIVE,
    FILL_F16,
    FILL_BYTES,
    FILL_EXTREME,
    FILL_Q8,
    FILL_OUTLIERS,
};

static void fill_f32(uint8_t *out, int is_positive) {
    float *x = (float *)(void *)out;
    for (uint32_t i = 0; i < BUFFER_BYTES / 4; i++) {
        float value = (float)(next_u32() >> 8) * 0x1p-24f;
        x[i] = is_positive ? value : (value - 0.5f) * 8.0f;
    }
}

// Any bytes are valid quants; as scales they must be finite: exponents 1 .. 19 of binary16.
static void fill_halves(uint8_t *out) {
    uint16_t *x = (uint16_t *)(void *)out;
    for (uint32_t i = 0; i < BUFFER_BYTES / 2; i++) {
        uint32_t bits = next_u32();
        x[i] = (uint16_t)((bits & 0x83ffu) | (1 + (bits >> 16) % 19) << 10);
    }
}

static void fill_outliers(uint8_t *out, uint32_t cols) {
    struct outlier *x = (struct outlier *)(void *)out;
    for (uint32_t i = 0; i < BUFFER_BYTES / sizeof *x; i++) {
        x[i] = (struct outlier){(float)(next_u32() >> 8) * 0x1p-20f, next_u32() % cols};
    }
}

static void fill(uint8_t *out, enum fill kind, uint32_t cols) {
    switch (kind) {
    case FILL_NONE:
        break;
    case FILL_F32:
    case FILL_POSITIVE:
        fill_f32(out, kind == FILL_POSITIVE);
        break;
    case FILL_F16:
    case FILL_BYTES:
        fill_halves(out);
        break;
    case FILL_EXTREME: // nibbles of 15, bytes of -1
        memset(out, 0xff, BUFFER_BYTES);
        break;
    case FILL_OUTLIERS:
        fill_outliers(out, cols);
        break;
    default:
        fill_f32(expected, 0);
        for (uint32_t t = 0; (t + 1) * q8_bytes(cols) <= BUFFER_BYTES && t < 20; t++) {
            kllm_quantize_q8_f32_c(out + t * q8_bytes(cols),
                                   (const float *)(void *)(expected + t * 64), cols);
        }
        break;
    }
}

// A shape of an operation: its inputs and the dims and scalar of kllm_kernel_run.
struct shape {
    const char *prefix; // of the variant's name
    enum fill a, b, c;
    uint32_t dims[5];
    float scalar;
    uint32_t cols; // of "q8" rows or outliers in b
};

static const struct shape shapes[] = {
    {"argmax_f32", FILL_F32, FILL_NONE, FILL_NONE, {1}, 0, 0},
    {"argmax_f32", FILL_F32, FILL_NONE, FILL_NONE, {517}, 0, 0},
    {"attn_mix_f32_neon", FILL_POSITIVE, FILL_F32, FILL_NONE, {37, 64, 3, 40, 40}, 0, 0},
    {"attn_mix_f32_neon", FILL_POSITIVE, FILL_F32, FILL_NONE, {1, 32, 1, 40, 40}, 0, 0},
    {"attn_mix_f32_f16_", FILL_POSITIVE, FILL_F16, FILL_NONE, {37, 64, 6, 40, 40}, 0, 0},
    {"attn_mix_f32_f16_", FILL_POSITIVE, FILL_F16, FILL_NONE, {2, 32, 2, 40, 40}, 0, 0},
    {"attn_mix_f32_q8_0_", FILL_POSITIVE, FILL_BYTES, FILL_NONE, {37, 64, 3, 40, 64}, 0, 0},
    {"attn_mix_f32_q8_0_", FILL_POSITIVE, FILL_BYTES, FILL_NONE, {1, 32, 2, 40, 32}, 0, 0},
    {"dequantize_f32_f16_", FILL_F16, FILL_NONE, FILL_NONE, {3, 45}, 0, 0},
    {"dequantize_f32_q", FILL_BYTES, FILL_NONE, FILL_NONE, {21, 96}, 0, 0},
    {"dot_f32", FILL_F32, FILL_F32, FILL_NONE, {384}, 0, 0},
    {"dot_f32", FILL_F32, FILL_F32, FILL_NONE, {83}, 0, 0},
    {"gelu_f32", FILL_F32, FILL_NONE, FILL_NONE, {67}, 0, 0},
    {"layernorm_f32", FILL_F32, FILL_F32, FILL_F32, {384}, 1e-5f, 0},
    {"layernorm_f32", FILL_F32, FILL_F32, FILL_F32, {43}, 1e-5f, 0},
    {"matmul_f32_neon", FILL_F32, FILL_F32, FILL_NONE, {35, 64, 5, 40}, 0, 0},
    {"matmul_f32_neon", FILL_F32, FILL_F32, FILL_NONE, {3, 51, 1, 40}, 0, 0},
    {"matmul_f32_f16_", FILL_F16, FILL_F32, FILL_NONE, {35, 64, 5, 40}, 0, 0},
    {"matmul_f32_f16_", FILL_F16, FILL_F32, FILL_NONE, {3, 51, 1, 40}, 0, 0},
    {"matmul_f32_q", FILL_BYTES, FILL_Q8, FILL_NONE, {37, 96, 1, 40}, 0, 96},
    {"matmul_f32_q", FILL_BYTES, FILL_Q8, FILL_NONE, {37, 96, 19, 40}, 0, 96},
    {"matmul_f32_q", FILL_BYTES, FILL_Q8, FILL_NONE, {16, 576, 2, 16}, 0, 576},
    {"matmul_f32_q", FILL_EXTREME, FILL_Q8, FILL_NONE, {17, 32, 3, 20}, 0, 32},
    {"patch_f32_q", FILL_BYTES, FILL_OUTLIERS, FILL_NONE, {37, 96, 1, 40}, 0, 96},
    {"patch_f32_q", FILL_BYTES, FILL_OUTLIERS, FILL_NONE, {16, 96, 5, 40}, 0, 96},
    {"pick_f32", FILL_NONE, FILL_F32, FILL_NONE, {577}, 0, 0},
    {"pick_f32", FILL_NONE, FILL_F32, FILL_NONE, {2}, 0, 0},
    {"quantize_f16", FILL_F32, FILL_NONE, FILL_NONE, {576}, 0, 0},
    {"quantize_f16", FILL_BYTES, FILL_NONE, FILL_NONE, {96}, 0, 0}, // any floats, tiny and huge
    {"quantize_q8", FILL_F32, FILL_NONE, FILL_NONE, {576}, 0, 0},
    {"rmsnorm_f32", FILL_F32, FILL_F32, FILL_NONE, {384}, 1e-5f, 0},
    {"rmsnorm_f32", FILL_F32, FILL_F32, FILL_NONE, {41}, 1e-5f, 0},
    {"rope_f32", FILL_F32, FILL_NONE, FILL_NONE, {3, 64, 64, KLLM_ROPE_ADJACENT}, 0, 0},
    {"rope_f32", FILL_F32, FILL_NONE, FILL_NONE, {3, 64, 64, KLLM_ROPE_HALF}, 0, 0},
    {"rope_f32", FILL_F32, FILL_NONE, FILL_NONE, {2, 64, 22, KLLM_ROPE_HALF}, 0, 0},
    {"softmax_f32", FILL_NONE, FILL_NONE, FILL_NONE, {131}, 0.125f, 0},
    {"softmax_f32", FILL_NONE, FILL_NONE, FILL_NONE, {1}, 0.125f, 0},
    {"sum_f32", FILL_F32, FILL_NONE, FILL_NONE, {391}, 0, 0},
    {"swiglu_f32", FILL_F32, FILL_F32, FILL_NONE, {67}, 0, 0},
};

static int starts_with(const char *text, const char *prefix) {
    while (*prefix != 0 && *text == *prefix) {
        text++;
        prefix++;
    }
    return *prefix == 0;
}

static int name_of(uint32_t idx, char name[NAME_BYTES]) {
    return kllm_kernel_name(idx, (uint8_t *)name, NAME_BYTES) >= 0;
}

// Returns the index of the _c variant of a name, or that of the name itself if it is one.
static uint32_t twin_of(const char *name) {
    for (uint32_t i = 0; i < kllm_kernel_count(); i++) {
        char twin[NAME_BYTES];
        uint32_t n = 0;
        if (!name_of(i, twin)) {
            continue;
        }
        while (twin[n] != 0) {
            n++;
        }
        if (twin[n - 2] == '_' && twin[n - 1] == 'c') {
            twin[n - 1] = 0;
            if (starts_with(name, twin) &&
                (starts_with(name + n - 1, "neon") || starts_with(name + n - 1, "avx"))) {
                return i;
            }
        }
    }
    return kllm_kernel_count();
}

// Runs a variant on the inputs; operations that work in place find theirs in out.
static int32_t run(uint32_t idx, uint8_t *out, const struct shape *s) {
    uint32_t saved = seed;
    memset(out, CANARY, BUFFER_BYTES);
    int is_in_place = starts_with(s->prefix, "rope") || starts_with(s->prefix, "softmax") ||
                      starts_with(s->prefix, "patch");
    if (is_in_place) {
        fill_f32(out, 0);
    } else if (starts_with(s->prefix, "pick")) { // the twin took its largest out of b
        fill_f32(input_b, 0);
    }
    seed = saved;
    return kllm_kernel_run(idx, out, input_a, input_b, input_c, s->dims, &s->scalar, 1);
}

static uint32_t check_shape(uint32_t idx, uint32_t twin, const char *name, const struct shape *s) {
    fill(input_a, s->a, s->cols);
    fill(input_b, s->b, s->cols);
    fill(input_c, s->c, s->cols);
    int32_t status = run(twin, expected, s);
    int32_t status2 = run(idx, result, s);
    if (status == KLLM_OK && status2 == KLLM_OK && memcmp(expected, result, BUFFER_BYTES) == 0) {
        return 0;
    }
    uint32_t at = 0;
    while (at < BUFFER_BYTES && expected[at] == result[at]) {
        at++;
    }
    console_text("FAIL ");
    console_text(name);
    console_text(" dims ");
    for (uint32_t i = 0; i < 5; i++) {
        console_u64(s->dims[i]);
        console_text(" ");
    }
    console_text("differs at byte ");
    console_u64(at);
    console_text("\n");
    return 1;
}

uint32_t selftest_kernels(void) {
    uint32_t n_failed = 0;
    uint32_t n_checked = 0;
    for (uint32_t i = 0; i < kllm_kernel_count(); i++) {
        char name[NAME_BYTES];
        uint32_t n_shape = 0;
        int32_t needs = kllm_kernel_name(i, (uint8_t *)name, NAME_BYTES);
        uint32_t twin = twin_of(name);
        if (twin == kllm_kernel_count() || ((uint32_t)needs & ~kllm_cpu()) != 0) {
            continue; // a definition itself, or above this CPU
        }
        for (uint32_t k = 0; k < sizeof shapes / sizeof shapes[0]; k++) {
            if (starts_with(name, shapes[k].prefix)) {
                n_failed += check_shape(i, twin, name, &shapes[k]);
                n_shape++;
            }
        }
        n_checked++;
        if (n_shape == 0) {
            console_text("FAIL no shape for ");
            console_text(name);
            console_text("\n");
            n_failed++;
        }
    }
    console_text("kernels ");
    console_u64(n_checked);
    console_text("\n");
    return n_failed + (n_checked == 0);
}
