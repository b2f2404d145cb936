// SPDX-License-Identifier: Apache-2.0
// Opening and running the linked model.
#include "model.h"

#include "console.h"

enum { TOKENS_AT_MOST = 1024 };

static _Alignas(64) uint8_t encode_work[KLLM_ENCODE_WORK_BYTES];

static int32_t report(const char *what, int32_t status) {
    console_text(what);
    console_text(": error ");
    console_u64((uint64_t)-status);
    console_text("\n");
    return status;
}

int32_t model_open(void) {
    uint64_t bad_off = 0;
    int32_t status = kllm_image_check(model_image, model_bytes(), &bad_off);
    if (status != KLLM_OK) {
        console_text("model image is damaged at byte ");
        console_u64(bad_off);
        console_text("\n");
        return report("kllm_image_check", status);
    }
    status = kllm_image_check_body(model_image);
    if (status != KLLM_OK) {
        return report("checksum of the model image", status);
    }
    const struct kllm_config config = {.n_ctx = IMAGE_N_CTX,
                                       .n_batch = IMAGE_N_BATCH,
                                       .n_seq = 1,
                                       .n_logits = 1,
                                       .n_thread = 1,
                                       .kv_dtype = KLLM_F16,
                                       .cpu = 0xffffffffu};
    uint64_t n_bytes = (uint64_t)(__arena_end - __arena_start);
    status = kllm_open(__arena_start, n_bytes, model_image, model_bytes(), &config);
    return status == KLLM_OK ? KLLM_OK : report("kllm_open", status);
}

const float *model_logits(void) {
    int64_t off = kllm_region_off(__arena_start, KLLM_R_LOGITS);
    return (const float *)(const void *)(__arena_start + off);
}

int32_t model_encode(const char *text, uint32_t *ids, uint32_t n_ids) {
    uint64_t n_bytes = 0;
    uint64_t n_out = 0;
    while (text[n_bytes] != 0) {
        n_bytes++;
    }
    int32_t status = kllm_encode(model_vocab(), encode_work, (const uint8_t *)text, n_bytes,
                                 KLLM_ENCODE_AFFIX, ids, n_ids, &n_out);
    return status < 0 ? report("kllm_encode", status) : (int32_t)n_out;
}

int32_t model_eval(const uint32_t *tokens, uint32_t n_token) {
    static const uint32_t seqs[TOKENS_AT_MOST]; // all 0
    if (n_token > TOKENS_AT_MOST) {
        return report("kllm_eval", KLLM_ERR_RANGE);
    }
    int32_t status =
        kllm_eval(__arena_start, model_image, tokens, seqs, n_token, KLLM_LOGITS_LAST);
    return status == KLLM_OK ? KLLM_OK : report("kllm_eval", status);
}
