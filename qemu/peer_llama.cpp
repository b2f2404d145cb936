// SPDX-License-Identifier: Apache-2.0
// Work for llama.cpp to be counted by qemu/peer.py:
//
//     peer_llama MODEL FLASH_ATTN N_PROMPT_TOKEN N_PROMPT N_DECODE
//
// takes a prompt of N_PROMPT_TOKEN tokens N_PROMPT times into an empty sequence, then N_DECODE
// tokens one by one. One thread; anything else is as llama.cpp's own defaults have it.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "llama.h"

static void no_log(ggml_log_level, const char *, void *) {
}

int main(int argc, char **argv) {
    if (argc != 6) {
        return 2;
    }
    llama_log_set(no_log, nullptr);
    llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
    llama_context_params params = llama_context_default_params();
    params.n_ctx = 512;
    params.n_threads = params.n_threads_batch = 1;
    params.flash_attn_type =
        atoi(argv[2]) ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
    llama_context *context = model ? llama_init_from_model(model, params) : nullptr;
    if (context == nullptr) {
        return 1;
    }
    std::vector<llama_token> prompt(atoi(argv[3]));
    for (size_t i = 0; i < prompt.size(); i++) {
        prompt[i] = 1 + int(i);
    }
    int status = 0;
    for (int i = 0; i < atoi(argv[4]); i++) {
        llama_memory_clear(llama_get_memory(context), false);
        status |= llama_decode(context, llama_batch_get_one(prompt.data(), int(prompt.size())));
    }
    for (int i = 0; i < atoi(argv[5]); i++) {
        llama_token token = 1 + i;
        status |= llama_decode(context, llama_batch_get_one(&token, 1));
    }
    printf("%d %g\n", status, llama_get_logits_ith(context, -1)[1]);
    return status != 0;
}
