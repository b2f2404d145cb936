# SPDX-License-Identifier: Apache-2.0
"""GGUF files: read, understood as a model, written. The weights need CPython and NumPy."""
