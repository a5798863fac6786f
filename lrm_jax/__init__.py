# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""LRM-JAX: research on large reasoning models, latent and token, in JAX."""

__version__ = "0.1.0"
