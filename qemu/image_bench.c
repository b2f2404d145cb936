// SPDX-License-Identifier: Apache-2.0
// The suite's components and tokens of the linked model in exact instructions, one line each:
// "count NAME INSTRUCTIONS". Every operation runs once before it is counted and twice counted; the
// counts must be equal. Above the floor only what has variants there is counted.
#include "console.h"
#include "kernels.h"
#include "layout.h"
#include "model.h"
#include "pmu.h"

enum {
    N = 384, // of the components
    N_BLOCK_BYTES = N * N * 4,
    N_PROMPT = IMAGE_N_BATCH,
    N_TILE = 16, // tokens of a matmul
    N_KV_POS = 128,
    HEAD_DIM = 64,
    N_HEAD = 3,
    EXIT_NOT_EXACT = 2,
    EXIT_NOT_EQUAL = 3,
    EXIT_MODEL = 5,
};

static _Alignas(64) uint8_t matrix[N_BLOCK_BYTES];
static _Alignas(64) float x[N_HEAD * N_KV_POS];
static _Alignas(64) float y[N_TILE * N];
static _Alignas(64) float w[N];
static _Alignas(64) float b[N];
static _Alignas(64) uint8_t act[N_TILE * 512]; // rows of q8_bytes(N)
static _Alignas(64) uint8_t work[2048];
static _Alignas(64) uint8_t encode_work[KLLM_ENCODE_WORK_BYTES];
static uint32_t ids[256];
static struct kllm_arena arena;
static struct kllm_kernels k;
static uint32_t exit_status;

// 100 characters.
static const char text[] = "The board is small, the memory is fixed, and every token costs the "
                           "same as the one before it. So it";

static void nothing(void) {
}

static void forget_words(void) {
    memset(encode_work, 0, sizeof encode_work);
}

static void encode_100(void) {
    uint64_t n_out;
    kllm_encode(model_vocab(), encode_work, (const uint8_t *)text, 100, 0, ids, 256, &n_out);
}

static void dequantize_q4_0(void) {
    k.dequantize_f32_q4_0(y, matrix, 3, KLLM_QK);
}

static void dot(void) {
    y[0] = k.dot_f32(x, w, N);
}

static void matvec_f32(void) {
    k.matmul_f32(y, matrix, x, N, N, 1, N);
}

static void matvec_f16(void) {
    k.matmul_f32_f16(y, matrix, x, N, N, 1, N);
}

static void matvec_q4_0(void) {
    k.matmul_f32_q4_0_q8(y, matrix, act, N, N, 1, N);
}

static void matvec_q4_1(void) {
    k.matmul_f32_q4_1_q8(y, matrix, act, N, N, 1, N);
}

static void matvec_q8_0(void) {
    k.matmul_f32_q8_0_q8(y, matrix, act, N, N, 1, N);
}

static void matmul_q4_0(void) {
    k.matmul_f32_q4_0_q8(y, matrix, act, N, N, N_TILE, N);
}

static void matmul_q4_1(void) {
    k.matmul_f32_q4_1_q8(y, matrix, act, N, N, N_TILE, N);
}

static void matmul_q8_0(void) {
    k.matmul_f32_q8_0_q8(y, matrix, act, N, N, N_TILE, N);
}

static void layernorm(void) {
    k.layernorm_f32(y, x, w, b, N, 1e-5f);
}

static void rmsnorm(void) {
    k.rmsnorm_f32(y, x, w, N, 1e-5f);
}

static void quantize(void) {
    k.quantize_q8_f32(act, x, N);
}

static void softmax(void) {
    k.softmax_f32(y, N, 0.125f);
}

static void rope(void) {
    k.rope_f32(y, b, 6, HEAD_DIM, HEAD_DIM, KLLM_ROPE_HALF);
}

static void swiglu(void) {
    k.swiglu_f32(y, x, w, N);
}

static void kv_append(void) { // of the engine's default type
    k.quantize_f16_f32(work, x, HEAD_DIM);
}

static void attention_f16(void) {
    k.matmul_f32_f16(y, matrix, x, N_KV_POS, HEAD_DIM, N_HEAD, N_KV_POS);
    k.attn_mix_f32_f16(y, x, matrix, N_KV_POS, HEAD_DIM, N_HEAD, N_KV_POS, N_KV_POS, work);
}

static void attention_q8_0(void) {
    k.matmul_f32_q8_0_q8(y, matrix, act, N_KV_POS, HEAD_DIM, N_HEAD, N_KV_POS);
    k.attn_mix_f32_q8_0(y, x, matrix, N_KV_POS, HEAD_DIM, N_HEAD, N_KV_POS, N_KV_POS, work);
}

static void arena_alloc(void) {
    kllm_arena_reset(&arena);
    kllm_arena_alloc(&arena, 1024, 64);
}

static void token(void) {
    if (kllm_seq_cut(__arena_start, 0, 0) != KLLM_OK || model_eval(ids, 1) != KLLM_OK) {
        exit_status = EXIT_MODEL;
    }
}

static void prompt(void) {
    if (kllm_seq_cut(__arena_start, 0, 0) != KLLM_OK || model_eval(ids, N_PROMPT) != KLLM_OK) {
        exit_status = EXIT_MODEL;
    }
}

static void (*before)(void) = nothing; // what goes before a run and is not counted

static uint64_t measure(void (*run)(void)) {
    before();
    struct pmu_count start = pmu_read();
    run();
    struct pmu_count end = pmu_read();
    return pmu_between(start, end);
}

// Prints the instructions of run for each of n_item items, beyond those of calling nothing.
static void count(const char *name, const char *isa, const char *shape, void (*run)(void),
                  uint32_t n_item) {
    run();
    uint64_t first = measure(run);
    uint64_t again = measure(run);
    if (first == 0 || first != again) {
        console_text("counts differ: ");
        exit_status = EXIT_NOT_EQUAL;
    }
    console_text("count ");
    console_text(name);
    console_text(isa);
    console_text(shape);
    console_text(" ");
    console_u64((first - measure(nothing)) / n_item);
    console_text("\n");
}

// Those of which there are variants above the floor.
static void count_products(const char *isa, uint32_t cpu) {
    kllm_dispatch(&k, cpu);
    count("matvec/q4_0/", isa, "/384x384", matvec_q4_0, 1);
    count("matvec/q4_1/", isa, "/384x384", matvec_q4_1, 1);
    count("matvec/q8_0/", isa, "/384x384", matvec_q8_0, 1);
    count("matmul/q4_0/", isa, "/384x384x16", matmul_q4_0, 1);
    count("matmul/q4_1/", isa, "/384x384x16", matmul_q4_1, 1);
    count("matmul/q8_0/", isa, "/384x384x16", matmul_q8_0, 1);
    count("attention/q8_0/", isa, "/128x64", attention_q8_0, 1);
}

static void count_kernels(const char *isa, uint32_t cpu) {
    kllm_dispatch(&k, cpu);
    count("dequantize/q4_0/", isa, "/1x32", dequantize_q4_0, 1);
    count("dot/f32/", isa, "/384", dot, 1);
    count("matvec/f32/", isa, "/384x384", matvec_f32, 1);
    count("matvec/f16/", isa, "/384x384", matvec_f16, 1);
    count("layernorm/", isa, "/384", layernorm, 1);
    count("rmsnorm/", isa, "/384", rmsnorm, 1);
    count("quantize/", isa, "/384", quantize, 1);
    count("softmax/", isa, "/384", softmax, 1);
    count("rope/", isa, "/6x64", rope, 1);
    count("swiglu/", isa, "/384", swiglu, 1);
    count("kv/append/", isa, "/64", kv_append, 1);
    count("attention/f16/", isa, "/128x64", attention_f16, 1);
}

// Any finite numbers do: no kernel's instructions depend on values, but for NaN scales.
static void fill(void) {
    for (uint32_t i = 0; i < N; i++) {
        x[i] = (float)(i % 29) * 0.0625f;
        w[i] = (float)(i % 31) * 0.125f;
        b[i] = (float)(i % 37) * 0.03125f;
        y[i] = x[i];
    }
    for (uint32_t i = 0; i < N_BLOCK_BYTES; i++) {
        matrix[i] = (uint8_t)(i % 59);
    }
    for (uint32_t i = 0; i < 256; i++) {
        ids[i] = i % ((const struct kllm_image *)(const void *)model_image)->n_vocab;
    }
    for (uint32_t h = 0; h < N_HEAD; h++) {
        kllm_quantize_q8_f32_c(act + h * q8_bytes(HEAD_DIM), x + h * HEAD_DIM, HEAD_DIM);
    }
}

uint32_t image_main(void) {
    if (!pmu_start()) {
        console_text("no exact counts here: PMCEID0 bit 8 is clear; run with -icount shift=0\n");
        return EXIT_NOT_EXACT;
    }
    if (model_open() != KLLM_OK) {
        return EXIT_MODEL;
    }
    fill();
    if (kllm_cpu() == KLLM_CPU_NEON) {
        kllm_arena_init(&arena, 4096);
        count("arena/", "c", "/1024", arena_alloc, 1);
        count("tokenizer/encode/", "c", "/100", encode_100, 1);
        before = forget_words;
        count("tokenizer/first/", "c", "/100", encode_100, 1);
        before = nothing;
        fill();
        count_kernels("c", 0);
        count_products("c", 0);
        count_kernels(IMAGE_ISA, kllm_cpu());
    }
    count_products(IMAGE_ISA, kllm_cpu());
    fill();
    count("model/decode/", IMAGE_ISA, "/token", token, 1);
    count("model/prompt/", IMAGE_ISA, "/token", prompt, N_PROMPT);
    return exit_status;
}
