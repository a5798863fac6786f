# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Prompts of any length as arrays of a few widths, each of which compiles once."""

from collections.abc import Sequence

import numpy as np

from lrm_jax.types import UserError


def bucket_length(length: int, buckets: Sequence[int]) -> int:
    """Return the least bucket that holds `length` tokens."""
    fitting = [bucket for bucket in buckets if bucket >= length]
    if not fitting:
        raise UserError(
            f"prompt of {length} tokens: longer than the cache has room for; "
            f"accepted: up to {max(buckets, default=0)} tokens"
        )
    return min(fitting)


def prompt_buckets(longest: int, *, shortest: int = 16) -> tuple[int, ...]:
    """Return powers of two from `shortest` on, and `longest`.

    >>> prompt_buckets(100)
    (16, 32, 64, 100)
    """
    sizes = []
    while shortest < longest:
        sizes.append(shortest)
        shortest *= 2
    return (*sizes, longest)


def pad_prompts(
    prompts: Sequence[Sequence[int]],
    buckets: Sequence[int],
    *,
    vocab_size: int,
    pad_id: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Pad prompts on the right to the bucket of the longest.

    Returns:
      ids `[Q, P]` int32 and mask `[Q, P]` bool.
    """
    for i, prompt in enumerate(prompts):
        if not len(prompt):
            raise UserError(f"prompt {i}: empty; accepted: one token or more")
        bad = next((token for token in prompt if not 0 <= token < vocab_size), None)
        if bad is not None:
            raise UserError(
                f"prompt {i}: id {bad} is not in the vocabulary; accepted: 0 to "
                f"{vocab_size - 1}"
            )
        if len(prompt) > max(buckets):
            raise UserError(
                f"prompt {i}: {len(prompt)} tokens, longer than the cache has room "
                f"for; accepted: up to {max(buckets)} tokens"
            )
    longest = max((len(prompt) for prompt in prompts), default=0)
    width = bucket_length(longest, buckets)
    ids = np.full((len(prompts), width), pad_id, np.int32)
    mask = np.zeros((len(prompts), width), bool)
    for i, prompt in enumerate(prompts):
        ids[i, : len(prompt)] = prompt
        mask[i, : len(prompt)] = True
    return ids, mask
