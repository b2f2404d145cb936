// SPDX-License-Identifier: Apache-2.0
// From the manifest: the table of kernels for a CPU, their names, and a way to run each alone.
#include "kernels.h"

void kllm_dispatch(struct kllm_kernels *kernels, uint32_t cpu) {
#define KLLM_KERNEL(op, types, isa, needs)                                                        \
    if (((needs) & ~cpu) == 0) {                                                                  \
        kernels->op##_##types = kllm_##op##_##types##_##isa;                                      \
    }
#include "kernels.def"
#undef KLLM_KERNEL
}

struct variant {
    const char *name;
    void (*fn)(void);
    uint32_t op;
    uint32_t needs;
};

static const struct variant variants[] = {
#define KLLM_KERNEL(op, types, isa, needs)                                                        \
    {#op "_" #types "_" #isa, (void (*)(void))kllm_##op##_##types##_##isa, OP_##op, (needs)},
#include "kernels.def"
#undef KLLM_KERNEL
};

uint32_t kllm_kernel_count(void) {
    return sizeof variants / sizeof variants[0];
}

int32_t kllm_kernel_name(uint32_t idx, uint8_t *out, uint32_t out_bytes) {
    if (idx >= kllm_kernel_count()) {
        return KLLM_ERR_RANGE;
    }
    const char *name = variants[idx].name;
    uint32_t n = 0;
    while (name[n] != 0) {
        n++;
    }
    if (n >= out_bytes) {
        return KLLM_ERR_SPACE;
    }
    memcpy(out, name, n + 1);
    return (int32_t)variants[idx].needs;
}

static void run_once(const struct variant *v, void *out, const void *a, const void *b,
                     const void *c, const uint32_t *dims, const float *scalars) {
    void (*fn)(void) = v->fn;
    float *y = out;
    switch (v->op) {
    case OP_argmax:
        *(uint32_t *)out = ((kllm_argmax_fn *)fn)(a, dims[0]);
        break;
    case OP_attn_mix: // c is the work space, written although const here
        ((kllm_attn_mix_fn *)fn)(y, a, b, dims[0], dims[1], dims[2], dims[3], dims[4],
                                 (uint8_t *)(uintptr_t)c);
        break;
    case OP_dequantize:
        ((kllm_dequantize_fn *)fn)(y, a, dims[0], dims[1]);
        break;
    case OP_dot:
        *y = ((kllm_dot_fn *)fn)(a, b, dims[0]);
        break;
    case OP_gelu:
        ((kllm_gelu_fn *)fn)(y, a, dims[0]);
        break;
    case OP_layernorm:
        ((kllm_layernorm_fn *)fn)(y, a, b, c, dims[0], scalars[0]);
        break;
    case OP_matmul:
        ((kllm_matmul_fn *)fn)(y, a, b, dims[0], dims[1], dims[2], dims[3]);
        break;
    case OP_patch:
        ((kllm_patch_fn *)fn)(y, a, b, dims[0], dims[1], dims[2], dims[3]);
        break;
    case OP_pick: // takes out of b, which is const only here
        ((kllm_pick_fn *)fn)(out, (float *)(uintptr_t)b, dims[0]);
        break;
    case OP_quantize:
        ((kllm_quantize_fn *)fn)(out, a, dims[0]);
        break;
    case OP_rmsnorm:
        ((kllm_rmsnorm_fn *)fn)(y, a, b, dims[0], scalars[0]);
        break;
    case OP_rope:
        ((kllm_rope_fn *)fn)(y, a, dims[0], dims[1], dims[2], dims[3]);
        break;
    case OP_softmax:
        ((kllm_softmax_fn *)fn)(y, dims[0], scalars[0]);
        break;
    case OP_sum:
        *y = ((kllm_sum_fn *)fn)(a, dims[0]);
        break;
    default:
        ((kllm_swiglu_fn *)fn)(y, a, b, dims[0]);
        break;
    }
}

int32_t kllm_kernel_run(uint32_t idx, void *out, const void *a, const void *b, const void *c,
                        const uint32_t *dims, const float *scalars, uint32_t loops) {
    if (idx >= kllm_kernel_count()) {
        return KLLM_ERR_RANGE;
    }
    KLLM_ASSUME((variants[idx].needs & ~kllm_cpu()) == 0);
    for (uint32_t i = 0; i < loops; i++) {
        run_once(&variants[idx], out, a, b, c, dims, scalars);
    }
    return KLLM_OK;
}
