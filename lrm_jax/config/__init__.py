# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Frozen dataclasses as configs: exact JSON, hash, overrides, ablations."""

from lrm_jax.config.ablation import Ablation, chain, grid, seeds, zip_
from lrm_jax.config.overrides import apply_overrides
from lrm_jax.config.tree import (
    Difference,
    all_keys,
    checked,
    config_hash,
    diff,
    flatten,
    from_dict,
    from_json,
    replace,
    to_dict,
    to_json,
)
from lrm_jax.config.user_code import resolve

__all__ = [
    "Ablation",
    "Difference",
    "all_keys",
    "apply_overrides",
    "chain",
    "checked",
    "config_hash",
    "diff",
    "flatten",
    "from_dict",
    "from_json",
    "grid",
    "replace",
    "resolve",
    "seeds",
    "to_dict",
    "to_json",
    "zip_",
]
