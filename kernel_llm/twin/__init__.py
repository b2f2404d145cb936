# SPDX-License-Identifier: Apache-2.0
"""The core in plain Python, bit for bit: without a library, and for tests."""
