# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Environments whose true values are known, to check searches and scorers against."""
