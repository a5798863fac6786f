# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""FLOPs that a model needs, by formula: what MFU is measured by.

A product-sum is two FLOPs, a backward pass costs twice its forward pass, attention is
counted over all pairs (PaLM, arXiv 2204.02311, appendix B), recomputation is not.
"""


def dense(params: int, tokens: int) -> int:
    """Return FLOPs of tokens through matrices of so many parameters, forward."""
    return 2 * params * tokens


def attention(*, heads: int, width: int, queries: int, keys: int) -> int:
    """Return FLOPs of scores and of weighted sums of one sequence, forward."""
    return 4 * heads * width * queries * keys


def trained(forward: int) -> int:
    """Return FLOPs with the backward pass."""
    return 3 * forward
