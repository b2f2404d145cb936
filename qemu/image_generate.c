// SPDX-License-Identifier: Apache-2.0
// Continues a prompt with the linked model, greedily, and prints a checksum of every row of logits.
//
// Command line: the number of tokens, a space, the prompt. A line of the output for each token:
// "logits CRC32 token ID"; then "text: " and the bytes of the continuation up to the end.
#include "console.h"
#include "model.h"

enum { LINE_BYTES = 1024, IDS = 1024, TEXT_BYTES = 8192, EXIT_REFUSED = 4, EXIT_MODEL = 5 };

static char line[LINE_BYTES];
static uint32_t ids[IDS];
static uint8_t text[TEXT_BYTES];

static uint32_t number_of(const char **at) {
    uint32_t value = 0;
    for (; **at >= '0' && **at <= '9' && value < IDS; (*at)++) {
        value = value * 10 + (uint32_t)(**at - '0');
    }
    while (**at == ' ') {
        (*at)++;
    }
    return value;
}

static void print_row(int32_t token) {
    const struct kllm_image *m = (const void *)model_image;
    console_text("logits ");
    console_hex(kllm_crc32(0, model_logits(), (uint64_t)m->n_vocab * 4), 8);
    console_text(" token ");
    console_u64((uint64_t)token);
    console_text("\n");
}

uint32_t image_main(void) {
    if (model_open() != KLLM_OK) {
        return EXIT_REFUSED;
    }
    const char *at = line;
    console_command_line(line, LINE_BYTES);
    uint32_t n_token = number_of(&at);
    int32_t n_prompt = model_encode(at, ids, IDS);
    if (n_prompt <= 0 || model_eval(ids, (uint32_t)n_prompt) != KLLM_OK) {
        return EXIT_MODEL;
    }
    struct kllm_sampler sampler = {.top_p = 1, .repeat_penalty = 1};
    uint32_t n = 0;
    while (n < n_token && n < IDS) {
        int32_t token = kllm_sample(__arena_start, model_image, 0, 0, &sampler);
        if (token < 0) {
            return EXIT_MODEL;
        }
        print_row(token);
        ids[n++] = (uint32_t)token;
        if (n < n_token && model_eval(&ids[n - 1], 1) != KLLM_OK) {
            return EXIT_MODEL;
        }
    }
    uint64_t n_text = 0;
    if (kllm_decode(model_vocab(), ids, n, 0, text, TEXT_BYTES, &n_text) < 0) {
        return EXIT_MODEL;
    }
    console_stack();
    console_text("text: ");
    console_bytes(text, (uint32_t)n_text);
    console_text("\n");
    return 0;
}
