# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""One ACT segment of every lane, and what it is trained on.

Deep supervision (HRM, arXiv 2506.21734 §2): every segment is one optimizer step
on the token loss of its own answer and the halting losses; the carry is detached.
"""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from lrm_jax.losses import IGNORE_LABEL, TokenLossFn, binary_cross_entropy
from lrm_jax.masked import masked_mean
from lrm_jax.reasoning import halting as act
from lrm_jax.reasoning.cycles import GradDepth, LatentState, recur
from lrm_jax.types import Array, Params


class CoreConfig(Protocol):
    """What reasoning reads of a core's config."""

    @property
    def total_len(self) -> int:
        """Positions in all, `L`."""
        ...

    @property
    def dtype(self) -> str:
        """Of activations and states."""
        ...

    @property
    def h_cycles(self) -> int:
        """Recursions per segment."""
        ...

    @property
    def l_cycles(self) -> int:
        """Low-level calls per recursion."""
        ...

    @property
    def grad_depth(self) -> GradDepth:
        """Where the gradient flows."""
        ...


class CoreFns(Protocol):
    """The pure functions of a latent core; `models/latent.py` has them."""

    @property
    def cfg(self) -> CoreConfig:
        """The config."""
        ...

    def embed(self, weights: Params, inputs: Array, puzzle_rows: Array | None) -> Array:
        """Return the input embedding, in the layout of `enter`."""
        ...

    def enter(self, z: Array) -> Array:
        """Lay out a state `[B, L, D]` as the module calls want it."""
        ...

    def leave(self, z: Array) -> Array:
        """Undo `enter`."""
        ...

    def update_l(self, weights: Params, z: Array, injection: Array) -> Array:
        """Return the new low state."""
        ...

    def update_h(self, weights: Params, z: Array, injection: Array) -> Array:
        """Return the new high state."""
        ...

    def logits(self, weights: Params, z_h: Array) -> Array:
        """Return the logits of the cells `[B, S, V]`."""
        ...

    def q_logits(self, weights: Params, z_h: Array) -> Array:
        """Return halt and continue logits `[B, 2]`."""
        ...

    def cast(self, weights: Params) -> Params:
        """Return the weights in the dtype of the activations."""
        ...


class SegmentOutput(NamedTuple):
    """What a segment says."""

    logits: Array  # [B, S, V]
    q_halt_logits: Array  # [B]
    q_continue_logits: Array  # [B]
    target_q_continue: Array | None  # [B] probabilities, where trained


class SegmentMetrics(NamedTuple):
    """Sums over lanes, as the references report them.

    All but the losses count only lanes that halted on a problem with at least one
    labelled cell; `count` is their number.
    """

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride]
    accuracy: Array
    exact_accuracy: Array
    q_halt_accuracy: Array
    steps: Array
    lm_loss: Array
    q_halt_loss: Array
    q_continue_loss: Array


def think(
    core: CoreFns, weights: Params, state: LatentState, x: Array
) -> tuple[LatentState, Array]:
    """Run the recurrence of one segment; return states and `[B, 2]` Q logits."""
    cfg = core.cfg
    state = recur(
        core.update_h,
        core.update_l,
        weights,
        LatentState(core.enter(state.z_h), core.enter(state.z_l)),
        x,
        h_cycles=cfg.h_cycles,
        l_cycles=cfg.l_cycles,
        grad_depth=cfg.grad_depth,
    )
    state = LatentState(core.leave(state.z_h), core.leave(state.z_l))
    return state, core.q_logits(weights, state.z_h)


def segment(
    core: CoreFns,
    weights: Params,
    carry: act.ActCarry,
    puzzle_rows: Array | None,
    *,
    halting: act.HaltingConfig,
    exploration: act.Exploration | None,
) -> tuple[act.ActCarry, SegmentOutput]:
    """Run one segment of every lane and decide which lanes halt.

    Args:
      core: the model.
      weights: its trained weights; differentiated.
      carry: refilled lanes.
      puzzle_rows: `[B, P]` rows of the puzzle table for the *carried* ids;
        differentiated. None without a table.
      halting: the rule.
      exploration: draws of this segment in training, None in evaluation.

    Returns:
      The detached carry after the segment, and what the segment says.
    """
    weights = core.cast(weights)
    x = core.embed(weights, carry.data["inputs"], puzzle_rows)
    state, q = think(core, weights, LatentState(carry.z_h, carry.z_l), x)
    steps = carry.steps + 1
    q_halt, q_continue = q[:, 0], q[:, 1]
    halted = act.decide_halt(halting, q_halt, q_continue, steps, exploration)
    target = None
    if exploration is not None and act.needs_target(halting):
        frozen, fixed_x, ahead = jax.lax.stop_gradient((weights, x, state))
        _, next_q = think(core, frozen, ahead, fixed_x)
        last = steps >= halting.max_steps
        target = act.q_continue_target(next_q[:, 0], next_q[:, 1], last)
    output = SegmentOutput(core.logits(weights, state.z_h), q_halt, q_continue, target)
    state = jax.lax.stop_gradient(state)
    carry = carry.replace(z_h=state.z_h, z_l=state.z_l, steps=steps, halted=halted)
    return carry, output


def segment_loss(
    output: SegmentOutput,
    carry: act.ActCarry,
    *,
    token_loss: TokenLossFn,
    q_weight: float,
) -> tuple[Array, SegmentMetrics]:
    """Return the loss of a segment as a sum over lanes, and its metrics.

    A lane's token loss is the mean over its labelled cells; every lane counts,
    halted or not. Divide by the global batch before the backward pass. A lane
    without a labelled cell counts as exact, as in the references.

    Args:
      output: of `segment`.
      carry: after the segment.
      token_loss: nats per token.
      q_weight: weight of the halting losses (0.5 in HRM and TRM).
    """
    labels = carry.data["labels"]
    per_token = token_loss(output.logits, labels)
    dtype = per_token.dtype
    labelled = labels != IGNORE_LABEL
    cells = jnp.sum(labelled, axis=-1)
    lm = masked_mean(per_token, labelled, -1)  # [B]
    right = labelled & (jnp.argmax(output.logits, axis=-1) == labels)
    exact = jnp.sum(right, axis=-1) == cells
    q_halt = binary_cross_entropy(output.q_halt_logits, exact)
    lm_loss, q_halt_loss = jnp.sum(lm), jnp.sum(q_halt)
    q_continue_loss = jnp.zeros((), dtype)
    if output.target_q_continue is not None:
        nats = binary_cross_entropy(output.q_continue_logits, output.target_q_continue)
        q_continue_loss = jnp.sum(nats)

    counted = carry.halted & (cells > 0)

    def total(x: Array) -> Array:
        return jnp.sum(jnp.where(counted, x, 0).astype(dtype))

    metrics = SegmentMetrics(
        count=total(counted),
        accuracy=total(masked_mean(right.astype(dtype), labelled, -1)),
        exact_accuracy=total(exact),
        q_halt_accuracy=total((output.q_halt_logits >= 0) == exact),
        steps=total(carry.steps),
        lm_loss=lm_loss,
        q_halt_loss=q_halt_loss,
        q_continue_loss=q_continue_loss,
    )
    return lm_loss + q_weight * (q_halt_loss + q_continue_loss), metrics
