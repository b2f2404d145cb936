# SPDX-License-Identifier: Apache-2.0
"""Vocabularies of every kind of file, and text to token ids at the core's speed. CPython only."""
