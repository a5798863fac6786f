# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""From the scores of steps to the score of a solution.

A solution without a step scores -inf, whatever the rule: it never wins.
"""

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from lrm_jax.masked import masked_mean, masked_sum
from lrm_jax.prm.semantics import Aggregation
from lrm_jax.types import Array, UserError, at_least_float32

AGGREGATIONS: tuple[Aggregation, ...] = ("min", "product", "last", "mean", "sum")


def aggregate(scores: Array, mask: Array, how: Aggregation) -> Array:
    """Return the score of each solution, `[B]`, float32 at least.

    A NaN at a step gives NaN where it counts, and where it is masked nothing; see
    `check_scores` for saying so. -inf is a score like another; a product with a score
    of 0 is 0.

    Args:
      scores: `[B, S]` of steps; probabilities for a product, which is the
        exponential of `log_product`.
      mask: `[B, S]` bool, true where there is a step.
      how: `min`, `product`, `last`, `mean` or `sum`.

    Raises:
      UserError: there is no such rule.
    """
    scores, mask = at_least_float32(jnp.asarray(scores)), jnp.asarray(mask, bool)
    if how == "min":
        found = jnp.min(jnp.where(mask, scores, jnp.inf), axis=1)
    elif how == "product":
        found = jnp.exp(log_product(scores, mask))
    elif how == "last":
        at = scores.shape[1] - 1 - jnp.argmax(mask[:, ::-1], axis=1)
        found = jnp.take_along_axis(scores, at[:, None], axis=1)[:, 0]
    elif how == "mean":
        found = masked_mean(scores, mask, axis=1)
    elif how == "sum":
        found = masked_sum(scores, mask, axis=1)
    else:
        raise UserError(
            f"aggregation {how!r}: expected one of {', '.join(AGGREGATIONS)}"
        )
    return jnp.where(mask.any(axis=1), found, -jnp.inf)


def log_product(scores: Array, mask: Array) -> Array:
    """Return the logarithm of the product of probabilities, `[B]`.

    It keeps apart what the product of many steps cannot: 500 steps of 0.5 are
    exp(-347), which float32 rounds to 0. -inf where there is no step.

    Args:
      scores: `[B, S]` probabilities of steps; below 0 gives NaN.
      mask: `[B, S]` bool, true where there is a step.
    """
    scores, mask = at_least_float32(jnp.asarray(scores)), jnp.asarray(mask, bool)
    logs = masked_sum(jnp.log(jnp.where(mask, scores, 1)), mask, axis=1)
    return jnp.where(mask.any(axis=1), logs, -jnp.inf)


def rank_scores(scores: Array, mask: Array, how: Aggregation) -> Array:
    """Return what orders solutions as `aggregate` does, `[B]`, without underflow.

    The logarithm for a product, and else the aggregate itself.
    """
    if how == "product":
        return log_product(scores, mask)
    return aggregate(scores, mask, how)


def check_scores(scores: Array, mask: Array, what: str = "reward model") -> None:
    """Refuse scores that are not numbers; on the host, outside of jit.

    Args:
      scores: `[B, S]`.
      mask: `[B, S]`, true where there is a step.
      what: gave them, for the message.

    Raises:
      UserError: names the first lane and step, from 0, and how many there are.
    """
    if isinstance(scores, Tracer):
        raise TypeError("check_scores looks at values: call it outside of jit")
    bad = np.isnan(np.asarray(scores, np.float32)) & np.asarray(mask, bool)
    if bad.any():
        lane, step = np.argwhere(bad)[0]
        raise UserError(
            f"{what}: the score of lane {lane}, step {step} is NaN ({bad.sum()} of "
            f"{int(np.asarray(mask, bool).sum())} steps)"
        )


def drift_share(scores: Array, mask: Array) -> Array:
    """Return the share of solutions whose lowest score is at their last step, `[]`.

    Near 0 for a model that judges processes; high for one that judges outcomes
    ("Lessons", arXiv 2501.07301, section 3.2.2). Of solutions with two steps or more.

    Args:
      scores: `[B, S]`.
      mask: `[B, S]` bool, true where there is a step.
    """
    scores, mask = at_least_float32(jnp.asarray(scores)), jnp.asarray(mask, bool)
    at_last = aggregate(scores, mask, "last") <= aggregate(scores, mask, "min")
    return masked_mean(at_last.astype(scores.dtype), mask.sum(axis=1) > 1)
