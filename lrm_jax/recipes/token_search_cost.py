# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""FLOPs of a search over a policy, the reward model's included, by formula."""

from typing import Any

import numpy as np

from lrm_jax.cost import formulas
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.recipes.aot_policy import head_flops, layer_params, layers_flops


def search_flops(bench: Any, found: Any, method: str) -> float:
    """Return the mean FLOPs of a problem.

    Every prompt is read once by the policy, and by the reward model as often as
    `found` says. A written token attends to its prompt and to half a solution, which
    is the mean over solutions of equal length.

    Args:
      bench: the run, its problems and what scores them.
      found: what a method wrote.
      method: `one_pass` and `majority` ask no scorer.
    """
    prompt = int(round(float(np.mean(bench.lengths))))
    lengths = [len(one.ids) for solutions in found.solutions for one in solutions]
    context = prompt + float(np.mean(lengths or [0])) / 2
    model = bench.run.policy.cfg
    written = float(np.mean(found.generated))
    total = layers_flops(model, 1, prompt) + head_flops(model, 1)
    total += token_flops(model, written, context) + head_flops(model, 1) * written
    if bench.scorer is not None and method not in ("one_pass", "majority"):
        reward = bench.scorer.config.model
        total += layers_flops(reward, found.scored_prompts, prompt)
        total += token_flops(reward, float(np.mean(found.scored)), context)
    return float(total)


def token_flops(model: PolicyConfig, tokens: float, context: float) -> float:
    """Return the forward FLOPs of the blocks on tokens that see so many others."""
    width = model.head_dim
    if model.mla is not None:
        width = (model.mla.d_nope + model.mla.d_rope + model.mla.d_value) // 2
    pair = formulas.attention(heads=model.n_heads, width=width, queries=1, keys=1)
    dense = formulas.dense(layer_params(model), 1)
    return tokens * (dense + model.n_layers * pair * context)
