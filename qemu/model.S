// SPDX-License-Identifier: Apache-2.0
// The model image, linked in read-only and executed in place. MODEL_PATH comes from qemu/build.py.
    .section .model, "a"
    .balign 64
    .global model_image
    .global model_image_end
model_image:
    .incbin MODEL_PATH
model_image_end:
