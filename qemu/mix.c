// SPDX-License-Identifier: Apache-2.0
// A plugin of QEMU that counts what an emulated AArch64 machine executes, by kind of instruction.
//
// When the machine ends it prints one line for each block of code that ran: "mix ADDRESS TIMES
// INSTRUCTIONS VECTOR MEMORY SCALAR", all but TIMES of the block itself. VECTOR: arithmetic on
// vectors; MEMORY: loads and stores of SIMD and floating-point registers; SCALAR: arithmetic on
// single floats.
//
// Debian packages QEMU without the header of its plugins: here is the part that is needed. MIX_API
// is the version of that interface: 1 until QEMU 8, 3 from 9.1 on, where instructions are copied.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t idx);
#if MIX_API == 1
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
#else
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *out, size_t n_bytes);
#endif
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id,
                                           void (*fn)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
                                          void (*fn)(unsigned int cpu, void *data), int flags,
                                          void *data);
void qemu_plugin_register_atexit_cb(plugin_id id, void (*fn)(plugin_id, void *data), void *data);
void qemu_plugin_outs(const char *text);

EXPORT int qemu_plugin_version = MIX_API;

// A block of code as it was translated; the list of all is never freed.
struct block {
    struct block *next;
    uint64_t address, n_run;
    unsigned int n_insn, n_vector, n_memory, n_scalar;
};

static struct block *blocks;

static uint32_t word_of(const struct qemu_plugin_insn *insn) {
    uint32_t word;
#if MIX_API == 1
    memcpy(&word, qemu_plugin_insn_data(insn), 4);
#else
    qemu_plugin_insn_data(insn, &word, 4);
#endif
    return word;
}

// The top level of the encoding: bits 28 to 25 are x111 for SIMD and floating point, of which bit
// 28 is 0 for vectors; x1x0 for loads and stores, with bit 26 for SIMD and floating point.
static void add_insn(struct block *block, uint32_t word) {
    if ((word >> 25 & 7) == 7) {
        *((word >> 28 & 1) == 0 ? &block->n_vector : &block->n_scalar) += 1;
    } else if ((word >> 25 & 5) == 4 && (word >> 26 & 1) == 1) {
        block->n_memory++;
    }
}

static void on_run(unsigned int cpu, void *data) {
    (void)cpu; // one core
    ((struct block *)data)->n_run++;
}

static void on_translate(plugin_id id, struct qemu_plugin_tb *tb) {
    (void)id;
    struct block *block = calloc(1, sizeof *block);
    if (block == NULL) {
        abort();
    }
    block->address = qemu_plugin_tb_vaddr(tb);
    block->n_insn = (unsigned int)qemu_plugin_tb_n_insns(tb);
    for (size_t i = 0; i < block->n_insn; i++) {
        add_insn(block, word_of(qemu_plugin_tb_get_insn(tb, i)));
    }
    block->next = blocks;
    blocks = block;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_run, 0, block);
}

static void on_end(plugin_id id, void *data) {
    (void)id;
    (void)data;
    for (const struct block *b = blocks; b != NULL; b = b->next) {
        char line[128];
        snprintf(line, sizeof line, "mix %llx %llu %u %u %u %u\n", (unsigned long long)b->address,
                 (unsigned long long)b->n_run, b->n_insn, b->n_vector, b->n_memory, b->n_scalar);
        qemu_plugin_outs(line);
    }
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
    (void)info;
    (void)argc;
    (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    qemu_plugin_register_atexit_cb(id, on_end, NULL);
    return 0;
}
