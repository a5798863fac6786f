# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a policy's own log-probs say of steps: what a reward model has to beat."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax import sharding
from lrm_jax.evaluation.step_quality import step_quality
from lrm_jax.prm.implicit import WholePolicy, token_logps
from lrm_jax.prm.losses import judge_steps
from lrm_jax.recipes.policy_eval import batches_of
from lrm_jax.recipes.prm_run import RewardRun, refuse_other_tokenizer
from lrm_jax.recipes.prm_step import Batch
from lrm_jax.recipes.token_run import TokenRun
from lrm_jax.types import Array, Params


def step_logps(
    policy: WholePolicy, params: Params, batch: Batch, *, chunk: int = 4096
) -> Array:
    """Return each step's log-probability, `[B, S]` nats, 0 where there is no step.

    Args:
      policy: that writes steps.
      params: of the policy.
      batch: of rows of one text each, as `data.step_rows` makes it.
      chunk: columns of the vocabulary at a time.
    """
    given = (batch[name] for name in ("ids", "positions", "mask"))
    so_far = jnp.cumsum(token_logps(policy, params, *given, chunk=chunk), axis=1)
    ends, starts = batch["ends"], batch["starts"]
    before = jnp.concatenate([starts[:, None] - 1, ends[:, :-1]], axis=1)
    read = partial(jnp.take_along_axis, so_far, axis=1)
    upto = jnp.where(before >= 0, read(jnp.maximum(before, 0)), 0)
    return jnp.where(ends >= 0, read(jnp.maximum(ends, 0)) - upto, 0)


def logprob_baseline(
    run: RewardRun, policy: TokenRun, data: str | None = None
) -> dict[str, Any]:
    """Measure index and log-prob of steps as scores, on what `run.evaluate` has.

    Within a place, any increasing function of both orders steps as the log-prob does;
    its sign is the one that fits better, as a regression would find.

    Args:
      run: reward model, whose labels and rows are used.
      policy: whose log-probs.
      data: JSONL of labelled steps; None for the run's own held-out ones.

    Returns:
      {n, auroc, auroc_within_index, auroc_by_index}.

    Raises:
      UserError: the two have other tokenizers, or the data cannot be used.
    """
    refuse_other_tokenizer(run.tokenizer, policy.tokenizer, "the policy")
    rows, cfg = run.held_out(data), run.config.eval
    count = len(rows) if data else min(cfg.size or len(rows), len(rows))
    measure = jax.jit(partial(step_logps, policy.policy))
    found: list[np.ndarray] = []
    for part in batches_of(range(count), cfg.batch_size):
        fill = cfg.batch_size - len(part)
        batch = rows.batch([*part, *[part[0]] * fill])
        batch["label_mask"][len(part) :] = False
        with sharding.use_mesh(policy.mesh):
            logps = np.asarray(measure(policy.weights, batch))
        given = (jnp.asarray(batch[name]) for name in ("labels", "label_mask"))
        judged = judge_steps(run.config.prm.loss, jnp.asarray(logps), *given)
        kept = np.asarray(judged.known)
        index = np.broadcast_to(np.arange(kept.shape[1]), kept.shape)
        right = np.asarray(judged.right)
        found.append(np.stack([logps[kept], right[kept], index[kept]]))
    scores, right, index = np.concatenate(found, axis=1)
    signs = [step_quality(sign * scores, right, index) for sign in (1, -1)]
    best = max(signs, key=lambda quality: np.nan_to_num(quality.within_index))
    return {
        "n": count,
        "auroc": best.auroc,
        "auroc_within_index": best.within_index,
        "auroc_by_index": best.by_index,
    }
