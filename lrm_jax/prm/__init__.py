# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Process reward models: what scores mean, step losses, scoring, aggregation."""
