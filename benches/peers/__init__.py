# SPDX-License-Identifier: Apache-2.0
"""Contests with what one would take instead: `python -m benches.peers`. CPython only."""
