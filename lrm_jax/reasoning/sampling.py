# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The distribution a token is drawn from, and the draw.

Temperature, top-k, top-p and min-p in that order (as in transformers), each a traced
value of its row: changing one compiles nothing. The draw is Gumbel-max: one
perturbation for each (sequence, position, id), so it does not depend on what else
is in the batch, on where the row lies or on the mesh.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.reasoning import threefry
from lrm_jax.sharding import constrain, on_lanes
from lrm_jax.types import Array, Key, UserError, at_least_float32


class SamplingParams(NamedTuple):
    """How each row samples; made and checked by `sampling_params`.

    Attributes:
      temperature: `[B]` float32, 0 = greedy.
      top_k: `[B]` int32, 0 = off.
      top_p: `[B]` float32, 1 = off.
      min_p: `[B]` float32, 0 = off.
      max_new: `[B]` int32, the most tokens of the row.
    """

    temperature: Array  # [B]
    top_k: Array  # [B]
    top_p: Array  # [B]
    min_p: Array  # [B]
    max_new: Array  # [B]


class Sample(NamedTuple):
    """Tokens drawn.

    Attributes:
      ids: `[B]` int32.
      logps: `[B]`, of the distribution really drawn from (tempered, truncated,
        renormalised); of greedy rows, which draw nothing, of the model's own
        distribution at temperature 1.
    """

    ids: Array  # [B]
    logps: Array  # [B]


def sampling_params(
    batch: int,
    *,
    max_new: int | Sequence[int],
    temperature: float | Sequence[float] = 1.0,
    top_k: int | Sequence[int] = 0,
    top_p: float | Sequence[float] = 1.0,
    min_p: float | Sequence[float] = 0.0,
) -> SamplingParams:
    """Return the parameters of `batch` rows; a scalar is meant for all of them."""

    def rows(name, value, dtype, good, accepted):  # noqa: ANN001
        array = np.asarray(value)
        if array.shape not in ((), (batch,)):
            raise UserError(
                f"sampling {name}: {array.size} values; accepted: one, or one for "
                f"each of {batch} rows"
            )
        bad = array[~good(array)] if array.ndim else array[None][~good(array)[None]]
        if bad.size:
            raise UserError(f"sampling {name} {bad[0]}: accepted: {accepted}")
        return jnp.asarray(np.broadcast_to(array.astype(dtype), (batch,)))

    finite = lambda x: np.isfinite(x) & (x >= 0)
    whole = lambda x: (x >= 0) & (x == np.floor(x))
    return SamplingParams(
        rows("temperature", temperature, np.float32, finite, "0 (greedy) or more"),
        rows("top_k", top_k, np.int32, whole, "0 (off) or a count"),
        rows("top_p", top_p, np.float32, lambda x: (x > 0) & (x <= 1), "(0, 1]"),
        rows("min_p", min_p, np.float32, lambda x: (x >= 0) & (x <= 1), "[0, 1]"),
        rows("max_new", max_new, np.int32, whole, "0 or more tokens"),
    )


def sequence_keys(key: Key, sequence_ids: Array) -> Key:
    """Return one key `[B]` a sequence id, wherever in whichever batch it is."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, sequence_ids)


def position_keys(keys: Key, positions: Array) -> Key:
    """Return the keys `[B]` of the tokens that will lie at `positions` `[B]`."""
    return threefry.fold_in(keys, positions)


def sample(
    logits: Array,
    params: SamplingParams,
    keys: Key,
    *,
    vocab_size: int,
    banned: Array | None = None,
) -> Sample:
    """Draw one token a row.

    Args:
      logits: `[B, V]`, raw.
      params: of each row.
      keys: `[B]`, of `position_keys`; consumed.
      vocab_size: ids from here on do not exist and are never drawn.
      banned: `[B, vocab_size]` bool, ids that may not be drawn (a row that bans all
        of them bans none).

    Returns:
      ids and log-probs, float32 at least.
    """
    raw = existing_logits(logits, vocab_size, banned)  # [B, V]
    greedy = params.temperature == 0
    scores = tempered(raw, params)
    scores = jax.lax.cond(
        _truncates(params), lambda x: truncated(x, params), lambda x: x, scores
    )
    perturbed = jax.lax.cond(
        greedy.all(), lambda x: x, lambda x: x + gumbel(keys, x), scores
    )
    ids = first_argmax(jnp.where(greedy[:, None], raw, perturbed))
    scores = jnp.where(greedy[:, None], raw, scores)
    return Sample(ids, token_logps(scores, ids))


def first_argmax(x: Array) -> Array:
    """Return the least id `[B]`, int32, among those of the largest `x` `[B, V]`.

    Two plain reductions: `argmax` reduces pairs, which XLA does not vectorise on CPU
    (three times the cost of everything else in a draw).
    """
    size = x.shape[-1]
    largest = jnp.max(x, axis=-1, keepdims=True)
    ids = jnp.where(x == largest, jnp.arange(size, dtype=jnp.int32)[None], size - 1)
    return jnp.min(ids, axis=-1)


def existing_logits(
    logits: Array, vocab_size: int, banned: Array | None = None
) -> Array:
    """Return `logits` `[B, V]` with -inf at ids that may not be drawn."""
    logits = at_least_float32(logits)
    exists = jnp.arange(logits.shape[-1])[None] < vocab_size  # [1, V]
    if banned is not None:
        padding = logits.shape[-1] - banned.shape[-1]
        allowed = exists & ~jnp.pad(banned, ((0, 0), (0, padding)))
        exists = jnp.where(allowed.any(-1, keepdims=True), allowed, exists)
    if banned is None and logits.shape[-1] <= vocab_size:
        return logits
    return jnp.where(exists, logits, -jnp.inf)


def tempered(logits: Array, params: SamplingParams) -> Array:
    """Return `logits / temperature`; unchanged in greedy rows."""
    temperature = jnp.where(params.temperature == 0, 1, params.temperature)
    return logits / temperature.astype(logits.dtype)[:, None]


def _truncates(params: SamplingParams) -> Array:
    """Whether any row that samples leaves a part of the distribution out."""
    leaves = (params.top_k > 0) | (params.top_p < 1) | (params.min_p > 0)
    return (leaves & (params.temperature > 0)).any()


def truncated(scores: Array, params: SamplingParams) -> Array:
    """Return tempered logits `[B, V]` with -inf at what top-k, top-p, min-p drop.

    Ids that tie with the last one kept are kept. The most probable id always is.
    Sorting needs whole rows: where a mesh splits ids, every device gets all ids of
    a part of the rows, and sends back two thresholds of each.
    """
    # Said of what goes in too, or the compiler splits the model's own rows so.
    scores = constrain(scores, "batch", "vocab")
    params = jax.tree.map(lambda x: constrain(x, "batch"), params)
    nucleus, floor = on_lanes(_thresholds, scores, params)
    nucleus, floor = constrain(nucleus, "batch", None), constrain(floor, "batch", None)
    return jnp.where((scores >= nucleus) & (scores >= floor), scores, -jnp.inf)


def _thresholds(scores: Array, params: SamplingParams) -> tuple[Array, Array]:
    """Return the least scores `[B, 1]` that top-k and top-p, and min-p, keep."""
    descending = -jnp.sort(-scores, axis=-1)  # [B, V]
    last = jnp.where(params.top_k > 0, params.top_k, scores.shape[-1]) - 1
    last = jnp.minimum(last, scores.shape[-1] - 1)
    least = jnp.take_along_axis(descending, last[:, None], axis=-1)  # [B, 1]
    probs = jax.nn.softmax(jnp.where(descending >= least, descending, -jnp.inf))
    before = jnp.cumsum(probs, axis=-1) - probs  # of everything more probable
    kept = (before < params.top_p[:, None]) | (params.top_p == 1)[:, None]
    kept = (kept & (descending >= least)).at[:, 0].set(True)
    nucleus = jnp.where(kept, descending, jnp.inf).min(-1, keepdims=True)
    floor = descending[:, :1] + jnp.log(params.min_p.astype(scores.dtype))[:, None]
    return nucleus, jnp.minimum(floor, descending[:, :1])


def gumbel(keys: Key, like: Array) -> Array:
    """Return standard Gumbel noise `[B, V]`: id v of row b is f(keys[b], v).

    Drawn in float32 in every precision, so that float64 sees the same noise.
    """
    return threefry.gumbel(keys, like.shape[-1]).astype(like.dtype)


def token_logps(scores: Array, ids: Array) -> Array:
    """Return the log-softmax of `scores` `[B, V]` at `ids` `[B]`."""
    chosen = jnp.take_along_axis(scores, ids[:, None], axis=-1)[:, 0]
    return chosen - jax.nn.logsumexp(scores, axis=-1)
