// SPDX-License-Identifier: Apache-2.0
// Text, exit and memory of a bare-metal image; the outside is reached by semihosting.
#ifndef KLLM_CONSOLE_H
#define KLLM_CONSOLE_H

#include <stdint.h>

/// Writes a string that ends with NUL.
void console_text(const char *text);

/// Writes n_bytes bytes as they are; a NUL ends each piece unseen.
void console_bytes(const uint8_t *bytes, uint32_t n_bytes);

/// Writes a number in decimal.
void console_u64(uint64_t value);

/// Writes a number as n_digit hexadecimal digits.
void console_hex(uint64_t value, uint32_t n_digit);

/// Copies the command line given to the machine, with its NUL. Returns its length, 0 for none.
uint32_t console_command_line(char *out, uint32_t out_bytes);

/// Writes a line with the bytes of stack used so far, and what there is.
void console_stack(void);

/// Ends the machine; the code, 0 .. 255, is the exit status of QEMU.
_Noreturn void console_exit(uint32_t code);

/// Reports an exception and ends the machine with status 3.
_Noreturn void console_fault(uint64_t esr, uint64_t elr, uint64_t far);

/// What an image does; the result is its exit status.
uint32_t image_main(void);

// Placed by virt.ld: the memory for the model's arena.
extern uint8_t __arena_start[];
extern uint8_t __arena_end[];

#endif
