# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a reward model is trained on: labels of steps, or of a whole solution.

Every loss is a sum over a batch and a count that follows from the labels alone, so
that micro-batches, devices and padding change nothing: loss = sum / max(count, 1).
`B` texts of at most `S` steps; logits are readings at step ends.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp

from lrm_jax.losses import binary_cross_entropy
from lrm_jax.masked import masked_sum
from lrm_jax.types import Array, UserError, at_least_float32

Kind = Literal["hard", "soft", "mse", "progress", "ranking", "outcome", "implicit"]

_NOTHING = -1e30
"""In place of the logit of a step that is left out: exp of it is 0."""


@dataclass(frozen=True)
class StepLossConfig:
    """What is learned from the labels of steps.

    Attributes:
      kind: of each step, `hard` cross-entropy of label > `threshold`, `soft`
        cross-entropy of the label itself, `mse` of the probability to the label,
        `progress` squared error to the rise of the label over the step before (PAV,
        arXiv 2410.08146, eq. 2); of a text, `ranking` (PQM, arXiv 2410.11287, eq. 10),
        `outcome` cross-entropy at the last labelled step of its label, `implicit` the
        same of a running sum of log-ratios (arXiv 2412.01981, eq. 5).
      threshold: a step counts as right above it. 0 for Monte Carlo labels, some
        completion from there was right, is best by arXiv 2501.07301, section 3.1.3.
      after_error: `mask` learns nothing of the steps after the first wrong one
        (`hard`, `soft` and `mse`); `learn` does.
      margin: by how much `ranking` raises the logits of wrong steps, zeta.
      beta: nats of `implicit` log-ratio count so much.
    """

    kind: Kind = "soft"
    threshold: float = 0.0
    after_error: Literal["mask", "learn"] = "mask"
    margin: float = 4.0
    beta: float = 0.05

    def __post_init__(self) -> None:
        """Refuse values that no run can mean."""
        if not 0 <= self.threshold < 1:
            raise UserError(
                f"prm.loss.threshold={self.threshold}: expected 0 or more and below 1"
            )
        if not self.margin >= 0:
            raise UserError(f"prm.loss.margin={self.margin}: expected 0 or more")
        if not self.beta > 0:
            raise UserError(f"prm.loss.beta={self.beta}: expected more than 0")


PER_TEXT = ("ranking", "outcome", "implicit")
"""Losses with one term a text; the others have one a step."""


def loss_sum(cfg: StepLossConfig, logits: Array, labels: Array, mask: Array) -> Array:
    """Return the loss summed over a batch, `[]` float32 at least, in nats or squares.

    Args:
      cfg: which loss.
      logits: `[B, S]` readings; any value where masked.
      labels: `[B, S]` in [0, 1]; any value where masked.
      mask: `[B, S]` bool, steps that have a label.
    """
    chex.assert_equal_shape([logits, labels, mask])
    logits, labels, mask = _clean(cfg, logits, labels, mask)
    if cfg.kind == "ranking":
        return jnp.sum(ranking_losses(logits, labels > cfg.threshold, mask, cfg.margin))
    if cfg.kind in PER_TEXT:
        at = last_labelled(mask)
        logit = jnp.sum(jnp.where(at, logits, 0), axis=1)
        return masked_sum(
            binary_cross_entropy(logit, outcome_of(cfg, labels, mask)),
            jnp.any(mask, axis=1),
        )
    if cfg.kind == "progress":
        rises, mask = progress_targets(labels, mask)
        return masked_sum(jnp.square(logits - rises), mask)
    if cfg.kind == "mse":
        return masked_sum(jnp.square(jax.nn.sigmoid(logits) - labels), mask)
    if cfg.kind == "hard":
        labels = (labels > cfg.threshold).astype(labels.dtype)
    return masked_sum(binary_cross_entropy(logits, labels), mask)


def loss_count(cfg: StepLossConfig, labels: Array, mask: Array) -> Array:
    """Return what the sum of a whole batch is divided by, `[]` float32; may be 0."""
    _, labels, mask = _clean(cfg, labels, labels, mask)
    if cfg.kind in PER_TEXT:
        mask = jnp.any(mask, axis=1)
    elif cfg.kind == "progress":
        _, mask = progress_targets(labels, mask)
    return jnp.sum(mask).astype(jnp.float32)


def ranking_losses(logits: Array, right: Array, mask: Array, margin: float) -> Array:
    """Return PQM's loss of each text, `[B]`, 0 where nothing is labelled.

    With c_0 the prompt at Q = 0, c_1 ... the right steps in order, W the wrong ones:

      -1 / |C| sum_{t >= 0} log(e^{Q_ct} / (sum_{q <= t} e^{Q_cq}
                                            + sum_{w in W} e^{Q_w + margin}))

    where |C| counts the right steps, 1 if there are none. Of a text with one labelled
    step and margin 0 this is its binary cross-entropy.

    Args:
      logits: `[B, S]` float32 at least, finite.
      right: `[B, S]` bool.
      mask: `[B, S]` bool, steps that have a label.
      margin: zeta.
    """
    right, wrong = right & mask, ~right & mask
    so_far = jax.lax.cumlogsumexp(jnp.where(right, logits, _NOTHING), axis=1)
    raised = jnp.where(wrong, logits + margin, _NOTHING)
    against = jax.nn.logsumexp(raised, axis=1, keepdims=True)
    total = jnp.logaddexp(jnp.logaddexp(so_far, 0), against)
    terms = jnp.where(right, total - logits, 0)
    # The prompt's own term is 0 where nothing is wrong, masked texts included.
    prompt = jnp.logaddexp(against[:, 0], 0)
    count = jnp.maximum(jnp.sum(right, axis=1), 1)
    return (jnp.sum(terms, axis=1) + prompt) / count


def progress_targets(labels: Array, mask: Array) -> tuple[Array, Array]:
    """Return by how much each step raised the label, and where that is known.

    A_t = Q_t - Q_{t-1}. Nothing says how it went before the first step, so that is
    not learned; neither is a step after one without a label.

    Args:
      labels: `[B, S]`.
      mask: `[B, S]` bool.
    """
    before = jnp.pad(labels[:, :-1], ((0, 0), (1, 0)))
    known = mask & jnp.pad(mask[:, :-1], ((0, 0), (1, 0)))
    return jnp.where(known, labels - before, 0), known


def until_first_error(labels: Array, mask: Array, threshold: float) -> Array:
    """Return the mask without the steps after the first wrong one, `[B, S]`."""
    wrong = (mask & (labels <= threshold)).astype(jnp.int32)
    return mask & (jnp.cumsum(wrong, axis=1) - wrong == 0)


def last_labelled(mask: Array) -> Array:
    """Return where the last labelled step of each text is, `[B, S]` bool."""
    later = jnp.cumsum(mask.astype(jnp.int32)[:, ::-1], axis=1)[:, ::-1]
    return mask & (later == 1)


def outcome_of(cfg: StepLossConfig, labels: Array, mask: Array) -> Array:
    """Return whether each text ended right: its last label, `[B]`, as 0 or 1."""
    last = jnp.sum(jnp.where(last_labelled(mask), labels, 0), axis=1)
    return (last > cfg.threshold).astype(last.dtype)


def learned_steps(cfg: StepLossConfig, labels: Array, mask: Array) -> Array:
    """Return which labelled steps count, `[B, S]` bool; see `after_error`."""
    mask = mask.astype(bool)
    if cfg.after_error == "mask" and cfg.kind in ("hard", "soft", "mse"):
        return until_first_error(labels, mask, cfg.threshold)
    return mask


class Judged(NamedTuple):
    """What readings say of steps, and what is so.

    Attributes:
      says: `[B, S]` bool, right by the reading: a probability above 0.5, or a rise.
      right: `[B, S]` bool, right by the label.
      known: `[B, S]` bool, where there is something to compare.
    """

    says: Array  # [B, S]
    right: Array  # [B, S]
    known: Array  # [B, S]


def judge_steps(
    cfg: StepLossConfig, logits: Array, labels: Array, mask: Array
) -> Judged:
    """Return what is right and wrong by readings and by labels; as `loss_sum` has it.

    Of a text with one label only its last step can be compared.
    """
    logits, labels, mask = _clean(cfg, logits, labels, mask)
    if cfg.kind == "progress":
        rises, known = progress_targets(labels, mask)
        return Judged(logits > 0, rises > 0, known)
    known = last_labelled(mask) if cfg.kind in ("outcome", "implicit") else mask
    return Judged(logits > 0, labels > cfg.threshold, known)


def _clean(
    cfg: StepLossConfig, logits: Array, labels: Array, mask: Array
) -> tuple[Array, Array, Array]:
    """Wide logits and labels, 0 where masked: no NaN from there reaches a gradient."""
    wide = at_least_float32(logits)
    labels = jnp.where(mask, labels, 0).astype(wide.dtype)
    mask = learned_steps(cfg, labels, mask)
    return jnp.where(mask, wide, 0), labels, mask
