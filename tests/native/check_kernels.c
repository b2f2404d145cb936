// SPDX-License-Identifier: Apache-2.0
// Every kernel variant of the manifest against its C twin, to the bit, on random and edge shapes.
//
//     check_kernels [NAME]     variants whose name contains NAME; all by default
//     SEED=n                   another sequence of cases
//     ROUNDS=n                 cases for each variant; 150 by default
//
// Inputs are read-only and end at a page that traps; outputs lie among canaries. The checksum of all
// that a C twin gave is printed: the same on every machine.
#include "cases_matrix.h"
#include "cases_vector.h"

static const struct variant variants[] = {
#define KLLM_KERNEL(op, types, isa, needs)                                                        \
    {#op "_" #types "_" #isa,                                                                     \
     #types,                                                                                      \
     (void (*)(void))kllm_##op##_##types##_##isa,                                                 \
     (void (*)(void))kllm_##op##_##types##_c,                                                     \
     OP_##op,                                                                                     \
     (needs)},
#include "../../native/src/kernels.def"
#undef KLLM_KERNEL
};

static void run_case(const struct variant *v, uint32_t round) {
    switch (v->op) {
    case OP_argmax:
    case OP_dot:
    case OP_sum:
        run_reduction(v, round);
        break;
    case OP_attn_mix:
        run_attn_mix(v, round);
        break;
    case OP_dequantize:
        run_dequantize(v, round);
        break;
    case OP_matmul:
        run_matmul(v, round);
        break;
    case OP_patch:
        run_patch(v, round);
        break;
    case OP_pick:
        run_pick(v, round);
        break;
    case OP_quantize:
        run_quantize(v, round);
        break;
    case OP_rope:
        run_rope(v, round);
        break;
    default:
        run_elementwise(v, round);
        break;
    }
}

static uint64_t setting(const char *name, uint64_t fallback) {
    const char *text = getenv(name);
    return text == NULL ? fallback : strtoull(text, NULL, 0);
}

int main(int argc, char **argv) {
    uint64_t first_seed = setting("SEED", 1);
    uint32_t rounds = (uint32_t)setting("ROUNDS", 150);
    uint32_t n_failed = 0, n_checked = 0, n_skipped = 0;
    open_slots();
    for (uint32_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        const struct variant *v = &variants[i];
        if (argc > 1 && strstr(v->name, argv[1]) == NULL) {
            continue;
        }
        if ((v->needs & ~kllm_cpu()) != 0) {
            printf("%s: skipped, this CPU lacks what it needs\n", v->name);
            n_skipped++;
            continue;
        }
        uint32_t digest = 0;
        seed = first_seed;
        n_checked++;
        for (uint32_t round = 0; round < rounds; round++) {
            run_case(v, round);
            if (!outputs_agree()) {
                printf("%s: FAILED in round %u, SEED=%llu, dims %u %u %u %u %u\n", v->name, round,
                       (unsigned long long)first_seed, dims[0], dims[1], dims[2], dims[3],
                       dims[4]);
                n_failed++;
                break;
            }
            digest = add_digest(digest);
        }
        if (v->fn == v->twin) {
            printf("%s: digest %08x\n", v->name, digest);
        }
    }
    printf("%u variants agree with their C twin, %u failed, %u skipped (SEED=%llu, ROUNDS=%u)\n",
           n_checked - n_failed, n_failed, n_skipped, (unsigned long long)first_seed, rounds);
    return n_failed != 0 || n_checked == 0;
}
