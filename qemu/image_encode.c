// SPDX-License-Identifier: Apache-2.0
// Encodes the linked text as many times as the command line says, each with the words it has kept.
#include "console.h"
#include "model.h"

extern const uint8_t text[]; // of IMAGE_TEXT_BYTES

enum { EXIT_REFUSED = 4, EXIT_MODEL = 5 };

static char line[16];
static _Alignas(64) uint8_t work[KLLM_ENCODE_WORK_BYTES];
static uint32_t ids[IMAGE_TEXT_BYTES + 5]; // so many that nothing is counted before it is written

uint32_t image_main(void) {
    if (model_open() != KLLM_OK) {
        return EXIT_REFUSED;
    }
    console_command_line(line, sizeof line);
    uint64_t n_out = 0;
    for (char i = '0'; i < line[0]; i++) { // a digit
        if (kllm_encode(model_vocab(), work, text, IMAGE_TEXT_BYTES, 0, ids,
                        sizeof ids / sizeof ids[0], &n_out) != KLLM_OK) {
            return EXIT_MODEL;
        }
    }
    console_u64(n_out);
    console_text(" ids\n");
    return 0;
}
