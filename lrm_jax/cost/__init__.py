# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a program costs: chips, FLOP counts, compiled text, roofline."""
