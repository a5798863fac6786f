# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Host-side data: puzzles, readers and writers, pipelines (NumPy and Grain)."""
