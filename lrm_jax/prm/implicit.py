# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A reward model that is a policy: log-ratios of its tokens to a reference's.

Free Process Rewards without Process Labels (arXiv 2412.01981), eq. 3 and 5; PRIME
(arXiv 2502.01456). Trained on outcomes alone, it says at every token how it goes.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from lrm_jax.logprobs import chunked_logps
from lrm_jax.prm.semantics import Semantics
from lrm_jax.types import Array, Params


class WholePolicy(Protocol):
    """What is needed of a policy."""

    @property
    def vocab_size(self) -> int:
        """Ids that exist."""
        ...

    def forward(
        self,
        params: Params,
        ids: Array,
        positions: Array,
        mask: Array,
        segment_ids: Array | None = None,
    ) -> Any:
        """Return what has `hidden` `[B, T, D]`."""
        ...

    def lm_head(self, params: Params) -> Array:
        """Return the kernel of the head, `[D, rows]`."""
        ...


@dataclass(frozen=True)
class ImplicitScorer:
    """Scores texts by what a policy and its reference think of their tokens.

    Parameters are `{"policy": ..., "reference": ...}`; no gradient reaches the
    reference.

    Attributes:
      policy: functions of both.
      beta: of eq. 3; a nat of log-ratio counts so much.
      chunk: columns of the vocabulary at a time.
    """

    policy: WholePolicy
    beta: float = 0.05
    chunk: int = 4096

    @property
    def semantics(self) -> Semantics:
        """Always `implicit`."""
        return "implicit"

    def forward(
        self,
        params: Params,
        ids: Array,
        positions: Array,
        mask: Array,
        segment_ids: Array | None = None,
    ) -> Array:
        """Return the running sum of beta * log(policy / reference), `[B, T]` float32.

        Over all of a row; what a solution adds after its prompt is a difference of two
        of them (`scorer.step_logits`). Arguments as of `Policy.forward`.
        """
        mask = mask.astype(bool)
        given = (ids, positions, mask, segment_ids)
        read = partial(token_logps, self.policy, chunk=self.chunk)
        ours, theirs = (read(params[name], *given) for name in ("policy", "reference"))
        return self.beta * jnp.cumsum(ours - jax.lax.stop_gradient(theirs), axis=1)


def token_logps(
    policy: WholePolicy,
    params: Params,
    ids: Array,
    positions: Array,
    mask: Array,
    segment_ids: Array | None = None,
    *,
    chunk: int = 4096,
) -> Array:
    """Return the log-probability of every token but a text's first, `[B, T]` nats.

    0 at first tokens and at padding. Arguments as of `Policy.forward`.
    """
    hidden = policy.forward(params, ids, positions, mask, segment_ids).hidden
    known = mask[:, 1:] & mask[:, :-1]
    if segment_ids is not None:
        known &= segment_ids[:, 1:] == segment_ids[:, :-1]
    before = hidden[:, :-1]
    scores = chunked_logps(
        before.reshape(-1, hidden.shape[-1]),
        policy.lm_head(params).astype(hidden.dtype),
        ids[:, 1:].reshape(-1),
        mask=known.reshape(-1),
        n_valid=policy.vocab_size,
        chunk=chunk,
    )
    return jnp.pad(scores.logps.reshape(known.shape), ((0, 0), (1, 0)))
