// SPDX-License-Identifier: Apache-2.0
// The text of the encode image, linked in. TEXT_PATH comes from qemu/build.py.
    .section .rodata
    .global text
text:
    .incbin TEXT_PATH
    .skip 16 // may be read
