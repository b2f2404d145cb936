// SPDX-License-Identifier: Apache-2.0
// From reset to main on QEMU's -M virt: FP and SIMD on, MMU and caches on, stack painted.
//
// The MMU is on because the kernels load 16 bytes from addresses that are multiples of 4, as they
// do under Linux: without it all memory is Device memory, where that faults. So the code, and
// with it every instruction count, is the one of the Linux build.

    .section .text.start, "ax"
    .global _start
_start:
    mrs x0, CurrentEL
    cmp x0, #4 // EL1; QEMU starts there unless told otherwise
    b.ne halt
    mov x0, #(3 << 20) // FPEN: no trap of FP and SIMD
    msr CPACR_EL1, x0
    adr x0, vectors
    msr VBAR_EL1, x0
    isb

    ldr x0, =0x00ff // attribute 0: normal, write-back; attribute 1: device
    msr MAIR_EL1, x0
    // 39-bit addresses, 4 KiB granule, walks cached and shared, upper half off, 40-bit output
    ldr x0, =(25 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23 | 2 << 32)
    msr TCR_EL1, x0
    adrp x0, page_table
    add x0, x0, :lo12:page_table
    msr TTBR0_EL1, x0
    tlbi vmalle1
    ic iallu
    dsb sy
    isb
    mrs x0, SCTLR_EL1
    mov x1, #(1 << 0 | 1 << 2) // MMU, data cache
    orr x1, x1, #(1 << 12)     // instruction cache
    orr x0, x0, x1
    bic x0, x0, #(1 << 1) // no alignment check
    msr SCTLR_EL1, x0
    isb

    ldr x0, =__bss_start
    ldr x1, =__bss_end
1:  cmp x0, x1
    b.hs 2f
    stp xzr, xzr, [x0], #16
    b 1b
2:  ldr x0, =__stack_bottom
    ldr x1, =__stack_top
    ldr x2, =0xa5a5a5a5a5a5a5a5
    mov sp, x1
3:  stp x2, x2, [x0], #16
    cmp x0, x1
    b.lo 3b
    mov x29, #0
    mov x30, #0
    bl image_main
    b console_exit

halt:
    wfe
    b halt

    // Every exception ends the run: what happened, where, on which address.
    .balign 2048
vectors:
    .rept 16
    .balign 128
    mrs x0, ESR_EL1
    mrs x1, ELR_EL1
    mrs x2, FAR_EL1
    ldr x3, =__stack_top // the old stack may be what failed
    mov sp, x3
    b console_fault
    .endr

    // One entry a GiB: devices below 1 GiB, memory above, as the board has them.
    .section .rodata.page_table, "a"
    .balign 4096
page_table:
    .quad 0x0060000000000405 // device, not executable
    .set address, 0x40000000
    .rept 511
    .quad address + 0x701 // memory, inner shareable, accessed
    .set address, address + 0x40000000
    .endr
