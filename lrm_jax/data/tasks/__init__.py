# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Verifiable text tasks: prompt, answer, worked solution, verifier.

`base.py` has the seam (`TextTask`) and finds tasks by name; each other module
is one task.
"""
