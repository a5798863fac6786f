# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Search: trees over any model, votes, beams, and search over latents."""

from lrm_jax.search.config import SearchConfig, check_config
from lrm_jax.search.mcts import check_result, search, search_jit, search_on
from lrm_jax.search.replay import replay
from lrm_jax.search.reuse import keep_subtree
from lrm_jax.search.sizes import check_size, tree_size
from lrm_jax.search.trace import (
    read_trace,
    search_recorded,
    trace_lines,
    write_trace,
)
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
    "check_result",
    "check_size",
    "keep_subtree",
    "read_trace",
    "replay",
    "search",
    "search_jit",
    "search_on",
    "search_recorded",
    "trace_lines",
    "tree_size",
    "write_trace",
]
