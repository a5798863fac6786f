# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Cross-entropies over small vocabularies, per token.

Stablemax is from Prieto et al. 2025 (arXiv 2501.04697), eq. 5. The HRM and TRM
repositories evaluate it in float64; here it is written so that float32 is safe.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import chex
import jax
import jax.numpy as jnp

from lrm_jax.config import resolve
from lrm_jax.types import Array, UserError, at_least_float32

IGNORE_LABEL = -100
"""Label of a cell that is not supervised."""

TokenLossFn = Callable[[Array, Array], Array]
"""`(logits [..., V], labels [...]) -> nats per token [...]`, 0 where ignored."""


@dataclass(frozen=True)
class LossConfig:
    """What a segment of a latent reasoner is trained on.

    Attributes:
      kind: `stablemax` (HRM and TRM on puzzles), `softmax`, or
        `package.module:name` of a `TokenLossFn`.
      label_smoothing: share of the target spread evenly over the vocabulary.
      q_weight: weight of the halting losses beside the token loss.
    """

    kind: str = "stablemax"
    label_smoothing: float = 0.0
    q_weight: float = 0.5


def log_stablemax(logits: Array) -> Array:
    """Return log-probabilities of stablemax over the last axis, `[..., V]`.

    s(x) = x + 1 for x >= 0 and 1 / (1 - x) below; p = s / sum(s). Each branch
    sees only its own half-line, so that no branch is singular and the gradient
    of `where` is finite everywhere, x = 1 included.
    """
    x = at_least_float32(logits)
    positive = x >= 0
    above = jnp.where(positive, x, 0)
    below = jnp.where(positive, 0, -x)
    scores = jnp.where(positive, 1 + above, 1 / (1 + below))
    log_scores = jnp.where(positive, jnp.log1p(above), -jnp.log1p(below))
    return log_scores - jnp.log(jnp.sum(scores, axis=-1, keepdims=True))


def log_softmax(logits: Array) -> Array:
    """Return log-probabilities of softmax over the last axis, `[..., V]`."""
    return jax.nn.log_softmax(at_least_float32(logits), axis=-1)


def cross_entropy(
    log_probs: Array, labels: Array, *, label_smoothing: float = 0.0
) -> Array:
    """Return nats per token, 0 where the label is `IGNORE_LABEL`.

    Args:
      log_probs: `[..., V]` normalised log-probabilities.
      labels: `[...]` int.
      label_smoothing: share of the target spread evenly over the vocabulary.

    Returns:
      `[...]`, in the dtype of `log_probs`.
    """
    chex.assert_equal_shape_prefix([log_probs, labels], labels.ndim)
    vocab = jnp.arange(log_probs.shape[-1], dtype=labels.dtype)
    vocab = vocab.reshape((1,) * labels.ndim + (-1,))
    # A masked sum, not a gather: its gradient is dense arithmetic, no scatter.
    hit = labels[..., None] == vocab
    nats = -jnp.sum(jnp.where(hit, log_probs, 0), axis=-1)
    if label_smoothing:
        even = -jnp.mean(log_probs, axis=-1)
        nats = (1 - label_smoothing) * nats + label_smoothing * even
    return jnp.where(labels == IGNORE_LABEL, 0, nats)


def stablemax_cross_entropy(
    logits: Array, labels: Array, *, label_smoothing: float = 0.0
) -> Array:
    """Return the stablemax cross-entropy per token in nats, `[...]`."""
    return cross_entropy(log_stablemax(logits), labels, label_smoothing=label_smoothing)


def softmax_cross_entropy(
    logits: Array, labels: Array, *, label_smoothing: float = 0.0
) -> Array:
    """Return the softmax cross-entropy per token in nats, `[...]`."""
    return cross_entropy(log_softmax(logits), labels, label_smoothing=label_smoothing)


def binary_cross_entropy(logits: Array, targets: Array) -> Array:
    """Return the Bernoulli cross-entropy in nats, elementwise.

    Args:
      logits: any shape.
      targets: the same shape, probabilities in [0, 1].
    """
    x = at_least_float32(logits)
    targets = targets.astype(x.dtype)
    return -(targets * jax.nn.log_sigmoid(x) + (1 - targets) * jax.nn.log_sigmoid(-x))


def make_token_loss(cfg: LossConfig) -> TokenLossFn:
    """Return the token loss that a config names."""
    named = {"stablemax": stablemax_cross_entropy, "softmax": softmax_cross_entropy}
    if cfg.kind in named:
        return partial(named[cfg.kind], label_smoothing=cfg.label_smoothing)
    if ":" in cfg.kind:
        return resolve(cfg.kind)
    raise UserError(
        f"loss.kind={cfg.kind!r}: expected stablemax, softmax or package.module:name"
    )
