// SPDX-License-Identifier: Apache-2.0
// The linked model, opened in the arena that virt.ld reserves for it.
#ifndef KLLM_MODEL_H
#define KLLM_MODEL_H

#include "kllm.h"

extern const uint8_t model_image[];
extern const uint8_t model_image_end[];

/// Returns the bytes of the linked image.
static inline uint64_t model_bytes(void) {
    return (uint64_t)(model_image_end - model_image);
}

/// Returns the vocabulary of the linked image.
static inline const void *model_vocab(void) {
    return model_image + ((const struct kllm_image *)(const void *)model_image)->vocab_off;
}

/// Checks structure and body of the linked image and opens it with the configuration that the
/// build planned the arena for (IMAGE_N_CTX positions, IMAGE_N_BATCH tokens a pass, f16 cache).
///
/// Returns KLLM_OK, or the error after printing what is wrong.
int32_t model_open(void);

/// Returns row 0 of the logits: float[n_vocab].
const float *model_logits(void);

/// Encodes text to ids[n_ids]. Returns the number of ids, or an error after printing it.
int32_t model_encode(const char *text, uint32_t *ids, uint32_t n_ids);

/// Appends n_token tokens to the sequence. Returns KLLM_OK, or an error after printing it.
int32_t model_eval(const uint32_t *tokens, uint32_t n_token);

#endif
