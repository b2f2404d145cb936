// SPDX-License-Identifier: Apache-2.0
// Semihosting calls: operation in w0, its argument in x1, HLT 0xf000 hands over to QEMU.
#include "console.h"

enum semihosting { SYS_WRITE0 = 0x04, SYS_GET_CMDLINE = 0x15, SYS_EXIT = 0x18 };
enum { APPLICATION_EXIT = 0x20026, PAINT = 0xa5, PIECE_BYTES = 64, EXIT_FAULT = 3 };

extern uint8_t __stack_bottom[];
extern uint8_t __stack_top[];

static uint64_t semihost(uint64_t operation, const void *argument) {
    register uint64_t x0 __asm__("x0") = operation;
    register const void *x1 __asm__("x1") = argument;
    __asm__ volatile("hlt #0xf000" : "+r"(x0) : "r"(x1) : "memory");
    return x0;
}

void console_text(const char *text) {
    semihost(SYS_WRITE0, text);
}

void console_bytes(const uint8_t *bytes, uint32_t n_bytes) {
    char piece[PIECE_BYTES + 1];
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_bytes; i++) {
        piece[n++] = (char)bytes[i];
        if (n == PIECE_BYTES || i + 1 == n_bytes) {
            piece[n] = 0;
            console_text(piece);
            n = 0;
        }
    }
}

void console_u64(uint64_t value) {
    char digits[21];
    uint32_t at = 20;
    digits[at] = 0;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    console_text(digits + at);
}

void console_hex(uint64_t value, uint32_t n_digit) {
    char digits[17];
    digits[n_digit] = 0;
    for (uint32_t i = n_digit; i > 0; i--, value >>= 4) {
        digits[i - 1] = "0123456789abcdef"[value & 15];
    }
    console_text(digits);
}

uint32_t console_command_line(char *out, uint32_t out_bytes) {
    struct {
        char *bytes;
        uint64_t n_bytes;
    } block = {out, out_bytes};
    if (semihost(SYS_GET_CMDLINE, &block) != 0) {
        out[0] = 0;
        return 0;
    }
    return (uint32_t)block.n_bytes;
}

void console_stack(void) {
    const uint8_t *deepest = __stack_bottom;
    while (deepest < __stack_top && *deepest == PAINT) {
        deepest++;
    }
    console_text("stack ");
    console_u64((uint64_t)(__stack_top - deepest));
    console_text(" of ");
    console_u64((uint64_t)(__stack_top - __stack_bottom));
    console_text(" bytes\n");
}

_Noreturn void console_exit(uint32_t code) {
    const uint64_t block[2] = {APPLICATION_EXIT, code};
    for (;;) {
        semihost(SYS_EXIT, block);
    }
}

_Noreturn void console_fault(uint64_t esr, uint64_t elr, uint64_t far) {
    console_text("fault: ESR 0x");
    console_hex(esr, 8);
    console_text(" at 0x");
    console_hex(elr, 16);
    console_text(", address 0x");
    console_hex(far, 16);
    console_text("\n");
    console_exit(EXIT_FAULT);
}
