# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Flax Linen modules: one forward step each, handed out as typed functions."""
