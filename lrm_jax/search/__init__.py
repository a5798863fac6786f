# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Search: trees over any model, votes, beams, and search over latents."""

from lrm_jax.search.config import SearchConfig, check_config
from lrm_jax.search.tree import (
    Expansion,
    NodeView,
    SearchResult,
    Tree,
    TreeModel,
)

__all__ = [
    "Expansion",
    "NodeView",
    "SearchConfig",
    "SearchResult",
    "Tree",
    "TreeModel",
    "check_config",
]
