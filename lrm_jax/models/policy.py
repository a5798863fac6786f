# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The token policy: a decoder-only transformer as typed pure functions.

One config covers Qwen2/2.5, Qwen3, Llama 3, Qwen3-MoE and DeepSeek-V3. Implements
`types.TokenModel`; shape letters as there and in `attention.py`.
"""

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.models.attention import Context, make_context
from lrm_jax.models.flash import (
    flash_form,
    put_back,
    real_first,
    reorder,
    uses_cudnn,
)
from lrm_jax.models.kv_cache import (
    KVCache,
    LayerCache,
    fork_lanes,
    visible_slots,
    write_slots,
)
from lrm_jax.models.layers import project, rms_norm
from lrm_jax.models.moe import Routing, load_balance_loss
from lrm_jax.models.mtp import Ahead, MtpBlock, ahead, has_ahead
from lrm_jax.models.policy_config import PolicyConfig, Stage, check_policy, stages
from lrm_jax.models.policy_init import init_policy, policy_axes
from lrm_jax.models.policy_module import PolicyBlock, rematerialised
from lrm_jax.models.projection import adapter_leaves, plus_adapter, with_adapter
from lrm_jax.sharding import constrain
from lrm_jax.types import Array, Key, Params, at_least_float32


class PolicyOutput(NamedTuple):
    """What a policy makes of a batch of sequences.

    Attributes:
      hidden: `[B, T, D]` after the final norm.
      aux: empty without experts, otherwise `load_balance` (`moe.load_balance_loss`
        over all layers), `sequence_balance` (DeepSeek-V3's, averaged over layers),
        `load_max` (largest load of an expert over an even one), and `load`
        `[layers, E]` of each layer's experts.
      router: `[layers, B, T, top_k]` int32 expert ids, or None without experts.
    """

    hidden: Array  # [B, T, D]
    aux: dict[str, Array]
    router: Array | None  # [layers, B, T, top_k]


def positions_of(mask: Array) -> Array:
    """Return the position of each token counted over the real ones, 0 before them."""
    counted = jnp.cumsum(mask.astype(jnp.int32), axis=-1) - 1
    return jnp.maximum(counted, 0)


class Policy:
    """Typed pure functions of a config; it holds no arrays."""

    def __init__(self, cfg: PolicyConfig) -> None:
        """Make the functions of `cfg`."""
        self.cfg = check_policy(cfg)
        uses_cudnn(cfg)  # refuses here what no call could do

    @property
    def vocab_size(self) -> int:
        """Ids that exist; rows of the logits beyond them are padding."""
        return self.cfg.vocab_size

    # --- parameters ---

    def init(self, key: Key) -> Params:
        """Return fresh parameters, nested dicts of arrays; the key is consumed.

        `embed_tokens`, `final_norm`, `lm_head` (untied), `value_head`, `mtp_N`, and
        the blocks: `layers_N`, or with `scan_layers` one `stage_N` with a leading
        axis for each run of equal layers.
        """
        return init_policy(self.cfg, key)

    @property
    def axes(self) -> Params:
        """The tree of `init` with a tuple of logical axis names a leaf."""
        return policy_axes(self.cfg)

    def layer_params(self, params: Params, layer: int) -> Params:
        """Return the parameters of one block, whether they are stacked or not."""
        if not self.cfg.scan_layers:
            return params[f"layers_{layer}"]
        stage = next(
            s for s in stages(self.cfg) if s.first <= layer < s.first + s.n_layers
        )
        index = layer - stage.first
        return jax.tree.map(lambda leaf: leaf[index], params[stage.name])

    # --- whole sequences ---

    def forward(
        self,
        params: Params,
        ids: Array,
        positions: Array,
        mask: Array,
        segment_ids: Array | None = None,
    ) -> PolicyOutput:
        """Read sequences whole, causally; padding may be anywhere.

        Args:
          params: of `init`.
          ids: `[B, T]` int32.
          positions: `[B, T]` int32, see `positions_of`.
          mask: `[B, T]` bool, false where a token is padding.
          segment_ids: `[B, T]` int32; tokens see their own segment only.

        Returns:
          The hidden states, undefined (but finite) at padding.
        """
        flash = flash_form(self.cfg, ids.shape[1], segments=segment_ids is not None)
        order = real_first(mask) if flash == "causal" else None
        if order is not None:
            ids, positions = reorder(ids, order), reorder(positions, order)
            mask = reorder(mask, order)
        seen = _causal(mask.astype(bool), segment_ids)
        context = make_context(self.cfg, positions, mask, seen, flash=flash)
        windowed = self._windowed(seen, positions, positions)
        x = self._embed(params, ids)
        routings = []
        for stage in stages(self.cfg):
            x, routing = self._run_stage(params, stage, x, context, windowed)
            routings += [routing] if routing is not None else []
        output = _output(self._final_norm(params, x), routings)
        return output if order is None else _in_place(output, order)

    def predict_ahead(
        self,
        params: Params,
        hidden: Array,
        ids: Array,
        positions: Array,
        mask: Array,
        segment_ids: Array | None = None,
    ) -> list[Ahead]:
        """Return what each multi-token-prediction block predicts.

        Args:
          params: of `init`.
          hidden: `[B, T, D]` of `forward`.
          ids: `[B, T]` int32.
          positions: `[B, T]` int32.
          mask: `[B, T]` bool.
          segment_ids: `[B, T]` int32, as in `forward`.

        Returns:
          One `Ahead` a block: the k-th, counted from 1, predicts k + 1 tokens on.
        """
        mask = mask.astype(bool)
        found = []
        for k in range(self.cfg.mtp_layers):
            steps = k + 1
            there = has_ahead(mask, steps, segment_ids)
            seen = _causal(there, segment_ids)
            context = make_context(self.cfg, ahead(positions, steps), there, seen)
            embedded = self._embed(params, ahead(ids, steps))
            block = MtpBlock(self.cfg, self.cfg.is_moe(self.cfg.n_layers + k))
            weights = {"params": params[f"mtp_{k}"]}
            out: Any = block.apply(weights, hidden, embedded, context)
            hidden = out
            predicted = has_ahead(mask, steps + 1, segment_ids)
            found.append(Ahead(hidden, ahead(ids, steps + 1), predicted))
        return found

    def _run_stage(
        self,
        params: Params,
        stage: Stage,
        x: Array,
        context: Context,
        windowed: Array | None,
    ) -> tuple[Array, Routing | None]:
        """Return `[B, T, D]`, and the routing of the layers, stacked."""
        cfg = self.cfg

        def run(x: Array, weights: Params, has_window: Array) -> tuple[Array, Any]:
            here = context
            if windowed is not None:
                here = context._replace(
                    seen=jnp.where(has_window, windowed, context.seen)
                )
            out, _, routing = self._block(stage.moe, weights, x, here, None)
            return constrain(out, "batch", "seq", None), routing

        layers = range(stage.first, stage.first + stage.n_layers)
        flags = np.array([cfg.has_window(layer) for layer in layers])
        run = rematerialised(run, cfg)
        if cfg.scan_layers:
            body = lambda x, layer: run(x, *layer)
            return jax.lax.scan(body, x, (params[stage.name], jnp.asarray(flags)))
        routings = []
        for layer, flag in zip(layers, flags, strict=True):
            x, routing = run(x, params[f"layers_{layer}"], jnp.asarray(flag))
            routings.append(routing)
        return x, jax.tree.map(lambda *leaves: jnp.stack(leaves), *routings)

    # --- heads ---

    def lm_head(self, params: Params) -> Array:
        """Return the kernel of the head, `[D, rows]`."""
        if self.cfg.tied_embeddings:
            return params["embed_tokens"]["embedding"].T
        head = params["lm_head"]
        kernel = head["kernel"]
        return with_adapter(kernel, adapter_leaves(head, kernel.dtype))

    def logits(self, params: Params, hidden: Array) -> Array:
        """Return `[..., rows]` in float32 at least; padding rows are not masked."""
        rows = hidden.reshape(-1, hidden.shape[-1])
        if self.cfg.tied_embeddings:
            table = params["embed_tokens"]["embedding"].astype(hidden.dtype)
            y = jax.lax.dot_general(rows, table, (((1,), (1,)), ((), ())))
        else:
            head = params["lm_head"]
            y = rows @ head["kernel"].astype(hidden.dtype)
            y = plus_adapter(y, rows, adapter_leaves(head, hidden.dtype))
        return at_least_float32(y).reshape(*hidden.shape[:-1], -1)

    def value(self, params: Params, hidden: Array) -> Array:
        """Return the value head's reading, `[...]` float32 at least."""
        head = params["value_head"]
        y = project(hidden, head["kernel"].astype(hidden.dtype))
        y = plus_adapter(y, hidden, adapter_leaves(head, hidden.dtype))
        return at_least_float32(y)[..., 0]

    # --- token by token ---

    def init_cache(self, batch: int, length: int) -> KVCache:
        """Return an empty cache of `length` slots for each of `batch` lanes."""
        cfg = self.cfg
        dtype = jnp.dtype(cfg.dtype)

        def layer() -> LayerCache:
            if cfg.mla is not None:
                width = cfg.mla.kv_rank + cfg.mla.d_rope
                latent = jnp.zeros((batch, 1, length, width), dtype)
                return {"latent": constrain(latent, "batch", None, None, None)}
            shape = (batch, cfg.kv_heads, length, cfg.head_dim)
            return {
                name: constrain(
                    jnp.zeros(shape, dtype), "batch", "kv_heads", None, None
                )
                for name in ("k", "v")
            }

        return KVCache(
            layers=tuple(layer() for _ in range(cfg.n_layers)),
            valid=jnp.zeros((batch, length), bool),
            positions=(
                jnp.zeros((batch, length), jnp.int32) if cfg.sliding_window else None
            ),
        )

    def extend(
        self,
        params: Params,
        ids: Array,
        positions: Array,
        mask: Array,
        cache: KVCache,
        start: Array | int,
    ) -> tuple[Array, KVCache]:
        """Read tokens into the cache.

        Layers are unrolled: a scan would copy every layer's cache twice a token. A
        `start` known when tracing (prefill at 0) looks at no slot beyond the tokens.

        Args:
          params: of `init`.
          ids: `[B, T]` int32.
          positions: `[B, T]` int32.
          mask: `[B, T]` bool, false where a token is padding.
          cache: to be extended.
          start: slot of the first token, `[]` for all lanes or `[B]` for each.

        Returns:
          hidden `[B, T, D]` after the final norm, and the cache. A token attends to
          the valid slots up to its own.
        """
        length, slots = ids.shape[1], cache.valid.shape[1]
        if isinstance(start, int):
            slots = start + length
        valid = write_slots(cache.valid, mask.astype(bool), start, 1)
        seen = visible_slots(valid, start, length, slots)
        context = make_context(self.cfg, positions, mask, seen, start)
        windowed, slot_positions = None, cache.positions
        if slot_positions is not None:
            slot_positions = write_slots(slot_positions, positions, start, 1)
            windowed = self._windowed(seen, positions, slot_positions[:, :slots])
        x = self._embed(params, ids)
        layers = []
        for i in range(self.cfg.n_layers):
            here = context
            if windowed is not None and self.cfg.has_window(i):
                here = context._replace(seen=windowed)
            weights = self.layer_params(params, i)
            moe = self.cfg.is_moe(i)
            x, layer, _ = self._block(moe, weights, x, here, cache.layers[i])
            layers.append(layer)
        hidden = self._final_norm(params, x)
        return hidden, KVCache(tuple(layers), valid, slot_positions)

    def fork(self, cache: KVCache, parents: Array) -> KVCache:
        """Return a cache whose lane i is a copy of lane `parents[i]`, `[B']`."""
        return fork_lanes(cache, parents)

    # --- parts ---

    def _block(
        self,
        moe: bool,
        weights: Params,
        x: Array,
        context: Context,
        layer: LayerCache | None,
    ) -> tuple[Array, Any, Routing | None]:
        block = PolicyBlock(self.cfg, moe)
        out: Any = block.apply({"params": weights}, x, context, layer)
        return out

    def _embed(self, params: Params, ids: Array) -> Array:
        x = params["embed_tokens"]["embedding"][ids].astype(self.cfg.dtype)
        return constrain(x, "batch", "seq", None)

    def _final_norm(self, params: Params, x: Array) -> Array:
        normed = rms_norm(x, eps=self.cfg.norm_eps)
        return normed * params["final_norm"]["scale"].astype(x.dtype)[None, None]

    def _windowed(
        self, seen: Array, positions: Array, key_positions: Array
    ) -> Array | None:
        """`seen` cut to the sliding window, None without one."""
        if not self.cfg.sliding_window:
            return None
        distance = positions[:, :, None] - key_positions[:, None, :]
        return seen & (distance < self.cfg.sliding_window)


def _causal(mask: Array, segment_ids: Array | None) -> Array:
    """Return which tokens each may see: real ones before it, of its own segment."""
    length = mask.shape[1]
    seen = mask[:, None, :] & jnp.tril(jnp.ones((length, length), bool))[None]
    if segment_ids is not None:
        seen &= segment_ids[:, :, None] == segment_ids[:, None, :]
    return seen


def _output(hidden: Array, routings: list[Routing]) -> PolicyOutput:
    """Pool what the stages' routers say; each has a leading layer axis."""
    if not routings:
        return PolicyOutput(hidden, {}, None)
    pooled: Routing = jax.tree.map(lambda *x: jnp.concatenate(x), *routings)
    load = jax.lax.stop_gradient(pooled.load)
    aux = {
        "load_balance": load_balance_loss(pooled.load, pooled.prob),
        "sequence_balance": jnp.mean(pooled.sequence_balance),
        "bias_pull": jnp.sum(pooled.bias_pull),
        "load_max": jnp.max(load / jnp.mean(load, axis=-1, keepdims=True)),
        "load": load,
    }
    return PolicyOutput(hidden, aux, pooled.ids)


def _in_place(output: PolicyOutput, order: Array) -> PolicyOutput:
    """Return the output of tokens that were sorted where they were before."""
    router = output.router
    if router is not None:
        router = jax.vmap(put_back, in_axes=(0, None))(router, order)
    return PolicyOutput(put_back(output.hidden, order), output.aux, router)


@cache
def token_policy(cfg: PolicyConfig) -> Policy:
    """Return the functions of a config, the same object for the same config."""
    return Policy(cfg)


def count_params(params: Params) -> int:
    """Return how many numbers a tree of parameters holds."""
    return sum(int(leaf.size) for leaf in jax.tree.leaves(params))
