// SPDX-License-Identifier: Apache-2.0
// CRC-32 of IEEE 802.3 (reflected polynomial 0xEDB88320), four bits at a time.
#include "base.h"

// Entry i is the remainder of the four bits i: the 64 bytes stay in one cache line.
static const uint32_t remainders[16] = {
    0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
    0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
};

uint32_t kllm_crc32(uint32_t crc, const void *bytes, uint64_t n_bytes) {
    const uint8_t *byte = bytes;
    crc = ~crc;
    for (uint64_t i = 0; i < n_bytes; i++) {
        crc ^= byte[i];
        crc = crc >> 4 ^ remainders[crc & 15];
        crc = crc >> 4 ^ remainders[crc & 15];
    }
    return ~crc;
}
